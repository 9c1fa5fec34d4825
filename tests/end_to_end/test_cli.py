"""The command as users and pipelines run it: processes, pipes, terminals, bad input."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.builders import (
    METADATA,
    NAME,
    TEST_WHEELS,
    a_library,
    load_schema,
    member_of,
    write_wheel,
)
from torch_abi_audit import __version__, audit
from torch_abi_audit.audit import Auditor
from torch_abi_audit.catalog import load_catalog
from torch_abi_audit.cli import main
from torch_abi_audit.commands.settings import expand
from torch_abi_audit.model import TargetReport
from torch_abi_audit.report import streams
from torch_abi_audit.report.outputs import ReportFormat

GOOD = str(next((TEST_WHEELS / "stable-2.11").glob("*.whl")))
BAD = str(next((TEST_WHEELS / "unstable").glob("*.whl")))
CORRUPT = str(next((TEST_WHEELS / "corrupt-library").glob("*.whl")))


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "torch_abi_audit", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_version() -> None:
    releases = load_catalog().releases
    assert run("--version").stdout == (
        f"torch-abi-audit {__version__} (symbol data for torch {releases[0]} to {releases[-1]})\n"
    )


def test_no_targets_is_wrong_usage() -> None:
    assert run().returncode == 2


@pytest.mark.parametrize(
    ("targets", "code"),
    [
        ([GOOD], 0),
        ([GOOD, BAD], 1),
        ([BAD, CORRUPT], 2),
        ([GOOD, "no-such-file.whl"], 2),
        (["no/such/*.whl"], 2),
    ],
)
def test_exit_codes(targets: list[str], code: int) -> None:
    assert run(*targets).returncode == code


def test_strict_lets_warnings_fail(capsys: pytest.CaptureFixture[str]) -> None:
    undeclared = str(next((TEST_WHEELS / "torch-undeclared").glob("*.whl")))
    assert main([undeclared]) == 0
    assert main(["--strict", undeclared]) == 1
    assert "unsafe: do not publish: 1 library links to torch, but" in capsys.readouterr().out


def test_a_corrupt_wheel_among_good_ones(tmp_path: Path) -> None:
    """One line on stderr, the others audited, the report still written, exit code 2."""
    junk = tmp_path / NAME
    junk.write_bytes(b"not a zip")
    result = run("--json", GOOD, str(junk), BAD)
    assert result.returncode == 2
    assert result.stderr == (
        f"torch-abi-audit: {junk}: not a zip archive: File is not a zip file\n"
    )
    report = json.loads(result.stdout)
    jsonschema.validate(report, load_schema())
    assert [target["verdict"] for target in report["targets"]] == ["safe", "error", "unsafe"]
    assert report["counts"] == {
        "targets": 3,
        "safe": 1,
        "pinned": 0,
        "unsafe": 1,
        "not_applicable": 0,
        "error": 1,
        "here": {"guaranteed": 0, "links": 0, "breaks": 0, "unknown": 0},
    }


def test_a_name_that_can_not_be_parsed(tmp_path: Path) -> None:
    path = write_wheel(tmp_path).rename(tmp_path / "badname-1.0-linux.whl")
    result = run(str(path))
    assert result.returncode == 2
    assert "wrong number of parts" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_the_reader_of_the_pipe_may_leave(flags: list[str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "torch_abi_audit", *flags, *[GOOD, BAD, CORRUPT] * 40],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(1)
    process.stdout.close()
    assert b"Traceback" not in process.stderr.read()
    assert process.wait() == 2
    process.stderr.close()


def test_nothing_of_a_wheel_steers_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = "x/\x1b[31m[bold]red[/]\x07\u202e\x9b.so"
    metadata = f"{METADATA}Requires-Dist: torch>=2.10; extra == '\x1b[1m'\n"
    path = write_wheel(tmp_path, {hostile: a_library()[:700]}, metadata=metadata)
    for arguments in ([str(path)], ["--json", str(path)]):
        assert main(arguments) == 2
        output = capsys.readouterr()
        for text in (output.out, output.err):
            assert text.isascii() or "\u202e" not in text
            assert not set(text) & {"\x1b", "\x07", "\x9b", "\u202e"}
        if len(arguments) == 1:
            assert "x/\\x1b[31m[bold]red[/]\\x07\\u202e\\x9b.so" in output.out


def test_on_a_terminal_that_shows_ascii_only(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, {"x/é.so": a_library()[:700]})
    result = run(str(path), PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert result.returncode == 2
    assert "x/\\xe9.so" in result.stdout


def test_the_same_input_gives_the_same_bytes() -> None:
    first = run("--json", GOOD, BAD, PYTHONHASHSEED="1")
    second = run("--json", GOOD, BAD, PYTHONHASHSEED="2")
    assert first.stdout == second.stdout
    assert first.stdout.isascii()


def test_in_a_log_nothing_is_wrapped() -> None:
    output = run(BAD, COLUMNS="40").stdout
    assert "  = help: use torch::stable and torch::headeronly, and build with -DTORCH" in output
    assert "\x1b" not in output


def test_on_a_terminal_prose_is_wrapped_and_symbols_are_not() -> None:
    unstable = str(next((TEST_WHEELS / "unstable-pinned").glob("*.whl")))
    lines = run_on_terminal(80, "-v", unstable)
    prose = [line for line in lines if not line.strip().startswith("_ZN")]
    assert max(len(line) for line in prose if "::" not in line and "/" not in line) <= 80
    assert "   | c10::warn(c10::Warning const&)" in lines
    assert "   |   _ZN3c104warnERKNS_7WarningE" in lines


def run_on_terminal(columns: int, *arguments: str) -> list[str]:
    """Run the command on a pseudo-terminal and return its lines, without styles."""
    import pty  # noqa: PLC0415 -- not on Windows

    controller, terminal = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm"}
    process = subprocess.Popen(
        [sys.executable, "-m", "torch_abi_audit", *arguments],
        stdout=terminal,
        stderr=terminal,
        env=environment,
    )
    os.close(terminal)
    output = b""
    while True:
        try:
            output += os.read(controller, 1 << 16)
        except OSError:  # the other end is closed
            break
    os.close(controller)
    process.wait()
    return re.sub(r"\x1b\[[0-9;]*m", "", output.decode()).replace("\r\n", "\n").splitlines()


def test_five_symbols_unless_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    wheel = str(next((TEST_WHEELS / "stable-2.13").glob("*.whl")))
    main(["-v", wheel])
    assert "  stable_2_13/_C.so: bundled, torch stable, torch 2.13.0, python none" in (
        capsys.readouterr().out.splitlines()
    )


def test_patterns_are_expanded_where_the_shell_does_not(tmp_path: Path) -> None:
    for name in ("b-1.0-py3-none-any.whl", "a-1.0-py3-none-any.whl"):
        (tmp_path / name).touch()
    pattern = str(tmp_path / "*.whl")
    assert [Path(found).name for found in expand([pattern, pattern])] == [
        "a-1.0-py3-none-any.whl",
        "b-1.0-py3-none-any.whl",
    ]
    assert expand(["none*.whl"]) == ["none*.whl"]


def test_from_python() -> None:
    report = audit(GOOD)
    assert report.safe
    assert not audit(GOOD, BAD).safe
    assert not audit().safe


def test_the_matrix_on_paper(capsys: pytest.CaptureFixture[str]) -> None:
    main(["-v", str(next((TEST_WHEELS / "alternatives").glob("*.whl")))])
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("  torch 2.    4  5  6  7  8  9 10 11 12 13 14 15")
    group = "alternatives/*/lib/libx.so: alternatives, each for one release of torch"
    assert [line.strip() for line in lines[start + 1 : start + 7]] == [
        "·  ·  ·  ·  ~  ~  ~  ·  ·  ·  ·  ·  the whole wheel",
        "~  ~  ~  ~  ~  ~  ~  ~  ~  ~  ~  ~  alternatives/torch-2.10/lib/libx.so",
        "~  ~  ~  ~  ~  ~  ✗  ·  ·  ·  ·  ·  alternatives/torch-2.8/lib/libx.so and 1 more",
        "^  ^  ^                 allowed by the metadata",
        "~ loads, not guaranteed; ✗ does not load; · does not load, not allowed",
        f"{group} (2.8, 2.9, 2.10)",
    ]


@pytest.mark.parametrize(
    ("scenario", "marked"),
    [("variant-pinned", ["^     allowed by the metadata"]), ("variant", [])],
)
def test_a_variant_alone_marks_releases(
    scenario: str, marked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (wheel,) = (TEST_WHEELS / scenario).glob("*.whl")
    undeclared = tmp_path / wheel.name
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(undeclared, "w") as changed:
        for name in source.namelist():
            changed.writestr(name, source.read(name).replace(b"Requires-Dist: torch>=2.10\n", b""))
    main([str(undeclared)])
    found = [line for line in capsys.readouterr().out.splitlines() if "allowed by" in line]
    assert [line.strip() for line in found] == marked  # below 2.14, the last but one


def test_the_matrix_in_ascii() -> None:
    (wheel,) = (TEST_WHEELS / "cuda-12").glob("*.whl")
    printed = subprocess.run(
        [sys.executable, "-m", "torch_abi_audit", str(wheel)],
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        capture_output=True,
        check=False,
    ).stdout.decode("ascii")
    assert "\n              .  .  .  .  .  .  G  X  X  X  X  X  the whole wheel\n" in printed
    assert "G guaranteed; X does not load; . does not load, not allowed" in printed


@pytest.mark.parametrize(
    ("spec", "code"), [(">=2.11", 0), ("2.12.0", 0), ("==2.10.*", 1), (">=2.9", 1)]
)
def test_other_releases_of_torch(spec: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--torch", spec, GOOD]) == code
    output = capsys.readouterr().out
    assert ("--torch allows torch" in output) == bool(code)


@pytest.mark.parametrize("spec", ["9", "2.99", "==2.11.1", ">=2.99"])
def test_releases_that_are_not_known_are_not_judged(spec: str) -> None:
    result = run("--torch", spec, GOOD)
    assert result.returncode == 2
    assert result.stdout == ""
    assert "no torch that the catalog knows" in result.stderr


def test_a_torch_for_another_platform(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = installed_torch(tmp_path)
    other = str(next((TEST_WHEELS / "wrong-architecture").glob("*.whl")))
    assert main(["--against", str(site), other]) == 2
    assert "is not for its platform" in capsys.readouterr().err


@pytest.mark.parametrize(
    "metadata", [b"Name: torch\nVersion: foo\n", b"Name: torch\nVersion: 2.9\nAuthor: \xe9\n"]
)
def test_a_torch_with_broken_metadata(metadata: bytes, tmp_path: Path) -> None:
    site = installed_torch(tmp_path)
    (next(site.glob("torch-*.dist-info")) / "METADATA").write_bytes(metadata)
    result = run("--against", str(site), GOOD)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert str(site) in result.stderr


def test_a_wrong_specifier_is_wrong_usage() -> None:
    result = run("--torch", ">>2", GOOD)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def installed_torch(folder: Path, version: str = "2.16.0.dev20261101+cu130") -> Path:
    """Make a site-packages with a torch in miniature: its only library exports one shim."""
    exporting = member_of("sibling-symbols", "sibling_symbols.libs/libsibling.so")
    for name, data in {
        "torch/lib/libtorch_cpu.so": exporting,
        "torch/lib/libtorch.so": exporting,
        "torch/lib/libc10.so": exporting,
        "torch/version.py": b"cuda: Optional[str] = '13.0'\n",
        "torch/include/torch/csrc/stable/c/shim.h": b"AOTI_TORCH_EXPORT int torch_ours(int x);\n",
        f"torch-{version}.dist-info/METADATA": f"Name: torch\nVersion: {version}\n".encode(),
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


@pytest.mark.parametrize("below", ["", "torch"])
def test_against_an_installed_torch(
    below: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It exports nothing that the wheel needs, and is none of the catalog's releases."""
    site = installed_torch(tmp_path)
    assert main(["--json", "--against", str(site / below), GOOD]) == 1
    report = json.loads(capsys.readouterr().out)
    jsonschema.validate(report, load_schema())
    assert report["catalog"]["torch_releases"] == ["2.16.0"]
    (target,) = report["targets"]
    cell = target["torch"]["releases"]["2.16.0"]
    assert cell["status"] == "breaks"
    assert len(cell["reasons"]) == 4
    assert "torch-symbol-missing" in {finding["rule"] for finding in target["findings"]}


def test_against_a_torch_wheel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Shims that only this torch's headers declare are shims."""
    site = installed_torch(tmp_path / "site")
    wheel = tmp_path / "torch-2.16.0-cp312-cp312-linux_x86_64.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path in site.rglob("*"):
            if path.is_file():
                archive.write(path, path.relative_to(site).as_posix())
    siblings = next((TEST_WHEELS / "sibling-symbols").glob("*.whl"))
    assert main(["--json", "--against", str(wheel), str(siblings)]) == 1
    (target,) = json.loads(capsys.readouterr().out)["targets"]
    assert target["torch"]["releases"]["2.16.0"]["reasons"] == [
        {
            "cause": "symbol",
            "name": "torch_library_impl",
            "detail": "not in torch 2.16.0",
        }
    ]


@pytest.mark.parametrize("name", ["nothing", "empty.whl", "broken", "pipe.whl"])
def test_against_what_is_no_torch(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.whl").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.whl")
    (installed_torch(tmp_path / "broken") / "torch/lib/libc10.so").write_bytes(a_library()[:700])
    assert main(["--against", str(tmp_path / name), GOOD]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert len(output.err.splitlines()) == 1


def kept(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def stop_after_one(monkeypatch: pytest.MonkeyPatch, stop: signal.Signals) -> None:
    """Let a signal come once a target is audited."""
    audit = Auditor.audit

    def audited(self: Auditor, target: str | Path) -> Iterator[TargetReport]:
        yield from audit(self, target)
        signal.raise_signal(stop)

    monkeypatch.setattr(Auditor, "audit", audited)


ENDS = {
    signal.SIGINT: (130, "interrupted"),
    signal.SIGTERM: (143, "terminated"),
}
if hasattr(signal, "SIGHUP"):  # not on Windows
    ENDS[signal.SIGHUP] = (129, "terminated")


@pytest.mark.parametrize("stop", ENDS)
def test_a_signal_leaves_the_last_reports(
    stop: signal.Signals,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, said = ENDS[stop]
    before = {"json": "before", "summary": "before"}
    for name, text in before.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    outputs = [f"-o{name}={tmp_path / name}" for name in ReportFormat]
    stop_after_one(monkeypatch, stop)
    assert main([*outputs, "--github-summary", GOOD, BAD]) == code
    assert capsys.readouterr().err == f"torch-abi-audit: {said}\n"
    assert kept(tmp_path) == before
    ours = [number for number in ENDS if number is not signal.SIGINT]
    assert [signal.getsignal(number) for number in ours] == [signal.SIG_DFL] * len(ours)


def test_a_handler_that_is_there_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
    try:
        stop_after_one(monkeypatch, signal.SIGTERM)
        assert main([GOOD]) == 0
    finally:
        signal.signal(signal.SIGTERM, before)
    assert came == [signal.SIGTERM]


def test_a_process_that_is_terminated(tmp_path: Path) -> None:
    """While it waits for a reader: what it wrote of the report so far is no report."""
    wheels = [tmp_path / f"x-{number}.0-py39-none-any.whl" for number in range(60)]
    for wheel in wheels:
        wheel.hardlink_to(BAD)
    out = tmp_path / "out"
    out.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "torch_abi_audit", "--json", f"-ojson={out / 'r'}", *wheels],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.read(1 << 12)
    assert [path.name for path in out.iterdir()] != ["r"]
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate()
    assert error == b"torch-abi-audit: terminated\n"
    assert process.returncode == 143
    assert list(out.iterdir()) == []


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """No file may grow beyond 1,000 bytes: as on a full disk, the old report stays."""
    path, job, small = (tmp_path / name for name in ("r.json", "summary", "r.txt"))
    path.write_text("before")
    job.write_text("before")

    import resource  # noqa: PLC0415 -- not on Windows

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    result = subprocess.run(
        [
            *(sys.executable, "-B", "-m", "torch_abi_audit", "--github-summary", f"-ojson={path}"),
            *(f"-otext={small}", GOOD),
        ],
        env={**os.environ, "GITHUB_STEP_SUMMARY": str(job)},
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit,
    )
    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        f"torch-abi-audit: {name} can't be written: File too large" for name in (path, job)
    ]
    found = kept(tmp_path)
    assert found.pop("r.txt") == result.stdout
    assert found == {"r.json": "before", "summary": "before"}


def test_the_reader_of_the_pipe_leaves_the_files(tmp_path: Path) -> None:
    path = tmp_path / "r"
    process = subprocess.Popen(
        [sys.executable, "-m", "torch_abi_audit", f"-ojson={path}", GOOD],
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait() == 0
    assert json.loads(path.read_text())["counts"]["safe"] == 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "link"])
def test_standard_output_as_a_file(name: str, tmp_path: Path) -> None:
    """Redirected to a file, it is not replaced by another."""
    link = tmp_path / "link"
    link.symlink_to("/dev/stdout")
    path = tmp_path / "out"
    with path.open("w") as out:
        code = subprocess.run(
            [sys.executable, "-m", "torch_abi_audit", f"-ojson={tmp_path / name}", "-q", GOOD],
            stdout=out,
            check=False,
        ).returncode
        assert code == 0
        assert os.path.samestat(os.fstat(out.fileno()), path.stat())
    assert json.loads(path.read_text())["counts"]["safe"] == 1
    assert sorted(item.name for item in tmp_path.iterdir()) == ["link", "out"]


class Written:
    """A stream that can write, and nothing else."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass

    def getvalue(self) -> str:
        return self.text


@pytest.mark.parametrize("stream", [io.StringIO, Written])
@pytest.mark.parametrize(
    "arguments",
    [
        *([f"--format={name}", GOOD, "gone.whl"] for name in ReportFormat),
        ["-q", GOOD, BAD],
        ["--color=always", BAD],
        ["--env"],
        ["explain"],
        ["explain", "no-such-rule"],
        ["schema"],
        ["repair", "--dry-run", GOOD],
    ],
    ids=" ".join,
)
def test_in_place_of_standard_output(
    arguments: list[str], stream: type[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """What calls the command from Python may have put any stream there."""
    code = main(arguments)
    expected = capsys.readouterr()
    out, err = stream(), stream()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert main(arguments) == code
    assert (out.getvalue(), err.getvalue()) == expected


class Closed(io.StringIO):
    """A pipe that nobody reads any more."""

    def write(self, _: str) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    def flush(self) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")


@pytest.mark.parametrize(
    "arguments",
    [*([f"--format={name}", GOOD] for name in ReportFormat), ["explain"], ["schema"]],
    ids=" ".join,
)
def test_a_closed_pipe_on_windows(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(streams, "_ON_WINDOWS", True)
    monkeypatch.setattr(sys, "stdout", Closed())
    assert main(arguments) == 0
    assert capsys.readouterr().err == ""


HELP = [["--help"], ["--version"], ["--print-completion=bash"], ["repair", "--help"]]


@pytest.mark.parametrize("arguments", HELP, ids=" ".join)
@pytest.mark.parametrize(("windows", "code"), [(True, 0), (False, 2)])
def test_help_for_a_closed_pipe(
    arguments: list[str],
    windows: bool,  # noqa: FBT001
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(streams, "_ON_WINDOWS", windows)
    monkeypatch.setattr(sys, "stdout", Closed())
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    said = capsys.readouterr().err
    assert ended.value.code == code
    program = "torch-abi-audit repair" if arguments[0] == "repair" else "torch-abi-audit"
    assert said == ("" if windows else f"{program}: can't be written: Invalid argument\n")


@pytest.mark.parametrize("arguments", [*HELP, ["explain"], ["schema"], [GOOD]], ids=" ".join)
def test_a_pipe_that_was_never_read(arguments: list[str]) -> None:
    """Nor does Python complain at exit."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        result = subprocess.run(
            [sys.executable, "-m", "torch_abi_audit", *arguments],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writer)
    assert (result.returncode, result.stderr) == (0, "")


def refuse(monkeypatch: pytest.MonkeyPatch, refused: Path, number: int) -> None:
    """Let the system not list a folder, nor show what is in it; nothing is refused to root."""
    listed, known = os.scandir, os.stat

    def scandir(path: Any = ".") -> Any:
        if str(path) == str(refused):
            raise OSError(number, os.strerror(number), path)
        return listed(path)

    def status(path: Any, *arguments: Any, **more: Any) -> Any:
        if str(path).startswith(f"{refused}{os.sep}"):
            raise OSError(number, os.strerror(number), path)
        return known(path, *arguments, **more)

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr(os, "stat", status)


@pytest.mark.parametrize("quiet", [[], ["-q"]])
@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
@pytest.mark.parametrize("inside", ["", "inner"])
def test_a_folder_that_can_not_be_listed(
    quiet: list[str],
    number: int,
    inside: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is one line, and the other targets are audited."""
    folder = tmp_path / "folder"
    refused = folder / inside
    refused.mkdir(parents=True)
    (folder / "_C.so").write_bytes(a_library())
    refuse(monkeypatch, refused, number)
    assert main([*quiet, str(folder), GOOD, BAD]) == 2
    said = capsys.readouterr()
    where = f"{refused}: " if inside else ""
    assert said.err == f"torch-abi-audit: {folder}: {where}{os.strerror(number)}\n"
    assert said.out.splitlines()[-1] == (
        f"error: problems in 1 of 3 targets ({Path(BAD).name});"
        " 1 of 3 targets could not be audited (folder)"
    )


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_a_file_in_a_folder_that_can_not_be_read(
    number: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nobody can tell whether it is there."""
    refuse(monkeypatch, tmp_path, number)
    paths = [str(tmp_path / name) for name in ("x.whl", "lib.so", "*.whl")]
    assert main(["-q", *paths]) == 2
    assert capsys.readouterr().err == (
        f"torch-abi-audit: {paths[0]}: {os.strerror(number)}\n"
        f"torch-abi-audit: {paths[1]}: {os.strerror(number)}\n"
        f"torch-abi-audit: {paths[2]}: the pattern matches nothing\n"
    )


@pytest.mark.parametrize("option", ["--python", "--site-packages"])
def test_an_environment_that_can_not_be_listed(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path))

    monkeypatch.setattr(Path, "is_dir", refused)
    assert main([option, str(tmp_path)]) == 2
    assert capsys.readouterr() == ("", f"torch-abi-audit: {tmp_path}: Permission denied\n")


def test_a_current_directory_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gone() -> Path:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(Path, "cwd", gone)
    assert main([GOOD]) == 2
    said = "the current directory: No such file or directory (--no-config looks for none)"
    assert capsys.readouterr() == ("", f"torch-abi-audit: {said}\n")
    assert main(["--no-config", GOOD]) == 0


def test_words_where_emoji_can_not_be_shown() -> None:
    """No verdict is a number."""
    for encoding in ("cp1252", "ascii"):
        environment = {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
        markdown = run("--format=markdown", GOOD, BAD, CORRUPT, **environment)
        assert markdown.stdout.isascii()
        escaped = re.sub(r"\\[_|*\[\]`]", "", markdown.stdout)
        assert "\\" not in escaped
        assert "| safe | `stable_2_11" in markdown.stdout
        assert "| unsafe | `unstable" in markdown.stdout
        assert "no: does not load" in markdown.stdout
        assert "\n- `error[unstable-torch-symbol]` " in markdown.stdout
    assert "\u2705 safe" in run("--format=markdown", GOOD, PYTHONIOENCODING="utf-8").stdout


@pytest.mark.parametrize("format_", list(ReportFormat))
@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "cp437"])
def test_no_sign_of_ours_is_a_number(format_: str, encoding: str, tmp_path: Path) -> None:
    """Redirected on Windows; a file is UTF-8 all the same."""
    other, path = "text" if format_ != "text" else "markdown", tmp_path / "report"
    names = ("layout-changed", "cuda-12", "stable-2.11", "corrupt-library")
    wheels = [str(next((TEST_WHEELS / name).glob("*.whl"))) for name in names]
    out = io.BytesIO()
    with contextlib.redirect_stdout(io.TextIOWrapper(out, encoding)) as stream:
        assert main([f"--format={format_}", f"-o{other}={path}", "-v", *wheels]) == 2
        stream.flush()
        said = out.getvalue().decode("ascii")
    assert not re.search(r"\\[uxU][0-9a-fA-F]{2}", said)
    assert ("✗" if other == "text" else "❌") in path.read_text(encoding="utf-8")


def test_a_page_in_any_encoding(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path, {"x/é.so": a_library()})
    page = run("--format=html", str(wheel), PYTHONIOENCODING="latin-1", PYTHONUTF8="0").stdout
    assert "x/&#233;.so" in page
    assert page.isascii()


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ("members=3", "the target has more than 3 members"),
        ("inflated=1K", "the archive inflates to more than 1,024 bytes"),
        ("symbols=2", "the libraries have more than 2 dynamic symbols"),
        ("names=9", "the libraries have more than 9 bytes of symbol names"),
        ("steps=1", "the libraries take more than 1 steps to read"),
    ],
)
def test_a_limit_ends_a_target_and_not_the_run(
    limit: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = write_wheel(tmp_path, {"x/a.py": b""})
    assert main(["--json", "--limit", limit, GOOD, str(plain)]) == 2
    (good, other) = json.loads(capsys.readouterr().out)["targets"]
    assert good["verdict"] == "error"
    assert good["error"] == f"{reason} (raise it with --limit {limit.partition('=')[0]}=N)"
    if not limit.startswith(("members", "inflated")):
        assert other["verdict"] == "not-applicable"
    assert main(["--json", GOOD, str(plain)]) == 0


def test_limits_of_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", "--limit", "run-members=5", GOOD, BAD]) == 2
    good, bad = json.loads(capsys.readouterr().out)["targets"]
    assert (good["verdict"], bad["verdict"]) == ("safe", "error")
    assert "together with the targets before it, the target has more than 5 members" in bad["error"]


def test_no_time(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A target that takes too long is an error, and the next one has its own time."""
    times = chain([0.0] * 3, repeat(1e6))
    monkeypatch.setattr("torch_abi_audit.budget.monotonic", lambda: next(times))
    assert main(["--json", "--limit", "seconds=2", "--limit", "run-seconds=100G", GOOD, BAD]) == 2
    good, bad = json.loads(capsys.readouterr().out)["targets"]
    assert good["error"] == "the audit takes more than 2 s (raise it with --limit seconds=N)"
    assert (good["verdict"], bad["verdict"]) == ("error", "unsafe")


def test_limits_in_the_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "pyproject.toml"
    config.write_text('[tool.torch-abi-audit]\nlimit = { symbols = 2, names = "1M" }\n')
    assert main(["--json", "--config", str(config), GOOD]) == 2
    assert "more than 2 dynamic symbols" in capsys.readouterr().out
    # The command line goes before it.
    assert main(["--json", "--config", str(config), "--limit", "symbols=1M", GOOD]) == 0
    for value, reason in (
        ("{ symbols = 0 }", "limit: symbols: a limit must be greater than 0"),
        ("{ symbol = 1 }", "limit: unknown key 'symbol'"),
        ('{ symbols = "many" }', "limit: symbols: 'many' is not a whole number"),
        ("7", "limit: the table must be a table"),
    ):
        config.write_text(f"[tool.torch-abi-audit]\nlimit = {value}\n")
        assert main(["--config", str(config), GOOD]) == 2
        assert reason in capsys.readouterr().err

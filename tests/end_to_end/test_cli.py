"""The command as users and pipelines run it: processes, pipes, terminals, bad input."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from tests.builders import METADATA, NAME, TEST_WHEELS, a_library, write_wheel
from torch_abi_audit import __version__, audit
from torch_abi_audit.cli import expand, main
from torch_abi_audit.report.json import load_schema

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
    assert run("--version").stdout == f"torch-abi-audit {__version__}\n"


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
    assert "unsafe: do not publish: torch-undeclared" in capsys.readouterr().out


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
        "unsafe": 1,
        "not_applicable": 0,
        "error": 1,
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
    assert "  = help: use torch::stable and torch::headeronly instead, and build with" in output
    assert "\x1b" not in output


def test_on_a_terminal_prose_is_wrapped_and_symbols_are_not() -> None:
    unstable = str(next((TEST_WHEELS / "unstable-pinned").glob("*.whl")))
    lines = run_on_terminal(80, unstable)
    prose = [line for line in lines if not line.strip().startswith("_ZN")]
    assert max(len(line) for line in prose if "::" not in line and "/" not in line) <= 80
    assert "      _ZN3c104warnERKNS_7WarningE" in lines
    assert "        c10::warn(c10::Warning const&)" in lines


def run_on_terminal(columns: int, *arguments: str) -> list[str]:
    """Run the command on a pseudo-terminal and return its lines, without styles."""
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

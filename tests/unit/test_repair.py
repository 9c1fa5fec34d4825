"""`torch-abi-audit repair`: what it writes, and what it refuses with one line."""

from __future__ import annotations

import io
import os
import signal
import sys
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import pytest

from tests.builders import (
    METADATA,
    NAME,
    TEST_WHEELS,
    a_library,
    claims,
    member_of,
    record_row,
    write_wheel,
)
from torch_abi_audit import audit, repair
from torch_abi_audit.archive import rewrite as rewriting
from torch_abi_audit.audit import Options
from torch_abi_audit.claims.amend import amended
from torch_abi_audit.cli import main
from torch_abi_audit.errors import AuditError
from torch_abi_audit.model import MetadataChange
from torch_abi_audit.repair import Repair
from torch_abi_audit.targets.amend import amended_metadata, amended_record

TOO_LOW = METADATA + "Requires-Dist: torch>=2.9\nRequires-Python: >=3.9\n"  # it needs 2.10
FITTING = TOO_LOW.replace("2.9", "2.10")
INFO = "x-1.0.dist-info"
# Beside a library for Linux: no tag is for both.
FOR_WINDOWS = {"x/_C.pyd": member_of("windows-stable", "windows_stable/_C.pyd")}
ANY = -1
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="modes, links and errors of POSIX")


def a_wheel(
    folder: Path,
    *,
    name: str = NAME,
    metadata: str = TOO_LOW,
    files: Mapping[str, bytes] | None = None,
) -> Path:
    folder.mkdir(exist_ok=True)
    members = {"x/_ops.so": a_library(), **(files or {})}
    return write_wheel(folder, members, name=name, metadata=metadata)


def of_scenario(name: str) -> Path:
    (wheel,) = (TEST_WHEELS / name).glob("*.whl")
    return wheel


class Run:
    """The command with a folder to write to, and what it says."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder / "out"
        self._capsys = capsys

    def __call__(self, *arguments: str | Path, code: int = 0) -> None:
        command = ["repair", "--no-config", "-w", str(self.folder), *map(str, arguments)]
        self.code = main(command)
        assert code in (self.code, ANY)
        self.out, self.err = self._capsys.readouterr()

    def refuses(self, wheel: Path, why: str, *arguments: str | Path, code: int = 2) -> None:
        """Refuse a wheel with one line, leave nothing of it, and do the one that follows it."""
        good = of_scenario("floor-understated")
        self(wheel, good, *arguments, code=code)
        (line,) = self.err.splitlines()
        assert line.startswith(f"torch-abi-audit: {wheel.name}: not repaired: "), line
        assert why in line
        assert self.files == [good.name]

    @property
    def files(self) -> list[str]:
        return sorted(p.name for p in self.folder.iterdir()) if self.folder.exists() else []


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(tmp_path, capsys)


def requirements(wheel: Path) -> list[str]:
    (report,) = audit(wheel).targets
    assert report.safe, report.summary
    assert report.claims is not None
    return sorted(map(str, report.claims.torch_requirements))


# What is written.


@POSIX
def test_a_requirement_is_written_and_nothing_else(run: Run, tmp_path: Path) -> None:
    wheel = a_wheel(tmp_path)
    wheel.chmod(0o604)
    before = wheel.read_bytes()
    run(wheel)
    assert run.out == f'{NAME} -> {run.folder / NAME}: dependencies = ["torch>=2.10"]\n'
    assert run.err == ""
    assert run.files == [NAME]
    assert requirements(run.folder / NAME) == ["torch>=2.10"]
    assert (run.folder / NAME).stat().st_mode & 0o777 == 0o604
    assert wheel.read_bytes() == before
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(run.folder / NAME) as new:
        changed = [n for n in old.namelist() if old.read(n) != new.read(n)]
        assert changed == [f"{INFO}/METADATA", f"{INFO}/RECORD"]
        assert new.read(changed[0]).decode() == FITTING


def test_a_wheel_that_passes_is_copied(run: Run, tmp_path: Path) -> None:
    wheel = a_wheel(tmp_path, metadata=FITTING)
    run(wheel)
    assert run.out == f"{NAME} -> {run.folder / NAME}: passes as it is\n"
    assert (run.folder / NAME).read_bytes() == wheel.read_bytes()


def test_what_was_repaired_needs_no_repair(run: Run, tmp_path: Path) -> None:
    run(a_wheel(tmp_path))
    again = Run(tmp_path / "again", run._capsys)  # noqa: SLF001
    again(run.folder / NAME)
    assert (again.folder / NAME).read_bytes() == (run.folder / NAME).read_bytes()


def test_requirements_for_an_extra_and_extras_of_torch_stay(run: Run, tmp_path: Path) -> None:
    metadata = (
        METADATA
        + "Provides-Extra: all\n"
        + 'Requires-Dist: Torch[opt-einsum]>=2.9; python_version < "3.12"\n'
        + 'Requires-Dist: torch>=2.9; python_version >= "3.12"\n'
        + 'Requires-Dist: torch[optree]; extra == "all"\n'
    )
    run(a_wheel(tmp_path, metadata=metadata))
    assert requirements(run.folder / NAME) == [
        "torch[opt-einsum]>=2.10",
        'torch[optree]; extra == "all"',
    ]


@POSIX
def test_what_was_there_is_replaced_and_a_link_is_not_followed(run: Run, tmp_path: Path) -> None:
    wheel = a_wheel(tmp_path)
    other = tmp_path / "other.whl"
    other.write_text("other")
    run.folder.mkdir()
    (run.folder / NAME).symlink_to(other)
    run(wheel)
    assert not (run.folder / NAME).is_symlink()
    assert other.read_text() == "other"
    run(wheel)
    assert requirements(run.folder / NAME) == ["torch>=2.10"]


def test_the_configuration_does_not_say_which_releases_to_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.torch-abi-audit]\ntorch = ">=2.11"\n')
    wheel = a_wheel(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["repair", wheel.name]) == 0
    assert requirements(tmp_path / "wheelhouse" / NAME) == ["torch>=2.10"]


@pytest.mark.parametrize("option", ["--torch=2.10", "--against=x"])
def test_options_that_say_so_are_not_its_own(option: str) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["repair", option, NAME])
    assert raised.value.code == 2


@pytest.mark.parametrize("build", ["", "-7_local"])
def test_tags_change_the_name_and_stay_a_build_number(tmp_path: Path, build: str) -> None:
    built = NAME.replace("1.0", f"1.0{build}")
    wheel = a_wheel(tmp_path, metadata=FITTING).rename(tmp_path / built)
    (report,) = audit(wheel).targets
    tags = "py3.py39-none-manylinux_2_31_x86_64"
    item = Repair(wheel, report).with_change(MetadataChange(tags=tags))
    written = repair.write(item, tmp_path / "out", Options())
    assert written == tmp_path / "out" / f"x-1.0{build}-{tags}.whl"
    (changed,) = audit(written, options=Options(verify=True)).targets
    assert changed.safe
    assert changed.findings == report.findings == ()
    with zipfile.ZipFile(written) as archive:
        assert archive.read(f"{INFO}/WHEEL").decode() == (
            "Wheel-Version: 1.0\n"
            "Root-Is-Purelib: false\n"
            "Tag: py3-none-manylinux_2_31_x86_64\n"
            "Tag: py39-none-manylinux_2_31_x86_64\n"
        )
        assert archive.read(f"{INFO}/METADATA").decode() == FITTING


# Which requirement.


def test_where_several_fit_one_is_chosen(run: Run) -> None:
    wheel = of_scenario("unstable")
    run.refuses(wheel, "choose one with --require-torch (torch==2.9.*, torch==2.10.*, ", code=1)
    run(wheel, "--require-torch", "==2.13.*")
    assert requirements(run.folder / wheel.name) == ["torch==2.13.*"]


def test_what_is_chosen_has_to_pass(run: Run) -> None:
    wheel = of_scenario("unstable")
    run.refuses(
        wheel,
        "fails with torch>=2.13, too: the wheel uses the unstable ABI",
        "--require-torch",
        ">=2.13",
        code=1,
    )


def test_a_choice_goes_before_what_is_proven(run: Run, tmp_path: Path) -> None:
    run(a_wheel(tmp_path), "--require-torch", "==2.11.*")
    assert requirements(run.folder / NAME) == ["torch==2.11.*"]


def test_a_choice_does_not_help_what_is_wrong_otherwise(run: Run, tmp_path: Path) -> None:
    wheel = a_wheel(tmp_path, name=OTHER, files=FOR_WINDOWS)
    run.refuses(wheel, "fails with torch>=2.11, too: ", "--require-torch", ">=2.11", code=1)


def test_a_choice_does_not_touch_what_passes(run: Run, tmp_path: Path) -> None:
    run(a_wheel(tmp_path, metadata=FITTING), "--require-torch", "==2.11.*")
    assert requirements(run.folder / NAME) == ["torch>=2.10"]


def test_what_is_strict_is_repaired_when_it_is_asked(run: Run) -> None:
    wheel = of_scenario("torch-undeclared")
    run(wheel)
    assert (run.folder / wheel.name).read_bytes() == wheel.read_bytes()
    run(wheel, "--strict")
    (required,) = requirements(run.folder / wheel.name)
    assert required.startswith("torch>=")


def test_no_metadata_makes_an_abi_stable(run: Run) -> None:
    run.refuses(of_scenario("unstable-pinned"), "no change of metadata", "--require-stable", code=1)


# Wheels of one release.

OTHER = "x-1.0-py39-none-manylinux_2_28_aarch64.whl"
SECOND = "x-1.0-py39-none-manylinux_2_31_x86_64.whl"


def test_wheels_of_one_release_stay_alike(run: Run, tmp_path: Path) -> None:
    """A wheel without libraries passes whatever is required; the other one needs torch 2.10."""
    pure = write_wheel(tmp_path, {"x/a.py": b""}, name="x-1.0-py3-none-any.whl", metadata=TOO_LOW)
    run(pure, a_wheel(tmp_path))
    assert [requirements(run.folder / name) for name in run.files] == [["torch>=2.10"]] * 2


def test_a_wheel_that_is_refused_does_not_keep_others_from_being_alike(
    run: Run, tmp_path: Path
) -> None:
    pure = write_wheel(tmp_path, {"x/a.py": b""}, name="x-1.0-py3-none-any.whl", metadata=TOO_LOW)
    bad = a_wheel(tmp_path, name=OTHER, files=FOR_WINDOWS)
    run(pure, bad, a_wheel(tmp_path), code=1)
    assert [requirements(run.folder / name) for name in run.files] == [["torch>=2.10"]] * 2


def test_wheels_that_differ_may_differ(run: Run, tmp_path: Path) -> None:
    name = "x-1.0-py3-none-any.whl"
    pure = write_wheel(tmp_path, {"x/a.py": b""}, name=name, metadata=METADATA)
    run(pure, a_wheel(tmp_path))
    assert requirements(run.folder / NAME) == ["torch>=2.10"]
    assert (run.folder / name).read_bytes() == pure.read_bytes()


def test_wheels_that_can_not_be_alike_are_refused_together(run: Run, tmp_path: Path) -> None:
    """One is on the unstable ABI of torch 2.12, the other on the stable ABI of torch 2.13."""
    first, second = (
        write_wheel(
            tmp_path,
            {"x/_ops.so": library},
            name=name,
            metadata=METADATA + "Requires-Dist: torch>=2.9\n",
        )
        for name, library in (
            (NAME, library_of("layout-changed")),
            (SECOND, library_of("stable-2.13")),
        )
    )
    run(first, second, code=1)
    lines = run.err.splitlines()
    assert len(lines) == 2
    for line, wheel in zip(lines, (first, second), strict=True):
        assert line == (
            f"torch-abi-audit: {wheel.name}: not repaired: the wheels of this release need"
            " different requirements: torch==2.12.*, torch>=2.13"
        )
    assert run.files == []


def library_of(scenario: str) -> bytes:
    with zipfile.ZipFile(of_scenario(scenario)) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".so"))
        return archive.read(name)


def test_wheels_of_one_name_are_refused(run: Run, tmp_path: Path) -> None:
    one, other = a_wheel(tmp_path / "a"), a_wheel(tmp_path / "b")
    run(one, other, code=2)
    assert (
        run.err.splitlines()
        == [f"torch-abi-audit: {NAME}: not repaired: {NAME} is what 2 of the wheels would be named"]
        * 2
    )
    assert run.files == []


# A dry run.


def test_a_dry_run_shows_the_difference(run: Run, tmp_path: Path) -> None:
    run(a_wheel(tmp_path), "--dry-run")
    assert run.out.splitlines() == [
        f'{NAME} -> {run.folder / NAME}: dependencies = ["torch>=2.10"]',
        f"--- {INFO}/METADATA",
        f"+++ {INFO}/METADATA",
        "@@ -3,3 +3,3 @@",
        " Version: 1.0",
        "-Requires-Dist: torch>=2.9",
        "+Requires-Dist: torch>=2.10",
        " Requires-Python: >=3.9",
    ]
    assert run.files == []


def test_a_dry_run_says_nothing_to_a_terminal_or_a_service(run: Run, tmp_path: Path) -> None:
    hostile = "Summary: \x1b[31m ##vso[task.complete]\n::error::x: \u202ey\n"
    metadata = METADATA + hostile + "Requires-Dist: torch>=2.9\n"
    run(a_wheel(tmp_path, metadata=metadata.replace("::error::x", "Author")), "--dry-run")
    assert "\x1b" not in run.out
    assert "##" not in run.out
    assert "\u202e" not in run.out
    assert r" Author: \u202ey" in run.out.splitlines()


def test_a_dry_run_on_a_terminal_of_few_characters(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = a_wheel(tmp_path, metadata=METADATA + "Author: \u4e2d\nRequires-Dist: torch>=2.9\n")
    stream = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    run(wheel, "--dry-run")
    stream.seek(0)
    assert r" Author: \u4e2d" in stream.read().splitlines()


# What is refused, or can't be done.


def with_members(wheel: Path, *members: tuple[str, bytes]) -> Path:
    """Add members, and rows of them; names may be there already."""
    with zipfile.ZipFile(wheel) as archive:
        infos = [(info, archive.read(info)) for info in archive.infolist()]
    with warnings.catch_warnings(), zipfile.ZipFile(wheel, "w") as archive:
        warnings.simplefilter("ignore", UserWarning)
        for info, data in infos:
            rows = [record_row(*item) for item in members] if "RECORD" in info.filename else []
            archive.writestr(info, data + "".join(rows).encode())
        for name, data in members:
            archive.writestr(name, data)
    return wheel


@pytest.mark.parametrize("name", ["RECORD.jws", "RECORD.p7s"])
def test_a_signature_is_not_made_invalid(run: Run, tmp_path: Path, name: str) -> None:
    wheel = with_members(a_wheel(tmp_path), (f"{INFO}/{name}", b""))
    run.refuses(wheel, f"{INFO}/{name}: a change would make the signature invalid")


def test_a_signed_wheel_that_passes_is_copied(run: Run, tmp_path: Path) -> None:
    wheel = with_members(a_wheel(tmp_path, metadata=FITTING), (f"{INFO}/RECORD.jws", b""))
    run(wheel, "--dry-run")
    assert run.out.endswith(": passes as it is\n")
    run(wheel)
    assert (run.folder / NAME).read_bytes() == wheel.read_bytes()


IGNORED = ("--ignore", "archive-integrity")


def test_two_folders_of_metadata(run: Run, tmp_path: Path) -> None:
    other = "y-1.0.dist-info/WHEEL"
    wheel = with_members(a_wheel(tmp_path), (other, b"Wheel-Version: 1.0\n"))
    run.refuses(wheel, ".dist-info folder that does not match", code=1)
    # Whoever ignores it gets the folder changed that is the wheel's own.
    run(wheel, *IGNORED)
    assert zipfile.ZipFile(run.folder / NAME).read(other) == b"Wheel-Version: 1.0\n"


def test_two_folders_of_metadata_and_none_the_own(run: Run, tmp_path: Path) -> None:
    wheel = with_members(a_wheel(tmp_path), ("y-1.0.dist-info/WHEEL", b""))
    renamed = wheel.rename(tmp_path / NAME.replace("1.0", "1.1"))
    run.refuses(renamed, "2 .dist-info folders with WHEEL and METADATA")


def test_a_folder_that_is_like_one_of_metadata(run: Run, tmp_path: Path) -> None:
    wheel = with_members(a_wheel(tmp_path), ("a/b.dist-info/WHEEL", b""))
    run(wheel)
    assert requirements(run.folder / NAME) == ["torch>=2.10"]


@pytest.mark.parametrize("name", ["METADATA", "WHEEL", "RECORD"])
def test_what_is_there_twice(run: Run, tmp_path: Path, name: str) -> None:
    data = zipfile.ZipFile(a_wheel(tmp_path)).read(f"{INFO}/{name}")
    wheel = with_members(tmp_path / NAME, (f"{INFO}/{name}", data))
    run.refuses(wheel, "several members of one name", code=1)
    run.refuses(wheel, f"{INFO}/{name} is 2 times in the archive", *IGNORED)


def test_other_members_that_are_there_twice_are_copied(run: Run, tmp_path: Path) -> None:
    wheel = with_members(a_wheel(tmp_path), ("x/a", b"one"), ("x/a", b"other"))
    run(wheel, *IGNORED)
    with zipfile.ZipFile(run.folder / NAME) as archive:
        infos = [info for info in archive.infolist() if info.filename == "x/a"]
        assert [archive.read(info) for info in infos] == [b"one", b"other"]


def changed(wheel: Path, offset: int, name: str, value: bytes, *, local: bool) -> Path:
    """Change a field in a header of a member, its own or that of the directory."""
    data = bytearray(wheel.read_bytes())
    with zipfile.ZipFile(wheel) as archive:
        place = archive.getinfo(name).header_offset
        if not local:
            place = data.index(b"PK\x01\x02", archive.start_dir)
            while not data.startswith(name.encode(), place + 46):
                place = data.index(b"PK\x01\x02", place + 1)
    data[place + offset : place + offset + len(value)] = value
    wheel.write_bytes(data)
    return wheel


@pytest.mark.parametrize(
    ("offset", "value", "local"),
    [
        (6, b"\x01\x00", True),  # encrypted, as the member says
        (8, b"\x01\x00", False),  # as the directory says
        (8, b"\x0c\x00", True),  # another method
        (10, b"\x0c\x00", False),
        (18, b"\x01\x00\x00\x00", True),  # another size
        (20, b"\xff\xff\xff\x00", False),
        (24, b"\xff\xff\xff\x7f", False),
        (26, b"\xff\xff", True),  # a name that is longer than the archive
        (28, b"\xff\xff", True),  # extra fields that are
        (30, b"X", True),  # another name
        (42, b"\x00\x00\x00\x00", False),  # the header of another member
        (42, b"\xf0\xff\xff\x7f", False),
        (0, b"PK\x00\x00", True),
    ],
)
@pytest.mark.parametrize("name", [f"{INFO}/METADATA", f"{INFO}/RECORD", "x/data"])
@pytest.mark.parametrize("ignored", [(), IGNORED])
def test_headers_that_contradict(
    run: Run,
    tmp_path: Path,
    name: str,
    offset: int,
    value: bytes,
    local: bool,  # noqa: FBT001
    ignored: tuple[str, ...],
) -> None:
    wheel = changed(
        a_wheel(tmp_path, files={"x/data": bytes(99)}), offset, name, value, local=local
    )
    run(wheel, of_scenario("floor-understated"), *ignored, code=ANY)
    if run.code:
        (line,) = run.err.splitlines()
        assert line.startswith(f"torch-abi-audit: {NAME}: not repaired: ")
        assert "internal error" not in line
        assert len(run.files) == 1
    else:
        assert ignored
        assert requirements(run.folder / NAME) == ["torch>=2.10"]


def test_members_that_overlap_are_not_copied_many_times(tmp_path: Path) -> None:
    with zipfile.ZipFile(a_wheel(tmp_path)) as archive:
        archive.filelist *= 10
        with pytest.raises(AuditError, match="overlap"):
            rewriting.rewrite(archive, io.BytesIO(), {})


def test_of_many_libraries_that_can_not_be_read_one_is_named(run: Run, tmp_path: Path) -> None:
    cut = a_library()[:200]
    wheel = a_wheel(tmp_path, files={"a.so": cut, "b.so": cut, "c.so": cut})
    run.refuses(wheel, ": a.so: truncated: ")
    assert run.err.endswith(" (and 2 more)\n")


def test_no_record(run: Run, tmp_path: Path) -> None:
    files = {"x/_ops.so": a_library()}
    wheel = write_wheel(tmp_path, files, metadata=TOO_LOW, record=None)
    run.refuses(wheel, "RECORD that does not match the members", code=1)
    run.refuses(wheel, f"no {INFO}/RECORD in the archive", *IGNORED)


def test_a_record_that_is_none(run: Run, tmp_path: Path) -> None:
    wheel = write_wheel(
        tmp_path, {"x/_ops.so": a_library()}, metadata=TOO_LOW, record="x" * (1 << 18)
    )
    run.refuses(wheel, "RECORD can't be parsed: field larger than field limit", *IGNORED)


def test_metadata_that_is_not_plain(run: Run, tmp_path: Path) -> None:
    """A parser of mail passes over this line, and finds the requirement that follows it."""
    metadata = METADATA + "From here on\nRequires-Dist: torch>=2.9\nAuthor: x\n"
    wheel = a_wheel(tmp_path, metadata=metadata)
    run.refuses(wheel, "METADATA or WHEEL is not plain headers")
    run(wheel, "--dry-run", code=2)
    assert "not plain headers" in run.err


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("Requires-Dist: torch >> 2", "Requires-Dist"),
        ("Requires-Dist: torch>=2.9;\n python_version > '3'", "Requires-Dist"),
        ("Requires-Python: x", "Requires-Python"),
        ("Summary: " + "x" * (1 << 20), "headers of"),
    ],
)
def test_what_is_refused_of_metadata_is_refused(
    run: Run, tmp_path: Path, line: str, why: str
) -> None:
    run.refuses(a_wheel(tmp_path, metadata=f"{METADATA}{line}\n"), why)


@POSIX
def test_the_wheel_itself_is_not_replaced(run: Run, tmp_path: Path) -> None:
    wheel = a_wheel(run.folder)
    before = wheel.read_bytes()
    link = tmp_path / "link"
    link.symlink_to(run.folder, target_is_directory=True)
    pointing = tmp_path / NAME
    pointing.symlink_to(wheel)
    for path in (wheel, link / NAME, pointing):
        run(path, code=2)
        (line,) = run.err.splitlines()
        assert line.endswith(f"{run.folder / NAME} is the wheel itself: choose another --wheel-dir")
        assert wheel.read_bytes() == before
        assert run.files == [NAME]


@POSIX
def test_a_folder_has_the_name(run: Run, tmp_path: Path) -> None:
    (run.folder / NAME).mkdir(parents=True)
    run(a_wheel(tmp_path), code=2)
    assert run.err == (
        f"torch-abi-audit: {NAME}: not repaired: {run.folder / NAME}: Is a directory\n"
    )
    assert run.files == [NAME]


@POSIX
def test_a_file_where_the_folder_should_be(run: Run, tmp_path: Path) -> None:
    run.folder.write_text("a file")
    wheel = a_wheel(tmp_path)
    run(wheel, of_scenario("floor-understated"), code=2)
    first, second = run.err.splitlines()
    assert first.endswith(f"{NAME}: not repaired: {run.folder}: File exists")
    assert "floor_understated" in second
    assert run.folder.read_text() == "a file"


@POSIX
@pytest.mark.skipif(getattr(os, "geteuid", int)() == 0, reason="root may write anywhere")
def test_a_folder_that_can_not_be_written(run: Run, tmp_path: Path) -> None:
    run.folder.mkdir(mode=0o500)
    run(a_wheel(tmp_path), code=2)
    assert "Permission denied" in run.err


@pytest.mark.parametrize(
    "name",
    ["torch_abi_audit", "dist", "x.so", "missing-1.0-py3-none-any.whl", "a-1-py3-none-any.whl"],
)
def test_what_is_no_wheel(run: Run, tmp_path: Path, name: str) -> None:
    a_wheel(tmp_path / "dist")
    (tmp_path / "a-1-py3-none-any.whl").mkdir()
    (tmp_path / "x.so").write_bytes(a_library())
    whys = {"missing": "no such file", "a": "not a file"}
    run.refuses(tmp_path / name, whys.get(name.partition("-")[0], "not a wheel"))


def test_what_is_written_has_to_pass(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair, "_changed", lambda *_: {})
    wheel = a_wheel(tmp_path)
    run(wheel, code=2)
    assert f"{NAME}: not repaired: what was written does not pass: " in run.err
    assert run.files == []


def test_a_member_that_is_not_what_record_says(run: Run, tmp_path: Path) -> None:
    """Which only who reads all of it knows: a file that is rewritten is one that was checked."""
    wheel = a_wheel(tmp_path, files={"x/a": b"one"})
    with zipfile.ZipFile(wheel) as archive:
        infos = [(info, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(wheel, "w") as archive:
        for info, data in infos:
            archive.writestr(info, data.replace(b"one", b"two"))
    run.refuses(wheel, "what was written does not pass: ")


def test_a_full_disk_leaves_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(repair, "rewrite", full)
    run(a_wheel(tmp_path), code=2)
    assert run.err.endswith(f"{run.folder / NAME}: No space left on device\n")
    assert run.files == []


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 128 + signal.SIGTERM)]
)
def test_a_signal_leaves_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    copy = rewriting.rewrite

    def interrupted(archive: zipfile.ZipFile, output: IO[bytes], new: Mapping[str, bytes]) -> None:
        copy(archive, output, new)
        assert run.files
        signal.raise_signal(number)

    monkeypatch.setattr(repair, "rewrite", interrupted)
    run(a_wheel(tmp_path), code=code)
    assert run.err in ("torch-abi-audit: interrupted\n", "torch-abi-audit: terminated\n")
    assert run.files == []


# The texts.


def test_a_record_keeps_the_rows_of_others() -> None:
    record = (
        b'"x/a,sha.py",sha256=abc,1\r\n'
        b'"a,sha.dist-info/METADATA",sha256=old,1\r\n'
        b"a.dist-info\\WHEEL,md5=old,\n"
        b"\n"
        b"x/\xff,,\n"
        b"a.dist-info/RECORD,,"
    )
    files = {"a,sha.dist-info/METADATA": b"one", "a.dist-info/WHEEL": b"two"}
    assert amended_record(record, files) == (
        b'"x/a,sha.py",sha256=abc,1\r\n'
        b'"a,sha.dist-info/METADATA",sha256=dpLDrTVAu4A8Ags67mbNiIcSMjTqDG5xQ8Ct1z_0Me0,3\r\n'
        b"a.dist-info\\WHEEL,sha256=P8TM_nRYcOLA2Z9x8w_wZWyN7dQcwdfT03aw2-aF4vM,3\n"
        b"\n"
        b"x/\xff,,\n"
        b"a.dist-info/RECORD,,"
    )


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_metadata_changes_in_its_place(end: str) -> None:
    """Whatever ends its lines: only what is replaced goes, with the lines that continue it."""
    text = (
        "Name: x|Requires-Python: >=3.8|Requires-Dist: numpy|Requires-Dist: Torch >=2|"
        "Requires-Dist: torch; extra == 'a'|Requires-Dist: torchvision|requires-dist: torch|"
        "requires-python: <4|License: a| b||Requires-Dist: torch|"
    )
    changed = (
        "Name: x|Requires-Python: >=3.9|Requires-Dist: numpy|Requires-Dist: torch>=2.10|"
        "Requires-Dist: torch; extra == 'a'|Requires-Dist: torchvision|"
        "License: a| b||Requires-Dist: torch|"
    )
    change = MetadataChange("torch>=2.10", ">=3.9")
    wanted = amended(claims(torch=("torch",)), change)
    metadata = text.replace("|", end).encode()
    assert amended_metadata(metadata, wanted, change) == changed.replace("|", end).encode()


def test_metadata_of_one_line_gets_others() -> None:
    change = MetadataChange("torch>=2.10", ">=3.9")
    assert amended_metadata(b"Version: 1", amended(claims(), change), change) == (
        b"Version: 1\nRequires-Python: >=3.9\nRequires-Dist: torch>=2.10\n"
    )


def test_zip64_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    wheel = a_wheel(tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        archive.infolist()[0].file_size = 1 << 32
        output = io.BytesIO()
        with pytest.raises(AuditError, match="zip64"):
            rewriting.rewrite(archive, output, {})
        assert output.getvalue() == b""

"""The way to the stable ABI, as a line a library, and against an earlier state."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from test_wheels.expected import wheels_of
from tests.builders import member_of, write_wheel
from torch_abi_audit.cli import main

UNSTABLE = member_of("unstable-pinned", "unstable_pinned/_C.so")
STABLE = member_of("stable-2.10", "stable_2_10/_C.so")
(OTHER,) = map(str, wheels_of("no-torch"))
METADATA = "Metadata-Version: 2.1\nName: x\nVersion: 1.0\nRequires-Dist: torch==2.14.*\n"
NAME = "x-1.0-py39-none-manylinux_2_28_x86_64.whl"


def wheel(folder: Path, **libraries: bytes) -> str:
    folder.mkdir()
    files = {f"x/{name}.so": data for name, data in libraries.items()}
    return str(write_wheel(folder, files, name=NAME, metadata=METADATA))


@pytest.fixture(name="old")
def _old(tmp_path: Path) -> str:
    return wheel(tmp_path / "old", _C=UNSTABLE, _D=UNSTABLE)


@pytest.fixture(name="new")
def _new(tmp_path: Path) -> str:
    return wheel(tmp_path / "new", _C=STABLE, _D=UNSTABLE)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str]]:
    code = main(["--no-config", *arguments])
    return code, capsys.readouterr().out.splitlines()


def test_a_line_a_library(new: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--format", "progress", new, OTHER) == (
        0,
        [
            new,
            "  [unstable] [no C API] x/_D.so (0 shims, 3 unstable symbols)",
            "  [stable  ] [no C API] x/_C.so (4 shims, 0 unstable symbols)",
            "  1 of 2 libraries on the stable ABI, 3 unstable symbols left",
            "  all 3 symbols have a stable replacement in torch 2.15",
            "",
            OTHER,
            "  no library uses torch",
            "",
            "pinned: all 2 wheels may be published, 1 of them for one torch release",
        ],
    )


def test_what_changed_since_a_wheel(old: str, new: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = run(capsys, "--format", "progress", "--baseline", old, new)
    assert code == 0
    assert lines[1:7] == [
        "  [unstable] [no C API] x/_D.so (0 shims, 3 unstable symbols)",
        "  [stable  ] [no C API] x/_C.so (0 -> 4 shims, 3 -> 0 unstable symbols)",
        "  1 of 2 libraries on the stable ABI, 3 unstable symbols left",
        "  since 1.0: 6 -> 3 unstable symbols, 1 library moved to the stable ABI",
        "  all 3 symbols have a stable replacement in torch 2.15",
        "  moved: x/_C.so",
    ]
    _, lines = run(capsys, "--format", "progress", "--baseline", new, old)
    assert lines[4:7] == [
        "  since 1.0: 3 -> 6 unstable symbols, 1 library left the stable ABI",
        "  all 3 symbols have a stable replacement in torch 2.15",
        "  back: x/_C.so",
    ]
    _, lines = run(capsys, "-v", "--baseline", old, new)
    assert "  since 1.0: 6 -> 3 unstable symbols, 1 library moved to the stable ABI" in lines


def test_what_changed_since_a_report(
    old: str, new: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "old.json"
    run(capsys, "-o", f"json={report}", old)
    arguments = ["--format", "progress-markdown", "--baseline", str(report), new]
    assert run(capsys, *arguments)[1][2:9] == [
        "| torch ABI | Python | library | shims | unstable symbols |",
        "|---|---|---|---:|---:|",
        "| unstable | no C API | `x/_D.so` | 0 | 3 |",
        "| stable | no C API | `x/_C.so` | 0 -&gt; 4 | 3 -&gt; 0 |",
        "",
        "- 1 of 2 libraries on the stable ABI, 3 unstable symbols left",
        "- since 1.0: 6 -&gt; 3 unstable symbols, 1 library moved to the stable ABI",
    ]
    code, lines = run(capsys, "--json", "--baseline", str(report), new)
    assert code == 0
    (target,) = json.loads("\n".join(lines))["targets"]
    assert target["baseline"] == {
        "target": old,
        "version": "1.0",
        "libraries": {
            "x/_C.so": {"path": "x/_C.so", "abi": "unstable", "shims": 0, "unstable_symbols": 3},
            "x/_D.so": {"path": "x/_D.so", "abi": "unstable", "shims": 0, "unstable_symbols": 3},
        },
        "moved": ["x/_C.so"],
        "back": [],
        "unstable_before": 6,
        "unstable_now": 3,
    }


def test_only_what_is_new_fails(old: str, new: str, capsys: pytest.CaptureFixture[str]) -> None:
    since = ("--check", "torch", "--fail-on", "new", "--baseline")
    assert run(capsys, "--check", "torch", old)[0] == 1
    assert run(capsys, *since, old, old)[0] == 0
    assert run(capsys, *since, old, new)[0] == 0
    code, lines = run(capsys, *since, new, old)
    assert code == 1
    assert "  --> x/_C.so" in lines
    assert "ignored[unstable-torch-symbol] in x/_D.so: in the baseline, " + new in lines


def test_a_baseline_that_can_not_be_read(
    new: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "old.json"
    text.write_text("{}")
    broken = tmp_path / "old.whl"
    broken.write_bytes(b"PK")
    for path, said in (
        (text, "neither a wheel nor a JSON report of this tool"),
        (broken, "Invalid wheel filename"),
        (tmp_path / "none.json", "No such file or directory"),
        (tmp_path / "none.whl", "no such file"),
    ):
        assert main(["--baseline", str(path), new]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"torch-abi-audit: {path}: ")
        assert said in error
        assert error.count("\n") == 1


def test_what_is_new_needs_a_baseline(new: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--fail-on", "new", new])
    assert "--fail-on new requires --baseline" in capsys.readouterr().err

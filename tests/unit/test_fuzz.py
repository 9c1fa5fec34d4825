"""What is fuzzed, without a fuzzer: the inputs to begin with, those that are kept, and mutants."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.builders import TEST_WHEELS
from tests.fuzz import __main__ as command
from tests.fuzz.differences import compare
from tests.fuzz.errors import FuzzError
from tests.fuzz.mutators import pack, unpack
from tests.fuzz.reports import check_output
from tests.fuzz.seeds import libraries, wheel_seeds
from tests.fuzz.targets import TARGETS, Target, execute, stored
from torch_abi_audit.errors import LibraryError
from torch_abi_audit.formats import BytesSource, read_libraries
from torch_abi_audit.model import Format
from torch_abi_audit.report.outputs import ReportFormat

_MUTANTS = 20


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_is_found(name: str) -> None:
    target = TARGETS[name]
    inputs = target.seeds()
    rng = random.Random(0)
    for data in rng.sample(list(inputs), min(12, len(inputs))):
        execute(target, data)
    for _ in range(_MUTANTS):
        execute(target, target.mutate(rng, rng.choice(inputs))[: target.longest])


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_is_found_again(name: str) -> None:
    for path in stored(name):
        execute(TARGETS[name], path.read_bytes())


def test_what_must_not_be_is_found() -> None:
    def never(_: bytes) -> object:
        return 1 // 0

    def big(_: bytes) -> object:
        return len(bytes(64 << 20))

    outcomes = iter(range(2))
    with pytest.raises(ZeroDivisionError):
        execute(Target(never, list, lambda _, data: data), b"")
    with pytest.raises(FuzzError, match="took"):
        execute(Target(lambda _: sum(range(10_000)), list, lambda _, data: data, seconds=-1), b"")
    with pytest.raises(FuzzError, match="second time"):
        execute(Target(lambda _: next(outcomes), list, lambda _, data: data), b"")
    if sys.platform != "win32":
        with pytest.raises(FuzzError, match="MB"):
            execute(Target(big, list, lambda _, data: data, megabytes=-1), b"")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (ReportFormat.TEXT, "a\x1b[31mb"),
        (ReportFormat.TEXT, "a\n ::error::x"),
        (ReportFormat.GITHUB, "::set-output name=x::y"),
        (ReportFormat.GITHUB, "::error title=torch-unpinned::##[error]"),
        (ReportFormat.GITHUB, "::error title=not-a-rule::x"),
        (ReportFormat.SARIF, '{"message": {"text": "[a](b)"}}'),
        (ReportFormat.MARKDOWN, "see [a](http://b)"),
        (ReportFormat.MARKDOWN, "ask @you"),
        (ReportFormat.MARKDOWN, "<img src=x>"),
        (ReportFormat.HTML, "<p>a"),
        (ReportFormat.HTML, "<script>alert(1)</script>"),
        (ReportFormat.HTML, "<style>p{}</style>"),
        (ReportFormat.HTML, "<img>"),
        (ReportFormat.HTML, '<p onclick="x"></p>'),
        (ReportFormat.HTML, '<a href="http://x"></a>'),
    ],
)
def test_what_no_report_may_have_is_found(name: ReportFormat, text: str) -> None:
    with pytest.raises(FuzzError):
        check_output(name, text)


def test_another_reader_agrees_about_the_test_wheels() -> None:
    pytest.importorskip("lief")
    read = dict.fromkeys(Format, 0)
    for kind in Format:
        for data in libraries(kind):
            with contextlib.suppress(LibraryError):  # of corrupt-library
                compare(data, read_libraries(BytesSource(data), "x.so"))
                read[kind] += 1
    assert min(read.values()) > 5


def test_what_another_reader_reads_otherwise_is_found() -> None:
    pytest.importorskip("lief")
    for kind in Format:
        data = libraries(kind)[-1]
        (library,) = read_libraries(BytesSource(data), "x.so")[:1]
        others = [replace(library, needed=(*library.needed, "libother.so"), soname="libother.so")]
        if kind is Format.PE:  # what lief leaves out is not held against it
            others = [replace(library, needed=(), imports=())]
        with pytest.raises(FuzzError, match="lief has"):
            compare(data, others)


def test_a_wheel_is_packed_as_it_was() -> None:
    for data in wheel_seeds():
        assert unpack(pack(unpack(data))) == unpack(data) != []


def test_the_same_wheels_give_the_same_report_in_every_process(tmp_path: Path) -> None:
    """Sets have another order in each process; no report may show it."""
    wheels = sorted(TEST_WHEELS.glob("*/*.whl"))
    said = []
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-m", "torch_abi_audit", "--no-config", "--json", "-v", *wheels],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=False,
        )
        said.append((done.returncode, done.stdout, done.stderr))
    assert said[0] == said[1]
    assert said[0][1]


def test_seeds_are_written(tmp_path: Path) -> None:
    command.write_seeds("pe", tmp_path / "seeds")
    assert len(list((tmp_path / "seeds").iterdir())) >= len(TARGETS["pe"].seeds())


def test_targets_are_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["fuzz", "--list"])
    assert command.main() == 0
    assert capsys.readouterr().out.split() == list(TARGETS)


def test_a_finding_is_reproduced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "input"
    path.write_bytes(b"MZ")
    monkeypatch.setattr(sys, "argv", ["fuzz", "pe", str(path)])
    assert command.main() == 0

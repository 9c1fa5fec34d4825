"""What has changed since an earlier report or wheel, and which findings are new."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.builders import CATALOG, claims, library, shown, subject
from torch_abi_audit.audit import Options, conclude
from torch_abi_audit.errors import AuditError
from torch_abi_audit.model import (
    Baseline,
    BaselineTarget,
    Evidence,
    EvidenceKind,
    Finding,
    KnownFinding,
    Library,
    LibraryState,
    Report,
    Severity,
    TargetKind,
    TargetReport,
    TorchAbi,
)
from torch_abi_audit.report.document import report_document
from torch_abi_audit.verdict.baseline import (
    baseline_of,
    compare,
    counterpart,
    library_key,
    read_baseline,
    split_known,
)

TORCH = ("libtorch_cpu.so",)
STABLE = library("torch_ten", needed=TORCH)
ONE = library("_ZN2at6TensorD1Ev", needed=TORCH)
TWO = library("_ZN2at6TensorD1Ev", "_ZN2at3newEv", needed=TORCH)
RULE = "unstable-torch-symbol"


@pytest.mark.parametrize(
    ("paths", "key"),
    [
        (
            (
                "x/_C.so",
                "x/_C.abi3.so",
                "x/_C.cpython-312-x86_64-linux-gnu.so",
                "x/_C.cp313-win_amd64.pyd",
                "x-1.0.data/platlib/x/_C.so",
            ),
            "x/_C",
        ),
        (("x.libs/libfoo-1a2b3c4d.so.1", "x.libs/libfoo-00112233.so.2"), "x.libs/libfoo"),
        (("_C.so",), "_C"),
        (("torch-2.9/_C.so",), "torch-2.9/_C"),
        (("x/lib-foobar.so",), "x/lib-foobar"),
    ],
)
def test_a_library_keeps_its_key(paths: tuple[str, ...], key: str) -> None:
    assert {library_key(path) for path in paths} == {key}


def report(libraries: dict[str, Library], name: str = "x", **options: Any) -> TargetReport:
    item = subject(libraries, claims(torch=("torch==2.10.*",), name=name))
    return conclude("dist/x.whl", TargetKind.WHEEL, item, CATALOG, Options(**options))


def baseline(*libraries: dict[str, Library], name: str = "x") -> Baseline:
    return baseline_of("old.whl", [report(item, name) for item in libraries])


def test_a_report_and_its_json_are_the_same_baseline(tmp_path: Path) -> None:
    old = report({"x/_C.so": TWO, "x/_D.so": STABLE})
    path = tmp_path / "old.json"
    path.write_text(json.dumps(report_document(Report((old,)), "1")))
    read = read_baseline(path)
    assert read == baseline_of(str(path), [old])
    (target,) = read.targets
    assert (target.name, target.version, target.target) == ("x", "1.0", "dist/x.whl")
    assert target.libraries == {
        "x/_C": LibraryState("x/_C.so", TorchAbi.UNSTABLE, 0, 2),
        "x/_D": LibraryState("x/_D.so", TorchAbi.STABLE, 1, 0),
    }
    symbols = {("x/_C", "_ZN2at3newEv"), ("x/_C", "_ZN2at6TensorD1Ev")}
    assert target.findings[RULE] == KnownFinding(frozenset({"x/_C"}), frozenset(symbols))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"targets": 1}',
        '{"targets": [1]}',
        '{"targets": [{"target": 1, "libraries": [], "findings": [], "ignored": []}]}',
        '{"targets": [{"libraries": [{"torch": {"abi": "new"}}]}]}',
        "[" * 100_000,
        '{"packages": []}',  # of 0.3.0
    ],
)
def test_what_is_no_report(text: str, tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text(text)
    with pytest.raises(AuditError, match="neither a wheel nor a JSON report of this tool"):
        read_baseline(path)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="No such file"):
        read_baseline(tmp_path / "old.json")


def test_what_changed() -> None:
    old = {"x/_C.so": TWO, "x/_D.so": TWO, "x/_E.so": STABLE, "x/_gone.so": ONE}
    new = {"x/_C.abi3.so": STABLE, "x/_D.so": ONE, "x/_E.so": ONE, "x/_new.so": STABLE}
    item = report(new).subject
    assert item is not None
    known = counterpart(baseline(old), item)
    assert known is not None
    found = compare(item, known)
    assert (found.moved, found.back) == (("x/_C.abi3.so",), ("x/_E.so",))
    assert (found.unstable_before, found.unstable_now) == (5, 2)
    assert {path: state.unstable for path, state in found.before.items()} == {
        "x/_C.abi3.so": 2,
        "x/_D.so": 2,
        "x/_E.so": 0,
    }


def test_the_counterpart_is_the_wheel_with_most_in_common() -> None:
    item = report({"x/_C.cpython-312-darwin.so": ONE, "x/_D.so": ONE}).subject
    assert item is not None
    several = baseline({"x/_C.so": TWO}, {"x/_C.so": TWO, "x/_D.so": TWO}, {"y/_C.so": ONE})
    assert counterpart(several, item) is several.targets[1]
    assert counterpart(baseline({"x/_C.so": ONE}, name="other"), item) is None


def fresh(
    old: dict[str, Library], new: dict[str, Library]
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Return the evidence of what is new by rule, and the rules of what is known."""
    known = baseline(old).targets[0]
    standing, ignored = split_known(report(new).findings, known, "old.whl")
    assert all(item.ignore.reason == "in the baseline, old.whl" for item in ignored)
    return {item.rule: shown(item) for item in standing}, [i.finding.rule for i in ignored]


def test_only_new_symbols_are_new() -> None:
    assert fresh({"x/_C.so": TWO}, {"x/_C.abi3.so": TWO})[0] == {}
    assert fresh({"x/_C.so": TWO}, {"x/_C.so": ONE}) == ({}, [RULE])
    assert fresh({"x/_C.so": ONE}, {"x/_C.so": TWO}) == ({RULE: ("_ZN2at3newEv",)}, [RULE])
    # The same symbol of another library is new.
    assert fresh({"x/_C.so": ONE}, {"x/_C.so": ONE, "x/_D.so": ONE}) == (
        {RULE: ("_ZN2at6TensorD1Ev",)},
        [RULE],
    )


def test_another_finding_is_new_for_other_libraries() -> None:
    python = library("torch_ten", needed=(*TORCH, "libtorch_python.so"))
    rule = "links-torch-python"
    new, known = fresh({"x/_C.so": python}, {"x/_C.so": python})
    assert (list(new), rule in known) == ([], True)
    new, known = fresh({"x/_C.so": python}, {"x/_C.so": python, "x/_D.so": python})
    assert (list(new), rule in known) == ([rule], True)
    new, known = fresh({"x/_C.so": STABLE}, {"x/_C.so": python})
    assert (list(new), rule in known) == ([rule], False)


def test_what_is_about_no_library_is_known_by_its_rule() -> None:
    note = Finding("tag-overspecific", Severity.NOTE, "")
    known = BaselineTarget("old.whl", "x", "1.0", {}, {note.rule: KnownFinding()})
    other = Finding("wheels-missing", Severity.NOTE, "")
    standing, ignored = split_known([note, other], known, "old.whl")
    assert standing == (other,)
    assert [item.finding for item in ignored] == [note]


def test_the_verdict_is_about_what_is_new() -> None:
    old = baseline({"x/_C.so": TWO})
    same = report({"x/_C.so": TWO}, baseline=old, fail_on_new=True, require_stable=True)
    assert (same.verdict, same.fails) == ("pinned", False)
    more = {"x/_C.so": TWO, "x/_D.so": ONE}
    found = report(more, baseline=old, fail_on_new=True, require_stable=True)
    assert (found.verdict, found.fails) == ("unsafe", True)
    assert [(f.rule, f.libraries) for f in found.findings if f.rule == RULE] == [
        (RULE, ("x/_D.so",))
    ]
    # A baseline alone compares, and changes nothing.
    alone = report(more, baseline=old, require_stable=True)
    assert len(alone.ignored) == 0
    assert alone.baseline is not None
    assert (alone.baseline.unstable_before, alone.baseline.unstable_now) == (2, 3)
    # Of another project everything is new.
    other = baseline({"x/_C.so": TWO}, name="y")
    assert report(more, baseline=other, fail_on_new=True, require_stable=True).baseline is None


def test_new_symbols_of_no_library_are_new() -> None:
    note = Finding(
        RULE, Severity.NOTE, "", evidence=(Evidence(EvidenceKind.SYMBOL, "_ZN2at3newEv"),)
    )
    had = KnownFinding(symbols=frozenset({(None, "_ZN2at6TensorD1Ev")}))
    known = BaselineTarget("old.whl", "x", "1.0", {}, {RULE: had})
    assert split_known([note], known, "old.whl") == ((note,), ())
    had = KnownFinding(symbols=frozenset({(None, "_ZN2at3newEv")}))
    known = BaselineTarget("old.whl", "x", "1.0", {}, {RULE: had})
    assert split_known([note], known, "old.whl")[0] == ()

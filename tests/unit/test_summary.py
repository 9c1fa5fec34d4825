"""What all reports for people say alike."""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import pytest

from tests.builders import TEST_WHEELS
from torch_abi_audit import audit
from torch_abi_audit.model import Cause, EvidenceKind, LayoutStatus, ReleaseStatus
from torch_abi_audit.report import summary
from torch_abi_audit.report.document import report_document
from torch_abi_audit.report.shape import Document, EvidenceDocument, TargetDocument
from torch_abi_audit.report.summary import LEGEND, Mark, sign


@cache
def _document(scenario: str) -> TargetDocument:
    (wheel,) = (TEST_WHEELS / scenario).glob("*.whl")
    return report_document(audit(wheel), "1")["targets"][0]


def _with_cells(
    cells: dict[str, tuple[str, str | None]], asked: list[str], scenario: str = "stable-2.10"
) -> TargetDocument:
    """Return a target whose one library has these cells of the matrix."""
    releases: Any = {
        release: {"status": status, "layout": layout, "reasons": [], "libstdcxx": None}
        for release, (status, layout) in cells.items()
    }
    target: Any = {**_document(scenario)}
    library = target["libraries"][0]
    target["torch"] = {**target["torch"], "releases": releases, "asked": asked}
    target["libraries"] = [{**library, "torch": {**library["torch"], "releases": releases}}]
    return cast("TargetDocument", target)


def test_every_mark_has_signs_of_its_own() -> None:
    for in_ascii in (False, True):
        signs = [sign(mark, in_ascii=in_ascii) for mark in Mark]
        assert len(set(signs)) == len(Mark)
        assert {len(text) for text in signs} == {1}
        assert "".join(signs).isascii() is in_ascii
    assert set(LEGEND) == set(Mark)
    assert len(set(LEGEND.values())) == len(Mark)
    assert {status.value for status in ReleaseStatus} < {mark.value for mark in Mark}


@pytest.mark.parametrize(
    ("status", "layout", "asked", "mark"),
    [
        ("guaranteed", None, True, "guaranteed"),
        ("guaranteed", None, False, "guaranteed"),
        ("links", "unchanged", True, "links"),
        ("links", "unknown", True, "links"),
        ("links", "changed", False, "changed"),
        ("breaks", None, True, "breaks"),
        ("breaks", LayoutStatus.CHANGED, True, "breaks"),
        ("breaks", None, False, "excluded"),
        ("unknown", None, False, "unknown"),
    ],
)
def test_marks(status: str, layout: str | None, asked: bool, mark: str) -> None:  # noqa: FBT001
    target = _with_cells({"2.10.0": (status, layout)}, ["2.10.0"] if asked else [])
    table = summary.matrix(target)
    assert table is not None
    assert table.rows == [("the whole wheel", [(Mark(mark), asked)])]
    assert summary.legend(table) == [Mark(mark)]


@pytest.mark.parametrize(
    ("asked", "labels"),
    [([], ["9", "10"]), (["2.9.0", "2.9.1"], ["9", "10"]), (["2.9.1"], ["9", "9.1", "10"])],
)
def test_patch_releases_part_where_one_alone_is_allowed(
    asked: list[str], labels: list[str]
) -> None:
    loads = ("links", None)
    target = _with_cells({"2.9.0": loads, "2.9.1": loads, "2.10.0": loads}, asked)
    table = summary.matrix(target)
    assert table is not None
    assert (table.major, table.labels) == ("2.", labels)


def test_the_slices_of_a_universal_file_are_told_apart() -> None:
    target = _document("macos-universal2")
    arm, intel = summary.readable(target)
    assert arm["path"] == intel["path"]
    broken = {
        release: {**cell, "status": ReleaseStatus.GUARANTEED}
        for release, cell in arm["torch"]["releases"].items()
    }
    other = {**arm, "torch": {**arm["torch"], "releases": broken}}
    table = summary.matrix({**target, "libraries": [other, intel]})  # type: ignore[list-item]
    assert table is not None
    names = [name for name, _ in table.rows[1:]]
    assert names == [f"{item['path']} ({item['arch']})" for item in (arm, intel)]


@pytest.mark.parametrize(
    ("required", "claimed"),
    [(None, "not declared"), ("", "any release"), (">=2.10", "torch>=2.10")],
)
def test_what_is_claimed_of_torch(required: str | None, claimed: str) -> None:
    target: Any = {**_document("stable-2.10")}
    target["claims"] = {**target["claims"], "requires_torch": required}
    assert summary.facts(target)[0].claimed == claimed


def _verdict(verdict: str, *, fails: bool = False, here: str | None = None) -> TargetDocument:
    changed: Any = {**_document("stable-2.10"), "verdict": verdict, "fails": fails}
    changed["error"] = "unreadable" if verdict == "error" else None
    changed["here"] = here and {"torch": "2.10.0", "status": here, "layout": None, "reasons": []}
    return cast("TargetDocument", changed)


def test_failures_are_first() -> None:
    warned = _document("torch-undeclared")
    ordered = [
        _verdict("error", fails=True),
        _verdict("safe", here="breaks"),
        _verdict("safe", fails=True),  # of a check that it does not pass
        _verdict("unsafe"),
        warned,
        _verdict("pinned"),
        _verdict("safe", here="guaranteed"),
        _verdict("not-applicable"),
    ]
    assert [summary.failing(target) for target in ordered] == [True] * 4 + [False] * 4
    mixed = [ordered[place] for place in (7, 6, 1, 5, 0, 2, 4, 3)]
    assert [id(target) for target in summary.failures_first(mixed)] == list(map(id, ordered))


@pytest.mark.parametrize(
    ("declaration", "told"), [("at::f()", "x.so: at::f()"), (None, "x.so: _ZN2at1fEv")]
)
def test_symbols_are_told_as_they_are_declared(declaration: str | None, told: str) -> None:
    item: EvidenceDocument = {
        "kind": EvidenceKind.SYMBOL,
        "name": "_ZN2at1fEv",
        "library": "x.so",
        "declaration": declaration,
        "detail": "",
    }
    assert summary.told(item) == told


@pytest.mark.parametrize(
    ("name", "told"), [("_ZN2at1fEv", "at::f()"), ("libx.so.1", "libx.so.1"), ("_Zx", "_Zx")]
)
def test_a_reason_names_a_declaration(name: str, told: str) -> None:
    text = summary.reason_text({"cause": Cause.SYMBOL, "name": name, "detail": "is not there"})
    assert text == f"{told}: is not there"


def _run(*check: str, why: str = "", fails: bool = False) -> Document:
    (wheel,) = (TEST_WHEELS / "unstable").glob("*.whl")
    document: Any = {**report_document(audit(wheel), "1")}
    document["options"] = {"check": list(check), "strict": False}
    document["run_fails"] = fails
    finding = document["targets"][0]["findings"][0]
    note = {**finding, "rule": "wheels-missing", "severity": "note", "counts": False}
    document["findings"] = [finding, note]
    environment = {"site_packages": ["x"], "torch": "2.13.0+cpu", "error": None}
    document["environment"] = environment if why else None
    document["conclusion"] = {**document["conclusion"], "why": why}
    return cast("Document", document)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (_run("abi3"), ["--check abi3: 1 of 1 target failed"]),
        (_run(fails=True), ["all targets together failed: unstable-torch-symbol"]),
        (_run(why="2 of 5 packages do not load"), ["2 of 5 packages do not load"]),
        (_run(), []),
    ],
    ids=["check", "together", "environment", "nothing"],
)
def test_what_else_decides_a_run(document: Document, said: list[str]) -> None:
    assert summary.run_asides(document) == said


def test_headlines_name_no_files() -> None:
    document = _run("abi3")
    (target,) = document["targets"]
    assert summary.headline(document) == "unstable 1.0"
    unnamed: Any = {**target, "name": None, "version": None, "kind": "directory"}
    assert summary.headline({**document, "targets": [unnamed]}) == "1 directory"
    verdicts = ("error", "pinned", "unsafe", "safe", "not-applicable", "safe")
    many = [_verdict(verdict) for verdict in verdicts]
    assert summary.headline({**document, "targets": many}) == (
        "2 safe · 1 pinned · 1 unsafe · 1 not applicable · 1 error"
    )
    nothing: Any = {**document, "targets": []}
    assert summary.headline(nothing) == document["conclusion"]["why"]


@pytest.mark.parametrize(
    ("torch", "built", "said"),
    [
        (
            "==2.14.*",
            ["2.14.0", "2.14.1"],
            "(the release that it was built with; with it the wheel is pinned, and passes)",
        ),
        # It was built with one of them, and the pin may be the other.
        ("==2.14.*", ["2.14.1", "2.15.0"], "(with it the wheel is pinned, and passes)"),
        # It does not load on the release that it was built with.
        ("==2.14.*", ["2.13.0"], "(with it the wheel is pinned, and passes)"),
        # New tags are of no release.
        (None, ["2.14.1"], "(with it the wheel is pinned, and passes)"),
    ],
)
def test_only_a_pin_is_the_release_that_it_was_built_with(
    torch: str | None, built: list[str], said: str
) -> None:
    (target,) = _run()["targets"]
    changed: Any = {
        **target,
        "torch": {**target["torch"], "built_with": {"sign": "assertions", "releases": built}},
        "fix": {
            "metadata": {"requires_torch": torch, "requires_python": None, "tags": None},
            "lines": ["line"],
            "choices": [],
            "passes": True,
            "verdict": "pinned",
            "why_not": None,
            "build": [],
        },
    }
    assert summary.fix_lines(changed)[1] == ("", said)
    changed["fix"]["verdict"] = "not-applicable"
    assert summary.fix_lines(changed)[1] == ("", "(with it the wheel passes)")

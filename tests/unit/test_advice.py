"""Which releases of torch a requirement for a wheel on the unstable ABI may admit."""

from __future__ import annotations

from dataclasses import replace

import pytest
from packaging.version import Version

from tests.builders import CATALOG, claims, fix_of, library, subject
from torch_abi_audit.model import (
    BuiltWith,
    Cell,
    LayoutChange,
    LayoutStatus,
    Matrix,
    ReleaseStatus,
    Severity,
    Sign,
    Subject,
)
from torch_abi_audit.rules import run_rules
from torch_abi_audit.rules.checked import advised_releases

PATH = "x/_C.so"
RELEASES = CATALOG.releases  # 2.8.0 to 2.11.0
_LAYOUTS = {
    "=": LayoutStatus.UNCHANGED,
    "x": LayoutStatus.CHANGED,
    "?": LayoutStatus.UNKNOWN,
}


def judged(layouts: str, *built: str, grave: bool = False) -> Subject:
    """A target whose cells link, but for `-`, with layouts as the letters say."""
    change = LayoutChange("c10::Thing", "8 to 16 bytes", RELEASES[1], grave)
    row = {
        release: Cell(ReleaseStatus.BREAKS)
        if letter == "-"
        else Cell(ReleaseStatus.LINKS, (), _LAYOUTS[letter], (change,) if letter == "x" else ())
        for release, letter in zip(RELEASES, layouts, strict=True)
    }
    item = subject({PATH: library("_ZN2at6TensorD1Ev")}, claims(torch=("torch>=2.8,<2.12",)))
    known = BuiltWith(tuple(map(Version, built)), Sign.ASSERTIONS) if built else None
    return replace(item, matrix=Matrix({PATH: row}, row), built={PATH: known})


@pytest.mark.parametrize(
    ("layouts", "built", "advised"),
    [
        ("=====", (), RELEASES),
        ("xx==x", ("2.9.1",), RELEASES[2:4]),
        ("-===-", (), RELEASES[1:4]),
        # Where layouts are not known, what it was built with, if that is of one series.
        ("?????", ("2.10.0",), RELEASES[3:4]),
        ("?????", ("2.9.0", "2.9.1"), RELEASES[1:3]),
        ("?????", ("2.9.1", "2.10.0"), ()),
        ("?????", (), ()),
        ("-??--", (), RELEASES[1:3]),
        ("x??xx", (), RELEASES[1:3]),
        ("xxxxx", ("2.8.0",), ()),
        ("-----", (), ()),
    ],
)
def test_advised(layouts: str, built: tuple[str, ...], advised: tuple[Version, ...]) -> None:
    assert tuple(advised_releases(judged(layouts, *built))) == tuple(advised)


@pytest.mark.parametrize(
    ("layouts", "grave", "severity"),
    [
        ("x===x", False, Severity.WARNING),
        ("x===x", True, Severity.ERROR),
        ("=====", False, None),
        ("?????", False, None),
        ("-===-", False, None),
    ],
)
def test_layout_changed(layouts: str, grave: bool, severity: Severity | None) -> None:  # noqa: FBT001
    found = [
        finding
        for finding in run_rules(judged(layouts, "2.9.1", grave=grave), CATALOG)
        if finding.rule == "layout-changed"
    ]
    assert [finding.severity for finding in found] == ([severity] if severity else [])
    for finding in found:
        assert finding.libraries == (PATH,)
        assert finding.message == (
            "built with torch 2.9.1, and the metadata admits torch 2.8.0, 2.11.0, where c10::Thing"
            " is different: 8 to 16 bytes since 2.9.0"
        )
        assert fix_of(finding) == "Requires-Dist: torch>=2.9,<2.11"


def test_the_gravest_change_decides_and_is_named() -> None:
    grave = LayoutChange("at::Grave", "4 to 8 bytes", RELEASES[1], grave=True)
    slight = LayoutChange("at::Slight", "8 to 16 bytes", RELEASES[1], grave=False)
    item = judged("x====", "2.9.1")
    for changes in ((grave, slight), (slight, grave)):
        cell = Cell(ReleaseStatus.LINKS, (), LayoutStatus.CHANGED, changes)
        row = {**item.matrix.row, RELEASES[0]: cell}
        known = replace(item, matrix=Matrix({PATH: row}, row))
        (found,) = [f for f in run_rules(known, CATALOG) if f.rule == "layout-changed"]
        assert found.severity is Severity.ERROR
        assert "where at::Grave is different: 4 to 8 bytes since" in found.message
        assert [piece.name for piece in found.evidence] == ["at::Grave", "at::Slight"]

"""Which torch releases a wheel on the unstable ABI is checked against, and built for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from tests.builders import CATALOG, claims, fix_of, library, subject
from torch_abi_audit.model import (
    Alternative,
    BuiltWith,
    Cause,
    Cell,
    LayoutChange,
    LayoutStatus,
    Matrix,
    Reason,
    ReleaseStatus,
    Severity,
    Sign,
    Subject,
)
from torch_abi_audit.rules import run_rules
from torch_abi_audit.rules.checked import (
    built_for,
    checked_releases,
    is_confined,
    is_unconfined,
    pins,
)

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


def requiring(item: Subject, *torch: str) -> Subject:
    """A target with other metadata."""
    required = tuple(SpecifierSet(t.removeprefix("torch")) if t else None for t in torch)
    return replace(item, required=required, demands=required)


@pytest.mark.parametrize(
    ("layouts", "built", "found"),
    [
        ("=====", (), RELEASES),
        # Of several it loads on, those of the minor release of the build.
        ("=====", ("2.9.1",), RELEASES[1:3]),
        ("xx==x", ("2.9.1",), RELEASES[2:3]),
        ("-===-", (), RELEASES[1:4]),
        ("?????", ("2.9.1", "2.10.0"), RELEASES[1:4]),
        ("?????", (), RELEASES),
        ("x??xx", (), RELEASES[1:3]),
        # Whatever the signs say, it does not load there.
        ("-??--", ("2.11.0",), RELEASES[1:3]),
        ("xxxxx", ("2.8.0",), ()),
        ("-----", (), ()),
    ],
)
def test_built_for(layouts: str, built: tuple[str, ...], found: tuple[Version, ...]) -> None:
    assert tuple(built_for(judged(layouts, *built))) == tuple(found)


@pytest.mark.parametrize(
    ("layouts", "newest", "found"),
    [
        ("?????", "2.9.1", RELEASES[:3]),
        ("-?-??", "2.9.1", RELEASES[1:2]),
        # It loads on later ones alone: then the date tells nothing.
        ("---??", "2.9.1", RELEASES[3:]),
    ],
)
def test_what_was_out_when_it_was_built(
    layouts: str, newest: str, found: tuple[Version, ...]
) -> None:
    known = BuiltWith((), Sign.DATE, newest=Version(newest))
    assert tuple(built_for(replace(judged(layouts), built={PATH: known}))) == found


@pytest.mark.parametrize(
    ("layouts", "built", "found"),
    [
        ("=====", ("2.9.1",), ["torch==2.9.*"]),
        ("=====", ("2.10.0",), ["torch==2.10.*"]),
        ("?????", ("2.9.1", "2.10.0"), ["torch==2.9.*", "torch==2.10.*"]),
        ("--=--", (), ["torch==2.9.1"]),
        ("=---=", (), ["torch==2.8.*", "torch==2.11.*"]),
        ("-----", (), []),
    ],
)
def test_pins(layouts: str, built: tuple[str, ...], found: list[str]) -> None:
    assert pins(judged(layouts, *built), CATALOG) == found


def test_alternatives_are_for_all_their_releases() -> None:
    item = judged("-===-")
    row = item.matrix.row
    meant = {PATH: Alternative("x", (2, 9))}
    known = replace(item, matrix=Matrix({PATH: row}, row, meant))
    assert pins(known, CATALOG) == ["torch>=2.9,<2.11"]
    unknown = judged("-???-")
    row = unknown.matrix.row
    # Of the patch releases of its own minor release it is as good as known.
    known = replace(unknown, matrix=Matrix({PATH: row}, row, meant))
    assert pins(known, CATALOG) == ["torch==2.9.*"]


@pytest.mark.parametrize(
    ("layouts", "torch", "confined", "unconfined"),
    [
        # One minor release that it loads on.
        ("?????", ("torch==2.9.*",), True, False),
        ("?????", ("torch==2.9.0",), True, False),
        ("=====", ("torch==2.9.*",), True, False),
        # One that it does not load on, or that has other classes: other rules say so.
        ("?-???", ("torch==2.9.*",), False, False),
        ("?xx??", ("torch==2.9.*",), False, False),
        # Several: only where all is known to be the same.
        ("=====", ("torch>=2.9,<2.11",), True, False),
        ("??=??", ("torch>=2.9,<2.11",), False, True),
        ("====x", ("torch>=2.9,<2.11",), True, False),
        ("===x=", ("torch>=2.9,<2.11",), False, False),
        ("===-=", ("torch>=2.9,<2.11",), False, True),
        # Other classes in one, and another that it does not load on at all.
        ("-==x=", ("torch>=2.8,<2.11",), False, True),
        # Releases that are not out yet, or are older than the catalog.
        ("=====", ("torch>=2.9",), False, True),
        ("=====", ("torch>=2.11",), False, True),
        ("=====", ("torch>=2.1,<2.9",), False, True),
        ("=====", ("torch",), False, True),
        ("=====", ("",), False, True),
        # In any environment.
        ("=====", ("torch==2.9.*", "torch==2.10.*"), True, False),
        ("?????", ("torch==2.9.*", "torch==2.10.*"), False, False),
        ("?????", ("torch==2.9.*", ""), False, True),
        ("=====", ("torch==2.9.*", "torch>=2.9"), False, True),
        # None that is known.
        ("=====", ("torch==2.7.*",), False, False),
        ("?????", ("torch==2.99.*",), False, False),
    ],
)
def test_confined(
    layouts: str,
    torch: tuple[str, ...],
    confined: bool,  # noqa: FBT001
    unconfined: bool,  # noqa: FBT001
) -> None:
    item = requiring(judged(layouts, "2.9.0", "2.9.1"), *torch)
    assert is_confined(item, CATALOG) is confined
    assert is_unconfined(item, CATALOG) is unconfined


def test_an_alternative_for_a_release_that_is_older_than_the_catalog() -> None:
    item = requiring(judged("====="), "torch>=2.1,<2.12")
    row = item.matrix.row
    assert (is_confined(item, CATALOG), is_unconfined(item, CATALOG)) == (False, True)
    for release, confined in (((2, 1), True), ((2, 2), False)):
        meant = {PATH: Alternative("x", release), "other.so": Alternative("x", (2, 9))}
        known = replace(item, matrix=Matrix({PATH: row}, row, meant))
        assert is_confined(known, CATALOG) is confined
        assert is_unconfined(known, CATALOG) is not confined


def test_an_alternative_has_to_load_on_the_release_that_it_is_for() -> None:
    item = requiring(judged("=--=="), "torch>=2.9,<2.11")
    row = item.matrix.row
    meant = {PATH: Alternative("x", (2, 9))}
    assert is_unconfined(replace(item, matrix=Matrix({PATH: row}, row, meant)), CATALOG)


def test_a_stable_wheel_may_allow_any_release() -> None:
    item = subject({PATH: library("torch_ten")}, claims(torch=("torch",)))
    assert not is_unconfined(item, CATALOG)


def test_what_a_pin_would_exclude_is_not_checked() -> None:
    wide = requiring(judged("-==x-", "2.9.1"), "torch")
    assert checked_releases(wide, CATALOG) == list(RELEASES[1:3])
    # Nothing but what is asked for, where that is one release.
    assert checked_releases(requiring(wide, "torch==2.11.*"), CATALOG) == [RELEASES[4]]
    stable = subject({PATH: library("torch_ten")}, claims(torch=("torch",)))
    assert checked_releases(stable, CATALOG) == list(RELEASES[3:])


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
            "the wheel was built with torch 2.9.1, but the metadata allows 2.8, 2.11, where"
            " c10::Thing differs"
        )
        assert fix_of(finding) == 'dependencies = ["torch>=2.9,<2.11"]'


@pytest.mark.parametrize(
    ("torch", "fix"),
    [
        # Of the releases between which nothing changed those that are allowed.
        ("torch>=2.8,<2.10", "torch==2.9.*"),
        # None of them is.
        ("torch==2.8.*", "torch>=2.9,<2.11"),
    ],
)
def test_the_least_change_keeps_what_is_allowed(torch: str, fix: str) -> None:
    item = requiring(judged("x===x", "2.9.1"), torch)
    (found,) = [f for f in run_rules(item, CATALOG) if f.rule == "layout-changed"]
    assert fix_of(found) == f'dependencies = ["{fix}"]'


def test_a_release_with_another_cuda_is_none_to_keep() -> None:
    item = judged("x====", "2.9.1")
    reason = Reason(Cause.CUDA, "libcudart.so.12", "torch 2.11.0 ships libcudart.so.13")
    cell = Cell(ReleaseStatus.BREAKS, (reason,), LayoutStatus.UNCHANGED)
    row = {**item.matrix.row, RELEASES[4]: cell}
    item = replace(item, matrix=Matrix({PATH: row}, row))
    (found,) = [f for f in run_rules(item, CATALOG) if f.rule == "layout-changed"]
    assert fix_of(found) == 'dependencies = ["torch>=2.9,<2.11"]'


def test_only_the_libraries_whose_classes_changed_are_named() -> None:
    item, other = judged("x==xx", "2.9.1"), judged("=====").matrix.row
    row = item.matrix.row
    some = {**row, RELEASES[0]: other[RELEASES[0]]}
    matrix = Matrix({PATH: row, "b.so": other, "c.so": some}, row)
    three = subject(dict.fromkeys(matrix.libraries, library("_ZN2at6TensorD1Ev")), item.claims)
    built = {**item.built, "b.so": None, "c.so": None}
    item = replace(three, matrix=matrix, built=built)
    (found,) = [f for f in run_rules(item, CATALOG) if f.rule == "layout-changed"]
    assert found.libraries == (PATH, "c.so")
    assert found.message.startswith("the wheel was built with torch 2.9.1, but")


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
        assert found.message.endswith("where at::Grave differs")
        assert [piece.name for piece in found.evidence] == ["at::Grave", "at::Slight"]

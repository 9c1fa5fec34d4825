"""What the rules about the requirement on torch say and advise, to the letter."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from tests.builders import CATALOG, RELEASES, claims, dylib, fix_of, library, shown, subject
from torch_abi_audit.catalog import Catalog, Platform
from torch_abi_audit.catalog.exports import Build, make_table
from torch_abi_audit.catalog.storage import write_archive
from torch_abi_audit.claims.torch_requirement import with_bounds
from torch_abi_audit.model import (
    BuiltWith,
    Cause,
    Cell,
    Claims,
    DemandSource,
    Finding,
    Floor,
    LayoutChange,
    LayoutStatus,
    Library,
    Matrix,
    MetadataChange,
    Reason,
    ReleaseStatus,
    Severity,
    Sign,
    Subject,
)
from torch_abi_audit.rules import run_rules
from torch_abi_audit.rules.torch_claims import _instead, _likeness

TORCH = ("libtorch_cpu.so",)
STABLE = library("torch_ten", needed=TORCH)
DESTRUCTOR = library("_ZN2at6TensorD1Ev", needed=TORCH)  # in all releases
NEW = library("_ZN2at3newEv", needed=TORCH)  # in 2.10.0 and 2.11.0
NEVER = library("_ZN2at5neverEv", needed=TORCH)
DATA = library("malloc")


def of_rule(rule: str, item: Subject) -> list[Finding]:
    return [finding for finding in run_rules(item, CATALOG) if finding.rule == rule]


def only(rule: str, libraries: dict[str, Library], promised: Claims) -> Finding:
    (found,) = of_rule(rule, subject(libraries, promised))
    return found


def asked_by_hand(libraries: dict[str, Library], torch: str, judged: str) -> Subject:
    item = subject(libraries, claims(torch=(torch,)), judged=judged)
    return replace(item, source=DemandSource.TORCH)


@pytest.mark.parametrize(
    ("libraries", "torch", "where", "line"),
    [
        ({"a.so": STABLE}, (), "does not declare it", "torch>=2.10"),
        ({"a.so": library(needed=TORCH)}, (), "does not declare it", "torch"),
        (
            {"a.so": STABLE},
            ("torch; extra == 'gpu'", "torch; extra == 'all'"),
            "declares it only for the extra all, gpu",
            "torch>=2.10",
        ),
        (
            {"a.so": STABLE},
            ("torch; python_version >= '3.12'",),
            "declares it only under a marker that does not always apply",
            "torch>=2.10",
        ),
    ],
)
def test_undeclared(
    libraries: dict[str, Library], torch: tuple[str, ...], where: str, line: str
) -> None:
    promised = claims(torch=torch, extras=("gpu", "all", "docs"))
    found = only("torch-undeclared", {**libraries, "b.so": DATA}, promised)
    assert found.message == f"1 library links to torch, but the metadata {where}"
    assert found.libraries == ("a.so",)
    assert fix_of(found) == f'dependencies = ["{line}"]'
    assert found.fix is not None
    assert found.fix.change == MetadataChange(torch=line)


def test_what_is_undeclared_and_unstable_is_told_of_once() -> None:
    for item in (NEW, NEVER):
        found = run_rules(subject({"a.so": item}, claims()), CATALOG)
        rules = {finding.rule for finding in found if finding.severity is Severity.ERROR}
        assert rules == {"unstable-torch-symbol", "torch-unpinned"}
        assert not [finding for finding in found if finding.rule == "torch-undeclared"]
        (unpinned,) = [finding for finding in found if finding.rule == "torch-unpinned"]
        assert unpinned.message.endswith(", but torch is not declared as a dependency")


def test_nothing_is_undeclared_where_nothing_is_declared() -> None:
    item = subject({"a.so": STABLE}, replace(claims(), stated=False))
    assert of_rule("torch-undeclared", item) == []


def test_floors_of_what_was_asked_for_by_hand() -> None:
    libraries = {"a.so": STABLE, "b.so": library("aoti_torch_old", needed=TORCH), "c.so": DATA}
    item = asked_by_hand(libraries, "torch==2.10.*", ">=2.9")
    (found,) = of_rule("torch-floor-understated", item)
    assert found.libraries == ("a.so",)
    assert found.fix is None  # the metadata is not what allows them
    assert found.message.startswith("--torch allows torch 2.9, but the wheel needs 2.10 or newer:")


def test_the_oldest_of_all_environments_counts() -> None:
    torch = ("torch>=2.9; python_version < '3.12'", "torch>=2.8; python_version >= '3.12'")
    found = only("torch-floor-understated", {"a.so": STABLE}, claims(torch=torch))
    assert found.message.startswith("the metadata allows torch 2.8-2.9, but")


@pytest.mark.parametrize(
    ("item", "torch", "said", "fix"),
    [
        (
            NEVER,
            "torch>=2.9,<2.12",
            (
                " and does not load on any known torch release (2.8-2.11), but the metadata allows"
                " torch 2.9-2.11"
            ),
            "rebuild the wheel with one torch release, and pin that release",
        ),
        (
            NEW,
            "torch>=2.9,<2.11",
            " and loads only on torch 2.10-2.11, but the metadata allows torch 2.9-2.10",
            (
                "pin the torch release that the wheel was built with:"
                ' "torch==2.10.*" or "torch==2.11.*"'
            ),
        ),
        # What CUDA is in the way of it does not load on, as the matrix has it.
        (
            library("_ZN2at3newEv", needed=(*TORCH, "libcudart.so.12")),
            "torch>=2.9,<2.12",
            " and loads only on torch 2.10, but the metadata allows torch 2.9-2.11",
            'dependencies = ["torch==2.10.*"]',
        ),
        (NEW, "torch>=2.9.0,<2.10", None, None),
        (NEW, "torch==2.11.*", None, None),
        # That is for the rule about CUDA alone.
        (
            library("_ZN2at3newEv", needed=(*TORCH, "libcudart.so.12")),
            "torch>=2.10,<2.12",
            None,
            None,
        ),
    ],
)
def test_unpinned(item: Library, torch: str, said: str | None, fix: str | None) -> None:
    found = of_rule("torch-unpinned", subject({"a.so": item}, claims(torch=(torch,))))
    assert [(hit.message, fix_of(hit)) for hit in found] == (
        [(f"the wheel uses the unstable ABI{said}", fix)] if said else []
    )
    for hit in found:
        assert shown(hit)[0] == torch.replace("torch>=2.9,<", "torch<") + ",>=2.9"
        assert hit.libraries == ("a.so",)


@pytest.mark.parametrize(
    ("built", "said"),
    [
        (BuiltWith((Version("2.10.0"),), Sign.ASSERTIONS), " (built with torch 2.10.0)"),
        (BuiltWith((Version("2.9.1"),), Sign.NAME), " (built with torch 2.9.1)"),
        (
            BuiltWith((Version("2.9.1"), Version("2.10.0")), Sign.ASSERTIONS),
            " (built with torch 2.9 or 2.10)",
        ),
        (
            BuiltWith((Version("2.9.0"), Version("2.9.1")), Sign.ASSERTIONS),
            " (built with torch 2.9)",
        ),
        (BuiltWith((), Sign.DATE, newest=Version("2.10.0")), ""),  # only narrows it
        (None, ""),
    ],
)
def test_unpinned_says_what_it_was_built_with(built: BuiltWith | None, said: str) -> None:
    item = subject({"a.so": DESTRUCTOR}, claims(torch=("torch>=2.9",)))
    item = replace(item, built={"a.so": built})
    (hit,) = of_rule("torch-unpinned", item)
    assert hit.message == (
        f"the wheel uses the unstable ABI{said} and loads on torch 2.8-2.11, but the metadata"
        " allows torch 2.9 and newer"
    )


def test_what_a_pin_would_exclude_is_its_evidence() -> None:
    (found,) = of_rule("torch-unpinned", subject({"a.so": NEW}, claims(torch=("torch>=2.8",))))
    assert [(item.name, item.detail) for item in found.evidence] == [
        ("torch>=2.8", ""),
        ("_ZN2at3newEv", "torch 2.9.1: added in torch 2.10.0"),
    ]
    assert of_rule("torch-symbol-missing", subject({"a.so": NEW}, claims(torch=("torch",)))) == []


def test_libraries_that_lack_the_same_are_told_of_together() -> None:
    libraries = {"a.so": NEVER, "b.so": NEW, "c.so": NEVER, "d.so": DATA}
    item = subject(libraries, claims(torch=("torch==2.9.*",)))
    found = of_rule("torch-symbol-missing", item)
    assert [(hit.libraries, hit.message) for hit in found] == [
        (
            ("a.so", "b.so", "c.so"),
            (
                "torch 2.9, allowed by the metadata, lack 2 names that 3 libraries need: at::never"
                " (no torch build for linux_x86_64 exports it)"
            ),
        ),
    ]
    assert [(item.name, item.detail) for item in found[0].evidence] == [
        ("_ZN2at5neverEv", "no torch build for linux_x86_64 exports it"),
        ("_ZN2at3newEv", "added in torch 2.10.0"),
    ]


def test_one_release_lacks_it() -> None:
    (found,) = of_rule(
        "torch-symbol-missing", subject({"a.so": NEW}, claims(torch=("torch==2.9.1",)))
    )
    assert found.message == (
        "torch 2.9.1, allowed by the metadata, lacks 1 name that 1 library needs: at::new (added in"
        " torch 2.10.0)"
    )
    assert found.fix is not None
    assert [change.torch for change in found.fix.choices] == ["torch==2.10.*", "torch==2.11.*"]


def test_no_alternative_for_a_release() -> None:
    libraries = {
        "torch-2.9/_C.so": library("aoti_torch_old", needed=TORCH),
        "torch-2.10/_C.so": STABLE,
        "other.so": STABLE,
        "torch-2.10/_D.so": STABLE,
        "torch-2.11/_D.so": STABLE,
    }
    item = subject(libraries, claims(torch=("torch>=2.10",)))
    (found,) = of_rule("torch-symbol-missing", item)
    assert found.message == "the metadata allows torch 2.11, but no library of */_C.so is for that"
    assert found.libraries == ("torch-2.10/_C.so", "torch-2.9/_C.so")
    assert fix_of(found) == "add libraries for torch 2.11, or exclude that release"


def test_several_libraries_have_no_alternative_for_a_release() -> None:
    """Those that lack the same releases are one finding, with one fix."""
    old = library("aoti_torch_old", needed=TORCH)
    libraries = {
        f"torch-{release}/{name}.so": old
        for release in ("2.9", "2.10")
        for name in ("_A", "_B", "_C")
    }
    libraries |= {"torch-2.10/_D.so": old, "torch-2.11/_D.so": old}
    promised = claims(torch=("torch>=2.9",))
    other, found = of_rule("torch-symbol-missing", subject(libraries, promised))
    assert found.message == (
        "the metadata allows torch 2.11, but no library of */_A.so or 2 others is for that"
    )
    assert len(found.libraries) == 6
    assert fix_of(found) == "add libraries for torch 2.11, or exclude that release"
    assert other.message == "the metadata allows torch 2.9, but no library of */_D.so is for that"
    del libraries["torch-2.9/_C.so"], libraries["torch-2.10/_C.so"]
    _, found = of_rule("torch-symbol-missing", subject(libraries, promised))
    assert found.message == (
        "the metadata allows torch 2.11, but no library of */_A.so or */_B.so is for that"
    )


@pytest.mark.parametrize(
    ("item", "promised", "said", "fix"),
    [
        (
            STABLE,
            "2.8",
            "the wheel does not load on torch 2.8-2.9: torch_ten (added in torch 2.10.0)",
            "raise min-torch",
        ),
        (
            NEW,
            "2.9",
            "the wheel does not load on torch 2.9: at::new (added in torch 2.10.0)",
            "drop min-torch until the wheel is on the stable ABI",
        ),
        (
            STABLE,
            "2.9",
            "the wheel does not load on torch 2.9: torch_ten (added in torch 2.10.0)",
            "build with -DTORCH_TARGET_VERSION=0x0209000000000000, or raise min-torch",
        ),
        (
            library("aoti_torch_old", needed=TORCH),
            "2.8",
            "the wheel needs torch 2.9",
            "raise min-torch",
        ),
    ],
)
def test_promises(item: Library, promised: str, said: str, fix: str) -> None:
    libraries = {"a.so": item, "b.so": DATA}
    asked = replace(subject(libraries, claims(torch=("torch",))), min_torch=Version(promised))
    (found,) = of_rule("torch-promise-broken", asked)
    assert found.message == f"min-torch is {promised}, but {said}"
    assert (found.libraries, fix_of(found)) == (("a.so",), fix)


def test_a_promise_that_the_metadata_does_not_keep() -> None:
    asked = subject({"a.so": STABLE}, claims(torch=("torch>=2.11",)))
    (found,) = of_rule("torch-promise-broken", replace(asked, min_torch=Version("2.10")))
    assert found.message == "min-torch is 2.10, but the metadata does not allow torch 2.10"
    assert fix_of(found) == 'dependencies = ["torch>=2.10"]'
    # Nothing is out yet that it could allow.
    assert of_rule("torch-promise-broken", replace(asked, min_torch=Version("2.77"))) == []


def test_releases_that_are_excluded_and_guaranteed() -> None:
    rule = "torch-floor-overstated"
    found = only(
        rule, {"a.so": library("aoti_torch_old", needed=TORCH)}, claims(torch=("torch>=2.11",))
    )
    assert found.message == (
        "the metadata excludes torch 2.9-2.10, where the stable ABI guarantees that the wheel loads"
    )
    fix = 'dependencies = ["torch>=2.9"], if the package\'s Python code works there too'
    assert (shown(found), fix_of(found)) == (("torch>=2.11",), fix)
    by_hand = asked_by_hand({"a.so": STABLE}, "torch>=2.10", ">=2.11")
    assert of_rule(rule, by_hand) == []
    assert of_rule(rule, replace(by_hand, demands=())) == []


def test_what_is_undeclared_is_declared_as_far_as_it_loads() -> None:
    cuda = library("torch_ten", needed=(*TORCH, "libcudart.so.12"))
    found = only("torch-undeclared", {"a.so": cuda}, claims())
    assert fix_of(found) == 'dependencies = ["torch==2.10.*"]'


def with_floor(torch: str, *names: str) -> Subject:
    """A target that needs 2.10.0 for functions of these names."""
    item = subject({"a.so": STABLE}, claims(torch=(torch,)))
    vars(item).update(torch_floor=Floor(Version("2.10.0"), names))  # in place of the libraries'
    return item


def test_of_several_functions_the_first_is_named() -> None:
    (found,) = of_rule("torch-floor-understated", with_floor("torch>=2.9", "torch_a", "torch_b"))
    assert found.message.endswith("needs 2.10 or newer: torch_a was added in 2.10")
    assert shown(found) == ("torch_a", "torch_b")
    item = with_floor("torch>=2.10", "torch_a", "torch_b")
    row = dict.fromkeys(CATALOG.releases, Cell(ReleaseStatus.LINKS))
    item = replace(item, matrix=Matrix({"a.so": row}, row), min_torch=Version("2.9"))
    vars(item).update(torch_floor=Floor(Version("2.10.0"), ("torch_a", "torch_b")))
    (found,) = of_rule("torch-promise-broken", item)
    assert found.message == (
        "min-torch is 2.9, but the wheel needs torch 2.10: torch_a was added there"
    )


def test_a_build_is_advised_for_the_oldest_release_that_is_allowed() -> None:
    new = {"a.so": library("torch_eleven", needed=TORCH)}
    found = only("torch-floor-understated", new, claims(torch=("torch>=2.9",)))
    assert fix_of(found) == (
        'dependencies = ["torch>=2.11"], or build with -DTORCH_TARGET_VERSION=0x0209000000000000'
    )


CHANGE = LayoutChange("c10::Thing", "8 to 16 bytes", Version("2.9.0"), grave=False)
LINKS, BREAKS = Cell(ReleaseStatus.LINKS, (), LayoutStatus.UNKNOWN), Cell(ReleaseStatus.BREAKS)
CHANGED = Cell(ReleaseStatus.LINKS, (), LayoutStatus.CHANGED, (CHANGE,))
UNKNOWN = Cell(ReleaseStatus.UNKNOWN)


def with_cells(*cells: Cell, torch: tuple[str | None, ...] = ("",), item: Library = NEW) -> Subject:
    """A target with these cells for the oldest releases, and such demands."""
    found = subject({"a.so": item}, claims(torch=("torch",)))
    row = dict(zip(CATALOG.releases, cells, strict=False))
    demands = tuple(None if text is None else SpecifierSet(text) for text in torch)
    return replace(found, matrix=Matrix({"a.so": row}, row), demands=demands, required=demands)


def test_where_nothing_is_known_nothing_is_said_of_loading() -> None:
    (found,) = of_rule("torch-unpinned", with_cells(*[UNKNOWN] * 5))
    assert found.message == "the wheel uses the unstable ABI, but the metadata allows any release"
    assert fix_of(found) == "pin the torch release that the wheel was built with"
    (found,) = of_rule("torch-unpinned", with_cells(UNKNOWN, UNKNOWN, BREAKS, UNKNOWN, UNKNOWN))
    assert "does not load on any known torch release (2.8-2.11)" in found.message
    assert fix_of(found) == "rebuild the wheel with one torch release, and pin that release"


@pytest.mark.parametrize(
    ("torch", "said"),
    [
        (("", "==2.8.*"), "allows any release"),
        ((">=2.10", "==2.8.*"), "allows torch 2.8, 2.10 and newer"),
        ((">=2.10,<2.12", "==2.8.*"), "allows torch 2.8, 2.10-2.11"),
    ],
)
def test_what_any_environment_allows_is_allowed(torch: tuple[str, ...], said: str) -> None:
    breaking = with_cells(BREAKS, LINKS, LINKS, LINKS, BREAKS, torch=torch)
    (found,) = of_rule("torch-unpinned", breaking)
    assert found.message.endswith(f", but the metadata {said}")


def test_each_release_that_it_loads_on_is_to_choose_from() -> None:
    """Nothing shows which one it was built with: a wheel built with 2.9.1 loads on 2.7 to 2.15."""
    item = with_cells(*[LINKS] * 5)
    newer = [Version(f"2.{minor}.0") for minor in range(12, 20)]
    catalog = replace(
        CATALOG,
        releases=(*CATALOG.releases, *newer),
        published=(*CATALOG.published, *newer),
    )
    row = {**item.matrix.row, **dict.fromkeys(newer, LINKS)}
    item = replace(item, matrix=Matrix({"a.so": row}, row))
    (found,) = [f for f in run_rules(item, catalog) if f.rule == "torch-unpinned"]
    assert found.fix is not None
    lines = [f"torch==2.{minor}.*" for minor in range(8, 20)]
    assert [change.torch for change in found.fix.choices] == lines
    assert found.fix.text.endswith(" or ".join(f'"{line}"' for line in lines))


def test_a_pin_would_exclude_symbols_and_layouts_each_told_of_once() -> None:
    cuda = library("_ZN2at3newEv", needed=(*TORCH, "libcudart.so.12"))
    (found,) = of_rule("torch-unpinned", subject({"a.so": cuda}, claims(torch=("torch>=2.9",))))
    # Another CUDA is no symbol, and another rule's matter.
    assert [(piece.name, piece.detail) for piece in found.evidence] == [
        ("torch>=2.9", ""),
        ("_ZN2at3newEv", "torch 2.9.1: added in torch 2.10.0"),
    ]
    item = with_cells(CHANGED, BREAKS, CHANGED, LINKS, LINKS)
    (found,) = of_rule("torch-unpinned", item)
    assert [(piece.name, piece.detail) for piece in found.evidence] == [
        ("torch", ""),
        ("c10::Thing", "8 to 16 bytes since 2.9.0"),
    ]
    # A release that the target was not judged by has nothing to say.
    (found,) = of_rule("torch-unpinned", with_cells(CHANGED, BREAKS))
    assert [piece.name for piece in found.evidence] == ["torch", "c10::Thing"]


@pytest.mark.parametrize(
    ("number", "detail"),
    [
        (19, "last in torch 2.9.1; torch 2.11.0 has at::change(long)"),
        (20, "last in torch 2.9.1"),  # that is enough to look at
    ],
)
def test_what_is_there_instead_is_looked_up_for_the_first_names(number: int, detail: str) -> None:
    names = [f"_ZN2at2{letter}xEv" for letter in "abcdefghijklmnopqrst"[:number]]
    item = library(*names, "_ZN2at6changeEi", needed=TORCH)
    found = only("torch-symbol-missing", {"a.so": item}, claims(torch=("torch==2.11.*",)))
    assert len(found.evidence) == number + 1
    details = {piece.name: piece.detail for piece in found.evidence}
    assert details["_ZN2at6changeEi"] == detail
    assert details["_ZN2at2axEv"] == "no torch build for linux_x86_64 exports it"


def test_what_is_there_instead_is_what_that_release_has() -> None:
    """The others of that name came later; and it is the platform of the library that counts."""
    item = library("_ZN2at6changeEd", needed=TORCH)
    libraries = {"a.dylib": dylib("@rpath/x.dylib:malloc"), "b.so": item}
    for release, has in (("2.9.1", "at::change(int)"), ("2.11.0", "at::change(long)")):
        found = only("torch-symbol-missing", libraries, claims(torch=(f"torch=={release}",)))
        (piece,) = found.evidence
        assert piece.detail == (
            f"no torch build for linux_x86_64 exports it; torch {Version(release)} has {has}"
        )


def exporting(*names: str) -> Catalog:
    """The catalog, with what torch exports of these names alone."""
    builds = [
        Build(release, None, {"libtorch_cpu.so": ()}, cxx11=True) for release in CATALOG.releases
    ]
    table = make_table([{"libtorch_cpu.so": list(names)}] * len(builds))
    data = write_archive(builds, table, {})
    platform = Platform("linux_x86_64", lambda: io.BytesIO(data))
    return replace(CATALOG, platforms={"linux_x86_64": platform})


def instead_of(name: str, catalog: Catalog) -> tuple[str, str]:
    item = subject({"a.so": library(name, needed=TORCH)})
    missing = [Reason(Cause.SYMBOL, name, "in no torch")]
    return _instead(item, catalog, "a.so", missing, CATALOG.newest)


def test_another_template_is_not_there_instead() -> None:
    catalog = exporting("_ZN2at6changeIlEEvl", "_ZN2at6changeIiEEvi")
    assert instead_of("_ZN2at6changeIdEEvd", catalog) == ("", "")
    name = "_ZN2at6changeIiEEvl"
    assert instead_of(name, catalog) == (name, "torch 2.11.0 has void at::change<int>(int)")


def test_what_is_there_instead_is_looked_for_among_many() -> None:
    """But not among all that a hostile file may name."""
    catalog = exporting(*(f"_ZN2at6changeE4A{number:03}" for number in range(501)))
    for wanted, found in (("A499x", "A499"), ("A500x", "A")):
        name = f"_ZN2at6changeE5{wanted}"
        missing, has = instead_of(name, catalog)
        assert missing == name
        assert has.startswith(f"torch 2.11.0 has at::change({found}")
        assert has != "torch 2.11.0 has at::change(A500)"


def test_names_are_alike_by_their_beginnings() -> None:
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 1000)))
    assert _likeness(f"{text}a", f"{text}b") == 1
    assert _likeness(f"{text[:999]}a", f"{text[:999]}b") == 0.999
    # By all letters, of which there are few.
    assert _likeness("x" + "ab" * 150, "y" + "ab" * 140) > 0.9


def test_what_is_there_instead_is_of_the_newest_release() -> None:
    older = Reason(Cause.SYMBOL, "_ZN2at6changeEl", "added in torch 2.10.0")
    newer = Reason(Cause.SYMBOL, "_ZN2at5neverEv", "no torch build exports it")
    row = dict(
        zip(
            CATALOG.releases[1:3],
            (Cell(ReleaseStatus.BREAKS, (older,)), Cell(ReleaseStatus.BREAKS, (newer,))),
            strict=True,
        )
    )
    item = with_cells(torch=("==2.9.*",))
    (found,) = of_rule("torch-symbol-missing", replace(item, matrix=Matrix({"a.so": row}, row)))
    # The other one is not what 2.9.1 lacks, as far as is known.
    assert [(piece.name, piece.detail) for piece in found.evidence] == [
        ("_ZN2at5neverEv", "no torch build exports it"),
        ("_ZN2at6changeEl", "added in torch 2.10.0"),
    ]


def test_long_names_are_cut() -> None:
    name = "n" * 60
    item = library(f"_ZN2at60{name}Ev", needed=TORCH)
    found = only("torch-symbol-missing", {"a.so": item}, claims(torch=("torch==2.11.*",)))
    cut = f"at::{name}"[:50]
    assert found.message.endswith(f": {cut} (no torch build for linux_x86_64 exports it)")


def test_releases_that_are_not_known() -> None:
    """It is an error where no symbol says from which release on the wheel loads."""
    known = "but the known releases are 2.8-2.11: not checked there"
    libraries = {"a.so": STABLE, "b.so": DATA}
    found = only("unknown-release", libraries, claims(torch=("torch>=2.99",)))
    assert found.message == f"the metadata requires torch>=2.99, {known}"
    assert found.severity is Severity.WARNING
    libraries["b.so"] = library("aoti_torch_new", needed=TORCH)
    found = only("unknown-release", libraries, claims(torch=("torch>=2.99",)))
    assert found.severity is Severity.ERROR
    both = ("torch>=2.99; python_version < '3.12'", "torch>=3; python_version >= '3.12'")
    found = only("unknown-release", {"a.so": STABLE}, claims(torch=both))
    assert found.message == f"the metadata requires torch>=2.99 or torch>=3, {known}"
    # One of the environments has a known one.
    both = ("torch>=2.99; python_version < '3.12'", "torch>=2.10; python_version >= '3.12'")
    assert of_rule("unknown-release", subject({"a.so": STABLE}, claims(torch=both))) == []


@pytest.mark.parametrize(
    ("cells", "torch", "told"),
    [
        ((UNKNOWN,) * 5, ("==2.10.*",), True),
        ((UNKNOWN,) * 5, (None, "==2.10.*"), True),
        ((UNKNOWN,) * 5, (None,), False),  # that is what is wrong then
        ((UNKNOWN, *(LINKS,) * 4), ("==2.10.*",), False),
    ],
)
def test_a_platform_without_a_known_torch(
    cells: tuple[Cell, ...],
    torch: tuple[str | None, ...],
    told: bool,  # noqa: FBT001
) -> None:
    found = of_rule("unknown-release", with_cells(*cells, torch=torch))
    assert [hit.severity for hit in found] == ([Severity.ERROR] if told else [])


def test_a_promise_is_broken_by_what_its_oldest_release_lacks() -> None:
    """What is missing from a later one only is told of when the rest is put right."""
    item = library("torch_ten", "torch_eleven", "aoti_torch_gone", needed=TORCH)
    libraries = {"a.so": item, "b.so": library("aoti_torch_gone", needed=TORCH)}
    asked = replace(subject(libraries, claims(torch=("torch",))), min_torch=Version("2.8"))
    (found,) = of_rule("torch-promise-broken", asked)
    assert found.message == (
        "min-torch is 2.8, but the wheel does not load on torch 2.8-2.11: torch_eleven (added in"
        " torch 2.11.0)"
    )
    assert found.libraries == ("a.so",)
    assert sorted(piece.name for piece in found.evidence) == ["torch_eleven", "torch_ten"]


def test_nothing_is_excluded_where_nothing_is_required() -> None:
    item = subject({"a.so": STABLE}, claims(torch=("torch>=2.10",)))
    assert of_rule("torch-floor-overstated", replace(item, demands=())) == []


LINK = "put -lstdc++ before the torch libraries on the link line"


@pytest.mark.parametrize(
    ("names", "fix"),
    [
        # It is libstdc++'s, which torch only happens to have.
        (("_ZSt9leaked_upv",), f'dependencies = ["torch>=2.10,<2.12"], or {LINK}'),
        (("_ZSt9leaked_upv", "aoti_torch_old"), f'dependencies = ["torch>=2.10"], or {LINK}'),
    ],
)
def test_where_a_wheel_loads_that_lacks_what_is_of_libstdcxx(
    names: tuple[str, ...], fix: str
) -> None:
    promised = claims("py39-none-manylinux2014_x86_64", torch=("torch",))
    libraries = {"a.so": library(*names, needed=TORCH)}
    assert fix_of(only("torch-symbol-missing", libraries, promised)) == fix
    by_hand = replace(subject(libraries, promised), source=DemandSource.TORCH)
    (found,) = of_rule("torch-symbol-missing", by_hand)
    assert fix_of(found) == LINK


def test_where_a_wheel_loads_that_lacks_something_of_torchs() -> None:
    lacking = Cell(ReleaseStatus.BREAKS, (Reason(Cause.LIBRARY, "libx.so", "not in torch"),))
    guaranteed = Cell(ReleaseStatus.GUARANTEED)
    item = with_cells(*[lacking] * 4, guaranteed, torch=(">=2.10",), item=STABLE)
    (found,) = of_rule("torch-symbol-missing", item)
    assert fix_of(found) == 'dependencies = ["torch>=2.11"]'
    item = with_cells(*[lacking] * 5, torch=(">=2.10",), item=STABLE)
    (found,) = of_rule("torch-symbol-missing", item)
    assert found.fix is None


@pytest.mark.parametrize(
    ("libraries", "said", "paths"),
    [
        (
            {"a.so": library(needed=TORCH), "b.so": library(needed=("libc.so.6",))},
            "1 library links to torch, but no symbol of it is used, and --require torch is given",
            ("a.so",),
        ),
        (
            {"b.so": library(needed=("libc.so.6",))},
            "no library uses torch, but --require torch is given",
            (),
        ),
        ({}, "no library uses torch, but --require torch is given", ()),
        ({"a.so": DESTRUCTOR, "b.so": library()}, None, ()),
    ],
)
def test_torch_is_required(
    libraries: dict[str, Library], said: str | None, paths: tuple[str, ...]
) -> None:
    item = replace(subject(libraries), require_torch=True)
    found = of_rule("torch-unused", item)
    assert [(hit.message, hit.libraries) for hit in found] == ([(said, paths)] if said else [])
    assert of_rule("torch-unused", subject(libraries)) == []


@pytest.mark.parametrize(
    ("line", "demands", "found"),
    [
        ("torch>=2.10", [">=2.4"], "torch>=2.10"),
        ("torch>=2.10", [">=2.4,<2.11"], "torch>=2.10,<2.11"),
        ("torch>=2.10", [">=2.4,<3,<2.11"], "torch>=2.10,<2.11"),  # the other adds nothing
        ("torch>=2.10", [">=2.4,<=2.10.0"], "torch>=2.10,<=2.10.0"),
        ("torch>=2.9", [">=2.4,!=2.9.1,!=2.8.0"], "torch>=2.9,!=2.9.1"),
        ("torch>=2.10", ["~=2.9"], "torch>=2.10,<3"),
        ("torch>=2.9", ["~=2.8.0"], "torch>=2.9"),  # nothing would be left
        ("torch>=2.10", ["==2.*"], "torch>=2.10,<3"),
        ("torch>=2.10", ["<2.10,<3"], "torch>=2.10,<3"),
        ("torch>=2.9", ["<2.10", "<2.11"], "torch>=2.9,<2.11"),  # what any of them allows
        ("torch>=2.9", ["<2.10", None], "torch>=2.9"),
        ("torch>=2.9", ["!=2.9.1", "!=2.9.0"], "torch>=2.9"),
        ("torch>=2.9", ["===2.8.0+cpu", "==2.8.0+cu128"], "torch>=2.9"),
        ("torch==2.10.*", [">=2.4,<2.11"], "torch==2.10.*"),
        ("torch>=2.10", [], "torch>=2.10"),
    ],
)
def test_what_the_author_excludes_stays_excluded(
    line: str, demands: list[str | None], found: str
) -> None:
    given = [None if demand is None else SpecifierSet(demand) for demand in demands]
    assert with_bounds(line, given, [*map(Version, RELEASES)]) == found

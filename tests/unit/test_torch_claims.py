"""What the rules about the requirement on torch say and advise, to the letter."""

from __future__ import annotations

from dataclasses import replace

import pytest
from packaging.version import Version

from tests.builders import CATALOG, claims, fix_of, library, shown, subject
from torch_abi_audit.model import (
    BuiltWith,
    Claims,
    DemandSource,
    Finding,
    Library,
    MetadataChange,
    Severity,
    Sign,
    Subject,
)
from torch_abi_audit.rules import run_rules

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
        # What CUDA is in the way of is not what it can't be linked with, and not advised.
        (
            library("_ZN2at3newEv", needed=(*TORCH, "libcudart.so.12")),
            "torch>=2.9,<2.12",
            " and loads only on torch 2.10-2.11, but the metadata allows torch 2.9-2.11",
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
        (BuiltWith((Version("2.10.0"),), Sign.ASSERTIONS), " (built with torch 2.10)"),
        (BuiltWith((Version("2.9.1"),), Sign.NAME), " (built with torch 2.9.1)"),
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
    assert fix_of(found) == "add a library for each of these releases, or exclude them"


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

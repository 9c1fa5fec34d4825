"""What the rules about the requirement on torch say and advise, to the letter."""

from __future__ import annotations

from dataclasses import replace

import pytest
from packaging.version import Version

from tests.builders import CATALOG, claims, fix_of, library, shown, subject
from torch_abi_audit.model import Claims, DemandSource, Finding, Library, Subject
from torch_abi_audit.rules import run_rules

TORCH = ("libtorch_cpu.so",)
STABLE = library("torch_ten", needed=TORCH)
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
        ({"a.so": STABLE}, (), "does not require it", "torch>=2.10"),
        ({"a.so": NEW}, (), "does not require it", "torch>=2.10,<2.12"),
        ({"a.so": NEVER}, (), "does not require it", None),
        ({"a.so": library(needed=TORCH)}, (), "does not require it", "torch"),
        (
            {"a.so": STABLE},
            ("torch; extra == 'gpu'", "torch; extra == 'all'"),
            "requires it only with the extra all, gpu",
            "torch>=2.10",
        ),
        (
            {"a.so": STABLE},
            ("torch; python_version >= '3.12'",),
            "requires it only under a marker that does not hold everywhere",
            "torch>=2.10",
        ),
    ],
)
def test_undeclared(
    libraries: dict[str, Library], torch: tuple[str, ...], where: str, line: str | None
) -> None:
    promised = claims(torch=torch, extras=("gpu", "all", "docs"))
    found = only("torch-undeclared", {**libraries, "b.so": DATA}, promised)
    assert found.message == f"1 library needs torch, and the metadata {where}"
    assert found.libraries == ("a.so",)
    pin = "requirement on the one release of torch that it was built with"
    assert fix_of(found) == (f"add Requires-Dist: {line}" if line else f"add a {pin}")
    assert found.fix is not None
    assert found.fix.requires == line


def test_nothing_is_undeclared_where_nothing_is_declared() -> None:
    item = subject({"a.so": STABLE}, replace(claims(), stated=False))
    assert of_rule("torch-undeclared", item) == []


def test_floors_of_what_was_asked_for_by_hand() -> None:
    libraries = {"a.so": STABLE, "b.so": library("aoti_torch_old", needed=TORCH), "c.so": DATA}
    item = asked_by_hand(libraries, "torch==2.10.*", ">=2.9")
    (found,) = of_rule("torch-floor-understated", item)
    assert found.libraries == ("a.so",)
    assert fix_of(found) == "it is for torch>=2.10, or build with -DTORCH_TARGET_VERSION=0x" + (
        "0209" + "0" * 12
    )
    assert found.fix is not None
    assert found.fix.requires is None
    assert "torch 2.9.0, the wheel needs 2.10.0 or newer" in found.message


def test_the_oldest_of_all_environments_counts() -> None:
    torch = ("torch>=2.9; python_version < '3.12'", "torch>=2.8; python_version >= '3.12'")
    found = only("torch-floor-understated", {"a.so": STABLE}, claims(torch=torch))
    assert found.message.startswith("the metadata admits torch 2.8.0, ")


@pytest.mark.parametrize(
    ("item", "torch", "said", "fix"),
    [
        (
            NEVER,
            "torch>=2.9,<2.12",
            (
                "it loads with no torch of 2.8.0 to 2.11.0, and the metadata admits torch 2.9.0 to"
                " 2.11.0"
            ),
            "build it with one release of torch, and require that release",
        ),
        (
            NEW,
            "torch>=2.9,<2.11",
            "it loads with torch 2.10.0 to 2.11.0, and the metadata admits torch 2.9.0 to 2.10.0",
            "Requires-Dist: torch>=2.10,<2.12",
        ),
        # What CUDA is in the way of is not what it can't be linked with, and not advised.
        (
            library("_ZN2at3newEv", needed=(*TORCH, "libcudart.so.12")),
            "torch>=2.9,<2.12",
            "it loads with torch 2.10.0 to 2.11.0, and the metadata admits torch 2.9.0 to 2.11.0",
            "Requires-Dist: torch==2.10.*",
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
    assert [(hit.message, fix_of(hit)) for hit in found] == ([(said, fix)] if said else [])
    assert all(shown(hit) == (torch.replace("torch>=2.9,<", "torch<") + ",>=2.9",) for hit in found)


def test_libraries_that_lack_the_same_are_told_of_together() -> None:
    libraries = {"a.so": NEVER, "b.so": NEW, "c.so": NEVER, "d.so": DATA}
    item = subject(libraries, claims(torch=("torch>=2.9,<2.11",)))
    found = of_rule("torch-symbol-missing", item)
    assert [(hit.libraries, hit.message) for hit in found] == [
        (
            ("a.so", "c.so"),
            (
                "torch 2.9.0 to 2.10.0, which the metadata admits, lack 1 name that it needs;"
                " 2.10.0 lacks _ZN2at5neverEv: no build of torch for linux_x86_64 has it"
            ),
        ),
        (
            ("b.so",),
            (
                "torch 2.9.0 to 2.9.1, which the metadata admits, lack 1 name that it needs; 2.9.1"
                " lacks _ZN2at3newEv: first appeared in torch 2.10.0"
            ),
        ),
    ]


def test_one_release_lacks_it() -> None:
    (found,) = of_rule(
        "torch-symbol-missing", subject({"a.so": NEW}, claims(torch=("torch==2.9.1",)))
    )
    assert found.message.startswith("torch 2.9.1, which the metadata admits, lacks 1 name")
    assert fix_of(found) == "Requires-Dist: torch>=2.10,<2.12"


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
    assert found.message.startswith(
        "there is no library for torch 2.11.0, which the metadata admits"
    )
    assert found.libraries == ("torch-2.10/_C.so", "torch-2.9/_C.so")
    assert fix_of(found) == "add one for each release, or exclude the release"


@pytest.mark.parametrize(
    ("item", "promised", "said", "fix"),
    [
        (
            STABLE,
            "2.8",
            (
                "and it does not load with torch 2.8.0 to 2.9.1: torch_ten: first appeared in"
                " torch 2.10.0"
            ),
            "promise less",
        ),
        (
            NEW,
            "2.9",
            (
                "and it does not load with torch 2.9.0 to 2.9.1: _ZN2at3newEv: first appeared in"
                " torch 2.10.0"
            ),
            "build it with -DTORCH_TARGET_VERSION=0x0209000000000000, or promise less",
        ),
        (
            library("aoti_torch_old", needed=TORCH),
            "2.8",
            "and it needs torch 2.9.0",
            "promise less",
        ),
    ],
)
def test_promises(item: Library, promised: str, said: str, fix: str) -> None:
    libraries = {"a.so": item, "b.so": DATA}
    asked = replace(subject(libraries, claims(torch=("torch",))), min_torch=Version(promised))
    (found,) = of_rule("torch-promise-broken", asked)
    assert found.message == f"torch {promised} and newer are promised, {said}"
    assert (found.libraries, fix_of(found)) == (("a.so",), fix)


def test_a_promise_that_the_metadata_does_not_keep() -> None:
    asked = subject({"a.so": STABLE}, claims(torch=("torch>=2.11",)))
    (found,) = of_rule("torch-promise-broken", replace(asked, min_torch=Version("2.10")))
    assert found.message == (
        "torch 2.10 and newer are promised, and the metadata does not admit torch 2.10.0"
    )
    assert fix_of(found) == "Requires-Dist: torch>=2.10"
    # Nothing is out yet that it could admit.
    assert of_rule("torch-promise-broken", replace(asked, min_torch=Version("2.77"))) == []


def test_releases_that_are_excluded_and_guaranteed() -> None:
    rule = "torch-floor-overstated"
    found = only(
        rule, {"a.so": library("aoti_torch_old", needed=TORCH)}, claims(torch=("torch>=2.11",))
    )
    assert found.message == (
        "the metadata excludes torch 2.9.0 to 2.10.0, where the stable ABI guarantees that it loads"
    )
    assert (shown(found), fix_of(found)) == (("torch>=2.11",), "Requires-Dist: torch>=2.9")
    by_hand = asked_by_hand({"a.so": STABLE}, "torch>=2.10", ">=2.11")
    assert of_rule(rule, by_hand) == []
    assert of_rule(rule, replace(by_hand, demands=())) == []

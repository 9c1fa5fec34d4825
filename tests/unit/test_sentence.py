"""The one sentence about a target."""

from __future__ import annotations

from dataclasses import replace

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from tests.builders import CATALOG, claims, library, subject
from torch_abi_audit.audit import Options, conclude
from torch_abi_audit.model import (
    Cell,
    DemandSource,
    Finding,
    Ignore,
    Ignored,
    LayoutStatus,
    Library,
    Matrix,
    Member,
    MetadataChange,
    MigrationProgress,
    Plan,
    ReleaseStatus,
    Severity,
    Subject,
    TargetKind,
    Verdict,
)
from torch_abi_audit.rules import UNSTABLE_ABI
from torch_abi_audit.verdict.sentence import progress, summarize, support

TORCH = ("libtorch_cpu.so",)
STABLE = library("torch_ten", needed=TORCH)
UNSTABLE = library("_ZN2at6TensorD1Ev", needed=TORCH)
TWO_RELEASES = library("_ZN2at6changeEi", needed=TORCH)
ERROR, WARNING, NOTE = Severity.ERROR, Severity.WARNING, Severity.NOTE
MANYLINUX = "py39-none-manylinux_2_28_x86_64"


def said(
    libraries: dict[str, Library],
    *torch: str,
    tag: str = MANYLINUX,
    kind: TargetKind = TargetKind.WHEEL,
    **options: object,
) -> str:
    """Return verdict and sentence of a target, by the pipeline."""
    item = subject(libraries, claims(tag, torch=torch))
    report = conclude("x.whl", kind, item, CATALOG, Options(**options))  # type: ignore[arg-type]
    return f"{report.verdict}: {report.summary}"


@pytest.mark.parametrize(
    ("torch", "sentence"),
    [
        ("torch>=2.10", "loads on torch 2.10 and newer, requires torch>=2.10"),
        ("torch>=2.11", "loads on torch 2.10 and newer, requires torch>=2.11"),
        ("torch==2.10.*", "loads on torch 2.10 and newer, requires torch==2.10.*"),
        ("torch>=2.99", "loads on torch 2.10 and newer, torch>=2.99 allows no known release"),
    ],
)
def test_what_loads_and_what_is_required(torch: str, sentence: str) -> None:
    found = said({"a.so": STABLE}, torch)
    assert found.startswith(f"safe: stable ABI: {sentence}; for Python 3.9 and newer")


def test_what_is_not_declared() -> None:
    assert said({"a.so": STABLE}) == (
        "safe: stable ABI: loads on torch 2.10 and newer, but torch is not declared; for Python 3.9"
        " and newer, 3.13t and newer; 1 warning (torch-undeclared, fix:"
        ' dependencies = ["torch>=2.10"])'
    )


def test_a_library_for_cuda_needs_a_build_with_it() -> None:
    cuda = library("torch_ten", needed=(*TORCH, "libtorch_cuda.so"))
    assert said({"a.so": STABLE, "b.so": cuda}, "torch>=2.10").startswith(
        "safe: stable ABI: loads on CUDA builds of torch 2.10 and newer, requires torch>=2.10;"
    )


def test_no_build_for_the_platform() -> None:
    assert said({"a.so": STABLE}, "torch>=2.10", tag="py39-none-musllinux_1_2_x86_64").startswith(
        "safe: stable ABI: no torch build for its platform is known; its symbols need torch 2.10"
        " or newer, requires torch>=2.10; for Python"
    )


def test_what_is_ignored_is_said_and_so_is_what_it_hid() -> None:
    cuda = library("torch_ten", needed=(*TORCH, "libcudart.so.12"))
    ignore = (Ignore("cuda-major-mismatch", "tested"),)
    assert said({"a.so": cuda}, "torch>=2.10").startswith("unsafe: do not publish: the wheel needs")
    assert said({"a.so": cuda}, "torch>=2.10", ignore=ignore) == (
        "safe: stable ABI: loads on torch 2.10, not on 2.11, allowed by the metadata; for Python"
        " 3.9 and newer, 3.13t and newer; 1 finding ignored (cuda-major-mismatch)"
    )


def test_notes_that_are_ignored_are_not_said() -> None:
    item = subject({"a.so": STABLE}, claims(torch=("torch>=2.10",)))
    ignored = [Ignored(Finding("a", NOTE, ""), Ignore("a", "why"))]
    found = summarize(item, CATALOG, (), ignored, verdict=Verdict.SAFE, kind=TargetKind.WHEEL)
    assert "ignored" not in found


def test_releases_that_the_user_chose() -> None:
    item = replace(
        subject({"a.so": STABLE}, claims(torch=("torch>=2.10",)), "==2.10.*"),
        source=DemandSource.TORCH,
    )
    found = summarize(item, CATALOG, (), (), verdict=Verdict.SAFE, kind=TargetKind.WHEEL)
    assert found.endswith("; checked against torch 2.10 only (--torch)")


def test_pinned() -> None:
    one = {"a.so": TWO_RELEASES}
    assert said(one, "torch==2.9.*").startswith(
        "pinned: unstable ABI: loads on torch 2.8-2.9, pinned to 2.9; for Python"
    )
    assert said(one, "torch==2.10.*").endswith(
        "; fix: pin the torch release that it was built with"
    )
    of_two = {"a.so": UNSTABLE, "b.so": STABLE}
    assert said(of_two, "torch==2.10.*").startswith("pinned: unstable ABI in 1 of 2 libraries: ")
    assert said({"a.so": UNSTABLE}, "torch==2.10.*").startswith(
        "pinned: unstable ABI: loads on torch 2.8-2.11, pinned to 2.10; for Python"
    )


def test_pythons_are_said_of_wheels_alone() -> None:
    assert "; for Python 3.12" in said(
        {"a.so": STABLE}, "torch>=2.10", tag="cp312-cp312-manylinux_2_28_x86_64"
    )
    assert "Python" not in said({"a.so": STABLE}, "torch>=2.10", kind=TargetKind.PACKAGE)


@pytest.mark.parametrize(
    ("libraries", "sentence"),
    [
        (
            {"a.so": library("cpuinfo_initialize", needed=TORCH), "b.so": library("malloc")},
            "safe: uses only third-party symbols of libtorch: loads on torch 2.8-2.11, any torch",
        ),
        (
            {"a.so": library("malloc", needed=TORCH)},
            "safe: links to torch, but uses no symbol of it: loads on torch 2.8 and newer, any",
        ),
        ({"a.so": library("malloc")}, "not-applicable: does not use torch; no other problems"),
        ({}, "not-applicable: contains no compiled file; no other problems found"),
    ],
)
def test_without_symbols_of_torch(libraries: dict[str, Library], sentence: str) -> None:
    assert said(libraries, "torch").startswith(sentence)


def test_what_could_not_be_read() -> None:
    broken = tuple(Member(name, (), "truncated") for name in "ab")
    item = replace(subject({}), unreadable=broken)
    found = summarize(item, CATALOG, (), (), verdict=Verdict.ERROR, kind=TargetKind.WHEEL)
    assert found == "not audited: 2 files can't be read"


@pytest.mark.parametrize(
    ("rules", "sentence"),
    [
        (("a", "b", "a"), "message of a (also b)"),
        ((UNSTABLE_ABI,), f"message of {UNSTABLE_ABI}"),
        ((UNSTABLE_ABI, "b"), "message of b"),
    ],
)
def test_unsafe(rules: tuple[str, ...], sentence: str) -> None:
    """A cause goes before what names the ABI alone, and warnings are not what fails it."""
    findings = [*(Finding(r, ERROR, f"message of {r}") for r in rules), Finding("c", WARNING, "")]

    def of(kind: TargetKind, plan: Plan | None = None) -> str:
        return summarize(
            subject({}), CATALOG, findings, (), verdict=Verdict.UNSAFE, kind=kind, plan=plan
        )

    assert of(TargetKind.WHEEL) == f"do not publish: {sentence}"
    assert of(TargetKind.DIRECTORY) == sentence
    plan = Plan(MetadataChange(torch="torch>=2.11", python=">=3.10"), verdict=Verdict.SAFE)
    assert of(TargetKind.DIRECTORY, plan).startswith(f"{sentence}; fix: dependencies")
    assert of(TargetKind.WHEEL, plan) == (
        f'do not publish: {sentence}; fix: dependencies = ["torch>=2.11"], requires-python ='
        ' ">=3.10"'
    )


def test_progress() -> None:
    libraries = {"a.so": STABLE, "b.so": UNSTABLE, "c.so": UNSTABLE, "d.so": library("malloc")}
    uses = [item.torch for item in subject(libraries).libraries]
    assert progress(uses) == MigrationProgress(1, 2)


def sentence_of(item: Subject, *findings: Finding, verdict: Verdict = Verdict.PINNED) -> str:
    return summarize(item, CATALOG, findings, (), verdict=verdict, kind=TargetKind.PACKAGE)


def test_where_nothing_is_asked_for_any_release_is_allowed() -> None:
    item = replace(subject({"a.so": STABLE}), demands=())
    assert support(item).allowed == set(CATALOG.releases)
    assert support(item).missed == set(CATALOG.releases[:3])


def test_warnings_of_what_has_no_part_in_torch() -> None:
    item = subject({"a.so": library("malloc")})
    found = sentence_of(item, Finding("c", WARNING, ""), verdict=Verdict.NOT_APPLICABLE)
    assert found == "does not use torch; 1 warning (c)"


def test_notes_are_not_counted() -> None:
    item = subject({"a.so": STABLE}, claims(torch=("torch>=2.10",)))
    findings = (Finding("c", NOTE, ""), Finding("d", WARNING, ""), Finding("d", WARNING, ""))
    assert sentence_of(item, *findings).endswith(", requires torch>=2.10; 2 warnings (d)")


def test_an_installed_torch_tells_nothing_of_releases_to_come() -> None:
    item = subject({"a.so": STABLE}, claims(torch=("torch>=2.10",)))
    assert sentence_of(item).startswith("stable ABI: loads on torch 2.10 and newer, ")
    found = sentence_of(replace(item, source=DemandSource.AGAINST))
    assert found.startswith("stable ABI: loads on torch 2.10-2.11; checked against ")


def test_what_loads_nowhere() -> None:
    item = subject({"a.so": library("_ZN2at5neverEv", needed=TORCH)}, claims(torch=("torch",)))
    assert sentence_of(item) == (
        "unstable ABI: does not load on any known torch release (2.8-2.11), not on 2.8-2.11,"
        " allowed by the metadata"
    )


@pytest.mark.parametrize(
    ("torch", "without"),
    [
        ("torch>=2.8", True),
        ("torch>=2.9", False),  # the others do not concern who installs it
        ("torch>=2.99", True),
    ],
)
def test_releases_without_a_guarantee(torch: str, without: bool) -> None:  # noqa: FBT001
    item = subject({"a.so": library("aoti_torch_old", needed=TORCH)}, claims(torch=(torch,)))
    found = sentence_of(item)
    assert found.startswith("stable ABI: loads on torch 2.8 and newer")
    assert (" without ABI guarantee" in found) is without


def test_what_is_declared_for_some_environments() -> None:
    promised = claims(torch=("torch>=2.10; python_version < '3.12'",))
    found = sentence_of(subject({"a.so": library("aoti_torch_old", needed=TORCH)}, promised))
    assert found.endswith(", torch>=2.10 is only declared in part")


@pytest.mark.parametrize(
    ("loading", "torch", "said"),
    [
        (("2.9.0", "2.9.1"), "==2.9.*", "loads on torch 2.9, the required release"),
        (("2.10.0", "2.11.0"), ">=2.10,<2.12", "loads on torch 2.10-2.11, pinned to 2.10-2.11"),
        (("2.9.1", "2.10.0"), "==2.10.*", "loads on torch 2.9.1-2.10, pinned to 2.10"),
    ],
)
def test_releases_that_are_required(loading: tuple[str, ...], torch: str, said: str) -> None:
    links = Cell(ReleaseStatus.LINKS, (), LayoutStatus.UNCHANGED)
    breaks = Cell(ReleaseStatus.BREAKS)
    known = set(map(Version, loading))
    row = {r: links if r in known else breaks for r in CATALOG.releases}
    demands = (SpecifierSet(torch),)
    item = subject({"a.so": UNSTABLE})
    item = replace(item, matrix=Matrix({"a.so": row}, row), demands=demands, required=demands)
    assert sentence_of(item) == f"unstable ABI: {said}"

"""The one sentence about a target."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.builders import claims, library, subject
from torch_abi_audit.model import (
    Finding,
    Library,
    Member,
    MigrationProgress,
    Severity,
    TargetKind,
    Verdict,
)
from torch_abi_audit.rules import UNSTABLE_ABI
from torch_abi_audit.verdict.policy import Policy
from torch_abi_audit.verdict.sentence import progress, summarize

TORCH = ("libtorch_cpu.so",)
STABLE = library("torch_ten", needed=TORCH)
UNSTABLE = library("_ZN2at6TensorD1Ev", needed=TORCH)
ERROR, WARNING = Severity.ERROR, Severity.WARNING
REACH = "stable ABI only: one wheel for torch 2.10 and newer"


@pytest.mark.parametrize(
    ("libraries", "tag", "torch", "said"),
    [
        ({"a.so": STABLE}, "manylinux_2_28_x86_64", (), REACH),
        ({"a.so": STABLE}, "manylinux_2_28_x86_64", ("torch",), REACH),
        (
            {"a.so": STABLE},
            "manylinux_2_28_x86_64",
            ("torch>=2.11",),
            f"{REACH}; the metadata asks for torch>=2.11",
        ),
        (
            {"a.so": STABLE},
            "musllinux_1_2_x86_64",
            (),
            f"{REACH}, as far as its symbols tell: no build of torch for its platform is known",
        ),
        (
            {"a.so": UNSTABLE, "b.so": library("malloc")},
            "manylinux_2_28_x86_64",
            (),
            "its claims hold, and it is for the releases of torch that it is pinned to alone",
        ),
        (
            {"a.so": UNSTABLE, "b.so": STABLE, "c.so": UNSTABLE},
            "manylinux_2_28_x86_64",
            (),
            (
                "its claims hold, and it is for the releases of torch that it is pinned to alone"
                " (1 of 3 libraries stable)"
            ),
        ),
        (
            {"a.so": library("cpuinfo_initialize", needed=TORCH), "b.so": library("malloc")},
            "manylinux_2_28_x86_64",
            (),
            "uses nothing of torch but copies of other projects in its libraries",
        ),
        (
            {"a.so": library("malloc", needed=TORCH)},
            "manylinux_2_28_x86_64",
            (),
            "loads torch's libraries, and imports nothing from them",
        ),
    ],
)
def test_safe(libraries: dict[str, Library], tag: str, torch: tuple[str, ...], said: str) -> None:
    item = subject(libraries, claims(f"py39-none-{tag}", torch=torch))
    assert summarize(item, (), Verdict.SAFE, TargetKind.WHEEL, Policy()) == said


def test_nothing_of_torch() -> None:
    def said(libraries: dict[str, Library]) -> str:
        item = subject(libraries)
        return summarize(item, (), Verdict.NOT_APPLICABLE, TargetKind.WHEEL, Policy())

    assert said({}) == "nothing compiled in it: no ABI to keep"
    assert said({"a.so": library("malloc")}) == (
        "nothing in it uses torch, and no claim that was checked is broken"
    )


def test_what_could_not_be_read() -> None:
    broken = tuple(Member(name, (), "truncated") for name in "ab")
    item = replace(subject({}), unreadable=broken)
    said = summarize(item, (), Verdict.ERROR, TargetKind.WHEEL, Policy())
    assert said == "not audited: 2 members can't be read"


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (("a", "b", "a"), "a (2), b"),
        ((UNSTABLE_ABI,), f"{UNSTABLE_ABI}; its claims hold (--check claims passes it)"),
        ((UNSTABLE_ABI, "b"), f"{UNSTABLE_ABI}, b"),
    ],
)
def test_unsafe(rules: tuple[str, ...], said: str) -> None:
    # What is less grave is not what fails it.
    findings = [*(Finding(rule, ERROR, "") for rule in rules), Finding("c", WARNING, "")]

    def of(kind: TargetKind) -> str:
        return summarize(subject({}), findings, Verdict.UNSAFE, kind, Policy())

    assert of(TargetKind.WHEEL) == f"do not publish: {said}"
    assert of(TargetKind.DIRECTORY) == said


def test_progress() -> None:
    libraries = {"a.so": STABLE, "b.so": UNSTABLE, "c.so": UNSTABLE, "d.so": library("malloc")}
    uses = [item.torch for item in subject(libraries).libraries]
    assert progress(uses) == MigrationProgress(1, 2)

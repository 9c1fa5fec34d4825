"""What is ignored of a finding, and what is left of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from packaging.version import Version

from tests.builders import CATALOG, library, shown, subject
from torch_abi_audit.config import parse_config
from torch_abi_audit.model import Evidence, EvidenceKind, Finding, Ignore, Severity
from torch_abi_audit.rules import run_rules
from torch_abi_audit.verdict.ignores import matches, split

DESTRUCTOR, WARN, NEW = "_ZN2at6TensorD1Ev", "_ZN3c104warnEv", "_ZN2at3newEv"
RULE = "unstable-torch-symbol"


def unstable() -> Finding:
    item = library(DESTRUCTOR, WARN, NEW, needed=("libtorch_cpu.so", "libc10.so"))
    (finding,) = [f for f in run_rules(subject({"x/_C.so": item}), CATALOG) if f.rule == RULE]
    return finding


@pytest.mark.parametrize(
    ("symbol", "left"),
    [
        ("at::Tensor::*", (NEW, WARN)),
        ("at::*", (WARN,)),
        ("_ZN2at*", (WARN,)),
        (WARN, (NEW, DESTRUCTOR)),
        ("c10::warn()", (NEW, DESTRUCTOR)),
        ("*", ()),
        (None, ()),
    ],
)
def test_what_is_left_of_a_finding_is_one(symbol: str | None, left: tuple[str, ...]) -> None:
    ignore = Ignore(RULE, "why", symbol=symbol)
    standing, ignored = split([unstable()], [ignore], CATALOG)
    (taken,) = ignored
    assert [set(shown(finding)) for finding in standing] == ([set(left)] if left else [])
    assert set(shown(taken.finding)) == {DESTRUCTOR, WARN, NEW} - set(left)
    for finding in (*standing, taken.finding):
        number = len(finding.evidence)
        count = f"{number} symbol{'s' if number > 1 else ''}"
        assert finding.message == f"1 library uses the unstable C++ ABI of libtorch ({count})"


@pytest.mark.parametrize(
    "ignore",
    [
        Ignore(RULE, "why", symbol="torch::*"),
        Ignore("torch-unpinned", "why", symbol="at::*"),
        Ignore(RULE, "why", library="y/*", symbol="at::*"),
        Ignore(RULE, "why", until_torch=Version("2.11"), symbol="at::*"),  # expired
    ],
)
def test_near_misses(ignore: Ignore) -> None:
    assert split([unstable()], [ignore], CATALOG) == ((unstable(),), ())


def test_several_take_a_symbol_each() -> None:
    ignores = [Ignore(RULE, str(n), symbol=name) for n, name in enumerate((WARN, NEW, DESTRUCTOR))]
    standing, ignored = split([unstable()], ignores, CATALOG)
    assert standing == ()
    assert [shown(item.finding) for item in ignored] == [(WARN,), (NEW,), (DESTRUCTOR,)]


def test_the_configuration_takes_it() -> None:
    entry = {"rule": RULE, "reason": "why", "symbol": "c10::MessageLogger::*"}
    (ignore,) = parse_config({"ignore": [entry]}).ignore
    assert ignore == Ignore(RULE, "why", symbol="c10::MessageLogger::*")


def test_only_symbols_have_the_names_of_symbols() -> None:
    rule = "cuda-major-mismatch"
    evidence = (Evidence(EvidenceKind.LIBRARY, "libcudart.so.12"),)
    finding = Finding(rule, Severity.ERROR, "it needs {first}", evidence=evidence)
    assert split([finding], [Ignore(rule, "why", symbol="lib*")], CATALOG) == ((finding,), ())
    assert not split([finding], [Ignore(rule, "why")], CATALOG)[0]


A, B, C = "x/a.so", "x/b.so", "y/c.so"


def of_three(*more: Evidence) -> Finding:
    """A finding of three libraries: a and b have a symbol each and share one; c has none."""
    kind = EvidenceKind.SYMBOL
    evidence = (
        Evidence(kind, WARN, A),
        Evidence(kind, NEW, A),
        Evidence(kind, WARN, B),
        Evidence(kind, DESTRUCTOR, B),
        *more,
    )
    template = "{libraries:use} {evidence:symbol}"
    return Finding(RULE, Severity.ERROR, template, (A, B, C), evidence)


def part(
    *ignores: Ignore, finding: Finding | None = None
) -> tuple[list[tuple[str, ...]], list[str]]:
    """Return what remains, as messages and libraries, and the messages of what is ignored."""
    standing, ignored = split([finding or of_three()], ignores, CATALOG)
    return (
        [(item.message, *item.libraries) for item in standing],
        [item.finding.message for item in ignored],
    )


def test_an_ignore_takes_the_libraries_that_it_matches() -> None:
    assert part(Ignore(RULE, "why", library=A)) == (
        [("2 libraries use 2 symbols", B, C)],
        ["1 library uses 2 symbols"],
    )
    assert part(Ignore(RULE, "why", library="x/*")) == (
        [("1 library uses 0 symbols", C)],
        ["2 libraries use 3 symbols"],
    )
    assert part(Ignore(RULE, "why", library="*.so")) == ([], ["3 libraries use 3 symbols"])
    assert part(Ignore(RULE, "why", library="z/*")) == (
        [("3 libraries use 3 symbols", A, B, C)],
        [],
    )


def test_several_take_a_library_each_and_leave_nothing() -> None:
    ignores = [Ignore(RULE, "why", library=path) for path in (A, B, C)]
    said = ["1 library uses 2 symbols", "1 library uses 2 symbols", "1 library uses 0 symbols"]
    assert part(*ignores) == ([], said)


def test_one_of_three_libraries_is_still_to_be_moved() -> None:
    (ignore,) = parse_config({"migrating": [B]}).ignore
    assert part(ignore) == ([("2 libraries use 2 symbols", A, C)], ["1 library uses 2 symbols"])


def test_evidence_of_no_library_stays_until_all_are_ignored() -> None:
    finding = of_three(Evidence(EvidenceKind.TAG, "py3-none-any"))
    ignores = [Ignore(RULE, "why", library="x/*"), Ignore(RULE, "why", library="y/*")]
    _, ignored = split([finding], ignores, CATALOG)
    assert [len(item.finding.evidence) for item in ignored] == [4, 1]
    (left,), _ = split([finding], ignores[:1], CATALOG)
    assert [item.name for item in left.evidence] == ["py3-none-any"]


def test_a_symbol_of_a_library() -> None:
    assert part(Ignore(RULE, "why", library=A, symbol=WARN)) == (
        [("3 libraries use 3 symbols", A, B, C)],
        ["1 library uses 1 symbol"],
    )
    # A library of which nothing is left is not one of those that remain.
    ignores = [Ignore(RULE, "why", library=A, symbol=name) for name in (WARN, NEW)]
    assert part(*ignores)[0] == [("2 libraries use 2 symbols", B, C)]
    assert part(Ignore(RULE, "why", symbol=WARN)) == (
        [("3 libraries use 2 symbols", A, B, C)],
        ["2 libraries use 1 symbol"],
    )
    assert part(Ignore(RULE, "why", library=C, symbol=WARN))[1] == []


def test_symbols_of_no_library_in_particular_may_be_of_any() -> None:
    evidence = tuple(Evidence(EvidenceKind.SYMBOL, name) for name in (WARN, NEW))
    finding = replace(of_three(), libraries=(A, B), evidence=evidence)
    assert part(Ignore(RULE, "why", symbol=WARN), finding=finding) == (
        [("2 libraries use 1 symbol", A, B)],
        ["2 libraries use 1 symbol"],
    )
    # Not of the one alone, which may not be theirs.
    assert part(Ignore(RULE, "why", library=A, symbol=WARN), finding=finding)[1] == []


def test_a_finding_without_libraries_is_of_no_library() -> None:
    finding = replace(of_three(), libraries=(), evidence=())
    assert part(Ignore(RULE, "why", library="*"), finding=finding)[1] == []
    assert part(Ignore(RULE, "why"), finding=finding)[0] == []


def test_an_ignore_that_takes_a_part_matches_it() -> None:
    assert matches(Ignore(RULE, "why", library=A), of_three())
    assert not matches(Ignore(RULE, "why", library="z/*"), of_three())
    assert not matches(Ignore("torch-unpinned", "why", library=A), of_three())

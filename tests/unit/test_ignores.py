"""What is ignored of a finding, and what is left of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from packaging.version import Version

from tests.builders import CATALOG, library, shown, subject
from torch_abi_audit.config import parse_config, parse_ignore, parse_migrating
from torch_abi_audit.errors import AuditError
from torch_abi_audit.model import (
    Evidence,
    EvidenceKind,
    Finding,
    Ignore,
    Severity,
    StrictIgnores,
)
from torch_abi_audit.rules import run_rules
from torch_abi_audit.verdict.ignores import matched, names_library, split

DESTRUCTOR, WARN, NEW = "_ZN2at6TensorD1Ev", "_ZN3c104warnEv", "_ZN2at3newEv"
RULE = "unstable-torch-symbol"
TORCH = ("libtorch_cpu.so", "libc10.so")


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


def test_an_ignore_takes_the_libraries_that_it_matched() -> None:
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
    assert matched(Ignore(RULE, "why", library=A), of_three())
    assert not matched(Ignore(RULE, "why", library="z/*"), of_three())
    assert not matched(Ignore("torch-unpinned", "why", library=A), of_three())


# Patterns of libraries, and what options have them as.

TREE = ("home", "ci", "build", "lib")


@pytest.mark.parametrize(
    ("pattern", "path", "folder"),
    [
        # A wheel, or an installed package: from the root and from the package's folder.
        ("pkg/sub/_C*.so", "pkg/sub/_C.abi3.so", ()),
        ("sub/_C*.so", "pkg/sub/_C.abi3.so", ()),
        ("_C.so", "_C.so", ()),
        ("_C.so", "pkg/_C.so", ()),
        # What an installer puts there from elsewhere in the archive.
        ("pkg/_C.so", "x-1.0.data/platlib/pkg/_C.so", ()),
        ("_C.so", "x-1.0.data/purelib/pkg/_C.so", ()),
        ("x-1.0.data/*/_C.so", "x-1.0.data/platlib/pkg/_C.so", ()),
        # A build tree that holds the package, or is its folder.
        ("pkg/_C.so", "pkg/_C.so", TREE),
        ("_C.so", "pkg/_C.so", TREE),
        ("pkg/_C.so", "_C.so", (*TREE, "pkg")),
        ("_C.so", "_C.so", (*TREE, "pkg")),
        # One library by itself.
        ("pkg/sub/_C.so", "_C.so", (*TREE, "pkg", "sub")),
        ("sub/_C.so", "_C.so", (*TREE, "pkg", "sub")),
        ("lib/pkg/sub/_C.so", "_C.so", (*TREE, "pkg", "sub")),
        ("home/ci/build/lib/_C.so", "_C.so", TREE),
        ("*", "pkg/_C.so", ()),
    ],
)
def test_a_pattern_names_a_library_wherever_it_lies(
    pattern: str, path: str, folder: tuple[str, ...]
) -> None:
    assert names_library(pattern, path, folder)


@pytest.mark.parametrize(
    ("pattern", "path", "folder"),
    [
        ("_C.so", "pkg/sub/_C.so", ()),
        ("sub/_C.so", "pkg/other/sub/_C.so", ()),
        ("other/_C.so", "pkg/_C.so", ()),
        ("_C.so", "x-1.0.data/scripts/pkg/_C.so", ()),
        ("pkg/_C.so", "_C.so", (*TREE, "other")),
        ("b/_C.so", "_C.so", TREE),  # folders are whole
        ("_C.SO", "_C.so", ()),
    ],
)
def test_a_pattern_that_names_another(pattern: str, path: str, folder: tuple[str, ...]) -> None:
    assert not names_library(pattern, path, folder)


def test_what_is_ignored_is_found_from_the_folder_of_the_target() -> None:
    finding = Finding("abi3-suffix", Severity.ERROR, "", libraries=("_C.so",))
    ignore = Ignore("abi3-suffix", "why", library="pkg/_C.so")
    assert split([finding], [ignore], CATALOG) == ((finding,), ())
    standing, ignored = split([finding], [ignore], CATALOG, (*TREE, "pkg"))
    assert (standing, [item.finding for item in ignored]) == ((), [finding])


SYMBOL = "c10::MessageLogger::*"


@pytest.mark.parametrize(
    ("text", "library", "symbol"),
    [
        (RULE, None, None),
        (f"{RULE}:x/*.so", "x/*.so", None),
        (f"{RULE}:symbol={SYMBOL}", None, SYMBOL),
        (f"{RULE}:x/*.so:symbol={SYMBOL}", "x/*.so", SYMBOL),
        (f"{RULE}:C:/x.so", "C:/x.so", None),
        (f"{RULE}:symbol=*:symbol=*", None, "*:symbol=*"),
    ],
)
def test_what_an_option_ignores(text: str, library: str | None, symbol: str | None) -> None:
    ignore = parse_ignore(text)
    assert ignore == Ignore(RULE, "--ignore", library, symbol=symbol)
    assert str(ignore) == text


@pytest.mark.parametrize(
    ("text", "library", "symbol"),
    [
        ("x/_C.so", "x/_C.so", None),
        (f"symbol={SYMBOL}", None, SYMBOL),
        (f"x/_C.so:symbol={SYMBOL}", "x/_C.so", SYMBOL),
    ],
)
def test_what_an_option_says_is_to_be_moved(
    text: str, library: str | None, symbol: str | None
) -> None:
    moving = Ignore(RULE, "--migrating", library, migrating=True, symbol=symbol)
    assert parse_migrating(text) == moving
    assert moving.pattern == text
    table = {k: v for k, v in (("library", library), ("symbol", symbol)) if v is not None}
    reason = "migration to the stable ABI in progress"
    assert parse_config({"migrating": [table]}).ignore == (moving._replace(reason=reason),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SYMBOL, "is no pattern of libraries; for symbols: symbol=c10::MessageLogger::*"),
        ("_ZN3c104warn*", "is no pattern of libraries; for symbols: symbol=_ZN3c104warn*"),
        ("?warn@c10@@*", "is no pattern of libraries; for symbols: symbol=?warn@c10@@*"),
        ("at::f(int)", "is no pattern of libraries; for symbols: symbol=at::f(int)"),
        ("symbol=", "no pattern after symbol="),
        ("x.so:symbol=", "no pattern after symbol="),
        ("symbols=at::*", "is no pattern of libraries; for symbols: symbol=symbols=at::*"),
        ("library=x.so", "is not GLOB, symbol=PATTERN, or GLOB:symbol=PATTERN"),
        ("x.so:", "is not GLOB, symbol=PATTERN, or GLOB:symbol=PATTERN"),
        ("", "the pattern is empty"),
    ],
)
def test_another_form_is_refused(text: str, said: str) -> None:
    for parse, given in ((parse_ignore, f"{RULE}:{text}"), (parse_migrating, text)):
        with pytest.raises(AuditError) as error:
            parse(given)
        assert str(error.value).endswith(said)


@pytest.mark.parametrize("entry", [{}, {"symbols": "x"}, {"library": ""}, 1])
def test_another_entry_is_refused(entry: object) -> None:
    with pytest.raises(AuditError, match=r"^migrating: "):
        parse_config({"migrating": [entry]})


def test_strict_ignores_in_the_configuration() -> None:
    assert parse_config({"strict-ignores": True}).strict_ignores is StrictIgnores.STALE
    assert parse_config({"strict-ignores": False}).strict_ignores is None
    assert parse_config({"strict-ignores": "all"}).strict_ignores is StrictIgnores.ALL
    with pytest.raises(AuditError, match="strict-ignores: must be true, false,"):
        parse_config({"strict-ignores": "some"})


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("at::TensorBase::*", True),
        ("at::TensorBase::const_data_ptr", True),
        ("bool const\\* at::*", False),  # no regular expressions
        ("bool const* at::TensorBase::const_data_ptr*", True),
        ("TensorBase::*", False),
        ("c10::*", False),
    ],
)
def test_a_template_is_matched_by_its_name(pattern: str, matches: bool) -> None:  # noqa: FBT001
    """Its declaration begins with the type that it returns."""
    name = "_ZNK2at10TensorBase14const_data_ptrIbLi0EEEPKT_v"
    item = library(name, needed=TORCH)
    (finding,) = [f for f in run_rules(subject({"a.so": item}), CATALOG) if f.rule == RULE]
    (evidence,) = finding.evidence
    assert evidence.declaration == "bool const* at::TensorBase::const_data_ptr<bool, 0>() const"
    taken = matched(Ignore(RULE, "why", symbol=pattern), finding)
    assert (taken is not None) is matches

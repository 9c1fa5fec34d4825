"""What is ignored of a finding, and what is left of it."""

from __future__ import annotations

import pytest
from packaging.version import Version

from tests.builders import CATALOG, library, shown, subject
from torch_abi_audit.config import parse_config
from torch_abi_audit.model import Evidence, EvidenceKind, Finding, Ignore, Severity
from torch_abi_audit.rules import run_rules
from torch_abi_audit.verdict.ignores import split

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

"""What an audit may cost: limits, what is left of them, and how a user raises them."""

from __future__ import annotations

import pytest

from tests.builders import graph_of, library
from torch_abi_audit.budget import LIMITS, Budget, Limits, RunBudget, parse_limit
from torch_abi_audit.errors import AuditError, LimitError


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that the test sets."""
    now = [100.0]
    monkeypatch.setattr("torch_abi_audit.budget.monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("symbols=7", ("symbols", 7)),
        ("names=128M", ("names", 128 << 20)),
        ("inflated=2G", ("inflated", 2 << 30)),
        ("run-seconds=1K", ("run-seconds", 1024)),
    ],
)
def test_a_limit_as_an_option(text: str, parsed: tuple[str, int]) -> None:
    assert parse_limit(text) == parsed


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("symbols", "is not a whole number"),
        ("symbol=7", "'symbol=7' is not NAME=VALUE, with one of members, inflated, "),
        ("symbols=", "'' is not a whole number"),
        ("symbols=M", "'M' is not a whole number"),
        ("symbols=1KM", "is not a whole number"),
        ("symbols=-1", "is not a whole number"),
        ("symbols=1.5", "is not a whole number"),
        ("symbols=\u0661", "is not a whole number"),
        (f"symbols={'9' * 5000}", "is not a whole number"),
        ("symbols=0", "a limit must be greater than 0"),
        ("symbols=0G", "a limit must be greater than 0"),
    ],
)
def test_what_is_no_limit(text: str, reason: str) -> None:
    with pytest.raises(AuditError, match=reason):
        parse_limit(text)


def test_limits_by_the_names_that_users_give() -> None:
    limits = Limits().with_values({"run-symbols": 9, "ratio": 7})
    assert (limits.run_symbols, limits.ratio) == (9, 7)
    assert limits.symbols == Limits().symbols
    assert set(LIMITS) == {
        *("members", "inflated", "ratio", "symbols", "names", "steps", "seconds"),
        *("download", "waiting"),
        *("run-members", "run-inflated", "run-symbols", "run-names", "run-steps", "run-seconds"),
    }


@pytest.mark.parametrize("name", ["symbols", "names", "steps"])
def test_one_more_than_the_limit(name: str) -> None:
    budget = Budget(Limits(**{name: 1000}))
    budget.spend(**{name: 999})
    budget.spend(**{name: 1})
    with pytest.raises(LimitError, match=rf"1,000 .*\(raise it with --limit {name}=N\)"):
        budget.spend(**{name: 1})


@pytest.mark.parametrize("name", ["members", "inflated"])
def test_one_member_or_byte_more(name: str) -> None:
    budget = Budget(Limits(**{name: 3}))
    budget.open(**{name: 3})
    with pytest.raises(LimitError, match=rf"more than 3 .*\(raise it with --limit {name}=N\)"):
        budget.open(**{name: 1})


def test_the_ratio_is_that_of_the_whole_archive() -> None:
    budget = Budget(Limits(ratio=3))
    budget.check_ratio(300, 100)
    with pytest.raises(LimitError, match=r"more than 3 times its size .*--limit ratio=N"):
        budget.check_ratio(301, 100)


def test_time(clock: list[float]) -> None:
    budget = Budget(Limits(seconds=5))
    clock[0] += 5
    budget.spend(symbols=1)
    clock[0] += 0.1
    reason = r"the audit takes more than 5 s \(raise it with --limit seconds=N\)"
    for check in (budget.spend, budget.open, budget.check_time):
        with pytest.raises(LimitError, match=reason):
            check()


def test_a_run_has_limits_over_its_targets(clock: list[float]) -> None:
    run = RunBudget(Limits(symbols=10, run_symbols=25, seconds=60, run_seconds=100))
    for _ in range(2):
        budget = run.of_target()
        budget.spend(symbols=10)
        run.take(budget)
    budget = run.of_target()
    budget.spend(symbols=5)
    said = r"with the targets before it, the libraries have more than 25 dynamic symbols \(.*run-"
    with pytest.raises(LimitError, match=said):
        budget.spend(symbols=1)
    clock[0] += 99
    budget = run.of_target()
    clock[0] += 1.5
    with pytest.raises(LimitError, match=r"more than 100 s .*--limit run-seconds=N"):
        budget.check_time()


def test_what_a_target_leaves_of_a_run_is_for_the_next() -> None:
    run = RunBudget(Limits(members=10, run_members=10))
    budget = run.of_target()
    budget.open(members=4)
    run.take(budget)
    run.of_target().open(members=6)
    with pytest.raises(LimitError, match="run-members"):
        run.of_target().open(members=7)


def test_libraries_that_all_need_each_other() -> None:
    """Each is looked at as the one that is opened, with all that it loads."""
    names = tuple(f"l{number}.so" for number in range(400))
    libraries = {
        f"x/{name}": library(soname=name, needed=names, runpath=("$ORIGIN",)) for name in names
    }
    with pytest.raises(LimitError, match=r"4,000,000 steps .*--limit steps=N"):
        graph_of(libraries)
    few = dict(list(libraries.items())[:40])
    assert len(graph_of(few).loaded("x/l0.so").order) == 40


def test_a_chain_of_libraries() -> None:
    libraries = {
        f"x/l{n}.so": library(soname=f"l{n}.so", needed=(f"l{n + 1}.so",), rpath=("$ORIGIN",))
        for n in range(2000)
    }
    with pytest.raises(LimitError, match="steps"):
        graph_of(libraries)

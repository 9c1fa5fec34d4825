"""What passes and what fails, with which exit code and closing sentence: all of it in one value."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from tests.builders import claims, library, subject
from torch_abi_audit.model import (
    Check,
    CheckResult,
    Evidence,
    EvidenceKind,
    Finding,
    Severity,
    StrictIgnores,
    TargetKind,
    Verdict,
)
from torch_abi_audit.verdict.policy import Outcome, Policy

CHECKS: tuple[tuple[Check, ...], ...] = ((), (Check.TORCH,), (Check.ABI3,), tuple(Check))
UNSTABLE = Finding("unstable-torch-symbol", Severity.ERROR, "")
ALLOWED_FOR = Finding("unstable-torch-symbol", Severity.NOTE, "")
BROKEN = Finding("torch-floor-understated", Severity.ERROR, "")
WARNING = Finding("torch-undeclared", Severity.WARNING, "")
NOTE = Finding("tag-overspecific", Severity.NOTE, "")

ITEM = subject({"a.so": library("torch_ten", needed=("libtorch_cpu.so",))}, claims())
BOUND = subject({"a.so": library("PyUnicode_AsUTF8String", "_PyLong_New")}, claims())


@pytest.mark.parametrize(
    ("policy", "findings", "verdict"),
    [
        (Policy(), (), "safe"),
        (Policy(), (NOTE, WARNING), "safe"),
        (Policy(strict=True), (NOTE,), "safe"),
        (Policy(strict=True), (WARNING,), "unsafe"),
        (Policy(), (UNSTABLE,), "unsafe"),
        (Policy(), (ALLOWED_FOR,), "safe"),
        (Policy(strict=True), (ALLOWED_FOR,), "safe"),
        (Policy(require_stable=True), (ALLOWED_FOR,), "unsafe"),
        (Policy(require_stable=True), (NOTE, WARNING), "safe"),
        (Policy((Check.TORCH,)), (BROKEN,), "unsafe"),
    ],
)
def test_verdict(policy: Policy, findings: tuple[Finding, ...], verdict: str) -> None:
    assert policy.verdict(ITEM, policy.weigh(findings)) == verdict


@pytest.mark.parametrize(
    ("checks", "fails"),
    [
        # of a wheel: unstable, bound to one Python, another error; of a directory: unstable
        ((), (True, True, True, False)),
        ((Check.TORCH,), (True, False, False, True)),
        ((Check.ABI3,), (False, True, False, False)),
        (tuple(Check), (True, True, False, True)),
    ],
)
def test_what_fails_a_run(checks: tuple[Check, ...], fails: tuple[bool, ...]) -> None:
    policy = Policy(checks)
    cases = [
        (TargetKind.WHEEL, ITEM, (UNSTABLE, NOTE)),
        (TargetKind.WHEEL, BOUND, (BROKEN,)),
        (TargetKind.WHEEL, ITEM, (BROKEN,)),
        (TargetKind.DIRECTORY, ITEM, (UNSTABLE,)),
    ]
    found = []
    for kind, item, findings in cases:
        weighed = policy.weigh(findings)
        found.append(policy.fails(kind, policy.verdict(item, weighed), item, weighed))
    assert tuple(found) == fails


def test_what_could_not_be_audited_always_fails() -> None:
    for checks in CHECKS:
        assert Policy(checks).fails(TargetKind.LIBRARY, Verdict.ERROR, ITEM, ())


SAFE = Outcome("dist/a.whl", TargetKind.WHEEL, Verdict.SAFE, fails=False)
PINNED = Outcome("dist/d.whl", TargetKind.WHEEL, Verdict.PINNED, fails=False)
BAD = Outcome("dist/b.whl", TargetKind.WHEEL, Verdict.UNSAFE, fails=True)
UNREAD = Outcome("dist/c.whl", TargetKind.WHEEL, Verdict.ERROR, fails=True)
FOLDER = Outcome("lib", TargetKind.DIRECTORY, Verdict.UNSAFE, fails=False)


@pytest.mark.parametrize(
    ("policy", "outcomes", "together", "said", "code"),
    [
        (Policy(), (), (), "error: nothing was audited", 2),
        (Policy(), (SAFE,), (), "safe: 1 wheel may be published", 0),
        (Policy(), (SAFE, SAFE), (NOTE,), "safe: all 2 wheels may be published", 0),
        (Policy(), (BAD,), (), "unsafe: do not publish 1 of 1 wheel (b.whl)", 1),
        (
            Policy(),
            (SAFE, BAD, UNREAD),
            (),
            (
                "error: do not publish 1 of 3 wheels (b.whl);"
                " 1 of 3 wheels could not be audited (c.whl)"
            ),
            2,
        ),
        (Policy(), (BAD,) * 4, (), "unsafe: do not publish 4 of 4 wheels", 1),
        (Policy(), (FOLDER,), (), "unsafe: problems in 1 of 1 target (lib)", 0),
        (
            Policy(),
            (SAFE, SAFE),
            (BROKEN,),
            "unsafe: each wheel passes, but together they do not: torch-floor-understated",
            1,
        ),
        (Policy(), (SAFE,), (WARNING,), "safe: 1 wheel may be published", 0),
        (
            Policy(strict=True),
            (SAFE,),
            (WARNING,),
            "unsafe: each wheel passes, but together they do not: torch-undeclared",
            1,
        ),
        (Policy((Check.TORCH,)), (SAFE,), (BROKEN,), "passed: --check torch: 1 wheel", 0),
        (Policy(), (PINNED,), (), "pinned: 1 wheel may be published, for one torch release", 0),
        (
            Policy(),
            (PINNED, PINNED),
            (),
            "pinned: all 2 wheels may be published, each for one torch release",
            0,
        ),
        (
            Policy(),
            (SAFE, PINNED, SAFE),
            (NOTE,),
            "pinned: all 3 wheels may be published, 1 of them for one torch release",
            0,
        ),
        (Policy(), (PINNED, BAD), (), "unsafe: do not publish 1 of 2 wheels (b.whl)", 1),
        (
            Policy(),
            (SAFE, SAFE),
            (BROKEN, BROKEN, WARNING, NOTE),
            (
                "unsafe: each wheel passes, but together they do not:"
                " torch-floor-understated, torch-undeclared"
            ),
            1,
        ),
        # What holds for all together is added to no target's failure.
        (
            Policy(),
            (SAFE, BAD),
            (BROKEN,),
            "unsafe: do not publish 1 of 2 wheels (b.whl)",
            1,
        ),
        (
            Policy(tuple(Check)),
            (SAFE, SAFE),
            (BROKEN,),
            "passed: --check torch,abi3: all 2 wheels",
            0,
        ),
        (Policy(tuple(Check)), (SAFE, FOLDER), (), "passed: --check torch,abi3: all 2 targets", 0),
        (Policy(), (FOLDER._replace(verdict=Verdict.SAFE),), (), "safe: 1 target", 0),
        (
            Policy(),
            (BAD, BAD, BAD),
            (),
            "unsafe: do not publish 3 of 3 wheels (b.whl, b.whl, b.whl)",
            1,
        ),
        (
            Policy((Check.TORCH,)),
            (BAD, SAFE),
            (),
            "failed: --check torch: unstable torch ABI in 1 of 2 wheels (b.whl)",
            1,
        ),
        (
            Policy(tuple(Check)),
            (BAD, SAFE),
            (),
            (
                "failed: --check torch,abi3: unstable torch ABI, or tied to one Python: 1 of 2"
                " wheels (b.whl)"
            ),
            1,
        ),
        (
            Policy((Check.TORCH,)),
            (UNREAD,),
            (),
            "error: --check torch: 1 of 1 wheel could not be audited (c.whl)",
            2,
        ),
        (
            Policy((Check.ABI3,)),
            (BAD,),
            (),
            "failed: --check abi3: tied to one Python: 1 of 1 wheel (b.whl)",
            1,
        ),
    ],
)
def test_conclusion(
    policy: Policy,
    outcomes: tuple[Outcome, ...],
    together: tuple[Finding, ...],
    said: str,
    code: int,
) -> None:
    conclusion = policy.conclude(outcomes, together)
    assert (str(conclusion), conclusion.exit_code) == (said, code)


def test_the_exit_code_and_the_word_never_contradict_each_other() -> None:
    for checks, strict, one, other, finding in product(
        CHECKS,
        (False, True),
        (SAFE, PINNED, BAD, UNREAD, FOLDER),
        (SAFE, FOLDER),
        (NOTE, WARNING, BROKEN),
    ):
        conclusion = Policy(checks, strict).conclude((one, other), (finding,))
        if conclusion.word in ("safe", "pinned", "passed"):
            assert conclusion.exit_code == 0
        if conclusion.exit_code == 0:
            assert (one.fails, other.fails) == (False, False)
        assert (conclusion.exit_code == 2) is (conclusion.word == "error")


def test_what_holds_for_all_together_fails_no_check_of_one_thing() -> None:
    failing = [checks for checks in CHECKS if Policy(checks).fails_together((BROKEN,))]
    assert failing == [()]
    assert not Policy().fails_together((WARNING, NOTE))
    assert Policy(strict=True).fails_together((NOTE, WARNING))
    assert not Policy().fails_together(())


UNSAFE = Outcome(
    "a.whl", TargetKind.WHEEL, Verdict.UNSAFE, fails=True, why="it is old", fix=("torch>=2",)
)


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ((), "do not publish 1 of 1 wheel (a.whl)"),
        (
            (UNSAFE,),
            "do not publish 2 of 2 wheels (a.whl, a.whl): it is old; fix for each: torch>=2",
        ),
        (
            (UNSAFE._replace(why="it is new"),),
            "do not publish 2 of 2 wheels (a.whl, a.whl); fix for each: torch>=2",
        ),
        ((UNSAFE._replace(fix=()),), "do not publish 2 of 2 wheels (a.whl, a.whl): it is old"),
        (
            (UNSAFE._replace(verdict=Verdict.SAFE, why=None, fix=(), fails=False),),
            "do not publish 1 of 2 wheels (a.whl)",
        ),
    ],
)
def test_what_several_share_is_said_once(others: tuple[Outcome, ...], said: str) -> None:
    assert Policy().conclude((UNSAFE, *others), ()).why == said
    # A check of one thing has reasons of its own.
    checked = Policy((Check.TORCH,)).conclude((UNSAFE, *others), ()).why
    assert "it is old" not in checked
    assert "fix" not in checked


PACKAGE = Outcome("x", TargetKind.PACKAGE, Verdict.SAFE, fails=False)


@pytest.mark.parametrize(
    ("outcomes", "said"),
    [
        (
            (PACKAGE._replace(broken=True),),
            "broken: 1 of 1 target does not fit the installed torch (x)",
        ),
        (
            (
                PACKAGE._replace(broken=True),
                PACKAGE._replace(broken=True, verdict=Verdict.UNSAFE),
                PACKAGE,
            ),
            "broken: 2 of 3 targets do not fit the installed torch (x, x)",
        ),
        (
            (PACKAGE._replace(broken=True), PACKAGE._replace(verdict=Verdict.UNSAFE)),
            (
                "unsafe: problems in 1 of 2 targets (x); 1 of 2 targets does not fit the installed"
                " torch (x)"
            ),
        ),
        (
            (PACKAGE._replace(broken=True), PACKAGE._replace(verdict=Verdict.ERROR, fails=True)),
            (
                "error: 1 of 2 targets does not fit the installed torch (x); 1 of 2 targets could"
                " not be audited (x)"
            ),
        ),
    ],
)
def test_a_package_is_for_the_torch_that_is_installed(
    outcomes: tuple[Outcome, ...], said: str
) -> None:
    assert str(Policy().conclude(outcomes, ())) == said
    assert "installed torch" not in str(Policy((Check.TORCH,)).conclude(outcomes, ()))


def test_weighing_changes_one_rule_where_the_stable_abi_is_required() -> None:
    findings = (BROKEN, WARNING, ALLOWED_FOR)
    for checks in CHECKS:
        weighed = Policy(checks).weigh(findings)
        assert [(f.rule, f.severity) for f in weighed] == [(f.rule, f.severity) for f in findings]
    weighed = Policy(require_stable=True).weigh(findings)
    assert weighed == (BROKEN, UNSTABLE, WARNING)


@pytest.mark.parametrize(
    ("policy", "counted"),
    [
        (Policy(), {"cuda-major-mismatch", "torch-undeclared", "torch-unused", "stale-ignore"}),
        # Whatever its severity.
        (Policy((Check.TORCH,)), {"unstable-torch-symbol", "torch-unused"}),
        (Policy((Check.ABI3,)), {"abi3-violation", "torch-unused"}),
        (
            Policy(tuple(Check), strict_ignores=StrictIgnores.STALE),
            {"unstable-torch-symbol", "abi3-violation", "torch-unused", "stale-ignore"},
        ),
    ],
)
def test_what_counts(policy: Policy, counted: set[str]) -> None:
    severities = {
        "cuda-major-mismatch": Severity.ERROR,
        "torch-undeclared": Severity.WARNING,
        "torch-unused": Severity.ERROR,
        "stale-ignore": Severity.WARNING,
        "unstable-torch-symbol": Severity.NOTE,
        "abi3-violation": Severity.NOTE,
        "tag-overspecific": Severity.NOTE,
    }
    findings = [Finding(rule, severity, "") for rule, severity in severities.items()]
    assert {item.rule for item in policy.weigh(findings) if item.counts} == counted


def test_what_comes_of_checks() -> None:
    evidence = (Evidence(EvidenceKind.SYMBOL, "a"), Evidence(EvidenceKind.SYMBOL, "b"))
    unstable = replace(UNSTABLE, libraries=("x.so",), evidence=evidence)
    policy = Policy(tuple(Check))
    assert policy.results(ITEM, (unstable, BROKEN)) == (
        CheckResult(Check.TORCH, passed=False, libraries=("x.so",), symbols=2),
        CheckResult(Check.ABI3, passed=True),
    )
    assert policy.results(BOUND, ()) == (
        CheckResult(Check.TORCH, passed=True),
        CheckResult(Check.ABI3, passed=False, libraries=("a.so",)),
    )
    assert Policy().results(BOUND, (unstable,)) == ()


def test_what_has_to_use_torch_fails_any_check() -> None:
    unused = Finding("torch-unused", Severity.ERROR, "")
    for checks in CHECKS:
        for kind in TargetKind:
            assert Policy(checks).fails(kind, Verdict.UNSAFE, ITEM, (unused,))


def test_more_than_wheels_fail_where_it_is_strict() -> None:
    for kind in (TargetKind.DIRECTORY, TargetKind.LIBRARY, TargetKind.PACKAGE):
        assert not Policy().fails(kind, Verdict.UNSAFE, ITEM, (BROKEN,))
        assert Policy(strict=True).fails(kind, Verdict.UNSAFE, ITEM, (BROKEN,))
        assert not Policy(strict=True).fails(kind, Verdict.SAFE, ITEM, ())


def test_what_is_on_the_unstable_abi_is_never_safe() -> None:
    item = subject({"a.so": library("_ZN2at6TensorD1Ev", needed=("libtorch_cpu.so",))}, claims())
    assert Policy().verdict(item, ()) is Verdict.PINNED
    assert Policy().verdict(item, (UNSTABLE,)) is Verdict.UNSAFE


def test_what_has_no_part_in_torch_is_not_applicable() -> None:
    plain = subject({"a.so": library("malloc")}, claims())
    linked = subject({"a.so": library("malloc", needed=("libtorch_cpu.so",))}, claims())
    shim = subject({"a.so": library("torch_ten")}, claims())
    both = subject({"a.so": library("malloc"), "b.so": library("torch_ten")}, claims())
    verdicts = [Policy().verdict(item, (NOTE,)) for item in (plain, linked, shim, both)]
    assert verdicts == [Verdict.NOT_APPLICABLE, *[Verdict.SAFE] * 3]

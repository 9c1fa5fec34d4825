"""The fix of a target: no change of metadata is in a report that did not prove to help."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from tests.builders import CATALOG, claims, library, subject
from torch_abi_audit.audit import Options, conclude, recheck
from torch_abi_audit.claims.amend import amended, amended_filename
from torch_abi_audit.model import (
    Claims,
    DemandSource,
    Finding,
    Fix,
    Ignore,
    Library,
    Member,
    MetadataChange,
    Plan,
    Severity,
    Subject,
    TargetKind,
    TargetReport,
    Verdict,
)
from torch_abi_audit.rules import UNSTABLE_ABI
from torch_abi_audit.rules.registry import require
from torch_abi_audit.verdict.plan import candidates, cause, plan, with_proven_fixes

TORCH = ("libtorch_cpu.so",)
STABLE = library("torch_ten", needed=TORCH)
OLD = library("aoti_torch_old", needed=TORCH)
ELEVEN = library("torch_eleven", needed=TORCH)
ANY = library("_ZN2at6TensorD1Ev", needed=TORCH)  # in all releases
CHANGED = library("_ZN2at6changeEi", needed=TORCH)  # up to 2.9.1
NEVER = library("_ZN2at5neverEv", needed=TORCH)
CUDA12 = library("torch_ten", needed=(*TORCH, "libcudart.so.12"))
PRIVATE = library("_PyObject_GetDictPtr", "torch_ten", exports=("PyInit__C",), needed=TORCH)
LINUX = "manylinux_2_28_x86_64"
NARROW, WIDE = MetadataChange(torch="torch==2.10.*"), MetadataChange(torch="torch>=2.10")
ERROR, WARNING = Severity.ERROR, Severity.WARNING
WARNINGS_TOO = frozenset({ERROR, WARNING})
MORE = (
    "to support more torch releases, move to the stable ABI"
    " (torch-abi-audit explain unstable-torch-symbol)"
)


def report_of(
    libraries: dict[str, Library],
    promised: Claims,
    kind: TargetKind = TargetKind.WHEEL,
    **options: Any,
) -> TargetReport:
    item = subject(libraries, promised)
    return conclude("x.whl", kind, item, CATALOG, Options(**options))


def requiring(libraries: dict[str, Library], *torch: str, **options: Any) -> TargetReport:
    return report_of(libraries, claims(torch=torch), **options)


def plan_of(report: TargetReport) -> Plan:
    assert report.plan is not None
    return report.plan


def fixes(report: TargetReport) -> dict[str, Fix | None]:
    return {finding.rule: finding.fix for finding in report.findings}


def offering(rule: str, *torch: str, severity: Severity = ERROR) -> Finding:
    """A finding with the pins of which one is its fix."""
    choices = tuple(MetadataChange(torch=line) for line in torch)
    fix = Fix("pin", choices[0]) if len(choices) == 1 else Fix("choose", None, choices)
    return Finding(rule, severity, f"{rule} applies", fix=fix)


# What is tried.


@pytest.mark.parametrize(
    ("changes", "tried"),
    [
        ((), []),
        (({"torch": "a"},), [("a", None, None)]),
        (({"torch": "a"}, {"torch": "a"}), [("a", None, None)]),
        (({"torch": "a"}, {"torch": "b"}), [("a", None, None), ("b", None, None)]),
        # What is about other things is changed with each of them.
        (
            ({"torch": "a"}, {"python": ">=3.10"}, {"torch": "b"}, {"tags": "t"}),
            [("a", ">=3.10", "t"), ("b", ">=3.10", "t")],
        ),
        (({"python": ">=3.10"},), [(None, ">=3.10", None)]),
        (({"tags": "t"},), [(None, None, "t")]),
        (({"tags": "t"}, {"python": ">=3.10"}), [(None, ">=3.10", "t")]),
        # Of two Pythons, or sets of tags, the gravest finding's.
        (({"python": ">=3.10"}, {"python": ">=3.9"}, {"tags": "t"}), [(None, ">=3.10", "t")]),
    ],
)
def test_changes_are_tried_together(
    changes: tuple[dict[str, str], ...], tried: list[tuple[str | None, ...]]
) -> None:
    findings = [Finding("r", ERROR, "", fix=Fix("text", MetadataChange(**c))) for c in changes]
    others = [Finding("s", ERROR, ""), Finding("t", ERROR, "", fix=Fix("in words"))]
    assert candidates([*others, *findings, *others]) == [MetadataChange(*item) for item in tried]


def test_each_choice_is_tried() -> None:
    findings = [offering("a", "torch==2.9.*", "torch==2.10.*"), offering("b", "torch==2.10.*")]
    assert [change.torch for change in candidates(findings)] == ["torch==2.9.*", "torch==2.10.*"]


# What is kept of it.


def test_a_fix_that_did_not_help_is_left_out() -> None:
    helped = offering("a", "torch>=2.10")
    not_helped = offering("b", "torch>=2.11")
    in_words = Finding("c", ERROR, "", fix=Fix("rebuild it"))
    without = Finding("d", ERROR, "")
    one_of_two = offering("e", "torch>=2.10", "torch>=2.11")
    findings = (helped, not_helped, in_words, without, one_of_two)
    kept = with_proven_fixes(findings, [MetadataChange(torch="torch>=2.10")])
    assert kept == (
        helped,
        replace(not_helped, fix=None),
        in_words,
        without,
        replace(one_of_two, fix=None),  # all choices have to help
    )
    both = [MetadataChange(torch="torch>=2.10"), MetadataChange(torch="torch>=2.11")]
    assert with_proven_fixes(findings, both) == findings


def test_a_note_says_nothing_that_the_metadata_says_already() -> None:
    """Of releases with a gap between them a requirement can allow the newest ones only."""
    libraries = {"torch-2.9/_C.so": OLD, "torch-2.11/_C.so": ELEVEN}
    found = fixes(requiring(libraries, "torch>=2.11"))
    assert found == {"torch-floor-overstated": None}
    fix = fixes(requiring({"a.so": OLD}, "torch>=2.11"))["torch-floor-overstated"]
    assert fix is not None
    assert fix.line == 'dependencies = ["torch>=2.9"]'


def test_what_helps_against_a_warning_is_kept() -> None:
    report = requiring({"a.so": STABLE})
    assert (report.verdict, report.plan) == (Verdict.SAFE, None)
    assert fixes(report) == {"torch-undeclared": require("torch>=2.10")}


def test_a_fix_that_leaves_other_errors_is_kept() -> None:
    """It helps against its own finding; that nothing makes the wheel pass is said by the plan."""
    report = report_of(
        {"_C.abi3.so": PRIVATE}, claims(f"cp310-abi3-{LINUX}", torch=("torch>=2.9",))
    )
    fix = fixes(report)["torch-floor-understated"]
    assert fix is not None
    assert fix.line == 'dependencies = ["torch>=2.10"]'
    assert plan_of(report).change is None


# What to change about a target.


def test_a_floor_is_raised() -> None:
    report = requiring({"a.so": STABLE}, "torch>=2.9")
    change = MetadataChange(torch="torch>=2.10")
    assert (report.verdict, report.plan) == (Verdict.UNSAFE, Plan(change, verdict=Verdict.SAFE))
    assert report.summary.endswith('; fix: dependencies = ["torch>=2.10"]')


def test_of_several_requirements_the_one_that_is_enough() -> None:
    """The floor alone would still allow a release with another CUDA."""
    report = requiring({"a.so": CUDA12}, "torch>=2.9")
    offered = [fix.line for fix in fixes(report).values() if fix]
    assert offered == ['dependencies = ["torch>=2.10"]', 'dependencies = ["torch==2.10.*"]']
    assert report.plan == Plan(MetadataChange(torch="torch==2.10.*"), verdict=Verdict.SAFE)


def test_the_author_chooses_among_pins() -> None:
    report = requiring({"a.so": CHANGED}, "torch>=2.8")
    choices = tuple(MetadataChange(torch=f"torch=={minor}.*") for minor in ("2.8", "2.9"))
    assert report.plan == Plan(None, choices, Verdict.PINNED, build=(MORE,))
    assert report.summary.endswith("; fix: pin the torch release that it was built with")


def test_the_one_pin_there_is() -> None:
    libraries = {"a.so": library("_ZN2at3newEv", needed=(*TORCH, "libcudart.so.12"))}
    report = requiring(libraries, "torch>=2.9")
    change = MetadataChange(torch="torch==2.10.*")
    assert report.plan == Plan(change, verdict=Verdict.PINNED, build=(MORE,))


@pytest.mark.parametrize("torch", ["torch", "torch==2.10.*"])
def test_nothing_helps_what_never_loads(torch: str) -> None:
    report = requiring({"a.so": NEVER}, torch)
    found = plan_of(report)
    assert (found.change, found.choices, found.verdict) == (None, (), None)
    assert found.why_not == next(f.message for f in report.findings if f.rule != UNSTABLE_ABI)
    assert "rebuild the wheel with one torch release, and pin that release" in found.build
    assert MORE not in found.build  # the finding about the ABI says so
    assert "fix:" not in report.summary


def test_what_is_left_with_the_best_change_is_why() -> None:
    report = report_of(
        {"_C.abi3.so": PRIVATE}, claims(f"cp310-abi3-{LINUX}", torch=("torch>=2.9",))
    )
    (private,) = [finding for finding in report.findings if finding.rule == "abi3-violation"]
    assert private.fix is not None
    # The floor, which the metadata can mend, is not why.
    assert report.plan == Plan(why_not=private.message, build=(private.fix.text,))


def test_no_metadata_helps_where_the_stable_abi_is_required() -> None:
    for torch in ("torch==2.9.*", "torch>=2.8"):
        found = plan_of(requiring({"a.so": CHANGED}, torch, require_stable=True))
        assert found.change is None
        assert found.why_not == "1 library uses the unstable C++ ABI of libtorch (1 symbol)"
    assert requiring({"a.so": CHANGED}, "torch==2.9.*").plan is None


def test_a_promise_is_kept_by_metadata_where_the_libraries_keep_it() -> None:
    for item, change in ((STABLE, WIDE), (ELEVEN, None)):
        target = subject({"a.so": item}, claims(torch=("torch>=2.11",)))
        target = replace(target, min_torch=Version("2.10"))
        found = plan_of(conclude("x.whl", TargetKind.WHEEL, target, CATALOG, Options()))
        assert found.change == change
        assert (found.why_not is None) is (change is not None)


def test_warnings_count_where_they_fail() -> None:
    report = requiring({"a.so": STABLE}, strict=True)
    assert report.verdict is Verdict.UNSAFE
    assert report.plan == Plan(MetadataChange(torch="torch>=2.10"), verdict=Verdict.SAFE)


def test_what_is_ignored_needs_no_change() -> None:
    ignore = Ignore("torch-floor-understated", "a test")
    report = requiring({"a.so": STABLE}, "torch>=2.9", ignore=(ignore,))
    assert (report.verdict, report.plan) == (Verdict.SAFE, None)
    assert [item.finding.rule for item in report.ignored] == [ignore.rule]
    # What is left is mended, and the ignored finding stays.
    report = requiring({"a.so": CHANGED}, "torch>=2.8", ignore=(Ignore(UNSTABLE_ABI, "a test"),))
    assert [change.torch for change in plan_of(report).choices] == ["torch==2.8.*", "torch==2.9.*"]


def test_only_wheels_have_a_plan() -> None:
    for kind in TargetKind:
        report = requiring({"a.so": STABLE}, "torch>=2.9", kind=kind)
        assert (report.plan is not None) is (kind is TargetKind.WHEEL)
        assert report.verdict is Verdict.UNSAFE


def test_the_metadata_is_not_changed_where_the_user_chose_the_releases() -> None:
    item = subject({"a.so": STABLE}, claims(torch=("torch>=2.9",)), judged="==2.9.0")
    item = replace(item, source=DemandSource.TORCH)
    options = Options(torch=SpecifierSet("==2.9.0"))
    report = conclude("x.whl", TargetKind.WHEEL, item, CATALOG, options)
    assert report.verdict is Verdict.UNSAFE
    assert fixes(report) == {"torch-floor-understated": None}
    assert report.plan is None or report.plan.change is None


@pytest.mark.parametrize(
    ("libraries", "torch"),
    [
        ({"a.so": STABLE}, ("torch>=2.9",)),
        ({"a.so": STABLE}, ("torch",)),
        ({"a.so": CUDA12}, ()),
        ({"a.so": CUDA12}, ("torch>=2.9",)),
        ({"a.so": ANY}, ("torch>=2.8",)),
        ({"a.so": ANY, "b.so": ELEVEN}, ("torch>=2.8",)),
        ({"a.so": CHANGED}, ()),
        ({"a.so": CHANGED}, ("torch; python_version >= '3.12'",)),
        ({"a.so": CHANGED}, ("torch>=2.10",)),
    ],
)
def test_a_new_audit_says_what_the_plan_says(
    libraries: dict[str, Library], torch: tuple[str, ...]
) -> None:
    promised = claims(torch=torch)
    found = plan_of(report_of(libraries, promised))
    changes = [change for change in (found.change, *found.choices) if change]
    assert changes
    for change in changes:
        again = report_of(libraries, amended(promised, change))
        assert again.safe
        assert (again.verdict, again.plan) == (found.verdict, None)


# The plan itself.


def tried(change: MetadataChange, *left: Finding) -> tuple[MetadataChange, TargetReport]:
    verdict = Verdict.UNSAFE if any(f.severity is ERROR for f in left) else Verdict.SAFE
    return change, TargetReport("x.whl", verdict, "", findings=left)


ITEM = subject({"a.so": STABLE}, claims(torch=("torch>=2.10",)))


def test_the_first_change_that_passes() -> None:
    bad = offering("a", "torch>=2.10")
    found = plan(ITEM, [bad], [tried(WIDE, bad), tried(NARROW)], frozenset({ERROR}))
    assert found == Plan(NARROW, verdict=Verdict.SAFE)
    # Two that pass are a choice only where a finding says that the author has to choose.
    found = plan(ITEM, [bad], [tried(WIDE), tried(NARROW)], frozenset({ERROR}))
    assert found == Plan(WIDE, verdict=Verdict.SAFE)
    choose = offering("a", "torch>=2.10", "torch==2.10.*")
    found = plan(ITEM, [choose], [tried(WIDE), tried(NARROW)], frozenset({ERROR}))
    assert found == Plan(None, (WIDE, NARROW), Verdict.SAFE)
    # And the one that is left is none.
    found = plan(ITEM, [choose], [tried(WIDE, choose), tried(NARROW)], frozenset({ERROR}))
    assert found == Plan(NARROW, verdict=Verdict.SAFE)


def test_why_not_is_what_the_best_change_leaves() -> None:
    first, second = offering("a", "torch>=2.10"), Finding("b", ERROR, "b", fix=Fix("rebuild"))
    warning = Finding("c", WARNING, "c", fix=Fix("look at it"))
    attempts = [tried(WIDE, first, second), tried(NARROW, second, warning)]
    found = plan(ITEM, [first, second], attempts, frozenset({ERROR}))
    assert found == Plan(why_not="b", build=("rebuild",))
    # Where warnings fail too, both changes leave two.
    found = plan(ITEM, [first, second], attempts, WARNINGS_TOO)
    assert found == Plan(why_not="a applies", build=("rebuild",))
    # Nothing was tried: the findings themselves.
    found = plan(ITEM, [second, first], [], frozenset({ERROR}))
    assert found == Plan(why_not="b", build=("rebuild",))


def test_a_finding_that_says_more_than_the_abi_is_the_cause() -> None:
    abi, other = Finding(UNSTABLE_ABI, ERROR, "abi"), Finding("b", ERROR, "b")
    warning = Finding("c", WARNING, "c")
    assert cause([abi, other, warning]) is other
    assert cause([other, abi]) is other
    assert cause([abi, warning]) is abi  # the gravest first
    assert cause([warning]) is warning


# Changes of other things than torch.


def test_another_tag_makes_a_wheel_pass() -> None:
    report = report_of(
        {"_C.abi3.so": PRIVATE}, claims(f"cp310-abi3-{LINUX}", torch=("torch>=2.10",))
    )
    assert report.verdict is Verdict.UNSAFE
    change = MetadataChange(tags=f"cp310-cp310-{LINUX}")
    again = recheck(report, change, CATALOG, Options())
    assert {str(tag) for tag in (again.claims or claims()).tags} == {f"cp310-cp310-{LINUX}"}
    assert "abi3-violation" not in {finding.rule for finding in again.findings}
    still = recheck(report, MetadataChange(tags=f"cp311-abi3-{LINUX}"), CATALOG, Options())
    assert "abi3-violation" in {finding.rule for finding in still.findings}


def test_libraries_are_classified_again_for_another_platform() -> None:
    """What is libstdc++'s own there is no symbol that libtorch has to have."""
    libraries = {"a.so": library("aoti_torch_old", "_ZSt9leaked_upv", needed=TORCH)}
    report = requiring(libraries, "torch>=2.9")
    assert report.verdict is Verdict.UNSAFE
    for tag, safe in (("manylinux_2_39_x86_64", True), ("manylinux_2_29_x86_64", False)):
        again = recheck(report, MetadataChange(tags=f"py39-none-{tag}"), CATALOG, Options())
        assert again.safe is safe
        loads = [cell.loads_but_for_cuda for cell in again.matrix.row.values()]
        assert all(loads[1:]) is safe


def test_another_python_makes_a_wheel_pass() -> None:
    item = library("PyObject_GetBuffer", "torch_ten", exports=("PyInit__C",), needed=TORCH)
    promised = claims(f"cp39-abi3-{LINUX}", torch=("torch>=2.10",))
    report = report_of({"_C.abi3.so": item}, promised)
    assert [finding.rule for finding in report.findings] == ["abi3-floor-understated"]
    for python, safe in ((">=3.11", True), (">=3.10", False)):
        again = recheck(report, MetadataChange(python=python), CATALOG, Options())
        assert again.safe is safe


def test_what_could_not_be_read_can_not_be_read_with_other_metadata() -> None:
    item = subject({"a.so": STABLE}, claims(torch=("torch>=2.9",)))
    item = replace(item, unreadable=(Member("b.so", (), "truncated"),))
    report = conclude("x.whl", TargetKind.WHEEL, item, CATALOG, Options())
    assert (report.verdict, report.plan) == (Verdict.ERROR, None)
    for change in (WIDE, MetadataChange(tags=f"py3-none-{LINUX}")):
        again = recheck(report, change, CATALOG, Options())
        assert again.verdict is Verdict.ERROR
        assert [member.path for member in again.unreadable] == ["b.so"]


def test_what_was_not_read_to_the_end_stays_so() -> None:
    item: Subject = replace(ITEM, unverified=frozenset({"a.so"}))
    report = conclude("x.whl", TargetKind.WHEEL, item, CATALOG, Options())
    for change in (WIDE, MetadataChange(tags=f"py3-none-{LINUX}")):
        again = recheck(report, change, CATALOG, Options())
        assert again.subject is not None
        assert again.subject.unverified == {"a.so"}


def test_nothing_is_checked_again_of_what_could_not_be_opened() -> None:
    report = TargetReport("x.whl", Verdict.ERROR, "")
    assert recheck(report, WIDE, CATALOG, Options()) is report


# What claims are with a change.


def test_a_requirement_takes_the_place_of_all_but_those_of_extras() -> None:
    promised = claims(
        torch=(
            "torch>=2.9; python_version < '3.12'",
            "torch>=2.10; python_version >= '3.12'",
            "torch[opt-einsum]; extra == 'all'",
            "torch<3; 'gpu' == extra and sys_platform == 'linux'",
            "torch!=2.10.1; platform_version == 'extra'",  # no extra, for all its name
        ),
        extras=("all", "gpu"),
    )
    kept = amended(promised, WIDE)
    assert kept.torch_requirements == (
        Requirement("torch>=2.10"),
        Requirement("torch[opt-einsum]; extra == 'all'"),
        Requirement("torch<3; 'gpu' == extra and sys_platform == 'linux'"),
    )
    assert replace(kept, torch_requirements=promised.torch_requirements) == promised


def test_other_changes_leave_the_requirements_alone() -> None:
    promised = claims(f"cp310-abi3-{LINUX}", torch=("torch>=2.9",), python=">=3.10")
    promised = replace(promised, filename=f"x-1.0-cp310-abi3-{LINUX}.whl")
    assert amended(promised, MetadataChange()) == promised
    python = amended(promised, MetadataChange(python=">=3.11"))
    assert python == replace(promised, requires_python=SpecifierSet(">=3.11"))
    tags = amended(promised, MetadataChange(tags=f"cp311.cp312-abi3-{LINUX}"))
    assert {tag.interpreter for tag in tags.tags} == {"cp311", "cp312"}
    assert tags.tags == tags.wheel_tags
    assert tags.filename == f"x-1.0-cp311.cp312-abi3-{LINUX}.whl"
    assert tags.torch_requirements == promised.torch_requirements


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("x-1.0-cp312-cp312-linux_x86_64.whl", "x-1.0-py3-none-any.whl"),
        ("x-1.0-2-cp312-cp312-linux_x86_64.whl", "x-1.0-2-py3-none-any.whl"),
        ("x-1.0-2b-cp312-cp312-linux_x86_64.whl", "x-1.0-2b-py3-none-any.whl"),
        ("x-1.0-cp312-cp312-linux_x86_64-cu128.whl", "x-1.0-py3-none-any-cu128.whl"),
    ],
)
def test_filenames(filename: str, expected: str) -> None:
    assert amended_filename(filename, "py3-none-any") == expected


@pytest.mark.parametrize(
    "change",
    [
        MetadataChange(torch="torch>>2"),
        MetadataChange(python="three"),
        MetadataChange(tags="py3-none"),
    ],
)
def test_changes_that_are_none(change: MetadataChange) -> None:
    with pytest.raises(ValueError, match=r"."):
        amended(claims(), change)

"""The fix of a wheel, made of those of its findings: each is proven by auditing again."""

from __future__ import annotations

from packaging.tags import parse_tag

from tests.builders import CATALOG, claims, library, subject, tags_of
from torch_abi_audit.audit import Options, conclude
from torch_abi_audit.model import (
    Finding,
    Fix,
    Library,
    MetadataChange,
    Severity,
    TargetKind,
    TargetReport,
    Verdict,
)
from torch_abi_audit.verdict.plan import candidates, plan

LINUX = "manylinux_2_28_x86_64"
GLIBC = (("libc.so.6", ("GLIBC_2.34",)),)
NEWER = library("PyObject_GetBuffer", exports=("PyInit__C",), version_needs=GLIBC)  # 3.11


def concluded(tag: str, libraries: dict[str, Library]) -> TargetReport:
    item = subject(libraries, claims(tag, python=">=3.9"))
    return conclude("x.whl", TargetKind.WHEEL, item, CATALOG, Options())


def test_two_parts_of_the_tags_are_changed_at_once() -> None:
    report = concluded(f"cp39-abi3-{LINUX}", {"_C.abi3.so": NEWER})
    assert [(item.rule, tags_of(item)) for item in report.findings] == [
        ("abi3-floor-understated", f"cp311-abi3-{LINUX}"),
        ("platform-floor-understated", "cp39-abi3-manylinux_2_34_x86_64"),
    ]
    assert report.plan is not None
    assert report.plan.change == MetadataChange(tags="cp311-abi3-manylinux_2_34_x86_64")
    assert report.plan.verdict is Verdict.NOT_APPLICABLE


def test_what_is_left_of_other_libraries_is_no_objection() -> None:
    """A plugin keeps its warning; that does not make the fix of the others wrong."""
    plugin = library(version_needs=(("libc.so.6", ("GLIBC_3.0",)),), needed=("libsycl.so.8",))
    own = library(version_needs=GLIBC, needed=("libc.so.6",))
    report = concluded(f"py3-none-{LINUX}", {"a.so": own, "p.so": plugin})
    error, warning = report.findings
    assert (error.severity, tags_of(error)) == (
        Severity.ERROR,
        "py3-none-manylinux_2_34_x86_64",
    )
    assert (warning.severity, tags_of(warning)) == (Severity.WARNING, None)
    assert warning.fix is not None


def test_a_tag_that_does_not_help_is_no_fix() -> None:
    """The name of the module is for one Python, the tags are for another one, too."""
    item = library("_PyObject_GetDictPtr", exports=("PyInit__C",))
    named = "_C.cpython-312-x86_64-linux-gnu.so"
    report = concluded(f"py3-none-{LINUX}", {named: item})
    assert report.plan is not None
    assert report.plan.change == MetadataChange(tags=f"cp312-cp312-{LINUX}")
    report = concluded(f"cp310-abi3-{LINUX}", {named: item})
    assert report.plan is not None
    assert report.plan.change is None


def of(tags: str) -> Finding:
    fix = Fix("", MetadataChange(tags=tags))
    return Finding("tag-overspecific", Severity.ERROR, "", fix=fix)


def test_of_each_part_the_first_change_counts() -> None:
    tags = parse_tag("cp39.cp310-abi3-linux_x86_64")
    old = "cp310.cp39-abi3-{}"
    assert candidates([of(old.format("a")), of("cp311-abi3-linux_x86_64")], tags) == [
        MetadataChange(tags="cp311-abi3-a")
    ]
    assert candidates([of(old.format("a")), of(old.format("b"))], tags) == [
        MetadataChange(tags=old.format("a"))
    ]
    assert candidates([of(old.format("a"))], tags) == [MetadataChange(tags=old.format("a"))]
    assert candidates([], tags) == []


def test_what_has_no_fix_of_its_own_leaves_the_choice_to_the_others() -> None:
    item = subject({"a.so": library("_ZN2at3newEv", needed=("libtorch_cpu.so",))})
    changes = tuple(MetadataChange(torch=f"torch==2.{minor}.*") for minor in (10, 11))
    passing = [(change, TargetReport("x", Verdict.PINNED, "")) for change in changes]
    bare = Finding("unstable-torch-symbol", Severity.ERROR, "")
    choosing = Finding("torch-unpinned", Severity.ERROR, "", fix=Fix("pin", None, changes))
    errors = frozenset({Severity.ERROR})
    found = plan(item, (bare, choosing), passing, errors)
    assert (found.change, found.choices) == (None, changes)
    found = plan(item, (bare,), passing, errors)
    assert (found.change, found.choices) == (changes[0], ())

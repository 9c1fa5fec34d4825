"""The fix for a target, built from the fixes of its findings and proven."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from torch_abi_audit.claims.python_tags import tag_parts
from torch_abi_audit.model import MetadataChange, Plan, TorchAbi
from torch_abi_audit.rules import UNSTABLE_ABI
from torch_abi_audit.wording import unique

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from packaging.tags import Tag

    from torch_abi_audit.model import Finding, Fix, Severity, Subject, TargetReport

_NONE = MetadataChange()
_TO_THE_STABLE_ABI = (
    "to support more torch releases, move to the stable ABI"
    f" (torch-abi-audit explain {UNSTABLE_ABI})"
)


def candidates(
    findings: Iterable[Finding],
    tags: Iterable[Tag] = (),
    before: MetadataChange = _NONE,
) -> list[MetadataChange]:
    """Return the metadata changes to try for findings, each of them fixing all at once.

    If findings need different requirements on torch, each is tried: one may be narrower.

    Args:
        findings: The findings that make a target unsafe.
        tags: The tags of the target; different findings may change different parts of them.
        before: A change that the findings are left with, and what stays of it.
    """
    fixes = [item.fix for item in findings if item.fix]
    changes = [change for fix in fixes for change in offered(fix)]
    python = next((change.python for change in changes if change.python), None)
    wanted = unique(change.tags for change in changes if change.tags)
    new = _joint(wanted, tags) if len(wanted) > 1 else next(iter(wanted), None)
    torch = unique(change.torch for change in changes if change.torch)
    if not (torch or python or new):
        return []
    return [
        MetadataChange(line or before.torch, python or before.python, new or before.tags)
        for line in torch or (None,)
    ]


def _joint(wanted: Iterable[str], tags: Iterable[Tag]) -> str:
    """Return tags that combine several changes: for each part, the first that differs."""
    parts = zip(*(text.split("-") for text in wanted), strict=True)
    return "-".join(
        next((part for part in of_part if part != before), before)
        for before, of_part in zip(tag_parts(tags), parts, strict=True)
    )


def offered(fix: Fix) -> tuple[MetadataChange, ...]:
    """Return the metadata changes, one of which is the fix."""
    return fix.choices if fix.change is None else (fix.change,)


def with_proven_fixes(
    findings: Iterable[Finding], proven: Iterable[MetadataChange]
) -> tuple[Finding, ...]:
    """Return findings without the metadata changes that were not proven to help."""
    helping = set(proven)
    return tuple(
        replace(item, fix=None) if item.fix and not helping.issuperset(offered(item.fix)) else item
        for item in findings
    )


def failing(findings: Iterable[Finding], severities: frozenset[Severity]) -> list[Finding]:
    """Return the findings that make a target unsafe."""
    return [item for item in findings if item.severity in severities]


def plan(
    subject: Subject,
    found: Sequence[Finding],
    tried: Sequence[tuple[MetadataChange, TargetReport]],
    severities: frozenset[Severity],
) -> Plan:
    """Return what to change about a target that does not pass.

    Args:
        subject: The target.
        found: The findings that make it fail.
        tried: Changes to its metadata, and the result with each.
        severities: The severities that make a target fail.
    """
    passing = {change: again.verdict for change, again in tried if again.safe}
    if passing:
        several = any(item.fix.choices for item in found if item.fix)
        choices = tuple(passing) if several and len(passing) > 1 else ()
        change, verdict = next(iter(passing.items()))
        more = (_TO_THE_STABLE_ABI,) if subject.torch_abi is TorchAbi.UNSTABLE else ()
        return Plan(None if choices else change, choices, verdict, build=more)
    left = min((failing(again.findings, severities) for _, again in tried), key=len, default=found)
    build = [item.fix.text for item in left if item.fix and not offered(item.fix)]
    return Plan(why_not=cause(left).message if left else None, build=unique(build))


def cause(findings: Sequence[Finding]) -> Finding:
    """Return the most telling finding: of the most severe, one that is not just about the ABI."""
    worst = [item for item in findings if item.severity is findings[0].severity]
    # equivalent: if all are of that rule, there is one
    return next((item for item in worst if item.rule != UNSTABLE_ABI), worst[0])


def advice(made: Plan | None) -> tuple[str, ...]:
    """Return the proven fix in brief: the lines to paste, or the choices."""
    if made is None:
        return ()
    if made.choices:
        return ("pin the torch release that it was built with",)
    return tuple(made.change.lines) if made.change else ()

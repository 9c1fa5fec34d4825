"""From findings to a verdict, and to the one sentence that a release manager needs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from torch_abi_audit.claims.torch_requirement import requires_torch
from torch_abi_audit.model import (
    Check,
    Finding,
    Progress,
    PythonAbi,
    ReleaseStatus,
    Severity,
    TargetKind,
    TorchAbi,
    Verdict,
    failing,
    gravest_first,
)
from torch_abi_audit.wording import count, short

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch_abi_audit.model import Floor, Subject, TargetReport, TorchUse


# What `Check.CLAIMS` lets pass: it is no claim that is broken.
_NO_CLAIM = frozenset({"unstable-torch-symbol"})


def weigh(findings: Sequence[Finding], check: Check | None) -> tuple[Finding, ...]:
    """Return findings with the severity that they have for what is checked, the gravest first."""
    if check is not Check.CLAIMS:
        return tuple(findings)
    return gravest_first(
        replace(f, severity=Severity.NOTE) if f.rule in _NO_CLAIM else f for f in findings
    )


def judge(
    subject: Subject,
    findings: Sequence[Finding],
    abi: TorchAbi,
    *,
    strict: bool,
) -> Verdict:
    """Return the verdict for a target that could be opened.

    Args:
        subject: The target's claims and libraries.
        findings: What the rules found.
        abi: The worst ABI of its libraries.
        strict: Whether warnings make it unsafe too.
    """
    if subject.unreadable:
        return Verdict.ERROR
    grave = failing(strict=strict)
    if any(finding.severity in grave for finding in findings):
        return Verdict.UNSAFE
    if abi is TorchAbi.NONE and not any(item.torch.needs_torch for item in subject.libraries):
        return Verdict.NOT_APPLICABLE
    return Verdict.SAFE


def progress(uses: Iterable[TorchUse]) -> Progress:
    """Count the libraries that use torch by its stable ABI, and those that do not yet."""
    abis = [use.abi for use in uses]
    return Progress(abis.count(TorchAbi.STABLE), abis.count(TorchAbi.UNSTABLE))


def fails(report: TargetReport, check: Check | None) -> bool:
    """Whether a target makes a run fail: a wheel that is unsafe, or what is checked for.

    What could not be audited always does.

    Nothing but wheels fails unless it is asked for.
    """
    # Not what is accepted: libraries that are still to be moved, for example.
    torch = any(finding.rule == "unstable-torch-symbol" for finding in report.findings)
    abi3 = report.python_abi is PythonAbi.VERSION_SPECIFIC
    if report.verdict is Verdict.ERROR:
        return True
    match check:
        case Check.TORCH:
            return torch
        case Check.ABI3:
            return abi3
        case Check.BOTH:
            return torch or abi3
        case Check.CLAIMS:
            return report.verdict is Verdict.UNSAFE
        case None:
            return report.kind is TargetKind.WHEEL and report.verdict is Verdict.UNSAFE


def summarize(
    subject: Subject,
    findings: Sequence[Finding],
    verdict: Verdict,
    floor: Floor | None,
    kind: TargetKind = TargetKind.WHEEL,
) -> str:
    """Say in one sentence what the verdict rests on."""
    match verdict:
        case Verdict.ERROR:
            return f"not audited: {count(len(subject.unreadable), 'member')} can't be read"
        case Verdict.UNSAFE:
            found = _reasons(findings)
            if {f.rule for f in findings if f.severity is Severity.ERROR} == _NO_CLAIM:
                found += "; its claims hold (--check claims passes it)"
            return f"do not publish: {found}" if kind is TargetKind.WHEEL else found
        case Verdict.NOT_APPLICABLE if not subject.libraries:
            return "nothing compiled in it: no ABI to keep"
        case Verdict.NOT_APPLICABLE:
            return "nothing in it uses torch, and no claim that was checked is broken"
        case _:
            return _safe(subject, floor)


def _safe(subject: Subject, floor: Floor | None) -> str:
    if floor is not None:
        return f"stable ABI only: {_reach(subject, floor)}"
    if any(item.torch.abi is TorchAbi.UNSTABLE for item in subject.libraries):
        stable, unstable = progress(item.torch for item in subject.libraries)
        moved = f" ({stable} of {stable + unstable} libraries stable)" if stable else ""
        return (
            "its claims hold, and it is for the releases of torch that it is pinned to alone"
            f"{moved}"
        )
    if any(item.torch.foreign for item in subject.libraries):
        return "uses nothing of torch but copies of other projects in its libraries"
    return "loads torch's libraries, and imports nothing from them"


def _reach(subject: Subject, floor: Floor) -> str:
    """Say which releases it serves, and which of them the metadata asks for."""
    served = f"one wheel for torch {short(floor.release)} and newer"
    row = subject.matrix.row.values()
    if row and all(cell.status is ReleaseStatus.UNKNOWN for cell in row):
        served += ", as far as its symbols tell: no build of torch for its platform is known"
    asked = requires_torch(subject.claims) if subject.claims.stated else None
    return f"{served}; the metadata asks for torch{asked}" if asked else served


def _reasons(findings: Sequence[Finding]) -> str:
    """Name the rules that fail it, the worst first, each with how often it holds."""
    worst = findings[0].severity
    rules = [finding.rule for finding in findings if finding.severity is worst]
    return ", ".join(
        f"{rule} ({rules.count(rule)})" if rules.count(rule) > 1 else rule
        for rule in dict.fromkeys(rules)
    )

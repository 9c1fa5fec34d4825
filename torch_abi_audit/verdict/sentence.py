"""The one sentence that a release manager needs of a target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch_abi_audit.model import (
    Finding,
    MigrationProgress,
    ReleaseStatus,
    TargetKind,
    TorchAbi,
    Verdict,
)
from torch_abi_audit.wording import count, short

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch_abi_audit.model import Floor, Subject, TorchUse
    from torch_abi_audit.verdict.policy import Policy


def progress(uses: Iterable[TorchUse]) -> MigrationProgress:
    """Count the libraries that use torch by its stable ABI, and those that do not yet."""
    abis = [use.abi for use in uses]
    return MigrationProgress(abis.count(TorchAbi.STABLE), abis.count(TorchAbi.UNSTABLE))


def summarize(
    subject: Subject,
    findings: Sequence[Finding],
    verdict: Verdict,
    kind: TargetKind,
    policy: Policy,
) -> str:
    """Say in one sentence what the verdict rests on."""
    match verdict:
        case Verdict.ERROR:
            return f"not audited: {count(len(subject.unreadable), 'member')} can't be read"
        case Verdict.UNSAFE:
            found = _reasons(findings)
            if not policy.is_broken_claim(findings):
                found += "; its claims hold (--check claims passes it)"
            return f"do not publish: {found}" if kind is TargetKind.WHEEL else found
        case Verdict.NOT_APPLICABLE if not subject.libraries:
            return "nothing compiled in it: no ABI to keep"
        case Verdict.NOT_APPLICABLE:
            return "nothing in it uses torch, and no claim that was checked is broken"
        case _:
            return _safe(subject)


def _safe(subject: Subject) -> str:
    floor = subject.torch_floor
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
    asked = subject.requires_torch
    return f"{served}; the metadata asks for torch{asked}" if asked else served


def _reasons(findings: Sequence[Finding]) -> str:
    """Name the rules that fail it, the worst first, each with how often it holds."""
    worst = findings[0].severity
    rules = [finding.rule for finding in findings if finding.severity is worst]
    return ", ".join(
        f"{rule} ({rules.count(rule)})" if rules.count(rule) > 1 else rule
        for rule in dict.fromkeys(rules)
    )

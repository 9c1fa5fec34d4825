"""The one sentence that a release manager needs: made from matrix, metadata and tags together."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit.claims.python_tags import ANY_LATER, installing_interpreters
from torch_abi_audit.claims.torch_requirement import admitted_by_any
from torch_abi_audit.claims.variants import torch_properties
from torch_abi_audit.model import (
    DemandSource,
    MigrationProgress,
    ReleaseStatus,
    Severity,
    TargetKind,
    TorchAbi,
    Verdict,
)
from torch_abi_audit.rules import UNSTABLE_ABI
from torch_abi_audit.verdict.plan import advice, cause
from torch_abi_audit.wording import count, join, pythons, ranges, short, unique

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from packaging.version import Version

    from torch_abi_audit.catalog import Catalog
    from torch_abi_audit.model import Finding, Ignored, Plan, Subject, TorchUse


class Support(NamedTuple):
    """The torch releases that a target loads on, and those that its metadata allows.

    Attributes:
        loads: The known releases that it loads on, with classes as it expects them.
        guaranteed: Those of them that the stable ABI guarantees.
        unknown: Known releases without a build for its platform, so it is unclear if it loads.
        allowed: The known releases that it is checked against: those that its metadata allows,
            or the user's choice.
    """

    loads: frozenset[Version]
    guaranteed: frozenset[Version]
    unknown: frozenset[Version]
    allowed: frozenset[Version]

    @property
    def missed(self) -> frozenset[Version]:
        """The allowed releases that it does not load on."""
        return self.allowed - self.loads - self.unknown


def support(subject: Subject) -> Support:
    """Compare the matrix of a target with what its metadata allows."""
    row = subject.matrix.row
    loads = {release for release, cell in row.items() if cell.loads_unchanged}
    demands = subject.demands or (None,)
    return Support(
        loads=frozenset(loads),
        guaranteed=frozenset(r for r in loads if row[r].status is ReleaseStatus.GUARANTEED),
        unknown=frozenset(r for r in row if row[r].status is ReleaseStatus.UNKNOWN),
        allowed=admitted_by_any(demands, tuple(row)),
    )


def progress(uses: Iterable[TorchUse]) -> MigrationProgress:
    """Count the libraries that use torch through its stable ABI, and those that do not yet."""
    abis = [use.abi for use in uses]
    return MigrationProgress(abis.count(TorchAbi.STABLE), abis.count(TorchAbi.UNSTABLE))


def summarize(  # noqa: PLR0913 -- all that the sentence is about
    subject: Subject,
    catalog: Catalog,
    findings: Sequence[Finding],
    ignored: Sequence[Ignored],
    *,
    verdict: Verdict,
    kind: TargetKind,
    plan: Plan | None = None,
) -> str:
    """Say in one sentence what the verdict is based on.

    Args:
        subject: The target.
        catalog: The torch releases that it is checked against.
        findings: The rules that apply, the most severe first.
        ignored: The findings that the user ignores.
        verdict: The verdict.
        kind: What the target is.
        plan: What to change if it does not pass.
    """
    match verdict:
        case Verdict.ERROR:
            return f"not audited: {count(len(subject.unreadable), 'file')} can't be read"
        case Verdict.UNSAFE:
            fix = ", ".join(advice(plan))
            parts = [_cause(findings), *([f"fix: {fix}"] if fix else [])]
            parts[0] = f"do not publish: {parts[0]}" if kind is TargetKind.WHEEL else parts[0]
        case Verdict.NOT_APPLICABLE:
            parts = ["does not use torch" if subject.libraries else "contains no compiled file"]
            parts += _aside(findings) or ([] if ignored else ["no other problems found"])
        case _:
            parts = [_loads(subject, catalog), *_installs(subject, kind), *_aside(findings)]
    return "; ".join([*parts, *_narrowed(subject, catalog), *_ignored(ignored)])


def _loads(subject: Subject, catalog: Catalog) -> str:
    """Say which releases a target loads on, and which its metadata allows."""
    found = support(subject)
    match subject.torch_abi:
        case TorchAbi.STABLE:
            abi = "stable ABI"
        case TorchAbi.UNSTABLE:
            stable, unstable = progress(item.torch for item in subject.libraries)
            abi = f"unstable ABI in {unstable} of {count(stable + unstable, 'library')}"
            abi = abi if stable else "unstable ABI"
        case _ if any(item.torch.foreign for item in subject.libraries):
            abi = "uses only third-party symbols of libtorch"
        case _:
            abi = "links to torch, but uses no symbol of it"
    parts = [f"{abi}: {_where(subject, found, catalog)}"]
    if found.missed and subject.requires_torch is not None:
        missed = ranges(found.missed, catalog.releases)
        parts.append(f"not on {missed}, allowed by {subject.source}")
    elif subject.source is DemandSource.METADATA:
        parts += _required(subject, found, catalog)
    return ", ".join(parts)


def _where(subject: Subject, found: Support, catalog: Catalog) -> str:
    """Say which releases a target loads on."""
    floor = subject.torch_floor
    if not found.loads:
        if not found.unknown:
            known = ranges(catalog.releases, catalog.releases)
            return f"does not load on any known torch release ({known})"
        need = f"; its symbols need torch {short(floor.release)} or newer" if floor else ""
        if subject.build is not None:
            unknown = (
                "not known whether it loads on" if subject.build.is_known else "nothing is known of"
            )
            return f"{unknown} {subject.build}{need}"
        return f"no torch build for its platform is known{need}"
    # The guarantee covers releases to come.
    to_come = subject.source is not DemandSource.AGAINST and catalog.newest in found.guaranteed
    shown = ranges(found.loads, catalog.releases, open_ended=to_come)
    of_concern = found.loads & found.allowed or found.loads
    promise = ""
    if subject.torch_abi is TorchAbi.STABLE and not of_concern <= found.guaranteed:
        promise = " without ABI guarantee"
    builds = "CUDA builds of " if needs_cuda(subject) else ""
    return f"loads on {builds}torch {shown}{promise}"


def needs_cuda(subject: Subject) -> bool:
    """Whether a library links to libraries that only CUDA builds of torch have."""
    return any("cuda" in name for item in subject.libraries for name in item.torch.needed)


def _required(subject: Subject, found: Support, catalog: Catalog) -> list[str]:
    """State the metadata's requirement on torch, unless it adds nothing to what was said."""
    required = subject.requires_torch
    variant = join(p.value for p in torch_properties(subject.claims.variant_properties))
    if not subject.required:
        return []
    if required is None:
        return ["but torch is not declared"]
    if not found.allowed:
        # Only releases older or newer than those in the catalog, or none at all.
        asked = " or ".join(f"torch{demand}" for demand in subject.demands)
        return [f"{asked if variant else f'torch{required}'} allows no known release"]
    if None in subject.required:
        return [f"torch{required} is only declared in part"]
    if subject.torch_abi is TorchAbi.UNSTABLE:
        minors = {release.release[:2] for release in found.allowed}
        others = found.loads - found.allowed
        which = ranges(found.allowed, catalog.releases)
        return [f"pinned to {which}" if others or len(minors) > 1 else "the required release"]
    said = f"requires torch{required}" if required else "any torch allowed"
    return [f"{said}, but the variant is for torch {variant} only" if variant else said]


def _installs(subject: Subject, kind: TargetKind) -> list[str]:
    """Say on which Python versions a wheel can be installed."""
    if kind is not TargetKind.WHEEL:
        return []
    found = [str(item) for item in installing_interpreters(subject.claims)]
    said = pythons(found, ANY_LATER.minor)
    return [f"for Python {said}"] if said else []


def _cause(findings: Sequence[Finding]) -> str:
    """Say what is wrong: the most telling finding, and which other rules the target fails."""
    told = cause(findings)
    more = unique(
        item.rule
        for item in findings
        if item.severity is told.severity and item.rule not in (told.rule, UNSTABLE_ABI)
    )
    aside = f" (also {', '.join(more)})" if more else ""
    return f"{told.message}{aside}"


def _aside(findings: Iterable[Finding]) -> list[str]:
    """Count the warnings, by name."""
    found = [item for item in findings if item.severity is Severity.WARNING]
    if not found:
        return []
    lines = unique(item.fix.line for item in found if item.fix and item.fix.line)
    fix = f", fix: {', '.join(lines)}" if lines else ""
    named = ", ".join(unique(item.rule for item in found))
    return [f"{count(len(found), 'warning')} ({named}{fix})"]


def _narrowed(subject: Subject, catalog: Catalog) -> list[str]:
    """Say that the user chose the releases to check against, and which builds these are."""
    build = subject.build if subject.matrix.row else None
    if subject.source is DemandSource.METADATA:
        return [] if build is None else [f"checked against {build} ({build.source})"]
    checked = admitted_by_any(subject.demands, catalog.releases)
    of = "" if build is None else f"'s {build.name} builds of"
    why = str(subject.source)
    if build is not None and build.source != why:
        why += f", {build.source}"
    return [f"checked against torch{of} {ranges(checked, catalog.releases)} only ({why})"]


def _ignored(ignored: Sequence[Ignored]) -> list[str]:
    """Count the findings that the user ignores: errors and warnings by name."""
    grave = [i.finding.rule for i in ignored if i.finding.severity is not Severity.NOTE]
    if not grave:
        return []
    return [f"{count(len(grave), 'finding')} ignored ({', '.join(unique(grave))})"]

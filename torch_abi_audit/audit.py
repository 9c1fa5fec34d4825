"""The pipeline: a target becomes members, facts, classifications, findings, a verdict, a report."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet

from torch_abi_audit.abi.classify import classify
from torch_abi_audit.abi.cpython import highest_python_floor, worst_python_abi
from torch_abi_audit.abi.matrix import Surroundings, make_matrix
from torch_abi_audit.abi.torch import highest_floor, worst_abi
from torch_abi_audit.catalog import load_catalog
from torch_abi_audit.claims import admitted_torch, brought_cuda, torch_specifiers
from torch_abi_audit.errors import AuditError
from torch_abi_audit.model import (
    BY_METADATA,
    Claims,
    Member,
    ReleaseStatus,
    Report,
    Subject,
    TargetReport,
    Verdict,
)
from torch_abi_audit.rules import run_rules
from torch_abi_audit.targets.wheel import read_wheel
from torch_abi_audit.verdict import judge, summarize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch_abi_audit.catalog import Catalog


@dataclass(frozen=True, slots=True)
class Options:
    """How to judge.

    Attributes:
        strict: Whether warnings make a target unsafe.
        torch: The releases of torch to judge against, instead of what the metadata asks for.
        against: One torch to judge against: a wheel, or the folder where it is installed.
        verify: Whether to read every member to its end, and check its checksum.
    """

    strict: bool = False
    torch: SpecifierSet | None = None
    against: Path | None = None
    verify: bool = False

    @property
    def judge(self) -> str:
        """Who says which releases of torch to judge against."""
        if self.against is not None:
            return "--against"
        return BY_METADATA if self.torch is None else "--torch"


def audit(*targets: str | Path, options: Options | None = None) -> Report:
    """Audit wheels and report what they are.

    Bad input never raises: a target that can't be opened, or a member that can't be
    read, gives the verdict `error` with the reason, and the others are audited.

    Args:
        targets: Paths of wheels.
        options: How to judge; by default as the command line does.

    Raises:
        AuditError: There is no torch at `options.against`, or none that is `options.torch`.
    """
    auditor = Auditor(options or Options())
    return Report(
        targets=tuple(map(auditor.audit, targets)),
        torch_releases=auditor.catalog.releases,
    )


class Auditor:
    """Audits one target after the other, and keeps nothing of them.

    Raises:
        AuditError: There is no torch at `options.against`, or none that is `options.torch`.
    """

    def __init__(self, options: Options) -> None:
        catalog = load_catalog()
        if options.against is not None:
            # The builder's code: needed in this case only.
            from torch_abi_audit.catalog.against import catalog_of  # noqa: PLC0415

            catalog = catalog_of(options.against, catalog)
            options = replace(options, torch=SpecifierSet(f"=={catalog.newest}"))
        if options.torch is not None and not admitted_torch(options.torch, catalog.releases):
            raise AuditError(f"no torch that the catalog knows is {options.torch}")
        self.catalog = catalog
        self._options = options

    def audit(self, target: str | Path) -> TargetReport:
        """Audit one wheel; see `audit`."""
        try:
            claims, members = read_wheel(Path(target), verify=self._options.verify)
            subject = _classify(claims, members, self.catalog, self._options)
            return _conclude(str(target), subject, self.catalog, self._options)
        except AuditError as error:
            reason = str(error)
        except OSError as error:
            reason = error.strerror or str(error)
        except Exception as error:  # noqa: BLE001 -- a bug: say so, and audit the other targets
            reason = f"internal error, please report it: {type(error).__name__}: {error}"
        return TargetReport(
            target=str(target),
            verdict=Verdict.ERROR,
            summary=f"not audited: {reason}",
            error=reason,
        )


def _classify(
    claims: Claims, members: Sequence[Member], catalog: Catalog, options: Options
) -> Subject:
    libraries = [(member.path, library) for member in members for library in member.slices]
    tags = frozenset(tag.platform for tag in claims.tags)
    items = classify(libraries, tags, catalog, is_torch=claims.name == "torch")
    matrix = make_matrix(items, catalog, Surroundings(tags, brought_cuda(claims)))
    unknown = [cell.status is ReleaseStatus.UNKNOWN for cell in matrix.row.values()]
    if options.against is not None and any(unknown):
        keys = ", ".join(sorted({item.platform or "another platform" for item in items}))
        raise AuditError(f"{options.against} is not for its platform, {keys}")
    return Subject(
        claims=claims,
        libraries=items,
        unreadable=tuple(member for member in members if member.error is not None),
        unverified=frozenset(m.path for m in members if m.slices and not m.verified),
        matrix=matrix,
        demands=torch_specifiers(claims) if options.torch is None else (options.torch,),
        judge=options.judge,
    )


def _conclude(target: str, subject: Subject, catalog: Catalog, options: Options) -> TargetReport:
    findings = run_rules(subject, catalog)
    torch = [item.torch for item in subject.libraries]
    python = [item.python for item in subject.libraries]
    abi, floor = worst_abi(torch), highest_floor(torch)
    verdict = judge(subject, findings, abi, strict=options.strict)
    return TargetReport(
        target=target,
        verdict=verdict,
        summary=summarize(subject, findings, verdict, floor),
        claims=subject.claims,
        libraries=subject.libraries,
        unreadable=subject.unreadable,
        unverified=subject.unverified,
        findings=findings,
        matrix=subject.matrix,
        torch_abi=abi,
        torch_floor=floor,
        python_abi=worst_python_abi(python),
        python_floor=highest_python_floor(python),
        error=_error(subject.unreadable),
    )


def _error(unreadable: Sequence[Member]) -> str | None:
    return "; ".join(f"{item.path}: {item.error}" for item in unreadable) or None

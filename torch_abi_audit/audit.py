"""The pipeline: a target becomes members, facts, classifications, findings, a verdict, a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from torch_abi_audit.abi.cpython import (
    classify_python,
    highest_python_floor,
    library_kind,
    worst_python_abi,
)
from torch_abi_audit.abi.scope import scopes
from torch_abi_audit.abi.torch import classify_torch, highest_floor, worst_abi
from torch_abi_audit.catalog import load_catalog
from torch_abi_audit.errors import AuditError
from torch_abi_audit.model import (
    Claims,
    LibraryAudit,
    Member,
    Report,
    Subject,
    TargetReport,
    Verdict,
)
from torch_abi_audit.rules import run_rules
from torch_abi_audit.targets.wheel import read_wheel
from torch_abi_audit.verdict import judge, summarize

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch_abi_audit.catalog import Catalog


def audit(*targets: str | Path, strict: bool = False) -> Report:
    """Audit wheels and report what they are.

    Bad input never raises: a target that can't be opened, or a member that can't be
    read, gives the verdict `error` with the reason, and the others are audited.

    Args:
        targets: Paths of wheels.
        strict: Whether warnings make a target unsafe.
    """
    catalog = load_catalog()
    return Report(
        targets=tuple(audit_target(target, catalog, strict=strict) for target in targets),
        torch_releases=catalog.releases,
    )


def audit_target(target: str | Path, catalog: Catalog, *, strict: bool = False) -> TargetReport:
    """Audit one wheel; see `audit`."""
    path = Path(target)
    try:
        claims, members = read_wheel(path)
    except AuditError as error:
        return TargetReport(
            target=str(target),
            verdict=Verdict.ERROR,
            summary=f"not audited: {error}",
            error=str(error),
        )
    return _conclude(str(target), _classify(claims, members, catalog), catalog, strict=strict)


def _classify(claims: Claims, members: Iterable[Member], catalog: Catalog) -> Subject:
    members = list(members)
    libraries = {item.path: item.library for item in members if item.library is not None}
    found = scopes(libraries)
    return Subject(
        claims=claims,
        libraries=tuple(
            LibraryAudit(
                path=path,
                library=library,
                kind=library_kind(library),
                torch=classify_torch(library, found[path], catalog),
                python=classify_python(library, found[path]),
            )
            for path, library in libraries.items()
        ),
        unreadable=tuple(item for item in members if item.library is None),
    )


def _conclude(target: str, subject: Subject, catalog: Catalog, *, strict: bool) -> TargetReport:
    findings = run_rules(subject, catalog)
    torch = [item.torch for item in subject.libraries]
    python = [item.python for item in subject.libraries]
    abi, floor = worst_abi(torch), highest_floor(torch)
    verdict = judge(subject, findings, abi, strict=strict)
    return TargetReport(
        target=target,
        verdict=verdict,
        summary=summarize(subject, findings, verdict, abi, floor),
        claims=subject.claims,
        libraries=subject.libraries,
        unreadable=subject.unreadable,
        findings=findings,
        torch_abi=abi,
        torch_floor=floor,
        python_abi=worst_python_abi(python),
        python_floor=highest_python_floor(python),
        error=_error(subject.unreadable),
    )


def _error(unreadable: Sequence[Member]) -> str | None:
    return "; ".join(f"{item.path}: {item.error}" for item in unreadable) or None

"""The document that every report is made of: targets and runs as plain values.

The JSON report is this document; all others render it, so that none can say anything else.
Its shape is an API, described by `schema.json` beside this file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch_abi_audit.claims.torch_requirement import requires_torch
from torch_abi_audit.model import ReleaseStatus, Verdict
from torch_abi_audit.verdict.verdict import progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from packaging.version import Version

    from torch_abi_audit.audit import Options
    from torch_abi_audit.model import (
        Cell,
        Claims,
        Coverage,
        Environment,
        Finding,
        Floor,
        Ignored,
        LibraryAudit,
        Member,
        Release,
        Report,
        RunReport,
        TargetReport,
    )

SCHEMA_VERSION = 1
# The keys that stand before the targets, and those that stand after them.
HEAD = ("schema_version", "tool", "catalog", "configuration", "options", "environment")
TAIL = ("releases", "findings", "ignored", "run_fails", "counts")


def head_document(
    tool_version: str,
    releases: Iterable[Version],
    environment: Environment | None = None,
    configuration: str | None = None,
    options: Options | None = None,
) -> dict[str, Any]:
    """Return what stands before the targets.

    Args:
        tool_version: The version of this tool.
        releases: Those of torch that the catalog has.
        environment: The environment that is audited as a whole.
        configuration: The file that the configuration is from.
        options: What makes the run fail.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "torch-abi-audit", "version": tool_version},
        "catalog": {"torch_releases": list(map(str, releases))},
        "configuration": configuration,
        "options": {
            "check": options and options.check,
            "strict": options is not None and options.strict,
        },
        "environment": environment
        and {
            "site_packages": list(environment.folders),
            "torch": environment.torch and str(environment.torch),
            "error": environment.error,
        },
    }


def tail_document(targets: Iterable[Mapping[str, Any]], run: RunReport) -> dict[str, Any]:
    """Return what stands after the targets.

    Args:
        targets: The targets' documents, or of each what `counted` keeps.
        run: What is concluded of them together.
    """
    targets = list(targets)
    verdicts = [target["verdict"] for target in targets]
    here = [target["here"] and target["here"]["status"] for target in targets]
    return {
        "releases": list(map(_release, run.releases)),
        "findings": list(map(_finding, run.findings)),
        "ignored": list(map(_ignored, run.ignored)),
        "run_fails": run.fails,
        "counts": {
            "targets": len(targets),
            "safe": verdicts.count(Verdict.SAFE),
            "unsafe": verdicts.count(Verdict.UNSAFE),
            "not_applicable": verdicts.count(Verdict.NOT_APPLICABLE),
            "error": verdicts.count(Verdict.ERROR),
            "here": {status.value: here.count(status) for status in ReleaseStatus},
        },
    }


def counted(target: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the counts, and the closing sentence, need of a target's document."""
    return {key: target[key] for key in ("target", "kind", "verdict", "fails", "here")}


def target_document(target: TargetReport) -> dict[str, Any]:
    """Return the document of one target."""
    claims = target.claims
    cells = target.matrix.libraries
    libraries = [
        _library(item, cells.get(item.path, {}), verified=item.path not in target.unverified)
        for item in target.libraries
    ]
    libraries += map(_unreadable, target.unreadable)
    return {
        "target": target.target,
        "kind": target.kind,
        "name": claims and claims.name,
        "version": str(claims.version) if claims and claims.stated else None,
        "verdict": target.verdict,
        "fails": target.fails,
        "summary": target.summary,
        "error": target.error,
        "torch": {
            "abi": target.torch_abi,
            **_floor(target.torch_floor),
            "releases": _releases(target.matrix.row),
            "asked": list(map(str, target.asked)),
            "progress": progress(item.torch for item in target.libraries)._asdict(),
            "alternatives": [
                {"library": path, "group": item.group, "release": "{}.{}".format(*item.release)}
                for path, item in target.matrix.alternatives.items()
            ],
        },
        "python": {
            "abi": target.python_abi,
            "floor": target.python_floor and str(target.python_floor),
        },
        "here": target.here
        and {
            "torch": str(target.here.torch),
            "status": target.here.cell.status,
            "reasons": list(map(str, target.here.cell.reasons)),
        },
        "claims": _claims(claims) if claims and claims.stated else None,
        "libraries": sorted(libraries, key=lambda library: str(library["path"])),
        "findings": list(map(_finding, target.findings)),
        "ignored": list(map(_ignored, target.ignored)),
    }


def _claims(claims: Claims) -> dict[str, Any]:
    return {
        "filename": claims.filename,
        "variant": claims.variant,
        "tags": sorted(map(str, claims.tags)),
        "wheel_tags": sorted(map(str, claims.wheel_tags)),
        "root_is_purelib": claims.root_is_purelib,
        "requires_torch": requires_torch(claims),
        "requires_python": str(claims.requires_python) or None,
    }


def _floor(floor: Floor | None) -> dict[str, Any]:
    return {
        "floor": floor and str(floor.release),
        "floor_symbols": list(floor.symbols) if floor else [],
    }


def _releases(row: Mapping[Version, Cell]) -> dict[str, Any]:
    return {
        str(release): {"status": cell.status, "reasons": list(map(str, cell.reasons))}
        for release, cell in row.items()
    }


def _library(item: LibraryAudit, row: Mapping[Version, Cell], *, verified: bool) -> dict[str, Any]:
    torch, python, library = item.torch, item.python, item.library
    return {
        "path": item.path,
        "kind": item.kind,
        "format": library.format,
        "arch": library.arch,
        "soname": library.soname,
        "needed": list(library.needed),
        "minos": library.minos and str(library.minos),
        "torch": {
            "abi": torch.abi,
            **_floor(torch.floor),
            "needed": list(torch.needed),
            "shims": list(torch.shims),
            "unknown_shims": list(torch.unknown_shims),
            "unstable_symbols": list(torch.unstable),
            "weak_symbols": list(torch.weak),
            "foreign_symbols": list(torch.foreign),
            "leaked_symbols": list(torch.leaked),
            "inlined_symbols": list(torch.inlined),
            "releases": _releases(row),
        },
        "python": {
            "abi": python.abi,
            "floor": python.floor and str(python.floor),
            "floor_symbols": list(python.floor_symbols),
            "violations": list(python.violations),
            "opaque": list(python.opaque),
            "linked": list(python.linked),
        },
        "verified": verified,
        "error": None,
    }


def _unreadable(member: Member) -> dict[str, Any]:
    return {
        "path": member.path,
        "kind": None,
        "format": None,
        "arch": None,
        "soname": None,
        "needed": [],
        "minos": None,
        "torch": None,
        "python": None,
        "verified": False,
        "error": member.error,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "severity": finding.severity,
        "library": finding.library,
        "libraries": list(finding.libraries),
        "message": finding.message,
        "evidence": list(finding.evidence),
        "help": finding.help,
    }


def _ignored(item: Ignored) -> dict[str, Any]:
    ignore = item.ignore
    return {
        **_finding(item.finding),
        "ignore": {
            "rule": ignore.rule,
            "library": ignore.library,
            "reason": ignore.reason,
            "until_torch": ignore.until_torch and str(ignore.until_torch),
            "migrating": ignore.migrating,
        },
    }


def _release(release: Release) -> dict[str, Any]:
    return {
        "name": release.name,
        "version": str(release.version),
        "wheels": [wheel.target for wheel in release.wheels],
        "coverage": list(map(_coverage, release.coverage)),
    }


def _coverage(row: Coverage) -> dict[str, Any]:
    return {
        "platform": row.platform,
        "pythons": list(map(str, row.pythons)),
        "torch": None if row.torch is None else list(map(str, row.torch)),
        "wheels": list(row.wheels),
    }


def report_document(report: Report, tool_version: str) -> dict[str, Any]:
    """Return the document of a whole report."""
    targets = list(map(target_document, report.targets))
    head = head_document(tool_version, report.torch_releases)
    return {**head, "targets": targets, **tail_document(targets, report.run)}

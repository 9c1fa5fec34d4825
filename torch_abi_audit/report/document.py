"""The document that every report is made of: targets and runs as plain values.

The JSON report is this document; all others render it, so that none can say anything else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch_abi_audit.model import Cause, Host, PythonAbi, ReleaseStatus, TorchAbi, Verdict
from torch_abi_audit.verdict.policy import Policy
from torch_abi_audit.verdict.sentence import progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from packaging.version import Version

    from torch_abi_audit.model import (
        BuildUse,
        BuiltWith,
        Cell,
        Comparison,
        Coverage,
        Environment,
        Finding,
        Floor,
        Here,
        Ignored,
        LayoutChange,
        LibraryAudit,
        Member,
        MetadataChange,
        Plan,
        ProjectRelease,
        Reason,
        Replacements,
        Report,
        RunReport,
        Subject,
        TargetReport,
    )
    from torch_abi_audit.report.shape import (
        BaselineDocument,
        BuildUseDocument,
        BuiltWithDocument,
        CellDocument,
        ClaimsDocument,
        CoverageDocument,
        Document,
        FindingDocument,
        HeadDocument,
        HereDocument,
        HostDocument,
        IgnoredDocument,
        LibraryDocument,
        LibraryPythonDocument,
        LibraryTorchDocument,
        MetadataChangeDocument,
        PlanDocument,
        ProjectReleaseDocument,
        ReasonDocument,
        ReplacementsDocument,
        TailDocument,
        TargetDocument,
        TargetTorchDocument,
    )


class Counter:
    """Counts targets, of which nothing else is kept."""

    def __init__(self) -> None:
        self._verdicts: list[Verdict] = []
        self._here: list[ReleaseStatus] = []

    def add(self, target: TargetReport) -> None:
        """Count the next target."""
        self._verdicts.append(target.verdict)
        self._here += [target.here.cell.status] if target.here else []

    def tail(self, run: RunReport) -> TailDocument:
        """Return what stands after the targets.

        Args:
            run: What is concluded of them together.
        """
        verdicts, here = self._verdicts, self._here
        word, why, exit_code = run.conclusion
        return {
            "releases": list(map(_release, run.releases)),
            "findings": list(map(_finding, run.findings)),
            "ignored": list(map(_ignored, run.ignored)),
            "run_fails": run.fails,
            "counts": {
                "targets": len(verdicts),
                "safe": verdicts.count(Verdict.SAFE),
                "pinned": verdicts.count(Verdict.PINNED),
                "unsafe": verdicts.count(Verdict.UNSAFE),
                "not_applicable": verdicts.count(Verdict.NOT_APPLICABLE),
                "error": verdicts.count(Verdict.ERROR),
                "here": {
                    "guaranteed": here.count(ReleaseStatus.GUARANTEED),
                    "links": here.count(ReleaseStatus.LINKS),
                    "breaks": here.count(ReleaseStatus.BREAKS),
                    "unknown": here.count(ReleaseStatus.UNKNOWN),
                },
            },
            "conclusion": {"word": word, "why": why, "exit_code": exit_code},
        }


def head_document(  # noqa: PLR0913 -- all that stands there
    tool_version: str,
    releases: Iterable[Version],
    policy: Policy,
    environment: Environment | None = None,
    configuration: str | None = None,
    *,
    torch_build: str | None = None,
) -> HeadDocument:
    """Return what stands before the targets.

    Args:
        tool_version: The version of this tool.
        releases: Those of torch that the catalog has.
        policy: What makes the run fail.
        environment: The environment that is audited as a whole.
        configuration: The file that the configuration is from.
        torch_build: The builds of torch that the user chose.
    """
    return {
        "schema_version": 1,
        "tool": {"name": "torch-abi-audit", "version": tool_version},
        "catalog": {"torch_releases": list(map(str, releases))},
        "configuration": configuration,
        "options": {
            "check": list(policy.checks),
            "strict": policy.strict,
            "require_stable": policy.require_stable,
            "torch_build": torch_build,
        },
        "environment": None
        if environment is None
        else {
            "site_packages": list(environment.folders),
            "torch": _text(environment.version or environment.torch),
            "error": environment.error,
        },
    }


def _text(version: Version | None) -> str | None:
    return None if version is None else str(version)


def target_document(target: TargetReport) -> TargetDocument:
    """Return the document of one target."""
    subject = target.subject
    stated = subject is not None and subject.claims.stated
    return {
        "target": target.target,
        "kind": target.kind,
        "name": subject.claims.name if subject else None,
        "version": str(subject.claims.version) if subject and stated else None,
        "verdict": target.verdict,
        "baseline": _baseline(target.baseline),
        "fails": target.fails,
        "checks": [
            {
                "check": result.check,
                "passed": result.passed,
                "libraries": list(result.libraries),
                "symbols": result.symbols,
            }
            for result in target.checks
        ],
        "summary": target.summary,
        "fix": _plan(target.plan),
        "error": target.error,
        "torch": _target_torch(target),
        "python": {
            "abi": subject.python_abi if subject else PythonAbi.NONE,
            "floor": str(subject.python_floor) if subject and subject.python_floor else None,
        },
        "here": _here(target.here),
        "claims": _claims(subject) if subject and stated else None,
        "host": _host(subject.host if subject else Host()),
        "libraries": _libraries(subject) if subject else [],
        "findings": list(map(_finding, target.findings)),
        "ignored": list(map(_ignored, target.ignored)),
    }


def _host(host: Host) -> HostDocument:
    return {
        "libraries": [
            {
                "name": item.name,
                "need": item.need,
                "one_of": list(item.one_of),
                "needed_by": list(item.libraries),
                "dependencies": list(item.dependencies),
                "torch": list(map(str, item.torch)),
            }
            for item in host.libraries
        ],
        "symbol_versions": [
            {"library": library, "version": version} for library, version in host.symbol_versions
        ],
    }


def _baseline(found: Comparison | None) -> BaselineDocument | None:
    if found is None:
        return None
    return {
        "target": found.target,
        "version": found.version,
        "libraries": {
            path: {
                "path": state.path,
                "abi": state.abi,
                "shims": state.shims,
                "unstable_symbols": state.unstable,
            }
            for path, state in found.before.items()
        },
        "moved": list(found.moved),
        "back": list(found.back),
        "unstable_before": found.unstable_before,
        "unstable_now": found.unstable_now,
    }


def _here(here: Here | None) -> HereDocument | None:
    if here is None:
        return None
    remedy = here.remedy
    return {
        "torch": str(here.torch),
        **_cell(here.cell),
        "remedy": remedy and {"why": remedy.why, "command": remedy.command},
    }


def _plan(plan: Plan | None) -> PlanDocument | None:
    if plan is None:
        return None
    change = plan.change
    return {
        "metadata": change and _metadata(change),
        "lines": list(change.lines) if change else [],
        "choices": [
            {"metadata": _metadata(choice), "lines": list(choice.lines)} for choice in plan.choices
        ],
        "passes": change is not None or bool(plan.choices),
        "verdict": plan.verdict,
        "why_not": plan.why_not,
        "build": list(plan.build),
    }


def _metadata(change: MetadataChange) -> MetadataChangeDocument:
    return {
        "requires_torch": change.torch and change.torch.removeprefix("torch"),
        "requires_python": change.python,
        "tags": change.tags,
    }


def _target_torch(target: TargetReport) -> TargetTorchDocument:
    subject, matrix = target.subject, target.matrix
    floor, symbols = _floor(subject.torch_floor if subject else None)
    stable, unstable = progress(item.torch for item in target.libraries)
    return {
        "abi": subject.torch_abi if subject else TorchAbi.NONE,
        "floor": floor,
        "floor_symbols": symbols,
        "built_with": _built_with(subject.built_with) if subject else None,
        "build": _build(subject.build) if subject else None,
        "releases": _releases(matrix.row),
        "asked": list(map(str, target.asked)),
        "progress": {"stable": stable, "unstable": unstable},
        "replacements": _replacements(subject.replacements) if subject else None,
        "alternatives": [
            {"library": path, "group": item.group, "release": "{}.{}".format(*item.release)}
            for path, item in matrix.alternatives.items()
        ],
    }


def _build(use: BuildUse | None) -> BuildUseDocument | None:
    if use is None:
        return None
    return {
        "name": use.name,
        "source": use.source,
        "measured": list(map(str, use.measured)),
        "derived": list(map(str, use.derived)),
    }


def _replacements(found: Replacements | None) -> ReplacementsDocument | None:
    return found and {
        "release": str(found.release),
        "replaced": [
            {
                "replacement": item.name,
                "kind": item.kind,
                "since": str(item.since),
                "floor": str(item.floor),
                "note": item.note,
                "symbols": list(symbols),
            }
            for item, symbols in found.replaced
        ],
        "without": list(found.without),
    }


def _claims(subject: Subject) -> ClaimsDocument:
    claims = subject.claims
    return {
        "filename": claims.filename,
        "variant": claims.variant,
        "variant_properties": list(map(str, claims.variant_properties)),
        "tags": sorted(map(str, claims.tags)),
        "wheel_tags": sorted(map(str, claims.wheel_tags)),
        "root_is_purelib": claims.root_is_purelib,
        "requires_torch": subject.requires_torch,
        "requires_python": str(claims.requires_python) or None,
    }


def _floor(floor: Floor | None) -> tuple[str | None, list[str]]:
    return (str(floor.release), list(floor.symbols)) if floor else (None, [])


def _releases(row: Mapping[Version, Cell]) -> dict[str, CellDocument]:
    return {str(release): _cell(cell) for release, cell in row.items()}


def _cell(cell: Cell) -> CellDocument:
    return {
        "status": cell.status,
        "layout": cell.layout,
        "reasons": [*map(_reason, cell.reasons), *map(_change, cell.changes)],
        "libstdcxx": cell.libstdcxx,
    }


def _reason(reason: Reason) -> ReasonDocument:
    return {"cause": reason.cause, "name": reason.name, "detail": reason.detail}


def _change(change: LayoutChange) -> ReasonDocument:
    return {"cause": Cause.LAYOUT, "name": change.name, "detail": change.told}


def _built_with(built: BuiltWith | None) -> BuiltWithDocument | None:
    return built and {
        "releases": list(map(str, built.releases)),
        "sign": built.sign,
        "matched": built.matched,
        "of": built.of,
        "date": None if built.day is None else built.day.isoformat(),
        "newest": None if built.newest is None else str(built.newest),
    }


def _libraries(subject: Subject) -> list[LibraryDocument]:
    found = [_library(item, subject) for item in subject.libraries]
    found += map(_unreadable, subject.unreadable)
    return sorted(found, key=lambda library: library["path"])


def _library(item: LibraryAudit, subject: Subject) -> LibraryDocument:
    library = item.library
    return {
        "path": item.path,
        "kind": item.kind,
        "format": library.format,
        "arch": library.arch,
        "soname": library.soname,
        "needed": list(library.needed),
        "minos": library.minos and str(library.minos),
        "torch": _library_torch(item, subject),
        "python": _library_python(item),
        "verified": item.path not in subject.unverified,
        "error": None,
    }


def _library_torch(item: LibraryAudit, subject: Subject) -> LibraryTorchDocument:
    torch = item.torch
    floor, symbols = _floor(torch.floor)
    return {
        "abi": torch.abi,
        "floor": floor,
        "floor_symbols": symbols,
        "needed": list(torch.needed),
        "shims": list(torch.shims),
        "unknown_shims": list(torch.unknown_shims),
        "unstable_symbols": list(torch.unstable),
        "weak_symbols": list(torch.weak),
        "foreign_symbols": list(torch.foreign),
        "leaked_symbols": list(torch.leaked),
        "inlined_symbols": list(torch.inlined),
        "built_with": _built_with(subject.built.get(item.path)),
        "releases": _releases(subject.matrix.libraries.get(item.path, {})),
    }


def _library_python(item: LibraryAudit) -> LibraryPythonDocument:
    python = item.python
    return {
        "abi": python.abi,
        "floor": python.floor and str(python.floor),
        "floor_symbols": list(python.floor_symbols),
        "violations": list(python.violations),
        "opaque": list(python.opaque),
        "linked": list(python.linked),
    }


def _unreadable(member: Member) -> LibraryDocument:
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
        "error": member.error or "",
    }


def _finding(finding: Finding) -> FindingDocument:
    fix = finding.fix
    return {
        "rule": finding.rule,
        "severity": finding.severity,
        "counts": finding.counts,
        "libraries": list(finding.libraries),
        "message": finding.message,
        "evidence": [
            {
                "kind": item.kind,
                "name": item.name,
                "library": item.library,
                "declaration": item.declaration,
                "detail": item.detail,
            }
            for item in finding.evidence
        ],
        "fix": fix and fix.text,
        "fix_line": fix and fix.line,
    }


def _ignored(item: Ignored) -> IgnoredDocument:
    ignore = item.ignore
    return {
        **_finding(item.finding),
        "ignore": {
            "rule": ignore.rule,
            "library": ignore.library,
            "symbol": ignore.symbol,
            "reason": ignore.reason,
            "until_torch": _text(ignore.until_torch),
            "migrating": ignore.migrating,
        },
    }


def _release(release: ProjectRelease) -> ProjectReleaseDocument:
    return {
        "name": release.name,
        "version": str(release.version),
        "wheels": [wheel.target for wheel in release.wheels],
        "coverage": list(map(_coverage, release.coverage)),
    }


def _coverage(row: Coverage) -> CoverageDocument:
    return {
        "platform": row.platform,
        "variant": row.variant,
        "pythons": list(map(str, row.pythons)),
        "torch": None if row.torch is None else list(map(str, row.torch)),
        "wheels": list(row.wheels),
    }


def report_document(
    report: Report,
    tool_version: str,
    policy: Policy = Policy(),  # noqa: B008 -- frozen
    torch_build: str | None = None,
) -> Document:
    """Return the document of a whole report; see `head_document`."""
    counter = Counter()
    for target in report.targets:
        counter.add(target)
    return {
        **head_document(tool_version, report.torch_releases, policy, torch_build=torch_build),
        "targets": list(map(target_document, report.targets)),
        **counter.tail(report.run),
    }

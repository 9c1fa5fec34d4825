"""The JSON report: an API with a version and a schema (`schema.json` beside this file)."""

from __future__ import annotations

import json
from collections import Counter
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch_abi_audit.claims import requires_torch
from torch_abi_audit.model import ReleaseStatus, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import TextIO

    from packaging.version import Version

    from torch_abi_audit.model import (
        Cell,
        Claims,
        Environment,
        Finding,
        Floor,
        LibraryAudit,
        Member,
        Report,
        TargetReport,
    )

SCHEMA_VERSION = 1


def load_schema() -> Any:
    """Return the JSON Schema that every report keeps."""
    return json.loads(Path(__file__).with_name("schema.json").read_text(encoding="utf-8"))


class JsonWriter:
    """Writes a report target by target, so that a run holds one target's facts at a time.

    The text is ASCII, indented by two spaces, with a newline at the end.
    """

    def __init__(
        self,
        stream: TextIO,
        tool_version: str,
        releases: Iterable[Version],
        environment: Environment | None = None,
    ) -> None:
        self._stream = stream
        self._verdicts: Counter[Verdict] = Counter()
        self._here: Counter[ReleaseStatus] = Counter()
        head = {
            "schema_version": SCHEMA_VERSION,
            "tool": {"name": "torch-abi-audit", "version": tool_version},
            "catalog": {"torch_releases": list(map(str, releases))},
            "environment": environment
            and {
                "site_packages": list(environment.folders),
                "torch": environment.torch and str(environment.torch),
                "error": environment.error,
            },
        }
        self._write(json.dumps(head, indent=2).removesuffix("\n}"), ',\n  "targets": [')

    def add(self, target: TargetReport) -> None:
        """Write the next target."""
        separator = "," if self._verdicts else ""
        self._verdicts[target.verdict] += 1
        if target.here is not None:
            self._here[target.here.cell.status] += 1
        self._write(separator, "\n    ", _indented(_target(target), 4))

    def finish(self) -> None:
        """Write the counts."""
        counts = {
            "targets": self._verdicts.total(),
            "safe": self._verdicts[Verdict.SAFE],
            "unsafe": self._verdicts[Verdict.UNSAFE],
            "not_applicable": self._verdicts[Verdict.NOT_APPLICABLE],
            "error": self._verdicts[Verdict.ERROR],
            "here": {status: self._here[status] for status in ReleaseStatus},
        }
        end = "\n  ]" if self._verdicts else "]"
        self._write(end, ',\n  "counts": ', _indented(counts, 2), "\n}\n")

    def _write(self, *parts: str) -> None:
        self._stream.write("".join(parts))


def _indented(values: Any, spaces: int) -> str:
    return json.dumps(values, indent=2).replace("\n", "\n" + " " * spaces)


def render_json(report: Report, tool_version: str) -> str:
    """Return a whole report."""
    stream = StringIO()
    writer = JsonWriter(stream, tool_version, report.torch_releases)
    for target in report.targets:
        writer.add(target)
    writer.finish()
    return stream.getvalue()


def _target(target: TargetReport) -> dict[str, Any]:
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
        "summary": target.summary,
        "error": target.error,
        "torch": {
            "abi": target.torch_abi,
            **_floor(target.torch_floor),
            "releases": _releases(target.matrix.row),
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
        "findings": [_finding(finding) for finding in target.findings],
    }


def _claims(claims: Claims) -> dict[str, Any]:
    return {
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
        "message": finding.message,
        "evidence": list(finding.evidence),
        "help": finding.help,
    }

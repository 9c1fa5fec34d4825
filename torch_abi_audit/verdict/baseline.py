"""The baseline: what has changed since an earlier report or wheel, and which findings are new."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from torch_abi_audit.errors import AuditError, reason_of
from torch_abi_audit.loader.graph import installed_path
from torch_abi_audit.model import (
    Baseline,
    BaselineTarget,
    Comparison,
    EvidenceKind,
    Ignore,
    Ignored,
    KnownFinding,
    LibraryState,
    TorchAbi,
)
from torch_abi_audit.verdict.ignores import part_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from torch_abi_audit.model import Evidence, Finding, Subject, TargetReport

_MAX_BYTES = 256 << 20  # equivalent: of a report, one more or less is as good a bound
_BY_WEIGHT = (TorchAbi.NONE, TorchAbi.STABLE, TorchAbi.UNSTABLE)
_HASH = r"-[0-9a-f]{8}$"  # what auditwheel, delocate and delvewheel add to names


def library_key(path: str) -> str:
    """Return the name of a library regardless of its build: without suffix and hash.

    ``x/_C`` for ``x/_C.cpython-312-x86_64-linux-gnu.so`` and ``x/_C.abi3.so``.
    """
    folder, slash, name = installed_path(path).rpartition("/")
    return f"{folder}{slash}{re.sub(_HASH, '', name.partition('.')[0])}"


def read_baseline(path: Path) -> Baseline:
    """Read a baseline from the JSON report of an earlier run.

    Raises:
        AuditError: The file can't be read, or is not such a report.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise AuditError(f"{path}: larger than {_MAX_BYTES} bytes")
        document = json.loads(path.read_text(encoding="utf-8-sig"))
        return Baseline(str(path), tuple(map(_target, document["targets"])))
    except OSError as error:
        raise AuditError(f"{path}: {reason_of(error)}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise AuditError(f"{path}: neither a wheel nor a JSON report of this tool") from error


def _target(document: Mapping[str, Any]) -> BaselineTarget:
    """Return a target from its entry in the JSON report."""
    states = [
        LibraryState(
            _text(item["path"]),
            TorchAbi(item["torch"]["abi"]),
            len(item["torch"]["shims"]),
            len(item["torch"]["unstable_symbols"]),
        )
        for item in document["libraries"]
        if item["torch"] is not None
    ]
    # Ignored findings existed too.
    found = [
        (
            _text(item["rule"]),
            list(map(_text, item["libraries"])),
            [
                (None if e["library"] is None else _text(e["library"]), _text(e["name"]))
                for e in item["evidence"]
                if e["kind"] == EvidenceKind.SYMBOL
            ],
        )
        for item in (*document["findings"], *document["ignored"])
    ]
    name, version = document["name"], document["version"]
    return BaselineTarget(
        _text(document["target"]),
        None if name is None else _text(name),
        None if version is None else _text(version),
        _by_key(states),
        _known(found),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def baseline_of(source: str, reports: Iterable[TargetReport]) -> Baseline:
    """Return the baseline made of the reports of an earlier wheel."""
    return Baseline(source, tuple(map(_of_report, reports)))


def _of_report(report: TargetReport) -> BaselineTarget:
    findings = (*report.findings, *(item.finding for item in report.ignored))
    found = [(f.rule, list(f.libraries), list(_symbols(f.evidence))) for f in findings]
    claims = report.claims
    return BaselineTarget(
        report.target,
        claims.name if claims else None,
        str(claims.version) if claims else None,
        _by_key(_states(report.subject)) if report.subject else {},
        _known(found),
    )


def _states(subject: Subject) -> list[LibraryState]:
    return [
        LibraryState(i.path, i.torch.abi, len(i.torch.shims), len(i.torch.unstable))
        for i in subject.libraries
    ]


def _symbols(evidence: Iterable[Evidence]) -> Iterable[tuple[str | None, str]]:
    return ((e.library, e.name) for e in evidence if e.kind is EvidenceKind.SYMBOL)


def _by_key(states: Iterable[LibraryState]) -> dict[str, LibraryState]:
    """Return libraries by key; of several with the same key, such as slices, the worst."""
    found: dict[str, LibraryState] = {}
    for state in states:
        key = library_key(state.path)
        other = found.get(key)
        if other is None or _BY_WEIGHT.index(state.abi) > _BY_WEIGHT.index(other.abi):
            found[key] = state
    return found


def _known(
    found: Iterable[tuple[str, list[str], list[tuple[str | None, str]]]],
) -> dict[str, KnownFinding]:
    known: dict[str, KnownFinding] = {}
    for rule, paths, symbols in found:
        libraries, names = known.get(rule, KnownFinding())
        known[rule] = KnownFinding(
            libraries | set(map(library_key, paths)),
            names | {(path and library_key(path), name) for path, name in symbols},
        )
    return known


def counterpart(baseline: Baseline, subject: Subject) -> BaselineTarget | None:
    """Return the target of a baseline for the same project, and the same platform if possible.

    Of several, the one with the most libraries in common; None if there is no such project.
    """
    keys = {library_key(item.path) for item in subject.libraries}
    same = [item for item in baseline.targets if item.name == subject.claims.name]
    return max(same, key=lambda item: len(keys & set(item.libraries)), default=None)


def compare(subject: Subject, before: BaselineTarget) -> Comparison:
    """Compare a target with its earlier state."""
    now = _by_key(_states(subject))
    known = {
        state.path: before.libraries[key] for key, state in now.items() if key in before.libraries
    }
    pairs = [(state, known[state.path]) for state in now.values() if state.path in known]
    unstable = TorchAbi.UNSTABLE
    return Comparison(
        target=before.target,
        version=before.version,
        before=known,
        moved=tuple(n.path for n, b in pairs if b.abi is unstable and n.abi is TorchAbi.STABLE),
        back=tuple(n.path for n, b in pairs if n.abi is unstable and b.abi is TorchAbi.STABLE),
        unstable_before=sum(state.unstable for state in before.libraries.values()),
        unstable_now=sum(state.unstable for state in now.values()),
    )


def split_known(
    findings: Iterable[Finding], before: BaselineTarget, source: str
) -> tuple[tuple[Finding, ...], tuple[Ignored, ...]]:
    """Split findings into new ones and those already in the baseline.

    A finding about symbols is new for symbols that are not in the baseline; any other finding,
    for libraries that are not.
    """
    new: list[Finding] = []
    old: list[Ignored] = []
    for finding in findings:
        known = before.findings.get(finding.rule)
        fresh = finding if known is None else _fresh(finding, known)
        new += [] if fresh is None else [fresh]
        if fresh is not finding:
            rest = finding if fresh is None else _without(finding, fresh)
            old.append(Ignored(rest, Ignore(finding.rule, f"in the baseline, {source}")))
    return tuple(new), tuple(old)


def _fresh(finding: Finding, known: KnownFinding) -> Finding | None:
    """Return the new part of a finding; None if nothing is new."""
    symbols = [item for item in finding.evidence if item.kind is EvidenceKind.SYMBOL]
    if symbols and len(symbols) == len(finding.evidence) and known.symbols:
        left = [
            item
            for item in symbols
            if (item.library and library_key(item.library), item.name) not in known.symbols
        ]
        paths = {item.library for item in left}
        inside = set(finding.libraries) if None in paths else paths & set(finding.libraries)
    else:
        inside = {p for p in finding.libraries if library_key(p) not in known.libraries}
        left = [item for item in finding.evidence if item.library is None or item.library in inside]
        left = left if inside else []
    if not left and not inside:
        return None
    if len(left) == len(finding.evidence) and inside == set(finding.libraries):
        return finding
    return part_of(finding, {path for path in inside if path is not None}, left)


def _without(finding: Finding, fresh: Finding) -> Finding:
    """Return a finding without a part of it."""
    new = set(fresh.evidence)
    evidence = [item for item in finding.evidence if item not in new]
    paths = {item.library for item in evidence}
    others = set(finding.libraries) - set(fresh.libraries)
    inside = {path for path in finding.libraries if path in paths} | others
    return part_of(finding, inside, evidence)

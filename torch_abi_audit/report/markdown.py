"""The report in GitHub's Markdown: for a job's summary, a pull request, release notes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from torch_abi_audit.model import ReleaseStatus, Severity, Verdict
from torch_abi_audit.report import summary
from torch_abi_audit.report.escape import clean
from torch_abi_audit.wording import count

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from torch_abi_audit.report.shape import (
        Document,
        EvidenceDocument,
        FindingDocument,
        IgnoredDocument,
        ProjectReleaseDocument,
        TargetDocument,
    )


_VERDICTS = {
    Verdict.SAFE: "✅ safe",
    Verdict.UNSAFE: "❌ unsafe",
    Verdict.NOT_APPLICABLE: "➖ not applicable",  # noqa: RUF001
    Verdict.ERROR: "💥 error",
}
_SEVERITIES = {Severity.ERROR: "❌", Severity.WARNING: "⚠️", Severity.NOTE: "ℹ️"}  # noqa: RUF001
_CELLS = {
    ReleaseStatus.GUARANTEED: "✅",
    ReleaseStatus.LINKS: "🟡",
    ReleaseStatus.BREAKS: "❌",
    ReleaseStatus.UNKNOWN: "❔",
}
_SHOWN = 10
_DETAILED = 50  # targets
_LONGEST = 900_000  # bytes, of the mebibyte that a job's summary takes
_SPECIAL = re.compile(r"([\\`*_\[\]|~&#])")
# What escapes of Markdown leave to HTML, and the beginning of a mention.
_ENTITIES = str.maketrans({"<": "&lt;", ">": "&gt;", "@": "&#64;"})


def render_markdown(document: Document) -> str:
    """Return the report of a whole document, no longer than a job's summary may be.

    Targets that there is no room for have their row in the table alone.
    """
    lines, length, left_out = list(_lines(document)), 0, 0
    length = sum(map(len, lines))
    known = document["catalog"]["torch_releases"]
    for target in document["targets"]:
        # Of many targets those that are fine have their row alone.
        if summary.is_fine(target) and len(document["targets"]) > _DETAILED:
            continue
        details = list(_target(target, known))
        length += sum(len(line.encode()) + 1 for line in details)
        if length > _LONGEST:
            left_out += 1
            continue
        lines += details
    if left_out:
        lines += [f"The details of {count(left_out, 'target')} are left out: there is no room.", ""]
    newest = ", ".join(known[-1:]) or "none"
    made = f"torch-abi-audit {document['tool']['version']}, which knows torch up to {newest}"
    return "\n".join([*lines, _text(made)]) + "\n"


def _lines(document: Document) -> Iterator[str]:
    targets = document["targets"]
    yield "## torch-abi-audit"
    yield ""
    if targets:
        yield f"**{_text(summary.conclusion(document))}**"
        yield ""
    yield "| verdict | target | torch | python | errors | warnings | why |"
    yield "|---|---|---|---|---|---|---|"
    for target in targets:
        findings = target["findings"]
        why = target["summary"] if not summary.is_fine(target) else summary.in_short(target)
        cells = [
            _VERDICTS[Verdict(target["verdict"])],
            _code(summary.filename(target)).replace("|", "\\|"),  # which would end the cell
            _text(summary.torch_in_short(target)),
            _text(summary.python_in_short(target)),
            str(summary.severities(findings, Severity.ERROR)),
            str(summary.severities(findings, Severity.WARNING)),
            _text(why),
        ]
        yield f"| {' | '.join(cells)} |"
    yield ""
    for release in document["releases"]:
        yield from _release(release, document["catalog"]["torch_releases"])
    for finding in document["findings"]:
        yield from _finding(finding)
    yield from _accepted(document["ignored"])


def _release(release: ProjectReleaseDocument, known: Sequence[str]) -> Iterator[str]:
    wheels = count(len(release["wheels"]), "wheel")
    yield f"### {_text(release['name'])} {_text(release['version'])}: {wheels}"
    yield ""
    yield "| platform | Pythons | torch |"
    yield "|---|---|---|"
    for row in summary.coverage(release, known):
        yield f"| {' | '.join(map(_text, row))} |"
    yield ""


def _accepted(ignored: Sequence[IgnoredDocument]) -> Iterator[str]:
    for item in ignored:
        where = "".join(f" in {_code(path)}" for path in item["libraries"][:1])
        yield f"- accepted {_code(item['rule'])}{where}: {_text(item['message'])}"
        yield f"  - {_text(item['ignore']['reason'])}"
        yield ""


def _target(target: TargetDocument, known: Sequence[str]) -> Iterator[str]:
    """Yield the details of a target, folded where it is fine."""
    fine = summary.is_fine(target)
    yield "<details>" if fine else "<details open>"
    verdict = _VERDICTS[Verdict(target["verdict"])]
    yield f"<summary>{verdict}: <code>{_html(summary.filename(target))}</code></summary>"
    yield ""
    yield f"{_text(target['summary'])}"
    yield ""
    if target["error"] is not None:
        yield f"Not audited: {_text(target['error'])}"
        yield ""
    if summary.readable(target):
        yield _text(summary.contents(target))
        yield ""
        yield "| | found | claimed |"
        yield "|---|---|---|"
        for fact in summary.facts(target):
            cells = [fact.topic, _text(fact.found), _text(fact.claimed or "")]
            yield f"| {' | '.join(cells)} |"
        yield ""
    for aside in summary.asides(target):
        yield _text(aside)
        yield ""
    yield from _matrix(target)
    here = summary.here(target, known)
    if here is not None:
        yield f"**here**: {_text(here)}"
        yield ""
    for finding in target["findings"]:
        yield from _finding(finding)
    yield from _accepted(target["ignored"])
    yield "</details>"
    yield ""


def _matrix(target: TargetDocument) -> Iterator[str]:
    table = summary.matrix(target)
    if table is None:
        return
    labels = [f"{table.major}{label}" for label in table.labels]
    yield f"| torch | {' | '.join(labels)} |"
    yield f"|---|{'---|' * len(labels)}"
    for name, cells in table.rows:
        yield f"| {_text(name)} | {' | '.join(map(_cell, cells))} |"
    yield ""
    drawn = {(_cell(cell), _meaning(cell)) for _, cells in table.rows for cell in cells}
    yield "; ".join(f"{mark} {meaning}" for mark, meaning in sorted(drawn))
    yield ""
    for text in summary.alternatives(target):
        yield _text(text)
        yield ""


def _cell(cell: summary.MatrixCell) -> str:
    if cell.status is ReleaseStatus.BREAKS and not cell.asked:
        return "➖"  # noqa: RUF001 -- what nobody asks for need not load
    return _CELLS[cell.status]


def _meaning(cell: summary.MatrixCell) -> str:
    aside = cell.status is ReleaseStatus.BREAKS and not cell.asked
    return summary.LEGEND[cell.status] + (", and is not asked for" if aside else "")


def _finding(finding: FindingDocument) -> Iterator[str]:
    mark = _SEVERITIES[Severity(finding["severity"])]
    label = f"{finding['severity']}[{finding['rule']}]"
    yield f"- {mark} {_code(label)} {_text(finding['message'])}"
    for path in _some(map(_code, finding["libraries"])):
        yield f"  - in {path}"
    for name in _some(map(_evidence, summary.evidence(finding))):
        yield f"  - {name}"
    if finding["fix"]:
        yield f"  - **help**: {_text(finding['fix'])}"
    yield ""


def _evidence(item: EvidenceDocument) -> str:
    name = _code(summary.evidence_text(item))
    return f"{name}: {_code(item['declaration'])}" if item["declaration"] else name


def _some(texts: Iterable[str]) -> Iterator[str]:
    """Yield texts, of many the first."""
    found = list(texts)
    yield from found[:_SHOWN]
    if len(found) > _SHOWN:
        yield f"and {len(found) - _SHOWN} more"


def _text(text: str) -> str:
    """Escape text, so that nothing in it is markup, or calls anybody."""
    return _SPECIAL.sub(r"\\\1", clean(text)).translate(_ENTITIES)


def _code(text: str) -> str:
    """Put text into a code span, whatever backticks are in it."""
    text = clean(text)
    fence = "`" * (1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{space}{text}{space}{fence}"


def _html(text: str) -> str:
    from html import escape  # noqa: PLC0415

    return escape(clean(text))

"""The report in GitHub's Markdown: for a job's summary, a pull request, release notes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit.model import Severity, Verdict
from torch_abi_audit.report import summary
from torch_abi_audit.report.escape import (
    html_text,
    markdown_cell,
    markdown_cell_code,
    markdown_code,
    markdown_text,
)
from torch_abi_audit.report.summary import Mark
from torch_abi_audit.wording import count

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from torch_abi_audit.report.shape import (
        Document,
        EvidenceDocument,
        FindingDocument,
        IgnoredDocument,
        ProjectReleaseDocument,
        TargetDocument,
    )


class _Marks(NamedTuple):
    """What is drawn for a word."""

    verdicts: Mapping[Verdict, str]
    severities: Mapping[Severity, str]
    cells: Mapping[Mark, str]
    means: str  # between a mark and its meaning


_EMOJI = _Marks(
    {
        Verdict.SAFE: "✅ safe",
        Verdict.PINNED: "📌 pinned",
        Verdict.UNSAFE: "❌ unsafe",
        Verdict.NOT_APPLICABLE: "➖ not applicable",  # noqa: RUF001
        Verdict.ERROR: "💥 error",
    },
    {Severity.ERROR: "❌ ", Severity.WARNING: "⚠️ ", Severity.NOTE: "ℹ️ "},  # noqa: RUF001
    {
        Mark.GUARANTEED: "✅",
        Mark.LINKS: "🟡",
        Mark.CHANGED: "🟠",
        Mark.BREAKS: "❌",
        Mark.EXCLUDED: "➖",  # noqa: RUF001
        Mark.UNKNOWN: "❔",
    },
    " ",
)
_WORDS = _Marks(
    {verdict: verdict.replace("-", " ") for verdict in Verdict},
    dict.fromkeys(Severity, ""),  # which the label says
    {
        Mark.GUARANTEED: "yes",
        Mark.LINKS: "loads",
        Mark.CHANGED: "changed",
        Mark.BREAKS: "no",
        Mark.EXCLUDED: "(no)",
        Mark.UNKNOWN: "?",
    },
    ": ",
)
_SHOWN = 10
_DETAILED = 50  # targets
_LONGEST = 900_000  # bytes, of the mebibyte that a job's summary takes


def render_markdown(document: Document, *, emoji: bool = True) -> str:
    """Return the report of a whole document, no longer than a job's summary may be.

    Targets that there is no room for have their row in the table alone.

    Args:
        document: The document.
        emoji: Whether to draw emoji; otherwise there are words.
    """
    marks = _EMOJI if emoji else _WORDS
    lines, length, left_out = list(_lines(document, marks)), 0, 0
    length = sum(map(len, lines))
    known = document["catalog"]["torch_releases"]
    for target in document["targets"]:
        # Of many targets those that are fine have their row alone.
        if summary.is_fine(target) and len(document["targets"]) > _DETAILED:
            continue
        details = list(_target(target, known, marks))
        length += sum(len(line.encode()) + 1 for line in details)
        if length > _LONGEST:
            left_out += 1
            continue
        lines += details
    if left_out:
        lines += [f"The details of {count(left_out, 'target')} are left out: there is no room.", ""]
    newest = ", ".join(known[-1:]) or "none"
    made = f"torch-abi-audit {document['tool']['version']}, which knows torch up to {newest}"
    return "\n".join([*lines, markdown_text(made)]) + "\n"


def _lines(document: Document, marks: _Marks) -> Iterator[str]:
    targets = document["targets"]
    yield "## torch-abi-audit"
    yield ""
    if targets:
        yield f"**{markdown_text(summary.conclusion(document))}**"
        yield ""
    yield "| verdict | target | torch | python | errors | warnings | why |"
    yield "|---|---|---|---|---|---|---|"
    for target in targets:
        findings = target["findings"]
        why = target["summary"] if not summary.is_fine(target) else summary.in_short(target)
        cells = [
            marks.verdicts[Verdict(target["verdict"])],
            markdown_cell_code(summary.filename(target)),
            markdown_cell(summary.torch_in_short(target)),
            markdown_cell(summary.python_in_short(target)),
            str(summary.severities(findings, Severity.ERROR)),
            str(summary.severities(findings, Severity.WARNING)),
            markdown_cell(why),
        ]
        yield f"| {' | '.join(cells)} |"
    yield ""
    for release in document["releases"]:
        yield from _release(release, document["catalog"]["torch_releases"])
    for finding in document["findings"]:
        yield from _finding(finding, marks)
    yield from _accepted(document["ignored"])


def _release(release: ProjectReleaseDocument, known: Sequence[str]) -> Iterator[str]:
    wheels = count(len(release["wheels"]), "wheel")
    yield f"### {markdown_text(release['name'])} {markdown_text(release['version'])}: {wheels}"
    yield ""
    yield "| platform | Pythons | torch |"
    yield "|---|---|---|"
    for row in summary.coverage(release, known):
        yield f"| {' | '.join(map(markdown_cell, row))} |"
    yield ""


def _accepted(ignored: Sequence[IgnoredDocument]) -> Iterator[str]:
    for item in ignored:
        where = "".join(f" in {markdown_code(path)}" for path in item["libraries"][:1])
        yield f"- ignored {markdown_code(item['rule'])}{where}: {markdown_text(item['message'])}"
        yield f"  - {markdown_text(item['ignore']['reason'])}"
        yield ""


def _target(target: TargetDocument, known: Sequence[str], marks: _Marks) -> Iterator[str]:
    """Yield the details of a target, folded where it is fine."""
    fine = summary.is_fine(target)
    yield "<details>" if fine else "<details open>"
    verdict = marks.verdicts[Verdict(target["verdict"])]
    yield f"<summary>{verdict}: <code>{html_text(summary.filename(target))}</code></summary>"
    yield ""
    yield f"{markdown_text(target['summary'])}"
    yield ""
    if target["error"] is not None:
        yield f"Not audited: {markdown_text(target['error'])}"
        yield ""
    if summary.readable(target):
        yield markdown_text(summary.contents(target))
        yield ""
        yield "| | found | claimed |"
        yield "|---|---|---|"
        for fact in summary.facts(target):
            cells = [fact.topic, markdown_cell(fact.found), markdown_cell(fact.claimed or "")]
            yield f"| {' | '.join(cells)} |"
        yield ""
    for aside in summary.asides(target):
        yield markdown_text(aside)
        yield ""
    yield from _matrix(target, marks)
    here = summary.here(target, known)
    if here is not None:
        yield f"**here**: {markdown_text(here)}"
        yield ""
    for finding in target["findings"]:
        yield from _finding(finding, marks)
    yield from _accepted(target["ignored"])
    yield "</details>"
    yield ""


def _matrix(target: TargetDocument, marks: _Marks) -> Iterator[str]:
    table = summary.matrix(target)
    if table is None:
        return
    labels = [f"{table.major}{label}" for label in table.labels]
    yield f"| torch | {' | '.join(labels)} |"
    yield f"|---|{'---|' * len(labels)}"
    for name, cells in table.rows:
        drawn = (marks.cells[cell.mark] for cell in cells)
        yield f"| {markdown_cell(name)} | {' | '.join(drawn)} |"
    yield ""
    used = summary.legend(table)
    yield "; ".join(f"{marks.cells[mark]}{marks.means}{summary.LEGEND[mark]}" for mark in used)
    yield ""
    for text in summary.alternatives(target):
        yield markdown_text(text)
        yield ""


def _finding(finding: FindingDocument, marks: _Marks) -> Iterator[str]:
    mark = marks.severities[Severity(finding["severity"])]
    label = f"{finding['severity']}[{finding['rule']}]"
    yield f"- {mark}{markdown_code(label)} {markdown_text(finding['message'])}"
    for path in _some(map(markdown_code, finding["libraries"])):
        yield f"  - in {path}"
    for name in _some(map(_evidence, summary.evidence(finding))):
        yield f"  - {name}"
    if finding["fix"]:
        yield f"  - **help**: {markdown_text(finding['fix'])}"
    yield ""


def _evidence(item: EvidenceDocument) -> str:
    name = markdown_code(summary.evidence_text(item))
    return f"{name}: {markdown_code(item['declaration'])}" if item["declaration"] else name


def _some(texts: Iterable[str]) -> Iterator[str]:
    """Yield texts, of many the first."""
    found = list(texts)
    yield from found[:_SHOWN]
    if len(found) > _SHOWN:
        yield f"and {len(found) - _SHOWN} more"

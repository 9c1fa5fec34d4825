"""The report in GitHub's Markdown: for a job's summary, a pull request, release notes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

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
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from torch_abi_audit.report.shape import (
        Document,
        EvidenceDocument,
        FindingDocument,
        IgnoredDocument,
        ProjectReleaseDocument,
        TargetDocument,
    )


_Item = TypeVar("_Item")


class _Marks(NamedTuple):
    """What is drawn for a word."""

    verdicts: Mapping[Verdict, str]
    severities: Mapping[Severity, str]
    cells: Mapping[Mark, str]
    allowed: str  # under the releases that are
    means: str  # between a mark and its meaning


class _Style(NamedTuple):
    """How a report is drawn.

    Attributes:
        marks: What is drawn for words.
        verbose: Whether notes are told, and symbols as their format spells them.
        known: The releases of torch that the catalog has.
        shown: How many libraries and pieces of evidence of a finding are.
    """

    marks: _Marks
    verbose: bool
    known: Sequence[str]
    shown: int


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
    "•",
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
    "x",
    ": ",
)
_SHOWN = (10, 3, 1)  # libraries, and evidence, of a finding: as there is room
_DETAILED = 50  # targets
_LONGEST = 900_000  # bytes, of the mebibyte that the summary of a step takes
_OF_ROWS = _LONGEST // 2
_LEFT_OUT = "Left out, to stay below 1 MiB: {}."
_LEAST = 100  # that is worth a look
_LONGEST_TEXT = 1000  # of what always has room


def render_markdown(document: Document, *, emoji: bool = True, verbose: bool = False) -> str:
    """Return the report of a whole document, no longer than the summary of a job's step may be.

    What there is no room for is left out, what fails last, and a line says so.

    Args:
        document: The document.
        emoji: Whether to draw emoji; otherwise there are words.
        verbose: Whether to tell notes, and the symbols as their format spells them.
    """
    known = document["catalog"]["torch_releases"]
    style = _Style(_EMOJI if emoji else _WORDS, verbose, known, _SHOWN[0])
    targets = summary.failures_first(document["targets"])
    page = _Page()
    page.add(_headline(document, style))
    _table(page, targets, style)
    left = sum(not page.add(piece) for piece in _together(document, style))
    page.leave_out("{} about all targets together", left, "finding")
    # Of many targets those that are fine have their row alone.
    many = len(targets) > _DETAILED
    detailed = [target for target in targets if not (many and summary.is_fine(target))]
    _details(page, detailed, style)
    left = sum(not page.add(_release(release, style)) for release in document["releases"])
    page.leave_out("the coverage of {}", left, "release")
    if len(targets) > len(detailed):
        fine = count(len(targets) - len(detailed), "target")
        page.say(f"{fine} without errors and warnings: only in the table.")
    newest = f", with symbol data up to torch {style.known[-1]}" if style.known else ""
    page.say(f"torch-abi-audit {document['tool']['version']}{newest}")
    return page.text


def _details(page: _Page, targets: Sequence[TargetDocument], style: _Style) -> None:
    """Write the details of targets, and of their findings as much as there is room for."""
    for shown in _SHOWN:
        style = style._replace(shown=shown)
        if page.add(line for target in targets for line in _target(target, style)):
            break
    else:
        left = sum(not page.add(_target(target, style)) for target in targets)
        page.leave_out("the details of {}", left, "target")
    if style.shown != _SHOWN[0]:
        what = f"symbols and libraries beyond the first {style.shown} of each finding"
        page.say(_LEFT_OUT.format(what))


class _Page:
    """The text so far, and the room that is left."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._room = _LONGEST

    @property
    def text(self) -> str:
        return "".join(self._texts).rstrip("\n") + "\n"

    def add(self, lines: Iterable[str], *, keep: int = 0) -> bool:
        """Add lines, all or none; return whether there was room.

        Args:
            lines: The lines.
            keep: How much room to leave.
        """
        if self._room < _LEAST + keep:
            return False  # without a look at what there are many of
        texts, room = [], self._room - keep
        for line in lines:
            texts.append(f"{line}\n")
            room -= len(texts[-1].encode())
            if room < 0:
                return False
        self._texts += texts
        self._room = room + keep
        return True

    def leave_out(self, what: str, number: int, noun: str) -> None:
        """Say how much was left out."""
        if number:
            self.say(_LEFT_OUT.format(what.format(count(number, noun))))

    def say(self, text: str) -> None:
        """Add a paragraph for which there is always room."""
        self._texts.append(f"{_text(text)}\n\n")


def _headline(document: Document, style: _Style) -> Iterator[str]:
    word = document["conclusion"]["word"]
    mark, joint = ("✅ " if word in summary.GOOD_WORDS else "❌ "), " · "
    if style.marks is not _EMOJI:
        mark, joint = "", ", "
    yield "## torch-abi-audit"
    yield ""
    yield f"**{mark}{word}**: {_text(summary.headline(document, joint))}"
    yield ""
    for text in summary.run_asides(document):
        yield _text(text)
        yield ""


def _text(text: str) -> str:
    """Return text of a bounded length."""
    return markdown_text(text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]} ...")


def _table(page: _Page, targets: Sequence[TargetDocument], style: _Style) -> None:
    """Write a row for each target, with the first thing to change about it."""
    here = any(target["here"] for target in targets)
    names = ["verdict", *(["loads here"] if here else []), "target", "torch", "Python", "why"]
    names.append("fix")
    page.add([_row(names), "|---" * len(names) + "|"])
    rows = ([_cells(target, style, here=here)] for target in targets)
    left = sum(not page.add(map(_row, row), keep=_OF_ROWS) for row in rows)
    page.add([""])
    page.leave_out("the rows of {}", left, "target")


def _cells(target: TargetDocument, style: _Style, *, here: bool) -> Iterator[str]:
    fine = summary.is_fine(target)
    yield _word(target, style)
    if here:
        found = target["here"]
        mark = Mark(found["status"]) if found else None
        yield f"{style.marks.cells[mark]} {summary.LEGEND[mark]}" if mark else ""
    yield markdown_cell_code(summary.filename(target))
    yield markdown_cell(summary.torch_in_short(target))
    yield markdown_cell(summary.python_in_short(target))
    yield markdown_cell(summary.sentence(target))
    fixes = [] if fine else summary.fixes(target)
    yield markdown_cell_code(fixes[0]) if fixes else ""


def _word(target: TargetDocument, style: _Style) -> str:
    """Return the verdict with its mark; of a package that does not fit its torch, that."""
    if summary.word(target) == summary.BROKEN:
        return f"❌ {summary.BROKEN}" if style.marks is _EMOJI else summary.BROKEN
    return style.marks.verdicts[Verdict(target["verdict"])]


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _together(document: Document, style: _Style) -> Iterator[list[str]]:
    """Yield what is found of all targets together, each finding for itself."""
    notes = [finding for finding in document["findings"] if not summary.counts_for_more(finding)]
    for finding in document["findings"]:
        if style.verbose or summary.counts_for_more(finding):
            yield list(_finding(finding, style))
    for item in document["ignored"]:
        yield list(_ignored(item))
    yield list(_count(notes, style))


def _count(asides: Sequence[FindingDocument], style: _Style) -> Iterator[str]:
    """Yield how many findings are asides, where they are not told."""
    if asides and not style.verbose:
        yield f"{summary.aside_of(asides)}, shown with `--verbose`"
        yield ""


def _release(release: ProjectReleaseDocument, style: _Style) -> Iterator[str]:
    wheels = count(len(release["wheels"]), "wheel")
    yield f"### {markdown_text(release['name'])} {markdown_text(release['version'])}: {wheels}"
    yield ""
    yield _row(("platform", "Python", "torch"))
    yield "|---|---|---|"
    for row in summary.coverage(release, style.known):
        yield _row(map(markdown_cell, row))
    yield ""


def _ignored(item: IgnoredDocument) -> Iterator[str]:
    where = "".join(f" in {markdown_code(path)}" for path in item["libraries"][:1])
    yield f"- ignored {markdown_code(item['rule'])}{where}: {markdown_text(item['message'])}"
    yield f"  - {markdown_text(item['ignore']['reason'])}"
    yield ""


def _target(target: TargetDocument, style: _Style) -> Iterator[str]:
    """Yield the details of a target, folded unless it fails."""
    yield "<details open>" if summary.failing(target) else "<details>"
    verdict = _word(target, style)
    yield f"<summary>{verdict}: <code>{html_text(summary.filename(target))}</code></summary>"
    yield ""
    yield markdown_text(summary.sentence(target))
    yield ""
    for label, text in summary.fix_lines(target):
        yield f"- **{label}**: {markdown_text(text)}" if label else f"- {markdown_text(text)}"
    yield ""
    if target["error"] is not None:
        yield f"Not audited: {markdown_text(target['error'])}"
        yield ""
    here = summary.here(target)
    if here is not None:
        yield f"**In this environment**: {markdown_text(here)}"
        yield ""
    if summary.readable(target):
        yield markdown_text(summary.contents(target))
        yield ""
        yield "| | found | claimed |"
        yield "|---|---|---|"
        for fact in summary.facts(target):
            yield _row([fact.topic, markdown_cell(fact.found), markdown_cell(fact.claimed or "")])
        yield ""
    for aside in summary.asides(target):
        yield markdown_text(aside)
        yield ""
    yield from _matrix(target, style.marks)
    fixed: set[tuple[str, str | None]] = set()
    notes = []
    for finding in target["findings"]:
        if not style.verbose and not summary.counts_for_more(finding):
            notes.append(finding)
            continue
        fix = (finding["rule"], finding["fix"])
        yield from _finding(finding, style, with_fix=fix not in fixed)
        fixed.add(fix)
    for item in target["ignored"]:
        yield from _ignored(item)
    yield from _count(notes, style)
    yield "</details>"
    yield ""


def _matrix(target: TargetDocument, marks: _Marks) -> Iterator[str]:
    table = summary.matrix(target)
    if table is None:
        return
    labels = [f"{table.major}{label}" for label in table.labels]
    yield _row(["torch", *labels])
    yield f"|---|{'---|' * len(labels)}"
    for name, cells in table.rows:
        yield _row([markdown_cell(name), *(marks.cells[cell.mark] for cell in cells)])
    allowed = [marks.allowed if cell.asked else "" for cell in table.rows[0][1]]
    yield _row(["allowed", *allowed])
    yield ""
    used = summary.legend(table)
    yield "; ".join(f"{marks.cells[mark]}{marks.means}{summary.LEGEND[mark]}" for mark in used)
    yield ""
    for text in summary.matrix_notes(target):
        yield markdown_text(text)
        yield ""


def _finding(finding: FindingDocument, style: _Style, *, with_fix: bool = True) -> Iterator[str]:
    mark = style.marks.severities[Severity(finding["severity"])]
    label = f"{finding['severity']}[{finding['rule']}]"
    yield f"- {mark}{markdown_code(label)} {markdown_text(finding['message'])}"
    if finding["fix"] and with_fix:
        line, more = summary.fix_parts(finding)
        yield f"  - **Fix**: {markdown_code(line)}{markdown_text(more)}"
    if finding["libraries"] and not summary.names_libraries(finding):
        yield f"  - in {', '.join(_some(finding['libraries'], markdown_code, style))}"
    for name in _some(summary.evidence(finding), partial(_evidence, style=style), style):
        yield f"  - {name}"
    yield ""


def _evidence(item: EvidenceDocument, style: _Style) -> str:
    told = markdown_code(summary.told(item))
    mangled = style.verbose and item["declaration"] is not None
    return f"{told}: {markdown_code(item['name'])}" if mangled else told


def _some(items: Sequence[_Item], tell: Callable[[_Item], str], style: _Style) -> Iterator[str]:
    """Yield the texts of items, of many the first."""
    yield from map(tell, items[: style.shown])
    if len(items) > style.shown:
        yield f"and {len(items) - style.shown} more"

"""The report as one page of HTML: nothing from any network, light and dark.

All that comes from a target is escaped, and the page's own policy forbids it to load anything,
and any style or script but the page's own. The script only serves the buttons that copy fixes.
"""

from __future__ import annotations

import re
import textwrap
from itertools import groupby
from typing import TYPE_CHECKING

from packaging.version import Version

from torch_abi_audit.report import summary
from torch_abi_audit.report.escape import html_text
from torch_abi_audit.report.page import footer, image, legend, page, sign
from torch_abi_audit.rules import RULES
from torch_abi_audit.wording import count, ranges

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


_SHOWN = 8


def render_html(document: Document, *, in_ascii: bool = False) -> str:
    """Return the report of a whole document.

    Args:
        document: The document.
        in_ascii: Whether to write other characters as references, for any encoding.
    """
    return page(_title(document), _body(document), in_ascii=in_ascii)


def _body(document: Document) -> Iterator[str]:
    targets = summary.failures_first(document["targets"])
    known = document["catalog"]["torch_releases"]
    yield from _headline(document)
    yield "<main>"
    if len(targets) > 1:
        yield from _overview(targets, known)
    if document["findings"] or document["ignored"]:
        yield '<section class="card">\n<h2>All targets together</h2>'
        for finding in document["findings"]:
            yield from _finding(finding)
        yield from _ignored(document["ignored"])
        yield "</section>"
    for number, target in enumerate(targets, 1):
        yield from _target(target, number, known)
    if document["releases"]:
        yield '<section class="card">\n<h2>Coverage</h2>'
        for release in document["releases"]:
            yield from _release(release, known)
        yield "</section>"
    yield "</main>"
    yield footer(document["tool"]["version"], known)


def _title(document: Document) -> str:
    word = document["conclusion"]["word"]
    if len(document["targets"]) == 1:
        return word
    return f"{word} ({summary.headline(document)})" if document["targets"] else word


def _headline(document: Document) -> Iterator[str]:
    """Yield what the run comes to, in one line and without the names of files."""
    counts = summary.counts(document)
    said = " · ".join(
        f'<span class="count {verdict}">{number} {summary.words(verdict)}</span>'
        for verdict, number in counts
    )
    if len(document["targets"]) <= 1:
        said = html_text(summary.headline(document))
    yield '<header>\n<p class="tool">torch-abi-audit</p>'
    yield f"<h1>{_badge(document['conclusion']['word'])} <span>{said}</span></h1>"
    for text in summary.run_asides(document):
        yield f"<p>{html_text(text)}</p>"
    yield "</header>"


def _overview(targets: Sequence[TargetDocument], known: Sequence[str]) -> Iterator[str]:
    """Yield the matrix of all targets: a row each, a column for each release of torch."""
    table = summary.overview(targets, known)
    here = any(target["here"] for target in targets)
    columns = ["verdict", *(["loads here"] if here else []), "target"]
    yield '<section class="card">\n<h2>Overview</h2>'
    yield '<div class="scroll" tabindex="0" role="group" aria-label="Overview">'
    yield '<table class="cells">\n<thead><tr>'
    yield "".join(f'<th scope="col">{name}</th>' for name in columns)
    labels = [f"{table.major}{label}" for label in table.labels]
    yield "".join(f'<th scope="col" class="release">{html_text(label)}</th>' for label in labels)
    yield "</tr></thead>\n<tbody>"
    for number, (target, (name, cells)) in enumerate(zip(targets, table.rows, strict=True), 1):
        yield f"<tr><td>{_badge(_word(target))}</td>"
        if here:
            yield _here(target)
        yield f'<th scope="row"><a href="#t{number}">{_code(name)}</a>'
        if summary.is_fine(target):
            yield f'<p class="why">{html_text(summary.sentence(target))}</p></th>'
        else:
            yield f'<p class="why">{html_text(summary.sentence(target))}</p>'
            for fix in summary.fixes(target)[:1]:
                yield f'<p class="fix"><strong>Fix:</strong> <code>{_unbroken(fix)}</code></p>'
            yield "</th>"
        empty = '<td class="cell"></td>' * len(labels)
        yield ("".join(map(_cell, cells, labels)) or empty) + "</tr>"
    yield "</tbody>\n</table>\n</div>"
    yield from legend(summary.legend(table), allowed="narrow")  # where cells have labels
    yield "</section>"


def _here(target: TargetDocument) -> str:
    if target["here"] is None:
        return '<td class="here"></td>'
    mark = summary.Mark(target["here"]["status"])
    said = f'<span class="cell {mark}"><span>{sign(mark)}</span> {summary.LEGEND[mark]}</span>'
    return f'<td class="here" data-label="here">{said}</td>'


def _cell(cell: summary.MatrixCell, release: str) -> str:
    allowed = " asked" if cell.asked else ""
    return (
        f'<td class="cell {cell.mark}{allowed}" data-release="{html_text(release)}">'
        f"{image(cell.mark)}</td>"
    )


def _release(release: ProjectReleaseDocument, known: Sequence[str]) -> Iterator[str]:
    wheels = count(len(release["wheels"]), "wheel")
    yield f"<h3>{html_text(release['name'])} {html_text(release['version'])}: {wheels}</h3>"
    names = ("platform", "Python", "torch")
    yield f'<table class="even">\n{_head(names)}\n<tbody>'
    for platform, *others in summary.coverage(release, known):
        cells = "".join(f"<td>{html_text(text)}</td>" for text in others)
        yield f'<tr><th scope="row">{html_text(platform)}</th>{cells}</tr>'
    yield "</tbody>\n</table>"


def _head(names: Iterable[str]) -> str:
    cells = (f'<th scope="col">{name}</th>' if name else "<td></td>" for name in names)
    return f"<thead><tr>{''.join(cells)}</tr></thead>"


def _labelled(name: str, text: str) -> str:
    """Return a cell that says itself what it is, where there is no room for columns."""
    return f'<td data-label="{name}">{html_text(text)}</td>'


def _ignored(ignored: Sequence[IgnoredDocument]) -> Iterator[str]:
    for item in ignored:
        yield f'<div class="finding"><p>{_badge("ignored")} {_rule(item["rule"])}'
        yield f"{html_text(item['message'])}</p>"
        yield from _libraries(item["libraries"])
        yield f"<p>Reason: {html_text(item['ignore']['reason'])}</p></div>"


def _target(target: TargetDocument, number: int, known: Sequence[str]) -> Iterator[str]:
    yield f'<article class="card" id="t{number}">'
    yield f"<h2>{_badge(_word(target))} {_code(summary.filename(target))}</h2>"
    yield f"<p>{html_text(summary.sentence(target))}</p>"
    yield from _plan(target)
    if target["error"] is not None:
        yield f'<p class="finding error">Not audited: {html_text(target["error"])}</p>'
    here = summary.here(target)
    if here is not None:
        yield f"<p><strong>In this environment:</strong> {html_text(here)}</p>"
    if summary.readable(target):
        yield f'<p class="dim">{html_text(summary.contents(target))}</p>'
        names = ("found", "claimed")
        yield f"<table>\n{_head(['', *names])}\n<tbody>"
        for fact in summary.facts(target):
            cells = "".join(map(_labelled, names, (fact.found, fact.claimed or "")))
            yield f'<tr><th scope="row">{fact.topic}</th>{cells}</tr>'
        yield "</tbody>\n</table>"
    for aside in summary.asides(target):
        yield f'<p class="dim">{html_text(aside)}</p>'
    yield from _matrix(target, known)
    notes = [finding for finding in target["findings"] if not summary.counts_for_more(finding)]
    for finding in filter(summary.counts_for_more, target["findings"]):
        yield from _finding(finding)
    if notes or target["ignored"]:
        said = [summary.aside_of(notes)] if notes else []
        said += [f"{len(target['ignored'])} ignored"] if target["ignored"] else []
        yield f"<details>\n<summary>{', '.join(said)}</summary>"
        for finding in notes:
            yield from _finding(finding)
        yield from _ignored(target["ignored"])
        yield "</details>"
    yield "</article>"


def _matrix(target: TargetDocument, known: Sequence[str]) -> Iterator[str]:
    """Yield the matrix of a target, and why it does not load where it does not."""
    table = summary.matrix(target)
    if table is None:
        return
    yield "<h3>PyTorch releases</h3>"
    yield '<div class="scroll" tabindex="0" role="group" aria-label="PyTorch releases">'
    yield '<table class="cells">\n<thead><tr>'
    labels = [f"{table.major}{label}" for label in table.labels]
    for label, cell in zip(labels, table.rows[0][1], strict=True):
        text = html_text(label)
        if cell.asked:
            text = f'<span class="allowed">{text}<span class="hidden"> allowed</span></span>'
        yield f'<th scope="col" class="release">{text}</th>'
    yield "<td></td></tr></thead>\n<tbody>"
    for name, cells in table.rows:
        yield f'<tr>{"".join(map(_cell, cells, labels))}<th scope="row">{html_text(name)}</th></tr>'
    yield "</tbody>\n</table>\n</div>"
    allowed = any(cell.asked for cell in table.rows[0][1])
    yield from legend(summary.legend(table), allowed="" if allowed else None)
    for text in summary.matrix_notes(target):
        yield f'<p class="dim">{html_text(text)}</p>'
    yield from _reasons(target, known)


def _reasons(target: TargetDocument, known: Sequence[str]) -> Iterator[str]:
    """Yield why a target does not load: releases in one line where they have one reason."""
    found: dict[tuple[str, str], list[tuple[Version, int]]] = {}
    for release, cell in target["torch"]["releases"].items():
        if cell["reasons"]:
            first, *others = cell["reasons"]
            reason = summary.reason_name(first), first["detail"]
            found.setdefault(reason, []).append((Version(release), len(others)))
    if found:
        yield "<details>\n<summary>Why it does not load, or what changed</summary>\n<ul>"
        for (name, detail), releases in found.items():
            which = ranges((release for release, _ in releases), list(map(Version, known)))
            fewest, most = min(left for _, left in releases), max(left for _, left in releases)
            left = str(most) if fewest == most else f"{fewest} to {most}"
            more = f", and {left} more" if most else ""
            yield f"<li>torch {html_text(which)}: {_code(name)}: {html_text(detail)}{more}</li>"
        yield "</ul>\n</details>"


def _finding(finding: FindingDocument) -> Iterator[str]:
    severity, rule = finding["severity"], finding["rule"]
    yield f'<div class="finding {severity}">'
    yield f"<p>{_badge(severity)} {_rule(rule)} {html_text(finding['message'])}</p>"
    if not summary.names_libraries(finding):
        yield from _libraries(finding["libraries"])
    evidence = summary.evidence(finding)
    shown = evidence[:_SHOWN]
    if shown:
        yield f"<ul>{''.join(f'<li>{_evidence(item)}</li>' for item in shown)}</ul>"
    left = len(evidence) - len(shown)
    if left > 0:
        yield f'<p class="dim">and {left} more</p>'
    if finding["fix"]:
        yield from _fix(*summary.fix_parts(finding))
    yield "<details>\n<summary>Why it matters, and how to fix it</summary>"
    yield from _advice(RULES[rule].why)
    yield from _advice(RULES[rule].fix)
    yield "</details>\n</div>"


def _advice(text: str) -> Iterator[str]:
    """Yield what is said of a rule: paragraphs, and indented lines as code."""
    for is_code, lines in groupby(text.split("\n"), lambda line: line.startswith("    ")):
        if is_code:
            code = textwrap.dedent("\n".join(lines))
            yield f"<pre>{_unbroken(code)}</pre>"
        else:
            yield from (f"<p>{_prose(line)}</p>" for line in lines)


def _prose(text: str) -> str:
    parts = (
        f"<code>{_unbroken(part)}</code>" if place % 2 else _unbroken(part)
        for place, part in enumerate(text.split("`"))
    )
    return "".join(parts)


def _plan(target: TargetDocument) -> Iterator[str]:
    """Yield what to change about a target that does not pass."""
    plan = target["fix"]
    lines = plan["lines"] if plan else []
    choices = [line for choice in plan["choices"] for line in choice["lines"]] if plan else []
    for label, text in summary.fix_lines(target):
        if text in lines or text in choices:
            yield from _fix(text, "")
        else:
            yield f'<p class="dim">{html_text(f"{label}: {text}" if label else text)}</p>'


def _libraries(paths: Sequence[str]) -> Iterator[str]:
    if paths:
        left = len(paths) - _SHOWN
        more = f" and {count(left, 'library')} more" if left > 0 else ""
        yield f"<p>in {', '.join(map(_code, paths[:_SHOWN]))}{more}</p>"


def _evidence(item: EvidenceDocument) -> str:
    if item["declaration"] is None:
        return _code(summary.evidence_text(item))
    return f'{_code(summary.told(item))}<br><code class="dim">{html_text(item["name"])}</code>'


def _fix(line: str, more: str) -> Iterator[str]:
    """Yield what to change, with a button that copies the line that makes the change."""
    yield f'<p class="fix"><strong>Fix:</strong> <code class="line">{_unbroken(line)}</code>'
    yield _unbroken(more)
    yield (
        '<button type="button" class="copy" hidden>Copy<span class="hidden"> the fix</span>'
        "</button></p>"
    )


def _unbroken(text: str) -> str:
    """Return text whose words are not broken at hyphens, as options of a compiler would be."""
    return re.sub(
        r"[^ \n]+",
        lambda word: (
            f'<span class="word">{html_text(word[0])}</span>'
            if "-" in word[0]
            else html_text(word[0])
        ),
        text,
    )


def _rule(name: str) -> str:
    return f'<a class="rule" href="{html_text(RULES[name].url)}">{_code(name)}</a>'


def _word(target: TargetDocument) -> str:
    """Return the verdict; of a package that does not fit the installed torch, that."""
    return summary.BROKEN if summary.word(target) == summary.BROKEN else target["verdict"]


def _badge(kind: str) -> str:
    return f'<span class="badge {kind}">{summary.words(kind)}</span>'


def _code(text: str) -> str:
    return f"<code>{html_text(text)}</code>"

"""The report as one page of HTML: no script, nothing from any network, light and dark.

All that comes from a target is escaped, and the page's own policy forbids it to load anything.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from torch_abi_audit.model import Severity
from torch_abi_audit.report import summary
from torch_abi_audit.report.escape import html_text
from torch_abi_audit.rules import RULES
from torch_abi_audit.wording import count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch_abi_audit.report.shape import (
        Document,
        EvidenceDocument,
        FindingDocument,
        IgnoredDocument,
        ProjectReleaseDocument,
        TargetDocument,
    )


_SHOWN = 8
_FIXES = 2  # of a target, in the overview


def render_html(document: Document, *, in_ascii: bool = False) -> str:
    """Return the report of a whole document.

    Args:
        document: The document.
        in_ascii: Whether to write other characters as references, for any encoding.
    """
    page = "\n".join(_page(document)) + "\n"
    return page.encode("ascii", "xmlcharrefreplace").decode("ascii") if in_ascii else page


def _page(document: Document) -> Iterator[str]:
    targets = document["targets"]
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8").strip()
    word, why = document["conclusion"]["word"], document["conclusion"]["why"]
    badge = "safe" if word in summary.GOOD_WORDS else "unsafe"
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield (
        '<meta http-equiv="Content-Security-Policy"'
        " content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    )
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>torch-abi-audit: {html_text(summary.conclusion(document))}</title>"
    yield f"<style>\n{style}\n</style>\n</head>\n<body>\n<header>"
    yield "<h1>torch-abi-audit</h1>"
    yield f'<p class="said"><span class="badge {badge}">{word}</span>'
    yield f"{html_text(why)}</p>\n</header>\n<main>"
    yield from _overview(document)
    for release in document["releases"]:
        yield from _release(release, document["catalog"]["torch_releases"])
    if document["findings"] or document["ignored"]:
        yield '<section class="card" aria-label="All targets together">\n<h2>Together</h2>'
        for finding in document["findings"]:
            yield from _finding(finding)
        yield from _accepted(document["ignored"])
        yield "</section>"
    for number, target in enumerate(targets, 1):
        yield from _target(target, number, document["catalog"]["torch_releases"])
    newest = document["catalog"]["torch_releases"][-1:]
    yield f'</main>\n<footer class="dim">torch-abi-audit {html_text(document["tool"]["version"])},'
    yield f"which knows torch up to {html_text(', '.join(newest))}</footer>\n</body>\n</html>"


def _overview(document: Document) -> Iterator[str]:
    """Yield the matrix of all targets: a row each, a column for each release of torch."""
    targets = document["targets"]
    table = summary.overview(targets, document["catalog"]["torch_releases"])
    yield '<section class="card">\n<h2>Overview</h2>'
    yield '<div class="scroll" tabindex="0" role="region" aria-label="All targets">'
    yield '<table class="cells">\n<thead><tr><th scope="col">verdict</th>'
    yield '<th scope="col">target</th>'
    labels = [f"{table.major}{label}" for label in table.labels]
    yield "".join(f'<th scope="col" class="release">{html_text(label)}</th>' for label in labels)
    yield "</tr></thead>\n<tbody>"
    for number, (target, (name, cells)) in enumerate(zip(targets, table.rows, strict=True), 1):
        yield f"<tr><td>{_badge(target['verdict'])}</td>"
        yield f'<th scope="row"><a href="#t{number}">{html_text(name)}</a>'
        if summary.is_fine(target):
            yield f'<p class="why">{html_text(summary.in_short(target))}</p></th>'
        else:
            yield f'<p class="why">{html_text(target["summary"])}</p>'
            fixes = summary.fixes(target)[:_FIXES]
            yield "".join(f'<p class="fix">{html_text(fix)}</p>' for fix in fixes) + "</th>"
        empty = '<td class="cell"></td>' * len(labels)
        yield ("".join(map(_cell, cells, labels)) or empty) + "</tr>"
    yield "</tbody>\n</table>\n</div>"
    yield from _legend(summary.legend(table))
    yield "</section>"


def _legend(marks: Sequence[summary.Mark]) -> Iterator[str]:
    if marks:
        items = "".join(
            f'<span class="cell {mark}"><span>{_sign(mark)}</span> {summary.LEGEND[mark]}</span>'
            for mark in marks
        )
        yield f'<p class="legend">{items}</p>'


def _cell(cell: summary.MatrixCell, release: str) -> str:
    said = summary.LEGEND[cell.mark]
    return (
        f'<td class="cell {cell.mark}" data-release="{html_text(release)}">'
        f'<span role="img" aria-label="{said}" title="{said}">{_sign(cell.mark)}</span></td>'
    )


def _sign(mark: summary.Mark) -> str:
    return summary.sign(mark, in_ascii=False)


def _release(release: ProjectReleaseDocument, known: Sequence[str]) -> Iterator[str]:
    wheels = count(len(release["wheels"]), "wheel")
    yield '<section class="card">'
    yield f"<h2>{html_text(release['name'])} {html_text(release['version'])}: {wheels}</h2>"
    yield '<div class="scroll" tabindex="0" role="region" aria-label="What the release covers">'
    yield "<table>\n<thead><tr>"
    yield "".join(f'<th scope="col">{name}</th>' for name in ("platform", "Pythons", "torch"))
    yield "</tr></thead>\n<tbody>"
    for platform, *others in summary.coverage(release, known):
        cells = "".join(f"<td>{html_text(text)}</td>" for text in others)
        yield f'<tr><th scope="row">{html_text(platform)}</th>{cells}</tr>'
    yield "</tbody>\n</table>\n</div>\n</section>"


def _accepted(ignored: Sequence[IgnoredDocument]) -> Iterator[str]:
    for item in ignored:
        yield f'<div class="finding"><p>{_badge("ignored")} {_code(item["rule"])}'
        yield f"{html_text(item['message'])}</p>"
        for path in item["libraries"][:_SHOWN]:
            yield f"<p>in {_code(path)}</p>"
        yield f"<p>{html_text(item['ignore']['reason'])}</p></div>"


def _target(target: TargetDocument, number: int, known: Sequence[str]) -> Iterator[str]:
    yield f'<article class="card" id="t{number}">'
    yield f"<h2>{_badge(target['verdict'])} <code>{html_text(summary.filename(target))}</code></h2>"
    yield f"<p>{html_text(target['summary'])}</p>"
    if target["error"] is not None:
        yield f'<p class="finding error">Not audited: {html_text(target["error"])}</p>'
    if summary.readable(target):
        yield f'<p class="dim">{html_text(summary.contents(target))}</p>'
        yield '<div class="scroll" tabindex="0" role="region" aria-label="Facts beside claims">'
        yield '<table>\n<thead><tr><td></td><th scope="col">found</th>'
        yield '<th scope="col">claimed</th></tr></thead>\n<tbody>'
        for fact in summary.facts(target):
            yield f'<tr><th scope="row">{fact.topic}</th><td>{html_text(fact.found)}</td>'
            yield f"<td>{html_text(fact.claimed or '')}</td></tr>"
        yield "</tbody>\n</table>\n</div>"
    for aside in summary.asides(target):
        yield f'<p class="dim">{html_text(aside)}</p>'
    yield from _matrix(target)
    here = summary.here(target, known)
    if here is not None:
        yield f"<p><strong>here</strong>: {html_text(here)}</p>"
    findings = [f for f in target["findings"] if f["severity"] != Severity.NOTE]
    notes = [f for f in target["findings"] if f["severity"] == Severity.NOTE]
    for finding in findings:
        yield from _finding(finding)
    if notes or target["ignored"]:
        said = [count(len(notes), "note")] if notes else []
        said += [f"{len(target['ignored'])} ignored"] if target["ignored"] else []
        yield f"<details>\n<summary>{', '.join(said)}</summary>"
        for finding in notes:
            yield from _finding(finding)
        yield from _accepted(target["ignored"])
        yield "</details>"
    yield "</article>"


def _matrix(target: TargetDocument) -> Iterator[str]:
    """Yield the matrix of a target, and why it does not load where it does not."""
    table = summary.matrix(target)
    if table is None:
        return
    yield "<h3>Releases of torch</h3>"
    yield '<div class="scroll" tabindex="0" role="region" aria-label="Releases of torch">'
    yield '<table class="cells">\n<thead><tr>'
    labels = [f"{table.major}{label}" for label in table.labels]
    yield "".join(f'<th scope="col" class="release">{html_text(label)}</th>' for label in labels)
    yield "<td></td></tr></thead>\n<tbody>"
    for name, cells in table.rows:
        yield f'<tr>{"".join(map(_cell, cells, labels))}<th scope="row">{html_text(name)}</th></tr>'
    yield "</tbody>\n</table>\n</div>"
    yield from _legend(summary.legend(table))
    for text in summary.alternatives(target):
        yield f'<p class="dim">{html_text(text)}</p>'
    row = target["torch"]["releases"].items()
    broken = [(release, cell["reasons"]) for release, cell in row if cell["reasons"]]
    if broken:
        yield "<details>\n<summary>Why it does not load, or what changed</summary>\n<ul>"
        for release, reasons in broken:
            more = f" and {len(reasons) - 1} more" if len(reasons) > 1 else ""
            why = html_text(f"torch {release}: {summary.reason_text(reasons[0])}")
            yield f"<li>{why}{more}</li>"
        yield "</ul>\n</details>"


def _finding(finding: FindingDocument) -> Iterator[str]:
    severity, rule = finding["severity"], finding["rule"]
    yield f'<div class="finding {severity}">'
    yield f"<p>{_badge(severity)} {_code(rule)} {html_text(finding['message'])}</p>"
    for path in finding["libraries"][:_SHOWN]:
        yield f"<p>in {_code(path)}</p>"
    left = len(finding["libraries"]) - _SHOWN
    if left > 0:
        yield f'<p class="dim">and {count(left, "library")} more</p>'
    evidence = summary.evidence(finding)
    shown = evidence[:_SHOWN]
    if shown:
        yield f"<ul>{''.join(f'<li>{_evidence(item)}</li>' for item in shown)}</ul>"
    left = len(evidence) - len(shown)
    if left > 0:
        yield f'<p class="dim">and {left} more</p>'
    if finding["fix"]:
        yield f'<p class="fix">{html_text(finding["fix"])}</p>'
    yield "<details>\n<summary>Why it matters, and how to fix it</summary>"
    yield f"<p>{html_text(RULES[rule].why)}</p>"
    yield f"<pre>{html_text(RULES[rule].fix)}</pre>\n</details>\n</div>"


def _evidence(item: EvidenceDocument) -> str:
    name = _code(summary.evidence_text(item))
    if item["declaration"] is None:
        return name
    return f'{name}<br><span class="dim">{html_text(item["declaration"])}</span>'


def _badge(kind: str) -> str:
    return f'<span class="badge {kind}">{kind}</span>'


def _code(text: str) -> str:
    return f"<code>{html_text(text)}</code>"

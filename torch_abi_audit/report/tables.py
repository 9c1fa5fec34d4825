"""Tables of many wheels, as text, Markdown and HTML: one model, and a renderer for each.

What is in a cell is text as it is in the document: the renderers escape it.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit.report.escape import (
    html_text,
    markdown_cell,
    markdown_code,
    markdown_text,
    plain_text,
)
from torch_abi_audit.report.page import footer, image, legend, page
from torch_abi_audit.report.summary import LEGEND, Mark, sign

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TextIO

    from torch_abi_audit.report.style import Style


class ColumnKind(StrEnum):
    """What a column has.

    `HEAD`: what the row is about. `MARK`: marks, for a torch release. `TEXT`: a few words.
    `LONG`: sentences, which text has below the table.
    """

    HEAD = "head"
    MARK = "mark"
    TEXT = "text"
    LONG = "long"


class Column(NamedTuple):
    """A column; `short` is its name without what the names of all marks share."""

    name: str
    kind: ColumnKind
    short: str = ""


class TableCell(NamedTuple):
    """A cell: a mark, or words; of a column of sentences, one line each."""

    lines: tuple[str, ...] = ()
    mark: Mark | None = None

    @property
    def text(self) -> str:
        """The words in one line."""
        return "; ".join(self.lines)


class Table(NamedTuple):
    """A table.

    Attributes:
        title: What it is about.
        columns: The columns; the first is of the kind `HEAD`.
        rows: The cells of each row, one for each column.
        prefix: What the names of columns with marks share, such as ``torch 2.``.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[TableCell, ...], ...]
    prefix: str = ""

    @property
    def marks(self) -> list[Mark]:
        """The marks in it, the best first."""
        used = {cell.mark for row in self.rows for cell in row}
        return [mark for mark in Mark if mark in used]


class Advice(NamedTuple):
    """A sentence, and the command that it recommends, if any."""

    why: str
    command: str | None


class TablePage(NamedTuple):
    """What is printed, or is on one page.

    Attributes:
        title: What it is about.
        tables: The tables.
        advice: The answers to what was asked.
        day: The day on which the data was collected, in ISO format.
        version: The version of the tool.
        known: The torch releases that the tool knows.
    """

    title: str
    tables: tuple[Table, ...]
    advice: tuple[Advice, ...]
    day: str | None
    version: str
    known: tuple[str, ...]

    @property
    def source(self) -> str:
        """Where all of it comes from, in one line."""
        newest = f", with symbol data up to torch {self.known[-1]}" if self.known else ""
        day = f", {self.day}" if self.day else ""
        return f"torch-abi-audit {self.version}{newest}{day}"


def write_text(stream: TextIO, content: TablePage, style: Style) -> None:
    """Print tables as text; sentences follow the table that they are about.

    Args:
        stream: Where to.
        content: What to print.
        style: How; of it the colors count.
    """
    from torch_abi_audit.report.streams import is_unicode  # noqa: PLC0415 -- this format alone
    from torch_abi_audit.report.text import MARK_STYLES, open_printer  # noqa: PLC0415

    out, in_ascii = open_printer(stream, style), not is_unicode(stream)
    for item in content.advice:
        out.prose(item.why)
        if item.command:
            out.line(f"  {item.command}", style="bold green")
    for table in content.tables:
        out.line() if out.count else None
        out.line(table.title, style="bold")
        out.line()
        head, *rows = _aligned(table, in_ascii=in_ascii)
        out.line("".join(head).rstrip(), style="dim")
        for row, texts in zip(table.rows, rows, strict=True):
            marks = [cell.mark for cell in row]
            pieces = zip(texts, marks, strict=False)
            out.pieces([(text, MARK_STYLES[mark] if mark else "") for text, mark in pieces])
        if table.marks:
            said = "; ".join(f"{sign(m, in_ascii=in_ascii)} {LEGEND[m]}" for m in table.marks)
            out.line()
            out.line(f"  {said}", style="dim")
        for place, text in enumerate(_below(table)):
            out.line() if place == 0 else None
            out.prose(f"  {text}", indent=4)
    out.line() if out.count else None
    out.line(content.source, style="dim")


def _aligned(table: Table, *, in_ascii: bool) -> list[list[str]]:
    """Return the head and the rows of a table, each column as wide as its widest cell."""
    columns = [column for column in table.columns if column.kind is not ColumnKind.LONG]
    columns_of_text: list[list[str]] = []
    marked = False
    for place, column in enumerate(columns):
        is_mark = column.kind is ColumnKind.MARK
        texts = [plain_text(column.short or column.name)]
        for row in table.rows:
            mark = row[place].mark
            texts.append(sign(mark, in_ascii=in_ascii) if mark else plain_text(row[place].text))
        width = max(2 if is_mark else 0, *map(len, texts))
        texts = [text.rjust(width) if is_mark else text.ljust(width) for text in texts]
        gap = " " if marked and is_mark else "  "
        if is_mark and not marked:  # what all labels share stands before the first
            gaps = [f"{gap}{table.prefix}", *[gap + " " * len(table.prefix)] * len(table.rows)]
        else:
            gaps = [gap] * len(texts)
        marked = is_mark
        columns_of_text.append([before + text for before, text in zip(gaps, texts, strict=True)])
    return [list(line) for line in zip(*columns_of_text, strict=True)]


def _below(table: Table) -> Iterator[str]:
    """Yield the sentences of a table, each with the rows that it is about."""
    for place, column in enumerate(table.columns):
        if column.kind is ColumnKind.LONG:
            for lines, rows in groupby(table.rows, lambda row, at=place: row[at].lines):  # type: ignore[misc]
                names = list(dict.fromkeys(row[0].text for row in rows))
                name = f"{names[-1]} to {names[0]}" if len(names) > 2 else ", ".join(names)
                yield from (f"{name}: {line}" for line in lines)


def markdown(content: TablePage, *, in_ascii: bool = False) -> str:
    """Return tables as GitHub's Markdown, to paste into a README.

    Args:
        content: What to write.
        in_ascii: Whether to draw marks as letters.
    """
    return "\n".join(_markdown(content, in_ascii=in_ascii)) + "\n"


def _markdown(content: TablePage, *, in_ascii: bool) -> Iterator[str]:
    for item in content.advice:
        command = f": {markdown_code(item.command)}" if item.command else ""
        yield f"{markdown_text(item.why)}{command}\n"
    for table in content.tables:
        yield f"### {markdown_text(table.title)}\n"
        yield _markdown_row(markdown_cell(column.name) for column in table.columns)
        yield _markdown_row(
            ":-:" if column.kind is ColumnKind.MARK else "---" for column in table.columns
        )
        for row in table.rows:
            yield _markdown_row(_markdown_cell(cell, in_ascii=in_ascii) for cell in row)
        yield ""
        if table.marks:
            said = [f"{sign(m, in_ascii=in_ascii)} {LEGEND[m]}" for m in table.marks]
            yield f"{'; '.join(said)}\n"
    yield f"<sub>{markdown_text(content.source)}</sub>"


def _markdown_cell(cell: TableCell, *, in_ascii: bool) -> str:
    if cell.mark is not None:
        return sign(cell.mark, in_ascii=in_ascii)
    return "<br>".join(map(markdown_cell, cell.lines))


def _markdown_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def html(content: TablePage, *, in_ascii: bool = False) -> str:
    """Return tables as one page of HTML.

    Args:
        content: What to write.
        in_ascii: Whether to write other characters as references, for any encoding.
    """
    return page(content.title, _html(content), in_ascii=in_ascii)


def _html(content: TablePage) -> Iterator[str]:
    yield '<header>\n<p class="tool">torch-abi-audit</p>'
    yield f"<h1>{html_text(content.title)}</h1>"
    if content.day:
        yield f"<p>{html_text(content.day)}</p>"
    yield "</header>\n<main>"
    for item in content.advice:
        yield f'<section class="card"><p>{html_text(item.why)}</p>'
        if item.command:
            yield f"<pre>{html_text(item.command)}</pre>"
        yield "</section>"
    for table in content.tables:
        yield from _html_table(table)
    yield "</main>"
    yield footer(content.version, content.known)


def _html_table(table: Table) -> Iterator[str]:
    title = html_text(table.title)
    yield '<section class="card">'
    yield f'<div class="scroll" tabindex="0" role="group" aria-label="{title}">'
    yield f'<table class="cells wide">\n<caption>{title}</caption>\n<thead><tr>'
    for column in table.columns:
        if column.kind is ColumnKind.MARK:
            hidden = '<span class="hidden">torch </span>'
            yield f'<th scope="col" class="release">{hidden}{html_text(column.name)}</th>'
        else:
            yield f'<th scope="col">{html_text(column.name)}</th>'
    yield "</tr></thead>\n<tbody>"
    for row in table.rows:
        cells = map(_html_cell, table.columns, row)
        yield f"<tr>{''.join(cells)}</tr>"
    yield "</tbody>\n</table>\n</div>"
    yield from legend(table.marks, allowed=None)
    yield "</section>"


def _html_cell(column: Column, cell: TableCell) -> str:
    if cell.mark is not None:
        return f'<td class="cell {cell.mark}">{image(cell.mark)}</td>'
    match column.kind:
        case ColumnKind.HEAD:
            return f'<th scope="row">{html_text(cell.text)}</th>'
        case ColumnKind.LONG:
            lines = "".join(f"<p>{html_text(line)}</p>" for line in cell.lines)
            return f'<td class="said">{lines}</td>'
        case _:
            return f"<td>{'<br>'.join(map(html_text, cell.lines))}</td>"

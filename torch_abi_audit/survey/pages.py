"""The documents about published wheels as tables to print."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.version import Version

from torch_abi_audit.claims.python_tags import ANY_LATER
from torch_abi_audit.report.summary import Mark, MatrixCell, drawn, fold, required_torch
from torch_abi_audit.report.tables import Advice, Column, ColumnKind, Table, TableCell, TablePage
from torch_abi_audit.survey.wording import cuda_in_short
from torch_abi_audit.wording import pythons

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch_abi_audit.report.survey_shape import (
        CompatibilityDocument,
        PackageDocument,
        RowDocument,
        StateDocument,
        SurveyDocument,
    )


def compatibility_page(document: CompatibilityDocument) -> TablePage:
    """Return the tables of `compat`, and its answers."""
    known = document["catalog"]["torch_releases"]
    names = ", ".join(package["project"] for package in document["packages"])
    named = ", ".join(dict.fromkeys(answer["project"] for answer in document["answers"]))
    return TablePage(
        f"PyTorch releases for {names or named}",
        tuple(
            _table(item, known, document["platform"])
            for item in document["packages"]
            if item["rows"]
        ),
        tuple(Advice(answer["why"], answer["command"]) for answer in document["answers"]),
        document["day"],
        document["tool"]["version"],
        tuple(known),
    )


def _table(package: PackageDocument, known: Sequence[str], platform: str | None) -> Table:
    """Return the table of a package: a row for wheels that agree, a column a torch release."""
    rows = package["rows"]
    cells = [_cells(row, known) for row in rows]
    users = [of_row for of_row in cells if of_row]
    # Columns agree by their marks: which releases are allowed is not drawn here.
    marks = [[cell._replace(asked=False) for cell in of_row] for of_row in users]
    major, places = fold(list(map(Version, known)), marks) if users else ("", [])
    several = len({tuple(row["platforms"]) for row in rows}) > 1 or platform is None
    columns = [
        Column("release", ColumnKind.HEAD),
        *(Column(f"{major}{label}", ColumnKind.MARK, label) for label, _ in places),
        Column("metadata", ColumnKind.TEXT),
        Column("CUDA", ColumnKind.TEXT),
        Column("Python", ColumnKind.TEXT),
        *([Column("platform", ColumnKind.TEXT)] if several else []),
        Column("notes", ColumnKind.LONG),
    ]
    table_rows = []
    for row, of_row in zip(rows, cells, strict=True):
        declared = required_torch(row["requires_torch"]) if row["releases"] else ""
        texts = [declared, cuda_in_short(row["cuda"], build=row["cuda_build"])]
        texts.append(_pythons(row["pythons"]))
        texts += [", ".join(row["platforms"])] if several else []
        table_rows.append(
            (
                _cell(row["version"]),
                *(TableCell(mark=of_row[at].mark) if of_row else TableCell() for _, at in places),
                *map(_cell, texts),
                TableCell(tuple(_notes(row))),
            )
        )
    where = f" ({platform})" if platform else ""
    title = f"{package['project']}: PyTorch releases that each release loads on{where}"
    return Table(title, tuple(columns), tuple(table_rows), f"torch {major}")


def _cells(row: RowDocument, known: Sequence[str]) -> list[MatrixCell]:
    """Return what is drawn of a row; nothing if it does not use torch."""
    if not row["releases"]:
        return []
    allowed = set(row["allowed"])
    return [
        drawn(cell["status"], cell["layout"], asked=release in allowed)
        if (cell := row["releases"].get(release))
        else MatrixCell(Mark.UNKNOWN, release in allowed)
        for release in known
    ]


def _notes(row: RowDocument) -> list[str]:
    """Return what is said of a row in sentences."""
    if row["error"] is not None:
        return [f"could not be read: {row['error']}"]
    return row["differences"] if row["releases"] else ["no compiled torch code"]


def _cell(text: str) -> TableCell:
    return TableCell((text,) if text else ())


def _pythons(names: Iterable[str]) -> str:
    return pythons(names, ANY_LATER.minor, to="-")


def survey_page(document: SurveyDocument) -> TablePage:
    """Return the table of `survey`."""
    known = document["catalog"]["torch_releases"]
    names = ("torch ABI", "declares", "loads on torch", "Python", "CUDA")
    columns = (
        Column("package", ColumnKind.HEAD),
        Column("release", ColumnKind.TEXT),
        Column("uploaded", ColumnKind.TEXT),
        *(Column(name, ColumnKind.TEXT) for name in names),
        Column("errors", ColumnKind.LONG),
    )
    title = "Status of the PyTorch ecosystem"
    table = Table(title, columns, tuple(map(_state_row, document["packages"])))
    tables = (table,) if document["packages"] else ()
    version = document["tool"]["version"]
    return TablePage(title, tables, (), document["day"], version, tuple(known))


def _state_row(state: StateDocument) -> tuple[TableCell, ...]:
    return (
        _cell(state["project"]),
        _cell(state["version"] or ""),
        _cell(state["uploaded"] or ""),
        _cell(state["abi"]),
        TableCell(tuple(map(required_torch, state["requires_torch"]))),
        TableCell(tuple(state["loads"])),
        _cell(_pythons(state["pythons"])),
        TableCell(tuple(state["cuda"])),
        TableCell(tuple(state["errors"])),
    )

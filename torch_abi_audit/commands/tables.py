"""The output of the commands that print tables."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from torch_abi_audit.arguments.reports import TABLE_FORMATS
from torch_abi_audit.commands.messages import complain
from torch_abi_audit.commands.settings import destinations
from torch_abi_audit.errors import AuditError
from torch_abi_audit.report.escape import json_text
from torch_abi_audit.report.outputs import ReportFormat, write_all
from torch_abi_audit.report.streams import is_unicode
from torch_abi_audit.report.style import Style
from torch_abi_audit.report.tables import html, markdown, write_text

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence
    from datetime import date
    from typing import TextIO

    from torch_abi_audit.report.outputs import Destination
    from torch_abi_audit.report.tables import TablePage


def table_destinations(options: argparse.Namespace) -> list[Destination]:
    """Return where tables go.

    Raises:
        AuditError: In a format that tables do not have, or to a place that is not there.
    """
    found = destinations(options, ())
    for destination in found:
        if destination.format not in TABLE_FORMATS:
            choices = ", ".join(TABLE_FORMATS)
            raise AuditError(f"--output: no tables in {destination.format} (choose from {choices})")
    return found


def write_tables(
    document: Mapping[str, object],
    page: TablePage,
    to: Sequence[Destination],
    options: argparse.Namespace,
) -> bool:
    """Write a document as tables; return whether that failed somewhere.

    Args:
        document: What JSON has.
        page: What the other formats have.
        to: Where to.
        options: The arguments.
    """

    def write(format_: ReportFormat, stream: TextIO) -> None:
        in_ascii = not is_unicode(stream)
        match format_:
            case ReportFormat.JSON:
                stream.write(f"{json_text(document)}\n")
            case ReportFormat.MARKDOWN:
                stream.write(markdown(page, in_ascii=in_ascii))
            case ReportFormat.HTML:
                stream.write(html(page, in_ascii=in_ascii))
            case _:
                style = Style(options.verbose, options.quiet, options.all, options.color)
                write_text(stream, page, style)

    return write_all(to, write, complain)


def today() -> date:
    """Return the day on which an index is read, in UTC."""
    return datetime.now(UTC).date()

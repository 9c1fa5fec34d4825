"""The arguments that say which reports are written, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch_abi_audit.arguments.parser import COLORS, choice, destination
from torch_abi_audit.report.outputs import ReportFormat

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

TABLE_FORMATS = (
    ReportFormat.TEXT,
    ReportFormat.MARKDOWN,
    ReportFormat.JSON,
    ReportFormat.HTML,
)


def add_reports(parser: argparse.ArgumentParser) -> None:
    """Add the options of reports."""
    output = parser.add_argument_group("reports")
    _add_formats(output, tuple(ReportFormat), printed="the printed report", written="a report")
    output.add_argument(
        "--github-summary",
        action="store_true",
        help="append the report to the job summary, $GITHUB_STEP_SUMMARY",
    )
    output.add_argument(
        "-q",
        "--quiet",
        action="store_true",
        help="print only the summary table and the conclusion, and nothing if all is well",
    )
    output.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="print every symbol, note and library, also of clean wheels",
    )
    _add_color(output)


def add_tables(parser: argparse.ArgumentParser) -> None:
    """Add the options of what is a table, and no report of targets."""
    output = parser.add_argument_group("output")
    _add_formats(output, TABLE_FORMATS, printed="what is printed", written="it")
    output.add_argument("-q", "--quiet", action="store_true", help="show no progress")
    _add_color(output)
    parser.set_defaults(github_summary=False, verbose=False, all=False)


def _add_formats(
    output: argparse._ArgumentGroup, formats: Sequence[ReportFormat], *, printed: str, written: str
) -> None:
    """Add the options that choose formats.

    Args:
        output: The group of options.
        formats: Those that can be printed.
        printed: What their help calls what is printed.
        written: What it calls what is written to a file.
    """
    output.add_argument(
        "--format",
        type=choice(ReportFormat),
        choices=formats,
        default=ReportFormat.TEXT,
        help=f"the format of {printed} (default: text)",
    )
    output.add_argument(
        "--json",
        action="store_const",
        const=ReportFormat.JSON,
        dest="format",
        help="the same as --format json",
    )
    output.add_argument(
        "-o",
        "--output",
        type=destination,
        action="append",
        default=[],
        metavar="FORMAT=FILE",
        help=f"also write {written} to a file; may be given several times",
    )


def _add_color(output: argparse._ArgumentGroup) -> None:
    output.add_argument(
        "--color",
        choices=COLORS,
        default="auto",
        help="when to use colors (default: auto, on a terminal unless NO_COLOR is set)",
    )

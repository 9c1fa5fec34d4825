"""The arguments of the command line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

from torch_abi_audit.budget import LIMITS, parse_limit
from torch_abi_audit.config import migrating, parse_ignore, parse_release, parse_torch
from torch_abi_audit.errors import AuditError
from torch_abi_audit.model import Check
from torch_abi_audit.report.escape import plain_text
from torch_abi_audit.report.outputs import Destination, ReportFormat

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")
COLORS = ("auto", "always", "never")


def _print(parser: argparse.ArgumentParser, text: str) -> None:
    """Print what was asked for, and end."""
    try:
        print(text, flush=True)  # noqa: T201
    except OSError as error:
        parser.exit(2, f"{parser.prog}: can't be written: {error.strerror or error}\n")
    parser.exit()


class _Parser(argparse.ArgumentParser):
    """Complains in one line, which is no command to a CI service."""

    def error(self, message: str) -> NoReturn:
        super().error(plain_text(message))


class _Version(argparse.Action):
    """Prints the version, with the releases of torch that the catalog knows."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from torch_abi_audit import __version__  # noqa: PLC0415
        from torch_abi_audit.catalog import load_catalog  # noqa: PLC0415 -- for this alone

        releases = load_catalog().releases
        known = f"knows torch {releases[0]} to {releases[-1]}"
        _print(parser, f"{parser.prog} {__version__} ({known})")


class _Completion(argparse.Action):
    """Prints a script for a shell, which shtab makes of the parser."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        _namespace: argparse.Namespace,
        shell: object,
        _option: str | None = None,
    ) -> None:
        try:
            import shtab  # noqa: PLC0415 -- an extra
        except ImportError:
            parser.error("--print-completion needs shtab: install torch-abi-audit[completion]")
        for action in parser._actions:  # noqa: SLF001 -- shtab reads it off the actions
            if action.metavar in ("TARGET", "FILE", "TORCH"):
                action.complete = shtab.FILE  # type: ignore[attr-defined]
            if action.metavar == "DIR":
                action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        _print(parser, shtab.complete(parser, shell=str(shell)))


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = _Parser(
        prog="torch-abi-audit",
        description="Audit wheels that extend PyTorch before you upload them: which torch "
        "releases and Pythons they really work on, and whether they promise just that.",
        epilog="`torch-abi-audit explain RULE` tells what a rule means, and how to fix it. Exit"
        " code: 0 all safe or not applicable; 1 a target is unsafe; 2 wrong usage, or a target"
        " could not be audited",
    )
    parser.add_argument(
        "targets",
        nargs="*",
        metavar="TARGET",
        help="a .whl file or a pattern, an installed package, a folder, or a library",
    )
    parser.add_argument(
        "--env", action="store_true", help="audit every package of the interpreter that runs this"
    )
    parser.add_argument(
        "--site-packages",
        type=Path,
        metavar="DIR",
        help="audit every package installed in a folder, of any interpreter, or those named",
    )
    parser.add_argument(
        "--all", action="store_true", help="show the packages of it that do not use torch too"
    )
    parser.add_argument(
        "--check",
        type=Check,
        choices=list(Check),
        help="fail for this alone: libraries on torch's unstable ABI, libraries bound to one"
        " Python, either, or claims that do not hold. Nothing but wheels fails unasked",
    )
    output = parser.add_argument_group("reports")
    output.add_argument(
        "--format",
        type=ReportFormat,
        choices=list(ReportFormat),
        default=ReportFormat.TEXT,
        help="how the report is printed",
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
        type=_destination,
        action="append",
        default=[],
        metavar="FORMAT=FILE",
        help="write a report to a file too; may be given several times",
    )
    output.add_argument(
        "--github-summary",
        action="store_true",
        help="add the report to the summary of the job, $GITHUB_STEP_SUMMARY",
    )
    output.add_argument("-q", "--quiet", action="store_true", help="print only what is wrong")
    output.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="print every symbol, note and library, of safe wheels too",
    )
    output.add_argument(
        "--color",
        choices=COLORS,
        default="auto",
        help="whether to use colors; auto does on a terminal, unless NO_COLOR is set",
    )
    parser.add_argument("--strict", action="store_true", help="let warnings fail a wheel too")
    judging = parser.add_mutually_exclusive_group()
    judging.add_argument(
        "--torch",
        type=_parsed(parse_torch),
        metavar="SPEC",
        help="judge against these releases, as '>=2.10', not those that the metadata asks for",
    )
    judging.add_argument(
        "--against",
        type=Path,
        metavar="TORCH",
        help="judge against one torch: a wheel, or the site-packages where it is installed",
    )
    parser.add_argument(
        "--min-torch",
        type=_parsed(parse_release),
        metavar="RELEASE",
        help="the oldest torch that is promised: name what breaks the promise",
    )
    parser.add_argument(
        "--ignore",
        type=_parsed(parse_ignore),
        action="append",
        default=[],
        metavar="RULE[:GLOB]",
        help="ignore the findings of a rule, in the libraries that a pattern matches",
    )
    parser.add_argument(
        "--migrating",
        type=migrating,
        action="append",
        default=[],
        metavar="GLOB",
        help="ignore that these libraries are on the unstable ABI still",
    )
    parser.add_argument(
        "--limit",
        type=_parsed(parse_limit),
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help=f"audit targets that hold or take more than the usual limits, or no more than this:"
        f" {', '.join(LIMITS)}; K, M and G are powers of 1024",
    )
    configuration = parser.add_mutually_exclusive_group()
    configuration.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="read [tool.torch-abi-audit] of this file, not of the nearest pyproject.toml",
    )
    configuration.add_argument(
        "--no-config", action="store_true", help="read no configuration at all"
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="read every member to its end, check its checksum, and its hash in RECORD;"
        " otherwise what follows the tables of a large library is not read",
    )
    parser.add_argument(
        "--print-completion",
        action=_Completion,
        choices=("bash", "zsh", "tcsh"),
        help="print what makes a shell complete the arguments",
    )
    parser.add_argument(
        "--version",
        action=_Version,
        nargs=0,
        help="print the version, and the releases of torch that are known",
    )
    return parser


def _destination(text: str) -> Destination:
    name, separator, file = text.partition("=")
    if not separator or not file or name not in list(ReportFormat):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not FORMAT=FILE, with one of the formats {', '.join(ReportFormat)}"
        )
    return Destination(ReportFormat(name), None if file == "-" else Path(file))


def _parsed(parse: Callable[[str], _T]) -> Callable[[str], _T]:
    """Let a parser complain as argparse expects it."""

    def parsed(text: str) -> _T:
        try:
            return parse(text)
        except AuditError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parsed

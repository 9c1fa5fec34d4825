"""The arguments of the command line."""

from __future__ import annotations

import argparse
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

from torch_abi_audit.budget import LIMITS, parse_limit
from torch_abi_audit.config import (
    REQUIRABLE,
    parse_checks,
    parse_ignore,
    parse_migrating,
    parse_release,
    parse_torch,
)
from torch_abi_audit.errors import AuditError
from torch_abi_audit.model import StrictIgnores
from torch_abi_audit.report.escape import plain_text
from torch_abi_audit.report.outputs import Destination, ReportFormat
from torch_abi_audit.report.streams import flush, say

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from _typeshed import SupportsWrite

_T = TypeVar("_T")
_E = TypeVar("_E", bound=StrEnum)
STRICT_IGNORES = "--strict-ignores"
COLORS = ("auto", "always", "never")


def _print(parser: argparse.ArgumentParser, text: str) -> None:
    """Print what was asked for, and end."""
    _end(parser, say(text))


def _end(parser: argparse.ArgumentParser, refused: str | None) -> NoReturn:
    """End, as what was asked for is printed, or can't be."""
    if refused is not None:
        parser.exit(2, f"{parser.prog}: {refused}\n")
    parser.exit()


class _Parser(argparse.ArgumentParser):
    """Prints errors in one line that no CI service takes for a command, and help to any pipe."""

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        super().print_help(file)
        if file is None:
            _end(self, flush())

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str], namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse arguments; an option with a value that may be left out takes none that follows."""
        given = [f"{STRICT_IGNORES}=stale" if arg == STRICT_IGNORES else arg for arg in args]
        return super().parse_known_args(given, namespace)

    def error(self, message: str) -> NoReturn:
        super().error(plain_text(message))


class _Version(argparse.Action):
    """Prints the version, with the releases of torch that the catalog knows."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from torch_abi_audit import __version__  # noqa: PLC0415
        from torch_abi_audit.catalog import load_catalog  # noqa: PLC0415 -- for this alone

        releases = load_catalog().releases
        known = f"symbol data for torch {releases[0]} to {releases[-1]}"
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
            parser.error("--print-completion requires shtab: install torch-abi-audit[completion]")
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
        description="Audit wheels of PyTorch extensions before you upload them: which PyTorch and"
        " Python versions and platforms they support, and whether their metadata says the same.",
        epilog="Other commands: `torch-abi-audit repair WHEEL` writes wheels with metadata that"
        " fits; `torch-abi-audit explain RULE` tells what a finding means and how to fix it, and"
        " `explain SYMBOL` what the stable ABI has instead of a C++ symbol;"
        " `torch-abi-audit schema` prints the JSON Schema of the report. Exit code: 0 all safe,"
        " pinned or not applicable; 1 a wheel is unsafe; 2 usage error, or a target could not be"
        " audited",
    )
    parser.add_argument(
        "targets",
        nargs="*",
        metavar="TARGET",
        help="a .whl file or a pattern, an installed package, a directory, or a library",
    )
    parser.add_argument(
        "--env", action="store_true", help="audit every package of the current environment"
    )
    parser.add_argument(
        "--site-packages",
        type=Path,
        metavar="DIR",
        help="the same as --python",
    )
    parser.add_argument(
        "--python",
        type=Path,
        metavar="PATH",
        help="audit the packages of this environment, or those named: an interpreter, a virtual"
        " or conda environment, or its site-packages; nothing in it is run",
    )
    parser.add_argument(
        "--all", action="store_true", help="also list packages that do not use torch"
    )
    parser.add_argument(
        "--check",
        type=_parsed(parse_checks),
        action="extend",
        default=[],
        metavar="CHECK",
        help="which check decides the exit code, and is reported: torch (unstable ABI used), abi3"
        " (tied to one Python), or both; may be given several times. By default only wheels can"
        " fail, for any error",
    )
    parser.add_argument(
        "--require",
        choices=REQUIRABLE,
        action="append",
        default=[],
        help="fail for a target that does not use torch",
    )
    parser.add_argument(
        "--baseline",
        type=Path,
        metavar="FILE",
        help="compare with an earlier state: its JSON report, or a wheel of it",
    )
    parser.add_argument(
        "--fail-on",
        choices=("all", "new"),
        default="all",
        help="with new, ignore the findings that the baseline has (default: all)",
    )
    output = parser.add_argument_group("reports")
    output.add_argument(
        "--format",
        type=_choice(ReportFormat),
        choices=list(ReportFormat),
        default=ReportFormat.TEXT,
        help="the format of the printed report (default: text)",
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
        help="also write a report to a file; may be given several times",
    )
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
    output.add_argument(
        "--color",
        choices=COLORS,
        default="auto",
        help="when to use colors (default: auto, on a terminal unless NO_COLOR is set)",
    )
    _add_checking(parser)
    judging = parser.add_mutually_exclusive_group()
    judging.add_argument(
        "--torch",
        type=_parsed(parse_torch),
        metavar="SPEC",
        help="check against these releases, such as '>=2.10', instead of those the metadata allows",
    )
    judging.add_argument(
        "--against",
        type=Path,
        metavar="TORCH",
        help="check against one torch: a wheel, or the site-packages it is installed in",
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="read every file in full and check it against RECORD; by default large libraries"
        " are only read up to their last symbol table",
    )
    parser.add_argument(
        "--print-completion",
        action=_Completion,
        choices=("bash", "zsh", "tcsh"),
        help="print a shell completion script",
    )
    parser.add_argument(
        "--version",
        action=_Version,
        nargs=0,
        help="print the version and the torch releases with symbol data",
    )
    return parser


def make_repair_parser() -> argparse.ArgumentParser:
    """Return the parser of `torch-abi-audit repair`."""
    parser = _Parser(
        prog="torch-abi-audit repair",
        description="Write wheels with the metadata that fits their binaries: METADATA, WHEEL,"
        " RECORD and the filename change, and nothing else. Wheels that pass are copied, wheels"
        " that no metadata helps are refused.",
        epilog="Exit code: 0 all wheels are written; 1 some are refused; 2 usage error, or a wheel"
        " could not be audited or written",
    )
    parser.add_argument("wheels", nargs="+", metavar="WHEEL", help="a .whl file or a pattern")
    parser.add_argument(
        "-w",
        "--wheel-dir",
        type=Path,
        default=Path("wheelhouse"),
        metavar="DIR",
        help="where to write the wheels (default: wheelhouse)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="show what would change, and write nothing"
    )
    parser.add_argument(
        "--require-torch",
        type=_parsed(parse_torch),
        metavar="SPEC",
        help="the torch releases to require where several fit, such as '==2.10.*'",
    )
    # A wheel is repaired for all releases, and its bytes are copied as they are.
    parser.set_defaults(
        torch=None, against=None, verify=False, check=[], require=[], baseline=None, fail_on="all"
    )
    _add_checking(parser)
    return parser


def _add_checking(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how wheels are checked."""
    parser.add_argument(
        "--strict", action="store_true", help="fail for warnings too, and for more than wheels"
    )
    parser.add_argument(
        "--require-stable",
        action="store_true",
        help="fail wheels that use the unstable ABI, even where they are pinned correctly",
    )
    parser.add_argument(
        "--min-torch",
        type=_parsed(parse_release),
        metavar="RELEASE",
        help="the oldest torch release the wheels have to support",
    )
    parser.add_argument(
        "--ignore",
        type=_parsed(parse_ignore),
        action="append",
        default=[],
        metavar="RULE[:GLOB][:symbol=PATTERN]",
        help="ignore the findings of a rule, in libraries or about symbols that match a pattern",
    )
    parser.add_argument(
        "--migrating",
        type=_parsed(parse_migrating),
        action="append",
        default=[],
        metavar="GLOB[:symbol=PATTERN]",
        help="allow unstable-ABI symbols in matching libraries (migration in progress); or, as"
        " symbol=PATTERN, those whose declaration or mangled name matches",
    )
    parser.add_argument(
        STRICT_IGNORES,
        nargs="?",
        type=_choice(StrictIgnores),
        const=StrictIgnores.STALE,
        metavar="all",
        help="fail for ignores and migrating entries that have expired, or match something that no"
        " longer needs them; with =all also for those that match no library at all",
    )
    parser.add_argument(
        "--limit",
        type=_parsed(parse_limit),
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help=f"raise or lower what an audit may take: {', '.join(LIMITS)}; K, M and G are powers"
        " of 1024",
    )
    configuration = parser.add_mutually_exclusive_group()
    configuration.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="read [tool.torch-abi-audit] from this file instead of the nearest pyproject.toml",
    )
    configuration.add_argument(
        "--no-config", action="store_true", help="do not read any configuration"
    )


def _destination(text: str) -> Destination:
    name, separator, file = text.partition("=")
    if not separator or not file or name not in list(ReportFormat):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not FORMAT=FILE (formats: {', '.join(ReportFormat)})"
        )
    return Destination(ReportFormat(name), None if file == "-" else Path(file))


def _choice(kind: type[_E]) -> Callable[[str], _E]:
    """Let a parser name the choices there are."""

    def chosen(text: str) -> _E:
        try:
            return kind(text)
        except ValueError as error:
            names = ", ".join(map(str, kind))
            said = f"invalid choice: {text!r} (choose from {names})"
            raise argparse.ArgumentTypeError(said) from error

    return chosen


def _parsed(parse: Callable[[str], _T]) -> Callable[[str], _T]:
    """Let a parser complain as argparse expects it."""

    def parsed(text: str) -> _T:
        try:
            return parse(text)
        except AuditError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parsed

"""What the parsers of all commands are made of: one-line errors, and the types of arguments."""

from __future__ import annotations

import argparse
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

from torch_abi_audit.errors import AuditError
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


class Parser(argparse.ArgumentParser):
    """Prints errors in one line that no CI service takes for a command, and help to any pipe."""

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        """Print help, or say in one line why that is impossible."""
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
        """Say what is wrong with the arguments, and end."""
        super().error(plain_text(message))


class PrintVersion(argparse.Action):
    """Prints the version, with the releases of torch that the catalog knows."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """See the class."""
        from torch_abi_audit import __version__  # noqa: PLC0415
        from torch_abi_audit.catalog import load_catalog  # noqa: PLC0415 -- for this alone

        releases = load_catalog().releases
        known = f"symbol data for torch {releases[0]} to {releases[-1]}"
        _print(parser, f"{parser.prog} {__version__} ({known})")


class PrintCompletion(argparse.Action):
    """Prints a script for a shell, which shtab makes of the parser."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        _namespace: argparse.Namespace,
        shell: object,
        _option: str | None = None,
    ) -> None:
        """See the class."""
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


def destination(text: str) -> Destination:
    """Parse where a report goes: ``FORMAT=FILE``."""
    name, separator, file = text.partition("=")
    if not separator or not file or name not in list(ReportFormat):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not FORMAT=FILE (formats: {', '.join(ReportFormat)})"
        )
    return Destination(ReportFormat(name), None if file == "-" else Path(file))


def choice(kind: type[_E]) -> Callable[[str], _E]:
    """Let a parser name the choices there are."""

    def chosen(text: str) -> _E:
        try:
            return kind(text)
        except ValueError as error:
            names = ", ".join(map(str, kind))
            said = f"invalid choice: {text!r} (choose from {names})"
            raise argparse.ArgumentTypeError(said) from error

    return chosen


def parsed(parse: Callable[[str], _T]) -> Callable[[str], _T]:
    """Let a parser complain as argparse expects it."""

    def checked(text: str) -> _T:
        try:
            return parse(text)
        except AuditError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return checked

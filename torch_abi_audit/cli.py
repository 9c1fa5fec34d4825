"""The command line: arguments, the report's output, the exit code, and nothing else."""

from __future__ import annotations

import argparse
import contextlib
import glob
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from rich.console import Console

from torch_abi_audit import Options, __version__, audit
from torch_abi_audit.errors import AuditError
from torch_abi_audit.model import Report, Verdict
from torch_abi_audit.report.json import render_json
from torch_abi_audit.report.terminal import clean, print_report

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

EXIT_SAFE, EXIT_UNSAFE, EXIT_ERROR = 0, 1, 2


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave the exit code to `main`; rich would exit with 1, which has a meaning here."""
        raise BrokenPipeError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code.

    0: every target is safe or not applicable. 1: at least one is unsafe. 2: wrong usage,
    or a target that could not be audited, or nothing to audit; 2 goes before 1.
    """
    options = _parser().parse_args(arguments)
    try:
        judged = Options(strict=options.strict, torch=options.torch, against=options.against)
        report = audit(*expand(options.targets), options=judged)
    except AuditError as error:
        _complain(str(error))
        return EXIT_ERROR
    code = exit_code(report)
    try:
        _print_errors(report)
        _print(report, json=options.json, verbose=options.verbose)
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough. Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        _complain(f"the report can't be written: {error}")
        code = EXIT_ERROR
    return code


def expand(targets: Iterable[str]) -> list[str]:
    """Return the targets with wildcards expanded, for shells that leave that to the program.

    A pattern that matches nothing stays, so that it becomes a target that can't be audited.
    """
    found: list[str] = []
    for target in targets:
        # os.path takes any string, pathlib raises for some; glob takes absolute patterns.
        exists = os.path.exists(target)  # noqa: PTH110
        matches = [] if exists else sorted(glob.glob(target, recursive=True))  # noqa: PTH207
        found += matches or [target]
    return list(dict.fromkeys(found))


def exit_code(report: Report) -> int:
    """Return the exit code that the report stands for."""
    verdicts = {target.verdict for target in report.targets}
    if not verdicts or Verdict.ERROR in verdicts:
        return EXIT_ERROR
    return EXIT_UNSAFE if Verdict.UNSAFE in verdicts else EXIT_SAFE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="torch-abi-audit",
        description="Audit wheels that extend PyTorch before you upload them: which torch "
        "releases and Pythons they really work on, and whether they promise just that.",
        epilog="exit code: 0 all safe or not applicable; 1 a target is unsafe; 2 wrong usage, "
        "or a target could not be audited",
    )
    parser.add_argument("targets", nargs="+", metavar="WHEEL", help="a .whl file, or a pattern")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--strict", action="store_true", help="let warnings fail a wheel too")
    judging = parser.add_mutually_exclusive_group()
    judging.add_argument(
        "--torch",
        type=_specifier,
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
        "-v", "--verbose", action="store_true", help="print every symbol and every library"
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    return parser


def _specifier(text: str) -> SpecifierSet:
    try:
        text = text.strip()
        return SpecifierSet(f"=={text}" if text[:1].isdigit() else text)
    except InvalidSpecifier as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _print_errors(report: Report) -> None:
    """Say on stderr, one line each, what could not be audited."""
    for target in report.targets:
        reasons = [f"{item.path}: {item.error}" for item in target.unreadable]
        for reason in reasons or ([target.error] if target.error else []):
            _complain(f"{target.target}: {reason}")


def _complain(message: str) -> None:
    """Write a line to stderr, if there is one."""
    with contextlib.suppress(OSError):
        if sys.stderr is not None:
            sys.stderr.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
            print(clean(f"torch-abi-audit: {message}"), file=sys.stderr, flush=True)  # noqa: T201


def _print(report: Report, *, json: bool, verbose: bool) -> None:
    if sys.stdout is None:
        raise OSError("standard output is closed")
    # A terminal that can't show a character gets its escape, not a traceback.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    if json:
        sys.stdout.write(render_json(report, __version__))
    else:
        print_report(report, _Console(markup=False, emoji=False), verbose=verbose)
    sys.stdout.flush()

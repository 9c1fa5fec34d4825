"""The command line: arguments, the report's output, the exit code, and nothing else."""

from __future__ import annotations

import argparse
import glob
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from torch_abi_audit import __version__, audit
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
    report = audit(*expand(options.targets), strict=options.strict)
    try:
        _print_errors(report)
        _print(report, json=options.json, verbose=options.verbose)
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough. Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return exit_code(report)


def expand(targets: Iterable[str]) -> list[str]:
    """Return the targets with wildcards expanded, for shells that leave that to the program.

    A pattern that matches nothing stays, so that it becomes a target that can't be audited.
    """
    found: list[str] = []
    for target in targets:
        matches = [] if Path(target).exists() else sorted(glob.glob(target, recursive=True))  # noqa: PTH207 -- takes absolute patterns too
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
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="print every symbol and every library"
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    return parser


def _print_errors(report: Report) -> None:
    """Say on stderr, one line each, what could not be audited."""
    sys.stderr.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    for target in report.targets:
        reasons = [f"{item.path}: {item.error}" for item in target.unreadable]
        for reason in reasons or ([target.error] if target.error else []):
            print(clean(f"torch-abi-audit: {target.target}: {reason}"), file=sys.stderr)  # noqa: T201


def _print(report: Report, *, json: bool, verbose: bool) -> None:
    # A terminal that can't show a character gets its escape, not a traceback.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    if json:
        sys.stdout.write(render_json(report, __version__))
    else:
        print_report(report, _Console(markup=False, emoji=False), verbose=verbose)
    sys.stdout.flush()

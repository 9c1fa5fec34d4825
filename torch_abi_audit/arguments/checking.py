"""The arguments that say how wheels are checked, which several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from torch_abi_audit.arguments.parser import STRICT_IGNORES, choice, parsed
from torch_abi_audit.budget import LIMITS, parse_limit
from torch_abi_audit.claims.torch_build import parse_torch_build
from torch_abi_audit.config import (
    REQUIRABLE,
    parse_checks,
    parse_ignore,
    parse_migrating,
    parse_release,
    parse_torch,
)
from torch_abi_audit.model import StrictIgnores

if TYPE_CHECKING:
    import argparse


def add_checking(parser: argparse.ArgumentParser) -> None:
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
        type=parsed(parse_release),
        metavar="RELEASE",
        help="the oldest torch release the wheels have to support",
    )
    parser.add_argument(
        "--ignore",
        type=parsed(parse_ignore),
        action="append",
        default=[],
        metavar="RULE[:GLOB][:symbol=PATTERN]",
        help="ignore the findings of a rule, in libraries or about symbols that match a pattern",
    )
    parser.add_argument(
        "--migrating",
        type=parsed(parse_migrating),
        action="append",
        default=[],
        metavar="GLOB[:symbol=PATTERN]",
        help="allow unstable-ABI symbols in matching libraries (migration in progress); or, as"
        " symbol=PATTERN, those whose declaration or mangled name matches",
    )
    parser.add_argument(
        STRICT_IGNORES,
        nargs="?",
        type=choice(StrictIgnores),
        const=StrictIgnores.STALE,
        metavar="all",
        help="fail for ignores and migrating entries that have expired, or match something that no"
        " longer needs them; with =all also for those that match no library at all",
    )
    add_limit(
        parser,
        f"raise or lower what an audit may take: {', '.join(LIMITS)}; K, M and G are powers"
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


def add_limit(parser: argparse.ArgumentParser, said: str) -> None:
    """Add the option that sets limits; `said` is its help."""
    parser.add_argument(
        "--limit",
        type=parsed(parse_limit),
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help=said,
    )


def add_deciding(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what fails a run."""
    parser.add_argument(
        "--check",
        type=parsed(parse_checks),
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


def add_judging(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which torch releases to check against."""
    judging = parser.add_mutually_exclusive_group()
    judging.add_argument(
        "--torch",
        type=parsed(parse_torch),
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
        "--torch-build",
        type=parsed(parse_torch_build),
        metavar="BUILD",
        help="check against another build of torch than PyPI's: cpu, cu126, cu128, cu130, ...;"
        " pypi for PyPI's, whatever a wheel's version or requirement says",
    )

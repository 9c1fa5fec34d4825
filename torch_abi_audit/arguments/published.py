"""The arguments of the commands that read an index: `index`, `compat`, `survey` and `cache`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from torch_abi_audit.arguments.checking import (
    add_checking,
    add_deciding,
    add_judging,
    add_limit,
)
from torch_abi_audit.arguments.parser import Parser, parsed
from torch_abi_audit.arguments.reports import add_reports, add_tables
from torch_abi_audit.config import parse_release
from torch_abi_audit.errors import AuditError
from torch_abi_audit.published.engine import DEFAULT_JOBS, MOST_JOBS
from torch_abi_audit.published.select import ALL, HOST, parse_platforms, parse_python

if TYPE_CHECKING:
    import argparse

_MOST_DIGITS = 7
_LIMIT_HELP = "raise or lower what reading a wheel may take; as of an audit"


def make_index_parser() -> Parser:
    """Return the parser of `torch-abi-audit index`."""
    parser = Parser(
        prog="torch-abi-audit index",
        description="Audit the wheels that are published on a package index, read in place: only"
        " the parts that the audit needs are fetched.",
        epilog="Exit code: as of an audit of the same files; 2 also where an index or a wheel"
        " could not be read, or nothing matches",
    )
    parser.add_argument(
        "requirements",
        nargs="+",
        metavar="REQUIREMENT",
        help="which releases of which package, such as 'xformers>=0.0.30'",
    )
    _add_selection(parser, ALL)
    add_sources(parser)
    add_deciding(parser)
    add_reports(parser)
    parser.set_defaults(all=False)
    add_checking(parser)
    add_judging(parser)
    parser.add_argument(
        "--verify",
        action="store_true",
        help="download wheels, check the hash of the index, and read every file in full",
    )
    return parser


def _number(text: str) -> int:
    """Parse a number of things, of which there is at least one."""
    if not (text.isascii() and text.isdecimal() and len(text) < _MOST_DIGITS and int(text)):
        raise AuditError(f"{text!r} is not a number greater than 0")
    return int(text)


def _jobs(text: str) -> int:
    """Parse how many wheels are read at the same time."""
    number = _number(text)
    if number > MOST_JOBS:
        raise AuditError(f"{text}: more than {MOST_JOBS} at a time are too many for an index")
    return number


def _add_selection(parser: argparse.ArgumentParser, platform: str) -> None:
    """Add the options that choose wheels."""
    chosen = parser.add_argument_group("wheels")
    chosen.add_argument(
        "--platform",
        dest="platforms",
        type=parsed(parse_platforms),
        default=parse_platforms(platform) if platform == ALL else None,
        metavar="PLATFORM",
        help=f"only wheels for this platform: linux_x86_64, macos_arm64, ..., {HOST}, or {ALL}"
        f" (default: {platform})",
    )
    chosen.add_argument(
        "--python",
        type=parsed(parse_python),
        metavar="RELEASE",
        help="only wheels that this Python installs, such as 3.12 or 3.13t",
    )
    chosen.add_argument(
        "--latest",
        type=parsed(_number),
        metavar="N",
        help="only the newest N releases of each package",
    )


def add_sources(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where to look, and what is kept."""
    sources = parser.add_argument_group("index")
    sources.add_argument(
        "-i",
        "--index-url",
        metavar="URL",
        help="the package index (default: the one that pip or uv is configured to use)",
    )
    sources.add_argument(
        "--extra-index-url",
        action="append",
        default=[],
        metavar="URL",
        help="another package index; may be given several times",
    )
    sources.add_argument(
        "-f",
        "--find-links",
        action="append",
        default=[],
        metavar="LOCATION",
        help="a page or folder with links to wheels; may be given several times",
    )
    sources.add_argument(
        "--no-index", action="store_true", help="use no package index, only --find-links"
    )
    sources.add_argument(
        "--no-cache", action="store_true", help="neither use nor keep results of earlier runs"
    )
    _add_cache_folder(sources)
    sources.add_argument(
        "-j",
        "--jobs",
        type=parsed(_jobs),
        default=DEFAULT_JOBS,
        metavar="N",
        help=f"how many wheels to read at the same time (default here: {DEFAULT_JOBS})",
    )


def make_compat_parser() -> Parser:
    """Return the parser of `torch-abi-audit compat`."""
    parser = Parser(
        prog="torch-abi-audit compat",
        description="Show which releases of a package work with which torch releases, from its"
        " published wheels; or, with --torch, which release to install next to a torch.",
        epilog="Exit code: 0 all could be read, and with --torch or --for-env a release that works"
        " was found for each package; 1 none was found for one; 2 usage error, or an index or a"
        " wheel could not be read",
    )
    parser.add_argument(
        "packages",
        nargs="*",
        metavar="PACKAGE",
        help="the name of a package, or which of its releases, such as 'xformers>=0.0.30'",
    )
    parser.add_argument(
        "--torch",
        type=parsed(parse_release),
        metavar="RELEASE",
        help="answer which release works with this torch, such as 2.10 or 2.13.0",
    )
    parser.add_argument(
        "--for-env",
        action="store_true",
        help="answer that for each package of the current environment that does not fit its torch",
    )
    parser.add_argument(
        "--site-packages",
        type=Path,
        metavar="DIR",
        help="the same for another environment: its interpreter, its folder or its site-packages",
    )
    _add_selection(parser, HOST)
    add_sources(parser)
    add_tables(parser)
    add_limit(parser, _LIMIT_HELP)
    return parser


def make_survey_parser() -> Parser:
    """Return the parser of `torch-abi-audit survey`."""
    parser = Parser(
        prog="torch-abi-audit survey",
        description="Show the state of many packages: how far each has moved to the stable ABI,"
        " which torch releases its newest wheels support, and what is wrong with their metadata.",
        epilog="What was read is kept: a survey that was cut off goes on where it stopped. Exit"
        " code: 0 all could be read; 2 usage error, or an index or a wheel could not be read",
    )
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="a file with the name of a package on each line"
    )
    _add_selection(parser, HOST)
    add_sources(parser)
    engine = parser.add_argument_group("engine")
    engine.add_argument(
        "--engine",
        choices=("local", "dask"),
        default="local",
        help="where wheels are read: in processes of this machine, or on a Dask cluster"
        " (default: local)",
    )
    engine.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="the scheduler of a running Dask cluster, which is sent the addresses of indexes with"
        " their credentials: use tls:// for it (default: a cluster on this machine)",
    )
    add_tables(parser)
    add_limit(parser, _LIMIT_HELP)
    return parser


def make_cache_parser() -> Parser:
    """Return the parser of `torch-abi-audit cache`."""
    parser = Parser(
        prog="torch-abi-audit cache",
        description="Show or delete the results that `index`, `compat` and `survey` keep, so that"
        " no published wheel is read twice.",
    )
    parser.add_argument(
        "action",
        nargs="?",
        choices=("show", "clear"),
        default="show",
        help="what to do with them (default: show)",
    )
    _add_cache_folder(parser)
    return parser


def _add_cache_folder(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    parser.add_argument(
        "--cache-dir",
        type=Path,
        metavar="DIR",
        help="where results are kept (default: the user's cache folder)",
    )

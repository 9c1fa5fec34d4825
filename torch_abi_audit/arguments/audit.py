"""The arguments of an audit."""

from __future__ import annotations

from pathlib import Path

from torch_abi_audit.arguments.checking import add_checking, add_deciding, add_judging
from torch_abi_audit.arguments.parser import Parser, PrintCompletion, PrintVersion
from torch_abi_audit.arguments.reports import add_reports


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(
        prog="torch-abi-audit",
        description="Audit wheels of PyTorch extensions before you upload them: which PyTorch and"
        " Python versions and platforms they support, and whether their metadata says the same.",
        epilog="Other commands: `repair WHEEL` writes wheels with metadata that fits; `index"
        " REQUIREMENT` audits what is published, `compat PACKAGE` shows which of its releases work"
        " with which torch, `survey FILE` shows the state of many packages, and `cache` what these"
        " keep; `explain RULE` tells what a finding means and how to fix it, and `explain SYMBOL`"
        " what the stable ABI has instead of a C++ symbol; `schema` prints the JSON Schema of the"
        " report. Exit code: 0 all safe, pinned or not applicable; 1 a wheel is unsafe; 2 usage"
        " error, or a target could not be audited",
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
        "--index",
        action="store_true",
        help="allow the network: look up on the package index what to install instead of packages"
        " that do not fit the installed torch",
    )
    add_deciding(parser)
    add_reports(parser)
    add_checking(parser)
    add_judging(parser)
    parser.add_argument(
        "--verify",
        action="store_true",
        help="read every file in full and check it against RECORD; by default large libraries"
        " are only read up to their last symbol table",
    )
    parser.add_argument(
        "--print-completion",
        action=PrintCompletion,
        choices=("bash", "zsh", "tcsh"),
        help="print a shell completion script",
    )
    parser.add_argument(
        "--version",
        action=PrintVersion,
        nargs=0,
        help="print the version and the torch releases with symbol data",
    )
    return parser

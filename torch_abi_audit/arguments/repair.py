"""The arguments of `torch-abi-audit repair`."""

from __future__ import annotations

from pathlib import Path

from torch_abi_audit.arguments.checking import add_checking
from torch_abi_audit.arguments.parser import Parser, parsed
from torch_abi_audit.config import parse_torch


def make_repair_parser() -> Parser:
    """Return the parser of `torch-abi-audit repair`."""
    parser = Parser(
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
        type=parsed(parse_torch),
        metavar="SPEC",
        help="the torch releases to require where several fit, such as '==2.10.*'",
    )
    # A wheel is repaired for all releases, and its bytes are copied as they are.
    parser.set_defaults(
        torch=None,
        torch_build=None,
        against=None,
        verify=False,
        check=[],
        require=[],
        baseline=None,
        fail_on="all",
    )
    add_checking(parser)
    return parser

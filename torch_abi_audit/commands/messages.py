"""What the tool itself says: lines on standard error, and what was asked for."""

from __future__ import annotations

import contextlib
import sys

from torch_abi_audit.report.escape import plain_text
from torch_abi_audit.report.streams import say, show_all
from torch_abi_audit.verdict.policy import EXIT_ERROR, EXIT_SAFE


def complain(message: str) -> None:
    """Write a line to stderr, if there is one."""
    with contextlib.suppress(OSError):
        if sys.stderr is not None:
            show_all(sys.stderr)
            print(plain_text(f"torch-abi-audit: {message}"), file=sys.stderr, flush=True)  # noqa: T201


def say_it(text: str) -> int:
    """Print what was asked for; return the exit code."""
    refused = say(text)
    return EXIT_SAFE if refused is None else refuse(refused)


def refuse(message: str) -> int:
    """Say why nothing is done; return the exit code."""
    complain(message)
    return EXIT_ERROR

"""Standard output and standard error, whatever they are."""

from __future__ import annotations

import codecs
import contextlib
import errno
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import IO, TextIO

_ON_WINDOWS = os.name == "nt"


def show_all(stream: TextIO) -> None:
    """Let a stream that can't show a character write its escape: no traceback."""
    # Whoever calls the command from Python may have put any stream in its place.
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")


def is_unicode(stream: IO[str]) -> bool:
    """Whether a stream takes every character."""
    encoding = getattr(stream, "encoding", None)
    return encoding is None or codecs.lookup(encoding).name.startswith("utf")


def is_closed_pipe(error: OSError) -> bool:
    """Whether the reader of a pipe, such as `head`, has seen enough."""
    closed = isinstance(error, BrokenPipeError)
    return closed or (_ON_WINDOWS and error.errno == errno.EINVAL)


def give_up_output() -> None:
    """Write nothing more to standard output: Python would complain at exit."""
    with contextlib.suppress(OSError, ValueError):  # it need not be a file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

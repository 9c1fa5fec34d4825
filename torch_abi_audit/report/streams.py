"""Standard output and standard error, whatever they are."""

from __future__ import annotations

import codecs
import contextlib
import errno
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO, TextIO

_ON_WINDOWS = os.name == "nt"


def show_all(stream: TextIO) -> None:
    """Let a stream that can't show a character write its escape: no traceback."""
    # Whoever calls the command from Python may have put any stream in its place.
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")


def is_terminal(stream: IO[str] | None) -> bool:
    """Whether what is written to a stream is seen at once."""
    isatty = getattr(stream, "isatty", None)
    return isatty is not None and bool(isatty())


def is_unicode(stream: IO[str]) -> bool:
    """Whether a stream takes every character."""
    encoding = getattr(stream, "encoding", None)
    return encoding is None or codecs.lookup(encoding).name.startswith("utf")


def is_closed_pipe(error: OSError) -> bool:
    """Whether the reader of a pipe, such as `head`, has seen enough."""
    closed = isinstance(error, BrokenPipeError)
    return closed or (_ON_WINDOWS and error.errno == errno.EINVAL)


def say(text: str) -> str | None:
    """Print a text to standard output.

    Returns:
        Why it can't be written; None where it is, or the reader has seen enough.
    """
    if sys.stdout is None:
        return "standard output is closed"
    show_all(sys.stdout)
    return _written(lambda: print(text, flush=True))  # noqa: T201


def flush() -> str | None:
    """Write what is left of what was printed to standard output; see `say`."""
    return None if sys.stdout is None else _written(sys.stdout.flush)


def _written(write: Callable[[], None]) -> str | None:
    try:
        write()
    except OSError as error:
        give_up_output()  # Python would try once more at exit
        return None if is_closed_pipe(error) else f"can't be written: {error.strerror or error}"
    return None


def give_up_output() -> None:
    """Write nothing more to standard output: Python would complain at exit."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # it need not be a file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

"""The command: which of its commands is meant, signals, and the exit code."""

from __future__ import annotations

import contextlib
import gc
import signal
import sys
import threading
from importlib import import_module
from typing import TYPE_CHECKING

from torch_abi_audit.commands.messages import complain, refuse
from torch_abi_audit.errors import AuditError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType


# Of each command, the module with its arguments, and what makes the parser of them.
_COMMANDS = {
    "repair": ("repair", "make_repair_parser"),
    "index": ("published", "make_index_parser"),
    "compat": ("published", "make_compat_parser"),
    "survey": ("published", "make_survey_parser"),
    "cache": ("published", "make_cache_parser"),
}
# As shells count a process that a signal ended.
EXIT_INTERRUPTED = 130
EXIT_SIGNALLED = 128  # and the number of the signal
_GC_THRESHOLD = 100_000  # objects; the usual 700 costs a twentieth of the time


# What asks a process to end, besides Ctrl-C; a terminal that is closed, where there are any.
_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class _Terminated(BaseException):
    """The process was asked to end.

    Args:
        number: The signal's.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code.

    0: every target is safe, pinned or not applicable. 1: at least one is unsafe. 2: usage error,
    or a target that could not be audited, or nothing to audit; 2 takes precedence.
    """
    if arguments is None:  # a process of its own, which makes few cycles and ends soon
        gc.set_threshold(_GC_THRESHOLD)
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with _told_to_end():
            return _run(given)
    except AuditError as error:  # an extra is not installed
        return refuse(str(error))
    except KeyboardInterrupt:
        complain("interrupted")
        return EXIT_INTERRUPTED
    except _Terminated as ended:
        complain("terminated")
        return EXIT_SIGNALLED + ended.number


@contextlib.contextmanager
def _told_to_end() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the command as Ctrl-C does, so that it leaves nothing half done.

    Whoever calls the command from Python, and handles a signal, keeps it; so does `nohup`.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = [number for number in _SIGNALS if signal.getsignal(number) is signal.SIG_DFL]

    def end(number: int, _frame: FrameType | None) -> None:
        for other in ours:
            signal.signal(other, signal.SIG_IGN)  # it is being done
        raise _Terminated(number)

    for number in ours:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _run(given: list[str]) -> int:
    """Run what is asked for; of the commands, only its own modules are imported."""
    name, more = (given[0], given[1:]) if given else ("", [])
    if name in ("explain", "schema"):
        from torch_abi_audit.commands import explain  # noqa: PLC0415

        return (explain.explain_names if name == "explain" else explain.print_schema)(more)
    if name in _COMMANDS:
        arguments, maker = _COMMANDS[name]
        parser = getattr(import_module(f"torch_abi_audit.arguments.{arguments}"), maker)()
        run = import_module(f"torch_abi_audit.commands.{name}").run
        code: int = run(parser.parse_args(more), parser)
        return code
    from torch_abi_audit.arguments.audit import make_parser  # noqa: PLC0415
    from torch_abi_audit.commands import audit  # noqa: PLC0415

    of_audit = make_parser()
    return audit.run(of_audit.parse_args(["--help"] if given == ["help"] else given), of_audit)

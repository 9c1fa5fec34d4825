"""A progress bar for long work: on standard error, and on a terminal only."""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING

from torch_abi_audit.report.escape import plain_text
from torch_abi_audit.report.streams import is_terminal
from torch_abi_audit.wording import last_part

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.progress import Progress as Bar

_LONG = 50 << 20  # bytes: about half a second
_MANY = 20  # targets


def is_long(targets: Sequence[str]) -> bool:
    """Whether there is so much to audit that somebody wonders."""
    files: list[str] = []
    for target in targets:
        try:
            files += [entry.path for entry in os.scandir(target)]
        except (OSError, ValueError):  # no folder, or none that can be read; the audit says so
            files.append(target)
    sizes = (os.path.getsize(path) for path in files if os.path.isfile(path))  # noqa: PTH113, PTH202
    return len(files) >= _MANY or sum(sizes) >= _LONG


def _is_piped() -> bool:
    try:
        return sys.stdout is not None and stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode)
    except (OSError, ValueError, AttributeError):  # a stream that is no file
        return False


class ProgressBar:
    """Shows what is being audited, and nothing of itself while a report is printed.

    Args:
        total: How many targets there are.
        shown: Whether to show anything; only where standard error is a terminal, and no
            pager draws on it what is printed.
    """

    def __init__(self, total: int, *, shown: bool) -> None:
        self._bar: Bar | None = None
        if shown and is_terminal(sys.stderr) and not _is_piped():
            # Only for a terminal: the import costs as much as a small wheel.
            from rich.console import Console  # noqa: PLC0415
            from rich.progress import (  # noqa: PLC0415
                BarColumn,
                MofNCompleteColumn,
                TextColumn,
                TimeElapsedColumn,
            )
            from rich.progress import Progress as NewBar  # noqa: PLC0415

            self._bar = NewBar(
                BarColumn(20),
                MofNCompleteColumn(),
                TextColumn("{task.description}", markup=False),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task("", total=total)

    def targets(self, names: Iterable[str]) -> Iterator[str]:
        """Yield names, each shown while whoever takes it is busy with it."""
        for number, name in enumerate(names):
            if self._bar is not None:
                self.show(number, last_part(name))
            yield name
            self.hide()

    def show(self, number: int, said: str) -> None:
        """Show how many are done, and what is known of the work."""
        if self._bar is not None:
            self._bar.update(self._task, completed=number, description=plain_text(said))
            self._bar.start()

    def hide(self) -> None:
        """Clear the line, before something is printed."""
        if self._bar is not None:
            self._bar.stop()

"""Files of reports, which are there as a whole or not at all.

A report is written beside its file, and takes its place once it is complete: until then, and
where anything fails, what was there before stays. Pipes and devices are written to as they are.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import sys
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from typing import TextIO

# Names of what a process has open already; a file behind one is written to where it stands.
_DESCRIPTORS = ("/dev/fd/", "/dev/std", "/proc/")


class Sink(Protocol):
    """Where a report is written.

    Attributes:
        stream: What to write to.
    """

    stream: TextIO

    def commit(self) -> None:
        """Keep what was written."""

    def discard(self) -> None:
        """Leave everything as it was before, as far as that is possible."""


def open_sink(path: Path | None, *, append: bool = False) -> Sink:
    """Return where a report is written.

    Args:
        path: The file; None for standard output.
        append: Whether to add to what it holds.

    Raises:
        OSError: It can't be written.
    """
    if path is None:
        if sys.stdout is None:
            raise OSError("standard output is closed")
        return _Through(sys.stdout)
    try:
        status = path.stat()
    except FileNotFoundError:
        status = None
    if status is not None:
        if not stat.S_ISREG(status.st_mode) or _is_open(path, status):
            mode: Literal["a", "w"] = "a" if append else "w"
            return _Through(path.open(mode, encoding="utf-8", newline="\n"))
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    if append:
        return _AtEnd(path, append=True)
    try:
        return _Beside(Path(os.path.realpath(path)), status)
    except OSError:
        if status is None:
            raise
        return _AtEnd(path, append=False)  # nothing can be made in the folder


def _is_open(path: Path, status: os.stat_result) -> bool:
    """Whether a file is one that the process was started with, as `/dev/stdout` may be."""
    if str(path.absolute()).startswith(_DESCRIPTORS):
        return True
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), status):
                return True
    return False


class _Through:
    """A stream that takes what is written at once: standard output, a pipe, a device."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def commit(self) -> None:
        self.stream.flush()
        self._close()

    def discard(self) -> None:
        with contextlib.suppress(OSError):
            self._close()

    def _close(self) -> None:
        if self.stream is not sys.stdout:
            self.stream.close()


class _Beside:
    """A file that is written under another name, and then renamed.

    Args:
        path: The file, which is no link.
        status: What is known of it; None where it does not exist.
    """

    def __init__(self, path: Path, status: os.stat_result | None) -> None:
        self._path = path
        self._temporary = path.with_name(f".torch-abi-audit-{os.urandom(8).hex()}.tmp")
        try:
            self.stream: TextIO = self._temporary.open("x", encoding="utf-8", newline="\n")
            if status is not None:
                with contextlib.suppress(OSError, AttributeError):  # Windows has no owners
                    os.chown(self._temporary, status.st_uid, status.st_gid)
                self._temporary.chmod(stat.S_IMODE(status.st_mode))
        except BaseException:
            self._unlink()
            raise

    def commit(self) -> None:
        self.stream.close()
        try:
            self._temporary.replace(self._path)
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.EXDEV):
                raise
            shutil.copyfile(self._temporary, self._path)  # what is mounted stays in its place
            self._unlink()

    def discard(self) -> None:
        with contextlib.suppress(OSError):
            self.stream.close()
        self._unlink()

    def _unlink(self) -> None:
        with contextlib.suppress(OSError):
            self._temporary.unlink(missing_ok=True)


class _AtEnd:
    """A file that is written where it stands, all at once.

    Args:
        path: The file.
        append: Whether to add to what it holds.
    """

    def __init__(self, path: Path, *, append: bool) -> None:
        self._path = path
        self._append = append
        self._written = StringIO()
        self.stream: TextIO = self._written

    def commit(self) -> None:
        data = self._written.getvalue().encode()
        with self._path.open("ab" if self._append else "wb", buffering=0) as file:
            before = file.seek(0, os.SEEK_END)
            try:
                left = memoryview(data)
                while left:
                    left = left[file.write(left) :]
            except BaseException:
                with contextlib.suppress(OSError):
                    file.truncate(before)
                raise

    def discard(self) -> None:
        self.stream.close()

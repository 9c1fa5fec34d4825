"""An archive on a server, of which only the parts that readers ask for are fetched.

Readers mostly go forward: through the headers of many small members, or through one large
library. So what is fetched at once grows while a reader goes on where it stopped, and starts
small again after a jump. What was fetched is kept for all readers, small parts the longest.
"""

from __future__ import annotations

import io
import threading
import zlib
from bisect import bisect_right, insort
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from torch_abi_audit.errors import AuditError

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Callable
    from typing import IO

    from torch_abi_audit.budget import Budget

_TAIL = 1 << 18  # the directory of most wheels, and their metadata
_LEAST, _MOST = 1 << 17, 4 << 20  # bytes fetched at once
_KEPT = 48 << 20  # bytes
_SMALL = 1 << 20  # parts with headers of members; larger ones are of one library


class Fetched(NamedTuple):
    """A part of a file: its bytes, where they begin, and how long the file is."""

    data: bytes
    first: int
    total: int


class Ranges(Protocol):
    """What fetches parts of one file; raises `AuditError`."""

    def tail(self, size: int) -> Fetched:
        """Fetch the last bytes, the whole file if it has no more."""

    def range(self, first: int, last: int, total: int) -> bytes:
        """Fetch the bytes from `first` to `last`, which is included, of a file of that length."""


class RemoteFile:
    """A wheel on a server; see `files.ArchiveFile`.

    Args:
        name: The filename.
        ranges: What fetches its bytes.
        budget: What waiting is counted against.
        size: How long it is according to the index, in bytes; None if that does not say.
        metadata: Fetches the copy of ``METADATA`` beside the wheel (PEP 658); None without one.

    Attributes:
        whole: The whole file, if all of it was fetched at once.

    Raises:
        AuditError: The server does not serve it, or another file than the index names.
    """

    remote = True

    def __init__(
        self,
        name: str,
        ranges: Ranges,
        budget: Budget,
        *,
        size: int | None = None,
        metadata: Callable[[], bytes | None] | None = None,
    ) -> None:
        self.name = name
        self._ranges = ranges
        self._budget = budget
        self._metadata = metadata
        self._lock = threading.Condition()
        self._starts: list[int] = []
        self._parts: dict[int, bytes] = {}  # by where they begin, the oldest first
        self._kept = 0
        self._coming: dict[int, int] = {}  # where parts begin and end that are being fetched
        started = monotonic()
        tail = ranges.tail(_TAIL)
        budget.wait(monotonic() - started)
        self.size = tail.total
        if size is not None and size != tail.total:
            raise AuditError(f"the server has {tail.total} bytes, but the index says {size}")
        self._tail = tail
        self.whole = tail.data if len(tail.data) == tail.total else None

    def open(self) -> IO[bytes]:
        """See `ArchiveFile`."""
        return cast("IO[bytes]", _Reader(self))

    def metadata_of(self, info: zipfile.ZipInfo) -> bytes | None:
        """Return the copy beside the wheel, if that is the member, and saves a request."""
        if self._metadata is None or self._is_kept(info.header_offset):
            return None
        data = self._metadata()
        same = data is not None and (len(data), zlib.crc32(data)) == (info.file_size, info.CRC)
        return data if same else None

    def _is_kept(self, offset: int) -> bool:
        with self._lock:
            return self._kept_part(offset) is not None

    def part(self, offset: int, size: int) -> tuple[int, bytes]:
        """Return a part that has the byte at an offset, and where the part begins.

        Args:
            offset: The offset.
            size: How much to fetch from there if that is not kept: at most up to the next part.
        """
        with self._lock:
            while (found := self._kept_part(offset)) is None:
                if not any(start <= offset < end for start, end in self._coming.items()):
                    break
                self._lock.wait()  # another reader fetches it
            if found is not None:
                return found
            place = bisect_right(self._starts, offset)
            following = [start for start in self._coming if start > offset]
            following += [self._tail.first, *self._starts[place : place + 1]]
            end = min(offset + size, *following)
            self._coming[offset] = end
        try:
            started = monotonic()
            data = self._ranges.range(offset, end - 1, self.size)
            self._budget.wait(monotonic() - started)
            self._keep(offset, data)
        finally:
            with self._lock:
                del self._coming[offset]
                self._lock.notify_all()
        return offset, data

    def _kept_part(self, offset: int) -> tuple[int, bytes] | None:
        if offset >= self._tail.first:
            return self._tail.first, self._tail.data
        place = bisect_right(self._starts, offset)
        start = self._starts[place - 1] if place else 0
        data = self._parts.get(start, b"")
        return (start, data) if offset < start + len(data) else None

    def _keep(self, offset: int, data: bytes) -> None:
        with self._lock:
            insort(self._starts, offset)
            self._parts[offset] = data
            self._kept += len(data)
            while self._kept > _KEPT:
                large = (start for start, part in self._parts.items() if len(part) > _SMALL)
                oldest = next(large, next(iter(self._parts)))
                self._kept -= len(self._parts.pop(oldest))
                self._starts.remove(oldest)


class _Reader(io.RawIOBase):
    """A remote file as a stream, for one thread."""

    def __init__(self, file: RemoteFile) -> None:
        super().__init__()
        self._file = file
        self._position = 0
        self._part: tuple[int, bytes] = (0, b"")
        self._at_once = _LEAST
        self._read_to = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._file.size}
        self._position = max(0, start[whence] + offset)
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes, fewer at the end of the file, all that are left if negative."""
        whole = size is None or size < 0
        end = self._file.size if whole else min(self._position + (size or 0), self._file.size)
        pieces = []
        while self._position < end:
            start, data = self._holding(end)
            piece = data[self._position - start : end - start]
            self._position += len(piece)
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _holding(self, end: int) -> tuple[int, bytes]:
        """Return a part with the next byte; what is fetched for it reaches to `end` or further."""
        position = self._position
        start, data = self._part
        if start <= position < start + len(data):
            return self._part
        near = 0 <= position - self._read_to <= max(self._at_once, _LEAST)
        at_once = min(self._at_once * 2, _MOST) if near else _LEAST
        self._part = self._file.part(position, min(max(end - position, at_once), _MOST))
        if self._part[0] == position:  # it was fetched for this
            self._at_once, self._read_to = at_once, position + len(self._part[1])
        return self._part

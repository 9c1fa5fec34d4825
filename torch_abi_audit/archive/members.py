"""The members of a zip archive as random-access sources that are inflated as streams.

A library can be a gigabyte of accelerator code around a megabyte of tables. Bytes before
those requested are inflated and discarded, except for the first bytes, where linkers put
symbol tables, and the latest ones; bytes after the last one requested are not inflated
at all.
"""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections import deque
from typing import TYPE_CHECKING, Protocol

from torch_abi_audit.archive.local_headers import ENCRYPTED_FLAGS, LOCAL, parse_local
from torch_abi_audit.errors import AuditError, LibraryError
from torch_abi_audit.formats.source import check_range

try:  # Inflates libraries in half the time, but has wheels for common platforms only.
    from isal import isal_zlib as zlib
except ImportError:
    import zlib  # type: ignore[no-redef]

if TYPE_CHECKING:
    import hashlib
    from collections.abc import Callable, Iterator
    from typing import IO, Self

    from torch_abi_audit.budget import Budget

_PREFIX = 16 << 20  # kept from the beginning
_WINDOW = 4 << 20  # kept from what was read last
_SKIPPED = 1 << 19  # inflated at once
_READ = 1 << 18  # compressed bytes
# Most members are only sniffed: their first bytes come with their header.
_SNIFFED, _FIRST_READ, _USUAL_EXTRA = 64, 512, 32
# Each step back beyond what is kept inflates the member again. Libraries have their tables
# in two places at most; a file made to step back and forth is rejected.
_MAX_PASSES = 8
_READ_TO_THE_END = 4 << 20


class MemberSource(Protocol):
    """A member's bytes: a `ByteSource` that can check them."""

    @property
    def size(self) -> int:
        """The inflated size that the archive's directory declares."""

    def read_at(self, offset: int, size: int) -> bytes:
        """See `formats.source.ByteSource.read_at`."""

    def verify(self, *, whole: bool) -> bool:
        """Check the member's length and checksum.

        Args:
            whole: Whether to inflate all that is left, if necessary from the start again.
                Otherwise the rest is read only if it is short.

        Returns:
            Whether they were checked.

        Raises:
            LibraryError: Either differs from the archive's directory.
        """

    @property
    def digest(self) -> bytes:
        """The hash of the whole member, once it has been checked."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def open_member(  # noqa: PLR0913 -- what a member is, and what to do with its bytes
    archive: zipfile.ZipFile,
    info: zipfile.ZipInfo,
    file: IO[bytes],
    algorithm: str | None = None,
    *,
    budget: Budget | None = None,
    passing: Callable[[bytes], None] | None = None,
) -> MemberSource:
    """Open a member.

    Args:
        archive: The archive, for the compression methods that wheels do not use.
        info: The member.
        file: The archive's bytes, used by only one thread.
        algorithm: The algorithm to hash the member with while it is checked.
        budget: Limits the time.
        passing: Receives the inflated bytes, in order, each once; not called for a member
            without compression, which can be read again.
    """
    raw = _Raw(info, file, budget)
    if info.flag_bits & ENCRYPTED_FLAGS:
        raise LibraryError("can't be inflated: it is encrypted")
    if info.compress_type == zipfile.ZIP_STORED:
        return _Stored(info, raw, algorithm)
    return _Inflated(archive, info, raw, algorithm, passing)


class _Raw:
    """The bytes of a member as they lie in the archive."""

    def __init__(
        self, info: zipfile.ZipInfo, file: IO[bytes], budget: Budget | None = None
    ) -> None:
        self._budget = budget
        self._info = info
        self._file = file
        self._start = 0
        self._position = 0

    def seek(self, offset: int) -> None:
        self._position = offset

    def read(self, size: int) -> bytes:
        """Return the next bytes, none at the end of the member."""
        if self._budget is not None:
            self._budget.check_time()
        size = min(size, self._info.compress_size - self._position)
        if size <= 0:
            return b""
        data = self._first(size) if not self._start else b""
        if not data:
            self._file.seek(self._start + self._position)
            data = self._file.read(size)
        self._position += len(data)
        return data

    def _first(self, size: int) -> bytes:
        """Find where the data begins, which only the local header says.

        Returns:
            The first bytes, if they were read with the header and are those requested.
        """
        info = self._info
        self._file.seek(info.header_offset)
        usual = LOCAL.size + len(info.orig_filename) + _USUAL_EXTRA
        data = self._file.read(usual + size)
        header = parse_local(data)
        if header is None or header.name != info.orig_filename:
            raise LibraryError("can't be inflated: its header contradicts the central directory")
        self._start = info.header_offset + header.length
        return data[header.length : header.length + size] if not self._position else b""


class _Stored:
    """A member without compression: read in place."""

    def __init__(self, info: zipfile.ZipInfo, raw: _Raw, algorithm: str | None) -> None:
        self.size = info.file_size
        self.digest = b""
        self._info = info
        self._raw = raw
        self._algorithm = algorithm

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read_at(self, offset: int, size: int) -> bytes:
        check_range(self, offset, size)
        self._raw.seek(offset)
        parts = []
        while size:
            part = self._raw.read(size)
            if not part:
                raise LibraryError("truncated: the archive ends within it")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def verify(self, *, whole: bool) -> bool:
        if not whole and self.size > _READ_TO_THE_END:
            return False
        self._raw.seek(0)
        checksum = length = 0
        hasher = _hasher(self._algorithm)
        while part := self._raw.read(_SKIPPED):
            checksum = zlib.crc32(part, checksum)
            length += len(part)
            if hasher is not None:
                hasher.update(part)
        _compare(self._info, length, checksum)
        self.digest = b"" if hasher is None else hasher.digest()
        return True


class _Inflated:
    """A compressed member: inflated from the start, and again for bytes that were discarded."""

    def __init__(
        self,
        archive: zipfile.ZipFile,
        info: zipfile.ZipInfo,
        raw: _Raw,
        algorithm: str | None,
        passing: Callable[[bytes], None] | None,
    ) -> None:
        self.size = info.file_size
        self._algorithm = algorithm
        self._hasher = _hasher(algorithm)
        self._archive = archive
        self._info = info
        self._raw = raw
        self._passing = passing
        self._passed = 0
        self._head = b""
        self._prefix = bytearray()
        self._passes = 0
        self._stream: Iterator[bytes] | None = None
        self._position = 0
        self._checksum = 0
        self._window: deque[bytes] = deque()
        self._kept = 0  # bytes in the window

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def read_at(self, offset: int, size: int) -> bytes:
        check_range(self, offset, size)
        end = offset + size
        if end <= _SNIFFED and self._stream is None and not self._head:
            self._sniff()
        if end <= len(self._head):
            return self._head[offset:end]
        if end <= len(self._prefix):
            return bytes(self._prefix[offset:end])
        parts = [bytes(self._prefix[offset:end])]
        offset += len(parts[0])
        if offset < self._position - self._kept:
            self._rewind()
        # First the part of it in the window, then what is newly inflated.
        start = self._position - self._kept
        for chunk in self._window:
            if start + len(chunk) > offset and start < end:
                parts.append(chunk[max(0, offset - start) : end - start])
            start += len(chunk)
        while self._position < end:
            start = self._position
            chunk = self._next(end - start)
            if start + len(chunk) > offset:
                parts.append(chunk[max(0, offset - start) : end - start])
        return b"".join(parts)

    def _sniff(self) -> None:
        """Inflate only the first bytes, and let the stream begin with them again."""
        if self._info.compress_type == zipfile.ZIP_DEFLATED:
            self._raw.seek(0)
            with contextlib.suppress(zlib.error):  # type: ignore[arg-type] # the stream says so
                decompressor = zlib.decompressobj(-15)
                self._head = decompressor.decompress(self._raw.read(_FIRST_READ), _SNIFFED)

    def verify(self, *, whole: bool) -> bool:
        if not whole and self.size - self._position > _READ_TO_THE_END:
            return False
        while self._next(0):
            pass
        _compare(self._info, self._position, self._checksum)
        return True

    @property
    def digest(self) -> bytes:
        return b"" if self._hasher is None else self._hasher.digest()

    def _next(self, wanted: int) -> bytes:
        """Inflate the next bytes, and keep them for a while; none where they should end."""
        try:
            if self._stream is None:
                self._stream = self._inflate()
            chunk = next(self._stream, b"")
        except AuditError:
            raise
        except Exception as error:
            # zlib.error, and what zipfile raises: BadZipFile, RuntimeError (encrypted
            # members), NotImplementedError (compression methods), EOFError and more.
            raise LibraryError(f"can't be inflated: {error or type(error).__name__}") from error
        if self._position + len(chunk) > self.size or (wanted and not chunk):
            raise LibraryError(f"inflates to a size other than the {self.size} bytes declared")
        self._checksum = zlib.crc32(chunk, self._checksum)
        if self._hasher is not None:
            self._hasher.update(chunk)
        if self._passing is not None and self._position == self._passed:
            self._passing(chunk)
            self._passed += len(chunk)
        missing = min(_PREFIX - self._position, len(chunk))
        if self._position == len(self._prefix) and missing > 0:
            self._prefix += chunk[:missing]
        self._position += len(chunk)
        if chunk:
            self._window.append(chunk)
            self._kept += len(chunk)
            while self._kept > _WINDOW and len(self._window) > 1:
                self._kept -= len(self._window.popleft())
        return chunk

    def _inflate(self) -> Iterator[bytes]:
        """Yield the member's bytes in pieces."""
        if self._info.compress_type != zipfile.ZIP_DEFLATED:
            with self._archive.open(self._info) as stream:
                while chunk := stream.read(_SKIPPED):
                    yield chunk
            return
        raw = self._raw
        raw.seek(0)
        decompressor = zlib.decompressobj(-15)
        data = raw.read(_FIRST_READ)
        while data and not decompressor.eof:
            if chunk := decompressor.decompress(data, _SKIPPED):
                yield chunk
            data = decompressor.unconsumed_tail or raw.read(_READ)
        if chunk := decompressor.flush():
            yield chunk

    def _rewind(self) -> None:
        """Start over."""
        self._close()
        self._passes += 1
        if self._passes >= _MAX_PASSES:
            raise LibraryError(
                "its tables are out of order: it would have to be inflated too often"
            )
        self._position = self._checksum = self._kept = 0
        self._hasher = _hasher(self._algorithm)
        self._window.clear()

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()  # type: ignore[attr-defined]
        self._stream = None


def _hasher(algorithm: str | None) -> hashlib._Hash | None:
    if algorithm is None:
        return None
    import hashlib  # noqa: PLC0415 -- only where members are hashed

    return hashlib.new(algorithm)


def _compare(info: zipfile.ZipInfo, length: int, checksum: int) -> None:
    if length != info.file_size:
        raise LibraryError(f"inflates to a size other than the {info.file_size} bytes declared")
    if checksum != info.CRC:
        raise LibraryError("can't be inflated: its checksum does not match the central directory")


def processors() -> int:
    """Return how many threads can inflate at once."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

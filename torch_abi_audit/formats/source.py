"""Random access to the bytes of a library, wherever they come from."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Protocol

from torch_abi_audit.errors import LibraryError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self


class ByteSource(Protocol):
    """The bytes of one file. Reading forward is cheap, reading backward may not be."""

    @property
    def size(self) -> int:
        """The file's length in bytes."""

    def read_at(self, offset: int, size: int) -> bytes:
        """Return exactly `size` bytes from `offset`.

        Raises:
            LibraryError: The range is not within the file, or can't be read.
        """


def check_range(source: ByteSource, offset: int, size: int) -> None:
    """Raise `LibraryError` unless the range is within the source."""
    if offset < 0 or size < 0 or offset + size > source.size:
        raise LibraryError(
            f"truncated: bytes {offset} to {offset + size} are outside its {source.size} bytes"
        )


class FileSource:
    """A source over a file on disk, which is open inside a `with` block."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = 0
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._file = self._path.open("rb")
            self._size = self._file.seek(0, 2)
        except OSError as error:
            raise LibraryError(error.strerror or str(error)) from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    @property
    def size(self) -> int:
        """The file's length in bytes."""
        return self._size

    def read_at(self, offset: int, size: int) -> bytes:
        """See `ByteSource.read_at`."""
        check_range(self, offset, size)
        if self._file is None:
            raise LibraryError("the file is not open")
        try:
            self._file.seek(offset)
            data = self._file.read(size)
        except OSError as error:
            raise LibraryError(error.strerror or str(error)) from error
        if len(data) != size:
            raise LibraryError("the file became shorter while it was read")
        return data


class BytesSource:
    """A source over bytes in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        """The number of bytes."""
        return len(self._data)

    def read_at(self, offset: int, size: int) -> bytes:
        """See `ByteSource.read_at`."""
        check_range(self, offset, size)
        return self._data[offset : offset + size]

"""Random access to the bytes of a library, wherever they come from."""

from __future__ import annotations

from typing import Protocol

from torch_abi_audit.errors import LibraryError


class ByteSource(Protocol):
    """The bytes of one file. Reading forward is cheap, reading backward may not be."""

    @property
    def size(self) -> int:
        """The file's length in bytes."""

    def read_at(self, offset: int, size: int) -> bytes:
        """Return exactly `size` bytes from `offset`.

        Raises:
            LibraryError: The range does not lie in the file, or can't be read.
        """


def check_range(source: ByteSource, offset: int, size: int) -> None:
    """Raise `LibraryError` unless the range lies in the source."""
    if offset < 0 or size < 0 or offset + size > source.size:
        raise LibraryError(
            f"truncated: bytes {offset} to {offset + size} are outside its {source.size} bytes"
        )


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

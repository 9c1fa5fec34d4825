"""The file that an archive is in, wherever it lies: opened any number of times, for threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from torch_abi_audit.archive.directory import require_file

if TYPE_CHECKING:
    import zipfile
    from pathlib import Path
    from typing import IO


class ArchiveFile(Protocol):
    """The bytes of an archive.

    Attributes:
        name: The filename, without folders.
        remote: Whether each read costs a request, so that what no reader needs is left unread.
    """

    name: str
    remote: bool

    @property
    def size(self) -> int:
        """The length in bytes."""

    def open(self) -> IO[bytes]:
        """Open the file for one thread.

        Raises:
            AuditError: It can't be opened.
            OSError: The same.
        """

    def metadata_of(self, info: zipfile.ZipInfo) -> bytes | None:
        """Return the contents of ``METADATA`` if they are to be had outside of the archive."""


class LocalFile:
    """An archive on disk.

    Args:
        path: Where it is.
        name: The filename to take it by, where that is another.
    """

    remote = False

    def __init__(self, path: Path, name: str | None = None) -> None:
        self._path = path
        self.name = path.name if name is None else name

    @property
    def size(self) -> int:
        """See `ArchiveFile`."""
        return self._path.stat().st_size

    def open(self) -> IO[bytes]:
        """See `ArchiveFile`; a pipe is not waited for."""
        require_file(self._path)
        return open(self._path, "rb", buffering=0)  # noqa: PTH123 -- closed by the caller

    def metadata_of(self, info: zipfile.ZipInfo) -> bytes | None:  # noqa: ARG002
        """See `ArchiveFile`: never."""
        return None

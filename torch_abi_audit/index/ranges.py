"""The parts of one file on a server, as `archive.remote` reads them."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from torch_abi_audit.archive.directory import open_zip
from torch_abi_audit.archive.remote import Fetched, RemoteFile
from torch_abi_audit.budget import Budget, Limits
from torch_abi_audit.index.session import Session

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Iterator

    from torch_abi_audit.index.sources import Sources

_PATIENCE = 24 * 60 * 60  # seconds: of torch's wheels, hundreds of megabytes are read


class FileRanges:
    """Fetches parts of a file; see `archive.remote.Ranges`.

    Args:
        session: What fetches.
        url: Where the file is.
    """

    def __init__(self, session: Session, url: str) -> None:
        self._session = session
        self._url = url

    def tail(self, size: int) -> Fetched:
        """See `archive.remote.Ranges`; raises `NoRanges` where the server has none."""
        return Fetched(*self._session.tail(self._url, size))

    def range(self, first: int, last: int, total: int) -> bytes:
        """See `archive.remote.Ranges`."""
        return self._session.range(self._url, first, last, total=total).data


@contextmanager
def open_published(url: str, sources: Sources) -> Iterator[zipfile.ZipFile]:
    """Open an archive on a server, or one of a local index, of which only parts are read.

    Args:
        url: Where it is.
        sources: How servers are reached.

    Raises:
        AuditError: It can't be read, or the server does not serve ranges.
    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        with open_zip(Path(url2pathname(parts.path))) as archive:
            yield archive
        return
    patient = Limits(seconds=_PATIENCE, waiting=_PATIENCE)
    with Session(sources) as session:
        name = PurePosixPath(parts.path).name
        remote = RemoteFile(name, FileRanges(session, url), Budget(patient))
        with remote.open() as file, open_zip(file) as archive:
            yield archive

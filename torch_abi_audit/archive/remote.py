"""Wheels on a package index, read in place over HTTP range requests.

The network is used only if the user names an index: nothing here has a default URL.
"""

from __future__ import annotations

import io
import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import date
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from urllib.parse import unquote, urldefrag, urljoin

from torch_abi_audit.errors import AuditError

if TYPE_CHECKING:
    from http.client import HTTPResponse

_JSON = "application/vnd.pypi.simple.v1+json"
_BLOCK = 4 << 20
_KEPT_BLOCKS = 8  # of a file: readers mostly go forward
_TRIES = 4
_TIMEOUT = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class IndexFile:
    """One file of a project on an index.

    Attributes:
        filename: The file's name.
        url: Where it is.
        yanked: Whether installers should ignore it.
        uploaded: The day on which it was uploaded; None if the index does not say.
    """

    filename: str
    url: str
    yanked: bool = False
    uploaded: date | None = None


def project_files(index_url: str, project: str) -> list[IndexFile]:
    """List a project's files, in the order of the index.

    Args:
        index_url: The root of a simple repository (PEP 503, PEP 691), as HTML or JSON.
        project: The project's normalized name.

    Raises:
        AuditError: The index does not answer, or does not answer with such a page.
    """
    page = urljoin(index_url.rstrip("/") + "/", f"{project}/")
    with _open(page, {"Accept": f"{_JSON}, text/html;q=0.5"}) as response:
        body = response.read()
        kind = response.headers.get_content_type()
    if kind == _JSON:
        return [
            IndexFile(
                file["filename"],
                urljoin(page, file["url"]),
                bool(file.get("yanked")),
                _day(file.get("upload-time")),
            )
            for file in json.loads(body)["files"]
        ]
    parser = _Links()
    parser.feed(body.decode("utf-8", "replace"))
    return [
        IndexFile(unquote(urldefrag(href).url.rpartition("/")[2]), urljoin(page, href), yanked)
        for href, yanked in parser.links
    ]


def _day(time_stamp: str | None) -> date | None:
    """Return the day, in UTC, of a PEP 700 timestamp."""
    try:
        return date.fromisoformat((time_stamp or "")[:10])
    except ValueError:
        return None


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[tuple[str, bool]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        href = values.get("href")
        if tag == "a" and href:
            self.links.append((href, "data-yanked" in values))


class RangeFile(io.RawIOBase):
    """A remote file as a seekable stream that fetches blocks and keeps the last few.

    Raises:
        AuditError: The server does not answer, or does not serve ranges.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self._blocks: dict[int, bytes] = {}
        self._position = 0
        with _open(url, {"Range": "bytes=0-0"}) as response:
            total = response.headers.get("Content-Range", "").rpartition("/")[2]
        if not total.isdigit():
            raise AuditError(f"{url}: the server does not support range requests")
        self.size = int(total)
        self.fetched = 0  # bytes

    def readable(self) -> bool:
        """Always true."""
        return True

    def seekable(self) -> bool:
        """Always true."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to an offset, as `io.IOBase.seek` does."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}
        self._position = start[whence] + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Return the next `size` bytes, fewer at the end, all that are left if negative."""
        end = self.size if size < 0 else min(self._position + size, self.size)
        parts = []
        while self._position < end:
            number, start = divmod(self._position, _BLOCK)
            part = self._block(number)[start : start + end - self._position]
            self._position += len(part)
            parts.append(part)
        return b"".join(parts)

    def _block(self, number: int) -> bytes:
        if number not in self._blocks:
            first = number * _BLOCK
            last = min(first + _BLOCK, self.size) - 1
            with _open(self._url, {"Range": f"bytes={first}-{last}"}) as response:
                data: bytes = response.read()
            if len(data) != last + 1 - first:
                raise AuditError(f"{self._url}: the server sent {len(data)} bytes of a range")
            self.fetched += len(data)
            self._blocks[number] = data
            if len(self._blocks) > _KEPT_BLOCKS:
                del self._blocks[next(iter(self._blocks))]
        return self._blocks[number]


def _open(url: str, headers: dict[str, str]) -> HTTPResponse:
    if not url.startswith(("https://", "http://")):
        raise AuditError(f"{url}: not an HTTP address")
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 -- checked above
    for attempt in range(_TRIES):
        try:
            response: HTTPResponse = urllib.request.urlopen(request, timeout=_TIMEOUT)  # noqa: S310
        except urllib.error.HTTPError as error:
            if error.code < 500 or attempt == _TRIES - 1:
                raise AuditError(f"{url}: {error}") from error
        except OSError as error:
            if attempt == _TRIES - 1:
                raise AuditError(f"{url}: {error}") from error
        else:
            return response
        time.sleep(2**attempt)
    raise AssertionError("unreachable")

"""HTTP for package indexes: one session that stays within time and memory on any server.

`requests` sends, and urllib3's `Retry` says whether and when to send again.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
import zlib
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import urljoin, urlsplit

from torch_abi_audit.errors import AuditError, SourceError
from torch_abi_audit.index import require
from torch_abi_audit.index.connections import Limits, Watch, http_session
from torch_abi_audit.index.credentials import Keys, without_credentials
from torch_abi_audit.index.failures import (
    StatusError,
    failure,
    is_final,
    shown,
    status_error,
    why,
)

require()

import requests  # noqa: E402 -- they come with the extra, which is checked first
from requests.auth import HTTPBasicAuth  # noqa: E402
from urllib3 import exceptions as of_urllib3  # noqa: E402
from urllib3.util.retry import Retry  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Self

    from torch_abi_audit.index.sources import Sources

_Read = TypeVar("_Read")

_MOST_REDIRECTS = 5
_AGAIN = frozenset({429, 500, 502, 503, 504})
_NO_RANGES = frozenset({200, 405, 416, 501})
_PIECE = 1 << 16
_SMALL = 1 << 14  # a body that is read to its end to keep the connection
_GZIP = b"\x1f\x8b"
_MOST_MEMBERS = 10  # of a body; servers send one
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", re.ASCII)


class Answer(NamedTuple):
    """A page.

    Attributes:
        url: Where it was in the end, after redirects, without credentials.
        body: The whole body, decoded.
        content_type: The header; empty if there was none.
    """

    url: str
    body: bytes
    content_type: str


class Part(NamedTuple):
    """Bytes of a file.

    Attributes:
        data: The bytes.
        first: The offset of the first one.
        total: The size of the file.
    """

    data: bytes
    first: int
    total: int


class NoRanges(SourceError):  # noqa: N818 -- what the server has, not what went wrong
    """The server does not serve parts of this file, but may serve all of it."""


class _Again(Exception):  # noqa: N818 -- never leaves this module
    """A request failed in a way that sending it again may help."""

    def __init__(self, failure: SourceError, answer: Any = None) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.answer = answer  # urllib3's, if one with a status has come


@dataclass(slots=True)
class _Tries:
    """The attempts at one request: how many are left, and until when."""

    retry: Retry
    until: float  # of time.monotonic()
    made: int = 1

    def wait(self, again: _Again) -> None:
        """Wait as long as `Retry` and the server say, or raise what went wrong."""
        try:
            self.retry = self.retry.increment("GET", None, again.answer)
        except of_urllib3.MaxRetryError:
            raise self._given_up(again) from again
        seconds = self._seconds(again)
        if time.monotonic() + seconds >= self.until:
            raise self._given_up(again) from again
        time.sleep(seconds)
        self.made += 1

    def _seconds(self, again: _Again) -> float:
        asked = None
        if again.answer is not None:
            # What is no time, or none that fits into a number, is as good as no header.
            with contextlib.suppress(of_urllib3.HTTPError, ValueError, OverflowError):
                asked = self.retry.get_retry_after(again.answer)
        return asked or self.retry.get_backoff_time()

    def _given_up(self, again: _Again) -> SourceError:
        if self.made == 1:
            return again.failure
        message = f"{again.failure} ({self.made} attempts)"
        if isinstance(again.failure, StatusError):
            return StatusError(message, again.failure.status)
        return SourceError(message)


class Session:
    """Requests to package indexes. A context manager; any number of threads may use it.

    Attributes:
        requests: How many requests have been sent, redirects and repetitions included.
        fetched: How many bytes of bodies have come, as they were sent.
    """

    def __init__(
        self,
        sources: Sources,
        *,
        at_once: int = 6,
        limits: Limits = Limits(),  # noqa: B008 -- frozen
    ) -> None:
        """Make a session; nothing is sent yet.

        Args:
            sources: Whom to ask, and how.
            at_once: The most requests to one host at the same time.
            limits: How long a server may take.

        Raises:
            AuditError: A configured certificate cannot be read.
        """
        self.requests = 0
        self.fetched = 0
        self._sources = sources
        self._at_once = at_once
        self._limits = limits
        self._retry = Retry(
            total=sources.retries,
            status_forcelist=_AGAIN,
            backoff_factor=limits.backoff,
            backoff_max=limits.longest_wait,
            retry_after_max=limits.longest_wait,  # type: ignore[arg-type]  # any number will do
        )
        self._lock = threading.Lock()
        self._slots: dict[str, threading.Semaphore] = {}
        self._keys = Keys(sources)
        self._http = http_session(sources, limits.answer_within, at_once)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def get(self, url: str, accept: str | None = None, *, most: int) -> Answer:
        """Fetch a page.

        Args:
            url: Where it is; may have credentials.
            accept: The `Accept` header.
            most: The most bytes that its body may have.

        Raises:
            StatusError: The server answered with another status than 200.
            AuditError: The page did not come, or is too large.
        """
        headers = {"Accept": accept or "*/*", "Accept-Encoding": "gzip"}

        def read(response: requests.Response, tries: _Tries) -> Answer:
            self._expect(response, 200)
            encoding = _encoding(response)
            if encoding not in {"", "gzip"}:
                raise failure(url, f"the body is encoded as {shown(encoding)}")
            body = self._body(response, tries, most, url)
            if encoding:
                body = _inflated(body, most, url)
            return Answer(str(response.url), body, response.headers.get("Content-Type", ""))

        return self._exchange(url, headers, read)

    def range(self, url: str, first: int, last: int, *, total: int | None = None) -> Part:
        """Fetch the bytes of a file from one offset to another, both included.

        Args:
            url: Where it is; may have credentials.
            first: The offset of the first byte.
            last: The offset of the last byte; may be past the end of the file.
            total: The size of the file, if it is known.

        Raises:
            NoRanges: The server does not serve ranges.
            StatusError: The server answered with another error.
            AuditError: The bytes did not come, or others than those asked for.
        """
        wanted = f"bytes {first}-{last}"

        def check(got: tuple[int, int, int]) -> bool:
            return got[0] == first and got[1] == min(last, got[2] - 1)

        return self._part(url, f"bytes={first}-{last}", wanted, check, total)

    def tail(self, url: str, size: int) -> Part:
        """Fetch the last bytes of a file, or all of it if it has fewer.

        Args:
            url: Where it is; may have credentials.
            size: How many bytes.

        Raises:
            NoRanges: The server does not serve such ranges.
            StatusError: The server answered with another error.
            AuditError: The bytes did not come, or others than those asked for.
        """

        def check(got: tuple[int, int, int]) -> bool:
            return got[0] == max(got[2] - size, 0) and got[1] == got[2] - 1

        return self._part(url, f"bytes=-{size}", f"the last {size} bytes", check, None)

    def stream(self, url: str, *, most: int) -> Iterator[bytes]:
        """Fetch a whole file in pieces. The host's slot is taken until the last one.

        Args:
            url: Where it is; may have credentials.
            most: The most bytes that it may have.

        Yields:
            The next bytes.

        Raises:
            StatusError: The server answered with another status than 200.
            AuditError: The file did not come whole, or is too large.
        """
        tries = self._tries()
        headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
        given: int = 0
        mark = None
        while True:
            try:
                with self._opened(url, headers, tries) as response:
                    self._expect(response, 200)
                    self._expect_plain(response, url)
                    again = _mark(response)
                    if given and again != mark:
                        raise failure(url, "the file changed while it was read")
                    mark = again
                    skip: int = given  # it broke off after these
                    for piece in self._pieces(response, None, most, url):
                        rest = piece[skip:]
                        skip -= len(piece) - len(rest)
                        if rest:
                            given += len(rest)
                            yield rest
            except _Again as broken:
                tries.wait(broken)
            else:
                return

    def _part(
        self,
        url: str,
        asked: str,
        wanted: str,
        check: Callable[[tuple[int, int, int]], bool],
        total: int | None,
    ) -> Part:
        headers = {"Accept": "*/*", "Accept-Encoding": "identity", "Range": asked}

        def read(response: requests.Response, tries: _Tries) -> Part:
            if response.status_code in _NO_RANGES:
                raise NoRanges(str(failure(url, "the server does not serve parts of the file")))
            self._expect(response, 206)
            self._expect_plain(response, url)
            got = _content_range(response, url)
            size = f" instead of {total}" if total not in {None, got[2]} else ""
            if size or not check(got):
                what = f"bytes {got[0]}-{got[1]} of {got[2]}"
                raise failure(url, f"the server sent {what}{size or f' instead of {wanted}'}")
            length = got[1] - got[0] + 1
            data = self._body(response, tries, length, url)
            if len(data) != length:
                raise failure(url, f"the server sent {len(data)} bytes of {length}")
            return Part(data, got[0], got[2])

        return self._exchange(url, headers, read)

    def _exchange(
        self,
        url: str,
        headers: dict[str, str],
        read: Callable[[requests.Response, _Tries], _Read],
    ) -> _Read:
        """Send a request until its answer has been read whole, as often as `Retry` allows."""
        tries = self._tries()
        while True:
            try:
                with self._opened(url, headers, tries) as response:
                    return read(response, tries)
            except _Again as again:
                tries.wait(again)

    def _tries(self) -> _Tries:
        return _Tries(self._retry, time.monotonic() + self._limits.longest)

    @contextlib.contextmanager
    def _opened(
        self, url: str, headers: dict[str, str], tries: _Tries
    ) -> Iterator[requests.Response]:
        """Send a request, follow redirects, and yield the answer that is none."""
        target = url
        for _ in range(_MOST_REDIRECTS + 1):
            _check_address(target, url)
            with self._slot(target, tries), self._answer(target, headers) as response:
                try:
                    to = self._http.get_redirect_target(response)
                except UnicodeError as error:
                    what = "the address that the server redirects to is malformed"
                    raise failure(url, what) from error
                if to is None:
                    if response.status_code in _AGAIN:
                        self._drain(response)
                        raise _Again(status_error(response), response.raw)
                    yield response
                    return
                self._drain(response)
            with contextlib.suppress(ValueError):  # then it is checked as it came
                to = urljoin(str(response.url), to)
            target = to
        raise failure(url, f"more than {_MOST_REDIRECTS} redirects")

    @contextlib.contextmanager
    def _slot(self, url: str, tries: _Tries) -> Iterator[None]:
        """Wait for the turn to ask a host. That wait is not the server's."""
        host = urlsplit(url).netloc.rpartition("@")[2].lower()
        with self._lock:
            slot = self._slots.setdefault(host, threading.Semaphore(self._at_once))
        begin = time.monotonic()
        with slot:
            tries.until += time.monotonic() - begin
            yield

    @contextlib.contextmanager
    def _answer(self, url: str, headers: dict[str, str]) -> Iterator[requests.Response]:
        """Send one request; after a 401, once more with what keyring has for the host."""
        response = self._send(url, headers, self._keys.known(url))
        try:
            if response.status_code == HTTPStatus.UNAUTHORIZED:
                found = self._keys.asked(url)
                if found is not None:
                    self._drain(response)
                    response.close()
                    response = self._send(url, headers, found)
            yield response
        finally:
            response.close()

    def _send(
        self, url: str, headers: dict[str, str], credentials: tuple[str, str] | None
    ) -> requests.Response:
        sources = self._sources
        with self._lock:
            self.requests += 1
        try:
            plain = without_credentials(url)
            auth = HTTPBasicAuth(*(part.encode() for part in credentials)) if credentials else None
            proxies = (
                {"http": sources.proxy, "https": sources.proxy}
                if sources.proxy
                else requests.utils.get_environ_proxies(plain)
            )
            return self._http.send(
                self._http.prepare_request(
                    requests.Request("GET", plain, headers=headers, auth=auth)
                ),
                stream=True,
                timeout=sources.timeout,
                verify=sources.certificate or True,
                cert=sources.client_certificate,
                proxies=proxies,
                allow_redirects=False,
            )
        except (OSError, ValueError, of_urllib3.HTTPError) as error:
            failed = failure(url, why(error, sources.timeout))
            if is_final(error):
                raise failed from error
            raise _Again(failed) from error

    def _expect(self, response: requests.Response, status: int) -> None:
        if response.status_code != status:
            self._drain(response)
            raise status_error(response)

    @staticmethod
    def _expect_plain(response: requests.Response, url: str) -> None:
        if _encoding(response) not in {"", "identity"}:
            encoding = shown(_encoding(response))
            raise failure(url, f"the server sent the file encoded as {encoding}")

    def _body(self, response: requests.Response, tries: _Tries, most: int, url: str) -> bytes:
        body = bytearray()
        for piece in self._pieces(response, tries.until, most, url):
            body += piece
        return bytes(body)

    def _drain(self, response: requests.Response) -> None:
        """Read a small body that nobody wants, so that its connection can be used again."""
        length = response.headers.get("Content-Length", "")
        if length.isascii() and length.isdigit() and len(length) < 9 and int(length) <= _SMALL:
            with contextlib.suppress(AuditError, _Again):
                for _ in self._pieces(response, None, _SMALL, str(response.url)):
                    pass

    def _pieces(
        self,
        response: requests.Response,
        until: float | None,
        most: int,
        url: str,
    ) -> Iterator[bytes]:
        """Yield a body as it comes, `most` bytes at most."""
        raw = response.raw
        received = 0
        with Watch(raw.shutdown, self._limits, until) as watch:
            try:
                while True:
                    try:
                        piece = raw.read1(min(_PIECE, most - received + 1))
                    except (OSError, ValueError, of_urllib3.HTTPError) as error:
                        watch.check(url)
                        said = why(error, self._sources.timeout)
                        raise _Again(failure(url, f"{said} after {received} bytes")) from error
                    watch.check(url)
                    if not piece:
                        break
                    received += len(piece)
                    if received > most:
                        raise failure(url, f"the server sent more than {most} bytes")
                    watch.pause(raw.tell())
                    yield piece
                    watch.go_on()
            finally:
                with self._lock:
                    self.fetched += raw.tell()
        if not received and raw.length_remaining is None and not raw.chunked:
            # Headers that break off look like these, and a body that ends with the connection.
            raise _Again(failure(url, "the connection broke off after 0 bytes"))


def _check_address(target: str, url: str) -> None:
    """Check that a URL, or where it redirects to, is an HTTP address."""
    what = "the address" if target == url else "the address that the server redirects to"
    try:
        scheme = urlsplit(target).scheme
    except ValueError as error:
        raise failure(url, f"{what} is malformed") from error
    if scheme not in {"http", "https"}:
        raise failure(url, f"{what} is not HTTP")
    if scheme == "http" and url.startswith("https:"):
        raise failure(url, f"{what} is not encrypted")  # anybody could answer from there


def _inflated(data: bytes, most: int, url: str) -> bytes:
    """Return a body without its gzip encoding; urllib3 takes one that breaks off for whole."""
    found = bytearray()
    for _ in range(_MOST_MEMBERS):
        stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
        try:
            found += stream.decompress(data, most + 1 - len(found))
        except zlib.error as error:
            raise failure(url, "the body cannot be decoded") from error
        if len(found) > most:
            raise failure(url, f"the server sent more than {most} bytes")
        if not stream.eof:
            raise failure(url, "the body breaks off")
        data = stream.unused_data
        if not data.startswith(_GZIP):  # another member; whatever else it is, it does not count
            return bytes(found)
    raise failure(url, "the body cannot be decoded")


def _encoding(response: requests.Response) -> str:
    return response.headers.get("Content-Encoding", "").strip().lower()


def _mark(response: requests.Response) -> tuple[str | None, ...]:
    names = ("ETag", "Last-Modified", "Content-Length")
    return (response.url, *(response.headers.get(name) for name in names))


def _content_range(response: requests.Response, url: str) -> tuple[int, int, int]:
    """Return the first and last offset that the server sent, and the size of the file."""
    if response.headers.get("Content-Type", "").lower().startswith("multipart/"):
        raise failure(url, "the server sent several parts instead of one range")
    header = response.headers.get("Content-Range", "")
    match = _CONTENT_RANGE.fullmatch(header.strip())
    if match is None:
        said = f"Content-Range {shown(header, 40)!r}" if header else "no Content-Range"
        raise failure(url, f"the server sent a range with {said}")
    if match[3] == "*":
        raise NoRanges(str(failure(url, "the server does not say how large the file is")))
    first, last, total = (int(number) for number in match.groups())
    if not first <= last < total:
        raise failure(url, f"the server sent bytes {first}-{last} of {total}")
    return first, last, total

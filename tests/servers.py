"""A server on this machine that is a package index, and misbehaves where it is told to.

    with Server() as server:
        server.add("demo", "demo-1.0-py3-none-any.whl", data)
        server.misbehave("/files/demo-1.0-py3-none-any.whl", Fault(status=503), times=2)
        ...  # audit from `server.index`

Every path serves ranges, and every page comes as JSON or HTML, as the client asks for it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self, cast
from urllib.parse import urlsplit

JSON = "application/vnd.pypi.simple.v1+json"


@dataclass(frozen=True)
class Fault:
    """What is wrong with an answer; without arguments, nothing."""

    status: int | None = None  # answered with a short body
    code: int | None = None  # instead of 200 or 206, of the answer that is right otherwise
    headers: Mapping[str, str] = field(default_factory=dict)  # more, or others; "" leaves one out
    body: bytes | None = None  # instead of the right one, which the other headers are about
    delay: float = 0.0  # seconds before the first byte
    silent: bool = False  # no answer at all, and the connection stays open
    hang_up: bool = False  # no answer, and the connection is closed
    drip_headers: float = 0.0  # seconds between two bytes
    drip_body: float = 0.0
    break_after: int | None = None  # bytes of the body, then the connection is closed
    ignore_range: bool = False  # 200, and all of it
    user: str | None = None  # "user:password" that has to be sent
    gzip: bool = False
    chunked: bool = False
    endless: bool = False  # the body, again and again, in chunks

    def __str__(self) -> str:
        """Name what is wrong, for the name of a test."""
        right = vars(Fault())
        changed = (
            f"{key}={value}"[:60] for key, value in vars(self).items() if value != right[key]
        )
        return " ".join(changed)


@dataclass
class Page:
    """One file of a project, as the pages of the index have it."""

    filename: str
    sha256: str
    size: int
    yanked: bool
    metadata: str | None  # the hash of the file with the metadata
    requires_python: str | None
    url: str


@dataclass
class Request:
    """What a client has asked."""

    path: str
    headers: Mapping[str, str]


class Server:
    """Listens on a free port of 127.0.0.1 while it is open."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[bytes, str]] = {}  # by path: data and content type
        self.projects: dict[str, list[Page]] = {}
        self.requests: list[Request] = []
        self.most_at_once = 0
        self.connections = 0
        self.stopping = threading.Event()
        self._at_once = 0
        self._lock = threading.Lock()
        self._faults: dict[str, list[tuple[Fault, int | None]]] = {}
        self._httpd = _Http(("127.0.0.1", 0), _Handler)
        self._httpd.owner = self
        self._thread = threading.Thread(
            target=self._httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stopping.set()
        self._httpd.shutdown()
        self._httpd.server_close()
        self._thread.join()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._httpd.server_address[1]}"

    @property
    def index(self) -> str:
        return self.url("/simple")

    def url(self, path: str, user: str | None = None) -> str:
        return f"http://{f'{user}@' if user else ''}{self.host}{path}"

    def serve(self, path: str, data: bytes, content_type: str = "application/zip") -> str:
        """Serve bytes at a path; return the URL."""
        self.files[path] = data, content_type
        return self.url(path)

    def add(
        self,
        project: str,
        filename: str,
        data: bytes,
        *,
        yanked: bool = False,
        metadata: bytes | None = None,
        requires_python: str | None = None,
        url: str | None = None,
    ) -> str:
        """Offer a file of a project on the index; return its path."""
        path = f"/files/{filename}"
        self.serve(path, data)
        if metadata is not None:
            self.serve(f"{path}.metadata", metadata, "text/plain")
        self.projects.setdefault(project, []).append(
            Page(
                filename,
                hashlib.sha256(data).hexdigest(),
                len(data),
                yanked,
                None if metadata is None else hashlib.sha256(metadata).hexdigest(),
                requires_python,
                url or f"../../files/{filename}",
            )
        )
        return path

    def add_folder(self, project: str, folder: Path) -> list[str]:
        """Offer the wheels of a folder as files of a project; return their paths."""
        wheels = sorted(folder.glob("*.whl"))
        return [self.add(project, wheel.name, wheel.read_bytes()) for wheel in wheels]

    def misbehave(self, path: str, fault: Fault, *, times: int | None = None) -> None:
        """Answer a path wrongly: so many times, or always. Faults are used up in order."""
        self._faults.setdefault(path, []).append((fault, times))

    def mend(self) -> None:
        """Answer everything rightly from now on."""
        with self._lock:
            self._faults.clear()

    def asked(self, path: str) -> list[Request]:
        """Return the requests for a path."""
        return [request for request in self.requests if request.path == path]

    def _enter(self, request: Request) -> Fault:
        with self._lock:
            self.requests.append(request)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            faults = self._faults.get(request.path, [])
            if not faults:
                return Fault()
            fault, times = faults[0]
            if times is not None:
                faults[0] = fault, times - 1
                if times == 1:
                    del faults[0]
            return fault

    def _leave(self) -> None:
        with self._lock:
            self._at_once -= 1

    def _connected(self) -> None:
        with self._lock:
            self.connections += 1

    def _content(self, path: str, accept: str) -> tuple[bytes, str] | None:
        match = re.fullmatch(r"/simple/([^/]+)/", path)
        if match is None or path in self.files:
            return self.files.get(path)
        pages = self.projects.get(match[1])
        if pages is None:
            return None
        if JSON in accept:
            return json_page(match[1], pages), JSON
        return html_page(pages), "text/html; charset=utf-8"


def json_page(project: str, pages: list[Page]) -> bytes:
    files = [
        {
            "filename": page.filename,
            "url": page.url,
            "hashes": {"sha256": page.sha256},
            "size": page.size,
            "upload-time": "2026-01-02T03:04:05.678Z",
            "yanked": page.yanked,
            "core-metadata": {"sha256": page.metadata} if page.metadata else False,
            "requires-python": page.requires_python,
        }
        for page in pages
    ]
    body = {"meta": {"api-version": "1.1"}, "name": project, "versions": [], "files": files}
    return json.dumps(body).encode()


def html_page(pages: list[Page]) -> bytes:
    lines = ["<!DOCTYPE html><html><body>"]
    for page in pages:
        attributes = ""
        if page.yanked:
            attributes += ' data-yanked=""'
        if page.metadata:
            attributes += f' data-core-metadata="sha256={page.metadata}"'
        if page.requires_python:
            attributes += f' data-requires-python="{escape(page.requires_python)}"'
        target = f"{page.url}#sha256={page.sha256}"
        lines.append(f'<a href="{escape(target)}"{attributes}>{escape(page.filename)}</a><br>')
    return "\n".join([*lines, "</body></html>"]).encode()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    owner: Server

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that hang up are what the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def owner(self) -> Server:
        return cast("_Http", self.server).owner

    def setup(self) -> None:
        super().setup()
        self.owner._connected()  # noqa: SLF001

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep the output of the tests clean."""

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        fault = self.owner._enter(Request(path, dict(self.headers.items())))  # noqa: SLF001
        try:
            self._answer(path, fault)
        except OSError:
            self.close_connection = True
        finally:
            self.owner._leave()  # noqa: SLF001

    def _answer(self, path: str, fault: Fault) -> None:
        self.owner.stopping.wait(fault.delay)
        if fault.silent:
            self.owner.stopping.wait(60)
        if fault.silent or fault.hang_up:
            self.close_connection = True
            return
        status, headers, body = self._right(path, fault)
        if fault.gzip:
            body = gzip.compress(body)
            headers |= {"Content-Encoding": "gzip", "Content-Length": str(len(body))}
        if fault.chunked or fault.endless:
            headers |= {"Transfer-Encoding": "chunked"}
            del headers["Content-Length"]
        headers |= fault.headers
        if fault.break_after is not None:
            headers["Connection"] = "close"
        lines = [f"{name}: {value}" for name, value in headers.items() if value]
        head = "\r\n".join([f"HTTP/1.1 {fault.code or status} Any", *lines, "", ""]).encode(
            "latin-1"
        )
        self._drip(head, fault.drip_headers)
        self._send_body(fault.body if fault.body is not None else body, fault)

    def _right(self, path: str, fault: Fault) -> tuple[int, dict[str, str], bytes]:
        """Return the status, headers and body that would be right, but for the status."""
        wanted = f"Basic {b64encode((fault.user or '').encode()).decode()}"
        if fault.user is not None and self.headers.get("Authorization") != wanted:
            return self._text(401) if fault.status is None else self._text(fault.status)
        if fault.status is not None:
            return self._text(fault.status)
        content = self.owner._content(path, self.headers.get("Accept", ""))  # noqa: SLF001
        if content is None:
            return self._text(404)
        data, kind = content
        headers = {"Content-Type": kind, "Accept-Ranges": "bytes", "ETag": f'"{len(data)}"'}
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if asked is None or fault.ignore_range:
            return 200, headers | {"Content-Length": str(len(data))}, data
        if asked[1]:
            first, last = int(asked[1]), min(int(asked[2] or len(data)), len(data) - 1)
        else:
            first, last = max(len(data) - int(asked[2]), 0), len(data) - 1
        if first > last:
            return self._text(416)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        part = data[first : last + 1]
        return 206, headers | {"Content-Length": str(len(part))}, part

    @staticmethod
    def _text(status: int) -> tuple[int, dict[str, str], bytes]:
        body = f"this is {status}".encode()
        headers = {"Content-Type": "text/plain", "Content-Length": str(len(body))}
        if status == 401:
            headers["WWW-Authenticate"] = 'Basic realm="test"'
        return status, headers, body

    def _send_body(self, body: bytes, fault: Fault) -> None:
        if fault.break_after is not None:
            self.wfile.write(body[: fault.break_after])
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif fault.endless:
            while not self.owner.stopping.is_set():
                self._chunk(body)
                time.sleep(0.001)
        elif fault.chunked:
            self._chunk(body)
            self.wfile.write(b"0\r\n\r\n")
        else:
            self._drip(body, fault.drip_body)

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _drip(self, data: bytes, seconds: float) -> None:
        if not seconds:
            self.wfile.write(data)
            return
        for byte in data:
            self.wfile.write(bytes([byte]))
            if self.owner.stopping.wait(seconds):
                return

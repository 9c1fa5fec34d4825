"""Connections that stay within time on any server, and trust what the system trusts.

A time-out is for the next bytes: a server that sends one byte after another never runs into it.
So a timer shuts the connection down when headers take too long, or when a body comes too slowly.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from torch_abi_audit import __version__
from torch_abi_audit.errors import AuditError
from torch_abi_audit.index import require
from torch_abi_audit.index.failures import TooSlow, failure

require()

import requests  # noqa: E402 -- they come with the extra, which is checked first
import truststore  # noqa: E402
import urllib3  # noqa: E402
from requests.adapters import HTTPAdapter  # noqa: E402
from urllib3.connection import HTTPConnection, HTTPSConnection  # noqa: E402
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Self

    from torch_abi_audit.index.sources import Sources

_USER_AGENT = f"torch-abi-audit/{__version__}"


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a server may take.

    Attributes:
        answer_within: Seconds within which the headers of an answer have to be complete.
        slow_window: Seconds over which the speed of a body is measured.
        slowest: Bytes a second; a body that comes more slowly is given up.
        longest: Seconds for a page or a part of a file, with all attempts and waits. Of a whole
            file only the speed counts.
        longest_wait: Seconds to wait between two attempts, whatever the server asks for.
        backoff: Half the seconds to wait before the third attempt; each later one waits twice
            as long.
    """

    answer_within: float = 60.0
    slow_window: float = 30.0
    slowest: int = 1024
    longest: float = 600.0
    longest_wait: float = 30.0
    backoff: float = 0.25


class Watch:
    """Shuts a connection down when a body comes too slowly, or has taken too long."""

    def __init__(self, shut: Callable[[], None], limits: Limits, until: float | None) -> None:
        self._shut = shut
        self._limits = limits
        self._until = until
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._paused = False
        self._since = time.monotonic()
        self._received = 0  # bytes
        self._before = 0  # of them, when the window began
        self._why = ""

    def __enter__(self) -> Self:
        self._start(self._window_end())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = None

    def pause(self, received: int) -> None:
        """Note how many bytes have come; until `go_on` it is not the server that takes time."""
        with self._lock:
            self._received = received
            self._paused = True
            self._stopped = time.monotonic()

    def go_on(self) -> None:
        """Wait for the server again."""
        with self._lock:
            self._paused = False
            self._since += time.monotonic() - self._stopped

    def check(self, url: str) -> None:
        """Raise an error if the connection has been shut down."""
        if self._why:
            raise failure(url, self._why)

    def _window_end(self) -> float:
        end = self._since + self._limits.slow_window
        return end if self._until is None else min(end, self._until)

    def _start(self, when: float) -> None:
        self._timer = threading.Timer(max(when - time.monotonic(), 0.01), self._look)
        self._timer.daemon = True
        self._timer.start()

    def _look(self) -> None:
        with self._lock:
            if self._timer is None:
                return
            now = time.monotonic()
            limits = self._limits
            if self._until is not None and now >= self._until:
                self._why = f"not complete after {limits.longest:g} s"
            elif not self._paused and now >= self._since + limits.slow_window:
                came = self._received - self._before
                if came < limits.slowest * limits.slow_window:
                    self._why = f"only {came} bytes came in {limits.slow_window:g} s"
                self._since, self._before = now, self._received
            if not self._why:
                self._start(now + limits.slow_window if self._paused else self._window_end())
                return
        # The connection may be closed already, or back in the pool.
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            self._shut()


@contextlib.contextmanager
def _shut_after(connection: HTTPConnection, seconds: float) -> Iterator[None]:
    """Shut a connection down if the block takes longer."""
    expired = threading.Event()

    def shut() -> None:
        expired.set()
        with contextlib.suppress(OSError, ValueError):
            if connection.sock is not None:
                connection.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, shut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception as error:
        if expired.is_set():
            raise TooSlow(f"the server did not answer within {seconds:g} s") from error
        raise
    finally:
        timer.cancel()
    if expired.is_set():
        raise TooSlow(f"the server did not answer within {seconds:g} s")


def _pools(seconds: float) -> dict[str, Any]:
    """Return urllib3's pools, of connections that answer within some seconds."""

    class Plain(HTTPConnection):
        def connect(self) -> None:
            with _shut_after(self, seconds):
                super().connect()

        def getresponse(self) -> urllib3.response.HTTPResponse:  # type: ignore[override]
            with _shut_after(self, seconds):
                return super().getresponse()

    class Secure(HTTPSConnection):
        def connect(self) -> None:
            with _shut_after(self, seconds):
                super().connect()

        def getresponse(self) -> urllib3.response.HTTPResponse:  # type: ignore[override]
            with _shut_after(self, seconds):
                return super().getresponse()

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


class _Adapter(HTTPAdapter):
    """An adapter whose connections answer in time, and trust what the system trusts."""

    def __init__(
        self, seconds: float, at_once: int, context: ssl.SSLContext | None, *, verified: bool
    ) -> None:
        self._pools = _pools(seconds)
        self._context = {} if context is None else {"ssl_context": context}
        self._verified = verified
        super().__init__(pool_maxsize=at_once)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **{**self._context, **kwargs})
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **{**self._context, **kwargs})
        manager.pool_classes_by_scheme = self._pools
        return manager

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        parent: Any = super()  # not typed in all versions
        parent.cert_verify(conn, url, verify if self._verified else False, cert)
        if self._context:
            # The context has the certificates of the system; requests' own would come on top.
            conn.ca_certs = None


class _OneByOne(requests.Session):
    """Leaves redirects alone; to prepare the next request, it would read a body without end."""

    def resolve_redirects(self, *_: Any, **__: Any) -> Any:
        return iter(())


def http_session(sources: Sources, seconds: float, at_once: int) -> requests.Session:
    """Make the session of `requests` that a `Session` sends with.

    Args:
        sources: Certificates and trusted hosts.
        seconds: How long headers may take.
        at_once: How many connections to one host are kept.

    Raises:
        AuditError: A configured certificate cannot be read.
    """
    for path in (sources.certificate, sources.client_certificate):
        if path and not os.access(path, os.R_OK):
            raise AuditError(f"{path}: the configured certificate cannot be read")
    if sources.certificate:
        folder = Path(sources.certificate).is_dir()
        try:
            ssl.create_default_context(
                cafile=None if folder else sources.certificate,
                capath=sources.certificate if folder else None,
            )
        except ssl.SSLError as error:
            raise AuditError(f"{sources.certificate}: not a certificate") from error
    http = _OneByOne()
    http.trust_env = False  # proxies, certificates and netrc are looked up here
    http.headers["User-Agent"] = _USER_AGENT
    http.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
    context = None if sources.certificate else truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    adapter = _Adapter(seconds, at_once, context, verified=True)
    http.mount("https://", adapter)
    http.mount("http://", adapter)
    if sources.trusted_hosts:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        insecure = _Adapter(seconds, at_once, None, verified=False)
        for host in sources.trusted_hosts:
            http.mount(f"https://{host}/", insecure)
            if not urlsplit(f"//{host}").port:
                http.mount(f"https://{host}:", insecure)
    return http

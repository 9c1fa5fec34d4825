"""Why a request failed: one plain line, without credentials and the texts of libraries."""

from __future__ import annotations

import socket
import ssl
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from torch_abi_audit.errors import SourceError
from torch_abi_audit.index import require

require()

from requests import exceptions as of_requests  # noqa: E402 -- of the extra, which is checked first
from urllib3 import exceptions as of_urllib3  # noqa: E402

if TYPE_CHECKING:
    import requests

_LONGEST_NAME = 80


class StatusError(SourceError):
    """The server answered with a status that is not a success."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class TooSlow(OSError):  # noqa: N818 -- says what the server is
    """The watch shut the connection down."""


def status_error(response: requests.Response) -> StatusError:
    """Return the error for an answer whose status is not a success."""
    status = response.status_code
    try:
        phrase = f" {HTTPStatus(status).phrase}"
    except ValueError:
        phrase = ""
    why = f"the server answered {status}{phrase}"
    if status == HTTPStatus.UNAUTHORIZED:
        sent = "Authorization" in response.request.headers
        why += "; the credentials were refused" if sent else "; no credentials were found"
    return StatusError(str(failure(str(response.url), why)), status)


def place_of(url: str) -> tuple[str, str]:
    """Return the host and the last part of the path, which are fit to be shown.

    Credentials, and whatever is in the query, are left out.

    >>> place_of("https://user:secret@example.org:8443/simple/torch/?token=secret")
    ('example.org:8443', 'torch')
    """
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 -- raises if it is not a number
    except ValueError:
        # A slash in a password ends the host: the password is what follows the colon then.
        return shown(url.rpartition("@")[2].partition("/")[0]) if "@" in url else "?", "?"
    path = parts.path if parts.netloc else parts.path.rpartition("@")[2]
    host = shown(parts.netloc.rpartition("@")[2]) or "?"
    return host, shown(path.rstrip("/").rpartition("/")[2] or "/")


def failure(url: str, why: str) -> SourceError:
    """Return the error for a request to a URL that failed."""
    host, name = place_of(url)
    return SourceError(f"cannot read {name} from {host}: {why}")


def shown(text: str, longest: int = _LONGEST_NAME) -> str:
    """Return text of a server's, short and in printable ASCII."""
    plain = "".join(letter if " " <= letter <= "~" else "?" for letter in text)
    return plain if len(plain) <= longest else plain[: longest - 3] + "..."


def _chain(error: BaseException) -> list[BaseException]:
    """Return an error and all that caused it, however the libraries have wrapped it."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting and len(found) < 50:
        cause = waiting.pop(0)
        if isinstance(cause, BaseException) and cause not in found:
            found.append(cause)
            waiting += [*cause.args, getattr(cause, "reason", None)]
            waiting += [cause.__cause__, cause.__context__]
    return found


_MALFORMED = (
    UnicodeError,
    of_requests.InvalidHeader,
    of_requests.InvalidSchema,
    of_requests.InvalidURL,
    of_urllib3.LocationValueError,
)
_BROKEN_OFF = "the connection broke off"


def is_final(error: BaseException) -> bool:
    """Say whether the same request would fail in the same way."""
    return any(
        isinstance(cause, (TooSlow, ssl.SSLCertVerificationError, *_MALFORMED))
        or (isinstance(cause, socket.gaierror) and cause.errno != socket.EAI_AGAIN)
        for cause in _chain(error)
    )


def why(error: BaseException, timeout: float) -> str:
    """Say in a few words why a request failed.

    Args:
        error: What `requests` or urllib3 raised.
        timeout: The time-out that was set, in seconds.
    """
    causes = [
        cause
        for cause in _chain(error)
        # A time-out to urllib3; what caused it says more.
        if not isinstance(cause, of_urllib3.NewConnectionError)
    ]
    return next(filter(None, (_said(cause, timeout) for cause in causes)), _BROKEN_OFF)


def _said(cause: BaseException, timeout: float) -> str | None:
    """Return the words for one of the errors in a chain; libraries' own texts have the URL."""
    match cause:
        case TooSlow():
            text = str(cause)
        case ssl.SSLCertVerificationError():
            said = getattr(cause, "verify_message", "") or "certificate verify failed"
            text = f"the server's certificate is not trusted: {shown(said)}"
        case socket.gaierror():
            text = "the host name cannot be resolved"
        case of_urllib3.ConnectTimeoutError():
            text = f"no connection within {timeout:g} s"
        case of_urllib3.ReadTimeoutError():
            text = f"the server sent nothing for {timeout:g} s"
        case ssl.SSLEOFError() | ConnectionResetError() | BrokenPipeError():
            text = _BROKEN_OFF
        case ssl.SSLError():
            text = f"TLS failed: {shown(cause.reason or 'unknown error')}"
        case OSError(strerror=str() as said):
            text = shown(said)
        case _ if isinstance(cause, _MALFORMED):
            whose = " of the proxy" if isinstance(cause, of_requests.InvalidProxyURL) else ""
            text = f"the address{whose} is malformed"
        case _:
            return None
    return text

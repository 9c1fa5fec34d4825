"""Credentials for the servers of indexes, from where pip's users keep them."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import subprocess
import threading
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import takewhile
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from torch_abi_audit.index import require

require()

from requests.utils import get_netrc_auth  # noqa: E402 -- of the extra, which is checked first

if TYPE_CHECKING:
    from torch_abi_audit.index.sources import Sources

_KEYRING_TIMEOUT = 30.0  # seconds
_PORTS = {"http": 80, "https": 443}


@dataclass(slots=True)
class Keys:
    """Credentials by host: those of the sources, netrc's, and keyring's."""

    sources: Sources
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _found: dict[tuple[str, str, int], tuple[str, str] | None] = field(default_factory=dict)

    def known(self, url: str) -> tuple[str, str] | None:
        """Return the credentials for a URL that are known without asking anybody."""
        origin = _origin(url)
        given = _credentials(url) or self._configured(url)
        if given is not None and given[1]:
            return given
        with self._lock:
            found = self._found.get(origin)
        return found or _from_netrc(url) or given

    def asked(self, url: str) -> tuple[str, str] | None:
        """Return the credentials that keyring has; it is asked once for each host."""
        origin = _origin(url)
        given = _credentials(url) or self._configured(url)
        with self._lock:
            if origin not in self._found:
                self._found[origin] = _from_keyring(url, given[0] if given else None)
                return self._found[origin]
        return None

    def _configured(self, url: str) -> tuple[str, str] | None:
        """Return the credentials of the index, or page of links, that is nearest to a URL."""
        known = [
            (_shared(place, url), found)
            for place in (*self.sources.indexes, *self.sources.find_links)
            if (found := _credentials(place)) is not None and _origin(place) == _origin(url)
        ]
        return max(known, key=lambda pair: pair[0])[1] if known else None


def _shared(place: str, url: str) -> int:
    """Return how many folders two addresses share, from the root on."""
    pairs = zip(urlsplit(place).path.split("/"), urlsplit(url).path.split("/"), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _from_netrc(url: str) -> tuple[str, str] | None:
    """Return what netrc has; nothing if it can't be read, as `requests` has it."""
    try:
        return get_netrc_auth(without_credentials(url))
    except ValueError:  # not UTF-8
        return None


def _from_keyring(url: str, user: str | None) -> tuple[str, str] | None:
    """Ask the keyring module, or else its command. Neither has anybody to talk to."""
    parts = urlsplit(without_credentials(url))
    services = (f"{parts.scheme}://{parts.netloc}/", parts.netloc)
    if find_spec("keyring") is not None:
        try:
            keyring = importlib.import_module("keyring")
            for service in services:
                found = keyring.get_credential(service, user)
                if found is not None and found.password:
                    return found.username or user or "", found.password
        except Exception:  # noqa: BLE001 -- backends are third-party code, and raise anything
            return None
        return None
    command = shutil.which("keyring")
    if command is None or user is None:
        return None  # the command cannot find out a user
    for service in services:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run(  # noqa: S603 -- the user's own keyring
                [command, "get", service, user],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_KEYRING_TIMEOUT,
                check=False,
                encoding="utf-8",
                errors="replace",
                env={**os.environ, "PYTHONIOENCODING": "utf-8"},
            )
            password = done.stdout.rstrip("\r\n")
            if done.returncode == 0 and password:
                return user, password
    return None


def _origin(url: str) -> tuple[str, str, int]:
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        return "", "", 0


def _credentials(url: str) -> tuple[str, str] | None:
    user, at, _ = urlsplit(url).netloc.rpartition("@")
    if not at:
        return None
    name, _, password = user.partition(":")
    return unquote(name), unquote(password)


def without_credentials(url: str) -> str:
    """Return a URL without user and password, and without its fragment."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))

"""What the tests of commands that read an index share: a user without settings, and wheels."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.utils import canonicalize_name

from tests.servers import Server
from torch_abi_audit.archive import remote
from torch_abi_audit.commands import index, records
from torch_abi_audit.index.connections import Limits
from torch_abi_audit.index.session import Session
from torch_abi_audit.published import task

QUICK = Limits(
    answer_within=0.8, slow_window=0.3, slowest=1000, longest=3.0, longest_wait=0.1, backoff=0.01
)
_SETTINGS = ("PIP_", "UV_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


def without_settings(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Be a user who has configured nothing, whose cache is in a folder, and who has no time."""
    for name in os.environ:
        if name.upper().startswith(_SETTINGS):
            patch.delenv(name)
    patch.setenv("PIP_CONFIG_FILE", os.devnull)
    patch.setenv("PIP_TIMEOUT", "0.4")
    patch.setenv("PIP_RETRIES", "0")
    patch.setenv("NETRC", str(folder / "no-netrc"))
    patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    patch.setitem(sys.modules, "keyring", None)


def be_quick(patch: pytest.MonkeyPatch) -> None:
    """Give servers little time; only of what is read in this process, with `-j 1`."""
    quick = partial(Session, limits=QUICK)
    modules: list[ModuleType] = [index, records]
    for module in modules:
        patch.setattr(module, "Session", quick)
    patch.setattr(task, "_session", lru_cache(partial(_quick_session, quick)))


def _quick_session(make: Any, sources: Any, at_once: int) -> Session:
    session: Session = make(sources, at_once=at_once)
    return session


@contextmanager
def small_parts(tail: int = 512, least: int = 64) -> Iterator[None]:
    """Fetch so little at once that a small wheel is read in parts as a large one is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remote, "_TAIL", tail)
        patch.setattr(remote, "_LEAST", least)
        yield


def project_of(wheel: Path) -> str:
    return canonicalize_name(wheel.name.partition("-")[0])  # variants have a part more


def offer(server: Server, wheels: Iterable[Path]) -> dict[str, list[str]]:
    """Offer wheels on an index; return the paths of the files by project."""
    found: dict[str, list[str]] = {}
    for wheel in wheels:
        path = server.add(project_of(wheel), wheel.name, wheel.read_bytes())
        found.setdefault(project_of(wheel), []).append(path)
    return found


def pages_only(server: Server, since: int = 0) -> bool:
    """Whether nothing but pages of the index was asked for since a number of requests."""
    return all(request.path.startswith("/simple/") for request in server.requests[since:])

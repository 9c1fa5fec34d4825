"""Environments: which site-packages folders an interpreter has, found without running it."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from torch_abi_audit.errors import AuditError, reason_of
from torch_abi_audit.targets.installed import Site, active_site

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_INTERPRETER = re.compile(r"(?:python|pypy)(?P<version>3(?:\.\d+t?)?)?(?:\.exe)?", re.IGNORECASE)
# For an environment on Linux and macOS, for one of Debian's interpreters, and for Windows.
_PATTERNS = (
    "lib/{python}/site-packages",
    "lib64/{python}/site-packages",
    "local/lib/{python}/dist-packages",
    "lib/{python}/dist-packages",
    "lib/python3/dist-packages",
)
_WINDOWS = "Lib/site-packages"
_MOST_BYTES = 1 << 16  # of a pyvenv.cfg


def find_site(path: Path) -> Site:
    """Return the packages of an interpreter, an environment, or a site-packages folder.

    Raises:
        AuditError: There is nothing there, or no package is installed in it.
    """
    try:
        site = _found(path)
    except OSError as error:
        raise AuditError(reason_of(error)) from error
    if not site.packages:
        raise AuditError(f"{path}: no packages are installed in it")
    return site


def _found(path: Path) -> Site:
    if not path.exists():
        raise AuditError(f"{path}: no such file or directory")
    if path.is_file():
        if not _INTERPRETER.fullmatch(path.name):
            raise AuditError(f"{path}: not a Python interpreter or an environment")
        folders = [*_of_interpreter(path)]
    else:
        folders = [*_of_environment(path, "python3*")] or [path]
    return _site(folders)


def current_site(environment: Mapping[str, str] = os.environ) -> tuple[Site, str | None]:
    """Return the packages of the current environment, and a hint if it is the tool's own.

    An activated environment, or one that `uv run` or conda names, takes precedence over the one
    that the tool runs in.

    Args:
        environment: The environment variables of the process.

    Raises:
        AuditError: The environment can't be read.
    """
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        named = environment.get(variable)
        if named and Path(named).is_dir() and not _is_same(Path(named), Path(sys.prefix)):
            try:
                folders = [*_of_environment(Path(named), "python3*")]
                if folders:
                    return _site(folders), None
            except OSError as error:
                raise AuditError(reason_of(error)) from error
    try:
        site = active_site()
    except OSError as error:
        raise AuditError(reason_of(error)) from error
    hint = f"{sys.prefix} is the environment that torch-abi-audit runs in; --python names another"
    return site, None if "torch" in site.packages else hint


def _site(folders: list[Path]) -> Site:
    """Return the packages of folders, one of which may be a link to another, as lib64 is."""
    return Site(list({folder.resolve(): folder for folder in reversed(folders)}.values())[::-1])


def _is_same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


def _of_interpreter(path: Path) -> Iterator[Path]:
    """Yield the folders of an interpreter, by the version in its name or in its link target's."""
    root = path.absolute().parent
    if root.name.lower() in ("bin", "scripts"):
        root = root.parent
    names = [path.name, path.resolve().name]
    versions = [m["version"] for m in map(_INTERPRETER.fullmatch, names) if m and m["version"]]
    exact = next((version for version in versions if "." in version), None)
    found = [*_of_environment(root, f"python{exact}" if exact else "python3*")]
    if not found:
        raise AuditError(f"{path}: no site-packages found for it")
    yield from found


def _of_environment(root: Path, python: str) -> Iterator[Path]:
    """Yield the site-packages folders of an environment, and those it takes from its base."""
    config = root / "pyvenv.cfg"
    for pattern in _PATTERNS:
        yield from sorted(path for path in root.glob(pattern.format(python=python)))
    windows = root / _WINDOWS
    if windows.is_dir():
        yield windows
    if config.is_file() and config.stat().st_size <= _MOST_BYTES:
        values = _values(config.read_text(encoding="utf-8", errors="replace"))
        home = values.get("home", "")
        if values.get("include-system-site-packages", "").lower() == "true" and home:
            yield from _of_environment(Path(home).parent, python)


def _values(text: str) -> dict[str, str]:
    """Return the keys and values of a pyvenv.cfg."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {key.strip().lower(): value.strip() for key, _, value in pairs}

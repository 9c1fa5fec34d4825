"""Files and folders on disk: libraries, packages, unpacked wheels."""

from __future__ import annotations

import os
import stat
from collections import deque
from typing import TYPE_CHECKING

from torch_abi_audit.budget import Budget
from torch_abi_audit.claims.variants import VARIANT_FILE
from torch_abi_audit.errors import AuditError, LibraryError, reason_of
from torch_abi_audit.formats import is_library_name, read_libraries, sniff
from torch_abi_audit.formats.assertions import scan, with_assertions
from torch_abi_audit.formats.source import FileSource
from torch_abi_audit.model import Member, TargetContents, TargetKind
from torch_abi_audit.targets.metadata import parse_installed, without_metadata

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from torch_abi_audit.model import Claims

# Files that are rarely libraries, 10,000 of them in a large package: the first bytes tell.
_RARELY = frozenset(
    {".py", ".pyc", ".pyi", ".pyx", ".pxd", ".h", ".hpp", ".hh", ".cuh", ".c", ".cc", ".cpp"}
    | {".cu", ".txt", ".md", ".rst", ".json", ".yaml", ".yml", ".toml", ".cmake", ".html"}
    | {".css", ".js", ".csv", ".svg", ".png"}
)
_SNIFFED = 64
# What projects keep next to their packages. Python imports nothing from a folder with a dot.
_ASIDE = frozenset({".git", ".hg", ".svn", ".venv", ".tox", ".nox", ".eggs"})
_MAX_SMALL = 64 << 20


def read_files(files: Iterable[tuple[str, Path]], budget: Budget | None = None) -> Iterator[Member]:
    """Yield the compiled files, in the order of the paths to display.

    Args:
        files: The files, each with the path to display.
        budget: What may be read of them; without one, the default limits.

    Raises:
        LimitError: They exceed the limits.
    """
    budget = budget or Budget()
    for name, path in sorted(files, key=lambda item: item[0]):
        budget.check_time()
        if path.suffix.lower() in _RARELY and not _may_be_library(path):
            continue
        if not path.is_file():  # pipes and devices are not opened either
            if is_library_name(name):
                yield Member(name, (), error="it is recorded, and no such file is there")
            continue
        try:
            with FileSource(path) as source:
                slices = read_libraries(source, name, budget)
                slices = with_assertions(slices, scan(source, budget) if slices else ())
        except LibraryError as error:
            yield Member(name, (), error=str(error))
            continue
        if slices:
            yield Member(name, slices, verified=True)  # files have no checksum to check


def _may_be_library(path: Path) -> bool:
    """Whether a file begins like a library, whatever its name, or can't be opened to tell."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return False
        with path.open("rb", buffering=0) as file:
            return sniff(file.read(_SNIFFED)) is not None
    except FileNotFoundError:
        return False
    except OSError:
        return True


def walk(
    folder: Path, budget: Budget | None = None, *, aside: frozenset[str] = _ASIDE
) -> Iterator[tuple[str, Path]]:
    """Yield every file below a folder, with its path relative to the folder.

    Links to folders are followed, after everything else, and each folder is visited once.

    Args:
        folder: The folder.
        budget: How many files it may hold; without one, the default limits.
        aside: The names of folders to skip: those that projects keep next to their
            packages, such as repositories, environments and caches.

    Raises:
        AuditError: A folder can't be read.
        LimitError: It holds more files than the limits allow.
    """

    def fail(error: OSError) -> None:
        raise AuditError(reason_of(error, folder)) from error

    budget = budget or Budget()
    seen: set[tuple[int, int]] = set()
    pending = deque([str(folder)])
    while pending:
        for root, folders, names in os.walk(pending.popleft(), onerror=fail):
            try:
                status = os.stat(root)  # noqa: PTH116 -- a link to it may be endless
            except OSError as error:
                fail(error)
            identity = status.st_dev, status.st_ino
            folders[:] = sorted(set(folders) - aside) if identity not in seen else []
            if identity in seen:
                continue
            seen.add(identity)
            here = folder.__class__(root)
            pending += [
                str(path) for path in (here / name for name in folders) if path.is_symlink()
            ]
            budget.open(members=len(names) + len(folders))
            for name in names:
                path = here / name
                yield path.relative_to(folder).as_posix(), path


def read_small(path: Path) -> bytes:
    """Return the contents of a file that should be small; no pipe or device is opened.

    Raises:
        AuditError: It can't be read, or is not small.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_SMALL:
            raise AuditError(f"{path.name}: not a file of metadata")
        return path.read_bytes()
    except OSError as error:
        raise AuditError(f"{path.name}: {error.strerror or error}") from error


def open_library(path: Path, budget: Budget | None = None) -> TargetContents:
    """Open a single library.

    Raises:
        AuditError: It is not a library.
    """
    members = tuple(read_files([(path.name, path)], budget))
    if not members:
        raise AuditError("neither a wheel nor a library")
    folder = path.absolute().parent.parts[1:]
    return TargetContents(TargetKind.LIBRARY, without_metadata(path.name), members, folder=folder)


def open_folder(folder: Path, budget: Budget | None = None) -> TargetContents:
    """Open a folder: an unpacked wheel if it holds one `.dist-info`, otherwise just libraries.

    Raises:
        AuditError: It holds several `.dist-info` folders, or no compiled file.
    """
    found = sorted(folder.glob("*.dist-info"))
    if len(found) > 1:
        raise AuditError(f"{len(found)} packages are installed in the folder: use --site-packages")
    # All of an unpacked wheel is installed, whatever its folders are called.
    budget = budget or Budget()
    aside = frozenset[str]() if found else _ASIDE
    members = tuple(read_files(walk(folder, budget, aside=aside), budget))
    if found:
        return TargetContents(TargetKind.DIRECTORY, claims_of(found[0]), members)
    if not members:
        raise AuditError("no compiled file in the folder")
    whole = folder.resolve()
    claims = without_metadata(whole.name)
    return TargetContents(TargetKind.DIRECTORY, claims, members, folder=whole.parts[1:])


def claims_of(info: Path) -> Claims:
    """Return the claims of a `.dist-info` folder, or of an `.egg-info`, which can be a file.

    Raises:
        AuditError: It has no metadata, or metadata that can't be parsed.
    """
    metadata, wheel = info / "METADATA", info / "WHEEL"
    if info.suffix == ".egg-info":
        metadata = info / "PKG-INFO" if info.is_dir() else info
    variant = info / VARIANT_FILE
    return parse_installed(
        read_small(wheel) if wheel.is_file() else b"",
        read_small(metadata),
        read_small(variant) if info.is_dir() and variant.is_file() else b"",
    )

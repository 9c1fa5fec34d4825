"""Wheels, opened in memory: nothing is unpacked, members are inflated as a stream."""

from __future__ import annotations

import os
import re
import zipfile
from collections import Counter
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from torch_abi_audit.errors import AuditError, LibraryError
from torch_abi_audit.formats import read_libraries
from torch_abi_audit.model import Claims, Member
from torch_abi_audit.targets.members import open_member, processors
from torch_abi_audit.targets.metadata import parse_claims

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path
    from typing import IO

_DIST_INFO_FILE = re.compile(r"[^/]+\.dist-info/(WHEEL|METADATA)")
_MAX_DIST_INFO_BYTES = 16 << 20
# The package index refuses an archive that is larger than this and inflates to more
# than fifty times its size, so no published wheel does.
_BOMB_BYTES = 64 << 20
_BOMB_RATIO = 50
# fbgemm-gpu 1.9.0, with 20 libraries of C++ templates, has 77,000.
_MAX_SYMBOLS = 1_500_000
_LARGE = 1 << 20  # bytes, compressed


def read_wheel(path: Path, *, verify: bool = False) -> tuple[Claims, tuple[Member, ...]]:
    """Read a wheel's claims and the facts of its compiled members, in the order of their paths.

    A member that can't be read is returned with its error; the others are read all the same.

    Args:
        path: The wheel.
        verify: Whether to inflate every member to its end and check it. Otherwise that is
            done for those of which little is left once their tables were read.

    Raises:
        AuditError: The file is not a wheel that can be opened.
    """
    if path.suffix != ".whl":
        raise AuditError("not a wheel: the name does not end in .whl")
    with _open_archive(path) as archive:
        wheel = _read_dist_info(archive, "WHEEL")
        metadata = _read_dist_info(archive, "METADATA")
        claims = parse_claims(path.name, wheel, metadata)
        return claims, tuple(_read_members(archive, verify=verify))


def _read_members(archive: zipfile.ZipFile, *, verify: bool) -> Iterator[Member]:
    infos = [info for info in archive.infolist() if not info.is_dir()]
    budget = _MAX_SYMBOLS
    for member in _in_threads(archive, sorted(infos, key=lambda i: i.filename), verify=verify):
        if member is None:
            continue
        budget -= sum(len(item.imports) + len(item.exports) for item in member.slices)
        if budget < 0:
            raise AuditError(f"its libraries have more than {_MAX_SYMBOLS} dynamic symbols")
        yield member


def _in_threads(
    archive: zipfile.ZipFile, infos: Sequence[zipfile.ZipInfo], *, verify: bool
) -> Iterator[Member | None]:
    """Read members in order; large ones in threads, since what inflates runs in parallel."""
    path = str(archive.filename)
    large = [info for info in infos if info.compress_size > _LARGE]
    threads = min(processors(), len(large))
    with ExitStack() as stack:
        file = stack.enter_context(_open_raw(path))
        futures: dict[str, Future[Member | None]] = {}
        if threads > 1:
            # Only for large wheels: the import costs as much as reading a small one.
            from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

            pool = stack.enter_context(ThreadPoolExecutor(threads))
            # The largest first, so that no thread is left alone with it at the end.
            for info in sorted(large, key=lambda info: -info.compress_size):
                task = partial(_read_apart, path, archive, info, verify=verify)
                futures[info.filename] = pool.submit(task)
        for info in infos:
            future = futures.pop(info.filename, None)
            if future is None:
                yield _read_member(archive, info, file, verify=verify)
            else:
                yield future.result()


def _open_raw(path: str) -> IO[bytes]:
    return open(path, "rb", buffering=0)  # noqa: PTH123 -- closed by the caller


def _read_apart(
    path: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo, *, verify: bool
) -> Member | None:
    """Read a member in a thread of its own, through a file of its own."""
    with _open_raw(path) as file:
        return _read_member(archive, info, file, verify=verify)


@contextmanager
def _open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    with open_zip(path) as archive:
        names = Counter(info.filename for info in archive.infolist())
        name, times = max(names.items(), key=lambda item: item[1], default=("", 0))
        if times > 1:
            raise AuditError(f"{times} members named {name}")
        inflated = sum(info.file_size for info in archive.infolist())
        if inflated > max(_BOMB_BYTES, _BOMB_RATIO * path.stat().st_size):
            raise AuditError(f"a decompression bomb: it inflates to {inflated} bytes")
        yield archive


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip archive.

    Raises:
        AuditError: It is none, or no file at all. A pipe is not waited for.
    """
    # os.path answers for any string, where pathlib raises for some.
    if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113
        raise AuditError("not a file")
    try:
        return zipfile.ZipFile(path)
    except FileNotFoundError as error:
        raise AuditError("no such file") from error
    except OSError as error:
        raise AuditError(error.strerror or str(error)) from error
    except Exception as error:
        # Besides BadZipFile a damaged directory raises struct.error, ValueError and more.
        raise AuditError(f"not a zip archive: {error or type(error).__name__}") from error


def _read_dist_info(archive: zipfile.ZipFile, name: str) -> bytes:
    found = [
        info
        for info in archive.infolist()
        if (match := _DIST_INFO_FILE.fullmatch(info.filename)) and match[1] == name
    ]
    if len(found) != 1:
        raise AuditError(f"{len(found) or 'no'} .dist-info/{name} in the archive")
    size = found[0].file_size
    if size > _MAX_DIST_INFO_BYTES:
        raise AuditError(f"{name} of {size} bytes")
    try:
        with (
            _open_raw(str(archive.filename)) as file,
            open_member(archive, found[0], file) as source,
        ):
            data = source.read_at(0, size)
            source.verify(whole=True)
            return data
    except LibraryError as error:
        raise AuditError(f"{found[0].filename}: {error}") from error


def _read_member(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, file: IO[bytes], *, verify: bool
) -> Member | None:
    try:
        with open_member(archive, info, file) as source:
            slices = read_libraries(source, info.filename)
            if not slices and not verify:
                return None
            verified = source.verify(whole=verify)
    except LibraryError as error:
        return Member(info.filename, (), error=str(error))
    return Member(info.filename, slices, verified=verified) if slices else None

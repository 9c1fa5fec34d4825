"""Wheels, opened in memory: nothing is unpacked, members are inflated as a stream."""

from __future__ import annotations

import os
import re
import zipfile
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from torch_abi_audit.errors import AuditError, LibraryError
from torch_abi_audit.formats import read_libraries
from torch_abi_audit.formats.source import check_range
from torch_abi_audit.model import Claims, Member
from torch_abi_audit.targets.metadata import parse_claims

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO, Self

_DIST_INFO_FILE = re.compile(r"[^/]+\.dist-info/(WHEEL|METADATA)")
_MAX_DIST_INFO_BYTES = 16 << 20
# The package index refuses an archive that is larger than this and inflates to more
# than fifty times its size, so no published wheel does.
_BOMB_BYTES = 64 << 20
_BOMB_RATIO = 50
# fbgemm-gpu 1.9.0, with 20 libraries of C++ templates, has 77,000.
_MAX_SYMBOLS = 1_500_000
_RETAINED = 16 << 20
_CHUNK = 1 << 20


def read_wheel(path: Path) -> tuple[Claims, tuple[Member, ...]]:
    """Read a wheel's claims and the facts of its compiled members, in the order of their paths.

    A member that can't be read is returned with its error; the others are read all the same.

    Raises:
        AuditError: The file is not a wheel that can be opened.
    """
    if path.suffix != ".whl":
        raise AuditError("not a wheel: the name does not end in .whl")
    with _open_archive(path) as archive:
        wheel = _read_dist_info(archive, "WHEEL")
        metadata = _read_dist_info(archive, "METADATA")
        claims = parse_claims(path.name, wheel, metadata)
        return claims, tuple(_read_members(archive))


def _read_members(archive: zipfile.ZipFile) -> Iterator[Member]:
    budget = _MAX_SYMBOLS
    for info in sorted(archive.infolist(), key=lambda info: info.filename):
        member = None if info.is_dir() else _read_member(archive, info)
        if member is None:
            continue
        budget -= sum(len(item.imports) + len(item.exports) for item in member.slices)
        if budget < 0:
            raise AuditError(f"its libraries have more than {_MAX_SYMBOLS} dynamic symbols")
        yield member


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
    source = MemberSource(archive, found[0])
    if source.size > _MAX_DIST_INFO_BYTES:
        raise AuditError(f"{name} of {source.size} bytes")
    try:
        with source:
            return source.read_at(0, source.size)
    except LibraryError as error:
        raise AuditError(f"{found[0].filename}: {error}") from error


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member | None:
    try:
        with MemberSource(archive, info) as source:
            slices = read_libraries(source, info.filename)
            if not slices:
                return None
            source.verify()
    except LibraryError as error:
        return Member(info.filename, (), str(error))
    return Member(info.filename, slices)


class MemberSource:
    """A member's bytes, inflated as a stream.

    The first bytes are kept, since that is where symbol tables lie unless a library
    was rewritten; reading what was passed over inflates the member again.
    """

    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
        self._archive = archive
        self._info = info
        self._stream: IO[bytes] | None = None
        self._position = 0
        self._retained = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    @property
    def size(self) -> int:
        """The inflated size that the archive's directory declares."""
        return self._info.file_size

    def read_at(self, offset: int, size: int) -> bytes:
        """See `formats.source.ByteSource.read_at`."""
        check_range(self, offset, size)
        parts = [bytes(self._retained[offset : offset + size])]
        offset, size = offset + len(parts[0]), size - len(parts[0])
        if size:
            if offset < self._position:
                self._close()
            self._skip(offset - self._position)
        while size:
            parts.append(self._inflate(min(size, _CHUNK)))
            size -= len(parts[-1])
        return b"".join(parts)

    def verify(self) -> None:
        """Inflate what is left, which checks the member's length and checksum.

        Raises:
            LibraryError: Either is not what the archive's directory says.
        """
        self._skip(self.size - self._position)
        self._inflate(0)

    def _skip(self, size: int) -> None:
        while size:
            size -= len(self._inflate(min(size, _CHUNK)))

    def _inflate(self, size: int) -> bytes:
        """Return the next bytes: at least one, at most `size`; with 0 expect the end."""
        try:
            if self._stream is None:
                self._stream = self._archive.open(self._info)
            data = self._stream.read(size or 1)
        except Exception as error:
            # zipfile raises BadZipFile, zlib.error, RuntimeError (encrypted members),
            # NotImplementedError (compression methods), EOFError and more.
            raise LibraryError(f"can't be inflated: {error or type(error).__name__}") from error
        if bool(data) != bool(size):
            raise LibraryError(f"inflates to another size than the {self.size} bytes it declares")
        missing = min(_RETAINED - self._position, len(data))
        if self._position == len(self._retained) and missing > 0:
            self._retained += data[:missing]
        self._position += len(data)
        return data

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
        self._stream = None
        self._position = 0

"""A zip archive rewritten with some members changed, and all others copied as compressed.

A copied member keeps its bytes, its time, its attributes and its place in the order (PKWARE's
APPNOTE.TXT 4.3). Sizes and checksums come before the data, so that there are no descriptors.
"""

from __future__ import annotations

import zipfile
import zlib
from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit.archive.local_headers import (
    DESCRIPTOR_FLAG,
    DIRECTORY,
    ENCRYPTED_FLAGS,
    END,
    LOCAL,
    UTF8_FLAG,
    parse_local,
    without_zip64,
)
from torch_abi_audit.errors import AuditError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import IO

_MOST_BYTES, _MOST_MEMBERS = 0xFFFFFFFE, 0xFFFE  # one more means that zip64 has the value
_PIECE = 1 << 20
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class _Content(NamedTuple):
    """A member's contents in the new archive; without `data`, they are copied."""

    crc: int
    size: int
    packed: int
    data: bytes | None = None


class _Local(NamedTuple):
    """Where the data of a member begins, and the extra fields of its own header."""

    start: int
    extra: bytes


def rewrite(archive: zipfile.ZipFile, output: IO[bytes], changed: Mapping[str, bytes]) -> None:
    """Write an archive with the contents of some members changed.

    Args:
        archive: The archive, open.
        output: Where to write it, from the start.
        changed: The new contents, by the names of members.

    Raises:
        AuditError: It can't be copied: it has encrypted members, or needs zip64.
        OSError: It can't be read or written.
    """
    source = archive.fp
    infos = archive.infolist()
    if source is None:
        raise AuditError("the archive is closed")
    contents = [_content(info, changed.get(info.orig_filename)) for info in infos]
    packed = sum(content.packed for content in contents if content.data is None)
    if packed > source.seek(0, 2):
        raise AuditError("members overlap")  # and would be copied once for each
    if len(infos) > _MOST_MEMBERS or max((c.size for c in contents), default=0) > _MOST_BYTES:
        raise AuditError("zip64 archives can't be rewritten")
    directory = []
    for info, content in zip(infos, contents, strict=True):
        local = _local(source, info)
        offset = output.tell()
        name = info.orig_filename.encode("utf-8" if info.flag_bits & UTF8_FLAG else "cp437")
        flags = info.flag_bits & ~DESCRIPTOR_FLAG
        output.write(_local_header(info, content, name, flags, local.extra))
        for piece in _pieces(source, local, info) if content.data is None else (content.data,):
            output.write(piece)
        _require_narrow(output.tell())
        directory.append(_directory_entry(info, content, name, flags, offset))
    start = output.tell()
    for entry in directory:
        output.write(entry)
    size = output.tell() - start
    _require_narrow(output.tell())
    number = len(directory)
    end = END.pack(b"PK\x05\x06", 0, 0, number, number, size, start, len(archive.comment))
    output.write(end + archive.comment)


def _require_narrow(position: int) -> None:
    if position > _MOST_BYTES:
        raise AuditError("zip64 archives can't be rewritten")


def _content(info: zipfile.ZipInfo, data: bytes | None) -> _Content:
    """Return a member's contents in the new archive."""
    if info.flag_bits & ENCRYPTED_FLAGS:
        raise AuditError(f"{info.orig_filename}: encrypted")
    if data is None:
        return _Content(info.CRC, info.file_size, info.compress_size)
    if info.compress_type not in _METHODS:
        raise AuditError(f"{info.orig_filename}: compressed by method {info.compress_type}")
    packed = data
    if info.compress_type == zipfile.ZIP_DEFLATED:
        deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        packed = deflate.compress(data) + deflate.flush()
    return _Content(zlib.crc32(data), len(data), len(packed), packed)


def _local(source: IO[bytes], info: zipfile.ZipInfo) -> _Local:
    """Read a member's own header."""
    source.seek(info.header_offset)
    data = source.read(LOCAL.size)
    header = parse_local(data)
    if header is None:
        raise AuditError(f"{info.orig_filename}: no local header")
    fields = source.read(header.length - LOCAL.size)
    if len(fields) < header.length - LOCAL.size:
        raise AuditError(f"{info.orig_filename}: truncated")
    extra = fields[len(fields) - header.extra_length :]
    return _Local(info.header_offset + header.length, without_zip64(extra))


def _pieces(source: IO[bytes], local: _Local, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yield the compressed bytes of a member."""
    source.seek(local.start)
    left = info.compress_size
    while left:
        piece = source.read(min(left, _PIECE))
        if not piece:
            raise AuditError(f"{info.orig_filename}: truncated")
        left -= len(piece)
        yield piece


def _time(info: zipfile.ZipInfo) -> tuple[int, int]:
    """Return the time and the date of a member in MS-DOS format."""
    year, month, day, hour, minute, second = info.date_time
    return hour << 11 | minute << 5 | second // 2, (year - 1980) << 9 | month << 5 | day


def _local_header(
    info: zipfile.ZipInfo, content: _Content, name: bytes, flags: int, extra: bytes
) -> bytes:
    fields = LOCAL.pack(
        *(b"PK\x03\x04", info.extract_version, flags, info.compress_type, *_time(info)),
        *(content.crc, content.packed, content.size, len(name), len(extra)),
    )
    return fields + name + extra


def _directory_entry(
    info: zipfile.ZipInfo, content: _Content, name: bytes, flags: int, offset: int
) -> bytes:
    extra = without_zip64(info.extra)
    fields = DIRECTORY.pack(
        *(b"PK\x01\x02", info.create_system << 8 | info.create_version, info.extract_version),
        *(flags, info.compress_type, *_time(info), content.crc, content.packed, content.size),
        *(len(name), len(extra), len(info.comment), 0, info.internal_attr),
        *(info.external_attr, offset),
    )
    return fields + name + extra + info.comment

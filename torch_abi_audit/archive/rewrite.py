"""A zip archive written again with some members changed, all others as they are compressed.

What is copied keeps its bytes, its time, its attributes and its place in the order (PKWARE's
APPNOTE.TXT 4.3). Sizes and checksums stand before the data, so that there are no descriptors.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit.archive.local_headers import (
    DESCRIPTOR_FLAG,
    ENCRYPTED_FLAGS,
    LOCAL,
    UTF8_FLAG,
    parse_local,
)
from torch_abi_audit.errors import AuditError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import IO

_DIRECTORY = struct.Struct("<4s4B4HL2L5H2L")
_END = struct.Struct("<4s4H2LH")
_MOST_BYTES, _MOST_MEMBERS = 0xFFFFFFFF, 0xFFFF  # without zip64
_PIECE = 1 << 20
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class _Content(NamedTuple):
    """What a member has in the new archive: where from, or the bytes."""

    crc: int
    size: int
    packed: int
    data: bytes | None = None


def rewrite(archive: zipfile.ZipFile, output: IO[bytes], changed: Mapping[str, bytes]) -> None:
    """Write an archive with the contents of some members changed.

    Args:
        archive: The archive, open.
        output: Where to, from its start.
        changed: The new contents, by the names of members.

    Raises:
        AuditError: It has what can't be copied: encrypted members, or it takes zip64.
        OSError: It can't be read or written.
    """
    source = archive.fp
    infos = archive.infolist()
    if source is None:
        raise AuditError("the archive is closed")
    if len(infos) > _MOST_MEMBERS:
        raise AuditError(f"{len(infos)} members: zip64 archives can't be rewritten")
    directory = []
    for info in infos:
        content = _content(info, changed.get(info.filename))
        offset = output.tell()
        if offset + content.packed + _PIECE > _MOST_BYTES or content.size > _MOST_BYTES:
            raise AuditError("larger than 4 GiB: zip64 archives can't be rewritten")
        name = info.orig_filename.encode("utf-8" if info.flag_bits & UTF8_FLAG else "cp437")
        flags = info.flag_bits & ~DESCRIPTOR_FLAG
        output.write(_local_header(info, content, name, flags))
        for piece in _pieces(source, info) if content.data is None else (content.data,):
            output.write(piece)
        directory.append(_directory_entry(info, content, name, flags, offset))
    start = output.tell()
    for entry in directory:
        output.write(entry)
    size = output.tell() - start
    if output.tell() > _MOST_BYTES:
        raise AuditError("larger than 4 GiB: zip64 archives can't be rewritten")
    number = len(directory)
    end = _END.pack(b"PK\x05\x06", 0, 0, number, number, size, start, len(archive.comment))
    output.write(end + archive.comment)


def _content(info: zipfile.ZipInfo, data: bytes | None) -> _Content:
    """Return what a member has in the new archive."""
    if info.flag_bits & ENCRYPTED_FLAGS:
        raise AuditError(f"{info.filename}: encrypted")
    if data is None:
        return _Content(info.CRC, info.file_size, info.compress_size)
    if info.compress_type not in _METHODS:
        raise AuditError(f"{info.filename}: compressed by method {info.compress_type}")
    packed = data
    if info.compress_type == zipfile.ZIP_DEFLATED:
        deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        packed = deflate.compress(data) + deflate.flush()
    return _Content(zlib.crc32(data), len(data), len(packed), packed)


def _pieces(source: IO[bytes], info: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yield the compressed bytes of a member."""
    source.seek(info.header_offset)
    local = parse_local(source.read(LOCAL.size + 2 * _MOST_MEMBERS))
    if local is None:
        raise AuditError(f"{info.filename}: no local header")
    source.seek(info.header_offset + local.length)
    left = info.compress_size
    while left:
        piece = source.read(min(left, _PIECE))
        if not piece:
            raise AuditError(f"{info.filename}: truncated")
        left -= len(piece)
        yield piece


def _time(info: zipfile.ZipInfo) -> tuple[int, int]:
    """Return the time of a member, and its date, as MS-DOS has them."""
    year, month, day, hour, minute, second = info.date_time
    return hour << 11 | minute << 5 | second // 2, (year - 1980) << 9 | month << 5 | day


def _local_header(info: zipfile.ZipInfo, content: _Content, name: bytes, flags: int) -> bytes:
    return (
        LOCAL.pack(
            *(b"PK\x03\x04", info.extract_version, flags, info.compress_type, *_time(info)),
            *(content.crc, content.packed, content.size, len(name), 0),
        )
        + name
    )


def _directory_entry(
    info: zipfile.ZipInfo, content: _Content, name: bytes, flags: int, offset: int
) -> bytes:
    return (
        _DIRECTORY.pack(
            *(b"PK\x01\x02", info.create_version, info.create_system, info.extract_version, 0),
            *(flags, info.compress_type, *_time(info), content.crc, content.packed, content.size),
            *(len(name), len(info.extra), len(info.comment), 0, info.internal_attr),
            *(info.external_attr, offset),
        )
        + name
        + info.extra
        + info.comment
    )

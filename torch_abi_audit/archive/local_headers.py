"""The records that a zip archive is made of, read as they are (PKWARE's APPNOTE.TXT 4.3)."""

from __future__ import annotations

import struct
import zipfile
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

LOCAL = struct.Struct("<4s5H3I2H")
DIRECTORY = struct.Struct("<4s6H3I5H2I")
END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR = struct.Struct("<4sIQI")
_END64_REST = _END64.size - 12  # what the record's own size counts
_LONGEST_COMMENT = 0xFFFF
_IN_ZIP64 = 0xFFFFFFFF
_ZIP64 = 0x0001
_UNICODE_PATH = 0x7075  # Info-ZIP's
DESCRIPTOR_FLAG, UTF8_FLAG, ENCRYPTED_FLAGS = 0x8, 0x800, 0x1 | 0x20 | 0x40


class LocalHeader(NamedTuple):
    """A member's own header.

    Attributes:
        flags: The general purpose bits.
        method: The method of compression.
        packed: The compressed size, according to its field.
        size: The inflated size, according to its field.
        name: The name.
        extra_length: The length of the extra fields, which follow the name.
        length: The length of the whole header.
    """

    flags: int
    method: int
    packed: int
    size: int
    name: str
    extra_length: int
    length: int


def parse_local(data: bytes) -> LocalHeader | None:
    """Parse a local header at the start, without its extra fields; None for anything else."""
    if len(data) < LOCAL.size or data[:4] != b"PK\x03\x04":
        return None
    _, _, flags, method, *_, packed, size, length, extra_length = LOCAL.unpack_from(data)
    raw = data[LOCAL.size : LOCAL.size + length]
    name = raw.decode("utf-8" if flags & UTF8_FLAG else "cp437", "replace")
    whole = LOCAL.size + length + extra_length
    return LocalHeader(flags, method, packed, size, name, extra_length, whole)


def is_plain(data: bytes, info: zipfile.ZipInfo) -> bool:
    """Whether a header says exactly what the directory says, and has no extra fields.

    Nearly all headers are like that, and need no closer look.

    Args:
        data: The header, of the length that it then has.
        info: The member, as the directory describes it; its name is then ASCII.
    """
    expected = LOCAL.pack(
        b"PK\x03\x04",
        int.from_bytes(data[4:6], "little"),
        info.flag_bits,
        info.compress_type,
        int.from_bytes(data[10:12], "little"),
        int.from_bytes(data[12:14], "little"),
        info.CRC,
        info.compress_size & _IN_ZIP64,
        info.file_size & _IN_ZIP64,
        len(info.orig_filename) & 0xFFFF,
        0,
    )
    return (
        data == expected + info.orig_filename.encode("utf-8")
        and not info.extra
        and not info.flag_bits & (DESCRIPTOR_FLAG | ENCRYPTED_FLAGS)
        and max(info.compress_size, info.file_size) < _IN_ZIP64
    )


class Extra(NamedTuple):
    """The extra fields that repeat what the header says.

    Attributes:
        wide: The 8-byte numbers in the ZIP64 field; None without one.
        names: The names in Info-ZIP's fields; None for one that is not UTF-8.
    """

    wide: tuple[int, ...] | None
    names: tuple[str | None, ...]


def parse_extra(data: bytes) -> Extra | None:
    """Parse extra fields; None if they overrun their space, or occur twice."""
    offset, wide = 0, None
    names: list[str | None] = []
    while offset < len(data):
        if offset + 4 > len(data):
            return None
        field, size = struct.unpack_from("<2H", data, offset)
        offset += 4
        if offset + size > len(data):
            return None
        if field == _ZIP64:
            # One of the lengths that its contents can have.
            if wide is not None or size not in (0, 8, 16, 24, 28):
                return None
            wide = struct.unpack_from(f"<{size // 8}Q", data, offset)
        elif field == _UNICODE_PATH:
            if names:
                return None
            try:
                names.append(data[offset + 5 : offset + size].decode("utf-8"))
            except UnicodeDecodeError:
                names.append(None)
        offset += size
    return Extra(wide, tuple(names))


def without_zip64(data: bytes) -> bytes:
    """Return extra fields without those that hold zip64 sizes and offsets."""
    kept, offset = b"", 0
    while offset + 4 <= len(data):
        field, size = struct.unpack_from("<2H", data, offset)
        whole = data[offset : offset + 4 + size]
        kept += b"" if field == _ZIP64 else whole
        offset += len(whole)
    return kept + data[offset:]


def sizes(header: LocalHeader, extra: Extra) -> tuple[int, int] | None:
    """Return a member's compressed and inflated sizes, which ZIP64 keeps in an extra field.

    None if the two contradict each other.
    """
    packed, size, wide = header.packed, header.size, extra.wide
    if wide is None:
        return packed, size
    if not wide:
        return None if _IN_ZIP64 in (packed, size) else (packed, size)
    if len(wide) == 1:  # one number for both, which only stored members have
        if header.method != zipfile.ZIP_STORED:
            return None
        return wide[0], wide[0] if size == _IN_ZIP64 else size
    return wide[1], wide[0] if size == _IN_ZIP64 else size


def after_descriptor(file: IO[bytes], position: int, info: zipfile.ZipInfo) -> int:
    """Return where the data descriptor after a member ends, with or without a signature."""
    file.seek(position)
    data = file.read(24)
    start = 4 if data[:4] == b"PK\x07\x08" else 0
    for fields in ("<I2I", "<I2Q"):
        end = start + struct.calcsize(fields)
        if len(data) >= end and struct.unpack_from(fields, data, start) == (
            info.CRC,
            info.compress_size,
            info.file_size,
        ):
            return position + end
    return position


def directory_errors(file: IO[bytes], start: int, count: int) -> Iterator[str]:
    """Yield how the central directory and its end contradict each other.

    Args:
        file: The archive.
        start: Where the directory begins.
        count: How many members were found in it.
    """
    size = file.seek(0, 2)
    tail_start = max(0, size - END.size - _LONGEST_COMMENT)
    file.seek(tail_start)
    tail = file.read(size - tail_start)
    place = tail.rfind(b"PK\x05\x06")
    if place < 0 or len(tail) - place < END.size:
        yield "no end of the central directory"
        return
    _, _, _, here, total, length, offset, comment = END.unpack_from(tail, place)
    end = tail_start + place
    if end + END.size + comment != size:
        yield "bytes after the end of the archive"
    file.seek(max(0, end - _LOCATOR.size))
    locator = file.read(_LOCATOR.size)
    if len(locator) == _LOCATOR.size and locator[:4] == b"PK\x06\x07":
        wide_start = end - _LOCATOR.size - _END64.size
        file.seek(max(0, wide_start))
        wide = file.read(_END64.size)
        if len(wide) < _END64.size or wide[:4] != b"PK\x06\x06":
            yield "no end record where its locator says"
            return
        _, rest, _, _, _, _, here, total, length, offset = _END64.unpack(wide)
        if rest != _END64_REST or _LOCATOR.unpack(locator)[2] != wide_start:
            yield "a locator, or an end, of another directory"
        end = wide_start
    if not (here == total == count) or offset != start or start + length != end:
        yield "its end describes another central directory"
    if not _fills(file, start, end):
        yield "a central directory that its records do not fill"


def _fills(file: IO[bytes], start: int, end: int) -> bool:
    """Whether the members' records, by the lengths they state, fill the central directory."""
    position = start
    file.seek(start)
    while position < end:
        head = file.read(DIRECTORY.size)
        if len(head) < DIRECTORY.size or head[:4] != b"PK\x01\x02":
            return False
        name, extra, comment = DIRECTORY.unpack(head)[10:13]
        position += DIRECTORY.size + name + extra + comment
        file.seek(position)
    return position == end

"""The archive as such: whether every program that reads it sees the same members.

Installers read an archive by its central directory, others by the headers that lie before
each member. Where the two differ, what was audited is not what is installed. So the package
index refuses such files, and more that installers stumble over.

References: PKWARE's APPNOTE.TXT 4.3, the binary distribution format, and what the package
index checks at upload since August 2025 (CVE-2025-54368).
"""

from __future__ import annotations

import base64
import csv
import re
import stat
import struct
import zipfile
from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit.errors import AuditError
from torch_abi_audit.model import Defect, DefectKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import IO

_LOCAL = struct.Struct("<4s5H3I2H")
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR_SIZE = 20
_LONGEST_COMMENT = 0xFFFF
_IN_ZIP64 = 0xFFFFFFFF
_DESCRIPTOR_FLAG, _UTF8_FLAG, _ENCRYPTED_FLAGS = 0x8, 0x800, 0x1 | 0x20 | 0x40
# Extra fields that may stand only once: ZIP64 sizes, and Info-ZIP's Unicode path.
_ONCE = frozenset({0x0001, 0x7075})
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DRIVE = re.compile(r"[A-Za-z]:")
_SIGNATURES = ("RECORD.jws", "RECORD.p7s")  # of RECORD itself (PEP 427), which has no row of them
# What RECORD may hash with: sha256 or better (PEP 427).
HASHES = frozenset({"sha256", "sha384", "sha512"})
_SHOWN = 1000  # defects of one kind that are kept


class RecordRow(NamedTuple):
    """What ``RECORD`` says of a file: the hash as ``sha256`` and its digest, and the size."""

    algorithm: str
    digest: bytes
    size: int | None


def find_defects(archive: zipfile.ZipFile, file: IO[bytes]) -> Iterator[Defect]:
    """Yield what is wrong with an archive whatever its members hold.

    Args:
        archive: The archive, as its central directory describes it.
        file: Its bytes.
    """
    infos = archive.infolist()
    yield from _bad_names(infos)
    for info in infos:
        name = info.filename
        if info.flag_bits & _ENCRYPTED_FLAGS:
            yield Defect(DefectKind.ENCRYPTED, name)
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            yield Defect(DefectKind.COMPRESSION, name, f"method {info.compress_type}")
        if info.comment:
            yield Defect(DefectKind.STRUCTURE, name, "a comment in the central directory")
        if stat.S_ISLNK(info.external_attr >> 16):
            yield Defect(DefectKind.SYMLINK, name)
    yield from _headers(infos, file, archive.start_dir)
    yield from _end(infos, file, archive.start_dir)


def _bad_names(infos: Sequence[zipfile.ZipInfo]) -> Iterator[Defect]:
    seen: set[str] = set()
    folded: dict[str, str] = {}
    for info in infos:
        name = info.filename
        if name in seen:
            yield Defect(DefectKind.DUPLICATE, name)
        seen.add(name)
        path = name.rstrip("/")
        same = folded.setdefault(path.casefold(), path)
        if same != path:
            yield Defect(DefectKind.CASE, name, f"and {same}")
        if _CONTROL.search(info.orig_filename):
            yield Defect(DefectKind.UNSAFE_NAME, name, "control characters")
        elif not info.flag_bits & _UTF8_FLAG and not info.orig_filename.isascii():
            yield Defect(DefectKind.UNSAFE_NAME, name, "not UTF-8")
        if "\\" in info.orig_filename:
            yield Defect(DefectKind.UNSAFE_NAME, name, "a backslash")
        elif path.startswith("/") or _DRIVE.match(path):
            yield Defect(DefectKind.UNSAFE_NAME, name, "absolute")
        elif not set(path.split("/")).isdisjoint({"..", ".", ""}):
            yield Defect(DefectKind.UNSAFE_NAME, name, "not a plain path")


class _Header(NamedTuple):
    """What a member's own header says, and where what it holds begins."""

    flags: int
    method: int
    packed: int
    size: int
    name: str
    extra: bytes
    start: int


def _read_header(info: zipfile.ZipInfo, file: IO[bytes]) -> _Header | None:
    file.seek(info.header_offset)
    head = file.read(_LOCAL.size)
    if len(head) < _LOCAL.size or head[:4] != b"PK\x03\x04":
        return None
    _, _, flags, method, *_, packed, size, length, extra_length = _LOCAL.unpack(head)
    raw = file.read(length)
    name = raw.decode("utf-8" if flags & _UTF8_FLAG else "cp437", "replace")
    start = info.header_offset + _LOCAL.size + length + extra_length
    return _Header(flags, method, packed, size, name, file.read(extra_length), start)


def _headers(infos: Sequence[zipfile.ZipInfo], file: IO[bytes], end: int) -> Iterator[Defect]:
    """Hold each member's own header against the central directory, and look between them."""
    position = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        header = _read_header(info, file)
        if header is None:
            yield Defect(DefectKind.HEADERS, info.filename, "no header where the directory says")
            position = max(position, info.header_offset)
            continue
        if info.header_offset != position:
            yield Defect(
                DefectKind.STRUCTURE, info.filename, "bytes before it that are no member's"
            )
        yield from _disagreements(info, header)
        position = header.start + info.compress_size
        if header.flags & _DESCRIPTOR_FLAG:
            position = _after_descriptor(file, position, info)
    if position != end:
        yield Defect(DefectKind.STRUCTURE, "", "bytes after the last member that are no member's")


def _disagreements(info: zipfile.ZipInfo, header: _Header) -> Iterator[Defect]:
    name = info.filename
    if header.name != info.orig_filename:
        yield Defect(DefectKind.HEADERS, name, "another name in its header")
    if header.method != info.compress_type or (header.flags ^ info.flag_bits) & _ENCRYPTED_FLAGS:
        yield Defect(DefectKind.HEADERS, name, "another method in its header")
    for side, data in (("its header", header.extra), ("the directory", info.extra)):
        ids = _extra_ids(data)
        if ids is None or any(ids.count(once) > 1 for once in _ONCE):
            yield Defect(DefectKind.STRUCTURE, name, f"malformed extra fields in {side}")
    if header.flags & _DESCRIPTOR_FLAG:
        yield Defect(DefectKind.DESCRIPTOR, name)
    elif (info.compress_size, info.file_size) != _sizes(header):
        yield Defect(DefectKind.HEADERS, name, "other sizes in its header")


def _extra_ids(data: bytes) -> list[int] | None:
    """Return the ids of extra fields, None where they overrun their space."""
    ids = []
    while data:
        if len(data) < 4:
            return None
        field, size = struct.unpack_from("<2H", data)
        if size + 4 > len(data):
            return None
        ids.append(field)
        data = data[size + 4 :]
    return ids


def _sizes(header: _Header) -> tuple[int, int]:
    """Return a header's compressed and inflated sizes, which ZIP64 keeps in an extra field."""
    packed, size, extra = header.packed, header.size, header.extra
    wide: list[int] = []
    while len(extra) >= 4:
        field, length = struct.unpack_from("<2H", extra)
        if field == 1:
            whole = min(length, len(extra) - 4) // 8
            wide = list(struct.unpack_from(f"<{whole}Q", extra, 4))
            break
        extra = extra[length + 4 :]
    if size == _IN_ZIP64 and wide:
        size = wide.pop(0)
    if packed == _IN_ZIP64 and wide:
        packed = wide.pop(0)
    return packed, size


def _after_descriptor(file: IO[bytes], position: int, info: zipfile.ZipInfo) -> int:
    """Return where the data descriptor ends that follows a member, with or without signature."""
    file.seek(position)
    data = file.read(24)
    start = 4 if data[:4] == b"PK\x07\x08" else 0
    for sizes in ("<I2I", "<I2Q"):
        end = start + struct.calcsize(sizes)
        if len(data) >= end and struct.unpack_from(sizes, data, start) == (
            info.CRC,
            info.compress_size,
            info.file_size,
        ):
            return position + end
    return position


def _end(infos: Sequence[zipfile.ZipInfo], file: IO[bytes], start: int) -> Iterator[Defect]:
    """Hold the end of the central directory against the directory."""
    size = file.seek(0, 2)
    tail_start = max(0, size - _END.size - _LONGEST_COMMENT)
    file.seek(tail_start)
    tail = file.read(size - tail_start)
    place = tail.rfind(b"PK\x05\x06")
    if place < 0 or len(tail) - place < _END.size:
        yield Defect(DefectKind.STRUCTURE, "", "no end of the central directory")
        return
    _, _, _, here, total, length, offset, comment = _END.unpack_from(tail, place)
    end = tail_start + place
    if end + _END.size + comment != size:
        yield Defect(DefectKind.STRUCTURE, "", "bytes after the end of the archive")
    if _IN_ZIP64 in (length, offset) or total == 0xFFFF:
        file.seek(max(0, end - _LOCATOR_SIZE - _END64.size))
        wide = file.read(_END64.size)
        if len(wide) == _END64.size and wide[:4] == b"PK\x06\x06":
            *_, here, total, length, offset = _END64.unpack(wide)
            end -= _LOCATOR_SIZE + _END64.size
    if not (here == total == len(infos)) or offset != start or start + length != end:
        yield Defect(DefectKind.STRUCTURE, "", "its end describes another central directory")


def dist_info_defects(names: Iterable[str], stem: str) -> Iterator[Defect]:
    """Yield what is wrong with the names of the ``.dist-info`` folders.

    Args:
        names: The members' names.
        stem: The name and the version as the filename spells them, ``x-1.0``.
    """
    folders = {name.partition("/")[0] for name in names if "/" in name}
    found = sorted(folder for folder in folders if folder.endswith(".dist-info"))
    if len(found) > 1:
        for folder in found:
            yield Defect(DefectKind.DIST_INFO, folder, f"one of {len(found)}")
    elif found and found != [f"{stem}.dist-info"]:
        yield Defect(DefectKind.DIST_INFO, found[0], f"not {stem}.dist-info")


def parse_record(data: bytes) -> dict[str, RecordRow]:
    """Parse ``RECORD``: a row a file, by path.

    Raises:
        AuditError: It is not such a file.
    """
    rows: dict[str, RecordRow] = {}
    try:
        for row in csv.reader(data.decode("utf-8").splitlines()):
            if not row:
                continue
            path, hashed, size = row
            algorithm, _, digest = hashed.partition("=")
            padded = digest + "=" * (-len(digest) % 4)
            rows[path] = RecordRow(
                algorithm, base64.urlsafe_b64decode(padded), int(size) if size else None
            )
    except (ValueError, csv.Error) as error:
        raise AuditError(f"{str(error)[:100] or type(error).__name__}") from error
    return rows


def record_defects(
    rows: Mapping[str, RecordRow], infos: Iterable[zipfile.ZipInfo], folder: str
) -> Iterator[Defect]:
    """Yield where ``RECORD`` and the members disagree, by name and size.

    Args:
        rows: See `parse_record`.
        infos: The members.
        folder: The ``.dist-info`` folder.
    """
    exempt = {f"{folder}/{name}" for name in ("RECORD", *_SIGNATURES)}
    files = {info.filename: info for info in infos if not info.is_dir()}
    for name, info in files.items():
        row = rows.get(name)
        if name in exempt:
            continue
        if row is None:
            yield Defect(DefectKind.RECORD, name, "no row in RECORD")
        elif row.algorithm not in HASHES:
            yield Defect(DefectKind.RECORD, name, "no hash of sha256 or better in RECORD")
        elif row.size is not None and row.size != info.file_size:
            yield Defect(DefectKind.RECORD, name, "another size in RECORD")
    for name in rows:
        if name not in files and name not in exempt:
            yield Defect(DefectKind.RECORD, name, "in RECORD, and not in the archive")


def bounded(defects: Iterable[Defect]) -> tuple[Defect, ...]:
    """Return defects, of each kind so many that a hostile archive takes no more memory."""
    kept: dict[DefectKind, list[Defect]] = {}
    for defect in defects:
        of_kind = kept.setdefault(defect.kind, [])
        if len(of_kind) < _SHOWN:
            of_kind.append(defect)
    return tuple(defect for of_kind in kept.values() for defect in of_kind)

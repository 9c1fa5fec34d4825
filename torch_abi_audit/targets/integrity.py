"""The archive itself: whether every program that reads it sees the same members.

Installers read an archive by its central directory, other programs by the headers before
each member. If the two differ, what was audited is not what is installed. So the package
index rejects such files, and others that installers can't handle.

References: PKWARE's APPNOTE.TXT 4.3, the binary distribution format, and what the package
index checks at upload since August 2025 (CVE-2025-54368).
"""

from __future__ import annotations

import base64
import csv
import io
import re
import stat
import zipfile
from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple
from unicodedata import category, normalize

from torch_abi_audit.archive.local_headers import (
    DESCRIPTOR_FLAG,
    ENCRYPTED_FLAGS,
    LOCAL,
    UTF8_FLAG,
    LocalHeader,
    after_descriptor,
    directory_errors,
    is_plain,
    parse_extra,
    parse_local,
    sizes,
)
from torch_abi_audit.errors import AuditError
from torch_abi_audit.model import Defect, DefectKind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from typing import IO

_CONTROL = r"[\x00-\x1f\x7f]"
# What no ordinary name, in lower case, contains: a part that is empty, ends with a dot or a space,
# or is a Windows device; a drive, a backslash, a character that Windows does not allow.
_NOT_PLAIN = re.compile(
    r"[\x00-\x1f\x7f\\:<>\"|?*]|/\.{0,2}/|[. /](?:/|$)|^(?:/|\.{0,2}(?:/|$))"
    r"|(?:^|/)(?:con|prn|aux|nul|com[0-9]|lpt[0-9]|conin\$|conout\$) *(?:[./]|$)"
)
# Of these, what is wrong only on Windows, in one part of a name.
_NOT_ON_WINDOWS = re.compile(
    r"(?P<character>[:<>\"|?*])|(?P<end>[. ]$)"
    r"|(?P<device>^(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$) *(?:\.|$))",
    re.IGNORECASE | re.DOTALL,
)
_WHY_NOT = {
    "character": "a character that Windows does not allow",
    "end": "a dot or space at the end, which Windows drops",
    "device": "a device name on Windows",
}
_DRIVE = r"[A-Za-z]:"
SIGNATURES = ("RECORD.jws", "RECORD.p7s")  # of RECORD itself (PEP 427), which has no row for them
# The hashes that RECORD may use: sha256 or better (PEP 427).
HASHES = frozenset({"sha256", "sha384", "sha512"})
_ENTRY_POINT = r"[\w.-]+"
# A line that every parser understands: an empty line, a comment, a section, an entry.
_ENTRY_LINE = re.compile(r"\s*(?:$|[#;]|\[.+\]|[^\s=][^=]*=)")
_SHOWN = 1000  # defects of one kind that are kept


class RecordRow(NamedTuple):
    """What ``RECORD`` says about a file: the hash as ``sha256`` and its digest, and the size.

    The digest is kept as written, in base64 without padding: most are never used.
    """

    algorithm: str
    digest: str
    size: int | None

    def has(self, digest: bytes) -> bool:
        """Whether its digest is the same as a file's."""
        padded = self.digest + "=" * (-len(self.digest) % 4)
        try:
            return base64.urlsafe_b64decode(padded) == digest
        except ValueError:
            return False


def find_defects(
    archive: zipfile.ZipFile, file: IO[bytes], *, windows: bool = True, headers: bool = True
) -> Iterator[Defect]:
    """Yield what is wrong with an archive, whatever its members contain.

    Args:
        archive: The archive, as its central directory describes it.
        file: Its bytes.
        windows: Whether it is also unpacked on Windows.
        headers: Whether to read the headers of all members, not the directory alone.
    """
    infos = archive.infolist()
    yield from _bad_names(infos, windows=windows)
    for info in infos:
        name = info.filename
        if info.flag_bits & ENCRYPTED_FLAGS:
            yield Defect(DefectKind.ENCRYPTED, name)
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            yield Defect(DefectKind.COMPRESSION, name, f"method {info.compress_type}")
        if info.comment:
            yield Defect(DefectKind.STRUCTURE, name, "a comment in the central directory")
        if stat.S_ISLNK(info.external_attr >> 16):
            yield Defect(DefectKind.SYMLINK, name)
        if is_folder(info) and info.file_size:
            yield Defect(DefectKind.UNSAFE_NAME, name, "a folder with contents")
    if headers:
        yield from _headers(infos, file, archive.start_dir)
    for detail in directory_errors(file, archive.start_dir, len(infos)):
        yield Defect(DefectKind.STRUCTURE, "", detail)


def is_folder(info: zipfile.ZipInfo) -> bool:
    """Whether a member is a folder, according to its name."""
    return info.filename.endswith("/")


def _bad_names(infos: Sequence[zipfile.ZipInfo], *, windows: bool) -> Iterator[Defect]:
    seen: set[str] = set()
    folded: dict[str, str] = {}
    for info in infos:
        name = info.filename
        if name in seen:
            yield Defect(DefectKind.DUPLICATE, name)
        seen.add(name)
        path = name.rstrip("/")
        key = path.casefold()
        plain = name.isascii() and not _NOT_PLAIN.search(key)  # nearly all are
        same = folded.setdefault(key if plain else _folded(path), path)
        if same != path:
            yield Defect(DefectKind.CASE, name, f"and {same}")
        if not plain:
            yield from _unsafe(info, path, windows=windows)
    yield from _inside_files(seen)


def _folded(path: str) -> str:
    """Return the same key for all names that are one file on Windows or macOS.

    macOS ignores how an accent is encoded, and invisible characters; Windows ignores dots and
    spaces at the end of a name, and the name of the stream that holds the contents of a file.
    """
    path = normalize("NFD", normalize("NFD", path).casefold())
    path = "".join(character for character in path if category(character) != "Cf")
    path = path.replace("\\", "/").removesuffix("::$data")
    return "/".join(part.rstrip(". ") or part for part in path.split("/"))


def _inside_files(names: Collection[str]) -> Iterator[Defect]:
    """Yield the members that are files, but also folders of others."""
    # Not with a set of all folders: a name of 60 kB can have 30,000 of them, each as long.
    ordered = sorted(name.rstrip("/") for name in names)
    for name in sorted(names):
        place = bisect_left(ordered, f"{name}/")
        if name and ordered[place : place + 1] and ordered[place].startswith(f"{name}/"):
            yield Defect(DefectKind.UNSAFE_NAME, name, "a file, but also a folder of others")


def _unsafe(info: zipfile.ZipInfo, path: str, *, windows: bool) -> Iterator[Defect]:
    """Yield what is wrong with one name; `path` is the name without a slash at its end."""
    kind, name = DefectKind.UNSAFE_NAME, info.filename
    if re.search(_CONTROL, name):
        yield Defect(kind, name, "control characters")
    elif not info.flag_bits & UTF8_FLAG and not name.isascii():
        yield Defect(kind, name, "not UTF-8")
    if "\\" in name:
        yield Defect(kind, name, "a backslash")
    elif not path:
        yield Defect(kind, name, "empty")
    elif path.startswith("/") or re.match(_DRIVE, path):
        yield Defect(kind, name, "absolute")
    elif not set(path.split("/")).isdisjoint({"..", ".", ""}):
        yield Defect(kind, name, "not a plain path")
    elif windows:
        found = (_NOT_ON_WINDOWS.search(part) for part in path.split("/"))
        match = next(filter(None, found), None)
        if match is not None:
            yield Defect(kind, name, _WHY_NOT[match.lastgroup or ""])


def _headers(infos: Sequence[zipfile.ZipInfo], file: IO[bytes], end: int) -> Iterator[Defect]:
    """Compare each local header with the central directory, and check for gaps between members."""
    position, before = 0, -1
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset == before:
            yield Defect(DefectKind.HEADERS, info.filename, "shares the header of another member")
            continue
        before = info.header_offset
        file.seek(before)
        data = file.read(LOCAL.size + len(info.orig_filename))
        if before == position and is_plain(data, info):
            position += len(data) + info.compress_size
            continue
        file.seek(before)
        data = file.read(LOCAL.size)
        header = parse_local(data + file.read(int.from_bytes(data[26:28], "little")))
        if header is None:
            yield Defect(
                DefectKind.HEADERS, info.filename, "no header where the central directory says"
            )
            position = max(position, before)
            continue
        if before != position:
            yield Defect(
                DefectKind.STRUCTURE, info.filename, "bytes before it that belong to no member"
            )
        yield from _disagreements(info, header, file.read(header.extra_length))
        position = before + header.length + info.compress_size
        if header.flags & DESCRIPTOR_FLAG:
            position = after_descriptor(file, position, info)
    if position != end:
        yield Defect(
            DefectKind.STRUCTURE, "", "bytes after the last member that belong to no member"
        )


def _disagreements(info: zipfile.ZipInfo, header: LocalHeader, data: bytes) -> Iterator[Defect]:
    name = info.filename
    if header.name != info.orig_filename:
        yield Defect(DefectKind.HEADERS, name, "a different name in its header")
    if header.method != info.compress_type or (header.flags ^ info.flag_bits) & ENCRYPTED_FLAGS:
        yield Defect(DefectKind.HEADERS, name, "a different method in its header")
    extra, of_directory = parse_extra(data), parse_extra(info.extra)
    for fields in (extra, of_directory):
        if fields is not None and not set(fields.names) <= {info.orig_filename}:
            yield Defect(DefectKind.HEADERS, name, "a different name in an extra field")
            break
    if extra is None:
        yield Defect(DefectKind.STRUCTURE, name, "malformed extra fields in its header")
    elif header.flags & DESCRIPTOR_FLAG:
        yield Defect(DefectKind.DESCRIPTOR, name)
    elif (info.compress_size, info.file_size) != sizes(header, extra):
        yield Defect(DefectKind.HEADERS, name, "different sizes in its header")


def dist_info_defects(names: Iterable[str], stem: str) -> Iterator[Defect]:
    """Yield what is wrong with the names of the ``.dist-info`` folders.

    Args:
        names: The members' names.
        stem: The name and the version as spelled in the filename, ``x-1.0``.
    """
    folders = {name.partition("/")[0] for name in names if "/" in name}
    found = sorted(folder for folder in folders if folder.endswith(".dist-info"))
    if len(found) > 1:
        for folder in found:
            yield Defect(DefectKind.DIST_INFO, folder, f"one of {len(found)}")
    elif found and found != [f"{stem}.dist-info"]:
        yield Defect(DefectKind.DIST_INFO, found[0], f"not {stem}.dist-info")


def parse_record(data: bytes, names: Iterable[str]) -> tuple[dict[str, RecordRow], list[Defect]]:
    """Parse ``RECORD``, which has one row per file.

    Args:
        data: Its contents.
        names: The members, whose rows are kept; other rows are only reported.

    Returns:
        The rows, by path, and defects for rows of no member, or not written as they should be.

    Raises:
        AuditError: It is not such a file.
    """
    known, rows = set(names), {}
    strange: list[Defect] = []
    backslashes = 0
    try:
        for row in csv.reader(io.TextIOWrapper(io.BytesIO(data), "utf-8", newline="")):
            if not row:
                continue
            path, hashed, size = row
            algorithm, _, digest = hashed.partition("=")
            if path not in known and path.replace("\\", "/") in known:
                path = path.replace("\\", "/")
                backslashes += 1
            if path in known:
                rows[path] = RecordRow(algorithm, digest, int(size) if size else None)
            elif len(strange) < _SHOWN:
                strange.append(Defect(DefectKind.RECORD, path, "in RECORD, but not in the archive"))
    except (ValueError, csv.Error) as error:
        raise AuditError(f"{str(error)[:100] or type(error).__name__}") from error
    if backslashes:
        strange.append(Defect(DefectKind.RECORD_STYLE, "", f"{backslashes} paths with backslashes"))
    return rows, strange


def record_defects(
    rows: Mapping[str, RecordRow], infos: Iterable[zipfile.ZipInfo], folder: str
) -> Iterator[Defect]:
    """Yield where ``RECORD`` contradicts the members, by name and size.

    Args:
        rows: See `parse_record`.
        infos: The members.
        folder: The ``.dist-info`` folder.
    """
    own = f"{folder}/RECORD"
    exempt = {own, *(f"{folder}/{name}" for name in SIGNATURES)}
    if own not in rows:
        yield Defect(DefectKind.RECORD_STYLE, "", "no row for RECORD itself")
    for info in infos:
        name = info.filename
        if name in exempt or is_folder(info):
            continue
        row = rows.get(name)
        if row is None:
            yield Defect(DefectKind.RECORD, name, "no row in RECORD")
        elif row.algorithm not in HASHES:
            yield Defect(DefectKind.RECORD, name, "no hash of sha256 or better in RECORD")
        elif row.size is not None and row.size != info.file_size:
            yield Defect(DefectKind.RECORD, name, "a different size in RECORD")


def entry_point_defects(data: bytes, name: str) -> Iterator[Defect]:
    """Yield why the index rejects an ``entry_points.txt`` (the entry points specification).

    Args:
        data: Its contents.
        name: Its path.
    """
    import configparser  # noqa: PLC0415 -- few wheels have entry points

    try:
        text = data.decode("utf-8")
    except ValueError as error:
        yield Defect(DefectKind.ENTRY_POINTS, name, str(error)[:200])
        return
    wrong = _wrong_line(text)
    if wrong:
        yield Defect(DefectKind.ENTRY_POINTS, name, f"line {wrong} is not an entry")
        return
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    parser.optionxform = str  # type: ignore[method-assign, assignment] # names keep their case
    try:
        parser.read_string(text)
    except (ValueError, configparser.Error) as error:
        yield Defect(DefectKind.ENTRY_POINTS, name, str(error).partition("\n")[0][:200])
        return
    for section in ("console_scripts", "gui_scripts"):
        for entry in parser[section] if parser.has_section(section) else ():
            if not re.fullmatch(_ENTRY_POINT, entry):
                yield Defect(DefectKind.ENTRY_POINTS, name, f"the name {entry[:100]!r}")


def _wrong_line(text: str) -> int:
    """Return the number of a line that no parser accepts, or of one doubtful line too many; or 0.

    `configparser` skips lines that it does not understand, in time quadratic in their number.
    """
    doubtful = 0
    for number, line in enumerate(io.StringIO(text), 1):
        if not _ENTRY_LINE.match(line):
            doubtful += 1
            # Only an indented line can continue the value before it.
            if not line[0].isspace() or doubtful > _SHOWN:
                return number
    return 0


def bounded(defects: Iterable[Defect]) -> tuple[Defect, ...]:
    """Return defects, only so many of each kind, to bound the memory for a hostile archive."""
    kept: dict[DefectKind, list[Defect]] = {}
    for defect in defects:
        of_kind = kept.setdefault(defect.kind, [])
        if len(of_kind) < _SHOWN:
            of_kind.append(defect)
    return tuple(defect for of_kind in kept.values() for defect in of_kind)

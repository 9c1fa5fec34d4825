"""Wheels, opened in memory: nothing is unpacked, and members are inflated as streams."""

from __future__ import annotations

import re
import zipfile
from collections import Counter
from contextlib import ExitStack, contextmanager
from datetime import date
from functools import partial
from itertools import chain, islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit.archive.directory import open_zip
from torch_abi_audit.archive.files import LocalFile
from torch_abi_audit.archive.members import open_member, processors
from torch_abi_audit.budget import Budget
from torch_abi_audit.claims.variants import VARIANT_FILE, parse_variant
from torch_abi_audit.errors import AuditError, LibraryError, LimitError, SourceError
from torch_abi_audit.formats import read_libraries
from torch_abi_audit.formats.assertions import AssertionScanner, scan, with_assertions
from torch_abi_audit.model import Defect, DefectKind, Member, TargetContents, TargetKind
from torch_abi_audit.targets.integrity import (
    HASHES,
    SIGNATURES,
    bounded,
    dist_info_defects,
    entry_point_defects,
    find_defects,
    is_folder,
    parse_record,
    record_defects,
)
from torch_abi_audit.targets.metadata import license_files, parse_claims, parse_filename
from torch_abi_audit.wording import count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path
    from typing import IO

    from torch_abi_audit.archive.files import ArchiveFile
    from torch_abi_audit.budget import Limits
    from torch_abi_audit.model import VariantProperty
    from torch_abi_audit.targets.integrity import RecordRow

_DIST_INFO_FILE = re.compile(r"[^/]+\.dist-info/WHEEL")
# METADATA contains the project's README; RECORD has a line for each member.
_MAX_DIST_INFO_BYTES, _MAX_RECORD_BYTES = 4 << 20, 16 << 20
_MAX_VARIANT_BYTES = 1 << 20
_CHANGEABLE = {
    "METADATA": _MAX_DIST_INFO_BYTES,
    "WHEEL": _MAX_DIST_INFO_BYTES,
    "RECORD": _MAX_RECORD_BYTES,
}
# The package index rejects an archive that inflates to more than this and to more than fifty
# times its size (the default limit here), so no published wheel does.
_BOMB_BYTES = 64 << 20
_LARGE = 1 << 20  # bytes, compressed
_SMALLEST_LIBRARY = 52  # bytes: the header of an ELF file of 32 bits
# What neither Python nor a loader takes for a library.
_NO_LIBRARIES = frozenset(
    {
        ".bat", ".c", ".cc", ".cfg", ".cmake", ".cpp", ".css", ".csv", ".cu", ".cuh", ".gif",
        ".h", ".hh", ".hpp", ".html", ".ini", ".ipynb", ".jinja", ".jpg", ".js", ".json",
        ".md", ".pem", ".png", ".proto", ".pxd", ".py", ".pyi", ".pyx", ".rst", ".sh", ".svg",
        ".toml", ".tsv", ".txt", ".typed", ".xml", ".yaml", ".yml",
    }
)  # fmt: skip
_TEXTS = frozenset({"AUTHORS", "COPYING", "LICENSE", "Makefile", "NOTICE", "README"})


def read_wheel(path: Path, budget: Budget | None = None, *, verify: bool = False) -> TargetContents:
    """Read a wheel on disk; see `read_archive`."""
    return read_archive(LocalFile(path), budget, verify=verify)


def read_archive(
    file: ArchiveFile,
    budget: Budget | None = None,
    *,
    verify: bool = False,
    beside: Callable[[bytes], Iterable[Defect]] | None = None,
) -> TargetContents:
    """Read a wheel's claims, the facts of its compiled members, and what is wrong with the archive.

    Members are ordered by path. A member that can't be read is returned with its error; the
    others are still read. Of a remote wheel without a member that can be a library by its name,
    only the directory and the metadata are read.

    Args:
        file: The wheel.
        budget: What may be read of it; without one, the default limits.
        verify: Whether to inflate every member to its end, and check it and its hash in
            ``RECORD``. Otherwise a member is inflated to its end only if little is left
            after its tables.
        beside: Compares ``METADATA`` with what there is beside the wheel.

    Raises:
        AuditError: The file is not a wheel that can be opened.
        LimitError: It exceeds the limits.
    """
    budget = budget or Budget()
    if not file.name.endswith(".whl"):
        raise AuditError("not a wheel: the name does not end in .whl")
    named = parse_filename(file.name)
    stem = named.stem
    with _open_archive(file, budget) as archive, file.open() as raw:
        wheel = _Wheel(file, archive, _by_name(archive))
        members = wheel.members
        folder = _dist_info(members, stem)
        metadata = wheel.read(f"{folder}/METADATA")
        properties, in_variant = _variant(wheel, folder, named.variant)
        claims, found = parse_claims(file.name, wheel.read(f"{folder}/WHEEL"), metadata, properties)
        rows, in_record = _record(wheel, folder)
        skipped = file.remote and not verify and not any(map(_may_be_compiled, members.values()))
        reads = iter(()) if skipped else _read_members(wheel, rows, budget, verify=verify)
        # The first one starts the threads, which inflate while the archive is checked.
        first = list(islice(reads, 1))
        windows = any(
            tag.platform == "any" or tag.platform.startswith("win") for tag in claims.tags
        )
        defects = [*find_defects(archive, raw, windows=windows, headers=not skipped)]
        defects += [*dist_info_defects(members, stem), *found, *in_variant]
        defects += [*in_record, *_licenses(metadata, members, folder)]
        defects += _entry_points(wheel, folder)
        defects += () if beside is None else beside(metadata)
        libraries = []
        for read in chain(first, reads):
            libraries += [read.member] if read.member else []
            defects += [read.defect] if read.defect else []
        return TargetContents(
            TargetKind.WHEEL,
            claims,
            tuple(libraries),
            bounded(defects),
            _newest_day(members[item.path] for item in libraries),
        )


def read_dist_info(path: Path, limits: Limits) -> dict[str, bytes]:
    """Read the files that describe a wheel: ``METADATA``, ``WHEEL`` and ``RECORD``.

    Returns:
        Their contents, by the names of the members.

    Raises:
        AuditError: One of them can't be read, or occurs twice, or the wheel is signed.
    """
    file = LocalFile(path)
    with _open_archive(file, Budget(limits)) as archive:
        names = Counter(info.orig_filename for info in archive.infolist())
        wheel = _Wheel(file, archive, _by_name(archive))
        members = wheel.members
        folder = _dist_info(members, parse_filename(path.name).stem)
        for name in SIGNATURES:
            if f"{folder}/{name}" in members:
                raise AuditError(f"{folder}/{name}: a change would make the signature invalid")
        files = {}
        for name, limit in _CHANGEABLE.items():
            member = f"{folder}/{name}"
            if names[member] > 1:
                raise AuditError(f"{member} is {names[member]} times in the archive")
            files[member] = wheel.read(member, limit)
        return files


class _Wheel(NamedTuple):
    """A wheel that is open: its file, its directory, and its members by their names."""

    file: ArchiveFile
    archive: zipfile.ZipFile
    members: Mapping[str, zipfile.ZipInfo]

    def read(self, name: str, limit: int = _MAX_DIST_INFO_BYTES) -> bytes:
        """Return the contents of a member that should be small.

        Raises:
            AuditError: It can't be read, or is not small.
        """
        info = self.members.get(name)
        if info is None:
            raise AuditError(f"no {name} in the archive")
        if info.file_size > limit:
            raise AuditError(f"{name} of {info.file_size} bytes")
        if name.endswith("/METADATA") and (data := self.file.metadata_of(info)) is not None:
            return data
        try:
            with self.file.open() as raw, open_member(self.archive, info, raw) as source:
                data = source.read_at(0, info.file_size)
                source.verify(whole=True)
                return data
        except LibraryError as error:
            raise AuditError(f"{name}: {error}") from error


def _by_name(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the members by their names in the directory; the last one if a name is repeated.

    Newer Python releases take a different name from an extra field, but older ones and other
    installers do not: the report should be the same on every host.
    """
    for info in archive.infolist():
        info.filename = info.orig_filename
    return {info.filename: info for info in archive.infolist()}


def _newest_day(infos: Iterable[zipfile.ZipInfo]) -> date | None:
    """Return the day of the newest timestamp.

    Midnight does not count: build tools set a constant time for reproducible archives.
    """
    for year, month, day, *time in sorted((info.date_time for info in infos), reverse=True):
        try:
            if any(time):
                return date(year, month, day)
        except ValueError:  # such as the 31st of February
            continue
    return None


class _Read(NamedTuple):
    """The result of reading a member: the member if compiled, and a defect in ``RECORD``."""

    member: Member | None
    defect: Defect | None = None


def _dist_info(names: Iterable[str], stem: str) -> str:
    """Return the ``.dist-info`` folder: the one the filename names, or else the only one."""
    folders = {name.partition("/")[0] for name in names if _DIST_INFO_FILE.fullmatch(name)}
    own = f"{stem}.dist-info"
    if own in folders:
        return own
    if len(folders) != 1:
        raise AuditError(
            f"{count(len(folders), '.dist-info folder')} with WHEEL and METADATA instead of 1"
        )
    return folders.pop()


def _defect(kind: DefectKind, name: str, error: AuditError) -> Defect:
    """Return what is wrong with a member that could not be read, if that is the wheel's fault.

    Raises:
        SourceError, LimitError: Nothing is known of the member.
    """
    if isinstance(error, (SourceError, LimitError)):
        raise error
    return Defect(kind, name, str(error))


def _record(wheel: _Wheel, folder: str) -> tuple[Mapping[str, RecordRow], Iterable[Defect]]:
    """Return the rows of ``RECORD``, and where they disagree with the archive."""
    name = f"{folder}/RECORD"
    if name not in wheel.members:
        return {}, [Defect(DefectKind.RECORD, name, "not in the archive")]
    try:
        rows, strange = parse_record(wheel.read(name, _MAX_RECORD_BYTES), wheel.members)
    except AuditError as error:
        return {}, [_defect(DefectKind.RECORD, name, error)]
    return rows, [*record_defects(rows, wheel.archive.infolist(), folder), *strange]


def _variant(
    wheel: _Wheel, folder: str, label: str | None
) -> tuple[tuple[VariantProperty, ...], tuple[Defect, ...]]:
    """Return the properties of a variant wheel, and what is wrong with its ``variant.json``."""
    name = f"{folder}/{VARIANT_FILE}"
    try:
        if label is not None and name in wheel.members:
            return parse_variant(wheel.read(name, _MAX_VARIANT_BYTES), label), ()
    except AuditError as error:
        return (), (_defect(DefectKind.VARIANT, name, error),)
    if label is None and name not in wheel.members:
        return (), ()
    wrong = "not in the archive" if label is not None else "the filename has no variant label"
    return (), (Defect(DefectKind.VARIANT, name, wrong),)


def _entry_points(wheel: _Wheel, folder: str) -> Iterator[Defect]:
    name = f"{folder}/entry_points.txt"
    if name in wheel.members:
        try:
            yield from entry_point_defects(wheel.read(name), name)
        except AuditError as error:
            yield _defect(DefectKind.ENTRY_POINTS, name, error)


def _licenses(metadata: bytes, names: Iterable[str], folder: str) -> Iterator[Defect]:
    present = set(names)
    for file in license_files(metadata):
        if f"{folder}/licenses/{file}" not in present:
            yield Defect(DefectKind.LICENSE, file, f"not below {folder}/licenses")


def _may_be_compiled(info: zipfile.ZipInfo) -> bool:
    """Whether a member can be a library, as far as its name and its size tell."""
    path = PurePosixPath(info.filename)
    if info.file_size < _SMALLEST_LIBRARY or path.parts[0].endswith(".dist-info"):
        return False
    return path.suffix.lower() not in _NO_LIBRARIES and path.name not in _TEXTS


def _read_members(
    wheel: _Wheel, rows: Mapping[str, RecordRow], budget: Budget, *, verify: bool
) -> Iterator[_Read]:
    # A folder with contents is read like a file, since other programs see it as one.
    infos = [info for info in wheel.archive.infolist() if info.file_size or not is_folder(info)]
    reading = partial(_read_member, wheel.archive, rows=rows if verify else None, budget=budget)
    yield from _in_threads(wheel.file, sorted(infos, key=lambda i: i.filename), reading)


def _in_threads(
    file: ArchiveFile,
    infos: Sequence[zipfile.ZipInfo],
    reading: Callable[[zipfile.ZipInfo, IO[bytes]], _Read],
) -> Iterator[_Read]:
    """Read members in order; large ones in threads, since inflating runs in parallel."""
    large = [info for info in infos if info.compress_size > _LARGE]
    threads = min(processors(), len(large))
    with ExitStack() as stack:
        raw = stack.enter_context(file.open())
        futures: dict[int, Future[_Read]] = {}  # by identity: names and headers can repeat
        if threads > 1:
            # Only for large wheels: the import costs as much as reading a small one.
            from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

            pool = stack.enter_context(ThreadPoolExecutor(threads))
            # The largest first, so that no thread is left alone with it at the end.
            for info in sorted(large, key=lambda info: -info.compress_size):
                futures[id(info)] = pool.submit(_read_apart, file, info, reading)
        for info in infos:
            future = futures.pop(id(info), None)
            yield reading(info, raw) if future is None else future.result()


def _read_apart(
    file: ArchiveFile,
    info: zipfile.ZipInfo,
    reading: Callable[[zipfile.ZipInfo, IO[bytes]], _Read],
) -> _Read:
    """Read a member in a thread of its own, through a file of its own."""
    with file.open() as raw:
        return reading(info, raw)


@contextmanager
def _open_archive(file: ArchiveFile, budget: Budget) -> Iterator[zipfile.ZipFile]:
    try:
        with file.open() as raw, open_zip(raw) as archive:
            infos, size = archive.infolist(), file.size
            inflated = sum(info.file_size for info in infos)
            budget.open(members=len(infos), inflated=inflated)
            if inflated > _BOMB_BYTES:
                budget.check_ratio(inflated, size)
            if any(not 0 <= i.header_offset <= size - i.compress_size for i in infos):
                raise AuditError("a member outside of the archive")
            yield archive
    except FileNotFoundError as error:
        raise AuditError("no such file") from error
    except OSError as error:
        raise AuditError(error.strerror or str(error)) from error


def _read_member(
    archive: zipfile.ZipFile,
    info: zipfile.ZipInfo,
    file: IO[bytes],
    *,
    rows: Mapping[str, RecordRow] | None,
    budget: Budget,
) -> _Read:
    """Read a member.

    Args:
        archive: The archive.
        info: The member.
        file: The archive's bytes, used by only one thread.
        rows: The rows of ``RECORD``, if every member is to be read to its end and checked.
        budget: What may still be read of the wheel.
    """
    verify = rows is not None
    row = rows.get(info.filename) if rows else None
    algorithm = row.algorithm if row and row.algorithm in HASHES else None
    defect = None
    scanner = AssertionScanner(budget)
    try:
        with open_member(
            archive, info, file, algorithm, budget=budget, passing=scanner.feed
        ) as source:
            slices = read_libraries(source, info.filename, budget)
            if not slices and not verify:
                return _Read(None)
            verified = source.verify(whole=verify)
            stored = slices and info.compress_type == zipfile.ZIP_STORED
            slices = with_assertions(slices, scan(source, budget) if stored else scanner.found)
            if row and algorithm and not row.has(source.digest):
                defect = Defect(
                    DefectKind.RECORD, info.filename, f"a different {algorithm} in RECORD"
                )
    except LibraryError as error:
        return _Read(Member(info.filename, (), error=str(error)))
    return _Read(Member(info.filename, slices, verified=verified) if slices else None, defect)

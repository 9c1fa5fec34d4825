"""The record of one audited wheel: what tables are made of, and what a cache keeps."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from torch_abi_audit.catalog.libraries import cuda_library
from torch_abi_audit.claims.cuda_packages import cuda_major
from torch_abi_audit.claims.python_tags import installing_interpreters
from torch_abi_audit.model import (
    LOADING,
    Cause,
    Claims,
    LayoutStatus,
    Reason,
    ReleaseStatus,
    Severity,
    Sign,
    TorchAbi,
    Verdict,
    library_name,
)
from torch_abi_audit.verdict.cross_wheel import platforms_of
from torch_abi_audit.verdict.sentence import needs_cuda, progress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from enum import StrEnum

    from torch_abi_audit.model import Cell, LibraryAudit, Subject, TargetReport

_Value = TypeVar("_Value")
_Enum = TypeVar("_Enum", bound="StrEnum")

_FORMAT = 2  # of the JSON; another one is refused
_REASONS = 2
_LONGEST = 1000  # characters of a text; symbols of hostile libraries have any number
_PYTHON = re.compile(r"[0-9]+\.[0-9]+t?")


class TorchCell(NamedTuple):
    """Whether a wheel loads on one torch release.

    Attributes:
        status: Whether it loads.
        layout: For the unstable ABI, whether torch's classes are laid out as it expects.
        reasons: The first reasons why it does not load, or what changed.
        libstdcxx: The symbol version that libstdc++ has to have; see `Cell.libstdcxx`.
    """

    status: ReleaseStatus
    layout: LayoutStatus | None = None
    reasons: tuple[Reason, ...] = ()
    libstdcxx: str | None = None

    @property
    def loads_unchanged(self) -> bool:
        """Whether it loads and no class that it depends on is known to have changed."""
        return self.status in LOADING and self.layout is not LayoutStatus.CHANGED


class FailedRule(NamedTuple):
    """A finding that is an error or a warning."""

    rule: str
    severity: Severity
    message: str


@dataclass(frozen=True, slots=True)
class WheelRecord:
    """What is known about one wheel. Its values are plain, and survive a round trip as JSON.

    Attributes:
        filename: The wheel's filename.
        project: The normalized name of its project.
        version: Its version.
        pythons: The builds of CPython that install it, such as ``3.13`` and ``3.13t``.
        platforms: The systems and machines of its tags, such as ``linux x86_64``; or ``any``.
        verdict: The verdict.
        summary: The reasons for it, in one sentence.
        abi: The torch ABI of its worst library.
        stable: How many libraries use only torch's stable ABI.
        unstable: How many use its unstable ABI.
        libraries: How many libraries it has.
        torch_floor: The oldest torch for all of its libraries, if they are on the stable ABI.
        built_with: The torch releases that it may have been built with, oldest first.
        built_sign: The evidence for that.
        requires_torch: The metadata's requirement; None if torch is not declared, empty for any.
        requires_python: ``Requires-Python``.
        releases: For each known torch release, oldest first, whether it loads. Empty if it does
            not use torch.
        asked: The torch releases that the metadata allows.
        build: The builds of torch that `releases` is about; None for those on PyPI.
        derived: The releases whose builds were not measured but derived from PyPI's.
        cuda: The major releases of the CUDA runtimes that its libraries need.
        cuda_build: Whether it needs libraries that only CUDA builds of torch have.
        failed: The findings that are errors or warnings.
        error: Why it could not be read.
        uploaded: The day it was uploaded, in ISO format.
        size: The size of the file in bytes.
    """

    filename: str
    project: str
    version: str
    pythons: tuple[str, ...]
    platforms: tuple[str, ...]
    verdict: Verdict
    summary: str
    abi: TorchAbi = TorchAbi.NONE
    stable: int = 0
    unstable: int = 0
    libraries: int = 0
    torch_floor: str | None = None
    built_with: tuple[str, ...] = ()
    built_sign: Sign | None = None
    requires_torch: str | None = None
    requires_python: str | None = None
    releases: Mapping[str, TorchCell] = field(default_factory=dict)
    asked: tuple[str, ...] = ()
    build: str | None = None
    derived: tuple[str, ...] = ()
    cuda: tuple[int, ...] = ()
    cuda_build: bool = False
    failed: tuple[FailedRule, ...] = ()
    error: str | None = None
    uploaded: str | None = None
    size: int | None = None

    @property
    def complete(self) -> bool:
        """Whether everything in it that uses torch is on the stable ABI."""
        return self.error is None and self.stable > 0 and self.unstable == 0

    def cell(self, release: Version) -> TorchCell:
        """Return whether it loads on a torch release; unknown where there is no data."""
        return self.releases.get(str(release), TorchCell(ReleaseStatus.UNKNOWN))

    def allows(self, release: Version) -> bool:
        """Whether the metadata allows a known torch release."""
        return str(release) in self.asked

    def to_json(self) -> str:
        """Return the record as JSON, in one line of ASCII."""
        plain = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        plain["releases"] = {
            release: [
                cell.status,
                cell.layout,
                [list(_reason(item)) for item in cell.reasons],
                cell.libstdcxx,
            ]
            for release, cell in self.releases.items()
        }
        return json.dumps({"format": _FORMAT, **plain}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> WheelRecord:
        """Return the record that JSON holds.

        Raises:
            ValueError: It is not exactly what `to_json` writes.
        """
        try:
            plain = json.loads(text)
        except RecursionError:
            raise ValueError("nested too deeply") from None
        names = [item.name for item in dataclasses.fields(cls)]
        if not isinstance(plain, dict) or set(plain) != {"format", *names}:
            raise ValueError("not the record of a wheel")
        if _number(plain["format"]) != _FORMAT:
            raise ValueError("a record in another format")
        return cls(**{name: _PARSERS[name](plain[name]) for name in names})  # type: ignore[arg-type]


def record_of(
    report: TargetReport,
    *,
    filename: str,
    size: int | None = None,
    uploaded: date | None = None,
) -> WheelRecord:
    """Return the record of an audited wheel.

    Args:
        report: The conclusions about it, checked against the releases its metadata allows.
        filename: Its filename, which need not be what the report calls it.
        size: Its size in bytes.
        uploaded: The day it was uploaded.

    Raises:
        ValueError: It is not the filename of a wheel.
    """
    claims = _claims(report, filename)
    record = WheelRecord(
        filename=filename,
        project=canonicalize_name(claims.name),
        version=str(claims.version),
        pythons=tuple(map(str, installing_interpreters(claims))),
        platforms=platforms_of(claims),
        verdict=report.verdict,
        summary=_clipped(report.summary),
        requires_python=str(claims.requires_python) or None,
        failed=tuple(
            FailedRule(item.rule, item.severity, _clipped(item.message))
            for item in report.findings
            if item.severity is not Severity.NOTE
        ),
        error=None if report.error is None else _clipped(report.error),
        uploaded=None if uploaded is None else uploaded.isoformat(),
        size=size,
    )
    return record if report.subject is None else _with_subject(record, report, report.subject)


def _with_subject(record: WheelRecord, report: TargetReport, subject: Subject) -> WheelRecord:
    """Return a record with what was found in the wheel."""
    stable, unstable = progress(item.torch for item in subject.libraries)
    read, unread = subject.libraries, subject.unreadable
    built, floor = subject.built_with, subject.torch_floor
    return dataclasses.replace(
        record,
        abi=subject.torch_abi,
        stable=stable,
        unstable=unstable,
        libraries=len({*(item.path for item in read), *(item.path for item in unread)}),
        torch_floor=None if floor is None else str(floor.release),
        built_with=tuple(map(str, built.releases)) if built else (),
        built_sign=built and built.sign,
        requires_torch=subject.requires_torch,
        releases={str(release): _cell(cell) for release, cell in subject.matrix.row.items()},
        asked=tuple(map(str, report.asked)),
        build=None if subject.build is None else subject.build.name,
        derived=tuple(map(str, subject.build.derived)) if subject.build else (),
        cuda=tuple(sorted({major for item in subject.libraries for major in _cuda(item)})),
        cuda_build=needs_cuda(subject),
    )


def _claims(report: TargetReport, filename: str) -> Claims:
    """Return what a wheel's metadata claims, or its filename if there was none to read."""
    if report.claims is not None and report.claims.stated:
        return report.claims
    name, version, _, tags = parse_wheel_filename(filename)
    return Claims(name, version, tags, tags, root_is_purelib=False, requires_python=SpecifierSet())


def _cell(cell: Cell) -> TorchCell:
    changes = (Reason(Cause.LAYOUT, change.name, change.told) for change in cell.changes)
    reasons = [*cell.reasons, *changes][:_REASONS]
    clipped = (Reason(r.cause, _clipped(r.name), _clipped(r.detail)) for r in reasons)
    return TorchCell(cell.status, cell.layout, tuple(clipped), cell.libstdcxx)


def _cuda(item: LibraryAudit) -> set[int]:
    """Return the major releases of the CUDA libraries that a library needs from elsewhere."""
    needed = map(library_name, set(item.library.needed) - set(item.library.optional))
    found = (cuda_library(name) for name in needed if name not in item.own)
    majors = {cuda_major(library) for library in found if library is not None}
    return {major for major in majors if major is not None}


def _clipped(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _reason(reason: Reason) -> tuple[str, str, str]:
    return reason.cause, reason.name, reason.detail


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("not a string")  # noqa: TRY004 -- of a file, not of a caller
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("not a number")
    return value


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("neither true nor false")  # noqa: TRY004 -- of a file
    return value


def _version(value: object) -> str:
    if str(Version(_text(value))) != value:
        raise ValueError("not a normalized version")
    return value


def _python(value: object) -> str:
    if _PYTHON.fullmatch(_text(value)) is None:
        raise ValueError("not a build of CPython")
    return _text(value)


def _day(value: object) -> str:
    if date.fromisoformat(_text(value)).isoformat() != value:
        raise ValueError("not a day")
    return value


def _one_of(kind: type[_Enum]) -> Callable[[object], _Enum]:
    return lambda value: kind(_text(value))


def _maybe(parse: Callable[[object], _Value]) -> Callable[[object], _Value | None]:
    return lambda value: None if value is None else parse(value)


def _items(value: object, length: int | None = None) -> list[object]:
    if not isinstance(value, list) or length not in (None, len(value)):
        raise ValueError("not the list that it should be")
    return value


def _each(parse: Callable[[object], _Value]) -> Callable[[object], tuple[_Value, ...]]:
    return lambda value: tuple(map(parse, _items(value)))


def _parse_reason(value: object) -> Reason:
    cause, name, detail = _items(value, 3)
    return Reason(Cause(_text(cause)), _text(name), _text(detail))


def _parse_cell(value: object) -> TorchCell:
    status, layout, reasons, libstdcxx = _items(value, 4)
    return TorchCell(
        ReleaseStatus(_text(status)),
        _maybe(_one_of(LayoutStatus))(layout),
        _each(_parse_reason)(reasons),
        _maybe(_text)(libstdcxx),
    )


def _parse_failed(value: object) -> FailedRule:
    rule, severity, message = _items(value, 3)
    return FailedRule(_text(rule), Severity(_text(severity)), _text(message))


def _parse_releases(value: object) -> dict[str, TorchCell]:
    if not isinstance(value, dict):
        raise ValueError("not an object")  # noqa: TRY004 -- of a file
    return {_version(release): _parse_cell(cell) for release, cell in value.items()}


_PARSERS: dict[str, Callable[[object], object]] = {
    "filename": _text,
    "project": _text,
    "version": _version,
    "pythons": _each(_python),
    "platforms": _each(_text),
    "verdict": _one_of(Verdict),
    "summary": _text,
    "abi": _one_of(TorchAbi),
    "stable": _number,
    "unstable": _number,
    "libraries": _number,
    "torch_floor": _maybe(_version),
    "built_with": _each(_version),
    "built_sign": _maybe(_one_of(Sign)),
    "requires_torch": _maybe(_text),
    "requires_python": _maybe(_text),
    "releases": _parse_releases,
    "asked": _each(_version),
    "build": _maybe(_text),
    "derived": _each(_version),
    "cuda": _each(_number),
    "cuda_build": _truth,
    "failed": _each(_parse_failed),
    "error": _maybe(_text),
    "uploaded": _maybe(_day),
    "size": _maybe(_number),
}

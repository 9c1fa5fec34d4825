"""The state of many packages: how far each is with the stable ABI, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from packaging.version import Version

from torch_abi_audit.model import Severity, TorchAbi
from torch_abi_audit.rules import UNSTABLE_ABI
from torch_abi_audit.survey.compatibility import python_key
from torch_abi_audit.survey.wording import cuda_in_short, loads_on
from torch_abi_audit.wording import count, unique

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from torch_abi_audit.survey.wheel import WheelRecord

NO_WHEELS = "no wheels"


class Progress(StrEnum):
    """How far a release of a package has moved to torch's stable ABI.

    `COMPLETE`: all of its libraries that use torch. `PARTIAL`: some of them. `NOT_STARTED`:
    none. `NO_TORCH`: no library of it uses torch. `UNREAD`: a wheel could not be read, so that
    it is not known. `NO_WHEELS`: there is no wheel.
    """

    COMPLETE = "complete"
    PARTIAL = "in-progress"
    NOT_STARTED = "not-started"
    NO_TORCH = "no-torch"
    UNREAD = "unread"
    NO_WHEELS = "no-wheels"


@dataclass(frozen=True, slots=True)
class PackageState:
    """The state of one package, by the wheels of its newest release.

    Attributes:
        project: The package.
        progress: How far it is.
        abi: The same in words.
        version: Its newest release; None without wheels.
        uploaded: The day of its first wheel, in ISO format.
        since: The oldest release from which on all are complete.
        declared: What its wheels require of torch; see `WheelRecord.requires_torch`.
        loads: The torch releases that its wheels load on, in words; by platform if they differ.
        pythons: The builds of CPython that install one of its wheels.
        cuda: The CUDA that its wheels need, in words.
        errors: What is wrong with its claims, a sentence each.
        wheels: How many wheels of the release were audited.
    """

    project: str
    progress: Progress
    abi: str
    version: str | None = None
    uploaded: str | None = None
    since: str | None = None
    declared: tuple[str | None, ...] = ()
    loads: tuple[str, ...] = ()
    pythons: tuple[str, ...] = ()
    cuda: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    wheels: int = 0


def survey(
    records: Mapping[str, Sequence[WheelRecord]],
    releases: Sequence[Version],
    *,
    notes: Mapping[str, str] | None = None,
    published: Mapping[str, Sequence[str]] | None = None,
) -> tuple[PackageState, ...]:
    """Return the state of packages, in the order of their names.

    Args:
        records: The wheels of each: those of its newest release, and of older ones as far as
            they were read.
        releases: The known torch releases, oldest first.
        notes: Why there are no wheels of others.
        published: The releases of each that have wheels, if known; see `needed_next`.
    """
    notes, published = notes or {}, published or {}
    return tuple(
        _state(name, records[name], releases, published.get(name, ()))
        if records.get(name)
        else PackageState(name, Progress.NO_WHEELS, notes.get(name, NO_WHEELS))
        for name in sorted({*records, *notes})
    )


def needed_next(records: Iterable[WheelRecord], published: Iterable[str]) -> str | None:
    """Return the release to read next to know since when a package is complete; None if known.

    The newest release comes first, then older ones while all that were read are complete.

    Args:
        records: The wheels of the package that were read, of each release all.
        published: The releases of the package that have wheels.
    """
    read = _by_version(records)
    for version in _final(map(Version, published)):
        if version not in read:
            return str(version)
        if _progress(read[version]) is not Progress.COMPLETE:
            return None
    return None


def _final(versions: Iterable[Version]) -> list[Version]:
    """Return releases without pre-releases, unless there are no others; the newest first."""
    found = set(versions)
    return sorted({v for v in found if not v.is_prerelease} or found, reverse=True)


def _by_version(records: Iterable[WheelRecord]) -> dict[Version, list[WheelRecord]]:
    found: dict[Version, list[WheelRecord]] = {}
    for record in records:
        found.setdefault(Version(record.version), []).append(record)
    return found


def _progress(wheels: Sequence[WheelRecord]) -> Progress:
    """Return how far a release is: every wheel of it counts."""
    users = [wheel for wheel in wheels if wheel.abi is not TorchAbi.NONE]
    if any(wheel.unstable for wheel in users):
        some = any(wheel.stable for wheel in users)
        return Progress.PARTIAL if some else Progress.NOT_STARTED
    if any(wheel.error is not None for wheel in wheels):
        return Progress.UNREAD
    return Progress.COMPLETE if users else Progress.NO_TORCH


def _state(
    project: str,
    records: Sequence[WheelRecord],
    releases: Sequence[Version],
    published: Sequence[str],
) -> PackageState:
    by_version = _by_version(records)
    newest = _final(by_version)[0]
    wheels = sorted(by_version[newest], key=lambda wheel: wheel.filename)
    progress = _progress(wheels)
    since, more = _since(by_version, published)
    days = [wheel.uploaded for wheel in wheels if wheel.uploaded is not None]
    users = [wheel for wheel in wheels if wheel.releases]
    return PackageState(
        project=project,
        progress=progress,
        abi=_abi(progress, wheels, since, or_earlier=more),
        version=str(newest),
        uploaded=min(days, default=None),
        since=None if since is None else str(since),
        declared=_declared(wheel.requires_torch for wheel in users),
        loads=_by_platform(users, lambda wheel: loads_on(wheel, releases)),
        pythons=tuple(sorted({p for w in wheels for p in w.pythons}, key=python_key)),
        cuda=_by_platform(wheels, lambda wheel: cuda_in_short(wheel.cuda, build=wheel.cuda_build)),
        errors=_errors(wheels),
        wheels=len(wheels),
    )


def _since(
    read: Mapping[Version, Sequence[WheelRecord]], published: Iterable[str]
) -> tuple[Version | None, bool]:
    """Return the oldest release from which on all are complete, and if older ones may be too."""
    since = None
    for version in _final([*read, *map(Version, published)]):
        if version not in read:
            return since, since is not None
        if _progress(read[version]) is not Progress.COMPLETE:
            break
        since = version
    return since, False


def _declared(values: Iterable[str | None]) -> tuple[str | None, ...]:
    """Return what wheels declare without repetition, in a fixed order."""
    return tuple(sorted(set(values), key=lambda value: (value is not None, value or "")))


def _abi(
    progress: Progress, wheels: Sequence[WheelRecord], since: Version | None, *, or_earlier: bool
) -> str:
    """Say how far a release is."""
    unread = sum(wheel.error is not None for wheel in wheels)
    but = f" ({unread} of {count(len(wheels), 'wheel')} could not be read)" if unread else ""
    match progress:
        case Progress.COMPLETE:
            return f"stable: complete since {since}{' or earlier' if or_earlier else ''}"
        case Progress.PARTIAL:
            return f"in progress: {_libraries(wheels)}{but}"
        case Progress.NOT_STARTED:
            return f"not started{but}"
        case Progress.NO_TORCH:
            return "no compiled torch code"
        case _ if unread == len(wheels):
            return "wheels could not be read"
        case _:
            return f"not known{but}"


def _libraries(wheels: Sequence[WheelRecord]) -> str:
    """Count the libraries on the stable ABI in the wheel that is least far."""
    users = [wheel for wheel in wheels if wheel.stable or wheel.unstable]
    least = min(users, key=lambda wheel: wheel.stable / (wheel.stable + wheel.unstable))
    total = least.stable + least.unstable
    said = f"{least.stable} of {count(total, 'library')}"
    counts = {(wheel.stable, wheel.unstable) for wheel in users}
    where = ", ".join(least.platforms)
    return f"{said} on {where}" if len(counts) > 1 and where else said


def _by_platform(
    wheels: Iterable[WheelRecord], told: Callable[[WheelRecord], str]
) -> tuple[str, ...]:
    """Return what is told of wheels; with their platforms where it is not the same of all."""
    found: dict[str, list[str]] = {}
    for wheel in wheels:
        found.setdefault(told(wheel), []).extend(wheel.platforms)
    if len(found) == 1:
        return tuple(filter(None, found))
    return tuple(
        f"{said} on {', '.join(sorted(set(platforms)))}"
        for said, platforms in found.items()
        if said
    )


def _errors(wheels: Iterable[WheelRecord]) -> tuple[str, ...]:
    """Return what makes wheels unsafe; the ABI that they use is told elsewhere."""
    return unique(
        failed.message
        for wheel in wheels
        for failed in wheel.failed
        if failed.severity is Severity.ERROR and failed.rule != UNSTABLE_ABI
    )

"""The releases of one package against torch's: the table, and which release to install."""

from __future__ import annotations

import shlex
from collections import defaultdict
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, NamedTuple

from packaging.version import Version

from torch_abi_audit.model import LayoutStatus, ReleaseStatus, Sign
from torch_abi_audit.survey.wording import differences
from torch_abi_audit.wording import minor, ranges, unique

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch_abi_audit.survey.wheel import WheelRecord

_MINOR = 2  # numbers of a minor release


@dataclass(frozen=True, slots=True)
class CompatibilityRow:
    """Wheels of one release that agree in all that the table tells of them.

    Attributes:
        wheels: The wheels, by filename.
        pythons: The builds of CPython that install one of them, on each of the platforms.
        platforms: Their platforms.
        differences: Where what they declare is not what they load on.
    """

    wheels: tuple[WheelRecord, ...]
    pythons: tuple[str, ...]
    platforms: tuple[str, ...]
    differences: tuple[str, ...]

    @property
    def wheel(self) -> WheelRecord:
        """One of the wheels, which stands for all."""
        return self.wheels[0]


@dataclass(frozen=True, slots=True)
class CompatibilityTable:
    """Which releases of a package work with which torch releases.

    Attributes:
        project: The package.
        releases: The known torch releases, oldest first.
        rows: The newest release first.
    """

    project: str
    releases: tuple[Version, ...]
    rows: tuple[CompatibilityRow, ...]


def compatibility(
    project: str, records: Iterable[WheelRecord], releases: Iterable[Version]
) -> CompatibilityTable:
    """Return the table of a package.

    Args:
        project: The package.
        records: Its wheels.
        releases: The known torch releases, oldest first.
    """
    known = tuple(releases)
    alike: dict[object, list[WheelRecord]] = defaultdict(list)
    for record in sorted(records, key=lambda item: item.filename):
        alike[_told(record, known)].append(record)
    rows = [row for wheels in alike.values() for row in _rows(wheels, known)]
    rows.sort(key=lambda row: (row.platforms, _python_order(row.pythons)))
    rows.sort(key=lambda row: Version(row.wheel.version), reverse=True)
    return CompatibilityTable(project, known, tuple(rows))


def _told(record: WheelRecord, known: Sequence[Version]) -> object:
    """Return all that a row tells of a wheel but its Pythons and platforms."""
    cells = tuple((record.cell(release)[:2], record.allows(release)) for release in known)
    what = record.requires_torch, record.cuda, record.cuda_build, differences(record, known)
    told = bool(record.releases) and cells, record.build
    return record.version, told, what, record.abi, record.error


def _rows(wheels: Sequence[WheelRecord], known: Sequence[Version]) -> Iterable[CompatibilityRow]:
    """Yield a row for all platforms of wheels that agree and have the same Pythons."""
    on: dict[str, list[WheelRecord]] = defaultdict(list)
    for wheel in wheels:
        for platform in wheel.platforms:
            on[platform].append(wheel)
    rows: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for platform, found in sorted(on.items()):
        pythons = {python for wheel in found for python in wheel.pythons}
        rows[tuple(sorted(pythons, key=python_key))].append(platform)
    for pythons_, platforms in rows.items():
        named = unique(wheel.filename for platform in platforms for wheel in on[platform])
        kept = tuple(wheel for wheel in wheels if wheel.filename in named)
        yield CompatibilityRow(kept, pythons_, tuple(platforms), differences(kept[0], known))


def python_key(name: str) -> tuple[bool, tuple[int, ...]]:
    """Return the key to sort builds of CPython by: free-threaded ones last."""
    numbers = tuple(map(int, name.removesuffix("t").split(".")))
    return name.endswith("t"), numbers


def _python_order(names: Iterable[str]) -> list[tuple[bool, tuple[int, ...]]]:
    return sorted(map(python_key, names))


class AnswerKind(StrEnum):
    """How well a release of a package suits a torch.

    `GUARANTEED`: by the stable ABI. `LOADS`: it loads and no class that it depends on has
    changed, without a guarantee. `NOT_ALLOWED`: the same, but its metadata does not allow that
    torch, so installers would replace it. `NONE`: no release is known to suit it. `UNKNOWN`:
    nothing is known of that torch.
    """

    GUARANTEED = "guaranteed"
    LOADS = "loads"
    NOT_ALLOWED = "not-allowed"
    NONE = "none"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Answer:
    """Which release of a package to install next to a torch.

    Attributes:
        project: The package.
        torch: The torch, as it was asked for.
        kind: How well the release suits it.
        version: The release; None if none suits it.
        command: The command that installs it; None if none suits it.
        why: What is known, in one sentence.
    """

    project: str
    torch: str
    kind: AnswerKind
    version: str | None
    command: str | None
    why: str


class _Fit(IntEnum):
    """How well a wheel suits a torch release, the worst first."""

    UNKNOWN = 0  # nothing is known of that torch on its platform
    BREAKS = 1
    CHANGED = 2
    UNSURE = 3  # it loads, but whether layouts are as it expects is not known
    LOADS = 4
    PINNED = 5  # all that is known of its build is the pin of its metadata
    BUILT = 6
    GUARANTEED = 7
    UNBOUND = 8  # it does not use torch's libraries


_NEARLY = (_Fit.UNSURE, _Fit.CHANGED)
_STATUSES = {
    ReleaseStatus.GUARANTEED: _Fit.GUARANTEED,
    ReleaseStatus.LINKS: _Fit.LOADS,
    ReleaseStatus.BREAKS: _Fit.BREAKS,
    ReleaseStatus.UNKNOWN: _Fit.UNKNOWN,
}
_SAID = {
    _Fit.LOADS: "{} loads with torch {}, not guaranteed; no changed class layout is known",
    _Fit.PINNED: "{} loads with torch {}, which its metadata pins; not guaranteed",
    _Fit.BUILT: "{} loads with torch {}, which it was built with; not guaranteed",
    _Fit.GUARANTEED: "{} loads with torch {}, guaranteed by the stable ABI",
    _Fit.UNBOUND: "{} contains no compiled torch code, so it does not depend on torch {}",
}
_BUT = {
    _Fit.CHANGED: "class layouts changed since it was built",
    _Fit.UNSURE: "it is not known whether class layouts are as it expects",
}


class _Release(NamedTuple):
    """A release of a package for one torch.

    Attributes:
        version: The release.
        fit: That of its worst wheel.
        allowed: Which patch releases of the torch the metadata of all its wheels allows.
        cuda: Whether one of its wheels needs a CUDA build of torch.
        checked: The builds of torch that its wheels were checked with, in words.
    """

    version: Version
    fit: _Fit
    allowed: frozenset[Version]
    cuda: bool
    checked: str

    @property
    def suits(self) -> bool:
        """Whether it is known to load, with layouts as it expects them."""
        return self.fit >= _Fit.LOADS


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked, and what is known.

    Attributes:
        project: The package.
        torch: The torch, as it was asked for.
        releases: The known torch releases, oldest first.
    """

    project: str
    torch: Version
    releases: Sequence[Version]

    @property
    def wanted(self) -> tuple[Version, ...]:
        """The known releases that the torch stands for; none if it is not known."""
        torch = self.torch
        if len(torch.release) <= _MINOR and not torch.is_prerelease:
            return tuple(r for r in self.releases if minor(r) == minor(torch))
        return tuple(r for r in self.releases if r == Version(torch.public))

    def answer(
        self, kind: AnswerKind, why: str, version: Version | None = None, options: str = ""
    ) -> Answer:
        """Return an answer; `options` are those of the command that installs the release."""
        if version is None:
            return Answer(self.project, str(self.torch), kind, None, None, why)
        command = f"pip install {options}{shlex.quote(f'{self.project}=={version}')}"
        return Answer(self.project, str(self.torch), kind, str(version), command, why)


def best_release(  # noqa: PLR0913 -- all that an installer goes by
    project: str,
    records: Iterable[WheelRecord],
    torch: Version,
    releases: Sequence[Version],
    *,
    python: str | None = None,
    platform: str | None = None,
    named: str | None = None,
) -> Answer:
    """Return the newest release of a package that works with a torch, and how to install it.

    Releases that are guaranteed to load, or were built for that torch, are preferred to those
    that just load. Of a release every wheel counts that may be chosen; one of them that could
    not be read rules it out.

    Args:
        project: The package.
        records: Its wheels, checked against the builds of torch that its local version names.
        torch: A torch release; or a minor release, such as ``2.10``, for all its patch releases.
        releases: The known torch releases, oldest first.
        python: The build of CPython, such as ``3.12`` or ``3.13t``; None for any.
        platform: The system and the machine, such as ``linux x86_64``; None for any.
        named: The releases of it that were asked for, such as ``torchcodec<0.10``; None for all.
    """
    question = _Question(project, torch, releases)
    where = f" for Python {python}" if python else ""
    where += f" on {platform}" if platform else ""
    wheels: dict[Version, list[WheelRecord]] = defaultdict(list)
    for record in records:
        if _installable(record, python, platform):
            wheels[Version(record.version)].append(record)
    if not wheels:
        return question.answer(AnswerKind.NONE, f"{project} has no wheel{where}")
    if not question.wanted:
        known = f"known: {ranges(releases, releases)}"
        why = f"{project}: nothing is known of torch {torch} ({known})"
        return question.answer(AnswerKind.UNKNOWN, why)
    found = [_release(version, of, question.wanted) for version, of in wheels.items()]
    suiting = [item for item in found if item.suits]
    if suiting:
        return _answer(question, max(suiting, key=_preference))
    having = f" with a wheel{where}" if where else ""
    why = f"no release of {named or project}{having} is known to work with torch {torch}"
    if any(item.error is not None for of in wheels.values() for item in of):
        why += ", but not all wheels could be read"
    return question.answer(AnswerKind.NONE, f"{why}{_nearest(question, found, wheels)}")


def suggestion(answer: Answer) -> str:
    """Return an answer in one line: the command first, if there is one."""
    return f"{answer.command}  ({answer.why})" if answer.command else answer.why


def _installable(record: WheelRecord, python: str | None, platform: str | None) -> bool:
    return (python is None or python in record.pythons) and (
        platform is None or bool({platform, "any"} & set(record.platforms))
    )


def _release(
    version: Version, wheels: Sequence[WheelRecord], wanted: Sequence[Version]
) -> _Release:
    """Return how well a release suits a torch, by the worst of its wheels."""
    allowed = frozenset(r for r in wanted if all(_allows(wheel, r) for wheel in wheels))
    fit = min(_fit(wheel, release) for wheel in wheels for release in allowed or wanted)
    cuda = any(wheel.cuda_build for wheel in wheels)
    return _Release(version, fit, allowed, cuda, _checked(wheels, wanted))


def _checked(wheels: Sequence[WheelRecord], wanted: Sequence[Version]) -> str:
    """Say which builds of a torch wheels were checked with."""
    names = {wheel.build for wheel in wheels if wheel.releases}
    build = names.pop() if len(names) == 1 else None
    if build is None:
        return f"the build of {wanted[0]} on PyPI"
    derived = any(str(release) in wheel.derived for wheel in wheels for release in wanted)
    return f"torch's {build} build" + (", as derived from the one on PyPI" if derived else "")


def _allows(wheel: WheelRecord, release: Version) -> bool:
    """Whether installers keep a torch; they do next to a wheel that declares none."""
    return wheel.requires_torch is None or wheel.allows(release)


def _fit(wheel: WheelRecord, release: Version) -> _Fit:
    """Return how well a wheel suits a torch release."""
    if wheel.error is not None:
        return _Fit.UNKNOWN
    if not wheel.releases:
        return _Fit.UNBOUND
    cell = wheel.cell(release)
    fit = _STATUSES[cell.status]
    if fit is not _Fit.LOADS or cell.layout is LayoutStatus.CHANGED:
        return _Fit.CHANGED if fit is _Fit.LOADS else fit
    if {minor(Version(item)) for item in wheel.built_with} == {minor(release)}:
        return _Fit.PINNED if wheel.built_sign is Sign.PIN else _Fit.BUILT
    return _Fit.UNSURE if cell.layout is LayoutStatus.UNKNOWN else _Fit.LOADS


def _preference(item: _Release) -> tuple[bool, bool, bool, Version]:
    """Return the key by which the release to install is the greatest."""
    sure = item.fit > _Fit.LOADS
    return bool(item.allowed), not item.version.is_prerelease, sure, item.version


def _answer(question: _Question, item: _Release) -> Answer:
    """Return the answer that a release is."""
    wanted = question.wanted
    why = _SAID[item.fit].format(f"{question.project} {item.version}", question.torch)
    if item.cuda:
        why += "; needs a CUDA build of torch"
    if question.torch.local is not None and item.fit is not _Fit.UNBOUND:
        why += f"; checked with {item.checked}"
    if not item.allowed:
        why += "; its metadata does not allow it, so pip would replace it without --no-deps"
        return question.answer(AnswerKind.NOT_ALLOWED, why, item.version, "--no-deps ")
    if len(item.allowed) < len(wanted):
        why += f"; its metadata allows only {ranges(item.allowed, question.releases)}"
    sure = item.fit >= _Fit.GUARANTEED
    return question.answer(AnswerKind.GUARANTEED if sure else AnswerKind.LOADS, why, item.version)


def _nearest(
    question: _Question,
    found: Iterable[_Release],
    wheels: Mapping[Version, Sequence[WheelRecord]],
) -> str:
    """Say which release comes nearest to working with a torch: `; nearest: ...`, or nothing."""
    nearly = [item for item in found if item.fit in _NEARLY]
    if nearly:
        item = max(nearly, key=lambda item: (bool(item.allowed), item.fit, item.version))
        return f"; nearest: {item.version} loads, but {_BUT[item.fit]}"
    minors = unique(map(minor, question.releases))
    here = minors.index(minor(question.wanted[0]))
    suiting = [
        (-abs(minors.index(minor(release)) - here), release, version)
        for version, of in wheels.items()
        for release in question.releases
        if (other := _release(version, of, (release,))).suits and other.allowed
    ]
    if not suiting:
        return ""
    _, release, version = max(suiting)
    return f"; nearest: {version} loads with torch {minor(release)}"

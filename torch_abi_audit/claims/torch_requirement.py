"""The metadata's requirements on torch, and which releases they allow."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from packaging.specifiers import Specifier, SpecifierSet
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from torch_abi_audit.claims.markers import applying_extras, applying_together
from torch_abi_audit.wording import number_runs, short

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from packaging.requirements import Requirement

    from torch_abi_audit.model import Claims

# How many minor releases of torch to look ahead.
_FUTURE = 100  # equivalent: one more or less is just as far


def torch_specifiers(claims: Claims) -> tuple[SpecifierSet | None, ...]:
    """Return the requirements on torch, over the environments that the wheel installs in.

    Markers are evaluated for every environment that the tags and ``Requires-Python`` allow,
    without extras: their requirements come on top.

    Returns:
        Each distinct requirement, in a fixed order; None stands for an environment in
        which torch is not required.

    Raises:
        AuditError: A marker has an invalid comparison, or there are too many to evaluate.
    """
    demands: set[SpecifierSet | None] = set()
    for applying in applying_together(claims, claims.torch_requirements):
        combined = SpecifierSet()
        for requirement in applying:
            combined &= _specifier(requirement)
        demands.add(combined if applying else None)
    return tuple(sorted(demands, key=lambda demand: (demand is not None, str(demand or ""))))


def extras_with_torch(claims: Claims) -> tuple[str, ...]:
    """Return the extras that require torch in some environment.

    Raises:
        AuditError: A marker has an invalid comparison, or there are too many to evaluate.
    """
    return tuple(sorted(applying_extras(claims, claims.torch_requirements)))


def admitted_torch(
    specifier: SpecifierSet | None, releases: Iterable[Version]
) -> tuple[Version, ...]:
    """Return the releases that a specifier allows; all of them if there is none.

    A pin to a local or pre-release version, such as `==2.9.0+cu128`, counts as one to its release.
    """
    if specifier is None:
        return tuple(releases)
    released = _of_releases(specifier)
    return tuple(release for release in releases if released.contains(release, prereleases=False))


def admitted_by_any(
    demands: Iterable[SpecifierSet | None], releases: Sequence[Version]
) -> frozenset[Version]:
    """Return the releases that any of the specifiers allows; see `admitted_torch`."""
    return frozenset(r for demand in demands for r in admitted_torch(demand, releases))


@lru_cache(maxsize=256)
def _of_releases(specifier: SpecifierSet) -> SpecifierSet:
    return SpecifierSet(",".join(map(_released, specifier)))


def _released(specifier: Specifier) -> str:
    if specifier.operator not in ("==", "==="):
        return str(specifier)
    try:
        return f"=={Version(specifier.version).base_version}"
    except InvalidVersion:  # such as `2.9.*`
        return str(specifier)


def future_torch(specifier: SpecifierSet | None, newest: Version) -> tuple[Version, ...]:
    """Return future releases, newer than the newest known one, that a specifier allows."""
    return admitted_torch(specifier, _after(newest))


@lru_cache(maxsize=4)
def _after(newest: Version) -> tuple[Version, ...]:
    minors = range(newest.minor + 1, newest.minor + _FUTURE)
    future = [f"{newest.major}.{minor}.0" for minor in minors]
    future += [f"{major}.0.0" for major in (newest.major + 1, newest.major + 2)]
    return tuple(map(Version, future))


def pinned_torch(
    demands: Sequence[SpecifierSet | None], releases: Sequence[Version]
) -> frozenset[Version]:
    """Return the releases that specifiers allow if all of these are of one series; else none.

    A specifier that allows no known release pins no known release.
    """
    if None in demands:
        return frozenset()
    admitted = admitted_by_any(demands, releases)
    newer = any(future_torch(demand, max(releases)) for demand in demands)
    return (
        admitted
        if len({release.release[:2] for release in admitted}) == 1 and not newer
        else frozenset()
    )


def _specifier(requirement: Requirement) -> SpecifierSet:
    """Return a requirement's specifier; for a direct reference, the version that it names."""
    if not requirement.url:
        return requirement.specifier
    filename = unquote(urlsplit(requirement.url).path).rpartition("/")[2]
    try:
        return SpecifierSet(f"=={parse_wheel_filename(filename)[1]}")
    except InvalidWheelFilename:
        return SpecifierSet()


def requirement(
    releases: Iterable[Version], known: Sequence[Version], *, open_ended: bool = False
) -> str:
    """Return the requirement that allows the given releases and no other known one.

    If there are gaps between the releases, it allows the newest run.

    Args:
        releases: The releases, at least one.
        known: Every known release, oldest first.
        open_ended: Whether releases newer than the newest known one are allowed too.
    """
    wanted = set(releases)
    runs = number_runs(place for place, release in enumerate(known) if release in wanted)
    run = [known[place] for place in runs[-1]]
    first, last = run[0], run[-1]
    if open_ended and last == known[-1]:
        return f"torch>={short(first)}"
    series = [release for release in known if release.release[:2] == last.release[:2]]
    whole = set(series) <= set(run)
    if set(run) <= set(series):
        return f"torch=={last.major}.{last.minor}.*" if whole else _between(first, last)
    return (
        f"torch>={short(first)},<{last.major}.{last.minor + 1}" if whole else _between(first, last)
    )


def with_bounds(line: str, demands: Iterable[SpecifierSet | None], known: Sequence[Version]) -> str:
    """Return a requirement with what excludes the releases that none of some demands allows.

    Only upper bounds and exclusions of these are added, and none that leaves no known release.

    Args:
        line: The requirement, such as ``torch>=2.10``.
        demands: The requirements that it replaces.
        known: Every known release, oldest first.

    >>> with_bounds("torch>=2.10", [SpecifierSet("~=2.8")], [Version("2.11.0")])
    'torch>=2.10,<3'
    """
    demands = tuple(demands)
    releases = (*known, *_after(known[-1]))
    allowed = admitted_by_any(demands, releases)
    wanted = admitted_torch(SpecifierSet(line.removeprefix("torch")), releases)
    bounds = {bound for demand in demands for item in demand or () for bound in _bounds(item)}
    # The tightest bound first, which others add nothing to.
    for bound in sorted(bounds, key=lambda item: (item.operator == "!=", Version(item.version))):
        kept = tuple(release for release in wanted if bound.contains(release))
        if len(kept) == len(wanted) or not all(map(bound.contains, allowed)):
            continue
        if not set(known).isdisjoint(kept):
            line, wanted = f"{line},{bound}", kept
    return line


def _bounds(item: Specifier) -> Iterator[Specifier]:
    """Yield what a specifier excludes of newer releases, as a specifier with a plain version."""
    try:
        version = Version(item.version.removesuffix(".*"))
    except InvalidVersion:
        return
    if item.operator in ("<", "<=") or (item.operator == "!=" and not item.version.endswith("*")):
        yield item
    elif item.operator == "~=" or (item.operator == "==" and item.version.endswith(".*")):
        series = version.release[:-1] if item.operator == "~=" else version.release
        *first, last = series
        yield Specifier("<" + ".".join(map(str, (*first, last + 1))))


def _between(first: Version, last: Version) -> str:
    return f"torch=={first}" if first == last else f"torch>={short(first)},<={last}"

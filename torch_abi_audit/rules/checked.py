"""The torch releases that a target is checked against, and those that it was built for.

The metadata of a wheel on the stable ABI may allow any release from its floor on. A wheel on the
unstable ABI has to be confined: to the single minor release that it was built for, or to releases
between which no class layout that it depends on changed.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit.claims.torch_requirement import (
    admitted_by_any,
    admitted_torch,
    future_torch,
    requirement,
)
from torch_abi_audit.claims.variants import is_series, narrowed, series_of, torch_properties
from torch_abi_audit.model import (
    LOADING,
    DemandSource,
    LayoutStatus,
    ReleaseStatus,
    Sign,
    TorchAbi,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

    from torch_abi_audit.catalog import Catalog
    from torch_abi_audit.model import Cell, Subject, VariantProperty


class Contradiction(NamedTuple):
    """A property of a variant wheel that is wrong about a release of torch.

    Attributes:
        item: The property.
        release: The release that it names.
        cause: Why the wheel is not for that release, CUDA aside.
    """

    item: VariantProperty
    release: Version
    cause: Misfit


class Misfit(Enum):
    """Why a wheel is not for a release that a property of it names."""

    LOADING = auto()
    FLOOR = auto()
    LAYOUT = auto()
    BUILD = auto()


def contradictions(subject: Subject, catalog: Catalog) -> list[Contradiction]:
    """Return what the properties of a variant say of torch and the binaries do not.

    Only of releases that the metadata allows as well, oldest first; nothing if the releases are
    the user's choice, or more than any wheel on the unstable ABI can be for.
    """
    properties = torch_properties(subject.claims.variant_properties)
    if not properties or subject.source is not DemandSource.METADATA:
        return []
    if is_unconfined(subject, catalog):
        return []
    allowed = admitted_by_any(subject.required, catalog.releases) & subject.matrix.row.keys()
    found = []
    for item in properties:
        named = admitted_torch(series_of(item), sorted(allowed)) if is_series(item.value) else ()
        for release in named:
            misfit = _misfit(subject, release)
            if misfit is not None:
                found.append(Contradiction(item, release, misfit))
    return found


def is_impossible(subject: Subject, catalog: Catalog) -> bool:
    """Whether the properties of a variant and the requirement on torch exclude each other.

    That is known if the properties name releases that exist, or may exist one day.
    """
    properties = subject.claims.variant_properties
    series = [series_of(p) for p in torch_properties(properties) if is_series(p.value)]
    if not series or not subject.required or subject.source is not DemandSource.METADATA:
        return False

    def any_allowed(demands: Iterable[SpecifierSet | None]) -> bool:
        demands = list(demands)
        return bool(admitted_by_any(demands, catalog.published)) or any(
            future_torch(demand, catalog.newest) for demand in demands
        )

    return any_allowed(series) and not any_allowed(narrowed(subject.required, properties))


def _misfit(subject: Subject, release: Version) -> Misfit | None:
    cell, floor, built = subject.matrix.row[release], subject.torch_floor, subject.built_with
    if floor is not None and release < floor.release:
        return Misfit.FLOOR
    if cell.status is ReleaseStatus.BREAKS and not cell.loads_but_for_cuda:
        return Misfit.LOADING
    if cell.layout is LayoutStatus.CHANGED:
        return Misfit.LAYOUT
    # Between some releases nothing changed that the wheel depends on.
    told = built is not None and built.sign in {Sign.ASSERTIONS, Sign.NAME}
    if built is None or not told or cell.layout is LayoutStatus.UNCHANGED:
        return None
    return None if release.release[:2] in _minors(built.releases) else Misfit.BUILD


def checked_releases(subject: Subject, catalog: Catalog) -> list[Version]:
    """Return the releases to check against: allowed, in the catalog, not below the floor.

    Another rule covers releases below the floor, and those that the properties of a variant
    wrongly name. For a wheel on the unstable ABI that allows too
    many releases, only those that the correct requirement would keep: the problems with the
    others have a single cause, which is reported once.
    """
    floor = subject.torch_floor
    allowed = admitted_by_any(subject.demands, catalog.releases)
    if is_unconfined(subject, catalog):
        allowed &= frozenset(built_for(subject))
    allowed -= {item.release for item in contradictions(subject, catalog)}
    return [
        release
        for release in catalog.releases
        if release in subject.matrix.row
        and (floor is None or release >= floor.release)
        and release in allowed
    ]


def is_unconfined(subject: Subject, catalog: Catalog) -> bool:
    """Whether the metadata of a target on the unstable ABI allows too many minor releases.

    It may allow several only if all class layouts are known to be the same. Other rules cover
    problems with a single minor release, and layouts that are known to differ.
    """
    return subject.torch_abi is TorchAbi.UNSTABLE and any(
        _is_too_wide(subject, demand, catalog) for demand in subject.demands
    )


def _is_too_wide(subject: Subject, demand: SpecifierSet | None, catalog: Catalog) -> bool:
    allowed = admitted_torch(demand, catalog.published)
    future = future_torch(demand, catalog.newest)
    if len(_minors([*allowed, *future])) <= 1:
        return False
    row = subject.matrix.row
    cells = [row.get(r) for r in allowed if r in row or not _has_own_library(subject, r)]
    if future or not all(cell is not None and cell.loads_but_for_cuda for cell in cells):
        return True
    layouts = {_layout(subject, release) for release in allowed if release in row}
    return LayoutStatus.CHANGED not in layouts and layouts != {LayoutStatus.UNCHANGED}


def is_confined(subject: Subject, catalog: Catalog) -> bool:
    """Whether the metadata allows only releases that a target on the unstable ABI was built for.

    The target loads on all of them, and either they belong to one minor release, or no class
    layout that it depends on changed between them.
    """
    row = subject.matrix.row
    if any(future_torch(demand, catalog.newest) for demand in subject.demands):
        return False
    allowed = admitted_by_any(subject.demands, catalog.published)
    cells = [row[release] for release in allowed if release in row]
    if not cells or not all(_is_right(cell) for cell in cells):
        return False
    known = all(r in row or _has_own_library(subject, r) for r in allowed)
    layouts = {_layout(subject, release) for release in allowed if release in row}
    same = known and layouts == {LayoutStatus.UNCHANGED}
    return same or len(_minors(allowed)) == 1


def _has_own_library(subject: Subject, release: Version) -> bool:
    """Whether one of several alternatives is for a release, which may be older than the catalog."""
    meant = {item.release for item in subject.matrix.alternatives.values()}
    return release.release[:2] in meant


def _layout(subject: Subject, release: Version) -> LayoutStatus | None:
    """Return what is known of class layouts in a release.

    An alternative is loaded with the minor release alone that it is for. That it is one of this
    minor release that an alternative was built with is as good as a pin.
    """
    matrix = subject.matrix
    layout = matrix.row[release].layout
    if layout is not LayoutStatus.UNKNOWN or not _has_own_library(subject, release):
        return layout
    others = {
        row[release].layout
        for path, row in matrix.libraries.items()
        if path not in matrix.alternatives
    }
    return layout if LayoutStatus.UNKNOWN in others else LayoutStatus.UNCHANGED


def _is_right(cell: Cell) -> bool:
    return cell.loads_but_for_cuda and cell.layout is not LayoutStatus.CHANGED


def built_for(subject: Subject) -> list[Version]:
    """Return the releases that a target on the unstable ABI may have been built for.

    It loads on them, CUDA aside, and their classes are not known to be laid out differently.
    Of several minor releases, the one of the build counts, if the target shows which it was.
    """
    row = subject.matrix.row
    loading = [release for release, cell in row.items() if _is_right(cell)]
    built = subject.built_with
    if built is None:
        return loading
    minors, newest = _minors(built.releases), built.newest
    of_build = [release for release in loading if release.release[:2] in minors]
    in_time = [release for release in loading if newest is None or release <= newest]
    return of_build or in_time or loading


def pins(subject: Subject, catalog: Catalog) -> list[str]:
    """Return the requirements, one of which is right for an unstable target, oldest first.

    A single one if the target shows which minor release it was built with, or loads on just one,
    or has a library for each. None if it loads nowhere.
    """
    row = subject.matrix.row
    found = [release for release in built_for(subject) if row[release].status in LOADING]
    same = [r for r in found if _layout(subject, r) is LayoutStatus.UNCHANGED]
    if subject.matrix.alternatives and same:
        return [requirement(same, catalog.published)]
    return [
        requirement([r for r in found if r.release[:2] == minor], catalog.published)
        for minor in sorted(_minors(found))
    ]


def _minors(releases: Iterable[Version]) -> set[tuple[int, ...]]:
    return {release.release[:2] for release in releases}


def is_missed(subject: Subject, path: str, release: Version) -> bool:
    """Whether it matters to a target that one of its libraries does not load on a release.

    An alternative matters only for the release that it is meant for, and only if no other
    library for that release loads.
    """
    matrix = subject.matrix
    alternative = matrix.alternatives.get(path)
    if alternative is None:
        return True
    kin = [other for other, item in matrix.alternatives.items() if item == alternative]
    return alternative.release == release.release[:2] and LOADING.isdisjoint(
        matrix.libraries[other][release].status for other in kin
    )

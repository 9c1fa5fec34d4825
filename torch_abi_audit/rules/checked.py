"""What several rules ask of a target: the releases to judge against, its own libraries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch_abi_audit.claims.torch_requirement import admitted_by_any
from torch_abi_audit.model import LOADING, LayoutStatus

if TYPE_CHECKING:
    from packaging.version import Version

    from torch_abi_audit.catalog import Catalog
    from torch_abi_audit.model import Subject


def checked_releases(subject: Subject, catalog: Catalog) -> list[Version]:
    """Return the releases to judge against: admitted, in the catalog, not below the floor.

    Releases below the floor are another rule's; where nothing is asked of torch, all
    others are judged.
    """
    floor = subject.torch_floor
    admitted = admitted_by_any(subject.demands, catalog.releases)
    return [
        release
        for release in catalog.releases
        if release in subject.matrix.row
        and (floor is None or release >= floor.release)
        and release in admitted
    ]


def advised_releases(subject: Subject) -> list[Version]:
    """Return the releases that a requirement for a wheel on the unstable ABI may admit.

    That it links says little. So these are the ones where all is laid out as it knows it, or
    where that is not known those of the one series that it was built with. Empty where nothing
    tells which these are.
    """
    row = subject.matrix.row
    loading = [release for release, cell in row.items() if cell.status in LOADING]
    same = [release for release in loading if row[release].layout is LayoutStatus.UNCHANGED]
    if same:
        return same
    built = subject.built_with.releases if subject.built_with else ()
    known = [release for release in loading if row[release].layout is not LayoutStatus.CHANGED]
    if built:
        known = [release for release in known if release in built]
    return known if len({release.release[:2] for release in known}) == 1 else []


def is_missed(subject: Subject, path: str, release: Version) -> bool:
    """Whether a target misses a library where it breaks.

    An alternative is missed with the release that it is meant for alone, and only where
    no other that is meant for it loads.
    """
    matrix = subject.matrix
    alternative = matrix.alternatives.get(path)
    if alternative is None:
        return True
    kin = [other for other, item in matrix.alternatives.items() if item == alternative]
    return alternative.release == release.release[:2] and LOADING.isdisjoint(
        matrix.libraries[other][release].status for other in kin
    )

"""What several rules ask of a target: the releases to judge against, its own libraries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch_abi_audit.claims.torch_requirement import admitted_by_any
from torch_abi_audit.model import LOADING, Cause, Reason

if TYPE_CHECKING:
    from packaging.version import Version

    from torch_abi_audit.catalog import Catalog
    from torch_abi_audit.model import Subject


def is_about_cuda(reason: Reason) -> bool:
    """Whether a library does not load because of the CUDA of a build of torch."""
    return reason.cause is Cause.CUDA or (reason.cause is Cause.LIBRARY and "cuda" in reason.name)


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

"""Rules about torch's classes: whether a release lays them out as the libraries expect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch_abi_audit.claims.torch_requirement import admitted_by_any, requirement
from torch_abi_audit.model import (
    LOADING,
    DemandSource,
    Evidence,
    EvidenceKind,
    LayoutStatus,
    Severity,
    Subject,
)
from torch_abi_audit.rules.checked import checked_releases, pins
from torch_abi_audit.rules.registry import Hit, require, rule
from torch_abi_audit.wording import ranges, unique

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch_abi_audit.catalog import Catalog
    from torch_abi_audit.model import Fix


@rule(
    "layout-changed",
    Severity.WARNING,
    "the metadata allows a torch release whose classes are laid out differently from those a"
    " library was built with",
    why="A library on the unstable ABI contains inlined code of torch's headers: it reads the"
    " members of a class where they were at build time, and passes the enum values of that time."
    " On a release that moved them every symbol still resolves, so the library loads, and then"
    " reads the wrong memory or does something else, without an error. torchvision 0.27.1 was"
    " built for torch 2.12. torch 2.13 renumbered c10::DispatchKey: next to it, torchvision"
    " registers its CPU kernels for CUDA, and `nms` is not implemented on the CPU.",
    fix="Allow only releases between which nothing changed that the wheel depends on, with the"
    " line that the finding gives:\n"
    '    dependencies = ["torch==2.12.*"]\n'
    "and publish another wheel for the others, or move to the stable ABI (see"
    " unstable-torch-symbol).",
)
def layout_changed(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report releases that a library loads on, but whose classes it expects laid out differently.

    An error if it passes one of them by value, or if tensors or dispatch keys are affected.
    """
    row = subject.matrix.row
    changed = {
        release: row[release].changes
        for release in checked_releases(subject, catalog)
        if row[release].layout is LayoutStatus.CHANGED
    }
    if not changed:
        return
    changes = list(dict.fromkeys(change for found in changed.values() for change in found))
    changes.sort(key=lambda change: not change.grave)
    built = {release for item in subject.built.values() if item for release in item.releases}
    yield Hit(
        f"the wheel was built with torch {ranges(built, catalog.published)}, but {subject.source}"
        f" allows {ranges(changed, catalog.published)}, where {changes[0].name} differs",
        libraries=unique(
            path
            for path, cells in subject.matrix.libraries.items()
            if any(cells[release].layout is LayoutStatus.CHANGED for release in changed)
        ),
        evidence=tuple(
            Evidence(EvidenceKind.LAYOUT, item.name, detail=item.told) for item in changes
        ),
        fix=_island(subject, catalog),
        severity=Severity.ERROR if changes[0].grave else None,
    )


def _island(subject: Subject, catalog: Catalog) -> Fix | None:
    """Return the requirement that keeps to the releases between which nothing changed.

    Only releases that the metadata allows now count: narrowing it is the smallest change.
    """
    if subject.source is not DemandSource.METADATA:
        return None
    same = [
        release
        for release, cell in subject.matrix.row.items()
        if cell.status in LOADING and cell.layout is LayoutStatus.UNCHANGED
    ]
    allowed = admitted_by_any(subject.demands, same) or same
    lines = [requirement(allowed, catalog.published)] if allowed else pins(subject, catalog)
    return require(lines[0]) if len(lines) == 1 else None  # equivalent: there is just one then

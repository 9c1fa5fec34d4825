"""Rules about torch's classes: whether a release has them as the libraries know them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch_abi_audit.claims.torch_requirement import requirement
from torch_abi_audit.model import Evidence, EvidenceKind, LayoutStatus, Severity, Subject
from torch_abi_audit.rules.checked import advised_releases, checked_releases
from torch_abi_audit.rules.registry import Hit, require, rule
from torch_abi_audit.wording import ranges, unique

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch_abi_audit.catalog import Catalog


@rule(
    "layout-changed",
    Severity.WARNING,
    "the metadata admits a release of torch whose classes are laid out differently from those that"
    " a library was built with",
    why="A library on the unstable ABI has code of torch's headers inlined: it reads the members of"
    " a class where they were when it was built, and passes the values that an enum had. With a"
    " release that moved them it still finds every symbol, so it loads, and then reads other memory"
    " or does something else, without an error. torchvision 0.27.1 was built for torch 2.12. torch"
    " 2.13 renumbered c10::DispatchKey: beside it torchvision registers CPU kernels for CUDA, and"
    " `nms` is not implemented on the CPU.",
    fix="Admit only releases between which nothing changed that the wheel depends on, with the line"
    " that the finding gives:\n"
    '    dependencies = ["torch==2.12.*"]\n'
    "and publish another wheel for the others, or move to the stable ABI (see"
    " unstable-torch-symbol).",
)
def layout_changed(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report releases that a library loads with, and whose classes are not those it knows.

    An error where it passes one by value, or where tensors and dispatch keys are concerned.
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
    advised = advised_releases(subject)
    yield Hit(
        f"built with torch {ranges(built, catalog.published)}, and {subject.source} admits torch"
        f" {ranges(changed, catalog.published)}, where {changes[0].name} is different:"
        f" {changes[0].told}",
        libraries=unique(
            path
            for path, cells in subject.matrix.libraries.items()
            if any(cells[release].layout is LayoutStatus.CHANGED for release in changed)
        ),
        evidence=tuple(
            Evidence(EvidenceKind.LAYOUT, item.name, detail=item.told) for item in changes
        ),
        fix=require(requirement(advised, catalog.published)) if advised else None,
        severity=Severity.ERROR if changes[0].grave else None,
    )

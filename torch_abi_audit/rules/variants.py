"""Rules about variant wheels: whether their properties are what the binaries say.

After drafts; see `claims.variants`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from torch_abi_audit.abi.mangling import qualified_name
from torch_abi_audit.catalog.libraries import cuda_library
from torch_abi_audit.claims.cuda_packages import cuda_major
from torch_abi_audit.claims.torch_requirement import admitted_by_any
from torch_abi_audit.claims.variants import (
    cuda_bound,
    cuda_bounds,
    is_series,
    torch_properties,
    torch_property,
)
from torch_abi_audit.model import (
    Cause,
    DemandSource,
    Evidence,
    EvidenceKind,
    ReleaseStatus,
    Severity,
    Subject,
    TorchAbi,
)
from torch_abi_audit.rules.checked import (
    Misfit,
    contradictions,
    is_impossible,
    is_unconfined,
    pins,
)
from torch_abi_audit.rules.evidence import lacking, libraries, requirements, symbols
from torch_abi_audit.rules.registry import Hit, rule
from torch_abi_audit.wording import join, ranges, short, unique

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from packaging.version import Version

    from torch_abi_audit.catalog import Catalog
    from torch_abi_audit.model import VariantProperty
    from torch_abi_audit.rules.checked import Contradiction

_SHOWN = 60  # characters of a name in a sentence


@rule(
    "variant-mismatch",
    Severity.ERROR,
    "a property of a variant wheel is not what its libraries say",
    why="Installers that implement wheel variants choose a wheel by its properties alone: a wheel"
    " with `abi_dependency::torch::2.12` is installed next to any torch 2.12. If it was built"
    " with another release, it fails to load there, or reads the wrong memory. In the same way"
    " `nvidia::cuda_version_lower_bound::12.8` promises that a driver for CUDA 12.8 is enough,"
    " which it is not for libraries linked against CUDA 13."
    " Such a property restricts a wheel as a pin does, since older installers do not accept"
    " the filename of a variant. But nothing looks at it again after the installation: only"
    " Requires-Dist keeps a later upgrade of torch from breaking the wheel.",
    fix="Label each wheel with the release that it was built with:\n"
    "    abi_dependency::torch::2.12\n"
    "    nvidia::cuda_version_lower_bound::13.0\n"
    "A wheel on the stable ABI needs no such property for torch, just a lower bound.\n"
    "Wheel variants are a draft: PEP 825 as of August 2026, PEP 850 of October 2026. The meaning of"
    " `abi_dependency` is that of variantlib, ==2.12.* for 2.12; it may still change.",
)
def variant_mismatch(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report properties that the binaries contradict, and those that restrict more than they do."""
    properties = subject.claims.variant_properties
    of_torch = torch_properties(properties)
    if of_torch and subject.matrix.row and subject.source is DemandSource.METADATA:
        wrong = contradictions(subject, catalog)
        invalid = [item for item in of_torch if not is_series(item.value)]
        impossible = is_impossible(subject, catalog)
        yield from _invalid(invalid)
        if impossible:
            yield Hit(
                f"the variant is for torch {_values(of_torch)}, but {subject.source} requires"
                f" torch{subject.requires_torch}: no release is both",
                evidence=requirements(subject.required),
                fix="require a release that the property names, or change the property",
            )
        for item in of_torch:
            yield from _wrong(subject, catalog, [found for found in wrong if found.item == item])
        if not (invalid or impossible or wrong):
            yield from _asides(subject, of_torch, catalog)
    yield from _cuda(subject)


def _invalid(properties: Sequence[VariantProperty]) -> Iterator[Hit]:
    for item in properties:
        yield Hit(
            f"the variant property {_shown(item)} matches no torch: not up to three numbers",
            fix="name the release that the wheel was built with, as in 2.12",
        )


def _wrong(subject: Subject, catalog: Catalog, wrong: Sequence[Contradiction]) -> Iterator[Hit]:
    """Report what is wrong with one property, by the gravest of the reasons."""
    if not wrong:
        return
    misfit = min((found.cause for found in wrong), key=list(Misfit).index)
    releases = [found.release for found in wrong if found.cause is misfit]
    why, evidence = _told(subject, catalog, misfit, releases)
    row, cells = subject.matrix.row, subject.matrix.libraries
    at_fault = [
        path
        for path, of_library in cells.items()
        if any(
            (of_library[r].status, of_library[r].layout) == (row[r].status, row[r].layout)
            for r in releases
        )
    ]
    yield Hit(
        f"the variant property {_shown(wrong[0].item)} is wrong: the wheel {why}",
        libraries=tuple(at_fault),
        evidence=evidence,
        fix=_right(subject, catalog),
    )


def _told(
    subject: Subject, catalog: Catalog, misfit: Misfit, releases: Sequence[Version]
) -> tuple[str, tuple[Evidence, ...]]:
    """Say why the wheel is not for releases, and what shows it."""
    row, floor = subject.matrix.row, subject.torch_floor
    if misfit is Misfit.FLOOR and floor is not None:
        return f"needs torch {short(floor.release)} or newer", symbols(floor.symbols)
    if misfit is Misfit.LOADING:
        reasons = [item for item in row[max(releases)].reasons if not item.is_about_cuda]
        name = qualified_name(reasons[0].name) if reasons[0].cause is Cause.SYMBOL else None
        lacked = (name or reasons[0].name)[:_SHOWN]
        where = ranges(releases, catalog.releases)
        return f"does not load on torch {where}, which lacks {lacked}", lacking(reasons)
    built = {release for item in subject.built.values() if item for release in item.releases}
    why = f"was built with torch {ranges(built, catalog.published)}"
    changes = list(dict.fromkeys(change for release in releases for change in row[release].changes))
    if changes:
        changes.sort(key=lambda change: not change.grave)
        why += f", where {changes[0].name[:_SHOWN]} is different"
    return why, tuple(
        Evidence(EvidenceKind.LAYOUT, change.name, detail=change.told) for change in changes
    )


def _right(subject: Subject, catalog: Catalog) -> str:
    """Say which property would be right."""
    if subject.torch_abi is not TorchAbi.UNSTABLE:
        floor = subject.torch_floor
        required = f', and require "torch>={short(floor.release)}"' if floor else ""
        return f"drop the property{required}"
    lines = pins(subject, catalog)
    item = torch_property(lines[0]) if len(lines) == 1 else None
    if item is None:
        return "rebuild the wheel with the torch release that the property names"
    return f"label the wheel {item}, or rebuild it with the release that the property names"


def _asides(
    subject: Subject, properties: Sequence[VariantProperty], catalog: Catalog
) -> Iterator[Hit]:
    """Report properties that are right, but more or less than the libraries ask for."""
    row = subject.matrix.row
    if subject.torch_abi is TorchAbi.STABLE:
        guaranteed = {r for r, cell in row.items() if cell.status is ReleaseStatus.GUARANTEED}
        required = admitted_by_any(subject.required, catalog.releases)
        excluded = guaranteed & required - admitted_by_any(subject.demands, catalog.releases)
        if excluded:
            yield Hit(
                f"the variant is for torch {_values(properties)} only, but the stable ABI"
                f" guarantees torch {ranges(guaranteed, catalog.releases, open_ended=True)}",
                fix="drop the property, and require the oldest release",
                severity=Severity.NOTE,
            )
    elif not is_unconfined(subject, catalog) and is_unconfined(
        replace(subject, demands=subject.required), catalog
    ):
        yield Hit(
            f"only the variant property keeps the wheel to torch {_values(properties)}: nothing"
            " prevents a later upgrade of torch",
            evidence=requirements(subject.required),
            severity=Severity.NOTE,
        )


def _cuda(subject: Subject) -> Iterator[Hit]:
    """Report bounds on the driver's CUDA that do not fit the CUDA libraries that are needed.

    Drivers run what is built for their major version of CUDA and for older ones. If libraries
    need different ones, the oldest counts: the wheel may load the one that fits.
    """
    needed: dict[int, list[str]] = {}
    names: dict[int, list[str]] = {}
    for library in subject.libraries:
        for name in library.library.needed:
            found = cuda_library(name) if name not in library.library.optional else None
            major = cuda_major(found) if found else None
            if major is not None:
                needed.setdefault(major, []).append(library.path)
                names.setdefault(major, []).append(name)
    if not needed:
        return
    oldest = min(needed)
    for upper, (item, version) in cuda_bounds(subject.claims.variant_properties).items():
        if version > (oldest, 0) if upper else version[0] >= oldest:
            continue
        does, fix = f"excludes every driver for CUDA {oldest}", ""
        if not upper:
            does = f"allows drivers for CUDA {version[0]}"
            fix = f", or build it with CUDA {version[0]}"
        yield Hit(
            f"the variant property {_shown(item)} {does}, but {{libraries:need}} CUDA {oldest}",
            libraries=unique(needed[oldest]),
            evidence=libraries(sorted(set(names[oldest]))),
            fix=f"label the wheel {cuda_bound(oldest, upper=upper)}{fix}",
        )


def _values(properties: Sequence[VariantProperty]) -> str:
    return join(item.value[:_SHOWN] for item in properties)


def _shown(item: VariantProperty) -> str:
    return str(item._replace(value=item.value[:_SHOWN]))

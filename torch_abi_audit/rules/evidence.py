"""Helpers for the most common kinds of evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch_abi_audit.catalog.libraries import cuda_library
from torch_abi_audit.model import Cause, Evidence, EvidenceKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from packaging.specifiers import SpecifierSet

    from torch_abi_audit.model import Reason


def symbols(names: Iterable[str]) -> tuple[Evidence, ...]:
    """Return symbols as evidence."""
    return _of(EvidenceKind.SYMBOL, names)


def libraries(names: Iterable[str]) -> tuple[Evidence, ...]:
    """Return names of needed libraries as evidence."""
    return _of(EvidenceKind.LIBRARY, names)


def of_libraries(
    found: Iterable[tuple[str, Iterable[Evidence]]],
) -> tuple[Evidence, ...]:
    """Return evidence that was found in libraries, each piece with its library."""
    told = (item._replace(library=path) for path, items in found for item in items)
    return tuple(dict.fromkeys(told))


def tags(names: Iterable[object]) -> tuple[Evidence, ...]:
    """Return tags, or parts of them, as evidence, in the order of their names."""
    return _of(EvidenceKind.TAG, sorted(set(map(str, names))))


def files(names: Iterable[str]) -> tuple[Evidence, ...]:
    """Return files as evidence."""
    return _of(EvidenceKind.FILE, names)


def requirements(specifiers: Iterable[SpecifierSet | None]) -> tuple[Evidence, ...]:
    """Return requirements on torch as evidence."""
    names = [f"torch{specifier}" for specifier in specifiers if specifier is not None]
    return _of(EvidenceKind.REQUIREMENT, names)


def lacking(reasons: Iterable[Reason]) -> tuple[Evidence, ...]:
    """Return the reasons why a library does not load as evidence, each name once."""
    return tuple(
        Evidence(_kind(reason), reason.name, detail=reason.detail)
        for reason in {reason.name: reason for reason in reversed(list(reasons))}.values()
    )[::-1]


def _kind(reason: Reason) -> EvidenceKind:
    if reason.cause is Cause.CUDA and cuda_library(reason.name) is None:
        return EvidenceKind.SYMBOL  # of one of torch's libraries that only CUDA builds have
    return _KINDS[reason.cause]


_KINDS = {
    Cause.SYMBOL: EvidenceKind.SYMBOL,
    Cause.LIBRARY: EvidenceKind.LIBRARY,
    Cause.CUDA: EvidenceKind.LIBRARY,
    Cause.SIBLING: EvidenceKind.FILE,
    Cause.COPY: EvidenceKind.FILE,
    Cause.COPY_IN_DOUBT: EvidenceKind.FILE,
    Cause.ALTERNATIVE: EvidenceKind.PATH,
    Cause.LAYOUT: EvidenceKind.LAYOUT,
    Cause.BUILD: EvidenceKind.SYMBOL,
}


def _of(kind: EvidenceKind, names: Iterable[str]) -> tuple[Evidence, ...]:
    return tuple(Evidence(kind, name) for name in names)

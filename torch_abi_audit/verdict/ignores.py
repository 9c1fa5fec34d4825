"""Findings that the user ignores: taken out before the verdict, and reported all the same."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from torch_abi_audit.model import EvidenceKind, Ignored

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch_abi_audit.catalog import Catalog
    from torch_abi_audit.model import Evidence, Finding, Ignore


def split(
    findings: Iterable[Finding], ignores: Iterable[Ignore], catalog: Catalog
) -> tuple[tuple[Finding, ...], tuple[Ignored, ...]]:
    """Part findings into those that stand and those that are ignored.

    Of several that speak of a finding, or of one of its symbols, the first counts.
    """
    alive = [ignore for ignore in ignores if not is_expired(ignore, catalog)]
    standing: list[Finding] = []
    ignored: list[Ignored] = []
    for finding in findings:
        rest: Finding | None = finding
        for ignore in alive:
            if rest is not None and matches(ignore, rest):
                taken, rest = _divide(rest, ignore)
                ignored.append(Ignored(taken, ignore))
        standing += [] if rest is None else [rest]
    return tuple(standing), tuple(ignored)


def _divide(finding: Finding, ignore: Ignore) -> tuple[Finding, Finding | None]:
    """Part a finding into what is ignored of it and what is left; None for nothing."""
    taken = tuple(item for item in finding.evidence if _names(ignore, item))
    left = tuple(item for item in finding.evidence if not _names(ignore, item))
    if ignore.symbol is None or not left:
        return finding, None
    return replace(finding, evidence=taken), replace(finding, evidence=left)


def _names(ignore: Ignore, item: Evidence) -> bool:
    """Whether the pattern of an ignore is one of a symbol."""
    if ignore.symbol is None or item.kind is not EvidenceKind.SYMBOL:
        return False
    names = filter(None, (item.name, item.declaration))
    return any(fnmatchcase(name, ignore.symbol) for name in names)


def matches(ignore: Ignore, finding: Finding) -> bool:
    """Whether an ignore speaks of a finding; its pattern has to match all of its libraries."""
    if ignore.rule != finding.rule:
        return False
    if ignore.symbol is not None and not any(_names(ignore, i) for i in finding.evidence):
        return False
    if ignore.library is None:
        return True
    pattern = ignore.library
    return bool(finding.libraries) and all(fnmatchcase(p, pattern) for p in finding.libraries)


def is_expired(ignore: Ignore, catalog: Catalog) -> bool:
    """Whether the catalog has the release of torch that ends an ignore."""
    return ignore.until_torch is not None and catalog.newest >= ignore.until_torch

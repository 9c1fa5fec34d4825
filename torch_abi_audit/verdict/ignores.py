"""Findings that the user accepts: taken out before the verdict, and reported all the same."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from torch_abi_audit.model import Ignored

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch_abi_audit.catalog import Catalog
    from torch_abi_audit.model import Finding, Ignore


def split(
    findings: Iterable[Finding], ignores: Iterable[Ignore], catalog: Catalog
) -> tuple[tuple[Finding, ...], tuple[Ignored, ...]]:
    """Part findings into those that stand and those that are accepted.

    Of several that accept a finding the first is taken.
    """
    alive = [ignore for ignore in ignores if not is_expired(ignore, catalog)]
    standing: list[Finding] = []
    accepted: list[Ignored] = []
    for finding in findings:
        ignore = next((item for item in alive if accepts(item, finding)), None)
        if ignore is None:
            standing.append(finding)
        else:
            accepted.append(Ignored(finding, ignore))
    return tuple(standing), tuple(accepted)


def accepts(ignore: Ignore, finding: Finding) -> bool:
    """Whether an ignore speaks of a finding; its pattern has to match all of its libraries."""
    if ignore.rule != finding.rule:
        return False
    if ignore.library is None:
        return True
    pattern = ignore.library
    return bool(finding.libraries) and all(fnmatchcase(p, pattern) for p in finding.libraries)


def is_expired(ignore: Ignore, catalog: Catalog) -> bool:
    """Whether the catalog has the release of torch that ends an ignore."""
    return ignore.until_torch is not None and catalog.newest >= ignore.until_torch

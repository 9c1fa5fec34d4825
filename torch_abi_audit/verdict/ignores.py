"""Findings that the user ignores: they do not count for the verdict, but are reported."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from torch_abi_audit.abi.mangling import owner
from torch_abi_audit.loader.graph import installed_path
from torch_abi_audit.model import EvidenceKind, Ignored

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from torch_abi_audit.catalog import Catalog
    from torch_abi_audit.model import Evidence, Finding, Ignore


def split(
    findings: Iterable[Finding],
    ignores: Iterable[Ignore],
    catalog: Catalog,
    folder: Sequence[str] = (),
) -> tuple[tuple[Finding, ...], tuple[Ignored, ...]]:
    """Split findings into those that remain and those that are ignored.

    An ignore may match only some of the libraries or symbols of a finding; the rest remains one.
    Where several ignores match, the first one counts.

    Args:
        findings: The findings of one target.
        ignores: What to ignore.
        catalog: The known releases of torch, with which ignores expire.
        folder: The folders that the target is in; see `names_library`.
    """
    alive = [ignore for ignore in ignores if not is_expired(ignore, catalog)]
    standing: list[Finding] = []
    ignored: list[Ignored] = []
    for finding in findings:
        rest: Finding | None = finding
        for ignore in alive:
            if rest is not None:
                taken, rest = _divide(rest, ignore, folder)
                ignored += [] if taken is None else [Ignored(taken, ignore)]
        standing += [] if rest is None else [rest]
    return tuple(standing), tuple(ignored)


def matched(ignore: Ignore, finding: Finding, folder: Sequence[str] = ()) -> Finding | None:
    """Return the part of a finding that an ignore matches: some libraries or symbols, or None."""
    return _divide(finding, ignore, folder)[0]


def names_library(pattern: str, path: str, folder: Sequence[str] = ()) -> bool:
    """Whether a pattern names a library of a target.

    Patterns apply from the root of site-packages and from the package's folder: `pkg/lib/_C*.so`
    and `lib/_C*.so` name the same library, whether it is in a wheel, an installed package or a
    build tree, or on its own.

    Args:
        pattern: A shell pattern, in which `*` also matches folders.
        path: The path of the library in its target.
        folder: The folders that the target is in on disk, from the root, unless an installer
            put it there.
    """
    installed = installed_path(path)
    places = [path, installed, installed.partition("/")[2]]
    places += ["/".join([*folder[place:], path]) for place in range(len(folder))]
    return any(fnmatchcase(place, pattern) for place in places)


def _divide(
    finding: Finding, ignore: Ignore, folder: Sequence[str]
) -> tuple[Finding | None, Finding | None]:
    """Split a finding into the part that is ignored and the part that remains, each or None.

    Evidence without a particular library remains until all libraries are ignored.
    """
    if ignore.rule != finding.rule:
        return None, finding
    pattern, paths = ignore.library, set(finding.libraries)
    named = {path for path in paths if pattern is None or names_library(pattern, path, folder)}
    whole = named == paths
    taken: list[Evidence] = []
    left: list[Evidence] = []
    for item in finding.evidence:
        of_named = whole or item.library in named
        (taken if of_named and _names(ignore, item) else left).append(item)
    if (pattern is not None and not named) or (ignore.symbol is not None and not taken):
        return None, finding
    if whole and not left:
        return finding, None
    ours = named if ignore.symbol is None else _libraries_of(taken, named)
    # A library without evidence of its own remains.
    others = paths - ours | (set() if ignore.symbol is None else _libraries_of(left, paths))
    return part_of(finding, ours, taken), part_of(finding, others, left)


def _libraries_of(evidence: Iterable[Evidence], paths: Collection[str]) -> set[str]:
    """Return the libraries that evidence was found in: all of them if it does not say."""
    found = {item.library for item in evidence}
    return set(paths) if None in found else {path for path in paths if path in found}


def part_of(finding: Finding, paths: Collection[str], evidence: Iterable[Evidence]) -> Finding:
    """Return a finding with only some of its libraries and evidence."""
    libraries = tuple(path for path in finding.libraries if path in paths)
    return replace(finding, libraries=libraries, evidence=tuple(evidence))


def _names(ignore: Ignore, item: Evidence) -> bool:
    """Whether the pattern of an ignore matches a symbol: mangled, declared, or its bare name.

    The declarations of templates begin with the type that they return.
    """
    if ignore.symbol is None:
        return True
    if item.kind is not EvidenceKind.SYMBOL:
        return False
    names = filter(None, (item.name, item.declaration))
    if any(fnmatchcase(name, ignore.symbol) for name in names):
        return True
    bare = "::".join(owner(item.name))
    of_template = item.declaration is not None and not item.declaration.startswith(bare)
    return of_template and fnmatchcase(bare, ignore.symbol)


def is_expired(ignore: Ignore, catalog: Catalog) -> bool:
    """Whether an ignore has expired: the torch release that ends it is out."""
    return ignore.until_torch is not None and catalog.newest >= ignore.until_torch

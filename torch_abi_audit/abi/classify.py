"""Every library of a target, classified: what it is to torch, to CPython and to the loader."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch_abi_audit.abi.cpython import classify_python, library_kind
from torch_abi_audit.abi.torch import classify_torch, is_torchs
from torch_abi_audit.claims.platform_tags import catalog_key
from torch_abi_audit.loader.scope import scopes
from torch_abi_audit.model import LibraryAudit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from torch_abi_audit.catalog import Catalog
    from torch_abi_audit.model import Library


def classify(
    libraries: Iterable[tuple[str, Library]],
    tags: Collection[str],
    catalog: Catalog,
    *,
    is_torch: bool = False,
) -> tuple[LibraryAudit, ...]:
    """Classify the libraries of a target.

    The loader never mixes machines, so those of each are looked at by themselves; the
    slices of a universal file are several libraries at one path.

    Args:
        libraries: Paths and facts.
        tags: The target's platform tags.
        catalog: What torch's releases provide.
        is_torch: Whether the target is torch itself, which provides its own libraries;
            anything else only carries copies of them.

    Returns:
        The classified libraries, by path, then by machine.
    """
    machines: dict[str, dict[str, Library]] = {}
    for path, library in libraries:
        machines.setdefault(library.arch, {})[path] = library
    items = [
        item
        for of_machine in machines.values()
        for item in _classify(of_machine, tags, catalog, is_torch=is_torch)
    ]
    return tuple(sorted(items, key=lambda item: (item.path, item.library.arch)))


def _classify(
    libraries: Mapping[str, Library], tags: Collection[str], catalog: Catalog, *, is_torch: bool
) -> Iterator[LibraryAudit]:
    copies = {path for path, library in libraries.items() if is_torchs(path, library)}
    found = scopes(libraries, strangers=() if is_torch else copies)
    for path, library in libraries.items():
        key = catalog_key(library, tags)
        platform = catalog.platforms.get(key or "")
        yield LibraryAudit(
            path=path,
            library=library,
            kind=library_kind(library),
            platform=key,
            torch=classify_torch(library, found[path], catalog, platform),
            python=classify_python(path, library, found[path]),
        )

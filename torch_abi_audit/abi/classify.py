"""Classifies every library of a target with respect to torch, CPython and the loader."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit.abi.cpython import classify_python, library_kind
from torch_abi_audit.abi.torch import classify_torch, is_torchs
from torch_abi_audit.catalog.libraries import cuda_library, is_torch_library, python_library
from torch_abi_audit.claims.manylinux import is_linux_library
from torch_abi_audit.claims.platform_tags import catalog_key
from torch_abi_audit.loader.graph import LoadGraph
from torch_abi_audit.loader.scope import scopes
from torch_abi_audit.model import LibraryAudit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from torch_abi_audit.budget import Budget
    from torch_abi_audit.catalog import Catalog
    from torch_abi_audit.model import Library, LibraryKind


class Classified(NamedTuple):
    """The classified libraries, by path and machine, and the load graph of each machine."""

    items: tuple[LibraryAudit, ...]
    graphs: Mapping[str, LoadGraph]


def classify(
    libraries: Iterable[tuple[str, Library]],
    tags: Collection[str],
    catalog: Catalog,
    *,
    is_torch: bool = False,
    budget: Budget | None = None,
) -> Classified:
    """Classify the libraries of a target.

    The loader never mixes machines, so each machine's libraries are classified separately; the
    slices of a universal file are several libraries at one path.

    Args:
        libraries: Paths and facts.
        tags: The target's platform tags.
        catalog: What torch's releases provide.
        is_torch: Whether the target is torch itself, which provides its own libraries;
            anything else can only bundle copies of them.
        budget: The budget of the audit; by default a new one with the default limits.

    Raises:
        LimitError: It takes more than the budget allows.
    """
    machines: dict[str, dict[str, Library]] = {}
    for path, library in libraries:
        machines.setdefault(library.arch, {})[path] = library
    graphs = {}
    items: list[LibraryAudit] = []
    for arch, of_machine in machines.items():
        kinds = {path: library_kind(library) for path, library in of_machine.items()}
        graphs[arch] = LoadGraph(of_machine, kinds, budget=budget)
        items += _classify(graphs[arch], kinds, tags, catalog, is_torch=is_torch)
    return Classified(tuple(sorted(items, key=lambda item: (item.path, item.library.arch))), graphs)


def _classify(
    graph: LoadGraph,
    kinds: Mapping[str, LibraryKind],
    tags: Collection[str],
    catalog: Catalog,
    *,
    is_torch: bool,
) -> Iterator[LibraryAudit]:
    libraries = graph.libraries
    copies = {path for path, library in libraries.items() if is_torchs(path, library)}
    found = scopes(graph)
    if copies and not is_torch:  # equivalent: without copies, others find the same
        # Bundled copies provide symbols only to each other.
        others = scopes(graph.without(copies))
        found = {path: (found if path in copies else others)[path] for path in libraries}
    for path, library in libraries.items():
        graph.budget.check_time()
        key = catalog_key(library, tags)
        platform = catalog.platforms.get(key or "")
        scope = found[path]
        yield LibraryAudit(
            path=path,
            library=library,
            kind=kinds[path],
            platform=key,
            own=scope.searched | {n for n in scope.libraries if not _is_elsewhere_too(n)},
            torch=classify_torch(library, scope, catalog, platform),
            python=classify_python(path, library, scope),
        )


def _is_elsewhere_too(name: str) -> bool:
    """Whether the system, torch, CUDA or CPython can also have a library of this name."""
    return (
        is_linux_library(name)
        or is_torch_library(name)
        or cuda_library(name) is not None
        or python_library(name) is not None
    )

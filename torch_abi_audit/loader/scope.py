"""The symbols that the libraries of one target provide to each other.

The dynamic loader resolves a symbol in the library that was opened, in those that it needs, and
in those that they need in turn. A target can also load a library globally beforehand, which
nothing in its binaries shows. So a name is

- the target's own if it is defined by a library that the loader itself finds, whichever library
  is opened;
- perhaps its own if any other library of the target defines it, and is needed or defines it
  strongly. A weak definition does not count there: every library that includes a header has one
  of each inline function.

In Mach-O and PE the binary itself names the library that must provide a symbol: that decides.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit.model import Format, library_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch_abi_audit.loader.graph import Edge, LoadGraph
    from torch_abi_audit.model import Library, Symbol

# So few definitions of a name are searched without a cache.
_FEW = 4  # equivalent: changes only how much is cached


@dataclass(frozen=True, slots=True)
class Scope:
    """What a library finds in its own target.

    Attributes:
        binds: Whether the binary decides which library provides each symbol (Mach-O, PE). ELF
            names the library that must have a version, but ld.so accepts a definition without
            a version from any library.
        symbols: The imports whose provider the binary does not decide, and that are defined
            by libraries of the target that the loader finds.
        perhaps: The imports that its other libraries define: the package's own code would
            have to load those first.
        libraries: The names of the needed libraries that the target contains.
        searched: Those of these names that the loader itself finds in the target.
        needed: The names that the loader looks up when the library is loaded and that the
            target does not contain.
        passed_on: For each import from a library of the target that re-exports it from
            elsewhere: the names of the libraries that can define it.
        unprovided: Imports from a library of the target that does not define them.
    """

    binds: bool = True
    symbols: frozenset[str] = frozenset()
    perhaps: frozenset[str] = frozenset()
    libraries: frozenset[str] = frozenset()
    searched: frozenset[str] = frozenset()
    needed: frozenset[str] = frozenset()
    passed_on: Mapping[str, frozenset[str]] = field(default_factory=dict)
    unprovided: frozenset[str] = frozenset()

    def outside(self, symbol: Symbol) -> frozenset[str] | None:
        """Return the libraries outside the target, one of which must provide an import.

        None if any library may; empty if the target provides the import itself. A library that
        only the package's own code can load does not make one of torch's names the target's own.
        """
        if symbol.library is None or not self.binds:
            return frozenset() if symbol.name in self.symbols else None
        name = library_name(symbol.library)
        if name not in self.libraries:
            return frozenset({name})
        if symbol.name in self.unprovided:
            return None
        return self.passed_on.get(symbol.name, frozenset())


def scopes(graph: LoadGraph) -> dict[str, Scope]:
    """Return the scope of each library of a target for one machine, by path."""
    return _Providers(graph).scopes()


class _Definers(NamedTuple):
    """The paths of the libraries that define a name, and of those that do so strongly."""

    all: frozenset[str]
    strong: frozenset[str]


class _Providers:
    """The libraries of a target, indexed by the symbols that they provide."""

    def __init__(self, graph: LoadGraph) -> None:
        self._graph = graph
        self._known: dict[tuple[str, str | None], _Definers] = {}
        self._exporters: dict[str, tuple[frozenset[str], frozenset[str]]] = {}
        wanted = {symbol.name for item in graph.libraries.values() for symbol in item.imports}
        # By name, then by path: a library can have several versions of a symbol.
        self._definitions: dict[str, dict[str, list[Symbol]]] = defaultdict(dict)
        for path in graph.providers:
            for symbol in graph.libraries[path].exports:
                if symbol.name in wanted:
                    self._definitions[symbol.name].setdefault(path, []).append(symbol)

    def scopes(self) -> dict[str, Scope]:
        return {path: self._scope(path, item) for path, item in self._graph.libraries.items()}

    def _scope(self, path: str, library: Library) -> Scope:
        graph = self._graph
        loads = [graph.loaded(opener) for opener in graph.openers(path)]
        graph.budget.spend(steps=sum(len(load.order) for load in loads))
        certain = frozenset.intersection(*(load.certain for load in loads))
        near = {other for load in loads for other in load.order}
        others_certain, others_near = certain - {path}, near - {path}
        symbols, perhaps = set(), set()
        binds = library.format is not Format.ELF
        for symbol in library.imports:
            if symbol.name not in self._definitions or (binds and symbol.library is not None):
                continue
            definers = self._definers(symbol)
            if not others_certain.isdisjoint(definers.all):
                symbols.add(symbol.name)
            elif not others_near.isdisjoint(definers.all) or definers.strong - {path}:
                perhaps.add(symbol.name)
        edges = graph.loaded(path).edges[path]
        asked = frozenset[str]().union(*(graph.asked(opener) for opener in graph.openers(path)))
        passed_on, unprovided = self._asked_of_siblings(library, edges)
        return Scope(
            binds=binds,
            symbols=frozenset(symbols),
            perhaps=frozenset(perhaps),
            libraries=frozenset(map(library_name, edges)),
            searched=frozenset(library_name(name) for name in edges if graph.finds(path, name)),
            needed=asked - graph.names,
            passed_on=passed_on,
            unprovided=unprovided,
        )

    def _definers(self, symbol: Symbol) -> _Definers:
        """Return the libraries with a definition that an import binds to."""
        key = symbol.name, symbol.version
        if key in self._known:
            return self._known[key]
        definitions = self._definitions[symbol.name]
        found = {
            path: [item for item in of_path if _binds(symbol, item)]
            for path, of_path in definitions.items()
        }
        definers = _Definers(
            frozenset(path for path, items in found.items() if items),
            frozenset(p for p, items in found.items() if not all(item.weak for item in items)),
        )
        if len(definitions) > _FEW:  # equivalent: changes only how much is cached
            # Every library imports what they all define, such as C++ inline functions.
            self._known[key] = definers
        return definers

    def _asked_of_siblings(
        self, library: Library, edges: Mapping[str, Edge]
    ) -> tuple[dict[str, frozenset[str]], frozenset[str]]:
        """Return `passed_on` and `unprovided` of a library; see `Scope`."""
        passed_on: dict[str, frozenset[str]] = {}
        unprovided: set[str] = set()
        if library.format is Format.ELF:  # which names providers of versioned symbols only
            return passed_on, frozenset()
        exporting = {
            library_name(needed): [self._exported_by(path) for path in edge.paths]
            for needed, edge in edges.items()
        }
        for symbol in library.imports:
            # Exports by ordinal only are not known.
            if symbol.library is None or symbol.name.startswith("#"):
                continue
            definers = self._definitions.get(symbol.name, {})
            # Where one of several libraries is loaded, each of them has to define the symbol.
            for paths, outside in exporting.get(library_name(symbol.library), ()):
                if not paths.isdisjoint(definers):
                    continue
                if outside:
                    passed_on[symbol.name] = outside
                else:
                    unprovided.add(symbol.name)
        return passed_on, frozenset(unprovided)

    def _exported_by(self, path: str) -> tuple[frozenset[str], frozenset[str]]:
        if path not in self._exporters:
            self._exporters[path] = self._exporting(path)
        return self._exporters[path]

    def _exporting(self, path: str) -> tuple[frozenset[str], frozenset[str]]:
        """Return the paths whose exports are a library's own, and the names outside the target."""
        graph = self._graph
        own, outside, pending = {path}, set(), [path]
        for current in pending:  # grows during the loop
            # equivalent: an approximate cost
            graph.budget.spend(steps=1 + len(graph.libraries[current].reexported))
            edges = graph.loaded(current).edges[current]
            for name in graph.libraries[current].reexported:
                edge = edges.get(name)
                if edge is None:
                    outside.add(library_name(name))
                    continue
                pending += [other for other in edge.paths if other not in own]
                own |= set(edge.paths)
        return frozenset(own), frozenset(outside)


def _binds(symbol: Symbol, definition: Symbol) -> bool:
    """Whether ld.so binds an import to a definition, by their versions (glibc's `check_match`).

    An import without a version binds to the default version; one with a version, to that same
    version or to a definition without one.
    """
    if symbol.version is None or definition.version is None:
        return not definition.hidden
    return symbol.version == definition.version

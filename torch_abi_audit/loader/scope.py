"""What the libraries of one target provide to each other.

The dynamic loader resolves a symbol in the library that was opened, in those that it needs, and
in what those need in turn. A target can also load a library for everybody first, which no byte of
it shows. So a name is

- the target's own where a library that the loader itself finds defines it, whoever is opened;
- perhaps its own where any other library of the target does that is needed, or that defines it
  strongly. A weak definition does not count there: every library that includes a header has one
  of each inline function.

Where the binary itself names the library that must provide a symbol, as Mach-O and PE
do, that decides instead.
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

# Libraries that define a name, which are soon gone through.
_FEW = 4  # equivalent: of a cache only how much is in it


@dataclass(frozen=True, slots=True)
class Scope:
    """What a library finds in its own target.

    Attributes:
        binds: Whether the binary decides which library provides each symbol (Mach-O, PE). ELF
            names the library that is to have a version, and ld.so takes a definition without
            one from any.
        symbols: Those of its imports whose provider the binary does not decide, and that
            libraries of the target define which the loader finds.
        perhaps: Those that others define: code of the package would have to load them first.
        libraries: The names of those that it needs which the target has.
        searched: Those of these names that the loader itself finds in the target.
        needed: The names that are asked of the loader when it is loaded, and that the
            target does not have.
        passed_on: For each import that it asks of a library of the target, and that this
            one re-exports from elsewhere: the names of the libraries that can have it.
        unprovided: Imports that it asks of a library of the target that does not have them.
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
        """Return the libraries outside the target of which one must provide an import.

        None where any may, an empty set where the target provides it itself. What only code of
        the package can load first makes no name of torch's the target's own.
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
    """The libraries that define a name, by path, and those that do so strongly."""

    all: frozenset[str]
    strong: frozenset[str]


class _Providers:
    """The libraries of a target that provide something, by what they provide."""

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
        if len(definitions) > _FEW:  # equivalent: of a cache only how much is in it
            # Every library asks for what they all have, such as the inline functions of C++.
            self._known[key] = definers
        return definers

    def _asked_of_siblings(
        self, library: Library, edges: Mapping[str, Edge]
    ) -> tuple[dict[str, frozenset[str]], frozenset[str]]:
        """Return imports that a library of the target is to have and does not; see `Scope`."""
        passed_on: dict[str, frozenset[str]] = {}
        unprovided: set[str] = set()
        if library.format is Format.ELF:  # it names providers of versioned symbols only
            return passed_on, frozenset()
        exporting = {
            library_name(needed): [self._exported_by(path) for path in edge.paths]
            for needed, edge in edges.items()
        }
        for symbol in library.imports:
            # What a library exports by number only is not known.
            if symbol.library is None or symbol.name.startswith("#"):
                continue
            definers = self._definitions.get(symbol.name, {})
            # Of several libraries of which one is loaded each has to have it.
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
        for current in pending:  # which grows
            # equivalent: about what it takes
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
    """Whether ld.so binds an import to a definition, by their versions (`check_match` of glibc).

    Without a version it takes the default one; with one this very version, or a definition
    that has none.
    """
    if symbol.version is None or definition.version is None:
        return not definition.hidden
    return symbol.version == definition.version

"""What the libraries of one target provide to each other.

The dynamic loader resolves a symbol in the libraries that a library needs, and what
those need in turn; a target can also load a library for everybody first, which no
byte of it shows. So a name counts as the target's own when

- a library that is needed, directly or not, defines it in any way, or
- any other library of the target defines it strongly. A weak definition does not
  count there: every library that includes a header has one of each inline function.

Where the binary itself names the library that must provide a symbol, as Mach-O and PE
do, that decides instead.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch_abi_audit.model import Format, basename

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from torch_abi_audit.model import Library, Symbol


@dataclass(frozen=True, slots=True)
class Scope:
    """What a library finds in its own target.

    Attributes:
        symbols: Those of its imports that other libraries of the target define, and whose
            provider the binary does not name.
        libraries: The names that the target's libraries are needed by.
        needed: The names that it, and those of the target's libraries that it needs,
            ask the loader for, and the target does not have.
        passed_on: For each import that it asks of a library of the target, and that this
            one re-exports from elsewhere: the names of the libraries that can have it.
        unprovided: Imports that it asks of a library of the target that does not have them.
    """

    symbols: frozenset[str] = frozenset()
    libraries: frozenset[str] = frozenset()
    needed: frozenset[str] = frozenset()
    passed_on: Mapping[str, frozenset[str]] = field(default_factory=dict)
    unprovided: frozenset[str] = frozenset()

    def outside(self, symbol: Symbol) -> frozenset[str] | None:
        """Return the libraries outside the target of which one must provide an import.

        None where any may, an empty set where the target provides it itself.
        """
        if symbol.library is None:
            return frozenset() if symbol.name in self.symbols else None
        name = basename(symbol.library)
        if name not in self.libraries:
            return frozenset({name})
        if symbol.name in self.unprovided:
            return None
        return self.passed_on.get(symbol.name, frozenset())


def scopes(libraries: Mapping[str, Library], strangers: Collection[str] = ()) -> dict[str, Scope]:
    """Return the scope of each library of a target, by path.

    Programs provide nothing.

    Args:
        libraries: The target's libraries for one machine, by path.
        strangers: Those that are not the target's own to count on: copies of torch's,
            which provide to each other alone.
    """
    wanted = {symbol.name for library in libraries.values() for symbol in library.imports}
    apart = [_Providers(libraries, wanted, without=strangers), _Providers(libraries, wanted)]
    return {
        path: apart[path in strangers].scope(path, library) for path, library in libraries.items()
    }


class _Providers:
    """The libraries of a target that provide something, by what they provide."""

    def __init__(
        self, libraries: Mapping[str, Library], wanted: set[str], without: Collection[str] = ()
    ) -> None:
        self._libraries = libraries
        self._definitions: dict[str, dict[str, bool]] = defaultdict(dict)  # name, path, weak
        self._by_name: dict[str, set[str]] = defaultdict(set)
        for path, library in libraries.items():
            if library.executable or path in without:
                continue
            for name in library.names(path):
                self._by_name[name].add(path)
            for symbol in library.exports:
                if symbol.name in wanted:
                    self._definitions[symbol.name][path] = symbol.weak
        self._own = frozenset(self._by_name)
        self._reexports: dict[str, tuple[frozenset[str], frozenset[str]]] = {}

    def scope(self, path: str, library: Library) -> Scope:
        near = _closure(path, self._libraries, self._by_name)
        symbols = frozenset(
            symbol.name
            for symbol in library.imports
            if symbol.library is None
            and any(
                other != path and (other in near or not weak)
                for other, weak in self._definitions.get(symbol.name, {}).items()
            )
        )
        asked = {basename(name) for other in near for name in self._libraries[other].needed}
        passed_on, unprovided = self._asked_of_siblings(library)
        return Scope(symbols, self._own, frozenset(asked - self._own), passed_on, unprovided)

    def _asked_of_siblings(
        self, library: Library
    ) -> tuple[dict[str, frozenset[str]], frozenset[str]]:
        """Return imports that a library of the target is to have and does not; see `Scope`."""
        passed_on: dict[str, frozenset[str]] = {}
        unprovided: set[str] = set()
        if library.format is Format.ELF:  # it names providers of versioned symbols only
            return passed_on, frozenset()
        for symbol in library.imports:
            name = basename(symbol.library or "")
            # What a library exports by number only is not known.
            if name not in self._own or symbol.name.startswith("#"):
                continue
            paths, outside = self._exporting(name)
            if paths.isdisjoint(self._definitions.get(symbol.name, ())):
                if outside:
                    passed_on[symbol.name] = outside
                else:
                    unprovided.add(symbol.name)
        return passed_on, frozenset(unprovided)

    def _exporting(self, name: str) -> tuple[frozenset[str], frozenset[str]]:
        """Return the paths whose exports a name stands for, and the names outside the target."""
        if name not in self._reexports:
            through, pending = {name}, [name]
            while pending:
                paths = self._by_name.get(pending.pop(), ())
                new = {basename(n) for path in paths for n in self._libraries[path].reexported}
                pending += new - through
                through |= new
            own = frozenset(path for n in through for path in self._by_name.get(n, ()))
            self._reexports[name] = own, frozenset(through - self._own)
        return self._reexports[name]


def _closure(
    path: str, libraries: Mapping[str, Library], by_name: Mapping[str, set[str]]
) -> set[str]:
    """Return the paths of a library and of those that it needs, directly or not."""
    found = {path}
    pending = [path]
    names: set[str] = set()
    while pending:
        new_names = {basename(name) for name in libraries[pending.pop()].needed} - names
        names |= new_names
        new = {other for name in new_names for other in by_name.get(name, ())} - found
        found |= new
        pending += new
    return found

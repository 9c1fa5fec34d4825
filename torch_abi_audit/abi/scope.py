"""What the libraries of one target provide to each other.

The dynamic loader resolves a symbol in the libraries that a library needs, and what
those need in turn; a target can also load a library for everybody first, which no
byte of it shows. So a name counts as the target's own when

- a library that is needed, directly or not, defines it in any way, or
- any other library of the target defines it strongly. A weak definition does not
  count there: every library that includes a header has one of each inline function.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from torch_abi_audit.model import Library


@dataclass(frozen=True, slots=True)
class Scope:
    """What a library finds in its own target.

    Attributes:
        symbols: Those of its imports that other libraries of the target define.
        libraries: The names that the target's libraries are needed by.
        needed: The names that it, and those of the target's libraries that it needs,
            ask the loader for, and the target does not have.
    """

    symbols: frozenset[str] = frozenset()
    libraries: frozenset[str] = frozenset()
    needed: frozenset[str] = frozenset()


def scopes(libraries: Mapping[str, Library], strangers: Collection[str] = ()) -> dict[str, Scope]:
    """Return the scope of each library of a target, by path.

    Programs provide nothing, and no library provides anything to another machine.

    Args:
        libraries: The target's libraries by path.
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
            self._by_name[path.rpartition("/")[2]].add(path)
            if library.soname:
                self._by_name[library.soname.rpartition("/")[2]].add(path)
            for symbol in library.exports:
                if symbol.name in wanted:
                    self._definitions[symbol.name][path] = symbol.weak
        self._own = frozenset(self._by_name)

    def scope(self, path: str, library: Library) -> Scope:
        near = _closure(path, self._libraries, self._by_name)
        symbols = frozenset(
            symbol.name
            for symbol in library.imports
            if any(
                other != path
                and (other in near or not weak)
                and self._libraries[other].arch == library.arch
                for other, weak in self._definitions.get(symbol.name, {}).items()
            )
        )
        asked = {
            name.rpartition("/")[2] for other in near for name in self._libraries[other].needed
        }
        return Scope(symbols, self._own, frozenset(asked - self._own))


def _closure(
    path: str, libraries: Mapping[str, Library], by_name: Mapping[str, set[str]]
) -> set[str]:
    """Return the paths of a library and of those that it needs, directly or not."""
    found = {path}
    pending = [path]
    names: set[str] = set()
    while pending:
        new_names = {name.rpartition("/")[2] for name in libraries[pending.pop()].needed} - names
        names |= new_names
        new = {other for name in new_names for other in by_name.get(name, ())} - found
        found |= new
        pending += new
    return found

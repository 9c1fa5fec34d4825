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
    from collections.abc import Mapping, Sequence

    from torch_abi_audit.model import Library


@dataclass(frozen=True, slots=True)
class Scope:
    """What a library finds in its own target.

    Attributes:
        symbols: Those of its imports that other libraries of the target define.
        libraries: The names that the target's libraries are needed by.
    """

    symbols: frozenset[str] = frozenset()
    libraries: frozenset[str] = frozenset()


def scopes(libraries: Mapping[str, Library]) -> dict[str, Scope]:
    """Return the scope of each library of a target, by path.

    Args:
        libraries: The target's libraries by path.
    """
    exports = {
        path: {symbol.name: symbol.weak for symbol in library.exports}
        for path, library in libraries.items()
    }
    by_name: dict[str, set[str]] = defaultdict(set)
    for path, library in libraries.items():
        by_name[path.rpartition("/")[2]].add(path)
        if library.soname:
            by_name[library.soname].add(path)
    found = {}
    for path, library in libraries.items():
        needed = _closure(path, libraries, by_name)
        others = [(names, other in needed) for other, names in exports.items() if other != path]
        symbols = frozenset(
            name
            for name in {symbol.name for symbol in library.imports}
            if any(name in names and (near or not names[name]) for names, near in others)
        )
        found[path] = Scope(symbols, frozenset(by_name))
    return found


def _closure(
    path: str, libraries: Mapping[str, Library], by_name: Mapping[str, set[str]]
) -> Sequence[str]:
    """Return the paths of a library and of those that it needs, directly or not."""
    found = [path]
    for current in found:  # grows as it goes
        for needed in libraries[current].needed:
            found += sorted(by_name.get(needed, set()) - set(found))
    return found

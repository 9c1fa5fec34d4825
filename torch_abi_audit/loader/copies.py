"""Second copies of torch's libraries, next to those that torch itself loads. ELF.

Tools that bundle what a wheel's libraries need rename it, so ld.so does not find torch's own by the
name. What the copy is of decides what happens beside torch (measured with torch 2.13.0):

- libtorch: its initialisers register every operator once more. Static variables of C++ inline
  functions are unique in a process (``STB_GNU_UNIQUE``), so that they do so in the registry of the
  first copy, which throws: the process ends.
- libc10 alone: a library loads, and finds in the copy what that exports.

In Mach-O and PE each library is bound to its own copy by name, and the two do not meet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit.catalog.libraries import renamed_torch_library
from torch_abi_audit.model import Format, library_name

if TYPE_CHECKING:
    from torch_abi_audit.loader.graph import LoadGraph


class Copies(NamedTuple):
    """The copies of torch's libraries that are loaded with a library.

    Attributes:
        libtorch: The path of one that registers operators; None if there is none.
        symbols: The names that the copies export.
    """

    libtorch: str | None = None
    symbols: frozenset[str] = frozenset()


def find_copies(graph: LoadGraph) -> dict[str, Copies]:
    """Return the copies that are loaded with each library, by its path; empty if there are none.

    Raises:
        LimitError: It takes more than the budget allows.
    """
    renamed = {
        path: torchs
        for path in graph.providers
        if graph.libraries[path].format is Format.ELF
        and (torchs := renamed_torch_library(library_name(path)))
    }
    found: dict[str, Copies] = {}
    known: dict[tuple[str, ...], Copies] = {}
    for path in graph.libraries if renamed else ():
        order = graph.loaded(path).order
        graph.budget.spend(steps=len(order))
        copies = tuple(other for other in order if other in renamed)
        if copies not in known:
            exports = [graph.libraries[copy].exports for copy in copies]
            graph.budget.spend(steps=sum(map(len, exports)))
            registering = [copy for copy in copies if renamed[copy].startswith("libtorch")]
            names = frozenset(symbol.name for of_copy in exports for symbol in of_copy)
            known[copies] = Copies(registering[0] if registering else None, names)
        found[path] = known[copies]
    return found

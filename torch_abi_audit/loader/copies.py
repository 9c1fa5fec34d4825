"""Second copies of torch's libraries, next to those that torch itself loads. ELF.

Tools that bundle what a wheel's libraries need rename it, so ld.so does not find torch's own by the
name. What the copy is of decides what happens beside torch (measured with torch 2.9.1, 2.10.0,
2.12.1, 2.13.0 and 2.14.1):

- libtorch_cpu, libtorch_cuda, libtorch_python: their initialisers register every operator once
  more. Static variables of C++ inline functions are unique in a process (``STB_GNU_UNIQUE``), so
  that they do so in the registry of the first copy, which throws: the process ends.
- libc10_cuda: it depends on the release, and on whether libc10 is a copy, too.
- Any other, such as libc10 or the libtorch that only names the others: a library loads, and finds
  in the copy what that exports.

In Mach-O and PE each library is bound to its own copy by name, and the two do not meet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch_abi_audit.catalog.libraries import copied_torch_library
from torch_abi_audit.model import Cause, Format, Reason, library_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch_abi_audit.loader.graph import LoadGraph

# Those for AMD's and Intel's devices were not measured; they register operators as well.
_ENDING = frozenset(f"libtorch_{name}" for name in ("cpu", "cuda", "python", "hip", "xpu"))
_UNKNOWN = frozenset(f"libc10_{name}" for name in ("cuda", "hip", "xpu"))


class Copies:
    """The copies of torch's libraries that are loaded with those of a target.

    Args:
        graph: How the loader finds one library from another.
    """

    def __init__(self, graph: LoadGraph) -> None:
        self._graph = graph
        self._of: dict[str, str] = {}  # by path: what it is a copy of
        for path in graph.providers:
            torchs = copied_torch_library(library_name(path))
            if torchs is not None and graph.libraries[path].format is Format.ELF:
                self._of[path] = torchs
        self._loaded: dict[str, tuple[str, ...]] = {}
        self._symbols: dict[tuple[str, ...], frozenset[str]] = {(): frozenset()}

    def loaded_with(self, opened: str) -> tuple[str, ...]:
        """Return the paths of the copies that are loaded when a library is opened.

        Raises:
            LimitError: It takes more than the budget allows.
        """
        if not self._of:
            return ()
        if opened not in self._loaded:
            order = self._graph.loaded(opened).order
            self._graph.budget.spend(steps=len(order))
            self._loaded[opened] = tuple(path for path in order if path in self._of)
        return self._loaded[opened]

    def symbols(self, copies: tuple[str, ...]) -> frozenset[str]:
        """Return the names that copies export.

        Raises:
            LimitError: It takes more than the budget allows.
        """
        if copies not in self._symbols:
            exports = [self._graph.libraries[path].exports for path in copies]
            self._graph.budget.spend(steps=sum(map(len, exports)))
            names = frozenset(symbol.name for of_copy in exports for symbol in of_copy)
            self._symbols[copies] = names
        return self._symbols[copies]

    def reasons(self, copies: tuple[str, ...]) -> Iterator[Reason]:
        """Yield why what is loaded with copies does not load beside torch, or may not."""
        ending = [path for path in copies if self._of[path] in _ENDING]
        unknown = [path for path in copies if self._of[path] in _UNKNOWN]
        if ending:
            of = self._of[ending[0]]
            why = f"a second copy of {of}, which ends the process when loaded next to torch's own"
            yield Reason(Cause.COPY, ending[0], why)
        elif unknown:
            why = f"not known if a second copy of {self._of[unknown[0]]} loads next to torch's own"
            yield Reason(Cause.COPY_IN_DOUBT, unknown[0], why)

"""The load graph: which libraries of a target the system's loader finds from which others.

A library names the libraries that it needs, and the loader looks for each of them:

- ld.so (ELF): first among the libraries already loaded, by soname; then in ``DT_RUNPATH`` of
  the library or, if it has none, in its ``DT_RPATH`` and that of each library up the chain that
  led to it (ld.so(8), and `_dl_map_object` in glibc's elf/dl-load.c);
- dyld (Mach-O): at the path itself, where ``@loader_path`` stands for the library's folder, and
  ``@rpath`` for each ``LC_RPATH`` of the library and of those up the chain (dyld(1));
- Windows (PE): among the modules already loaded, by name, then in the folder of the module that
  was opened, as Python opens extensions (``LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR``).

If the loader does not find a library, the package's own code can load it beforehand, as torch and
NVIDIA's packages do for their own libraries; it is then found by name. Nothing in a binary shows
this, so an edge records in which of the two ways a library is found.
"""

from __future__ import annotations

import posixpath
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit.budget import Budget
from torch_abi_audit.model import Format, LibraryKind, library_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from torch_abi_audit.model import Library

_ORIGIN = ("$ORIGIN", "${ORIGIN}")
_INSTALLED_BESIDE = frozenset({"platlib", "purelib"})  # folders of `.data` (PEP 427)
# Steps that one place counts as, since looking there takes longer than following an edge.
_STEPS_OF_PLACE = 4  # equivalent: an approximate cost


class Edge(NamedTuple):
    """Where a needed library is found.

    Attributes:
        paths: The library; several if it is unclear which of them is found.
        preloaded: Whether code has to load it first, since the loader does not find it.
    """

    paths: tuple[str, ...]
    preloaded: bool

    @property
    def is_certain(self) -> bool:
        """Whether the loader itself finds the library, and there is only one candidate."""
        return not self.preloaded and len(self.paths) == 1


class Loaded(NamedTuple):
    """The libraries that are loaded when one is opened.

    Attributes:
        order: The libraries of the target, in the order in which the loader maps them.
        certain: Those that the loader finds without help.
        edges: For each library, what is found for each name that it needs; names that
            the target does not contain are left out.
    """

    order: tuple[str, ...]
    certain: frozenset[str]
    edges: Mapping[str, Mapping[str, Edge]]


class LoadGraph:
    """The libraries of a target for one machine, and how the loader finds one from another.

    Args:
        libraries: The facts, by path.
        kinds: Whether Python imports each library, by path.
        hidden: Paths that no other library finds: alternatives that are not chosen, and
            bundled copies of torch's libraries, in place of which torch's own are loaded.
        budget: The budget of the audit; by default a new one with the default limits.

    Raises:
        LimitError: There are more paths between libraries than the budget allows.

    Attributes:
        libraries: The facts, by path.
        budget: What is left of the budget.
        providers: The paths of the libraries that others can need, which excludes programs.
        names: The names by which others can need them.
    """

    def __init__(
        self,
        libraries: Mapping[str, Library],
        kinds: Mapping[str, LibraryKind],
        hidden: Collection[str] = (),
        budget: Budget | None = None,
    ) -> None:
        self.libraries = libraries
        self._kinds = kinds
        self.budget = budget or Budget()
        self.providers: list[str] = []
        self._by_place: dict[str, str] = {}
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for path, library in libraries.items():
            if library.executable or path in hidden:
                continue
            self.providers.append(path)
            place = installed_path(path)
            self._by_place[place if library.format is Format.ELF else place.lower()] = path
            for name in library.names(path):
                self._by_name[name].append(path)
        self.names = frozenset(self._by_name)
        # Shared between all libraries that are opened, since most find the same ones.
        self._edges: dict[str, dict[str, Edge]] = {}
        self._names = {path: self._loaded_as(path) for path in libraries}
        self._own_asked = {path: self._own_names_asked(path) for path in libraries}
        self._loaded: dict[str, Loaded] = {}
        self._asked: dict[tuple[str, bool], frozenset[str]] = {}
        self._openers = self._find_openers(kinds)

    def without(self, hidden: Collection[str]) -> LoadGraph:
        """Return the graph of the same libraries with some of them hidden from all others."""
        return LoadGraph(self.libraries, self._kinds, hidden, self.budget)

    def loaded(self, path: str) -> Loaded:
        """Return the libraries that are loaded when one is opened."""
        if path not in self._loaded:
            self._loaded[path] = self._load(path)
        return self._loaded[path]

    def openers(self, path: str) -> tuple[str, ...]:
        """Return the libraries whose opening loads a library, itself included if it is opened.

        A library that others need and that is not a module is not opened directly. The
        loader resolves its symbols in the scope of the library that was opened.
        """
        return self._openers[path]

    def finds(self, path: str, needed: str) -> bool:
        """Whether the loader finds a needed library in the target, whichever one is opened."""
        edges = [
            self.loaded(opener).edges.get(path, {}).get(needed) for opener in self.openers(path)
        ]
        return all(edge is not None and not edge.preloaded for edge in edges)

    def asked(self, path: str) -> frozenset[str]:
        """Return the names that the loader looks up when a library is opened.

        Where one of several libraries is loaded, only the names that all of them need count.
        """
        return self._names_asked(path, nested=False)

    def _names_asked(self, path: str, *, nested: bool) -> frozenset[str]:
        key = (path, nested)
        if key in self._asked:
            return self._asked[key]
        loaded = self.loaded(path)
        names: set[str] = set()
        pending, seen = [path], {path}
        while pending:
            current = pending.pop()
            names |= self._own_asked[current]
            edges = loaded.edges.get(current, {}).values()
            self.budget.spend(steps=1 + len(edges))  # equivalent: an approximate cost
            for edge in edges:
                if len(edge.paths) == 1:
                    (other,) = edge.paths
                    if other not in seen:
                        pending.append(other)
                        seen.add(other)
                    continue
                # Only one level of ambiguity is followed; deeper ones add too little.
                choices = [
                    self._own_asked[p] if nested else self._names_asked(p, nested=True)
                    for p in edge.paths
                ]
                names |= frozenset.intersection(*choices)
        self._asked[key] = frozenset(names)
        return self._asked[key]

    def _own_names_asked(self, path: str) -> frozenset[str]:
        library = self.libraries[path]
        return frozenset(library_name(n) for n in library.needed if not is_absolute(library, n))

    def _find_openers(self, kinds: Mapping[str, LibraryKind]) -> dict[str, tuple[str, ...]]:
        needed = {other for path in self.libraries for other in self.loaded(path).order[1:]}
        openers: dict[str, list[str]] = {path: [] for path in self.libraries}
        for path in self.libraries:
            if path in needed and kinds[path] is not LibraryKind.EXTENSION:
                continue
            order = self.loaded(path).order
            self.budget.spend(steps=len(order))
            for other in order:
                if other == path or kinds[other] is not LibraryKind.EXTENSION:
                    openers[other].append(path)
        # Where libraries need each other in a cycle, it is unknown which is opened first.
        return {path: tuple(found) or (path,) for path, found in openers.items()}

    def _load(self, opened: str) -> Loaded:
        """Follow the loader, which maps libraries breadth first."""
        certain = {opened}
        edges: dict[str, dict[str, Edge]] = {}
        chains: dict[str, tuple[str, ...]] = {opened: ()}
        names = dict.fromkeys(self._names[opened], Edge((opened,), preloaded=False))
        pending = [opened]
        for path in pending:  # grows during the loop
            found = {}
            # equivalent: an approximate cost
            self.budget.spend(steps=1 + len(chains[path]) + len(self.libraries[path].needed))
            for needed in self.libraries[path].needed:
                edge = self._find(path, needed, chains[path], opened, names)
                if edge is None:
                    continue
                found[needed] = edge
                if edge.is_certain and path in certain:
                    certain |= set(edge.paths)
                for other in edge.paths:
                    if other not in chains:
                        chains[other] = (*chains[path], path)
                        pending.append(other)
                if len(edge.paths) == 1:
                    for name in self._names[edge.paths[0]]:
                        names.setdefault(name, edge)
            if self._edges.get(path) != found:
                self._edges[path] = found
            edges[path] = self._edges[path]
        return Loaded(tuple(chains), frozenset(certain), edges)

    def _loaded_as(self, path: str) -> frozenset[str]:
        """Return the names by which a loaded library is found."""
        library = self.libraries[path]
        if library.format is Format.ELF:
            return frozenset({library.soname} if library.soname else ())
        return library.names(path)

    def _find(
        self,
        path: str,
        needed: str,
        chain: tuple[str, ...],
        opened: str,
        loaded: Mapping[str, Edge],
    ) -> Edge | None:
        library = self.libraries[path]
        if is_absolute(library, needed):
            return None
        name = library_name(needed)
        if library.format is not Format.MACHO and needed in loaded:
            return loaded[needed]
        for place in self._places(path, needed, chain, opened):
            self.budget.spend(steps=_STEPS_OF_PLACE)
            found = self._by_place.get(place)
            # A file in another format is skipped, like one for another machine.
            if found is not None and self.libraries[found].format is library.format:
                return Edge((found,), preloaded=False)
        named = self._by_name.get(name, [])
        self.budget.spend(steps=len(named))
        others = [other for other in named if self.libraries[other].format is library.format]
        return Edge(tuple(others), preloaded=True) if others else None

    def _places(self, path: str, needed: str, chain: Sequence[str], opened: str) -> Iterator[str]:
        """Yield the places in the target where the loader looks, in order."""
        library = self.libraries[path]
        match library.format:
            case Format.PE:
                yield _join(_folder(opened), needed).lower()
            case Format.MACHO:
                yield from map(str.lower, self._macho_places(path, needed, chain))
            case Format.ELF if "/" in needed:
                place = _expand(needed, path, _ORIGIN)
                if place is not None:
                    yield place
            case Format.ELF:
                for folder in self._elf_folders(path, chain):
                    yield _join(folder, needed)

    def _elf_folders(self, path: str, chain: Sequence[str]) -> Iterator[str]:
        """Yield the folders of the target that ld.so searches for the needs of a library."""
        library = self.libraries[path]
        searched = [(path, library.runpath)]
        if not library.runpath:
            searched = [
                (owner, self.libraries[owner].rpath)
                for owner in (path, *reversed(chain))
                if not self.libraries[owner].runpath
            ]
        for owner, entries in searched:
            for entry in entries:
                folder = _expand(entry, owner, _ORIGIN)
                if folder is not None:
                    yield folder

    def _macho_places(self, path: str, needed: str, chain: Sequence[str]) -> Iterator[str]:
        """Yield the places in the target where dyld looks for a needed library."""
        prefix, _, rest = needed.partition("/")
        if prefix == "@loader_path":
            yield _join(_folder(path), rest)
        elif prefix == "@rpath":
            for owner in (path, *reversed(chain)):
                for entry in self.libraries[owner].rpath:
                    folder = _expand(entry, owner, ("@loader_path",))
                    if folder is not None:
                        yield _join(folder, rest)


def is_absolute(library: Library, needed: str) -> bool:
    """Whether a library is looked up only at a fixed path, where no wheel is installed."""
    return library.format is not Format.PE and needed.startswith("/")


def installed_path(path: str) -> str:
    """Return the path of a member once installed, relative to site-packages."""
    top, _, rest = path.partition("/")
    kind, _, inside = rest.partition("/")
    return inside if top.endswith(".data") and kind in _INSTALLED_BESIDE else path


def _folder(path: str) -> str:
    return installed_path(path).rpartition("/")[0]


def _join(folder: str, name: str) -> str:
    return posixpath.normpath(f"{folder}/{name}" if folder else name)


def _expand(entry: str, path: str, variables: Collection[str]) -> str | None:
    """Return the place that an entry names relative to the folder of its library.

    None if the entry does not begin with that folder: then it is a place on the host system.
    """
    for variable in variables:
        if entry == variable or entry.startswith(f"{variable}/"):
            return _join(_folder(path), entry.removeprefix(variable).lstrip("/") or ".")
    return None

"""The compatibility matrix: which torch releases each library of a target loads on.

It follows the dynamic loader: a library must find every library that it needs and, in
the libraries that it reaches, every symbol that it imports strongly. On Linux any
library that is reached may provide a symbol. On macOS and Windows the binary names the
provider; a symbol for which a macOS binary names none may be in any loaded library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit.catalog.libraries import cuda_library, is_torch_library
from torch_abi_audit.claims.cuda_packages import comes_with_torch, cuda_major
from torch_abi_audit.claims.manylinux import LIBSTDCXX, newest_above
from torch_abi_audit.loader.alternatives import find_alternatives
from torch_abi_audit.loader.copies import Copies
from torch_abi_audit.loader.graph import is_absolute
from torch_abi_audit.model import (
    MAIN_EXECUTABLE,
    Alternative,
    Cause,
    Cell,
    Format,
    Matrix,
    Reason,
    ReleaseStatus,
    TorchAbi,
    library_name,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from packaging.version import Version

    from torch_abi_audit.catalog import Catalog, Platform
    from torch_abi_audit.catalog.exports import Build
    from torch_abi_audit.loader.graph import LoadGraph
    from torch_abi_audit.model import LibraryAudit

_FROM_BEST = (
    ReleaseStatus.GUARANTEED,
    ReleaseStatus.LINKS,
    ReleaseStatus.UNKNOWN,
    ReleaseStatus.BREAKS,
)
_UNKNOWN = Cell(ReleaseStatus.UNKNOWN)

# Bounds against hostile files: on the reasons of a library for one release, and of all libraries
# for all releases. The most in a published wheel: fbgemm-gpu 1.9.0, 92 names in one release.
# equivalent: one more or less is as good a bound
_MAX_REASONS, _MIN_REASONS, _MAX_REASONS_OF_ALL = 1000, 20, 200_000
# Bytes of text per reason: if reasons are longer, fewer are listed.
_REASON_BYTES = 100  # equivalent: one more or less is as good a bound


class Surroundings(NamedTuple):
    """The libraries that a target finds where it is installed, besides torch's.

    Attributes:
        platform_tags: The platform tags, which guarantee a libstdc++ version.
        brought: Stems and numbers of the CUDA libraries that its own requirements install.
        present: Names of the libraries in other packages of its environment.
    """

    platform_tags: frozenset[str] = frozenset()
    brought: frozenset[tuple[str, int]] = frozenset()
    present: frozenset[str] = frozenset()


def make_matrix(
    items: Sequence[LibraryAudit],
    graphs: Mapping[str, LoadGraph],
    catalog: Catalog,
    surroundings: Surroundings,
) -> Matrix:
    """Fill the matrix of a target.

    Args:
        items: The target's libraries.
        graphs: The load graph of each machine.
        catalog: What torch's releases provide.
        surroundings: What else is available where the target is installed.
    """
    users = [item for item in items if item.torch.needs_torch]
    known = {(release.major, release.minor) for release in catalog.published}
    alternatives = find_alternatives((item.path for item in users), known)
    cells: dict[str, dict[Version, Cell]] = {item.path: {} for item in users}
    row: dict[Version, Cell] = {}
    machines: dict[str, dict[str, LibraryAudit]] = {arch: {} for arch in graphs}
    for item in items:
        machines[item.library.arch][item.path] = item
    # equivalent: without libraries nothing is listed
    shown = _MAX_REASONS_OF_ALL // max(1, len(users) * len(catalog.releases))
    limit = min(_MAX_REASONS, max(_MIN_REASONS, shown))
    chosen: dict[tuple[str, tuple[int, int]], tuple[LoadGraph, Copies]] = {}
    libstdcxx = {(item.library.arch, item.path): _libstdcxx_versions(item) for item in items}
    whole = {arch: (graph, Copies(graph)) for arch, graph in graphs.items()}
    for release in catalog.releases if users else ():
        # Only alternatives make the load graph depend on the release.
        series = (release.major, release.minor)
        columns: dict[str, _ReleaseChecker] = {}
        for arch, of_machine in machines.items():
            # equivalent: a graph that hides nothing is the same, and so is a rebuilt one
            if alternatives and (arch, series) not in chosen:
                hidden = {path for path, item in alternatives.items() if item.release != series}
                graph = graphs[arch].without(hidden)
                chosen[arch, series] = graph, Copies(graph)
            graph, copies = chosen.get((arch, series), whole[arch])
            versions = {path: libstdcxx[arch, path] for path in of_machine}
            machine = _Machine(of_machine, graph, versions, copies)
            columns[arch] = _ReleaseChecker(machine, catalog, surroundings, release, limit)
        for item in users:
            cell = columns[item.library.arch].cell(item)
            # The worst slice of a universal file counts.
            other = cells[item.path].get(release, cell)
            cells[item.path][release] = max(other, cell, key=_rank)
        of_release = {item.path: cells[item.path][release] for item in users}
        row[release] = _roll_up(of_release, alternatives, release)
    return Matrix(cells, row, alternatives)


def _roll_up(
    column: Mapping[str, Cell], alternatives: Mapping[str, Alternative], release: Version
) -> Cell:
    """Return the target's cell for a release: the worst of the libraries that are loaded on it.

    Of several alternatives for the release, such as one per CUDA version, the best counts.
    """
    serving = [cell for path, cell in column.items() if path not in alternatives]
    for group in sorted({item.group for item in alternatives.values()}):
        meant = [
            column[path]
            for path, item in alternatives.items()
            if item.group == group and item.release == release.release[:2]
        ]
        missing = Reason(Cause.ALTERNATIVE, group, f"no library for torch {release}")
        best = min(meant, key=_rank, default=Cell(ReleaseStatus.BREAKS, (missing,)))
        serving.append(best)
    worst = max(serving, key=_rank, default=Cell(ReleaseStatus.GUARANTEED))
    reasons = tuple(dict.fromkeys(reason for cell in serving for reason in cell.reasons))
    if worst.status is ReleaseStatus.BREAKS:  # then what is in doubt does not matter
        reasons = tuple(reason for reason in reasons if not reason.is_doubt)
    needs = [cell.libstdcxx for cell in serving]
    breaking = [cell.libstdcxx for cell in serving if cell.status is ReleaseStatus.BREAKS]
    newest = None if None in breaking else _newest(filter(None, needs))
    return Cell(worst.status, reasons, libstdcxx=newest)


def _weight(reasons: Sequence[Reason]) -> tuple[int, int]:
    """Return the key by which the best of several ways to open a library is the least."""
    return sum(not reason.is_doubt for reason in reasons), len(reasons)


def _newest(versions: Iterable[str]) -> str | None:
    """Return the version of libstdc++ that comes with the newest of several."""
    found = newest_above(((version, "") for version in versions), 0)
    return found[0] if found else None


def _libstdcxx_versions(item: LibraryAudit) -> tuple[str, ...]:
    """Return the newest versions of each kind that a library needs of the system's libstdc++."""
    versions = (
        (version, item.library.arch)
        for name, of_name in item.library.version_needs
        if name == LIBSTDCXX and name not in item.own
        for version in of_name
    )
    return tuple(newest_above(versions, 0))


def _rank(cell: Cell) -> int:
    return _FROM_BEST.index(cell.status)


class _Machine(NamedTuple):
    """The libraries of a target for one machine.

    Attributes:
        items: The libraries, by path.
        graph: Their load graph.
        libstdcxx: The newest symbol versions that each needs of libstdc++.
        copies: The copies of torch's libraries among them.
    """

    items: Mapping[str, LibraryAudit]
    graph: LoadGraph
    libstdcxx: Mapping[str, Sequence[str]]
    copies: Copies


class _Scope(NamedTuple):
    """Where symbols are looked up when a library is opened, besides the target's own libraries.

    Attributes:
        reachable: The torch libraries.
        copies: The paths of copies of such.
    """

    reachable: frozenset[str]
    copies: tuple[str, ...]


class _Found(NamedTuple):
    """Why libraries do not load, by path, as told of themselves and of those that need them."""

    own: dict[str, list[Reason]]
    of_sibling: dict[str, list[Reason]]


class _ReleaseChecker:
    """Checks the libraries of a target for one machine against one release."""

    def __init__(
        self,
        machine: _Machine,
        catalog: Catalog,
        surroundings: Surroundings,
        release: Version,
        limit: int,
    ) -> None:
        self._limit = limit
        self._items, self._graph, self._libstdcxx, self._copies = machine
        self._catalog = catalog
        self._surroundings = surroundings
        self._release = release
        self._found: dict[_Scope, _Found] = {}
        self._reachable: dict[str, frozenset[str]] = {}
        self._promised: dict[str, bool] = {}
        self._newer: dict[str, str | None] = {}

    def cell(self, item: LibraryAudit) -> Cell:
        """Check one library, with the siblings that it needs."""
        platform = self._catalog.platforms.get(item.platform or "")
        if platform is None:
            return _UNKNOWN
        build = platform.build(self._release)
        if build is None:
            return _UNKNOWN
        near = self._graph.loaded(item.path).order
        scopes = (
            _Scope(self._reached(opener, build), self._copies.loaded_with(opener))
            for opener in self._graph.openers(item.path)
        )
        tried = [self._reasons(near, scope, platform, build) for scope in dict.fromkeys(scopes)]
        reasons = min(tried, key=_weight)
        failures = tuple(reason for reason in reasons if not reason.is_doubt)
        newer = [version for path in near if (version := self._newer_libstdcxx(path, build))]
        if failures:
            brought = [reason.libstdcxx for reason in failures]
            known = [version for version in brought if version is not None]
            needed = _newest([*known, *newer]) if len(known) == len(brought) else None
            return Cell(ReleaseStatus.BREAKS, failures, libstdcxx=needed)
        if reasons:
            return Cell(ReleaseStatus.UNKNOWN, tuple(reasons), libstdcxx=_newest(newer))
        promised = all(map(self._is_promised, near))
        status = ReleaseStatus.GUARANTEED if promised else ReleaseStatus.LINKS
        return Cell(status, libstdcxx=_newest(newer))

    def _newer_libstdcxx(self, path: str, build: Build) -> str | None:
        """Return the version of libstdc++ that a library needs and no platform tag promises."""
        if path not in self._newer:
            tags = self._surroundings.platform_tags
            needed = self._libstdcxx[path]
            newer = [version for version in needed if not build.has_libstdcxx(version, tags)]
            self._newer[path] = _newest(newer)
        return self._newer[path]

    def _is_promised(self, path: str) -> bool:
        """Whether torch's guarantee covers everything that a library uses of this release."""
        if path not in self._promised:
            self._promised[path] = self._covers(self._items[path])
        return self._promised[path]

    def _covers(self, item: LibraryAudit) -> bool:
        torch = item.torch
        return (
            torch.abi is not TorchAbi.UNSTABLE
            and not torch.foreign
            and not torch.inlined
            and not torch.headers
            and self._release >= self._catalog.promised_since
            and (torch.floor is None or self._release >= torch.floor.release)
            and all(self._catalog.shims[name].promised for name in torch.shims)
        )

    def _reached(self, opener: str, build: Build) -> frozenset[str]:
        """Return the torch libraries that are searched for symbols when a library is opened."""
        if opener not in self._reachable:
            self._reachable[opener] = build.closure(sorted(self._graph.asked(opener)))
        return self._reachable[opener]

    def _reasons(
        self, near: Sequence[str], scope: _Scope, platform: Platform, build: Build
    ) -> list[Reason]:
        """Return why a library does not load: its own reasons, then those of its siblings.

        A sibling that needs torch has its own row, which says why; the reasons of one that
        does not are reported for the library that needs it.
        """
        self._graph.budget.spend(steps=len(near))
        own, of_sibling = self._found.setdefault(scope, _Found({}, {}))
        for path in near:
            if path not in own:
                item = self._items[path]
                own[path] = self._own_reasons(item, platform, build, scope)
                of_sibling[path] = own[path]
                failures = [reason for reason in own[path] if not reason.is_doubt]
                if failures and item.torch.needs_torch:
                    why = f"does not load: {failures[0]}"
                    known = [reason.libstdcxx for reason in failures if reason.libstdcxx]
                    needed = _newest(known) if len(known) == len(failures) else None
                    of_sibling[path] = [Reason(Cause.SIBLING, path, why, needed)]
        siblings = (reason for path in near[1:] for reason in of_sibling[path])
        why = "too many of them do not load to list them"
        more = Reason(Cause.SIBLING, "more libraries", why)
        of_copies = self._copies.reasons(scope.copies)
        return [*of_copies, *own[near[0]], *self._listed(siblings, more)]

    def _own_reasons(
        self, item: LibraryAudit, platform: Platform, build: Build, scope: _Scope
    ) -> list[Reason]:
        missing = self._missing_symbols(item, platform, build, scope)
        own = self._missing_libraries(item, platform, build)
        more = Reason(
            Cause.SYMBOL, "more symbols", f"torch {build.label} lacks too many of them to list"
        )
        own += self._listed(missing, more)
        return own

    def _listed(self, reasons: Iterable[Reason], more: Reason) -> Iterator[Reason]:
        """Yield the reasons to list, at least the first, then `more` if there are others."""
        left, size = self._limit, self._limit * _REASON_BYTES
        for reason in reasons:
            if left <= 0 or size <= 0:  # equivalent: one byte more or less is as good a bound
                yield more
                return
            yield reason
            left -= 1
            size -= len(reason.name) + len(reason.detail)

    def _missing_libraries(
        self, item: LibraryAudit, platform: Platform, build: Build
    ) -> list[Reason]:
        reasons = [
            # glibc fails on this even if the symbol itself exists (`do_lookup_x`).
            Reason(Cause.SYMBOL, version, f"{name} has no symbol versions")
            for name, versions in item.library.version_needs
            if name in build.libraries
            for version in versions
        ]
        found = self._graph.loaded(item.path).edges[item.path]
        for needed in item.library.needed:
            if needed in found or needed in item.library.optional:
                continue
            name = library_name(needed)
            if is_absolute(item.library, needed):
                if is_torch_library(name):
                    reasons.append(Reason(Cause.LIBRARY, name, f"looked up at {needed}"))
                continue
            if name in build.libraries or name in build.others:
                continue
            if is_torch_library(name):
                built = "without CUDA" if "cuda" in name else "without it"
                reasons.append(Reason(Cause.LIBRARY, name, f"torch {build.label} is built {built}"))
            elif name in self._surroundings.present:
                continue
            elif (cuda := cuda_library(name)) and cuda not in self._surroundings.brought:
                reasons += _missing_cuda(name, cuda, platform, build)
        return reasons

    def _missing_symbols(
        self, item: LibraryAudit, platform: Platform, build: Build, scope: _Scope
    ) -> Iterator[Reason]:
        reached = _SymbolLookup(item, platform, build, scope.reachable)
        perhaps, weak = item.torch.perhaps, frozenset(item.torch.weak)
        copied = self._copies.symbols(scope.copies)
        for name in item.torch.shims:
            if name in perhaps or name in copied:
                continue
            export = self._catalog.shims[name].exported.get(platform.key)
            if export is None or build.opaque:
                yield from reached.missing(name)
            elif not export.since <= build.version <= export.until:
                when = _when([export.since, export.until], build, platform.key)
                yield Reason(Cause.SYMBOL, name, when)
            elif build.local is not None or not reached.any_of(name, {export.library}):
                yield from reached.missing(name)
        for name in (*item.torch.unstable, *item.torch.unknown_shims, *item.torch.foreign):
            if not (name in perhaps or name in copied or name in weak):
                yield from reached.missing(name)
        for name in item.torch.leaked:
            if not platform.finds_leak(name, build, self._surroundings.platform_tags):
                since = platform.leaks[name].version
                detail = f"not in torch {build.label}; in libstdc++ since {since}"
                yield Reason(Cause.SYMBOL, name, detail, since)


def _missing_cuda(
    name: str, library: tuple[str, int], platform: Platform, build: Build
) -> list[Reason]:
    """Compare a CUDA library with those that torch loads.

    The user has to install a library that no torch release brings, like any other library.
    """
    stem, _ = library
    if name in build.cuda_libraries:
        return []
    # Torch's builds for Windows have them in their own folder, and the index has none with CUDA.
    is_dll = name.endswith(".dll")
    if stem not in platform.cuda_stems and not (is_dll and comes_with_torch(stem)):
        return []
    if build.cuda is None:
        return [Reason(Cause.CUDA, name, f"torch {build.label} is built without CUDA")]
    if is_dll:
        major = cuda_major(library)
        if major is None or major == int(build.cuda.partition(".")[0]):
            return []
        return [Reason(Cause.CUDA, name, f"torch {build.label} ships those of CUDA {build.cuda}")]
    others = sorted(build.cuda_libraries)
    instead = [other for other in others if (cuda_library(other) or ("",))[0] == stem]
    brings = f"{instead[0]} (CUDA {build.cuda})" if instead else f"none (CUDA {build.cuda})"
    return [Reason(Cause.CUDA, name, f"torch {build.label} ships {brings}")]


class _SymbolLookup:
    """The symbols of one build that a library finds."""

    def __init__(
        self, item: LibraryAudit, platform: Platform, build: Build, reachable: Collection[str]
    ) -> None:
        self._providers = item.torch.providers
        self._platform = platform
        self._build = build
        self._masks, self._bit = platform.table.exporters, 1 << platform.number(build)
        # macOS looks up a name without a provider in all loaded libraries, including torch's.
        self._libraries = frozenset(
            build.libraries if item.library.format is Format.MACHO else reachable
        )

    def any_of(self, name: str, exporters: Collection[str]) -> bool:
        """Whether one of the libraries that export a name is among those searched for it."""
        # equivalent: without this the table of exports is read, which says the same
        return not (self._providers.get(name) or self._libraries).isdisjoint(exporters)

    def missing(self, name: str) -> list[Reason]:
        """Return why a name is not found, or may not be; empty if it is found."""
        providers = self._providers.get(name)
        asked_of = providers or self._libraries
        for library, mask in self._masks(name).items():
            if mask & self._bit and library in asked_of:
                return self._doubt(name, asked_of) if self._build.derived else []
        if providers == frozenset({MAIN_EXECUTABLE}):
            return [Reason(Cause.SYMBOL, name, "looked up in the running program, Python")]
        if providers and providers.isdisjoint(self._build.libraries):
            return []  # the library itself is what is missing
        return self._doubt(name, asked_of) or [self._missing(name, providers)]

    def _doubt(self, name: str, asked_of: Collection[str]) -> list[Reason]:
        """Return that it is not known if a name is found; empty if that is known."""
        if not self._platform.is_doubtful(name, self._build, asked_of):
            return []
        detail = f"not known if torch {self._build.label} exports it"
        return [Reason(Cause.BUILD, name, detail)]

    def _missing(self, name: str, providers: frozenset[str] | None) -> Reason:
        """Return why a name that is known to be missing is not found."""
        build, platform = self._build, self._platform
        exporters = platform.exporters(name, build)
        if exporters:
            asked = ", ".join(sorted(providers or ()))
            why = f"looked up in {asked}" if asked else "not linked"
            return Reason(Cause.SYMBOL, name, f"exported by {min(exporters)}, {why}")
        gone = sorted(lib for lib, mask in self._masks(name).items() if mask & self._bit)
        if gone:  # from another build than PyPI's
            return Reason(Cause.CUDA, name, f"in {gone[0]}, which torch {build.label} lacks")
        # With a single installed torch nothing more is known.
        many = len(platform.builds) > 1
        releases = platform.releases_of(name) if many else (build.version,)
        return Reason(Cause.SYMBOL, name, _when(releases, build, platform.key))


def _when(releases: Sequence[Version], build: Build, platform: str) -> str:
    """Say when torch has a symbol that a build lacks."""
    if not releases:
        return f"no torch build for {platform} exports it"
    if releases[0] > build.version:  # equivalent: the build is none of these releases
        return f"added in torch {releases[0]}"
    if releases[-1] < build.version:  # equivalent: the build is none of these releases
        return f"last in torch {releases[-1]}"
    return f"not in torch {build.label}"

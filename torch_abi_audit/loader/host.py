"""What the host must bring: needed libraries that nothing known installs.

A needed library is the host's if it is not among

- the libraries of the target;
- torch's own, those in the same folder, and CUDA's, which the matrix covers;
- what a declared requirement is known to install;
- what every system of the platform tag has, and CPython's libraries.

Nothing in a wheel's metadata can require such a library, and no installer looks for it.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit.catalog.libraries import (
    cuda_library,
    is_driver,
    is_torch_library,
    python_library,
)
from torch_abi_audit.claims.cuda_packages import comes_with_torch
from torch_abi_audit.claims.manylinux import (
    LIBSTDCXX,
    is_linux_library,
    lowest_glibc,
    newest_above,
)
from torch_abi_audit.claims.platform_tags import parse_platform
from torch_abi_audit.claims.windows import is_windows_library
from torch_abi_audit.loader.graph import is_absolute
from torch_abi_audit.model import Format, Host, HostLibrary, HostNeed, library_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from packaging.version import Version

    from torch_abi_audit.catalog import Catalog, Platform
    from torch_abi_audit.loader.graph import LoadGraph
    from torch_abi_audit.loader.matrix import Surroundings
    from torch_abi_audit.model import Claims, LibraryAudit

_MACOS_FOLDERS = ("/usr/lib/", "/System/")
_MACOS_SWIFT = "/usr/lib/swift/"  # in the rpath of what Swift compiles
# Where dyld finds these does not depend on the path: `/usr/lib` is its last resort.
_MACOS_LIBRARIES = frozenset({"libc++.1.dylib", "libc++abi.dylib", "libobjc.a.dylib"})
_MUSL = ("libc.musl-", "ld-musl-")
_NUMBER = re.compile(r"[0-9]+")
# The first words of libraries' names that differ from the name of the project with them.
_PROJECTS = {"nvinfer": "tensorrt", "nvonnxparser": "tensorrt", "iomp": "openmp"}
_WORD = re.compile(r"[a-z]+")
_SHORTEST, _WORDS = 3, 4  # letters that say anything of the rest of a word; words of a name
# Bounds against hostile files. The most in a published wheel: 42 libraries, 6 versions of one.
_MOST, _MOST_VERSIONS = 500, 50
_COMPILERS = (LIBSTDCXX, "libgcc_s.so.1")
_FROM_STRONGEST = (
    HostNeed.DRIVER,
    HostNeed.REQUIRED,
    HostNeed.ONE_OF,
    HostNeed.OPTIONAL,
    HostNeed.PLUGIN,
)


class _Need(NamedTuple):
    """A library that one library of the target needs of the host."""

    item: LibraryAudit
    name: str
    optional: bool


def find_host(
    items: Sequence[LibraryAudit],
    graphs: Mapping[str, LoadGraph],
    catalog: Catalog,
    claims: Claims,
    around: Surroundings,
) -> Host:
    """Return what a target needs of the host.

    Args:
        items: The target's libraries.
        graphs: The load graph of each machine.
        catalog: What torch's releases provide.
        claims: What the target's metadata claims.
        around: What else is available where it is installed.

    Raises:
        LimitError: It takes more than the budget allows.
    """
    with_torch = bool(claims.torch_requirements) or any(item.torch.needs_torch for item in items)
    torch = _Torch(catalog, with_torch=with_torch)
    named = (parse_platform(tag) for tag in around.platform_tags)
    systems = {platform.system for platform in named if platform is not None}
    needs = [
        need
        for item in items
        if not systems or item.library.system in systems
        for need in _needs(item, graphs[item.library.arch], around, torch)
    ]
    names_needed = _names_needed(items, graphs)
    found: dict[str, list[tuple[HostNeed, tuple[str, ...], LibraryAudit]]] = defaultdict(list)
    for need, one_of in _with_alternatives(needs, items, graphs):
        is_used = need.item.is_loaded or not names_needed.isdisjoint(
            need.item.library.names(need.item.path)
        )
        kind = _kind(need, one_of, used=is_used and not need.item.library.executable)
        found[need.name].append((kind, one_of, need.item))
    projects = {project: _words(project) for project in claims.dependencies}
    libraries = []
    for name in sorted(found, key=_natural)[:_MOST]:
        graphs[found[name][0][2].library.arch].budget.spend(steps=len(projects))
        kind = min((kind for kind, _, _ in found[name]), key=_FROM_STRONGEST.index)
        users = [(one_of, item) for other, one_of, item in found[name] if other is kind]
        releases = torch.bringing(name, [item for _, item in users])
        if releases and claims.name == "torch":
            continue  # it finds what it needs itself
        versions = {version for one_of, _ in users for version in one_of}
        libraries.append(
            HostLibrary(
                name=name,
                need=kind,
                libraries=tuple(dict.fromkeys(item.path for _, item in users)),
                one_of=_first_versions(versions),
                dependencies=_likely(name, projects),
                torch=releases,
                known=not with_torch or all(torch.knows(item) for _, item in users),
            )
        )
    return Host(tuple(libraries), _symbol_versions(items, around.platform_tags))


def _names_needed(items: Sequence[LibraryAudit], graphs: Mapping[str, LoadGraph]) -> frozenset[str]:
    """Return the names of the libraries that others need and do not load without.

    What only a library needs that is optional itself is as optional.
    """
    by_name: dict[str, list[LibraryAudit]] = defaultdict(list)
    anywhere = set()
    for item in items:
        graphs[item.library.arch].budget.spend(steps=1 + len(item.library.needed))
        anywhere |= set(map(library_name, item.library.needed))
        for name in item.library.names(item.path):
            by_name[name].append(item)
    # What nothing needs is loaded by code that can't be seen.
    pending = [
        item
        for item in items
        if item.is_loaded or anywhere.isdisjoint(item.library.names(item.path))
    ]
    names: set[str] = set()
    while pending:
        library = pending.pop().library
        for needed in library.needed:
            name = library_name(needed)
            if needed not in library.optional and name not in names:
                names.add(name)
                pending += by_name[name]
    return frozenset(names)


def _needs(
    item: LibraryAudit, graph: LoadGraph, around: Surroundings, torch: _Torch
) -> Iterable[_Need]:
    """Yield what a library needs and nothing known brings."""
    library = item.library
    found = graph.loaded(item.path).edges[item.path]
    graph.budget.spend(steps=len(library.needed))
    for needed in dict.fromkeys(library.needed):
        name = library_name(needed)
        if (
            needed in found
            or is_torch_library(name)
            or python_library(needed) is not None
            or _is_system(item, needed, name)
            or name in around.present
        ):
            continue
        cuda = cuda_library(name)
        if cuda is not None and (
            cuda in around.brought or (torch.is_there and comes_with_torch(cuda[0]))
        ):
            continue
        fixed = is_absolute(library, needed)
        yield _Need(item, needed if fixed else name, optional=needed in library.optional)


def _is_system(item: LibraryAudit, needed: str, name: str) -> bool:
    """Whether every system that a library is for has a library that it needs."""
    match item.library.format:
        case Format.ELF:
            return is_linux_library(name) or name.startswith(_MUSL)
        case Format.PE:
            return is_windows_library(name)
        case Format.MACHO:
            if needed.startswith("/"):
                return needed.startswith(_MACOS_FOLDERS)
            folders = [entry.rstrip("/") + "/" for entry in item.library.rpath]
            return name in _MACOS_LIBRARIES or (
                needed.startswith("@rpath/")
                and any(
                    folder.startswith(_MACOS_FOLDERS)
                    # This one has Swift's libraries and no others.
                    and (folder != _MACOS_SWIFT or needed.startswith("@rpath/libswift"))
                    for folder in folders
                )
            )


def _kind(need: _Need, one_of: Sequence[str], *, used: bool) -> HostNeed:
    if is_driver(need.name):
        return HostNeed.DRIVER
    if need.optional:
        return HostNeed.OPTIONAL
    if not used:
        return HostNeed.PLUGIN
    return HostNeed.ONE_OF if one_of else HostNeed.REQUIRED


def _with_alternatives(
    needs: Iterable[_Need], items: Iterable[LibraryAudit], graphs: Mapping[str, LoadGraph]
) -> Iterable[tuple[_Need, tuple[str, ...]]]:
    """Yield each need with the versions of the library of which one is enough, if it has any.

    Libraries whose paths differ only in numbers are alternatives as far as they need different
    versions of the same library: each needs one, and not all the same. Those that another library
    loads together are none.
    """
    groups: dict[tuple[str, str], set[str]] = defaultdict(set)
    for item in items:
        groups[_group(item)].add(item.path)
    by_group: dict[tuple[str, str], list[_Need]] = defaultdict(list)
    for need in needs:
        by_group[_group(need.item)].append(need)
    for group, of_group in by_group.items():
        members: dict[str, set[str]] = defaultdict(set)  # by what the names share
        users: dict[str, set[str]] = defaultdict(set)
        for need in of_group:
            members[_NUMBER.sub("#", need.name)].add(need.item.path)
            users[need.name].add(need.item.path)
        versions: dict[str, set[str]] = defaultdict(set)
        for name in users:
            versions[_NUMBER.sub("#", name)].add(name)
        graph, everywhere = graphs[group[0]], len(groups[group])
        opened = Counter(opener for path in groups[group] for opener in graph.openers(path))
        graph.budget.spend(steps=opened.total())
        together = max(opened.values(), default=0) > 1
        known = {shared: _first_versions(names) for shared, names in versions.items()}
        for need in of_group:
            shared = _NUMBER.sub("#", need.name)
            differ = not together and len(members[shared]) == everywhere > len(users[need.name])
            yield need, known[shared] if differ else ()


def _first_versions(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(names, key=_natural)[:_MOST_VERSIONS])


def _group(item: LibraryAudit) -> tuple[str, str]:
    """Return what the paths of alternatives have in common."""
    return item.library.arch, _NUMBER.sub("#", item.path)


class _Torch:
    """The libraries that are there wherever torch is."""

    def __init__(self, catalog: Catalog, *, with_torch: bool) -> None:
        self.is_there = with_torch
        self._catalog = catalog
        self._releases: dict[str, dict[str, list[Version]]] = {}

    def knows(self, item: LibraryAudit) -> bool:
        """Whether there are builds of torch for the platform of a library."""
        return self._platform(item) is not None

    def bringing(self, name: str, items: Iterable[LibraryAudit]) -> tuple[Version, ...]:
        """Return the releases next to which all libraries find another one.

        They have it in their folder, or need it themselves, and so do not load without it.
        """
        found = [self._of_platform(item).get(name, []) for item in items if self.is_there]
        common = frozenset.intersection(*map(frozenset, found)) if found else ()
        return tuple(sorted(common))

    def _platform(self, item: LibraryAudit) -> Platform | None:
        return self._catalog.platforms.get(item.platform or "")

    def _of_platform(self, item: LibraryAudit) -> Mapping[str, list[Version]]:
        platform = self._platform(item)
        if platform is None:
            return {}
        if platform.key not in self._releases:
            releases: dict[str, list[Version]] = defaultdict(list)
            for build in platform.builds:
                for name in {*build.others, *build.libraries, *build.needed_by_import}:
                    releases[name].append(build.version)
            self._releases[platform.key] = releases
        return self._releases[platform.key]


def _likely(name: str, projects: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the projects whose names suggest that they bring a library, those most alike.

    Args:
        name: The library.
        projects: The words of the projects' names, by these.
    """
    bare = re.sub(r"\.(?:so|dylib|dll)\b.*", "", name.lower().rpartition("/")[2])
    words = _words(bare)
    if not words:
        return ()
    words[0] = _PROJECTS.get(words[0], words[0])
    alike: dict[str, int] = {}
    for project, of_project in projects.items():
        # The other words, such as `torch` or `plugin`, do not tell by themselves.
        if any(_begins(words[0], other) for other in of_project):
            alike[project] = sum(
                any(_begins(word, other) for other in of_project) for word in words
            )
    best = max(alike.values(), default=0)
    return tuple(sorted(project for project, number in alike.items() if number == best))


def _words(name: str) -> list[str]:
    """Return the words in the name of a library or a project, without `lib` and numbers.

    >>> _words("libcudf-cu12"), _words("libz3")
    (['cudf', 'cu'], ['z3'])
    """
    words: list[str] = []
    for part in re.split(r"[^a-z0-9]+", name.removeprefix("lib")):
        # A single letter says nothing without its number.
        words += [part] if re.fullmatch(r"[a-z][0-9]", part) else _WORD.findall(part)
    return words[:_WORDS]


def _begins(one: str, other: str) -> bool:
    """Whether one of two words begins with the other; a short one has to be the same."""
    return one[:_SHORTEST] == other[:_SHORTEST] and (one.startswith(other) or other.startswith(one))


def _symbol_versions(
    items: Iterable[LibraryAudit], tags: frozenset[str]
) -> tuple[tuple[str, str], ...]:
    """Return what is needed of the compiler's libraries beyond what the tags promise."""
    lowest = lowest_glibc(tags)
    if lowest is None:
        return ()
    found = []
    for library in _COMPILERS:
        versions = [
            (version, item.library.arch)
            for item in items
            for name, of_name in item.library.version_needs
            if name == library and name not in item.own
            for version in of_name
        ]
        found += [(library, version) for version in newest_above(versions, lowest)]
    return tuple(found)


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts numbers in names by their value."""
    parts = re.split(r"([0-9]+)", name)
    return [(int(part[:_DIGITS]) if odd % 2 else -1, part) for odd, part in enumerate(parts)]


_DIGITS = 20  # of a number that counts: Python converts no longer than 4,300

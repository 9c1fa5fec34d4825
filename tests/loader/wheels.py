"""A wheel as the loaders see it: what its libraries need, and stubs for what nothing has."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import PurePosixPath

from tests.loader.stubs import Stub
from tests.loader.verdicts import is_of_others
from torch_abi_audit.model import Format, Library, TargetReport

_CUDA_NAME = re.compile(r"_{0,2}(?:cu[A-Z_a-z]|p?nccl|nv[A-Za-z])\w+")
_PYTHON_NAME = re.compile(r"_?Py[A-Z_]\w*")
# Names in torch's namespaces are never another package's.
OF_TORCH = re.compile(
    r"_Z(?:T[A-Za-z]n?[0-9]*_?|GV)?N[KVrRO]*(?:2at|3c10|5torch|6caffe2)|.*@(?:at|c10|torch|caffe2)@@"
)
DRIVER = ("libcuda.so.1", "libnvidia-ml.so.1")


def needed_before(report: TargetReport, path: str) -> list[str]:
    """Return the siblings that a library needs, those that others need first.

    Of several with one name that in the nearest folder counts.
    """
    libraries = {item.path: item.library for item in report.libraries}
    named: dict[str, list[str]] = {}
    for item, library in libraries.items():
        for name in library.names(item):
            named.setdefault(name, []).append(item)
    ordered: list[str] = []

    def visit(current: str, seen: tuple[str, ...]) -> None:
        for name in libraries[current].needed:
            sibling = nearest(current, named.get(name, ()))
            if sibling is not None and sibling not in seen and sibling not in ordered:
                visit(sibling, (*seen, sibling))
                ordered.append(sibling)

    visit(path, (path,))
    return ordered


def nearest(path: str, others: Iterable[str]) -> str | None:
    """Return the path that shares most folders with another, the shortest of those.

    >>> nearest("x/lib/a.so", ["y/b.so", "x/lib/b.so", "x/b.so"])
    'x/lib/b.so'
    """
    parents = PurePosixPath(path).parents

    def distance(other: str) -> tuple[int, int, str]:
        theirs = PurePosixPath(other).parents
        return -len(set(parents) & set(theirs)), len(theirs), other

    return min(others, key=distance, default=None)


def opening_scope(report: TargetReport, path: str) -> frozenset[str]:
    """Return what a wheel exports, for a library that others of the wheel need; else nothing."""
    libraries = {item.path: item.library for item in report.libraries}
    names = libraries[path].names(path)
    if not any(names & set(library.needed) for library in libraries.values()):
        return frozenset()
    return frozenset(symbol.name for library in libraries.values() for symbol in library.exports)


def imports(libraries: Iterable[Library]) -> Iterator[tuple[Library, str, str | None, str | None]]:
    """Yield what libraries import and can't do without: name, version and library."""
    for library in libraries:
        for symbol in library.imports:
            if not symbol.weak:
                yield library, symbol.name, symbol.version, symbol.library


def cuda_stubs(
    names: Iterable[str], libraries: list[Library], exported: Callable[[str], bool]
) -> list[Stub]:
    """Describe stubs for CUDA's libraries, with all that libraries import from them.

    Args:
        names: Those of CUDA's libraries.
        libraries: What imports from them: torch's libraries and those of wheels.
        exported: Whether any release of torch exports a name.
    """
    unversioned = frozenset(
        (name, None)
        for _, name, version, library in imports(libraries)
        if version is None and library is None and _CUDA_NAME.fullmatch(name) and not exported(name)
    )
    stubs = []
    for name in names:
        symbols = {
            (symbol, version)
            for _, symbol, version, library in imports(libraries)
            if library == name and version
        }
        stubs.append(Stub(name, unversioned | symbols, _versions(name, libraries)))
    return stubs


def _versions(name: str, libraries: Iterable[Library]) -> frozenset[str]:
    needs = (
        versions for item in libraries for needed, versions in item.version_needs if needed == name
    )
    return frozenset(version for versions in needs for version in versions)


def python_stub(name: str, libraries: Iterable[Library]) -> Stub:
    """Describe a stub with each function of CPython that libraries import.

    What the interpreter has goes first; the stub has what other Pythons have.
    """
    names = (symbol for _, symbol, _, _ in imports(libraries) if _PYTHON_NAME.fullmatch(symbol))
    return Stub(name, frozenset((symbol, None) for symbol in names))


def other_stubs(
    report: TargetReport,
    exported: Callable[[str], bool],
    present: Callable[[str], bool],
    cuda: Collection[str],
) -> list[Stub]:
    """Describe stubs for what neither torch, CUDA, the system nor the wheel has.

    Names that any release of torch exports, or that are in its namespaces, are in none: torch
    decides about them.

    Args:
        report: That of the wheel.
        exported: Whether any release of torch exports a name.
        present: Whether the machine has a library.
        cuda: The stems of CUDA's libraries.
    """
    libraries = [item.library for item in report.libraries]
    own = {name for item in report.libraries for name in item.library.names(item.path)}
    needed = {name for library in libraries for name in library.needed} - own
    wanted = sorted(name for name in needed if is_of_others(name, cuda) and not present(name))
    defined = {symbol.name for library in libraries for symbol in library.exports}
    stubs = []
    for stub in wanted:
        symbols = {
            (name, version)
            for importer, name, version, library in imports(libraries)
            if library == stub
            or (
                importer.format is Format.ELF
                and version is None
                and name not in defined
                and not OF_TORCH.match(name)
                and not exported(name)
            )
        }
        stubs.append(Stub(stub, frozenset(symbols), _versions(stub, libraries)))
    return stubs

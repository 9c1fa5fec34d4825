"""Which part of CPython's C API a library uses: nothing, the stable ABI, or more.

The names in the stable ABI (PEP 384) and the release that added each of them come from
`abi3info`, which is generated from CPython's own `Misc/stable_abi.toml`.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from torch_abi_audit.abi.modules import EXPORT_HOOK_SINCE, hooks, is_for_abi3t, only_new_hooks
from torch_abi_audit.catalog.libraries import python_library
from torch_abi_audit.model import (
    ABI3T_SINCE,
    MAIN_EXECUTABLE,
    Format,
    LibraryKind,
    PythonAbi,
    PythonUse,
    PythonVersion,
    basename,
)

if TYPE_CHECKING:
    from torch_abi_audit.loader.scope import Scope
    from torch_abi_audit.model import Library, Symbol

_C_API = re.compile(r"_?Py[A-Z_]")
# Functions that abi3t has but extensions can't call, since they can't define the static
# PyModuleDef that these take (PEP 803).
_OPAQUE = frozenset({"PyModuleDef_Init", "PyModule_Create2", "PyModule_FromDefAndSpec2"})
# Names that only some builds of CPython have (`ifdef` in stable_abi.toml).
_WINDOWS_ONLY = frozenset({"MS_WINDOWS"})
_NEVER_RELIABLE = frozenset({"Py_REF_DEBUG", "USE_STACKCHECK"})
_NOT_ON_WINDOWS = frozenset({"HAVE_FORK"})


def library_kind(library: Library) -> LibraryKind:
    """Tell whether Python can import a library as a module."""
    return LibraryKind.EXTENSION if hooks(library) else LibraryKind.BUNDLED


def classify_python(path: str, library: Library, scope: Scope) -> PythonUse:
    """Tell which part of the C API a library imports.

    Weak imports are left out: they never stop a load. A library counts as abi3t if its
    name or the Python library that it links to says so, and it imports nothing that can't
    be used there.

    Args:
        path: The path of the library.
        library: The facts.
        scope: What the library finds in its own target.
    """
    violations: list[str] = []
    since: dict[str, PythonVersion] = {}
    for symbol in library.imports:
        if symbol.weak or not _is_pythons(symbol, scope):
            continue
        stable = _stable_abi(windows=library.format is Format.PE)
        if symbol.name in stable:
            since[symbol.name] = stable[symbol.name]
        else:
            violations.append(symbol.name)
    linked = _linked(library)
    bound = bool(violations) or any("." in version for version in linked.values())
    opaque = tuple(sorted(_OPAQUE & since.keys()))
    since |= dict.fromkeys(only_new_hooks(library), EXPORT_HOOK_SINCE)
    if not bound and not since:
        return PythonUse(PythonAbi.NONE, linked=linked)
    abi = PythonAbi.VERSION_SPECIFIC if bound else PythonAbi.ABI3
    if not bound and not opaque and (is_for_abi3t(path) or "3t" in linked.values()):
        abi = PythonAbi.ABI3T
        since.setdefault(basename(path), ABI3T_SINCE)
    floor = None if bound else max(since.values())
    return PythonUse(
        abi=abi,
        opaque=opaque,
        violations=tuple(sorted(violations)),
        floor=floor,
        floor_symbols=tuple(sorted(name for name in since if since[name] == floor)),
        linked=linked,
    )


def _is_pythons(symbol: Symbol, scope: Scope) -> bool:
    """Whether an import is CPython's: the binary says so, or else its name does."""
    if symbol.library not in (None, MAIN_EXECUTABLE):
        return python_library(symbol.library) is not None
    return symbol.name not in scope.symbols and _C_API.match(symbol.name) is not None


def _linked(library: Library) -> dict[str, str]:
    """Return the needed libraries that are CPython's own, each with its Python version."""
    found = {name: python_library(name) for name in library.needed if name not in library.optional}
    return {name: version for name, version in found.items() if version}


@cache
def _stable_abi(*, windows: bool) -> dict[str, PythonVersion]:
    """Return each stable name that all CPython builds for a system have, with its release."""
    # Importing abi3info creates an object for each name, so it is imported only when needed.
    from abi3info import DATAS, FUNCTIONS  # noqa: PLC0415

    excluded = _NEVER_RELIABLE | (_NOT_ON_WINDOWS if windows else _WINDOWS_ONLY)
    return {
        symbol.name: PythonVersion(item.added.major, item.added.minor)
        for table in (FUNCTIONS, DATAS)
        for symbol, item in table.items()
        if getattr(item.ifdef, "name", None) not in excluded
    }

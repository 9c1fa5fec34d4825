"""The functions and classes of 0.3.0, for programs that were written for it. Deprecated.

New programs call `audit`; nothing else in the package needs this module. Its names are imported
from `torch_abi_audit` and `torch_abi_audit.report`, where 0.3.0 had them. The answers come from the
same readers and the same classification as an audit, so some differ from those of 0.3.0. Most
important: a file that can't be read has an `error`, but 0.3.0 said that it did not use torch.
README.md lists the differences ("Moving from 0.3.0").
"""

from __future__ import annotations

import importlib.util
import json
import os
import sysconfig
import warnings
from dataclasses import asdict, dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import Version

from torch_abi_audit.abi.classify import classify
from torch_abi_audit.abi.mangling import demangle
from torch_abi_audit.abi.torch import floor_of
from torch_abi_audit.budget import Budget
from torch_abi_audit.catalog import load_catalog
from torch_abi_audit.errors import AuditError
from torch_abi_audit.formats import is_library_name
from torch_abi_audit.model import LibraryKind, PythonAbi, TorchAbi
from torch_abi_audit.targets.files import read_files, walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from torch_abi_audit.catalog import Shim
    from torch_abi_audit.model import LibraryAudit

__all__ = [
    "BASELINE_VERSION",
    "CPythonABIVerdict",
    "EnvironmentReport",
    "ExtensionReport",
    "PackageReport",
    "TorchABIVerdict",
    "format_json",
    "inspect_extension",
    "inspect_package",
    "inspect_site_packages",
    "minimum_version",
    "symbol_version",
]

BASELINE_VERSION = (2, 9, 0)

_NO_PACKAGES = (".dist-info", ".egg-info", ".data")


@dataclass(frozen=True, slots=True)
class CPythonABIVerdict:
    """How a library uses CPython's C API. Deprecated: `audit(...)` has it in `LibraryAudit.python`.

    Attributes:
        intent: Whether the file is tagged `abi3`.
        compliant: Whether it uses the C API, and nothing outside the stable ABI.
        violations: The symbols it imports outside the stable ABI.
    """

    intent: bool
    compliant: bool
    violations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TorchABIVerdict:
    """How a library uses torch. Deprecated: `audit(...)` has it in `LibraryAudit.torch`.

    Of a library that could not be read, `uses_torch` is true and `stable` false: nothing shows
    that it is safe.

    Attributes:
        uses_torch: Whether it imports a symbol of torch.
        stable: Whether it does, and all of them are C shims of the stable ABI.
        unstable_symbols: The other ones, as declared in C++.
        stable_shim_count: How many C shims it imports.
        min_torch_version: The first torch release that has all of these shims.
        version_defining_symbols: The shims that first appeared in it.
        unknown_shim_symbols: Shims that no known torch release has.
    """

    uses_torch: bool
    stable: bool
    unstable_symbols: tuple[str, ...] = ()
    stable_shim_count: int = 0
    min_torch_version: str | None = None
    version_defining_symbols: tuple[str, ...] = ()
    unknown_shim_symbols: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExtensionReport:
    """A library. Deprecated: `audit(...)` has a `LibraryAudit` for each.

    Attributes:
        path: The file, with symbolic links resolved.
        cpython: How it uses CPython's C API.
        torch: How it uses torch.
        error: Why it could not be read.
    """

    path: Path
    cpython: CPythonABIVerdict
    torch: TorchABIVerdict
    error: str | None = None


@dataclass(frozen=True, slots=True)
class PackageReport:
    """The libraries of a package. Deprecated: `audit(...)` has a `TargetReport` for it.

    Attributes:
        name: The name it was found by: an import name, or that of the file or folder.
        root: Its folder.
        extensions: The libraries that Python can import.
        bundled_libs: Its other libraries, and those that could not be read.
        error: Why it, or one of its libraries, could not be inspected.
    """

    name: str
    root: Path
    extensions: tuple[ExtensionReport, ...] = ()
    bundled_libs: tuple[ExtensionReport, ...] = ()
    error: str | None = None

    @property
    def _libraries(self) -> tuple[ExtensionReport, ...]:
        return (*self.extensions, *self.bundled_libs)

    @property
    def has_error(self) -> bool:
        """Whether it, or one of its libraries, could not be inspected."""
        return self.error is not None or any(item.error is not None for item in self._libraries)

    @property
    def torch_verdict(self) -> str:
        """The worst of its libraries: error, torch-unstable, torch-stable or no-torch."""
        uses = [item.torch for item in self._libraries if item.torch.uses_torch]
        if self.has_error:
            return "error"
        if not all(use.stable for use in uses):
            return "torch-unstable"
        return "torch-stable" if uses else "no-torch"

    @property
    def min_torch_version(self) -> str | None:
        """The first torch release that has the C shims of all its libraries."""
        versions = [item.torch.min_torch_version for item in self._libraries]
        return max(filter(None, versions), key=Version, default=None)

    @property
    def has_unknown_shim_symbols(self) -> bool:
        """Whether a library imports a C shim that no known torch release has."""
        return any(item.torch.unknown_shim_symbols for item in self._libraries)

    @property
    def min_torch_display(self) -> str | None:
        """`min_torch_version`, with `>=` where an unknown shim may need a newer release."""
        version = self.min_torch_version
        return f">={version}" if version and self.has_unknown_shim_symbols else version

    @property
    def cpython_verdict(self) -> str:
        """What its extensions are: abi3-compliant, not-abi3, mixed, or no-extensions."""
        found = {item.cpython.compliant for item in self.extensions}
        if len(found) == 2:
            return "mixed"
        if not found:
            return "no-extensions"
        return "abi3-compliant" if found == {True} else "not-abi3"


@dataclass(frozen=True, slots=True)
class EnvironmentReport:
    """The packages in a site-packages folder that have libraries. Deprecated: see `audit`.

    Attributes:
        site_packages: The folder.
        packages: Its packages, in the order of their names.
    """

    site_packages: Path
    packages: tuple[PackageReport, ...] = ()


def inspect_extension(path: str | Path) -> ExtensionReport:
    """Inspect a library. Deprecated: use `audit(path)`.

    Args:
        path: The file. If it is missing, is not a library or can't be read, the report has an
            `error`.
    """
    _deprecated("inspect_extension(path)", "audit(path)")
    return _inspect_file(Path(path))[1]


def inspect_package(name_or_path: str | Path) -> PackageReport:
    """Inspect the libraries of a package. Deprecated: use `audit(name_or_path)`.

    Args:
        name_or_path: A name to import, which is looked up in `sys.path` without importing
            anything; or the path of a folder or a library: a `Path`, or text with a separator.
    """
    _deprecated("inspect_package(name_or_path)", "audit(name_or_path)")
    if not isinstance(name_or_path, Path) and not {os.sep, os.altsep} & set(name_or_path):
        try:
            places = _find(name_or_path)
        except AuditError as error:
            return PackageReport(name_or_path, Path(name_or_path), error=str(error))
        return _inspect_places(name_or_path, places)
    path = _resolved(Path(name_or_path))
    if not path.exists():
        reason = f"no such file or folder: {path}"
        return PackageReport(str(name_or_path), Path(name_or_path), error=reason)
    return _inspect_places(path.name, [path])


def inspect_site_packages(directory: str | Path | None = None) -> EnvironmentReport:
    """Inspect every package with libraries in a folder.

    Deprecated: name the packages to `audit(...)`, or run `torch-abi-audit --site-packages DIR`.

    Args:
        directory: The folder; by default that of the running interpreter.

    Raises:
        NotADirectoryError: There is no such folder.
    """
    _deprecated("inspect_site_packages(directory)", "audit(...) with the names of packages")
    folder = _resolved(Path(directory or sysconfig.get_path("purelib")))
    if not folder.is_dir():
        raise NotADirectoryError(f"not a folder: {folder}")
    packages = [
        _inspect_places(item.name, [item])
        for item in sorted(folder.iterdir())
        if (is_library_name(item.name) and not item.is_dir())
        or (item.is_dir() and item.name != "__pycache__" and not item.name.endswith(_NO_PACKAGES))
    ]
    return EnvironmentReport(
        folder,
        tuple(item for item in packages if item.extensions or item.bundled_libs or item.error),
    )


def symbol_version(symbol: str) -> tuple[int, int, int] | None:
    """Return the torch release that added a C shim after 2.9.0, else None.

    Deprecated: `audit(...)` says which release a library needs, in `LibraryAudit.torch.floor`.
    """
    _deprecated("symbol_version(symbol)", "audit(...)")
    shim = _shim(symbol)
    since = None if shim is None else _triple(shim.since)
    return since if since and since > BASELINE_VERSION else None


def minimum_version(
    shim_symbols: Iterable[str],
) -> tuple[tuple[int, int, int] | None, tuple[str, ...], tuple[str, ...]]:
    """Return the first torch release with all of some C shims.

    Deprecated: `audit(...)` says which release a library needs, in `LibraryAudit.torch.floor`.

    Args:
        shim_symbols: Their names.

    Returns:
        The release, or None for no shims; those that first appeared in it, if it is newer than
        2.9.0; and those that no known release has.
    """
    _deprecated("minimum_version(shim_symbols)", "audit(...)")
    symbols = sorted(set(shim_symbols))
    if not symbols:
        return None, (), ()
    since = {name: _triple(shim.since) for name in symbols if (shim := _shim(name))}
    newest = max([BASELINE_VERSION, *since.values()])
    defining = tuple(name for name in since if newest == since[name] > BASELINE_VERSION)
    return newest, defining, tuple(name for name in symbols if name not in since)


def format_json(report: ExtensionReport | PackageReport | EnvironmentReport) -> str:
    """Return a report as JSON. Deprecated: use `torch-abi-audit --json`, which has a schema."""
    _deprecated("format_json(report)", "torch-abi-audit --json")
    return json.dumps(asdict(report), indent=2, default=str)


def _deprecated(old: str, new: str) -> None:
    message = f"{old} is deprecated and will be removed: use {new} instead"
    warnings.warn(message, DeprecationWarning, stacklevel=3)


def _shim(symbol: str) -> Shim | None:
    """Return what is known of a C shim. In macOS's symbol tables it has one more underscore."""
    shims = load_catalog().shims
    return shims.get(symbol) or shims.get(symbol.removeprefix("_"))


def _triple(version: Version) -> tuple[int, int, int]:
    return version.major, version.minor, version.micro


def _resolved(path: Path) -> Path:
    """Resolve symbolic links; unlike `Path.resolve`, this never raises for a loop of them."""
    return Path(os.path.realpath(path))


def _find(name: str) -> list[Path]:
    """Return where a module or package would be imported from, without importing any.

    Raises:
        AuditError: It is not found, or has no file.
    """
    parts = name.split(".")
    spec = None
    try:
        if all(map(str.isidentifier, parts)):
            spec = importlib.util.find_spec(parts[0])
            for part in parts[1:]:
                inside = None if spec is None else spec.submodule_search_locations
                spec = None if inside is None else PathFinder.find_spec(part, list(inside))
    except (ImportError, ValueError) as error:
        raise AuditError(f"{name} is not found: {error}") from error
    if spec is None:
        raise AuditError(f"no package or module {name!r} in sys.path")
    if spec.submodule_search_locations is not None:
        found = [_resolved(Path(item)) for item in spec.submodule_search_locations]
        if found:
            return found
    if not spec.has_location or spec.origin is None:
        raise AuditError(f"{name} is part of the interpreter and has no file")
    return [_resolved(Path(spec.origin))]


def _inspect_places(name: str, places: Sequence[Path]) -> PackageReport:
    """Inspect a package, which lies in one folder, in several, or is a file."""
    root = places[0] if places[0].is_dir() else places[0].parent
    found: list[tuple[LibraryKind, ExtensionReport]] = []
    failures = []
    for place in places:
        try:
            found += _inspect_folder(place) if place.is_dir() else [_inspect_file(place)]
        except (AuditError, OSError) as error:
            failures.append(f"{place}: {error}")
    for _, item in found:
        if item.error is not None:
            inside = item.path.is_relative_to(root)
            shown = item.path.relative_to(root).as_posix() if inside else item.path
            failures.append(f"{shown}: {item.error}")
    rest = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
    return PackageReport(
        name=name,
        root=root,
        extensions=tuple(item for kind, item in found if kind is LibraryKind.EXTENSION),
        bundled_libs=tuple(item for kind, item in found if kind is LibraryKind.BUNDLED),
        error=f"{failures[0]}{rest}" if failures else None,
    )


def _inspect_file(path: Path) -> tuple[LibraryKind, ExtensionReport]:
    if not os.path.exists(path):  # noqa: PTH110 -- never raises
        return LibraryKind.BUNDLED, _failed(path, "no such file")
    try:
        found = list(_inspect({path.name: path}, path.name))
    except AuditError as error:
        return LibraryKind.BUNDLED, _failed(path, str(error))
    return found[0] if found else (LibraryKind.BUNDLED, _failed(path, "not a library"))


def _inspect_folder(folder: Path) -> list[tuple[LibraryKind, ExtensionReport]]:
    """Inspect the shared libraries below a folder, each once; programs are left out.

    Raises:
        AuditError: The folder, or one in it, can't be read, or holds too much.
    """
    files: dict[Path, tuple[str, Path]] = {}
    for name, path in sorted(walk(folder, aside=frozenset()), key=lambda item: item[1]):
        files.setdefault(_resolved(path), (name, path))
    return list(_inspect(dict(files.values()), folder.name))


def _inspect(files: dict[str, Path], package: str) -> Iterator[tuple[LibraryKind, ExtensionReport]]:
    """Yield what the libraries among files are, in the order of their paths.

    Raises:
        AuditError: They are more than is read of one package.
    """
    budget = Budget()
    members = list(read_files(files.items(), budget))
    slices = [(member.path, library) for member in members for library in member.slices]
    audits: dict[str, list[LibraryAudit]] = {}
    for item in classify(
        slices, (), load_catalog(), is_torch=package == "torch", budget=budget
    ).items:
        if not item.library.executable:
            audits.setdefault(item.path, []).append(item)
    for member in sorted(members, key=lambda member: files[member.path]):
        path = files[member.path]
        if member.error is not None:
            yield LibraryKind.BUNDLED, _failed(path, member.error)
        elif member.path in audits:
            found = audits[member.path]
            report = ExtensionReport(_resolved(path), _cpython(path, found), _torch(found))
            yield found[0].kind, report


def _failed(path: Path, error: str) -> ExtensionReport:
    """Return the report of a file that could not be read. Nothing shows that it is safe."""
    return ExtensionReport(
        path=_resolved(path),
        cpython=CPythonABIVerdict(_is_tagged(path), compliant=False),
        torch=TorchABIVerdict(uses_torch=True, stable=False),
        error=error,
    )


def _is_tagged(path: Path) -> bool:
    return ".abi3." in path.name


def _cpython(path: Path, slices: Sequence[LibraryAudit]) -> CPythonABIVerdict:
    uses = [item.python for item in slices]
    violations = tuple(sorted({name for use in uses for name in use.violations}))
    used = any(use.abi is not PythonAbi.NONE for use in uses)
    bound = any(use.abi is PythonAbi.VERSION_SPECIFIC for use in uses)
    return CPythonABIVerdict(_is_tagged(path), used and not bound, violations)


def _torch(slices: Sequence[LibraryAudit]) -> TorchABIVerdict:
    """Say how a library uses torch; the slices of a universal file are taken together."""
    uses = [item.torch for item in slices]
    shims = sorted({name for use in uses for name in use.shims})
    unknown = sorted({name for use in uses for name in use.unknown_shims})
    unstable = sorted({name for use in uses for name in use.unstable})
    floor = floor_of(shims, load_catalog())
    is_newer = _triple(floor.release) > BASELINE_VERSION
    uses_torch = any(use.abi is not TorchAbi.NONE for use in uses)
    return TorchABIVerdict(
        uses_torch=uses_torch,
        stable=uses_torch and not unstable,
        unstable_symbols=tuple(demangle(name) or name for name in unstable),
        stable_shim_count=len(shims) + len(unknown),
        min_torch_version=str(floor.release) if shims or unknown else None,
        version_defining_symbols=floor.symbols if is_newer else (),
        unknown_shim_symbols=tuple(unknown),
    )

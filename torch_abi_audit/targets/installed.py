"""Installed packages: found by name in site-packages folders, and never imported.

No part of a package is run: its `RECORD`, its metadata and the files of an editable install
are read as data, each package by itself, so that a broken one hides no other.
"""

from __future__ import annotations

import ast
import csv
import json
import os
import re
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from torch_abi_audit.budget import Budget
from torch_abi_audit.errors import AuditError
from torch_abi_audit.formats import is_library_name
from torch_abi_audit.model import (
    Interpreter,
    PythonVersion,
    TargetContents,
    TargetKind,
    basename,
)
from torch_abi_audit.targets.editable import (
    added_folders,
    decode_pth,
    is_root,
    path_of_url,
    recorded_name,
)
from torch_abi_audit.targets.files import claims_of, read_files, read_small, walk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_PYTHON_FOLDER = re.compile(r"python(3)\.(\d{1,2})(t?)")
_SITE_PACKAGES = frozenset({"site-packages", "dist-packages"})
_INFO = re.compile(r"(?P<name>[^~-][^-]*)(?:-.*)?\.(?:dist-info|egg-info|egg-link)")
# Setuptools' finder for an editable install says where the packages are.
_MAPPING = re.compile(r"^MAPPING(?:: [^=]+)? = (\{.*\})$", re.MULTILINE)
_MODULE_SUFFIX = re.compile(r"\..*$")


@dataclass(frozen=True)
class Package:
    """An installed package.

    Attributes:
        name: The distribution's normalized name.
        info: Its `.dist-info` or `.egg-info`, or the `.egg-link` to it.
    """

    name: str
    info: Path

    @cached_property
    def recorded(self) -> tuple[str, ...] | None:
        """Its files, relative to the site-packages folder; None if nothing lists them.

        Raises:
            AuditError: The list can't be read.
        """
        record, listed = self.info / "RECORD", self.info / "installed-files.txt"
        if record.is_file():
            rows = csv.reader(_text(record).replace("\0", "").splitlines())
            try:
                return tuple(recorded_name(row[0], record) for row in rows if row and row[0])
            except csv.Error as error:
                raise AuditError(f"RECORD: {error}") from error
        if listed.is_file():
            lines = [recorded_name(line, listed) for line in _text(listed).splitlines()]
            return tuple(f"{self.info.name}/{line}" for line in lines if line)
        return None

    @cached_property
    def roots(self) -> tuple[tuple[str, Path], ...]:
        """The packages and modules of an editable install, by import name (PEP 610, PEP 660).

        Raises:
            AuditError: It is an editable install, but none of them exists.
        """
        project = self._egg_linked() or self._project()
        if project is None:
            return ()
        added = self._added_to_the_path(project)
        found = dict(self._mapped()) | {
            package.name: package
            for folder in added
            for package in sorted(folder.iterdir())
            if (package / "__init__.py").is_file() or is_library_name(package.name)
        }
        # Modules and namespace packages are in the folders themselves. A loader that is not
        # read, such as meson-python's, has its build results in the project.
        found = found or {folder.name: folder for folder in added}
        if not found and not is_root(project) and project.is_dir() and _has_libraries(project):
            found = {self.name: project}
        if not found:
            raise AuditError(f"an editable install, and nothing of it was found at {project}")
        return tuple(sorted(found.items()))

    def _egg_linked(self) -> Path | None:
        """Return the folder that an `.egg-link` names in its first line."""
        if self.info.suffix != ".egg-link":
            return None
        return Path((_text(self.info).splitlines() or [""])[0].strip())

    def _project(self) -> Path | None:
        origin = self.info / "direct_url.json"
        if not origin.is_file():
            return None
        try:
            said = json.loads(_text(origin))
            if not said["dir_info"]["editable"]:
                return None
            return path_of_url(str(said["url"]), self.info)
        except (ValueError, KeyError, TypeError, RecursionError):
            return None

    def _mapped(self) -> Iterator[tuple[str, Path]]:
        """Yield what a setuptools finder maps; it is read, not run."""
        for item in self.recorded or ():
            name = basename(item)
            finder = self.info.parent / item
            if not (name.startswith("__editable__") and name.endswith(".py") and finder.is_file()):
                continue
            match = _MAPPING.search(_text(finder))
            try:
                mapping = ast.literal_eval(match[1]) if match else {}
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                continue
            for key, value in mapping.items():
                path = Path(str(value))
                if path.is_dir():
                    yield str(key), path
                elif path.parent.is_dir():  # a module, without its suffix
                    for module in path.parent.glob(f"{path.name}.*"):
                        yield str(key), module

    def _added_to_the_path(self, project: Path) -> list[Path]:
        """Return the folders that the package adds to `sys.path`."""
        if self.info.suffix == ".egg-link":
            return [project] if project.is_dir() else []
        site = self.info.parent
        folders = [
            Path(os.path.normpath(folder))  # so that a relative one has its own name
            for item in self.recorded or ()
            if item.endswith(".pth") and (site / item).is_file()
            for folder in added_folders(decode_pth(read_small(site / item)), site)
        ]
        return [folder for folder in folders if not is_root(folder) and folder.is_dir()]

    @cached_property
    def import_names(self) -> frozenset[str]:
        """The names that its modules are imported by; dotted ones for folders."""
        names = {name.partition(".")[0] for name, _ in self.roots}
        names |= {name for name, _ in self.roots}
        for item in self._own(Budget()):
            *folders, file = item.split("/")
            if not folders and not file.endswith(".pth"):
                names.add(_MODULE_SUFFIX.sub("", file))
            if folders and folders[0].isidentifier():
                names |= {".".join(folders[: depth + 1]) for depth in range(min(len(folders), 3))}
        return frozenset(names)

    def files(self, budget: Budget) -> Iterator[tuple[str, Path]]:
        """Yield its files: those that are recorded, and those of an editable install.

        Raises:
            AuditError: It is not known which files are its own.
        """
        folder = self.info.parent
        for item in self._own(budget):
            yield item, folder / item
        for name, root in self.roots:
            if root.is_dir():
                for inside, path in walk(root, budget):
                    yield f"{name.replace('.', '/')}/{inside}", path
            else:
                yield root.name, root

    def _own(self, budget: Budget) -> Sequence[str]:
        """Return the recorded files or, without a record, those in the package's folders."""
        if self.recorded is not None:
            return self.recorded
        if self.roots:
            return ()
        top = self.info / "top_level.txt"
        names = _text(top).split() if top.is_file() else [self.name.replace("-", "_")]
        names = [name for name in names if name.isidentifier()]
        folder = self.info.parent
        found = [
            f"{name}/{inside}"
            for name in names
            if (folder / name).is_dir()
            for inside, _ in walk(folder / name, budget)
        ]
        found += [
            path.name for name in names for path in folder.glob(f"{name}.*") if path.is_file()
        ]
        if not found:
            raise AuditError("it has no RECORD, so that which files are its own is not known")
        return found

    def open(self, folder: Path | None = None, budget: Budget | None = None) -> TargetContents:
        """Open it.

        Args:
            folder: A folder named by the user, all of which is read whatever the record says.
            budget: What may be read of it; without one, the default limits.

        Raises:
            AuditError: Its metadata, or the list of its files, can't be read.
        """
        budget = budget or Budget()
        files = dict(self.files(budget))
        if folder is not None:
            known = {path.resolve() for path in files.values()}
            for name, path in walk(folder, budget):
                if path.resolve() not in known:
                    files[f"{folder.name}/{name}"] = path
        info = self.info
        project = self._egg_linked()
        if project is not None:
            info = project / f"{info.stem.replace('-', '_')}.egg-info"
        members = tuple(read_files(files.items(), budget))
        return TargetContents(TargetKind.PACKAGE, claims_of(info), members)


class Site:
    """The packages that one interpreter finds.

    Args:
        folders: Its site-packages folders, in the order of `sys.path`.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = tuple(folders)
        self.packages: dict[str, Package] = {}
        for folder in self.folders:
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                match = _INFO.fullmatch(path.name)
                if match:  # the first on the path counts; `~name` is a leftover of pip
                    name = canonicalize_name(match["name"])
                    self.packages.setdefault(name, Package(name, path))

    @cached_property
    def library_names(self) -> frozenset[str]:
        """The names of the libraries in the packages, according to their `RECORD`s."""
        found = set()
        for package in self.packages.values():
            try:
                names = {basename(item) for item in package.recorded or ()}
            except AuditError:
                continue  # its own audit reports it
            found |= {name for name in names if is_library_name(name)}
        return frozenset(found)

    @cached_property
    def python(self) -> Interpreter | None:
        """The build of CPython that the folders are for, if their paths tell."""
        for folder in self.folders:
            for part in reversed(folder.parts):
                if match := _PYTHON_FOLDER.fullmatch(part):
                    python = PythonVersion(int(match[1]), int(match[2]))
                    return Interpreter(python, free_threaded=bool(match[3]))
        return None

    def folder_of(self, name: str) -> Path | None:
        """Return the folder that contains a package's own folder of that name.

        Raises:
            AuditError: It is installed, but can't be found.
        """
        package = self.packages.get(name)
        if package is None:
            return None
        return next(
            (root.parent for key, root in package.roots if key == name), package.info.parent
        )

    def version_of(self, name: str) -> Version | None:
        """Return the version of a package, according to the name of its metadata."""
        package = self.packages.get(name)
        if package is None:
            return None
        said = package.info.stem.partition("-")[2]
        try:
            return Version(said.partition("-")[0])
        except InvalidVersion:
            return None

    def find(self, name: str) -> list[str]:
        """Return the packages for a name, which is a distribution's or an import name."""
        canonical = canonicalize_name(name)
        if canonical in self.packages:
            return [canonical]
        return sorted(item for item in self.packages if name in self._import_names(item))

    def owners(self, folder: Path) -> list[str]:
        """Return the packages that have files in a folder below one of the site's folders."""
        for site in self.folders:
            for one, other in ((folder, site), (folder.resolve(), site.resolve())):
                if one != other and one.is_relative_to(other):
                    dotted = ".".join(one.relative_to(other).parts[:3])
                    return sorted(i for i in self.packages if dotted in self._import_names(i))
        return []

    def _import_names(self, name: str) -> frozenset[str]:
        try:
            return self.packages[name].import_names
        except (AuditError, OSError):
            return frozenset()  # its own audit reports it


def active_site() -> Site:
    """Return the packages of the interpreter that runs this code."""
    return Site([Path(item) for item in sys.path if Path(item).name in _SITE_PACKAGES])


def _has_libraries(folder: Path) -> bool:
    return any(is_library_name(name) for name, _ in walk(folder))


def _text(path: Path) -> str:
    return read_small(path).decode("utf-8", "backslashreplace")

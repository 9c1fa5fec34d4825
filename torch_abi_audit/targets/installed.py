"""Installed packages: found by name in site-packages folders, and never imported."""

from __future__ import annotations

import ast
import json
import re
import sys
from functools import cached_property
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from packaging.utils import canonicalize_name

from torch_abi_audit.errors import AuditError
from torch_abi_audit.formats import is_library_name
from torch_abi_audit.model import Opened, TargetKind
from torch_abi_audit.targets.files import claims_of, read_files, walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_SITE_PACKAGES = frozenset({"site-packages", "dist-packages"})
# Setuptools' finder of an editable install says where the packages are.
_MAPPING = re.compile(r"^MAPPING(?:: [^=]+)? = (\{.*\})$", re.MULTILINE)
_MODULE_SUFFIX = re.compile(r"\..*$")


class Site:
    """The packages that one interpreter finds.

    Args:
        folders: Its site-packages folders, in the order of `sys.path`.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = tuple(folders)
        self.packages: dict[str, Distribution] = {}
        for distribution in distributions(path=list(map(str, folders))):
            name = canonicalize_name(str(distribution.metadata["Name"] or ""))
            if name:
                self.packages.setdefault(name, distribution)  # the first on the path counts

    @cached_property
    def library_names(self) -> frozenset[str]:
        """The names of the libraries that the packages bring, as their `RECORD`s have them."""
        return frozenset(
            item.name
            for distribution in self.packages.values()
            for item in distribution.files or ()
            if is_library_name(item.name)
        )

    def folder_of(self, name: str) -> Path | None:
        """Return the site-packages folder that a distribution is installed in."""
        distribution = self.packages.get(name)
        return None if distribution is None else Path(str(distribution.locate_file("")))

    def find(self, name: str) -> list[str]:
        """Return the distributions that a name stands for: an import name, or a distribution's."""
        importing = [
            package
            for package, distribution in self.packages.items()
            if name in import_names(distribution)
        ]
        canonical = canonicalize_name(name)
        return sorted(importing) or ([canonical] if canonical in self.packages else [])

    def owner(self, folder: Path) -> str | None:
        """Return the distribution that a package folder in one of the folders belongs to."""
        if folder.resolve().parent not in {item.resolve() for item in self.folders}:
            return None
        return next(iter(self.find(folder.resolve().name)), None)

    def open(self, name: str) -> Opened:
        """Open a package by its distribution's name.

        Raises:
            AuditError: Its metadata can't be read.
        """
        distribution = self.packages[name]
        location = getattr(distribution, "_path", None)  # no public name gives the folder
        if not isinstance(location, Path) or not location.is_dir():
            raise AuditError("its metadata is no .dist-info folder")
        members = tuple(read_files(_files(distribution)))
        return Opened(TargetKind.PACKAGE, claims_of(location), members)


def active_site() -> Site:
    """Return the packages of the interpreter that runs this."""
    return Site([Path(item) for item in sys.path if Path(item).name in _SITE_PACKAGES])


def import_names(distribution: Distribution) -> frozenset[str]:
    """Return the names that a distribution's modules are imported by, dotted ones for folders."""
    names: set[str] = set()
    for name, _ in _files(distribution):
        *folders, file = name.split("/")
        if not folders and not file.endswith(".pth"):
            names.add(_MODULE_SUFFIX.sub("", file))
        if folders and folders[0].isidentifier():
            names |= {".".join(folders[: depth + 1]) for depth in range(min(len(folders), 3))}
    return frozenset(names)


def _files(distribution: Distribution) -> Iterator[tuple[str, Path]]:
    """Yield the files of a distribution: those of `RECORD`, and of an editable install."""
    for item in distribution.files or ():
        yield item.as_posix(), Path(str(distribution.locate_file(item)))
    for root in _editable_roots(distribution):
        for name, path in walk(root):
            yield f"{root.name}/{name}", path


def _editable_roots(distribution: Distribution) -> list[Path]:
    """Return the package folders of an editable install (PEP 610, PEP 660)."""
    try:
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")
        editable = bool(origin.get("dir_info", {}).get("editable"))
        project = Path(unquote(urlsplit(str(origin.get("url", ""))).path))
    except (ValueError, AttributeError):
        return []
    if not editable:
        return []
    found: list[Path] = []
    for item in distribution.files or ():
        path = Path(str(distribution.locate_file(item)))
        if path.suffix == ".py" and path.name.startswith("__editable__"):
            found += _mapped(path)
        elif path.suffix == ".pth" and path.is_file():
            found += _packages(path.read_text(encoding="utf-8", errors="replace").splitlines())
    return found or ([project] if project.is_dir() else [])


def _mapped(finder: Path) -> list[Path]:
    """Return the packages that a finder of setuptools maps; it is read, not run."""
    match = _MAPPING.search(finder.read_text(encoding="utf-8", errors="replace"))
    try:
        mapping = ast.literal_eval(match[1]) if match else {}
    except (ValueError, SyntaxError):
        return []
    return [Path(path) for path in mapping.values() if Path(path).is_dir()]


def _packages(lines: Iterable[str]) -> list[Path]:
    """Return the packages in the folders that the lines of a `.pth` file add to the path."""
    folders = [Path(line.strip()) for line in lines if line.strip()]
    return [
        package
        for folder in folders
        if folder.is_absolute() and folder.is_dir()
        for package in sorted(folder.iterdir())
        if (package / "__init__.py").is_file()
    ]

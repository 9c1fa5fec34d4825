"""What one of torch's own wheels provides, read from the members that say it."""

from __future__ import annotations

import json
import lzma
import re
from dataclasses import asdict, dataclass, field
from email.parser import HeaderParser
from typing import TYPE_CHECKING, Any, Protocol

from packaging.version import Version

from torch_abi_audit.archive.members import open_member
from torch_abi_audit.budget import Budget, Limits
from torch_abi_audit.catalog.build.headers import SHIM_HEADER, declarations
from torch_abi_audit.catalog.libraries import is_torch_library
from torch_abi_audit.claims.platform_tags import catalog_key
from torch_abi_audit.errors import AuditError, LibraryError
from torch_abi_audit.formats import read_libraries
from torch_abi_audit.formats.source import FileSource

if TYPE_CHECKING:
    import zipfile
    from contextlib import AbstractContextManager
    from pathlib import Path

    from torch_abi_audit.formats import ByteSource

_PATIENT = Limits(seconds=24 * 60 * 60)  # a library is read as its bytes come from the index

_CUDA_VERSION = re.compile(r"^cuda\b[^=]*=\s*'([0-9.]+)'", re.MULTILINE)
_CUDA_REQUIREMENT = re.compile(r"(?:nvidia|cuda)-")
# Torch's too, under names that are anybody's.
_HELPERS = frozenset({"libshm.so", "libshm.dylib", "shm.dll"})
_METADATA = re.compile(r"torch-[^/]+\.dist-info/METADATA")
_METADATA_GLOB = "torch-*.dist-info/METADATA"
_LIBRARY_FOLDER = re.compile(r"torch/lib/[^/]+")


@dataclass(frozen=True)
class Provided:
    """What a torch wheel provides.

    Attributes:
        version: The release.
        platform: The key of the platform, e.g. ``linux_x86_64``.
        filename: The wheel.
        requires_python: ``Requires-Python``.
        cuda: The CUDA release that it was built with, if any.
        requires: The requirements that bring CUDA's libraries, as the metadata has them.
        libraries: Each library of torch's: what it needs, and the names that it exports.
        others: Names of the other libraries that lie beside them.
        shims: Each C shim: its header, signature, gate and condition.
        local: The local version, which names a build that PyPI does not have.
    """

    version: str
    platform: str
    filename: str
    requires_python: str = ""
    cuda: str | None = None
    requires: list[str] = field(default_factory=list)
    libraries: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    shims: dict[str, list[str | None]] = field(default_factory=dict)
    local: str | None = None

    def save(self, path: Path) -> None:
        """Write it to a file, whole or not at all."""
        temporary = path.with_suffix(".part")
        data = json.dumps(asdict(self)).encode()
        temporary.write_bytes(lzma.compress(data, preset=1))
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> Provided:
        """Read it back."""
        values: dict[str, Any] = json.loads(lzma.decompress(path.read_bytes()))
        return cls(**values)


class Tree(Protocol):
    """A torch wheel, or the folder that one is installed in."""

    @property
    def names(self) -> list[str]:
        """The paths of its files, sorted."""

    def read(self, name: str) -> bytes:
        """Return a file's contents."""

    def source(self, name: str) -> AbstractContextManager[ByteSource]:
        """Open a file for random access."""


class WheelTree:
    """A torch wheel."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self.names = sorted(archive.namelist())

    def read(self, name: str) -> bytes:
        """See `Tree.read`."""
        return self._archive.read(name)

    def source(self, name: str) -> AbstractContextManager[ByteSource]:
        """See `Tree.source`."""
        file = self._archive.fp
        if file is None:
            raise AuditError("the archive is closed")
        return open_member(self._archive, self._archive.getinfo(name), file)


class FolderTree:
    """A site-packages folder with torch in it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.names = sorted(
            path.relative_to(folder).as_posix()
            for pattern in ("torch/lib/*", "torch/version.py", "torch/include/**/*.h")
            for path in folder.glob(pattern)
            if path.is_file()
        ) + sorted(path.relative_to(folder).as_posix() for path in folder.glob(_METADATA_GLOB))

    def read(self, name: str) -> bytes:
        """See `Tree.read`."""
        return (self._folder / name).read_bytes()

    def source(self, name: str) -> AbstractContextManager[ByteSource]:
        """See `Tree.source`."""
        return FileSource(self._folder / name)


def collect(platform: str, filename: str, wheel: Tree) -> Provided:
    """Read a torch wheel, or an installed torch.

    Args:
        platform: The key of the platform; empty to take that of its libraries.
        filename: What to call it.
        wheel: Its files.

    Raises:
        AuditError: It lacks what every torch wheel has, or a library can't be read.
    """
    libraries, others = {}, []
    for path in wheel.names:
        if not _LIBRARY_FOLDER.fullmatch(path):
            continue
        name = path.rpartition("/")[2]
        if not is_torch_library(name) and name not in _HELPERS:
            others.append(name)
            continue
        with wheel.source(path) as source:
            try:
                slices = read_libraries(source, name, Budget(_PATIENT))
            except LibraryError as error:
                raise AuditError(f"{path}: {error}") from error
        if len(slices) != 1:
            raise AuditError(f"{path}: {len(slices)} libraries in it, not one")
        (library,) = slices
        platform = platform or str(catalog_key(library, ()))
        libraries[name] = {
            "needed": list(library.needed),
            "exports": sorted({symbol.name for symbol in library.exports}),
        }
    if not libraries:
        raise AuditError("no library of torch's in it")
    found = [name for name in wheel.names if _METADATA.fullmatch(name)]
    if len(found) != 1 or "torch/version.py" not in wheel.names:
        raise AuditError("not one torch in it, with its metadata and torch/version.py")
    metadata = HeaderParser().parsestr(wheel.read(found[0]).decode())
    version = Version(str(metadata.get("Version", "")))
    cuda = _CUDA_VERSION.search(wheel.read("torch/version.py").decode())
    return Provided(
        version=version.base_version,
        platform=platform,
        filename=filename,
        requires_python=str(metadata.get("Requires-Python", "")),
        cuda=cuda and cuda[1],
        requires=[
            line
            for line in map(str, metadata.get_all("Requires-Dist", []))
            if _CUDA_REQUIREMENT.match(line)
        ],
        libraries=libraries,
        others=others,
        shims=_shims(wheel),
        local=version.local,
    )


def _shims(wheel: Tree) -> dict[str, list[str | None]]:
    found: dict[str, list[str | None]] = {}
    for name in wheel.names:
        header = SHIM_HEADER.fullmatch(name)
        if header:
            for item in declarations(wheel.read(name).decode("utf-8")):
                found.setdefault(item.name, [header[1], item.signature, item.gate, item.condition])
    return found

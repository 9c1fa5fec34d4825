"""The catalog: what each torch release provides, as data measured from torch's own wheels.

`build` makes the data; everything else only asks a loaded `Catalog`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.resources import files
from typing import TYPE_CHECKING

from packaging.version import Version

from torch_abi_audit.catalog.archive import read_builds, read_leaks, read_table
from torch_abi_audit.catalog.libraries import cuda_library

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import IO

    from torch_abi_audit.catalog.exports import Build, ExportTable, Leak

__all__ = ["Catalog", "Platform", "Shim", "ShimExport", "load_catalog"]

DATA_FOLDER = "data"
SHIMS_FILE = "shims.json"


@dataclass(frozen=True, slots=True)
class ShimExport:
    """Which library exports a shim on one platform, and in which releases."""

    library: str
    since: Version
    until: Version


@dataclass(frozen=True, slots=True)
class Shim:
    """A function of torch's C shim.

    Attributes:
        since: The first release of the catalog whose headers declare it. Shims of the
            oldest release may be older.
        header: The header that declares it, in the newest release that does.
        gate: The release that the header's `TORCH_FEATURE_VERSION` guard names, if any.
        condition: Other preprocessor conditions on it, such as ``USE_CUDA``.
        promised: The stable ABI's promise names the header.
        deprecated: The header is the one for deprecated shims.
        removed: The first release whose headers no longer declare it, if any.
        changed: Releases that gave it other parameters or another return type.
        exported: For each platform of the catalog whose builds export it, the library
            that does.
    """

    since: Version
    header: str
    gate: Version | None = None
    condition: str | None = None
    promised: bool = True
    deprecated: bool = False
    removed: Version | None = None
    changed: tuple[Version, ...] = ()
    exported: Mapping[str, ShimExport] = field(default_factory=dict)


@dataclass(frozen=True)
class Platform:
    """The builds of torch for one platform, and what they export.

    The parts are read when they are first asked for: a wheel that uses known shims
    only never reads the export table.

    Attributes:
        key: The name of the platform, e.g. ``linux_x86_64``.
        open: Opens the file that holds its data.
    """

    key: str
    open: Callable[[], IO[bytes]]

    @cached_property
    def builds(self) -> tuple[Build, ...]:
        """The builds, oldest first."""
        with self.open() as file:
            return read_builds(file)

    @cached_property
    def table(self) -> ExportTable:
        """What the builds export; masks count them from the oldest."""
        return read_table(self.open)

    @cached_property
    def leaks(self) -> Mapping[str, Leak]:
        """The names of libstdc++ that builds export."""
        with self.open() as file:
            return read_leaks(file)

    @cached_property
    def cuda_stems(self) -> frozenset[str]:
        """The stems of CUDA's libraries that any build brings."""
        names = {name for build in self.builds for name in build.cuda_libraries}
        return frozenset(parts[0] for name in names if (parts := cuda_library(name)))

    def build(self, release: Version) -> Build | None:
        """Return the build of a release, if the index has one."""
        return next((build for build in self.builds if build.version == release), None)

    def exporters(self, name: str, build: Build) -> frozenset[str]:
        """Return the libraries of a build that export a name."""
        bit = 1 << self.builds.index(build)
        masks = self.table.exporters(name)
        return frozenset(library for library, mask in masks.items() if mask & bit)

    def beginning_with(self, prefix: str) -> Iterator[str]:
        """Yield the exported names that begin with a prefix."""
        return (name for name, _ in self.table.beginning_with(prefix))

    def releases_of(self, name: str) -> tuple[Version, ...]:
        """Return the releases that export a name, oldest first."""
        mask = 0
        for bits in self.table.exporters(name).values():
            mask |= bits
        return tuple(
            build.version for number, build in enumerate(self.builds) if mask >> number & 1
        )


@dataclass(frozen=True)
class Catalog:
    """What torch's releases provide.

    Attributes:
        releases: The releases with data, oldest first.
        published: Every final release on the index, oldest first.
        promised_since: The first release that the stable ABI's promise covers.
        shims: Every C shim that any release of the catalog declares.
        platforms: The platforms that the index has builds for, by their keys.
    """

    releases: tuple[Version, ...]
    published: tuple[Version, ...]
    promised_since: Version
    shims: Mapping[str, Shim]
    platforms: Mapping[str, Platform] = field(default_factory=dict)

    @cached_property
    def newest(self) -> Version:
        """The newest release with data."""
        return max(self.releases)


@cache
def load_catalog() -> Catalog:
    """Load the catalog that this package carries."""
    folder = files(__package__) / DATA_FOLDER
    data = json.loads((folder / SHIMS_FILE).read_text(encoding="utf-8"))
    version = cache(Version)
    headers = data["headers"]
    platforms = {}
    for key in data["platforms"]:
        file = folder / f"{key}.zip"
        platforms[key] = Platform(key, lambda file=file: file.open("rb"))  # type: ignore[misc]
    return Catalog(
        releases=tuple(map(version, data["releases"])),
        published=tuple(map(version, data["published"])),
        promised_since=version(data["promised_since"]),
        shims={
            name: Shim(
                since=version(entry["since"]),
                header=headers[entry["header"]]["path"],
                gate=version(entry["gate"]) if "gate" in entry else None,
                condition=entry.get("condition"),
                promised=headers[entry["header"]]["promised"],
                deprecated=headers[entry["header"]]["deprecated"],
                removed=version(entry["removed"]) if "removed" in entry else None,
                changed=tuple(map(version, entry.get("changed", ()))),
                exported={
                    platform: ShimExport(library, version(since), version(until))
                    for platform, (library, since, until) in entry.get("exported", {}).items()
                },
            )
            for name, entry in data["shims"].items()
        },
        platforms=platforms,
    )

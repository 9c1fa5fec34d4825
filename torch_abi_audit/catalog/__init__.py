"""The catalog: what each torch release provides, as data measured from torch's own wheels.

`build` makes the data; everything else only queries a loaded `Catalog`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cache, cached_property
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from packaging.version import Version

from torch_abi_audit.catalog.libraries import cuda_library
from torch_abi_audit.catalog.storage import PlatformFile

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from typing import IO

    from torch_abi_audit.catalog.exports import Build, ExportTable, Leak
    from torch_abi_audit.claims.torch_build import BuildChoice

__all__ = ["Catalog", "Platform", "Shim", "ShimExport", "load_catalog"]

DATA_FOLDER = "data"
SHIMS_FILE = "shims.json"


class ShimExport(NamedTuple):
    """Which library exports a shim on one platform, and in which releases."""

    library: str
    since: Version
    until: Version


class Shim(NamedTuple):
    """A function of torch's C shim.

    Attributes:
        since: The first release of the catalog whose headers declare it. Shims of the
            oldest release may be older.
        header: The header that declares it, in the newest release that does.
        gate: The release that the header's `TORCH_FEATURE_VERSION` guard names, if any.
        condition: Other preprocessor conditions on it, such as ``USE_CUDA``.
        promised: Whether the stable ABI's guarantee names the header.
        deprecated: Whether the header is the one for deprecated shims.
        removed: The first release whose headers no longer declare it, if any.
        changed: Releases that changed its parameters or its return type.
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
    exported: Mapping[str, ShimExport] = MappingProxyType({})


@dataclass(frozen=True)
class Platform:
    """The builds of torch for one platform, and what they export.

    The parts are read when first used: for a wheel that uses only known shims, the
    export table is never read.

    Attributes:
        key: The name of the platform, e.g. ``linux_x86_64``.
        open: Opens the file that holds its data.
    """

    key: str
    open: Callable[[], IO[bytes]]

    @cached_property
    def _file(self) -> PlatformFile:
        return PlatformFile(self.open)

    @cached_property
    def builds(self) -> tuple[Build, ...]:
        """The builds, oldest first."""
        return self._file.builds()

    @cached_property
    def table(self) -> ExportTable:
        """What the builds export; masks count them from the oldest."""
        return self._file.table()

    @cached_property
    def leaks(self) -> Mapping[str, Leak]:
        """The libstdc++ names that builds export."""
        return self._file.leaks()

    @cached_property
    def cuda_stems(self) -> frozenset[str]:
        """The stems of the CUDA libraries that come with any build."""
        names = {name for build in self.builds for name in build.cuda_libraries}
        return frozenset(parts[0] for name in names if (parts := cuda_library(name)))

    def build(self, release: Version) -> Build | None:
        """Return the build of a release, if the index has one."""
        number = self._numbers.get(release)
        return None if number is None else self.builds[number]

    def exporters(self, name: str, build: Build) -> frozenset[str]:
        """Return the libraries of a build that export a name."""
        bit = 1 << self.number(build)
        masks = self.table.exporters(name)
        return frozenset([library for library, mask in masks.items() if mask & bit])

    def finds_leak(self, name: str, build: Build, tags: Collection[str]) -> bool:
        """Whether a library finds a libstdc++ name on every system it loads on with a build.

        Either torch's own libraries export it, or the system's libstdc++ is new enough.

        Args:
            name: One of `leaks`.
            build: One of the builds.
            tags: The platform tags of the library's target.
        """
        leak = self.leaks[name]
        exported = bool(leak.mask >> self.number(build) & 1)
        return exported or build.has_libstdcxx(leak.version, tags)

    def number(self, build: Build) -> int:
        """Return the position of one of the builds, which is its bit in masks."""
        return self._numbers[build.version]

    @cached_property
    def _numbers(self) -> dict[Version, int]:
        return {build.version: number for number, build in enumerate(self.builds)}

    def beginning_with(self, prefix: str) -> Iterator[str]:
        """Yield the exported names that begin with a prefix."""
        return (name for name, _ in self.table.beginning_with(prefix))

    def releases_of(self, name: str) -> tuple[Version, ...]:
        """Return the releases that export a name, oldest first."""
        mask = 0
        for bits in self.table.exporters(name).values():
            mask |= bits
        return tuple(build.version for build in self.builds if mask >> self.number(build) & 1)

    def is_doubtful(self, name: str, build: Build, asked_of: Collection[str]) -> bool:  # noqa: ARG002
        """Whether it is not known if one of some libraries of a build exports a name.

        Never of a build on PyPI; see `builds.OtherPlatform`.

        Args:
            name: The name.
            build: One of the builds.
            asked_of: The libraries that are searched for it.
        """
        return False


@dataclass(frozen=True)
class Catalog:
    """What torch's releases provide.

    Attributes:
        releases: The releases with data, oldest first.
        published: Every final release on the index, oldest first.
        promised_since: The first release that the stable ABI's guarantee covers.
        shims: Every C shim that any release in the catalog declares.
        platforms: The platforms that the index has builds for, by their keys.
        released: The day on which each published release was first uploaded, if known.
        build: The builds of torch that it is about; None for those on PyPI, or one given torch.
    """

    releases: tuple[Version, ...]
    published: tuple[Version, ...]
    promised_since: Version
    shims: Mapping[str, Shim]
    platforms: Mapping[str, Platform] = field(default_factory=dict)
    released: Mapping[Version, date] = field(default_factory=dict)
    build: BuildChoice | None = None

    @cached_property
    def newest(self) -> Version:
        """The newest release with data."""
        return max(self.releases)


class _PackagedShims(Mapping[str, Shim]):
    """The packaged shims; each is made when first used, since few of them are."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._headers = data["headers"]
        self._entries = data["shims"]
        self._made: dict[str, Shim] = {}
        self._version = cache(Version)

    def __getitem__(self, name: str) -> Shim:
        if name not in self._made:
            self._made[name] = self._make(self._entries[name])
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def _make(self, entry: Mapping[str, Any]) -> Shim:
        version = self._version
        header = self._headers[entry["header"]]
        return Shim(
            since=version(entry["since"]),
            header=header["path"],
            gate=version(entry["gate"]) if "gate" in entry else None,
            condition=entry.get("condition"),
            promised=header["promised"],
            deprecated=header["deprecated"],
            removed=version(entry["removed"]) if "removed" in entry else None,
            changed=tuple(map(version, entry.get("changed", ()))),
            exported={
                platform: ShimExport(library, version(since), version(until))
                for platform, (library, since, until) in entry.get("exported", {}).items()
            },
        )


@cache
def catalog_digest() -> str:
    """Return a digest of the catalog shipped in this package: what a judgement rests on."""
    digest = sha256()
    for path in sorted(Path(__file__).with_name(DATA_FOLDER).iterdir()):
        digest.update(f"{path.name} {path.stat().st_size} ".encode() + path.read_bytes())
    return digest.hexdigest()


@cache
def load_catalog() -> Catalog:
    """Load the catalog shipped in this package."""
    folder = Path(__file__).with_name(DATA_FOLDER)
    data = json.loads((folder / SHIMS_FILE).read_text(encoding="utf-8"))
    platforms = {}
    for key in data["platforms"]:
        file = folder / f"{key}.zip"
        platforms[key] = Platform(key, lambda file=file: file.open("rb"))  # type: ignore[misc]
    published = {Version(release): day for release, day in data["published"].items()}
    return Catalog(
        releases=tuple(map(Version, data["releases"])),
        published=tuple(published),
        released={release: date.fromisoformat(day) for release, day in published.items() if day},
        promised_since=Version(data["promised_since"]),
        shims=_PackagedShims(data),
        platforms=platforms,
    )

"""Other builds of torch than those on PyPI: without CUDA, or with another CUDA release.

Few are measured: for these the packaged data has what differs from PyPI's build of the release.
All others are derived from PyPI's build. A build without CUDA lacks the libraries and the few names
that come with CUDA; it is not known exactly which names its other libraries lack, so names of that
kind are in doubt. A build with another CUDA release is taken to export the same names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from torch_abi_audit.catalog import DATA_FOLDER, Catalog, Platform, load_catalog
from torch_abi_audit.catalog.exports import Build, ExportTable
from torch_abi_audit.catalog.libraries import cuda_library
from torch_abi_audit.claims.cuda_packages import cuda_interface
from torch_abi_audit.claims.manylinux import libstdcxx_is_promised
from torch_abi_audit.claims.torch_build import PYPI, BuildChoice, TorchBuild
from torch_abi_audit.model import BuildSource

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

__all__ = [
    "OTHER_BUILDS_FILE",
    "OtherPlatform",
    "catalog_of_build",
    "is_known",
    "without_choice",
]

OTHER_BUILDS_FILE = "other_builds.json"

# Torch's libraries that only CUDA builds have.
_FOR_CUDA = re.compile(r"(?:lib)?(?:torch_cuda\w*|c10_cuda|caffe2_nvrtc|torch_nvshmem)\.(?:so|dll)")
_OF_WINDOWS = ("torch_cuda.dll", "c10_cuda.dll", "caffe2_nvrtc.dll")
_MODEL = "linux_x86_64"  # the platform that has always had a CUDA build
# Names that depend on CUDA, and names that compilers emit wherever something uses them: type
# information of other types than torch's classes, templates of the standard library. Of the names
# that the CUDA build of torch 2.13.0 exports from its other libraries and the CPU build lacks, all
# are of these two kinds.
_OF_CUDA = re.compile(
    r"cuda|cupti|kineto|cudnn|cublas|cufile|nccl|nvrtc|nvtx|nvshmem|gpu", re.IGNORECASE
)
_EMITTED_ON_USE = re.compile(r"_ZT[ISV](?!N(?:2at|3c10|5torch|4c10d|6caffe2))|_ZGV|_ZZ?NK?St")
# The CUDA 12.6 build of 2.6.0 was the first with the new string ABI of libstdc++: PyPI's build of
# that release, with CUDA 12.4, has other names.
_UNLIKE_PYPI = frozenset({("2.6.0", "12.6")})


def catalog_of_build(choice: BuildChoice, base: Catalog, measured: _All | None = None) -> Catalog:
    """Return what the releases of another build of torch provide, as far as that is known.

    Args:
        choice: The build. If nothing is known of it, no release has data.
        base: The catalog of the builds on PyPI.
        measured: What was measured of other builds; by default what is packaged.
    """
    if measured is None:
        if base is load_catalog():
            return _packaged_catalog(choice)
        measured = _packaged()
    platforms = {
        key: OtherPlatform(key, platform.open, platform, choice.build, measured, base.platforms)
        for key, platform in base.platforms.items()
    }
    return replace(base, platforms=platforms, build=choice)


def without_choice(catalog: Catalog) -> Catalog:
    """Return the catalog of the builds on PyPI that the one of other builds is derived from."""
    platforms = {
        key: platform.base if isinstance(platform, OtherPlatform) else platform
        for key, platform in catalog.platforms.items()
    }
    return replace(catalog, platforms=platforms, build=None)


@cache
def _packaged_catalog(choice: BuildChoice) -> Catalog:
    return catalog_of_build(choice, load_catalog(), _packaged())


def is_known(build: TorchBuild, base: Catalog) -> bool:
    """Whether anything is known of a build of torch, for any platform."""
    if build.name == PYPI:
        return True
    catalog = catalog_of_build(BuildChoice(build, BuildSource.OPTION), base)
    return any(platform.builds for platform in catalog.platforms.values())


@dataclass(frozen=True)
class Measured:
    """What was measured of a build for one platform: how it differs from PyPI's of its release.

    Attributes:
        libraries: Torch's libraries, each with the names of the libraries that it needs.
        others: Names of the other libraries in the same folder.
        removed: The names that its libraries do not export, but those of PyPI's build do.
        added: The names that only its libraries export.
    """

    libraries: Mapping[str, tuple[str, ...]]
    others: frozenset[str]
    removed: Mapping[str, frozenset[str]]
    added: Mapping[str, frozenset[str]]

    @cached_property
    def names(self) -> frozenset[str]:
        """Every name that differs."""
        return frozenset().union(*self.removed.values(), *self.added.values())


# By platform, by build, by release.
_All = Mapping[str, Mapping[str, Mapping[Version, Measured]]]


@cache
def _packaged() -> _All:
    """Read the packaged measurements."""
    path = Path(__file__).with_name(DATA_FOLDER) / OTHER_BUILDS_FILE
    return parse_measured(json.loads(path.read_text(encoding="utf-8")))


def parse_measured(data: Any) -> _All:
    """Return the measurements in JSON that was parsed; see `build.other_builds`."""
    return {
        platform: {
            name: {Version(release): _parsed(entry) for release, entry in releases.items()}
            for name, releases in builds.items()
        }
        for platform, builds in data.items()
    }


def _parsed(entry: Any) -> Measured:
    return Measured(
        libraries={name: tuple(needed) for name, needed in entry["libraries"].items()},
        others=frozenset(entry["others"]),
        removed={name: frozenset(names) for name, names in entry["removed"].items()},
        added={name: frozenset(names) for name, names in entry["added"].items()},
    )


@dataclass(frozen=True)
class OtherPlatform(Platform):
    """The releases of another build of torch, for one platform.

    Attributes:
        base: The builds on PyPI.
        of: The build.
        all_measured: What was measured, for all platforms and builds.
        all_platforms: The builds on PyPI for all platforms.
    """

    base: Platform
    of: TorchBuild
    all_measured: _All
    all_platforms: Mapping[str, Platform]

    @property
    def _model(self) -> Platform | None:
        """What a CUDA build is derived from where PyPI has none."""
        return self.all_platforms.get(_MODEL)

    @cached_property
    def measured(self) -> Mapping[Version, Measured]:
        """What was measured of the build for this platform, by release."""
        found = self.all_measured.get(self.key, {}).get(self.of.name, {})
        return {release: item for release, item in found.items() if self.base.build(release)}

    @cached_property
    def builds(self) -> tuple[Build, ...]:
        """The builds of which something is known, oldest first."""
        return tuple(found for build in self.base.builds if (found := self._derived(build)))

    def _derived(self, build: Build) -> Build | None:
        """Return the build of one release; None where nothing is known of it."""
        known = self.measured.get(build.version)
        if known is not None:
            cuda = self.of.cuda if any(map(_is_for_cuda, known.libraries)) else None
            return build._replace(
                cuda=cuda, libraries=known.libraries, others=known.others, local=self.of.name
            )
        if self.of.is_cpu:
            return self._without_cuda(build)
        major = self.of.cuda_major
        if major not in self._majors or self.key.startswith("macos"):
            return None
        if (str(build.version), self.of.cuda) in _UNLIKE_PYPI:
            return None
        if build.cuda is not None and self.of.cuda in (build.cuda, build.cuda.partition(".")[0]):
            return build
        return self._with_cuda(build, major)

    @cached_property
    def _majors(self) -> frozenset[int]:
        """The CUDA major releases that PyPI's builds for Linux are built with."""
        builds = [*self.base.builds, *(self._model.builds if self._model else ())]
        return frozenset(int(b.cuda.partition(".")[0]) for b in builds if b.cuda is not None)

    def _without_cuda(self, build: Build) -> Build:
        if build.cuda is None:
            return build
        libraries = {
            name: tuple(n for n in needed if not _is_for_cuda(n) and cuda_library(n) is None)
            for name, needed in build.libraries.items()
            if not _is_for_cuda(name)
        }
        return build._replace(
            cuda=None, libraries=libraries, requires=(), local=self.of.name, derived=True
        )

    def _with_cuda(self, build: Build, major: int) -> Build | None:
        """Return a release with another CUDA; None without an example of such a build."""
        changed = build._replace(cuda=self.of.cuda, requires=(), local=self.of.name, derived=True)
        if build.cuda is not None:
            return changed._replace(libraries=_with_major(build.libraries, major))
        if self.key.startswith("windows"):
            # The CUDA libraries lie beside torch's, which has no example in the data.
            new = dict.fromkeys(_OF_WINDOWS, ())
            return changed._replace(
                libraries={**build.libraries, **new}, opaque=frozenset(_OF_WINDOWS)
            )
        like = self._model.build(build.version) if self._model is not None else None
        if like is None or like.cuda is None:
            return None
        libraries = _with_major(like.libraries, major)
        return changed._replace(
            libraries=libraries, opaque=frozenset(filter(_is_for_cuda, libraries))
        )

    @cached_property
    def table(self) -> ExportTable:
        """What the builds export, with what was measured; masks count as those of the base do."""
        base = self.base.table
        changes: dict[str, dict[str, tuple[int, int]]] = {}
        for build in self.base.builds:
            item = self.measured.get(build.version)
            if item is None:
                continue
            bit = 1 << self.base.number(build)
            for kept, names_of in ((0, item.removed), (bit, item.added)):
                for library, names in names_of.items():
                    for name in names:
                        of_name = changes.setdefault(name, {})
                        cleared, added = of_name.get(library, (0, 0))
                        of_name[library] = cleared | bit, added | kept
        return _ChangedTable(
            base.firsts,
            base.read_block,
            base.pattern_ids,
            base.patterns,
            base.block_size,
            changes,
        )

    @property
    def leaks(self) -> Mapping[str, Any]:
        """See `Platform.leaks`; whether a build exports one of them is up to `exporters`."""
        return self.base.leaks

    @property
    def cuda_stems(self) -> frozenset[str]:
        """The stems of the CUDA libraries that come with any build, on PyPI or here."""
        own = {name for build in self.builds for name in build.cuda_libraries}
        return self.base.cuda_stems | {parts[0] for n in own if (parts := cuda_library(n))}

    def exporters(self, name: str, build: Build) -> frozenset[str]:
        """Return the libraries of a build that export a name."""
        return super().exporters(name, build) & build.libraries.keys()

    def finds_leak(self, name: str, build: Build, tags: Collection[str]) -> bool:
        """See `Platform.finds_leak`."""
        version = self.leaks[name].version
        return bool(self.exporters(name, build)) or any(
            libstdcxx_is_promised(version, promise) for promise in (tags, build.platforms)
        )

    def number(self, build: Build) -> int:
        """Return the position of a build in masks, which are those of the base."""
        return self.base.number(build)

    def is_doubtful(self, name: str, build: Build, asked_of: Collection[str]) -> bool:
        """Whether it is not known if one of some libraries of a build exports a name.

        Args:
            name: The name.
            build: One of the builds.
            asked_of: The libraries that are searched for it.
        """
        before = self.base.build(build.version) if build.derived else None
        if before is None or (before.cuda is None) is (build.cuda is None):
            return False
        exported = any(not _is_for_cuda(lib) for lib in super().exporters(name, build))
        if build.cuda is None:
            if any(name in item.names for item in self._of_cpu.values()):
                return True
            return exported and _is_uncertain(name) and not self._is_in_cpu_build(name, build)
        if exported:
            return False
        # PyPI has no CUDA build to derive it from: what its CUDA libraries export is not known.
        elsewhere = any(not _is_for_cuda(lib) for lib in self.table.exporters(name))
        reached = not build.opaque.isdisjoint(asked_of)
        return (reached and not elsewhere) or _is_uncertain(name)

    @cached_property
    def _of_cpu(self) -> Mapping[Version, Measured]:
        """What was measured of CPU builds for Linux, by release."""
        found: dict[Version, Measured] = {}
        for platform, builds in self.all_measured.items():
            if platform.partition("_")[0] == self.key.partition("_")[0]:
                found |= builds.get(self.of.name, {})
        return found

    def _is_in_cpu_build(self, name: str, build: Build) -> bool:
        """Whether a CPU build of another release, or for another platform, exports a name."""
        mask = 0
        for library, bits in self.table.exporters(name).items():
            mask |= 0 if _is_for_cuda(library) else bits
        known = (other for other in self.builds if other.cuda is None and not other.derived)
        if any(mask >> self.number(other) & 1 for other in known):
            return True
        return any(
            other.cuda is None and platform.exporters(name, other)
            for platform in self.all_platforms.values()
            if (other := platform.build(build.version)) is not None
        )


@dataclass(frozen=True)
class _ChangedTable(ExportTable):
    """A table of which some names were measured anew.

    Attributes:
        changes: For each of them and each library, which bits to clear and which to set.
    """

    changes: Mapping[str, Mapping[str, tuple[int, int]]]

    def _exporters(self, name: str) -> Mapping[str, int]:
        return self._changed(name, super()._exporters(name))

    def _from(self, number: int, place: int) -> Iterator[tuple[str, Mapping[str, int]]]:
        for name, masks in super()._from(number, place):
            yield name, self._changed(name, masks)

    def _changed(self, name: str, masks: Mapping[str, int]) -> Mapping[str, int]:
        changes = self.changes.get(name)
        if changes is None:
            return masks
        found = dict(masks)
        for library, (cleared, added) in changes.items():
            found[library] = found.get(library, 0) & ~cleared | added
        return {library: mask for library, mask in found.items() if mask}


def _is_for_cuda(library: str) -> bool:
    return _FOR_CUDA.fullmatch(library) is not None


def _is_uncertain(name: str) -> bool:
    """Whether a name depends on CUDA, or is emitted wherever it is used."""
    return _OF_CUDA.search(name) is not None or _EMITTED_ON_USE.match(name) is not None


def _with_major(libraries: Mapping[str, tuple[str, ...]], major: int) -> dict[str, tuple[str, ...]]:
    """Return libraries as they are with another CUDA major release."""
    return {
        name: tuple(_of_major(other, major) for other in needed)
        for name, needed in libraries.items()
    }


def _of_major(name: str, major: int) -> str:
    """Return the name of a CUDA library in another CUDA major release.

    >>> _of_major("libcufft.so.11", 13)
    'libcufft.so.12'
    """
    parts = cuda_library(name)
    if parts is None:
        return name
    head, _, _ = name.partition(".so.")
    return f"{head}.so.{cuda_interface(parts[0], major)}"

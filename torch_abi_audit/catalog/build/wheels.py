"""Torch's wheels on a package index: which to read, and reading them through a cache."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version

from torch_abi_audit.catalog.build.collect import Provided, WheelTree, collect
from torch_abi_audit.catalog.build.merge import HEADERS_PLATFORM, WheelTags
from torch_abi_audit.index.ranges import open_published
from torch_abi_audit.index.sources import find_sources

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager
    from datetime import date
    from pathlib import Path

    from packaging.tags import Tag

    from torch_abi_audit.index.pages import IndexFile

# The oldest release that is read: shims of the stable headers are older than the promise,
# and wheels on the unstable ABI go back further than that.
OLDEST = Version("2.4.0")
# Every release since has wheels for it, and torch's libraries differ between Pythons in
# nothing that they export to extensions.
_INTERPRETER = "cp311"
_TAGS = {
    "linux_x86_64": re.compile(r"manylinux\w*_x86_64"),
    "linux_aarch64": re.compile(r"manylinux\w*_aarch64"),
    "macos_arm64": re.compile(r"macosx_\w+_arm64"),
    "windows_x86_64": re.compile(r"win_amd64"),
}


@dataclass(frozen=True, slots=True)
class TorchWheel:
    """A torch wheel on the index."""

    version: Version
    platform: str
    file: IndexFile


def final_releases(files: Iterable[IndexFile]) -> Iterator[tuple[Version, IndexFile, Tag]]:
    """Yield every wheel of a final release that is not yanked, with its release and each tag."""
    for file in sorted(files, key=lambda file: file.filename):
        try:
            _, version, _, tags = parse_wheel_filename(file.filename)
        except InvalidWheelFilename:
            continue
        if not (file.yanked or version.is_prerelease or version.local):
            for tag in sorted(tags, key=str):
                yield version, file, tag


def find_wheels(files: Iterable[IndexFile]) -> list[TorchWheel]:
    """Return the wheel to read for every release and platform, in their order."""
    found: dict[tuple[Version, str], TorchWheel] = {}
    for version, file, tag in final_releases(files):
        platform = platform_of(tag)
        if platform is not None and tag.interpreter == _INTERPRETER and version >= OLDEST:
            found.setdefault((version, platform), TorchWheel(version, platform, file))
    return [wheel for _, wheel in sorted(found.items())]


def platform_of(tag: Tag) -> str | None:
    """Return the key of the catalog's platform that a tag is for."""
    return next((key for key, tags in _TAGS.items() if tags.fullmatch(tag.platform)), None)


def find_published(files: Iterable[IndexFile]) -> dict[Version, date | None]:
    """Return every final release with the day of its first upload, None where it is not known.

    The first, since wheels of a release can be rebuilt and uploaded again months later.
    """
    found: dict[Version, list[date]] = {}
    for version, file, tag in final_releases(files):
        if platform_of(tag) == HEADERS_PLATFORM:
            days = found.setdefault(version, [])
            if file.uploaded is not None:
                days.append(file.uploaded.date())
    return {version: min(days, default=None) for version, days in sorted(found.items())}


def find_tags(files: Iterable[IndexFile]) -> dict[str, dict[str, WheelTags]]:
    """Return the tags of the wheels of each platform and release."""
    found: dict[str, dict[str, list[Tag]]] = {}
    for version, _, tag in final_releases(files):
        platform = platform_of(tag)
        if platform is not None:
            found.setdefault(platform, {}).setdefault(str(version), []).append(tag)
    return {
        platform: {
            version: WheelTags(
                pythons=tuple(sorted({f"{tag.interpreter}-{tag.abi}" for tag in tags})),
                platforms=tuple(sorted({tag.platform for tag in tags})),
            )
            for version, tags in releases.items()
        }
        for platform, releases in found.items()
    }


def open_wheel(wheel: TorchWheel) -> AbstractContextManager[zipfile.ZipFile]:
    """Open a wheel in place, as pip is configured to reach its server."""
    return open_published(wheel.file.url, find_sources())


def read_wheel(wheel: TorchWheel, cache: Path) -> Provided:
    """Read a wheel, or what the cache has of it."""
    path = cache / f"{wheel.file.filename}.json.xz"
    if path.exists():
        return Provided.load(path)
    with open_wheel(wheel) as archive:
        provided = collect(wheel.platform, wheel.file.filename, WheelTree(archive))
    provided.save(path)
    return provided

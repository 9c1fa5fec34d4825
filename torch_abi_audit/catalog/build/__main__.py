"""Build the catalog's data from torch's own wheels on a package index.

    python -m torch_abi_audit.catalog.build --index-url URL --libstdcxx PATH

Only the members that matter are read, over HTTP range requests. What was read of each
wheel is kept in a cache folder, so that a run that was cut off goes on where it stopped,
and a new release costs its own wheels alone. The same wheels give the same bytes.
"""

from __future__ import annotations

import argparse
import re
import sys
import zipfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version
from rich.console import Console
from rich.progress import Progress

from torch_abi_audit.catalog import DATA_FOLDER, SHIMS_FILE
from torch_abi_audit.catalog.build.collect import Provided, WheelTree, collect
from torch_abi_audit.catalog.build.merge import (
    HEADERS_PLATFORM,
    PLATFORMS,
    libstdcxx_versions,
    platform_file,
    shim_table,
    write_table,
)
from torch_abi_audit.errors import AuditError
from torch_abi_audit.formats import BytesSource
from torch_abi_audit.formats.elf import read_elf
from torch_abi_audit.targets.index import IndexFile, RangeFile, project_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from packaging.tags import Tag

# The oldest release that is read: shims of the stable headers are older than the promise,
# and wheels on the unstable ABI go back further than that.
OLDEST = Version("2.4.0")
# Every release since has wheels for it, and torch's libraries differ between Pythons in
# nothing that they export to extensions.
_INTERPRETER = "cp311"
_WORKERS = 2
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


def find_pythons(files: Iterable[IndexFile]) -> dict[str, dict[str, list[str]]]:
    """Return for each platform and release the interpreter and ABI tags of its wheels."""
    found: dict[str, dict[str, set[str]]] = {}
    for version, _, tag in final_releases(files):
        platform = platform_of(tag)
        if platform is not None:
            of_release = found.setdefault(platform, {}).setdefault(str(version), set())
            of_release.add(f"{tag.interpreter}-{tag.abi}")
    return {
        platform: {version: sorted(tags) for version, tags in releases.items()}
        for platform, releases in found.items()
    }


def read_wheel(wheel: TorchWheel, cache: Path) -> Provided:
    """Read a wheel, or what the cache has of it."""
    path = cache / f"{wheel.file.filename}.json.xz"
    if path.exists():
        return Provided.load(path)
    with zipfile.ZipFile(RangeFile(wheel.file.url)) as archive:
        provided = collect(wheel.platform, wheel.file.filename, WheelTree(archive))
    provided.save(path)
    return provided


def write_catalog(
    collected: Sequence[Provided],
    published: Iterable[Version],
    libstdcxx: Mapping[str, str],
    pythons: Mapping[str, Mapping[str, Sequence[str]]],
    output: Path,
) -> list[Path]:
    """Write the catalog's files; return their paths."""
    written = [output / SHIMS_FILE]
    written[0].write_text(write_table(shim_table(collected, published)), encoding="utf-8")
    for platform in PLATFORMS:
        of_platform = [item for item in collected if item.platform == platform]
        if of_platform:
            written.append(output / f"{platform}.zip")
            written[-1].write_bytes(platform_file(of_platform, libstdcxx, pythons[platform]))
    return written


def build(options: argparse.Namespace, console: Console) -> None:
    """Read every wheel that is not in the cache, and write the catalog."""
    cache: Path = options.cache
    libstdcxx = read_elf(BytesSource(options.libstdcxx.read_bytes()))
    if libstdcxx is None:
        raise AuditError(f"{options.libstdcxx}: not a shared library")
    files = project_files(options.index_url, "torch")
    published = {
        version for version, _, tag in final_releases(files) if platform_of(tag) == HEADERS_PLATFORM
    }
    wheels = find_wheels(files)
    cache.mkdir(parents=True, exist_ok=True)
    with (
        Progress(console=console) as progress,
        ProcessPoolExecutor(_WORKERS) as executor,
    ):
        reading = executor.map(read_wheel, wheels, [cache] * len(wheels))
        collected = list(progress.track(reading, total=len(wheels), description="wheels"))
    names, pythons = libstdcxx_versions(libstdcxx), find_pythons(files)
    for path in write_catalog(collected, published, names, pythons, options.output):
        console.print(f"{path}: {path.stat().st_size} bytes", highlight=False)


def main(arguments: list[str] | None = None) -> int:
    """Run the builder; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m torch_abi_audit.catalog.build", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--index-url", required=True, help="the root of a simple repository")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path.home() / ".cache" / "torch-abi-audit" / "catalog",
        help="the folder for what was read of each wheel (default: %(default)s)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).parents[1] / DATA_FOLDER,
        help="the folder to write to (default: the package's own data)",
    )
    parser.add_argument(
        "--libstdcxx",
        type=Path,
        required=True,
        help="the libstdc++.so.6 of the newest GCC, which says since when it has which name",
    )
    options = parser.parse_args(arguments)
    console = Console(stderr=True)
    try:
        build(options, console)
    except (AuditError, OSError) as error:
        console.print(f"error: {error}", markup=False, highlight=False)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

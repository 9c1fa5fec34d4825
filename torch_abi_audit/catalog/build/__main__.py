"""Build the catalog's data from torch's own wheels on a package index.

    python -m torch_abi_audit.catalog.build --index-url URL --libstdcxx PATH

Only the members that matter are read, over HTTP range requests. What was read of each
wheel is kept in a cache folder, so that a run that was cut off goes on where it stopped,
and a new release costs its own wheels alone. The same wheels give the same bytes.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress

from torch_abi_audit.catalog import DATA_FOLDER, SHIMS_FILE
from torch_abi_audit.catalog.build.history import layouts_file
from torch_abi_audit.catalog.build.layouts import read_headers
from torch_abi_audit.catalog.build.merge import (
    PLATFORMS,
    libstdcxx_versions,
    platform_file,
    shim_table,
    write_table,
)
from torch_abi_audit.catalog.build.replacements import (
    has_stable_headers,
    read_stable_headers,
    replacement_table,
    write_replacements,
)
from torch_abi_audit.catalog.build.wheels import (
    find_published,
    find_tags,
    find_wheels,
    read_wheel,
)
from torch_abi_audit.catalog.layouts import LAYOUTS_FILE
from torch_abi_audit.catalog.replacements import REPLACEMENTS_FILE
from torch_abi_audit.errors import AuditError
from torch_abi_audit.formats import BytesSource
from torch_abi_audit.formats.elf import read_elf
from torch_abi_audit.index.pages import project_files
from torch_abi_audit.index.session import Session
from torch_abi_audit.index.sources import find_sources

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from packaging.version import Version

    from torch_abi_audit.catalog.build.collect import Provided
    from torch_abi_audit.catalog.build.merge import WheelTags
    from torch_abi_audit.catalog.build.wheels import TorchWheel

CACHE = Path.home() / ".cache" / "torch-abi-audit" / "catalog"
_WORKERS = 2


def write_catalog(
    collected: Sequence[Provided],
    published: Mapping[Version, date | None],
    libstdcxx: Mapping[str, str],
    tags: Mapping[str, Mapping[str, WheelTags]],
    output: Path,
) -> list[Path]:
    """Write the catalog's files; return their paths."""
    written = [output / SHIMS_FILE]
    written[0].write_text(write_table(shim_table(collected, published)), encoding="utf-8")
    for platform in PLATFORMS:
        of_platform = [item for item in collected if item.platform == platform]
        if of_platform:
            written.append(output / f"{platform}.zip")
            written[-1].write_bytes(platform_file(of_platform, libstdcxx, tags[platform]))
    return written


def build(options: argparse.Namespace, console: Console) -> None:
    """Read every wheel that is not in the cache, and write the catalog."""
    cache: Path = options.cache
    libstdcxx = read_elf(BytesSource(options.libstdcxx.read_bytes()))
    if libstdcxx is None:
        raise AuditError(f"{options.libstdcxx}: not a shared library")
    # Of what pip is configured to use, only how servers are reached: the catalog is of one index.
    sources = replace(find_sources(), indexes=(options.index_url,), find_links=())
    with Session(sources) as session:
        found = project_files(session, sources, "torch")
    if found.errors:
        raise AuditError("; ".join(found.errors))
    files = found.files
    published = find_published(files)
    wheels = find_wheels(files)
    cache.mkdir(parents=True, exist_ok=True)
    with (
        Progress(console=console) as progress,
        # The progress bar runs in a thread, beside which a fork is not safe.
        ProcessPoolExecutor(_WORKERS, mp_context=get_context("spawn")) as executor,
    ):
        reading = executor.map(read_wheel, wheels, [cache] * len(wheels))
        collected = list(progress.track(reading, total=len(wheels), description="wheels"))
    names, tags = libstdcxx_versions(libstdcxx), find_tags(files)
    for path in write_catalog(collected, published, names, tags, options.output):
        console.print(f"{path}: {path.stat().st_size} bytes", highlight=False)
    build_replacements(wheels, cache, options.output / REPLACEMENTS_FILE, console)
    if not options.without_layouts:
        build_layouts(wheels, cache, options.output / LAYOUTS_FILE, console)


def build_replacements(
    wheels: Sequence[TorchWheel], cache: Path, output: Path, console: Console
) -> None:
    """Read the stable headers of the wheels that are not in the cache; write what they offer."""
    chosen = [wheel for wheel in wheels if has_stable_headers(wheel)]
    table, missing = replacement_table(read_stable_headers(wheel, cache) for wheel in chosen)
    for name in missing:
        console.print(f"{name}: not declared by the newest release, left out", highlight=False)
    output.write_text(write_replacements(table), encoding="utf-8")
    console.print(f"{output}: {output.stat().st_size} bytes", highlight=False)


def build_layouts(
    wheels: Sequence[TorchWheel], cache: Path, output: Path, console: Console
) -> None:
    """Read the headers of every wheel that is not in the cache, and write their layouts."""
    with (
        Progress(console=console) as progress,
        # Clang keeps the gigabyte that a release takes: a process for each gives it back.
        ProcessPoolExecutor(
            _WORKERS, mp_context=get_context("spawn"), max_tasks_per_child=1
        ) as executor,
    ):
        reading = executor.map(read_headers, wheels, [cache] * len(wheels))
        headers = list(progress.track(reading, total=len(wheels), description="headers"))
    for item in headers:
        if item.parsed and item.parsed.unread:
            console.print(
                f"torch {item.version} for {item.platform}: {len(item.parsed.unread)} headers"
                " could not be parsed",
                highlight=False,
            )
    output.write_bytes(layouts_file(headers))
    console.print(f"{output}: {output.stat().st_size} bytes", highlight=False)


def main(arguments: list[str] | None = None) -> int:
    """Run the builder; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m torch_abi_audit.catalog.build", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--index-url", required=True, help="the root of a simple repository")
    parser.add_argument(
        "--cache",
        type=Path,
        default=CACHE,
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
    parser.add_argument(
        "--without-layouts",
        action="store_true",
        help="leave the layouts of classes as they are: they need the group build-catalog",
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

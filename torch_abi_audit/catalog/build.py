"""Build the catalog's data from torch's own wheels on a package index.

    python -m torch_abi_audit.catalog.build --index-url URL

Only the members that matter are read, over HTTP range requests: a few megabytes of
each wheel. The same index gives the same bytes.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version
from rich.console import Console
from rich.progress import Progress

from torch_abi_audit.catalog import SHIMS_FILE
from torch_abi_audit.catalog.headers import (
    SHIM_HEADER,
    Declaration,
    declarations,
    is_deprecated,
    is_promised,
)
from torch_abi_audit.errors import AuditError
from torch_abi_audit.targets.index import IndexFile, RangeFile, project_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# The first release that the promise of ABI stability covers, and the first that is read:
# shims of the stable headers are older than the promise, and a floor below it is of use.
PROMISED_SINCE = Version("2.9.0")
OLDEST = Version("2.4.0")
# The headers are the same on every platform; these wheels have them all.
_PLATFORM = re.compile(r"manylinux\w*_x86_64")
_WORKERS = 4


@dataclass(frozen=True, slots=True)
class Release:
    """What the headers of one release declare: each function, and the header it is in."""

    version: Version
    shims: Mapping[str, tuple[str, Declaration]]


def published_releases(files: Iterable[IndexFile]) -> dict[Version, IndexFile]:
    """Return every final release with a Linux x86_64 wheel that is not yanked, oldest first.

    Of the wheels for several Pythons the first in the order of their names is taken.
    """
    found: dict[Version, IndexFile] = {}
    for file in sorted(files, key=lambda file: file.filename):
        try:
            _, version, _, tags = parse_wheel_filename(file.filename)
        except InvalidWheelFilename:
            continue
        if file.yanked or version.is_prerelease or version.local:
            continue
        if any(_PLATFORM.fullmatch(tag.platform) for tag in tags):
            found.setdefault(version, file)
    return dict(sorted(found.items()))


def read_release(version: Version, wheel: zipfile.ZipFile) -> Release:
    """Read the shim headers of a torch wheel."""
    shims: dict[str, tuple[str, Declaration]] = {}
    for name in sorted(wheel.namelist()):
        header = SHIM_HEADER.fullmatch(name)
        if header:
            for declaration in declarations(wheel.read(name).decode("utf-8")):
                shims.setdefault(declaration.name, (header[1], declaration))
    if not shims:
        raise AuditError(f"torch {version}: no shim header in the wheel")
    return Release(version, shims)


def shim_table(releases: Iterable[Release], published: Iterable[Version]) -> dict[str, Any]:
    """Merge what single releases declare into the table that the catalog loads."""
    releases = sorted(releases, key=lambda release: release.version)
    headers = sorted({header for release in releases for header, _ in release.shims.values()})
    shims: dict[str, dict[str, Any]] = {}
    for name in sorted({name for release in releases for name in release.shims}):
        holders = [release for release in releases if name in release.shims]
        header, newest = holders[-1].shims[name]
        entry: dict[str, Any] = {
            "since": str(holders[0].version),
            "header": headers.index(header),
            "gate": newest.gate,
            "condition": newest.condition,
            "removed": next(
                (str(r.version) for r in releases if r.version > holders[-1].version), None
            ),
            "changed": [
                str(after.version)
                for before, after in pairwise(holders)
                if before.shims[name][1].signature != after.shims[name][1].signature
            ],
        }
        shims[name] = {key: value for key, value in entry.items() if value not in (None, [])}
    return {
        "releases": [str(release.version) for release in releases],
        "published": [str(version) for version in sorted(published)],
        "promised_since": str(PROMISED_SINCE),
        "headers": [
            {"path": path, "promised": is_promised(path), "deprecated": is_deprecated(path)}
            for path in headers
        ],
        "shims": shims,
    }


def write_table(table: dict[str, Any], path: Path) -> None:
    """Write the table one shim a line, so that a diff shows what a release added."""
    lines = [
        f"    {json.dumps(name)}: {json.dumps(entry)}" for name, entry in table["shims"].items()
    ]
    rest = {key: value for key, value in table.items() if key != "shims"}
    head = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in rest.items())
    body = ",\n".join(lines)
    path.write_text(f'{{\n{head},\n  "shims": {{\n{body}\n  }}\n}}\n', encoding="utf-8")


def build(index_url: str, output: Path, console: Console) -> None:
    """Read every release from the index and write the table."""
    found = published_releases(project_files(index_url, "torch"))
    wanted = {version: file for version, file in found.items() if version >= OLDEST}

    def read(version: Version) -> Release:
        return read_release(version, zipfile.ZipFile(RangeFile(wanted[version].url)))

    with (
        Progress(console=console) as progress,
        ThreadPoolExecutor(_WORKERS) as executor,
    ):
        releases = list(
            progress.track(executor.map(read, wanted), total=len(wanted), description="releases")
        )
    write_table(shim_table(releases, found), output)
    newest = releases[-1]
    console.print(f"{output}: {len(releases)} releases, {len(newest.shims)} shims in the newest")


def main(arguments: list[str] | None = None) -> int:
    """Run the builder; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m torch_abi_audit.catalog.build", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--index-url", required=True, help="the root of a simple repository")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).with_name(SHIMS_FILE),
        help="the file to write",
    )
    options = parser.parse_args(arguments)
    console = Console(stderr=True)
    try:
        build(options.index_url, options.output, console)
    except AuditError as error:
        console.print(f"error: {error}", markup=False, highlight=False)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Measure builds of torch that are not on PyPI: how each differs from PyPI's of its release.

    python -m torch_abi_audit.catalog.build.other_builds TORCH ...

What the data has of other builds is kept. The same torch gives the same bytes.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from torch_abi_audit.catalog import DATA_FOLDER, load_catalog
from torch_abi_audit.catalog.against import read_torch
from torch_abi_audit.catalog.builds import OTHER_BUILDS_FILE
from torch_abi_audit.errors import AuditError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch_abi_audit.catalog import Catalog
    from torch_abi_audit.catalog.build.collect import Provided

# Linkers define them in some libraries; nothing looks them up.
_OF_LINKERS = frozenset({"__bss_start", "_edata", "_end"})


def difference(provided: Provided, catalog: Catalog) -> dict[str, Any]:
    """Return how a torch differs from PyPI's build of its release, as the data has it.

    Args:
        provided: What it provides.
        catalog: The builds on PyPI.

    Raises:
        AuditError: The catalog has no build of that release for its platform.
    """
    platform = catalog.platforms.get(provided.platform)
    build = platform.build(Version(provided.version)) if platform is not None else None
    if platform is None or build is None:
        raise AuditError(f"no torch {provided.version} for {provided.platform} in the catalog")
    bit = 1 << platform.number(build)
    usual: dict[str, set[str]] = {name: set() for name in provided.libraries}
    for name, masks in platform.table:
        for library, mask in masks.items():
            if mask & bit and library in usual:
                usual[library].add(name)
    here = {
        library: set(contents["exports"]) - _OF_LINKERS
        for library, contents in provided.libraries.items()
    }
    return {
        "libraries": {
            library: [path.rpartition("/")[2] for path in contents["needed"]]
            for library, contents in sorted(provided.libraries.items())
        },
        "others": sorted(provided.others),
        "removed": _changes(usual, here),
        "added": _changes(here, usual),
    }


def _changes(of: Mapping[str, set[str]], other: Mapping[str, set[str]]) -> dict[str, list[str]]:
    """Return the names that libraries have and others do not; nothing where there are none."""
    found = {library: sorted(names - other[library]) for library, names in sorted(of.items())}
    return {library: names for library, names in found.items() if names}


def measure(torches: list[Path], output: Path, catalog: Catalog) -> None:
    """Measure builds and write them, with those that the file has.

    Args:
        torches: Wheels, or folders that one is installed in; see `against.catalog_of`.
        output: The file.
        catalog: The builds on PyPI.

    Raises:
        AuditError: One can't be read, has no local version, or is of an unknown release.
    """
    data = json.loads(output.read_text(encoding="utf-8")) if output.exists() else {}
    for path in torches:
        provided = read_torch(path)
        if provided.local is None:
            raise AuditError(f"{path}: torch {provided.version} is PyPI's build")
        builds = data.setdefault(provided.platform, {})
        builds.setdefault(provided.local, {})[provided.version] = difference(provided, catalog)
    text = json.dumps(data, indent=0, sort_keys=True)
    output.write_text(f"{text}\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Run the builder; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m torch_abi_audit.catalog.build.other_builds",
        description=(__doc__ or "").splitlines()[0],
    )
    parser.add_argument(
        "torch",
        type=Path,
        nargs="+",
        metavar="TORCH",
        help="a wheel of the build, or the site-packages that it is installed in",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).parents[1] / DATA_FOLDER / OTHER_BUILDS_FILE,
        help="the file to write (default: the package's own data)",
    )
    options = parser.parse_args(arguments)
    try:
        measure(options.torch, options.output, load_catalog())
    except (AuditError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

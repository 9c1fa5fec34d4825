"""From what single wheels provide to the catalog's files."""

from __future__ import annotations

import json
import re
from functools import reduce
from itertools import pairwise
from operator import or_
from typing import TYPE_CHECKING, Any, NamedTuple

from packaging.requirements import Requirement
from packaging.version import Version

from torch_abi_audit.catalog.build.headers import is_deprecated, is_promised
from torch_abi_audit.catalog.exports import Build, ExportTable, Leak, make_table
from torch_abi_audit.catalog.storage import write_archive

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from torch_abi_audit.catalog.build.collect import Provided
    from torch_abi_audit.model import Library

# The first release that the promise of ABI stability covers.
PROMISED_SINCE = Version("2.9.0")
# The headers are the same on every platform; this one's wheels come with every release.
HEADERS_PLATFORM = "linux_x86_64"

# The platforms that the index carries, as the markers of requirements see them.
PLATFORMS: dict[str, dict[str, str]] = {
    "linux_x86_64": {"platform_system": "Linux", "platform_machine": "x86_64"},
    "linux_aarch64": {"platform_system": "Linux", "platform_machine": "aarch64"},
    "macos_arm64": {"platform_system": "Darwin", "platform_machine": "arm64"},
    "windows_x86_64": {"platform_system": "Windows", "platform_machine": "AMD64"},
}
_LIBRARY = re.compile(r".*\.(?:so(?:\.[0-9.]+)?|dylib|dll)")
_CXX11 = "__cxx11"


class WheelTags(NamedTuple):
    """The tags of all wheels of one release for one platform.

    Attributes:
        pythons: The interpreter and ABI tags.
        platforms: The platform tags.
    """

    pythons: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()


def build_of(provided: Provided, tags: WheelTags) -> Build:
    """Return the build that a wheel is.

    Args:
        provided: What the wheel provides.
        tags: The tags of the release's wheels.
    """
    environment = {
        **PLATFORMS[provided.platform],
        "sys_platform": "",
        "python_version": "3.12",
        "python_full_version": "3.12.0",
    }
    requires = [Requirement(line) for line in provided.requires]
    return Build(
        version=Version(provided.version),
        cuda=provided.cuda,
        libraries={
            name: tuple(path.rpartition("/")[2] for path in library["needed"])
            for name, library in provided.libraries.items()
        },
        others=frozenset(name for name in provided.others if _LIBRARY.fullmatch(name)),
        requires=tuple(
            f"{item.name}{_extras(item)}{item.specifier}"
            for item in requires
            if item.marker is None or item.marker.evaluate(environment)
        ),
        cxx11=_string_abi(provided),
        requires_python=provided.requires_python,
        pythons=tags.pythons,
        platforms=tags.platforms,
    )


def _extras(requirement: Requirement) -> str:
    return f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""


def _string_abi(provided: Provided) -> bool | None:
    """Tell the string ABI from the names of torch's own functions; None where there is one only."""
    if not provided.platform.startswith("linux"):
        return None
    names = [
        name
        for library in provided.libraries.values()
        for name in library["exports"]
        if name.startswith(("_ZN2at", "_ZN3c10", "_ZN5torch"))
    ]
    new = sum(_CXX11 in name for name in names)
    old = sum("Ss" in name for name in names if _CXX11 not in name)
    return new > old


def merge_platform(
    collected: Iterable[Provided], tags: Mapping[str, WheelTags]
) -> tuple[tuple[Build, ...], ExportTable]:
    """Merge the wheels of one platform, in the order of their releases."""
    ordered = sorted(collected, key=lambda item: Version(item.version))
    table = make_table(
        [{name: library["exports"] for name, library in item.libraries.items()} for item in ordered]
    )
    return tuple(build_of(item, tags.get(item.version, WheelTags())) for item in ordered), table


def platform_file(
    collected: Iterable[Provided],
    libstdcxx: Mapping[str, str],
    tags: Mapping[str, WheelTags],
    *,
    compressed: bool = True,
) -> bytes:
    """Return the archive for one platform.

    Args:
        collected: The platform's wheels.
        libstdcxx: The names that libstdc++ exports, each with its oldest version.
        tags: The tags of each release's wheels.
        compressed: Whether it is to be kept.
    """
    builds, table = merge_platform(collected, tags)
    leaks = {}
    if any(build.cxx11 is not None for build in builds):
        for name, exporters in table:
            if name in libstdcxx:
                leaks[name] = Leak(reduce(or_, exporters.values()), libstdcxx[name])
    return write_archive(builds, table, leaks, compressed=compressed)


def libstdcxx_versions(library: Library) -> dict[str, str]:
    """Return the names that a libstdc++.so.6 exports with a version, the oldest of each."""
    found: dict[str, str] = {}
    for symbol in library.exports:
        if symbol.version is not None:
            older = found.setdefault(symbol.name, symbol.version)
            found[symbol.name] = min(older, symbol.version, key=_version_key)
    return found


def _version_key(version: str) -> tuple[str, tuple[int, ...]]:
    """Order `GLIBCXX_3.4.9` before `GLIBCXX_3.4.10`."""
    prefix, _, numbers = version.partition("_")
    return prefix, tuple(int(part) for part in numbers.split(".") if part.isdigit())


def shim_table(
    collected: Sequence[Provided], published: Mapping[Version, date | None]
) -> dict[str, Any]:
    """Merge what headers declare and libraries export into the table of shims.

    Args:
        collected: The wheels of every platform.
        published: Every final release on the index, with the day of its first upload.
    """
    declaring = sorted(
        (item for item in collected if item.platform == HEADERS_PLATFORM),
        key=lambda item: Version(item.version),
    )
    headers = sorted({str(shim[0]) for item in declaring for shim in item.shims.values()})
    exported = _exported(collected)
    shims: dict[str, dict[str, Any]] = {}
    for name in sorted({name for item in declaring for name in item.shims}):
        holders = [item for item in declaring if name in item.shims]
        header, _, gate, condition = holders[-1].shims[name]
        entry: dict[str, Any] = {
            "since": holders[0].version,
            "header": headers.index(str(header)),
            "gate": gate,
            "condition": condition,
            "removed": next(
                (
                    item.version
                    for item in declaring
                    if Version(item.version) > Version(holders[-1].version)
                ),
                None,
            ),
            "changed": [
                after.version
                for before, after in pairwise(holders)
                if before.shims[name][1] != after.shims[name][1]
            ],
            "exported": exported.get(name, {}),
        }
        shims[name] = {key: value for key, value in entry.items() if value not in (None, [])}
    return {
        "releases": [item.version for item in declaring],
        "published": {
            str(version): day and day.isoformat() for version, day in sorted(published.items())
        },
        "promised_since": str(PROMISED_SINCE),
        "platforms": sorted({item.platform for item in collected}),
        "headers": [
            {"path": path, "promised": is_promised(path), "deprecated": is_deprecated(path)}
            for path in headers
        ],
        "shims": shims,
    }


def _exported(collected: Sequence[Provided]) -> dict[str, dict[str, list[str]]]:
    """Return for each declared shim and platform the library that exports it, and from when.

    No build takes back what an earlier one exports but for removed shims, whose last
    release stands third.
    """
    declared = {name for item in collected for name in item.shims}
    found: dict[str, dict[str, list[str]]] = {}
    for platform in PLATFORMS:
        builds = sorted(
            (item for item in collected if item.platform == platform),
            key=lambda item: Version(item.version),
        )
        for item in builds:
            for library, contents in item.libraries.items():
                for name in declared.intersection(contents["exports"]):
                    entry = found.setdefault(name, {}).setdefault(
                        platform, [library, item.version, item.version]
                    )
                    entry[2] = item.version
    return found


def write_table(table: dict[str, Any]) -> str:
    """Return the table as text, one shim a line, so that a diff shows what a release added."""
    lines = [
        f"    {json.dumps(name)}: {json.dumps(entry)}" for name, entry in table["shims"].items()
    ]
    rest = {key: value for key, value in table.items() if key != "shims"}
    head = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in rest.items())
    body = ",\n".join(lines)
    return f'{{\n{head},\n  "shims": {{\n{body}\n  }}\n}}\n'

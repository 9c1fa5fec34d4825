"""The file that holds one platform's builds and exports: a zip archive, read in parts.

Members: `builds.json`, the builds and the patterns; `names.txt`, every exported name, a
line each, sorted; `patterns.bin`, for each name the number of its pattern as 16 bits;
`leaks.json`, the names of libstdc++ among them.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from torch_abi_audit.catalog.exports import Build, ExportTable, Leak

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import IO

_EPOCH = (1980, 1, 1, 0, 0, 0)
_BUILDS, _NAMES, _PATTERNS, _LEAKS = "builds.json", "names.txt", "patterns.bin", "leaks.json"


def write_archive(builds: Sequence[Build], table: ExportTable, leaks: Mapping[str, Leak]) -> bytes:
    """Return the archive's bytes; the same values give the same bytes."""
    libraries = sorted({name for pattern in table.patterns for name in pattern})
    head = {
        "builds": [
            {
                "version": str(build.version),
                "cuda": build.cuda,
                "cxx11": build.cxx11,
                "libraries": {name: list(needed) for name, needed in build.libraries.items()},
                "others": sorted(build.others),
                "requires": list(build.requires),
            }
            for build in builds
        ],
        "libraries": libraries,
        "patterns": [
            [[libraries.index(name), mask] for name, mask in sorted(pattern.items())]
            for pattern in table.patterns
        ],
    }
    members = {
        _BUILDS: json.dumps(head).encode(),
        _NAMES: "\n".join(table.names).encode(),
        _PATTERNS: struct.pack(f"<{len(table.pattern_ids)}H", *table.pattern_ids),
        _LEAKS: json.dumps(
            {name: [leaks[name].mask, leaks[name].version] for name in sorted(leaks)}
        ).encode(),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_LZMA
            info.external_attr = 0o644 << 16
            archive.writestr(info, data)
    return buffer.getvalue()


def read_builds(file: IO[bytes]) -> tuple[Build, ...]:
    """Read the builds alone."""
    return tuple(
        Build(
            version=Version(entry["version"]),
            cuda=entry["cuda"],
            libraries={name: tuple(needed) for name, needed in entry["libraries"].items()},
            others=frozenset(entry["others"]),
            requires=tuple(entry["requires"]),
            cxx11=entry["cxx11"],
        )
        for entry in _head(file)["builds"]
    )


def read_table(file: IO[bytes]) -> ExportTable:
    """Read the export table."""
    head = _head(file)
    libraries = head["libraries"]
    with zipfile.ZipFile(file) as archive:
        names = archive.read(_NAMES).decode().split("\n")
        packed = archive.read(_PATTERNS)
    return ExportTable(
        names=names,
        pattern_ids=struct.unpack(f"<{len(names)}H", packed),
        patterns=[
            {libraries[number]: mask for number, mask in pattern} for pattern in head["patterns"]
        ],
    )


def read_leaks(file: IO[bytes]) -> dict[str, Leak]:
    """Read the names of libstdc++ that torch's libraries export."""
    with zipfile.ZipFile(file) as archive:
        leaks = json.loads(archive.read(_LEAKS))
    return {name: Leak(mask, version) for name, (mask, version) in leaks.items()}


def _head(file: IO[bytes]) -> Any:
    with zipfile.ZipFile(file) as archive:
        return json.loads(archive.read(_BUILDS))

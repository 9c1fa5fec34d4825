"""The file that holds one platform's builds and exports: a zip archive, read in parts.

Members: `builds.json`, the builds and the patterns; `names/0`, `names/1` and so on, the
exported names, sorted, one per line; `firsts.txt`, the first name in each of these;
`patterns.bin`, for each name the number of its pattern as 16 bits; `leaks.json`, the
names of libstdc++ among them.
"""

from __future__ import annotations

import io
import json
import struct
import sys
import zipfile
from array import array
from functools import cached_property
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from torch_abi_audit.catalog.exports import BLOCK_SIZE, Build, ExportTable, Leak

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import IO

_EPOCH = (1980, 1, 1, 0, 0, 0)
_BUILDS, _FIRSTS, _PATTERNS, _LEAKS = "builds.json", "firsts.txt", "patterns.bin", "leaks.json"


def write_archive(
    builds: Sequence[Build],
    table: ExportTable,
    leaks: Mapping[str, Leak],
    *,
    compressed: bool = True,
) -> bytes:
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
                "requires_python": build.requires_python,
                "pythons": list(build.pythons),
                "platforms": list(build.platforms),
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
        _FIRSTS: "\n".join(table.firsts).encode(),
        _PATTERNS: struct.pack(f"<{len(table.pattern_ids)}H", *table.pattern_ids),
        _LEAKS: json.dumps(
            {name: [leaks[name].mask, leaks[name].version] for name in sorted(leaks)}
        ).encode(),
    }
    for number in range(len(table.firsts)):
        members[_block_name(number)] = "\n".join(table.read_block(number)).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_LZMA if compressed else zipfile.ZIP_STORED
            info.external_attr = 0o644 << 16
            archive.writestr(info, data)
    return buffer.getvalue()


class PlatformFile:
    """A platform's file, read in parts: each when first used.

    Args:
        open_file: Opens the file.
    """

    def __init__(self, open_file: Callable[[], IO[bytes]]) -> None:
        self._open = open_file

    @cached_property
    def _archive(self) -> zipfile.ZipFile:
        with self._open() as file:
            return zipfile.ZipFile(io.BytesIO(file.read()))

    @cached_property
    def _head(self) -> Any:
        return json.loads(self._archive.read(_BUILDS))

    def builds(self) -> tuple[Build, ...]:
        """Return the builds, oldest first."""
        return tuple(
            Build(
                version=Version(entry["version"]),
                cuda=entry["cuda"],
                libraries={name: tuple(needed) for name, needed in entry["libraries"].items()},
                others=frozenset(entry["others"]),
                requires=tuple(entry["requires"]),
                cxx11=entry["cxx11"],
                requires_python=entry["requires_python"],
                pythons=tuple(entry["pythons"]),
                platforms=tuple(entry["platforms"]),
            )
            for entry in self._head["builds"]
        )

    def table(self) -> ExportTable:
        """Return the export table, which reads a block when a name in it is needed."""
        libraries = self._head["libraries"]
        pattern_ids = array("H", self._archive.read(_PATTERNS))
        if sys.byteorder == "big":
            pattern_ids.byteswap()
        return ExportTable(
            firsts=self._archive.read(_FIRSTS).decode().split("\n"),
            read_block=lambda number: self._archive.read(_block_name(number)).decode().split("\n"),
            pattern_ids=pattern_ids,
            patterns=[
                {libraries[number]: mask for number, mask in pattern}
                for pattern in self._head["patterns"]
            ],
            block_size=BLOCK_SIZE,
        )

    def leaks(self) -> dict[str, Leak]:
        """Return the names of libstdc++ that torch's libraries export."""
        leaks = json.loads(self._archive.read(_LEAKS))
        return {name: Leak(mask, version) for name, (mask, version) in leaks.items()}


def _block_name(number: int) -> str:
    return f"names/{number}"

"""The layouts and assertions of torch's releases: read from the headers in their wheels."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from torch_abi_audit.catalog.build.assertions import assertions
from torch_abi_audit.catalog.build.packed import read_packed, write_packed
from torch_abi_audit.catalog.build.parse import Parsed, choose_headers, parse_headers
from torch_abi_audit.catalog.build.toolchain import compiler_arguments, is_for
from torch_abi_audit.catalog.build.wheels import open_wheel

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Iterable

    from torch_abi_audit.catalog.build.wheels import TorchWheel

_INCLUDE = "torch/include/"
_ASSERTING = re.compile(r"(?:ATen|c10|caffe2|torch)/.*\.(?:h|hpp|cuh|inl)")


@dataclass(frozen=True)
class Headers:
    """What the headers in a torch wheel say.

    Attributes:
        version: The release.
        platform: The key of the platform.
        parsed: The classes and enums; None for a platform whose headers clang can't read.
        assertions: For each header the first line, last line and text of its assertions.
    """

    version: str
    platform: str
    parsed: Parsed | None
    assertions: dict[str, list[tuple[int, int, str]]] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write it to a file, whole or not at all."""
        write_packed(path, self)

    @classmethod
    def load(cls, path: Path) -> Headers:
        """Read it back."""
        values = read_packed(path)
        parsed = values.pop("parsed")
        return cls(parsed=None if parsed is None else Parsed(**parsed), **values)


def read_headers(wheel: TorchWheel, cache: Path) -> Headers:
    """Read a wheel's headers, or what the cache has of them."""
    path = cache / f"{wheel.file.filename}.layouts.json.xz"
    if path.exists():
        return Headers.load(path)
    with tempfile.TemporaryDirectory() as folder:
        include = Path(folder, "include")
        with open_wheel(wheel) as archive:
            names = _extract(archive, include)
        found = headers_of(str(wheel.version), wheel.platform, include, names)
    found.save(path)
    return found


def headers_of(version: str, platform: str, include: Path, names: Iterable[str]) -> Headers:
    """Read the headers in a folder.

    Args:
        version: The release.
        platform: The key of the platform.
        include: The folder.
        names: The paths in it.
    """
    names = sorted(names)
    found = {}
    for name in names:
        if _ASSERTING.fullmatch(name):
            source = (include / name).read_text(encoding="utf-8", errors="replace")
            if of_header := assertions(source):
                found[name] = [(item.first, item.last, item.text) for item in of_header]
    parsed = None
    with tempfile.TemporaryDirectory() as stubs:
        arguments = compiler_arguments(platform, include, Path(stubs))
        if arguments is not None:
            headers = [name for name in choose_headers(names) if is_for(platform, name)]
            parsed = parse_headers(include, headers, arguments)
    return Headers(version=version, platform=platform, parsed=parsed, assertions=found)


def _extract(archive: zipfile.ZipFile, include: Path) -> list[str]:
    """Extract torch's headers; return their paths below ``include``."""
    names = []
    for member in archive.infolist():
        name = member.filename.removeprefix(_INCLUDE)
        if name == member.filename or member.is_dir() or ".." in name.split("/"):
            continue
        path = include / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(archive.read(member))
        names.append(name)
    return names

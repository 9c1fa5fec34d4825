"""The catalog: what each torch release provides, as data measured from torch's own wheels.

`build` makes the data; everything else only asks a loaded `Catalog`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from typing import TYPE_CHECKING

from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Catalog", "Shim", "load_catalog"]

SHIMS_FILE = "shims.json"


@dataclass(frozen=True, slots=True)
class Shim:
    """A function of torch's C shim.

    Attributes:
        since: The first release of the catalog whose headers declare it. Shims of the
            oldest release may be older.
        header: The header that declares it, in the newest release that does.
        gate: The release that the header's `TORCH_FEATURE_VERSION` guard names, if any.
        condition: Other preprocessor conditions on it, such as ``USE_CUDA``.
        promised: The stable ABI's promise names the header.
        deprecated: The header is the one for deprecated shims.
        removed: The first release whose headers no longer declare it, if any.
        changed: Releases that gave it other parameters or another return type.
    """

    since: Version
    header: str
    gate: Version | None = None
    condition: str | None = None
    promised: bool = True
    deprecated: bool = False
    removed: Version | None = None
    changed: tuple[Version, ...] = ()


@dataclass(frozen=True)
class Catalog:
    """What torch's releases provide.

    Attributes:
        releases: The releases with data, oldest first.
        published: Every final release on the index, oldest first.
        promised_since: The first release that the stable ABI's promise covers.
        shims: Every C shim that any release of the catalog declares.
    """

    releases: tuple[Version, ...]
    published: tuple[Version, ...]
    promised_since: Version
    shims: Mapping[str, Shim]

    @cached_property
    def newest(self) -> Version:
        """The newest release with data."""
        return max(self.releases)


@cache
def load_catalog() -> Catalog:
    """Load the catalog that this package carries."""
    data = json.loads((files(__package__) / SHIMS_FILE).read_text(encoding="utf-8"))
    versions: dict[str, Version] = {}

    def version(text: str | None) -> Version | None:
        return versions.setdefault(text, Version(text)) if text else None

    headers = data["headers"]
    return Catalog(
        releases=tuple(map(Version, data["releases"])),
        published=tuple(map(Version, data["published"])),
        promised_since=Version(data["promised_since"]),
        shims={
            name: Shim(
                since=Version(entry["since"]),
                header=headers[entry["header"]]["path"],
                gate=version(entry.get("gate")),
                condition=entry.get("condition"),
                promised=headers[entry["header"]]["promised"],
                deprecated=headers[entry["header"]]["deprecated"],
                removed=version(entry.get("removed")),
                changed=tuple(map(Version, entry.get("changed", ()))),
            )
            for name, entry in data["shims"].items()
        },
    )

"""Files of the builder's cache: dataclasses as compressed JSON."""

from __future__ import annotations

import json
import lzma
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from _typeshed import DataclassInstance


def write_packed(path: Path, value: DataclassInstance) -> None:
    """Write a dataclass to a file, whole or not at all."""
    temporary = path.with_suffix(".part")
    temporary.write_bytes(lzma.compress(json.dumps(asdict(value)).encode(), preset=1))
    temporary.replace(path)


def read_packed(path: Path) -> dict[str, Any]:
    """Read the fields of a dataclass back."""
    values: dict[str, Any] = json.loads(lzma.decompress(path.read_bytes()))
    return values

"""The JSON report: the document as it is, written target by target."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch_abi_audit.report.document import HEAD

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO


def schema_text() -> str:
    """Return the JSON Schema that every report keeps, as it is packaged."""
    return Path(__file__).with_name("schema.json").read_text(encoding="utf-8")


class JsonWriter:
    """Writes a report target by target, so that a run holds one target's facts at a time.

    The text is ASCII, indented by two spaces, with a newline at the end.

    Args:
        stream: Where to.
        head: See `document.head_document`.
    """

    def __init__(self, stream: TextIO, head: Mapping[str, Any]) -> None:
        self._stream = stream
        self._separator = "\n    "
        before = {key: head[key] for key in HEAD}
        self._write(json.dumps(before, indent=2).removesuffix("\n}"), ',\n  "targets": [')

    def add(self, target: Mapping[str, Any]) -> None:
        """Write the next target."""
        self._write(self._separator, json.dumps(target, indent=2).replace("\n", "\n    "))
        self._separator = ",\n    "

    def finish(self, tail: Mapping[str, Any]) -> None:
        """Write what is concluded of all targets."""
        end = "\n  ]" if self._separator.startswith(",") else "]"
        self._write(end, ",", json.dumps(dict(tail), indent=2).removeprefix("{"), "\n")

    def _write(self, *parts: str) -> None:
        self._stream.write("".join(parts))

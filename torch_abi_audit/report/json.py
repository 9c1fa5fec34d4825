"""The JSON report: the document as it is, written target by target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch_abi_audit.report.escape import json_text

if TYPE_CHECKING:
    from typing import TextIO

    from torch_abi_audit.report.shape import HeadDocument, TailDocument, TargetDocument


class JsonWriter:
    """Writes a report target by target, so that a run holds one target's facts at a time.

    The text is ASCII, indented by two spaces, with a newline at the end.

    Args:
        stream: Where to.
        head: See `document.head_document`.
    """

    def __init__(self, stream: TextIO, head: HeadDocument) -> None:
        self._stream = stream
        self._separator = "\n    "
        self._write(json_text(head).removesuffix("\n}"), ',\n  "targets": [')

    def add(self, target: TargetDocument) -> None:
        """Write the next target."""
        # Member by member: a hostile file has megabytes of symbols in each.
        self._write(self._separator, "{")
        comma = ""
        for key, value in target.items():
            text = json_text({key: value}).removeprefix("{\n").removesuffix("\n}")
            self._write(comma, "\n    ", text.replace("\n", "\n    "))
            comma = ","
        self._write("\n    }")
        self._separator = ",\n    "

    def finish(self, tail: TailDocument) -> None:
        """Write what is concluded of all targets."""
        end = "\n  ]" if self._separator.startswith(",") else "]"
        self._write(end, ",", json_text(tail).removeprefix("{"), "\n")

    def _write(self, *parts: str) -> None:
        self._stream.write("".join(parts))

"""The JSON report: the document as it is, written target by target."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch_abi_audit.report.document import counted, head_document, tail_document, target_document

if TYPE_CHECKING:
    from typing import TextIO

    from torch_abi_audit.model import Report, RunReport, TargetReport


def load_schema() -> Any:
    """Return the JSON Schema that every report keeps."""
    return json.loads(Path(__file__).with_name("schema.json").read_text(encoding="utf-8"))


class JsonWriter:
    """Writes a report target by target, so that a run holds one target's facts at a time.

    The text is ASCII, indented by two spaces, with a newline at the end.

    Args:
        stream: Where to.
        head: See `head_document`.
    """

    def __init__(self, stream: TextIO, head: dict[str, Any]) -> None:
        self._stream = stream
        self._targets: list[dict[str, Any]] = []
        self._write(json.dumps(head, indent=2).removesuffix("\n}"), ',\n  "targets": [')

    def add(self, target: TargetReport) -> None:
        """Write the next target."""
        document = target_document(target)
        separator = "," if self._targets else ""
        self._targets.append(counted(document))
        self._write(separator, "\n    ", json.dumps(document, indent=2).replace("\n", "\n    "))

    def finish(self, run: RunReport) -> None:
        """Write what is concluded of all targets."""
        end = "\n  ]" if self._targets else "]"
        tail = json.dumps(tail_document(self._targets, run), indent=2).removeprefix("{")
        self._write(end, ",", tail, "\n")

    def _write(self, *parts: str) -> None:
        self._stream.write("".join(parts))


def render_json(report: Report, tool_version: str) -> str:
    """Return a whole report."""
    stream = StringIO()
    writer = JsonWriter(stream, head_document(tool_version, report.torch_releases))
    for target in report.targets:
        writer.add(target)
    writer.finish(report.run)
    return stream.getvalue()

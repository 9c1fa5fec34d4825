"""Where reports go: several formats at once, each to a stream, written target by target."""

from __future__ import annotations

import contextlib
import os
import sys
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, cast

from torch_abi_audit.report.document import Counter, target_document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path
    from typing import TextIO

    from torch_abi_audit.model import RunReport, TargetReport
    from torch_abi_audit.report.shape import Document, HeadDocument, TailDocument, TargetDocument
    from torch_abi_audit.report.style import Style


_STANDARD_OUTPUT = "the report"


class ReportFormat(StrEnum):
    """A format of reports."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    GITHUB = "github"
    SARIF = "sarif"
    HTML = "html"


class Writer(Protocol):
    """What writes a report."""

    def add(self, target: TargetDocument) -> None:
        """Write the next target."""

    def finish(self, tail: TailDocument) -> None:
        """Write what comes after the last one."""


class _Whole:
    """Keeps the targets, and writes the report once all are there."""

    def __init__(
        self, stream: TextIO, head: HeadDocument, render: Callable[[Document], str]
    ) -> None:
        self._stream = stream
        self._head = head
        self._render = render
        self._targets: list[TargetDocument] = []

    def add(self, target: TargetDocument) -> None:
        """Take the next target."""
        self._targets.append(target)

    def finish(self, tail: TailDocument) -> None:
        """Write the report."""
        whole: Document = {**self._head, "targets": self._targets, **tail}
        self._stream.write(self._render(whole))


def open_writer(format_: ReportFormat, stream: TextIO, head: HeadDocument, style: Style) -> Writer:
    """Return what writes a format to a stream.

    Args:
        format_: The format; only its renderer is imported.
        stream: Where to.
        head: What stands before the targets; see `document.head_document`.
        style: How text is printed.
    """
    # Each renderer in its own branch: an import costs as much as auditing a small wheel.
    match format_:
        case ReportFormat.TEXT:
            from torch_abi_audit.report.text import text_writer  # noqa: PLC0415

            return text_writer(stream, head, style)
        case ReportFormat.JSON:
            from torch_abi_audit.report.json import JsonWriter  # noqa: PLC0415

            return JsonWriter(stream, head)
        case ReportFormat.GITHUB:
            from torch_abi_audit.report.github import render_github  # noqa: PLC0415

            return _Whole(stream, head, partial(render_github, style=style))
        case ReportFormat.MARKDOWN:
            from torch_abi_audit.report.markdown import render_markdown  # noqa: PLC0415

            return _Whole(stream, head, render_markdown)
        case ReportFormat.SARIF:
            from torch_abi_audit.report.sarif import render_sarif  # noqa: PLC0415

            return _Whole(stream, head, render_sarif)
        case ReportFormat.HTML:
            from torch_abi_audit.report.html import render_html  # noqa: PLC0415

            return _Whole(stream, head, render_html)


def render(format_: ReportFormat, document: Document, style: Style) -> str:
    """Return the report of a whole document, as it goes to a file."""
    from io import StringIO  # noqa: PLC0415

    from torch_abi_audit.report.shape import HeadDocument, TailDocument  # noqa: PLC0415

    head = {key: document[key] for key in HeadDocument.__annotations__}  # type: ignore[literal-required]
    tail = {key: document[key] for key in TailDocument.__annotations__}  # type: ignore[literal-required]
    stream = StringIO()
    writer = open_writer(format_, stream, cast("HeadDocument", head), style)
    for target in document["targets"]:
        writer.add(target)
    writer.finish(cast("TailDocument", tail))
    return stream.getvalue()


class Destination(NamedTuple):
    """Where a report goes: to a file, to standard output, or behind what a file holds."""

    format: ReportFormat
    path: Path | None = None
    append: bool = False


class Outputs:
    """All reports of a run.

    What can't be written does not keep the other reports from being, nor targets from being
    audited.

    Args:
        destinations: Where to, in which format.
        head: What stands before the targets; see `document.head_document`.
        style: How text is printed.
        complain: What says that a report can't be written.
    """

    def __init__(
        self,
        destinations: Iterable[Destination],
        head: HeadDocument,
        style: Style,
        complain: Callable[[str], None],
    ) -> None:
        self.failed = False
        self._complain = complain
        self._counter = Counter()
        self._sinks: list[tuple[str, TextIO, Writer]] = []
        for destination in destinations:
            name = _STANDARD_OUTPUT if destination.path is None else str(destination.path)
            with self._guarded(name):
                stream = _open(destination)
                writer = open_writer(destination.format, stream, head, style)
                self._sinks.append((name, stream, writer))

    def add(self, report: TargetReport) -> None:
        """Write the next target."""
        document = target_document(report)
        self._counter.add(report)
        for name, stream, writer in list(self._sinks):
            with self._guarded(name):
                writer.add(document)
                stream.flush()

    def finish(self, run: RunReport) -> None:
        """Write what is concluded of all targets, and close the files."""
        tail = self._counter.tail(run)
        for name, stream, writer in list(self._sinks):
            with self._guarded(name):
                writer.finish(tail)
                stream.flush()
                if stream is not sys.stdout:
                    stream.close()

    @contextlib.contextmanager
    def _guarded(self, name: str) -> Iterator[None]:
        """Give a report up that can't be written, and go on."""
        try:
            yield
        except BrokenPipeError:
            # The reader, such as `head`, has seen enough. Python would complain at exit.
            self._drop(name)
            if name == _STANDARD_OUTPUT:
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except OSError as error:
            self._drop(name)
            self.failed = True
            self._complain(f"{name} can't be written: {error.strerror or error}")

    def _drop(self, name: str) -> None:
        self._sinks = [sink for sink in self._sinks if sink[0] != name]


def _open(destination: Destination) -> TextIO:
    if destination.path is not None:
        mode: Literal["a", "w"] = "a" if destination.append else "w"
        return destination.path.open(mode, encoding="utf-8", newline="\n")
    if sys.stdout is None:
        raise OSError("standard output is closed")
    # A terminal that can't show a character gets its escape, not a traceback.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    return sys.stdout

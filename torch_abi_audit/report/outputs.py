"""Where reports go: several formats at once, each to a stream, written target by target."""

from __future__ import annotations

import contextlib
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self, cast

from torch_abi_audit.report.document import Counter, target_document
from torch_abi_audit.report.files import open_sink
from torch_abi_audit.report.streams import give_up_output, is_closed_pipe, is_unicode, show_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import TextIO

    from torch_abi_audit.model import RunReport, TargetReport
    from torch_abi_audit.report.files import Sink
    from torch_abi_audit.report.shape import Document, HeadDocument, TailDocument, TargetDocument
    from torch_abi_audit.report.style import Style


_STANDARD_OUTPUT = "the report"


class ReportFormat(StrEnum):
    """A format of reports."""

    TEXT = "text"
    CONCISE = "concise"
    JSON = "json"
    MARKDOWN = "markdown"
    GITHUB = "github"
    SARIF = "sarif"
    HTML = "html"
    PROGRESS = "progress"
    PROGRESS_MARKDOWN = "progress-markdown"


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


def open_writer(  # noqa: PLR0911 -- a branch for each format
    format_: ReportFormat, stream: TextIO, head: HeadDocument, style: Style
) -> Writer:
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
        case ReportFormat.CONCISE:
            from torch_abi_audit.report.concise import ConciseWriter  # noqa: PLC0415

            return ConciseWriter(stream, head, style)
        case ReportFormat.JSON:
            from torch_abi_audit.report.json import JsonWriter  # noqa: PLC0415

            return JsonWriter(stream, head)
        case ReportFormat.PROGRESS | ReportFormat.PROGRESS_MARKDOWN:
            from torch_abi_audit.report.migration import ProgressWriter  # noqa: PLC0415

            in_markdown = format_ is ReportFormat.PROGRESS_MARKDOWN
            return ProgressWriter(stream, in_markdown=in_markdown)
        case ReportFormat.GITHUB:
            from torch_abi_audit.report.github import render_github  # noqa: PLC0415

            return _Whole(stream, head, partial(render_github, style=style))
        case ReportFormat.MARKDOWN:
            from torch_abi_audit.report.markdown import render_markdown  # noqa: PLC0415

            # Words, where emoji would be shown as numbers.
            of = partial(render_markdown, emoji=is_unicode(stream), verbose=style.verbose)
            return _Whole(stream, head, of)
        case ReportFormat.SARIF:
            from torch_abi_audit.report.sarif import render_sarif  # noqa: PLC0415

            return _Whole(stream, head, render_sarif)
        case ReportFormat.HTML:
            from torch_abi_audit.report.html import render_html  # noqa: PLC0415

            in_full = is_unicode(stream)
            return _Whole(stream, head, partial(render_html, in_ascii=not in_full))


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


def write_all(
    destinations: Iterable[Destination],
    write: Callable[[ReportFormat, TextIO], None],
    complain: Callable[[str], None],
) -> bool:
    """Write what is ready to each destination; return whether one can't be written.

    Args:
        destinations: Where to, in which format.
        write: What writes a format to a stream.
        complain: What says that something can't be written.
    """
    failed = False
    for destination in destinations:
        try:
            sink = open_sink(destination.path, append=destination.append)
            try:
                if destination.path is None:
                    show_all(sink.stream)
                write(destination.format, sink.stream)
                sink.commit()
            except BaseException:
                sink.discard()
                raise
        except OSError as error:
            name = _STANDARD_OUTPUT if destination.path is None else str(destination.path)
            failed |= _refused(name, error, complain)
    return failed


def _refused(name: str, error: OSError, complain: Callable[[str], None]) -> bool:
    """Say why something can't be written; return whether that is a failure."""
    if is_closed_pipe(error):
        if name == _STANDARD_OUTPUT:
            give_up_output()
        return False
    complain(f"{name} can't be written: {error.strerror or error}")
    return True


class Outputs:
    """All reports of a run.

    What can't be written does not keep the other reports from being, nor targets from being
    audited. Files that are not finished when the context ends stay as they were before.

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
        self._sinks: list[tuple[str, Sink, Writer]] = []
        try:
            for destination in destinations:
                self._open(destination, head, style)
        except BaseException:
            self._abandon()
            raise

    def _open(self, destination: Destination, head: HeadDocument, style: Style) -> None:
        name = _STANDARD_OUTPUT if destination.path is None else str(destination.path)
        with self._guarded(name):
            sink = open_sink(destination.path, append=destination.append)
            try:
                if destination.path is None:
                    show_all(sink.stream)
                writer = open_writer(destination.format, sink.stream, head, style)
            except BaseException:
                sink.discard()
                raise
            self._sinks.append((name, sink, writer))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._abandon()

    def _abandon(self) -> None:
        for name, _, _ in list(self._sinks):
            self._drop(name)

    def add(self, report: TargetReport) -> None:
        """Write the next target."""
        document = target_document(report)
        self._counter.add(report)
        for name, sink, writer in list(self._sinks):
            with self._guarded(name):
                writer.add(document)
                sink.stream.flush()

    def finish(self, run: RunReport) -> None:
        """Write what is concluded of all targets, and close the files."""
        tail = self._counter.tail(run)
        for name, sink, writer in list(self._sinks):
            with self._guarded(name):
                writer.finish(tail)
                sink.commit()
        self._sinks = []

    @contextlib.contextmanager
    def _guarded(self, name: str) -> Iterator[None]:
        """Give a report up that can't be written, and go on."""
        try:
            yield
        except OSError as error:
            self._drop(name)
            self.failed |= _refused(name, error, self._complain)

    def _drop(self, name: str) -> None:
        for sink in [sink for sink in self._sinks if sink[0] == name]:
            self._sinks.remove(sink)
            sink[1].discard()

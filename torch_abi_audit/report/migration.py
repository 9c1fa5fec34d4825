"""The way to the stable ABI as a line a library, for pull requests: text, or Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit.model import PythonAbi, TorchAbi
from torch_abi_audit.report import summary
from torch_abi_audit.report.escape import (
    markdown_cell,
    markdown_cell_code,
    markdown_text,
    plain_text,
)
from torch_abi_audit.report.replacements import replaceable
from torch_abi_audit.wording import count

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from torch_abi_audit.report.shape import ReadableDocument, TailDocument, TargetDocument

_PYTHONS = {PythonAbi.NONE: "no C API", PythonAbi.VERSION_SPECIFIC: "one Python"}


class _Row(NamedTuple):
    """A library: the ABIs that it uses, and how many symbols of each kind, with what there was."""

    path: str
    abi: str
    python: str
    shims: str
    unstable: str

    @property
    def symbols(self) -> str:
        """Say how many symbols of each kind there are."""
        shims = "shim" if self.shims == "1" else "shims"
        unstable = "symbol" if self.unstable == "1" else "symbols"
        return f"{self.shims} {shims}, {self.unstable} unstable {unstable}"


class ProgressWriter:
    """Writes a line for each library that uses torch, and how many are on the stable ABI.

    Args:
        stream: Where to.
        in_markdown: Whether as Markdown, with a table for each target.
    """

    def __init__(self, stream: TextIO, *, in_markdown: bool) -> None:
        self._stream = stream
        self._in_markdown = in_markdown
        self._begun = False

    def add(self, target: TargetDocument) -> None:
        """Write the libraries of the next target."""
        lines = list(_markdown(target) if self._in_markdown else _text(target))
        self._stream.write("\n" if self._begun else "")
        self._stream.write("".join(f"{line}\n" for line in lines))
        self._begun = True

    def finish(self, tail: TailDocument) -> None:
        """Write what the run comes to."""
        said = "{word}: {why}".format(**tail["conclusion"])
        said = markdown_text(said) if self._in_markdown else plain_text(said)
        self._stream.write(f"\n{said}\n")


def _rows(target: TargetDocument) -> list[_Row]:
    """Return the libraries that use torch, those that are still to be moved first."""
    users = [
        (name, item)
        for name, item in summary.named_libraries(target)
        if item["torch"]["abi"] != TorchAbi.NONE or item["torch"]["needed"]
    ]
    users.sort(key=lambda user: user[1]["torch"]["abi"] != TorchAbi.UNSTABLE)
    return [_row(target, name, item) for name, item in users]


def _row(target: TargetDocument, name: str, item: ReadableDocument) -> _Row:
    torch = item["torch"]
    known = target["baseline"]
    before = known["libraries"].get(item["path"]) if known else None
    abi = PythonAbi(item["python"]["abi"])
    shims = len(torch["shims"]) + len(torch["unknown_shims"])
    unstable = len(torch["unstable_symbols"])
    return _Row(
        name,
        torch["abi"],
        _PYTHONS.get(abi, abi.value),
        _changed(before and before["shims"], shims),
        _changed(before and before["unstable_symbols"], unstable),
    )


def _changed(before: int | None, now: int) -> str:
    return str(now) if before in (None, now) else f"{before} -> {now}"


def _total(target: TargetDocument) -> list[str]:
    """Say how far a target is, and what has changed since the baseline."""
    if target["error"] is not None:
        return [f"not audited: {target['error']}"]
    progress = target["torch"]["progress"]
    stable, of_all = progress["stable"], progress["stable"] + progress["unstable"]
    if not of_all:
        return ["no library uses torch"]
    left = sum(len(item["torch"]["unstable_symbols"]) for item in summary.readable(target))
    said = f"{stable} of {count(of_all, 'library')} on the stable ABI"
    lines = [f"{said}, {count(left, 'unstable symbol')} left", *summary.since_baseline(target)]
    replacements = target["torch"]["replacements"]
    lines += [replaceable(replacements)] if replacements else []
    known = target["baseline"]
    for what, paths in (("moved", known["moved"]), ("back", known["back"])) if known else ():
        lines += [f"{what}: {', '.join(paths)}"] if paths else []
    return lines


def _text(target: TargetDocument) -> Iterator[str]:
    """Yield ``[stable  ] [abi3    ] x/_C.abi3.so (12 shims, 0 unstable symbols)``."""
    yield plain_text(target["target"])
    rows = _rows(target)
    widest = max((len(row.python) for row in rows), default=0)
    for row in rows:
        labels = f"[{row.abi:<8}] [{row.python:<{widest}}]"
        yield plain_text(f"  {labels} {row.path} ({row.symbols})")
    for line in _total(target):
        yield plain_text(f"  {line}")


def _markdown(target: TargetDocument) -> Iterator[str]:
    """Yield a table with a row for each library."""
    yield f"#### {markdown_text(summary.filename(target))}"
    yield ""
    rows = _rows(target)
    if rows:
        yield "| torch ABI | Python | library | shims | unstable symbols |"
        yield "|---|---|---|---:|---:|"
    for row in rows:
        cells = [row.abi, row.python, row.shims, row.unstable]
        abi, python, shims, unstable = map(markdown_cell, cells)
        yield f"| {abi} | {python} | {markdown_cell_code(row.path)} | {shims} | {unstable} |"
    if rows:
        yield ""
    for line in _total(target):
        yield f"- {markdown_text(line)}"

"""The report for people: facts beside claims, findings with their fix, one closing sentence.

Everything that comes from a target is printed as plain text: nothing of it is markup,
and control characters are shown, not sent. Prose is wrapped at the terminal's width,
never in a log; symbols and paths are never wrapped or cut.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from torch_abi_audit.abi.names import demangle
from torch_abi_audit.claims import ANY_LATER, requires_torch
from torch_abi_audit.model import (
    LibraryKind,
    PythonAbi,
    ReleaseStatus,
    Severity,
    TorchAbi,
    Verdict,
)
from torch_abi_audit.report.clean import clean
from torch_abi_audit.rules.judged import LOADING
from torch_abi_audit.rules.words import count, pythons, ranges, short

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from packaging.version import Version

    from torch_abi_audit.model import (
        Environment,
        Finding,
        Release,
        Report,
        RunReport,
        TargetReport,
    )

_NARROWEST = 40
_SHOWN = 5  # symbols a finding, unless verbose
_SEVERITY_STYLES = {
    Severity.ERROR: "bold red",
    Severity.WARNING: "bold yellow",
    Severity.NOTE: "bold cyan",
}
_VERDICT_STYLES = {
    Verdict.SAFE: "bold green",
    Verdict.UNSAFE: "bold red",
    Verdict.NOT_APPLICABLE: "bold",
    Verdict.ERROR: "bold red",
}


_LETTERS = {
    ReleaseStatus.GUARANTEED: "G",
    ReleaseStatus.LINKS: "l",
    ReleaseStatus.BREAKS: "-",
    ReleaseStatus.UNKNOWN: "?",
}
_STATUS_STYLES = {
    ReleaseStatus.GUARANTEED: "bold green",
    ReleaseStatus.LINKS: "yellow",
    ReleaseStatus.BREAKS: "red",
    ReleaseStatus.UNKNOWN: "dim",
}
_LEGEND = {
    ReleaseStatus.GUARANTEED: "guaranteed",
    ReleaseStatus.LINKS: "loads, without a promise",
    ReleaseStatus.BREAKS: "does not load",
    ReleaseStatus.UNKNOWN: "not known",
}


class StandardOutput(Console):
    """The console of the command line: nothing is markup, and a closed pipe is an error."""

    def __init__(self) -> None:
        super().__init__(markup=False, emoji=False)

    def on_broken_pipe(self) -> None:
        """Leave the exit code to the command; rich would exit with 1, which has a meaning."""
        raise BrokenPipeError


def print_report(report: Report, console: Console, *, verbose: bool = False) -> None:
    """Print a whole report; see `TerminalWriter`."""
    writer = TerminalWriter(console, verbose=verbose)
    for target in report.targets:
        writer.add(target)
    writer.finish(report.run)


class TerminalWriter:
    """Prints a report target by target, and a table at the end where there are several.

    Args:
        console: Where to; its width counts only when it is a terminal.
        verbose: Whether to print every symbol, and what single libraries are.
    """

    def __init__(self, console: Console, *, verbose: bool) -> None:
        self._console = console
        self._verbose = verbose
        self._width = max(console.width, _NARROWEST) if console.is_terminal else None
        self._rows: list[tuple[str, ...]] = []

    def add(self, target: TargetReport) -> None:
        """Print the next target."""
        self._line(clean(target.target), style="bold")
        if target.claims is not None:
            self._facts(target)
            helped: set[tuple[str, str]] = set()
            for finding in target.findings:
                key = (finding.rule, finding.help)
                self._finding(finding, helped=key in helped)
                helped.add(key)
        self._line()
        self._prose(
            f"{target.verdict}: {clean(target.summary)}",
            head=len(target.verdict),
            style=_VERDICT_STYLES[target.verdict],
        )
        self._line()
        self._rows.append(
            (
                target.verdict,
                _short_torch(target),
                _short_python(target),
                str(len([f for f in target.findings if f.severity is Severity.ERROR])),
                str(len([f for f in target.findings if f.severity is Severity.WARNING])),
                clean(target.target.rpartition("/")[2]),
            )
        )

    def finish(self, run: RunReport) -> None:
        """Print what is concluded of all targets: a line a target, releases, totals."""
        for release in run.releases:
            self._coverage(release)
        for finding in run.findings:
            self._finding(finding, helped=False)
        if run.findings:
            self._line()
        if len(self._rows) < 2:
            return
        head = ("verdict", "torch", "python", "errors", "warnings", "target")
        verdicts = [row[0] for row in self._rows]
        styles = ["dim", *(_VERDICT_STYLES[Verdict(item)] for item in verdicts)]
        widest = max(len(item) for item in (head[0], *verdicts))
        for line, style in zip(_aligned([head, *self._rows]), styles, strict=True):
            self._line(line, head=widest, style=style)
        totals = [f"{verdicts.count(item)} {item}" for item in Verdict if item in verdicts]
        self._line()
        self._line(f"{count(len(self._rows), 'target')}: {', '.join(totals)}", style="bold")

    def _coverage(self, release: Release) -> None:
        """Print what the wheels of a release cover."""
        self._line(f"{clean(release.name)} {release.version}", style="bold")
        self._line(f"  {count(len(release.wheels), 'wheel')} cover")
        rows = [
            (
                f"  {clean(row.platform)}",
                f"Python {pythons(map(str, row.pythons), ANY_LATER.minor) or 'none'}",
                "" if row.torch is None else f"torch {ranges(row.torch, row.torch) or 'none'}",
            )
            for row in release.coverage
        ]
        for line in _aligned(rows):
            self._line(f"  {line}")
        self._line()

    def _facts(self, target: TargetReport) -> None:
        claims = target.claims
        if claims is None:
            return
        paths, extensions = _paths(target)
        total = len(paths) + len(target.unreadable)
        unread = f", {len(target.unreadable)} unreadable" if target.unreadable else ""
        cut = len(target.unverified)
        unverified = f", {cut} not read to the end (--verify)" if cut else ""
        self._line(
            f"  {count(total, 'library')}, {count(len(extensions), 'extension')}{unread}"
            f"{unverified}"
        )
        self._line()
        if not target.libraries:
            return
        self._row("torch", "found", _found_torch(target))
        if target.torch_floor is not None:
            self._symbols(target.torch_floor.symbols, indent=19, demangled=False)
        if claims.stated:
            asked = requires_torch(claims)
            self._row("", "claims", f"torch{asked}" if asked is not None else "no release of torch")
        self._row("python", "found", _found_python(target))
        if claims.stated:
            requires_python = f", Requires-Python {claims.requires_python}".rstrip()
            tags = _set(f"{tag.interpreter}-{tag.abi}" for tag in claims.tags)
            self._row("", "claims", tags + (requires_python if claims.requires_python else ""))
        self._row("machine", "found", _set(item.library.arch for item in target.libraries))
        if claims.stated:
            self._row("", "claims", _set(tag.platform for tag in claims.tags))
        weak = sum(len(item.torch.weak) for item in target.libraries)
        if weak:
            self._prose(
                f"  {count(weak, 'weak import')} of torch not counted: the loader does without",
                indent=2,
            )
        if target.matrix.row:
            self._matrix(target)
        self._here(target)
        if self._verbose:
            self._libraries(target)

    def _here(self, target: TargetReport) -> None:
        """Print how a package stands with the torch beside it."""
        if target.here is None:
            return
        broken = broken_here(target, list(target.matrix.row))
        said = broken or f"{_LEGEND[target.here.cell.status]} with torch {target.here.torch}"
        self._line()
        self._prose(f"  here: {clean(said)}", indent=8, head=7, style="bold")

    def _matrix(self, target: TargetReport) -> None:
        """Print the matrix: a column a minor release, and a line for libraries that agree."""
        row, libraries = target.matrix.row, target.matrix.libraries
        rows = [tuple(cell.status for cell in row.values())]
        names = [f"the whole {target.kind}"]
        paths: dict[tuple[ReleaseStatus, ...], list[str]] = {}
        for path, cells in libraries.items():
            paths.setdefault(tuple(cell.status for cell in cells.values()), []).append(path)
        if set(paths) != {rows[0]}:  # one line says it all where all libraries agree
            for statuses, of_row in paths.items():
                rows.append(statuses)
                more = f" and {len(of_row) - 1} more" if len(of_row) > 1 else ""
                names.append(f"{clean(of_row[0])}{more}")
        major, columns = _fold(list(row), rows)
        widths = [max(2, len(label)) for label, _ in columns]
        labels = [label.rjust(width) for (label, _), width in zip(columns, widths, strict=True)]
        self._line()
        self._line(f"  torch {major.ljust(3)}{' '.join(labels)}", style="dim")
        for statuses, name in zip(rows, names, strict=True):
            line = Text("           ")
            for (_, place), width in zip(columns, widths, strict=True):
                status = statuses[place]
                line.append(_LETTERS[status].rjust(width), _STATUS_STYLES[status])
                line.append(" ")
            line.append(f" {name}")
            self._console.print(line, soft_wrap=True, highlight=False)
        used = {status for statuses in rows for status in statuses}
        legend = [f"{_LETTERS[s]} {text}" for s, text in _LEGEND.items() if s in used]
        self._line(f"           {', '.join(legend)}", style="dim")
        for group in dict.fromkeys(item.group for item in target.matrix.alternatives.values()):
            of_group = [i.release for i in target.matrix.alternatives.values() if i.group == group]
            served = ", ".join("{}.{}".format(*release) for release in sorted(of_group))
            self._prose(
                f"           {clean(group)}: alternatives, each for one release of torch"
                f" ({served})",
                indent=11,
            )

    def _row(self, topic: str, side: str, text: str) -> None:
        self._prose(f"  {topic:<9}{side:<8}{clean(text)}", indent=19)

    def _libraries(self, target: TargetReport) -> None:
        self._line()
        for item in target.libraries:
            floor = f", torch {item.torch.floor.release}" if item.torch.floor else ""
            self._line(
                f"  {clean(item.path)}: {item.kind}, torch {item.torch.abi}{floor},"
                f" python {item.python.abi}"
            )

    def _finding(self, finding: Finding, *, helped: bool) -> None:
        """Print a finding, its help only where it does not stand above already."""
        self._line()
        label = f"{finding.severity}[{finding.rule}]"
        self._prose(
            f"{label}: {clean(finding.message)}",
            head=len(label),
            style=_SEVERITY_STYLES[finding.severity],
            indent=2,
        )
        shown = finding.libraries if self._verbose else finding.libraries[:_SHOWN]
        for path in shown:
            self._line(f"  --> {clean(path)}", head=5, style="blue")
        if len(shown) < len(finding.libraries):
            self._line(f"      and {len(finding.libraries) - len(shown)} more libraries")
        self._symbols(finding.evidence, indent=6)
        if finding.help and not helped:
            self._prose(f"  = help: {clean(finding.help)}", head=9, style="bold", indent=10)

    def _symbols(self, names: Sequence[str], *, indent: int, demangled: bool = True) -> None:
        shown = names if self._verbose else names[:_SHOWN]
        for name in shown:
            self._line(" " * indent + clean(name))
            declaration = demangle(name) if demangled else None
            if declaration:
                self._line(" " * (indent + 2) + clean(declaration), style="dim")
        if len(shown) < len(names):
            self._line(f"{' ' * indent}... {len(names) - len(shown)} more, all with -v")

    def _prose(
        self, text: str, *, head: int | None = None, style: str = "", indent: int = 0
    ) -> None:
        """Print a sentence, wrapped between words on a terminal; `style` is for its head."""
        lines = [text]
        if self._width is not None and len(text) > self._width:
            lines = textwrap.wrap(
                text,
                self._width,
                subsequent_indent=" " * indent,
                break_long_words=False,
                break_on_hyphens=False,
                drop_whitespace=True,
            )
        self._line(lines[0], head=head, style=style)
        for line in lines[1:]:
            self._line(line)

    def _line(self, text: str = "", *, head: int | None = None, style: str = "") -> None:
        """Print one line as it is; `style` is for its first `head` characters, or all."""
        line = Text(text)
        if style:
            line.stylize(style, 0, head)
        self._console.print(line, soft_wrap=True, highlight=False)


class EnvironmentWriter:
    """Prints a row for each package of an environment: those with torch first.

    Args:
        console: Where to.
        environment: The environment.
        everything: Whether packages that do not use torch have a row too.
    """

    def __init__(self, console: Console, environment: Environment, *, everything: bool) -> None:
        self._console = console
        self._environment = environment
        self._torch = environment.torch
        self._everything = everything
        self._rows: list[tuple[bool, tuple[str, ...], str]] = []  # uses torch, cells, why not
        self._loading = 0

    def add(self, target: TargetReport) -> None:
        """Take the next package."""
        claims = target.claims
        paths, extensions = _paths(target)
        failed = target.error is not None
        cells = (
            clean(target.target),
            str(claims.version) if claims else "-",
            str(len(extensions)),
            str(len(paths - extensions)),
            _short_torch(target),
            _short_python(target),
            "not audited" if failed else _LEGEND[target.here.cell.status] if target.here else "",
        )
        why = broken_here(target, self._environment.releases) or ""
        if failed:
            why = f"{target.target} could not be audited: {target.error}"
        uses = bool(target.matrix.row) if self._torch is None else target.here is not None
        self._rows.append((uses or failed, cells, clean(why)))
        if target.here is not None and not failed:
            self._loading += target.here.cell.status in LOADING

    def finish(self, run: RunReport) -> None:  # noqa: ARG002 -- no wheels in an environment
        """Print the rows, why packages do not load, and how many do."""
        users = [row for row in self._rows if row[0]]
        others = [row for row in self._rows if not row[0]]
        head = ("package", "version", "extensions", "bundled", "torch", "python", "loads here")
        rows = [*users, *others] if self._everything else users
        heading, *lines = _aligned([head, *(cells for _, cells, _ in rows)])
        self._print(heading, "dim")
        for line in lines:
            self._print(line)
        if others and not self._everything:
            self._print(f"and {len(others)} more, which use no torch (--all)", "dim")
        broken = [why for _, _, why in self._rows if why]
        for why in broken:
            self._print("")
            self._print(why, "red")
        self._print("")
        if self._torch is None:
            unread = self._environment.error is not None
            said = "the torch here can't be read" if unread else "no torch is installed here"
            self._print(said, "bold")
        else:
            verb = "loads" if self._loading == 1 else "load"
            self._print(
                f"{self._loading} of {count(len(users), 'package')} with torch {verb} with torch"
                f" {self._torch}",
                "bold",
            )

    def _print(self, text: str, style: str = "") -> None:
        self._console.print(Text(text, style=style), soft_wrap=True, highlight=False)


def broken_here(target: TargetReport, releases: Sequence[Version]) -> str | None:
    """Say why a package does not load with the torch beside it, and with which it does."""
    if target.here is None or target.claims is None:
        return None
    torch, cell = target.here
    if cell.status is not ReleaseStatus.BREAKS:
        return None
    name = f"{target.claims.name} {target.claims.version}"
    reason = cell.reasons[0]
    floor = target.torch_floor
    if floor is not None and floor.release > torch:
        needs = short(floor.release)
        reason = next((item for item in cell.reasons if item.name in floor.symbols), reason)
        return f"{name} needs torch >= {needs}, this environment has {torch} ({reason})"
    loading = [v for v, other in target.matrix.row.items() if other.status in LOADING]
    which = f"torch {ranges(loading, releases)}" if loading else "no torch"
    return f"{name} does not load with torch {torch}: {reason}; it loads with {which} of the index"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lay rows out in columns, each as wide as its widest cell."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _paths(target: TargetReport) -> tuple[set[str], set[str]]:
    """Return the files that are libraries, and those of them that are extensions.

    A universal file is one file, however many slices it holds.
    """
    paths = {item.path for item in target.libraries}
    return paths, {i.path for i in target.libraries if i.kind is LibraryKind.EXTENSION}


def _fold(
    releases: Sequence[Version], rows: Sequence[Sequence[ReleaseStatus]]
) -> tuple[str, list[tuple[str, int]]]:
    """Return the columns to print, each with its label and the place of its release.

    Patch releases stand in one column with the first of their minor where all rows agree.
    A major number that all share is returned first, and left out of the labels.
    """
    shared = f"{releases[0].major}." if len({r.major for r in releases}) == 1 else ""
    columns: list[tuple[str, int]] = []
    for place, release in enumerate(releases):
        before = columns[-1][1] if columns else None
        if (
            before is not None
            and releases[before].release[:2] == release.release[:2]
            and all(row[before] is row[place] for row in rows)
        ):
            continue
        label = f"{release.major}.{release.minor}" if release.micro == 0 else str(release)
        columns.append((label.removeprefix(shared), place))
    return shared, columns


def _found_torch(target: TargetReport) -> str:
    users = [item for item in target.libraries if item.torch.needs_torch]
    if not users:
        return "not used"
    unstable = [item for item in users if item.torch.abi is TorchAbi.UNSTABLE]
    if unstable:
        return f"unstable ABI, in {len(unstable)} of {count(len(users), 'library')} with torch"
    if target.torch_floor is None:
        return "linked, and nothing of it used"
    bound = any(item.torch.unknown_shims for item in users)
    newer = ", perhaps newer still" if bound else ""
    because = ", by" if target.torch_floor.symbols else ", where its promise begins"
    return f"stable ABI, needs {target.torch_floor.release} or newer{newer}{because}"


def _found_python(target: TargetReport) -> str:
    match target.python_abi:
        case PythonAbi.NONE:
            return "C API not used"
        case PythonAbi.VERSION_SPECIFIC:
            users = [i for i in target.libraries if i.python.abi is PythonAbi.VERSION_SPECIFIC]
            return f"C API of one version, in {count(len(users), 'library')}"
        case _:
            return f"stable ABI of {target.python_floor} and newer"


def _short_torch(target: TargetReport) -> str:
    if target.claims is None:
        return "-"
    floor = f" {target.torch_floor.release}" if target.torch_floor else ""
    return f"{target.torch_abi}{floor}"


def _short_python(target: TargetReport) -> str:
    if target.claims is None:
        return "-"
    floor = f" {target.python_floor}" if target.python_floor else ""
    return f"{target.python_abi}{floor}"


def _set(names: Iterable[str]) -> str:
    return ", ".join(sorted(set(names)))

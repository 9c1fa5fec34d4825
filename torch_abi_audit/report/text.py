"""The report for people, as text.

What is fine takes one line; of anything else there are facts beside claims, the matrix,
findings with their fix, and one closing sentence.

Everything that comes from a target is printed as plain text: nothing of it is markup,
and control characters are shown, not sent. Prose is wrapped at the terminal's width,
never in a log; symbols and paths are never wrapped or cut.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console
from rich.text import Text

from torch_abi_audit.model import (
    LayoutStatus,
    Severity,
    Verdict,
)
from torch_abi_audit.report import summary
from torch_abi_audit.report.escape import plain_text
from torch_abi_audit.report.replacements import by_replacement, replaceable
from torch_abi_audit.report.streams import is_terminal, is_unicode
from torch_abi_audit.rules import STALE_IGNORE, UNSTABLE_ABI
from torch_abi_audit.verdict.policy import Policy
from torch_abi_audit.wording import count, first_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TextIO

    from torch_abi_audit.report.shape import (
        EnvironmentDocument,
        EvidenceDocument,
        FindingDocument,
        HeadDocument,
        IgnoredDocument,
        PlanDocument,
        ProjectReleaseDocument,
        ReplacementsDocument,
        TailDocument,
        TargetDocument,
    )
    from torch_abi_audit.report.style import Color, Style


_NARROWEST = 40
# Unless verbose:
_LINES = 40  # of the report of a target
_ROWS, _FEWEST_ROWS = 6, 3  # of its matrix
_SHOWN = 3  # symbols, and libraries, of a finding
_LEAST = 4  # lines of a finding, with the empty one before it
_FOLDED = 4  # lines that name the findings that are not shown
_SEVERITY_STYLES = {
    Severity.ERROR: "bold red",
    Severity.WARNING: "bold yellow",
    Severity.NOTE: "bold cyan",
}
_VERDICT_STYLES = {
    Verdict.SAFE: "bold green",
    Verdict.PINNED: "bold blue",
    Verdict.UNSAFE: "bold red",
    Verdict.NOT_APPLICABLE: "bold",
    Verdict.ERROR: "bold red",
}


def _word_style(word: str) -> str:
    """Return how a verdict is printed, or what came of checks."""
    if word in ("passed", "failed", summary.BROKEN):
        return "bold green" if word == "passed" else "bold red"
    return _VERDICT_STYLES[Verdict(word)]


MARK_STYLES: dict[summary.Mark, str] = {
    summary.Mark.GUARANTEED: "bold green",
    summary.Mark.LINKS: "bold yellow",
    summary.Mark.CHANGED: "bold magenta",
    summary.Mark.BREAKS: "bold red",
    summary.Mark.EXCLUDED: "dim",
    summary.Mark.UNKNOWN: "dim",
}


class _Console(Console):
    """A console where nothing is markup, and a closed pipe is an error."""

    def __init__(self, stream: TextIO, color: Color) -> None:
        known: dict[str, Any] = {
            "auto": {},
            "always": {"force_terminal": True, "no_color": False},
            "never": {"no_color": True, "color_system": None},
        }
        super().__init__(file=stream, markup=False, emoji=False, **known[color])
        self._wraps = is_terminal(stream)

    def on_broken_pipe(self) -> None:
        """Leave the exit code to the command; rich would exit with 1, which has a meaning."""
        raise BrokenPipeError

    @property
    def wrapped_at(self) -> int | None:
        """The width to wrap prose at; None where it goes to a file, or to a log."""
        return max(self.width, _NARROWEST) if self._wraps else None


def text_writer(
    stream: TextIO, head: HeadDocument, style: Style
) -> TerminalWriter | EnvironmentWriter:
    """Return what writes a report, target by target.

    Args:
        stream: Where to.
        head: What stands before the targets; see `document.head_document`.
        style: How much, and how.
    """
    printer = open_printer(stream, style)
    if head["environment"] is None:
        return TerminalWriter(printer, head, style)
    return EnvironmentWriter(printer, head["environment"], style)


def open_printer(stream: TextIO, style: Style) -> Printer:
    """Return what prints to a stream."""
    return Printer(_Console(stream, style.color))


class Printer:
    """Prints lines and sentences, with all escaped that would be more than text."""

    def __init__(self, console: _Console) -> None:
        self.console = console
        self.count = 0  # lines so far

    def line(self, text: str = "", *, head: int | None = None, style: str = "") -> None:
        """Print one line as it is; `style` is for its first `head` characters, or all."""
        line = Text(plain_text(text))
        if style:
            line.stylize(style, 0, head)
        self.text(line)

    def text(self, line: Text) -> None:
        """Print a line that has styles of its own."""
        self.count += 1
        self.console.print(line, soft_wrap=True, highlight=False)

    def pieces(self, pieces: Iterable[tuple[str, str]]) -> None:
        """Print one line of pieces that are escaped already, each with its style."""
        line = Text()
        for text, style in pieces:
            line.append(text, style or None)
        line.rstrip()
        self.text(line)

    def prose(
        self, text: str, *, head: int | None = None, style: str = "", indent: int = 0
    ) -> None:
        """Print a sentence, wrapped between words on a terminal; `style` is for its head."""
        text = plain_text(text)
        lines = [text]
        width = self.console.wrapped_at
        if width is not None and len(text) > width:
            lines = textwrap.wrap(
                text,
                width,
                subsequent_indent=" " * indent,
                break_long_words=False,
                break_on_hyphens=False,
            )
        self.line(lines[0], head=head, style=style)
        for line in lines[1:]:
            self.line(line)


class TerminalWriter:
    """Prints a report target by target, and what they come to together at the end."""

    def __init__(self, printer: Printer, head: HeadDocument, style: Style) -> None:
        self._out = printer
        self._head = head
        self._style = style
        self._rows: list[tuple[str, ...]] = []
        self._fixes: list[str] = []  # of each row the first, empty for none
        self._gap = False  # whether a blank line stands between the last target and the next
        self._told: dict[bytes, str] = {}  # what was said of a target, and of which

    def add(self, target: TargetDocument) -> None:
        """Print the next target."""
        self._rows.append(
            (
                summary.word(target),
                summary.torch_in_short(target),
                summary.python_in_short(target),
                str(summary.severities(target["findings"], Severity.ERROR)),
                str(summary.severities(target["findings"], Severity.WARNING)),
                plain_text(summary.filename(target)),
            )
        )
        fixes = [] if summary.is_fine(target) else summary.fixes(target)
        self._fixes.append(plain_text(fixes[0]) if fixes else "")
        if self._style.quiet:
            return
        if summary.is_fine(target) and not self._style.verbose:
            self._fine(target)
        else:
            self._whole(target)

    def finish(self, tail: TailDocument) -> None:
        """Print what is concluded of all targets: releases, a line each, and one sentence.

        Where all is well there is nothing to say quietly.
        """
        loud = not self._style.quiet
        if not loud and tail["conclusion"]["exit_code"] == 0:
            return
        for release in tail["releases"] if loud else ():
            self._coverage(release)
        self._findings(tail["findings"], _LINES)
        self._ignored(tail["ignored"])
        several = len(self._rows) > 1
        if several and not all(word in (Verdict.SAFE, "passed") for word, *_ in self._rows):
            self._table(plain_text(tail["conclusion"]["why"]))
        # Of one target the last line says it all, unless something else is said after it.
        more = tail["findings"] or tail["ignored"] or self._head["options"]["check"]
        if several or more or not loud or not self._rows:
            word, why = tail["conclusion"]["word"], tail["conclusion"]["why"]
            style = "bold green" if word in summary.GOOD_WORDS else "bold red"
            self._out.line() if self._out.count else None
            self._out.prose(f"{word}: {why}", head=len(word), style=style)

    def _fine(self, target: TargetDocument) -> None:
        """Print the one line of a target that is fine."""
        self._out.line() if self._gap else None
        self._gap = False
        word, rest = summary.word(target), summary.aside_of(target["findings"])
        asides = [*([f"{rest}, -v"] if rest else []), *summary.cut_short(target)]
        needed = summary.from_host(target)
        asides += [f"host must provide {first_of(needed)}"] if needed else []
        hint = f" ({'; '.join(asides)})" if asides else ""
        self._out.line(
            f"{word}: {summary.filename(target)}: {summary.sentence(target)}{hint}",
            head=len(word),
            style=_word_style(word),
        )

    def _whole(self, target: TargetDocument) -> None:
        """Print all that there is to say of a target."""
        if len(self._rows) > 1:
            self._out.line()
        self._gap = True
        before = self._out.count
        self._out.line(plain_text(target["target"]), style="bold")
        alike = self._told.setdefault(summary.essence(target), summary.filename(target))
        if alike != summary.filename(target) and not self._style.verbose:
            self._out.prose(f"  same matrix, findings and fix as {alike} (-v)", indent=2)
        elif target["error"] is None or target["libraries"]:
            self._out.line(f"  {summary.contents(target)}", style="dim")
            if summary.readable(target):
                self._facts(target)
            fix = summary.fix_lines(target)
            taken = self._out.count - before + 2 + (len(fix) + 1 if fix else 0)
            instead = target["torch"]["replacements"]
            if summary.word(target) == summary.BROKEN and not self._style.verbose:
                # Who installed it can't change the wheel.
                self._folded(target["findings"], ())
            else:
                self._findings(target["findings"], _LINES - taken, target["fix"], instead)
            self._ignored(target["ignored"])
            self._fix(fix)
        self._out.line()
        word = summary.word(target)
        self._out.prose(
            f"{word}: {summary.sentence(target)}", head=len(word), style=_word_style(word)
        )

    def _fix(self, lines: Sequence[tuple[str, str]]) -> None:
        """Print what to change."""
        if lines:
            self._out.line()
        for label, text in lines:
            head = f"{label}:" if label else " " * len("fix:")
            self._out.prose(f"{head} {text}", head=len(head), style="bold green", indent=5)

    def _facts(self, target: TargetDocument) -> None:
        """Print what was found, beside what is claimed, or above it where there is no room."""
        facts = summary.facts(target)
        found = max(len("found"), *(len(fact.found) for fact in facts))
        claimed = max(len(fact.claimed or "") for fact in facts)
        width = self._out.console.wrapped_at
        beside = width is None or found + claimed + 14 <= width
        self._out.line()
        if beside and any(fact.claimed is not None for fact in facts):
            self._out.line(f"  {'':<8} {'found':<{found}}   claimed", style="dim")
        for fact in facts:
            claim = fact.claimed or ""
            line = f"  {fact.topic:<8} {fact.found:<{found}}   {claim if beside else ''}"
            self._out.line(line.rstrip(), head=2 + len(fact.topic), style="bold")
            if fact.topic == "torch":
                self._floor(target["torch"]["floor_symbols"])
            if claim and not beside:
                self._out.prose(f"           claimed: {claim}", indent=20)
        for aside in summary.asides(target):
            self._out.prose(f"  {aside}", indent=2)
        self._matrix(target)
        here = summary.here(target)
        if here is not None:
            self._out.line()
            self._out.prose(f"  here: {here}", indent=8, head=7, style="bold")
        if self._style.verbose:
            self._libraries(target)

    def _floor(self, names: Sequence[str]) -> None:
        """Print the symbols that set the floor: the first of them, unless verbose."""
        shown = names if self._style.verbose else names[:1]
        more = len(names) - len(shown)
        for place, name in enumerate(shown):
            said = f" and {more} more" if more and place == len(shown) - 1 else ""
            self._out.line(f"           because of {name}{said}", style="dim")

    def _matrix(self, target: TargetDocument) -> None:
        """Print the matrix: a column a minor release, and a line for libraries that agree."""
        table = summary.matrix(target)
        if table is None:
            return
        in_ascii = not is_unicode(self._out.console.file)
        widths = [max(2, len(label)) for label in table.labels]
        labels = [label.rjust(width) for label, width in zip(table.labels, widths, strict=True)]
        self._out.line()
        self._out.line(f"  torch {table.major:<5}{' '.join(labels)}", style="dim")
        shown = _ROWS - len(summary.conditions(target))  # which are told below
        rows = table.rows if self._style.verbose else table.rows[: max(shown, _FEWEST_ROWS)]
        for name, cells in rows:
            line = Text(" " * 13)
            for (mark, _), width in zip(cells, widths, strict=True):
                sign = summary.sign(mark, in_ascii=in_ascii)
                line.append(sign.rjust(width), MARK_STYLES[mark])
                line.append(" ")
            line.append(f" {plain_text(name)}")
            self._out.text(line)
        if len(rows) < len(table.rows):
            self._out.line(
                f"{' ' * 14}... {len(table.rows) - len(rows)} more rows (-v)", style="dim"
            )
        self._allowed(target, table, widths)
        said = [
            f"{summary.sign(mark, in_ascii=in_ascii)} {summary.LEGEND[mark]}"
            for mark in summary.legend(table)
        ]
        self._out.line(f"{' ' * 14}{'; '.join(said)}", style="dim")
        for text in summary.matrix_notes(target):
            self._out.prose(f"{' ' * 14}{text}", indent=14)

    def _allowed(
        self, target: TargetDocument, table: summary.MatrixTable, widths: Sequence[int]
    ) -> None:
        """Print a mark under the releases that the metadata allows, where it confines them."""
        claims = target["claims"]
        cells = table.rows[0][1]
        asked = {cell.asked for cell in cells}
        if claims is None or True not in asked:
            return
        by_variant = claims["variant_properties"] and False in asked  # else they are about others
        if claims["requires_torch"] is None and not by_variant:
            return
        marks = [
            ("^" if cell.asked else " ").rjust(width)
            for cell, width in zip(cells, widths, strict=True)
        ]
        self._out.line(f"{' ' * 13}{' '.join(marks)}  allowed by the metadata", style="dim")

    @property
    def _known(self) -> Sequence[str]:
        releases: Sequence[str] = self._head["catalog"]["torch_releases"]
        return releases

    def _libraries(self, target: TargetDocument) -> None:
        self._out.line()
        for item in summary.readable(target):
            floor = f", torch {item['torch']['floor']}" if item["torch"]["floor"] else ""
            self._out.line(
                f"  {item['path']}: {item['kind']}, torch {item['torch']['abi']}{floor},"
                f" python {item['python']['abi']}"
            )

    def _findings(
        self,
        findings: Iterable[FindingDocument],
        room: int,
        plan: PlanDocument | None = None,
        replacements: ReplacementsDocument | None = None,
    ) -> None:
        """Print findings; without `-v` of notes, and of what there is no room for, the names.

        Args:
            findings: The gravest first.
            room: For how many lines.
            plan: The fix of the target, which need not be told for each finding again.
            replacements: What the stable ABI has instead of the target's unstable symbols.
        """
        if self._style.quiet:
            findings = [f for f in findings if f["severity"] in self._grave]
        shown: list[FindingDocument] = []
        folded: list[FindingDocument] = []
        left = room - _FOLDED
        for finding in findings:
            severity = finding["severity"]
            # With checks what counts may be a note.
            fits = finding["counts"] and (severity != Severity.WARNING or left >= _LEAST)
            # A pattern with a typing error matches nothing, and its author has to see that.
            fits = fits or finding["rule"] == STALE_IGNORE
            (shown if fits or self._style.verbose else folded).append(finding)
            left -= _LEAST if shown[-1:] == [finding] else 0
        each = max(0, left) // max(1, len(shown))
        lines = plan["lines"] if plan else []
        for finding in shown:
            instead = replacements if finding["rule"] == UNSTABLE_ABI else None
            self._finding(finding, each, instead, helped=finding["fix_line"] in lines)
        self._folded(folded, shown)

    def _folded(self, folded: Sequence[FindingDocument], shown: Sequence[FindingDocument]) -> None:
        """Print the names of findings that are not shown: by severity, or where checks decide."""
        if any(finding["severity"] == Severity.ERROR for finding in folded):
            self._names(folded, "other finding", _SEVERITY_STYLES[Severity.NOTE])
            return
        for severity in (Severity.WARNING, Severity.NOTE):
            found = [finding for finding in folded if finding["severity"] == severity]
            more = "more " if any(f["severity"] == severity for f in shown) else ""
            self._names(found, f"{more}{severity}", _SEVERITY_STYLES[severity])

    def _names(self, findings: Sequence[FindingDocument], noun: str, style: str) -> None:
        """Print how many findings there are, and the names of their rules."""
        if findings:
            said = count(len(findings), noun)
            names = ", ".join(dict.fromkeys(finding["rule"] for finding in findings))
            self._out.line()
            self._out.prose(f"{said}: {names} (-v)", head=len(said), style=style, indent=2)

    @property
    def _grave(self) -> frozenset[Severity]:
        return Policy(strict=self._head["options"]["strict"]).failing

    def _finding(
        self,
        finding: FindingDocument,
        room: int,
        replacements: ReplacementsDocument | None = None,
        *,
        helped: bool,
    ) -> None:
        """Print a finding: its libraries and its evidence as far as there is room."""
        label = f"{finding['severity']}[{finding['rule']}]"
        self._out.line()
        self._out.prose(
            f"{label}: {finding['message']}",
            head=len(label),
            style=_SEVERITY_STYLES[Severity(finding["severity"])],
            indent=2,
        )
        verbose = self._style.verbose
        paths = summary.library_lines(finding)
        found = summary.evidence(finding)
        shown = paths if verbose else paths[: _shown(len(paths), room)]
        for place, path in enumerate(shown):
            more = f" and {len(paths) - len(shown)} more" if place == len(shown) - 1 else ""
            self._out.line(
                f"  --> {path}{more if len(shown) < len(paths) else ''}",
                head=5,
                style="bright_blue",
            )
        room -= len(shown) - 1
        if verbose and replacements is not None:
            self._replacements(found, replacements)
        else:
            self._evidence(found if verbose else found[: max(0, min(room, _SHOWN))], len(found))
        if finding["fix"] and not helped:
            self._out.prose(f"   = help: {finding['fix']}", head=10, style="bold green", indent=11)

    def _replacements(
        self, found: Sequence[EvidenceDocument], replacements: ReplacementsDocument
    ) -> None:
        """Print symbols by what the stable ABI has instead of them."""
        for heading, items in by_replacement(found, replacements):
            self._out.prose(f"   = {heading}", head=4, style="bright_blue", indent=5)
            self._evidence(items, len(items))
        self._out.prose(f"   = {replaceable(replacements)}", head=4, style="bright_blue", indent=5)

    def _evidence(self, shown: Sequence[EvidenceDocument], total: int) -> None:
        for number, item in enumerate(shown, 1):
            more = f" ... {total - number} more (-v)" if number == len(shown) < total else ""
            for place, text in enumerate(summary.evidence_lines(item)):
                if place and not self._style.verbose:
                    break  # the mangled name
                line = f"   | {'  ' if place else ''}{text}{more}"
                self._out.line(line, head=4, style="bright_blue")

    def _ignored(self, ignored: Sequence[IgnoredDocument]) -> None:
        """Print what the user ignores, each with the reason."""
        for item in ignored if not self._style.quiet else ():
            where = f" in {', '.join(item['libraries'][:1])}" if item["libraries"] else ""
            self._out.line()
            self._out.prose(
                f"ignored[{item['rule']}]{where}: {item['ignore']['reason']}",
                head=len(f"ignored[{item['rule']}]"),
                style="bold",
                indent=2,
            )

    def _coverage(self, release: ProjectReleaseDocument) -> None:
        """Print what the wheels of a release cover."""
        self._out.line()
        wheels = count(len(release["wheels"]), "wheel")
        self._out.line(f"{release['name']} {release['version']}: {wheels}", style="bold")
        for line in _aligned(summary.coverage(release, self._known)):
            self._out.line(f"  {line}")

    def _table(self, conclusion: str) -> None:
        """Print one line a target, and what to change first about it.

        Args:
            conclusion: The sentence that follows; a fix that it has is not told for each.
        """
        head = ("verdict", "torch", "python", "errors", "warnings", "target")
        words = [row[0] for row in self._rows]
        styles = ["dim", *map(_word_style, words)]
        widest = max(len(item) for item in (head[0], *words))
        self._out.line()
        lines = _aligned([head, *self._rows])
        for line, style, fix in zip(lines, styles, ["", *self._fixes], strict=True):
            self._out.line(line, head=widest, style=style)
            if fix and f"fix for each: {fix}" not in conclusion:
                indent = widest + 2
                self._out.prose(f"{' ' * indent}= fix: {fix}", indent=indent + 7)


def _shown(libraries: int, room: int) -> int:
    """Return how many libraries of a finding to show where there is room for more lines."""
    return min(libraries, _SHOWN, 1 + max(0, room) // 2)


class EnvironmentWriter:
    """Prints a row for each package of an environment, those that do not load first."""

    def __init__(self, printer: Printer, environment: EnvironmentDocument, style: Style) -> None:
        self._out = printer
        self._environment = environment
        self._everything = style.everything or style.verbose
        self._quiet = style.quiet
        self._users: list[_Row] = []
        self._others: list[_Row] = []

    def add(self, target: TargetDocument) -> None:
        """Take the next package."""
        here, failed = target["here"], target["error"] is not None
        status = "-"
        if failed:
            status = "not audited"
        elif here is not None:
            changed = here["layout"] == LayoutStatus.CHANGED
            status = summary.LEGEND[
                summary.Mark.CHANGED if changed else summary.Mark(here["status"])
            ]
        cells = (
            plain_text(target["target"]),
            target["version"] or "-",
            str(len({item["path"] for item in summary.readable(target)})),
            summary.torch_in_short(target),
            summary.python_in_short(target),
            status,
        )
        remedy = here["remedy"] if here else None
        why, command = (remedy["why"], remedy["command"]) if remedy else ("", None)
        if failed:
            why = f"{target['target']} could not be audited: {target['error']}"
        row = _Row(failed or why != "", cells, plain_text(why), plain_text(command or ""))
        # Torch itself is what they are checked against.
        uses = bool(target["torch"]["releases"]) and target["name"] != "torch"
        if uses or failed:
            self._users.append(row)
        elif target["name"] != "torch":
            self._others.append(row)

    def finish(self, tail: TailDocument) -> None:
        """Print the rows, why packages do not load with what to run, and the conclusion."""
        conclusion = tail["conclusion"]
        users = sorted(self._users, key=lambda row: not row.broken)
        if not self._quiet:
            self._table(users)
        elif conclusion["exit_code"] == 0:
            return
        # Those for one package may undo each other.
        several = len({row.command for row in users if row.command}) > 1
        label = "fix for this package alone" if several else "fix"
        for row in users:
            if row.why:
                self._out.line()
                self._out.prose(row.why, style="red", indent=2)
            if row.command:
                head = f"   = {label}:"
                self._out.line(f"{head} {row.command}", head=len(head), style="bold green")
        self._out.line()
        word, why = conclusion["word"], conclusion["why"]
        style = "bold green" if word in summary.GOOD_WORDS else "bold red"
        self._out.prose(f"{word}: {why}", head=len(word), style=style)

    def _table(self, users: Sequence[_Row]) -> None:
        """Print where packages were found, and a row for each that uses torch."""
        torch = self._environment["torch"]
        said = f"torch {torch}" if torch else "no torch"
        self._out.line(f"{said} in {', '.join(self._environment['site_packages'])}", style="bold")
        head = ("package", "version", "libraries", "torch", "python", "loads here")
        rows = [*users, *(self._others if self._everything else ())]
        if rows:
            heading, *lines = _aligned([head, *(row.cells for row in rows)])
            self._out.line()
            self._out.line(heading, style="dim")
            for line in lines:
                self._out.line(line)
        if self._others and not self._everything:
            more = count(len(self._others), "other package")
            verb = "does" if len(self._others) == 1 else "do"
            self._out.line(f"and {more} that {verb} not use torch (--all)", style="dim")


class _Row(NamedTuple):
    """A package in the table: whether something is wrong, its cells, why, and what to run."""

    broken: bool
    cells: tuple[str, ...]
    why: str
    command: str


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lay rows out in columns, each as wide as its widest cell."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]

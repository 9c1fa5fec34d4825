"""Findings: which rules apply to a target, and which of them the user ignores."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit.wording import fill

if TYPE_CHECKING:
    from collections.abc import Iterable

    from packaging.version import Version

    from torch_abi_audit.model.plan import MetadataChange


class Severity(StrEnum):
    """How severe a finding is: an error makes a target unsafe."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


def gravest_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings by severity; within a severity their order is kept."""
    order = list(Severity)
    return tuple(sorted(findings, key=lambda finding: order.index(finding.severity)))


class EvidenceKind(StrEnum):
    """The kind of thing that a piece of evidence names."""

    SYMBOL = "symbol"
    LIBRARY = "library"
    SYMBOL_VERSION = "symbol-version"
    MINOS = "minos"
    REQUIREMENT = "requirement"
    TAG = "tag"
    FILE = "file"
    PATH = "path"
    METADATA = "metadata"
    IGNORE = "ignore"
    LAYOUT = "layout"


class Evidence(NamedTuple):
    """One thing that shows that a rule applies.

    Attributes:
        kind: What `name` names.
        name: A symbol as the object format spells it, a needed library, a tag, ...
        library: The library of the target that it was found in, if a finding is about
            several and they differ.
        detail: What is wrong with it, if the finding does not say everything.
        declaration: The C++ declaration of a symbol, if it has one.
    """

    kind: EvidenceKind
    name: str
    library: str | None = None
    detail: str = ""
    declaration: str | None = None

    def __str__(self) -> str:
        name = f"minos {self.name}" if self.kind == EvidenceKind.MINOS else self.name
        told = self.kind in (EvidenceKind.SYMBOL, EvidenceKind.LIBRARY)  # in the message
        return ": ".join(filter(None, (self.library, name, "" if told else self.detail)))


class Fix(NamedTuple):
    """What to change about a finding.

    Attributes:
        text: The fix in words.
        change: The metadata change after which the rule no longer applies, if there is one.
        choices: Several such changes, of which only the author can tell which is right.
    """

    text: str
    change: MetadataChange | None = None
    choices: tuple[MetadataChange, ...] = ()

    @property
    def line(self) -> str | None:
        """The line of `pyproject.toml` to paste."""
        return next(iter(self.change.lines), None) if self.change else None


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule that applies to a target.

    Attributes:
        rule: The rule's name.
        severity: How severe it is.
        template: What is wrong, in one sentence, without its numbers; see `wording.fill`.
        libraries: The members that it is about; none if it is about the target itself.
        evidence: What shows it.
        fix: What to change.
        counts: Whether it is more than an aside: an error or a warning or, if only checks
            decide, the subject of one of them.
    """

    rule: str
    severity: Severity
    template: str
    libraries: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    fix: Fix | None = None
    counts: bool = True

    @property
    def message(self) -> str:
        """What is wrong, in one sentence."""
        return fill(self.template, self.evidence, self.libraries)

    @property
    def library(self) -> str | None:
        """The member that it is about, if there is just one."""
        return self.libraries[0] if len(self.libraries) == 1 else None


class Ignore(NamedTuple):
    """A finding that the user ignores.

    Attributes:
        rule: The rule's name.
        reason: Why it is ignored.
        library: A shell pattern for paths: if a finding is about several libraries, only those
            that match are ignored. Without a pattern every finding of the rule is ignored.
        until_torch: The torch release with which it expires: once the catalog has that.
        migrating: Whether it marks a library whose move to the stable ABI is in progress.
        symbol: A pattern for symbols, declared or mangled; without one all are ignored.
            The rest of a finding remains a finding.
    """

    rule: str
    reason: str
    library: str | None = None
    until_torch: Version | None = None
    migrating: bool = False
    symbol: str | None = None

    @property
    def pattern(self) -> str:
        """Which of the rule's findings it matches, in the syntax of options; empty for all."""
        symbol = None if self.symbol is None else f"symbol={self.symbol}"
        return ":".join(filter(None, (self.library, symbol)))

    def __str__(self) -> str:
        return ":".join(filter(None, (self.rule, self.pattern)))


class Ignored(NamedTuple):
    """A finding that is ignored, and what ignores it."""

    finding: Finding
    ignore: Ignore


class IgnoreUse(NamedTuple):
    """The effect of an `Ignore` in a run.

    Attributes:
        ignore: The ignore.
        matched: How many findings it matched.
        present: Whether any target has a library that it names.
        expired: Whether it has expired.
        unneeded: The libraries that it names but for which there is nothing to ignore.
    """

    ignore: Ignore
    matched: int
    present: bool
    expired: bool
    unneeded: tuple[str, ...] = ()

"""Findings: which rules hold for a target, and which of them the user ignores."""

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
    """How much a finding weighs: an error makes a target unsafe."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


def gravest_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings by severity, and within one in the order that they have."""
    order = list(Severity)
    return tuple(sorted(findings, key=lambda finding: order.index(finding.severity)))


class EvidenceKind(StrEnum):
    """What a piece of evidence is the name of."""

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
    """One thing that shows that a rule holds.

    Attributes:
        kind: What `name` names.
        name: A symbol as the object format spells it, a needed library, a tag, ...
        library: The library of the target that it was found in, where a finding is about
            several and they differ.
        detail: What is wrong with it, where the finding does not say it all.
        declaration: The C++ declaration of a symbol, where it has one.
    """

    kind: EvidenceKind
    name: str
    library: str | None = None
    detail: str = ""
    declaration: str | None = None

    def __str__(self) -> str:
        name = f"minos {self.name}" if self.kind == EvidenceKind.MINOS else self.name
        told = self.kind in (EvidenceKind.SYMBOL, EvidenceKind.LIBRARY)  # by the message
        return ": ".join(filter(None, (self.library, name, "" if told else self.detail)))


class Fix(NamedTuple):
    """What to change about a finding.

    Attributes:
        text: In words.
        change: The change of metadata after which the rule no longer applies, where one does it.
        choices: Several of which one does it: only the author can tell which is right.
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
    """One rule that holds for a target.

    Attributes:
        rule: The rule's name.
        severity: How much it weighs.
        template: What is wrong, in one sentence, without its numbers; see `wording.fill`.
        libraries: The members that it is about; none for the target as such.
        evidence: What shows it.
        fix: What to change.
        counts: Whether it is more than an aside: an error or a warning, or where checks decide
            alone, what one of them is about.
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
        """The member that it is about, where it is one."""
        return self.libraries[0] if len(self.libraries) == 1 else None


class Ignore(NamedTuple):
    """A finding that the user ignores.

    Attributes:
        rule: The rule's name.
        reason: Why it is ignored.
        library: A shell pattern of paths: of a finding about several libraries only those that
            match are ignored. Without one every finding of the rule is ignored.
        until_torch: The release of torch with which it expires: once the catalog has it.
        migrating: It says that a library is still to be moved to the stable ABI.
        symbol: A pattern of symbols, as they are declared or mangled; without one all are
            ignored. What it leaves of a finding stays one.
    """

    rule: str
    reason: str
    library: str | None = None
    until_torch: Version | None = None
    migrating: bool = False
    symbol: str | None = None

    @property
    def pattern(self) -> str:
        """What it matches of the findings of its rule, as options have it; empty for all."""
        symbol = None if self.symbol is None else f"symbol={self.symbol}"
        return ":".join(filter(None, (self.library, symbol)))

    def __str__(self) -> str:
        return ":".join(filter(None, (self.rule, self.pattern)))


class Ignored(NamedTuple):
    """A finding that is ignored, and what ignores it."""

    finding: Finding
    ignore: Ignore


class IgnoreUse(NamedTuple):
    """What came of an `Ignore` in a run.

    Attributes:
        ignore: What was to be ignored.
        matched: How many findings were.
        present: Whether any target has a library that it names.
        expired: Whether its time is over.
        unneeded: The libraries that it names, and of which there is nothing to ignore.
    """

    ignore: Ignore
    matched: int
    present: bool
    expired: bool
    unneeded: tuple[str, ...] = ()

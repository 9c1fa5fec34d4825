"""Findings: which rules hold for a target, and which of them the user ignores."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from packaging.version import Version


class Severity(StrEnum):
    """How much a finding weighs: an error makes a target unsafe."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


def failing(*, strict: bool) -> frozenset[Severity]:
    """Return the severities that make a target, or a run, fail."""
    return frozenset({Severity.ERROR, Severity.WARNING} if strict else {Severity.ERROR})


def gravest_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings by severity, and within one in the order that they have."""
    order = list(Severity)
    return tuple(sorted(findings, key=lambda finding: order.index(finding.severity)))


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule that holds for a target.

    Attributes:
        rule: The rule's name.
        severity: How much it weighs.
        message: What is wrong, in one sentence.
        libraries: The members that it is about; none for the target as such.
        evidence: The symbols, names or tags that show it.
        help: What to change.
    """

    rule: str
    severity: Severity
    message: str
    libraries: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    help: str = ""

    @property
    def library(self) -> str | None:
        """The member that it is about, where it is one."""
        return self.libraries[0] if len(self.libraries) == 1 else None


class Ignore(NamedTuple):
    """A finding that the user accepts.

    Attributes:
        rule: The rule's name.
        reason: Why it is accepted.
        library: A pattern of paths as a shell writes it; without one every finding of the
            rule is accepted.
        until_torch: The release of torch with which it expires: once the catalog has it.
        migrating: It says that a library is still to be moved to the stable ABI.
    """

    rule: str
    reason: str
    library: str | None = None
    until_torch: Version | None = None
    migrating: bool = False

    def __str__(self) -> str:
        return self.rule if self.library is None else f"{self.rule}:{self.library}"


class Ignored(NamedTuple):
    """A finding that is accepted, and what accepts it."""

    finding: Finding
    ignore: Ignore


class IgnoreUse(NamedTuple):
    """What came of an `Ignore` in a run.

    Attributes:
        ignore: What was to be accepted.
        matched: How many findings were.
        present: Whether any target has a library that it names.
        expired: Whether its time is over.
    """

    ignore: Ignore
    matched: int
    present: bool
    expired: bool

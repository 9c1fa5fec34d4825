"""The policy of a run: what passes, what fails, with which exit code and closing sentence.

It is made of the options and the configuration, once. Nothing else decides any of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from torch_abi_audit.model import (
    Check,
    Conclusion,
    PythonAbi,
    Severity,
    TargetKind,
    TorchAbi,
    Verdict,
    gravest_first,
)
from torch_abi_audit.rules import UNSTABLE_ABI
from torch_abi_audit.wording import count, last_part

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch_abi_audit.model import Finding, Subject

EXIT_SAFE: Final = 0
EXIT_UNSAFE: Final = 1
EXIT_ERROR: Final = 2
_NAMED = 3  # targets in the closing sentence


class Outcome(NamedTuple):
    """What is kept of a target to conclude the run."""

    target: str
    kind: TargetKind
    verdict: Verdict
    fails: bool


@dataclass(frozen=True, slots=True)
class Policy:
    """What passes and what fails.

    Attributes:
        check: What alone decides, instead of all that makes a wheel unsafe.
        strict: Whether warnings fail too, and targets that are no wheels.
        require_stable: Whether the unstable ABI fails even where the metadata allows for it.
    """

    check: Check | None = None
    strict: bool = False
    require_stable: bool = False

    @property
    def failing(self) -> frozenset[Severity]:
        """The severities that make a target unsafe."""
        return frozenset({Severity.ERROR, *([Severity.WARNING] if self.strict else [])})

    def weigh(self, findings: Sequence[Finding]) -> tuple[Finding, ...]:
        """Return findings with the severity that they have here, the gravest first."""
        if not self.require_stable:
            return tuple(findings)
        return gravest_first(
            replace(item, severity=Severity.ERROR) if item.rule == UNSTABLE_ABI else item
            for item in findings
        )

    def verdict(self, subject: Subject, findings: Iterable[Finding]) -> Verdict:
        """Return the verdict for a target that could be opened, from what is not ignored."""
        if subject.unreadable:
            return Verdict.ERROR
        if any(finding.severity in self.failing for finding in findings):
            return Verdict.UNSAFE
        if subject.torch_abi is TorchAbi.UNSTABLE:
            return Verdict.PINNED
        used = any(item.torch.needs_torch for item in subject.libraries)
        return Verdict.SAFE if used else Verdict.NOT_APPLICABLE

    def fails(
        self, kind: TargetKind, verdict: Verdict, subject: Subject, findings: Iterable[Finding]
    ) -> bool:
        """Whether a target makes the run fail.

        What could not be audited always does. Otherwise a wheel that is unsafe, or what
        `check` names; nothing but wheels fails by default.
        """
        if verdict is Verdict.ERROR:
            return True
        # Not what is ignored: libraries that are still to be moved, for example.
        torch = any(finding.rule == UNSTABLE_ABI for finding in findings)
        abi3 = subject.python_abi is PythonAbi.VERSION_SPECIFIC
        match self.check:
            case Check.TORCH:
                return torch
            case Check.ABI3:
                return abi3
            case Check.BOTH:
                return torch or abi3
            case None:
                asked = kind is TargetKind.WHEEL or self.strict
                return asked and verdict is Verdict.UNSAFE

    def fails_together(self, findings: Iterable[Finding]) -> bool:
        """Whether what holds for all targets together fails the run.

        Checks of one thing leave it out.
        """
        return self.check is None and any(finding.severity in self.failing for finding in findings)

    def conclude(self, outcomes: Sequence[Outcome], together: Sequence[Finding]) -> Conclusion:
        """Return what a run comes to.

        Args:
            outcomes: The targets.
            together: The findings about all of them together that are not ignored.
        """
        if not outcomes:
            return Conclusion("error", "nothing was audited", EXIT_ERROR)
        total = len(outcomes)
        wheels = all(item.kind is TargetKind.WHEEL for item in outcomes)
        noun = "wheel" if wheels else "target"
        of_all = f"of {count(total, noun)}"
        unread = [item for item in outcomes if item.verdict is Verdict.ERROR]
        failed = [item for item in outcomes if item.fails and item not in unread]
        bad = failed
        if self.check is None:
            bad = [item for item in outcomes if item.verdict is Verdict.UNSAFE]
        parts = []
        if bad:
            parts.append(f"{self._fault(wheels=wheels)} {len(bad)} {of_all}{_named(bad)}")
        if unread:
            parts.append(f"{len(unread)} {of_all} could not be audited{_named(unread)}")
        fails_together = self.fails_together(together)
        exit_code: Literal[0, 1, 2] = EXIT_UNSAFE if failed or fails_together else EXIT_SAFE
        if unread:
            exit_code = EXIT_ERROR
        if not parts and fails_together:
            grave = [item.rule for item in together if item.severity is not Severity.NOTE]
            rules = ", ".join(dict.fromkeys(grave))
            why = f"each {noun} passes, but together they do not: {rules}"
            return Conclusion("unsafe", why, exit_code)
        by_check = f"--check {self.check}: " if self.check is not None else ""
        if parts:
            word: Literal["error", "unsafe", "failed"]
            word = "error" if unread else "unsafe" if self.check is None else "failed"
            return Conclusion(word, by_check + "; ".join(parts), exit_code)
        if self.check is not None:
            said = f"all {count(total, noun)}" if total > 1 else count(total, noun)
            return Conclusion("passed", f"{by_check}{said}", exit_code)
        return _passed(outcomes, noun, wheels=wheels)

    def _fault(self, *, wheels: bool) -> str:
        """Say what is wrong with the targets that fail."""
        match self.check:
            case None:
                return "do not publish" if wheels else "problems in"
            case Check.TORCH:
                return "unstable torch ABI in"
            case Check.ABI3:
                return "tied to one Python:"
            case Check.BOTH:
                return "unstable torch ABI, or tied to one Python:"


def _passed(outcomes: Sequence[Outcome], noun: str, *, wheels: bool) -> Conclusion:
    """Return what a run comes to in which all targets pass."""
    total = len(outcomes)
    pinned = sum(item.verdict is Verdict.PINNED for item in outcomes)
    said = f"all {count(total, noun)}" if total > 1 else count(total, noun)
    said = f"{said} may be published" if wheels else said
    word: Literal["safe", "pinned"] = "pinned" if pinned else "safe"
    if pinned:
        each = "each for one torch release" if pinned > 1 else "for one torch release"
        said += f", {each}" if pinned == total else f", {pinned} of them for one torch release"
    return Conclusion(word, said, EXIT_SAFE)


def _named(outcomes: Sequence[Outcome]) -> str:
    """Name targets, where they are few."""
    if len(outcomes) > _NAMED:
        return ""
    return f" ({', '.join(last_part(item.target) for item in outcomes)})"

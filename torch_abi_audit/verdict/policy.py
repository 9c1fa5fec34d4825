"""The policy of a run: what passes, what fails, with which exit code and closing sentence.

It is created once, from the options and the configuration; nothing else decides any of this.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from torch_abi_audit.model import (
    Check,
    CheckResult,
    Conclusion,
    PythonAbi,
    Severity,
    TargetKind,
    TorchAbi,
    Verdict,
    gravest_first,
)
from torch_abi_audit.rules import STALE_IGNORE, TORCH_UNUSED, UNSTABLE_ABI
from torch_abi_audit.wording import count, does, last_part, unique

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch_abi_audit.model import Finding, StrictIgnores, Subject

EXIT_SAFE: Final = 0
EXIT_UNSAFE: Final = 1
EXIT_ERROR: Final = 2
_NAMED = 3  # targets in the closing sentence


class Outcome(NamedTuple):
    """The facts of a target that are kept for the result of the run.

    Attributes:
        target: What the user named.
        kind: What it is.
        verdict: The verdict.
        fails: Whether it makes the run fail.
        why: Why it is unsafe.
        fix: The lines of its proven fix.
        unused: Whether it does not use torch although required to.
        broken: Whether it is a package that does not fit the installed torch.
    """

    target: str
    kind: TargetKind
    verdict: Verdict
    fails: bool
    why: str | None = None
    fix: tuple[str, ...] = ()
    unused: bool = False
    broken: bool = False


# The rules that each check is about: only they decide whether a target fails.
_RULES_OF = {
    Check.TORCH: frozenset({UNSTABLE_ABI}),
    Check.ABI3: frozenset(
        {"abi3-violation", "python-api-in-none-wheel", "versioned-python-library"}
    ),
}


def _result(check: Check, subject: Subject, findings: Iterable[Finding]) -> CheckResult:
    if check is Check.TORCH:
        # Without ignored findings: libraries still to be migrated, for example.
        found = [finding for finding in findings if finding.rule == UNSTABLE_ABI]
        symbols = sum(len(finding.evidence) for finding in found)
        paths = unique(path for finding in found for path in finding.libraries)
        return CheckResult(check, not found, paths, symbols)
    bound = [i for i in subject.libraries if i.python.abi is PythonAbi.VERSION_SPECIFIC]
    return CheckResult(check, not bound, unique(item.path for item in bound))


@dataclass(frozen=True, slots=True)
class Policy:
    """What passes and what fails.

    Attributes:
        checks: The checks that alone decide, instead of all that makes a wheel unsafe.
        strict: Whether warnings fail too, and targets that are not wheels.
        require_stable: Whether the unstable ABI fails even if the metadata allows for it.
        strict_ignores: Which ignores fail the run, whatever is checked.
    """

    checks: tuple[Check, ...] = ()
    strict: bool = False
    require_stable: bool = False
    strict_ignores: StrictIgnores | None = None

    @property
    def failing(self) -> frozenset[Severity]:
        """The severities that make a target unsafe."""
        return frozenset({Severity.ERROR, *([Severity.WARNING] if self.strict else [])})

    def weigh(self, findings: Sequence[Finding]) -> tuple[Finding, ...]:
        """Return findings with their severity under this policy, the most severe first."""
        if self.require_stable:
            findings = [
                replace(item, severity=Severity.ERROR) if item.rule == UNSTABLE_ABI else item
                for item in findings
            ]
        return gravest_first(replace(item, counts=self._counts(item)) for item in findings)

    def _counts(self, finding: Finding) -> bool:
        """Whether a finding is more than an aside."""
        grave = finding.severity is not Severity.NOTE
        if not self.checks or finding.rule == TORCH_UNUSED:
            return grave
        if finding.rule == STALE_IGNORE:
            return grave and self.strict_ignores is not None
        return any(finding.rule in _RULES_OF[check] for check in self.checks)

    def results(self, subject: Subject, findings: Iterable[Finding]) -> tuple[CheckResult, ...]:
        """Return the result of each check, from the findings that are not ignored."""
        return tuple(_result(check, subject, findings) for check in self.checks)

    def verdict(self, subject: Subject, findings: Iterable[Finding]) -> Verdict:
        """Return the verdict for an opened target, from the findings that are not ignored."""
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

        A target that could not be audited always does. Otherwise an unsafe wheel does, or
        whatever `check` names; by default only wheels can fail.
        """
        findings = tuple(findings)
        if verdict is Verdict.ERROR or any(item.rule == TORCH_UNUSED for item in findings):
            return True
        if self.checks:
            return not all(result.passed for result in self.results(subject, findings))
        return (kind is TargetKind.WHEEL or self.strict) and verdict is Verdict.UNSAFE

    def fails_together(self, findings: Iterable[Finding]) -> bool:
        """Whether the findings about all targets together fail the run.

        With `check` they are left out, except for ignores that must not be stale.
        """
        return any(finding.severity in self.failing for finding in self._together(findings))

    def _together(self, findings: Iterable[Finding]) -> list[Finding]:
        """Return the findings about all targets together that count."""
        stale = self.strict_ignores is not None
        return [
            item for item in findings if not self.checks or (stale and item.rule == STALE_IGNORE)
        ]

    def conclude(self, outcomes: Sequence[Outcome], together: Sequence[Finding]) -> Conclusion:
        """Return the result of a run.

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
        bad, broken = failed, list[Outcome]()
        if not self.checks:
            # What a package comes to is whether it works where it is installed.
            broken = [item for item in outcomes if item.broken and not item.fails]
            unsafe = [item for item in outcomes if item.verdict is Verdict.UNSAFE]
            bad = [item for item in unsafe if item not in broken]
        parts = []
        if bad:
            parts += self._faults(bad, of_all, wheels=wheels)
        if broken:
            verb = "does" if len(broken) == 1 else "do"
            parts.append(
                f"{len(broken)} {of_all} {verb} not fit the installed torch{_named(broken)}"
            )
        if unread:
            parts.append(f"{len(unread)} {of_all} could not be audited{_named(unread)}")
        fails_together = self.fails_together(together)
        exit_code: Literal[0, 1, 2] = EXIT_UNSAFE if failed or fails_together else EXIT_SAFE
        if unread:
            exit_code = EXIT_ERROR
        if not parts and fails_together:
            return self._failed_together(noun, together)
        by_check = f"--check {','.join(self.checks)}: " if self.checks else ""
        if parts:
            word: Literal["error", "unsafe", "failed", "broken"]
            word = "error" if unread else "failed" if self.checks else "unsafe"
            word = "broken" if word == "unsafe" and not bad else word
            return Conclusion(word, by_check + "; ".join(parts), exit_code)
        if self.checks:
            said = f"all {count(total, noun)}" if total > 1 else count(total, noun)
            return Conclusion("passed", f"{by_check}{said}", exit_code)
        return _passed(outcomes, noun, wheels=wheels)

    def _failed_together(self, noun: str, together: Sequence[Finding]) -> Conclusion:
        """Return the result of a run that fails only for findings about all targets together."""
        counted = self._together(together)
        failing = [item.rule for item in counted if item.severity in self.failing]
        if self.strict_ignores is not None and set(failing) == {STALE_IGNORE}:
            said = f"each {noun} passes, but {does(len(failing), 'stale ignore', 'remain')}"
            return Conclusion("failed", said, EXIT_UNSAFE)
        grave = [item.rule for item in counted if item.severity is not Severity.NOTE]
        rules = ", ".join(dict.fromkeys(grave))
        why = f"each {noun} passes, but together they do not: {rules}"
        return Conclusion("unsafe", why, EXIT_UNSAFE)

    def _faults(self, bad: Sequence[Outcome], of_all: str, *, wheels: bool) -> list[str]:
        """Say what is wrong with the targets that fail, and with how many of them."""
        if not self.checks:
            return [f"{self._fault(wheels=wheels)} {len(bad)} {of_all}{_named(bad)}{_shared(bad)}"]
        # Targets that do not use torch pass the check but fail for that reason.
        unused = [item for item in bad if item.unused]
        rest = [item for item in bad if not item.unused]
        parts = []
        if rest:
            parts.append(f"{self._fault(wheels=wheels)} {len(rest)} {of_all}{_named(rest)}")
        if unused:
            parts.append(f"torch is not used in {len(unused)} {of_all}{_named(unused)}")
        return parts

    def _fault(self, *, wheels: bool) -> str:
        """Say what is wrong with the targets that fail."""
        match sorted(self.checks):
            case []:
                return "do not publish" if wheels else "problems in"
            case [Check.TORCH]:
                return "unstable torch ABI in"
            case [Check.ABI3]:
                return "tied to one Python:"
            case _:
                return "unstable torch ABI, or tied to one Python:"


def _passed(outcomes: Sequence[Outcome], noun: str, *, wheels: bool) -> Conclusion:
    """Return the result of a run in which all targets pass."""
    total = len(outcomes)
    pinned = sum(item.verdict is Verdict.PINNED for item in outcomes)
    said = f"all {count(total, noun)}" if total > 1 else count(total, noun)
    said = f"{said} may be published" if wheels else said
    word: Literal["safe", "pinned"] = "pinned" if pinned else "safe"
    if pinned:
        each = "each for one torch release" if pinned > 1 else "for one torch release"
        said += f", {each}" if pinned == total else f", {pinned} of them for one torch release"
    return Conclusion(word, said, EXIT_SAFE)


def _shared(outcomes: Sequence[Outcome]) -> str:
    """Say why targets are unsafe, and what to change, if that is the same for all of several."""
    first = outcomes[0]
    if len(outcomes) == 1 or first.why is None:
        return ""
    why = f": {first.why}" if all(item.why == first.why for item in outcomes) else ""
    same_fix = first.fix and all(item.fix == first.fix for item in outcomes)
    return why + (f"; fix for each: {', '.join(first.fix)}" if same_fix else "")


def _named(outcomes: Sequence[Outcome]) -> str:
    """Name the targets if they are few."""
    if len(outcomes) > _NAMED:
        return ""
    return f" ({', '.join(last_part(item.target) for item in outcomes)})"

"""Reports: the conclusions about each target, and about all of them together."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, NamedTuple

from torch_abi_audit.model.claims import TargetKind
from torch_abi_audit.model.classification import Matrix, PythonAbi

if TYPE_CHECKING:
    from collections.abc import Mapping

    from packaging.version import Version

    from torch_abi_audit.model.baseline import Comparison
    from torch_abi_audit.model.claims import Claims, Interpreter, PythonVersion
    from torch_abi_audit.model.classification import Cell, LibraryAudit, Subject
    from torch_abi_audit.model.facts import Member
    from torch_abi_audit.model.findings import Finding, Ignored, IgnoreUse
    from torch_abi_audit.model.plan import Plan


class Verdict(StrEnum):
    """The answer for one target.

    `SAFE`: on the stable ABI with correct metadata, so it can be published for many torch
    releases. `PINNED`: on the unstable ABI, for the minor release that it was built for.
    """

    SAFE = "safe"
    PINNED = "pinned"
    UNSAFE = "unsafe"
    NOT_APPLICABLE = "not-applicable"
    ERROR = "error"


PASSING = frozenset({Verdict.SAFE, Verdict.PINNED, Verdict.NOT_APPLICABLE})


class Check(StrEnum):
    """A check that alone decides whether a run fails, instead of all that makes a wheel unsafe."""

    TORCH = "torch"
    ABI3 = "abi3"


class CheckResult(NamedTuple):
    """The result of one check.

    Attributes:
        check: The check.
        passed: Whether all libraries pass it.
        libraries: Those that do not pass it.
        symbols: How many symbols keep them from passing, counted per library.
    """

    check: Check
    passed: bool
    libraries: tuple[str, ...] = ()
    symbols: int = 0


@dataclass(frozen=True, slots=True)
class Environment:
    """Where packages are installed.

    Attributes:
        folders: The site-packages folders.
        torch: The torch that is installed in them.
        version: Its version as given in its metadata, with the local part.
        releases: The releases in the catalog, oldest first.
        error: Why the installed torch can't be read, if it can't.
    """

    folders: tuple[str, ...]
    torch: Version | None
    releases: tuple[Version, ...] = ()
    error: str | None = None
    version: Version | None = None


class Remedy(NamedTuple):
    """What a user can do about a package that does not match the installed torch.

    Attributes:
        why: What is wrong, in one sentence.
        command: The command to run; None if nothing known helps.
    """

    why: str
    command: str | None = None


class Here(NamedTuple):
    """A package checked against the torch that is installed alongside it.

    Attributes:
        torch: The release of that torch.
        cell: Whether the package loads on it.
        remedy: What to do if it does not, or if class layouts changed.
    """

    torch: Version
    cell: Cell
    remedy: Remedy | None = None


class MigrationProgress(NamedTuple):
    """How far a target's migration to the stable ABI has got, in libraries that use torch."""

    stable: int
    unstable: int


@dataclass(frozen=True, slots=True)
class TargetReport:
    """The conclusions for one target.

    Attributes:
        target: What the user named.
        verdict: The answer.
        summary: The reasons for it, in one sentence.
        kind: What the target is.
        subject: What the conclusions are about; None if the target could not be opened.
        findings: The rules that apply.
        ignored: Findings that the user ignores; they do not affect the verdict.
        asked: The torch releases that it was checked against.
        fails: Whether it makes a run fail.
        checks: The result of each requested check.
        plan: What to change about a wheel that does not pass; None if it does.
        baseline: What has changed since the baseline, if the project is in it.
        here: Whether a package that uses torch loads on the torch installed alongside it.
        notice: What the user should know about how the target was found.
        error: Why the target, or a member of it, could not be read.
    """

    target: str
    verdict: Verdict
    summary: str
    kind: TargetKind = TargetKind.WHEEL
    subject: Subject | None = None
    findings: tuple[Finding, ...] = ()
    ignored: tuple[Ignored, ...] = ()
    asked: tuple[Version, ...] = ()
    fails: bool = False
    checks: tuple[CheckResult, ...] = ()
    plan: Plan | None = None
    baseline: Comparison | None = None
    here: Here | None = None
    notice: str | None = None
    error: str | None = None

    @property
    def claims(self) -> Claims | None:
        """What its metadata claims."""
        return self.subject.claims if self.subject else None

    @property
    def libraries(self) -> tuple[LibraryAudit, ...]:
        """Its libraries."""
        return self.subject.libraries if self.subject else ()

    @property
    def unreadable(self) -> tuple[Member, ...]:
        """Members that should be libraries but could not be read."""
        return self.subject.unreadable if self.subject else ()

    @property
    def matrix(self) -> Matrix:
        """Which torch releases it loads on."""
        return self.subject.matrix if self.subject else Matrix()

    @property
    def safe(self) -> bool:
        """Whether nothing was found that argues against publishing the target."""
        return self.verdict in PASSING


class Conclusion(NamedTuple):
    """The overall result of a run.

    Attributes:
        word: The result in one word: safe, pinned, unsafe, passed, failed, broken, error.
            "broken" means that named packages do not fit the installed torch.
        why: The result in one sentence.
        exit_code: The exit code of the command.
    """

    word: Literal["safe", "pinned", "unsafe", "passed", "failed", "broken", "error"]
    why: str
    exit_code: Literal[0, 1, 2]

    def __str__(self) -> str:
        return f"{self.word}: {self.why}"


class WheelSummary(NamedTuple):
    """The facts of a wheel that are kept to check it together with the others of its release.

    `torch` are the releases that it loads on and its metadata allows; None if it does not use
    torch, or no torch build for its platform is known.
    """

    target: str
    claims: Claims
    verdict: Verdict
    python_abi: PythonAbi
    python_floor: PythonVersion | None
    compiled: bool
    torch: tuple[Version, ...] | None


class Coverage(NamedTuple):
    """What wheels of one release support on one platform.

    Attributes:
        platform: The system and the machine, such as ``linux x86_64``; or ``any``.
        variant: The label of the variant wheels (PEP 825, a draft); None for other wheels.
        pythons: The builds of CPython that can install one of them.
        torch: The torch releases that the wheels load on and require; None if they do not use
            torch, or no torch build for the platform is known.
        wheels: The wheels.
    """

    platform: str
    variant: str | None
    pythons: tuple[Interpreter, ...]
    torch: tuple[Version, ...] | None
    wheels: tuple[str, ...]


class ProjectRelease(NamedTuple):
    """The wheels of one release of a project that were audited together."""

    name: str
    version: Version
    wheels: tuple[WheelSummary, ...]
    coverage: tuple[Coverage, ...]


class StrictIgnores(StrEnum):
    """Which ignores fail a run.

    `STALE`: those that have expired, or name something that no longer needs them. `ALL`: also
    those that match nothing in any target.
    """

    STALE = "stale"
    ALL = "all"


class WholeRun(NamedTuple):
    """The input of rules about all targets of a run."""

    releases: tuple[ProjectRelease, ...] = ()
    ignores: tuple[IgnoreUse, ...] = ()
    strict_ignores: StrictIgnores | None = None


class RunReport(NamedTuple):
    """The conclusions about all targets of a run together.

    `releases` are those with several wheels; `ignored` are findings that the user ignores;
    `fails` says whether one of the other findings fails the run; `conclusion` is the overall
    result of targets and findings.
    """

    releases: tuple[ProjectRelease, ...] = ()
    findings: tuple[Finding, ...] = ()
    ignored: tuple[Ignored, ...] = ()
    fails: bool = False
    conclusion: Conclusion = Conclusion("error", "nothing was audited", 2)


@dataclass(frozen=True, slots=True)
class Report:
    """The conclusions for all targets of one run, in the order they were named."""

    targets: tuple[TargetReport, ...]
    torch_releases: tuple[Version, ...] = ()
    run: RunReport = field(default_factory=RunReport)

    @property
    def counts(self) -> Mapping[Verdict, int]:
        """How many targets have each verdict."""
        verdicts = [target.verdict for target in self.targets]
        return {verdict: verdicts.count(verdict) for verdict in Verdict}

    @property
    def safe(self) -> bool:
        """Whether there was something to audit, and everything passes."""
        safe = all(target.safe for target in self.targets)
        return bool(self.targets) and safe and not self.run.fails

    @property
    def exit_code(self) -> int:
        """The command's exit code for this run, according to its policy."""
        return self.run.conclusion.exit_code

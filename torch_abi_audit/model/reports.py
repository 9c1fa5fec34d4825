"""Reports: what is concluded of each target, and of all of them together."""

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

    `SAFE`: on the stable ABI, with metadata that fits: it may be published for many releases of
    torch. `PINNED`: on the unstable ABI, for the minor release that it was built for.
    """

    SAFE = "safe"
    PINNED = "pinned"
    UNSAFE = "unsafe"
    NOT_APPLICABLE = "not-applicable"
    ERROR = "error"


PASSING = frozenset({Verdict.SAFE, Verdict.PINNED, Verdict.NOT_APPLICABLE})


class Check(StrEnum):
    """What alone makes a run fail, instead of all that makes a wheel unsafe."""

    TORCH = "torch"
    ABI3 = "abi3"


class CheckResult(NamedTuple):
    """What came of a check of one thing.

    Attributes:
        check: What was checked.
        passed: Whether all libraries pass it.
        libraries: Those that do not pass it.
        symbols: How many symbols keep them from it, of each library by itself.
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
        version: Its version as its metadata has it, with the local part.
        releases: Those that the catalog knows, oldest first.
        error: Why the torch that is installed can't be read, where it can't.
    """

    folders: tuple[str, ...]
    torch: Version | None
    releases: tuple[Version, ...] = ()
    error: str | None = None
    version: Version | None = None


class Remedy(NamedTuple):
    """What a user can do about a package that does not fit the torch that is installed.

    Attributes:
        why: What is wrong, in one sentence.
        command: What to run; None where nothing known helps.
    """

    why: str
    command: str | None = None


class Here(NamedTuple):
    """A package against the torch that is installed alongside it.

    Attributes:
        torch: That torch, by its release.
        cell: Whether the package loads with it.
        remedy: What to do where it does not, or where class layouts changed.
    """

    torch: Version
    cell: Cell
    remedy: Remedy | None = None


class MigrationProgress(NamedTuple):
    """How far a target is on its way to the stable ABI: its libraries that use torch."""

    stable: int
    unstable: int


@dataclass(frozen=True, slots=True)
class TargetReport:
    """The conclusions for one target.

    Attributes:
        target: What the user named.
        verdict: The answer.
        summary: What it rests on, in one sentence.
        kind: What the target is.
        subject: What the conclusions are about; None when the target could not be opened.
        findings: The rules that hold.
        ignored: Findings that the user ignores; they count for nothing.
        asked: The releases of torch that it was checked against.
        fails: Whether it makes a run fail.
        checks: What came of each check that was asked for.
        plan: What to change about a wheel that does not pass; None where it does.
        baseline: What has changed since the baseline, where it has the project.
        here: How a package that uses torch stands with the torch that is installed beside it.
        notice: What the user should know about how the target was found.
        error: Why it, or a member of it, could not be read.
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
        """What it promises."""
        return self.subject.claims if self.subject else None

    @property
    def libraries(self) -> tuple[LibraryAudit, ...]:
        """Its libraries."""
        return self.subject.libraries if self.subject else ()

    @property
    def unreadable(self) -> tuple[Member, ...]:
        """Members that should be libraries and could not be read."""
        return self.subject.unreadable if self.subject else ()

    @property
    def matrix(self) -> Matrix:
        """Which releases of torch it loads with."""
        return self.subject.matrix if self.subject else Matrix()

    @property
    def safe(self) -> bool:
        """Whether nothing was found that speaks against publishing the target."""
        return self.verdict in PASSING


class Conclusion(NamedTuple):
    """What a run comes to.

    Attributes:
        word: In a word: safe, pinned, unsafe, passed, failed, broken, error. Broken are packages
            that were named and do not fit the installed torch.
        why: In one sentence.
        exit_code: The exit code of the command.
    """

    word: Literal["safe", "pinned", "unsafe", "passed", "failed", "broken", "error"]
    why: str
    exit_code: Literal[0, 1, 2]

    def __str__(self) -> str:
        return f"{self.word}: {self.why}"


class WheelSummary(NamedTuple):
    """What is kept of a wheel to judge it beside the others of its release.

    `torch` are the releases that it loads with and its metadata admits; None where it uses
    no torch, or no build of torch for its platform is known.
    """

    target: str
    claims: Claims
    verdict: Verdict
    python_abi: PythonAbi
    python_floor: PythonVersion | None
    compiled: bool
    torch: tuple[Version, ...] | None


class Coverage(NamedTuple):
    """What wheels of one release serve on one platform.

    Attributes:
        platform: The system and the machine, as ``linux x86_64``; ``any``.
        pythons: The builds of CPython that install one of them.
        torch: The releases of torch that these load with and ask for; None where they use
            none, or no build of torch for the platform is known.
        wheels: The wheels.
    """

    platform: str
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
    those that name nothing in any target.
    """

    STALE = "stale"
    ALL = "all"


class WholeRun(NamedTuple):
    """What rules about all targets of a run look at."""

    releases: tuple[ProjectRelease, ...] = ()
    ignores: tuple[IgnoreUse, ...] = ()
    strict_ignores: StrictIgnores | None = None


class RunReport(NamedTuple):
    """What is concluded of all targets of a run together.

    `releases` are those with several wheels; `ignored` are findings that the user ignores;
    `fails` says whether one of the others counts as a failure of the run; `conclusion` is what
    targets and findings together come to.
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
        """Whether there was something to audit, and all of it passes."""
        safe = all(target.safe for target in self.targets)
        return bool(self.targets) and safe and not self.run.fails

    @property
    def exit_code(self) -> int:
        """The exit code of the command for this run, by its policy."""
        return self.run.conclusion.exit_code

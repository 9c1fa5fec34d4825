"""Reports: what is concluded of each target, and of all of them together."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit.model.claims import TargetKind
from torch_abi_audit.model.classification import Matrix, PythonAbi, TorchAbi

if TYPE_CHECKING:
    from collections.abc import Mapping

    from packaging.version import Version

    from torch_abi_audit.model.claims import Claims, Interpreter, PythonVersion
    from torch_abi_audit.model.classification import Cell, Floor, LibraryAudit
    from torch_abi_audit.model.facts import Member
    from torch_abi_audit.model.findings import Finding, Ignored, IgnoreUse


class Verdict(StrEnum):
    """The answer for one target."""

    SAFE = "safe"
    UNSAFE = "unsafe"
    NOT_APPLICABLE = "not-applicable"
    ERROR = "error"


class Check(StrEnum):
    """What a run is to fail for, where that is not all that makes a wheel unsafe.

    `CLAIMS` lets the unstable ABI pass where the metadata admits only releases that it
    loads with.
    """

    TORCH = "torch"
    ABI3 = "abi3"
    BOTH = "both"
    CLAIMS = "claims"


@dataclass(frozen=True, slots=True)
class Environment:
    """Where packages are installed.

    Attributes:
        folders: The site-packages folders.
        torch: The torch that is installed in them.
        releases: Those that the catalog knows, oldest first.
        error: Why the torch that is installed can't be read, where it can't.
    """

    folders: tuple[str, ...]
    torch: Version | None
    releases: tuple[Version, ...] = ()
    error: str | None = None


class Here(NamedTuple):
    """A package against the torch that is installed beside it."""

    torch: Version
    cell: Cell


class Progress(NamedTuple):
    """How far a target is on its way to the stable ABI: its libraries that use torch."""

    stable: int
    unstable: int


@dataclass(frozen=True, slots=True)
class TargetReport:
    """The conclusions for one target.

    ``claims`` is None when the target could not be opened; ``error`` then says why.
    ``error`` is also set when a member could not be read. ``ignored`` are findings that the
    user accepts; they count for nothing. ``asked`` are the releases of torch that it was judged
    against. ``fails`` says whether it makes a run fail. ``unverified`` are the libraries
    that were read no further than their tables, so that their checksum was not checked.
    ``here`` is how a package that uses torch stands with the torch that is installed beside
    it; ``said`` is what the user should know about how the target was found.
    """

    target: str
    verdict: Verdict
    summary: str
    kind: TargetKind = TargetKind.WHEEL
    claims: Claims | None = None
    libraries: tuple[LibraryAudit, ...] = ()
    unreadable: tuple[Member, ...] = ()
    unverified: frozenset[str] = frozenset()
    findings: tuple[Finding, ...] = ()
    ignored: tuple[Ignored, ...] = ()
    matrix: Matrix = field(default_factory=Matrix)
    asked: tuple[Version, ...] = ()
    torch_abi: TorchAbi = TorchAbi.NONE
    torch_floor: Floor | None = None
    python_abi: PythonAbi = PythonAbi.NONE
    python_floor: PythonVersion | None = None
    fails: bool = False
    here: Here | None = None
    said: str | None = None
    error: str | None = None

    @property
    def safe(self) -> bool:
        """Whether nothing stands against publishing the target."""
        return self.verdict in (Verdict.SAFE, Verdict.NOT_APPLICABLE)


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


class Release(NamedTuple):
    """The wheels of one release of a project that were audited together."""

    name: str
    version: Version
    wheels: tuple[WheelSummary, ...]
    coverage: tuple[Coverage, ...]


class Run(NamedTuple):
    """What rules about all targets of a run look at."""

    releases: tuple[Release, ...] = ()
    ignores: tuple[IgnoreUse, ...] = ()


class RunReport(NamedTuple):
    """What is concluded of all targets of a run together.

    `releases` are those with several wheels; `ignored` are findings that the user accepts;
    `fails` says whether one of the others counts as a failure of the run.
    """

    releases: tuple[Release, ...] = ()
    findings: tuple[Finding, ...] = ()
    ignored: tuple[Ignored, ...] = ()
    fails: bool = False


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
        """Whether there was something to audit and all of it may be published."""
        safe = all(target.safe for target in self.targets)
        return bool(self.targets) and safe and not self.run.fails

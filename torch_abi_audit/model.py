"""The nouns: what flows through an audit, from facts to the report.

Facts (`Symbol`, `Library`, `Member`) know nothing of torch or Python; claims
(`Claims`) are what the metadata promises; classifications (`TorchUse`,
`PythonUse`) are what a library needs; findings and reports are what the audit
concludes. Everything here is frozen: a later stage makes new values, it never
edits an earlier stage's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet
    from packaging.tags import Tag
    from packaging.version import Version


class Format(StrEnum):
    """An object format, recognised by a file's first bytes."""

    ELF = "elf"
    MACHO = "macho"
    PE = "pe"


class TargetKind(StrEnum):
    """What the user named."""

    WHEEL = "wheel"
    PACKAGE = "package"
    DIRECTORY = "directory"
    LIBRARY = "library"


class LibraryKind(StrEnum):
    """Whether Python imports a library as a module."""

    EXTENSION = "extension"
    BUNDLED = "bundled"


class TorchAbi(StrEnum):
    """How a library, or the worst library of a target, uses torch."""

    STABLE = "stable"
    UNSTABLE = "unstable"
    NONE = "none"


class PythonAbi(StrEnum):
    """How a library, or the worst library of a target, uses CPython's C API."""

    NONE = "none"
    ABI3 = "abi3"
    ABI3T = "abi3t"
    VERSION_SPECIFIC = "version-specific"


class Severity(StrEnum):
    """How much a finding weighs: an error makes a target unsafe."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


def failing(*, strict: bool) -> frozenset[Severity]:
    """Return the severities that make a target, or a run, fail."""
    return frozenset({Severity.ERROR, Severity.WARNING} if strict else {Severity.ERROR})


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


class ReleaseStatus(StrEnum):
    """One cell of the compatibility matrix: a library against a torch release."""

    GUARANTEED = "guaranteed"
    LINKS = "links"
    BREAKS = "breaks"
    UNKNOWN = "unknown"


LOADING = frozenset({ReleaseStatus.GUARANTEED, ReleaseStatus.LINKS})


class Cause(StrEnum):
    """Why a library does not load with a torch release."""

    SYMBOL = "symbol"
    LIBRARY = "library"
    CUDA = "cuda"
    SIBLING = "sibling"
    ALTERNATIVE = "alternative"


class DefectKind(StrEnum):
    """What is wrong with an archive, whatever its members hold."""

    DUPLICATE = "duplicate"
    CASE = "case"
    UNSAFE_NAME = "unsafe-name"
    HEADERS = "headers"
    STRUCTURE = "structure"
    DESCRIPTOR = "descriptor"
    ENCRYPTED = "encrypted"
    COMPRESSION = "compression"
    SYMLINK = "symlink"
    DIST_INFO = "dist-info"
    METADATA = "metadata"
    RECORD = "record"
    RECORD_STYLE = "record-style"
    LICENSE = "license"
    ENTRY_POINTS = "entry-points"


class PythonVersion(NamedTuple):
    """A minor release of Python."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


FREE_THREADED_SINCE = PythonVersion(3, 13)  # PEP 703
ABI3T_SINCE = PythonVersion(3, 15)  # PEP 803


class Interpreter(NamedTuple):
    """A release of CPython, free-threaded or not."""

    python: PythonVersion
    free_threaded: bool = False

    def __str__(self) -> str:
        return f"{self.python}{'t' if self.free_threaded else ''}"


# --- facts -------------------------------------------------------------------


class Symbol(NamedTuple):
    """A dynamic symbol, imported or exported.

    A named tuple because one library has up to a million of them.

    Attributes:
        name: As the object format spells it, without Mach-O's leading underscore.
        weak: For an import, that the loader leaves it unresolved without an
            error; for an export, that another definition may replace it.
        version: The symbol version, e.g. ``GLIBC_2.17``.
        library: For an import, the needed library that the binary itself names
            as the provider, where the format records one.
    """

    name: str
    weak: bool = False
    version: str | None = None
    library: str | None = None


class MinOS(NamedTuple):
    """The oldest system that a Mach-O slice was built for: its name, major and minor release."""

    system: str
    version: tuple[int, int]

    def __str__(self) -> str:
        return "{} {}.{}".format(self.system, *self.version)


@dataclass(frozen=True, slots=True)
class Library:
    """The facts of one compiled member, or of one slice of a universal one.

    Attributes:
        format: The object format.
        arch: The machine, spelled as in platform tags (``x86_64``, ``aarch64``).
        executable: It is a program rather than a shared library.
        soname: The name that it gives itself (Mach-O: its install name; PE: its own,
            in lower case, as all names of libraries there).
        needed: The libraries that it asks the loader for, in order.
        optional: Those of them that it loads without: weak ones of Mach-O, delayed ones
            of PE.
        reexported: Those of them whose exports count as its own (Mach-O).
        rpath: ``DT_RPATH`` entries.
        runpath: ``DT_RUNPATH`` entries.
        imports: Undefined dynamic symbols.
        exports: Defined dynamic symbols that other libraries can bind to.
        version_needs: For each needed library the symbol versions asked of it.
        minos: The oldest system that it was built for (Mach-O).
    """

    format: Format
    arch: str
    executable: bool = False
    soname: str | None = None
    needed: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    reexported: tuple[str, ...] = ()
    rpath: tuple[str, ...] = ()
    runpath: tuple[str, ...] = ()
    imports: tuple[Symbol, ...] = ()
    exports: tuple[Symbol, ...] = ()
    version_needs: tuple[tuple[str, tuple[str, ...]], ...] = ()
    minos: MinOS | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """A compiled member of a target: its path, and its facts or why there are none.

    A universal Mach-O file has the facts of several libraries, one for each machine.
    `verified` says whether all of its bytes were read, and their checksum is right.
    """

    path: str
    slices: tuple[Library, ...]
    error: str | None = None
    verified: bool = False


class Defect(NamedTuple):
    """One thing that is wrong with an archive.

    Attributes:
        kind: What it is.
        name: The member that it is about, empty for the archive.
        detail: What is wrong with it, where the kind does not say it all.
    """

    kind: DefectKind
    name: str
    detail: str = ""

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.name, self.detail)))


# --- claims ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Claims:
    """What a wheel promises.

    Attributes:
        name: The distribution's name as its filename spells it.
        version: The distribution's version.
        tags: The filename's tags, expanded.
        wheel_tags: The ``Tag`` lines of the ``WHEEL`` file, expanded.
        root_is_purelib: ``Root-Is-Purelib`` of the ``WHEEL`` file.
        requires_python: ``Requires-Python``, empty when absent.
        torch_requirements: Every ``Requires-Dist`` entry that names torch.
        cuda_requirements: Those of NVIDIA's packages, which bring CUDA's libraries.
        extras: ``Provides-Extra``.
        stated: Whether there is metadata at all. Where there is none nothing is promised.
        filename: The wheel's filename; None for what is no wheel.
        variant: The label of a variant wheel (PEP 825, a draft).
    """

    name: str
    version: Version
    tags: frozenset[Tag]
    wheel_tags: frozenset[Tag]
    root_is_purelib: bool
    requires_python: SpecifierSet
    torch_requirements: tuple[Requirement, ...] = ()
    cuda_requirements: tuple[Requirement, ...] = ()
    extras: frozenset[str] = frozenset()
    stated: bool = True
    filename: str | None = None
    variant: str | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """A target that was opened.

    Attributes:
        kind: What it is.
        claims: What it promises.
        members: Its compiled members.
        defects: What is wrong with the archive.
    """

    kind: TargetKind
    claims: Claims
    members: tuple[Member, ...]
    defects: tuple[Defect, ...] = ()


# --- classification ----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Floor:
    """The oldest torch release that provides all that a stable library needs.

    Attributes:
        release: The release, never below the first one that the promise covers.
        symbols: The shims that first appeared in it; empty when it is the
            promise and not a symbol that sets the floor.
    """

    release: Version
    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that a library needs and a torch release does not give it.

    Attributes:
        cause: Of what kind it is.
        name: The symbol, the library, or the member that is the reason.
        detail: What the release has instead, or why it is not there.
    """

    cause: Cause
    name: str
    detail: str

    def __str__(self) -> str:
        return f"{self.name}: {self.detail}"


class Alternative(NamedTuple):
    """A library that is meant for one minor release of torch, among others for other ones.

    Attributes:
        group: What the libraries of the group share: the path with the release left out.
        release: The major and minor number.
    """

    group: str
    release: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Cell:
    """A library, or a target, against one torch release; reasons are there where it breaks."""

    status: ReleaseStatus
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class TorchUse:
    """How one library uses torch.

    Attributes:
        abi: The worst of its symbols.
        needed: The torch libraries that it asks the loader for.
        shims: Stable C shims that it imports.
        unknown_shims: Imports that look like shims and are not in the catalog.
        unstable: Imports from libtorch that are not stable.
        weak: Weak imports of torch's; they never stop a load, so nothing above
            counts them.
        foreign: Imports of a third party's functions that it finds in libtorch only.
        leaked: Imports of libstdc++ without a version, which libtorch happens to export.
        inlined: Exports that come from torch's unstable headers.
        floor: The floor of a library on the stable ABI.
        providers: For each import of which the binary says where it must be (Mach-O,
            PE), the libraries of torch of which one has to have it.
    """

    abi: TorchAbi
    needed: tuple[str, ...] = ()
    shims: tuple[str, ...] = ()
    unknown_shims: tuple[str, ...] = ()
    unstable: tuple[str, ...] = ()
    weak: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    leaked: tuple[str, ...] = ()
    inlined: tuple[str, ...] = ()
    floor: Floor | None = None
    providers: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def needs_torch(self) -> bool:
        """Whether the library loads only where torch is installed."""
        return self.abi is not TorchAbi.NONE or bool(self.needed)


@dataclass(frozen=True, slots=True)
class PythonUse:
    """How one library uses CPython's C API.

    Attributes:
        abi: ``NONE`` without an import of the C API, ``ABI3`` when every import
            lies in the stable ABI, ``ABI3T`` where it is made for free-threaded Python too,
            ``VERSION_SPECIFIC`` otherwise.
        violations: Imports of the C API outside the stable ABI.
        opaque: Imports in the stable ABI that its form for free-threaded Python, abi3t,
            has and no extension can use.
        floor: The oldest Python whose stable ABI has every import.
        floor_symbols: The imports, or the export hook, that set the floor.
        linked: CPython's own libraries that it needs, each with the version that it is
            (see `catalog.libraries.python_library`). One with a minor version binds it to
            that as much as a violation does.
    """

    abi: PythonAbi
    violations: tuple[str, ...] = ()
    opaque: tuple[str, ...] = ()
    floor: PythonVersion | None = None
    floor_symbols: tuple[str, ...] = ()
    linked: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LibraryAudit:
    """One library of a target: its facts with what they mean.

    `platform` is the key of the catalog's builds that it is for, or None.
    """

    path: str
    library: Library
    kind: LibraryKind
    platform: str | None
    torch: TorchUse
    python: PythonUse


@dataclass(frozen=True, slots=True)
class Matrix:
    """The compatibility matrix of a target.

    Attributes:
        libraries: For each library that needs torch, by path, its cell for each release.
        row: The target's own: the worst of its libraries, each release served by the
            alternative that is meant for it. Empty when nothing needs torch.
        alternatives: The libraries that were taken for alternatives, by path.
    """

    libraries: Mapping[str, Mapping[Version, Cell]] = field(default_factory=dict)
    row: Mapping[Version, Cell] = field(default_factory=dict)
    alternatives: Mapping[str, Alternative] = field(default_factory=dict)


BY_METADATA = "the metadata"  # `Subject.judge`, where the user names no releases


@dataclass(frozen=True, slots=True)
class Subject:
    """Everything the rules look at for one target.

    `demands` are the releases of torch to judge against: what the metadata asks for,
    in each environment that differs (None: nothing), or what the user named instead;
    `judge` says which. `min_torch` is the oldest torch that the user promises.
    """

    claims: Claims
    libraries: tuple[LibraryAudit, ...]
    unreadable: tuple[Member, ...] = ()
    unverified: frozenset[str] = frozenset()
    matrix: Matrix = field(default_factory=Matrix)
    demands: tuple[SpecifierSet | None, ...] = (None,)
    judge: str = BY_METADATA
    defects: tuple[Defect, ...] = ()
    min_torch: Version | None = None


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


# --- conclusions -------------------------------------------------------------


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


def gravest_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings by severity, and within one in the order that they have."""
    order = list(Severity)
    return tuple(sorted(findings, key=lambda finding: order.index(finding.severity)))


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

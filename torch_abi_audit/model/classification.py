"""Classifications: what the facts mean for torch, for CPython and for the loader."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit.model.host import Host

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import date

    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

    from torch_abi_audit.model.claims import Claims, PythonVersion
    from torch_abi_audit.model.facts import Defect, Library, Member
    from torch_abi_audit.model.replacements import Replacements


class LibraryKind(StrEnum):
    """Whether a library is a module that Python imports."""

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


class ReleaseStatus(StrEnum):
    """One cell of the compatibility matrix: whether a library loads on a torch release."""

    GUARANTEED = "guaranteed"
    LINKS = "links"
    BREAKS = "breaks"
    UNKNOWN = "unknown"


LOADING = frozenset({ReleaseStatus.GUARANTEED, ReleaseStatus.LINKS})


class LayoutStatus(StrEnum):
    """Whether a release lays out classes and enums as a library that depends on them expects.

    ``UNCHANGED`` means that no change is known, not that the library works.
    """

    UNCHANGED = "unchanged"
    CHANGED = "changed"
    UNKNOWN = "unknown"


class Sign(StrEnum):
    """The evidence for the torch release that a library was built with.

    `NAME` is the name of an alternative, which contains the release.
    """

    ASSERTIONS = "assertions"
    NAME = "name"
    PIN = "pin"
    DATE = "date"


class BuiltWith(NamedTuple):
    """The releases of torch that a library may have been built with, oldest first.

    Attributes:
        releases: One, or several that the signs do not tell apart; none if the only sign
            is a date.
        sign: The evidence.
        matched: How many assertions these releases explain.
        of: How many assertions from torch's headers there are in the library.
        day: The day by which it was built, according to the time stamps in the archive.
        newest: The newest release that is possible by that day, if the day is the only sign.
    """

    releases: tuple[Version, ...]
    sign: Sign
    matched: int = 0
    of: int = 0
    day: date | None = None
    newest: Version | None = None


class Dependence(StrEnum):
    """How a library depends on the layout of a class, or on the values of an enum."""

    VALUE = "passed by value"
    OBJECT = "made or destroyed by it"
    TABLE = "whose virtual functions it has"
    INLINED = "whose code is inlined"
    PART = "part of what is passed by value"
    HELD = "held by a class that it depends on"


class LayoutChange(NamedTuple):
    """A difference between a release and the one that a library was built with.

    Attributes:
        name: The class or enum.
        detail: The old and the new layout, such as ``184 to 176 bytes``.
        since: The first release with the newer layout.
        grave: Whether to expect wrong results or a crash: the class is passed by value, or
            every tensor is made of it.
    """

    name: str
    detail: str
    since: Version
    grave: bool

    @property
    def told(self) -> str:
        """The old and the new layout, and since when it has changed."""
        return f"{self.detail} since {self.since}"

    def __str__(self) -> str:
        return f"{self.name}: {self.told}"


class Cause(StrEnum):
    """Why a library does not load with a torch release.

    `BUILD` and `COPY_IN_DOUBT`: why it is not known if it does.
    """

    SYMBOL = "symbol"
    LIBRARY = "library"
    CUDA = "cuda"
    SIBLING = "sibling"
    COPY = "copy"
    COPY_IN_DOUBT = "copy-in-doubt"
    ALTERNATIVE = "alternative"
    LAYOUT = "layout"
    BUILD = "build"


@dataclass(frozen=True, slots=True)
class Floor:
    """The oldest torch release that provides all that a stable library needs.

    Attributes:
        release: The release, never below the first one that the guarantee covers.
        symbols: The shims that first appeared in it; empty if the guarantee
            sets the floor rather than a symbol.
    """

    release: Version
    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that a library needs and a torch release does not provide, or may not.

    Attributes:
        cause: The kind of reason.
        name: The symbol, the library, or the member that is the reason.
        detail: What the release has instead, or why it is missing.
        libstdcxx: The symbol version of libstdc++ that brings it, if the host's is new enough.
    """

    cause: Cause
    name: str
    detail: str
    libstdcxx: str | None = None

    @property
    def is_doubt(self) -> bool:
        """Whether it is not known if the thing is a reason, with the build at hand."""
        return self.cause in (Cause.BUILD, Cause.COPY_IN_DOUBT)

    @property
    def is_about_cuda(self) -> bool:
        """Whether the library does not load because of the CUDA of torch's build."""
        return self.cause is Cause.CUDA or (self.cause is Cause.LIBRARY and "cuda" in self.name)

    def __str__(self) -> str:
        return f"{self.name}: {self.detail}"


class Alternative(NamedTuple):
    """A library for one minor release of torch, next to others for other releases.

    Attributes:
        group: What the libraries of the group share: the path without the release.
        release: The major and minor number.
    """

    group: str
    release: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Cell:
    """Whether a library, or a target, loads on one torch release.

    Attributes:
        status: Whether it loads.
        reasons: Why it does not load, or why that is not known.
        layout: For a library on the unstable ABI that loads, whether torch's classes are laid
            out as it expects.
        changes: The layouts that changed.
        libstdcxx: A symbol version of libstdc++ that neither the platform tags nor those of
            torch's wheels promise: it loads only where the host has that.
    """

    status: ReleaseStatus
    reasons: tuple[Reason, ...] = ()
    layout: LayoutStatus | None = None
    changes: tuple[LayoutChange, ...] = ()
    libstdcxx: str | None = None

    @property
    def loads_unchanged(self) -> bool:
        """Whether it loads and no class that it depends on is known to have changed."""
        return self.status in LOADING and self.layout is not LayoutStatus.CHANGED

    @property
    def loads_but_for_cuda(self) -> bool:
        """Whether it loads, or only the CUDA of torch's build prevents it."""
        return self.status in LOADING or (
            self.status is ReleaseStatus.BREAKS
            and self.reasons != ()
            and all(reason.is_about_cuda for reason in self.reasons)
        )


@dataclass(frozen=True, slots=True)
class TorchUse:
    """How one library uses torch.

    Attributes:
        abi: The ABI of its worst symbol.
        needed: The torch libraries that it needs.
        shims: Stable C shims that it imports.
        unknown_shims: Imports that look like shims but are not in the catalog.
        unstable: Imports from libtorch that are not stable.
        weak: Weak imports from torch; they never stop a load. Those that are not stable count
            above too, since calling a missing one crashes.
        foreign: Imports of third-party functions that it finds only in libtorch.
        leaked: Unversioned imports of libstdc++ symbols that libtorch happens to export.
        inlined: Exports that come from torch's unstable headers.
        headers: Unstable torch headers whose assertions are inlined in a stable library.
        perhaps: Those of all these names that are also in another library of the target, which
            the loader does not find: they are available if the package's code loads it first.
        floor: The floor of a library on the stable ABI.
        providers: For each import whose provider the binary names (Mach-O, PE), the torch
            libraries one of which has to export it.
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
    headers: tuple[str, ...] = ()
    perhaps: frozenset[str] = frozenset()
    floor: Floor | None = None
    providers: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def needs_torch(self) -> bool:
        """Whether the library loads only if torch is installed."""
        return self.abi is not TorchAbi.NONE or bool(self.needed)


@dataclass(frozen=True, slots=True)
class PythonUse:
    """How one library uses CPython's C API.

    Attributes:
        abi: ``NONE`` without imports from the C API, ``ABI3`` if every import is in the
            stable ABI, ``ABI3T`` if it is also built for free-threaded Python,
            ``VERSION_SPECIFIC`` otherwise.
        violations: C API imports outside the stable ABI.
        opaque: Imports in the stable ABI that abi3t, its form for free-threaded Python,
            has but no extension can use.
        floor: The oldest Python whose stable ABI has every import.
        floor_symbols: The imports, or the export hook, that set the floor.
        linked: CPython's own libraries that it needs, each with its Python version (see
            `catalog.libraries.python_library`). A minor version ties the library to one
            Python as much as a violation does.
    """

    abi: PythonAbi
    violations: tuple[str, ...] = ()
    opaque: tuple[str, ...] = ()
    floor: PythonVersion | None = None
    floor_symbols: tuple[str, ...] = ()
    linked: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LibraryAudit:
    """One library of a target: its facts and what they mean.

    `platform` is the key of the catalog's builds for its platform, or None. `own` are the
    names of the needed libraries that come from the target: the loader finds them there,
    or nothing else has a library of that name.
    """

    path: str
    library: Library
    kind: LibraryKind
    platform: str | None
    torch: TorchUse
    python: PythonUse
    own: frozenset[str] = frozenset()

    @property
    def is_loaded(self) -> bool:
        """Whether it is loaded for sure: as a module of Python, or for its operators."""
        return self.kind is LibraryKind.EXTENSION or self.torch.needs_torch


@dataclass(frozen=True, slots=True)
class Matrix:
    """The compatibility matrix of a target.

    Attributes:
        libraries: For each library that needs torch, by path, its cell for each release.
        row: The target's own cells: the worst of its libraries, with the alternative that is
            meant for each release. Empty if nothing needs torch.
        alternatives: The libraries that count as alternatives, by path.
    """

    libraries: Mapping[str, Mapping[Version, Cell]] = field(default_factory=dict)
    row: Mapping[Version, Cell] = field(default_factory=dict)
    alternatives: Mapping[str, Alternative] = field(default_factory=dict)


def worst_abi(uses: Iterable[TorchUse]) -> TorchAbi:
    """Roll the uses of several libraries up to their target: the worst of them."""
    abis = {use.abi for use in uses}
    for abi in (TorchAbi.UNSTABLE, TorchAbi.STABLE):
        if abi in abis:
            return abi
    return TorchAbi.NONE


def highest_floor(uses: Iterable[TorchUse]) -> Floor | None:
    """Roll floors up to their target: None with no stable library, or with an unstable one."""
    uses = list(uses)
    floors = [use.floor for use in uses if use.floor is not None]
    if not floors or worst_abi(uses) is TorchAbi.UNSTABLE:
        return None
    release = max(floor.release for floor in floors)
    symbols = {name for floor in floors if floor.release == release for name in floor.symbols}
    return Floor(release, tuple(sorted(symbols)))


def worst_python_abi(uses: Iterable[PythonUse]) -> PythonAbi:
    """Roll the uses of several libraries up to their target: the worst of them."""
    abis = {use.abi for use in uses}
    for abi in (PythonAbi.VERSION_SPECIFIC, PythonAbi.ABI3, PythonAbi.ABI3T):
        if abi in abis:
            return abi
    return PythonAbi.NONE


def highest_python_floor(uses: Iterable[PythonUse]) -> PythonVersion | None:
    """Roll floors up to their target: None if any library is tied to one Python."""
    uses = list(uses)
    if worst_python_abi(uses) is PythonAbi.VERSION_SPECIFIC:
        return None
    return max((use.floor for use in uses if use.floor is not None), default=None)


class DemandSource(StrEnum):
    """What decides which torch releases a target is checked against, as used in sentences."""

    METADATA = "the metadata"
    TORCH = "--torch"
    AGAINST = "--against"


class BuildSource(StrEnum):
    """What decides which builds of torch a target is checked against, as used in sentences."""

    OPTION = "--torch-build"
    TORCH = "--torch"
    REQUIREMENT = "its requirement on torch"
    VERSION = "its version"


@dataclass(frozen=True, slots=True)
class BuildUse:
    """The builds of torch that a target is checked against, if they are not those on PyPI.

    Attributes:
        name: Their local version, such as ``cpu`` or ``cu128``.
        source: What says so.
        measured: The releases whose builds were measured for each of the target's platforms.
        derived: Those whose builds are derived from the ones on PyPI. Nothing is known of others.
    """

    name: str
    source: BuildSource
    measured: tuple[Version, ...] = ()
    derived: tuple[Version, ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether anything is known of the builds."""
        return bool(self.measured or self.derived)

    def __str__(self) -> str:
        return f"torch's {self.name} builds"


@dataclass(frozen=True)
class Subject:
    """Everything the rules look at for one target.

    Attributes:
        claims: What its metadata claims.
        libraries: Its libraries, classified.
        unreadable: Members that should be libraries but could not be read.
        unverified: Libraries that were read only up to the end of their tables.
        matrix: Which torch releases they load on.
        required: The metadata's requirement on torch in each environment that differs (None:
            no requirement); empty if there is no metadata.
        demands: The torch releases to check against: the same, or what the user named instead.
        source: Which of the two.
        build: The builds of torch to check against; None for those on PyPI, or one given torch.
        defects: What is wrong with the archive.
        day: The day of its compiled members' newest time stamp, if that is a real one.
        folder: The folders that its members are in on disk; see `TargetContents.folder`.
        min_torch: The oldest torch that the user wants to support.
        require_torch: Whether the user requires it to use torch.
        built: What its libraries on the unstable ABI were built with, by path; None if
            unknown.
        replacements: The replacements for their unstable symbols; None without such symbols.
        host: What the system has to provide that nothing installs.
    """

    claims: Claims
    libraries: tuple[LibraryAudit, ...]
    unreadable: tuple[Member, ...] = ()
    unverified: frozenset[str] = frozenset()
    matrix: Matrix = field(default_factory=Matrix)
    required: tuple[SpecifierSet | None, ...] = (None,)
    demands: tuple[SpecifierSet | None, ...] = (None,)
    source: DemandSource = DemandSource.METADATA
    build: BuildUse | None = None
    defects: tuple[Defect, ...] = ()
    day: date | None = None
    folder: tuple[str, ...] = ()
    min_torch: Version | None = None
    require_torch: bool = False
    built: Mapping[str, BuiltWith | None] = field(default_factory=dict)
    replacements: Replacements | None = None
    host: Host = field(default_factory=Host)

    @cached_property
    def built_with(self) -> BuiltWith | None:
        """What its libraries were built with; None if they differ, or it is unknown for one."""
        found = [item for item in self.built.values() if item is not None]
        if len(found) != len(self.built) or len({item.releases for item in found}) != 1:
            return None
        return max(found, key=lambda item: item.matched)

    @cached_property
    def torch_abi(self) -> TorchAbi:
        """The torch ABI of its worst library."""
        return worst_abi(item.torch for item in self.libraries)

    @cached_property
    def torch_floor(self) -> Floor | None:
        """The oldest torch for all of its libraries; None if one is on the unstable ABI."""
        return highest_floor(item.torch for item in self.libraries)

    @cached_property
    def python_abi(self) -> PythonAbi:
        """The Python ABI of its worst library."""
        return worst_python_abi(item.python for item in self.libraries)

    @cached_property
    def python_floor(self) -> PythonVersion | None:
        """The oldest Python for all of its libraries; None if one is tied to one Python."""
        return highest_python_floor(item.python for item in self.libraries)

    @cached_property
    def platform_tags(self) -> frozenset[str]:
        """The platform parts of its tags."""
        return frozenset(tag.platform for tag in self.claims.tags)

    @cached_property
    def requires_torch(self) -> str | None:
        """The metadata's requirement on torch, as text: None for none, "" for any release.

        If environments differ, their requirements follow each other.
        """
        found = [str(demand) for demand in self.required if demand is not None]
        return " || ".join(found) if found else None

"""The shape of the report: what the JSON has, and what every other format is made of.

It is an API, and closed: `schema.make_schema` makes the JSON Schema of these types, so that the
two can't differ. Within a schema version keys may be added; none is removed, or changes its
meaning.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

# The schema reads the types at run time.
from torch_abi_audit.model import (  # noqa: TC001
    BuildSource,
    Cause,
    Check,
    EvidenceKind,
    Format,
    HostNeed,
    LayoutStatus,
    LibraryKind,
    PythonAbi,
    ReleaseStatus,
    ReplacementKind,
    Severity,
    Sign,
    TargetKind,
    TorchAbi,
    Verdict,
)


class EvidenceDocument(TypedDict):
    """One thing that shows that a rule holds."""

    kind: EvidenceKind
    name: Annotated[str, "the symbol as the object format spells it, the library, the tag, ..."]
    library: Annotated[str | None, "the library that has it, where a finding is about several"]
    declaration: Annotated[str | None, "the C++ declaration of a symbol"]
    detail: Annotated[str, "what is wrong with it, where the message does not say it all"]


class BeforeDocument(TypedDict):
    """A library in the baseline."""

    path: str
    abi: TorchAbi
    shims: int
    unstable_symbols: int


class BaselineDocument(TypedDict):
    """A target against the baseline."""

    target: Annotated[str, "what it was named there"]
    version: str | None
    libraries: Annotated[dict[str, BeforeDocument], "its libraries there, by their paths now"]
    moved: Annotated[list[str], "the libraries that moved to the stable ABI"]
    back: Annotated[list[str], "those that left it"]
    unstable_before: Annotated[int, "unstable symbols of all libraries there"]
    unstable_now: int


class CheckDocument(TypedDict):
    """What came of a check of one thing."""

    check: Check
    passed: bool
    libraries: Annotated[list[str], "the libraries that do not pass it"]
    symbols: Annotated[int, "how many symbols keep them from it"]


class FindingDocument(TypedDict):
    """One rule that holds."""

    rule: str
    severity: Severity
    counts: Annotated[
        bool,
        "whether it is an error or a warning; with checks, whether one of them is about it",
    ]
    libraries: Annotated[list[str], "the libraries it is about; none for the target as such"]
    message: str
    evidence: list[EvidenceDocument]
    fix: Annotated[str | None, "what to change"]
    fix_line: Annotated[str | None, "the line of pyproject.toml to paste"]


class MetadataChangeDocument(TypedDict):
    """A change of metadata; null for what stays as it is."""

    requires_torch: Annotated[str | None, "the releases of torch to require, as ==2.12.*"]
    requires_python: str | None
    tags: Annotated[str | None, "the tags of the filename"]


class ChoiceDocument(TypedDict):
    """One of several changes of metadata."""

    metadata: MetadataChangeDocument
    lines: Annotated[list[str], "the same as lines of pyproject.toml, and the tags"]


class PlanDocument(TypedDict):
    """What to change about a target that does not pass."""

    metadata: Annotated[
        MetadataChangeDocument | None, "the change with which it was audited again, and passes"
    ]
    lines: Annotated[list[str], "the same as lines of pyproject.toml, and the tags"]
    choices: Annotated[list[ChoiceDocument], "where several pass, and the author knows which"]
    passes: Annotated[bool, "whether a change of metadata makes it pass"]
    verdict: Annotated[Verdict | None, "the verdict that it has with the change"]
    why_not: Annotated[str | None, "why no change of metadata was found that makes it pass"]
    build: Annotated[list[str], "what to change about the build"]


class IgnoreDocument(TypedDict):
    """What makes a finding ignored."""

    rule: str
    library: Annotated[str | None, "a pattern of paths"]
    symbol: Annotated[str | None, "a pattern of symbols, as they are declared or mangled"]
    reason: str
    until_torch: Annotated[str | None, "the release of torch with which it expires"]
    migrating: bool


class IgnoredDocument(FindingDocument):
    """A finding that the user ignores."""

    ignore: IgnoreDocument


class ReasonDocument(TypedDict):
    """One thing that a torch release does not give a library."""

    cause: Cause
    name: str
    detail: str


class CellDocument(TypedDict):
    """A library, or a target, against one torch release."""

    status: ReleaseStatus
    layout: Annotated[
        LayoutStatus | None,
        "of the unstable ABI, where nothing but CUDA is in the way: whether torch's classes are as"
        " it knows them;"
        " `unchanged` says that no change is known",
    ]
    reasons: Annotated[
        list[ReasonDocument], "why it breaks; with the cause `layout` what of its classes changed"
    ]
    libstdcxx: Annotated[
        str | None,
        "a symbol version of libstdc++ that no platform tag promises, neither the wheel's nor"
        " torch's, as GLIBCXX_3.4.29: it loads only where the host has that; null where that is not"
        " what decides",
    ]


class RemedyDocument(TypedDict):
    """What a user can do about a package that does not fit the installed torch."""

    why: Annotated[str, "what is wrong, in one sentence"]
    command: Annotated[str | None, "what to run; null where nothing known helps"]


class HereDocument(TypedDict):
    """An installed package against the torch that is installed alongside it."""

    torch: str
    status: ReleaseStatus
    layout: LayoutStatus | None
    reasons: list[ReasonDocument]
    libstdcxx: Annotated[str | None, "as in the cells of the matrix"]
    remedy: Annotated[RemedyDocument | None, "null where it loads, and no layout changed"]


Releases = Annotated[
    dict[str, CellDocument], "the compatibility matrix, keyed by torch release, oldest first"
]


class BuiltWithDocument(TypedDict):
    """The releases of torch that a library may have been built with."""

    releases: Annotated[list[str], "empty where the only sign is a date"]
    sign: Annotated[
        Sign, "the lines of inlined assertions, the pin of the metadata, or the date of its files"
    ]
    matched: Annotated[int, "how many assertions these releases explain"]
    of: Annotated[int, "how many assertions of torch's headers it has"]
    date: Annotated[
        str | None, "the newest time stamp of the wheel's compiled files: built by then"
    ]
    newest: Annotated[
        str | None, "the newest torch release that is possible, where the only sign is a date"
    ]


class LibraryTorchDocument(TypedDict):
    """How a library uses torch."""

    abi: TorchAbi
    floor: str | None
    floor_symbols: list[str]
    needed: list[str]
    shims: list[str]
    unknown_shims: list[str]
    unstable_symbols: list[str]
    weak_symbols: list[str]
    foreign_symbols: list[str]
    leaked_symbols: list[str]
    inlined_symbols: list[str]
    built_with: BuiltWithDocument | None
    releases: Releases


class LibraryPythonDocument(TypedDict):
    """How a library uses CPython's C API."""

    abi: PythonAbi
    floor: str | None
    floor_symbols: list[str]
    violations: list[str]
    opaque: Annotated[
        list[str], "imports of the stable ABI that abi3t has and no extension can use"
    ]
    linked: Annotated[list[str], "CPython's own libraries that it needs"]


class ReadableDocument(TypedDict):
    """A library that was read."""

    path: str
    kind: LibraryKind
    format: Format
    arch: str
    soname: str | None
    needed: list[str]
    minos: Annotated[str | None, "Mach-O: the oldest system it was built for, as `macos 11.0`"]
    torch: LibraryTorchDocument
    python: LibraryPythonDocument
    verified: Annotated[
        bool,
        "whether all of its bytes were read, and their checksum is right; otherwise it was read up"
        " to the end of its tables",
    ]
    error: None


class UnreadableDocument(TypedDict):
    """A library that could not be read: nothing else is known of it."""

    path: str
    kind: None
    format: None
    arch: None
    soname: None
    needed: list[str]
    minos: None
    torch: None
    python: None
    verified: bool
    error: str


LibraryDocument = ReadableDocument | UnreadableDocument


class ClaimsDocument(TypedDict):
    """What the metadata claims."""

    filename: Annotated[str | None, "the wheel's filename"]
    variant: Annotated[str | None, "the label of a variant wheel (PEP 825, a draft)"]
    variant_properties: Annotated[
        list[str], "what the label stands for, as `abi_dependency::torch::2.12`"
    ]
    tags: list[str]
    wheel_tags: list[str]
    root_is_purelib: bool
    requires_torch: Annotated[
        str | None, "null: torch is not declared; an empty string: any release of torch"
    ]
    requires_python: str | None


class ProgressDocument(TypedDict):
    """The libraries that use torch, by the ABI that they use."""

    stable: int
    unstable: int


class AlternativeDocument(TypedDict):
    """A library that is chosen at run time, by torch release."""

    library: str
    group: str
    release: str


class ReplacedDocument(TypedDict):
    """What the stable ABI has instead of unstable symbols."""

    replacement: Annotated[str, "what to write instead, as torch::stable::empty_like"]
    kind: ReplacementKind
    since: Annotated[str, "the first torch release whose headers declare it: build with it"]
    floor: Annotated[str, "the oldest torch release that an extension which uses it loads on"]
    note: str | None
    symbols: Annotated[list[str], "the unstable symbols that it takes the place of"]


class ReplacementsDocument(TypedDict):
    """The way to the stable ABI."""

    release: Annotated[str, "the newest torch release whose headers are known"]
    replaced: list[ReplacedDocument]
    without: Annotated[list[str], "the unstable symbols without a known replacement"]


class BuildUseDocument(TypedDict):
    """The builds of torch that a target was checked against, if they are not PyPI's."""

    name: Annotated[str, "their local version, such as cpu or cu128"]
    source: Annotated[BuildSource, "what says so"]
    measured: Annotated[list[str], "releases whose builds were measured"]
    derived: Annotated[list[str], "releases whose builds are derived from those on PyPI"]


class TargetTorchDocument(TypedDict):
    """How a target uses torch."""

    abi: TorchAbi
    floor: str | None
    floor_symbols: list[str]
    built_with: Annotated[
        BuiltWithDocument | None, "null where its libraries differ, or one does not tell"
    ]
    build: Annotated[
        BuildUseDocument | None, "null where it was checked against PyPI's builds, or one torch"
    ]
    releases: Releases
    asked: Annotated[
        list[str], "the releases it was checked against: those the metadata, or the user, allows"
    ]
    progress: ProgressDocument
    replacements: Annotated[
        ReplacementsDocument | None, "null where no library imports an unstable symbol"
    ]
    alternatives: list[AlternativeDocument]


class TargetPythonDocument(TypedDict):
    """How a target uses CPython's C API."""

    abi: PythonAbi
    floor: str | None


class HostLibraryDocument(TypedDict):
    """A library that the host has to provide: nothing known brings it."""

    name: Annotated[str, "its name; the whole path where the loader looks nowhere else"]
    need: Annotated[
        HostNeed,
        "`required`: what needs it does not load without; `one-of`: one version of several is"
        " enough; `optional`: what needs it loads without; `plugin`: nothing shows that what needs"
        " it is loaded; `driver`: it comes with NVIDIA's driver",
    ]
    one_of: Annotated[list[str], "its versions, any one of which is enough, itself included"]
    needed_by: Annotated[list[str], "the libraries that need it so"]
    dependencies: Annotated[
        list[str], "the declared dependencies that may provide it, as their names suggest"
    ]
    torch: Annotated[
        list[str], "the torch releases next to which it is there: torch brings it, or needs it too"
    ]


class SymbolVersionDocument(TypedDict):
    """A symbol version of one of the compiler's libraries."""

    library: str
    version: str


class HostDocument(TypedDict):
    """What the host has to provide beyond what the platform tags promise."""

    libraries: list[HostLibraryDocument]
    symbol_versions: Annotated[
        list[SymbolVersionDocument],
        "the newest that are needed of libstdc++ and libgcc, where no manylinux tag promises them",
    ]


class TargetDocument(TypedDict):
    """One target."""

    target: str
    kind: TargetKind
    name: str | None
    version: str | None
    verdict: Verdict
    baseline: Annotated[BaselineDocument | None, "what changed since --baseline"]
    fails: Annotated[bool, "whether it makes the run fail, or end in error"]
    checks: Annotated[list[CheckDocument], "what came of each check that was asked for"]
    summary: str
    fix: Annotated[PlanDocument | None, "what to change; null where it passes"]
    error: str | None
    torch: TargetTorchDocument
    python: TargetPythonDocument
    here: Annotated[
        HereDocument | None,
        "for an installed package that uses torch: whether it loads with the installed torch",
    ]
    claims: ClaimsDocument | None
    host: HostDocument
    libraries: list[LibraryDocument]
    findings: list[FindingDocument]
    ignored: list[IgnoredDocument]


class CoverageDocument(TypedDict):
    """What the wheels of a release cover on one platform."""

    platform: Annotated[str, "the system and the machine, as `linux x86_64`; `any`"]
    variant: Annotated[str | None, "the label of variant wheels (PEP 825, a draft)"]
    pythons: Annotated[
        list[str], "builds of CPython that install one of the wheels; `3.13t` is free-threaded"
    ]
    torch: Annotated[
        list[str] | None,
        "the torch releases they load with and allow; null where they use none, or none is known",
    ]
    wheels: list[str]


class ProjectReleaseDocument(TypedDict):
    """The wheels of one release of a project."""

    name: str
    version: str
    wheels: list[str]
    coverage: list[CoverageDocument]


class ToolDocument(TypedDict):
    """What made the report."""

    name: Literal["torch-abi-audit"]
    version: str


class CatalogDocument(TypedDict):
    """What the report rests on."""

    torch_releases: list[str]


class OptionsDocument(TypedDict):
    """What makes the run fail."""

    check: Annotated[list[Check], "what alone makes the run fail; empty for all"]
    strict: Annotated[bool, "whether warnings do"]
    require_stable: Annotated[bool, "whether the unstable ABI does, pinned or not"]
    torch_build: Annotated[
        str | None, "the builds of torch that the user chose; null to go by each wheel's metadata"
    ]


class EnvironmentDocument(TypedDict):
    """The environment that was audited, and that its packages were checked in."""

    site_packages: list[str]
    torch: str | None
    error: Annotated[str | None, "why the torch that is installed can't be read"]


class HeadDocument(TypedDict):
    """What stands before the targets."""

    schema_version: Literal[1]
    tool: ToolDocument
    catalog: CatalogDocument
    configuration: Annotated[str | None, "the file that the configuration is from"]
    options: OptionsDocument
    environment: EnvironmentDocument | None


class HereCounts(TypedDict):
    """Installed packages that use torch, by how they stand with the torch beside them."""

    guaranteed: int
    links: int
    breaks: int
    unknown: int


class CountsDocument(TypedDict):
    """How many targets there are, by verdict."""

    targets: int
    safe: int
    pinned: int
    unsafe: int
    not_applicable: int
    error: int
    here: HereCounts


class ConclusionDocument(TypedDict):
    """What the run comes to."""

    word: Literal["safe", "pinned", "unsafe", "passed", "failed", "broken", "error"]
    why: str
    exit_code: Literal[0, 1, 2]


class TailDocument(TypedDict):
    """What stands after the targets."""

    releases: Annotated[
        list[ProjectReleaseDocument], "releases of projects of which several wheels were audited"
    ]
    findings: Annotated[list[FindingDocument], "what holds for all targets together"]
    ignored: Annotated[list[IgnoredDocument], "the same, as far as the user ignores it"]
    run_fails: Annotated[bool, "whether what holds for all targets together fails the run"]
    counts: CountsDocument
    conclusion: ConclusionDocument


class Document(HeadDocument, TailDocument):
    """What torch-abi-audit --json prints."""

    targets: list[TargetDocument]

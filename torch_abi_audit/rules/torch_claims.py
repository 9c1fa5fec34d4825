"""Rules about what the metadata asks of torch, against what the libraries need."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from torch_abi_audit.abi.mangling import demangle, owner_prefix, qualified_name
from torch_abi_audit.claims.torch_requirement import (
    admitted_by_any,
    admitted_torch,
    extras_with_torch,
    future_torch,
    requirement,
)
from torch_abi_audit.model import (
    LOADING,
    Cause,
    DemandSource,
    Fix,
    ReleaseStatus,
    Severity,
    Subject,
    TorchAbi,
)
from torch_abi_audit.rules.checked import (
    advised_releases,
    checked_releases,
    is_missed,
)
from torch_abi_audit.rules.evidence import lacking, requirements, symbols, tags
from torch_abi_audit.rules.registry import Hit, require, rule
from torch_abi_audit.wording import join, ranges, short, unique

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

    from torch_abi_audit.catalog import Catalog
    from torch_abi_audit.model import Reason


_PIN = "requirement on the one release of torch that it was built with"
_COMPARED = 1000  # characters of a declaration
# Of what a release lacks, and of what it may have in its place: only templates of kernels
# have more symbols of one name.
_COMPARED_SYMBOLS, _COMPARED_OVERLOADS = 20, 500


@rule(
    "torch-floor-understated",
    Severity.ERROR,
    "`Requires-Dist: torch` admits releases older than the floor",
    why="Installers read the metadata alone. They put the wheel beside a torch that lacks what "
    "it imports, and `import` fails with an undefined symbol on the user's machine.",
    fix="Ask for what the wheel needs, in pyproject.toml:\n"
    '    dependencies = ["torch>=2.11"]\n'
    "or build it for the release that you want to support, and avoid what is newer:\n"
    "    -DTORCH_TARGET_VERSION=0x020a000000000000",
)
def torch_floor_understated(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report releases of torch that installers may choose and the wheel does not load on."""
    floor = subject.torch_floor
    if floor is None:
        return
    older: set[Version] = set()
    for specifier in subject.demands:
        if specifier is not None:
            admitted = admitted_torch(specifier, catalog.published)
            older |= {release for release in admitted if release < floor.release}
    if not older:
        return
    oldest = min(older)
    why = (
        f"{join(floor.symbols[:1])} first appeared in {floor.release}"
        if floor.symbols
        else f"the stable ABI is promised since {floor.release}"
    )
    more = ""
    if floor.symbols and oldest >= catalog.promised_since:
        more = f", or build with -DTORCH_TARGET_VERSION={_target(oldest)}"
    fix = require(f"torch>={short(floor.release)}", more)
    if subject.source is not DemandSource.METADATA:
        fix = Fix(f"it is for {fix.requires}{more}")
    yield Hit(
        f"{subject.source} admits torch {oldest}, the wheel needs {floor.release} or newer: {why}",
        libraries=unique(
            library.path
            for library in subject.libraries
            if library.torch.floor is not None and library.torch.floor.release == floor.release
        ),
        evidence=symbols(floor.symbols),
        fix=fix,
    )


def _target(release: Version) -> str:
    """Return a release as the macro TORCH_TARGET_VERSION takes it (headers of 2.10)."""
    return f"0x{release.major:02x}{release.minor:02x}{0:012x}"


@rule(
    "torch-undeclared",
    Severity.WARNING,
    "a library needs torch and the metadata does not require it",
    why="Without Requires-Dist no installer knows that the wheel needs torch, nor which: it is "
    "installed beside any release, or none, and updating torch breaks it without a word.",
    fix="Declare it in pyproject.toml, with the floor that the report names:\n"
    '    dependencies = ["torch>=2.11"]',
)
def torch_undeclared(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report a dependency that no installer knows of."""
    users = [library for library in subject.libraries if library.torch.needs_torch]
    claims = subject.claims
    if not users or not claims.stated or None not in subject.required:
        return
    extras = extras_with_torch(subject.claims)
    if extras:
        where = f"requires it only with the extra {join(extras)}"
    elif subject.claims.torch_requirements:
        where = "requires it only under a marker that does not hold everywhere"
    else:
        where = "does not require it"
    floor = subject.torch_floor
    if floor is not None:
        line = f"torch>={short(floor.release)}"
    elif subject.torch_abi is TorchAbi.UNSTABLE:
        advised = advised_releases(subject)
        line = requirement(advised, catalog.published) if advised else ""
    else:
        line = "torch"
    yield Hit(
        f"{{libraries:need}} torch, and the metadata {where}",
        libraries=unique(library.path for library in users),
        fix=Fix(f"add Requires-Dist: {line}", line) if line else Fix(f"add a {_PIN}"),
    )


@rule(
    "torch-unpinned",
    Severity.ERROR,
    "a library is on the unstable ABI, and the metadata admits releases beyond those it links with",
    why="A wheel on the unstable ABI is for the releases that it links with, often one. "
    "Metadata that admits others makes installers put it beside a torch that it does not "
    "load with.",
    fix="Pin the release that it was built with, in pyproject.toml:\n"
    '    dependencies = ["torch==2.10.*"]\n'
    "or move to the stable ABI (see unstable-torch-symbol), and then ask for a floor "
    "alone.",
)
def torch_unpinned(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report an unstable wheel that installers may put beside other releases of torch."""
    if subject.torch_abi is not TorchAbi.UNSTABLE:
        return
    row = subject.matrix.row
    loading = [release for release, cell in row.items() if cell.loads_but_for_cuda]
    failing = [
        release
        for release, cell in row.items()
        if cell.status is ReleaseStatus.BREAKS and release not in loading
    ]
    judged = bool(loading or failing)
    for specifier in subject.demands:
        admitted = admitted_torch(specifier, catalog.published)
        future = future_torch(specifier, catalog.newest)
        series = {release.release[:2] for release in (*admitted, *future)}
        # Releases older than the catalog are not known to fail.
        beyond = set(admitted) & set(failing) if judged else set(admitted)
        if len(series) <= 1 or not (future or beyond):
            continue
        if loading:
            loads = f"it loads with torch {ranges(loading, catalog.published)}"
            advised = advised_releases(subject)
            fix: Fix | str = f"add a {_PIN}"
            if advised:
                fix = require(requirement(advised, catalog.published))
        elif judged:
            loads = f"it loads with no torch of {catalog.releases[0]} to {catalog.newest}"
            fix = "build it with one release of torch, and require that release"
        else:
            loads = "it is tied to the release that it was built with"
            fix = f"add a {_PIN}"
        yield Hit(
            f"{loads}, and {subject.source} {_admits(specifier, admitted, future=bool(future))}",
            evidence=requirements([specifier]),
            fix=fix,
        )


def _admits(specifier: SpecifierSet | None, admitted: Sequence[Version], *, future: bool) -> str:
    """Say what a demand admits."""
    if specifier is None:
        return "requires no release of torch"
    if not str(specifier):
        return "admits every release of torch"
    if not admitted:
        return "admits only releases that are not out yet"
    run = str(admitted[0]) if len(admitted) == 1 else f"{admitted[0]} to {admitted[-1]}"
    return f"admits torch {run}{' and any later release' if future else ''}"


@rule(
    "torch-symbol-missing",
    Severity.ERROR,
    "a torch release that the metadata admits does not provide a symbol, or a library",
    why="The dynamic loader stops at the first name that it can't find: `import` fails, with "
    "the mangled name of a symbol. The report says which release lacks what, and what it "
    "has instead.",
    fix="Exclude the releases where it breaks, with the line that the finding gives:\n"
    '    dependencies = ["torch>=2.12"]\n'
    "or rebuild with the oldest release that is to be supported.",
)
def torch_symbol_missing(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report what keeps libraries from loading, once for those that miss the same.

    What CUDA is the cause of is reported by the rules about CUDA.
    """
    judged = checked_releases(subject, catalog)
    alternatives = subject.matrix.alternatives
    # Libraries that miss the same are told of together.
    alike: dict[tuple[tuple[Version, tuple[Reason, ...]], ...], list[str]] = {}
    for path, row in subject.matrix.libraries.items():
        missing = {
            release: tuple(
                reason
                for reason in row[release].reasons
                if not reason.is_about_cuda and reason.cause is not Cause.SIBLING
            )
            for release in judged
            if is_missed(subject, path, release)
        }
        found = tuple((release, reasons) for release, reasons in missing.items() if reasons)
        if found:
            alike.setdefault(found, []).append(path)
    for found, paths in alike.items():
        newest, reasons = max(found)
        # Of the newest release first, which the message names.
        lacked = lacking(reason for _, missed in sorted(found, reverse=True) for reason in missed)
        names = [item.name for item in lacked]
        yield Hit(
            f"torch {ranges((release for release, _ in found), catalog.releases)}, which"
            f" {subject.source} admits, {'lacks' if len(found) == 1 else 'lack'}"
            f" {{evidence:name}} that it needs; {newest} lacks {{first}}",
            libraries=tuple(paths),
            evidence=lacked,
            fix=_instead(subject, catalog, paths[0], reasons, newest)
            or _where_it_loads(subject, catalog, names),
        )
    unserved: dict[str, list[Version]] = {}
    for release in judged:
        for reason in subject.matrix.row[release].reasons:
            if reason.cause is Cause.ALTERNATIVE:
                unserved.setdefault(reason.name, []).append(release)
    for group, releases in unserved.items():
        yield Hit(
            f"there is no library for torch {ranges(releases, catalog.releases)}, which"
            f" {subject.source} admits, among the alternatives of {group}",
            libraries=tuple(path for path, item in alternatives.items() if item.group == group),
            fix="add one for each release, or exclude the release",
        )


@rule(
    "unknown-release",
    Severity.WARNING,
    "the metadata admits no release of torch that the catalog knows for its platform",
    why="Of a torch that is newer than the catalog, or older, nobody knows here what it exports."
    " For a wheel on the stable ABI its symbols still give the floor; one on the unstable ABI may"
    " load with what it asks for, or not.",
    fix="Update torch-abi-audit, whose catalog knows the releases up to its own, or judge the wheel"
    " against the torch that it is for, which is read and never imported:\n"
    "    torch-abi-audit --against path/to/site-packages WHEEL",
)
def unknown_release(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report wheels that can't be held against any release that they ask for.

    An error for the unstable ABI, of which nothing is known without the release.
    """
    abi = subject.torch_abi
    if abi is TorchAbi.NONE or not any(demand is not None for demand in subject.demands):
        return
    row = subject.matrix.row.values()
    if abi is TorchAbi.UNSTABLE and all(cell.status is ReleaseStatus.UNKNOWN for cell in row):
        yield Hit(
            "no build of torch for its platform is known: whether it loads with what"
            f" {subject.source} asks for is not known",
            evidence=tags(tag.platform for tag in subject.claims.tags),
            fix="judge it with --against the torch that it is for",
            severity=Severity.ERROR,
        )
        return
    if any(admitted_torch(demand, catalog.releases) for demand in subject.demands):
        return
    asked = " or ".join(f"torch{demand}" for demand in subject.demands if demand is not None)
    yield Hit(
        f"{subject.source} asks for {asked}, and the catalog knows {catalog.releases[0]} to"
        f" {catalog.newest}: whether it loads there is not known",
        evidence=requirements(subject.demands),
        fix="use a torch-abi-audit that knows that release, or --against with that torch",
        severity=Severity.ERROR if abi is TorchAbi.UNSTABLE else None,
    )


@rule(
    "torch-promise-broken",
    Severity.ERROR,
    "it does not load with a torch from the one on that --min-torch promises",
    why="A project promises its users an oldest torch. One call of a newer function, or a newer"
    " torch to build with, raises the floor, and nobody sees it before the release is out.",
    fix="Let the compiler refuse what is newer than the promise:\n"
    "    -DTORCH_TARGET_VERSION=0x020a000000000000\n"
    "or make the promise a newer one, in pyproject.toml:\n"
    "    [tool.torch-abi-audit]\n"
    '    min-torch = "2.11"',
)
def torch_promise_broken(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report what breaks the promise: a symbol, a library, or the metadata."""
    promised = subject.min_torch
    if promised is None:
        return
    said = f"torch {short(promised)} and newer are promised"
    fix = "promise less"
    if promised >= catalog.promised_since:
        fix = f"build it with -DTORCH_TARGET_VERSION={_target(promised)}, or promise less"
    kept_by_all = True
    floors = {i.path: i.torch.floor for i in subject.libraries if i.torch.floor is not None}
    for path, row in subject.matrix.libraries.items():
        broken = [
            release
            for release, cell in row.items()
            if release >= promised
            and cell.status is ReleaseStatus.BREAKS
            and is_missed(subject, path, release)
        ]
        floor = floors.get(path)
        if broken:
            # What is missing where most is, which for a floor is all that is newer.
            kept_by_all = False
            reasons = row[broken[0]].reasons
            yield Hit(
                f"{said}, and it does not load with torch {ranges(broken, catalog.releases)}:"
                f" {reasons[0]}",
                libraries=(path,),
                evidence=lacking(reasons),
                fix=fix,
            )
        elif floor is not None and floor.release > promised:
            kept_by_all = False
            since = f"{join(floor.symbols[:1])} first appeared in" if floor.symbols else "it needs"
            yield Hit(
                f"{said}, and {since} torch {floor.release}",
                libraries=(path,),
                evidence=symbols(floor.symbols),
                fix=fix,
            )
    kept = [release for release in catalog.published if release >= promised]
    for demand in subject.demands:
        if kept_by_all and demand is not None and kept and not admitted_torch(demand, kept[:1]):
            yield Hit(
                f"{said}, and {subject.source} does not admit torch {kept[0]}",
                evidence=requirements([demand]),
                fix=require(f"torch>={short(promised)}"),
            )


def _likeness(one: str, other: str) -> float:
    from difflib import SequenceMatcher  # noqa: PLC0415 -- for bad news only

    # Names can be hostile, and the comparison is quadratic.
    return SequenceMatcher(None, one[:_COMPARED], other[:_COMPARED], autojunk=False).ratio()


def _where_it_loads(subject: Subject, catalog: Catalog, names: Sequence[str]) -> Fix | None:
    """Return the requirement that admits the releases which the target loads with."""
    stable = subject.torch_abi is TorchAbi.STABLE
    loading = advised_releases(subject)
    if subject.torch_abi is not TorchAbi.UNSTABLE:
        loading = [r for r, cell in subject.matrix.row.items() if cell.status in LOADING]
    if not loading:
        return None
    fix = require(requirement(loading, catalog.published, open_ended=stable))
    leaked = {name for item in subject.libraries for name in item.torch.leaked}
    if leaked.issuperset(names):  # it is libstdc++'s: torch only happens to have it
        return Fix(
            f"link with -lstdc++ named before torch's libraries, or {fix.text}", fix.requires
        )
    return fix


def _instead(
    subject: Subject,
    catalog: Catalog,
    path: str,
    missing: Sequence[Reason],
    release: Version,
) -> str:
    """Say what a release has of the same name as a symbol that it lacks.

    Another signature is what most often takes a symbol away.
    """
    of_path = [item for item in subject.libraries if item.path == path]
    known = [item.platform for item in of_path if item.platform in catalog.platforms]
    platform = catalog.platforms[known[0] or ""] if known else None
    for reason in missing[:_COMPARED_SYMBOLS]:
        declared = qualified_name(reason.name)
        if declared is None or platform is None:
            continue
        lacking = demangle(reason.name) or ""
        # Constructors and destructors have several symbols of one declaration.
        overloads = {
            demangle(other) or ""
            for other in islice(
                platform.beginning_with(owner_prefix(reason.name)), _COMPARED_OVERLOADS
            )
            if qualified_name(other) == declared and release in platform.releases_of(other)
        } - {lacking}
        if overloads:
            alike = max(sorted(overloads), key=lambda other: _likeness(other, lacking))
            return f"torch {release} has {alike} instead of {lacking}"
    return ""


@rule(
    "torch-floor-overstated",
    Severity.NOTE,
    "it excludes releases the wheel would run on",
    why="Nothing breaks; but users of the releases that are left out can't install a wheel that "
    "would work for them, and you may be building wheels that one replaces.",
    fix='If the wheel is tested there, ask for less:\n    dependencies = ["torch>=2.10"]',
)
def torch_floor_overstated(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report releases that the wheel is guaranteed on and installers will not choose."""
    row = subject.matrix.row
    guaranteed = {r for r, cell in row.items() if cell.status is ReleaseStatus.GUARANTEED}
    if (
        None in subject.demands
        or not subject.demands
        or subject.source is not DemandSource.METADATA
    ):
        return
    excluded = guaranteed - admitted_by_any(subject.demands, catalog.releases)
    if excluded:
        yield Hit(
            f"the metadata excludes torch {ranges(excluded, catalog.releases)}, where the stable"
            " ABI guarantees that it loads",
            evidence=requirements(subject.demands),
            fix=require(requirement(guaranteed, catalog.published, open_ended=True)),
        )

"""Rules about what the metadata asks of torch, against what the libraries need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch_abi_audit.abi.names import demangle, owner_prefix, qualified_name
from torch_abi_audit.abi.torch import highest_floor, worst_abi
from torch_abi_audit.claims import (
    admitted_torch,
    extras_with_torch,
    future_torch,
    torch_specifiers,
)
from torch_abi_audit.model import BY_METADATA, Cause, ReleaseStatus, Severity, Subject, TorchAbi
from torch_abi_audit.rules.judged import LOADING, is_about_cuda, is_missed, judged_releases
from torch_abi_audit.rules.registry import Hit, rule
from torch_abi_audit.rules.words import count, does, join, ranges, requirement, short

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

    from torch_abi_audit.catalog import Catalog
    from torch_abi_audit.model import Reason


_COMPARED = 1000  # characters of a declaration


@rule(
    "torch-floor-understated",
    Severity.ERROR,
    "`Requires-Dist: torch` admits releases older than the floor",
)
def torch_floor_understated(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report releases of torch that installers may choose and the wheel does not load on."""
    floor = highest_floor(library.torch for library in subject.libraries)
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
    help_ = f"Requires-Dist: torch>={short(floor.release)}"
    if subject.judge != BY_METADATA:
        help_ = f"it is for torch>={short(floor.release)}"
    if floor.symbols and oldest >= catalog.promised_since:
        help_ += f", or build with -DTORCH_TARGET_VERSION={_target(oldest)}"
    yield Hit(
        f"{subject.judge} admits torch {oldest}, the wheel needs {floor.release} or newer: {why}",
        library=next(
            library.path
            for library in subject.libraries
            if library.torch.floor is not None and library.torch.floor.release == floor.release
        ),
        evidence=floor.symbols,
        help=help_,
    )


def _target(release: Version) -> str:
    """Return a release as the macro TORCH_TARGET_VERSION takes it (headers of 2.10)."""
    return f"0x{release.major:02x}{release.minor:02x}{0:012x}"


@rule(
    "torch-undeclared",
    Severity.WARNING,
    "a library needs torch and the metadata does not require it",
)
def torch_undeclared(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report a dependency that no installer knows of."""
    users = [library for library in subject.libraries if library.torch.needs_torch]
    claims = subject.claims
    if not users or not claims.stated or None not in torch_specifiers(claims):
        return
    extras = extras_with_torch(subject.claims)
    if extras:
        where = f"requires it only with the extra {join(extras)}"
    elif subject.claims.torch_requirements:
        where = "requires it only under a marker that does not hold everywhere"
    else:
        where = "does not require it"
    floor = highest_floor(library.torch for library in users)
    if floor is not None:
        line = f"Requires-Dist: torch>={short(floor.release)}"
    elif worst_abi(library.torch for library in users) is TorchAbi.UNSTABLE:
        row = subject.matrix.row
        loading = [r for r, cell in row.items() if cell.status in LOADING]
        pin = requirement(loading, catalog.published) if loading else "torch==X.Y.*"
        line = f"Requires-Dist: {pin}"
    else:
        line = "Requires-Dist: torch"
    yield Hit(
        f"{does(len(users), 'library', 'need')} torch, and the metadata {where}",
        library=users[0].path if len(users) == 1 else None,
        evidence=tuple(library.path for library in users) if len(users) > 1 else (),
        help=f"add {line}",
    )


@rule(
    "torch-unpinned",
    Severity.ERROR,
    "unstable ABI, and the metadata admits releases beyond those it links with",
)
def torch_unpinned(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report an unstable wheel that installers may put beside other releases of torch."""
    if worst_abi(library.torch for library in subject.libraries) is not TorchAbi.UNSTABLE:
        return
    row = subject.matrix.row
    loading = [release for release, cell in row.items() if cell.status in LOADING]
    failing = [release for release, cell in row.items() if cell.status is ReleaseStatus.BREAKS]
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
            help_ = f"Requires-Dist: {requirement(loading, catalog.published)}"
        elif judged:
            loads = f"it loads with no torch of {catalog.releases[0]} to {catalog.newest}"
            help_ = "build it with one release of torch, and require that release"
        else:
            loads = "it is tied to the release that it was built with"
            help_ = "Requires-Dist: torch==X.Y.*, the release that it was built with"
        yield Hit(
            f"{loads}, and {subject.judge} {_admits(specifier, admitted, future=bool(future))}",
            evidence=() if specifier is None else (f"torch{specifier}",),
            help=help_,
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
)
def torch_symbol_missing(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report what keeps libraries from loading, once for each library.

    What CUDA is the cause of is reported by the rules about CUDA.
    """
    judged = judged_releases(subject, catalog)
    alternatives = subject.matrix.alternatives
    for path, row in subject.matrix.libraries.items():
        missing: dict[Version, list[Reason]] = {}
        for release in judged:
            if not is_missed(subject, path, release):
                continue
            reasons = [reason for reason in row[release].reasons if not is_about_cuda(reason)]
            own = [reason for reason in reasons if reason.cause is not Cause.SIBLING]
            if own:
                missing[release] = own
        if missing:
            newest = max(missing)
            names = dict.fromkeys(reason.name for found in missing.values() for reason in found)
            yield Hit(
                f"torch {ranges(missing, catalog.releases)}, which {subject.judge} admits,"
                f" {'lacks' if len(missing) == 1 else 'lack'} {count(len(names), 'name')} that it"
                f" needs; {newest} lacks {missing[newest][0]}",
                library=path,
                evidence=tuple(names),
                help=_instead(subject, catalog, path, missing[newest], newest),
            )
    unserved: dict[str, list[Version]] = {}
    for release in judged:
        for reason in subject.matrix.row[release].reasons:
            if reason.cause is Cause.ALTERNATIVE:
                unserved.setdefault(reason.name, []).append(release)
    for group, releases in unserved.items():
        yield Hit(
            f"there is no library for torch {ranges(releases, catalog.releases)}, which"
            f" {subject.judge} admits, among the alternatives of {group}",
            evidence=tuple(path for path, item in alternatives.items() if item.group == group),
            help="add one for each release, or exclude the release",
        )


def _likeness(one: str, other: str) -> float:
    from difflib import SequenceMatcher  # noqa: PLC0415 -- for bad news only

    # Names can be hostile, and the comparison is quadratic.
    return SequenceMatcher(None, one[:_COMPARED], other[:_COMPARED], autojunk=False).ratio()


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
    for reason in missing:
        declared = qualified_name(reason.name)
        if declared is None or platform is None:
            continue
        lacking = demangle(reason.name) or ""
        # Constructors and destructors have several symbols of one declaration.
        overloads = {
            demangle(other) or ""
            for other in platform.beginning_with(owner_prefix(reason.name))
            if qualified_name(other) == declared and release in platform.releases_of(other)
        } - {lacking}
        if overloads:
            alike = max(sorted(overloads), key=lambda other: _likeness(other, lacking))
            return f"torch {release} has {alike} instead of {lacking}"
    return ""


@rule("torch-floor-overstated", Severity.NOTE, "it excludes releases the wheel would run on")
def torch_floor_overstated(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report releases that the wheel is guaranteed on and installers will not choose."""
    row = subject.matrix.row
    guaranteed = {r for r, cell in row.items() if cell.status is ReleaseStatus.GUARANTEED}
    if None in subject.demands or not subject.demands or subject.judge != BY_METADATA:
        return
    admitted = {
        release
        for demand in subject.demands
        for release in admitted_torch(demand, catalog.releases)
    }
    excluded = guaranteed - admitted
    if excluded:
        yield Hit(
            f"the metadata excludes torch {ranges(excluded, catalog.releases)}, where the stable"
            " ABI guarantees that it loads",
            evidence=tuple(f"torch{demand}" for demand in subject.demands if demand),
            help="Requires-Dist: " + requirement(guaranteed, catalog.published, open_ended=True),
        )

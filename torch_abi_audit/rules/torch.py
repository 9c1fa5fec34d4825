"""Rules about torch: its ABI, and what the metadata asks of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch_abi_audit.abi.names import demangle, owner_prefix, qualified_name
from torch_abi_audit.abi.platform import libstdcxx_is_promised
from torch_abi_audit.abi.torch import highest_floor, is_torchs, worst_abi
from torch_abi_audit.claims import (
    admitted_torch,
    extras_with_torch,
    future_torch,
    torch_specifiers,
)
from torch_abi_audit.model import Cause, ReleaseStatus, Severity, Subject, TorchAbi
from torch_abi_audit.rules.registry import Hit, rule
from torch_abi_audit.rules.words import count, join, ranges, requirement, short

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

    from torch_abi_audit.catalog import Catalog
    from torch_abi_audit.model import Reason


@rule(
    "unstable-torch-symbol",
    Severity.ERROR,
    "a library imports a symbol of libtorch that is not a stable shim",
)
def unstable_torch_symbol(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report what keeps a library off the stable ABI."""
    for library in subject.libraries:
        unstable = library.torch.unstable
        if unstable:
            yield Hit(
                f"it imports {count(len(unstable), 'symbol')} of libtorch outside the stable ABI",
                library=library.path,
                evidence=unstable,
                help=(
                    "use torch::stable and torch::headeronly instead, and build with"
                    " -DTORCH_TARGET_VERSION, which makes every other header of torch an error"
                ),
            )


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
    if floor.symbols:
        help_ += (
            f", or build with -DTORCH_TARGET_VERSION={_target(max(oldest, catalog.promised_since))}"
        )
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


@rule(
    "torch-undeclared",
    Severity.WARNING,
    "a library needs torch and the metadata does not require it",
)
def torch_undeclared(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report a dependency that no installer knows of."""
    users = [library for library in subject.libraries if library.torch.needs_torch]
    if not users or None not in torch_specifiers(subject.claims):
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
        loading = [r for r, cell in row.items() if cell.status is ReleaseStatus.LINKS]
        line = f"Requires-Dist: {requirement(loading) if loading else 'torch==X.Y.*'}"
    else:
        line = "Requires-Dist: torch"
    yield Hit(
        f"{count(len(users), 'library')} {'needs' if len(users) == 1 else 'need'} torch,"
        f" and the metadata {where}",
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
    loading = [release for release, cell in row.items() if cell.status is ReleaseStatus.LINKS]
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
            help_ = f"Requires-Dist: {requirement(loading)}"
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
    "a torch release that the metadata admits does not provide a symbol",
)
def torch_symbol_missing(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report the symbols that keep libraries from loading, once for each library."""
    alternatives = subject.matrix.alternatives
    for path, row in subject.matrix.libraries.items():
        missing: dict[Version, list[Reason]] = {}
        for release in _judged(subject, catalog):
            meant = alternatives.get(path)
            if meant is None or meant.release == release.release[:2]:
                symbols = [r for r in row[release].reasons if r.cause is Cause.SYMBOL]
                if symbols:
                    missing[release] = symbols
        if not missing:
            continue
        newest = max(missing)
        names = dict.fromkeys(reason.name for found in missing.values() for reason in found)
        has = _instead(subject, catalog, path, missing[newest])
        yield Hit(
            f"torch {ranges(missing, catalog.releases)}, which {subject.judge} admits,"
            f" {'lacks' if len(missing) == 1 else 'lack'} {count(len(names), 'symbol')} that it"
            f" imports; {newest} lacks {missing[newest][0]}",
            library=path,
            evidence=tuple(names),
            help=f"torch {newest} has instead {has}" if has else "",
        )


def _instead(
    subject: Subject, catalog: Catalog, path: str, missing: Sequence[Reason]
) -> str | None:
    """Return what the newest release that lacks symbols has of the same name as the first.

    Another signature is what most often takes a symbol away.
    """
    (item,) = (item for item in subject.libraries if item.path == path)
    platform = catalog.platforms.get(item.platform or "")
    if platform is None:
        return None
    for reason in missing:
        declared = qualified_name(reason.name)
        if declared is None:
            continue
        for other in platform.beginning_with(owner_prefix(reason.name)):
            releases = platform.releases_of(other)
            if other != reason.name and releases and qualified_name(other) == declared:
                return f"{demangle(other)} ({ranges(releases, catalog.releases)})"
    return None


@rule("torch-floor-overstated", Severity.NOTE, "it excludes releases the wheel would run on")
def torch_floor_overstated(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report releases that the wheel is guaranteed on and installers will not choose."""
    row = subject.matrix.row
    guaranteed = {r for r, cell in row.items() if cell.status is ReleaseStatus.GUARANTEED}
    if None in subject.demands:
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
            help="Requires-Dist: "
            + requirement(guaranteed, open_ended=catalog.newest in guaranteed),
        )


@rule(
    "cuda-major-mismatch",
    Severity.ERROR,
    "it needs a CUDA runtime of another major than an admitted torch release brings,"
    " and nothing in the wheel or its requirements brings it",
)
def cuda_major_mismatch(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report releases of torch beside which the CUDA runtime is not found."""
    broken: dict[Version, list[Reason]] = {}
    needing: dict[str, str] = {}
    for path, row in subject.matrix.libraries.items():
        for release in _judged(subject, catalog):
            for reason in row[release].reasons:
                if reason.cause is Cause.CUDA and "without CUDA" not in reason.detail:
                    broken.setdefault(release, []).append(reason)
                    needing.setdefault(reason.name, path)
    if not broken:
        return
    examples = dict.fromkeys((broken[min(broken)][0], broken[max(broken)][0]))
    row = subject.matrix.row
    good = [
        release
        for release in _judged(subject, catalog)
        if row[release].status in (ReleaseStatus.GUARANTEED, ReleaseStatus.LINKS)
    ]
    if good:
        fix = f"Requires-Dist: {requirement(good, open_ended=catalog.newest in good)}"
        help_ = f"{fix}, or publish a wheel for each major of CUDA"
    else:
        help_ = "build it with the CUDA of the torch release that it requires"
    yield Hit(
        f"it does not load with torch {ranges(broken, catalog.releases)}: it needs"
        f" {'; '.join(map(str, examples))}",
        library=next(iter(needing.values())) if len(set(needing.values())) == 1 else None,
        evidence=tuple(sorted(needing)),
        help=help_,
    )


@rule(
    "cuda-build-required",
    Severity.NOTE,
    "it links libtorch_cuda or libc10_cuda, so it loads only with a CUDA build of torch",
)
def cuda_build_required(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report libraries that builds of torch without CUDA do not serve.

    An error where no release that the metadata admits has a build with CUDA on the index.
    """
    users = [item for item in subject.libraries if any("cuda" in n for n in item.torch.needed)]
    if not users:
        return
    judged = _judged(subject, catalog)
    keys = sorted({item.platform for item in users if item.platform is not None})
    builds = [
        build
        for key in keys
        if key in catalog.platforms
        for build in catalog.platforms[key].builds
        if build.version in judged
    ]
    without = bool(builds) and all(build.cuda is None for build in builds)
    names = sorted({name for item in users for name in item.torch.needed if "cuda" in name})
    where = f", and the index has none for {join(keys)}" if without else ""
    yield Hit(
        f"{count(len(users), 'library')} {'loads' if len(users) == 1 else 'load'} only with a"
        f" build of torch with CUDA{where}",
        library=users[0].path if len(users) == 1 else None,
        evidence=tuple(names),
        help="" if not without else "build it without CUDA for this platform",
        severity=Severity.ERROR if without else None,
    )


@rule(
    "leaked-libstdcxx-symbol",
    Severity.WARNING,
    "it takes a symbol of libstdc++ from libtorch, which exports it since some release only",
)
def leaked_libstdcxx_symbol(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report names of libstdc++ that are newer than what the platform tag promises."""
    tags = frozenset(tag.platform for tag in subject.claims.tags)
    since: dict[str, Version] = {}
    versions: dict[str, str] = {}
    users: list[str] = []
    for item in subject.libraries:
        platform = catalog.platforms.get(item.platform or "")
        if platform is None or not item.torch.leaked:
            continue
        for name in item.torch.leaked:
            leak = platform.leaks[name]
            if not libstdcxx_is_promised(leak.version, tags):
                numbers = [n for n in range(len(platform.builds)) if leak.mask >> n & 1]
                since[name] = platform.builds[numbers[0]].version
                versions[name] = leak.version
                users.append(item.path)
    if since:
        newest = max(since, key=lambda name: (since[name], name))
        paths = list(dict.fromkeys(users))
        yield Hit(
            f"{count(len(paths), 'library')} {'takes' if len(paths) == 1 else 'take'}"
            f" {count(len(since), 'symbol')} of libstdc++ from libtorch, newer than"
            f" {join(tags)} promises: torch has {newest} since {since[newest]}, libstdc++ since"
            f" {versions[newest]}",
            library=paths[0] if len(paths) == 1 else None,
            evidence=tuple(sorted(since)),
            help="link with -lstdc++ named before torch's libraries",
        )


@rule(
    "foreign-symbol-from-libtorch",
    Severity.WARNING,
    "it relies on a third-party library's copy that libtorch happens to export",
)
def foreign_symbol_from_libtorch(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report functions that are no part of torch and that any release may drop."""
    for item in subject.libraries:
        foreign = item.torch.foreign
        if foreign:
            yield Hit(
                f"it finds {count(len(foreign), 'symbol')} of other projects only in the copies"
                " that libtorch happens to export",
                library=item.path,
                evidence=foreign,
                help="link that library itself",
            )


@rule(
    "unguaranteed-shim",
    Severity.NOTE,
    "a C shim outside the headers that the stable ABI's promise names, or deprecated there",
)
def unguaranteed_shim(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report shims that torch exports and does not promise to keep."""
    for item in subject.libraries:
        names = [name for name in item.torch.shims if not catalog.shims[name].promised]
        if names:
            headers = {catalog.shims[name].header.rpartition("/")[2] for name in names}
            yield Hit(
                f"it uses {count(len(names), 'shim')} of {join(headers)}, which the promise of"
                " ABI stability does not name",
                library=item.path,
                evidence=tuple(names),
            )


@rule(
    "unstable-inline-code",
    Severity.WARNING,
    "code inlined from libtorch's unstable headers, which no undefined symbol shows",
)
def unstable_inline_code(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report stable libraries that were not compiled against the stable headers alone."""
    for item in subject.libraries:
        inlined = item.torch.inlined
        if inlined:
            yield Hit(
                f"it imports stable shims only, and defines {count(len(inlined), 'function')} of"
                " torch's unstable headers itself",
                library=item.path,
                evidence=inlined,
                help="build with -DTORCH_TARGET_VERSION, which makes those headers an error",
            )


@rule(
    "links-torch-python",
    Severity.NOTE,
    "it needs libtorch_python",
)
def links_torch_python(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report libraries that are tied to a torch for Python.

    A warning where a symbol of it is used, not only linked (which is the default of
    torch's build helper).
    """
    linked: list[str] = []
    using: list[str] = []
    for item in subject.libraries:
        python = [name for name in item.torch.needed if "torch_python" in name]
        if not python:
            continue
        platform = catalog.platforms.get(item.platform or "")
        used = platform is not None and any(
            set(platform.table.exporters(name)) <= set(python)
            for name in (*item.torch.unstable, *item.torch.foreign)
            if platform.table.exporters(name)
        )
        (using if used else linked).append(item.path)
    if using:
        yield Hit(
            f"{count(len(using), 'library')} {'uses' if len(using) == 1 else 'use'}"
            " libtorch_python, which is built for one Python",
            library=using[0] if len(using) == 1 else None,
            evidence=tuple(using) if len(using) > 1 else (),
            severity=Severity.WARNING,
        )
    if linked:
        yield Hit(
            f"{count(len(linked), 'library')} {'needs' if len(linked) == 1 else 'need'}"
            " libtorch_python, and nothing from it is imported",
            library=linked[0] if len(linked) == 1 else None,
            evidence=tuple(linked) if len(linked) > 1 else (),
            help="leave torch_python out of `libraries`, or build with py_limited_api=True",
        )


def _judged(subject: Subject, catalog: Catalog) -> list[Version]:
    """Return the releases to judge against: admitted, in the catalog, not below the floor.

    Releases below the floor are another rule's; where nothing is asked of torch, all
    others are judged.
    """
    floor = highest_floor(item.torch for item in subject.libraries)
    return [
        release
        for release in catalog.releases
        if release in subject.matrix.row
        and (floor is None or release >= floor.release)
        and any(admitted_torch(demand, [release]) for demand in subject.demands)
    ]


@rule(
    "unknown-shim-symbol",
    Severity.WARNING,
    "a shim-like symbol that the catalog does not know: the floor is a lower bound",
)
def unknown_shim_symbol(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report shims that are newer than the catalog, or nobody's."""
    for library in subject.libraries:
        unknown = library.torch.unknown_shims
        if unknown:
            yield Hit(
                f"no torch up to {catalog.newest} declares {count(len(unknown), 'function')} that"
                " it imports: the floor is a lower bound",
                library=library.path,
                evidence=unknown,
                help=(
                    "if torch provides it, use a torch-abi-audit whose catalog knows that release"
                ),
            )


@rule(
    "bundled-libtorch",
    Severity.ERROR,
    "the wheel carries its own libtorch, libc10 or libtorch_python",
)
def bundled_libtorch(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report copies of torch's libraries: two libtorch in one process do not work together."""
    if subject.claims.name == "torch":
        return
    for library in subject.libraries:
        if is_torchs(library.path, library.library):
            yield Hit(
                "the wheel carries a library of torch's own, beside the one of the torch that"
                " is installed",
                library=library.path,
                evidence=(library.library.soname,) if library.library.soname else (),
                help="exclude it from the repair step: auditwheel repair --exclude 'libtorch*'"
                " --exclude 'libc10*'",
            )


def _target(release: Version) -> str:
    """Return a release as the macro TORCH_TARGET_VERSION takes it (headers of 2.10)."""
    return f"0x{release.major:02x}{release.minor:02x}{0:012x}"

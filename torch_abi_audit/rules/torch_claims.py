"""Rules that compare the metadata's requirement on torch with what the libraries need."""

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
    with_bounds,
)
from torch_abi_audit.claims.variants import VARIANT_FILE, torch_property
from torch_abi_audit.model import (
    LOADING,
    Cause,
    DemandSource,
    Evidence,
    EvidenceKind,
    Fix,
    MetadataChange,
    ReleaseStatus,
    Severity,
    Sign,
    Subject,
    TorchAbi,
)
from torch_abi_audit.rules.checked import (
    checked_releases,
    contradictions,
    is_impossible,
    is_missed,
    is_unconfined,
    pins,
)
from torch_abi_audit.rules.evidence import lacking, requirements, symbols, tags
from torch_abi_audit.rules.registry import TORCH_UNUSED, Hit, require, rule
from torch_abi_audit.wording import either, join, ranges, short, unique

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from packaging.version import Version

    from torch_abi_audit.catalog import Catalog
    from torch_abi_audit.model import Reason


_COMPARED = 1000  # characters of a declaration
# Bounds on the symbols that a release lacks, and on those that it may have instead: only kernel
# templates have more symbols with one name.
_COMPARED_SYMBOLS, _COMPARED_OVERLOADS = 20, 500


@rule(
    "torch-floor-understated",
    Severity.ERROR,
    "the metadata allows torch releases older than the oldest one the wheel loads on",
    why="Installers only read the metadata. They install the wheel next to a torch release that"
    " lacks what it imports, and `import` fails with an undefined symbol on the user's machine.",
    fix="Require the release that the wheel needs, in pyproject.toml:\n"
    '    dependencies = ["torch>=2.11"]\n'
    "or build for the oldest release you want to support, and let the compiler reject newer"
    " functions:\n"
    "    -DTORCH_TARGET_VERSION=0x020a000000000000",
)
def torch_floor_understated(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report torch releases that installers may choose but that the wheel does not load on."""
    floor = subject.torch_floor
    if floor is None:
        return
    allowed = admitted_by_any((d for d in subject.demands if d is not None), catalog.published)
    named = {item.release for item in contradictions(subject, catalog)}  # wrongly, by a variant
    older = [release for release in allowed - named if release < floor.release]
    if not older:
        return
    why = (
        f"{floor.symbols[0]} was added in {short(floor.release)}"
        if floor.symbols
        else f"the stable ABI starts with {short(floor.release)}"
    )
    more = ""
    if min(older) >= catalog.promised_since:  # so it is symbols that set the floor
        more = f", or build with -DTORCH_TARGET_VERSION={_target(min(older))}"
    yield Hit(
        f"{subject.source} allows torch {ranges(older, catalog.published)}, but the wheel needs"
        f" {short(floor.release)} or newer: {why}",
        libraries=unique(
            library.path
            for library in subject.libraries
            if library.torch.floor is not None and library.torch.floor.release == floor.release
        ),
        evidence=symbols(floor.symbols),
        fix=_required(subject, catalog, f"torch>={short(floor.release)}", more),
    )


def _required(subject: Subject, catalog: Catalog, line: str, more: str = "") -> Fix | None:
    """Return the fix that requires torch; None if the user chose the releases.

    What the author has excluded stays excluded.
    """
    if subject.source is not DemandSource.METADATA:
        return None
    return require(with_bounds(line, subject.required, catalog.published), more)


def _target(release: Version) -> str:
    """Return a release as a value for the macro TORCH_TARGET_VERSION (headers of 2.10)."""
    return f"0x{release.major:02x}{release.minor:02x}{0:012x}"


@rule(
    "torch-undeclared",
    Severity.WARNING,
    "a library links to torch, but the metadata does not declare it",
    why="Without a requirement on torch no installer knows that the wheel needs torch, or which"
    " release: the wheel is installed next to any torch, or none, and a torch update breaks it"
    " without a warning.",
    fix="Declare it in pyproject.toml, with the oldest release that the report names:\n"
    '    dependencies = ["torch>=2.11"]',
)
def torch_undeclared(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report that torch is not declared; on the unstable ABI `torch_unpinned` does so."""
    users = [library for library in subject.libraries if library.torch.needs_torch]
    if not users or None not in subject.required or is_unconfined(subject, catalog):
        return
    floor = subject.torch_floor
    line = "torch" if floor is None else f"torch>={short(floor.release)}"
    loading = [r for r, cell in subject.matrix.row.items() if cell.status in LOADING]
    if floor is not None and loading:
        # The range may end for another reason than it begins: CUDA, for example.
        line = requirement(loading, catalog.published, open_ended=True)
    allowed = admitted_by_any(subject.demands, catalog.published)
    of_variant = subject.source is DemandSource.METADATA and subject.claims.variant is not None
    if subject.torch_abi is TorchAbi.UNSTABLE and of_variant and allowed:
        # Only a variant confines it so far: once it is installed, nothing goes by its property.
        line = requirement(allowed, catalog.published)
    yield Hit(
        f"{{libraries:link}} to torch, but the metadata {_undeclared(subject)}",
        libraries=unique(library.path for library in users),
        fix=require(line),
    )


def _undeclared(subject: Subject) -> str:
    """Say how the metadata fails to declare torch."""
    extras = extras_with_torch(subject.claims)
    if extras:
        return f"declares it only for the extra {join(extras)}"
    if subject.claims.torch_requirements:
        return "declares it only under a marker that does not always apply"
    return "does not declare it"


@rule(
    "torch-unpinned",
    Severity.ERROR,
    "a library uses the unstable ABI, but the metadata allows more torch releases than the wheel"
    " was built for",
    why="A wheel on the unstable ABI is for the minor release that it was built with. Next to"
    " another one it often does not load at all. Where it does load, all that is known is that"
    " every symbol resolves: class layouts may differ, and then it reads the wrong memory.",
    fix="Pin the minor release that it was built with, in pyproject.toml:\n"
    '    dependencies = ["torch==2.10.*"]\n'
    "or move to the stable ABI (see unstable-torch-symbol), which needs a lower bound only.\n"
    "A variant wheel (PEP 825 and PEP 850, drafts) may have the property instead:\n"
    "    abi_dependency::torch::2.10",
)
def torch_unpinned(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report an unstable wheel that installers may combine with other torch releases."""
    if not is_unconfined(subject, catalog):
        return
    row = subject.matrix.row
    loading = [release for release, cell in row.items() if cell.status in LOADING]
    known = [cell for cell in row.values() if cell.status is not ReleaseStatus.UNKNOWN]
    if loading:
        only = "only " if len(loading) < len(known) else ""
        loads = f" and loads {only}on torch {ranges(loading, catalog.published)}"
    elif known:
        of_all = ranges(catalog.releases, catalog.releases)
        loads = f" and does not load on any known torch release ({of_all})"
    else:
        loads = ""
    yield Hit(
        f"the wheel uses the unstable ABI{_of_build(subject)}{loads}, but"
        f" {_allowed(subject, catalog)}",
        libraries=unique(i.path for i in subject.libraries if i.torch.abi is TorchAbi.UNSTABLE),
        evidence=(*requirements(subject.demands), *_beyond(subject, catalog)),
        fix=_pin(subject, catalog),
    )


def _of_build(subject: Subject) -> str:
    """Say which release a target was built with, if known."""
    built = subject.built_with
    if built is None or built.sign is Sign.DATE or not built.releases:
        return ""
    return f" (built with torch {either(built.releases)})"


def _pin(subject: Subject, catalog: Catalog) -> Fix | None:
    """Return the fix that pins the release that the target was built with."""
    if subject.source is not DemandSource.METADATA:
        return None
    found = pins(subject, catalog)
    match found:
        case []:
            return Fix(
                "rebuild the wheel with one torch release, and pin that release"
                if any(c.status is ReleaseStatus.BREAKS for c in subject.matrix.row.values())
                else "pin the torch release that the wheel was built with"
            )
        case [line]:
            return require(line, _as_property(subject, line))
        case [*_]:
            lines = " or ".join(f'"{line}"' for line in found)
            return Fix(
                f"pin the torch release that the wheel was built with: {lines}",
                choices=tuple(MetadataChange(torch=line) for line in found),
            )


def _as_property(subject: Subject, line: str) -> str:
    """Return what a variant wheel may have instead of a pin (PEP 825, a draft)."""
    item = torch_property(line)
    return f", or {item} in {VARIANT_FILE}" if item and subject.claims.variant else ""


def _allowed(subject: Subject, catalog: Catalog) -> str:
    """Say which releases the metadata allows, as the second half of a sentence."""
    if None in subject.demands:
        return (
            f"the metadata {_undeclared(subject).replace(' it ', ' torch ')}"
            if subject.claims.torch_requirements
            else "torch is not declared as a dependency"
        )
    allowed = admitted_by_any(subject.demands, catalog.published)
    future = any(future_torch(demand, catalog.newest) for demand in subject.demands)
    if not allowed:
        return f"{subject.source} allows several releases that are not out yet"
    if any(not str(demand) for demand in subject.demands):
        return f"{subject.source} allows any release"
    named = ranges(allowed, catalog.published, open_ended=future)
    return f"{subject.source} allows torch {named}"


def _beyond(subject: Subject, catalog: Catalog) -> Iterator[Evidence]:
    """Yield what is missing from the releases that the metadata allows and a pin would exclude."""
    row = subject.matrix.row
    allowed = admitted_by_any(subject.demands, catalog.releases)
    seen: set[str] = set()
    for release in sorted(allowed, reverse=True):
        cell = row.get(release)
        for reason in cell.reasons if cell else ():
            if reason.cause is Cause.SYMBOL and reason.name not in seen:
                seen.add(reason.name)
                detail = f"torch {release}: {reason.detail}"
                yield Evidence(EvidenceKind.SYMBOL, reason.name, detail=detail)
                break
        for change in cell.changes if cell else ():
            if change.name not in seen:
                seen.add(change.name)
                yield Evidence(EvidenceKind.LAYOUT, change.name, detail=change.told)


@rule(
    "torch-symbol-missing",
    Severity.ERROR,
    "a torch release that the metadata allows does not export a symbol, or lacks a library, that"
    " the wheel needs",
    why="The dynamic loader stops at the first symbol that it can't find: `import` fails and"
    " prints its mangled name. The report names the release, what it lacks, and what it has"
    " instead.",
    fix="Exclude the releases that the wheel does not load on, with the line that the finding"
    " gives:\n"
    '    dependencies = ["torch>=2.12"]\n'
    "or rebuild with the oldest release that you want to support.",
)
def torch_symbol_missing(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report why libraries do not load.

    Failures caused by CUDA are left to the rules about CUDA.
    """
    checked = checked_releases(subject, catalog)
    paths: dict[str, None] = {}
    lacked: dict[tuple[Version, Reason], str] = {}
    for release in reversed(checked):  # the newest first: the message names one of its reasons
        for path, row in subject.matrix.libraries.items():
            for reason in row[release].reasons if is_missed(subject, path, release) else ():
                if not (reason.is_about_cuda or reason.is_doubt or reason.cause in _OF_OTHERS):
                    paths[path] = None
                    lacked.setdefault((release, reason), path)
    if lacked:
        newest, first = next(iter(lacked))
        evidence = lacking(reason for _, reason in lacked)
        of_first = [reason for release, reason in lacked if release == newest]
        of_path = lacked[newest, first]
        releases = {release for release, _ in lacked}
        yield Hit(
            f"torch {ranges(releases, catalog.releases)}, allowed by {subject.source},"
            f" {'lacks' if len(releases) == 1 else 'lack'} {{evidence:name}} that"
            f" {{libraries:need}}: {_told(first)}",
            libraries=tuple(path for path in subject.matrix.libraries if path in paths),
            evidence=_with_instead(evidence, _instead(subject, catalog, of_path, of_first, newest)),
            fix=_where_it_loads(subject, catalog, [item.name for item in evidence]),
        )
    yield from _unserved(subject, catalog, checked)


_OF_OTHERS = {Cause.SIBLING, Cause.COPY}  # which have findings of their own


def _told(reason: Reason) -> str:
    """Return a reason in words, with symbols as people write them."""
    of_symbol = reason.cause in (Cause.SYMBOL, Cause.BUILD)
    name = qualified_name(reason.name) if of_symbol else None
    return f"{name[:_MOST_NAMED] if name else reason.name[:_MOST_NAMED]} ({reason.detail})"


_MOST_NAMED = 50  # characters of a name in a sentence


def _with_instead(evidence: tuple[Evidence, ...], instead: tuple[str, str]) -> tuple[Evidence, ...]:
    """Add to the evidence of a symbol what the release has instead."""
    name, has = instead
    return tuple(
        item._replace(detail=f"{item.detail}; {has}") if item.name == name else item
        for item in evidence
    )


def _unserved(subject: Subject, catalog: Catalog, checked: Sequence[Version]) -> Iterator[Hit]:
    """Report releases for which no alternative is provided."""
    alternatives = subject.matrix.alternatives
    unserved: dict[str, list[Version]] = {}
    for release in checked:
        for reason in subject.matrix.row[release].reasons:
            if reason.cause is Cause.ALTERNATIVE:
                unserved.setdefault(reason.name, []).append(release)
    # Packages have several libraries for each release: those that lack the same are one finding.
    together: dict[tuple[Version, ...], list[str]] = {}
    for group, releases in unserved.items():
        together.setdefault(tuple(releases), []).append(group)
    for lacked, groups in together.items():
        named = ranges(lacked, catalog.releases)
        first, *others = groups
        of_others = f" or {others[0] if len(others) == 1 else f'{len(others)} others'}"
        yield Hit(
            f"{subject.source} allows torch {named}, but no library of"
            f" {first}{of_others if others else ''} is for that",
            libraries=tuple(path for path, item in alternatives.items() if item.group in groups),
            fix=f"add libraries for torch {named}, or exclude "
            + ("that release" if len(lacked) == 1 else "those releases"),
        )


@rule(
    "unknown-release",
    Severity.WARNING,
    "the symbol database covers none of the torch releases that the metadata allows",
    why="The tool has no symbol data for these releases, or not for all symbols of the build of"
    " torch that the wheel is for. For a wheel on the stable ABI its"
    " symbols still give the oldest release; a wheel on the unstable ABI, or with a symbol that no"
    " known release has, may not load on any of them.",
    fix="Update torch-abi-audit, which covers the torch releases up to its own release, or check"
    " the wheel against an installed torch, which is read and never imported:\n"
    "    torch-abi-audit --against path/to/site-packages WHEEL",
)
def unknown_release(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report wheels that can't be checked against any release that they allow.

    An error if nothing else indicates that the wheel loads: on the unstable ABI, and with a symbol
    that no known release has.
    """
    abi = subject.torch_abi
    if abi is TorchAbi.NONE or not any(demand is not None for demand in subject.demands):
        return
    yield from _doubtful(subject, catalog)
    row = subject.matrix.row.values()
    build = subject.build
    if build is not None and not build.is_known:
        yield Hit(
            f"nothing is known of {build}, which {build.source} names, so it can't be checked"
            " whether the wheel loads",
            evidence=tags(tag.platform for tag in subject.claims.tags),
            fix="check it with --against and one of these builds",
            severity=Severity.ERROR if abi is TorchAbi.UNSTABLE else None,
        )
        return
    if abi is TorchAbi.UNSTABLE and not any(
        c.status is not ReleaseStatus.UNKNOWN or c.reasons for c in row
    ):
        yield Hit(
            "no torch build for the wheel's platform is known, so it can't be checked whether the"
            " wheel loads",
            evidence=tags(tag.platform for tag in subject.claims.tags),
            fix="check it with --against and the torch that it is for",
            severity=Severity.ERROR,
        )
        return
    known = any(admitted_torch(demand, catalog.releases) for demand in subject.demands)
    if known or is_impossible(subject, catalog):
        return
    allowed = " or ".join(f"torch{demand}" for demand in subject.demands)
    unsure = abi is TorchAbi.UNSTABLE or any(i.torch.unknown_shims for i in subject.libraries)
    yield Hit(
        f"{subject.source} requires {allowed}, but the known releases are"
        f" {short(catalog.releases[0])}-{short(catalog.newest)}: not checked there",
        evidence=requirements(subject.demands),
        fix="update torch-abi-audit, or check with --against and that torch",
        severity=Severity.ERROR if unsure else None,
    )


def _doubtful(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report symbols of which it is not known if a derived build of torch exports them."""
    doubts = [
        (release, reason, path)
        for release in reversed(checked_releases(subject, catalog))
        for path, row in subject.matrix.libraries.items()
        for reason in (row[release].reasons if is_missed(subject, path, release) else ())
        if reason.cause is Cause.BUILD
    ]
    if doubts and subject.build is not None:
        releases = {release for release, _, _ in doubts}
        paths = {path for _, _, path in doubts}
        example = doubts[0][1]
        yield Hit(
            f"it is not known if {subject.build} of {ranges(releases, catalog.releases)} export"
            f" {{evidence:name}} that {{libraries:need}}: {_told(example)}",
            libraries=tuple(path for path in subject.matrix.libraries if path in paths),
            evidence=lacking(reason for _, reason, _ in doubts),
            fix="check with --against and one of these builds",
        )


@rule(
    TORCH_UNUSED,
    Severity.ERROR,
    "the wheel does not use torch, although --require torch is given",
    why="A check of an extension proves nothing where the file it looks at is not the extension:"
    " a build without it, the wrong path, or a stub. --require torch makes that an error.",
    fix="Check that the build compiles the extension, and that the target is the right file; or"
    " leave `require` out of the configuration.",
)
def torch_unused(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report targets that use no torch symbol although the user requires them to."""
    if subject.require_torch and subject.torch_abi is TorchAbi.NONE:
        linked = [item.path for item in subject.libraries if item.torch.needed]
        yield Hit(
            "{libraries:link} to torch, but no symbol of it is used, and --require torch is given"
            if linked
            else "no library uses torch, but --require torch is given",
            libraries=unique(linked),
            fix="check that the build compiles the extension, and that the target is the right one",
        )


@rule(
    "torch-promise-broken",
    Severity.ERROR,
    "the wheel does not support every torch release from `min-torch` on",
    why="A project tells its users which torch release is the oldest supported one. One call of a"
    " newer function raises it, and nobody notices before the release is out.",
    fix="Let the compiler reject what is newer:\n"
    "    -DTORCH_TARGET_VERSION=0x020a000000000000\n"
    "or support newer releases only, in pyproject.toml:\n"
    "    [tool.torch-abi-audit]\n"
    '    min-torch = "2.11"',
)
def torch_promise_broken(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report why a wheel does not support `min-torch`: a symbol, a library, or the metadata."""
    promised = subject.min_torch
    if promised is None:
        return
    said = f"min-torch is {short(promised)}"
    kept = [release for release in catalog.published if release >= promised][:1]
    # A variant is for some releases on purpose: others are for the rest.
    own = subject.source is DemandSource.METADATA
    demands = subject.required if own else subject.demands
    without = [demand for demand in demands if kept and not admitted_torch(demand, kept)]
    hit = _above(subject, catalog, promised)
    if hit is None and without:
        hit = Hit(
            # equivalent: at most one is kept
            f"{subject.source} does not allow torch {short(kept[0])}",
            evidence=requirements(without),
            fix=_required(subject, catalog, f"torch>={short(promised)}"),
        )
    if hit is not None:
        unstable = subject.torch_abi is TorchAbi.UNSTABLE
        # The wheel is for the release that it was built with, whatever the metadata allows.
        fix = "drop min-torch until the wheel is on the stable ABI" if unstable else hit.fix
        yield hit._replace(message=f"{said}, but {hit.message}", fix=fix)


def _above(subject: Subject, catalog: Catalog, promised: Version) -> Hit | None:
    """Return what libraries miss in releases from `promised` on; None if nothing."""
    fix = "raise min-torch"
    if promised >= catalog.promised_since:
        fix = f"build with -DTORCH_TARGET_VERSION={_target(promised)}, or raise min-torch"
    broken = [
        (release, reason, path)
        for path, row in subject.matrix.libraries.items()
        for release, cell in row.items()
        if release >= promised
        for reason in (cell.reasons if is_missed(subject, path, release) else ())
        if not reason.is_doubt
    ]
    if broken:
        releases = {release for release, _, _ in broken}
        # What is missing from the oldest: for a floor, everything added later.
        of_oldest = [item for item in broken if item[0] == min(releases)]
        reasons = [reason for _, reason, _ in of_oldest]
        return Hit(
            f"the wheel does not load on torch {ranges(releases, catalog.releases)}:"
            f" {_told(reasons[0])}",
            libraries=unique(path for _, _, path in of_oldest),
            evidence=lacking(reasons),
            fix=fix,
        )
    floor = subject.torch_floor
    if floor is None or floor.release <= promised:
        return None
    why = f": {floor.symbols[0]} was added there" if floor.symbols else ""
    return Hit(
        f"the wheel needs torch {short(floor.release)}{why}",
        libraries=unique(i.path for i in subject.libraries if i.torch.floor == floor),
        evidence=symbols(floor.symbols),
        fix=fix,
    )


def _likeness(one: str, other: str) -> float:
    from difflib import SequenceMatcher  # noqa: PLC0415 -- only needed for bad news

    # Names can be hostile, and the comparison is quadratic.
    return SequenceMatcher(None, one[:_COMPARED], other[:_COMPARED], autojunk=False).ratio()


def _where_it_loads(subject: Subject, catalog: Catalog, names: Sequence[str]) -> Fix | None:
    """Return the requirement that allows the releases on which the target loads."""
    stable = subject.torch_abi is TorchAbi.STABLE
    if subject.torch_abi is TorchAbi.UNSTABLE:
        return _pin(subject, catalog)
    loading = [r for r, cell in subject.matrix.row.items() if cell.status in LOADING]
    if not loading:
        return None
    line = requirement(loading, catalog.published, open_ended=stable)
    fix = _required(subject, catalog, line)
    leaked = {name for item in subject.libraries for name in item.torch.leaked}
    if leaked.issuperset(names):  # from libstdc++: torch only happens to have them
        link = "put -lstdc++ before the torch libraries on the link line"
        return Fix(link) if fix is None else fix._replace(text=f"{fix.text}, or {link}")
    return fix


def _instead(
    subject: Subject,
    catalog: Catalog,
    path: str,
    missing: Sequence[Reason],
    release: Version,
) -> tuple[str, str]:
    """Return a symbol that a release lacks, and what it has under the same name instead.

    Most often a symbol disappears because its signature changed.
    """
    of_path = (item.platform or "" for item in subject.libraries if item.path == path)
    platform = next(filter(None, map(catalog.platforms.get, of_path)), None)
    if platform is None:
        return "", ""  # equivalent: symbols are missing only on a known platform
    for reason in missing[:_COMPARED_SYMBOLS]:
        declared = qualified_name(reason.name)
        if declared is None:
            continue
        lacking = demangle(reason.name) or ""
        # Constructors and destructors have several symbols per declaration.
        overloads = {
            demangle(other) or ""
            for other in islice(
                platform.beginning_with(owner_prefix(reason.name)), _COMPARED_OVERLOADS
            )
            if qualified_name(other) == declared and release in platform.releases_of(other)
        } - {lacking}
        if overloads:
            alike = max(sorted(overloads), key=lambda other: _likeness(other, lacking))
            return reason.name, f"torch {release} has {alike}"
    return "", ""


@rule(
    "torch-floor-overstated",
    Severity.NOTE,
    "the metadata excludes torch releases that the wheel loads on",
    why="Nothing breaks, but users of the excluded releases can't install a wheel that would load"
    " for them, and you may be building several wheels where one would do.",
    fix="If the package's Python code is tested with these releases too, allow them:\n"
    '    dependencies = ["torch>=2.10"]',
)
def torch_floor_overstated(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report releases that the wheel is guaranteed on but that installers will not choose."""
    row = subject.matrix.row
    guaranteed = {r for r, cell in row.items() if cell.status is ReleaseStatus.GUARANTEED}
    if not subject.demands or subject.source is not DemandSource.METADATA:
        return
    # What a variant excludes is no matter of the requirement.
    excluded = guaranteed - admitted_by_any(subject.required, catalog.releases)
    if excluded:
        line = requirement(guaranteed, catalog.published, open_ended=True)
        yield Hit(
            f"the metadata excludes torch {ranges(excluded, catalog.releases)}, where the stable"
            " ABI guarantees that the wheel loads",
            evidence=requirements(subject.required),
            fix=require(line, ", if the package's Python code works there too"),
        )

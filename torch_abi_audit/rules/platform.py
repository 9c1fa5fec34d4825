"""Rules about the platform tag: the machine, and the oldest system that it promises."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from torch_abi_audit.catalog.libraries import cuda_library, is_driver, is_torch_library
from torch_abi_audit.claims.manylinux import BEYOND, glibc_with, is_linux_library, lowest_glibc
from torch_abi_audit.claims.platform_tags import fits, lowest_macos, parse_platform
from torch_abi_audit.model import (
    Evidence,
    EvidenceKind,
    Format,
    LibraryAudit,
    LibraryKind,
    Severity,
    Subject,
    basename,
    library_name,
)
from torch_abi_audit.rules.evidence import libraries
from torch_abi_audit.rules.registry import Hit, rule
from torch_abi_audit.wording import count, join

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from torch_abi_audit.catalog import Catalog
    from torch_abi_audit.claims.platform_tags import PlatformTag
    from torch_abi_audit.model import DeploymentTarget

_GLIBC = ("libc.so.6", "ld-linux")
_MUSL = ("libc.musl-", "ld-musl-")


@rule(
    "wrong-architecture",
    Severity.ERROR,
    "a member is for another machine or system than the platform tag, or lacks one of its machines",
    why="The loader refuses a library for another machine or system: the wheel is installed, "
    "and `import` fails.",
    fix="Build the library for the machine of the tag, or give the wheel the tag of what is "
    "in it. For universal2 build both and join them:\n"
    "    lipo -create arm64/lib.so x86_64/lib.so -output lib.so",
)
def wrong_architecture(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report members that the tag's machine can't load.

    A warning for a library that nothing in the wheel needs, when others have the right
    machine: some packages carry helpers for other machines on purpose.
    """
    parsed = [parse_platform(tag.platform) for tag in subject.claims.tags]
    platforms = [platform for platform in parsed if platform is not None]
    if not platforms:
        return
    slices: dict[str, list[LibraryAudit]] = defaultdict(list)
    for item in subject.libraries:
        slices[item.path].append(item)
    right = {
        path: {i.library.arch for i in items if any(fits(i.library, p) for p in platforms)}
        for path, items in slices.items()
    }
    needed = {
        library_name(name)
        for path, items in slices.items()
        for item in items
        if right[path]
        for name in item.library.needed
    }
    by_name: dict[str, set[str]] = defaultdict(set)
    for path, archs in right.items():
        by_name[library_name(path)] |= archs
    universal = _macos_archs(platforms)
    served = frozenset[str]().union(*right.values())
    systems = {i.library.system for i in subject.libraries if right[i.path]}
    for path, items in slices.items():
        # Python looks a module up at its path; another library may be one of several.
        loaded = any(map(_is_loaded, items))
        missing = universal - (right[path] if loaded else by_name[library_name(path)])
        if right[path] and not missing:
            continue
        names = frozenset[str]().union(*(item.library.names(path) for item in items))
        serious = (
            not any(right.values())
            or not missing <= served
            or loaded
            or not names.isdisjoint(needed)
        )
        if right[path]:
            message = f"it has no slice for {join(missing)}, and the platform tag promises one"
            fix = "build it for both machines and join them with lipo, or tag it for one"
        else:
            message = f"it is for {_machines(items, platforms)}"
            fix = "build it for that machine, or correct the platform tag"
        yield Hit(message, (path,), fix=fix, severity=None if serious else Severity.WARNING)
    unserved = _unserved(subject, platforms)
    # What single libraries lack was said of them.
    unserved -= {f"macos {arch}" for arch in universal} if "macos" in systems else set()
    if unserved and served:
        yield Hit(
            f"the platform tags promise {join(unserved)}, for which no library is in the wheel",
            fix="build a wheel for each, or tag it for what is in it",
        )


def _unserved(subject: Subject, platforms: Iterable[PlatformTag]) -> set[str]:
    """Return the machines of the tags that no library is for, each with its system."""
    return {
        f"{platform.system} {arch}"
        for platform in platforms
        for arch in platform.archs
        # Nothing runs i386 any more, which macOS's tag `intel` also names.
        if (platform.system, arch) != ("macos", "i686")
        and not any(fits(i.library, platform._replace(archs=(arch,))) for i in subject.libraries)
    }


def _macos_archs(platforms: Iterable[PlatformTag]) -> set[str]:
    """Return the machines of macOS that a universal library must have slices for.

    Nothing runs i386 any more, which the tag `intel` also names.
    """
    archs = {arch for item in platforms if item.system == "macos" for arch in item.archs}
    return archs & {"arm64", "x86_64"} if len(archs) > 1 else set()


def _machines(items: Sequence[LibraryAudit], platforms: Sequence[PlatformTag]) -> str:
    """Say what a file is for, and what the tag is for, with the systems where they differ."""
    found = {(item.library.system, item.library.arch) for item in items}
    claimed = {(item.system, arch) for item in platforms for arch in item.archs}
    if {system for system, _ in found} == {system for system, _ in claimed}:
        return (
            f"{join(arch for _, arch in found)}, and the platform tag is for"
            f" {join(arch for _, arch in claimed)}"
        )
    return (
        f"{join(map(' '.join, found))}, and the platform tag is for {join(map(' '.join, claimed))}"
    )


def _is_loaded(item: LibraryAudit) -> bool:
    return item.kind is LibraryKind.EXTENSION or item.torch.needs_torch


@rule(
    "platform-floor-understated",
    Severity.ERROR,
    "a library needs glibc, libstdc++ or libgcc versions above the manylinux tag, or another C"
    " library than the tag's, or has a `minos` above the macOS tag",
    why="The platform tag names the oldest system that the wheel works on. There the loader "
    "finds a symbol version missing, `GLIBC_2.34 not found`, or macOS refuses the library.",
    fix="Build in the image of the tag (manylinux_2_28 for torch), and let the repair step "
    "choose the tag:\n"
    "    auditwheel repair --exclude 'libtorch*' --exclude 'libc10*' WHEEL\n"
    "On macOS set the oldest release before building anything, dependencies included:\n"
    "    MACOSX_DEPLOYMENT_TARGET=11.0",
)
def platform_floor_understated(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report libraries that the oldest system of the tag does not load.

    A warning for a library that nothing needs and that itself needs what neither the
    wheel, nor torch, nor the system has: the tag promises nothing of such a plugin.
    """
    tags = subject.platform_tags
    yield from _glibc(subject, tags)
    for item in subject.libraries:
        if item.library.format is Format.ELF:
            yield from _other_libc(item, tags)
    yield from _macos(subject, tags)


def _glibc(subject: Subject, tags: frozenset[str]) -> Iterator[Hit]:
    """Compare symbol versions with manylinux tags; a library of the wheel's own has its own."""
    lowest = lowest_glibc(tags)
    if lowest is None:
        return
    above = {item.path: _versions_above(item, lowest) for item in subject.libraries}
    needed = {library_name(name) for item in subject.libraries for name in item.library.needed}
    plugins = {item.path for item in subject.libraries if _is_plugin(item, needed)}
    tag = min(tag for tag in tags if lowest_glibc([tag]) == lowest)
    for paths in (above.keys() - plugins, above.keys() & plugins):
        found = {path: above[path] for path in sorted(paths) if above[path]}
        if not found:
            continue
        fitting = max(glibc for versions in found.values() for glibc in versions.values())
        arch = next(i.library.arch for i in subject.libraries if i.path in found)
        fix = f"tag it manylinux_2_{fitting}_{arch}, or build it on an older system"
        if fitting == BEYOND:
            fix = "build it on an older system: no manylinux tag promises as much yet"
        yield _hit(
            f"the tag {tag} promises glibc 2.{lowest} and what came with it, and"
            " {libraries:need} newer symbol versions",
            {
                path: [Evidence(EvidenceKind.SYMBOL_VERSION, version) for version in versions]
                for path, versions in found.items()
            },
            fix,
            Severity.WARNING if found.keys() & plugins else None,
        )


def _versions_above(item: LibraryAudit, lowest: int) -> dict[str, int]:
    """Return symbol versions that glibc 2.`lowest` comes without, the newest first."""
    found: dict[str, int] = {}
    for name, versions in item.library.version_needs:
        for version in versions if name not in item.own else ():
            glibc = glibc_with(version, item.library.arch)
            if glibc is not None and glibc > lowest:
                found[version] = glibc
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _is_plugin(item: LibraryAudit, needed: Collection[str]) -> bool:
    """Whether nothing shows that a library is loaded wherever the wheel is installed."""
    names = {library_name(name) for name in item.library.needed}
    strange = {
        name
        for name in names
        if name not in item.own
        and not is_linux_library(name)
        and not is_torch_library(name)
        and cuda_library(name) is None
        and not is_driver(name)
    }
    used = _is_loaded(item) or not item.library.names(item.path).isdisjoint(needed)
    return bool(strange) and not used


def _other_libc(item: LibraryAudit, tags: Iterable[str]) -> Iterator[Hit]:
    """Report a library for musl under a manylinux tag, and the other way round."""
    for prefix, libc, names in (("musllinux", "glibc", _GLIBC), ("manylinux", "musl", _MUSL)):
        tag = min((tag for tag in tags if tag.startswith(prefix)), default=None)
        found = [name for name in item.library.needed if basename(name).startswith(names)]
        if tag and found:
            yield Hit(
                f"the tag is {tag}, and it needs {libc}",
                libraries=(item.path,),
                evidence=libraries(found),
                fix="build it on a system of that kind, or correct the platform tag",
            )


def _macos(subject: Subject, tags: Iterable[str]) -> Iterator[Hit]:
    """Compare `minos` with macOS tags; a note where only the minor release is above.

    The tags of macOS 11 and newer have no minor release (always 0).
    """
    above: dict[bool, dict[str, DeploymentTarget]] = {False: {}, True: {}}
    promised: list[tuple[int, int]] = []
    for item in subject.libraries:
        minos, lowest = item.library.minos, lowest_macos(tags, item.library.arch)
        if minos is None or minos.system != "macos" or lowest is None or minos.version <= lowest:
            continue
        found = above[minos.version[0] == lowest[0] >= 11]
        # Of the slices of a universal library the worst counts.
        found[item.path] = max(minos, found.get(item.path, minos))
        promised.append(lowest)
    for slightly, found in above.items():
        if not found:
            continue
        newest = max(minos.version for minos in found.values())
        fitting = "{}_{}".format(*(newest if newest[0] < 11 else (newest[0], 0)))
        fix = "build it with an older MACOSX_DEPLOYMENT_TARGET"
        yield _hit(
            "the platform tag promises macOS {}.{}".format(*min(promised))
            + f", and {count(len(found), 'library')} of it"
            + f" {'is' if len(found) == 1 else 'are'} built for newer ones"
            + ", up to {}.{}".format(*newest),
            {
                path: [Evidence(EvidenceKind.MINOS, "{}.{}".format(*minos.version))]
                for path, minos in found.items()
            },
            fix if slightly else f"{fix}, or tag the wheel macosx_{fitting}",
            Severity.NOTE if slightly else None,
        )


def _hit(
    message: str, found: Mapping[str, Sequence[Evidence]], fix: str, severity: Severity | None
) -> Hit:
    """Report one library with what shows it, or several, each with the first of that."""
    (path, evidence), *others = found.items()
    if not others:
        return Hit(message, (path,), tuple(evidence), fix, severity)
    first = tuple(pieces[0]._replace(library=path) for path, pieces in found.items())
    return Hit(message, tuple(found), first, fix, severity)

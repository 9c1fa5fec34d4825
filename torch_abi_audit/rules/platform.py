"""Rules about the platform tag: the machine, and the oldest system that it claims."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from torch_abi_audit.catalog.libraries import cuda_library, is_driver, is_torch_library
from torch_abi_audit.claims.manylinux import BEYOND, glibc_with, is_linux_library, lowest_glibc
from torch_abi_audit.claims.platform_tags import fits, lowest_macos, parse_platform, tag_for
from torch_abi_audit.model import (
    Evidence,
    EvidenceKind,
    Fix,
    Format,
    LibraryAudit,
    Severity,
    Subject,
    basename,
    library_name,
)
from torch_abi_audit.rules.evidence import libraries, of_libraries
from torch_abi_audit.rules.registry import Hit, rule
from torch_abi_audit.rules.retag import retag
from torch_abi_audit.wording import join, unique

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from torch_abi_audit.catalog import Catalog
    from torch_abi_audit.claims.platform_tags import PlatformTag
    from torch_abi_audit.model import DeploymentTarget, MetadataChange

_GLIBC = ("libc.so.6", "ld-linux")
_MUSL = ("libc.musl-", "ld-musl-")


@rule(
    "wrong-architecture",
    Severity.ERROR,
    "a library is for another machine or system than the platform tag, or lacks one of the tag's",
    why="The loader rejects a library for another machine or system: the wheel installs, but"
    " `import` fails.",
    fix="Build the library for the machine of the tag, tag the wheel for what it contains, or leave"
    " files for other systems out of it. For universal2 build both and join them:\n"
    "    lipo -create arm64/lib.so x86_64/lib.so -output lib.so",
)
def wrong_architecture(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report libraries that the tag's machine can't load.

    A warning for a library that nothing in the wheel needs, if others are for the right machine:
    some packages contain helpers for other machines on purpose.
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
    # Libraries for other machines or without some slice, by whether that is harmless.
    foreign: dict[bool, list[LibraryAudit]] = {False: [], True: []}
    lacking: dict[bool, dict[str, set[str]]] = {False: {}, True: {}}
    for path, missing, harmless in _misplaced(slices, right, _macos_archs(platforms)):
        if right[path]:
            lacking[harmless][path] = missing
        else:
            foreign[harmless] += slices[path]
    for harmless, items in foreign.items():
        if items:
            yield Hit(
                f"{{libraries:target}} {_machines(items, platforms)}",
                unique(item.path for item in items),
                fix=_other_machine(subject, platforms, some_fit=any(right.values())),
                severity=Severity.WARNING if harmless else None,
            )
    for harmless, found in lacking.items():
        if found:
            archs = join(set[str]().union(*found.values()))
            tag = join(tag for tag in subject.platform_tags if tag.startswith("macosx"))
            yield Hit(
                f"{{libraries:lack}} a slice for {archs}, but the wheel is tagged {tag}",
                tuple(found),
                fix=Fix(
                    "build for both machines and join them with lipo, or tag the wheel for one",
                    _tags_of_machine(subject),
                ),
                severity=Severity.WARNING if harmless else None,
            )
    if any(right.values()):
        yield from _without_libraries(subject, platforms)


def _misplaced(
    slices: Mapping[str, Sequence[LibraryAudit]],
    right: Mapping[str, set[str]],
    universal: set[str],
) -> Iterator[tuple[str, set[str], bool]]:
    """Yield libraries that some machine in the tags can't load.

    Args:
        slices: The libraries, by path.
        right: The machines in the tags that each is for.
        universal: The machines that each library must be for.

    Yields:
        The path, which of `universal` it lacks, and whether that is harmless.
    """
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
    served = frozenset[str]().union(*right.values())
    for path, items in slices.items():
        # Python looks up a module at its path; another library may be one of several.
        loaded = any(item.is_loaded for item in items)
        # A Linux library next to one for macOS needs no slices.
        asked = universal if not right[path] or any(map(_is_macos, items)) else set()
        missing = asked - (right[path] if loaded else by_name[library_name(path)])
        if right[path] and not missing:
            continue
        names = frozenset[str]().union(*(item.library.names(path) for item in items))
        serious = not served or not missing <= served or loaded or not names.isdisjoint(needed)
        yield path, missing, not serious


def _without_libraries(subject: Subject, platforms: Sequence[PlatformTag]) -> Iterator[Hit]:
    """Report machines in the tags that no library is for."""
    unserved = _unserved(subject, platforms)
    fitting = {
        tag
        for tag in subject.platform_tags
        if (platform := parse_platform(tag)) is None
        or any(fits(item.library, platform) for item in subject.libraries)
    }
    # Slices that single libraries lack were reported for these.
    if any(tag.startswith("macosx") for tag in fitting):
        unserved -= {f"macos {arch}" for arch in _macos_archs(platforms)}
    if unserved:
        them = "it" if len(unserved) == 1 else "them"
        yield Hit(
            f"the platform tags include {join(unserved)}, but the wheel contains no library for"
            f" {them}",
            fix=Fix(
                f"tag the wheel {join(fitting)} only, and build another wheel for each other"
                " platform",
                retag(subject, platforms=fitting),
            ),
        )


def _other_machine(subject: Subject, platforms: Sequence[PlatformTag], *, some_fit: bool) -> Fix:
    """Return the fix for libraries that are for none of the machines in the tags."""
    claimed = join(f"{item.system} {arch}" for item in platforms for arch in item.archs)
    if some_fit:
        return Fix(f"leave the file out of the wheel, or build it for {claimed}")
    change = _tags_of_machine(subject)
    if change is None:
        return Fix(f"build for {claimed}, or tag the wheel for the machine it was built for")
    return Fix(f"build for {claimed}, or tag the wheel for what it contains", change)


def _tags_of_machine(subject: Subject) -> MetadataChange | None:
    """Return the tags for the one machine that all libraries are for, on the tags' system."""
    archs: dict[str, set[str]] = defaultdict(set)
    for item in subject.libraries:
        archs[item.path].add(item.library.arch)
    common = set.intersection(*archs.values()) if archs else set()
    systems = {item.library.system for item in subject.libraries}
    if len(common) != 1 or len(systems) != 1:
        return None
    (arch,), (system,) = common, systems
    found = set()
    for tag in subject.platform_tags:
        platform = parse_platform(tag)
        if platform is None or platform.system != system:
            return None
        named = tag_for(platform, tag, arch)
        if named is None:
            return None
        found.add(named)
    return retag(subject, platforms=found)


def _unserved(subject: Subject, platforms: Iterable[PlatformTag]) -> set[str]:
    """Return the machines in the tags that no library is for, each with its system."""
    return {
        f"{platform.system} {arch}"
        for platform in platforms
        for arch in platform.archs
        # The macOS tag `intel` also names i386, which nothing runs any more.
        if (platform.system, arch) != ("macos", "i686")
        and not any(fits(i.library, platform._replace(archs=(arch,))) for i in subject.libraries)
    }


def _macos_archs(platforms: Iterable[PlatformTag]) -> set[str]:
    """Return the machines of macOS that a universal library must have slices for.

    Not i386, which nothing runs any more, though the tag `intel` also names it.
    """
    archs = {arch for item in platforms if item.system == "macos" for arch in item.archs}
    return archs & {"arm64", "x86_64"} if len(archs) > 1 else set()


def _machines(items: Sequence[LibraryAudit], platforms: Sequence[PlatformTag]) -> str:
    """Say which machines files and tag are for, with the systems if these differ."""
    found = {(item.library.system, item.library.arch) for item in items}
    claimed = {(item.system, arch) for item in platforms for arch in item.archs}
    if {system for system, _ in found} == {system for system, _ in claimed}:
        names, tagged = {arch for _, arch in found}, {arch for _, arch in claimed}
    else:
        names, tagged = set(map(" ".join, found)), set(map(" ".join, claimed))
    return f"{join(names)}, but the wheel is tagged for {join(tagged)}"


def _is_macos(item: LibraryAudit) -> bool:
    return item.library.format is Format.MACHO


@rule(
    "platform-floor-understated",
    Severity.ERROR,
    "a library needs newer symbol versions of glibc, libstdc++ or libgcc, another C library, or a"
    " newer macOS than the platform tag promises",
    why="The platform tag names the oldest system that the wheel works on. On that system the"
    " loader stops at a missing symbol version (`GLIBC_2.34 not found`), or macOS rejects the"
    " library.",
    fix="Build in the image of the tag (manylinux_2_28 for torch), and let the repair step choose"
    " the tag:\n"
    "    auditwheel repair --exclude 'libtorch*' --exclude 'libc10*' WHEEL\n"
    "On macOS set the oldest release before building anything, including dependencies:\n"
    "    MACOSX_DEPLOYMENT_TARGET=11.0",
)
def platform_floor_understated(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report libraries that do not load on the oldest system of the tag.

    A warning for a library that nothing needs and that itself needs a library which neither the
    wheel, nor torch, nor the system has: the tag claims nothing about such a plugin.
    """
    tags = subject.platform_tags
    yield from _glibc(subject, tags)
    yield from _other_libc(subject, tags)
    yield from _macos(subject, tags)


def _glibc(subject: Subject, tags: frozenset[str]) -> Iterator[Hit]:
    """Compare symbol versions with manylinux tags; bundled libraries have their own."""
    lowest = lowest_glibc(tags)
    if lowest is None:
        return
    above = {item.path: _versions_above(item, lowest) for item in subject.libraries}
    archs = {item.path: item.library.arch for item in subject.libraries}
    needed = {library_name(name) for item in subject.libraries for name in item.library.needed}
    plugins = {item.path for item in subject.libraries if _is_plugin(item, needed)}
    tag = min(tag for tag in tags if lowest_glibc([tag]) == lowest)
    fitting: dict[str, int] = {}  # for plugins, which come last, includes all others
    for paths in (above.keys() - plugins, above.keys() & plugins):
        found = {path: above[path] for path in sorted(paths) if above[path]}
        if not found:
            continue
        for path, versions in found.items():
            # equivalent: what is needed is newer than that
            fitting[archs[path]] = max(fitting.get(archs[path], 0), *versions.values())
        newest = max(
            (version for versions in found.values() for version in versions),
            # equivalent: what is needed is newer than that
            key=lambda version: max(versions.get(version, 0) for versions in found.values()),
        )
        yield _hit(
            f"{{libraries:need}} newer symbol versions ({newest}) than {tag} allows (glibc"
            f" 2.{lowest})",
            {
                path: [Evidence(EvidenceKind.SYMBOL_VERSION, version) for version in versions]
                for path, versions in found.items()
            },
            _newer_glibc(subject, fitting),
            Severity.WARNING if found.keys() & plugins else None,
        )


def _newer_glibc(subject: Subject, fitting: Mapping[str, int]) -> Fix:
    """Return the fix that tags a wheel for the glibc that it needs, by machine."""
    if BEYOND in fitting.values():
        return Fix("build on an older system: no manylinux tag allows these versions yet")
    names = {f"manylinux_2_{glibc}_{arch}" for arch, glibc in fitting.items()}
    kept = {
        tag
        for tag in subject.platform_tags
        if (lowest := lowest_glibc([tag])) is None
        # equivalent: such a tag names one machine, and claims more than 0
        or lowest >= max((fitting.get(arch, 0) for arch in _archs_of(tag)), default=0)
    }
    change = retag(subject, platforms=kept | names)
    return Fix(f"tag the wheel {join(names)}, or build on an older system", change)


def _archs_of(tag: str) -> tuple[str, ...]:
    platform = parse_platform(tag)
    return platform.archs if platform else ()


def _versions_above(item: LibraryAudit, lowest: int) -> dict[str, int]:
    """Return the symbol versions that a system with glibc 2.`lowest` may lack, newest first."""
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
        # equivalent: a library that needs one of torch's is loaded
        if name not in item.own
        and not is_linux_library(name)
        and not is_torch_library(name)
        and cuda_library(name) is None
        and not is_driver(name)
    }
    used = item.is_loaded or not item.library.names(item.path).isdisjoint(needed)
    return bool(strange) and not used


def _other_libc(subject: Subject, tags: Iterable[str]) -> Iterator[Hit]:
    """Report libraries for musl under a manylinux tag, and the other way round."""
    tags = sorted(tags)
    for prefix, libc, names, right in (
        ("musllinux", "glibc", _GLIBC, "manylinux"),
        ("manylinux", "musl", _MUSL, "musllinux"),
    ):
        tag = next((tag for tag in tags if tag.startswith(prefix)), None)
        found = {
            item.path: [name for name in item.library.needed if basename(name).startswith(names)]
            for item in subject.libraries
            if item.library.format is Format.ELF
        }
        users = {path: needed for path, needed in found.items() if needed}
        if tag and users:
            yield Hit(
                f"{{libraries:need}} {libc}, but the wheel is tagged {tag}",
                libraries=tuple(users),
                evidence=of_libraries((path, libraries(needed)) for path, needed in users.items()),
                fix=f"build in a {prefix} image, or give the wheel a {right} tag",
            )


def _macos(subject: Subject, tags: Iterable[str]) -> Iterator[Hit]:
    """Compare `minos` with macOS tags; a note if only the minor release is too new.

    Tags for macOS 11 and newer have no minor release (always 0).
    """
    above: dict[bool, dict[str, DeploymentTarget]] = {False: {}, True: {}}
    fitting: dict[str, tuple[int, int]] = {}
    promised: list[tuple[int, int]] = []
    for item in subject.libraries:
        minos, lowest = item.library.minos, lowest_macos(tags, item.library.arch)
        if minos is None or minos.system != "macos" or lowest is None or minos.version <= lowest:
            continue
        slightly = minos.version[0] == lowest[0] >= _NO_MINOR
        found = above[slightly]
        # The worst slice of a universal library counts.
        found[item.path] = max(minos, found.get(item.path, minos))
        promised.append(lowest)
        if not slightly:
            arch, release = item.library.arch, minos.version
            named = release if release[0] < _NO_MINOR else (release[0], 0)
            fitting[arch] = max(named, fitting.get(arch, named))
    for slightly, found in above.items():
        if not found:
            continue
        newest = "{}.{}".format(*max(minos.version for minos in found.values()))
        lowest_named = "{}.{}".format(*min(promised))
        yield _hit(
            f"{{libraries:require}} macOS {newest}, but the wheel is tagged for {lowest_named}",
            {
                path: [Evidence(EvidenceKind.MINOS, "{}.{}".format(*minos.version))]
                for path, minos in found.items()
            },
            Fix(f"build with MACOSX_DEPLOYMENT_TARGET={lowest_named}")
            if slightly
            else _newer_macos(subject, fitting, lowest_named),
            Severity.NOTE if slightly else None,
        )


_NO_MINOR = 11  # from this macOS release on, tags have no minor number


def _newer_macos(subject: Subject, fitting: Mapping[str, tuple[int, int]], lowest: str) -> Fix:
    """Return the fix that tags a wheel for the macOS that it needs, by machine."""
    platforms = set()
    for tag in subject.platform_tags:
        platform = parse_platform(tag)
        is_macos = platform is not None and platform.system == "macos"
        # equivalent: no tag claims as little
        floors = [fitting.get(arch, (0, 0)) for arch in (_archs_of(tag) if is_macos else ())]
        newest = max(floors, default=(0, 0))  # equivalent: no tag claims as little
        # equivalent: for the same release it is the same tag
        if platform is not None and platform.floor and platform.floor < newest:
            platforms.add("macosx_{}_{}_{}".format(*newest, tag.split("_", 3)[3]))
        else:
            platforms.add(tag)
    return Fix(
        f"tag the wheel {join(platforms - subject.platform_tags)}, or build with"
        f" MACOSX_DEPLOYMENT_TARGET={lowest}",
        retag(subject, platforms=platforms),
    )


def _hit(
    message: str, found: Mapping[str, Sequence[Evidence]], fix: Fix, severity: Severity | None
) -> Hit:
    """Report one library with all its evidence, or several, each with the first piece."""
    pieces = [(path, items if len(found) == 1 else items[:1]) for path, items in found.items()]
    return Hit(message, tuple(found), of_libraries(pieces), fix, severity)

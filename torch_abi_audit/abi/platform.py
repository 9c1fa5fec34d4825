"""Platform tags: the system, the machines and the oldest system that they promise."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit.model import Format

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from torch_abi_audit.model import Library

_LEGACY_MANYLINUX = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
_PATTERNS = (
    ("linux", re.compile(r"(?:many|musl)linux_(\d+)_(\d+)_(\w+)")),
    ("linux", re.compile(r"(manylinux1|manylinux2010|manylinux2014)()_(\w+)")),
    ("linux", re.compile(r"()()linux_(\w+)")),
    ("macos", re.compile(r"macosx_(\d+)_(\d+)_(\w+)")),
    ("android", re.compile(r"android_(\d+)()_(\w+)")),
    ("ios", re.compile(r"ios_(\d+)_(\d+)_(arm64|x86_64)_iphoneos")),
    ("iossimulator", re.compile(r"ios_(\d+)_(\d+)_(arm64|x86_64)_iphonesimulator")),
    ("windows", re.compile(r"()()win_(amd64|arm64)")),
    ("windows", re.compile(r"()()(win32)")),
)
# Tags name some machines in their own way; macOS tags can name several at once.
_ARCHS = {
    "amd64": ("x86_64",),
    "win32": ("i686",),
    "i386": ("i686",),
    "x86": ("i686",),
    "armv6l": ("arm",),
    "armv7l": ("arm",),
    "armeabi_v7a": ("arm",),
    "arm64_v8a": ("aarch64",),
    "universal2": ("arm64", "x86_64"),
    "intel": ("i686", "x86_64"),
}


# The newest symbol versions that a manylinux tag promises (auditwheel's policies, after
# PEP 600): for glibc 2.N and newer, GLIBCXX_3.4.x, CXXABI_1.3.x and GCC_x. Where machines
# differ it is the newest of them.
_POLICIES: tuple[tuple[int, Mapping[str, tuple[int, ...]]], ...] = tuple(
    (glibc, {"GLIBCXX": (3, 4, glibcxx), "CXXABI": (1, 3, cxxabi), "GCC": gcc})
    for glibc, glibcxx, cxxabi, gcc in (
        (5, 8, 1, (4, 2, 0)),
        (12, 13, 3, (4, 5, 0)),
        (17, 19, 7, (4, 8, 0)),
        (24, 22, 10, (4, 8, 0)),
        (27, 24, 11, (7, 0, 0)),
        (31, 28, 12, (7, 0, 0)),
        (34, 29, 13, (11, 0)),
        (35, 30, 13, (12, 0, 0)),
        (39, 33, 15, (14, 0, 0)),
    )
)
_SYMBOL_VERSION = re.compile(r"(GLIBC|GLIBCXX|CXXABI|GCC)_([0-9]+(?:\.[0-9]+){1,3})")
# Markers that the linker adds, with the glibc that has them first.
_MARKERS = {"GLIBC_ABI_DT_RELR": 36, "GLIBC_ABI_GNU2_TLS": 42}
# Newer than any policy that is known.
BEYOND = 1000

# What every Linux has (PEP 599 and 600): a library that needs anything else that is not
# in its wheel loads only where somebody has installed that.
_LINUX_LIBRARIES = frozenset(
    {"libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libutil.so.1"}
    | {"libnsl.so.1", "libresolv.so.2", "libcrypt.so.1", "libgcc_s.so.1", "libstdc++.so.6"}
    | {"libatomic.so.1", "libz.so.1", "libexpat.so.1", "libX11.so.6", "libXext.so.6"}
    | {"libXrender.so.1", "libICE.so.6", "libSM.so.6", "libGL.so.1", "libEGL.so.1"}
    | {"libgobject-2.0.so.0", "libgthread-2.0.so.0", "libglib-2.0.so.0"}
)


# The platform tags that the package index takes (its upload checks, August 2026): whole ones,
# and the machines of those with the number of a release in them. No regular expressions, since
# these are asked for every wheel, and to compile them takes longer than to audit a small one.
_INDEXED = frozenset({"any", "win32", "win_amd64", "win_arm64", "linux_armv6l", "linux_armv7l"})
_UNIX_ARCHS = frozenset({"x86_64", "i686", "aarch64", "armv7l", "ppc64le", "s390x", "riscv64"})
_INDEXED_ARCHS = {
    "manylinux1": frozenset({"x86_64", "i686"}),
    "manylinux2010": frozenset({"x86_64", "i686"}),
    "manylinux2014": _UNIX_ARCHS - {"riscv64"} | {"ppc64"},
    "manylinux": _UNIX_ARCHS | {"ppc64"},
    "musllinux": _UNIX_ARCHS,
    "macosx": frozenset({"x86_64", "arm64", "universal2", "i386", "intel", "fat", "fat3"})
    | {"fat64", "universal", "ppc", "ppc64"},
    "ios": frozenset(
        f"{m}_{s}" for m in ("arm64", "x86_64") for s in ("iphoneos", "iphonesimulator")
    ),
    "android": frozenset({"armeabi_v7a", "arm64_v8a", "x86", "x86_64"}),
    "pyemscripten": frozenset({"wasm32"}),
}
_NUMBERS = {"manylinux1": 0, "manylinux2010": 0, "manylinux2014": 0, "android": 1}  # others: 2
_LINUX_ARCHS = _UNIX_ARCHS | {"ppc64", "armv5l", "armv6l", "armv8l", "loongarch64", "mips64"}

_SYSTEMS = {Format.ELF: "linux", Format.MACHO: "macos", Format.PE: "windows"}
_FORMATS = {
    "linux": Format.ELF,
    "android": Format.ELF,
    "macos": Format.MACHO,
    "ios": Format.MACHO,
    "iossimulator": Format.MACHO,
    "windows": Format.PE,
}
_FIRST_ARM64_MACOS = (11, 0)


class Platform(NamedTuple):
    """What a platform tag says.

    Attributes:
        system: ``linux``, ``macos``, ``windows``, ``android``, ``ios`` or ``iossimulator``.
        archs: The machines, spelled as in `model.Library.arch`.
        floor: The oldest C library (Linux) or system release, where the tag names one.
    """

    system: str
    archs: tuple[str, ...]
    floor: tuple[int, int] | None = None


def parse_platform(tag: str) -> Platform | None:
    """Parse a platform tag; None for ``any`` and for what is not known.

    Reference: PEP 425, 513, 571, 599, 600, 656, 730, 738 and the platform compatibility tags.
    """
    for system, pattern in _PATTERNS:
        match = pattern.fullmatch(tag)
        if match is None:
            continue
        major, minor, arch = match.groups()
        floor = _LEGACY_MANYLINUX.get(major)
        if floor is None and major:
            floor = (int(major), int(minor or 0))
        return Platform(system, _ARCHS.get(arch, (arch,)), floor)
    return None


def index_takes(tag: str) -> bool:
    """Whether the package index takes a wheel with a platform tag."""
    name, numbers, arch = _taken_apart(tag)
    if tag in _INDEXED:
        return True
    # Releases of macOS from 11 on have no minor number.
    if name == "macosx" and numbers and numbers[0] > 10 and numbers[1]:
        return False
    return numbers is not None and arch in _INDEXED_ARCHS.get(name, ())


def is_installed(tag: str) -> bool:
    """Whether any installer takes a wheel with a platform tag.

    Installers make no tag of a release of macOS from 11 on with a minor number, nor one for
    arm64 before it.
    """
    name, numbers, arch = _taken_apart(tag)
    if name == "macosx" and numbers and numbers[0] == 10 and arch == "arm64":
        return False
    if name == "linux":
        return tag.partition("_")[2] in _LINUX_ARCHS
    of_linux = name in ("manylinux", "musllinux") and numbers is not None and arch in _LINUX_ARCHS
    return of_linux or index_takes(tag)


def _taken_apart(tag: str) -> tuple[str, tuple[int, ...] | None, str]:
    """Return a tag's name, the numbers after it, None without as many as it needs, and the rest."""
    name, *rest = tag.split("_", 1 + _NUMBERS.get(tag.partition("_")[0], 2))
    arch = rest.pop() if rest else ""
    wanted = _NUMBERS.get(name, 2)
    if len(rest) != wanted or not all(part.isdecimal() and len(part) < 6 for part in rest):
        return name, None, arch
    return name, tuple(map(int, rest)), arch


def is_linux_library(name: str) -> bool:
    """Whether every system that a manylinux tag promises has a needed library."""
    return name in _LINUX_LIBRARIES or name.startswith("ld-linux")


def system_of(library: Library) -> str:
    """Return the system that a library is for; all that ELF says is that it is like Linux."""
    return library.minos.system if library.minos else _SYSTEMS[library.format]


def fits(library: Library, platform: Platform) -> bool:
    """Whether the system and one of the machines of a tag load a library."""
    return (
        _FORMATS[platform.system] is library.format
        and library.arch in platform.archs
        and (library.minos is None or library.minos.system == platform.system)
    )


def platform_key(library: Library, tags: Collection[str]) -> str | None:
    """Return the key of the catalog's platform that a library is for.

    Args:
        library: The facts.
        tags: The platform tags of its target. Musl is a system of its own, for which
            there is no build of torch.
    """
    if tags and all(tag.startswith("musllinux") for tag in tags):
        return None
    return f"{system_of(library)}_{library.arch}"


def lowest_glibc(tags: Iterable[str]) -> int | None:
    """Return N of the oldest glibc 2.N that manylinux tags promise; None without one."""
    floors = [
        platform.floor
        for tag in tags
        if tag.startswith("manylinux") and (platform := parse_platform(tag)) and platform.floor
    ]
    return min((floor[1] for floor in floors if floor[0] == 2), default=None)


def lowest_macos(tags: Iterable[str], arch: str) -> tuple[int, int] | None:
    """Return the oldest macOS that tags promise for a machine; None without one.

    No machine with arm64 runs anything older than macOS 11.
    """
    floors = [
        platform.floor
        for platform in map(parse_platform, tags)
        if platform and platform.system == "macos" and platform.floor and arch in platform.archs
    ]
    lowest = min(floors, default=None)
    if lowest is not None and arch.startswith("arm64"):
        return max(lowest, _FIRST_ARM64_MACOS)
    return lowest


def glibc_with(version: str, arch: str = "x86_64") -> int | None:
    """Return N of the oldest manylinux_2_N that promises a symbol version.

    Args:
        version: Such as ``GLIBC_2.28``, ``GLIBCXX_3.4.29``, ``CXXABI_1.3.13``, ``GCC_7.0.0``.
        arch: The machine.

    Returns:
        None for versions that no policy speaks of, `BEYOND` for those that are newer
        than any.
    """
    if version in _MARKERS:
        return _MARKERS[version]
    match = _SYMBOL_VERSION.fullmatch(version)
    if match is None:
        return None
    number = tuple(map(int, match[2].split(".")))
    if match[1] == "GLIBC":
        if number[:2] == (2, 18) and arch == "aarch64":
            return 17  # CentOS 7, which the tag stands for, has it there
        return number[1] if number[0] == 2 else BEYOND
    fitting = (glibc for glibc, newest in _POLICIES if number <= newest[match[1]])
    glibc = next(fitting, BEYOND)
    return 26 if glibc == 27 and arch == "aarch64" else glibc  # where the policy is older


def libstdcxx_is_promised(version: str, tags: Collection[str]) -> bool:
    """Whether every system that the tags promise has a version of libstdc++.

    Args:
        version: Such as ``GLIBCXX_3.4.29`` or ``CXXABI_1.3.13``.
        tags: The platform tags. With several the lowest counts; a tag without a floor,
            like ``linux_x86_64``, promises nothing.
    """
    lowest = lowest_glibc(tags)
    known = [tag for tag in tags if parse_platform(tag) is not None]
    if lowest is None or not all(tag.startswith("manylinux") for tag in known):
        return False
    glibc = glibc_with(version)
    return glibc is not None and glibc <= lowest

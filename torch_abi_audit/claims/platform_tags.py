"""Platform tags: the system, the machines and the oldest system release that they promise.

References: PEP 425, 513, 571, 599, 600, 656, 730, 738 and the platform compatibility tags.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit.model import Format

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from torch_abi_audit.model import Library

_LEGACY_MANYLINUX = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
# How many numbers there are between a tag's name and its machine. Not regular expressions: every
# wheel needs this, and compiling them takes longer than auditing a small wheel.
_NUMBERS = {"linux": 0, "win": 0, "android": 1, **dict.fromkeys(_LEGACY_MANYLINUX, 0)}
_NUMBERS |= dict.fromkeys(("manylinux", "musllinux", "macosx", "ios", "pyemscripten"), 2)
_LONGEST_NUMBER = 5  # digits

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


# The platform tags that the package index accepts (its upload checks, August 2026): whole tags,
# and the machines of tags that contain a release number. Not regular expressions: every wheel
# needs these, and compiling them takes longer than auditing a small wheel.
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
_LINUX_ARCHS = _UNIX_ARCHS | {"ppc64", "armv5l", "armv6l", "armv8l", "loongarch64", "mips64"}

_FORMATS = {
    "linux": Format.ELF,
    "android": Format.ELF,
    "macos": Format.MACHO,
    "ios": Format.MACHO,
    "iossimulator": Format.MACHO,
    "windows": Format.PE,
}
_SYSTEMS = {"win": "windows", "macosx": "macos", "android": "android"}
_SYSTEMS |= dict.fromkeys(("linux", "manylinux", "musllinux", *_LEGACY_MANYLINUX), "linux")
_IOS_DEVICES = {"iphoneos": "ios", "iphonesimulator": "iossimulator"}
_FIRST_ARM64_MACOS = (11, 0)


class PlatformTag(NamedTuple):
    """What a platform tag says.

    Attributes:
        system: ``linux``, ``macos``, ``windows``, ``android``, ``ios`` or ``iossimulator``.
        archs: The machines, spelled as in `model.Library.arch`.
        floor: The oldest C library (Linux) or system release, if the tag names one.
    """

    system: str
    archs: tuple[str, ...]
    floor: tuple[int, int] | None = None


class _Parts(NamedTuple):
    """A tag taken apart: ``macosx``, ``(11, 0)``, ``arm64``."""

    name: str
    numbers: tuple[int, ...]
    arch: str


def _split(tag: str) -> _Parts | None:
    """Take a tag apart; None if its form is not known."""
    name = tag.partition("_")[0]
    count = _NUMBERS.get(name)
    if count is None:
        return None
    *numbers, arch = tag.split("_", 1 + count)[1:] or [""]
    if len(numbers) != count or not arch.replace("_", "").isalnum():
        return None
    if not all(part.isdecimal() and len(part) <= _LONGEST_NUMBER for part in numbers):
        return None
    return _Parts(name, tuple(map(int, numbers)), arch)


def parse_platform(tag: str) -> PlatformTag | None:
    """Parse a platform tag; None for ``any`` and for unknown tags."""
    if tag == "win32":
        return PlatformTag("windows", ("i686",))
    parts = _split(tag)
    if parts is None:
        return None
    name, numbers, arch = parts
    system = _SYSTEMS.get(name)
    if name == "ios":
        arch, _, device = arch.rpartition("_")
        system = _IOS_DEVICES.get(device) if arch in ("arm64", "x86_64") else None
    if system is None or (name == "win" and arch not in ("amd64", "arm64")):
        return None
    floor = _LEGACY_MANYLINUX.get(name)
    if floor is None and numbers:
        floor = (numbers[0], numbers[1] if len(numbers) > 1 else 0)
    return PlatformTag(system, _ARCHS.get(arch, (arch,)), floor)


def tag_for(platform: PlatformTag, tag: str, arch: str) -> str | None:
    """Return a platform tag for another machine of its system; None if there is no such tag.

    >>> tag_for(PlatformTag("linux", ("x86_64",), (2, 28)), "manylinux_2_28_x86_64", "aarch64")
    'manylinux_2_28_aarch64'
    """
    if platform.system == "windows":
        return {"x86_64": "win_amd64", "arm64": "win_arm64", "i686": "win32"}.get(arch)
    name, numbers, machine = _split(tag) or _Parts("", (), "")
    if platform.system == "macos" and arch == "arm64":
        numbers = max(numbers, _FIRST_ARM64_MACOS)
    elif arch not in _LINUX_ARCHS or not machine:
        return None
    named = "_".join([name, *map(str, numbers), arch])
    return named if accepted_by_installers(named) else None


def accepted_by_index(tag: str) -> bool:
    """Whether the package index accepts a wheel with a platform tag."""
    if tag in _INDEXED:
        return True
    parts = _split(tag)
    if parts is None:
        return False
    # Releases of macOS from 11 on have no minor number.
    if parts.name == "macosx" and parts.numbers[0] > 10 and parts.numbers[1]:
        return False
    return parts.arch in _INDEXED_ARCHS.get(parts.name, ())


def accepted_by_installers(tag: str) -> bool:
    """Whether any installer accepts a wheel with a platform tag.

    Installers generate no tag with a minor number for macOS 11 and newer, and none for arm64
    before it.
    """
    parts = _split(tag)
    if parts is not None:
        if parts.name == "macosx" and parts.numbers[0] == 10 and parts.arch == "arm64":
            return False
        if parts.name in ("linux", "manylinux", "musllinux"):
            return parts.arch in _LINUX_ARCHS
    return accepted_by_index(tag)


def fits(library: Library, platform: PlatformTag) -> bool:
    """Whether the system and one of the machines of a tag can load a library."""
    return (
        _FORMATS[platform.system] is library.format
        and library.arch in platform.archs
        and (library.minos is None or library.minos.system == platform.system)
    )


def catalog_key(library: Library, tags: Collection[str]) -> str | None:
    """Return the key of the catalog platform that a library is for.

    Args:
        library: The facts.
        tags: The platform tags of its target. Musl is a separate system, for which
            there is no build of torch.
    """
    if tags and all(tag.startswith("musllinux") for tag in tags):
        return None
    return f"{library.system}_{library.arch}"


def lowest_macos(tags: Iterable[str], arch: str) -> tuple[int, int] | None:
    """Return the oldest macOS that tags promise for a machine; None without one.

    No arm64 machine runs anything older than macOS 11.
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

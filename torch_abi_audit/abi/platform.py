"""Platform tags: the system, the machines and the oldest system that they promise."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch_abi_audit.model import Format

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from torch_abi_audit.model import Library

_LEGACY_MANYLINUX = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
_PATTERNS = (
    ("linux", re.compile(r"(?:many|musl)linux_(\d+)_(\d+)_(\w+)")),
    ("linux", re.compile(r"(manylinux1|manylinux2010|manylinux2014)()_(\w+)")),
    ("linux", re.compile(r"()()linux_(\w+)")),
    ("macos", re.compile(r"macosx_(\d+)_(\d+)_(\w+)")),
    ("android", re.compile(r"android_(\d+)()_(\w+)")),
    ("ios", re.compile(r"ios_(\d+)_(\d+)_(\w+?)_\w+")),
    ("windows", re.compile(r"()()win_(amd64|arm64)")),
    ("windows", re.compile(r"()()(win32)")),
)
# Tags name some machines in their own way; macOS tags can name several at once.
_ARCHS = {
    "amd64": ("x86_64",),
    "win32": ("i686",),
    "i386": ("i686",),
    "armv6l": ("arm",),
    "armv7l": ("arm",),
    "armeabi_v7a": ("arm",),
    "arm64_v8a": ("aarch64",),
    "universal2": ("arm64", "x86_64"),
    "intel": ("i686", "x86_64"),
}


# The newest versions of libstdc++ that a manylinux tag promises (auditwheel's policies,
# after PEP 600): for glibc 2.N and newer, GLIBCXX_3.4.x and CXXABI_1.3.x.
_LIBSTDCXX = (
    (5, 8, 1),
    (12, 13, 3),
    (17, 19, 7),
    (24, 22, 10),
    (27, 24, 11),
    (31, 28, 12),
    (34, 29, 13),
    (35, 30, 13),
    (39, 33, 15),
)


_SYSTEMS = {Format.ELF: "linux", Format.MACHO: "macos", Format.PE: "windows"}


@dataclass(frozen=True, slots=True)
class Platform:
    """What a platform tag says.

    Attributes:
        system: ``linux``, ``macos``, ``windows``, ``android`` or ``ios``.
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


def platform_key(library: Library, tags: Collection[str]) -> str | None:
    """Return the key of the catalog's platform that a library is for.

    Args:
        library: The facts.
        tags: The platform tags of its target. Musl is a system of its own, for which
            there is no build of torch.
    """
    if tags and all(tag.startswith("musllinux") for tag in tags):
        return None
    return f"{_SYSTEMS[library.format]}_{library.arch}"


def libstdcxx_is_promised(version: str, tags: Iterable[str]) -> bool:
    """Whether every system that the tags promise has a version of libstdc++.

    Args:
        version: Such as ``GLIBCXX_3.4.29`` or ``CXXABI_1.3.13``.
        tags: The platform tags. With several the lowest counts; a tag without a floor,
            like ``linux_x86_64``, promises nothing.
    """
    floors = [platform.floor for platform in map(parse_platform, tags) if platform is not None]
    if not floors or any(floor is None or floor[0] != 2 for floor in floors):
        return False
    glibc = min(floor[1] for floor in floors if floor is not None)
    kind, _, number = version.rpartition("_")
    parts = number.split(".")
    if kind not in ("GLIBCXX", "CXXABI") or len(parts) < 2:
        return False
    patch = int(parts[2]) if len(parts) > 2 and parts[2].isdigit() else 0
    policies = [policy for policy in _LIBSTDCXX if policy[0] <= glibc]
    if not policies:
        return False
    return patch <= policies[-1][1 if kind == "GLIBCXX" else 2]

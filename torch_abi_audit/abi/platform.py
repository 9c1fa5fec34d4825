"""Platform tags: the system, the machines and the oldest system that they promise."""

from __future__ import annotations

import re
from dataclasses import dataclass

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

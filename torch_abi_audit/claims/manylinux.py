"""Manylinux: what every system with such a tag provides, by auditwheel's policies (PEP 600)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from torch_abi_audit.claims.platform_tags import parse_platform

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

# The newest symbol versions that a manylinux tag promises (auditwheel's policies, after
# PEP 600): for glibc 2.N and newer, GLIBCXX_3.4.x, CXXABI_1.3.x and GCC_x. Where machines
# differ, the newest version counts.
_POLICIES: tuple[tuple[int, Mapping[str, tuple[int, ...]]], ...] = tuple(
    (glibc, {"GLIBCXX": (3, 4, glibcxx), "CXXABI": (1, 3, cxxabi), "GCC": gcc})
    for glibc, glibcxx, cxxabi, gcc in (
        (5, 8, 1, (4, 2, 0)),
        (12, 13, 3, (4, 5, 0)),
        (17, 19, 7, (4, 8, 0)),
        (24, 22, 10, (4, 8, 0)),  # equivalent: what the one before has is found there
        (27, 24, 11, (7, 0, 0)),
        (31, 28, 12, (7, 0, 0)),  # equivalent: what the one before has is found there
        (34, 29, 13, (11, 0)),
        (35, 30, 13, (12, 0, 0)),  # equivalent: what the one before has is found there
        (39, 33, 15, (14, 0, 0)),
    )
)


_SYMBOL_VERSION = re.compile(r"(GLIBC|GLIBCXX|CXXABI|GCC)_([0-9]+(?:\.[0-9]+){1,3})")


# Markers that the linker adds, with the first glibc that has them.
_MARKERS = {"GLIBC_ABI_DT_RELR": 36, "GLIBC_ABI_GNU2_TLS": 42}


# Newer than any known policy.
BEYOND = 1000  # equivalent: one more or less is just as far


# The libraries that every Linux has (auditwheel's policies). If a library needs any other that is
# not in its wheel, it loads only where somebody has installed that.
_LINUX_LIBRARIES = frozenset(
    {"libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libutil.so.1"}
    | {"libnsl.so.1", "libresolv.so.2", "libgcc_s.so.1", "libstdc++.so.6"}
    | {"libanl.so.1", "libmvec.so.1"}  # of glibc itself
    | {"libatomic.so.1", "libz.so.1", "libexpat.so.1", "libX11.so.6", "libXext.so.6"}
    | {"libXrender.so.1", "libICE.so.6", "libSM.so.6", "libGL.so.1"}
    | {"libgobject-2.0.so.0", "libgthread-2.0.so.0", "libglib-2.0.so.0"}
)


LIBSTDCXX = "libstdc++.so.6"


def is_linux_library(name: str) -> bool:
    """Whether every system with a manylinux tag has a needed library."""
    return name in _LINUX_LIBRARIES or name.startswith(("ld-linux", "ld64.so"))


def lowest_glibc(tags: Iterable[str]) -> int | None:
    """Return N of the oldest glibc 2.N that manylinux tags promise; None without one."""
    floors = [
        platform.floor
        for tag in tags
        if tag.startswith("manylinux") and (platform := parse_platform(tag)) and platform.floor
    ]
    return min((floor[1] for floor in floors if floor[0] == 2), default=None)


def glibc_with(version: str, arch: str = "x86_64") -> int | None:
    """Return N of the oldest manylinux_2_N that promises a symbol version.

    Args:
        version: Such as ``GLIBC_2.28``, ``GLIBCXX_3.4.29``, ``CXXABI_1.3.13``, ``GCC_7.0.0``.
        arch: The machine.

    Returns:
        None for versions that no policy mentions, `BEYOND` for those that are newer
        than any policy.
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


def newest_above(versions: Iterable[tuple[str, str]], lowest: int) -> list[str]:
    """Return the symbol versions that glibc 2.`lowest` does not stand for: of each kind the newest.

    Args:
        versions: Symbol versions, each with the machine.
        lowest: N of the oldest glibc 2.N.
    """
    newest: dict[str, tuple[int, tuple[int, ...], str]] = {}
    for version, arch in versions:
        glibc, match = glibc_with(version, arch), _SYMBOL_VERSION.fullmatch(version)
        if match is None or glibc is None or glibc <= lowest:
            continue
        found = glibc, tuple(map(int, match[2].split("."))), version
        newest[match[1]] = max(found, newest.get(match[1], found))
    return [version for _, _, version in sorted(newest.values(), reverse=True)]


def libstdcxx_is_promised(version: str, tags: Collection[str]) -> bool:
    """Whether every system that the tags promise has a version of libstdc++.

    Args:
        version: Such as ``GLIBCXX_3.4.29`` or ``CXXABI_1.3.13``.
        tags: The platform tags. With several, the lowest counts; a tag without a floor,
            like ``linux_x86_64``, promises nothing.
    """
    lowest = lowest_glibc(tags)
    known = [tag for tag in tags if parse_platform(tag) is not None]
    if lowest is None or not all(tag.startswith("manylinux") for tag in known):
        return False
    glibc = glibc_with(version)
    return glibc is not None and glibc <= lowest

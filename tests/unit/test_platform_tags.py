"""Platform tags: what each says, who takes it, and which libraries it is for."""

from __future__ import annotations

import pytest

from tests.builders import dll, dylib, library
from torch_abi_audit.claims.platform_tags import (
    PlatformTag,
    accepted_by_index,
    accepted_by_installers,
    catalog_key,
    fits,
    lowest_macos,
    parse_platform,
)
from torch_abi_audit.model import DeploymentTarget


@pytest.mark.parametrize(
    ("tag", "system", "archs", "floor"),
    [
        ("win32", "windows", "i686", None),
        ("win_amd64", "windows", "x86_64", None),
        ("win_arm64", "windows", "arm64", None),
        ("linux_x86_64", "linux", "x86_64", None),
        ("linux_armv6l", "linux", "arm", None),
        ("manylinux1_i686", "linux", "i686", (2, 5)),
        ("manylinux2010_x86_64", "linux", "x86_64", (2, 12)),
        ("manylinux2014_aarch64", "linux", "aarch64", (2, 17)),
        ("manylinux_2_28_x86_64", "linux", "x86_64", (2, 28)),
        ("manylinux_2_31_armv7l", "linux", "arm", (2, 31)),
        ("manylinux_99999_0_x86_64", "linux", "x86_64", (99999, 0)),
        ("musllinux_1_2_x86_64", "linux", "x86_64", (1, 2)),
        ("macosx_11_0_arm64", "macos", "arm64", (11, 0)),
        ("macosx_10_9_universal2", "macos", "arm64 x86_64", (10, 9)),
        ("macosx_10_9_intel", "macos", "i686 x86_64", (10, 9)),
        ("ios_13_1_arm64_iphoneos", "ios", "arm64", (13, 1)),
        ("ios_13_0_x86_64_iphonesimulator", "iossimulator", "x86_64", (13, 0)),
        ("android_21_arm64_v8a", "android", "aarch64", (21, 0)),
    ],
)
def test_what_a_tag_says(tag: str, system: str, archs: str, floor: tuple[int, int] | None) -> None:
    assert parse_platform(tag) == PlatformTag(system, tuple(archs.split()), floor)


@pytest.mark.parametrize(
    "tag",
    [
        *("", "any", "plan9_x86", "win_ia64", "win", "linux", "linux_", "linux_x86-64"),
        *("manylinux_2_28", "manylinux_2_x86_64", "manylinux_2_123456_x86_64", "macosx_11_0_"),
        *(
            "macosx_x_0_arm64",
            "ios_13_0_armv7_iphoneos",
            "ios_13_0_arm64_watchos",
            "ios_13_0_arm64",
        ),
        *("ios_13_0_arm64", "android_arm64_v8a", "pyemscripten_2025_0_wasm32"),
    ],
)
def test_tags_that_say_nothing(tag: str) -> None:
    assert parse_platform(tag) is None


@pytest.mark.parametrize(
    ("tag", "index", "installers"),
    [
        ("any", True, True),
        ("win_amd64", True, True),
        ("manylinux_2_28_ppc64", True, True),
        ("musllinux_1_2_riscv64", True, True),
        ("macosx_10_9_x86_64", True, True),
        ("macosx_11_0_arm64", True, True),
        # What a machine that builds for itself has; an index takes none of them.
        ("linux_x86_64", False, True),
        ("linux_loongarch64", False, True),
        ("manylinux_2_28_armv8l", False, True),
        ("linux_sparc64", False, False),
        # No installer makes a tag of these.
        ("macosx_10_15_arm64", True, False),
        ("macosx_11_1_arm64", False, False),
        ("macosx_12_3_x86_64", False, False),
        ("manylinux1_aarch64", False, False),
        ("plan9_x86", False, False),
    ],
)
def test_who_takes_a_tag(tag: str, *, index: bool, installers: bool) -> None:
    assert (accepted_by_index(tag), accepted_by_installers(tag)) == (index, installers)


def test_which_libraries_a_tag_is_for() -> None:
    linux, universal = PlatformTag("linux", ("x86_64",)), PlatformTag("macos", ("arm64", "x86_64"))
    assert fits(library(), linux)
    assert not fits(library(arch="aarch64"), linux)
    assert not fits(dll(), linux)
    assert fits(dll(), PlatformTag("windows", ("x86_64",)))
    assert fits(dylib(), universal)
    assert fits(dylib(minos=DeploymentTarget("macos", (11, 0))), universal)
    assert not fits(dylib(minos=DeploymentTarget("ios", (13, 0))), universal)


def test_the_builds_of_torch_that_a_library_is_for() -> None:
    assert catalog_key(library(), ()) == "linux_x86_64"
    assert catalog_key(library(), ("manylinux_2_28_x86_64",)) == "linux_x86_64"
    # Musl has none.
    assert catalog_key(library(), ("musllinux_1_2_x86_64",)) is None
    both = ("musllinux_1_2_x86_64", "manylinux_2_28_x86_64")
    assert catalog_key(library(), both) == "linux_x86_64"


def test_the_oldest_macos_that_tags_promise() -> None:
    tags = ("macosx_11_0_arm64", "macosx_10_9_x86_64", "macosx_12_0_universal2", "linux_x86_64")
    assert lowest_macos(tags, "x86_64") == (10, 9)
    assert lowest_macos(tags, "arm64") == (11, 0)
    assert lowest_macos(tags[2:], "arm64") == (12, 0)
    assert lowest_macos(("macosx_10_9_universal2",), "arm64") == (11, 0)  # the first for it
    assert lowest_macos(("macosx_10_9_universal2",), "x86_64") == (10, 9)
    assert lowest_macos(("manylinux_2_28_x86_64", "any"), "x86_64") is None

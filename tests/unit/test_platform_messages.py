"""What the rules about the platform tag say and advise, to the letter."""

from __future__ import annotations

import pytest

from tests.builders import CATALOG, claims, dll, dylib, fix_of, library, shown
from torch_abi_audit.abi.classify import classify
from torch_abi_audit.model import DeploymentTarget, Finding, Library, Subject
from torch_abi_audit.rules import run_rules

WRONG, FLOOR = "wrong-architecture", "platform-floor-understated"
LINUX = "manylinux_2_28_x86_64"
HOOK = ("PyInit__C",)


def of_rule(rule: str, platforms: str, *libraries: tuple[str, Library]) -> list[Finding]:
    items, _ = classify(libraries, platforms.split("."), CATALOG)
    found = run_rules(Subject(claims(f"py3-none-{platforms}"), items), CATALOG)
    return [finding for finding in found if finding.rule == rule]


def needs(*versions: str, arch: str = "x86_64", needed: tuple[str, ...] = ()) -> Library:
    of = "libc.so.6"
    return library(version_needs=((of, versions),), needed=(of, *needed), arch=arch)


def test_another_machine() -> None:
    right = ("a.so", library())
    (found,) = of_rule(WRONG, LINUX, right, ("b.so", library(arch="aarch64")))
    assert found.message == "it is for aarch64, and the platform tag is for x86_64"
    assert (found.libraries, str(found.severity)) == (("b.so",), "warning")
    assert fix_of(found) == "build it for that machine, or correct the platform tag"
    # One that Python or torch loads, or that another library needs, is missed.
    for item in (
        library(arch="aarch64", exports=HOOK),
        library("torch_ten", needed=("libtorch_cpu.so",), arch="aarch64"),
    ):
        (found,) = of_rule(WRONG, LINUX, right, ("b.so", item))
        assert str(found.severity) == "error"
    user = ("a.so", library(needed=("x/libb.so.1",)))
    (found,) = of_rule(WRONG, LINUX, user, ("b.so", library(arch="aarch64", soname="libb.so.1")))
    assert str(found.severity) == "error"
    # What only a library for that machine needs is not.
    other = ("c.so", library(needed=("b.so",), arch="aarch64"))
    found_for = of_rule(WRONG, LINUX, right, ("b.so", library(arch="aarch64")), other)
    assert [str(item.severity) for item in found_for] == ["warning", "warning"]


def test_a_slice_that_is_missing() -> None:
    (found,) = of_rule(WRONG, "macosx_11_0_universal2", ("_C.so", dylib(exports=HOOK)))
    assert found.message == "it has no slice for x86_64, and the platform tag promises one"
    assert fix_of(found) == "build it for both machines and join them with lipo, or tag it for one"


def test_tags_that_nothing_serves() -> None:
    (found,) = of_rule(WRONG, "win_amd64.win_arm64.manylinux2014_s390x", ("a.dll", dll()))
    assert found.message == (
        "the platform tags promise linux s390x, windows arm64, for which no library is in the wheel"
    )
    assert found.libraries == ()
    # Where no library is for any of them, that was said of each.
    (found,) = of_rule(WRONG, "win_amd64.win_arm64", ("a.so", library()))
    assert found.libraries == ("a.so",)
    (found,) = of_rule(WRONG, "macosx_10_9_intel.win_amd64", ("a.dylib", dylib(arch="x86_64")))
    assert found.message.startswith("the platform tags promise windows x86_64, for")


@pytest.mark.parametrize(
    ("platforms", "libraries", "said", "fix"),
    [
        (
            "manylinux2014_x86_64.manylinux_2_17_x86_64.manylinux_2_28_x86_64",
            {"a.so": needs("GLIBC_2.17", "GLIBC_2.18"), "b.so": needs("GLIBC_2.17")},
            (
                "the tag manylinux2014_x86_64 promises glibc 2.17 and what came with it, and 1"
                " library needs newer symbol versions|a.so: GLIBC_2.18"
            ),
            "tag it manylinux_2_18_x86_64, or build it on an older system",
        ),
        (
            "manylinux_2_28_aarch64",
            {
                "a.so": needs("GLIBC_2.28"),
                "b.so": needs("GLIBC_2.30", "GLIBC_2.29", arch="aarch64"),
                "c.so": needs("GLIBC_2.34", arch="aarch64"),
            },
            (
                "the tag manylinux_2_28_aarch64 promises glibc 2.28 and what came with it, and 2"
                " libraries need newer symbol versions|b.so: GLIBC_2.30 c.so: GLIBC_2.34"
            ),
            "tag it manylinux_2_34_aarch64, or build it on an older system",
        ),
        (
            "manylinux_2_28_x86_64",
            {"a.so": needs("GLIBC_3.0")},
            (
                "the tag manylinux_2_28_x86_64 promises glibc 2.28 and what came with it, and 1"
                " library needs newer symbol versions|a.so: GLIBC_3.0"
            ),
            "build it on an older system: no manylinux tag promises as much yet",
        ),
    ],
)
def test_symbol_versions(
    platforms: str, libraries: dict[str, Library], said: str, fix: str
) -> None:
    (found,) = of_rule(FLOOR, platforms, *libraries.items())
    pieces = [f"{item.library or found.library}: {item.name}" for item in found.evidence]
    assert f"{found.message}|{' '.join(pieces)}" == said
    assert (fix_of(found), str(found.severity)) == (fix, "error")


def test_the_lowest_tag_is_named() -> None:
    platforms = "linux_x86_64.manylinux_2_17_x86_64.manylinux_2_5_x86_64"
    (found,) = of_rule(FLOOR, platforms, ("a.so", needs("GLIBC_2.6")))
    assert found.message.startswith("the tag manylinux_2_5_x86_64 promises glibc 2.5 and ")


def test_versions_that_are_as_new_are_in_the_order_of_their_names() -> None:
    item = needs("GLIBCXX_3.4.28", "GLIBC_2.34", "CXXABI_1.3.12")
    (found,) = of_rule(FLOOR, LINUX, ("a.so", item))
    assert shown(found) == ("GLIBC_2.34", "CXXABI_1.3.12", "GLIBCXX_3.4.28")


@pytest.mark.parametrize(
    ("needed", "plugin"),
    [
        ("libsycl.so.8", True),
        ("libm.so.6", False),  # each system has it
        ("libcudart.so.12", False),  # torch brings it
        ("libcuda.so.1", False),  # the driver is the user's
        ("libown.so", False),  # the wheel brings it
    ],
)
def test_plugins(needed: str, plugin: bool) -> None:  # noqa: FBT001
    item = needs("GLIBC_2.34", needed=(needed,))
    (found,) = of_rule(FLOOR, LINUX, ("a.so", item), ("libown.so", library()))
    assert str(found.severity) == ("warning" if plugin else "error")


def test_plugins_are_told_of_apart() -> None:
    plugin, other = needs("GLIBC_2.34", needed=("libsycl.so.8",)), needs("GLIBC_2.30")
    first, second = of_rule(FLOOR, LINUX, ("a.so", plugin), ("b.so", other))
    assert (str(first.severity), first.libraries) == ("error", ("b.so",))
    assert fix_of(first).startswith("tag it manylinux_2_30_x86_64,")
    assert (str(second.severity), second.libraries) == ("warning", ("a.so",))
    assert fix_of(second).startswith("tag it manylinux_2_34_x86_64,")


def test_the_other_libc() -> None:
    musl = "ld-musl-x86_64.so.1"
    both = "manylinux_2_28_x86_64.manylinux2014_x86_64"
    (found,) = of_rule(FLOOR, both, ("a.so", library(needed=("libm.so.6", musl))))
    assert found.message == "the tag is manylinux2014_x86_64, and it needs musl"
    assert (found.libraries, shown(found)) == (("a.so",), (musl,))
    glibc = ("libm.so.6", "ld-linux-x86-64.so.2", "libc.so.6")
    (found,) = of_rule(FLOOR, "musllinux_1_2_x86_64", ("a.so", library(needed=glibc)))
    assert found.message == "the tag is musllinux_1_2_x86_64, and it needs glibc"
    assert shown(found) == glibc[1:]


def macos(*version: int, arch: str = "arm64", system: str = "macos") -> Library:
    return dylib(minos=DeploymentTarget(system, (version[0], version[1])), arch=arch)


@pytest.mark.parametrize(
    ("platforms", "items", "said"),
    [
        (
            "macosx_11_0_arm64",
            (macos(12, 3), macos(13, 1), macos(11, 0)),
            [
                (
                    "error: the platform tag promises macOS 11.0, and 2 libraries of it are"
                    " built for newer ones, up to 13.1; build it with an older"
                    " MACOSX_DEPLOYMENT_TARGET, or tag the wheel macosx_13_0"
                )
            ],
        ),
        (
            "macosx_11_0_arm64",
            (macos(11, 3),),
            [
                (
                    "note: the platform tag promises macOS 11.0, and 1 library of it is built"
                    " for newer ones, up to 11.3; build it with an older MACOSX_DEPLOYMENT_TARGET"
                )
            ],
        ),
        (
            "macosx_10_9_x86_64",
            (macos(10, 15, arch="x86_64"),),
            [
                (
                    "error: the platform tag promises macOS 10.9, and 1 library of it is built"
                    " for newer ones, up to 10.15; build it with an older"
                    " MACOSX_DEPLOYMENT_TARGET, or tag the wheel macosx_10_15"
                )
            ],
        ),
        (
            "macosx_10_9_universal2",
            (macos(12, 0), macos(12, 0, arch="x86_64")),
            [
                (
                    "error: the platform tag promises macOS 10.9, and 2 libraries of it are"
                    " built for newer ones, up to 12.0; build it with an older"
                    " MACOSX_DEPLOYMENT_TARGET, or tag the wheel macosx_12_0"
                )
            ],
        ),
        ("macosx_11_0_arm64", (macos(13, 0, system="ios"), dylib()), []),
    ],
)
def test_newer_systems(platforms: str, items: tuple[Library, ...], said: list[str]) -> None:
    named = [(f"{number}.dylib", item) for number, item in enumerate(items)]
    found = of_rule(FLOOR, platforms, *named)
    assert [f"{item.severity}: {item.message}; {fix_of(item)}" for item in found] == said

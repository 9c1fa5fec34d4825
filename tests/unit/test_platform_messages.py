"""What the rules about the platform tag say and advise, to the letter."""

from __future__ import annotations

import pytest

from tests.builders import CATALOG, claims, dll, dylib, fix_of, library, shown, subject, tags_of
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
    assert found.message == "1 library targets aarch64, but the wheel is tagged for x86_64"
    assert (found.libraries, str(found.severity)) == (("b.so",), "warning")
    assert fix_of(found) == "leave the file out of the wheel, or build it for linux x86_64"
    assert tags_of(found) is None
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
    (found,) = of_rule(WRONG, LINUX, right, ("b.so", library(arch="aarch64")), other)
    assert (found.libraries, str(found.severity)) == (("b.so", "c.so"), "warning")


@pytest.mark.parametrize(
    ("platforms", "items", "fitting"),
    [
        (LINUX, (library(arch="aarch64"),), "manylinux_2_28_aarch64"),
        (
            "manylinux_2_17_x86_64.manylinux2014_x86_64",
            (library(arch="aarch64"), library(arch="aarch64")),
            "manylinux2014_aarch64.manylinux_2_17_aarch64",
        ),
        ("macosx_10_9_x86_64", (dylib(),), "macosx_11_0_arm64"),
        ("win_amd64", (dll(arch="arm64"),), "win_arm64"),
        ("manylinux1_x86_64", (library(arch="aarch64"),), None),  # there is no such tag
        ("win_amd64", (library(),), None),
        (LINUX, (library(arch="aarch64"), library(arch="s390x")), None),
        (LINUX, (library(arch="aarch64"), dylib(arch="aarch64")), None),
    ],
)
def test_a_tag_for_the_machine_that_all_are_for(
    platforms: str, items: tuple[Library, ...], fitting: str | None
) -> None:
    named = [(f"{number}.so", item) for number, item in enumerate(items)]
    (found,) = of_rule(WRONG, platforms, *named)
    assert tags_of(found) == (fitting and f"py3-none-{fitting}")
    assert fix_of(found).startswith("build for ")


def test_a_slice_that_is_missing() -> None:
    (found,) = of_rule(WRONG, "macosx_11_0_universal2", ("_C.so", dylib(exports=HOOK)))
    assert found.message == (
        "1 library lacks a slice for x86_64, but the wheel is tagged macosx_11_0_universal2"
    )
    assert fix_of(found) == (
        "build for both machines and join them with lipo, or tag the wheel for one"
    )
    assert tags_of(found) == "py3-none-macosx_11_0_arm64"
    # Other files have both, or the other one: no tag for one machine fits all.
    both = [("_D.so", dylib(exports=HOOK, arch=arch)) for arch in ("arm64", "x86_64")]
    (found,) = of_rule(WRONG, "macosx_11_0_universal2", ("_C.so", dylib(exports=HOOK)), *both)
    assert (found.libraries, tags_of(found)) == (("_C.so",), "py3-none-macosx_11_0_arm64")
    (found,) = of_rule(WRONG, "macosx_11_0_universal2", ("_C.so", dylib(exports=HOOK)), both[1])
    assert (found.libraries, tags_of(found)) == (("_C.so", "_D.so"), None)


def test_tags_that_nothing_serves() -> None:
    (found,) = of_rule(WRONG, "win_amd64.win_arm64.manylinux2014_s390x", ("a.dll", dll()))
    assert found.message == (
        "the platform tags include linux s390x, windows arm64, but the wheel contains no library"
        " for them"
    )
    assert tags_of(found) == "py3-none-win_amd64"
    assert found.libraries == ()
    # Where no library is for any of them, that was said of each.
    (found,) = of_rule(WRONG, "win_amd64.win_arm64", ("a.so", library()))
    assert found.libraries == ("a.so",)
    (found,) = of_rule(WRONG, "macosx_10_9_intel.win_amd64", ("a.dylib", dylib(arch="x86_64")))
    assert found.message.startswith("the platform tags include windows x86_64, but")
    assert fix_of(found).startswith("tag the wheel macosx_10_9_intel only, and")


@pytest.mark.parametrize(
    ("platforms", "libraries", "said", "fix", "fitting"),
    [
        (
            "manylinux2014_x86_64.manylinux_2_17_x86_64.manylinux_2_28_x86_64",
            {"a.so": needs("GLIBC_2.17", "GLIBC_2.18"), "b.so": needs("GLIBC_2.17")},
            (
                "1 library needs newer symbol versions (GLIBC_2.18) than manylinux2014_x86_64"
                " allows (glibc 2.17)|a.so: GLIBC_2.18"
            ),
            "tag the wheel manylinux_2_18_x86_64, or build on an older system",
            "manylinux_2_18_x86_64.manylinux_2_28_x86_64",
        ),
        (
            "manylinux_2_28_aarch64",
            {
                "a.so": needs("GLIBC_2.28"),
                "b.so": needs("GLIBC_2.30", "GLIBC_2.29", arch="aarch64"),
                "c.so": needs("GLIBC_2.34", arch="aarch64"),
            },
            (
                "2 libraries need newer symbol versions (GLIBC_2.34) than manylinux_2_28_aarch64"
                " allows (glibc 2.28)|b.so: GLIBC_2.30 c.so: GLIBC_2.34"
            ),
            "tag the wheel manylinux_2_34_aarch64, or build on an older system",
            "manylinux_2_34_aarch64",
        ),
        (
            "manylinux_2_28_x86_64",
            {"a.so": needs("GLIBC_3.0")},
            (
                "1 library needs newer symbol versions (GLIBC_3.0) than manylinux_2_28_x86_64"
                " allows (glibc 2.28)|a.so: GLIBC_3.0"
            ),
            "build on an older system: no manylinux tag allows these versions yet",
            None,
        ),
    ],
)
def test_symbol_versions(
    platforms: str, libraries: dict[str, Library], said: str, fix: str, fitting: str | None
) -> None:
    (found,) = of_rule(FLOOR, platforms, *libraries.items())
    pieces = [f"{item.library or found.library}: {item.name}" for item in found.evidence]
    assert f"{found.message}|{' '.join(pieces)}" == said
    assert (fix_of(found), str(found.severity)) == (fix, "error")
    assert tags_of(found) == (fitting and f"py3-none-{fitting}")


def test_the_lowest_tag_is_named() -> None:
    platforms = "linux_x86_64.manylinux_2_17_x86_64.manylinux_2_5_x86_64"
    (found,) = of_rule(FLOOR, platforms, ("a.so", needs("GLIBC_2.6")))
    assert found.message.endswith("than manylinux_2_5_x86_64 allows (glibc 2.5)")
    # The tags that are right, or of another kind, stay.
    assert tags_of(found) == ("py3-none-linux_x86_64.manylinux_2_17_x86_64.manylinux_2_6_x86_64")


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
    assert tags_of(first) == "py3-none-manylinux_2_30_x86_64"
    assert (str(second.severity), second.libraries) == ("warning", ("a.so",))
    assert tags_of(second) == "py3-none-manylinux_2_34_x86_64"
    # A tag that fits the plugin alone would be of no use.
    first, second = of_rule(
        FLOOR,
        LINUX,
        ("a.so", needs("GLIBC_2.30", needed=("libsycl.so.8",))),
        ("b.so", needs("GLIBC_2.34")),
    )
    assert tags_of(first) == tags_of(second) == "py3-none-manylinux_2_34_x86_64"


def test_the_other_libc() -> None:
    musl = "ld-musl-x86_64.so.1"
    both = "manylinux_2_28_x86_64.manylinux2014_x86_64"
    (found,) = of_rule(FLOOR, both, ("a.so", library(needed=("libm.so.6", musl))))
    assert found.message == "1 library needs musl, but the wheel is tagged manylinux2014_x86_64"
    assert fix_of(found) == "build in a manylinux image, or give the wheel a musllinux tag"
    assert (found.libraries, shown(found)) == (("a.so",), (musl,))
    glibc = ("libm.so.6", "ld-linux-x86-64.so.2", "libc.so.6")
    (found,) = of_rule(FLOOR, "musllinux_1_2_x86_64", ("a.so", library(needed=glibc)))
    assert found.message == "1 library needs glibc, but the wheel is tagged musllinux_1_2_x86_64"
    assert shown(found) == glibc[1:]


def macos(*version: int, arch: str = "arm64", system: str = "macos") -> Library:
    return dylib(minos=DeploymentTarget(system, (version[0], version[1])), arch=arch)


@pytest.mark.parametrize(
    ("platforms", "items", "said", "fitting"),
    [
        (
            "macosx_11_0_arm64",
            (macos(12, 3), macos(13, 1), macos(11, 0)),
            [
                (
                    "error: 2 libraries require macOS 13.1, but the wheel is tagged for 11.0; tag"
                    " the wheel macosx_13_0_arm64, or build with MACOSX_DEPLOYMENT_TARGET=11.0"
                )
            ],
            "macosx_13_0_arm64",
        ),
        (
            "macosx_11_0_arm64",
            (macos(11, 3),),
            [
                (
                    "note: 1 library requires macOS 11.3, but the wheel is tagged for 11.0; build"
                    " with MACOSX_DEPLOYMENT_TARGET=11.0"
                )
            ],
            None,
        ),
        (
            "macosx_10_9_x86_64.macosx_11_0_arm64",
            (macos(10, 15, arch="x86_64"), macos(11, 0)),
            [
                (
                    "error: 1 library requires macOS 10.15, but the wheel is tagged for 10.9; tag"
                    " the wheel macosx_10_15_x86_64, or build with MACOSX_DEPLOYMENT_TARGET=10.9"
                )
            ],
            "macosx_10_15_x86_64.macosx_11_0_arm64",
        ),
        (
            "macosx_10_9_universal2",
            (macos(12, 0), macos(12, 0, arch="x86_64")),
            [
                (
                    "error: 2 libraries require macOS 12.0, but the wheel is tagged for 10.9; tag"
                    " the wheel macosx_12_0_universal2, or build with MACOSX_DEPLOYMENT_TARGET=10.9"
                )
            ],
            "macosx_12_0_universal2",
        ),
        (
            "macosx_10_9_x86_64",
            (macos(11, 3, arch="x86_64"),),
            [
                (
                    "error: 1 library requires macOS 11.3, but the wheel is tagged for 10.9; tag"
                    " the wheel macosx_11_0_x86_64, or build with MACOSX_DEPLOYMENT_TARGET=10.9"
                )
            ],
            "macosx_11_0_x86_64",
        ),
        # The tags of other systems stay.
        (
            "any.macosx_10_9_x86_64.manylinux_2_28_x86_64.win_amd64",
            (macos(12, 0, arch="x86_64"), library(), dll()),
            [
                (
                    "error: 1 library requires macOS 12.0, but the wheel is tagged for 10.9; tag"
                    " the wheel macosx_12_0_x86_64, or build with MACOSX_DEPLOYMENT_TARGET=10.9"
                )
            ],
            "any.macosx_12_0_x86_64.manylinux_2_28_x86_64.win_amd64",
        ),
        ("macosx_11_0_arm64", (macos(13, 0, system="ios"), dylib()), [], None),
    ],
)
def test_newer_systems(
    platforms: str, items: tuple[Library, ...], said: list[str], fitting: str | None
) -> None:
    named = [(f"{number}.dylib", item) for number, item in enumerate(items)]
    found = of_rule(FLOOR, platforms, *named)
    assert [f"{item.severity}: {item.message}; {fix_of(item)}" for item in found] == said
    assert [tags_of(item) for item in found] == [fitting and f"py3-none-{fitting}" for _ in said]


def test_a_slice_is_missing_of_the_tags_for_macos() -> None:
    both = "macosx_11_0_universal2.manylinux_2_28_x86_64"
    module = ("_C.so", dylib(exports=HOOK))
    lacking, unserved = of_rule(WRONG, both, module)
    assert lacking.message == (
        "1 library lacks a slice for x86_64, but the wheel is tagged macosx_11_0_universal2"
    )
    assert unserved.message == (
        "the platform tags include linux x86_64, but the wheel contains no library for it"
    )
    # What lacks slices was told of, what is for no other machine was not.
    libraries = [module, ("lib.so", library())]
    found = of_rule(WRONG, f"{both}.manylinux_2_28_aarch64", *libraries)
    (unserved,) = [item for item in found if not item.libraries]
    assert unserved.message == (
        "the platform tags include linux aarch64, but the wheel contains no library for it"
    )
    assert tags_of(unserved) == f"py3-none-{both}"


def test_a_library_for_linux_beside_one_for_a_single_mac_lacks_no_slice() -> None:
    both = "macosx_11_0_arm64.manylinux_2_28_x86_64"
    assert of_rule(WRONG, both, ("_C.so", dylib(exports=HOOK)), ("_D.so", library())) == []


def test_one_slice_that_python_loads_makes_a_module() -> None:
    """Another file of that name is not found in its place."""
    slices = [("a/_C.so", dylib(exports=HOOK)), ("a/_C.so", dylib(arch="i686"))]
    other = ("b/_C.so", dylib(arch="x86_64"))
    (found,) = of_rule(WRONG, "macosx_11_0_universal2", *slices, other)
    assert found.libraries == ("a/_C.so",)
    assert found.message.startswith("1 library lacks a slice for x86_64, ")


def test_a_helper_for_no_machine_of_the_tags() -> None:
    module = [("_C.so", dylib(exports=HOOK, arch=arch)) for arch in ("arm64", "x86_64")]
    helper = ("helper.dylib", dylib(arch="ppc64"))
    (found,) = of_rule(WRONG, "macosx_11_0_universal2", *module, helper)
    assert (found.libraries, str(found.severity)) == (("helper.dylib",), "warning")
    assert found.message == "1 library targets ppc64, but the wheel is tagged for arm64, x86_64"


def test_a_tag_fits_that_some_library_is_for() -> None:
    platforms = "manylinux_2_28_x86_64.win_amd64.win_arm64"
    (found,) = of_rule(WRONG, platforms, ("a.so", library()), ("a.dll", dll()))
    assert found.message.startswith("the platform tags include windows arm64, but")
    assert tags_of(found) == "py3-none-manylinux_2_28_x86_64.win_amd64"


def test_a_tag_for_any_platform_is_for_no_machine() -> None:
    (found,) = of_rule(WRONG, f"any.{LINUX}", ("a.so", library(arch="aarch64")))
    assert fix_of(found) == (
        "build for linux x86_64, or tag the wheel for the machine it was built for"
    )


def test_a_tag_that_promises_as_much_as_is_needed_stays() -> None:
    platforms = "manylinux_2_5_x86_64.manylinux2014_x86_64"
    (found,) = of_rule(FLOOR, platforms, ("a.so", needs("GLIBC_2.17")))
    assert tags_of(found) == "py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64"


def test_only_linux_has_another_libc() -> None:
    item = dll(needed=("libc.musl-x86_64.so.1",))
    assert of_rule(FLOOR, f"{LINUX}.win_amd64", ("a.dll", item), ("a.so", library())) == []


def test_a_library_for_linux_beside_a_universal_one_lacks_no_slice() -> None:
    """A wheel for both systems: slices are asked of libraries for macOS."""
    both = "macosx_11_0_universal2.manylinux_2_28_x86_64"
    mac = [("x/_C.so", dylib(exports=("PyInit__C",), arch=arch)) for arch in ("arm64", "x86_64")]
    linux = ("x/_L.so", library(exports=("PyInit__L",)))
    assert of_rule("wrong-architecture", both, *mac, linux) == []
    (found,) = of_rule("wrong-architecture", both, mac[0], linux)
    assert found.libraries == ("x/_C.so",)


@pytest.mark.parametrize(
    ("formats", "origin"),
    [("e", "$ORIGIN"), ("m", "@loader_path"), ("em", "$ORIGIN, @loader_path")],
)
def test_a_search_path_is_relative_as_its_loader_has_it(formats: str, origin: str) -> None:
    """Whatever else is in the wheel."""
    paths = {letter: ("/opt/lib",) if letter in formats else () for letter in "em"}
    item = subject({"a.so": library(runpath=paths["e"]), "b.so": dylib(rpath=paths["m"])})
    (found,) = [f for f in run_rules(item, CATALOG) if f.rule == "runpath-outside-wheel"]
    assert fix_of(found) == f"set a search path relative to the library, {origin}"

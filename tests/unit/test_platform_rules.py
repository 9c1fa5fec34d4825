"""The rules about tags: machines and slices, the oldest system, the Python that is linked."""

from __future__ import annotations

import pytest

from tests.builders import CATALOG, claims, dll, dylib, fix_of, library, shown, tags_of
from torch_abi_audit.abi.classify import classify
from torch_abi_audit.claims.manylinux import BEYOND, glibc_with, lowest_glibc
from torch_abi_audit.claims.platform_tags import lowest_macos
from torch_abi_audit.model import DeploymentTarget, Finding, Library, Severity, Subject
from torch_abi_audit.rules import run_rules

ERROR, WARNING, NOTE = Severity.ERROR, Severity.WARNING, Severity.NOTE
WRONG, FLOOR = "wrong-architecture", "platform-floor-understated"
VERSIONED, OVERSPECIFIC = "versioned-python-library", "tag-overspecific"


def findings(
    rule: str, tag: str, *libraries: tuple[str, Library], python: str = ""
) -> list[Finding]:
    items, _ = classify(libraries, tag.split("-")[2].split("."), CATALOG)
    found = run_rules(Subject(claims(tag, python=python), items), CATALOG)
    return [finding for finding in found if finding.rule == rule]


def severities(rule: str, tag: str, **libraries: Library) -> list[Severity]:
    named = [(f"x/{name}", item) for name, item in libraries.items()]
    return [finding.severity for finding in findings(rule, tag, *named)]


IOS, SIMULATOR = DeploymentTarget("ios", (13, 0)), DeploymentTarget("iossimulator", (13, 0))
MODULE = ("PyInit__C",)


@pytest.mark.parametrize(
    ("platform", "item", "wrong"),
    [
        ("macosx_11_0_arm64", dylib(), False),
        ("macosx_11_0_arm64", dylib(arch="x86_64"), True),
        ("macosx_11_0_arm64", dylib(arch="arm64e"), True),
        ("macosx_11_0_arm64", dylib(minos=DeploymentTarget("macos", (11, 0))), False),
        ("macosx_11_0_arm64", dylib(minos=IOS), True),
        ("ios_13_0_arm64_iphoneos", dylib(minos=IOS), False),
        ("ios_13_0_x86_64_iphonesimulator", dylib(minos=SIMULATOR, arch="x86_64"), False),
        ("ios_13_0_arm64_iphonesimulator", dylib(minos=IOS), True),
        ("android_24_x86", library(arch="i686"), False),
        ("macosx_10_9_intel", dylib(arch="x86_64"), False),
        ("macosx_10_9_x86_64.macosx_11_0_arm64", dylib(), True),
        ("macosx_11_0_universal2", dylib(), True),
        ("win_amd64", dll(), False),
        ("win_amd64", library(), True),
        ("win32", dll(arch="i686"), False),
        ("win32", dll(), True),
        ("manylinux_2_28_x86_64", dll(), True),
        ("manylinux_2_28_x86_64", dylib(arch="x86_64"), True),
    ],
)
def test_machines_and_systems(platform: str, item: Library, wrong: bool) -> None:  # noqa: FBT001
    assert severities(WRONG, f"py3-none-{platform}", _C=item) == ([ERROR] if wrong else [])


def test_a_message_names_the_systems_where_they_differ() -> None:
    (finding,) = findings(WRONG, "py3-none-win_amd64", ("x.so", library()))
    assert (
        finding.message
        == "1 library targets linux x86_64, but the wheel is tagged for windows x86_64"
    )
    (finding,) = findings(WRONG, "py3-none-macosx_11_0_arm64", ("x.so", dylib(arch="x86_64")))
    assert finding.message == "1 library targets x86_64, but the wheel is tagged for arm64"


def test_universal_libraries() -> None:
    both = [("x/_C.so", dylib(exports=MODULE)), ("x/_C.so", dylib(exports=MODULE, arch="x86_64"))]
    tag = "cp312-cp312-macosx_11_0_{}"
    assert not findings(WRONG, tag.format("universal2"), *both)
    assert not findings(WRONG, tag.format("arm64"), *both)  # a slice too many does no harm
    assert not findings(WRONG, tag.format("x86_64"), *both)
    (finding,) = findings(WRONG, tag.format("universal2"), both[0])
    assert (finding.severity, finding.library) == (ERROR, "x/_C.so")
    assert "lacks a slice for x86_64" in finding.message


def test_two_files_of_one_name_can_be_the_slices() -> None:
    """A package may choose between them at run time."""
    thin = [("x/arm64/lib.dylib", dylib()), ("x/intel/lib.dylib", dylib(arch="x86_64"))]
    assert not findings(WRONG, "py3-none-macosx_11_0_universal2", *thin)


def test_a_module_of_the_same_name_elsewhere_is_no_slice() -> None:
    tag = "cp312-cp312-macosx_11_0_universal2"
    both = [("a/_C.so", dylib(exports=MODULE, arch=arch)) for arch in ("arm64", "x86_64")]
    (finding,) = findings(WRONG, tag, *both, ("b/_C.so", dylib(exports=MODULE)))
    assert (finding.severity, finding.library) == (ERROR, "b/_C.so")


def test_a_helper_without_a_slice_is_a_warning() -> None:
    module = [("_C.so", dylib(exports=MODULE, arch=arch)) for arch in ("arm64", "x86_64")]
    tag = "py3-none-macosx_11_0_universal2"
    (finding,) = findings(WRONG, tag, *module, ("helper.dylib", dylib()))
    assert finding.severity is WARNING
    needing = [("_C.so", dylib(needed=("@rpath/h.dylib",), arch=a)) for a in ("arm64", "x86_64")]
    (finding,) = findings(WRONG, tag, *needing, ("h.dylib", dylib()))
    assert finding.severity is ERROR


def needs(
    *versions: str,
    of: str = "libc.so.6",
    needed: tuple[str, ...] = (),
    exports: tuple[str, ...] = (),
) -> Library:
    return library(version_needs=((of, versions),), needed=(of, *needed), exports=exports)


@pytest.mark.parametrize(
    ("platforms", "versions", "severity"),
    [
        ("manylinux_2_28_x86_64", ("GLIBC_2.28", "GLIBC_2.2.5"), None),
        ("manylinux_2_28_x86_64", ("GLIBC_2.29",), ERROR),
        ("manylinux_2_27_x86_64.manylinux_2_28_x86_64", ("GLIBC_2.28",), ERROR),
        ("manylinux2014_x86_64", ("GLIBC_2.17",), None),
        ("manylinux2014_x86_64", ("GLIBC_2.18",), ERROR),
        ("manylinux2014_aarch64", ("GLIBC_2.18",), ERROR),  # the library is for x86_64
        ("manylinux1_x86_64", ("GLIBC_2.6",), ERROR),
        ("linux_x86_64", ("GLIBC_2.99",), None),
        ("manylinux_2_28_x86_64", ("GLIBCXX_3.4.24", "CXXABI_1.3.11", "GCC_7.0.0"), None),
        ("manylinux_2_28_x86_64", ("GLIBCXX_3.4.25",), ERROR),
        ("manylinux_2_28_x86_64", ("CXXABI_1.3.12",), ERROR),
        ("manylinux_2_28_x86_64", ("GCC_12.0.0",), ERROR),
        ("manylinux_2_34_x86_64", ("GLIBC_ABI_DT_RELR",), ERROR),
        ("manylinux_2_36_x86_64", ("GLIBC_ABI_DT_RELR",), None),
        ("manylinux_2_28_x86_64", ("GLIBC_PRIVATE", "CXXABI_TM_1", "OPENSSL_3.0.0"), None),
    ],
)
def test_manylinux(platforms: str, versions: tuple[str, ...], severity: Severity | None) -> None:
    found = severities(FLOOR, f"py3-none-{platforms}", _C=needs(*versions))
    assert found == ([] if severity is None else [severity])


def test_manylinux_names_versions_and_the_tag() -> None:
    item = needs("GLIBC_2.17", "GLIBC_2.34", "GLIBC_2.29")
    (finding,) = findings(FLOOR, "py3-none-manylinux_2_28_x86_64", ("x/_C.so", item))
    assert (finding.library, shown(finding)) == ("x/_C.so", ("GLIBC_2.34", "GLIBC_2.29"))
    assert fix_of(finding) == "tag the wheel manylinux_2_34_x86_64, or build on an older system"
    two = [("a.so", item), ("b.so", needs("GLIBCXX_3.4.99", of="libstdc++.so.6"))]
    (finding,) = findings(FLOOR, "py3-none-manylinux_2_28_x86_64", *two)
    assert finding.library is None
    assert shown(finding) == ("a.so: GLIBC_2.34", "b.so: GLIBCXX_3.4.99")
    assert "no manylinux tag allows these versions yet" in fix_of(finding)


def test_a_libstdcxx_of_its_own_is_as_new_as_it_is() -> None:
    item = needs("GLIBCXX_3.4.32", of="libstdc++-1a2b3c4d.so.6")
    own = ("x.libs/libstdc++-1a2b3c4d.so.6", library())
    assert not findings(FLOOR, "py3-none-manylinux_2_28_x86_64", ("x/_C.so", item), own)


def test_a_plugin_for_what_is_not_everywhere_is_a_warning() -> None:
    """bitsandbytes has one for SYCL, which only systems with newer glibc have."""
    plugin = needs("GLIBC_2.34", needed=("libsycl.so.8",))
    tag = "py3-none-manylinux_2_28_x86_64"
    assert severities(FLOOR, tag, plugin=plugin) == [WARNING]
    loaded = needs("GLIBC_2.34", needed=("libsycl.so.8",), exports=MODULE)
    assert severities(FLOOR, tag, plugin=loaded) == [ERROR]
    user = library(needed=("libplugin.so",))
    assert severities(FLOOR, tag, **{"libplugin.so": plugin, "_C.so": user}) == [ERROR]


@pytest.mark.parametrize(
    ("platform", "needed", "severities_"),
    [
        ("musllinux_1_2_x86_64", "libc.musl-x86_64.so.1", []),
        ("musllinux_1_2_x86_64", "libc.so.6", [ERROR]),
        ("manylinux_2_28_x86_64", "libc.musl-x86_64.so.1", [ERROR]),
        ("manylinux_2_28_x86_64", "libc.so.6", []),
        ("linux_x86_64", "libc.musl-x86_64.so.1", []),
    ],
)
def test_musl(platform: str, needed: str, severities_: list[Severity]) -> None:
    item = library(needed=(needed,))
    assert severities(FLOOR, f"py3-none-{platform}", _C=item) == severities_


@pytest.mark.parametrize(
    ("platform", "arch", "minos", "severity"),
    [
        ("macosx_11_0_arm64", "arm64", (11, 0), None),
        ("macosx_11_0_arm64", "arm64", (11, 3), NOTE),
        ("macosx_11_0_arm64", "arm64", (12, 0), ERROR),
        ("macosx_11_0_arm64.macosx_14_0_arm64", "arm64", (12, 0), ERROR),
        ("macosx_14_0_arm64", "arm64", (12, 1), None),
        ("macosx_10_9_x86_64", "x86_64", (10, 9), None),
        ("macosx_10_9_x86_64", "x86_64", (10, 13), ERROR),
        ("macosx_10_9_x86_64", "x86_64", (11, 0), ERROR),
        # Every Mac with arm64 has macOS 11 or newer.
        ("macosx_10_9_universal2", "arm64", (11, 0), None),
        ("macosx_10_9_universal2", "arm64", (12, 0), ERROR),
        ("win_amd64", "arm64", (12, 0), None),
    ],
)
def test_minos(platform: str, arch: str, minos: tuple[int, int], severity: Severity | None) -> None:
    item = dylib(arch=arch, minos=DeploymentTarget("macos", minos))
    found = severities(FLOOR, f"py3-none-{platform}", _C=item)
    assert found == ([] if severity is None else [severity])


def test_of_several_slices_the_newest_minos_counts() -> None:
    tag = "py3-none-macosx_10_9_universal2"
    for arm, intel in (((15, 0), (12, 0)), ((12, 0), (15, 0))):
        slices = [
            ("x/_C.so", dylib(minos=DeploymentTarget("macos", arm))),
            ("x/_C.so", dylib(minos=DeploymentTarget("macos", intel), arch="x86_64")),
        ]
        (finding,) = findings(FLOOR, tag, *slices)
        assert shown(finding) == ("minos 15.0",)
        assert fix_of(finding).startswith("tag the wheel macosx_15_0_universal2, or ")


def test_minos_names_the_tag() -> None:
    items = [(f"{n}.dylib", dylib(minos=DeploymentTarget("macos", (n, 1)))) for n in (11, 12, 14)]
    error, note = findings(FLOOR, "py3-none-macosx_11_0_arm64", *items)
    assert shown(error) == ("12.dylib: minos 12.1", "14.dylib: minos 14.1")
    assert fix_of(error).startswith("tag the wheel macosx_14_0_arm64, or ")
    assert (note.severity, note.library, shown(note)) == (NOTE, "11.dylib", ("minos 11.1",))


@pytest.mark.parametrize(
    ("tag", "needed", "python", "severity"),
    [
        ("cp39-abi3-win_amd64", "python312.dll", "", ERROR),
        ("cp39-abi3-win_amd64", "python3.dll", "", None),
        # A wheel that admits 3.12 alone loses nothing.
        ("cp39-abi3-win_amd64", "python312.dll", "==3.12.*", None),
        ("cp312-abi3-win_amd64", "python312.dll", "<3.13", None),
        ("cp39-abi3-win_amd64", "python3t.dll", "", ERROR),
        ("cp315-abi3-win_amd64", "python3t.dll", "", None),
        ("cp39-abi3-win_amd64", "python3_d.dll", "", ERROR),
        ("cp312-cp312-win_amd64", "python312.dll", "", None),
        ("cp312-cp312-win_amd64", "python311.dll", "", ERROR),
        ("cp312-cp312-win_amd64", "python312_d.dll", "", ERROR),
        ("cp312-cp312-win_amd64", "libpython3.12.dll", "", ERROR),
        ("cp313-cp313-win_amd64", "python313t.dll", "", ERROR),
        ("cp313-cp313t-win_amd64", "python313t.dll", "", None),
        ("cp313-cp313t-win_amd64", "python313.dll", "", ERROR),
        ("cp313-cp313t-win_amd64", "python3.dll", "", ERROR),
        ("cp39-abi3-manylinux_2_28_x86_64", "libpython3.12.so.1.0", "", ERROR),
        ("cp312-cp312-manylinux_2_28_x86_64", "libpython3.12.so.1.0", "", WARNING),
        ("cp39-abi3-manylinux_2_28_x86_64", "libpython3.so", "", WARNING),
        ("cp312-cp312-macosx_11_0_arm64", "@rpath/libpython3.12.dylib", "", WARNING),
        ("py3-none-win_amd64", "python312.dll", "", None),  # another rule's
    ],
)
def test_versioned_python_library(
    tag: str, needed: str, python: str, severity: Severity | None
) -> None:
    make = {"win": dll, "mac": dylib, "man": library}[tag.split("-")[2][:3]]
    found = findings(VERSIONED, tag, ("x/_C", make(needed=(needed,))), python=python)
    assert [finding.severity for finding in found] == ([severity] if severity else [])


def test_a_python_of_its_own_is_a_second_one() -> None:
    item, own = dylib(needed=("@loader_path/libpython3.12.dylib",)), dylib()
    tag = "cp312-cp312-macosx_11_0_arm64"
    (finding,) = findings(VERSIONED, tag, ("x/_C.so", item), ("x/libpython3.12.dylib", own))
    assert (finding.severity, finding.libraries) == (Severity.WARNING, ("x/_C.so",))
    assert shown(finding) == ("x/libpython3.12.dylib",)
    # Windows takes the one that is loaded under that name.
    item, own = dll(needed=("python312.dll",)), dll()
    tag = "cp312-cp312-win_amd64"
    assert not findings(VERSIONED, tag, ("x/_C.pyd", item), ("x/python312.dll", own))


@pytest.mark.parametrize(
    ("platforms", "items", "unserved"),
    [
        ("macosx_11_0_arm64.win_amd64", (dylib(),), "windows x86_64"),
        ("win_amd64.win_arm64", (dll(),), "windows arm64"),
        ("manylinux2014_x86_64.manylinux2014_aarch64", (library(),), "linux aarch64"),
        ("manylinux2014_x86_64.manylinux2014_aarch64", (library(), library(arch="aarch64")), None),
        ("manylinux2014_x86_64.manylinux_2_28_x86_64", (library(),), None),
        ("macosx_10_9_intel", (dylib(arch="x86_64"),), None),
    ],
)
def test_every_machine_of_the_tags_is_served(
    platforms: str, items: tuple[Library, ...], unserved: str | None
) -> None:
    named = [(f"x/lib{number}.so", item) for number, item in enumerate(items)]
    found = findings(WRONG, f"py3-none-{platforms}", *named)
    assert [finding.severity for finding in found] == ([ERROR] if unserved else [])
    assert all(str(unserved) in finding.message for finding in found)


@pytest.mark.parametrize(
    ("tag", "item", "fitting"),
    [
        ("cp312-cp312-linux_x86_64", library("malloc"), "py3-none"),
        ("cp312-none-linux_x86_64", library("malloc"), "py3-none"),
        ("cp313-cp313t-linux_x86_64", library("malloc"), "py3-none"),
        ("cp312-cp312-linux_x86_64", library("PyObject_Repr"), "cp312-abi3"),
        ("cp313-cp313t-linux_x86_64", library("PyObject_Repr"), None),
        ("cp312-cp312-linux_x86_64", library("_PyObject_GetDictPtr"), None),
        ("cp312-cp312-linux_x86_64", library(needed=("libpython3.12.so.1.0",)), None),
        ("cp312-abi3-linux_x86_64", library("PyObject_Repr"), None),
        ("py3-none-linux_x86_64", library("malloc"), None),
        ("cp312.py3-none-linux_x86_64", library("malloc"), None),
    ],
)
def test_tag_overspecific(tag: str, item: Library, fitting: str | None) -> None:
    found = findings(OVERSPECIFIC, tag, ("x/_C.so", item))
    assert [finding.severity for finding in found] == ([NOTE] if fitting else [])
    assert all(str(fitting) in fix_of(finding) for finding in found)


@pytest.mark.parametrize(
    ("python", "fitting"),
    [("", "cp312-abi3"), (">=3.10", "cp310-abi3"), (">=3.10.2", "cp310-abi3")],
)
def test_the_advised_tag_is_for_the_oldest_python_that_the_metadata_admits(
    python: str, fitting: str
) -> None:
    tag = "cp312-cp312-linux_x86_64"
    named = ("x/_C.so", library("PyObject_Repr"))
    (finding,) = findings(OVERSPECIFIC, tag, named, python=python)
    assert fix_of(finding).endswith(f" and tag the wheel {fitting}")
    # Not older than what it imports.
    named = ("x/_C.so", library("PyObject_GetBuffer"))
    (finding,) = findings(OVERSPECIFIC, tag, named, python=">=3.9")
    assert fix_of(finding) == (
        "build with -DPy_LIMITED_API=0x030b0000 and py_limited_api=True, and tag the wheel"
        " cp311-abi3"
    )
    # Its name says that it was built for the stable ABI: then the tag alone is wrong.
    named = ("x/_C.abi3.so", library("PyObject_GetBuffer"))
    (finding,) = findings(OVERSPECIFIC, tag, named, python=">=3.9")
    assert fix_of(finding) == "tag the wheel cp311-abi3"
    assert tags_of(finding) == "cp311-abi3-linux_x86_64"


def test_symbol_versions_of_aarch64() -> None:
    """Whose policies begin with glibc 2.17, and has GLIBC_2.18 in it."""
    assert glibc_with("GLIBC_2.18", "x86_64") == 18
    assert glibc_with("GLIBC_2.19", "aarch64") == 19
    assert glibc_with("GLIBCXX_3.4.24", "x86_64") == 27
    assert glibc_with("GLIBCXX_3.4.24", "aarch64") == 26
    assert glibc_with("GLIBCXX_3.4.22", "aarch64") == 24
    assert glibc_with("GLIBCXX_3.4.25", "aarch64") == 31
    assert glibc_with("GLIBC_2.27", "aarch64") == 27


def test_symbol_versions() -> None:
    assert glibc_with("GLIBC_2.28") == 28
    assert glibc_with("GLIBC_2.18", "aarch64") == 17
    assert glibc_with("GLIBCXX_3.4.19") == 17
    assert glibc_with("GLIBCXX_3.4.20") == 24
    assert glibc_with("GLIBCXX_3.4.34") == BEYOND
    assert glibc_with("GLIBC_3.0") == BEYOND
    assert glibc_with("GLIBC_PRIVATE") is None


def test_what_tags_promise() -> None:
    assert lowest_glibc(["manylinux2014_x86_64", "manylinux_2_28_x86_64"]) == 17
    assert lowest_glibc(["linux_x86_64", "musllinux_1_2_x86_64"]) is None
    assert lowest_macos(["macosx_12_0_arm64", "macosx_10_9_universal2"], "arm64") == (11, 0)
    assert lowest_macos(["macosx_10_9_x86_64"], "arm64") is None

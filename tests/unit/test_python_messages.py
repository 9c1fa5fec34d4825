"""What the rules about Python say and advise, to the letter."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.builders import CATALOG, claims, dll, dylib, fix_of, library, shown, subject, tags_of
from torch_abi_audit.model import Finding, Library
from torch_abi_audit.rules import run_rules

PLATFORM = "manylinux_2_28_x86_64"
HOOK = ("PyInit__C",)
STABLE = library("PyObject_GetAttrString", exports=HOOK)
PRIVATE = library("_PyObject_GetDictPtr", exports=HOOK)
NAMED = "_C.cpython-{}-x86_64-linux-gnu.so"


def of_rule(
    rule: str, tag: str, libraries: dict[str, Library], *, python: str = ""
) -> list[Finding]:
    if tag.count("-") == 1:
        tag = f"{tag}-{PLATFORM}"
    found = run_rules(subject(libraries, claims(tag, python=python)), CATALOG)
    return [finding for finding in found if finding.rule == rule]


def only(rule: str, tag: str, libraries: dict[str, Library], *, python: str = "") -> Finding:
    (found,) = of_rule(rule, tag, libraries, python=python)
    return found


def test_names_outside_the_stable_abi() -> None:
    found = only("abi3-violation", "cp310-abi3", {"_C.abi3.so": PRIVATE, "b.abi3.so": STABLE})
    assert found.message == (
        "1 library imports 1 symbol outside CPython's stable ABI, but the wheel is tagged"
        " cp310-abi3"
    )
    assert (found.libraries, shown(found)) == (("_C.abi3.so",), ("_PyObject_GetDictPtr",))
    assert fix_of(found) == (
        "build with -DPy_LIMITED_API=0x030a0000 and py_limited_api=True, or build one wheel per"
        " Python version"
    )


def test_a_finding_is_of_all_libraries() -> None:
    other = library("_PyObject_GetDictPtr", "_PyLong_Sign", exports=("PyInit__D",))
    found = only("abi3-violation", "cp310-abi3", {"_C.abi3.so": PRIVATE, "_D.abi3.so": other})
    assert found.message.startswith("2 libraries import 2 symbols outside")
    assert found.libraries == ("_C.abi3.so", "_D.abi3.so")
    assert [(item.library, item.name) for item in found.evidence] == [
        ("_C.abi3.so", "_PyObject_GetDictPtr"),
        ("_D.abi3.so", "_PyLong_Sign"),
        ("_D.abi3.so", "_PyObject_GetDictPtr"),
    ]
    helped = library("PyMethod_New", needed=("libshiboken6.abi3.so.6",), exports=HOOK)
    first, second = of_rule(
        "abi3-violation", "cp310-abi3", {"_C.abi3.so": PRIVATE, "x.abi3.so": helped}
    )
    assert (first.libraries, str(first.severity)) == (("_C.abi3.so",), "error")
    assert (second.libraries, str(second.severity)) == (("x.abi3.so",), "warning")


@pytest.mark.parametrize(
    ("needed", "own", "helped"),
    [
        (("libnuma.so.1", "libshiboken6.abi3.so.6"), False, True),
        (("libshiboken6.abi3.so.6",), True, False),  # the wheel's own, which lacks them
        (("libtorch_python.so",), False, False),
        (("libpython3.so",), False, False),
        (("libboost_python312.so.1",), False, True),
    ],
)
def test_a_library_made_for_python_may_have_them(
    needed: tuple[str, ...],
    own: bool,  # noqa: FBT001
    helped: bool,  # noqa: FBT001
) -> None:
    user = library("PyMethod_New", needed=needed, exports=HOOK, runpath=("$ORIGIN",))
    libraries = {"x.abi3.so": user} | ({name: library() for name in needed} if own else {})
    found = only("abi3-violation", "cp310-abi3", libraries)
    assert found.message.endswith(f", unless {needed[-1]} has them") is helped


def test_on_macos_each_symbol_names_its_library() -> None:
    item = dylib(
        "@rpath/libpython3.10.dylib:_PyObject_GetDictPtr",
        needed=("@rpath/libshiboken6.abi3.dylib", "@rpath/libpython3.10.dylib"),
        exports=HOOK,
    )
    found = only("abi3-violation", "cp310-abi3-macosx_11_0_arm64", {"x.abi3.so": item})
    assert "unless" not in found.message


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("PyModuleDef_Init",), "1 function"),
        (("PyModuleDef_Init", "PyModule_Create2"), "2 functions"),
    ],
)
def test_opaque_definitions(names: tuple[str, ...], said: str) -> None:
    item = library(*names, exports=HOOK)
    found = only("abi3-violation", "cp315-abi3.abi3t", {"_C.abi3t.so": item})
    assert found.message == (
        f"1 library calls {said} of PyModuleDef, which is opaque in abi3t, but the wheel is tagged"
        " abi3t"
    )
    assert shown(found) == names
    assert fix_of(found) == (
        "export PyModExport__C (PEP 793) and build with -DPy_TARGET_ABI3T=0x030f0000, or leave"
        " abi3t out of the tag"
    )
    assert tags_of(found) == f"cp315-abi3-{PLATFORM}"
    # It was not built for Pythons with the GIL.
    found = only("abi3-violation", "cp315-abi3t", {"_C.abi3t.so": item})
    assert tags_of(found) is None


def test_the_oldest_python() -> None:
    item = library("PyObject_GetBuffer", "PyObject_Repr", exports=HOOK)
    found = only("abi3-floor-understated", "cp39-abi3", {"_C.abi3.so": item}, python=">=3.10")
    assert found.message == (
        "1 library needs the stable ABI of Python 3.11, but the tags and Requires-Python allow 3.10"
    )
    assert shown(found) == ("PyObject_GetBuffer",)
    assert fix_of(found) == (
        "tag the wheel cp311-abi3, or build with -DPy_LIMITED_API=0x030a0000 to keep Python 3.10"
    )
    assert tags_of(found) == f"cp311-abi3-{PLATFORM}"


def test_the_floor_of_abi3t_is_that_of_the_tag() -> None:
    item = library("PyObject_GetAttrString", exports=("PyModExport__C",))
    found = only("abi3-floor-understated", "cp314-abi3t", {"_C.abi3t.so": item})
    assert found.message == (
        "1 library needs the stable ABI of Python 3.15, but the tags and Requires-Python allow 3.14"
    )
    assert [(str(i.kind), i.name) for i in found.evidence] == [
        ("symbol", "PyModExport__C"),
        ("file", "_C.abi3t.so"),
    ]
    assert fix_of(found) == "tag the wheel cp315-abi3t"
    assert tags_of(found) == f"cp315-abi3t-{PLATFORM}"
    found = only("abi3-floor-understated", "cp314-abi3.abi3t", {"_C.abi3t.so": item})
    assert tags_of(found) == f"cp315-abi3.abi3t-{PLATFORM}"
    # The tag is what is wrong, not the name.
    assert of_rule("abi3-suffix", "cp314-abi3t", {"_C.abi3t.so": item}) == []
    # A hook alone may be an oversight, but only the tag is a matter of metadata.
    found = only("abi3-floor-understated", "cp310-abi3", {"_C.abi3.so": item})
    assert fix_of(found) == (
        "tag the wheel cp315-abi3, or export PyInit__C too to keep Python 3.10"
    )


def test_free_threaded_pythons_before_abi3t() -> None:
    rule = "abi3-floor-understated"
    libraries = {"_C.so": STABLE, "data.so": library("malloc")}
    found = only(rule, "cp313-abi3t", libraries)
    assert found.message == (
        "the tags allow free-threaded Python 3.13, but abi3t starts with 3.15 (PEP 803)"
    )
    assert found.libraries == ("_C.so",)
    assert fix_of(found) == (
        "build with -DPy_TARGET_ABI3T=0x030f0000, and tag the wheel cp315-abi3t"
    )
    assert tags_of(found) is None
    assert of_rule(rule, "cp313-abi3", libraries) == []
    assert of_rule(rule, "cp315-abi3t", libraries) == []
    assert of_rule(rule, "cp313-abi3t", {"data.so": library("malloc")}) == []


AS = "as py_limited_api=True does"


@pytest.mark.parametrize(
    ("tag", "file", "item", "python", "fix"),
    [
        ("cp310-abi3", NAMED.format(310), STABLE, "3.11", f"name it _C.abi3.so, {AS}"),
        ("cp310-abi3", NAMED.format(311), STABLE, "3.10", f"name it _C.abi3.so, {AS}"),
        ("cp310-abi3", "_C.abi3t.so", STABLE, "3.10", f"name it _C.abi3.so, {AS}"),
        ("cp315-abi3.abi3t", "_C.abi3.so", STABLE, "3.15t", "name it _C.abi3t.so"),
        (
            "cp310-abi3-win_amd64",
            "_C.cp310-win_amd64.pyd",
            dll("python3.dll:PyObject_GetAttrString", exports=HOOK),
            "3.11",
            f"name it _C.pyd, {AS}",
        ),
    ],
)
def test_suffixes(tag: str, file: str, item: Library, python: str, fix: str) -> None:
    found = only("abi3-suffix", tag, {file: item})
    assert found.message == (
        f"1 library has a filename that Python {python} can't import, but the wheel is tagged"
        f" {tag.removesuffix('-win_amd64')}"
    )
    assert fix_of(found) == fix


def test_suffixes_of_several() -> None:
    libraries = {NAMED.format(310): STABLE, f"x/{NAMED.format(311)}": STABLE}
    found = only("abi3-suffix", "cp310-abi3", libraries)
    assert found.message == (
        "2 libraries have a filename that Python 3.10 can't import, but the wheel is tagged"
        " cp310-abi3"
    )
    assert fix_of(found) == f"use the suffix .abi3.so, {AS}"


def test_modules_that_no_python_or_not_every_python_imports() -> None:
    rule = "unimportable-extension"
    found = only(rule, "cp311.cp312-cp311.cp312", {NAMED.format(310): PRIVATE})
    no_python = (
        "1 library has a filename that no Python allowed by the tags (3.11 to 3.12) can import"
    )
    assert found.message == no_python
    assert fix_of(found) == "build with Python 3.11 to 3.12 for x86_64, in a clean build folder"
    found = only(rule, "cp311.cp312-cp311.cp312", {NAMED.format(312): PRIVATE})
    assert found.message == (
        "1 library has a filename that Python 3.11 can't import, but the tags allow it"
    )
    # One that is there for both is not imported by name, and does no harm.
    beside = {NAMED.format(310): PRIVATE, "_C.abi3.so": PRIVATE}
    found = only(rule, "cp311.cp312-cp311.cp312", beside)
    assert (found.message, str(found.severity)) == (no_python, "warning")
    beside = {NAMED.format(312): PRIVATE, "_C.abi3.so": PRIVATE}
    assert of_rule(rule, "cp311.cp312-cp311.cp312", beside) == []
    # Of another module.
    beside = {NAMED.format(310): PRIVATE, "_D.abi3.so": PRIVATE}
    assert str(only(rule, "cp311.cp312-cp311.cp312", beside).severity) == "error"


def test_a_hook_of_newer_pythons() -> None:
    item = library("_PyObject_GetDictPtr", exports=("PyModExport__C",))
    libraries = {"_C.so": item, "_D.so": PRIVATE}
    found = only("unimportable-extension", "cp313.cp314-cp313.cp314", libraries)
    assert found.message == (
        "1 library exports only a hook that Python 3.15 and newer call, but the tags allow 3.13 to"
        " 3.14"
    )
    assert fix_of(found) == "export PyInit__C too (PEP 793)"
    assert (found.libraries, shown(found)) == (("_C.so",), ("PyModExport__C",))
    # A module for each Python, of which 3.15 calls the new hook.
    each = {NAMED.format(314): PRIVATE, NAMED.format(315): item}
    assert of_rule("unimportable-extension", "cp314.cp315-cp314.cp315", each) == []


def test_a_library_that_is_no_module_needs_no_name_of_one() -> None:
    libraries = {"x.libs/libx.so.1": library("malloc"), "x/_C.dll": PRIVATE}
    found = only("unimportable-extension", "cp312-cp312", libraries)
    assert found.libraries == ("x/_C.dll",)


def test_the_hook_of_modules_with_names_that_are_none() -> None:
    found = only("unimportable-extension", "cp312-cp312", {"x/_C.dll": PRIVATE, "y.dll": PRIVATE})
    assert found.message == (
        "2 libraries export a module's init hook, but the filename is not that of a module"
    )


ONE_EACH = "build one wheel per Python version, each tagged for it: {0}-{0} for {1} and so on"
CP312 = ("tag the wheel cp312-cp312", f"cp312-cp312-{PLATFORM}")
BUILD = "build with -DPy_LIMITED_API={} and py_limited_api=True, and tag the wheel {}"
NEWER = library("PyObject_GetBuffer", exports=HOOK)  # in the stable ABI since 3.11
VERSIONED_PYTHON = library(needed=("libpython3.12.so.1.0",))


@pytest.mark.parametrize(
    ("tag", "python", "file", "item", "fix", "change"),
    [
        ("py39-none", "", "_C.so", PRIVATE, ONE_EACH.format("cp39", "3.9"), None),
        # The names say which Python they were built for.
        ("py39-none", "", NAMED.format(312), PRIVATE, *CP312),
        ("py3-none", "", NAMED.format(312), STABLE, *CP312),
        ("py39-none", ">=3.13", NAMED.format(312), PRIVATE, CP312[0], None),
        ("cp312-none", "", "_C.so", PRIVATE, *CP312),
        ("cp312-none", "", "_C.so", STABLE, *CP312),
        ("py3-none", "", "_C.so", VERSIONED_PYTHON, *CP312),
        # No older than the tag, than Requires-Python and than what is imported.
        ("py39-none", "", "_C.so", STABLE, BUILD.format("0x03090000", "cp39-abi3"), None),
        ("py3-none", ">=3.10", "_C.so", STABLE, BUILD.format("0x030a0000", "cp310-abi3"), None),
        ("py39-none", ">=3.10", "_C.so", NEWER, BUILD.format("0x030b0000", "cp311-abi3"), None),
        ("py3.cp312-none", "", "_C.so", STABLE, BUILD.format("0x03080000", "cp38-abi3"), None),
        # The name says that it was built for the stable ABI.
        (
            "py39-none",
            "",
            "_C.abi3.so",
            STABLE,
            "tag the wheel cp39-abi3",
            f"cp39-abi3-{PLATFORM}",
        ),
    ],
)
def test_python_in_a_wheel_without_one(
    tag: str, python: str, file: str, item: Library, fix: str, change: str | None
) -> None:
    libraries = {file: item, "data.so": library("malloc")}
    found = only("python-api-in-none-wheel", tag, libraries, python=python)
    name = tag.replace("py3.cp312", "py3")
    assert found.message == (
        f"1 library uses CPython's C API, but the tag {name} says that no Python ABI is needed"
    )
    assert found.libraries == (file,)
    assert shown(found) == (item.needed or tuple(symbol.name for symbol in item.imports))
    assert (fix_of(found), tags_of(found)) == (fix, change)


def test_modules_and_others_weigh_differently() -> None:
    libraries = {"_C.so": PRIVATE, "libx.so": library("_PyObject_GetDictPtr")}
    first, second = of_rule("python-api-in-none-wheel", "py3-none", libraries)
    assert (first.libraries, str(first.severity)) == (("_C.so",), "error")
    assert (second.libraries, str(second.severity)) == (("libx.so",), "warning")


def test_the_names_of_modules_say_what_the_wheel_is_for() -> None:
    """Another library is for the Python that they are for; a module without one is not known."""
    libraries = {NAMED.format(312): PRIVATE, "libx.so": library("_PyObject_GetDictPtr")}
    fixes = of_rule("python-api-in-none-wheel", "cp312-none", libraries)
    assert [tags_of(item) for item in fixes] == [f"cp312-cp312-{PLATFORM}"]
    libraries = {NAMED.format(312): PRIVATE, "_D.so": PRIVATE}
    (found,) = of_rule("python-api-in-none-wheel", "py39-none", libraries)
    assert tags_of(found) is None


LEAVE = "do not link to libpython: the interpreter provides its symbols"


@pytest.mark.parametrize(
    ("tag", "item", "said", "fix"),
    [
        (
            "cp312-cp312",
            library(needed=("libpython3.11.so.1.0",)),
            "libpython3.11.so.1.0, but Python 3.12, allowed by the tags, does not ship it",
            LEAVE,
        ),
        (
            "cp312-cp312",
            library(needed=("libpython3.12.so.1.0",)),
            "libpython3.12.so.1.0, but many interpreters are built without a shared libpython",
            LEAVE,
        ),
        (
            "cp312-cp312-win_amd64",
            dll(needed=("python311.dll",)),
            "python311.dll, but Python 3.12, allowed by the tags, does not ship it",
            "link to python312.dll: build with Python 3.12",
        ),
        (
            "cp310-abi3-win_amd64",
            dll(needed=("python310.dll",)),
            "python310.dll, but Python 3.11, allowed by the tags, does not ship it",
            "link to python3.dll: build with -DPy_LIMITED_API=0x030a0000",
        ),
        (
            "cp315-abi3t-win_amd64",
            dll(needed=("python315t.dll",)),
            "python315t.dll, but Python 3.16t, allowed by the tags, does not ship it",
            "link to python3t.dll: build with -DPy_TARGET_ABI3T=0x030f0000",
        ),
    ],
)
def test_libraries_of_python(tag: str, item: Library, said: str, fix: str) -> None:
    found = only("versioned-python-library", tag, {"x/_C.pyd": item})
    assert found.message == f"1 library links to {said}"
    assert shown(found) == item.needed
    assert fix_of(found) == fix


def test_a_second_interpreter() -> None:
    item = dylib(needed=("@loader_path/libpython3.12.dylib",))
    libraries = {"x/a.so": item, "x/b.so": item, "x/libpython3.12.dylib": dylib()}
    found = only("versioned-python-library", "cp312-cp312-macosx_11_0_arm64", libraries)
    assert found.message == (
        "2 libraries link to the bundled libpython: a second interpreter, never initialized, next"
        " to the running one"
    )
    assert found.libraries == ("x/a.so", "x/b.so")
    assert fix_of(found) == (
        "leave libpython3.12.dylib out of the wheel: the interpreter provides its symbols"
    )


def test_a_hook_has_the_name_of_its_module_whatever_that_is() -> None:
    item = library("PyModuleDef_Init", exports=("PyInit_MyPyInit",))
    found = only("abi3-violation", "cp315-abi3t", {"_C.abi3t.so": item})
    assert fix_of(found).startswith("export PyModExport_MyPyInit (PEP 793) and build")
    item = library("PyObject_GetAttrString", exports=("PyModExport_MyPyModExport",))
    found = only("abi3-floor-understated", "cp310-abi3", {"_C.abi3.so": item})
    assert fix_of(found).endswith(", or export PyInit_MyPyModExport too to keep Python 3.10")
    found = only("unimportable-extension", "cp312-cp312", {"_C.so": item})
    assert fix_of(found) == "export PyInit_MyPyModExport too (PEP 793)"


def test_the_tag_of_the_stable_abi_is_what_is_violated() -> None:
    found = only("abi3-violation", "cp310-abi3.none", {"_C.abi3.so": PRIVATE})
    assert found.message.endswith(", but the wheel is tagged cp310-abi3")
    opaque = library("PyModuleDef_Init", exports=HOOK)
    # Without the stable ABI that a wheel with the GIL has, none is left to tag it for.
    found = only("abi3-violation", "cp315-abi3t.none", {"_C.abi3t.so": opaque})
    assert tags_of(found) is None


def test_the_newest_of_several_floors_counts() -> None:
    new = library("PyObject_GetAttrString", exports=("PyModExport__D",))
    libraries = {"_B.abi3.so": STABLE, "_C.abi3.so": NEWER, "_D.abi3.so": new}
    found = only("abi3-floor-understated", "cp310-abi3", libraries)
    assert found.message == (
        "2 libraries need the stable ABI of Python 3.15, but the tags and Requires-Python allow"
        " 3.10"
    )
    assert found.libraries == ("_C.abi3.so", "_D.abi3.so")
    assert [(item.library, item.name) for item in found.evidence] == [
        ("_C.abi3.so", "PyObject_GetBuffer"),
        ("_D.abi3.so", "PyModExport__D"),
    ]
    # To build one of them for an older Python is not enough.
    assert fix_of(found).startswith("tag the wheel cp315-abi3, or build with -DPy_LIMITED_API=")


def test_the_oldest_free_threaded_python_is_told_of() -> None:
    rule = "abi3-floor-understated"
    found = only(rule, "cp312-abi3.abi3t", {"_C.so": STABLE})
    assert found.message == (
        "the tags allow free-threaded Python 3.13, but abi3t starts with 3.15 (PEP 803)"
    )
    assert of_rule(rule, "cp313-abi3.cp313t", {"_C.so": STABLE}) == []


def test_pythons_that_find_the_module_in_another_file_miss_nothing() -> None:
    each = {NAMED.format(310): STABLE, NAMED.format(311): STABLE}
    found = only("abi3-suffix", "cp310-abi3", each)
    assert found.message.startswith("2 libraries have a filename that Python 3.12 can't import")
    each = {NAMED.format(311): PRIVATE, NAMED.format(312): PRIVATE}
    tag = "cp311.cp312.cp313-cp311.cp312.cp313"
    found = only("unimportable-extension", tag, each)
    assert found.message == (
        "2 libraries have a filename that Python 3.13 can't import, but the tags allow it"
    )


def test_modules_of_one_machine_are_to_be_built_for_that() -> None:
    libraries = {NAMED.format(310): PRIVATE, "data.so": library(arch="aarch64")}
    found = only("unimportable-extension", "cp312-cp312", libraries)
    assert fix_of(found) == "build with Python 3.12 for x86_64, in a clean build folder"


def test_a_wheel_for_every_python_names_none_that_could_not_import() -> None:
    assert of_rule("unimportable-extension", "py3-none", {"x/_C.dll": PRIVATE}) == []


@pytest.mark.parametrize(
    ("tag", "libraries", "fix"),
    [
        # Of two tags neither is the one that it was built for.
        ("cp311.cp312-none", {"_C.so": PRIVATE}, ONE_EACH.format("cp311", "3.11")),
        # The modules are for several, the oldest of them first.
        (
            "cp312-none",
            {NAMED.format(312): PRIVATE, NAMED.format(311): PRIVATE},
            ONE_EACH.format("cp311", "3.11"),
        ),
        # One module of two is tied to a Python.
        ("py39-none", {"_C.so": STABLE, "_D.so": PRIVATE}, ONE_EACH.format("cp39", "3.9")),
    ],
)
def test_a_wheel_for_each_python(tag: str, libraries: dict[str, Library], fix: str) -> None:
    found = of_rule("python-api-in-none-wheel", tag, libraries)
    assert {fix_of(item) for item in found} == {fix}


def test_the_oldest_python_of_the_tags_is_to_be_linked_to() -> None:
    tag = "cp311.cp312-cp311.cp312-win_amd64"
    found = only("versioned-python-library", tag, {"_C.pyd": dll(needed=("python310.dll",))})
    assert fix_of(found) == "link to python311.dll: build with Python 3.11"


def test_a_wheel_for_every_python_is_another_rules_matter() -> None:
    assert of_rule("versioned-python-library", "py3-none", {"_C.so": VERSIONED_PYTHON}) == []


def test_torch_has_a_libpython_of_its_own() -> None:
    libraries = {
        "x/a.so": dylib(needed=("@loader_path/libpython3.12.dylib",)),
        "x/libpython3.12.dylib": dylib(),
    }
    promised = claims("cp312-cp312-macosx_11_0_arm64")
    for name, told in (("x", True), ("torch", False)):
        found = run_rules(subject(libraries, replace(promised, name=name)), CATALOG)
        assert ("versioned-python-library" in {item.rule for item in found}) is told


def test_each_module_is_told_what_keeps_an_older_python() -> None:
    """One is to be built for it, another to export the hook that it knows."""
    importing = library("PyObject_GetBuffer", exports=("PyInit__C",))
    hooked = library("PyLong_FromLong", exports=("PyModExport__D",))
    found = only(
        "abi3-floor-understated", "cp310-abi3", {"x/_C.abi3.so": importing, "x/_D.abi3.so": hooked}
    )
    assert fix_of(found) == (
        "tag the wheel cp315-abi3, or build with -DPy_LIMITED_API=0x030a0000 and export PyInit__D"
        " too to keep Python 3.10"
    )

"""What the rules about Python say and advise, to the letter."""

from __future__ import annotations

import pytest

from tests.builders import CATALOG, claims, dll, dylib, fix_of, library, shown, subject
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
        "the tag says abi3, and it imports 1 name of CPython's C API outside the stable ABI"
    )
    assert (found.libraries, shown(found)) == (("_C.abi3.so",), ("_PyObject_GetDictPtr",))


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
        (("PyModuleDef_Init",), "it imports 1 function that takes one"),
        (("PyModuleDef_Init", "PyModule_Create2"), "it imports 2 functions that take one"),
    ],
)
def test_opaque_definitions(names: tuple[str, ...], said: str) -> None:
    item = library(*names, exports=HOOK)
    found = only("abi3-violation", "cp315-abi3.abi3t", {"_C.abi3t.so": item})
    assert found.message == f"the tag says abi3t, where PyModuleDef is opaque, and {said}"
    assert shown(found) == names


def test_the_oldest_python() -> None:
    item = library("PyObject_GetBuffer", "PyObject_Repr", exports=HOOK)
    found = only("abi3-floor-understated", "cp39-abi3", {"_C.abi3.so": item}, python=">=3.10")
    assert found.message == (
        "the tags and Requires-Python admit Python 3.10, and it imports names that the stable ABI"
        " has since 3.11"
    )
    assert shown(found) == ("PyObject_GetBuffer",)
    assert fix_of(found) == (
        "tag the wheel cp311-abi3, set Requires-Python: >=3.11, or build with"
        " -DPy_LIMITED_API=0x030a0000"
    )


def test_free_threaded_pythons_before_abi3t() -> None:
    rule = "abi3-floor-understated"
    libraries = {"_C.so": STABLE, "data.so": library("malloc")}
    found = only(rule, "cp313-abi3t", libraries)
    assert found.message == (
        "the tags admit free-threaded Python 3.13, and abi3t begins with 3.15 (PEP 803)"
    )
    assert found.libraries == ("_C.so",)
    assert fix_of(found).startswith("tag the wheel cp315-abi3.abi3t, and build")
    assert of_rule(rule, "cp313-abi3", libraries) == []
    assert of_rule(rule, "cp315-abi3t", libraries) == []
    assert of_rule(rule, "cp313-abi3t", {"data.so": library("malloc")}) == []


@pytest.mark.parametrize(
    ("tag", "file", "item", "python", "fix"),
    [
        ("cp310-abi3", NAMED.format(310), STABLE, "3.11", "name it .abi3.so"),
        ("cp310-abi3", NAMED.format(311), STABLE, "3.10", "name it .abi3.so"),
        ("cp315-abi3.abi3t", "_C.abi3.so", STABLE, "3.15t", "name it .abi3t.so"),
        (
            "cp310-abi3-win_amd64",
            "_C.cp310-win_amd64.pyd",
            dll("python3.dll:PyObject_GetAttrString", exports=HOOK),
            "3.11",
            "name it .pyd",
        ),
    ],
)
def test_suffixes(tag: str, file: str, item: Library, python: str, fix: str) -> None:
    found = only("abi3-suffix", tag, {file: item})
    assert found.message == (
        f"Python {python} does not look for a module in a file of this name, and the tags promise"
        " it"
    )
    assert fix_of(found).startswith(fix)


def test_modules_that_no_python_or_not_every_python_imports() -> None:
    rule = "unimportable-extension"
    found = only(rule, "cp311.cp312-cp311.cp312", {NAMED.format(310): PRIVATE})
    no_python = (
        "no Python that the tags admit (3.11, 3.12) looks for a module in a file of this name"
    )
    assert found.message == no_python  # fmt: skip
    found = only(rule, "cp311.cp312-cp311.cp312", {NAMED.format(312): PRIVATE})
    assert found.message == (
        "Python 3.11, which the tags admit, does not look for a module in a file of this name"
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
        "only Python 3.15 and newer call its hook, and the tags admit 3.13, 3.14"
    )
    assert (found.libraries, shown(found)) == (("_C.so",), ("PyModExport__C",))
    # A module for each Python, of which 3.15 calls the new hook.
    each = {NAMED.format(314): PRIVATE, NAMED.format(315): item}
    assert of_rule("unimportable-extension", "cp314.cp315-cp314.cp315", each) == []


def test_a_library_that_is_no_module_needs_no_name_of_one() -> None:
    libraries = {"x.libs/libx.so.1": library("malloc"), "x/_C.dll": PRIVATE}
    found = only("unimportable-extension", "cp312-cp312", libraries)
    assert found.libraries == ("x/_C.dll",)


ONE_EACH = "cpXY-cpXY, one a Python"


@pytest.mark.parametrize(
    ("tag", "item", "said", "evidence", "fix"),
    [
        ("py39-none", PRIVATE, "py39-none|imports", "_PyObject_GetDictPtr", ONE_EACH),
        ("py39-none", STABLE, "py39-none|imports", "PyObject_GetAttrString", "cp32-abi3"),
        ("cp312-none", PRIVATE, "cp312-none|imports", "_PyObject_GetDictPtr", ONE_EACH),
        ("py3.cp312-none", STABLE, "py3-none|imports", "PyObject_GetAttrString", "cp32-abi3"),
        (
            "py3-none",
            library(needed=("libpython3.12.so.1.0",)),
            "py3-none|links",
            "libpython3.12.so.1.0",
            ONE_EACH,
        ),
    ],
)
def test_python_in_a_wheel_without_one(
    tag: str, item: Library, said: str, evidence: str, fix: str
) -> None:
    found = only("python-api-in-none-wheel", tag, {"_C.so": item, "data.so": library("malloc")})
    name, verb = said.split("|")
    assert found.message == (
        f"the tag {name} says that no Python ABI is used, and it {verb} CPython's C API"
    )
    assert (found.libraries, shown(found)) == (("_C.so",), (evidence,))
    assert fix_of(found) == f"tag the wheel {fix}"


LEAVE = "leave the library of Python out: the interpreter has the symbols"


@pytest.mark.parametrize(
    ("tag", "item", "said", "fix"),
    [
        (
            "cp312-cp312",
            library(needed=("libpython3.11.so.1.0",)),
            (
                "it links libpython3.11.so.1.0, which Python 3.12 does not have, and the tags admit"
                " that"
            ),
            LEAVE,
        ),
        (
            "cp312-cp312",
            library(needed=("libpython3.12.so.1.0",)),
            (
                "it links libpython3.12.so.1.0: many interpreters of that version are built without"
                " a shared library"
            ),
            LEAVE,
        ),
        (
            "cp312-cp312-win_amd64",
            dll(needed=("python311.dll",)),
            "it links python311.dll, which Python 3.12 does not have, and the tags admit that",
            (
                "link that of the tag's Python (-DPy_LIMITED_API and py_limited_api=True choose"
                " python3.dll)"
            ),
        ),
        (
            "cp310-abi3-win_amd64",
            dll(needed=("python310.dll",)),
            "it links python310.dll, which Python 3.11 does not have, and the tags admit that",
            "link python3.dll (-DPy_LIMITED_API and py_limited_api=True choose python3.dll)",
        ),
        (
            "cp315-abi3t-win_amd64",
            dll(needed=("python315t.dll",)),
            "it links python315t.dll, which Python 3.16t does not have, and the tags admit that",
            "link python3t.dll (-DPy_LIMITED_API and py_limited_api=True choose python3.dll)",
        ),
    ],
)
def test_libraries_of_python(tag: str, item: Library, said: str, fix: str) -> None:
    found = only("versioned-python-library", tag, {"x/_C.pyd": item})
    assert found.message == said
    assert shown(found) == item.needed
    assert fix_of(found) == fix


def test_a_second_interpreter() -> None:
    item = dylib(needed=("@loader_path/libpython3.12.dylib",))
    libraries = {"x/a.so": item, "x/b.so": item, "x/libpython3.12.dylib": dylib()}
    found = only("versioned-python-library", "cp312-cp312-macosx_11_0_arm64", libraries)
    assert found.message == (
        "the wheel carries a library of CPython's, and 2 libraries link it: a second interpreter,"
        " that nobody has started, beside the one that runs"
    )
    assert found.libraries == ("x/a.so", "x/b.so")
    assert fix_of(found) == LEAVE

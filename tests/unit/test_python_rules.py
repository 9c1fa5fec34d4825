"""Rules about CPython's builds: free-threaded ones, suffixes and hooks."""

from __future__ import annotations

import pytest

from tests.builders import CATALOG, claims, dll, dylib, library, subject
from torch_abi_audit.abi.classify import classify
from torch_abi_audit.model import Claims, Library, PythonAbi, Severity, Subject
from torch_abi_audit.rules import run_rules

ERROR, WARNING = Severity.ERROR, Severity.WARNING
PLATFORM = "manylinux_2_28_x86_64"
STABLE = library("PyObject_GetAttrString", exports=("PyInit__C",))
PRIVATE = library("_PyObject_GetDictPtr", exports=("PyInit__C",))
EXPORTED = library("PyObject_GetAttrString", exports=("PyModExport__C",))
RULES = {"abi3-violation", "abi3-floor-understated", "abi3-suffix", "unimportable-extension"}
RULES |= {"python-api-in-none-wheel", "binaries-in-pure-wheel"}


def found(
    libraries: dict[str, Library], tag: str | Claims, *, python: str = ""
) -> list[tuple[str, Severity, tuple[str, ...]]]:
    promised = claims(tag, python=python) if isinstance(tag, str) else tag
    findings = run_rules(subject(libraries, promised), CATALOG)
    return [(f.rule, f.severity, f.libraries) for f in findings if f.rule in RULES]


def test_abi3t_as_the_pep_has_it() -> None:
    item = subject({"_C.abi3t.so": EXPORTED}, claims(f"cp315-abi3.abi3t-{PLATFORM}"))
    (audit,) = item.libraries
    assert (audit.python.abi, str(audit.python.floor)) == (PythonAbi.ABI3T, "3.15")
    assert found({"_C.abi3t.so": EXPORTED}, f"cp315-abi3.abi3t-{PLATFORM}") == []
    assert found({"_C.so": EXPORTED}, f"cp315-abi3.abi3t-{PLATFORM}") == []


@pytest.mark.parametrize("tag", ["cp315-abi3t", "cp315-abi3.abi3t"])
def test_a_module_definition_is_opaque_in_abi3t(tag: str) -> None:
    static = library("PyModuleDef_Init", "PyObject_GetAttrString", exports=("PyInit__C",))
    assert found({"_C.abi3t.so": static}, f"{tag}-{PLATFORM}") == [
        ("abi3-violation", ERROR, ("_C.abi3t.so",))
    ]
    assert found({"_C.abi3.so": static}, f"cp315-abi3-{PLATFORM}") == []


@pytest.mark.parametrize(
    ("tag", "file", "expected"),
    [
        ("cp310-abi3", "_C.abi3.so", []),
        ("cp310-abi3", "_C.so", []),
        ("cp310-abi3", "_C.cpython-310-x86_64-linux-gnu.so", [ERROR]),
        ("cp310-abi3", "_C.abi3t.so", [ERROR]),  # 3.10 does not know it
        ("cp315-abi3.abi3t", "_C.abi3.so", [ERROR]),  # 3.15t does not look for it
    ],
)
def test_suffixes_of_stable_wheels(tag: str, file: str, expected: list[Severity]) -> None:
    hits = found({file: STABLE}, f"{tag}-{PLATFORM}")
    assert [severity for rule, severity, _ in hits if rule == "abi3-suffix"] == expected


def test_windows_has_no_suffix_for_abi3() -> None:
    module = dll("python3.dll:PyObject_GetAttrString", exports=("PyInit__C",))
    tag = "cp310-abi3-win_amd64"
    assert found({"_C.pyd": module}, tag) == []
    assert found({"_C.abi3.pyd": module}, tag) == [("abi3-suffix", ERROR, ("_C.abi3.pyd",))]


def test_a_module_that_is_there_for_the_others_too() -> None:
    both = {"_C.abi3.so": STABLE, "_C.cpython-310-x86_64-linux-gnu.so": STABLE}
    assert found(both, f"cp310-abi3-{PLATFORM}") == [
        ("abi3-suffix", WARNING, ("_C.cpython-310-x86_64-linux-gnu.so",))
    ]


@pytest.mark.parametrize(
    ("tag", "file", "expected"),
    [
        ("cp312-cp312", "_C.cpython-312-x86_64-linux-gnu.so", []),
        ("cp312-cp312", "_C.abi3.so", []),
        ("cp312-cp312", "_C.cpython-310-x86_64-linux-gnu.so", [ERROR]),
        ("cp312-cp312", "_C.cpython-312-aarch64-linux-gnu.so", [ERROR]),
        ("cp313-cp313t", "_C.cpython-313t-x86_64-linux-gnu.so", []),
        ("cp313-cp313t", "_C.cpython-313-x86_64-linux-gnu.so", [ERROR]),
        ("cp313-cp313t", "_C.abi3.so", []),
        ("cp315-cp315t", "_C.abi3.so", [ERROR]),
        ("cp311.cp312-cp311.cp312", "_C.cpython-312-x86_64-linux-gnu.so", [ERROR]),  # none for 3.11
        ("pp311-pypy311_pp73", "_C.pypy311-pp73-x86_64-linux-gnu.so", []),
        ("graalpy312-graalpy250_312_native", "_C.graalpy250-312-native-x86_64-linux.so", []),
    ],
)
def test_suffixes_of_other_wheels(tag: str, file: str, expected: list[Severity]) -> None:
    hits = found({file: PRIVATE}, f"{tag}-{PLATFORM}")
    assert [severity for rule, severity, _ in hits if rule == "unimportable-extension"] == expected
    assert {rule for rule, *_ in hits} <= {"unimportable-extension"}


def test_a_wheel_for_two_pythons_has_a_module_for_each() -> None:
    both = {f"_C.cpython-3{n}-x86_64-linux-gnu.so": PRIVATE for n in (11, 12)}
    assert found(both, f"cp311.cp312-cp311.cp312-{PLATFORM}") == []


def test_a_suffix_for_musl() -> None:
    named = {"_C.cpython-312-x86_64-linux-musl.so": PRIVATE}
    assert [rule for rule, *_ in found(named, f"cp312-cp312-{PLATFORM}")] == [
        "unimportable-extension"
    ]
    assert found(named, "cp312-cp312-musllinux_1_2_x86_64") == []
    assert found(named, f"cp312-cp312-{PLATFORM}.musllinux_1_2_x86_64") == []


def test_modules_under_names_that_are_none() -> None:
    windows = dll("python312.dll:_PyObject_GetDictPtr", exports=("PyInit__C",))
    for path in ("x/pyd", "x/_C.dll", "x/_C.so"):
        assert found({path: windows}, "cp312-cp312-win_amd64") == [
            ("unimportable-extension", Severity.NOTE, (path,))
        ]


def test_the_slices_of_a_universal_module_are_one_module() -> None:
    """They are told of once, and none is the other's substitute."""
    path = "_C.cpython-310-darwin.so"
    slices = [
        (path, dylib("_PyObject_GetDictPtr", exports=("PyInit__C",), arch=arch))
        for arch in ("arm64", "x86_64")
    ]
    items, _ = classify(slices, ("macosx_11_0_universal2",), CATALOG)
    item = Subject(claims("cp312-cp312-macosx_11_0_universal2"), items)
    findings = run_rules(item, CATALOG)
    assert [(f.rule, f.severity, f.libraries) for f in findings] == [
        ("unimportable-extension", ERROR, (path,))
    ]


def test_a_hook_that_the_tags_python_does_not_call() -> None:
    only_new = library("_PyObject_GetDictPtr", exports=("PyModExport__C",))
    both = library("_PyObject_GetDictPtr", exports=("PyModExport__C", "PyInit__C"))
    file = "_C.cpython-314-x86_64-linux-gnu.so"
    assert found({file: only_new}, f"cp314-cp314-{PLATFORM}") == [
        ("unimportable-extension", ERROR, (file,))
    ]
    assert found({file: both}, f"cp314-cp314-{PLATFORM}") == []
    assert found({"_C.so": only_new}, f"cp315-cp315-{PLATFORM}") == []


def test_abi3t_begins_with_3_15() -> None:
    named = {"_C.so": STABLE}
    (rule, severity, libraries), *_ = found(named, f"cp314-abi3t-{PLATFORM}")
    assert (rule, severity, libraries) == ("abi3-floor-understated", ERROR, ("_C.so",))
    assert found(named, f"cp314-abi3t-{PLATFORM}", python=">=3.15") == []


def test_a_module_without_the_c_api_is_new_by_its_hook() -> None:
    bare = library(exports=("PyModExport__C",))
    (audit,) = subject({"_C.so": bare}).libraries
    assert (audit.python.abi, str(audit.python.floor)) == (PythonAbi.ABI3, "3.15")


def test_helpers_of_binding_generators_name_functions_like_pythons() -> None:
    helped = library("PyMethod_New", needed=("libshiboken6.abi3.so.6.12",), exports=("PyInit_x",))
    alone = library("PyMethod_New", needed=("libnuma.so.1",), exports=("PyInit_x",))
    proto = library("PyMethod_New", needed=("libpyro.so.1",), exports=("PyInit_x",))
    tag = f"cp310-abi3-{PLATFORM}"
    assert found({"x.abi3.so": helped}, tag) == [("abi3-violation", WARNING, ("x.abi3.so",))]
    assert found({"x.abi3.so": alone}, tag) == [("abi3-violation", ERROR, ("x.abi3.so",))]
    assert found({"x.abi3.so": proto}, tag) == [("abi3-violation", ERROR, ("x.abi3.so",))]


def test_accelerators_that_one_python_imports_in_a_wheel_for_all() -> None:
    windows = dll("python39.dll:_PyObject_GetDictPtr", exports=("PyInit_a",))
    linux = library("malloc")
    both = {"x/a.cp39-win_amd64.pyd": windows, "x/attach.so": linux}
    assert found(both, "py3-none-any") == [
        ("python-api-in-none-wheel", WARNING, ("x/a.cp39-win_amd64.pyd",)),
        ("binaries-in-pure-wheel", WARNING, tuple(both)),
    ]
    api = [("python-api-in-none-wheel", WARNING, ("x/a.cp39-win_amd64.pyd",))]
    assert found(both, "py3-none-any.win_amd64")[:1] == api
    # Nothing else is there for those that install a wheel for two platforms.
    api = [("python-api-in-none-wheel", ERROR, ("x/a.cp39-win_amd64.pyd",))]
    assert found(both, f"py3-none-win_amd64.{PLATFORM}") == api
    # Any Python imports what is not named for one.
    unnamed = {"x/a.pyd": windows, "x/attach.so": linux}
    api = [("python-api-in-none-wheel", ERROR, ("x/a.pyd",))]
    assert found(unnamed, "py3-none-any")[:1] == api
    # For one system alone it is no accelerator but a wheel with a wrong tag.
    alone = {"x/a.cp39-win_amd64.pyd": windows}
    assert [(rule, severity) for rule, severity, _ in found(alone, "py3-none-any")] == [
        ("python-api-in-none-wheel", ERROR),
        ("binaries-in-pure-wheel", ERROR),
    ]


def test_a_wheel_with_a_module_for_each_python() -> None:
    several = {f"x/a.cpython-3{n}-x86_64-linux-gnu.so": PRIVATE for n in (11, 12)}
    assert [severity for _, severity, _ in found(several, f"py3-none-{PLATFORM}")] == [WARNING]
    one = {"x/a.cpython-312-x86_64-linux-gnu.so": PRIVATE}
    assert [severity for _, severity, _ in found(one, f"py3-none-{PLATFORM}")] == [ERROR]

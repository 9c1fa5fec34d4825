from __future__ import annotations

import pytest

from tests.builders import library
from torch_abi_audit.abi.cpython import (
    classify_python,
    library_kind,
)
from torch_abi_audit.loader.scope import Scope
from torch_abi_audit.model import (
    Format,
    Library,
    LibraryKind,
    PythonAbi,
    PythonUse,
    PythonVersion,
    Symbol,
    highest_python_floor,
    worst_python_abi,
)


def use_of(item: Library, *own: str) -> PythonUse:
    return classify_python("x/_C.so", item, Scope(symbols=frozenset(own)))


def test_none() -> None:
    assert use_of(library("malloc", "Pyramid", "_ZN2Py6ObjectE")) == PythonUse(PythonAbi.NONE)


def test_stable_with_its_floor() -> None:
    assert use_of(library("PyObject_GetAttrString", "PyObject_GetBuffer")) == PythonUse(
        PythonAbi.ABI3, floor=PythonVersion(3, 11), floor_symbols=("PyObject_GetBuffer",)
    )


def test_data_counts_too() -> None:
    assert use_of(library("PyExc_ValueError", "_Py_NoneStruct")).abi is PythonAbi.ABI3


def test_outside_the_stable_abi() -> None:
    use = use_of(library("PyObject_GetAttrString", "PyFrame_GetBack", "_PyObject_GetDictPtr"))
    assert use == PythonUse(
        PythonAbi.VERSION_SPECIFIC, violations=("PyFrame_GetBack", "_PyObject_GetDictPtr")
    )


def test_names_for_windows_only() -> None:
    assert use_of(library("PyErr_SetFromWindowsErr")).violations == ("PyErr_SetFromWindowsErr",)
    on_windows = library("PyErr_SetFromWindowsErr", format=Format.PE)
    assert use_of(on_windows).abi is PythonAbi.ABI3


def test_debug_builds_only() -> None:
    assert use_of(library("_Py_NegativeRefcount")).violations == ("_Py_NegativeRefcount",)


def test_weak_and_own_names_do_not_count() -> None:
    item = library(Symbol("PyFrame_GetBack", weak=True), "PyOurs_Make")
    assert use_of(item, "PyOurs_Make") == PythonUse(PythonAbi.NONE)


@pytest.mark.parametrize("hook", ["PyInit_x", "PyInitU_x", "PyModExport_x", "PyModExportU_x"])
def test_extensions(hook: str) -> None:
    assert library_kind(library(exports=(hook,))) is LibraryKind.EXTENSION


def test_bundled() -> None:
    assert library_kind(library("PyInit_other", exports=("f",))) is LibraryKind.BUNDLED


def test_a_module_with_the_new_hook_alone_needs_3_15() -> None:
    new = library("PyObject_GetAttrString", exports=("PyModExport_x",))
    both = library("PyObject_GetAttrString", exports=("PyModExport_x", "PyInit_x"))
    assert use_of(new).floor == PythonVersion(3, 15)
    assert use_of(new).floor_symbols == ("PyModExport_x",)
    assert use_of(both).floor == PythonVersion(3, 2)


def test_roll_up() -> None:
    old = PythonUse(PythonAbi.ABI3, floor=PythonVersion(3, 9))
    new = PythonUse(PythonAbi.ABI3, floor=PythonVersion(3, 11))
    bound = PythonUse(PythonAbi.VERSION_SPECIFIC, violations=("_Py_x",))
    none = PythonUse(PythonAbi.NONE)
    assert worst_python_abi([none, old]) is PythonAbi.ABI3
    assert worst_python_abi([old, bound]) is PythonAbi.VERSION_SPECIFIC
    assert worst_python_abi([none]) is PythonAbi.NONE
    assert highest_python_floor([old, new, none]) == (3, 11)
    assert highest_python_floor([old, bound]) is None
    assert highest_python_floor([none]) is None


def test_abi3t_has_a_floor_of_its_own() -> None:
    """Whatever the age of the names that it imports (PEP 803)."""
    stable = library("PyObject_GetAttrString", exports=("PyInit__C",))
    linked = library("PyObject_GetAttrString", needed=("libpython3t.so",))
    for path, item, symbol in (
        ("x/_C.abi3t.so", stable, "_C.abi3t.so"),
        ("x/libx.so", linked, "libx.so"),
    ):
        use = classify_python(path, item, Scope())
        assert (use.abi, use.floor) == (PythonAbi.ABI3T, PythonVersion(3, 15))
        assert use.floor_symbols == (symbol,)
    bound = classify_python("x/_C.abi3t.so", library("_PyObject_GetDictPtr"), Scope())
    assert (bound.abi, bound.floor) == (PythonAbi.VERSION_SPECIFIC, None)
    opaque = classify_python("x/_C.abi3t.so", library("PyModuleDef_Init"), Scope())
    assert (opaque.abi, opaque.floor) == (PythonAbi.ABI3, PythonVersion(3, 5))

from __future__ import annotations

import pytest
from packaging.version import Version

from tests.builders import CATALOG, library
from torch_abi_audit.abi.scope import Scope, scopes
from torch_abi_audit.abi.torch import (
    classify_torch,
    highest_floor,
    is_torch_library,
    worst_abi,
)
from torch_abi_audit.model import Floor, Library, Symbol, TorchAbi, TorchUse

TORCH = ("libtorch_cpu.so",)


def use_of(item: Library) -> TorchUse:
    return classify_torch(item, Scope(), CATALOG)


def test_stable_with_its_floor() -> None:
    use = use_of(library("torch_ten", "torch_eleven", "aoti_torch_old", "malloc", needed=TORCH))
    assert use == TorchUse(
        abi=TorchAbi.STABLE,
        needed=TORCH,
        shims=("aoti_torch_old", "torch_eleven", "torch_ten"),
        floor=Floor(Version("2.11.0"), ("torch_eleven",)),
    )


def test_the_floor_is_never_below_the_promise() -> None:
    assert use_of(library("aoti_torch_old")).floor == Floor(Version("2.9.0"), ())


def test_a_shim_without_a_torch_prefix_counts() -> None:
    use = use_of(library("aoti_record_function_start"))
    assert use.floor == Floor(Version("2.9.0"), ("aoti_record_function_start",))


@pytest.mark.parametrize(
    "name",
    [
        "_ZN2at6TensorD1Ev",
        "_ZTIN3c105ErrorE",
        "_ZN6caffe28TypeMeta15typeMetaDatasEv",
        "_ZN5torch3jit6ModuleD1Ev",
        "_ZN5torch8autograd4NodeD2Ev",
        "_ZN4c10d7Backend4nameEv",
        "THPVariableClass",
        "aoti_torch_gone",  # declared by no release that the promise covers
    ],
)
def test_unstable(name: str) -> None:
    use = use_of(library(name, "torch_ten", needed=TORCH))
    assert use.abi is TorchAbi.UNSTABLE
    assert use.unstable == (name,)
    assert use.floor is None


@pytest.mark.parametrize(
    "name",
    [
        "_ZN4mine1fERKN2at6TensorE",
        "_ZN14torch_tensorrt5ErrorC1Ei",
        "_Z9torch_foov",
        "_ZN5torch6stable6TensorC1Ev",
        "_ZN5torch10headeronly8toStringEv",
        "_ZNSt6vectorIN3c106IValueESaIS1_EED1Ev",
        "PyObject_Call",
        "torch_foo",  # without any sign that the library uses torch
        "THPfoo",
    ],
)
def test_none(name: str) -> None:
    assert use_of(library(name)) == TorchUse(TorchAbi.NONE)


def test_stable_is_not_a_prefix() -> None:
    assert use_of(library("_ZN5torch12stable_thing1fEv")).abi is TorchAbi.UNSTABLE


def test_unknown_shims() -> None:
    use = use_of(library("aoti_torch_new", "torch_new", "torch_ten"))
    assert use.unknown_shims == ("aoti_torch_new", "torch_new")
    assert use.abi is TorchAbi.STABLE
    assert use.floor == Floor(Version("2.10.0"), ("torch_ten",))


def test_a_reserved_prefix_alone_is_a_shim() -> None:
    use = use_of(library("aoti_torch_new"))
    assert (use.abi, use.unknown_shims) == (TorchAbi.STABLE, ("aoti_torch_new",))


def test_linking_alone_is_no_use() -> None:
    use = use_of(library("malloc", needed=("libtorch.so", "libc10.so", "libc.so.6")))
    assert use.abi is TorchAbi.NONE
    assert use.needed == ("libtorch.so", "libc10.so")
    assert use.needs_torch


def test_weak_imports_are_kept_apart() -> None:
    use = use_of(
        library(Symbol("torch_eleven", weak=True), Symbol("_ZTHN3c101xE", weak=True), "torch_ten")
    )
    assert use.weak == ("_ZTHN3c101xE", "torch_eleven")
    assert use.floor == Floor(Version("2.10.0"), ("torch_ten",))


def test_what_a_sibling_provides_is_not_torchs() -> None:
    item = library("_ZN2at4oursEv", "torch_ten", needed=("libours.so",))
    use = classify_torch(item, Scope(symbols=frozenset({"_ZN2at4oursEv"})), CATALOG)
    assert use.abi is TorchAbi.STABLE


@pytest.mark.parametrize(
    "name",
    ["libtorch.so", "libtorch_cpu.so", "libc10_cuda.so", "libtorch_python.dylib", "c10.dll"],
)
def test_torch_libraries(name: str) -> None:
    assert is_torch_library(name)


@pytest.mark.parametrize("name", ["libtorchaudio.so", "libtorchtrt.so", "libc10d_x.so", "torch"])
def test_not_torch_libraries(name: str) -> None:
    assert not is_torch_library(name)


def test_roll_up() -> None:
    ten = TorchUse(TorchAbi.STABLE, floor=Floor(Version("2.10.0"), ("b", "a")))
    also = TorchUse(TorchAbi.STABLE, floor=Floor(Version("2.10.0"), ("c",)))
    old = TorchUse(TorchAbi.STABLE, floor=Floor(Version("2.9.0"), ()))
    unstable = TorchUse(TorchAbi.UNSTABLE)
    none = TorchUse(TorchAbi.NONE)
    assert worst_abi([none, ten, unstable]) is TorchAbi.UNSTABLE
    assert worst_abi([none, ten]) is TorchAbi.STABLE
    assert worst_abi([]) is TorchAbi.NONE
    assert highest_floor([old, ten, also, none]) == Floor(Version("2.10.0"), ("a", "b", "c"))
    assert highest_floor([ten, unstable]) is None
    assert highest_floor([none]) is None


def test_scope_of_a_needed_sibling_has_its_weak_definitions() -> None:
    weak = (Symbol("inline_function", weak=True),)
    found = scopes(
        {
            "x/_C.so": library("inline_function", needed=("libmiddle.so",)),
            "x.libs/libmiddle-12ab.so": library(soname="libmiddle.so", needed=("libend.so",)),
            "x.libs/libend.so": library(exports=weak),
        }
    )
    assert found["x/_C.so"].symbols == {"inline_function"}


def test_scope_of_a_stranger_has_its_strong_definitions_only() -> None:
    found = scopes(
        {
            "x/_C.so": library("strong", "inline_function"),
            "x/other.so": library(exports=("strong", Symbol("inline_function", weak=True))),
        }
    )
    assert found["x/_C.so"].symbols == {"strong"}


def test_a_library_is_no_sibling_of_its_own() -> None:
    found = scopes({"x/_C.so": library("f", exports=("f",), soname="_C.so", needed=("_C.so",))})
    assert found["x/_C.so"].symbols == frozenset()

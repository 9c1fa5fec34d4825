from __future__ import annotations

import pytest
from packaging.version import Version

from tests.builders import CATALOG, graph_of, library, subject
from torch_abi_audit.abi.classify import classify
from torch_abi_audit.abi.torch import (
    classify_torch,
)
from torch_abi_audit.catalog.libraries import copied_torch_library, is_torch_library
from torch_abi_audit.loader.scope import Scope, scopes
from torch_abi_audit.model import (
    Floor,
    Format,
    Library,
    ReleaseStatus,
    Symbol,
    TorchAbi,
    TorchUse,
    highest_floor,
    worst_abi,
)

TORCH = ("libtorch_cpu.so",)


LINUX = CATALOG.platforms["linux_x86_64"]


def use_of(item: Library) -> TorchUse:
    return classify_torch(item, scopes(graph_of({"x": item}))["x"], CATALOG, LINUX)


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


def test_an_unknown_shim_alone_is_one_where_torch_is_linked() -> None:
    """Whether or not a known one is imported; another project may have such names, too."""
    use = use_of(library("torch_new", needed=TORCH))
    assert (use.abi, use.unknown_shims) == (TorchAbi.STABLE, ("torch_new",))
    use = use_of(library("torch_new", "torch_ten"))
    assert use.unknown_shims == ("torch_new",)
    use = use_of(library("torch_new", needed=("libother.so",)))
    assert (use.abi, use.unknown_shims) == (TorchAbi.NONE, ())


def test_unknown_shims() -> None:
    use = use_of(library("aoti_torch_new", "torch_new", "torch_ten"))
    assert use.unknown_shims == ("aoti_torch_new", "torch_new")
    assert use.abi is TorchAbi.STABLE
    assert use.floor == Floor(Version("2.10.0"), ("torch_ten",))


def test_a_reserved_prefix_alone_is_a_shim() -> None:
    use = use_of(library("aoti_torch_new"))
    assert (use.abi, use.unknown_shims) == (TorchAbi.STABLE, ("aoti_torch_new",))


def test_what_torch_keeps_stable_is_no_unstable_symbol_where_it_exports_it() -> None:
    use = use_of(library("_ZN5torch6stable4callEv", "torch_ten", needed=TORCH))
    assert (use.abi, use.unstable, use.foreign) == (TorchAbi.STABLE, (), ())


def test_a_third_partys_symbol_is_one_in_libtorch_python_too() -> None:
    """Unlike a C function there, which is torch's."""
    names = ("_ZN6fbgemm6pythonEv", "_ZN8pybind116detail4loadEv", "torch_c_dynamo_private")
    use = use_of(library(*names, needed=("libtorch_python.so",)))
    assert use.foreign == ("_ZN6fbgemm6pythonEv",)
    assert use.unstable == ("_ZN8pybind116detail4loadEv", "torch_c_dynamo_private")


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


def test_a_weak_import_of_what_is_not_stable_is_a_use_of_it() -> None:
    """It never stops a load: the call of it crashes."""
    use = use_of(library(Symbol("_ZN2at6TensorD1Ev", weak=True), "torch_ten"))
    assert (use.abi, use.unstable) == (TorchAbi.UNSTABLE, ("_ZN2at6TensorD1Ev",))
    assert use.weak == ("_ZN2at6TensorD1Ev",)
    gone = Symbol("_ZN2at4goneEv", weak=True)
    libraries = {"x/a.so": library(gone, needed=("libtorch.so",))}
    cells = {cell.status for cell in subject(libraries).matrix.row.values()}
    assert cells == {ReleaseStatus.LINKS}


def test_what_a_sibling_provides_is_not_torchs() -> None:
    item = library("_ZN2at4oursEv", "torch_ten", needed=("libours.so",))
    scope = Scope(symbols=frozenset({"_ZN2at4oursEv"}))
    assert classify_torch(item, scope, CATALOG, LINUX).abi is TorchAbi.STABLE


@pytest.mark.parametrize(
    "name", ["_ZN8pybind116detail4loadEv", "torch_c_dynamo_private", "THP_encodeInt32Buffer"]
)
def test_what_libtorch_exports_is_unstable_whatever_its_name(name: str) -> None:
    use = use_of(library(name, "torch_ten", needed=("libtorch_python.so",)))
    assert use.unstable == (name,)


@pytest.mark.parametrize("name", ["cpuinfo_initialize", "_ZN6fbgemm4packEv"])
def test_copies_of_other_projects(name: str) -> None:
    use = use_of(library(name, needed=TORCH))
    assert (use.abi, use.foreign) == (TorchAbi.NONE, (name,))


@pytest.mark.parametrize(
    ("name", "version", "asked", "abi"),
    [
        # ld.so takes a definition without a version from anywhere, and torch has none.
        ("_ZN2at6TensorD1Ev", "GLIBC_2.2.5", "libc.so.6", TorchAbi.UNSTABLE),
        ("_ZN2at6TensorD1Ev", "X_1", "libx.so.1", TorchAbi.UNSTABLE),
        ("torch_ten", "GLIBC_2.2.5", "libc.so.6", TorchAbi.STABLE),
        ("THPVariableClass", "GLIBC_2.2.5", "libm.so.6", TorchAbi.UNSTABLE),
        ("torch_c_dynamo_private", "GLIBCXX_3.4", "libstdc++.so.6", TorchAbi.UNSTABLE),
        ("memcpy", "GLIBC_2.14", "libc.so.6", TorchAbi.NONE),
    ],
)
def test_a_version_does_not_say_who_provides_a_symbol(
    name: str, version: str, asked: str, abi: TorchAbi
) -> None:
    symbol = Symbol(name, version=version, library=asked)
    assert use_of(library(symbol, needed=(*TORCH, asked))).abi is abi


def test_a_leak_under_another_version_than_libstdcxx_has_it_under() -> None:
    def leaked(version: str) -> tuple[str, ...]:
        symbol = Symbol("_ZSt9leaked_upv", version=version, library="libstdc++.so.6")
        return use_of(library(symbol, needed=TORCH)).leaked

    assert leaked("GLIBCXX_3.4.32") == ()
    assert leaked("GLIBCXX_3.4") == ("_ZSt9leaked_upv",)


def test_what_another_library_provides_is_not_torchs() -> None:
    versioned = Symbol("cpuinfo_initialize", version="CPUINFO_1", library="libcpuinfo.so.1")
    assert use_of(library(versioned, needed=TORCH)).foreign == ()
    assert use_of(library("cpuinfo_initialize", needed=("libcpuinfo.so",))).foreign == ()


def test_leaks_of_libstdcxx() -> None:
    use = use_of(library("_ZSt9leaked_upv", "torch_ten", needed=TORCH))
    assert use.leaked == ("_ZSt9leaked_upv",)
    assert use.abi is TorchAbi.STABLE
    with_version = Symbol("_ZSt9leaked_upv", version="GLIBCXX_3.4.32", library="libstdc++.so.6")
    assert use_of(library(with_version, needed=TORCH)).leaked == ()


def test_a_binary_that_names_torch_as_the_provider() -> None:
    """As PE and Mach-O do, of every symbol."""
    named = Symbol("?anything@@YAXXZ", library="torch_cpu.dll")
    elsewhere = Symbol("_ZN2at6TensorD1Ev", library="@rpath/libother.dylib")
    use = use_of(library(named, elsewhere, format=Format.PE))
    assert use.unstable == ("?anything@@YAXXZ",)


def test_inlined_code_of_unstable_headers() -> None:
    def weak(name: str) -> Symbol:
        return Symbol(name, weak=True)

    stable = library(
        "torch_ten",
        exports=(
            weak("_ZN3c108toStringENS_10ScalarTypeE"),
            weak("_ZN3c104HalfC1Ef"),
            weak("_ZNK3c1018HeaderOnlyArrayRefIlE3endEv"),
            weak("_ZN5torch6stable6TensorD1Ev"),
            weak("_ZNK2at10TensorBase5sizesEv"),
            weak("_ZN3c1013intrusive_ptrINS_10TensorImplEE6reset_Ev"),
            "_ZN3c106IValue4mineEv",  # not weak: the library's own
        ),
    )
    assert use_of(stable).inlined == (
        "_ZN3c1013intrusive_ptrINS_10TensorImplEE6reset_Ev",
        "_ZNK2at10TensorBase5sizesEv",
    )


@pytest.mark.parametrize(
    "name",
    ["libtorch.so", "libtorch_cpu.so", "libc10_cuda.so", "libtorch_python.dylib", "c10.dll"],
)
def test_torch_libraries(name: str) -> None:
    assert is_torch_library(name)


@pytest.mark.parametrize(
    "name",
    [
        "libc10-3d9c5a1f.so",
        "libtorch_cpu.12345678.so",
        "libtorch_cpu.so.2",
        "libtorch_cuda_cpp.so",
        "torch_cpu-0123456789abcdef0123456789abcdef.dll",
    ],
)
def test_copies_of_torch_libraries(name: str) -> None:
    assert is_torch_library(name)


@pytest.mark.parametrize(
    "name", ["libtorchaudio.so", "libtorchtrt.so", "libc10d_x.so", "torch.so", "shm.so", "torch"]
)
def test_not_torch_libraries(name: str) -> None:
    assert not is_torch_library(name)


@pytest.mark.parametrize(
    ("name", "torchs"),
    [
        ("libtorch_cpu-872a1bfe.so", "libtorch_cpu"),
        ("libc10.52d951ec.so", "libc10"),
        ("libtorch-28b3d392.so.2.1", "libtorch"),
        ("libtorch_cpu.so", None),
        ("libtorch.so.202401.1", None),  # a version
        ("libtorch_cpu-872a1bfe.dylib", None),
        ("libtorch_cpu_extra-872a1bfe.so", None),
    ],
)
def test_names_of_bundled_copies(name: str, torchs: str | None) -> None:
    assert copied_torch_library(name) == torchs


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
    libs = ("$ORIGIN/../x.libs",)
    found = scopes(
        graph_of(
            {
                "x/_C.so": library("inline_function", needed=("libmiddle-12ab.so",), rpath=libs),
                "x.libs/libmiddle-12ab.so": library(needed=("libend.so",)),
                "x.libs/libend.so": library(exports=weak),
            }
        )
    )
    assert found["x/_C.so"].symbols == {"inline_function"}


def test_scope_of_a_stranger_has_its_strong_definitions_only() -> None:
    found = scopes(
        graph_of(
            {
                "x/_C.so": library("strong", "inline_function"),
                "x/other.so": library(exports=("strong", Symbol("inline_function", weak=True))),
            }
        )
    )
    assert found["x/_C.so"].symbols == frozenset()
    assert found["x/_C.so"].perhaps == {"strong"}


def test_programs_provide_nothing() -> None:
    libraries = {"x/_C.so": library("f"), "x/bin": library(exports=("f",), executable=True)}
    assert scopes(graph_of(libraries))["x/_C.so"] == Scope(binds=False)


def test_libraries_for_another_machine_provide_nothing() -> None:
    uses = {
        arch: classify(
            [
                ("x/_C.so", library("_ZN3c104warnEv", needed=("b.so",), runpath=("$ORIGIN",))),
                ("x/b.so", library(exports=("_ZN3c104warnEv",), arch=arch)),
            ],
            (),
            CATALOG,
        )
        .items[0]
        .torch.abi
        for arch in ("x86_64", "aarch64")
    }
    assert uses == {"x86_64": TorchAbi.NONE, "aarch64": TorchAbi.UNSTABLE}


def test_a_copy_of_torch_provides_nothing() -> None:
    libraries = {
        "x/_C.so": library("_ZN3c104warnEv", needed=("libc10-0a1b2c3d.so",)),
        "x.libs/libc10-0a1b2c3d.so": library(exports=("_ZN3c104warnEv",)),
    }
    found = scopes(graph_of(libraries, hidden={"x.libs/libc10-0a1b2c3d.so"}))
    use = classify_torch(libraries["x/_C.so"], found["x/_C.so"], CATALOG, LINUX)
    assert use.abi is TorchAbi.UNSTABLE
    assert use.needed == ("libc10-0a1b2c3d.so",)


def test_a_library_is_no_sibling_of_its_own() -> None:
    item = library("f", exports=("f",), soname="_C.so", needed=("_C.so",))
    found = scopes(graph_of({"x/_C.so": item}))
    assert found["x/_C.so"].symbols == frozenset()


UNSTABLE_CLASSES = {
    "at": "Tensor native",
    "c10": (
        "AutogradMetaInterface CPUTensorId Device DeviceGuard Dict Dispatcher "
        "DispatchKeySet Error FunctionSchema IValue KernelFunction List MaybeOwned "
        "NotImplementedError OperatorHandle OperatorKernel OperatorName Stream Storage "
        "StorageImpl SymBool SymFloat SymInt SymNodeImpl TensorImpl TensorOptions "
        "TensorType Type TypedOperatorHandle UndefinedTensorImpl ValueError IndexError "
        "VariableVersion Warning cuda getCustomClassType getTypePtrCopy intrusive_ptr "
        "intrusive_ptr_target ivalue"
    ),
    "torch": (
        "CppFunction Library autograd class_ data dynamo jit nn optim serialize Tensor TensorDef"
    ),
}
# What the stable headers define, in namespaces of torch's as well; and what is not torch's.
STABLE_CLASSES = {
    "at": "vec",
    "c10": "Half BFloat16 toString HeaderOnlyArrayRef detail",
    "torch": "stable headeronly",
    "mine": "Tensor IValue",
}


@pytest.mark.parametrize(
    ("namespace", "name", "unstable"),
    [
        (namespace, name, table is UNSTABLE_CLASSES)
        for table in (UNSTABLE_CLASSES, STABLE_CLASSES)
        for namespace, names in table.items()
        for name in names.split()
    ],
)
def test_the_classes_whose_inlined_code_is_recognised(
    namespace: str,
    name: str,
    unstable: bool,  # noqa: FBT001
) -> None:
    nested = "".join(f"{len(part)}{part}" for part in (namespace, name, "f"))
    symbol = Symbol(f"_ZN{nested}Ev", weak=True)
    assert use_of(library("torch_ten", exports=(symbol,))).inlined == (symbol.name,) * unstable
    # Whoever defines it for itself alone, or is on the unstable ABI anyway, is not told.
    assert use_of(library("torch_ten", exports=(symbol.name,))).inlined == ()
    assert use_of(library("_ZN2at3newEv", exports=(symbol,), needed=TORCH)).inlined == ()


def test_a_namespace_alone_is_no_class() -> None:
    exports = tuple(Symbol(f"_ZN{name}IiE1fEv", weak=True) for name in ("2at", "3c10", "5torch"))
    assert use_of(library("torch_ten", exports=exports)).inlined == ()


def test_who_outside_the_target_must_provide_an_import() -> None:
    scope = Scope(
        symbols=frozenset({"own"}),
        perhaps=frozenset({"perhaps"}),
        libraries=frozenset({"libx.so"}),
        passed_on={"passed": frozenset({"libc10.so"})},
        unprovided=frozenset({"missing"}),
    )
    assert scope.outside(Symbol("own")) == frozenset()
    assert scope.outside(Symbol("perhaps")) is None  # torch may: nobody need load the other
    assert scope.outside(Symbol("any")) is None
    assert scope.outside(Symbol("own", library="@rpath/liby.so")) == frozenset({"liby.so"})
    assert scope.outside(Symbol("any", library="@rpath/libx.so")) == frozenset()
    assert scope.outside(Symbol("passed", library="libx.so")) == frozenset({"libc10.so"})
    assert scope.outside(Symbol("missing", library="libx.so")) is None

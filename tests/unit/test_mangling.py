from __future__ import annotations

import pycxxfilt
import pytest

from torch_abi_audit.abi.mangling import demangle, owner, owner_prefix, qualified_name


@pytest.mark.parametrize(
    ("name", "scopes"),
    [
        ("_ZN2at6TensorD1Ev", ("at", "Tensor")),
        ("_ZNK2at6Tensor4sizeEl", ("at", "Tensor", "size")),
        ("_ZNKR2at6Tensor4sizeEl", ("at", "Tensor", "size")),
        ("_ZNO5torch3jit6Module1fEv", ("torch", "jit", "Module", "f")),
        ("_ZTVN3c1010TensorImplE", ("c10", "TensorImpl")),
        ("_ZTIN3c105ErrorE", ("c10", "Error")),
        ("_ZTSN3c105ErrorE", ("c10", "Error")),
        ("_ZTTN3c105ErrorE", ("c10", "Error")),
        (
            "_ZTHN3c104impl26raw_local_dispatch_key_setE",
            ("c10", "impl", "raw_local_dispatch_key_set"),
        ),
        ("_ZTWN3c104impl3setE", ("c10", "impl", "set")),
        ("_ZGVZN3c106Device3getEvE1x", ("c10", "Device", "get")),
        ("_ZZN3c106Device3getEvE1x", ("c10", "Device", "get")),
        ("_ZGRN2at1xE_", ("at", "x")),
        ("_ZThn16_N2at6TensorD0Ev", ("at", "Tensor")),
        ("_ZTv0_n24_N2at6TensorD0Ev", ("at", "Tensor")),
        ("_ZTch0_v0_n16_N2at6Tensor1fEv", ("at", "Tensor", "f")),
        ("_ZTCN2at1AE0_NS_1BE", ("at", "A")),
        ("_ZN3c108ArrayRefIlE3endEv", ("c10", "ArrayRef")),
        ("_ZN6caffe28TypeMeta13typeMetaDatasEv", ("caffe2", "TypeMeta", "typeMetaDatas")),
        ("_ZN5torch6stable6TensorC1Ev", ("torch", "stable", "Tensor")),
        ("__ZN2at6TensorD1Ev", ("at", "Tensor")),  # as Mach-O writes it
        ("_Z1fRKN2at6TensorE", ()),  # an argument only
        ("_ZN4mine1fERKN2at6TensorE", ("mine", "f")),
        ("_ZNSt6vectorIN3c106IValueESaIS1_EED1Ev", ()),
        ("_ZTIPN3c105ErrorE", ()),  # typeinfo of a pointer is everybody's
        ("_ZN14torch_tensorrt5ErrorC1Ei", ("torch_tensorrt", "Error")),
        ("_Z9torch_foov", ()),
        ("torch_foo", ()),
        ("_ZN99999at", ()),
        ("_ZN2a", ()),
        ("", ()),
    ],
)
def test_owner(name: str, scopes: tuple[str, ...]) -> None:
    assert owner(name) == scopes


@pytest.mark.parametrize(
    "name",
    [
        "_ZNK2at6Tensor4sizeEl",
        "_ZTVN3c1010TensorImplE",
        "_ZThn16_N2at6TensorD0Ev",
        "_ZN3c1010TensorImpl17set_autograd_metaESt10unique_ptrINS_21AutogradMetaInterfaceESt14default_deleteIS2_EE",
    ],
)
def test_owner_is_what_the_demangler_says(name: str) -> None:
    declaration = pycxxfilt.demangle(name)
    assert declaration is not None
    assert "::".join(owner(name)) in declaration


def test_demangle() -> None:
    assert demangle("_ZNK2at6Tensor4sizeEl") == "at::Tensor::size(long) const"
    assert demangle("torch_library_impl") is None
    assert demangle("_Znot mangled") is None


def test_a_name_that_would_expand_to_gigabytes_is_cut_short() -> None:
    """Each level of `pair<S_, S_>` doubles the declaration's length."""
    name = "_ZN3c101fESt4pairIiiE" + "".join(
        f"S1_IS{level}_S{level}_E" for level in "123456789ABCDEFGHIJKLMNOPQRSTUVW"
    )
    assert demangle(name) == "c10::f(...)"


@pytest.mark.parametrize(
    ("name", "scopes", "qualified"),
    [
        ("?warn@c10@@YAXH@Z", ("c10", "warn"), "c10::warn"),
        ("?size@Tensor@at@@QEBA_JXZ", ("at", "Tensor", "size"), "at::Tensor::size"),
        ("??0Error@c10@@QEAA@XZ", ("c10", "Error"), "c10::Error::Error"),
        ("??1Tensor@at@@QEAA@XZ", ("at", "Tensor"), "at::Tensor::~Tensor"),
        ("??4Tensor@at@@QEAAAEAV01@AEBV01@@Z", ("at", "Tensor"), "at::Tensor::operator="),
        ("??_7Error@c10@@6B@", ("c10", "Error"), "c10::Error::`vftable'"),
        ("??_R0?AVError@c10@@@8", ("c10", "Error"), "c10::Error"),
        ("?kMax@c10@@3HA", ("c10", "kMax"), "c10::kMax"),
        ("??$get@H@IValue@c10@@QEBAAEBHXZ", ("c10", "IValue", "get"), "c10::IValue::get"),
        ("?f@?$ArrayRef@_J@c10@@QEAAXXZ", ("c10", "ArrayRef", "f"), "c10::ArrayRef::f"),
        (
            "?f@mine@@YA?AV?$vector@VTensor@at@@@std@@AEBVTensor@at@@@Z",
            ("mine", "f"),
            "mine::f",
        ),
        ("?g@?A0x12@at@@YAXXZ", ("at",), "at::`anonymous namespace'::g"),
        ("?fn@at@@YAP6AHH@ZXZ", ("at", "fn"), "at::fn"),
        ("?x", (), None),
        ("?", (), None),
    ],
)
def test_names_of_microsofts_scheme(
    name: str, scopes: tuple[str, ...], qualified: str | None
) -> None:
    assert owner(name) == scopes
    assert qualified_name(name) == qualified


def test_what_names_of_one_entity_begin_with() -> None:
    assert owner_prefix("?warn@c10@@YAXH@Z") == "?warn@c10@@"
    assert owner_prefix("??$get@H@IValue@c10@@QEBAAEBHXZ") == "??$get@"
    assert owner_prefix("_ZN3c104warnEi") == "_ZN3c104warnE"
    assert owner_prefix("_ZN3c105ErrorC2Ei") == "_ZN3c105ErrorC"
    assert owner_prefix("_ZNK2at6TensorplERKS0_") == "_ZNK2at6Tensorpl"
    # One in no namespace, and one that is not mangled, are their own.
    assert owner_prefix("_Z9torch_foov") == "_Z9torch_foov"
    assert owner_prefix("torch_foo") == "torch_foo"
    # Else a name that is none would be held against all that torch exports.
    assert owner_prefix("_ZN99999at") == "_ZN99999at"
    assert owner_prefix("_ZN2atcmEv") == "_ZN2atcm"
    assert owner_prefix("_ZN2at") == "_ZN2at"


def test_a_name_that_would_grow_beyond_bounds_is_not_demangled() -> None:
    levels = "".join(f"P6AX{str(level) * 40}@Z" for level in range(10))
    assert demangle(f"?f@@YAXPEAH{levels}@Z") is None
    assert demangle("?f@@YAX" + "H" * 5000 + "@Z") is None


def test_the_longest_name_that_is_demangled() -> None:
    def name(length: int) -> str:
        function = "f" * (length - len("_ZN3c104000Ev"))
        return f"_ZN3c10{len(function)}{function}Ev"

    longest = name(4096)
    assert len(longest) == 4096
    assert demangle(longest) == f"c10::{'f' * 4083}()"
    assert demangle(name(4097)) == f"c10::{'f' * 4084}(...)"


def test_the_most_that_a_name_may_expand_to() -> None:
    """Each reference may double the declaration: 64 bytes with 16 of them are 4 MiB at most."""

    def name(function: str, references: int) -> str:
        return f"_ZN3c10{len(function)}{function}ENS_1AE" + "S0_" * (references - 1)

    most = name("ffff", 16)
    assert (len(most), demangle(most)) == (64, f"c10::ffff({', '.join(['c10::A'] * 16)})")
    assert demangle(name("fffff", 16)) == "c10::fffff(...)"
    assert demangle(name("f", 17)) == "c10::f(...)"


def test_a_long_name_of_nobodys_has_no_declaration() -> None:
    assert demangle(f"_Z4096{'f' * 4096}v") is None


def test_the_bounds_of_microsofts_scheme() -> None:
    def name(length: int, digits: int) -> str:
        identifier = "f" * (length - digits - len("?@@YAXXZ")) + "1" * digits
        return f"?{identifier}@@YAXXZ"

    def is_demangled(name: str) -> bool:
        return demangle(name) == f"void __cdecl {name[1:].partition('@')[0]}(void)"

    assert is_demangled(name(4096, 0))
    assert demangle(name(4097, 0)) is None
    # Twenty digits may repeat so much that a declaration has 59,049 characters for each.
    assert is_demangled(name((1 << 26) // 59049, 20))
    assert demangle(name((1 << 26) // 59049 + 1, 20)) is None
    # Thirty, to 1,048,576 characters each: with 64 the declaration reaches the bound.
    assert is_demangled(name(64, 30))
    assert demangle(name(65, 30)) is None

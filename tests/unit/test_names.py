from __future__ import annotations

import pycxxfilt
import pytest

from torch_abi_audit.abi.names import demangle, owner


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

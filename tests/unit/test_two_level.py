"""Where the binary says which library must provide a symbol: macOS and Windows."""

from __future__ import annotations

import pytest
from packaging.version import Version

from tests.builders import CATALOG, RELEASES, claims, dll, dylib, graph_of, library, subject
from torch_abi_audit.abi.classify import classify
from torch_abi_audit.loader.scope import scopes
from torch_abi_audit.model import (
    MAIN_EXECUTABLE,
    Library,
    LibraryAudit,
    PythonAbi,
    ReleaseStatus,
    Symbol,
    TorchAbi,
)

MAC, WIN = "py39-none-macosx_11_0_arm64", "py39-none-win_amd64"
CPU, C10 = "@rpath/libtorch_cpu.dylib", "@rpath/libc10.dylib"
_LETTERS = {
    ReleaseStatus.GUARANTEED: "G",
    ReleaseStatus.LINKS: "l",
    ReleaseStatus.BREAKS: "-",
    ReleaseStatus.UNKNOWN: "?",
}


def classified(**libraries: Library) -> dict[str, LibraryAudit]:
    found, _ = classify([(f"x/{name}.so", item) for name, item in libraries.items()], (), CATALOG)
    return {item.path[2:-3]: item for item in found}


def row(tag: str, **libraries: Library) -> str:
    """The row of the matrix, a letter for each of the catalog's releases (2.8.0 to 2.11.0)."""
    item = subject({f"x/{name}": facts for name, facts in libraries.items()}, claims(tag))
    return "".join(_LETTERS[item.matrix.row[Version(release)].status] for release in RELEASES)


@pytest.mark.parametrize(
    ("tag", "facts", "cells"),
    [
        (MAC, dylib(f"{CPU}:torch_ten", needed=(CPU,)), "---GG"),
        (MAC, dylib(f"{CPU}:_ZN2at6TensorD1Ev", needed=(CPU,)), "lllll"),
        (MAC, dylib(f"{C10}:_ZN2at6TensorD1Ev", needed=(C10,)), "-----"),
        (MAC, dylib(f"{C10}:torch_ten", needed=(C10,)), "-----"),
        # Looked up by name alone, in all that is loaded.
        (MAC, dylib("_ZN2at6TensorD1Ev"), "lllll"),
        (MAC, dylib("torch_ten", needed=(C10,)), "---GG"),
        # Of the program that runs, Python, which does not have it.
        (MAC, dylib(f"{MAIN_EXECUTABLE}:_ZN2at6TensorD1Ev", needed=(CPU,)), "-----"),
        (MAC, dylib(f"{MAIN_EXECUTABLE}:torch_ten", needed=(CPU,)), "-----"),
        # The file system knows no case.
        (
            MAC,
            dylib("@rpath/LibTorch_CPU.dylib:torch_ten", needed=("@rpath/LibTorch_CPU.dylib",)),
            "---GG",
        ),
        (MAC, dylib(f"{CPU}:_ZN2at4goneEv", needed=(CPU,)), "-----"),
        (WIN, dll("torch_cpu.dll:torch_ten", needed=("torch_cpu.dll",)), "---GG"),
        (WIN, dll("torch_cpu.dll:??1Tensor@at@@QEAA@XZ", needed=("torch_cpu.dll",)), "lllll"),
        (WIN, dll("c10.dll:??1Tensor@at@@QEAA@XZ", needed=("c10.dll",)), "-----"),
        (WIN, dll("torch_cpu.dll:#12", needed=("torch_cpu.dll",)), "-----"),
        (WIN, dll("torch_cuda.dll:f", needed=("torch_cuda.dll",)), "-----"),
    ],
)
def test_rows(tag: str, facts: Library, cells: str) -> None:
    assert row(tag, library=facts) == cells


def test_reasons_name_both_libraries() -> None:
    facts = dylib(f"{C10}:_ZN2at6TensorD1Ev", needed=(C10,))
    item = subject({"x/_C.so": facts}, claims(MAC))
    (reason,) = item.matrix.row[Version("2.11.0")].reasons
    assert str(reason) == (
        "_ZN2at6TensorD1Ev: exported by libtorch_cpu.dylib, looked up in libc10.dylib"
    )


def test_a_missing_library_is_the_one_reason() -> None:
    facts = dll("torch_cuda.dll:f", "torch_cuda.dll:torch_ten", needed=("torch_cuda.dll",))
    item = subject({"x/_C.pyd": facts}, claims(WIN))
    (reason,) = item.matrix.row[Version("2.11.0")].reasons
    assert str(reason) == "torch_cuda.dll: torch 2.11.0 is built without CUDA"


def test_libraries_that_it_loads_without() -> None:
    """A delayed DLL, or a weak dylib, may be missing; what else is asked counts."""
    facts = dll(
        "torch_cpu.dll:torch_ten",
        "torch_cuda.dll:?f@cuda@at@@YAXXZ",
        needed=("torch_cpu.dll", "torch_cuda.dll"),
        optional=("torch_cuda.dll",),
    )
    found = classified(_C=facts)["_C"].torch
    assert found.needed == ("torch_cpu.dll",)
    assert found.abi is TorchAbi.UNSTABLE
    assert row(WIN, library=facts) == "---ll"


def test_who_provides_a_name_decides_whose_it_is() -> None:
    """Not how it looks: another library can have names of torch's, and torch any name."""
    found = classified(
        own=dylib("@rpath/libmine.dylib:_ZN2at6TensorD1Ev", needed=("@rpath/libmine.dylib",)),
        torchs=dylib(f"{CPU}:anything", f"{CPU}:_ZN4mine1fEv", needed=(CPU,)),
        third=dylib(f"{CPU}:_ZN6fbgemm4packEv", needed=(CPU,)),
    )
    assert found["own"].torch.abi is TorchAbi.NONE
    assert found["torchs"].torch.foreign == ("anything",)
    assert found["torchs"].torch.unstable == ("_ZN4mine1fEv",)
    assert found["third"].torch.foreign == ("_ZN6fbgemm4packEv",)


def test_a_siblings_definition_does_not_hide_what_is_asked_of_torch() -> None:
    found = classified(
        _C=dylib(f"{C10}:_ZN3c104warnEv", needed=(C10,)),
        other=dylib(exports=("_ZN3c104warnEv",)),
    )
    assert found["_C"].torch.unstable == ("_ZN3c104warnEv",)


def test_what_a_sibling_reexports_is_torchs() -> None:
    middle = dylib(needed=(CPU,), reexported=(CPU,), soname="@rpath/middle.so", exports=("own",))
    imports = ("@rpath/middle.so:_ZN2at6TensorD1Ev", "@rpath/middle.so:own")
    found = classified(_C=dylib(*imports, needed=("@rpath/middle.so",)), middle=middle)
    assert found["_C"].torch.unstable == ("_ZN2at6TensorD1Ev",)
    assert found["_C"].torch.providers == {"_ZN2at6TensorD1Ev": {"libtorch_cpu.dylib"}}


@pytest.mark.parametrize(
    ("name", "abi"), [("torch_ten", TorchAbi.NONE), ("_ZN2at6TensorD1Ev", TorchAbi.UNSTABLE)]
)
def test_weak_imports(name: str, abi: TorchAbi) -> None:
    weak = Symbol(name, weak=True, library=CPU)
    use = classified(_C=dylib(weak, needed=(CPU,)))["_C"].torch
    assert (use.abi, use.weak) == (abi, (name,))


def test_slices_are_judged_apart_and_merged_by_the_worst() -> None:
    arm = dylib(f"{CPU}:torch_ten", needed=(CPU,))
    intel = dylib(f"{CPU}:_ZN2at6TensorD1Ev", needed=(CPU,), arch="x86_64")
    items, _ = classify([("x/_C.so", arm), ("x/_C.so", intel)], (), CATALOG)
    assert [(item.library.arch, item.torch.abi) for item in items] == [
        ("arm64", TorchAbi.STABLE),
        ("x86_64", TorchAbi.UNSTABLE),
    ]


@pytest.mark.parametrize(
    ("facts", "abi"),
    [
        (dll("python3.dll:PyObject_Repr"), PythonAbi.ABI3),
        (dll("python312.dll:PyObject_Repr", needed=("python312.dll",)), PythonAbi.VERSION_SPECIFIC),
        (dll("python3.dll:_PyObject_GetDictPtr"), PythonAbi.VERSION_SPECIFIC),
        (dll("python3.dll:#7"), PythonAbi.VERSION_SPECIFIC),
        (dll("mine.dll:PyObject_Mine"), PythonAbi.NONE),  # whose name does not matter
        (dylib("PyObject_Repr"), PythonAbi.ABI3),
        (dylib("@rpath/libpython3.12.dylib:PyObject_Repr"), PythonAbi.ABI3),
        (dylib(needed=("@rpath/libpython3.12.dylib",)), PythonAbi.VERSION_SPECIFIC),
        (
            dylib(needed=("/Library/Frameworks/Python.framework/Versions/3.12/Python",)),
            PythonAbi.VERSION_SPECIFIC,
        ),
        (library(needed=("libpython3.12.so.1.0",)), PythonAbi.VERSION_SPECIFIC),
        (library("PyObject_Repr", needed=("libpython3.so",)), PythonAbi.ABI3),
        (
            dll(needed=("python312.dll",), optional=("python312.dll",)),
            PythonAbi.NONE,
        ),
    ],
)
def test_python(facts: Library, abi: PythonAbi) -> None:
    assert classified(_C=facts)["_C"].python.abi is abi


def test_macos_looks_for_an_absolute_name_at_that_place_alone() -> None:
    place = "/Users/runner/torch/lib/libtorch_cpu.dylib"
    facts = dylib(f"{place}:torch_ten", needed=(place,))
    item = subject({"x/_C.so": facts}, claims(MAC))
    reasons = item.matrix.row[Version("2.11.0")].reasons
    assert str(reasons[0]) == f"libtorch_cpu.dylib: looked up at {place}"


def test_a_sibling_that_does_not_have_what_is_asked_of_it_hides_nothing() -> None:
    found = classified(
        _C=dylib("@rpath/other.so:_ZN3c104warnEv", needed=("@rpath/other.so",)),
        other=dylib(exports=("something",)),
    )
    assert found["_C"].torch.unstable == ("_ZN3c104warnEv",)


def test_macos_finds_a_sibling_in_another_case() -> None:
    needed = "@loader_path/Helper.dylib"
    found = classified(
        ext=dylib(f"{needed}:_ZN2at6TensorD1Ev", needed=(needed,)),
        other=dylib(exports=("_ZN2at6TensorD1Ev",), soname="@rpath/helper.dylib"),
    )
    assert found["ext"].torch.abi is TorchAbi.NONE
    assert found["ext"].own == {"helper.dylib"}


def test_windows_finds_a_library_by_its_file() -> None:
    """Not by the name in its export directory."""
    user = dll("c10.dll:f", needed=("c10.dll",))
    renamed = dll(exports=("f",), soname="c10.dll")
    items, _ = classify([("x/_C.pyd", user), ("x/renamed.dll", renamed)], (), CATALOG)
    assert items[0].torch.needed == ("c10.dll",)


def reexporting(*names: str, own: tuple[str, ...] = ()) -> Library:
    return dylib(needed=names, reexported=names, exports=own)


WARN = "_ZN3c104warnEv"
USER = dylib(f"@loader_path/a.so:{WARN}", needed=("@loader_path/a.so",))


@pytest.mark.parametrize(
    ("others", "symbol", "providers"),
    [
        # Two libraries of the target, and then torch's.
        (
            {"a": reexporting("@loader_path/b.so"), "b": reexporting(C10)},
            WARN,
            {"libc10.dylib"},
        ),
        # Of what two of them hand on, either can have it.
        (
            {
                "a": reexporting("@loader_path/b.so", "@loader_path/c.so"),
                "b": reexporting(C10),
                "c": reexporting(CPU),
            },
            WARN,
            {"libc10.dylib", "libtorch_cpu.dylib"},
        ),
        # What is not handed on is not looked at.
        ({"a": reexporting(own=("f",)), "b": reexporting(C10)}, WARN, set()),
        # The target's own, one or two steps away.
        ({"a": reexporting("@loader_path/b.so"), "b": dylib(exports=(WARN,))}, None, set()),
        (
            {
                "a": reexporting("@loader_path/b.so"),
                "b": reexporting("@loader_path/c.so", C10),
                "c": dylib(exports=(WARN,)),
            },
            None,
            set(),
        ),
        # A circle has no end, and nothing in it has the symbol.
        (
            {"a": reexporting("@loader_path/b.so"), "b": reexporting("@loader_path/a.so")},
            WARN,
            set(),
        ),
        # A library that is no part of torch has it, and so torch does not.
        ({"a": reexporting("/usr/lib/libSystem.B.dylib")}, None, set()),
    ],
)
def test_a_chain_of_reexports(
    others: dict[str, Library], symbol: str | None, providers: set[str]
) -> None:
    use = classified(_C=USER, **others)["_C"].torch
    assert use.unstable == (() if symbol is None else (symbol,))
    assert use.providers.get(WARN, frozenset()) == providers


def test_what_is_asked_by_number_is_not_looked_for() -> None:
    libraries = {
        "x/_C.pyd": dll("other.dll:#7", "other.dll:g", needed=("other.dll",)),
        "x/other.dll": dll(exports=("f",)),
    }
    scope = scopes(graph_of(libraries))["x/_C.pyd"]
    assert scope.unprovided == {"g"}
    asked = {symbol.name: scope.outside(symbol) for symbol in libraries["x/_C.pyd"].imports}
    assert asked == {"#7": frozenset(), "g": None}

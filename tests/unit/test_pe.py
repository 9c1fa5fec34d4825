from __future__ import annotations

import pefile
import pytest

from tests.builders import member_of
from tests.objects import PE
from torch_abi_audit.errors import LibraryError
from torch_abi_audit.formats import BytesSource, read_libraries
from torch_abi_audit.formats import pe as pe_module
from torch_abi_audit.model import Format, Library, Symbol


def read(data: bytes, name: str = "x.dll") -> Library:
    (library,) = read_libraries(BytesSource(data), name)
    return library


def test_facts_of_a_library_that_a_linker_made() -> None:
    assert read(member_of("windows-abi3", "windows_abi3/_C.pyd")) == Library(
        format=Format.PE,
        arch="x86_64",
        soname="_c.pyd",
        needed=("torch_cpu.dll", "python3.dll"),
        imports=(
            Symbol("torch_library_impl", library="torch_cpu.dll"),
            Symbol("PyModule_Create2", library="python3.dll"),
        ),
        exports=(Symbol("PyInit__C"),),
    )


def test_imports_by_name_and_ordinal() -> None:
    facts = read(PE({"TORCH_CPU.dll": ["torch_library_impl", 12], "C10.DLL": ["f"]}).build())
    assert facts.needed == ("torch_cpu.dll", "c10.dll")
    assert facts.imports == (
        Symbol("torch_library_impl", library="torch_cpu.dll"),
        Symbol("#12", library="torch_cpu.dll"),
        Symbol("f", library="c10.dll"),
    )


def test_a_name_without_a_suffix_is_that_of_a_dll() -> None:
    assert read(PE({"TORCH_CPU": ["f"], "x.pyd": ["g"]}).build()).needed == (
        "torch_cpu.dll",
        "x.pyd",
    )


def test_assemblies_of_net() -> None:
    """One without machine code is no library of any machine."""
    mscoree: dict[str, list[str | int]] = {"mscoree.dll": ["_CorDllMain"]}
    assert read_libraries(BytesSource(PE(mscoree, clr_flags=0x9).build()), "x.dll") == ()
    assert read(PE(mscoree, clr_flags=0x10).build()).needed == ("mscoree.dll",)


def test_tables_that_overlap_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Descriptors and names can be shared, so that a small file would stand for a large one."""
    many: dict[str, list[str | int]] = {f"{number}.dll": ["f" * 50] * 9 for number in range(9)}
    monkeypatch.setattr(pe_module, "_MAX_SYMBOLS", 60)
    with pytest.raises(LibraryError, match="more than 60 symbols"):
        read(PE(many).build())
    monkeypatch.undo()
    monkeypatch.setattr(pe_module, "_MAX_NAME_BYTES", 1000)
    with pytest.raises(LibraryError, match="more bytes of names"):
        read(PE(many).build())


def test_delayed_libraries_are_needed_and_optional() -> None:
    facts = read(
        PE({"c10.dll": ["f"]}, delayed={"Torch_CUDA.dll": ["g"], "c10.dll": ["h"]}).build()
    )
    assert facts.needed == ("c10.dll", "torch_cuda.dll")
    assert facts.optional == ("torch_cuda.dll",)
    assert [symbol.name for symbol in facts.imports] == ["f", "g", "h"]


def test_a_forwarded_export_is_an_import_too() -> None:
    exports = {"own": None, "other": "Torch_CPU.there", "numbered": "c10.#7"}
    facts = read(PE(exports=exports, name="Libx.dll").build())
    assert facts.soname == "libx.dll"
    assert facts.exports == (Symbol("own"), Symbol("other"), Symbol("numbered"))
    assert facts.imports == (
        Symbol("there", library="torch_cpu.dll"),
        Symbol("#7", library="c10.dll"),
    )


@pytest.mark.parametrize(
    ("machine", "arch"),
    [(0x8664, "x86_64"), (0xAA64, "arm64"), (0x14C, "i686"), (0x1234, "machine 0x1234")],
)
def test_machines(machine: int, arch: str) -> None:
    assert read(PE(machine=machine).build()).arch == arch


def test_programs() -> None:
    assert read(PE(dll=False).build(), "x.exe").executable


@pytest.mark.parametrize(
    "data",
    [
        member_of("windows-stable", "windows_stable/_C.pyd"),
        member_of("windows-unstable-pinned", "windows_unstable_pinned/_C.dll"),
        PE({"A.dll": ["f", 3]}, {"B.dll": ["g"]}, {"e": None, "fw": "C.h"}).build(),
    ],
)
def test_it_reads_what_pefile_reads(data: bytes) -> None:
    parsed = pefile.PE(data=data)
    entries = [*parsed.DIRECTORY_ENTRY_IMPORT, *getattr(parsed, "DIRECTORY_ENTRY_DELAY_IMPORT", [])]
    wanted = [
        (entry.dll.decode().lower(), item.name.decode() if item.name else f"#{item.ordinal}")
        for entry in entries
        for item in entry.imports
    ]
    exported = parsed.DIRECTORY_ENTRY_EXPORT.symbols
    for item in exported:
        if item.forwarder:
            library, _, name = item.forwarder.decode().rpartition(".")
            wanted.append((f"{library.lower()}.dll", name))
    facts = read(data)
    assert [(symbol.library, symbol.name) for symbol in facts.imports] == wanted
    assert {symbol.name for symbol in facts.exports} == {item.name.decode() for item in exported}


WHOLE = PE({"a.dll": ["f"]}, exports={"e": None}).build()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"MZ" + bytes(62), "without a PE header"),
        (WHOLE[:200], "truncated"),
        (WHOLE[:1100], "truncated"),
        (WHOLE.replace(b"PE\0\0", b"NE\0\0"), "without a PE header"),
        (WHOLE[:88] + b"\0\0" + WHOLE[90:], "an optional header of kind 0x0"),
    ],
)
def test_contradictions(data: bytes, reason: str) -> None:
    with pytest.raises(LibraryError, match=reason):
        read(data)

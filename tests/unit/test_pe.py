from __future__ import annotations

import struct

import pefile
import pytest

from tests.builders import member_of
from tests.objects import PE
from torch_abi_audit.budget import Budget, Limits
from torch_abi_audit.errors import LibraryError, LimitError
from torch_abi_audit.formats import BytesSource, read_libraries
from torch_abi_audit.formats.pe import read_pe
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


def test_an_assembly_of_net_with_machine_code_is_refused() -> None:
    """Windows does not bind its imports, and others do."""
    for item in (
        PE({"torch_cpu.dll": ["f"]}, clr_flags=1),
        PE({"mscoree.dll": ["_CorDllMain"]}, exports={"PyInit__C": None}, clr_flags=1),
    ):
        with pytest.raises(LibraryError, match="contains machine code"):
            read(item.build())


def test_tables_that_overlap_are_counted() -> None:
    """Descriptors and names can be shared, so that a small file would stand for a large one."""
    many: dict[str, list[str | int]] = {f"{number}.dll": ["f" * 50] * 9 for number in range(9)}
    data = BytesSource(PE(many).build())
    with pytest.raises(LimitError, match="dynamic symbols"):
        read_pe(data, Budget(Limits(symbols=60)))
    with pytest.raises(LimitError, match="bytes of symbol names"):
        read_pe(data, Budget(Limits(names=1000)))


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


def test_what_is_forwarded_without_a_name_is_an_import_too() -> None:
    """Who imports it by its number ends there."""
    data = PE(exports={"own": None, "other": "Torch_CPU.there", "twice": "c10.#007"}).build()
    begin = struct.unpack_from("<I", data, DIRECTORY)[0] - 0x1000 + 0x400
    names = begin + 24
    unnamed = data[:names] + struct.pack("<I", 1) + data[names + 4 :]
    facts = read(unnamed)
    assert facts.exports == (Symbol("own"),)
    assert facts.imports == (
        Symbol("there", library="torch_cpu.dll"),
        Symbol("#7", library="c10.dll"),
    )


@pytest.mark.parametrize(
    "text", ["c10.", ".f", "f", "c10.#", "c10.#f", "c10.#1f", "torch.cpu.f", "c10 .f", "a/c10.f"]
)
def test_forwards_that_can_be_read_in_two_ways(text: str) -> None:
    with pytest.raises(LibraryError, match=r"invalid forwarder|Windows reads differently"):
        read(PE(exports={"e": text}).build())


@pytest.mark.parametrize(
    "name",
    [
        "torch_cpu.dll.",
        "torch_cpu.dll ",
        "torch_cpu.",
        "lib/c10.dll",
        "..\\c10.dll",
        "C:c10.dll",
        "\u212aernel32.dll",
        "c10.dll\t",
        "c10?.dll",
    ],
)
@pytest.mark.parametrize("delayed", [False, True])
def test_names_that_windows_reads_otherwise(name: str, delayed: bool) -> None:  # noqa: FBT001
    asked: dict[str, list[str | int]] = {name: ["f"]}
    with pytest.raises(LibraryError, match="Windows reads differently"):
        read((PE({}, asked) if delayed else PE(asked)).build())


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
SECTION_ALIGNMENT, FILE_ALIGNMENT, IMAGE, HEADERS, DIRECTORIES = 120, 124, 144, 148, 196
DIRECTORY, SECTION = 200, 328  # the first of each
ROOM, ADDRESS, RAW, OFFSET = SECTION + 8, SECTION + 12, SECTION + 16, SECTION + 20


def patched(place: int, *words: int, data: bytes = WHOLE) -> bytes:
    return data[:place] + struct.pack(f"<{len(words)}I", *words) + data[place + 4 * len(words) :]


def imports_at(data: bytes = WHOLE) -> int:
    """Where in the file the import directory is."""
    address: int = struct.unpack_from("<I", data, DIRECTORY + 8)[0]
    return address - 0x1000 + 0x400


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"MZ" + bytes(62), "no PE header"),
        (WHOLE[:200], "truncated"),
        (WHOLE[:1100], "truncated"),
        (WHOLE.replace(b"PE\0\0", b"NE\0\0"), "no PE header"),
        (WHOLE[:88] + b"\0\0" + WHOLE[90:], "an optional header of kind 0x0"),
        (WHOLE[:88] + b"\x0b\1" + WHOLE[90:], "an optional header of the wrong kind for x86_64"),
        (patched(SECTION_ALIGNMENT, 512), "alignment of 512 bytes"),
        (patched(FILE_ALIGNMENT, 16), "but 16 in the file"),
        (patched(OFFSET, 0x3F0), "byte 1008, where no sector begins"),
        (patched(RAW, 0x10000), "truncated"),
        (patched(HEADERS, 0x1001), "sections that overlap"),
        (patched(ADDRESS, 0), "sections that overlap"),
        (patched(IMAGE, 0x1000), "beyond the end of the image"),
        # The loader goes by the number of directories, and not by the size of the header.
        (WHOLE[:84] + b"\x70\0" + WHOLE[86:], "16 data directories in an optional header of 112"),
        (patched(DIRECTORIES, 1), "directories beyond the 1 declared"),
        (patched(DIRECTORY + 8 * 11, 0x300, 32), "bound to specific builds"),
        (patched(imports_at() + 4, 0xFFFFFFFF), "bound to specific builds"),
        (patched(imports_at() + 12, 0), "truncated descriptor"),
        (patched(imports_at(), 0x100), "no section has the address 0x100"),
        (patched(DIRECTORY + 4, 0), "an empty export directory"),
        # Of a name's address all bits count.
        (
            WHOLE.replace(struct.pack("<2Q", 0x1200, 0), struct.pack("<2Q", 0x80001200, 0)),
            "section",
        ),
        (WHOLE.replace(struct.pack("<2Q", 0x1200, 0), struct.pack("<2Q", 0x100001200, 0)), "secti"),
    ],
)
def test_contradictions(data: bytes, reason: str) -> None:
    assert data != WHOLE
    with pytest.raises(LibraryError, match=reason):
        read(data)


def test_old_delayed_imports_are_at_absolute_addresses() -> None:
    data = PE(delayed={"a.dll": ["f"]}).build()
    place = struct.unpack_from("<I", data, DIRECTORY + 8 * 13)[0] - 0x1000 + 0x400
    with pytest.raises(LibraryError, match="at an absolute address"):
        read(patched(place, 0, data=data))


def test_sections_end_in_memory_and_not_in_the_file() -> None:
    """What the file has beyond the pages of a section is not there; what it lacks is zero."""
    data = WHOLE + bytes(0x3000)
    grown = patched(RAW, len(data) - 0x400, data=data)
    assert read(grown).needed == ("a.dll",)
    begin = imports_at()
    moved = grown[: 0x400 + 0x1100] + WHOLE[begin : begin + 40] + bytes(0x1000)
    moved = patched(DIRECTORY + 8, 0x2100, data=patched(RAW, len(moved) - 0x400, data=moved))
    with pytest.raises(LibraryError, match="no section has the address 0x2100"):
        read(moved)
    # The zeros that end a directory can lie in what the file lacks.
    last = len(PE({"a.dll": ["f"]}).build()) - 20
    cut = PE({"a.dll": ["f"]}).build()[:last]
    assert read(patched(RAW, last - 0x400, data=cut)).needed == ("a.dll",)


def test_tables_can_lead_back() -> None:
    """What lies before the first of them is not read, unless one of them names it."""
    read_from: list[int] = []

    class Source(BytesSource):
        def read_at(self, offset: int, size: int) -> bytes:
            read_from.append(offset)
            return super().read_at(offset, size)

    data = PE({"a.dll": ["f"]}).build()
    (facts,) = read_libraries(Source(data), "x.dll")
    assert facts.imports == (Symbol("f", library="a.dll"),)
    assert read_from[-2:] == [imports_at(data), 0x400]

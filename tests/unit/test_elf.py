from __future__ import annotations

import io
import struct
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.enums import ENUM_D_TAG, ENUM_E_MACHINE

from tests.builders import a_library, member_of
from torch_abi_audit.errors import LibraryError
from torch_abi_audit.formats import BytesSource, read_libraries, sniff
from torch_abi_audit.formats import elf as elf_module
from torch_abi_audit.formats.elf_image import Tag
from torch_abi_audit.model import Format, Library, Symbol


def read(data: bytes, name: str = "x.so") -> Library | None:
    found = read_libraries(BytesSource(data), name)
    return found[0] if found else None


def test_facts() -> None:
    facts = read(a_library())
    assert facts == Library(
        format=Format.ELF,
        arch="x86_64",
        soname="libplugin.so.1",
        needed=("libtorch.so", "libtorch_cpu.so", "libc10.so"),
        imports=(Symbol("torch_library_impl"),),
        exports=(Symbol("register_ops"),),
    )


def test_without_section_headers_the_facts_are_the_same() -> None:
    stripped = read(member_of("odd-members", "odd_members/plugin"))
    whole = read(a_library())
    assert stripped is not None
    assert whole is not None
    assert (stripped.imports, stripped.needed) == (whole.imports, whole.needed)


def test_wrong_section_headers_do_not_matter() -> None:
    data = bytearray(a_library())
    struct.pack_into("<Q", data, 40, len(data) * 2)  # e_shoff
    assert read(bytes(data)) == read(a_library())


def test_weak_imports() -> None:
    facts = read(member_of("weak-imports", "weak_imports/_C.so"))
    assert facts is not None
    assert {symbol.name: symbol.weak for symbol in facts.imports} == {
        "torch_exception_get_what": True,
        "torch_library_impl": False,
    }


def test_another_machine() -> None:
    facts = read(member_of("wrong-architecture", "wrong_architecture/_C.so"))
    assert facts is not None
    assert facts.arch == "aarch64"


def test_symbols_are_found_without_a_hash_table() -> None:
    """Then the relocations say which symbols the loader looks up."""
    assert read(without_tags(a_library(), 4, 0x6FFFFEF5)) is not None
    facts = read(without_tags(a_library(), 4, 0x6FFFFEF5))  # DT_HASH, DT_GNU_HASH
    assert facts is not None
    assert facts.imports == (Symbol("torch_library_impl"),)


def test_symbols_are_found_with_the_sysv_hash_table_alone() -> None:
    assert read(without_tags(a_library(), 0x6FFFFEF5)) == read(a_library())


def test_symbols_are_found_with_the_gnu_hash_table_alone() -> None:
    assert read(without_tags(a_library(), 4)) == read(a_library())


@pytest.mark.parametrize("machine", [190, 224, 247])  # CUDA, AMDGPU, BPF
def test_device_code_is_data(machine: int) -> None:
    data = bytearray(a_library())
    struct.pack_into("<H", data, 18, machine)
    assert read(bytes(data)) is None


def test_an_object_file_is_no_library() -> None:
    data = bytearray(a_library())
    struct.pack_into("<H", data, 16, 1)  # ET_REL
    assert read(bytes(data), "x.o") is None


@pytest.mark.parametrize(("field", "value"), [(16, 1), (18, 43)])  # ET_REL, EM_SPARCV9
def test_what_is_named_like_a_library_must_be_one(field: int, value: int) -> None:
    data = bytearray(a_library())
    struct.pack_into("<H", data, field, value)
    with pytest.raises(LibraryError, match="that no loader loads"):
        read(bytes(data))


def test_a_hash_table_that_hides_the_imports() -> None:
    """The loader looks up what is relocated, whatever the hash table counts."""
    data = bytearray(a_library())
    hashed = dynamic_value(data, 4)
    assert hashed is not None
    struct.pack_into("<I", data, hashed + 4, 1)  # nchain
    facts = read(bytes(data))
    assert facts is not None
    assert facts.imports == (Symbol("torch_library_impl"),)


def test_a_pointer_of_git_lfs_is_no_library() -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    with pytest.raises(LibraryError, match="Git LFS pointer"):
        read(pointer)


def test_a_library_needs_a_dynamic_segment() -> None:
    data = bytearray(a_library())
    for offset in program_headers(data, 2):
        struct.pack_into("<I", data, offset, 0)
    with pytest.raises(LibraryError, match="without a dynamic segment"):
        read(bytes(data))


def test_a_dynamic_section_must_end() -> None:
    data = bytearray(a_library())
    (offset,) = program_headers(data, 2)
    struct.pack_into("<Q", data, offset + 32, 16)  # p_filesz: one entry
    with pytest.raises(LibraryError, match="unterminated"):
        read(bytes(data))


@pytest.mark.parametrize("size", [4, 16, 63, 64, 200, 500, 700])
def test_truncated(size: int) -> None:
    with pytest.raises(LibraryError):
        read(a_library()[:size])


@pytest.mark.parametrize(
    ("head", "format_"),
    [
        (b"\x7fELF" + bytes(60), Format.ELF),
        (bytes.fromhex("cffaedfe") + bytes(60), Format.MACHO),
        (bytes.fromhex("cafebabe00000002"), Format.MACHO),
        (bytes.fromhex("cafebabe00000034"), None),  # a Java class, version 52
        (bytes.fromhex("cafebabe0000003401000a"), None),  # with 255 constants
        (bytes.fromhex("cafebabe0000003401000007"), Format.MACHO),  # 52 slices, x86_64 first
        (bytes.fromhex("cafebabf000000340100000c"), Format.MACHO),
        (b"MZ" + bytes(62), Format.PE),
        (b"MZ is not only a magic number. This is prose that goes on for long enough.", None),
        (b"", None),
        (b"\x7fEL", None),
    ],
)
def test_sniff(head: bytes, format_: Format | None) -> None:
    assert sniff(head) is format_


@pytest.mark.parametrize("name", ["x.so", "x.so.1.2", "x.abi3.so", "x.pyd", "x.dll", "x.DYLIB"])
@pytest.mark.parametrize("data", [b"", b"\x00\x01\x02" * 1000, b"\xff\xfe" * 4000])
def test_a_library_by_name_that_is_none(name: str, data: bytes) -> None:
    with pytest.raises(LibraryError, match="neither an object file nor text"):
        read(data, name)


@pytest.mark.parametrize(
    "data",
    [
        b"INPUT(libx.so.1)\n",
        b"/* GNU ld script */\nGROUP ( " + "é".encode() * 3000,
        b"/* GNU ld script */\nGROUP (" + "é".encode() * 3000,
    ],
)
def test_linker_scripts_are_no_libraries(data: bytes) -> None:
    assert read(data, "libx.so") is None


@pytest.mark.parametrize("data", [b"libx.so.1", b"import os\n", b"print('INPUTS')"])
def test_other_text_is_no_library_either(data: bytes) -> None:
    with pytest.raises(LibraryError, match="text that is not a linker script"):
        read(data, "libx.so")


def test_other_files_are_no_libraries() -> None:
    assert read(b"\x00\x01\x02", "x.dat") is None


def program_headers(data: bytes | bytearray, kind: int) -> list[int]:
    """Return the offsets of the program headers of a type."""
    start, size, count = (
        struct.unpack_from("<Q", data, 32)[0],
        *struct.unpack_from("<HH", data, 54),
    )
    offsets = [start + size * number for number in range(count)]
    return [offset for offset in offsets if struct.unpack_from("<I", data, offset)[0] == kind]


def dynamic_value(data: bytes | bytearray, wanted: int) -> int | None:
    """Return a dynamic tag's value; in these libraries the first segment maps 1 to 1."""
    (header,) = program_headers(data, 2)
    offset, size = (struct.unpack_from("<Q", data, header + field)[0] for field in (8, 32))
    for position in range(offset, offset + size, 16):
        tag, value = struct.unpack_from("<QQ", data, position)
        if tag == wanted:
            return int(value)
    return None


def without_tags(data: bytes, *tags: int) -> bytes:
    """Turn dynamic tags into one that means nothing to a reader (DT_DEBUG)."""
    changed = bytearray(data)
    (header,) = program_headers(data, 2)
    offset, size = (struct.unpack_from("<Q", data, header + field)[0] for field in (8, 32))
    for position in range(offset, offset + size, 16):
        if struct.unpack_from("<Q", data, position)[0] in tags:
            struct.pack_into("<Q", changed, position, 21)
    return bytes(changed)


@pytest.mark.parametrize(
    ("scenario", "path"),
    [
        ("odd-members", "odd_members.libs/libplugin.so.1"),
        ("wrong-architecture", "wrong_architecture/_C.so"),
        ("weak-imports", "weak_imports/_C.so"),
        ("manylinux-too-low", "manylinux_too_low/_C.so"),
        ("unstable", "unstable/_C.so"),
    ],
)
def test_it_reads_what_pyelftools_reads(scenario: str, path: str) -> None:
    data = member_of(scenario, path)
    facts = read(data)
    assert facts is not None
    elf: Any = ELFFile(io.BytesIO(data))
    dynamic = next(item for item in elf.iter_segments() if item["p_type"] == "PT_DYNAMIC")
    tags = list(dynamic.iter_tags())
    assert facts.needed == tuple(tag.needed for tag in tags if tag["d_tag"] == "DT_NEEDED")
    assert facts.soname == next(tag.soname for tag in tags if tag["d_tag"] == "DT_SONAME")
    symbols = [item for item in elf.get_section_by_name(".dynsym").iter_symbols() if item.name]
    undefined = [item for item in symbols if item["st_shndx"] == "SHN_UNDEF"]
    assert [(item.name, item.weak) for item in facts.imports] == [
        (item.name, item["st_info"]["bind"] == "STB_WEAK") for item in undefined
    ]
    assert [item.name for item in facts.exports] == [
        item.name for item in symbols if item not in undefined
    ]
    needs = elf.get_section_by_name(".gnu.version_r")
    found = [] if needs is None else list(needs.iter_versions())
    assert facts.version_needs == tuple(
        (need.name, tuple(version.name for version in versions)) for need, versions in found
    )


def test_the_constants_are_those_of_pyelftools() -> None:
    for tag in Tag:
        assert ENUM_D_TAG[tag.name] == tag.value
    names = {value: name for name, value in ENUM_E_MACHINE.items() if isinstance(value, int)}
    assert {names[number] for number, _, _ in elf_module._MACHINES} == {  # noqa: SLF001
        "EM_X86_64", "EM_386", "EM_AARCH64", "EM_ARM", "EM_PPC64", "EM_PPC", "EM_S390",
        "EM_RISCV", "EM_LOONGARCH", "EM_MIPS",
    }  # fmt: skip


def test_a_library_for_a_machine_without_a_tag_is_named() -> None:
    data = bytearray(a_library())
    data[18:20] = struct.pack("<H", 43)
    with pytest.raises(LibraryError, match="an ELF file for EM_SPARCV9 that no loader loads"):
        read(bytes(data))

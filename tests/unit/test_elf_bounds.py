"""What reading an ELF file may cost, whatever its tables say."""

from __future__ import annotations

import struct
import tracemalloc

import pytest

from tests.oracle.shared import (
    GNU_HASH,
    R_COPY,
    R_GLOB_DAT,
    R_RELATIVE,
    STRSZ,
    VERNEEDNUM,
    Rela,
    Shared,
    Sym,
    defined,
)
from torch_abi_audit.budget import Budget, Limits
from torch_abi_audit.errors import LibraryError, LimitError
from torch_abi_audit.formats import BytesSource, read_libraries
from torch_abi_audit.formats.elf_hash import gnu_hash, sysv_hash
from torch_abi_audit.model import Library

MB = 1 << 20


def read(data: bytes | bytearray, budget: Budget | None = None) -> Library:
    (library,) = read_libraries(BytesSource(bytes(data)), "x.so", budget)
    return library


def suffixes(count: int, length: int) -> bytes:
    """A library of symbols whose names are all suffixes of one string."""
    name = "x" * length
    symbols = [Sym("", name_offset=1 + number) for number in range(count)]
    return bytes(Shared(symbols, [Rela(R_GLOB_DAT, count)], strings=f"\0{name}\0".encode())
                 .build().data)  # fmt: skip


def test_names_that_overlap_count_each_time() -> None:
    data = suffixes(1990, 65_000)
    tracemalloc.start()
    with pytest.raises(LimitError, match="67,108,864 bytes of symbol names"):
        read(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 80 * MB


def test_libraries_of_a_target_share_a_budget() -> None:
    budget = Budget(Limits(names=MB))
    data = suffixes(10, 60_000)
    read(data, budget)
    with pytest.raises(LimitError, match="1,048,576 bytes of symbol names"):
        read(data, budget)


def test_symbols_count() -> None:
    budget = Budget(Limits(symbols=20))
    data = suffixes(10, 20)
    read(data, budget)
    with pytest.raises(LimitError, match="more than 20 dynamic symbols"):
        read(data, budget)


@pytest.mark.parametrize("left", [1, 2, 3])
def test_a_hash_chain_that_ends_with_its_segment(left: int) -> None:
    """A part of a word is left, and no chain has ended."""
    file = Shared([Sym("f"), defined("own")], [Rela(R_GLOB_DAT, 1)], writable=True).build()
    chains = file.places["chain2.hash"].offset
    file.put(chain2__hash=0)
    moved = len(file.data)
    file.data += bytes(file.data[file.get(f"tag{GNU_HASH:x}") : chains])
    file.data += bytes(4 + left)
    size = len(file.data) - file.get("phdr1.offset")
    file.put(phdr1__filesz=size, phdr1__memsz=size, **{f"tag{GNU_HASH:x}": moved})
    with pytest.raises(LibraryError, match="an unterminated hash chain"):
        read(file.data)


def test_versions_that_lead_to_each_other() -> None:
    """Records of 16 bytes a byte apart, each with a name of 64 kB."""
    file = Shared([Sym("f", version=2)], [Rela(R_GLOB_DAT, 1)], needs={"a": [("b", 2)]}).build()
    file.put(verneed0__next=1, **{f"tag{VERNEEDNUM:x}": 1 << 30})
    with pytest.raises(LibraryError):
        read(file.data)


def test_an_old_hash_table_that_goes_in_circles() -> None:
    symbols = [Sym("f"), defined("a"), defined("b")]
    file = Shared(symbols, [Rela(R_GLOB_DAT, 1)], gnu=False, sysv=True).build()
    with pytest.raises(LibraryError, match="chains that meet"):
        read(file.put(next3__index=2).data)


def test_a_string_table_that_is_too_large() -> None:
    file = Shared([Sym("f")], [Rela(R_GLOB_DAT, 1)]).build()
    with pytest.raises(LibraryError, match="a string table of"):
        read(file.put(**{f"tag{STRSZ:x}": 1 << 40}).data)


def test_many_relocations_are_read_in_parts() -> None:
    relocations = [Rela(R_RELATIVE, 0, 0x40, place=0)] * 100_000
    file = Shared([Sym("f")], [*relocations, Rela(R_GLOB_DAT, 1)]).build()
    slot = file.get("rela100000.offset")
    for number in range(100_000):
        struct.pack_into("<Q", file.data, file.places[f"rela{number}.offset"].offset, slot)
    data = bytes(file.data)
    del file
    tracemalloc.start()
    library = read(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [symbol.name for symbol in library.imports] == ["f"]
    assert peak < 24 * MB


def test_relocations_that_are_looked_at_one_by_one_are_counted() -> None:
    copies = Shared([Sym("f")], [Rela(R_COPY, 1) for _ in range(50)]).build().data
    bitmaps = Shared([Sym("f")], relr=[0x1000, 1] * 25).build().data
    for data in (copies, bitmaps):
        read(data)
        with pytest.raises(LimitError, match="more than 40 steps"):
            read(data, Budget(Limits(steps=40)))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"", 5381),
        (b"printf", 0x156B2BB8),
        (b"exit", 0x7C967E3F),
        (b"syscall", 0xBAC212A0),
        (b"flapenguin.me", 0x8AE9F18E),
    ],
)
def test_gnu_hash(name: bytes, expected: int) -> None:
    assert gnu_hash(name) == expected


@pytest.mark.parametrize("size", [1, 2, 191, 192, 193, 384, 5000])
def test_gnu_hash_of_long_names(size: int) -> None:
    name = bytes(1 + number * 7 % 255 for number in range(size))
    value = 5381
    for byte in name:
        value = (value * 33 + byte) & 0xFFFFFFFF
    assert gnu_hash(name) == value


@pytest.mark.parametrize(
    ("name", "expected"),
    [(b"", 0), (b"printf", 0x077905A6), (b"exit", 0x0006CF04), (b"syscall", 0x0B09985C)],
)
def test_sysv_hash(name: bytes, expected: int) -> None:
    assert sysv_hash(name) == expected

"""The image that the dynamic loader makes of an ELF file, and the dynamic section in it.

The loader maps the loadable segments in whole pages, the later ones over the earlier ones,
and finds everything else by its address there. So does this module. A file that means
different things to different readers (segments that overlap, two dynamic sections) is
rejected: no linker makes such a file.

References: System V gABI chapters 4 and 5; glibc's `elf/dl-load.c`, `elf/dl-map-segments.h`
and `elf/get-dynamic-info.h`.
"""

from __future__ import annotations

import struct
import sys
from array import array
from enum import IntEnum
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit.errors import LibraryError

if TYPE_CHECKING:
    from torch_abi_audit.budget import Budget
    from torch_abi_audit.formats.source import ByteSource

EM_386, EM_MIPS, EM_S390, EM_X86_64 = 3, 8, 22, 62
ET_EXEC, ET_DYN = 2, 3
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
# The page sizes that kernels are built with. x86 has only one.
_PAGE = 1 << 12
_PAGES = (1 << 12, 1 << 14, 1 << 16)
# Values of EI_OSABI that glibc accepts: System V, GNU, and Arm's.
_SYSTEMS = frozenset({0, 3, 64, 97})

# Bounds against hostile files. libtorch_cpu, one of the largest libraries there are,
# has 14 MB of names, the longest of about 20,000 bytes.
_MAX_PROGRAM_HEADERS = 4096
_MAX_DYNAMIC_BYTES = 1 << 20
_MAX_STRING_TABLE_BYTES = 128 << 20
MAX_NAME = 1 << 16


class Tag(IntEnum):
    """The tags of the dynamic section that are read."""

    DT_NULL = 0
    DT_NEEDED = 1
    DT_PLTRELSZ = 2
    DT_HASH = 4
    DT_STRTAB = 5
    DT_SYMTAB = 6
    DT_RELA = 7
    DT_RELASZ = 8
    DT_RELAENT = 9
    DT_STRSZ = 10
    DT_SYMENT = 11
    DT_SONAME = 14
    DT_RPATH = 15
    DT_REL = 17
    DT_RELSZ = 18
    DT_RELENT = 19
    DT_PLTREL = 20
    DT_JMPREL = 23
    DT_RUNPATH = 29
    DT_RELRSZ = 35
    DT_RELR = 36
    DT_GNU_HASH = 0x6FFFFEF5
    DT_VERSYM = 0x6FFFFFF0
    DT_RELACOUNT = 0x6FFFFFF9
    DT_RELCOUNT = 0x6FFFFFFA
    DT_FLAGS_1 = 0x6FFFFFFB
    DT_VERDEF = 0x6FFFFFFC
    DT_VERDEFNUM = 0x6FFFFFFD
    DT_VERNEED = 0x6FFFFFFE
    DT_VERNEEDNUM = 0x6FFFFFFF
    DT_MIPS_SYMTABNO = 0x70000011
    DT_AUXILIARY = 0x7FFFFFFD
    DT_FILTER = 0x7FFFFFFF


class Range(NamedTuple):
    """Addresses of the image, from the first to the one after the last."""

    start: int
    end: int


class Segment(NamedTuple):
    """A part of the file, and where it is mapped."""

    offset: int
    address: int
    size: int  # bytes in the file
    memory: int  # bytes in memory; those beyond the file's are zero

    @property
    def distance(self) -> int:
        """How far its address is from its offset in the file."""
        return self.address - self.offset

    def first_page(self, page: int) -> int:
        """Return where the first page it is mapped to begins."""
        return self.address // page * page

    def end_page(self, page: int) -> int:
        """Return where the last page it is mapped to ends."""
        return -(-(self.address + self.memory) // page) * page


class Headers(NamedTuple):
    """The ELF header and the program headers, and how to read what they point to."""

    source: ByteSource
    ident: bytes
    order: str  # of `struct`: "<" or ">"
    is64: bool
    type: int
    machine: int
    version: int
    loads: tuple[Segment, ...]
    dynamics: tuple[Segment, ...]
    interpreted: bool


class Image:
    """The segments of a library as the loader maps them."""

    def __init__(self, headers: Headers) -> None:
        """Map the segments.

        Raises:
            LibraryError: The loader rejects the file, or its segments conflict.
        """
        self.headers = headers
        self.order = headers.order
        self.is64 = headers.is64
        self.machine = headers.machine
        self.word = "Q" if headers.is64 else "I"
        self.word_size = 8 if headers.is64 else 4
        _check_headers(headers)
        _check_segments(headers)
        self._loads = headers.loads

    @property
    def start(self) -> int:
        """The address of the first page."""
        return self._loads[0].first_page(_PAGE)

    @property
    def end(self) -> int:
        """Where the last page ends."""
        return self._loads[-1].end_page(_PAGE)

    def _segment_of(self, address: int) -> Segment:
        for segment in self._loads:
            if segment.address <= address < segment.address + segment.size:
                return segment
        raise LibraryError(f"no loadable segment has the address {address:#x} in the file")

    def read(self, address: int, size: int) -> bytes:
        """Return exactly `size` bytes of one segment."""
        if not size:
            return b""
        segment = self.require(address, size)
        return self.headers.source.read_at(segment.offset + address - segment.address, size)

    def require(self, address: int, size: int) -> Segment:
        """Return the segment that contains a range, before the cost of its bytes is counted.

        Raises:
            LibraryError: No segment contains all of it.
        """
        segment = self._segment_of(address)
        if address - segment.address + size > segment.size:
            raise LibraryError(f"{size} bytes at {address:#x} go beyond their segment")
        return segment

    def read_up_to(self, address: int, limit: int) -> bytes:
        """Read from an address to the end of its segment, `limit` bytes at most."""
        segment = self._segment_of(address)
        start = address - segment.address
        return self.headers.source.read_at(segment.offset + start, min(limit, segment.size - start))

    def numbers(self, data: bytes, kind: str) -> array[int]:
        """Return bytes as numbers in the file's byte order; `kind` is a type code of `array`."""
        values = array(kind, data)
        if (self.order == "<") != (sys.byteorder == "little"):
            values.byteswap()
        return values

    def words(self, address: int, count: int) -> array[int]:
        """Return 32-bit words."""
        return self.numbers(self.read(address, 4 * count), "I")


def read_headers(source: ByteSource) -> Headers:
    """Read the ELF header and the program headers; `Image` checks what they say."""
    head = source.read_at(0, min(64, source.size))
    kind, encoding = head[4:5], head[5:6]
    if kind not in (b"\1", b"\2") or encoding not in (b"\1", b"\2"):
        raise LibraryError("an ELF file of an unknown class or byte order")
    is64, order = kind == b"\2", "<" if encoding == b"\1" else ">"
    word = "Q" if is64 else "I"
    # Elf_Ehdr: type, machine, version, entry, phoff, shoff, flags, ehsize, phentsize, phnum
    layout = f"{order}2HI3{word}I3H"
    type_, machine, version, _, table_offset, _, _, _, size, count = struct.unpack_from(
        layout, head, 16
    )
    # Elf64_Phdr: type, flags, offset, vaddr, paddr, filesz, memsz, …; Elf32_Phdr: type, offset, …
    header = struct.Struct(f"{order}2I6Q" if is64 else f"{order}8I")
    if count > _MAX_PROGRAM_HEADERS:
        raise LibraryError(f"{count} program headers")
    if count and size != header.size:
        raise LibraryError(f"program headers of {size} bytes instead of {header.size}")
    loads: list[Segment] = []
    dynamics: list[Segment] = []
    interpreted = False
    for fields in header.iter_unpack(source.read_at(table_offset, count * header.size)):
        offset, address, _, filled, memory = fields[2:7] if is64 else fields[1:6]
        segment = Segment(offset, address, filled, memory)
        if fields[0] == _PT_LOAD:
            loads.append(segment)
        elif fields[0] == _PT_DYNAMIC:
            dynamics.append(segment)
        elif fields[0] == _PT_INTERP:
            interpreted = True
    return Headers(
        source=source,
        ident=head[:16],
        order=order,
        is64=is64,
        type=type_,
        machine=machine,
        version=version,
        loads=tuple(loads),
        dynamics=tuple(dynamics),
        interpreted=interpreted,
    )


def _check_headers(headers: Headers) -> None:
    """Reject what glibc's `open_verify` rejects."""
    version, system = headers.ident[6:8]
    if version != 1 or headers.version != 1:
        raise LibraryError("an ELF file of an unknown version")
    if system not in _SYSTEMS:
        raise LibraryError(f"an ELF file for another system (EI_OSABI {system})")
    if any(headers.ident[9:]):
        raise LibraryError("an ELF header whose padding is not zero")


def _check_segments(headers: Headers) -> None:
    """Reject segments if one could hide the contents of another."""
    loads = headers.loads
    if not loads:
        raise LibraryError("no loadable segment")
    limit = (1 << (64 if headers.is64 else 32)) - _PAGES[-1]
    for segment in loads:
        if segment.size > segment.memory or segment.address + segment.memory > limit:
            raise LibraryError("a loadable segment outside of the address space")
        if segment.distance % _PAGE:
            raise LibraryError("a loadable segment whose address does not match its offset")
    for page in _PAGES[:1] if headers.machine in (EM_386, EM_X86_64) else _PAGES:
        # A kernel whose pages are too large for the file does not load it.
        if not any(segment.distance % page for segment in loads):
            _check_pages(loads, page)


def _check_pages(loads: tuple[Segment, ...], page: int) -> None:
    for one, other in pairwise(loads):
        if other.address < one.address + one.memory:
            raise LibraryError("loadable segments that overlap, or are out of order")
        # The later one is mapped over the page that they share.
        shared = other.first_page(page) < one.end_page(page)
        if shared and one.distance != other.distance:
            raise LibraryError("loadable segments that share a page in memory but not in the file")


class Dynamic:
    """The dynamic section: the values of each tag, in order."""

    def __init__(self, address: int, size: int, values: dict[int, list[int]]) -> None:
        self.address = address
        self.size = size
        self._values = values

    def all(self, tag: Tag) -> list[int]:
        """Return the values of a tag that may occur several times."""
        return self._values.get(tag, [])

    def get(self, tag: Tag) -> int | None:
        """Return the tag's value; if a tag occurs twice, the loader takes the last."""
        found = self.all(tag)
        return found[-1] if found else None


def read_dynamic(image: Image) -> Dynamic:
    """Read the dynamic section at its address, as the loader does."""
    dynamics = image.headers.dynamics
    if not dynamics:
        raise LibraryError("a shared library without a dynamic segment")
    if len(dynamics) > 1:
        raise LibraryError(f"{len(dynamics)} dynamic segments")
    entry = 2 * image.word_size
    (segment,) = dynamics
    size = min(segment.size, segment.memory, _MAX_DYNAMIC_BYTES) // entry * entry
    if not size:
        raise LibraryError("an empty dynamic section")
    values: dict[int, list[int]] = {}
    data = image.read(segment.address, size)
    for tag, value in struct.iter_unpack(f"{image.order}2{image.word}", data):
        if tag == Tag.DT_NULL:
            return Dynamic(segment.address, size, values)
        values.setdefault(tag, []).append(value)
    raise LibraryError("an unterminated dynamic section")


class Strings:
    """The string table, and the budget for names read from it."""

    def __init__(self, image: Image, dynamic: Dynamic, budget: Budget) -> None:
        address, size = dynamic.get(Tag.DT_STRTAB), dynamic.get(Tag.DT_STRSZ)
        if address is None or size is None:
            raise LibraryError("a dynamic section without a string table")
        if size > _MAX_STRING_TABLE_BYTES:
            raise LibraryError(f"a string table of {size} bytes")
        self.address = address
        self.data = image.read(address, size)
        self.budget = budget

    def end_of(self, offset: int, limit: int = MAX_NAME) -> int:
        """Return where the name at an offset ends."""
        end = self.data.find(b"\0", offset, offset + limit)
        if end < 0 or offset >= len(self.data):
            raise LibraryError(f"an unterminated name at {offset} in the string table")
        return end

    def text(self, offset: int, limit: int = MAX_NAME) -> str:
        """Return the name at an offset."""
        end = self.end_of(offset, limit)
        self.budget.spend(names=end - offset)
        return decode(self.data[offset:end])


def decode(name: bytes) -> str:
    """Return a name as text, whatever its bytes."""
    return name.decode("utf-8", "backslashreplace")

"""The smallest ELF shared libraries for x86_64, written so that each field can lie.

In an honest one every byte has the same place in the file as in memory. It has two loadable
segments: headers and tables, and what the loader writes to.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from torch_abi_audit.formats.elf_hash import gnu_hash, sysv_hash

PAGE = 0x1000
LOAD, DYNAMIC = 1, 2
NULL, NEEDED, PLTRELSZ, HASH, STRTAB, SYMTAB, RELA, RELASZ, RELAENT, STRSZ, SYMENT = (
    0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11,
)  # fmt: skip
SONAME, PLTREL, JMPREL, RELRSZ, RELR, RELRENT = 14, 20, 23, 35, 36, 37
GNU_HASH, VERSYM, RELACOUNT = 0x6FFFFEF5, 0x6FFFFFF0, 0x6FFFFFF9
VERDEF, VERDEFNUM, VERNEED, VERNEEDNUM = 0x6FFFFFFC, 0x6FFFFFFD, 0x6FFFFFFE, 0x6FFFFFFF
AUXILIARY, FILTER = 0x7FFFFFFD, 0x7FFFFFFF
LOCAL, GLOBAL, WEAK, UNIQUE = 0x00, 0x10, 0x20, 0xA0
NOTYPE, OBJECT, FUNC, SECTION, TLS = 0, 1, 2, 3, 6
R_64, R_COPY, R_GLOB_DAT, R_JUMP_SLOT, R_RELATIVE, R_SIZE64 = 1, 5, 6, 7, 8, 33
TEXT, ABS = 1, 0xFFF1  # sections


@dataclass
class Sym:
    """A symbol; undefined unless it has a section. Defined ones are found by the hash table."""

    name: str
    info: int = GLOBAL | FUNC
    other: int = 0
    section: int = 0
    value: int = 0
    size: int = 0
    version: int = 0
    name_offset: int | None = None


def defined(name: str, info: int = GLOBAL | FUNC, **fields: int) -> Sym:
    """A symbol that is defined at some address."""
    return Sym(name, info, **{"section": TEXT, "value": 0x40, "version": 1, **fields})


@dataclass
class Rela:
    """A relocation; without a place it writes to a slot of its own."""

    kind: int
    symbol: int = 0  # index in the table
    addend: int = 0
    place: int | None = None


@dataclass
class Place:
    """A field of a file: where it is, its width, and what it holds."""

    name: str
    offset: int
    layout: str

    def get(self, data: bytes | bytearray) -> int:
        return int(struct.unpack_from(f"<{self.layout}", data, self.offset)[0])

    def set(self, data: bytearray, value: int) -> None:
        bits = 8 * struct.calcsize(self.layout)
        struct.pack_into(f"<{self.layout}", data, self.offset, value & (1 << bits) - 1)


@dataclass
class File:
    """A library, and where its fields are."""

    data: bytearray
    places: dict[str, Place] = field(default_factory=dict)

    def put(self, **values: int) -> File:
        """Change fields by name, with `__` for the dot in it."""
        for name, value in values.items():
            self.places[name.replace("__", ".")].set(self.data, value)
        return self

    def get(self, name: str) -> int:
        return self.places[name].get(self.data)


_Tags = list[tuple[int, int | str]]


@dataclass
class Shared:
    """A shared library. Symbol 0 is the reserved one; defined symbols must come last."""

    symbols: list[Sym] = field(default_factory=list)
    relocations: list[Rela] = field(default_factory=list)
    plt: list[Rela] = field(default_factory=list)
    relr: list[int] = field(default_factory=list)
    needed: tuple[str, ...] = ("libtorch_cpu.so",)
    soname: str | None = None
    needs: dict[str, list[tuple[str, int]]] = field(default_factory=dict)  # file: (version, index)
    defines: list[tuple[str, int]] = field(default_factory=list)  # version, index
    gnu: bool = True
    sysv: bool = False
    tags: _Tags = field(default_factory=list)  # before all others
    strings: bytes = b"\0"
    writable: bool = False  # the tables lie in the writable segment
    loads: int = 2  # more of them are empty, for tests to fill
    dynamics: int = 1

    def build(self) -> File:
        """Write the library."""
        return _Writer(self).write()


class _Writer:
    """Writes one library, from its beginning to its end."""

    def __init__(self, library: Shared) -> None:
        self._library = library
        self._file = File(bytearray(64 + 56 * (library.loads + library.dynamics)))
        self._strings = bytearray(library.strings)
        self._symbols = [Sym("", 0, name_offset=0), *library.symbols]
        self._tags: list[tuple[int, int]] = []

    def write(self) -> File:
        library, file = self._library, self._file
        self._tag(library.tags)
        self._tag([(NEEDED, name) for name in library.needed])
        self._tag([] if library.soname is None else [(SONAME, library.soname)])
        if library.writable:
            second = self._align(PAGE)
        self._hashes()
        self._symbol_table()
        self._versions()
        self._relocations()
        self._string_table()
        if not library.writable:
            second = self._align(PAGE)
        slots = self._align(8)
        relocations = [*library.relocations, *library.plt]
        file.data += bytes(8 * (len(relocations) + 1))
        for number, item in enumerate(relocations):
            place = slots + 8 * number if item.place is None else item.place
            file.places[f"rela{number}.offset"].set(file.data, place)
        dynamic = len(file.data)
        for number, (tag, value) in enumerate([*self._tags, (NULL, 0)]):
            self._pack(f"dynamic{number}", "QQ", "tag value", tag, value)
            file.places[f"tag{tag:x}"] = file.places[f"dynamic{number}.value"]
        size = len(file.data) - dynamic
        self._align(PAGE)
        self._headers(second, dynamic, size)
        return file

    def _align(self, size: int) -> int:
        self._file.data += bytes(-len(self._file.data) % size)
        return len(self._file.data)

    def _text(self, name: str) -> int:
        """Return the offset of a string."""
        found = self._strings.find(name.encode() + b"\0")
        if found < 0:
            found = len(self._strings)
            self._strings += name.encode() + b"\0"
        return found

    def _tag(self, items: _Tags) -> None:
        for tag, value in items:
            self._tags.append((tag, self._text(value) if isinstance(value, str) else value))

    def _pack(
        self, prefix: str, layout: str, names: str, *values: int, at: int | None = None
    ) -> None:
        """Append a record, or write it to a place, and note where its fields are."""
        data = self._file.data
        offset = len(data) if at is None else at
        record = struct.pack(f"<{layout}", *values)
        data[offset : offset + len(record)] = record
        for kind, name in zip(layout, names.split(), strict=True):
            self._file.places[f"{prefix}.{name}"] = Place(f"{prefix}.{name}", offset, kind)
            offset += struct.calcsize(kind)

    def _headers(self, second: int, dynamic: int, size: int) -> None:
        library, file = self._library, self._file
        file.data[:4] = b"\x7fELF"
        for number, (name, value) in enumerate(
            [("class", 2), ("data", 1), ("version", 1), ("osabi", 0), ("abi", 0)], 4
        ):
            self._pack("ident", "B", name, value, at=number)
        count = library.loads + library.dynamics
        names = "type machine version entry phoff shoff flags ehsize phentsize phnum shent shnum"
        values = [3, 62, 1, 0, 64, 0, 0, 64, 56, count, 64, 0, 0]
        self._pack("ehdr", "HHIQQQIHHHHHH", f"{names} shstrndx", *values, at=16)
        end = len(file.data)
        rows = [
            [LOAD, 5, 0, 0, 0, second, second, PAGE],
            [LOAD, 6, second, second, second, end - second, end - second, PAGE],
            *[[0, 6, 0, 0, 0, 0, 0, PAGE] for _ in range(library.loads - 2)],
            *[[DYNAMIC, 6, dynamic, dynamic, dynamic, size, size, 8]] * library.dynamics,
        ]
        names = "type flags offset vaddr paddr filesz memsz align"
        for number, row in enumerate(rows):
            self._pack(f"phdr{number}", "IIQQQQQQ", names, *row, at=64 + 56 * number)

    def _hashes(self) -> None:
        """Write the hash tables, of one bucket, so that the order of the symbols is theirs."""
        symbols = self._symbols
        first = next((i for i, s in enumerate(symbols) if i and s.section), len(symbols))
        values = [gnu_hash(s.name.encode()) for s in symbols[first:]]
        if self._library.gnu:
            self._tag([(GNU_HASH, self._align(8))])
            self._pack("gnu", "IIII", "buckets first bloom shift", 1, first, 1, 6)
            filter_ = 0
            for value in values:
                filter_ |= 1 << value % 64 | 1 << (value >> 6) % 64
            self._pack("gnu", "QI", "filter bucket", filter_, first if values else 0)
            for number, value in enumerate(values, 1):
                end = number == len(values)
                self._pack(f"chain{first + number - 1}", "I", "hash", value & ~1 | end)
        if self._library.sysv:
            self._tag([(HASH, self._align(8))])
            self._pack("sysv", "II", "buckets chains", 1, len(symbols))
            self._pack("sysv", "I", "bucket", first if values else 0)
            for index in range(len(symbols)):
                following = index + 1 if first <= index < len(symbols) - 1 else 0
                self._pack(f"next{index}", "I", "index", following)

    def _symbol_table(self) -> None:
        self._tag([(SYMTAB, self._align(8))])
        for number, s in enumerate(self._symbols):
            offset = self._text(s.name) if s.name_offset is None else s.name_offset
            row = [offset, s.info, s.other, s.section, s.value, s.size]
            self._pack(f"sym{number}", "IBBHQQ", "name info other section value size", *row)

    def _versions(self) -> None:
        library = self._library
        if not library.needs and not library.defines:
            return
        self._tag([(VERSYM, self._align(2))])
        for number, s in enumerate(self._symbols):
            self._pack(f"versym{number}", "H", "index", s.version)
        if library.needs:
            self._tag([(VERNEED, self._align(8)), (VERNEEDNUM, len(library.needs))])
        for number, (name, wanted) in enumerate(library.needs.items(), 1):
            size = 16 + 16 * len(wanted)
            row = [1, len(wanted), self._text(name), 16, size if number < len(library.needs) else 0]
            self._pack(f"verneed{number - 1}", "HHIII", "version count file aux next", *row)
            for place, (version, index) in enumerate(wanted, 1):
                row = [sysv_hash(version.encode()), 0, index, self._text(version)]
                following = 16 if place < len(wanted) else 0
                prefix = f"vernaux{number - 1}.{place - 1}"
                self._pack(prefix, "IHHII", "hash flags index name next", *row, following)
        if library.defines:
            self._tag([(VERDEF, self._align(8)), (VERDEFNUM, len(library.defines))])
        for number, (name, index) in enumerate(library.defines, 1):
            following = 28 if number < len(library.defines) else 0
            row = [1, 0, index, 1, sysv_hash(name.encode()), 20, following]
            names = "version flags index count hash aux next"
            self._pack(f"verdef{number - 1}", "HHHHIII", names, *row)
            self._pack(f"verdaux{number - 1}", "II", "name next", self._text(name), 0)

    def _relocations(self) -> None:
        library = self._library
        tables = [(RELA, RELASZ, library.relocations, 0)]
        tables.append((JMPREL, PLTRELSZ, library.plt, len(library.relocations)))
        for tag, size, items, start in tables:
            if items:
                self._tag([(tag, self._align(8)), (size, 24 * len(items))])
                self._tag([(RELAENT, 24) if tag == RELA else (PLTREL, RELA)])
            for number, item in enumerate(items, start):
                row = [0, item.kind, item.symbol, item.addend]
                self._pack(f"rela{number}", "QIIQ", "offset kind symbol addend", *row)
        if library.relr:
            size = 8 * len(library.relr)
            self._tag([(RELR, self._align(8)), (RELRSZ, size), (RELRENT, 8)])
            for number, entry in enumerate(library.relr):
                self._pack(f"relr{number}", "Q", "entry", entry)

    def _string_table(self) -> None:
        self._tag([(STRTAB, self._align(8)), (STRSZ, len(self._strings)), (SYMENT, 24)])
        for number, byte in enumerate(self._strings):
            self._pack(f"string{number}", "B", "byte", byte)

"""Hand-made Mach-O and PE files: the smallest that say something, so that tests can bend them."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ARM64, X86_64, I386 = 0x0100000C, 0x01000007, 7
DYLIB, BUNDLE, EXECUTE, OBJECT = 6, 8, 2, 1
TWO_LEVEL = 0x80
LOAD, WEAK, REEXPORT = 0xC, 0x80000018, 0x8000001F


def uleb(value: int) -> bytes:
    out = bytearray()
    while True:
        byte, value = value & 0x7F, value >> 7
        out.append(byte | (0x80 if value else 0))
        if not value:
            return bytes(out)


def trie(exports: dict[str, bytes]) -> bytes:
    """A trie with one edge from the root for each name; values are terminal information."""
    names = list(exports)
    size = 2 + sum(len(name) + 1 + 2 for name in names)  # child offsets take two bytes
    nodes, edges = b"", b""
    for name in names:
        place = size + len(nodes)
        edges += name.encode() + b"\0" + bytes([place & 0x7F | 0x80, place >> 7])
        nodes += uleb(len(exports[name])) + exports[name] + b"\0"
    return b"\0" + bytes([len(names)]) + edges + nodes


def chained(imports: list[tuple[str, int, bool]], kind: int = 1, names_zlib: bytes = b"") -> bytes:
    """Chained fixups with imports of one of the three layouts: name, ordinal, weak."""
    pool, table = b"\0", b""
    for name, ordinal, weak in imports:
        place = len(pool)
        pool += name.encode() + b"\0"
        if kind == 3:
            table += struct.pack("<QQ", (ordinal & 0xFFFF) | weak << 16 | place << 32, 0)
        else:
            table += struct.pack("<I", (ordinal & 0xFF) | weak << 8 | place << 9)
            table += bytes(4) if kind == 2 else b""
    start = 28
    names = start + len(table)
    header = struct.pack("<7I", 0, 0, start, names, len(imports), kind, 1 if names_zlib else 0)
    return header + table + (names_zlib or pool)


def nlist(symbols: list[tuple[str, int, int, int]]) -> tuple[bytes, bytes]:
    """A symbol table of name, type, description and value; return it and its strings."""
    strings, table = b"\0", b""
    for name, kind, description, value in symbols:
        table += struct.pack("<IBBHQ", len(strings), kind, 0, description, value)
        strings += name.encode() + b"\0"
    return table, strings


@dataclass
class MachO:
    """A slice: libraries as (command, name), and the tables that it has."""

    libraries: list[tuple[int, str]] = field(default_factory=list)
    fixups: bytes | None = None
    bind: bytes | None = None
    weak: bytes = b""
    lazy: bytes = b""
    trie: bytes | None = None
    info_trie: bytes = b""
    symbols: list[tuple[str, int, int, int]] | None = None
    soname: str | None = "@rpath/libx.dylib"
    rpath: str | None = None
    minos: list[tuple[int, int]] = field(default_factory=list)  # platform, packed version
    version_min: int | None = None
    cpu: int = ARM64
    subtype: int = 0
    filetype: int = DYLIB
    flags: int = TWO_LEVEL
    # Name, address, size in memory, place and size in the file.
    segments: list[tuple[bytes, int, int, int, int]] = field(default_factory=list)
    extra: list[bytes] = field(default_factory=list)  # whole commands

    def build(self) -> bytes:
        commands = self._plain_commands()
        tables: list[bytes] = []
        patches: list[tuple[int, int, int]] = []  # command, place in it, table
        for layout, values, data in self._table_commands():
            for place, table in data.items():
                patches.append((len(commands), place, len(tables)))
                tables.append(table)
            commands.append(struct.pack(layout, *values))
        position = 32 + sum(map(len, commands))
        whole = [bytearray(command) for command in commands]
        for command, place, number in patches:
            offset = position + sum(map(len, tables[:number]))
            struct.pack_into("<I", whole[command], place, offset)
        header = (0xFEEDFACF, self.cpu, self.subtype, self.filetype, len(commands))
        size = sum(map(len, commands))
        return b"".join([struct.pack("<8I", *header, size, self.flags, 0), *whole, *tables])

    def _plain_commands(self) -> list[bytes]:
        def path(command: int, name: str, extra: int) -> bytes:
            text = name.encode() + b"\0"
            body = struct.pack("<I", 12 + extra) + bytes(extra) + text + bytes(-len(text) % 8)
            return struct.pack("<2I", command, 8 + len(body)) + body

        commands = [path(0xD, self.soname, 12)] if self.soname is not None else []
        commands += [path(command, name, 12) for command, name in self.libraries]
        commands += [path(0x8000001C, self.rpath, 0)] if self.rpath is not None else []
        commands += [struct.pack("<6I", 0x32, 24, item, at, at, 0) for item, at in self.minos]
        if self.version_min is not None:
            commands.append(struct.pack("<4I", 0x24, 16, self.version_min, 0))
        commands += [
            struct.pack("<2I16s4Q4I", 0x19, 72, *segment, 7, 7, 0, 0) for segment in self.segments
        ]
        return commands + self.extra

    def _table_commands(self) -> Iterator[tuple[str, list[int], dict[int, bytes]]]:
        """Yield commands with places for the offsets of their tables."""
        for command, data in ((0x80000034, self.fixups), (0x80000033, self.trie)):
            if data is not None:
                yield "<4I", [command, 16, 0, len(data)], {8: data}
        if self.bind is not None:
            tables = {16: self.bind, 24: self.weak, 32: self.lazy, 40: self.info_trie}
            sizes = [size for table in tables.values() for size in (0, len(table))]
            yield "<12I", [0x80000022, 48, 0, 0, *sizes], tables
        if self.symbols is not None:
            entries, strings = nlist(self.symbols)
            counts = [0, len(self.symbols), 0, len(strings)]
            yield "<6I", [2, 24, *counts], {8: entries, 16: strings}


def universal(*slices: tuple[int, bytes], wide: bool = False) -> bytes:
    """A universal file of (CPU type, slice)."""
    start = 4096
    header = struct.pack(">2I", 0xCAFEBABF if wide else 0xCAFEBABE, len(slices))
    body = b""
    for cpu, data in slices:
        layout = ">2I2Q2I" if wide else ">5I"
        rest = (start + len(body), len(data), 12, 0)[: 4 if wide else 3]
        header += struct.pack(layout, cpu, 0, *rest)
        body += data
    return header + bytes(start - len(header)) + body


@dataclass
class PE:
    """A DLL with one section; imports by DLL, as names or ordinals."""

    imports: dict[str, list[str | int]] = field(default_factory=dict)
    delayed: dict[str, list[str | int]] = field(default_factory=dict)
    exports: dict[str, str | None] = field(default_factory=dict)  # name: where it forwards to
    name: str = "X.dll"
    machine: int = 0x8664
    dll: bool = True
    clr_flags: int | None = None  # of an assembly of .NET

    _base = 0x1000  # the address of the section
    _offset = 0x400  # its place in the file

    def build(self) -> bytes:
        data = bytearray(512)  # room for the directories' descriptors

        def put(chunk: bytes) -> int:
            data.extend(chunk)
            return self._base + len(data) - len(chunk)

        def thunks(names: list[str | int]) -> int:
            values = [
                1 << 63 | name if isinstance(name, int) else put(b"\0\0" + name.encode() + b"\0")
                for name in names
            ]
            return put(struct.pack(f"<{len(values) + 1}Q", *values, 0))

        directories = [(0, 0)] * 16
        if self.imports:
            rows = b"".join(
                struct.pack("<5I", thunks(names), 0, 0, put(dll.encode() + b"\0"), 0)
                for dll, names in self.imports.items()
            )
            directories[1] = (put(rows + bytes(20)), len(rows) + 20)
        if self.delayed:
            rows = b"".join(
                struct.pack("<8I", 1, put(dll.encode() + b"\0"), 0, 0, thunks(names), 0, 0, 0)
                for dll, names in self.delayed.items()
            )
            directories[13] = (put(rows + bytes(32)), len(rows) + 32)
        if self.exports:
            names = [put(name.encode() + b"\0") for name in self.exports]
            own = put(self.name.encode() + b"\0")
            begin = self._base + len(data)
            count = len(names)
            tables = begin + 40
            texts = tables + 10 * count
            functions, forwards = [], b""
            for target in self.exports.values():
                functions.append(texts + len(forwards) if target else 0x10)
                forwards += target.encode() + b"\0" if target else b""
            chunk = struct.pack(
                "<10I", 0, 0, 0, own, 1, count, count, tables, tables + 4 * count,
                tables + 8 * count,
            )  # fmt: skip
            chunk += struct.pack(f"<{count}I", *functions) + struct.pack(f"<{count}I", *names)
            chunk += struct.pack(f"<{count}H", *range(count)) + forwards
            put(chunk)
            directories[0] = (begin, len(chunk))
        if self.clr_flags is not None:
            directories[14] = (put(struct.pack("<5I", 72, 0, 0, 0, self.clr_flags) + bytes(52)), 72)
        optional = struct.pack("<H", 0x20B) + bytes(106) + struct.pack("<I", 16)
        optional += b"".join(struct.pack("<2I", *item) for item in directories)
        characteristics = 0x2022 if self.dll else 0x22
        coff = struct.pack("<2H3I2H", self.machine, 1, 0, 0, 0, len(optional), characteristics)
        section = struct.pack("<8s4I", b".rdata", len(data), self._base, len(data), self._offset)
        head = b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + coff + optional
        head += section + bytes(16)
        return head + bytes(self._offset - len(head)) + bytes(data)

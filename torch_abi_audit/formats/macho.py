"""Mach-O: bytes to facts, from the load commands and the symbol table.

`macholib` names the constants; the symbol table is decoded in bulk here.

Reference: `mach-o/loader.h` and `mach-o/nlist.h` of Apple's cctools.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from macholib import mach_o

from torch_abi_audit.errors import LibraryError
from torch_abi_audit.model import Format, Library, Symbol

if TYPE_CHECKING:
    from torch_abi_audit.formats.source import ByteSource

_ARCHS = {
    (0x01000007, 0): "x86_64",
    (0x0100000C, 0): "arm64",
    (0x0100000C, 2): "arm64e",
}
_SUBTYPE_MASK = 0x00FFFFFF
_LIBRARY_TYPES = frozenset({mach_o.MH_DYLIB, mach_o.MH_BUNDLE})
_LOADED = frozenset(
    {
        mach_o.LC_LOAD_DYLIB,
        mach_o.LC_LOAD_WEAK_DYLIB,
        mach_o.LC_REEXPORT_DYLIB,
        mach_o.LC_LAZY_LOAD_DYLIB,
        mach_o.LC_LOAD_UPWARD_DYLIB,
    }
)

# Bounds against hostile files.
_MAX_COMMAND_BYTES = 1 << 22
_MAX_SYMBOLS = 4_000_000
_MAX_STRING_TABLE_BYTES = 512 << 20

_N_STAB, _N_PEXT, _N_TYPE, _N_EXT = 0xE0, 0x10, 0x0E, 0x01
_N_UNDF, _N_PBUD = 0x0, 0xC
_N_WEAK_REF, _N_WEAK_DEF = 0x40, 0x80
_MH_TWOLEVEL = 0x80


@dataclass(slots=True)
class _Commands:
    """What the load commands say."""

    symtab: tuple[int, int, int, int] | None = None  # symoff, nsyms, stroff, strsize
    soname: str | None = None
    needed: list[str] = field(default_factory=list)
    rpath: list[str] = field(default_factory=list)


def read_macho_slice(source: ByteSource, offset: int = 0) -> Library:
    """Read the facts of one 64-bit slice that begins at an offset.

    Raises:
        LibraryError: The slice is cut short, contradicts itself, or is larger in
            some part than any library is.
    """
    try:
        return _read(source, offset)
    except struct.error as error:
        raise LibraryError(f"not a readable Mach-O file: {error}") from error


def _read(source: ByteSource, offset: int) -> Library:
    magic = source.read_at(offset, 4)
    if magic == bytes.fromhex("cffaedfe"):
        order = "<"
    else:
        raise LibraryError(f"a Mach-O slice with the magic {magic.hex()}")
    _, cpu, subtype, filetype, count, size, flags, _ = struct.unpack(
        f"{order}8I", source.read_at(offset, 32)
    )
    if size > _MAX_COMMAND_BYTES:
        raise LibraryError(f"{size} bytes of load commands")
    commands = _read_commands(source.read_at(offset + 32, size), count, order)
    imports, exports = _read_symbols(
        source, offset, order, commands, two_level=bool(flags & _MH_TWOLEVEL)
    )
    return Library(
        format=Format.MACHO,
        arch=_ARCHS.get((cpu, subtype & _SUBTYPE_MASK), _ARCHS.get((cpu, 0), f"cpu {cpu:#x}")),
        executable=filetype not in _LIBRARY_TYPES,
        soname=commands.soname,
        needed=tuple(commands.needed),
        rpath=tuple(commands.rpath),
        imports=imports,
        exports=exports,
    )


def _read_commands(data: bytes, count: int, order: str) -> _Commands:
    found = _Commands()
    position = 0
    for _ in range(count):
        command, size = struct.unpack_from(f"{order}2I", data, position)
        if size < 8 or position + size > len(data):
            raise LibraryError("a load command that does not fit")
        body = data[position : position + size]
        if command == mach_o.LC_SYMTAB:
            found.symtab = struct.unpack_from(f"{order}4I", body, 8)
        elif command in _LOADED:
            found.needed.append(_string(body, order))
        elif command == mach_o.LC_ID_DYLIB:
            found.soname = _string(body, order)
        elif command == mach_o.LC_RPATH:
            found.rpath.append(_string(body, order))
        position += size
    return found


def _string(body: bytes, order: str) -> str:
    """Return the string of a load command that begins with the offset to it."""
    (start,) = struct.unpack_from(f"{order}I", body, 8)
    return body[start:].partition(b"\0")[0].decode("utf-8", "backslashreplace")


def _read_symbols(
    source: ByteSource, offset: int, order: str, commands: _Commands, *, two_level: bool
) -> tuple[tuple[Symbol, ...], tuple[Symbol, ...]]:
    if commands.symtab is None:
        return (), ()
    start, count, strings_start, strings_size = commands.symtab
    if count > _MAX_SYMBOLS or strings_size > _MAX_STRING_TABLE_BYTES:
        raise LibraryError(f"{count} symbols")
    table = source.read_at(offset + start, 16 * count)
    strings = source.read_at(offset + strings_start, strings_size)
    imports: list[Symbol] = []
    exports: list[Symbol] = []
    for name_offset, kind, _, description, value in struct.iter_unpack(f"{order}IBBHQ", table):
        if kind & _N_STAB or not kind & _N_EXT or kind & _N_PEXT or not name_offset:
            continue
        end = strings.find(b"\0", name_offset)
        if end < 0:
            raise LibraryError(f"a name at {name_offset}, outside the string table")
        name = strings[name_offset:end].decode("utf-8", "backslashreplace").removeprefix("_")
        if kind & _N_TYPE in (_N_UNDF, _N_PBUD) and not value:
            ordinal = description >> 8
            library = None
            if two_level and 1 <= ordinal <= len(commands.needed):
                library = commands.needed[ordinal - 1]
            imports.append(Symbol(name, bool(description & _N_WEAK_REF), None, library))
        else:
            exports.append(Symbol(name, bool(description & _N_WEAK_DEF)))
    return tuple(imports), tuple(exports)

"""Mach-O: bytes to facts, from the load commands and the tables that dyld reads.

`macholib` names the constants and lays out the commands; its own loader is not used,
since it reads every section of a file and stops at the first command that it does not know.

Reference: `mach-o/loader.h`, `mach-o/nlist.h` and `mach-o/fat.h` of Apple's cctools.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from macholib import mach_o

from torch_abi_audit.errors import LibraryError
from torch_abi_audit.formats.dyld import (
    FLAT_LOOKUP,
    MAX_NAME_BYTES,
    MAX_SYMBOLS,
    SELF,
    Binding,
    Export,
    bound_symbols,
    chained_imports,
    exported_symbols,
)
from torch_abi_audit.formats.source import check_range
from torch_abi_audit.model import DeploymentTarget, Format, Library, Symbol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch_abi_audit.formats.source import ByteSource

# The first bytes of a slice: byte order, and whether it is for 64 bits.
_MAGICS = {
    bytes.fromhex("cffaedfe"): ("<", True),
    bytes.fromhex("cefaedfe"): ("<", False),
    bytes.fromhex("feedfacf"): (">", True),
    bytes.fromhex("feedface"): (">", False),
}
_FAT_MAGICS = {
    mach_o.FAT_MAGIC.to_bytes(4, "big"): ">5I",
    mach_o.FAT_MAGIC_64.to_bytes(4, "big"): ">2I2Q2I",
}
_ARCHIVE = b"!<arch>\n"

_ARCHS = {
    (0x00000007, 0): "i686",
    (0x01000007, 0): "x86_64",
    (0x01000007, 8): "x86_64h",  # Haswell and newer
    (0x0100000C, 0): "arm64",
    (0x0100000C, 2): "arm64e",
    (0x00000012, 0): "ppc",
    (0x01000012, 0): "ppc64",
}
_SUBTYPE_MASK = 0x00FFFFFF
_LIBRARY_TYPES = frozenset({mach_o.MH_DYLIB, mach_o.MH_BUNDLE})
_OPTIONAL = frozenset({mach_o.LC_LOAD_WEAK_DYLIB, mach_o.LC_LAZY_LOAD_DYLIB})
_LOADED = _OPTIONAL | {
    mach_o.LC_LOAD_DYLIB,
    mach_o.LC_REEXPORT_DYLIB,
    mach_o.LC_LOAD_UPWARD_DYLIB,
}
_MINOS_COMMANDS = {
    mach_o.LC_VERSION_MIN_MACOSX: "macos",
    mach_o.LC_VERSION_MIN_IPHONEOS: "ios",
    mach_o.LC_VERSION_MIN_TVOS: "tvos",
    mach_o.LC_VERSION_MIN_WATCHOS: "watchos",
}
# PLATFORM_* of LC_BUILD_VERSION. A simulator is another platform than the device.
_PLATFORMS = {1: "macos", 2: "ios", 3: "tvos", 4: "watchos", 6: "maccatalyst", 7: "iossimulator"}

# Bounds against hostile files.
_MAX_COMMAND_BYTES = 1 << 22
_MAX_TABLE_BYTES = 512 << 20
_MAX_SLICES = 44  # more would be a Java class file

_N_STAB, _N_PEXT, _N_TYPE, _N_EXT = 0xE0, 0x10, 0x0E, 0x01
_N_UNDF, _N_PBUD = 0x0, 0xC
_N_WEAK_REF, _N_WEAK_DEF = 0x40, 0x80
_DYNAMIC_LOOKUP, _EXECUTABLE = 0xFE, 0xFF
_MH_TWOLEVEL = 0x80


def read_macho(source: ByteSource) -> tuple[Library, ...]:
    """Read the facts of every slice of a Mach-O file, thin or universal.

    Returns:
        One library for each slice, in the order of the file; none for an object file,
        debug symbols, or a universal archive of object files.

    Raises:
        LibraryError: A slice is cut short, contradicts itself, or is larger in some
            part than any library is.
    """
    try:
        if (layout := _FAT_MAGICS.get(source.read_at(0, 4))) is None:
            library = _read_slice(source)
            return () if library is None else (library,)
        return tuple(_read_slices(source, layout))
    except struct.error as error:
        raise LibraryError(f"not a readable Mach-O file: {error}") from error


def is_debug_file(source: ByteSource) -> bool:
    """Whether a Mach-O file, or the first slice of a universal one, holds debug symbols alone."""
    start = 0
    layout = _FAT_MAGICS.get(source.read_at(0, 4))
    if layout is not None:
        size = struct.calcsize(layout)
        if source.size < 8 + size:
            return False
        _, _, start, *_ = struct.unpack(layout, source.read_at(8, size))
    if start + 16 > source.size:
        return False
    head = source.read_at(start, 16)
    order, _ = _MAGICS.get(head[:4], (">", False))
    (filetype,) = struct.unpack_from(f"{order}I", head, 12)
    return bool(filetype == mach_o.MH_DSYM)


def _read_slices(source: ByteSource, layout: str) -> Iterator[Library]:
    count = int.from_bytes(source.read_at(4, 4), "big")
    if not 0 < count <= _MAX_SLICES:
        raise LibraryError(f"a universal file of {count} slices")
    table = source.read_at(8, struct.calcsize(layout) * count)
    end = 8 + len(table)
    archs: set[str] = set()
    places = ((offset, size) for _, _, offset, size, *_ in struct.iter_unpack(layout, table))
    for offset, size in sorted(places):
        if offset < end:
            raise LibraryError("slices that overlap")
        end = offset + size
        window = _Window(source, offset, size)
        if window.read_at(0, min(8, size)) != _ARCHIVE:
            library = _read_slice(window)
            if library is None:
                continue
            if library.arch in archs:
                raise LibraryError(f"two slices for {library.arch}")
            archs.add(library.arch)
            yield library


class _Window:
    """A slice of a universal file: a source of its own."""

    def __init__(self, source: ByteSource, start: int, size: int) -> None:
        check_range(source, start, size)
        self._source = source
        self._start = start
        self.size = size

    def read_at(self, offset: int, size: int) -> bytes:
        """See `ByteSource.read_at`."""
        check_range(self, offset, size)
        return self._source.read_at(self._start + offset, size)


@dataclass(slots=True)
class _Commands:
    """What the load commands say; a table is its offset and its size in bytes."""

    symtab: tuple[int, int, int, int] | None = None  # symoff, nsyms, stroff, strsize
    fixups: tuple[int, int] | None = None
    bind: tuple[int, int] | None = None
    lazy_bind: tuple[int, int] | None = None
    trie: tuple[int, int] | None = None
    soname: str | None = None
    needed: list[str] = field(default_factory=list)  # ordinals count these
    optional: list[str] = field(default_factory=list)
    reexported: list[str] = field(default_factory=list)
    rpath: list[str] = field(default_factory=list)
    minos: list[DeploymentTarget] = field(default_factory=list)


def _read_slice(source: ByteSource) -> Library | None:
    magic = source.read_at(0, 4)
    if magic not in _MAGICS:
        raise LibraryError(f"a Mach-O slice with the magic {magic.hex()}")
    order, is64 = _MAGICS[magic]
    _, cpu, subtype, filetype, count, size, flags = struct.unpack(
        f"{order}7I", source.read_at(0, 28)
    )
    if filetype not in _LIBRARY_TYPES and filetype != mach_o.MH_EXECUTE:
        return None
    if size > _MAX_COMMAND_BYTES:
        raise LibraryError(f"{size} bytes of load commands")
    commands = _read_commands(source.read_at(32 if is64 else 28, size), count, order)
    bindings, exports = _read_tables(source, commands, order, is64=is64)
    names = {export.name for export in exports}
    two_level = bool(flags & _MH_TWOLEVEL)
    return Library(
        format=Format.MACHO,
        arch=_ARCHS.get((cpu, subtype & _SUBTYPE_MASK), _ARCHS.get((cpu, 0), f"cpu {cpu:#x}")),
        executable=filetype == mach_o.MH_EXECUTE,
        soname=commands.soname,
        needed=tuple(commands.needed),
        optional=tuple(commands.optional),
        reexported=tuple(commands.reexported),
        rpath=tuple(commands.rpath),
        imports=tuple(_imports(bindings, exports, names, commands.needed, two_level=two_level)),
        exports=tuple(Symbol(_text(export.name), export.weak) for export in exports),
        minos=min(commands.minos, key=lambda item: item.system != "macos", default=None),
    )


def _imports(
    bindings: Iterable[Binding],
    exports: Iterable[Export],
    own: set[bytes],
    needed: list[str],
    *,
    two_level: bool,
) -> Iterator[Symbol]:
    """Yield each import once, with the library that its ordinal names.

    A name that is exported from elsewhere is one too. What a library defines itself
    (a weak definition, for which dyld looks around first) is none.
    """
    passed_on = [export.reexport for export in exports if export.reexport is not None]
    for name, ordinal, weak in dict.fromkeys([*bindings, *passed_on]):
        if ordinal == SELF or (ordinal < 0 and name in own):
            continue
        if ordinal > len(needed):
            raise LibraryError(f"a symbol of library {ordinal}, and it needs {len(needed)}")
        library = needed[ordinal - 1] if two_level and ordinal > 0 else None
        if name:
            yield Symbol(_text(name), weak, None, library)


def _text(name: bytes) -> str:
    return name.removeprefix(b"_").decode("utf-8", "backslashreplace")


def _read_commands(data: bytes, count: int, order: str) -> _Commands:
    found = _Commands()
    position = 0
    for _ in range(count):
        command, size = struct.unpack_from(f"{order}2I", data, position)
        if size < 8 or position + size > len(data):
            raise LibraryError("a load command that does not fit")
        _read_command(found, command, data[position : position + size], order)
        position += size
    return found


def _read_command(found: _Commands, command: int, body: bytes, order: str) -> None:
    if command in _LOADED:
        name = _string(body, order)
        found.needed.append(name)
        if command in _OPTIONAL:
            found.optional.append(name)
        if command == mach_o.LC_REEXPORT_DYLIB:
            found.reexported.append(name)
    elif command == mach_o.LC_ID_DYLIB:
        found.soname = _string(body, order)
    elif command == mach_o.LC_RPATH:
        found.rpath.append(_string(body, order))
    elif command == mach_o.LC_BUILD_VERSION:
        platform, version = struct.unpack_from(f"{order}2I", body, 8)
        found.minos.append(_minos(_PLATFORMS.get(platform, f"platform {platform}"), version))
    elif command in _MINOS_COMMANDS:
        (version,) = struct.unpack_from(f"{order}I", body, 8)
        found.minos.append(_minos(_MINOS_COMMANDS[command], version))
    else:
        _read_table_command(found, command, body, order)


def _read_table_command(found: _Commands, command: int, body: bytes, order: str) -> None:
    match command:
        case mach_o.LC_SYMTAB:
            found.symtab = struct.unpack_from(f"{order}4I", body, 8)
        case mach_o.LC_DYLD_CHAINED_FIXUPS:
            found.fixups = struct.unpack_from(f"{order}2I", body, 8)
        case mach_o.LC_DYLD_EXPORTS_TRIE:
            found.trie = struct.unpack_from(f"{order}2I", body, 8)
        case mach_o.LC_DYLD_INFO | mach_o.LC_DYLD_INFO_ONLY:
            # dyld_info_command: rebase, bind, weak bind, lazy bind, export; weak binds
            # only replace what is defined or bound already.
            info = struct.unpack_from(f"{order}10I", body, 8)
            found.bind, found.lazy_bind, found.trie = info[2:4], info[6:8], info[8:10]


def _minos(system: str, version: int) -> DeploymentTarget:
    """Unpack a version, which is xxxx.yy.zz in nibbles."""
    return DeploymentTarget(system, (version >> 16, version >> 8 & 0xFF))


def _string(body: bytes, order: str) -> str:
    """Return the string of a load command that begins with the offset to it."""
    (start,) = struct.unpack_from(f"{order}I", body, 8)
    return body[start:].partition(b"\0")[0].decode("utf-8", "backslashreplace")


def _read_tables(
    source: ByteSource, commands: _Commands, order: str, *, is64: bool
) -> tuple[list[Binding], list[Export]]:
    """Return what is bound and what is exported, from the tables in the order of the file."""
    bindings: list[Binding] = []
    exports: list[Export] = []
    tables = [("fixups", commands.fixups), ("bind", commands.bind)]
    tables += [("lazy", commands.lazy_bind), ("trie", commands.trie)]
    present = [(name, *table) for name, table in tables if table is not None]
    for name, offset, size in sorted(present, key=lambda item: item[1]):
        if size > _MAX_TABLE_BYTES:
            raise LibraryError(f"a table of {size} bytes")
        data = source.read_at(offset, size) if size else b""
        match name:
            case "fixups" if data:
                bindings += dict.fromkeys(chained_imports(data, order))
            case "bind" | "lazy":
                bindings += dict.fromkeys(bound_symbols(data, lazy=name == "lazy"))
            case "trie":
                exports += exported_symbols(data)
    no_bindings = commands.fixups is None and commands.bind is None
    if (no_bindings or commands.trie is None) and commands.symtab is not None:
        symtab = list(_read_symtab(source, commands.symtab, order, is64=is64))
        if no_bindings:
            bindings = [item for item in symtab if isinstance(item, Binding)]
        if commands.trie is None:
            exports = [item for item in symtab if isinstance(item, Export)]
    return bindings, exports


def _read_symtab(
    source: ByteSource, symtab: tuple[int, int, int, int], order: str, *, is64: bool
) -> Iterator[Binding | Export]:
    """Yield the dynamic symbols of the symbol table, for files older than dyld's own tables."""
    start, count, strings_start, strings_size = symtab
    if count > MAX_SYMBOLS or strings_size > _MAX_TABLE_BYTES:
        raise LibraryError(f"{count} symbols")
    layout = struct.Struct(f"{order}IBBHQ" if is64 else f"{order}IBBHI")
    table = source.read_at(start, layout.size * count)
    strings = source.read_at(strings_start, strings_size)
    budget = MAX_NAME_BYTES
    for place, kind, _, description, value in layout.iter_unpack(table):
        if kind & _N_STAB or not kind & _N_EXT or kind & _N_PEXT or not place:
            continue
        end = strings.find(b"\0", place)
        if end < 0:
            raise LibraryError(f"a name at {place}, outside the string table")
        name = strings[place:end]
        budget -= len(name)
        if budget < 0:
            raise LibraryError("more bytes of symbol names than a library has")
        if kind & _N_TYPE in (_N_UNDF, _N_PBUD) and not value:
            ordinal = description >> 8
            if ordinal in (_DYNAMIC_LOOKUP, _EXECUTABLE):
                ordinal = FLAT_LOOKUP
            yield Binding(name, ordinal, bool(description & _N_WEAK_REF))
        else:
            yield Export(name, bool(description & _N_WEAK_DEF))

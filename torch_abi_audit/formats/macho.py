"""Mach-O: bytes to facts, from the load commands and the tables that dyld reads.

`macholib` provides the constants and the layout of the commands; its own loader is not used,
since it reads every section of a file and stops at the first command that it does not know.

Reference: `mach-o/loader.h`, `mach-o/nlist.h` and `mach-o/fat.h` of Apple's cctools.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from macholib import mach_o

from torch_abi_audit.budget import Budget
from torch_abi_audit.errors import LibraryError
from torch_abi_audit.formats.dyld import (
    FLAT_LOOKUP,
    PROGRAM,
    SELF,
    WEAK_LOOKUP,
    Bind,
    Binding,
    Export,
    bound_symbols,
    chained_imports,
    exported_symbols,
)
from torch_abi_audit.formats.source import check_range
from torch_abi_audit.model import MAIN_EXECUTABLE, DeploymentTarget, Format, Library, Symbol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch_abi_audit.formats.source import ByteSource

# By the first bytes of a slice: its byte order, and whether it is 64-bit.
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
_64_BIT = 0x01000000  # in a CPU type
_LITTLE_ENDIAN = frozenset({0x00000007, 0x01000007, 0x0100000C})
_LIBRARY_TYPES = frozenset({mach_o.MH_DYLIB, mach_o.MH_BUNDLE})
_LOADED = frozenset(
    {
        mach_o.LC_LOAD_DYLIB,
        mach_o.LC_LOAD_WEAK_DYLIB,
        mach_o.LC_REEXPORT_DYLIB,
        mach_o.LC_LOAD_UPWARD_DYLIB,
    }
)
# A later addition to `loader.h`, for a library that is loaded at its first use: linkers number
# it with the others, but dyld does not.
_LC_LAZY_LOAD_DYLIB_INFO = 0x3A
_NOT_NUMBERED = frozenset({mach_o.LC_LAZY_LOAD_DYLIB, _LC_LAZY_LOAD_DYLIB_INFO})
# `dylib_use_command`, which can replace any of them: its mark, in place of a time, and its flags.
_USE_MARK, _USE_SIZE, _USE_WEAK, _USE_REEXPORT = 0x1A741800, 28, 0x1, 0x2
# Commands that dyld must know to load a file (LC_REQ_DYLD), and does.
_REQUIRED = 0x80000000
_KNOWN = frozenset(
    _REQUIRED | command for command in (0x18, 0x1C, 0x1F, 0x22, 0x23, 0x28, 0x33, 0x34, 0x35)
)
_MINOS_COMMANDS = {
    mach_o.LC_VERSION_MIN_MACOSX: "macos",
    mach_o.LC_VERSION_MIN_IPHONEOS: "ios",
    mach_o.LC_VERSION_MIN_TVOS: "tvos",
    mach_o.LC_VERSION_MIN_WATCHOS: "watchos",
}
# PLATFORM_* of LC_BUILD_VERSION. A simulator is a different platform from the device.
_PLATFORMS = {1: "macos", 2: "ios", 3: "tvos", 4: "watchos", 6: "maccatalyst", 7: "iossimulator"}

# Bounds against hostile files.
_MAX_COMMAND_BYTES = 1 << 20
_MAX_TABLE_BYTES = 128 << 20
_MAX_SLICES = 1 << 12

_N_STAB, _N_PEXT, _N_TYPE, _N_EXT = 0xE0, 0x10, 0x0E, 0x01
_N_UNDF, _N_INDR, _N_PBUD = 0x0, 0xA, 0xC
_N_WEAK_REF, _N_WEAK_DEF = 0x40, 0x80
_DYNAMIC_LOOKUP, _EXECUTABLE = 0xFE, 0xFF
_MH_TWOLEVEL, _MH_NO_REEXPORTED_DYLIBS = 0x80, 0x100000
_SYMTAB_LOOKUPS = {_DYNAMIC_LOOKUP: FLAT_LOOKUP, _EXECUTABLE: PROGRAM}
_LOOKUPS = frozenset({PROGRAM, FLAT_LOOKUP, WEAK_LOOKUP})
_NOT_IN_C = "\1"
_LINKERS_OWN = frozenset({b"dyld_stub_binder"})
_LINKEDIT = b"__LINKEDIT"
# Commands of which dyld uses only one; those that say the same have the same value.
_ONE_KIND = {
    mach_o.LC_ID_DYLIB: mach_o.LC_ID_DYLIB,
    mach_o.LC_SYMTAB: mach_o.LC_SYMTAB,
    mach_o.LC_DYSYMTAB: mach_o.LC_DYSYMTAB,
    mach_o.LC_DYLD_INFO: mach_o.LC_DYLD_INFO,
    mach_o.LC_DYLD_INFO_ONLY: mach_o.LC_DYLD_INFO,
    mach_o.LC_DYLD_CHAINED_FIXUPS: mach_o.LC_DYLD_CHAINED_FIXUPS,
    mach_o.LC_DYLD_EXPORTS_TRIE: mach_o.LC_DYLD_EXPORTS_TRIE,
}


def read_macho(source: ByteSource, budget: Budget | None = None) -> tuple[Library, ...]:
    """Read the facts of every slice of a Mach-O file, thin or universal.

    Args:
        source: The file's bytes.
        budget: The budget for all its slices together.

    Returns:
        One library for each slice, in the order of the file; none for an object file,
        debug symbols, or a universal archive of object files.

    Raises:
        LibraryError: A slice is cut short, contradicts itself or another one, or is larger
            in some part than any library is.
    """
    budget = budget or Budget()
    try:
        if (layout := _FAT_MAGICS.get(source.read_at(0, 4))) is None:
            library = _read_slice(source, budget)
            return () if library is None else (library,)
        return _read_slices(source, layout, budget)
    except struct.error as error:
        raise LibraryError(f"not a readable Mach-O file: {error}") from error


def is_debug_file(source: ByteSource) -> bool:
    """Whether a Mach-O file, or each slice of a universal one, holds only debug symbols."""
    starts = [0]
    layout = _FAT_MAGICS.get(source.read_at(0, 4))
    if layout is not None:
        if source.size < 8:
            return False
        count = int.from_bytes(source.read_at(4, 4), "big")
        size = struct.calcsize(layout) * count
        if not 0 < count <= _MAX_SLICES or source.size < 8 + size:
            return False
        starts = [start for _, _, start, *_ in struct.iter_unpack(layout, source.read_at(8, size))]
    return all(_filetype(source, start) == mach_o.MH_DSYM for start in sorted(starts))


def _filetype(source: ByteSource, start: int) -> int | None:
    """Return the file type of a slice; None if it is not a slice."""
    if start + 16 > source.size:
        return None
    head = source.read_at(start, 16)
    if head[:4] not in _MAGICS:
        return None
    order, _ = _MAGICS[head[:4]]
    (filetype,) = struct.unpack_from(f"{order}I", head, 12)
    return int(filetype)


def _read_slices(source: ByteSource, layout: str, budget: Budget) -> tuple[Library, ...]:
    """Read the slices of a universal file, which must be of one kind: dyld may use any of them."""
    count = int.from_bytes(source.read_at(4, 4), "big")
    if not 0 < count <= _MAX_SLICES:
        raise LibraryError(f"a universal file of {count} slices")
    table = source.read_at(8, struct.calcsize(layout) * count)
    end = 8 + len(table)
    machines: set[tuple[int, int]] = set()
    kinds: set[str] = set()
    libraries: dict[str, Library] = {}
    slices = sorted(struct.iter_unpack(layout, table), key=lambda item: item[2:4])
    for cpu, subtype, offset, size, *_ in slices:
        if offset < end:
            raise LibraryError("slices that overlap")
        end = offset + size
        machine = cpu, subtype & _SUBTYPE_MASK
        if machine in machines:
            raise LibraryError(f"two slices for {_arch(*machine)}")
        machines.add(machine)
        window = _Window(source, offset, size)
        if window.read_at(0, min(8, size)) == _ARCHIVE:
            kinds.add("archives")
            continue
        library = _read_slice(window, budget, machine)
        if library is None:
            kinds.add("object files")
            continue
        kinds.add("programs" if library.executable else "libraries")
        if library.arch in libraries:
            raise LibraryError(f"two slices for {library.arch}")
        libraries[library.arch] = library
    if len(kinds) > 1:
        raise LibraryError(f"slices of different kinds: {' and '.join(sorted(kinds))}")
    return tuple(libraries.values())


def _arch(cpu: int, subtype: int) -> str:
    return _ARCHS.get((cpu, subtype), _ARCHS.get((cpu, 0), f"cpu {cpu:#x}"))


class _Window:
    """A slice of a universal file, as a source of its own."""

    def __init__(self, source: ByteSource, start: int, size: int) -> None:
        check_range(source, start, size)
        self._source = source
        self._start = start
        self.size = size

    def read_at(self, offset: int, size: int) -> bytes:
        """See `ByteSource.read_at`."""
        check_range(self, offset, size)
        return self._source.read_at(self._start + offset, size)


class _Slice(NamedTuple):
    """A slice, and how its numbers are written.

    Attributes:
        source: Its bytes.
        order: The byte order, as `struct` writes it.
        is64: Whether it is 64-bit.
        flags: The flags in its header.
        budget: The file's remaining budget.
    """

    source: ByteSource
    order: str
    is64: bool
    flags: int
    budget: Budget


class _Segment(NamedTuple):
    """A part of the file, and where it is mapped."""

    name: bytes
    address: int
    size: int  # in memory
    offset: int
    file_size: int


@dataclass(slots=True)
class _Commands:
    """What the load commands say; a table is its offset and its size in bytes."""

    symtab: tuple[int, int, int, int] | None = None  # symoff, nsyms, stroff, strsize
    fixups: tuple[int, int] | None = None
    bind: tuple[int, int] | None = None
    weak_bind: tuple[int, int] | None = None
    lazy_bind: tuple[int, int] | None = None
    trie: tuple[int, int] | None = None
    soname: str | None = None
    segments: list[_Segment] = field(default_factory=list)
    needed: list[str] = field(default_factory=list)  # ordinals count these
    optional: list[str] = field(default_factory=list)
    reexported: list[str] = field(default_factory=list)
    rpath: list[str] = field(default_factory=list)
    minos: list[DeploymentTarget] = field(default_factory=list)


def _read_slice(
    source: ByteSource, budget: Budget, machine: tuple[int, int] | None = None
) -> Library | None:
    """Read a slice.

    Args:
        source: Its bytes.
        budget: The file's remaining budget.
        machine: The CPU and subtype that a universal file declares for it.
    """
    magic = source.read_at(0, 4)
    if magic not in _MAGICS:
        raise LibraryError(f"a Mach-O slice with the magic {magic.hex()}")
    order, is64 = _MAGICS[magic]
    _, cpu, subtype, filetype, count, size, flags = struct.unpack(
        f"{order}7I", source.read_at(0, 28)
    )
    subtype &= _SUBTYPE_MASK
    if machine is not None and machine != (cpu, subtype):
        raise LibraryError(f"a slice for {_arch(*machine)} whose header says {_arch(cpu, subtype)}")
    if filetype not in _LIBRARY_TYPES and filetype != mach_o.MH_EXECUTE:
        return None
    if cpu in _LITTLE_ENDIAN and (order != "<" or is64 < bool(cpu & _64_BIT)):
        raise LibraryError(f"a header of the wrong kind for {_arch(cpu, subtype)}")
    if size > _MAX_COMMAND_BYTES:
        raise LibraryError(f"{size} bytes of load commands")
    start = 32 if is64 else 28
    budget.spend(steps=count)
    commands = _read_commands(source.read_at(start, size), count, order)
    if flags & _MH_NO_REEXPORTED_DYLIBS and commands.reexported:
        raise LibraryError("a header that says that no library is re-exported, but one is")
    if commands.segments:  # without any, nothing loads it, but its tables can still be read
        _check_segments(commands.segments, source.size)
        _check_tables(commands)
    bindings, exports = _read_tables(_Slice(source, order, is64, flags, budget), commands)
    return Library(
        format=Format.MACHO,
        arch=_arch(cpu, subtype),
        executable=filetype == mach_o.MH_EXECUTE,
        soname=commands.soname,
        needed=tuple(commands.needed),
        optional=tuple(commands.optional),
        reexported=tuple(commands.reexported),
        rpath=tuple(commands.rpath),
        imports=tuple(_imports(bindings, exports, commands)),
        exports=tuple(Symbol(_text(export.name), export.weak) for export in exports),
        minos=min(commands.minos, key=lambda item: item.system != "macos", default=None),
    )


def _check_segments(segments: list[_Segment], size: int) -> None:
    """Raise `LibraryError` unless segments follow each other in a file of the given size."""
    filled = sorted((item for item in segments if item.file_size), key=_offset)
    if not filled or filled[0].offset:
        raise LibraryError("a file whose header is outside of all segments")
    if filled[-1].offset + filled[-1].file_size > size:
        raise LibraryError("truncated: a segment continues past the end of the file")
    in_memory = sorted((item for item in segments if item.size), key=_address)
    if (
        any(item.file_size > item.size for item in filled)
        or any(one.offset + one.file_size > other.offset for one, other in pairwise(filled))
        or any(one.address + one.size > other.address for one, other in pairwise(in_memory))
    ):
        raise LibraryError("segments that overlap")


def _check_tables(commands: _Commands) -> None:
    """Raise `LibraryError` unless tables are in ``__LINKEDIT``: dyld reads them in memory."""
    found = [item for item in commands.segments if item.name == _LINKEDIT]
    if len(found) != 1:
        raise LibraryError(f"{len(found)} segments for the tables")
    begin, end = found[0].offset, found[0].offset + found[0].file_size
    tables = [commands.fixups, commands.bind, commands.weak_bind, commands.lazy_bind]
    tables += [commands.trie, commands.symtab and commands.symtab[2:4]]
    for table in tables:
        if table is not None and table[1] and not begin <= table[0] <= end - table[1]:
            raise LibraryError("a table outside of its segment")


def _offset(segment: _Segment) -> int:
    return segment.offset


def _address(segment: _Segment) -> int:
    return segment.address


def _imports(
    bindings: Iterable[Binding], exports: Iterable[Export], commands: _Commands
) -> Iterator[Symbol]:
    """Yield each import once, with the library that its ordinal names.

    A re-exported name is an import too. A name that the library defines itself (a weak
    definition, for which dyld searches other libraries first) is not.
    """
    own = {export.name for export in exports}
    passed_on = [export.reexport for export in exports if export.reexport is not None]
    needed, reexported = commands.needed, commands.reexported
    for name, ordinal, weak in dict.fromkeys([*bindings, *passed_on]):
        library = None
        if ordinal == SELF:
            if name in own:
                continue
            # dyld goes on to the libraries that this one re-exports.
            if not reexported:
                raise LibraryError("a symbol that the library should define itself, but does not")
            library = reexported[0] if len(reexported) == 1 else None
        elif ordinal > 0:
            if ordinal > len(needed):
                raise LibraryError(
                    f"a symbol of library {ordinal}, but only {len(needed)} are needed"
                )
            library = needed[ordinal - 1]
        elif ordinal not in _LOOKUPS:
            raise LibraryError(f"a symbol of library {ordinal}")
        elif ordinal == PROGRAM:
            library = MAIN_EXECUTABLE
        elif name in own:
            continue
        yield Symbol(_text(name), weak, None, library)


def _text(name: bytes) -> str:
    """Return a name as written in C, without the underscore that compilers prefix.

    A name without an underscore is a different one: it is marked as LLVM marks it.
    """
    if not name or name == b"_":
        raise LibraryError("a symbol without a name")
    if name.startswith(b"_"):
        return name[1:].decode("utf-8", "backslashreplace")
    mark = "" if name in _LINKERS_OWN else _NOT_IN_C
    return mark + name.decode("utf-8", "backslashreplace")


def _read_commands(data: bytes, count: int, order: str) -> _Commands:
    found = _Commands()
    position = 0
    once: set[int] = set()
    for _ in range(count):
        command, size = struct.unpack_from(f"{order}2I", data, position)
        if size < 8 or position + size > len(data):
            raise LibraryError("a load command that does not fit")
        kind = _ONE_KIND.get(command)
        if kind in once:
            raise LibraryError("two load commands of which dyld uses only one")
        once |= {kind} if kind is not None else set()
        _read_command(found, command, data[position : position + size], order)
        position += size
    if len({item.system for item in found.minos}) != len(found.minos):
        raise LibraryError("two minimum versions of one system")
    tables = {mach_o.LC_DYLD_CHAINED_FIXUPS, mach_o.LC_DYLD_EXPORTS_TRIE}
    if mach_o.LC_DYLD_INFO in once and once & tables:
        raise LibraryError("two kinds of loader tables")
    return found


def _read_command(found: _Commands, command: int, body: bytes, order: str) -> None:
    if command in _LOADED:
        _read_needed(found, command, body, order)
    elif command in _NOT_NUMBERED:
        raise LibraryError("a lazily loaded library, which dyld and linkers count differently")
    elif command == mach_o.LC_ID_DYLIB:
        found.soname = _string(body, order, 24)
    elif command == mach_o.LC_RPATH:
        found.rpath.append(_string(body, order, 12))
    elif command == mach_o.LC_BUILD_VERSION:
        platform, version = struct.unpack_from(f"{order}2I", body, 8)
        found.minos.append(_minos(_PLATFORMS.get(platform, f"platform {platform}"), version))
    elif command in _MINOS_COMMANDS:
        (version,) = struct.unpack_from(f"{order}I", body, 8)
        found.minos.append(_minos(_MINOS_COMMANDS[command], version))
    elif command & _REQUIRED and command not in _KNOWN:
        raise LibraryError(f"an unknown load command that dyld requires, {command:#x}")
    else:
        _read_table_command(found, command, body, order)


def _read_needed(found: _Commands, command: int, body: bytes, order: str) -> None:
    name = _string(body, order, 24)
    if not name:
        raise LibraryError("a library without a name")
    start, mark = struct.unpack_from(f"{order}2I", body, 8)
    flags = None
    if mark == _USE_MARK and start == _USE_SIZE:
        (flags,) = struct.unpack_from(f"{order}I", body, 24)
    found.needed.append(name)
    # A dyld that does not know the mark goes by the command: both must say that it is optional.
    if command == mach_o.LC_LOAD_WEAK_DYLIB and (flags is None or flags & _USE_WEAK):
        found.optional.append(name)
    if command == mach_o.LC_REEXPORT_DYLIB or (flags or 0) & _USE_REEXPORT:
        found.reexported.append(name)


def _read_table_command(found: _Commands, command: int, body: bytes, order: str) -> None:
    match command:
        case mach_o.LC_SEGMENT | mach_o.LC_SEGMENT_64:
            numbers = "4Q" if command == mach_o.LC_SEGMENT_64 else "4I"
            name, *places = struct.unpack_from(f"{order}16s{numbers}", body, 8)
            found.segments.append(_Segment(name.rstrip(b"\0"), *places))
        case mach_o.LC_SYMTAB:
            found.symtab = struct.unpack_from(f"{order}4I", body, 8)
        case mach_o.LC_DYLD_CHAINED_FIXUPS:
            found.fixups = struct.unpack_from(f"{order}2I", body, 8)
        case mach_o.LC_DYLD_EXPORTS_TRIE:
            found.trie = struct.unpack_from(f"{order}2I", body, 8)
        case mach_o.LC_DYLD_INFO | mach_o.LC_DYLD_INFO_ONLY:
            # dyld_info_command: rebase, bind, weak bind, lazy bind, export.
            info = struct.unpack_from(f"{order}10I", body, 8)
            found.bind, found.weak_bind, found.lazy_bind = info[2:4], info[4:6], info[6:8]
            found.trie = info[8:10]


def _minos(system: str, version: int) -> DeploymentTarget:
    """Unpack a version, which is xxxx.yy.zz in nibbles."""
    return DeploymentTarget(system, (version >> 16, version >> 8 & 0xFF))


def _string(body: bytes, order: str, fixed: int) -> str:
    """Return the string of a load command, which begins with the offset to it.

    Args:
        body: The command.
        order: The byte order.
        fixed: The size of the fields before any string.
    """
    (start,) = struct.unpack_from(f"{order}I", body, 8)
    text, end, _ = body[start:].partition(b"\0")
    if start < fixed or not end:
        raise LibraryError("a name outside of its load command")
    return text.decode("utf-8", "backslashreplace")


def _read_tables(slice_: _Slice, commands: _Commands) -> tuple[list[Binding], list[Export]]:
    """Return the bindings and the exports, reading the tables in file order."""
    bindings: list[Binding] = []
    anywhere: list[Binding] = []
    exports: list[Export] = []
    tables = [("fixups", commands.fixups), ("bind", commands.bind), ("weak", commands.weak_bind)]
    tables += [("lazy", commands.lazy_bind), ("trie", commands.trie)]
    present = [(name, *table) for name, table in tables if table is not None]
    budget = slice_.budget
    for name, offset, size in sorted(present, key=lambda item: item[1]):
        if size > _MAX_TABLE_BYTES:
            raise LibraryError(f"a table of {size} bytes")
        data = slice_.source.read_at(offset, size) if size else b""
        match name:
            case "fixups" if data:
                bindings += dict.fromkeys(chained_imports(data, slice_.order, budget))
            case "bind" | "lazy":
                kind = Bind.LAZY if name == "lazy" else Bind.EAGER
                bindings += dict.fromkeys(bound_symbols(data, kind, budget))
            case "weak":
                anywhere += dict.fromkeys(bound_symbols(data, Bind.WEAK, budget))
            case "trie":
                exports += exported_symbols(data, budget)
    if commands.symtab is not None:
        bindings, exports = _without_tables(slice_, commands, bindings, exports)
    # The weak table only replaces what is already bound, or defined.
    bound = {binding.name for binding in bindings}
    return bindings + [item for item in anywhere if item.name not in bound], exports


def _without_tables(
    slice_: _Slice, commands: _Commands, bindings: list[Binding], exports: list[Export]
) -> tuple[list[Binding], list[Export]]:
    """Use the symbol table for bindings or exports that dyld has no table of its own for."""
    binds = commands.fixups is not None or commands.bind is not None
    if commands.symtab is None or (binds and commands.trie is not None):
        return bindings, exports
    symtab = list(_read_symtab(slice_, commands.symtab))
    if not binds:
        bindings = [item for item in symtab if isinstance(item, Binding)]
    if commands.trie is None:
        exports = [item for item in symtab if isinstance(item, Export)]
    return bindings, exports


def _read_symtab(slice_: _Slice, symtab: tuple[int, int, int, int]) -> Iterator[Binding | Export]:
    """Yield the dynamic symbols of the symbol table, for files older than dyld's own tables."""
    start, count, strings_start, strings_size = symtab
    order, budget = slice_.order, slice_.budget
    layout = struct.Struct(f"{order}IBBHQ" if slice_.is64 else f"{order}IBBHI")
    if max(layout.size * count, strings_size) > _MAX_TABLE_BYTES:
        raise LibraryError(f"{count} symbols")
    budget.spend(steps=count)
    table = slice_.source.read_at(start, layout.size * count)
    strings = slice_.source.read_at(strings_start, strings_size)
    for place, kind, _, description, _ in layout.iter_unpack(table):
        undefined = kind & _N_TYPE in (_N_UNDF, _N_PBUD)
        if kind & _N_STAB or (not undefined and (not kind & _N_EXT or kind & _N_PEXT)):
            continue
        end = strings.find(b"\0", place)
        if end < 0:
            raise LibraryError(f"a name at {place}, outside the string table")
        budget.spend(symbols=1, names=end - place)
        name = strings[place:end]
        if undefined:
            # Without two levels no library is named. dyld's own tables ignore that flag.
            ordinal = description >> 8 if slice_.flags & _MH_TWOLEVEL else _DYNAMIC_LOOKUP
            ordinal = _SYMTAB_LOOKUPS.get(ordinal, ordinal)
            yield Binding(name, ordinal, bool(description & _N_WEAK_REF))
        elif kind & _N_TYPE == _N_INDR:
            raise LibraryError("a symbol table with indirect symbols")
        else:
            yield Export(name, bool(description & _N_WEAK_DEF))

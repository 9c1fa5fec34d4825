"""What dyld reads of a Mach-O slice: chained fixups, bind opcodes and the export trie.

These, and not the symbol table, decide what is bound to what: a stripped library keeps
them. Each function takes the bytes of one table and works without the rest of the file.

Reference: `mach-o/fixup-chains.h` and `mach-o/loader.h` of Apple's cctools and dyld.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit.errors import LibraryError

if TYPE_CHECKING:
    from collections.abc import Iterator

# Ordinals that name no library (BIND_SPECIAL_DYLIB_*).
SELF, MAIN_EXECUTABLE, FLAT_LOOKUP, WEAK_LOOKUP = 0, -1, -2, -3

# Bounds against hostile files. libtorch_cpu.dylib exports 36,000 names of 4 MB.
MAX_SYMBOLS = 500_000
MAX_NAME_BYTES = 128 << 20
_MAX_OPCODES = 2_000_000
_MAX_INFLATED = 64 << 20

_IMPORT_LAYOUTS = {1: "I", 2: "Ii", 3: "QQ"}  # DYLD_CHAINED_IMPORT, …_ADDEND, …_ADDEND64

_ULEB = rb"[\x80-\xff]{0,9}+[\x00-\x7f]"
_OPCODES = re.compile(
    rb"(?P<done>\x00)"
    rb"|(?P<ordinal>[\x10-\x1f])"
    rb"|\x20(?P<large_ordinal>" + _ULEB + rb")"
    rb"|(?P<special>[\x30-\x3f])"
    rb"|(?P<flags>[\x40-\x4f])(?P<name>[^\0]*+)\0"
    # The type, the addend, where to write, the size of a threaded table, its start.
    rb"|(?:[\x50-\x5f]|[\x60-\x8f]" + _ULEB + rb"|\xd0" + _ULEB + rb"|\xd1)++"
    rb"|(?P<bind>(?:[\x90-\x9f]|[\xa0-\xaf]" + _ULEB + rb"|[\xb0-\xbf]"
    rb"|[\xc0-\xcf]" + _ULEB + _ULEB + rb")++)",
    re.DOTALL,
)
_WEAK_IMPORT = 0x1

_REEXPORT, _WEAK_DEFINITION = 0x08, 0x04


class Binding(NamedTuple):
    """A name that dyld looks up.

    Attributes:
        name: As the file spells it, with its underscore.
        ordinal: The number of the library among the load commands, from 1, or one of
            the special ordinals.
        weak: Whether it may be missing.
    """

    name: bytes
    ordinal: int
    weak: bool


class Export(NamedTuple):
    """A name that dyld finds.

    Attributes:
        name: As the file spells it, with its underscore.
        weak: Whether another definition may replace it.
        reexport: For a name that another library defines, what it is bound to there.
    """

    name: bytes
    weak: bool
    reexport: Binding | None = None


def chained_imports(data: bytes, order: str) -> Iterator[Binding]:
    """Yield the imports of an `LC_DYLD_CHAINED_FIXUPS` table.

    Args:
        data: The table.
        order: The byte order, as `struct` writes it.

    Raises:
        LibraryError: The table contradicts itself.
        struct.error: It is cut short.
    """
    _, _, start, names_start, count, kind, compression = struct.unpack_from(f"{order}7I", data)
    layout = _IMPORT_LAYOUTS.get(kind)
    if layout is None:
        raise LibraryError(f"chained imports of an unknown kind, {kind}")
    size = struct.calcsize(f"{order}{layout}")
    if count > MAX_SYMBOLS:
        raise LibraryError(f"{count} chained imports")
    if start + size * count > len(data):
        raise LibraryError(f"truncated: {count} chained imports in {len(data)} bytes")
    names = data[names_start:]
    if compression:
        names = _inflate(names)
    # Widths of the ordinal and of what lies between it and the name (dyld_chained_import).
    bits, name_bits = (16, 32) if kind == 3 else (8, 9)
    budget = MAX_NAME_BYTES
    for packed, *_ in struct.iter_unpack(f"{order}{layout}", data[start : start + size * count]):
        ordinal = packed & ((1 << bits) - 1)
        if ordinal > (1 << bits) - 16:  # the special ones are negative
            ordinal -= 1 << bits
        place = packed >> name_bits
        end = names.find(b"\0", place)
        if end < 0:
            raise LibraryError(f"a name at {place}, outside the chained fixups")
        budget -= end - place
        if budget < 0:
            raise LibraryError("more bytes of symbol names than a library has")
        yield Binding(names[place:end], ordinal, bool(packed >> bits & 1))


def _inflate(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, _MAX_INFLATED)
    except zlib.error as error:
        raise LibraryError(f"names of chained fixups can't be inflated: {error}") from error


def bound_symbols(data: bytes, *, lazy: bool = False) -> Iterator[Binding]:
    """Yield what the opcodes of a bind table, as `LC_DYLD_INFO` has it, bind.

    A name that is bound in several places is yielded several times.

    Args:
        data: The table.
        lazy: Whether it is the lazy one, where the end of each entry is marked.

    Raises:
        LibraryError: It has what is no opcode.
    """
    name, weak, ordinal = b"", False, 0
    for match in _opcodes(data):
        match match.lastgroup:
            case "bind":
                yield Binding(name, ordinal, weak)
            case "name":
                name, weak = match["name"], bool(match["flags"][0] & _WEAK_IMPORT)
            case "ordinal":
                ordinal = match["ordinal"][0] & 0xF
            case "large_ordinal":
                ordinal, _ = _read_uleb(match["large_ordinal"], 0)
            case "special":
                low = match["special"][0] & 0xF
                ordinal = low - 16 if low else 0
            case "done" if not lazy:
                return


def _opcodes(data: bytes) -> Iterator[re.Match[bytes]]:
    position = 0
    for number, match in enumerate(_OPCODES.finditer(data)):
        if match.start() != position:
            break
        if number > _MAX_OPCODES:
            raise LibraryError(f"a bind table of more than {_MAX_OPCODES} opcodes")
        yield match
        position = match.end()
    if position != len(data):
        raise LibraryError(f"byte {position} of a bind table is no opcode")


def exported_symbols(trie: bytes) -> Iterator[Export]:
    """Yield the names of an export trie.

    Raises:
        LibraryError: It is cut short, or is no tree.
    """
    pending = [(0, b"")] if trie else []
    seen = {0}
    spelled = 0
    try:
        while pending:
            place, name = pending.pop()
            size, place = _read_uleb(trie, place)
            if size:
                yield _export(trie, place, name)
            place += size
            children = trie[place]
            place += 1
            for _ in range(children):
                end = trie.index(b"\0", place)
                longer = name + trie[place:end]
                child, place = _read_uleb(trie, end + 1)
                spelled += len(longer)
                if child in seen or spelled > MAX_NAME_BYTES or len(seen) > MAX_SYMBOLS:
                    raise LibraryError("an export trie that is no tree")
                seen.add(child)
                pending.append((child, longer))
    except (IndexError, ValueError) as error:
        raise LibraryError("truncated: the export trie goes on outside its bytes") from error


def _export(trie: bytes, place: int, name: bytes) -> Export:
    flags, place = _read_uleb(trie, place)
    weak = bool(flags & _WEAK_DEFINITION)
    if not flags & _REEXPORT:
        return Export(name, weak)
    ordinal, place = _read_uleb(trie, place)
    there = trie[place : trie.index(b"\0", place)]
    return Export(name, weak, Binding(there or name, ordinal, weak=False))


def _read_uleb(data: bytes, place: int) -> tuple[int, int]:
    """Return a number in LEB128 and the place after it; IndexError outside the data."""
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
        if shift > 63:
            raise LibraryError("a number of more than 64 bits")

"""The tables that dyld reads from a Mach-O slice: chained fixups, bind opcodes, the export trie.

These, not the symbol table, decide what is bound to what, so a stripped library keeps
them. Each function takes the bytes of one table and works without the rest of the file.

Reference: `mach-o/fixup-chains.h` and `mach-o/loader.h` of Apple's cctools and dyld.
"""

from __future__ import annotations

import re
import struct
import zlib
from enum import Enum, auto
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit.budget import Budget
from torch_abi_audit.errors import LibraryError

if TYPE_CHECKING:
    from collections.abc import Iterator

# Ordinals that name no library (BIND_SPECIAL_DYLIB_*).
SELF, PROGRAM, FLAT_LOOKUP, WEAK_LOOKUP = 0, -1, -2, -3

_MAX_INFLATED = 32 << 20  # a bound against hostile files

_IMPORT_LAYOUTS = {1: "I", 2: "Ii", 3: "QQ"}  # DYLD_CHAINED_IMPORT, …_ADDEND, …_ADDEND64

_ULEB = rb"[\x80-\xff]{0,9}+[\x00-\x7f]"


def _opcodes_of(others: bytes, binds: bytes) -> re.Pattern[bytes]:
    """Return a pattern for an opcode: one of these two kinds, or one that says what is bound."""
    return re.compile(
        rb"(?P<done>\x00)"
        rb"|(?P<ordinal>[\x10-\x1f])"
        rb"|\x20(?P<large_ordinal>" + _ULEB + rb")"
        rb"|(?P<special>[\x30-\x3f])"
        rb"|(?P<flags>[\x40-\x4f])(?P<name>[^\0]*+)\0"
        rb"|(?:" + others + rb")++"
        rb"|(?P<bind>(?:" + binds + rb")++)"
        rb"|(?P<wrong>.)",  # otherwise every byte would start a search for the next opcode
        re.DOTALL,
    )


_OPCODES = _opcodes_of(
    # The type, the addend, where to write, the size of a threaded table, its start.
    rb"[\x50-\x5f]|[\x60-\x8f]" + _ULEB + rb"|\xd0" + _ULEB + rb"|\xd1",
    rb"[\x90-\x9f]|[\xa0-\xaf]" + _ULEB + rb"|[\xb0-\xbf]|[\xc0-\xcf]" + _ULEB + _ULEB,
)
# At any other opcode dyld gives up when the name is first called (`lazyBindingInfo`), but
# other readers go on.
_LAZY_OPCODES = _opcodes_of(rb"[\x50-\x5f]|[\x70-\x7f]" + _ULEB, rb"[\x90-\x9f]")
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


def chained_imports(data: bytes, order: str, budget: Budget | None = None) -> Iterator[Binding]:
    """Yield the imports of an `LC_DYLD_CHAINED_FIXUPS` table.

    dyld looks all of them up, whether a chain leads to them or not.

    Args:
        data: The table.
        order: The byte order, as `struct` writes it.
        budget: The file's remaining budget.

    Raises:
        LibraryError: The table contradicts itself.
        struct.error: It is cut short.
    """
    budget = budget or Budget()
    version, _, start, names_start, count, kind, compression = struct.unpack_from(
        f"{order}7I", data
    )
    layout = _IMPORT_LAYOUTS.get(kind)
    if layout is None or version or compression > 1:
        raise LibraryError(
            f"unknown chained imports: kind {kind}, version {version}, names of kind {compression}"
        )
    size = struct.calcsize(f"{order}{layout}")
    budget.spend(symbols=count)
    if start + size * count > len(data):
        raise LibraryError(f"truncated: {count} chained imports in {len(data)} bytes")
    names = data[names_start:]
    if compression:
        names = _inflate(names)
    # Widths of the ordinal and of what lies between it and the name (dyld_chained_import).
    bits, name_bits = (16, 32) if kind == 3 else (8, 9)
    for packed, *_ in struct.iter_unpack(f"{order}{layout}", data[start : start + size * count]):
        ordinal = packed & ((1 << bits) - 1)
        if ordinal > (1 << bits) - 16:  # the special ones are negative
            ordinal -= 1 << bits
        place = packed >> name_bits
        end = names.find(b"\0", place)
        if end < 0:
            raise LibraryError(f"a name at {place}, outside the chained fixups")
        budget.spend(names=end - place)
        yield Binding(names[place:end], ordinal, bool(packed >> bits & 1))


def _inflate(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, _MAX_INFLATED)
    except zlib.error as error:
        raise LibraryError(f"names of chained fixups can't be inflated: {error}") from error


class Bind(Enum):
    """The tables of `LC_DYLD_INFO` that bind."""

    EAGER = auto()
    LAZY = auto()
    WEAK = auto()


def bound_symbols(
    data: bytes, table: Bind = Bind.EAGER, budget: Budget | None = None
) -> Iterator[Binding]:
    """Yield what the opcodes of an `LC_DYLD_INFO` bind table bind.

    A name that is bound in several places is yielded several times. In the lazy table the
    end of each entry is marked, and dyld may begin at any entry. The weak table replaces
    what is already bound with the first definition that any library has; if none has one,
    nothing happens.

    Args:
        data: The table.
        table: Which table it is.
        budget: The file's remaining budget.

    Raises:
        LibraryError: A byte is not an opcode, or a binding has no name or no library.
    """
    budget = budget or Budget()
    weak_table = table is Bind.WEAK
    name, weak = b"", weak_table
    initial = ordinal = WEAK_LOOKUP if weak_table else None
    for match in _opcodes(data, budget, _LAZY_OPCODES if table is Bind.LAZY else _OPCODES):
        match match.lastgroup:
            case "bind":
                if ordinal is None or not name:
                    raise LibraryError("a bind table that binds a name without a library")
                yield Binding(name, ordinal, weak)
            case "name":
                budget.spend(symbols=1, names=len(match["name"]))
                name, weak = match["name"], weak_table or bool(match["flags"][0] & _WEAK_IMPORT)
            case "ordinal" if not weak_table:
                ordinal = match["ordinal"][0] & 0xF
            case "large_ordinal" if not weak_table:
                ordinal, _ = _read_uleb(match["large_ordinal"], 0)
            case "special" if not weak_table:
                low = match["special"][0] & 0xF
                ordinal = low - 16 if low else 0
            case "done" if table is Bind.LAZY:
                name, weak, ordinal = b"", False, initial
            case "done":
                return


def _opcodes(data: bytes, budget: Budget, pattern: re.Pattern[bytes]) -> Iterator[re.Match[bytes]]:
    for match in pattern.finditer(data):
        if match.lastgroup == "wrong":
            raise LibraryError(f"byte {match.start()} of a bind table is not an opcode")
        budget.spend(steps=1)
        yield match


def exported_symbols(trie: bytes, budget: Budget | None = None) -> Iterator[Export]:
    """Yield the names of an export trie.

    dyld walks down from the root, along the first edge that matches, and never backtracks,
    so no edge may be a prefix of another edge of the same node. Some linkers put more of a
    node's edges into another node, behind an empty edge, which then comes last.

    Args:
        trie: Its bytes.
        budget: The file's remaining budget.

    Raises:
        LibraryError: It is cut short, is not a tree, or does not lead to all of its names.
    """
    budget = budget or Budget()
    # A node's place, its name, and the edges that dyld tries before those of the node.
    pending: list[tuple[int, bytes, list[bytes]]] = [(0, b"", [])] if trie else []
    seen = {0}
    try:
        while pending:
            place, name, before = pending.pop()
            size, place = _read_uleb(trie, place)
            end = place + size
            if size:
                budget.spend(symbols=1)
                yield _export(trie, place, end, name)
            children = trie[end]
            place = end + 1
            budget.spend(steps=children + len(before))
            edges = list(before)
            for left in reversed(range(children)):
                end = trie.index(b"\0", place)
                edge = trie[place:end]
                child, place = _read_uleb(trie, end + 1)
                budget.spend(names=len(name) + len(edge))
                if child in seen:
                    raise LibraryError("an export trie that is not a tree")
                seen.add(child)
                pending.append((child, name + edge, [] if edge else edges))
                if edge or left:
                    edges.append(edge)
            edges.sort()
            if any(longer.startswith(edge) for edge, longer in pairwise(edges)):
                raise LibraryError("an export trie in which one name hides another")
    except (IndexError, ValueError) as error:
        raise LibraryError("truncated: the export trie continues past its end") from error


def _export(trie: bytes, place: int, end: int, name: bytes) -> Export:
    """Return the export that a node between two places of a trie describes."""
    flags, place = _read_uleb(trie, place)
    weak = bool(flags & _WEAK_DEFINITION)
    reexport = None
    if flags & _REEXPORT:
        ordinal, place = _read_uleb(trie, place)
        stop = trie.index(b"\0", place)
        if not ordinal:
            raise LibraryError("a name re-exported from library 0")
        reexport = Binding(trie[place:stop] or name, ordinal, weak=False)
        place = stop + 1
    if place > end:
        raise LibraryError("an export trie whose nodes overlap")
    return Export(name, weak, reexport)


def _read_uleb(data: bytes, place: int) -> tuple[int, int]:
    """Return a LEB128 number and the place after it; raises IndexError outside the data."""
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

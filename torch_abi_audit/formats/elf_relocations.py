"""ELF relocations: which symbols the loader looks up, and what it writes where.

The loader looks up every symbol that a relocation names, even one that no hash table lists, and
it does so while it writes: a relocation that writes into the symbol table or the string table
changes what is looked up next. No linker makes such a relocation.

References: System V gABI chapter 4; glibc's `elf/do-rel.h` and `elf/dynamic-link.h`.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit.errors import LibraryError
from torch_abi_audit.formats.elf_image import EM_386, EM_MIPS, EM_X86_64, Range, Tag

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch_abi_audit.budget import Budget
    from torch_abi_audit.formats.elf_image import Dynamic, Image

_MAX_BYTES = 256 << 20
_MAX_RELATIVE_BYTES = 16 << 20  # of DT_RELR, where 8 bytes stand for 63 relocations
_CHUNK = 1 << 20
_WIDEST = 16  # the most bytes that a relocation writes, except for copies
# By machine, the types of relocations that write more than a word: a copy of a symbol's
# bytes, and a descriptor for thread-local data.
_COPY = {EM_386: 5, EM_X86_64: 5, 183: 1024, 40: 20, 21: 19, 20: 19, 22: 9, 243: 4, 258: 4}
_COPY_MIPS = 126
_SIZES = {EM_386: frozenset({38}), EM_X86_64: frozenset({32, 33})}
_DESCRIPTOR = {EM_386: 41, EM_X86_64: 36, 183: 1031, 40: 13, 22: 0, 243: 12, 258: 14}


class _Table(NamedTuple):
    address: int
    size: int
    addends: bool


def _tables(image: Image, dynamic: Dynamic) -> Iterator[_Table]:
    """Yield the relocation tables.

    Raises:
        LibraryError: The dynamic section describes an impossible table.
    """
    kind = dynamic.get(Tag.DT_PLTREL)
    if kind not in (None, Tag.DT_REL, Tag.DT_RELA):
        raise LibraryError(f"relocations of an unknown kind ({kind})")
    for address, size, entry, count, addends in (
        (Tag.DT_RELA, Tag.DT_RELASZ, Tag.DT_RELAENT, Tag.DT_RELACOUNT, True),
        (Tag.DT_REL, Tag.DT_RELSZ, Tag.DT_RELENT, Tag.DT_RELCOUNT, False),
        (Tag.DT_JMPREL, Tag.DT_PLTRELSZ, None, None, kind == Tag.DT_RELA),
    ):
        start, length = dynamic.get(address), dynamic.get(size)
        if start is None or not (start or length):
            continue
        whole = (3 if addends else 2) * image.word_size
        if not start or length is None or (address is Tag.DT_JMPREL and kind is None):
            raise LibraryError("relocations without an address, a size or a kind")
        if (entry and dynamic.get(entry) not in (None, whole)) or length % whole:
            raise LibraryError("relocations of a wrong entry size")
        if count and (dynamic.get(count) or 0) > length // whole:
            raise LibraryError("more relative relocations than relocations")
        if length > _MAX_BYTES:
            raise LibraryError(f"{length} bytes of relocations")
        if length:
            yield _Table(start, length, addends)


class Relocations:
    """The relocations of a library.

    Attributes:
        symbols: The indices of the symbols that the relocations name.
        sized: The indices of those whose size they use: without a definition the loader
            crashes, whether the symbol is weak or not.
    """

    def __init__(self, image: Image, dynamic: Dynamic, budget: Budget) -> None:
        self._image = image
        self._budget = budget
        self._dynamic = dynamic
        self._tables = list(_tables(image, dynamic))
        self.symbols: set[int] = set()
        self.sized: set[int] = set()
        self._copy = _COPY.get(image.machine, _COPY_MIPS if image.machine == EM_MIPS else -1)
        self._sizes = _SIZES.get(image.machine, frozenset())

    def ranges(self) -> Iterator[Range]:
        """Yield the addresses of the relocations themselves."""
        for table in self._tables:
            yield Range(table.address, table.address + table.size)

    def read(self, tables: Iterable[Range]) -> None:
        """Read which symbols the relocations name.

        Args:
            tables: The tables that the loader reads while it relocates.

        Raises:
            LibraryError: A relocation writes into one of the tables, or outside of the image.
        """
        ranges = sorted(table for table in tables if table.start < table.end)
        for table in self._tables:
            words = 3 if table.addends else 2
            entry = words * self._image.word_size
            step = _CHUNK // entry * entry
            for start in range(0, table.size, step):
                self._budget.check_time()
                data = self._image.read(table.address + start, min(step, table.size - start))
                self._chunk(data, ranges, words)
        self._relative(ranges)

    def _chunk(self, data: bytes, ranges: list[Range], words: int) -> None:
        image = self._image
        offsets = image.numbers(data, image.word)[::words]
        if image.is64:
            halves = image.numbers(data, "I")
            step = 2 * words
            # In r_info the symbol is above the type; on MIPS the symbol comes first.
            first, second = halves[2::step], halves[3::step]
            swapped = image.order == "<" and image.machine != EM_MIPS
            symbols, kinds = (second, first) if swapped else (first, second)
        else:
            infos = image.numbers(data, "I")[1::words]
            symbols = array("I", [info >> 8 for info in infos])
            kinds = array("I", [info & 0xFF for info in infos])
        self.symbols.update(symbols)
        present = set(kinds)
        if not present.isdisjoint(self._sizes):
            pairs = zip(symbols, kinds, strict=True)
            self.sized.update(symbol for symbol, kind in pairs if kind in self._sizes)
        suspects = self._suspects(offsets, ranges)
        if suspects or self._copy in present:
            for offset, symbol, kind in zip(offsets, symbols, kinds, strict=True):
                if offset in suspects or kind == self._copy:
                    self._check(offset, self._width(symbol, kind), ranges)

    def _suspects(self, offsets: Iterable[int], ranges: list[Range]) -> set[int]:
        """Return the offsets where a write may reach into a table, or outside of the image."""
        ordered = sorted(offsets)
        end = bisect_left(ordered, self._image.end - _WIDEST)
        suspects = {*ordered[: bisect_left(ordered, self._image.start)], *ordered[end:]}
        for table in ranges:
            first = bisect_left(ordered, table.start - _WIDEST + 1)
            suspects.update(ordered[first : bisect_left(ordered, table.end, first)])
        return suspects

    def _width(self, symbol: int, kind: int) -> int:
        """Return how many bytes a relocation writes at most."""
        if kind == self._copy:
            table = self._dynamic.get(Tag.DT_SYMTAB)
            if table is None:
                raise LibraryError("relocations of symbols without a table of symbols")
            if self._image.is64:
                place, layout = table + 24 * symbol + 16, f"{self._image.order}Q"
            else:
                place, layout = table + 16 * symbol + 8, f"{self._image.order}I"
            data = self._image.read(place, struct.calcsize(layout))
            return int(struct.unpack(layout, data)[0])
        wide = kind == _DESCRIPTOR.get(self._image.machine)
        return (2 if wide else 1) * self._image.word_size

    def _check(self, offset: int, width: int, ranges: list[Range]) -> None:
        self._budget.spend(steps=1)
        if not width:
            return
        end = offset + width
        if offset < self._image.start or end > self._image.end:
            raise LibraryError("a relocation that writes outside of the library")
        if any(offset < table.end and end > table.start for table in ranges):
            raise LibraryError("a relocation that writes into the loader's tables")

    def _relative(self, ranges: list[Range]) -> None:
        """Check DT_RELR: addresses, each followed by bitmaps for the addresses after it."""
        address, size = self._dynamic.get(Tag.DT_RELR), self._dynamic.get(Tag.DT_RELRSZ)
        if address is None or not size:
            return
        word = self._image.word_size
        if size % word or size > _MAX_RELATIVE_BYTES:
            raise LibraryError(f"{size} bytes of relative relocations")
        bits = 8 * word - 1
        where = 0
        step = _CHUNK // word * word
        for start in range(0, size, step):
            self._budget.check_time()
            data = self._image.read(address + start, min(step, size - start))
            self._budget.spend(steps=len(data) // word)
            for entry in self._image.numbers(data, self._image.word):
                if not entry & 1:
                    self._check(entry, word, ranges)
                    where = entry + word
                    continue
                end = where + ((entry >> 1).bit_length()) * word
                if end > self._image.end or any(
                    where < table.end and end > table.start for table in ranges
                ):
                    self._budget.spend(steps=bits)
                    for bit in range(bits):
                        if entry >> 1 + bit & 1:
                            self._check(where + bit * word, word, ranges)
                where += bits * word

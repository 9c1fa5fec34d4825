"""ELF dynamic symbols: what a library imports from others, and what it exports to them.

An import is a symbol that the loader looks up but does not find in the library itself: it is
undefined, or a relocation names it and the loader does not accept its definition as one. An
export is a symbol that the loader finds there by name.

References: System V gABI chapter 4; glibc's `check_match` in `elf/dl-lookup.c` and
`resolve_map` in `elf/dl-reloc.c`.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit.errors import LibraryError
from torch_abi_audit.formats.elf_hash import read_hash
from torch_abi_audit.formats.elf_image import EM_MIPS, MAX_NAME, Range, Tag
from torch_abi_audit.formats.elf_relocations import Relocations
from torch_abi_audit.formats.elf_versions import HIDDEN
from torch_abi_audit.model import Symbol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from torch_abi_audit.budget import Budget
    from torch_abi_audit.formats.elf_hash import HashTable
    from torch_abi_audit.formats.elf_image import Dynamic, Image, Strings
    from torch_abi_audit.formats.elf_versions import Versions

_STB_WEAK = 2
_FIRST_GLOBAL = 1 << 4  # the lowest st_info with a binding that is not STB_LOCAL
_UNSEEN = frozenset({1, 2})  # STV_INTERNAL, STV_HIDDEN
_STT_TLS = 6
# Values of st_info that can be a definition. Bindings: STB_GLOBAL, STB_WEAK, STB_GNU_UNIQUE. Types:
# STT_NOTYPE, STT_OBJECT, STT_FUNC, STT_COMMON, STT_TLS, STT_GNU_IFUNC.
_DEFINING = frozenset(
    binding << 4 | kind for binding in (1, 2, 10) for kind in (0, 1, 2, 5, _STT_TLS, 10)
)
_SPENT_AT_ONCE = 1 << 16
_VERSION = 0xFFFF & ~HIDDEN
_Row = tuple[int, int, int, int, int, int]  # name, info, other, section, value, size


class Symbols(NamedTuple):
    """The dynamic symbols that matter to other libraries, in the order of their table."""

    imports: tuple[Symbol, ...] = ()
    exports: tuple[Symbol, ...] = ()


def read_symbols(image: Image, dynamic: Dynamic, strings: Strings, versions: Versions) -> Symbols:
    """Read the dynamic symbols.

    Raises:
        LibraryError: The tables contradict each other, or change while they are used.
    """
    table = _Table(image, dynamic)
    hashed, count = read_hash(image, dynamic, strings.budget)
    if image.machine == EM_MIPS:
        count = max(count, dynamic.get(Tag.DT_MIPS_SYMTABNO) or 0)
    relocations = Relocations(image, dynamic, strings.budget)
    others = [
        Range(strings.address, strings.address + len(strings.data)),
        Range(hashed.address, hashed.address + hashed.size),
        *versions.ranges,
        *relocations.ranges(),
    ]
    own = Range(dynamic.address, dynamic.address + dynamic.size)
    relocations.read([own, *others, *table.ranges(count)])
    # A GNU hash table covers defined symbols only, and any hash table can lie. The loader
    # looks up the symbols that relocations name.
    relocated = max(relocations.symbols, default=-1) + 1
    if relocated > count:
        count = relocated
        relocations.read(table.ranges(count))
    # The loader writes addresses into the dynamic section.
    if any(start < own.end and end > own.start for start, end in [*others, *table.ranges(count)]):
        raise LibraryError("a table that overlaps the dynamic section")
    if not count:
        return Symbols()
    rows, version_indices = table.read(count, strings.budget)
    reader = _Reader(strings, versions, hashed, relocations)
    return reader.read(rows, version_indices)


class _Table:
    """The locations of the symbols and of their version indices."""

    def __init__(self, image: Image, dynamic: Dynamic) -> None:
        # Elf64_Sym: name, info, other, shndx, value, size; Elf32_Sym: name, value, size, info, …
        self._layout = struct.Struct(
            f"{image.order}IBBHQQ" if image.is64 else f"{image.order}IIIBBH"
        )
        size = dynamic.get(Tag.DT_SYMENT)
        if size not in (None, self._layout.size):
            raise LibraryError(f"dynamic symbols of {size} bytes")
        self._image = image
        self._address = dynamic.get(Tag.DT_SYMTAB)
        self._versions = dynamic.get(Tag.DT_VERSYM)

    def ranges(self, count: int) -> Iterator[Range]:
        """Yield the addresses of the tables for a number of symbols."""
        if self._address is not None:
            yield Range(self._address, self._address + count * self._layout.size)
        if self._versions is not None:
            yield Range(self._versions, self._versions + count * 2)

    def read(self, count: int, budget: Budget) -> tuple[Iterable[_Row], Sequence[int]]:
        """Read a number of symbols, and the version index of each."""
        if self._address is None:
            raise LibraryError("a dynamic section without a table of symbols")
        self._image.require(self._address, count * self._layout.size)
        budget.spend(symbols=count)
        rows: Iterable[_Row] = self._layout.iter_unpack(
            self._image.read(self._address, count * self._layout.size)
        )
        if not self._image.is64:
            rows = (
                (name, info, other, section, value, size)
                for name, value, size, info, other, section in rows
            )
        if self._versions is None:
            return rows, (0,) * count
        return rows, self._image.numbers(self._image.read(self._versions, 2 * count), "H")


class _Reader:
    """Decodes symbols."""

    def __init__(
        self, strings: Strings, versions: Versions, hashed: HashTable, relocations: Relocations
    ) -> None:
        self._strings = strings
        self._versions = versions.by_index
        self._hashed = hashed
        self._relocations = relocations
        self._versioned = versions.defines
        self._shadows: set[str] = set()

    def read(  # noqa: C901 -- a call for each part would double the time it takes
        self, rows: Iterable[_Row], version_indices: Sequence[int]
    ) -> Symbols:
        """Decode symbols into imports and exports: about 100,000 of them in a large wheel."""
        imports: list[Symbol] = []
        exports: list[Symbol] = []
        strings, relocated, finds = self._strings, self._relocations.symbols, self._hashed.finds
        holds = self._hashed.holds
        data, find, versions = strings.data, strings.data.find, self._versions
        new = tuple.__new__  # at half the cost of `Symbol(…)`
        spent = 0
        for index, ((offset, info, other, section, value, _), version_index) in enumerate(
            zip(rows, version_indices, strict=True)
        ):
            # The loader looks up a local symbol, if at all, only when it binds a call lazily.
            # Up to glibc 2.27 it looks up hidden ones.
            if info < _FIRST_GLOBAL and (section or index not in relocated):
                if section and holds(index):
                    self._shadow(offset)
                continue
            end = find(b"\0", offset, offset + MAX_NAME)
            if end <= offset:
                strings.end_of(offset)  # raises, unless the name is empty
                if info >= _FIRST_GLOBAL and index in relocated:
                    raise LibraryError("a relocation against a symbol without a name")
                continue
            raw = data[offset:end]
            spent += end - offset
            if spent >= _SPENT_AT_ONCE:
                strings.budget.spend(names=spent)
                spent = 0
            version = versions.get(version_index & _VERSION)
            if version is None:
                raise LibraryError(f"a symbol with the unknown version index {version_index}")
            name, weak = str(raw, "utf-8", "backslashreplace"), info >> 4 == _STB_WEAK
            if (
                section
                and info in _DEFINING
                and other & 3 not in _UNSEEN
                and (value or info & 15 == _STT_TLS)
                and finds(index, raw)
            ):
                hidden = version_index & HIDDEN != 0
                exports.append(new(Symbol, (name, weak, version.name, None, hidden)))
                continue
            if section and holds(index):
                self._shadow(offset)
            if not section or index in relocated:
                weak = weak and index not in self._relocations.sized
                fields = (name, weak, version.name, version.library, False)
                imports.append(new(Symbol, fields))
        strings.budget.spend(names=spent)
        self._check_shadows(exports)
        return Symbols(tuple(imports), tuple(exports))

    def _shadow(self, offset: int) -> None:
        """Remember a name that the loader may find here, but not accept as a definition."""
        self._shadows.add(self._strings.text(offset))

    def _check_shadows(self, exports: Iterable[Symbol]) -> None:
        """Reject symbols of the same name if the loader accepts only one of them, or none.

        It stops searching a library when it finds a hidden symbol, or two versions that are
        both the default.
        """
        seen: set[str] = set()
        if not self._shadows and not self._versioned:
            return
        for symbol in exports:
            default = symbol.version is not None and not symbol.hidden
            if symbol.name in self._shadows or (default and symbol.name in seen):
                raise LibraryError(f"two symbols {symbol.name}, of which one hides the other")
            if default:
                seen.add(symbol.name)

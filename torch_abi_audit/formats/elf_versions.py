"""ELF symbol versions: which version each index in the version table stands for.

References: the symbol versioning section of the Linux Standard Base; glibc's
`elf/dl-version.c`, which follows the chains to their end and ignores the counts next to them.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit.errors import LibraryError
from torch_abi_audit.formats.elf_hash import sysv_hash
from torch_abi_audit.formats.elf_image import Range, Tag, decode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch_abi_audit.formats.elf_image import Dynamic, Image, Strings

_MAX_VERSIONS = 1 << 16
_MAX_BYTES = 1 << 20
HIDDEN = 0x8000
_BASE = 1  # VER_FLG_BASE: the entry is the library's own name, not a version


class Version(NamedTuple):
    """A version and, for a needed one, the library that should define it."""

    name: str | None
    library: str | None


class Versions:
    """What the version tables say.

    Attributes:
        by_index: The version for each index in the version table.
        defines: Whether the library has versions of its own.
        needs: For each needed library, the versions required of it.
        ranges: The addresses of the tables.
    """

    def __init__(self, image: Image, dynamic: Dynamic, strings: Strings) -> None:
        self.by_index = {0: Version(None, None), 1: Version(None, None)}
        self.ranges: list[Range] = []
        self._image = image
        self._strings = strings
        self._left = _MAX_VERSIONS
        self._define(dynamic)
        self.defines = len(self.by_index) > 2
        needs = self._need(dynamic)
        self.needs = tuple((library, tuple(names)) for library, names in needs.items())

    def _define(self, dynamic: Dynamic) -> None:
        # Elf_Verdef: version, flags, ndx, cnt, hash, aux, next; Elf_Verdaux: name, next.
        layout = f"{self._image.order}4H3I"
        table = self._table(dynamic, Tag.DT_VERDEF, Tag.DT_VERDEFNUM)
        if table is None:
            return
        data, count = table
        for place, fields in self._chain(data, 0, count, layout):
            format_, flags, index, _, hash_, aux, _ = fields
            _check_format(format_)
            (offset,) = struct.unpack_from(f"{self._image.order}I", data, place + aux)
            self._cover(place + aux + 8)
            if flags & _BASE:
                # The library's own name is not a version; its index is that of unversioned symbols.
                if index != 1:
                    raise LibraryError(f"a library's own name with the version index {index}")
                continue
            self._add(index, offset, hash_, None)

    def _need(self, dynamic: Dynamic) -> dict[str, list[str]]:
        # Elf_Verneed: version, cnt, file, aux, next; Elf_Vernaux: hash, flags, other, name, next.
        order = self._image.order
        needs: dict[str, list[str]] = {}
        table = self._table(dynamic, Tag.DT_VERNEED, Tag.DT_VERNEEDNUM)
        if table is None:
            return needs
        data, count = table
        for place, fields in self._chain(data, 0, count, f"{order}2H3I"):
            format_, number, file, aux, _ = fields
            _check_format(format_)
            library = self._strings.text(file)
            names = needs.setdefault(library, [])
            for _, (hash_, _, index, offset, _) in self._chain(
                data, place + aux, number, f"{order}I2H2I"
            ):
                if index & HIDDEN:
                    raise LibraryError("a needed version that is hidden")
                names.append(self._add(index, offset, hash_, library))
        return needs

    def _table(self, dynamic: Dynamic, tag: Tag, count: Tag) -> tuple[bytes, int] | None:
        address, number = dynamic.get(tag), dynamic.get(count)
        if address is None:
            return None
        if number is None:
            raise LibraryError("symbol versions without a count")
        data = self._image.read_up_to(address, _MAX_BYTES)
        self._address = address
        self.ranges.append(Range(address, address))
        return data, number

    def _cover(self, end: int) -> None:
        """Note how far the table being read extends."""
        start, known = self.ranges[-1]
        self.ranges[-1] = Range(start, max(known, self._address + end))

    def _chain(
        self, data: bytes, place: int, count: int, layout: str
    ) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Unpack a chain of records, each ending with the distance to the next.

        Distances only lead forward, so the chain ends no later than the data does.
        """
        size = struct.calcsize(layout)
        for number in range(count):
            self._left -= 1
            if self._left < 0:
                raise LibraryError(f"more than {_MAX_VERSIONS} symbol versions")
            fields = struct.unpack_from(layout, data, place)
            self._cover(place + size)
            yield place, fields
            if not fields[-1] or number + 1 == count:
                if fields[-1] or number + 1 != count:
                    raise LibraryError("more or fewer symbol versions than declared")
                return
            place += fields[-1]
        raise LibraryError("malformed symbol versions")

    def _add(self, index: int, offset: int, hash_: int, library: str | None) -> str:
        strings = self._strings
        raw = strings.data[offset : strings.end_of(offset)]
        strings.budget.spend(names=len(raw))
        if hash_ != sysv_hash(raw):
            raise LibraryError("a symbol version with a wrong hash")
        index &= ~HIDDEN
        if index in self.by_index:
            raise LibraryError(f"two symbol versions with the index {index}")
        name = decode(raw)
        self.by_index[index] = Version(name, library)
        return name


def _check_format(number: int) -> None:
    if number != 1:
        raise LibraryError(f"symbol versions of the format {number}")

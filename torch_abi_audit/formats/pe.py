"""PE: bytes to facts, from the import, delay-import and export directories.

Library names are in lower case: Windows ignores their case.

No existing parser is suitable: `pefile`, the well-maintained one, needs the whole file in
memory and makes an object of each export (the tests check this reader against it).

A file is rejected if Windows, or another program, would read one of its headers in its own
way: linkers write no such headers.

Reference: Microsoft's PE format specification.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit.budget import Budget
from torch_abi_audit.errors import LibraryError
from torch_abi_audit.formats.source import check_range
from torch_abi_audit.model import Format, Library, Symbol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from torch_abi_audit.formats.source import ByteSource

_MACHINES = {0x8664: "x86_64", 0xAA64: "arm64", 0x014C: "i686", 0x01C4: "arm"}
_64_BIT = frozenset({0x8664, 0xAA64})
# Indices of the sixteen data directories.
_EXPORTS, _IMPORTS, _BOUND_IMPORTS, _DELAY_IMPORTS, _CLR = 0, 1, 11, 13, 14
_DIRECTORIES = 16
_IL_ONLY = 0x1  # IMAGE_COR20_HEADER.Flags
_CLR_LOADER = "mscoree.dll"
_IS_DLL = 0x2000
_SECTOR, _PAGE = 512, 4096
_NOT_IN_NAMES = re.compile(r"[^ -~]|[\\/<>:\"|?*]|[. ]$")
_FORWARDED = re.compile(r"(?P<library>[^.]+)\.(?:#0*(?P<ordinal>[0-9]{1,5})|(?P<name>[^.#][^.]*))")

# Bounds against hostile files.
_MAX_HEADER_BYTES = 1 << 16
_MAX_SECTIONS = 4096
_MAX_DESCRIPTORS = 65536
_MAX_NAME = 1 << 16
_MAX_TABLE_BYTES = 128 << 20
_ZEROS = bytes(64)  # the part of a section beyond its bytes in the file that may be read


class _Section(NamedTuple):
    address: int  # relative to the image, like all addresses here
    room: int  # bytes in memory
    size: int  # bytes of it that the file fills; the others are zero
    offset: int


class _Image:
    """Reads by address; keeps each section that was read from, since tables lie close together.

    Args:
        source: The file.
        sections: Its sections.
        tables: The addresses of the tables: the part of a section before them, which can be
            a gigabyte of constants, is only read if a table points back to it.
        budget: The file's remaining budget.
    """

    def __init__(
        self,
        source: ByteSource,
        sections: list[_Section],
        tables: Collection[int],
        budget: Budget,
    ) -> None:
        self._source = source
        self._sections = sections
        self._tables = tables
        self._loaded: dict[_Section, tuple[int, bytes]] = {}
        self.budget = budget

    def view(self, address: int) -> tuple[bytes, int]:
        """Return bytes of the section that contains an address, and its position in them."""
        for section in self._sections:
            if section.address <= address < section.address + section.room:
                begin, data = self._loaded.get(section, (section.address + section.room, b""))
                if address < begin:
                    again = section in self._loaded
                    begin = section.address if again else self._begin(section, address)
                    data = self._load(section, begin - section.address)
                    self._loaded[section] = begin, data
                return data, address - begin
        raise LibraryError(f"no section has the address {address:#x} in the file")

    def _begin(self, section: _Section, address: int) -> int:
        """Return the address of the first table in a section."""
        return min([address, *(item for item in self._tables if item >= section.address)])

    def _load(self, section: _Section, skipped: int) -> bytes:
        size = max(0, section.size - skipped)
        if size > _MAX_TABLE_BYTES:
            raise LibraryError(f"import or export tables in {size} bytes")
        data = self._source.read_at(section.offset + section.size - size, size)
        zeros = section.room - skipped - size
        return data + _ZEROS[:zeros] if zeros else data

    def unpack(self, layout: str, address: int) -> tuple[int, ...]:
        data, start = self.view(address)
        return struct.unpack_from(layout, data, start)

    def array(self, item: str, address: int, count: int) -> tuple[int, ...]:
        return self.unpack(f"<{count}{item}", address)

    def name(self, address: int) -> str:
        """Return the name of a symbol, which is never empty."""
        text = self.text(address)
        if not text:
            raise LibraryError("a symbol without a name")
        return text

    def text(self, address: int) -> str:
        data, start = self.view(address)
        end = data.find(b"\0", start, start + _MAX_NAME)
        if end < 0:
            raise LibraryError("an unterminated name")
        self.budget.spend(names=end - start)
        return data[start:end].decode("utf-8", "backslashreplace")


def read_pe(source: ByteSource, budget: Budget | None = None) -> Library | None:
    """Read the facts of a PE file.

    Args:
        source: The file's bytes, beginning with ``MZ``.
        budget: The file's budget.

    Returns:
        The facts; None for a .NET assembly that contains no machine code.

    Raises:
        LibraryError: The file is cut short, contradicts itself, or is larger in
            some part than any library is.
    """
    try:
        return _read(source, budget or Budget())
    except struct.error as error:
        raise LibraryError(f"not a readable PE file: {error}") from error


def _read(source: ByteSource, budget: Budget) -> Library | None:
    (start,) = struct.unpack("<I", source.read_at(60, 4))
    head = source.read_at(start, min(24, max(0, source.size - start)))
    if head[:4] != b"PE\0\0":
        raise LibraryError("a DOS header, but no PE header")
    machine, count, _, _, _, optional, characteristics = struct.unpack_from("<2H3I2H", head, 4)
    if count > _MAX_SECTIONS or optional > _MAX_HEADER_BYTES:
        raise LibraryError(f"{count} sections")
    header = source.read_at(start + 24, optional + 40 * count)
    (magic,) = struct.unpack_from("<H", header)
    if magic not in (0x10B, 0x20B):
        raise LibraryError(f"an optional header of kind {magic:#x}")
    is64 = magic == 0x20B
    if machine in _64_BIT and not is64:
        raise LibraryError(f"an optional header of the wrong kind for {_MACHINES[machine]}")
    directories = _directories(header[:optional], 108 if is64 else 92)
    if directories[_BOUND_IMPORTS] != (0, 0):
        raise LibraryError("imports that are bound to specific builds of other libraries")
    sections = _sections(source, header, optional, count)
    tables = [directories[number][0] for number in (_EXPORTS, _IMPORTS, _DELAY_IMPORTS, _CLR)]
    image = _Image(source, sections, tables, budget)
    imports = list(_imports(image, directories[_IMPORTS][0], is64=is64))
    image_base = 0 if is64 else struct.unpack_from("<I", header, 28)[0]
    delayed = list(
        _delay_imports(image, directories[_DELAY_IMPORTS][0], is64=is64, image_base=image_base)
    )
    name, exports, forwarded = _exports(image, *directories[_EXPORTS])
    needed = tuple(dict.fromkeys(dll for dll, _ in [*imports, *delayed]))
    clr = directories[_CLR][0]
    # IMAGE_COR20_HEADER: size, versions, metadata's address and size, flags, …
    if clr and image.unpack("<I", clr + 16)[0] & _IL_ONLY:
        if exports or forwarded or not set(needed) <= {_CLR_LOADER}:
            raise LibraryError("an assembly that is declared IL-only, but contains machine code")
        return None
    return Library(
        format=Format.PE,
        arch=_MACHINES.get(machine, f"machine {machine:#x}"),
        executable=not characteristics & _IS_DLL,
        soname=name,
        needed=needed,
        optional=tuple({dll: None for dll, _ in delayed if dll not in dict(imports)}),
        imports=(
            *(Symbol(name, library=dll) for dll, names in [*imports, *delayed] for name in names),
            *forwarded,
        ),
        exports=exports,
    )


def _directories(header: bytes, place: int) -> list[tuple[int, int]]:
    """Return the addresses and sizes of the data directories.

    Args:
        header: The optional header.
        place: The offset in it of their number, which comes just before them.

    Raises:
        LibraryError: The header's size and their number contradict each other. The loader
            goes by the number, other programs by the size.
    """
    (count,) = struct.unpack_from("<I", header, place)
    begin, count = place + 4, min(count, _DIRECTORIES)
    if begin + 8 * count > len(header):
        raise LibraryError(f"{count} data directories in an optional header of {len(header)} bytes")
    end = begin + 8 * _DIRECTORIES
    if any(header[begin + 8 * count : end]):
        raise LibraryError(f"data directories beyond the {count} declared ones")
    numbers = struct.unpack(f"<{2 * count}I", header[begin : begin + 8 * count])
    found = list(zip(numbers[::2], numbers[1::2], strict=True))
    return found + [(0, 0)] * (_DIRECTORIES - count)


def _sections(source: ByteSource, header: bytes, start: int, count: int) -> list[_Section]:
    """Return the sections as Windows maps them.

    Linkers lay out pages in memory and sectors in the file, one section after the other.
    For anything else Windows has rules of its own, and so does every other program.

    Args:
        source: The file.
        header: The optional header and the section headers.
        start: The size of the optional header.
        count: The number of sections.

    Raises:
        LibraryError: The sections are not laid out that way.
    """
    alignment, file_alignment = struct.unpack_from("<2I", header, 32)
    whole, end = struct.unpack_from("<2I", header, 56)  # SizeOfImage, SizeOfHeaders
    # A header of zeros gives no alignment; Windows does not load such a file.
    if (alignment and alignment < _PAGE) or file_alignment % _SECTOR or alignment % _PAGE:
        raise LibraryError(
            f"a section alignment of {alignment} bytes, but {file_alignment} in the file"
        )
    found = []
    end = max(end, 1)  # the headers lie at address 0
    for number in range(count):
        # IMAGE_SECTION_HEADER: name, virtual size, virtual address, raw size, raw offset, …
        _, room, address, size, offset = struct.unpack_from("<8s4I", header, start + 40 * number)
        if address < end:
            raise LibraryError("sections that overlap")
        room = -(-(room or size) // _PAGE) * _PAGE
        end = address + room
        if size:
            check_range(source, offset, size)
            if offset % _SECTOR:
                raise LibraryError(f"a section at byte {offset}, where no sector begins")
        found.append(_Section(address, room, min(size, room), offset))
    if whole and end > -(-whole // _PAGE) * _PAGE:
        raise LibraryError("sections beyond the end of the image")
    return found


def _imports(image: _Image, address: int, *, is64: bool) -> Iterator[tuple[str, list[str]]]:
    """Yield each DLL with the names imported from it; ordinals appear as ``#12``.

    The loader reads up to the first descriptor without a name, whatever the size of the
    directory. It also stops at one without a table to fill, but this function reads on:
    no linker writes such a descriptor.
    """
    if not address:
        return
    for _ in range(_MAX_DESCRIPTORS):
        lookup, bound, _, name, filled = image.unpack("<5I", address)
        if not name:
            if lookup or filled:
                raise LibraryError("a truncated descriptor at the end of the import directory")
            return
        if bound:
            raise LibraryError("imports that are bound to specific builds of other libraries")
        yield _dll(image.text(name)), _thunks(image, lookup or filled, is64=is64)
        address += 20
    raise LibraryError("an unterminated import directory")


def _delay_imports(
    image: _Image, address: int, *, is64: bool, image_base: int
) -> Iterator[tuple[str, list[str]]]:
    if not address:
        return
    for _ in range(_MAX_DESCRIPTORS):
        attributes, name, _, _, lookup, *_ = image.unpack("<8I", address)
        if not name:
            return
        # Descriptors from old linkers hold absolute addresses, in fields too small for 64 bits.
        if is64 and not attributes & 1:
            raise LibraryError("a delayed import at an absolute address")
        base = 0 if attributes & 1 else image_base
        yield _dll(image.text(name - base)), _thunks(image, lookup - base, is64=is64)
        address += 32
    raise LibraryError("an unterminated delay-import directory")


def _thunks(image: _Image, address: int, *, is64: bool) -> list[str]:
    data, position = image.view(address)
    layout = struct.Struct("<Q" if is64 else "<I")
    by_ordinal = 1 << (63 if is64 else 31)
    names: list[str] = []
    while True:
        image.budget.spend(symbols=1)
        (value,) = layout.unpack_from(data, position)
        if not value:
            return names
        if value & by_ordinal:
            names.append(f"#{value & 0xFFFF}")
        else:  # an address beyond 31 bits is in no section
            names.append(image.name(value + 2))
        position += layout.size


def _exports(
    image: _Image, address: int, size: int
) -> tuple[str | None, tuple[Symbol, ...], list[Symbol]]:
    """Return the library's own name, its exports by name, and what it forwards elsewhere.

    An export, with or without a name, whose address is inside the export directory itself is
    forwarded: the address is that of a string such as ``OTHER.name`` or ``OTHER.#12``.
    """
    if not address:
        return None, (), []
    if not size:
        raise LibraryError("an empty export directory")
    # IMAGE_EXPORT_DIRECTORY: characteristics, time, versions, name, base, functions, names,
    # and the addresses of three tables: functions, names, and each name's function.
    _, _, _, name, _, functions, count, table, names, places = image.unpack("<10I", address)
    image.budget.spend(symbols=max(count, functions))
    addresses = image.array("I", table, functions) if functions else ()
    exports: list[Symbol] = []
    if count:
        for pointer, place in zip(
            image.array("I", names, count), image.array("H", places, count), strict=True
        ):
            exports.append(Symbol(image.name(pointer)))
            if place >= functions:
                raise LibraryError(f"an export of function {place}, but there are only {functions}")
    there = dict.fromkeys(item for item in addresses if address <= item < address + size)
    forwarded = list(dict.fromkeys(_forwarded(image.text(item)) for item in there))
    return image.text(name).lower() if name else None, tuple(exports), forwarded


def _forwarded(text: str) -> Symbol:
    """Return the symbol an export is forwarded to. A text with two dots would be ambiguous."""
    match = _FORWARDED.fullmatch(text)
    if match is None:
        raise LibraryError("an export with an invalid forwarder")
    return Symbol(match["name"] or f"#{match['ordinal']}", library=_dll(match["library"]))


def _dll(name: str) -> str:
    """Return the file that a name stands for: the loader adds the suffix if there is none.

    Raises:
        LibraryError: The name is a path, or is spelled so that Windows takes it for another
            name, or for a different one on each system.
    """
    if not name or _NOT_IN_NAMES.search(name):
        raise LibraryError("a library name that Windows reads differently")
    name = name.lower()
    return name if "." in name else f"{name}.dll"

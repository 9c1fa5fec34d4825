"""PE: bytes to facts, from the import, delay-import and export directories.

Names of libraries are in lower case: Windows compares them without case.

No parser is used for want of a fitting one: `pefile`, the well-kept one, needs the whole
file in memory and makes an object of each export (the tests hold this reader against it).

Reference: Microsoft's PE format specification.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit.errors import LibraryError
from torch_abi_audit.model import Format, Library, Symbol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch_abi_audit.formats.source import ByteSource

_MACHINES = {0x8664: "x86_64", 0xAA64: "arm64", 0x014C: "i686", 0x01C4: "arm"}
_EXPORTS, _IMPORTS, _DELAY_IMPORTS, _CLR = 0, 1, 13, 14  # indices of data directories
_IL_ONLY = 0x1  # IMAGE_COR20_HEADER.Flags
_IS_DLL = 0x2000

# Bounds against hostile files. torch_cpu.dll has 60,000 exports.
_MAX_HEADER_BYTES = 1 << 16
_MAX_SECTIONS = 4096
_MAX_DESCRIPTORS = 65536
_MAX_SYMBOLS = 500_000  # imports and exports together
_MAX_NAME = 1 << 16
_MAX_NAME_BYTES = 128 << 20
_MAX_SECTION_BYTES = 256 << 20


class _Section(NamedTuple):
    address: int  # relative to the image, as all addresses here
    size: int  # bytes in the file
    offset: int


class _Image:
    """Reads by address; keeps each section that was read from, since tables lie close together."""

    def __init__(self, source: ByteSource, sections: list[_Section]) -> None:
        self._source = source
        self._sections = sections
        self._loaded: dict[int, bytes] = {}
        self._symbols = 0
        self._name_bytes = 0

    def count(self, symbols: int) -> None:
        """Take symbols from what one file may have: its tables can overlap."""
        self._symbols += symbols
        if self._symbols > _MAX_SYMBOLS:
            raise LibraryError(f"more than {_MAX_SYMBOLS} symbols")

    def view(self, address: int) -> tuple[bytes, int]:
        """Return the section that holds an address, and the address's place in it."""
        for section in self._sections:
            if section.address <= address < section.address + section.size:
                if section.address not in self._loaded:
                    if section.size > _MAX_SECTION_BYTES:
                        raise LibraryError(f"import or export tables in {section.size} bytes")
                    self._loaded[section.address] = self._source.read_at(
                        section.offset, section.size
                    )
                return self._loaded[section.address], address - section.address
        raise LibraryError(f"no section has the address {address:#x} in the file")

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
            raise LibraryError("a name without an end")
        self._name_bytes += end - start
        if self._name_bytes > _MAX_NAME_BYTES:
            raise LibraryError("more bytes of names than a library has")
        return data[start:end].decode("utf-8", "backslashreplace")


def read_pe(source: ByteSource) -> Library | None:
    """Read the facts of a PE file.

    Args:
        source: The file's bytes, beginning with ``MZ``.

    Returns:
        The facts; None for an assembly of .NET that holds no machine code.

    Raises:
        LibraryError: The file is cut short, contradicts itself, or is larger in
            some part than any library is.
    """
    try:
        return _read(source)
    except struct.error as error:
        raise LibraryError(f"not a readable PE file: {error}") from error


def _read(source: ByteSource) -> Library | None:
    (start,) = struct.unpack("<I", source.read_at(60, 4))
    head = source.read_at(start, min(24, max(0, source.size - start)))
    if head[:4] != b"PE\0\0":
        raise LibraryError("a DOS header without a PE header")
    machine, count, _, _, _, optional, characteristics = struct.unpack_from("<2H3I2H", head, 4)
    if count > _MAX_SECTIONS or optional > _MAX_HEADER_BYTES:
        raise LibraryError(f"{count} sections")
    header = source.read_at(start + 24, optional + 40 * count)
    (magic,) = struct.unpack_from("<H", header)
    if magic not in (0x10B, 0x20B):
        raise LibraryError(f"an optional header of kind {magic:#x}")
    is64 = magic == 0x20B
    base = 108 if is64 else 92
    (directories,) = struct.unpack_from("<I", header, base)
    image = _Image(source, _sections(header, optional, count))

    def directory(index: int) -> tuple[int, int]:
        if index >= directories or base + 4 + 8 * (index + 1) > optional:
            return 0, 0
        address, size = struct.unpack_from("<II", header, base + 4 + 8 * index)
        return address, size

    clr = directory(_CLR)[0]
    # IMAGE_COR20_HEADER: size, versions, metadata's address and size, flags, …
    if clr and image.unpack("<I", clr + 16)[0] & _IL_ONLY:
        return None
    imports = list(_imports(image, directory(_IMPORTS)[0], is64=is64))
    image_base = struct.unpack_from("<Q" if is64 else "<I", header, 24 if is64 else 28)[0]
    delayed = list(
        _delay_imports(image, directory(_DELAY_IMPORTS)[0], is64=is64, image_base=image_base)
    )
    name, exports, forwarded = _exports(image, *directory(_EXPORTS))
    return Library(
        format=Format.PE,
        arch=_MACHINES.get(machine, f"machine {machine:#x}"),
        executable=not characteristics & _IS_DLL,
        soname=name,
        needed=tuple(dict.fromkeys(dll for dll, _ in [*imports, *delayed])),
        optional=tuple({dll: None for dll, _ in delayed if dll not in dict(imports)}),
        imports=(
            *(Symbol(name, library=dll) for dll, names in [*imports, *delayed] for name in names),
            *forwarded,
        ),
        exports=exports,
    )


def _sections(header: bytes, start: int, count: int) -> list[_Section]:
    found = []
    for number in range(count):
        # IMAGE_SECTION_HEADER: name, virtual size, virtual address, raw size, raw offset, …
        _, _, address, size, offset = struct.unpack_from("<8s4I", header, start + 40 * number)
        found.append(_Section(address, size, offset))
    return found


def _imports(image: _Image, address: int, *, is64: bool) -> Iterator[tuple[str, list[str]]]:
    """Yield each DLL with the names asked of it, and ordinals as ``#12``."""
    if not address:
        return
    for _ in range(_MAX_DESCRIPTORS):
        lookup, _, _, name, bound = image.unpack("<5I", address)
        if not name:
            return
        yield _dll(image.text(name)), _thunks(image, lookup or bound, is64=is64)
        address += 20
    raise LibraryError("an import directory without an end")


def _delay_imports(
    image: _Image, address: int, *, is64: bool, image_base: int
) -> Iterator[tuple[str, list[str]]]:
    if not address:
        return
    for _ in range(_MAX_DESCRIPTORS):
        attributes, name, _, _, lookup, *_ = image.unpack("<8I", address)
        if not name:
            return
        # Descriptors of old linkers hold absolute addresses.
        base = 0 if attributes & 1 else image_base
        yield _dll(image.text(name - base)), _thunks(image, lookup - base, is64=is64)
        address += 32
    raise LibraryError("a delay-import directory without an end")


def _thunks(image: _Image, address: int, *, is64: bool) -> list[str]:
    data, position = image.view(address)
    layout = struct.Struct("<Q" if is64 else "<I")
    by_ordinal = 1 << (63 if is64 else 31)
    names: list[str] = []
    while True:
        image.count(1)
        (value,) = layout.unpack_from(data, position)
        if not value:
            return names
        names.append(
            f"#{value & 0xFFFF}" if value & by_ordinal else image.name((value & 0x7FFFFFFF) + 2)
        )
        position += layout.size


def _exports(
    image: _Image, address: int, size: int
) -> tuple[str | None, tuple[Symbol, ...], list[Symbol]]:
    """Return the library's own name, its exports by name, and what it forwards elsewhere.

    An export whose address lies in the export directory itself is forwarded: the address
    is that of a text such as ``OTHER.name`` or ``OTHER.#12``.
    """
    if not address or not size:
        return None, (), []
    # IMAGE_EXPORT_DIRECTORY: characteristics, time, versions, name, base, functions, names,
    # and the addresses of three tables: functions, names, and each name's function.
    _, _, _, name, _, functions, count, table, names, places = image.unpack("<10I", address)
    image.count(max(count, functions))
    exports: list[Symbol] = []
    forwarded: list[Symbol] = []
    if count:
        addresses = image.array("I", table, functions)
        for pointer, place in zip(
            image.array("I", names, count), image.array("H", places, count), strict=True
        ):
            exports.append(Symbol(image.name(pointer)))
            if place >= functions:
                raise LibraryError(f"an export of function {place} of {functions}")
            if address <= addresses[place] < address + size:
                library, _, there = image.name(addresses[place]).rpartition(".")
                if not there:
                    raise LibraryError("an export that is forwarded nowhere")
                forwarded.append(Symbol(there, library=_dll(library)))
    return image.text(name).lower() if name else None, tuple(exports), forwarded


def _dll(name: str) -> str:
    """Return the file that a name stands for: the loader adds the suffix where there is none."""
    name = name.lower()
    return name if "." in name else f"{name}.dll"

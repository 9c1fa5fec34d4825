"""Holds what is read of a library against an independent reader, lief.

Both follow the same specifications, and neither is the loader. Where lief reads a file that is
refused, nothing is compared: to refuse is always right. Where both read it, what differs is a
fault, or one of the exceptions below, each of which says why ours follows the loader.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any

from tests.fuzz.errors import FuzzError
from torch_abi_audit.model import Format, Library

try:
    import lief
except ImportError:  # it has no wheels for the newest Python
    lief = None  # type: ignore[assignment]
else:
    lief.logging.disable()
    # Of numbers that it has no name for.
    warnings.filterwarnings("ignore", message=".* is not a valid ", category=RuntimeWarning)


def compare(data: bytes, found: Sequence[Library]) -> None:
    """Compare what was read with what lief reads.

    Raises:
        FuzzError: They differ.
    """
    if lief is None or not found:
        return
    compare_one: Callable[[bytes, Sequence[Library]], None] = {
        Format.ELF: _elf,
        Format.MACHO: _macho,
        Format.PE: _pe,
    }[found[0].format]
    # Names that are no UTF-8 it can't always return.
    with contextlib.suppress(UnicodeDecodeError):
        compare_one(data, found)


def _same(what: str, ours: object, theirs: object) -> None:
    if ours != theirs:
        raise FuzzError(f"{what}: {ours!r}, and lief has {theirs!r}")


def _text(name: str | bytes) -> str:
    return name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else name


def _kept(names: set[str]) -> set[str]:
    """Return those names that lief does not leave out for their length or characters."""
    plain = {name for name in names if len(name) < 256 and name.isascii() and name.isprintable()}
    return {name for name in plain if "\\" not in name}


def _elf(data: bytes, found: Sequence[Library]) -> None:
    binary = lief.ELF.parse(data)
    (library,) = found
    if binary is None or (library.executable and not library.imports and not library.needed):
        return
    entries = list(binary.dynamic_entries)
    tags = lief.ELF.DynamicEntry.TAG
    # It gives up silently over a dynamic segment whose end lies outside of the file. Of two
    # tables of a kind it takes the first, and ld.so the last.
    present = [entry.tag for entry in entries]
    tables = (tags.STRTAB, tags.SYMTAB, tags.HASH, tags.GNU_HASH)
    if not entries or any(present.count(tag) > 1 for tag in tables):
        return

    def named(tag: Any, attribute: str) -> list[str]:
        return [_text(getattr(e, attribute, "")) for e in entries if e.tag == tag]

    _same("needed", list(library.needed), named(tags.NEEDED, "name"))
    # Of several the loader takes the last.
    _same("soname", [library.soname], named(tags.SONAME, "name")[-1:] or [None])
    for tag, attribute, ours in (
        (tags.RPATH, "rpath", library.rpath),
        (tags.RUNPATH, "runpath", library.runpath),
    ):
        _same(attribute, list(ours), [p for t in named(tag, attribute)[-1:] for p in t.split(":")])
    symbols = [s for s in binary.dynamic_symbols if s.name]
    local = lief.ELF.Symbol.BINDING.LOCAL
    undefined = {_text(s.name) for s in symbols if not s.shndx and s.binding != local}
    every = {_text(s.name) for s in symbols}
    imports = {symbol.name for symbol in library.imports}
    exports = {symbol.name for symbol in library.exports}
    missing = _kept(undefined - imports)
    # Without a hash table ld.so looks up what is relocated alone; lief counts by sections.
    if missing and {tags.HASH, tags.GNU_HASH} & set(present):
        raise FuzzError(f"imports without {missing}, which lief has")
    # Without section headers it stops where the hash table does; ld.so looks up whatever a
    # relocation names.
    missing = _kept(imports | exports) - every
    if len(binary.sections) and missing:
        raise FuzzError(f"symbols {missing}, which lief has not")


def _macho(data: bytes, found: Sequence[Library]) -> None:
    fat = lief.MachO.parse(data, lief.MachO.ParserConfig.deep)
    if fat is None or fat.size != len(found):
        return
    for library, binary in zip(found, sorted(fat, key=lambda s: s.fat_offset), strict=True):
        _slice(library, binary)


def _slice(library: Library, binary: Any) -> None:
    types = lief.MachO.LoadCommand.TYPE
    loaded = [item for item in binary.libraries if item.command != types.ID_DYLIB]
    own = [_text(item.name) for item in binary.libraries if item.command == types.ID_DYLIB]
    needed = [_text(item.name) for item in loaded]
    _same("needed", list(library.needed), needed)
    _same("soname", [library.soname], own or [None])
    _same("rpath", list(library.rpath), [_text(item.path) for item in binary.rpaths])
    weak = {_text(item.name) for item in loaded if item.command == types.LOAD_WEAK_DYLIB}
    # A mark in the place of the time can take it back.
    if not set(library.optional) <= weak:
        raise FuzzError(f"optional: {library.optional}, and lief has {weak}")
    versions = [c for c in binary.commands if c.command == types.BUILD_VERSION]
    if len(versions) == 1 and not binary.has_version_min:
        minos = tuple(binary.build_version.minos[:2])
        _same("minos", library.minos and library.minos.version, minos)
    if binary.has_dyld_info:
        exports = {_c_name(item.symbol.name) for item in binary.dyld_info.exports}
        imports = {_c_name(item.symbol.name) for item in binary.dyld_info.bindings}
        ours = {symbol.name for symbol in library.exports}
        if exports:  # none where it gives up
            _same("exports", ours, exports)
        # What it defines itself is no import.
        missing = imports - {symbol.name for symbol in library.imports} - ours
        if missing:
            raise FuzzError(f"imports without {missing}, which lief has")


def _c_name(name: str | bytes) -> str:
    text = _text(name)
    mark = "" if text == "dyld_stub_binder" else "\1"
    return text[1:] if text.startswith("_") else mark + text


def _pe(data: bytes, found: Sequence[Library]) -> None:
    binary = lief.PE.parse(data)
    (library,) = found
    if binary is None:
        return
    # It goes on behind the last descriptor, which has no name.
    theirs: list[Any] = [
        *takewhile(_has_name, binary.imports),
        *takewhile(_has_name, binary.delay_imports),
    ]
    # It ends with the directory, and Windows with a descriptor of zeros, such as lies behind what
    # the file has of a section.
    filled = [(s.virtual_address, s.virtual_address + s.sizeof_raw_data) for s in binary.sections]
    directory = binary.data_directory(lief.PE.DataDirectory.TYPES.IMPORT_TABLE)
    place = directory.rva if directory else 0
    if not any(start <= place < end - 20 for start, end in filled):
        return
    missing = {_dll(item.name) for item in theirs} - set(library.needed)
    if missing:
        raise FuzzError(f"needed without {missing}, which lief has")
    named = {(symbol.library, symbol.name) for symbol in library.imports}
    for item in theirs:
        # It goes on where the table to fill does, and Windows ends with the one of names.
        for entry in list(item.entries)[: _thunks(data, binary, item)]:
            name = f"#{entry.ordinal}" if entry.is_ordinal else _text(entry.name)
            if (_dll(item.name), name) not in named:
                raise FuzzError(f"imports without {name} of {item.name}, which lief has")
    exported = binary.get_export()
    entries = list(exported.entries) if exported else []
    names = {_text(item.name) for item in entries if item.name}
    # What is forwarded it can call by the name that it has elsewhere.
    forwards = {symbol.library for symbol in library.imports} - set(library.needed)
    ours = _kept({symbol.name for symbol in library.exports})
    if names and len(names) == len(entries) and not forwards and not ours <= names:
        raise FuzzError(f"exports {ours - names}, which lief has not")


def _has_name(item: Any) -> bool:
    return bool(item.name)


def _thunks(data: bytes, binary: Any, item: Any) -> int | None:
    """Return how many names are asked of a library of the import directory."""
    table = getattr(item, "import_lookup_table_rva", 0) or getattr(
        item, "import_address_table_rva", 0
    )
    if not table:
        return None
    place = binary.rva_to_offset(table)
    wide = binary.optional_header.magic == lief.PE.PE_TYPE.PE32_PLUS
    size = 8 if wide else 4
    count = 0
    while any(data[place + size * count : place + size * (count + 1)]):
        count += 1
    return count


def _dll(name: str | bytes) -> str:
    text = _text(name).lower()
    return text if "." in text else f"{text}.dll"

"""Holds what is read of a library against an independent reader, lief.

Both follow the same specifications, and neither is the loader. Where lief reads a file that is
refused, nothing is compared: to refuse is always right. Where both read it, what differs is a
fault, or one of the exceptions below, each of which says why ours follows the loader.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
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
    compare_one(data, found)


def _same(what: str, ours: object, theirs: object) -> None:
    if ours != theirs:
        raise FuzzError(f"{what}: {ours!r}, and lief has {theirs!r}")


def _text(name: str | bytes) -> str:
    return name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else name


def _elf(data: bytes, found: Sequence[Library]) -> None:
    binary = lief.ELF.parse(data)
    (library,) = found
    if binary is None or (library.executable and not library.imports and not library.needed):
        return
    entries = list(binary.dynamic_entries)
    tags = lief.ELF.DynamicEntry.TAG
    # It gives up silently over a dynamic segment whose end lies outside of the file. Of two
    # string tables it takes the first, and ld.so the last.
    if not entries or [e.tag for e in entries].count(tags.STRTAB) > 1:
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
    if not undefined <= imports:
        raise FuzzError(f"imports without {undefined - imports}, which lief has")
    # Without section headers it stops where the hash table does; ld.so looks up whatever a
    # relocation names.
    if len(binary.sections) and not imports | exports <= every:
        raise FuzzError(f"symbols {(imports | exports) - every}, which lief has not")


def _macho(data: bytes, found: Sequence[Library]) -> None:
    return


def _pe(data: bytes, found: Sequence[Library]) -> None:
    return

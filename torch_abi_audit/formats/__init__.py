"""Object formats: bytes in, facts (`model.Library`) out, one domain error each.

A reader is imported at the first file of its format: most wheels have only one format.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from torch_abi_audit.errors import LibraryError
from torch_abi_audit.formats.source import ByteSource, BytesSource
from torch_abi_audit.model import Format, Library

if TYPE_CHECKING:
    from torch_abi_audit.budget import Budget

__all__ = [
    "ByteSource",
    "BytesSource",
    "is_library_name",
    "read_libraries",
    "sniff",
]

_ELF_MAGIC = b"\x7fELF"
_MACHO_MAGICS = frozenset(
    bytes.fromhex(magic) for magic in ("feedface", "feedfacf", "cefaedfe", "cffaedfe")
)
_FAT_MAGICS = frozenset(bytes.fromhex(magic) for magic in ("cafebabe", "cafebabf"))
_LIBRARY_NAME = re.compile(r"\.(so(\.[0-9]+)*|pyd|dll|dylib)$", re.IGNORECASE)
_HEAD = 4096
_LINKER_SCRIPT = re.compile(rb"\b(?:INPUT|GROUP|OUTPUT_FORMAT|SEARCH_DIR|EXTERN|VERSION)\b")
_LFS_POINTER = b"version https://git-lfs"


def is_library_name(name: str) -> bool:
    """Whether a file has a name that only libraries have."""
    return _LIBRARY_NAME.search(name) is not None


def sniff(head: bytes) -> Format | None:
    """Tell an object format from a file's first bytes (64 are enough).

    A Java class file shares the universal Mach-O magic. Its next word is the class version,
    45 or more, where Mach-O has the number of slices; and its eleventh byte is the kind of its
    first constant, which is never 0, where Mach-O has a byte of the CPU type that always is. A
    DOS header is taken for PE unless it is text, which has no NUL bytes.
    """
    magic = head[:4]
    if magic == _ELF_MAGIC:
        return Format.ELF
    if magic in _MACHO_MAGICS:
        return Format.MACHO
    if magic in _FAT_MAGICS and (int.from_bytes(head[4:8], "big") < 45 or head[10:11] == b"\0"):
        return Format.MACHO
    if magic[:2] == b"MZ" and b"\0" in head[:64]:
        return Format.PE
    return None


def read_libraries(
    source: ByteSource, name: str, budget: Budget | None = None
) -> tuple[Library, ...]:
    """Read the facts of a file, if it is a library.

    Args:
        source: The file's bytes.
        name: Its name, which only decides whether a file that is neither a library nor
            text should have been a library.
        budget: What may still be read for the file's target, shared by all its files;
            without it, the default limits apply to this file alone.

    Returns:
        The facts: of one library, or of each slice of a universal Mach-O file; none for
        a file that is not a library.

    Raises:
        LibraryError: It is a library, or should be, but can't be read.
        LimitError: The libraries of the target exceed the limits.
    """
    head = source.read_at(0, min(64, source.size))
    found: tuple[Library, ...] = ()
    kind = "an object file"
    match sniff(head):
        case Format.ELF:
            from torch_abi_audit.formats.elf import (  # noqa: PLC0415
                is_device_code,
                machine_name,
                read_elf,
            )

            library = read_elf(source, budget)
            found = () if library is None else (library,)
            if is_device_code(head):
                return found
            kind = f"an ELF file for {machine_name(head)}" if not found else ""
        case Format.MACHO:
            from torch_abi_audit.formats.macho import is_debug_file, read_macho  # noqa: PLC0415

            if is_debug_file(source):
                return ()
            found = read_macho(source, budget)
        case Format.PE:
            from torch_abi_audit.formats.pe import read_pe  # noqa: PLC0415

            program = read_pe(source, budget)
            return () if program is None else (program,)
        case None:
            if is_library_name(name):
                _check_text(source.read_at(0, min(_HEAD, source.size)))
            return ()
    if not found and is_library_name(name):
        raise LibraryError(f"named like a library, but {kind} that no loader loads")
    return found


def _check_text(head: bytes) -> None:
    """Accept linker scripts, which are text in place of a library (GNU ld, 3.4).

    Raises:
        LibraryError: The file is anything else.
    """
    if not _is_text(head):
        raise LibraryError("named like a library, but neither an object file nor text")
    if head.startswith(_LFS_POINTER):
        raise LibraryError("a Git LFS pointer instead of the library")
    if not _LINKER_SCRIPT.search(head):
        raise LibraryError("named like a library, but text that is not a linker script")


def _is_text(head: bytes) -> bool:
    """Whether a file begins like text, as a linker script does. An empty file does not."""
    if not head or b"\0" in head:
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        # A character may be cut off at the end of what was read.
        return len(head) == _HEAD and error.start >= _HEAD - 3
    return True

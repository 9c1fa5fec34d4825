"""ELF: bytes to facts, from the program headers and the dynamic section alone.

That is all the dynamic loader looks at, so a library whose section headers are
stripped, or wrong, reads the same. This module reads what glibc's loader reads, in the
memory that it maps (`elf_image`): which symbols it looks up (`elf_relocations`,
`elf_symbols`), which it finds (`elf_hash`), and in which version (`elf_versions`). A file
whose tables contradict each other is rejected. The tables are decoded in bulk:
`pyelftools`, which makes an object of each field, takes minutes for a large library, and
importing it takes as long as auditing a small wheel. It is used to name machines that no
tag names, and the tests check this reader against it.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from torch_abi_audit.budget import Budget
from torch_abi_audit.errors import LibraryError
from torch_abi_audit.formats.elf_image import (
    ET_DYN,
    ET_EXEC,
    Image,
    Strings,
    Tag,
    read_dynamic,
    read_headers,
)
from torch_abi_audit.formats.elf_symbols import read_symbols
from torch_abi_audit.formats.elf_versions import Versions
from torch_abi_audit.model import Format, Library

if TYPE_CHECKING:
    from torch_abi_audit.formats.source import ByteSource

# Machines that a Python platform tag can name, in the tag's spelling: by e_machine, the
# number of bits, and whether it is little-endian.
_MACHINES = {
    (62, 64, True): "x86_64",
    (62, 32, True): "x32",
    (3, 32, True): "i686",
    (183, 64, True): "aarch64",
    (40, 32, True): "arm",
    (21, 64, True): "ppc64le",
    (21, 64, False): "ppc64",
    (20, 32, False): "ppc",
    (22, 64, False): "s390x",
    (22, 32, False): "s390",
    (243, 64, True): "riscv64",
    (243, 32, True): "riscv32",
    (258, 64, True): "loongarch64",
    (8, 64, True): "mips64el",
    (8, 64, False): "mips64",
    (8, 32, True): "mipsel",
    (8, 32, False): "mips",
}
_DF_1_PIE = 0x08000000  # a position-independent program, including static ones

_MAX_PATH = 1 << 12  # of a needed library, like PATH_MAX
_MAX_NEEDED = 1024

# Accelerator code is ELF too, but just data to the host: EM_CUDA, EM_AMDGPU, EM_BPF.
_DEVICES = frozenset({190, 224, 247})


def is_device_code(head: bytes) -> bool:
    """Whether the first bytes of an ELF file say that it is code for an accelerator."""
    machine = head[18:20] if head[5:6] == b"\x02" else head[19:17:-1]
    return int.from_bytes(machine, "big") in _DEVICES


def machine_name(head: bytes) -> str:
    """Return the ABI registry's name for the machine of an ELF file, from its first bytes."""
    from elftools.elf.enums import ENUM_E_MACHINE  # noqa: PLC0415 -- for error messages only

    number = int.from_bytes(head[18:20], "big" if head[5:6] == b"\2" else "little")
    names = (name for name, value in ENUM_E_MACHINE.items() if value == number)
    return str(next(names, f"machine {number}"))


def read_elf(source: ByteSource, budget: Budget | None = None) -> Library | None:
    """Read the facts of an ELF file.

    Args:
        source: The file's bytes, beginning with the magic bytes.
        budget: What may still be read for the target; without it, the default limits apply
            to this file alone.

    Returns:
        The facts, or None for an ELF file that no loader on a host loads: an
        object file, a core dump, or device code.

    Raises:
        LibraryError: The file is cut short, contradicts itself, or is larger in
            some part than any library is.
    """
    try:
        headers = read_headers(source)
        arch = _MACHINES.get((headers.machine, 64 if headers.is64 else 32, headers.order == "<"))
        if headers.type not in (ET_DYN, ET_EXEC) or arch is None:
            return None
        if headers.type == ET_EXEC and not headers.dynamics:
            return Library(Format.ELF, arch, executable=True)  # a static program
        return _read_library(Image(headers), arch, budget or Budget())
    except struct.error as error:
        raise LibraryError(f"not a readable ELF file: {error}") from error


def _read_library(image: Image, arch: str, budget: Budget) -> Library:
    dynamic = read_dynamic(image)
    if dynamic.all(Tag.DT_AUXILIARY) or dynamic.all(Tag.DT_FILTER):
        raise LibraryError("a filter library: its symbols are another library's")
    strings = Strings(image, dynamic, budget)
    needed = dynamic.all(Tag.DT_NEEDED)
    if len(needed) > _MAX_NEEDED:
        raise LibraryError(f"{len(needed)} needed libraries")
    named = dynamic.get(Tag.DT_SONAME)
    soname = None if named is None else strings.text(named, _MAX_PATH)
    versions = Versions(image, dynamic, strings)
    imports, exports = read_symbols(image, dynamic, strings, versions)
    return Library(
        format=Format.ELF,
        arch=arch,
        # A library can name an interpreter too, so that running it prints its version.
        executable=image.headers.type == ET_EXEC
        or (image.headers.interpreted and soname is None)
        or bool((dynamic.get(Tag.DT_FLAGS_1) or 0) & _DF_1_PIE),
        soname=soname,
        needed=tuple(strings.text(value, _MAX_PATH) for value in needed),
        rpath=_paths(strings, dynamic.get(Tag.DT_RPATH)),
        runpath=_paths(strings, dynamic.get(Tag.DT_RUNPATH)),
        imports=imports,
        exports=exports,
        version_needs=versions.needs,
    )


def _paths(strings: Strings, offset: int | None) -> tuple[str, ...]:
    """Return the search path."""
    return () if offset is None else tuple(strings.text(offset).split(":"))

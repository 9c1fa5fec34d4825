"""ELF: bytes to facts, from the program headers and the dynamic section alone.

That is all the dynamic loader looks at, so a library whose section headers are
stripped, or wrong, reads the same. The tables are decoded in bulk: `pyelftools`, which
makes an object of each field, takes minutes for a large library, and to import it takes as
long as to audit a small wheel. It names the machines that no tag does, and the tests hold
this reader against it.

References: System V gABI chapters 4 and 5; the symbol versioning and GNU hash
sections of the Linux Standard Base and binutils.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit.errors import LibraryError
from torch_abi_audit.model import Format, Library, Symbol

if TYPE_CHECKING:
    from torch_abi_audit.formats.source import ByteSource

# Machines that a Python platform tag can name, in the tag's spelling: by e_machine, the
# number of bits, and whether the low byte comes first.
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
_EM_S390 = 22
_ET_EXEC, _ET_DYN = 2, 3
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3


class _Tag(IntEnum):
    """The tags of the dynamic section that are read."""

    DT_NULL = 0
    DT_NEEDED = 1
    DT_PLTRELSZ = 2
    DT_HASH = 4
    DT_STRTAB = 5
    DT_SYMTAB = 6
    DT_RELA = 7
    DT_RELASZ = 8
    DT_STRSZ = 10
    DT_SYMENT = 11
    DT_SONAME = 14
    DT_RPATH = 15
    DT_REL = 17
    DT_RELSZ = 18
    DT_PLTREL = 20
    DT_JMPREL = 23
    DT_RUNPATH = 29
    DT_GNU_HASH = 0x6FFFFEF5
    DT_VERSYM = 0x6FFFFFF0
    DT_FLAGS_1 = 0x6FFFFFFB
    DT_VERDEF = 0x6FFFFFFC
    DT_VERDEFNUM = 0x6FFFFFFD
    DT_VERNEED = 0x6FFFFFFE
    DT_VERNEEDNUM = 0x6FFFFFFF


_DF_1_PIE = 0x08000000  # a program that can be loaded anywhere, static ones among them

# Bounds against hostile files. libtorch_cpu, one of the largest libraries there are,
# has 80,000 symbols, 14 MB of names, and names of up to some 20,000 bytes.
_MAX_PROGRAM_HEADERS = 4096
_MAX_DYNAMIC_BYTES = 1 << 20
_MAX_SYMBOLS = 500_000
_MAX_STRING_TABLE_BYTES = 128 << 20
_MAX_NAME = 1 << 16
_MAX_PATH = 1 << 12  # of a needed library, as PATH_MAX
_MAX_NEEDED = 1024
_MAX_VERSIONS = 1 << 16
_MAX_NAME_BYTES = 128 << 20
_MAX_VERSION_BYTES = 1 << 20
_MAX_RELOCATION_BYTES = 256 << 20
_CHUNK = 1 << 16

_STB_LOCAL, _STB_WEAK = 0, 2
_STV_DEFAULT, _STV_PROTECTED = 0, 3
_SHN_UNDEF = 0
_VERSYM_HIDDEN = 0x8000
_VER_FLG_BASE = 1


class _Segment(NamedTuple):
    offset: int
    address: int
    size: int  # bytes in the file


class _Elf(NamedTuple):
    """The headers, and how to read what they point to."""

    source: ByteSource
    order: str  # of `struct`: "<" or ">"
    is64: bool
    type: int
    machine: int
    loads: tuple[_Segment, ...]
    dynamic: _Segment | None
    interpreted: bool

    @property
    def word(self) -> str:
        return "Q" if self.is64 else "I"

    def segment_of(self, address: int) -> _Segment:
        for segment in self.loads:
            if segment.address <= address < segment.address + segment.size:
                return segment
        raise LibraryError(f"no loadable segment has the address {address:#x} in the file")

    def read(self, address: int, size: int) -> bytes:
        segment = self.segment_of(address)
        return self.source.read_at(segment.offset + address - segment.address, size)

    def read_up_to(self, address: int, limit: int) -> bytes:
        """Read from an address to the end of its segment, `limit` bytes at most."""
        segment = self.segment_of(address)
        start = address - segment.address
        return self.source.read_at(segment.offset + start, min(limit, segment.size - start))


class _Dynamic(NamedTuple):
    """The dynamic section: the values of each tag, in order."""

    values: dict[int, list[int]]

    def all(self, tag: _Tag) -> list[int]:
        return self.values.get(tag, [])

    def get(self, tag: _Tag) -> int | None:
        """Return the tag's value; where a tag stands twice the loader takes the last."""
        found = self.all(tag)
        return found[-1] if found else None


class _Version(NamedTuple):
    name: str | None
    library: str | None


_UNVERSIONED = _Version(None, None)


# Code for accelerators comes as ELF too, and is data to the host: EM_CUDA, EM_AMDGPU, EM_BPF.
_DEVICES = frozenset({190, 224, 247})


def is_device_code(head: bytes) -> bool:
    """Whether the first bytes of an ELF file say that it is code for an accelerator."""
    machine = head[18:20] if head[5:6] == b"\x02" else head[19:17:-1]
    return int.from_bytes(machine, "big") in _DEVICES


def machine_name(head: bytes) -> str:
    """Return what the ABI's registry calls the machine of an ELF file, from its first bytes."""
    from elftools.elf.enums import ENUM_E_MACHINE  # noqa: PLC0415 -- for bad news only

    number = int.from_bytes(head[18:20], "big" if head[5:6] == b"\2" else "little")
    names = (name for name, value in ENUM_E_MACHINE.items() if value == number)
    return str(next(names, f"machine {number}"))


def read_elf(source: ByteSource) -> Library | None:
    """Read the facts of an ELF file.

    Args:
        source: The file's bytes, beginning with the magic bytes.

    Returns:
        The facts, or None for an ELF file that no loader of a host loads: an
        object file, a core dump, or code for a device.

    Raises:
        LibraryError: The file is cut short, contradicts itself, or is larger in
            some part than any library is.
    """
    try:
        elf = _read_headers(source)
        arch = _MACHINES.get((elf.machine, 64 if elf.is64 else 32, elf.order == "<"))
        if elf.type not in (_ET_DYN, _ET_EXEC) or arch is None:
            return None
        return _read_library(elf, arch)
    except struct.error as error:
        raise LibraryError(f"not a readable ELF file: {error}") from error


def _read_headers(source: ByteSource) -> _Elf:
    head = source.read_at(0, min(64, source.size))
    kind, encoding = head[4:5], head[5:6]
    if kind not in (b"\1", b"\2") or encoding not in (b"\1", b"\2"):
        raise LibraryError("an ELF file of an unknown class or byte order")
    is64, order = kind == b"\2", "<" if encoding == b"\1" else ">"
    word = "Q" if is64 else "I"
    # Elf_Ehdr: type, machine, version, entry, phoff, shoff, flags, ehsize, phentsize, phnum
    layout = f"{order}2HI3{word}I3H"
    type_, machine, _, _, table_offset, _, _, _, size, count = struct.unpack_from(layout, head, 16)
    # Elf64_Phdr: type, flags, offset, vaddr, paddr, filesz, …; Elf32_Phdr: type, offset, …
    header = struct.Struct(f"{order}2I6Q" if is64 else f"{order}8I")
    if count > _MAX_PROGRAM_HEADERS:
        raise LibraryError(f"{count} program headers")
    if count and size != header.size:
        raise LibraryError(f"program headers of {size} bytes instead of {header.size}")
    loads: list[_Segment] = []
    dynamic = None
    interpreted = False
    for fields in header.iter_unpack(source.read_at(table_offset, count * header.size)):
        offset, address, _, filled = fields[2:6] if is64 else fields[1:5]
        segment = _Segment(offset, address, filled)
        if fields[0] == _PT_LOAD:
            loads.append(segment)
        elif fields[0] == _PT_DYNAMIC:
            dynamic = segment
        elif fields[0] == _PT_INTERP:
            interpreted = True
    return _Elf(
        source=source,
        order=order,
        is64=is64,
        type=type_,
        machine=machine,
        loads=tuple(loads),
        dynamic=dynamic,
        interpreted=interpreted,
    )


def _read_library(elf: _Elf, arch: str) -> Library:
    if elf.dynamic is None:
        if elf.type == _ET_DYN:
            raise LibraryError("a shared library without a dynamic segment")
        return Library(Format.ELF, arch, executable=True)  # a static program
    dynamic = _read_dynamic(elf, elf.dynamic)
    strings = _read_strings(elf, dynamic)
    named = dynamic.get(_Tag.DT_SONAME)
    soname = None if named is None else _text(strings, named, _MAX_PATH)
    versions, version_needs = _read_versions(elf, dynamic, strings)
    imports, exports = _read_symbols(elf, dynamic, strings, versions)
    return Library(
        format=Format.ELF,
        arch=arch,
        # A library can name an interpreter too, to be run for its version.
        executable=elf.type == _ET_EXEC
        or (elf.interpreted and soname is None)
        or bool((dynamic.get(_Tag.DT_FLAGS_1) or 0) & _DF_1_PIE),
        soname=soname,
        needed=tuple(_text(strings, value, _MAX_PATH) for value in dynamic.all(_Tag.DT_NEEDED)),
        rpath=_paths(strings, dynamic.all(_Tag.DT_RPATH)),
        runpath=_paths(strings, dynamic.all(_Tag.DT_RUNPATH)),
        imports=imports,
        exports=exports,
        version_needs=version_needs,
    )


def _read_dynamic(elf: _Elf, segment: _Segment) -> _Dynamic:
    entry = 2 * struct.calcsize(elf.word)
    size = min(segment.size, _MAX_DYNAMIC_BYTES) // entry * entry
    values: dict[int, list[int]] = {}
    data = elf.source.read_at(segment.offset, size)
    for tag, value in struct.iter_unpack(f"{elf.order}2{elf.word}", data):
        if tag == _Tag.DT_NULL:
            return _Dynamic(values)
        values.setdefault(tag, []).append(value)
    raise LibraryError("a dynamic section without an end")


def _read_strings(elf: _Elf, dynamic: _Dynamic) -> bytes:
    address, size = dynamic.get(_Tag.DT_STRTAB), dynamic.get(_Tag.DT_STRSZ)
    if address is None or size is None:
        raise LibraryError("a dynamic section without a string table")
    if len(dynamic.all(_Tag.DT_NEEDED)) > _MAX_NEEDED:
        raise LibraryError(f"{len(dynamic.all(_Tag.DT_NEEDED))} needed libraries")
    if size > _MAX_STRING_TABLE_BYTES:
        raise LibraryError(f"a string table of {size} bytes")
    return elf.read(address, size)


def _text(strings: bytes, offset: int, limit: int = _MAX_NAME) -> str:
    end = strings.find(b"\0", offset, offset + limit)
    if offset >= len(strings) or end < 0:
        raise LibraryError(f"a name at {offset} without an end in the string table")
    return strings[offset:end].decode("utf-8", "backslashreplace")


def _paths(strings: bytes, offsets: list[int]) -> tuple[str, ...]:
    """Return the search path; where the tag stands twice the loader takes the last."""
    return tuple(_text(strings, offsets[-1]).split(":")) if offsets else ()


def _read_symbols(
    elf: _Elf, dynamic: _Dynamic, strings: bytes, versions: dict[int, _Version]
) -> tuple[tuple[Symbol, ...], tuple[Symbol, ...]]:
    """Decode the dynamic symbol table into imports and exports."""
    table = dynamic.get(_Tag.DT_SYMTAB)
    if table is None:
        return (), ()
    count = _count_symbols(elf, dynamic)
    imports, exports = _decode_symbols(elf, dynamic, strings, versions, count)
    if not imports:
        # A library that imports nothing is rare enough to ask what the loader will.
        relocated = _count_relocated(elf, dynamic)
        if relocated > count:
            return _decode_symbols(elf, dynamic, strings, versions, relocated)
    return imports, exports


def _decode_symbols(
    elf: _Elf,
    dynamic: _Dynamic,
    strings: bytes,
    versions: dict[int, _Version],
    count: int,
) -> tuple[tuple[Symbol, ...], tuple[Symbol, ...]]:
    if count > _MAX_SYMBOLS:
        raise LibraryError(f"{count} dynamic symbols")
    if count <= 1:  # index 0 is reserved
        return (), ()
    # Elf64_Sym: name, info, other, shndx, value, size; Elf32_Sym: name, value, size, info, …
    layout = struct.Struct(f"{elf.order}IBBHQQ" if elf.is64 else f"{elf.order}IIIBBH")
    if dynamic.get(_Tag.DT_SYMENT) not in (None, layout.size):
        raise LibraryError(f"dynamic symbols of {dynamic.get(_Tag.DT_SYMENT)} bytes")
    data = elf.read(dynamic.values[_Tag.DT_SYMTAB][-1], count * layout.size)
    versym = dynamic.get(_Tag.DT_VERSYM)
    indices = (
        (0,) * count
        if versym is None
        else struct.unpack(f"{elf.order}{count}H", elf.read(versym, 2 * count))
    )
    imports: list[Symbol] = []
    exports: list[Symbol] = []
    budget = _MAX_NAME_BYTES
    for fields, index in islice(zip(layout.iter_unpack(data), indices, strict=True), 1, None):
        if elf.is64:
            name_offset, info, other, section = fields[:4]
        else:
            name_offset, _, _, info, other, section = fields
        binding = info >> 4
        if not name_offset or binding == _STB_LOCAL:
            continue
        name = _text(strings, name_offset)
        budget -= len(name)
        if budget < 0:
            raise LibraryError("more bytes of symbol names than a library has")
        version = versions.get(index & ~_VERSYM_HIDDEN, _UNVERSIONED)
        weak = binding == _STB_WEAK
        if section == _SHN_UNDEF:
            imports.append(Symbol(name, weak, version.name, version.library))
        elif other & 3 in (_STV_DEFAULT, _STV_PROTECTED):
            exports.append(Symbol(name, weak, version.name))
    return tuple(imports), tuple(exports)


def _count_symbols(elf: _Elf, dynamic: _Dynamic) -> int:
    """Count the dynamic symbols: no tag says it, the hash tables do, or the relocations."""
    address = dynamic.get(_Tag.DT_HASH)
    if address is not None:
        # nbucket, nchain; nchain is the number of symbols. (Alpha and s390x have
        # 64-bit words here; on s390x the GNU hash table serves.)
        if elf.machine != _EM_S390:
            return int(struct.unpack(f"{elf.order}2I", elf.read(address, 8))[1])
        return int(struct.unpack(f"{elf.order}2Q", elf.read(address, 16))[1])
    address = dynamic.get(_Tag.DT_GNU_HASH)
    hashed = 0 if address is None else _count_hashed(elf, address)
    # A GNU hash table covers defined symbols only; without one it says nothing of
    # the undefined ones. Those that matter to the loader are those it relocates.
    return hashed or _count_relocated(elf, dynamic)


def _count_hashed(elf: _Elf, address: int) -> int:
    buckets, first, bloom, _ = struct.unpack(f"{elf.order}4I", elf.read(address, 16))
    if buckets > _MAX_SYMBOLS or bloom > _MAX_SYMBOLS:
        raise LibraryError(f"a hash table of {buckets} buckets")
    start = address + 16 + bloom * struct.calcsize(elf.word)
    last = max(struct.unpack(f"{elf.order}{buckets}I", elf.read(start, 4 * buckets)), default=0)
    if last < first:
        return 0  # every bucket is empty
    chains = start + 4 * buckets
    while last < _MAX_SYMBOLS:
        hashes = elf.read_up_to(chains + 4 * (last - first), _CHUNK)
        for (value,) in struct.iter_unpack(f"{elf.order}I", hashes[: len(hashes) // 4 * 4]):
            last += 1
            if value & 1:  # the end of the last chain
                return last
    raise LibraryError("a hash chain without an end")


def _count_relocated(elf: _Elf, dynamic: _Dynamic) -> int:
    """Return one more than the highest symbol index that a relocation names."""
    with_addend = dynamic.get(_Tag.DT_PLTREL) == _Tag.DT_RELA
    tables = [
        (dynamic.get(_Tag.DT_RELA), dynamic.get(_Tag.DT_RELASZ), 3),
        (dynamic.get(_Tag.DT_REL), dynamic.get(_Tag.DT_RELSZ), 2),
        (dynamic.get(_Tag.DT_JMPREL), dynamic.get(_Tag.DT_PLTRELSZ), 3 if with_addend else 2),
    ]
    highest = -1
    for address, size, words in tables:
        if address is None or not size:
            continue
        if size > _MAX_RELOCATION_BYTES:
            raise LibraryError(f"{size} bytes of relocations")
        layout = struct.Struct(f"{elf.order}{words}{elf.word}")
        data = elf.read(address, size // layout.size * layout.size)
        shift = 32 if elf.is64 else 8
        highest = max(
            highest, max((entry[1] >> shift for entry in layout.iter_unpack(data)), default=-1)
        )
    return highest + 1


def _read_versions(
    elf: _Elf, dynamic: _Dynamic, strings: bytes
) -> tuple[dict[int, _Version], tuple[tuple[str, tuple[str, ...]], ...]]:
    """Read the version definitions and needs.

    Returns:
        The version that each index of the version symbol table stands for, and for
        each needed file the versions asked of it.
    """
    versions: dict[int, _Version] = {}
    address = dynamic.get(_Tag.DT_VERDEF)
    if address is not None:
        data = elf.read_up_to(address, _MAX_VERSION_BYTES)
        # Elf_Verdef: version, flags, ndx, cnt, hash, aux, next; Elf_Verdaux: name, next.
        for position, fields in _linked(
            data, 0, dynamic.get(_Tag.DT_VERDEFNUM), f"{elf.order}4H3I", 6
        ):
            _, flags, index, _, _, aux, _ = fields
            if flags & _VER_FLG_BASE:
                continue  # the file's own name, not a version
            (name,) = struct.unpack_from(f"{elf.order}I", data, position + aux)
            versions[index & ~_VERSYM_HIDDEN] = _Version(_text(strings, name), None)
    needs: dict[str, list[str]] = {}
    budget = _MAX_VERSIONS
    address = dynamic.get(_Tag.DT_VERNEED)
    if address is not None:
        data = elf.read_up_to(address, _MAX_VERSION_BYTES)
        # Elf_Verneed: version, cnt, file, aux, next; Elf_Vernaux: hash, flags, other, name, next.
        for position, fields in _linked(
            data, 0, dynamic.get(_Tag.DT_VERNEEDNUM), f"{elf.order}2H3I", 4
        ):
            _, count, file, aux, _ = fields
            budget -= 1 + count
            if budget < 0:
                raise LibraryError("more version needs than a library has")
            library = _text(strings, file)
            for _, (_, _, index, name, _) in _linked(
                data, position + aux, count, f"{elf.order}I2H2I", 4
            ):
                version = _text(strings, name)
                needs.setdefault(library, []).append(version)
                versions[index & ~_VERSYM_HIDDEN] = _Version(version, library)
    return versions, tuple((library, tuple(names)) for library, names in needs.items())


def _linked(
    data: bytes, position: int, count: int | None, layout: str, next_field: int
) -> list[tuple[int, tuple[int, ...]]]:
    """Unpack a chain of records that each hold the distance to the next.

    Distances only ever lead forward, so the chain ends with the data at the latest.
    """
    records: list[tuple[int, tuple[int, ...]]] = []
    for _ in range(count or 0):
        fields = struct.unpack_from(layout, data, position)
        records.append((position, fields))
        if not fields[next_field]:
            break
        position += fields[next_field]
    return records

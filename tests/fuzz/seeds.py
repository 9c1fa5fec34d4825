"""Where fuzzing begins: the libraries and wheels that the tests have already."""

from __future__ import annotations

import random
import zipfile
from collections.abc import Iterable
from functools import cache

from tests.builders import METADATA, TEST_WHEELS
from tests.fuzz.mutators import pack, with_record
from tests.objects import (
    ARM64,
    EXECUTE,
    LOAD,
    PE,
    REEXPORT,
    WEAK,
    X86_64,
    MachO,
    chained,
    trie,
    universal,
)
from tests.oracle.mutants import a_library
from torch_abi_audit.formats import sniff
from torch_abi_audit.model import Format

_LARGEST = 60_000
_SEGMENTS = [(b"__TEXT", 0, 4096, 0, 64), (b"__LINKEDIT", 4096, 4096, 64, 512)]


@cache
def scenarios() -> tuple[tuple[str, dict[str, bytes]], ...]:
    """Return the wheels of test_wheels/: the filename and the members of each."""
    found = []
    for path in sorted(TEST_WHEELS.glob("*/*.whl")):
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        found.append((path.name, members))
    return tuple(found)


def libraries(kind: Format) -> list[bytes]:
    """Return the libraries of one format in test_wheels/, each once."""
    contents = (data for _, members in scenarios() for data in members.values())
    return list(dict.fromkeys(data for data in contents if sniff(data[:64]) is kind))


def _small(files: Iterable[bytes], most: int) -> list[bytes]:
    fitting = sorted((data for data in files if len(data) <= _LARGEST), key=len)
    step = max(1, len(fitting) // most)
    return fitting[::step][:most]


def elf_seeds() -> list[bytes]:
    made = [
        bytes(a_library(random.Random(number), provides=bool(number % 2)).data)
        for number in range(24)
    ]
    return [*made, *_small(libraries(Format.ELF), 12)]


def macho_seeds() -> list[bytes]:
    bind = b"\x11\x40_f\0\x51\x72\x88\x01\x90\xc0\x02\x08\x00"
    made = [
        MachO(
            [(LOAD, "liba.dylib"), (WEAK, "libb.dylib"), (REEXPORT, "@rpath/libc.dylib")],
            fixups=chained([("_f", 1, False), ("_g", 2, True), ("h", 254, False)], kind),
            trie=trie({"_e": b"\0\x10", "_r": b"\x08\x01\0", "_w": b"\x04\x10"}),
            minos=[(1, 11 << 16)],
            rpath="@loader_path/../lib",
        ).build()
        for kind in (1, 2, 3)
    ]
    made += [
        MachO(
            [(LOAD, "liba.dylib")],
            bind=bind,
            weak=b"\x40_f\0\x90\x40_g\0\x90\x00",
            lazy=b"\x72\x08\x11\x40_g\0\x90\x00",
            info_trie=trie({"_e": b"\0\x10"}),
            segments=segments,
            version_min=11 << 16,
        ).build()
        for segments in ([], _SEGMENTS)
    ]
    made.append(
        MachO([(LOAD, "liba.dylib")], symbols=[("_f", 1, 1 << 8, 0), ("_g", 15, 0, 16)]).build()
    )
    made.append(MachO(filetype=EXECUTE, soname=None, trie=trie({"_main": b"\0\x10"})).build())
    made += [
        universal((ARM64, made[0]), (X86_64, MachO(cpu=X86_64).build()), wide=wide)
        for wide in (False, True)
    ]
    return [*made, *_small(libraries(Format.MACHO), 6)]


def pe_seeds() -> list[bytes]:
    made = [
        PE({"a.dll": ["f", 3]}, {"b.dll": ["g"]}, {"e": None, "fw": "c.h", "#": "d.#7"}).build(),
        PE({"torch_cpu.dll": ["?f@at@@YAXXZ"], "python3.dll": ["PyLong_AsLong"]}).build(),
        PE(exports={"PyInit_x": None}, dll=False).build(),
        PE({"mscoree.dll": ["_CorDllMain"]}, clr_flags=1).build(),
        PE(machine=0xAA64, delayed={"c10.dll": ["x", 9]}).build(),
    ]
    return [*made, *_small(libraries(Format.PE), 6)]


def wheel_seeds() -> list[bytes]:
    found = []
    for _, members in scenarios():
        small = {name: data for name, data in members.items() if len(data) <= _LARGEST}
        if sum(map(len, small.values())) < 2 * _LARGEST:
            found.append(pack(with_record(list(small.items()))))
    tags = {
        "manylinux_2_28_x86_64": elf_seeds()[0],
        "macosx_11_0_arm64": macho_seeds()[0],
        "win_amd64": pe_seeds()[0],
    }
    for tag, library in tags.items():
        metadata = f"{METADATA}Requires-Dist: torch>=2.10\nRequires-Python: >=3.9\n"
        members = {
            "x/_C.abi3.so" if tag[0] != "w" else "x/_C.pyd": library,
            "x-1.0.dist-info/METADATA": metadata.encode(),
            "x-1.0.dist-info/WHEEL": f"Wheel-Version: 1.0\nTag: cp39-abi3-{tag}\n".encode(),
        }
        found.append(pack(with_record(list(members.items()))))
    return sorted(found, key=len)

"""Measure what wheels cost that are made to cost much. Prints Markdown.

    python -m tests.fuzz.growth [--seconds S] [AXIS ...]

Each axis is one thing of which a wheel can have many, up to what fits into a megabyte. A wheel
that takes more than 10 seconds of the processor, or 300 MB, is a finding.
"""

from __future__ import annotations

import argparse
import io
import os
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.builders import METADATA
from tests.objects import ARM64, LOAD, PE, REEXPORT, MachO, chained, trie, universal
from tests.oracle.shared import (
    GNU_HASH,
    HASH,
    JMPREL,
    NEEDED,
    PLTREL,
    RELA,
    RELASZ,
    RELR,
    RELRSZ,
    SONAME,
    STRSZ,
    STRTAB,
    SYMTAB,
    VERNEED,
    VERNEEDNUM,
    VERSYM,
)
from torch_abi_audit.formats.elf_hash import gnu_hash, sysv_hash

_PLTRELSZ, _RUNPATH = 2, 29
_MOST_SECONDS, _MOST_MEGABYTES, _LARGEST = 10, 300, 1 << 20
Files = dict[str, bytes]
Tables = Mapping[int, bytes]


def elf(tables: Tables, tags: Sequence[tuple[int, int | str]], strings: bytes = b"\0") -> bytes:
    """A library with tables, each under the tag of its address, and other tags of its own.

    A value that is a text is put into the string table; one that is negative is the address of
    the table of that tag.
    """
    data = bytearray(64 + 56 * 2)
    places = {}
    texts = bytearray(strings)
    values: list[tuple[int, int]] = []
    for tag, text in tags:
        if isinstance(text, str):
            values.append((tag, len(texts)))
            texts += text.encode() + b"\0"
        else:
            values.append((tag, text))
    for tag, table in {**tables, STRTAB: bytes(texts)}.items():
        data += bytes(-len(data) % 8)
        places[tag] = len(data)
        data += table
    data += bytes(-len(data) % 8)
    dynamic = len(data)
    values = [(tag, places[-value] if value < 0 else value) for tag, value in values]
    rows = [*places.items(), (STRSZ, len(texts)), *values, (0, 0)]
    data += b"".join(struct.pack("<2Q", *row) for row in rows)
    size = len(data)
    data[:64] = struct.pack(
        "<16s2HI3QI6H", b"\x7fELF\2\1\1", 3, 62, 1, 0, 64, 0, 0, 64, 56, 2, 64, 0, 0
    )
    data[64:176] = struct.pack(
        "<2I6Q2I6Q",
        1,
        6,
        0,
        0,
        0,
        size,
        size,
        4096,
        2,
        6,
        *(dynamic,) * 3,
        *(size - dynamic,) * 2,
        8,
    )
    return bytes(data)


def symbols(
    names: list[bytes], *, defined: bool = False, strings: bytes = b"\0"
) -> tuple[Tables, bytes]:
    """A table of symbols and a hash table, and the string table with their names."""
    rows, texts = [bytes(24)], bytearray(strings)
    for name in names:
        rows.append(struct.pack("<IBBHQQ", len(texts), 0x12, 0, int(defined), 64 * defined, 0))
        texts += name + b"\0"
    return {SYMTAB: b"".join(rows), **_hashed(names if defined else [], len(names) + 1)}, bytes(
        texts
    )


def _hashed(names: list[bytes], count: int) -> Tables:
    if not names:  # a table of the old kind says how many symbols there are
        return {HASH: struct.pack(f"<{3 + count}I", 1, count, 0, *[0] * count)}
    first = 1
    chain = [gnu_hash(name) & ~1 for name in names]
    chain[-1:] = [item | 1 for item in chain[-1:]]
    head = struct.pack("<4IQI", 1, first, 1, 6, (1 << 64) - 1, first)
    return {GNU_HASH: head + struct.pack(f"<{len(chain)}I", *chain)}


def _imports(names: list[bytes], needed: str = "libtorch_cpu.so") -> bytes:
    tables, strings = symbols(names)
    return elf(tables, [(NEEDED, needed)], strings)


def _suffixes(count: int, size: int) -> bytes:
    """Symbols whose names are the ends of one long name."""
    name = b"_ZN2at" + b"1a" * (size // 2) + b"E\0"
    rows = [bytes(24)]
    rows += [struct.pack("<IBBHQQ", 1 + 2 * place, 0x12, 0, 0, 0, 0) for place in range(count)]
    tables = {SYMTAB: b"".join(rows), **_hashed([], count + 1)}
    return elf(tables, [(NEEDED, "libtorch_cpu.so")], b"\0" + name)


def _circle(count: int, *, name: str = "l{}.so", symbol: bytes = b"_ZN2at4goneEv") -> Files:
    names = [name.format(number) for number in range(count)]
    tables, strings = symbols([symbol])
    made = {}
    for own in names:
        tags: list[tuple[int, int | str]] = [(SONAME, own), (_RUNPATH, "$ORIGIN")]
        tags += [(NEEDED, other) for other in names if other != own]
        made[f"x/{own}"] = elf(tables, [*tags, (NEEDED, "libtorch_cpu.so")], strings)
    return made


def _same_symbols(count: int) -> Files:
    """Libraries that define what the others import."""
    names = [b"_ZN1x%d%sEv" % (len(b"f%d" % n), b"f%d" % n) for n in range(300)]
    rows, strings = [bytes(24)], bytearray(b"\0")
    for section in (0, 1):
        for name in names:
            rows.append(struct.pack("<IBBHQQ", len(strings), 0x22, 0, section, 64 * section, 0))
            strings += name + b"\0"
    hashed = _hashed(names, 0)[GNU_HASH]
    head = struct.pack("<4IQI", 1, 301, 1, 6, (1 << 64) - 1, 301)
    tables = {SYMTAB: b"".join(rows), GNU_HASH: head + hashed[len(head) :]}
    library = elf(tables, [(NEEDED, "libtorch_cpu.so")], bytes(strings))
    return {f"x/l{number}.so": library for number in range(count)}


def _second_copies(count: int) -> Files:
    """Libraries that are loaded with a second copy of torch's, with many exports."""
    tables, strings = symbols([b"_ZN2at4f%dEv" % number for number in range(count)], defined=True)
    copy = "libc10-0a1b2c3d.so"
    users, names = symbols([b"_ZN2at4goneEv"])
    tags: list[tuple[int, int | str]] = [(NEEDED, copy), (NEEDED, "libtorch_cpu.so")]
    return {
        f"x/{copy}": elf(tables, [], strings),
        **{f"x/l{number}.so": elf(users, tags, names) for number in range(400)},
    }


def _chain(count: int) -> Files:
    tables, strings = symbols([b"_ZN2at4goneEv"])
    return {
        f"x/l{number}.so": elf(
            tables,
            [
                *((SONAME, f"l{number}.so"), (_RUNPATH, "$ORIGIN")),
                *((NEEDED, f"l{number + 1}.so"), (NEEDED, "libtorch_cpu.so")),
            ],
            strings,
        )
        for number in range(count)
    }


def _modules(count: int) -> Files:
    """Modules that need one library, which is loaded with each of them."""
    tables, strings = symbols([b"PyInit_m"], defined=True)
    tags: list[tuple[int, int | str]] = [(_RUNPATH, "$ORIGIN"), (NEEDED, "l0.so")]
    module = elf(tables, tags, strings)
    return {**_chain(20), **{f"x/m{number}.so": module for number in range(count)}}


def _runpaths(count: int) -> Files:
    tables, strings = symbols([b"f"])
    path = ":".join(f"$ORIGIN/{number % 10}" for number in range(count))[:65_000]
    tags: list[tuple[int, int | str]] = [(_RUNPATH, path)]
    tags += [(NEEDED, f"n{number}.so") for number in range(1000)]
    library = elf(tables, tags, strings)
    return {f"x/l{number}.so": library for number in range(10)}


def _copies(count: int) -> Files:
    rela = struct.pack("<QQQ", 64, 1 << 32 | 5, 0) * count
    tables, strings = symbols([b"f"])
    tags: list[tuple[int, int | str]] = [(RELASZ, len(rela)), (JMPREL, -RELA)]
    tags += [(_PLTRELSZ, len(rela)), (PLTREL, RELA)]
    return {"x/l.so": elf({**tables, RELA: rela}, tags, strings)}


def _relr(count: int) -> Files:
    """Bitmaps that reach into a table with none of their bits."""
    tables, strings = symbols([b"f"])
    # The first table lies at 176; what is set are the first words, before it.
    relr = struct.pack("<2Q", 64, 1) * (count // 2)
    relr = struct.pack("<2Q", 64, 3 | 1 << 60) * (count // 2)
    return {"x/l.so": elf({**tables, RELR: relr}, [(RELRSZ, len(relr))], strings)}


def _versions(count: int) -> Files:
    names = [b"V%d" % number for number in range(count)]
    strings = bytearray(b"\0")
    rows = []
    for number, name in enumerate(names):
        following = 16 if number + 1 < count else 0
        rows.append(struct.pack("<IHHII", sysv_hash(name), 0, number + 2, len(strings), following))
        strings += name + b"\0"
    file = len(strings)
    strings += b"libc.so.6\0"
    need = struct.pack("<HHIII", 1, count, file, 16, 0) + b"".join(rows)
    tables, _ = symbols([b""])
    tables = {**tables, VERSYM: struct.pack("<2H", 0, 1), VERNEED: need}
    return {"x/l.so": elf(tables, [(VERNEEDNUM, 1), (NEEDED, "libc.so.6")], bytes(strings))}


def _deep_trie(count: int) -> Files:
    """A trie in which each node has one edge and an export."""
    data = bytearray()
    for _ in range(count):
        data += b"\x02\0\x10\x01a\0"
        place = len(data) + 3
        data += bytes([place & 0x7F | 0x80, place >> 7 & 0x7F | 0x80, place >> 14])
    data += b"\x02\0\x10\0"
    return {
        "x/l.dylib": MachO([(LOAD, "liba.dylib")], trie=bytes(data), fixups=chained([])).build()
    }


def _broad_trie(count: int) -> Files:
    exports = {f"_e{number}": b"\0\x10" for number in range(count)}
    return {"x/l.dylib": MachO(trie=trie(exports), fixups=chained([])).build()}


def _slices(count: int) -> Files:
    whole = MachO([(LOAD, "@rpath/libtorch_cpu.dylib")], fixups=chained([("_f", 1, False)]))
    slices = []
    for number in range(count):
        whole.cpu = ARM64 + (number << 8)
        slices.append((whole.cpu, whole.build()))
    return {f"x/l{number}.dylib": universal(*slices) for number in range(60)}


def _dylib_circle(count: int) -> Files:
    names = [f"l{number}.dylib" for number in range(count)]
    return {
        f"x/{own}": MachO(
            [(REEXPORT, f"@loader_path/{other}") for other in names if other != own],
            fixups=chained([("_f", 1, False)]),
            soname=f"@rpath/{own}",
        ).build()
        for own in names
    }


def _rpaths(count: int) -> Files:
    command = b"@loader_path/x\0\0"
    rpath = struct.pack("<3I", 0x8000001C, 12 + len(command), 12) + command
    library = MachO(
        [(LOAD, f"@rpath/n{number}.dylib") for number in range(count)],
        extra=[rpath] * count,
        fixups=chained([]),
    ).build()
    return {"x/l.dylib": library}


def _pe_imports(count: int) -> Files:
    return {"x/_C.pyd": PE({f"d{number}.dll": ["f"] for number in range(count)}).build()}


def _pe_circle(count: int) -> Files:
    names = [f"l{number}.dll" for number in range(count)]
    return {
        f"x/{own}": PE(
            {other: ["f"] for other in names if other != own}, exports={"g": None}
        ).build()
        for own in names
    }


def _manglings(count: int) -> Files:
    names = [
        b"_ZN2at%d%sEv" % (len(b"f%d" % n), b"f%d" % n) + b"N2at6TensorE" * 300
        for n in range(count)
    ]
    return {"x/l.so": _imports(names)}


def _templates(count: int) -> Files:
    inner = b"St6vectorIN2at6TensorESaIS1_EE"
    names = [
        b"_ZN2at%d%sI" % (len(b"f%d" % n), b"f%d" % n) + inner * 60 + b"EEvv" for n in range(count)
    ]
    return {"x/l.so": _imports(names)}


def _references(count: int) -> Files:
    """Names that grow with each type that they refer back to."""
    grown = b"St4pairI" + b"21aVeryLongNameOfATypeS3_" + b"E"
    grown += b"".join(b"S1_IS%d_S%d_E" % (place, place) for place in range(4, 9))
    names = [b"_ZN2at%d%sI" % (len(b"f%d" % n), b"f%d" % n) + grown + b"EEvv" for n in range(count)]
    return {"x/l.so": _imports(names)}


def _msvc(count: int) -> Files:
    names: list[str | int] = [f"?f{n}@at@@YAX{'AEBVTensor@1@' * 200}@Z" for n in range(count)]
    return {"x/_C.pyd": PE({"torch_cpu.dll": names}).build()}


def _metadata(*lines: str) -> Files:
    return {
        "METADATA": (METADATA + "Requires-Dist: torch>=2.9\n" + "\n".join(lines) + "\n").encode()
    }


def _markers(count: int) -> Files:
    return _metadata(
        *(
            f"Requires-Dist: torch>=2.{n % 9}; "
            + " or ".join(f"platform_release == '{n}.{m}'" for m in range(55))
            for n in range(count)
        )
    )


def _texts(count: int) -> Files:
    literal = "".join(map(chr, range(0x100, 0x13F)))
    return _metadata(
        *(
            f"Requires-Dist: torch>=2.9; '{literal[:60]}{n}' in platform_version or "
            f"platform_version in '{literal}'"
            for n in range(count)
        )
    )


def _tags(count: int) -> Files:
    tag = "-".join([".".join("abcdefghij")] * 3)
    return {"WHEEL": ("Wheel-Version: 1.0\n" + f"Tag: {tag}\n" * count).encode()}


def _broken(count: int) -> Files:
    return {f"x/{number}.so": b"\0" for number in range(count)}


def _broken_long(count: int) -> Files:
    library = bytearray(MachO().build())
    return {f"x/{'n' * 40}{number}.so": bytes(library[:40]) for number in range(count)}


def _alternatives(count: int) -> Files:
    tables, strings = symbols([b"_ZN2at4goneEv"])
    library = elf(tables, [(NEEDED, "libtorch_cpu.so")], strings)
    return {f"x/torch2.{n % 90}/l{n // 90}.so": library for n in range(count)}


def _entry_points(count: int) -> Files:
    return {"entry_points.txt": b"[x]\n" + b"a\n" * count}


def _names_of_folders(count: int) -> Files:
    return {"a/" * count + "b": b""}


def _names(count: int) -> Files:
    return {f"{number}{'é' * 20000}": b"" for number in range(count)}


def _licenses(count: int) -> Files:
    return _metadata(*(f"License-File: {number}" for number in range(count)))


def _record(count: int) -> Files:
    return {"RECORD": b"a,sha256=b,1\n" * count}


def _commas(count: int) -> Files:
    return {"RECORD": b"," * count}


def _headers(count: int) -> Files:
    return {"METADATA": METADATA.encode() + b"a:\n" * count}


def _zeros(count: int) -> Files:
    return {"x/l.so": elf(symbols([b"f"])[0], [(NEEDED, "a")], bytes(count))}


# By name: what makes the wheel, and of how many.
AXES: dict[str, tuple[Callable[[int], Files], tuple[int, ...]]] = {
    "members": (lambda n: {f"m{i}.py": b"" for i in range(n)}, (1_000, 4_000, 9_000)),
    "broken libraries": (_broken, (1_000, 4_000, 8_000)),
    "broken Mach-O": (_broken_long, (1_000, 3_000, 6_000)),
    "libraries in a circle": (_circle, (50, 100, 200, 400)),
    "same symbols": (_same_symbols, (100, 400, 1_600)),
    "exports of a second copy": (_second_copies, (1_000, 10_000, 80_000)),
    "libraries in a chain": (_chain, (100, 300, 900)),
    "modules of a chain": (_modules, (100, 400, 1_600)),
    "dylibs in a circle": (_dylib_circle, (50, 100, 200)),
    "DLLs in a circle": (_pe_circle, (50, 100, 200)),
    "alternatives": (_alternatives, (180, 720, 2_160)),
    "entries of RUNPATH": (_runpaths, (100, 1_000, 6_000)),
    "entries of LC_RPATH": (_rpaths, (500, 1_000, 2_000)),
    "copy relocations": (_copies, (10_000, 100_000, 1_000_000)),
    "relative relocations": (_relr, (10_000, 100_000, 1_000_000)),
    "suffixes as names": (lambda n: {"x/l.so": _suffixes(n, 60_000)}, (500, 1_000, 2_000)),
    "short suffixes": (lambda n: {"x/l.so": _suffixes(n, 4_000)}, (500, 1_000, 2_000)),
    "versions": (_versions, (1_000, 10_000, 30_000)),
    "zeros in strings": (_zeros, (1_000_000, 10_000_000, 60_000_000)),
    "deep trie": (_deep_trie, (1_000, 5_000, 11_000)),
    "broad trie": (_broad_trie, (50, 100, 250)),
    "slices": (_slices, (10, 20, 40)),
    "DLLs": (_pe_imports, (1_000, 10_000, 60_000)),
    "long manglings": (_manglings, (100, 1_000, 8_000)),
    "templates": (_templates, (100, 1_000, 8_000)),
    "back-references": (_references, (100, 1_000, 10_000)),
    "Microsoft's manglings": (_msvc, (100, 1_000, 4_000)),
    "markers": (_markers, (10, 100, 300)),
    "texts in markers": (_texts, (10, 100, 300)),
    "tags": (_tags, (100, 1_000, 10_000)),
    "lines of entry points": (_entry_points, (10_000, 100_000, 1_000_000)),
    "folders in a name": (_names_of_folders, (1_000, 10_000, 30_000)),
    "long names": (_names, (2, 5, 10)),
    "license files": (_licenses, (1_000, 10_000, 50_000)),
    "commas of RECORD": (_commas, (100_000, 1_000_000, 16_000_000)),
    "headers": (_headers, (1_000, 10_000, 300_000)),
    "rows of RECORD": (_record, (10_000, 100_000, 1_000_000)),
}


class Cost(NamedTuple):
    """Seconds of the processor, megabytes at the peak, and how it ended."""

    seconds: float
    megabytes: float
    code: int


def write_wheel(folder: Path, files: Files, tag: str = "manylinux_2_28_x86_64") -> Path:
    """Write a wheel."""
    inside = {"WHEEL": f"Wheel-Version: 1.0\nTag: py39-none-{tag}\n".encode(), **_metadata()}
    members = {
        n: d
        for n, d in files.items()
        if n not in ("METADATA", "WHEEL", "RECORD", "entry_points.txt")
    }
    inside.update({n: d for n, d in files.items() if n not in members})
    path = folder / f"x-1.0-py39-none-{tag}.whl"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        for name, data in inside.items():
            archive.writestr(f"x-1.0.dist-info/{name}", data)
    path.write_bytes(buffer.getvalue())
    return path


def measure(wheel: Path, seconds: float) -> Cost:
    """Audit a wheel in a process of its own; stop it after some time."""
    process = subprocess.Popen(
        [sys.executable, "-m", "torch_abi_audit", "--no-config", "--json", str(wheel)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + seconds
    while (found := os.wait4(process.pid, os.WNOHANG))[0] == 0:
        if time.monotonic() > end:
            process.kill()
            found = os.wait4(process.pid, 0)
            break
        time.sleep(0.02)
    _, status, usage = found
    process.returncode = os.waitstatus_to_exitcode(status)
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, process.returncode)


def make(name: str, count: int, folder: Path) -> Path:
    """Write the wheel of an axis."""
    files = AXES[name][0](count)
    tag = "manylinux_2_28_x86_64"
    if any("dylib" in path for path in files):
        tag = "macosx_11_0_arm64"
    if any(path.endswith((".dll", ".pyd")) for path in files):
        tag = "win_amd64"
    return write_wheel(folder, files, tag)


def _row(name: str, count: int, seconds: float) -> bool:
    """Print what one wheel costs; return whether it is too much."""
    with tempfile.TemporaryDirectory() as folder:
        # In another process: what this one takes at its peak, its children seem to take.
        code = f"from tests.fuzz.growth import *; print(make({name!r}, {count}, Path({folder!r})))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        wheel = Path(done.stdout.decode().strip())
        size = wheel.stat().st_size
        cost = measure(wheel, seconds)
    much = cost.seconds > _MOST_SECONDS or cost.megabytes > _MOST_MEGABYTES or cost.code < 0
    much = much and size <= _LARGEST
    notes = [*(["too much"] if much else []), *([f"ended with {cost.code}"] * (cost.code < 0))]
    cells = [name, f"{count:,}", f"{size / 1024:.0f}", f"{cost.seconds:.2f}"]
    print(f"| {' | '.join(cells)} | {cost.megabytes:.0f} | {', '.join(notes)} |", flush=True)  # noqa: T201
    return much


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz.growth", description="Measure what hostile wheels cost."
    )
    parser.add_argument("axes", nargs="*", metavar="AXIS", help=", ".join(AXES))
    parser.add_argument("--seconds", type=float, default=60, help="after which one is stopped")
    options = parser.parse_args()
    print("| of what | how many | kB | CPU seconds | peak MB | |\n|---|---|---|---|---|---|")  # noqa: T201
    chosen = [name for name in AXES if name in options.axes or not options.axes]
    rows = [_row(name, count, options.seconds) for name in chosen for count in AXES[name][1]]
    return int(any(rows))


if __name__ == "__main__":
    sys.exit(main())

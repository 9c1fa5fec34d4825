"""Changes that keep so much of an input's structure that what is behind it is reached."""

from __future__ import annotations

import io
import random
import re
import struct
import warnings
import zipfile
from collections.abc import Iterator, Sequence

from tests.builders import record_row
from tests.fuzz.fields import (
    Place,
    change_fields,
    elf_places,
    macho_places,
    pe_places,
)
from tests.unit.runners import HOSTILE
from torch_abi_audit.formats import sniff
from torch_abi_audit.model import Format

_FIND = {Format.ELF: elf_places, Format.MACHO: macho_places, Format.PE: pe_places}
_METHODS = (zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED)
_TIME = (2026, 1, 1, 0, 0, 0)

HOSTILE_WORDS = tuple(piece.encode() for piece in HOSTILE) + tuple(
    text.encode("utf-8", "surrogatepass")
    for text in (
        *("<img src=x onerror=alert(1)>", "[x](http://y)", "![x](//y)", "`", "``", "|", "\\"),
        *("@you", "#1", "http://x.y", "www.x.y", "\x1b[31m", "\u202e", "\u200b", "\ufeff", "\n"),
        *("\r", "%0A::error::x", "\ud800", "\U000e0041", "{libraries}", "{0}", "%s", "$x$"),
        *("::", "##[", "\u2028", "é", "e\u0301", "..", "con", "[bold]", "</td>", "&lt;"),
    )
)
METADATA_WORDS = tuple(
    text.encode()
    for text in (
        *("Requires-Dist: torch", ">=2.10", "==2.9.*", "~=2.9.0", "!=2.8", "===2.9", ",<2.12"),
        *("; ", "python_version", "python_full_version", "platform_machine", "sys_platform"),
        *("platform_release", "platform_version", "implementation_name", "extra", " in ", " or "),
        *(" and ", " not in ", "==", "<", ">=", "'3.11'", "'linux'", "'x86_64'", "(", ")", '"'),
        *("Provides-Extra: x", "Requires-Python: >=3.9", "\n", "Name: x", "Version: 1.0", "[x]"),
        *("Requires-Dist: nvidia-cuda-runtime-cu12", "+cu126", "a0", ".dev1", "rc1", "1!", "@ x"),
        *("Tag: cp39-abi3-manylinux_2_28_x86_64", "Tag: py3-none-any", ".win_amd64", "abi3t"),
        *("cp313t", "-macosx_11_0_universal2", "Root-Is-Purelib: true", "License-File: x"),
        *("variant_label == 'x'", "'nvidia'", "variant_namespaces", "variant_properties"),
        *("'abi_dependency :: torch :: 2.12'", "-cu128.whl"),
        *("[console_scripts]", "x = y:z", "sha256=", "\n ", "\t", "torch @ http://x", "pp310"),
    )
)
VARIANT_WORDS = (
    *(b"abi_dependency", b"torch", b"nvidia", b"cuda_version_lower_bound", b"null", b"variants"),
    *(b'"2.12"', b'["2"]', b"{}", b"[]", b"1e999", b"\\u001b", b"v1.0.0.json", b"namespace"),
)
CONFIG_WORDS = tuple(
    text.encode()
    for text in (
        *("[tool.torch-abi-audit]", "[[tool.torch-abi-audit.ignore]]", "[tool.torch_abi_audit]"),
        *('check = "torch"', "strict = true", 'torch = ">=2.9"', 'min-torch = "2.9"', "migrating"),
        *(
            'rule = "unstable-torch-symbol"',
            'reason = "x"',
            'library = "*"',
            'until-torch = "2.12"',
        ),
        *("symbol", " = ", "[", "]", "{", "}", '"""', "'", "\n", "\\u0000", "1979-05-27", "inf"),
        *("verify = false", "ignore", "0x1", ".", ",", "true"),
    )
)
NAME_WORDS = tuple(
    text.encode()
    for text in (
        *("_Z", "_ZN", "_ZNK", "2at", "3c10", "6Tensor", "5torch", "E", "I", "S_", "S0_", "St"),
        *("TV", "TI", "GV", "Tv0_n24_", "Thn16_", "Z", "N", "J", "T_", "Li", "LZ", "X", "Dp", "DT"),
        *("?", "??0", "??_7", "@", "@@", "QEAA", "XZ", "?$", "V01", "0", "??_R0?AV", "@at@", "__1"),
        *("PyInit_", "PyModExport_", ".cpython-311-x86_64-linux-gnu.so", ".abi3.so", ".abi3t.so"),
        *("cp313t-win_amd64.pyd", "aoti_torch_", "torch_", "C1", "D2Ev", "cv", "li", "\0"),
    )
)


def change_library(rng: random.Random, data: bytes) -> bytes:
    """Change fields of a library, or a few of its bytes."""
    kind = sniff(data[:64])
    if kind is not None and rng.random() < 0.85:
        return change_fields(rng, data, _FIND[kind])
    return change_bytes(rng, data)


def change_bytes(rng: random.Random, data: bytes) -> bytes:
    """Change, take out or put in some bytes, anywhere."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(changed) + 1)
        piece = rng.randbytes(rng.choice([1, 1, 2, 4, 8]))
        match rng.randrange(5):
            case 0:
                changed[place:place] = piece
            case 1:
                del changed[place : place + rng.randint(1, 16)]
            case 2:
                other = rng.randrange(len(changed) + 1)
                changed[place:place] = changed[other : other + rng.randint(1, 64)]
            case _:
                changed[place : place + len(piece)] = piece
    return bytes(changed)


def change_text(rng: random.Random, data: bytes, words: Sequence[bytes]) -> bytes:
    """Put words in, in the place of others; take lines out, or double them."""
    for _ in range(rng.randint(1, 3)):
        ends = [match.start() for match in re.finditer(rb"\b|$", data)] or [0]
        start, end = sorted(rng.choices(ends, k=2))
        word = rng.choice(words)
        match rng.randrange(6):
            case 0:
                lines = data.split(b"\n")
                lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
                data = b"\n".join(lines)
            case 1:
                lines = data.split(b"\n")
                del lines[rng.randrange(len(lines))]
                data = b"\n".join(lines)
            case 2:
                data = data[:start] + word + data[end if end - start < 40 else start :]
            case 3:
                data = data[:start] + word * rng.choice([1, 2, 9]) + data[start:]
            case 4:
                data = data[:start] + data[start:end] * 2 + data[end:]
            case _:
                data = data[:start] + word + data[start:]
    return data


def zip_places(data: bytes) -> Iterator[Place]:
    """Yield the fields of a zip archive's records."""
    for signature, sizes in (
        (b"PK\x03\x04", "222224442"),
        (b"PK\x01\x02", "2222224442222244"),
        (b"PK\x05\x06", "22224422"),
        (b"PK\x06\x06", "8224488888"),
        (b"PK\x06\x07", "484"),
        (b"PK\x07\x08", "444"),
    ):
        place = data.find(signature)
        while place >= 0:
            offset = place + 4
            for size in map(int, sizes):
                yield Place(offset, size)
                offset += size
            if signature == b"PK\x03\x04" and offset + 4 <= len(data):
                offset += 2 + struct.unpack_from("<H", data, offset - 2)[0]
            place = data.find(signature, place + 4)


Members = list[tuple[str, bytes]]


def unpack(data: bytes) -> Members:
    """Return the members of an archive, none of one that can't be read."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(info.file_size for info in archive.infolist()) > 1 << 20:
                return []
            return [(info.orig_filename, archive.read(info)) for info in archive.infolist()]
    except Exception:  # noqa: BLE001 -- what zipfile raises for damaged archives is anything
        return []


def pack(members: Members, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return an archive, with right checksums and sizes."""
    buffer = io.BytesIO()
    with (
        warnings.catch_warnings(action="ignore"),  # of names that are there twice
        zipfile.ZipFile(buffer, "w") as archive,
    ):
        for name, data in members:
            info = zipfile.ZipInfo(name[:60_000], _TIME)
            info.compress_type = method
            archive.writestr(info, data)
    return buffer.getvalue()


def with_record(members: Members) -> Members:
    """Return members with a ``RECORD`` that is right about them."""
    rows, found = [], []
    for name, data in members:
        if name.endswith(".dist-info/RECORD"):
            continue
        found.append((name, data))
        rows.append(record_row(name.replace(",", "_").replace('"', "_"), data))
    folder = next(
        (n.partition("/")[0] for n, _ in members if ".dist-info/" in n), "x-1.0.dist-info"
    )
    text = "".join([*rows, f"{folder}/RECORD,,\n"])
    return [*found, (f"{folder}/RECORD", text.encode("utf-8", "surrogatepass"))]


def change_wheel(rng: random.Random, data: bytes) -> bytes:
    """Change one member of a wheel, or its records, and pack it anew where that fits."""
    choice = rng.random()
    members = unpack(data) if choice < 0.85 else []
    if not members:
        return change_fields(rng, data, zip_places) if choice < 0.97 else change_bytes(rng, data)
    place = rng.randrange(len(members))
    name, contents = members[place]
    if choice < 0.5:
        compiled = [i for i, (_, data) in enumerate(members) if sniff(data[:64]) is not None]
        place = rng.choice(compiled or [place])
        name, contents = members[place]
    if choice < 0.7:
        words = METADATA_WORDS if ".dist-info/" in name else HOSTILE_WORDS
        is_library = sniff(contents[:64]) is not None
        contents = (
            change_library(rng, contents) if is_library else change_text(rng, contents, words)
        )
        members[place] = name, contents
    elif choice < 0.78:
        changed = change_text(rng, name.encode("utf-8", "surrogatepass"), HOSTILE_WORDS)
        members[place] = changed.decode("utf-8", "replace"), contents
    elif choice < 0.82:
        members.insert(rng.randrange(len(members) + 1), (rng.choice(members)[0], contents))
    else:
        del members[place]
    if rng.random() < 0.6:
        members = with_record(members)
    try:
        return pack(members, rng.choice(_METHODS))
    except (ValueError, UnicodeEncodeError):
        return data

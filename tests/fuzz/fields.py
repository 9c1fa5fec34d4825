"""Where the fields of a library's headers and tables are, as far as its bytes lead to them.

A fuzzer that changes any byte of a library mostly changes what nobody reads. These are the
places that decide; what is found there may be nonsense already, so each step is bounded.
"""

from __future__ import annotations

import contextlib
import random
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

_MANY = 24  # entries of one table
_VERSYM, _VERDEF, _VERNEED = 0x6FFFFFF0, 0x6FFFFFFC, 0x6FFFFFFE
# The tags of the dynamic section whose values are addresses of tables.
_TABLES = frozenset({4, 5, 6, 7, 17, 23, 36, 0x6FFFFEF5, _VERSYM, _VERDEF, _VERNEED})


class Place(NamedTuple):
    """A field: where it is, how many bytes it has, and in which order."""

    offset: int
    size: int
    order: str = "<"

    def get(self, data: bytes | bytearray) -> int:
        raw = data[self.offset : self.offset + self.size]
        return int.from_bytes(raw, "little" if self.order == "<" else "big")

    def set(self, data: bytearray, value: int) -> None:
        masked = value & ((1 << 8 * self.size) - 1)
        raw = masked.to_bytes(self.size, "little" if self.order == "<" else "big")
        data[self.offset : self.offset + self.size] = raw


def _row(offset: int, sizes: str, order: str) -> Iterator[Place]:
    """Yield the fields of a record; `sizes` has a digit for each."""
    for size in map(int, sizes):
        yield Place(offset, size, order)
        offset += size


def _number(data: bytes, layout: str, offset: int) -> int:
    return int(struct.unpack_from(layout, data, offset)[0])


def elf_places(data: bytes) -> Iterator[Place]:
    """Yield the fields of an ELF file."""
    wide, order = data[4:5] == b"\2", "<" if data[5:6] != b"\2" else ">"
    word = 8 if wide else 4
    letter = "Q" if wide else "I"
    yield from (Place(offset, 1) for offset in (4, 5, 6, 7, 8, 9))
    yield from _row(16, f"224{word}{word}{word}4222222", order)
    table = _number(data, f"{order}{letter}", 32 if wide else 28)
    count = _number(data, f"{order}H", 56 if wide else 44)
    size = 56 if wide else 32
    loads: list[tuple[int, int, int]] = []
    dynamic = None
    for place in range(table, table + min(count, _MANY) * size, size):
        fields = struct.unpack_from(f"{order}{'2I6Q' if wide else '8I'}", data, place)
        yield from _row(place, "44888888" if wide else "44444444", order)
        offset, address, _, filled = fields[2:6] if wide else fields[1:5]
        if fields[0] == 1:
            loads.append((offset, address, filled))
        elif fields[0] == 2:
            dynamic = offset
    for number in range(64 if dynamic is not None else 0):
        place = (dynamic or 0) + number * 2 * word
        tag, value = struct.unpack_from(f"{order}2{letter}", data, place)
        yield from _row(place, f"{word}{word}", order)
        if not tag:
            return
        if tag in _TABLES:
            for offset, start, filled in loads:
                if start <= value < start + filled:
                    yield from _elf_table(tag, offset + value - start, word, order)


def _elf_table(tag: int, start: int, word: int, order: str) -> Iterator[Place]:
    entries = range(_MANY)
    if tag == 6:
        sizes = "411288" if word == 8 else "444112"
        for number in entries:
            yield from _row(start + number * (24 if word == 8 else 16), sizes, order)
    elif tag in (7, 17, 23):
        step = (3 if tag != 17 else 2) * word
        for number in entries:
            yield from _row(start + number * step, str(word) * (step // word), order)
    elif tag == _VERSYM:
        yield from (Place(start + 2 * number, 2, order) for number in entries)
    elif tag == _VERDEF:
        yield from _row(start, "2222444" + "44", order)
        yield from _row(start + 28, "2222444" + "44", order)
    elif tag == _VERNEED:
        yield from _row(start, "22444" + "42244", order)
        yield from _row(start + 32, "42244", order)
    else:
        yield from (Place(start + 4 * number, 4, order) for number in entries)


def macho_places(data: bytes) -> Iterator[Place]:
    """Yield the fields of a Mach-O file, universal or thin."""
    if data[:4] in (b"\xca\xfe\xba\xbe", b"\xca\xfe\xba\xbf"):
        wide = data[3:4] == b"\xbf"
        yield Place(4, 4, ">")
        for number in range(min(_number(data, ">I", 4), 4)):
            place = 8 + number * (32 if wide else 20)
            yield from _row(place, "448844" if wide else "44444", ">")
            start = _number(data, ">Q" if wide else ">I", place + 8)
            yield from _slice_places(data, start)
        return
    yield from _slice_places(data, 0)


def _slice_places(data: bytes, start: int) -> Iterator[Place]:
    order = "<" if data[start : start + 1] in (b"\xcf", b"\xce") else ">"
    wide = data[start : start + 4] in (b"\xcf\xfa\xed\xfe", b"\xfe\xed\xfa\xcf")
    yield from _row(start, "4444444", order)
    count = _number(data, f"{order}I", start + 16)
    place = start + (32 if wide else 28)
    for _ in range(min(count, 40)):
        command, size = struct.unpack_from(f"{order}2I", data, place)
        body = min(size, 80)
        if command == 0x19:
            yield from _row(place, "44", order)
            yield from _row(place + 24, "8888" + "4444", order)
        else:
            yield from (Place(place + offset, 4, order) for offset in range(0, body - 3, 4))
        for offset, sized in _table_fields(command):
            where = start + _number(data, f"{order}I", place + offset)
            length = _number(data, f"{order}I", place + offset + 4) if sized else 64
            if command == 0x80000034:
                yield from (Place(where + 4 * number, 4, order) for number in range(_MANY))
            else:
                yield from (Place(where + number, 1) for number in range(min(length, 96)))
        place += max(size, 8)


def _table_fields(command: int) -> list[tuple[int, bool]]:
    """Return where in a load command the offsets of tables stand, and if a size follows."""
    return {
        0x2: [(8, False), (16, True)],
        0x22: [(offset, True) for offset in (16, 24, 32, 40)],
        0x80000022: [(offset, True) for offset in (16, 24, 32, 40)],
        0x80000033: [(8, True)],
        0x80000034: [(8, True)],
    }.get(command, [])


def pe_places(data: bytes) -> Iterator[Place]:
    """Yield the fields of a PE file."""
    yield Place(60, 4)
    start = _number(data, "<I", 60)
    yield from _row(start + 4, "2244422", "<")
    count, optional = _number(data, "<H", start + 6), _number(data, "<H", start + 20)
    head = start + 24
    yield Place(head, 2)
    wide = _number(data, "<H", head) == 0x20B
    yield from _row(head + 28, "444", "<")
    yield from _row(head + 32, "44", "<")
    yield from _row(head + 56, "44", "<")
    directories = head + (108 if wide else 92)
    yield from _row(directories, "4" * 33, "<")
    sections = []
    for number in range(min(count, 8)):
        place = head + optional + 40 * number
        yield from _row(place + 8, "4444", "<")
        room, address, size, offset = struct.unpack_from("<4I", data, place + 8)
        sections.append((address, max(room, size), offset))
    tables = {0: "4" * 10, 1: "4" * 15, 13: "4" * 16, 14: "4" * 6}
    for directory, sizes in tables.items():
        address = _number(data, "<I", directories + 4 + 8 * directory)
        for begin, room, offset in sections:
            if address and begin <= address < begin + room:
                where = offset + address - begin
                yield from _row(where, sizes, "<")
                yield from _pointed(data, where, len(sizes), (begin, room, offset))


def _pointed(data: bytes, where: int, count: int, section: tuple[int, int, int]) -> Iterator[Place]:
    """Yield what the numbers of a PE directory point to: tables of addresses, and names."""
    begin, room, offset = section
    for value in struct.unpack_from(f"<{count}I", data, where):
        if begin <= value < begin + room:
            place = offset + value - begin
            yield from _row(place, "4444", "<")


def places(find: Callable[[bytes], Iterator[Place]], data: bytes) -> list[Place]:
    """Return the fields that lie in the data, up to the first that can't be found."""
    found: list[Place] = []
    with contextlib.suppress(struct.error, OverflowError):
        found.extend(p for p in find(data) if 0 <= p.offset <= len(data) - p.size)
    return found


def change_fields(
    rng: random.Random, data: bytes, find: Callable[[bytes], Iterator[Place]]
) -> bytes:
    """Change one to three fields."""
    found = places(find, data)
    if not found:
        return data
    changed = bytearray(data)
    near = rng.randrange(len(found))
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        # The next field is often of the same record.
        near = min(len(found) - 1, max(0, near + rng.randint(-6, 6)))
        near = near if rng.random() < 0.4 else rng.randrange(len(found))
        place = found[near]
        old, other = place.get(changed), rng.choice(found).get(changed)
        word = rng.choice([4, 8, 16, 20, 24, 40, 0x1000])
        value = rng.choice(
            [
                0, 1, 2, 3, rng.randrange(16), rng.randrange(256), rng.randrange(1 << 16), -1, -8,
                old + 1, old - 1, old + word, old - word, old + rng.randrange(64), other, other,
                other + rng.randrange(32), old ^ 1 << rng.randrange(8 * place.size),
                old ^ 1 << rng.randrange(8), len(data), len(data) - old, 1 << 31, 1 << 63,
            ]
        )  # fmt: skip
        place.set(changed, value)
    return bytes(changed)

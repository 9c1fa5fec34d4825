"""ELF hash tables: which symbols of a library the loader finds by name.

A symbol that the hash table does not lead to defines nothing, not even for the library that
contains it: the definition must come from elsewhere.

References: System V gABI chapter 5; glibc's `elf/dl-setup_hash.c` and `do_lookup_x` in
`elf/dl-lookup.c`.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from torch_abi_audit.errors import LibraryError
from torch_abi_audit.formats.elf_image import EM_S390, Tag

if TYPE_CHECKING:
    from array import array

    from torch_abi_audit.budget import Budget
    from torch_abi_audit.formats.elf_image import Dynamic, Image

_STEPS_SYSV = 20  # counted for one old-style hash of a name, for the time it takes
_CHUNK = 1 << 16

# Apart from a constant, the hash of a name is the name read as a base-33 number whose digits are
# its bytes. Python parses such numbers fast, but only with digits below 33, hence the two halves,
# and in time quadratic in their length, hence the parts.
_DIGITS = b"0123456789abcdef"
_HIGH = bytes(_DIGITS[byte >> 4] for byte in range(256))
_LOW = bytes(_DIGITS[byte & 15] for byte in range(256))
_START = 5381
_PART = 192
_POWERS = [pow(33, size, 1 << 32) for size in range(_PART + 1)]
_STARTS = [_START * power for power in _POWERS]


def gnu_hash(name: bytes) -> int:
    """Return the hash of a name in DT_GNU_HASH."""
    size = len(name)
    if not size:
        return _START
    high, low = name.translate(_HIGH), name.translate(_LOW)
    if size <= _PART:
        return _STARTS[size] + 16 * int(high, 33) + int(low, 33) & 0xFFFFFFFF
    value = _START
    for start in range(0, size, _PART):
        part = slice(start, start + _PART)
        power = _POWERS[min(_PART, size - start)]
        value = value * power + 16 * int(high[part], 33) + int(low[part], 33) & 0xFFFFFFFF
    return value


def sysv_hash(name: bytes) -> int:
    """Return the hash of a name in DT_HASH, or of a version."""
    value = 0
    for byte in name:
        value = (value << 4) + byte
        high = value & 0xF0000000
        value = (value ^ high >> 24) & ~high & 0xFFFFFFFF
    return value


class GnuHash:
    """DT_GNU_HASH."""

    def __init__(self, image: Image, address: int, budget: Budget) -> None:
        buckets, first, bloom, self._shift = image.words(address, 4)
        if bloom.bit_count() != 1 or self._shift >= 32:
            raise LibraryError(
                f"a hash table with a filter of {bloom} words, {self._shift} bits on"
            )
        self._bits = 8 * image.word_size
        self._bloom_mask, self._number = bloom - 1, buckets
        place = address + 16
        size = bloom * image.word_size
        image.require(place, size + 4 * buckets)
        budget.spend(steps=buckets + bloom)
        self._bloom = image.numbers(image.read(place, size), image.word)
        place += size
        self._buckets = image.words(place, buckets)
        place += 4 * buckets
        self._first = first
        last = max(self._buckets, default=0)
        if last and (not first or any(bucket < first for bucket in set(self._buckets) - {0})):
            raise LibraryError("a hash table whose chains begin before their table")
        self._chains = image.words(0, 0)
        if last:
            self._chains = _read_chains(image, place, last - first, budget)
        self.address, self.size = address, place + 4 * len(self._chains) - address
        # The earliest place at which each symbol's chain can begin: after the last chain end.
        starts = []
        start = first
        for index, value in enumerate(self._chains, first):
            starts.append(start)
            if value & 1:
                start = index + 1
        self._starts = starts

    @property
    def count(self) -> int:
        """The number of symbols that the table implies, including those before its first."""
        return self._first + len(self._chains) if self._chains else 0

    def holds(self, index: int) -> bool:
        """Whether a symbol is in the table, under any name."""
        return 0 <= index - self._first < len(self._chains)

    def finds(self, index: int, name: bytes) -> bool:
        """Whether the loader finds a symbol when it looks up its name."""
        place = index - self._first
        if not 0 <= place < len(self._chains):
            return False
        value = gnu_hash(name)
        bits = self._bits
        word = self._bloom[value // bits & self._bloom_mask]
        return (
            (self._chains[place] ^ value) < 2
            and self._starts[place] <= self._buckets[value % self._number] <= index
            and word >> value % bits & word >> (value >> self._shift) % bits & 1 == 1
        )


def _read_chains(image: Image, address: int, last: int, budget: Budget) -> array[int]:
    """Read the chains, up to the end of the one that contains a given place."""
    image.require(address, 4 * last)
    budget.spend(steps=last)
    words = image.words(address, last)
    while True:
        data = image.read_up_to(address + 4 * len(words), _CHUNK)
        chunk = image.numbers(data[: len(data) // 4 * 4], "I")
        for number, value in enumerate(chunk, 1):
            if value & 1:
                budget.spend(steps=number)
                return words + chunk[:number]
        if not chunk:
            break
        budget.spend(steps=len(chunk))
        words += chunk
    raise LibraryError("an unterminated hash chain")


class SysvHash:
    """DT_HASH."""

    def __init__(self, image: Image, address: int, budget: Budget) -> None:
        # On s390x the words have 64 bits.
        wide = image.is64 and image.machine == EM_S390
        kind, size = ("Q", 8) if wide else ("I", 4)
        head = struct.unpack(f"{image.order}2{kind}", image.read(address, 2 * size))
        buckets, self.count = head
        image.require(address, (2 + buckets + self.count) * size)
        budget.spend(steps=buckets + self.count)
        self._budget = budget
        self.address, self.size = address, (2 + buckets + self.count) * size
        self._image = image
        self._layout = f"{image.order}{buckets + self.count}{kind}"
        self._number = buckets
        self._place = address + 2 * size
        self._bucket_of: dict[int, int] | None = None

    def _buckets(self) -> dict[int, int]:
        """Return the bucket through which each symbol is found."""
        self._budget.spend(steps=_STEPS_SYSV * self.count)
        size = struct.calcsize(self._layout)
        words = struct.unpack(self._layout, self._image.read(self._place, size))
        buckets, chains = words[: self._number], words[self._number :]
        found: dict[int, int] = {}
        for bucket, first in enumerate(buckets):
            index = first
            while index:
                if index in found or index >= len(chains):
                    raise LibraryError("a hash table with chains that meet or leave it")
                found[index] = bucket
                index = chains[index]
        return found

    def _bucket(self, index: int) -> int | None:
        if self._bucket_of is None:
            self._bucket_of = self._buckets()
        return self._bucket_of.get(index)

    def holds(self, index: int) -> bool:
        """Whether a symbol is in the table, under any name."""
        return self._bucket(index) is not None

    def finds(self, index: int, name: bytes) -> bool:
        """Whether the loader finds a symbol when it looks up its name."""
        bucket = self._bucket(index)
        return bucket is not None and bucket == sysv_hash(name) % self._number


class NoHash:
    """The hash table of a library that has none: the loader finds nothing in it."""

    count = address = size = 0

    def holds(self, index: int) -> bool:  # noqa: ARG002 -- as the others
        """Whether a symbol is in the table, under any name."""
        return False

    def finds(self, index: int, name: bytes) -> bool:  # noqa: ARG002 -- as the others
        """Whether the loader finds a symbol when it looks up its name."""
        return False


HashTable = GnuHash | SysvHash | NoHash


def read_hash(image: Image, dynamic: Dynamic, budget: Budget) -> tuple[HashTable, int]:
    """Read the hash table that the loader uses.

    Returns:
        The table, and the number of symbols that the hash tables together imply.
    """
    old, new = dynamic.get(Tag.DT_HASH), dynamic.get(Tag.DT_GNU_HASH)
    sysv = None if old is None else SysvHash(image, old, budget)
    count = 0 if sysv is None else sysv.count
    if new is not None:
        table = GnuHash(image, new, budget)
        return table, max(count, table.count)
    return sysv or NoHash(), count

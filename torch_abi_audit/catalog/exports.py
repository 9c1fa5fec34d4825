"""What torch's libraries export, release by release, on one platform."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit.catalog.libraries import cuda_library
from torch_abi_audit.claims.manylinux import libstdcxx_is_promised

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from packaging.version import Version


# A block inflates in under a millisecond; larger ones would compress a little better.
BLOCK_SIZE = 1024
_IMPORTED = re.compile(r"(?:lib)?torch(?:_python)?\.(?:so|dylib|dll)")


class Build(NamedTuple):
    """The build of one torch release for one platform that the package index carries.

    Attributes:
        version: The release.
        cuda: The CUDA release it was built with; None for a build without CUDA.
        libraries: Torch's libraries, each with the names of the libraries that it needs.
        others: Names of the other libraries in the same folder.
        requires: The requirements that install CUDA's libraries on this platform.
        cxx11: Whether its C++ names use the new string ABI of libstdc++; None if there is
            no other.
        requires_python: Its ``Requires-Python``.
        pythons: The interpreter and ABI tags that the release has wheels for.
        platforms: The platform tags of these wheels, which say what every system that
            installs such a wheel has.
        local: The name of the build, if it is another one than PyPI's.
        derived: Whether it was not measured but follows from PyPI's build.
        opaque: The libraries of which the exports are not known.
    """

    version: Version
    cuda: str | None
    libraries: Mapping[str, tuple[str, ...]]
    others: frozenset[str] = frozenset()
    requires: tuple[str, ...] = ()
    cxx11: bool | None = None
    requires_python: str = ""
    pythons: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    local: str | None = None
    derived: bool = False
    opaque: frozenset[str] = frozenset()

    @property
    def label(self) -> str:
        """The release as messages have it, such as ``2.13.0+cpu``."""
        return f"{self.version}+{self.local}" if self.local else str(self.version)

    def closure(self, needed: Sequence[str]) -> frozenset[str]:
        """Return torch's libraries that are among the names, or are needed by those that are."""
        found = [name for name in needed if name in self.libraries]
        for name in found:  # grows as it goes
            found += [
                other
                for other in self.libraries[name]
                if other in self.libraries and other not in found
            ]
        return frozenset(found)

    def has_libstdcxx(self, version: str, tags: Collection[str]) -> bool:
        """Whether each system that has it and a target has a version of libstdc++.

        Both the target's tags and those of torch's wheels apply to that system, so the
        stricter one decides.

        Args:
            version: Such as ``GLIBCXX_3.4.29``.
            tags: The platform tags of the target.
        """
        return any(libstdcxx_is_promised(version, promise) for promise in (tags, self.platforms))

    @property
    def needed_by_import(self) -> frozenset[str]:
        """What the libraries need that `import torch` loads."""
        roots = [name for name in self.libraries if _IMPORTED.fullmatch(name)]
        loaded = self.closure(roots)
        return frozenset(name for library in loaded for name in self.libraries[library])

    @property
    def cuda_libraries(self) -> frozenset[str]:
        """CUDA's libraries that torch needs: its requirements install them, and it loads them."""
        return frozenset(
            name
            for needed in self.libraries.values()
            for name in needed
            if cuda_library(name) is not None
        )


class Leak(NamedTuple):
    """A name of libstdc++ that torch's libraries export too, without a version.

    Attributes:
        mask: The builds whose libraries do, as a bit mask over the build numbers.
        version: The symbol version that libstdc++ itself gives the name, e.g.
            ``GLIBCXX_3.4.32``: the oldest libstdc++ that has it.
    """

    mask: int
    version: str


@dataclass(frozen=True)
class ExportTable:
    """The names that torch's libraries export, in blocks that are read on demand.

    A pattern says, for each library that exports a name, in which builds it does, as
    a bit mask over the build numbers. A few patterns cover all names.

    Attributes:
        firsts: The first name of each block; blocks and names in them are sorted.
        read_block: Returns the names of a block.
        pattern_ids: For each name, over all blocks, the number of its pattern.
        patterns: The patterns: library to mask.
        block_size: The number of names in each block but the last.
    """

    firsts: Sequence[str]
    read_block: Callable[[int], Sequence[str]]
    pattern_ids: Sequence[int]
    patterns: Sequence[Mapping[str, int]]
    block_size: int

    @cached_property
    def _blocks(self) -> dict[int, Sequence[str]]:
        return {}

    def _block(self, number: int) -> Sequence[str]:
        if number not in self._blocks:
            self._blocks[number] = self.read_block(number)
        return self._blocks[number]

    def __iter__(self) -> Iterator[tuple[str, Mapping[str, int]]]:
        """Yield every name with its exporters, in order."""
        return self._from(0, 0)

    def exporters(self, name: str) -> Mapping[str, int]:
        """Return the libraries that export a name, each with the mask of its builds."""
        if name not in self._known:
            self._known[name] = self._exporters(name)
        return self._known[name]

    @cached_property
    def _known(self) -> dict[str, Mapping[str, int]]:
        return {}

    def _exporters(self, name: str) -> Mapping[str, int]:
        number = bisect_right(self.firsts, name) - 1
        if number < 0:
            return {}
        names = self._block(number)
        place = bisect_left(names, name)
        if place == len(names) or names[place] != name:
            return {}
        return self.patterns[self.pattern_ids[number * self.block_size + place]]

    def beginning_with(self, prefix: str) -> Iterator[tuple[str, Mapping[str, int]]]:
        """Yield the names that begin with a prefix, in order, with their exporters."""
        # The first such name can be in the block before the one whose first name has the prefix.
        number = max(0, bisect_right(self.firsts, prefix) - 1)
        if number < len(self.firsts):
            for name, exporters in self._from(number, bisect_left(self._block(number), prefix)):
                if not name.startswith(prefix):
                    return
                yield name, exporters

    def _from(self, number: int, place: int) -> Iterator[tuple[str, Mapping[str, int]]]:
        for block in range(number, len(self.firsts)):
            names = self._block(block)
            for index in range(place if block == number else 0, len(names)):
                pattern = self.pattern_ids[block * self.block_size + index]
                yield names[index], self.patterns[pattern]


def make_table(exports: Sequence[Mapping[str, Sequence[str]]]) -> ExportTable:
    """Make the table from the exports of each build's libraries, in the order of the builds."""
    masks: dict[str, dict[str, int]] = {}
    for number, libraries in enumerate(exports):
        for library, names in libraries.items():
            for name in names:
                of_name = masks.setdefault(name, {})
                of_name[library] = of_name.get(library, 0) | 1 << number
    names = sorted(masks)
    numbers: dict[tuple[tuple[str, int], ...], int] = {}
    pattern_ids = [
        numbers.setdefault(tuple(sorted(masks[name].items())), len(numbers)) for name in names
    ]
    blocks = [names[start : start + BLOCK_SIZE] for start in range(0, len(names), BLOCK_SIZE)]
    return ExportTable(
        firsts=[block[0] for block in blocks],
        read_block=blocks.__getitem__,
        pattern_ids=pattern_ids,
        patterns=[dict(pattern) for pattern in numbers],
        block_size=BLOCK_SIZE,
    )

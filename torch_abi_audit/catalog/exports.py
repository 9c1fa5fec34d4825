"""What torch's libraries export, release by release, on one platform."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch_abi_audit.catalog.libraries import cuda_library

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from packaging.version import Version


@dataclass(frozen=True, slots=True)
class Build:
    """The build of one torch release for one platform that the package index carries.

    Attributes:
        version: The release.
        cuda: The CUDA release it was built with; None for a build without CUDA.
        libraries: Torch's libraries, each with the names of those that it needs.
        others: Names of the other libraries that lie beside them.
        requires: The requirements that bring CUDA's libraries on this platform.
        cxx11: Whether its C++ names are in the new string ABI of libstdc++; None where
            there is no other.
    """

    version: Version
    cuda: str | None
    libraries: Mapping[str, tuple[str, ...]]
    others: frozenset[str] = frozenset()
    requires: tuple[str, ...] = ()
    cxx11: bool | None = None

    def closure(self, needed: Sequence[str]) -> frozenset[str]:
        """Return those of torch's libraries that are among the names, or needed by them."""
        found = [name for name in needed if name in self.libraries]
        for name in found:  # grows as it goes
            found += [
                other
                for other in self.libraries[name]
                if other in self.libraries and other not in found
            ]
        return frozenset(found)

    @property
    def cuda_libraries(self) -> frozenset[str]:
        """CUDA's libraries that torch needs: its requirements bring them, and it loads them."""
        return frozenset(
            name
            for needed in self.libraries.values()
            for name in needed
            if cuda_library(name) is not None
        )


@dataclass(frozen=True, slots=True)
class Leak:
    """A name of libstdc++ that torch's libraries export too, without a version.

    Attributes:
        mask: The builds that do, as a bit mask over their numbers.
        version: The symbol version that libstdc++ itself gives the name, e.g.
            ``GLIBCXX_3.4.32``: the oldest libstdc++ that has it.
    """

    mask: int
    version: str


@dataclass(frozen=True, slots=True)
class ExportTable:
    """The names that torch's libraries export.

    A pattern says, for each library that exports a name, in which builds it does, as
    a bit mask over their numbers. Few patterns serve all names.

    Attributes:
        names: Every name, sorted.
        pattern_ids: For each name the number of its pattern.
        patterns: The patterns: library to mask.
    """

    names: Sequence[str]
    pattern_ids: Sequence[int]
    patterns: Sequence[Mapping[str, int]]

    def exporters(self, name: str) -> Mapping[str, int]:
        """Return the libraries that export a name, each with the mask of its builds."""
        position = bisect_left(self.names, name)
        if position == len(self.names) or self.names[position] != name:
            return {}
        return self.patterns[self.pattern_ids[position]]

    def beginning_with(self, prefix: str) -> Iterator[tuple[str, Mapping[str, int]]]:
        """Yield the names that begin with a prefix, in order, with their exporters."""
        position = bisect_left(self.names, prefix)
        while position < len(self.names) and self.names[position].startswith(prefix):
            yield self.names[position], self.patterns[self.pattern_ids[position]]
            position += 1


def make_table(exports: Sequence[Mapping[str, Sequence[str]]]) -> ExportTable:
    """Make the table from what each build's libraries export, in the order of the builds."""
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
    return ExportTable(names, pattern_ids, [dict(pattern) for pattern in numbers])

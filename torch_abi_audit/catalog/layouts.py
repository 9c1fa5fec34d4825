"""Class layouts, enums and assertions of torch's releases: what changed, and since when.

Measured from the headers in torch's own wheels (`build/layouts.py`). A library that inlined
code from them may find every symbol in another release and still be wrong there: it reads a
member at its old offset, calls a virtual function by its old slot, or passes an old enum value.
"""

from __future__ import annotations

import json
import sys
from array import array
from bisect import bisect_left
from dataclasses import dataclass
from enum import Enum
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from zipfile import ZipFile

from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import IO

LAYOUTS_FILE = "layouts.zip"
# The members of the file, which `build/history.py` writes.
NAMES, HEAD, IDS, STEPS, CHANGES, HOLDS, ASSERTIONS = (
    "names.txt",
    "{}/head.json",
    "{}/patterns.bin",
    "{}/steps.json",
    "changes.txt",
    "holds.json",
    "assertions.json",
)
# A pattern has a character for each release of the platform: a letter for a layout (the same
# letter for the same layout), or one of these.
ABSENT, UNKNOWN = ".", "?"
_NO_LAYOUT = ABSENT + UNKNOWN
_INCLUDE = "torch/include/"


class Kind(Enum):
    """What differs between two layouts of a class or enum."""

    SIZE = "s"
    ALIGNMENT = "a"
    BASE = "b"
    MEMBER = "m"
    TYPE = "t"
    VIRTUAL = "v"
    VALUE = "e"
    REMOVED = "r"
    ADDED = "n"


class Fact(NamedTuple):
    """One thing that differs.

    Attributes:
        kind: What it is.
        name: The member, base or virtual function; empty for the class itself.
        was: Before: bytes of a size or alignment, the offset of a base or member, the place
            of a virtual function among those that its class adds, an enum's value, or a
            member's type. None if there was none.
        now: The same after. An offset is in bytes, for bit fields with the bit after a point.

    Sizes and offsets are `UNKNOWN` on Windows: the headers of Microsoft's standard library are
    not available, and the library that stands in for it lays out types differently.
    """

    kind: Kind
    name: str
    was: int | str | None
    now: int | str | None


@dataclass(frozen=True, slots=True)
class Change:
    """How the layout of a class, or the values of an enum, changed.

    Attributes:
        name: The class or enum.
        since: The first release with the new layout.
        facts: What differs, the most telling first. If there are many members, only the first
            are here; `count` counts them all.
        count: How many things differ.
    """

    name: str
    since: Version
    facts: tuple[Fact, ...]
    count: int

    @property
    def kind(self) -> Kind:
        """What differs first."""
        return self.facts[0].kind


class Literal(NamedTuple):
    """The string that an inlined assertion left in a library, taken apart.

    Attributes:
        header: The header's path below ``include``, as `header_path` returns it.
        line: The line.
        text: The text before `` INTERNAL ASSERT FAILED at``. Linkers merge strings, so
            other text may come before it.
    """

    header: str
    line: int
    text: str


def header_path(path: str) -> str | None:
    r"""Return the part of a file's path below torch's ``include`` folder; None outside of it.

    >>> header_path("/opt/python/lib/site-packages/torch/include/c10/util/SmallVector.h")
    'c10/util/SmallVector.h'
    >>> header_path(r"C:\\site-packages\\torch\\include\\c10/util/SmallVector.h")
    'c10/util/SmallVector.h'
    """
    # In the text of an assertion, backslashes are doubled.
    _, found, header = path.replace("\\", "/").replace("//", "/").rpartition(_INCLUDE)
    return header if found else None


class Layouts:
    """What changed in torch's headers. Each part is read when first used.

    Args:
        open_file: Opens the file that holds the data.
    """

    def __init__(self, open_file: Callable[[], IO[bytes]]) -> None:
        self._open = open_file
        self._platforms: dict[str, PlatformLayouts] = {}

    @cached_property
    def _archive(self) -> ZipFile:
        return ZipFile(self._open())

    def _read(self, name: str) -> bytes:
        return self._archive.read(name)

    @cached_property
    def platforms(self) -> frozenset[str]:
        """The platforms whose headers were read."""
        members = self._archive.namelist()
        return frozenset(name.partition("/")[0] for name in members if "/" in name)

    def of(self, platform: str) -> PlatformLayouts | None:
        """Return the layouts of a platform, by its key; None if there are none."""
        if platform not in self._platforms:
            if platform not in self.platforms:
                return None
            self._platforms[platform] = PlatformLayouts(self, platform)
        return self._platforms[platform]

    @cached_property
    def names(self) -> Sequence[str]:
        """Every class and enum of any release and platform, sorted."""
        return self._read(NAMES).decode().split("\n")

    @cached_property
    def changes(self) -> Sequence[str]:
        """Every change of any of them, as JSON."""
        return self._read(CHANGES).decode().split("\n")

    @cached_property
    def holds(self) -> Mapping[str, Sequence[int]]:
        """For each name, those it contains that changed or lead to a change, all by number."""
        found: dict[str, list[int]] = json.loads(self._read(HOLDS))
        return found

    @cached_property
    def assertions(self) -> Assertions:
        """The assertions in the headers."""
        return Assertions(json.loads(self._read(ASSERTIONS)))

    def member(self, template: str, platform: str) -> bytes:
        """Return a platform's own member of the file."""
        return self._read(template.format(platform))

    @cached_property
    def by_last(self) -> Mapping[str, Sequence[str]]:
        """The names by their last part, without scopes."""
        found: dict[str, list[str]] = {}
        for name in self.names:
            if "<" not in name:
                found.setdefault(name.rpartition("::")[2], []).append(name)
        return found

    def number(self, name: str) -> int | None:
        """Return the number of a class or enum; None for one that no release has."""
        place = bisect_left(self.names, name)
        return place if place < len(self.names) and self.names[place] == name else None


class PlatformLayouts:
    """The layouts on one platform; made by `Layouts.of`."""

    def __init__(self, layouts: Layouts, platform: str) -> None:
        self._layouts = layouts
        self._platform = platform

    @cached_property
    def _head(self) -> Any:
        return json.loads(self._layouts.member(HEAD, self._platform))

    @cached_property
    def _ids(self) -> array[int]:
        ids = array("H", self._layouts.member(IDS, self._platform))
        if sys.byteorder == "big":
            ids.byteswap()
        return ids

    @cached_property
    def _steps(self) -> Mapping[str, Mapping[str, int]]:
        found: dict[str, dict[str, int]] = json.loads(self._layouts.member(STEPS, self._platform))
        return found

    @cached_property
    def releases(self) -> tuple[Version, ...]:
        """The releases whose headers were read, oldest first."""
        return tuple(map(Version, self._head["releases"]))

    @cached_property
    def _places(self) -> Mapping[Version, int]:
        return {release: place for place, release in enumerate(self.releases)}

    def _pattern(self, name: str) -> str:
        number = self._layouts.number(name)
        pattern: str = "" if number is None else self._head["patterns"][self._ids[number]]
        return pattern or UNKNOWN * len(self.releases)

    def has(self, name: str) -> bool:
        """Whether a class or enum belongs to torch, in any release."""
        return self._layouts.number(name) is not None

    def named(self, last: str) -> Sequence[str]:
        """Return the classes and enums with a name, whatever their scopes; no templates."""
        return self._layouts.by_last.get(last, ())

    def knows(self, name: str, *releases: Version) -> bool:
        """Whether the layout of a class or enum, or its absence, is known for these releases."""
        pattern = self._pattern(name)
        places = [self._places.get(release) for release in releases]
        return set(pattern) != {UNKNOWN} and all(
            place is not None and pattern[place] != UNKNOWN for place in places
        )

    def changes(self, name: str, since: Version, to: Version) -> Change | None:
        """Return how a class or enum differs between two releases.

        Args:
            name: Its full name, with template arguments if it has any.
            since: The release that a library was built with.
            to: The release that the library is used with: a newer or an older one.

        Returns:
            The change closest to `since`, described from the older release to the newer; None
            if nothing differs for code that knew the older, or if it is not known: see `knows`.
            A new enum member is not a change; a class missing from one of the two is.
        """
        first, last = self._places.get(since), self._places.get(to)
        pattern = self._pattern(name)
        if first is None or last is None:
            return None
        if pattern[first] == pattern[last] or pattern[first] in _NO_LAYOUT:
            return None
        if pattern[last] == UNKNOWN:
            return None
        step = 1 if last > first else -1
        same = place = first
        for place in range(first + step, last + step, step):
            if pattern[place] == pattern[first]:
                same = place
            elif pattern[place] != UNKNOWN:
                break
        newer = max(place, same) if step > 0 else same
        if pattern[place] == ABSENT:
            kind = Kind.REMOVED if step > 0 else Kind.ADDED
            return Change(name, self.releases[newer], (Fact(kind, "", None, None),), 1)
        number = str(self._layouts.number(name))
        count, facts = json.loads(self._layouts.changes[self._steps[number][str(newer)]])
        return Change(
            name,
            self.releases[newer],
            tuple(Fact(Kind(kind), of, was, now) for kind, of, was, now in facts),
            count,
        )

    def closure(self, name: str) -> frozenset[str]:
        """Return what a class depends on, as far as it ever changed on any platform.

        That is the class itself, its bases, and what it holds by value: members, elements of
        arrays and of `std` containers, and the same for all of these.
        """
        found = {name}
        number = self._layouts.number(name)
        pending = [] if number is None else [number]
        while pending:
            for held in self._layouts.holds.get(str(pending.pop()), ()):
                of = self._layouts.names[held]
                if of not in found:
                    found.add(of)
                    pending.append(held)
        return frozenset(found)


class Assertions:
    """The assertions in torch's headers: which release has which assertion on which line."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.releases = tuple(map(Version, data["releases"]))
        self._headers: Mapping[str, Sequence[Any]] = data["headers"]

    def __len__(self) -> int:
        return sum(map(len, self._headers.values()))

    def releases_of(self, literal: Literal) -> frozenset[Version]:
        """Return the releases whose headers have such an assertion on that line.

        Compilers differ in which line of a longer assertion they name, so any of its lines counts.
        """
        mask = 0
        for text, *places in self._headers.get(literal.header, ()):
            if literal.text.endswith(text):
                for first, height, releases in zip(*[iter(places)] * 3, strict=True):
                    if first <= literal.line <= first + height:
                        mask |= releases
        return frozenset(
            release for place, release in enumerate(self.releases) if mask >> place & 1
        )

    def built_with(self, literals: Iterable[Literal]) -> dict[Version, int]:
        """Return, for each release, how many of a library's literals its headers explain."""
        counts = dict.fromkeys(self.releases, 0)
        for literal in set(literals):
            for release in self.releases_of(literal):
                counts[release] += 1
        return counts


@cache
def load_layouts() -> Layouts:
    """Load the layouts shipped in this package; nothing is read before it is needed."""
    from torch_abi_audit.catalog import DATA_FOLDER  # noqa: PLC0415 -- it may import this one

    path = Path(__file__).with_name(DATA_FOLDER) / LAYOUTS_FILE
    return Layouts(lambda: path.open("rb"))

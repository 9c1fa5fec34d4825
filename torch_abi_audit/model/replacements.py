"""Replacements: what the stable ABI has instead of a library's unstable symbols."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from packaging.version import Version


class ReplacementKind(StrEnum):
    """What a replacement is.

    `SHIM` is a function of torch's C shim; `OPERATOR` is a call of an operator by its name,
    through the dispatcher.
    """

    FUNCTION = "function"
    METHOD = "method"
    CLASS = "class"
    TYPE = "type"
    MACRO = "macro"
    SHIM = "shim"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Replacement:
    """What takes the place of something unstable.

    Attributes:
        name: What to write, as ``torch::stable::empty_like``.
        kind: What it is.
        since: The first release whose headers declare it: build with that or a newer one.
        floor: The oldest release that an extension which uses it can load on. It is older than
            `since` where only the headers had to change.
        note: What to know about it.
    """

    name: str
    kind: ReplacementKind
    since: Version
    floor: Version
    note: str | None = None


class Replaced(NamedTuple):
    """The symbols that one replacement takes the place of."""

    replacement: Replacement
    symbols: tuple[str, ...]


class Replacements(NamedTuple):
    """What takes the place of a target's unstable symbols.

    Attributes:
        release: The newest release whose headers are known.
        replaced: The replacements, those of most symbols first.
        without: The symbols that no replacement is known for.
    """

    release: Version
    replaced: tuple[Replaced, ...]
    without: tuple[str, ...]

    @property
    def total(self) -> int:
        """How many symbols there are."""
        return len(self.without) + sum(len(item.symbols) for item in self.replaced)

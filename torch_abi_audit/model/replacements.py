"""Replacements: what the stable ABI has instead of a library's unstable symbols."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from packaging.version import Version


class ReplacementKind(StrEnum):
    """The kind of a replacement.

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
    """The replacement for something unstable.

    Attributes:
        name: What to write, such as ``torch::stable::empty_like``.
        kind: What it is.
        since: The first release whose headers declare it: build with that or a newer one.
        floor: The oldest release that an extension using it can load on. This is older than
            `since` if only the headers had to change.
        note: What to know about it.
    """

    name: str
    kind: ReplacementKind
    since: Version
    floor: Version
    note: str | None = None


class Replaced(NamedTuple):
    """The symbols that one replacement replaces."""

    replacement: Replacement
    symbols: tuple[str, ...]


class Replacements(NamedTuple):
    """The replacements for a target's unstable symbols.

    Attributes:
        release: The newest release whose headers are known.
        replaced: The replacements, those for the most symbols first.
        without: The symbols without a known replacement.
    """

    release: Version
    replaced: tuple[Replaced, ...]
    without: tuple[str, ...]

    @property
    def total(self) -> int:
        """How many symbols there are."""
        return len(self.without) + sum(len(item.symbols) for item in self.replaced)

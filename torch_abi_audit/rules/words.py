"""Small words that messages are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from packaging.version import Version

_PLURALS = {"library": "libraries"}


def count(number: int, noun: str) -> str:
    """Return ``1 symbol``, ``2 symbols``."""
    return f"{number} {noun if number == 1 else _PLURALS.get(noun, noun + 's')}"


def join(names: Iterable[str]) -> str:
    """Return names in one line, in a fixed order."""
    return ", ".join(sorted(names))


def short(release: Version) -> str:
    """Return a release as a requirement names it: ``2.11`` for 2.11.0, ``2.9.1`` for 2.9.1."""
    return ".".join(map(str, release.release if release.micro else release.release[:2]))

"""Small words that messages are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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


def ranges(releases: Iterable[Version], known: Sequence[Version]) -> str:
    """Return releases as runs of those that follow each other: ``2.9.0 to 2.10.0, 2.13.0``."""
    runs: list[list[int]] = []
    for place in sorted(known.index(release) for release in set(releases)):
        if runs and place == runs[-1][-1] + 1:
            runs[-1].append(place)
        else:
            runs.append([place])
    return ", ".join(
        f"{known[run[0]]} to {known[run[-1]]}" if len(run) > 1 else str(known[run[0]])
        for run in runs
    )


def requirement(releases: Iterable[Version], *, open_ended: bool = False) -> str:
    """Return the requirement that admits releases, and the patch releases of their minors.

    Args:
        releases: The releases, at least one.
        open_ended: Whether newer releases are admitted too.
    """
    ordered = sorted(releases)
    first, last = ordered[0], ordered[-1]
    if open_ended:
        return f"torch>={short(first)}"
    if first.release[:2] == last.release[:2] and not first.micro:
        return f"torch=={last.major}.{last.minor}.*"
    return f"torch>={short(first)},<{last.major}.{last.minor + 1}"

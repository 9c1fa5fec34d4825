"""Helpers for the wording of messages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from packaging.version import Version

_NAMED = 20  # names in one line
_PLURALS = {"library": "libraries", "matching library": "matching libraries"}
_SINGULAR = {"do": "does", "have": "has", "rely": "relies"}


def count(number: int, noun: str) -> str:
    """Return ``1 symbol``, ``2 symbols``."""
    return f"{number} {noun if number == 1 else _PLURALS.get(noun, noun + 's')}"


def does(number: int, noun: str, verb: str) -> str:
    """Return ``1 library needs``, ``2 libraries need``."""
    return f"{count(number, noun)} {_SINGULAR.get(verb, verb + 's') if number == 1 else verb}"


def fill(template: str, evidence: Sequence[object], libraries: Sequence[str]) -> str:
    """Return a message with its numbers, which reflect what is left of a finding.

    ``{evidence:symbol}`` becomes ``3 symbols``, ``{libraries:need}`` ``1 library needs``, and
    ``{first}`` the first piece of evidence with its detail.
    """

    def filled(match: re.Match[str]) -> str:
        match match[1]:
            case "evidence":
                # One symbol may be evidence for several libraries.
                return count(len({getattr(item, "name", item) for item in evidence}), match[2])
            case "libraries":
                return does(len(libraries), "library", match[2])
            case _:
                return _whole(evidence[0]) if evidence else ""

    return re.sub(r"\{(evidence|libraries):([a-z -]+)\}|\{(first)\}", filled, template)


def _whole(item: object) -> str:
    return ": ".join(filter(None, (getattr(item, "name", ""), getattr(item, "detail", ""))))


def join(names: Iterable[str]) -> str:
    """Return names in one line, in a fixed order; only the first if there are very many."""
    ordered = sorted(names)
    more = [f"and {len(ordered) - _NAMED} more"] if len(ordered) > _NAMED else []
    return ", ".join([*ordered[:_NAMED], *more])


def unique(names: Iterable[str]) -> tuple[str, ...]:
    """Return names without repetition, keeping their order."""
    return tuple(dict.fromkeys(names))


def short(release: Version) -> str:
    """Return a release as used in requirements: ``2.11`` for 2.11.0, ``2.9.1`` for 2.9.1."""
    return ".".join(map(str, release.release if release.micro else release.release[:2]))


def either(releases: Sequence[Version]) -> str:
    """Return releases of which it is one: ``2.10 or 2.11``; one alone as it is, with its patch."""
    series = dict.fromkeys(f"{release.major}.{release.minor}" for release in releases)
    return " or ".join(series if len(releases) > 1 else map(str, releases))


def first_of(names: Sequence[str]) -> str:
    """Return ``a.so and 2 more``: the first of some names, and how many there are besides."""
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def limited_api(python: tuple[int, int]) -> str:
    """Return a Python release as a value for the macro Py_LIMITED_API."""
    return "0x{:02x}{:02x}0000".format(*python)


def ranges(
    releases: Iterable[Version], known: Sequence[Version], *, open_ended: bool = False
) -> str:
    """Return releases as runs of consecutive ones, as people write them.

    ``2.9-2.11, 2.13.1``: a minor release stands for all its known patch releases.

    Args:
        releases: The releases; all of them are among `known`.
        known: Every known release, oldest first.
        open_ended: Whether the run that ends with the newest known release continues:
            ``2.11 and newer``.
    """
    runs = number_runs(known.index(release) for release in set(releases))
    named = [_run(known[run[0]], known[run[-1]], known) for run in runs]
    if open_ended and runs and runs[-1][-1] == len(known) - 1:
        named[-1] = f"{named[-1].partition('-')[0]} and newer"
    return ", ".join(named)


def _run(first: Version, last: Version, known: Sequence[Version]) -> str:
    """Return a run of consecutive releases."""
    begins = first == min(r for r in known if r.release[:2] == first.release[:2])
    ends = last == max(r for r in known if r.release[:2] == last.release[:2])
    if first == last or (begins and ends and first.release[:2] == last.release[:2]):
        return minor(first) if begins and ends else str(first)
    start = minor(first) if begins and first.release[:2] != last.release[:2] else str(first)
    return f"{start}-{minor(last) if ends else last}"


def minor(release: Version) -> str:
    """Return the minor release that a release is of: ``2.9`` for 2.9.1."""
    return f"{release.major}.{release.minor}"


def number_runs(numbers: Iterable[int]) -> list[list[int]]:
    """Split distinct numbers into runs of consecutive ones, in order."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs


def pythons(names: Iterable[str], newest: int, *, to: str = " to ") -> str:
    """Return builds of CPython in brief: ``3.10 to 3.12``, ``3.9 and newer``, ``3.13t, 3.14t``.

    Args:
        names: The builds, such as ``3.13`` and ``3.13t``.
        newest: The minor release that stands for any later one.
        to: What stands between the first and the last of consecutive ones.
    """
    parts = []
    names = list(names)
    for letter in ("", "t"):
        minors = (
            int(name.removesuffix("t").partition(".")[2])
            for name in names
            if name.endswith("t") is bool(letter)
        )
        for run in number_runs(minors):
            first, last = f"3.{run[0]}{letter}", f"3.{run[-1]}{letter}"
            joint = f"{first} and newer" if run[-1] == newest else f"{first}{to}{last}"
            parts.append(joint if len(run) > 1 else first)
    return ", ".join(parts)


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """Return ``did you mean torchvision?`` for a name that resembles a known one."""
    from difflib import get_close_matches  # noqa: PLC0415 -- only needed for bad news

    alike = get_close_matches(name, known, 1, cutoff=0.7)
    return f"did you mean {alike[0]}?" if alike else None


def last_part(path: str) -> str:
    """Return the last part of a path, including Windows paths."""
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2] or path

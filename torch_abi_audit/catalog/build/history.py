"""From what the headers of single releases say to the catalog's file of layouts.

What never changed is a name and the releases that have it; of what did change, only the
difference is kept.
"""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
from typing import TYPE_CHECKING, Any, NamedTuple

from packaging.version import Version

from torch_abi_audit.catalog.build.compare import differences, layout_key, value_differences
from torch_abi_audit.catalog.build.toolchain import is_exact
from torch_abi_audit.catalog.layouts import (
    ABSENT,
    ASSERTIONS,
    CHANGES,
    HEAD,
    HOLDS,
    IDS,
    NAMES,
    STEPS,
    UNKNOWN,
    Fact,
    Kind,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from torch_abi_audit.catalog.build.layouts import Headers
    from torch_abi_audit.catalog.build.parse import Parsed

_EPOCH = (1980, 1, 1, 0, 0, 0)
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_BY_BYTES = frozenset({Kind.SIZE, Kind.ALIGNMENT, Kind.BASE, Kind.MEMBER})
# Of each kind so many differences are kept: enough to name the change.
_KEPT = {Kind.MEMBER: 2, Kind.VALUE: 200}
# What torch generates for its own operators, in headers that nobody else includes.
_GENERATED = re.compile(
    r"torch::autograd::generated::.*|at::(?:meta|native)::structured_.*|.*_DECLARE_DISPATCH_type"
)


class History(NamedTuple):
    """One class or enum through the releases of a platform."""

    pattern: str
    steps: dict[int, tuple[int, list[Fact]]]  # by the number of the newer release


def histories(releases: Sequence[Parsed]) -> dict[str, History]:
    """Return the history of each class and enum.

    Args:
        releases: What the headers say, of one platform's releases, oldest first.
    """
    names = {name for parsed in releases for name in (*parsed.classes, *parsed.enums)}
    return {
        name: _history(name, releases) for name in sorted(names) if not _GENERATED.fullmatch(name)
    }


def _history(name: str, releases: Sequence[Parsed]) -> History:
    headers = {parsed.headers[name] for parsed in releases if name in parsed.headers}
    letters: dict[str, str] = {}
    pattern, letter = "", ""
    steps: dict[int, tuple[int, list[Fact]]] = {}
    last: Parsed | None = None
    for number, parsed in enumerate(releases):
        if name not in parsed.headers:
            # Another release may have a template, and nobody who contains it.
            is_known = "<" not in name and headers.isdisjoint(parsed.unread)
            pattern += ABSENT if is_known else UNKNOWN
            continue
        found = differences_of(name, last, parsed) if last else []
        key = _key(name, parsed)
        if last is None or found:
            before, letter = letter, letters.setdefault(key, _LETTERS[len(set(letters.values()))])
            if before and letter != before:
                steps[number] = (len(found), list(_kept(found)))
        # An enum with more members is the same for those who don't know them.
        letters.setdefault(key, letter)
        pattern += letter
        last = parsed
    return History(pattern, steps)


def _key(name: str, parsed: Parsed) -> str:
    return layout_key(parsed.classes[name]) if name in parsed.classes else repr(parsed.enums[name])


def differences_of(name: str, was: Parsed, now: Parsed) -> list[Fact]:
    """Return how a class or enum differs between two releases that both have it."""
    if name in was.classes and name in now.classes:
        if layout_key(was.classes[name]) == layout_key(now.classes[name]):
            return []
        return differences(was.classes[name], now.classes[name])
    if name in was.enums and name in now.enums:
        return value_differences(was.enums[name], now.enums[name])
    return [Fact(Kind.TYPE, "", _sort(name, was), _sort(name, now))]


def _sort(name: str, parsed: Parsed) -> str:
    return "class" if name in parsed.classes else "enum"


def _kept(facts: Iterable[Fact]) -> Iterator[Fact]:
    left = dict(_KEPT)
    for fact in facts:
        if left.setdefault(fact.kind, 1) > 0:
            left[fact.kind] -= 1
            yield fact


def layouts_file(read: Iterable[Headers]) -> bytes:
    """Return the file; the same headers give the same bytes."""
    ordered = sorted(read, key=lambda item: (item.platform, Version(item.version)))
    platforms: dict[str, list[Headers]] = {}
    for item in ordered:
        if item.parsed is not None:
            platforms.setdefault(item.platform, []).append(item)
    of_platform = {
        platform: histories([item.parsed for item in items if item.parsed])
        for platform, items in platforms.items()
    }
    names = sorted({name for found in of_platform.values() for name in found})
    numbers = {name: number for number, name in enumerate(names)}
    changes: dict[str, int] = {}
    members: dict[str, bytes] = {NAMES: "\n".join(names).encode()}
    for platform, found in of_platform.items():
        patterns = {"": 0}
        ids = [
            patterns.setdefault(found[name].pattern if name in found else "", len(patterns))
            for name in names
        ]
        steps: dict[str, dict[str, int]] = {}
        for name in names:
            for number, (count, facts) in found[name].steps.items() if name in found else ():
                row = _dump([count, [_row(fact, is_exact(platform)) for fact in facts]])
                of_name = steps.setdefault(str(numbers[name]), {})
                of_name[str(number)] = changes.setdefault(row, len(changes))
        releases = [item.version for item in platforms[platform]]
        members[HEAD.format(platform)] = _dump(
            {"releases": releases, "patterns": list(patterns)}
        ).encode()
        members[IDS.format(platform)] = struct.pack(f"<{len(ids)}H", *ids)
        members[STEPS.format(platform)] = _dump(steps).encode()
    members[CHANGES] = "\n".join(changes).encode()
    changed = {name for found in of_platform.values() for name in found if found[name].steps}
    members[HOLDS] = _dump(_holds(ordered, changed, numbers)).encode()
    members[ASSERTIONS] = _dump(_assertions(ordered)).encode()
    return _archive(members)


def _row(fact: Fact, exact: bool) -> list[Any]:  # noqa: FBT001
    places = [fact.was, fact.now]
    if not exact and fact.kind in _BY_BYTES:
        places = [None if place is None else UNKNOWN for place in places]
    return [fact.kind.value, fact.name, *places]


def _dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _archive(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_LZMA
            info.external_attr = 0o644 << 16
            archive.writestr(info, data)
    return buffer.getvalue()


def _holds(
    read: Sequence[Headers], changed: set[str], numbers: Mapping[str, int]
) -> dict[str, list[int]]:
    """Return who contains whom, as far as it leads to what ever changed."""
    holds: dict[str, set[str]] = {}
    for item in read:
        for name, facts in item.parsed.classes.items() if item.parsed else ():
            if name not in numbers:
                continue
            holds.setdefault(name, set()).update(
                held for held in facts.get("holds", ()) if held in numbers
            )
    holders: dict[str, set[str]] = {}
    for name, held in holds.items():
        for item_name in held:
            holders.setdefault(item_name, set()).add(name)
    leading, pending = set(changed), list(changed)
    while pending:
        for name in holders.get(pending.pop(), ()):
            if name not in leading:
                leading.add(name)
                pending.append(name)
    return {
        str(numbers[name]): sorted(numbers[of] for of in holds[name] & leading)
        for name in sorted(holds)
        if holds[name] & leading
    }


def _assertions(read: Sequence[Headers]) -> dict[str, Any]:
    """Return for each header its assertions: the text, then place, height and releases."""
    releases = sorted({item.version for item in read}, key=Version)
    bits = {version: 1 << place for place, version in enumerate(releases)}
    table: dict[str, dict[str, dict[tuple[int, int], int]]] = {}
    for item in read:
        for header, found in item.assertions.items():
            for first, last, text in found:
                places = table.setdefault(header, {}).setdefault(text, {})
                place = (first, last - first)
                places[place] = places.get(place, 0) | bits[item.version]
    return {
        "releases": releases,
        "headers": {
            header: [
                [
                    text,
                    *(value for place, mask in sorted(places.items()) for value in (*place, mask)),
                ]
                for text, places in sorted(texts.items())
            ]
            for header, texts in sorted(table.items())
        },
    }

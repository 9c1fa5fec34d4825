"""Two layouts of a class, or two versions of an enum: what differs, the most telling first."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from torch_abi_audit.catalog.layouts import Fact, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch_abi_audit.catalog.build.parse import Facts

_QUALIFIER = re.compile(r"\b\w+::")
_POINTEE = re.compile(r"^.*[^*] ?(\*+)$")


def layout_key(facts: Facts) -> str:
    """Return what is equal for layouts that a library can't tell apart.

    A type that only moved to another namespace is the same, and so are all pointers.
    """
    return repr(
        [
            facts["size"],
            [[_plain(name), offset] for name, offset in facts.get("bases", ())],
            [[name, offset, _plain(of)] for name, offset, of in facts.get("members", ())],
            [_QUALIFIER.sub("", item) for item in facts.get("virtuals", ())],
        ]
    )


def _plain(name: str) -> str:
    return _POINTEE.sub(r"\1", _QUALIFIER.sub("", name))


def differences(was: Facts, now: Facts) -> list[Fact]:
    """Return what differs between two layouts of a class; nothing where only names do."""
    found = [
        Fact(kind, "", before, after)
        for kind, before, after in zip(
            (Kind.SIZE, Kind.ALIGNMENT), was["size"], now["size"], strict=True
        )
        if before != after
    ]
    found += _moved(
        Kind.BASE,
        {_plain(name): offset for name, offset in was.get("bases", ())},
        {_plain(name): offset for name, offset in now.get("bases", ())},
    )
    before = _renamed(was.get("members", ()), now.get("members", ()))
    found += _moved(
        Kind.MEMBER,
        {name: _offset(bits) for name, bits, _ in before},
        {name: _offset(bits) for name, bits, _ in now.get("members", ())},
    )
    types = {name: of for name, _, of in now.get("members", ())}
    found += [
        Fact(Kind.TYPE, name, of, types[name])
        for name, _, of in before
        if name in types and _plain(of) != _plain(types[name])
    ]
    found += _moved(Kind.VIRTUAL, _slots(was), _slots(now))
    return found


def value_differences(was: Mapping[str, int], now: Mapping[str, int]) -> list[Fact]:
    """Return what differs for whoever knows an enum's older members; a new one does not."""
    found = [] if was[""] == now[""] else [Fact(Kind.SIZE, "", was[""], now[""])]
    return found + [
        Fact(Kind.VALUE, name, value, now.get(name))
        for name, value in was.items()
        if name and now.get(name) != value
    ]


def _renamed(was: Sequence[Sequence[Any]], now: Sequence[Sequence[Any]]) -> list[Sequence[Any]]:
    """Return the older members, each by its newer name where nothing but that is new."""
    old = {name for name, _, _ in was}
    new = {(offset, _plain(of)): name for name, offset, of in now if name not in old}
    kept = {name for name, _, _ in now}
    return [
        (name if name in kept else new.pop((offset, _plain(of)), name), offset, of)
        for name, offset, of in was
    ]


def _offset(bits: int) -> int | str:
    return f"{bits // 8}.{bits % 8}" if bits % 8 else bits // 8


def _slots(facts: Facts) -> dict[str, int]:
    return {_QUALIFIER.sub("", item): slot for slot, item in enumerate(facts.get("virtuals", ()))}


def _moved(kind: Kind, was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Fact]:
    """Yield what moved or is gone, then what is new."""
    for name, place in was.items():
        if now.get(name) != place:
            yield Fact(kind, name, place, now.get(name))
    for name, place in now.items():
        if name not in was:
            yield Fact(kind, name, None, place)

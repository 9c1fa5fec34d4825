"""Alternatives: libraries of a target, one per torch release, chosen at run time.

Some wheels contain the same library several times, each built with one torch release, in
folders or under names that say which: `torch-2.10/lib/libx.so`, `_C_torch2_9.so`,
`x_pt210.so`. Together they cover every release that any of them covers.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

from torch_abi_audit.model import Alternative

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

# With a separator (torch-2.10, torch2_9, pt-2.9.1) or without (torch210, pt29).
_RELEASE = re.compile(
    r"(?<![a-z0-9])(?:py)?(?:torch|pt)[-_.]?v?"
    r"(?:(?P<major>[1-9])[._](?P<minor>[0-9]{1,2})(?:[._][0-9]+)?|(?P<digits>[1-9][0-9]{1,2}))"
    r"(?![a-z0-9])",
    re.IGNORECASE,
)

# Alternatives for one release can also differ in the build of torch that they are for.
_BUILD = re.compile(r"(?<![a-z0-9])(?:cu[0-9]{2,3}|cpu|cuda|rocm|hip|xpu)(?![a-z0-9])")


def find_alternatives(
    paths: Iterable[str], known: Collection[tuple[int, int]]
) -> dict[str, Alternative]:
    """Return the libraries that are alternatives, by path.

    A group counts only if it has libraries for at least two releases, one of them known.

    Args:
        paths: The libraries.
        known: The known minor releases of torch.
    """
    found: dict[str, Alternative] = {}
    groups: dict[str, set[tuple[int, int]]] = defaultdict(set)
    for path in paths:
        matches = list(_RELEASE.finditer(path))
        if not matches:
            continue
        match = matches[-1]
        digits = match["digits"]
        release = (
            (int(digits[0]), int(digits[1:]))
            if digits
            else (int(match["major"]), int(match["minor"]))
        )
        group = _BUILD.sub("*", f"{path[: match.start()]}*{path[match.end() :]}")
        found[path] = Alternative(group, release)
        groups[group].add(release)
    return {
        path: item
        for path, item in found.items()
        if len(groups[item.group]) > 1 and not groups[item.group].isdisjoint(known)
    }

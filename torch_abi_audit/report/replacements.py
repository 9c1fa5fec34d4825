"""The way to the stable ABI, in words: what it has instead of which symbols."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from packaging.version import Version

from torch_abi_audit.wording import count, short

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch_abi_audit.report.shape import (
        EvidenceDocument,
        ReplacedDocument,
        ReplacementsDocument,
    )


class ReplacedEvidence(NamedTuple):
    """Evidence that one thing takes the place of; `heading` says what, and since when."""

    heading: str
    evidence: list[EvidenceDocument]


def by_replacement(
    found: Iterable[EvidenceDocument], replacements: ReplacementsDocument
) -> list[ReplacedEvidence]:
    """Return symbols by what the stable ABI has instead, those without a replacement last."""
    items = {item["name"]: item for item in found}
    groups = [(_replacement(item), item["symbols"]) for item in replacements["replaced"]]
    groups.append(("no stable replacement for", replacements["without"]))
    named = [
        ReplacedEvidence(heading, [items[name] for name in symbols if name in items])
        for heading, symbols in groups
    ]
    return [group for group in named if group.evidence]


def _replacement(item: ReplacedDocument) -> str:
    since, floor = Version(item["since"]), Version(item["floor"])
    asides = [
        short(since),
        *([f"loads on {short(floor)}"] if floor < since else []),
        *([item["note"]] if item["note"] else []),
    ]
    return f"use {item['replacement']} ({'; '.join(asides)}) for"


def replaceable(replacements: ReplacementsDocument) -> str:
    """Return how many unstable symbols have no replacement."""
    without = len(replacements["without"])
    total = without + sum(len(item["symbols"]) for item in replacements["replaced"])
    release = short(Version(replacements["release"]))
    if not without:
        has = "the one symbol has" if total == 1 else f"all {total} symbols have"
        return f"{has} a stable replacement in torch {release}"
    has = "has" if without == 1 else "have"
    return f"{without} of {count(total, 'symbol')} {has} no stable replacement in torch {release}"

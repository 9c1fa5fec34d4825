"""What is said of a wheel in tables: the releases it loads on, and where its metadata is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch_abi_audit.abi.mangling import demangle
from torch_abi_audit.model import Cause, LayoutStatus, ReleaseStatus
from torch_abi_audit.wording import ranges

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from packaging.version import Version

    from torch_abi_audit.model import Reason
    from torch_abi_audit.survey.wheel import WheelRecord

_LONGEST_NAME = 60  # characters of what is named in a sentence


def cuda_in_short(majors: Iterable[int], *, build: bool) -> str:
    """Return the CUDA that wheels need: ``12``, ``any`` for any CUDA build of torch, or none."""
    return ", ".join(map(str, majors)) or ("any" if build else "")


def loads_on(record: WheelRecord, known: Sequence[Version]) -> str:
    """Say which torch releases a wheel loads on: ``2.11 and newer`` where that is guaranteed.

    Args:
        record: The wheel.
        known: The known torch releases, oldest first.
    """
    if not record.releases:
        return ""
    cells = {release: record.cell(release) for release in known}
    guaranteed = [r for r, cell in cells.items() if cell.status is ReleaseStatus.GUARANTEED]
    links = [r for r, cell in cells.items() if cell.loads_unchanged and r not in guaranteed]
    changed = [r for r, cell in cells.items() if cell.layout is LayoutStatus.CHANGED]
    parts = [f"{ranges(guaranteed, known, open_ended=True)}"] if guaranteed else []
    parts += [f"{ranges(links, known)} (not guaranteed)"] if links else []
    parts += [f"{ranges(changed, known)} (class layouts changed)"] if changed else []
    if parts:
        return "; ".join(parts)
    unknown = any(cell.status is ReleaseStatus.UNKNOWN for cell in cells.values())
    return "unknown" if unknown else "no known release"


def differences(record: WheelRecord, known: Sequence[Version]) -> tuple[str, ...]:
    """Say where what the metadata of a wheel declares is not what it loads on.

    Args:
        record: The wheel.
        known: The known torch releases, oldest first.
    """
    if not record.releases:
        return ()
    allowed = [release for release in known if record.allows(release)]
    breaks = [r for r in allowed if record.cell(r).status is ReleaseStatus.BREAKS]
    changed = [r for r in allowed if record.cell(r).layout is LayoutStatus.CHANGED]
    why, what = (_named(record, releases) for releases in (breaks, changed))
    if record.requires_torch is None:
        said = [f"does not load on {ranges(breaks, known)}{why}"] if breaks else []
        said += [f"class layouts changed on {ranges(changed, known)}{what}"] if changed else []
        return (": ".join(["torch is not declared", *(["; ".join(said)] if said else [])]),)
    found = []
    if breaks:
        found.append(f"allows {ranges(breaks, known)}, does not load there{why}")
    if changed:
        found.append(f"allows {ranges(changed, known)}, where class layouts changed{what}")
    excluded = [
        release
        for release in known
        if release not in allowed and record.cell(release).status is ReleaseStatus.GUARANTEED
    ]
    if not allowed:
        found.append("allows no known torch release")
    elif excluded:
        found.append(f"does not allow {ranges(excluded, known)}, guaranteed there")
    return tuple(found)


def _named(record: WheelRecord, releases: Iterable[Version]) -> str:
    """Return the reason that is the first on all these releases, in parentheses; or nothing."""
    names = {_name(reasons[0]) for r in releases if (reasons := record.cell(r).reasons)}
    name = names.pop() if len(names) == 1 else ""
    return f" ({name})" if name and len(name) <= _LONGEST_NAME else ""


def _name(reason: Reason) -> str:
    """Return what a reason names; of a function that is declared in C++ without parameters."""
    declared = demangle(reason.name) if reason.cause in (Cause.SYMBOL, Cause.CUDA) else None
    return (declared or reason.name).partition("(")[0]

"""Wheels with the metadata that is proven to fit: what `torch-abi-audit repair` writes.

Nothing but metadata changes: METADATA, WHEEL, RECORD and the filename. What was written is audited
before it takes its name.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from difflib import unified_diff
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit.archive.directory import open_zip
from torch_abi_audit.archive.rewrite import rewrite
from torch_abi_audit.audit import Auditor, recheck
from torch_abi_audit.claims.amend import amended_filename
from torch_abi_audit.errors import AuditError
from torch_abi_audit.model import DemandSource, MetadataChange, TargetReport, Verdict
from torch_abi_audit.targets.amend import amended_metadata, amended_record, amended_wheel
from torch_abi_audit.wording import unique

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch_abi_audit.audit import Options

_SIGNATURES = ("RECORD.jws", "RECORD.p7s")
_CONTEXT = 1  # lines around a difference


class Edited(NamedTuple):
    """The files of a wheel that a change is about, as they were and as they are to be."""

    before: Mapping[str, bytes]
    after: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Repair:
    """What came of one wheel.

    Attributes:
        wheel: The wheel.
        report: What was found of it.
        change: The change with which it passes; None where it passes as it is.
        refused: Why it is not written; None where it is.
        output: The filename that it has then.
    """

    wheel: Path
    report: TargetReport
    change: MetadataChange | None = None
    refused: str | None = None
    output: str = ""


def plan_repairs(
    wheels: Sequence[Path], options: Options, chosen: str | None = None
) -> Iterator[Repair]:
    """Decide what to do about wheels, in the order of their releases.

    Wheels of one release whose requirements on torch are alike stay alike: installers take the
    metadata of one of them for that of all.

    Args:
        wheels: The wheels.
        options: How to check them.
        chosen: The requirement on torch to write where several fit, as ``torch==2.10.*``.

    Raises:
        AuditError: The releases to check against are not those of the metadata.
    """
    if options.source is not DemandSource.METADATA:
        raise AuditError(
            "repair checks what the metadata allows; --torch and --against don't apply"
        )
    auditor = Auditor(options)
    releases: dict[object, list[Repair]] = {}
    for wheel in wheels:
        (report,) = auditor.audit(wheel)
        item = _of_wheel(wheel, report, auditor, options, chosen)
        claims = report.claims
        key = (claims.name, claims.version) if claims else wheel
        releases.setdefault(key, []).append(item)
    for of_release in releases.values():
        yield from _alike(of_release, auditor, options)


def _of_wheel(
    wheel: Path, report: TargetReport, auditor: Auditor, options: Options, chosen: str | None
) -> Repair:
    """Decide what to do about one wheel."""
    plan = report.plan
    if report.verdict is Verdict.ERROR:
        return Repair(wheel, report, refused=report.summary)
    if report.safe or plan is None:
        return Repair(wheel, report, output=wheel.name)
    change = plan.change
    if chosen is not None:
        offered = plan.change or next(iter(plan.choices), MetadataChange())
        change = offered._replace(torch=chosen)
        if not recheck(report, change, auditor.catalog, options).safe:
            return Repair(wheel, report, refused=f"it does not pass with {chosen} either")
    if change is not None:
        return Repair(wheel, report, change, output=_filename(wheel, change))
    if plan.choices:
        lines = ", ".join(choice.torch or "" for choice in plan.choices)
        why = f"several requirements fit; choose one with --require-torch ({lines})"
        return Repair(wheel, report, refused=why)
    return Repair(wheel, report, refused=f"no change of metadata makes it pass: {plan.why_not}")


def _filename(wheel: Path, change: MetadataChange) -> str:
    return wheel.name if change.tags is None else amended_filename(wheel.name, change.tags)


def _alike(items: Sequence[Repair], auditor: Auditor, options: Options) -> Sequence[Repair]:
    """Keep the requirements of wheels of one release alike, or refuse all that would change."""
    required = {item.report.subject.requires_torch for item in items if item.report.subject}
    changes = {(i.change.torch, i.change.python) if i.change else (None, None) for i in items}
    if len(required) != 1 or len(changes) == 1 or any(item.refused for item in items):
        # A set that is not written whole is not published: nothing to keep alike.
        return items
    for torch, python in sorted(changes, key=str):
        shared = [_with(item, torch, python) for item in items]
        if all(_passes(item, auditor, options) for item in shared):
            return shared
    wanted = unique(torch or "what it requires now" for torch, _ in sorted(changes, key=str))
    why = f"the wheels of this release need different requirements: {', '.join(wanted)}"
    return [replace(item, refused=why) for item in items]


def _with(item: Repair, torch: str | None, python: str | None) -> Repair:
    change = (item.change or MetadataChange())._replace(torch=torch, python=python)
    return replace(item, change=change if change != MetadataChange() else None)


def _passes(item: Repair, auditor: Auditor, options: Options) -> bool:
    if item.change is None:
        return item.report.safe
    return recheck(item.report, item.change, auditor.catalog, options).safe


def edited(wheel: Path, change: MetadataChange) -> Edited:
    """Return the files of a wheel that a change is about.

    Raises:
        AuditError: They can't be read, or are signed.
    """
    with open_zip(wheel) as archive:
        names = archive.namelist()
        (folder,) = {n.partition("/")[0] for n in names if n.endswith(".dist-info/WHEEL")}
        if signed := [name for name in _SIGNATURES if f"{folder}/{name}" in names]:
            raise AuditError(f"{signed[0]}: a change would make the signature invalid")
        files = [f"{folder}/{name}" for name in ("METADATA", "WHEEL", "RECORD")]
        before = {name: archive.read(name) for name in files}
    metadata, about, record = files
    after = {
        metadata: amended_metadata(before[metadata], change),
        about: amended_wheel(before[about], change),
    }
    new = {name: data for name, data in after.items() if data != before[name]}
    after[record] = amended_record(before[record], new)
    return Edited(before, {n: data for n, data in after.items() if data != before[n]})


def difference(item: Repair) -> Iterator[str]:
    """Yield the difference that a repair makes, as lines of a patch."""
    if item.change is None:
        return
    files = edited(item.wheel, item.change)
    for name, data in files.after.items():
        if not name.endswith("/RECORD"):
            old, new = (
                text.decode("utf-8", "replace").splitlines() for text in (files.before[name], data)
            )
            yield from unified_diff(old, new, name, name, lineterm="", n=_CONTEXT)


def write(item: Repair, folder: Path, options: Options) -> Path:
    """Write a wheel into a folder, audit what was written, and give it its name.

    Returns:
        The path of the new wheel.

    Raises:
        AuditError: It can't be written, it would replace the wheel itself, or what was written does
            not pass.
    """
    output = folder / item.output
    try:
        if output.exists() and output.samefile(item.wheel):
            raise AuditError(f"{output}: would replace the wheel itself")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".torch-abi-audit-", dir=folder) as temporary:
            written = Path(temporary, item.output)
            if item.change is None:
                shutil.copyfile(item.wheel, written)
            else:
                changed = edited(item.wheel, item.change).after
                with open_zip(item.wheel) as archive, written.open("xb") as file:
                    rewrite(archive, file, changed)
            (report,) = Auditor(replace(options, verify=item.change is not None)).audit(written)
            if not report.safe:
                raise AuditError(f"what was written does not pass: {report.summary}")
            with contextlib.suppress(OSError):
                shutil.copymode(item.wheel, written)
            os.replace(written, output)  # noqa: PTH105 -- over what is there, on Windows too
    except OSError as error:
        raise AuditError(f"{output}: {error.strerror or error}") from error
    return output

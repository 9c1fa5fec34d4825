"""Wheels with metadata that is proven to be right, as written by `torch-abi-audit repair`.

Only metadata changes: METADATA, WHEEL, RECORD and the filename. The written wheel is audited
before it is given its name.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections import defaultdict
from dataclasses import dataclass, replace
from difflib import unified_diff
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from torch_abi_audit.archive.directory import open_zip
from torch_abi_audit.archive.rewrite import rewrite
from torch_abi_audit.audit import Auditor, recheck
from torch_abi_audit.claims.amend import amended_filename
from torch_abi_audit.errors import AuditError
from torch_abi_audit.model import MetadataChange, Plan, TargetReport, Verdict
from torch_abi_audit.targets.amend import amended_files
from torch_abi_audit.targets.wheel import read_dist_info
from torch_abi_audit.verdict.plan import cause, failing

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

    from torch_abi_audit.audit import Options

_CONTEXT = 1  # lines around a difference


@dataclass(frozen=True, slots=True)
class Repair:
    """The result for one wheel.

    Attributes:
        wheel: The wheel.
        report: Its report.
        change: The change with which it passes; None if it passes as it is.
        output: Its new filename; empty if it is not written.
        refused: Why it is not written; None if it is.
        failed: Whether it is not written because of an error rather than what the wheel is.
    """

    wheel: Path
    report: TargetReport
    change: MetadataChange | None = None
    output: str = ""
    refused: str | None = None
    failed: bool = False

    def refuse(self, why: str, *, failed: bool = False) -> Repair:
        """Return this repair as refused, with the reason."""
        return replace(self, change=None, output="", refused=why, failed=failed)

    def with_change(self, change: MetadataChange | None) -> Repair:
        """Return this repair with a change to write; with None, the wheel is written as it is."""
        tags = None if change is None else change.tags
        name = self.wheel.name
        return replace(
            self, change=change, output=name if tags is None else amended_filename(name, tags)
        )


def plan_repairs(
    wheels: Sequence[Path], options: Options, chosen: str | None = None
) -> list[Repair]:
    """Decide what to do about wheels, in the order of their releases.

    Wheels of one release with equal requirements keep them equal: installers take the metadata of
    one of them for that of all.

    Args:
        wheels: The wheels.
        options: How to check them, against the releases that their metadata allows.
        chosen: The requirement on torch to write if several are right, such as ``torch==2.10.*``.

    Raises:
        AuditError: The options require something that can't be checked.
    """
    auditor = Auditor(options)
    alike: dict[Hashable, list[Repair]] = defaultdict(list)
    for wheel in wheels:
        item = _of_wheel(wheel, auditor, options, chosen)
        alike[_requirements(item)].append(item)
    return _apart([item for items in alike.values() for item in _alike(items, auditor, options)])


def _requirements(item: Repair) -> Hashable:
    """Return a key that is equal for wheels whose requirements must stay equal."""
    subject = item.report.subject
    if subject is None or item.refused is not None:
        return item.wheel
    claims = subject.claims
    torch = frozenset(map(str, claims.torch_requirements))
    return claims.name, claims.version, torch, str(claims.requires_python)


def _of_wheel(wheel: Path, auditor: Auditor, options: Options, chosen: str | None) -> Repair:
    """Decide what to do about one wheel."""
    if wheel.suffix != ".whl":  # a folder or a package may have several reports
        report = TargetReport(str(wheel), Verdict.ERROR, "not a wheel", error="not a wheel")
    else:
        (report,) = auditor.audit(wheel)
    item = Repair(wheel, report)
    if report.verdict is Verdict.ERROR:
        return item.refuse(_error(report), failed=True)
    plan = report.plan or Plan()
    if report.safe or (plan.change and chosen is None):
        return item.with_change(plan.change)
    if chosen is not None:
        return _with_choice(item, chosen, auditor, options)
    if plan.choices:
        lines = ", ".join(choice.torch or "" for choice in plan.choices)
        return item.refuse(f"several requirements fit; choose one with --require-torch ({lines})")
    return item.refuse(f"no change of metadata found that makes it pass: {plan.why_not}")


def _with_choice(item: Repair, chosen: str, auditor: Auditor, options: Options) -> Repair:
    """Decide about a wheel that does not pass, using the chosen requirement on torch."""
    plan = item.report.plan or Plan()
    offered = plan.change or next(iter(plan.choices), MetadataChange())
    item = item.with_change(offered._replace(torch=chosen))
    again = _again(item, auditor, options)
    if again.safe:
        return item
    bad = failing(again.findings, options.policy.failing)
    why = cause(bad).message if bad else again.summary
    return item.refuse(f"fails with {chosen}, too: {why}")


def _error(report: TargetReport) -> str:
    """Return why a wheel could not be audited, in one line."""
    if not report.unreadable:
        return report.error or report.summary
    first, *others = report.unreadable
    return f"{first.path}: {first.error}" + (f" (and {len(others)} more)" if others else "")


def _alike(items: Sequence[Repair], auditor: Auditor, options: Options) -> Sequence[Repair]:
    """Keep equal requirements of wheels equal, or refuse to write any of these wheels."""
    changes = [item.change or MetadataChange() for item in items]
    torch = sorted({change.torch for change in changes}, key=str)
    python = sorted({change.python for change in changes}, key=str)
    if len(torch) == len(python) == 1:
        return items
    for pair in product(torch, python):
        shared = [_with_requirements(item, *pair) for item in items]
        if all(_again(item, auditor, options).safe for item in shared):
            return shared
    wanted = ", ".join(line or "what it requires now" for line in torch)
    why = f"the wheels of this release need different requirements: {wanted}"
    return [item.refuse(why) for item in items]


def _with_requirements(item: Repair, torch: str | None, python: str | None) -> Repair:
    change = (item.change or MetadataChange())._replace(torch=torch, python=python)
    return item.with_change(change if change != MetadataChange() else None)


def _again(item: Repair, auditor: Auditor, options: Options) -> TargetReport:
    """Return the report of a wheel with its change."""
    claims = item.report.claims
    if item.change is None or claims is None:
        return item.report
    try:
        catalog = auditor.catalog_of(claims)
        return recheck(item.report, item.change, catalog, options)
    except AuditError as error:  # it exceeds a limit
        return replace(item.report, verdict=Verdict.ERROR, summary=str(error))


def _apart(items: Iterable[Repair]) -> list[Repair]:
    """Refuse wheels that would be written to the same file."""
    found = list(items)
    same: dict[str, list[Path]] = defaultdict(list)
    for item in found:
        same[item.output.casefold()].append(item.wheel)
    return [
        item.refuse(
            f"{item.output} is what {len(wheels)} of the wheels would be named", failed=True
        )
        if item.output and len(wheels := same[item.output.casefold()]) > 1
        else item
        for item in found
    ]


def difference(item: Repair, options: Options) -> Iterator[str]:
    """Yield the difference that a repair makes, as lines of a patch.

    Raises:
        AuditError: As for `write`, about the contents of the wheel.
    """
    if item.change is None:
        return
    before = read_dist_info(item.wheel, options.limits)
    for name, data in _changed(item, before).items():
        if not name.endswith("/RECORD"):
            old, new = (t.decode("utf-8", "replace").splitlines() for t in (before[name], data))
            yield from unified_diff(old, new, name, name, lineterm="", n=_CONTEXT)


def write(item: Repair, folder: Path, options: Options) -> Path:
    """Write a wheel into a folder, audit what was written, and give it its name.

    Returns:
        The path of the new wheel.

    Raises:
        AuditError: It can't be written, it would replace the original wheel, or the written wheel
            does not pass.
    """
    output = folder / item.output
    try:
        if output.exists() and output.samefile(item.wheel):
            raise AuditError(f"{output} is the wheel itself: choose another --wheel-dir")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".torch-abi-audit-", dir=folder) as temporary:
            written = Path(temporary, item.output)
            _write(item, written, options)
            (report,) = Auditor(replace(options, verify=item.change is not None)).audit(written)
            if not report.safe:
                raise AuditError(f"what was written does not pass: {report.summary}")
            with contextlib.suppress(OSError):
                shutil.copymode(item.wheel, written)
            os.replace(written, output)  # noqa: PTH105 -- replaces an existing file, on Windows too
    except OSError as error:
        where = output if folder.is_dir() else folder
        raise AuditError(f"{where}: {error.strerror or error}") from error
    return output


def _write(item: Repair, output: Path, options: Options) -> None:
    if item.change is None:
        shutil.copyfile(item.wheel, output)
        return
    changed = _changed(item, read_dist_info(item.wheel, options.limits))
    with open_zip(item.wheel) as archive, output.open("xb") as file:
        rewrite(archive, file, changed)


def _changed(item: Repair, files: Mapping[str, bytes]) -> dict[str, bytes]:
    if item.change is None or item.report.claims is None:
        return {}
    return amended_files(files, item.report.claims, item.change)

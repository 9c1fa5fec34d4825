"""The records of published wheels, which tables are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch_abi_audit.audit import Auditor, Options
from torch_abi_audit.commands.messages import complain
from torch_abi_audit.commands.published import task_of, watched
from torch_abi_audit.published.collect import collect
from torch_abi_audit.survey.wheel import WheelRecord, record_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from torch_abi_audit.budget import Limits
    from torch_abi_audit.cache.store import Cache
    from torch_abi_audit.index.pages import IndexFile
    from torch_abi_audit.index.sources import Sources
    from torch_abi_audit.published.collect import Found
    from torch_abi_audit.published.engine import Engine
    from torch_abi_audit.report.progress import ProgressBar


class Records:
    """Reads and judges published wheels, and remembers whether all could be read.

    Args:
        options: The arguments.
        sources: How indexes are reached.
        limits: What reading a wheel may take.
        engine: What reads.
        cache: What was read before.

    Attributes:
        failed: Whether a wheel could not be read.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        sources: Sources,
        limits: Limits,
        engine: Engine,
        cache: Cache,
    ) -> None:
        self._options = options
        self._sources = sources
        self._limits = limits
        self._engine = engine
        self._cache = cache
        self._auditor = Auditor(Options(limits=limits))
        self.failed = False

    def of(self, files: Iterable[IndexFile], progress: ProgressBar) -> list[WheelRecord]:
        """Return the records of wheels, those that could not be read included."""
        tasks = [
            task_of(file, self._sources, self._limits, self._options, judge=True) for file in files
        ]
        found = watched(collect(tasks, self._engine, self._cache), progress)
        try:
            return [record for item in found if (record := self._record(item, progress))]
        finally:
            progress.hide()

    def _record(self, found: Found, progress: ProgressBar) -> WheelRecord | None:
        outcome, name = found.outcome, found.file.filename
        reason = outcome.error
        if outcome.record is not None:
            try:
                return WheelRecord.from_json(outcome.record)
            except ValueError as error:
                reason = f"its record is not one: {error}"
        self.failed = True
        progress.hide()
        complain(f"{name}: {reason}")
        try:
            return record_of(self._auditor.refuse(name, str(reason)), filename=name)
        except ValueError:
            return None  # the name says nothing of where the wheel belongs

"""The records of published wheels, which tables are made of."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit.audit import Auditor, Options
from torch_abi_audit.cache.store import Cache
from torch_abi_audit.commands.messages import complain
from torch_abi_audit.commands.published import MANY, ask, task_of, watched
from torch_abi_audit.index.session import Session
from torch_abi_audit.published.collect import collect
from torch_abi_audit.published.engine import make_engine
from torch_abi_audit.survey.wheel import WheelRecord, record_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from packaging.requirements import Requirement

    from torch_abi_audit.commands.published import Asked, Way
    from torch_abi_audit.index.pages import IndexFile
    from torch_abi_audit.index.sources import Sources
    from torch_abi_audit.published.collect import Found
    from torch_abi_audit.published.engine import Engine
    from torch_abi_audit.published.select import Wanted
    from torch_abi_audit.report.progress import ProgressBar


class Records:
    """Reads and judges published wheels, and remembers whether all could be read.

    Args:
        way: How wheels are read.
        engine: What reads.
        cache: What was read before.

    Attributes:
        failed: Whether a wheel could not be read.
    """

    def __init__(self, way: Way, engine: Engine, cache: Cache) -> None:
        self._way = way
        self._engine = engine
        self._cache = cache
        self._auditor = Auditor(Options(limits=way.limits))
        self.failed = False

    def of(
        self, files: Iterable[IndexFile], progress: ProgressBar, build: str | None = None
    ) -> list[WheelRecord]:
        """Return the records of wheels, those that could not be read included.

        Args:
            files: The wheels.
            progress: Shows how many are done.
            build: The builds of torch to judge them against; see `Options.torch_build`.
        """
        tasks = [task_of(file, self._way, judge=True, build=build) for file in files]
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
                record = WheelRecord.from_json(outcome.record)
            except ValueError as error:
                reason = f"its record is not one: {error}"
            else:
                if record.error is not None:
                    self._fail(name, record.error, progress)
                return record
        self._fail(name, str(reason), progress)
        try:
            return record_of(self._auditor.refuse(name, str(reason)), filename=name)
        except ValueError:
            return None  # the name says nothing of where the wheel belongs

    def _fail(self, name: str, reason: str, progress: ProgressBar) -> None:
        self.failed = True
        progress.hide()
        complain(f"{name}: {reason}")


class Reader(NamedTuple):
    """What reads an index: its pages, and its wheels."""

    sources: Sources
    session: Session
    records: Records

    def ask(self, requirements: Iterable[Requirement], wanted: Wanted) -> list[Asked]:
        """Look up what requirements come to; see `published.ask`."""
        return ask(requirements, self.sources, self.session, wanted)


@contextmanager
def reading(way: Way, folder: Path | None, engine: Engine | None = None) -> Iterator[Reader]:
    """Read through a cache.

    Args:
        way: How wheels are read.
        folder: Where the cache is; None for none.
        engine: What reads; by default processes of this machine.
    """
    with (
        Session(way.sources) as session,
        Cache(folder, complain) as cache,
        engine or make_engine(way.jobs, MANY) as running,
    ):
        yield Reader(way.sources, session, Records(way, running, cache))

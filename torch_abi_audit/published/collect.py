"""What is known of published wheels: from the cache, or read now and kept in it."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit import __version__
from torch_abi_audit.cache.facts import FACTS_VERSION
from torch_abi_audit.catalog import catalog_digest
from torch_abi_audit.errors import AuditError
from torch_abi_audit.published.task import Outcome, Task
from torch_abi_audit.survey.wheel import WheelRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch_abi_audit.cache.store import Cache
    from torch_abi_audit.index.pages import IndexFile
    from torch_abi_audit.published.engine import Engine

_FACTS, _RECORDS = "facts", "records"


class Found(NamedTuple):
    """A wheel, and what is known of it.

    Attributes:
        number: Its place among the wheels asked for.
        file: The wheel.
        outcome: Its facts, and its record where that was asked for.
        cached: Whether nothing was fetched for it.
    """

    number: int
    file: IndexFile
    outcome: Outcome
    cached: bool


def collect(tasks: Sequence[Task], engine: Engine, cache: Cache) -> Iterator[Found]:
    """Yield what is known of wheels, in any order: first what the cache has.

    Whatever is read is in the cache before it is yielded, so that a run that is cut off goes on
    where it stopped.

    Args:
        tasks: What to read.
        engine: What reads.
        cache: What was read before.
    """
    left: list[int] = []
    for number, task in enumerate(tasks):
        known = _known(task, cache)
        if known is not None and _suffices(known, task):
            yield Found(number, task.file, known, cached=True)
        else:
            left.append(number)
    rejudged: set[int] = set()

    def given() -> Iterator[Task]:
        # Facts are loaded when their turn comes: of many wheels they don't fit in memory.
        for number in left:
            task, known = tasks[number], _known(tasks[number], cache)
            if known is not None:
                rejudged.add(number)
                task = replace(task, facts=known.facts, hashed=known.hashed)
            yield task

    for index, outcome in engine.run(given()):
        number = left[index]
        task = tasks[number]
        # What was kept may turn out to be no facts: then the wheel was read.
        cached = number in rejudged and not outcome.requests
        _keep(task, outcome, cache, with_facts=not cached)
        yield Found(number, task.file, outcome, cached)


def in_order(found: Iterator[Found]) -> Iterator[Found]:
    """Yield what comes in any order in the order in which it was asked for."""
    early: dict[int, Found] = {}
    following = 0
    for item in found:
        early[item.number] = item
        while following in early:
            yield early.pop(following)
            following += 1


def _known(task: Task, cache: Cache) -> Outcome | None:
    for hashed in (True, False):
        key = _key(task, hashed=hashed)
        facts = None if key is None else cache.get(_FACTS, key)
        if key is not None and facts is not None:
            record = cache.get(_RECORDS, _of_record(key, task)) if task.judge else None
            return Outcome(facts, hashed=hashed, record=record)
    return None


def _suffices(known: Outcome, task: Task) -> bool:
    """Whether what is kept of a wheel is what is asked for, and not something else."""
    try:
        if not task.judge:
            known.contents()
            return True
        return known.record is not None and bool(WheelRecord.from_json(known.record))
    except (AuditError, ValueError):
        return False


def _keep(task: Task, outcome: Outcome, cache: Cache, *, with_facts: bool) -> None:
    key = _key(task, hashed=outcome.hashed)
    if key is None or outcome.facts is None:
        return
    if with_facts:
        cache.put(_FACTS, key, outcome.facts)
    if outcome.record is not None:
        cache.put(_RECORDS, _of_record(key, task), outcome.record)


def _key(task: Task, *, hashed: bool) -> str | None:
    """Return the key of a wheel's facts; None without a hash, or for a local file.

    What an index says of the variants of a release is among the facts of a variant wheel, and
    that a copy of a wheel's metadata is another one is among those of the wheel.

    A wheel that was read in place has the hash that its index says, but nobody has checked that:
    what is known of it is only for that address.
    """
    file = task.file
    if file.sha256 is None or file.url.startswith("file:"):
        return None
    if file.variants is not None and file.variants.sha256 is None:
        return None
    beside = (item.sha256 for item in (file.variants, file.metadata) if item is not None)
    described = "".join(f" {digest}" for digest in beside)
    where = "" if hashed else sha256(file.url.encode()).hexdigest()
    mode = "verified" if task.verify else "read"
    return f"{file.sha256} {file.filename} {mode} {FACTS_VERSION} {__version__} {where}{described}"


def _of_record(key: str, task: Task) -> str:
    """Return the key of a record: also what the index says of the file, and torch's build."""
    said = task.file.size, task.file.uploaded
    return " ".join(map(str, (key, catalog_digest(), *said, task.build or "")))

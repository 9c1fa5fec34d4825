"""What is known of published wheels: from the cache, or read now and kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from tests.builders import TEST_WHEELS, published_file
from torch_abi_audit.cache.facts import decode_facts, encode_facts
from torch_abi_audit.cache.store import Cache
from torch_abi_audit.index.sources import Sources
from torch_abi_audit.published import collect as collecting
from torch_abi_audit.published.collect import Found, collect, in_order
from torch_abi_audit.published.engine import HereEngine
from torch_abi_audit.published.task import Outcome, Task, perform
from torch_abi_audit.survey.wheel import WheelRecord
from torch_abi_audit.targets.wheel import read_wheel

(WHEEL,) = TEST_WHEELS.glob("stable-2.10/*.whl")
FACTS = encode_facts(read_wheel(WHEEL))
HASH = sha256(WHEEL.read_bytes()).hexdigest()


class Counting:
    """An engine that notes which wheels it has to fetch, and judges as the real one does.

    Args:
        hashed: Whether it reads all of a wheel.
        backwards: Whether it does the last task first.
        error: What every wheel ends in.
    """

    def __init__(
        self, *, hashed: bool = True, backwards: bool = False, error: str | None = None
    ) -> None:
        self.fetched: list[str] = []
        self.given: list[Task] = []
        self._hashed = hashed
        self._backwards = backwards
        self._error = error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def run(self, tasks: Iterable[Task]) -> Iterator[tuple[int, Outcome]]:
        numbered = list(enumerate(tasks))
        for number, task in reversed(numbered) if self._backwards else numbered:
            self.given.append(task)
            yield number, self._done(task)

    def _done(self, task: Task) -> Outcome:
        if self._error is not None:
            return Outcome(None, self._error)
        if task.facts == FACTS:
            return perform(task)
        self.fetched.append(task.file.url)
        if not task.judge:
            return Outcome(FACTS, hashed=self._hashed, requests=1)
        judged = perform(replace(task, facts=FACTS))
        return replace(judged, hashed=self._hashed, requests=1)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def cache(tmp_path: Path, said: list[str]) -> Iterator[Cache]:
    with Cache(tmp_path, said.append) as found:
        yield found
    assert said == []


def task(**more: Any) -> Task:
    of_task = {key: more.pop(key) for key in ("verify", "judge") if key in more}
    file = replace(published_file(WHEEL.name), **{"sha256": HASH, **more})
    return Task(file, Sources((), ()), **of_task)


def read(cache: Cache, *tasks: Task, **how: Any) -> tuple[list[Found], list[str]]:
    """Return what is known of wheels, and which were fetched."""
    engine = Counting(**how)
    return list(collect(tasks, engine, cache)), engine.fetched


def test_nothing_is_read_twice(cache: Cache) -> None:
    (first,), fetched = read(cache, task())
    assert (first.number, first.cached, first.outcome.facts) == (0, False, FACTS)
    assert len(fetched) == 1
    (second,), fetched = read(cache, task())
    assert (second.cached, second.outcome.facts, second.outcome.requests) == (True, FACTS, 0)
    assert fetched == []


def test_what_is_known_comes_first(cache: Cache) -> None:
    read(cache, task())
    other = task(sha256="0" * 64)
    found, _ = read(cache, other, task())
    assert [(item.number, item.cached) for item in found] == [(1, True), (0, False)]
    ordered = list(in_order(iter(found)))
    assert [item.number for item in ordered] == [0, 1]


def test_any_order_becomes_that_of_the_question(cache: Cache) -> None:
    tasks = [task(sha256=f"{number:064}") for number in range(5)]
    found = collect(tasks, Counting(backwards=True), cache)
    assert [item.number for item in in_order(found)] == [0, 1, 2, 3, 4]


def test_everything_is_kept_before_it_is_told(cache: Cache) -> None:
    """Whoever stops after the first wheel has that one."""
    tasks = [task(sha256=f"{number:064}") for number in range(3)]
    found = collect(tasks, HereEngine(Counting()._done), cache)  # noqa: SLF001
    next(found)
    assert cache.usage.entries == {"facts": 1}
    found.close()  # type: ignore[attr-defined]
    _, fetched = read(cache, *tasks)
    assert len(fetched) == 2


# What the key of a wheel has


def test_a_hash_that_was_checked_is_known_at_any_address(cache: Cache) -> None:
    read(cache, task(), hashed=True)
    assert read(cache, task(url="https://mirror.invalid/x.whl"))[1] == []


def test_a_hash_that_nobody_checked_is_for_one_address(cache: Cache) -> None:
    read(cache, task(), hashed=False)
    assert read(cache, task())[1] == []
    assert read(cache, task(url="https://mirror.invalid/x.whl"))[1] != []


@pytest.mark.parametrize(
    "other",
    [
        {"sha256": "0" * 64},
        {"filename": "stable_2_10-1.0-py39-none-manylinux_2_34_x86_64.whl"},  # claims are facts
        {"verify": True},
    ],
    ids=str,
)
def test_what_makes_another_wheel(cache: Cache, other: dict[str, Any]) -> None:
    read(cache, task())
    assert len(read(cache, task(**{"url": "https://index.invalid/x", **other}))[1]) == 1


@pytest.mark.parametrize("more", [{"sha256": None}, {"url": f"file://{WHEEL}"}], ids=str)
def test_what_is_not_kept(cache: Cache, more: dict[str, Any]) -> None:
    """Without a hash nothing names the file; and a local one may change under its name."""
    for _ in range(2):
        assert len(read(cache, task(**more), task(judge=True, **more))[1]) == 2
    assert cache.usage.entries == {}


def test_what_failed_is_tried_again(cache: Cache) -> None:
    (found,), _ = read(cache, task(judge=True), error="500")
    assert (found.cached, found.outcome.error) == (False, "500")
    assert cache.usage.entries == {}
    (found,), fetched = read(cache, task())
    assert (found.outcome.error, len(fetched)) == (None, 1)


# Facts and judgements


def judged(item: Found) -> WheelRecord:
    assert item.outcome.record is not None
    return WheelRecord.from_json(item.outcome.record)


def test_judgements_are_kept_too(cache: Cache) -> None:
    (first,), fetched = read(cache, task(judge=True))
    assert (judged(first).filename, len(fetched)) == (WHEEL.name, 1)
    engine = Counting()
    (second,) = collect([task(judge=True)], engine, cache)
    assert (second.cached, judged(second), engine.given) == (True, judged(first), [])


def test_facts_that_are_known_are_judged_without_reading(cache: Cache) -> None:
    read(cache, task())
    (found,), fetched = read(cache, task(judge=True))
    assert (found.cached, fetched) == (True, [])
    assert judged(found).filename == WHEEL.name
    assert cache.usage.entries == {"facts": 1, "records": 1}


def test_another_catalog_judges_again_without_reading(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    read(cache, task(judge=True), task())
    monkeypatch.setattr(collecting, "catalog_digest", lambda: "another")
    engine = Counting()
    (found,) = collect([task(judge=True)], engine, cache)
    assert (found.cached, engine.fetched) == (True, [])
    assert [given.facts for given in engine.given] == [FACTS]
    assert cache.usage.entries == {"facts": 1, "records": 2}
    assert read(cache, task())[1] == []


@pytest.mark.parametrize("name", ["__version__", "FACTS_VERSION"])
def test_another_version_reads_again(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    read(cache, task(judge=True))
    monkeypatch.setattr(collecting, name, "another")
    assert len(read(cache, task(judge=True))[1]) == 1


@pytest.mark.parametrize("judge", [False, True])
@pytest.mark.parametrize("data", [b"", b"no facts", FACTS[:-9]], ids=["empty", "other", "cut"])
def test_facts_that_are_none_are_read_again(
    cache: Cache,
    data: bytes,
    judge: bool,  # noqa: FBT001
) -> None:
    """Though their checksum is right."""
    read(cache, task())
    (key,) = keys(cache, "facts")
    cache.put("facts", key, data)
    (found,), fetched = read(cache, task(judge=judge))
    assert (found.cached, len(fetched)) == (False, 1)
    assert decode_facts(found.outcome.facts or b"").claims.name == "stable-2-10"
    assert read(cache, task(judge=judge))[1] == []


def test_perform_reads_where_facts_are_none(tmp_path: Path) -> None:
    file = replace(published_file(WHEEL.name), url=WHEEL.as_uri())
    for facts in (b"", FACTS[:-9]):
        found = perform(Task(file, Sources((), ()), facts=facts, hashed=True, judge=True))
        assert (found.facts, found.error, found.hashed) == (FACTS, None, False)
        assert found.record is not None


def test_a_record_that_is_none_is_made_again(cache: Cache) -> None:
    (first,), _ = read(cache, task(judge=True))
    (key,) = keys(cache, "records")
    cache.put("records", key, b"{}")
    (found,), fetched = read(cache, task(judge=True))
    assert (judged(found), fetched) == (judged(first), [])


def keys(cache: Cache, kind: str) -> list[str]:
    assert cache._database is not None  # noqa: SLF001
    rows = cache._database.execute("select key from entries where kind = ?", (kind,))  # noqa: SLF001
    return [key for (key,) in rows]

"""Where published wheels are read: processes that die, and those that nobody waits for any more."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator

import pytest

from tests.builders import published_file
from torch_abi_audit.index.sources import Sources
from torch_abi_audit.published.engine import ProcessEngine, make_engine
from torch_abi_audit.published.task import Outcome, Task

DONE, DIES, ENDLESS, STUBBORN = "done", "dies", "endless", "stubborn"
LONGEST = 60.0  # seconds; a process takes about one to start


def told(task: Task) -> Outcome:
    """Do what the name of a task's file says."""
    match task.file.filename:
        case "dies":
            os._exit(1)
        case "endless":
            time.sleep(10 * LONGEST)
        case "stubborn":  # as if the signal had come while nothing heard it
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(10 * LONGEST)
    return Outcome(None, task.file.filename)


def tasks(*names: str) -> list[Task]:
    return [Task(published_file(name), Sources((), ())) for name in names]


def ended(children: list[multiprocessing.Process]) -> bool:
    """Wait for processes, which the pool's thread waits for too.

    One of the two hears how a process ended; for a moment the other takes it for alive.
    """
    until = time.monotonic() + LONGEST
    while any(child.is_alive() for child in children):
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def test_processes_end_by_themselves_when_all_is_done(capfd: pytest.CaptureFixture[str]) -> None:
    """One that is ended while it hears that it may end says so on the terminal."""
    for _ in range(5):
        with ProcessEngine(3, told) as engine:
            assert len([*engine.run(tasks(DONE, DONE, DONE))]) == 3
            children = multiprocessing.active_children()
        # Of one that the pool's thread has heard of first, nothing is known here.
        assert {child.exitcode for child in children} <= {0, None}  # within 10 s
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("running", [ENDLESS, STUBBORN])
def test_what_is_running_ends_with_the_engine(running: str) -> None:
    begin = time.monotonic()
    with ProcessEngine(2, told) as engine:
        found = engine.run(tasks(DONE, running, running, running))
        assert next(found) == (0, Outcome(None, DONE))
        children = multiprocessing.active_children()
        assert len(children) == 2
    assert ended(children)  # type: ignore[arg-type]  # processes of another context
    assert time.monotonic() - begin < LONGEST


def test_a_task_that_ends_its_process_fails_alone() -> None:
    with ProcessEngine(2, told) as engine:
        found = dict(engine.run(tasks(DONE, DIES, *[DONE] * 6)))
    assert sorted(found) == list(range(8))
    assert [number for number, outcome in found.items() if outcome.error != DONE] == [1]
    assert found[1].error == "the process that read it was killed, perhaps for lack of memory"


@pytest.mark.parametrize("number", [1, 2, 7])
def test_processes_that_are_killed_between_tasks_are_replaced(number: int) -> None:
    """Nothing may be blamed on a task that no process had begun."""
    with ProcessEngine(1, told) as engine:
        found = []
        for place, (_, outcome) in enumerate(engine.run(tasks(*[DONE] * number))):
            found.append(outcome.error)
            if place == 0:
                _kill_all(engine)
        with_another = list(engine.run(tasks(DONE)))
    assert found == [DONE] * number
    assert with_another == [(0, Outcome(None, DONE))]


def _kill_all(engine: ProcessEngine) -> None:
    """Kill the processes, and wait until the pool has noticed."""
    pool = engine._pool  # noqa: SLF001 -- nothing else tells
    assert pool is not None
    for child in multiprocessing.active_children():
        child.kill()
    until = time.monotonic() + LONGEST
    while not pool._broken:  # noqa: SLF001
        assert time.monotonic() < until
        time.sleep(0.01)


def test_tasks_are_taken_as_they_are_needed() -> None:
    """Of many wheels, the facts of all do not fit into memory."""
    taken = 0

    def given() -> Iterator[Task]:
        nonlocal taken
        for task in tasks(*[DONE] * 100):
            taken += 1
            yield task

    with ProcessEngine(1, told) as engine:
        next(engine.run(given()))
        assert taken <= 4


@pytest.mark.parametrize(("jobs", "number", "used"), [(4, 9, 4), (9, 4, 4), (99, 99, 8)])
def test_no_more_processes_than_there_is_work(jobs: int, number: int, used: int) -> None:
    """Nor than an index should be asked for at once."""
    found = make_engine(jobs, number)
    assert isinstance(found, ProcessEngine)
    assert found.jobs == used

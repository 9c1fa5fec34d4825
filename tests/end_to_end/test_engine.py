"""Where tasks are done: each comes to something, whatever happens to the process that does it."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from torch_abi_audit.errors import AuditError
from torch_abi_audit.index.pages import FileKind, IndexFile
from torch_abi_audit.index.sources import Sources
from torch_abi_audit.published import engine as engine_module
from torch_abi_audit.published.engine import (
    DaskEngine,
    Engine,
    HereEngine,
    ProcessEngine,
    make_engine,
)
from torch_abi_audit.published.task import Outcome, Task

KILLED = "the process that read it was killed, perhaps for lack of memory"
POSIX = pytest.mark.skipif(os.name != "posix", reason="there is no SIGKILL")


def task(action: str, argument: object = "") -> Task:
    """Return a task that `work` makes something else of than reading a wheel."""
    return Task(IndexFile(action, str(argument), "x", None, FileKind.WHEEL), Sources((), ()))


def work(given: Task) -> Outcome:
    """Do what the filename of a task says, to what its address says."""
    action, argument = given.file.filename, given.file.url
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if action == "kill-once" and not Path(argument).exists():
        Path(argument).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if action == "sleep":
        time.sleep(float(argument))
    if action == "fail":
        raise ValueError("one line\nand another")
    return Outcome(action.encode(), argument, fetched=os.getpid())


def alive() -> set[int]:
    return {child.pid for child in multiprocessing.active_children() if child.pid is not None}


def gone(pids: set[int], seconds: float = 5.0) -> bool:
    """Whether processes have ended within some seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not pids & alive():
            return True
        time.sleep(0.02)
    return False


def done(engine: Engine, tasks: list[Task]) -> dict[int, Outcome]:
    """Return what came of tasks; each of them comes once."""
    with engine:
        found = list(engine.run(tasks))
    assert Counter(number for number, _ in found) == dict.fromkeys(range(len(tasks)), 1)
    return dict(found)


def test_here_one_comes_after_the_other() -> None:
    given = iter([task("a"), task("b"), task("c")])
    with HereEngine(work) as engine:
        run = engine.run(given)
        assert next(run)[1].facts == b"a"
        assert next(given).file.filename == "b"  # nothing is taken ahead of time
        assert [(number, item.facts) for number, item in run] == [(1, b"c")]


def test_processes_do_every_task() -> None:
    """None of them waits for a slow one, and they are taken as they are needed."""
    before = alive()
    taken = 0

    def tasks() -> Iterator[Task]:
        nonlocal taken
        for number in range(20):
            taken += 1
            yield task("sleep", 1.0 if number == 0 else 0.001 * number)

    with ProcessEngine(2, work) as engine:
        run = engine.run(tasks())
        found = [next(run)]
        assert taken <= 6  # the facts of many do not fit into memory together
        found += run
    assert Counter(number for number, _ in found) == dict.fromkeys(range(20), 1)
    assert found[0][0] != 0
    assert {n: item.error for n, item in found} == {
        number: "1.0" if number == 0 else str(0.001 * number) for number in range(20)
    }
    pids = {item.fetched for _, item in found}
    assert os.getpid() not in pids
    assert len(pids) <= 2
    assert gone(alive() - before)


def test_no_tasks() -> None:
    assert done(ProcessEngine(2, work), []) == {}
    assert done(HereEngine(work), []) == {}


@POSIX
def test_tasks_that_end_their_processes() -> None:
    """They are told; those that were with them, before or after them, are done."""
    tasks = [task("a", number) for number in range(12)]
    tasks[0] = tasks[11] = task("kill")
    found = done(ProcessEngine(2, work), tasks)
    killed = {number for number, item in found.items() if item.facts is None}
    assert killed == {0, 11}
    assert {found[number].error for number in killed} == {KILLED}
    done_ = {number: item.error for number, item in found.items() if number not in killed}
    assert done_ == {number: str(number) for number in done_}


@POSIX
def test_a_process_that_ends_while_nobody_waits_for_it() -> None:
    with ProcessEngine(1, work) as engine:
        run = engine.run([task("a", number) for number in range(6)])
        number, outcome = next(run)
        time.sleep(0.2)  # so that it has done what it was given
        os.kill(outcome.fetched, signal.SIGKILL)
        time.sleep(0.2)
        assert sorted([number, *(number for number, item in run if item.facts)]) == [*range(6)]


@POSIX
def test_a_process_that_is_killed_once_costs_nothing(tmp_path: Path) -> None:
    """Its task is done again, by itself: perhaps too much was read at the same time."""
    (item,) = done(ProcessEngine(2, work), [task("kill-once", tmp_path / "killed")]).values()
    assert item.facts == b"kill-once"


def test_nothing_is_left_of_a_run_that_is_broken_off() -> None:
    """Not even a process that is busy for long."""
    before = alive()
    began = time.monotonic()

    def run() -> None:
        with ProcessEngine(2, work) as engine:
            for _ in engine.run([task("a"), task("sleep", 60), task("sleep", 60)]):
                assert alive() - before
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert gone(alive() - before)
    assert time.monotonic() - began < 20


@POSIX
def test_processes_end_with_the_one_that_started_them() -> None:
    """However that ends."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    parent = context.Process(target=_start, args=(there,))
    parent.start()
    assert here.poll(30)
    child = here.recv()
    os.kill(child, 0)
    parent.kill()
    parent.join()
    until = time.monotonic() + 5
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < until:
            os.kill(child, 0)
            # Where nobody waits for orphans they stay as zombies.
            if Path(f"/proc/{child}/stat").exists() and " Z " in Path(
                f"/proc/{child}/stat"
            ).read_text(encoding="ascii"):
                return
            time.sleep(0.02)
        pytest.fail("the process lives on")


def _start(pipe: multiprocessing.connection.Connection) -> None:
    """Start a process that is busy, and tell its number."""
    with ProcessEngine(1, work) as engine:
        for _, item in engine.run([task("a"), task("sleep", 60)]):
            pipe.send(item.fetched)


def test_the_engine_of_this_machine() -> None:
    assert type(make_engine(4, 1)) is HereEngine
    assert type(make_engine(1, 9)) is HereEngine
    assert type(make_engine(4, 0)) is HereEngine
    assert type(make_engine(2, 9)) is ProcessEngine


# A Dask cluster


@pytest.fixture
def _quiet_dask(tmp_path: Path) -> Iterator[None]:
    dask = pytest.importorskip("dask")
    pytest.importorskip("distributed")
    settings = {
        "temporary-directory": str(tmp_path),
        "distributed.scheduler.allowed-failures": 0,  # each costs the start of a process
    }
    with dask.config.set(settings):
        yield


@pytest.mark.usefixtures("_quiet_dask")
def test_a_dask_cluster_of_this_machine() -> None:
    """A worker is killed half-way, and one task ends whatever does it."""
    engine = DaskEngine(None, 2, work)
    killed = threading.Event()

    def tasks() -> Iterator[Task]:
        for number in range(30):
            yield (
                task("fail") if number == 5 else task("kill") if number == 7 else task("a", number)
            )

    with engine:
        assert engine._cluster is not None  # noqa: SLF001
        found = {}
        for number, outcome in engine.run(tasks()):
            assert number not in found
            found[number] = outcome
            if len(found) == 3 and not killed.is_set():
                killed.set()
                worker = next(iter(engine._cluster.workers.values()))  # noqa: SLF001
                os.kill(worker.pid, signal.SIGKILL)
    assert sorted(found) == list(range(30))
    assert found[5].error == "ValueError: one line"
    assert found[7].error == KILLED
    innocent = {number: item.error for number, item in found.items() if number not in {5, 7}}
    assert innocent == {number: str(number) for number in innocent}


@pytest.mark.usefixtures("_quiet_dask")
def test_a_scheduler_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "_PATIENCE", 0.5)
    with pytest.raises(AuditError, match=r"^the Dask scheduler tcp://127.0.0.1:9: ") as caught:
        DaskEngine("tcp://user:secret@127.0.0.1:9", 1)
    assert "secret" not in str(caught.value)

"""Where tasks are done: in this process, in several of this machine, or on a Dask cluster.

Engines hand out outcomes as they come. A process that dies takes nothing with it but time: what
it had been given is done again by another, but not for ever.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context, parent_process
from typing import TYPE_CHECKING, Any, Protocol

from torch_abi_audit.archive.members import processors
from torch_abi_audit.errors import AuditError
from torch_abi_audit.published.task import Outcome, perform

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from multiprocessing.process import BaseProcess
    from types import TracebackType
    from typing import Self

    from torch_abi_audit.published.task import Task

MOST_JOBS = 8  # and so many requests to one host at the same time
DEFAULT_JOBS = min(MOST_JOBS, 2 * processors())  # they wait for the index half of the time
_AHEAD = 3  # tasks given out for each worker, so that none waits
_RETRIES = 2
_LAST = 10.0  # seconds in which a process without work ends
_GRACE = 0.5  # seconds in which a process that ends may clean up
_PATIENCE = 30  # seconds for a scheduler to answer
_KILLED = "the process that read it was killed, perhaps for lack of memory"


class Engine(Protocol):
    """Does tasks."""

    def run(self, tasks: Iterable[Task]) -> Iterator[tuple[int, Outcome]]:
        """Yield what came of each task, with its number, in any order."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class HereEngine:
    """Does one task after the other, in this process.

    Args:
        work: What does a task.
    """

    def __init__(self, work: Callable[[Task], Outcome] = perform) -> None:
        self._work = work

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, tasks: Iterable[Task]) -> Iterator[tuple[int, Outcome]]:
        """See `Engine`."""
        for number, task in enumerate(tasks):
            yield number, self._work(task)


class ProcessEngine:
    """Does tasks in processes of this machine.

    Args:
        jobs: How many.
        work: What does a task; a function that processes can import.
    """

    def __init__(self, jobs: int, work: Callable[[Task], Outcome] = perform) -> None:
        self.jobs = jobs
        self._work = work
        self._pool: ProcessPoolExecutor | None = None
        self._started: dict[int, BaseProcess] = {}
        self._done = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        if error is None and self._done:
            self._join(
                _LAST
            )  # they are told to end, and one that is killed while it hears complains
        for process in self._started.values():
            process.terminate()  # what it reads is of no use to anyone any more
        self._join(2 * _GRACE)
        for process in self._started.values():
            if process.is_alive():
                process.kill()

    def _join(self, seconds: float) -> None:
        last = time.monotonic() + seconds
        for process in self._started.values():
            process.join(max(0.0, last - time.monotonic()))

    def run(self, tasks: Iterable[Task]) -> Iterator[tuple[int, Outcome]]:
        """See `Engine`."""
        waiting = iter(enumerate(tasks))
        running: dict[Future[Outcome], tuple[int, Task]] = {}
        suspects: list[tuple[int, Task]] = []
        alone = False
        while True:
            # One of the suspects ends the process that does it: alone, each shows whether it is it.
            if not running and suspects:
                alone, given = True, [suspects.pop(0)]
            elif not (running and alone):
                alone, given = False, list(islice(waiting, self.jobs * _AHEAD - len(running)))
            refused = self._give(given, running)
            given = []
            if not running and not refused:
                self._done = True
                return
            done = set(running) if refused else wait(running, return_when=FIRST_COMPLETED).done
            lost = []
            for future in done:
                number, task = running.pop(future)
                try:
                    yield number, future.result()
                except BrokenProcessPool:
                    lost.append((number, task))
            if lost or refused:
                self._pool = None
                if alone and lost:
                    yield lost[0][0], Outcome(None, _KILLED)
                else:
                    left = [*lost, *refused, *running.values()]
                    suspects = sorted([*suspects, *left], key=lambda item: item[0])
                running.clear()

    def _give(
        self, tasks: Iterable[tuple[int, Task]], running: dict[Future[Outcome], tuple[int, Task]]
    ) -> list[tuple[int, Task]]:
        """Give tasks to processes; return those that nobody takes, as a process has just died."""
        refused = []
        for number, task in tasks:
            try:
                running[self._submit(task)] = number, task
            except BrokenProcessPool:
                refused.append((number, task))
        return refused

    def _submit(self, task: Task) -> Future[Outcome]:
        if self._pool is None:
            # Not a fork: progress bars and sessions have threads.
            context = get_context("spawn")
            self._pool = ProcessPoolExecutor(self.jobs, context, initializer=_begin)
        future = self._pool.submit(self._work, task)
        # The pool forgets them when it is shut down.
        self._started.update(self._pool._processes or {})  # noqa: SLF001
        return future


def _begin() -> None:
    """Make a process that does tasks end with the one that gives them out, and not before.

    Ctrl-C reaches both, and only the latter has something to say. If that is killed, nobody is
    left to end the others.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    parent = parent_process()
    if parent is not None:

        def follow() -> None:
            parent.join()
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(2 * _GRACE)
            os._exit(1)

        threading.Thread(target=follow, daemon=True).start()


def _end(*_: object) -> None:
    """End a process soon: a wheel that it was downloading is deleted first."""
    # The pool asks again, and could interrupt what ends it. Of the clock's signal it dies.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, _GRACE)
    sys.exit(1)  # out of the task; the pool would go on with the next


class DaskEngine:
    """Does tasks on a Dask cluster, whose workers have this package installed.

    Args:
        scheduler: The address of a running one; None starts a cluster on this machine.
        jobs: How many workers that has.
        work: What does a task; a function that workers can import.

    Raises:
        AuditError: Dask is not installed, or the scheduler does not answer.
    """

    def __init__(
        self, scheduler: str | None, jobs: int, work: Callable[[Task], Outcome] = perform
    ) -> None:
        self._work = work
        try:
            from distributed import Client, LocalCluster  # noqa: PLC0415 -- an extra
        except ImportError as error:
            wanted = "--engine dask requires dask: pip install 'torch-abi-audit[dask]'"
            raise AuditError(wanted) from error
        self._cluster = None
        try:
            if scheduler is None:
                self._cluster = LocalCluster(
                    n_workers=jobs, threads_per_worker=1, dashboard_address=None
                )
            self._client = Client(self._cluster or scheduler, timeout=_PATIENCE)
        except (OSError, ValueError) as error:
            if self._cluster is not None:
                self._cluster.close()
            address = scheduler or "of this machine"
            scheme, separator, place = address.rpartition("://")
            bare = place.rpartition("@")[2]
            said = str(error).replace(place, bare)
            raise AuditError(f"the Dask scheduler {scheme}{separator}{bare}: {said}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()

    def run(self, tasks: Iterable[Task]) -> Iterator[tuple[int, Outcome]]:
        """See `Engine`."""
        from distributed import as_completed  # noqa: PLC0415 -- an extra

        waiting = iter(enumerate(tasks))
        given: dict[Any, tuple[int, Task]] = {}
        suspects: list[tuple[int, Task]] = []

        def give(most: int) -> list[Any]:
            futures = []
            for number, task in islice(waiting, most):
                future = self._submit(task)
                given[future] = number, task
                futures.append(future)
            return futures

        workers = sum(self._client.nthreads().values()) or 1
        completed = as_completed(give(workers * _AHEAD))
        for future in completed:
            number, task = given.pop(future)
            outcome = _outcome(future)
            for more in give(1):
                completed.add(more)
            if outcome.error == _KILLED:
                suspects.append((number, task))  # or only queued behind what ends workers
            else:
                yield number, outcome
        for number, task in suspects:
            yield number, _outcome(self._submit(task))

    def _submit(self, task: Task) -> Any:
        # Not pure: a task that was done is not to be remembered by the cluster.
        return self._client.submit(self._work, task, pure=False, retries=_RETRIES)


def _outcome(future: Any) -> Outcome:
    """Return what came of a task on the cluster, which then forgets it."""
    error = future.exception()
    outcome: Outcome = future.result() if error is None else Outcome(None, _reason(error))
    future.release()
    return outcome


def _reason(error: BaseException) -> str:
    """Return why a task was not done."""
    if type(error).__name__ == "KilledWorker":
        return _KILLED
    return f"{type(error).__name__}: {error}".partition("\n")[0]


def make_engine(jobs: int, tasks: int) -> Engine:
    """Return the engine of this machine for a number of tasks.

    Args:
        jobs: How many processes at most.
        tasks: How many tasks there are.
    """
    used = min(jobs, tasks, MOST_JOBS)
    return ProcessEngine(used) if used > 1 else HereEngine()

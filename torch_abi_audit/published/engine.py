"""Where tasks are done: in this process, in several of this machine, or on a Dask cluster.

Engines hand out outcomes as they come. A process that dies takes nothing with it but time: what
it had been given is done again by another, but not for ever.
"""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context, parent_process
from typing import TYPE_CHECKING, Any, Protocol

from torch_abi_audit.archive.members import processors
from torch_abi_audit.errors import AuditError
from torch_abi_audit.published.task import Outcome, perform

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType
    from typing import Self

    from torch_abi_audit.published.task import Task

DEFAULT_JOBS = min(8, 2 * processors())  # they wait for the index half of the time
_AHEAD = 3  # tasks given out for each worker, so that none waits
_RETRIES = 2
_MOST_PROCESSES = 61  # Windows can't wait for more
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
    """Does one task after the other, in this process."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, tasks: Iterable[Task]) -> Iterator[tuple[int, Outcome]]:
        """See `Engine`."""
        for number, task in enumerate(tasks):
            yield number, perform(task)


class ProcessEngine:
    """Does tasks in processes of this machine.

    Args:
        jobs: How many.
    """

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            # The pool forgets them when it is shut down.
            processes = list((self._pool._processes or {}).values())  # noqa: SLF001
            self._pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.terminate()  # what it reads is of no use to anyone any more

    def run(self, tasks: Iterable[Task]) -> Iterator[tuple[int, Outcome]]:
        """See `Engine`."""
        waiting = iter(enumerate(tasks))
        running: dict[Future[Outcome], tuple[int, Task]] = {}
        suspects: list[tuple[int, Task]] = []
        tried: set[int] = set()  # of them, those that were given out again
        while True:
            # One of the suspects ends the process that does it: alone, each shows whether it is it.
            room = (not running) if suspects else self.jobs * _AHEAD - len(running)
            given = suspects[:room] if suspects else list(islice(waiting, room))
            tried |= {number for number, _ in suspects[:room]}
            del suspects[:room]
            for number, task in given:
                running[self._submit(task, alone=not running)] = number, task
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            lost = []
            for future in done:
                number, task = running.pop(future)
                try:
                    yield number, future.result()
                except BrokenProcessPool:
                    lost.append((number, task))
            if lost:
                lost += running.values()
                running.clear()
                self._pool = None
                if len(lost) == 1 and lost[0][0] in tried:
                    yield lost[0][0], Outcome(None, _KILLED)
                else:
                    suspects += sorted(lost, key=lambda item: item[0])

    def _submit(self, task: Task, *, alone: bool) -> Future[Outcome]:
        """Give out a task; it is lost with the others if a process has died since the last one."""
        try:
            return self._running_pool().submit(perform, task)
        except BrokenProcessPool as error:
            if alone:  # no other task tells, and this one is not to blame
                self._pool = None
                return self._running_pool().submit(perform, task)
            lost: Future[Outcome] = Future()
            lost.set_exception(error)
            return lost

    def _running_pool(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # Not a fork: progress bars and sessions have threads.
            context = get_context("spawn")
            self._pool = ProcessPoolExecutor(self.jobs, context, initializer=_begin)
        return self._pool


def _begin() -> None:
    """Make a process that does tasks end with the one that gives them out, and not before.

    Ctrl-C reaches both, and only the latter has something to say. If that is killed, nobody is
    left to end the others.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:

        def follow() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=follow, daemon=True).start()


class DaskEngine:
    """Does tasks on a Dask cluster, whose workers have this package installed.

    Args:
        scheduler: The address of a running one; None starts a cluster on this machine.
        jobs: How many workers that has.

    Raises:
        AuditError: Dask is not installed, or the scheduler does not answer.
    """

    def __init__(self, scheduler: str | None, jobs: int) -> None:
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
            self._client = Client(self._cluster or scheduler, timeout=30)
        except (OSError, ValueError) as error:
            raise AuditError(f"the Dask scheduler {scheduler}: {error}") from error

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
        numbers = {}

        def give(most: int) -> list[Any]:
            futures = []
            for number, task in islice(waiting, most):
                # Not pure: a task that was done is not to be remembered by the cluster.
                future = self._client.submit(perform, task, pure=False, retries=_RETRIES)
                numbers[future] = number
                futures.append(future)
            return futures

        workers = sum(self._client.nthreads().values()) or 1
        completed = as_completed(give(workers * _AHEAD))
        for future in completed:
            number = numbers.pop(future)
            error = future.exception()
            outcome = future.result() if error is None else Outcome(None, _reason(error))
            future.release()
            for more in give(1):
                completed.add(more)
            yield number, outcome


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
    used = min(jobs, tasks, _MOST_PROCESSES)
    return ProcessEngine(used) if used > 1 else HereEngine()

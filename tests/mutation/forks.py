"""Runs tests in forks of one process that has imported all that never changes.

A fork imports the package and the tests anew, one module perhaps with a change: no file is
written. What takes the most time, importing what others wrote, is done once.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType
from typing import IO

import hypothesis
import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "torch_abi_audit"
_MAX_SECONDS = 60  # of the processor: a mutant can loop without end
_MAX_WAIT = 300
_MAX_MEMORY = 4 << 30  # it can grow a list without end as well
_CALLED = "called_functions"
_OPTIONS = ("-x", "-q", "-p", "no:cacheprovider", "-p", "no:faulthandler")


def dotted(path: Path) -> str:
    """Return the name by which a file of the project is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_property(test: str) -> bool:
    """Whether a file of tests, by its path from the project's folder, is of property tests."""
    return test.startswith("tests/property/")


def import_others() -> None:
    """Import what the package and the tests need, and forget the package and the tests."""
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    os.chdir(ROOT)
    # The same examples for every mutant, and the first that fails is enough.
    hypothesis.settings.register_profile(
        "mutation",
        derandomize=True,
        database=None,
        phases=[hypothesis.Phase.generate],
        deadline=None,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
    hypothesis.settings.load_profile("mutation")
    for path in [*sorted((ROOT / PACKAGE).rglob("*.py")), ROOT / "tests/builders.py"]:
        if path.stem != "__main__":
            importlib.import_module(dotted(path))
    for name in list(sys.modules):
        if name.partition(".")[0] == PACKAGE or name in ("tests", "tests.builders"):
            del sys.modules[name]


def in_forks(tasks: Iterable[Callable[[], str]], jobs: int) -> Iterator[tuple[int, str | None]]:
    """Yield the number of each task with what it returns, as they end.

    None stands for one that raised an error, or was stopped, for it took too much time.
    """
    running: dict[int, tuple[int, IO[str]]] = {}
    for number, task in enumerate(tasks):
        while len(running) >= jobs:
            yield _next(running)
        answer = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 -- _next closes it
        process = os.fork()
        if process == 0:
            _run(task, answer)
        running[process] = number, answer
    while running:
        yield _next(running)


def _next(running: dict[int, tuple[int, IO[str]]]) -> tuple[int, str | None]:
    process, status = os.wait()
    number, answer = running.pop(process)
    with answer:
        answer.seek(0)
        return number, answer.read() if status == 0 else None


def _run(task: Callable[[], str], answer: IO[str]) -> None:
    """Do a task in this process, within bounds and without output but for errors, and end it."""
    # There are none on Windows, where this module is imported as well.
    import resource  # noqa: PLC0415
    import signal  # noqa: PLC0415

    errors = os.dup(2)
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (_MAX_SECONDS, _MAX_SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY, _MAX_MEMORY))
        signal.alarm(_MAX_WAIT)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        answer.write(task())
        answer.flush()
        os._exit(0)
    except BaseException:  # noqa: BLE001 -- it ends here
        os.write(errors, traceback.format_exc().encode(errors="backslashreplace"))
    finally:  # whatever happened, no more of this program runs here
        os._exit(1)


# --- the tasks ------------------------------------------------------------------------------


def failing(path: Path, source: str, tests: Collection[str]) -> str:
    """Return the first file of tests that fails where a module has another source, or nothing."""
    sys.meta_path.insert(0, _Finder(path, source))
    first = _First()
    code = pytest.main([*_OPTIONS, *tests], plugins=[first])
    return "" if code == pytest.ExitCode.OK else first.file or "pytest"


def called(test: str, sources: Mapping[str, str]) -> str:
    """Return the functions that a file of tests calls, a line ``module:line`` each.

    Args:
        test: The file.
        sources: Of the modules of interest. A line at the start of each function costs
            less than a tracer, which slows everything.
    """
    found: set[str] = set()
    setattr(builtins, _CALLED, found)
    for module, source in sources.items():
        tree = ast.parse(source)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                note = f"{_CALLED}.add({f'{module}:{node.lineno}'!r})"
                node.body.insert(bool(ast.get_docstring(node)), ast.parse(note).body[0])
        sys.meta_path.insert(0, _Finder(ROOT / module, ast.unparse(tree)))
    first = _First()
    if pytest.main([*_OPTIONS, test], plugins=[first]) != pytest.ExitCode.OK:
        raise AssertionError(first.text)
    return "\n".join(sorted(found))


class _Changed(SourceFileLoader):
    """Loads one module from another source than its file has."""

    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self._source = source

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002
        return self.source_to_code(self._source.encode(), self.path)


class _Finder:
    """Finds that module, and nothing else."""

    def __init__(self, path: Path, source: str) -> None:
        self._name, self._path, self._source = dotted(path), path, source

    def find_spec(self, name: str, *_more: object) -> ModuleSpec | None:
        if name != self._name:
            return None
        loader = _Changed(name, str(self._path), self._source)
        return spec_from_file_location(name, self._path, loader=loader)


class _First:
    """A plugin of pytest that keeps the file of the first failure, and what is said of it."""

    file: str | None = None
    text = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._look(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._look(report)

    def _look(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.failed and self.file is None:
            self.file = report.nodeid.partition("::")[0]
            self.text = f"{report.nodeid}\n{report.longreprtext}"

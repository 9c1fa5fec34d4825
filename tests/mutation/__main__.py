"""Break the package in small ways, one at a time, and print what no unit test notices.

    python -m tests.mutation [--module PATH ...] [--sample N --seed S] [--jobs N]

Each mutant is one change in a copy of the project, against which the unit tests run that import
the module, those first that import it directly. Those that survive are printed with file, line
and change, then the score. Some change nothing that could be seen; the others lack a test.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PACKAGE = "torch_abi_audit"
STAGES = ("loader", "claims", "abi", "rules", "verdict")
_TIMEOUT, _TIMEOUT_OF_ALL = 60, 600  # seconds
_NEEDED = (PACKAGE, "tests", "test_wheels", ".github", "README.md", "pyproject.toml")

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
_CALLS = {"max": "min", "min": "max", "any": "all", "all": "any"}
_ENDS = {0: -1, -1: 0}  # indices of the first and the last element


class Mutant(NamedTuple):
    """One change of one module.

    Attributes:
        module: The path, from the project's folder.
        line: Where the change is.
        change: What becomes of what.
        source: The changed module.
    """

    module: str
    line: int
    change: str
    source: str

    def __str__(self) -> str:
        return f"{self.module}:{self.line}: {self.change}"


def mutants(module: str, source: str) -> Iterator[Mutant]:
    """Yield every mutant of a module."""
    tree = ast.parse(source)
    for node in _code(tree):
        for other in _alternatives(node):
            text = ast.unparse(ast.fix_missing_locations(_Replacing(node, other).visit(tree)))
            _Replacing(other, node).visit(tree)
            change = f"{_shown(node)}  ->  {_shown(other)}"
            yield Mutant(module, _line(node), change, text)


def _shown(node: ast.AST) -> str:
    """Return the code of a node on one line; of a statement with a body, its head."""
    text = ast.unparse(node)
    return text.partition("\n")[0] if isinstance(node, ast.If) else " ".join(text.split())


def _line(node: ast.AST) -> int:
    if isinstance(node, ast.comprehension):
        return node.target.lineno
    return getattr(node, "lineno", 0)


class _Replacing(ast.NodeTransformer):
    """Replaces one node."""

    def __init__(self, node: ast.AST, other: ast.AST) -> None:
        self._node, self._other = node, other

    def visit(self, node: ast.AST) -> ast.AST:
        return self._other if node is self._node else super().generic_visit(node)


def _code(node: ast.AST) -> list[ast.AST]:
    """Return a node and those below it that run: neither annotations nor imports for types."""
    if isinstance(node, ast.If) and _shown(node.test) == "TYPE_CHECKING":
        return []
    found = [node]
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        if name == "slice" and _number(value) in _ENDS:
            continue  # which `_other_constants` changes as a whole
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                found += _code(child)
    return found


def _alternatives(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what can stand in place of a node."""
    yield from _other_conditions(node)
    yield from _other_constants(node)
    match node:
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=keywords):
            if name in _CALLS:
                yield ast.Call(ast.Name(_CALLS[name]), arguments, keywords)
        case ast.Return(value=ast.expr() as value):
            yield from map(ast.Return, _nothing_for(value))


def _other_conditions(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Compare():
            yield from _other_comparisons(node)
        case ast.BoolOp(op=operator, values=values):
            yield ast.BoolOp(ast.Or() if isinstance(operator, ast.And) else ast.And(), values)
            for place in range(len(values)):
                yield _without(node, place)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.If(test=test, body=body, orelse=orelse) if not isinstance(test, ast.UnaryOp):
            yield ast.If(ast.UnaryOp(ast.Not(), test), body, orelse)
        case ast.IfExp(test=test, body=chosen, orelse=otherwise):
            yield ast.IfExp(test, otherwise, chosen)
        case ast.comprehension(ifs=conditions):
            for place in range(len(conditions)):
                kept = [item for number, item in enumerate(conditions) if number != place]
                yield ast.comprehension(node.target, node.iter, kept, node.is_async)


def _other_comparisons(node: ast.Compare) -> Iterator[ast.Compare]:
    for place, operator in enumerate(node.ops):
        for swapped in _COMPARISONS[type(operator)]:
            other = copy.deepcopy(node)
            other.ops[place] = swapped()
            yield other


def _without(node: ast.BoolOp, place: int) -> ast.expr:
    """Return a condition of several without one of them."""
    kept = [value for number, value in enumerate(node.values) if number != place]
    return ast.BoolOp(node.op, kept) if len(kept) > 1 else kept[0]


def _nothing_for(value: ast.expr) -> Iterator[ast.expr]:
    """Yield what a function returns that returns nothing of what it should."""
    match value:
        case ast.Constant(value=None) | ast.Tuple(elts=[]):
            return
        case ast.Tuple():
            yield ast.Tuple([], ast.Load())
        case ast.List() | ast.ListComp():
            yield ast.List([], ast.Load())
        case ast.Dict() | ast.DictComp():
            yield ast.Dict([], [])
        case ast.Set() | ast.SetComp():
            yield ast.Call(ast.Name("set"), [], [])
        case _:
            yield ast.Constant(None)


def _other_constants(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Subscript(value=value, slice=index) if _number(index) in _ENDS:
            yield ast.Subscript(value, ast.Constant(_ENDS[_number(index) or 0]), node.ctx)
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield ast.Constant(value + 1)
            yield ast.Constant(value - 1)


def _number(node: ast.AST) -> int | None:
    match node:
        case ast.Constant(value=int(number)):
            return number
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int(number))):
            return -number
        case _:
            return None


# --- which tests import a module ------------------------------------------------------------


def _imported(path: Path) -> set[str]:
    """Return the dotted names that a file imports, which may be those of modules."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


class UnitTests:
    """The unit tests, and what each of their files imports."""

    def __init__(self) -> None:
        self._imports = {
            _dotted(path): _imported(path)
            for folder in (PACKAGE, "tests")
            for path in (ROOT / folder).rglob("*.py")
        }

    def of(self, module: str) -> list[str]:
        """Return the files of tests that import a module, those that do directly first."""
        name = _dotted(ROOT / module)
        tests = sorted((ROOT / "tests/unit").glob("test_*.py"))
        fitting = [path for path in tests if name in self._reached(_dotted(path))]
        fitting.sort(key=lambda path: name not in self._imports[_dotted(path)])
        return [path.relative_to(ROOT).as_posix() for path in fitting]

    def _reached(self, start: str) -> set[str]:
        reached, pending = {start}, [start]
        while pending:
            imported = self._imports[pending.pop()] & self._imports.keys()
            pending += imported - reached
            reached |= imported
        return reached


def _dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


# --- the runs -------------------------------------------------------------------------------


def passes(folder: Path, tests: Collection[str], timeout: int = _TIMEOUT) -> bool:
    """Whether tests pass in a copy of the project; not if they take too long."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    command += ["-p", "tests.mutation.limit", *tests]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        result = subprocess.run(
            command, cwd=folder, env=environment, timeout=timeout, capture_output=True, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return result.returncode == 0


def copy_project(folder: Path) -> Path:
    """Copy what the unit tests need."""
    unwanted = shutil.ignore_patterns("__pycache__", "sources")
    for name in _NEEDED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=unwanted)
        elif (ROOT / name).exists():
            shutil.copy(ROOT / name, folder / name)
    return folder


def survives(mutant: Mutant, tests: Collection[str], copies: SimpleQueue[Path]) -> bool:
    """Whether no unit test notices a mutant."""
    folder = copies.get()
    path = folder / mutant.module
    original = path.read_bytes()
    try:
        path.write_text(mutant.source, encoding="utf-8")
        return passes(folder, tests)
    finally:
        path.write_bytes(original)
        copies.put(folder)


def run(chosen: Sequence[Mutant], jobs: int) -> list[Mutant]:
    """Return the mutants that survive, and print them as they are found."""
    tests = UnitTests()
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(jobs) as pool:
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(jobs):
            copies.put(copy_project(Path(name) / str(number)))
        if not passes(Path(name) / "0", ["tests/unit"], _TIMEOUT_OF_ALL):
            sys.exit("the unit tests fail before anything is changed")
        found = pool.map(lambda item: survives(item, tests.of(item.module), copies), chosen)
        survivors = []
        for mutant, survived in zip(chosen, found, strict=True):
            if survived:
                survivors.append(mutant)
                print(mutant, flush=True)  # noqa: T201
    return survivors


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument(
        "--module", action="append", type=Path, help=f"such as {PACKAGE}/loader/graph.py"
    )
    parser.add_argument("--sample", type=int, metavar="N", help="only N mutants, chosen at random")
    parser.add_argument("--seed", type=int, default=0, help="which N")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at a time")
    options = parser.parse_args()
    paths = [path.resolve() for path in options.module or ()] or sorted(
        path for stage in STAGES for path in (ROOT / PACKAGE / stage).glob("*.py")
    )
    chosen = [
        mutant
        for path in paths
        for mutant in mutants(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
    ]
    if options.sample is not None and options.sample < len(chosen):
        chosen = sorted(random.Random(options.seed).sample(chosen, options.sample))
    survivors = run(chosen, options.jobs)
    killed = len(chosen) - len(survivors)
    score = f"{killed / max(1, len(chosen)):.0%}"
    print(f"{killed} of {len(chosen)} mutants are killed ({score})")  # noqa: T201


if __name__ == "__main__":
    main()

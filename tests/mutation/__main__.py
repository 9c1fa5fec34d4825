"""Break the package in small ways, one at a time, and print what no unit test notices.

    python -m tests.mutation [--module PATH ...] [--sample N --seed S] [--fail-under PERCENT]

Each mutant is one change of one module, against which the files of unit tests run that call the
changed function, those first that import the module directly or noticed most so far, and last the
property test named after the module. Those that survive are printed with file, line and change,
then the score. Some change nothing that could be seen; the others lack a test. Where a line ends
in ``# equivalent: REASON``, or that stands on the line before it, those of its mutants that
survive are explained: they are printed and counted, but the score leaves them out. It needs
`fork`, which Windows does not have.
"""

from __future__ import annotations

import argparse
import ast
import copy
import io
import random
import re
import sys
import tokenize
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from tests.mutation.forks import (
    PACKAGE,
    ROOT,
    called,
    dotted,
    failing,
    import_others,
    in_forks,
    is_property,
)

STAGES = ("loader", "claims", "abi", "rules", "verdict")

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
        reason: Why nothing can notice the mutants of this line that survive, or nothing.
    """

    module: str
    line: int
    change: str
    source: str
    reason: str = ""

    def __str__(self) -> str:
        explained = f"  (equivalent: {self.reason})" if self.reason else ""
        return f"{self.module}:{self.line}: {self.change}{explained}"


def mutants(module: str, source: str) -> Iterator[Mutant]:
    """Yield every mutant of a module."""
    tree = ast.parse(source)
    reasons = _reasons(source)
    for node in _code(tree):
        for other in _alternatives(node):
            text = ast.unparse(ast.fix_missing_locations(_Replacing(node, other).visit(tree)))
            _Replacing(other, node).visit(tree)
            change = f"{_shown(node)}  ->  {_shown(other)}"
            yield Mutant(module, _line(node), change, text, reasons.get(_line(node), ""))


def _reasons(source: str) -> dict[int, str]:
    """Return the reasons by line that comments give for the mutants that survive there."""
    found = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        said = re.fullmatch(r"# equivalent: (.+)", token.string)
        if token.type == tokenize.COMMENT and said is not None:
            alone = not token.line[: token.start[1]].strip()
            found[token.start[0] + alone] = said[1]
    return found


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
        if isinstance(node, ast.keyword) and node.arg == "strict":
            continue  # of `zip`: a check of what is so anyway
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
            for place, value in enumerate(values):
                if not isinstance(value, ast.Constant):  # most are for the type checker alone
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
        case ast.Constant(value=None | False):  # the same, or as good as it
            return
        case ast.Tuple(elts=[]) | ast.List(elts=[]) | ast.Dict(keys=[]):
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
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    if "importlib.import_module" in found:  # by name: what stands beside it
        found |= {dotted(other) for other in path.parent.glob("*.py")}
    return found


class Suite:
    """The tests, and what each of their files imports."""

    def __init__(self) -> None:
        self._imports = {
            dotted(path): _imported(path)
            for folder in (PACKAGE, "tests")
            for path in (ROOT / folder).rglob("*.py")
        }

    def of(self, module: str) -> list[str]:
        """Return the files of unit tests that import a module, those that do directly first.

        The property test named after the module, if there is one, is the last.
        """
        name = dotted(ROOT / module)
        tests = sorted((ROOT / "tests/unit").glob("test_*.py"))
        fitting = [path for path in tests if name in self._reached(dotted(path))]
        words = set(Path(module).stem.split("_"))
        fitting.sort(
            key=lambda path: (
                name not in self._imports[dotted(path)],
                words.isdisjoint(path.stem.split("_")),
            )
        )
        fitting += (ROOT / "tests/property").glob(f"test_{Path(module).stem}.py")
        return [path.relative_to(ROOT).as_posix() for path in fitting]

    @cache  # noqa: B019 -- there is one of them
    def _reached(self, start: str) -> set[str]:
        reached, pending = {start}, [start]
        while pending:
            imported = self._imports[pending.pop()] & self._imports.keys()
            pending += imported - reached
            reached |= imported
        return reached


# --- the runs -------------------------------------------------------------------------------


def functions_of(mutant: Mutant, source: str) -> list[range] | None:
    """Return the lines of the functions in which a mutant shows; None where it may in any test.

    That is the function which it is in, or those that use the private name whose value it is in.
    """
    body = ast.parse(source).body
    statement = next(node for node in body if mutant.line in _lines(node))
    if isinstance(statement, ast.FunctionDef):
        return [_lines(statement)]
    if isinstance(statement, ast.ClassDef):
        methods = (_lines(node) for node in statement.body if isinstance(node, ast.FunctionDef))
        return [lines for lines in methods if mutant.line in lines] or None
    # In a class the body runs on import, as the module does, and each method when it is called.
    parts = [
        part for node in body for part in (node.body if isinstance(node, ast.ClassDef) else [node])
    ]
    found: list[range] = []
    names, pending = set[str](), [statement]
    while pending:
        new = _assigned(pending.pop()) - names
        names |= new
        for part in parts:
            if new and not new.isdisjoint(_loaded(part)):
                if isinstance(part, ast.FunctionDef):
                    found.append(_lines(part))
                else:
                    pending.append(part)
    return found if all(name.startswith("_") for name in names) else None


def _lines(node: ast.stmt) -> range:
    first = min([node.lineno, *(item.lineno for item in getattr(node, "decorator_list", ()))])
    return range(first, (node.end_lineno or first) + 1)


def _assigned(statement: ast.stmt) -> set[str]:
    """Return the names that a statement gives a value; one that is not private if it has none."""
    match statement:
        case ast.Assign(targets=targets):
            nodes = [node for target in targets for node in ast.walk(target)]
        case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
            nodes = [target]
        case _:
            nodes = []
    return {node.id for node in nodes if isinstance(node, ast.Name)} or {"any"}


def _loaded(statement: ast.stmt) -> set[str]:
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}


class Chosen:
    """Which files of tests run against a mutant, and in which order."""

    def __init__(self, modules: Collection[str], jobs: int) -> None:
        tests = Suite()
        self._of = {module: tests.of(module) for module in modules}
        self._sources = {module: (ROOT / module).read_text("utf-8") for module in modules}
        # The tests that noticed most changes of a module notice the next one first.
        self.noticed: defaultdict[str, Counter[str]] = defaultdict(Counter)
        files = sorted({path for paths in self._of.values() for path in paths})
        self._called: dict[str, set[tuple[str, int]]] = {}
        tasks = (partial(called, path, self._sources) for path in files)
        for number, said in in_forks(tasks, jobs):
            if said is None:
                sys.exit(f"{files[number]} fails before anything is changed")
            lines = (line.rpartition(":") for line in said.splitlines())
            self._called[files[number]] = {(module, int(line)) for module, _, line in lines}

    def of(self, mutant: Mutant) -> list[str]:
        """Return those that call a function in which the change shows."""
        module = mutant.module
        functions = functions_of(mutant, self._sources[module])
        fitting = [
            path
            for path in self._of[module]
            if functions is None
            or any(m == module and any(at in f for f in functions) for m, at in self._called[path])
        ]
        noticed = self.noticed[module]
        return sorted(fitting, key=lambda path: (is_property(path), -noticed[path]))


def run(mutants: Sequence[Mutant], jobs: int) -> list[Mutant]:
    """Return the mutants that survive, and print them as they are found."""
    import_others()
    chosen = Chosen({item.module for item in mutants}, jobs)

    def tasks() -> Iterator[Callable[[], str]]:
        for item in mutants:
            tests = chosen.of(item)
            path = ROOT / item.module
            yield partial(failing, path, item.source, tests) if tests else str

    survivors = []
    for number, killer in in_forks(tasks(), jobs):
        mutant = mutants[number]
        if killer is None:
            print(f"{mutant}  (stopped: too much time or memory)", flush=True)  # noqa: T201
        elif killer:
            chosen.noticed[mutant.module][killer] += 1
        else:
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
    parser.add_argument(
        "--fail-under",
        type=float,
        default=0,
        metavar="PERCENT",
        help="exit with 1 below that score",
    )
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
        print(f"a sample of {len(chosen)} mutants, with --seed {options.seed}")  # noqa: T201
        chosen = sorted(random.Random(options.seed).sample(chosen, options.sample))
    survivors = run(chosen, options.jobs)
    explained = sum(bool(mutant.reason) for mutant in survivors)
    judged = len(chosen) - explained
    killed = len(chosen) - len(survivors)
    score = 100 * killed / max(1, judged)
    more = f", and {explained} explained" if explained else ""
    print(f"{killed} of {judged} mutants are killed ({score:.1f}%){more}")  # noqa: T201
    if score < options.fail_under:
        sys.exit(f"fewer than {options.fail_under:g}%")


if __name__ == "__main__":
    main()

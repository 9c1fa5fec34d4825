"""The mutation tester itself: what it changes, and which tests it runs."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from tests.mutation.__main__ import Mutant, Suite, functions_of, mutants
from tests.mutation.forks import ROOT


@pytest.mark.parametrize(
    ("source", "changed"),
    [
        ("a < b", ["a <= b", "a >= b"]),
        ("a == b", ["a != b"]),
        ("a in b is c", ["a not in b is c", "a in b is not c"]),
        ("a and b and c", ["a or b or c", "b and c", "a and c", "a and b"]),
        ("a or b", ["a and b", "b", "a"]),
        ("x = a or ''", ["x = a and ''", "x = ''"]),
        ("not a", ["a"]),
        ("a if b else c", ["c if b else a"]),
        ("max(a)", ["min(a)"]),
        ("any(a)", ["all(a)"]),
        ("a[-1]", ["a[0]"]),
        ("a[0]", ["a[-1]"]),
        ("7", ["8", "6"]),
        ("True", ["False"]),
        ("[a for a in b if c if d]", ["[a for a in b if d]", "[a for a in b if c]"]),
        ("'text'", []),
        ("zip(a, b, strict=True)", []),
        # Annotations and what is imported for type checkers alone do not run.
        ("def f(a: b[0]) -> c[0]:\n    d: e[0] = f", []),
        ("if TYPE_CHECKING:\n    a < b", []),
        ("@rule(7)\ndef f():\n    return a", ["@rule(7)\ndef f():\n    return None"]),
        ("def f():\n    return [a]", ["def f():\n    return []"]),
        ("def f():\n    return None", []),
        ("def f():\n    return []", []),
        ("def f():\n    return {}", []),
        ("def f():\n    return False", ["def f():\n    return True"]),
    ],
)
def test_mutants(source: str, changed: list[str]) -> None:
    found = [mutant.source for mutant in mutants("x.py", source)]
    assert sorted(found) == sorted(changed)


def test_a_mutant_says_where_it_is() -> None:
    source = "@rule('a-rule')\ndef f(a):\n    if a > b:\n        yield a\n"
    said = [str(mutant) for mutant in mutants("x.py", source)]
    assert said == [
        "x.py:3: if a > b:  ->  if not a > b:",
        "x.py:3: a > b  ->  a >= b",
        "x.py:3: a > b  ->  a <= b",
    ]


def test_a_comment_explains_the_mutants_of_its_line() -> None:
    lines = ["a = 1 > b  # equivalent: as good", "b = 1 > c  # as good", "'# equivalent: no', 1"]
    lines += ["    # equivalent: alone", "1"]
    found = list(mutants("x.py", "\n".join(lines)))
    assert {(item.line, item.reason) for item in found} == {
        (1, "as good"),
        (2, ""),
        (3, ""),
        (5, "alone"),
    }
    assert str(found[0]) == "x.py:1: 1 > b  ->  1 >= b  (equivalent: as good)"


_CONSTANTS = """\
_A = 1
_B: int = _A + 1
C = 2
def f(): return _A > 3
@cache
def g():
    return _B
class K:
    d = 4
    def h(self): return _B
    def i(self): return 5
_D = C
"""


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        (1, [4, 5, 6, 7, 10]),  # a private constant shows where it is used, or what is made of it
        (2, [5, 6, 7, 10]),
        (3, None),  # any module may use one that is not
        (4, [4]),
        (7, [5, 6, 7]),
        (9, None),
        (11, [11]),
        (12, []),
    ],
)
def test_which_functions_show_a_change(line: int, lines: list[int] | None) -> None:
    found = functions_of(Mutant("x.py", line, "", ""), _CONSTANTS)
    methods = {4, 5, 6, 7, 10, 11}
    shown = found and sorted(methods.intersection(*[set().union(*found)]))
    assert shown == lines


def test_a_property_test_named_after_a_module_comes_last() -> None:
    tests = Suite().of("torch_abi_audit/claims/markers.py")
    assert tests[-1] == "tests/property/test_markers.py"
    assert "tests/unit/test_markers.py" in tests[:-1]
    assert not any("property" in path for path in Suite().of("torch_abi_audit/abi/mangling.py"))


def test_which_tests_notice_a_module() -> None:
    tests = Suite().of("torch_abi_audit/abi/mangling.py")
    assert tests[0] == "tests/unit/test_mangling.py"
    assert "tests/unit/test_rules.py" in tests
    assert "tests/unit/test_mutation.py" not in tests
    # Whose families of rules are imported by their names.
    assert "tests/unit/test_rules.py" in Suite().of("torch_abi_audit/rules/cuda.py")


_JUDGE = """
from functools import partial
from pathlib import Path
from tests.mutation.forks import ROOT, called, failing, import_others, in_forks

module, tests = "torch_abi_audit/abi/modules.py", "tests/unit/test_modules.py"
path = ROOT / module
source = path.read_text("utf-8")
import_others()
changed = [source, "raise ValueError", "import os; os.abort()"]
tasks = [partial(failing, path, item, [tests]) for item in changed]
tasks.append(partial(called, tests, {module: source}))
tasks.append(partial(called, tests, {module: "raise ValueError"}))
print(sorted(in_forks(tasks, 2)))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_what_forks_say() -> None:
    # In a process of its own: this one has threads, which no fork has.
    result = subprocess.run(
        [sys.executable, "-c", _JUDGE], cwd=ROOT, capture_output=True, text=True, check=True
    )
    said = dict(ast.literal_eval(result.stdout))
    functions = said.pop(3).split()
    assert said == {0: "", 1: "tests/unit/test_modules.py", 2: None, 4: None}
    lines = (ROOT / "torch_abi_audit/abi/modules.py").read_text("utf-8").splitlines()
    number = 1 + next(n for n, line in enumerate(lines) if line.startswith("def imports("))
    assert f"torch_abi_audit/abi/modules.py:{number}" in functions

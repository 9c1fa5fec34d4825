from __future__ import annotations

import pytest

from tests.builders import dll, library
from torch_abi_audit.abi.modules import (
    hooks,
    imports,
    is_for_abi3t,
    is_for_one_build,
    module_name,
    only_new_hooks,
)
from torch_abi_audit.model import Interpreter, PythonVersion

BUILDS = ("3.9", "3.10", "3.13", "3.13t", "3.14t", "3.15", "3.15t", "3.16t")


def build(name: str) -> Interpreter:
    major, minor = name.removesuffix("t").split(".")
    return Interpreter(PythonVersion(int(major), int(minor)), name.endswith("t"))


@pytest.mark.parametrize(
    ("file", "found"),
    [
        ("_C.so", " ".join(BUILDS)),
        ("_C.abi3.so", "3.9 3.10 3.13 3.13t 3.14t 3.15"),
        ("_C.abi3t.so", "3.15 3.15t 3.16t"),
        ("_C.abi3-x86_64-linux-gnu.so", "3.15"),
        ("_C.abi3t-x86_64-linux-gnu.so", "3.15 3.15t 3.16t"),
        ("_C.abi3t-aarch64-linux-gnu.so", ""),
        ("_C.cpython-310-x86_64-linux-gnu.so", "3.10"),
        ("_C.cpython-310-aarch64-linux-gnu.so", ""),
        ("_C.cpython-310-darwin.so", "3.10"),
        ("_C.cpython-313t-x86_64-linux-musl.so", "3.13t"),
        ("_C.cpython-310d-x86_64-linux-gnu.so", ""),
        ("_C.pypy310-pp73-x86_64-linux-gnu.so", ""),
        ("_C.graalpy250-312-native-x86_64-linux.so", ""),
        ("_C.other.so", " ".join(BUILDS)),  # loaded by its path, and for no build alone
        ("libx.so.1", ""),  # no module's name
        ("_C.pyd", ""),
        ("pyd", ""),
    ],
)
def test_who_imports_a_file(file: str, found: str) -> None:
    assert [n for n in BUILDS if imports(build(n), f"x/{file}", library())] == found.split()


@pytest.mark.parametrize(
    ("file", "found"),
    [
        ("_C.pyd", " ".join(BUILDS)),
        ("_C.abi3.pyd", ""),  # there is no such suffix
        ("_C.cp310-win_amd64.pyd", "3.10"),
        ("_C.cp313t-win_amd64.pyd", "3.13t"),
        ("_C.cp310-win_arm64.pyd", ""),
        ("_C.cp310-win32.pyd", ""),
        ("_C.cp310.pyd", "3.10"),
        ("_C.so", ""),
        ("_C.dll", ""),
    ],
)
def test_who_imports_a_file_on_windows(file: str, found: str) -> None:
    assert [n for n in BUILDS if imports(build(n), f"x/{file}", dll())] == found.split()


def test_what_a_name_says() -> None:
    assert is_for_abi3t("x/_C.abi3t.so")
    assert not is_for_abi3t("x/_C.abi3.so")
    assert is_for_one_build("x/_C.cpython-310-darwin.so")
    assert is_for_one_build("x/_C.pypy310-pp73-darwin.so")
    assert not is_for_one_build("x/_C.abi3.so")
    assert module_name("x/_C.abi3.so") == module_name("x/_C.cpython-310-darwin.so") == "x/_C"


def test_hooks() -> None:
    both = library(exports=("PyInit_x", "PyModExport_x", "other"))
    assert hooks(both) == ("PyInit_x", "PyModExport_x")
    assert only_new_hooks(both) == ()
    assert only_new_hooks(library(exports=("PyModExportU_x",))) == ("PyModExportU_x",)

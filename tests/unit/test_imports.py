"""The imports go one way: the order of the rooms is the order in which an audit flows."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import torch_abi_audit

ROOT = Path(torch_abi_audit.__file__).parent

# From the bottom up. A room may import from itself, and from rooms below it.
ROOMS = (
    "errors",
    "wording",
    "budget",
    "model",
    "formats",
    "archive",
    "cache",
    "claims",
    "index",
    "catalog",
    "targets",
    "loader",
    "abi",
    "rules",
    "verdict",
    "config",
    "audit",
    "repair",
    "compat",  # of 0.3.0, whose names `report` has to offer
    "report",
    "survey",
    "published",
    "api",
    "arguments",
    "commands",
    "cli",
)
ENTRIES = ("__init__", "__main__")  # the public API, and the command: nothing imports them


def rooms() -> set[str]:
    return {
        path.stem
        for path in ROOT.iterdir()
        if path.suffix == ".py" or (path.is_dir() and any(path.glob("*.py")))
    }


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the modules of the package that a file imports, functions and type checkers included.

    What a type checker alone imports counts as well: a type says where a thing belongs.
    """
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            if name.startswith("torch_abi_audit."):
                yield node.lineno, name.split(".")[1]


def test_every_room_has_its_place() -> None:
    assert rooms() == {*ROOMS, *ENTRIES}


@pytest.mark.parametrize("room", ROOMS)
def test_no_room_imports_from_above(room: str) -> None:
    path = ROOT / room
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
    assert files
    allowed = {*ROOMS[: ROOMS.index(room) + 1], "__version__"}
    upward = [
        f"{file.relative_to(ROOT)}:{line} imports {name}"
        for file in files
        for line, name in imports(file)
        if name not in allowed
    ]
    assert upward == []

"""Which files of a folder are looked at."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.builders import METADATA, a_library
from torch_abi_audit.budget import Budget, Limits
from torch_abi_audit.errors import AuditError
from torch_abi_audit.targets.files import open_folder, read_files, walk

if TYPE_CHECKING:
    from pathlib import Path


def put(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(a_library())
    return folder


def paths(folder: Path) -> list[str]:
    return [member.path for member in open_folder(folder).members]


@pytest.mark.parametrize("suffix", [".json", ".py", ".txt", ".h", ".png", "", ".bin"])
def test_a_library_is_one_by_its_first_bytes(tmp_path: Path, suffix: str) -> None:
    put(tmp_path, f"x/data{suffix}")
    (tmp_path / "x" / "a.json").write_text("{}")
    (tmp_path / "x" / "empty.py").touch()
    assert paths(tmp_path) == [f"x/data{suffix}"]


def test_a_file_that_is_gone_or_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "link.py").symlink_to("nowhere")
    (tmp_path / "loop.py").symlink_to("loop.py")
    assert list(read_files(walk(tmp_path))) == []


def test_folders_that_python_imports_from(tmp_path: Path) -> None:
    put(tmp_path, "x/node_modules/a.so", "x/__pycache__/b.so", "x/.libs/c.so", ".git/d.so")
    put(tmp_path, ".venv/lib/e.so", "x/build/f.so")
    assert paths(tmp_path) == [
        "x/.libs/c.so",
        "x/__pycache__/b.so",
        "x/build/f.so",
        "x/node_modules/a.so",
    ]


def test_an_unpacked_wheel_has_nothing_aside(tmp_path: Path) -> None:
    put(tmp_path, "x/.venv/a.so", ".git/b.so")
    info = tmp_path / "x-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA)
    assert paths(tmp_path) == [".git/b.so", "x/.venv/a.so"]


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    """Those that lead back, to what was there already, or to each other, too."""
    outside, folder = put(tmp_path / "outside", "sub/a.so"), put(tmp_path / "x", "real/b.so")
    (folder / "libs").symlink_to(outside)
    (folder / "again").symlink_to(outside / "sub")
    (folder / "alias").symlink_to("real")
    (folder / "real" / "up").symlink_to("..")
    (outside / "back").symlink_to(folder)
    (folder / "nowhere").symlink_to("gone")
    assert paths(folder) == ["again/a.so", "real/b.so"]


def test_folders_without_an_end(tmp_path: Path) -> None:
    put(tmp_path, "a.so", "b/c.so")
    (tmp_path / "d").symlink_to("b")
    with pytest.raises(AuditError, match="more than 3 members"):
        open_folder(tmp_path, Budget(Limits(members=3)))

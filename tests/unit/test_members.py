"""Members as streams: whatever is asked for in which order, it is the member's bytes."""

from __future__ import annotations

import json
import random
import zipfile
import zlib
from pathlib import Path

import pytest

from tests.builders import a_library, write_wheel
from torch_abi_audit.archive import members as members_module
from torch_abi_audit.archive.members import open_member
from torch_abi_audit.cli import main
from torch_abi_audit.errors import LibraryError
from torch_abi_audit.targets import wheel as wheel_module
from torch_abi_audit.targets.wheel import read_wheel

# Compresses badly, so that what is inflated is not in memory at once.
DATA = random.Random(1).randbytes(300_000)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Next to nothing is kept."""
    monkeypatch.setattr(members_module, "_PREFIX", 1000)
    monkeypatch.setattr(members_module, "_WINDOW", 5000)
    monkeypatch.setattr(members_module, "_SKIPPED", 700)
    monkeypatch.setattr(members_module, "_READ_TO_THE_END", 2000)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    "method",
    [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA],
)
def test_any_range_is_that_of_the_member(tmp_path: Path, method: int) -> None:
    path = write_wheel(tmp_path, {"x/data": DATA}, compression=method)
    ranges = [
        (0, 64), (10, 20), (0, 900), (900, 300), (0, 0), (200_000, 10), (199_000, 1500),
        (197_000, 2000), (500, 100), (295_000, 5000), (290_000, 10_000), (0, 300_000),
    ]  # fmt: skip
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        with open_member(archive, archive.getinfo("x/data"), file) as source:
            for offset, size in ranges:
                assert source.read_at(offset, size) == DATA[offset : offset + size]
            # What is not compressed is read in place, and checked only when that is asked for.
            assert source.verify(whole=method == zipfile.ZIP_STORED)
        for offset, size in ranges:
            with open_member(archive, archive.getinfo("x/data"), file) as source:
                assert source.read_at(offset, size) == DATA[offset : offset + size]
                with pytest.raises(LibraryError, match="truncated"):
                    source.read_at(300_000, 1)


@pytest.mark.usefixtures("small")
def test_what_was_not_read_is_not_verified(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, {"x/data": DATA})
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        info = archive.getinfo("x/data")
        with open_member(archive, info, file) as source:
            source.read_at(0, 10_000)
            assert not source.verify(whole=False)
            assert source.verify(whole=True)
        with open_member(archive, info, file) as source:
            source.read_at(298_500, 10)
            assert source.verify(whole=False)  # so little is left that it is read


@pytest.mark.usefixtures("small")
def test_back_and_forth_has_an_end(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, {"x/data": DATA})
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        source = open_member(archive, archive.getinfo("x/data"), file)
        for _ in range(4):
            source.read_at(250_000, 10)
            source.read_at(100_000, 10)
        for _ in range(3):
            source.read_at(250_000, 10)
        with pytest.raises(LibraryError, match="out of order"):
            [source.read_at(place, 10) for place in (100_000, 250_000) * 9]


def test_without_the_fast_library_it_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_wheel(tmp_path, {"x/_C.so": a_library()})
    fast = read_wheel(path)
    monkeypatch.setattr(members_module, "zlib", zlib)
    assert read_wheel(path) == fast


def test_large_members_are_read_in_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {f"x/lib{number}.so": a_library() for number in range(20)}
    files["x/lib5.so"] = a_library()[:700]
    path = write_wheel(tmp_path, {**files, "x/m.py": b"pass"})
    alone = read_wheel(path)
    monkeypatch.setattr(wheel_module, "_LARGE", 0)
    monkeypatch.setattr(wheel_module, "processors", lambda: 4)
    assert read_wheel(path) == alone
    assert [member.path for member in alone.members if member.error] == ["x/lib5.so"]


def test_a_header_that_is_not_the_directorys(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, {"x/_C.so": a_library()})
    path.write_bytes(path.read_bytes().replace(b"x/_C.so", b"y/_C.so", 1))
    (member,) = read_wheel(path).members
    assert member.error == "can't be inflated: its header contradicts the central directory"


def damaged(folder: Path) -> Path:
    """A wheel with a library that is right up to its tables, and damaged after them."""
    tail = random.Random(2).randbytes(5 << 20)
    path = write_wheel(
        folder, {"x/_C.so": a_library() + tail}, compression=zipfile.ZIP_STORED,
        metadata="Metadata-Version: 2.4\nName: x\nVersion: 1.0\nRequires-Dist: torch>=2.10\n",
    )  # fmt: skip
    data = path.read_bytes()
    place = data.index(tail) + len(tail) - 100
    path.write_bytes(data[:place] + b"\0\0\0\0" + data[place + 4 :])
    return path


def test_verify_reads_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = damaged(tmp_path)
    assert main([str(path), "--json"]) == 0
    (target,) = json.loads(capsys.readouterr().out)["targets"]
    assert [item["verified"] for item in target["libraries"]] == [False]
    assert main([str(path)]) == 0
    assert "1 not read to the end, --verify" in capsys.readouterr().out
    assert main([str(path), "--verify"]) == 2
    reason = "x/_C.so: can't be inflated: its checksum does not match the central directory"
    assert capsys.readouterr().err == f"torch-abi-audit: {path}: {reason}\n"


def test_verify_reads_other_members_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_wheel(tmp_path, {"x/m.py": b"print('hello')"}, compression=zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"hello", b"HELLO"))
    assert main([str(path)]) == 0
    assert main([str(path), "--verify"]) == 2
    assert "x/m.py: can't be inflated: its checksum" in capsys.readouterr().err

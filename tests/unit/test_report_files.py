"""Reports in files are there as a whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from torch_abi_audit.report import streams
from torch_abi_audit.report.files import open_sink


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_replaced_when_it_is_whole(tmp_path: Path, umask: None) -> None:
    path = tmp_path / "r"
    path.write_text("before")
    path.chmod(0o604)
    sink = open_sink(path)
    sink.stream.write("after")
    sink.stream.flush()
    assert path.read_text() == "before"
    sink.commit()
    assert path.read_text() == "after"
    assert mode(path) == 0o604
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_is_not_there_before(tmp_path: Path, umask: None) -> None:
    path = tmp_path / "r"
    sink = open_sink(path)
    sink.stream.write("é\n")
    assert not path.exists()
    sink.commit()
    assert path.read_bytes() == "é\n".encode()
    assert mode(path) == 0o640


@pytest.mark.parametrize("before", [None, "before"])
def test_what_is_given_up_leaves_nothing(tmp_path: Path, before: str | None) -> None:
    path = tmp_path / "r"
    if before is not None:
        path.write_text(before)
    sink = open_sink(path)
    sink.stream.write("half")
    sink.discard()
    assert [item.read_text() for item in tmp_path.iterdir()] == ([] if before is None else [before])


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "a" / "real", tmp_path / "link"
    real.parent.mkdir()
    link.symlink_to(real)
    for before in (None, "one"):
        assert before is None or real.read_text() == before
        sink = open_sink(link)
        sink.stream.write("one")
        sink.commit()
    assert link.is_symlink()
    assert link.readlink() == real
    assert real.read_text() == "one"
    assert list(real.parent.iterdir()) == [real]


def test_a_file_that_must_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r"
    path.write_text("before")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anything
    with pytest.raises(PermissionError):
        open_sink(path)
    assert path.read_text() == "before"


def test_a_folder_that_takes_no_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r"
    path.write_text("a longer one before")
    opened = Path.open

    def refused(self: Path, mode: str = "r", *more: int, **named: str) -> object:
        if mode == "x":
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(self, mode, *more, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", refused)
    sink = open_sink(path)
    sink.stream.write("after")
    assert path.read_text() == "a longer one before"
    sink.commit()
    assert path.read_text() == "after"
    with pytest.raises(PermissionError):
        open_sink(tmp_path / "new")


def test_a_file_that_is_mounted_keeps_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "r"
    path.write_text("a longer one before")

    def busy(*_: object) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(Path, "replace", busy)
    number = path.stat().st_ino
    sink = open_sink(path)
    sink.stream.write("after")
    sink.commit()
    assert path.read_text() == "after"
    assert path.stat().st_ino == number
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_added_is_added_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "r"
    path.write_text("before\n")
    sink = open_sink(path, append=True)
    sink.stream.write("one\n")
    sink.stream.flush()
    with path.open("a") as file:
        file.write("another\n")
    sink.stream.write("two\n")
    assert path.read_text() == "before\nanother\n"
    sink.commit()
    assert path.read_text() == "before\nanother\none\ntwo\n"
    given_up = open_sink(path, append=True)
    given_up.stream.write("three\n")
    given_up.discard()
    assert path.read_text() == "before\nanother\none\ntwo\n"


def test_a_pipe_and_a_device_are_written_to(tmp_path: Path) -> None:
    pipe, link, read = tmp_path / "pipe", tmp_path / "link", []
    os.mkfifo(pipe)
    link.symlink_to("/dev/null")
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    for path in (pipe, link, Path("/dev/null")):
        sink = open_sink(path)
        sink.stream.write("x")
        sink.commit()
    reader.join()
    assert read == ["x"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert link.is_symlink()
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_pipe_of_windows_that_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert streams.is_closed_pipe(BrokenPipeError())
    assert not streams.is_closed_pipe(OSError(errno.EINVAL, "Invalid argument"))
    monkeypatch.setattr(streams, "_ON_WINDOWS", True)
    assert streams.is_closed_pipe(OSError(errno.EINVAL, "Invalid argument"))
    assert not streams.is_closed_pipe(OSError(errno.ENOSPC, "No space left on device"))

"""Wheels on a server: what is fetched of them, and that it makes no difference."""

from __future__ import annotations

import random
import zipfile
import zlib
from pathlib import Path

import pytest

from tests.builders import METADATA, NAME, a_library, write_wheel
from torch_abi_audit.archive.files import LocalFile
from torch_abi_audit.archive.remote import Fetched, RemoteFile
from torch_abi_audit.budget import Budget, Limits
from torch_abi_audit.errors import AuditError, LimitError, SourceError
from torch_abi_audit.targets.wheel import read_archive

KB = 1 << 10
NOISE = random.Random(0).randbytes(3 << 20)


class Server:
    """A file, and the ranges of it that were asked for."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.asked: list[tuple[int, int]] = []

    def tail(self, size: int) -> Fetched:
        first = max(0, len(self.data) - size)
        self.asked.append((first, len(self.data) - 1))
        return Fetched(self.data[first:], first, len(self.data))

    def range(self, first: int, last: int, total: int) -> bytes:
        assert total == len(self.data)
        assert 0 <= first <= last < total
        self.asked.append((first, last))
        return self.data[first : last + 1]

    @property
    def fetched(self) -> int:
        return sum(last + 1 - first for first, last in self.asked)


def stored(tmp_path: Path, files: dict[str, bytes]) -> bytes:
    """Return a wheel with members that are not compressed, in the order given."""
    path = write_wheel(tmp_path, {})
    with zipfile.ZipFile(path, "a") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path.read_bytes()


def test_a_reader_reads_what_is_there() -> None:
    server = Server(NOISE)
    remote = RemoteFile("x.whl", server, Budget())
    places = random.Random(1)
    with remote.open() as file:
        for _ in range(300):
            offset, size = places.randrange(len(NOISE)), places.choice((1, 30, KB, 300 * KB))
            assert file.seek(offset) == offset
            assert file.read(size) == NOISE[offset : offset + size]
            assert file.tell() == min(offset + size, len(NOISE))
        file.seek(-5, 2)
        assert file.read() == NOISE[-5:]
        assert file.read(5) == b""
        file.seek(0)
        assert file.read() == NOISE
    assert server.fetched < 5 * len(NOISE)


def test_reading_on_fetches_more_at_once() -> None:
    server = Server(NOISE)
    with RemoteFile("x.whl", server, Budget()).open() as file:
        while file.read(KB):
            pass
    sizes = [last + 1 - first for first, last in server.asked[1:]]
    assert sizes[:4] == [256 * KB, 512 * KB, KB * KB, 1024 * KB]
    assert server.fetched == len(NOISE)


def test_a_jump_starts_small_again() -> None:
    server = Server(NOISE)
    with RemoteFile("x.whl", server, Budget()).open() as file:
        for offset in (0, 2 << 20, KB * KB):
            file.seek(offset)
            file.read(30)
    assert [last + 1 - first for first, last in server.asked[1:]] == [256 * KB, 128 * KB, 128 * KB]


def test_small_parts_are_shared_among_readers() -> None:
    server = Server(NOISE)
    remote = RemoteFile("x.whl", server, Budget())
    for _ in range(3):
        with remote.open() as file:
            file.read(30)
    assert len(server.asked) == 2


def test_a_small_file_is_fetched_at_once() -> None:
    server = Server(NOISE[: 200 * KB])
    remote = RemoteFile("x.whl", server, Budget())
    assert remote.whole == server.data
    with remote.open() as file:
        assert file.read() == server.data
    assert len(server.asked) == 1
    assert RemoteFile("x.whl", Server(NOISE), Budget()).whole is None


def test_another_size_than_the_index_says() -> None:
    with pytest.raises(AuditError, match="the server has 5 bytes, but the index says 6"):
        RemoteFile("x.whl", Server(b"abcde"), Budget(), size=6)


def test_waiting_has_a_limit_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 40))
    monkeypatch.setattr("torch_abi_audit.archive.remote.monotonic", lambda: float(next(clock)))
    budget = Budget(Limits(seconds=10, waiting=100))
    remote = RemoteFile("x.whl", Server(NOISE), budget)
    with remote.open() as file:
        file.read(30)
        budget.check_time()  # all of it was waiting
        file.seek(KB * KB)
        with pytest.raises(LimitError, match=r"takes more than 100 s .*--limit waiting=N"):
            file.read(30)


class _Breaking(Server):
    """Fails where a part holds what a place of the file does."""

    def __init__(self, data: bytes, place: int, error: AuditError) -> None:
        super().__init__(data)
        self._place, self._error = place, error

    def range(self, first: int, last: int, total: int) -> bytes:
        if first <= self._place <= last:
            raise self._error
        return super().range(first, last, total)


@pytest.mark.parametrize("error", [SourceError("it broke off"), LimitError("no time is left")])
@pytest.mark.parametrize(
    "name", ["x-1.0.dist-info/RECORD", "x-1.0.dist-info/entry_points.txt", "x/_C.abi3.so"]
)
def test_what_cannot_be_fetched_is_no_defect(
    tmp_path: Path, name: str, error: AuditError, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is known of the wheel then, least of all that something is wrong with it."""
    monkeypatch.setattr("torch_abi_audit.archive.remote._TAIL", 2 * KB)
    monkeypatch.setattr("torch_abi_audit.archive.remote._LEAST", 64)
    files = {
        "x-1.0.dist-info/entry_points.txt": b"[console_scripts]\n",
        "x/_C.abi3.so": a_library(),
    }
    data = stored(tmp_path, {**files, "x/data.bin": NOISE})
    with zipfile.ZipFile(tmp_path / NAME) as archive:
        place = archive.getinfo(name).header_offset + 30 + len(name)
    server = _Breaking(data, place, error)
    with pytest.raises(type(error), match=str(error)):
        read_archive(RemoteFile(NAME, server, Budget()))


@pytest.mark.parametrize("place", ["first", "last"])
def test_what_is_read_in_place_is_what_is_in_the_file(tmp_path: Path, place: str) -> None:
    library = {"x/_C.abi3.so": a_library()}
    more = {f"x/{number}.py": b"pass\n" * number for number in range(50)}
    bulk = {"x/data.bin": NOISE}
    files = library | bulk | more if place == "first" else more | bulk | library
    data = stored(tmp_path, files)
    server = Server(data)
    found = read_archive(RemoteFile(NAME, server, Budget()))
    local = tmp_path / NAME
    assert found == read_archive(LocalFile(local))
    assert [member.path for member in found.members] == ["x/_C.abi3.so"]
    assert server.fetched < 1000 * KB


def test_a_wheel_without_libraries_costs_its_directory(tmp_path: Path) -> None:
    server = Server(stored(tmp_path, {"x/data.csv": NOISE, "x/a.py": b"pass\n"}))
    found = read_archive(RemoteFile(NAME, server, Budget()))
    assert found.members == ()
    assert len(server.asked) == 2  # this archive begins with its metadata
    assert server.fetched < 600 * KB


def test_any_other_name_may_be_that_of_a_library(tmp_path: Path) -> None:
    data = stored(tmp_path, {"x/weights.bin": a_library(), "x/data.csv": NOISE})
    (member,) = read_archive(RemoteFile(NAME, Server(data), Budget())).members
    assert member.path == "x/weights.bin"


@pytest.mark.parametrize(
    ("beside", "used"), [(METADATA.encode(), True), (b"Name: y\n", False), (None, False)]
)
def test_metadata_beside_the_wheel(
    tmp_path: Path,
    beside: bytes | None,
    used: bool,  # noqa: FBT001
) -> None:
    """A copy that differs from the member is not used."""
    server = Server(stored(tmp_path, {"x/data.csv": NOISE}))
    remote = RemoteFile(NAME, server, Budget(), metadata=lambda: beside)
    with zipfile.ZipFile(tmp_path / NAME) as archive:
        info = archive.getinfo("x-1.0.dist-info/METADATA")
    assert zlib.crc32(METADATA.encode()) == info.CRC
    assert (remote.metadata_of(info) is not None) is used
    assert read_archive(remote) == read_archive(LocalFile(tmp_path / NAME))


def test_metadata_that_was_fetched_already_is_not_fetched_again(tmp_path: Path) -> None:
    data = stored(tmp_path, {"x/a.py": b"pass\n"})

    def fail() -> bytes:
        raise AssertionError

    read_archive(RemoteFile(NAME, Server(data), Budget(), metadata=fail))


def test_what_the_server_refuses_fails_the_wheel(tmp_path: Path) -> None:
    """Not the member alone: it is no fault of the wheel."""

    class Broken(Server):
        def range(self, *_: int) -> bytes:
            raise AuditError("500")

    data = stored(tmp_path, {"x/_C.so": a_library(), "x/data.csv": NOISE})
    with pytest.raises(AuditError, match="500"):
        read_archive(RemoteFile(NAME, Broken(data), Budget()))

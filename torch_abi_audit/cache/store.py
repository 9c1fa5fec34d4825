"""The cache of results: an SQLite file that several processes may share.

It saves time, and nothing else: where it is broken, read-only or full, all is as without it.
Each entry has a checksum, so that a damaged one is none.
"""

from __future__ import annotations

import sqlite3
import zlib
from contextlib import suppress
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit.errors import AuditError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

_LAYOUT = 1  # of the table
_NAME = "results.sqlite"
_BESIDE = ("", "-journal", "-wal", "-shm")  # what SQLite writes
_WAIT = 10.0  # seconds for another process
_MOST_BYTES = 2 << 30
_DROPPED = 0.25  # of the entries of a kind, where there are more bytes than that
_TABLE = """
create table entries (
    kind text not null, key text not null, data blob not null,
    checksum integer not null, written real not null, primary key (kind, key)
) without rowid
"""


class Usage(NamedTuple):
    """What a cache holds: its entries by kind, and its bytes on disk."""

    entries: dict[str, int]
    size: int


def default_folder() -> Path:
    """Return the folder that the system has for what the user's programs keep."""
    from platformdirs import user_cache_path  # noqa: PLC0415 -- an extra

    return user_cache_path("torch-abi-audit", appauthor=False)


def clear(folder: Path) -> int:
    """Delete the cache, even a broken one; return how many bytes it had.

    Raises:
        AuditError: It can't be deleted.
    """
    freed = 0
    for end in _BESIDE:
        path = folder / f"{_NAME}{end}"
        with suppress(FileNotFoundError):
            try:
                size = path.stat().st_size
                path.unlink()
            except FileNotFoundError:
                raise
            except OSError as error:
                raise AuditError(f"{path}: {error.strerror or error}") from error
            freed += size
    return freed


def show(folder: Path) -> Usage:
    """Return what the cache holds, without making one.

    Raises:
        AuditError: It can't be read.
    """
    path = folder / _NAME
    try:
        path.lstat()
    except FileNotFoundError:
        return Usage({}, 0)
    except OSError as error:
        raise AuditError(f"{path}: {error.strerror or error}") from error
    problems: list[str] = []
    with Cache(folder, problems.append) as cache:
        found = cache.usage
    if problems:
        raise AuditError(problems[0])
    return found


class Cache:
    """Facts and judgements, by kinds and keys that name all that they depend on.

    Args:
        folder: Where the file is, or will be; None for a cache that keeps nothing.
        complain: Told in one line, once, why the cache can't be used.
    """

    def __init__(self, folder: Path | None, complain: Callable[[str], None]) -> None:
        self._complain = complain
        self._complained = False
        self._writable = True
        self._path = None if folder is None else folder / _NAME
        self._database: sqlite3.Connection | None = None
        if self._path is None:
            return
        try:
            self._database = _open(self._path)
        except (sqlite3.Error, OSError) as error:
            self._refuse(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Make room if there is too much, and close the file."""
        if self._database is None:
            return
        with suppress(sqlite3.Error, OSError):
            if self._writable and self._size() > _MOST_BYTES:
                self._shrink(self._database)
        with suppress(sqlite3.Error):
            self._database.close()
        self._database = None

    def get(self, kind: str, key: str) -> bytes | None:
        """Return what is kept; None for nothing, or for what is damaged."""
        if self._database is None:
            return None
        try:
            row = self._database.execute(
                "select data, checksum from entries where kind = ? and key = ?", (kind, key)
            ).fetchone()
        except (sqlite3.Error, OSError) as error:
            self._database = self._database if _is_busy(error) else None
            self._refuse(error)
            return None
        if row is None or type(row[0]) is not bytes or zlib.crc32(row[0]) != row[1]:
            return None
        return row[0]

    def put(self, kind: str, key: str, data: bytes) -> None:
        """Keep something, at once: a process that is killed later has kept it."""
        if self._database is None or not self._writable:
            return
        try:
            with self._database as transaction:
                transaction.execute(
                    "insert or replace into entries values (?, ?, ?, ?, ?)",
                    (kind, key, data, zlib.crc32(data), time()),
                )
        except (sqlite3.Error, OSError) as error:
            self._writable = _is_busy(error)
            self._refuse(error)

    @property
    def usage(self) -> Usage:
        """What it holds."""
        found: dict[str, int] = {}
        if self._database is not None:
            try:
                rows = self._database.execute("select kind, count(*) from entries group by kind")
                found = {str(kind): int(number) for kind, number in rows}
            except sqlite3.Error as error:
                self._refuse(error)
        return Usage(found, self._size())

    def _size(self) -> int:
        size = 0
        for end in _BESIDE:
            with suppress(OSError):
                size += Path(f"{self._path}{end}").stat().st_size
        return size

    @staticmethod
    def _shrink(database: sqlite3.Connection) -> None:
        """Delete the oldest entries of the kind that takes most, and give their space back."""
        (kind,) = database.execute(
            "select kind from entries group by kind order by sum(length(data)) desc"
        ).fetchone()
        with database as transaction:
            transaction.execute(
                "delete from entries where kind = :kind and written <= (select written from entries"
                " where kind = :kind order by written limit 1 offset (select"
                " cast(count(*) * :dropped as integer) from entries where kind = :kind))",
                {"kind": kind, "dropped": _DROPPED},
            )
        database.execute("vacuum")

    def _refuse(self, error: Exception) -> None:
        if not self._complained:
            self._complained = True
            clears = "; `torch-abi-audit cache clear` deletes it" if _is_broken(error) else ""
            self._complain(f"the cache is not used: {self._path}: {error}{clears}")


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path, _WAIT)
    try:
        if _layout(database) != _LAYOUT:
            with database as transaction:
                # Of several processes that find none, one makes it: the others look again.
                transaction.execute("begin immediate")
                if _layout(database) != _LAYOUT:
                    transaction.execute("drop table if exists entries")
                    transaction.execute(_TABLE)
                    transaction.execute(f"pragma user_version = {_LAYOUT}")
    except BaseException:
        database.close()
        raise
    return database


def _layout(database: sqlite3.Connection) -> int:
    (number,) = database.execute("pragma user_version").fetchone()
    return int(number)


def _is_busy(error: Exception) -> bool:
    """Whether it is only that another process writes just now."""
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)


def _is_broken(error: Exception) -> bool:
    return isinstance(error, sqlite3.DatabaseError) and not isinstance(
        error, sqlite3.OperationalError
    )

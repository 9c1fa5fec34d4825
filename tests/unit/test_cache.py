"""The cache: what is kept is given back, and whatever is wrong with the file costs only time."""

from __future__ import annotations

import json
import multiprocessing
import os
import sqlite3
import threading
import zlib
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from tests.builders import TEST_WHEELS, claims, library
from torch_abi_audit.cache import store
from torch_abi_audit.cache.facts import FACTS_VERSION, decode_facts, encode_facts
from torch_abi_audit.cache.store import Cache, clear
from torch_abi_audit.errors import AuditError
from torch_abi_audit.model import (
    Assertion,
    Claims,
    Defect,
    DefectKind,
    DeploymentTarget,
    Library,
    Member,
    Symbol,
    TargetContents,
    TargetKind,
    VariantProperty,
)
from torch_abi_audit.targets.wheel import read_wheel

FILE = "results.sqlite"


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def cache(tmp_path: Path, said: list[str]) -> Iterator[Cache]:
    with Cache(tmp_path / "cache", said.append) as found:
        yield found


def test_what_is_kept_is_given_back(cache: Cache, tmp_path: Path, said: list[str]) -> None:
    assert cache.get("facts", "a") is None
    cache.put("facts", "a", b"\x00one")
    cache.put("facts", "a", b"\x00two")
    cache.put("records", "a", b"three")
    assert (cache.get("facts", "a"), cache.get("records", "a")) == (b"\x00two", b"three")
    assert cache.usage.entries == {"facts": 1, "records": 1}
    assert cache.usage.size > 0
    with Cache(tmp_path / "cache", said.append) as other:
        assert other.get("facts", "a") == b"\x00two"
    assert said == []


def test_a_cache_that_keeps_nothing(said: list[str]) -> None:
    with Cache(None, said.append) as cache:
        cache.put("facts", "a", b"one")
        assert cache.get("facts", "a") is None
    assert said == []


def test_what_is_damaged_is_not_there(cache: Cache, tmp_path: Path) -> None:
    cache.put("facts", "a", b"one")
    database = sqlite3.connect(tmp_path / "cache" / FILE)
    with database:
        database.execute("update entries set data = ?", (b"two",))
    assert cache.get("facts", "a") is None
    with database:
        database.execute("update entries set data = 'text', checksum = 0")
    database.close()
    assert cache.get("facts", "a") is None


@pytest.mark.parametrize("data", [b"not a database" * 100, b"SQLite format 3\x00" + b"\xff" * 4096])
def test_a_broken_file(tmp_path: Path, said: list[str], data: bytes) -> None:
    path = tmp_path / FILE
    path.write_bytes(data)
    with Cache(tmp_path, said.append) as cache:
        cache.put("facts", "a", b"one")
        assert cache.get("facts", "a") is None
        cache.put("facts", "a", b"one")
    (line,) = said
    assert line.startswith(f"the cache is not used: {path}: ")
    assert line.endswith("; `torch-abi-audit cache clear` deletes it")
    assert clear(tmp_path) == len(data)
    with Cache(tmp_path, said.append) as cache:
        cache.put("facts", "a", b"one")
        assert cache.get("facts", "a") == b"one"
    assert len(said) == 1


def test_a_page_that_is_overwritten(tmp_path: Path, said: list[str]) -> None:
    with Cache(tmp_path, said.append) as cache:
        for number in range(100):
            cache.put("facts", str(number), bytes(1000))
    path = tmp_path / FILE
    data = bytearray(path.read_bytes())
    data[8192:] = b"\xa5" * (len(data) - 8192)
    path.write_bytes(data)
    with Cache(tmp_path, said.append) as cache:
        assert {cache.get("facts", str(number)) for number in range(100)} <= {None, bytes(1000)}
        cache.put("facts", "a", b"one")
    assert len(said) == 1


@pytest.mark.skipif(os.name != "posix", reason="Windows has other permissions")
def test_a_folder_that_is_none(tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "file").write_bytes(b"")
    with Cache(tmp_path / "file" / "cache", said.append) as cache:
        cache.put("facts", "a", b"one")
        assert cache.get("facts", "a") is None
    assert len(said) == 1


def test_a_file_that_is_read_only(tmp_path: Path, said: list[str]) -> None:
    """What it has is used; that nothing is added is said once."""
    with Cache(tmp_path, said.append) as cache:
        cache.put("facts", "a", b"one")
    path = tmp_path / FILE
    # A permission does not stop root, and this does.
    with Cache(tmp_path, said.append) as cache:
        assert cache._database is not None  # noqa: SLF001
        cache._database.execute("pragma query_only = 1")  # noqa: SLF001
        assert cache.get("facts", "a") == b"one"
        cache.put("facts", "b", b"two")
        cache.put("facts", "c", b"two")
        assert cache.get("facts", "a") == b"one"
    assert said == [f"the cache is not used: {path}: attempt to write a readonly database"]


def test_a_disk_that_is_full(tmp_path: Path, said: list[str]) -> None:
    with Cache(tmp_path, said.append) as cache:
        cache.put("facts", "a", b"one")
        assert cache._database is not None  # noqa: SLF001
        cache._database.execute("pragma max_page_count = 4")  # noqa: SLF001
        cache.put("facts", "b", bytes(1 << 20))
        assert cache.get("facts", "a") == b"one"
    assert said == [f"the cache is not used: {tmp_path / FILE}: database or disk is full"]


def test_another_process_that_writes(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is waited for, but not for ever; and the next entry is kept again."""
    monkeypatch.setattr(store, "_WAIT", 0.05)
    with Cache(tmp_path, said.append) as cache:
        cache.put("facts", "a", b"one")
        other = sqlite3.connect(tmp_path / FILE)
        other.execute("begin immediate")
        cache.put("facts", "b", b"two")
        assert cache.get("facts", "a") == b"one"
        other.rollback()
        other.close()
        cache.put("facts", "c", b"three")
        assert (cache.get("facts", "b"), cache.get("facts", "c")) == (None, b"three")
    assert said == [f"the cache is not used: {tmp_path / FILE}: database is locked"]


def _write(folder: Path, name: str) -> None:
    with Cache(folder, print) as cache:
        for number in range(50):
            cache.put("facts", f"{name} {number}", name.encode() * 100)


def test_processes_share_it(tmp_path: Path, said: list[str]) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_write, args=(tmp_path, name)) for name in "abc"]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    with Cache(tmp_path, said.append) as cache:
        assert cache.usage.entries == {"facts": 150}
        assert cache.get("facts", "b 49") == b"b" * 100
    assert said == []


def _other_layout(folder: Path) -> None:
    database = sqlite3.connect(folder / FILE)
    with database:
        database.execute("create table entries (other)")
        database.execute("pragma user_version = 77")
    database.close()


def test_another_process_that_replaces_it(tmp_path: Path, said: list[str]) -> None:
    """What that one has kept by then is not deleted."""
    _other_layout(tmp_path)
    other = sqlite3.connect(tmp_path / FILE, check_same_thread=False)
    other.execute("begin immediate")
    other.execute("drop table entries")
    other.execute(store._TABLE)  # noqa: SLF001
    other.execute(f"pragma user_version = {store._LAYOUT}")  # noqa: SLF001
    other.execute("insert into entries values ('facts', 'a', ?, ?, 0)", (b"1", zlib.crc32(b"1")))
    done = threading.Timer(0.5, other.commit)
    done.start()
    with Cache(tmp_path, said.append) as cache:
        done.join()
        other.close()
        assert cache.get("facts", "a") == b"1"
        cache.put("facts", "b", b"2")
        assert cache.get("facts", "b") == b"2"
    assert said == []


def test_another_layout_is_replaced(tmp_path: Path, said: list[str]) -> None:
    _other_layout(tmp_path)
    with Cache(tmp_path, said.append) as cache:
        cache.put("facts", "a", b"one")
        assert cache.get("facts", "a") == b"one"
    assert said == []


def test_the_oldest_make_room(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_MOST_BYTES", 100_000)
    times = iter(range(1000))
    monkeypatch.setattr(store, "time", lambda: float(next(times)))
    with Cache(tmp_path, said.append) as cache:
        for number in range(40):
            cache.put("facts", f"{number:02}", os.urandom(4000))
            cache.put("records", f"{number:02}", b"small")
    with Cache(tmp_path, said.append) as cache:
        kept = [number for number in range(40) if cache.get("facts", f"{number:02}")]
        assert kept == list(range(11, 40))
        assert cache.usage.entries == {"facts": 29, "records": 40}
        assert cache.usage.size < 150_000
    assert said == []


def test_clearing_nothing(tmp_path: Path) -> None:
    assert clear(tmp_path) == 0
    assert clear(tmp_path / "nowhere") == 0
    (tmp_path / FILE).mkdir()
    with pytest.raises(AuditError, match=FILE):
        clear(tmp_path)


CLAIMS = [
    *("name", "version", "tags", "wheel_tags", "root_is_purelib", "requires_python"),
    *("torch_requirements", "cuda_requirements", "dependencies", "extras", "stated", "filename"),
    *("variant", "variant_properties"),
]
SYMBOL = Symbol("_ZN1a1bEv", weak=True, version="V_1", library="libx.so", hidden=True)
WHOLE = TargetContents(
    TargetKind.WHEEL,
    replace(
        claims(torch=("torch>=2.9; python_version > '3'",)),
        variant="cu128",
        variant_properties=(VariantProperty("nvidia", "cuda_version_lower_bound", "12.8"),),
    ),
    (
        Member(
            "x/_C.so",
            (
                replace(
                    library(
                        SYMBOL,
                        Symbol("plain"),
                        soname="_C.so",
                        needed=("libtorch.so", "libc.so.6"),
                        optional=("libtorch.so",),
                        rpath=("$ORIGIN",),
                        runpath=("/x",),
                        exports=(Symbol("PyInit__C"),),
                        version_needs=(("libc.so.6", ("GLIBC_2.17", "GLIBC_2.4")),),
                        minos=DeploymentTarget("macos", (11, 0)),
                    ),
                    assertions=(Assertion("c10/x.h", 12, "a < b"),),
                ),
            ),
            verified=True,
        ),
        Member("x/broken.so", (), error="truncated"),
    ),
    (Defect(DefectKind.CASE, "A", "and a"), Defect(DefectKind.STRUCTURE, "")),
    date(2026, 1, 2),
)


def test_facts_have_all_that_there_is() -> None:
    """A field that is added has to be kept as well, with another version."""
    assert (FACTS_VERSION, [item.name for item in fields(Claims)]) == (4, CLAIMS)
    kept = set(json.loads(zlib.decompress(encode_facts(WHOLE)))["claims"])
    assert kept == set(CLAIMS)
    assert len(fields(Library)) == len(_fields()["members"][0][1][0])  # type: ignore[index]


def test_facts_come_back() -> None:
    assert decode_facts(encode_facts(WHOLE)) == WHOLE
    found = decode_facts(encode_facts(WHOLE))
    assert type(found.members[0].slices[0].imports[0]) is Symbol
    assert type(found.members[0].slices[0].minos) is DeploymentTarget
    assert type(found.defects[0]) is Defect
    assert found.claims.torch_requirements == (Requirement("torch>=2.9; python_version > '3'"),)
    assert type(found.claims.version) is Version
    assert type(found.claims.variant_properties[0]) is VariantProperty
    assert type(found.claims.requires_python) is SpecifierSet


@pytest.mark.parametrize(
    "path", sorted(TEST_WHEELS.glob("*/*.whl")), ids=lambda path: path.parent.name
)
def test_facts_of_wheels_come_back(path: Path) -> None:
    try:
        contents = read_wheel(path)
    except AuditError:
        pytest.skip("no wheel")
    data = encode_facts(contents)
    assert decode_facts(data) == contents
    assert encode_facts(decode_facts(data)) == data


@given(st.text(), st.text(), st.none() | st.text(), st.booleans())
def test_any_names_come_back(
    path: str,
    name: str,
    version: str | None,
    weak: bool,  # noqa: FBT001
) -> None:
    symbol = Symbol(name, weak=weak, version=version, library=version)
    member = Member(path, (library(symbol, needed=(name, path)),), error=version)
    contents = TargetContents(TargetKind.WHEEL, WHOLE.claims, (member,))
    assert decode_facts(encode_facts(contents)) == contents


def _fields() -> dict[str, object]:
    found: dict[str, object] = json.loads(zlib.decompress(encode_facts(WHOLE)))
    return found


@pytest.mark.parametrize(
    "change",
    [
        {"version": 0},
        {"claims": {}},
        {"claims": None},
        {"members": None},
        {"members": [["x", [], None]]},
        {"members": [["x", [[]], None, True]]},
        {"members": [[1, [], None, True]]},
        {"members": [["x", [], None, 1]]},
        {"members": 7},
        {"defects": [["no such kind", "x", ""]]},
        {"defects": [["case", 1, ""]]},
        {"day": "2026-02-31"},
        {"day": 5},
    ],
)
def test_other_fields_are_refused(change: dict[str, object]) -> None:
    text = json.dumps({**_fields(), **change})
    with pytest.raises(ValueError):  # noqa: PT011 -- any
        decode_facts(zlib.compress(text.encode()))


@pytest.mark.parametrize(
    "symbol",
    [["a"], ["a", False, None, None], ["a", 0, None, None, False], [1, False, None, None, False]],
)
def test_other_symbols_are_refused(symbol: list[object]) -> None:
    found = json.loads(json.dumps(_fields()))
    found["members"][0][1][0][9] = [symbol]
    with pytest.raises(ValueError):  # noqa: PT011 -- any
        decode_facts(zlib.compress(json.dumps(found).encode()))


@pytest.mark.parametrize("item", [["nvidia", "a"], ["nvidia", "a", 1], ["a"] * 4, 1])
def test_other_properties_are_refused(item: object) -> None:
    fields = json.loads(json.dumps(_fields()))
    fields["claims"]["variant_properties"] = [item]
    with pytest.raises(ValueError):  # noqa: PT011 -- any
        decode_facts(zlib.compress(json.dumps(fields).encode()))


@given(st.binary(max_size=300))
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 -- any
        decode_facts(data)
    with pytest.raises(ValueError):  # noqa: PT011 -- any
        decode_facts(zlib.compress(data))


def test_facts_that_break_off_are_refused() -> None:
    data = encode_facts(WHOLE)
    with pytest.raises(ValueError, match="not the facts of a wheel"):
        decode_facts(data[:-10])
    deep = zlib.compress(b"[" * 100_000)
    with pytest.raises(ValueError, match="not the facts of a wheel"):
        decode_facts(deep)

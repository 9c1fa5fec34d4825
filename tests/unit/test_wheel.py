from __future__ import annotations

import os
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from packaging.version import Version

from tests.builders import METADATA, NAME, a_library, write_wheel
from torch_abi_audit.archive import members as members_module
from torch_abi_audit.errors import AuditError
from torch_abi_audit.targets.wheel import read_wheel


def test_claims(tmp_path: Path) -> None:
    path = write_wheel(
        tmp_path,
        metadata="Metadata-Version: 2.4\nName: x\nVersion: 1.0\nRequires-Python: >=3.9\n"
        "Requires-Dist: numpy\nRequires-Dist: Torch (>=2.10)\nProvides-Extra: gpu\n\ntorch: prose",
    )
    opened = read_wheel(path)
    claims, members = opened.claims, opened.members
    assert members == ()
    assert claims.name == "x"
    assert claims.version == Version("1.0")
    assert {str(tag) for tag in claims.tags} == {"py39-none-manylinux_2_28_x86_64"}
    assert claims.wheel_tags == claims.tags
    assert str(claims.requires_python) == ">=3.9"
    assert [str(requirement) for requirement in claims.torch_requirements] == ["Torch>=2.10"]
    assert claims.extras == {"gpu"}
    assert not claims.root_is_purelib


def test_members_in_the_order_of_their_paths(tmp_path: Path) -> None:
    files = {
        "x/b.so": a_library(),
        "x/__init__.py": b"",
        "x.libs/liba.so.1": a_library(),
        "x-1.0.data/platlib/x/c": a_library(),
        "x/readme.so": b"INPUT(liba.so.1)",
    }
    members = read_wheel(write_wheel(tmp_path, files)).members
    assert [member.path for member in members] == [
        "x-1.0.data/platlib/x/c",
        "x.libs/liba.so.1",
        "x/b.so",
    ]
    assert all(member.slices for member in members)


def test_an_unreadable_member_does_not_hide_the_others(tmp_path: Path) -> None:
    files = {"x/a.so": a_library()[:700], "x/b.so": a_library()}
    (first, second) = read_wheel(write_wheel(tmp_path, files)).members
    assert first.slices == ()
    assert first.error is not None
    assert first.error.startswith("truncated: ")
    assert second.slices


def test_tables_far_apart_are_read_in_several_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With next to nothing kept, each step back inflates the member again."""
    monkeypatch.setattr(members_module, "_PREFIX", 16)
    monkeypatch.setattr(members_module, "_WINDOW", 16)
    monkeypatch.setattr(members_module, "_SKIPPED", 7)
    (member,) = read_wheel(write_wheel(tmp_path, {"x/a.so": a_library()})).members
    assert member.slices
    assert [symbol.name for symbol in member.slices[0].imports] == ["torch_library_impl"]


@pytest.mark.parametrize("data", [b"", b"PK", b"not a zip", bytes(1000)])
def test_not_an_archive(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / NAME
    path.write_bytes(data)
    with pytest.raises(AuditError, match="not a zip archive"):
        read_wheel(path)


def test_a_cut_archive(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, {"x/a.so": a_library()})
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(AuditError, match="not a zip archive"):
        read_wheel(path)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="no such file"):
        read_wheel(tmp_path / NAME)


def test_a_folder(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    with pytest.raises(AuditError, match="not a file"):
        read_wheel(tmp_path / NAME)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("badname-1.0-linux.whl", "wrong number of parts"),
        ("x-1.0-py39-none-.whl", "invalid tag"),
        ("x-one-py39-none-any.whl", "invalid version"),
        ("x-1.0.tar.gz", "does not end in .whl"),
    ],
)
def test_bad_names(tmp_path: Path, name: str, reason: str) -> None:
    path = write_wheel(tmp_path)
    with pytest.raises(AuditError, match=reason):
        read_wheel(path.rename(tmp_path / name))


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        (None, "no x-1.0.dist-info/METADATA in the archive"),
        ("", "METADATA has no Metadata-Version"),
        ("\n" + METADATA, "METADATA has no Metadata-Version"),
        ("\ufeff" + METADATA, "METADATA has no Metadata-Version"),
        ("Metadata-Version: 2.4\nName: x\n", "METADATA has no Version"),
        (METADATA.replace("1.0", "9" * 5000), "can't be parsed"),
        (f"{METADATA}Requires-Python: three\n", "Requires-Python 'three'"),
        (f"{METADATA}Requires-Dist: torch >>2\n", "Requires-Dist 'torch >>2'"),
        # A syntax error or a RecursionError, as the release of packaging has it.
        (f"{METADATA}Requires-Dist: torch; {'(' * 1900}\n", "Requires-Dist 'torch|can't be parsed"),
        (f"{METADATA}Requires-Dist: torch; {'(' * 20000}\n", "Requires-Dist of 20007 characters"),
        (f"{METADATA}Requires-Dist: torch\n" * 301, "more than 300 Requires-Dist of one project"),
        (f"{METADATA}Requires-Python: >={'9' * 2001}\n", "a Requires-Python that is too long"),
        (METADATA + "".join(f"Provides-Extra: x{n}\n" for n in range(2001)), "too many extras"),
    ],
)
def test_bad_metadata(tmp_path: Path, metadata: str | None, reason: str) -> None:
    with pytest.raises(AuditError, match=reason):
        read_wheel(write_wheel(tmp_path, metadata=metadata))


def test_a_bad_requirement_of_something_else_is_not_ours(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, metadata=f"{METADATA}Requires-Dist: pytz (>dev)\n")
    claims = read_wheel(path).claims
    assert claims.torch_requirements == ()


@pytest.mark.parametrize(
    ("tag", "reason"),
    [
        ("py3-any", "the tag 'py3-any'"),
        ("--", "the tag '--'"),
        (".".join(["a"] * 200) + "-" + ".".join(["b"] * 200) + "-any", "more than 1000"),
    ],
)
def test_bad_tags(tmp_path: Path, tag: str, reason: str) -> None:
    with pytest.raises(AuditError, match=reason):
        read_wheel(write_wheel(tmp_path, wheel=f"Tag: {tag}\n"))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / NAME)
    with pytest.raises(AuditError, match="not a file"):
        read_wheel(tmp_path / NAME)


def test_of_two_dist_infos_the_filenames_own_is_read(tmp_path: Path) -> None:
    files = {"y-1.0.dist-info/WHEEL": b"Tag: py3-none-any\n"}
    claims = read_wheel(write_wheel(tmp_path, files)).claims
    assert {str(tag) for tag in claims.wheel_tags} == {"py39-none-manylinux_2_28_x86_64"}


def test_no_dist_info_of_its_own(tmp_path: Path) -> None:
    files = {"y-1.0.dist-info/WHEEL": b"", "z-1.0.dist-info/WHEEL": b""}
    path = write_wheel(tmp_path, files).rename(tmp_path / "a-1.0-py3-none-any.whl")
    with pytest.raises(AuditError, match=r"3 \.dist-info folders with WHEEL"):
        read_wheel(path)


def test_a_wrong_checksum(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, {"x/a.so": a_library()}, compression=zipfile.ZIP_STORED)
    data = path.read_bytes()
    position = data.index(b"register_ops") - 200
    path.write_bytes(data[:position] + b"\xff" + data[position + 1 :])
    (member,) = read_wheel(path).members
    assert member.error == "can't be inflated: its checksum does not match the central directory"


def test_a_wrong_size(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, {"x/a.so": a_library()})
    data = path.read_bytes()
    size = struct.pack("<I", len(a_library()))
    path.write_bytes(data.replace(size, struct.pack("<I", len(a_library()) + 9)))
    (member,) = read_wheel(path).members
    assert member.slices == ()
    assert member.error is not None


def test_an_encrypted_member(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, {"x/a.so": a_library()})
    data = bytearray(path.read_bytes())
    data[6] |= 1  # the flag in the first local header …
    data[data.index(b"PK\x01\x02") + 8] |= 1  # … and in the directory
    path.write_bytes(bytes(data))
    (member,) = read_wheel(path).members
    assert member.error is not None
    assert "encrypted" in member.error


def test_a_bomb(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, {"x/a.so": b"\x7fELF" + bytes(80 << 20)})
    with pytest.raises(AuditError, match="the archive inflates to more than 50 times its size"):
        read_wheel(path)


@pytest.mark.parametrize("offset", [-1, -9, 1 << 20, (1 << 31) - 1])
def test_a_header_outside_the_archive(tmp_path: Path, offset: int) -> None:
    """The directory can begin before the place that its end says: so can all members."""
    path = write_wheel(tmp_path, {"x/a.py": b""})
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\x01\x02")
    end = data.rindex(b"PK\x05\x06")
    if offset < 0:  # what zipfile takes off all offsets
        struct.pack_into("<I", data, end + 16, place - offset)
    else:
        struct.pack_into("<I", data, place + 42, offset)
    path.write_bytes(data)
    with pytest.raises(AuditError, match="outside of the archive"):
        read_wheel(path)


def test_a_disk_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> object:
        raise OSError(5, "Input/output error")

    path = write_wheel(tmp_path)
    monkeypatch.setattr("torch_abi_audit.targets.wheel._dist_info", fail)
    with pytest.raises(AuditError, match="Input/output error"):
        read_wheel(path)


def test_a_long_description_costs_nothing(tmp_path: Path) -> None:
    text = METADATA + "Requires-Dist: torch>=2.10\n\n" + "Requires-Dist: torch<2\n" * 150_000
    path = write_wheel(tmp_path, metadata=text)
    tracemalloc.start()
    claims = read_wheel(path).claims
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [str(item) for item in claims.torch_requirements] == ["torch>=2.10"]
    assert peak < 8 * len(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (METADATA + "\n" + "x" * (4 << 20), "METADATA of 4[0-9]+ bytes"),
        (METADATA + "X: y\n" * 300_000, "headers of 1[0-9]+ bytes"),
    ],
)
def test_metadata_that_no_project_has(tmp_path: Path, text: str, reason: str) -> None:
    path = write_wheel(tmp_path, {"y": os.urandom(1 << 17)}, metadata=text)
    with pytest.raises(AuditError, match=reason):
        read_wheel(path)


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_lines_of_any_system_end_the_headers(tmp_path: Path, newline: str) -> None:
    text = METADATA + "Requires-Dist: torch>=2.10\n\nRequires-Dist: torch<2\n"
    claims = read_wheel(write_wheel(tmp_path, metadata=text.replace("\n", newline))).claims
    assert [str(item) for item in claims.torch_requirements] == ["torch>=2.10"]


def test_a_requirement_that_can_not_be_written(tmp_path: Path) -> None:
    """It can be parsed, and has both kinds of quotes in a value: nothing could show it."""
    line = """Requires-Dist: torch; platform_version == 'a\\x27b"c'\n"""
    with pytest.raises(AuditError, match="METADATA has Requires-Dist"):
        read_wheel(write_wheel(tmp_path, metadata=METADATA + line))


def test_tags_that_are_the_same_in_another_order_are_counted(tmp_path: Path) -> None:
    tag = "-".join([".".join("abcdefghij")] * 3)
    same = f"Wheel-Version: 1.0\n{f'Tag: {tag}{chr(10)}' * 10_000}"
    assert len(read_wheel(write_wheel(tmp_path, wheel=same)).claims.wheel_tags) == 1000
    other = f"{same}Tag: {tag[::-1]}\n"
    with pytest.raises(AuditError, match="more than 1000 tags"):
        read_wheel(write_wheel(tmp_path, wheel=other))


def test_dependencies_are_those_of_the_environments_that_it_is_for(tmp_path: Path) -> None:
    lines = [
        *("torch>=2.9", "Plain_One", 'windows; sys_platform == "win32"', 'doc; extra == "doc"'),
        *('linux; platform_system == "Linux"', 'old; python_version < "3.9"', "plain-one<9"),
        # What can't be evaluated may apply.
        *('odd; python_version ~= "x"', 'broken; sys_platform = "win32"'),
    ]
    metadata = METADATA + "".join(f"Requires-Dist: {line}\n" for line in lines)
    found = read_wheel(write_wheel(tmp_path, metadata=metadata)).claims.dependencies
    assert found == ("plain-one", "linux", "odd", "broken")

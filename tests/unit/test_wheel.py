from __future__ import annotations

import os
import struct
import zipfile
from pathlib import Path

import pytest
from packaging.version import Version

from tests.builders import METADATA, NAME, a_library, write_wheel
from torch_abi_audit.errors import AuditError
from torch_abi_audit.targets import members as members_module
from torch_abi_audit.targets.wheel import read_wheel


def test_claims(tmp_path: Path) -> None:
    path = write_wheel(
        tmp_path,
        metadata="Metadata-Version: 2.4\nName: x\nVersion: 1.0\nRequires-Python: >=3.9\n"
        "Requires-Dist: numpy\nRequires-Dist: Torch (>=2.10)\nProvides-Extra: gpu\n\ntorch: prose",
    )
    claims, members = read_wheel(path)
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
        "x/readme.so": b"text",
    }
    _, members = read_wheel(write_wheel(tmp_path, files))
    assert [member.path for member in members] == [
        "x-1.0.data/platlib/x/c",
        "x.libs/liba.so.1",
        "x/b.so",
    ]
    assert all(member.slices for member in members)


def test_an_unreadable_member_does_not_hide_the_others(tmp_path: Path) -> None:
    files = {"x/a.so": a_library()[:700], "x/b.so": a_library()}
    _, (first, second) = read_wheel(write_wheel(tmp_path, files))
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
    _, (member,) = read_wheel(write_wheel(tmp_path, {"x/a.so": a_library()}))
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
        (None, "no .dist-info/METADATA"),
        ("", "METADATA has no Metadata-Version"),
        ("\n" + METADATA, "METADATA has no Metadata-Version"),
        ("\ufeff" + METADATA, "METADATA has no Metadata-Version"),
        ("Metadata-Version: 2.4\nName: x\n", "METADATA has no Version"),
        (METADATA.replace("Name: x", "Name: y"), "METADATA is that of y 1.0"),
        (METADATA.replace("1.0", "2.0"), "METADATA is that of x 2.0"),
        (METADATA.replace("1.0", "9" * 5000), "can't be parsed"),
        (f"{METADATA}Requires-Python: three\n", "Requires-Python 'three'"),
        (f"{METADATA}Requires-Dist: torch >>2\n", "Requires-Dist 'torch >>2'"),
        (f"{METADATA}Requires-Dist: torch; {'(' * 20000}\n", "can't be parsed"),
    ],
)
def test_bad_metadata(tmp_path: Path, metadata: str | None, reason: str) -> None:
    with pytest.raises(AuditError, match=reason):
        read_wheel(write_wheel(tmp_path, metadata=metadata))


def test_a_bad_requirement_of_something_else_is_not_ours(tmp_path: Path) -> None:
    claims, _ = read_wheel(
        write_wheel(tmp_path, metadata=f"{METADATA}Requires-Dist: pytz (>dev)\n")
    )
    assert claims.torch_requirements == ()


@pytest.mark.parametrize(
    ("tag", "reason"),
    [
        ("py3-any", "the tag 'py3-any'"),
        ("--", "the tag '--'"),
        (".".join(["a"] * 200) + "-" + ".".join(["b"] * 200) + "-any", "more than 10000"),
    ],
)
def test_bad_tags(tmp_path: Path, tag: str, reason: str) -> None:
    with pytest.raises(AuditError, match=reason):
        read_wheel(write_wheel(tmp_path, wheel=f"Tag: {tag}\n"))


def test_two_members_of_one_name(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, {"x/a.so": a_library()})
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x/a.so", a_library())
    with pytest.raises(AuditError, match="2 members named"):
        read_wheel(path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / NAME)
    with pytest.raises(AuditError, match="not a file"):
        read_wheel(tmp_path / NAME)


def test_two_dist_infos(tmp_path: Path) -> None:
    files = {"y-1.0.dist-info/METADATA": b"Name: y\n"}
    with pytest.raises(AuditError, match=r"2 \.dist-info/METADATA"):
        read_wheel(write_wheel(tmp_path, files))


def test_a_wrong_checksum(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, {"x/a.so": a_library()}, compression=zipfile.ZIP_STORED)
    data = path.read_bytes()
    position = data.index(b"register_ops") - 200
    path.write_bytes(data[:position] + b"\xff" + data[position + 1 :])
    _, (member,) = read_wheel(path)
    assert member.error == "can't be inflated: its checksum is not that of the directory"


def test_a_wrong_size(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, {"x/a.so": a_library()})
    data = path.read_bytes()
    size = struct.pack("<I", len(a_library()))
    path.write_bytes(data.replace(size, struct.pack("<I", len(a_library()) + 9)))
    _, (member,) = read_wheel(path)
    assert member.slices == ()
    assert member.error is not None


def test_an_encrypted_member(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, {"x/a.so": a_library()})
    data = bytearray(path.read_bytes())
    data[6] |= 1  # the flag in the first local header …
    data[data.index(b"PK\x01\x02") + 8] |= 1  # … and in the directory
    path.write_bytes(bytes(data))
    _, (member,) = read_wheel(path)
    assert member.error is not None
    assert "encrypted" in member.error


def test_a_bomb(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, {"x/a.so": b"\x7fELF" + bytes(80 << 20)})
    with pytest.raises(AuditError, match="decompression bomb: it inflates to 8388"):
        read_wheel(path)

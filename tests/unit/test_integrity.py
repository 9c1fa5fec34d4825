"""The archive as such: one thing is wrong at a time."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from typing import TYPE_CHECKING

import pytest

from tests.builders import METADATA, a_library, record_row, shown, write_wheel
from torch_abi_audit import Options, Verdict, audit
from torch_abi_audit.errors import AuditError
from torch_abi_audit.model import Defect, DefectKind, Severity
from torch_abi_audit.targets.integrity import bounded, entry_point_defects, parse_record
from torch_abi_audit.targets.wheel import read_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from torch_abi_audit.model import TargetReport

INFO = "x-1.0.dist-info"
RULE = "archive-integrity"


def defects(path: Path, *, verify: bool = False) -> list[tuple[str, str, str]]:
    return [(d.kind.value, d.name, d.detail) for d in read_wheel(path, verify=verify).defects]


def report(path: Path, *, verify: bool = False) -> TargetReport:
    (target,) = audit(path, options=Options(verify=verify)).targets
    return target


def patched(path: Path, *edits: tuple[bytes, bytes, int]) -> Path:
    """Replace the nth occurrence of some bytes."""
    data = path.read_bytes()
    for old, new, number in edits:
        assert len(old) == len(new)
        place = -1
        for _ in range(number):
            place = data.index(old, place + 1)
        data = data[:place] + new + data[place + len(old) :]
    path.write_bytes(data)
    return path


def test_a_sound_wheel_has_none(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, {"x/_C.so": a_library(), "x/a.py": b"", "x/ä.py": b"1"})
    assert defects(path, verify=True) == []


def test_a_sound_wheel_of_stored_members_and_folders(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, {"x/a.py": b""}, compression=zipfile.ZIP_STORED)
    with zipfile.ZipFile(path, "a") as archive:
        archive.mkdir("x")
    assert defects(path) == []


def test_a_sound_wheel_in_zip64(tmp_path: Path) -> None:
    path = tmp_path / "x-1.0-py39-none-any.whl"
    files = {"x/a.py": b"1", f"{INFO}/METADATA": METADATA.encode()}
    files[f"{INFO}/WHEEL"] = b"Wheel-Version: 1.0\nTag: py39-none-any\n"
    rows = [record_row(name, data) for name, data in files.items()]
    files[f"{INFO}/RECORD"] = "".join([*rows, f"{INFO}/RECORD,,\n"]).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(data)
    assert defects(path) == []


def test_duplicates_are_all_audited(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, {"x/a.so": a_library()})
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x/a.so", a_library()[:700])
    assert ("duplicate", "x/a.so", "") in defects(path)
    found = report(path)
    assert found.verdict is Verdict.ERROR  # the second of them can't be read
    assert [item.path for item in found.libraries] == ["x/a.so"]
    assert [item.path for item in found.unreadable] == ["x/a.so"]


@pytest.mark.parametrize(
    ("name", "kind", "detail"),
    [
        ("../x.py", "unsafe-name", "not a plain path"),
        ("x/./a.py", "unsafe-name", "not a plain path"),
        ("x//a.py", "unsafe-name", "not a plain path"),
        ("/x.py", "unsafe-name", "absolute"),
        ("C:/x.py", "unsafe-name", "absolute"),
        ("x\\a.py", "unsafe-name", "a backslash"),
        ("x/a\n.py", "unsafe-name", "control characters"),
        ("X/B.py", "case", "and x/b.py"),
    ],
)
def test_names(tmp_path: Path, name: str, kind: str, detail: str) -> None:
    path = write_wheel(tmp_path, {"x/b.py": b"", name: b""}, record=None)
    found = [item for item in defects(path) if item[0] != "record"]
    assert found == [(kind, name, detail)]


@pytest.mark.parametrize(
    ("name", "detail"),
    [
        ("x/a.py.", "a dot or space at the end, which Windows drops"),
        ("x/a.py ", "a dot or space at the end, which Windows drops"),
        ("x. /a.py", "a dot or space at the end, which Windows drops"),
        ("x/ /a.py", "a dot or space at the end, which Windows drops"),
        ("x/a.py::$DATA", "a character that Windows does not allow"),
        ("x/a?.py", "a character that Windows does not allow"),
        ("x/a|b", "a character that Windows does not allow"),
        ("x/con", "a device name on Windows"),
        ("x/Aux.py", "a device name on Windows"),
        ("NUL/a.py", "a device name on Windows"),
        ("x/com1.tar.gz", "a device name on Windows"),
        ("x/LPT9 .py", "a device name on Windows"),
        ("x/COM\u00b9", "a device name on Windows"),
        ("x/CONIN$", "a device name on Windows"),
    ],
)
def test_names_that_windows_has_no_file_of(tmp_path: Path, name: str, detail: str) -> None:
    """A wheel for other systems may have them."""
    path = write_wheel(tmp_path, {name: b""}, name="x-1.0-py39-none-win_amd64.whl")
    assert defects(path) == [("unsafe-name", name, detail)]
    path = write_wheel(tmp_path, {name: b""}, name="x-1.0-py39-none-any.whl")
    assert defects(path) == [("unsafe-name", name, detail)]
    assert defects(write_wheel(tmp_path, {name: b""})) == []


@pytest.mark.parametrize("name", ["x/aux_.py", "x/com.py", "x/com10", "x/a..py", "x/.a", "x/a b"])
def test_names_that_windows_does_have(tmp_path: Path, name: str) -> None:
    assert defects(write_wheel(tmp_path, {name: b""}, name="x-1.0-py39-none-any.whl")) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x/a.py", "x/a.py."),
        ("x/a.py", "x/a.py . "),
        ("x/a.py", "x./a.py"),
        ("x/a.py", "x/A.PY "),
        ("x/a.py", "x/a.py::$DATA"),
        ("x/a.py", "x\\a.py"),
        ("x/\u00e4.py", "x/a\u0308.py"),
        ("x/\u00c4.py", "x/a\u0308.py"),
        ("x/a.py", "x/a\u200b.py"),
        ("x/k.py", "x/\u212a.py"),
        ("x/\uff41.py", "x/\uff21.py"),
    ],
)
def test_names_of_one_file(tmp_path: Path, one: str, other: str) -> None:
    """On Windows, which drops dots and spaces, or on macOS, whatever an accent is made of."""
    path = write_wheel(tmp_path, {one: b"", other: b""}, record=None)
    assert ("case", other, f"and {one}") in defects(path)


def test_names_that_only_look_alike(tmp_path: Path) -> None:
    assert defects(write_wheel(tmp_path, {"x/a.py": b"", "x/\uff41.py": b""})) == []


def test_a_file_that_is_a_folder(tmp_path: Path) -> None:
    files = {"x/a": b"", "x/a-b": b"", "x/a/b.py": b""}
    assert defects(write_wheel(tmp_path, files)) == [
        ("unsafe-name", "x/a", "a file, but also a folder of others")
    ]


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, {"x/ab.py": b""}, record=None)
    patched(path, (b"x/ab.py", b"x/\x81b.py", 1), (b"x/ab.py", b"x/\x81b.py", 1))
    assert ("unsafe-name", "x/üb.py", "not UTF-8") in defects(path)


def test_a_header_with_another_name(tmp_path: Path) -> None:
    path = patched(write_wheel(tmp_path, {"x/a.py": b""}), (b"x/a.py", b"x/b.py", 1))
    assert defects(path) == [("headers", "x/a.py", "a different name in its header")]


def test_a_header_with_other_sizes(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, {"x/a.py": b"1"}, compression=zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[18:26] = struct.pack("<2I", 0, 0)  # of the first local header
    path.write_bytes(data)
    assert defects(path) == [("headers", "x/a.py", "different sizes in its header")]


def test_bytes_around_and_between(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, {"x/a.py": b""})
    data = path.read_bytes()
    path.write_bytes(b"#!/bin/sh\n" + data)
    assert [item[0] for item in defects(path)] == ["structure", "structure"]
    path.write_bytes(data + b"\0")
    assert defects(path) == [("structure", "", "bytes after the end of the archive")]
    path.write_bytes(data)
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"a comment is no harm"
    assert defects(path) == []


def test_a_member_that_the_directory_does_not_name(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, {"x/a.py": b""})
    hidden = io.BytesIO()
    with zipfile.ZipFile(hidden, "w") as archive:
        archive.writestr("x/evil.py", b"1")
    with zipfile.ZipFile(path) as archive:
        start = archive.start_dir
    local = hidden.getvalue()[: hidden.getvalue().index(b"PK\x01\x02")]
    data = path.read_bytes()
    end = data.rindex(b"PK\x05\x06")
    moved = data[:start] + local + data[start:end]
    moved += data[end : end + 16] + struct.pack("<I", start + len(local)) + data[end + 20 :]
    path.write_bytes(moved)
    assert defects(path) == [
        ("structure", "", "bytes after the last member that belong to no member")
    ]


def test_a_directory_that_counts_wrongly(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, {"x/a.py": b""})
    data = bytearray(path.read_bytes())
    place = data.rindex(b"PK\x05\x06")
    data[place + 8 : place + 12] = struct.pack("<2H", 9, 9)
    path.write_bytes(data)
    assert defects(path) == [("structure", "", "its end describes another central directory")]


def test_a_stream(tmp_path: Path) -> None:
    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: object) -> int:
            self.data += bytes(data)  # type: ignore[call-overload]
            return len(bytes(data))  # type: ignore[call-overload]

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w") as archive:
        archive.writestr(f"{INFO}/METADATA", METADATA)
        archive.writestr(f"{INFO}/WHEEL", "Wheel-Version: 1.0\nTag: py39-none-any\n")
    path = tmp_path / "x-1.0-py39-none-any.whl"
    path.write_bytes(pipe.data)
    assert {item[0] for item in defects(path)} == {"descriptor", "record"}


def test_methods_and_kinds_of_members(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, record=None)
    link = zipfile.ZipInfo("x/link.py")
    link.external_attr = 0o120777 << 16
    comment = zipfile.ZipInfo("x/c.py")
    comment.comment = b"for the index"
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "a.py")
        archive.writestr(comment, "")
        archive.writestr("x/l.py", "1", zipfile.ZIP_LZMA)
    assert [item for item in defects(path) if item[0] != "record"] == [
        ("symlink", "x/link.py", ""),
        ("structure", "x/c.py", "a comment in the central directory"),
        ("compression", "x/l.py", "method 14"),
    ]


def test_an_encrypted_member(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, {"x/_C.so": a_library()})
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert defects(path) == [("encrypted", "x/_C.so", "")]
    found = report(path)
    assert found.verdict is Verdict.ERROR
    assert {finding.rule for finding in found.findings} == {
        RULE,
        "unreadable-library",
    }


def test_dist_info_folders(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, {"y-1.0.dist-info/WHEEL": b"Tag: py3-none-any\n"})
    assert defects(path) == [
        ("dist-info", INFO, "one of 2"),
        ("dist-info", "y-1.0.dist-info", "one of 2"),
    ]
    other = write_wheel(tmp_path, name="X-1.0-py39-none-any.whl")
    assert ("dist-info", INFO, "not X-1.0.dist-info") in defects(other)


def test_metadata_of_another_release(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, metadata=METADATA.replace("1.0", "2.0"))
    assert defects(path) == [("metadata", "x-1.0", "METADATA is that of x 2.0")]
    path = write_wheel(tmp_path, wheel="Wheel-Version: 2.0\nTag: py39-none-any\n")
    assert ("metadata", "WHEEL", "2.0, but installers read 1.0") in defects(path)


def test_a_record_in_windows_style(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, {"x/a.py": b"1"}, record=None)
    files = {"x/a.py": b"1"}
    with zipfile.ZipFile(path) as archive:
        files |= {name: archive.read(name) for name in archive.namelist()}
    rows = "".join(record_row(name.replace("/", "\\"), data) for name, data in files.items())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"{INFO}/RECORD", rows)
    assert defects(path) == [
        ("record-style", "", "no row for RECORD itself"),
        ("record-style", "", "3 paths with backslashes"),
    ]
    (finding,) = report(path).findings
    assert (finding.rule, finding.severity) == (RULE, Severity.WARNING)


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        (b"[console_scripts]\nx = x:main\n[other]\na b = c\n", None),
        (b"x = x:main\n", "File contains no section headers."),
        (b"[console_scripts]\na b = x:main\n", "the name 'a b'"),
        (b"[console_scripts]\nx = \xff\n", "'utf-8' codec can't decode byte 0xff"),
    ],
)
def test_entry_points(tmp_path: Path, text: bytes, detail: str | None) -> None:
    found = defects(write_wheel(tmp_path, {f"{INFO}/entry_points.txt": text}))
    assert [kind for kind, *_ in found] == ([] if detail is None else ["entry-points"])
    assert detail is None or found[0][2].startswith(detail)


def test_a_folder_with_contents_is_read(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, {"x/c.so/": a_library()[:700]})
    assert ("unsafe-name", "x/c.so/", "a folder with contents") in defects(path)
    found = report(path)
    assert [item.path for item in found.unreadable] == ["x/c.so/"]


def test_a_member_without_a_name(tmp_path: Path) -> None:
    path = patched(
        write_wheel(tmp_path, {"x": b"1"}, record=None), (b"x", b"\0", 1), (b"x", b"\0", 2)
    )
    assert report(path).error is None or "internal error" not in str(report(path).error)


@pytest.mark.parametrize("where", ["local", "directory"])
@pytest.mark.parametrize(
    ("fields", "kinds"),
    [
        (struct.pack("<2HBI", 0x7075, 11, 1, 0) + b"x/b.so", {"headers"}),
        (struct.pack("<2HBI", 0x7075, 11, 1, 0) + b"x/a.py", set()),
        (struct.pack("<2HBI", 0x7075, 11, 1, 0) + b"\xff/a.py", {"headers"}),
        (struct.pack("<2H", 0x5455, 0) * 9, set()),  # a time, which may stand as often as it likes
        (struct.pack("<2H", 0x5455, 9), {"structure"}),  # it overruns its space
        (struct.pack("<2H", 0x0001, 0) * 2, {"structure"}),
        (struct.pack("<2H", 0x0001, 5) + bytes(5), {"structure"}),
        (struct.pack("<2H8s", 0x0001, 8, bytes(8)), {"headers"}),  # of a compressed member
    ],
)
def test_extra_fields(tmp_path: Path, where: str, fields: bytes, kinds: set[str]) -> None:
    path = write_wheel(tmp_path, {"x/z.py": b""}, record=None)
    info = zipfile.ZipInfo("x/a.py")
    info.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(path, "a") as archive:
        info.extra = fields if where == "directory" else bytes(0)
        archive.writestr(info, b"1" * 100)
    if where == "local":
        data = path.read_bytes()
        place = data.index(b"x/a.py")
        length = struct.pack("<H", len(fields))
        data = data[: place - 2] + length + b"x/a.py" + fields + data[place + 6 :]
        end = data.rindex(b"PK\x05\x06")
        start = struct.unpack_from("<I", data, end + 16)[0] + len(fields)
        path.write_bytes(data[: end + 16] + struct.pack("<I", start) + data[end + 20 :])
    if where == "directory" and fields[-2:] == b"\t\0":
        with pytest.raises(AuditError, match="Corrupt extra field"):  # zipfile reads no further
            read_wheel(path)
        return
    found = {kind for kind, name, _ in defects(path) if kind != "record"}
    # zipfile writes the fields to both places, and itself refuses some of them.
    assert kinds <= found <= kinds | {"headers", "structure"} if kinds else not found


def test_headers_that_are_shared(tmp_path: Path) -> None:
    """Many entries of one large header cost no more than one."""
    path = write_wheel(tmp_path, {"x/a.py": b""}, record=None)
    data = path.read_bytes()
    start = data.index(b"PK\x01\x02")
    end = data.rindex(b"PK\x05\x06")
    first = data[start : data.index(b"PK\x01\x02", start + 4)]
    directory = data[start:end] + first * 500
    count = 3 + 500
    path.write_bytes(
        data[:start] + directory
        + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, len(directory), start, 0)
    )  # fmt: skip
    assert ("headers", "x/a.py", "shares the header of another member") in defects(path)


def test_a_directory_that_is_overrun(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, {"x/a.py": b""})
    data = bytearray(path.read_bytes())
    last = data.rindex(b"PK\x01\x02")
    struct.pack_into("<H", data, last + 32, 7)  # a comment that is not there
    path.write_bytes(data)
    assert ("structure", "", "a central directory that its records do not fill") in defects(path)


def test_licenses(tmp_path: Path) -> None:
    named = f"{METADATA}License-File: LICENSE\n"
    path = write_wheel(tmp_path, metadata=named)
    assert defects(path) == [("license", "LICENSE", f"not below {INFO}/licenses")]
    assert defects(write_wheel(tmp_path, {f"{INFO}/licenses/LICENSE": b""}, metadata=named)) == []
    old = named.replace("2.4", "2.1")
    assert defects(write_wheel(tmp_path, metadata=old)) == []


def test_record(tmp_path: Path) -> None:
    files = {"x/a.py": b"1"}
    path = write_wheel(tmp_path, files, record="x/gone.py,sha256=AA,1\n")
    assert defects(path) == [("record", "x/gone.py", "in RECORD, but not in the archive")]
    assert defects(write_wheel(tmp_path, files, record=None)) == [
        ("record", f"{INFO}/RECORD", "not in the archive")
    ]
    assert defects(write_wheel(tmp_path, files, record="x/a.py,md5=AA,1\n")) == [
        ("record", "x/a.py", "no hash of sha256 or better in RECORD")
    ]
    assert defects(write_wheel(tmp_path, files, record="x/a.py,sha256=AA,2\n")) == [
        ("record", "x/a.py", "a different size in RECORD")
    ]
    assert defects(write_wheel(tmp_path, files, record="a,b\n"))[0][:2] == (
        "record",
        f"{INFO}/RECORD",
    )


def test_a_hash_in_record_that_is_none(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, {"x/a.py": b"1"}, record="x/a.py,sha256=A,1\n")
    assert defects(path) == []
    assert defects(path, verify=True) == [("record", "x/a.py", "a different sha256 in RECORD")]


def test_the_hashes_in_record_are_checked_on_request(tmp_path: Path) -> None:
    library = a_library()
    rows = record_row("x/a.py", b"2") + record_row("x/_C.so", library[:-1] + b"?")
    for compression in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED):
        files = {"x/a.py": b"1", "x/_C.so": library, "x/b.py": b""}
        path = write_wheel(tmp_path, files, record=rows, compression=compression)
        assert defects(path) == []
        assert defects(path, verify=True) == [
            ("record", "x/_C.so", "a different sha256 in RECORD"),
            ("record", "x/a.py", "a different sha256 in RECORD"),
        ]
        (finding,) = [f for f in report(path, verify=True).findings if f.rule == RULE]
        assert finding.libraries == ()
        assert shown(finding) == (
            "x/_C.so: a different sha256 in RECORD",
            "x/a.py: a different sha256 in RECORD",
        )


@pytest.mark.parametrize("data", [b"\xff", b"x,y,z,w\n", b"x,,one\n", b'"x'])
def test_a_record_that_is_none(data: bytes) -> None:
    with pytest.raises(AuditError):
        parse_record(data, ["x"])


def test_defects_are_bounded() -> None:
    many = (Defect(DefectKind.RECORD, str(number)) for number in range(5000))
    assert len(bounded(many)) == 1000


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("[x]\na = b\n  c\n", None),
        ("[x]\n" + "a\n" * 1_000_000, "line 2 is not an entry"),
        ("[x]\n=a\n", "line 2 is not an entry"),
        ("[x\n", "line 1 is not an entry"),
        ("[x]\n" + " a\n" * 100_000, "line 1002 is not an entry"),
        ("[x]\n a\n", "Source contains parsing errors"),
        ("# a\n\n; b\n[x]\na = b = c\n", None),
        ("[x]\r\na = b\x0cc\u2028d\r\n", None),  # these end no line
    ],
)
def test_lines_of_entry_points_take_no_time(text: str, detail: str | None) -> None:
    (*found,) = entry_point_defects(text.encode(), "e")
    assert len(found) == (detail is not None)
    assert detail is None or found[0].detail.startswith(detail)


def test_a_deep_name_takes_no_memory(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, {"a/" * 30_000 + "b": b"", "a": b"", "a/a/": b""})
    tracemalloc.start()
    try:
        found = read_wheel(path).defects
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [(item.name, item.detail) for item in found if "folder" in item.detail] == [
        ("a", "a file, but also a folder of others")
    ]
    assert peak < 8 << 20

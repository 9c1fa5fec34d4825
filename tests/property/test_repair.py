"""Whatever a wheel looks like: a repair changes what it is about, and no other byte."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from torch_abi_audit.archive.local_headers import DESCRIPTOR_FLAG, parse_local
from torch_abi_audit.archive.rewrite import rewrite
from torch_abi_audit.budget import Limits
from torch_abi_audit.claims.amend import amended, amended_filename
from torch_abi_audit.errors import AuditError
from torch_abi_audit.model import Claims, DefectKind, MetadataChange
from torch_abi_audit.targets.amend import amended_files
from torch_abi_audit.targets.metadata import parse_claims
from torch_abi_audit.targets.wheel import read_dist_info, read_wheel

FOLDER = "x-1.0.dist-info"
ENDS = st.sampled_from([b"\n", b"\r\n"])

TORCH = st.sampled_from(
    [
        *("torch", "torch>=2.9", "Torch >= 2.9", "torch[opt-einsum] (>=2.9)", "TORCH==2.9.*"),
        'torch>=2.9; python_version >= "3.9"',
        'torch<3,>=2; sys_platform == "linux"',
        "torch @ https://example.org/torch-2.9.0-cp312-cp312-linux_x86_64.whl",
        "  torch[optree]  ",
    ]
)
FOR_EXTRA = st.sampled_from(
    ['torch; extra == "all"', "torch>=2.10 ; extra=='gpu'", 'torch[optree]; "dev" == extra']
)
OTHERS = st.sampled_from(
    [
        b"Requires-Dist: torchvision>=0.20",
        b"Requires-Dist: torch-geometric",
        b"Requires-Dist: numpy ; extra == 'torch'",
        b"requires-dist: not a requirement at all",
        b"Requires-External: torch",
        b"Summary: caf\xe9, and what is not UTF-8",
        b"Author: A\n Person\n\tand another\n  ",
        b"License: one\n        Requires-Dist: torch\n        more of it",
        b"Classifier: Requires-Dist: torch",
        b"Keywords:",
        b"Provides-Extra: all",
        b"Home-page:http://example.org/torch",
    ]
)
BODIES = st.sampled_from(
    [
        *(
            b"",
            b"\n",
            b"\n# torch\n\nRequires-Dist: torch>=1\n",
            b"\nRequires-Python: >=2\n\xff\xfe",
        ),
        b"\nno line end",
    ]
)
CHANGES = st.builds(
    MetadataChange,
    st.sampled_from([None, "torch>=2.11", "torch==2.10.*", "torch>=2.9,<2.11"]),
    st.sampled_from([None, ">=3.10", ">=3.9,<3.13"]),
    st.sampled_from(
        [None, "cp39-abi3-manylinux_2_28_x86_64", "py3.cp39-none-manylinux_2_31_x86_64"]
    ),
)


class Text(NamedTuple):
    """METADATA, in pieces: headers that are torch's, others, and what follows."""

    headers: tuple[tuple[bool, bytes], ...]
    body: bytes
    end: bytes
    ended: bool

    @property
    def data(self) -> bytes:
        head = b"".join(self.lines(b for _, b in self.headers))
        if not self.ended and not self.body:
            head = head.removesuffix(self.end)
        return head + self.body.replace(b"\n", self.end)

    def lines(self, headers: Iterable[bytes]) -> list[bytes]:
        return [header.replace(b"\n", self.end) + self.end for header in headers]


@st.composite
def texts(draw: st.DrawFn) -> Text:
    names = st.sampled_from(["Requires-Dist", "requires-dist", "REQUIRES-DIST"])
    lines = st.one_of(
        st.builds(lambda name, line: (True, f"{name}: {line}".encode()), names, TORCH),
        FOR_EXTRA.map(lambda line: (False, f"Requires-Dist: {line}".encode())),
        OTHERS.map(lambda line: (False, line)),
    )
    python = draw(st.sampled_from([[], [(False, b"Requires-Python: >=3.9")]]))
    fixed = [(False, b"Metadata-Version: 2.1"), (False, b"Name: X"), (False, b"Version: 1.0")]
    headers = fixed + draw(st.permutations([*python, *draw(st.lists(lines, max_size=6))]))
    return Text(tuple(headers), draw(BODIES), draw(ENDS), draw(st.booleans()))


def in_order(claims: Claims) -> Claims:
    return replace(claims, torch_requirements=(), filename=None)


def record_of(files: Mapping[str, bytes], end: str, *, quoted: bool, algorithm: str) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(
        text, lineterminator=end, quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL
    )
    for name, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.new(algorithm, data).digest()).rstrip(b"=")
        writer.writerow([name, f"{algorithm}={digest.decode()}", len(data)])
    writer.writerow([f"{FOLDER}/RECORD", "", ""])
    return text.getvalue().encode()


def wheel_text(*tags: str) -> bytes:
    lines = "".join(f"Tag: {tag}\n" for tag in tags)
    return f"Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: false\n{lines}Build: 1\n".encode()


@settings(max_examples=200)
@given(texts(), CHANGES)
def test_metadata_says_what_is_wanted_and_keeps_every_other_line(
    text: Text, change: MetadataChange
) -> None:
    files = {
        f"{FOLDER}/METADATA": text.data,
        f"{FOLDER}/WHEEL": wheel_text("py39-none-manylinux_2_28_x86_64"),
    }
    files[f"{FOLDER}/RECORD"] = record_of(files, "\n", quoted=False, algorithm="sha256")
    name = "x-1.0-1-py39-none-manylinux_2_28_x86_64.whl"
    before, _ = parse_claims(name, files[f"{FOLDER}/WHEEL"], text.data)
    new = files | amended_files(files, before, change)
    metadata = new[f"{FOLDER}/METADATA"]
    renamed = name if change.tags is None else amended_filename(name, change.tags)
    said, _ = parse_claims(renamed, new[f"{FOLDER}/WHEEL"], metadata)
    wanted = amended(before, change)
    assert in_order(said) == in_order(wanted)
    assert {*said.torch_requirements} == {*wanted.torch_requirements}
    # By the pieces: what goes, goes whole; what stays, stays as it was written, and in order.
    gone = re.compile(rb"(?i)requires-python:.*")
    kept = [
        header
        for torch, header in text.headers
        if not (torch and change.torch) and not (change.python and gone.match(header))
    ]
    body = text.body.replace(b"\n", text.end)
    assert metadata.endswith(body)
    left = metadata.removesuffix(body) if body else metadata
    for line in text.lines(kept):
        if not left.endswith(text.end):
            left += text.end
        assert line in left
        left = left.replace(line, b"", 1)
    added = [line for line in left.split(text.end) if line]
    extras = {"opt-einsum", "optree"} if change.torch else set()
    for line in added:
        assert re.match(rb"Requires-(Dist: torch|Python: )", line)
        assert set(re.findall(r"optree|opt-einsum", line.decode())) <= extras
    assert len(added) == (change.torch is not None) + (change.python is not None)
    # Twice is once.
    assert amended_files(new, wanted, change) == {}


@settings(max_examples=200)
@given(st.binary(max_size=200), CHANGES)
def test_metadata_of_any_bytes_is_changed_as_wanted_or_refused(
    more: bytes, change: MetadataChange
) -> None:
    """With a carriage return alone, a form feed, headers without names, lines of no header."""
    for text in (b"Requires-Dist: torch\r" + more, more, more + b"\nRequires-Dist: torch"):
        metadata = b"Metadata-Version: 2.1\nName: x\nVersion: 1.0\n" + text
        files = {f"{FOLDER}/METADATA": metadata, f"{FOLDER}/WHEEL": b"Wheel-Version: 1.0\n"}
        files[f"{FOLDER}/RECORD"] = b""
        name = "x-1.0-py3-none-any.whl"
        try:
            before, _ = parse_claims(name, files[f"{FOLDER}/WHEEL"], metadata)
            new = files | amended_files(files, before, change)
        except AuditError:
            continue
        wanted = amended(before, change)
        said, _ = parse_claims(
            wanted.filename or "", new[f"{FOLDER}/WHEEL"], new[f"{FOLDER}/METADATA"]
        )
        assert in_order(said) == in_order(wanted)
        assert {*said.torch_requirements} == {*wanted.torch_requirements}


class Odd(NamedTuple):
    """A member, and how it is written."""

    name: str
    data: bytes
    stored: bool
    streamed: bool
    cp437: bool
    date: tuple[int, int, int, int, int, int]
    attributes: int
    extra: bytes
    comment: bytes
    system: int


class _Info(zipfile.ZipInfo):
    """A member whose name is written as older tools do."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802
        return self.filename.encode("cp437"), self.flag_bits


NAMES = st.sampled_from(
    ["x/__init__.py", "x/é.txt", "x/Ünï.py", "x/", "x/sub/", "x/a b.txt", 'x/"q",r.txt', "x/l.so"]
)
EXTRAS = st.sampled_from(
    [b"", b"UT\x05\x00\x01\0\0\0\0", b"\xfe\xca\x00\x00", b"ux\x0b\0\x01\x04\0\0\0\0\x04\0\0\0\0"]
)
DATES = st.tuples(
    *(st.integers(1980, 2107), st.integers(1, 12), st.integers(1, 28)),
    *(st.integers(0, 23), st.integers(0, 59), st.integers(0, 29).map(lambda half: 2 * half)),
)


@st.composite
def odd(draw: st.DrawFn, name: str, data: bytes) -> Odd:
    folder = name.endswith("/")
    return Odd(
        name=name,
        data=b"" if folder else data,
        stored=folder or draw(st.booleans()),
        streamed=not folder and draw(st.booleans()),
        cp437=draw(st.booleans()),
        date=draw(DATES),
        attributes=draw(st.sampled_from([0, 0o100644 << 16, 0o100755 << 16, 0o120777 << 16, 16])),
        extra=draw(EXTRAS),
        comment=draw(st.sampled_from([b"", b"a comment"])),
        system=draw(st.sampled_from([0, 3])),
    )


def written(members: Iterable[Odd], comment: bytes) -> bytes:
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w") as archive:
        for item in members:
            info = (_Info if item.cp437 else zipfile.ZipInfo)(item.name, item.date)
            info.compress_type = zipfile.ZIP_STORED if item.stored else zipfile.ZIP_DEFLATED
            info.external_attr, info.create_system = item.attributes, item.system
            info.extra, info.comment = item.extra, item.comment
            archive._seekable = not item.streamed  # type: ignore[attr-defined] # noqa: SLF001
            archive.writestr(info, item.data)
        archive._seekable = True  # type: ignore[attr-defined] # noqa: SLF001
        archive.comment = comment
    return output.getvalue()


def raw(data: bytes, info: zipfile.ZipInfo) -> bytes:
    header = parse_local(data[info.header_offset :])
    assert header is not None
    start = info.header_offset + header.length
    return data[start : start + info.compress_size]


def local_extra(data: bytes, info: zipfile.ZipInfo) -> bytes:
    header = parse_local(data[info.header_offset :])
    assert header is not None
    start = info.header_offset + header.length
    return data[start - header.extra_length : start]


def kept(info: zipfile.ZipInfo) -> tuple[object, ...]:
    return (
        *(info.orig_filename, info.date_time, info.compress_type, info.CRC, info.file_size),
        *(info.compress_size, info.external_attr, info.internal_attr, info.create_system),
        *(info.create_version, info.extract_version, info.extra, info.comment),
        info.flag_bits & ~DESCRIPTOR_FLAG,
    )


@settings(max_examples=80)
@given(st.data(), texts(), CHANGES)
def test_an_archive_keeps_all_that_the_change_is_not_about(
    data: st.DataObject, text: Text, change: MetadataChange
) -> None:
    contents = {name: data.draw(st.binary(max_size=300)) for name in data.draw(st.sets(NAMES))}
    contents[f"{FOLDER}/METADATA"] = text.data
    contents[f"{FOLDER}/WHEEL"] = wheel_text("py39-none-manylinux_2_28_x86_64")
    contents[f"{FOLDER}/RECORD"] = record_of(
        {name: item for name, item in contents.items() if not name.endswith("/")},
        data.draw(st.sampled_from(["\n", "\r\n"])),
        quoted=data.draw(st.booleans()),
        algorithm=data.draw(st.sampled_from(["sha256", "sha384", "sha512"])),
    )
    members = [data.draw(odd(name, item)) for name, item in contents.items()]
    before = written(data.draw(st.permutations(members)), data.draw(st.sampled_from([b"", b"c"])))
    name = (
        data.draw(st.sampled_from(["x-1.0-", "x-1.0-2-"])) + "py39-none-manylinux_2_28_x86_64.whl"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(before)
        old = read_wheel(path, verify=True)
        changed = amended_files(read_dist_info(path, Limits()), old.claims, change)
        assume(changed)
        outputs = [io.BytesIO(), io.BytesIO()]
        for output in outputs:
            with zipfile.ZipFile(path) as archive:
                rewrite(archive, output, changed)
        after = outputs[0].getvalue()
        assert after == outputs[1].getvalue()
        wanted = amended(old.claims, change)
        renamed = Path(folder, "new", wanted.filename or "")
        renamed.parent.mkdir()
        renamed.write_bytes(after)
        new = read_wheel(renamed, verify=True)
        # What is done again changes nothing.
        again = amended_files(read_dist_info(renamed, Limits()), new.claims, change)
        assert again == {}
    assert in_order(new.claims) == in_order(wanted)
    assert {*new.claims.torch_requirements} == {*wanted.torch_requirements}
    assert set(new.defects) == {d for d in old.defects if d.kind is not DefectKind.DESCRIPTOR}
    assert [member.error for member in new.members] == [member.error for member in old.members]
    with zipfile.ZipFile(io.BytesIO(before)) as was, zipfile.ZipFile(io.BytesIO(after)) as now:
        assert now.testzip() is None
        assert now.comment == was.comment
        assert now.namelist() == was.namelist()
        for one, other in zip(was.infolist(), now.infolist(), strict=True):
            assert local_extra(before, one) == local_extra(after, other)
            if one.orig_filename in changed:
                assert now.read(other) == changed[one.orig_filename]
                assert kept(one)[1:3] == kept(other)[1:3]
            else:
                assert kept(one) == kept(other)
                assert raw(before, one) == raw(after, other)


def test_zip64_fields_that_say_nothing_more_do_not_stay() -> None:
    """As `zipfile` writes them where it does not know the size of a member beforehand."""
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w") as archive:
        info = zipfile.ZipInfo("a")
        with archive.open(info, "w", force_zip64=True) as member:
            member.write(b"text")
        archive.writestr("b", b"more")
    new = io.BytesIO()
    with zipfile.ZipFile(output) as archive:
        assert local_extra(output.getvalue(), archive.infolist()[0])
        rewrite(archive, new, {"b": b"changed"})
    with zipfile.ZipFile(new) as archive:
        assert [archive.read(name) for name in ("a", "b")] == [b"text", b"changed"]
        assert local_extra(new.getvalue(), archive.infolist()[0]) == b""

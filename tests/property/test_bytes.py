"""Whatever the bytes: a right answer or one domain error, in bounded time."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from pathlib import Path

import jsonschema
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import METADATA, NAME, a_library, load_schema, member_of
from tests.objects import ARM64, LOAD, PE, WEAK, X86_64, MachO, chained, trie, universal
from torch_abi_audit import audit
from torch_abi_audit.abi.mangling import demangle, owner
from torch_abi_audit.catalog.build.headers import declarations
from torch_abi_audit.errors import AuditError, LibraryError, LimitError
from torch_abi_audit.formats import BytesSource, read_libraries
from torch_abi_audit.model import Verdict
from torch_abi_audit.report.document import report_document
from torch_abi_audit.report.escape import clean
from torch_abi_audit.report.outputs import ReportFormat, render
from torch_abi_audit.report.style import Style

SCHEMA = load_schema()
LIBRARIES = [
    a_library(),
    member_of("odd-members", "odd_members/plugin"),
    member_of("wrong-architecture", "wrong_architecture/_C.so"),
    member_of("weak-imports", "weak_imports/_C.so"),
    member_of("windows-abi3", "windows_abi3/_C.pyd"),
    PE({"a.dll": ["f", 3]}, {"b.dll": ["g"]}, {"e": None, "fw": "c.h"}).build(),
    MachO(
        [(LOAD, "liba.dylib"), (WEAK, "libb.dylib")],
        fixups=chained([("_f", 1, False), ("_g", 2, True)]),
        trie=trie({"_e": b"\0\x10", "_r": b"\x08\x01\0"}),
        minos=[(1, 11 << 16)],
    ).build(),
    MachO(
        [(LOAD, "liba.dylib")],
        bind=b"\x11\x40_f\0\x51\x72\x88\x01\x90\xc0\x02\x08\x00",
        lazy=b"\x72\x08\x11\x40_g\0\x90\x00",
        info_trie=trie({"_e": b"\0\x10"}),
    ).build(),
    MachO([(LOAD, "liba.dylib")], symbols=[("_f", 1, 1 << 8, 0), ("_g", 15, 0, 16)]).build(),
    MachO(
        [(LOAD, "liba.dylib")],
        bind=b"\x11\x40_f\0\x90\x00",
        weak=b"\x40_f\0\x90\x40_g\0\x90\x00",
        segments=[(b"__TEXT", 0, 4096, 0, 64), (b"__LINKEDIT", 4096, 4096, 64, 266)],
    ).build(),
    universal((ARM64, MachO().build()), (X86_64, MachO(cpu=X86_64).build())),
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A real library with some bytes replaced, mostly where its headers and tables are."""
    data = bytearray(draw(st.sampled_from(LIBRARIES)))
    for _ in range(draw(st.integers(1, 8))):
        position = draw(st.integers(0, len(data) - 1))
        value = draw(st.binary(min_size=1, max_size=8))
        data[position : position + len(value)] = value
    return bytes(data[: draw(st.one_of(st.just(len(data)), st.integers(0, len(data))))])


@settings(max_examples=600)
@given(mutated())
def test_a_damaged_library_reads_or_is_refused(data: bytes) -> None:
    try:
        slices = read_libraries(BytesSource(data), "x.so")
    except (LibraryError, LimitError) as error:
        assert str(error)
    else:
        for library in slices:
            assert all(symbol.name for symbol in (*library.imports, *library.exports))


@settings(max_examples=300)
@given(
    st.sampled_from(
        [
            b"\x7fELF",
            b"\x7fELF\x02\x01\x01",
            b"MZ\x00",
            b"\xcf\xfa\xed\xfe",
            b"\xca\xfe\xba\xbe",
            b"",
        ]
    ),
    st.binary(max_size=400),
)
def test_bytes_that_begin_like_a_library(magic: bytes, rest: bytes) -> None:
    try:
        read_libraries(BytesSource(magic + rest), "x")
    except (LibraryError, LimitError) as error:
        assert str(error)


@settings(max_examples=150)
@given(mutated(), st.data())
def test_a_damaged_wheel_has_a_verdict(library: bytes, data: st.DataObject) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/_C.so", library)
        archive.writestr("x-1.0.dist-info/METADATA", f"{METADATA}Requires-Dist: torch>=2.10\n")
        archive.writestr("x-1.0.dist-info/WHEEL", "Tag: py39-none-manylinux_2_28_x86_64\n")
    wheel = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(0, 4))):
        wheel[data.draw(st.integers(0, len(wheel) - 1))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / NAME
        path.write_bytes(wheel)
        report = audit(path)
    (target,) = report.targets
    assert (target.verdict is Verdict.ERROR) == (target.error is not None)
    assert "internal error" not in str(target.error)
    jsonschema.validate(
        json.loads(render(ReportFormat.JSON, report_document(report, "0"), Style())), SCHEMA
    )


@given(st.text(max_size=200))
def test_clean_text_is_one_line_of_characters_that_show(text: str) -> None:
    cleaned = clean(text)
    assert len(cleaned.splitlines()) <= 1
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in cleaned)


NAMES = st.lists(
    st.sampled_from(["at", "c10", "torch", "stable", "x", "Tensor"]), min_size=1, max_size=4
)
PREFIXES = st.sampled_from(["", "TV", "TI", "TS", "GV", "TH", "TW", "Thn16_", "Tv0_n24_"])


@given(NAMES, PREFIXES)
def test_owner_reads_what_was_mangled(scopes: list[str], prefix: str) -> None:
    mangled = "".join(f"{len(scope)}{scope}" for scope in scopes)
    assert owner(f"_Z{prefix}N{mangled}E") == tuple(scopes)


@given(st.text(alphabet="_ZNKSTIEvi0123456789atc", max_size=80))
def test_any_name_has_an_owner_and_a_declaration_or_none(name: str) -> None:
    assert isinstance(owner(f"_Z{name}"), tuple)
    declaration = demangle(f"_Z{name}")
    assert declaration is None or declaration


@given(st.text(alphabet="#ifdefelsendif \nAOTI_TORCH_EXPORT int f();(,)*/", max_size=300))
def test_any_header_parses(text: str) -> None:
    try:
        declarations(text)
    except AuditError as error:
        assert "unbalanced" in str(error)

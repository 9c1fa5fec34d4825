"""What inlined assertions left in a library, read from bytes that come in pieces."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tests.builders import library, member_of, write_wheel
from torch_abi_audit import audit
from torch_abi_audit.abi.built_with import literals
from torch_abi_audit.audit import Options
from torch_abi_audit.budget import Budget, Limits
from torch_abi_audit.catalog.layouts import Literal, load_layouts
from torch_abi_audit.errors import LimitError
from torch_abi_audit.formats.assertions import AssertionScanner, scan, with_assertions
from torch_abi_audit.formats.source import BytesSource
from torch_abi_audit.model import Assertion

HEADER = "/opt/python/lib/site-packages/torch/include/c10/core/TensorImpl.h"
TAIL = b", please report a bug to PyTorch. \0"


def literal(text: str, line: int | str = 7, file: str = HEADER) -> bytes:
    return f'{text} INTERNAL ASSERT FAILED at "{file}":{line}'.encode() + TAIL


def found(*pieces: bytes, limits: Limits | None = None) -> tuple[Assertion, ...]:
    scanner = AssertionScanner(Budget(limits or Limits()))
    for piece in pieces:
        scanner.feed(piece)
    return scanner.found


def test_what_an_assertion_left() -> None:
    data = b"\x7fELF\0" + literal("a > 0", 283) + b"other\0" + literal("b", 9, "x.h")
    assert found(data) == (Assertion(HEADER, 283, "a > 0"), Assertion("x.h", 9, "b"))


def test_one_that_stands_twice_counts_once() -> None:
    assert found(literal("a") * 3) == (Assertion(HEADER, 7, "a"),)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 28, 29, 100, 511, 640, 1151, 1152, 1153, 4096])
def test_pieces_of_any_size_give_the_same(size: int) -> None:
    data = b"".join(literal(f"condition_{i}_is_long_enough", i) for i in range(60))
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    assert found(*pieces) == found(data)
    assert len(found(data)) == 60


def test_cut_at_any_byte() -> None:
    data = b"x" * 30 + b"\0" + literal("first", 1) + literal("second", 22) + b"\0" * 1200
    whole = found(data)
    assert [item.text for item in whole] == ["first", "second"]
    for place in range(len(data)):
        assert found(data[:place], data[place:]) == whole


def test_text_before_a_mark_is_not_cut_by_what_was_looked_at_already() -> None:
    data = literal("a" * 400, 1) + b"\0" * 800
    # The mark, complete in the first piece, lies near the start of what is kept of it.
    for behind in range(0, 1200, 50):
        assert len(found(data + b"\0" * behind, b"\0" * 2000)) == 1


def test_strings_that_the_linker_merged() -> None:
    (item,) = found(b"\0prefix_" + literal("a > 0"))
    assert item.text == "prefix_a > 0"
    subject = load_layouts().assertions
    plain = Literal("torch/csrc/autograd/function.h", 285, "!has_parent_")
    assert subject.releases_of(plain)
    assert subject.releases_of(plain._replace(text="x!has_parent_")) == subject.releases_of(plain)


def test_every_assertion_of_the_headers_fits() -> None:
    # What is before the mark, as `_BEFORE` has it.
    (item,) = found(b"\0" + literal("a" * 511))
    assert item.text == "a" * 511
    (item,) = found(b"\0" + literal("a" * 600))
    assert item.text == "a" * 512


@pytest.mark.parametrize(
    "data",
    [
        literal("a", 12345678),  # no line has eight digits
        literal("a", ""),
        literal("a", -1),
        literal("a", 7, ""),
        literal("a", 7, "x" * 601),
        literal("a", 7, "x\ny"),
        literal("a", 7, "x\0y"),
        literal("a").removesuffix(TAIL),
        b' INTERNAL ASSERT FAILED at "' * 1000,
    ],
)
def test_what_is_no_assertion(data: bytes) -> None:
    assert found(data) == ()
    assert found(*(data[i : i + 9] for i in range(0, len(data), 9))) == ()


def test_bytes_that_are_no_text() -> None:
    (item,) = found(b"\xff\x1b" + literal("a"))
    assert item.text == "\\xff\x1ba"


def test_files_outside_of_torch_tell_nothing() -> None:
    inside = f"C:{2 * chr(92)}site-packages{2 * chr(92)}torch{2 * chr(92)}include/c10/x.h"
    files = [HEADER, inside, "/src/pytorch/c10/core/TensorImpl.h", "/usr/include/x.h"]
    data = b"".join(literal("a", 7, file) for file in files)
    (item,) = with_assertions((library(),), found(data))
    assert len(item.assertions) == 4
    assert literals(item) == {
        Literal("c10/core/TensorImpl.h", 7, "a"),
        Literal("c10/x.h", 7, "a"),
    }


def test_a_file_gives_its_assertions_to_all_slices() -> None:
    slices = (library(arch="arm64"), library())
    told = found(literal("a"))
    assert [item.assertions for item in with_assertions(slices, told)] == [told, told]
    assert with_assertions(slices, ()) is slices


def test_thousands_of_them_are_counted_against_the_budget() -> None:
    data = b"".join(literal("a", i, "x") for i in range(10_000))
    assert len(found(data)) == 10_000
    with pytest.raises(LimitError, match="names"):
        found(data, limits=Limits(names=1 << 20))


def test_as_many_as_fit_take_little_memory() -> None:
    # A mark and a digit or two may be all that there is of each.
    data = b"".join(f'\0 INTERNAL ASSERT FAILED at "x":{i}, '.encode() for i in range(280_000))
    with pytest.raises(LimitError, match="names"):
        found(data)


def test_what_lies_far_behind_is_not_looked_at() -> None:
    scanner = AssertionScanner(Budget())
    piece = b"\0" * (1 << 20)
    for _ in range(31):
        scanner.feed(piece)
    assert scanner.wants == 1 << 20
    scanner.feed(piece[:-1000] + literal("near") + piece + literal("far"))
    assert [item.text for item in scanner.found] == ["near"]
    assert scanner.wants == 0
    scanner.feed(literal("later"))
    assert len(scanner.found) == 1


def test_scanning_a_file_again() -> None:
    data = b"\0" * ((1 << 20) - 40) + literal("over the end of a piece") + literal("b", 9)
    assert scan(BytesSource(data), Budget()) == found(data)
    assert len(found(data)) == 2
    assert scan(BytesSource(b""), Budget()) == ()


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize(
    ("scenario", "path"),
    [
        ("stable-2.10", "stable_2_10/_C.so"),
        ("windows-stable", "windows_stable/_C.pyd"),
        ("macos-universal2", "macos_universal2/_C.so"),
    ],
)
def test_in_a_wheel_and_in_a_file(
    tmp_path: Path, scenario: str, path: str, compression: int, *, verify: bool
) -> None:
    data = member_of(scenario, path) + b"\0" + literal("a", 283)
    name = path.rpartition("/")[2]
    (tmp_path / name).write_bytes(data)
    wheel = write_wheel(tmp_path, {name: data}, compression=compression)
    for target in (wheel, tmp_path / name):
        (report,) = audit(target, options=Options(verify=verify)).targets
        assert {item.library.assertions for item in report.libraries} == {
            (Assertion(HEADER, 283, "a"),)
        }

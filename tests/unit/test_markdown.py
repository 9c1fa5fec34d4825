"""The report in Markdown: what it tells of which target, and that it stays within its bound."""

from __future__ import annotations

import json
import re
from typing import Any, cast

import pytest

from tests.builders import TEST_WHEELS
from torch_abi_audit import audit
from torch_abi_audit.report.document import report_document
from torch_abi_audit.report.markdown import render_markdown
from torch_abi_audit.report.shape import Document

_MEBIBYTE = 1 << 20


def _document(*scenarios: str) -> Document:
    paths = [path for name in scenarios for path in sorted((TEST_WHEELS / name).glob("*.whl"))]
    return report_document(audit(*paths), "1.0")


def _many(number: int, scenario: str, **changes: object) -> Document:
    """Return a report with many targets like the one of a scenario."""
    document = _document(scenario)
    (target,) = document["targets"]
    targets = [{**target, "target": f"x-{place}.whl", **changes} for place in range(number)]
    return cast("Document", {**document, "targets": targets})


def _rows(text: str) -> list[list[str]]:
    """Return the cells of the table of targets, without its head."""
    table = text[text.index("| verdict ") :].split("\n\n", maxsplit=1)[0]
    lines = table.splitlines()[2:]
    return [line.removeprefix("| ").removesuffix(" |").split(" | ") for line in lines]


def test_the_table_has_the_first_thing_to_change() -> None:
    text = render_markdown(_document("stable-2.10", "floor-understated", "unstable"))
    rows = _rows(text)
    assert [row[0] for row in rows] == ["❌ unsafe", "❌ unsafe", "✅ safe"]
    assert [row[1] for row in rows] == [
        "`floor_understated-1.0-py39-none-manylinux_2_28_x86_64.whl`",
        "`unstable-1.0-py39-none-manylinux_2_28_x86_64.whl`",
        "`stable_2_10-1.0-py39-none-manylinux_2_28_x86_64.whl`",
    ]
    fixes = [row[-1] for row in rows]
    assert all(re.fullmatch("`[^`]+`", fix) for fix in fixes[:2])
    assert "torch>=2.11" in fixes[0]
    assert fixes[2] == ""
    assert "**❌ unsafe**: 1 safe · 2 unsafe\n" in text


def test_details_are_open_where_a_target_fails() -> None:
    text = render_markdown(_document("torch-undeclared", "unstable", "stable-2.10", "cuda-build"))
    opened = re.findall(r"<details( open)?>\n<summary>(\S+ \S+): <code>([a-z_0-9]+)-", text)
    assert opened == [
        (" open", "❌ unsafe", "unstable"),
        ("", "✅ safe", "torch_undeclared"),
        ("", "✅ safe", "stable_2_10"),
        ("", "✅ safe", "cuda_build"),
    ]


def test_a_package_that_does_not_load_here_is_open() -> None:
    document: Any = _document("stable-2.10", "stable-2.11")
    here = {"torch": "2.10.0", "status": "breaks", "layout": None}
    reason = {"cause": "symbol", "name": "x", "detail": "not there"}
    remedy = {"why": "x 1.0 does not load", "command": "pip install torch"}
    document["targets"][1]["here"] = {**here, "reasons": [reason], "remedy": remedy}
    text = render_markdown(document)
    assert text.index("<details open>") < text.index("<details>")
    assert [row[1] for row in _rows(text)] == ["❌ does not load", ""]


def test_notes_are_counted_unless_verbose() -> None:
    document = _document("cuda-build")
    notes = [f for f in document["targets"][0]["findings"] if f["severity"] == "note"]
    assert notes
    text = render_markdown(document)
    assert "note[" not in text
    assert f"{len(notes)} note, shown with `--verbose`" in text
    text = render_markdown(document, verbose=True)
    assert text.count("`note[") == len(notes)
    assert "--verbose" not in text


def test_symbols_are_declared_first() -> None:
    document = _document("unstable")
    assert "\n  - `at::get_num_threads()`\n" in render_markdown(document)
    text = render_markdown(document, verbose=True)
    assert "\n  - `at::get_num_threads()`: `_ZN2at15get_num_threadsEv`\n" in text


def test_fixes_are_code() -> None:
    (line,) = re.findall(r"- \*\*Fix\*\*: (.*)", render_markdown(_document("floor-understated")))
    assert line.startswith('`dependencies = ["torch>=2.11"]`, or build with ')


@pytest.mark.parametrize("emoji", [True, False])
def test_the_matrix_says_what_is_allowed(emoji: bool) -> None:  # noqa: FBT001
    text = render_markdown(_document("cuda-12-for-2.10", "no-torch"), emoji=emoji)
    lines = [line for line in text.splitlines() if line.startswith(("| torch | 2.", "| allowed"))]
    releases, allowed = (line.split(" | ")[1:] for line in lines)
    marked = [release for release, cell in zip(releases, allowed, strict=True) if cell.strip(" |")]
    assert marked == ["2.10"]
    assert text.isascii() is not emoji


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (_many(109, "unstable"), ""),
        (_many(60, "stable-2.10"), "60 targets without errors and warnings: only in the table."),
        (_many(5_000, "unstable"), "targets."),
        (_many(3, "unstable", summary="s" * 400_000), "the details of 2 targets."),
        (_many(3, "unstable", summary="é" * 300_000), "the rows of 3 targets."),
        (_many(1, "unstable", name="n" * 2_000_000), ""),
        (_many(2, "unstable", error="e" * 2_000_000), "the details of 2 targets."),
    ],
    ids=["109", "fine", "rows", "summaries", "characters", "name", "error"],
)
def test_it_is_no_longer_than_it_may_be(document: Document, told: str) -> None:
    text = render_markdown(document)
    assert len(text.encode()) < _MEBIBYTE
    assert told in text
    assert ("Left out" in text) is told.endswith("targets.")
    assert text.endswith("torch-abi-audit 1.0, with symbol data up to torch 2.15.0\n")


@pytest.mark.parametrize(("number", "shown"), [(20, 10), (150, 3), (300, 1)])
def test_long_findings_are_shortened_before_targets_are_left_out(number: int, shown: int) -> None:
    document = _many(1, "unstable")
    finding = document["targets"][0]["findings"][0]
    long = {**finding["evidence"][0], "declaration": f"at::{'f' * 1000}()"}
    symbols = [{**long, "name": f"_Z{place}"} for place in range(20)]
    many = _many(number, "unstable", findings=[{**finding, "evidence": symbols}])
    text = render_markdown(many)
    assert text.count("<details open>") == number
    assert text.count("  - `at::ffff") == number * shown
    assert text.count(f"\n  - and {20 - shown} more\n") == number
    said = f"symbols and libraries beyond the first {shown} of each finding"
    assert (said in text) is (shown != 10)
    assert len(text.encode()) < _MEBIBYTE


def test_what_is_found_of_all_together_is_bounded_too() -> None:
    document: Any = json.loads(json.dumps(_document("release-disagrees")))
    finding = next(f for f in document["findings"] if f["severity"] == "warning")
    document["findings"] = [{**finding, "message": "m" * 100_000} for _ in range(20)]
    text = render_markdown(document)
    assert len(text.encode()) < _MEBIBYTE
    assert re.search("1 MiB: [0-9]+ findings about all targets together", text)

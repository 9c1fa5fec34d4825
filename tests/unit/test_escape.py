"""Whatever text comes, no escape leaves a command, a link or markup of it."""

from __future__ import annotations

import html
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.runners import HOSTILE, LIVE, commands
from torch_abi_audit.model import Severity
from torch_abi_audit.report.escape import (
    github_message,
    github_property,
    html_text,
    json_text,
    markdown_cell,
    markdown_cell_code,
    markdown_code,
    markdown_text,
    plain_text,
    sarif_message,
)

_PIECES = (
    *HOSTILE,
    *(":", "::", "#", "##", "[", "]", "(", ")", "|", "\\", "`", "``", "<", ">", "&", "%0A", "%"),
    *("error", "vso[", "teamcity[", " ", "\n", "\r", "\t", "\x1b[0K", "\u2028", "\xa0", ",", "-"),
    *("@you", "#1", "GH-1", "a/b#2", "http://x", "www.x.y", "mailto:a@b.c", "0123abcdef", ":tada:"),
    *("$", "1.", "+", "=", "*", "_", "~~", "at::Tensor", "é", "\ud800"),
)
TEXTS = st.lists(st.sampled_from(_PIECES) | st.text(max_size=5), max_size=8).map("".join)
ESCAPES = (
    plain_text,
    github_message,
    github_property,
    html_text,
    markdown_text,
    markdown_cell,
    markdown_code,
    markdown_cell_code,
)
_CODE = re.compile(r"(?<![\\`])(`+)(?!`)(.*?)(?<!`)\1(?!`)")


@given(TEXTS)
def test_no_escape_leaves_a_command(text: str) -> None:
    for escape in ESCAPES:
        escaped = escape(text)
        assert len(escaped.splitlines()) <= 1, escape
        assert "##" not in escaped, escape
        for before in ("", "  ", "x: ", "| "):
            assert commands(f"{before}{escaped}\n{escaped}") == [], escape
        # Prose is wrapped between words.
        assert commands("\n".join(plain_text(text).split(" "))) == []


@given(TEXTS)
def test_plain_text_is_escaped_once(text: str) -> None:
    assert plain_text(plain_text(text)) == plain_text(text)


@given(TEXTS)
def test_what_is_escaped_as_html_is_shown(text: str) -> None:
    shown = html.unescape(html_text(text))
    assert plain_text(shown) == plain_text(text)
    assert not set(html_text(text)) & set("<>\"'")


@given(TEXTS)
def test_json_parses_to_what_it_was(text: str) -> None:
    written = json_text({text: [text]})
    assert json.loads(written) == {text: [text]}
    assert written.isascii()
    assert "##" not in written
    assert commands(written) == []


@given(TEXTS)
def test_no_message_of_sarif_has_a_link(text: str) -> None:
    assert "](" not in sarif_message(text).replace("\\](", "")
    assert sarif_message(text).replace("\\](", "](") == text.replace("\\](", "](")


@given(TEXTS)
def test_a_property_holds_nothing_that_ends_it(text: str) -> None:
    assert not set(github_property(text)) & set(":,")
    assert re.sub("%(25|0D|0A|3A|2C)", "", github_property(text)).count("%") == 0


@given(TEXTS)
def test_nothing_in_markdown_is_live(text: str) -> None:
    outside = _CODE.sub("", markdown_text(text))
    assert not set(outside) & set("<>")
    assert not set(re.sub(r"\\.", "", outside)) & set("[]*_`~|")
    assert not LIVE.search(html.unescape(outside))  # as services read it


@given(TEXTS)
def test_a_cell_is_one_cell(text: str) -> None:
    for escape in (markdown_cell, markdown_cell_code):
        cell = escape(text)
        # In either way of reading backslashes.
        assert "|" not in re.sub(r"\\.", "", cell)
        assert "|" not in cell.replace("\\|", "")


@given(TEXTS)
def test_code_is_one_span(text: str) -> None:
    code = markdown_code(text)
    match = re.fullmatch(r"(`+)(.*)\1", code)
    assert match is not None
    assert match[1] not in re.findall("`+", match[2])


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("at::Tensor::add(#1)", "at::Tensor::add(#1)"),
        ("::error::x ::y", r"\x3a:error::x \x3a:y"),
        ("##[error]", r"\x23#[error]"),
        ("a\n b", r"a\n b"),
    ],
)
def test_names_stay_readable(text: str, escaped: str) -> None:
    assert plain_text(text) == escaped


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("see http://x.y now", "see `http://x.y` now"),
        ("@you, #1 and #x", r"`@you,` `#1` and \#x"),
        ("torch>=2.10, x_y", r"torch&gt;=2.10, x\_y"),
        ("::x", "&#58;:x"),
        ("- 1", r"\- 1"),
        ("1. x", r"1\. x"),
    ],
)
def test_markdown(text: str, escaped: str) -> None:
    assert markdown_text(text) == escaped


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.sampled_from(Severity),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=5), VALUES, max_size=4))
def test_json_is_what_the_standard_library_makes_of_it(value: dict[str, object]) -> None:
    expected = json.dumps(value, indent=2)
    assert json.loads(json_text(value)) == json.loads(expected)
    if "##" not in expected:
        assert json_text(value) == expected

r"""Text that comes from a target or an argument, made fit to be shown: a function per syntax.

Whatever is printed may end up in the log of a CI service, whose runner takes some lines for
commands: GitHub Actions a line that begins with ``::command::``, and ``##[command]`` anywhere;
Azure Pipelines ``##[...]`` and ``##vso[...]``, TeamCity ``##teamcity[...]``; GitLab
``section_start:...`` before a carriage return and an escape sequence. So in no syntax are there
two ``#`` in a row before a name that is not ours, ``::`` where a line may begin, or any control
character. What is escaped stays readable: ``\x23#[error]``, ``\x3a:error::``.
"""

from __future__ import annotations

import json
import re
import unicodedata
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_HASHES = re.compile(r"#(?=#)")
_COLONS = re.compile(r"(?<!\S):(?=:)")  # lines may be broken, and pieces put at their start

_SPECIAL = re.compile(r"([\\`*_\[\]|~&#])")
_ANGLES = str.maketrans({"<": "&lt;", ">": "&gt;"})
_BULLET = re.compile(r"^([0-9]*)([-+=.)])")
_SPACES = re.compile(r"(\s+)")
# What GitHub makes something of in a word: addresses, mentions, issues, commits, emoji, formulas.
# Neither backslashes nor entities keep it from that, which goes by the text as it is shown.
_LIVE = re.compile(
    r"://|www\.|@|\$|(?:mailto|xmpp):|#[0-9]|gh-[0-9]|:[\w+-]+:"
    r"|(?<![0-9a-z_])[0-9a-f]{7,40}(?![0-9a-z_])",
    re.IGNORECASE,
)


def clean(text: str) -> str:
    """Return text with every character escaped that would steer a terminal instead of show."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode("ascii")
        if unicodedata.category(character) in _HIDDEN_CATEGORIES
        else character
        for character in text
    )


def plain_text(text: str) -> str:
    r"""Return text for a terminal, or for a line of a log; it is one line.

    >>> print(plain_text("##vso[task.complete] at::Tensor ::error::x"))
    \x23#vso[task.complete] at::Tensor \x3a:error::x
    """
    return _COLONS.sub(r"\\x3a", _without_hashes(clean(text)))


def _without_hashes(text: str) -> str:
    return _HASHES.sub(r"\\x23", text)


def github_message(*lines: str) -> str:
    """Return the message of a workflow command of GitHub Actions, as its toolkit escapes it."""
    return _percent("\n".join(map(plain_text, lines)))


def github_property(text: str) -> str:
    """Return a property of a workflow command of GitHub Actions."""
    return _percent(_without_hashes(clean(text))).replace(":", "%3A").replace(",", "%2C")


def _percent(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def html_text(text: str) -> str:
    """Return text for a page of HTML, between tags or as an attribute's value."""
    from html import escape  # noqa: PLC0415 -- for two formats alone

    escaped = _HASHES.sub("&#35;", escape(clean(text)))
    return _COLONS.sub("&#58;", escaped)


def markdown_text(text: str) -> str:
    """Return text for Markdown, so that nothing in it is markup, links anywhere, or calls anybody.

    A word that GitHub would make something of, such as a mention, becomes code.
    """
    return _markdown(text, markdown_code)


def markdown_cell(text: str) -> str:
    """Return text for a cell of a table in Markdown."""
    return _markdown(text, markdown_cell_code, in_cell=True)


def _markdown(text: str, code: Callable[[str], str], *, in_cell: bool = False) -> str:
    words = _SPACES.split(clean(text).lstrip())
    return "".join(
        code(word)
        if _LIVE.search(word)
        else _markdown_word(word, first=place == 0 and not in_cell)  # no list begins in one
        for place, word in enumerate(words)
    )


def _markdown_word(word: str, *, first: bool) -> str:
    escaped = _SPECIAL.sub(r"\\\1", word).translate(_ANGLES)
    if first:  # where it may begin a list or a heading
        escaped = _BULLET.sub(r"\1\\\2", escaped)
    return _COLONS.sub("&#58;", escaped)


def markdown_code(text: str) -> str:
    """Put text into a code span of Markdown, whatever backticks are in it."""
    text = _without_hashes(clean(text))
    fence = "`" * (1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    edges = text[:1] + text[-1:]
    space = " " if not text or "`" in edges or edges == "  " else ""
    return f"{fence}{space}{text}{space}{fence}"


def markdown_cell_code(text: str) -> str:
    """Put text into a code span in a cell of a table, which a bare ``|`` would end."""
    # Services do not agree on what backslashes before the escape of one mean.
    return re.sub(
        r"(\\*)\|",
        lambda match: rf"{match[1]}\x7c" if match[1] else r"\|",
        markdown_code(text),
    )


def sarif_message(text: str) -> str:
    """Return the text of a message in SARIF, where ``[name](address)`` would be a link."""
    return text.replace("](", "\\](")


def json_text(value: Mapping[str, object]) -> str:
    """Return a value as indented JSON, all ASCII; it parses to what it is."""
    # A number sign stands within strings alone, where this is the same.
    return _HASHES.sub(r"\\u0023", _indented(value, "\n"))


def _indented(value: object, end: str) -> str:
    """Return what `json.dumps` does with an indent of two, in a third of the time.

    Args:
        value: The value.
        end: The end of a line, with the indent of what follows it.
    """
    inner = f"{end}  "
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    if isinstance(value, dict) and value:
        items = (f"{encode_basestring_ascii(k)}: {_indented(v, inner)}" for k, v in value.items())
        return f"{{{inner}{f',{inner}'.join(items)}{end}}}"
    if isinstance(value, list) and value:
        return f"[{inner}{f',{inner}'.join(_indented(item, inner) for item in value)}{end}]"
    return json.dumps(value)

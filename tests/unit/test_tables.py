"""Tables as text, Markdown, HTML and JSON: exact, escaped, and kept by closed schemas."""

from __future__ import annotations

import copy
import io
import json
import re
from datetime import date
from html.parser import HTMLParser
from typing import Any

import jsonschema
import pytest
from packaging.version import Version

from tests.builders import RELEASES, load_schema, record
from torch_abi_audit.model import Severity, Verdict
from torch_abi_audit.report import tables
from torch_abi_audit.report.schema import make_schema
from torch_abi_audit.report.style import Style
from torch_abi_audit.report.survey_shape import CompatibilityDocument, SurveyDocument
from torch_abi_audit.report.tables import TablePage
from torch_abi_audit.survey import WheelRecord
from torch_abi_audit.survey.compatibility import best_release, compatibility
from torch_abi_audit.survey.documents import compatibility_document, survey_document
from torch_abi_audit.survey.ecosystem import survey
from torch_abi_audit.survey.pages import compatibility_page, survey_page
from torch_abi_audit.survey.wheel import FailedRule

KNOWN = tuple(map(Version, RELEASES))
DAY = date(2026, 11, 28)
HOSTILE = '"><script>alert(1)</script>|`a`\x1b[31m\n::error::x ##[group] @someone <b>'


def _compat(
    *records: WheelRecord, torch: str | None = None, platform: str | None = "linux x86_64"
) -> CompatibilityDocument:
    table = compatibility("x", records, KNOWN)
    answers = [best_release("x", records, Version(torch), KNOWN)] if torch else []
    return compatibility_document(
        [table], answers, releases=KNOWN, version="1.0", day=DAY, platform=platform
    )


RECORDS = (
    record("2.0", "xgggx", ">=2.9", cuda=(12,), cuda_build=True),
    record("1.1", "xcllx", None, tag="cp310-abi3-manylinux_2_28_x86_64"),
    record("1.0", "xcllx", None, tag="cp310-abi3-manylinux_2_28_x86_64"),
    record("0.9", tag="py39-none-any"),
    record("0.8", error="it's | no <zip>", verdict=Verdict.ERROR),
)


def _survey() -> SurveyDocument:
    failed = FailedRule("cuda-major-mismatch", Severity.ERROR, "needs libcudart.so.12")
    found = {
        "x": [record("2.0", "xgggx", ">=2.9", failed=(failed,), uploaded="2026-02-01", cuda=(12,))],
        "y": [record("1.0", "xllxx", project="y")],
    }
    states = survey(found, KNOWN, notes={"z": "only a source distribution"})
    return survey_document(states, releases=KNOWN, version="1.0", day=DAY)


def _text(page: TablePage, encoding: str = "utf-8") -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")
    tables.write_text(stream, page, Style(color="never"))
    stream.flush()
    stream.seek(0)
    return stream.read()


def test_compat_as_text() -> None:
    assert _text(compatibility_page(_compat(*RECORDS, torch="2.10"))) == (
        """\
x 2.0 loads with torch 2.10, guaranteed by the stable ABI; needs a CUDA build of torch
  pip install x==2.0

x: PyTorch releases that each release loads on (linux x86_64)

  release  torch 2. 8  9 9.1 10 11  metadata      CUDA  Python                          platform
  2.0               ·  ✓   ✓  ✓  ✗  torch>=2.9    12    3.12                            linux x86_64
  1.1               ✗  c   ~  ~  ✗  not declared        3.10 and newer                  linux x86_64
  1.0               ✗  c   ~  ~  ✗  not declared        3.10 and newer                  linux x86_64
  0.9                                                   3.9 and newer, 3.13t and newer  any
  0.8                                                   3.12                            linux x86_64

  ✓ guaranteed; ~ loads, not guaranteed; c loads, but class layouts changed; ✗ does not load;\
 · does not load, not allowed

  2.0: allows 2.11, does not load there (libcudart.so.12)
  1.1, 1.0: torch is not declared: does not load on 2.8, 2.11 (libcudart.so.12);\
 class layouts changed on 2.9.0 (c10::TensorImpl)
  0.9: no compiled torch code
  0.8: could not be read: it's | no <zip>

torch-abi-audit 1.0, with symbol data up to torch 2.11.0, 2026-11-28
"""
    )


def test_text_for_a_stream_that_takes_ascii_alone() -> None:
    text = _text(compatibility_page(_compat(*RECORDS[:2])), "ascii")
    assert "G   G  G  X  torch>=2.9" in text
    assert "G guaranteed; L loads, not guaranteed; c loads, but" in text


def test_patch_releases_that_agree_share_a_column() -> None:
    # Which of them the metadata allows is not drawn, and no reason to tell them apart.
    text = _text(compatibility_page(_compat(record("1.0", "xllxx", "==2.9.1"))))
    assert "  release  torch 2. 8  9 10 11  metadata" in text
    assert "platform" not in text


def test_compat_as_markdown() -> None:
    page = compatibility_page(_compat(*RECORDS[:2], torch="2.10"))
    assert tables.markdown(page) == (
        "x 2.0 loads with torch 2.10, guaranteed by the stable ABI; needs a CUDA build of torch:"
        """ `pip install x==2.0`

### x: PyTorch releases that each release loads on (linux x86\\_64)

| release | 2.8 | 2.9 | 2.9.1 | 2.10 | 2.11 | metadata | CUDA | Python | notes |
| --- | :-: | :-: | :-: | :-: | :-: | --- | --- | --- | --- |
| 2.0 | · | ✓ | ✓ | ✓ | ✗ | torch&gt;=2.9 | 12 | 3.12 |\
 allows 2.11, does not load there (libcudart.so.12) |
| 1.1 | ✗ | c | ~ | ~ | ✗ | not declared |  | 3.10 and newer |\
 torch is not declared: does not load on 2.8, 2.11 (libcudart.so.12);\
 class layouts changed on 2.9.0 (c10::TensorImpl) |

✓ guaranteed; ~ loads, not guaranteed; c loads, but class layouts changed; ✗ does not load;\
 · does not load, not allowed

<sub>torch-abi-audit 1.0, with symbol data up to torch 2.11.0, 2026-11-28</sub>
"""
    )
    assert tables.markdown(page, in_ascii=True).isascii()


def test_survey_as_text_and_markdown() -> None:
    page = survey_page(_survey())
    assert _text(page) == (
        """\
Status of the PyTorch ecosystem

  package  release  uploaded    torch ABI                   declares      loads on torch      \
  Python  CUDA
  x        2.0      2026-02-01  stable: complete since 2.0  torch>=2.9    2.9-2.10            \
  3.12    12
  y        1.0                  not started                 not declared  2.9 (not guaranteed)\
  3.12
  z                             only a source distribution

  x: needs libcudart.so.12

torch-abi-audit 1.0, with symbol data up to torch 2.11.0, 2026-11-28
"""
    )
    text = tables.markdown(page)
    assert "| package | release | uploaded | torch ABI | declares | loads on torch |" in text
    assert "| z |  |  | only a source distribution |  |  |  |  |  |\n" in text


def test_nothing_to_show() -> None:
    empty = survey_page(survey_document([], releases=KNOWN, version="1.0"))
    source = "torch-abi-audit 1.0, with symbol data up to torch 2.11.0\n"
    assert _text(empty) == source
    nothing = compatibility_page(_compat(platform=None))
    assert (nothing.title, nothing.tables) == ("PyTorch releases for x", ())
    assert "<h1>Status of the PyTorch ecosystem</h1>" in tables.html(empty)


class _Page(HTMLParser):
    """Reads a page, and notes what there is in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.said = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open += [tag] if tag not in ("meta", "br") else []

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said += "" if self.open[-1:] in (["script"], ["style"]) else data

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_the_page_says_what_its_tables_are() -> None:
    found = _Page(tables.html(compatibility_page(_compat(*RECORDS, torch="2.10"))))
    assert [item["scope"] for item in found.attributes("th")].count("row") == len(RECORDS)
    assert {item["scope"] for item in found.attributes("th")} == {"row", "col"}
    assert len(found.attributes("caption")) == len(found.attributes("table")) == 1
    (scroll,) = [item for item in found.attributes("div") if item["class"] == "scroll"]
    assert scroll["tabindex"] == "0"
    labels = [item["aria-label"] for item in found.attributes("span") if "aria-label" in item]
    assert labels.count("guaranteed") == 3
    assert len(labels) == 15
    assert "pip install x==2.0" in found.said
    assert "torch 2.9.1" in found.said
    assert "2026-11-28" in found.said
    assert tables.html(survey_page(_survey()), in_ascii=True).isascii()


def test_whatever_is_in_a_record_is_text() -> None:
    document = _compat(record("1.0", "xgggg", error=HOSTILE), record("2.0", "xgggg"))
    row = document["packages"][0]["rows"][0]
    row["requires_torch"], row["platforms"], row["differences"] = HOSTILE, [HOSTILE], [HOSTILE]
    document["packages"][0]["project"] = HOSTILE
    document["platform"] = HOSTILE
    page = compatibility_page(document)
    text = _text(page)
    assert "\x1b" not in text
    assert "\n::" not in text
    assert "##[" not in text
    markdown = tables.markdown(page)
    lines = markdown.splitlines()
    assert len({line.replace("\\|", "").count("|") for line in lines if line[:1] == "|"}) == 1
    bare = re.sub(r"(``).*?\1", "", markdown)  # code is shown as it is
    assert "<script" not in bare
    assert "<b>" not in bare
    found = _Page(tables.html(page))
    assert [tag for tag, _ in found.tags].count("script") == 1  # the page's own
    assert "b" not in [tag for tag, _ in found.tags]
    assert "\x1b" not in tables.html(page)


@pytest.mark.parametrize("name", ["compat", "survey"])
def test_the_documents_keep_closed_schemas(name: Any) -> None:
    documents = {"compat": _compat(*RECORDS, torch="2.10"), "survey": _survey()}
    document: Any = json.loads(json.dumps(documents[name]))
    schema = load_schema(name)
    assert schema["title"] == f"torch-abi-audit {name}"
    jsonschema.Draft202012Validator.check_schema(make_schema(name))
    jsonschema.validate(document, schema)
    for path in ((), ("packages", 0), *([("packages", 0, "rows", 0)] if name == "compat" else [])):
        for change in ("more", "less"):
            changed = copy.deepcopy(document)
            place: Any = changed
            for key in path:
                place = place[key]
            if change == "more":
                place["more"] = 1
            else:
                del place[next(iter(place))]
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate(changed, schema)


def test_the_document_has_what_is_known_of_a_row() -> None:
    document = _compat(*RECORDS[:1], torch="2.9")
    row = document["packages"][0]["rows"][0]
    assert row["allowed"] == ["2.9.0", "2.9.1", "2.10.0", "2.11.0"]
    assert row["releases"]["2.11.0"] == {
        "status": "breaks",
        "layout": None,
        "reasons": [
            {
                "cause": "library",
                "name": "libcudart.so.12",
                "detail": "torch ships libcudart.so.13",
            }
        ],
        "libstdcxx": None,
    }
    assert document["answers"][0]["command"] == "pip install x==2.0"
    assert document["day"] == "2026-11-28"

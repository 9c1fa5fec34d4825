"""Tables as text, Markdown, HTML and JSON: exact, escaped, and kept by closed schemas."""

from __future__ import annotations

import copy
import io
import json
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
    record("0.9", tag="py3-none-any"),
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

  release  torch 2. 8  9 9.1 10 11  metadata      CUDA  Python          platform
  2.0               ·  ✓   ✓  ✓  ✗  torch>=2.9    12    3.12            linux x86_64
  1.1               ✗  c   ~  ~  ✗  not declared        3.10 and newer  linux x86_64
  1.0               ✗  c   ~  ~  ✗  not declared        3.10 and newer  linux x86_64
  0.9                                                   ALL             any
  0.8                                                   3.12            linux x86_64

  ✓ guaranteed; ~ loads, not guaranteed; c loads, but class layouts changed; ✗ does not load; · does not load, not allowed

  2.0: allows 2.11, does not load there (libcudart.so.12)
  1.1, 1.0: torch is not declared: does not load on 2.8, 2.11 (libcudart.so.12); class layouts changed on 2.9.0 (c10::TensorImpl)
  0.9: no compiled torch code
  0.8: could not be read: it's | no <zip>

torch-abi-audit 1.0, with symbol data up to torch 2.11.0, 2026-11-28
"""
    )

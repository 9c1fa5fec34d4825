"""The report as a line a finding."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.builders import TEST_WHEELS
from torch_abi_audit import audit
from torch_abi_audit.report.document import report_document
from torch_abi_audit.report.outputs import ReportFormat, render
from torch_abi_audit.report.style import Style


def lines_of(document: Any, style: Style) -> list[str]:
    return render(ReportFormat.CONCISE, document, style).splitlines()


def document_of(*scenarios: str) -> Any:
    wheels = [next((TEST_WHEELS / name).glob("*.whl")) for name in scenarios]
    return report_document(audit(*wheels), "1.0")


def test_a_line_a_finding_and_the_conclusion() -> None:
    document = document_of("stable-2.10", "torch-undeclared", "cuda-12")
    undeclared, cuda = (target["target"] for target in document["targets"][1:])
    first, second, last = lines_of(document, Style())
    assert first == (
        f"{undeclared}: warning[torch-undeclared] 1 library links to torch, but the metadata does"
        ' not declare it (fix: dependencies = ["torch>=2.10"])'
    )
    assert second.startswith(f"{cuda}: error[cuda-major-mismatch] the wheel needs libcudart.so.12")
    assert last == f"unsafe: {document['conclusion']['why']}"
    assert lines_of(document, Style(quiet=True)) == [second]


def test_notes_are_shown_when_verbose() -> None:
    document = document_of("unstable-pinned")
    (last,) = lines_of(document, Style())
    note, same = lines_of(document, Style(verbose=True))
    assert "note[unstable-torch-symbol]" in note
    assert last == same


@pytest.mark.parametrize("name", ["corrupt-library", "release-disagrees"])
def test_what_is_not_of_one_wheel(name: str) -> None:
    document = json.loads(json.dumps(document_of(name)))
    document["targets"][0]["here"] = {
        "torch": "2.9.0",
        "status": "breaks",
        "layout": None,
        "reasons": [],
        "remedy": {"why": "x 1.0 does not load", "command": "pip install torch"},
    }
    document["findings"] = document["targets"][0]["findings"][:1]
    lines = lines_of(document, Style())
    target = document["targets"][0]["target"]
    assert f"{target}: error: x 1.0 does not load; fix: pip install torch" in lines
    if document["targets"][0]["error"]:
        assert lines[0].startswith(f"{target}: error: not audited: ")
        assert lines[-2].startswith("error[unreadable-library] ")


def test_names_are_no_commands() -> None:
    document = document_of("torch-undeclared")
    document["targets"][0]["target"] = "a\n::error::b\x1b[31m"
    for line in lines_of(document, Style()):
        assert not line.startswith("::")
        assert "\x1b" not in line

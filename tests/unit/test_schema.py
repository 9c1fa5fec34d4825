"""The schema is made of the types, closed, and every report keeps it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.builders import TEST_WHEELS, load_schema
from torch_abi_audit import audit
from torch_abi_audit.report.document import report_document
from torch_abi_audit.report.schema import make_schema, schema_text
from torch_abi_audit.report.shape import Document


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    names = ("unstable", "mixed", "alternatives", "corrupt-library", "release-disagrees")
    wheels = [path for name in names for path in sorted((TEST_WHEELS / name).glob("*.whl"))]
    made: dict[str, Any] = json.loads(
        json.dumps(report_document(audit(*wheels, Path("gone")), "0"))
    )
    return made


def objects(schema: Any) -> list[dict[str, Any]]:
    """Return every schema of an object with properties."""
    found = [schema] if isinstance(schema, dict) and "properties" in schema else []
    parts = schema.values() if isinstance(schema, dict) else schema
    for part in parts if isinstance(schema, (dict, list)) else ():
        found += objects(part)
    return found


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(make_schema())
    assert json.loads(schema_text()) == make_schema()
    assert list(make_schema()["properties"]) == list(Document.__annotations__)


def test_the_schema_is_closed() -> None:
    found = objects(make_schema())
    assert len(found) >= 25
    for item in found:
        assert item["additionalProperties"] is False
        assert item["required"] == list(item["properties"])


def test_a_report_keeps_it(document: dict[str, Any]) -> None:
    jsonschema.validate(document, load_schema())
    assert set(document) == set(make_schema()["properties"])


@pytest.mark.parametrize(
    "path",
    [
        (),
        ("targets", 0),
        ("targets", 0, "torch"),
        ("targets", 0, "torch", "releases", "2.15.0"),
        ("targets", 0, "libraries", 0),
        ("targets", 0, "libraries", 0, "torch"),
        ("targets", 0, "findings", 0),
        ("targets", 0, "findings", 0, "evidence", 0),
        ("releases", 0, "coverage", 0),
        ("counts", "here"),
        ("conclusion",),
    ],
)
def test_it_refuses_a_key_more_and_a_key_less(
    path: tuple[str | int, ...], document: dict[str, Any]
) -> None:
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
            jsonschema.validate(changed, load_schema())

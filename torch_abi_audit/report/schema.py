"""The JSON Schemas of the documents, made of their types (JSON Schema 2020-12)."""

from __future__ import annotations

import json
from enum import StrEnum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints, is_typeddict

from torch_abi_audit.report import shape, survey_shape

_PLAIN: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer", "minimum": 0},
    NoneType: {"type": "null"},
}


_DOCUMENTS = {
    "report": shape.Document,
    "compat": survey_shape.CompatibilityDocument,
    "survey": survey_shape.SurveyDocument,
}
DocumentName = Literal["report", "compat", "survey"]


def schema_text(name: DocumentName = "report") -> str:
    """Return the schema of a document as JSON."""
    return json.dumps(make_schema(name), indent=2) + "\n"


def make_schema(name: DocumentName = "report") -> dict[str, Any]:
    """Return the schema that every report keeps. It allows no key that the types do not have.

    Args:
        name: The document: the report of an audit, or what `compat` or `survey` print.
    """
    definitions: dict[str, Any] = {}
    document = _object(_DOCUMENTS[name], definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"torch-abi-audit {name}",
        **document,
        "$defs": dict(sorted(definitions.items())),
    }


def _object(type_: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    hints = get_type_hints(type_, include_extras=True)
    return {
        "description": (type_.__doc__ or "").strip(),
        "type": "object",
        "properties": {key: _value(hint, definitions) for key, hint in hints.items()},
        "required": list(hints),
        "additionalProperties": False,
    }


def _value(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a value; that of a named type goes to the definitions."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in _PLAIN:
        found = _PLAIN[hint]
    elif origin is Annotated:
        found = {**_value(arguments[0], definitions), "description": arguments[1]}
    elif is_typeddict(hint):
        found = {"$ref": f"#/$defs/{_define(hint, definitions)}"}
    elif origin is list:
        found = {"type": "array", "items": _value(arguments[0], definitions)}
    elif origin is dict:
        found = {"type": "object", "additionalProperties": _value(arguments[1], definitions)}
    elif origin is UnionType:
        found = {"anyOf": [_value(argument, definitions) for argument in arguments]}
    elif origin is Literal:
        found = {"enum": list(arguments)}
    elif isinstance(hint, type) and issubclass(hint, StrEnum):
        found = {"enum": [member.value for member in hint]}
    else:
        raise TypeError(f"no schema for {hint}")
    return found


def _define(type_: Any, definitions: dict[str, Any]) -> str:
    name: str = type_.__name__.removesuffix("Document").lower()
    if name not in definitions:
        definitions[name] = {}  # taken, should it name itself
        definitions[name] = _object(type_, definitions)
    return name

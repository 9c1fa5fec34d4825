"""The JSON Schema of the report, made of its types (JSON Schema 2020-12)."""

from __future__ import annotations

import json
from enum import StrEnum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints, is_typeddict

from torch_abi_audit.report import shape

_PLAIN: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer", "minimum": 0},
    NoneType: {"type": "null"},
}


def schema_text() -> str:
    """Return the schema as JSON."""
    return json.dumps(make_schema(), indent=2) + "\n"


def make_schema() -> dict[str, Any]:
    """Return the schema that every report keeps. It allows no key that the types do not have."""
    definitions: dict[str, Any] = {}
    document = _object(shape.Document, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "torch-abi-audit report",
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

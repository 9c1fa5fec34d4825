"""The claims of a wheel: its filename, `WHEEL` and `METADATA`, parsed."""

from __future__ import annotations

import re
from email.parser import HeaderParser
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag, parse_tag
from packaging.utils import (
    InvalidWheelFilename,
    canonicalize_name,
    parse_wheel_filename,
)

from torch_abi_audit.errors import AuditError
from torch_abi_audit.model import Claims

if TYPE_CHECKING:
    from email.message import Message

_PROJECT_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")


def parse_claims(filename: str, wheel: bytes, metadata: bytes) -> Claims:
    """Parse what a wheel promises.

    Args:
        filename: The wheel's filename, without folders.
        wheel: The contents of its ``WHEEL`` file.
        metadata: The contents of its ``METADATA`` file.

    Raises:
        AuditError: The name, a tag, ``Requires-Python`` or a requirement of torch is
            not valid. Other requirements are not looked at.

    Reference: the binary distribution format and the core metadata specification.
    """
    try:
        name, version, _, tags = parse_wheel_filename(filename)
    except InvalidWheelFilename as error:
        raise AuditError(str(error)) from error
    wheel_headers, metadata_headers = _headers(wheel), _headers(metadata)
    requires_python = _first(metadata_headers, "Requires-Python")
    try:
        python = SpecifierSet(requires_python)
    except InvalidSpecifier as error:
        raise AuditError(f"METADATA has Requires-Python {requires_python!r}: {error}") from error
    return Claims(
        name=name,
        version=version,
        tags=tags,
        wheel_tags=_wheel_tags(wheel_headers),
        root_is_purelib=_first(wheel_headers, "Root-Is-Purelib").lower() == "true",
        requires_python=python,
        torch_requirements=_torch_requirements(metadata_headers),
        extras=frozenset(map(str, metadata_headers.get_all("Provides-Extra", []))),
    )


def _headers(data: bytes) -> Message:
    return HeaderParser().parsestr(data.decode("utf-8", "backslashreplace"))


def _first(headers: Message, name: str) -> str:
    return str(headers.get(name, "")).strip()


def _wheel_tags(headers: Message) -> frozenset[Tag]:
    tags: set[Tag] = set()
    for line in headers.get_all("Tag", []):
        tag = str(line).strip()
        if tag.count("-") != 2:
            raise AuditError(f"WHEEL has the tag {tag!r}, which is not python-abi-platform")
        tags |= parse_tag(tag)
    return frozenset(tags)


def _torch_requirements(headers: Message) -> tuple[Requirement, ...]:
    requirements = []
    for line in map(str, headers.get_all("Requires-Dist", [])):
        name = _PROJECT_NAME.match(line)
        if name is None or canonicalize_name(name[1]) != "torch":
            continue
        try:
            requirements.append(Requirement(line))
        except InvalidRequirement as error:
            reason = str(error).splitlines()[0]
            raise AuditError(f"METADATA has Requires-Dist {line!r}: {reason}") from error
    return tuple(requirements)

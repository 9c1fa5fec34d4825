"""The files of `.dist-info` with a change: only the lines that it is about are others."""

from __future__ import annotations

import csv
import re
from base64 import urlsafe_b64encode
from hashlib import sha256
from itertools import product
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from torch_abi_audit.claims.amend import is_for_extra

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch_abi_audit.model import MetadataChange

# A header with the lines that continue it.
_HEADER = re.compile(rb"(?P<name>[^\s:]+):(?P<value>[^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)(?:\r?\n|\Z)")
_LINE_END = re.compile(rb"\r?\n")


def amended_metadata(metadata: bytes, change: MetadataChange) -> bytes:
    """Return ``METADATA`` with a change of the requirement on torch, or of ``Requires-Python``."""
    if change.torch is not None:
        line = f"Requires-Dist: {change.torch}"
        metadata = _with_header(metadata, line, _is_torch, after=b"requires-dist")
    if change.python is not None:
        line = f"Requires-Python: {change.python}"
        metadata = _with_header(metadata, line, _is_requires_python, after=b"version")
    return metadata


def amended_wheel(wheel: bytes, change: MetadataChange) -> bytes:
    """Return ``WHEEL`` with the tags of a change."""
    if change.tags is None:
        return wheel
    parts = (part.split(".") for part in change.tags.split("-"))
    lines = "\n".join(f"Tag: {'-'.join(tag)}" for tag in product(*parts))
    return _with_header(wheel, lines, lambda name, _: name == b"tag", after=b"root-is-purelib")


def amended_record(record: bytes, files: Mapping[str, bytes]) -> bytes:
    """Return ``RECORD`` with the hashes and sizes of files that changed."""
    lines = []
    for line in record.splitlines(keepends=True):
        (row,) = csv.reader([line.decode("utf-8", "surrogateescape")])
        if row and row[0] in files:
            data = files[row[0]]
            digest = urlsafe_b64encode(sha256(data).digest()).rstrip(b"=")
            end = line[len(line.rstrip(b"\r\n")) :]
            path = line.split(b",sha", 1)[0] if b",sha" in line else row[0].encode()
            line = b"%s,sha256=%s,%d%s" % (path, digest, len(data), end)  # noqa: PLW2901
        lines.append(line)
    return b"".join(lines)


def _is_torch(name: bytes, value: str) -> bool:
    """Whether a header requires torch, whatever extras there are."""
    if name != b"requires-dist":
        return False
    try:
        requirement = Requirement(value)
    except InvalidRequirement:
        return False
    return canonicalize_name(requirement.name) == "torch" and not is_for_extra(requirement)


def _is_requires_python(name: bytes, _value: str) -> bool:
    return name == b"requires-python"


def _with_header(
    data: bytes, lines: str, replaced: Callable[[bytes, str], bool], *, after: bytes
) -> bytes:
    """Return a file with new headers in the place of the first of those that they replace.

    Args:
        data: The file.
        lines: The new headers.
        replaced: Whether a header, by its name in lower case and its value, is to go.
        after: Where there is none to replace, the name of the header to put them behind.
    """
    first_end = _LINE_END.search(data)
    end = first_end[0] if first_end else b"\n"
    new = b"".join(line.encode() + end for line in lines.split("\n"))
    kept: list[bytes] = []
    place = behind = None
    position = 0
    while header := _HEADER.match(data, position):
        name = header["name"].lower()
        if replaced(name, _LINE_END.sub(b"", header["value"]).decode("utf-8", "replace").strip()):
            place = len(kept) if place is None else place
        else:
            kept.append(header[0] if header[0].endswith(b"\n") else header[0] + end)
            behind = len(kept) if name == after else behind
        position = header.end()
    if place is None:
        place = len(kept) if behind is None else behind
    return b"".join([*kept[:place], new, *kept[place:], data[position:]])

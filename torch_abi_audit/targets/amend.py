"""The files of `.dist-info` after a change: only the lines that it concerns differ."""

from __future__ import annotations

import csv
import io
import re
from base64 import urlsafe_b64encode
from dataclasses import replace
from functools import partial
from hashlib import sha256
from itertools import product
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from torch_abi_audit.claims.amend import amended, is_for_extra
from torch_abi_audit.claims.variants import resolved
from torch_abi_audit.errors import AuditError
from torch_abi_audit.targets.metadata import parse_claims

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch_abi_audit.model import Claims, MetadataChange

# What an email parser takes for a header, with its continuation lines.
_HEADER = re.compile(
    rb"(?P<name>[!-9;-~]+):(?P<value>[^\r\n]*(?:(?:\r\n|\r|\n)[ \t][^\r\n]*)*)"
    rb"(?P<end>\r\n|\r|\n|\Z)"
)
_LINE_END = re.compile(rb"\r\n|\r|\n")


def amended_files(
    files: Mapping[str, bytes], claims: Claims, change: MetadataChange
) -> dict[str, bytes]:
    """Return the files of `.dist-info` that differ after a change.

    Args:
        files: ``METADATA``, ``WHEEL`` and ``RECORD``, by the names of the members.
        claims: What they say now.
        change: The change.

    Raises:
        AuditError: The changed files would not say what they should.
    """
    wanted = amended(claims, change)
    paths = {path.rpartition("/")[2]: path for path in files}
    metadata = amended_metadata(files[paths["METADATA"]], wanted, change)
    wheel = amended_wheel(files[paths["WHEEL"]], change)
    said, _ = parse_claims(wanted.filename or "", wheel, metadata, wanted.variant_properties)
    if _in_order(said) != _in_order(wanted):
        raise AuditError("METADATA or WHEEL is not plain headers: the change would get lost in it")
    new = {paths["METADATA"]: metadata, paths["WHEEL"]: wheel}
    new[paths["RECORD"]] = amended_record(
        files[paths["RECORD"]], {path: data for path, data in new.items() if data != files[path]}
    )
    return {path: data for path, data in new.items() if data != files[path]}


def _in_order(claims: Claims) -> Claims:
    return replace(
        claims, torch_requirements=tuple(sorted(set(claims.torch_requirements), key=str))
    )


def amended_metadata(metadata: bytes, wanted: Claims, change: MetadataChange) -> bytes:
    """Return ``METADATA`` with a change to the requirement on torch, or to ``Requires-Python``.

    Args:
        metadata: The file.
        wanted: What it should say.
        change: The part of that which changes.
    """
    if change.torch is not None:
        line = f"Requires-Dist: {wanted.torch_requirements[0]}"
        metadata = _with_header(metadata, line, partial(_is_torch, wanted), after=b"requires-dist")
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
    """Return ``RECORD`` with the hashes and sizes of files that changed.

    Raises:
        AuditError: It can't be parsed.
    """
    lines = []
    for line in record.splitlines(keepends=True):
        try:
            row = next(csv.reader([line.decode("utf-8", "surrogateescape")]), [])
        except csv.Error as error:
            raise AuditError(f"RECORD can't be parsed: {error}") from error
        data = files.get(row[0].replace("\\", "/")) if row else None
        lines.append(line if data is None else _record_line(row[0], data, _end_of(line)))
    return b"".join(lines)


def _record_line(path: str, data: bytes, end: str) -> bytes:
    digest = urlsafe_b64encode(sha256(data).digest()).rstrip(b"=").decode()
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator=end).writerow([path, f"sha256={digest}", len(data)])
    return line.getvalue().encode()


def _end_of(line: bytes) -> str:
    return line[len(line.rstrip(b"\r\n")) :].decode()


def _is_torch(claims: Claims, name: bytes, value: str) -> bool:
    """Whether a header requires torch, whichever extras are installed."""
    if name != b"requires-dist":
        return False
    line = resolved(value, claims.variant, claims.variant_properties)
    try:
        requirement = Requirement(line or "")
    except InvalidRequirement:
        return False
    return canonicalize_name(requirement.name) == "torch" and not is_for_extra(requirement)


def _is_requires_python(name: bytes, _value: str) -> bool:
    return name == b"requires-python"


def _with_header(
    data: bytes, lines: str, replaced: Callable[[bytes, str], bool], *, after: bytes
) -> bytes:
    """Return a file with new headers in place of the first of those that they replace.

    Args:
        data: The file.
        lines: The new headers.
        replaced: Whether to replace a header, by its lower-case name and its value.
        after: If there is none to replace, the name of the header to put them after.
    """
    first_end = _LINE_END.search(data)
    end = first_end[0] if first_end else b"\n"
    new = b"".join(line.encode() + end for line in lines.split("\n"))
    kept: list[bytes] = []
    place = behind = None
    position = 0
    while header := _HEADER.match(data, position):
        name = header["name"].lower()
        if replaced(name, header["value"].decode("utf-8", "backslashreplace").strip()):
            place = len(kept) if place is None else place
        else:
            kept.append(header[0] if header["end"] else header[0] + end)
            behind = len(kept) if name == after else behind
        position = header.end()
    if place is None:
        place = len(kept) if behind is None else behind
    return b"".join([*kept[:place], new, *kept[place:], data[position:]])

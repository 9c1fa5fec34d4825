"""The claims of a wheel: its filename, `WHEEL` and `METADATA`, parsed."""

from __future__ import annotations

import re
from dataclasses import replace
from email.parser import HeaderParser
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from packaging.requirements import Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag, parse_tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from torch_abi_audit.claims.markers import Work, applying_together
from torch_abi_audit.claims.variants import installed_variant, resolved, split_label
from torch_abi_audit.errors import AuditError
from torch_abi_audit.model import Claims, Defect, DefectKind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import Message

    from torch_abi_audit.model import VariantProperty

# Far more than any wheel has; each item costs as much as all the others, or is printed.
_MAX_TAGS, _MAX_REQUIREMENTS, _MAX_EXTRAS, _MAX_LINE = 1_000, 300, 2_000, 2_000
_MAX_DEPENDENCIES = 300
_MAX_HEADER_BYTES = 1 << 20
_SHOWN = 200  # characters of a line, in an error message
_BLANK_LINE = re.compile(rb"(?:\A|(?>\r\n|\r|\n))(?>\r\n|\r|\n)")
_TORCH = re.compile(r"torch")
_CUDA = re.compile(r"nvidia-.*|cuda-toolkit")
_EXTRA = re.compile(r"\bextras?\b")
_WHEEL_MAJOR = "1"
_WITHOUT_LICENSE_FILES = frozenset({"1.0", "1.1", "1.2", "2.0", "2.1", "2.2", "2.3"})
_PROJECT_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")


class Filename(NamedTuple):
    """A wheel's filename, taken apart.

    Attributes:
        name: The distribution's normalized name.
        version: Its version.
        tags: The tags, expanded.
        stem: The name and the version as written, ``x-1.0``.
        variant: The label of a variant wheel.
    """

    name: str
    version: Version
    tags: frozenset[Tag]
    stem: str
    variant: str | None


def parse_filename(filename: str) -> Filename:
    """Take a wheel's filename apart.

    Raises:
        AuditError: It is not a wheel's filename.
    """
    plain, variant = split_label(filename)
    try:
        name, version, _, tags = parse_wheel_filename(plain)
    except InvalidWheelFilename as error:
        raise AuditError(str(error)) from error
    except ValueError as error:
        raise AuditError(f"the filename can't be parsed: {str(error)[:200]}") from error
    return Filename(name, version, tags, "-".join(plain.split("-")[:2]), variant)


def parse_claims(
    filename: str, wheel: bytes, metadata: bytes, properties: tuple[VariantProperty, ...] = ()
) -> tuple[Claims, tuple[Defect, ...]]:
    """Parse what a wheel claims.

    Args:
        filename: The wheel's filename, without folders.
        wheel: The contents of its ``WHEEL`` file.
        metadata: The contents of its ``METADATA`` file.
        properties: The properties of a variant wheel, on which its requirements may depend.

    Returns:
        The claims, and defects if the filename, ``WHEEL`` and ``METADATA`` do not match.

    Raises:
        AuditError: The name, a tag, ``Requires-Python`` or a requirement on torch is
            not valid. Other requirements are not checked.

    Reference: the binary distribution format and the core metadata specification.
    """
    named = parse_filename(filename)
    try:
        headers, inside = _headers(wheel), _headers(metadata)
        inside = _without_variants(inside, named.variant, properties)
        claims = _claims(named.name, named.version, named.tags, headers, inside)
        found = tuple(_metadata_defects(named, headers, inside))
    except (ValueError, RecursionError) as error:
        # Hostile input: numbers of thousands of digits, thousands of parentheses.
        raise AuditError(f"the metadata can't be parsed: {str(error)[:200]}") from error
    claims = replace(claims, filename=filename, variant=named.variant)
    return replace(claims, variant_properties=properties), found


def _without_variants(
    headers: Message, label: str | None, properties: tuple[VariantProperty, ...]
) -> Message:
    """Resolve the markers that ask for a variant (PEP 825, a draft)."""
    lines = list(map(str, headers.get_all("Requires-Dist", [])))
    if not any("variant_" in line for line in lines):
        return headers
    del headers["Requires-Dist"]
    for line in lines:
        left = resolved(line, label, properties)
        if left is not None:
            headers["Requires-Dist"] = left
    return headers


def license_files(metadata: bytes) -> tuple[str, ...]:
    """Return what ``License-File`` names: files below ``licenses`` in ``.dist-info`` (PEP 639).

    Metadata older than 2.4 does not say where they are.
    """
    headers = _headers(metadata)
    if _first(headers, "Metadata-Version") in _WITHOUT_LICENSE_FILES:
        return ()
    return tuple(str(line).strip() for line in headers.get_all("License-File", []))


def parse_installed(wheel: bytes, metadata: bytes, described: bytes = b"") -> Claims:
    """Parse what an installed distribution, or an unpacked wheel, claims.

    Its tags are those of ``WHEEL``, since there is no filename.

    Args:
        wheel: The contents of its ``WHEEL`` file; empty if there is none.
        metadata: The contents of its ``METADATA`` file.
        described: The contents of its ``variant.json``; empty if there is none.

    Raises:
        AuditError: See `parse_claims`.
    """
    label, properties = installed_variant(described) if described else (None, ())
    try:
        headers, tags = _headers(metadata), _wheel_tags(_headers(wheel))
        headers = _without_variants(headers, label, properties)
        name = canonicalize_name(_first(headers, "Name"))
        version = Version(_first(headers, "Version"))
        claims = _claims(name, version, tags, _headers(wheel), headers)
        return replace(claims, variant=label, variant_properties=properties)
    except (ValueError, RecursionError) as error:
        raise AuditError(f"the metadata can't be parsed: {str(error)[:200]}") from error


def without_metadata(name: str) -> Claims:
    """Return empty claims, for a target without metadata."""
    return Claims(
        name=name,
        version=Version("0"),
        tags=frozenset(),
        wheel_tags=frozenset(),
        root_is_purelib=False,
        requires_python=SpecifierSet(),
        stated=False,
    )


def _metadata_defects(named: Filename, wheel: Message, metadata: Message) -> Iterator[Defect]:
    for field in ("Metadata-Version", "Name", "Version"):
        if not _first(metadata, field):
            raise AuditError(f"METADATA has no {field}")
    name, version = _first(metadata, "Name"), Version(_first(metadata, "Version"))
    if (canonicalize_name(name), version) != (named.name, named.version):
        detail = f"METADATA is that of {name} {version}"
        yield Defect(DefectKind.METADATA, named.stem, detail)
    major = _first(wheel, "Wheel-Version").partition(".")[0]
    if major != _WHEEL_MAJOR:
        said = _first(wheel, "Wheel-Version") or "no Wheel-Version"
        yield Defect(DefectKind.METADATA, "WHEEL", f"{said}, but installers read 1.0")


def _claims(
    name: str, version: Version, tags: frozenset[Tag], wheel: Message, metadata: Message
) -> Claims:
    requires_python = _first(metadata, "Requires-Python")
    extras = frozenset(map(str, metadata.get_all("Provides-Extra", [])))
    if len(requires_python) > _MAX_LINE or len(extras) > _MAX_EXTRAS:
        raise AuditError("METADATA has too many extras, or a Requires-Python that is too long")
    try:
        python = SpecifierSet(requires_python)
    except InvalidSpecifier as error:
        raise AuditError(f"METADATA has Requires-Python {requires_python!r}: {error}") from error
    claims = Claims(
        name=name,
        version=version,
        tags=tags,
        wheel_tags=_wheel_tags(wheel),
        root_is_purelib=_first(wheel, "Root-Is-Purelib").lower() == "true",
        requires_python=python,
        torch_requirements=_requirements(metadata, _TORCH),
        cuda_requirements=_requirements(metadata, _CUDA),
        extras=extras,
    )
    return replace(claims, dependencies=tuple(dict.fromkeys(_dependencies(metadata, claims))))


def _headers(data: bytes) -> Message:
    """Parse only the headers: the text after them is as long as a project's README."""
    end = _BLANK_LINE.search(data)
    data = data[: end.start()] if end else data
    if len(data) > _MAX_HEADER_BYTES:
        raise AuditError(f"METADATA or WHEEL has headers of {len(data)} bytes")
    return HeaderParser().parsestr(data.decode("utf-8", "backslashreplace"))


def _first(headers: Message, name: str) -> str:
    return str(headers.get(name, "")).strip()


def _wheel_tags(headers: Message) -> frozenset[Tag]:
    tags: set[Tag] = set()
    expanded = 0
    for tag in dict.fromkeys(str(line).strip() for line in headers.get_all("Tag", [])):
        parts = tag.split("-")
        if len(parts) != 3 or not all(parts):
            raise AuditError(
                f"WHEEL has the tag {tag!r}, which does not have the form python-abi-platform"
            )
        stands_for = prod(part.count(".") + 1 for part in parts)
        if stands_for > _MAX_TAGS:
            raise AuditError(f"WHEEL has a tag that stands for more than {_MAX_TAGS}")
        expanded += stands_for  # counting the same tags again, if in a different order
        if expanded > _MAX_TAGS:
            raise AuditError(f"WHEEL has more than {_MAX_TAGS} tags")
        tags |= parse_tag(tag)
    return frozenset(tags)


def _dependencies(headers: Message, claims: Claims) -> Iterator[str]:
    """Yield the names of required projects, except torch and those that only extras require.

    Those whose markers hold in none of the environments that the wheel is for are left out.
    """
    work = Work()
    for line in map(str, headers.get_all("Requires-Dist", [])[:_MAX_DEPENDENCIES]):
        name, (_, _, marker) = _PROJECT_NAME.match(line), line.partition(";")
        if name is None or len(line) > _MAX_LINE or _EXTRA.search(marker):
            continue
        project = canonicalize_name(name[1])
        if _TORCH.fullmatch(project) is None and (not marker or _applies(line, claims, work)):
            yield project


def _applies(line: str, claims: Claims, work: Work) -> bool:
    """Whether a requirement applies in some environment; one that can't be evaluated may."""
    try:
        return any(applying_together(claims, (Requirement(line),), work))
    except (ValueError, AuditError):
        return True


def _requirements(headers: Message, pattern: re.Pattern[str]) -> tuple[Requirement, ...]:
    """Return the requirements on projects whose normalized names match a pattern."""
    requirements: list[Requirement] = []
    for line in map(str, headers.get_all("Requires-Dist", [])):
        name = _PROJECT_NAME.match(line)
        if name is None or pattern.fullmatch(canonicalize_name(name[1])) is None:
            continue
        if len(requirements) == _MAX_REQUIREMENTS:
            raise AuditError(
                f"METADATA has more than {_MAX_REQUIREMENTS} Requires-Dist of one project"
            )
        if len(line) > _MAX_LINE:
            raise AuditError(f"METADATA has a Requires-Dist of {len(line)} characters")
        try:
            requirement = Requirement(line)
            str(requirement)  # which raises for some values of markers
        except ValueError as error:
            reason = str(error).splitlines()[0]
            raise AuditError(f"METADATA has Requires-Dist {line[:_SHOWN]!r}: {reason}") from error
        requirements.append(requirement)
    return tuple(requirements)

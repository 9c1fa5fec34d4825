"""The claims that a wheel would make after a change to its metadata."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.tags import parse_tag

if TYPE_CHECKING:
    from torch_abi_audit.model import Claims, MetadataChange

_EXTRA = re.compile(r"(?<![\"'\w])extra(?![\"'\w])")


def amended(claims: Claims, change: MetadataChange) -> Claims:
    """Return the claims of a wheel after a change to its metadata.

    A new requirement on torch replaces all others, except those for an extra, and keeps the
    extras of torch that they require.

    Raises:
        ValueError: A requirement, a specifier or tags in the change are not valid.
    """
    if change.torch is not None:
        new = Requirement(change.torch)
        kept = [item for item in claims.torch_requirements if is_for_extra(item)]
        new.extras = {e for r in claims.torch_requirements if r not in kept for e in r.extras}
        claims = replace(claims, torch_requirements=(new, *kept))
    if change.python is not None:
        claims = replace(claims, requires_python=SpecifierSet(change.python))
    if change.tags is not None:
        tags = parse_tag(change.tags)
        filename = claims.filename and amended_filename(claims.filename, change.tags)
        claims = replace(claims, tags=tags, wheel_tags=tags, filename=filename)
    return claims


def amended_filename(filename: str, tags: str) -> str:
    """Return the filename of a wheel with other tags; a build number and a variant stay.

    >>> amended_filename("x-1.0-2-cp312-cp312-linux_x86_64.whl", "py3-none-any")
    'x-1.0-2-py3-none-any.whl'
    """
    parts = filename.removesuffix(".whl").split("-")
    first = 3 if parts[2][:1].isdigit() else 2
    return "-".join([*parts[:first], tags, *parts[first + 3 :]]) + ".whl"


def is_for_extra(requirement: Requirement) -> bool:
    """Whether a requirement depends on an extra."""
    return requirement.marker is not None and bool(_EXTRA.search(str(requirement.marker)))

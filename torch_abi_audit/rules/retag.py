"""Fixes that change the tags of a wheel."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from packaging.tags import parse_tag

from torch_abi_audit.abi.modules import is_for_stable_abi
from torch_abi_audit.claims.python_tags import (
    PYTHONS,
    STABLE_ABIS,
    admitted_pythons,
    tag_parts,
)
from torch_abi_audit.model import Fix, MetadataChange, PythonAbi, PythonVersion
from torch_abi_audit.wording import limited_api

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from packaging.tags import Tag

    from torch_abi_audit.model import LibraryAudit, Subject

_ANY_PYTHON = parse_tag("py3-none-any")
# If neither a tag nor Requires-Python names one: the oldest that torch 2.4 runs on.
_OLDEST = PythonVersion(3, 8)


def retag(
    subject: Subject,
    *,
    pythons: Iterable[str] | None = None,
    abis: Iterable[str] | None = None,
    platforms: Iterable[str] | None = None,
) -> MetadataChange | None:
    """Return the change that replaces parts of the tags; the others stay as they are.

    None for tags that no filename can contain, as some installed packages have.
    """
    tags = subject.claims.tags
    if not tags or parse_tag("-".join(tag_parts(tags))) != tags:
        return None
    new = [
        old if part is None else ".".join(sorted(set(part)))
        for old, part in zip(tag_parts(tags), (pythons, abis, platforms), strict=True)
    ]
    return MetadataChange(tags="-".join(new)) if all(new) else None


def cp(python: PythonVersion) -> str:
    """Return a CPython release as spelled in tags: ``cp310``."""
    return f"cp{python.major}{python.minor}"


def python_tag(tags: Iterable[Tag]) -> str:
    """Return tags without the platform, as spelled in filenames: ``cp315-abi3.abi3t``."""
    return "-".join(tag_parts(tags)[:2])


def stable_abi_fix(subject: Subject, users: Sequence[LibraryAudit]) -> Fix:
    """Return the fix that tags a wheel for the stable ABI of CPython.

    Changing only the tag is right if the modules' names say that they were built for the stable
    ABI. Otherwise they must be rebuilt for it: importing nothing else does not make them stable.

    Args:
        subject: The wheel.
        users: The libraries that use the C API, none of them outside the stable ABI.
    """
    floor = max(
        # equivalent: each of them has a floor
        [oldest_python(subject), *(item.python.floor for item in users if item.python.floor)]
    )
    abis = ["abi3"]
    if all(item.python.abi is PythonAbi.ABI3T for item in users):
        abis = ["abi3", "abi3t"]
    tag = f"{cp(floor)}-{'.'.join(abis)}"
    if all(is_for_stable_abi(item.path) for item in users):
        return Fix(f"tag the wheel {tag}", retag(subject, pythons=[cp(floor)], abis=abis))
    macros = f"-DPy_LIMITED_API={limited_api(floor)}"
    return Fix(f"build with {macros} and py_limited_api=True, and tag the wheel {tag}")


def oldest_python(subject: Subject) -> PythonVersion:
    """Return the oldest Python that a wheel for the stable ABI should be for.

    The tag counts if it covers later releases too; a tag for a single release says nothing
    about the project's other wheels, so it counts only if there is nothing better.
    """
    claims = subject.claims
    tags = claims.tags
    for_later = any(tag.interpreter.startswith("py") or tag.abi in STABLE_ABIS for tag in tags)
    if claims.requires_python and not for_later:
        claims = replace(claims, tags=_ANY_PYTHON)
    allowed = admitted_pythons(claims)
    return allowed[0] if allowed and allowed[0] > PYTHONS[0] else _OLDEST

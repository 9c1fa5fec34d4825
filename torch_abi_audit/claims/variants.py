"""Variant wheels: the label in the filename, and the properties that the label stands for.

**This follows drafts.** Nothing of it is accepted, no released installer reads it, and all that
depends on the text of the drafts is in this module:

* PEP 825, *Wheel Variants: Package Format*: status Draft, with the changes of 10 August 2026
  (merged on 13 August), format 0.1.1. From it: the label, ``variant.json``, the index's
  ``{name}-{version}-variants.json``, the label ``null``, what makes properties compatible (one
  value of each feature is enough), and the markers of ``Requires-Dist`` that ask for the variant,
  which the draft calls an open issue.
* PEP 850, *Wheel Variants: Providers*: status Draft, created on 15 October 2026. Of its text only
  the abstract was at hand. It reserves a provider for the ABI of dependencies; how that one
  matches follows the same section in the authors' draft of 12 March 2026, in PEP 817 and in
  variantlib 0.0.3: ``abi_dependency :: torch :: 2.12`` stands for ``torch==2.12.*``.
* The provider for NVIDIA, nvidia-variant-provider 0.0.2: ``cuda_version_lower_bound`` and
  ``cuda_version_upper_bound`` bound the CUDA version of the driver, the upper one exclusively.

Earlier formats (0.0.3) have more keys next to those that are read here, and newer ones may.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from torch_abi_audit.errors import AuditError
from torch_abi_audit.model import VariantProperty

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

DRAFTS = "PEP 825 and PEP 850, drafts"
VARIANT_FILE = "variant.json"  # in .dist-info
NULL = "null"  # the label of the variant without properties
ABI_DEPENDENCY = "abi_dependency"
TORCH_PROPERTY = f"{ABI_DEPENDENCY}::torch::"
_NVIDIA, _LOWER, _UPPER = "nvidia", "cuda_version_lower_bound", "cuda_version_upper_bound"

_LABEL = re.compile(r"[0-9a-z_.]+")
_NAME = re.compile(r"[a-z0-9_]+")  # of a namespace or a feature
_VALUE = re.compile(r"[a-z0-9_.]+")
_SCHEMA_VERSION = re.compile(r"v(\d{1,9})\.\d+\.\d+\.json\Z")
_NEWEST_MAJOR = 1  # drafts are 0
# Up to three numbers of a release; `2`, `2.0` and `2.0.0` stand for different ranges.
_SERIES = re.compile(r"\d{1,9}(?:\.\d{1,9}){0,2}")
_CUDA = re.compile(r"(\d{1,4})(?:\.(\d{1,4}))?")
# Far more than any wheel has.
_MOST_LABELS, _MOST_PROPERTIES, _MOST_VALUES, _LONGEST = 2_000, 500, 64, 200
_MOST_PAIRS = 300  # of a requirement and a property, each of which is one more requirement

Variants = dict[str, tuple[VariantProperty, ...]]


def split_label(filename: str) -> tuple[str, str | None]:
    """Split a wheel's filename into the one without a variant label, and the label.

    The label is the last part of a name with one part too many. A build tag, which comes where a
    name without one has the Python tag, begins with a digit, and a Python tag does not.

    >>> split_label("x-1.0-py3-none-any-cu128.whl")
    ('x-1.0-py3-none-any.whl', 'cu128')

    Raises:
        AuditError: There are too many parts for any wheel.
    """
    parts = filename.removesuffix(".whl").split("-")
    built = len(parts) > 2 and parts[2][:1].isdigit()
    label = parts.pop() if len(parts) == 6 + built else None
    if label is not None and _LABEL.fullmatch(label) is None:
        raise AuditError(f"Invalid wheel filename: {filename!r} has too many parts")
    return "-".join(parts) + ".whl", label


def is_variant(filename: str) -> bool:
    """Whether a filename is that of a variant wheel."""
    try:
        return filename.endswith(".whl") and split_label(filename)[1] is not None
    except AuditError:
        return False


def described_release(filename: str, project: str) -> Version | None:
    """Return the release whose variants a file of an index describes; None for other files.

    Args:
        filename: Its name, such as ``x-1.0-variants.json``.
        project: The normalized name of the project.
    """
    stem = filename.removesuffix("-variants.json")
    name, _, version = stem.partition("-")
    if stem == filename or canonicalize_name(name) != project:
        return None
    try:
        return Version(version)
    except InvalidVersion:
        return None


def parse_variants(data: bytes) -> Variants:
    """Parse ``variant.json``, or the file of an index for all variants of a release.

    Returns:
        The properties by label, in a fixed order.

    Raises:
        AuditError: It does not have the form that the draft gives it, so that tools should not
            rely on it.
    """
    try:
        document = json.loads(data.decode(), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise AuditError(f"not JSON: {reason[:_LONGEST]}") from error
    top = _mapping(document, "the document")
    schema = top.get("$schema")
    version = _SCHEMA_VERSION.search(schema) if isinstance(schema, str) else None
    if version is None:
        raise AuditError("no $schema with a version")
    if int(version[1]) > _NEWEST_MAJOR:
        raise AuditError(f"format {version[1]} is newer than the draft that is known here")
    priorities = _mapping(top.get("default-priorities"), "default-priorities")
    ordered = priorities.get("namespace")
    if not isinstance(ordered, list):
        raise AuditError("default-priorities has no list of namespaces")
    labels = _mapping(top.get("variants"), "variants")
    if len(labels) > _MOST_LABELS:
        raise AuditError(f"more than {_MOST_LABELS} variants")
    found = {}
    for label, namespaces in labels.items():
        properties = tuple(sorted(_properties(_named(_LABEL, label), namespaces)))
        # The namespace for dependencies has no place in the order (draft of PEP 850).
        lost = {item.namespace for item in properties} - {ABI_DEPENDENCY, *map(str, ordered)}
        if lost:
            raise AuditError(f"default-priorities does not have the namespace {min(lost)}")
        if label == NULL and properties:
            raise AuditError("the null variant has properties")
        found[label] = properties
    return found


def _properties(label: str, namespaces: Any) -> Iterable[VariantProperty]:
    number = 0
    for namespace, features in _mapping(namespaces, label).items():
        for feature, values in _mapping(features, _named(_NAME, namespace)).items():
            _named(_NAME, feature)
            if not isinstance(values, list) or not 0 < len(values) <= _MOST_VALUES:
                raise AuditError(f"{namespace}::{feature} is not a list of values")
            number += len(values)
            if number > _MOST_PROPERTIES:
                raise AuditError(f"the variant {label} has more than {_MOST_PROPERTIES} properties")
            given = [_named(_VALUE, value) for value in values]
            if len(set(given)) != len(given):
                raise AuditError(f"{namespace}::{feature} has a value twice")
            for value in given:
                yield VariantProperty(namespace, feature, value)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has a key twice")
    return found


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise AuditError(f"{what} is not an object")
    return value


def _named(pattern: re.Pattern[str], value: Any) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST or pattern.fullmatch(value) is None:
        raise AuditError(f"{str(value)[:_LONGEST]!r} has other characters than the draft allows")
    return value


def parse_variant(data: bytes, label: str) -> tuple[VariantProperty, ...]:
    """Parse the ``variant.json`` of a wheel.

    Args:
        data: Its contents.
        label: The label in the wheel's filename.

    Raises:
        AuditError: It does not have the form that the draft gives it, or is not about that label.
    """
    variants = parse_variants(data)
    if list(variants) != [label]:
        named = ", ".join(list(variants)[:3]) or "no variant"
        raise AuditError(f"describes {named[:_LONGEST]}, but the filename says {label}")
    return variants[label]


def resolved(line: str, label: str | None, properties: Sequence[VariantProperty]) -> str | None:
    """Return a requirement without the markers that ask for a variant; None if it never applies.

    They depend on the wheel, and where a feature has several values also on the system: then any
    of these may be there, which no other marker says; ``platform_release`` stands in for it.

    Args:
        line: The requirement, as in ``Requires-Dist``.
        label: The label of the wheel.
        properties: What it stands for.
    """
    head, _, marker = line.partition(";")
    if "variant_" not in marker:
        return line

    def replaced(match: re.Match[str]) -> str:
        quoted, operator, name, negated = match["quoted"], match["in"], match["set"], False
        if match["label"]:
            name, operator, quoted = "variant_label", match["is"], match["label"]
        elif match["turned"]:
            name, operator = "variant_label", match["turned"]
        if not name:
            return match[0]
        asked = "::".join(part.strip() for part in quoted[1:-1].split("::"))
        if name == "variant_label":
            holds: bool | None = asked == (label or "")
            negated = operator == "!="
        else:
            holds = _is_given(name, asked, properties)
            negated = operator.startswith("not")
        if holds is None:
            return f"platform_release {'!=' if negated else '=='} {quoted[0]}{asked}{quoted[0]}"
        return _ALWAYS if holds is not negated else _NEVER

    left = _VARIANT_MARKER.sub(replaced, marker).strip()
    if left in {_ALWAYS, _NEVER}:
        return head if left == _ALWAYS else None
    return f"{head}; {left}"


def _is_given(name: str, asked: str, properties: Sequence[VariantProperty]) -> bool | None:
    """Whether a set of the markers has a string; None if that depends on the system."""
    size = {"variant_properties": 3, "variant_features": 2, "variant_namespaces": 1}[name]
    if not any("::".join(item[:size]) == asked for item in properties):
        return False
    values = [item for item in properties if "::".join(item[:2]) == asked.rpartition("::")[0]]
    return None if size == 3 and len(values) > 1 else True


_ALWAYS, _NEVER = 'python_version >= "0"', 'python_version < "0"'
# Strings are matched first, so that nothing within one is taken for a comparison.
_VARIANT_MARKER = re.compile(
    r"""(?P<quoted>"[^"]*"|'[^']*')
        (?:\s*(?P<in>not\s+in|in)\s+(?P<set>variant_(?:properties|features|namespaces))\b
          |\s*(?P<turned>==|!=)\s*variant_label\b)?
      |\bvariant_label\s*(?P<is>==|!=)\s*(?P<label>"[^"]*"|'[^']*')""",
    re.VERBOSE,
)


def installed_variant(data: bytes) -> tuple[str | None, tuple[VariantProperty, ...]]:
    """Return the label and the properties of an installed variant; none if they are not clear."""
    try:
        ((label, properties),) = parse_variants(data).items()
    except (AuditError, ValueError):
        return None, ()
    return label, properties


def is_series(value: str) -> bool:
    """Whether a value of `abi_dependency` is one that a release can match."""
    return _SERIES.fullmatch(value) is not None


def torch_properties(properties: Iterable[VariantProperty]) -> tuple[VariantProperty, ...]:
    """Return the properties that say for which torch a wheel is: one of them has to match."""
    return tuple(item for item in properties if item[:2] == (ABI_DEPENDENCY, "torch"))


def series_of(item: VariantProperty) -> SpecifierSet:
    """Return what a property of `abi_dependency` stands for; see `is_series`."""
    return SpecifierSet(f"=={item.value}.*")


def narrowed(
    required: Sequence[SpecifierSet | None], properties: Iterable[VariantProperty]
) -> tuple[SpecifierSet | None, ...]:
    """Return requirements on torch with the properties of a variant, which restrict them.

    An installer that implements the drafts takes the wheel only next to a torch that one of them
    names, and others don't take it at all: its filename is not valid to them.

    Args:
        required: The metadata's requirements, None for none; see `torch_specifiers`.
        properties: The properties of the variant.

    Raises:
        AuditError: They are too many.
    """
    series = [series_of(p) for p in torch_properties(properties) if is_series(p.value)]
    if not series:
        return tuple(required)
    if len(required) * len(series) > _MOST_PAIRS:
        raise AuditError("too many requirements on torch, and properties for it, to evaluate")
    both = {demand & one if demand is not None else one for demand in required for one in series}
    return tuple(sorted(both, key=str))


def torch_property(requirement: str) -> VariantProperty | None:
    """Return the property that stands for a pin to a minor release, such as ``torch==2.12.*``."""
    match = re.fullmatch(r"torch==(\d+\.\d+)\.\*", requirement)
    return VariantProperty(ABI_DEPENDENCY, "torch", match[1]) if match else None


def cuda_bounds(
    properties: Iterable[VariantProperty],
) -> Mapping[bool, tuple[VariantProperty, tuple[int, int]]]:
    """Return the bounds on the CUDA version of the driver.

    One value is enough, so of several the widest counts; what is not a version is left out.

    Returns:
        At False the lower bound, at True the upper one, which is exclusive: the property, and
        the major and minor number. What is not bounded is absent.
    """
    found: dict[bool, tuple[VariantProperty, tuple[int, int]]] = {}
    for item in properties:
        match = _CUDA.fullmatch(item.value)
        if item.namespace != _NVIDIA or item.feature not in {_LOWER, _UPPER} or match is None:
            continue
        upper = item.feature == _UPPER
        version = (int(match[1]), int(match[2] or 0))
        if upper not in found or (version > found[upper][1]) is upper:
            found[upper] = item, version
    return found


def cuda_bound(major: int, *, upper: bool) -> VariantProperty:
    """Return the bound that fits libraries for a major version of CUDA."""
    feature, number = (_UPPER, major + 1) if upper else (_LOWER, major)
    return VariantProperty(_NVIDIA, feature, f"{number}.0")

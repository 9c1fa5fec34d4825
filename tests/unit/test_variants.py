"""The drafts of wheel variants: labels, the file of properties, and what these stand for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from tests.builders import METADATA, a_library, write_wheel
from torch_abi_audit.budget import Limits
from torch_abi_audit.claims.torch_requirement import torch_specifiers
from torch_abi_audit.claims.variants import (
    cuda_bound,
    cuda_bounds,
    described_release,
    installed_variant,
    is_variant,
    narrowed,
    parse_variant,
    parse_variants,
    resolved,
    split_label,
    torch_property,
)
from torch_abi_audit.errors import AuditError
from torch_abi_audit.model import Defect, DefectKind, MetadataChange, VariantProperty
from torch_abi_audit.targets.amend import amended_files
from torch_abi_audit.targets.metadata import parse_installed
from torch_abi_audit.targets.wheel import read_dist_info, read_wheel

SCHEMA = "https://variants-schema.wheelnext.dev/peps/825/v0.1.1.json"
TORCH = VariantProperty("abi_dependency", "torch", "2.12")
DRIVER = VariantProperty("nvidia", "cuda_version_lower_bound", "12.8")
LABEL = "x-1.0-py39-none-manylinux_2_28_x86_64-torch2.12.whl"


def document(variants: Any, **changes: Any) -> bytes:
    whole = {
        "$schema": SCHEMA,
        "default-priorities": {"namespace": ["nvidia"]},
        "variants": variants,
    }
    whole.update((name.replace("_", "-"), value) for name, value in changes.items())
    return json.dumps({name: value for name, value in whole.items() if value != "absent"}).encode()


OF_TORCH = {"abi_dependency": {"torch": ["2.12"]}}
BOTH = document({"torch2.12": {**OF_TORCH, "nvidia": {"cuda_version_lower_bound": ["12.8"]}}})


@pytest.mark.parametrize(
    ("filename", "plain", "label"),
    [
        ("x-1.0-py3-none-any.whl", "x-1.0-py3-none-any.whl", None),
        ("x-1.0-1-py3-none-any.whl", "x-1.0-1-py3-none-any.whl", None),
        ("x-1.0-py3-none-any-cu12.8_a.whl", "x-1.0-py3-none-any.whl", "cu12.8_a"),
        ("x-1.0-1-py3-none-any-null.whl", "x-1.0-1-py3-none-any.whl", "null"),
    ],
)
def test_labels(filename: str, plain: str, label: str | None) -> None:
    assert split_label(filename) == (plain, label)
    assert is_variant(filename) is (label is not None)


@pytest.mark.parametrize("label", ["CU128", "cu+128", "", "é"])
def test_other_labels_are_none(label: str) -> None:
    filename = f"x-1.0-py3-none-any-{label}.whl"
    assert not is_variant(filename)
    with pytest.raises(AuditError, match="too many parts"):
        split_label(filename)


@pytest.mark.parametrize(
    ("filename", "release"),
    [
        ("demo_pkg-1.0-variants.json", "1.0"),
        ("demo_pkg-1.0+cu12-variants.json", "1.0+cu12"),
        ("other-1.0-variants.json", None),
        ("demo_pkg-x-variants.json", None),
        ("demo_pkg-1.0.json", None),
        ("-variants.json", None),
    ],
)
def test_files_that_describe_a_release(filename: str, release: str | None) -> None:
    expected = None if release is None else Version(release)
    assert described_release(filename, "demo-pkg") == expected


def test_properties() -> None:
    assert parse_variants(BOTH) == {"torch2.12": (TORCH, DRIVER)}
    assert parse_variant(BOTH, "torch2.12") == (TORCH, DRIVER)
    assert parse_variant(document({"null": {}}), "null") == ()
    assert str(TORCH) == "abi_dependency::torch::2.12"


def test_keys_of_other_formats_are_left_alone() -> None:
    data = document({"cu": OF_TORCH}, providers={"nvidia": {"requires": ["a"]}})
    assert parse_variants(data) == {"cu": (TORCH,)}
    stable = "https://packaging.python.org/variants/v1.4.0.json"
    assert parse_variants(document({"cu": OF_TORCH}, **{"$schema": stable})) == {"cu": (TORCH,)}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": 1, "a": 1}', "a key twice"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "not JSON"),
        (b"[]", "the document is not an object"),
        (document({}, **{"$schema": "absent"}), "no \\$schema with a version"),
        (document({}, **{"$schema": 1}), "no \\$schema with a version"),
        (document({}, **{"$schema": SCHEMA.replace("v0", "v2")}), "format 2 is newer"),
        (document({}, default_priorities="absent"), "default-priorities is not an object"),
        (document({}, default_priorities={}), "no list of namespaces"),
        (document([]), "variants is not an object"),
        (document({"CU": {}}), "'CU' has other characters"),
        (document({"cu": []}), "cu is not an object"),
        (document({"cu": {"a b": {}}}), "'a b' has other characters"),
        (document({"cu": {"nvidia": []}}), "nvidia is not an object"),
        (document({"cu": {"nvidia": {"A": ["1"]}}}), "'A' has other characters"),
        (document({"cu": {"nvidia": {"a": []}}}), "nvidia::a is not a list of values"),
        (document({"cu": {"nvidia": {"a": "1"}}}), "nvidia::a is not a list of values"),
        (document({"cu": {"nvidia": {"a": [1]}}}), "'1' has other characters"),
        (document({"cu": {"nvidia": {"a": ["\x1b[31m"]}}}), "has other characters"),
        (document({"cu": {"nvidia": {"a": ["1" * 201]}}}), "has other characters"),
        (document({"cu": {"nvidia": {"a": ["1", "1"]}}}), "nvidia::a has a value twice"),
        (
            document({"cu": {"intel": {"a": ["1"]}, "amd": {"a": ["1"]}}}),
            "does not have the namespace amd",
        ),
        (document({"null": OF_TORCH}), "the null variant has properties"),
        (document({"cu": {"nvidia": {"a": list(map(str, range(65)))}}}), "is not a list of values"),
        (
            document({"cu": {"nvidia": {f"a{i}": list(map(str, range(60))) for i in range(9)}}}),
            "more than 500 properties",
        ),
        (document({f"cu{i}": {} for i in range(2_001)}), "more than 2000 variants"),
    ],
)
def test_what_does_not_follow_the_draft(data: bytes, reason: str) -> None:
    with pytest.raises(AuditError, match=reason) as caught:
        parse_variants(data)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("variants", "reason"),
    [
        ({}, "describes no variant, but the filename says cu"),
        ({"cu12": {}}, "describes cu12, but the filename says cu"),
        ({"cu": {}, "cu12": {}}, "describes cu, cu12, but the filename says cu"),
    ],
)
def test_a_wheel_describes_its_own_variant_only(variants: Any, reason: str) -> None:
    with pytest.raises(AuditError, match=reason):
        parse_variant(document(variants), "cu")


def test_a_wheel_with_properties(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, {"x-1.0.dist-info/variant.json": BOTH}, name=LABEL)
    contents = read_wheel(path)
    assert contents.claims.variant == "torch2.12"
    assert contents.claims.variant_properties == (TORCH, DRIVER)
    assert contents.defects == ()


@pytest.mark.parametrize(
    ("name", "data", "detail"),
    [
        (LABEL, None, "not in the archive"),
        (LABEL, b"{}", "no $schema with a version"),
        (LABEL, b" " * ((1 << 20) + 1), "x-1.0.dist-info/variant.json of 1048577 bytes"),
        ("x-1.0-py39-none-any.whl", BOTH, "the filename has no variant label"),
    ],
)
def test_a_wheel_with_wrong_properties(
    tmp_path: Path, name: str, data: bytes | None, detail: str
) -> None:
    member = "x-1.0.dist-info/variant.json"
    files = {} if data is None else {member: data}
    contents = read_wheel(write_wheel(tmp_path, files, name=name, metadata=METADATA))
    assert contents.claims.variant_properties == ()
    assert contents.defects == (Defect(DefectKind.VARIANT, member, detail),)


def of_torch(*values: str) -> list[VariantProperty]:
    return [TORCH._replace(value=value) for value in values]


@pytest.mark.parametrize(
    ("value", "matched"),
    [
        ("2", {"2.0.0", "2.8.0", "2.8.1", "2.12.0"}),
        ("2.0", {"2.0.0"}),
        ("2.8", {"2.8.0", "2.8.1"}),
        ("2.8.0", {"2.8.0"}),
        ("2.1", set()),
    ],
)
def test_a_property_stands_for_a_series(value: str, matched: set[str]) -> None:
    (demand,) = narrowed([None], of_torch(value))
    assert demand is not None
    releases = ("2.0.0", "2.8.0", "2.8.1", "2.12.0", "3.0.0")
    assert {release for release in releases if demand.contains(release)} == matched


def test_requirements_are_narrowed() -> None:
    required = [None, SpecifierSet(">=2.9")]
    assert narrowed(required, [DRIVER]) == (None, SpecifierSet(">=2.9"))
    assert narrowed(required, of_torch("2.x")) == (None, SpecifierSet(">=2.9"))
    assert set(narrowed(required, [*of_torch("2.9.0", "2.10", "v2"), DRIVER])) == {
        SpecifierSet("==2.9.0.*"),
        SpecifierSet("==2.10.*"),
        SpecifierSet("==2.9.0.*,>=2.9"),
        SpecifierSet("==2.10.*,>=2.9"),
    }
    assert narrowed([], of_torch("2.9")) == ()


def test_too_many_to_evaluate() -> None:
    required = [SpecifierSet(f"!=2.{number}") for number in range(10)]
    assert len(narrowed(required, of_torch(*map(str, range(30))))) == 300
    with pytest.raises(AuditError, match="too many"):
        narrowed(required, of_torch(*map(str, range(31))))


def test_a_pin_as_a_property() -> None:
    assert torch_property("torch==2.12.*") == TORCH
    assert torch_property("torch==2.12.1") is None
    assert torch_property("torch>=2.12,<2.14") is None


TWO = (*of_torch("2.8.0", "2.9.0"), DRIVER)


@pytest.mark.parametrize(
    ("marker", "left"),
    [
        ('"nvidia" in variant_namespaces', "torch"),
        ("'nvidia' not in variant_namespaces", None),
        ("'amd' in variant_namespaces", None),
        ('"nvidia :: cuda_version_lower_bound" in variant_features', "torch"),
        ('"nvidia::cuda_version_lower_bound::12.8" in variant_properties', "torch"),
        ('"nvidia::cuda_version_lower_bound::12.9" in variant_properties', None),
        ('"abi_dependency :: torch :: 2.7.0" not in variant_properties', "torch"),
        (
            '"abi_dependency :: torch :: 2.8.0" in variant_properties',
            'torch; platform_release == "abi_dependency::torch::2.8.0"',
        ),
        ("variant_label == 'cu'", "torch"),
        ("'cu' != variant_label", None),
        ("variant_label == 'null'", None),
        (
            "sys_platform == 'linux' and ('a' in variant_namespaces or variant_label != '')",
            'torch; sys_platform == \'linux\' and (python_version < "0" or python_version >= "0")',
        ),
        (
            """extra == "'a' in variant_namespaces variant_label == ''" """,
            """torch; extra == "'a' in variant_namespaces variant_label == ''\"""",
        ),
        ("sys_platform == 'linux'", "torch; sys_platform == 'linux'"),
    ],
)
def test_markers_that_ask_for_the_variant(marker: str, left: str | None) -> None:
    assert resolved(f"torch; {marker}".rstrip(), "cu", TWO) == left


def test_markers_in_a_wheel(tmp_path: Path) -> None:
    metadata = (
        f"{METADATA}Requires-Dist: torch==2.12.*; 'abi_dependency :: torch :: 2.12' in"
        " variant_properties\n"
        "Requires-Dist: torch==2.13.*; 'abi_dependency::torch::2.13' in variant_properties\n"
        "Requires-Dist: nvidia-cuda-runtime; sys_platform == 'linux' and 'nvidia' in"
        " variant_namespaces\n"
    )
    files = {"x-1.0.dist-info/variant.json": BOTH}
    claims = read_wheel(write_wheel(tmp_path, files, name=LABEL, metadata=metadata)).claims
    assert list(map(str, claims.torch_requirements)) == ["torch==2.12.*"]
    assert torch_specifiers(claims) == (SpecifierSet("==2.12.*"),)
    assert [str(item.name) for item in claims.cuda_requirements] == ["nvidia-cuda-runtime"]
    plain = write_wheel(tmp_path, name="x-1.0-py39-none-any.whl", metadata=metadata)
    assert read_wheel(plain).claims.torch_requirements == ()


def test_several_releases_in_one_wheel() -> None:
    lines = [
        f"torch=={release}; 'abi_dependency::torch::{release}' in variant_properties"
        for release in ("2.8.0", "2.9.0")
    ]
    claims = parse_installed(
        b"Tag: py39-none-manylinux_2_28_x86_64\n",
        (METADATA + "".join(f"Requires-Dist: {line}\n" for line in lines)).encode(),
        document({"cu": {"abi_dependency": {"torch": ["2.8.0", "2.9.0"]}}}),
    )
    assert claims.variant == "cu"
    assert [p.value for p in claims.variant_properties] == ["2.8.0", "2.9.0"]
    assert set(torch_specifiers(claims)) >= {SpecifierSet("==2.8.0"), SpecifierSet("==2.9.0")}
    assert installed_variant(document({"a": {}, "b": {}})) == (None, ())
    assert installed_variant(b"{") == (None, ())


def bounds(**values: str) -> list[VariantProperty]:
    return [
        VariantProperty("nvidia", f"cuda_version_{name}_bound", value)
        for name, several in values.items()
        for value in several.split()
    ]


def test_bounds_on_the_driver() -> None:
    found = cuda_bounds([TORCH, *bounds(lower="12.8 12 13.0", upper="13 14.2 x")])
    assert {upper: version for upper, (_, version) in found.items()} == {
        False: (12, 0),
        True: (14, 2),
    }
    assert str(found[True][0]) == "nvidia::cuda_version_upper_bound::14.2"
    assert cuda_bounds([TORCH, *bounds(lower="x 12.8.1")]) == {}
    assert str(cuda_bound(13, upper=False)) == "nvidia::cuda_version_lower_bound::13.0"
    assert str(cuda_bound(13, upper=True)) == "nvidia::cuda_version_upper_bound::14.0"


def test_a_variant_is_repaired(tmp_path: Path) -> None:
    metadata = (
        f"{METADATA}Requires-Dist: torch>=2.9; variant_label == 'torch2.12'\n"
        "Requires-Dist: torch>=2.13; variant_label == 'torch2.13'\n"
    )
    files = {"x-1.0.dist-info/variant.json": BOTH, "x/_C.so": a_library()}
    path = write_wheel(tmp_path, files, name=LABEL, metadata=metadata)
    claims = read_wheel(path).claims
    dist_info = read_dist_info(path, Limits())
    changed = amended_files(dist_info, claims, MetadataChange(torch="torch>=2.10"))
    assert changed["x-1.0.dist-info/METADATA"].decode() == (
        f"{METADATA}Requires-Dist: torch>=2.10\n"
        "Requires-Dist: torch>=2.13; variant_label == 'torch2.13'\n"
    )

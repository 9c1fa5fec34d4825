"""Properties of variant wheels against the binaries: what is said, and what no other rule says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from tests.builders import CATALOG, claims, fix_of, library, shown, subject
from torch_abi_audit.claims.variants import narrowed
from torch_abi_audit.model import (
    BuiltWith,
    Cell,
    DemandSource,
    Finding,
    LayoutChange,
    LayoutStatus,
    Library,
    Matrix,
    ReleaseStatus,
    Severity,
    Sign,
    Subject,
    VariantProperty,
)
from torch_abi_audit.rules import run_rules

TORCH = ("libtorch_cpu.so",)
STABLE = library("torch_ten", needed=TORCH)  # since 2.10
UNSTABLE = library("_ZN2at6TensorD1Ev", needed=TORCH)  # in every release
NEW = library("_ZN2at3newEv", needed=TORCH)  # since 2.10


def variant(
    item: Library, *properties: str, torch: str = "torch>=2.8", label: str = "cu"
) -> Subject:
    parsed = tuple(VariantProperty(*text.split("::")) for text in properties)
    promised = replace(
        claims(torch=(torch,) if torch else ()), variant=label, variant_properties=parsed
    )
    return subject({"x/_C.so": item}, promised)


def of_torch(*values: str) -> list[str]:
    return [f"abi_dependency::torch::{value}" for value in values]


def found(item: Subject) -> list[Finding]:
    ours = {"variant-mismatch", "torch-symbol-missing", "layout-changed", "torch-unpinned"}
    ours |= {"torch-floor-understated", "torch-floor-overstated", "unknown-release"}
    return [finding for finding in run_rules(item, CATALOG) if finding.rule in ours]


def built_with(item: Subject, release: str, layouts: dict[str, LayoutStatus]) -> Subject:
    """Let a library have been built with a release, and classes be laid out in others as said."""
    change = LayoutChange("c10::TensorImpl", "184 to 176 bytes", Version("2.11.0"), grave=True)
    row = {
        r: Cell(
            cell.status,
            cell.reasons,
            layouts.get(str(r), LayoutStatus.UNKNOWN),
            (change,) if layouts.get(str(r)) is LayoutStatus.CHANGED else (),
        )
        for r, cell in item.matrix.row.items()
    }
    matrix = Matrix({"x/_C.so": row}, row)
    built = BuiltWith((Version(release),), Sign.ASSERTIONS)
    return replace(item, matrix=matrix, built={"x/_C.so": built})


def test_a_property_restricts_as_a_pin_does() -> None:
    item = variant(UNSTABLE, *of_torch("2.10"))
    (note,) = found(item)
    assert (note.rule, note.severity) == ("variant-mismatch", Severity.NOTE)
    assert note.message == (
        "only the variant property keeps the wheel to torch 2.10: nothing prevents a later upgrade"
        " of torch"
    )
    assert shown(note) == ("torch>=2.8",)
    assert found(variant(UNSTABLE, *of_torch("2.10"), torch="torch==2.10.*")) == []


def test_what_a_variant_confines_is_declared_as_a_pin() -> None:
    def declared(item: Subject) -> list[str]:
        return [fix_of(f) for f in run_rules(item, CATALOG) if f.rule == "torch-undeclared"]

    item = variant(UNSTABLE, *of_torch("2.10"), torch="")
    assert declared(item) == ['dependencies = ["torch==2.10.*"]']
    item = variant(STABLE, *of_torch("2.10"), torch="")
    assert declared(item) == ['dependencies = ["torch>=2.10"]']
    # Of the same layouts, and so with no pin to one of them.
    unchanged = dict.fromkeys(("2.9.0", "2.9.1", "2.10.0"), LayoutStatus.UNCHANGED)
    item = built_with(variant(UNSTABLE, *of_torch("2.9", "2.10"), torch=""), "2.10.0", unchanged)
    assert declared(item) == ['dependencies = ["torch>=2.9,<2.11"]']


def test_releases_that_the_user_asks_about_are_no_pin() -> None:
    item = variant(UNSTABLE, *of_torch("2.10"), torch="")
    asked = replace(item, demands=(SpecifierSet("==2.9.*"),), source=DemandSource.TORCH)
    assert [fix_of(f) for f in run_rules(asked, CATALOG) if f.rule == "torch-undeclared"] == [
        'dependencies = ["torch"]'
    ]


def test_without_a_property_it_is_named_beside_the_pin() -> None:
    (hit,) = found(variant(NEW, torch="torch>=2.11,<3"))
    assert hit.rule == "torch-unpinned"
    item = built_with(variant(NEW), "2.10.0", {})
    (hit,) = found(item)
    assert hit.rule == "torch-unpinned"
    pin = 'dependencies = ["torch==2.10.*"]'
    assert fix_of(hit) == f"{pin}, or abi_dependency::torch::2.10 in variant.json"
    plain = replace(item, claims=replace(item.claims, variant=None))
    assert [fix_of(hit) for hit in found(plain)] == [pin]


def test_a_wide_property_does_not_restrict_enough() -> None:
    (hit,) = found(variant(UNSTABLE, *of_torch("2")))
    assert hit.rule == "torch-unpinned"


def test_a_release_that_it_does_not_load_on() -> None:
    (hit,) = found(variant(NEW, *of_torch("2.9")))
    assert (hit.rule, hit.severity) == ("variant-mismatch", Severity.ERROR)
    assert hit.message == (
        "the variant property abi_dependency::torch::2.9 is wrong: the wheel does not load on torch"
        " 2.9, which lacks at::new"
    )
    assert hit.libraries == ("x/_C.so",)
    assert shown(hit)[0].startswith("at::new() (_ZN2at3newEv)") or "_ZN2at3newEv" in shown(hit)[0]


def test_each_property_that_is_wrong() -> None:
    hits = found(variant(NEW, *of_torch("2.8", "2.9.1", "2.10")))
    named = [hit.message.split()[3] for hit in hits]
    assert named == ["abi_dependency::torch::2.8", "abi_dependency::torch::2.9.1"]


def test_a_release_with_other_layouts() -> None:
    layouts = {"2.10.0": LayoutStatus.UNCHANGED, "2.11.0": LayoutStatus.CHANGED}
    (hit,) = found(built_with(variant(UNSTABLE, *of_torch("2.11")), "2.10.0", layouts))
    assert hit.message == (
        "the variant property abi_dependency::torch::2.11 is wrong: the wheel was built with torch"
        " 2.10, where c10::TensorImpl is different"
    )
    assert shown(hit) == ("c10::TensorImpl: 184 to 176 bytes since 2.11.0",)
    assert fix_of(hit) == (
        "label the wheel abi_dependency::torch::2.10, or rebuild it with the release that the"
        " property names"
    )


def test_another_release_than_it_was_built_with() -> None:
    (hit,) = found(built_with(variant(UNSTABLE, *of_torch("2.9")), "2.10.0", {}))
    assert hit.message == (
        "the variant property abi_dependency::torch::2.9 is wrong: the wheel was built with torch"
        " 2.10"
    )
    same = {"2.9.0": LayoutStatus.UNCHANGED, "2.9.1": LayoutStatus.UNCHANGED}
    hits = found(built_with(variant(UNSTABLE, *of_torch("2.9")), "2.10.0", same))
    assert [hit.severity for hit in hits] == [Severity.NOTE]


def test_a_property_below_the_floor() -> None:
    (hit,) = found(variant(STABLE, *of_torch("2.9")))
    assert hit.message == (
        "the variant property abi_dependency::torch::2.9 is wrong: the wheel needs torch 2.10 or"
        " newer"
    )
    assert fix_of(hit) == 'drop the property, and require "torch>=2.10"'


def test_a_stable_wheel_needs_no_property() -> None:
    (note,) = found(variant(STABLE, *of_torch("2.10"), torch="torch>=2.10"))
    assert note.severity is Severity.NOTE
    assert note.message == (
        "the variant is for torch 2.10 only, but the stable ABI guarantees torch 2.10 and newer"
    )
    assert found(variant(STABLE, *of_torch("2.10", "2.11"), torch="torch>=2.10")) == []


def test_a_property_that_matches_nothing() -> None:
    (hit,) = found(variant(STABLE, *of_torch("2.10rc1"), torch="torch>=2.10"))
    assert "matches no torch" in hit.message
    assert hit.severity is Severity.ERROR


def test_a_requirement_that_excludes_the_property() -> None:
    hit, _overstated = found(variant(STABLE, *of_torch("2.10"), torch="torch>=2.11"))
    assert hit.message == (
        "the variant is for torch 2.10, but the metadata requires torch>=2.11: no release is both"
    )


def test_a_requirement_that_excludes_a_property_for_later() -> None:
    hits = found(variant(STABLE, *of_torch("2.7", "2.40"), torch="torch>=2.41"))
    assert "but the metadata requires torch>=2.41: no release is both" in hits[0].message


def test_releases_that_nobody_knows() -> None:
    item = variant(STABLE, *of_torch("2.40"), torch="torch>=2.10")
    assert [hit.rule for hit in found(item)] == ["unknown-release", "variant-mismatch"]
    assert found(item)[1].severity is Severity.NOTE


def test_the_null_variant_is_for_every_system() -> None:
    (hit,) = found(variant(UNSTABLE, label="null"))
    assert hit.rule == "torch-unpinned"


def test_releases_of_the_user_take_its_place() -> None:
    item = variant(NEW, *of_torch("2.9"))
    chosen = replace(item, source=DemandSource.TORCH, demands=(SpecifierSet("==2.10.*"),))
    assert found(chosen) == []


def test_other_packages_and_targets_without_torch() -> None:
    assert found(variant(library(), *of_torch("2.9"), torch="")) == []
    item = variant(STABLE, "abi_dependency::numpy::2", torch="torch>=2.10")
    assert found(item) == []


def test_what_the_pipeline_allows() -> None:
    item = variant(UNSTABLE, *of_torch("2.9", "2.10"))
    assert item.required == (SpecifierSet(">=2.8"),)
    assert item.demands == narrowed(item.required, item.claims.variant_properties)


def cuda(number: int, *properties: str) -> list[Finding]:
    item = library("torch_ten", needed=(*TORCH, f"libcudart.so.{number}"))
    return [
        hit
        for hit in run_rules(variant(item, *properties, torch="torch>=2.11"), CATALOG)
        if hit.rule == "variant-mismatch"
    ]


@pytest.mark.parametrize("value", ["12", "12.8", "11.0"])
def test_a_driver_that_is_too_old(value: str) -> None:
    (hit,) = cuda(13, f"nvidia::cuda_version_lower_bound::{value}")
    assert hit.message == (
        f"the variant property nvidia::cuda_version_lower_bound::{value} allows drivers for CUDA"
        f" {value[:2]}, but 1 library needs CUDA 13"
    )
    assert shown(hit) == ("libcudart.so.13",)
    assert fix_of(hit) == (
        f"label the wheel nvidia::cuda_version_lower_bound::13.0, or build it with CUDA {value[:2]}"
    )


@pytest.mark.parametrize("value", ["13", "13.0", "12.9"])
def test_drivers_that_are_excluded(value: str) -> None:
    (hit,) = cuda(13, f"nvidia::cuda_version_upper_bound::{value}")
    assert hit.message == (
        f"the variant property nvidia::cuda_version_upper_bound::{value} excludes every driver for"
        " CUDA 13, but 1 library needs CUDA 13"
    )
    assert fix_of(hit) == "label the wheel nvidia::cuda_version_upper_bound::14.0"


@pytest.mark.parametrize(
    "item",
    [
        "nvidia::cuda_version_lower_bound::13",
        "nvidia::cuda_version_lower_bound::14.1",
        "nvidia::cuda_version_upper_bound::13.1",
        "nvidia::cuda_version_upper_bound::14",
        "nvidia::cuda_version_lower_bound::x",
        "nvidia::sm_arch::90_real",
        "amd::cuda_version_lower_bound::12",
    ],
)
def test_drivers_that_fit(item: str) -> None:
    assert cuda(13, item) == []


def test_of_several_majors_the_oldest_counts() -> None:
    item = subject(
        {
            "a.so": library("torch_ten", needed=(*TORCH, "libcudart.so.12")),
            "b.so": library("torch_ten", needed=(*TORCH, "libcudart.so.13")),
        },
        replace(
            claims(torch=("torch>=2.10",)),
            variant="cu12",
            variant_properties=(VariantProperty("nvidia", "cuda_version_lower_bound", "12.8"),),
        ),
    )
    assert [h for h in run_rules(item, CATALOG) if h.rule == "variant-mismatch"] == []


def test_status_is_what_it_was() -> None:
    """The matrix is about the binaries: no property changes a cell."""
    row = variant(NEW, *of_torch("2.9")).matrix.row
    assert row == variant(NEW).matrix.row
    assert row[Version("2.9.0")].status is ReleaseStatus.BREAKS

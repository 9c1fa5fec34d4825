"""Other builds of torch than PyPI's: which one a wheel is for, and what it finds there."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from tests.builders import CATALOG, CPU, CUDA, PYTHON, claims, dll, library
from torch_abi_audit.audit import Auditor, Options, classify_contents, conclude
from torch_abi_audit.catalog import Catalog, Platform, load_catalog
from torch_abi_audit.catalog.build import other_builds
from torch_abi_audit.catalog.build.collect import Provided
from torch_abi_audit.catalog.builds import (
    OTHER_BUILDS_FILE,
    catalog_of_build,
    is_known,
    parse_measured,
)
from torch_abi_audit.catalog.exports import Build, make_table
from torch_abi_audit.catalog.storage import write_archive
from torch_abi_audit.claims.torch_build import (
    PYPI,
    BuildChoice,
    TorchBuild,
    build_of_requirement,
    build_of_version,
    chosen_build,
    parse_torch_build,
    torch_build,
)
from torch_abi_audit.config import parse_config, parse_torch
from torch_abi_audit.errors import AuditError
from torch_abi_audit.model import (
    BuildSource,
    Cause,
    Claims,
    Library,
    Member,
    MetadataChange,
    ReleaseStatus,
    Severity,
    TargetContents,
    TargetKind,
    TargetReport,
)

LINUX, ARM, WINDOWS = "linux_x86_64", "linux_aarch64", "windows_x86_64"
ARM_TAG = "py39-none-manylinux_2_28_aarch64"
LETTERS = {
    ReleaseStatus.GUARANTEED: "G",
    ReleaseStatus.LINKS: "l",
    ReleaseStatus.BREAKS: "-",
    ReleaseStatus.UNKNOWN: "?",
}
NAMES = {
    CPU: ["_ZN2at6TensorD1Ev", "_ZN2at12getCUDAHooksEv", "_ZN2at8cudaOnlyEv", "_ZTIFvvE"],
    CUDA: ["_ZN2at4cuda4callEv"],
    "libc10.so": [],
}
# As measured of 2.9.0+cpu: one name that the CUDA build has is gone, another is new.
MEASURED: dict[str, Any] = {
    LINUX: {
        "cpu": {
            "2.9.0": {
                "libraries": {CPU: ["libc10.so"], "libc10.so": []},
                "others": ["libgomp.so.1"],
                "removed": {CPU: ["_ZTIFvvE", "_ZN2at8cudaOnlyEv"]},
                "added": {CPU: ["_ZN2at7cpuOnlyEv"]},
            }
        }
    }
}
OLD, NEW, NEWEST = map(Version, ("2.9.0", "2.10.0", "2.11.0"))


def _build(release: Version, cuda: str | None, suffix: str = "") -> Build:
    number = cuda and cuda.partition(".")[0]
    libraries: dict[str, tuple[str, ...]] = {f"libc10{suffix}.so": (), CPU: ("libc10.so",)}
    if cuda:
        cufft = 11 if number == "12" else 12
        libraries[CPU] = ("libc10.so", f"libcudart.so.{number}")
        libraries[CUDA] = (CPU, f"libcudart.so.{number}", f"libcufft.so.{cufft}")
    return Build(release, cuda, libraries, platforms=("manylinux_2_28_x86_64",))


def _platform(key: str, builds: list[Build], exports: list[Mapping[str, list[str]]]) -> Platform:
    data = write_archive(builds, make_table(exports), {})
    return Platform(key, lambda: io.BytesIO(data))


def catalog() -> Catalog:
    """Three releases: with CUDA 12, 12 and 13 on Linux x86_64; on aarch64 with CUDA since 2.11."""
    newer = {**NAMES, CPU: [*NAMES[CPU], "_ZN2at5gpuOkEv", "_ZN2at11CUDAnewHereEv"]}
    cpu_only = {CPU: ["_ZN2at6TensorD1Ev"], "libc10.so": []}
    arm_new = {**newer, CPU: [*newer[CPU], "_ZN2at6sinceBEv"]}
    windows = {"torch_cpu.dll": ["warn"], "c10.dll": []}
    return replace(
        CATALOG,
        releases=(OLD, NEW, NEWEST),
        published=(OLD, NEW, NEWEST),
        platforms={
            LINUX: _platform(
                LINUX,
                [_build(OLD, "12.6"), _build(NEW, "12.8"), _build(NEWEST, "13.0")],
                [NAMES, newer, newer],
            ),
            ARM: _platform(
                ARM,
                [_build(OLD, None), _build(NEW, None), _build(NEWEST, "13.0")],
                [cpu_only, {**cpu_only, CPU: [*cpu_only[CPU], "_ZN2at5gpuOkEv"]}, arm_new],
            ),
            WINDOWS: _platform(
                WINDOWS,
                [
                    Build(release, None, {"torch_cpu.dll": ("c10.dll",), "c10.dll": ()})
                    for release in (OLD, NEW, NEWEST)
                ],
                [windows] * 3,
            ),
        },
    )


def of_build(name: str, measured: Mapping[str, Any] = MEASURED) -> Catalog:
    if name == PYPI:
        return catalog()
    choice = BuildChoice(torch_build(name), BuildSource.OPTION)
    return catalog_of_build(choice, catalog(), parse_measured(measured))


def report(name: str, item: Library, promised: Claims | None = None) -> TargetReport:
    found = of_build(name)
    members = (Member("x/_C.so", (item,), verified=True),)
    contents = TargetContents(TargetKind.WHEEL, promised or claims(), members)
    subject = classify_contents(contents, found, Options())
    return conclude("x.whl", TargetKind.WHEEL, subject, found, Options())


def row(name: str, item: Library, promised: Claims | None = None) -> str:
    """Return a letter for each release: 2.9.0, 2.10.0, 2.11.0."""
    cells = report(name, item, promised).matrix.row.values()
    return "".join(LETTERS[cell.status] for cell in cells)


def linux(*names: str, needed: tuple[str, ...] = (CPU,), arch: str = "x86_64") -> Library:
    return replace(library(*names, needed=needed), arch=arch)


def test_names_of_builds() -> None:
    assert parse_torch_build("cu128") == TorchBuild("cu128", "12.8")
    assert parse_torch_build(" +CPU") == TorchBuild("cpu")
    assert parse_torch_build("cu12").cuda_major == 12
    assert parse_torch_build("cpu").cuda_major is None
    assert [parse_torch_build(name).is_cpu for name in ("cpu", "pypi", "xpu")] == [
        True,
        *[False] * 2,
    ]
    for name in ("", "2.13.0+cpu", "cuda", "cu", "git1234", "cpu cpu"):
        with pytest.raises(AuditError, match="is not a build of torch"):
            parse_torch_build(name)


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("0.24.0+cu128", "cu128"),
        ("1.0+cpu", "cpu"),
        ("2.1.2+pt28cu126", "cu126"),
        ("2.1.2+pt28cpu", "cpu"),
        ("2.8.3+cu12torch2.8cxx11abiTRUE", "cu12"),
        ("1.0+torch28.cu128.x86", "cu128"),
        ("1.0+torch2.10cu128", "cu128"),
        ("1.0+2.10.0cu128", "cu128"),
        ("1.0+rocm6.4", "rocm6.4"),
        ("1.0+xpu", "xpu"),
        ("1.0", None),
        ("1.0+5d4b92a5.d2025", None),
        ("1.0+acpu", None),
        ("1.0+g12cu126ab", None),
        ("1.0+cpu.cu128", None),  # of which one is it?
    ],
)
def test_the_build_that_the_version_of_a_wheel_names(version: str, name: str | None) -> None:
    found = build_of_version(Version(version))
    assert (None if found is None else found.name) == name


def test_the_build_that_a_requirement_names() -> None:
    def of(*demands: str | None) -> str | None:
        found = build_of_requirement([None if d is None else SpecifierSet(d) for d in demands])
        return None if found is None else found.name

    assert of(">=2.9,==2.9.0+cu128") == "cu128"
    assert of("===2.9.0+CPU", None) == "cpu"
    assert of("==2.9.0", ">=2.9", None) is None
    assert of("!=2.9.0+cpu") is None
    assert of("==2.9.0+cpu", "==2.9.0+cu128") == "cpu or cu128"
    assert of(f"===2.9.0+{'a' * 50}") is None
    assert of("===2.9.0+\x1b[31m") is None


def test_what_decides_which_build_a_wheel_is_for() -> None:
    plain, local = claims(), replace(claims(), version=Version("1.0+cu126"))
    given = BuildChoice(torch_build("cpu"), BuildSource.OPTION)
    pinned = [SpecifierSet("==2.9.0+cu128")]
    assert chosen_build(plain, []) is None
    assert chosen_build(local, [None]) == (torch_build("cu126"), BuildSource.VERSION)
    assert chosen_build(local, pinned) == (torch_build("cu128"), BuildSource.REQUIREMENT)
    assert chosen_build(local, pinned, given) == given
    assert chosen_build(local, pinned, BuildChoice(torch_build(PYPI), given.source)) is None
    assert chosen_build(replace(local, name=type(local.name)("torch")), [None]) is None


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("_ZN2at6TensorD1Ev", "lll"),
        ("_ZN2at4goneEv", "---"),
        ("_ZN2at4cuda4callEv", "---"),  # in libtorch_cuda, which is not reached
        ("_ZN2at8cudaOnlyEv", "-??"),  # measured: gone from 2.9.0
        ("_ZN2at7cpuOnlyEv", "l??"),  # measured: new in 2.9.0
        ("_ZN2at12getCUDAHooksEv", "lll"),  # 2.9.0 has it, although its name has CUDA
        ("_ZN2at11CUDAnewHereEv", "-??"),
        ("_ZN2at5gpuOkEv", "-l?"),  # the CPU build of 2.10.0 for aarch64 has it
    ],
)
def test_symbols_of_cpu_builds(name: str, cells: str) -> None:
    assert row("cpu", linux(name)) == cells


def test_libraries_that_cpu_builds_lack() -> None:
    found = report("cpu", linux("_ZN2at4cuda4callEv", needed=(CPU, CUDA, "libcudart.so.12")))
    (cell,) = {cell for release, cell in found.matrix.row.items() if release == NEW}
    assert [(reason.cause, str(reason)) for reason in cell.reasons] == [
        (Cause.LIBRARY, f"{CUDA}: torch 2.10.0+cpu is built without CUDA"),
        (Cause.CUDA, "libcudart.so.12: torch 2.10.0+cpu is built without CUDA"),
        (Cause.CUDA, f"_ZN2at4cuda4callEv: in {CUDA}, which torch 2.10.0+cpu lacks"),
    ]
    assert cell.loads_but_for_cuda


def test_a_report_says_which_builds_were_measured() -> None:
    use = report("cpu", linux("torch_ten")).subject.build  # type: ignore[union-attr]
    assert use is not None
    assert (use.name, use.source, use.measured, use.derived) == (
        "cpu",
        BuildSource.OPTION,
        (OLD,),
        (NEW, NEWEST),
    )
    use = report("cpu", linux("torch_ten", arch="aarch64"), claims(ARM_TAG)).subject.build  # type: ignore[union-attr]
    assert use is not None
    assert (use.measured, use.derived) == ((OLD, NEW), (NEWEST,))  # those on PyPI are CPU builds


@pytest.mark.parametrize(
    ("build", "needed", "cells"),
    [
        ("cu126", "libcudart.so.12", "lll"),
        ("cu126", "libcudart.so.13", "---"),
        ("cu126", "libcufft.so.11", "lll"),
        ("cu130", "libcudart.so.13", "lll"),
        ("cu130", "libcudart.so.12", "---"),
        ("cu130", "libcufft.so.12", "lll"),
        ("cu12", "libcudart.so.12", "lll"),
        ("cu118", "libcudart.so.12", "???"),  # nothing is known of CUDA 11
        ("rocm6.4", "libcudart.so.12", "???"),
    ],
)
def test_cuda_of_other_builds(build: str, needed: str, cells: str) -> None:
    assert row(build, linux("_ZN2at4cuda4callEv", needed=(CUDA, needed))) == cells


def test_the_build_on_pypi_is_not_derived() -> None:
    linux_ = of_build("cu128").platforms[LINUX]
    assert [build.derived for build in linux_.builds] == [True, False, True]
    assert [build.label for build in linux_.builds] == ["2.9.0+cu128", "2.10.0", "2.11.0+cu128"]


def test_symbols_are_in_no_doubt_with_another_cuda() -> None:
    assert row("cu130", linux("_ZN2at8cudaOnlyEv")) == "lll"
    assert row("cu130", linux("_ZN2at11CUDAnewHereEv")) == "-ll"


@pytest.mark.parametrize(
    ("name", "needed", "cells"),
    [
        ("_ZN2at6TensorD1Ev", (CPU,), "lll"),
        ("_ZN2at4cuda4callEv", (CPU, CUDA), "??l"),  # PyPI has no such library for aarch64
        ("_ZN2at4goneEv", (CPU, CUDA), "??-"),
        ("_ZN2at4goneEv", (CPU,), "---"),
        ("_ZN2at6sinceBEv", (CPU, CUDA), "--l"),  # in libtorch_cpu since 2.11.0
        ("_ZN2at8cudaOnlyEv", (CPU,), "??l"),
    ],
)
def test_cuda_builds_where_pypi_has_none(name: str, needed: tuple[str, ...], cells: str) -> None:
    assert row("cu126", linux(name, needed=needed, arch="aarch64"), claims(ARM_TAG)) == cells


def test_cuda_builds_for_windows() -> None:
    tag = claims("py39-none-win_amd64")
    known = dll("torch_cpu.dll:warn", needed=("torch_cpu.dll",))
    assert row("cu126", known, tag) == "lll"
    other = dll("torch_cuda.dll:?call@cuda@at@@YAXXZ", needed=("torch_cpu.dll", "torch_cuda.dll"))
    assert row("cu126", other, tag) == "???"
    assert row("cpu", other, tag) == "---"
    stable = dll("torch_cuda.dll:torch_ten", needed=("torch_cuda.dll",))
    assert row("cu126", stable, tag) == "???"
    assert report("cu126", stable, tag).summary.startswith(
        "stable ABI: not known whether it loads on torch's cu126 builds; its symbols need torch"
        " 2.10 or newer, "
    )


@pytest.mark.parametrize(
    ("build", "needed", "cells"),
    [
        (PYPI, "cudart64_12.dll", "---"),  # which has no build with CUDA
        ("cpu", "cublasLt64_12.dll", "---"),
        ("cu126", "cudart64_12.dll", "lll"),
        ("cu126", "nvrtc64_120_0.dll", "lll"),
        ("cu126", "cudart64_110.dll", "---"),
        ("cu126", "cudart64_13.dll", "---"),
        ("cu126", "cudnn64_9.dll", "lll"),  # of CUDA 12 and 13 alike
        ("cu130", "cufft64_11.dll", "---"),
        (PYPI, "nppc64_12.dll", "lll"),  # no build of torch has it: it is the host's
    ],
)
def test_cuda_libraries_on_windows(build: str, needed: str, cells: str) -> None:
    item = dll("torch_cpu.dll:warn", needed=("torch_cpu.dll", needed))
    promised = claims("py39-none-win_amd64")
    assert row(build, item, promised) == cells
    found = report(build, item, promised)
    host = [library.name for library in found.subject.host.libraries]  # type: ignore[union-attr]
    assert host == (["nppc64_12.dll"] if needed == "nppc64_12.dll" else [])


def test_a_fix_without_the_pinned_build_is_proven_without_it() -> None:
    """PyPI's 2.11.0 has CUDA 13: what passes with the build for CUDA 12.6 does not with it."""
    demands = ("torch==2.9.0+cu126",)
    item = linux("torch_ten", needed=(CPU, "libcudart.so.12"))
    members = (Member("x/_C.so", (item,), verified=True),)
    contents = TargetContents(TargetKind.WHEEL, claims(torch=demands), members)
    choice = BuildChoice(torch_build("cu126"), BuildSource.REQUIREMENT)
    found = catalog_of_build(choice, catalog(), parse_measured(MEASURED))
    subject = classify_contents(contents, found, Options())
    made = conclude("x.whl", TargetKind.WHEEL, subject, found, Options())
    assert made.plan is not None
    assert made.plan.change == MetadataChange(torch="torch==2.10.*")
    fixed = replace(contents, claims=claims(torch=("torch==2.10.*",)))
    subject = classify_contents(fixed, catalog(), Options())
    assert conclude("x.whl", TargetKind.WHEEL, subject, catalog(), Options()).safe


def test_what_windows_lacks_is_told() -> None:
    promised = claims("py39-none-win_amd64")
    item = dll("torch_cpu.dll:warn", needed=("torch_cpu.dll", "cudart64_13.dll"))
    assert "cuda-build-required" in {f.rule for f in report(PYPI, item, promised).findings}
    (hit,) = [f for f in report("cu126", item, promised).findings if "cuda" in f.rule]
    assert hit.rule == "cuda-major-mismatch"
    assert hit.message == (
        "the wheel needs cudart64_13.dll, but torch 2.9.0+cu126 ships those of CUDA 12.6, so it"
        " does not load on torch 2.9-2.11"
    )


def test_a_release_whose_builds_differ_in_more_than_cuda() -> None:
    found = catalog_of_build(BuildChoice(torch_build("cu126"), BuildSource.OPTION), load_catalog())
    builds = {str(build.version): build for build in found.platforms[LINUX].builds}
    assert "2.6.0" not in builds
    assert not builds["2.7.0"].derived


def test_doubts_are_told() -> None:
    found = report("cpu", linux("_ZN2at8cudaOnlyEv"), claims(torch=("torch==2.10.*",)))
    (hit,) = [item for item in found.findings if item.rule == "unknown-release"]
    assert hit.severity is Severity.WARNING
    assert hit.message == (
        "it is not known if torch's cpu builds of 2.10 export 1 name that 1 library needs:"
        " at::cudaOnly (not known if torch 2.10.0+cpu exports it)"
    )
    assert not [item for item in found.findings if item.rule == "torch-symbol-missing"]


def test_the_finding_names_the_build() -> None:
    needing = linux("torch_ten", needed=(CPU, CUDA))
    found = report("cpu", needing, claims(torch=("torch>=2.10",)))
    (hit,) = [item for item in found.findings if item.rule == "cuda-build-required"]
    assert hit.message == "torch's cpu build has no CUDA (2.10-2.11), but 1 library needs CUDA"
    assert hit.severity is Severity.ERROR
    assert found.summary.endswith("; checked against torch's cpu builds (--torch-build)")


def test_options_that_name_a_build() -> None:
    assert Options().build is None
    assert Options(torch_build="cu128").build == (torch_build("cu128"), BuildSource.OPTION)
    assert Options(torch="2.13.0+cpu").build == (torch_build("cpu"), BuildSource.TORCH)
    assert Options(torch="torch == 2.13.0+cpu", torch_build="cpu").build == (
        torch_build("cpu"),
        BuildSource.OPTION,
    )
    with pytest.raises(AuditError, match="--torch names the build cpu, --torch-build another one"):
        Options(torch="2.13.0+cpu", torch_build="cu128")
    with pytest.raises(AuditError, match="--against is about one build of torch"):
        Options(against="x", torch_build="cpu")
    with pytest.raises(AuditError, match=r"nothing is known of torch's rocm6\.4 builds"):
        Auditor(Options(torch_build="rocm6.4"))
    with pytest.raises(AuditError, match="nothing is known of torch's git1234 builds"):
        Auditor(Options(torch="2.13.0+git1234"))
    assert Auditor(Options(torch_build="pypi")).catalog is load_catalog()
    assert parse_torch("torch>=2.9") == SpecifierSet(">=2.9")
    assert parse_config({"torch-build": "cpu"}).torch_build == torch_build("cpu")
    with pytest.raises(AuditError, match="torch-build: 'x' is not a build of torch"):
        parse_config({"torch-build": "x"})


def test_which_builds_are_known() -> None:
    known = (PYPI, "cpu", "cu126", "cu130", "cu12")
    assert [is_known(torch_build(name), catalog()) for name in known] == [True] * len(known)
    for name in ("cu118", "rocm6.4", "xpu", "git1"):
        assert not is_known(torch_build(name), catalog())


def test_a_target_is_checked_against_the_builds_that_it_is_for() -> None:
    auditor = Auditor(Options())
    plain, local = claims(), replace(claims(), version=Version("1.0+cpu"))
    assert auditor.catalog_of(plain) is auditor.catalog
    assert auditor.catalog_of(local).build == (torch_build("cpu"), BuildSource.VERSION)
    assert auditor.catalog_of(local) is auditor.catalog_of(local)  # derived once
    pinned = claims(torch=("torch==2.13.0+cu128",))
    assert auditor.catalog_of(pinned).build == (torch_build("cu128"), BuildSource.REQUIREMENT)
    auditor = Auditor(Options(torch_build="pypi"))
    assert auditor.catalog_of(local) is auditor.catalog


def test_measuring_a_build() -> None:
    provided = Provided(
        "2.9.0",
        LINUX,
        "torch.whl",
        libraries={
            "libc10.so": {"needed": [], "exports": ["_end"]},
            CPU: {"needed": ["libc10.so"], "exports": ["_ZN2at6TensorD1Ev", "_ZN2at3newEv"]},
        },
        others=["libgomp.so.1"],
        local="cpu",
    )
    found = other_builds.difference(provided, catalog())
    assert found == {
        "libraries": {"libc10.so": [], CPU: ["libc10.so"]},
        "others": ["libgomp.so.1"],
        "removed": {CPU: ["_ZN2at12getCUDAHooksEv", "_ZN2at8cudaOnlyEv", "_ZTIFvvE"]},
        "added": {CPU: ["_ZN2at3newEv"]},
    }
    # What was measured is what is found.
    data = {LINUX: {"cpu": {"2.9.0": found}}}
    platform = of_build("cpu", data).platforms[LINUX]
    (build,) = [build for build in platform.builds if build.version == OLD]
    names = {name for names in NAMES.values() for name in names} | {"_ZN2at3newEv"}
    assert {name for name in names if platform.exporters(name, build)} == {
        "_ZN2at6TensorD1Ev",
        "_ZN2at3newEv",
    }
    exported = {name for name, masks in platform.table if any(m & 1 for m in masks.values())}
    assert "_ZTIFvvE" not in exported
    with pytest.raises(AuditError, match=r"no torch 2\.9\.9 for linux_x86_64 in the catalog"):
        other_builds.difference(replace(provided, version="2.9.9"), catalog())


def test_what_has_been_measured_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "builds.json"
    output.write_text(json.dumps({ARM: {"cpu": {"2.9.0": {}}}}))
    torch = Provided("2.9.0", LINUX, "", libraries={CPU: {"needed": [], "exports": []}})
    monkeypatch.setattr(other_builds, "load_catalog", catalog)
    monkeypatch.setattr(other_builds, "read_torch", lambda _: replace(torch, local="cpu"))
    assert other_builds.main(["torch.whl", "--output", str(output)]) == 0
    found = json.loads(output.read_text())
    assert sorted(found) == [ARM, LINUX]
    assert list(found[LINUX]["cpu"]) == ["2.9.0"]
    monkeypatch.setattr(other_builds, "read_torch", lambda _: torch)
    assert other_builds.main(["torch.whl", "--output", str(output)]) == 2
    assert json.loads(output.read_text()) == found


def test_the_packaged_measurements() -> None:
    path = Path(load_catalog.__wrapped__.__code__.co_filename).parent / "data" / OTHER_BUILDS_FILE
    measured = parse_measured(json.loads(path.read_text(encoding="utf-8")))
    item = measured[LINUX]["cpu"][Version("2.13.0")]
    assert "libtorch_cuda.so" not in item.libraries
    assert PYTHON in item.libraries
    assert all(library in item.libraries for library in item.removed)
    platform = load_catalog().platforms[LINUX]
    build = platform.build(Version("2.13.0"))
    assert build is not None
    for library_, names in item.removed.items():
        assert all(library_ in platform.exporters(name, build) for name in names)
    # None is of torch's own API: what differs depends on CUDA, or is emitted where it is used.
    prefixes = ("_ZN2at", "_ZNK2at", "_ZN5torch", "_ZNK5torch", "aoti_", "torch_")
    assert [n for names in item.removed.values() for n in names if n.startswith(prefixes)] == []

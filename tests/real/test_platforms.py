"""One release's wheels for all systems: verdicts that fit together, and why where they differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.real.download import LINUX, LINUX_ARM, MACOS, WINDOWS, download
from tests.real.test_published_wheels import audit
from torch_abi_audit.report.summary import evidence as evidence_of
from torch_abi_audit.report.summary import evidence_text

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real

NEWEST = "2.15.0"  # of the releases that the rows below were written for


@dataclass(frozen=True)
class Row:
    """What is true of a wheel: its verdict, its ABI, its floor, and where it loads."""

    verdict: str
    abi: str
    floor: str | None
    loads: tuple[str, str] | None  # the oldest and the newest release
    errors: tuple[str, ...] = ()


PINNED = ("unstable-torch-symbol",)
UNUSED = Row("not-applicable", "none", None, None)
ROWS = {
    # The library for macOS uses shims for MPS of 2.14.0: there, and there alone, the
    # metadata's >=2.14.0 is no release too high.
    ("torchvision==0.29.1", LINUX): Row("safe", "stable", "2.13.0", ("2.13.0", NEWEST)),
    ("torchvision==0.29.1", LINUX_ARM): Row("safe", "stable", "2.13.0", ("2.13.0", NEWEST)),
    ("torchvision==0.29.1", MACOS): Row("safe", "stable", "2.14.0", ("2.14.0", NEWEST)),
    ("torchvision==0.29.1", WINDOWS): Row("safe", "stable", "2.13.0", ("2.13.0", NEWEST)),
    # On the unstable ABI, pinned to 2.9.1, with which all four load. Microsoft's names
    # happened not to change between 2.8.0 and 2.9.0. On macOS vendored libraries are built
    # for 12.1 under the tag of 11.0.
    ("torchvision==0.24.1", LINUX): Row("pinned", "unstable", None, ("2.9.0", "2.9.1")),
    ("torchvision==0.24.1", LINUX_ARM): Row("pinned", "unstable", None, ("2.9.0", "2.9.1")),
    ("torchvision==0.24.1", MACOS): Row(
        "unsafe", "unstable", None, ("2.9.0", "2.9.1"), ("platform-floor-understated",)
    ),
    ("torchvision==0.24.1", WINDOWS): Row("pinned", "unstable", None, ("2.8.0", "2.9.1")),
    # Only the libraries for CUDA name the two types of 2.11.0 that set the floor on Linux.
    # The libc++ beside those for macOS is built for 12.1, under the tag of 11.0.
    ("torchaudio==2.11.0", LINUX): Row("safe", "stable", "2.11.0", ("2.11.0", NEWEST)),
    ("torchaudio==2.11.0", LINUX_ARM): Row("safe", "stable", "2.11.0", ("2.11.0", NEWEST)),
    ("torchaudio==2.11.0", MACOS): Row(
        "unsafe", "stable", "2.10.0", ("2.10.0", NEWEST), ("platform-floor-understated",)
    ),
    ("torchaudio==2.11.0", WINDOWS): Row("safe", "stable", "2.10.0", ("2.10.0", NEWEST)),
    # Stable on all four. The one for aarch64 was compiled by a newer GCC and takes two
    # functions of libstdc++ from libtorch, which has them since 2.12.0 on that machine.
    ("torchcodec==0.17.0", LINUX): Row("safe", "stable", "2.11.0", ("2.11.0", NEWEST)),
    ("torchcodec==0.17.0", LINUX_ARM): Row(
        "unsafe", "stable", "2.11.0", ("2.12.0", NEWEST), ("torch-symbol-missing",)
    ),
    ("torchcodec==0.17.0", MACOS): Row("safe", "stable", "2.11.0", ("2.11.0", NEWEST)),
    ("torchcodec==0.17.0", WINDOWS): Row("safe", "stable", "2.11.0", ("2.11.0", NEWEST)),
    # There is none for macOS. The one for aarch64 needs GLIBCXX_3.4.31 and newer under the
    # tag manylinux_2_28; torch has no build with CUDA for Windows on the index.
    ("torch-tensorrt==2.14.0", LINUX): Row("pinned", "unstable", None, ("2.14.0", "2.14.1")),
    ("torch-tensorrt==2.14.0", LINUX_ARM): Row(
        "unsafe",
        "unstable",
        None,
        ("2.14.0", "2.14.1"),
        ("platform-floor-understated",),
    ),
    ("torch-tensorrt==2.14.0", WINDOWS): Row(
        "unsafe", "unstable", None, None, (*PINNED, "cuda-build-required")
    ),
    # Libraries for Linux x86_64 alone; the others get the wheel for any platform.
    ("torchao==0.18.0", LINUX): Row("safe", "stable", "2.11.0", ("2.11.0", NEWEST)),
    ("torchao==0.18.0", LINUX_ARM): UNUSED,
    ("torchao==0.18.0", MACOS): UNUSED,
    ("torchao==0.18.0", WINDOWS): UNUSED,
    # Linked to CUDA 12, which torch for Linux brings up to 2.10, and for Windows never.
    ("xformers==0.0.35", LINUX): Row(
        "unsafe", "stable", "2.10.0", ("2.10.0", "2.10.0"), ("cuda-major-mismatch",)
    ),
    ("xformers==0.0.35", WINDOWS): Row(
        "unsafe", "stable", "2.10.0", None, ("cuda-build-required",)
    ),
    # Loaded with ctypes, and nothing of torch's in it.
    ("bitsandbytes==0.50.2", LINUX): UNUSED,
    ("bitsandbytes==0.50.2", LINUX_ARM): UNUSED,
    ("bitsandbytes==0.50.2", MACOS): UNUSED,
    ("bitsandbytes==0.50.2", WINDOWS): UNUSED,
}


@pytest.mark.parametrize(("requirement", "platform"), ROWS)
def test_the_wheels_of_a_release(
    requirement: str, platform: str, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = download(requirement, platform)
    _, target = audit(wheel, capsys)
    cells = target["torch"]["releases"].items()
    loads = [release for release, cell in cells if cell["status"] in ("guaranteed", "links")]
    found = Row(
        target["verdict"],
        target["torch"]["abi"],
        target["torch"]["floor"],
        (loads[0], loads[-1]) if loads else None,
        tuple(dict.fromkeys(f["rule"] for f in target["findings"] if f["severity"] == "error")),
    )
    assert found == ROWS[requirement, platform]
    assert "unknown" not in {cell["status"] for _, cell in cells}


@pytest.mark.parametrize("platform", [MACOS, WINDOWS])
def test_the_pinned_release_of_an_unstable_wheel_links(
    platform: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, target = audit(download("torchvision==0.24.1", platform), capsys)
    assert target["claims"]["requires_torch"] == "==2.9.1"
    cells = target["torch"]["releases"]
    assert cells["2.9.1"] == {
        "status": "links",
        "layout": "unchanged",
        "reasons": [],
        "libstdcxx": None,
    }
    assert cells["2.10.0"]["status"] == "breaks"


def evidence(wheel: Path, rule: str, capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    _, target = audit(wheel, capsys)
    return [
        list(map(evidence_text, evidence_of(item)))
        for item in target["findings"]
        if item["rule"] == rule
    ]


@pytest.mark.parametrize("release", ["2.7.0", "2.8.0"])
def test_torchs_own_tags_for_macos(release: str, capsys: pytest.CaptureFixture[str]) -> None:
    wheel = download(f"torch=={release}", MACOS)
    assert evidence(wheel, "platform-floor-understated", capsys) == [["minos 14.0"]]
    assert evidence(wheel, "filename-tag-mismatch", capsys) == [
        ["cp312-cp312-macosx_14_0_arm64", "cp312-none-macosx_11_0_arm64"]
    ]


def test_a_manylinux_tag_that_is_too_low(capsys: pytest.CaptureFixture[str]) -> None:
    wheel = download("sgl-kernel==0.3.21", python="310")
    assert wheel.name == "sgl_kernel-0.3.21-cp310-abi3-manylinux2014_x86_64.whl"
    loaded, plugins = evidence(wheel, "platform-floor-understated", capsys)
    assert "sgl_kernel/sm100/common_ops.abi3.so: CXXABI_1.3.11" in loaded
    assert "sgl_kernel/flash_ops.abi3.so: CXXABI_1.3.9" in loaded
    assert plugins[0] == "lib/mscclpp.so: CXXABI_1.3.11"


def test_a_record_with_the_paths_of_windows(capsys: pytest.CaptureFixture[str]) -> None:
    """The index and pip read them as if they were written with slashes."""
    _, target = audit(download("tensordict==0.10.0", WINDOWS), capsys)
    (finding,) = [item for item in target["findings"] if item["rule"] == "archive-integrity"]
    assert finding["severity"] == "warning"
    assert list(map(evidence_text, evidence_of(finding))) == ["48 paths with backslashes"]


def test_debug_companions_of_universal_libraries(capsys: pytest.CaptureFixture[str]) -> None:
    _, target = audit(download("pyobjc-core==13.0", MACOS), capsys)
    assert target["verdict"] == "not-applicable"
    assert not any(".dSYM/" in item["path"] for item in target["libraries"])

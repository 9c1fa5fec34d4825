"""The rules about CUDA: which library and release the message names, and what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.builders import CATALOG, claims, dll, fix_of, library, shown, subject
from torch_abi_audit.model import DemandSource, Finding, Severity, Subject
from torch_abi_audit.rules import run_rules

TORCH = ("libtorch_cpu.so",)
CUDA12 = library("torch_ten", needed=(*TORCH, "libcudart.so.12"))
CUDA13 = library("torch_ten", needed=(*TORCH, "libcudart.so.13"))
WINDOWS = "py39-none-win_amd64"
CPU_DLL = dll("torch_cpu.dll:torch_ten", needed=("torch_cpu.dll",))
CUDA_DLL = dll("torch_cpu.dll:torch_ten", needed=("torch_cpu.dll", "torch_cuda.dll"))


def of_rule(rule: str, item: Subject) -> list[Finding]:
    return [finding for finding in run_rules(item, CATALOG) if finding.rule == rule]


def test_the_oldest_release_that_breaks_is_told_of() -> None:
    libraries = {"a.so": CUDA12, "b.so": CUDA13}
    (hit,) = of_rule("cuda-major-mismatch", subject(libraries, claims(torch=("torch>=2.10",))))
    assert hit.libraries == ("a.so", "b.so")
    assert hit.message == (
        "the wheel needs libcudart.so.13, but torch 2.10.0 ships libcudart.so.12 (CUDA 12.0), so it"
        " does not load on torch 2.10-2.11"
    )
    assert shown(hit) == ("libcudart.so.12", "libcudart.so.13")
    assert fix_of(hit) == "build with the CUDA major version of the torch release that is required"


def test_the_first_library_that_breaks_is_told_of() -> None:
    other = library("torch_ten", needed=(*TORCH, "libcudart.so.11.0"))
    libraries = {"a.so": CUDA12, "b.so": other}
    (hit,) = of_rule("cuda-major-mismatch", subject(libraries, claims(torch=("torch>=2.11",))))
    assert "the wheel needs libcudart.so.12, but" in hit.message


@pytest.mark.parametrize(
    ("symbol", "fix"), [("torch_ten", "torch>=2.11"), ("_ZN2at6TensorD1Ev", "torch==2.11.*")]
)
def test_later_releases_are_for_the_stable_abi_alone(symbol: str, fix: str) -> None:
    libraries = {"a.so": library(symbol, needed=(*TORCH, "libcudart.so.13"))}
    item = subject(libraries, claims(torch=("torch>=2.10",)))
    (hit,) = of_rule("cuda-major-mismatch", item)
    assert fix_of(hit) == f'dependencies = ["{fix}"], or link the CUDA runtime statically'


def test_a_build_with_cuda_is_required() -> None:
    libraries = {
        "a.so": library("torch_ten", needed=(*TORCH, "libc10_cuda.so")),
        "b.so": library("torch_ten", needed=TORCH),
    }
    (hit,) = of_rule("cuda-build-required", subject(libraries, claims(torch=("torch>=2.10",))))
    assert hit.severity is Severity.NOTE
    assert hit.libraries == ("a.so",)
    assert hit.message == "1 library loads only next to a CUDA build of torch"
    assert shown(hit) == ("libc10_cuda.so",)


def test_the_index_has_no_build_with_cuda() -> None:
    # A program for another system lies beside it, whose torch has CUDA.
    libraries = {"a.dll": CUDA_DLL, "b.so": library("malloc")}
    item = subject(libraries, claims(WINDOWS, torch=("torch>=2.10",)))
    (hit,) = of_rule("cuda-build-required", item)
    assert hit.severity is Severity.ERROR
    assert hit.libraries == ("a.dll",)
    assert hit.message == (
        "torch on PyPI for windows_x86_64 is CPU-only (2.10-2.11), but 1 library needs CUDA"
    )
    assert shown(hit) == ("torch_cuda.dll",)
    assert fix_of(hit) == (
        "build without CUDA for this platform; if the wheel is for CUDA builds from another index,"
        " name one with --torch-build"
    )


def test_releases_without_cuda_can_be_excluded_where_others_load() -> None:
    libraries = {"torch-2.10/a.dll": CPU_DLL, "torch-2.11/a.dll": CUDA_DLL}
    item = subject(libraries, claims(WINDOWS, torch=("torch>=2.10",)))
    (hit,) = of_rule("cuda-build-required", item)
    assert hit.libraries == ("torch-2.11/a.dll",)
    assert "CPU-only (2.11), but" in hit.message
    assert fix_of(hit) == "exclude these releases, or build without CUDA for this platform"


def test_a_requirement_is_no_fix_of_what_was_asked_for_by_hand() -> None:
    item = subject({"a.so": CUDA13}, claims(torch=("torch>=2.10",)))
    (hit,) = of_rule("cuda-major-mismatch", replace(item, source=DemandSource.TORCH))
    assert fix_of(hit) == "build with the CUDA major version of the torch release that is required"

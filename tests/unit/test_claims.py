from __future__ import annotations

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from tests.builders import CATALOG, claims, subject
from torch_abi_audit.claims.cuda_packages import brought_cuda
from torch_abi_audit.claims.python_tags import admitted_pythons, claims_abi3
from torch_abi_audit.claims.torch_requirement import (
    admitted_torch,
    extras_with_torch,
    future_torch,
    pinned_torch,
    torch_specifiers,
)
from torch_abi_audit.errors import AuditError
from torch_abi_audit.model import Claims

LINUX = "manylinux_2_28_x86_64"


def requires_torch(promised: Claims) -> str | None:
    return subject({}, promised).requires_torch


@pytest.mark.parametrize(
    ("tag", "python", "first", "last"),
    [
        (f"cp38-abi3-{LINUX}", "", "3.8", "3.20"),
        (f"cp38-abi3-{LINUX}", ">=3.11,<3.15", "3.11", "3.14"),
        (f"cp38-abi3-{LINUX}", ">=3.11.4", "3.11", "3.20"),
        (f"cp38-abi3-{LINUX}", ">3.10", "3.10", "3.20"),  # 3.10.1 is newer than 3.10
        (f"cp38.cp310-abi3-{LINUX}", "", "3.8", "3.20"),
        (f"cp312-cp312-{LINUX}", ">=3.9", "3.12", "3.12"),
        (f"cp312-none-{LINUX}", "", "3.12", "3.12"),
        (f"py39-none-{LINUX}", "", "3.9", "3.20"),
        (f"py3-none-{LINUX}", ">=3.10", "3.10", "3.20"),
        (f"py2.py3-none-{LINUX}", "", "3.2", "3.20"),
        (f"cp313-cp313t-{LINUX}", "", "3.13", "3.13"),
        (f"cp315-abi3t-{LINUX}", "", "3.15", "3.20"),
        (f"pp310-pypy310_pp73-{LINUX}", "", "3.10", "3.10"),
    ],
)
def test_admitted_pythons(tag: str, python: str, first: str, last: str) -> None:
    admitted = admitted_pythons(claims(tag, python=python))
    assert (str(admitted[0]), str(admitted[-1])) == (first, last)


def test_no_python_is_admitted() -> None:
    assert admitted_pythons(claims(f"cp38-cp38-{LINUX}", python=">=3.9")) == ()


@pytest.mark.parametrize(
    ("tag", "claimed"), [("cp39-abi3", True), ("cp315-abi3t", True), ("py39-none", False)]
)
def test_claims_abi3(tag: str, claimed: bool) -> None:  # noqa: FBT001
    assert claims_abi3(claims(f"{tag}-{LINUX}")) is claimed


def test_nothing_is_asked_of_torch() -> None:
    assert torch_specifiers(claims()) == (None,)
    assert requires_torch(claims()) is None


def test_any_torch_is_asked_for() -> None:
    assert requires_torch(claims(torch=("torch",))) == ""


def test_several_requirements_hold_together() -> None:
    assert requires_torch(claims(torch=("torch>=2.9", "torch<2.11"))) == "<2.11,>=2.9"


def test_markers_are_evaluated_for_the_tags_platform() -> None:
    promised = claims(
        torch=('torch>=2.9; sys_platform == "linux"', 'torch>=2.5; sys_platform == "win32"')
    )
    assert requires_torch(promised) == ">=2.9"


def test_markers_are_evaluated_for_every_python() -> None:
    promised = claims(
        torch=('torch>=2.9; python_version < "3.12"', 'torch>=2.11; python_version >= "3.12"')
    )
    assert requires_torch(promised) == ">=2.11 || >=2.9"


def test_a_marker_that_leaves_environments_out() -> None:
    demands = torch_specifiers(claims(torch=('torch>=2.9; python_version >= "3.12"',)))
    assert [demand and str(demand) for demand in demands] == [None, ">=2.9"]


def test_a_requirement_of_an_extra_is_not_everybodys() -> None:
    promised = claims(torch=('torch>=2.9; extra == "gpu"',), extras=("gpu", "docs"))
    assert torch_specifiers(promised) == (None,)
    assert extras_with_torch(promised) == ("gpu",)


def test_a_direct_reference_names_one_version() -> None:
    url = "torch @ https://example.org/torch-2.9.1-cp312-cp312-manylinux_2_28_x86_64.whl#sha256=0"
    assert requires_torch(claims(torch=(url,))) == "==2.9.1"


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/torch-2.9.1-cp312-cp312-manylinux_2_28_x86_64.whl?x=1#sha256=0",
        "https://example.org/torch-2.9.1%2Bcu128-cp312-cp312-manylinux_2_28_x86_64.whl",
    ],
)
def test_a_direct_reference_is_quoted(url: str) -> None:
    (specifier,) = torch_specifiers(claims(torch=(f"torch @ {url}",)))
    assert list(map(str, admitted_torch(specifier, CATALOG.published))) == ["2.9.1"]


@pytest.mark.parametrize("marker", ['sys_platform ~= "linux"', '"x" in extras'])
def test_a_marker_that_can_not_be_compared(marker: str) -> None:
    with pytest.raises(AuditError, match="METADATA has Requires-Dist"):
        requires_torch(claims(torch=(f"torch; {marker}",)))


def test_cuda_that_requirements_bring() -> None:
    brought = brought_cuda(
        claims(cuda=("nvidia-cuda-runtime-cu12", "nvidia-cublas", "nvidia-curand-cu12"))
    )
    assert brought == {("cudart", 12), ("cublas", 13), ("cublaslt", 13), ("curand", 10)}


@pytest.mark.parametrize(
    ("requirement", "admitted", "future"),
    [
        ("torch", ["2.1.0", "2.8.0", "2.9.0", "2.9.1", "2.10.0", "2.11.0"], True),
        ("torch>=2.10", ["2.10.0", "2.11.0"], True),
        ("torch==2.9.*", ["2.9.0", "2.9.1"], False),
        ("torch~=2.9.0", ["2.9.0", "2.9.1"], False),
        ("torch==2.9", ["2.9.0"], False),
        ("torch>=2.8,<3", ["2.8.0", "2.9.0", "2.9.1", "2.10.0", "2.11.0"], True),
        ("torch>2.11", [], True),
        ("torch>=2.11,<2.15", ["2.11.0"], True),  # 2.12 to 2.14 will be admitted
        ("torch==2.11.*", ["2.11.0"], False),
        ("torch==2.12.*", [], True),
        ("torch==3.*", [], True),
        ("torch==4.*", [], True),
        ("torch==2.9.0+cu128", ["2.9.0"], False),
        ("torch===2.9.0+cu128", ["2.9.0"], False),
        ("torch==2.9.0.dev20250801", ["2.9.0"], False),
    ],
)
def test_admitted_torch(requirement: str, admitted: list[str], future: bool) -> None:  # noqa: FBT001
    (specifier,) = torch_specifiers(claims(torch=(requirement,)))
    assert list(admitted_torch(specifier, CATALOG.published)) == list(map(Version, admitted))
    assert bool(future_torch(specifier, CATALOG.newest)) is future


@pytest.mark.parametrize(
    ("demands", "pinned"),
    [
        (["==2.9.*"], "2.9.0 2.9.1"),
        (["==2.9.0", "==2.9.1"], "2.9.0 2.9.1"),
        (["==2.11.*"], "2.11.0"),
        (["==2.9.*", "==2.10.*"], ""),  # two series
        (["==2.9.*", None], ""),  # somewhere it may be any
        ([">=2.11"], ""),  # newer ones as well
        (["==2.9.*", "==2.12.*"], ""),
        (["==2.3.*"], ""),  # none that is known
    ],
)
def test_pinned_torch(demands: list[str | None], pinned: str) -> None:
    specifiers = [None if demand is None else SpecifierSet(demand) for demand in demands]
    found = pinned_torch(specifiers, CATALOG.published)
    assert found == set(map(Version, pinned.split()))


@pytest.mark.parametrize(
    ("requirement", "brings"),
    [
        ("nvidia-cuda-runtime-cu12", True),
        ("nvidia-cuda-runtime-cu12>=0.0.0", True),
        ("nvidia-cuda-runtime-cu12==12.8.90", True),
        # Releases of this number are empty: they only keep the name.
        ("nvidia-cuda-runtime-cu12==0.0.0a0", False),
        ("nvidia-cuda-runtime-cu12===0.0", False),
        ("nvidia-cuda-runtime-cu12==0.0.1", True),
        ('nvidia-cuda-runtime-cu12; sys_platform == "linux"', True),
        ('nvidia-cuda-runtime-cu12; python_version >= "3.9"', True),
        # In some of the environments that the wheel is installed in, and not in all.
        ('nvidia-cuda-runtime-cu12; python_version >= "3.12"', False),
        ('nvidia-cuda-runtime-cu12; sys_platform == "win32"', False),
        ('nvidia-cuda-runtime-cu12; extra == "cuda"', False),
    ],
)
def test_cuda_is_brought_where_it_is_required_everywhere(requirement: str, brings: bool) -> None:  # noqa: FBT001
    assert brought_cuda(claims(cuda=(requirement,))) == ({("cudart", 12)} if brings else set())


@pytest.mark.parametrize(
    ("requirement", "brings"),
    [
        ("nvidia-cuda-runtime", {("cudart", 13)}),
        ("nvidia-cuda-runtime==12.*", {("cudart", 12)}),
        ("nvidia-cuda-runtime~=12.8", {("cudart", 12)}),
        ("nvidia-cuda-runtime>=12.8,<13", {("cudart", 12)}),
        ("nvidia-cuda-runtime<13", {("cudart", 13)}),  # it does not say
        ("nvidia-cudnn-cu13", {("cudnn", 9)}),
        ("nvidia-cufft-cu12", {("cufft", 11)}),
        ("nvidia-cufft", {("cufft", 12)}),
        ("cuda-toolkit[nvrtc,cublas]==12.9.1", {("nvrtc", 12), ("cublas", 12), ("cublaslt", 12)}),
        ("cuda-toolkit", set()),
        ("nvidia-something-cu12", set()),
    ],
)
def test_the_libraries_of_a_package_have_the_numbers_of_its_cuda(
    requirement: str, brings: set[tuple[str, int]]
) -> None:
    assert brought_cuda(claims(cuda=(requirement,))) == brings


def test_installers_choose_no_pre_release() -> None:
    nightly = Version("2.12.0.dev20261001")
    for demand in ("torch", "torch>=2.9"):
        (specifier,) = torch_specifiers(claims(torch=(demand,)))
        assert admitted_torch(specifier, [CATALOG.newest, nightly]) == (CATALOG.newest,)

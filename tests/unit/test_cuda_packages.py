"""Which libraries of CUDA requirements bring, by package and release."""

from __future__ import annotations

import pytest

from tests.builders import claims
from torch_abi_audit.claims.cuda_packages import brought_cuda

# Each package, and the number that its libraries have in CUDA 12 and in 13.
PACKAGES = {
    "cuda-runtime": ("cudart:12", "cudart:13"),
    "cuda-nvrtc": ("nvrtc:12", "nvrtc:13"),
    "cuda-cupti": ("cupti:12", "cupti:13"),
    "cublas": ("cublas:12 cublaslt:12", "cublas:13 cublaslt:13"),
    "cufft": ("cufft:11", "cufft:12"),
    "curand": ("curand:10", "curand:10"),
    "cusolver": ("cusolver:11", "cusolver:12"),
    "cusparse": ("cusparse:12", "cusparse:12"),
    "cusparselt": ("cusparselt:0", "cusparselt:0"),
    "cufile": ("cufile:0", "cufile:0"),
    "cudnn": ("cudnn:9", "cudnn:9"),
    "nccl": ("nccl:2", "nccl:2"),
    "nvjitlink": ("nvjitlink:12", "nvjitlink:13"),
    "nvtx": ("nvtoolsext:1", "nvtoolsext:1"),
    "nvshmem": ("nvshmem_host:3", "nvshmem_host:3"),
}


def brought(*requirements: str) -> str:
    found = sorted(brought_cuda(claims(cuda=requirements)))
    return " ".join(f"{stem}:{number}" for stem, number in found)


@pytest.mark.parametrize("name", PACKAGES)
def test_packages(name: str) -> None:
    of_12, of_13 = PACKAGES[name]
    assert brought(f"nvidia-{name}-cu12") == of_12
    assert brought(f"nvidia-{name}-cu13") == of_13
    assert brought(f"nvidia-{name}>=12.8,!=13.1") == of_12
    assert brought(f"nvidia-{name}~=12.8") == of_12
    assert brought(f"nvidia-{name}") == of_13
    assert brought(f"nvidia-{name}==12.*") == of_12
    assert brought(f"nvidia-{name}>=12.8,>=13") == brought(f"nvidia-{name}>=13,>=12.8") == of_13
    # What it leaves out tells nothing of what it asks for.
    assert brought(f"nvidia-{name}!=12.9") == of_13
    assert brought(f"nvidia-{name}<13") == of_13


def test_the_toolkit() -> None:
    assert brought("cuda-toolkit[cudart,nvrtc,cupti]==12.8.1") == "cudart:12 cupti:12 nvrtc:12"
    assert brought("cuda-toolkit[cublas]==12.8.1", "nvidia-nccl-cu13") == (
        "cublas:12 cublaslt:12 nccl:2"
    )
    assert brought("cuda-toolkit==12.8.1") == ""
    assert brought("cuda-toolkit[unheard]==12.8.1") == ""
    every = " ".join(of_13 for _, of_13 in PACKAGES.values()).split()
    npp = "c ial icc idei if ig im ist isu itc s"
    every += [*(f"npp{name}:13" for name in npp.split()), "nvjpeg:13"]
    assert brought("cuda-toolkit[npp,nvjpeg]==12.8.1").startswith("nppc:12 nppial:12 nppicc:12")
    assert brought("cuda-toolkit[all]") == " ".join(sorted(every))


def test_other_packages() -> None:
    assert brought() == ""
    assert brought("nvidia-unheard-cu12", "nvidia-ml-py") == ""
    assert brought("NVIDIA_cuda.runtime-cu11") == "cudart:11"

"""NVIDIA's packages: which CUDA libraries a requirement installs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name
from packaging.version import Version

from torch_abi_audit.claims.markers import applying_everywhere

if TYPE_CHECKING:
    from packaging.requirements import Requirement

    from torch_abi_audit.model import Claims

# The libraries in NVIDIA's packages, by the name without `nvidia-` and `-cu12`: those that
# torch's CUDA builds depend on,
_OF_TORCH = {
    "cuda-runtime": ("cudart",),
    "cuda-nvrtc": ("nvrtc",),
    "cuda-cupti": ("cupti",),
    "cublas": ("cublas", "cublaslt"),
    "cufft": ("cufft",),
    "curand": ("curand",),
    "cusolver": ("cusolver",),
    "cusparse": ("cusparse",),
    "cusparselt": ("cusparselt",),
    "cufile": ("cufile",),
    "cudnn": ("cudnn",),
    "nccl": ("nccl",),
    "nvjitlink": ("nvjitlink",),
    "nvtx": ("nvtoolsext",),
    "nvshmem": ("nvshmem_host",),
}
# and others.
_CUDA_PACKAGES = {
    **_OF_TORCH,
    "npp": (
        *("nppc", "nppial", "nppicc", "nppidei", "nppif", "nppig"),
        *("nppim", "nppist", "nppisu", "nppitc", "npps"),
    ),
    "nvjpeg": ("nvjpeg",),
}
_STEMS_OF_TORCH = frozenset(stem for stems in _OF_TORCH.values() for stem in stems)
# The extras of cuda-toolkit that are not named after the package.
_TOOLKIT = {"cudart": "cuda-runtime", "nvrtc": "cuda-nvrtc", "cupti": "cuda-cupti"}
# Libraries whose interface number is not that of CUDA 12 or 13.
_INTERFACES = {
    "cufft": {12: 11, 13: 12},
    "curand": {12: 10, 13: 10},
    "cusolver": {12: 11, 13: 12},
    "cusparse": {13: 12},
    "cusparselt": {12: 0, 13: 0},
    "cufile": {12: 0, 13: 0},
    "cudnn": {12: 9, 13: 9},
    "nccl": {12: 2, 13: 2},
    "nvtoolsext": {12: 1, 13: 1},
    "nvshmem_host": {12: 3, 13: 3},
}


_ZERO = r"0(?:\.0)*(?:(?:a|b|rc|\.?dev|\.\*)[0-9]*)?"


def brought_cuda(claims: Claims) -> frozenset[tuple[str, int]]:
    """Return the stems and numbers of the CUDA libraries that the requirements install everywhere.

    Package names end in the major number for CUDA 12 and older, but not for 13. `cuda-toolkit`
    of any release installs the packages that its extras name.

    Raises:
        AuditError: A marker has an invalid comparison, or there are too many to evaluate.
    """
    found: set[tuple[str, int]] = set()
    for requirement in applying_everywhere(claims, claims.cuda_requirements):
        if _is_placeholder(requirement):
            continue
        name = canonicalize_name(requirement.name)
        package, _, suffix = name.rpartition("-cu")
        if suffix.isdigit():
            major = int(suffix)
        else:
            package, major = name, _major(requirement)
        stems = _CUDA_PACKAGES.get(package.removeprefix("nvidia-"), ())
        if name == "cuda-toolkit":
            named = {_TOOLKIT.get(extra, extra) for extra in requirement.extras}
            packages = _CUDA_PACKAGES if "all" in requirement.extras else named
            stems = tuple(stem for item in packages for stem in _CUDA_PACKAGES.get(item, ()))
        for stem in stems:
            found.add((stem, cuda_interface(stem, major)))
    return frozenset(found)


def cuda_interface(stem: str, major: int) -> int:
    """Return the number of one of CUDA's libraries in a major release of CUDA.

    >>> cuda_interface("cudart", 13), cuda_interface("cufft", 13)
    (13, 12)
    """
    return _INTERFACES.get(stem, {}).get(major, major)


def cuda_major(library: tuple[str, int]) -> int | None:
    """Return the major release of CUDA that has a library; None if its number does not tell.

    Args:
        library: Its stem and number; see `catalog.libraries.cuda_library`.

    >>> cuda_major(("cudart", 13)), cuda_major(("cufft", 11)), cuda_major(("nccl", 2))
    (13, 12, None)
    """
    stem, number = library
    interfaces = _INTERFACES.get(stem)
    if interfaces is not None:
        majors = [major for major, interface in interfaces.items() if interface == number]
        return majors[0] if len(interfaces) > 1 and len(majors) == 1 else None
    if not any(stem in stems for stems in _CUDA_PACKAGES.values()):
        return None
    return number


def comes_with_torch(stem: str) -> bool:
    """Whether some CUDA build of torch depends on a CUDA library, in whichever release of CUDA."""
    return stem in _STEMS_OF_TORCH


def package_of(stem: str, number: int) -> str | None:
    """Return the requirement on NVIDIA's package with a CUDA library; None if it is unknown.

    Args:
        stem: The library, as in `catalog.libraries.cuda_library`.
        number: Its interface number: that of CUDA 12 or 13, after which the package is named.
    """
    suffix = {12: "-cu12", 13: "==13.*"}.get(number)
    named = (package for package, stems in _CUDA_PACKAGES.items() if stem in stems)
    package = next(named, None)
    known = package is not None and suffix is not None and stem not in _INTERFACES
    return f"nvidia-{package}{suffix}" if known else None


def _is_placeholder(requirement: Requirement) -> bool:
    """Whether a requirement pins release zero, an empty one that NVIDIA reserves names with."""
    pins = [item.version for item in requirement.specifier if item.operator in ("==", "===")]
    return any(re.fullmatch(_ZERO, version) for version in pins)


def _major(requirement: Requirement) -> int:
    """Return the newest major release that a requirement names; 13 if it names none."""
    asked = (item for item in requirement.specifier if item.operator in ("==", ">=", "~="))
    majors = (Version(item.version.removesuffix(".*")).major for item in asked)
    return max(majors, default=13)

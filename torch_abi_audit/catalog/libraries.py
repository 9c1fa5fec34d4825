"""Library names: which are torch's own, which are CUDA's, which are CPython's."""

from __future__ import annotations

import re
from functools import lru_cache

# The libraries in torch's own wheels, on all three systems. Tools that bundle libraries in
# a wheel add a hash to the name: `libc10-3d9c5a1f.so`, `libc10.3d9c5a1f.so`.
_STEM = (
    r"(?:torch(?:_cpu|_cuda|_cuda_cu|_cuda_cpp|_cuda_linalg|_python|_global_deps|_hip|_xpu"
    r"|_nvshmem)?|c10(?:_cuda|_hip|_xpu)?|caffe2_nvrtc)"
)
_OF_BUNDLING = r"[-.][0-9a-f]{6,64}"
_HASH = rf"(?:{_OF_BUNDLING})?"
_TORCH_LIBRARY = re.compile(
    rf"lib{_STEM}{_HASH}(?:\.so(?:\.[0-9.]+)?|(?:\.[0-9.]+)?\.dylib)|{_STEM}{_HASH}\.dll"
)
_TORCH_COPY = re.compile(rf"(lib{_STEM}){_OF_BUNDLING}\.so(?:\.[0-9.]+)?")
# CUDA's libraries as named on Linux and Windows, with their interface number.
_CUDA_LIBRARY = re.compile(
    r"lib(?P<linux>cu[a-zA-Z]+|nv[a-zA-Z]+|npp[a-z]+|nccl)\.so\.(?P<number>[0-9]+)[0-9.]*"
    r"|(?P<windows>cu[a-z]+?|nv[a-z]+?|npp[a-z]+?)(?:64)?_(?P<n>[0-9]+)[0-9_]*\.dll",
    re.IGNORECASE,
)
_WITH_MINOR = 100  # and above: a DLL's number that has the minor release too
# CPython's libraries: `python312.dll`, `libpython3.12.so.1.0`,
# `Python.framework/Versions/3.12/Python`;
# `python3.dll` and `libpython3.so` have the stable ABI only.
_PYTHON_LIBRARY = re.compile(
    rf"(?:.*/)?(?P<lib>lib)?python3(?:\.?(?P<minor>[0-9]+))?(?P<free>t?)(?P<debug>_?d)?[mu]*{_HASH}"
    r"\.(?P<suffix>dll|so(?:\.[0-9.]+)?|dylib)"
    r"|(?:.*/)?Python(?P<framework_free>T?)\.framework/"
    r"(?:Versions/3\.(?P<framework>[0-9]+)t?/)?PythonT?"
)
# The driver's libraries come with the machine.
_DRIVER = frozenset(
    {"libcuda.so.1", "libnvidia-ml.so.1", "libnvcuvid.so.1", "libnvidia-encode.so.1"}
    | {"nvcuda.dll", "nvml.dll", "nvcuvid.dll", "nvencodeapi64.dll"}
)


@lru_cache(maxsize=4096)
def is_torch_library(name: str) -> bool:
    """Whether a needed name, soname or filename is one of torch's own libraries."""
    return _TORCH_LIBRARY.fullmatch(name) is not None


def copied_torch_library(name: str) -> str | None:
    """Return which of torch's libraries a bundled one is a copy of; None for others. ELF.

    >>> copied_torch_library("libtorch_cpu-872a1bfe.so")
    'libtorch_cpu'
    """
    match = _TORCH_COPY.fullmatch(name)
    return match[1] if match else None


def is_driver(name: str) -> bool:
    """Whether a library is part of NVIDIA's driver, which every machine with CUDA has."""
    return name in _DRIVER


@lru_cache(maxsize=4096)
def cuda_library(name: str) -> tuple[str, int] | None:
    """Split the name of one of CUDA's libraries into its stem and number; None for others.

    The stem is in lower case, as names of DLLs are: `libcublasLt.so.12`, `cublaslt64_12.dll`. The
    number is without the minor release, which some DLLs have: `nvrtc64_120_0.dll`.

    >>> cuda_library("libcudart.so.12")
    ('cudart', 12)
    >>> cuda_library("nvrtc64_120_0.dll")
    ('nvrtc', 12)
    """
    match = _CUDA_LIBRARY.fullmatch(name)
    if match is None or name in _DRIVER:
        return None
    if match["linux"]:
        return match["linux"].lower(), int(match["number"])
    number = int(match["n"])
    return match["windows"].lower(), number // 10 if number >= _WITH_MINOR else number


@lru_cache(maxsize=4096)
def python_library(path: str) -> str | None:
    """Return the Python version that a library is the interpreter of; None for other libraries.

    A letter after the version names the kind of build: `t` free-threaded, `d` debug, `m` MinGW,
    whose library no other Python for Windows has.

    >>> python_library("python312.dll")
    '3.12'
    >>> python_library("python3.dll")
    '3'
    """
    match = _PYTHON_LIBRARY.fullmatch(path)
    if match is None:
        return None
    minor = match["minor"] or match["framework"]
    letters = "t" if match["free"] or match["framework_free"] else ""
    letters += "d" if match["debug"] else ""
    letters += "m" if match["lib"] and match["suffix"] == "dll" else ""
    return f"3.{minor}{letters}" if minor else f"3{letters}"

"""What clang needs beside torch's headers: those of each platform's system, all from packages.

The packages are those of the dependency group `build-catalog`. Of the host come the headers
of libstdc++, whose types are laid out as they were since GCC 5, and those of Python.
"""

from __future__ import annotations

import re
import sysconfig
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from torch_abi_audit.catalog.build.stubs import stub_headers
from torch_abi_audit.errors import AuditError

_CUDA = "nvidia-cuda-runtime-cu12"
_GLIBC = ("-D__GLIBC_MINOR__=34",)
# Classes are laid out as Microsoft's compiler does, and the C headers are those of MinGW,
# which take any other compiler for their own.
_MINGW = (
    "-fms-compatibility-version=0",
    "-fno-ms-compatibility",
    "-fno-ms-extensions",
    "-D_UCRT",
    "-D__MINGW32__",
    "-D__MINGW64__",
    "-D__declspec(a)=",
    "-D_cdecl=__cdecl",
)
# The target, the folders of the C headers, and what else they need.
_TARGETS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "linux_x86_64": (
        "x86_64-linux-gnu",
        ("x86-linux-gnu", "generic-glibc", "x86-linux-any", "any-linux-any"),
        _GLIBC,
    ),
    "linux_aarch64": (
        "aarch64-linux-gnu",
        ("aarch64-linux-gnu", "generic-glibc", "aarch64-linux-any", "any-linux-any"),
        _GLIBC,
    ),
    "macos_arm64": ("arm64-apple-macos14", ("any-darwin-any",), ()),
    "windows_x86_64": ("x86_64-pc-windows-msvc", ("any-windows-any",), _MINGW),
}
# torch's wheels for macOS have the headers for CUDA, and nothing behind them.
_CUDA_HEADER = re.compile(r".*(?:/cuda/|/cudnn/|nccl|NCCL|symm_mem|/cuda\w*\.h|CUDA).*")


def is_exact(platform: str) -> bool:
    """Whether sizes and offsets are those of the platform, to the byte.

    For Windows there are no headers of Microsoft's standard library. LLVM's stands in: what
    changed is the same, by how many bytes is not.
    """
    return not platform.startswith("windows")


def is_for(platform: str, header: str) -> bool:
    """Whether a header of torch's means anything on a platform."""
    return platform.startswith("linux") or not _CUDA_HEADER.fullmatch(header)


def compiler_arguments(platform: str, include: Path, stubs: Path) -> list[str] | None:
    """Return clang's arguments for a platform; None for one that it can't read headers for.

    Args:
        platform: The key of the platform, e.g. ``linux_x86_64``.
        include: The folder of torch's headers.
        stubs: An empty folder, for the headers that no package has.

    Raises:
        AuditError: A package of the group, or a header of the host's, is missing.
    """
    if platform not in _TARGETS:
        return None
    target, c_folders, others = _TARGETS[platform]
    for name, text in stub_headers().items():
        path = stubs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    zig = _package("ziglang") / "lib"
    system = [
        *(_libstdcxx() if platform.startswith("linux") else [_libcxx()]),
        zig / "include",
        *(zig / "libc" / "include" / name for name in c_folders),
        Path(sysconfig.get_path("include")),
        stubs,
    ]
    defines = ["-DUSE_DISTRIBUTED", "-DUSE_C10D", "-DUSE_RPC"]
    if platform.startswith("linux"):
        system.append(_cuda())
        defines.append("-DUSE_C10D_NCCL")
    return [
        f"--target={target}",
        "-nostdinc",
        *others,
        *defines,
        f"-I{include / 'torch' / 'csrc' / 'api' / 'include'}",
        *(f"-isystem{path}" for path in (include / "kineto", *system)),
    ]


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise AuditError(f"no {name}: install the dependency group build-catalog")
    return Path(spec.origin).parent


def _libcxx() -> Path:
    return _package("clang") / "native" / "libcxx"


def _cuda() -> Path:
    try:
        found = distribution(_CUDA).locate_file("nvidia/cuda_runtime/include")
    except PackageNotFoundError as error:
        raise AuditError(f"no {_CUDA}: install the dependency group build-catalog") from error
    return Path(str(found))


def _libstdcxx() -> list[Path]:
    """Return the folders of the host's newest libstdc++."""
    folders = sorted(
        (path for path in Path("/usr/include/c++").glob("*") if path.name.split(".")[0].isdigit()),
        key=lambda path: int(path.name.split(".")[0]),
    )
    for folder in reversed(folders):
        configs = sorted(
            path.parent.parent
            for pattern in (f"*/c++/{folder.name}", f"c++/{folder.name}/*-linux*")
            for path in Path("/usr/include").glob(f"{pattern}/bits/c++config.h")
        )
        if configs:
            return [folder, configs[0]]
    raise AuditError("no headers of libstdc++: install g++")

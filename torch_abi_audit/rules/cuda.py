"""Rules about CUDA: its runtime, and the torch builds that include it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch_abi_audit.claims.torch_requirement import requirement
from torch_abi_audit.model import LOADING, BuildSource, DemandSource, Severity, Subject, TorchAbi
from torch_abi_audit.rules.checked import checked_releases, is_missed
from torch_abi_audit.rules.evidence import lacking, libraries
from torch_abi_audit.rules.registry import Hit, require, rule
from torch_abi_audit.wording import join, ranges, unique

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packaging.version import Version

    from torch_abi_audit.catalog import Catalog
    from torch_abi_audit.model import Evidence, Fix, Reason


@rule(
    "cuda-major-mismatch",
    Severity.ERROR,
    "a library needs another CUDA major version than an allowed torch release depends on, and"
    " nothing in the wheel or its requirements provides it",
    why="torch depends on the CUDA runtime packages of one major version. A library linked against"
    " another one does not find its libcudart.so and does not load, whatever its ABI.",
    fix="Link the runtime statically, which is nvcc's default:\n"
    "    nvcc -cudart static\n"
    "or allow only the releases with the same CUDA:\n"
    '    dependencies = ["torch>=2.9,<2.11"]\n'
    "or publish one wheel per CUDA major version.",
)
def cuda_major_mismatch(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report releases of torch next to which the CUDA runtime is not found."""
    broken = _broken(subject, catalog, built_with_cuda=True)
    if not broken:
        return
    paths = {path for found in broken.values() for path, _ in found}
    _, example = broken[min(broken)][0]
    loading = [
        release
        for release in checked_releases(subject, catalog)
        if subject.matrix.row[release].status in LOADING
    ]
    fix: Fix | str = "build with the CUDA major version of the torch release that is required"
    if loading and subject.source is DemandSource.METADATA:
        stable = subject.torch_abi is TorchAbi.STABLE
        line = requirement(loading, catalog.published, open_ended=stable)
        fix = require(line, ", or link the CUDA runtime statically")
    yield Hit(
        f"the wheel needs {example.name}, but {example.detail}, so it does not load on torch"
        f" {ranges(broken, catalog.releases)}",
        libraries=tuple(sorted(paths)),
        evidence=_reasons(broken),
        fix=fix,
    )


@rule(
    "cuda-build-required",
    Severity.NOTE,
    "a library links to libtorch_cuda or libc10_cuda, which only CUDA builds of torch have",
    why="libtorch_cuda and libc10_cuda are only in CUDA builds of torch. Next to a CPU build, or on"
    " Windows and macOS, where PyPI has no other, the library does not load.",
    fix="Put the CUDA code into a library of its own that is only loaded where torch.version.cuda"
    " is set; or publish a wheel without it for these platforms.",
)
def cuda_build_required(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report libraries that do not load next to a torch build without CUDA.

    An error if no CUDA build of an allowed release is known for the platform.
    """
    broken = _broken(subject, catalog, built_with_cuda=False)
    if broken:
        loading = any(subject.matrix.row[r].status in LOADING for r in subject.matrix.row)
        paths = {path for found in broken.values() for path, _ in found}
        keys = {item.platform for item in subject.libraries if item.path in paths}
        on = join(filter(None, keys))
        said = f"torch on PyPI for {on} is CPU-only"
        other = "if the wheel is for CUDA builds from another index, name one with --torch-build"
        if subject.build is not None:
            said = f"torch's {subject.build.name} build has no CUDA"
            chosen = subject.build.source in (BuildSource.OPTION, BuildSource.TORCH)
            other = f"{'check against' if chosen else 'or require'} a CUDA build of torch"
        if subject.source is DemandSource.AGAINST:
            said, other = (
                "the torch of --against is CPU-only",
                "check against a CUDA build of torch",
            )
        without = "build without CUDA for this platform"
        yield Hit(
            f"{said} ({ranges(broken, catalog.releases)}), but {{libraries:need}} CUDA",
            libraries=tuple(sorted(paths)),
            evidence=_reasons(broken),
            fix=f"exclude these releases, or {without}" if loading else f"{without}; {other}",
            severity=Severity.ERROR,
        )
        return
    users = [item for item in subject.libraries if any("cuda" in n for n in item.torch.needed)]
    if users:
        yield Hit(
            "{libraries:load} only next to a CUDA build of torch",
            libraries=unique(item.path for item in users),
            evidence=libraries(sorted({n for i in users for n in i.torch.needed if "cuda" in n})),
        )


def _broken(
    subject: Subject, catalog: Catalog, *, built_with_cuda: bool
) -> dict[Version, list[tuple[str, Reason]]]:
    """Return the checked releases that libraries do not load on because of CUDA."""
    found: dict[Version, list[tuple[str, Reason]]] = {}
    checked = checked_releases(subject, catalog)
    keys = {item.path: item.platform or "" for item in subject.libraries}
    for path, row in subject.matrix.libraries.items():
        platform = catalog.platforms.get(keys[path])
        for release in checked:
            build = platform and platform.build(release)
            if not build or (build.cuda is not None) is not built_with_cuda:
                continue
            reasons = [(path, reason) for reason in row[release].reasons if reason.is_about_cuda]
            if reasons and is_missed(subject, path, release):
                found.setdefault(release, []).extend(reasons)
    return found


def _reasons(broken: dict[Version, list[tuple[str, Reason]]]) -> tuple[Evidence, ...]:
    return tuple(sorted(lacking(reason for found in broken.values() for _, reason in found)))

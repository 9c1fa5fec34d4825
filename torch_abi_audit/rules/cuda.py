"""Rules about CUDA: its runtime, and the builds of torch that have it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch_abi_audit.claims.torch_requirement import names_other_build, requirement
from torch_abi_audit.model import LOADING, Severity, Subject, TorchAbi
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
    "it needs a CUDA runtime of another major than an admitted torch release brings,"
    " and nothing in the wheel or its requirements brings it",
    why="torch brings the CUDA runtime as packages of one major version. A library that is "
    "linked with another finds no libcudart.so of its own, and does not load, whatever its "
    "ABI.",
    fix="Admit only the releases with the same CUDA:\n"
    '    dependencies = ["torch>=2.9,<2.11"]\n'
    "or publish a wheel for each major of CUDA, or link the runtime statically (nvcc "
    "-cudart static), or require the packages that bring it:\n"
    '    dependencies = ["nvidia-cuda-runtime-cu12"]',
)
def cuda_major_mismatch(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report releases of torch beside which the CUDA runtime is not found."""
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
    fix: Fix | str = "build it with the CUDA of the torch release that it requires"
    if loading:
        stable = subject.torch_abi is TorchAbi.STABLE
        line = requirement(loading, catalog.published, open_ended=stable)
        fix = require(line, ", or publish a wheel for each major of CUDA")
    yield Hit(
        f"it does not load with torch {ranges(broken, catalog.releases)}: it needs"
        f" {example.name}, and {example.detail}",
        libraries=tuple(sorted(paths)),
        evidence=_reasons(broken),
        fix=fix,
    )


@rule(
    "cuda-build-required",
    Severity.NOTE,
    "it links libtorch_cuda or libc10_cuda, so it loads only with a CUDA build of torch",
    why="libtorch_cuda and libc10_cuda are there only in builds of torch with CUDA. Beside a "
    "build for the CPU, or on Windows and macOS where the index has no other, the library "
    "does not load.",
    fix="Put the CUDA code into a library of its own, which is loaded only where "
    "torch.version.cuda is set; or publish for such platforms a wheel that is built "
    "without it.",
)
def cuda_build_required(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report libraries that builds of torch without CUDA do not serve.

    An error where a release that the metadata admits has no build with CUDA on the index.
    """
    broken = _broken(subject, catalog, built_with_cuda=False)
    if broken:
        loading = any(subject.matrix.row[r].status in LOADING for r in subject.matrix.row)
        paths = {path for found in broken.values() for path, _ in found}
        keys = {item.platform for item in subject.libraries if item.path in paths}
        yield Hit(
            f"the torch {ranges(broken, catalog.releases)} of the index for"
            f" {join(key for key in keys if key)} is built without CUDA, and"
            " {libraries:need} it",
            libraries=tuple(sorted(paths)),
            evidence=_reasons(broken),
            fix="exclude these releases, or build it without CUDA for this platform"
            if loading
            else "build it without CUDA for this platform; if it is for builds of torch with CUDA"
            " from another index, judge it with --against one of them",
            severity=Severity.ERROR,
        )
        return
    users = [item for item in subject.libraries if any("cuda" in n for n in item.torch.needed)]
    if users:
        yield Hit(
            "{libraries:load} only with a build of torch with CUDA",
            libraries=unique(item.path for item in users),
            evidence=libraries(sorted({n for i in users for n in i.torch.needed if "cuda" in n})),
        )


def _broken(
    subject: Subject, catalog: Catalog, *, built_with_cuda: bool
) -> dict[Version, list[tuple[str, Reason]]]:
    """Return the judged releases that libraries do not load with because of CUDA.

    Demands for another build of torch than the index has, as `==2.9.0+cu128`, are left out.
    """
    found: dict[Version, list[tuple[str, Reason]]] = {}
    if any(map(names_other_build, subject.demands)):
        return found
    judged = checked_releases(subject, catalog)
    keys = {item.path: item.platform or "" for item in subject.libraries}
    for path, row in subject.matrix.libraries.items():
        platform = catalog.platforms.get(keys[path])
        for release in judged:
            build = platform and platform.build(release)
            if not build or (build.cuda is not None) is not built_with_cuda:
                continue
            reasons = [(path, reason) for reason in row[release].reasons if reason.is_about_cuda]
            if reasons and is_missed(subject, path, release):
                found.setdefault(release, []).extend(reasons)
    return found


def _reasons(broken: dict[Version, list[tuple[str, Reason]]]) -> tuple[Evidence, ...]:
    return tuple(sorted(lacking(reason for found in broken.values() for _, reason in found)))

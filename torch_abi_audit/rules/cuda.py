"""Rules about CUDA: its runtime, and the builds of torch that have it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch_abi_audit.model import Cause, ReleaseStatus, Severity, Subject
from torch_abi_audit.rules.judged import judged_releases
from torch_abi_audit.rules.registry import Hit, rule
from torch_abi_audit.rules.words import count, join, ranges, requirement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packaging.version import Version

    from torch_abi_audit.catalog import Catalog
    from torch_abi_audit.model import Reason


@rule(
    "cuda-major-mismatch",
    Severity.ERROR,
    "it needs a CUDA runtime of another major than an admitted torch release brings,"
    " and nothing in the wheel or its requirements brings it",
)
def cuda_major_mismatch(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report releases of torch beside which the CUDA runtime is not found."""
    broken: dict[Version, list[Reason]] = {}
    needing: dict[str, str] = {}
    for path, row in subject.matrix.libraries.items():
        for release in judged_releases(subject, catalog):
            for reason in row[release].reasons:
                if reason.cause is Cause.CUDA and "without CUDA" not in reason.detail:
                    broken.setdefault(release, []).append(reason)
                    needing.setdefault(reason.name, path)
    if not broken:
        return
    examples = dict.fromkeys((broken[min(broken)][0], broken[max(broken)][0]))
    row = subject.matrix.row
    good = [
        release
        for release in judged_releases(subject, catalog)
        if row[release].status in (ReleaseStatus.GUARANTEED, ReleaseStatus.LINKS)
    ]
    if good:
        fix = f"Requires-Dist: {requirement(good, open_ended=catalog.newest in good)}"
        help_ = f"{fix}, or publish a wheel for each major of CUDA"
    else:
        help_ = "build it with the CUDA of the torch release that it requires"
    yield Hit(
        f"it does not load with torch {ranges(broken, catalog.releases)}: it needs"
        f" {'; '.join(map(str, examples))}",
        library=next(iter(needing.values())) if len(set(needing.values())) == 1 else None,
        evidence=tuple(sorted(needing)),
        help=help_,
    )


@rule(
    "cuda-build-required",
    Severity.NOTE,
    "it links libtorch_cuda or libc10_cuda, so it loads only with a CUDA build of torch",
)
def cuda_build_required(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report libraries that builds of torch without CUDA do not serve.

    An error where no release that the metadata admits has a build with CUDA on the index.
    """
    users = [item for item in subject.libraries if any("cuda" in n for n in item.torch.needed)]
    if not users:
        return
    judged = judged_releases(subject, catalog)
    keys = sorted({item.platform for item in users if item.platform is not None})
    builds = [
        build
        for key in keys
        if key in catalog.platforms
        for build in catalog.platforms[key].builds
        if build.version in judged
    ]
    without = bool(builds) and all(build.cuda is None for build in builds)
    names = sorted({name for item in users for name in item.torch.needed if "cuda" in name})
    where = f", and the index has none for {join(keys)}" if without else ""
    yield Hit(
        f"{count(len(users), 'library')} {'loads' if len(users) == 1 else 'load'} only with a"
        f" build of torch with CUDA{where}",
        library=users[0].path if len(users) == 1 else None,
        evidence=tuple(names),
        help="" if not without else "build it without CUDA for this platform",
        severity=Severity.ERROR if without else None,
    )

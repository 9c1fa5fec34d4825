"""Rules about torch: its ABI, and what the metadata asks of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch_abi_audit.abi.torch import highest_floor, is_torch_library, worst_abi
from torch_abi_audit.claims import (
    admits_future_torch,
    admitted_torch,
    extras_with_torch,
    torch_specifiers,
)
from torch_abi_audit.model import Severity, Subject, TorchAbi
from torch_abi_audit.rules.registry import Hit, rule
from torch_abi_audit.rules.words import count, join, short

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packaging.version import Version

    from torch_abi_audit.catalog import Catalog


@rule(
    "unstable-torch-symbol",
    Severity.ERROR,
    "a library imports a symbol of libtorch that is not a stable shim",
)
def unstable_torch_symbol(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report what keeps a library off the stable ABI."""
    for library in subject.libraries:
        unstable = library.torch.unstable
        if unstable:
            yield Hit(
                f"it imports {count(len(unstable), 'symbol')} of libtorch outside the stable ABI",
                library=library.path,
                evidence=unstable,
                help=(
                    "use torch::stable and torch::headeronly instead, and build with"
                    " -DTORCH_TARGET_VERSION, which makes every other header of torch an error"
                ),
            )


@rule(
    "torch-floor-understated",
    Severity.ERROR,
    "`Requires-Dist: torch` admits releases older than the floor",
)
def torch_floor_understated(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report releases of torch that installers may choose and the wheel does not load on."""
    floor = highest_floor(library.torch for library in subject.libraries)
    if floor is None:
        return
    older: set[Version] = set()
    for specifier in torch_specifiers(subject.claims):
        if specifier is not None:
            admitted = admitted_torch(specifier, catalog.published)
            older |= {release for release in admitted if release < floor.release}
    if not older:
        return
    oldest = min(older)
    why = (
        f"{join(floor.symbols[:1])} first appeared in {floor.release}"
        if floor.symbols
        else f"the stable ABI is promised since {floor.release}"
    )
    help_ = f"Requires-Dist: torch>={short(floor.release)}"
    if floor.symbols:
        help_ += (
            f", or build with -DTORCH_TARGET_VERSION={_target(max(oldest, catalog.promised_since))}"
        )
    yield Hit(
        f"the metadata admits torch {oldest}, the wheel needs {floor.release} or newer: {why}",
        library=next(
            library.path
            for library in subject.libraries
            if library.torch.floor is not None and library.torch.floor.release == floor.release
        ),
        evidence=floor.symbols,
        help=help_,
    )


@rule(
    "torch-undeclared",
    Severity.WARNING,
    "a library needs torch and the metadata does not require it",
)
def torch_undeclared(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report a dependency that no installer knows of."""
    users = [library for library in subject.libraries if library.torch.needs_torch]
    if not users or None not in torch_specifiers(subject.claims):
        return
    extras = extras_with_torch(subject.claims)
    if extras:
        where = f"requires it only with the extra {join(extras)}"
    elif subject.claims.torch_requirements:
        where = "requires it only under a marker that does not hold everywhere"
    else:
        where = "does not require it"
    floor = highest_floor(library.torch for library in users)
    if floor is not None:
        line = f"Requires-Dist: torch>={short(floor.release)}"
    elif worst_abi(library.torch for library in users) is TorchAbi.UNSTABLE:
        line = "Requires-Dist: torch==X.Y.*, the release that the wheel was built with"
    else:
        line = "Requires-Dist: torch"
    yield Hit(
        f"{count(len(users), 'library')} {'needs' if len(users) == 1 else 'need'} torch,"
        f" and the metadata {where}",
        library=users[0].path if len(users) == 1 else None,
        evidence=tuple(library.path for library in users) if len(users) > 1 else (),
        help=f"add {line}",
    )


@rule(
    "torch-unpinned",
    Severity.ERROR,
    "unstable ABI, and the metadata admits releases beyond those it links with",
)
def torch_unpinned(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report an unstable wheel that installers may put beside other releases of torch."""
    if worst_abi(library.torch for library in subject.libraries) is not TorchAbi.UNSTABLE:
        return
    for specifier in torch_specifiers(subject.claims):
        admitted = admitted_torch(specifier, catalog.published)
        series = sorted({release.release[:2] for release in admitted})
        future = admits_future_torch(specifier)
        if len(series) <= 1 and not future:
            continue
        if specifier is None:
            what = "requires no release of torch"
        elif not str(specifier):
            what = "admits every release of torch"
        elif series:
            first, last = (".".join(map(str, pair)) for pair in (series[0], series[-1]))
            beyond = " and any later release" if future else ""
            what = f"admits torch {first}{f' to {last}' if first != last else ''}{beyond}"
        else:
            what = "admits any later release of torch"
        yield Hit(
            f"the unstable ABI changes with every minor release, and the metadata {what}",
            evidence=() if specifier is None else (f"torch{specifier}",),
            help="Requires-Dist: torch==X.Y.*, the release that the wheel was built with",
        )


@rule(
    "unknown-shim-symbol",
    Severity.WARNING,
    "a shim-like symbol that the catalog does not know: the floor is a lower bound",
)
def unknown_shim_symbol(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report shims that are newer than the catalog, or nobody's."""
    for library in subject.libraries:
        unknown = library.torch.unknown_shims
        if unknown:
            yield Hit(
                f"no torch up to {catalog.newest} declares {count(len(unknown), 'function')} that"
                " it imports: the floor is a lower bound",
                library=library.path,
                evidence=unknown,
                help=(
                    "if torch provides it, use a torch-abi-audit whose catalog knows that release"
                ),
            )


@rule(
    "bundled-libtorch",
    Severity.ERROR,
    "the wheel carries its own libtorch, libc10 or libtorch_python",
)
def bundled_libtorch(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report copies of torch's libraries: two libtorch in one process do not work together."""
    if subject.claims.name == "torch":
        return
    for library in subject.libraries:
        names = {library.path.rpartition("/")[2], library.library.soname or ""}
        copies = sorted(name for name in names if is_torch_library(name))
        if copies:
            yield Hit(
                "the wheel carries a library of torch's own, beside the one of the torch that"
                " is installed",
                library=library.path,
                evidence=tuple(copies),
                help=f"exclude it from the repair step: auditwheel repair --exclude {copies[0]}",
            )


def _target(release: Version) -> str:
    """Return a release as the macro TORCH_TARGET_VERSION takes it (headers of 2.10)."""
    return f"0x{release.major:02x}{release.minor:02x}{0:012x}"

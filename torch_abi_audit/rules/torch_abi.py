"""Rules about the ABI of torch that libraries use, whatever the metadata says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch_abi_audit.abi.platform import libstdcxx_is_promised
from torch_abi_audit.abi.torch import highest_floor, is_torchs
from torch_abi_audit.model import Severity, Subject
from torch_abi_audit.rules.registry import Hit, rule
from torch_abi_audit.rules.words import count, does, join

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
    "unguaranteed-shim",
    Severity.NOTE,
    "a C shim outside the headers that the stable ABI's promise names, or deprecated there",
)
def unguaranteed_shim(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report shims that torch exports and does not promise to keep."""
    for item in subject.libraries:
        names = [name for name in item.torch.shims if not catalog.shims[name].promised]
        if names:
            headers = {catalog.shims[name].header.rpartition("/")[2] for name in names}
            yield Hit(
                f"it uses {count(len(names), 'shim')} of {join(headers)}, which the promise of"
                " ABI stability does not name",
                library=item.path,
                evidence=tuple(names),
            )


@rule(
    "unstable-inline-code",
    Severity.WARNING,
    "code inlined from libtorch's unstable headers, which no undefined symbol shows",
)
def unstable_inline_code(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report stable libraries that were not compiled against the stable headers alone."""
    for item in subject.libraries:
        inlined = item.torch.inlined
        if inlined:
            yield Hit(
                f"it imports stable shims only, and defines {count(len(inlined), 'function')} of"
                " torch's unstable headers itself",
                library=item.path,
                evidence=inlined,
                help="build with -DTORCH_TARGET_VERSION, which makes those headers an error",
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
        if is_torchs(library.path, library.library):
            yield Hit(
                "the wheel carries a library of torch's own, beside the one of the torch that"
                " is installed",
                library=library.path,
                evidence=(library.library.soname,) if library.library.soname else (),
                help="exclude it from the repair step: auditwheel repair --exclude 'libtorch*'"
                " --exclude 'libc10*'",
            )


@rule(
    "leaked-libstdcxx-symbol",
    Severity.WARNING,
    "it takes a symbol of libstdc++ from libtorch, which exports it since some release only",
)
def leaked_libstdcxx_symbol(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report names of libstdc++ that are newer than what the platform tag promises."""
    tags = frozenset(tag.platform for tag in subject.claims.tags)
    since: dict[str, Version] = {}
    versions: dict[str, str] = {}
    users: list[str] = []
    for item in subject.libraries:
        platform = catalog.platforms.get(item.platform or "")
        if platform is None or not item.torch.leaked:
            continue
        for name in item.torch.leaked:
            leak = platform.leaks[name]
            if not libstdcxx_is_promised(leak.version, tags):
                numbers = [n for n in range(len(platform.builds)) if leak.mask >> n & 1]
                since[name] = platform.builds[numbers[0]].version
                versions[name] = leak.version
                users.append(item.path)
    if since:
        floor = highest_floor(item.torch for item in subject.libraries)
        newest = max(since, key=lambda name: (since[name], name))
        paths = list(dict.fromkeys(users))
        yield Hit(
            f"{does(len(paths), 'library', 'take')}"
            f" {count(len(since), 'symbol')} of libstdc++ from libtorch, newer than"
            f" the platform tag promises: torch has {newest} since {since[newest]}, libstdc++ since"
            f" {versions[newest]}",
            library=paths[0] if len(paths) == 1 else None,
            evidence=tuple(sorted(since)),
            help="link with -lstdc++ named before torch's libraries",
            # No floor that would not show: the shims ask for as new a torch themselves.
            severity=Severity.NOTE if floor and floor.release >= since[newest] else None,
        )


@rule(
    "foreign-symbol-from-libtorch",
    Severity.WARNING,
    "it relies on a third-party library's copy that libtorch happens to export",
)
def foreign_symbol_from_libtorch(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report functions that are no part of torch and that any release may drop."""
    for item in subject.libraries:
        foreign = item.torch.foreign
        if foreign:
            yield Hit(
                f"it finds {count(len(foreign), 'symbol')} of other projects only in the copies"
                " that libtorch happens to export",
                library=item.path,
                evidence=foreign,
                help="link that library itself",
            )


@rule(
    "links-torch-python",
    Severity.NOTE,
    "it needs libtorch_python",
)
def links_torch_python(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report libraries that are tied to a torch for Python.

    A warning where a symbol of it is used, not only linked (which is the default of
    torch's build helper).
    """
    linked: list[str] = []
    using: list[str] = []
    for item in subject.libraries:
        python = [name for name in item.torch.needed if "torch_python" in name]
        if not python:
            continue
        platform = catalog.platforms.get(item.platform or "")
        used = platform is not None and any(
            set(platform.table.exporters(name)) <= set(python)
            for name in (*item.torch.unstable, *item.torch.foreign)
            if platform.table.exporters(name)
        )
        (using if used else linked).append(item.path)
    if using:
        yield Hit(
            f"{does(len(using), 'library', 'use')} libtorch_python, which is built for one Python",
            library=using[0] if len(using) == 1 else None,
            evidence=tuple(using) if len(using) > 1 else (),
            severity=Severity.WARNING,
        )
    if linked:
        yield Hit(
            f"{does(len(linked), 'library', 'need')}"
            " libtorch_python, and nothing from it is imported",
            library=linked[0] if len(linked) == 1 else None,
            evidence=tuple(linked) if len(linked) > 1 else (),
            help="leave torch_python out of `libraries`, or build with py_limited_api=True",
        )

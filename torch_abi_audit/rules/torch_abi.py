"""Rules about the ABI of torch that libraries use, whatever the metadata says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch_abi_audit.abi.torch import is_torchs
from torch_abi_audit.model import Severity, Subject
from torch_abi_audit.rules.evidence import files, libraries, symbols
from torch_abi_audit.rules.registry import Hit, rule
from torch_abi_audit.wording import join, unique

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packaging.version import Version

    from torch_abi_audit.catalog import Catalog


UNSTABLE_ABI = "unstable-torch-symbol"


@rule(
    UNSTABLE_ABI,
    Severity.ERROR,
    "a library imports a symbol of libtorch that is not a stable shim",
    why="torch promises nothing about its C++ symbols: any release may change, move or drop "
    "one. The wheel loads with the releases that happen to have all of them, often a single "
    "one, and a user with another release gets an ImportError with an undefined symbol.",
    fix="Include the stable headers only, torch/csrc/stable and torch/headeronly, and let the "
    "compiler refuse all others:\n"
    "    -DTORCH_TARGET_VERSION=0x020a000000000000\n"
    "Register operators with STABLE_TORCH_LIBRARY and call others through torch::stable. "
    "Until that is done, pin the release that the wheel was built with, and gate with "
    "--check claims:\n"
    "    Requires-Dist: torch==2.10.*\n"
    "Libraries that are still to be moved can be listed under `migrating` in the "
    "configuration.",
)
def unstable_torch_symbol(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report what keeps a library off the stable ABI."""
    for library in subject.libraries:
        unstable = library.torch.unstable
        if unstable:
            yield Hit(
                "it imports {evidence:symbol} of libtorch outside the stable ABI",
                libraries=(library.path,),
                evidence=symbols(unstable),
                fix=(
                    "use torch::stable and torch::headeronly instead, and build with"
                    " -DTORCH_TARGET_VERSION, which makes every other header of torch an error"
                ),
            )


@rule(
    "unknown-shim-symbol",
    Severity.WARNING,
    "a library imports a shim-like symbol that the catalog does not know: the floor is a lower"
    " bound",
    why="A name that begins like a function of the C shim, which no release in the catalog "
    "declares. It may come with a newer torch; then the floor that is reported is too low. "
    "Or it is nobody's, and the library loads nowhere.",
    fix="Update torch-abi-audit, whose catalog knows the releases up to its own. To judge "
    "against a torch that is newer than any catalog, a nightly for example:\n"
    "    torch-abi-audit --against path/to/site-packages WHEEL",
)
def unknown_shim_symbol(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report shims that are newer than the catalog, or nobody's."""
    for library in subject.libraries:
        unknown = library.torch.unknown_shims
        if unknown:
            yield Hit(
                f"no torch up to {catalog.newest} declares {{evidence:function}} that"
                " it imports: the floor is a lower bound",
                libraries=(library.path,),
                evidence=symbols(unknown),
                fix=(
                    "if torch provides it, use a torch-abi-audit whose catalog knows that release"
                ),
            )


@rule(
    "unguaranteed-shim",
    Severity.NOTE,
    "a library uses a C shim outside the headers that the stable ABI's promise names, or"
    " deprecated there",
    why="The promise of ABI stability names shim.h, stable/c/shim.h and the generated c_shim_*.h, "
    "and holds for two years. Other shims are exported and have been stable so far, and nobody "
    "promised that they stay.",
    fix="Use the function of the promised headers where there is one. Otherwise know that a "
    "later torch may break the wheel, and audit it again with each release.",
)
def unguaranteed_shim(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report shims that torch exports and does not promise to keep."""
    for item in subject.libraries:
        names = [name for name in item.torch.shims if not catalog.shims[name].promised]
        if names:
            headers = {catalog.shims[name].header.rpartition("/")[2] for name in names}
            yield Hit(
                f"it uses {{evidence:shim}} of {join(headers)}, which the promise of"
                " ABI stability does not name",
                libraries=(item.path,),
                evidence=symbols(names),
            )


@rule(
    "unstable-inline-code",
    Severity.WARNING,
    "a library has code inlined from libtorch's unstable headers, which no undefined symbol shows",
    why="Code of torch's C++ headers was compiled into the library. It takes the layout of "
    "classes for granted, which changes from release to release without any symbol that "
    "goes missing: it loads, and then crashes.",
    fix="Build with the macro that makes every other header of torch an error:\n"
    "    -DTORCH_TARGET_VERSION=0x020a000000000000",
)
def unstable_inline_code(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report stable libraries that were not compiled against the stable headers alone."""
    for item in subject.libraries:
        inlined = item.torch.inlined
        if inlined:
            yield Hit(
                "it imports stable shims only, and defines {evidence:function} of"
                " torch's unstable headers itself",
                libraries=(item.path,),
                evidence=symbols(inlined),
                fix="build with -DTORCH_TARGET_VERSION, which makes those headers an error",
            )
        elif item.torch.headers:
            yield Hit(
                "it imports stable shims only, and has assertions of {evidence:header} of"
                " torch's unstable ABI inlined",
                libraries=(item.path,),
                evidence=files(item.torch.headers),
                fix="build with -DTORCH_TARGET_VERSION, which makes those headers an error",
            )


@rule(
    "bundled-libtorch",
    Severity.ERROR,
    "the wheel carries its own libtorch, libc10 or libtorch_python",
    why="Two copies of libtorch in one process have two registries of operators and two "
    "allocators. Operators registered with one do not exist in the other, and tensors "
    "passed between them crash.",
    fix="Leave torch's libraries out of the repair step:\n"
    "    auditwheel repair --exclude 'libtorch*' --exclude 'libc10*' WHEEL\n"
    "    delocate-wheel --exclude libtorch --exclude libc10 WHEEL\n"
    '    delvewheel repair --exclude "torch*.dll;c10*.dll" WHEEL',
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
                libraries=(library.path,),
                evidence=libraries(filter(None, (library.library.soname,))),
                fix="exclude it from the repair step: auditwheel repair --exclude 'libtorch*'"
                " --exclude 'libc10*'",
            )


@rule(
    "leaked-libstdcxx-symbol",
    Severity.WARNING,
    "it takes a symbol of libstdc++ from libtorch, which exports it since some release only",
    why="The compiler was newer than the oldest system that the platform tag promises, and the "
    "linker found what that system's libstdc++ lacks in libtorch, which exports it by "
    "accident since some release. So the wheel needs that release of torch, though no shim "
    "and no symbol version says so.",
    fix="Name libstdc++ before torch's libraries when linking, so that the symbol version is "
    "recorded and auditwheel can see it, or build with an older compiler:\n"
    '    extra_link_args = ["-lstdc++"]',
)
def leaked_libstdcxx_symbol(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report names of libstdc++ that are newer than what the platform tag promises."""
    tags = subject.platform_tags
    since: dict[str, Version] = {}
    versions: dict[str, str] = {}
    users: list[str] = []
    for item in subject.libraries:
        platform = catalog.platforms.get(item.platform or "")
        if platform is None or not item.torch.leaked:
            continue
        for name in item.torch.leaked:
            leak = platform.leaks[name]
            if not all(platform.finds_leak(name, build, tags) for build in platform.builds):
                numbers = [n for n in range(len(platform.builds)) if leak.mask >> n & 1]
                since[name] = platform.builds[numbers[0]].version
                versions[name] = leak.version
                users.append(item.path)
    if since:
        floor = subject.torch_floor
        newest = max(since, key=lambda name: (since[name], name))
        paths = list(dict.fromkeys(users))
        yield Hit(
            "{libraries:take} {evidence:symbol}"
            f" of libstdc++ from libtorch, newer than"
            f" the platform tag promises: torch has {newest} since {since[newest]}, libstdc++ since"
            f" {versions[newest]}",
            libraries=tuple(paths),
            evidence=symbols(sorted(since)),
            fix="link with -lstdc++ named before torch's libraries",
            # No floor that would not show: the shims ask for as new a torch themselves.
            severity=Severity.NOTE if floor and floor.release >= since[newest] else None,
        )


@rule(
    "foreign-symbol-from-libtorch",
    Severity.WARNING,
    "it relies on a third-party library's copy that libtorch happens to export",
    why="libtorch is linked with other projects' code and exports some of it by accident. Any "
    "release may update that code, hide it or drop it.",
    fix="Link the library itself, statically best of all, and do not rely on torch for it.",
)
def foreign_symbol_from_libtorch(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report functions that are no part of torch and that any release may drop."""
    for item in subject.libraries:
        foreign = item.torch.foreign
        if foreign:
            yield Hit(
                "it finds {evidence:symbol} of other projects only in the copies"
                " that libtorch happens to export",
                libraries=(item.path,),
                evidence=symbols(foreign),
                fix="link that library itself",
            )


@rule(
    "links-torch-python",
    Severity.NOTE,
    "it needs libtorch_python",
    why="libtorch_python is built for one Python. A library that needs it can't be loaded where "
    "torch was built without Python, and one that uses its symbols is bound to the unstable "
    "ABI.",
    fix="torch.utils.cpp_extension links it by default; it does not with\n"
    "    CppExtension(..., py_limited_api=True)\n"
    "In CMake leave TORCH_PYTHON_LIBRARY out of target_link_libraries.",
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
            "{libraries:use} libtorch_python, which is built for one Python",
            libraries=unique(using),
            severity=Severity.WARNING,
        )
    if linked:
        yield Hit(
            "{libraries:need} libtorch_python, and nothing from it is imported",
            libraries=unique(linked),
            fix="leave torch_python out of `libraries`, or build with py_limited_api=True",
        )

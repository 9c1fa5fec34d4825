"""Rules about which torch interfaces libraries use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch_abi_audit.abi.torch import is_torchs
from torch_abi_audit.claims.torch_requirement import admitted_by_any
from torch_abi_audit.model import PythonAbi, Severity, Subject
from torch_abi_audit.rules.checked import is_confined
from torch_abi_audit.rules.evidence import files, libraries, of_libraries, symbols
from torch_abi_audit.rules.registry import Hit, rule
from torch_abi_audit.wording import join, short, unique

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from packaging.version import Version

    from torch_abi_audit.catalog import Catalog
    from torch_abi_audit.model import Evidence, LibraryAudit


UNSTABLE_ABI = "unstable-torch-symbol"


def _using(
    subject: Subject, names: Callable[[LibraryAudit], Sequence[str]]
) -> tuple[tuple[str, ...], tuple[Evidence, ...]]:
    """Return the libraries that use symbols of some kind, and these symbols as evidence."""
    each = ((item.path, symbols(names(item))) for item in subject.libraries)
    found = [(path, evidence) for path, evidence in each if evidence]
    return unique(path for path, _ in found), of_libraries(found)


@rule(
    UNSTABLE_ABI,
    Severity.ERROR,
    "a library imports a libtorch symbol that is not part of the stable ABI",
    why="PyTorch makes no promise about its C++ symbols: any release may change, move or remove"
    " one, or change a class that inlined code relies on. The wheel works with the minor release"
    " that it was built for. A wheel that requires exactly that release is fine: the finding is a"
    " note then, unless --require-stable is given.",
    fix="Pin the release that the wheel was built with, in pyproject.toml:\n"
    '    dependencies = ["torch==2.10.*"]\n'
    "or move to the stable ABI. Include only the headers under torch/csrc/stable and"
    " torch/headeronly, and let the compiler reject all others:\n"
    "    -DTORCH_TARGET_VERSION=0x020a000000000000\n"
    "Register operators with STABLE_TORCH_LIBRARY, and call others through torch::stable. With -v"
    " the report groups the symbols by what takes their place; for one of them:\n"
    "    torch-abi-audit explain at::_ops::empty_like::call\n"
    "List the"
    " libraries that are still to be moved under `migrating` in the configuration.",
)
def unstable_torch_symbol(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report unstable torch symbols that libraries use: a note if the metadata allows for it."""
    users, evidence = _using(subject, lambda item: item.torch.unstable)
    if users:
        yield Hit(
            "{libraries:use} the unstable C++ ABI of libtorch ({evidence:symbol})",
            libraries=users,
            evidence=evidence,
            fix="use torch::stable and torch::headeronly, and build with -DTORCH_TARGET_VERSION",
            severity=Severity.NOTE if is_confined(subject, catalog) else None,
        )


@rule(
    "unknown-shim-symbol",
    Severity.WARNING,
    "a library imports a symbol that looks like a stable shim, but is in no known torch release",
    why="The name starts like those of torch's C shim, but no known release declares it. It may be"
    " from a newer PyTorch; then the wheel needs that release or newer. If it is not, the library"
    " cannot load at all.",
    fix="Update torch-abi-audit, which covers the torch releases up to its own release. To check"
    " against a torch that is newer than that, such as a nightly:\n"
    "    torch-abi-audit --against path/to/site-packages WHEEL",
)
def unknown_shim_symbol(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report shims that are newer than the catalog, or not torch's."""
    users, evidence = _using(subject, lambda item: item.torch.unknown_shims)
    if users:
        yield Hit(
            f"{{libraries:import}} {{evidence:symbol}} that no torch up to {short(catalog.newest)}"
            " declares: the wheel may need a newer release",
            libraries=users,
            evidence=evidence,
            fix="update torch-abi-audit if a newer torch provides it",
        )


@rule(
    "unguaranteed-shim",
    Severity.NOTE,
    "a library uses a C shim that the stable ABI does not cover, or that is deprecated",
    why="PyTorch guarantees shim.h, stable/c/shim.h and the generated c_shim_*.h for two years."
    " Other shims are exported and have been stable so far, but nothing guarantees that they stay.",
    fix="Use a function of the guaranteed headers where there is one. Otherwise audit the wheel"
    " again with each torch release.",
)
def unguaranteed_shim(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report shims that torch exports without guaranteeing them."""
    users, evidence = _using(
        subject,
        lambda item: [name for name in item.torch.shims if not catalog.shims[name].promised],
    )
    if users:
        headers = {catalog.shims[item.name].header.rpartition("/")[2] for item in evidence}
        yield Hit(
            f"{{libraries:use}} {{evidence:shim}} of {join(headers)}, which the stable ABI does not"
            " cover",
            libraries=users,
            evidence=evidence,
        )


@rule(
    "unstable-inline-code",
    Severity.WARNING,
    "a library contains code inlined from torch's unstable headers, which no undefined symbol"
    " shows",
    why="Code from torch's C++ headers was compiled into the library. It relies on the layout of"
    " classes, which changes between releases without any symbol going missing: the library"
    " loads, and then crashes or computes something else.",
    fix="Build with the macro that makes the compiler reject every unstable header:\n"
    "    -DTORCH_TARGET_VERSION=0x020a000000000000",
)
def unstable_inline_code(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report stable libraries that were not compiled against only the stable headers."""
    fix = "build with -DTORCH_TARGET_VERSION, which makes the compiler reject these headers"
    defining, inlined = _using(subject, lambda item: item.torch.inlined)
    asserting = [i for i in subject.libraries if i.torch.headers and not i.torch.inlined]
    if defining:
        yield Hit(
            "{libraries:contain} {evidence:function} of torch's unstable headers, but"
            " only stable shims are imported",
            libraries=defining,
            evidence=inlined,
            fix=fix,
        )
    if asserting:
        yield Hit(
            "{libraries:contain} code of {evidence:unstable torch header}, but only stable shims"
            " are imported",
            libraries=unique(item.path for item in asserting),
            evidence=of_libraries((i.path, files(i.torch.headers)) for i in asserting),
            fix=fix,
        )


@rule(
    "bundled-libtorch",
    Severity.ERROR,
    "the wheel contains its own copy of libtorch, libc10 or libtorch_python",
    why="Two copies of libtorch in one process have two operator registries and two allocators."
    " Operators registered with one do not exist in the other, and tensors passed between them"
    " crash.",
    fix="Exclude torch's libraries from the repair step:\n"
    "    auditwheel repair --exclude 'libtorch*' --exclude 'libc10*' WHEEL\n"
    "    delocate-wheel --exclude libtorch --exclude libc10 WHEEL\n"
    '    delvewheel repair --exclude "torch*.dll;c10*.dll" WHEEL',
)
def bundled_libtorch(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report bundled copies of torch's libraries: two libtorch in a process conflict."""
    if subject.claims.name == "torch":
        return
    copies = [item for item in subject.libraries if is_torchs(item.path, item.library)]
    if copies:
        one = len({item.path for item in copies}) == 1
        yield Hit(
            f"{'a bundled copy' if one else 'bundled copies'} of torch's libraries would be loaded"
            " next to the installed torch",
            libraries=unique(item.path for item in copies),
            evidence=of_libraries(
                (item.path, libraries(filter(None, (item.library.soname,)))) for item in copies
            ),
            fix="exclude them from the repair step: auditwheel repair --exclude 'libtorch*'"
            " --exclude 'libc10*'",
        )


@rule(
    "leaked-libstdcxx-symbol",
    Severity.WARNING,
    "a library resolves a libstdc++ symbol from libtorch, which only some releases export",
    why="The compiler was newer than the oldest system that the platform tag allows, and the"
    " linker found what that system's libstdc++ lacks in libtorch, which exports it by accident."
    " So the wheel needs a torch release that does, though no shim and no symbol version shows it.",
    fix="Put libstdc++ before torch's libraries on the link line, so that the symbol version is"
    " recorded and auditwheel can see it. With setuptools:\n"
    '    CppExtension(..., libraries=["stdc++"])\n'
    "Options in extra_link_args come after torch's libraries, and change nothing. Or build with an"
    " older compiler.",
)
def leaked_libstdcxx_symbol(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report libstdc++ symbols that are newer than the platform tag guarantees."""
    tags = subject.platform_tags
    since: dict[str, Version] = {}
    versions: dict[str, str] = {}
    users: list[str] = []
    for item in subject.libraries:
        platform = catalog.platforms.get(item.platform or "")
        if platform is None:
            continue
        for name in item.torch.leaked:
            leak = platform.leaks[name]
            having = [b for b in platform.builds if leak.mask >> platform.number(b) & 1]
            lacked = not all(platform.finds_leak(name, build, tags) for build in platform.builds)
            if having and lacked:
                since[name] = having[0].version
                versions[name] = leak.version
                users.append(item.path)
    if since:
        floor = subject.torch_floor
        allowed = admitted_by_any(subject.demands, catalog.published)
        oldest = max(
            [*([floor.release] if floor else []), *([min(allowed)] if allowed else [])],
            default=None,
        )
        newest = max(since, key=lambda name: (since[name], name))
        paths = list(dict.fromkeys(users))
        yield Hit(
            "{libraries:resolve} {evidence:symbol} of libstdc++ from libtorch, which exports"
            f" {'one of them' if len(since) > 1 else 'it'} only since {short(since[newest])}"
            f" ({versions[newest]})",
            libraries=tuple(paths),
            evidence=symbols(sorted(since)),
            fix='put libstdc++ first on the link line: CppExtension(..., libraries=["stdc++"])',
            # The shims themselves need such a new torch, or the metadata allows no older one.
            severity=Severity.NOTE if oldest and oldest >= since[newest] else None,
        )


@rule(
    "foreign-symbol-from-libtorch",
    Severity.WARNING,
    "a library resolves a third-party symbol from libtorch, which exports it only by accident",
    why="libtorch contains code of other projects, and exports some of it by accident. Any release"
    " may update that code, hide it or remove it.",
    fix="Link the third-party library itself, preferably statically, and do not rely on torch for"
    " it.",
)
def foreign_symbol_from_libtorch(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report functions that are not part of torch and that any release may drop."""
    users, evidence = _using(subject, lambda item: item.torch.foreign)
    if users:
        yield Hit(
            "{libraries:rely} on {evidence:third-party symbol} that libtorch exports only by"
            " accident",
            libraries=users,
            evidence=evidence,
            fix="link the third-party library itself",
        )


@rule(
    "links-torch-python",
    Severity.NOTE,
    "a library links to libtorch_python",
    why="libtorch_python is built for one Python version. A library that links to it can't be"
    " loaded where torch was built without Python, and one that uses its symbols is on the"
    " unstable ABI.",
    fix="torch.utils.cpp_extension links it by default; it does not with\n"
    "    CppExtension(..., py_limited_api=True)\n"
    "In CMake leave TORCH_PYTHON_LIBRARY out of target_link_libraries.",
)
def links_torch_python(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report libraries that are tied to a torch for Python.

    A warning if they use a symbol from libtorch_python instead of just linking to it, which
    torch's build helper does by default.
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
            "{libraries:use} symbols of libtorch_python, which is built for one Python version",
            libraries=unique(using),
            fix="move the code that uses Python to a library of its own, or to the stable ABI",
            # The wheel is for one Python anyway; on the unstable ABI it is just another symbol.
            severity=Severity.NOTE
            if subject.python_abi is PythonAbi.VERSION_SPECIFIC or is_confined(subject, catalog)
            else Severity.WARNING,
        )
    if linked:
        yield Hit(
            "{libraries:link} to libtorch_python, but no symbol of it is used",
            libraries=unique(linked),
            fix="leave torch_python out of `libraries`, or build with py_limited_api=True",
        )

"""Rules about how libraries are linked: what the loader looks for, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch_abi_audit.catalog.libraries import cuda_library
from torch_abi_audit.claims.cuda_packages import package_of
from torch_abi_audit.claims.torch_requirement import admitted_by_any
from torch_abi_audit.model import (
    Evidence,
    EvidenceKind,
    Format,
    HostNeed,
    Severity,
    Subject,
)
from torch_abi_audit.rules.registry import Hit, rule
from torch_abi_audit.wording import join, unique

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch_abi_audit.catalog import Catalog
    from torch_abi_audit.model import HostLibrary


@rule(
    "runpath-outside-wheel",
    Severity.NOTE,
    "a library's search path (`RUNPATH`, `RPATH`, `LC_RPATH`) names an absolute path, usually one"
    " of the build machine",
    why="The loader searches absolute paths on the user's machine. The folder of the build machine"
    " does not exist there, so the path is useless. Where it does exist, the loader takes libraries"
    " from it that are not the wheel's, and whoever can write to it chooses them.",
    fix="Keep search paths relative to the library, and remove those of the build machine:\n"
    "    patchelf --set-rpath '$ORIGIN' LIBRARY\n"
    "    install_name_tool -delete_rpath /path/of/the/build LIBRARY\n"
    "In CMake set the search path of installed libraries:\n"
    "    set(CMAKE_INSTALL_RPATH $ORIGIN)\n"
    "    set(CMAKE_INSTALL_RPATH_USE_LINK_PATH OFF)",
)
def runpath_outside_wheel(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report search paths that lead out of the wheel."""
    found = [
        Evidence(EvidenceKind.PATH, entry, library=item.path)
        for item in subject.libraries
        for entry in (*item.library.rpath, *item.library.runpath)
        if entry.startswith("/")
    ]
    if found:
        paths = {item.library for item in found}
        formats = {item.library.format for item in subject.libraries if item.path in paths}
        yield Hit(
            "{libraries:have} an absolute path in the library search path",
            libraries=unique(item.library or "" for item in found),
            evidence=tuple(dict.fromkeys(found)),
            fix="set a search path relative to the library, "
            + join(_ORIGINS.get(format_, "$ORIGIN") for format_ in formats),
        )


_ORIGINS = {Format.ELF: "$ORIGIN", Format.MACHO: "@loader_path"}


@rule(
    "needed-library-missing",
    Severity.WARNING,
    "a library needs one that is not in the wheel, in torch or in the system, and no declared"
    " dependency is known to provide it",
    why="Metadata cannot require a library of the system, and no installer looks for one: the wheel"
    " installs everywhere, but this library loads only where somebody has installed the other"
    " one. A warning, because a wheel may count on a vendor's SDK there, or load the library on"
    " demand only. Libraries of which one version of several is enough are facts in the report,"
    " not findings.",
    fix="Bundle the library with the wheel:\n"
    "    auditwheel repair WHEEL      (Linux)\n"
    "    delocate-wheel WHEEL         (macOS)\n"
    "    delvewheel repair WHEEL      (Windows)\n"
    "or declare the package that provides it:\n"
    '    dependencies = ["nvidia-npp==13.*"]\n'
    "or tell users what to install, and ignore this finding with that as the reason.",
)
def needed_library_missing(subject: Subject, catalog: Catalog) -> Iterator[Hit]:
    """Report libraries that nothing declared provides and that something does not load without."""
    if not subject.claims.stated:
        return
    allowed = admitted_by_any(subject.demands or (None,), catalog.releases)
    missing = [
        item
        for item in subject.host.libraries
        if item.need is HostNeed.REQUIRED
        and item.known
        and not item.dependencies
        and allowed.isdisjoint(item.torch)
    ]
    if missing:
        names = [item.name for item in missing]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        it = "it" if len(names) == 1 else "them"
        paths = unique(sorted(path for item in missing for path in item.libraries))
        yield Hit(
            f"{{libraries:need}} {', '.join(names[:_NAMED])}{more}, but no declared dependency is"
            f" known to provide {it}",
            libraries=paths,
            evidence=tuple(
                Evidence(EvidenceKind.LIBRARY, item.name, library=path)
                for item in missing
                for path in item.libraries
            ),
            fix=_provided(missing, subject),
        )


_NAMED = 3  # libraries in a message
_REPAIRS = {
    Format.ELF: "auditwheel repair",
    Format.MACHO: "delocate-wheel",
    Format.PE: "delvewheel repair",
}


def _provided(missing: list[HostLibrary], subject: Subject) -> str:
    """Say how to provide libraries: those of NVIDIA's packages by a dependency."""
    packages = [
        package
        for item in missing
        if (cuda := cuda_library(item.name)) and (package := package_of(*cuda))
    ]
    paths = {path for item in missing for path in item.libraries}
    formats = {item.library.format for item in subject.libraries if item.path in paths}
    bundle = f"bundle it ({join(_REPAIRS[format_] for format_ in formats)})"
    if packages and len(packages) == len(missing):
        named = ", ".join(f'"{package}"' for package in unique(packages))
        return f"dependencies = [{named}], or {bundle}"
    return f"{bundle}, declare the package that provides it, or tell users to install it"

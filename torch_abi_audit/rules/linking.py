"""Rules about how libraries are linked: where the loader is told to look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch_abi_audit.model import Evidence, EvidenceKind, Format, Severity, Subject
from torch_abi_audit.rules.registry import Hit, rule
from torch_abi_audit.wording import join, unique

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch_abi_audit.catalog import Catalog


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

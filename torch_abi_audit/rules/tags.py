"""Rules about tags: whether the filename and the `WHEEL` file agree, and whether all are needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch_abi_audit.abi.modules import is_for_one_build
from torch_abi_audit.claims.python_tags import STABLE_ABIS
from torch_abi_audit.model import (
    Fix,
    Format,
    LibraryAudit,
    LibraryKind,
    PythonAbi,
    Severity,
    Subject,
)
from torch_abi_audit.rules.evidence import tags as tag_evidence
from torch_abi_audit.rules.registry import Hit, rule
from torch_abi_audit.rules.retag import python_tag, retag, stable_abi_fix
from torch_abi_audit.wording import count, join, unique

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from packaging.tags import Tag

    from torch_abi_audit.catalog import Catalog


@rule(
    "filename-tag-mismatch",
    Severity.WARNING,
    "the filename and the `WHEEL` file have different tags",
    why="Installers choose a wheel by its filename, but record the tags of the WHEEL file, which"
    " later tools read. Where the two differ, `pip check`, uv and lock files take it for another"
    " wheel.",
    fix="Never rename a wheel by hand. This changes both:\n"
    "    python -m wheel tags --platform-tag manylinux_2_28_x86_64 WHEEL",
)
def filename_tag_mismatch(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report tags that are in only one of the two places: installers read either."""
    tags, inside = subject.claims.tags, subject.claims.wheel_tags
    if tags == inside:
        return
    named, written = _first(tags - inside), _first(inside - tags)
    if not inside:
        message = "the WHEEL file has no tags, but the filename has"
    elif named and written:
        message = f"the filename says {named}, but the WHEEL file says {written}"
    elif named:
        message = f"the filename says {named}, but the WHEEL file does not"
    else:
        message = f"the WHEEL file says {written}, but the filename does not"
    yield Hit(
        message,
        evidence=tag_evidence(tags ^ inside),
        fix=Fix(
            "write the tags of the filename to WHEEL, and only rename wheels with `wheel tags`",
            retag(subject),
        ),
    )


def _first(tags: Collection[Tag]) -> str:
    """Return the first of some tags, and how many more there are."""
    named = min(map(str, tags), default="")
    return f"{named} and {len(tags) - 1} more" if len(tags) > 1 else named


@rule(
    "binaries-in-pure-wheel",
    Severity.ERROR,
    "a wheel with `Root-Is-Purelib: true` or platform tag `any` contains compiled files",
    why="A wheel for any platform is installed on all of them, but its compiled files only load on"
    " one. Some systems install such wheels to another folder than compiled ones.",
    fix="Build a platform wheel. In setuptools a project with ext_modules gets one automatically."
    " Otherwise say so:\n"
    "    from setuptools import Distribution, setup\n"
    "    class BinaryDistribution(Distribution):\n"
    "        def has_ext_modules(self): return True\n"
    "    setup(..., distclass=BinaryDistribution)",
)
def binaries_in_pure_wheel(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report compiled files that a pure wheel installs on systems that can't load them.

    A warning if nothing loads them by accident: all of them are programs, like the launchers
    that installers contain for other systems, or DLLs that Python does not import; or they are
    for several systems, so that one is chosen at run time, and no Python looks for them elsewhere.
    Also a warning if the platform tag is a real one, since such wheels install and load everywhere
    except on systems that keep two folders.
    """
    claims = subject.claims
    libraries = subject.libraries
    for_any = any(tag.platform == "any" for tag in claims.tags)
    if not libraries or not (for_any or claims.root_is_purelib):
        return
    paths = unique(library.path for library in libraries)
    said = "the platform tag is any" if for_any else "the WHEEL file says Root-Is-Purelib: true"
    systems = join({f"{item.library.system} {item.library.arch}" for item in libraries})
    yield Hit(
        f"{said}, but the wheel contains {count(len(paths), 'compiled file')}",
        libraries=paths,
        fix=f"build a platform wheel, tagged for {systems}"
        if for_any
        else "set Root-Is-Purelib: false: build a platform wheel",
        severity=None if for_any and not _are_harmless(libraries) else Severity.WARNING,
    )


@rule(
    "tag-overspecific",
    Severity.NOTE,
    "the wheel is tagged for one Python version or ABI, but nothing in it is tied to that",
    why="Nothing breaks. But a wheel per Python version is built, tested, uploaded and stored where"
    " one would do, and users of a new Python wait for a build that they do not need.",
    fix="Libraries that torch.ops.load_library loads need no Python at all: tag the wheel py3-none."
    " In setup.py:\n"
    "    from setuptools.command.bdist_wheel import bdist_wheel\n"
    "    class AnyPython(bdist_wheel):\n"
    '        def get_tag(self): return "py3", "none", super().get_tag()[2]\n'
    '    setup(..., cmdclass={"bdist_wheel": AnyPython})\n'
    "For modules that only use the stable ABI, build with py_limited_api=True and tag the wheel"
    " cp310-abi3.",
)
def tag_overspecific(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report wheels for one Python whose libraries also work on others."""
    tags = subject.claims.tags
    for_one = all(tag.interpreter.startswith("cp") and tag.abi not in STABLE_ABIS for tag in tags)
    abi = subject.python_abi
    free_threaded = any(tag.abi.endswith("t") for tag in tags)
    if not tags or subject.unreadable or not for_one or abi is PythonAbi.VERSION_SPECIFIC:
        return
    said = python_tag(tags)
    if abi is PythonAbi.NONE:
        yield Hit(
            f"the wheel is tagged {said}, but no compiled file in it uses CPython's C API",
            fix="tag the wheel py3-none, unless its Python files are for one version",
        )
    elif not free_threaded:
        users = [item for item in subject.libraries if item.python.abi is not PythonAbi.NONE]
        yield Hit(
            f"the wheel is tagged {said}, but only uses the stable ABI of Python"
            f" {subject.python_floor} and newer",
            fix=stable_abi_fix(subject, users),
        )


def _are_harmless(items: Sequence[LibraryAudit]) -> bool:
    if all(map(_is_harmless, items)):
        return True
    systems = {item.library.system for item in items}
    return len(systems) > 1 and not any(
        item.torch.needs_torch
        or (item.kind is LibraryKind.EXTENSION and not is_for_one_build(item.path))
        for item in items
    )


def _is_harmless(item: LibraryAudit) -> bool:
    aside = item.library.executable or item.library.format is Format.PE
    return aside and item.kind is not LibraryKind.EXTENSION and not item.torch.needs_torch

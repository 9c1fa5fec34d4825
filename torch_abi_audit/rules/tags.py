"""Rules about tags: the filename's, the `WHEEL` file's, and whether it needs them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from packaging.tags import parse_tag

from torch_abi_audit.abi.modules import is_for_one_build
from torch_abi_audit.claims.python_tags import STABLE_ABIS, admitted_pythons
from torch_abi_audit.model import Format, LibraryAudit, LibraryKind, PythonAbi, Severity, Subject
from torch_abi_audit.rules.evidence import tags as tag_evidence
from torch_abi_audit.rules.registry import Hit, rule
from torch_abi_audit.wording import count, join, limited_api

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch_abi_audit.catalog import Catalog

_ANY_PYTHON = parse_tag("py3-none-any")


@rule(
    "filename-tag-mismatch",
    Severity.WARNING,
    "the filename and `WHEEL` disagree",
    why="Installers choose a wheel by its filename; what they record, and what later tools "
    "read, is the WHEEL file. Where the two differ, `pip check`, uv and lock files take it "
    "for another wheel.",
    fix="Never rename a wheel by hand. This writes both:\n"
    "    python -m wheel tags --platform-tag manylinux_2_28_x86_64 WHEEL",
)
def filename_tag_mismatch(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report tags that stand in one place only: installers read either."""
    claims = subject.claims
    if claims.tags != claims.wheel_tags:
        inside = join(map(str, claims.wheel_tags)) or "no tag"
        yield Hit(
            f"the filename says {join(map(str, claims.tags))}, the WHEEL file says {inside}",
            evidence=tag_evidence(claims.tags ^ claims.wheel_tags),
            fix="rename wheels with `wheel tags`, which writes both",
        )


@rule(
    "binaries-in-pure-wheel",
    Severity.ERROR,
    "a wheel with `Root-Is-Purelib: true` or platform `any` has compiled members",
    why="A wheel for any platform is installed on all of them, and its compiled members load on "
    "one. Some systems keep such wheels in another folder than compiled ones.",
    fix="Build a platform wheel. In setuptools a project with ext_modules is one by itself; "
    "otherwise say so:\n"
    "    from setuptools import Distribution, setup\n"
    "    class BinaryDistribution(Distribution):\n"
    "        def has_ext_modules(self): return True\n"
    "    setup(..., distclass=BinaryDistribution)",
)
def binaries_in_pure_wheel(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report compiled members that a pure wheel takes to systems that can't load them.

    A warning where nothing loads them by accident: every one is a program, like the
    launchers that installers carry for another system, or a DLL that Python does not
    import; or they are for several systems, so that one is chosen at run time, and no
    Python looks for them elsewhere. And where the platform tag is a real one, since such
    wheels install and load everywhere but on systems that keep two folders.
    """
    claims = subject.claims
    libraries = subject.libraries
    for_any = any(tag.platform == "any" for tag in claims.tags)
    if not libraries or not (for_any or claims.root_is_purelib):
        return
    paths = tuple(dict.fromkeys(library.path for library in libraries))
    said = "the platform tag is any" if for_any else "WHEEL says Root-Is-Purelib: true"
    yield Hit(
        f"{said}, and the wheel has {count(len(paths), 'compiled member')}",
        libraries=paths,
        fix="build a platform wheel: Root-Is-Purelib: false, and a platform tag",
        severity=None if for_any and not _are_harmless(libraries) else Severity.WARNING,
    )


@rule(
    "tag-overspecific",
    Severity.NOTE,
    "nothing ties it to the tag's Python or ABI: one wheel would do where several are published",
    why="Nothing breaks; but a wheel for each Python is built, tested, uploaded and stored "
    "where one would do, and users of a new Python wait for a build that they do not need.",
    fix="Libraries that torch.ops.load_library loads need no Python at all: tag the wheel "
    "py3-none. In setup.py:\n"
    "    from setuptools.command.bdist_wheel import bdist_wheel\n"
    "    class AnyPython(bdist_wheel):\n"
    '        def get_tag(self): return "py3", "none", super().get_tag()[2]\n'
    '    setup(..., cmdclass={"bdist_wheel": AnyPython})\n'
    "For modules that keep to the stable ABI, build with py_limited_api=True and tag the "
    "wheel cp310-abi3.",
)
def tag_overspecific(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report wheels for one Python whose libraries would serve others."""
    tags = subject.claims.tags
    for_one = all(tag.interpreter.startswith("cp") and tag.abi not in STABLE_ABIS for tag in tags)
    abi = subject.python_abi
    free_threaded = any(tag.abi.endswith("t") for tag in tags)
    if not tags or subject.unreadable or not for_one or abi is PythonAbi.VERSION_SPECIFIC:
        return
    said = join({f"{tag.interpreter}-{tag.abi}" for tag in tags})
    if abi is PythonAbi.NONE:
        yield Hit(
            f"the tag says {said}, and nothing compiled in it uses CPython's C API",
            fix="tag it py3-none, unless its Python files are for one version",
        )
    elif not free_threaded:
        floor = subject.python_floor
        if floor is not None:
            pythons = admitted_pythons(replace(subject.claims, tags=_ANY_PYTHON))
            oldest = max(floor, pythons[0]) if pythons else floor
            yield Hit(
                f"the tag says {said}, and all that it imports of CPython's C API is in the"
                f" stable ABI of {floor} and newer",
                fix=f"build it with -DPy_LIMITED_API={limited_api(oldest)} and"
                f" py_limited_api=True, and tag it cp{oldest.major}{oldest.minor}-abi3",
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

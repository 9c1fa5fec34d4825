"""Rules about tags: the filename's, the `WHEEL` file's, and whether it needs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch_abi_audit.abi.cpython import highest_python_floor, worst_python_abi
from torch_abi_audit.claims import STABLE_ABIS
from torch_abi_audit.model import Format, LibraryAudit, LibraryKind, PythonAbi, Severity, Subject
from torch_abi_audit.rules.registry import Hit, rule
from torch_abi_audit.rules.words import count, join, limited_api

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch_abi_audit.catalog import Catalog


@rule("filename-tag-mismatch", Severity.WARNING, "the filename and `WHEEL` disagree")
def filename_tag_mismatch(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report tags that stand in one place only: installers read either."""
    claims = subject.claims
    if claims.tags != claims.wheel_tags:
        inside = join(map(str, claims.wheel_tags)) or "no tag"
        yield Hit(
            f"the filename says {join(map(str, claims.tags))}, the WHEEL file says {inside}",
            evidence=tuple(sorted(map(str, claims.tags ^ claims.wheel_tags))),
            help="rename wheels with `wheel tags`, which writes both",
        )


@rule(
    "binaries-in-pure-wheel",
    Severity.ERROR,
    "`Root-Is-Purelib: true` or platform `any`, with compiled members",
)
def binaries_in_pure_wheel(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report compiled members that a pure wheel takes to systems that can't load them.

    A warning where every compiled member is a program, like the launchers that
    installers carry for another system, or a DLL that Python does not import: nothing
    loads them by accident, and packages carry them for Windows on purpose. And where the
    platform tag is a real one, since such wheels install and load everywhere but on
    systems that keep two folders for the two kinds.
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
        evidence=paths,
        help="build a platform wheel: Root-Is-Purelib: false, and a platform tag",
        severity=None if for_any and not all(map(_is_harmless, libraries)) else Severity.WARNING,
    )


@rule(
    "tag-overspecific",
    Severity.NOTE,
    "nothing ties it to the tag's Python or ABI: one wheel would do where several are published",
)
def tag_overspecific(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report wheels for one Python whose libraries would serve others."""
    tags = subject.claims.tags
    for_one = all(tag.interpreter.startswith("cp") and tag.abi not in STABLE_ABIS for tag in tags)
    abi = worst_python_abi(library.python for library in subject.libraries)
    free_threaded = any(tag.abi.endswith("t") for tag in tags)
    if not tags or subject.unreadable or not for_one or abi is PythonAbi.VERSION_SPECIFIC:
        return
    said = join({f"{tag.interpreter}-{tag.abi}" for tag in tags})
    if abi is PythonAbi.NONE:
        yield Hit(
            f"the tag says {said}, and nothing compiled in it uses CPython's C API",
            help="tag it py3-none, unless its Python files are for one version",
        )
    elif not free_threaded:
        floor = highest_python_floor(library.python for library in subject.libraries)
        if floor is not None:
            yield Hit(
                f"the tag says {said}, and all that it imports of CPython's C API is in the"
                f" stable ABI of {floor} and newer",
                help=f"build it with -DPy_LIMITED_API={limited_api(floor)} and"
                f" py_limited_api=True, and tag it cp{floor.major}{floor.minor}-abi3",
            )


def _is_harmless(item: LibraryAudit) -> bool:
    aside = item.library.executable or item.library.format is Format.PE
    return aside and item.kind is not LibraryKind.EXTENSION and not item.torch.needs_torch

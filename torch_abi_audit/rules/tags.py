"""Rules about tags: the filename's, the `WHEEL` file's, and the platform they name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch_abi_audit.abi.platform import parse_platform
from torch_abi_audit.model import LibraryAudit, LibraryKind, Severity, Subject
from torch_abi_audit.rules.registry import Hit, rule
from torch_abi_audit.rules.words import count, join

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
    installers carry for another system: nothing loads it by accident. And where the
    platform tag is a real one, since such wheels install and load everywhere but on
    systems that keep two folders for the two kinds.
    """
    claims = subject.claims
    libraries = subject.libraries
    for_any = any(tag.platform == "any" for tag in claims.tags)
    if not libraries or not (for_any or claims.root_is_purelib):
        return
    said = "the platform tag is any" if for_any else "WHEEL says Root-Is-Purelib: true"
    yield Hit(
        f"{said}, and the wheel has {count(len(libraries), 'compiled member')}",
        evidence=tuple(library.path for library in libraries),
        help="build a platform wheel: Root-Is-Purelib: false, and a platform tag",
        severity=None if for_any and not all(map(_is_program, libraries)) else Severity.WARNING,
    )


@rule("wrong-architecture", Severity.ERROR, "a member's machine is not the platform tag's")
def wrong_architecture(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report members that the tag's machine can't load.

    A warning for a library that nothing in the wheel needs, when others have the right
    machine: some packages carry helpers for other machines on purpose.
    """
    platforms = [parse_platform(tag.platform) for tag in subject.claims.tags]
    known = [platform for platform in platforms if platform is not None]
    if not known:
        return
    archs = {arch for platform in known for arch in platform.archs}
    wrong = [item for item in subject.libraries if item.library.arch not in archs]
    right = [item for item in subject.libraries if item.library.arch in archs]
    needed = {name for item in right for name in item.library.needed}
    for item in wrong:
        names = {item.path.rpartition("/")[2], item.library.soname}
        serious = not right or _is_loaded(item) or bool(names & needed)
        yield Hit(
            f"it is for {item.library.arch}, and the platform tag is for {join(archs)}",
            library=item.path,
            help="build it for that machine, or correct the platform tag",
            severity=None if serious else Severity.WARNING,
        )


def _is_program(item: LibraryAudit) -> bool:
    return item.library.executable and item.kind is not LibraryKind.EXTENSION


def _is_loaded(item: LibraryAudit) -> bool:
    return item.kind is LibraryKind.EXTENSION or item.torch.needs_torch

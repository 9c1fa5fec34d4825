"""Rules about the archive, its filename, and its members as files."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from packaging.utils import canonicalize_name

from torch_abi_audit.claims.platform_tags import accepted_by_index, accepted_by_installers
from torch_abi_audit.claims.python_tags import admitted_pythons, is_installable
from torch_abi_audit.model import Defect, DefectKind, Evidence, EvidenceKind, Fix, Severity, Subject
from torch_abi_audit.rules.evidence import tags
from torch_abi_audit.rules.registry import Hit, rule
from torch_abi_audit.rules.retag import python_tag, retag
from torch_abi_audit.wording import count, join, unique

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from packaging.tags import Tag

    from torch_abi_audit.catalog import Catalog

_DRAFT_ABI = r"abi20\d\dt?"


class _Words(NamedTuple):
    """How a kind of defect is described.

    Attributes:
        what: Completes "the wheel has …".
        fix: What to do about it.
        severity: The severity, if it differs from the rule's.
    """

    what: str
    fix: str
    severity: Severity | None = None


_REBUILD = "build the wheel again with a current build backend and current repair tools"
_BACKEND = "build the wheel again with a current build backend"
_DEFECTS = {
    DefectKind.DUPLICATE: _Words(
        "several members of one name, of which each installer takes another",
        _REBUILD,
    ),
    DefectKind.CASE: _Words(
        "member names that are the same on Windows or macOS, where one replaces the other",
        "rename one of them",
        Severity.WARNING,
    ),
    DefectKind.UNSAFE_NAME: _Words(
        "member names that installers and PyPI reject", "rename these members"
    ),
    DefectKind.HEADERS: _Words("local headers that contradict the central directory", _REBUILD),
    DefectKind.STRUCTURE: _Words("an archive structure that PyPI rejects", _REBUILD),
    DefectKind.DESCRIPTOR: _Words(
        "members with data descriptors, which PyPI rejects",
        "write the archive to a seekable file, not to a pipe",
    ),
    DefectKind.ENCRYPTED: _Words("encrypted members, which no installer can read", _REBUILD),
    DefectKind.COMPRESSION: _Words(
        "members that are not compressed with deflate, which PyPI rejects",
        "write the archive with ZIP_DEFLATED",
    ),
    DefectKind.SYMLINK: _Words(
        "symbolic links, which installers write as files that contain a path",
        "put the file itself into the wheel",
    ),
    DefectKind.DIST_INFO: _Words(
        "a .dist-info folder that does not match the filename",
        "build the wheel again: it must have one .dist-info folder, named like the file",
    ),
    DefectKind.METADATA: _Words(
        "metadata that does not match the filename, so installers reject it",
        "only rename wheels with `wheel tags`, and never change the version in the filename",
    ),
    DefectKind.RECORD: _Words(
        "a RECORD that does not match the members, so installers and PyPI may reject it",
        "change members with `wheel unpack` and `wheel pack`, which write a new RECORD",
    ),
    DefectKind.RECORD_STYLE: _Words(
        "a RECORD that does not follow the specification", _BACKEND, Severity.WARNING
    ),
    DefectKind.ENTRY_POINTS: _Words(
        "an entry_points.txt that can't be parsed, so PyPI rejects it",
        "correct the scripts and entry points in pyproject.toml",
    ),
    DefectKind.LICENSE: _Words(
        "License-File entries without such a file, so PyPI rejects it",
        "correct license-files in pyproject.toml",
    ),
    DefectKind.VARIANT: _Words(
        "variant metadata that does not follow the draft PEP 825, so installers may ignore it",
        "build the variant again with a build backend that writes variant.json",
        Severity.WARNING,
    ),
    DefectKind.METADATA_ON_INDEX: _Words(
        "other metadata beside it on the index than inside, which is what installers resolve by",
        "have the index write its copy again, from the wheel",
    ),
    DefectKind.VARIANT_ON_INDEX: _Words(
        "properties that the index does not give its variant, so installers may choose wrongly",
        "write the index's file for all variants again, from the wheels",
        Severity.WARNING,
    ),
}


@rule(
    "archive-integrity",
    Severity.ERROR,
    "the archive has duplicate, unsafe, encrypted or unsupported members, or headers, a RECORD or a"
    " .dist-info folder that contradict them",
    why="PyPI rejects such a file at upload. Where it does not, two installers may see two"
    " different wheels: what was tested, or audited, is not what users get.",
    fix="Build the wheel again with a current build backend, and only change it with tools for"
    " wheels, which write a new RECORD:\n"
    "    python -m wheel unpack WHEEL\n"
    "    python -m wheel pack FOLDER\n"
    "The hashes in RECORD are only checked with --verify.",
)
def archive_integrity(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report what is wrong with the archive, grouping defects with the same fix."""
    found: dict[tuple[str, Severity | None], list[Defect]] = defaultdict(list)
    for defect in subject.defects:
        _, fix, severity = _DEFECTS[defect.kind]
        found[fix, severity].append(defect)
    for (fix, severity), defects in found.items():
        kinds = unique(defect.kind for defect in defects)
        names = {defect.name for defect in defects}
        # equivalent: all have that name then
        alone = defects[0].name if len(names) == 1 else None
        if DefectKind.METADATA in kinds:  # not about a file of the wheel
            alone = None
        evidence = [
            Evidence(EvidenceKind.FILE, defect.name, detail=_detail(defect, kinds))
            for defect in defects
            if _detail(defect, kinds) or defect.name != alone
        ]
        more = f", and {count(len(kinds) - 1, 'more defect')}" if len(kinds) > 1 else ""
        yield Hit(
            f"the wheel has {_DEFECTS[DefectKind(kinds[0])].what}{more}",
            (alone,) if alone else (),
            tuple(dict.fromkeys(evidence)),
            fix,
            severity,
        )


def _detail(defect: Defect, kinds: Collection[str]) -> str:
    """Say what is wrong with a member, if the message is not about it alone."""
    return defect.detail or (_DEFECTS[defect.kind].what if len(kinds) > 1 else "")


@rule(
    "refused-filename",
    Severity.ERROR,
    "no installer accepts a tag of the filename, or PyPI rejects the filename",
    why="Nobody can install a wheel with such a name, or it can't be uploaded: PyPI answers with an"
    " error, while installers silently ignore the wheel and build from source instead.",
    fix="Use tags that installers know: cp312-cp312, cp313-cp313t, cp310-abi3, cp315-abi3.abi3t,"
    " py3-none. For a plain linux_x86_64 wheel, find out which systems it works on:\n"
    "    auditwheel repair --exclude 'libtorch*' --exclude 'libc10*' WHEEL\n"
    "Wheel variants (PEP 817, PEP 825) are a draft: publish them on an index of your own.",
)
def refused_filename(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report filenames that keep a wheel from its users.

    A warning if the file can still be installed from elsewhere than PyPI, or through another of
    its tags.
    """
    claims = subject.claims
    if claims.filename is None:
        return
    yield from _unknown_pythons(subject)
    yield from _unknown_platforms(subject)
    if claims.variant is not None:
        yield Hit(
            f"the filename has the variant label {claims.variant}, but installers and PyPI do not"
            " accept the draft (PEP 817, PEP 825) yet",
            fix="publish it on an index of your own, next to a wheel without a variant label",
            severity=Severity.WARNING,
        )
    if claims.version.local:
        yield Hit(
            f"PyPI rejects local versions, but the version is {claims.version}",
            fix=f"publish it on an index of your own, or as {claims.version.public}",
            severity=Severity.WARNING,
        )
    written = claims.filename.partition("-")[0]
    normal = canonicalize_name(written).replace("-", "_")
    if written != normal:
        yield Hit(
            f"PyPI only accepts the normalized name {normal}, but the filename says {written}",
            fix=_BACKEND,
            severity=Severity.WARNING,
        )


def _unknown_pythons(subject: Subject) -> Iterator[Hit]:
    """Report Python and ABI tags that no installer accepts, and those without a Python."""
    claims = subject.claims
    # A compressed set includes unintended combinations, but each part has to be in a valid one.
    fitting = {tag for tag in claims.tags if is_installable(tag)}
    nobodys = {
        tag
        for tag in claims.tags - fitting
        if tag.interpreter not in {other.interpreter for other in fitting}
        or tag.abi not in {other.abi for other in fitting}
    }
    if nobodys:
        drafts = sorted({tag.abi for tag in nobodys if re.fullmatch(_DRAFT_ABI, tag.abi)})
        are = "is a draft" if len(drafts) == 1 else "are drafts"
        why = f": {join(drafts)} {are} (PEP 809)" if drafts else ""
        named = join({f"{tag.interpreter}-{tag.abi}" for tag in nobodys})
        yield Hit(
            f"no installer accepts {named}{why}",
            evidence=tags(nobodys),
            fix=_known_pythons(subject, nobodys, drafts),
            severity=None if nobodys == claims.tags else Severity.WARNING,
        )
    elif not admitted_pythons(claims) and claims.requires_python:
        yield Hit(
            f"the wheel is tagged {python_tag(claims.tags)}, but Requires-Python"
            f" {claims.requires_python} allows no such Python",
            evidence=tags(f"{tag.interpreter}-{tag.abi}" for tag in claims.tags),
            fix="correct Requires-Python, or build with a Python that it allows",
        )


def _known_pythons(subject: Subject, nobodys: Collection[Tag], drafts: Collection[str]) -> Fix:
    """Return the fix for Python and ABI tags that no installer accepts."""
    free_threaded = any(_is_free_threaded(tag.interpreter) for tag in nobodys)
    if free_threaded and not drafts:
        pythons = {
            name.removesuffix("t") if _is_free_threaded(name) else name
            for name in {tag.interpreter for tag in subject.claims.tags}
        }
        change = retag(subject, pythons=pythons)
        # equivalent: the tags of a filename can be changed
        named = change.tags.rpartition("-")[0] if change and change.tags else "the ABI tag only"
        return Fix(f"tag the wheel {named}: the ABI tag alone says free-threaded", change)
    if drafts:
        return Fix("use the ABI tag abi3, or one per Python version, until installers know these")
    python = min(tag.interpreter for tag in nobodys)
    return Fix(
        f"use a Python tag and an ABI tag that fit together: {python}-{python}"
        if re.fullmatch(r"cp\d{2,3}", python)
        else "use a Python tag and an ABI tag that fit together, as cp312-cp312"
    )


def _is_free_threaded(interpreter: str) -> bool:
    return re.fullmatch(r"cp\d+t", interpreter) is not None


def _unknown_platforms(subject: Subject) -> Iterator[Hit]:
    """Report platform tags that no installer, or not PyPI, accepts."""
    platforms = subject.platform_tags
    unknown = {platform for platform in platforms if not accepted_by_installers(platform)}
    if unknown:
        fitting = {(p in unknown and _corrected(p)) or p for p in platforms}
        if unknown != platforms:
            fitting = {platform for platform in fitting if accepted_by_installers(platform)}
        good = all(map(accepted_by_installers, fitting))
        yield Hit(
            f"no installer accepts the {_platform_tags(unknown)}",
            evidence=tags(unknown),
            fix=Fix(f"tag the wheel {join(fitting)}", retag(subject, platforms=fitting))
            if good
            else "build with a current build backend, on the system that the wheel is for",
            severity=None if unknown == platforms else Severity.WARNING,
        )
    refused = {platform for platform in platforms - unknown if not accepted_by_index(platform)}
    if refused:
        plain = any(platform.startswith("linux_") for platform in refused)
        yield Hit(
            f"PyPI rejects the {_platform_tags(refused)}",
            evidence=tags(refused),
            fix=f"run `{_repair(subject)}` to get a manylinux tag"
            if plain
            else "publish the wheel on an index of your own",
            severity=Severity.WARNING,
        )


def _repair(subject: Subject) -> str:
    """Return the command that repairs a wheel; it would bundle torch's libraries."""
    if any(item.torch.needed for item in subject.libraries):
        return "auditwheel repair --exclude 'libtorch*' --exclude 'libc10*'"
    return "auditwheel repair"


def _platform_tags(names: Collection[str]) -> str:
    return f"platform tag {join(names)}" if len(names) == 1 else f"platform tags {join(names)}"


def _corrected(platform: str) -> str | None:
    """Return the tag that was meant by one that installers do not recognise."""
    name, *rest = platform.split("_")
    fixed = platform
    if name in ("linux", "manylinux", "musllinux") or name.startswith("manylinux"):
        fixed = re.sub(r"_amd64$", "_x86_64", re.sub(r"_arm64$", "_aarch64", platform))
    elif name == "macosx" and rest and rest[0].isdecimal():
        # Since macOS 11 tags have no minor number; arm64 starts with 11.
        newer = int(rest[0]) + 1
        fixed = "_".join([name, str(newer), "0", *rest[2:]])
    return fixed if accepted_by_index(fixed) else None


@rule(
    "unreadable-library",
    Severity.ERROR,
    "a file that should be a library can't be read",
    why="A file that can't be read can't be audited: nothing is known about it, so nothing is"
    " guaranteed.",
    fix="Build the wheel again. If the file is not a library, give it a name that says so, without"
    " .so, .pyd, .dll or .dylib.",
    ignorable=False,
)
def unreadable_library(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report files of which nothing is known because they could not be read."""
    unread = subject.unreadable
    if unread:
        one = len(unread) == 1
        yield Hit(
            f"the library can't be read: {unread[0].error}"  # equivalent: there is just one then
            if one
            else f"{count(len(unread), 'library')} can't be read",
            libraries=unique(member.path for member in unread),
            evidence=()
            if one
            else tuple(
                Evidence(EvidenceKind.FILE, member.path, detail=member.error or "")
                for member in unread
            ),
            fix="build the wheel again; if the file is not a library, give it another name",
        )

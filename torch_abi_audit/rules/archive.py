"""Rules about the archive, its filename, and its members as such."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from packaging.utils import canonicalize_name

from torch_abi_audit.claims.platform_tags import accepted_by_index, accepted_by_installers
from torch_abi_audit.claims.python_tags import admitted_pythons, is_installable
from torch_abi_audit.model import Defect, DefectKind, Evidence, EvidenceKind, Severity, Subject
from torch_abi_audit.rules.evidence import tags
from torch_abi_audit.rules.registry import Hit, rule
from torch_abi_audit.wording import join

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch_abi_audit.catalog import Catalog

_DRAFT_ABI = r"abi20\d\dt?"


class _Words(NamedTuple):
    """How a kind of defect is told: what the archive has, whom it harms, and what to do."""

    message: str
    help: str
    severity: Severity | None = None


_REBUILD = "build the wheel again, with a current build backend, and repair it with a current tool"
_DEFECTS = {
    DefectKind.DUPLICATE: _Words(
        "the archive has members of the same name: which is installed depends on the installer",
        _REBUILD,
    ),
    DefectKind.CASE: _Words(
        "members have names that are one on Windows or macOS: there one replaces the other",
        "rename one of them",
        Severity.WARNING,
    ),
    DefectKind.UNSAFE_NAME: _Words(
        "members have names that installers and the index refuse", "rename them"
    ),
    DefectKind.HEADERS: _Words(
        "the members' own headers and the archive's directory disagree: programs that read one"
        " see other files than those that read the other",
        _REBUILD,
    ),
    DefectKind.STRUCTURE: _Words(
        "the archive is put together in a way that the index refuses", _REBUILD
    ),
    DefectKind.DESCRIPTOR: _Words(
        "members were written as a stream, with their sizes behind them, which the index refuses",
        "write the archive to a file that can be sought in, not to a pipe",
    ),
    DefectKind.ENCRYPTED: _Words("members are encrypted, and no installer has the key", _REBUILD),
    DefectKind.COMPRESSION: _Words(
        "members are compressed by another method than deflate, which the index refuses",
        "use ZIP_DEFLATED",
    ),
    DefectKind.SYMLINK: _Words(
        "members are symbolic links, which installers write as files with a path in them",
        "put the file itself into the wheel",
    ),
    DefectKind.DIST_INFO: _Words(
        "the .dist-info folder is not the one that the filename asks for",
        "build the wheel again: it is {name}-{version}.dist-info, spelled as in the filename,"
        " and there is one",
    ),
    DefectKind.METADATA: _Words(
        "the filename and the metadata inside do not fit together: installers refuse the wheel",
        "rename wheels with `wheel tags`, and never change the version in the filename",
    ),
    DefectKind.RECORD: _Words(
        "RECORD and the archive disagree, for which installers and the index may refuse it",
        "change members with `wheel unpack` and `wheel pack`, which write RECORD anew",
    ),
    DefectKind.RECORD_STYLE: _Words(
        "RECORD is not written as the specification has it",
        "build the wheel again, with a current build backend",
        Severity.WARNING,
    ),
    DefectKind.ENTRY_POINTS: _Words(
        "entry_points.txt can't be read, so that the index refuses it",
        "correct the scripts and entry points in pyproject.toml",
    ),
    DefectKind.LICENSE: _Words(
        "License-File names files that are not in the wheel, so that the index refuses it",
        "correct license-files in pyproject.toml",
    ),
}


@rule(
    "archive-integrity",
    Severity.ERROR,
    "the archive has duplicate or unsafe names, headers, RECORD or .dist-info that disagree with"
    " the members, encrypted or unsupported members",
    why="The package index refuses such a file at upload, and where it does not, two installers see"
    " two different wheels: what was tested, or audited, is not what users get.",
    fix="Build the wheel again with a current build backend, and change it with nothing but tools"
    " that know wheels, which write RECORD anew:\n"
    "    python -m wheel unpack WHEEL\n"
    "    python -m wheel pack FOLDER\n"
    "Whether the hashes in RECORD are right is checked with --verify.",
)
def archive_integrity(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report what is wrong with the archive, a finding for each kind."""
    found: dict[DefectKind, list[Defect]] = defaultdict(list)
    for defect in subject.defects:
        found[defect.kind].append(defect)
    for kind, defects in found.items():
        message, fix, severity = _DEFECTS[kind]
        names = {defect.name for defect in defects}
        alone = defects[0].name if len(names) == 1 and kind is not DefectKind.METADATA else None
        evidence = [
            Evidence(EvidenceKind.FILE, d.name, detail=d.detail)
            for d in defects
            if d.detail or d.name != alone
        ]
        yield Hit(
            message,
            (alone,) if alone else (),
            tuple(dict.fromkeys(evidence)),
            fix,
            severity,
        )


@rule(
    "refused-filename",
    Severity.ERROR,
    "no installer takes a tag of the filename, or the package index refuses the name",
    why="A wheel under such a name is uploaded for nobody, or not at all: the index answers with an"
    " error, installers pass it over without one and build from source instead.",
    fix="Use tags that installers know: cp312-cp312, cp313-cp313t, cp310-abi3, cp315-abi3.abi3t,"
    " py3-none. For a plain linux_x86_64 wheel, find out which systems it works on:\n"
    "    auditwheel repair --exclude 'libtorch*' --exclude 'libc10*' WHEEL\n"
    "Wheel variants (PEP 817, PEP 825) are a draft: publish them on an index of your own.",
)
def refused_filename(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report filenames that keep a wheel from its users.

    A warning where the file can still be installed from elsewhere than the index, or by
    another of its tags.
    """
    claims = subject.claims
    if claims.filename is None:
        return
    # A compressed set stands for combinations that nobody means; each part has to have one.
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
        yield Hit(
            f"no installer takes {join({f'{tag.interpreter}-{tag.abi}' for tag in nobodys})}{why}",
            evidence=tags(nobodys),
            fix="free-threaded Python is in the ABI tag alone: cp315-cp315t, cp315-abi3t"
            if any(tag.interpreter.endswith("t") for tag in nobodys)
            else "use a Python tag and an ABI tag that fit together, as cp312-cp312",
            severity=None if nobodys == claims.tags else Severity.WARNING,
        )
    platforms = {tag.platform for tag in claims.tags}
    unknown = {platform for platform in platforms if not accepted_by_installers(platform)}
    if unknown:
        yield Hit(
            "no installer takes {evidence:tag} of the platform",
            evidence=tags(unknown),
            fix="correct the platform tag",
            severity=None if unknown == platforms else Severity.WARNING,
        )
    if not nobodys and not admitted_pythons(claims) and claims.requires_python:
        yield Hit(
            f"Requires-Python {claims.requires_python} admits no Python that the tags name",
            evidence=tags(f"{tag.interpreter}-{tag.abi}" for tag in claims.tags),
            fix="correct Requires-Python, or build with a Python that it admits",
        )
    refused = {platform for platform in platforms - unknown if not accepted_by_index(platform)}
    if refused:
        fix = "correct the platform tag"
        if any(platform.startswith("linux_") for platform in refused):
            fix = "auditwheel repair finds the manylinux tag that it keeps"
        yield Hit(
            "the package index refuses {evidence:tag} of the platform",
            evidence=tags(refused),
            fix=fix,
            severity=Severity.WARNING,
        )
    if claims.variant is not None:
        yield Hit(
            f"it is a variant wheel, {claims.variant}: a draft (PEP 817, PEP 825) that released"
            " installers and the package index do not take",
            fix="publish it on an index of your own, beside a wheel without a label",
            severity=Severity.WARNING,
        )
    if claims.version.local:
        yield Hit(
            f"the package index refuses local versions, and this is one: {claims.version}",
            fix="publish it on an index of your own, or under a version without +",
            severity=Severity.WARNING,
        )
    written = claims.filename.partition("-")[0]
    normal = canonicalize_name(written).replace("-", "_")
    if written != normal:
        yield Hit(
            f"the package index takes the name {normal}, and the filename says {written}",
            fix="build the wheel with a current build backend",
            severity=Severity.WARNING,
        )


@rule(
    "unreadable-library",
    Severity.ERROR,
    "a member that should be a library can't be read",
    why="What could not be read could not be audited: nothing is known of it, so nothing is"
    " promised of it.",
    fix="Build the wheel again. If the member is no library, give it a name that says so, without"
    " .so, .pyd, .dll or .dylib.",
    ignorable=False,
)
def unreadable_library(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report members that say nothing about torch because nothing could be read."""
    for member in subject.unreadable:
        yield Hit(
            f"the library can't be read: {member.error}",
            libraries=(member.path,),
            fix="build the wheel again; if the file is no library, give it another name",
        )

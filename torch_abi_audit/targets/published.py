"""Wheels on a package index: read in place, or downloaded where that is asked for, or needed."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from torch_abi_audit.archive.files import LocalFile
from torch_abi_audit.archive.remote import RemoteFile
from torch_abi_audit.claims.variants import parse_variants
from torch_abi_audit.errors import AuditError
from torch_abi_audit.index.failures import place_of
from torch_abi_audit.index.ranges import FileRanges
from torch_abi_audit.index.session import NoRanges
from torch_abi_audit.model import Defect, DefectKind
from torch_abi_audit.targets.wheel import read_archive
from torch_abi_audit.wording import join

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch_abi_audit.budget import Budget
    from torch_abi_audit.index.pages import IndexFile, MetadataFile
    from torch_abi_audit.index.session import Session
    from torch_abi_audit.model import TargetContents, VariantProperty

_MOST_METADATA = 4 << 20  # bytes
_PIECE = 1 << 20
_SMALL = 256 << 10  # bytes of a file that is read whole anyway, if it is on a server


class Published(NamedTuple):
    """A published wheel that was read.

    Attributes:
        contents: Its claims and facts.
        hashed: Whether the file has the hash that the index gives: all of it was read.
    """

    contents: TargetContents
    hashed: bool


def read_published(
    file: IndexFile, session: Session, budget: Budget, *, verify: bool = False
) -> Published:
    """Read a wheel on an index.

    Only what the readers ask for is fetched. Where the server does not serve ranges, and with
    `verify`, the wheel is downloaded to a temporary file, and its hash checked.

    Args:
        file: The wheel.
        session: What fetches.
        budget: What may be read of it, and how long that may take.
        verify: Whether to read all of it; see `wheel.read_archive`.

    Raises:
        AuditError: It can't be fetched, is another file than the index says, or no wheel.
    """
    found = _read(file, session, budget, verify=verify)
    if file.variants is None or found.contents.claims.variant is None:
        return found
    return found._replace(contents=_with_variants(found.contents, file.variants, session))


def _read(file: IndexFile, session: Session, budget: Budget, *, verify: bool) -> Published:
    if urlsplit(file.url).scheme == "file":
        return _read_local(file, budget, verify=verify)
    try:
        return _read_remote(file, session, budget, verify=verify)
    except AuditError as error:
        # Reports name the wheel already.
        named = f"cannot read {place_of(file.url)[1]} from "
        if not str(error).startswith(named):
            raise
        raise AuditError(f"cannot be read from {str(error).removeprefix(named)}") from error


def _read_remote(file: IndexFile, session: Session, budget: Budget, *, verify: bool) -> Published:
    """Read a wheel on a server."""
    if not verify:
        try:
            remote = RemoteFile(
                file.filename,
                FileRanges(session, file.url),
                budget,
                size=file.size,
                metadata=lambda: _metadata(file, session),
            )
            hashed = False
            if remote.whole is not None:
                check = _Check(file)
                check.update(remote.whole)
                hashed = check.end()
            contents = read_archive(remote, budget, beside=partial(_beside, file))
            return Published(contents, hashed)
        except NoRanges:
            pass
    return _download(file, session, budget, verify=verify)


def _with_variants(
    contents: TargetContents, described: MetadataFile, session: Session
) -> TargetContents:
    """Add what the index says of a variant; a defect if it says something else than the wheel.

    Its properties count where the wheel has none of its own: installers only read the index.

    Raises:
        AuditError: The index's file can't be had.
    """
    claims = contents.claims
    label, own = claims.variant or "", claims.variant_properties
    broken = any(defect.kind is DefectKind.VARIANT for defect in contents.defects)
    name = unquote(urlsplit(described.url).path.rpartition("/")[2])
    try:
        data = _fetched(described, session)
    except AuditError as error:
        raise AuditError(f"{name}: {error}") from error
    try:
        said = parse_variants(data).get(label)
        wrong = f"does not have the variant {label}"
    except AuditError as error:
        said, wrong = None, str(error)
    if said is not None and broken:
        claims = replace(claims, variant_properties=said)
    if said is not None and (broken or said == own):
        return replace(contents, claims=claims)
    if said is not None:
        wrong = f"has {_listed(said)} for {label}, but the wheel {_listed(own)}"
    defect = Defect(DefectKind.VARIANT_ON_INDEX, name, wrong)
    return replace(contents, claims=claims, defects=(*contents.defects, defect))


def _listed(properties: Sequence[VariantProperty]) -> str:
    """Name properties; not more than a few."""
    return join(map(str, properties)) or "none"


def _fetched(described: MetadataFile, session: Session) -> bytes:
    """Return the contents of a small file of an index.

    Raises:
        AuditError: It can't be had, or is not the one that the index means.
    """
    if urlsplit(described.url).scheme == "file":
        try:
            with Path(url2pathname(urlsplit(described.url).path)).open("rb") as stream:
                data = stream.read(_MOST_METADATA + 1)
        except OSError as error:
            raise AuditError(error.strerror or str(error)) from error
        if len(data) > _MOST_METADATA:
            raise AuditError(f"more than {_MOST_METADATA} bytes")
    else:
        data = session.get(described.url, most=_MOST_METADATA).body
    if described.sha256 not in {None, sha256(data).hexdigest()}:
        raise AuditError("another hash than the index says")
    return data


def _metadata(file: IndexFile, session: Session) -> bytes | None:
    """Fetch the copy of ``METADATA`` beside a wheel, if it has the hash that the index gives."""
    if file.metadata is None:
        return None
    try:
        data = session.get(file.metadata.url, most=_MOST_METADATA).body
    except AuditError:
        return None  # the wheel has it too
    known = file.metadata.sha256
    return data if known is None or sha256(data).hexdigest() == known else None


def _beside(file: IndexFile, metadata: bytes) -> Iterator[Defect]:
    """Compare the copy of ``METADATA`` beside a wheel with the wheel's own (PEP 658).

    The hash that the index gives of it tells: the copy has to be the same file.
    """
    said = None if file.metadata is None else file.metadata.sha256
    own = sha256(metadata).hexdigest()
    if said not in (None, own):
        detail = f"sha256={said}, but the wheel's METADATA has {own}"
        yield Defect(DefectKind.METADATA_ON_INDEX, f"{file.filename}.metadata", detail)


def _read_local(file: IndexFile, budget: Budget, *, verify: bool) -> Published:
    """Read a wheel of an index that is a folder."""
    path = Path(url2pathname(urlsplit(file.url).path))
    try:
        hashed = False
        if verify or path.stat().st_size <= _SMALL:
            check = _Check(file)
            with path.open("rb") as stream:
                while piece := stream.read(_PIECE):
                    check.update(piece)
                    budget.check_time()
            hashed = check.end()
    except OSError as error:
        raise AuditError(error.strerror or str(error)) from error
    contents = read_archive(
        LocalFile(path, file.filename), budget, verify=verify, beside=partial(_beside, file)
    )
    return Published(contents, hashed)


def _download(file: IndexFile, session: Session, budget: Budget, *, verify: bool) -> Published:
    """Read a wheel from a temporary file."""
    budget.check_download(file.size or 0)
    try:
        with tempfile.TemporaryDirectory(prefix="torch-abi-audit-") as folder:
            path = Path(folder) / "wheel"
            check, size = _Check(file), 0
            with path.open("xb") as output:
                for piece in _waiting(
                    session.stream(file.url, most=budget.limits.download), budget
                ):
                    output.write(piece)
                    check.update(piece)
                    size += len(piece)
            if file.size not in (None, size):
                raise AuditError(f"the server has {size} bytes, but the index says {file.size}")
            hashed = check.end()
            contents = read_archive(
                LocalFile(path, file.filename),
                budget,
                verify=verify,
                beside=partial(_beside, file),
            )
            return Published(contents, hashed)
    except OSError as error:
        raise AuditError(error.strerror or str(error)) from error


def _waiting(pieces: Iterator[bytes], budget: Budget) -> Iterator[bytes]:
    """Yield what comes from a server, and count the time that it takes."""
    started = monotonic()
    for piece in pieces:
        budget.wait(monotonic() - started)
        yield piece
        started = monotonic()


class _Check:
    """Compares a file with the hash that the index gives, if any."""

    def __init__(self, file: IndexFile) -> None:
        self._name, self._said = "sha256", file.sha256
        if file.other_hash is not None:
            self._name, self._said = file.other_hash
        self._hash = hashlib.new(self._name, usedforsecurity=False)
        self._identifies = file.sha256 is not None

    def update(self, data: bytes) -> None:
        """Read the next bytes of the file."""
        self._hash.update(data)

    def end(self) -> bool:
        """Whether the file is known by its sha256 now.

        Raises:
            AuditError: It has another hash.
        """
        found = self._hash.hexdigest()
        if self._said not in (None, found):
            what = f"{self._name}={found}"
            raise AuditError(f"the file has another hash ({what}) than the index says")
        return self._identifies

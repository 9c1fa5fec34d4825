"""The files of a project, from the pages of the simple repository API and from folders.

pypi-simple parses the pages (PEP 503, 691, 700, 714). What they say is hostile: names are held to
what files of packages are named with, addresses to HTTP, and the time of parsing is bounded.
"""

from __future__ import annotations

import json
import os
import re
import time
import warnings
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.message import Message
from enum import StrEnum
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from packaging.utils import InvalidName, canonicalize_name
from packaging.version import InvalidVersion, Version

from torch_abi_audit.claims.variants import described_release, is_variant
from torch_abi_audit.errors import AuditError, reason_of
from torch_abi_audit.index import require
from torch_abi_audit.index.failures import StatusError, place_of, shown

require()

import pypi_simple  # noqa: E402 -- it comes with the extra, which is checked first
from pypi_simple import DistributionPackage, Link, ProjectPage  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from torch_abi_audit.index.session import Session
    from torch_abi_audit.index.sources import Sources

_MOST_PAGE = 64 << 20  # bytes
_MOST_FILES = 200_000  # of a page
_LONGEST_PARSE = 30.0  # seconds
_MOST_DROPPED = 5  # files of a source that get a line each
_LONGEST_TAG = 1 << 15  # characters
_CHUNK = 1 << 14
_JSON = ("application/vnd.pypi.simple.v1+json", "application/json")
# A dash more costs pypi-simple's patterns a multiple of the time; no name of a package has 24.
_FILENAME = re.compile(r"(?=[^-]*(?:-[^-]*){1,24}\Z)[A-Za-z0-9][A-Za-z0-9._+!~-]{0,254}")
_PACKAGES = (".whl", ".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz", ".egg")
_HASHES = ("sha512", "sha384", "sha256", "sha224", "sha1", "md5")  # that pip checks
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SPECIFIER = re.compile(r"[A-Za-z0-9 .,<>=!~*+()-]{1,200}")
# Of an address whose scheme is wrong, or was forgotten; no part of a path.
_CREDENTIALS = re.compile(r"^(?![A-Za-z]:[/\\])[^/\\@:]*:.*@")
_PARSING = Lock()


class FileKind(StrEnum):
    """What a file of a project is."""

    WHEEL = "wheel"
    SDIST = "sdist"
    OTHER = "other"


class MetadataFile(NamedTuple):
    """Metadata as a file of its own: of a wheel (PEP 658), or of variants (PEP 825, a draft).

    Attributes:
        url: Where it is.
        sha256: Its hash, if the index has one.
    """

    url: str
    sha256: str | None


@dataclass(frozen=True, slots=True)
class IndexFile:
    """One file of a project.

    Attributes:
        filename: Its name, which has neither separators nor control characters.
        url: Where it is: HTTP, or a file URL if the source is a local one.
        project: The canonical name of the project.
        version: The version that the filename tells, if it does.
        kind: What it is.
        sha256: Its hash in lower-case hexadecimal, if the source has one.
        other_hash: If it has none: the name of another kind of hash, and what the source says.
        size: Its size in bytes, if the source has it (PEP 700).
        yanked: Whether installers should ignore it.
        uploaded: When it was uploaded, if the source says so.
        requires_python: The Python versions that it supports, if the source says so.
        metadata: Its metadata as a file of its own, if the source has that.
        variants: For a variant wheel, the file for all variants of its release, if the source
            has that.
    """

    filename: str
    url: str
    project: str
    version: Version | None
    kind: FileKind
    sha256: str | None = None
    size: int | None = None
    yanked: bool = False
    uploaded: datetime | None = None
    requires_python: str | None = None
    metadata: MetadataFile | None = None
    variants: MetadataFile | None = None
    other_hash: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class ProjectFiles:
    """What the sources have of a project.

    Attributes:
        files: The files in the order of the sources; of those with the same name and hash, the
            first that is not yanked.
        errors: One line for each source that could not be read, and for each file of a source
            that was left out.
    """

    files: tuple[IndexFile, ...]
    errors: tuple[str, ...]


def project_files(session: Session, sources: Sources, project: str) -> ProjectFiles:
    """List the files of a project: of all indexes in order, then of all links.

    Args:
        session: Fetches the pages.
        sources: Where to look.
        project: The name of the project; need not be normalized.

    Raises:
        AuditError: The name is not one, or all sources were read and none has the project.
    """
    try:
        name = canonicalize_name(project, validate=True)
    except InvalidName as error:
        raise AuditError(f"{shown(project)!r} is not the name of a project") from error
    if not sources.indexes and not sources.find_links:
        raise AuditError("no index to look at, and no find-links")
    search = _Search(session, name)
    for index in sources.indexes:
        search.read(index, search.index)
    search.mixed = True
    for link in sources.find_links:
        search.read(link, search.link)
    if not search.found and not search.errors:
        places = dict.fromkeys(map(_label, (*sources.indexes, *sources.find_links)))
        raise AuditError(f"no project {name} on {', '.join(places)}")
    return ProjectFiles(tuple(search.files.values()), tuple(search.errors))


@dataclass(slots=True)
class _Search:
    """Looks for a project in one source after the other, and collects what they have."""

    session: Session
    project: str
    found: bool = False
    mixed: bool = False  # whether a source has the files of other projects too
    files: dict[tuple[str, str | None], IndexFile] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    _names: dict[str, str | None] = field(default_factory=dict)  # with the first one's hash

    def read(self, source: str, look: _Look) -> None:
        """Add the files of a source; what goes wrong becomes a line in `errors`."""
        dropped: list[str] = []
        try:
            for file in look(source, dropped):
                self._add(file)
        except AuditError as error:
            self.errors.append(str(error))
        except OSError as error:
            self.errors.append(f"{_label(source)}: {reason_of(error, _label(source))}")
        self.errors += [f"{_label(source)}: {why}" for why in dropped[:_MOST_DROPPED]]
        if len(dropped) > _MOST_DROPPED:
            more = len(dropped) - _MOST_DROPPED
            self.errors.append(f"{_label(source)}: {more} more files left out")

    def _add(self, file: IndexFile) -> None:
        """Add a file, unless it has no other hash than one with its name.

        pip prefers none of its indexes: of files with different hashes it may install any.
        """
        digest = file.sha256 or (file.other_hash and "=".join(file.other_hash))
        first = self._names.setdefault(file.filename, digest)
        key = file.filename, digest or first
        known = self.files.setdefault(key, file)
        if known.yanked and not file.yanked:
            self.files[key] = file

    def index(self, root: str, dropped: list[str]) -> list[IndexFile]:
        """Return the files of the project on an index."""
        folder = _local(root)
        if folder is not None:
            return self._index_folder(folder, dropped)
        page = f"{root.rstrip('/')}/{self.project}/"
        try:
            files = self._page(page, dropped)
        except StatusError as error:
            if error.status == 404:
                return []
            raise
        self.found = True
        return files

    def _index_folder(self, root: Path, dropped: list[str]) -> list[IndexFile]:
        if not root.is_dir():
            raise AuditError(f"{_label(str(root))}: no such folder")
        folder = root / self.project
        if not folder.is_dir():
            return []
        self.found = True
        page = folder / "index.html"
        return self._html_file(page, dropped) if page.is_file() else self._folder(folder, dropped)

    def link(self, link: str, dropped: list[str]) -> list[IndexFile]:
        """Return the files of the project that a page, folder or file of find-links has."""
        path = _local(link)
        if path is None:
            name = unquote(urlsplit(link).path.rpartition("/")[2])
            if name.lower().endswith(_PACKAGES):
                files = self._kept([_package(name, link, self.project)], dropped, local=False)
            else:
                files = self._page(link, dropped)
        elif path.is_dir():
            files = self._folder(path, dropped)
        elif not path.is_file():
            raise AuditError(f"{_label(str(path))}: no such file or folder")
        elif path.suffix.lower() in {".html", ".htm"}:
            files = self._html_file(path, dropped)
        else:
            files = self._local_files([path], dropped)
        self.found |= bool(files)
        return files

    def _page(self, url: str, dropped: list[str]) -> list[IndexFile]:
        answer = self.session.get(url, pypi_simple.ACCEPT_JSON_PREFERRED, most=_MOST_PAGE)
        kind = Message()
        kind["Content-Type"] = answer.content_type or "text/html"
        where = " from ".join(reversed(place_of(answer.url)))
        try:
            with _PARSING, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # newer minor versions are compatible
                parse = _from_json if kind.get_content_type() in _JSON else _from_html
                packages = parse(answer.body, answer.url, self.project, dropped)
                return self._kept(packages, dropped, local=False)
        except AuditError as error:
            raise AuditError(f"cannot read {where}: {error}") from error
        except pypi_simple.UnsupportedRepoVersionError as error:
            version = shown(error.declared_version)
            raise AuditError(f"cannot read {where}: unknown API version {version}") from error
        except (ValueError, LookupError, TypeError, AssertionError, RecursionError) as error:
            raise AuditError(f"cannot read {where}: not a page of a package index") from error

    def _html_file(self, path: Path, dropped: list[str]) -> list[IndexFile]:
        if path.stat().st_size > _MOST_PAGE:
            raise AuditError(f"{path}: larger than {_MOST_PAGE >> 20} MiB")
        try:
            packages = _from_html(
                path.read_bytes(), path.absolute().as_uri(), self.project, dropped
            )
            return self._kept(packages, dropped, local=True)
        except AuditError as error:
            raise AuditError(f"{path}: {error}") from error
        except (ValueError, LookupError, TypeError, AssertionError) as error:
            raise AuditError(f"{path}: not a page of a package index") from error

    def _folder(self, folder: Path, dropped: list[str]) -> list[IndexFile]:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_file())
        return self._local_files([folder / name for name in names], dropped)

    def _local_files(self, paths: list[Path], dropped: list[str]) -> list[IndexFile]:
        packages = []
        for path in paths:
            package = _package(path.name, path.absolute().as_uri(), self.project)
            package.size = path.stat().st_size
            packages.append(package)
        return self._kept(packages, dropped, local=True)

    def _kept(
        self, packages: Iterable[DistributionPackage], dropped: list[str], *, local: bool
    ) -> list[IndexFile]:
        """Return the files of this project; note those of them that are not fit to be read."""
        files = []
        variants: dict[Version, MetadataFile] = {}
        until = time.monotonic() + _LONGEST_PARSE
        for number, package in enumerate(packages):
            if number >= _MOST_FILES:
                raise AuditError(f"more than {_MOST_FILES} files")
            if time.monotonic() > until:
                raise AuditError(f"parsing takes longer than {_LONGEST_PARSE:g} s")
            if package.project is None:
                release = described_release(package.filename, self.project)
                if release is not None and _is_readable(package.url, local=local):
                    described = MetadataFile(package.url, _sha256(package.digests))
                    variants.setdefault(release, described)
                elif package.filename.lower().endswith(_PACKAGES) and self._is_ours(package):
                    dropped.append(f"left out {shown(package.filename)!r}: not a valid filename")
            elif canonicalize_name(package.project) != self.project:
                continue
            elif not _is_readable(package.url, local=local):
                dropped.append(f"left out {package.filename}: its address is not HTTP")
            else:
                files.append(_index_file(package, self.project))
        return [_with_variants(file, variants) for file in files] if variants else files

    def _is_ours(self, package: DistributionPackage) -> bool:
        """Whether a file without the name of a package may be meant to be of this project."""
        return not self.mixed or canonicalize_name(package.filename).startswith(self.project)


if TYPE_CHECKING:
    from collections.abc import Callable

    _Look = Callable[[str, list[str]], list[IndexFile]]


def _from_json(
    body: bytes, url: str, project: str, dropped: list[str]
) -> Iterator[DistributionPackage]:
    """Yield the files of a JSON page; one that is not well-formed is left out by itself."""
    data = json.loads(body)
    if not isinstance(data, dict) or not isinstance(files := data.get("files"), list):
        raise AuditError("not a page of a package index")
    ProjectPage.from_json_data({**data, "files": []}, url)
    for file in files:
        name = file.get("filename") if isinstance(file, dict) else None
        if not isinstance(name, str):
            dropped.append("left out a file without a name")
        elif _FILENAME.fullmatch(name) is None:
            yield _package(name, "", project)
        else:
            try:
                yield DistributionPackage.from_json_data(file, project, url)
            except ValueError:
                dropped.append(f"left out {name}: its entry is not well-formed")


def _from_html(
    body: bytes,
    url: str,
    project: str,
    dropped: list[str],  # noqa: ARG001 -- as of `_from_json`
) -> Iterator[DistributionPackage]:
    """Yield the files of an HTML page. As with pip, the address names the file, not the text."""
    until = time.monotonic() + _LONGEST_PARSE

    def chunks() -> Iterator[str]:
        # Only names and addresses count, which are ASCII.
        text = body.decode("utf-8", "replace")
        # Python's parser takes quadratic time for a tag that does not end.
        if max(map(len, text.split(">"))) > _LONGEST_TAG:
            raise AuditError("not a page of a package index")
        for start in range(0, len(text), _CHUNK):
            if time.monotonic() > until:
                raise AuditError(f"parsing takes longer than {_LONGEST_PARSE:g} s")
            yield text[start : start + _CHUNK]

    for link in pypi_simple.parse_links_stream(chunks(), url):
        name = unquote(urlsplit(link.url).path.rpartition("/")[2])
        yield _package(name, link.url, project, link)


def _package(name: str, url: str, project: str, link: Link | None = None) -> DistributionPackage:
    """Return a file as pypi-simple reads its name, if that is safe to read."""
    if _FILENAME.fullmatch(name) is None:
        return DistributionPackage(name, url, None, None, None, {}, None, None)
    attributes = {} if link is None else link.attrs
    return DistributionPackage.from_link(Link(name, url, attributes), project)


def _index_file(package: DistributionPackage, project: str) -> IndexFile:
    try:
        version = Version(package.version or "")
    except InvalidVersion:
        version = None
    kinds = {"wheel": FileKind.WHEEL, "sdist": FileKind.SDIST}
    uploaded = package.upload_time
    if uploaded is not None and uploaded.tzinfo is None:
        uploaded = uploaded.replace(tzinfo=UTC)
    metadata = None
    if package.has_metadata:
        digests = package.metadata_digests or {}
        metadata = MetadataFile(package.metadata_url, _sha256(digests))
    requires = (package.requires_python or "").strip()
    return IndexFile(
        filename=package.filename,
        url=package.url,
        project=project,
        version=version,
        kind=kinds.get(package.package_type or "", FileKind.OTHER),
        sha256=_sha256(package.digests),
        size=package.size if package.size is not None and package.size >= 0 else None,
        yanked=package.is_yanked,
        uploaded=uploaded,
        requires_python=requires if _SPECIFIER.fullmatch(requires) else None,
        metadata=metadata,
        other_hash=_other_hash(package.digests),
    )


def _with_variants(file: IndexFile, variants: Mapping[Version, MetadataFile]) -> IndexFile:
    """Add the file for all variants of a release to the variant wheels of the release."""
    described = variants.get(file.version) if file.version and is_variant(file.filename) else None
    return file if described is None else replace(file, variants=described)


def _sha256(digests: dict[str, str]) -> str | None:
    digest = digests.get("sha256", "").lower()
    return digest if _SHA256.fullmatch(digest) else None


def _other_hash(digests: dict[str, str]) -> tuple[str, str] | None:
    """Return the hash to check where there is none that is a sha256, which may be no hash."""
    if _sha256(digests) is not None:
        return None
    found = ((name, digests[name].lower()) for name in _HASHES if name in digests)
    return next(found, None)


def _is_readable(url: str, *, local: bool) -> bool:
    """Say whether a file may be read from there. Only a local page may name local files."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 -- raises if it is not a number
    except ValueError:
        return False
    if parts.scheme == "file":
        return local
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


def _local(place: str) -> Path | None:
    """Return the path of a file URL, or of what is no URL; None for HTTP.

    Raises:
        AuditError: The URL has another scheme, or is malformed.
    """
    try:
        parts = urlsplit(place)
        parts.port  # noqa: B018 -- raises if it is not a number
    except ValueError as error:
        raise AuditError(f"{_label(place)}: malformed address") from error
    if parts.scheme in {"http", "https"}:
        return None
    if parts.scheme == "file":
        host = "" if parts.netloc in {"", "localhost"} else f"//{parts.netloc}"
        return Path(url2pathname(host + parts.path))
    if "://" in place:
        raise AuditError(f"{_label(place)}: not an HTTP address, a file or a folder")
    return Path(place)


def _label(place: str) -> str:
    """Name a source: the host, or the path of a local one."""
    if "://" not in place:
        return _CREDENTIALS.sub("", place)
    parts = place.partition("://")
    return unquote(parts[2]) if parts[0] == "file" else place_of(place)[0]

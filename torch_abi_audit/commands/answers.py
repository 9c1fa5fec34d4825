"""Which published release of a package works with a torch."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from packaging.requirements import Requirement

from torch_abi_audit.cache.store import default_folder
from torch_abi_audit.catalog.builds import is_known
from torch_abi_audit.claims.torch_build import PYPI, build_of_version
from torch_abi_audit.commands.messages import complain
from torch_abi_audit.commands.published import Way
from torch_abi_audit.commands.records import reading
from torch_abi_audit.errors import AuditError
from torch_abi_audit.index.sources import find_sources
from torch_abi_audit.published.engine import DEFAULT_JOBS
from torch_abi_audit.published.select import Wanted, host_platform, host_python, spelled
from torch_abi_audit.report.progress import ProgressBar
from torch_abi_audit.survey.compatibility import Answer, AnswerKind, best_release

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from packaging.version import Version

    from torch_abi_audit.audit import Auditor
    from torch_abi_audit.catalog import Catalog
    from torch_abi_audit.commands.published import Asked
    from torch_abi_audit.commands.records import Reader, Records
    from torch_abi_audit.index.pages import IndexFile
    from torch_abi_audit.model import TargetReport
    from torch_abi_audit.survey.wheel import WheelRecord
    from torch_abi_audit.targets.installed import Site

WORKING = (AnswerKind.GUARANTEED, AnswerKind.LOADS)


class Question(NamedTuple):
    """For which torch, Python and platform a release is looked for.

    Attributes:
        torch: A torch release, or a minor release.
        python: The build of CPython, such as ``3.12``.
        platform: The system and the machine, such as ``linux x86_64``.
    """

    torch: Version
    python: str
    platform: str


def answer(
    asked: Asked, question: Question, records: Records, catalog: Catalog, progress: ProgressBar
) -> Answer:
    """Return which release of a package works with a torch.

    Releases are read from the newest on, until an older one can't be better: one that is
    guaranteed to work was found, or what is older was built before that torch was there.

    Raises:
        AuditError: Nothing is known of the build of that torch.
    """
    requirement, build = asked.requirement, _build(question.torch, catalog)
    read: list[WheelRecord] = []
    found = _best(requirement, read, question, catalog)
    since = [
        day
        for release, day in catalog.released.items()
        if release.release[:2] == question.torch.release[:2]
    ]
    for files in _releases(asked.selection.wheels):
        read += records.of(files, progress, build)
        found = _best(requirement, read, question, catalog)
        uploaded = [file.uploaded.date() for file in files if file.uploaded is not None]
        older = bool(since and uploaded) and max(uploaded) < min(since)
        if found.kind is AnswerKind.GUARANTEED or (found.kind in WORKING and older):
            break
    if found.kind is AnswerKind.NONE and asked.selection.more and asked.selection.older:
        found = replace(
            found, why=f"{found.why}; {asked.selection.older} and older were not looked at"
        )
    return found


def _build(torch: Version, catalog: Catalog) -> str:
    """Return the builds to check wheels against: the torch's own, or those on PyPI.

    Raises:
        AuditError: Nothing is known of them.
    """
    build = build_of_version(torch)
    if build is None:  # a private build has most in common with that on PyPI
        return PYPI
    if not is_known(build, catalog):
        raise AuditError(f"nothing is known of torch's {build.name} builds")
    return build.name


def _best(
    requirement: Requirement, read: Sequence[WheelRecord], question: Question, catalog: Catalog
) -> Answer:
    return best_release(
        requirement.name,
        read,
        question.torch,
        catalog.releases,
        python=question.python,
        platform=question.platform,
        named=str(requirement),
    )


def _releases(files: Sequence[IndexFile]) -> Iterator[list[IndexFile]]:
    """Yield the wheels of a few releases after the other, so that processes have work."""
    some: list[IndexFile] = []
    for _, of_release in groupby(files, key=lambda file: file.version):
        some += of_release
        if len(some) >= DEFAULT_JOBS:
            yield some
            some = []
    if some:
        yield some


def _is_other(version: Version | None, installed: Version) -> bool:
    """Whether `pip install` replaces a release with another one.

    That may be the same release of another build: 2.11.0+cpu for 2.11.0, but not the other way
    round, since to pip 2.11.0+cpu is a 2.11.0 (PEP 440).
    """
    if version is None or version == installed:
        return False
    return version.public != installed.public or version.local is not None


class Adviser:
    """Looks up what to install instead of packages that do not fit the installed torch.

    Args:
        reader: What reads the index.
        catalog: The known torch releases.
        site: Where the packages are installed.
        torch: The version of the torch that is installed there.

    Attributes:
        failed: Whether something could not be looked up.

    Raises:
        AuditError: Torch has no wheels for this host.
    """

    def __init__(self, reader: Reader, catalog: Catalog, site: Site, torch: Version) -> None:
        self._reader = reader
        self._catalog = catalog
        self._platform = host_platform()
        self._python = site.python or host_python()
        self._torch = torch
        self.failed = False

    def answer(self, name: str, installed: Version) -> Answer | None:
        """Return which release of a package to install; None if it could not be looked up.

        Args:
            name: The package.
            installed: The release that is installed, which does not fit.
        """
        wanted = Wanted((self._platform,), self._python)
        (asked,) = self._reader.ask([Requirement(name)], wanted)
        others = tuple(f for f in asked.selection.wheels if _is_other(f.version, installed))
        asked = asked._replace(selection=replace(asked.selection, wheels=others))
        for line in asked.errors:
            complain(f"{name}: {line}")
        if asked.errors:
            self.failed = True
            return None
        question = Question(self._torch, str(self._python), spelled(self._platform))
        if not asked.selection.wheels:
            where = f"for Python {question.python} on {question.platform}"
            why = f"{name} has no other release with a wheel {where}"
            return Answer(name, str(self._torch), AnswerKind.NONE, None, None, why)
        progress = ProgressBar(len(asked.selection.wheels), shown=False)
        try:
            return answer(asked, question, self._reader.records, self._catalog, progress)
        except AuditError as error:
            complain(f"{name}: {error}")
            self.failed = True
            return None

    def advise(self, report: TargetReport) -> TargetReport:
        """Return the report of a package with the release to install instead as its remedy."""
        here = report.here
        if here is None or here.remedy is None or report.claims is None:
            return report
        found = self.answer(report.claims.name, report.claims.version)
        if found is None:
            return report
        old = here.remedy
        new = old._replace(why=f"{old.why}; {found.why}")
        if found.kind in WORKING:
            new = new._replace(command=found.command)
        summary = f"{new.why}; {report.summary.removeprefix(f'{old.why}; ')}"
        return replace(report, here=here._replace(remedy=new), summary=summary)


def advised(reports: Iterable[TargetReport], auditor: Auditor) -> Iterator[TargetReport]:
    """Yield reports, those of packages that do not fit with the release to install instead.

    Raises:
        AuditError: What pip is configured to use can't be read, or torch has no wheels for this
            host.
    """
    adviser = None
    way = Way(find_sources(), auditor.options.limits, DEFAULT_JOBS)
    with reading(way, default_folder()) as reader:
        for report in reports:
            torch = auditor.site.version_of("torch") if report.here is not None else None
            if torch is None:
                yield report
                continue
            adviser = adviser or Adviser(reader, auditor.catalog, auditor.site, torch)
            yield adviser.advise(report)

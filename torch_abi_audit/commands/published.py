"""What the commands that read an index share: which wheels, how they are reached, and the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit.cache.store import Cache, default_folder
from torch_abi_audit.commands.messages import complain
from torch_abi_audit.errors import AuditError
from torch_abi_audit.index.pages import IndexFile, project_files
from torch_abi_audit.index.sources import Sources, find_sources
from torch_abi_audit.published.engine import MOST_JOBS
from torch_abi_audit.published.select import Selection, Wanted, select, why_none
from torch_abi_audit.published.task import Task

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from packaging.requirements import Requirement

    from torch_abi_audit.budget import Limits
    from torch_abi_audit.index.session import Session
    from torch_abi_audit.published.collect import Found
    from torch_abi_audit.report.progress import ProgressBar

MANY = 1 << 16  # tasks, of an engine that has not been given any yet
_AT_ONCE = MOST_JOBS  # requests to one host, of all processes together


class Asked(NamedTuple):
    """What a requirement comes to on the indexes.

    Attributes:
        requirement: The requirement.
        selection: The wheels; none if the project could not be read.
        errors: What could not be read, a line each.
    """

    requirement: Requirement
    selection: Selection
    errors: tuple[str, ...] = ()

    def problems(self, wanted: Wanted) -> tuple[str, ...]:
        """Return what could not be read, a line each, or why there are no wheels."""
        if self.errors or self.selection.wheels:
            return self.errors
        return (why_none(self.selection, wanted),)


class Way(NamedTuple):
    """How wheels are read.

    Attributes:
        sources: How indexes are reached.
        limits: What reading a wheel may take.
        jobs: How many wheels are read at the same time.
    """

    sources: Sources
    limits: Limits
    jobs: int


def sources_of(options: argparse.Namespace) -> Sources:
    """Return where to look.

    Raises:
        AuditError: What pip is configured to use can't be read.
    """
    return find_sources(
        options.index_url,
        options.extra_index_url,
        options.find_links,
        no_index=options.no_index,
    )


def cache_folder(options: argparse.Namespace) -> Path | None:
    """Return the folder of the cache; None for no cache."""
    if options.no_cache:
        return None
    found: Path = options.cache_dir or default_folder()
    return found


def cache_of(options: argparse.Namespace) -> Cache:
    """Open the cache."""
    return Cache(cache_folder(options), complain)


def ask(
    requirements: Iterable[Requirement], sources: Sources, session: Session, wanted: Wanted
) -> list[Asked]:
    """Look up what requirements come to; whatever goes wrong is in what is returned."""
    found = []
    for requirement in requirements:
        try:
            files = project_files(session, sources, requirement.name)
        except AuditError as error:
            found.append(Asked(requirement, Selection(()), (str(error),)))
        else:
            found.append(Asked(requirement, select(files.files, requirement, wanted), files.errors))
    return found


def watched(found: Iterable[Found], progress: ProgressBar) -> Iterator[Found]:
    """Yield wheels as they come, and show how many bytes were fetched for them."""
    fetched = 0
    progress.show(0, "reading")
    for number, item in enumerate(found, 1):
        fetched += item.outcome.fetched
        progress.show(number, f"{fetched / 1e6:,.1f} MB fetched, {item.file.filename}")
        yield item


def task_of(
    file: IndexFile,
    way: Way,
    *,
    verify: bool = False,
    judge: bool = False,
    build: str | None = None,
) -> Task:
    """Return the task of reading a wheel, and of judging it against builds of torch."""
    at_once = max(1, _AT_ONCE // way.jobs)
    return Task(file, way.sources, verify, way.limits, at_once, judge, build)

"""`torch-abi-audit compat`: which releases of a package work with which torch releases."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit import __version__
from torch_abi_audit.abi import demangler
from torch_abi_audit.budget import Limits
from torch_abi_audit.catalog import load_catalog
from torch_abi_audit.commands.messages import complain, refuse
from torch_abi_audit.commands.published import ask, cache_of, sources_of
from torch_abi_audit.commands.records import Records
from torch_abi_audit.commands.tables import table_destinations, today, write_tables
from torch_abi_audit.errors import AuditError
from torch_abi_audit.index.session import Session
from torch_abi_audit.published.engine import make_engine
from torch_abi_audit.published.select import (
    Wanted,
    host_python,
    parse_platforms,
    parse_requirement,
)
from torch_abi_audit.report.progress import ProgressBar
from torch_abi_audit.survey.compatibility import AnswerKind, best_release, compatibility
from torch_abi_audit.survey.documents import compatibility_document
from torch_abi_audit.survey.pages import compatibility_page
from torch_abi_audit.verdict.policy import EXIT_ERROR, EXIT_SAFE, EXIT_UNSAFE

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from packaging.version import Version

    from torch_abi_audit.arguments.parser import Parser
    from torch_abi_audit.catalog import Catalog
    from torch_abi_audit.commands.published import Asked
    from torch_abi_audit.index.pages import IndexFile
    from torch_abi_audit.survey.compatibility import Answer
    from torch_abi_audit.survey.wheel import WheelRecord

_LATEST = 20  # releases of a table, unless the user says how many
_WORKING = (AnswerKind.GUARANTEED, AnswerKind.LOADS)


class Question(NamedTuple):
    """For which torch, Python and platform a release is looked for."""

    torch: Version
    python: str
    platform: str


def run(options: argparse.Namespace, parser: Parser) -> int:
    """Print tables or answers; return the exit code."""
    if not options.packages:
        parser.error("name a package")
    try:
        platforms = options.platforms
        if platforms is None:
            platforms = parse_platforms("host")
        if options.torch is not None and len(platforms) != 1:
            parser.error("--torch is about one platform: name it with --platform")
        requirements = [*map(parse_requirement, dict.fromkeys(options.packages))]
        sources, to = sources_of(options), table_destinations(options)
    except AuditError as error:
        return refuse(str(error))
    if not demangler.AVAILABLE:
        complain(demangler.NOTICE)
    catalog = load_catalog()
    python = options.python
    if python is None and options.torch is not None:
        python = host_python()
    latest = options.latest if options.latest or options.torch else _LATEST
    with Session(sources) as session:
        asked = ask(requirements, sources, session, Wanted(platforms, python, latest))
    limits = Limits().with_values(dict(options.limit))
    with cache_of(options) as cache, make_engine(options.jobs, _number(asked)) as engine:
        records = Records(options, sources, limits, engine, cache)
        tables, answers = [], []
        progress = ProgressBar(_number(asked), shown=not options.quiet)
        for item in asked:
            if options.torch is None:
                found = records.of(item.selection.wheels, progress)
                tables.append(compatibility(item.requirement.name, found, catalog.releases))
                continue
            question = Question(options.torch, str(python), _spelled(platforms[0]))
            answers.append(answer(item, question, records, catalog, progress))
    document = compatibility_document(
        tables,
        answers,
        releases=catalog.releases,
        version=__version__,
        day=today(),
        platform=_spelled(platforms[0]) if len(platforms) == 1 else None,
    )
    failed = write_tables(document, compatibility_page(document), to, options)
    unread = _complain_of(asked)
    if failed or unread or records.failed:
        return EXIT_ERROR
    return EXIT_SAFE if all(item.kind in _WORKING for item in answers) else EXIT_UNSAFE


def answer(
    asked: Asked, question: Question, records: Records, catalog: Catalog, progress: ProgressBar
) -> Answer:
    """Return which release of a package works with a torch.

    Releases are read from the newest on, until an older one can't be better: one that is
    guaranteed to work was found, or what is older was built before that torch was there.
    """
    name = asked.requirement.name
    read: list[WheelRecord] = []
    found = _best(name, read, question, catalog)
    since = [
        day
        for release, day in catalog.released.items()
        if release.release[:2] == question.torch.release[:2]
    ]
    for files in _releases(asked.selection.wheels):
        read += records.of(files, progress)
        found = _best(name, read, question, catalog)
        uploaded = [file.uploaded.date() for file in files if file.uploaded is not None]
        older = bool(since and uploaded) and max(uploaded) < min(since)
        if found.kind is AnswerKind.GUARANTEED or (found.kind in _WORKING and older):
            break
    return found


def _best(name: str, read: Sequence[WheelRecord], question: Question, catalog: Catalog) -> Answer:
    return best_release(
        name,
        read,
        question.torch,
        catalog.releases,
        python=question.python,
        platform=question.platform,
    )


def _releases(files: Sequence[IndexFile]) -> Iterator[list[IndexFile]]:
    """Yield the wheels of one release after the other."""
    for _, of_release in groupby(files, key=lambda file: file.version):
        yield list(of_release)


def _number(asked: Sequence[Asked]) -> int:
    return sum(len(item.selection.wheels) for item in asked)


def _spelled(platform: str) -> str:
    """Return a platform as coverage spells it: ``linux x86_64``."""
    return platform.replace("_", " ", 1)


def _complain_of(asked: Sequence[Asked]) -> bool:
    """Say what could not be read, or is not there; return whether there is something."""
    lines = [f"{item.requirement}: {error}" for item in asked for error in item.errors]
    lines += [
        f"{item.requirement}: no wheel matches"
        for item in asked
        if not item.errors and not item.selection.wheels
    ]
    for line in lines:
        complain(line)
    return bool(lines)

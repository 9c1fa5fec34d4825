"""`torch-abi-audit compat`: which releases of a package work with which torch releases."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit import __version__
from torch_abi_audit.abi import demangler
from torch_abi_audit.audit import Auditor, Options
from torch_abi_audit.budget import Limits
from torch_abi_audit.catalog import load_catalog
from torch_abi_audit.commands.answers import WORKING, Adviser, Question, answer
from torch_abi_audit.commands.messages import complain, refuse
from torch_abi_audit.commands.published import Way, cache_folder, sources_of
from torch_abi_audit.commands.records import reading
from torch_abi_audit.commands.tables import table_destinations, today, write_tables
from torch_abi_audit.errors import AuditError
from torch_abi_audit.published.select import (
    HOST,
    Wanted,
    host_python,
    parse_platforms,
    parse_requirement,
    spelled,
)
from torch_abi_audit.report.progress import ProgressBar
from torch_abi_audit.survey.compatibility import AnswerKind, compatibility
from torch_abi_audit.survey.documents import compatibility_document
from torch_abi_audit.survey.pages import compatibility_page
from torch_abi_audit.targets.environments import current_site, find_site
from torch_abi_audit.verdict.policy import EXIT_ERROR, EXIT_SAFE, EXIT_UNSAFE

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from packaging.requirements import Requirement

    from torch_abi_audit.arguments.parser import Parser
    from torch_abi_audit.commands.published import Asked
    from torch_abi_audit.commands.records import Reader
    from torch_abi_audit.survey.compatibility import Answer, CompatibilityTable
    from torch_abi_audit.targets.installed import Site

_LATEST = 20  # releases of a table, unless the user says how many


class _Found(NamedTuple):
    """What is printed: tables or answers; and whether something could not be read."""

    tables: tuple[CompatibilityTable, ...]
    answers: tuple[Answer, ...]
    failed: bool = False


def run(options: argparse.Namespace, parser: Parser) -> int:
    """Print tables or answers; return the exit code."""
    of_environment = options.for_env or options.site_packages is not None
    if of_environment and (options.packages or options.torch or options.python):
        parser.error("--for-env is about the packages, the torch and the Python of an environment")
    if not options.packages and not of_environment:
        parser.error("name a package, or use --for-env")
    try:
        platforms = options.platforms
        if platforms is None or of_environment:
            platforms = parse_platforms(HOST)
        if options.torch is not None and len(platforms) != 1:
            parser.error("--torch is about one platform: name it with --platform")
        requirements = [*map(parse_requirement, dict.fromkeys(options.packages))]
        way = Way(sources_of(options), Limits().with_values(dict(options.limit)), options.jobs)
        to = table_destinations(options)
        if not demangler.AVAILABLE:
            complain(demangler.NOTICE)
        with reading(way, cache_folder(options)) as reader:
            if of_environment:
                found = _for_environment(reader, _site(options.site_packages))
            elif options.torch is None:
                wanted = Wanted(platforms, options.python, options.latest or _LATEST)
                found = _tables(requirements, wanted, reader, quiet=options.quiet)
            else:
                python = options.python or host_python()
                wanted = Wanted(platforms, python, options.latest)
                question = Question(options.torch, str(python), spelled(platforms[0]))
                found = _answers(requirements, wanted, question, reader, quiet=options.quiet)
            failed = reader.records.failed
    except AuditError as error:
        return refuse(str(error))
    document = compatibility_document(
        found.tables,
        found.answers,
        releases=load_catalog().releases,
        version=__version__,
        day=today(),
        platform=spelled(platforms[0]) if len(platforms) == 1 else None,
    )
    failed |= write_tables(document, compatibility_page(document), to, options) or found.failed
    if failed or any(item.kind is AnswerKind.UNKNOWN for item in found.answers):
        return EXIT_ERROR
    return EXIT_SAFE if all(item.kind in WORKING for item in found.answers) else EXIT_UNSAFE


def _tables(
    requirements: Sequence[Requirement], wanted: Wanted, reader: Reader, *, quiet: bool
) -> _Found:
    """Return the table of each package."""
    releases, tables = load_catalog().releases, []
    asked = reader.ask(requirements, wanted)
    for item in asked:
        wheels = item.selection.wheels
        read = reader.records.of(wheels, ProgressBar(len(wheels), shown=not quiet))
        tables.append(compatibility(item.requirement.name, read, releases))
        if item.selection.more:
            complain(f"{item.requirement}: only the newest releases are shown (--latest N)")
    return _Found(tuple(tables), (), _complain_of(asked, wanted))


def _answers(
    requirements: Sequence[Requirement],
    wanted: Wanted,
    question: Question,
    reader: Reader,
    *,
    quiet: bool,
) -> _Found:
    """Return which release of each package works."""
    asked = reader.ask(requirements, wanted)
    catalog, answers = load_catalog(), []
    for item in asked:
        progress = ProgressBar(len(item.selection.wheels), shown=not quiet)
        answers.append(answer(item, question, reader.records, catalog, progress))
    return _Found((), tuple(answers), _complain_of(asked, wanted))


def _for_environment(reader: Reader, site: Site) -> _Found:
    """Return what to install instead of the packages that do not fit the installed torch.

    Raises:
        AuditError: There is no torch, or it can't be read.
    """
    auditor = Auditor(Options(), site)
    environment = auditor.environment
    if environment.version is None:
        raise AuditError(environment.error or "torch is not installed in the environment")
    adviser = Adviser(reader, load_catalog(), site, environment.version)
    answers, failed = [], False
    for name in auditor.package_names():
        for report in auditor.package(name):
            if report.error is not None:
                complain(f"{name}: {report.error}")
                failed = True
            elif report.claims and report.here is not None and report.here.remedy is not None:
                complain(report.here.remedy.why)
                found = adviser.answer(name, report.claims.version)
                answers += [found] if found else []
    if not answers and not failed and not adviser.failed:
        complain(f"every package that uses torch fits torch {environment.version}")
    return _Found((), tuple(answers), failed or adviser.failed)


def _site(path: Path | None) -> Site:
    """Return the environment that is named, or the current one.

    Raises:
        AuditError: There is none.
    """
    return find_site(path) if path is not None else current_site()[0]


def _complain_of(asked: Sequence[Asked], wanted: Wanted) -> bool:
    """Say what could not be read, or is not there; return whether there is something."""
    failed = False
    for item in asked:
        problems = item.problems(wanted)
        failed |= bool(problems)
        more = () if item.selection.wheels else item.selection.left_out
        for line in (*problems, *more):
            complain(f"{item.requirement}: {line}")
    return failed

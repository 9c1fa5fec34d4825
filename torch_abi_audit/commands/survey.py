"""`torch-abi-audit survey`: the state of many packages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name
from packaging.version import Version

from torch_abi_audit import __version__
from torch_abi_audit.abi import demangler
from torch_abi_audit.budget import Limits
from torch_abi_audit.catalog import load_catalog
from torch_abi_audit.commands.messages import complain, refuse
from torch_abi_audit.commands.published import Way, cache_folder, sources_of
from torch_abi_audit.commands.records import reading
from torch_abi_audit.commands.tables import table_destinations, today, write_tables
from torch_abi_audit.errors import AuditError, reason_of
from torch_abi_audit.published.engine import DaskEngine
from torch_abi_audit.published.select import (
    HOST,
    Wanted,
    parse_platforms,
    parse_requirement,
    spelled,
)
from torch_abi_audit.report.progress import ProgressBar
from torch_abi_audit.survey.documents import survey_document
from torch_abi_audit.survey.ecosystem import needed_next, survey
from torch_abi_audit.survey.pages import survey_page
from torch_abi_audit.verdict.policy import EXIT_ERROR, EXIT_SAFE

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from packaging.requirements import Requirement

    from torch_abi_audit.arguments.parser import Parser
    from torch_abi_audit.commands.published import Asked
    from torch_abi_audit.commands.records import Records
    from torch_abi_audit.index.pages import IndexFile
    from torch_abi_audit.survey.wheel import WheelRecord

_MOST_BYTES = 1 << 20


def run(options: argparse.Namespace, parser: Parser) -> int:
    """Print the state of the packages in a file; return the exit code."""
    if options.scheduler is not None and options.engine != "dask":
        parser.error("--scheduler requires --engine dask")
    try:
        platforms = parse_platforms(HOST) if options.platforms is None else options.platforms
        requirements = read_names(options.file)
        sources, to = sources_of(options), table_destinations(options)
        engine = DaskEngine(options.scheduler, options.jobs) if options.engine == "dask" else None
    except AuditError as error:
        return refuse(str(error))
    if not demangler.AVAILABLE:
        complain(demangler.NOTICE)
    catalog = load_catalog()
    limits = Limits().with_values(dict(options.limit))
    wanted = Wanted(platforms, options.python, options.latest)
    way = Way(sources, limits, options.jobs)
    with reading(way, cache_folder(options), engine) as reader:
        asked: dict[str, Asked] = {
            canonicalize_name(item.requirement.name): item
            for item in reader.ask(requirements, wanted)
        }
        read = _read(asked, reader.records, quiet=options.quiet)
    failed = reader.records.failed
    for item in asked.values():
        # That a package has no wheels is part of its state; that it has no file is none.
        lines = item.errors if item.selection.releases else item.problems(wanted)
        for line in lines:
            complain(f"{item.requirement}: {line}")
            failed = True
    document = survey_document(
        survey(read, catalog.releases, notes=_notes(asked, platforms), published=_published(asked)),
        releases=catalog.releases,
        version=__version__,
        day=today(),
    )
    failed |= write_tables(document, survey_page(document), to, options)
    return EXIT_ERROR if failed else EXIT_SAFE


def read_names(path: Path) -> list[Requirement]:
    """Read the packages that a file names, each once: one a line, without comments.

    Raises:
        AuditError: It can't be read, has something else, or different releases of one package.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise AuditError(f"{path}: larger than {_MOST_BYTES} bytes")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise AuditError(f"{path}: {reason_of(error, path)}") from error
    except UnicodeDecodeError as error:
        raise AuditError(f"{path}: not UTF-8") from error
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    found: dict[str, Requirement] = {}
    for line in filter(None, lines):
        try:
            requirement = parse_requirement(line)
        except AuditError as error:
            raise AuditError(f"{path}: {error}") from error
        first = found.setdefault(canonicalize_name(requirement.name), requirement)
        if first.specifier != requirement.specifier:
            raise AuditError(f"{path}: names {requirement.name} twice: {first} and {requirement}")
    if not found:
        raise AuditError(f"{path}: names no package")
    return [*found.values()]


def _read(
    asked: Mapping[str, Asked], records: Records, *, quiet: bool
) -> dict[str, list[WheelRecord]]:
    """Read the newest release of each package, then older ones as far as they are of interest."""
    read: dict[str, list[WheelRecord]] = {name: [] for name in asked}
    published = _published(asked)
    given: set[IndexFile] = set()
    while True:
        following = {name: needed_next(read[name], published[name]) for name in asked}
        # Metadata may name another release, or package, than the filename: no file is read twice.
        owners = {
            file: name
            for name, version in following.items()
            if version is not None
            for file in asked[name].selection.wheels
            if file.version == Version(version) and file not in given
        }
        if not owners:
            return read
        given |= owners.keys()
        projects = {file.filename: name for file, name in owners.items()}
        for record in records.of(owners, ProgressBar(len(owners), shown=not quiet)):
            if record.filename in projects:  # not if somebody else has written to the cache
                read[projects[record.filename]].append(record)


def _published(asked: Mapping[str, Asked]) -> dict[str, list[str]]:
    """Return the releases of each package that have wheels, and one more that is not looked at."""
    return {
        name: list(
            dict.fromkeys(
                str(version)
                for version in (*(f.version for f in item.selection.wheels), item.selection.older)
                if version is not None
            )
        )
        for name, item in asked.items()
    }


def _notes(asked: Mapping[str, Asked], platforms: Sequence[str]) -> dict[str, str]:
    """Say of the packages without wheels why there are none."""
    notes = {}
    for name, item in asked.items():
        if item.errors:
            notes[name] = "could not be looked up"
        elif not item.selection.releases:
            notes[name] = "no published release matches"
        elif not item.selection.wheels:
            # They may all be yanked, or source distributions.
            only = platforms and item.selection.unwanted
            notes[name] = (
                f"no wheels for {', '.join(map(spelled, platforms))}" if only else "no wheels"
            )
    return notes

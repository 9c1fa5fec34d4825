"""`torch-abi-audit index`: audit the wheels that are published on a package index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch_abi_audit.audit import Auditor
from torch_abi_audit.commands.messages import complain, refuse
from torch_abi_audit.commands.published import Way, ask, cache_of, sources_of, task_of, watched
from torch_abi_audit.commands.reporting import Reporting
from torch_abi_audit.commands.settings import configuration, destinations, options_of
from torch_abi_audit.errors import AuditError
from torch_abi_audit.index.session import Session
from torch_abi_audit.published.collect import collect, in_order
from torch_abi_audit.published.engine import make_engine
from torch_abi_audit.published.select import Wanted, parse_requirement
from torch_abi_audit.report.progress import ProgressBar

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from torch_abi_audit.arguments.parser import Parser
    from torch_abi_audit.budget import Budget
    from torch_abi_audit.commands.published import Asked
    from torch_abi_audit.model import TargetContents, TargetReport
    from torch_abi_audit.published.task import Outcome


def run(options: argparse.Namespace, parser: Parser) -> int:
    """Audit what requirements come to; return the exit code."""
    if options.fail_on == "new" and options.baseline is None:
        parser.error("--fail-on new requires --baseline: a JSON report, or an earlier wheel")
    try:
        config = configuration(options, whole=False)
        auditor = Auditor(options_of(options, config))
        reporting = Reporting(options, config, auditor, destinations(options, ()))
        sources = sources_of(options)
        requirements = [*map(parse_requirement, dict.fromkeys(options.requirements))]
    except AuditError as error:
        return refuse(str(error))
    wanted = Wanted(options.platforms, options.python, options.latest)
    with Session(sources) as session:
        asked = ask(requirements, sources, session, wanted)
    for item in asked:
        for line in item.selection.left_out:
            complain(f"{item.requirement}: {line}")
    number = sum(len(item.selection.wheels) for item in asked)
    progress = ProgressBar(number, shown=not options.quiet)
    way = Way(sources, auditor.options.limits, options.jobs)
    files = dict.fromkeys(file for item in asked for file in item.selection.wheels)
    tasks = [task_of(file, way, verify=auditor.options.verify) for file in files]
    with cache_of(options) as cache, make_engine(options.jobs, len(tasks)) as engine:

        def reports() -> Iterator[TargetReport]:
            yield from _unread(asked, wanted, auditor)
            for found in in_order(watched(collect(tasks, engine, cache), progress)):
                yield auditor.audit_contents(found.file.filename, _opening(found.outcome))

        return reporting.write(reports(), progress)


def _opening(outcome: Outcome) -> Callable[[Budget], TargetContents]:
    """Return what opens a wheel that was read."""
    return lambda _: outcome.contents()


def _unread(asked: list[Asked], wanted: Wanted, auditor: Auditor) -> Iterator[TargetReport]:
    """Yield a report for each thing of an index that could not be read, or is not there."""
    for item in asked:
        for problem in item.problems(wanted):
            yield auditor.refuse(str(item.requirement), problem)

"""The audit: of what is named, or of a whole environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch_abi_audit.audit import Auditor
from torch_abi_audit.commands.messages import complain, refuse
from torch_abi_audit.commands.reporting import Reporting
from torch_abi_audit.commands.settings import configuration, destinations, expand, options_of
from torch_abi_audit.errors import AuditError
from torch_abi_audit.report.progress import ProgressBar, is_long
from torch_abi_audit.verdict.policy import EXIT_ERROR

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from torch_abi_audit.arguments.parser import Parser
    from torch_abi_audit.model import TargetReport
    from torch_abi_audit.targets.installed import Site


def run(options: argparse.Namespace, parser: Parser) -> int:
    """Audit what the arguments name; return the exit code."""
    if options.env and (options.python or options.site_packages):
        other = "--python" if options.python else "--site-packages"
        parser.error(f"--env and {other} cannot be combined")
    elsewhere = options.python or options.site_packages
    whole = options.env or (elsewhere is not None and not options.targets)
    if options.targets and options.env:
        parser.error("--env audits the whole environment: leave out the targets, or --env")
    if options.fail_on == "new" and options.baseline is None:
        parser.error("--fail-on new requires --baseline: a JSON report, or an earlier wheel")
    if whole and options.require:
        parser.error("--require is for targets that are named: most packages do not use torch")
    if not options.targets and not whole:
        parser.error("nothing to audit: name wheels or packages, or use --env or --python")
    return _audit(options, whole=whole)


def _audit(options: argparse.Namespace, *, whole: bool) -> int:
    """Audit what is named, or a whole environment."""
    try:
        config = configuration(options, whole=whole)
        auditor = Auditor(
            options_of(options, config), _site(options.python or options.site_packages)
        )
        environment = auditor.environment if whole else None
        reporting = Reporting(
            options, config, auditor, destinations(options, expand(options.targets)), environment
        )
    except AuditError as error:
        return refuse(str(error))
    if environment is not None and auditor.hint is not None:
        complain(auditor.hint)
    targets = auditor.package_names() if whole else expand(options.targets)
    progress = ProgressBar(len(targets), shown=not options.quiet and (whole or is_long(targets)))
    audit = auditor.package if whole else auditor.audit
    unread = environment is not None and environment.error is not None
    if environment is not None and unread:
        complain(f"the installed torch can't be read: {environment.error}")
    reports = (report for name in progress.targets(targets) for report in audit(name))
    try:
        code = reporting.write(_advised(reports, auditor) if options.index else reports, progress)
    except AuditError as error:  # of the index
        return refuse(str(error))
    return EXIT_ERROR if unread else code


def _advised(reports: Iterable[TargetReport], auditor: Auditor) -> Iterator[TargetReport]:
    """Yield reports with the releases to install of packages that do not fit."""
    # Only where the network is allowed; it needs an extra.
    from torch_abi_audit.commands.answers import advised  # noqa: PLC0415

    return advised(reports, auditor)


def _site(path: Path | None) -> Site | None:
    """Return the environment that was named; None for the current one.

    Raises:
        AuditError: There is none.
    """
    if path is None:
        return None
    # Only where packages are asked for.
    from torch_abi_audit.targets.environments import find_site  # noqa: PLC0415

    return find_site(path)

"""The reports of a run: written target by target, and concluded."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from torch_abi_audit import __version__
from torch_abi_audit.abi import demangler
from torch_abi_audit.commands.messages import complain
from torch_abi_audit.report.document import head_document
from torch_abi_audit.report.outputs import Destination, Outputs, ReportFormat
from torch_abi_audit.report.streams import is_terminal
from torch_abi_audit.report.style import Style
from torch_abi_audit.verdict.policy import EXIT_ERROR

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

    from torch_abi_audit.audit import Auditor
    from torch_abi_audit.config import Config
    from torch_abi_audit.model import Environment, TargetReport
    from torch_abi_audit.report.progress import ProgressBar


class Reporting:
    """Writes the reports of a run.

    Args:
        options: The arguments.
        config: The configuration.
        auditor: What audits the targets.
        destinations: Where the reports go.
        environment: The environment, if its packages are audited as a whole.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        config: Config,
        auditor: Auditor,
        destinations: Sequence[Destination],
        environment: Environment | None = None,
    ) -> None:
        path = None if config.path is None else str(config.path)
        policy = auditor.options.policy
        releases = auditor.catalog.releases
        build = auditor.options.build
        name = None if build is None else build.build.name
        self._head = head_document(
            __version__, releases, policy, environment, path, torch_build=name
        )
        self._style = Style(options.verbose, options.quiet, options.all, options.color)
        self._destinations = destinations
        self._run = auditor.collector(environment)

    def write(self, reports: Iterable[TargetReport], progress: ProgressBar) -> int:
        """Write reports as they come; return the exit code of the run."""
        if not demangler.AVAILABLE:
            complain(demangler.NOTICE)
        on_screen = _is_on_screen(self._destinations)
        with Outputs(self._destinations, self._head, self._style, complain) as output:
            try:
                for report in reports:
                    progress.hide()
                    _print_notices(report, once=on_screen)
                    self._run.add(report)
                    output.add(report)
            finally:
                progress.hide()
            concluded = self._run.finish()
            output.finish(concluded)
        return EXIT_ERROR if output.failed else concluded.conclusion.exit_code


def _is_on_screen(destinations: Iterable[Destination]) -> bool:
    """Whether text for people goes to the terminal that complaints go to."""
    text = Destination(ReportFormat.TEXT) in destinations
    return text and is_terminal(sys.stdout) and is_terminal(sys.stderr)


def _print_notices(target: TargetReport, *, once: bool) -> None:
    """Say on stderr, one line each, what could not be audited, and how a target was taken.

    Args:
        target: The target.
        once: Whether the report itself is on the same screen, and says the first.
    """
    if target.notice:
        complain(target.notice)
    if once:
        return
    reasons = [f"{item.path}: {item.error}" for item in target.unreadable]
    for reason in reasons or ([target.error] if target.error else []):
        complain(f"{target.target}: {reason}")

"""What the arguments and the configuration come to: how to check, and where reports go."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import TYPE_CHECKING

from torch_abi_audit.audit import Options
from torch_abi_audit.budget import Limits
from torch_abi_audit.config import Config, find_config, read_config
from torch_abi_audit.errors import AuditError
from torch_abi_audit.report.outputs import Destination, ReportFormat

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable


def configuration(options: argparse.Namespace, *, whole: bool) -> Config:
    """Return what is configured; a project's own is not for a whole environment.

    Raises:
        AuditError: It can't be read.
    """
    if options.config is not None:
        return read_config(options.config)
    if options.no_config or whole:
        return Config()
    try:
        here = Path.cwd()
    except OSError as error:
        said = error.strerror or error
        raise AuditError(f"the current directory: {said} (--no-config looks for none)") from error
    return find_config(here)


def options_of(options: argparse.Namespace, config: Config) -> Options:
    """Return how to judge: the command line goes before the configuration."""
    return Options(
        strict=options.strict or config.strict,
        torch=options.torch or (None if options.against else config.torch),
        torch_build=options.torch_build or (None if options.against else config.torch_build),
        against=options.against,
        verify=options.verify or config.verify,
        check=tuple(dict.fromkeys(options.check)) or config.check,
        baseline=options.baseline,
        fail_on_new=options.fail_on == "new",
        require_torch="torch" in (*options.require, *config.require),
        require_stable=options.require_stable or config.require_stable,
        min_torch=options.min_torch or config.min_torch,
        ignore=(*options.ignore, *options.migrating, *config.ignore),
        strict_ignores=options.strict_ignores or config.strict_ignores,
        limits=Limits().with_values({**config.limit, **dict(options.limit)}),
    )


def destinations(options: argparse.Namespace, targets: Iterable[str]) -> list[Destination]:
    """Return where reports go.

    Args:
        options: The arguments.
        targets: What is read, so that no report takes its place.

    Raises:
        AuditError: The job has no summary.
    """
    found = [Destination(options.format), *options.output]
    if any(destination.path is None for destination in options.output):
        found = found[1:]  # a report to `-` takes the place of the usual one
    paths = ["-" if d.path is None else os.path.realpath(d.path) for d in found]
    read = {os.path.realpath(target) for target in targets}
    for path in paths:
        if paths.count(path) > 1 or path in read:
            why = "is one of the files to audit" if path in read else "two reports would be written"
            raise AuditError(f"--output: {path}: {why}")
    for destination in options.output:
        if destination.path is not None:
            _require_folder("--output", destination.path)
    if options.github_summary:
        path = os.environ.get("GITHUB_STEP_SUMMARY")
        if not path:
            raise AuditError(
                "--github-summary: GITHUB_STEP_SUMMARY is not set (outside GitHub Actions?)"
            )
        found.append(Destination(ReportFormat.MARKDOWN, Path(path), append=True))
        _require_folder("--github-summary", Path(path))
    return found


def _require_folder(option: str, path: Path) -> None:
    """Raise AuditError where the folder of a file that is to be written is not there."""
    folder = os.path.dirname(os.path.realpath(path))  # noqa: PTH120 -- a link may lead elsewhere
    if not os.path.exists(path) and not os.path.isdir(folder):  # noqa: PTH110, PTH112
        raise AuditError(f"{option}: {folder}: no such directory")


def expand(targets: Iterable[str]) -> list[str]:
    """Return the targets with wildcards expanded, for shells that leave that to the program.

    A pattern that matches nothing stays, so that it becomes a target that can't be audited.
    """
    found: list[str] = []
    for target in targets:
        # os.path takes any string, pathlib raises for some; glob takes absolute patterns.
        exists = os.path.exists(target)  # noqa: PTH110
        matches = [] if exists else sorted(glob.glob(target, recursive=True))  # noqa: PTH207
        found += matches or [target]
    # A file that is named twice is one target.
    return list({os.path.realpath(path): path for path in reversed(found)}.values())[::-1]

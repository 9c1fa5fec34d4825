"""The command line: arguments, the report's output, the exit code, and nothing else."""

from __future__ import annotations

import contextlib
import gc
import glob
import os
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from torch_abi_audit import __version__
from torch_abi_audit.abi import demangler
from torch_abi_audit.arguments import make_parser, make_repair_parser
from torch_abi_audit.audit import Auditor, Options
from torch_abi_audit.budget import Limits
from torch_abi_audit.config import Config, find_config, read_config
from torch_abi_audit.errors import AuditError
from torch_abi_audit.report.document import head_document
from torch_abi_audit.report.escape import plain_text
from torch_abi_audit.report.outputs import Destination, Outputs, ReportFormat
from torch_abi_audit.report.progress import ProgressBar, is_long
from torch_abi_audit.report.streams import is_terminal, say, show_all
from torch_abi_audit.report.style import Style
from torch_abi_audit.rules import RULES
from torch_abi_audit.verdict.policy import EXIT_ERROR, EXIT_SAFE, EXIT_UNSAFE
from torch_abi_audit.wording import did_you_mean, last_part

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Sequence
    from types import FrameType

    from torch_abi_audit.model import TargetReport
    from torch_abi_audit.repair import Repair
    from torch_abi_audit.targets.installed import Site


# As shells count a process that a signal ended.
EXIT_INTERRUPTED = 130
EXIT_SIGNALLED = 128  # and the number of the signal
_GC_THRESHOLD = 100_000  # objects; the usual 700 costs a twentieth of the time


# What asks a process to end, besides Ctrl-C; a terminal that is closed, where there are any.
_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class _Terminated(BaseException):
    """The process was asked to end.

    Args:
        number: The signal's.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code.

    0: every target is safe, pinned or not applicable. 1: at least one is unsafe. 2: usage error,
    or a target that could not be audited, or nothing to audit; 2 takes precedence.
    """
    if arguments is None:  # a process of its own, which makes few cycles and ends soon
        gc.set_threshold(_GC_THRESHOLD)
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with _told_to_end():
            return _run(given)
    except KeyboardInterrupt:
        _complain("interrupted")
        return EXIT_INTERRUPTED
    except _Terminated as ended:
        _complain("terminated")
        return EXIT_SIGNALLED + ended.number


@contextlib.contextmanager
def _told_to_end() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the command as Ctrl-C does, so that it leaves nothing half done.

    Whoever calls the command from Python, and handles a signal, keeps it; so does `nohup`.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = [number for number in _SIGNALS if signal.getsignal(number) is signal.SIG_DFL]

    def end(number: int, _frame: FrameType | None) -> None:
        for other in ours:
            signal.signal(other, signal.SIG_IGN)  # it is being done
        raise _Terminated(number)

    for number in ours:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _run(given: list[str]) -> int:
    """Run what is asked for."""
    if given[:1] == ["explain"]:
        return _explain(given[1:])
    if given[:1] == ["schema"]:
        return _schema(given[1:])
    if given[:1] == ["repair"]:
        return _repair(make_repair_parser().parse_args(given[1:]))
    parser = make_parser()
    options = parser.parse_args(["--help"] if given == ["help"] else given)
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
        config = _config(options, whole=whole)
        judging = _options(options, config)
        auditor = Auditor(
            judging,
            _site(options.python or options.site_packages),
        )
        environment = auditor.environment if whole else None
        destinations = _destinations(options)
    except AuditError as error:
        _complain(str(error))
        return EXIT_ERROR
    path = None if config.path is None else str(config.path)
    head = head_document(__version__, auditor.catalog.releases, judging.policy, environment, path)
    style = Style(options.verbose, options.quiet, options.all, options.color)
    run = auditor.collector(environment)
    if environment is not None and auditor.hint is not None:
        _complain(auditor.hint)
    if not demangler.AVAILABLE:
        _complain(demangler.NOTICE)
    targets = auditor.package_names() if whole else expand(options.targets)
    progress = ProgressBar(len(targets), shown=not options.quiet and (whole or is_long(targets)))
    audit = auditor.package if whole else auditor.audit
    failed = False
    on_screen = _is_on_screen(destinations)
    if environment is not None and environment.error is not None:
        _complain(f"the installed torch can't be read: {environment.error}")
        failed = True
    with Outputs(destinations, head, style, _complain) as output:
        try:
            for report in (report for name in progress.targets(targets) for report in audit(name)):
                progress.hide()
                _print_notices(report, once=on_screen)
                run.add(report)
                output.add(report)
        finally:
            progress.hide()
        concluded = run.finish()
        output.finish(concluded)
    return EXIT_ERROR if failed or output.failed else concluded.conclusion.exit_code


def _repair(options: argparse.Namespace) -> int:
    """Write the wheels that are named with metadata that fits."""
    # Only where it is asked for.
    from torch_abi_audit.repair import plan_repairs  # noqa: PLC0415

    chosen = None if options.require_torch is None else f"torch{options.require_torch}"
    try:
        # Whatever releases audits check against: what is written are claims about all of them.
        checking = replace(_options(options, _config(options, whole=False)), torch=None)
        repairs = plan_repairs([*map(Path, expand(options.wheels))], checking, chosen)
    except AuditError as error:
        return _refuse(str(error))
    if not demangler.AVAILABLE:
        _complain(demangler.NOTICE)
    codes = {_repair_one(item, options, checking) for item in repairs}
    return max(codes)


def _repair_one(item: Repair, options: argparse.Namespace, checking: Options) -> int:
    """Write a wheel, or show what would change in it; return the exit code."""
    from torch_abi_audit.repair import difference, write  # noqa: PLC0415

    name, output = last_part(str(item.wheel)), options.wheel_dir / item.output
    if item.refused is not None:
        _complain(f"{name}: not repaired: {item.refused}")
        return EXIT_ERROR if item.failed else EXIT_UNSAFE
    lines: list[str] = []
    try:
        if options.dry_run:
            lines += difference(item, checking)
        else:
            write(item, options.wheel_dir, checking)
    except AuditError as error:
        return _refuse(f"{name}: not repaired: {error}")
    done = "passes as it is" if item.change is None else ", ".join(item.change.lines)
    return _say("\n".join(map(plain_text, (f"{name} -> {output}: {done}", *lines))))


def _is_on_screen(destinations: Iterable[Destination]) -> bool:
    """Whether text for people goes to the terminal that complaints go to."""
    text = Destination(ReportFormat.TEXT) in destinations
    return text and is_terminal(sys.stdout) and is_terminal(sys.stderr)


def _schema(more: Sequence[str]) -> int:
    """Print the JSON Schema of the report."""
    from torch_abi_audit.report.schema import schema_text  # noqa: PLC0415

    if more:
        said = "usage: torch-abi-audit schema"
        return _say(said) if {"-h", "--help"} & set(more) else _refuse(said)
    return _say(schema_text().rstrip())


def _config(options: argparse.Namespace, *, whole: bool) -> Config:
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


def _options(options: argparse.Namespace, config: Config) -> Options:
    """Return how to judge: the command line goes before the configuration."""
    return Options(
        strict=options.strict or config.strict,
        torch=options.torch or (None if options.against else config.torch),
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


def _destinations(options: argparse.Namespace) -> list[Destination]:
    """Return where reports go.

    Raises:
        AuditError: The job has no summary.
    """
    found = [Destination(options.format), *options.output]
    if any(destination.path is None for destination in options.output):
        found = found[1:]  # a report to `-` takes the place of the usual one
    paths = ["-" if d.path is None else os.path.realpath(d.path) for d in found]
    read = {os.path.realpath(target) for target in expand(options.targets)}
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


def _explain(names: Sequence[str]) -> int:
    """Print what rules mean, or what replaces a symbol; without a name list all rules."""
    # Only where it is asked for.
    from torch_abi_audit.report.explain import (  # noqa: PLC0415
        explain,
        explain_symbol,
        is_symbol,
        list_rules,
    )

    if {"-h", "--help"} & set(names):
        return _say("usage: torch-abi-audit explain [RULE or C++ SYMBOL ...]")
    unknown = [name for name in names if name not in RULES and not is_symbol(name)]
    for name in unknown:
        hint = did_you_mean(name, RULES) or "`torch-abi-audit explain` lists them"
        _complain(f"unknown rule {name!r} ({hint})")
    known = [name for name in names if name not in unknown]
    code = EXIT_SAFE
    if known:
        said = (explain(RULES[n]) if n in RULES else explain_symbol(n) for n in known)
        code = _say("\n".join(said))
    elif not names:
        code = _say(list_rules(RULES.values()))
    return EXIT_ERROR if unknown else code


def _say(text: str) -> int:
    """Print what was asked for; return the exit code."""
    refused = say(text)
    return EXIT_SAFE if refused is None else _refuse(refused)


def _refuse(message: str) -> int:
    _complain(message)
    return EXIT_ERROR


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


def _print_notices(target: TargetReport, *, once: bool) -> None:
    """Say on stderr, one line each, what could not be audited, and how a target was taken.

    Args:
        target: The target.
        once: Whether the report itself is on the same screen, and says the first.
    """
    if target.notice:
        _complain(target.notice)
    if once:
        return
    reasons = [f"{item.path}: {item.error}" for item in target.unreadable]
    for reason in reasons or ([target.error] if target.error else []):
        _complain(f"{target.target}: {reason}")


def _complain(message: str) -> None:
    """Write a line to stderr, if there is one."""
    with contextlib.suppress(OSError):
        if sys.stderr is not None:
            show_all(sys.stderr)
            print(plain_text(f"torch-abi-audit: {message}"), file=sys.stderr, flush=True)  # noqa: T201

"""The command line: arguments, the report's output, the exit code, and nothing else."""

from __future__ import annotations

import argparse
import contextlib
import glob
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from torch_abi_audit import __version__
from torch_abi_audit.audit import Auditor, Options
from torch_abi_audit.config import (
    Config,
    find_config,
    migrating,
    parse_ignore,
    parse_release,
    parse_torch,
    read_config,
)
from torch_abi_audit.errors import AuditError
from torch_abi_audit.model import Check, Verdict
from torch_abi_audit.report.clean import clean
from torch_abi_audit.rules import RULES
from torch_abi_audit.verdict import fails

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Protocol

    from torch_abi_audit.model import Environment, RunReport, TargetReport
    from torch_abi_audit.targets.installed import Site

    class Writer(Protocol):
        """What renders a report."""

        def add(self, target: TargetReport) -> None:
            """Write the next target."""

        def finish(self, run: RunReport) -> None:
            """Write what comes after the last one."""


_T = TypeVar("_T")
EXIT_SAFE, EXIT_UNSAFE, EXIT_ERROR = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code.

    0: every target is safe or not applicable. 1: at least one is unsafe. 2: wrong usage,
    or a target that could not be audited, or nothing to audit; 2 goes before 1.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["explain"]:
        return _explain(given[1:])
    parser = _parser()
    options = parser.parse_args(given)
    whole = options.env or (options.site_packages is not None and not options.targets)
    if bool(options.targets) is whole or (options.env and options.site_packages):
        parser.error("name targets, or an environment with --env or --site-packages")
    try:
        config = _config(options)
        judging = _options(options, config)
        auditor = Auditor(
            judging,
            None if options.site_packages is None else _site(options.site_packages),
        )
        environment = auditor.environment if whole else None
    except AuditError as error:
        _complain(str(error))
        return EXIT_ERROR
    path = None if config.path is None else str(config.path)
    output = _Output(auditor, options, environment, path)
    run = auditor.collector()
    found = auditor.packages() if whole else _each(auditor, expand(options.targets))
    codes = set()
    if environment is not None and environment.error is not None:
        _complain(f"the torch that is installed can't be read: {environment.error}")
        codes.add(EXIT_ERROR)
    for report in found:
        codes.add(exit_code(report, judging.check))
        _print_notices(report)
        run.add(report)
        output.add(report)
    concluded = run.finish()
    output.finish(concluded)
    codes |= {EXIT_UNSAFE} if concluded.fails else set()
    return EXIT_ERROR if output.failed or not codes else max(codes)


def _config(options: argparse.Namespace) -> Config:
    """Return what is configured.

    Raises:
        AuditError: It can't be read.
    """
    if options.no_config:
        return Config()
    return find_config(Path.cwd()) if options.config is None else read_config(options.config)


def _options(options: argparse.Namespace, config: Config) -> Options:
    """Return how to judge: the command line goes before the configuration."""
    torch = options.torch or (None if options.against else config.torch)
    return Options(
        strict=options.strict or config.strict,
        torch=torch,
        against=options.against,
        verify=options.verify or config.verify,
        check=options.check or config.check,
        min_torch=options.min_torch or config.min_torch,
        ignore=(*options.ignore, *options.migrating, *config.ignore),
    )


def _explain(names: Sequence[str]) -> int:
    """Print what rules mean; without a name list them all."""
    # Only where it is asked for.
    from torch_abi_audit.report.explain import explain, list_rules  # noqa: PLC0415

    if {"-h", "--help"} & set(names):
        _say("usage: torch-abi-audit explain [RULE ...]")
        return EXIT_SAFE
    unknown = [name for name in names if name not in RULES]
    for name in unknown:
        _complain(f"there is no rule {name!r}; `torch-abi-audit explain` lists them")
    known = [RULES[name] for name in names if name in RULES]
    if known or not names:
        _say("\n".join(map(explain, known)) if names else list_rules(RULES.values()))
    return EXIT_ERROR if unknown else EXIT_SAFE


def _say(text: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(text, flush=True)  # noqa: T201


def _each(auditor: Auditor, targets: Iterable[str]) -> Iterator[TargetReport]:
    for target in targets:
        yield from auditor.audit(target)


def _site(folder: Path) -> Site:
    """Return the environment that was named.

    Raises:
        AuditError: There is no such folder.
    """
    # Only where packages are asked for.
    from torch_abi_audit.targets.installed import Site  # noqa: PLC0415

    if not folder.is_dir():
        raise AuditError(f"{folder}: no such folder")
    return Site([folder])


class _Output:
    """Standard output, which the report is written to target by target.

    What can't be written does not keep the other targets from being audited.
    """

    def __init__(
        self,
        auditor: Auditor,
        options: argparse.Namespace,
        environment: Environment | None,
        configuration: str | None,
    ) -> None:
        self.failed = False
        self._writer: Writer | None = None
        with self._guarded():
            if sys.stdout is None:
                raise OSError("standard output is closed")
            # A terminal that can't show a character gets its escape, not a traceback.
            sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
            # Only the renderer that is asked for is imported.
            if options.json:
                from torch_abi_audit.report.document import head_document  # noqa: PLC0415
                from torch_abi_audit.report.json import JsonWriter  # noqa: PLC0415

                head = head_document(
                    __version__, auditor.catalog.releases, environment, configuration
                )
                self._writer = JsonWriter(sys.stdout, head)
            else:
                from torch_abi_audit.report.terminal import (  # noqa: PLC0415
                    EnvironmentWriter,
                    StandardOutput,
                    TerminalWriter,
                )

                console = StandardOutput()
                self._writer = (
                    TerminalWriter(console, verbose=options.verbose)
                    if environment is None
                    else EnvironmentWriter(console, environment, everything=options.all)
                )

    def add(self, report: TargetReport) -> None:
        with self._guarded():
            if self._writer is not None:
                self._writer.add(report)
                sys.stdout.flush()

    def finish(self, run: RunReport) -> None:
        with self._guarded():
            if self._writer is not None:
                self._writer.finish(run)
                sys.stdout.flush()

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            # The reader, such as `head`, has seen enough. Python would complain at exit.
            self._writer = None
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except OSError as error:
            self._writer = None
            self.failed = True
            _complain(f"the report can't be written: {error}")


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
    return list(dict.fromkeys(found))


def exit_code(report: TargetReport, check: Check | None = None) -> int:
    """Return the exit code that one target stands for; of several the highest counts."""
    if report.verdict is Verdict.ERROR:
        return EXIT_ERROR
    return EXIT_UNSAFE if fails(report, check) else EXIT_SAFE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="torch-abi-audit",
        description="Audit wheels that extend PyTorch before you upload them: which torch "
        "releases and Pythons they really work on, and whether they promise just that.",
        epilog="`torch-abi-audit explain RULE` tells what a rule means, and how to fix it. Exit"
        " code: 0 all safe or not applicable; 1 a target is unsafe; 2 wrong usage, or a target"
        " could not be audited",
    )
    parser.add_argument(
        "targets",
        nargs="*",
        metavar="TARGET",
        help="a .whl file or a pattern, an installed package, a folder, or a library",
    )
    parser.add_argument(
        "--env", action="store_true", help="audit every package of the interpreter that runs this"
    )
    parser.add_argument(
        "--site-packages",
        type=Path,
        metavar="DIR",
        help="audit every package installed in a folder, of any interpreter, or those named",
    )
    parser.add_argument(
        "--all", action="store_true", help="show the packages of it that do not use torch too"
    )
    parser.add_argument(
        "--check",
        type=Check,
        choices=list(Check),
        help="fail for this alone: libraries on torch's unstable ABI, libraries bound to one"
        " Python, either, or claims that do not hold. Nothing but wheels fails unasked",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--strict", action="store_true", help="let warnings fail a wheel too")
    judging = parser.add_mutually_exclusive_group()
    judging.add_argument(
        "--torch",
        type=_parsed(parse_torch),
        metavar="SPEC",
        help="judge against these releases, as '>=2.10', not those that the metadata asks for",
    )
    judging.add_argument(
        "--against",
        type=Path,
        metavar="TORCH",
        help="judge against one torch: a wheel, or the site-packages where it is installed",
    )
    parser.add_argument(
        "--min-torch",
        type=_parsed(parse_release),
        metavar="RELEASE",
        help="the oldest torch that is promised: name what breaks the promise",
    )
    parser.add_argument(
        "--ignore",
        type=_parsed(parse_ignore),
        action="append",
        default=[],
        metavar="RULE[:GLOB]",
        help="accept the findings of a rule, in the libraries that a pattern matches",
    )
    parser.add_argument(
        "--migrating",
        type=migrating,
        action="append",
        default=[],
        metavar="GLOB",
        help="accept that these libraries are on the unstable ABI still",
    )
    configuration = parser.add_mutually_exclusive_group()
    configuration.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="read [tool.torch-abi-audit] of this file, not of the nearest pyproject.toml",
    )
    configuration.add_argument(
        "--no-config", action="store_true", help="read no configuration at all"
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="read every member to its end, check its checksum, and its hash in RECORD;"
        " otherwise what follows the tables of a large library is not read",
    )
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="print every symbol and every library"
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    return parser


def _parsed(parse: Callable[[str], _T]) -> Callable[[str], _T]:
    """Let a parser complain as argparse expects it."""

    def parsed(text: str) -> _T:
        try:
            return parse(text)
        except AuditError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parsed


def _print_notices(target: TargetReport) -> None:
    """Say on stderr, one line each, what could not be audited, and how a target was taken."""
    if target.said:
        _complain(target.said)
    reasons = [f"{item.path}: {item.error}" for item in target.unreadable]
    for reason in reasons or ([target.error] if target.error else []):
        _complain(f"{target.target}: {reason}")


def _complain(message: str) -> None:
    """Write a line to stderr, if there is one."""
    with contextlib.suppress(OSError):
        if sys.stderr is not None:
            sys.stderr.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
            print(clean(f"torch-abi-audit: {message}"), file=sys.stderr, flush=True)  # noqa: T201

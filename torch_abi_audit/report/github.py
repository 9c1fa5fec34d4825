"""Annotations for the log of GitHub Actions: a workflow command for each finding.

Their titles are the names of rules. The service shows ten annotations of a kind for each step:
each target that fails has its first before any has its second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch_abi_audit.model import Severity
from torch_abi_audit.report import summary
from torch_abi_audit.report.escape import github_message, github_property, plain_text
from torch_abi_audit.wording import last_part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch_abi_audit.report.shape import Document, FindingDocument, TargetDocument
    from torch_abi_audit.report.style import Style


_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}
_SHOWN = 5


def render_github(document: Document, style: Style) -> str:
    """Return a line for each finding, and one in plain text; notes only when verbose."""
    targets = summary.failures_first(document["targets"])
    of_target = [list(_of_target(target, style)) for target in targets]
    first = [commands[0] for commands in of_target if commands]
    others = [command for commands in of_target for command in commands[1:]]
    together = [_finding(finding, None) for finding in _shown(document["findings"], style)]
    lines = [*first, *together, *others]
    for target in targets if style.verbose else ():
        told = (*summary.host(target), *summary.conditions(target))
        lines += [plain_text(f"{target['target']}: {text}") for text in told]
    if targets:
        lines.append(plain_text(summary.conclusion(document)))
    return "".join(f"{line}\n" for line in lines)


def _of_target(target: TargetDocument, style: Style) -> Iterator[str]:
    if target["error"] is not None:
        yield _command("error", target["target"], "not audited", target["error"])
    shown = _shown(target["findings"], style)
    if summary.fails_without_finding(target):
        yield _command("error", target["target"], "check", summary.sentence(target))
    broken = summary.broken_here(target)
    if broken is not None:
        yield _command("warning", target["target"], "does not load here", broken)
    yield from (_finding(finding, target["target"]) for finding in shown)


def _shown(findings: list[FindingDocument], style: Style) -> list[FindingDocument]:
    if style.verbose:
        return findings
    return [finding for finding in findings if finding["counts"]]


def _finding(finding: FindingDocument, target: str | None) -> str:
    paths = finding["libraries"]
    evidence = list(map(summary.told, summary.evidence(finding)))
    shown = [*paths[:_SHOWN], *evidence[:_SHOWN]]
    left = len(paths) + len(evidence) - len(shown)
    lines = [finding["message"], *(f"  {name}" for name in shown)]
    lines += [f"  ... {left} more"] if left else []
    lines += [f"Fix: {finding['fix']}"] if finding["fix"] else []
    severity = Severity(finding["severity"])
    # A note that counts is what a check fails for.
    decides = severity is Severity.NOTE and finding["counts"]
    command = "error" if decides else _COMMANDS[severity]
    return _command(command, target, finding["rule"], *lines)


def _command(command: str, target: str | None, title: str, *lines: str) -> str:
    where = "" if target is None else f"file={github_property(target)},"
    name = "" if target is None else f"{last_part(target)}: "
    about = f"{where}title={github_property(title)}"
    first, *more = lines
    return f"::{command} {about}::{github_message(name + first, *more)}"

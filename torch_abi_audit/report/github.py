"""Annotations for the log of GitHub Actions: a workflow command for each finding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch_abi_audit.model import Severity
from torch_abi_audit.report import told
from torch_abi_audit.report.clean import clean

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

    Document = Mapping[str, Any]

_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}
_SHOWN = 5


class GithubWriter:
    """Writes one line for each finding, and one for each target that could not be audited."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._targets: list[Document] = []

    def add(self, target: Document) -> None:
        """Write the next target."""
        self._targets.append({key: target[key] for key in ("target", "kind", "verdict")})
        for finding in target["findings"]:
            self._finding(finding, target["target"])
        if target["error"] is not None:
            self._command("error", target["target"], "not audited", clean(target["error"]))

    def finish(self, tail: Document) -> None:
        """Write what is found in all targets together, and one line in plain text."""
        for finding in tail["findings"]:
            self._finding(finding, None)
        if self._targets:
            said = told.conclusion(self._targets, tail["findings"], fails=tail["run_fails"])
            self._stream.write(f"{clean(said)}\n")

    def _finding(self, finding: Document, target: str | None) -> None:
        paths, evidence = finding["libraries"], finding["evidence"]
        shown = [*paths[:_SHOWN], *(evidence[:_SHOWN])]
        left = len(paths) + len(evidence) - len(shown)
        lines = [finding["message"], *(f"  {name}" for name in shown)]
        lines += [f"  ... {left} more"] if left else []
        lines += [f"help: {finding['help']}"] if finding["help"] else []
        command = _COMMANDS[Severity(finding["severity"])]
        self._command(command, target, finding["rule"], "\n".join(map(clean, lines)))

    def _command(self, command: str, target: str | None, title: str, message: str) -> None:
        where = "" if target is None else f"file={_property(target)},"
        name = "" if target is None else f"{told.filename({'target': target})}: "
        about = f"{where}title={_property(f'torch-abi-audit[{title}]')}"
        self._stream.write(f"::{command} {about}::{_data(clean(name) + message)}\n")


def _data(text: str) -> str:
    """Escape the message of a command, as the toolkit of GitHub Actions does."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(clean(text)).replace(":", "%3A").replace(",", "%2C")

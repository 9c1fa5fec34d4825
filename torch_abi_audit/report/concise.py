"""The report as a line a finding, for logs and for tools that read lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch_abi_audit.model import Severity
from torch_abi_audit.report.escape import plain_text
from torch_abi_audit.report.summary import (
    broken_here,
    conditions,
    fails_without_finding,
    host,
    sentence,
)

if TYPE_CHECKING:
    from typing import TextIO

    from torch_abi_audit.report.shape import (
        FindingDocument,
        HeadDocument,
        TailDocument,
        TargetDocument,
    )
    from torch_abi_audit.report.style import Style


class ConciseWriter:
    """Writes ``TARGET: error[RULE] MESSAGE`` for each finding, and what the run comes to.

    Args:
        stream: Where to.
        head: What stands before the targets; see `document.head_document`.
        style: How much; notes only when verbose.
    """

    def __init__(self, stream: TextIO, head: HeadDocument, style: Style) -> None:
        self._stream = stream
        self._head = head
        self._style = style

    def add(self, target: TargetDocument) -> None:
        """Write the findings of the next target."""
        name = target["target"]
        if target["error"] is not None:
            self._line(f"{name}: error: not audited: {target['error']}")
        broken = broken_here(target)
        if broken is not None:
            self._line(f"{name}: error: {broken}")
        if fails_without_finding(target):
            self._line(f"{name}: error: {sentence(target)}")
        for finding in target["findings"]:
            self._finding(f"{name}: ", finding)
        if self._style.verbose:
            for text in (*host(target), *conditions(target)):
                self._line(f"{name}: {text}")

    def finish(self, tail: TailDocument) -> None:
        """Write the findings about all targets together, and the conclusion."""
        for finding in tail["findings"]:
            self._finding("", finding)
        if not self._style.quiet:
            self._line("{word}: {why}".format(**tail["conclusion"]))

    def _finding(self, where: str, finding: FindingDocument) -> None:
        severity = finding["severity"]
        if not finding["counts"] and not self._style.verbose:
            return
        if severity == Severity.WARNING and self._style.quiet:
            return
        fix = f" (fix: {finding['fix']})" if finding["fix"] else ""
        self._line(f"{where}{severity}[{finding['rule']}] {finding['message']}{fix}")

    def _line(self, text: str) -> None:
        self._stream.write(f"{plain_text(text)}\n")

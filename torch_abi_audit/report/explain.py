"""What a rule means, as `explain` prints it."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch_abi_audit.rules import Rule

_WIDTH = 88
_ACCEPTED = """\
      [[tool.torch-abi-audit.ignore]]
      rule = "{}"
      reason = "..."\
"""


def explain(rule: Rule) -> str:
    """Return what a rule means, why it matters, and how to fix it."""
    parts = [
        f"{rule.severity}[{rule.name}]",
        _prose(f"Reported when {rule.title}."),
        "Why it matters",
        _prose(rule.why),
        "How to fix it",
        _prose(rule.fix),
    ]
    if rule.ignorable:
        parts += [
            "To ignore it, with a reason, in pyproject.toml",
            _ACCEPTED.format(rule.name),
        ]
    return "\n\n".join(parts) + "\n"


def list_rules(rules: Iterable[Rule]) -> str:
    """Return a line for each rule."""
    rules = list(rules)
    widest = max(len(rule.name) for rule in rules)
    return "\n".join(
        f"{rule.name:<{widest}}  {rule.severity:<7}  {rule.title.replace('`', '')}"
        for rule in rules
    )


def _prose(text: str) -> str:
    """Return paragraphs wrapped and indented, and code as it is."""
    lines = []
    for line in text.split("\n"):
        if line.startswith("    "):
            lines.append(f"  {line}")
        else:
            lines += textwrap.wrap(
                line,
                _WIDTH,
                initial_indent="  ",
                subsequent_indent="  ",
                break_long_words=False,
                break_on_hyphens=False,
            )
    return "\n".join(lines)

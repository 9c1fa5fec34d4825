"""What a rule means, and what the stable ABI has instead of a symbol, as `explain` prints it."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from torch_abi_audit.abi.mangling import demangle
from torch_abi_audit.report.escape import plain_text
from torch_abi_audit.wording import short

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


def is_symbol(name: str) -> bool:
    """Whether a name is that of a C++ symbol, as declared or mangled, and not that of a rule."""
    return "::" in name or name.startswith(("_Z", "?"))


def explain_symbol(name: str) -> str:
    """Return what the stable ABI has instead of a symbol of libtorch, as text with a newline.

    Args:
        name: The symbol, as declared or mangled.
    """
    from torch_abi_audit.abi.replacements import replacement  # noqa: PLC0415 -- for this alone
    from torch_abi_audit.catalog import load_catalog  # noqa: PLC0415

    catalog = load_catalog()
    found = replacement(name, catalog)
    shown = plain_text(demangle(name) or name)
    if found is None:
        return f"{shown}: no stable replacement is known in torch {short(catalog.newest)}\n"
    asides = [f"since torch {short(found.since)}"]
    asides += [f"loads on {short(found.floor)}"] if found.floor < found.since else []
    asides += [found.note] if found.note else []
    return f"{shown}: use {found.name} ({'; '.join(asides)})\n"

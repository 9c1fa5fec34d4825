"""What CI services take for commands in a log, and make something of in Markdown."""

from __future__ import annotations

import re

# GitHub Actions reads `::name …::` where a line begins, after white space, and `##[name …]`
# anywhere; Azure Pipelines `##[…]` and `##vso[…]`, TeamCity `##teamcity[…]`; GitLab sections.
_OF_LINES = (re.compile(r"^\s*::[^:]*::.*"), re.compile(r"##[A-Za-z]*\[.*"))
_SECTION = re.compile(r"section_(?:start|end):[0-9]+:[^\r\n]*\r\x1b\[0K")
_LINES = re.compile(r"\r\n|\n|\r")

# What GitHub makes links, mentions, emoji or formulas of, wherever it stands outside of code.
LIVE = re.compile(r"://|www\.|@\w|#[0-9]|gh-[0-9]|:[\w+-]+:|\b[0-9a-f]{7,40}\b|\$", re.IGNORECASE)

# One of each, and what may make one of what stands before or after it.
HOSTILE = (
    "::error::x",
    " ::add-mask::y",
    "\n::set-output name=a::b",
    "\u3000::stop-commands::z",
    "##[error]x",
    "a##[add-mask]y",
    "###[group]x",
    "##vso[task.complete result=Failed;]x",
    "##teamcity[buildStop]",
    "section_start:1:a\r\x1b[0Kb",
    "\r\x1b[0Ksection_end:1:a\r\x1b[0K",
)


def commands(text: str) -> list[str]:
    """Return what a runner would take for a command."""
    lines = _LINES.split(text)
    found = [match[0] for line in lines for rule in _OF_LINES if (match := rule.search(line))]
    return found + _SECTION.findall(text)

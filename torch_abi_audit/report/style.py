"""How much of a report is printed, and how."""

from __future__ import annotations

from typing import Literal, NamedTuple

Color = Literal["auto", "always", "never"]


class Style(NamedTuple):
    """How much to print, and how.

    Attributes:
        verbose: Print every symbol, every note, and what single libraries are.
        quiet: Print what is wrong alone.
        everything: Of an environment, print the packages that do not use torch too.
        color: Whether to use colors; `auto` does on a terminal, as `NO_COLOR` allows.
    """

    verbose: bool = False
    quiet: bool = False
    everything: bool = False
    color: Color = "auto"

"""What fuzzing looks for."""

from __future__ import annotations


class FuzzError(AssertionError):
    """What must never be, and is."""

"""The errors that bad input ends in; anything else that escapes is a bug."""

from __future__ import annotations


class AuditError(Exception):
    """A target could not be audited. The message is the reason, without the target's name."""


class LibraryError(AuditError):
    """A member begins like a library, or is named like one, and could not be read."""


class LimitError(AuditError):
    """A target holds more than is read of one; which limit it is over is in the message."""

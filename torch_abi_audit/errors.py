"""The errors that bad input ends in; anything else that escapes is a bug."""

from __future__ import annotations


class AuditError(Exception):
    """A target could not be audited. The message is the reason, without the target's name."""


def reason_of(error: OSError, target: object = None) -> str:
    """Say what the system refused, and for which file, unless that is the target itself.

    >>> reason_of(PermissionError(13, "Permission denied", "x/y"), "x")
    'x/y: Permission denied'
    >>> reason_of(PermissionError(13, "Permission denied", "x"), "x")
    'Permission denied'
    """
    said = error.strerror or str(error)
    named = error.filename is not None and str(error.filename) != str(target)
    return f"{error.filename}: {said}" if named else said


class SourceError(AuditError):
    """What a target consists of can't be had: it says nothing about the target."""


class LibraryError(AuditError):
    """A member begins like a library, or is named like one, and could not be read."""


class LimitError(AuditError):
    """A target holds more than is read of one; which limit it is over is in the message."""

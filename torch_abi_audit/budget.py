"""What an audit may cost: limits that the user can raise, and what is left of them.

Overlapping tables cost an attacker nothing: symbols can share one long name, and slices and
directories the same bytes, so a file of a few kilobytes could expand to gigabytes. So everything
that is kept or iterated over is counted, for all libraries of a target together, no matter how
many of them it is spread over. The run has its own limits, so that it does not matter how many
targets it is spread over either.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, fields, replace
from time import monotonic
from typing import TYPE_CHECKING

from torch_abi_audit.errors import AuditError, LimitError

if TYPE_CHECKING:
    from collections.abc import Mapping

_RUN = "run-"
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def _limit(default: int, what: str) -> int:
    """Declare a limit: its default value, and what it bounds."""
    declared: int = field(default=default, metadata={"what": what})
    return declared


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that a target, and a run with all its targets, may contain and cost.

    Among published wheels, fbgemm-gpu 1.9.0, with 20 libraries of C++ templates, has 77,000
    symbols; libtorch_cpu alone has 80,000, with 14 MB of names. vtk 9.7 has 376 libraries that
    need each other, which takes 1.1 million steps.
    """

    members: int = _limit(200_000, "members of an archive, or files in a folder")
    inflated: int = _limit(32 << 30, "bytes that the members of an archive inflate to")
    ratio: int = _limit(50, "ratio of what its members inflate to and the size of an archive")
    symbols: int = _limit(1_500_000, "dynamic symbols, imported and exported")
    names: int = _limit(64 << 20, "bytes of names of symbols, versions and libraries")
    steps: int = _limit(4_000_000, "other table entries, and library lookups")
    seconds: int = _limit(300, "seconds")
    download: int = _limit(4 << 30, "bytes of a wheel that is downloaded as a whole")
    waiting: int = _limit(1800, "seconds of waiting for the index, besides")
    run_members: int = _limit(20_000_000, "members and files")
    run_inflated: int = _limit(1 << 40, "bytes that the members of archives inflate to")
    run_symbols: int = _limit(150_000_000, "dynamic symbols")
    run_names: int = _limit(8 << 30, "bytes of names")
    run_steps: int = _limit(400_000_000, "other table entries, and library lookups")
    run_seconds: int = _limit(3600, "seconds")

    def with_values(self, values: Mapping[str, int]) -> Limits:
        """Return the limits with some of them replaced, by their user-facing names."""
        return replace(self, **{name.replace("-", "_"): value for name, value in values.items()})


# What each limit bounds, by its user-facing name.
LIMITS: dict[str, str] = {
    item.name.replace("_", "-"): item.metadata["what"] for item in fields(Limits)
}
COUNTED = ("members", "inflated", "symbols", "names", "steps")


def parse_limit(text: str) -> tuple[str, int]:
    """Parse a limit as given in an option, ``NAME=VALUE``; K, M and G are powers of 1024.

    >>> parse_limit("names=128M")
    ('names', 134217728)

    Raises:
        AuditError: There is no such limit, or the value is not a number.
    """
    name, _, value = text.partition("=")
    if name not in LIMITS:
        raise AuditError(f"{text!r} is not NAME=VALUE, with one of {', '.join(LIMITS)}")
    return name, parse_amount(value)


def parse_amount(text: str) -> int:
    """Parse the value of a limit: digits, optionally followed by K, M or G.

    Raises:
        AuditError: It is not such a number, or not above zero.
    """
    digits = text.rstrip("KMG") if len(text) < 20 else ""
    unit = text.removeprefix(digits)
    if not (digits.isascii() and digits.isdecimal()) or unit not in ("", *_UNITS):
        raise AuditError(f"{text!r} is not a whole number, optionally followed by K, M or G")
    if not int(digits):
        raise AuditError("a limit must be greater than 0")
    return int(digits) * _UNITS.get(unit, 1)


class Budget:
    """What is left of the limits for one target, shared by the threads that read its libraries.

    Args:
        limits: The limits.
        left: What the run has left of a limit, where that is less than a target may have.
    """

    def __init__(self, limits: Limits = Limits(), left: Mapping[str, float] | None = None) -> None:
        usual: dict[str, float] = {name: getattr(limits, name) for name in (*COUNTED, "seconds")}
        of_run = {name: value for name, value in (left or {}).items() if value < usual[name]}
        cap = usual | of_run
        self.limits = limits
        self._of_run = of_run
        self._caps = cap
        self._members, self._inflated = cap["members"], cap["inflated"]
        self._symbols, self._names, self._steps = cap["symbols"], cap["names"], cap["steps"]
        self._end = monotonic() + cap["seconds"]
        self._waiting = float(limits.waiting)
        self._lock = threading.Lock()

    @property
    def names(self) -> float:
        """How many bytes of names are left."""
        return self._names

    @property
    def spent(self) -> dict[str, float]:
        """The amounts counted so far, by the names of the limits."""
        left = (self._members, self._inflated, self._symbols, self._names, self._steps)
        return {name: self._caps[name] - value for name, value in zip(COUNTED, left, strict=True)}

    def spend(self, *, symbols: int = 0, names: int = 0, steps: int = 0) -> None:
        """Count symbols, bytes of names and steps before they are kept or taken.

        Raises:
            LimitError: There are more of them than the limits allow, or no time is left.
        """
        with self._lock:
            self._symbols -= symbols
            self._names -= names
            self._steps -= steps
        if self._symbols < 0:
            raise self._past("symbols", "the libraries have more than {} dynamic symbols")
        if self._names < 0:
            raise self._past("names", "the libraries have more than {} bytes of symbol names")
        if self._steps < 0:
            raise self._past("steps", "the libraries take more than {} steps to read")
        self.check_time()

    def open(self, *, members: int = 0, inflated: int = 0) -> None:
        """Count members, and the bytes that they inflate to, before they are read.

        Raises:
            LimitError: There are more of them than the limits allow, or no time is left.
        """
        self._members -= members
        self._inflated -= inflated
        if self._members < 0:
            raise self._past("members", "the target has more than {} members")
        if self._inflated < 0:
            raise self._past("inflated", "the archive inflates to more than {} bytes")
        self.check_time()

    def check_ratio(self, inflated: int, size: int) -> None:
        """Raise LimitError if an archive inflates to too many times its size."""
        if inflated > self.limits.ratio * size:
            raise self._past("ratio", "the archive inflates to more than {} times its size")

    def wait(self, seconds: float) -> None:
        """Count the time that was spent on waiting for an index, which is not the audit's own.

        Raises:
            LimitError: It is more than the limits allow.
        """
        with self._lock:
            self._end += seconds
            self._waiting -= seconds
        if self._waiting < 0:
            raise self._past("waiting", "the index takes more than {} s to send the wheel")

    def check_download(self, size: int) -> None:
        """Raise LimitError if a file is too large to be downloaded.

        Args:
            size: Its length in bytes.
        """
        if size > self.limits.download:
            raise self._past("download", "the wheel has more than {} bytes to download")

    def check_time(self) -> None:
        """Raise LimitError if the time that a target may take is up."""
        if monotonic() > self._end:
            raise self._past("seconds", "the audit takes more than {} s")

    def _past(self, name: str, reason: str) -> LimitError:
        whole = name in self._of_run
        limit = f"{_RUN}{name}" if whole else name
        value = getattr(self.limits, limit.replace("-", "_"))
        said = reason.format(f"{value:,}")
        if whole:
            said = f"together with the targets before it, {said}"
        return LimitError(f"{said} (raise it with --limit {limit}=N)")


class RunBudget:
    """What is left of the limits of a run, which its targets share."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._left = {name: float(getattr(limits, f"run_{name}")) for name in COUNTED}
        self._end = monotonic() + limits.run_seconds

    def of_target(self) -> Budget:
        """Return what the next target may cost."""
        return Budget(self._limits, {**self._left, "seconds": self._end - monotonic()})

    def take(self, budget: Budget) -> None:
        """Deduct what a target has cost."""
        for name, value in budget.spent.items():
            self._left[name] -= value

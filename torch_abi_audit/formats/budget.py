"""What reading the libraries of one target may cost.

Tables overlap for nothing: symbols can share one long name, and slices and directories the same
bytes, so that a file of a few kilobytes would stand for gigabytes. So what is kept, and what is
gone through one by one, is counted, and for all libraries of a target together: then it does not
matter over how many of them it is spread.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from torch_abi_audit.errors import LimitError


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that the libraries of one target may hold.

    fbgemm-gpu 1.9.0, with 20 libraries of C++ templates, has 77,000 symbols; libtorch_cpu alone
    has 80,000, with 14 MB of names.

    Attributes:
        symbols: Dynamic symbols, imported and exported.
        name_bytes: Bytes of names: of symbols, versions and libraries.
        steps: Whatever else is gone through one by one: opcodes, load commands, nodes.
    """

    symbols: int = 1_500_000
    name_bytes: int = 64 << 20
    steps: int = 4_000_000


class Budget:
    """What is left of the limits. Threads that read libraries of one target share it."""

    def __init__(self, limits: Limits = Limits()) -> None:
        self._limits = limits
        self._symbols = limits.symbols
        self._name_bytes = limits.name_bytes
        self._steps = limits.steps
        self._lock = threading.Lock()

    @property
    def name_bytes(self) -> int:
        """How many bytes of names are left."""
        return self._name_bytes

    def spend(self, *, symbols: int = 0, name_bytes: int = 0, steps: int = 0) -> None:
        """Count symbols, bytes of names and steps, before they are kept or taken.

        Raises:
            LimitError: There are more of them than the limits allow.
        """
        with self._lock:
            self._symbols -= symbols
            self._name_bytes -= name_bytes
            self._steps -= steps
            limits = self._limits
            if self._symbols < 0:
                raise LimitError(f"its libraries have more than {limits.symbols:,} dynamic symbols")
            if self._name_bytes < 0:
                raise LimitError(
                    f"its libraries have more than {limits.name_bytes:,} bytes of symbol names"
                )
            if self._steps < 0:
                raise LimitError(
                    f"the tables of its libraries have more than {limits.steps:,} entries"
                )

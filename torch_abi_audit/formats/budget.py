"""What reading the libraries of one target may cost.

Names may overlap in a string table: a few hundred bytes of symbols can name the same 64 KiB
over and over. So what counts is what is kept, symbols and the bytes of their names, and for
all libraries of a target together.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from torch_abi_audit.errors import LibraryError


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that the libraries of one target may hold.

    libtorch_cpu, one of the largest libraries there are, has 80,000 dynamic symbols and
    14 MB of names.

    Attributes:
        symbols: Dynamic symbols.
        name_bytes: Bytes of names: of symbols, versions and libraries.
    """

    symbols: int = 1_000_000
    name_bytes: int = 64 << 20


class Budget:
    """What is left of the limits. Threads that read libraries of one target share it."""

    def __init__(self, limits: Limits = Limits()) -> None:
        self._limits = limits
        self._symbols = limits.symbols
        self._name_bytes = limits.name_bytes
        self._lock = threading.Lock()

    @property
    def name_bytes(self) -> int:
        """How many bytes of names are left."""
        return self._name_bytes

    def spend(self, *, symbols: int = 0, name_bytes: int = 0) -> None:
        """Count symbols and bytes of names, before they are kept.

        Raises:
            LibraryError: There are more of them than the limits allow.
        """
        with self._lock:
            self._symbols -= symbols
            self._name_bytes -= name_bytes
            if self._symbols < 0:
                raise LibraryError(
                    f"more than the limit of {self._limits.symbols:,} dynamic symbols"
                )
            if self._name_bytes < 0:
                raise LibraryError(
                    f"more than the limit of {self._limits.name_bytes:,} bytes of names"
                )

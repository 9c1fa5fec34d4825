"""How much one file may ask of a reader.

Tables overlap for nothing: symbols can share one long name, and slices and directories the
same bytes, so that a small file would stand for gigabytes. What all parts of a file ask
for together is therefore counted in one place.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch_abi_audit.errors import LibraryError


@dataclass(slots=True)
class Allowance:
    """What is left of it. libtorch_cpu.dylib exports 36,000 names of 4 MB, torch_cpu.dll 60,000.

    Attributes:
        symbols: Imports and exports.
        name_bytes: Bytes of their names.
        steps: Whatever else is gone through one by one: opcodes, load commands, nodes.
    """

    symbols: int = 500_000
    name_bytes: int = 32 << 20
    steps: int = 2_000_000

    def take(self, *, symbols: int = 0, name_bytes: int = 0, steps: int = 0) -> None:
        """Take from it.

        Raises:
            LibraryError: There is not so much left.
        """
        self.symbols -= symbols
        self.name_bytes -= name_bytes
        self.steps -= steps
        if self.symbols < 0:
            raise LibraryError("more symbols than a library has")
        if self.name_bytes < 0:
            raise LibraryError("more bytes of symbol names than a library has")
        if self.steps < 0:
            raise LibraryError("larger tables than a library has")

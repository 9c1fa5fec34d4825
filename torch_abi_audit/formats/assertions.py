"""Traces of inlined assertions in a library: the file and the line of each.

torch's `TORCH_INTERNAL_ASSERT` makes one string of its condition, its file and its line, which
the compiler keeps among the constants of every library that inlines the code
(c10/util/Exception.h):

    !has_parent_ INTERNAL ASSERT FAILED at "/…/torch/csrc/autograd/function.h":283, please report …
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from torch_abi_audit.model import Assertion

if TYPE_CHECKING:
    from torch_abi_audit.budget import Budget
    from torch_abi_audit.formats.source import ByteSource
    from torch_abi_audit.model import Library

_MARK = b' INTERNAL ASSERT FAILED at "'
_PLACE = re.compile(rb'([^"\0\n]{1,600})":([0-9]{1,7}), ')
_BEFORE, _AFTER = 512, 640  # bytes of the condition, and of the file and the line
_EDGE = _BEFORE + len(_MARK) + _AFTER
# Constants lie before or after the host code, and before the accelerator code. In the wheels
# examined, no assertion lies beyond byte 31,000,000 of its library.
_SEARCHED = 32 << 20
_CHUNK = 1 << 20
_KEPT = 256  # bytes that an assertion takes in addition to its strings


class AssertionScanner:
    """Finds assertions in the bytes of a library as they stream past, in order.

    Args:
        budget: The budget that their strings count against.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._position = 0
        self._tail = b""
        self._found: dict[Assertion, None] = {}

    @property
    def found(self) -> tuple[Assertion, ...]:
        """The assertions found so far, in file order, each once."""
        return tuple(self._found)

    @property
    def wants(self) -> int:
        """How many more bytes will be looked at."""
        return max(0, _SEARCHED - self._position)

    def feed(self, data: bytes) -> None:
        """Look at the next bytes.

        Raises:
            LimitError: There are more assertions than the limits allow.
        """
        data = data[: self.wants]
        if not data:
            return
        # A string can be split at the end of a piece, so the bytes around it are searched together.
        edge = self._tail + data[:_EDGE]
        self._search(edge, _BEFORE if len(self._tail) == _EDGE else 0)
        self._search(data, _BEFORE)
        self._position += len(data)
        self._tail = data[-_EDGE:] if len(data) >= _EDGE else edge[-_EDGE:]

    def _search(self, data: bytes, start: int) -> None:
        place = data.find(_MARK, start)
        while place >= 0:
            self._add(data, place)
            place = data.find(_MARK, place + len(_MARK))

    def _add(self, data: bytes, place: int) -> None:
        start = place + len(_MARK)
        match = _PLACE.match(data, start, start + _AFTER)
        if match is None:
            return
        text = data[max(0, place - _BEFORE) : place].rpartition(b"\0")[2]
        assertion = Assertion(_decoded(match[1]), int(match[2]), _decoded(text))
        if assertion not in self._found:
            self._budget.spend(names=len(text) + len(match[1]) + _KEPT)
            self._found[assertion] = None


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "backslashreplace")


def scan(source: ByteSource, budget: Budget) -> tuple[Assertion, ...]:
    """Return the assertions in a file that can be read again.

    Raises:
        LibraryError: The file can't be read.
        LimitError: There are more assertions than the limits allow.
    """
    scanner = AssertionScanner(budget)
    position = 0
    while size := min(_CHUNK, scanner.wants, source.size - position):
        scanner.feed(source.read_at(position, size))
        position += size
    return scanner.found


def with_assertions(
    slices: tuple[Library, ...], found: tuple[Assertion, ...]
) -> tuple[Library, ...]:
    """Return the libraries of a file with the assertions found in it."""
    return tuple(replace(item, assertions=found) for item in slices) if found else slices

"""What a loader said, and whether the matrix says the same: pure functions over both."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

from torch_abi_audit.catalog.libraries import cuda_library, is_driver, is_torch_library
from torch_abi_audit.model import LOADING, Cell, LayoutStatus, ReleaseStatus

_MISSING_LIBRARY = re.compile(r"(?:^|[:;] )([^\s:;]+): cannot open shared object file")
_UNDEFINED = re.compile(r"undefined symbol: ([^\s,;]+)(?:, version ([^\s;]+))?")
_NO_VERSION = re.compile(r"version [`'](\S+)' not found")
# A name that Wine's log gives: the library, a dot, and the function.
_NO_FUNCTION = re.compile(
    r"No implementation for (.+?\.(?:dll|pyd|exe))\.(\S+) imported from ", re.IGNORECASE
)
_NO_DLL = re.compile(r"Library (\S+) \(which is needed by ")
_SYSTEM_VERSION = re.compile(r"(?:GLIBC|GLIBCXX|CXXABI|GCC|GOMP)_[0-9.]+")
DIED = "died"
NOT_DECIDED = "not decided"


class Verdict(StrEnum):
    """What a comparison of a cell with a loader comes to."""

    LOADS = "loads, as predicted"
    BREAKS = "does not load, as predicted"
    UNNAMED = "does not load, as predicted, but for a reason that is not named"
    HOST = "decided by the host's glibc or libstdc++"
    OTHER = "decided by another package's library"
    SCOPE = "decided by the library of its wheel that opens it"
    ABORTS = "loads, then aborts in an initialiser; layouts have changed"
    UNDECIDED = "not decided: the loader took too long, or did not run"
    NO_DATA = "no data for this release"
    WRONG = "wrong"

    @property
    def fails(self) -> bool:
        """Whether the matrix is wrong about the cell."""
        return self in (Verdict.WRONG, Verdict.UNNAMED)

    @property
    def compared(self) -> bool:
        """Whether a prediction and an answer stand against each other."""
        return self not in (Verdict.NO_DATA, Verdict.UNDECIDED, Verdict.SCOPE)


@dataclass(frozen=True)
class Outcome:
    """What a loader did with one library.

    Attributes:
        error: What it said; empty if the library loads.
        supplied: Libraries of other packages that stubs stood for.
    """

    error: str = ""
    supplied: tuple[str, ...] = ()

    @property
    def loads(self) -> bool:
        """Whether the library loads."""
        return not self.error

    @property
    def missing_libraries(self) -> tuple[str, ...]:
        """The libraries that were not found: on Linux the first one, on Windows all."""
        found = (match[1] for match in _MISSING_LIBRARY.finditer(self.error))
        return tuple(name.rpartition("/")[2] for name in found)

    @property
    def missing_symbols(self) -> tuple[str, ...]:
        """The symbols that were not found: on Linux the first one, on Windows all."""
        return tuple(match[1] for match in _UNDEFINED.finditer(self.error))

    @property
    def about_the_host(self) -> bool:
        """Whether a version of glibc or libstdc++ is missing that the host does not have."""
        version = _NO_VERSION.search(self.error)
        name = (
            version[1]
            if version
            else next((match[2] or "" for match in _UNDEFINED.finditer(self.error)), "")
        )
        return _SYSTEM_VERSION.fullmatch(name) is not None


def is_of_others(name: str, cuda: Collection[str]) -> bool:
    """Whether a library is one that neither torch, its CUDA packages nor the driver has.

    Args:
        name: Its name.
        cuda: The stems, in lower case, of the libraries in CUDA packages that torch requires.
    """
    parts = cuda_library(name)
    of_cuda = parts is not None and parts[0] in cuda
    return not (is_torch_library(name) or of_cuda or is_driver(name))


def wine_error(log: str, decisive: frozenset[str]) -> str:
    """Say what Wine's log says of a load, in the words of Linux's loader.

    Wine loads a library whose functions are missing all the same, and warns of each.

    Args:
        log: What Wine wrote, with `WINEDEBUG=warn+module`.
        decisive: The names, in lower case, of the libraries whose functions count: torch's,
            those of the wheel, and what stands beside them. What Wine's own ones lack does not.

    Returns:
        The missing libraries, or else the missing functions, joined by semicolons; empty if
        nothing is missing.
    """
    missing = dict.fromkeys(match[1].lower() for match in _NO_DLL.finditer(log))
    if missing:
        return "; ".join(f"{name}: cannot open shared object file" for name in missing)
    functions = dict.fromkeys(
        match[2].rstrip(",")
        for match in _NO_FUNCTION.finditer(log)
        if match[1].rpartition("\\")[2].lower() in decisive
    )
    return "; ".join(f"undefined symbol: {name}" for name in functions)


def compare(
    cell: Cell,
    outcome: Outcome,
    siblings: Iterable[Cell] = (),
    cuda: Collection[str] = (),
    scope: Collection[str] = (),
) -> Verdict:
    """Compare a cell of the matrix with what the loader did.

    Args:
        cell: The prediction for a library and a release of torch.
        outcome: What the loader did with both.
        siblings: The predictions for the libraries of its wheel that the library needs.
        cuda: The stems of CUDA's libraries.
        scope: For a library that others of its wheel need, what the wheel's libraries export:
            it finds them in the scope of the one that opens it, but not by itself.
    """
    if cell.status is ReleaseStatus.UNKNOWN:
        return Verdict.NO_DATA
    elsewhere = _decided_elsewhere(outcome, cuda, scope)
    if elsewhere:
        return elsewhere
    if cell.status in LOADING:
        return _loads(cell, outcome)
    return _breaks(cell, outcome, siblings)


def _decided_elsewhere(
    outcome: Outcome, cuda: Collection[str], scope: Collection[str]
) -> Verdict | None:
    """Return what else than torch decides whether a library loads."""
    if outcome.error.startswith(NOT_DECIDED):
        return Verdict.UNDECIDED
    if outcome.about_the_host:
        return Verdict.HOST
    if any(is_of_others(name, cuda) for name in outcome.missing_libraries):
        return Verdict.OTHER
    symbols = outcome.missing_symbols
    return Verdict.SCOPE if symbols and all(name in scope for name in symbols) else None


def _loads(cell: Cell, outcome: Outcome) -> Verdict:
    """Compare what the loader did with a prediction that the library loads."""
    if outcome.error.startswith(DIED):
        # Every symbol is there, and inlined code runs on classes that have changed.
        if cell.layout in (LayoutStatus.CHANGED, LayoutStatus.UNKNOWN):
            return Verdict.ABORTS
        # Or what it calls is only a stub.
        return Verdict.OTHER if outcome.supplied else Verdict.WRONG
    return Verdict.LOADS if outcome.loads else Verdict.WRONG


def _breaks(cell: Cell, outcome: Outcome, siblings: Iterable[Cell]) -> Verdict:
    """Compare what the loader did with a prediction that the library does not load."""
    said = [
        f"{reason.name} {reason.detail}".lower()
        for item in (cell, *siblings)
        for reason in item.reasons
    ]
    if outcome.loads or outcome.error.startswith(DIED):
        # An initialiser runs only after every symbol is found.
        about_host = cell.reasons and all(
            _SYSTEM_VERSION.search(f"{reason.name} {reason.detail}") for reason in cell.reasons
        )
        return Verdict.HOST if about_host else Verdict.WRONG
    libraries = outcome.missing_libraries
    # Where one of torch's is missing, what is missing besides is no concern of the matrix.
    of_torch = tuple(filter(is_torch_library, libraries))
    names = [*(of_torch or libraries), *outcome.missing_symbols]
    named = names and all(any(name.lower() in text for text in said) for name in names)
    return Verdict.BREAKS if named else Verdict.UNNAMED

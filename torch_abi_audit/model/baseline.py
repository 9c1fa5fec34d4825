"""An earlier state of a project, and what has changed since."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch_abi_audit.model.classification import TorchAbi


class LibraryState(NamedTuple):
    """How far a library's migration to the stable ABI had got.

    Attributes:
        path: Its path.
        abi: The torch ABI that it used.
        shims: How many C shims it imported.
        unstable: How many unstable symbols it imported.
    """

    path: str
    abi: TorchAbi
    shims: int
    unstable: int


class KnownFinding(NamedTuple):
    """The findings of one rule, with libraries by their keys, which are the same for each Python.

    Attributes:
        libraries: The libraries.
        symbols: The symbols, each with its library; None if it is of no particular library.
    """

    libraries: frozenset[str] = frozenset()
    symbols: frozenset[tuple[str | None, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class BaselineTarget:
    """A target as it was.

    Attributes:
        target: How the user named it.
        name: The project.
        version: Its version.
        libraries: Its libraries, by their keys.
        findings: The findings, by rule.
    """

    target: str
    name: str | None
    version: str | None
    libraries: Mapping[str, LibraryState] = field(default_factory=dict)
    findings: Mapping[str, KnownFinding] = field(default_factory=dict)


class Baseline(NamedTuple):
    """An earlier state of a project, from a report or a wheel.

    Attributes:
        source: The file.
        targets: The targets in it.
    """

    source: str
    targets: tuple[BaselineTarget, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A target compared with the baseline.

    Attributes:
        target: Its name there.
        version: Its version there.
        before: The earlier states of its libraries, by their current paths.
        moved: The libraries that have moved to the stable ABI since.
        back: The libraries that have left it.
        unstable_before: How many unstable symbols all of its libraries imported.
        unstable_now: How many they import now.
    """

    target: str
    version: str | None
    before: Mapping[str, LibraryState]
    moved: tuple[str, ...]
    back: tuple[str, ...]
    unstable_before: int
    unstable_now: int

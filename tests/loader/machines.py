"""What loads libraries: this machine, one emulated, or Wine; all have the same interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tests.loader.stubs import Stub
from tests.loader.verdicts import Outcome


@dataclass(frozen=True)
class Request:
    """A library to load.

    Attributes:
        path: Where it is.
        siblings: The libraries of its wheel that it needs, those that others need first.
        stubs: Stubs for libraries that neither torch, CUDA nor its wheel has, by name.
    """

    path: Path
    siblings: tuple[Path, ...] = ()
    stubs: Mapping[str, Path] = field(default_factory=dict)


class Machine(Protocol):
    """What loads libraries of one platform.

    Attributes:
        platform: The catalog's name for the platform.
        python: The release of CPython that it has, as in tags.
    """

    platform: str
    python: str

    def host(self) -> Mapping[str, str]:
        """Return what decides loads besides torch: glibc, libstdc++, the emulator."""
        ...

    def has(self, name: str) -> bool:
        """Whether every machine of its kind has a library, so that no stub stands for it."""
        ...

    def build(self, stub: Stub, folder: Path) -> Path:
        """Compile a stub into a folder."""
        ...

    def load(
        self, torch: Path, requests: Sequence[Request], preload: Sequence[Path]
    ) -> list[tuple[Outcome, float]]:
        """Load libraries one by one, each in a process of its own.

        Args:
            torch: The folder with torch.
            requests: What to load.
            preload: Stubs to load before torch, for all to see.

        Returns:
            For each request what the loader did, and the seconds that it took.
        """
        ...

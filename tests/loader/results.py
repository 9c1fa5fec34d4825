"""The table of what loaders did: a file of JSON lines, one a library and release of torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple


class Key(NamedTuple):
    """What a row is about."""

    platform: str
    sha256: str
    library: str
    torch: str


@dataclass(frozen=True)
class Row:
    """What a loader did with one library and one release of torch, and what the matrix says.

    Attributes:
        platform: The catalog's name for the platform.
        wheel: The wheel's filename.
        sha256: Its hash.
        library: The library's path in it.
        torch: The release of torch.
        origin: How the wheel came here: `drawn N` with that seed, or `named`.
        error: What the loader said; empty if the library loads.
        supplied: Libraries of other packages that stubs stood for.
        seconds: How long the loader took.
        date: When, as an ISO date.
        host: What the machine had: glibc, libstdc++ and the emulator, by name.
        predicted: The status of the cell; kept up to date with the catalog.
        verdict: What comparing both comes to.
    """

    platform: str
    wheel: str
    sha256: str
    library: str
    torch: str
    origin: str
    error: str
    supplied: tuple[str, ...]
    seconds: float
    date: str
    host: Mapping[str, str]
    predicted: str = ""
    verdict: str = ""

    @property
    def key(self) -> Key:
        """What it is about."""
        return Key(self.platform, self.sha256, self.library, self.torch)


class Results:
    """The rows of a file, to which more are added.

    Args:
        file: The file; made where there is none. A last line that was cut off is dropped.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.rows: dict[Key, Row] = {}
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True) if file.exists() else []
        for line in lines:
            if line.endswith("\n"):
                row = parse(line)
                self.rows[row.key] = row
        if lines and not lines[-1].endswith("\n"):
            self.rewrite()

    def add(self, rows: Iterable[Row]) -> None:
        """Add rows, on disk at once: a run that is cut off goes on from there."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as stream:
            for row in rows:
                self.rows[row.key] = row
                stream.write(as_line(row))

    def rewrite(self) -> None:
        """Write the file anew, in a fixed order."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        part = self._file.with_name(f"{self._file.name}.part")
        rows = sorted(self.rows.values(), key=lambda row: row.key)
        part.write_text("".join(map(as_line, rows)), encoding="utf-8")
        part.replace(self._file)


def as_line(row: Row) -> str:
    """Return a row as a line of JSON."""
    return json.dumps(asdict(row), separators=(",", ":")) + "\n"


def parse(line: str) -> Row:
    """Read a row from a line of JSON."""
    values = json.loads(line)
    values["supplied"] = tuple(values["supplied"])
    return Row(**{field.name: values[field.name] for field in fields(Row)})

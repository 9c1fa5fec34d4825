"""Read `scenario.toml` strictly: unknown keys, missing keys and wrong types are errors.

| table               | key               | type    | meaning                                      |
|---------------------|-------------------|---------|----------------------------------------------|
| `[wheel]`           | `name`            | string  | the distribution, spelled as in the filename |
|                     | `python`          | string  | the Python tag, such as `py39`               |
|                     | `abi`             | string  | the ABI tag, such as `none`                  |
|                     | `platform`        | string  | the platform tag                             |
|                     | `version`         | string  | its version (default: 1.0)                   |
|                     | `requires-python` | string  | `Requires-Python`                            |
|                     | `requires-dist`   | strings | one `Requires-Dist` each                     |
|                     | `extras`          | strings | one `Provides-Extra` each                    |
|                     | `purelib`         | boolean | `Root-Is-Purelib` (default: false)           |
|                     | `wheel-tags`      | strings | the tags in `WHEEL`, if not the filename's   |
|                     | `variant`         | string  | the variant label at the filename's end      |
|                     | `properties`      | strings | of the variant: `namespace::name::value`     |
| `[[also]]`          | as `[wheel]`      |         | another wheel of the release: what differs   |
| `[[library]]`       | `path`            | string  | its path in the wheel                        |
|                     | `source`          | string  | a C or C++ file, from the scenario's folder  |
|                     | `target`          | string  | a Zig target (default: x86_64 Linux)         |
|                     | `targets`         | strings | several, for a universal macOS library       |
|                     | `needed`          | strings | the libraries it links to                    |
|                     | `soname`          | string  | its own name (default: the filename)         |
|                     | `runpath`         | strings | `DT_RUNPATH` entries (Linux)                 |
|                     | `rpath`           | strings | `DT_RPATH` (Linux) or `LC_RPATH` (macOS)     |
|                     | `strip-sections`  | boolean | drop the ELF section headers                 |
|                     | `keep-bytes`      | integer | cut the file off after so many bytes         |
| `[library.exports]` | a needed library  | strings | its symbols, where the linker asks for them  |
| `[[file]]`          | `path`            | string  | its path in the wheel                        |
|                     | `text`            | string  | its content                                  |
| `[archive]`         | `twice`           | strings | files to write again at the archive's end    |
|                     | `unrecorded`      | strings | files to leave out of `RECORD`               |
|                     | `stream`          | boolean | write as to a pipe, sizes after the data     |

Sources that several scenarios use are in `sources/`: `source = "../sources/unstable.cpp"`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path  # noqa: TC003 -- a field's type is looked up
from typing import Any, TypeVar, get_type_hints

DEFAULT_TARGET = "x86_64-linux-gnu.2.28"
SYSTEMS = ("linux", "macos", "windows")
Strings = tuple[str, ...]
Exports = Mapping[str, Strings]


class ScenarioError(Exception):
    """The scenario is not valid."""


@dataclass(frozen=True)
class Wheel:
    """`[wheel]` or `[[also]]`."""

    name: str
    python: str
    abi: str
    platform: str
    version: str = "1.0"
    requires_python: str | None = None
    requires_dist: Strings = ()
    extras: Strings = ()
    purelib: bool = False
    wheel_tags: Strings | None = None
    variant: str | None = None
    properties: Strings = ()


@dataclass(frozen=True)
class Library:
    """`[[library]]`."""

    path: str
    source: str
    target: str | None = None
    targets: Strings | None = None
    needed: Strings = ()
    soname: str | None = None
    runpath: Strings = ()
    rpath: Strings = ()
    strip_sections: bool = False
    keep_bytes: int | None = None
    exports: Exports = field(default_factory=dict)

    @property
    def all_targets(self) -> Strings:
        """The Zig targets, one per slice."""
        return self.targets or (self.target or DEFAULT_TARGET,)


@dataclass(frozen=True)
class File:
    """`[[file]]`."""

    path: str
    text: str


@dataclass(frozen=True)
class Archive:
    """`[archive]`: what a build backend would never write."""

    twice: Strings = ()
    unrecorded: Strings = ()
    stream: bool = False


@dataclass(frozen=True)
class Scenario:
    """A whole `scenario.toml`."""

    folder: Path
    wheels: tuple[Wheel, ...]
    libraries: tuple[Library, ...]
    files: tuple[File, ...]
    archive: Archive


_TABLES = ("wheel", "also", "library", "file", "archive")
# The types of fields, and what an error calls them.
_KINDS: dict[object, str] = {
    str: "a string",
    bool: "true or false",
    int: "an integer",
    Strings: "a list of strings",
    Exports: "a table of lists of strings",
}
_T = TypeVar("_T", Wheel, Library, File, Archive)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a suggestion for a misspelt name, or an empty string."""
    alike = get_close_matches(name, list(known), 1)
    return f" (did you mean {alike[0]!r}?)" if alike else ""


def system_of(target: str) -> str:
    """Return the system of a Zig target."""
    return target.split("-")[1].partition(".")[0]


def read_scenario(folder: Path) -> Scenario:
    """Read the `scenario.toml` of a folder.

    Raises:
        ScenarioError: It is not valid. The message names the file, the table and the key.
    """
    path = folder / "scenario.toml"
    try:
        return _scenario(folder, tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError, ScenarioError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ScenarioError(f"{folder.name}/{path.name}: {reason}") from error


def _scenario(folder: Path, document: Mapping[str, Any]) -> Scenario:
    for name in document:
        if name not in _TABLES:
            raise ScenarioError(f"unknown table [{name}]{did_you_mean(name, _TABLES)}")
    if "wheel" not in document:
        raise ScenarioError("no [wheel]")
    first = _read(Wheel, document["wheel"], "[wheel]")
    also = [
        _read(Wheel, _merged(document["wheel"], table), "[[also]]")
        for table in _tables(document, "also")
    ]
    scenario = Scenario(
        folder,
        (first, *also),
        tuple(_library(folder, table) for table in _tables(document, "library")),
        tuple(_read(File, table, "[[file]]") for table in _tables(document, "file")),
        _read(Archive, document.get("archive", {}), "[archive]"),
    )
    paths = [item.path for item in scenario.libraries] + [item.path for item in scenario.files]
    paths += [
        f"{first.name}-{first.version}.dist-info/{name}" for name in ("METADATA", "WHEEL", "RECORD")
    ]
    for key in ("twice", "unrecorded"):
        for name in getattr(scenario.archive, key):
            if name not in paths:
                raise ScenarioError(
                    f"[archive]: {key}: no file {name!r}{did_you_mean(name, paths)}"
                )
    return scenario


def _tables(document: Mapping[str, Any], name: str) -> list[Any]:
    tables = document.get(name, [])
    if not isinstance(tables, list):
        raise ScenarioError(f"[{name}] must be written [[{name}]]")
    return tables


def _merged(wheel: Any, table: Any) -> Any:
    return {**wheel, **table} if isinstance(table, dict) else table


def _library(folder: Path, table: Any) -> Library:
    entry = _read(Library, table, "[[library]]")
    where = f"[[library]] {entry.path}"
    if not (folder / entry.source).is_file():
        raise ScenarioError(f"{where}: no source {entry.source!r}")
    if entry.target and entry.targets:
        raise ScenarioError(f"{where}: either target or targets, not both")
    for target in entry.all_targets:
        if "-" not in target or system_of(target) not in SYSTEMS:
            raise ScenarioError(f"{where}: {target!r} is not a Linux, macOS or Windows target")
    for name in entry.exports:
        if name not in entry.needed:
            hint = did_you_mean(name, entry.needed)
            raise ScenarioError(f"{where}: exports: {name!r} is not in needed{hint}")
    _check_search_path(entry, where)
    return entry


def _check_search_path(entry: Library, where: str) -> None:
    if entry.rpath and entry.runpath:
        raise ScenarioError(f"{where}: either rpath or runpath, a linker writes only one")
    for key, systems in (("runpath", ("linux",)), ("rpath", ("linux", "macos"))):
        for target in entry.all_targets:
            if getattr(entry, key) and system_of(target) not in systems:
                raise ScenarioError(f"{where}: {key}: {target} has none")


def _read(kind: type[_T], table: Any, where: str) -> _T:
    """Read a table into a dataclass whose fields are the table's keys."""
    if not isinstance(table, dict):
        raise ScenarioError(f"{where} must be a table")
    known = {item.name.replace("_", "-"): item for item in fields(kind)}
    hints = get_type_hints(kind)
    values = {}
    for key, value in table.items():
        if key not in known:
            raise ScenarioError(f"{where}: unknown key {key!r}{did_you_mean(key, known)}")
        values[known[key].name] = _value(value, hints[known[key].name], f"{where}: {key}")
    for key, item in known.items():
        if item.name not in values and item.default is item.default_factory is MISSING:
            raise ScenarioError(f"{where}: missing key {key!r}")
    return kind(**values)


def _value(value: Any, hint: Any, where: str) -> Any:
    kind = next(kind for kind in _KINDS if hint in (kind, kind | None))  # type: ignore[operator]
    match value:
        case bool() | str() | int() if type(value) is kind:
            return value
        case list() if kind == Strings and all(isinstance(item, str) for item in value):
            return tuple(value)
        case dict() if kind == Exports:
            return {key: _value(item, Strings, f"{where}.{key}") for key, item in value.items()}
    raise ScenarioError(f"{where} must be {_KINDS[kind]}")

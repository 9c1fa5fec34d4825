"""What torch's stable headers declare, and what that replaces in the unstable ABI.

Measured from the headers in torch's own wheels (`build/replacements.py`).
"""

from __future__ import annotations

import json
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from packaging.version import Version

from torch_abi_audit.catalog import DATA_FOLDER

if TYPE_CHECKING:
    from collections.abc import Mapping

REPLACEMENTS_FILE = "replacements.json"
# The shim that calls an operator by its name.
DISPATCHER = "torch_call_dispatcher"


class StableName(NamedTuple):
    """Something that the newest release declares for extensions on the stable ABI.

    Attributes:
        kind: See `model.ReplacementKind`.
        since: The first release whose headers declare it.
        floor: The oldest release that an extension using it can load on.
        note: What to know about it.
        operators: The operators that it calls through the dispatcher.
        calls: The shims that it calls, whichever release it is built for.
    """

    kind: str
    since: Version
    floor: Version
    note: str | None = None
    operators: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()


class Operator(NamedTuple):
    """An ATen operator.

    Attributes:
        name: Its name without the namespace, such as ``sum``.
        overload: Its overload; empty for the default one.
        since: The first release whose dispatcher shim can call it; None if it can't be called
            because a type in its schema has no conversion.
    """

    name: str
    overload: str
    since: Version | None

    @property
    def schema_name(self) -> str:
        """The name in schemas: ``sum.dim_IntList``."""
        return f"{self.name}.{self.overload}" if self.overload else self.name

    @property
    def struct(self) -> str:
        """The name of its struct in ``at::_ops``, and in shims: ``sum_dim_IntList``."""
        return f"{self.name}_{self.overload}" if self.overload else self.name


class StableApi:
    """What extensions on the stable ABI can use.

    Args:
        data: The table that `build/replacements.py` makes.
    """

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._data = data
        self._version = cache(Version)
        self.releases: tuple[Version, ...] = tuple(map(Version, data["releases"]))
        # For each class, function or namespace, its name in the stable ABI, which applies to
        # everything in it. Empty if nothing replaces it.
        self.concepts: Mapping[str, str] = data["concepts"]
        # Names that come with the inlined code of another: if the other is there, its
        # replacement replaces both.
        self.companions: Mapping[str, str] = data["companions"]

    def __contains__(self, name: object) -> bool:
        return name in self._data["names"]

    def __getitem__(self, name: str) -> StableName:
        entry = self._data["names"][name]
        return StableName(
            entry["kind"],
            self._version(entry["since"]),
            self._version(entry.get("floor", entry["since"])),
            entry.get("note"),
            tuple(entry.get("operators", ())),
            tuple(entry.get("calls", ())),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """All declared names, sorted."""
        return tuple(self._data["names"])

    @cached_property
    def operators(self) -> Mapping[str, Operator]:
        """The operators, by their structs."""
        return {item.struct: item for group in self.overloads.values() for item in group}

    @cached_property
    def overloads(self) -> Mapping[str, tuple[Operator, ...]]:
        """The operators, by their names, the default overload first."""
        found: dict[str, list[Operator]] = {}
        for since, group in self._data["operators"].items():
            release = self._version(since) if since else None
            for name, overloads in group.items():
                found.setdefault(name, []).extend(
                    Operator(name, overload, release) for overload in overloads.split(" ")
                )
        return {name: tuple(sorted(group, key=_by_overload)) for name, group in found.items()}

    @cached_property
    def wrappers(self) -> Mapping[str, str]:
        """The torch::stable functions, by the structs of the operators that they call."""
        found = {}
        for name, entry in self._data["names"].items():
            if entry["kind"] == "function":
                for operator in entry.get("operators", ()):
                    found[operator.replace(".", "_")] = name
                for call in entry.get("calls", ()):
                    found.setdefault(call.removeprefix("aoti_torch_aten_"), name)
        return found

    def wrapped(self, name: str) -> tuple[str, ...]:
        """Return the operators that a torch::stable function calls, as named in schemas."""
        structs = [struct for struct, wrapper in self.wrappers.items() if wrapper == name]
        return tuple(
            sorted(self.operators[item].schema_name for item in structs if item in self.operators)
        )


def _by_overload(operator: Operator) -> str:
    return operator.overload


@cache
def load_replacements() -> StableApi:
    """Load the data shipped in this package."""
    path = Path(__file__).with_name(DATA_FOLDER) / REPLACEMENTS_FILE
    return StableApi(json.loads(path.read_text(encoding="utf-8")))

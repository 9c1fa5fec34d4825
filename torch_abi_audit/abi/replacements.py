"""What the stable ABI has instead of an unstable symbol.

If torch kept the name, that is used: ``at::empty_like`` is ``torch::stable::empty_like``, and a
method of `at::Tensor` is one of `torch::stable::Tensor`. Otherwise a table of concepts is used;
and an operator without a function is called by its name. The catalog records which of these the
headers declare.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from torch_abi_audit.abi.mangling import demangle, owner, qualified_name
from torch_abi_audit.catalog.replacements import DISPATCHER, load_replacements
from torch_abi_audit.model import Replaced, Replacement, ReplacementKind, Replacements

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch_abi_audit.catalog import Catalog
    from torch_abi_audit.catalog.replacements import Operator, StableApi

# Bounds for hostile names: torch's own have no more.
_LONGEST, _DEEPEST = 8192, 12  # characters, and scopes; equivalent: as good as one more
_STABLE = "torch::stable::"
_TENSOR = "torch::stable::Tensor::"
_TENSORS = frozenset({("at", "Tensor"), ("at", "TensorBase")})
_OPERATORS = ("at", "_ops")
_INTERNAL = "__dispatch_"
_OUT = "out"
_MANGLED = ("_Z", "?")
_ANGLE = re.compile(r"([<>])")
# Arithmetic of these is in namespace c10; only its parameters say which class it belongs to.
_SYMBOLIC = re.compile(r"c10::operator[^(]*\(.*\bc10::(Sym(?:Int|Float|Bool))\b")
# The backends whose own shims are used if the dispatcher's shim can't call an operator.
_BACKENDS = {"aten": None, "cpu": "CPU", "cuda": "CUDA", "xpu": "XPU", "mps": "MPS"}


def replacement(name: str, catalog: Catalog, api: StableApi | None = None) -> Replacement | None:
    """Return the replacement for something unstable, None if none is known.

    Args:
        name: A symbol as spelled in an object file, or a name or declaration as in C++.
        catalog: What torch's releases provide.
        api: The stable API; by default what the headers in torch's wheels declare.
    """
    return _Finder(catalog, api or load_replacements()).find(_scopes(name))


def grouped(symbols: Iterable[str], catalog: Catalog, api: StableApi | None = None) -> Replacements:
    """Return the replacements for symbols, grouped by replacement.

    Args:
        symbols: The unstable symbols of a target.
        catalog: What torch's releases provide.
        api: The stable API; by default what the headers in torch's wheels declare.
    """
    api = api or load_replacements()
    named = {symbol: _scopes(symbol) for symbol in sorted(set(symbols))}
    finder = _Finder(catalog, api, frozenset(map("::".join, named.values())))
    found: dict[Replacement, list[str]] = {}
    without: list[str] = []
    for symbol, scopes in named.items():
        instead = finder.find(scopes)
        (without if instead is None else found.setdefault(instead, [])).append(symbol)
    ordered = sorted(found, key=lambda item: (-len(found[item]), item.name))
    return Replacements(
        api.releases[-1],
        tuple(Replaced(item, tuple(found[item])) for item in ordered),
        tuple(without),
    )


def _scopes(name: str) -> tuple[str, ...]:
    """Return the scopes and the name of the entity of a symbol or a declaration."""
    if len(name) > _LONGEST:
        return ()
    if name.startswith(_MANGLED):
        found = owner(name)[:_DEEPEST]
        if found == ("c10",) and (symbolic := _SYMBOLIC.match(demangle(name) or "")):
            return ("c10", symbolic[1])
        if found:
            return found
        name = qualified_name(name) or name
    words = _without_arguments(name.partition("(")[0]).split()
    return tuple(words[-1].split("::")[:_DEEPEST]) if words else ()


def _without_arguments(name: str) -> str:
    """Return a name without template arguments."""
    depth, kept = 0, []
    for part in _ANGLE.split(name):
        if part in {"<", ">"}:
            depth += 1 if part == "<" else -1
        elif depth == 0:
            kept.append(part)
    return "".join(kept)


class _Finder:
    """Finds replacements.

    Args:
        catalog: What torch's releases provide.
        api: The stable API.
        present: The other entities to replace.
    """

    def __init__(
        self, catalog: Catalog, api: StableApi, present: frozenset[str] = frozenset()
    ) -> None:
        self._catalog = catalog
        self._api = api
        self._present = present

    def find(self, scopes: tuple[str, ...]) -> Replacement | None:
        if scopes[:2] == _OPERATORS and len(scopes) > 2:
            # Continuing with other dispatch keys (`redispatch`) has no counterpart.
            return self._operator(scopes[2]) if scopes[3:] in {(), ("call",)} else None
        for part in (scopes, *_containing(scopes)):
            marker = self._api.companions.get("::".join(part))
            if marker in self._present:
                return self.find(tuple(marker.split("::")))
        concept = self._concept(scopes)
        if concept is not None:
            return self._declared(concept)
        found = self._by_name(scopes)
        if found is not None or scopes[:-1] in _TENSORS:
            return found  # a class does not replace methods that it lacks
        return self._declared(next(filter(None, map(self._concept, _containing(scopes))), ""))

    def _concept(self, scopes: tuple[str, ...]) -> str | None:
        """Return what replaces an entity and everything in it; empty if nothing does."""
        return self._api.concepts.get("::".join(scopes))

    def _by_name(self, scopes: tuple[str, ...]) -> Replacement | None:
        """Return the entity with the same name in the stable ABI."""
        if not scopes:
            return None
        name = scopes[-1].removeprefix(_INTERNAL)
        if scopes[:-1] in _TENSORS:
            return (
                self._declared(f"{_TENSOR}{name}")
                or self._declared(f"{_STABLE}{name}")
                or self._overload(name)
            )
        if scopes[:-1] in {("at",), ("at", "native"), ("torch",)}:
            return self._function(name) or self._overload(name)
        return None

    def _function(self, name: str) -> Replacement | None:
        found = self._declared(f"{_STABLE}{name}")
        return found if found and found.kind is ReplacementKind.FUNCTION else None

    def _declared(self, name: str, note: str | None = None) -> Replacement | None:
        if name not in self._api:
            return None
        entry = self._api[name]
        kind = ReplacementKind(entry.kind)
        return Replacement(name, kind, entry.since, entry.floor, note or entry.note)

    def _operator(self, struct: str) -> Replacement | None:
        wrapper = self._api.wrappers.get(struct) or self._concept((*_OPERATORS, struct))
        if wrapper is not None:
            return self._declared(wrapper)
        operator = self._api.operators.get(struct)
        if operator is None:
            return None
        return (
            self._other_overload(operator)
            or self._declared(f"{_TENSOR}{operator.name}")
            or _called(operator)
            or self._backend(struct)
        )

    def _other_overload(self, operator: Operator) -> Replacement | None:
        """Return the function for another overload of an operator, which may be close enough."""
        found = self._function(operator.name)
        if found is None or operator.overload.endswith(_OUT):
            return None
        wrapped = self._api.wrapped(found.name)
        note = f"calls aten::{', aten::'.join(wrapped)}" if wrapped else None
        return self._declared(found.name, note)

    def _overload(self, name: str) -> Replacement | None:
        """Return a call of an operator of which only the name is known."""
        return next(filter(None, map(_called, self._api.overloads.get(name, ()))), None)

    def _backend(self, struct: str) -> Replacement | None:
        for backend, spoken in _BACKENDS.items():
            name = f"aoti_torch_{backend}_{struct}"
            shim = self._catalog.shims.get(name)
            if shim is not None and shim.promised and shim.removed is None:
                since = max(shim.since, self._catalog.promised_since)
                note = spoken and f"for {spoken} tensors only"
                return Replacement(name, ReplacementKind.SHIM, since, since, note)
        return None


def _containing(scopes: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return the enclosing classes and namespaces, from the inside out."""
    return [scopes[:length] for length in range(len(scopes) - 1, 0, -1)]


def _called(operator: Operator) -> Replacement | None:
    """Return the call to an operator by its name."""
    if operator.since is None:
        return None
    return Replacement(
        f'{DISPATCHER}("aten::{operator.name}", "{operator.overload}")',
        ReplacementKind.OPERATOR,
        operator.since,
        operator.since,
    )

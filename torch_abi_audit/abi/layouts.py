"""Which of torch's classes and enums a library depends on, and how these changed.

A library on the unstable ABI may find every symbol in another release and still go wrong there:
a class that was inlined into it can have its members at other offsets, a virtual function in
another slot, an enum with other values. Its dependences are read from the names that it imports:

- classes that it passes by value, which caller and callee must lay out alike;
- classes that it constructs or destroys, or whose virtual functions it uses;
- `TensorImpl` and `StorageImpl` if it handles tensors: the code that counts references to them
  is inlined, and takes the address of the undefined tensor;
- `DispatchKey` if a name contains one, or a set of them, or if it registers operators;
- the classes of the headers whose assertions are inlined.

The classes that any of these contain by value count too.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from torch_abi_audit.abi.built_with import literals
from torch_abi_audit.abi.mangling import demangle
from torch_abi_audit.catalog.layouts import Kind, load_layouts
from torch_abi_audit.model import (
    Cell,
    Dependence,
    LayoutChange,
    LayoutStatus,
    Matrix,
    TorchAbi,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from packaging.version import Version

    from torch_abi_audit.catalog.layouts import Change, PlatformLayouts
    from torch_abi_audit.model import BuiltWith, LibraryAudit

# What every tensor is made of, and how kernels are looked up: a change is never harmless.
_VITAL = ("c10::DispatchKey", "c10::TensorImpl", "c10::StorageImpl")
_UNDEFINED_TENSOR = re.compile(
    r"19UndefinedTensorImpl10_singletonE|_singleton@UndefinedTensorImpl@"
)
_DISPATCHES = re.compile(
    r"11DispatchKey|14DispatchKeySet|5torch7LibraryC"
    # The namespace may be a back-reference to an earlier one.
    r"|(?:[UV@]|W4)DispatchKey(?:Set)?@|\?\?0Library@torch@"
)
# The namespaces that torch's headers define, by their folder.
_SCOPES = {"c10": ("c10::",), "ATen": ("at::", "c10::"), "torch": ("torch::",)}
# A bound against hostile files: no library in 142 published wheels has more than 300.
_MOST_SYMBOLS = 20_000
_MAX_NAME = 1000  # of a mangled name that is parsed
_MICROSOFT = re.compile(r"\b(?:class|struct|enum|union) ")
_TABLE = re.compile(r"^(?:vtable|typeinfo|VTT) for |^const (?P<msvc>.*)::`vftable'")
_MARKS = re.compile(r"[()<>\[\]{},]")
_OPENING, _CLOSING = "(<[{", ")>]}"
_FROM_BEST = (LayoutStatus.UNCHANGED, LayoutStatus.UNKNOWN, LayoutStatus.CHANGED)
_WHOLE = {
    Kind.REMOVED: "gone",
    Kind.ADDED: "new",
    Kind.SIZE: "{was} to {now} bytes",
    Kind.ALIGNMENT: "aligned to {was}, then to {now} bytes",
}
_PARTS = {
    Kind.BASE: "base ",
    Kind.MEMBER: "member ",
    Kind.TYPE: "type of ",
    Kind.VIRTUAL: "virtual function ",
    Kind.VALUE: "",
}
# The enumerators for "no type" and for the number of types move with each new type, which matters
# only to code that names them.
_ENDS = {"c10::ScalarType": frozenset({"Undefined", "NumOptions"})}
_UNMEASURED = "?"
_MOST_KNOWN_KEY = "CPU"  # the best-known value of `DispatchKey`


def parameters(declaration: str) -> list[str]:
    """Return the types of a function's parameters, as a demangled name has them.

    >>> parameters("at::f(at::Tensor const&, std::vector<long, std::allocator<long> >, bool) const")
    ['at::Tensor const&', 'std::vector<long, std::allocator<long> >', 'bool']
    >>> parameters("c10::detail::_str")
    []
    """
    inside = declaration.rpartition(")")[0]
    depth, cuts = 1, [len(inside)]
    for mark in reversed([*_MARKS.finditer(inside)]):
        depth += (mark[0] in _CLOSING) - (mark[0] in _OPENING)
        if depth == 0 or (depth == 1 and mark[0] == ","):
            cuts.append(mark.start())
        if depth == 0:
            break
    else:  # not the declaration of a function
        return []
    found = [inside[a + 1 : b].strip() for a, b in pairwise(reversed(cuts))]
    return [item for item in found if item not in ("", "void")]


def by_value(parameter: str) -> list[str]:
    """Return the classes of a parameter whose layout caller and callee must agree on.

    >>> by_value("std::optional<c10::Scalar>"), by_value("at::Tensor const&"), by_value("T&&")
    (['c10::Scalar'], [], ['T'])
    """
    name = _MICROSOFT.sub("", parameter).removesuffix("&&").strip()
    if name.endswith(("&", "*", ")")):
        return []
    name = name.removesuffix(" const").removeprefix("const ").strip()
    if name.startswith("std::") and name.endswith(">"):
        inside = f"({name[name.index('<') + 1 : -1]})"
        return [item for argument in parameters(inside) for item in by_value(argument)]
    return [name]


def _owner(declaration: str) -> str | None:
    """Return the class whose constructor or destructor is declared."""
    name, is_function, _ = _MICROSOFT.sub("", declaration).partition("(")
    of, _, last = name.rpartition(" ")[2].rpartition("::")
    short = of.rpartition("::")[2].partition("<")[0]
    is_its_own = last.removeprefix("~").partition("[")[0] == short
    return of if is_function and short and is_its_own else None


@lru_cache(maxsize=8192)  # the libraries of a wheel import much the same
def _named(symbol: str) -> tuple[tuple[str, Dependence], ...]:
    """Return the classes that a library depends on because it imports a symbol."""
    return tuple(_names(symbol))


def _names(symbol: str) -> Iterator[tuple[str, Dependence]]:
    if _UNDEFINED_TENSOR.search(symbol):
        yield "c10::TensorImpl", Dependence.INLINED
        yield "c10::StorageImpl", Dependence.INLINED
    if _DISPATCHES.search(symbol):
        yield "c10::DispatchKey", Dependence.VALUE
    declaration = demangle(symbol) if len(symbol) <= _MAX_NAME else None
    if declaration is None:
        return
    table = _TABLE.match(declaration)
    if table is not None:
        yield (table["msvc"] or declaration[table.end() :]), Dependence.TABLE
        return
    owner = _owner(declaration)
    if owner is not None:
        yield owner, Dependence.OBJECT
    for parameter in parameters(declaration):
        for name in by_value(parameter):
            yield name, Dependence.VALUE


def _inlined(item: LibraryAudit, layouts: PlatformLayouts) -> Iterator[str]:
    """Yield the classes that give their names to the headers whose assertions a library has."""
    for literal in literals(item.library):
        stem = literal.header.rpartition("/")[2].partition(".")[0]
        scopes = _SCOPES.get(literal.header.partition("/")[0], ())
        yield from (name for name in layouts.named(stem) if name.startswith(scopes))


def dependences(item: LibraryAudit, layouts: PlatformLayouts) -> dict[str, Dependence]:
    """Return the classes and enums whose layout a library depends on, and how.

    Args:
        item: A library on the unstable ABI.
        layouts: What is known for its platform.
    """
    found: dict[str, Dependence] = {}
    for symbol in item.torch.unstable:
        for name, how in _named(symbol):
            # The most severe dependence counts: by value.
            if name not in found or how is Dependence.VALUE:
                found[name] = how
    for name in _inlined(item, layouts):
        found.setdefault(name, Dependence.INLINED)
    found = {name: how for name, how in found.items() if layouts.has(name)}
    for name, how in list(found.items()):
        for held in layouts.closure(name):
            if how is not Dependence.VALUE:
                found.setdefault(held, Dependence.HELD)
            elif found.get(held) is not Dependence.VALUE:  # whatever else it is
                found[held] = Dependence.PART
    return found


def with_layouts(
    matrix: Matrix,
    items: Iterable[LibraryAudit],
    built: Mapping[str, BuiltWith | None],
    dated: Mapping[str, BuiltWith | None] | None = None,
) -> Matrix:
    """Return a matrix whose cells also say whether layouts are as the libraries expect them.

    Args:
        matrix: The cells; what they say about layouts is replaced.
        items: The libraries.
        built: What each was built with, by path.
        dated: The same, narrowed by the date of the target. A date alone never shows a change:
            it only tells that a release is unchanged if it belongs to the minor release left.
    """
    libraries = {path: _bare(row) for path, row in matrix.libraries.items()}
    for item in items:
        if item.torch.abi is TorchAbi.UNSTABLE and item.path in libraries:
            row = libraries[item.path]
            narrowed = (dated or {}).get(item.path)
            history = _History(
                item,
                _bases(built.get(item.path), row),
                _of_one_minor(narrowed.releases if narrowed is not None else ()),
            )
            for release, cell in row.items():
                if cell.loads_but_for_cuda:
                    # The worst slice of a universal file counts.
                    row[release] = _joined(cell, [history.cell(cell, release)])
    row = {
        release: _joined(cell, _serving(matrix, libraries, release))
        if cell.loads_but_for_cuda
        else cell
        for release, cell in _bare(matrix.row).items()
    }
    return Matrix(libraries, row, matrix.alternatives)


def _bare(row: Mapping[Version, Cell]) -> dict[Version, Cell]:
    """Return the cells without their layouts."""
    return {
        release: cell if cell.layout is None else replace(cell, layout=None, changes=())
        for release, cell in row.items()
    }


def _serving(
    matrix: Matrix, libraries: Mapping[str, Mapping[Version, Cell]], release: Version
) -> list[Cell]:
    """Return the cells of the libraries that are loaded with a release."""
    meant = matrix.alternatives
    return [
        row[release]
        for path, row in libraries.items()
        if path not in meant or meant[path].release == release.release[:2]
    ]


def _joined(cell: Cell, others: Sequence[Cell]) -> Cell:
    """Return a cell with the worst layout among its own and those of others."""
    known = [item for item in (cell, *others) if item.layout is not None]
    worst = max((item.layout for item in known), key=_FROM_BEST.index, default=None)
    changes = dict.fromkeys(change for item in known for change in item.changes)
    return replace(cell, layout=worst, changes=tuple(sorted(changes, key=_gravest)))


def _gravest(change: LayoutChange) -> tuple[bool, int, str]:
    vital = _VITAL.index(change.name) if change.name in _VITAL else len(_VITAL)
    return not change.grave, vital, change.name


def _bases(built: BuiltWith | None, row: Mapping[Version, Cell]) -> tuple[Version, ...]:
    """Return the releases that a library may have been built with; none if not known.

    Without a sign these are all that it loads on. A matrix of a single torch does not tell.
    """
    if built is not None:
        return built.releases
    linking = tuple(release for release, cell in row.items() if cell.loads_but_for_cuda)
    return linking if len(row) > 1 else ()


def _of_one_minor(releases: tuple[Version, ...]) -> tuple[Version, ...]:
    """Return the releases if they belong to one minor release, otherwise none."""
    return releases if len({release.release[:2] for release in releases}) == 1 else ()


class _History:
    """The layouts that a library depends on, through the releases.

    Args:
        item: The library.
        bases: The releases that it may have been built with; none if not known.
        likely: Those of a single minor release that a date leaves of them; none if it leaves
            several, or if there is no other sign.
    """

    def __init__(
        self, item: LibraryAudit, bases: Sequence[Version], likely: Sequence[Version]
    ) -> None:
        self._bases = bases
        self._likely = likely
        few = len(item.torch.unstable) <= _MOST_SYMBOLS
        self._layouts = load_layouts().of(item.platform or "") if few else None
        self._needs: dict[str, Dependence] = {}
        if self._layouts is not None:
            self._needs = dependences(item, self._layouts)

    def cell(self, cell: Cell, release: Version) -> Cell:
        """Return a cell with what is known about layouts in its release."""
        layout, changes = self._compare(self._bases, release)
        series = {base.release[:2] for base in self._likely}
        if layout is LayoutStatus.UNKNOWN and release.release[:2] in series:
            # The report names this minor release as the one it was built with.
            likely, _ = self._compare(self._likely, release)
            layout = likely if likely is LayoutStatus.UNCHANGED else layout
        return replace(cell, layout=layout, changes=changes)

    def _compare(
        self, bases: Sequence[Version], release: Version
    ) -> tuple[LayoutStatus, tuple[LayoutChange, ...]]:
        """Return whether layouts differ between a release and those that it was built with."""
        layouts = self._layouts
        if layouts is None or not bases or not {release, *bases} <= set(layouts.releases):
            return LayoutStatus.UNKNOWN, ()
        changes = [self._changes(layouts, base, release) for base in bases]
        if all(changes):
            return LayoutStatus.CHANGED, min(changes, key=len)
        others = [base for base in bases if base != release]
        known = all(layouts.knows(n, release, base) for base in others for n in self._needs)
        same = known and not any(changes)
        return (LayoutStatus.UNCHANGED if same else LayoutStatus.UNKNOWN), ()

    def _changes(
        self, layouts: PlatformLayouts, base: Version, release: Version
    ) -> tuple[LayoutChange, ...]:
        found = []
        for name, how in self._needs.items():
            change = _change(layouts, name, base, release)
            # New values of an enum do not change the layout of a class that holds it, unless it is
            # the class's own enum, such as `IValue::Tag`: inline code compares its values.
            held = how in (Dependence.PART, Dependence.HELD)
            foreign = held and name.rpartition("::")[0] not in self._needs
            if change is not None and not (foreign and change.kind is Kind.VALUE):
                grave = how in (Dependence.VALUE, Dependence.PART) or name in _VITAL
                found.append(LayoutChange(name, _detail(change), change.since, grave))
        return tuple(found)


def _change(layouts: PlatformLayouts, name: str, base: Version, release: Version) -> Change | None:
    """Return how a class or enum differs between two releases, where it matters."""
    change = layouts.changes(name, base, release)
    while change is not None and _only_ends(change):
        older = max(item for item in layouts.releases if item < change.since)
        base = change.since if base < release else older  # equivalent: the two always differ
        change = layouts.changes(name, base, release)
    return change


def _only_ends(change: Change) -> bool:
    """Whether only the enumerators that follow all actual values of an enum moved."""
    moved = {fact.name for fact in change.facts if fact.kind is Kind.VALUE}
    return change.count == len(moved) and moved <= _ENDS.get(change.name, frozenset())


def _detail(change: Change) -> str:
    """Describe a class or enum before and after, by its most telling facts."""
    # Offsets in Microsoft's standard library are not known, only that they differ.
    told = [fact for fact in change.facts if _UNMEASURED not in (fact.was, fact.now)]
    if not told:
        return "laid out differently"
    fact = next((fact for fact in told if fact.name == _MOST_KNOWN_KEY), told[0])
    if fact.kind in _WHOLE:
        return _WHOLE[fact.kind].format(was=fact.was, now=fact.now)
    moved = f"{fact.was} to {fact.now}"
    if fact.was is None or fact.now is None:
        moved = "is new" if fact.was is None else "is gone"
    return f"{_PARTS[fact.kind]}{fact.name} {moved}"

"""Rules about CPython's C API and what the ABI tag promises of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from torch_abi_audit.abi.platform import system_of
from torch_abi_audit.abi.scope import basename, names_of
from torch_abi_audit.claims import admitted_interpreters, admitted_pythons, claims_abi3
from torch_abi_audit.model import Format, LibraryKind, PythonAbi, PythonVersion, Severity, Subject
from torch_abi_audit.rules.registry import Hit, rule
from torch_abi_audit.rules.words import count, join, limited_api

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch_abi_audit.catalog import Catalog

# Systems where interpreters are built with and without a shared library.
_OFTEN_STATIC = frozenset({"linux", "macos"})
_ABI3T_SINCE = PythonVersion(3, 15)
# Suffixes that a single release or build of an implementation imports (PEP 3149):
# `.cpython-310-x86_64-linux-gnu.so`, `.cpython-313t-darwin.so`, `.cp310-win_amd64.pyd`,
# `.pypy310-pp73-x86_64-linux-gnu.so`, `.graalpy250-312-native-x86_64-linux.so`.
_VERSIONED_SUFFIX = re.compile(
    r"[^/.]+\.(?:cpython-|cp|pypy|graalpy\d+-)(?P<version>\d{2,4})[^/]*\.(?:so|pyd)"
)


@rule(
    "abi3-violation",
    Severity.ERROR,
    "the wheel claims abi3 and a library imports a symbol outside the stable ABI",
)
def abi3_violation(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report what the limited API does not have."""
    if not claims_abi3(subject.claims):
        return
    for library in subject.libraries:
        violations = library.python.violations
        if violations:
            yield Hit(
                f"the tag says abi3, and it imports {count(len(violations), 'name')} of CPython's"
                " C API outside the stable ABI",
                library=library.path,
                evidence=violations,
                help=(
                    "build it with -DPy_LIMITED_API and py_limited_api=True, or tag the wheel for"
                    " the one Python that it was built with"
                ),
            )


@rule(
    "abi3-floor-understated",
    Severity.ERROR,
    "a symbol is newer than the oldest Python that the tags and `Requires-Python` together admit",
)
def abi3_floor_understated(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report Pythons that installers may choose and the stable ABI does not reach."""
    pythons = admitted_pythons(subject.claims)
    if not claims_abi3(subject.claims) or not pythons:
        return
    oldest = pythons[0]
    for library in subject.libraries:
        floor = library.python.floor
        if floor is not None and floor > oldest:
            yield Hit(
                f"the tags and Requires-Python admit Python {oldest}, and it imports names that"
                f" the stable ABI has since {floor}",
                library=library.path,
                evidence=library.python.floor_symbols,
                help=(
                    f"tag the wheel cp{floor.major}{floor.minor}-abi3, set Requires-Python:"
                    f" >={floor}, or build with -DPy_LIMITED_API={limited_api(oldest)}"
                ),
            )


@rule(
    "abi3-suffix",
    Severity.ERROR,
    "an extension in an abi3 wheel has a name that only one Python version imports",
)
def abi3_suffix(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report modules that exist for one of the Pythons that the tag promises only.

    It is a warning where nothing need break: the module is also there under a name for
    every version, or it imports nothing of the C API, so that it is no working module.
    """
    pythons = admitted_pythons(subject.claims)
    if not claims_abi3(subject.claims):
        return
    extensions = [item for item in subject.libraries if item.kind is LibraryKind.EXTENSION]
    general = {_module(item.path) for item in extensions if not _suffix(item.path)}
    for library in extensions:
        suffix = _suffix(library.path)
        if suffix is None or set(pythons) <= {suffix}:
            continue
        harmless = _module(library.path) in general or library.python.abi is PythonAbi.NONE
        yield Hit(
            f"only Python {suffix} imports a module of this name, and the wheel promises"
            f" Python {pythons[0]} and newer",
            library=library.path,
            help="name it .abi3.so (py_limited_api=True does; .pyd on Windows)",
            severity=Severity.WARNING if harmless else None,
        )


@rule(
    "python-api-in-none-wheel",
    Severity.ERROR,
    "the ABI tag is `none` and an extension uses the C API",
)
def python_api_in_none_wheel(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report C API in a wheel for every interpreter.

    A warning for `cp312-none`, which CPython 3.12 alone installs (and a free-threaded
    build where there is one), and for libraries that Python does not import.
    """
    none_tags = [tag for tag in subject.claims.tags if tag.abi == "none"]
    if not none_tags:
        return
    generic = [tag for tag in none_tags if tag.interpreter.startswith("py")]
    tags = join({f"{tag.interpreter}-{tag.abi}" for tag in generic or none_tags})
    for library in subject.libraries:
        use = library.python
        if use.abi is PythonAbi.NONE:
            continue
        serious = bool(generic) and library.kind is LibraryKind.EXTENSION
        fitting = (
            f"cp{use.floor.major}{use.floor.minor}-abi3" if use.floor else "cpXY-cpXY, one a Python"
        )
        yield Hit(
            f"the tag {tags} says that no Python ABI is used, and it"
            f" {'imports' if use.violations or use.floor else 'links'} CPython's C API",
            library=library.path,
            evidence=use.violations or use.floor_symbols or tuple(use.linked),
            help=f"tag the wheel {fitting}",
            severity=None if serious else Severity.WARNING,
        )


@rule(
    "versioned-python-library",
    Severity.ERROR,
    "a library links a library of CPython's (`python312.dll`, `libpython3.12`) that a Python which"
    " the tags admit does not have",
)
def versioned_python_library(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report libraries of CPython's that are not there wherever the wheel is installed.

    For wheels with the ABI tag `none` another rule speaks. Away from Windows it is a
    warning even where the version fits: many interpreters have no shared library.
    """
    claims = subject.claims
    interpreters = admitted_interpreters(claims)
    own = {name for item in subject.libraries for name in names_of(item.path, item.library)}
    for library in subject.libraries:
        linked = {n: v for n, v in library.python.linked.items() if basename(n) not in own}
        without = [
            (name, python, free_threaded)
            for name, version in linked.items()
            for python, free_threaded in interpreters
            if version not in _python_libraries(python, free_threaded=free_threaded)
        ]
        on_windows = library.library.format is Format.PE
        if without:
            name, python, free_threaded = without[0]
            suffix = "t" if free_threaded else ""
            fitting = f"python3{suffix}.dll" if claims_abi3(claims) else "that of the tag's Python"
            yield Hit(
                f"it links {basename(name)}, which Python {python}{suffix} does not have, and the"
                " tags admit that",
                library=library.path,
                evidence=tuple(dict.fromkeys(name for name, *_ in without)),
                help=f"link {fitting} (-DPy_LIMITED_API and py_limited_api=True choose python3.dll)"
                if on_windows
                else "leave the library of Python out: the interpreter has the symbols",
            )
        elif linked and interpreters and system_of(library.library) in _OFTEN_STATIC:
            yield Hit(
                f"it links {join(map(basename, linked))}: many interpreters of that version are"
                " built without a shared library",
                library=library.path,
                evidence=tuple(linked),
                help="leave the library of Python out: the interpreter has the symbols",
                severity=Severity.WARNING,
            )


def _python_libraries(python: PythonVersion, *, free_threaded: bool) -> frozenset[str]:
    """Return which of CPython's libraries a build has, as `python_library` names them.

    Since 3.15 every build has that of abi3t (PEP 803).
    """
    letter = "t" if free_threaded else ""
    names = {f"{python}{letter}", f"3{letter}"}
    return frozenset(names | {"3t"} if python >= _ABI3T_SINCE else names)


def _suffix(path: str) -> PythonVersion | None:
    """Return the one Python that imports a file of this name, or None."""
    match = _VERSIONED_SUFFIX.fullmatch(path.rpartition("/")[2])
    digits = match["version"] if match else ""
    return PythonVersion(int(digits[0]), int(digits[1:])) if len(digits) > 1 else None


def _module(path: str) -> str:
    folder, _, name = path.rpartition("/")
    return f"{folder}/{name.partition('.')[0]}"

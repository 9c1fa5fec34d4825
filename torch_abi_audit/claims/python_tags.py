"""Python and ABI tags: which Pythons they and ``Requires-Python`` together allow."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from packaging.version import Version

from torch_abi_audit.model import FREE_THREADED_SINCE, Claims, Interpreter, PythonVersion

if TYPE_CHECKING:
    from collections.abc import Iterable

    from packaging.specifiers import SpecifierSet
    from packaging.tags import Tag

# The stable ABI begins with 3.2; the last is far enough ahead to stand for "any later one".
PYTHONS = tuple(PythonVersion(3, minor) for minor in range(2, 21))
ANY_LATER = PYTHONS[-1]
_PATCHES = range(40)
_PRE_RELEASES = tuple(f"0{phase}{number}" for phase in ("a", "b", "rc") for number in range(10))
_INTERPRETER = re.compile(r"([a-z]+)([0-9])([0-9]{0,3})")
# The flags after the version in CPython's own ABI tags: free-threaded, debug, and those that
# ended with 3.7 (pymalloc) and 3.2 (wide Unicode).
_ABI_FLAGS = re.compile(r"t?d?m?u?")
_LAST_PYMALLOC, _LAST_WIDE = PythonVersion(3, 7), PythonVersion(3, 2)
_IMPLEMENTATIONS = frozenset({"py", "cp", "pp", "ip", "jy", "graalpy"})
# The implementations that accept a Python tag, by `sys.implementation.name`.
_IMPLEMENTATION_NAMES = {
    "py": ("cpython", "graalpy", "pypy"),
    "cp": ("cpython",),
    "pp": ("pypy",),
    "ip": ("ironpython",),
    "jy": ("jython",),
    "graalpy": ("graalpy",),
}
_FREE_THREADED_ABI = re.compile(r"abi3t|cp\d+td?")
STABLE_ABIS = frozenset({"abi3", "abi3t"})


def tag_parts(tags: Iterable[Tag]) -> tuple[str, str, str]:
    """Return tags as in a filename, part by part: ``cp315``, ``abi3.abi3t``, ``any``."""
    named = {(tag.interpreter, tag.abi, tag.platform) for tag in tags}
    pythons, abis, platforms = (".".join(sorted(set(part))) for part in zip(*named, strict=True))
    return pythons, abis, platforms


def claims_abi3(claims: Claims) -> bool:
    """Whether any of the filename's tags promises the stable ABI of CPython."""
    return any(tag.abi in STABLE_ABIS for tag in claims.tags)


def claims_abi3t(claims: Claims) -> bool:
    """Whether any of the tags promises the stable ABI of free-threaded CPython."""
    return any(tag.abi == "abi3t" for tag in claims.tags)


def admitted_pythons(claims: Claims) -> tuple[PythonVersion, ...]:
    """Return the minor releases that tags and ``Requires-Python`` together allow, oldest first."""
    return _admitted(claims.tags, claims.requires_python)


@lru_cache(maxsize=256)  # called by many rules, and with the same tags for wheels of a release
def _admitted(tags: frozenset[Tag], requires_python: SpecifierSet) -> tuple[PythonVersion, ...]:
    return tuple(
        python
        for python in PYTHONS
        if any(_tag_admits(tag, python) for tag in tags)
        and _specifier_admits(requires_python, python)
    )


def admitted_implementations(claims: Claims) -> tuple[tuple[str, PythonVersion], ...]:
    """Return the implementations that install the wheel, by `sys.implementation.name`.

    Each comes with every minor release of the language that it may implement. The tag ``py3``
    is not only for CPython.
    """
    return _implementations(claims.tags, claims.requires_python)


@lru_cache(maxsize=256)
def _implementations(
    tags: frozenset[Tag], requires_python: SpecifierSet
) -> tuple[tuple[str, PythonVersion], ...]:
    admitted = _admitted(tags, requires_python)
    return tuple(
        sorted(
            {
                (name, python)
                for tag in tags
                for name in _IMPLEMENTATION_NAMES.get(tag.interpreter.rstrip("0123456789"), ())
                for python in admitted
                if _tag_admits(tag, python)
            }
        )
    )


def releases(python: PythonVersion) -> tuple[Version, ...]:
    """Return every release that a minor release may ever have, pre-releases first."""
    return tuple(Version(f"{python}.{patch}") for patch in (*_PRE_RELEASES, *_PATCHES))


def admits_release(requires_python: SpecifierSet, release: Version) -> bool:
    """Whether ``Requires-Python`` lets a release of Python install the wheel.

    Some installers treat a pre-release as the release that it precedes.
    """
    return requires_python.contains(release, prereleases=True) or requires_python.contains(
        release.base_version, prereleases=True
    )


def admitted_interpreters(claims: Claims) -> tuple[Interpreter, ...]:
    """Return the builds of CPython that the tags with an ABI and ``Requires-Python`` allow.

    A tag without an ABI says nothing about what libraries find in the interpreter.
    """
    return _interpreters(claims, [tag for tag in claims.tags if tag.abi != "none"])


def installing_interpreters(claims: Claims) -> tuple[Interpreter, ...]:
    """Return the builds of CPython that install the wheel."""
    return _interpreters(claims, claims.tags)


def _interpreters(claims: Claims, tags: Iterable[Tag]) -> tuple[Interpreter, ...]:
    admitted = admitted_pythons(claims)
    return tuple(
        sorted(
            {
                Interpreter(python, free_threaded)
                for tag in tags
                if tag.interpreter.startswith(("cp", "py"))
                for python in admitted
                if _tag_admits(tag, python)
                for free_threaded in _builds(tag)
                if not free_threaded or python >= FREE_THREADED_SINCE
            }
        )
    )


def _builds(tag: Tag) -> tuple[bool, ...]:
    """Return which builds of a release accept a tag: with the GIL, free-threaded, or both."""
    if tag.abi == "none":
        return (False, True)
    return (_FREE_THREADED_ABI.fullmatch(tag.abi) is not None,)


def is_installable(tag: Tag) -> bool:
    """Whether any installer accepts a tag: its Python and its ABI fit together (PEP 425).

    For implementations other than CPython, every tag is assumed to fit.
    """
    match = _INTERPRETER.fullmatch(tag.interpreter)
    # `cp315t`: only the ABI tag says that a Python is free-threaded.
    if match is None or match[1] not in _IMPLEMENTATIONS:
        return False
    if match[1] not in ("py", "cp"):
        return True
    if match[2] not in "23" or len(match[3]) > 2:
        return False
    if match[1] == "py":
        return tag.abi == "none"
    # `cp3`: installers know `py3`
    return bool(match[3]) and _is_cpythons(tag.abi, PythonVersion(int(match[2]), int(match[3])))


def _is_cpythons(abi: str, python: PythonVersion) -> bool:
    """Whether an ABI tag belongs to a release of CPython."""
    if abi == "none" or abi in STABLE_ABIS:
        return True
    flags = abi.removeprefix(f"cp{python.major}{python.minor}")
    return (
        flags != abi
        and _ABI_FLAGS.fullmatch(flags) is not None
        and ("t" not in flags or python >= FREE_THREADED_SINCE)
        and ("m" not in flags or python <= _LAST_PYMALLOC)
        and ("u" not in flags or python <= _LAST_WIDE)
    )


def _tag_admits(tag: Tag, python: PythonVersion) -> bool:
    """Whether an interpreter of that release accepts the tag (PEP 425, PEP 384, PEP 803)."""
    match = _INTERPRETER.fullmatch(tag.interpreter)
    if match is None:
        return False
    implementation, major, minor = match.groups()
    tagged = (int(major), int(minor or 0))  # equivalent: no version considered is that old
    # `py39` and `cp39-abi3` mean 3.9 and newer; `cp39-cp39` and `cp39-none` mean only 3.9.
    if implementation == "py" or tag.abi in STABLE_ABIS:
        return tagged <= python and tagged[0] == python.major
    return tagged == python


def _specifier_admits(specifier: SpecifierSet, python: PythonVersion) -> bool:
    return not specifier or any(
        specifier.contains(f"{python}.{patch}", prereleases=False) for patch in _PATCHES
    )

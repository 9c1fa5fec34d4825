"""Markers: which requirements apply together in the environments that a wheel is installed in.

A marker depends only on the variables that it names. For these, every value is tried that the
tags and ``Requires-Python`` allow and that some comparison tells from another. Variables that
belong together, such as `sys_platform` and `platform_machine`, are tried together; the others
are independent of each other.

Reference: the dependency specifiers (PEP 508), and how `packaging` implements them.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import lru_cache
from itertools import combinations, product
from math import prod
from typing import TYPE_CHECKING, NamedTuple

# No public API gives the parts of a marker, and its text is ambiguous if a value has quotes.
from packaging._parser import Variable
from packaging.markers import Marker
from packaging.specifiers import InvalidSpecifier, Specifier
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from torch_abi_audit.claims.platform_tags import parse_platform
from torch_abi_audit.claims.python_tags import (
    ANY_LATER,
    admits_release,
    admitted_implementations,
    releases,
)
from torch_abi_audit.errors import AuditError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from packaging.requirements import Requirement

    from torch_abi_audit.model import Claims, PythonVersion

    Truth = dict["Comparison", bool]
    Groups = tuple[tuple["Comparison | Groups", ...], ...]  # any of them, all of each

_MAX_EVALUATIONS = 50_000  # of comparisons and markers, for a fraction of a second each
# How many comparisons of strings, or parts of markers, take as long as one evaluation.
_DIRECT_ONES = 20  # equivalent: measured, so one more or less is as good
_LONGEST_TAKEN_APART = 64  # characters of a literal of which every part is tried

_JOINTS = ("", ".", "+", "-")  # joined with some of these, a version is still a version

_SYSTEM = ("os_name", "sys_platform", "platform_system", "platform_machine")
_PYTHON = (
    "implementation_name",
    "platform_python_implementation",
    "implementation_version",
    "python_version",
    "python_full_version",
)
_TOGETHER = (_SYSTEM, _PYTHON, ("platform_release",), ("platform_version",), ("extra",))
_PLACE = {variable: names for names in _TOGETHER for variable in names}
# The variables that `packaging` compares as versions.
_VERSIONS = frozenset(
    {"implementation_version", "platform_release", "python_full_version", "python_version"}
)
_RELEASES = frozenset({"implementation_version", "python_full_version"})
_DIRECT: dict[str, Callable[[str, str], bool]] = {
    "in": lambda left, right: left in right,
    "not in": lambda left, right: left not in right,
    "==": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
}
_ORDER: dict[str, Callable[[str, str], bool]] = {
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}

# What `platform.python_implementation()` calls an implementation.
_IMPLEMENTATIONS = {
    "cpython": "CPython",
    "graalpy": "GraalVM",
    "ironpython": "IronPython",
    "jython": "Jython",
    "pypy": "PyPy",
}
# Values of `_SYSTEM`, except for the machine.
_SYSTEMS = {
    "linux": [("posix", "linux", "Linux")],
    "macos": [("posix", "darwin", "Darwin")],
    "windows": [("nt", "win32", "Windows")],
    "android": [("posix", "android", "Android")],
    "ios": [("posix", "ios", "iOS"), ("posix", "ios", "iPadOS")],
    "iossimulator": [("posix", "ios", "iOS"), ("posix", "ios", "iPadOS")],
}
_ARM = ("armv7l", "armv8l", "aarch64")
# What `platform.machine()` calls machines, if it differs from the tag. It names the system's
# machine, not the interpreter's: a 32-bit interpreter may run on a 64-bit system.
_MACHINES = {
    ("windows", "x86_64"): ("AMD64",),
    ("windows", "arm64"): ("ARM64",),
    ("windows", "i686"): ("x86", "AMD64"),
    ("linux", "i686"): ("i686", "x86_64"),
    ("linux", "arm"): _ARM,
    ("linux", "armv8l"): _ARM[1:],
    ("android", "i686"): ("i686", "x86_64"),
    ("android", "arm"): _ARM,
    ("macos", "i686"): ("i386", "x86_64"),
    ("macos", "fat"): ("i386", "x86_64", "Power Macintosh"),
    ("macos", "fat3"): ("i386", "x86_64", "Power Macintosh"),
    ("macos", "fat64"): ("x86_64", "Power Macintosh"),
    ("macos", "universal"): ("i386", "x86_64", "Power Macintosh"),
    ("macos", "ppc"): ("Power Macintosh",),
    ("macos", "ppc64"): ("Power Macintosh",),
}
_BSD = ("amd64", "arm64", "i386", "riscv64")
_UNIX = (
    *("x86_64", "aarch64", "armv6l", "armv7l", "armv8l", "i586", "i686", "loongarch64"),
    *("mips64", "ppc64", "ppc64le", "riscv64", "s390x"),
)
# Where a wheel for the platform `any`, or for an unknown one, may be installed.
_ANYWHERE = tuple(
    (*names, machine)
    for systems, machines in (
        (_SYSTEMS["linux"], _UNIX),
        (_SYSTEMS["macos"], ("arm64", "x86_64")),
        (_SYSTEMS["windows"], ("AMD64", "ARM64", "x86")),
        (_SYSTEMS["android"], ("aarch64", "armv7l", "armv8l", "i686", "x86_64")),
        (_SYSTEMS["ios"], ("arm64", "x86_64")),
        ([("posix", "emscripten", "Emscripten")], ("wasm32", "wasm64")),
        ([("posix", "wasi", "WASI")], ("wasm32",)),
        ([("posix", "cygwin", "CYGWIN_NT-10.0")], ("x86_64",)),
        ([("posix", "freebsd13", "FreeBSD"), ("posix", "freebsd14", "FreeBSD")], _BSD),
        ([("posix", "freebsd15", "FreeBSD"), ("posix", "openbsd7", "OpenBSD")], _BSD),
        ([("posix", "netbsd9", "NetBSD"), ("posix", "netbsd10", "NetBSD")], _BSD),
        ([("posix", "sunos5", "SunOS")], ("i86pc", "sun4v")),
        ([("posix", "aix", "AIX")], ("00F84D854C00",)),
        ([("posix", "haiku1", "Haiku")], ("x86_64",)),
    )
    for names in systems
    for machine in machines
)


class Comparison(NamedTuple):
    """A variable and what a marker compares it with.

    Attributes:
        variable: The variable's name.
        operator: The operator as written.
        literal: The value that the variable is compared with.
        literal_first: Whether the value is on the left.
    """

    variable: str
    operator: str
    literal: str
    literal_first: bool


class _Outcomes(NamedTuple):
    """Every combination of results of comparisons whose variables belong together."""

    comparisons: tuple[Comparison, ...]
    truths: tuple[tuple[bool, ...], ...]


class Work:
    """Counts what was evaluated so far."""

    def __init__(self) -> None:
        self._evaluations = 0

    def add(self, evaluations: int) -> None:
        """Count evaluations.

        Raises:
            AuditError: There are more than any project needs; they would take minutes.
        """
        self._evaluations += evaluations
        if self._evaluations > _MAX_EVALUATIONS:
            raise AuditError("METADATA has too many markers, for too many platforms, to evaluate")


def applying_together(
    claims: Claims, requirements: Sequence[Requirement], work: Work | None = None
) -> list[tuple[Requirement, ...]]:
    """Return which of the requirements apply in each environment, without extras.

    Raises:
        AuditError: A marker has an invalid comparison, or there are too many to evaluate.
    """
    if not any(requirement.marker for requirement in requirements):
        return [tuple(requirements)]
    groups = [_groups(requirement) for requirement in requirements]
    found = {
        tuple(_holds(group, truth) for group in groups)
        for truth in _truths(claims, requirements, work or Work())
    }
    # Not a set: requirements are hashed by their text, and not all have one.
    return [
        tuple(item for item, applies in zip(requirements, outcome, strict=True) if applies)
        for outcome in sorted(found)
    ]


def applying_everywhere(
    claims: Claims, requirements: Sequence[Requirement]
) -> tuple[Requirement, ...]:
    """Return the requirements that apply in every environment without extras.

    Raises:
        AuditError: A marker has an invalid comparison, or there are too many to evaluate.
    """
    work = Work()
    by_marker: dict[Groups, list[Requirement]] = {}
    for requirement in requirements:  # many have the same marker
        by_marker.setdefault(_groups(requirement), []).append(requirement)
    everywhere = {
        groups
        for groups, (first, *_) in by_marker.items()
        if all(applying_together(claims, (first,), work))
    }
    return tuple(item for item in requirements if _groups(item) in everywhere)


def applying_extras(claims: Claims, requirements: Sequence[Requirement]) -> frozenset[str]:
    """Return the extras that make a requirement apply where it otherwise would not.

    Raises:
        AuditError: A marker has an invalid comparison, or there are too many to evaluate.
    """
    work = Work()
    return frozenset().union(*(_extras(claims, item, work) for item in requirements))


def _extras(claims: Claims, requirement: Requirement, work: Work) -> set[str]:
    groups = _groups(requirement)
    asked = [item for item in _comparisons([requirement]) if item.variable == "extra"]
    work.add(len(asked) * len(claims.extras) // _DIRECT_ONES)
    by_outcome: dict[tuple[bool, ...], set[str]] = {}
    for extra in claims.extras:
        name = canonicalize_name(extra)
        outcome = tuple(_compare(requirement, item, name) for item in asked)
        by_outcome.setdefault(outcome, set()).add(extra)
    if not any(map(_is_disputed, asked)):
        by_outcome.pop(tuple(_compare(requirement, item, "") for item in asked), None)
    if not by_outcome:
        return set()
    without = [truth for truth in _truths(claims, [requirement], work) if not _holds(groups, truth)]
    work.add(len(without) * len(by_outcome))
    return {
        extra
        for outcome, extras in by_outcome.items()
        if any(_holds(groups, truth | dict(zip(asked, outcome, strict=True))) for truth in without)
        for extra in extras
    }


def _groups(requirement: Requirement) -> Groups:
    """Return a requirement's marker as groups; without a marker, groups that always hold."""
    if requirement.marker is None:
        return ((),)
    return _grouped(requirement.marker._markers)  # noqa: SLF001 - see the imports


def _grouped(items: Sequence[object]) -> Groups:
    groups: list[list[Comparison | Groups]] = [[]]
    for item in items:
        if isinstance(item, list):
            groups[-1].append(_grouped(item))
        elif isinstance(item, tuple):
            left, operator, right = item
            if isinstance(left, Variable):
                groups[-1].append(Comparison(left.value, operator.value, right.value, False))  # noqa: FBT003
            else:
                groups[-1].append(Comparison(right.value, operator.value, left.value, True))  # noqa: FBT003
        elif item == "or":
            groups.append([])
    return tuple(map(tuple, groups))


def _flat(groups: Groups) -> Iterator[Comparison]:
    for group in groups:
        for item in group:
            if isinstance(item, Comparison):
                yield item
            else:
                yield from _flat(item)


def _comparisons(requirements: Iterable[Requirement]) -> dict[Comparison, Requirement]:
    """Return the comparisons in markers, each with a requirement that makes it."""
    found: dict[Comparison, Requirement] = {}
    for requirement in requirements:
        for comparison in _flat(_groups(requirement)):
            found.setdefault(comparison, requirement)
    return found


def _holds(groups: Groups, truth: Truth) -> bool:
    for group in groups:
        for item in group:
            if not (truth[item] if isinstance(item, Comparison) else _holds(item, truth)):
                break
        else:
            return True
    return False


def _truths(claims: Claims, requirements: Sequence[Requirement], work: Work) -> Iterator[Truth]:
    """Yield every combination of results of the comparisons in markers, over all environments."""
    found = _comparisons(requirements)
    outcomes: list[_Outcomes] = []
    for names in _TOGETHER:
        asked = {item: found[item] for item in found if item.variable in names}
        if asked:
            outcomes.append(_outcomes(claims, names, asked, work))
    for comparison, requirement in found.items():
        if comparison.variable not in _PLACE:  # `extras`, or no variable at all
            name = comparison.variable
            raise _refusal(requirement, f"{name!r} is not an environment marker")
    parts = sum(len(list(_flat(_groups(item)))) for item in requirements)
    one = len(requirements) + parts // _DIRECT_ONES
    work.add(one * prod(len(item.truths) for item in outcomes))
    order = [comparison for item in outcomes for comparison in item.comparisons]
    for chosen in product(*(item.truths for item in outcomes)):
        yield dict(zip(order, (value for truth in chosen for value in truth), strict=True))


def _outcomes(
    claims: Claims, names: tuple[str, ...], asked: dict[Comparison, Requirement], work: Work
) -> _Outcomes:
    """Return the results of comparisons, over all values that their variables have together."""
    environments = _environments(claims, names, list(asked), work)
    places = [names.index(item.variable) for item in asked]
    tried = {place: {item[place] for item in environments} for place in set(places)}
    values = [tried[place] for place in places]
    work.add(sum(map(len, values)))
    held = [
        {value: _compare(requirement, item, value) for value in of_place}
        for (item, requirement), of_place in zip(asked.items(), values, strict=True)
    ]
    found = {
        tuple(by_value[environment[place]] for by_value, place in zip(held, places, strict=True))
        for environment in environments
    }
    if any(_is_disputed(item) for item in asked):
        found |= {
            tuple(
                _compare_otherwise(item, environment[place])
                if _is_disputed(item)
                else by_value[environment[place]]
                for item, by_value, place in zip(asked, held, places, strict=True)
            )
            for environment in environments
        }
    return _Outcomes(tuple(asked), tuple(sorted(found)))


def _compare(requirement: Requirement, comparison: Comparison, value: str) -> bool:
    """Whether a comparison of a requirement's marker holds for a value of its variable."""
    variable, operator, literal, literal_first = comparison
    direct = _DIRECT.get(operator)
    # equivalent: `packaging` gives the same result, slowly
    if direct and (variable not in _VERSIONS or operator.endswith("in")):
        return direct(literal, value) if literal_first else direct(value, literal)
    return _by_packaging(requirement, comparison, {variable: value})


def _by_packaging(
    requirement: Requirement, comparison: Comparison, environment: dict[str, str]
) -> bool:
    try:
        # By far the most common case, and what evaluating a marker amounts to.
        if comparison.variable == "python_version" and not comparison.literal_first:
            specifier = _specifier(comparison.operator, comparison.literal)
            if specifier is not None:
                return specifier.contains(environment["python_version"])
        return _marker(comparison).evaluate(environment)
    except ValueError as error:  # not comparable
        raise _refusal(requirement, error) from error


def _refusal(requirement: Requirement, reason: object) -> AuditError:
    try:
        shown = str(requirement)
    except ValueError:  # a value with both kinds of quotes
        shown = requirement.name
    return AuditError(f"METADATA has Requires-Dist '{shown}': {reason}")


@lru_cache(maxsize=512)
def _specifier(operator: str, literal: str) -> Specifier | None:
    try:
        return Specifier(f"{operator}{literal}")  # equivalent: a marker gives the same, slowly
    except InvalidSpecifier:
        return None


@lru_cache(maxsize=512)
def _marker(comparison: Comparison) -> Marker:
    # Quotes can only be escaped as code points.
    quoted = comparison.literal.encode("unicode_escape").decode().replace('"', r"\x22")
    if comparison.literal_first:
        return Marker(f'"{quoted}" {comparison.operator} {comparison.variable}')
    return Marker(f'{comparison.variable} {comparison.operator} "{quoted}"')


def _is_disputed(comparison: Comparison) -> bool:
    """Whether installers disagree on a comparison.

    For some installers, an ordering of strings compares them as such (PEP 508); for `packaging`
    it holds only for equal ones. `packaging` treats no extra as "", which is in every string.
    """
    variable, operator = comparison.variable, comparison.operator
    if variable == "extra" and operator.endswith("in"):
        return True
    return operator in _ORDER and variable not in _VERSIONS


def _compare_otherwise(comparison: Comparison, value: str) -> bool:
    """Whether a disputed comparison holds for installers that do not follow `packaging`."""
    order = _ORDER.get(comparison.operator)
    if order is None:
        return comparison.operator == "not in"
    pair = (comparison.literal, value) if comparison.literal_first else (value, comparison.literal)
    left, right = _version(pair[0]), _version(pair[1])
    if left is not None and right is not None:
        return order(left, right)  # type: ignore[arg-type]
    return order(*pair)


def _environments(
    claims: Claims, names: tuple[str, ...], comparisons: Sequence[Comparison], work: Work
) -> Collection[tuple[str, ...]]:
    """Return the values that variables have together, as far as comparisons tell them apart."""
    if names == _SYSTEM:
        return _systems(claims)
    if names == _PYTHON:
        return _pythons(claims, comparisons, work)
    if names == ("extra",):
        return [("",)]
    return [(value,) for value in _free_values(comparisons, work)]


def _systems(claims: Claims) -> set[tuple[str, ...]]:
    """Return the values of `_SYSTEM` in the environments that the platform tags stand for."""
    found: set[tuple[str, ...]] = set()
    for tag in {tag.platform for tag in claims.tags}:
        platform = parse_platform(tag)
        if platform is None:
            if tag.startswith(("pyemscripten", "emscripten", "pyodide")):
                found.add(("posix", "emscripten", "Emscripten", "wasm32"))
            else:
                found.update(_ANYWHERE)
            continue
        archs = ("armv6l",) if tag.endswith("_armv6l") else platform.archs
        for arch in archs:
            for machine in _MACHINES.get((platform.system, arch), (arch,)):
                found.update((*system, machine) for system in _SYSTEMS[platform.system])
    return found


def _pythons(claims: Claims, comparisons: Sequence[Comparison], work: Work) -> set[tuple[str, ...]]:
    """Return the values of `_PYTHON` in the environments that install the wheel."""
    admitted = admitted_implementations(claims) or (("cpython", ANY_LATER),)
    # equivalent: with the others, only more releases that are alike would be tried
    by_release = [item for item in comparisons if item.variable in _RELEASES]
    if not by_release:
        return {(name, _IMPLEMENTATIONS[name], "", str(p), "") for name, p in admitted}
    # equivalent: with the others, only more versions that are alike would be tried
    of_implementation = [i for i in by_release if i.variable == "implementation_version"]
    versions = _free_values(of_implementation, work) if of_implementation else [""]
    found: set[tuple[str, ...]] = set()
    told = {python: _told_apart(claims, python, by_release) for _, python in admitted}
    for name, python in admitted:
        for release in told[python]:
            # CPython's own version is that of the language.
            own = [release.rstrip("+")] if name == "cpython" else versions
            found.update((name, _IMPLEMENTATIONS[name], v, str(python), release) for v in own)
            work.add(len(own) // _DIRECT_ONES)
    return found


def _told_apart(
    claims: Claims, python: PythonVersion, comparisons: Sequence[Comparison]
) -> list[str]:
    """Return releases of a minor release of Python, at least one of each group that is alike.

    Releases between two versions that comparisons or ``Requires-Python`` name are alike.
    """
    named = {_version(item.literal.removesuffix(".*")) for item in comparisons}
    named |= {_version(item.version.removesuffix(".*")) for item in claims.requires_python}
    # equivalent: with those of other minor releases, only more that are alike would be tried
    inside = [item for item in named if item is not None and _minor(item) == python]
    # equivalent: for any other operator, only more that are alike would be tried
    as_text = any(i.operator.endswith("in") or i.operator == "===" for i in comparisons)
    if not inside and not as_text:
        return [f"{python}.0a0", f"{python}.0", f"{python}.39"]
    every = _releases(python)
    chosen: set[Version] = set(every) if as_text else set()
    for version in inside:
        place = bisect_left(every, version)
        # equivalent: more below or above it are only more that are alike
        chosen.update(every[max(place - 1, 0) : place + 2])
    if claims.requires_python:
        admitted = {item for item in chosen if admits_release(claims.requires_python, item)}
        chosen = admitted or chosen
    texts = [str(item) for item in chosen]
    # A build between two releases has a plus sign.
    return texts + [f"{text}+" for text in texts] if as_text else texts


_releases = lru_cache(maxsize=32)(releases)  # equivalent: only the size of a cache


def _minor(version: Version) -> tuple[int, int]:
    return version.major, version.minor


def _free_values(comparisons: Sequence[Comparison], work: Work) -> set[str]:
    """Return values of a variable that can have any, enough for all that comparisons tell apart.

    They are equal to each literal, below and above it as a version and as a string, contain it,
    are part of it, and are something else, alone and together.
    """
    values = {"", "\N{REPLACEMENT CHARACTER}", "\U0010ffff", "0"}
    held = set()
    for _, operator, literal, literal_first in comparisons:
        values |= {literal, literal[:-1], f"{literal}~"}
        version = _version(literal.removesuffix(".*"))
        if version is not None:
            values.update(_around(version))
        if operator.endswith("in"):
            if literal_first:
                held.add(literal)
            else:
                values |= _parts(literal)
    # equivalent: an estimate, before there are too many to hold; they are counted exactly later
    work.add(len(values) * len(_JOINTS) * 2 ** len(held) // _DIRECT_ONES)
    joined = [
        ".".join(chosen)
        for count in range(1, len(held) + 1)  # equivalent: fewer or more would give nothing new
        for chosen in combinations(sorted(held), count)
    ]
    return values | {
        f"{value}{separator}{text}" for text in joined for value in values for separator in _JOINTS
    }


def _around(version: Version) -> Iterator[str]:
    """Yield versions equal to a version and just above it; those below it are above another."""
    numbers = version.release
    yield str(version)
    yield version.base_version
    yield from (f"{version.base_version}{suffix}" for suffix in ("a0", ".post1", "+x", ".0.1"))
    for place, number in enumerate(numbers):
        # equivalent: a version two above is alike
        yield ".".join(map(str, (*numbers[:place], number + 1)))


def _parts(text: str) -> set[str]:
    """Return the parts of a string: all of them, or the words of a long one."""
    if len(text) > _LONGEST_TAKEN_APART:
        return set(text.replace(",", " ").split())
    # equivalent: a part that would end beyond the string ends with it
    return {text[i:j] for i, j in combinations(range(len(text) + 1), 2)}


@lru_cache(maxsize=512)
def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None

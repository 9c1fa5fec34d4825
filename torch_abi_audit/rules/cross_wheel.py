"""Rules about all targets of a run together: the wheels of one release, and ignores."""

from __future__ import annotations

from collections import defaultdict
from itertools import product
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from torch_abi_audit.claims.python_tags import ANY_LATER, STABLE_ABIS, installing_interpreters
from torch_abi_audit.claims.variants import VARIANT_FILE
from torch_abi_audit.model import (
    Evidence,
    EvidenceKind,
    Interpreter,
    PythonAbi,
    PythonVersion,
    Severity,
    StrictIgnores,
)
from torch_abi_audit.rules.evidence import files
from torch_abi_audit.rules.registry import STALE_IGNORE, Hit, also_of_run, run_rule
from torch_abi_audit.wording import count, does, first_of, join, pythons

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torch_abi_audit.catalog import Catalog
    from torch_abi_audit.model import Claims, ProjectRelease, WheelSummary, WholeRun


@run_rule(
    "wheels-disagree",
    Severity.WARNING,
    "wheels of one release have different metadata",
    why="Lock files and resolvers read the metadata of one wheel and use it for the whole release."
    " What another wheel requires is then not installed, or conflicts.",
    fix="Give all wheels of a release the same metadata, with markers where platforms differ:\n"
    "    dependencies = [\n"
    "        \"torch>=2.10; sys_platform == 'linux'\",\n"
    "        \"torch>=2.11; sys_platform != 'linux'\",\n"
    "    ]\n"
    "Wheels for several torch or CUDA builds of one version need their own names, versions"
    " (1.0+cu12) or indexes; or they are variants with labels of their own (PEP 825, a draft), of"
    " which only those with one label are compared.",
)
def wheels_disagree(run: WholeRun, _catalog: Catalog) -> Iterator[Hit]:
    """Report wheels of one release with different requirements on torch or Python.

    Variants differ on purpose: only the wheels of one label are compared, which have the same
    properties as well (PEP 825, a draft).
    """
    topics: dict[str, Callable[[Claims], str]] = {
        "Requires-Dist: torch": lambda claims: " and ".join(
            sorted(set(map(str, claims.torch_requirements))) or ["none"]
        ),
        "Requires-Python": lambda claims: str(claims.requires_python) or "none",
        "Provides-Extra": lambda claims: join(map(canonicalize_name, claims.extras)) or "none",
        VARIANT_FILE: lambda claims: ", ".join(map(str, claims.variant_properties)) or "none",
    }
    for release in run.releases:
        for label, (topic, said_by) in product(_labels(release), topics.items()):
            said: dict[str, list[str]] = defaultdict(list)
            for wheel in release.wheels:
                if wheel.claims.variant == label:
                    said[said_by(wheel.claims)].append(_file(wheel))
            if len(said) > 1:
                yield Hit(
                    f"{_title(release, label)}: the wheels have {len(said)} different values of"
                    f" {topic}",
                    evidence=tuple(
                        Evidence(EvidenceKind.METADATA, text, detail=first_of(names))
                        for text, names in sorted(said.items())
                    ),
                    fix="build all wheels of a release from the same metadata, with markers",
                )


@run_rule(
    "wheels-missing",
    Severity.NOTE,
    "a release has a wheel for a Python version on one platform but not on another",
    why="Where there is no wheel, installers use an older release or build from source, which for a"
    " PyTorch extension takes a compiler, a CUDA toolkit and an hour. PyPI accepts no files for a"
    " release that is older than 14 days, so a missing wheel can't be added later.",
    fix="Build the missing wheels, or publish one wheel for all Python versions (see"
    " tag-overspecific). Free-threaded Python before 3.15 does not install abi3 wheels: build a"
    " cp314-cp314t wheel for it.",
)
def wheels_missing(run: WholeRun, _catalog: Catalog) -> Iterator[Hit]:
    """Report Python versions for which a release has wheels only on some platforms.

    Each variant by itself: there may be one for a few platforms and Python versions only.
    """
    for release, label in ((item, label) for item in run.releases for label in _labels(item)):
        covered: dict[str, set[Interpreter]] = defaultdict(set)
        for row in release.coverage:
            if row.variant == label:
                covered[row.platform] |= set(row.pythons)
        wanted = _wanted(wheel for wheel in release.wheels if wheel.claims.variant == label)
        for platform, builds in covered.items():
            missing = sorted(wanted - builds)
            if missing and "any" not in covered:
                named = pythons(map(str, missing), ANY_LATER.minor)
                yield Hit(
                    f"{_title(release, label)}: no wheel for Python {named} on {platform}, but for"
                    " other platforms, or for older and newer versions",
                )


def _labels(release: ProjectRelease) -> list[str | None]:
    """Return the labels of the variants of a release; None for wheels that are none."""
    found = {wheel.claims.variant for wheel in release.wheels}
    return sorted(found, key=lambda label: (label is not None, label or ""))


def _wanted(wheels: Iterable[WheelSummary]) -> set[Interpreter]:
    """Return the Python versions that wheels are for, with those in between.

    For a wheel that supports all later versions, only the oldest counts, which its tag names.
    """
    named: set[Interpreter] = set()
    for wheel in wheels:
        builds = installing_interpreters(wheel.claims)
        open_ended = {build.free_threaded for build in builds if build.python == ANY_LATER}
        for free_threaded in (False, True):
            of_kind = [build for build in builds if build.free_threaded is free_threaded]
            named |= set(of_kind[:1] if free_threaded in open_ended else of_kind)
    plain = sorted(build.python for build in named if not build.free_threaded)
    between = range(plain[0].minor, plain[-1].minor) if plain else ()
    return named | {Interpreter(PythonVersion(3, minor)) for minor in between}


@also_of_run("tag-overspecific")
def wheels_that_one_replaces(run: WholeRun, _catalog: Catalog) -> Iterator[Hit]:
    """Report wheels for several Python versions that could be one wheel."""
    for release in run.releases:
        groups: dict[tuple[frozenset[str], str | None], list[WheelSummary]] = defaultdict(list)
        for wheel in release.wheels:
            tags = wheel.claims.tags
            for_one = all(t.interpreter.startswith("cp") and t.abi not in STABLE_ABIS for t in tags)
            if for_one and wheel.compiled:
                of_platforms = frozenset(tag.platform for tag in tags)
                groups[of_platforms, wheel.claims.variant].append(wheel)
        for (platforms, label), wheels in sorted(
            groups.items(), key=lambda item: (sorted(item[0][0]), item[0][1] or "")
        ):
            tag, replaced = _one_tag(wheels)
            if len(replaced) > 1:
                yield Hit(
                    f"{_title(release, label)}: {count(len(replaced), 'wheel')} for"
                    f" {join(platforms)} could be one: {tag}",
                    evidence=files(map(_file, replaced)),
                    fix=f"publish one wheel tagged {tag}, unless their Python files differ"
                    if tag == "py3-none"
                    else f"build one wheel with py_limited_api=True, tagged {tag}, unless their"
                    " Python files differ",
                )


def _one_tag(wheels: Iterable[WheelSummary]) -> tuple[str, list[WheelSummary]]:
    """Return the tag of the wheel that replaces others, and those that it replaces."""
    wheels = list(wheels)
    free = [wheel for wheel in wheels if wheel.python_abi is PythonAbi.NONE]
    if len(free) == len(wheels):
        return "py3-none", free
    kept = [
        wheel
        for wheel in wheels
        if wheel.python_abi in (PythonAbi.NONE, PythonAbi.ABI3)
        and not any(tag.abi.endswith("t") for tag in wheel.claims.tags)
    ]
    floors = [wheel.python_floor for wheel in kept if wheel.python_floor is not None]
    # Not older than every Python that the wheels are for: that would gain nothing.
    wanted = [build.python for wheel in kept for build in installing_interpreters(wheel.claims)]
    floor = max(*floors, min(wanted)) if floors and wanted else None
    return (f"cp{floor.major}{floor.minor}-abi3", kept) if floor else ("", [])


@run_rule(
    STALE_IGNORE,
    Severity.WARNING,
    "an ignore has expired or no longer matches a finding",
    why="An ignore that is left in place hides later problems: a new finding of the same rule in"
    " the same library goes unnoticed. With --strict-ignores such an entry fails the run, and so"
    " does a pattern that matches a library which no longer needs it next to others that do; with"
    " --strict-ignores=all also one that matches no library at all.",
    fix="Remove the entry from [tool.torch-abi-audit] in pyproject.toml, or the option from the"
    " command. If it has expired, fix the underlying issue or extend `until-torch`.",
    ignorable=False,
)
def stale_ignore(run: WholeRun, _catalog: Catalog) -> Iterator[Hit]:
    """Report ignores that match nothing, or more than they need to.

    A note if no target has the library: its wheel may be audited elsewhere.
    """
    strict = Severity.ERROR if run.strict_ignores else None
    absent = Severity.ERROR if run.strict_ignores is StrictIgnores.ALL else Severity.NOTE
    for use in run.ignores:
        ignore = use.ignore
        what = f"migrating {ignore.pattern}" if ignore.migrating else f"ignore {ignore}"
        if use.expired:
            yield Hit(
                f"{what}: expired, torch {ignore.until_torch} has been released",
                evidence=(Evidence(EvidenceKind.IGNORE, str(ignore), detail=ignore.reason),),
                fix="fix the underlying issue, or extend until-torch",
                severity=strict,
            )
        elif not use.present:
            yield Hit(f"{what}: no audited target has such a library", severity=absent)
        elif not use.matched:
            gone = "uses the unstable ABI" if ignore.symbol is None else "uses such a symbol"
            yield Hit(
                f"{what}: no matching library {gone} any more"
                if ignore.migrating
                else f"{what}: no finding matches",
                fix="remove it from the configuration or the command",
                severity=strict,
            )
        elif use.unneeded:
            yield Hit(
                f"{what}: {does(len(use.unneeded), 'matching library', 'do')} not need it",
                evidence=files(use.unneeded),
                fix="name only the libraries that need it",
                severity=strict or Severity.NOTE,
            )


def _title(release: ProjectRelease, label: str | None) -> str:
    variant = "" if label is None else f" ({label})"
    return f"{release.name} {release.version}{variant}"


def _file(wheel: WheelSummary) -> str:
    return wheel.claims.filename or wheel.target

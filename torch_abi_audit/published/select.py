"""Which of a project's files on an index are audited: by requirement, platform and Python."""

from __future__ import annotations

import platform as machine
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from torch_abi_audit.claims.python_tags import installing_interpreters
from torch_abi_audit.claims.variants import split_label
from torch_abi_audit.errors import AuditError
from torch_abi_audit.index.pages import FileKind
from torch_abi_audit.model import Claims, Interpreter, PythonVersion
from torch_abi_audit.verdict.cross_wheel import platforms_of
from torch_abi_audit.wording import count, join

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from packaging.version import Version

    from torch_abi_audit.index.pages import IndexFile

ALL, HOST = "all", "host"
PLATFORMS = (
    *("linux_x86_64", "linux_aarch64", "macos_arm64", "macos_x86_64"),
    *("windows_x86_64", "windows_arm64"),
)
_SYSTEMS = {"linux": "linux", "darwin": "macos", "win32": "windows"}
_MACHINES = {"amd64": "x86_64"}


class Wanted(NamedTuple):
    """Which wheels of the releases that match a requirement are wanted.

    Attributes:
        platforms: Platforms, spelled as in `PLATFORMS`; none for all.
        python: The build of CPython that has to install them; None for any.
        latest: How many of the newest releases; None for all.
    """

    platforms: tuple[str, ...] = ()
    python: Interpreter | None = None
    latest: int | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """What a requirement comes to.

    Attributes:
        wheels: The wheels, the newest release first.
        releases: Every release that matches and has a file, the newest first.
        more: Whether older releases that match were not looked at.
        older: The newest release with such wheels that is older than those that were looked at:
            they do not match, or are too many.
        unwanted: How many of their wheels are for other platforms or Pythons.
        left_out: One line for each reason to leave files out, with their names.
    """

    wheels: tuple[IndexFile, ...]
    releases: tuple[Version, ...] = ()
    more: bool = False
    older: Version | None = None
    unwanted: int = 0
    left_out: tuple[str, ...] = ()


def parse_requirement(text: str) -> Requirement:
    """Parse a requirement: a name and versions.

    Raises:
        AuditError: It is none, or has what an index does not know.
    """
    try:
        found = Requirement(text)
    except InvalidRequirement as error:
        if text.endswith(".whl"):
            raise AuditError(f"{text!r} is a file: `torch-abi-audit {text}` audits it") from error
        first = str(error).partition("\n")[0]
        said = f"{text!r} is not a requirement such as 'xformers>=0.0.30': {first}"
        raise AuditError(said) from error
    for what, given in (("URL", found.url), ("marker", found.marker), ("extra", found.extras)):
        if given:
            raise AuditError(f"{text!r}: a requirement on an index has no {what}")
    return found


def parse_python(text: str) -> Interpreter:
    """Parse a release of CPython as given in an option: ``3.12``, ``3.13t``, ``cp312``.

    Raises:
        AuditError: It is none.
    """
    match = re.fullmatch(r"(?:cp)?([23])\.?(\d{1,2})(t?)", text)
    if match is None:
        raise AuditError(f"{text!r} is not a Python release such as 3.12 or 3.13t")
    return Interpreter(PythonVersion(int(match[1]), int(match[2])), bool(match[3]))


def parse_platforms(text: str) -> tuple[str, ...]:
    """Parse platforms as given in an option; ``all`` is none in particular.

    Raises:
        AuditError: There is no such platform, or the host is none of them.
    """
    if text == ALL:
        return ()
    if text == HOST:
        return (host_platform(),)
    if text not in PLATFORMS:
        choices = ", ".join((ALL, HOST, *PLATFORMS))
        raise AuditError(f"invalid choice: {text!r} (choose from {choices})")
    return (text,)


def host_platform() -> str:
    """Return the platform that this runs on, spelled as in `PLATFORMS`.

    Raises:
        AuditError: It is none of them.
    """
    arch = machine.machine().lower()
    found = f"{_SYSTEMS.get(sys.platform, sys.platform)}_{_MACHINES.get(arch, arch)}"
    if found not in PLATFORMS:
        choices = ", ".join((ALL, *PLATFORMS))
        raise AuditError(
            f"name a --platform: {found} is none that torch has wheels for ({choices})"
        )
    return found


def spelled(platform: str) -> str:
    """Return a platform as coverage spells it.

    >>> spelled("linux_x86_64")
    'linux x86_64'
    """
    return platform.replace("_", " ", 1)


def host_python() -> Interpreter:
    """Return the build of Python that this runs on."""
    free_threaded = "free-threading" in sys.version
    return Interpreter(PythonVersion(*sys.version_info[:2]), free_threaded)


def select(files: Iterable[IndexFile], requirement: Requirement, wanted: Wanted) -> Selection:
    """Choose among the files of a project.

    Args:
        files: All of them.
        requirement: The releases that match; pre-releases only if it names one, or there are no
            others.
        wanted: Which of their wheels.
    """
    by_release: dict[Version, list[IndexFile]] = {}
    nameless = []
    for file in files:
        if file.version is None:
            nameless.append(file)
        else:
            by_release.setdefault(file.version, []).append(file)
    matching = sorted(requirement.specifier.filter(by_release), reverse=True)
    wheels: list[IndexFile] = []
    yanked: list[IndexFile] = []
    others: list[IndexFile] = []
    chosen: list[Version] = []
    more, unwanted = False, 0
    for release in matching:
        if wanted.latest is not None and len(chosen) == wanted.latest:
            more = True
            break
        of_release = by_release[release]
        found = _wheels(of_release)
        fitting = sorted((f for f in found if _fits(f, wanted)), key=lambda f: f.filename)
        unwanted += len(found) - len(fitting)
        yanked += [f for f in of_release if f.yanked]
        others += [f for f in of_release if f.kind is not FileKind.WHEEL and not f.yanked]
        if fitting:
            chosen.append(release)
            wheels += fitting
    before = sorted((v for v in by_release if chosen and v < chosen[-1]), reverse=True)
    older = next(
        (
            v
            for v in before
            if not v.is_prerelease and any(_fits(f, wanted) for f in _wheels(by_release[v]))
        ),
        None,
    )
    sdists = [file for file in others if file.kind is FileKind.SDIST]
    rest = [file for file in others if file.kind is not FileKind.SDIST]
    lines = (
        *_left_out("yanked file", yanked),
        *_left_out("source distribution", sdists),
        *_left_out("other file", [*rest, *nameless]),
    )
    return Selection(tuple(wheels), tuple(matching), more, older, unwanted, lines)


def why_none(selection: Selection, wanted: Wanted) -> str:
    """Say why a requirement comes to no wheels."""
    if not selection.releases:
        return "no published release matches"
    if not selection.unwanted:
        newest = selection.releases[0]
        return f"the releases that match have no wheels to audit; the newest is {newest}"
    python = f"Python {wanted.python}" if wanted.python else ""
    asked = " on ".join(filter(None, (python, ", ".join(map(spelled, wanted.platforms)))))
    if selection.unwanted == 1:
        return f"the only wheel is not for {asked}"
    return f"none of {selection.unwanted} wheels is for {asked}"


def claims_of(file: IndexFile) -> Claims | None:
    """Return what the name of a wheel, and its index, claim; None if it is no name of a wheel."""
    try:
        plain, label = split_label(file.filename)
        name, version, _, tags = parse_wheel_filename(plain)
        requires = SpecifierSet(file.requires_python or "")
    except (AuditError, InvalidWheelFilename, InvalidSpecifier):
        return None
    return Claims(
        name=canonicalize_name(name),
        version=version,
        tags=tags,
        wheel_tags=tags,
        root_is_purelib=False,
        requires_python=requires,
        filename=file.filename,
        variant=label,
    )


def _wheels(files: Iterable[IndexFile]) -> list[IndexFile]:
    """Return the wheels among files that are not yanked."""
    return [f for f in files if f.kind is FileKind.WHEEL and not f.yanked]


def _fits(file: IndexFile, wanted: Wanted) -> bool:
    """Whether a wheel is wanted; one whose name says nothing is, so that the audit says so."""
    claims = claims_of(file)
    if claims is None:
        return True
    if wanted.python is not None and wanted.python not in installing_interpreters(claims):
        return False
    found = {name.replace(" ", "_") for name in platforms_of(claims)}
    return not wanted.platforms or "any" in found or not found.isdisjoint(wanted.platforms)


def _left_out(noun: str, files: Sequence[IndexFile]) -> Iterator[str]:
    """Name files that are not audited."""
    if files:
        names = join(file.filename for file in files)
        yield f"{count(len(files), noun)} not audited: {names}"

"""What a wheel's claims admit: which Pythons, which torch releases, in which environments."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version

from torch_abi_audit.abi.platform import parse_platform
from torch_abi_audit.model import Claims, PythonVersion

if TYPE_CHECKING:
    from collections.abc import Iterable

    from packaging.requirements import Requirement
    from packaging.tags import Tag

# The stable ABI begins with 3.2; the last is far enough ahead to stand for "any later one".
_PYTHONS = tuple(PythonVersion(3, minor) for minor in range(2, 21))
_PATCHES = range(40)
_FUTURE_TORCH = ("2.99.0", "3.0.0", "99.0.0")
_STABLE_ABIS = frozenset({"abi3", "abi3t"})


def claims_abi3(claims: Claims) -> bool:
    """Whether any of the filename's tags promises the stable ABI of CPython."""
    return any(tag.abi in _STABLE_ABIS for tag in claims.tags)


def admitted_pythons(claims: Claims) -> tuple[PythonVersion, ...]:
    """Return the minor releases that tags and ``Requires-Python`` together admit, oldest first."""
    return tuple(
        python
        for python in _PYTHONS
        if any(_tag_admits(tag, python) for tag in claims.tags)
        and _specifier_admits(claims.requires_python, python)
    )


def _tag_admits(tag: Tag, python: PythonVersion) -> bool:
    """Whether an interpreter of that release takes the tag (PEP 425, PEP 384, PEP 803)."""
    implementation, digits = tag.interpreter[:2], tag.interpreter[2:].rstrip("t")
    if not digits.isdigit():
        return False
    tagged = (int(digits[0]), int(digits[1:] or 0))
    # `py39` and `cp39-abi3` mean 3.9 and newer; `cp39-cp39` and `cp39-none` mean 3.9 alone.
    if implementation == "py" or tag.abi in _STABLE_ABIS:
        return tagged <= python and tagged[0] == python.major
    return tagged == python


def _specifier_admits(specifier: SpecifierSet, python: PythonVersion) -> bool:
    return not specifier or any(
        specifier.contains(f"{python}.{patch}", prereleases=False) for patch in _PATCHES
    )


def torch_specifiers(claims: Claims) -> tuple[SpecifierSet | None, ...]:
    """Return what the metadata asks of torch, over the environments that the wheel installs in.

    Markers are evaluated for each platform tag and each admitted Python, without extras.

    Returns:
        Each distinct demand, in a fixed order; None stands for an environment that
        nothing is asked in.
    """
    demands: set[SpecifierSet | None] = set()
    for environment in _environments(claims):
        applying = [
            _specifier(requirement)
            for requirement in claims.torch_requirements
            if requirement.marker is None or requirement.marker.evaluate(environment)
        ]
        combined = SpecifierSet()
        for specifier in applying:
            combined &= specifier
        demands.add(combined if applying else None)
    return tuple(sorted(demands, key=lambda demand: (demand is not None, str(demand or ""))))


def requires_torch(claims: Claims) -> str | None:
    """Return what the metadata asks of torch: None for nothing, "" for any release.

    Where environments are asked for different releases, the demands stand in turn.
    """
    demands = [str(demand) for demand in torch_specifiers(claims) if demand is not None]
    return " || ".join(demands) if demands else None


def extras_with_torch(claims: Claims) -> tuple[str, ...]:
    """Return the extras that ask for torch in some environment."""
    return tuple(
        sorted(
            extra
            for extra in claims.extras
            if any(
                requirement.marker is not None
                and requirement.marker.evaluate({**environment, "extra": extra})
                for requirement in claims.torch_requirements
                for environment in _environments(claims)
            )
        )
    )


def admitted_torch(
    specifier: SpecifierSet | None, releases: Iterable[Version]
) -> tuple[Version, ...]:
    """Return the releases that a demand admits; all of them when there is none."""
    if specifier is None:
        return tuple(releases)
    return tuple(release for release in releases if specifier.contains(release, prereleases=False))


def admits_future_torch(specifier: SpecifierSet | None) -> bool:
    """Whether a demand admits releases that do not exist yet, without an upper end."""
    return bool(admitted_torch(specifier, map(Version, _FUTURE_TORCH)))


def _specifier(requirement: Requirement) -> SpecifierSet:
    """Return a requirement's specifier; for a direct reference, the version that it names."""
    if requirement.url:
        try:
            filename = requirement.url.partition("#")[0].rpartition("/")[2]
            return SpecifierSet(f"=={parse_wheel_filename(filename)[1]}")
        except InvalidWheelFilename:
            return SpecifierSet()
    return requirement.specifier


def _environments(claims: Claims) -> list[dict[str, str]]:
    """Return the marker environments that the tags stand for.

    Every marker variable is set, so that nothing of the host's own environment shows.
    """
    systems = set()
    for tag in claims.tags:
        platform = parse_platform(tag.platform)
        if platform is None:  # `any`, or one that is not known
            systems |= {("linux", "x86_64"), ("macos", "arm64"), ("windows", "x86_64")}
        else:
            systems |= {(platform.system, arch) for arch in platform.archs}
    implementations = {
        "pypy" if tag.interpreter.startswith("pp") else "cpython" for tag in claims.tags
    }
    names = {
        "linux": ("posix", "linux", "Linux"),
        "macos": ("posix", "darwin", "Darwin"),
        "windows": ("nt", "win32", "Windows"),
        "android": ("posix", "android", "Android"),
        "ios": ("posix", "ios", "iOS"),
    }
    return [
        {
            "implementation_name": implementation,
            "implementation_version": f"{python}.0",
            "os_name": names[system][0],
            "platform_machine": "AMD64" if (system, arch) == ("windows", "x86_64") else arch,
            "platform_python_implementation": {"cpython": "CPython", "pypy": "PyPy"}[
                implementation
            ],
            "platform_release": "",
            "platform_system": names[system][2],
            "platform_version": "",
            "python_full_version": f"{python}.0",
            "python_version": str(python),
            "sys_platform": names[system][1],
            "extra": "",
        }
        for (system, arch), implementation, python in product(
            sorted(systems), sorted(implementations), admitted_pythons(claims) or _PYTHONS[-1:]
        )
    ]

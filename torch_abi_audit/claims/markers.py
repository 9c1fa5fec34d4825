"""Markers: whether a requirement applies in the environments that a wheel is installed in."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName

from torch_abi_audit.claims.platform_tags import parse_platform
from torch_abi_audit.claims.python_tags import PYTHONS, admitted_pythons
from torch_abi_audit.errors import AuditError

if TYPE_CHECKING:
    from packaging.requirements import Requirement

    from torch_abi_audit.model import Claims

_MAX_EVALUATIONS = 50_000  # of markers; 300 requirements on three systems take 17,000
# What `platform.machine()` calls some machines.
_MARKER_MACHINES = {
    ("windows", "x86_64"): "AMD64",
    ("windows", "arm64"): "ARM64",
    ("windows", "i686"): "x86",
    ("linux", "arm"): "armv7l",
}


def check_work(evaluations: int) -> None:
    """Raise for hostile metadata, which would take minutes."""
    if evaluations > _MAX_EVALUATIONS:
        raise AuditError("METADATA has more markers, for more platforms, than can be evaluated")


def applies(requirement: Requirement, environment: dict[str, str]) -> bool:
    """Whether a requirement's marker holds.

    Raises:
        AuditError: It compares what can't be compared.
    """
    if requirement.marker is None:
        return True
    try:
        return requirement.marker.evaluate(environment)
    except (UndefinedComparison, UndefinedEnvironmentName, ValueError) as error:
        raise AuditError(f"METADATA has Requires-Dist '{requirement}': {error}") from error


def marker_environments(claims: Claims) -> list[dict[str, str]]:
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
        "iossimulator": ("posix", "ios", "iOS"),
    }
    return [
        {
            "implementation_name": implementation,
            "implementation_version": f"{python}.0",
            "os_name": names[system][0],
            "platform_machine": _MARKER_MACHINES.get((system, arch), arch),
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
            sorted(systems), sorted(implementations), admitted_pythons(claims) or PYTHONS[-1:]
        )
    ]

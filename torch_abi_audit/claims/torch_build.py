"""Builds of torch besides the one on PyPI, by the local versions that name them.

Torch's own index has several builds of each release: ``2.13.0+cpu``, ``2.13.0+cu126`` and so on.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit.errors import AuditError
from torch_abi_audit.model import BuildSource

if TYPE_CHECKING:
    from collections.abc import Iterable

    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

    from torch_abi_audit.model import Claims

PYPI = "pypi"
_CPU = "cpu"
_CUDA = re.compile(r"cu(?P<major>[1-9][0-9])(?P<minor>[0-9])?")
_OTHER = re.compile(r"(?:rocm|xpu)[0-9.]*|cu[0-9]+")
_LOCAL = re.compile(r"\+(?P<name>[a-zA-Z0-9][a-zA-Z0-9._-]{,40})$")
_MOST_NAMED = 3
# In the version of a wheel the build may stand between two releases: `pt28cu128` is torch 2.8
# and CUDA 12.8, as are `cu128torch2.8cxx11abitrue` and `torch2.8cu128`.
_IN_VERSION = re.compile(
    r"(?:^|\.)(?:(?:pt|torch)?[0-9]+)?(?P<name>cpu|cu[0-9]+|rocm[0-9]*(?:\.[0-9]+)*|xpu)"
    r"(?=$|\.|(?:pt|torch)[0-9])"
)


class TorchBuild(NamedTuple):
    """A build of torch, for each of its releases.

    Attributes:
        name: The local version: ``cpu``, ``cu128``, ``rocm6.4``; ``pypi`` for the builds on PyPI,
            which have none.
        cuda: The CUDA release that it is built with; only the major one if no more is known. None
            if it is built without CUDA.
    """

    name: str
    cuda: str | None = None

    @property
    def is_cpu(self) -> bool:
        """Whether it is built for CPUs only."""
        return self.name == _CPU

    @property
    def cuda_major(self) -> int | None:
        """The major release of its CUDA."""
        return None if self.cuda is None else int(self.cuda.partition(".")[0])


class BuildChoice(NamedTuple):
    """The builds of torch that a target is checked against, and what says so."""

    build: TorchBuild
    source: BuildSource


def torch_build(name: str) -> TorchBuild:
    """Return the build that a local version names, whether anything is known of it or not.

    >>> torch_build("cu128")
    TorchBuild(name='cu128', cuda='12.8')
    """
    match = _CUDA.fullmatch(name)
    if match is None:
        return TorchBuild(name)
    minor = match["minor"]
    return TorchBuild(name, match["major"] if minor is None else f"{match['major']}.{minor}")


def parse_torch_build(text: str) -> TorchBuild:
    """Parse the name of a build that the user gives.

    Raises:
        AuditError: It is not the name of one.
    """
    name = text.strip().lower().removeprefix("+")
    if name not in (PYPI, _CPU) and not _CUDA.fullmatch(name) and not _OTHER.fullmatch(name):
        raise AuditError(f"{text!r} is not a build of torch (expected cpu, cu128, ..., or {PYPI})")
    return torch_build(name)


def build_of_version(version: Version) -> TorchBuild | None:
    """Return the build of torch that the local version of a package names.

    >>> from packaging.version import Version
    >>> build_of_version(Version("0.24.0+cu128"))
    TorchBuild(name='cu128', cuda='12.8')
    """
    names = {match["name"] for match in _IN_VERSION.finditer(version.local or "")}
    return torch_build(names.pop()) if len(names) == 1 else None


def build_of_requirement(demands: Iterable[SpecifierSet | None]) -> TorchBuild | None:
    """Return the build that requirements on torch pin, as ``==2.9.0+cu128`` does.

    Several builds come to one of which nothing is known.
    """
    names = {
        match["name"].lower()
        for demand in demands
        for specifier in demand or ()
        if specifier.operator in ("==", "===") and (match := _LOCAL.search(specifier.version))
    }
    return torch_build(" or ".join(sorted(names)[:_MOST_NAMED])) if names else None


def chosen_build(
    claims: Claims, demands: Iterable[SpecifierSet | None], given: BuildChoice | None = None
) -> BuildChoice | None:
    """Return the builds to check a target against; None for those on PyPI.

    Args:
        claims: What its metadata says.
        demands: Its requirements on torch.
        given: The user's choice, which goes before all others.
    """
    if given is not None:
        return None if given.build.name == PYPI else given
    required = build_of_requirement(demands)
    if required is not None:
        return BuildChoice(required, BuildSource.REQUIREMENT)
    named = build_of_version(claims.version) if claims.name != "torch" else None
    return None if named is None else BuildChoice(named, BuildSource.VERSION)

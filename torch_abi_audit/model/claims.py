"""Claims: what the metadata of a target says, and the target as it was opened."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import date

    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet
    from packaging.tags import Tag
    from packaging.version import Version

    from torch_abi_audit.model.facts import Defect, Member


class TargetKind(StrEnum):
    """The kind of target that the user named."""

    WHEEL = "wheel"
    PACKAGE = "package"
    DIRECTORY = "directory"
    LIBRARY = "library"


class PythonVersion(NamedTuple):
    """A minor release of Python."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


FREE_THREADED_SINCE = PythonVersion(3, 13)  # PEP 703


ABI3T_SINCE = PythonVersion(3, 15)  # PEP 803


class Interpreter(NamedTuple):
    """A release of CPython, free-threaded or not."""

    python: PythonVersion
    free_threaded: bool = False

    def __str__(self) -> str:
        return f"{self.python}{'t' if self.free_threaded else ''}"


class VariantProperty(NamedTuple):
    """A property of a variant wheel: what a system has to have; see `claims.variants`.

    It is written without the optional spaces: with a colon at their start, words can be taken for
    a command in a log.
    """

    namespace: str
    feature: str
    value: str

    def __str__(self) -> str:
        return "::".join(self)


@dataclass(frozen=True, slots=True)
class Claims:
    """What the metadata of a wheel claims.

    Attributes:
        name: The distribution's name as its filename spells it.
        version: The distribution's version.
        tags: The filename's tags, expanded.
        wheel_tags: The ``Tag`` lines of the ``WHEEL`` file, expanded.
        root_is_purelib: ``Root-Is-Purelib`` of the ``WHEEL`` file.
        requires_python: ``Requires-Python``, empty when absent.
        torch_requirements: Every ``Requires-Dist`` entry that names torch.
        cuda_requirements: Those that name NVIDIA's packages, which contain CUDA's libraries.
        dependencies: The normalized names of the other projects that it requires without
            extras, in some environment at least.
        extras: ``Provides-Extra``.
        stated: Whether there is metadata at all. Without it there are no claims.
        filename: The wheel's filename; None if the target is not a wheel.
        variant: The label of a variant wheel (PEP 825, a draft).
        variant_properties: What the label stands for, in a fixed order; of a feature with several
            values one is enough.
    """

    name: str
    version: Version
    tags: frozenset[Tag]
    wheel_tags: frozenset[Tag]
    root_is_purelib: bool
    requires_python: SpecifierSet
    torch_requirements: tuple[Requirement, ...] = ()
    cuda_requirements: tuple[Requirement, ...] = ()
    dependencies: tuple[str, ...] = ()
    extras: frozenset[str] = frozenset()
    stated: bool = True
    filename: str | None = None
    variant: str | None = None
    variant_properties: tuple[VariantProperty, ...] = ()


@dataclass(frozen=True, slots=True)
class TargetContents:
    """A target that was opened.

    Attributes:
        kind: What it is.
        claims: What its metadata claims.
        members: Its compiled members.
        defects: What is wrong with the archive.
        day: The day of its compiled members' newest time stamp, if that is a real one.
        folder: The folders that its members are in on disk, from the root; none if they are
            where an installer puts them: in a wheel, or an installed package.
    """

    kind: TargetKind
    claims: Claims
    members: tuple[Member, ...]
    defects: tuple[Defect, ...] = ()
    day: date | None = None
    folder: tuple[str, ...] = ()

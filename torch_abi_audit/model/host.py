"""What the host has to provide: libraries that neither the wheel, nor torch, nor the system has."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from packaging.version import Version


class HostNeed(StrEnum):
    """How a library is needed.

    `REQUIRED`: what needs it does not load without. `ONE_OF`: only one of several libraries of
    the target needs it, each for another version of it, of which one is chosen at run time.
    `OPTIONAL`: what needs it loads without it. `PLUGIN`: nothing shows that the libraries that
    need it are loaded wherever the target is installed. `DRIVER`: it comes with NVIDIA's driver.
    """

    REQUIRED = "required"
    ONE_OF = "one-of"
    OPTIONAL = "optional"
    PLUGIN = "plugin"
    DRIVER = "driver"


class HostLibrary(NamedTuple):
    """A library that the host has to provide.

    Attributes:
        name: Its name, or the whole path if the loader looks nowhere else.
        need: How it is needed.
        libraries: The libraries of the target that need it in this way.
        one_of: Its versions, any one of which is enough, itself included; none if it has to
            be this one.
        dependencies: The required projects that may bring it, as their names suggest.
        torch: The torch releases next to which it is there: they bring it, or need it as well.
        known: Whether it is known what torch brings on that platform.
    """

    name: str
    need: HostNeed
    libraries: tuple[str, ...]
    one_of: tuple[str, ...] = ()
    dependencies: tuple[str, ...] = ()
    torch: tuple[Version, ...] = ()
    known: bool = True


class Host(NamedTuple):
    """What a target needs of the host beyond what its platform tags promise.

    Attributes:
        libraries: The libraries.
        symbol_versions: The newest symbol versions of the compiler's libraries, each with the
            library; none without a manylinux tag.
    """

    libraries: tuple[HostLibrary, ...] = ()
    symbol_versions: tuple[tuple[str, str], ...] = ()

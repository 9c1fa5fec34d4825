"""Facts: what the bytes of a target say, independent of torch and of Python."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Format(StrEnum):
    """An object format, recognised by a file's first bytes."""

    ELF = "elf"
    MACHO = "macho"
    PE = "pe"


MAIN_EXECUTABLE = "@main_executable"
_SYSTEMS = {Format.ELF: "linux", Format.MACHO: "macos", Format.PE: "windows"}


def basename(path: str) -> str:
    """Return the last component of a member's path, or of a needed name."""
    return path.rpartition("/")[2]


def library_name(needed: str) -> str:
    """Return the name by which a needed library is compared: the last component of its path.

    The default file systems of macOS and Windows are case-insensitive. (PE names are in lower
    case already.)
    """
    name = basename(needed)
    return name.lower() if name[-6:].lower() == ".dylib" else name


class DefectKind(StrEnum):
    """What is wrong with an archive, regardless of what its members contain."""

    DUPLICATE = "duplicate"
    CASE = "case"
    UNSAFE_NAME = "unsafe-name"
    HEADERS = "headers"
    STRUCTURE = "structure"
    DESCRIPTOR = "descriptor"
    ENCRYPTED = "encrypted"
    COMPRESSION = "compression"
    SYMLINK = "symlink"
    DIST_INFO = "dist-info"
    METADATA = "metadata"
    RECORD = "record"
    RECORD_STYLE = "record-style"
    LICENSE = "license"
    VARIANT = "variant"
    VARIANT_ON_INDEX = "variant-on-index"
    METADATA_ON_INDEX = "metadata-on-index"
    ENTRY_POINTS = "entry-points"


class Symbol(NamedTuple):
    """A dynamic symbol, imported or exported.

    A named tuple because one library has up to a million of them.

    Attributes:
        name: As the object format spells it, without Mach-O's leading underscore.
        weak: For an import, that the loader may leave it unresolved without an
            error; for an export, that another definition may replace it.
        version: The symbol version, e.g. ``GLIBC_2.17``.
        library: For an import, the needed library that the binary itself names
            as the provider, where the format records one. (ELF: the library that must have
            the version. A definition without a version may come from any library. Mach-O:
            `MAIN_EXECUTABLE` for the program that loads the library.)
        hidden: For an export, that its version is not the default one: only an import
            with that very version can bind to it (ELF).
    """

    name: str
    weak: bool = False
    version: str | None = None
    library: str | None = None
    hidden: bool = False


class Assertion(NamedTuple):
    """An assertion that was inlined into a library from a header, by its text.

    Attributes:
        file: The header's path on the machine that built the library.
        line: The line.
        text: The condition, possibly with text before it that the linker has merged with it.
    """

    file: str
    line: int
    text: str


class DeploymentTarget(NamedTuple):
    """The oldest system that a Mach-O slice was built for: its name, major and minor release."""

    system: str
    version: tuple[int, int]

    def __str__(self) -> str:
        return "{} {}.{}".format(self.system, *self.version)


@dataclass(frozen=True, slots=True)
class Library:
    """The facts of one compiled member, or of one slice of a universal one.

    Attributes:
        format: The object format.
        arch: The machine, spelled as in platform tags (``x86_64``, ``aarch64``).
        executable: Whether it is a program rather than a shared library.
        soname: The name that it gives itself (Mach-O: its install name; PE: its own name,
            in lower case like all names of libraries there).
        needed: The libraries that it needs, in order.
        optional: Those of them that it loads without: weak ones in Mach-O, delay-loaded
            ones in PE.
        reexported: Those of them whose exports count as its own (Mach-O).
        rpath: ``DT_RPATH`` entries.
        runpath: ``DT_RUNPATH`` entries.
        imports: Undefined dynamic symbols.
        exports: Defined dynamic symbols that other libraries can bind to.
        version_needs: For each needed library, the symbol versions required of it.
        minos: The oldest system that it was built for (Mach-O).
        assertions: Assertions inlined from headers (per file: all its slices share them).
    """

    format: Format
    arch: str
    executable: bool = False
    soname: str | None = None
    needed: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    reexported: tuple[str, ...] = ()
    rpath: tuple[str, ...] = ()
    runpath: tuple[str, ...] = ()
    imports: tuple[Symbol, ...] = ()
    exports: tuple[Symbol, ...] = ()
    version_needs: tuple[tuple[str, tuple[str, ...]], ...] = ()
    minos: DeploymentTarget | None = None
    assertions: tuple[Assertion, ...] = ()

    @property
    def system(self) -> str:
        """The system that it is for; ELF says only that this is like Linux."""
        return self.minos.system if self.minos else _SYSTEMS[self.format]

    def names(self, path: str) -> frozenset[str]:
        """Return the names by which other libraries can need it; on Windows only the file's.

        Args:
            path: Its path in the target.
        """
        if self.format is Format.PE:
            return frozenset({basename(path).lower()})
        return frozenset({library_name(path), library_name(self.soname or "")} - {""})


@dataclass(frozen=True, slots=True)
class Member:
    """A compiled member of a target: its path, and its facts or why there are none.

    A universal Mach-O file has the facts of several libraries, one for each machine.
    `verified` says whether all of its bytes were read and their checksum is correct.
    """

    path: str
    slices: tuple[Library, ...]
    error: str | None = None
    verified: bool = False


class Defect(NamedTuple):
    """One thing that is wrong with an archive.

    Attributes:
        kind: What it is.
        name: The member that it is about; empty for the archive itself.
        detail: What exactly is wrong, if the kind does not say everything.
    """

    kind: DefectKind
    name: str
    detail: str = ""

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.name, self.detail)))

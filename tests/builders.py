"""Hand-made things to test with: facts, claims, wheels in which one thing is wrong."""

from __future__ import annotations

import zipfile
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.tags import parse_tag
from packaging.version import Version

from torch_abi_audit.abi.cpython import classify_python, library_kind
from torch_abi_audit.abi.scope import scopes
from torch_abi_audit.abi.torch import classify_torch
from torch_abi_audit.catalog import Catalog, Shim
from torch_abi_audit.model import Claims, Format, Library, LibraryAudit, Subject, Symbol

NAME = "x-1.0-py39-none-manylinux_2_28_x86_64.whl"
TEST_WHEELS = Path(__file__).parents[1] / "test_wheels"

# A small catalog, so that tests of judgements do not change with the real one.
CATALOG = Catalog(
    releases=tuple(map(Version, ("2.8.0", "2.9.0", "2.9.1", "2.10.0", "2.11.0"))),
    published=tuple(map(Version, ("2.1.0", "2.8.0", "2.9.0", "2.9.1", "2.10.0", "2.11.0"))),
    promised_since=Version("2.9.0"),
    shims={
        "aoti_torch_old": Shim(Version("2.8.0"), "shim.h"),
        "aoti_torch_gone": Shim(Version("2.8.0"), "shim.h", removed=Version("2.9.0")),
        "aoti_record_function_start": Shim(Version("2.9.0"), "shim.h"),
        "torch_ten": Shim(Version("2.10.0"), "shim.h"),
        "torch_eleven": Shim(Version("2.11.0"), "shim.h"),
    },
)


def library(
    *imports: str | Symbol,
    exports: tuple[str | Symbol, ...] = (),
    needed: tuple[str, ...] = (),
    soname: str | None = None,
    arch: str = "x86_64",
    executable: bool = False,
    format: Format = Format.ELF,  # noqa: A002 -- the name of the field
) -> Library:
    def symbols(names: tuple[str | Symbol, ...]) -> tuple[Symbol, ...]:
        return tuple(Symbol(name) if isinstance(name, str) else name for name in names)

    return Library(
        format=format,
        arch=arch,
        executable=executable,
        soname=soname,
        needed=needed,
        imports=symbols(imports),
        exports=symbols(exports),
    )


def claims(
    tag: str = "py39-none-manylinux_2_28_x86_64",
    *,
    torch: tuple[str, ...] = (),
    python: str = "",
    wheel_tag: str | None = None,
    purelib: bool = False,
    extras: tuple[str, ...] = (),
    name: str = "x",
) -> Claims:
    return Claims(
        name=name,
        version=Version("1.0"),
        tags=parse_tag(tag),
        wheel_tags=parse_tag(wheel_tag or tag),
        root_is_purelib=purelib,
        requires_python=SpecifierSet(python),
        torch_requirements=tuple(map(Requirement, torch)),
        extras=frozenset(extras),
    )


def subject(libraries: dict[str, Library], promised: Claims | None = None) -> Subject:
    found = scopes(libraries)
    return Subject(
        claims=promised or claims(),
        libraries=tuple(
            LibraryAudit(
                path=path,
                library=item,
                kind=library_kind(item),
                torch=classify_torch(item, found[path], CATALOG),
                python=classify_python(item, found[path]),
            )
            for path, item in libraries.items()
        ),
    )


def member_of(scenario: str, path: str) -> bytes:
    """Return a member of a wheel in test_wheels/."""
    (wheel,) = (TEST_WHEELS / scenario).glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(path)


def a_library() -> bytes:
    """Return a whole ELF library: stable ABI, floor 2.10.0."""
    return member_of("odd-members", "odd_members.libs/libplugin.so.1")


def write_wheel(
    folder: Path,
    files: dict[str, bytes] | None = None,
    *,
    name: str = NAME,
    metadata: str | None = "Metadata-Version: 2.4\nName: x\nVersion: 1.0\n",
    wheel: str | None = None,
    compression: int = zipfile.ZIP_DEFLATED,
) -> Path:
    """Write a wheel; None leaves a dist-info file out."""
    path = folder / name
    tag = "-".join(name.removesuffix(".whl").split("-")[2:])
    default = f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n"
    with zipfile.ZipFile(path, "w", compression) as archive:
        for member, data in (files or {}).items():
            archive.writestr(member, data)
        if metadata is not None:
            archive.writestr("x-1.0.dist-info/METADATA", metadata)
        archive.writestr("x-1.0.dist-info/WHEEL", default if wheel is None else wheel)
    return path

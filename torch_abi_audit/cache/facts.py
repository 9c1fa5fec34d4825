"""The facts and claims of a wheel as bytes, and back.

A file that anyone can write holds them: whatever does not have this form is refused.
"""

from __future__ import annotations

import json
import zlib
from datetime import date
from typing import TYPE_CHECKING, Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag
from packaging.version import InvalidVersion, Version

from torch_abi_audit.model import (
    Assertion,
    Claims,
    Defect,
    DefectKind,
    DeploymentTarget,
    Format,
    Library,
    Member,
    Symbol,
    TargetContents,
    TargetKind,
    VariantProperty,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# Rises with every change of the facts, or of what is read of a wheel.
FACTS_VERSION = 4
_MOST_BYTES = 1 << 30  # inflated


def encode_facts(contents: TargetContents) -> bytes:
    """Return the facts and claims of a wheel as bytes."""
    fields = {
        "version": FACTS_VERSION,
        "claims": _claims_fields(contents.claims),
        "members": [
            [m.path, [_library_fields(library) for library in m.slices], m.error, m.verified]
            for m in contents.members
        ],
        "defects": contents.defects,
        "day": contents.day and contents.day.isoformat(),
    }
    return zlib.compress(json.dumps(fields, separators=(",", ":")).encode(), 3)


def decode_facts(data: bytes) -> TargetContents:
    """Return the facts and claims that bytes hold.

    Raises:
        ValueError: They hold something else, or what another version has written.
    """
    try:
        stream = zlib.decompressobj()
        text = stream.decompress(data, _MOST_BYTES)
        fields = json.loads(text) if stream.eof else None
        if not isinstance(fields, dict) or fields["version"] != FACTS_VERSION:
            raise ValueError("not the facts of a wheel")
        day = fields["day"]
        return TargetContents(
            TargetKind.WHEEL,
            _claims(fields["claims"]),
            tuple(_member(*item) for item in fields["members"]),
            tuple(Defect(DefectKind(kind), *map(_text, more)) for kind, *more in fields["defects"]),
            None if day is None else date.fromisoformat(day),
        )
    except (zlib.error, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not the facts of a wheel: {error}") from error
    except (InvalidVersion, InvalidSpecifier, InvalidRequirement) as error:
        raise ValueError(f"not the facts of a wheel: {error}") from error


def _claims_fields(claims: Claims) -> dict[str, Any]:
    return {
        "name": claims.name,
        "version": str(claims.version),
        "tags": sorted(map(str, claims.tags)),
        "wheel_tags": sorted(map(str, claims.wheel_tags)),
        "root_is_purelib": claims.root_is_purelib,
        "requires_python": str(claims.requires_python),
        "torch_requirements": list(map(str, claims.torch_requirements)),
        "cuda_requirements": list(map(str, claims.cuda_requirements)),
        "dependencies": claims.dependencies,
        "extras": sorted(claims.extras),
        "stated": claims.stated,
        "filename": claims.filename,
        "variant": claims.variant,
        "variant_properties": claims.variant_properties,
    }


def _claims(fields: dict[str, Any]) -> Claims:
    return Claims(
        name=_text(fields["name"]),
        version=Version(fields["version"]),
        tags=frozenset(map(_tag, fields["tags"])),
        wheel_tags=frozenset(map(_tag, fields["wheel_tags"])),
        root_is_purelib=_flag(fields["root_is_purelib"]),
        requires_python=SpecifierSet(fields["requires_python"]),
        torch_requirements=tuple(map(Requirement, fields["torch_requirements"])),
        cuda_requirements=tuple(map(Requirement, fields["cuda_requirements"])),
        dependencies=_texts(fields["dependencies"]),
        extras=frozenset(map(_text, fields["extras"])),
        stated=_flag(fields["stated"]),
        filename=_optional(fields["filename"]),
        variant=_optional(fields["variant"]),
        variant_properties=tuple(_property(*item) for item in fields["variant_properties"]),
    )


def _property(namespace: Any, feature: Any, value: Any) -> VariantProperty:
    return VariantProperty(_text(namespace), _text(feature), _text(value))


def _library_fields(library: Library) -> list[Any]:
    return [
        library.format,
        library.arch,
        library.executable,
        library.soname,
        library.needed,
        library.optional,
        library.reexported,
        library.rpath,
        library.runpath,
        library.imports,
        library.exports,
        library.version_needs,
        library.minos,
        library.assertions,
    ]


def _member(path: Any, slices: Any, error: Any, verified: Any) -> Member:
    return Member(
        _text(path),
        tuple(_library(*fields) for fields in slices),
        error=_optional(error),
        verified=_flag(verified),
    )


def _library(  # noqa: PLR0913, PLR0917 -- the fields of a library
    format_: Any,
    arch: Any,
    executable: Any,
    soname: Any,
    needed: Any,
    optional: Any,
    reexported: Any,
    rpath: Any,
    runpath: Any,
    imports: Any,
    exports: Any,
    version_needs: Any,
    minos: Any,
    assertions: Any,
) -> Library:
    return Library(
        format=Format(format_),
        arch=_text(arch),
        executable=_flag(executable),
        soname=_optional(soname),
        needed=_texts(needed),
        optional=_texts(optional),
        reexported=_texts(reexported),
        rpath=_texts(rpath),
        runpath=_texts(runpath),
        imports=_symbols(imports),
        exports=_symbols(exports),
        version_needs=tuple((_text(name), _texts(versions)) for name, versions in version_needs),
        minos=None if minos is None else _minos(*minos),
        assertions=tuple(_assertion(*item) for item in assertions),
    )


def _symbols(items: Iterable[list[Any]]) -> tuple[Symbol, ...]:
    found = tuple(map(Symbol._make, items))
    for name, weak, version, library, hidden in found:
        if not (
            type(name) is str
            and type(weak) is type(hidden) is bool
            and (version is None or type(version) is str)
            and (library is None or type(library) is str)
        ):
            raise ValueError("not a symbol")
    return found


def _minos(system: Any, version: Any) -> DeploymentTarget:
    major, minor = version
    return DeploymentTarget(_text(system), (_number(major), _number(minor)))


def _assertion(file: Any, line: Any, text: Any) -> Assertion:
    return Assertion(_text(file), _number(line), _text(text))


def _tag(text: Any) -> Tag:
    return Tag(*_text(text).split("-", 2))


def _checked(kind: type) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if type(value) is not kind:
            raise ValueError(f"{value!r} is not of type {kind.__name__}")
        return value

    return check


_text, _flag, _number = _checked(str), _checked(bool), _checked(int)


def _texts(values: Any) -> tuple[str, ...]:
    if type(values) is not list:
        raise ValueError("not a list")
    return tuple(map(_text, values))


def _optional(value: Any) -> str | None:
    return None if value is None else _text(value)

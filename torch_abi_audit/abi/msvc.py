"""Names as Microsoft's compiler mangles them: their scopes, and how to show them.

The scheme writes the innermost name first and ends with the outermost scope and ``@@``;
a name made of plain identifiers is parsed directly, any other (templates, local
entities, back-references) by its demangled form. Without a demangler such a name has no scopes:
if it is imported from torch, it then counts as unstable, whoever owns it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import takewhile

from torch_abi_audit.abi import demangler

# `?name@inner@outer@@…`; `??0`, `??_7` and the like stand for a special member, `??_R0?AV`
# for the type descriptor of a class.
_PLAIN = re.compile(r"\?(?:\?(?:_?[0-9A-Z]|_R0\?A[UV]))?(?P<names>(?:[A-Za-z_][A-Za-z0-9_]*@)+)@")
_NESTED = re.compile(r"<[^<>]*>")
_FUNCTION = re.compile(r"__(?:cdecl|thiscall|stdcall|fastcall|vectorcall) (?=[A-Za-z_`~])")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAX_LENGTH = 4096
_MAX_DEMANGLED_SIZE = 1 << 26


def is_msvc(name: str) -> bool:
    """Whether a name is mangled in this scheme."""
    return name.startswith("?")


def namespaces(name: str) -> tuple[str, ...]:
    """Return the scopes and the name of an entity, up to the first non-identifier.

    Template arguments are left out.

    >>> namespaces("?size@Tensor@at@@QEBA_JXZ")
    ('at', 'Tensor', 'size')
    >>> namespaces("??0Error@c10@@QEAA@XZ")
    ('c10', 'Error')
    """
    plain = _PLAIN.match(name)
    if plain is not None:
        return tuple(reversed(plain["names"].split("@")[:-1]))
    parts = (qualified_name(name) or "").split("::")
    return tuple(takewhile(_IDENTIFIER.fullmatch, parts))


def prefix(name: str) -> str:
    """Return the common prefix of all names of the same entity."""
    plain = _PLAIN.match(name)
    return name[: plain.end()] if plain is not None else name.partition("@")[0] + "@"


def qualified_name(name: str) -> str | None:
    """Return the demangled name without its type, parameters and template arguments."""
    declaration = demangle(name)
    if declaration is None:
        return None
    before = None
    while before != declaration:  # innermost first
        before, declaration = declaration, _NESTED.sub("", declaration)
    function = _FUNCTION.search(declaration)
    if function is not None:
        return declaration[function.end() :].partition("(")[0].strip()
    return declaration.partition(" `")[0].rpartition(" ")[2].lstrip("*&")


@lru_cache(maxsize=4096)
def demangle(name: str) -> str | None:
    """Return the declaration that a name stands for, or None.

    A digit can repeat one of ten types, each made of those before it. A name that could
    expand to megabytes this way is not demangled.
    """
    growth = (1 + sum(map(str.isdigit, name[:_MAX_LENGTH])) / 10) ** 10
    if len(name) > _MAX_LENGTH or len(name) * growth > _MAX_DEMANGLED_SIZE:
        return None
    return demangler.declaration(name)

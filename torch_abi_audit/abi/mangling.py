"""C++ names: who owns the entity that a mangled name denotes, and how to show the name.

The owner is read from the mangled name itself, which spells the entity's own
qualified name before any argument or template argument. That is exact, unlike a
search in the demangled text: `mine::f(at::Tensor)` belongs to `mine`.

Reference: Itanium C++ ABI, chapter 5.1 (https://itanium-cxx-abi.github.io/cxx-abi/abi.html).
Names of Microsoft's scheme go to `msvc`.
"""

from __future__ import annotations

import re
from functools import lru_cache

from torch_abi_audit.abi import demangler, msvc

# <special-name> prefixes, which precede the <encoding> or <type> that they refer to:
# vtables, typeinfo and its name, thread-local initialisers and wrappers, guard variables
# and reference temporaries, and thunks with their call offsets.
_OFFSET = r"(?:hn?[0-9]+_|vn?[0-9]+_n?[0-9]+_)"
_SPECIAL = rf"(?:T[VTISHWC]|G[VR]|T{_OFFSET}|Tc{_OFFSET}{_OFFSET})?"
# Z opens a <local-name>, whose owner is the enclosing function's; N opens a <nested-name>,
# with its cv- and ref-qualifiers, or H for an explicit object parameter.
_NESTED = re.compile(rf"_?_Z{_SPECIAL}Z*N[HrVKRO]*(?=[0-9])")
# Parts of a <nested-name> that one letter identifies: its end, a constructor, a destructor,
# template arguments, an ABI tag. Operators have two letters.
_ONE_LETTER = frozenset("ECDIB")
_LENGTH = re.compile(r"[0-9]{1,5}")

_REFERENCE = re.compile(r"[ST][0-9A-Z]*_")
_MAX_DEMANGLED_LENGTH = 4096
_MAX_DEMANGLED_SIZE = 1 << 22


def owner(name: str) -> tuple[str, ...]:
    """Return the scopes and the name of the entity that a mangled name denotes.

    The result ends before the first component that is not a plain identifier (an
    operator, a constructor, template arguments). It is empty for names that are not
    mangled, not in a namespace or class, or in `std`.

    >>> owner("_ZNK2at6Tensor4sizeEl")
    ('at', 'Tensor', 'size')
    >>> owner("_ZTIN3c105ErrorE")
    ('c10', 'Error')
    """
    return msvc.namespaces(name) if msvc.is_msvc(name) else _scopes(name)[0]


def _scopes(name: str) -> tuple[tuple[str, ...], int]:
    """Return the scopes, and where in the name they end."""
    match = _NESTED.match(name)
    if match is None:
        return (), 0
    position = match.end()
    scopes = []
    while length := _LENGTH.match(name, position):
        position = length.end() + int(length[0])
        if position > len(name):
            return (), 0
        scopes.append(name[length.end() : position])
    return tuple(scopes), position


def owner_prefix(name: str) -> str:
    """Return the common prefix of all symbols with the same qualified name.

    It consists of what `owner` reads and the letters that follow, which distinguish a plain
    name from a constructor, an operator or a template.

    >>> owner_prefix("_ZN3c104warnEi")
    '_ZN3c104warnE'
    """
    if msvc.is_msvc(name):
        return msvc.prefix(name)
    end = _scopes(name)[1]
    if not end:
        return name
    return name[: end + (1 if name[end : end + 1] in _ONE_LETTER else 2)]


def qualified_name(name: str) -> str | None:
    """Return the demangled name of a function without its parameters, or None.

    >>> qualified_name("_ZNK2at6Tensor4sizeEl")
    'at::Tensor::size'
    """
    if msvc.is_msvc(name):
        return msvc.qualified_name(name)
    declaration = demangle(name)
    return None if declaration is None else declaration.partition("(")[0]


@lru_cache(maxsize=4096)
def demangle(name: str) -> str | None:
    """Return the C++ declaration that a mangled name stands for, or None.

    A few dozen back-references can make a name of a hundred bytes expand to
    gigabytes, so a name that might do so is shown without its arguments.
    """
    if msvc.is_msvc(name):
        return msvc.demangle(name)
    if not name.startswith("_Z"):
        return None
    references = len(_REFERENCE.findall(name))
    if len(name) <= _MAX_DEMANGLED_LENGTH and len(name) << references <= _MAX_DEMANGLED_SIZE:
        return demangler.declaration(name)
    return "::".join(owner(name)) + "(...)" if owner(name) else None

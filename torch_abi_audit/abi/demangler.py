"""The demangler, which is LLVM's, and whether it is installed.

There is no wheel of it for Windows on ARM, where it is not required. Without it C++ names are
shown mangled, and nothing on the unstable ABI is audited: the classes that a library depends on
are read from the declarations of its imports.
"""

from __future__ import annotations

try:
    import pycxxfilt
except ImportError:
    AVAILABLE = False
else:
    AVAILABLE = True

MISSING = "pycxxfilt can't be imported"
NEEDED = (
    f"it uses the unstable ABI, and {MISSING}, which tells the classes whose layouts it depends on"
    " (pip install pycxxfilt)"
)
NOTICE = (
    f"{MISSING}: C++ symbols are shown mangled, ignores match only mangled symbols, and what"
    " uses the unstable ABI can't be audited"
)


def declaration(name: str) -> str | None:
    """Return the declaration of a mangled name; None for other names or without a demangler."""
    if not AVAILABLE:
        return None
    try:
        return pycxxfilt.demangle(name)
    except ValueError:
        return None

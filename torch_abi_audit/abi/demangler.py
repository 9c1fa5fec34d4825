"""The demangler, which is LLVM's, and whether it is there.

It has no wheel for Windows on ARM, where it is not required. Without it C++ names are shown as
they are mangled, and nothing on the unstable ABI is audited: which classes a library depends on is
read off the declarations of what it imports.
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
    """Return the declaration that a mangled name stands for; None if it is none, or without it."""
    if not AVAILABLE:
        return None
    try:
        return pycxxfilt.demangle(name)
    except ValueError:
        return None

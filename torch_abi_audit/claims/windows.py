"""Windows: which DLLs every system has, or gets with Microsoft's C++ runtime."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

# Names of API sets, which stand for whatever DLL implements them.
_API_SET = re.compile(r"(?:api|ext)-ms-.*")
# The redistributable C++ runtime. torch's own libraries need it as well. Those of debug builds,
# such as `vcruntime140d.dll`, must not be redistributed.
_RUNTIME = re.compile(
    r"(?:vcruntime|vccorlib|msvcp|msvcr|concrt|mfcm?|vcamp|vcomp)[0-9][0-9a-z_]*(?<![0-9]d)\.dll"
    r"|msvcrt\.dll|ucrtbase\.dll"
)


def is_windows_library(name: str) -> bool:
    """Whether a DLL comes with Windows, or with Microsoft's redistributable C++ runtime.

    Args:
        name: The DLL, in lower case.
    """
    known = _API_SET.fullmatch(name) or _RUNTIME.fullmatch(name)
    return known is not None or name in _windows_libraries()


@cache
def _windows_libraries() -> frozenset[str]:
    text = Path(__file__).with_name("windows_dlls.txt").read_text(encoding="ascii")
    return frozenset(line for line in text.splitlines() if not line.startswith("#"))

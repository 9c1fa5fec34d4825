"""Which builds of CPython can import a file as a module, by its suffix and its init hook.

References: PEP 3149 (suffixes), PEP 489 (`PyInit_`), PEP 793 (`PyModExport_`), PEP 803
(`.abi3t.so`), and `importlib.machinery.EXTENSION_SUFFIXES` of each release.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from torch_abi_audit.model import ABI3T_SINCE, Format, Interpreter, PythonVersion, basename

if TYPE_CHECKING:
    from torch_abi_audit.model import Library

_INIT_HOOK = ("PyInit_", "PyInitU_")  # the U forms hold punycode
_EXPORT_HOOK = ("PyModExport_", "PyModExportU_")
_HOOKS = (*_INIT_HOOK, *_EXPORT_HOOK)
EXPORT_HOOK_SINCE = PythonVersion(3, 15)
# Strings, compiled on first use: few wheels have modules that need them.
_MODULE = r"(?P<name>[^.]+)(?:\.(?P<tag>[^.]+))?\.(?P<suffix>so|pyd)"
# `cpython-310-x86_64-linux-gnu`, `cpython-313t-darwin`, `cp310-win_amd64`, `cp313t-win_arm64`.
_VERSIONED = r"(?:cpython-|cp)(?P<major>\d)(?P<minor>\d+)(?P<flags>t?d?)m?u?(?:-(?P<platform>.+))?"
_OTHER_IMPLEMENTATION = r"(?:pypy|graalpy)\d.*"
# `abi3-x86_64-linux-gnu`: the suffix may name the machine since 3.15.
_STABLE = r"(?P<abi>abi3t?)(?:-(?P<platform>.+))?"
_PLATFORM_SINCE = PythonVersion(3, 15)
# How suffixes on Linux and Windows spell the machines that `model.Library.arch` names.
_MACHINES = {
    "x86_64": "x86_64",
    "win_amd64": "x86_64",
    "win_arm64": "arm64",
    "win32": "i686",
    "aarch64": "aarch64",
    "i386": "i686",
    "powerpc64le": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
}


def hooks(library: Library) -> tuple[str, ...]:
    """Return the functions that a library exports for Python to call on import."""
    return tuple([name for name, *_ in library.exports if name.startswith(_HOOKS)])


def only_new_hooks(library: Library) -> tuple[str, ...]:
    """Return the hooks of a module that only Python 3.15 and newer can import."""
    names = hooks(library)
    return () if any(name.startswith(_INIT_HOOK) for name in names) else names


def is_for_abi3t(path: str) -> bool:
    """Whether a file is named for the stable ABI of free-threaded Python."""
    return _stable_suffix(path) == "abi3t"


def is_for_stable_abi(path: str) -> bool:
    """Whether a file is named for the stable ABI: ``.abi3.so`` or ``.abi3t.so``."""
    return _stable_suffix(path) is not None


def _stable_suffix(path: str) -> str | None:
    match = re.fullmatch(_MODULE, basename(path))
    stable = re.fullmatch(_STABLE, match["tag"] or "") if match else None
    return stable["abi"] if stable else None


def build_named_by(path: str) -> Interpreter | None:
    """Return the one build of CPython that looks for a module in a file of this name."""
    match = re.fullmatch(_MODULE, basename(path))
    versioned = re.fullmatch(_VERSIONED, (match["tag"] or "") if match else "")
    if versioned is None or "d" in versioned["flags"]:
        return None
    python = PythonVersion(int(versioned["major"]), int(versioned["minor"]))
    return Interpreter(python, "t" in versioned["flags"])


def module_name(path: str) -> str:
    """Return the path without its interpreter-specific suffix."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/{name.partition('.')[0]}"


def is_for_one_build(path: str) -> bool:
    """Whether a file is named as a module for a single build of Python."""
    match = re.fullmatch(_MODULE, basename(path))
    tag = (match["tag"] if match else None) or ""
    return bool(re.fullmatch(_VERSIONED, tag) or re.fullmatch(_OTHER_IMPLEMENTATION, tag))


def is_module_name(path: str, library: Library) -> bool:
    """Whether a file is named like a module on its system."""
    match = re.fullmatch(_MODULE, basename(path))
    return match is not None and match["suffix"] == _suffix(library)


def _suffix(library: Library) -> str:
    return "pyd" if library.format is Format.PE else "so"


def imports(interpreter: Interpreter, path: str, library: Library) -> bool:
    """Whether a build of CPython looks for a module in a file of this name.

    Args:
        interpreter: The build.
        path: The path of the file.
        library: The file's facts; a suffix that names another machine does not match.
    """
    match = re.fullmatch(_MODULE, basename(path))
    if match is None or match["suffix"] != _suffix(library):
        return False
    arch, tag = library.arch, match["tag"]
    if tag is None:
        return True
    if re.fullmatch(_OTHER_IMPLEMENTATION, tag):
        return False
    stable = re.fullmatch(_STABLE, tag)
    if stable is not None:
        return (
            library.format is not Format.PE  # Windows has no such suffix
            and _imports_stable(interpreter, stable["abi"], named=stable["platform"] is not None)
            and _is_machine(stable["platform"], arch)
        )
    versioned = re.fullmatch(_VERSIONED, tag)
    if versioned is None:
        return True
    python = PythonVersion(int(versioned["major"]), int(versioned["minor"]))
    return (
        interpreter == Interpreter(python, "t" in versioned["flags"])
        and "d" not in versioned["flags"]
        and _is_machine(versioned["platform"], arch)
    )


def _imports_stable(interpreter: Interpreter, abi: str, *, named: bool) -> bool:
    """Whether a build imports `.abi3.so` or `.abi3t.so`, with or without a machine in it."""
    if named and interpreter.python < _PLATFORM_SINCE:
        return False
    if abi == "abi3t":
        return interpreter.python >= ABI3T_SINCE
    return not interpreter.free_threaded or interpreter.python < ABI3T_SINCE


def _is_machine(platform: str | None, arch: str) -> bool:
    named = _MACHINES.get((platform or "").partition("-")[0])
    return named is None or named == arch

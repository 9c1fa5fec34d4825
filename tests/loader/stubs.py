"""Libraries without code that stand for those of CUDA, Python and other packages.

A stub has the name, the symbols and their versions; each function returns an error.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Stub:
    """What a stub has.

    Attributes:
        name: Its name, by which others need it.
        symbols: Its symbols: a name, and its version or None (ELF).
        versions: Versions that it defines besides, without a symbol.
    """

    name: str
    symbols: frozenset[tuple[str, str | None]] = frozenset()
    versions: frozenset[str] = frozenset()


def elf_source(stub: Stub) -> str:
    """Return the C source of a stub: a function for each symbol, by its number.

    The first of a symbol's versions is its default one, which imports without a version get.
    """
    lines = []
    named: set[str] = set()
    for number, (name, version) in enumerate(versioned_first(stub.symbols)):
        function = f"stub_{number}"
        lines.append(f"int {function}(void) {{ return 999; }}")
        if version:
            mark = "@" if name in named else "@@"
            lines.append(f'__asm__(".symver {function}, {name}{mark}{version}");')
        elif name not in named:
            declared = f".globl {name}\\n.type {name}, %function\\n.set {name}, {function}"
            lines.append(f'__asm__("{declared}");')
        named.add(name)
    return "\n".join([*lines, ""])


def versioned_first(symbols: Iterable[tuple[str, str | None]]) -> list[tuple[str, str | None]]:
    """Return symbols in a fixed order, those of one name with a version first."""
    return sorted(symbols, key=lambda item: (item[0], item[1] is None, item[1] or ""))


def version_script(stub: Stub) -> str:
    """Return the linker's version script of a stub; empty if it has no versions."""
    names: defaultdict[str, list[str]] = defaultdict(list)
    for version in stub.versions:
        names[version] = []
    for name, of in versioned_first(stub.symbols):
        if of:
            names[of].append(name)
    return "".join(
        f"{version} {{ {f'global: {chr(59).join(listed)};' if listed else ''} }};\n"
        for version, listed in sorted(names.items())
    )


def definition_file(stub: Stub) -> str:
    """Return the module definition file of a stub for Windows."""
    names = [
        f'"{name}" = stub_{number}'
        for number, (name, _) in enumerate(versioned_first(stub.symbols))
    ]
    return "\n".join([f'LIBRARY "{stub.name}"', "EXPORTS", *names, ""])


def pe_source(stub: Stub) -> str:
    """Return the C source of a stub for Windows."""
    numbers = range(len(stub.symbols))
    functions = (f"int stub_{number}(void) {{ return 999; }}" for number in numbers)
    start = "int __stdcall DllMainCRTStartup(void *a, unsigned b, void *c) { return 1; }"
    return "\n".join([start, *functions, ""])


def build_elf(stub: Stub, folder: Path, compiler: str) -> Path:
    """Compile a stub for Linux into a folder, under its name.

    Args:
        stub: What it has.
        folder: Where to put it.
        compiler: The C compiler, for the machine that it is meant for.
    """
    script = version_script(stub)
    command = ["-shared", "-fPIC", "-nostdlib", "-O0", f"-Wl,-soname,{stub.name}", "stub.c"]
    if script:
        command += ["-Wl,--version-script,stub.map"]
    sources = {"stub.c": elf_source(stub), "stub.map": script}
    return _build(compiler, command, sources, folder / stub.name)


def build_pe(stub: Stub, folder: Path, compiler: str) -> Path:
    """Compile a stub for Windows into a folder, under its name; see `build_elf`."""
    command = ["-shared", "-nostdlib", "-Wl,-e,DllMainCRTStartup", "stub.c", "stub.def"]
    sources = {"stub.c": pe_source(stub), "stub.def": definition_file(stub)}
    return _build(compiler, command, sources, folder / stub.name)


def _build(compiler: str, arguments: list[str], sources: Mapping[str, str], result: Path) -> Path:
    result.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        for file, text in sources.items():
            Path(name, file).write_text(text, encoding="ascii")
        command = [compiler, *arguments, "-o", str(result.resolve())]
        subprocess.run(command, cwd=name, check=True, capture_output=True, text=True)
    return result

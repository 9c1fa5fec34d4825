"""Rules about CPython's C API and what the ABI tag promises of it."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from torch_abi_audit.abi.modules import (
    EXPORT_HOOK_SINCE,
    imports,
    is_for_one_build,
    is_module_name,
    module_name,
    only_new_hooks,
)
from torch_abi_audit.catalog.libraries import is_torch_library, python_library
from torch_abi_audit.claims.python_tags import (
    admitted_interpreters,
    admitted_pythons,
    claims_abi3,
    claims_abi3t,
)
from torch_abi_audit.model import (
    ABI3T_SINCE,
    Format,
    LibraryKind,
    PythonAbi,
    Severity,
    Subject,
    basename,
    library_name,
)
from torch_abi_audit.rules.evidence import files, libraries, symbols
from torch_abi_audit.rules.registry import Hit, rule
from torch_abi_audit.wording import count, does, join, limited_api, unique

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch_abi_audit.catalog import Catalog
    from torch_abi_audit.model import Interpreter, LibraryAudit

# Systems where interpreters are built with and without a shared library.
_MADE_FOR_PYTHON = r"(?i)abi3|(?<![a-z])(?:lib)?(?:boost_)?py(?!ro)"
_OFTEN_STATIC = frozenset({"linux", "macos"})


@rule(
    "abi3-violation",
    Severity.ERROR,
    "the wheel claims abi3 and a library imports a symbol outside the stable ABI",
    why="The tag says that the wheel works with every Python from the tagged one on. What lies "
    "outside the stable ABI may be missing, or differ, in the next one (abi3, PEP 384) or "
    "in free-threaded builds (abi3t, PEP 803).",
    fix="Let the compiler refuse it, for the oldest Python that you support:\n"
    "    -DPy_LIMITED_API=0x030a0000\n"
    "and in setup.py:\n"
    "    Extension(..., py_limited_api=True)\n"
    "For abi3t define Py_TARGET_ABI3T too, and export PyModExport_NAME instead of "
    "PyInit_NAME (PEP 793). Or tag the wheel for the one Python that it was built with.",
)
def abi3_violation(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report what the limited API does not have.

    A warning where a library made for Python, of another package, can have the names: the
    binding generators' own libraries name helpers like functions of CPython.
    """
    if not claims_abi3(subject.claims):
        return
    free_threaded = claims_abi3t(subject.claims)
    for library in subject.libraries:
        violations = library.python.violations
        opaque = library.python.opaque if free_threaded else ()
        if violations:
            helper = _python_helper(library)
            perhaps = f", unless {helper} has them" if helper else ""
            yield Hit(
                "the tag says abi3, and it imports {evidence:name} of CPython's"
                f" C API outside the stable ABI{perhaps}",
                libraries=(library.path,),
                evidence=symbols(violations),
                fix=(
                    "build it with -DPy_LIMITED_API and py_limited_api=True, or tag the wheel for"
                    " the one Python that it was built with"
                ),
                severity=Severity.WARNING if helper else None,
            )
        if opaque:
            yield Hit(
                f"the tag says abi3t, where PyModuleDef is opaque, and it imports"
                f" {count(len(opaque), 'function')} that {'takes' if len(opaque) == 1 else 'take'}"
                " one",
                libraries=(library.path,),
                evidence=symbols(opaque),
                fix="export PyModExport_NAME (PEP 793) and build with"
                " -DPy_TARGET_ABI3T=0x030f0000, or leave abi3t out of the tag",
            )


def _python_helper(item: LibraryAudit) -> str | None:
    """Return a needed library of another package that is made for Python, as its name says."""
    if item.library.format is not Format.ELF:  # elsewhere each symbol names its library
        return None
    names = map(basename, item.library.needed)
    return next(
        (
            name
            for name in names
            if name not in item.own
            and re.search(_MADE_FOR_PYTHON, name)
            and not is_torch_library(name)
            and python_library(name) is None
        ),
        None,
    )


@rule(
    "abi3-floor-understated",
    Severity.ERROR,
    "a symbol is newer than the oldest Python that the tags and `Requires-Python` together admit",
    why="Installers give the wheel to every Python from the tagged one on, as far as Requires- "
    "Python admits it. The older ones of those lack a symbol, and `import` fails.",
    fix="Tag the wheel for the oldest Python that has all of them:\n"
    "    [tool.distutils.bdist_wheel]\n"
    '    py_limited_api = "cp311"\n'
    "or exclude the older ones:\n"
    '    requires-python = ">=3.11"\n'
    "or let the compiler refuse what is newer:\n"
    "    -DPy_LIMITED_API=0x030a0000",
)
def abi3_floor_understated(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report Pythons that installers may choose and the stable ABI does not reach."""
    pythons = admitted_pythons(subject.claims)
    if not claims_abi3(subject.claims) or not pythons:
        return
    oldest = pythons[0]
    newer = [
        (library, library.python.floor)
        for library in subject.libraries
        if library.python.floor is not None and library.python.floor > oldest
    ]
    for library, floor in newer:
        yield Hit(
            f"the tags and Requires-Python admit Python {oldest}, and it imports names that"
            f" the stable ABI has since {floor}",
            libraries=(library.path,),
            evidence=symbols(library.python.floor_symbols),
            fix=(
                f"tag the wheel cp{floor.major}{floor.minor}-abi3, set Requires-Python:"
                f" >={floor}, or build with -DPy_LIMITED_API={limited_api(oldest)}"
            ),
        )
    early = [
        interpreter
        for interpreter in admitted_interpreters(subject.claims)
        if claims_abi3t(subject.claims)
        and interpreter.free_threaded
        and interpreter.python < ABI3T_SINCE
    ]
    users = [item.path for item in subject.libraries if item.python.abi is not PythonAbi.NONE]
    if early and users and not newer:
        yield Hit(
            f"the tags admit free-threaded Python {early[0].python}, and abi3t begins with"
            f" {ABI3T_SINCE} (PEP 803)",
            libraries=unique(users),
            fix=f"tag the wheel cp{ABI3T_SINCE.major}{ABI3T_SINCE.minor}-abi3.abi3t, and build"
            " wheels for cp314-cp314t apart",
        )


@rule(
    "abi3-suffix",
    Severity.ERROR,
    "an extension in an abi3 wheel has a name that not every Python which the tags promise imports",
    why="Python looks for modules by suffix: `.cpython-310-x86_64-linux-gnu.so` is a module for "
    "3.10 alone, `.abi3.so` none for free-threaded 3.15, `.abi3.pyd` none for any. The "
    "wheel is installed, and `import` says that there is no such module.",
    fix="Name it .abi3.so on Linux and macOS and .pyd on Windows, as setuptools does with\n"
    "    Extension(..., py_limited_api=True)\n"
    "Where it also serves free-threaded Python 3.15 and newer, name it .abi3t.so (meson-python"
    " does for abi3t; with setuptools rename it after the build).",
)
def abi3_suffix(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report modules that some of the Pythons that the tags promise do not find.

    It is a warning where nothing need break: the module is also there under another name
    for them, or it imports nothing of the C API, so that it is no working module.
    """
    if not claims_abi3(subject.claims):
        return
    for item, without, others in _unfound(subject):
        missing = [build for build in without if build not in others]
        harmless = not missing or item.python.abi is PythonAbi.NONE
        yield Hit(
            f"Python {(missing or without)[0]} does not look for a module in a file of this name,"
            " and the tags promise it",
            libraries=(item.path,),
            fix="name it .pyd"
            if item.library.format is Format.PE
            else "name it .abi3t.so: free-threaded Python 3.15 and newer look for no .abi3.so"
            if claims_abi3t(subject.claims)
            else "name it .abi3.so (py_limited_api=True does)",
            severity=Severity.WARNING if harmless else None,
        )


@rule(
    "unimportable-extension",
    Severity.ERROR,
    "the suffix or the hook of an extension is one that no Python which the tags admit looks for",
    why="The suffix of a module names the Python and the machine that import it, and PyInit_ or"
    " PyModExport_ is what they call. A wheel for cp312 with a module for cp310, or for aarch64, is"
    " installed, and `import` says that there is no such module.",
    fix="Build with the Python that the tag names, and clean the build folder before: modules of an"
    " earlier build end up in wheels like that:\n"
    "    rm -rf build && python -m build --wheel\n"
    "When cross-compiling set the suffix: SETUPTOOLS_EXT_SUFFIX, or _PYTHON_HOST_PLATFORM.",
)
def unimportable_extension(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report modules that nothing in a wheel for certain Pythons can import.

    A warning where the module is also there under a name that they look for.
    """
    interpreters = admitted_interpreters(subject.claims)
    if claims_abi3(subject.claims) or not interpreters:
        return
    said = join(map(str, interpreters))
    for item, without, others in _unfound(subject):
        missing = [build for build in without if build not in others]
        if missing or set(without) == set(interpreters):
            which = f"no Python that the tags admit ({said}) looks"
            if set(without) != set(interpreters):
                which = f"Python {join(map(str, missing))}, which the tags admit, does not look"
            yield Hit(
                f"{which} for a module in a file of this name",
                libraries=(item.path,),
                fix="build it with the Python, and for the machine, of the tag",
                severity=None if missing else Severity.WARNING,
            )
    strangers = [
        item
        for item in subject.libraries
        if item.kind is LibraryKind.EXTENSION and not is_module_name(item.path, item.library)
    ]
    if strangers:
        yield Hit(
            "{libraries:export} the hook of a module, and Python looks"
            " for no module in a file of that name",
            libraries=unique(item.path for item in strangers),
            fix="name modules .pyd on Windows, and .so elsewhere",
            severity=Severity.NOTE,  # some are loaded by their path on purpose
        )
    for item in subject.libraries:
        names = only_new_hooks(item.library)
        if names and interpreters[-1].python < EXPORT_HOOK_SINCE:
            yield Hit(
                f"only Python {EXPORT_HOOK_SINCE} and newer call its hook, and the tags admit"
                f" {said}",
                libraries=(item.path,),
                evidence=symbols(names),
                fix="export PyInit_NAME too (PEP 793)",
            )


def _is_for_musl(path: str, tags: Iterable[str]) -> bool:
    """Whether a suffix names musl, and the tags another C library."""
    return "-linux-musl" in basename(path) and all(tag.startswith("manylinux") for tag in tags)


def _unfound(
    subject: Subject,
) -> Iterator[tuple[LibraryAudit, list[Interpreter], list[Interpreter]]]:
    """Yield extensions with the admitted builds that do not look for them.

    And with those of all builds that find the module in another file.
    """
    interpreters = admitted_interpreters(subject.claims)
    tags = [tag.platform for tag in subject.claims.tags]
    # The slices of a universal file are one module. What is not named as one is loaded by
    # its path, if at all.
    extensions = {
        item.path: item
        for item in subject.libraries
        if item.kind is LibraryKind.EXTENSION and is_module_name(item.path, item.library)
    }
    found = {
        path: [
            i
            for i in interpreters
            if imports(i, path, item.library) and not _is_for_musl(path, tags)
        ]
        for path, item in extensions.items()
    }
    for item in extensions.values():
        without = [build for build in interpreters if build not in found[item.path]]
        if without:
            kin = [
                path
                for path in found
                if path != item.path and module_name(path) == module_name(item.path)
            ]
            yield item, without, [build for path in kin for build in found[path]]


@rule(
    "python-api-in-none-wheel",
    Severity.ERROR,
    "the ABI tag is `none` and an extension uses the C API",
    why="The ABI tag `none` promises that the wheel has no part in CPython's C API, so that "
    "every interpreter of that version may install it: free-threaded ones, PyPy, and with "
    "py3 every later CPython. A library that imports the C API works with a part of them.",
    fix="Tag the wheel for what it uses: cp310-abi3 for the stable ABI, cp312-cp312 for one "
    "version, one wheel a Python.",
)
def python_api_in_none_wheel(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report C API in a wheel for every interpreter.

    A warning for `cp312-none`, which CPython 3.12 alone installs (and a free-threaded
    build where there is one), and for libraries that Python does not import. And where
    a module's name lets one Python alone import it, and the wheel has it for several, or
    is for any platform with something for several systems: others do without.
    """
    none_tags = [tag for tag in subject.claims.tags if tag.abi == "none"]
    if not none_tags:
        return
    generic = [tag for tag in none_tags if tag.interpreter.startswith("py")]
    tags = join({f"{tag.interpreter}-{tag.abi}" for tag in generic or none_tags})
    for_any = any(tag.platform == "any" for tag in none_tags)
    several = for_any and len({item.library.system for item in subject.libraries}) > 1
    modules = Counter(map(module_name, {item.path for item in subject.libraries}))
    for library in subject.libraries:
        use = library.python
        if use.abi is PythonAbi.NONE:
            continue
        optional = is_for_one_build(library.path) and (
            several or modules[module_name(library.path)] > 1
        )
        serious = bool(generic) and library.kind is LibraryKind.EXTENSION and not optional
        fitting = (
            f"cp{use.floor.major}{use.floor.minor}-abi3" if use.floor else "cpXY-cpXY, one a Python"
        )
        yield Hit(
            f"the tag {tags} says that no Python ABI is used, and it"
            f" {'imports' if use.violations or use.floor else 'links'} CPython's C API",
            libraries=(library.path,),
            evidence=symbols(use.violations or use.floor_symbols) or libraries(use.linked),
            fix=f"tag the wheel {fitting}",
            severity=None if serious else Severity.WARNING,
        )


@rule(
    "versioned-python-library",
    Severity.ERROR,
    "a library links a library of CPython's (`python312.dll`, `libpython3.12`) that a Python which"
    " the tags admit does not have",
    why="A library that names python312.dll or libpython3.12.so loads only where that very "
    "library is. Beside another Python there is none; and many interpreters on Linux and "
    "macOS have none at all.",
    fix="On Windows link python3.dll, which\n"
    "    -DPy_LIMITED_API=0x030a0000\n"
    "chooses by itself. Elsewhere link no library of Python's: the interpreter has the "
    "symbols. In CMake link Python::SABIModule for abi3 and Python::Module for one version, "
    "never Python::Python.",
)
def versioned_python_library(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report libraries of CPython's that are not there wherever the wheel is installed.

    For wheels with the ABI tag `none` another rule speaks. Away from Windows it is a
    warning even where the version fits: many interpreters have no shared library.
    """
    claims = subject.claims
    interpreters = admitted_interpreters(claims)
    carried = unique(
        item.path
        for item in subject.libraries
        if item.library.format is Format.MACHO and python_library(basename(item.path))
    )
    linking = [
        item.path
        for item in subject.libraries
        if not {library_name(path) for path in carried}.isdisjoint(
            map(library_name, item.python.linked)
        )
    ]
    if linking and claims.name != "torch":
        yield Hit(
            f"the wheel carries a library of CPython's, and {does(len(linking), 'library', 'link')}"
            " it: a second interpreter, that nobody has started, beside the one that runs",
            libraries=unique(linking),
            evidence=files(carried),
            fix="leave the library of Python out: the interpreter has the symbols",
            severity=Severity.WARNING,
        )
    for library in subject.libraries:
        linked = {
            n: v for n, v in library.python.linked.items() if library_name(n) not in library.own
        }
        without = [
            (name, interpreter)
            for name, version in linked.items()
            for interpreter in interpreters
            if version not in _python_libraries(interpreter)
        ]
        on_windows = library.library.format is Format.PE
        if without:
            name, interpreter = without[0]
            suffix = "t" if interpreter.free_threaded else ""
            fitting = f"python3{suffix}.dll" if claims_abi3(claims) else "that of the tag's Python"
            yield Hit(
                f"it links {basename(name)}, which Python {interpreter} does not have, and the tags"
                " admit that",
                libraries=(library.path,),
                evidence=libraries(dict.fromkeys(name for name, *_ in without)),
                fix=f"link {fitting} (-DPy_LIMITED_API and py_limited_api=True choose python3.dll)"
                if on_windows
                else "leave the library of Python out: the interpreter has the symbols",
            )
        elif linked and interpreters and library.library.system in _OFTEN_STATIC:
            yield Hit(
                f"it links {join(map(basename, linked))}: many interpreters of that version are"
                " built without a shared library",
                libraries=(library.path,),
                evidence=libraries(linked),
                fix="leave the library of Python out: the interpreter has the symbols",
                severity=Severity.WARNING,
            )


def _python_libraries(interpreter: Interpreter) -> frozenset[str]:
    """Return which of CPython's libraries a build has, as `python_library` names them.

    Since 3.15 every build has that of abi3t (PEP 803).
    """
    letter = "t" if interpreter.free_threaded else ""
    names = {str(interpreter), f"3{letter}"}
    return frozenset(names | {"3t"} if interpreter.python >= ABI3T_SINCE else names)

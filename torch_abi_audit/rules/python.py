"""Rules about CPython's C API and what the Python and ABI tags claim about it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from torch_abi_audit.abi.modules import (
    EXPORT_HOOK_SINCE,
    build_named_by,
    hooks,
    imports,
    is_for_abi3t,
    is_for_one_build,
    is_module_name,
    module_name,
    only_new_hooks,
)
from torch_abi_audit.catalog.libraries import is_torch_library, python_library
from torch_abi_audit.claims.python_tags import (
    ANY_LATER,
    STABLE_ABIS,
    admitted_interpreters,
    admitted_pythons,
    claims_abi3,
    claims_abi3t,
)
from torch_abi_audit.model import (
    ABI3T_SINCE,
    Evidence,
    EvidenceKind,
    Fix,
    Format,
    Interpreter,
    LibraryKind,
    PythonAbi,
    PythonVersion,
    Severity,
    Subject,
    basename,
    library_name,
)
from torch_abi_audit.rules.evidence import files, libraries, of_libraries, symbols
from torch_abi_audit.rules.registry import Hit, rule
from torch_abi_audit.rules.retag import cp, oldest_python, python_tag, retag, stable_abi_fix
from torch_abi_audit.wording import join, limited_api, pythons, unique

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from torch_abi_audit.catalog import Catalog
    from torch_abi_audit.model import LibraryAudit

# Libraries made for Python, as their names say.
_MADE_FOR_PYTHON = r"(?i)abi3|(?<![a-z])(?:lib)?(?:boost_)?py(?!ro)"
# Systems where interpreters are built with and without a shared library.
_OFTEN_STATIC = frozenset({"linux", "macos"})


@rule(
    "abi3-violation",
    Severity.ERROR,
    "an abi3 wheel contains a library that imports a symbol outside CPython's stable ABI",
    why="The tag says that the wheel works on every Python from the tagged version on. Symbols"
    " outside the stable ABI may be missing or differ in the next version (abi3, PEP 384), or in"
    " free-threaded builds (abi3t, PEP 803).",
    fix="Let the compiler reject them, for the oldest Python that you support:\n"
    "    -DPy_LIMITED_API=0x030a0000\n"
    "and in setup.py:\n"
    "    Extension(..., py_limited_api=True)\n"
    "For abi3t define Py_TARGET_ABI3T too, and export PyModExport_NAME instead of PyInit_NAME"
    " (PEP 793). Or build one wheel per Python version, each tagged for it.",
)
def abi3_violation(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report imports that the limited API does not have.

    A warning if a library from another package that is made for Python may provide the names:
    the libraries of binding generators have functions named like CPython's.
    """
    claims = subject.claims
    if not claims_abi3(claims):
        return
    violating = [item for item in subject.libraries if item.python.violations]
    for helped in (False, True):
        users = [item for item in violating if bool(_python_helper(item)) is helped]
        helpers = join({_python_helper(item) or "" for item in users})
        perhaps = f", unless {helpers} has them" if helped else ""
        if users:
            yield Hit(
                "{libraries:import} {evidence:symbol} outside CPython's stable ABI, but the wheel"
                f" is tagged {_stable_tag(subject)}{perhaps}",
                libraries=unique(item.path for item in users),
                evidence=of_libraries((i.path, symbols(i.python.violations)) for i in users),
                fix=f"build with -DPy_LIMITED_API={limited_api(oldest_python(subject))} and"
                " py_limited_api=True, or build one wheel per Python version",
                severity=Severity.WARNING if helped else None,
            )
    opaque = [i for i in subject.libraries if claims_abi3t(claims) and i.python.opaque]
    if opaque:
        hook = join({name.replace("PyInit", "PyModExport", 1) for name in _hooks_of(opaque)})
        gil_too = any(tag.abi == "abi3" for tag in claims.tags)
        yield Hit(
            "{libraries:call} {evidence:function} of PyModuleDef, which is opaque in abi3t, but the"
            " wheel is tagged abi3t",
            libraries=unique(item.path for item in opaque),
            evidence=of_libraries((item.path, symbols(item.python.opaque)) for item in opaque),
            fix=Fix(
                f"export {hook or 'a PyModExport hook'} (PEP 793) and build with"
                " -DPy_TARGET_ABI3T=0x030f0000, or leave abi3t out of the tag",
                # A library built for abi3 stays valid for it.
                retag(subject, abis={tag.abi for tag in claims.tags} - {"abi3t"})
                if gil_too
                else None,
            ),
        )


def _hooks_of(items: Iterable[LibraryAudit]) -> set[str]:
    return {name for item in items for name in hooks(item.library)}


def _stable_tag(subject: Subject) -> str:
    """Return the tags of the stable ABI, without the platform: ``cp315-abi3.abi3t``."""
    return python_tag(tag for tag in subject.claims.tags if tag.abi in STABLE_ABIS)


def _python_helper(item: LibraryAudit) -> str | None:
    """Return a needed library from another package that its name says is made for Python."""
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
    "an abi3 wheel allows Python versions older than the stable ABI that its libraries need",
    why="Installers offer the wheel to every Python from the tagged version on that Requires-Python"
    " allows. The older ones lack a symbol, and `import` fails.",
    fix="Tag the wheel for the oldest Python that has all of its imports, in setup.cfg or"
    " pyproject.toml:\n"
    "    [tool.distutils.bdist_wheel]\n"
    '    py_limited_api = "cp311"\n'
    "or exclude the older ones:\n"
    '    requires-python = ">=3.11"\n'
    "or let the compiler reject what is newer:\n"
    "    -DPy_LIMITED_API=0x030a0000\n"
    "abi3t starts with Python 3.15. For older free-threaded Python build wheels of their own"
    " (cp314-cp314t).",
)
def abi3_floor_understated(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report Python versions that installers may choose but whose stable ABI is too old."""
    claims = subject.claims
    allowed = admitted_pythons(claims)
    if not claims_abi3(claims) or not allowed:
        return
    oldest = allowed[0]
    floors = {
        item.path: item.python.floor
        for item in subject.libraries
        if item.python.floor is not None and item.python.floor > oldest
    }
    if floors:
        floor = max(floors.values())
        users = [item for item in subject.libraries if floors.get(item.path)]
        yield Hit(
            f"{{libraries:need}} the stable ABI of Python {floor}, but the tags and"
            f" Requires-Python allow {oldest}",
            libraries=tuple(floors),
            evidence=of_libraries((item.path, _of_floor(item)) for item in users),
            fix=_newer_tag(subject, users, oldest, floor),
        )
        return
    early = [
        build
        for build in admitted_interpreters(claims)
        if claims_abi3t(claims) and build.free_threaded and build.python < ABI3T_SINCE
    ]
    free = [item.path for item in subject.libraries if item.python.abi is not PythonAbi.NONE]
    if early and free:
        tag = f"{cp(ABI3T_SINCE)}-{'.'.join(sorted({tag.abi for tag in claims.tags}))}"
        yield Hit(
            f"the tags allow free-threaded Python {early[0].python}, but abi3t starts with"
            f" {ABI3T_SINCE} (PEP 803)",
            libraries=unique(free),
            fix=f"build with -DPy_TARGET_ABI3T={limited_api(ABI3T_SINCE)}, and tag the wheel {tag}",
        )


def _of_floor(item: LibraryAudit) -> list[Evidence]:
    """Return what sets a library's floor: its imports, its hook, or its name."""
    named = basename(item.path)
    return [
        Evidence(EvidenceKind.FILE if name == named else EvidenceKind.SYMBOL, name)
        for name in item.python.floor_symbols
    ]


def _newer_tag(
    subject: Subject, users: Sequence[LibraryAudit], oldest: PythonVersion, floor: PythonVersion
) -> Fix:
    """Return the fix that tags the wheel for the Python that it needs."""
    tag = f"{cp(floor)}-{'.'.join(sorted({tag.abi for tag in subject.claims.tags}))}"
    hooked = [item for item in users if not _imports_what_sets_its_floor(item)]
    ways = []
    if len(hooked) < len(users):
        ways.append(f"build with -DPy_LIMITED_API={limited_api(oldest)}")
    if hooked:
        inits = {name.replace("PyModExport", "PyInit", 1) for name in _hooks_of(hooked)}
        ways.append(f"export {join(inits)} too")
    # No older Python has abi3t.
    older = claims_abi3t(subject.claims)
    keep = "" if older else f", or {' and '.join(ways)} to keep Python {oldest}"
    return Fix(f"tag the wheel {tag}{keep}", retag(subject, pythons=[cp(floor)]))


def _imports_what_sets_its_floor(item: LibraryAudit) -> bool:
    """Whether a library's floor comes from its imports, not from its hook or its name."""
    imported = {symbol.name for symbol in item.library.imports}
    return imported.issuperset(item.python.floor_symbols)


@rule(
    "abi3-suffix",
    Severity.ERROR,
    "an extension's filename is not importable by every Python version the wheel's tags promise",
    why="Python looks for modules by suffix: `.cpython-310-x86_64-linux-gnu.so` is a module for"
    " 3.10 only, `.abi3.so` is not one for free-threaded 3.15, and `.abi3.pyd` is never one. The"
    " wheel installs, but `import` finds no such module.",
    fix="Name it .abi3.so on Linux and macOS and .pyd on Windows, as setuptools does with\n"
    "    Extension(..., py_limited_api=True)\n"
    "If it is for free-threaded Python 3.15 and newer too, name it .abi3t.so (meson-python does for"
    " abi3t; with setuptools rename it after the build).",
)
def abi3_suffix(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report modules that some of the Python versions in the tags can't find.

    A warning if nothing needs to break: the module exists under another name for them, or it
    imports nothing from the C API, so it is not a working module.
    """
    if not claims_abi3(subject.claims):
        return
    found: dict[tuple[bool, str], list[LibraryAudit]] = defaultdict(list)
    unfound_by: dict[tuple[bool, str], set[Interpreter]] = defaultdict(set)
    for item, without, others in _unfound(subject):
        if is_for_abi3t(item.path) and claims_abi3t(subject.claims):
            continue  # the tag is wrong, not the name: Python before 3.15 has no abi3t
        missing = [build for build in without if build not in others]
        harmless = not missing or item.python.abi is PythonAbi.NONE
        suffix = ".abi3t.so" if claims_abi3t(subject.claims) else ".abi3.so"
        suffix = ".pyd" if item.library.format is Format.PE else suffix
        found[harmless, suffix].append(item)
        unfound_by[harmless, suffix] |= set(missing or without)
    for (harmless, suffix), items in found.items():
        # equivalent: there is no more than one then
        stem = basename(items[0].path).partition(".")[0] if len(items) == 1 else ""
        name = f"name it {stem}{suffix}" if stem else f"use the suffix {suffix}"
        python = min(unfound_by[harmless, suffix])
        yield Hit(
            f"{{libraries:have}} a filename that Python {python} can't import, but the wheel is"
            f" tagged {_stable_tag(subject)}",
            libraries=unique(item.path for item in items),
            fix=name if suffix == ".abi3t.so" else f"{name}, as py_limited_api=True does",
            severity=Severity.WARNING if harmless else None,
        )


@rule(
    "unimportable-extension",
    Severity.ERROR,
    "none of the Python versions the tags allow can import this extension",
    why="The suffix of a module names the Python and the machine that can import it, and PyInit_ or"
    " PyModExport_ is the function that Python calls. A wheel for cp312 with a module for cp310, or"
    " for aarch64, installs, but `import` finds no such module.",
    fix="Build with the Python that the tag names, in a clean build folder: modules of an earlier"
    " build are a common cause.\n"
    "    rm -rf build && python -m build --wheel\n"
    "When cross-compiling set the suffix: SETUPTOOLS_EXT_SUFFIX, or _PYTHON_HOST_PLATFORM.",
)
def unimportable_extension(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report modules that nothing can import in a wheel for certain Python versions.

    A warning if the module also exists under a name that they look for.
    """
    interpreters = admitted_interpreters(subject.claims)
    if claims_abi3(subject.claims) or not interpreters:
        return
    yield from _misnamed(subject, interpreters)
    strangers = [
        item
        for item in subject.libraries
        if item.kind is LibraryKind.EXTENSION and not is_module_name(item.path, item.library)
    ]
    if strangers:
        yield Hit(
            "{libraries:export} a module's init hook, but the filename is not that of a module",
            libraries=unique(item.path for item in strangers),
            fix="name modules .pyd on Windows, and .so elsewhere",
            severity=Severity.NOTE,  # some are deliberately loaded by their path
        )
    newer = [item for item in subject.libraries if only_new_hooks(item.library)]
    if newer and interpreters[-1].python < EXPORT_HOOK_SINCE:
        hook = join({name.replace("PyModExport", "PyInit", 1) for name in _hooks_of(newer)})
        yield Hit(
            f"{{libraries:export}} only a hook that Python {EXPORT_HOOK_SINCE} and newer call, but"
            f" the tags allow {_builds(interpreters)}",
            libraries=unique(item.path for item in newer),
            evidence=of_libraries((i.path, symbols(only_new_hooks(i.library))) for i in newer),
            fix=f"export {hook} too (PEP 793)",
        )


def _misnamed(subject: Subject, interpreters: Sequence[Interpreter]) -> Iterator[Hit]:
    """Report modules in files that none, or not all, of the Python versions look for."""
    found: dict[bool, list[str]] = {False: [], True: []}
    lacking: dict[bool, set[Interpreter]] = {False: set(), True: set()}
    for item, without, others in _unfound(subject):
        missing = [build for build in without if build not in others]
        if missing or set(without) == set(interpreters):
            found[not missing].append(item.path)
            lacking[not missing] |= set(missing or without)
    for harmless, paths in found.items():
        if not paths:
            continue
        builds = sorted(lacking[harmless])
        who = f"Python {_builds(builds)} can't import, but the tags allow it"
        if len(builds) == len(interpreters):
            who = f"no Python allowed by the tags ({_builds(builds)}) can import"
        archs = join({i.library.arch for i in subject.libraries if i.path in paths})
        yield Hit(
            f"{{libraries:have}} a filename that {who}",
            libraries=unique(paths),
            fix=f"build with Python {_builds(builds)} for {archs}, in a clean build folder",
            severity=Severity.WARNING if harmless else None,
        )


def _builds(interpreters: Iterable[Interpreter]) -> str:
    """Return builds of CPython in short form."""
    return pythons(map(str, interpreters), ANY_LATER.minor)


def _is_for_musl(path: str, tags: Iterable[str]) -> bool:
    """Whether a suffix names musl, and the tags another C library."""
    return "-linux-musl" in basename(path) and all(tag.startswith("manylinux") for tag in tags)


def _unfound(
    subject: Subject,
) -> Iterator[tuple[LibraryAudit, list[Interpreter], list[Interpreter]]]:
    """Yield extensions with the allowed builds that do not look for them.

    Also with the builds that find the module in another file.
    """
    interpreters = admitted_interpreters(subject.claims)
    tags = [tag.platform for tag in subject.claims.tags]
    # The slices of a universal file are one module. A file not named as one is loaded by
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
            kin = [path for path in found if module_name(path) == module_name(item.path)]
            yield item, without, [build for path in kin for build in found[path]]


@rule(
    "python-api-in-none-wheel",
    Severity.ERROR,
    "the ABI tag is `none`, but an extension uses CPython's C API",
    why="The ABI tag `none` promises that the wheel does not use CPython's C API, so that every"
    " interpreter of that version may install it: free-threaded builds, PyPy, and with py3 every"
    " later CPython. A library that imports the C API only works on some of them.",
    fix="Tag the wheel for what it uses: cp310-abi3 for the stable ABI, or cp312-cp312 for one"
    " version, with one wheel per Python version. For abi3 build it so:\n"
    "    -DPy_LIMITED_API=0x030a0000\n"
    "    Extension(..., py_limited_api=True)",
)
def python_api_in_none_wheel(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report uses of the C API in a wheel for every interpreter.

    A warning for `cp312-none`, which only CPython 3.12 installs (and its free-threaded build, if
    there is one), and for libraries that Python does not import. Also if a module's name lets only
    one Python import it, and the wheel has it for several, or is for any platform with something
    for several systems: other interpreters do without it.
    """
    none_tags = [tag for tag in subject.claims.tags if tag.abi == "none"]
    users = [item for item in subject.libraries if item.python.abi is not PythonAbi.NONE]
    if not none_tags:
        return
    generic = [tag for tag in none_tags if tag.interpreter.startswith("py")]
    tags = python_tag(generic or none_tags)
    for_any = any(tag.platform == "any" for tag in none_tags)
    several = for_any and len({item.library.system for item in subject.libraries}) > 1
    modules = Counter(map(module_name, {item.path for item in subject.libraries}))
    harmless = {
        item.path
        for item in users
        if not generic
        or item.kind is not LibraryKind.EXTENSION
        or (is_for_one_build(item.path) and (several or modules[module_name(item.path)] > 1))
    }
    fix = _tag_with_abi(subject, users)
    for severity, found in (
        (None, [item for item in users if item.path not in harmless]),
        (Severity.WARNING, [item for item in users if item.path in harmless]),
    ):
        if found:
            yield Hit(
                f"{{libraries:use}} CPython's C API, but the tag {tags} says that no Python ABI is"
                " needed",
                libraries=unique(item.path for item in found),
                evidence=of_libraries((item.path, _use_of_python(item)) for item in found),
                fix=fix,
                severity=severity,
            )


def _use_of_python(item: LibraryAudit) -> tuple[Evidence, ...]:
    use = item.python
    return symbols(use.violations or use.floor_symbols) or libraries(use.linked)


def _tag_with_abi(subject: Subject, users: Sequence[LibraryAudit]) -> Fix:
    """Return the fix for a wheel that is tagged as if it did not use the C API.

    Changing only the tag is right if the modules were built for one Python, according to their
    names, what they link to, or the tag, or if they were built for the stable ABI.
    """
    tagged = {tag.interpreter for tag in subject.claims.tags}
    builds = {build for item in users for build in _built_for(item)}
    modules = [item for item in users if item.kind is LibraryKind.EXTENSION]
    if len(builds) == 1 and all(map(_built_for, modules)):
        (build,) = builds
        python = cp(build.python)
        abi = f"{python}{'t' if build.free_threaded else ''}"
        fits = build.python in admitted_pythons(subject.claims)
        change = retag(subject, pythons=[python], abis=[abi]) if fits else None
        return Fix(f"tag the wheel {python}-{abi}", change)
    # equivalent: there is at most one then
    if len(tagged) == 1 and not builds and all(name[:2] == "cp" for name in tagged):
        (python,) = tagged
        return Fix(f"tag the wheel {python}-{python}", retag(subject, abis=[python]))
    if all(item.python.floor is not None for item in users):
        return stable_abi_fix(subject, users)
    oldest = min((build.python for build in builds), default=oldest_python(subject))
    return Fix(
        "build one wheel per Python version, each tagged for it:"
        f" {cp(oldest)}-{cp(oldest)} for {oldest} and so on"
    )


def _built_for(item: LibraryAudit) -> set[Interpreter]:
    """Return the builds of CPython that a library is tied to, by its name or what it links to."""
    named = build_named_by(item.path)
    found = {named} if named else set()
    for version in item.python.linked.values():
        number = version.removesuffix("t")
        if re.fullmatch(r"3\.\d+", number):
            minor = int(number.partition(".")[2])
            found.add(Interpreter(PythonVersion(3, minor), version.endswith("t")))
    return found


@rule(
    "versioned-python-library",
    Severity.ERROR,
    "a library links to a version-specific libpython that some of the tagged Python versions do not"
    " ship",
    why="A library that names python312.dll or libpython3.12.so only loads where that very library"
    " is. Other Python versions do not have it, and many interpreters on Linux and macOS have no"
    " shared libpython at all.",
    fix="On Windows link to python3.dll, which\n"
    "    -DPy_LIMITED_API=0x030a0000\n"
    "chooses by itself. Elsewhere do not link to libpython: the interpreter provides its symbols."
    " In CMake link to Python::SABIModule for abi3 and Python::Module for one version, never to"
    " Python::Python.",
)
def versioned_python_library(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report links to CPython's libraries that do not exist wherever the wheel can be installed.

    Another rule covers wheels with the ABI tag `none`. Except on Windows it is a warning even
    if the version matches: many interpreters have no shared library.
    """
    yield from _second_interpreter(subject)
    claims = subject.claims
    interpreters = admitted_interpreters(claims)
    # Linked libraries that some Python allowed by the tags lacks, by whether they are Windows DLLs.
    missing: dict[bool, dict[str, list[str]]] = {False: {}, True: {}}
    lacking: dict[bool, list[tuple[str, Interpreter]]] = {False: [], True: []}
    present: dict[str, list[str]] = {}
    for item in subject.libraries:
        linked = {n: v for n, v in item.python.linked.items() if library_name(n) not in item.own}
        without = [
            (name, interpreter)
            for name, version in linked.items()
            for interpreter in interpreters
            if version not in _python_libraries(interpreter)
        ]
        on_windows = item.library.format is Format.PE
        if without:
            missing[on_windows][item.path] = [name for name, _ in without]
            lacking[on_windows] += without
        elif linked and interpreters and item.library.system in _OFTEN_STATIC:
            present[item.path] = list(linked)
    for on_windows, found in missing.items():
        if found:
            name, interpreter = lacking[on_windows][0]
            yield Hit(
                f"{{libraries:link}} to {basename(name)}, but Python {interpreter}, allowed by the"
                " tags, does not ship it",
                libraries=tuple(found),
                evidence=of_libraries((path, libraries(names)) for path, names in found.items()),
                fix=_windows_library(subject, interpreters) if on_windows else _NO_LIBPYTHON,
            )
    if present:
        names = join({basename(name) for of_item in present.values() for name in of_item})
        yield Hit(
            f"{{libraries:link}} to {names}, but many interpreters are built without a shared"
            " libpython",
            libraries=tuple(present),
            evidence=of_libraries((path, libraries(names)) for path, names in present.items()),
            fix=_NO_LIBPYTHON,
            severity=Severity.WARNING,
        )


_NO_LIBPYTHON = "do not link to libpython: the interpreter provides its symbols"


def _windows_library(subject: Subject, interpreters: Sequence[Interpreter]) -> str:
    """Say which of CPython's DLLs to link to."""
    build = interpreters[0]
    letter = "t" if build.free_threaded else ""
    if claims_abi3(subject.claims):
        macro = "Py_TARGET_ABI3T" if letter else "Py_LIMITED_API"
        oldest = limited_api(oldest_python(subject))
        return f"link to python3{letter}.dll: build with -D{macro}={oldest}"
    dll = f"python{build.python.major}{build.python.minor}{letter}.dll"
    return f"link to {dll}: build with Python {build}"


def _second_interpreter(subject: Subject) -> Iterator[Hit]:
    """Report a libpython in the wheel that the wheel's libraries link to."""
    carried = unique(
        item.path
        for item in subject.libraries
        if item.library.format is Format.MACHO and python_library(basename(item.path))
    )
    names = {library_name(path) for path in carried}
    linking = [
        item.path
        for item in subject.libraries
        if not names.isdisjoint(map(library_name, item.python.linked))
    ]
    if linking and subject.claims.name != "torch":
        yield Hit(
            "{libraries:link} to the bundled libpython: a second interpreter, never initialized,"
            " next to the running one",
            libraries=unique(linking),
            evidence=files(carried),
            fix=f"leave {join(map(basename, carried))} out of the wheel: the interpreter provides"
            " its symbols",
            severity=Severity.WARNING,
        )


def _python_libraries(interpreter: Interpreter) -> frozenset[str]:
    """Return which of CPython's libraries a build ships, as `python_library` names them.

    Since 3.15 every build also ships the one for abi3t (PEP 803).
    """
    letter = "t" if interpreter.free_threaded else ""
    names = {str(interpreter), f"3{letter}"}
    return frozenset(names | {"3t"} if interpreter.python >= ABI3T_SINCE else names)

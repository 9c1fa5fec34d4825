"""The builds: each a project with what the audit has to say of it, and the fixes it names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from packaging.version import Version

from tests.builds.projects import Backend, Extension, Project
from torch_abi_audit import Verdict

SCALE = {"torch.ops.scaled.scale": [[3.0, 6.0], [9.0, 12.0]]}
SHIFT = {"torch.ops.scaled.shift": [[4.0, 5.0], [6.0, 7.0]]}
_BOUND = {"scaled._C.shift": [[4.0, 5.0], [6.0, 7.0]]}
# Findings of every build: the metadata names no release, no repair tool ran, and the compiler is
# newer than the systems that some tags allow.
_UNDERSTATED = "torch-floor-understated"
_UNPINNED = "torch-unpinned"
_UNSTABLE = "unstable-torch-symbol"
_TAG = "refused-filename"
_LEAKED = "leaked-libstdcxx-symbol"
_EXCLUDING = ("--exclude", "libtorch*", "--exclude", "libc10*")
_FOUND = """libraries = []
foreach name : ['c10', 'torch', 'torch_cpu']
  libraries += cpp.find_library(name, dirs: torch / 'lib')
endforeach
"""
_NAMED = """libraries = declare_dependency(
  link_args: ['-L' + torch / 'lib', '-lc10', '-ltorch', '-ltorch_cpu'],
)
"""
_FIRST_STABLE = Version("2.9")
_FIRST_TARGETED = Version("2.10")


@dataclass(frozen=True)
class Change:
    """A fix that a report names, and what it is in the project.

    Attributes:
        rule: The rule whose finding names it.
        fix: What the finding says.
        project: The project with it.
        refused: The project as it was, with the options that the fix adds: what the compiler must
            refuse then, where the fix says so.
    """

    rule: str
    fix: str
    project: Project
    refused: Project | None = None


@dataclass(frozen=True)
class Case:
    """A build.

    Attributes:
        name: A slug.
        project: What its author wrote first.
        rules: Those with findings in its report.
        calls: What to call, and what it must return.
        verdict: What its wheel is.
        changes: The fixes of the build that its report names, done one after the other.
        passes: What the wheel is with these, and with the metadata that the report gives.
        rules_fixed: The rules with findings then.
        target: The release that the wheel must not need a newer one than.
    """

    name: str
    project: Project
    rules: frozenset[str]
    calls: Mapping[str, object] = field(default_factory=lambda: SCALE)
    verdict: Verdict = Verdict.UNSAFE
    changes: tuple[Change, ...] = ()
    passes: Verdict = Verdict.SAFE
    rules_fixed: frozenset[str] = frozenset({_TAG, _LEAKED})
    target: str | None = None


def stable(target: str | None, *sources: str, **more: object) -> Project:
    """Return a project of one library on the stable ABI."""
    extension = Extension(sources or ("stable.cpp",), target=target)
    return replace(Project((extension,)), **more)  # type: ignore[arg-type]


def changed(project: Project, **more: object) -> Project:
    """Return a project with another first library."""
    first, *others = project.extensions
    return replace(project, extensions=(replace(first, **more), *others))  # type: ignore[arg-type]


def cases(release: str) -> Iterable[Case]:
    """Return the builds with a release of torch, which may name a build: `2.13.0+cpu`."""
    version = Version(release)
    minor = f"{version.major}.{version.minor}"
    targeted = Version(minor) >= _FIRST_TARGETED
    # The oldest target, and none where the headers do not know the macro.
    target = "2.10" if targeted else None
    plain = frozenset({_UNDERSTATED, _TAG, _LEAKED})
    if targeted:
        for number in range(_FIRST_STABLE.minor, version.minor + 1):
            oldest = f"2.{number}"
            yield Case(f"stable-{oldest}", stable(oldest), plain, target=oldest)
        # The headers know no newer ABI than their own, and do not say so.
        newer = stable(f"2.{version.minor + 1}")
        yield Case("over-targeted", newer, plain, target=minor)
    yield Case("stable-newest", stable(None), plain)
    module = stable(target, "stable.cpp", "module.cpp", is_module=True)
    yield Case("module", module, plain)
    yield from _of_the_unstable_abi(target)
    yield from _of_the_linker(target)
    if version.local == "cpu":  # of other builds `find_package(Torch)` requires CUDA's compiler
        yield from _of_cmake(target)
    yield _of_meson(target)


def _of_the_unstable_abi(target: str | None) -> Iterable[Case]:
    """Yield builds of which some code is not on the stable ABI."""
    unstable = Extension(("unstable.cpp",))
    pinned = frozenset({_UNSTABLE, _TAG})
    yield Case(
        "unstable",
        Project((unstable,)),
        frozenset({_UNSTABLE, _UNPINNED, _TAG}),
        SHIFT,
        passes=Verdict.PINNED,
        rules_fixed=pinned,
    )
    pybind = Extension(("pybind.cpp",), py_limited_api=False)
    yield Case(
        "pybind",
        Project((pybind,), is_module=True, abi3=False),
        frozenset({_UNSTABLE, _UNPINNED, _TAG, _LEAKED, "links-torch-python"}),
        _BOUND,
        passes=Verdict.PINNED,
        rules_fixed=pinned | {_LEAKED, "links-torch-python"},
    )
    ported = Extension(("stable.cpp",), target=target)
    mixed = Project((ported, replace(unstable, name="_unported")))
    yield Case(
        "mixed",
        mixed,
        frozenset({_UNSTABLE, _UNPINNED, _TAG, _LEAKED}),
        SCALE | SHIFT,
        passes=Verdict.PINNED,
        rules_fixed=pinned | {_LEAKED},
    )
    leftover = stable(None, "leftover.cpp")
    use = "use torch::stable and torch::headeronly, and build with -DTORCH_TARGET_VERSION"
    yield Case(
        "leftover",
        leftover,
        frozenset({_UNSTABLE, _UNPINNED, _TAG, _LEAKED}),
        changes=(
            Change(
                _UNSTABLE, use, stable(target), changed(leftover, target=target) if target else None
            ),
        ),
    )
    # Optimised, no trace of it is left, and it is the wheel's own code.
    yield Case("inlined", stable(None, "inlined.cpp"), frozenset({_UNDERSTATED, _TAG, _LEAKED}))
    debug = changed(stable(None, "inlined.cpp"), flags=("-O0",))
    yield Case(
        "inlined-debug",
        debug,
        frozenset({_UNDERSTATED, _TAG, _LEAKED, "unstable-inline-code"}),
        changes=(
            Change(
                "unstable-inline-code",
                "build with -DTORCH_TARGET_VERSION, which makes the compiler reject these headers",
                changed(stable(target), flags=("-O0",)),
                changed(debug, target=target) if target else None,
            ),
        ),
    )


def _of_the_linker(target: str | None) -> Iterable[Case]:
    """Yield builds that differ in what is linked, and what a repair tool made of them."""
    plain = frozenset({_UNDERSTATED, _TAG, _LEAKED})
    # Some compilers leave out libraries that nothing is used of; those of manylinux do not.
    keeping = stable(target, ldflags="-Wl,--no-as-needed")
    python = changed(keeping, py_limited_api=False)
    yield Case(
        "torch-python",
        python,
        plain | {"links-torch-python"},
        changes=(
            Change(
                "links-torch-python",
                "leave torch_python out of `libraries`, or build with py_limited_api=True",
                keeping,
            ),
        ),
    )
    yield Case(
        "wrong-order",
        stable(target),
        plain,
        changes=(
            Change(
                _LEAKED,
                'put libstdc++ first on the link line: CppExtension(..., libraries=["stdc++"])',
                changed(stable(target), libraries=("stdc++",)),
            ),
        ),
        rules_fixed=frozenset({_TAG}),
    )
    yield Case(
        "repaired-excluding",
        stable(target, auditwheel=_EXCLUDING),
        frozenset({_UNDERSTATED}),
        rules_fixed=frozenset(),
    )
    yield Case(
        "repaired-bundling",
        stable(target, auditwheel=()),
        frozenset({_UNDERSTATED, "bundled-libtorch"}),
        changes=(
            Change(
                "bundled-libtorch",
                "exclude them from the repair step: auditwheel repair --exclude 'libtorch*'"
                " --exclude 'libc10*'",
                stable(target, auditwheel=_EXCLUDING),
            ),
        ),
        rules_fixed=frozenset(),
    )


def _of_cmake(target: str | None) -> Iterable[Case]:
    """Yield builds with CMake."""
    plain = frozenset({_UNDERSTATED, _TAG, _LEAKED})
    path = "runpath-outside-wheel"
    cmake = stable(target, backend=Backend.CMAKE)
    yield Case(
        "cmake",
        cmake,
        plain,
        changes=(
            Change(
                _TAG,
                "run `auditwheel repair --exclude 'libtorch*' --exclude 'libc10*'` to get a"
                " manylinux tag",
                replace(cmake, auditwheel=_EXCLUDING),
            ),
        ),
        rules_fixed=frozenset(),
    )
    use_link_path = "set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)"
    yield Case(
        "cmake-link-path",
        replace(cmake, settings=use_link_path),
        plain | {path},
        changes=(
            Change(
                path,
                "set a search path relative to the library, $ORIGIN",
                replace(cmake, settings="set(CMAKE_INSTALL_RPATH $ORIGIN)"),
            ),
        ),
    )
    unstable = Extension(("unstable.cpp",))
    yield Case(
        "cmake-unstable",
        Project((unstable,), backend=Backend.CMAKE),
        frozenset({_UNSTABLE, _UNPINNED, _TAG}),
        SHIFT,
        passes=Verdict.PINNED,
        rules_fixed=frozenset({_UNSTABLE, _TAG}),
    )


def _of_meson(target: str | None) -> Case:
    """Return a build with Meson."""
    # The search path of what Meson has found stays in what is installed.
    path = "runpath-outside-wheel"
    meson = stable(target, backend=Backend.MESON, settings=_FOUND)
    return Case(
        "meson",
        meson,
        frozenset({_UNDERSTATED, _TAG, _LEAKED, path, "tag-overspecific"}),
        changes=(
            Change(
                path,
                "set a search path relative to the library, $ORIGIN",
                replace(meson, settings=_NAMED),
            ),
        ),
        rules_fixed=frozenset({_TAG, _LEAKED, "tag-overspecific"}),
    )

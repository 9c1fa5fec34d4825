"""What a user is told to do about a package, and what an environment comes to."""

from __future__ import annotations

from dataclasses import replace

import pytest
from packaging.version import Version

from tests.builders import CATALOG, claims, library, subject
from torch_abi_audit.model import (
    BuildSource,
    BuildUse,
    BuiltWith,
    Cause,
    Cell,
    Conclusion,
    Environment,
    Floor,
    LayoutChange,
    LayoutStatus,
    Reason,
    ReleaseStatus,
    Sign,
    Subject,
)
from torch_abi_audit.verdict.environment import (
    PackageOutcome,
    conclude_environment,
    good_releases,
    remedy,
    with_failure,
)

TORCH = ("libtorch_cpu.so",)
STABLE = library("torch_ten", needed=TORCH)
SYMBOL = Reason(Cause.SYMBOL, "_ZN2at3newEv", "not in torch 2.9.0")
CUDA = Reason(Cause.LIBRARY, "libc10_cuda.so", "torch 2.10.0 is built without CUDA")
BROKEN = Cell(ReleaseStatus.BREAKS, (SYMBOL,))
FINE = Cell(ReleaseStatus.LINKS)
CHANGED_LATER = library("_ZN2at6changeEi", needed=TORCH)  # up to 2.9.1
NEW = library("_ZN2at3newEv", needed=TORCH)  # in 2.10 and 2.11


def told(item: Subject, cell: Cell, torch: str) -> tuple[str, str | None] | None:
    found = remedy(item, cell, Version(torch), CATALOG)
    return None if found is None else (found.why, found.command)


def test_what_loads_needs_nothing() -> None:
    item = subject({"a.so": STABLE}, claims(torch=("torch>=2.10",)))
    assert told(item, FINE, "2.10.0") is None
    assert told(item, replace(FINE, layout=LayoutStatus.UNKNOWN), "2.10.0") is None


@pytest.mark.parametrize(
    ("torch", "why", "command"),
    [
        ((), "x 1.0 does not load with torch 2.9.0: at::new() (not in torch 2.9.0)", "2.11"),
        (
            ("torch==2.10.*",),
            (
                "x 1.0 requires torch==2.10.* and does not load with torch 2.9.0: at::new() (not in"
                " torch 2.9.0)"
            ),
            "2.10",
        ),
    ],
)
def test_which_torch_to_install(torch: tuple[str, ...], why: str, command: str) -> None:
    """The newest that suits it, of those that it allows."""
    item = subject({"a.so": NEW}, claims(torch=torch))
    assert told(item, BROKEN, "2.9.0") == (why, f'pip install "torch=={command}.*"')


def test_a_torch_that_is_too_old_for_the_stable_abi() -> None:
    item = subject({"a.so": STABLE}, claims())
    why = "x 1.0 does not load with torch 2.9.0: torch 2.10 or newer is needed for torch_ten"
    assert told(item, BROKEN, "2.9.0") == (why, 'pip install "torch==2.11.*"')


def test_a_torch_without_cuda() -> None:
    """Of the same release, if the package loads on the build that the index has of it."""
    cell = Cell(ReleaseStatus.BREAKS, (CUDA,))
    item = subject({"a.so": STABLE}, claims(torch=("torch>=2.10",)))
    said = (
        "x 1.0 does not load with torch 2.10.0+cpu: libc10_cuda.so (torch 2.10.0 is built without"
    )
    assert told(item, cell, "2.10.0+cpu") == (
        f"{said} CUDA); install the build with CUDA from PyPI",
        "pip install --force-reinstall torch==2.10.0",
    )
    # Where that build does not suit it either, it says so.
    old = subject({"a.so": CHANGED_LATER}, claims())
    assert told(old, cell, "2.10.0+cpu") == (
        (
            f"{said} CUDA); nor does it load with the build on PyPI: at::change(int) (last in torch"
            " 2.9.1)"
        ),
        'pip install "torch==2.9.*"',
    )
    # Another that is not to be had in that release is no cause for installing it again.
    symbol = Cell(ReleaseStatus.BREAKS, (SYMBOL,))
    found = told(item, symbol, "2.10.0+cpu")
    assert found is not None
    assert found[1] == 'pip install "torch==2.11.*"'


def test_a_package_for_another_build_of_torch() -> None:
    """The build that it is for: that on PyPI may have another CUDA."""
    cell = Cell(ReleaseStatus.BREAKS, (CUDA,))
    build = BuildUse("cu128", BuildSource.VERSION)
    item = replace(subject({"a.so": STABLE}, claims(torch=("torch>=2.10",))), build=build)
    said = "it is for torch's cu128 builds"
    for torch, release in (("2.10.0+cpu", "2.10.0"), ("2.9.0", "2.11.0")):
        found = told(item, cell, torch)
        assert found is not None
        assert found[0].endswith(f"; {said}")
        assert found[1] == f"pip install --force-reinstall torch=={release}+cu128"
    never = subject({"a.so": library("_ZN2at5neverEv", needed=TORCH)}, claims())
    found = told(replace(never, build=build), BROKEN, "2.9.0")
    assert found is not None
    assert (found[0].endswith("; no release of torch's cu128 builds suits it"), found[1]) == (
        True,
        None,
    )


def test_a_package_that_nothing_suits() -> None:
    item = subject({"a.so": library("_ZN2at5neverEv", needed=TORCH)}, claims())
    found = told(item, BROKEN, "2.9.0")
    assert found is not None
    assert (found[0].endswith("; no torch release on PyPI suits it"), found[1]) == (True, None)


def test_layouts_that_changed() -> None:
    change = LayoutChange("c10::Thing", "8 to 16 bytes", Version("2.11.0"), grave=True)
    cell = Cell(ReleaseStatus.LINKS, (), LayoutStatus.CHANGED, (change,))
    item = subject({"a.so": NEW}, claims())
    row = {**item.matrix.row, Version("2.11.0"): cell}
    built = {"a.so": BuiltWith((Version("2.10.0"),), Sign.ASSERTIONS)}
    item = replace(item, matrix=replace(item.matrix, row=row), built=built)
    assert told(item, cell, "2.11.0") == (
        (
            "x 1.0 loads with torch 2.11.0, but was built with torch 2.10: c10::Thing changed (8 to"
            " 16 bytes since 2.11.0); expect wrong results or crashes"
        ),
        'pip install "torch==2.10.*"',
    )


def test_of_several_reasons_the_first_is_told() -> None:
    other = Reason(Cause.SYMBOL, "_ZN2at5neverEv", "in no torch")
    item = subject({"a.so": NEW}, claims(torch=("torch>=2.10",)))
    why = "x 1.0 requires torch>=2.10 and does not load with torch 2.9.0:"
    for reasons, first in (
        ((SYMBOL, other), "at::new() (not in torch 2.9.0)"),
        ((other, SYMBOL), "at::never() (in no torch)"),
    ):
        found = told(item, Cell(ReleaseStatus.BREAKS, reasons), "2.9.0")
        assert found is not None
        assert found[0] == f"{why} {first}"
    changes = tuple(
        LayoutChange(f"c10::{name}", "8 to 16 bytes", Version("2.11.0"), grave=True)
        for name in ("First", "Second")
    )
    found = told(item, Cell(ReleaseStatus.LINKS, (), LayoutStatus.CHANGED, changes), "2.11.0")
    assert found is not None
    assert "built with another torch: c10::First changed" in found[0]
    item = subject({"a.so": STABLE}, claims())
    floor = Floor(Version("2.10.0"), ("torch_a", "torch_b"))
    vars(item).update(torch_floor=floor)  # in place of what its library needs
    found = told(item, BROKEN, "2.9.0")
    assert found is not None
    assert found[0].endswith("torch 2.10 or newer is needed for torch_a")


def test_what_is_required_is_told_where_the_installed_torch_is_another() -> None:
    def why(torch: str, *required: str) -> str:
        found = told(subject({"a.so": NEW}, claims(torch=required)), BROKEN, torch)
        assert found is not None
        return found[0]

    assert why("2.9.0", "torch>=2.10").startswith("x 1.0 requires torch>=2.10 and does not")
    # A build of the night before is as good as one that was released.
    assert why("2.11.0a0", "torch>=2.10").startswith("x 1.0 does not load with torch 2.11.0a0")
    both = ("torch==2.10.*; python_version < '3.12'", "torch>=2.11; python_version >= '3.12'")
    assert why("2.9.0", *both).startswith("x 1.0 requires torch==2.10.* and does not load")


def test_a_cuda_build_of_a_release_that_does_not_suit_is_no_help() -> None:
    item = subject({"a.so": NEW}, claims())
    found = told(item, Cell(ReleaseStatus.BREAKS, (CUDA,)), "2.9.0+cpu")
    assert found is not None
    assert found[1] == 'pip install "torch==2.11.*"'
    found = told(item, Cell(ReleaseStatus.BREAKS, (SYMBOL, CUDA)), "2.10.0+cpu")
    assert found is not None
    assert found[1] == "pip install --force-reinstall torch==2.10.0"


def test_good_releases() -> None:
    unstated = replace(subject({"a.so": NEW}, claims()), required=())
    assert good_releases(unstated) == set(CATALOG.releases[3:])
    assert good_releases(subject({"a.so": NEW}, claims())) == set(CATALOG.releases[3:])
    allowed = claims(torch=("torch<2.11",))
    assert good_releases(subject({"a.so": NEW}, allowed)) == {CATALOG.releases[3]}


def package(cell: Cell | None, *good: str) -> PackageOutcome:
    return PackageOutcome(cell, frozenset(map(Version, good)))


CHANGED = Cell(ReleaseStatus.LINKS, (), LayoutStatus.CHANGED)
HERE = Environment(("site",), Version("2.10.0"), version=Version("2.10.0+cpu"))
NONE = Environment(("site",), None)


@pytest.mark.parametrize(
    ("packages", "environment", "unread", "said", "code"),
    [
        ([], HERE, 0, "passed: no package uses torch", 0),
        ([], NONE, 0, "passed: no package uses torch", 0),
        (
            [package(FINE, "2.10.0")],
            HERE,
            0,
            "passed: 1 package that uses torch loads with torch 2.10.0+cpu",
            0,
        ),
        (
            [package(FINE), package(FINE)],
            HERE,
            0,
            "passed: all 2 packages that use torch load with torch 2.10.0+cpu",
            0,
        ),
        (
            [package(BROKEN, "2.9.0", "2.11.0"), package(FINE, "2.10.0", "2.11.0")],
            HERE,
            0,
            (
                "failed: 1 of 2 packages that use torch does not load with torch 2.10.0+cpu; torch"
                ' 2.11 suits all of them: pip install "torch==2.11.*"'
            ),
            1,
        ),
        (
            [package(BROKEN, "2.9.0"), package(BROKEN, "2.10.0")],
            HERE,
            0,
            (
                "failed: 2 of 2 packages that use torch do not load with torch 2.10.0+cpu; no torch"
                " release on PyPI suits all of them"
            ),
            1,
        ),
        (
            [package(BROKEN, "2.9.0")],
            HERE,
            0,
            "failed: 1 of 1 package that uses torch does not load with torch 2.10.0+cpu",
            1,
        ),
        (
            [package(Cell(ReleaseStatus.BREAKS, (CUDA,))), package(FINE, "2.9.0")],
            HERE,
            0,
            (
                "failed: 1 of 2 packages that use torch does not load with torch 2.10.0+cpu; no"
                " torch release on PyPI suits all of them"
            ),
            1,
        ),
        (
            # The newest of those that suit most, and none that suits others.
            [
                package(BROKEN, "2.9.0", "2.10.0", "2.11.0")._replace(name="a"),
                package(BROKEN, "2.10.0")._replace(name="b"),
                package(FINE, "2.9.0", "2.11.0")._replace(name="c"),
                package(FINE, "2.8.0")._replace(name="d"),
            ],
            HERE,
            0,
            (
                "failed: 2 of 4 packages that use torch do not load with torch 2.10.0+cpu; no torch"
                " release on PyPI suits all of them; torch 2.11 suits 2, but not b, d: pip install"
                ' "torch==2.11.*"'
            ),
            1,
        ),
        (
            [package(None, "2.9.0")],
            NONE,
            0,
            "failed: torch is not installed, but 1 package needs it",
            1,
        ),
        (
            [package(CHANGED, "2.9.1")],
            HERE,
            0,
            (
                "passed: 1 package that uses torch loads with torch 2.10.0+cpu; 1 package with"
                " changed class layouts"
            ),
            0,
        ),
        (
            [package(FINE, "2.10.0")],
            HERE,
            2,
            (
                "error: 1 package that uses torch loads with torch 2.10.0+cpu; 2 packages could not"
                " be audited"
            ),
            2,
        ),
        (
            [package(FINE)],
            replace(HERE, error="truncated"),
            0,
            "error: the installed torch can't be read: truncated",
            2,
        ),
    ],
)
def test_what_an_environment_comes_to(
    packages: list[PackageOutcome], environment: Environment, unread: int, said: str, code: int
) -> None:
    found = conclude_environment(packages, unread, environment, CATALOG)
    assert (str(found), found.exit_code) == (said, code)


def test_changed_layouts_are_a_reason_for_another_torch() -> None:
    both = [package(CHANGED, "2.9.1"), package(FINE, "2.9.1", "2.10.0")]
    found = conclude_environment(both, 0, HERE, CATALOG)
    assert str(found).endswith(
        "; 1 package with changed class layouts; torch 2.9 suits all of them: pip install"
        ' "torch==2.9.1"'
    )


def test_of_those_that_suit_all_the_newest_is_told_of() -> None:
    both = [package(BROKEN, "2.9.1", "2.11.0"), package(BROKEN, "2.9.1", "2.11.0")]
    found = conclude_environment(both, 0, HERE, CATALOG)
    assert "; torch 2.11 suits all of them: " in str(found)


def test_what_loads_passes_where_it_is_strict() -> None:
    found = conclude_environment([package(FINE)], 0, HERE, CATALOG, strict=True)
    assert (found.word, found.exit_code) == ("passed", 0)


def test_changed_layouts_fail_where_it_is_strict() -> None:
    found = conclude_environment([package(CHANGED)], 0, HERE, CATALOG, strict=True)
    assert (found.word, found.exit_code) == ("failed", 1)


def test_another_failure_of_a_run() -> None:
    """What could not be read goes before what fails."""
    unread = Conclusion("error", "one could not be audited", 2)
    assert with_failure(unread, "ignores are stale") == unread._replace(
        why="one could not be audited; ignores are stale"
    )
    found = with_failure(Conclusion("passed", "all load", 0), "ignores are stale")
    assert found == Conclusion("failed", "all load; ignores are stale", 1)

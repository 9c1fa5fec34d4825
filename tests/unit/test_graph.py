"""Which library of a target the loader finds from which, format by format."""

from __future__ import annotations

import pytest

from tests.builders import CPU, claims, dll, dylib, graph_of, library, subject
from torch_abi_audit.budget import Limits
from torch_abi_audit.errors import LimitError
from torch_abi_audit.loader.graph import Edge, is_absolute
from torch_abi_audit.loader.scope import scopes
from torch_abi_audit.model import Library, Symbol, TorchAbi


def edge(libraries: dict[str, Library], path: str, needed: str) -> tuple[str, ...] | str | None:
    """What is found: the paths where the loader finds it, ``preloaded: ...`` where it does not."""
    found = graph_of(libraries).loaded(path).edges[path].get(needed)
    if found is None:
        return None
    return f"preloaded: {' '.join(found.paths)}" if found.preloaded else found.paths


@pytest.mark.parametrize(
    ("path", "runpath", "found"),
    [
        ("x/lib/libb.so", ("$ORIGIN/lib",), ("x/lib/libb.so",)),
        ("x/lib/libb.so", ("${ORIGIN}/lib/",), ("x/lib/libb.so",)),
        ("x/libb.so", ("$ORIGIN",), ("x/libb.so",)),
        ("x/libb.so", ("$ORIGIN/.",), ("x/libb.so",)),
        ("x.libs/libb.so", ("/opt/lib", "$ORIGIN/../x.libs"), ("x.libs/libb.so",)),
        # Installed beside: what lies in `.data/platlib` is moved to site-packages.
        ("x-1.0.data/platlib/x/libb.so", ("$ORIGIN",), ("x-1.0.data/platlib/x/libb.so",)),
        # Where the loader does not look, only code of the package can load it.
        ("x/libb.so", (), "preloaded: x/libb.so"),
        ("x/lib/libb.so", ("$ORIGIN",), "preloaded: x/lib/libb.so"),
        ("x/lib/libb.so", ("$ORIGINAL/lib",), "preloaded: x/lib/libb.so"),
        ("x/lib/libb.so", ("lib", "x/lib"), "preloaded: x/lib/libb.so"),
        ("x/lib/libb.so", ("/x/lib",), "preloaded: x/lib/libb.so"),
        ("x/lib/libb.so", ("$ORIGIN/../../x/lib",), "preloaded: x/lib/libb.so"),
        ("x-1.0.data/data/x/libb.so", ("$ORIGIN",), "preloaded: x-1.0.data/data/x/libb.so"),
        ("x/libother.so", ("$ORIGIN",), None),
    ],
)
def test_elf_is_found_in_the_folders_of_its_runpath(
    path: str, runpath: tuple[str, ...], found: tuple[str, ...] | str | None
) -> None:
    libraries = {"x/_C.so": library(needed=("libb.so",), runpath=runpath), path: library()}
    assert edge(libraries, "x/_C.so", "libb.so") == found
    if not isinstance(found, str):
        libraries["x/_C.so"] = library(needed=("libb.so",), rpath=runpath)
        assert edge(libraries, "x/_C.so", "libb.so") == found


def test_elf_searches_for_the_name_of_the_file_and_not_for_its_soname() -> None:
    libraries = {
        "x/_C.so": library(needed=("libb.so",), runpath=("$ORIGIN",)),
        "x/other.so": library(soname="libb.so"),
    }
    assert edge(libraries, "x/_C.so", "libb.so") == "preloaded: x/other.so"


def test_elf_takes_what_is_loaded_already_under_the_soname() -> None:
    libraries = {
        "x/_C.so": library(needed=("liba.so", "libb.so"), runpath=("$ORIGIN/lib",)),
        "x/lib/liba.so": library(needed=("libz.so",), runpath=("$ORIGIN/../other",)),
        "x/lib/libb.so": library(needed=("libz.so",)),
        "x/other/libz.so": library(soname="libz.so"),
    }
    loaded = graph_of(libraries).loaded("x/_C.so")
    assert loaded.order == ("x/_C.so", "x/lib/liba.so", "x/lib/libb.so", "x/other/libz.so")
    assert loaded.edges["x/lib/libb.so"] == {"libz.so": Edge(("x/other/libz.so",), preloaded=False)}
    # TargetContents by itself nothing leads there.
    assert edge(libraries, "x/lib/libb.so", "libz.so") == "preloaded: x/other/libz.so"


def test_what_was_opened_is_loaded_already() -> None:
    """Under its soname, or on Windows its file's name, wherever it lies."""
    for opened, other, needed in (
        ("x/_C.so", "x/lib/libb.so", "_C.so"),
        ("x/_C.pyd", "x/b.dll", "_c.pyd"),
    ):
        make = dll if opened.endswith("pyd") else library
        first = make(needed=(other.rpartition("/")[2],), runpath=("$ORIGIN/lib",), soname="_C.so")
        libraries = {opened: first, other: make(needed=(needed,))}
        loaded = graph_of(libraries).loaded(opened)
        assert loaded.edges[other] == {needed: Edge((opened,), preloaded=False)}


@pytest.mark.parametrize(
    ("middle", "found"),
    [
        ({}, True),  # DT_RPATH of what led to it counts
        ({"runpath": ("$ORIGIN/none",)}, False),  # unless the library has a DT_RUNPATH itself
        ({"rpath": ("$ORIGIN/none",)}, True),
    ],
)
def test_rpath_is_inherited(middle: dict[str, tuple[str, ...]], found: bool) -> None:  # noqa: FBT001
    libraries = {
        "x/_C.so": library(needed=("liba.so",), rpath=("$ORIGIN/lib",)),
        "x/lib/liba.so": library(needed=("libb.so",), **middle),  # type: ignore[arg-type]
        "x/lib/libb.so": library(),
    }
    loaded = graph_of(libraries).loaded("x/_C.so")
    assert loaded.edges["x/lib/liba.so"]["libb.so"].preloaded is not found


def test_runpath_is_not_inherited() -> None:
    libraries = {
        "x/_C.so": library(needed=("liba.so",), runpath=("$ORIGIN/lib",)),
        "x/lib/liba.so": library(needed=("libb.so",)),
        "x/lib/libb.so": library(),
    }
    loaded = graph_of(libraries).loaded("x/_C.so")
    assert loaded.edges["x/lib/liba.so"]["libb.so"].preloaded
    assert loaded.certain == {"x/_C.so", "x/lib/liba.so"}


def test_runpath_hides_the_rpath_beside_it() -> None:
    both = library(needed=("libb.so",), rpath=("$ORIGIN",), runpath=("$ORIGIN/none",))
    assert edge({"x/_C.so": both, "x/libb.so": library()}, "x/_C.so", "libb.so") == (
        "preloaded: x/libb.so"
    )


def test_runpath_hides_the_rpath_from_what_is_led_to() -> None:
    """ld.so passes on the DT_RPATH of those in the chain that have no DT_RUNPATH."""
    for runpath, found in (((), True), (("$ORIGIN/lib",), False)):
        opened = library(needed=("liba.so",), rpath=("$ORIGIN/lib",), runpath=runpath)
        libraries = {
            "x/_C.so": opened,
            "x/lib/liba.so": library(needed=("libb.so",)),
            "x/lib/libb.so": library(),
        }
        loaded = graph_of(libraries).loaded("x/_C.so")
        assert loaded.edges["x/_C.so"]["liba.so"].is_certain
        assert loaded.edges["x/lib/liba.so"]["libb.so"].is_certain is found


def test_elf_names_with_a_slash_are_places() -> None:
    libraries = {"x/lib/libb.so": library()}
    for needed, found in (
        ("$ORIGIN/lib/libb.so", ("x/lib/libb.so",)),
        ("/x/lib/libb.so", None),
        ("./lib/libb.so", "preloaded: x/lib/libb.so"),
    ):
        user = library(needed=(needed,), runpath=("$ORIGIN",))
        assert edge({**libraries, "x/_C.so": user}, "x/_C.so", needed) == found


@pytest.mark.parametrize(
    ("needed", "rpath", "found"),
    [
        ("@loader_path/libb.dylib", (), ("x/libb.dylib",)),
        ("@rpath/libb.dylib", ("@loader_path",), ("x/libb.dylib",)),
        ("@rpath/libb.dylib", ("/usr/local/lib", "@loader_path/."), ("x/libb.dylib",)),
        ("@rpath/libb.dylib", (), "preloaded: x/libb.dylib"),
        ("@executable_path/libb.dylib", (), "preloaded: x/libb.dylib"),
        ("@loader_path/lib/libb.dylib", (), "preloaded: x/libb.dylib"),
        ("/usr/lib/libb.dylib", ("@loader_path",), None),
    ],
)
def test_macho(needed: str, rpath: tuple[str, ...], found: tuple[str, ...] | str | None) -> None:
    libraries = {"x/_C.so": dylib(needed=(needed,), rpath=rpath), "x/libb.dylib": dylib()}
    assert edge(libraries, "x/_C.so", needed) == found


def test_macho_takes_nothing_by_its_name_alone() -> None:
    """Not even what is loaded already: a bare name is one in the current folder."""
    user = dylib(needed=("@loader_path/libb.dylib", "libb.dylib"))
    libraries = {"x/_C.so": user, "x/libb.dylib": dylib()}
    assert edge(libraries, "x/_C.so", "@loader_path/libb.dylib") == ("x/libb.dylib",)
    assert edge(libraries, "x/_C.so", "libb.dylib") == "preloaded: x/libb.dylib"


def test_macho_searches_the_paths_of_what_led_to_it() -> None:
    libraries = {
        "x/_C.so": dylib(needed=("@rpath/liba.dylib",), rpath=("@loader_path/lib",)),
        "x/lib/liba.dylib": dylib(needed=("@rpath/libb.dylib",)),
        "x/lib/libb.dylib": dylib(),
    }
    assert graph_of(libraries).loaded("x/_C.so").certain == set(libraries)


def test_windows_looks_into_the_folder_of_what_was_opened() -> None:
    libraries = {
        "x/_C.pyd": dll(needed=("a.dll", "b.dll")),
        "x/A.dll": dll(needed=("b.dll",)),
        "x/sub/b.dll": dll(),
    }
    assert edge(libraries, "x/_C.pyd", "a.dll") == ("x/A.dll",)
    assert edge(libraries, "x/_C.pyd", "b.dll") == "preloaded: x/sub/b.dll"
    libraries["x/B.DLL"] = dll()
    assert edge(libraries, "x/_C.pyd", "b.dll") == ("x/B.DLL",)


def test_a_module_is_opened_by_itself_and_what_it_needs_by_it() -> None:
    libraries = {
        "x/_C.so": library(needed=("liba.so",), runpath=("$ORIGIN",), exports=("PyInit__C",)),
        "x/liba.so": library(needed=("libb.so",), runpath=("$ORIGIN",)),
        "x/libb.so": library(),
        "x/libc.so": library(needed=("libd.so",), runpath=("$ORIGIN",)),
        "x/libd.so": library(needed=("libc.so",), runpath=("$ORIGIN",)),
    }
    graph = graph_of(libraries)
    assert {path: graph.openers(path) for path in libraries} == {
        "x/_C.so": ("x/_C.so",),
        "x/liba.so": ("x/_C.so",),
        "x/libb.so": ("x/_C.so",),
        "x/libc.so": ("x/libc.so",),  # a circle, with no beginning
        "x/libd.so": ("x/libd.so",),
    }


def test_a_library_that_nothing_needs_is_opened_by_itself() -> None:
    """Though it is no module: `torch.ops.load_library` opens such ones."""
    libraries = {
        "x/libtop.so": library(needed=("liba.so",), runpath=("$ORIGIN",)),
        "x/liba.so": library(),
        "x/_C.so": library(exports=("PyInit__C",)),
    }
    graph = graph_of(libraries)
    assert {path: graph.openers(path) for path in libraries} == {
        "x/libtop.so": ("x/libtop.so",),
        "x/liba.so": ("x/libtop.so",),
        "x/_C.so": ("x/_C.so",),
    }
    # A module is opened by itself even where another library needs it.
    libraries["x/libtop.so"] = library(needed=("liba.so", "_C.so"), runpath=("$ORIGIN",))
    assert graph_of(libraries).openers("x/_C.so") == ("x/_C.so",)


def test_the_names_that_the_loader_itself_finds() -> None:
    libraries = {
        "x/_C.so": library(needed=("liba.so", "libb.so", "libc.so.6"), runpath=("$ORIGIN",)),
        "x/liba.so": library(),
        "x/lib/libb.so": library(),
    }
    scope = scopes(graph_of(libraries))["x/_C.so"]
    assert scope.libraries == {"liba.so", "libb.so"}
    assert scope.searched == {"liba.so"}


def test_a_place_of_the_machines_own() -> None:
    made = [is_absolute(make(), "/x/liba") for make in (library, dylib, dll)]
    assert made == [True, True, False]  # Windows knows no such names
    assert not is_absolute(library(), "x/liba")


def test_what_is_asked_of_the_loader() -> None:
    """Of libraries of which one is loaded, what all of them ask for, with what they need."""
    links = library(needed=("libg.so", "libm.so.6"), runpath=("$ORIGIN",))
    libraries = {
        "a/_C.so": library(needed=("libf.so", "libz.so.1"), exports=("PyInit__C",)),
        "b/libf.so": links,
        "b/libg.so": library(needed=(CPU,)),
        "c/libf.so": links,
        "c/libg.so": library(needed=(CPU, "libc10.so")),
    }
    asked = graph_of(libraries).asked("a/_C.so")
    assert asked == {"libf.so", "libz.so.1", "libg.so", "libm.so.6", CPU}
    # Not what one of them alone asks for, and no place of the machine's own.
    libraries["c/libf.so"] = library(needed=("/opt/lib/libm.so.6",))
    assert graph_of(libraries).asked("a/_C.so") == {"libf.so", "libz.so.1"}


def test_doubt_is_followed_two_levels_deep() -> None:
    """Of libraries of which one is loaded each needs one of two others, and these as well."""
    libraries = {
        "a/_C.so": library(needed=("libf.so",), exports=("PyInit__C",)),
        **{f"{folder}/libf.so": library(needed=("libg.so",)) for folder in "bc"},
        **{f"{folder}/libg.so": library(needed=("libh.so",)) for folder in "de"},
        **{f"{folder}/libh.so": library(needed=(CPU,)) for folder in "fg"},
    }
    assert graph_of(libraries).asked("a/_C.so") == {"libf.so", "libg.so", "libh.so"}
    assert graph_of(libraries).asked("b/libf.so") == {"libg.so", "libh.so", CPU}


def test_members_that_are_installed_beside_the_package() -> None:
    """Which `.data` holds by the scheme that they are installed to (PEP 427)."""
    user = library(needed=("libx.so",), runpath=("$ORIGIN/../x_libs",))
    for folder, found in (
        ("x-1.0.data/platlib/x_libs", True),
        ("x-1.0.data/purelib/x_libs", True),
        ("x-1.0.data/scripts/x_libs", False),
        ("data/platlib/x_libs", False),
    ):
        place = f"{folder}/libx.so"
        graph = graph_of({"x/_C.so": user, place: library()})
        assert graph.loaded("x/_C.so").edges["x/_C.so"]["libx.so"].preloaded is not found


def test_the_target_finds_a_library_only_if_all_that_are_opened_do() -> None:
    libraries = {
        "x/_C.so": library(needed=("liba.so",), rpath=("$ORIGIN/lib",), exports=("PyInit__C",)),
        "x/lib/liba.so": library(needed=("libb.so",)),
        "x/lib/libb.so": library(),
    }
    assert graph_of(libraries).finds("x/lib/liba.so", "libb.so")
    other = library(needed=("liba.so",), runpath=("$ORIGIN/lib",), exports=("PyInit__D",))
    assert not graph_of({**libraries, "x/_D.so": other}).finds("x/lib/liba.so", "libb.so")


# --- what it decides: a stranger makes no name of torch's the target's own -------------------


def test_a_library_in_another_folder_makes_nothing_stable() -> None:
    """It was safe, guaranteed: the two rooms that asked who finds whom answered differently."""
    destructor = "_ZN2at6TensorD1Ev"
    user = library(destructor, needed=("libx.so", CPU), exports=("PyInit__C",))
    libraries = {"a/_C.so": user, "a/libx.so": library()}
    alone = subject(libraries, claims())
    weak = library(exports=(Symbol(destructor, weak=True),))
    beside = subject({**libraries, "b/libx.so": weak}, claims())
    strong = subject({**libraries, "b/libx.so": library(exports=(destructor,))}, claims())
    for item in (alone, beside, strong):
        assert item.libraries[0].torch.abi is TorchAbi.UNSTABLE


def test_a_library_that_the_loader_finds_provides() -> None:
    """The near miss of the above."""
    user = library("_ZN2at6TensorD1Ev", needed=("libx.so",), runpath=("$ORIGIN/../b",))
    weak = library(exports=(Symbol("_ZN2at6TensorD1Ev", weak=True),))
    item = subject({"a/_C.so": user, "b/libx.so": weak}, claims())
    assert item.libraries[0].torch.abi is TorchAbi.NONE


def test_what_code_may_load_first_is_not_said_to_break() -> None:
    name = "_ZN2at4oursEv"
    user = library(name, needed=("libx.so", CPU))
    item = subject({"a/_C.so": user, "b/libx.so": library(exports=(name,))}, claims())
    assert item.libraries[0].torch.unstable == (name,)
    assert {cell.status for cell in item.matrix.row.values()} == {"links"}


@pytest.mark.parametrize(
    ("asked", "definition", "own"),
    [
        (None, Symbol("_ZN2at6TensorD1Ev"), True),
        (None, Symbol("_ZN2at6TensorD1Ev", version="X_1"), True),
        # Only an import with that very version binds to one that is not the default.
        (None, Symbol("_ZN2at6TensorD1Ev", version="X_1", hidden=True), False),
        ("X_1", Symbol("_ZN2at6TensorD1Ev", version="X_1", hidden=True), True),
        ("X_1", Symbol("_ZN2at6TensorD1Ev", version="X_2"), False),
        ("X_1", Symbol("_ZN2at6TensorD1Ev"), True),
    ],
)
def test_versions_decide_what_binds(asked: str | None, definition: Symbol, own: bool) -> None:  # noqa: FBT001
    symbol = Symbol("_ZN2at6TensorD1Ev", version=asked, library="libb.so" if asked else None)
    libraries = {
        "x/_C.so": library(symbol, needed=("libb.so",), runpath=("$ORIGIN",)),
        "x/libb.so": library(exports=(definition,)),
    }
    found = {item.path: item.torch.abi for item in subject(libraries, claims()).libraries}
    assert found["x/_C.so"] is (TorchAbi.NONE if own else TorchAbi.UNSTABLE)


def test_a_version_that_is_asked_of_torch_never_loads() -> None:
    item = library("torch_ten", needed=(CPU,), version_needs=((CPU, ("TORCH_1",)),))
    row = subject({"x/_C.so": item}, claims()).matrix.row
    assert {cell.status for cell in row.values()} == {"breaks"}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("torch_c_dynamo_private", "unstable"),  # of libtorch_python: any release may drop it
        ("cpuinfo_initialize", "foreign"),
        ("f", None),  # nobody's but the wheel's
    ],
)
def test_a_library_that_nobody_loads_hides_no_name_that_torch_exports(
    name: str, kind: str | None
) -> None:
    user = library(name, needed=(CPU, "libtorch_python.so"), exports=("PyInit__C",))
    item = subject({"a/_C.so": user, "b/other.so": library(exports=(name,))}, claims())
    use = item.libraries[0].torch
    found = {"unstable": use.unstable, "foreign": use.foreign}
    assert [key for key, names in found.items() if name in names] == ([kind] if kind else [])


def _circle(count: int) -> dict[str, Library]:
    names = [f"lib{number}.so" for number in range(count)]
    return {
        f"x/{own}": library(
            needed=tuple(name for name in names if name != own), soname=own, runpath=("$ORIGIN",)
        )
        for own in names
    }


LITTLE = Limits(steps=3_000)


def test_libraries_that_all_need_each_other_are_followed_so_far_and_no_further() -> None:
    graph_of(_circle(9), limits=LITTLE)
    with pytest.raises(LimitError, match="more than 3,000 steps"):
        graph_of(_circle(15), limits=LITTLE)


def test_places_that_are_looked_at_count_too() -> None:
    facts = library(needed=tuple(f"lib{n}.so" for n in range(30)), runpath=("$ORIGIN",) * 30)
    with pytest.raises(LimitError):
        graph_of({"x/_C.so": facts}, limits=Limits(steps=3_000))


def test_graphs_of_the_same_libraries_share_what_they_may_take() -> None:
    graph = graph_of(_circle(8), limits=LITTLE)
    assert graph.without({"x/lib0.so"}).providers == [f"x/lib{n}.so" for n in range(1, 8)]
    with pytest.raises(LimitError):
        list(map(graph.without, [{"x/lib0.so"}] * 9))


def test_what_a_large_wheel_needs_can_be_followed() -> None:
    """As VTK: 150 libraries that reach the 40 below them, 15 at once, and as many modules."""
    facts = {
        f"x/lib{number}.so": library(
            needed=tuple(f"lib{n}.so" for n in range(number // 4 + 1, number // 4 + 16)),
            soname=f"lib{number}.so",
            runpath=("$ORIGIN",),
        )
        for number in range(300)
    }
    assert len(graph_of(facts).loaded("x/lib299.so").order) > 30


def test_what_each_library_finds_is_kept_once() -> None:
    graph = graph_of(_circle(5))
    first, second = graph.loaded("x/lib0.so").edges, graph.loaded("x/lib1.so").edges
    assert first["x/lib3.so"] is second["x/lib3.so"]


def test_a_name_that_many_libraries_define() -> None:
    weak, strong = Symbol("f", weak=True), Symbol("f")
    user = library("f", needed=("a.so",), runpath=("$ORIGIN",))
    others = {f"y/l{number}.so": library("f", exports=(weak,)) for number in range(9)}
    found = scopes(graph_of({"x/_C.so": user, "x/a.so": library(exports=(weak,)), **others}))
    assert found["x/_C.so"].symbols == {"f"}
    assert not found["y/l0.so"].symbols | found["y/l0.so"].perhaps
    found = scopes(graph_of({"x/_C.so": user, **others, "y/l3.so": library(exports=(strong,))}))
    assert found["x/_C.so"].perhaps == found["y/l0.so"].perhaps == {"f"}
    assert not found["y/l3.so"].perhaps

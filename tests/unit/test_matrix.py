from __future__ import annotations

import io
from dataclasses import replace

import pytest
from packaging.version import Version

from tests.builders import CATALOG, RELEASES, claims, dylib, library, subject
from torch_abi_audit.audit import Options, classify_contents
from torch_abi_audit.catalog import Catalog, Platform
from torch_abi_audit.catalog.exports import Build, make_table
from torch_abi_audit.catalog.storage import write_archive
from torch_abi_audit.loader import matrix as matrix_module
from torch_abi_audit.loader.alternatives import find_alternatives
from torch_abi_audit.model import (
    Cause,
    Claims,
    Library,
    Matrix,
    Member,
    Reason,
    ReleaseStatus,
    Symbol,
    TargetContents,
    TargetKind,
)

CPU = "libtorch_cpu.so"
LETTERS = {
    ReleaseStatus.GUARANTEED: "G",
    ReleaseStatus.LINKS: "l",
    ReleaseStatus.BREAKS: "-",
    ReleaseStatus.UNKNOWN: "?",
}


def matrix(libraries: dict[str, Library], promised: Claims | None = None) -> Matrix:
    return subject(libraries, promised).matrix


def matrix_in(catalog: Catalog, libraries: dict[str, Library], *present: str) -> Matrix:
    members = tuple(Member(path, (item,), verified=True) for path, item in libraries.items())
    contents = TargetContents(TargetKind.WHEEL, claims(), members)
    return classify_contents(contents, catalog, Options(), present=frozenset(present)).matrix


def catalog_of(*exports: str, others: tuple[str, ...] = ()) -> Catalog:
    """A catalog with what libtorch_cpu exports in each release, and what lies beside it."""
    builds = [
        Build(Version(release), "12.0", {CPU: ("libcudart.so.12",)}, others=frozenset(others))
        for release in RELEASES
    ]
    table = make_table([{CPU: names.split()} for names in exports])
    data = write_archive(builds, table, {})
    platform = Platform("linux_x86_64", lambda: io.BytesIO(data))
    return replace(CATALOG, platforms={"linux_x86_64": platform})


def letters(row: object) -> str:
    """Return a row as one letter a release: 2.8.0, 2.9.0, 2.9.1, 2.10.0, 2.11.0."""
    assert isinstance(row, dict)
    return "".join(LETTERS[cell.status] for cell in row.values())


def row_of(*imports: str | Symbol, needed: tuple[str, ...] = (CPU,)) -> str:
    found = matrix({"x/_C.so": library(*imports, needed=needed)})
    assert letters(found.row) == letters(found.libraries["x/_C.so"])
    return letters(found.row)


@pytest.mark.parametrize(
    ("imports", "row"),
    [
        (("torch_ten",), "---GG"),
        (("torch_eleven", "torch_ten"), "----G"),
        (("aoti_torch_old",), "lGGGG"),  # it loads on 2.8.0, before the promise
        (("_ZN2at6TensorD1Ev",), "lllll"),
        (("_ZN2at6changeEi",), "lll--"),
        (("_ZN2at6changeEl",), "---ll"),
        (("_ZN2at6changeEl", "torch_eleven"), "----l"),
        (("_ZN2at5neverEv",), "-----"),
        (("aoti_torch_from_the_future",), "-----"),
        (("aoti_torch_mps_only",), "-----"),  # no build for this platform exports it
        (("aoti_torch_gone",), "l----"),
        (("malloc",), "lGGGG"),  # linked, and nothing of it used
        (("_ZSt9leaked_upv", "aoti_torch_old"), "---GG"),
        ((Symbol("torch_eleven", weak=True), "torch_ten"), "---GG"),
        (("cpuinfo_initialize", "torch_ten"), "---ll"),  # a copy that nobody promises
        (("aoti_torch_cpu_private", "torch_ten"), "---ll"),  # a shim that nobody promises
    ],
)
def test_rows(imports: tuple[str | Symbol, ...], row: str) -> None:
    assert row_of(*imports) == row


@pytest.mark.parametrize(
    ("leaked", "tag", "row"),
    [
        # From 2.9.0 on torch's own wheel is manylinux_2_28: where it loads, libstdc++ has it.
        ("_ZSt11leaked_oncev", "manylinux2014_x86_64", "lGGGG"),
        ("_ZSt11leaked_oncev", "linux_x86_64", "lGGGG"),
        # That of 2.8.0 is manylinux1, and does not export it.
        ("_ZSt9leaked_onv", "manylinux2014_x86_64", "-GGGG"),
        ("_ZSt9leaked_onv", "manylinux_2_28_x86_64", "lGGGG"),
        # Newer than either tag.
        ("_ZSt9leaked_upv", "manylinux2014_x86_64", "---GG"),
        ("_ZSt9leaked_upv", "manylinux_2_39_x86_64", "lGGGG"),
    ],
)
def test_the_stricter_of_two_tags_tells_what_libstdcxx_has(leaked: str, tag: str, row: str) -> None:
    libraries = {"x/_C.so": library("aoti_torch_old", leaked, needed=(CPU,))}
    assert letters(matrix(libraries, claims(f"py3-none-{tag}")).row) == row


def test_a_symbol_must_be_in_a_library_that_is_reached() -> None:
    assert row_of("_ZN2at4cuda4callEv", needed=(CPU,)) == "-----"
    assert row_of("_ZN2at4cuda4callEv", needed=("libtorch.so",)) == "lllll"
    assert row_of("torch_ten", needed=("libc10.so",)) == "-----"
    assert row_of("torch_ten", needed=()) == "-----"


def test_reasons() -> None:
    found = matrix({"x/_C.so": library("torch_ten", needed=(CPU, "libcudart.so.12"))})
    reasons = {str(release): cell.reasons for release, cell in found.row.items()}
    assert reasons["2.9.0"] == (Reason(Cause.SYMBOL, "torch_ten", "added in torch 2.10.0"),)
    assert reasons["2.10.0"] == ()
    assert reasons["2.11.0"] == (
        Reason(Cause.CUDA, "libcudart.so.12", "torch 2.11.0 ships libcudart.so.13 (CUDA 13.0)"),
    )


def test_a_library_of_torchs_that_no_build_has() -> None:
    found = matrix({"x/_C.so": library(needed=("libtorch_hip.so",))})
    assert letters(found.row) == "-----"
    (reason,) = found.row[CATALOG.newest].reasons
    assert (reason.cause, reason.name) == (Cause.LIBRARY, "libtorch_hip.so")


def test_a_sibling_that_breaks_breaks_those_that_need_it() -> None:
    found = matrix(
        {
            "x/_C.so": library("f", needed=("libmid.so",)),
            "x/libmid.so": library(exports=("f",), needed=("libend.so",)),
            "x/libend.so": library("torch_eleven", needed=(CPU,)),
            "x/alone.so": library("torch_ten", needed=(CPU,)),
        }
    )
    # Neither of the first two needs torch itself, so they have no row of their own.
    assert set(found.libraries) == {"x/libend.so", "x/alone.so"}
    using = matrix(
        {
            "x/_C.so": library("torch_ten", "f", needed=("libmid.so", CPU)),
            "x/libmid.so": library("torch_eleven", exports=("f",), needed=(CPU,)),
        }
    )
    assert letters(using.libraries["x/_C.so"]) == "----G"
    reasons = using.libraries["x/_C.so"][CATALOG.releases[3]].reasons
    assert reasons == (
        Reason(
            Cause.SIBLING,
            "x/libmid.so",
            "does not load: torch_eleven: added in torch 2.11.0",
        ),
    )


HASHED = "libtorch_cpu-872a1bfe.so"
C10 = "libc10-52d951ec.so"
FROM_C10 = "_ZN3c105otherEv"  # in no torch release


def second(name: str) -> str:
    return f"a second copy of {name}, which ends the process when loaded next to torch's own"


@pytest.mark.parametrize("name", ["libtorch_cpu", "libtorch_python", "libtorch_cuda"])
def test_a_second_copy_with_operators_ends_the_process(name: str) -> None:
    """They are registered twice: loaded with torch 2.9.1, 2.13.0 and 2.14.1."""
    path = f"x.libs/{name}-0a1b2c3d.so"
    found = matrix(
        {
            "x/_C.so": library("torch_ten", "f", needed=("libmid.so",)),
            "x/libmid.so": library(exports=("f",), needed=(path.rpartition("/")[2],)),
            path: library(exports=("torch_ten",)),
            "x/alone.so": library("torch_ten", needed=(CPU,)),
        }
    )
    assert letters(found.libraries["x/_C.so"]) == "-----"
    assert {cell.reasons for cell in found.libraries["x/_C.so"].values()} == {
        (Reason(Cause.COPY, path, second(name)),)
    }
    assert letters(found.libraries["x/alone.so"]) == "---GG"


def test_what_else_a_library_with_a_second_libtorch_lacks_is_said() -> None:
    """The loader looks for symbols before any initialiser runs."""
    imports = ("torch_ten", "_ZN2at5neverEv")
    found = matrix(
        {
            "x/_C.so": library(*imports, needed=(CPU, HASHED, "libcudart.so.12")),
            f"x.libs/{HASHED}": library(exports=("torch_ten",)),
        }
    )
    reasons = found.row[CATALOG.newest].reasons
    assert [(reason.cause, reason.name) for reason in reasons] == [
        (Cause.COPY, f"x.libs/{HASHED}"),
        (Cause.CUDA, "libcudart.so.12"),
        (Cause.SYMBOL, "_ZN2at5neverEv"),
    ]


@pytest.mark.parametrize("name", ["libtorch", "libtorch_global_deps", "libtorch_cuda_linalg"])
def test_other_copies_do_not_end_it(name: str) -> None:
    """They register nothing: loaded with torch 2.13.0 and 2.14.1."""
    copy = f"{name}-28b3d392.so"
    found = matrix(
        {
            "x/_C.so": library("torch_ten", needed=(CPU, copy)),
            f"x.libs/{copy}": library(needed=(CPU,)),
        }
    )
    assert letters(found.libraries["x/_C.so"]) == "---GG"


def test_of_a_second_libc10_cuda_it_is_not_known() -> None:
    """It loads with torch 2.9.1, not with 2.10.0 and 2.12.1, and with 2.14.1 it depends."""
    copy = "libc10_cuda-28b3d392.so"
    found = matrix(
        {
            "x/_C.so": library("aoti_torch_old", needed=(CPU, copy, C10)),
            f"x.libs/{copy}": library(),
            f"x.libs/{C10}": library(),
        }
    )
    assert letters(found.libraries["x/_C.so"]) == "?????"
    (reason,) = found.row[CATALOG.newest].reasons
    why = "not known if a second copy of libc10_cuda loads next to torch's own"
    assert reason == Reason(Cause.COPY_IN_DOUBT, f"x.libs/{copy}", why)


@pytest.mark.parametrize(
    ("names", "row"),
    [(("_ZN3c104warnEv", "_ZN3c105oneEv"), "lllll"), ((FROM_C10,), "-----")],
)
def test_a_second_libc10_provides_what_it_exports(names: tuple[str, ...], row: str) -> None:
    found = matrix(
        {
            "x/_C.so": library("_ZN2at6TensorD1Ev", *names, needed=(CPU, C10)),
            f"x.libs/{C10}": library(exports=("_ZN3c104warnEv", "_ZN3c105oneEv"), soname=C10),
        }
    )
    assert letters(found.libraries["x/_C.so"]) == row


def test_a_copy_provides_to_all_that_is_loaded_with_it() -> None:
    """Also a shim, to a library that does not need the copy itself."""
    found = matrix(
        {
            "x/_C.so": library("_ZN2at6TensorD1Ev", needed=("libmid.so", CPU, C10)),
            "x/libmid.so": library(FROM_C10, "torch_eleven", needed=(CPU,)),
            f"x.libs/{C10}": library(exports=(FROM_C10, "torch_eleven")),
        }
    )
    assert letters(found.row) == "lllll"


def test_a_copy_counts_only_where_it_is_loaded() -> None:
    """Of several alternatives, only the one for a release is."""
    needed = ("libop.so", CPU)
    found = matrix(
        {
            "x/_C.so": library("aoti_torch_old", needed=needed),
            "x/torch29/libop.so": library("aoti_torch_old", needed=(HASHED, CPU)),
            "x/torch210/libop.so": library("aoti_torch_old", needed=(CPU,)),
            f"x.libs/{HASHED}": library(exports=("aoti_torch_old",)),
        }
    )
    assert letters(found.libraries["x/_C.so"]) == "l--GG"


def test_the_first_second_libtorch_is_named() -> None:
    python = "libtorch_python-0a1b2c3d.so"
    found = matrix(
        {
            "x/_C.so": library("torch_ten", needed=(python, HASHED, C10)),
            f"x.libs/{C10}": library(),
            f"x.libs/{HASHED}": library(exports=("torch_ten",)),
            f"x.libs/{python}": library(),
        }
    )
    (reason,) = found.row[CATALOG.newest].reasons
    assert (reason.cause, reason.name) == (Cause.COPY, f"x.libs/{python}")


def test_only_elf_binds_one_copy_to_what_is_in_another() -> None:
    copy = "libtorch_cpu-872a1bfe.dylib"
    found = matrix(
        {
            "x/_C.so": dylib(f"{copy}:torch_ten", needed=(f"@rpath/{copy}",)),
            f"x/.dylibs/{copy}": dylib(),
        },
        claims("cp310-abi3-macosx_11_0_arm64"),
    )
    assert {reason.cause for cell in found.row.values() for reason in cell.reasons} <= {
        Cause.SYMBOL
    }


def test_a_copy_with_torchs_own_name_is_not_loaded() -> None:
    found = matrix(
        {
            "x/_C.so": library("torch_ten", needed=(CPU,)),
            f"x/lib/{CPU}": library(exports=("torch_ten",), soname=CPU),
        }
    )
    assert letters(found.libraries["x/_C.so"]) == "---GG"


def test_torch_is_reached_through_a_sibling() -> None:
    found = matrix(
        {
            "x/_C.so": library("torch_ten", needed=("libmid.so",)),
            "x/libmid.so": library(needed=(CPU,)),
        }
    )
    assert letters(found.libraries["x/_C.so"]) == "---GG"


def test_the_row_is_the_worst_of_the_libraries() -> None:
    found = matrix(
        {
            "x/a.so": library("torch_ten", needed=(CPU,)),
            "x/b.so": library("_ZN2at6TensorD1Ev", needed=(CPU,)),
            "x/c.so": library("malloc"),
        }
    )
    assert letters(found.row) == "---ll"
    assert "x/c.so" not in found.libraries


def test_nothing_needs_torch() -> None:
    assert matrix({"x/a.so": library("malloc")}) == Matrix()


@pytest.mark.parametrize(
    "tag", ["musllinux_1_2_x86_64", "manylinux_2_28_ppc64le", "macosx_11_0_x86_64"]
)
def test_a_platform_without_builds_is_not_known(tag: str) -> None:
    arch = "ppc64le" if tag.endswith("le") else "x86_64"
    item = library("torch_ten", needed=(CPU,), arch=arch)
    promised = claims(f"py39-none-{tag}")
    row = letters(matrix({"x/_C.so": item}, promised).row)
    assert row == ("?????" if "macosx" not in tag else "---GG")


def test_alternatives_cover_together() -> None:
    """Each release is served by the library that is meant for it, and by no other."""
    old = library("_ZN2at6changeEi", needed=(CPU,))
    new = library("_ZN2at6changeEl", needed=(CPU,))
    found = matrix(
        {
            "x/torch-2.9/lib/libx.so": old,
            "x/torch-2.10/lib/libx.so": new,
            "x/torch-2.11/lib/libx.so": old,  # built with the wrong release
        }
    )
    assert letters(found.row) == "-ll" + "l" + "-"
    (reason,) = found.row[CATALOG.releases[0]].reasons
    assert (reason.cause, reason.name) == (Cause.ALTERNATIVE, "x/*/lib/libx.so")
    assert len(found.alternatives) == 3


@pytest.mark.parametrize(
    ("paths", "releases"),
    [
        (["x/torch-2.9/lib/a.so", "x/torch-2.10/lib/a.so"], [(2, 9), (2, 10)]),
        (["x/_C_torch2_9.so", "x/_C_torch2_10.so"], [(2, 9), (2, 10)]),
        (["x/a_pt29.so", "x/a_pt210.so"], [(2, 9), (2, 10)]),
        (["x/pytorch-2.9.1/a.so", "x/pytorch-2.10.0/a.so"], [(2, 9), (2, 10)]),
        (["x/torch-2.9/a.so"], []),  # one is no choice
        (["x/pt22/a.so", "x/pt23/a.so"], []),  # no release that there is
        (
            ["x/torch29-cu126/a.so", "x/torch29-cu130/a.so", "x/torch210-cu130/a.so"],
            [(2, 9), (2, 9), (2, 10)],
        ),
        (["x/torch-2.9/a.so", "x/torch-2.10/b.so"], []),  # two different libraries
        (["x/sm90/a.so", "x/sm100/a.so"], []),
        (["x/libcore4.so", "x/libcore5.so"], []),
        (["x/torchvision/a.so", "torch2trt/a.so"], []),
    ],
)
def test_alternatives_by_name(paths: list[str], releases: list[tuple[int, int]]) -> None:
    assert [
        item.release for item in find_alternatives(paths, {(2, 9), (2, 10)}).values()
    ] == releases


def test_a_needed_library_is_judged_in_the_scope_of_the_one_that_is_opened() -> None:
    """It links nothing of torch itself; the module that is opened does."""
    found = matrix(
        {
            "x/_C.so": library("f", needed=("libx.so", CPU), exports=("PyInit__C",)),
            "x/libx.so": library("torch_ten", exports=("f",)),
        }
    )
    assert letters(found.row) == "---GG"
    assert letters(matrix({"x/libx.so": library("torch_ten")}).row) == "-----"


def test_of_two_siblings_with_one_name_the_loader_takes_one() -> None:
    def of(*runpath: str) -> Matrix:
        return matrix(
            {
                "a/_C.so": library("torch_ten", "f", needed=("libf.so", CPU), runpath=runpath),
                "a/libf.so": library("torch_ten", exports=("f",), needed=(CPU,)),
                "b/libf.so": library("_ZN2at5neverEv", exports=("f",), needed=(CPU,)),
            }
        )

    assert letters(of("$ORIGIN").libraries["a/_C.so"]) == "---GG"
    assert letters(of("$ORIGIN/../b").libraries["a/_C.so"]) == "-----"
    # Neither is found: code has to load one of them first, and which can't be told.
    assert letters(of().libraries["a/_C.so"]) == "-----"
    assert letters(of("$ORIGIN").row) == "-----"


def test_of_libraries_of_which_one_is_loaded_all_have_to_bring_what_is_reached() -> None:
    user = library("torch_ten", "f", needed=("libf.so",), exports=("PyInit__C",))
    links, links_not = library(exports=("f",), needed=(CPU,)), library(exports=("f",))
    both = {"a/_C.so": user, "b/libf.so": links}
    assert letters(matrix(both).libraries["a/_C.so"]) == "---GG"
    both["c/libf.so"] = links_not
    assert letters(matrix(both).libraries["a/_C.so"]) == "-----"


def test_a_library_that_needs_an_unstable_one_is_not_guaranteed() -> None:
    found = matrix(
        {
            "x/_C.so": library("torch_ten", "f", needed=("libf.so", CPU)),
            "x/libf.so": library("_ZN2at6TensorD1Ev", exports=("f",), needed=(CPU,)),
        }
    )
    assert letters(found.libraries["x/_C.so"]) == "---ll"


def test_programs_and_other_machines_bring_no_library() -> None:
    needed = (CPU, "libcudart.so.12")
    for provider in (
        library(executable=True, soname="libcudart.so.12"),
        library(arch="aarch64", soname="libcudart.so.12"),
    ):
        found = matrix({"x/_C.so": library("torch_ten", needed=needed), "x/cudart": provider})
        assert letters(found.libraries["x/_C.so"]) == "---G-"


def test_the_manylinux_half_of_a_wheel_is_judged() -> None:
    promised = claims("py39-none-manylinux_2_28_x86_64.musllinux_1_2_x86_64")
    assert letters(matrix({"x/_C.so": library("torch_ten", needed=(CPU,))}, promised).row) == (
        "---GG"
    )


def test_no_more_is_listed_than_a_person_can_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix_module, "_MAX_REASONS", 3)
    facts = library(*(f"_ZN2at5gone{number}Ev" for number in range(9)), needed=(CPU,))
    row = subject({"x/_C.so": facts}).matrix.row[Version("2.11.0")]
    assert [reason.name for reason in row.reasons] == [
        "_ZN2at5gone0Ev",
        "_ZN2at5gone1Ev",
        "_ZN2at5gone2Ev",
        "more symbols",
    ]


def test_code_inlined_from_unstable_headers_is_not_guaranteed() -> None:
    """It imports shims alone, and the layout of classes is in it all the same."""
    inlined = library(
        "torch_ten", exports=(Symbol("_ZNK2at10TensorBase5sizesEv", weak=True),), needed=(CPU,)
    )
    assert letters(matrix({"x/_C.so": inlined}).row) == "---ll"
    own = library(
        "torch_ten", exports=(Symbol("_ZNK4mine10TensorBase5sizesEv", weak=True),), needed=(CPU,)
    )
    assert letters(matrix({"x/_C.so": own}).row) == "---GG"


def test_an_alternative_is_for_the_last_release_that_its_path_names() -> None:
    """Such a folder is for the major release, or for the oldest that the package supports."""
    found = find_alternatives(
        ["torch2.9/x_torch29.so", "torch2.9/x_torch210.so"], {(2, 9), (2, 10)}
    )
    assert {path: (item.group, item.release) for path, item in found.items()} == {
        "torch2.9/x_torch29.so": ("torch2.9/x_*.so", (2, 9)),
        "torch2.9/x_torch210.so": ("torch2.9/x_*.so", (2, 10)),
    }


def test_no_more_siblings_are_listed_than_a_person_can_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(matrix_module, "_MAX_REASONS", 3)
    siblings = {
        f"x/lib{number}.so": library("_ZN2at5goneEv", needed=(CPU,), soname=f"lib{number}.so")
        for number in range(9)
    }
    names = tuple(f"lib{number}.so" for number in range(9))
    user = library("_ZN2at5goneEv", needed=(*names, CPU), runpath=("$ORIGIN",))
    cell = subject({"x/_C.so": user, **siblings}).matrix.libraries["x/_C.so"][Version("2.11.0")]
    assert [(reason.cause, reason.name) for reason in cell.reasons] == [
        (Cause.SYMBOL, "_ZN2at5goneEv"),
        (Cause.SIBLING, "x/lib0.so"),
        (Cause.SIBLING, "x/lib1.so"),
        (Cause.SIBLING, "x/lib2.so"),
        (Cause.SIBLING, "more libraries"),
    ]


def test_whoever_opens_a_library_is_asked_once_for_each_reach(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []
    original = matrix_module._ReleaseChecker._reasons  # noqa: SLF001

    def counted(self: object, *arguments: object) -> list[Reason]:
        asked.append(arguments)
        return original(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(matrix_module._ReleaseChecker, "_reasons", counted)  # noqa: SLF001
    module = library(needed=("liba.so",), runpath=("$ORIGIN",), exports=("PyInit_m",))
    chain = {"x/liba.so": library("torch_ten", needed=(CPU,), soname="liba.so")}
    modules = {f"x/m{number}.so": module for number in range(50)}
    matrix = subject({**chain, **modules}).matrix
    assert len(asked) == len(matrix.row)


def test_of_long_names_fewer_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix_module, "_MAX_REASONS", 30)
    names = [f"_ZN2at{number + 1000}{'x' * (number + 1000)}Ev" for number in range(20)]
    row = subject({"x/_C.so": library(*names, needed=(CPU,))}).matrix.row[Version("2.11.0")]
    # 30 of 100 bytes.
    assert [reason.name for reason in row.reasons] == [*sorted(names)[:3], "more symbols"]


def test_of_many_libraries_fewer_are_listed_each(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = library(*(f"_ZN2at5gone{number}Ev" for number in range(9)), needed=(CPU,))
    monkeypatch.setattr(matrix_module, "_MIN_REASONS", 2)

    def listed(of_all: int) -> int:
        monkeypatch.setattr(matrix_module, "_MAX_REASONS_OF_ALL", of_all)
        found = matrix({"x/a.so": facts, "x/b.so": facts})
        return len(found.libraries["x/a.so"][Version("2.11.0")].reasons)

    # Two libraries, in five releases each, and that there are more.
    assert listed(50) == 5 + 1
    assert listed(5) == 2 + 1


def test_when_torch_has_a_name() -> None:
    name = "_ZN2at3gapEv"
    found = matrix_in(catalog_of("", name, "", name, ""), {"x/_C.so": library(name, needed=(CPU,))})
    assert [str(cell.reasons[0]) if cell.reasons else "" for cell in found.row.values()] == [
        f"{name}: added in torch 2.9.0",
        "",
        f"{name}: not in torch 2.9.1",
        "",
        f"{name}: last in torch 2.10.0",
    ]


def test_a_shim_is_promised_from_the_release_on_that_declares_it() -> None:
    """Though the one before exports it."""
    shim = CATALOG.shims["aoti_torch_old"]._replace(since=Version("2.10.0"))
    catalog = replace(CATALOG, shims={**CATALOG.shims, "aoti_torch_old": shim})
    found = matrix_in(catalog, {"x/_C.so": library("aoti_torch_old", needed=(CPU,))})
    assert letters(found.row) == "lllGG"


def test_libraries_that_need_not_be_torchs() -> None:
    """What lies beside torch, what another package has, and what the loader does without."""
    cuda = "libcudart.so.13"
    user = {"x/_C.so": library("f", needed=(CPU, cuda))}
    assert letters(matrix_in(catalog_of(*["f"] * 5), user).row) == "-----"
    assert letters(matrix_in(catalog_of(*["f"] * 5, others=(cuda,)), user).row) == "lllll"
    user = {"x/_C.so": library("aoti_torch_old", needed=(CPU, "libtorch_hip.so"))}
    assert letters(matrix(user).row) == "-----"
    optional = library(
        "aoti_torch_old", needed=(CPU, "libtorch_hip.so"), optional=("libtorch_hip.so",)
    )
    assert letters(matrix({"x/_C.so": optional}).row) == "lGGGG"
    user = {"x/_C.so": library("aoti_torch_old", needed=(CPU, "libcudart.so.13"))}
    assert letters(matrix_in(CATALOG, user).row) == "----G"
    assert letters(matrix_in(CATALOG, user, "libcudart.so.13").row) == "lGGGG"


def test_versions_that_are_asked_of_others_are_theirs() -> None:
    needs = (("libc.so.6", ("GLIBC_2.17",)),)
    facts = library("aoti_torch_old", needed=(CPU, "libc.so.6"), version_needs=needs)
    assert letters(matrix({"x/_C.so": facts}).row) == "lGGGG"


def test_a_library_that_several_open_loads_where_one_of_them_brings_what_it_needs() -> None:
    module = library(needed=("libx.so", CPU), runpath=("$ORIGIN",), exports=("PyInit_a",))
    other = library(needed=("libx.so",), runpath=("$ORIGIN",), exports=("PyInit_b",))
    found = matrix({"x/a.so": module, "x/b.so": other, "x/libx.so": library("torch_ten")})
    assert letters(found.libraries["x/libx.so"]) == "---GG"

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest
from packaging.version import Version

from tests.builders import CATALOG, RELEASES, claims, fix_of, library, shown, subject
from torch_abi_audit.abi.classify import classify
from torch_abi_audit.budget import Budget, Limits
from torch_abi_audit.catalog import Catalog, Platform
from torch_abi_audit.catalog.exports import Build, Leak, make_table
from torch_abi_audit.catalog.storage import write_archive
from torch_abi_audit.claims.torch_requirement import requirement
from torch_abi_audit.errors import LimitError
from torch_abi_audit.model import (
    Cell,
    Claims,
    Defect,
    DefectKind,
    Ignore,
    IgnoreUse,
    LayoutStatus,
    Library,
    Member,
    ReleaseStatus,
    Severity,
    Subject,
    Symbol,
    Verdict,
    WholeRun,
)
from torch_abi_audit.rules import RULES, registry, run_rules
from torch_abi_audit.rules.archive import archive_integrity
from torch_abi_audit.rules.checked import is_confined, pins
from torch_abi_audit.rules.cross_wheel import stale_ignore
from torch_abi_audit.rules.registry import Hit, also_of_run, rule
from torch_abi_audit.verdict.policy import Policy

TORCH = ("libtorch_cpu.so",)
STABLE = library("torch_ten", needed=TORCH)
UNSTABLE = library("_ZN2at6TensorD1Ev", needed=TORCH)
LINUX = "manylinux_2_28_x86_64"


def found(item: Subject) -> dict[str, Severity]:
    return {finding.rule: finding.severity for finding in run_rules(item, CATALOG)}


def found_for(libraries: dict[str, Library], promised: Claims) -> dict[str, Severity]:
    return found(subject(libraries, promised))


def test_the_registry() -> None:
    for name, item in RULES.items():
        assert item.name == name
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
        assert item.title


def test_what_finds_a_rule_in_a_run_names_one_that_there_is() -> None:
    def check(_run: WholeRun, _catalog: Catalog) -> Iterator[Hit]:
        yield Hit("never")

    with pytest.raises(KeyError, match="no-such-rule"):
        also_of_run("no-such-rule")(check)


def test_what_finds_a_rule_can_be_called_by_its_name() -> None:
    item = replace(subject({}), defects=(Defect(DefectKind.SYMLINK, "a.so", ""),))
    (hit,) = archive_integrity(item, CATALOG)
    assert hit.libraries == ("a.so",)
    run = WholeRun(ignores=(IgnoreUse(Ignore("x", "why"), matched=0, present=True, expired=False),))
    (hit,) = stale_ignore(run, CATALOG)
    assert hit.message == "ignore x: no finding matches"


def test_no_two_rules_have_one_name() -> None:
    before = RULES["torch-unpinned"]
    with pytest.raises(ValueError, match="two rules named torch-unpinned"):
        rule("torch-unpinned", Severity.NOTE, "title", why="why", fix="fix")
    assert RULES["torch-unpinned"] is before


def test_rules_are_documented_where_the_project_is() -> None:
    url = "https://github.com/Quansight/torch-abi-audit#torch-unpinned"
    assert RULES["torch-unpinned"].url == url


def test_rules_take_no_more_time_than_there_is() -> None:
    budget = Budget(Limits(seconds=0))
    with pytest.raises(LimitError, match="takes more than 0 s"):
        run_rules(subject({"a.so": UNSTABLE}), CATALOG, budget)


def test_symbols_have_their_declarations_while_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Libraries have no declaration, and take no room; nor does a name that is not mangled."""
    names = ("_ZN2at3newEv", "_ZN2at6TensorD1Ev", "aoti_torch_gone")
    item = subject({"a.so": library(*names, needed=TORCH)})

    def declarations() -> list[str | None]:
        (finding,) = [f for f in run_rules(item, CATALOG) if f.rule == "unstable-torch-symbol"]
        return [piece.declaration for piece in finding.evidence]

    new, tensor = "at::new()", "at::Tensor::~Tensor()"
    for room, expected in (
        (100, [new, tensor, None]),
        (len(new) + 1, [new, tensor, None]),
        (len(new), [new, None, None]),
        (1, [new, None, None]),
        (0, [None, None, None]),
    ):
        monkeypatch.setattr(registry, "_MAX_DECLARED", room)
        assert declarations() == expected
    monkeypatch.undo()
    defect = Defect(DefectKind.SYMLINK, "_Z1fv", "to a.so")
    (finding,) = run_rules(replace(subject({}), defects=(defect,)), CATALOG)
    assert [(piece.name, piece.declaration) for piece in finding.evidence] == [("_Z1fv", None)]
    # There are some MB of it.
    monkeypatch.setattr(registry, "demangle", lambda _name: "x" * (1 << 20))
    many = [f"_ZN2at5never{letter}v" for letter in "abcdefghij"]
    item = subject({"a.so": library(*many, needed=TORCH)})
    assert sum(declaration is not None for declaration in declarations()) == 4


def test_findings_come_by_severity() -> None:
    findings = run_rules(subject({"a.so": UNSTABLE}), CATALOG)
    assert [finding.rule for finding in findings] == [
        "unstable-torch-symbol",
        "torch-unpinned",
    ]


FLOOR = "torch-floor-understated"
FLOOR_FIX = 'dependencies = ["torch>=2.10"]'
OVER = "torch-floor-overstated"


@pytest.mark.parametrize(
    ("torch", "rules"),
    [
        ("torch>=2.10", set()),
        ("torch>=2.11", {OVER}),
        ("torch==2.11.*", {OVER}),
        ("torch>=2.9", {FLOOR}),
        ("torch", {FLOOR}),
        ("torch<3,!=2.1.0,!=2.8.0", {FLOOR}),
        ("torch==2.9.0+cu128", {FLOOR, OVER}),
        ("torch>2.9.1", set()),  # no release lies between
    ],
)
def test_floor(torch: str, rules: set[str]) -> None:
    assert set(found_for({"a.so": STABLE}, claims(torch=(torch,)))) == rules


def test_floor_understated_names_symbol_release_and_line() -> None:
    libraries = {"a.so": STABLE, "b.so": library("torch_eleven", needed=TORCH)}
    (finding,) = run_rules(subject(libraries, claims(torch=("torch>=2.10",))), CATALOG)
    assert finding.library == "b.so"
    assert shown(finding) == ("torch_eleven",)
    assert finding.message == (
        "the metadata allows torch 2.10, but the wheel needs 2.11 or newer: torch_eleven was added"
        " in 2.11"
    )
    assert fix_of(finding) == (
        'dependencies = ["torch>=2.11"], or build with -DTORCH_TARGET_VERSION=0x020a000000000000'
    )


@pytest.mark.parametrize(
    ("torch", "fix"),
    [
        ("torch>=2.9", f"{FLOOR_FIX}, or build with -DTORCH_TARGET_VERSION=0x0209"),
        # Before the promise there is no macro that would help.
        ("torch>=2.8", FLOOR_FIX),
        ("torch", FLOOR_FIX),
    ],
)
def test_a_build_for_an_older_torch_is_advised_where_the_promise_covers_it(
    torch: str, fix: str
) -> None:
    (finding,) = run_rules(subject({"a.so": STABLE}, claims(torch=(torch,))), CATALOG)
    assert finding.rule == FLOOR
    assert fix_of(finding) == fix + "0" * 12 * ("=0x" in fix)


def test_floor_of_the_promise() -> None:
    libraries = {"a.so": library("aoti_torch_old", needed=TORCH)}
    (finding,) = run_rules(subject(libraries, claims(torch=("torch>=2.8",))), CATALOG)
    assert finding.rule == "torch-floor-understated"
    assert fix_of(finding) == 'dependencies = ["torch>=2.9"]'
    assert "the stable ABI starts with 2.9" in finding.message


def test_undeclared() -> None:
    assert found_for({"a.so": STABLE}, claims()) == {"torch-undeclared": Severity.WARNING}
    assert found_for({"a.so": library("malloc")}, claims()) == {}
    linked = {"a.so": library("malloc", needed=TORCH)}
    (finding,) = run_rules(subject(linked, claims()), CATALOG)
    assert (finding.rule, fix_of(finding)) == ("torch-undeclared", 'dependencies = ["torch"]')


def test_undeclared_for_some() -> None:
    promised = claims(torch=('torch>=2.10; python_version >= "3.12"',))
    (finding,) = run_rules(subject({"a.so": STABLE}, promised), CATALOG)
    assert finding.message.endswith("only under a marker that does not always apply")


@pytest.mark.parametrize(
    ("symbol", "torch", "rules"),
    [
        # in every release: no pin is too wide but for what is to come
        ("_ZN2at6TensorD1Ev", ("torch==2.10.0",), set()),
        ("_ZN2at6TensorD1Ev", ("torch>=2.9,<2.12",), set()),
        ("_ZN2at6TensorD1Ev", ("torch>=2.9,<2.13",), {"torch-unpinned"}),
        ("_ZN2at6TensorD1Ev", ("torch",), {"torch-unpinned"}),
        ("_ZN2at6TensorD1Ev", (), {"torch-unpinned"}),
        ("_ZN2at6TensorD1Ev", ("torch==2.77.*",), {"unknown-release"}),  # not out yet
        ("_ZN2at6TensorD1Ev", ("torch==2.1.*",), {"unknown-release"}),  # older than the catalog
        # in 2.10.0 and 2.11.0
        ("_ZN2at3newEv", ("torch==2.11.*",), set()),
        ("_ZN2at3newEv", ("torch>=2.10,<2.12",), set()),
        ("_ZN2at3newEv", ("torch>=2.9,<2.12",), {"torch-unpinned"}),
        ("_ZN2at3newEv", ("torch==2.9.*",), {"torch-symbol-missing"}),
        # older than the catalog: not known to load
        ("_ZN2at6TensorD1Ev", ("torch>=2.1,<2.12",), {"torch-unpinned"}),
    ],
)
def test_unpinned(symbol: str, torch: tuple[str, ...], rules: set[str]) -> None:
    item = library(symbol, needed=TORCH)
    found_rules = set(found_for({"a.so": item}, claims(torch=torch)))
    assert found_rules - {"unstable-torch-symbol"} == rules


def test_unpinned_says_what_loads_and_the_line() -> None:
    def hit(*torch: str) -> tuple[str, str]:
        item = library("_ZN2at3newEv", needed=TORCH)
        findings = run_rules(subject({"a.so": item}, claims(torch=torch)), CATALOG)
        (only,) = [finding for finding in findings if finding.rule == "torch-unpinned"]
        return only.message, fix_of(only)

    pins = '"torch==2.10.*" or "torch==2.11.*"'
    line = f"pin the torch release that the wheel was built with: {pins}"
    loads = "the wheel uses the unstable ABI and loads only on torch 2.10-2.11, but"
    assert hit("torch>=2.9,<2.12") == (f"{loads} the metadata allows torch 2.9-2.11", line)
    assert hit("torch>=2.10") == (f"{loads} the metadata allows torch 2.10 and newer", line)
    later = "the metadata allows several releases that are not out yet"
    assert hit("torch>2.11") == (f"{loads} {later}", line)
    assert hit("torch") == (f"{loads} the metadata allows any release", line)
    assert hit() == (f"{loads} torch is not declared as a dependency", line)
    assert hit("torch>=2.8,!=2.9.*,!=2.10.*") == (
        f"{loads} the metadata allows torch 2.8, 2.11 and newer",
        line,
    )
    marked = "the metadata declares torch only under a marker that does not always apply"
    assert hit("torch==2.10.*; python_version < '3.12'") == (f"{loads} {marked}", line)


def test_unpinned_where_no_data_is() -> None:
    promised = claims("py39-none-musllinux_1_2_x86_64", torch=("torch>=2.9",))
    findings = run_rules(subject({"a.so": UNSTABLE}, promised), CATALOG)
    (hit,) = [finding for finding in findings if finding.rule == "torch-unpinned"]
    assert fix_of(hit) == "pin the torch release that the wheel was built with"


@pytest.mark.parametrize(
    ("tag", "torch", "symbol", "severity"),
    [
        (LINUX, "torch==2.77.*", "_ZN2at6TensorD1Ev", Severity.ERROR),
        (LINUX, "torch==2.77.*", "torch_ten", Severity.WARNING),
        (LINUX, "torch>=2.11", "torch_ten", None),
        ("musllinux_1_2_x86_64", "torch==2.11.*", "_ZN2at6TensorD1Ev", Severity.ERROR),
        ("musllinux_1_2_x86_64", "torch==2.11.*", "torch_ten", None),  # its floor is known
        (LINUX, "torch==2.77.*", "malloc", None),
    ],
)
def test_what_can_not_be_judged_is_said(
    tag: str, torch: str, symbol: str, severity: Severity | None
) -> None:
    promised = claims(f"py39-none-{tag}", torch=(torch,))
    hits = found_for({"a.so": library(symbol, needed=TORCH)}, promised)
    assert hits.get("unknown-release") is severity


def test_symbol_missing_names_symbols_releases_and_what_is_there_instead() -> None:
    item = library("_ZN2at6changeEi", "_ZN2at3newEv", needed=TORCH)
    findings = run_rules(subject({"a.so": item}, claims(torch=("torch==2.11.*",))), CATALOG)
    (hit,) = [finding for finding in findings if finding.rule == "torch-symbol-missing"]
    assert hit.severity is Severity.ERROR
    assert hit.library == "a.so"
    assert shown(hit) == ("_ZN2at6changeEi",)
    assert hit.message == (
        "torch 2.11, allowed by the metadata, lacks 1 name that 1 library needs: at::change (last"
        " in torch 2.9.1)"
    )
    assert [item.detail for item in hit.evidence] == [
        "last in torch 2.9.1; torch 2.11.0 has at::change(long)"
    ]
    # No release has both.
    assert fix_of(hit) == "rebuild the wheel with one torch release, and pin that release"


def test_what_breaks_a_library_is_not_told_of_those_that_need_it() -> None:
    libraries = {
        "_C.so": library("torch_ten", "f", needed=("libx.so", *TORCH), exports=("PyInit__C",)),
        "libx.so": library("_ZN2at6changeEi", exports=("f",), needed=TORCH),
    }
    item = subject(libraries, claims(torch=("torch==2.11.*",)))
    assert {cell.status for cell in item.matrix.libraries["_C.so"].values()} == {
        ReleaseStatus.BREAKS
    }
    hits = [f for f in run_rules(item, CATALOG) if f.rule == "torch-symbol-missing"]
    assert [(hit.libraries, shown(hit)) for hit in hits] == [(("libx.so",), ("_ZN2at6changeEi",))]


def test_an_unknown_shim_is_newer_than_the_newest_release() -> None:
    item = subject({"a.so": library("aoti_torch_new", needed=TORCH)}, claims(torch=("torch",)))
    (hit,) = [f for f in run_rules(item, CATALOG) if f.rule == "unknown-shim-symbol"]
    assert hit.message == (
        "1 library imports 1 symbol that no torch up to 2.11 declares: the wheel may need a newer"
        " release"
    )


CUDA12 = library("torch_ten", needed=(*TORCH, "libcudart.so.12"))


@pytest.mark.parametrize(
    ("item", "torch", "cuda", "broken"),
    [
        (CUDA12, "torch>=2.10", (), True),
        (CUDA12, "torch==2.10.*", (), False),
        (CUDA12, "torch>=2.10", ("nvidia-cuda-runtime-cu12",), False),
        (CUDA12, "torch>=2.10", ("nvidia-cuda-runtime",), True),
        (CUDA12, "torch>=2.10", ("nvidia-cuda-runtime==12.*",), False),
        (CUDA12, "torch>=2.10", ("nvidia-cuda-runtime-cu12; extra == 'cuda'",), True),
        (CUDA12, "torch>=2.10", ("nvidia-cuda-runtime-cu12; sys_platform == 'win32'",), True),
        (CUDA12, "torch>=2.10", ("cuda-toolkit[cudart]==12.8.1",), False),
        (CUDA12, "torch>=2.10", ("cuda-toolkit[all]==12.8.1",), False),
        (CUDA12, "torch>=2.10", ("cuda-toolkit[cublas]==12.8.1",), True),
        (CUDA12, "torch>=2.10", ("cuda-toolkit[cudart]==13.0.2",), True),
        (library("torch_ten", needed=(*TORCH, "libcurand.so.10")), "torch>=2.10", (), True),
        # of no release of torch: the user's to install
        (library("torch_ten", needed=(*TORCH, "libnvjpeg.so.13")), "torch>=2.10", (), False),
        (library("torch_ten", needed=(*TORCH, "libcuda.so.1")), "torch>=2.10", (), False),
    ],
)
def test_cuda_major(item: Library, torch: str, cuda: tuple[str, ...], broken: bool) -> None:  # noqa: FBT001
    rules = found_for({"a.so": item}, claims(torch=(torch,), cuda=cuda))
    assert ("cuda-major-mismatch" in rules) is broken


def test_cuda_major_says_which_and_the_line() -> None:
    item = subject({"a.so": CUDA12}, claims(torch=("torch>=2.10",)))
    (hit,) = [f for f in run_rules(item, CATALOG) if f.rule == "cuda-major-mismatch"]
    assert shown(hit) == ("libcudart.so.12",)
    assert hit.message == (
        "the wheel needs libcudart.so.12, but torch 2.11.0 ships libcudart.so.13 (CUDA 13.0), so it"
        " does not load on torch 2.11"
    )
    assert fix_of(hit) == ('dependencies = ["torch==2.10.*"], or link the CUDA runtime statically')


def test_a_bundled_cuda_runtime_is_there() -> None:
    libraries = {
        "a.so": library("torch_ten", needed=(*TORCH, "libcudart.0a1b2c3d.so.12")),
        "x.libs/libcudart.0a1b2c3d.so.12": library(soname="libcudart.0a1b2c3d.so.12"),
    }
    assert found_for(libraries, claims(torch=("torch>=2.10",))) == {}


def test_cuda_build_required() -> None:
    libraries = {"a.so": library("torch_ten", needed=(*TORCH, "libc10_cuda.so"))}
    rules = found_for(libraries, claims(torch=("torch>=2.10",)))
    assert rules["cuda-build-required"] is Severity.NOTE


@pytest.mark.parametrize(
    ("name", "platform", "leaks"),
    [
        ("_ZSt9leaked_upv", "manylinux_2_28_x86_64", True),
        ("_ZSt9leaked_upv", "manylinux_2_39_x86_64", False),  # promises GLIBCXX_3.4.33
        ("_ZSt9leaked_upv", "linux_x86_64", True),
        # 2.8.0 lacks it, and its own tag is manylinux1.
        ("_ZSt9leaked_onv", "manylinux2014_x86_64", True),
        ("_ZSt9leaked_onv", "manylinux_2_28_x86_64", False),
        # 2.8.0 alone has it, and the tags of all others promise a libstdc++ that does.
        ("_ZSt11leaked_oncev", "manylinux2014_x86_64", False),
    ],
)
def test_leaked_libstdcxx_symbol(
    name: str,
    platform: str,
    leaks: bool,  # noqa: FBT001
) -> None:
    libraries = {"a.so": library("torch_ten", name, needed=TORCH)}
    rules = found_for(libraries, claims(f"py39-none-{platform}", torch=("torch>=2.10",)))
    assert ("leaked-libstdcxx-symbol" in rules) is leaks


def test_of_several_leaks_the_newest_sets_the_floor() -> None:
    leaks = {
        "_ZSt3oldv": Leak(0b11110, "GLIBCXX_3.4.30"),
        "_ZSt9leaked_upv": Leak(0b11000, "GLIBCXX_3.4.32"),
    }
    exports = {"libtorch_cpu.so": list(leaks)}
    builds = [
        Build(Version(release), None, {"libtorch_cpu.so": ()}, cxx11=True) for release in RELEASES
    ]
    data = write_archive(builds, make_table([exports] * len(builds)), leaks)
    platform = Platform("linux_x86_64", lambda: io.BytesIO(data))
    catalog = replace(CATALOG, platforms={"linux_x86_64": platform})
    # By itself the older leak asks for no newer torch than the shim does; the newer one does.
    user = library("aoti_torch_old", *leaks, needed=TORCH)
    items, _ = classify([("a.so", user)], (LINUX,), catalog)
    hits = [
        finding
        for finding in run_rules(Subject(claims(), items), catalog)
        if finding.rule == "leaked-libstdcxx-symbol"
    ]
    (hit,) = hits
    assert hit.severity is Severity.WARNING
    assert hit.message.endswith("which exports one of them only since 2.10 (GLIBCXX_3.4.32)")


def test_a_leak_that_sets_no_floor_of_its_own_is_a_note() -> None:
    old = library("aoti_torch_old", "_ZSt9leaked_upv", needed=TORCH)
    new = library("torch_ten", "_ZSt9leaked_upv", needed=TORCH)
    promised = claims(torch=("torch>=2.10",))
    older = claims(torch=("torch>=2.9",))
    rule = "leaked-libstdcxx-symbol"
    assert found_for({"a.so": old}, older)[rule] is Severity.WARNING
    assert found_for({"a.so": old}, claims())[rule] is Severity.WARNING
    assert found_for({"a.so": old}, promised)[rule] is Severity.NOTE
    assert found_for({"a.so": new}, older)[rule] is Severity.NOTE


def test_an_alternative_is_not_blamed_for_a_release_that_it_is_not_meant_for() -> None:
    """What breaks with 2.11 is the library for 2.11, and not the one for CUDA 12."""
    libraries = {
        "torch-2.10/a.so": library("torch_ten", needed=(*TORCH, "libcudart.so.12")),
        "torch-2.11/a.so": library("_ZN2at5neverEv", needed=TORCH),
    }
    findings = run_rules(subject(libraries, claims(torch=("torch>=2.10",))), CATALOG)
    rules = {finding.rule: finding.library for finding in findings}
    assert "cuda-major-mismatch" not in rules
    assert rules["torch-unpinned"] == "torch-2.11/a.so"


def test_one_alternative_of_two_for_a_release_is_enough() -> None:
    libraries = {
        "torch29-cu126/a.so": library("aoti_torch_old", needed=TORCH),
        "torch210-cu126/a.so": library("torch_ten", needed=(*TORCH, "libcudart.so.12")),
        "torch210-cu130/a.so": library("_ZN2at5neverEv", needed=(*TORCH, "libcudart.so.13")),
    }
    rules = found_for(libraries, claims(torch=("torch>=2.10,<2.11",)))
    assert "torch-symbol-missing" not in rules
    assert "cuda-major-mismatch" not in rules


@pytest.mark.parametrize(
    ("others", "pinned"),
    [
        ({}, ["torch>=2.9,<2.11"]),
        # What the wheel has for all releases is not known to be the same for all of them.
        ({"b.so": UNSTABLE}, ["torch==2.9.*", "torch==2.10.*"]),
    ],
)
def test_alternatives_whose_layouts_are_not_known(
    others: dict[str, Library], pinned: list[str]
) -> None:
    """Each is loaded with its own minor release alone, like a wheel that pins it."""
    libraries = {"torch-2.9/_C.so": UNSTABLE, "torch-2.10/_C.so": UNSTABLE, **others}
    item = subject(libraries, claims(torch=("torch>=2.9,<2.11",)))

    def unknown(row: Mapping[Version, Cell]) -> dict[Version, Cell]:
        return {r: replace(cell, layout=LayoutStatus.UNKNOWN) for r, cell in row.items()}

    rows = {path: unknown(row) for path, row in item.matrix.libraries.items()}
    item = replace(
        item, matrix=replace(item.matrix, libraries=rows, row=unknown(item.matrix.row)), built={}
    )
    assert pins(item, CATALOG) == pinned
    assert ("torch-unpinned" in found(item)) is (len(pinned) > 1)
    assert is_confined(item, CATALOG) is (len(pinned) == 1)


@pytest.mark.parametrize(
    ("libraries", "promised", "rule"),
    [
        # a library of torch's that no build has
        (
            {"a.so": library("torch_ten", needed=(*TORCH, "libtorch_hip.so"))},
            claims(torch=("torch>=2.10",)),
            "torch-symbol-missing",
        ),
        # no alternative for 2.11
        (
            {
                "torch-2.9/_C.so": library("aoti_torch_old", needed=TORCH),
                "torch-2.10/_C.so": library("torch_ten", needed=TORCH),
            },
            claims(torch=("torch>=2.10",)),
            "torch-symbol-missing",
        ),
        # a sibling that needs nothing of torch, but CUDA
        (
            {
                "a.so": library("torch_ten", needed=(*TORCH, "libb.so")),
                "libb.so": library(needed=("libcudart.so.12",)),
            },
            claims(torch=("torch>=2.10",)),
            "cuda-major-mismatch",
        ),
        # a build without CUDA
        (
            {"a.so": library("torch_ten", needed=(*TORCH, "libtorch_cuda_cu.so"))},
            claims(torch=("torch>=2.10",)),
            None,
        ),
    ],
)
def test_what_breaks_is_an_error(
    libraries: dict[str, Library], promised: Claims, rule: str | None
) -> None:
    item = subject(libraries, promised)
    broken = [cell for cell in item.matrix.row.values() if cell.status is ReleaseStatus.BREAKS]
    assert broken
    errors = [f.rule for f in run_rules(item, CATALOG) if f.severity is Severity.ERROR]
    assert errors
    assert rule is None or rule in errors


def test_foreign_and_unguaranteed_and_inlined() -> None:
    item = library(
        "torch_ten",
        "aoti_torch_cpu_private",
        "cpuinfo_initialize",
        exports=(Symbol("_ZNK2at10TensorBase5sizesEv", weak=True),),
        needed=TORCH,
    )
    assert found_for({"a.so": item}, claims(torch=("torch>=2.10",))) == {
        "foreign-symbol-from-libtorch": Severity.WARNING,
        "unstable-inline-code": Severity.WARNING,
        "unguaranteed-shim": Severity.NOTE,
    }


def test_links_torch_python() -> None:
    needed = (*TORCH, "libtorch_python.so")
    linked = {"a.so": library("torch_ten", needed=needed)}
    using = {"a.so": library("THPVariableClass", needed=needed)}
    promised = claims(torch=("torch==2.11.*",))
    assert found_for(linked, promised)["links-torch-python"] is Severity.NOTE
    # On the unstable ABI it is one more symbol, where the metadata allows for it.
    assert found_for(using, promised)["links-torch-python"] is Severity.NOTE
    assert found_for(using, claims(torch=("torch",)))["links-torch-python"] is Severity.WARNING


def test_other_releases_than_the_metadata_asks_for() -> None:
    item = subject({"a.so": STABLE}, claims(torch=("torch>=2.10",)), judged="==2.9.0")
    assert FLOOR in found(item)


@pytest.mark.parametrize(
    ("releases", "open_ended", "line"),
    [
        ("2.10.0 2.11.0", True, "torch>=2.10"),
        ("2.10.0", True, "torch==2.10.*"),
        ("2.9.0 2.9.1", False, "torch==2.9.*"),
        ("2.9.0", False, "torch==2.9.0"),
        ("2.9.1", False, "torch==2.9.1"),
        ("2.9.1 2.10.0", False, "torch>=2.9.1,<2.11"),
        ("2.8.0 2.9.0", False, "torch>=2.8,<=2.9.0"),
        ("2.8.0 2.10.0 2.11.0", False, "torch>=2.10,<2.12"),  # the newest run
    ],
)
def test_requirement(releases: str, open_ended: bool, line: str) -> None:  # noqa: FBT001
    wanted = map(Version, releases.split())
    assert requirement(wanted, CATALOG.published, open_ended=open_ended) == line


def test_torch_itself_needs_no_torch() -> None:
    libraries = {
        "torch/lib/libtorch_cpu.so": library(
            "_ZN3c105ErrorD1Ev", needed=("libc10.so",), runpath=("$ORIGIN",)
        ),
        "torch/lib/libc10.so": library(exports=("_ZN3c105ErrorD1Ev",)),
    }
    assert found_for(libraries, claims(name="torch")) == {}
    assert found_for(libraries, claims(name="x")) == {"bundled-libtorch": Severity.ERROR}


ABI3 = claims(f"cp310-abi3-{LINUX}")
MODULE = library("PyObject_Call", exports=("PyInit__C",))
PRIVATE = library("_PyObject_GetDictPtr", exports=("PyInit__C",))


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("cp310-abi3", {"abi3-violation": Severity.ERROR}),
        ("cp310-cp310", {}),
        ("cp315-abi3t", {"abi3-violation": Severity.ERROR}),
    ],
)
def test_abi3_violation(tag: str, expected: dict[str, Severity]) -> None:
    assert found_for({"_C.so": PRIVATE}, claims(f"{tag}-{LINUX}")) == expected


@pytest.mark.parametrize(
    ("tag", "python", "understated"),
    [
        ("cp310-abi3", "", True),
        ("cp310.cp312-abi3", "", True),  # the oldest of a compressed set counts
        ("cp311-abi3", "", False),
        ("cp38-abi3", ">=3.11", False),
        ("cp38-abi3", ">=3.10.2", True),
        ("cp310-cp310", "", False),
    ],
)
def test_abi3_floor(tag: str, python: str, understated: bool) -> None:  # noqa: FBT001
    libraries = {"_C.so": library("PyObject_GetBuffer", exports=("PyInit__C",))}
    rules = found_for(libraries, claims(f"{tag}-{LINUX}", python=python))
    assert ("abi3-floor-understated" in rules) is understated


@pytest.mark.parametrize(
    ("path", "item", "promised", "severity"),
    [
        ("_C.cpython-310-x86_64-linux-gnu.so", MODULE, ABI3, Severity.ERROR),
        ("x/_C.pypy310-pp73-x86_64-linux-gnu.so", MODULE, ABI3, Severity.ERROR),
        ("x/_C.abi3.so", MODULE, ABI3, None),
        ("x/_C.so", MODULE, ABI3, None),
        ("x/_C.pyd", MODULE, ABI3, None),
        # loaded by its path, so its name does not matter
        ("x/_C.cpython-310-x86_64-linux-gnu.so", library("f"), ABI3, None),
        # no working module: it uses nothing of the C API
        (
            "x/_C.cpython-310-x86_64-linux-gnu.so",
            library(exports=("PyInit__C",)),
            ABI3,
            Severity.WARNING,
        ),
        # the promise is for that one Python
        (
            "x/_C.cpython-310-x86_64-linux-gnu.so",
            MODULE,
            claims(f"cp310-abi3-{LINUX}", python="<3.11"),
            None,
        ),
        ("x/_C.cpython-310-x86_64-linux-gnu.so", MODULE, claims(f"cp310-cp310-{LINUX}"), None),
    ],
)
def test_abi3_suffix(path: str, item: Library, promised: Claims, severity: Severity | None) -> None:
    assert found_for({path: item}, promised).get("abi3-suffix") is severity


def test_abi3_suffix_beside_a_general_module() -> None:
    libraries = {"x/_C.cpython-310-x86_64-linux-gnu.so": MODULE, "x/_C.abi3.so": MODULE}
    assert found_for(libraries, ABI3) == {"abi3-suffix": Severity.WARNING}


@pytest.mark.parametrize(
    ("tag", "item", "severity"),
    [
        ("py39-none", MODULE, Severity.ERROR),
        ("py3-none", PRIVATE, Severity.ERROR),
        ("cp312-none", PRIVATE, Severity.WARNING),  # CPython 3.12 alone installs it
        ("py39-none", library("PyObject_Call"), Severity.WARNING),  # Python does not import it
        ("py39-none", library("malloc", exports=("PyInit__C",)), None),
        ("cp312-cp312", PRIVATE, None),
    ],
)
def test_python_api_in_none_wheel(tag: str, item: Library, severity: Severity | None) -> None:
    rules = found_for({"_C.so": item}, claims(f"{tag}-{LINUX}"))
    assert rules.get("python-api-in-none-wheel") is severity


def test_filename_tag_mismatch() -> None:
    promised = claims(wheel_tag="py39-none-linux_x86_64")
    assert found_for({}, promised) == {"filename-tag-mismatch": Severity.WARNING}
    both = "py2.py3-none-any"
    assert found_for({}, claims(both, wheel_tag=both)) == {}


@pytest.mark.parametrize(
    ("promised", "item", "severity"),
    [
        (claims("py3-none-any"), library("malloc"), Severity.ERROR),
        (claims(purelib=True), library("malloc"), Severity.WARNING),
        (claims("py3-none-any"), library("malloc", executable=True), Severity.WARNING),
        (claims(), library("malloc"), None),
    ],
)
def test_binaries_in_pure_wheel(promised: Claims, item: Library, severity: Severity | None) -> None:
    assert found_for({"a": item}, promised).get("binaries-in-pure-wheel") is severity


@pytest.mark.parametrize(
    ("platform", "arch", "wrong"),
    [
        ("manylinux_2_28_x86_64", "x86_64", False),
        ("manylinux_2_28_x86_64", "aarch64", True),
        ("manylinux2014_aarch64.manylinux_2_17_aarch64", "aarch64", False),
        ("musllinux_1_2_armv7l", "arm", False),
        ("linux_i686", "i686", False),
        ("android_24_arm64_v8a", "aarch64", False),
        ("any", "x86_64", False),
    ],
)
def test_wrong_architecture(platform: str, arch: str, wrong: bool) -> None:  # noqa: FBT001
    rules = found_for({"a.so": library(arch=arch)}, claims(f"py39-none-{platform}"))
    assert ("wrong-architecture" in rules) is wrong


def test_a_helper_for_another_machine_is_a_warning() -> None:
    other = library(arch="aarch64")
    assert found_for({"a.so": library(), "b.so": other}, claims()) == {
        "wrong-architecture": Severity.WARNING
    }
    needing = library(needed=("b.so",))
    assert found_for({"a.so": needing, "b.so": other}, claims()) == {
        "wrong-architecture": Severity.ERROR
    }


def test_unreadable() -> None:
    broken = Subject(claims(), (), (Member("x/_C.so", (), "truncated"),))
    (finding,) = run_rules(broken, CATALOG)
    assert (finding.rule, finding.library) == ("unreadable-library", "x/_C.so")
    assert Policy().verdict(broken, (finding,)) is Verdict.ERROR


@pytest.mark.parametrize(
    ("libraries", "torch", "strict", "verdict"),
    [
        ({"a.so": STABLE}, ("torch>=2.10",), False, Verdict.SAFE),
        ({"a.so": STABLE}, (), False, Verdict.SAFE),  # a warning
        ({"a.so": STABLE}, (), True, Verdict.UNSAFE),
        ({"a.so": STABLE}, ("torch",), False, Verdict.UNSAFE),
        ({"a.so": UNSTABLE}, ("torch==2.10.*",), False, Verdict.PINNED),
        ({"a.so": UNSTABLE}, ("torch>=2.10",), False, Verdict.UNSAFE),
        ({"a.so": library("malloc")}, (), False, Verdict.NOT_APPLICABLE),
        ({}, (), True, Verdict.NOT_APPLICABLE),
        ({"a.so": library("malloc", needed=TORCH)}, ("torch",), False, Verdict.SAFE),
    ],
)
def test_verdicts(
    libraries: dict[str, Library],
    torch: tuple[str, ...],
    strict: bool,  # noqa: FBT001
    verdict: Verdict,
) -> None:
    item = subject(libraries, claims(torch=torch))
    assert Policy(strict=strict).verdict(item, run_rules(item, CATALOG)) is verdict

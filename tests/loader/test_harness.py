"""The pure parts of the comparison with loaders: what they say, stubs, draws and the table."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.loader import sites, wheels
from tests.loader.draw import candidates, packages
from tests.loader.results import Results, Row
from tests.loader.stubs import Stub, build_elf, definition_file, elf_source, version_script
from tests.loader.verdicts import Outcome, Verdict, compare, wine_error
from torch_abi_audit.formats import BytesSource, read_libraries
from torch_abi_audit.model import (
    Cause,
    Cell,
    Format,
    LayoutStatus,
    Library,
    Reason,
    ReleaseStatus,
    Symbol,
)

LOADS = Cell(ReleaseStatus.LINKS, layout=LayoutStatus.UNCHANGED)
CHANGED = Cell(ReleaseStatus.LINKS, layout=LayoutStatus.CHANGED)
GUARANTEED = Cell(ReleaseStatus.GUARANTEED)
NO_DATA = Cell(ReleaseStatus.UNKNOWN)
SYMBOL = "_ZN3c105ErrorC2Ev"
UNDEFINED = f"x/_C.so: undefined symbol: {SYMBOL}"
NO_FFMPEG = "libavcodec.so.59: cannot open shared object file: No such file or directory"
NO_CUDA = "libcudart.so.13: cannot open shared object file: No such file or directory"
NO_C10_CUDA = "c10_cuda.dll: cannot open shared object file"
NO_GLIBC = "/lib/libc.so.6: version `GLIBC_2.38' not found (required by x/_C.so)"


def breaks(*names: str) -> Cell:
    reasons = tuple(Reason(Cause.SYMBOL, name, "added in torch 2.9.0") for name in names)
    return Cell(ReleaseStatus.BREAKS, reasons)


@pytest.mark.parametrize(
    ("cell", "error", "verdict"),
    [
        (LOADS, "", Verdict.LOADS),
        (GUARANTEED, "", Verdict.LOADS),
        (LOADS, UNDEFINED, Verdict.WRONG),
        (GUARANTEED, NO_CUDA, Verdict.WRONG),
        (LOADS, NO_FFMPEG, Verdict.OTHER),
        (LOADS, f"x/libb.so: {NO_FFMPEG}", Verdict.OTHER),
        (LOADS, NO_FFMPEG.replace("libavcodec.so.59", "libnvinfer.so.10"), Verdict.OTHER),
        (LOADS, NO_GLIBC, Verdict.HOST),
        (LOADS, "x: undefined symbol: _ZSt1xv, version GLIBCXX_3.4.32", Verdict.HOST),
        (CHANGED, "died with status -6", Verdict.ABORTS),
        (LOADS, "died with status -6", Verdict.WRONG),
        (GUARANTEED, "died with status -6", Verdict.WRONG),
        (LOADS, "not decided: it takes too long", Verdict.UNDECIDED),
        (breaks(SYMBOL), UNDEFINED, Verdict.BREAKS),
        (breaks("libcudart.so.13"), NO_CUDA, Verdict.BREAKS),
        (breaks("c10_cuda.dll"), f"{NO_C10_CUDA}; {NO_CUDA}", Verdict.BREAKS),
        (breaks("torch_cuda.dll"), f"{NO_C10_CUDA}; {NO_CUDA}", Verdict.UNNAMED),
        (breaks("_ZN2at3addEv"), UNDEFINED, Verdict.UNNAMED),
        (breaks(SYMBOL), "invalid ELF header", Verdict.UNNAMED),
        (breaks(SYMBOL), "", Verdict.WRONG),
        # Initialisers run after all symbols are found.
        (breaks(SYMBOL), "died with status -11", Verdict.WRONG),
        (breaks("_ZSt1xv of GLIBCXX_3.4.29"), "", Verdict.HOST),
        (breaks("_ZSt1xv of GLIBCXX_3.4.29", SYMBOL), "", Verdict.WRONG),
        (breaks(SYMBOL), NO_FFMPEG, Verdict.OTHER),
        (NO_DATA, UNDEFINED, Verdict.NO_DATA),
    ],
)
def test_a_cell_and_what_the_loader_did(cell: Cell, error: str, verdict: Verdict) -> None:
    assert compare(cell, Outcome(error), cuda={"cudart"}) is verdict


def test_a_sibling_may_be_what_does_not_load() -> None:
    outcome = Outcome(f"x/libb.so: undefined symbol: {SYMBOL}")
    assert compare(breaks("libb.so"), outcome) is Verdict.UNNAMED
    assert compare(breaks("libb.so"), outcome, [breaks(SYMBOL)]) is Verdict.BREAKS


def test_what_dies_on_a_stub_is_not_torch_s() -> None:
    outcome = Outcome("died with status -6", ("libmetatensor.so",))
    assert compare(LOADS, outcome) is Verdict.OTHER
    assert compare(CHANGED, outcome) is Verdict.ABORTS


def test_what_another_library_of_the_wheel_opens() -> None:
    outcome = Outcome("x/libb.so: undefined symbol: _ZN1x7enabledEv")
    assert compare(LOADS, outcome) is Verdict.WRONG
    assert compare(LOADS, outcome, scope={"_ZN1x7enabledEv"}) is Verdict.SCOPE
    assert compare(LOADS, Outcome(UNDEFINED), scope={"_ZN1x7enabledEv"}) is Verdict.WRONG


def test_only_wrong_cells_fail() -> None:
    assert {verdict for verdict in Verdict if verdict.fails} == {Verdict.WRONG, Verdict.UNNAMED}


FUNCTION = '0024:warn:module:import_dll No implementation for {} imported from L"Z:\\\\x", setting'


def test_what_wine_warns_of() -> None:
    names = ("c10.dll.?f@c10@@YAXXZ", "KERNEL32.dll.CopyFile2", "torch_cpu.dll.?g@at@@YAXXZ")
    log = "\n".join(FUNCTION.format(name) for name in names)
    said = wine_error(log, frozenset({"c10.dll", "torch_cpu.dll"}))
    # Wine's own lack of a function decides nothing.
    assert Outcome(said).missing_symbols == ("?f@c10@@YAXXZ", "?g@at@@YAXXZ")
    log += (
        '\n0104:err:module:import_dll Library AVUTIL.dll (which is needed by L"Z:\\\\x") not found'
    )
    log += (
        '\n0104:err:module:import_dll Library avcodec.dll (which is needed by L"Z:\\\\x") not found'
    )
    said = wine_error(log, frozenset({"c10.dll"}))
    assert Outcome(said).missing_libraries == ("avutil.dll", "avcodec.dll")
    assert not wine_error("0024:fixme:ntdll:NtQuerySystemInformation", frozenset())


STUB = Stub(
    "libx.so.1",
    frozenset({("a", "V1"), ("a", "V2"), ("a", None), ("b", "V1"), ("_ZN1x1yEv", None)}),
    frozenset({"V3"}),
)


def test_a_stub_in_words() -> None:
    assert '".symver stub_1, a@@V1"' in elf_source(STUB)
    assert '".symver stub_2, a@V2"' in elf_source(STUB)
    assert "V1 { global: a;b; };" in version_script(STUB)
    assert "V3 {  };" in version_script(STUB)
    assert definition_file(Stub("x.dll", frozenset({("?f@@YAXXZ", None)}))) == (
        'LIBRARY "x.dll"\nEXPORTS\n"?f@@YAXXZ" = stub_0\n'
    )


@pytest.mark.skipif(sys.platform != "linux", reason="compiles for Linux")
def test_a_stub_has_what_is_asked_of_it(tmp_path: Path) -> None:
    (found,) = read_libraries(
        BytesSource(build_elf(STUB, tmp_path / "new", "cc").read_bytes()), "libx.so.1"
    )
    exported = {(symbol.name, symbol.version, symbol.hidden) for symbol in found.exports}
    assert found.soname == "libx.so.1"
    wanted = {("a", "V1", False), ("a", "V2", True), ("b", "V1", False), ("_ZN1x1yEv", None, False)}
    assert wanted <= exported


def library(*imports: Symbol, needed: tuple[str, ...] = ()) -> Library:
    return Library(Format.ELF, "x86_64", needed=needed, imports=imports)


def test_stubs_for_cuda_have_what_is_imported() -> None:
    user = library(
        Symbol("cudaMalloc", version="libcudart.so.12", library="libcudart.so.12"),
        Symbol("ncclSend"),
        Symbol("cudaNever", weak=True),
        Symbol("cuInlined"),
        Symbol("malloc", version="GLIBC_2.2.5", library="libc.so.6"),
    )
    (stub,) = wheels.cuda_stubs(["libcudart.so.12"], [user], lambda name: name == "cuInlined")
    assert stub.symbols == {("cudaMalloc", "libcudart.so.12"), ("ncclSend", None)}


@pytest.mark.parametrize(
    ("name", "of_torch"),
    [
        ("_ZN3c105ErrorC1ESsSsPKv", True),
        ("_ZN3c10lsERSoRKNS_4HalfE", True),
        ("_ZNK5torch3jit6Module4evalEv", True),
        ("_ZTVN5torch8autograd4NodeE", True),
        ("?f@c10@@YAXXZ", True),
        ("_ZN10metatensor3useERKN2at6TensorE", False),
        ("avcodec_open2", False),
    ],
)
def test_names_in_torch_s_namespaces_are_never_stubbed(name: str, *, of_torch: bool) -> None:
    assert bool(wheels.OF_TORCH.match(name)) is of_torch


def test_the_nearest_of_several_siblings_counts() -> None:
    assert wheels.nearest("x/a.so", ["x/y/b.so", "x/b.so"]) == "x/b.so"
    assert wheels.nearest("x/y/a.so", ["x/z/b.so", "w/b.so"]) == "x/z/b.so"
    assert wheels.nearest("x/a.so", []) is None


def test_a_draw_is_the_same_for_a_seed() -> None:
    releases = {"a": ["1", "2", "3"], "b": ["1"], "c": []}
    drawn = list(candidates(releases, 7))
    assert drawn == list(candidates(releases, 7))
    assert drawn != list(candidates(releases, 8))
    assert sorted(item[:2] for item in drawn) == [("a", "1"), ("a", "2"), ("a", "3"), ("b", "1")]


def test_there_are_packages_to_draw_from() -> None:
    assert "torchvision" in packages()


def test_the_cuda_packages_of_a_platform() -> None:
    required = [
        "nvidia-nccl-cu13==2.1; platform_system == 'Linux' and platform_machine == 'x86_64'",
        "cuda-toolkit[cublas]==13.0; platform_system == 'Linux'",
        "nvidia-cudnn-cu13; extra == 'all'",
        "numpy",
    ]
    assert sites.cuda_requirements(required, "linux_x86_64") == [
        "nvidia-nccl-cu13==2.1",
        "cuda-toolkit[cublas]==13.0",
    ]
    assert sites.cuda_requirements(required, "linux_aarch64") == ["cuda-toolkit[cublas]==13.0"]
    assert sites.cuda_requirements(required, "windows_x86_64") == []


def test_folders_beside_a_wheel_are_merged_and_taken_away(tmp_path: Path) -> None:
    for name in ("site/x/own.so", "torch/torch/lib/libtorch.so", "torch/x/other.so"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    sites.copy_of_links(tmp_path / "torch", tmp_path / "beside")
    assert not (tmp_path / "beside/torch/lib").is_symlink()
    sites.put_beside(tmp_path / "beside", tmp_path / "site")
    more = tmp_path / "more/torch/lib/libmore.so"
    more.parent.mkdir(parents=True)
    more.touch()
    sites.put_beside(tmp_path / "more", tmp_path / "site")
    seen = {str(p.relative_to(tmp_path / "site")) for p in (tmp_path / "site").rglob("*.so")}
    assert seen >= {"x/own.so", "x/other.so", "torch/lib/libmore.so"}
    assert (tmp_path / "site/torch/lib/libtorch.so").read_text() == "torch/torch/lib/libtorch.so"
    sites.clear_links(tmp_path / "site")
    assert [p.name for p in (tmp_path / "site").rglob("*.so")] == ["own.so"]
    assert (tmp_path / "torch/torch/lib/libtorch.so").exists()


def row(path: str, error: str = "") -> Row:
    return Row(
        platform="linux_x86_64",
        wheel="x-1.0-py3-none-any.whl",
        sha256="0" * 64,
        library=path,
        torch="2.9.1",
        origin="drawn 1",
        error=error,
        supplied=("libavcodec.so.59",),
        seconds=0.5,
        date="2026-11-28",
        host={"glibc": "2.36"},
    )


def test_a_table_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    results = Results(file)
    results.add([row("b.so", "died"), row("a.so")])
    whole = file.read_text()
    file.write_text(whole + whole[:40])
    again = Results(file)
    assert list(again.rows.values()) == [row("b.so", "died"), row("a.so")]
    again.add([row("c.so")])
    again.rewrite()
    assert [item.library for item in Results(file).rows.values()] == ["a.so", "b.so", "c.so"]


@pytest.mark.skipif(sys.platform != "linux", reason="loads with Linux's loader")
def test_the_probe_says_what_the_loader_says(tmp_path: Path) -> None:
    """Of torch an empty module is enough: what is loaded needs nothing of it."""

    (tmp_path / "torch.py").touch()
    sources = {
        "good": "int f(void) { return 1; }",
        "bad": "int g(void); int f(void) { return g(); }",
        "dies": "void abort(void);\n__attribute__((constructor)) void i(void) { abort(); }",
    }
    paths = {}
    for name, source in sources.items():
        (tmp_path / f"{name}.c").write_text(source)
        paths[name] = tmp_path / f"{name}.so"
        command = ["cc", "-shared", "-fPIC", f"{name}.c", "-o", f"{name}.so"]
        subprocess.run(command, cwd=tmp_path, check=True)
    stub = build_elf(Stub("libelse.so.1", frozenset({("h", None)})), tmp_path / "stubs", "cc")
    (tmp_path / "needs.c").write_text("int h(void); int f(void) { return h(); }")
    command = ["cc", "-shared", "-fPIC", "needs.c", str(stub), "-o", "needs.so"]
    subprocess.run(command, cwd=tmp_path, check=True)
    paths["needs"] = tmp_path / "needs.so"
    (tmp_path / "both.c").write_text((tmp_path / "needs.c").read_text() + sources["dies"])
    command = ["cc", "-shared", "-fPIC", "both.c", str(stub), "-o", "both.so"]
    subprocess.run(command, cwd=tmp_path, check=True)
    paths["both"] = tmp_path / "both.so"
    asked = {
        "patience": 60,
        "preload": [],
        "libraries": [
            {"path": str(path), "siblings": [], "stubs": {"libelse.so.1": str(stub)}}
            for path in paths.values()
        ],
    }
    (tmp_path / "asked").write_text(json.dumps(asked))
    probe = Path(sites.__file__).with_name("probe.py")
    subprocess.run(
        [sys.executable, "-S", str(probe), str(tmp_path / "asked"), str(tmp_path / "answered")],
        env={"PYTHONPATH": str(tmp_path)},
        check=True,
    )
    rows = [json.loads(line) for line in (tmp_path / "answered").read_text().splitlines()]
    said = dict(zip(paths, ((item["error"], item["supplied"]) for item in rows), strict=True))
    assert said["good"] == ("", [])
    assert said["bad"] == (f"{paths['bad']}: undefined symbol: g", [])
    assert said["dies"] == ("died with status -6", [])
    assert said["needs"] == ("", ["libelse.so.1"])
    assert said["both"] == ("died with status -6", ["libelse.so.1"])

"""What the host has to bring: found by what is known of everything else."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from tests.builders import (
    CATALOG,
    CPU,
    CUDA,
    TEST_WHEELS,
    claims,
    dll,
    dylib,
    fix_of,
    library,
    load_schema,
    shown,
    subject,
)
from torch_abi_audit import audit
from torch_abi_audit.audit import Options, conclude
from torch_abi_audit.claims.windows import is_windows_library
from torch_abi_audit.model import (
    Claims,
    Finding,
    HostLibrary,
    Library,
    Severity,
    Subject,
    TargetKind,
)
from torch_abi_audit.report import summary
from torch_abi_audit.report.document import head_document, report_document, target_document
from torch_abi_audit.report.outputs import ReportFormat, render
from torch_abi_audit.report.shape import TargetDocument
from torch_abi_audit.report.style import Style
from torch_abi_audit.report.text import text_writer
from torch_abi_audit.rules import run_rules
from torch_abi_audit.verdict.policy import Policy

_NAMING = ("text", "concise", "markdown", "html", "json", "sarif", "github")

TORCH = claims(torch=("torch>=2.10",))
WINDOWS = claims("py39-none-win_amd64", torch=("torch>=2.10",))
MACOS = claims("py39-none-macosx_11_0_arm64", torch=("torch>=2.10",))


def host(libraries: dict[str, Library], promised: Claims = TORCH) -> dict[str, HostLibrary]:
    return {item.name: item for item in subject(libraries, promised).host.libraries}


def needs(libraries: dict[str, Library], promised: Claims = TORCH) -> dict[str, str]:
    return {name: item.need for name, item in host(libraries, promised).items()}


def findings(libraries: dict[str, Library], promised: Claims = TORCH) -> list[Finding]:
    found = run_rules(subject(libraries, promised), CATALOG)
    return [item for item in found if item.rule == "needed-library-missing"]


def document(item: Subject) -> TargetDocument:
    return target_document(conclude("x.whl", TargetKind.WHEEL, item, CATALOG, Options()))


def user(*needed: str, **facts: Any) -> Library:
    return library("torch_ten", needed=(CPU, *needed), **facts)


@pytest.mark.parametrize(
    "name",
    [
        *("libc.so.6", "libstdc++.so.6", "libz.so.1", "libmvec.so.1", "ld-linux-x86-64.so.2"),
        *("ld64.so.2", "libc.musl-x86_64.so.1", "libpython3.12.so.1.0", CUDA, "libcudart.so.12"),
        *("libcublas.so.13", "libnvJitLink.so.12", "libown.so"),
    ],
)
def test_what_the_system_torch_python_or_the_wheel_has(name: str) -> None:
    assert host({"x/_C.so": user(name), "x/libown.so": library()}) == {}


def test_cudas_libraries_come_with_torch_alone() -> None:
    plain = library("PyInit_x", exports=("PyInit__C",), needed=("libcudart.so.12",))
    assert needs({"x/_C.so": plain}, claims()) == {"libcudart.so.12": "required"}
    assert needs({"x/_C.so": plain}) == {}
    assert needs({"x/_C.so": plain}, claims(cuda=("nvidia-cuda-runtime-cu12",))) == {}
    assert needs({"x/_C.so": plain}, claims(cuda=("nvidia-cuda-runtime-cu11",))) != {}


def test_a_library_that_nothing_brings() -> None:
    libraries = {"x/_C.so": user("libnuma.so.1"), "x/_D.so": user("libnuma.so.1", "libsox.so")}
    assert needs(libraries) == {"libnuma.so.1": "required", "libsox.so": "required"}
    (finding,) = findings(libraries)
    assert finding.severity is Severity.WARNING
    assert finding.message == (
        "2 libraries need libnuma.so.1, libsox.so, but no declared dependency is known to"
        " provide them"
    )
    assert shown(finding) == (
        *("x/_C.so: libnuma.so.1", "x/_D.so: libnuma.so.1", "x/_D.so: libsox.so"),
    )
    assert fix_of(finding).startswith("bundle it (auditwheel repair)")


def test_nothing_is_missing_where_nothing_is_claimed() -> None:
    item = subject({"x/_C.so": user("libnuma.so.1")})
    unstated = replace(item, claims=replace(item.claims, stated=False))
    assert item.host.libraries
    found = run_rules(unstated, CATALOG)
    assert "needed-library-missing" not in {finding.rule for finding in found}
    assert "needed-library-missing" in {finding.rule for finding in run_rules(item, CATALOG)}


def test_nvidias_other_packages_are_named() -> None:
    (finding,) = findings({"x/_C.so": user("libnppicc.so.13")})
    assert fix_of(finding) == (
        'dependencies = ["nvidia-npp==13.*"], or bundle it (auditwheel repair)'
    )
    (finding,) = findings({"x/_C.so": user("libnvjpeg.so.12", "libnppicc.so.12")})
    assert '"nvidia-nvjpeg-cu12"' in fix_of(finding)
    assert '"nvidia-npp-cu12"' in fix_of(finding)
    # The number of some is not that of CUDA.
    (finding,) = findings({"x/_C.so": user("libnppicc.so.11")})
    assert "nvidia" not in fix_of(finding)
    declared = claims(torch=("torch",), cuda=("nvidia-npp-cu12",))
    assert findings({"x/_C.so": user("libnppicc.so.12")}, declared) == []
    assert findings({"x/_C.so": user("libnppicc.so.13")}, declared) != []


@pytest.mark.parametrize(
    ("name", "dependencies", "likely"),
    [
        ("libmetatensor.so", ("metatensor-core", "numpy"), ("metatensor-core",)),
        ("libmeta_torch.so", ("meta-core", "meta-torch"), ("meta-torch",)),
        ("libcue_ops.so", ("cuequivariance-ops-cu13", "scipy"), ("cuequivariance-ops-cu13",)),
        ("libz3.so.4.15", ("z3-solver", "z-two"), ("z3-solver",)),
        ("libcudf.so", ("libcudf-cu12", "libkvikio-cu12"), ("libcudf-cu12",)),
        ("libiomp5.so", ("intel-openmp",), ("intel-openmp",)),
        ("libnvinfer_plugin.so.11", ("tensorrt-cu13-libs",), ("tensorrt-cu13-libs",)),
        ("libavcodec.so.61", ("av", "avro"), ()),
        ("libsox.so", ("numpy", "torchvision", "torch-sox"), ("torch-sox",)),
        ("libfoo_torch.so", ("torch-geometric",), ()),
        ("lib7.so", ("seven",), ()),
        ("libfoo_bar_baz_one.so", ("foo-bar-baz", "foo-bar-baz-one"), ("foo-bar-baz-one",)),
    ],
)
def test_what_a_dependency_may_bring(
    name: str, dependencies: tuple[str, ...], likely: tuple[str, ...]
) -> None:
    libraries = {"x/_C.so": user(name)}
    promised = claims(torch=("torch",), dependencies=dependencies)
    assert host(libraries, promised)[name].dependencies == likely
    assert bool(findings(libraries, promised)) is not bool(likely)


def test_what_some_releases_of_torch_bring() -> None:
    """Next to a library of torch's, or needed when torch is imported: then it is there."""
    libraries = {"x/_C.so": user("libgomp.so.1")}
    assert [str(v) for v in host(libraries)["libgomp.so.1"].torch] == (
        ["2.8.0", "2.9.0", "2.9.1", "2.10.0", "2.11.0"]
    )
    assert findings(libraries) == []
    assert summary.host(document(subject(libraries, TORCH))) == []


def test_alternatives_need_one_version_each() -> None:
    libraries = {
        f"x/libcore{n}.so": user(f"libavutil.so.{n + 52}", "libnpp_all.so.1") for n in (4, 5, 7)
    }
    found = host(libraries)
    assert {name: item.need for name, item in found.items()} == {
        **dict.fromkeys(["libavutil.so.56", "libavutil.so.57", "libavutil.so.59"], "one-of"),
        "libnpp_all.so.1": "required",
    }
    assert found["libavutil.so.57"].one_of == (
        *("libavutil.so.56", "libavutil.so.57", "libavutil.so.59"),
    )
    (finding,) = findings(libraries)
    assert {item.name for item in finding.evidence} == {"libnpp_all.so.1"}
    assert summary.host(document(subject(libraries, TORCH))) == [
        "host must provide: libnpp_all.so.1, one version of libavutil.so.{56-57,59}"
    ]


def test_what_is_loaded_together_is_no_alternative() -> None:
    libraries = {
        "x/_C.so": user("liblayer1.so", "liblayer2.so"),
        **{f"x/liblayer{n}.so": library(needed=(f"libfoo.so.{n}",)) for n in (1, 2)},
    }
    assert needs(libraries) == {"libfoo.so.1": "required", "libfoo.so.2": "required"}
    (finding,) = findings(libraries)
    assert [item.name for item in finding.evidence] == ["libfoo.so.1", "libfoo.so.2"]
    # Each is loaded by another module, one of which is enough.
    apart = {
        **{f"x/_core{n}.so": user(f"liblayer{n}.so") for n in (1, 2)},
        **{path: item for path, item in libraries.items() if "layer" in path},
    }
    assert set(needs(apart).values()) == {"one-of"}


def test_what_only_one_of_several_needs_is_no_alternative() -> None:
    libraries = {"x/_fa2.so": user("libx.so.1"), "x/_fa3.so": user()}
    assert needs(libraries) == {"libx.so.1": "required"}
    libraries = {"x/_fa2.so": user("libx.so.1"), "x/_fa3.so": user("libx.so.1")}
    assert needs(libraries) == {"libx.so.1": "required"}
    libraries = {"x/_fa2.so": user("libx.so.1"), "y/_fa3.so": user("libx.so.2")}
    assert needs(libraries) == {"libx.so.1": "required", "libx.so.2": "required"}


def test_plugins_and_what_is_optional() -> None:
    plugin = library(needed=("libsycl.so.8",), soname="libplugin.so")
    assert needs({"x/_C.so": user(), "x/libplugin.so": plugin}) == {"libsycl.so.8": "plugin"}
    # What is needed by what is loaded is loaded.
    assert needs({"x/_C.so": user("libplugin.so"), "x/libplugin.so": plugin}) == (
        {"libsycl.so.8": "required"}
    )
    weak = dylib("torch_ten", needed=("@rpath/libx.dylib",), optional=("@rpath/libx.dylib",))
    assert needs({"x/_C.so": weak}, MACOS) == {"libx.dylib": "optional"}
    assert findings({"x/_C.so": weak}, MACOS) == []
    # What only a library needs that is optional itself is no more than that, however far away.
    weak = dylib(
        "torch_ten", needed=("@loader_path/liba.dylib",), optional=("@loader_path/liba.dylib",)
    )
    chain = {
        "x/_C.so": weak,
        "x/liba.dylib": dylib(needed=("@loader_path/libb.dylib",)),
        "x/libb.dylib": dylib(needed=("@loader_path/libc.dylib",)),
        "x/libc.dylib": dylib(needed=("@rpath/libsox.dylib",)),
    }
    assert needs(chain, MACOS) == {"libsox.dylib": "plugin"}
    assert findings(chain, MACOS) == []
    other = dylib("torch_ten", needed=("@loader_path/libb.dylib",))
    assert needs({**chain, "x/_D.so": other}, MACOS) == {"libsox.dylib": "required"}
    program = library(needed=(CPU, "libx.so"), executable=True)
    assert needs({"x/tool": program}) == {"libx.so": "plugin"}


@pytest.mark.parametrize("name", ["libcuda.so.1", "libnvidia-ml.so.1"])
def test_the_driver_is_a_fact(name: str) -> None:
    libraries = {"x/_C.so": user(name)}
    assert needs(libraries) == {name: "driver"}
    assert findings(libraries) == []
    assert summary.host(document(subject(libraries, TORCH))) == [
        f"host must provide: {name} (NVIDIA driver)"
    ]


@pytest.mark.parametrize(
    "name",
    [
        *("kernel32.dll", "api-ms-win-crt-heap-l1-1-0.dll", "ext-ms-win-x-l1-1-0.dll"),
        *("msvcp140.dll", "vcruntime140_1.dll", "vcruntime140_threads.dll", "vcomp140.dll"),
        *("msvcrt.dll", "ucrtbase.dll", "dbghelp.dll", "d3d11.dll", "opengl32.dll"),
        *("d3d12.dll", "dxcore.dll", "combase.dll", "windows.ui.xaml.dll"),
    ],
)
def test_dlls_of_windows(name: str) -> None:
    assert is_windows_library(name)
    assert host({"x/_C.dll": dll(needed=("torch_cpu.dll", name))}, WINDOWS) == {}


@pytest.mark.parametrize(
    "name",
    ["avcodec-61.dll", "metatensor.dll", "heif.dll", "msvcp_x.dll", "vcruntime140d.dll"],
)
def test_other_dlls(name: str) -> None:
    assert not is_windows_library(name)
    libraries = {"x/_C.dll": dll(needed=("torch_cpu.dll", name))}
    assert needs(libraries, WINDOWS) == {name: "required"}
    (finding,) = findings(libraries, WINDOWS)
    assert "delvewheel" in fix_of(finding)


def test_cudas_dlls_come_with_torchs_cuda_builds() -> None:
    libraries = {"x/_C.dll": dll(needed=("torch_cpu.dll", "cudart64_12.dll", "cublaslt64_12.dll"))}
    assert host(libraries, WINDOWS) == {}


@pytest.mark.parametrize(
    ("name", "rpath", "missing"),
    [
        ("/usr/lib/libSystem.B.dylib", (), None),
        ("/System/Library/Frameworks/Metal.framework/Versions/A/Metal", (), None),
        ("@rpath/libswiftCore.dylib", ("/usr/lib/swift",), None),
        ("@rpath/libc++.1.dylib", (), None),
        ("/opt/homebrew/opt/libomp/lib/libomp.dylib", (), "same"),
        ("/opt/homebrew/lib/libc++.1.dylib", (), "same"),
        ("@rpath/libsox.dylib", ("@loader_path/../lib",), "libsox.dylib"),
        ("@rpath/libsox.dylib", ("/usr/local/lib",), "libsox.dylib"),
        ("@rpath/libsox.dylib", ("/usr/lib/swift",), "libsox.dylib"),
        ("@rpath/libz.1.dylib", ("/usr/lib/",), None),
        ("@rpath/Metal.framework/Metal", ("/System/Library/Frameworks",), None),
        ("@rpath/libswiftCore.dylib", ("@loader_path/../lib",), "libswiftcore.dylib"),
    ],
)
def test_macos(name: str, rpath: tuple[str, ...], missing: str | None) -> None:
    item = dylib("torch_ten", needed=("@rpath/libtorch_cpu.dylib", name), rpath=rpath)
    expected = {} if missing is None else {name if missing == "same" else missing: "required"}
    assert needs({"x/_C.so": item}, MACOS) == expected


def test_a_platform_that_the_catalog_does_not_have() -> None:
    """Whatever torch has beside it there is not known, so nothing is said to be missing."""
    promised = claims("py39-none-manylinux_2_28_ppc64le", torch=("torch",))
    libraries = {"x/_C.so": user("libgomp.so.1", arch="ppc64le")}
    assert needs(libraries, promised) == {"libgomp.so.1": "required"}
    assert findings(libraries, promised) == []


def test_libraries_for_another_system_are_left_out() -> None:
    assert host({"x/_C.dll": dll(needed=("torch_cpu.dll", "heif.dll"))}) == {}


def test_hostile_numbers_are_bounded() -> None:
    names = [f"libx.so.{number}" for number in range(600)]
    item = {f"x/lib{number}.so": user(*names[number * 300 :][:300]) for number in (0, 1)}
    found = host(item)
    assert len(found) == 500
    assert max(len(entry.one_of) for entry in found.values()) == 50
    digits = "9" * 5000
    libraries = {f"x/lib{n}.so": user(f"liby.so.{n}{digits}") for n in (1, 2)}
    assert len(host(libraries)) == 2
    (line,) = summary.host(document(subject(libraries, TORCH)))
    assert "{" not in line


def test_names_with_different_shapes_are_told_one_by_one() -> None:
    libraries = {f"x/lib{n}.so": user(f"liby{n}-{n}.so") for n in (1, 2)}
    (line,) = summary.host(document(subject(libraries, TORCH)))
    assert line == "host must provide: liby1-1.so or liby2-2.so"


@pytest.mark.parametrize(
    ("tag", "version", "told"),
    [
        ("manylinux_2_28_x86_64", "GLIBCXX_3.4.29", "torch 2.8-2.11"),
        ("manylinux2014_x86_64", "GLIBCXX_3.4.22", "torch 2.8"),
        ("linux_x86_64", "GLIBCXX_3.4.24", "torch 2.8"),
        ("manylinux_2_28_x86_64", "GLIBCXX_3.4.24", None),
        ("manylinux_2_34_x86_64", "GLIBCXX_3.4.29", None),
    ],
)
def test_cells_that_the_hosts_libstdcxx_decides(tag: str, version: str, told: str | None) -> None:
    item = library("aoti_torch_old", needed=(CPU,))
    plain = subject({"x/_C.so": item}, claims(f"py39-none-{tag}", torch=("torch",)))
    item = replace(item, version_needs=(("libstdc++.so.6", ("GLIBCXX_3.4.5", version)),))
    found = subject({"x/_C.so": item}, claims(f"py39-none-{tag}", torch=("torch",)))
    statuses = [cell.status for cell in found.matrix.row.values()]
    assert statuses == [cell.status for cell in plain.matrix.row.values()]
    condition = f"loads where libstdc++ has {version}, newer than the tags promise"
    expected = [f"{told}: {condition}"] if told else []
    assert summary.conditions(document(found)) == expected


def test_cells_that_break_for_the_hosts_libstdcxx_alone() -> None:
    item = library("aoti_torch_old", "_ZSt9leaked_upv", needed=(CPU,))
    found = subject({"x/_C.so": item}, claims(torch=("torch",)))
    conditions = [cell.libstdcxx for cell in found.matrix.row.values()]
    assert conditions == ["GLIBCXX_3.4.32"] * 3 + [None] * 2
    # Another symbol is missing too: then no libstdc++ helps.
    item = library("torch_eleven", "_ZSt9leaked_upv", needed=(CPU,))
    found = subject({"x/_C.so": item}, claims(torch=("torch",)))
    assert {cell.libstdcxx for cell in found.matrix.row.values()} == {None}


def test_what_a_sibling_needs_of_libstdcxx() -> None:
    sibling = library(
        "aoti_torch_old",
        needed=(CPU,),
        soname="libs.so",
        version_needs=(("libstdc++.so.6", ("GLIBCXX_3.4.29",)),),
    )
    opener = library("aoti_torch_old", needed=(CPU, "libs.so"), runpath=("$ORIGIN",))
    found = subject({"x/_C.so": opener, "x/libs.so": sibling})
    assert {c.libstdcxx for c in found.matrix.libraries["x/_C.so"].values()} == {"GLIBCXX_3.4.29"}
    own = library(soname="libstdc++.so.6")
    bundled = {"x/_C.so": opener, "x/libs.so": sibling, "x/libstdc++.so.6": own}
    assert subject(bundled).matrix.row  # perhaps its own, perhaps the system's


def test_the_newest_symbol_versions_beyond_the_tag() -> None:
    versions = (
        "GLIBCXX_3.4.29",
        "GLIBCXX_3.4.30",
        "CXXABI_1.3.11",
        "CXXABI_1.3.13",
        "GLIBCXX_3.4.4",
    )
    item = user(version_needs=(("libstdc++.so.6", versions), ("libgcc_s.so.1", ("GCC_7.0.0",))))
    found = subject({"x/_C.so": item}, claims("py39-none-manylinux2014_x86_64"))
    assert found.host.symbol_versions == (
        ("libstdc++.so.6", "GLIBCXX_3.4.30"),
        ("libstdc++.so.6", "CXXABI_1.3.13"),
        ("libgcc_s.so.1", "GCC_7.0.0"),
    )
    found = subject({"x/_C.so": item}, claims("py39-none-linux_x86_64"))
    assert found.host.symbol_versions == ()


def test_the_document_keeps_to_the_schema() -> None:
    libraries = {f"x/lib{n}.so": user(f"libav.so.{n}", "libcuda.so.1") for n in (1, 2)}
    schema = load_schema()
    target = json.loads(json.dumps(document(subject(libraries, TORCH))))
    jsonschema.validate(target, {**schema["$defs"]["target"], "$defs": schema["$defs"]})
    assert [item["need"] for item in target["host"]["libraries"]] == ["one-of", "one-of", "driver"]


@pytest.mark.parametrize("format_", [ReportFormat(name) for name in _NAMING])
def test_every_format_names_what_the_host_has_to_provide(format_: ReportFormat) -> None:
    (wheel,) = (TEST_WHEELS / "needed-library-missing").glob("*.whl")
    text = render(format_, report_document(audit(wheel), "0"), Style(verbose=True))
    for name in ("libnuma.so.1", "libavutil.so", "libhost_helper.so", "host-helper"):
        assert name in text.replace("\\_", "_"), name


def test_what_is_fine_names_it_in_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    libraries = {f"x/lib{n}.so": user(f"libav.so.{n}", "libcuda.so.1") for n in (1, 2)}
    stream = io.StringIO()
    head = head_document("0", CATALOG.releases, Policy())
    text_writer(stream, head, Style(color="never")).add(document(subject(libraries, TORCH)))
    assert stream.getvalue().count("\n") == 1
    assert "host must provide libav.so.{1-2} and 1 more" in stream.getvalue()
    assert capsys.readouterr().out == ""


def test_a_wheel_that_needs_another_library_of_the_host_is_told_whole() -> None:
    one, other = (document(subject({"x/_C.so": user(n)}, TORCH)) for n in ("liba.so", "libb.so"))
    assert summary.essence(one) != summary.essence(other)

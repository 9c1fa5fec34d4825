from __future__ import annotations

import http.server
import io
import json
import threading
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from packaging.version import Version

from tests.builders import TEST_WHEELS, a_library, library, member_of
from torch_abi_audit.catalog import Platform, load_catalog
from torch_abi_audit.catalog.build.__main__ import main
from torch_abi_audit.catalog.build.collect import Provided, WheelTree, collect
from torch_abi_audit.catalog.build.headers import Declaration, declarations, is_promised
from torch_abi_audit.catalog.build.merge import libstdcxx_versions, shim_table
from torch_abi_audit.catalog.exports import Build, Leak, make_table
from torch_abi_audit.catalog.storage import PlatformFile, write_archive
from torch_abi_audit.errors import AuditError
from torch_abi_audit.index.ranges import open_published
from torch_abi_audit.index.sources import Sources
from torch_abi_audit.model import Symbol

HEADER = """
#ifndef SHIM
#define SHIM
#include <stdint.h>
#define AOTI_TORCH_EXPORT __attribute__((__visibility__("default")))
#ifdef __cplusplus
extern "C" {
#endif
// AOTI_TORCH_EXPORT int commented_out();
AOTI_TORCH_EXPORT int32_t first();
AOTI_TORCH_EXPORT AOTITorchError
second(const char* name, void (*fn)(uint64_t, uint64_t),
    int64_t *sizes /* of name */);
typedef void (*ParallelFunc)(int64_t begin, void* ctx);
#if TORCH_FEATURE_VERSION >= TORCH_VERSION_2_10_0
AOTI_TORCH_EXPORT AOTITorchError third(void* handle);
#ifdef USE_CUDA
AOTI_TORCH_EXPORT AOTITorchError fourth(void* handle);
#else
AOTI_TORCH_EXPORT AOTITorchError fifth(void* handle);
#endif
#endif // TORCH_FEATURE_VERSION >= TORCH_VERSION_2_10_0
#ifdef __cplusplus
}
#endif
#endif
"""


def test_declarations() -> None:
    assert declarations(HEADER) == [
        Declaration("first", "int32_t()", None, None),
        Declaration(
            "second",
            "AOTITorchError(const char*, void (*fn)(uint64_t, uint64_t), int64_t*)",
            None,
            None,
        ),
        Declaration("third", "AOTITorchError(void*)", "2.10.0", None),
        Declaration("fourth", "AOTITorchError(void*)", "2.10.0", "USE_CUDA"),
        Declaration("fifth", "AOTITorchError(void*)", "2.10.0", "!(USE_CUDA)"),
    ]


@pytest.mark.parametrize(
    ("header", "promised"),
    [
        ("torch/csrc/inductor/aoti_torch/c/shim.h", True),
        ("torch/csrc/stable/c/shim.h", True),
        ("torch/csrc/inductor/aoti_torch/generated/c_shim_cuda.h", True),
        ("torch/csrc/inductor/aoti_torch/c/shim_cpu.h", False),
        ("torch/csrc/inductor/aoti_torch/c/shim_deprecated.h", False),
    ],
)
def test_promised_headers(header: str, promised: bool) -> None:  # noqa: FBT001
    assert is_promised(header) is promised


def torch_wheel(functions: str, version: str = "2.9.0", cuda: str | None = "12.8") -> bytes:
    """A torch wheel in miniature: headers, metadata, and a library that exports something."""
    metadata = (
        f"Metadata-Version: 2.4\nName: torch\nVersion: {version}\nRequires-Python: >=3.10\n"
        'Requires-Dist: nvidia-cudnn-cu12==9.1; platform_system == "Linux"\n'
        'Requires-Dist: nvidia-nccl-cu12==2.1; platform_system == "Windows"\n'
        "Requires-Dist: sympy\n"
    )
    exporting = member_of("sibling-symbols", "sibling_symbols.libs/libsibling.so")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("torch/include/torch/csrc/stable/c/shim.h", functions)
        archive.writestr("torch/include/torch/csrc/stable/library.h", "void not_a_shim();")
        archive.writestr("torch/lib/libtorch_cpu.so", exporting)
        archive.writestr("torch/lib/libgomp.so.1", a_library())
        archive.writestr("torch/version.py", f"cuda: Optional[str] = {cuda!r}\n")
        archive.writestr(f"torch-{version}.dist-info/METADATA", metadata)
        archive.writestr("torch/lib/padding.bin", bytes(12 << 20))
    return buffer.getvalue()


def declare(*signatures: str) -> str:
    return "".join(f"AOTI_TORCH_EXPORT int {signature};\n" for signature in signatures)


def provided(version: str, functions: str) -> Provided:
    with zipfile.ZipFile(io.BytesIO(torch_wheel(functions, version))) as archive:
        return collect("linux_x86_64", "torch.whl", WheelTree(archive))


def test_what_a_torch_wheel_provides() -> None:
    found = provided("2.9.0", declare("torch_ours(int x)"))
    assert found.version == "2.9.0"
    assert found.cuda == "12.8"
    assert found.requires_python == ">=3.10"
    assert [line.partition("=")[0] for line in found.requires] == [
        "nvidia-cudnn-cu12",
        "nvidia-nccl-cu12",
    ]
    assert found.libraries == {
        "libtorch_cpu.so": {
            "needed": ["libtorch.so", "libtorch_cpu.so", "libc10.so"],
            "exports": ["_ZN2at4oursEi", "torch_ours"],
        }
    }
    assert found.others == ["libgomp.so.1", "padding.bin"]
    assert list(found.shims) == ["torch_ours"]


def test_a_wheel_that_is_not_torchs() -> None:
    wheel = next((TEST_WHEELS / "stable-2.11").glob("*.whl"))
    with (
        zipfile.ZipFile(wheel) as archive,
        pytest.raises(AuditError, match="no library of torch's"),
    ):
        collect("", "x.whl", WheelTree(archive))


def test_the_table_merges_releases() -> None:
    sources = {
        "2.9.0": declare("torch_ours(int x)", "b(int x)", "c(int x)"),
        "2.10.0": declare("torch_ours(int y)", "b(long x)"),
        "2.11.0": declare("torch_ours(int y)", "b(long x)", "d(int x)"),
    }
    releases = [provided(version, functions) for version, functions in reversed(sources.items())]
    published = {Version("2.11.0"): None, Version("2.9.0"): date(2025, 10, 15)}
    table = shim_table(releases, published)
    assert table["releases"] == ["2.9.0", "2.10.0", "2.11.0"]
    assert list(table["published"].items()) == [("2.9.0", "2025-10-15"), ("2.11.0", None)]
    assert table["platforms"] == ["linux_x86_64"]
    assert table["shims"] == {
        "torch_ours": {
            "since": "2.9.0",
            "header": 0,
            "exported": {"linux_x86_64": ["libtorch_cpu.so", "2.9.0", "2.11.0"]},
        },
        "b": {"since": "2.9.0", "header": 0, "changed": ["2.10.0"], "exported": {}},
        "c": {"since": "2.9.0", "header": 0, "removed": "2.10.0", "exported": {}},
        "d": {"since": "2.11.0", "header": 0, "exported": {}},
    }


def test_versions_of_libstdcxx() -> None:
    item = library(
        exports=(
            Symbol("f", version="GLIBCXX_3.4.21"),
            Symbol("f", version="GLIBCXX_3.4.9"),
            Symbol("g", version="CXXABI_1.3"),
            Symbol("unversioned"),
        )
    )
    assert libstdcxx_versions(item) == {"f": "GLIBCXX_3.4.9", "g": "CXXABI_1.3"}


def test_an_archive_reads_back() -> None:
    builds = (
        Build(Version("2.9.0"), "12.8", {"libc10.so": ("libc.so.6",)}, frozenset({"libgomp.so"})),
        Build(
            Version("2.10.0"),
            None,
            {"libc10.so": ()},
            requires=("nvidia-x==1",),
            cxx11=True,
            pythons=("cp311-cp311",),
            platforms=("manylinux_2_28_x86_64",),
        ),
    )
    table = make_table([{"libc10.so": ["f", "g"]}, {"libc10.so": ["g"], "libtorch.so": ["g", "é"]}])
    leaks = {"g": Leak(3, "GLIBCXX_3.4.21")}
    data = write_archive(builds, table, leaks)
    assert write_archive(builds, table, leaks) == data
    file = PlatformFile(lambda: io.BytesIO(data))
    assert file.builds() == builds
    assert file.leaks() == leaks
    read = file.table()
    assert [name for name, _ in read] == ["f", "g", "é"]
    assert read.exporters("f") == {"libc10.so": 0b01}
    assert read.exporters("g") == {"libc10.so": 0b11, "libtorch.so": 0b10}
    assert read.exporters("h") == {}
    assert [name for name, _ in read.beginning_with("g")] == ["g"]


@pytest.mark.parametrize(
    ("tags", "torchs", "found"),
    [
        ("manylinux2014_x86_64", "manylinux_2_28_x86_64", True),  # torch's is stricter
        ("manylinux_2_28_x86_64", "manylinux1_x86_64", True),
        ("linux_x86_64", "manylinux_2_28_x86_64", True),
        ("", "manylinux_2_28_x86_64", True),
        ("manylinux2014_x86_64", "manylinux_2_17_x86_64", False),
        ("manylinux2014_x86_64", "manylinux1_x86_64 manylinux_2_28_x86_64", False),  # either
        ("manylinux2014_x86_64", "linux_x86_64", False),
        ("manylinux2014_x86_64", "", False),
    ],
)
def test_a_leak_that_a_build_does_not_have_is_in_a_newer_libstdcxx(
    tags: str,
    torchs: str,
    found: bool,  # noqa: FBT001
) -> None:
    """GLIBCXX_3.4.22 came with manylinux_2_24."""
    builds = tuple(
        Build(Version(release), None, {"libc10.so": ()}, platforms=tuple(torchs.split()))
        for release in ("2.9.0", "2.10.0")
    )
    leaks = {"f": Leak(0b10, "GLIBCXX_3.4.22")}
    data = write_archive(builds, make_table([{}, {"libc10.so": ["f"]}]), leaks)
    platform = Platform("linux_x86_64", lambda: io.BytesIO(data))
    assert platform.finds_leak("f", builds[0], tags.split()) is found
    assert platform.finds_leak("f", builds[1], tags.split())  # torch itself has it


def test_a_table_of_many_blocks() -> None:
    """Only the blocks that hold what is asked for are read."""
    names = [f"n{number:05}" for number in range(5000)]
    data = write_archive((), make_table([{"a": names, "b": names[::2]}]), {})
    whole = PlatformFile(lambda: io.BytesIO(data)).table()
    opened: list[int] = []

    def read_block(number: int) -> Sequence[str]:
        opened.append(number)
        return whole.read_block(number)

    table = replace(whole, read_block=read_block)
    assert table.exporters("n04000") == {"a": 1, "b": 1}
    assert table.exporters("n04001") == {"a": 1}
    assert opened == [3]
    assert table.exporters("n0") == {}
    assert table.exporters("a") == {}
    assert table.exporters("z") == {}
    assert [name for name, _ in table] == names
    assert [name for name, _ in table.beginning_with("n0204")] == names[2040:2050]
    assert [name for name, _ in table.beginning_with("n010")] == names[1000:1100]


def test_what_a_library_reaches() -> None:
    libraries = {"a": ("b", "libc.so.6"), "b": ("a", "c"), "c": (), "d": ("a",)}
    build = Build(Version("2.9.0"), None, libraries)
    assert build.closure(["a", "x"]) == {"a", "b", "c"}
    assert build.closure(["c"]) == {"c"}


class _Handler(http.server.BaseHTTPRequestHandler):
    """A package index: a page, and files that answer range requests."""

    pages: dict[str, tuple[str, bytes]] = {}  # noqa: RUF012

    def do_GET(self) -> None:
        kind, body = self.pages.get(self.path, ("", b""))
        if not kind:
            self.send_error(404)
            return
        wanted = self.headers.get("Range")
        self.send_response(206 if wanted else 200)
        if wanted:
            start, end = wanted.removeprefix("bytes=").split("-")
            first = int(start) if start else max(0, len(body) - int(end))
            last = min(int(end), len(body) - 1) if start else len(body) - 1
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(body)}")
            body = body[first : last + 1]
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def index() -> Iterator[str]:
    def name(version: str, interpreter: str = "cp311", tag: str = "manylinux_2_28_x86_64") -> str:
        return f"torch-{version}-{interpreter}-{interpreter}-{tag}.whl"

    wheels = {
        name("2.9.0"): torch_wheel(declare("torch_ours(int x)"), "2.9.0"),
        name("2.10.0"): torch_wheel(declare("torch_ours(int x)", "b(int x)"), "2.10.0", None),
        name("2.11.0"): b"yanked: never read",
        name("2.12.0rc1"): b"not final: never read",
        name("2.10.0", "cp312", "manylinux2014_x86_64"): b"another Python: never read",
        name("2.3.0"): b"too old: never read",
    }
    links = "".join(
        f'<a href="../files/{name}#sha256=0"{" data-yanked" if "2.11" in name else ""}>{name}</a>'
        for name in wheels
    )
    files = [{"filename": name, "url": f"../files/{name}"} for name in wheels]
    files[0]["upload-time"] = "2025-10-15T15:48:12.009736Z"
    _Handler.pages = {
        "/simple/torch/": ("text/html", links.encode()),
        "/json/torch/": (
            "application/vnd.pypi.simple.v1+json",
            json.dumps({"files": files}).encode(),
        ),
        **{
            f"/simple/files/{name}": ("application/octet-stream", data)
            for name, data in wheels.items()
        },
    }
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def run_builder(index_url: str, folder: Path) -> int:
    (folder / "data").mkdir(exist_ok=True)
    (folder / "libstdc++.so.6").write_bytes(a_library())
    arguments = ["--index-url", index_url, "--cache", str(folder / "cache")]
    arguments += ["--output", str(folder / "data"), "--without-layouts"]
    return main([*arguments, "--libstdcxx", str(folder / "libstdc++.so.6")])


def test_the_builder(index: str, tmp_path: Path) -> None:
    assert run_builder(f"{index}/simple", tmp_path) == 0
    table = json.loads((tmp_path / "data" / "shims.json").read_text())
    assert table["releases"] == ["2.9.0", "2.10.0"]
    assert table["published"] == {"2.3.0": None, "2.9.0": None, "2.10.0": None}
    assert list(table["shims"]) == ["b", "torch_ours"]
    replacements = json.loads((tmp_path / "data" / "replacements.json").read_text())
    assert (replacements["releases"], replacements["names"]) == (["2.9.0", "2.10.0"], {})
    archive = tmp_path / "data" / "linux_x86_64.zip"
    file = PlatformFile(lambda: archive.open("rb"))
    first, second = file.builds()
    exported = file.table()
    assert (first.cuda, second.cuda) == ("12.8", None)
    assert first.requires == ("nvidia-cudnn-cu12==9.1",)
    assert first.requires_python == ">=3.10"
    assert (first.pythons, second.pythons) == (("cp311-cp311",), ("cp311-cp311", "cp312-cp312"))
    assert first.platforms == ("manylinux_2_28_x86_64",)
    assert second.platforms == ("manylinux2014_x86_64", "manylinux_2_28_x86_64")
    assert exported.exporters("_ZN2at4oursEi") == {"libtorch_cpu.so": 0b11}


def test_the_builder_goes_on_where_it_stopped(
    index: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in the cache is not read again, and the same wheels give the same bytes."""
    assert run_builder(f"{index}/simple", tmp_path) == 0
    data = {path.name: path.read_bytes() for path in (tmp_path / "data").iterdir()}
    for name in list(_Handler.pages):
        if name.endswith(".whl"):
            monkeypatch.delitem(_Handler.pages, name)
    assert run_builder(f"{index}/simple", tmp_path) == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "data").iterdir()} == data


def test_the_builder_without_an_index(
    index: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_builder(f"{index}/nowhere", tmp_path) == 2
    assert "no project torch on 127.0.0.1" in capsys.readouterr().err
    assert run_builder("file:///etc", tmp_path) == 2


def test_a_wheel_is_read_in_place(index: str) -> None:
    name = "torch-2.9.0-cp311-cp311-manylinux_2_28_x86_64.whl"
    with open_published(f"{index}/simple/files/{name}", Sources((), ())) as archive:
        assert b"torch_ours(int x)" in archive.read("torch/include/torch/csrc/stable/c/shim.h")


def test_the_packaged_catalog() -> None:
    """Facts of torch's headers, each looked up by hand."""
    catalog = load_catalog()
    assert str(catalog.releases[0]) == "2.4.0"
    assert catalog.newest >= Version("2.15.0")
    assert str(catalog.promised_since) == "2.9.0"
    since = {
        "aoti_torch_library_impl": "2.7.0",
        "aoti_record_function_start": "2.9.0",
        "torch_library_impl": "2.10.0",
        "torch_dtype_float8_e8m0fnu": "2.11.0",
        "torch_dtype_float4_e2m1fn_x2": "2.11.0",
        "torch_exception_get_what": "2.13.0",
        "aoti_torch_mps_nonzero_static": "2.12.0",
        "torch_is_tensor_pyobject": "2.15.0",
    }
    assert {name: str(catalog.shims[name].since) for name in since} == since
    assert str(catalog.shims["aoti_torch_cpu__qconv2d_pointwise_tensor"].removed) == "2.8.0"
    assert list(map(str, catalog.shims["aoti_torch_cuda__scaled_mm"].changed)) == ["2.5.0"]
    assert [name for name, shim in catalog.shims.items() if shim.removed] == [
        "aoti_torch_cpu__qconv2d_pointwise_tensor"
    ]
    assert "torch_c_dynamo_eval_frame_init" not in catalog.shims
    assert catalog.releases == tuple(sorted(catalog.releases))
    assert set(catalog.releases) <= set(catalog.published)
    # Functions that each release introduced, counted in its headers.
    counted = dict.fromkeys(("2.9.0", "2.10.0", "2.11.0", "2.12.0", "2.13.0"), 0)
    for shim in catalog.shims.values():
        if str(shim.since) in counted:
            counted[str(shim.since)] += 1
    assert counted == {"2.9.0": 41, "2.10.0": 54, "2.11.0": 11, "2.12.0": 55, "2.13.0": 17}


def test_the_packaged_exports() -> None:
    """Facts of torch's own libraries, each looked up by hand."""
    catalog = load_catalog()
    assert set(catalog.platforms) == {
        "linux_aarch64",
        "linux_x86_64",
        "macos_arm64",
        "windows_x86_64",
    }
    linux = catalog.platforms["linux_x86_64"]
    assert tuple(build.version for build in linux.builds) == catalog.releases
    cuda = {str(build.version): build.cuda for build in linux.builds}
    assert {v: cuda[v] for v in ("2.4.0", "2.10.0", "2.11.0", "2.15.0")} == {
        "2.4.0": "12.1",
        "2.10.0": "12.8",
        "2.11.0": "13.0",
        "2.15.0": "13.2",
    }
    # The string ABI changed in 2.7.0, and with it every name that has a string in it.
    assert [str(b.version) for b in linux.builds if not b.cxx11][-1] == "2.6.0"
    old = "_ZN3c106detail14torchCheckFailEPKcS2_jRKSs"
    new = old.replace("Ss", "NSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE")
    assert str(linux.releases_of(old)[-1]) == "2.6.0"
    assert str(linux.releases_of(new)[0]) == "2.7.0"
    assert linux.leaks["_ZSt21ios_base_library_initv"].version == "GLIBCXX_3.4.32"
    # The tag was manylinux1 until 2.6.0, whatever the libraries need.
    tagged = {str(build.version): build.platforms for build in linux.builds}
    assert tagged["2.6.0"] == ("manylinux1_x86_64",)
    assert tagged["2.7.0"] == tagged["2.15.0"] == ("manylinux_2_28_x86_64",)
    aarch64 = catalog.platforms["linux_aarch64"]
    assert next(str(b.version) for b in aarch64.builds if b.cuda) == "2.11.0"
    windows = catalog.platforms["windows_x86_64"]
    assert not any(build.cuda for build in windows.builds)
    assert str(windows.releases_of("torch_library_impl")[0]) == "2.10.0"
    assert str(windows.releases_of("aoti_torch_library_impl")[0]) == "2.7.0"
    macos = catalog.platforms["macos_arm64"]
    assert "libtorch_cpu.dylib" in macos.builds[0].libraries


@pytest.mark.parametrize("key", sorted(load_catalog().platforms))
def test_what_headers_declare_is_what_libraries_export(key: str) -> None:
    """Release by release; what a build leaves out is a backend that it does not have."""
    catalog = load_catalog()
    platform = catalog.platforms[key]
    for number, build in enumerate(platform.builds):
        if key == "windows_x86_64" and build.version < Version("2.7.0"):
            continue  # Windows builds export no shim before
        missing = {
            name
            for name, shim in catalog.shims.items()
            if shim.since <= build.version
            and (shim.removed is None or build.version < shim.removed)
            and not any(mask >> number & 1 for mask in platform.table.exporters(name).values())
        }
        for name in missing:
            shim = catalog.shims[name]
            header = shim.header.rpartition("/")[2]
            backend = next((b for b in ("cuda", "mps", "xpu") if b in header), None)
            without_backend = backend is not None and not (backend == "cuda" and build.cuda)
            conditional = shim.condition is not None
            assert without_backend or conditional, (name, str(build.version))


def test_no_shim_is_exported_before_its_release() -> None:
    catalog = load_catalog()
    for name, shim in catalog.shims.items():
        for export in shim.exported.values():
            assert export.since >= shim.since, name

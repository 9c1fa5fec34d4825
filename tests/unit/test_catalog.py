from __future__ import annotations

import http.server
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.version import Version

from torch_abi_audit.catalog import load_catalog
from torch_abi_audit.catalog.build import main, read_release, shim_table
from torch_abi_audit.catalog.headers import Declaration, declarations, is_promised
from torch_abi_audit.errors import AuditError
from torch_abi_audit.targets.index import RangeFile, project_files

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


def torch_wheel(functions: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("torch/include/torch/csrc/stable/c/shim.h", functions)
        archive.writestr("torch/include/torch/csrc/stable/library.h", "void not_a_shim();")
        archive.writestr("torch/lib/libtorch_cpu.so", bytes(3 << 20))
    return buffer.getvalue()


def declare(*signatures: str) -> str:
    return "".join(f"AOTI_TORCH_EXPORT int {signature};\n" for signature in signatures)


def test_the_table_merges_releases() -> None:
    sources = {
        "2.9.0": declare("a(int x)", "b(int x)", "c(int x)"),
        "2.10.0": declare("a(int y)", "b(long x)"),
        "2.11.0": declare("a(int y)", "b(long x)", "d(int x)"),
    }
    releases = [
        read_release(Version(version), zipfile.ZipFile(io.BytesIO(torch_wheel(functions))))
        for version, functions in reversed(sources.items())
    ]
    table = shim_table(releases, [Version("2.11.0"), Version("2.9.0")])
    assert table["releases"] == ["2.9.0", "2.10.0", "2.11.0"]
    assert table["published"] == ["2.9.0", "2.11.0"]
    assert table["shims"] == {
        "a": {"since": "2.9.0", "header": 0},
        "b": {"since": "2.9.0", "header": 0, "changed": ["2.10.0"]},
        "c": {"since": "2.9.0", "header": 0, "removed": "2.10.0"},
        "d": {"since": "2.11.0", "header": 0},
    }


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
            first, last = map(int, wanted.removeprefix("bytes=").split("-"))
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
    wheels = {
        "torch-2.9.0-cp311-cp311-manylinux_2_28_x86_64.whl": torch_wheel(declare("a(int x)")),
        "torch-2.10.0-cp311-cp311-manylinux_2_28_x86_64.whl": torch_wheel(
            declare("a(int x)", "b(int x)")
        ),
        "torch-2.11.0-cp311-cp311-manylinux_2_28_x86_64.whl": b"yanked: never read",
        "torch-2.12.0rc1-cp311-cp311-manylinux_2_28_x86_64.whl": b"not final: never read",
        "torch-2.10.0-cp311-none-macosx_11_0_arm64.whl": b"another platform: never read",
    }
    links = "".join(
        f'<a href="../files/{name}#sha256=0"{" data-yanked" if "2.11" in name else ""}>{name}</a>'
        for name in wheels
    )
    files = [{"filename": name, "url": f"../files/{name}"} for name in wheels]
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


def test_the_builder(index: str, tmp_path: Path) -> None:
    output = tmp_path / "shims.json"
    assert main(["--index-url", f"{index}/simple", "--output", str(output)]) == 0
    table = json.loads(output.read_text())
    assert table["releases"] == ["2.9.0", "2.10.0"]
    assert table["shims"] == {
        "a": {"since": "2.9.0", "header": 0},
        "b": {"since": "2.10.0", "header": 0},
    }


def test_the_builder_without_an_index(index: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--index-url", f"{index}/nowhere"]) == 2
    assert "404" in capsys.readouterr().err
    assert main(["--index-url", "file:///etc"]) == 2


def test_json_and_html_pages_list_the_same_files(index: str) -> None:
    html = project_files(f"{index}/simple", "torch")
    page = project_files(f"{index}/json/", "torch")
    assert [file.filename for file in html] == [file.filename for file in page]
    assert [file.filename for file in html if file.yanked] == [
        "torch-2.11.0-cp311-cp311-manylinux_2_28_x86_64.whl"
    ]


def test_a_remote_file_is_read_in_blocks(index: str) -> None:
    name = "torch-2.9.0-cp311-cp311-manylinux_2_28_x86_64.whl"
    remote = RangeFile(f"{index}/simple/files/{name}")
    with zipfile.ZipFile(remote) as archive:
        assert b"a(int x)" in archive.read("torch/include/torch/csrc/stable/c/shim.h")
    assert remote.fetched < remote.size


def test_a_server_without_the_file(index: str) -> None:
    with pytest.raises(AuditError, match="404"):
        RangeFile(f"{index}/simple/files/nothing.whl")


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

"""Published wheels, audited as pip downloads them: what is true of them was found by hand.

Run with `pytest -m real`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.builders import load_schema
from tests.real.download import download
from torch_abi_audit.cli import main

pytestmark = pytest.mark.real


@dataclass(frozen=True)
class Truth:
    """What is true of a wheel.

    The newest release is 2.15.0 here: `loads` are those up to it. `torch` gives each
    library that uses torch its ABI and floor.
    """

    verdict: str
    abi: str
    floor: str | None
    floor_symbols: list[str]
    python: dict[str, str | None]
    findings: list[tuple[str, str | None]]
    loads: list[str] = field(default_factory=list)  # the releases, guaranteed or linking
    torch: dict[str, tuple[str, str | None]] = field(default_factory=dict)


_RELEASES = [
    *("2.4.0", "2.4.1", "2.5.0", "2.5.1", "2.6.0", "2.7.0", "2.7.1", "2.8.0", "2.9.0", "2.9.1"),
    *("2.10.0", "2.11.0", "2.12.0", "2.12.1", "2.13.0", "2.14.0", "2.14.1", "2.15.0"),
]
SINCE = {release: _RELEASES[place:] for place, release in enumerate(_RELEASES)}

TRUTHS = {
    "torchvision==0.29.1": Truth(
        verdict="safe",
        abi="stable",
        floor="2.13.0",
        floor_symbols=[
            "torch_exception_get_what",
            "torch_exception_get_what_without_backtrace",
            "torch_new_stable_ivalue",
        ],
        python={"abi": "none", "floor": None},
        findings=[
            ("runpath-outside-wheel", "torchvision/_C_stable.so"),
            ("tag-overspecific", None),
            ("leaked-libstdcxx-symbol", None),
            ("torch-floor-overstated", None),
            ("cuda-build-required", None),
            ("links-torch-python", None),
        ],
        loads=SINCE["2.13.0"],
        torch={
            "torchvision/_C_stable.so": ("stable", "2.13.0"),
            "torchvision/image_stable.so": ("stable", "2.13.0"),
        },
    ),
    "torchaudio==2.11.0": Truth(
        verdict="safe",
        abi="stable",
        floor="2.11.0",
        floor_symbols=["torch_dtype_float4_e2m1fn_x2", "torch_dtype_float8_e8m0fnu"],
        python={"abi": "none", "floor": None},
        findings=[
            ("runpath-outside-wheel", None),
            ("tag-overspecific", None),
            ("torch-undeclared", None),
            ("leaked-libstdcxx-symbol", None),
            ("cuda-build-required", None),
        ],
        loads=SINCE["2.11.0"],
        torch={
            "torchaudio/lib/_torchaudio.abi3.so": ("stable", "2.10.0"),
            "torchaudio/lib/libtorchaudio.abi3.so": ("stable", "2.11.0"),
            "torchaudio/lib/torchaudio_prefixctc.abi3.so": ("stable", "2.10.0"),
        },
    ),
    "torchao==0.15.0": Truth(
        verdict="unsafe",
        abi="unstable",
        floor=None,
        floor_symbols=[],
        python={"abi": "none", "floor": None},
        findings=[
            ("unstable-torch-symbol", None),
            ("torch-unpinned", None),  # what a pin would exclude is not told of again
            ("leaked-libstdcxx-symbol", None),
            ("cuda-build-required", None),
            ("links-torch-python", "torchao/_C_mxfp8.cpython-310-x86_64-linux-gnu.so"),
        ],
        loads=["2.9.0", "2.9.1"],
    ),
    # Its `_C_mxfp8.cpython-310-….so` is no module, so the suffix in an abi3 wheel is harmless.
    "torchao==0.18.0": Truth(
        verdict="safe",
        abi="stable",
        floor="2.11.0",
        floor_symbols=["torch_dtype_float4_e2m1fn_x2", "torch_dtype_float8_e8m0fnu"],
        python={"abi": "none", "floor": None},
        findings=[
            ("torch-undeclared", None),
            ("leaked-libstdcxx-symbol", None),
            ("cuda-build-required", None),
            ("links-torch-python", "torchao/_C_mxfp8.cpython-310-x86_64-linux-gnu.so"),
        ],
        loads=SINCE["2.11.0"],
        torch={
            "torchao/_C_cutlass_90a.abi3.so": ("stable", "2.10.0"),
            "torchao/_C_mxfp8.cpython-310-x86_64-linux-gnu.so": ("stable", "2.11.0"),
        },
    ),
    "torchcodec==0.17.0": Truth(
        verdict="safe",
        abi="stable",
        floor="2.11.0",
        floor_symbols=[
            "torch_dtype_float4_e2m1fn_x2",
            "torch_dtype_float8_e8m0fnu",
            "torch_from_blob",
        ],
        python={"abi": "version-specific", "floor": None},
        findings=[
            ("torch-undeclared", None),
            ("leaked-libstdcxx-symbol", None),
            ("cuda-build-required", None),
            # libheif, which neither the wheel nor anything that it declares has.
            ("needed-library-missing", "torchcodec/libtorchcodec_heic.so"),
        ],
        loads=SINCE["2.11.0"],
        torch={
            **{f"torchcodec/libtorchcodec_core{n}.so": ("stable", "2.11.0") for n in range(4, 10)},
            **{
                f"torchcodec/libtorchcodec_custom_ops{n}.so": ("stable", "2.11.0")
                for n in range(4, 10)
            },
            "torchcodec/libtorchcodec_heic.so": ("stable", "2.11.0"),
            "torchcodec/libtorchcodec_image.so": ("stable", "2.11.0"),
        },
    ),
    "xformers==0.0.33": Truth(
        verdict="unsafe",
        abi="unstable",
        floor=None,
        floor_symbols=[],
        python={"abi": "abi3", "floor": "3.2"},
        findings=[
            ("unstable-torch-symbol", None),
            ("cuda-major-mismatch", None),
            ("leaked-libstdcxx-symbol", None),
            ("cuda-build-required", None),
        ],
        loads=[],
        torch={
            "xformers/_C.so": ("unstable", None),
            "xformers/flash_attn_3/_C.so": ("unstable", None),
        },
    ),
    "xformers==0.0.35": Truth(
        verdict="unsafe",
        abi="stable",
        floor="2.10.0",
        floor_symbols=[
            "torch_c10_cuda_check_msg",
            "torch_c10_cuda_free_error_msg",
            "torch_call_dispatcher",
            "torch_delete_list",
            "torch_delete_string",
            "torch_get_mutable_data_ptr",
            "torch_library_impl",
            "torch_list_push_back",
            "torch_new_list_reserve_size",
            "torch_string_c_str",
            "torch_string_length",
        ],
        python={"abi": "none", "floor": None},
        findings=[
            ("cuda-major-mismatch", "xformers/_C.so"),
            ("leaked-libstdcxx-symbol", "xformers/_C.so"),
            ("cuda-build-required", "xformers/_C.so"),
            ("links-torch-python", "xformers/_C.so"),
        ],
        loads=["2.10.0"],
    ),
    "torchrl==0.14.1": Truth(
        verdict="unsafe",
        abi="unstable",
        floor=None,
        floor_symbols=[],
        python={"abi": "version-specific", "floor": None},
        findings=[
            ("runpath-outside-wheel", "torchrl/_torchrl.cpython-312-x86_64-linux-gnu.so"),
            ("unstable-torch-symbol", "torchrl/_torchrl.cpython-312-x86_64-linux-gnu.so"),
            ("torch-unpinned", "torchrl/_torchrl.cpython-312-x86_64-linux-gnu.so"),
            ("leaked-libstdcxx-symbol", "torchrl/_torchrl.cpython-312-x86_64-linux-gnu.so"),
            ("links-torch-python", "torchrl/_torchrl.cpython-312-x86_64-linux-gnu.so"),
        ],
        loads=SINCE["2.14.0"],
    ),
    "lmcache==0.5.6": Truth(
        verdict="unsafe",
        abi="unstable",
        floor=None,
        floor_symbols=[],
        python={"abi": "version-specific", "floor": None},
        findings=[  # it asks for any torch, and loads with one
            ("unstable-torch-symbol", "lmcache/cuda_ops.cpython-312-x86_64-linux-gnu.so"),
            ("torch-unpinned", "lmcache/cuda_ops.cpython-312-x86_64-linux-gnu.so"),
            ("leaked-libstdcxx-symbol", None),
            ("links-torch-python", "lmcache/cuda_ops.cpython-312-x86_64-linux-gnu.so"),
            ("cuda-build-required", "lmcache/cuda_ops.cpython-312-x86_64-linux-gnu.so"),
            ("links-torch-python", None),
        ],
        loads=["2.13.0"],
    ),
    # A library for each minor release, 2.3 to 2.14, and the metadata allows just those.
    "metatensor-torch==0.10.8": Truth(
        verdict="pinned",
        abi="unstable",
        floor=None,
        floor_symbols=[],
        python={"abi": "none", "floor": None},
        findings=[
            ("unstable-torch-symbol", None),
            ("leaked-libstdcxx-symbol", None),
        ],
        loads=_RELEASES[:-1],
    ),
    # The release of 0.0.33 that was built with the CUDA of the torch that it asks for.
    "xformers==0.0.33.post2": Truth(
        verdict="pinned",
        abi="unstable",
        floor=None,
        floor_symbols=[],
        python={"abi": "abi3", "floor": "3.2"},
        findings=[
            ("unstable-torch-symbol", None),
            ("leaked-libstdcxx-symbol", None),
            ("cuda-build-required", None),
        ],
        loads=["2.9.0", "2.9.1"],
    ),
    # Tagged cp38, where PyObject_GetBuffer needs 3.11; Requires-Python makes that good.
    "vllm==0.33.0": Truth(
        verdict="safe",
        abi="stable",
        floor="2.13.0",
        floor_symbols=[
            "torch_exception_get_what",
            "torch_exception_get_what_without_backtrace",
            "torch_new_stable_ivalue",
        ],
        python={"abi": "abi3", "floor": "3.11"},
        findings=[
            ("leaked-libstdcxx-symbol", None),
            ("filename-tag-mismatch", None),
            ("torch-floor-overstated", None),
            ("cuda-build-required", None),
        ],
        loads=SINCE["2.13.0"],
        torch={
            "vllm/_C_stable_libtorch.abi3.so": ("stable", "2.11.0"),
            "vllm/_deepselect_C.abi3.so": ("stable", "2.10.0"),
            "vllm/_flashkda_C.abi3.so": ("stable", "2.11.0"),
            "vllm/_flashmla_C.abi3.so": ("stable", "2.11.0"),
            "vllm/_flashmla_extension_C.abi3.so": ("stable", "2.11.0"),
            "vllm/_moe_C_stable_libtorch.abi3.so": ("stable", "2.11.0"),
            "vllm/_qutlass_C.abi3.so": ("stable", "2.13.0"),
            "vllm/third_party/deep_gemm/_C_extension.abi3.so": ("stable", "2.11.0"),
            "vllm/vllm_flash_attn/_vllm_fa2_C.abi3.so": ("stable", "2.10.0"),
            "vllm/vllm_flash_attn/_vllm_fa3_C.abi3.so": ("stable", "2.10.0"),
        },
    ),
}


def _alone(finding: dict[str, Any]) -> str | None:
    paths: list[str] = finding["libraries"]
    return paths[0] if len(paths) == 1 else None


def _in_order(findings: Iterable[tuple[str, str | None]]) -> list[tuple[str, str | None]]:
    """Findings come by severity, which the list above leaves out."""
    return sorted(findings, key=lambda finding: (finding[0], finding[1] or ""))


def audit(wheel: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    code = main(["--json", str(wheel)])
    output = capsys.readouterr()
    assert output.err == ""
    report = json.loads(output.out)
    jsonschema.validate(report, load_schema())
    target: dict[str, Any] = report["targets"][0]
    return code, target


@pytest.mark.parametrize("requirement", TRUTHS)
def test_torch_extensions(requirement: str, capsys: pytest.CaptureFixture[str]) -> None:
    truth = TRUTHS[requirement]
    code, target = audit(download(requirement), capsys)
    assert code == {"safe": 0, "pinned": 0, "not-applicable": 0, "unsafe": 1}[truth.verdict]
    torch = target["torch"]
    used = {
        item["path"]: (item["torch"]["abi"], item["torch"]["floor"])
        for item in target["libraries"]
        if item["torch"]["abi"] != "none"
    }
    assert Truth(
        verdict=target["verdict"],
        abi=torch["abi"],
        floor=torch["floor"],
        floor_symbols=torch["floor_symbols"],
        python=target["python"],
        findings=_in_order((item["rule"], _alone(item)) for item in target["findings"]),
        loads=[
            release
            for release, cell in torch["releases"].items()
            if cell["status"] in ("guaranteed", "links")
        ],
        torch=used if truth.torch else {},
    ) == replace(truth, findings=_in_order(truth.findings))


def test_private_python_api_in_torchcodec(capsys: pytest.CaptureFixture[str]) -> None:
    """One extension is bound to its Python; the core libraries use none of the C API."""
    _, target = audit(download("torchcodec==0.17.0"), capsys)
    libraries = {item["path"]: item for item in target["libraries"]}
    extensions = [path for path, item in libraries.items() if item["kind"] == "extension"]
    assert extensions == ["torchcodec/libtorchcodec_pybind_ops.so"]
    (extension,) = extensions
    assert libraries[extension]["python"]["abi"] == "version-specific"
    assert "_PyObject_GetDictPtr" in libraries[extension]["python"]["violations"]
    for number in range(4, 10):
        core = libraries[f"torchcodec/libtorchcodec_core{number}.so"]
        assert core["python"]["abi"] == "none"


def test_the_newest_cryptography(capsys: pytest.CaptureFixture[str]) -> None:
    """A wheel that has nothing to do with torch, whichever release is the newest."""
    code, target = audit(download("cryptography"), capsys)
    assert code == 0
    assert target["verdict"] == "not-applicable"
    assert target["python"]["abi"] == "abi3"
    assert target["findings"] == []


def test_alternatives_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    _, target = audit(download("metatensor-torch==0.10.8"), capsys)
    alternatives = target["torch"]["alternatives"]
    assert {item["group"] for item in alternatives} == {
        "metatensor_torch/*/lib/libmetatensor_torch.so"
    }
    assert len(alternatives) == 12
    reasons = target["torch"]["releases"]["2.15.0"]["reasons"]
    assert reasons == [
        {
            "cause": "alternative",
            "name": "metatensor_torch/*/lib/libmetatensor_torch.so",
            "detail": "no library for torch 2.15.0",
        }
    ]


def test_cuda_is_named_cell_by_cell(capsys: pytest.CaptureFixture[str]) -> None:
    _, target = audit(download("xformers==0.0.35"), capsys)
    cells = target["torch"]["releases"]
    assert cells["2.10.0"] == {
        "status": "guaranteed",
        "layout": None,
        "reasons": [],
        "libstdcxx": None,
    }
    for release in SINCE["2.11.0"]:
        assert cells[release]["status"] == "breaks"
        (reason,) = cells[release]["reasons"]
        assert reason["name"] == "libcudart.so.12"
        assert reason["detail"].startswith(f"torch {release} ships libcudart.so.13")


def test_no_system_of_a_newer_torch_lacks_what_an_older_one_leaks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is tagged manylinux2014, and takes names of GLIBCXX_3.4.21 from libtorch.

    torch 2.12 exports them no more; its own wheel is for manylinux_2_28, where libstdc++ has
    them. A name of GLIBCXX_3.4.29 stays missing with 2.6.
    """
    _, target = audit(download("torchmonarch==0.2.0"), capsys)
    (cells,) = (
        library["torch"]["releases"]
        for library in target["libraries"]
        if library["path"].startswith("monarch/common/_C.")
    )
    missing = {
        release: sorted(reason["name"] for reason in cell["reasons"])
        for release, cell in cells.items()
        if cell["status"] == "breaks"
    }
    assert not missing.keys() & set(SINCE["2.8.0"])
    assert "_ZSt28__throw_bad_array_new_lengthv" in missing["2.6.0"]

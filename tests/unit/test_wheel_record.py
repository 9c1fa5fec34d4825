"""The record of a wheel: what is kept of it, and how strictly it is read again."""

from __future__ import annotations

import dataclasses
import json
from datetime import date
from typing import Any

import pytest

from tests.builders import CATALOG, TEST_WHEELS, claims, library, record
from torch_abi_audit import audit
from torch_abi_audit.audit import Options, classify_contents, conclude
from torch_abi_audit.claims.cuda_packages import cuda_major
from torch_abi_audit.model import (
    LayoutStatus,
    Member,
    ReleaseStatus,
    Sign,
    TargetContents,
    TargetKind,
    TorchAbi,
    Verdict,
)
from torch_abi_audit.survey import WheelRecord, record_of
from torch_abi_audit.survey.wheel import FailedRule

NAME = "x-1.0-py39-none-manylinux_2_28_x86_64.whl"


def _of_scenario(scenario: str) -> WheelRecord:
    (wheel,) = (TEST_WHEELS / scenario).glob("*.whl")
    return record_of(audit(wheel).targets[0], filename=wheel.name, size=wheel.stat().st_size)


def test_a_wheel_on_the_stable_abi() -> None:
    found = _of_scenario("stable-2.11")
    assert found.project == "stable-2-11"
    assert found.version == "1.0"
    assert found.platforms == ("linux x86_64",)
    assert (found.abi, found.stable, found.unstable, found.libraries) == (TorchAbi.STABLE, 1, 0, 1)
    assert found.torch_floor == "2.11.0"
    assert found.releases["2.10.0"].status is ReleaseStatus.BREAKS
    assert len(found.releases["2.10.0"].reasons) <= 2
    assert found.releases["2.11.0"].status is ReleaseStatus.GUARANTEED
    assert found.error is None
    assert found.complete
    assert found.size


def test_a_wheel_on_the_unstable_abi() -> None:
    found = _of_scenario("layout-changed")
    assert found.verdict is Verdict.UNSAFE
    assert (found.stable, found.unstable, found.complete) == (0, 1, False)
    assert found.requires_torch == "<2.14,>=2.12"
    assert found.asked == ("2.12.0", "2.12.1", "2.13.0")
    assert found.built_sign is Sign.ASSERTIONS
    assert {item.rpartition(".")[0] for item in found.built_with} == {"2.12"}
    cell = found.releases["2.13.0"]
    assert cell.layout is LayoutStatus.CHANGED
    assert cell.reasons[0].name == "c10::TensorImpl"
    assert [item.rule for item in found.failed] == ["unstable-torch-symbol", "layout-changed"]


def test_a_file_that_is_no_wheel() -> None:
    report = audit("gone-2.0-cp310-abi3-macosx_11_0_arm64.whl").targets[0]
    name = "Gone_Pkg-2.0-cp310-abi3-macosx_11_0_arm64.whl"
    found = record_of(report, filename=name, uploaded=date(2026, 2, 1))
    assert found.project == "gone-pkg"
    assert found.version == "2.0"
    assert found.platforms == ("macos arm64",)
    assert "3.10" in found.pythons
    assert "3.9" not in found.pythons
    assert found.error
    assert found.verdict is Verdict.ERROR
    assert found.uploaded == "2026-02-01"
    assert not found.complete
    assert WheelRecord.from_json(found.to_json()) == found
    with pytest.raises(ValueError, match="wheel"):
        record_of(report, filename="gone.zip")


def _of_libraries(**needed: tuple[str, ...]) -> WheelRecord:
    members = tuple(
        Member(f"x/{name}.so", (library("_ZN2at6TensorD1Ev", needed=names),), verified=True)
        for name, names in needed.items()
    )
    contents = TargetContents(TargetKind.WHEEL, claims(), members)
    subject = classify_contents(contents, CATALOG, Options())
    return record_of(conclude("x", TargetKind.WHEEL, subject, CATALOG, Options()), filename=NAME)


def test_the_cuda_that_libraries_need() -> None:
    found = _of_libraries(a=("libcudart.so.12", "libnccl.so.2"), b=("libnvrtc.so.13", "libc.so.6"))
    assert (found.cuda, found.cuda_build) == ((12, 13), False)
    found = _of_libraries(a=("libc10_cuda.so",))
    assert (found.cuda, found.cuda_build) == ((), True)
    assert _of_libraries(a=("libcuda.so.1",)).cuda == ()


@pytest.mark.parametrize(
    ("named", "major"),
    [
        (("cudart", 12), 12),
        (("cublaslt", 11), 11),
        (("cufft", 11), 12),
        (("cufft", 12), 13),
        (("cufft", 10), None),
        (("curand", 10), None),  # of both
        (("cusparse", 12), None),  # of 12 and, as its interface, of 13
        (("cudnn", 9), None),
        (("nvjpeg", 13), 13),
    ],
)
def test_the_major_release_that_has_a_library(named: tuple[str, int], major: int | None) -> None:
    assert cuda_major(named) == major


def test_long_texts_are_cut() -> None:
    name = "_ZN2at" + "4long" * 10_000
    members = (Member("x/a.so", (library(name, needed=("libtorch_cpu.so",)),), verified=True),)
    contents = TargetContents(TargetKind.WHEEL, claims(), members)
    subject = classify_contents(contents, CATALOG, Options())
    report = conclude("x", TargetKind.WHEEL, subject, CATALOG, Options())
    found = record_of(report, filename=NAME)
    (reason, *_) = found.releases["2.10.0"].reasons
    assert len(reason.name) == 1003
    assert len(found.to_json()) < 20_000


def _changed(**values: Any) -> str:
    plain = json.loads(record(cells="glcx?", torch=">=2.9").to_json())
    return json.dumps({**plain, **values})


def test_it_survives_the_round_trip() -> None:
    found = record(
        "1.0rc1",
        "glcxu",
        ">=2.9,<3",
        built_with=("2.9.0", "2.9.1"),
        built_sign=Sign.PIN,
        cuda=(12, 13),
        cuda_build=True,
        requires_python=">=3.9",
        torch_floor="2.9.0",
        failed=(FailedRule("torch-unpinned", "error", "an \u2028 é \udc80"),),  # type: ignore[arg-type]
        uploaded="2026-01-31",
        size=12,
    )
    text = found.to_json()
    assert text.isascii()
    assert "\n" not in text
    assert WheelRecord.from_json(text) == found
    assert WheelRecord.from_json(text.encode()) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{}",
        "[" * 100_000,
        b"\xff\xfe{",
        _changed(format=1),
        _changed(format=True),
        _changed(more=1),
        _changed(filename=1),
        _changed(version="x"),
        _changed(version="1.0.dev"),
        _changed(version=None),
        _changed(pythons="3.12"),
        _changed(pythons=["3.12x"]),
        _changed(pythons=[3]),
        _changed(verdict="fine"),
        _changed(verdict=["safe"]),
        _changed(stable=-1),
        _changed(stable=1.5),
        _changed(stable=True),
        _changed(cuda_build=1),
        _changed(uploaded="20260131"),
        _changed(uploaded="2026-02-30"),
        _changed(built_sign="guess"),
        _changed(releases=[]),
        _changed(releases={"2.10": ["links", None]}),
        _changed(releases={"2.10.0": ["links", "new", [], None]}),
        _changed(releases={"2.10.0": ["links", None, [["symbol", "a"]], None]}),
        _changed(releases={"two": ["links", None, [], None]}),
        _changed(failed=[["rule", "fatal", "message"]]),
        _changed(failed=[{}]),
    ],
)
def test_a_broken_record_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 -- whatever is wrong
        WheelRecord.from_json(text)


@pytest.mark.parametrize("name", [item.name for item in dataclasses.fields(WheelRecord)])
def test_no_key_may_be_missing(name: str) -> None:
    plain = json.loads(_changed())
    del plain[name]
    with pytest.raises(ValueError, match="not the record of a wheel"):
        WheelRecord.from_json(json.dumps(plain))

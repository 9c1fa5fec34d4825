"""The state of many packages: how far each is, since when, and what to read next."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from packaging.version import Version

from tests.builders import RELEASES, record
from torch_abi_audit.model import Severity, TorchAbi, Verdict
from torch_abi_audit.survey import WheelRecord
from torch_abi_audit.survey.ecosystem import PackageState, Progress, needed_next, survey
from torch_abi_audit.survey.wheel import FailedRule

KNOWN = tuple(map(Version, RELEASES))
LINUX, MAC = "cp312-cp312-manylinux_2_28_x86_64", "cp312-cp312-macosx_11_0_arm64"
PARTIAL: dict[str, Any] = {"abi": TorchAbi.UNSTABLE, "stable": 9, "unstable": 4}


def _unread(version: str, **values: Any) -> WheelRecord:
    return replace(record(version, **values), error="not a zip", verdict=Verdict.ERROR)


def _state(*records: WheelRecord, published: tuple[str, ...] = ()) -> PackageState:
    (state,) = survey({"x": records}, KNOWN, published={"x": published})
    return state


@pytest.mark.parametrize(
    ("records", "progress", "abi"),
    [
        ([record("1.0", "xgggg")], Progress.COMPLETE, "stable: complete since 1.0"),
        ([record("1.0", "xllxx")], Progress.NOT_STARTED, "not started"),
        (
            [record("1.0", "xllxx", **PARTIAL)],
            Progress.PARTIAL,
            "in progress: 9 of 13 libraries",
        ),
        (
            [record("1.0", "xgggg"), record("1.0", "xllxx", tag=MAC)],
            Progress.PARTIAL,
            "in progress: 0 of 1 library on macos arm64",
        ),
        ([record("1.0")], Progress.NO_TORCH, "no compiled torch code"),
        ([record("1.0"), record("1.0", "xgggg", tag=MAC)], Progress.COMPLETE, None),
        ([_unread("1.0")], Progress.UNREAD, "wheels could not be read"),
        (
            [record("1.0", "xgggg"), _unread("1.0", tag=MAC)],
            Progress.UNREAD,
            "not known (1 of 2 wheels could not be read)",
        ),
        (
            [record("1.0", "xllxx"), _unread("1.0", tag=MAC)],
            Progress.NOT_STARTED,
            "not started (1 of 2 wheels could not be read)",
        ),
    ],
)
def test_how_far_a_package_is(
    records: list[WheelRecord], progress: Progress, abi: str | None
) -> None:
    state = _state(*records)
    assert state.progress is progress
    assert abi in (None, state.abi)
    assert state.wheels == len(records)


def test_since_when_it_is_complete() -> None:
    good = [record(version, "xgggg") for version in ("3.0", "2.9", "2.5", "1.0")]
    bad = record("2.0", "xllxx")
    state = _state(*good, bad)
    assert (state.version, state.since) == ("3.0", "2.5")
    assert state.abi == "stable: complete since 2.5"


def test_a_release_that_was_not_read_ends_what_is_known() -> None:
    good = [record(version, "xgggg") for version in ("3.0", "1.0")]
    state = _state(*good, published=("1.0", "2.0", "3.0"))
    assert (state.since, state.abi) == ("3.0", "stable: complete since 3.0 or earlier")
    state = _state(*good, published=("1.0", "3.0"))
    assert (state.since, state.abi) == ("1.0", "stable: complete since 1.0")


def test_a_pre_release_is_not_the_newest() -> None:
    records = [record("2.0rc1", "xgggg"), record("1.0", "xllxx")]
    assert _state(*records).version == "1.0"
    assert _state(records[0]).version == "2.0rc1"


def test_what_to_read_next() -> None:
    published = ("1.0", "1.10", "1.9", "2.0rc1")
    assert needed_next([], published) == "1.10"
    good = record("1.10", "xgggg")
    assert needed_next([good], published) == "1.9"
    assert needed_next([record("1.10", "xllxx")], published) is None
    assert needed_next([good, record("1.9", "xllxx")], published) is None
    assert needed_next([good, _unread("1.9")], published) is None
    assert needed_next([good, record("1.9")], published) is None
    every = [good, record("1.9", "xgggg"), record("1.0", "xgggg")]
    assert needed_next(every[:2], published) == "1.0"
    assert needed_next(every, published) is None
    assert needed_next([], ("2.0rc1",)) == "2.0rc1"
    assert needed_next([], ()) is None


def test_reading_what_is_needed_ends() -> None:
    wheels = {f"1.{n}": record(f"1.{n}", "xgggg" if n > 3 else "xllxx") for n in range(12)}
    read: list[WheelRecord] = []
    while (version := needed_next(read, wheels)) is not None:
        read.append(wheels[version])
    assert [item.version for item in read] == [f"1.{n}" for n in range(11, 2, -1)]
    assert _state(*read, published=tuple(wheels)).abi == "stable: complete since 1.4"


def test_packages_without_wheels() -> None:
    found = survey(
        {"b": [record("1.0", "xgggg")], "c": []},
        KNOWN,
        notes={"a": "only a source distribution", "b": "unused"},
    )
    assert [(state.project, state.abi) for state in found] == [
        ("a", "only a source distribution"),
        ("b", "stable: complete since 1.0"),
        ("c", "no wheels"),
    ]
    assert found[0].progress is Progress.NO_WHEELS
    assert found[0].version is None


def test_what_is_told_of_the_wheels_of_the_newest_release() -> None:
    linux = record(
        "2.0",
        "xgggx",
        ">=2.9",
        cuda=(12,),
        uploaded="2026-02-02",
        failed=(
            FailedRule("cuda-major-mismatch", Severity.ERROR, "the wheel needs libcudart.so.12"),
            FailedRule("unstable-torch-symbol", Severity.ERROR, "1 library uses the unstable ABI"),
            FailedRule("links-torch-python", Severity.WARNING, "1 library links to it"),
        ),
    )
    again = replace(linux, filename="again", pythons=("3.13t",), uploaded="2026-02-01")
    mac = record("2.0", "xgggg", ">=2.9", tag=MAC, uploaded="2026-02-03")
    old = record("1.0", "lxxxx", "==2.8.0", uploaded="2025-01-01")
    state = _state(linux, again, mac, old)
    assert state == PackageState(
        project="x",
        progress=Progress.COMPLETE,
        abi="stable: complete since 2.0",
        version="2.0",
        uploaded="2026-02-01",
        since="2.0",
        declared=(">=2.9",),
        loads=("2.9-2.10 on linux x86_64", "2.9 and newer on macos arm64"),
        pythons=("3.12", "3.13t"),
        cuda=("12 on linux x86_64",),
        errors=("the wheel needs libcudart.so.12",),
        wheels=3,
    )

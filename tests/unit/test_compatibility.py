"""The releases of a package against torch's: which agree, and which one to install."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from packaging.version import Version

from tests.builders import RELEASES, record
from torch_abi_audit.model import Sign, Verdict
from torch_abi_audit.survey import WheelRecord
from torch_abi_audit.survey.compatibility import (
    Answer,
    AnswerKind,
    best_release,
    compatibility,
    suggestion,
)
from torch_abi_audit.survey.wording import differences, loads_on

KNOWN = tuple(map(Version, RELEASES))  # 2.8.0, 2.9.0, 2.9.1, 2.10.0, 2.11.0
BUILT_2_9: dict[str, Any] = {"built_with": ("2.9.0", "2.9.1"), "built_sign": Sign.ASSERTIONS}
LINUX, MAC = "manylinux_2_28_x86_64", "macosx_11_0_arm64"


def _rows(*records: WheelRecord) -> list[tuple[str, str, str]]:
    table = compatibility("x", records, KNOWN)
    return [
        (row.wheel.version, " ".join(row.pythons), ", ".join(row.platforms)) for row in table.rows
    ]


def test_wheels_that_agree_share_a_row() -> None:
    assert _rows(
        record("1.0", "xllxx", tag=f"cp39-cp39-{LINUX}"),
        record("1.0", "xllxx", tag=f"cp310-cp310-{LINUX}"),
        record("1.0", "xllxx", tag=f"cp313-cp313t-{LINUX}"),
        record("1.0", "xllxx", tag=f"cp310-cp310-{MAC}"),
        record("1.0", "xllxx", tag=f"cp39-cp39-{MAC}"),
        record("1.0", "xllxx", tag=f"cp313-cp313t-{MAC}"),
    ) == [("1.0", "3.9 3.10 3.13t", "linux x86_64, macos arm64")]


def test_platforms_with_other_pythons_have_a_row_of_their_own() -> None:
    assert _rows(
        record("1.0", "xllxx", tag=f"cp310-cp310-{LINUX}"),
        record("1.0", "xllxx", tag=f"cp39-cp39-{LINUX}"),
        record("1.0", "xllxx", tag=f"cp39-cp39-{MAC}"),
    ) == [("1.0", "3.9 3.10", "linux x86_64"), ("1.0", "3.9", "macos arm64")]


@pytest.mark.parametrize(
    "other",
    [
        {"cells": "xlxxx"},
        {"cells": "xlcxx"},
        {"torch": ">=2.9"},
        {"cuda": (12,)},
        {"cuda_build": True},
        {"error": "not a zip"},
    ],
)
def test_wheels_that_differ_do_not(other: dict[str, Any]) -> None:
    first = record("1.0", "xllxx", tag=f"cp39-cp39-{LINUX}")
    second = record(**{"version": "1.0", "cells": "xllxx", "tag": f"cp310-cp310-{LINUX}", **other})
    assert len(_rows(first, second)) == 2


def test_the_newest_release_is_first() -> None:
    records = [record(version, "xllxx") for version in ("0.9", "0.10", "0.10rc1", "1!0.1")]
    assert [row[0] for row in _rows(*records)] == ["1!0.1", "0.10", "0.10rc1", "0.9"]


def test_the_order_of_the_wheels_does_not_matter() -> None:
    records = [
        record(version, cells, tag=f"cp{python}-cp{python}-{platform}")
        for version in ("1.0", "2.0")
        for cells, python in (("xllxx", 39), ("xlcxx", 310))
        for platform in (LINUX, MAC)
    ]
    assert compatibility("x", records, KNOWN) == compatibility("x", records[::-1], KNOWN)


@pytest.mark.parametrize(
    ("cells", "torch", "said"),
    [
        ("", None, ()),
        ("xggxg", None, ("torch is not declared: does not load on 2.8, 2.10 (libcudart.so.12)",)),
        ("ggggg", None, ("torch is not declared",)),
        (
            "xllcc",
            None,
            (
                (
                    "torch is not declared: does not load on 2.8 (libcudart.so.12); class layouts"
                    " changed on 2.10-2.11 (c10::TensorImpl)"
                ),
            ),
        ),
        ("xgggx", ">=2.9", ("allows 2.11, does not load there (libcudart.so.12)",)),
        ("xgggc", ">=2.9", ("allows 2.11, where class layouts changed (c10::TensorImpl)",)),
        ("xgggg", ">=2.10", ("does not allow 2.9, guaranteed there",)),
        ("xllxx", "==2.9.*", ()),
        ("xllll", "==2.9.*", ()),  # to be pinned is right without a guarantee
        ("xgggg", ">=3", ("allows no known torch release",)),
        ("?????", ">=2.9", ()),
    ],
)
def test_what_is_declared_and_what_is_real(
    cells: str, torch: str | None, said: tuple[str, ...]
) -> None:
    assert differences(record("1.0", cells, torch), KNOWN) == said


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ("", ""),
        ("xxxgg", "2.10 and newer"),
        ("xggxx", "2.9"),
        ("xllgg", "2.10 and newer; 2.9 (not guaranteed)"),
        ("xulcc", "2.9 (not guaranteed); 2.10-2.11 (class layouts changed)"),
        ("xxxxx", "no known release"),
        ("?????", "unknown"),
    ],
)
def test_the_releases_that_a_wheel_loads_on(cells: str, said: str) -> None:
    assert loads_on(record("1.0", cells), KNOWN) == said


def _best(torch: str, *records: WheelRecord, **where: str) -> Answer:
    return best_release("x", records, Version(torch), KNOWN, **where)


def test_the_newest_release_that_is_guaranteed() -> None:
    answer = _best("2.10", record("1.0", "xgggg", ">=2.9"), record("2.0", "xgggg", ">=2.9"))
    assert answer == Answer(
        "x",
        "2.10",
        AnswerKind.GUARANTEED,
        "2.0",
        "pip install x==2.0",
        "x 2.0 loads with torch 2.10, guaranteed by the stable ABI",
    )
    assert suggestion(answer) == f"pip install x==2.0  ({answer.why})"


def test_a_release_that_just_loads_is_not_called_guaranteed() -> None:
    answer = _best("2.9.1", record("1.0", "xllxx"))
    assert (answer.kind, answer.version) == (AnswerKind.LOADS, "1.0")
    assert answer.why == (
        "x 1.0 loads with torch 2.9.1, not guaranteed; no changed class layout is known"
    )


def test_a_release_that_was_built_with_it_comes_first() -> None:
    built = record("1.0", "xllxx", **BUILT_2_9)
    newer = record("2.0", "llllx", built_with=("2.8.0",), built_sign=Sign.ASSERTIONS)
    answer = _best("2.9", built, newer)
    assert answer.version == "1.0"
    assert answer.why == "x 1.0 loads with torch 2.9, which it was built with; not guaranteed"
    assert _best("2.10", built, newer).version == "2.0"


def test_a_pin_is_not_called_what_it_was_built_with() -> None:
    pinned = record("1.0", "xllxx", "==2.9.*", built_with=("2.9.1",), built_sign=Sign.PIN)
    assert _best("2.9", pinned).why == (
        "x 1.0 loads with torch 2.9, which its metadata pins; not guaranteed"
    )


def test_what_it_was_built_with_needs_no_data_about_layouts() -> None:
    assert _best("2.9", record("1.0", "xuuxx", **BUILT_2_9)).version == "1.0"
    assert _best("2.9", record("1.0", "xccxx", **BUILT_2_9)).version is None


@pytest.mark.parametrize(
    ("cells", "but"),
    [
        ("xuuxx", "it is not known whether class layouts are as it expects"),
        ("xccxx", "class layouts changed since it was built"),
    ],
)
def test_layouts_that_changed_or_are_unknown_are_no_answer(cells: str, but: str) -> None:
    answer = _best("2.9", record("1.0", cells))
    assert (answer.kind, answer.version, answer.command) == (AnswerKind.NONE, None, None)
    assert answer.why == (
        f"no release of x is known to work with torch 2.9; nearest: 1.0 loads, but {but}"
    )
    assert suggestion(answer) == answer.why


def test_a_minor_release_stands_for_all_its_patch_releases() -> None:
    assert _best("2.9", record("1.0", "xlxxx")).version is None
    assert _best("2.9.0", record("1.0", "xlxxx")).version == "1.0"
    answer = _best("2.9", record("1.0", "xllxx", "==2.9.1"))
    assert answer.version == "1.0"
    assert answer.why.endswith("; its metadata allows only 2.9.1")
    assert _best("2.9.0", record("1.0", "xllxx", "==2.9.1")).kind is AnswerKind.NOT_ALLOWED


def test_a_release_whose_metadata_does_not_allow_it_is_the_last_resort() -> None:
    newer, older = record("2.0", "xgggg", ">=2.10"), record("1.0", "xllxx", "==2.9.*")
    assert _best("2.9", newer, older).version == "1.0"
    assert _best("2.9", newer) == Answer(
        "x",
        "2.9",
        AnswerKind.NOT_ALLOWED,
        "2.0",
        "pip install --no-deps x==2.0",
        (
            "x 2.0 loads with torch 2.9, guaranteed by the stable ABI; its metadata does not allow"
            " it, so pip would replace it without --no-deps"
        ),
    )


def test_a_pre_release_is_chosen_where_nothing_else_works() -> None:
    pre, old = record("2.0rc1", "xgggg", ""), record("1.0", "xllxx")
    assert _best("2.9", pre, old).version == "1.0"
    assert _best("2.10", pre, old).command == "pip install x==2.0rc1"


def test_only_wheels_that_can_be_installed_count() -> None:
    new = record("2.0", "xgggg", tag=f"cp313-cp313-{LINUX}")
    old = record("1.0", "xgggg", tag=f"cp39-abi3-{MAC}")
    pure = record("0.1", tag="py3-none-any")
    here = {"python": "3.13", "platform": "linux x86_64"}
    assert _best("2.10", new, old, **here).version == "2.0"
    assert _best("2.10", new, old, python="3.12", platform="macos arm64").version == "1.0"
    answer = _best("2.10", new, old, python="3.12", platform="linux x86_64")
    assert answer.why == "x has no wheel for Python 3.12 on linux x86_64"
    assert answer.kind is AnswerKind.NONE
    answer = _best("2.10", old, pure, python="3.12", platform="linux x86_64")
    assert answer.why == (
        "x 0.1 contains no compiled torch code, so it does not depend on torch 2.10"
    )
    assert _best("2.10").why == "x has no wheel"


def test_every_wheel_of_a_release_that_may_be_chosen_counts() -> None:
    good = record("1.0", "xgggg", tag=f"cp312-cp312-{LINUX}")
    bad = record("1.0", "xxxxg", tag=f"cp312-cp312-{MAC}")
    assert _best("2.10", good, bad).version is None
    assert _best("2.10", good, bad, platform="linux x86_64").version == "1.0"
    unread = replace(bad, error="not a zip", verdict=Verdict.ERROR, releases={})
    answer = _best("2.10", good, unread)
    assert answer.version is None
    assert "not all wheels could be read" in answer.why


def test_the_nearest_release_is_named() -> None:
    records = [record("1.0", "xllxx"), record("2.0", "xxxxg"), record("0.9", "lxxxx")]
    answer = _best("2.10", *records)
    assert answer.why == (
        "no release of x is known to work with torch 2.10; nearest: 2.0 loads with torch 2.11"
    )
    assert _best("2.10", records[0], records[2]).why.endswith("nearest: 1.0 loads with torch 2.9")
    assert _best("2.10", record("1.0", "xxxxx")).why.endswith("work with torch 2.10")
    # What its metadata does not allow is not near.
    assert _best("2.10", record("1.0", "xllxx", ">=2.11")).why.endswith("work with torch 2.10")


@pytest.mark.parametrize("torch", ["2.12", "2.9.2", "2.11.0.dev20260101", "1.0"])
def test_nothing_is_said_of_a_torch_that_is_not_known(torch: str) -> None:
    answer = _best(torch, record("1.0", "ggggg", ">=2.8"))
    assert (answer.kind, answer.version) == (AnswerKind.UNKNOWN, None)
    assert answer.why == f"x: nothing is known of torch {torch} (known: 2.8-2.11)"


@pytest.mark.parametrize(
    ("torch", "values", "checked"),
    [
        ("2.10.0+cpu", {"build": "cpu"}, "torch's cpu build"),
        ("2.10.0+cpu", {"build": "cpu", "derived": ("2.9.0",)}, "torch's cpu build"),
        (
            "2.10.0+cu126",
            {"build": "cu126", "derived": ("2.10.0",)},
            "torch's cu126 build, as derived from the one on PyPI",
        ),
        ("2.10.0+git1234", {}, "the build of 2.10.0 on PyPI"),
    ],
)
def test_an_answer_says_which_build_of_torch_it_is_about(
    torch: str, values: dict[str, Any], checked: str
) -> None:
    answer = _best(torch, record("1.0", "xgggg", **values))
    assert answer.why == (
        f"x 1.0 loads with torch {torch}, guaranteed by the stable ABI; checked with {checked}"
    )
    assert "checked" not in _best("2.10.0", record("1.0", "xgggg", **values)).why


def test_wheels_for_builds_of_torch_have_a_row_each() -> None:
    one = record("1.0", "xllxx", tag=f"cp39-cp39-{LINUX}")
    other = record("1.0", "xllxx", tag=f"cp310-cp310-{LINUX}", build="cpu")
    assert len(_rows(one, other)) == 2
    assert len(_rows(one, replace(other, build=None))) == 1


def test_a_command_is_safe_to_paste() -> None:
    answer = best_release("x", [record("1!2.0", "ggggg")], KNOWN[0], KNOWN)
    assert answer.command == "pip install 'x==1!2.0'"

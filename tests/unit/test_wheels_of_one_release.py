"""What is said of the wheels of one release, to the letter."""

from __future__ import annotations

import pytest
from packaging.version import Version

from tests.builders import CATALOG, claims, fix_of, shown
from torch_abi_audit.model import (
    Claims,
    Finding,
    ProjectRelease,
    PythonAbi,
    PythonVersion,
    Verdict,
    WheelSummary,
    WholeRun,
)
from torch_abi_audit.rules import run_run_rules
from torch_abi_audit.verdict.cross_wheel import coverage

X86, ARM = "manylinux_2_28_x86_64", "manylinux_2_28_aarch64"
NONE, ABI3, ONE = PythonAbi.NONE, PythonAbi.ABI3, PythonAbi.VERSION_SPECIFIC


def wheel(
    promised: Claims | str,
    abi: PythonAbi = ONE,
    floor: str | None = None,
    *,
    compiled: bool = True,
    torch: tuple[str, ...] | None = (),
) -> WheelSummary:
    if isinstance(promised, str):
        promised = claims(promised)
    return WheelSummary(
        target="dist/" + ".".join(sorted(map(str, promised.tags))),
        claims=promised,
        verdict=Verdict.SAFE,
        python_abi=abi,
        python_floor=None if floor is None else PythonVersion(*map(int, floor.split("."))),
        compiled=compiled,
        torch=None if torch is None else tuple(map(Version, torch)),
    )


def findings(rule: str, *wheels: WheelSummary) -> list[Finding]:
    release = ProjectRelease("x", Version("1.0"), wheels, coverage(wheels))
    found = run_run_rules(WholeRun((release,)), CATALOG)
    return [finding for finding in found if finding.rule == rule]


def said(rule: str, *wheels: WheelSummary) -> list[str]:
    return [finding.message for finding in findings(rule, *wheels)]


def test_what_wheels_disagree_about() -> None:
    tag = f"cp311-cp311-{X86}"
    wheels = (
        wheel(claims(tag, torch=("torch>=2.10", "torch<3", "torch<3"), extras=("B_c", "a"))),
        wheel(claims(f"cp312-cp312-{X86}", python=">=3.9")),
        wheel(claims(f"cp313-cp313-{X86}", python=">=3.9")),
        wheel(claims(f"cp314-cp314-{X86}", python=">=3.9")),
    )
    found = findings("wheels-disagree", *wheels)
    many = f"dist/cp312-cp312-{X86} and 2 more"
    assert [(item.message, shown(item)) for item in found] == [
        (
            "x 1.0: the wheels have 2 different values of Requires-Dist: torch",
            (f"none: {many}", f"torch<3 and torch>=2.10: dist/{tag}"),
        ),
        (
            "x 1.0: the wheels have 2 different values of Requires-Python",
            (f">=3.9: {many}", f"none: dist/{tag}"),
        ),
        (
            "x 1.0: the wheels have 2 different values of Provides-Extra",
            (f"a, b-c: dist/{tag}", f"none: {many}"),
        ),
    ]


@pytest.mark.parametrize(
    ("tags", "missing"),
    [
        (("cp311-cp311", "cp314-cp314"), "3.12 to 3.13"),
        (("cp311-cp311", "cp312-cp312"), None),
        (("cp313-cp313t", "cp315-cp315t"), None),  # of free-threaded Pythons none is due
        (("cp311-abi3", "cp313-cp313t"), None),
        (("cp39-cp39", "cp311-abi3"), "3.10"),  # any later Python has the one of abi3
        (("cp313-cp313t", "cp310-cp310", "cp311-abi3"), None),
        (("cp315-abi3t", "cp313-cp313t", "cp313-cp313"), None),
    ],
)
def test_what_is_missing_between(tags: tuple[str, ...], missing: str | None) -> None:
    wheels = [wheel(f"{tag}-{X86}") for tag in tags]
    expected = (
        f"x 1.0: no wheel for Python {missing} on linux x86_64, but for other platforms, or for"
        " older and newer versions"
    )
    assert said("wheels-missing", *wheels) == ([] if missing is None else [expected])


def test_a_wheel_for_any_platform_serves_where_others_are_missing() -> None:
    some = (wheel(f"cp311-cp311-{X86}"), wheel(f"cp312-cp312-{ARM}"))
    assert len(said("wheels-missing", *some)) == 2
    assert said("wheels-missing", *some, wheel("py3-none-any")) == []


def test_of_a_wheel_for_any_later_python_others_have_to_match_the_oldest_alone() -> None:
    def missing(*tags: str) -> list[str]:
        found = said("wheels-missing", *map(wheel, tags))
        return [text.partition(": no wheel for ")[2].partition(",")[0] for text in found]

    assert missing(f"cp310-abi3-{X86}", f"cp310-cp310-{ARM}") == []
    assert missing(f"cp310-abi3-{X86}", f"cp311-cp311-{ARM}") == ["Python 3.10 on linux aarch64"]
    assert missing(f"cp315-abi3t-{X86}", f"cp315-cp315t-{ARM}") == []
    assert missing(f"cp313-none-{X86}", f"cp313-cp313-{ARM}") == ["Python 3.13t on linux aarch64"]


def test_wheels_that_one_replaces_are_named() -> None:
    wheels = [wheel(f"cp31{minor}-cp31{minor}-{X86}", NONE) for minor in (1, 2)]
    (found,) = findings("tag-overspecific", *wheels)
    assert found.message == f"x 1.0: 2 wheels for {X86} could be one: py3-none"
    assert shown(found) == (f"dist/cp311-cp311-{X86}", f"dist/cp312-cp312-{X86}")
    assert fix_of(found).startswith("publish one wheel tagged py3-none, unless")


@pytest.mark.parametrize(
    ("wheels", "tag"),
    [
        # One that is bound to its Python stays beside the others.
        (
            [("cp311-cp311", ABI3, "3.9"), ("cp312-cp312", NONE, None), ("cp310-cp310", ONE, None)],
            "2 wheels cp311-abi3",
        ),
        ([("cp311-cp311", NONE, None), ("cp312-cp312", ONE, None)], None),
        (
            [("cp311-cp311", NONE, None), ("cp312-cp312", NONE, None), ("cp313-cp313", ONE, None)],
            None,
        ),
        ([("cp311-cp311", ABI3, "3.9"), ("cp312-cp312", ABI3, "3.12")], "2 wheels cp312-abi3"),
        # Free-threaded Pythons before 3.15 have no stable ABI.
        ([("cp313-cp313", ABI3, "3.9"), ("cp313-cp313t", ABI3, "3.9")], None),
        (
            [
                ("cp312-cp312", ABI3, "3.9"),
                ("cp313-cp313", ABI3, "3.9"),
                ("cp313-cp313t", NONE, None),
            ],
            "2 wheels cp312-abi3",
        ),
        ([("cp310-abi3", NONE, None), ("cp311-abi3", NONE, None)], None),
        ([("py310-none", NONE, None), ("py311-none", NONE, None)], None),
        ([("cp311-cp311", NONE, None)], None),
    ],
)
def test_which_wheels_one_replaces(
    wheels: list[tuple[str, PythonAbi, str | None]], tag: str | None
) -> None:
    found = said("tag-overspecific", *(wheel(f"{t}-{X86}", abi, floor) for t, abi, floor in wheels))
    said_of = [] if tag is None else [tag.replace("wheels ", f"wheels for {X86} could be one: ")]
    assert found == [f"x 1.0: {text}" for text in said_of]


def test_wheels_of_other_platforms_or_without_libraries_are_replaced_by_none() -> None:
    rule = "tag-overspecific"
    assert said(rule, wheel(f"cp311-cp311-{X86}", NONE), wheel(f"cp312-cp312-{ARM}", NONE)) == []
    pure = [wheel(f"cp31{minor}-cp31{minor}-{X86}", NONE, compiled=False) for minor in (1, 2)]
    assert said(rule, *pure) == []


def test_platforms_are_told_of_in_their_order() -> None:
    tags = [f"cp31{minor}-cp31{minor}-{platform}" for platform in (X86, ARM) for minor in (1, 2)]
    found = said("tag-overspecific", *(wheel(tag, NONE) for tag in tags))
    assert found == [f"x 1.0: 2 wheels for {p} could be one: py3-none" for p in (ARM, X86)]


def test_rows_of_coverage() -> None:
    rows = coverage(
        [
            wheel(f"cp312-cp312-{X86}", torch=("2.10.0",)),
            wheel(f"cp311-cp311-{X86}", torch=("2.10.0",)),
            wheel(f"cp310-cp310-{X86}", torch=("2.11.0",)),
            wheel("cp310-cp310-plan9_x86", torch=None),
            wheel("cp310-cp310-macosx_10_9_intel"),
        ]
    )
    assert [
        (row.platform, " ".join(map(str, row.pythons)), row.torch, row.wheels) for row in rows
    ] == [
        ("linux x86_64", "3.10", (Version("2.11.0"),), (f"dist/cp310-cp310-{X86}",)),
        (
            "linux x86_64",
            "3.11 3.12",
            (Version("2.10.0"),),
            (f"dist/cp312-cp312-{X86}", f"dist/cp311-cp311-{X86}"),
        ),
        ("macos x86_64", "3.10", (), ("dist/cp310-cp310-macosx_10_9_intel",)),
        ("plan9_x86", "3.10", None, ("dist/cp310-cp310-plan9_x86",)),
    ]


def test_wheels_that_one_replaces_come_by_platform() -> None:
    for_x86 = [wheel(f"cp31{n}-cp31{n}-{X86}", NONE) for n in (0, 1)]
    for_arm = [wheel(f"cp31{n}-cp31{n}-{ARM}", NONE) for n in (2, 3)]
    assert said("tag-overspecific", *for_x86, *for_arm) == [
        f"x 1.0: 2 wheels for {ARM} could be one: py3-none",
        f"x 1.0: 2 wheels for {X86} could be one: py3-none",
    ]


def test_a_wheel_that_is_for_free_threaded_python_too_is_not_replaced() -> None:
    plain = [wheel(f"cp31{n}-cp31{n}-{X86}", ABI3, "3.10") for n in (1, 2)]
    both = wheel(f"cp313-cp313.cp313t-{X86}", ABI3, "3.10")
    assert said("tag-overspecific", *plain, both) == [
        f"x 1.0: 2 wheels for {X86} could be one: cp311-abi3"
    ]


def test_wheels_that_no_python_installs_are_not_replaced() -> None:
    of_none = [wheel(claims(f"cp31{n}-cp31{n}-{X86}", python="<3"), ABI3, "3.10") for n in (1, 2)]
    assert said("tag-overspecific", *of_none) == []


def test_wheels_that_say_the_same_are_counted() -> None:
    torch = {11: "torch>=2.10", 12: "torch>=2.11", 13: "torch>=2.11", 14: "torch>=2.11"}
    of_each = [wheel(claims(f"cp3{n}-cp3{n}-{X86}", torch=(line,))) for n, line in torch.items()]
    for number, more in ((2, ""), (3, " and 1 more"), (4, " and 2 more")):
        (found,) = findings("wheels-disagree", *of_each[:number])
        assert shown(found) == (
            f"torch>=2.10: dist/cp311-cp311-{X86}",
            f"torch>=2.11: dist/cp312-cp312-{X86}{more}",
        )


def test_a_wheel_for_two_pythons_is_for_both() -> None:
    both, one = wheel(f"cp311.cp312-cp311.cp312-{X86}"), wheel(f"cp311-cp311-{ARM}")
    (message,) = said("wheels-missing", both, one)
    assert message.startswith("x 1.0: no wheel for Python 3.12 on linux aarch64, but for other")


def test_wheels_for_any_python_too_are_not_replaced() -> None:
    for_any = [wheel(f"cp31{n}.py3-none-{X86}", NONE) for n in (1, 2)]
    assert said("tag-overspecific", *for_any) == []

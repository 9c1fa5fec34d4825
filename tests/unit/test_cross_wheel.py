"""All targets of a run together: coverage, what is missing, what differs, what is ignored."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from packaging.version import Version

from tests.builders import CATALOG, claims, fix_of, library, shown, subject
from torch_abi_audit.model import (
    Cell,
    Check,
    Environment,
    Finding,
    Here,
    Ignore,
    Ignored,
    Library,
    Matrix,
    PythonAbi,
    PythonVersion,
    ReleaseStatus,
    RunReport,
    Severity,
    StrictIgnores,
    TargetKind,
    TargetReport,
    VariantProperty,
    Verdict,
)
from torch_abi_audit.rules import RULES, UNSTABLE_ABI, run_rules
from torch_abi_audit.verdict.cross_wheel import RunCollector, platforms_of
from torch_abi_audit.verdict.ignores import split
from torch_abi_audit.verdict.policy import Policy
from torch_abi_audit.wording import pythons

if TYPE_CHECKING:
    from torch_abi_audit.model import Claims

X86, ARM, MAC = "manylinux_2_28_x86_64", "manylinux_2_28_aarch64", "macosx_11_0_arm64"
STABLE = library("torch_ten", needed=("libtorch_cpu.so",))


def report(
    promised: Claims,
    *,
    libraries: dict[str, Library] | None = None,
    abi: PythonAbi = PythonAbi.VERSION_SPECIFIC,
    floor: PythonVersion | None = None,
    ignored: tuple[Ignored, ...] = (),
) -> TargetReport:
    tags = sorted({str(tag) for tag in promised.tags})
    filename = f"x-1.0-{tags[0]}.whl"
    item = subject(libraries or {}, promised)
    item = replace(item, claims=replace(promised, filename=filename))
    vars(item).update(python_abi=abi, python_floor=floor)  # in place of what libraries say
    return TargetReport(
        target=f"dist/{filename}",
        verdict=Verdict.SAFE,
        summary="",
        kind=TargetKind.WHEEL,
        subject=item,
        ignored=ignored,
    )


def run(
    *reports: TargetReport, ignores: tuple[Ignore, ...] = (), strict: bool = False
) -> RunReport:
    collector = RunCollector(CATALOG, ignores, Policy(strict=strict))
    for item in reports:
        collector.add(item)
    return collector.finish()


def wheels(*tags: str, torch: tuple[str, ...] = ("torch>=2.10",), **facts: object) -> RunReport:
    found = [
        report(claims(tag, torch=torch), libraries={"a.so": STABLE}, **facts)  # type: ignore[arg-type]
        for tag in tags
    ]
    return run(*found)


def rows(found: RunReport) -> list[tuple[str, str, str]]:
    (release,) = found.releases
    return [
        (
            row.platform,
            pythons(map(str, row.pythons), 20),
            "-" if row.torch is None else " ".join(map(str, row.torch)),
        )
        for row in release.coverage
    ]


def messages(found: RunReport, rule: str) -> list[str]:
    return [finding.message for finding in found.findings if finding.rule == rule]


ELSEWHERE = "but for other platforms, or for older and newer versions"


def test_one_wheel_is_no_set() -> None:
    assert wheels(f"cp312-cp312-{X86}").releases == ()


def test_coverage() -> None:
    found = wheels(f"cp311-cp311-{X86}", f"cp312-cp312-{X86}", f"cp313-cp313t-{X86}")
    assert rows(found) == [("linux x86_64", "3.11 to 3.12, 3.13t", "2.10.0 2.11.0")]
    found = wheels(f"cp310-abi3-{X86}", f"py3-none-{ARM}", "py3-none-musllinux_1_2_x86_64")
    assert rows(found) == [
        ("linux aarch64", "3.2 and newer, 3.13t and newer", "2.10.0 2.11.0"),
        ("linux x86_64", "3.10 and newer", "2.10.0 2.11.0"),
        ("linux-musl x86_64", "3.2 and newer, 3.13t and newer", "-"),  # no torch is known for it
    ]


def variants(*found: tuple[str | None, str, str, str]) -> RunReport:
    """Take wheels of one release together: the label, the tag, the property, the requirement."""
    items = []
    for label, tag, property_, torch in found:
        properties = (VariantProperty(*property_.split("::")),) if property_ else ()
        promised = replace(
            claims(tag, torch=(torch,)), variant=label, variant_properties=properties
        )
        items.append(report(promised, libraries={"a.so": STABLE}))
    return run(*items)


def test_variants_are_one_release() -> None:
    found = variants(
        ("torch2.11", f"cp312-cp312-{X86}", "abi_dependency::torch::2.11", "torch==2.11.*"),
        ("torch2.10", f"cp311-cp311-{X86}", "abi_dependency::torch::2.10", "torch>=2.9"),
        ("null", f"cp310-abi3-{X86}", "", "torch>=2.10"),
        (None, f"cp313-cp313-{X86}", "", "torch>=2.10"),
        (None, f"cp310-cp310-{ARM}", "", "torch>=2.10"),
    )
    (release,) = found.releases
    assert [row.variant for row in release.coverage] == [
        *(None, None, "null", "torch2.10", "torch2.11")
    ]
    assert rows(found) == [
        ("linux aarch64", "3.10", "2.10.0 2.11.0"),
        ("linux x86_64", "3.13", "2.10.0 2.11.0"),
        ("linux x86_64", "3.10 and newer", "2.10.0 2.11.0"),
        ("linux x86_64", "3.11", "2.10.0"),
        ("linux x86_64", "3.12", "2.11.0"),
    ]
    assert messages(found, "wheels-disagree") == []
    assert messages(found, "wheels-missing") == [
        f"x 1.0: no wheel for Python 3.11 to 3.13 on linux aarch64, {ELSEWHERE}",
        f"x 1.0: no wheel for Python 3.10 to 3.12 on linux x86_64, {ELSEWHERE}",
    ]


def test_wheels_of_one_variant_are_compared() -> None:
    found = variants(
        ("cu12", f"cp311-cp311-{X86}", "nvidia::cuda_version_lower_bound::12.8", "torch>=2.10"),
        ("cu12", f"cp312-cp312-{X86}", "nvidia::cuda_version_lower_bound::12.6", "torch>=2.11"),
        ("cu12", f"cp312-cp312-{ARM}", "nvidia::cuda_version_lower_bound::12.6", "torch>=2.11"),
    )
    assert messages(found, "wheels-disagree") == [
        "x 1.0 (cu12): the wheels have 2 different values of Requires-Dist: torch",
        "x 1.0 (cu12): the wheels have 2 different values of variant.json",
    ]
    assert messages(found, "wheels-missing") == [
        f"x 1.0 (cu12): no wheel for Python 3.11 on linux aarch64, {ELSEWHERE}"
    ]


def test_what_does_not_load_is_not_covered() -> None:
    found = wheels(f"cp311-cp311-{X86}", f"cp312-cp312-{X86}", torch=("torch",))
    assert rows(found) == [("linux x86_64", "3.11 to 3.12", "2.10.0 2.11.0")]
    # Of one release it is known.
    row = dict.fromkeys(CATALOG.releases, Cell(ReleaseStatus.UNKNOWN))
    row[CATALOG.releases[-1]] = Cell(ReleaseStatus.LINKS)
    items = []
    for tag in (f"cp311-cp311-{X86}", f"cp312-cp312-{X86}"):
        item = report(claims(tag, torch=("torch",)), libraries={"a.so": STABLE})
        assert item.subject is not None
        known = replace(item.subject, matrix=Matrix({"a.so": row}, row))
        items.append(replace(item, subject=known))
    assert rows(run(*items)) == [("linux x86_64", "3.11 to 3.12", "2.11.0")]


def test_only_wheels_are_of_a_release() -> None:
    one, other = report(claims(f"cp311-cp311-{X86}")), report(claims(f"cp312-cp312-{X86}"))
    packages = [replace(item, kind=TargetKind.PACKAGE) for item in (one, other)]
    assert run(*packages).releases == ()
    unopened = TargetReport("x.whl", Verdict.ERROR, "", kind=TargetKind.WHEEL, error="cut")
    (release,) = run(one, unopened, other).releases
    assert len(release.wheels) == 2


INSTALLED = Version("2.10.0")


def package(
    status: ReleaseStatus | None = ReleaseStatus.LINKS,
    *,
    name: str = "x",
    verdict: Verdict = Verdict.SAFE,
    item: Library = STABLE,
) -> TargetReport:
    """A package that is installed, and how it stands with the torch beside it."""
    of = report(claims(f"cp311-cp311-{X86}", name=name), libraries={"a.so": item})
    here = None if status is None else Here(INSTALLED, Cell(status))
    return replace(of, kind=TargetKind.PACKAGE, here=here, verdict=verdict)


@pytest.mark.parametrize(
    ("packages", "said"),
    [
        ((), "passed: no package uses torch"),
        (
            (package(), package(name="torch")),
            "passed: 1 package that uses torch loads with torch 2.10.0",
        ),
        (
            (package(), package(item=library("malloc"))),
            "passed: 1 package that uses torch loads with torch 2.10.0",
        ),
        (
            (package(), package(ReleaseStatus.BREAKS, name="y")),
            (
                "failed: 1 of 2 packages that use torch does not load with torch 2.10.0; torch 2.11"
                ' suits all of them: pip install "torch==2.11.*"'
            ),
        ),
        # How it stands is not known: that is no package that loads.
        (
            (package(None),),
            "failed: 1 of 1 package that uses torch does not load with torch 2.10.0",
        ),
        (
            (package(), package(ReleaseStatus.BREAKS, verdict=Verdict.ERROR)),
            (
                "error: 1 package that uses torch loads with torch 2.10.0; 1 package could not be"
                " audited"
            ),
        ),
        (
            (package(), TargetReport("y", Verdict.ERROR, "", kind=TargetKind.PACKAGE)),
            (
                "error: 1 package that uses torch loads with torch 2.10.0; 1 package could not be"
                " audited"
            ),
        ),
    ],
)
def test_an_environment(packages: tuple[TargetReport, ...], said: str) -> None:
    environment = Environment(("site",), INSTALLED, version=INSTALLED)
    collector = RunCollector(CATALOG, (), Policy(), environment)
    for item in packages:
        collector.add(item)
    assert str(collector.finish().conclusion) == said


def test_a_check_of_one_thing_is_made_of_each_package_of_an_environment() -> None:
    environment = Environment(("site",), INSTALLED, version=INSTALLED)
    collector = RunCollector(CATALOG, (), Policy((Check.ABI3,)), environment)
    collector.add(package(ReleaseStatus.BREAKS))
    assert str(collector.finish().conclusion) == "passed: --check abi3: 1 target"


def test_an_ignore_is_only_used_for_what_it_matches() -> None:
    finding = replace(FINDING, libraries=("a.so",))
    used, other = Ignore(finding.rule, "why"), Ignore("abi3-suffix", "why")
    item = report(claims(), libraries={"a.so": STABLE}, ignored=(Ignored(finding, used),))
    found = run(item, ignores=(used, other))
    assert messages(found, "stale-ignore") == ["ignore abi3-suffix: no finding matches"]


def test_wheels_with_other_releases_of_torch_have_a_row_of_their_own() -> None:
    found = run(
        report(claims(f"cp311-cp311-{X86}", torch=("torch>=2.10",)), libraries={"a.so": STABLE}),
        report(claims(f"cp312-cp312-{X86}", torch=("torch>=2.11",)), libraries={"a.so": STABLE}),
    )
    assert rows(found) == [
        ("linux x86_64", "3.11", "2.10.0 2.11.0"),
        ("linux x86_64", "3.12", "2.11.0"),
    ]
    (finding,) = [f for f in found.findings if f.rule == "wheels-disagree"]
    assert finding.severity is Severity.WARNING
    assert shown(finding) == (
        f"torch>=2.10: x-1.0-cp311-cp311-{X86}.whl",
        f"torch>=2.11: x-1.0-cp312-cp312-{X86}.whl",
    )


def test_what_is_spelled_differently_is_no_disagreement() -> None:
    one = claims(f"cp311-cp311-{X86}", torch=("torch>=2.10,<3",), extras=("a_b",))
    other = claims(
        f"cp311-cp311-{ARM}", torch=("torch<3,>=2.10", "torch<3,>=2.10"), extras=("a-b",)
    )
    assert messages(run(report(one), report(other)), "wheels-disagree") == []


def test_requires_python_is_compared_too() -> None:
    found = run(
        report(claims(f"cp311-cp311-{X86}", python=">=3.10")),
        report(claims(f"cp311-cp311-{ARM}", python=">=3.11")),
    )
    assert messages(found, "wheels-disagree") == [
        "x 1.0: the wheels have 2 different values of Requires-Python"
    ]


def test_missing_wheels() -> None:
    found = wheels(
        f"cp310-cp310-{X86}", f"cp312-cp312-{X86}", f"cp313-cp313t-{X86}", f"cp310-cp310-{MAC}"
    )
    assert messages(found, "wheels-missing") == [
        f"x 1.0: no wheel for Python 3.11 on linux x86_64, {ELSEWHERE}",
        f"x 1.0: no wheel for Python 3.11 to 3.12, 3.13t on macos arm64, {ELSEWHERE}",
    ]


@pytest.mark.parametrize(
    "tags",
    [
        (f"cp311-cp311-{X86}", f"cp312-cp312-{X86}"),
        (f"cp310-abi3-{X86}", f"cp310-abi3-{ARM}"),
        (f"cp311-cp311-{X86}", f"py3-none-{MAC}"),
        (f"cp311-cp311-{X86}", f"cp312-cp312-{MAC}", "py3-none-any"),
    ],
)
def test_nothing_is_missing(tags: tuple[str, ...]) -> None:
    missing = messages(wheels(*tags), "wheels-missing")
    # The second platform of the third has all Pythons, of which the first has one.
    assert missing == [] or tags[1].startswith("py3-none")


def test_abi3_beside_a_free_threaded_wheel() -> None:
    found = wheels(f"cp310-abi3-{X86}", f"cp314-cp314t-{X86}", f"cp310-abi3-{MAC}")
    assert messages(found, "wheels-missing") == [
        f"x 1.0: no wheel for Python 3.14t on macos arm64, {ELSEWHERE}"
    ]


@pytest.mark.parametrize(
    ("abi", "floor", "expected"),
    [
        (
            PythonAbi.NONE,
            None,
            ["x 1.0: 2 wheels for manylinux_2_28_x86_64 could be one: py3-none"],
        ),
        (
            PythonAbi.ABI3,
            PythonVersion(3, 10),
            [
                "x 1.0: 2 wheels for manylinux_2_28_x86_64 could be one: cp311-abi3"
            ],  # no older than the wheels
        ),
        (PythonAbi.VERSION_SPECIFIC, None, []),
    ],
)
def test_wheels_that_could_be_one(
    abi: PythonAbi, floor: PythonVersion | None, expected: list[str]
) -> None:
    found = wheels(f"cp311-cp311-{X86}", f"cp312-cp312-{X86}", abi=abi, floor=floor)
    assert messages(found, "tag-overspecific") == expected


def test_of_different_releases_each_is_looked_at_alone() -> None:
    one = report(claims(f"cp311-cp311-{X86}"))
    other = report(claims(f"cp312-cp312-{X86}", name="y"))
    assert run(one, other).releases == ()


def test_platforms() -> None:
    assert platforms_of(claims("py3-none-macosx_10_9_universal2")) == (
        "macos arm64",
        "macos x86_64",
    )
    assert platforms_of(claims("py3-none-macosx_10_9_intel")) == ("macos x86_64",)
    assert platforms_of(claims("py3-none-macosx_10_9_i386")) == ("macos i686",)
    assert platforms_of(claims("py3-none-any")) == ("any",)
    assert platforms_of(claims("py3-none-manylinux2014_x86_64.musllinux_1_2_x86_64")) == (
        "linux x86_64",
        "linux-musl x86_64",
    )


FINDING = Finding("torch-undeclared", Severity.WARNING, "", ("x/_C.so", "x/_D.so"))


@pytest.mark.parametrize(
    ("rule", "pattern", "until", "accepted"),
    [
        ("torch-undeclared", None, None, True),
        ("torch-undeclared", "x/*", None, True),
        ("torch-undeclared", "*.so", None, True),
        ("torch-undeclared", "x/_E.so", None, False),
        ("torch-unpinned", None, None, False),
        ("torch-undeclared", None, "2.12", True),
        ("torch-undeclared", None, "2.11", False),  # the catalog has it: expired
    ],
)
def test_what_an_ignore_accepts(
    rule: str,
    pattern: str | None,
    until: str | None,
    accepted: bool,  # noqa: FBT001
) -> None:
    ignore = Ignore(rule, "why", pattern, None if until is None else Version(until))
    standing, ignored = split([FINDING], [ignore], CATALOG)
    assert (standing, ignored) == (((), ((FINDING, ignore),)) if accepted else ((FINDING,), ()))


def test_a_finding_about_no_library_matches_no_pattern() -> None:
    finding = replace(FINDING, libraries=())
    assert split([finding], [Ignore(finding.rule, "why", "*")], CATALOG) == ((finding,), ())


@pytest.mark.parametrize(
    ("ignore", "used", "expected"),
    [
        (Ignore("abi3-suffix", "why"), True, []),
        (
            Ignore("abi3-suffix", "why"),
            False,
            [(Severity.WARNING, "ignore abi3-suffix: no finding matches")],
        ),
        (
            Ignore("abi3-suffix", "why", "y/*"),
            False,
            [
                (
                    Severity.NOTE,
                    "ignore abi3-suffix:y/*: no audited target has such a library",
                )
            ],
        ),
        (
            Ignore("abi3-suffix", "why", None, Version("2.11")),
            False,
            [
                (
                    Severity.WARNING,
                    "ignore abi3-suffix: expired, torch 2.11 has been released",
                )
            ],
        ),
        (
            Ignore("unstable-torch-symbol", "why", "a.so", migrating=True),
            False,
            [
                (
                    Severity.WARNING,
                    "migrating a.so: no matching library uses the unstable ABI any more",
                )
            ],
        ),
    ],
)
def test_stale_ignores(
    ignore: Ignore,
    used: bool,  # noqa: FBT001
    expected: list[tuple[Severity, str]],
) -> None:
    finding = replace(FINDING, rule=ignore.rule, libraries=("y/a.so",))
    ignored = (Ignored(finding, ignore),) if used else ()
    item = report(claims(), libraries={"a.so": STABLE}, ignored=ignored)
    found = run(item, ignores=(ignore,))
    assert [(finding.severity, finding.message) for finding in found.findings] == expected
    warned = any(severity is Severity.WARNING for severity, _ in expected)
    assert not found.fails
    assert run(item, ignores=(ignore,), strict=True).fails is warned


PART = "2 matching libraries do not need it"


@pytest.mark.parametrize(
    ("pattern", "matching", "said", "severities"),
    [
        # By default, with --strict-ignores, and with --strict-ignores=all.
        ("a.so", ["a.so"], None, (None, None, None)),
        ("?.so", ["a.so"], PART, (Severity.NOTE, Severity.ERROR, Severity.ERROR)),
        (
            "b.so",
            [],
            "no matching library uses the unstable ABI any more",
            (Severity.WARNING, Severity.ERROR, Severity.ERROR),
        ),
        (
            "d.so",
            [],
            "no audited target has such a library",
            (Severity.NOTE, Severity.NOTE, Severity.ERROR),
        ),
    ],
)
def test_strict_ignores(
    pattern: str, matching: list[str], said: str | None, severities: tuple[Severity | None, ...]
) -> None:
    ignore = Ignore(UNSTABLE_ABI, "why", pattern, migrating=True)
    finding = Finding(UNSTABLE_ABI, Severity.ERROR, "", ("a.so",))
    ignored = (Ignored(finding, ignore),) if matching else ()
    libraries = {"a.so": STABLE, "b.so": STABLE, "c.so": STABLE}
    item = report(claims(), libraries=libraries, ignored=ignored)
    for strict, severity in zip((None, *StrictIgnores), severities, strict=True):
        for checks in ((), (Check.TORCH,), (Check.ABI3,), tuple(Check)):
            policy = Policy(checks, strict_ignores=strict)
            collector = RunCollector(CATALOG, (ignore,), policy)
            collector.add(item)
            found = collector.finish()
            expected = [(severity, f"migrating {pattern}: {said}")] if severity else []
            assert [(f.severity, f.message) for f in found.findings] == expected
            assert found.fails is (severity is Severity.ERROR)
            assert found.conclusion.exit_code == int(found.fails)
            if found.fails:
                said_last = "failed: each wheel passes, but 1 stale ignore remains"
                assert str(found.conclusion) == said_last


def test_a_library_that_needs_it_in_one_wheel_needs_it() -> None:
    """As one that resolves a symbol from libtorch on one platform only."""
    ignore = Ignore(UNSTABLE_ABI, "why", "a.so", migrating=True)
    finding = Finding(UNSTABLE_ABI, Severity.ERROR, "", ("a.so",))
    one = report(claims(), libraries={"a.so": STABLE}, ignored=(Ignored(finding, ignore),))
    other = report(claims(f"py39-none-{MAC}"), libraries={"a.so": STABLE})
    assert run(one, other, ignores=(ignore,)).findings == ()


def test_ignores_that_accept_the_same_are_all_used() -> None:
    finding = Finding("unstable-torch-symbol", Severity.ERROR, "", ("a.so",))
    one = Ignore(finding.rule, "why")
    other = Ignore(finding.rule, "why", "*", migrating=True)
    item = report(claims(), libraries={"a.so": STABLE}, ignored=(Ignored(finding, one),))
    assert run(item, ignores=(one, other)).findings == ()


def test_what_is_found_in_all_together_can_be_accepted() -> None:
    items = (
        report(claims(f"cp311-cp311-{X86}", torch=("torch>=2.10",))),
        report(claims(f"cp311-cp311-{MAC}", torch=("torch>=2.11",))),
    )
    ignore = Ignore("wheels-disagree", "why")
    found = run(*items, ignores=(ignore,), strict=True)
    assert found.findings == ()
    assert [item.finding.rule for item in found.ignored] == ["wheels-disagree"]
    assert not found.fails
    assert run(*items, strict=True).fails


PROMISE = "torch-promise-broken"


@pytest.mark.parametrize(
    ("symbol", "promised", "torch", "expected"),
    [
        ("torch_ten", "2.10", "torch>=2.10", []),
        ("torch_ten", "2.9", "torch>=2.9", [(("x/_C.so",), ("torch_ten",))]),
        ("torch_ten", "2.10", "torch>=2.11", [((), ("torch>=2.11",))]),
        ("torch_ten", "2.11", "torch>=2.10", []),
        ("aoti_torch_old", "2.8", "torch>=2.8", [(("x/_C.so",), ())]),  # by the promise alone
        ("_ZN2at6changeEi", "2.9", "torch==2.9.*", [(("x/_C.so",), ("_ZN2at6changeEi",))]),
        ("malloc", "2.9", "torch>=2.9", []),
    ],
)
def test_promises(
    symbol: str,
    promised: str,
    torch: str,
    expected: list[tuple[tuple[str, ...], tuple[str, ...]]],
) -> None:
    needed = ("libtorch_cpu.so",)
    item = subject({"x/_C.so": library(symbol, needed=needed)}, claims(torch=(torch,)))
    findings = run_rules(replace(item, min_torch=Version(promised)), CATALOG)
    found = [(f.libraries, shown(f)) for f in findings if f.rule == PROMISE]
    assert found == expected
    assert PROMISE not in {f.rule for f in run_rules(item, CATALOG)}


def test_what_is_promised_can_be_kept() -> None:
    item = subject({"x/_C.so": STABLE}, claims(torch=("torch>=2.10",)))
    (finding,) = [
        f
        for f in run_rules(replace(item, min_torch=Version("2.9")), CATALOG)
        if f.rule == PROMISE and f.libraries
    ]
    assert finding.message == (
        "min-torch is 2.9, but the wheel does not load on torch 2.9: torch_ten (added in torch"
        " 2.10.0)"
    )
    assert "-DTORCH_TARGET_VERSION=0x0209000000000000" in fix_of(finding)


def test_every_rule_says_why_and_what_to_do() -> None:
    for rule in RULES.values():
        assert len(rule.why) > 80
        assert len(rule.fix) > 60
        assert rule.fix.strip() == rule.fix


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((), ""),
        (("3.10",), "3.10"),
        (("3.10", "3.11", "3.13"), "3.10 to 3.11, 3.13"),
        (("3.19", "3.20"), "3.19 and newer"),
        (("3.14t", "3.9"), "3.9, 3.14t"),
    ],
)
def test_pythons_in_short(names: tuple[str, ...], expected: str) -> None:
    assert pythons(names, 20) == expected


def test_one_library_of_several_is_there_for_an_ignore() -> None:
    ignore = Ignore("abi3-suffix", "why", "a.so")
    found = run(report(claims(), libraries={"a.so": STABLE, "b.so": STABLE}), ignores=(ignore,))
    assert messages(found, "stale-ignore") == ["ignore abi3-suffix:a.so: no finding matches"]
    # What it matched is there, though it is among no target's libraries.
    finding = replace(FINDING, rule=ignore.rule, libraries=("a.so",))
    matched = report(claims(), ignored=(Ignored(finding, ignore),))
    assert run(matched, ignores=(ignore,)).findings == ()

"""Every wheel of test_wheels/, audited through the command line."""

from __future__ import annotations

import json

import jsonschema
import pytest
from packaging.specifiers import SpecifierSet

from test_wheels.expected import SCENARIOS, arguments_of, expected, names, summarize, wheels_of
from tests.builders import load_schema
from tests.consistency import contradictions
from torch_abi_audit.cli import main
from torch_abi_audit.rules import RULES

NAMES = names()


def test_there_are_scenarios() -> None:
    assert len(NAMES) >= 85


def test_every_rule_has_a_scenario_that_triggers_it() -> None:
    found = {
        finding["rule"]
        for want in map(expected, NAMES)
        for finding in (*want["findings"], *want.get("run", ()), *want.get("ignored", ()))
    }
    assert set(RULES) - found == set()


@pytest.mark.parametrize("name", NAMES)
def test_json_says_what_is_expected(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    want = expected(name)
    code = main(["--json", *arguments_of(name)])
    output = capsys.readouterr()
    report = json.loads(output.out)
    jsonschema.validate(report, load_schema())
    target, *others = report["targets"]
    # The wheels of one release differ in what they promise, not in what they are.
    assert {other["verdict"] for other in others} <= {target["verdict"]}
    assert summarize(report, code, want) == want
    assert [text for item in report["targets"] for text in contradictions(item)] == []
    assert bool(output.err) == (code == 2)


@pytest.mark.parametrize("name", NAMES)
def test_text_says_the_same(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    want = expected(name)
    assert main(["-v", *arguments_of(name)]) == want["exit_code"]
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith(f"{want['verdict']}: ") for line in lines)
    for finding in want["findings"]:
        label = f"{finding['severity']}[{finding['rule']}]: "
        assert any(line.startswith(label) for line in lines)
        for path in finding["libraries"] if len(finding["libraries"]) == 1 else ():
            assert any(line.startswith(f"  --> {path}") for line in lines)
        for symbol in finding["evidence"]:
            assert f"   | {symbol}" in lines or f"   |   {symbol}" in lines


@pytest.mark.parametrize("name", NAMES)
def test_a_safe_wheel_loads_with_all_that_it_admits(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the rules say: no release that the metadata admits is a cell that breaks."""
    main(["--json", *arguments_of(name)])
    target = json.loads(capsys.readouterr().out)["targets"][0]
    if target["verdict"] != "safe" or target["claims"]["requires_torch"] is None:
        return
    admitted = SpecifierSet(target["claims"]["requires_torch"])
    cells = target["torch"]["releases"].items()
    assert [release for release, cell in cells if cell["status"] == "breaks"] == [
        release
        for release, cell in cells
        if cell["status"] == "breaks" and not admitted.contains(release)
    ]


def test_all_wheels_in_one_run(capsys: pytest.CaptureFixture[str]) -> None:
    """The closing table has a line for each wheel; one that can't be read decides the exit code."""
    names = [n for n in NAMES if not (SCENARIOS / n / "pyproject.toml").exists()]
    wheels = {wheel: name for name in names for wheel in wheels_of(name)}
    assert main(["--no-config", *map(str, wheels)]) == 2
    output = capsys.readouterr()
    verdicts = [expected(name)["verdict"] for name in wheels.values()]
    lines = [line.split() for line in output.out.splitlines()]
    table = lines[next(n for n, words in enumerate(lines) if words[:1] == ["verdict"]) :]
    rows = {words[-1]: words[0] for words in table if words and words[-1].endswith(".whl")}
    assert rows == {wheel.name: expected(name)["verdict"] for wheel, name in wheels.items()}
    assert output.out.splitlines()[-1] == (
        f"error: do not publish {verdicts.count('unsafe')} of {len(wheels)} wheels;"
        f" 2 of {len(wheels)} wheels could not be audited"
        " (build_unknown-1.0+rocm6.4-py39-none-manylinux_2_28_x86_64.whl,"
        " corrupt_library-1.0-py39-none-manylinux_2_28_x86_64.whl)"
    )
    of_build = (
        "nothing is known of torch's rocm6.4 builds, which its version names; use --against with"
        " one of them, or --torch-build pypi"
    )
    reason = "truncated: bytes 752 to 1024 are outside its 700 bytes"
    (unknown,), (corrupt,) = wheels_of("build-unknown"), wheels_of("corrupt-library")
    assert output.err.splitlines() == [
        f"torch-abi-audit: {unknown}: {of_build}",
        f"torch-abi-audit: {corrupt}: corrupt_library/_cut.so: {reason}",
    ]

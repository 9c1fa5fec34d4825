"""Every wheel of test_wheels/, audited through the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from packaging.specifiers import SpecifierSet

from torch_abi_audit.cli import main
from torch_abi_audit.report.json import load_schema

SCENARIOS = Path(__file__).parents[2] / "test_wheels"
NAMES = sorted(path.parent.name for path in SCENARIOS.glob("*/scenario.toml"))


def wheel_of(name: str) -> Path:
    (wheel,) = (SCENARIOS / name).glob("*.whl")
    return wheel


def expected(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((SCENARIOS / name / "expected.json").read_text())
    return loaded


def test_there_are_scenarios() -> None:
    assert len(NAMES) >= 30


@pytest.mark.parametrize("name", NAMES)
def test_json_says_what_is_expected(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    want = expected(name)
    code = main(["--json", str(wheel_of(name))])
    output = capsys.readouterr()
    report = json.loads(output.out)
    jsonschema.validate(report, load_schema())
    (target,) = report["targets"]
    findings = [
        {key: finding[key] for key in ("rule", "severity", "library", "evidence")}
        for finding in target["findings"]
    ]
    libraries = {item["path"]: item["torch"] for item in target["libraries"]}
    assert {
        "verdict": target["verdict"],
        "exit_code": code,
        "torch": {key: target["torch"][key] for key in ("abi", "floor", "floor_symbols")},
        "python": target["python"],
        "findings": findings,
    } == {key: value for key, value in want.items() if key not in ("libraries", "releases")}
    cells = {release: cell["status"] for release, cell in target["torch"]["releases"].items()}
    assert {release: cells[release] for release in want.get("releases", ())} == want.get(
        "releases", {}
    )
    for path, torch in want.get("libraries", {}).items():
        assert {key: libraries[path][key] for key in ("abi", "floor")} == torch
    assert bool(output.err) == (code == 2)


@pytest.mark.parametrize("name", NAMES)
def test_text_says_the_same(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    want = expected(name)
    assert main([str(wheel_of(name))]) == want["exit_code"]
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].startswith(f"{want['verdict']}: ")
    for finding in want["findings"]:
        label = f"{finding['severity']}[{finding['rule']}]: "
        assert any(line.startswith(label) for line in lines)
        for symbol in finding["evidence"][:5]:
            assert f"      {symbol}" in lines


@pytest.mark.parametrize("name", NAMES)
def test_a_safe_wheel_loads_with_all_that_it_admits(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the rules say: no release that the metadata admits is a cell that breaks."""
    main(["--json", str(wheel_of(name))])
    (target,) = json.loads(capsys.readouterr().out)["targets"]
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
    assert main([str(wheel_of(name)) for name in NAMES]) == 2
    output = capsys.readouterr()
    verdicts = [expected(name)["verdict"] for name in NAMES]
    table = output.out.splitlines()[-len(NAMES) - 2 : -2]
    rows = {line.split()[-1]: line.split()[0] for line in table}
    for name in NAMES:
        assert rows[wheel_of(name).name] == expected(name)["verdict"]
    assert output.out.splitlines()[-1] == (
        f"{len(NAMES)} targets: {verdicts.count('safe')} safe, {verdicts.count('unsafe')} unsafe, "
        f"{verdicts.count('not-applicable')} not-applicable, {verdicts.count('error')} error"
    )
    corrupt = f"{wheel_of('corrupt-library')}: corrupt_library/_cut.so"
    reason = "truncated: bytes 752 to 1024 are outside its 700 bytes"
    assert output.err == f"torch-abi-audit: {corrupt}: {reason}\n"

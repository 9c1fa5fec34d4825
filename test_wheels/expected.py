"""The shape of `expected.json`: the part of a report that a scenario pins down.

Required: `verdict`, `exit_code`, `torch`, `python` and `findings`, all of the scenario's first
wheel. Optional, for scenarios that are about them:

* `run`: the findings about all wheels of the release together,
* `ignored`: the findings that the scenario's `pyproject.toml` ignores, with the reason,
* `releases`: the status of some torch releases in the compatibility matrix,
* `libraries`: the torch ABI and floor of some libraries,
* `host`: how each library is needed that the host has to provide.

The tests compare with `summarize`, and `python -m test_wheels.build --accept` writes what it
returns. To start checking an optional key, add it by hand: `"run": []`, `"releases":
{"2.9.1": ""}`, `"libraries": {"x/_C.so": {}}`; `--accept` fills it in.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch_abi_audit.report.summary import evidence, evidence_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SCENARIOS = Path(__file__).parent


def names() -> list[str]:
    """Return the names of all scenarios."""
    return sorted(path.parent.name for path in SCENARIOS.glob("*/scenario.toml"))


def wheels_of(name: str) -> list[Path]:
    """Return the wheels of a scenario."""
    return sorted((SCENARIOS / name).glob("*.whl"))


def arguments_of(name: str) -> list[str]:
    """Return the command's arguments for a scenario: its configuration and its wheels."""
    config = SCENARIOS / name / "pyproject.toml"
    configured = ["--config", str(config)] if config.exists() else ["--no-config"]
    return [*configured, *map(str, wheels_of(name))]


def expected_file(name: str) -> Path:
    """Return the path of a scenario's `expected.json`."""
    return SCENARIOS / name / "expected.json"


def expected(name: str) -> dict[str, Any]:
    """Return a scenario's `expected.json`."""
    loaded: dict[str, Any] = json.loads(expected_file(name).read_text(encoding="utf-8"))
    return loaded


def as_text(summary: Mapping[str, Any]) -> str:
    """Return a summary as the text of `expected.json`."""
    return json.dumps(summary, indent=2, ensure_ascii=False) + "\n"


def summarize(report: Mapping[str, Any], exit_code: int, like: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `expected.json` has of a JSON report; `like` decides on the optional keys."""
    target = report["targets"][0]
    releases = target["torch"]["releases"]
    libraries = {item["path"]: item["torch"] for item in target["libraries"]}
    summary = {
        "verdict": target["verdict"],
        "exit_code": exit_code,
        "torch": _pick(target["torch"], "abi", "floor", "floor_symbols"),
        "python": target["python"],
        "findings": [_finding(item) for item in target["findings"]],
    }
    optional: dict[str, Callable[[], Any]] = {
        "run": lambda: [_finding(item) for item in report["findings"]],
        "ignored": lambda: [_ignored(item) for item in target["ignored"]],
        "releases": lambda: {
            release: releases[release]["status"]
            for release in like["releases"]
            if release in releases
        },
        "libraries": lambda: {
            path: _pick(libraries[path], "abi", "floor")
            for path in like["libraries"]
            if path in libraries
        },
        "host": lambda: {item["name"]: item["need"] for item in target["host"]["libraries"]},
    }
    return summary | {key: optional[key]() for key in like if key in optional}


def evidence_of(finding: Any) -> list[str]:
    """Return a finding's evidence in compact form, as the text report has it."""
    return list(map(evidence_text, evidence(finding)))


def _finding(finding: Mapping[str, Any]) -> dict[str, Any]:
    return {**_pick(finding, "rule", "severity", "libraries"), "evidence": evidence_of(finding)}


def _ignored(finding: Mapping[str, Any]) -> dict[str, Any]:
    return {**_pick(finding, "rule", "libraries"), "reason": finding["ignore"]["reason"]}


def _pick(values: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: values[key] for key in keys}

"""What the audit says of a build, and where the loader or the calls disagree with it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.version import Version

from tests.builds.running import Outcome
from torch_abi_audit import Verdict

ROOT = Path(__file__).parents[2]
_LOADS = ("guaranteed", "links")


def audited(wheel: Path) -> dict[str, Any]:
    """Audit a wheel by the command, and return its part of the JSON report."""
    command = [sys.executable, "-m", "torch_abi_audit", "--no-config", "--json", str(wheel)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    (target,) = json.loads(result.stdout)["targets"]
    passes = target["verdict"] in (Verdict.SAFE, Verdict.PINNED)
    if result.returncode != (0 if passes else 1):
        raise AssertionError(f"{target['verdict']}, and exit code {result.returncode}")
    return target  # type: ignore[no-any-return]


def rules(report: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(finding["rule"] for finding in report["findings"])


def libraries(report: Mapping[str, Any]) -> list[str]:
    """Return the paths of the libraries that the matrix has rows for."""
    return [item["path"] for item in report["libraries"] if item["torch"]["releases"]]


def cell(report: Mapping[str, Any], release: str) -> dict[str, Any]:
    """Return the cell of a wheel and a release of torch."""
    return report["torch"]["releases"][Version(release).public]  # type: ignore[no-any-return]


def disagreements(
    report: Mapping[str, Any], release: str, outcome: Outcome, expected: Mapping[str, object]
) -> Iterator[str]:
    """Yield what is not as the audit says, of a wheel beside a release of torch."""
    public = Version(release).public
    for item in report["libraries"]:
        if item["path"] in outcome.errors:
            error = outcome.errors[item["path"]]
            yield from _of_the_loader(item["path"], item["torch"]["releases"][public], error)
    whole = cell(report, release)
    right = outcome.returned == expected
    if whole["status"] == "breaks" and outcome.returned is not None:
        yield f"breaks on torch {release}, but it can be called"
    promised = whole["status"] == "guaranteed" or whole["layout"] == "unchanged"
    if promised and not right:
        said = "guaranteed" if whole["status"] == "guaranteed" else "layouts unchanged"
        yield f"{said} on torch {release}, but: {outcome.failure or outcome.returned}"
    if report["verdict"] in (Verdict.SAFE, Verdict.PINNED) and not outcome.refused and not right:
        yield f"{report['verdict']}, and pip installs it beside torch {release}, but it fails"


def _of_the_loader(path: str, said: Mapping[str, Any], error: str) -> Iterator[str]:
    if said["status"] in _LOADS and error:
        yield f"{path}: {said['status']}, but the loader says: {error}"
    if said["status"] == "breaks":
        if not error:
            yield f"{path}: breaks, but it loads"
        elif error.startswith("died"):
            if not any(reason["cause"] == "copy" for reason in said["reasons"]):
                yield f"{path}: breaks, but not for a second libtorch, and it {error}"
        elif not any(reason["name"] in error for reason in said["reasons"]):
            names = ", ".join(reason["name"] for reason in said["reasons"])
            yield f"{path}: breaks for {names}, but the loader says: {error}"

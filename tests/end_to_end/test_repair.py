"""Wheels of test_wheels/, repaired by the command, audited again, and installed."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from email.parser import BytesParser
from pathlib import Path

import pytest

from test_wheels.expected import names, wheels_of


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "torch_abi_audit", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def audited(*wheels: Path, options: tuple[str, ...] = ()) -> list[dict[str, object]]:
    report = json.loads(run("--json", "--verify", "--no-config", *options, *wheels).stdout)
    targets: list[dict[str, object]] = report["targets"]
    return targets


REPAIRED = {
    "floor-understated": ((), ["torch>=2.11"]),
    "cuda-12": ((), ["torch==2.10.*"]),
    "layout-changed": ((), ["torch==2.12.*"]),
    "unstable": (("--require-torch", "==2.12.*"), ["torch==2.12.*"]),
    "unstable-undeclared": (("--require-torch", "2.15.*"), ["torch==2.15.*"]),
    "torch-undeclared": (("--strict",), ["torch>=2.10"]),
    "torch-extra": (("--strict",), ["torch>=2.10; extra == 'gpu'", "torch>=2.10"]),
}


@pytest.mark.parametrize("name", REPAIRED)
def test_a_repaired_wheel_passes_and_installs(name: str, tmp_path: Path) -> None:
    (wheel,) = wheels_of(name)
    options, required = REPAIRED[name]
    done = run("repair", "--no-config", *options, "-w", tmp_path / "out", wheel)
    assert (done.returncode, done.stderr) == (0, "")
    (repaired,) = (tmp_path / "out").iterdir()
    strict = tuple(option for option in options if option == "--strict")
    (target,) = audited(repaired, options=strict)
    assert target["verdict"] in ("safe", "pinned")
    assert target["fails"] is False
    findings = target["findings"]
    assert isinstance(findings, list)
    assert "archive-integrity" not in {finding["rule"] for finding in findings}
    # As an installer takes it, which checks RECORD, for any platform.
    platform = repaired.stem.rpartition("-")[2]
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet"),
            *("--disable-pip-version-check", "--target", tmp_path / "site"),
            *("--platform", platform, "--only-binary", ":all:", repaired),
        ],
        check=True,
    )
    (metadata,) = (tmp_path / "site").glob("*.dist-info/METADATA")
    headers = BytesParser().parsebytes(metadata.read_bytes())
    torch = [line for line in headers.get_all("Requires-Dist", []) if line.startswith("torch")]
    assert torch == required
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            if ".dist-info/" not in member:
                assert (tmp_path / "site" / member).read_bytes() == archive.read(member)


def test_every_scenario_is_repaired_copied_or_refused(tmp_path: Path) -> None:
    """All at once: whatever is written passes, and keeps what is not metadata."""
    wheels = [wheel for name in names() for wheel in wheels_of(name)]
    done = run("repair", "--no-config", "-w", tmp_path, *wheels)
    assert done.returncode == 2  # libraries that can't be read are among them
    refused = done.stderr.splitlines()
    assert len(refused) + len(done.stdout.splitlines()) == len(wheels)
    for line in refused:
        assert line.startswith("torch-abi-audit: ")
        assert ".whl: not repaired: " in line
        assert "internal error" not in line
    written = sorted(tmp_path.iterdir())
    assert len(written) == len(done.stdout.splitlines())
    assert {target["verdict"] for target in audited(*written)} <= {"safe", "pinned"} | {
        "not-applicable"
    }
    assert "manylinux_too_low" in done.stdout
    assert "bundled_libtorch" not in done.stdout

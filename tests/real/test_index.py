"""Published wheels read in place, against the same files as pip downloads them.

Run with `pytest -m real`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.real.download import LINUX, MACOS, WINDOWS, download
from torch_abi_audit.cli import main
from torch_abi_audit.report.schema import make_schema

pytestmark = pytest.mark.real

WHEELS = [
    *(("torchvision==0.29.1", LINUX), ("torchvision==0.29.1", MACOS)),
    *(("torchcodec==0.12.0", LINUX), ("torchcodec==0.12.0", WINDOWS)),
    *(("xformers==0.0.35", LINUX), ("tensordict==0.15.3", LINUX)),
]
# What torchcodec's README says: the torch release that each of its own goes with.
TORCHCODEC = {
    "0.12": "2.11", "0.11": "2.11", "0.10": "2.10", "0.9": "2.9", "0.8": "2.9", "0.7": "2.8",
    "0.6": "2.8", "0.5": "2.7", "0.4": "2.7", "0.3": "2.7", "0.2": "2.6", "0.1": "2.5",
}  # fmt: skip


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """Return what a command prints as JSON."""
    code = main([*arguments, "--json"])
    captured = capsys.readouterr()
    assert code in (0, 1), captured.err
    return json.loads(captured.out)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize(("requirement", "platform"), WHEELS)
def test_a_wheel_in_place_is_the_wheel_on_disk(
    requirement: str, platform: str, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = download(requirement, platform)
    (here,) = run(capsys, str(path))["targets"]
    chosen = ("--platform", platform, "--python", "3.12", "--cache-dir", str(cache))
    (there,) = run(capsys, "index", requirement, *chosen)["targets"]
    assert there == {**here, "target": path.name}
    (again,) = run(capsys, "index", requirement, *chosen)["targets"]
    assert again == there


def test_the_table_that_torchcodec_publishes(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each torch release that it names is one that the wheels load on."""
    releases = [f"torchcodec=={release}.*" for release in ("0.12", "0.10", "0.9", "0.7", "0.1")]
    chosen = ("--platform", LINUX, "--python", "3.12", "--cache-dir", str(cache))
    found = run(capsys, "compat", *releases, *chosen)
    jsonschema.validate(found, make_schema("compat"))
    rows = [row for package in found["packages"] for row in package["rows"]]
    assert len(rows) >= len(releases)
    for row in rows:
        named = TORCHCODEC[".".join(row["version"].split(".")[:2])]
        cells = [cell for r, cell in row["releases"].items() if r.startswith(f"{named}.")]
        assert {cell["status"] for cell in cells} <= {"links", "guaranteed"}, row["version"]
        assert {cell["layout"] for cell in cells} <= {None, "unchanged", "unknown"}


def test_which_torchcodec_goes_with_a_torch(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("torchcodec<0.13", "--python", "3.12", "--platform", LINUX)
    found = run(capsys, "compat", *arguments, "--torch", "2.10", "--cache-dir", str(cache))
    (answer,) = found["answers"]
    assert answer["command"] == "pip install torchcodec==0.10.0"
    assert answer["kind"] == "loads"


def test_the_state_of_a_package(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = tmp_path / "packages.txt"
    names.write_text("torchaudio==2.11.0  # pinned\ntensordict==0.15.3\n", encoding="utf-8")
    found = run(capsys, "survey", str(names), "--platform", LINUX, "--cache-dir", str(cache))
    jsonschema.validate(found, make_schema("survey"))
    states = {state["project"]: state["abi"] for state in found["packages"]}
    assert states == {
        "tensordict": "no compiled torch code",
        # 2.10, which is not looked at, is not.
        "torchaudio": "stable: complete since 2.11.0 or earlier",
    }

"""`torch-abi-audit survey` from a folder of wheels."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.builders import METADATA, NAME, TEST_WHEELS, a_library, write_wheel
from torch_abi_audit.cli import main
from torch_abi_audit.index import sources

(WHEEL,) = (TEST_WHEELS / "layout-changed").glob("*.whl")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sources, "_configuration", lambda _: {})
    found = tmp_path / "wheels"
    found.mkdir()
    return found


def surveyed(folder: Path, names: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    path = folder.parent / "names.txt"
    path.write_text(names, encoding="utf-8")
    where = ["--no-index", "-f", str(folder), "--platform", "linux_x86_64", "--no-cache"]
    code = main(["survey", str(path), *where, "--json", "-j", "1"])
    return code, *capsys.readouterr()


@pytest.mark.parametrize(
    "names",
    [
        "layout-changed",
        "Layout_Changed  # as its authors spell it",
        "layout.changed\nlayout-changed\nLAYOUT-CHANGED\n",
        "\ufefflayout_changed>=1\n\n# others\nlayout-changed >= 1",
    ],
)
def test_a_name_is_a_project_however_it_is_spelled(
    names: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(WHEEL, folder)
    code, output, _ = surveyed(folder, names, capsys)
    (package,) = json.loads(output)["packages"]
    assert code == 0
    assert (package["project"], package["version"]) == ("layout-changed", "1.0")
    assert package["progress"] == "not-started"


def test_different_releases_of_one_package(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, output, error = surveyed(folder, "layout-changed>=1\nLayout-Changed<1", capsys)
    assert (code, output) == (2, "")
    assert error.endswith("names.txt: names both layout-changed>=1 and Layout-Changed<1\n")


@pytest.mark.parametrize(
    ("key", "other"), [("Name", "somebody-else"), ("Version", "99.0"), ("Version", "none")]
)
def test_metadata_of_another_package(
    key: str, other: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wheel stays one of the package that was asked for, and is read once."""
    lines = METADATA.splitlines(keepends=True)
    metadata = "".join(f"{key}: {other}\n" if li.startswith(f"{key}:") else li for li in lines)
    assert metadata != METADATA
    write_wheel(folder, {"x/_C.so": a_library()}, metadata=metadata)
    project = NAME.partition("-")[0]
    code, output, _ = surveyed(folder, project, capsys)
    (package,) = json.loads(output)["packages"]
    assert code in (0, 2)
    assert package["project"] == project.replace("_", "-")

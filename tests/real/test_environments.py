"""Environments of published wheels: what the audit says of those that fit, and of those that don't.

They are unpacked, not installed, so that one for macOS is judged on any host.
"""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING

import pytest

from tests.real.download import MACOS, download
from torch_abi_audit.cli import main

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real


def test_packages_beside_torch_for_macos(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """torchvision 0.23.0 is built for torch 2.8.0, torchaudio 2.11.0 needs shims of 2.10.0."""
    for requirement in ("torch==2.8.0", "torchvision==0.23.0", "torchaudio==2.11.0"):
        with zipfile.ZipFile(download(requirement, MACOS)) as archive:
            archive.extractall(tmp_path)
    assert main(["--json", "--site-packages", str(tmp_path)]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["environment"]["torch"] == "2.8.0"
    assert report["counts"]["here"] == {"guaranteed": 0, "links": 1, "breaks": 1, "unknown": 0}
    here = {target["target"]: target["here"] for target in report["targets"]}
    assert here["torch"] is None
    assert here["torchvision"] == {
        "torch": "2.8.0",
        "status": "links",
        "layout": "unchanged",
        "reasons": [],
        "libstdcxx": None,
        "remedy": None,
    }
    assert here["torchaudio"]["status"] == "breaks"
    assert {
        "cause": "symbol",
        "name": "torch_library_impl",
        "detail": "not in torch 2.8.0",
    } in here["torchaudio"]["reasons"]
    assert main(["--site-packages", str(tmp_path)]) == 1
    output = capsys.readouterr().out
    assert "torchaudio 2.11.0 does not load with torch 2.8.0: torch 2.10 or newer is" in output
    assert output.splitlines()[-1] == (
        "failed: 1 of 2 packages that use torch does not load with torch 2.8.0; no torch"
        " release on PyPI suits all of them"
    )

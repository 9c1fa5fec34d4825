"""A part of the catalog, built again from torch's own wheel and compared with what is packaged."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.version import Version

from torch_abi_audit import catalog
from torch_abi_audit.catalog import load_catalog
from torch_abi_audit.catalog.build.collect import WheelTree, collect
from torch_abi_audit.catalog.build.merge import merge_platform
from torch_abi_audit.catalog.build.other_builds import measure
from torch_abi_audit.catalog.builds import OTHER_BUILDS_FILE

pytestmark = pytest.mark.real

RELEASE = Version("2.9.1")


def test_a_release_built_again_is_the_packaged_one(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", "."]
    command += ["--only-binary", ":all:", "--platform", "macosx_11_0_arm64"]
    command += ["--python-version", "311", "--abi", "none", "--abi", "cp311"]
    subprocess.run([*command, f"torch=={RELEASE}"], check=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("torch-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        provided = collect("macos_arm64", wheel.name, WheelTree(archive))
    (build,), table = merge_platform([provided], {})
    packaged = load_catalog().platforms["macos_arm64"]
    known = packaged.build(RELEASE)
    assert known is not None
    assert (build.libraries, build.others, build.cuda) == (known.libraries, known.others, None)
    bit = 1 << packaged.builds.index(known)
    exported = {
        name: {library for library, mask in masks.items() if mask & bit}
        for name, masks in packaged.table
    }
    assert {name: set(masks) for name, masks in table} == {
        name: libraries for name, libraries in exported.items() if libraries
    }
    shims = load_catalog().shims
    declared = {
        name
        for name, shim in shims.items()
        if shim.since <= RELEASE and (shim.removed is None or shim.removed > RELEASE)
    }
    assert set(provided.shims) == declared


def test_a_build_measured_again_is_the_packaged_one(tmp_path: Path) -> None:
    """The CPU build of 2.13.0, on an index that has it: torch's own."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", "."]
    command += ["--only-binary", ":all:", "--platform", "manylinux_2_28_x86_64"]
    command += ["--python-version", "311", "--abi", "cp311", "torch==2.13.0+cpu"]
    if subprocess.run(command, check=False, cwd=tmp_path).returncode != 0:
        pytest.skip("the configured index has no torch 2.13.0+cpu")
    output = tmp_path / OTHER_BUILDS_FILE
    measure([*tmp_path.glob("torch-*.whl")], output, load_catalog())
    packaged = json.loads((Path(catalog.__file__).parent / "data" / OTHER_BUILDS_FILE).read_text())
    found = json.loads(output.read_text())["linux_x86_64"]["cpu"]["2.13.0"]
    assert found == packaged["linux_x86_64"]["cpu"]["2.13.0"]

"""A part of the catalog, built again from torch's own wheel and compared with what is packaged."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest
from packaging.version import Version

from torch_abi_audit.catalog import load_catalog
from torch_abi_audit.catalog.build.collect import WheelTree, collect
from torch_abi_audit.catalog.build.merge import merge_platform

if TYPE_CHECKING:
    from pathlib import Path

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

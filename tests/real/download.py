"""Published wheels, downloaded with pip from the configured index.

They are kept in the folder that `TORCH_ABI_AUDIT_WHEELS` names, or in `.cache/wheels`, which
git ignores.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CACHE = Path(
    os.environ.get("TORCH_ABI_AUDIT_WHEELS") or Path(__file__).parents[2] / ".cache" / "wheels"
)
LINUX, LINUX_ARM, MACOS, WINDOWS = "linux_x86_64", "linux_aarch64", "macos_arm64", "windows_x86_64"


def _linux(arch: str) -> list[str]:
    tags = [f"manylinux_2_{minor}_{arch}" for minor in range(39, 16, -1)]
    return [*tags, f"manylinux2014_{arch}", f"manylinux1_{arch}"]


PLATFORM_TAGS = {
    LINUX: _linux("x86_64"),
    LINUX_ARM: _linux("aarch64"),
    MACOS: [f"macosx_{major}_0_arm64" for major in (15, 14, 13, 12, 11)],
    WINDOWS: ["win_amd64"],
}


def download(requirement: str, platform: str = LINUX, python: str = "312") -> Path:
    """Download the wheel for a platform and a release of CPython, once."""
    name, _, version = requirement.partition("==")
    folder = CACHE / (f"{name}-{version}" if version else name)
    if platform != LINUX:
        folder /= platform
    found = sorted(folder.glob("*.whl"))
    if not found:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--only-binary", ":all:", "--dest", str(folder), "--python-version", python]
        command += ["--implementation", "cp", "--abi", f"cp{python}", "--abi", "abi3"]
        command += ["--abi", "none"]
        for tag in PLATFORM_TAGS[platform]:
            command += ["--platform", tag]
        subprocess.run([*command, requirement], check=True)
        found = sorted(folder.glob("*.whl"))
    (wheel,) = found
    return wheel

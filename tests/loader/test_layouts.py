"""What the audit says of layouts, against what calls return; see `layouts`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from packaging.version import Version

from tests.environments import CACHE
from tests.loader.layouts import CASES, HEADERS, INSTALLED, Case, outcome, run
from torch_abi_audit import audit
from torch_abi_audit.model import LayoutStatus, ReleaseStatus, TargetReport

pytestmark = pytest.mark.loader


@pytest.mark.parametrize("release", HEADERS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_said_is_what_happens(case: Case, release: str) -> None:
    found = outcome(case, release)
    assert found.expected, f"{found.says}; it returned {found.returned}"
    # The assertions name the headers, whatever the metadata requires.
    assert found.built is None or Version(release) in found.built.releases


# Boxes of which the second overlaps the first.
NMS = """
torch.ops.load_library(path)
boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10.5], [20, 20, 30, 30]])
result = torch.ops.torchvision.nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5).tolist()
"""
EXTENSION = "torchvision/_C.so"


def torchvision(release: str) -> Path:
    """Download a release of torchvision for this Python, once, and unpack it."""
    folder = CACHE / f"torchvision-{release}"
    if not folder.exists():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--only-binary", ":all:", "--dest", str(folder)]
        subprocess.run([*command, f"torchvision=={release}"], check=True)
        (wheel,) = folder.glob("*.whl")
        subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(folder)], check=True)
    return folder


def stub_cuda(report: TargetReport, folder: Path) -> None:
    """Compile libraries that have what an extension asks of CUDA, and that nothing calls."""
    (extension,) = (item.library for item in report.libraries if item.path == EXTENSION)
    names = {item.name: item.version for item in extension.imports if "cuda" in item.name.lower()}
    script = folder / "versions"
    (runtime,) = {version for version in names.values() if version is not None}
    script.write_text(f"{runtime} {{ global: *; }};\n")
    for library, of_runtime in (
        (runtime, True),
        ("libc10_cuda.so", False),
        ("libtorch_cuda.so", False),
    ):
        source = folder / f"{library}.c"
        chosen = [name for name, version in names.items() if (version is not None) is of_runtime]
        source.write_text("".join(f"void {name}(void) {{}}\n" for name in chosen))
        command = ["gcc", "-shared", "-fPIC", "-w", f"-Wl,-soname,{library}", str(source)]
        command += [f"-Wl,--version-script={script}"] if of_runtime else []
        subprocess.run([*command, "-o", str(folder / library)], check=True)


@pytest.mark.parametrize(
    ("release", "layout", "returned"),
    [
        ("0.27.1", LayoutStatus.CHANGED, "NotImplementedError: Could not run 'torchvision::nms'"),
        ("0.28.0", LayoutStatus.UNCHANGED, "[0, 2]"),
    ],
)
def test_torchvision(release: str, layout: LayoutStatus, returned: str, tmp_path: Path) -> None:
    folder = torchvision(release)
    (wheel,) = folder.glob("*.whl")
    (report,) = audit(wheel).targets
    cell = report.matrix.libraries[EXTENSION][INSTALLED]
    assert (cell.status, cell.layout) == (ReleaseStatus.LINKS, layout)
    # The wheel is for CUDA, and torch here is not: what it asks of CUDA is there, and not called.
    stub_cuda(report, tmp_path)
    loads, result = run(NMS, folder / EXTENSION, tmp_path)
    assert loads
    assert result.startswith(returned)

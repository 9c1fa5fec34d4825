"""Compare the matrix with the real dynamic loader, cell by cell. Linux, as root.

    python -m tests.loader.compare --hide /usr/local/cuda \\
        --torch 2.9.1=venv-2.9.1/bin/python --torch 2.15.0=venv-2.15.0/bin/python WHEEL ...

Each environment has the torch that it is named after, as pip installs it. The wheels are
unpacked beside its packages, so that run paths like `$ORIGIN/../nvidia/…` lead where they
do for users, and each library that needs torch is opened with `dlopen`, all symbols bound
at once. A stub stands for the driver's `libcuda.so.1`. The folders to hide hold CUDA
libraries of the host, which a user's machine does not have: an empty folder is mounted
over them in a mount namespace of the probe's own.

Prints each cell where prediction and loader differ, and a line of totals; exits with 1
when there is one. Cells that another missing library decides (FFmpeg, TensorRT) are
counted apart, and so are libraries that the loader takes and whose initialisers abort.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from torch_abi_audit import audit
from torch_abi_audit.catalog.libraries import cuda_library, is_torch_library
from torch_abi_audit.model import ReleaseStatus, TargetReport

PROBE = Path(__file__).with_name("probe.py")
_MISSING_LIBRARY = re.compile(r"(\S+): cannot open shared object file")
_UNDEFINED = re.compile(r"undefined symbol: (\S+)")


@dataclass(frozen=True)
class Outcome:
    """What the loader did with one library."""

    loads: bool
    error: str

    @property
    def missing_other(self) -> str | None:
        """The library that is missing and is neither torch's nor CUDA's."""
        match = _MISSING_LIBRARY.search(self.error)
        name = match[1] if match else ""
        return name if name and not is_torch_library(name) and not cuda_library(name) else None


def stub_driver(reports: list[TargetReport], folder: Path) -> None:
    """Compile a libcuda.so.1 that has every name that the wheels, or torch, may ask of it."""
    names = {
        symbol.name
        for report in reports
        for item in report.libraries
        for symbol in item.library.imports
        if re.match(r"cu[A-Z]", symbol.name)
        and symbol.version is None
        and not re.match(r"cu(blas|fft|rand|solver|sparse|da[A-Z])", symbol.name)
    }
    source = folder / "cuda.c"
    source.write_text("".join(f"int {name}(void) {{ return 999; }}\n" for name in sorted(names)))
    compiler = str(sysconfig.get_config_var("CC") or "cc").split()[0]
    command = [compiler, "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", str(source)]
    subprocess.run([*command, "-o", str(folder / "libcuda.so.1")], check=True)


def unpack(wheels: list[Path], site: Path, packages: Path) -> None:
    """Unpack wheels into a folder that looks like site-packages."""
    site.mkdir()
    for entry in packages.iterdir():
        (site / entry.name).symlink_to(entry)
    for item in wheels:
        with zipfile.ZipFile(item) as archive:
            for name in archive.namelist():
                top = site / name.partition("/")[0]
                if top.is_symlink():
                    top.unlink()
                archive.extract(name, site)


def needed_before(report: TargetReport, path: str) -> list[str]:
    """Return the siblings that a library needs, those that others need first."""
    by_name: dict[str, str] = {}
    for item in report.libraries:
        by_name.setdefault(item.path.rpartition("/")[2], item.path)
        by_name.setdefault(item.library.soname or "", item.path)
    libraries = {item.path: item.library for item in report.libraries}
    ordered: list[str] = []

    def visit(current: str, seen: tuple[str, ...]) -> None:
        for name in libraries[current].needed:
            sibling = by_name.get(name)
            if sibling is not None and sibling not in seen and sibling not in ordered:
                visit(sibling, (*seen, sibling))
                ordered.append(sibling)

    visit(path, (path,))
    return ordered


def probe(
    report: TargetReport, python: str, work: Path, hidden: list[str], beside: list[Path]
) -> dict[str, Outcome]:
    """Load every library of a target that needs torch in one environment."""
    command = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    site = work / "site"
    shutil.rmtree(site, ignore_errors=True)
    unpack([Path(report.target), *beside], site, Path(packages))
    paths = list(report.matrix.libraries)
    order = [
        [str(site / path), [str(site / near) for near in needed_before(report, path)]]
        for path in paths
    ]
    empty = work / "empty"
    empty.mkdir(exist_ok=True)
    mounts = "".join(f"mount --bind {empty} {folder} && " for folder in hidden)
    script = f"{mounts}exec env LD_LIBRARY_PATH={work} {python} {PROBE}"
    result = subprocess.run(
        ["unshare", "-m", "sh", "-c", script],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        check=True,
    )
    errors = json.loads(result.stdout.splitlines()[-1])
    return {path: Outcome(not errors[str(site / path)], errors[str(site / path)]) for path in paths}


def compare(
    report: TargetReport, release: Version, outcomes: dict[str, Outcome], counts: Counter[str]
) -> None:
    """Print the cells of a column where prediction and loader differ."""
    for path, outcome in outcomes.items():
        cell = report.matrix.libraries[path][release]
        predicted = cell.status in (ReleaseStatus.GUARANTEED, ReleaseStatus.LINKS)
        if outcome.missing_other:
            counts["decided by another library"] += 1
        elif predicted and outcome.error.startswith("died"):
            # Every symbol is there, and code inlined from other headers runs on changed layouts.
            counts["loads, then aborts in an initialiser"] += 1
            print(f"{Path(report.target).name} {path} with torch {release}: {outcome.error}")
        elif predicted == outcome.loads:
            counts["loads" if predicted else "breaks"] += 1
        else:
            counts["DIFFERENT"] += 1
            name = Path(report.target).name
            print(f"{name} {path} with torch {release}: predicted {cell.status}")
            print(f"    predicted: {'; '.join(map(str, cell.reasons[:3])) or 'loads'}")
            print(f"    the loader: {outcome.error or 'loads'}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--torch", action="append", required=True, metavar="VERSION=PYTHON")
    parser.add_argument("--hide", action="append", default=[], metavar="DIR")
    parser.add_argument(
        "--beside",
        action="append",
        default=[],
        type=Path,
        metavar="WHEEL",
        help="a wheel to unpack beside each, whose libraries others need",
    )
    parser.add_argument("wheels", nargs="+")
    options = parser.parse_args()
    reports = list(audit(*options.wheels).targets)
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        stub_driver(reports, work)
        for report in reports:
            if not report.matrix.libraries:
                print(f"{report.target}: nothing needs torch {report.error or ''}")
                continue
            for environment in options.torch:
                version, _, python = environment.partition("=")
                outcomes = probe(report, python, work, options.hide, options.beside)
                compare(report, Version(version), outcomes, counts)
    print(", ".join(f"{number} {what}" for what, number in sorted(counts.items())))
    return 1 if counts["DIFFERENT"] else 0


if __name__ == "__main__":
    sys.exit(main())

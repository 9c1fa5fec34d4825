"""Record what version 0.3.0 said of the Linux wheels of `test_wheels/`: `recorded_030.json`.

    VENV/bin/python tests/unit/record_030.py

VENV has `torch-abi-audit==0.3.0`, which needs `nm` of binutils. Run as a file, so that it imports
that version and not this repository's. `test_compat` takes the same functions for this version.
"""

from __future__ import annotations

import importlib
import json
import tempfile
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

WHEELS = Path(__file__).parents[2] / "test_wheels"
RECORD = Path(__file__).with_name("recorded_030.json")

ROLLED_UP = (
    "torch_verdict",
    "cpython_verdict",
    "min_torch_version",
    "min_torch_display",
    "has_error",
    "has_unknown_shim_symbols",
    "error",
)


def linux_wheels() -> list[Path]:
    """Return the wheels of the scenarios that have libraries for Linux."""
    found = {path: path.stem.rpartition("-")[2] for path in WHEELS.glob("*/*.whl")}
    return sorted(path for path, tag in found.items() if "linux" in tag or tag == "any")


def unpacked(wheel: Path, folder: Path) -> Path:
    """Unpack a wheel below a folder."""
    place = folder / wheel.stem
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place)
    return place.resolve()


def described(package: Path) -> dict[str, Any]:
    """Return what the version that is installed says of an unpacked wheel, as JSON has it.

    Of a library there are the fields of its verdicts, those left out that are empty.
    """
    report = importlib.import_module("torch_abi_audit").inspect_package(package)
    assert report.root == package
    libraries = {}
    for kind in ("extensions", "bundled_libs"):
        for item in getattr(report, kind):
            facts = {**asdict(item.cpython), **asdict(item.torch), "error": item.error}
            path = item.path.relative_to(package).as_posix()
            libraries[path] = {"of": kind, **{key: facts[key] for key in facts if facts[key]}}
    rolled = {key: getattr(report, key) for key in ROLLED_UP}
    found = {"name": report.name, **{key: rolled[key] for key in rolled if rolled[key]}}
    return json.loads(json.dumps({**found, "libraries": libraries}))  # type: ignore[no-any-return]


def main() -> None:
    """Write the record, a package and a library a line."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for wheel in linux_wheels():
            found = described(unpacked(wheel, Path(folder)))
            libraries = found.pop("libraries")
            inner = [f"   {json.dumps(path)}: {json.dumps(libraries[path])}" for path in libraries]
            head = json.dumps(found)[:-1]
            joined = ",\n".join(inner)
            lines.append(f' {json.dumps(wheel.name)}: {head}, "libraries": {{\n{joined}}}}}')
    RECORD.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()

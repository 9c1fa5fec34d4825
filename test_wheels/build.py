"""Build the wheels of this folder from the sources that lie beside them.

    pip install --group build-test-wheels
    python test_wheels/build.py [SCENARIO ...]

Each folder with a `scenario.toml` is a scenario: what the wheel claims, and its
members. Libraries are cross-compiled by the Zig toolchain, so this runs on any host;
they are linked against empty stand-ins for torch's libraries, which give them the
`DT_NEEDED` entries of the real ones. The same sources and toolchain give the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
_EPOCH = (1980, 1, 1, 0, 0, 0)
_DEFAULT_TARGET = "x86_64-linux-gnu.2.28"
_FLAGS = [
    "-shared",
    "-fPIC",
    "-O1",
    "-s",
    "-fno-sanitize=all",
    "-fno-stack-protector",
    "-fno-exceptions",
    "-fno-unwind-tables",
    "-fno-asynchronous-unwind-tables",
    "-nostdlib++",
    "-Wl,--no-as-needed",
    "-Wl,-z,undefs",
]


def zig(source: Path, output: Path, target: str, *arguments: str) -> None:
    """Compile and link one shared library; the name of the source decides the language."""
    compiler = "c++" if source.suffix == ".cpp" else "cc"
    command = [sys.executable, "-m", "ziglang", compiler, "-target", target]
    subprocess.run([*command, *_FLAGS, source, "-o", output, *arguments], check=True)


def build_library(folder: Path, entry: dict[str, Any], work: Path) -> bytes:
    """Build one `[[library]]` entry and return its bytes."""
    target = entry.get("target", _DEFAULT_TARGET)
    stand_ins = []
    for name in entry.get("needed", []):
        stand_in = work / target / name
        if not stand_in.exists():
            stand_in.parent.mkdir(exist_ok=True)
            empty = work / "empty.c"
            empty.touch()
            zig(empty, stand_in, target, f"-Wl,-soname,{name}")
        stand_ins.append(str(stand_in))
    output = work / "library"
    name = entry.get("soname", Path(entry["path"]).name)
    zig(folder / entry["source"], output, target, f"-Wl,-soname,{name}", *stand_ins)
    data = output.read_bytes()
    if entry.get("strip-sections"):
        data = strip_sections(data)
    return data[: entry.get("keep-bytes", len(data))]


def strip_sections(data: bytes) -> bytes:
    """Drop the section headers of a 64-bit little-endian ELF file."""
    offset = int.from_bytes(data[40:48], "little")
    return data[:40] + bytes(8) + data[48:60] + bytes(4) + data[64:offset]


def build_wheel(folder: Path, work: Path) -> Path:
    """Build the wheel of one scenario into its folder."""
    scenario = tomllib.loads((folder / "scenario.toml").read_text(encoding="utf-8"))
    wheel = scenario["wheel"]
    tag = "-".join((wheel["python"], wheel["abi"], wheel["platform"]))
    stem = f"{wheel['name']}-1.0"
    files: dict[str, bytes] = {}
    for entry in scenario.get("library", []):
        files[entry["path"]] = build_library(folder, entry, work)
    for entry in scenario.get("file", []):
        files[entry["path"]] = entry["text"].encode()
    metadata = [
        "Metadata-Version: 2.4",
        f"Name: {wheel['name']}",
        "Version: 1.0",
        *(f"Requires-Python: {line}" for line in [wheel.get("requires-python")] if line),
        *(f"Provides-Extra: {extra}" for extra in wheel.get("extras", [])),
        *(f"Requires-Dist: {line}" for line in wheel.get("requires-dist", [])),
    ]
    headers = [
        "Wheel-Version: 1.0",
        "Generator: test_wheels",
        f"Root-Is-Purelib: {str(wheel.get('purelib', False)).lower()}",
        *(f"Tag: {line}" for line in wheel.get("wheel-tags", expand(tag))),
    ]
    files[f"{stem}.dist-info/METADATA"] = "\n".join([*metadata, ""]).encode()
    files[f"{stem}.dist-info/WHEEL"] = "\n".join([*headers, ""]).encode()
    record = f"{stem}.dist-info/RECORD"
    lines = [f"{name},{digest(data)},{len(data)}" for name, data in sorted(files.items())]
    files[record] = "\n".join([*lines, f"{record},,", ""]).encode()
    for old in folder.glob("*.whl"):
        old.unlink()
    path = folder / f"{stem}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, data)
    return path


def expand(tag: str) -> list[str]:
    """Expand a compressed tag set."""
    pythons, abis, platforms = (part.split(".") for part in tag.split("-"))
    return [f"{a}-{b}-{c}" for a in pythons for b in abis for c in platforms]


def digest(data: bytes) -> str:
    """Return a file's hash as `RECORD` writes it."""
    hashed = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=")
    return f"sha256={hashed.decode()}"


def main(names: list[str]) -> None:
    folders = [HERE / name for name in names] or sorted(
        path.parent for path in HERE.glob("*/scenario.toml")
    )
    with tempfile.TemporaryDirectory() as work:
        for folder in folders:
            path = build_wheel(folder, Path(work))
            print(f"{path.relative_to(HERE)}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])

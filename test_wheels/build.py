"""Build the wheels of this folder from the sources that lie beside them.

    pip install --group build-test-wheels
    python test_wheels/build.py [SCENARIO ...]

Each folder with a `scenario.toml` is a scenario: what the wheel claims, and its
members. Libraries are cross-compiled by the Zig toolchain, so this runs on any host;
they are linked against stand-ins for torch's libraries, so that what they need, and for
macOS and Windows the library that each symbol is asked of, is as with the real ones. The
same sources and toolchain give the same bytes.

A `[[library]]` has a `path`, a `source` and a `target`. `needed` names its stand-ins;
where the linker asks what they export, `[library.exports]` says it. Several `targets`
make a universal library.

`[[also]]` tables are further wheels of the release, with what they say instead of `[wheel]`.
`[archive]` makes what no build backend does: `twice` writes members again at the end,
`unrecorded` leaves files out of RECORD, `stream` writes the archive as to a pipe.
"""

from __future__ import annotations

import base64
import hashlib
import io
import struct
import subprocess
import sys
import tempfile
import tomllib
import warnings
import zipfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
_EPOCH = (1980, 1, 1, 0, 0, 0)
_DEFAULT_TARGET = "x86_64-linux-gnu.2.28"
_FLAGS = [
    "-shared",
    "-O1",
    "-s",
    "-fno-sanitize=all",
    "-fno-stack-protector",
    "-fno-exceptions",
    "-fno-unwind-tables",
    "-fno-asynchronous-unwind-tables",
]
_SYSTEM_FLAGS = {
    "linux": ["-fPIC", "-nostdlib++", "-Wl,--no-as-needed", "-Wl,-z,undefs"],
    "macos": ["-nostdlib++", "-Wl,-undefined,dynamic_lookup"],
    "windows": ["-nostdlib"],
}
# What the system's loader calls, where no C library is linked that has it.
_WINDOWS_ENTRY = "int DllMainCRTStartup(void *a, unsigned b, void *c) { return 1; }\n"
# The machines of a universal file: CPU type and subtype, as mach/machine.h numbers them.
_FAT_MACHINES = {"aarch64": (0x0100000C, 0), "x86_64": (0x01000007, 3)}
_FAT_ALIGNMENT = 14


def system_of(target: str) -> str:
    """Return the system of a Zig target."""
    return target.split("-")[1].partition(".")[0]


def zig(source: Path, output: Path, target: str, *arguments: str | Path) -> None:
    """Compile and link one shared library; the name of the source decides the language."""
    compiler = "c++" if source.suffix == ".cpp" else "cc"
    command = [sys.executable, "-m", "ziglang", compiler, "-target", target, *_FLAGS]
    command += _SYSTEM_FLAGS[system_of(target)]
    subprocess.run([*command, source, "-o", output, *arguments], check=True)


def own_name(target: str, name: str, folder: Path) -> list[str | Path]:
    """Return the arguments that give a library its name."""
    match system_of(target):
        case "linux":
            return [f"-Wl,-soname,{name}"]
        case "macos":
            return [f"-Wl,-install_name,@rpath/{name}"]
        case _:
            entry = folder / "entry.c"
            entry.write_text(_WINDOWS_ENTRY)
            return [entry]


def stand_in(name: str, exports: list[str], target: str, work: Path) -> Path:
    """Build a library that only exports names; return what to link against."""
    folder = work / target / hashlib.sha256(repr((name, exports)).encode()).hexdigest()[:12]
    output = folder / name
    import_library = output.with_suffix(".lib")
    if not output.exists():
        folder.mkdir(parents=True)
        source = folder / "stand_in.c"
        windows = system_of(target) == "windows"
        underscore = "_" if system_of(target) == "macos" else ""
        export = "__declspec(dllexport) " if windows else ""
        source.write_text(
            "".join(
                f'{export}void f{number}(void) __asm__("{underscore}{symbol}");\n'
                f"{export}void f{number}(void) {{}}\n"
                for number, symbol in enumerate(exports)
            )
        )
        out = [f"-Wl,--out-implib,{import_library}"] if windows else []
        zig(source, output, target, *own_name(target, name, folder), *out)
    return import_library if import_library.exists() else output


def build_slice(folder: Path, entry: dict[str, Any], target: str, work: Path) -> bytes:
    """Build a `[[library]]` entry for one target and return its bytes."""
    exports = entry.get("exports", {})
    stand_ins = [stand_in(name, exports.get(name, []), target, work) for name in entry["needed"]]
    output = work / Path(entry["path"]).name
    name = entry.get("soname", output.name)
    zig(folder / entry["source"], output, target, *own_name(target, name, work), *stand_ins)
    return output.read_bytes()


def build_library(folder: Path, entry: dict[str, Any], work: Path) -> bytes:
    """Build one `[[library]]` entry and return its bytes."""
    entry.setdefault("needed", [])
    if "targets" in entry:
        slices = {target: build_slice(folder, entry, target, work) for target in entry["targets"]}
        return join_slices(slices)
    data = build_slice(folder, entry, entry.get("target", _DEFAULT_TARGET), work)
    if entry.get("strip-sections"):
        data = strip_sections(data)
    return data[: entry.get("keep-bytes", len(data))]


def join_slices(slices: dict[str, bytes]) -> bytes:
    """Make a universal file, as lipo does: `fat_header` and `fat_arch` of mach-o/fat.h."""
    start = 1 << _FAT_ALIGNMENT
    header = struct.pack(">2I", 0xCAFEBABE, len(slices))
    body = b""
    for target, data in slices.items():
        machine = _FAT_MACHINES[target.partition("-")[0]]
        header += struct.pack(">5I", *machine, start + len(body), len(data), _FAT_ALIGNMENT)
        body += data + bytes(-len(data) % start)
    return header + bytes(start - len(header)) + body


def strip_sections(data: bytes) -> bytes:
    """Drop the section headers of a 64-bit little-endian ELF file."""
    offset = int.from_bytes(data[40:48], "little")
    return data[:40] + bytes(8) + data[48:60] + bytes(4) + data[64:offset]


def build_wheels(folder: Path, work: Path) -> list[Path]:
    """Build the wheels of one scenario into its folder."""
    scenario = tomllib.loads((folder / "scenario.toml").read_text(encoding="utf-8"))
    files: dict[str, bytes] = {}
    for entry in scenario.get("library", []):
        files[entry["path"]] = build_library(folder, entry, work)
    for entry in scenario.get("file", []):
        files[entry["path"]] = entry["text"].encode()
    for old in folder.glob("*.whl"):
        old.unlink()
    wheels = [scenario["wheel"], *({**scenario["wheel"], **w} for w in scenario.get("also", []))]
    return [write_wheel(folder, wheel, files, scenario.get("archive", {})) for wheel in wheels]


def write_wheel(
    folder: Path, wheel: dict[str, Any], libraries: dict[str, bytes], odd: dict[str, Any]
) -> Path:
    """Write one wheel."""
    files = dict(libraries)
    tag = "-".join((wheel["python"], wheel["abi"], wheel["platform"]))
    stem = f"{wheel['name']}-1.0"
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
    unrecorded = odd.get("unrecorded", [])
    lines = [
        f"{name},{digest(data)},{len(data)}"
        for name, data in sorted(files.items())
        if name not in unrecorded
    ]
    files[record] = "\n".join([*lines, f"{record},,", ""]).encode()
    variant = f"-{wheel['variant']}" if "variant" in wheel else ""
    path = folder / f"{stem}-{tag}{variant}.whl"
    buffer = Pipe() if odd.get("stream") else io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as archive:
        warnings.simplefilter("ignore")  # of duplicate names
        for name, data in (*files.items(), *((name, files[name]) for name in odd.get("twice", []))):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, data)
    path.write_bytes(buffer.getvalue())
    return path


class Pipe(io.BytesIO):
    """What can't be sought in."""

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        raise OSError

    def seek(self, *_: int) -> int:
        raise OSError


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
            for path in build_wheels(folder, Path(work)):
                print(f"{path.relative_to(HERE)}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])

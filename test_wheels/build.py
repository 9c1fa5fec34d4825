"""Build the wheels in this folder from the sources next to them.

    pip install --group build-test-wheels
    python -m test_wheels.build [SCENARIO ...]            build and write the wheels
    python -m test_wheels.build --check [SCENARIO ...]    compare with the committed wheels
    python -m test_wheels.build --accept [SCENARIO ...]   audit, and write expected.json

Each folder with a `scenario.toml` is a scenario: the wheel's metadata, and the files in it.
`scenario.py` documents its keys, `expected.py` those of `expected.json`.

Libraries are cross-compiled with Zig, so this runs on any host. They are linked against stubs of
torch's libraries, so they need the same libraries, and on macOS and Windows import each symbol
from the same library, as real extensions do. The same sources and version of Zig give the same
bytes.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import struct
import subprocess
import sys
import tempfile
import warnings
import zipfile
from difflib import unified_diff
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # also as a script, from any folder

from test_wheels import expected
from test_wheels.scenario import (
    Archive,
    Library,
    Scenario,
    ScenarioError,
    Wheel,
    did_you_mean,
    read_scenario,
    system_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

HERE = Path(__file__).parent
_ROOT = HERE.parent
_EPOCH = (1980, 1, 1, 0, 0, 0)
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


def search_path(entry: Library, target: str) -> list[str | Path]:
    """Return the linker arguments for the library's search path."""
    folders = entry.rpath or entry.runpath
    arguments = [part for folder in folders for part in ("-Xlinker", "-rpath", "-Xlinker", folder)]
    if folders and system_of(target) == "linux":
        arguments += ["-Xlinker", f"--{'disable' if entry.rpath else 'enable'}-new-dtags"]
    return [*arguments]


def stand_in(name: str, exports: Sequence[str], target: str, work: Path) -> Path:
    """Build a stub that exports some names; return the file to link against."""
    folder = work / target / hashlib.sha256(repr((name, list(exports))).encode()).hexdigest()[:12]
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


def build_slice(folder: Path, entry: Library, target: str, work: Path) -> bytes:
    """Build a `[[library]]` for one target and return its bytes."""
    stand_ins = [stand_in(name, entry.exports.get(name, ()), target, work) for name in entry.needed]
    output = work / Path(entry.path).name
    arguments = [*own_name(target, entry.soname or output.name, work), *search_path(entry, target)]
    zig(folder / entry.source, output, target, *arguments, *stand_ins)
    return output.read_bytes()


def build_library(folder: Path, entry: Library, work: Path) -> bytes:
    """Build one `[[library]]` and return its bytes."""
    slices = {target: build_slice(folder, entry, target, work) for target in entry.all_targets}
    data = join_slices(slices) if entry.targets else slices.popitem()[1]
    if entry.strip_sections:
        data = strip_sections(data)
    return data[: entry.keep_bytes]


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


def build_wheels(scenario: Scenario, work: Path) -> dict[str, bytes]:
    """Build the wheels of one scenario; return them by filename."""
    files = {
        entry.path: build_library(scenario.folder, entry, work) for entry in scenario.libraries
    }
    files |= {entry.path: entry.text.encode() for entry in scenario.files}
    return dict(make_wheel(wheel, files, scenario.archive) for wheel in scenario.wheels)


def make_wheel(wheel: Wheel, contents: Mapping[str, bytes], archive: Archive) -> tuple[str, bytes]:
    """Return the filename and the bytes of one wheel."""
    files = dict(contents)
    tag = "-".join((wheel.python, wheel.abi, wheel.platform))
    stem = f"{wheel.name}-{wheel.version}"
    metadata = [
        "Metadata-Version: 2.4",
        f"Name: {wheel.name}",
        f"Version: {wheel.version}",
        *(f"Requires-Python: {line}" for line in [wheel.requires_python] if line),
        *(f"Provides-Extra: {extra}" for extra in wheel.extras),
        *(f"Requires-Dist: {line}" for line in wheel.requires_dist),
    ]
    tags = expand(tag) if wheel.wheel_tags is None else wheel.wheel_tags
    headers = [
        "Wheel-Version: 1.0",
        "Generator: test_wheels",
        f"Root-Is-Purelib: {str(wheel.purelib).lower()}",
        *(f"Tag: {line}" for line in tags),
    ]
    files[f"{stem}.dist-info/METADATA"] = "\n".join([*metadata, ""]).encode()
    files[f"{stem}.dist-info/WHEEL"] = "\n".join([*headers, ""]).encode()
    if wheel.variant is not None:
        files[f"{stem}.dist-info/variant.json"] = variant_json(wheel.variant, wheel.properties)
    record = f"{stem}.dist-info/RECORD"
    lines = [
        f"{name},{digest(data)},{len(data)}"
        for name, data in sorted(files.items())
        if name not in archive.unrecorded
    ]
    files[record] = "\n".join([*lines, f"{record},,", ""]).encode()
    variant = f"-{wheel.variant}" if wheel.variant else ""
    buffer = Pipe() if archive.stream else io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as opened:
        warnings.simplefilter("ignore")  # of duplicate names
        for name, data in (*files.items(), *((name, files[name]) for name in archive.twice)):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            opened.writestr(info, data)
    return f"{stem}-{tag}{variant}.whl", buffer.getvalue()


def variant_json(label: str, properties: Iterable[str]) -> bytes:
    """Return the metadata of a variant wheel (PEP 825, a draft)."""
    variant: dict[str, dict[str, list[str]]] = {}
    for item in properties:
        namespace, feature, value = item.split("::")
        variant.setdefault(namespace, {}).setdefault(feature, []).append(value)
    # At least one namespace has to be there, though the variant may have none.
    namespaces = sorted(variant.keys() - {"abi_dependency"}) or ["nvidia"]
    document = {
        "$schema": "https://variants-schema.wheelnext.dev/peps/825/v0.1.1.json",
        "default-priorities": {"namespace": namespaces},
        "variants": {label: variant},
    }
    return (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()


class Pipe(io.BytesIO):
    """A stream that can't seek."""

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


def build(scenario: Scenario, work: Path) -> None:
    """Write the wheels of a scenario into its folder, replacing old ones."""
    built = build_wheels(scenario, work)
    for old in scenario.folder.glob("*.whl"):
        old.unlink()
    for name, data in built.items():
        (scenario.folder / name).write_bytes(data)
        print(f"{scenario.folder.name}/{name}: {len(data)} bytes")


def differing(scenario: Scenario, work: Path) -> list[str]:
    """Build a scenario; return which of the wheels in its folder are not the same."""
    built = build_wheels(scenario, work)
    here = {path.name: path.read_bytes() for path in scenario.folder.glob("*.whl")}
    reasons = dict.fromkeys(built.keys() - here.keys(), "missing")
    reasons |= dict.fromkeys(here.keys() - built.keys(), "not built by the scenario")
    reasons |= {name: "differs" for name in built.keys() & here.keys() if built[name] != here[name]}
    return [f"{scenario.folder.name}/{name}: {reasons[name]}" for name in sorted(reasons)]


def audit(name: str) -> tuple[dict[str, Any], int]:
    """Audit a scenario on the command line; return the JSON report and the exit code."""
    command = [sys.executable, "-m", "torch_abi_audit", "--json", *expected.arguments_of(name)]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except json.JSONDecodeError:
        raise ScenarioError(f"{name}: the audit made no report: {done.stderr.strip()}") from None
    return report, done.returncode


def accept(name: str) -> str:
    """Audit a scenario and write its expected.json; return the diff."""
    if not expected.wheels_of(name):
        raise ScenarioError(f"{name}: no wheel; build it first")
    path = expected.expected_file(name)
    old = path.read_text(encoding="utf-8") if path.exists() else "{}"
    new = expected.as_text(expected.summarize(*audit(name), like=json.loads(old)))
    if new == old:
        return ""
    path.write_text(new, encoding="utf-8", newline="\n")
    where = f"{name}/{path.name}"
    difference = unified_diff(old.splitlines(), new.splitlines(), where, where, lineterm="")
    return "\n".join([*difference, ""])


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m test_wheels.build", description="Build the wheels of test_wheels/."
    )
    parser.add_argument(
        "scenarios", metavar="SCENARIO", nargs="*", help="scenarios to build (default: all)"
    )
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument(
        "--check",
        action="store_true",
        help="build in a temporary folder and fail if the result differs from the committed wheels",
    )
    modes.add_argument(
        "--accept",
        action="store_true",
        help="audit the committed wheels and write the result to expected.json",
    )
    return parser


def run(options: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    names = options.scenarios or expected.names()
    for name in names:
        if name not in expected.names():
            hint = did_you_mean(name, expected.names())
            raise ScenarioError(f"no scenario {name!r}{hint}")
    if options.accept:
        print("".join(map(accept, names)), end="")
        return 0
    scenarios = [read_scenario(HERE / name) for name in names]
    if find_spec("ziglang") is None:
        raise ScenarioError("ziglang is missing: pip install --group build-test-wheels")
    differences: list[str] = []
    with tempfile.TemporaryDirectory() as work:
        for scenario in scenarios:
            if options.check:
                differences += differing(scenario, Path(work))
            else:
                build(scenario, Path(work))
    if options.check:
        what = f"{len(scenarios)} scenario{'s'[: len(scenarios) != 1]}"
        wheels = f"{len(differences)} wheel{'s'[: len(differences) != 1]}"
        print(*differences, f"{what}: {wheels} not as built", sep="\n")
    return 1 if differences else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 1 if --check found differences, or 2 after an error."""
    options = make_parser().parse_args(arguments)
    try:
        return run(options)
    except ScenarioError as error:
        print(f"error: {error}", file=sys.stderr)
    except subprocess.CalledProcessError as error:
        print(f"error: the compiler failed: {' '.join(map(str, error.cmd))}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())

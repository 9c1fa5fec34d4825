"""Measure whole processes: time, peak memory, and how both grow. Prints Markdown.

    python -m tests.benchmark [--peers VENV] [--repeat N] [WHEEL ...]

For each wheel the best of N runs of `torch-abi-audit --json`, beside

- the peers installed in `--peers` (an environment of their own): `torch-abi-audit` 0.3.0 of
  the index with the `unzip` that it needs before it, `abi3audit --strict` and `auditwheel show`;
- the limit: inflating the compiled members with isal, in one thread and in two.

Then how time and memory grow with the number of symbols, members and wheels, on made-up
wheels. What another program does at the same time shows: run it on an idle machine.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from isal import isal_zlib

from tests.builders import METADATA, a_library
from tests.objects import PE
from torch_abi_audit.formats import sniff

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

OURS = [sys.executable, "-m", "torch_abi_audit", "--json"]


@dataclass(frozen=True, order=True)
class Cost:
    """Seconds, and bytes at the peak of the largest process."""

    seconds: float
    memory: int


def run(*command: str | Path, cwd: Path | None = None) -> Cost:
    """Run a command to its end, whatever its exit code."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        list(map(str, command)), cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    return Cost(time.perf_counter() - begin, usage.ru_maxrss * 1024)


def best(repeat: int, measure: Callable[[], Cost]) -> Cost:
    """Return the shortest of several runs, after one that warms the file cache."""
    measure()
    return min(measure() for _ in range(repeat))


def unzipped(peers: Path, wheel: Path) -> Cost:
    """Measure the peer that audits folders, with the unpacking that it needs."""
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        run("unzip", "-q", wheel, cwd=Path(folder))
        roots = [path for path in Path(folder).iterdir() if path.is_dir() and "." not in path.name]
        costs = [run(peers / "bin" / "torch-abi-audit", f"{path}/") for path in roots]
        seconds = time.perf_counter() - begin
    return Cost(seconds, max((cost.memory for cost in costs), default=0))


def inflate(wheel: Path, threads: int) -> float:
    """Return the seconds that inflating the compiled members alone takes."""
    with zipfile.ZipFile(wheel) as archive:
        members = []
        for info in archive.infolist():
            with archive.open(info) as stream:
                if sniff(stream.read(64)) and info.compress_type == zipfile.ZIP_DEFLATED:
                    members.append(info)

    def one(info: zipfile.ZipInfo) -> None:
        with wheel.open("rb") as file:
            file.seek(info.header_offset + 26)
            lengths = file.read(4)
            file.seek(sum(divmod(int.from_bytes(lengths, "little"), 1 << 16)), io.SEEK_CUR)
            left, decompressor = info.compress_size, isal_zlib.decompressobj(-15)
            while left:
                data = file.read(min(1 << 16, left))
                left -= len(data)
                while data:
                    decompressor.decompress(data, 1 << 18)
                    data = decompressor.unconsumed_tail

    begin = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, sorted(members, key=lambda info: -info.compress_size)))
    return time.perf_counter() - begin


def compare(wheels: Sequence[Path], peers: Path | None, repeat: int) -> None:
    """Print a row for each wheel."""
    print(
        "| wheel | MB | seconds | peak MB | limit, 1 and 2 threads | against the limit of 2 |",
        end="",
    )
    names = ("torch-abi-audit 0.3.0", "abi3audit", "auditwheel") if peers else ()
    print("".join(f" {name} |" for name in names))
    print("|---|---|---|---|---|---|" + "---|" * len(names))
    for wheel in wheels:
        ours = best(repeat, lambda: run(*OURS, wheel))
        one, two = (min(inflate(wheel, threads) for _ in range(repeat)) for threads in (1, 2))
        cells = [
            "-".join(wheel.name.split("-")[:2]),
            f"{wheel.stat().st_size / 1e6:.0f}",
            f"{ours.seconds:.2f}",
            f"{ours.memory / 1e6:.0f}",
            f"{one:.2f}, {two:.2f}",
            f"{ours.seconds / two:.2f}",
        ]
        if peers is not None:
            found = [
                best(1, lambda: unzipped(peers, wheel)),
                best(1, lambda: run(peers / "bin/abi3audit", "--strict", wheel)),
                best(1, lambda: run(peers / "bin/auditwheel", "show", wheel)),
            ]
            cells += [f"{cost.seconds:.2f} ({cost.seconds / ours.seconds:.1f}x)" for cost in found]
        print("| " + " | ".join(cells) + " |", flush=True)


def made_up(folder: Path, name: str, files: dict[str, bytes]) -> Path:
    """Write a wheel of these files."""
    path = folder / f"{name}-1.0-py39-none-manylinux_2_28_x86_64.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in files.items():
            archive.writestr(member, data)
        archive.writestr(f"{name}-1.0.dist-info/METADATA", METADATA.replace("x\n", f"{name}\n"))
        archive.writestr(f"{name}-1.0.dist-info/WHEEL", "Tag: py39-none-manylinux_2_28_x86_64\n")
    return path


def growth(repeat: int) -> None:
    """Print how time and memory grow."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print("\n| of what | how many | seconds | peak MB |\n|---|---|---|---|")
        for count in (1_000, 10_000, 100_000):
            imports: list[str | int] = [f"?f{number}@at@@YAXXZ" for number in range(count)]
            library = PE({"torch_cpu.dll": imports}).build()
            wheel = made_up(folder, f"symbols{count}", {"x/_C.pyd": library})
            _row("symbols", count, best(repeat, lambda: run(*OURS, wheel)))
        for count in (100, 1_000, 10_000):
            files = {f"x/m{number}.py": b"pass\n" for number in range(count)}
            wheel = made_up(folder, f"members{count}", {**files, "x/_C.so": a_library()})
            _row("members", count, best(repeat, lambda: run(*OURS, wheel)))
        wheels = [
            made_up(folder, f"w{number}", {"x/_C.so": a_library()}) for number in range(1_000)
        ]
        for count in (1, 10, 100, 1_000):
            _row("wheels", count, best(repeat, lambda: run(*OURS, *wheels[:count])))


def _row(what: str, count: int, cost: Cost) -> None:
    print(f"| {what} | {count:,} | {cost.seconds:.2f} | {cost.memory / 1e6:.0f} |", flush=True)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("wheels", nargs="*", type=Path)
    parser.add_argument("--peers", type=Path, help="an environment with the peers installed")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    if options.wheels:
        wheels = [wheel.absolute() for wheel in options.wheels]
        compare(wheels, options.peers and options.peers.absolute(), options.repeat)
    growth(options.repeat)


if __name__ == "__main__":
    main()

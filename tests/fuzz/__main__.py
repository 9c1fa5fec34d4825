"""Fuzz what reads, judges and reports. Prints the seed, and how often each target was executed.

    python -m tests.fuzz TARGET [--seconds S | --runs N] [--corpus DIR] [--seed N]
    python -m tests.fuzz --all --seconds S
    python -m tests.fuzz TARGET FILE ...

The first fuzzes a target, the second all of them, S seconds in sum; the third reproduces a
finding, and needs no atheris. What is found is written to the folder for findings, and the exit
code is 1. An input that is worth keeping goes to `tests/fuzz/corpus/TARGET`, which pytest runs.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tests.fuzz.targets import TARGETS, Target, execute, stored

_TIMEOUT = 30  # seconds in which an execution has to return at all
_MEMORY = 2048  # megabytes for the process
_EXECUTIONS = re.compile(r"stat::number_of_executed_units: *([0-9]+)|^#([0-9]+)\b", re.MULTILINE)
_GRACE = 120  # seconds for the imports, the first inputs, and the last execution


class Limit(NamedTuple):
    """When to stop: after so many seconds, or executions."""

    seconds: int = 0
    runs: int = 0


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description="Fuzz what reads, judges and reports."
    )
    parser.add_argument("target", nargs="?", choices=TARGETS)
    parser.add_argument("files", nargs="*", type=Path, help="inputs to run, instead of fuzzing")
    parser.add_argument("--all", action="store_true", help="every target")
    parser.add_argument("--seconds", type=int, default=0, help="in sum; 60 unless told")
    parser.add_argument("--runs", type=int, default=0, help="executions of each target")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers")
    parser.add_argument("--corpus", type=Path, help="a folder for inputs that reach new code")
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"))
    parser.add_argument("--list", action="store_true", help="print the names of the targets")
    parser.add_argument("--write-seeds", type=Path, help="write the inputs to begin with there")
    options = parser.parse_args()
    if options.list:
        print("\n".join(TARGETS))  # noqa: T201
        return 0
    if options.all is (options.target is not None):
        parser.error("name a target, or --all")
    if options.files:
        return _reproduce(TARGETS[options.target], options.files)
    if options.write_seeds:
        write_seeds(options.target, options.write_seeds)
        return 0
    all_of_them = [name for name, target in TARGETS.items() if target.in_all]
    names = all_of_them if options.all else [options.target]
    shares = sum(TARGETS[name].share for name in names)
    seconds = options.seconds or (0 if options.runs else 60)
    seed = options.seed or random.SystemRandom().randrange(1, 1 << 31)
    print(f"seed {seed}", flush=True)  # noqa: T201
    failed = False
    for name in names:
        limit = Limit(-(-seconds * TARGETS[name].share // shares), options.runs)
        corpus = options.corpus and options.corpus / (name if options.all else "")
        failed |= not _fuzz(name, limit, seed, corpus, options.findings)
    return int(failed)


def _reproduce(target: Target, files: list[Path]) -> int:
    for file in files:
        execute(target, file.read_bytes())
        print(f"{file}: nothing found")  # noqa: T201
    return 0


def write_seeds(name: str, folder: Path) -> None:
    """Write the inputs that a target begins with, and those that are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = [path.read_bytes() for path in stored(name)]
    for number, data in enumerate([*TARGETS[name].seeds(), *kept]):
        (folder / f"seed-{number:03}").write_bytes(data)


def _fuzz(name: str, limit: Limit, seed: int, corpus: Path | None, findings: Path) -> bool:
    """Fuzz one target; return whether nothing was found."""
    target = TARGETS[name]
    findings.mkdir(parents=True, exist_ok=True)
    # In memory where the system has that; libFuzzer ends without cleaning up.
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
    with tempfile.TemporaryDirectory(dir=memory) as temporary:
        seeds, kept = Path(temporary) / "seeds", corpus or Path(temporary) / "corpus"
        write_seeds(name, seeds)
        kept.mkdir(parents=True, exist_ok=True)
        command = [
            *(sys.executable, "-m", "tests.fuzz.engine", name, str(kept), str(seeds)),
            *(
                f"-seed={seed}",
                f"-max_len={target.longest}",
                f"-artifact_prefix={findings}/{name}-",
            ),
            *(f"-timeout={_TIMEOUT}", f"-rss_limit_mb={_MEMORY}", "-print_final_stats=1"),
            *("-len_control=0", "-detect_leaks=0", "-use_value_profile=0"),
            *([f"-max_total_time={limit.seconds}"] if limit.seconds else []),
            *([f"-runs={limit.runs}"] if limit.runs else []),
        ]
        begin = time.monotonic()
        wait = limit.seconds + _GRACE if limit.seconds else None
        done = subprocess.run(
            command,
            env={**os.environ, "TMPDIR": temporary},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=wait,
            check=False,
        )
    said = done.stdout.decode("utf-8", "replace")
    counts = [int(one or other) for one, other in _EXECUTIONS.findall(said)]
    took = time.monotonic() - begin
    word = "nothing found" if not done.returncode else f"failed with {done.returncode}"
    print(f"{name}: {max(counts, default=0):,} executions, {took:.0f} s: {word}", flush=True)  # noqa: T201
    if done.returncode:
        print(said[-6000:], flush=True)  # noqa: T201
    return not done.returncode


if __name__ == "__main__":
    sys.exit(main())

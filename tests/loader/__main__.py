"""Compare the matrix with real dynamic loaders, cell by cell. Linux on x86_64, as root.

    python -m tests.loader linux --wheels 60 --torch 2.9.1 --torch 2.15.0
    python -m tests.loader aarch64 --seed 7
    python -m tests.loader windows WHEEL ...

Loads each library that needs torch beside several releases of torch: with this machine's
loader, with that of Debian's packages for arm64 under qemu-user, or with Wine's. The wheels
are the named ones, and then some drawn at random from `tests/real/ecosystem.txt`. Everything
is kept in the folder that `TORCH_ABI_AUDIT_LOADER` names, or in `.cache/loader`, and what a
loader has decided is not decided again. Prints each cell that the matrix has wrong, and
totals; exits with 1 when there is one.

Torch comes from pip. Where its CUDA libraries are not beside it, stubs stand for all that the
packages have which torch requires, and in any case for the driver's. Libraries of other
packages (FFmpeg, TensorRT) are left out at first; where the loader asks for one, a stub stands
for it too.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from tests.environments import CACHE
from tests.loader.campaign import Campaign
from tests.loader.linux import Linux, LinuxArm
from tests.loader.machines import Machine
from tests.loader.windows import Windows

MACHINES: dict[str, Callable[[Path], Machine]] = {
    "linux": Linux,
    "aarch64": LinuxArm,
    "windows": Windows,
}
RELEASES = ("2.6.0", "2.8.0", "2.9.1", "2.10.0", "2.12.1", "2.15.0")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.loader", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("machine", choices=MACHINES)
    parser.add_argument("named", nargs="*", type=Path, metavar="WHEEL")
    parser.add_argument("--wheels", type=int, default=60, metavar="N", help="how many in all")
    parser.add_argument("--torch", action="append", metavar="RELEASE", help="six unless given")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="draws other wheels")
    parser.add_argument("--results", type=Path, metavar="FILE", help="the table, as JSON lines")
    options = parser.parse_args()
    machine = MACHINES[options.machine](CACHE.resolve())
    results = options.results or CACHE / f"results-{machine.platform}.jsonl"
    campaign = Campaign(machine, CACHE.resolve(), results)
    wheels = campaign.choose(options.named, options.wheels, options.seed)
    campaign.run(wheels, options.torch or list(RELEASES))
    print(campaign.summary())
    return 1 if campaign.wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""Build extensions as their authors do, and compare the audit with what becomes of them. Linux.

    python -m tests.builds --torch 2.13.0+cpu --torch 2.10.0 --table builds.md

Each case is built with each release of torch, audited, installed beside each of the releases,
loaded and called; then the fixes that its report names are applied to the project, and all that
is done again. Prints what disagrees, and exits with 1 where something does.

The environments and the wheels are kept in the folder that `TORCH_ABI_AUDIT_LOADER` names, or in
`.cache/loader`: a run that is started again goes on. Pip must find the releases; `2.13.0+cpu` is
on PyTorch's own index for CPUs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.builds.cases import cases
from tests.builds.following import Row, follow, table

DEFAULT = "2.13.0+cpu"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--torch", action="append", metavar="RELEASE")
    parser.add_argument("--built-with", action="append", metavar="RELEASE")
    parser.add_argument("--case", action="append", default=[], metavar="NAME")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write it as Markdown")
    options = parser.parse_args()
    releases = options.torch or [DEFAULT]
    rows: list[Row] = []
    for release in options.built_with or releases:
        for case in cases(release):
            if case.name in options.case or not options.case:
                for row in follow(case, release, releases):
                    rows.append(row)
                    print(row, flush=True)
                    if options.table:
                        options.table.write_text(table(rows), encoding="utf-8")
    wrong = sum(len(row.wrong) for row in rows)
    cells = sum(len(row.outcomes) for row in rows)
    print(f"{len(rows)} wheels, {cells} cells, {wrong} disagree")
    return 1 if wrong or not rows else 0


if __name__ == "__main__":
    sys.exit(main())

"""What a new catalog changes for published packages: for the pull request of the weekly run.

    torch-abi-audit survey tests/real/ecosystem.txt --platform linux_x86_64 -o json=OLD --quiet
    ... the new catalog ...
    torch-abi-audit survey tests/real/ecosystem.txt --platform linux_x86_64 -o json=NEW --quiet
    python -m tests.weekly OLD NEW

The second survey reads nothing again: it judges what the first one has kept.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from torch_abi_audit.report.escape import markdown_cell
from torch_abi_audit.wording import count

# What is compared, and what its column is called.
_TOLD = {"abi": "torch ABI", "loads": "loads on torch", "errors": "errors"}


def changes(old: Any, new: Any) -> str:
    """Return a table in Markdown: the packages of which another thing is said.

    Args:
        old: What `survey` says with the old catalog, as JSON.
        new: The same with the new one.
    """
    before = {package["project"]: package for package in old["packages"]}
    rows = []
    for package in new["packages"]:
        was = before.get(package["project"])
        for key, title in _TOLD.items():
            if was is not None and was[key] != package[key]:
                cells = (package["project"], package["version"], title, was[key], package[key])
                rows.append(f"| {' | '.join(map(_cell, cells))} |")
    known = {"old": old["catalog"]["torch_releases"], "new": new["catalog"]["torch_releases"]}
    added = [release for release in known["new"] if release not in known["old"]]
    said = f"Torch {', '.join(added)} added. " if added else ""
    number = count(len(new["packages"]), "package")
    if not rows:
        return f"{said}Nothing changes for the newest releases of {number}.\n"
    head = ["| package | release | | before | after |", "|---|---|---|---|---|"]
    return "\n".join([f"{said}What changes for {number}:", "", *head, *rows, ""])


def _cell(value: object) -> str:
    if isinstance(value, list):
        return "<br>".join(map(markdown_cell, value)) or "-"
    return markdown_cell(str(value or "-"))


def main(arguments: list[str]) -> None:
    """Print the table of two files."""
    old, new = (json.loads(Path(path).read_text(encoding="utf-8")) for path in arguments)
    print(changes(old, new), end="")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])

"""Load the libraries of the package `scaled`, then import it and call its operators.

Reads from standard input, as JSON, the paths of the libraries and expressions of functions, such
as `torch.ops.scaled.scale`; prints a line with what the loader says of each library, and a line
with what the functions return. Runs in an environment with torch and the wheel.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

_PATIENCE = 60.0  # seconds
sys.path.append(str(Path(__file__).parents[2]))


def main() -> None:
    import torch  # type: ignore[import-not-found]  # noqa: PLC0415

    from tests.loader.probe import load_apart  # noqa: PLC0415

    libraries, calls = json.load(sys.stdin)
    alone = ({"path": path, "siblings": [], "stubs": {}} for path in libraries)
    errors = [load_apart(library, _PATIENCE)["error"] for library in alone]
    print("loaded", json.dumps(errors), flush=True)
    import scaled  # type: ignore[import-not-found]  # noqa: PLC0415

    names = {"scaled": scaled, "torch": torch}
    given = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    returned = {call: eval(call, names)(given, 3.0).tolist() for call in calls}  # noqa: S307
    print("returned", json.dumps(returned), flush=True)
    # What happens when the interpreter ends is not asked.
    os._exit(0)


if __name__ == "__main__":
    main()

"""Import the package `scaled` and call its operators; prints what they return, as JSON.

Takes expressions of functions, such as `torch.ops.scaled.scale`. Runs in an environment with
torch and the wheel: it imports them and nothing of this project.
"""

from __future__ import annotations

import json
import os
import sys


def main() -> None:
    import scaled  # type: ignore[import-not-found]  # noqa: PLC0415
    import torch  # type: ignore[import-not-found]  # noqa: PLC0415

    names = {"scaled": scaled, "torch": torch}
    given = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    returned = {call: eval(call, names)(given, 3.0).tolist() for call in sys.argv[1:]}  # noqa: S307
    print("returned", json.dumps(returned), flush=True)
    # What happens when the interpreter ends is not asked.
    os._exit(0)


if __name__ == "__main__":
    main()

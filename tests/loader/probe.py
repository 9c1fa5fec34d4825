"""Load libraries with the real dynamic loader, beside the torch of this interpreter.

Reads a file of JSON: `libraries`, each with its path, the siblings that it needs, and stubs
by name for libraries of other packages; and `preload`, libraries to load first. Writes a line
for each library to another file: what the loader says, nothing when it loads. Each is loaded
in a process of its own, since a static initialiser may abort. Runs in torch's environment: it
imports torch and nothing of this project.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

MISSING = re.compile(r"(?:^|: )([^\s:]+): cannot open shared object file")


def load(library: dict[str, Any], tell: Callable[[dict[str, Any]], None]) -> None:
    """Load a library; where the loader does not find one of its siblings, load those first.

    Tells which stubs were needed before each load, which may be the last thing it does.
    """
    path, stubs = library["path"], library["stubs"]
    supplied: list[str] = []

    def load_with_stubs(wanted: str) -> str:
        """Load a library, and first the stubs for what the loader does not find."""
        while True:
            tell({"error": "died", "supplied": supplied})
            error = try_to_load(wanted)
            missing = MISSING.search(error)
            name = missing[1].rpartition("/")[2] if missing else ""
            if name not in stubs or name in supplied:
                return error
            supplied.append(name)
            problem = try_to_load(stubs[name])
            if problem:
                return f"stub {name}: {problem}"

    error = load_with_stubs(path)
    if library["siblings"] and MISSING.search(error):
        for sibling in library["siblings"]:
            error = load_with_stubs(sibling)
            if error:
                error = f"{sibling}: {error}"
                break
        else:
            error = load_with_stubs(path)
    tell({"error": error, "supplied": supplied})


def try_to_load(path: str) -> str:
    try:
        ctypes.CDLL(path)
    except OSError as error:
        return str(error)
    return ""


def load_apart(library: dict[str, Any], patience: float) -> dict[str, Any]:
    """Load a library in a process of its own; say how that ended."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)

        def tell(said: dict[str, Any]) -> None:
            os.write(writing, (json.dumps(said) + "\n").encode())

        load(library, tell)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        said = read_all(stream, patience)
    if said is None:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if said is None:
        return {"error": "not decided: it takes too long", "supplied": []}
    result: dict[str, Any] = json.loads(said.splitlines()[-1])
    code = os.waitstatus_to_exitcode(status)
    return result if code == 0 else {**result, "error": f"died with status {code}"}


def read_all(stream: BinaryIO, patience: float) -> bytes | None:
    """Read a pipe to its end; None if that takes longer than some seconds."""
    end = time.monotonic() + patience
    data = b""
    while select.select([stream], [], [], max(0, end - time.monotonic()))[0]:
        more = os.read(stream.fileno(), 65536)
        if not more:
            return data
        data += more
    return None


def main() -> None:
    with Path(sys.argv[1]).open(encoding="utf-8") as stream:
        wanted = json.load(stream)
    for path in wanted["preload"]:
        ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
    import torch  # type: ignore[import-not-found]  # noqa: F401, PLC0415

    with Path(sys.argv[2]).open("w", encoding="utf-8") as stream:
        for library in wanted["libraries"]:
            begun = time.monotonic()
            result = load_apart(library, wanted["patience"])
            seconds = round(time.monotonic() - begun, 2)
            stream.write(json.dumps({**result, "path": library["path"], "seconds": seconds}) + "\n")
            stream.flush()


if __name__ == "__main__":
    main()

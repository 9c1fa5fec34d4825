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
from pathlib import Path
from typing import Any

MISSING = re.compile(r"(?:^|: )([^\s:]+): cannot open shared object file")


def load(library: dict[str, Any]) -> dict[str, Any]:
    """Load a library; where the loader does not find one of its siblings, load those first."""
    path, stubs = library["path"], library["stubs"]
    supplied: list[str] = []
    error = load_with_stubs(path, stubs, supplied)
    if library["siblings"] and MISSING.search(error):
        for sibling in library["siblings"]:
            error = load_with_stubs(sibling, stubs, supplied)
            if error:
                return {"error": f"{sibling}: {error}", "supplied": supplied}
        error = load_with_stubs(path, stubs, supplied)
    return {"error": error, "supplied": supplied}


def load_with_stubs(path: str, stubs: dict[str, str], supplied: list[str]) -> str:
    """Load a library, and first the stubs for what the loader does not find."""
    while True:
        error = try_to_load(path)
        missing = MISSING.search(error)
        name = missing[1].rpartition("/")[2] if missing else ""
        if name not in stubs or name in supplied:
            return error
        supplied.append(name)
        problem = try_to_load(stubs[name])
        if problem:
            return f"stub {name}: {problem}"


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
        os.write(writing, json.dumps(load(library)).encode()[:60000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        if not select.select([stream], [], [], patience)[0]:
            os.kill(child, signal.SIGKILL)
        answer = stream.read()
    _, status = os.waitpid(child, 0)
    if answer:
        result: dict[str, Any] = json.loads(answer)
        return result
    number = os.waitstatus_to_exitcode(status)
    slow = number == -signal.SIGKILL
    return {"error": "timed out" if slow else f"died with status {number}", "supplied": []}


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

"""Load libraries with the real dynamic loader, beside the torch of this interpreter.

Reads from standard input a list of [path, [siblings that it needs]], and prints for
each path "" when it loads, or what the loader says. Each is loaded in a process of its
own, since a static initialiser may abort. Runs in torch's environment: it imports torch
and nothing of this project.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys


def load(path: str, before: list[str]) -> str:
    """Load a library; where it does not find one of its siblings, load those first."""
    error = try_to_load(path)
    if before and "cannot open shared object file" in error:
        for needed in before:
            sibling = try_to_load(needed)
            if sibling:
                return f"{needed}: {sibling}"
        error = try_to_load(path)
    return error


def try_to_load(path: str) -> str:
    try:
        ctypes.CDLL(path)
    except OSError as error:
        return str(error)
    return ""


def load_apart(path: str, before: list[str]) -> str:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        os.write(writing, json.dumps(load(path, before))[:60000].encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        answer = stream.read()
    _, status = os.waitpid(child, 0)
    if not answer:
        return f"died with status {status}"
    result: str = json.loads(answer)
    return result


def main() -> None:
    import torch  # type: ignore[import-not-found]  # noqa: F401, PLC0415

    results = {path: load_apart(path, before) for path, before in json.load(sys.stdin)}
    print(json.dumps(results))


if __name__ == "__main__":
    main()

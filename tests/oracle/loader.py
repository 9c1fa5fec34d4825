"""Opens libraries with the C library's own loader, each in a process of its own.

A server forks for each request, opens the libraries in turn as ``dlopen`` does for Python,
and says whether the loader took them all. Run as a program it is that server; it needs
nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Self

SECONDS = 2  # a table of hashes can send the loader in circles


def is_glibc() -> bool:
    """Whether this machine has the loader that the tests ask."""
    linux = sys.platform == "linux" and platform.machine() == "x86_64"
    return linux and sys.maxsize > 1 << 32 and platform.libc_ver()[0] == "glibc"


class Loader:
    """The server."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-E", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.wait()

    def opens(self, paths: Sequence[Path]) -> bool:
        """Whether the loader takes the libraries, one after the other."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\t".join(map(str, paths)) + "\n")
        process.stdin.flush()
        return process.stdout.readline() == "0\n"


def open_all(paths: list[str]) -> None:
    """Open the libraries, and end the process with 0 if that went well."""
    code = 1
    with contextlib.suppress(BaseException):
        signal.alarm(SECONDS)
        import resource  # noqa: PLC0415 -- not on Windows

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for path in paths:
            ctypes.CDLL(path, os.RTLD_NOW)
        code = 0
    os._exit(code)


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if not child:
            open_all(line.rstrip("\n").split("\t"))
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{status}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

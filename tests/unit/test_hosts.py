"""The tool on hosts that these tests do not run on."""

from __future__ import annotations

import subprocess
import sys

from tests.builders import TEST_WHEELS

# What Windows does not have, and all that is imported there.
_ON_WINDOWS = """
import os, pkgutil, signal, sys

for name in ("fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty"):
    sys.modules[name] = None
for name in ("SIGHUP", "SIGALRM", "SIGKILL", "SIGPIPE", "SIGUSR1"):
    delattr(signal, name)
for name in ("chown", "fork", "geteuid", "getuid", "mkfifo", "sched_getaffinity", "sysconf"):
    delattr(os, name)

import torch_abi_audit

for module in pkgutil.walk_packages(torch_abi_audit.__path__, "torch_abi_audit."):
    if not module.name.startswith(("torch_abi_audit.catalog.build", "torch_abi_audit.__main__")):
        __import__(module.name)
from torch_abi_audit.cli import main

sys.exit(main(sys.argv[1:]))
"""


def test_nothing_of_posix_is_needed() -> None:
    good = next((TEST_WHEELS / "stable-2.11").glob("*.whl"))
    result = subprocess.run(
        [sys.executable, "-c", _ON_WINDOWS, "--no-config", "--format=concise", good],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")

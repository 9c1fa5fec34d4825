"""Linux's loader: that of this machine, or glibc for aarch64 under qemu-user."""

from __future__ import annotations

import json
import os
import platform as system
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.loader.machines import Request
from tests.loader.sites import pure_packages
from tests.loader.stubs import Stub, build_elf
from tests.loader.verdicts import Outcome

PROBE = Path(__file__).with_name("probe.py")
# Where CUDA is installed; a user's machine need not have it.
_CUDA_PLACES = ("usr/local/cuda*", "opt/cuda*")
ARM_PACKAGES = ("base-files", "python3.11", "libstdc++6", "libgomp1", "libatomic1")
# What every Linux has, by manylinux's rules.
_SYSTEM = re.compile(
    r"(?:lib(?:c|m|dl|rt|pthread|util|resolv|gcc_s|stdc\+\+|atomic|gomp)|ld-linux[-a-z0-9_]*)\.so\b.*"
)
_VERSIONS = (
    "import re; from ctypes import CDLL, c_char_p;"
    "libc = CDLL(None).gnu_get_libc_version; libc.restype = c_char_p; print(libc().decode());"
    "CDLL('libstdc++.so.6');"
    "path = next(line.split()[-1] for line in open('/proc/self/maps') if 'libstdc++' in line);"
    "found = re.findall(rb'GLIBCXX_3[.]4[.](\\d+)', open(path, 'rb').read());"
    "print('3.4.%d' % max(map(int, found)))"
)


class Linux:
    """This machine, in a mount namespace without the host's CUDA.

    Args:
        cache: Where everything is kept.
    """

    platform = "linux_x86_64"
    python = f"{sys.version_info[0]}{sys.version_info[1]}"

    def __init__(self, cache: Path) -> None:
        if system.machine() != "x86_64" or os.geteuid() != 0:
            raise SystemExit("needs Linux on x86_64, as root: it mounts over the host's CUDA")
        self._cache = cache
        self._compiler = str(sysconfig.get_config_var("CC") or "cc").split()[0]
        self._command = [sys.executable]
        self._patience = 300.0
        self._root = Path("/")

    def host(self) -> Mapping[str, str]:
        """See `Machine`."""
        glibc, libstdcxx = self._run("-c", _VERSIONS).split()
        return {"glibc": glibc, "libstdc++": libstdcxx, "system": _release(self._root)}

    def has(self, name: str) -> bool:
        """See `Machine`."""
        return _SYSTEM.fullmatch(name) is not None

    def build(self, stub: Stub, folder: Path) -> Path:
        """See `Machine`."""
        return build_elf(stub, folder, self._compiler)

    def load(
        self, torch: Path, requests: Sequence[Request], preload: Sequence[Path]
    ) -> list[tuple[Outcome, float]]:
        """See `Machine`."""
        wanted = {
            "patience": self._patience,
            "preload": list(map(str, preload)),
            "libraries": [
                {
                    "path": str(item.path),
                    "siblings": list(map(str, item.siblings)),
                    "stubs": {name: str(path) for name, path in item.stubs.items()},
                }
                for item in requests
            ],
        }
        with tempfile.TemporaryDirectory(dir=self._cache) as name:
            asked, answered = Path(name, "asked.json"), Path(name, "answered.jsonl")
            asked.write_text(json.dumps(wanted), encoding="utf-8")
            probe = shutil.copy(PROBE, name)
            packages = f"{torch}:{pure_packages(self._cache)}"
            self._run(str(probe), str(asked), str(answered), PYTHONPATH=packages)
            rows = [json.loads(line) for line in answered.read_text("utf-8").splitlines()]
        return [(Outcome(row["error"], tuple(row["supplied"])), row["seconds"]) for row in rows]

    def _run(self, *arguments: str, **variables: str) -> str:
        """Run Python on this machine, and return what it prints."""
        settings = (f"{name}={value}" for name, value in variables.items())
        command = ["env", "-u", "LD_LIBRARY_PATH", *settings, *self._command, "-S", "-B"]
        script = " && ".join([*self._mounts(), f"exec {shlex.join([*command, *arguments])}"])
        result = subprocess.run(
            ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False
        )
        if result.returncode:
            raise SystemExit(f"{shlex.join(arguments)} failed:\n{result.stderr[-2000:]}")
        return result.stdout

    def _mounts(self) -> list[str]:
        """Return the commands that hide what a user's machine does not have."""
        folders = {path.resolve() for place in _CUDA_PLACES for path in Path("/").glob(place)}
        return [f"mount -t tmpfs none {shlex.quote(str(path))}" for path in sorted(folders)]


class LinuxArm(Linux):
    """A root of Debian's packages for arm64, run by qemu-user in a mount namespace.

    Args:
        cache: Where everything is kept.
    """

    platform = "linux_aarch64"
    python = "311"

    def __init__(self, cache: Path) -> None:
        super().__init__(cache)
        self._compiler = "aarch64-linux-gnu-gcc"
        # An instruction set that torch knows, for which it looks in `/sys`.
        self._command = [
            "chroot",
            str(cache / "root-arm64"),
            "/qemu",
            "-cpu",
            "neoverse-n1",
            "/usr/bin/python3.11",
        ]
        self._patience = 1800.0
        self._root = cache / "root-arm64"
        if not self._root.exists():
            make_root(self._root)

    def host(self) -> Mapping[str, str]:
        """See `Machine`."""
        command = ["qemu-aarch64-static", "--version"]
        version = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return {**super().host(), "emulator": version.splitlines()[0]}

    def _mounts(self) -> list[str]:
        root = shlex.quote(str(self._root))
        cache = shlex.quote(str(self._cache))
        return [
            f"mkdir -p {root}{cache}",
            f"mount --bind {cache} {root}{cache}",
            f"mount -t proc proc {root}/proc",
            f"mount --bind /dev {root}/dev",
        ]


def make_root(root: Path) -> None:
    """Unpack Debian's packages for arm64 into a folder, with qemu and a `/sys` of its own.

    They come from where apt of this machine takes its own, by folders that are apart from it.
    """
    part = root.with_name(f"{root.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    state = part / "apt"
    for folder in ("lists/partial", "cache/archives/partial"):
        (state / folder).mkdir(parents=True)
    (state / "status").touch()
    options = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Sandbox::User": "root",
        "Dir::State::Lists": str(state / "lists"),
        "Dir::State::status": str(state / "status"),
        "Dir::Cache": str(state / "cache"),
    }
    apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in options.items())]
    subprocess.run([*apt, "update"], check=True)
    command = [*apt, "install", "-y", "--no-install-recommends", "--download-only"]
    subprocess.run([*command, *ARM_PACKAGES], check=True, stdout=subprocess.DEVNULL)
    for package in sorted((state / "cache" / "archives").glob("*.deb")):
        subprocess.run(["dpkg", "-x", str(package), str(part)], check=True)
    shutil.rmtree(state)
    for folder in ("proc", "dev", "sys", "tmp"):
        (part / folder).mkdir(exist_ok=True)
    shutil.copy("/usr/bin/qemu-aarch64-static", part / "qemu")
    # Without it oneDNN and cpuinfo crash, which torch has.
    cpus = part / "sys/devices/system/cpu"
    for number in (0, 1):
        register = cpus / f"cpu{number}/regs/identification/midr_el1"
        register.parent.mkdir(parents=True)
        register.write_text("0x00000000413fd0c1\n")
    for name in ("possible", "present", "online"):
        (cpus / name).write_text("0-1\n")
    part.rename(root)


def _release(root: Path) -> str:
    text = (root / "etc/os-release").read_text("utf-8")
    match = re.search(r'^PRETTY_NAME="(.*)"$', text, re.MULTILINE)
    return match[1] if match else ""

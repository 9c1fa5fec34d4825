"""Wine's loader, with Microsoft's runtime and CPython's libraries."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.loader.draw import pip, pip_options
from tests.loader.machines import Request
from tests.loader.stubs import Stub, build_pe
from tests.loader.verdicts import DIED, NOT_DECIDED, Outcome, wine_error

SOURCE = Path(__file__).with_name("probe.c")
COMPILER = "x86_64-w64-mingw32-gcc"
WINE_FOLDER = "/usr/lib/wine"
RUNTIME = "msvc-runtime"
# The one wheel on the index that carries CPython's own library.
PYTHON = ("torchvision==0.28.0", ("311", "312"))
_PATIENCE = 120  # seconds
BUILTIN = Path("/usr/lib/x86_64-linux-gnu/wine/x86_64-windows")


class Windows:
    """Wine, whose log says what a library misses: Wine itself loads it all the same.

    Args:
        cache: Where everything is kept.
    """

    platform = "windows_x86_64"
    python = "311"

    def __init__(self, cache: Path) -> None:
        self._folder = cache / "wine"
        # The program's own folder is searched too: Microsoft's runtime lies beside it.
        beside = self._folder / "bin"
        digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]
        self._probe = beside / f"probe-{digest}.exe"
        self._pythons = self._folder / "python"
        if not beside.exists():
            self._make_runtime(beside)
        if not self._probe.exists():
            command = [COMPILER, "-municode", "-O1", "-o", str(self._probe), str(SOURCE)]
            subprocess.run(command, check=True)
        self._runtime = sorted(path.stem for path in beside.glob("*.dll"))
        if not self._pythons.exists():
            self._make_pythons()
        prefix = self._folder / "prefix"
        self._variables = {
            **os.environ,
            "WINEPREFIX": str(prefix),
            "WINEDEBUG": "warn+module",
            # Microsoft's own before Wine's, and none of Wine's browser and .NET.
            "WINEDLLOVERRIDES": f"mscoree,mshtml=;{','.join(self._runtime)}=n,b",
        }
        if not prefix.exists():
            self._wine("wineboot", "-i")

    def _make_runtime(self, folder: Path) -> None:
        part = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        self._extract(RUNTIME, part, "311", lambda name: name.endswith(".dll"))
        part.rename(folder)

    def _make_pythons(self) -> None:
        part = self._folder / "python.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        requirement, versions = PYTHON
        for version in versions:
            wanted = (f"python{version}.dll", "zlib.dll")
            self._extract(requirement, part, version, lambda name: name.endswith(wanted))  # noqa: B023 -- called at once
        part.rename(self._pythons)

    def _extract(
        self, requirement: str, folder: Path, python: str, wanted: Callable[[str], bool]
    ) -> None:
        with tempfile.TemporaryDirectory() as name:
            options = ["--quiet", "--no-deps", "--dest", name]
            result = pip("download", *options, *pip_options(self.platform, python), requirement)
            if result.returncode:
                raise SystemExit(f"{requirement}: {result.stderr.strip()}")
            with zipfile.ZipFile(next(Path(name).glob("*.whl"))) as wheel:
                for member in filter(wanted, wheel.namelist()):
                    (folder / Path(member).name).write_bytes(wheel.read(member))

    def _wine(self, *arguments: str) -> tuple[str, str]:
        """Run a program; return what it prints and Wine's log.

        Both go to files: Wine's services outlive the program, and would keep pipes open.
        """
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as log:
            subprocess.run(
                [f"{WINE_FOLDER}/wine64", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
                env=self._variables,
                timeout=_PATIENCE,
                check=False,
            )
            output.seek(0)
            log.seek(0)
            return output.read().decode(errors="replace"), log.read().decode(errors="replace")

    def host(self) -> Mapping[str, str]:
        """See `Machine`."""
        version = self._wine("--version")[0].strip()
        return {"emulator": version, "runtime": RUNTIME}

    def has(self, name: str) -> bool:
        """See `Machine`."""
        folders = (BUILTIN, self._probe.parent, self._pythons)
        return name.startswith("api-ms-") or any((folder / name).exists() for folder in folders)

    def build(self, stub: Stub, folder: Path) -> Path:
        """See `Machine`."""
        return build_pe(stub, folder, COMPILER)

    def load(
        self, torch: Path, requests: Sequence[Request], preload: Sequence[Path]
    ) -> list[tuple[Outcome, float]]:
        """See `Machine`; what is to be loaded first is found instead."""
        folders = [torch / "torch" / "lib", *{path.parent for path in preload}, self._pythons]
        # The server stays for some seconds without clients, so that starts are quick.
        subprocess.run([f"{WINE_FOLDER}/wineserver64", "-p60"], env=self._variables, check=False)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(lambda request: self._load(request, folders), requests))

    def _load(self, request: Request, folders: list[Path]) -> tuple[Outcome, float]:
        begun = time.monotonic()
        siblings = {path.name.lower(): path.parent for path in request.siblings}
        stubs = {name.lower(): path.parent for name, path in request.stubs.items()}
        decisive = {
            path.name.lower() for folder in folders for path in folder.glob("*.[dp][ly][ld]")
        }
        supplied: list[str] = []
        added: list[Path] = []
        error = ""
        while True:
            known = frozenset({*decisive, *siblings, *supplied, request.path.name.lower()})
            error = self._try(request.path, [*folders, *added], known)
            missing = Outcome(error).missing_libraries
            new = [name for name in missing if name in stubs and name not in supplied]
            supplied += new
            wanted = [siblings[name] for name in missing if name in siblings]
            more = {*wanted, *(stubs[name] for name in new)} - set(added)
            if not more:
                break
            added += sorted(more)
        return Outcome(error, tuple(supplied)), round(time.monotonic() - begun, 2)

    def _try(self, library: Path, folders: list[Path], decisive: frozenset[str]) -> str:
        arguments = [f"Z:{path}" for path in (self._probe, library, *folders)]
        try:
            output, log = self._wine(*arguments)
        except subprocess.TimeoutExpired:
            return f"{NOT_DECIDED}: it takes too long"
        started, *said = output.splitlines() or [""]
        missing = wine_error(log, decisive)
        if started != "started":
            return f"{NOT_DECIDED}: Wine does not run the program"
        if missing or said == ["loaded"]:
            return missing
        return f"{DIED}: {' '.join(said) or 'without a word'}"

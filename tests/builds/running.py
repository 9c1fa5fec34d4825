"""Wheels installed into fresh environments, their libraries loaded, and their operators called."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import tempfile
import zipfile
from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.builds.projects import digest
from tests.environments import CACHE, environment, site_packages

if TYPE_CHECKING:
    from collections.abc import Iterator

_HERE = Path(__file__).parent
_CALLS = _HERE / "calls.py"
_REFUSED = re.compile(r"undefined symbol: \S+|\S+: cannot open shared object file|version `\S+'")
_MET = re.compile(r"No matching distribution found for (\S+)")


@dataclass(frozen=True)
class Outcome:
    """What became of a wheel beside a release of torch.

    Attributes:
        refused: The requirement that pip finds not met; None where it installs the wheel.
        errors: What the loader says of each library; empty where it loads.
        returned: What the calls returned; None where the import or a call failed.
        failure: How they failed, in a line.
    """

    refused: str | None
    errors: dict[str, str]
    returned: dict[str, object] | None
    failure: str


@contextmanager
def _fresh(release: str) -> Iterator[Path]:
    """Make an environment that sees a release of torch, and yield its Python."""
    with tempfile.TemporaryDirectory() as folder:
        command = [str(environment(release)), "-m", "venv", "--without-pip", folder]
        subprocess.run(command, check=True)
        python = Path(folder, "bin", "python")
        file = _packages(python) / "torch.pth"
        file.write_text(f"{site_packages(release)}\n", encoding="utf-8")
        yield python


def _packages(python: Path) -> Path:
    (packages,) = python.parents[1].glob("lib/python*/site-packages")
    return packages


def run(wheel: Path, release: str, libraries: Iterable[str], calls: Iterable[str]) -> Outcome:
    """Install a wheel beside a release of torch, load each of its libraries and call functions.

    What pip says is kept beside the wheel. What happens then is kept for all wheels with the same
    files, since fixes of the metadata change no others.

    Args:
        wheel: It is installed as pip does by default, without an index: its requirements have
            to be met by what is there. Where they are not, it is installed without them.
        release: As `environment` takes it.
        libraries: The paths of the libraries in the wheel.
        calls: Expressions of functions, each called with the tensor [[1, 2], [3, 4]] and 3.
    """
    paths, functions = list(libraries), list(calls)
    kept = wheel.parent / f"{release}.json"
    given = [release, _contents(wheel), paths, functions, _CALLS.read_text("utf-8")]
    known = CACHE / "outcomes" / f"{digest(given)}.json"
    if not kept.exists() or not known.exists():
        with _fresh(release) as python:
            refused = _install(wheel, release, python)
            kept.write_text(json.dumps(refused), encoding="utf-8")
            if not known.exists():
                known.parent.mkdir(exist_ok=True)
                known.write_text(json.dumps(_call(python, paths, functions)), encoding="utf-8")
    return Outcome(json.loads(kept.read_text("utf-8")), *json.loads(known.read_text("utf-8")))


def _contents(wheel: Path) -> list[str]:
    """Return the names and the hashes of the files that are not metadata."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
        return [f"{name} {hashlib.sha256(archive.read(name)).hexdigest()}" for name in names]


def _install(wheel: Path, release: str, python: Path) -> str | None:
    """Install a wheel, and return the requirement that is not met, or None."""
    pip = [str(environment(release)), "-m", "pip", "--python", str(python), "install"]
    pip += ["--quiet", "--disable-pip-version-check", "--no-index"]
    result = _run(*pip, str(wheel))
    refused = None
    if result.returncode != 0:
        match = _MET.search(result.stderr)
        refused = match[1] if match else result.stderr.strip().rpartition("\n")[2]
        _run(*pip, "--no-deps", str(wheel)).check_returncode()
    if (_packages(python) / "torch").exists():
        raise AssertionError(f"pip has installed another torch beside {wheel.name}")
    return refused


def _call(
    python: Path, libraries: list[str], calls: list[str]
) -> tuple[dict[str, str], dict[str, object] | None, str]:
    """Return what the loader says of each library, what was returned, and how it failed."""
    paths = [str(_packages(python) / path) for path in libraries]
    result = _run(str(python), str(_CALLS), given=json.dumps([paths, calls]))
    lines = dict(line.split(" ", 1) for line in result.stdout.splitlines() if " " in line)
    errors = dict(zip(libraries, json.loads(lines["loaded"]), strict=True))
    if "returned" in lines:
        return errors, json.loads(lines["returned"]), ""
    if result.returncode < 0:
        return errors, None, f"signal {-result.returncode}"
    said = [line for line in result.stderr.splitlines() if line.strip()]
    error = next((line for line in said if re.match(r"\w*Error: ", line)), "".join(said[-1:]))
    found = _REFUSED.search(error)
    return errors, None, found[0] if found else error


def _run(*command: str, given: str = "") -> subprocess.CompletedProcess[str]:
    # Where pip is configured to find more, it would install a torch that meets the requirement.
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "PYTHON"))}
    return subprocess.run(
        command,
        input=given,
        capture_output=True,
        text=True,
        check=False,
        cwd=tempfile.gettempdir(),
        env={**variables, "PIP_CONFIG_FILE": os.devnull},
    )

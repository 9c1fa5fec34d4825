"""Wheels of packages that extend torch, drawn at random from what is published."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.real.download import PLATFORM_TAGS

PACKAGES = Path(__file__).parents[1] / "real" / "ecosystem.txt"
PYTHONS = ("310", "311", "312", "313")
_VERSIONS = re.compile(r"^Available versions: (.+)$", re.MULTILINE)


def packages() -> list[str]:
    """Return the packages to draw from."""
    lines = PACKAGES.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def pip_options(platform: str, python: str) -> list[str]:
    """Return pip's options for the wheels of a platform and a release of CPython."""
    options = ["--only-binary", ":all:", "--python-version", python, "--implementation", "cp"]
    options += ["--abi", f"cp{python}", "--abi", "abi3", "--abi", "none"]
    for tag in PLATFORM_TAGS[platform]:
        options += ["--platform", tag]
    return options


def pip(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pip, and return how it ended."""
    command = [sys.executable, "-m", "pip", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def published(platform: str, cache: Path) -> dict[str, list[str]]:
    """Return the releases of each package with a wheel for a platform, asked of pip once."""
    file = cache / f"releases-{platform}.json"
    if not file.exists():
        found = {}
        for name in packages():
            result = pip("index", "versions", name, *pip_options(platform, "311"))
            match = _VERSIONS.search(result.stdout)
            found[name] = match[1].split(", ") if match else []
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(found, indent=1), encoding="utf-8")
    releases: dict[str, list[str]] = json.loads(file.read_text(encoding="utf-8"))
    return releases


def candidates(releases: dict[str, list[str]], seed: int) -> Iterator[tuple[str, str, str]]:
    """Yield packages, releases and Pythons in random order, each release once.

    Args:
        releases: Those of each package.
        seed: The same one gives the same order.
    """
    chance = random.Random(seed)
    left = {name: list(versions) for name, versions in releases.items() if versions}
    while left:
        name = chance.choice(sorted(left))
        version = left[name].pop(chance.randrange(len(left[name])))
        if not left[name]:
            del left[name]
        yield name, version, chance.choice(PYTHONS)


def draw(platform: str, seed: int, cache: Path) -> Iterator[Path]:
    """Download wheels one by one, drawn at random; those of the same draw are kept.

    Args:
        platform: The catalog's name for it.
        seed: The same one draws the same wheels, as long as no more are published.
        cache: Where to keep them.
    """
    folder = cache / "wheels" / platform
    file = folder / f"draw-{seed}.json"
    folder.mkdir(parents=True, exist_ok=True)
    drawn: dict[str, str | None] = json.loads(file.read_text("utf-8")) if file.exists() else {}
    for name, version, python in candidates(published(platform, cache), seed):
        key = f"{name}=={version} cp{python}"
        if key not in drawn:
            drawn[key] = _download(f"{name}=={version}", platform, python, folder)
            file.write_text(json.dumps(drawn, indent=1), encoding="utf-8")
        wheel = drawn[key]
        if wheel:
            yield folder / wheel


def _download(requirement: str, platform: str, python: str, folder: Path) -> str | None:
    """Download a wheel; None where there is none for that Python."""
    place = folder / "part"
    options = ["--quiet", "--no-deps", "--dest", str(place), *pip_options(platform, python)]
    result = pip("download", *options, requirement)
    found = sorted(place.glob("*.whl")) if result.returncode == 0 else []
    for wheel in found:
        wheel.replace(folder / wheel.name)
    return found[0].name if found else None

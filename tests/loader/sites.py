"""Folders that look like site-packages: torch with CUDA's libraries, and wheels beside it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from email.parser import HeaderParser
from pathlib import Path

from packaging.requirements import Requirement

from tests.loader.draw import pip, pip_options
from torch_abi_audit.index.ranges import open_published
from torch_abi_audit.index.sources import find_sources

LIBRARY = re.compile(r".*\.(?:so(?:\.[0-9.]+)?|dll|pyd)", re.IGNORECASE)
_LEFT_OUT = re.compile(
    r"torch/(?:include|test|share)/.*|torch/bin/(?!torch_shm_manager).*|.*\.(?:lib|a|pdb)"
)
_CUDA_PACKAGE = re.compile(r"(?:nvidia|cuda)-")
# What `import torch` needs besides: pure Python, the same for each release.
PURE = ("typing_extensions", "sympy", "networkx", "jinja2", "fsspec", "filelock", "setuptools<81")


def torch_site(cache: Path, platform: str, release: str, python: str) -> Path:
    """Return a folder with a release of torch, unpacked where it is not there yet.

    Args:
        cache: Where it is kept.
        platform: The catalog's name for it.
        release: That of torch.
        python: The release of CPython that loads it, as in tags: `311`.
    """
    site = cache / "torch" / platform / release
    if not site.exists():
        part = site.with_name(f"{release}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        with tempfile.TemporaryDirectory(dir=part.parent) as folder:
            options = ["--quiet", "--no-deps", "--dest", folder, *pip_options(platform, python)]
            result = pip("download", *options, f"torch=={release}")
            if result.returncode:
                raise SystemExit(f"torch {release}: {result.stderr.strip()}")
            with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
                names = [name for name in wheel.namelist() if not _LEFT_OUT.fullmatch(name)]
                wheel.extractall(part, names)
        part.rename(site)
    return site


def requirements(metadata: str) -> list[str]:
    """Return what a wheel's metadata requires."""
    return HeaderParser().parsestr(metadata).get_all("Requires-Dist") or []


def cuda_requirements(required: Iterable[str], platform: str) -> list[str]:
    """Return those of CUDA's packages among requirements that hold on a platform.

    >>> cuda_requirements(["nvidia-nccl-cu13==2.1; platform_system == 'Linux'"], "linux_aarch64")
    ['nvidia-nccl-cu13==2.1']
    """
    system, _, machine = platform.partition("_")
    environment = {
        "platform_system": system.capitalize(),
        "sys_platform": "win32" if system == "windows" else system,
        "platform_machine": "AMD64" if system == "windows" else machine,
        "extra": "",
    }
    found = []
    for text in required:
        requirement = Requirement(text)
        marker, requirement.marker = requirement.marker, None
        if _CUDA_PACKAGE.match(requirement.name) and (
            marker is None or marker.evaluate(environment)
        ):
            found.append(str(requirement))
    return found


def cuda_libraries(cache: Path, required: list[str], platform: str, python: str) -> list[str]:
    """Return the paths of the libraries in CUDA's packages, read from the index in place, once.

    Args:
        cache: Where to keep the answer.
        required: The packages' requirements; what they require themselves counts too.
        platform: The catalog's name for it.
        python: The release of CPython, as in tags.

    Raises:
        LookupError: pip does not find them.
    """
    if not required:
        return []
    digest = hashlib.sha256(repr((sorted(required), python)).encode()).hexdigest()[:24]
    file = cache / "cuda" / platform / f"{digest}.json"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        paths = _libraries_of(required, platform, python)
        file.write_text(json.dumps(paths, indent=1), encoding="utf-8")
    found: list[str] = json.loads(file.read_text(encoding="utf-8"))
    return found


def _libraries_of(required: list[str], platform: str, python: str) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        options = ["--dry-run", "--quiet", "--ignore-installed", "--target", folder]
        options += ["--report", "-", *pip_options(platform, python)]
        result = pip("install", *options, *required)
    if result.returncode:
        raise LookupError(result.stderr.strip().splitlines()[-1])
    paths = []
    for item in json.loads(result.stdout)["install"]:
        with open_published(item["download_info"]["url"], find_sources()) as archive:
            paths += [name for name in archive.namelist() if LIBRARY.fullmatch(name)]
    return sorted(paths)


def torch_requirements(site: Path) -> list[str]:
    """Return what torch in a folder requires."""
    metadata = next(site.glob("torch-*.dist-info")) / "METADATA"
    return requirements(metadata.read_text(encoding="utf-8"))


def pure_packages(cache: Path) -> Path:
    """Return a folder with what `import torch` needs besides torch."""
    folder = cache / "pure"
    if not folder.exists():
        part = folder.with_name("pure.part")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
        more = ["mpmath", "markupsafe"]
        subprocess.run([*command, str(part), *PURE, *more], check=True)
        part.rename(folder)
    return folder


def unpack_libraries(wheel: Path, site: Path) -> list[str]:
    """Unpack the libraries of a wheel; return its requirements."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(site, [name for name in names if is_library(archive, name)])
        metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
        return requirements(archive.read(metadata).decode(errors="replace"))


def unpacked_size(wheel: Path) -> int:
    """Return how many bytes the members of a wheel have."""
    with zipfile.ZipFile(wheel) as archive:
        return sum(item.file_size for item in archive.infolist())


def is_library(archive: zipfile.ZipFile, name: str) -> bool:
    """Whether a member is a library, by its first bytes."""
    if name.endswith((".py", ".pyc", ".pyi", ".h", "/")):
        return False
    with archive.open(name) as member:
        return member.read(4).startswith((b"\x7fELF", b"MZ"))


def put_beside(source: Path, site: Path) -> None:
    """Link what a folder has into another; folders that both have are merged, files are kept."""
    for entry in source.iterdir():
        place = site / entry.name
        if not place.exists():
            place.symlink_to(entry)
        elif place.is_dir() and entry.is_dir():
            if place.is_symlink():
                first = place.readlink()
                place.unlink()
                place.mkdir()
                put_beside(first, place)
            put_beside(entry, place)


def clear_links(site: Path) -> None:
    """Remove all links from a folder, and so what was put beside a wheel."""
    for folder, folders, files in os.walk(site):
        for name in (*folders, *files):
            path = Path(folder, name)
            if path.is_symlink():
                path.unlink()


def copy_of_links(source: Path, folder: Path) -> None:
    """Make folders like those of another, with links to its files.

    Loaders look for `$ORIGIN/..` where a file's folder really is, so that one is not a link.
    """
    for place, _, files in os.walk(source):
        copy = folder / Path(place).relative_to(source)
        copy.mkdir(parents=True)
        for name in files:
            (copy / name).symlink_to(Path(place, name))

"""Which site-packages an interpreter or an environment has, without running anything."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from torch_abi_audit.errors import AuditError
from torch_abi_audit.targets.environments import current_site, find_site


def environment(root: Path, python: str = "python3.12", library: str = "lib") -> Path:
    """Make an environment with one package; return its site-packages."""
    folder = root / library / python / "site-packages"
    (folder / "pk-1.0.dist-info").mkdir(parents=True)
    (root / "bin").mkdir(exist_ok=True)
    return folder


def test_an_environment(tmp_path: Path) -> None:
    folder = environment(tmp_path)
    (tmp_path / "bin" / "python").touch()
    for path in (tmp_path, tmp_path / "bin" / "python", folder):
        assert find_site(path).folders == (folder,)


def test_the_version_of_an_interpreter_chooses(tmp_path: Path) -> None:
    """By its name, or by the name of what it links to."""
    old, new = environment(tmp_path, "python3.9"), environment(tmp_path)
    for name in ("python3.9", "python3.12"):
        (tmp_path / "bin" / name).touch()
    (tmp_path / "bin" / "python3").symlink_to("python3.12")
    assert find_site(tmp_path / "bin" / "python3.9").folders == (old,)
    assert find_site(tmp_path / "bin" / "python3").folders == (new,)
    assert set(find_site(tmp_path).folders) == {old, new}


def test_windows_and_both_libraries(tmp_path: Path) -> None:
    folder = tmp_path / "Lib" / "site-packages"
    (folder / "pk-1.0.dist-info").mkdir(parents=True)
    (tmp_path / "Scripts").mkdir()
    (tmp_path / "Scripts" / "python.exe").touch()
    found = find_site(tmp_path / "Scripts" / "python.exe").folders
    assert folder in found
    other = tmp_path / "other"
    both = environment(other), environment(other, library="lib64")
    assert find_site(other).folders == both
    linked = tmp_path / "linked"
    folder = environment(linked)
    (linked / "lib64").symlink_to("lib")
    assert find_site(linked).folders == (folder,)


def test_packages_of_the_system(tmp_path: Path) -> None:
    """Only where the environment takes them."""
    base = environment(tmp_path / "base")
    own = environment(tmp_path / "env")
    config = tmp_path / "env" / "pyvenv.cfg"
    home = f"home = {tmp_path}/base/bin\n"
    config.write_text(f"{home}include-system-site-packages = false\n")
    assert find_site(tmp_path / "env").folders == (own,)
    config.write_text(f"{home}Include-System-Site-Packages = True\n")
    assert find_site(tmp_path / "env").folders == (own, base)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("missing", "missing: no such file or directory"),
        ("text.txt", "text.txt: not a Python interpreter or an environment"),
        ("empty", "empty: no packages are installed in it"),
        ("bin/python3.12", "python3.12: no site-packages found for it"),
    ],
)
def test_what_is_no_environment(tmp_path: Path, path: str, said: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3.12").touch()
    (tmp_path / "text.txt").touch()
    with pytest.raises(AuditError) as error:
        find_site(tmp_path / path)
    assert str(error.value).endswith(said)


def test_the_environment_that_is_activated(tmp_path: Path) -> None:
    folder = environment(tmp_path)
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        site, hint = current_site({variable: str(tmp_path)})
        assert (site.folders, hint) == ((folder,), None)
    # The tool's own, one that is gone, and one without site-packages do not count.
    for named in (sys.prefix, str(tmp_path / "gone"), str(tmp_path / "bin")):
        site, hint = current_site({"VIRTUAL_ENV": named})
        assert folder not in site.folders
        assert (hint is None) is ("torch" in site.packages)
        assert hint is None or "--python" in hint

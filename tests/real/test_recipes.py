"""The recipes of README.md, run as they stand there.

Where a recipe names this project by its name, or by an address, its checkout takes the place.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import TEST_WHEELS
from tests.readme import README, recipe

pytestmark = pytest.mark.real

ROOT = README.parent
GOOD, BAD = (next((TEST_WHEELS / name).glob("*.whl")) for name in ("stable-2.11", "cuda-12"))
# cibuildwheel's own step, without the build before it, which needs a container.
AUDIT = """
import sys, tempfile
from pathlib import Path
from cibuildwheel.audit import run_audit
from cibuildwheel.errors import AuditCommandFailedError
from cibuildwheel.options import CommandLineArguments, compute_options
from cibuildwheel.util.helpers import prepare_command

arguments = CommandLineArguments.defaults()
arguments.package_dir, arguments.platform = Path("."), "linux"
options = compute_options(platform="linux", command_line_arguments=arguments, env={})
build = options.build_options("cp312-manylinux_x86_64")
if sys.argv[1] == "test-command":
    print(prepare_command(build.test_command, project="/project", package="/p", wheel="/w/x.whl"))
else:
    with tempfile.TemporaryDirectory() as work:
        for wheel in map(Path, sys.argv[1:]):
            try:
                run_audit(tmp_dir=Path(work), build_options=build, wheel=wheel)
                print("passed", wheel.name)
            except AuditCommandFailedError as error:
                print("failed", wheel.name, error.return_code)
"""


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the tools that the recipes are for, and this project."""
    folder = tmp_path_factory.mktemp("tools")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    names = ["cibuildwheel>=4", "pipx", "pre-commit", "uv", f"{ROOT}[completion]"]
    subprocess.run(
        [folder / "bin" / "python", "-m", "pip", "install", "--quiet", *names], check=True
    )
    return folder / "bin"


def run(
    command: str, tools: Path, folder: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    known = {**os.environ, **environment, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env=known,
        capture_output=True,
        text=True,
        check=False,
    )


def dist(folder: Path, *wheels: Path) -> Path:
    (folder / "dist").mkdir()
    for wheel in wheels:
        shutil.copy(wheel, folder / "dist")
    return folder


@pytest.mark.parametrize(
    ("wheels", "uploaded"), [((GOOD,), True), ((GOOD, BAD), False), ((), False)]
)
def test_the_gate(tmp_path: Path, tools: Path, wheels: tuple[Path, ...], uploaded: bool) -> None:  # noqa: FBT001
    stand_in = tmp_path / "twine"
    stand_in.write_text('#!/bin/sh\necho "$@" > uploaded\n')
    stand_in.chmod(0o755)
    folder = dist(tmp_path, *wheels)
    path = f"{tmp_path}{os.pathsep}{tools}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        ["bash", "-c", recipe("gate")], cwd=folder, env={**os.environ, "PATH": path}, check=False
    )
    assert (result.returncode == 0) is uploaded
    assert (folder / "uploaded").exists() is uploaded


@pytest.mark.parametrize("number", [0, 1])
def test_runners(tools: Path, number: int) -> None:
    result = run(recipe("runners").splitlines()[number], tools, ROOT)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("safe: stable_2_11-1.0-")


def test_cibuildwheel_audits(tmp_path: Path, tools: Path) -> None:
    text = recipe("cibuildwheel").replace('["torch-abi-audit"]', json.dumps([str(ROOT)]))
    # Its virtual environments come from an address of their own, unless uv makes them.
    (tmp_path / "pyproject.toml").write_text(f'{text}build-frontend = "build[uv]"\n')
    (tmp_path / "audit.py").write_text(AUDIT)
    result = run(f"python audit.py {GOOD} {BAD}", tools, tmp_path)
    verdicts = [
        line for line in result.stdout.splitlines() if line.startswith(("passed ", "failed "))
    ]
    assert verdicts == [f"passed {GOOD.name}", f"failed {BAD.name} 9"], result.stderr


def test_cibuildwheels_test_command(tmp_path: Path, tools: Path) -> None:
    """The command as cibuildwheel makes it of the recipe; its container is not to be had here."""
    (tmp_path / "pyproject.toml").write_text(recipe("cibuildwheel-test"))
    (tmp_path / "audit.py").write_text(AUDIT)
    result = run("python audit.py test-command", tools, tmp_path)
    assert result.stdout.splitlines()[-1] == (
        "torch-abi-audit /w/x.whl && python -m pytest /project/tests"
    )


def test_github_actions(tmp_path: Path, tools: Path) -> None:
    folder = dist(tmp_path, GOOD, BAD)
    install, audit = re.findall(r"- run: (.*)", recipe("actions"))
    assert install == "python -m pip install torch-abi-audit"
    result = run(audit, tools, folder, GITHUB_STEP_SUMMARY=str(tmp_path / "summary.md"))
    assert result.returncode == 1
    assert "::error file=dist/cuda_12-" in result.stdout
    assert "**❌ unsafe**: 1 safe · 1 unsafe" in (tmp_path / "summary.md").read_text()
    assert json.loads((tmp_path / "audit.sarif").read_text())["version"] == "2.1.0"


def test_pre_commit(tmp_path: Path, tools: Path) -> None:
    hook = recipe("pre-commit").rpartition("- id: ")[2].strip()
    shutil.copy(GOOD, tmp_path)
    shutil.copy(BAD, tmp_path)
    cache = str(tmp_path / "cache")
    assert run("git init -q . && git add -A", tools, tmp_path).returncode == 0
    command = f"pre-commit try-repo {ROOT} {hook} --files"
    good = run(f"{command} {GOOD.name}", tools, tmp_path, PRE_COMMIT_HOME=cache)
    assert good.returncode == 0, good.stdout + good.stderr
    bad = run(f"{command} {GOOD.name} {BAD.name}", tools, tmp_path, PRE_COMMIT_HOME=cache)
    assert bad.returncode == 1
    assert "error[cuda-major-mismatch]" in bad.stdout


def test_completion(tmp_path: Path, tools: Path) -> None:
    command = recipe("completion").replace("~", str(tmp_path))
    folder = tmp_path / ".local/share/bash-completion/completions"
    folder.mkdir(parents=True)
    assert run(command, tools, tmp_path).returncode == 0
    script = folder / "torch-abi-audit"
    completed = run(
        f'source {script}; COMP_WORDS=(torch-abi-audit --min); COMP_CWORD=1; COMP_LINE="x --min";'
        " COMP_POINT=7; $(complete -p torch-abi-audit | sed 's/.*-F \\([^ ]*\\).*/\\1/')"
        " torch-abi-audit --min torch-abi-audit || true; echo ${COMPREPLY[@]}",
        tools,
        tmp_path,
    )
    assert "--min-torch" in completed.stdout, completed.stderr


def test_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dist(tmp_path)
    shutil.copy(GOOD, tmp_path / "dist" / "x-1.0-py39-none-manylinux_2_28_x86_64.whl")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError):  # the metadata is that of another package
        exec(recipe("python"), {})  # noqa: S102
    code = recipe("python").replace("x-1.0-py39-none-manylinux_2_28_x86_64.whl", GOOD.name)
    shutil.copy(GOOD, tmp_path / "dist")
    exec(code, {})  # noqa: S102

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
import tomllib
from pathlib import Path

import pytest

from tests.builders import TEST_WHEELS
from tests.readme import README, recipe
from torch_abi_audit.rules import UNSTABLE_ABI

pytestmark = pytest.mark.real

ROOT = README.parent
GOOD, BAD, ABI3, ABI3_BROKEN = (
    next((TEST_WHEELS / name).glob("*.whl"))
    for name in ("stable-2.11", "cuda-12", "abi3-kept", "abi3-broken")
)
NAME = "torch-abi-audit>=1"
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


def test_a_baseline(tmp_path: Path, tools: Path) -> None:
    folder = dist(tmp_path, BAD)
    first, again = recipe("baseline").splitlines()
    assert run(first, tools, folder).returncode == 1
    assert run(again, tools, folder).returncode == 0


@pytest.mark.parametrize("number", [0, 1])
def test_runners(tools: Path, number: int) -> None:
    result = run(recipe("runners").splitlines()[number], tools, ROOT)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("safe: stable_2_11-1.0-")


def test_cibuildwheel_audits(tmp_path: Path, tools: Path) -> None:
    """Its own command is kept: abi3audit sees wheels for abi3 first."""
    text = recipe("cibuildwheel").replace(f'"{NAME}"', json.dumps(str(ROOT)))
    assert str(ROOT) in text
    # Its virtual environments come from an address of their own, unless uv makes them.
    (tmp_path / "pyproject.toml").write_text(f'{text}build-frontend = "build[uv]"\n')
    (tmp_path / "audit.py").write_text(AUDIT)
    wheels = (GOOD, BAD, ABI3, ABI3_BROKEN)
    result = run(f"python audit.py {' '.join(map(str, wheels))}", tools, tmp_path)
    lines = result.stdout.splitlines()
    commands = [line.split()[3:5] for line in lines if line.startswith("Running audit command")]
    assert [line for line in lines if line.startswith(("passed ", "failed "))] == [
        f"passed {GOOD.name}",
        f"failed {BAD.name} 9",
        f"passed {ABI3.name}",
        f"failed {ABI3_BROKEN.name} 9",
    ], result.stderr
    assert commands == [
        ["torch-abi-audit", str(GOOD)],
        ["torch-abi-audit", str(BAD)],
        ["abi3audit", "--strict"],
        ["torch-abi-audit", str(ABI3)],
        ["abi3audit", "--strict"],
    ]


def test_cibuildwheels_test_command(tmp_path: Path, tools: Path) -> None:
    """The command as cibuildwheel makes it of the recipe; its container is not to be had here."""
    (tmp_path / "pyproject.toml").write_text(recipe("cibuildwheel-test"))
    (tmp_path / "audit.py").write_text(AUDIT)
    result = run("python audit.py test-command", tools, tmp_path)
    assert result.stdout.splitlines()[-1] == (
        "torch-abi-audit --config /project/pyproject.toml /w/x.whl"
        " && python -m pytest /project/tests"
    )


def test_cibuildwheels_test_command_keeps_the_configuration(tmp_path: Path, tools: Path) -> None:
    """It runs in an empty folder."""
    project, empty = tmp_path / "project", tmp_path / "empty"
    for folder in (project, empty):
        folder.mkdir()
    (project / "pyproject.toml").write_text('[tool.torch-abi-audit]\nmin-torch = "2.10"\n')
    command = tomllib.loads(recipe("cibuildwheel-test"))["tool"]["cibuildwheel"]["test-command"]
    command = command.partition(" && ")[0].format(project=project, wheel=GOOD)
    result = run(command, tools, empty)
    assert result.returncode == 1
    assert "error[torch-promise-broken]" in result.stdout
    assert run(f"torch-abi-audit {GOOD}", tools, empty).returncode == 0


def test_github_actions(tmp_path: Path, tools: Path) -> None:
    folder = dist(tmp_path, GOOD, BAD)
    install, audit = re.findall(r"- run: (.*)", recipe("actions"))
    assert install == f'python -m pip install "{NAME}"'
    result = run(audit, tools, folder, GITHUB_STEP_SUMMARY=str(tmp_path / "summary.md"))
    assert result.returncode == 1
    assert "::error file=dist/cuda_12-" in result.stdout
    assert "**❌ unsafe**: 1 safe · 1 unsafe" in (tmp_path / "summary.md").read_text()
    assert json.loads((tmp_path / "audit.sarif").read_text())["version"] == "2.1.0"


def test_buildkite(tmp_path: Path, tools: Path) -> None:
    """The commands as its agent runs them, one after the other."""
    (tmp_path / "bin").mkdir()
    for name in ("buildkite-agent", "python"):
        (tmp_path / "bin" / name).write_text(f'#!/bin/sh\necho {name} "$@" >> said\n')
        (tmp_path / "bin" / name).chmod(0o755)
    text = recipe("buildkite")
    commands = re.findall(r"^ {6}- (.*)$", text, re.MULTILINE)
    path = f'PATH="{tmp_path / "bin"}:$PATH"'
    result = run("\n".join([path, *commands]), tools, dist(tmp_path, GOOD, BAD))
    assert result.returncode == 1
    assert result.stdout.splitlines()[-1].startswith("unsafe: do not publish 1 of 2 wheels")
    assert (tmp_path / "said").read_text().splitlines() == [
        "buildkite-agent artifact download dist/*.whl .",
        f"python -m pip install {NAME}",
    ]
    (report,) = re.findall(r"artifact_paths: (.*)", text)
    assert "**❌ unsafe**: 1 safe · 1 unsafe" in (tmp_path / report).read_text()


@pytest.mark.skipif(not all(map(shutil.which, ("cmake", "cc"))), reason="needs CMake and C")
@pytest.mark.parametrize(
    ("configuration", "symbol", "built"),
    [
        ("", "torch_delete_string", True),
        ("", "_ZN3c104warnERKNS_7WarningE", False),
        ('migrating = ["_C.*"]\n', "_ZN3c104warnERKNS_7WarningE", True),
    ],
)
def test_cmake(
    tmp_path: Path,
    tools: Path,
    configuration: str,
    symbol: str,
    built: bool,  # noqa: FBT001
) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.torch-abi-audit]\n{configuration}")
    (tmp_path / "c.c").write_text(f"void {symbol}(void);\nvoid f(void) {{ {symbol}(); }}\n")
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.18)\nproject(x C)\nadd_library(_C MODULE c.c)\n"
        f'set_target_properties(_C PROPERTIES PREFIX "")\n{recipe("cmake")}'
    )
    folder = tmp_path / "elsewhere" / "build"
    folder.mkdir(parents=True)
    result = run(f"cmake {tmp_path} && cmake --build .", tools, folder)
    assert (result.returncode == 0) is built, result.stdout + result.stderr
    assert (f"error[{UNSTABLE_ABI}]" in result.stdout) is not built
    assert (folder / "_C.so").exists() is built


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


def test_pre_commit_checks_all_wheels_together(tmp_path: Path, tools: Path) -> None:
    """With several processes each would see some, and find no release that they disagree on."""
    folder = TEST_WHEELS / "release-disagrees"
    names = [path.name for path in sorted(folder.glob("*.whl"))]
    for name in names:
        shutil.copy(folder / name, tmp_path)
    for number in range(12):  # so many that there would be several
        shutil.copy(GOOD, tmp_path / f"good_{number:02}-{GOOD.name}")
    command = (
        f"git init -q . && git add -A && pre-commit try-repo {ROOT} torch-abi-audit -a --verbose"
    )
    result = run(command, tools, tmp_path, PRE_COMMIT_HOME=str(tmp_path / "cache"))
    assert result.stdout.count("\nverdict ") == 1, result.stdout + result.stderr
    assert result.stdout.count("[wheels-disagree]") == 1


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

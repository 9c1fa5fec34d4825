"""The files around the code say the same: workflows, hooks, metadata, instructions."""

from __future__ import annotations

import re
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests import readme
from torch_abi_audit.rules import PROJECT_URL

ROOT = Path(__file__).parents[2]
WORKFLOWS = ROOT / ".github" / "workflows"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

pytestmark = pytest.mark.skipif(not WORKFLOWS.exists(), reason="not in source distributions")


def read(*parts: str) -> str:
    return ROOT.joinpath(*parts).read_text(encoding="utf-8")


def test_ci_runs_the_pythons_of_the_classifiers() -> None:
    (matrix,) = re.findall(r"python: \[(.*)\]", read(".github", "workflows", "ci.yml"))
    classifiers = PROJECT["project"]["classifiers"]
    pythons = [line.rpartition(" ")[2] for line in classifiers if ":: Python :: 3." in line]
    assert re.findall(r'"(.*?)"', matrix) == pythons
    assert PROJECT["project"]["requires-python"] == f">={pythons[0]}"


def test_the_project_has_one_address() -> None:
    urls = PROJECT["project"]["urls"]
    assert urls["Homepage"] == PROJECT_URL
    assert list(urls) == ["Homepage", "Documentation", "Changelog", "Issues", "Source"]
    assert [url for url in urls.values() if not re.match(rf"{PROJECT_URL}(?![^/#])", url)] == []
    (of_hook,) = re.findall(r"- repo: (\S+)", readme.recipe("pre-commit"))
    assert of_hook == PROJECT_URL
    branch, _, path = urls["Changelog"].removeprefix(f"{PROJECT_URL}/blob/").partition("/")
    assert branch == "main"
    assert (ROOT / path).is_file()


def test_who_wrote_it() -> None:
    names = [author["name"] for author in PROJECT["project"]["authors"]]
    assert names
    assert [name for name in names if name not in read("LICENSE")] == []


@pytest.mark.parametrize(
    ("system", "machine", "required"),
    [
        ("linux", "x86_64", True),
        ("linux", "aarch64", True),
        ("linux", "riscv64", True),  # built from source
        ("darwin", "arm64", True),
        ("win32", "AMD64", True),
        ("win32", "ARM64", False),
    ],
)
def test_the_demangler_is_required_where_there_is_one(
    system: str,
    machine: str,
    required: bool,  # noqa: FBT001
) -> None:
    needed = map(Requirement, PROJECT["project"]["dependencies"])
    marker = next(item.marker for item in needed if item.name == "pycxxfilt")
    assert marker is not None
    assert marker.evaluate({"sys_platform": system, "platform_machine": machine}) is required


def test_ci_lints_as_the_script_does() -> None:
    script = re.findall(r'^"\$work/lint/bin/((?!python).*)$', read(".ci", "run"), re.MULTILINE)
    commands = [line.replace('"', "") for line in script]
    workflow = read(".github", "workflows", "ci.yml")
    assert len(commands) == 3
    assert [f"- run: {line}\n" in workflow for line in commands] == [True] * 3


@pytest.mark.parametrize("path", sorted(WORKFLOWS.glob("*.yml")), ids=lambda path: path.name)
def test_workflows_start_without_permissions(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "\npermissions: {}\n" in text
    assert text.count("    permissions:\n") == text.count("    runs-on: ")
    uses = re.findall(r"uses: (\S+)", text)
    assert uses
    assert [name for name in uses if not re.fullmatch(r"[\w/-]+@(release/)?v\d+", name)] == []


def test_the_hook_sees_all_wheels_at_once() -> None:
    """Of many files pre-commit makes several processes, and rules about a release see parts."""
    hook = read(".pre-commit-hooks.yaml")
    assert hook.count("- id: ") == hook.count("\n  require_serial: true\n") == 1


def test_the_hook_has_a_ruff_that_the_project_takes() -> None:
    (revision,) = re.findall(r"ruff-pre-commit\n +rev: v(\S+)", read(".pre-commit-config.yaml"))
    lint = [item for item in PROJECT["dependency-groups"]["lint"] if isinstance(item, str)]
    (ruff,) = [item for item in map(Requirement, lint) if item.name == "ruff"]
    assert revision in ruff.specifier


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "PULL_REQUEST_TEMPLATE.md"])
def test_the_commands_for_contributors_exist(name: str) -> None:
    modules = set(re.findall(r"python -m ([\w.]+)", read(".github", name)))
    assert "pytest" in modules
    assert [module for module in modules if find_spec(module) is None] == []


def test_the_table_of_rules_is_updated_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = read("README.md")
    path = tmp_path / "README.md"
    path.write_text(re.sub(r"\| <a id=\"stale-ignore\">.*\n", "", text), encoding="utf-8")
    monkeypatch.setattr(readme, "README", path)
    readme.main(["--table"])
    assert path.read_text(encoding="utf-8") == text

"""Other builds of torch than PyPI's, through the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from test_wheels.expected import wheels_of
from torch_abi_audit import Options, audit
from torch_abi_audit.cli import main

(FOR_CPU,) = map(str, wheels_of("build-cpu"))
(FOR_CUDA_12,) = map(str, wheels_of("build-cuda-12"))
(FOR_ROCM,) = map(str, wheels_of("build-unknown"))
(STABLE,) = map(str, wheels_of("stable-2.10"))
(NEEDS_CUDA_12,) = map(str, wheels_of("cuda-12"))


def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    main(["--json", *arguments])
    return json.loads(capsys.readouterr().out)


def rules(target: Any) -> set[str]:
    return {item["rule"] for item in target["findings"] if item["severity"] == "error"}


def test_a_build_that_the_user_names(capsys: pytest.CaptureFixture[str]) -> None:
    found = report(capsys, "--no-config", "--torch-build", "cpu", STABLE)
    assert found["options"]["torch_build"] == "cpu"
    (target,) = found["targets"]
    build = target["torch"]["build"]
    assert (build["name"], build["source"]) == ("cpu", "--torch-build")
    assert build["measured"] == ["2.13.0"]
    assert set(build["measured"]) | set(build["derived"]) == set(target["torch"]["releases"])
    assert target["summary"].endswith("; checked against torch's cpu builds (--torch-build)")


@pytest.mark.parametrize("torch", ["2.13.0+cpu", "torch==2.13.0+cpu"])
def test_a_torch_with_a_local_version(capsys: pytest.CaptureFixture[str], torch: str) -> None:
    found = report(capsys, "--no-config", "--torch", torch, STABLE)
    (target,) = found["targets"]
    assert found["options"]["torch_build"] == "cpu"
    assert target["torch"]["build"]["source"] == "--torch"
    assert target["torch"]["asked"] == ["2.13.0"]
    assert target["summary"].endswith("; checked against torch's cpu builds of 2.13 only (--torch)")


def test_pypi_is_what_wheels_are_checked_against_usually(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = report(capsys, "--no-config", STABLE)
    assert found["options"]["torch_build"] is None
    assert found["targets"][0]["torch"]["build"] is None


def test_a_configured_build(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = tmp_path / "pyproject.toml"
    config.write_text('[tool.torch-abi-audit]\ntorch-build = "cu126"\n')
    (target,) = report(capsys, "--config", str(config), NEEDS_CUDA_12)["targets"]
    assert target["torch"]["build"]["name"] == "cu126"
    assert rules(target) == set()
    found = report(capsys, "--config", str(config), "--torch-build", "cu130", NEEDS_CUDA_12)
    assert rules(found["targets"][0]) == {"cuda-major-mismatch"}


def test_a_wheel_is_not_blamed_for_the_cuda_on_pypi(capsys: pytest.CaptureFixture[str]) -> None:
    (target,) = report(capsys, "--no-config", FOR_CUDA_12)["targets"]
    assert rules(target) == set()
    assert target["torch"]["build"]["source"] == "its version"
    (target,) = report(capsys, "--no-config", "--torch-build", "pypi", FOR_CUDA_12)["targets"]
    assert rules(target) == {"cuda-major-mismatch"}
    assert target["torch"]["build"] is None


def test_the_text_says_which_builds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--no-config", FOR_CPU]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert (
        "              torch's cpu builds (its version): 2.13 measured, 2.4-2.12, 2.14-2.15 derived"
        " from PyPI's builds"
    ) in lines
    assert (
        "error[cuda-build-required]: torch's cpu build has no CUDA (2.10-2.15), but 1 library"
        " needs CUDA"
    ) in lines


@pytest.mark.parametrize("build", ["rocm6.4", "xpu", "cu118"])
def test_a_build_of_which_nothing_is_known(capsys: pytest.CaptureFixture[str], build: str) -> None:
    assert main(["--no-config", "--torch-build", build, STABLE]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == (
        f"torch-abi-audit: nothing is known of torch's {build} builds; use --against with one of"
        " them\n"
    )


def test_a_wheel_for_a_build_of_which_nothing_is_known(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--no-config", "-q", FOR_ROCM, STABLE]) == 2
    output = capsys.readouterr()
    assert (
        "nothing is known of torch's rocm6.4 builds, which its version names; use --against with"
        " one of them, or --torch-build pypi"
    ) in output.err


def test_builds_and_against_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--no-config", "--torch-build", "cpu", "--against", "x", STABLE]) == 2
    assert "--against is about one build of torch" in capsys.readouterr().err


def test_the_api_says_which_build_was_chosen() -> None:
    found = audit(STABLE, options=Options(torch_build="cpu"))
    assert found.to_dict()["options"]["torch_build"] == "cpu"
    (target,) = found.targets
    assert target.subject is not None
    assert target.subject.build is not None
    assert target.subject.build.is_known


def test_a_wheel_for_another_build_is_repaired_for_it(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    assert main(["repair", "--no-config", FOR_CUDA_12, "-w", str(folder)]) == 0
    (wheel,) = folder.glob("*.whl")
    assert wheel.name == Path(FOR_CUDA_12).name


@pytest.mark.parametrize(
    ("torch", "version", "checked"),
    [
        ("2.13.0+cpu", None, None),
        ("2.13.0+cu126", "1.0", "torch's cu126 build, as derived from the one on PyPI"),
        ("2.13.0+cu130", None, None),
    ],
)
def test_the_release_for_a_build(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    torch: str,
    version: str | None,
    checked: str | None,
) -> None:
    shutil.copy(NEEDS_CUDA_12, tmp_path)
    arguments = ["compat", "cuda_12", "--no-index", "--no-cache", "-f", str(tmp_path), "-j", "1"]
    arguments += ["--platform", "linux_x86_64", "--python", "3.12", "--torch", torch]
    code = main([*arguments, "--json"])
    (answer,) = json.loads(capsys.readouterr().out)["answers"]
    assert answer["version"] == version
    assert code == (0 if version else 1)
    if checked is not None:
        assert answer["why"].endswith(f"; checked with {checked}")


def test_no_release_for_a_build_of_which_nothing_is_known(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shutil.copy(NEEDS_CUDA_12, tmp_path)
    arguments = ["compat", "cuda_12", "--no-index", "--no-cache", "-f", str(tmp_path), "-j", "1"]
    arguments += ["--platform", "linux_x86_64", "--torch", "2.13.0+rocm6.4"]
    assert main(arguments) == 2
    assert "nothing is known of torch's rocm6.4 builds" in capsys.readouterr().err

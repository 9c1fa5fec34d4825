"""Checks of one thing: what decides is shown and annotated, the rest is counted."""

from __future__ import annotations

import json

import pytest

from test_wheels.expected import wheels_of
from torch_abi_audit.cli import main

(UNDECLARED,) = map(str, wheels_of("unstable-undeclared"))  # and unpinned
(PINNED,) = map(str, wheels_of("unstable-pinned"))
(OLD,) = map(str, wheels_of("floor-understated"))  # on the stable ABI
(BOUND,) = map(str, wheels_of("suffix-fitting"))  # for one Python, rightly
(NO_TORCH,) = map(str, wheels_of("no-torch"))
(STABLE,) = map(str, wheels_of("stable-2.10"))
TORCH, ABI3 = "--check torch: no library uses the unstable ABI", "--check abi3: "


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str]]:
    code = main(["--no-config", *arguments])
    return code, capsys.readouterr().out.splitlines()


def test_what_passes_takes_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever else is wrong with it."""
    name = OLD.rpartition("/")[2]
    assert run(capsys, "--check", "torch", OLD) == (
        0,
        [f"passed: {name}: {TORCH} (1 other finding, -v)", "", "passed: --check torch: 1 wheel"],
    )
    whole = "".join(run(capsys, "--check", "torch", "-v", OLD)[1])
    assert "error[torch-floor-understated]" in whole


def test_only_what_decides_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = run(capsys, "--check", "torch", UNDECLARED)
    assert code == 1
    rules = [line.partition(":")[0] for line in lines if "[" in line.partition(":")[0]]
    assert rules == ["error[unstable-torch-symbol]"]
    assert "1 other finding: torch-unpinned (-v)" in lines
    assert not any(line.startswith("fix:") for line in lines)  # a pin does not help
    assert lines[-3] == "failed: --check torch: 1 library uses the unstable ABI (3 symbols)"


def test_a_note_decides_too(capsys: pytest.CaptureFixture[str]) -> None:
    """A pinned wheel may use the unstable ABI, but not pass the check."""
    code, lines = run(capsys, "--check", "torch", PINNED)
    assert code == 1
    assert any(line.startswith("note[unstable-torch-symbol]: ") for line in lines)
    _, lines = run(capsys, "--check", "torch", "--format", "github", PINNED)
    assert [line.partition(" ")[0] for line in lines] == ["::error", "failed:"]
    _, lines = run(capsys, "--check", "torch", "--format", "concise", PINNED)
    assert [line.partition("] ")[0] for line in lines[:-1]] == [
        f"{PINNED}: note[unstable-torch-symbol"
    ]


def test_a_check_without_a_finding_is_annotated(capsys: pytest.CaptureFixture[str]) -> None:
    """A wheel for one Python is none, unless it is checked for that."""
    said = f"{ABI3}2 libraries are tied to one Python"
    code, lines = run(capsys, "--check", "abi3", "--format", "github", BOUND)
    assert code == 1
    assert lines[0].startswith("::error file=")
    assert "title=check::" in lines[0]
    assert said in lines[0]
    concise = run(capsys, "--check", "abi3", "--format", "concise", BOUND)[1]
    assert concise[0].startswith(f"{BOUND}: error: {said}")
    assert run(capsys, "--check", "torch", "--format", "github", BOUND)[1] == [
        "passed: --check torch: 1 wheel"
    ]


@pytest.mark.parametrize(
    "options", [("--check", "torch", "--check", "abi3"), ("--check=torch,abi3",), ("--check=both",)]
)
def test_several_checks(options: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = run(capsys, *options, "--json", BOUND)
    assert code == 1
    document = json.loads("\n".join(lines))
    assert document["options"]["check"] == ["torch", "abi3"]
    (target,) = document["targets"]
    assert [(item["check"], item["passed"]) for item in target["checks"]] == [
        ("torch", True),
        ("abi3", False),
    ]
    assert target["checks"][1]["libraries"] == [
        "suffix_fitting/_C.cpython-313t-x86_64-linux-gnu.so",
        "suffix_fitting/_plain.so",
    ]


@pytest.mark.parametrize("form", ["markdown", "html"])
def test_pages_say_what_came_of_it(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = "\n".join(run(capsys, "--check", "torch", "--format", form, OLD)[1])
    assert "no library uses the unstable ABI" in text
    assert "1 other finding" in text


@pytest.mark.parametrize("check", [(), ("--check", "torch"), ("--check", "abi3")])
def test_what_has_to_use_torch(check: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*check, NO_TORCH]) == 0
    assert main([*check, "--require", "torch", NO_TORCH]) == 1
    said = "error[torch-unused]: no library uses torch, but --require torch is given"
    out = capsys.readouterr().out
    assert said in out
    assert main([*check, "--require", "torch", STABLE]) == 0
    # What it fails for is not what the check is about.
    if check:
        last = (
            "torch is not used in 1 of 1 wheel (no_torch-1.0-py39-none-manylinux_2_28_x86_64.whl)"
        )
        assert out.splitlines()[-1] == f"failed: --check {check[1]}: {last}"
        assert "failed: no library uses torch, but --require torch is given; --check " in out


def test_an_environment_has_packages_that_do_not_use_torch(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["--env", "--require", "torch"])
    assert "--require is for targets that are named" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["clams", "torch,clams"])
def test_another_check_is_refused(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--check", value, OLD])
    error = capsys.readouterr().err
    assert "argument --check: invalid choice: 'clams' (choose from torch, abi3, both)" in error

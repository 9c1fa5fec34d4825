"""A project's gate while it moves to the stable ABI: what may stay, and what is stale."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tests.builders import member_of, write_wheel
from torch_abi_audit.cli import main

UNSTABLE = member_of("unstable-pinned", "unstable_pinned/_C.so")
STABLE = member_of("stable-2.10", "stable_2_10/_C.so")
FILES = {
    "pkg/__init__.py": b"",
    "pkg/_C.abi3.so": UNSTABLE,
    "pkg/_C_stable.abi3.so": STABLE,
    "pkg/third_party/_moe.so": UNSTABLE,
    "pkg/third_party/_flash.so": STABLE,
}
NAME = "x-1.0-cp39-abi3-manylinux_2_28_x86_64.whl"
METADATA = "Metadata-Version: 2.1\nName: x\nVersion: 1.0\nRequires-Dist: torch==2.14.*\n"


def targets(folder: Path) -> dict[str, list[str]]:
    """Write the package as a wheel, installed, as a build tree and as its folder in one."""
    wheel = write_wheel(folder, FILES, name=NAME, metadata=METADATA)
    for name in ("site", "build/lib"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder / name)
    for file in (folder / "build/lib/x-1.0.dist-info").iterdir():
        file.unlink()
    (folder / "build/lib/x-1.0.dist-info").rmdir()
    return {
        "wheel": [str(wheel)],
        "installed": ["--python", str(folder / "site"), "pkg"],
        "tree": [str(folder / "build/lib")],
        "folder": [str(folder / "build/lib/pkg")],
    }


@pytest.mark.parametrize(
    ("patterns", "stale", "everything"),
    [
        # The exit codes with --strict-ignores, and with --strict-ignores=all.
        ([], 1, 1),
        (["_C.abi3.so"], 1, 1),
        (["_C.abi3.so", "third_party/_moe.so"], 0, 0),
        (["pkg/_C.abi3.so", "pkg/third_party/_moe.so"], 0, 0),
        # What is stable by now.
        (["_C.abi3.so", "third_party/_moe.so", "third_party/_flash*.so"], 1, 1),
        # What no library has, such as of a build for other hardware.
        (["_C.abi3.so", "third_party/_moe.so", "_rocm*.so"], 0, 1),
        # Patterns over unstable and stable libraries.
        (["*"], 1, 1),
        (["_C*.abi3.so", "third_party/_moe.so"], 1, 1),
    ],
)
def test_an_allowlist_means_the_same_for_every_target(
    tmp_path: Path, patterns: list[str], stale: int, everything: int
) -> None:
    options = [part for pattern in patterns for part in ("--migrating", pattern)]
    for target in targets(tmp_path).values():
        codes = [
            main(["--no-config", "--check", "torch", strict, *options, *target])
            for strict in ("--strict-ignores", "--strict-ignores=all")
        ]
        assert codes == [stale, everything]


def test_one_library_by_itself(tmp_path: Path) -> None:
    file = tmp_path / "build" / "pkg" / "third_party" / "_moe.so"
    file.parent.mkdir(parents=True)
    file.write_bytes(UNSTABLE)
    for pattern, code in (
        ("_moe.so", 0),
        ("third_party/_moe.so", 0),
        ("pkg/third_party/_moe.so", 0),
        ("pkg/_moe.so", 1),
    ):
        arguments = ["--no-config", "--check", "torch", "--migrating", pattern, str(file)]
        assert main(arguments) == code


def test_the_configuration_says_the_same(tmp_path: Path) -> None:
    config = tmp_path / "pyproject.toml"
    table = '[tool.torch-abi-audit]\ncheck = "torch"\nstrict-ignores = true\nmigrating = '
    target = targets(tmp_path)["installed"]
    for patterns, code in (
        (["_C.abi3.so", "third_party/_moe.so"], 0),
        (["_C.abi3.so", "third_party/*.so"], 1),
    ):
        config.write_text(f"{table}{patterns}\n".replace("'", '"'))
        assert main(["--config", str(config), *target]) == code


def test_a_package_that_is_not_installed(tmp_path: Path) -> None:
    _, site, *_ = targets(tmp_path)["installed"]
    assert main(["--no-config", "--check", "torch", "--python", site, "other"]) == 2


SYMBOLS = ["at::*", "c10::*"]


@pytest.mark.parametrize(
    ("symbols", "code"),
    [
        (SYMBOLS, 0),
        (["at::*"], 1),
        ([*SYMBOLS, "c10::MessageLogger::*"], 1),  # gone by now
        (["*"], 0),
    ],
)
def test_an_allowlist_of_symbols(
    tmp_path: Path, symbols: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "libx.so"
    file.write_bytes(UNSTABLE)
    options = [part for name in symbols for part in ("--migrating", f"symbol={name}")]
    assert main(["--check", "torch", "--strict-ignores", *options, str(file)]) == code
    capsys.readouterr()
    options = [
        part for name in symbols for part in ("--ignore", f"unstable-torch-symbol:symbol={name}")
    ]
    assert main(["--check", "torch", "--strict-ignores", *options, str(file)]) == code


def test_what_is_left_to_move_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "libx.so"
    file.write_bytes(UNSTABLE)
    main(["--migrating", "symbol=at::*", str(file)])
    assert "  2 unstable symbols left, 1 ignored" in capsys.readouterr().out.splitlines()
    main(["--migrating", "libx.so", str(file)])
    assert "  0 unstable symbols left, 3 ignored" in capsys.readouterr().out.splitlines()


def test_the_value_of_strict_ignores_is_never_a_target(tmp_path: Path) -> None:
    wheel = targets(tmp_path)["wheel"]
    assert main(["--no-config", "--check", "torch", "--strict-ignores", *wheel]) == 1


def test_another_value_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--strict-ignores=none", "x.whl"])
    assert "invalid choice: 'none' (choose from stale, all)" in capsys.readouterr().err


def test_a_pattern_that_matches_nothing_is_told_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = targets(tmp_path)["wheel"]
    said = "note[stale-ignore]: migrating typo.so: no audited target has such a library"
    for check in ((), ("--check", "torch")):
        main(["--no-config", *check, "--migrating", "typo.so", *wheel])
        assert said in capsys.readouterr().out.splitlines()


def test_what_is_ignored_is_no_proof_of_the_stable_abi(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "libx.so"
    file.write_bytes(UNSTABLE)
    check = "--check torch: "
    for pattern, last in (
        ("libx.so", f"{check}no library uses the unstable ABI, except for 3 ignored symbols"),
        ("symbol=at::*", f"{check}1 library uses the unstable ABI (2 symbols, 1 ignored)"),
    ):
        main(["--check", "torch", "--migrating", pattern, str(file)])
        assert last in capsys.readouterr().out

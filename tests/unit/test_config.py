from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from torch_abi_audit.config import (
    Config,
    find_config,
    parse_config,
    parse_ignore,
    parse_release,
    parse_torch,
    read_config,
)
from torch_abi_audit.errors import AuditError
from torch_abi_audit.model import Check, Ignore

WHOLE = """
[tool.torch-abi-audit]
check = "both"
require-stable = true
strict = true
verify = true
torch = ">=2.10"
min-torch = "2.10"
migrating = ["x/_C.so"]

[[tool.torch-abi-audit.ignore]]
rule = "cuda-build-required"
reason = "it is for CUDA"
library = "x/*.so"
until-torch = "2.17"
"""


def test_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text(WHOLE)
    config = read_config(path)
    assert config == find_config(tmp_path / "a" / "b")
    assert config == Config(
        path=path,
        check=(Check.TORCH, Check.ABI3),
        require_stable=True,
        strict=True,
        verify=True,
        torch=config.torch,
        min_torch=Version("2.10"),
        ignore=(
            Ignore("cuda-build-required", "it is for CUDA", "x/*.so", Version("2.17")),
            Ignore(
                "unstable-torch-symbol",
                "migration to the stable ABI in progress",
                "x/_C.so",
                migrating=True,
            ),
        ),
    )
    assert str(config.torch) == ">=2.10"


def test_the_nearest_that_has_a_table(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.torch-abi-audit]\nstrict = true\n")
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert find_config(inner).path == tmp_path / "pyproject.toml"
    (inner / "pyproject.toml").write_text("[tool.torch-abi-audit]\n")
    assert find_config(inner) == Config(path=inner / "pyproject.toml")


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ([], "the table must be a table"),
        ({"ignores": []}, "unknown key 'ignores' (expected check, strict, require-stable"),
        ({"strict": "yes"}, "strict: must be true or false"),
        ({"check": "all"}, "check: invalid choice: 'all' (choose from torch, abi3, both)"),
        ({"torch": "2.x"}, "torch: Invalid specifier"),
        ({"min-torch": "two"}, "min-torch: 'two' is not a torch release"),
        ({"migrating": "x"}, "migrating: must be a list"),
        ({"migrating": [1]}, "migrating: an entry must be a pattern or a table"),
        ({"ignore": ["x"]}, "ignore: an entry must be a table"),
        ({"ignore": [{"rule": "x"}]}, "ignore: rule: unknown rule 'x'"),
        (
            {"ignore": [{"rule": "abi3-sufix"}]},
            "ignore: rule: unknown rule 'abi3-sufix' (did you mean abi3-suffix?)",
        ),
        ({"ignore": [{"rule": "abi3-suffix"}]}, "ignore: an entry has no 'reason'"),
        ({"ignore": [{"reason": "x"}]}, "ignore: an entry has no 'rule'"),
        ({"ignore": [{"rule": "abi3-suffix", "reason": ""}]}, "reason: must be a string"),
    ],
)
def test_what_is_wrong_is_said(table: Any, reason: str) -> None:
    with pytest.raises(AuditError) as error:
        parse_config(table)
    assert reason in str(error.value)


def test_files_that_can_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    with pytest.raises(AuditError, match="No such file"):
        read_config(path)
    path.write_text("[tool")
    with pytest.raises(AuditError, match=r"pyproject\.toml: "):
        read_config(path)
    path.write_bytes(b"\xff")
    with pytest.raises(AuditError, match=r"pyproject\.toml: "):
        find_config(tmp_path)
    path.write_text("tool = 1")
    with pytest.raises(AuditError, match=r"no \[tool.torch-abi-audit\] table"):
        read_config(path)


def test_a_folder_in_which_nobody_sees_whether_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may ignore findings, or ask for more."""

    def stat(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", stat)
    with pytest.raises(AuditError) as error:
        find_config(tmp_path)
    assert str(error.value) == f"{tmp_path / 'pyproject.toml'}: Permission denied"


@pytest.mark.parametrize("read", [read_config, lambda path: find_config(path.parent)])
def test_a_byte_order_mark(tmp_path: Path, read: Callable[[Path], Config]) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text(WHOLE, encoding="utf-8-sig")
    config = read(path)
    path.write_text(WHOLE, encoding="utf-8")
    assert config == read(path)
    assert config.strict


def test_options() -> None:
    assert parse_ignore("abi3-suffix") == Ignore("abi3-suffix", "--ignore")
    assert parse_ignore("abi3-suffix:x/*:y") == Ignore("abi3-suffix", "--ignore", "x/*:y")
    with pytest.raises(AuditError, match="unknown rule 'x'"):
        parse_ignore("x")
    assert str(parse_torch("2.10")) == "==2.10"
    assert str(parse_torch(" >=2.10 ")) == ">=2.10"
    assert parse_release("2.10") == Version("2.10")

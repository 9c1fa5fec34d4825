from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.readme import README, limits_table, recipe, rules_table, with_outputs, with_table
from torch_abi_audit.config import read_config

if TYPE_CHECKING:
    from pathlib import Path


def test_the_readme_has_the_rules() -> None:
    text = README.read_text(encoding="utf-8")
    assert rules_table() in text
    assert with_table(text) == text


def test_the_readme_has_the_limits(tmp_path: Path) -> None:
    assert limits_table() in README.read_text(encoding="utf-8")
    path = tmp_path / "pyproject.toml"
    path.write_text(recipe("limits"), encoding="utf-8")
    assert read_config(path).limit == {"symbols": 3 << 20, "seconds": 600}


def test_the_configuration_in_the_readme_is_one(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text(recipe("configuration"), encoding="utf-8")
    config = read_config(path)
    assert str(config.min_torch) == "2.10"
    assert [str(item) for item in config.ignore] == [
        "cuda-build-required:x/_C*.so",
        "unstable-torch-symbol:symbol=c10::MessageLogger::*",
        "unstable-torch-symbol:x/_C.abi3.so",
    ]


@pytest.mark.real
def test_the_readme_shows_real_output() -> None:
    text = README.read_text(encoding="utf-8")
    assert text.count("<!-- output of: ") == 4
    assert with_outputs(text) == text

from __future__ import annotations

import pytest

from tests.readme import README, rules_table, with_outputs, with_table


def test_the_readme_has_the_rules() -> None:
    text = README.read_text(encoding="utf-8")
    assert rules_table() in text
    assert with_table(text) == text


@pytest.mark.real
def test_the_readme_shows_real_output() -> None:
    text = README.read_text(encoding="utf-8")
    assert text.count("<!-- output of: ") == 2
    assert with_outputs(text) == text

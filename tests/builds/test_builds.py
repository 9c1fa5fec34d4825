"""A few of the builds, with the one release of torch; `python -m tests.builds` does them all."""

from __future__ import annotations

import pytest

from tests.builds.__main__ import DEFAULT
from tests.builds.cases import Case, cases
from tests.builds.following import follow
from torch_abi_audit import Verdict

pytestmark = pytest.mark.builds

# For one torch and for many, with code of the unstable ABI, and linked in the wrong order.
CHOSEN = ("stable-2.10", "leftover", "wrong-order")


@pytest.mark.parametrize(
    "case", [case for case in cases(DEFAULT) if case.name in CHOSEN], ids=lambda case: case.name
)
def test_the_audit_the_loader_and_the_operators_agree(case: Case) -> None:
    rows = list(follow(case, DEFAULT, [DEFAULT]))
    assert [f"{row.state}: {text}" for row in rows for text in row.wrong] == []
    # As built, with each fix of the build, and with that of the metadata.
    assert len(rows) == 2 + len(case.changes)
    assert rows[0].report["verdict"] == Verdict.UNSAFE
    assert rows[-1].report["verdict"] == Verdict.SAFE
    assert [row.outcomes[DEFAULT].returned for row in rows] == [case.calls] * len(rows)

"""Reading and judging one published wheel."""

from __future__ import annotations

import pytest

from tests.builders import TEST_WHEELS, published_file
from torch_abi_audit.abi import demangler
from torch_abi_audit.budget import Limits
from torch_abi_audit.cache.facts import encode_facts
from torch_abi_audit.index.sources import Sources
from torch_abi_audit.published.task import Task, perform
from torch_abi_audit.survey.wheel import WheelRecord
from torch_abi_audit.targets.wheel import read_wheel

(UNSTABLE,) = (TEST_WHEELS / "layout-changed").glob("*.whl")
(CORRUPT,) = (TEST_WHEELS / "corrupt-library").glob("*.whl")


def task(path: object = UNSTABLE, limits: Limits = Limits()) -> Task:  # noqa: B008 -- frozen
    """Return the task of judging a wheel that was read before."""
    facts = encode_facts(read_wheel(path))  # type: ignore[arg-type]
    name = path.name  # type: ignore[attr-defined]
    return Task(published_file(name), Sources((), ()), limits=limits, judge=True, facts=facts)


def test_a_wheel_that_is_judged() -> None:
    outcome = perform(task())
    assert outcome.error is None
    assert outcome.record is not None
    record = WheelRecord.from_json(outcome.record)
    assert (record.filename, record.unstable, record.error) == (UNSTABLE.name, 1, None)


def test_a_library_that_cannot_be_read_is_part_of_the_record() -> None:
    outcome = perform(task(CORRUPT))
    assert outcome.record is not None
    assert WheelRecord.from_json(outcome.record).error is not None


def test_what_the_limits_prevent_is_no_record() -> None:
    """It would be kept, and given to runs with other limits."""
    outcome = perform(task(limits=Limits(steps=1)))
    assert outcome.record is None
    assert "--limit steps=N" in (outcome.error or "")


def test_what_is_not_installed_prevents_no_later_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demangler, "AVAILABLE", False)
    outcome = perform(task())
    assert (outcome.record, outcome.error) == (None, demangler.NEEDED)

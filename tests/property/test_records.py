"""Whatever a record holds, and whatever a cache has instead of one."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import operator

from hypothesis import given
from hypothesis import strategies as st

from torch_abi_audit.model import (
    Cause,
    LayoutStatus,
    Reason,
    ReleaseStatus,
    Severity,
    Sign,
    TorchAbi,
    Verdict,
)
from torch_abi_audit.survey import TorchCell, WheelRecord
from torch_abi_audit.survey.wheel import FailedRule

TEXT = st.text()
NUMBER = st.integers(0, 10**6)
VERSION = st.sampled_from(
    ["1.0", "2.10.0", "2.9.1", "0.1.dev3", "1!2.0rc1", "2.0+cu128", "1.post2"]
)
VERSIONS = st.lists(VERSION).map(tuple)
REASON = st.builds(Reason, st.sampled_from(Cause), TEXT, TEXT)
CELL = st.builds(
    TorchCell,
    st.sampled_from(ReleaseStatus),
    st.none() | st.sampled_from(LayoutStatus),
    st.lists(REASON, max_size=2).map(tuple),
)
RECORD = st.builds(
    WheelRecord,
    filename=TEXT,
    project=TEXT,
    version=VERSION,
    pythons=st.lists(st.sampled_from(["3.9", "3.14", "3.13t"])).map(tuple),
    platforms=st.lists(TEXT).map(tuple),
    verdict=st.sampled_from(Verdict),
    summary=TEXT,
    abi=st.sampled_from(TorchAbi),
    stable=NUMBER,
    unstable=NUMBER,
    libraries=NUMBER,
    torch_floor=st.none() | VERSION,
    built_with=VERSIONS,
    built_sign=st.none() | st.sampled_from(Sign),
    requires_torch=st.none() | TEXT,
    requires_python=st.none() | TEXT,
    releases=st.dictionaries(VERSION, CELL),
    asked=VERSIONS,
    cuda=st.lists(NUMBER).map(tuple),
    cuda_build=st.booleans(),
    failed=st.lists(st.builds(FailedRule, TEXT, st.sampled_from(Severity), TEXT)).map(tuple),
    error=st.none() | TEXT,
    uploaded=st.none() | st.dates().map(operator.methodcaller("isoformat")),
    size=st.none() | NUMBER,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=8,
)


@given(RECORD)
def test_a_record_survives_the_round_trip(record: WheelRecord) -> None:
    found = WheelRecord.from_json(record.to_json())
    assert found == record
    assert list(found.releases) == list(record.releases)
    for name in (item.name for item in dataclasses.fields(record)):
        assert type(getattr(found, name)) is type(getattr(record, name))


@given(RECORD, st.sampled_from([item.name for item in dataclasses.fields(WheelRecord)]), JSON)
def test_what_is_read_is_a_record_or_an_error(
    record: WheelRecord, name: str, value: object
) -> None:
    plain = {**json.loads(record.to_json()), name: value}
    with contextlib.suppress(ValueError):
        found = WheelRecord.from_json(json.dumps(plain))
        assert json.loads(found.to_json()) == plain


@given(st.text() | st.binary())
def test_any_text_is_an_error(text: str | bytes) -> None:
    with contextlib.suppress(ValueError):
        WheelRecord.from_json(text)
        raise AssertionError(text)

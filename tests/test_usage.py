import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.errors import CallInvalid
from accounting.money import Money
from accounting.usage import (
    COUNTED,
    MAX_COUNT,
    MAX_TAGS,
    MAX_TEXT,
    Call,
    Outcome,
    Quantities,
    Usage,
    UsageSource,
    clean,
    id_time,
    new_id,
    sub_id,
)

ANY_TEXT = st.text(st.characters(exclude_categories=[]), max_size=40)
TEXT = ANY_TEXT.map(lambda text: clean(text) or "")
MAYBE_TEXT = st.none() | TEXT
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - gets it
WHOLE = st.integers(0, 2**53)
COUNT = st.none() | st.integers(0, MAX_COUNT)
COST = st.builds(Money, st.decimals(0, 10**9, places=15, allow_nan=False), st.sampled_from(["CNY", "USD"]))

USAGES = st.builds(
    Usage, source=st.sampled_from(UsageSource), anomalies=st.lists(TEXT, max_size=3).map(tuple), block=MAYBE_TEXT,
    provider_cost=st.none() | COST, **dict.fromkeys(COUNTED, COUNT),
)  # fmt: skip
CALLS = st.builds(
    Call, id=st.builds(new_id), started_at=TIMES, provider=TEXT, endpoint=TEXT,
    outcome=st.none() | st.sampled_from(Outcome), request_model=MAYBE_TEXT, response_model=MAYBE_TEXT,
    response_id=MAYBE_TEXT, key_fingerprint=TEXT, key_last4=TEXT, project=MAYBE_TEXT, project_source=MAYBE_TEXT,
    user=MAYBE_TEXT, tags=st.dictionaries(TEXT, TEXT, max_size=4), attempt=WHOLE, link_id=st.none() | st.uuids(),
    stream=st.booleans(), effort=MAYBE_TEXT, max_tokens=st.none() | WHOLE, first_token_at=st.none() | TIMES,
    ended_at=st.none() | TIMES, bytes_in=WHOLE, bytes_out=WHOLE, http_status=st.none() | st.integers(100, 599),
    finish_reason=MAYBE_TEXT, parent_id=st.none() | st.uuids(), service_tier=MAYBE_TEXT, script=MAYBE_TEXT,
    usage=USAGES,
)  # fmt: skip

A_CALL = Call(id=new_id(), started_at=datetime(2026, 11, 23, 12, tzinfo=UTC), provider="wcode", endpoint="chat")


@given(CALLS)
def test_a_call_survives_its_journey_whatever_its_text(call: Call) -> None:
    payload = call.encode()
    assert Call.decode(payload) == call
    assert Call.decode(payload).encode() == payload


@given(ANY_TEXT)
def test_cleaned_text_is_kept_by_every_database(text: str) -> None:
    cleaned = clean(text)
    assert cleaned is not None
    assert len(cleaned) <= MAX_TEXT
    assert "\0" not in cleaned
    cleaned.encode("utf-8")
    assert clean(cleaned) == cleaned


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=MAX_TEXT))
def test_text_that_every_database_keeps_is_left_as_it_is(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"])
@pytest.mark.parametrize("where", ["request_model", "tag", "tag value", "anomaly free block"])
def test_text_that_no_database_keeps_is_rejected_before_it_gets_there(text: str, where: str) -> None:
    call = {
        "request_model": replace(A_CALL, request_model=text),
        "tag": replace(A_CALL, tags={text: "x"}),
        "tag value": replace(A_CALL, tags={"x": text}),
        "anomaly free block": replace(A_CALL, usage=Usage(block=text)),
    }[where]
    with pytest.raises(CallInvalid):
        Call.decode(call.encode())


def test_a_call_keeps_the_tags_of_its_client_and_those_of_its_block() -> None:
    tags = {f"tag-{number}": "x" for number in range(2 * MAX_TAGS)}
    assert Call.decode(replace(A_CALL, tags=tags).encode()).tags == tags
    with pytest.raises(CallInvalid, match="tags: expected at most"):
        Call.decode(replace(A_CALL, tags={**tags, "one more": "x"}).encode())


@pytest.mark.parametrize(("change", "says"), [
    ({"id": None}, "id: missing"),
    ({"id": "17"}, "id: '17' is no UUID"),
    ({"started_at": "yesterday"}, "started_at: 'yesterday' is no ISO time"),
    ({"started_at": "2026-11-23T12:00:00"}, "has no offset"),
    ({"provider": 7}, "provider: expected str, found int"),
    ({"stream": 1}, "stream: expected bool, found int"),
    ({"attempt": True}, "attempt: expected int, found bool"),
    ({"bytes_in": -1}, "bytes_in: -1 is out of range"),
    ({"max_tokens": 2**53 + 1}, "out of range"),
    ({"outcome": "lost"}, "outcome: 'lost' is none of unknown"),
    ({"usage": {"input_tokens": "15"}}, "input_tokens: expected int"),
    ({"usage": {"provider_cost": [0.1, "USD"]}}, "provider_cost: expected"),
    ({"usage": {"provider_cost": ["0.1", "dollars"]}}, "provider_cost: expected"),
    ({"usage": {"provider_cost": []}}, "provider_cost: expected"),
    ({"usage": {"anomalies": [1]}}, "anomalies: expected texts"),
    ({"tags": {"a": 1}}, "tags: expected"),
    ({"mood": "good"}, "Unknown fields.*Upgrade"),
])  # fmt: skip
def test_a_call_that_is_off_is_rejected_with_the_field_named(change: dict[str, Any], says: str) -> None:
    record = json.loads(A_CALL.encode()) | change
    with pytest.raises(CallInvalid, match=says):
        Call.decode(json.dumps(record).encode())


@given(st.binary(max_size=60) | st.sampled_from([b"[]", b"[" * 100_000, b"1" * 5000, b"NaN", b'{"id":1e999}']))
def test_bytes_that_are_no_call_are_rejected_and_nothing_else_is_raised(payload: bytes) -> None:
    with pytest.raises(CallInvalid):
        Call.decode(payload)


def test_unknown_counts_add_nothing_and_stay_unknown() -> None:
    usage = Usage(input_tokens=15)
    assert usage.quantities == Quantities(input=15)
    assert usage.output_tokens is None


def test_an_id_tells_its_time_and_ids_rise() -> None:
    before = datetime.now(UTC)
    ids = [new_id() for _ in range(1000)]
    time.sleep(0.002)
    assert before - timedelta(milliseconds=1) <= id_time(ids[0]) <= datetime.now(UTC)
    assert len(set(ids)) == 1000
    # In one millisecond's fraction (a quarter of a microsecond) two ids are in no order.
    assert [id_.int >> 64 for id_ in ids] == sorted(id_.int >> 64 for id_ in ids)


def test_an_id_is_a_uuid_of_version_7() -> None:
    id_ = new_id()
    assert (id_.version, id_.variant) == (7, UUID(int=0x8 << 60).variant)


@given(st.integers(1, 9), st.integers(1, 9))
def test_sub_calls_have_ids_of_their_calls_millisecond_and_the_same_each_time(one: int, other: int) -> None:
    parent = new_id()
    assert id_time(sub_id(parent, one)) == id_time(parent)
    assert (sub_id(parent, one).version, sub_id(parent, one).variant) == (7, parent.variant)
    assert (sub_id(parent, one) == sub_id(parent, other)) == (one == other)
    assert sub_id(parent, one) not in (parent, sub_id(new_id(), one))


def test_what_is_unknown_of_a_call_is_not_written_so_that_an_older_program_reads_the_rest() -> None:
    record = json.loads(A_CALL.encode())
    assert record.keys().isdisjoint({"parent_id", "service_tier", "script", "outcome"})
    assert None not in record.values()

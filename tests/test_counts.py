"""What is made of the numbers in a provider's block."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.counts import MAX_BLOCK_TEXT, Counts, Reading, block_text, watched, within
from accounting.usage import MAX_BLOCK, MAX_COUNT

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.decimals(allow_nan=False)
    | st.integers(0, 10**15).map(str),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
)  # fmt: skip


@given(JSON, st.lists(st.sampled_from("abc"), min_size=1, max_size=3))
def test_a_count_is_a_whole_number_in_range_or_unknown_whatever_was_sent(block: object, path: list[str]) -> None:
    count = Counts().read(block, *path)
    assert count is None or (type(count) is int and 0 <= count <= MAX_COUNT)


@pytest.mark.parametrize(("value", "count", "anomalies"), [
    (0, 0, []), (15, 15, []), (None, None, []), (MAX_COUNT, MAX_COUNT, []),
    (MAX_COUNT + 1, None, ["n_too_large"]), (10**400, None, ["n_too_large"]), (-1, None, ["n_negative"]),
    ("12", 12, ["n_text"]), ("-3", None, ["n_text", "n_negative"]), ("twelve", None, ["n_unreadable"]),
    ("9" * 5000, None, ["n_unreadable"]), (True, None, ["n_unreadable"]), ([1], None, ["n_unreadable"]),
    (2.5, 3, ["n_fraction"]), (Decimal("2.5"), 3, ["n_fraction"]), (1e300, None, ["n_too_large"]),
    (float("nan"), None, ["n_unreadable"]), (float("inf"), None, ["n_unreadable"]),
    (Decimal("1e999999999"), None, ["n_too_large"]), (Decimal("-1e999999999"), None, ["n_negative"]),
    (Decimal("9" * 5000), None, ["n_too_large"]), (Decimal("sNaN"), None, ["n_unreadable"]),
    (Decimal("-0.5"), None, ["n_negative"]), (-1.5, None, ["n_negative"]), ("1e3", None, ["n_unreadable"]),
])  # fmt: skip
def test_a_count_that_is_off_is_named(value: object, count: int | None, anomalies: list[str]) -> None:
    counts = Counts()
    assert counts.read({"n": value}, "n") == count
    assert counts.anomalies == anomalies


def test_a_part_larger_than_its_whole_is_clamped_and_named_once() -> None:
    counts = Counts()
    assert within(229, 210, counts, "reasoning_exceeds_output") == 210
    assert within(230, 210, counts, "reasoning_exceeds_output") == 210
    assert within(None, 210, counts, "x") is None
    assert within(5, None, counts, "x") == 5
    assert counts.anomalies == ["reasoning_exceeds_output"]


def test_a_usage_block_is_kept_but_bounded() -> None:
    counts = Counts()
    assert block_text({"n": 1}, counts) == '{"n":1}'
    assert len(block_text({"n": [1000] * MAX_BLOCK}, counts) or "") == MAX_BLOCK
    assert counts.anomalies == ["block_too_large"]


TEXTS = st.text(max_size=MAX_BLOCK_TEXT) | st.text(st.sampled_from('a"\\:é😀\ud800'), max_size=2 * MAX_BLOCK_TEXT)


@given(st.recursive(TEXTS | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner)))
def test_a_long_text_in_a_block_is_cut_and_nothing_else(block: object) -> None:
    counts = Counts()
    kept = json.loads(block_text([block], counts))[0]
    assert kept == with_texts_cut(block)
    assert counts.anomalies == ["block_text_cut"] * (kept != block)


def with_texts_cut(value: object) -> object:
    if isinstance(value, dict):
        return {name: with_texts_cut(each) for name, each in value.items()}
    if isinstance(value, list):
        return [with_texts_cut(each) for each in value]
    is_long = isinstance(value, str) and len(value) > MAX_BLOCK_TEXT
    return f"{str(value)[:MAX_BLOCK_TEXT]}…" if is_long else value


def test_a_number_in_a_block_stays_however_long_it_is() -> None:
    counts, digits = Counts(), "0." + "1" * 99
    block = {"cost": Decimal(digits), "n" * 99: int("1" * 99), "said": "no" * 99}
    assert block_text(block, counts) == f'{{"cost":"{digits}","{"n" * 99}":{"1" * 99},"said":"{"no" * 32}\\u2026"}}'
    assert counts.anomalies == ["block_text_cut"]


@given(JSON)
def test_a_usage_block_is_written_as_python_does(block: object) -> None:
    text = block_text(block, Counts())
    assert text == json.dumps(block, separators=(",", ":"), default=str)[:MAX_BLOCK]


def test_whoever_watches_is_told_what_was_read_from_where() -> None:
    block = {"prompt_tokens": 15, "details": {"cached_tokens": "7", "audio_tokens": -1}}
    with watched() as readings:
        counts = Counts()
        counts.read(block, "prompt_tokens")
        counts.read(block, "details", "cached_tokens")
        counts.read(block, "details", "audio_tokens")
        counts.read(block, "completion_tokens")
    assert readings == [
        Reading(("prompt_tokens",), 15, 15),
        Reading(("details", "cached_tokens"), "7", 7),
        Reading(("details", "audio_tokens"), -1, None),
    ]


def test_what_is_read_below_a_place_is_told_with_the_place_and_noted_with_the_rest() -> None:
    with watched() as readings:
        counts = Counts()
        assert counts.below("iterations[0]").read({"input_tokens": "7"}, "input_tokens") == 7
    assert readings == [Reading(("iterations[0]", "input_tokens"), "7", 7)]
    assert counts.anomalies == ["input_tokens_text"]

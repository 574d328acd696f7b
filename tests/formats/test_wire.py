"""JSON that somebody else wrote: read whatever is in it, and what is off about it kept."""

import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.counts import Counts, Doubled
from accounting.extraction import extract
from accounting.formats import loads
from accounting.formats.wire import adds_up, clamped, stated_usage
from accounting.limits import MAX_DEPTH
from accounting.usage import MAX_COUNT, Usage, UsageSource

LONG = "9" * 5000


@pytest.fixture
def deeper() -> Iterator[None]:
    """A program that has raised Python's recursion limit."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(10**6)
    yield
    sys.setrecursionlimit(before)


@pytest.fixture
def longer() -> Iterator[None]:
    """A program that has taken off Python's limit for the digits of a whole number."""
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    yield
    sys.set_int_max_str_digits(before)


def of(usage: str) -> Usage:
    """What is read of a chat completion whose usage block is this text."""
    return extract(f'{{"choices": [], "usage": {usage}}}')


@pytest.mark.parametrize(
    ("number", "value"),
    [
        (LONG, Decimal(LONG)),
        (f"-{LONG}", Decimal(f"-{LONG}")),
        ("1e9999999999999999999", "1e9999999999999999999"),
        ("1.5", Decimal("1.5")),
        ("9" * 4300, int("9" * 4300)),
    ],
)
def test_a_number_beyond_reason_does_not_cost_us_the_rest(number: str, value: object) -> None:
    assert loads(f'{{"a": {number}, "b": 1}}') == {"a": value, "b": 1}


@pytest.mark.usefixtures("longer")
def test_a_number_of_millions_of_digits_takes_linear_time() -> None:
    started = time.perf_counter()
    assert isinstance(loads("9" * 2_000_000), Decimal)
    assert time.perf_counter() - started < 5  # as a whole number it would take minutes


@pytest.mark.usefixtures("deeper")
@pytest.mark.parametrize("unit", ["[", '{"a":', '[{"b":'])
def test_no_nesting_ends_the_process_however_deep_python_would_go(unit: str) -> None:
    assert loads(unit * 200_000) is None


@pytest.mark.usefixtures("deeper")
def test_what_is_long_is_not_deep() -> None:
    wide = "[" + '[{"a": "]}[[{{"}, "\\"[["],' * 5000 + "[]]"
    found: Any = loads(wide)
    assert len(found) == 5001
    assert loads("[" * MAX_DEPTH + "]" * MAX_DEPTH) is not None
    assert loads("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)) is None


def test_a_nesting_that_python_refuses_is_nothing() -> None:
    assert loads("[" * 100_000) is None


@pytest.mark.parametrize(
    ("text", "is_doubled"),
    [
        ('{"usage": {"a": 1, "b": 2}}', False),
        ('{"usage": {"a": {"n": 1}, "b": {"n": 2}}}', False),
        ('{"usage": {"a": 1, "a": 2}}', True),
        ('{"usage": {"a": 1, "a": 1}}', True),
        ('{"usage": {"a": {"b": {"n": 1, "n": 2}}}}', True),
        ('{"usage": {"a": 1}, "usage": {"a": 2}}', True),
        ('{"id": 1, "usage": {"a": 1}, "id": 2}', False),
    ],
)
def test_a_usage_block_that_says_something_twice_is_marked(text: str, is_doubled: bool) -> None:
    found: Any = loads(text)
    assert isinstance(found["usage"], Doubled) == is_doubled


def test_the_last_of_two_counts_holds_and_is_flagged() -> None:
    usage = of('{"prompt_tokens": 1, "prompt_tokens": 15, "completion_tokens": 210, "total_tokens": 225}')
    assert (usage.input_tokens, usage.output_tokens, usage.anomalies) == (15, 210, ("duplicate_keys",))


def test_the_last_of_two_usage_blocks_holds_and_is_flagged() -> None:
    usage = extract(
        '{"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1},'
        ' "usage": {"prompt_tokens": 15, "completion_tokens": 210}}'
    )
    assert (usage.input_tokens, usage.output_tokens, usage.anomalies) == (15, 210, ("duplicate_keys",))


@pytest.mark.parametrize(
    ("stated", "count", "anomalies"),
    [
        ("12", 12, ()),
        ('"12"', 12, ("prompt_tokens_text",)),
        ("11.2", 12, ("prompt_tokens_fraction",)),
        (str(MAX_COUNT), MAX_COUNT, ()),
        (str(MAX_COUNT + 1), None, ("prompt_tokens_too_large", "input_missing")),
        (LONG, None, ("prompt_tokens_too_large", "input_missing")),
        ("1e400", None, ("prompt_tokens_too_large", "input_missing")),
        ("1e9999999999999999999", None, ("prompt_tokens_unreadable", "input_missing")),
        ("-5", None, ("prompt_tokens_negative", "input_missing")),
        ("NaN", None, ("prompt_tokens_unreadable", "input_missing")),
        ("-Infinity", None, ("prompt_tokens_unreadable", "input_missing")),
        ("true", None, ("prompt_tokens_unreadable", "input_missing")),
        ("[1]", None, ("prompt_tokens_unreadable", "input_missing")),
        ('"\\ud800"', None, ("prompt_tokens_unreadable", "input_missing")),
        ("null", None, ("input_missing",)),
    ],
)
def test_each_contradiction_is_kept_and_clamped_and_named(
    stated: str, count: int | None, anomalies: tuple[str, ...]
) -> None:
    usage = of(f'{{"prompt_tokens": {stated}, "completion_tokens": 4}}')
    assert (usage.input_tokens, usage.output_tokens, usage.anomalies) == (count, 4, anomalies)
    assert usage.source == (UsageSource.PARTIAL if count is None else UsageSource.PROVIDER)
    assert usage.block is not None
    assert stated.strip('"').replace("1e", "1E+")[:4000] in usage.block.replace("1e", "1E+")


STATED = {
    "input_tokens": "input_tokens",
    "cache_read": "cache_read_tokens",
    "cache_write": "cache_write_tokens",
    "cache_write_1h": "cache_write_1h_tokens",
    "audio_input": "audio_input_tokens",
    "image_input": "image_input_tokens",
    "output_tokens": "output_tokens",
    "reasoning": "reasoning_tokens",
    "audio_output": "audio_output_tokens",
    "image_output": "image_output_tokens",
    "web_searches": "web_searches",
    "images": "images",
    "audio_seconds": "audio_seconds",
}
PART = st.none() | st.integers(0, 9)
WHOLE = st.none() | st.integers(0, 40) | st.integers(MAX_COUNT - 1, MAX_COUNT + 1)


@given(st.fixed_dictionaries(dict.fromkeys(STATED, PART) | dict.fromkeys(("input_tokens", "output_tokens"), WHOLE)))
def test_what_adds_up_is_taken_as_stated_and_would_be_left_alone_by_clamping(stated: dict[str, Any]) -> None:
    found = stated_usage({"n": 1}, Counts(), **stated)
    as_stated = Usage(**{STATED[name]: count for name, count in stated.items()}, requests=1, block='{"n":1}')
    as_stated = as_stated._replace(source=UsageSource.PROVIDER)
    assert found == (as_stated if adds_up(as_stated) else clamped(as_stated, Counts()))
    assert not adds_up(as_stated) or clamped(as_stated, Counts()) == as_stated
    assert adds_up(found) or None in (found.input_tokens, found.output_tokens)


def test_what_somebody_else_parsed_may_be_anything() -> None:
    odd: dict[object, object] = {"prompt_tokens": 1, "completion_tokens": 2, (1, 2): object}
    assert extract({"choices": [], "usage": odd}).anomalies == ("block_unreadable",)
    endless: dict[str, object] = {"prompt_tokens": 1, "completion_tokens": 2}
    endless["self"] = endless
    assert extract({"choices": [], "usage": endless}).anomalies == ("block_unreadable",)

from collections.abc import Mapping
from decimal import Decimal
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting import formats
from accounting.bounds import Bounds, bounds
from accounting.usage import MAX_COUNT
from tests.formats.test_asks import LIMITED

CHAT = "chat/completions"


@pytest.mark.parametrize("name", LIMITED)
def test_every_bound_that_a_format_reads_is_one_that_is_known_to_be_kept_to(name: str) -> None:
    provider, path, body = LIMITED[name]
    found = formats.find("POST", path, provider)
    assert found is not None
    assert bounds(provider, found.endpoint, body) == Bounds(9)


@pytest.mark.parametrize(
    ("endpoint", "fields", "longest"),
    [
        (CHAT, {"max_completion_tokens": 1, "max_tokens": 8_000}, 8_000),
        (CHAT, {"max_completion_tokens": 8_000, "max_tokens": 1}, 8_000),
        (CHAT, {"max_completion_tokens": None, "max_tokens": 5}, 5),
        (CHAT, {"max_tokens": 2**60}, MAX_COUNT),
        (CHAT, {}, 0),
        (
            "*:generateContent",
            {"generationConfig": {"maxOutputTokens": 10}, "generation_config": {"max_output_tokens": 9_999}},
            9_999,
        ),
        ("*:generateContent", {"generationConfig": {"maxOutputTokens": 10, "max_output_tokens": 20}}, 20),
        ("model/*/invoke", {"max_gen_len": 3, "textGenerationConfig": {"maxTokenCount": 30}}, 30),
        (
            "model/*/converse",
            {"inferenceConfig": {"maxTokens": 3}, "additionalModelRequestFields": {"max_tokens": 9}},
            9,
        ),
        ("*:rawPredict", {"max_tokens": 5, "max_output_tokens": 50}, 50),
    ],
)
def test_of_several_bounds_the_largest_counts(endpoint: str, fields: Mapping[str, Any], longest: int) -> None:
    assert bounds("somebody", endpoint, fields) == Bounds(longest)


@pytest.mark.parametrize("odd", [0, -1, True, "8000", Decimal("8000.0"), [8]])
def test_a_bound_that_not_all_servers_read_alike_is_none_whatever_stands_beside_it(odd: object) -> None:
    found = bounds("openai", CHAT, {"max_tokens": odd, "max_completion_tokens": 5})
    assert found == Bounds(5, "its max_tokens is no whole number above 0")


def test_nothing_is_a_bound_where_a_cache_is_warmed_with_it() -> None:
    assert bounds("anthropic", "messages", {"max_tokens": 0}) == Bounds()
    assert bounds("somebody", "messages", {"max_tokens": 0}).loose
    assert bounds("anthropic", "messages", {"max_tokens": -1}).loose


@pytest.mark.parametrize("provider", ["openai", "azure", "xai", "groq", "openrouter", "minimax", "volcengine"])
def test_the_newer_name_holds_where_the_provider_documents_it(provider: str) -> None:
    assert bounds(provider, CHAT, {"max_completion_tokens": 10}) == Bounds(10)
    assert bounds(provider, "completions", {"max_completion_tokens": 10}).loose


@pytest.mark.parametrize(
    ("provider", "endpoint", "fields", "loose"),
    [
        (
            "deepseek",
            CHAT,
            {"max_completion_tokens": 10},
            "deepseek is not known to keep to max_completion_tokens, but to max_tokens",
        ),
        (
            "openai",
            CHAT,
            {"max_output_tokens": 10, "num_predict": 10},
            "openai is not known to keep to num_predict or max_output_tokens, but to max_tokens",
        ),
        (
            "openai",
            "responses",
            {"max_tokens": 10},
            "openai is not known to keep to max_tokens, but to max_output_tokens",
        ),
        ("openai", "responses/compact", {"max_output_tokens": 10}, "openai is not known to keep to max_output_tokens"),
    ],
)
def test_a_name_that_the_endpoint_does_not_know_is_told(
    provider: str, endpoint: str, fields: Mapping[str, Any], loose: str
) -> None:
    assert bounds(provider, endpoint, fields) == Bounds(10, loose)


names = st.sampled_from(["max_tokens", "max_completion_tokens", "max_output_tokens", "max_new_tokens"])
values = st.none() | st.integers(-1, 50) | st.sampled_from(["40", Decimal("60.0"), True])


def as_read(value: Any) -> float:
    """By a server that takes what it can for a number, and what is not above 0 for no bound."""
    count = int(value)
    return count if count > 0 else inf


@given(st.dictionaries(names, values), st.data())
def test_whichever_name_a_server_reads_no_answer_is_longer_than_a_bound_that_holds(
    fields: dict[str, Any], data: st.DataObject
) -> None:
    found = bounds("deepseek", CHAT, fields)
    stated = [each for each in fields.values() if each is not None]
    if stated and not found.loose:
        assert as_read(data.draw(st.sampled_from(stated))) <= found.longest
        assert fields.get("max_tokens") is not None

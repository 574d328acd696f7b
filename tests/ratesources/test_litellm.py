"""LiteLLM's price map as lines: what of it is taken, and what is left out and why."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.errors import RateCardError
from accounting.hours import hours
from accounting.money import plain
from accounting.rates import Rate
from accounting.ratesources import litellm
from accounting.ratesources.listing import Listing
from accounting.resolution import RateBook
from tests.books import at


def listing(**entries: Any) -> Listing:
    """Of entries by the model, each of openai unless it says otherwise."""
    found = {name: {"litellm_provider": "openai", "mode": "chat", **entry} for name, entry in entries.items()}
    return litellm.read(json.dumps(found), "map.json")


def only(**entry: Any) -> Rate:
    (line,) = listing(m=entry).lines
    return line


def per_million(price: Decimal | None) -> str:
    return "none" if price is None else plain(price * 1000)


FREE = Decimal(0)
TOKENS = {"input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05}


def test_a_price_per_token_is_one_per_1000_to_the_digit() -> None:
    text = '{"m": {"litellm_provider": "openai", "input_cost_per_token": 1.23456e-07, "output_cost_per_token": 3}}'
    (line,) = litellm.read(text, "map.json").lines
    assert (line.input_per_1k, line.output_per_1k) == (Decimal("0.000123456"), Decimal(3000))
    assert (line.provider, line.model, line.currency, line.source) == ("openai", "m", "USD", "litellm")


def test_every_class_of_tokens_has_its_price() -> None:
    line = only(
        **TOKENS,
        cache_read_input_token_cost=1e-06,
        cache_creation_input_token_cost=2e-06,
        cache_creation_input_token_cost_above_1hr=3e-06,
        output_cost_per_reasoning_token=4e-06,
        input_cost_per_audio_token=5e-06,
        input_cost_per_image_token=6e-06,
        output_cost_per_audio_token=7e-06,
        output_cost_per_image_token=8e-06,
        search_context_cost_per_query={"search_context_size_low": 0.01, "search_context_size_high": 0.01},
    )
    prices = [line.cache_read_per_1k, line.cache_write_per_1k, line.cache_write_1h_per_1k, line.reasoning_per_1k]
    assert prices == [Decimal(n) / 1000 for n in (1, 2, 3, 4)]
    prices = [line.audio_input_per_1k, line.image_input_per_1k, line.audio_output_per_1k, line.image_output_per_1k]
    assert prices == [Decimal(n) / 1000 for n in (5, 6, 7, 8)]
    assert line.web_search_per_1k == 10


def test_tiers_and_sizes_are_lines_of_their_own() -> None:
    entry = {
        **TOKENS,
        "input_cost_per_token_above_200k_tokens": 5e-06,
        "input_cost_per_token_batches": 1.25e-06,
        "output_cost_per_token_priority": 2e-05,
        "input_cost_per_token_above_200k_tokens_priority": 9e-06,
    }
    book = RateBook(listing(m=entry).lines)

    def prices(tier: str) -> list[str]:
        found = [book.find("openai", "m", at("2026-11-23"), tokens, tier) for tokens in (200_000, 200_001)]
        return [f"{per_million(rate.input_per_1k)} {per_million(rate.output_per_1k)}" for rate in found if rate]

    assert prices("") == ["2.5 10", "5 10"]
    assert prices("batch") == ["1.25 5", "1.25 5"]
    assert prices("priority") == ["2.5 20", "9 20"]
    assert book.find("openai", "m", at("2026-11-23"), 0, "flex") is None


def test_a_batch_has_its_own_prices_alone_and_half_of_the_output() -> None:
    """What was cached is input like any other there, unless a batch has a price for it."""
    entry = {
        **TOKENS,
        "cache_read_input_token_cost": 1e-06,
        "input_cost_per_image_token": 5e-06,
        "output_cost_per_image_token": 3e-05,
        "input_cost_per_token_batches": 1.25e-06,
    }
    batch = RateBook(listing(m=entry).lines).find("openai", "m", at("2026-11-23"), 0, "batch")
    assert batch is not None
    assert (batch.cache_read_per_1k, batch.image_input_per_1k) == (None, None)
    assert (per_million(batch.output_per_1k), per_million(batch.image_output_per_1k)) == ("5", "15")


def test_a_batch_without_a_price_of_input_costs_half() -> None:
    entry = {**TOKENS, "cache_read_input_token_cost": 1e-06, "output_cost_per_token_batches": 4e-06}
    batch = RateBook(listing(m=entry).lines).find("openai", "m", at("2026-11-23"), 0, "batch")
    assert batch is not None
    assert [per_million(p) for p in (batch.input_per_1k, batch.cache_read_per_1k, batch.output_per_1k)] == [
        *("1.25", "0.5", "4"),
    ]


def test_at_a_tier_with_a_price_of_output_reasoning_is_output() -> None:
    entry = {**TOKENS, "output_cost_per_reasoning_token": 2e-05, "output_cost_per_token_flex": 5e-06}
    lines = {line.service_tier: line for line in listing(m=entry).lines}
    assert per_million(lines[""].reasoning_per_1k) == "20"
    assert lines["flex"].reasoning_per_1k is None
    with_own = listing(m={**entry, "output_cost_per_reasoning_token_flex": 9e-06}).lines
    assert [per_million(line.reasoning_per_1k) for line in with_own] == ["20", "9"]


def test_with_fireworks_cached_tokens_cost_half_where_nothing_else_is_said() -> None:
    assert only(**TOKENS, litellm_provider="fireworks_ai").cache_read_per_1k == Decimal("0.00125")
    said = only(**TOKENS, litellm_provider="fireworks_ai", cache_read_input_token_cost=1e-06)
    assert said.cache_read_per_1k == Decimal("0.001")


def test_with_xai_a_call_of_just_the_size_is_a_large_one() -> None:
    lines = listing(m={**TOKENS, "litellm_provider": "xai", "input_cost_per_token_above_200k_tokens": 5e-06}).lines
    assert [line.context_above for line in lines] == [0, 199_999]


def test_a_table_of_steps_is_a_line_a_step() -> None:
    steps = [{"range": [start, start * 2], "input_cost_per_token": start * 1e-12} for start in (0, 32_000, 128_000)]
    lines = listing(m={"tiered_pricing": steps, "output_cost_per_token": 1e-06}).lines
    found = [(line.context_above, per_million(line.input_per_1k)) for line in lines]
    assert found == [(0, "0"), (32_000, "0.032"), (128_000, "0.128")]
    assert {line.output_per_1k for line in lines} == {Decimal("0.001")}


def test_off_peak_prices_hold_at_their_hours() -> None:
    windows = [
        {"hours_utc": ["10:00-00:00", "02:00-03:00"], "weekdays": [1, 2, 3, 4, 5]},
        {"hours_utc": "00:00-00:00", "weekdays": [6, 7]},
    ]
    peak, *off = listing(
        m={**TOKENS, "off_peak_pricing": {"input_cost_per_token": 1e-06, "windows": windows[:1]}}
    ).lines
    assert (peak.hours, peak.input_per_1k) == (None, Decimal("0.0025"))
    assert {line.input_per_1k for line in off} == {Decimal("0.001")}
    weekend = listing(m={**TOKENS, "off_peak_pricing": {"output_cost_per_token": 0, "windows": windows[1:]}}).lines[1]
    assert weekend.hours == hours("sat,sun 00:00-24:00 UTC")


def test_hours_over_midnight_go_on_the_next_weekday_that_is_named() -> None:
    """LiteLLM asks for the weekday of the instant, and not of the day on which the hours began."""
    rule = {"hours_utc": "22:00-03:00", "weekdays": [1, 5]}
    lines = listing(m={**TOKENS, "off_peak_pricing": {"windows": [rule]}}).lines
    assert [str(line.hours) for line in lines[1:]] == ["mon,fri 22:00-24:00 UTC", "mon,fri 00:00-03:00 UTC"]


def test_hours_that_meet_leave_the_list_out() -> None:
    found = listing(m={**TOKENS, "off_peak_pricing": {"hours_utc": ["10:00-12:00", "11:00-13:00"]}})
    assert found.lines == ()
    assert [one.model for one in found.left_out] == ["m"]


def test_hours_on_weekdays_of_another_clock_leave_the_model_out() -> None:
    rule = {"hours_utc": "10:00-12:00", "weekdays": [1]}
    found = listing(m={**TOKENS, "off_peak_pricing": {"weekday_timezone": "Asia/Shanghai", "windows": [rule]}})
    assert found.lines == ()
    assert "weekdays of another" in found.left_out[0].detail


@pytest.mark.parametrize(
    ("house", "key", "named"),
    [
        ("openai", "gpt-4o", ("openai", "gpt-4o")),
        ("azure", "azure/gpt-4o", ("azure", "gpt-4o")),
        ("azure_ai", "azure_ai/gpt-4o", ("azure", "gpt-4o")),
        ("vertex_ai-anthropic_models", "vertex_ai/claude-x", ("vertex", "claude-x")),
        ("bedrock_converse", "anthropic.claude-x-v1:0", ("bedrock", "anthropic.claude-x-v1:0")),
        ("fireworks_ai", "fireworks_ai/accounts/fireworks/models/m", ("fireworks", "accounts/fireworks/models/m")),
        ("openai", "high/gpt-image-1", ("openai", "high/gpt-image-1")),
    ],
)
def test_providers_and_models_have_the_names_that_calls_give_them(house: str, key: str, named: tuple[str, str]) -> None:
    (line,) = listing(**{key: {**TOKENS, "litellm_provider": house}}).lines
    assert (line.provider, line.model) == named


def test_what_is_charged_by_the_second_or_the_image_alone_costs_nothing_by_tokens() -> None:
    spoken = only(mode="audio_transcription", input_cost_per_second=0.0001, output_cost_per_second=0.0)
    assert (spoken.audio_second_per_1k, spoken.input_per_1k, spoken.output_per_1k) == (Decimal("0.1"), FREE, FREE)
    drawn = only(mode="image_generation", output_cost_per_image=0.04)
    assert (drawn.image_per_1k, drawn.output_per_1k) == (Decimal(40), FREE)


def test_images_with_a_price_of_tokens_have_none_beside_it() -> None:
    found = listing(m={"mode": "image_generation", "output_cost_per_image": 0.04, "output_cost_per_image_token": 4e-05})
    assert [(line.image_per_1k, line.output_per_1k) for line in found.lines] == [(None, Decimal("0.04"))]
    assert [one.name for one in found.left_out] == ["output_cost_per_image"]


def test_a_line_with_too_many_decimals_is_refused_with_its_list_and_others_are_taken() -> None:
    found = listing(
        fine={**TOKENS, "input_cost_per_token_batches": 1.0000000000001e-06},
        none={**TOKENS, "cache_read_input_token_cost": 1.0000000000001e-06},
    )
    assert [(line.model, line.service_tier) for line in found.lines] == [("fine", "")]
    assert [(one.model, one.service_tier) for one in found.left_out] == [("fine", "batch"), ("none", "")]
    assert "input is 0.0010000000000001; expected at most 9 decimals" in found.left_out[0].detail


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ({**TOKENS, "input_cost_per_character": 1e-06}, "input_cost_per_character"),
        ({**TOKENS, "input_cost_per_pixel": 1e-06}, "input_cost_per_pixel"),
        ({**TOKENS, "output_cost_per_second": 0.4, "mode": "video_generation"}, "output_cost_per_second"),
        ({**TOKENS, "input_dbu_cost_per_token": 1e-06}, "input_dbu_cost_per_token"),
        (
            {**TOKENS, "search_context_cost_per_query": {"search_context_size_low": 1, "search_context_size_high": 2}},
            "search_context_cost_per_query",
        ),
    ],
)
def test_a_price_that_no_line_can_have_is_left_out_by_name_and_the_others_are_taken(
    entry: dict[str, Any], name: str
) -> None:
    found = listing(m=entry)
    assert [(one.model, one.name) for one in found.left_out] == [("m", name)]
    assert [line.input_per_1k for line in found.lines] == [Decimal("0.0025")]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"input_cost_per_pixel": 1}, "nothing of it can be priced"),
        ({"input_cost_per_token": "cheap"}, "one of its prices is none"),
        ({"input_cost_per_token": True}, "one of its prices is none"),
        ({"input_cost_per_token": -1}, "one of its lines is refused"),
        ({**TOKENS, "tiered_pricing": [{}]}, "one of its prices is none"),
        ({**TOKENS, "litellm_provider": ""}, "it names no provider"),
    ],
)
def test_an_entry_that_can_not_be_priced_is_left_out_with_the_reason(entry: dict[str, Any], said: str) -> None:
    found = listing(m=entry)
    assert found.lines == ()
    assert any(said in one.reason for one in found.left_out)


@pytest.mark.parametrize("entry", [{"output_cost_per_token": 1e-05}, {**TOKENS, "input_cost_per_token": None}])
def test_a_chat_model_without_a_price_of_input_is_left_out_and_is_not_for_nothing(entry: dict[str, Any]) -> None:
    found = listing(m=entry, drawn={**entry, "mode": "image_generation"}, free={**entry, "input_cost_per_token": 0})
    assert {line.model for line in found.lines} == {"drawn", "free"}
    assert [(one.model, one.reason) for one in found.left_out] == [
        ("m", "it has no price of input, which is not for nothing")
    ]


def test_an_entry_with_a_bad_price_is_named_with_it() -> None:
    (left,) = listing(m={**TOKENS, "input_cost_per_token": "abc"}).left_out
    assert left.detail.startswith("openai (m): input_cost_per_token: 'abc'")


@pytest.mark.parametrize("price", ["1e999999", "1e-999999999", "1" * 60, "NaN", "-Infinity"])
def test_a_number_that_is_no_price_leaves_its_entry_out(price: str) -> None:
    said = f'"litellm_provider": "acme", "input_cost_per_token": {price}, "output_cost_per_token_batches": 0'
    found = litellm.read(f'{{"m": {{{said}}}}}', "map.json")
    assert ([line.service_tier for line in found.lines], {one.model for one in found.left_out}) == ([], {"m"})


def test_weekdays_may_be_named() -> None:
    rule = {"hours_utc": "10:00-12:00", "weekdays": ["Mon", "saturday"]}
    assert str(listing(m={**TOKENS, "off_peak_pricing": {"windows": [rule]}}).lines[1].hours) == (
        "mon,sat 10:00-12:00 UTC"
    )


def test_prices_of_nothing_are_not_missed() -> None:
    assert listing(m={**TOKENS, "input_cost_per_pixel": 0.0}).left_out == ()


def test_of_two_entries_for_one_model_the_one_that_names_the_provider_is_taken_and_the_other_told() -> None:
    found = listing(**{"gpt": {**TOKENS, "input_cost_per_token_flex": 1}, "openai/gpt": {"input_cost_per_token": 1}})
    assert [line.input_per_1k for line in found.lines] == [Decimal(1000)]
    assert [left.name for left in found.left_out] == ["gpt"]


def test_the_maps_own_explanation_is_no_model() -> None:
    assert listing(sample_spec=TOKENS) == Listing(frozenset(["litellm"]), (), undated=True)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"m": 1}', "[" * 100_000])
def test_what_is_no_map_is_refused_with_its_name(text: str) -> None:
    with pytest.raises(RateCardError, match=r"^map\.json"):
        litellm.read(text, "map.json")


def test_a_map_may_be_in_another_currency() -> None:
    text = json.dumps({"m": {"litellm_provider": "x", **TOKENS}})
    assert [line.currency for line in litellm.read(text, "map.json", "CNY").lines] == ["CNY"]


KEYS = [
    *("input_cost_per_token", "output_cost_per_token_flex", "output_cost_per_image", "input_cost_per_second"),
    *("tiered_pricing", "off_peak_pricing", "windows", "hours_utc", "weekdays", "range", "weekday_timezone"),
    *("search_context_cost_per_query", "search_context_size_low", "mode", "input_cost_per_token_above_200k_tokens"),
]
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 10**12)
    | st.floats()
    | st.sampled_from(["", "1e-6", "00:00-08:00", "m"]),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.sampled_from(KEYS), parts, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(KEYS), ANYTHING), st.sampled_from(["chat", "audio_transcription", "image_edit"]))
def test_whatever_is_wrong_with_an_entry_the_others_are_taken(entry: dict[str, Any], mode: str) -> None:
    found = listing(odd={"mode": mode, **entry}, fine=TOKENS)
    assert "fine" in {line.model for line in found.lines}
    assert {line.model for line in found.lines} | {one.model for one in found.left_out} == {"fine", "odd"}


FINE = {**TOKENS, "cache_creation_input_token_cost": 8.333333333333334e-08}
"""More digits of a price per 1000 than a line has."""


def test_a_price_of_too_many_decimals_leaves_its_list_out_unless_it_shall_be_rounded() -> None:
    (left,) = listing(m=FINE).left_out
    assert "--round" in left.reason
    assert "cache_write is 0.00008333333333333334; expected at most 9 decimals" in left.detail
    text = json.dumps({"m": {"litellm_provider": "openai", **FINE}})
    found = litellm.read(text, "map.json", rounds=True)
    (one,) = found.rounded
    assert (found.lines, found.left_out) == ((one.line,), ())
    assert (one.name, one.stated, one.price) == (
        "cache_write",
        Decimal("0.00008333333333333334"),
        Decimal("0.000083333"),
    )
    assert one.off == Decimal("-0.0000040")


@pytest.mark.parametrize(("per_token", "per_1k"), [("2.5e-12", "0.000000002"), ("3.5e-12", "0.000000004")])
def test_of_two_prices_as_near_the_even_one_is_taken(per_token: str, per_1k: str) -> None:
    text = f'{{"m": {{"litellm_provider": "openai", "input_cost_per_token": {per_token}, "output_cost_per_token": 1}}}}'
    (line,) = litellm.read(text, "map.json", rounds=True).lines
    assert line.input_per_1k == Decimal(per_1k)


def test_no_price_is_rounded_to_nothing() -> None:
    text = '{"m": {"litellm_provider": "openai", "input_cost_per_token": 1e-13, "output_cost_per_token": 1}}'
    found = litellm.read(text, "map.json", rounds=True)
    assert (found.lines, found.rounded, len(found.left_out)) == ((), (), 1)

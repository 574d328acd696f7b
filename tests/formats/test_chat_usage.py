"""The usage block of chat completions, whoever writes it."""

import json
from decimal import Decimal

import pytest

from accounting.formats import loads
from accounting.formats.chat_usage import usage
from accounting.money import Money
from accounting.usage import Quantities, UsageSource


def block(prompt: int, completion: int, **fields: object) -> dict[str, object]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion, **fields}


@pytest.mark.parametrize(
    ("stated", "tokens", "anomalies"),
    [
        # prompt, completion, total, reasoning -> output, reasoning
        ((15, 210, 225, 229), (210, 210), ["reasoning_exceeds_output"]),  # z-ai/glm-5
        ((43, 10, 53, 11), (10, 10), ["reasoning_exceeds_output"]),  # MiniMax-M2
        ((951, 6000, 6952, 6001), (6001, 6001), ["hidden_output"]),  # Baseten, Kimi-K3
        ((279, 6, 374, 89), (95, 89), []),  # xAI: reasoning stands beside
        ((35, 12, 109, None), (74, None), ["hidden_output"]),  # Gemini: thinking shows in the total alone
        ((12, 1994, 2006, 1269), (1994, 1269), []),  # Gemini, later: inside
        ((10, 0, 81, 60), (71, 60), ["hidden_output"]),
        ((10, 20, 25, 5), (20, 5), ["total_mismatch"]),
        ((10, 20, None, 5), (20, 5), []),
        ((0, 180, 180, None), (180, None), []),  # OpenRouter, video
        ((10, None, 30, None), (20, None), ["hidden_output"]),
        ((10, None, 10, None), (0, None), []),  # embeddings, behind an endpoint of chat
    ],
)
def test_the_provider_s_total_decides_what_was_put_out(
    stated: tuple[int | None, ...], tokens: tuple[int | None, ...], anomalies: list[str]
) -> None:
    prompt, completion, total, reasoning = stated
    found = usage(
        {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": total,
            "completion_tokens_details": {"reasoning_tokens": reasoning},
        }
    )
    assert (found.output_tokens, found.reasoning_tokens) == tokens
    assert list(found.anomalies) == anomalies
    assert found.input_tokens == prompt


@pytest.mark.parametrize(
    ("cached", "read"),
    [
        ({"prompt_tokens_details": {"cached_tokens": 30}}, 30),
        ({"prompt_token_details": {"cached_tokens": 30}}, 30),
        ({"prompt_cache_hit_tokens": 30, "prompt_cache_miss_tokens": 70}, 30),
        ({"cached_tokens": 30}, 30),
        ({"num_cached_tokens": 30}, 30),
        ({"prompt_tokens_details": {"cached_tokens": 0}, "cached_tokens": 30}, 30),
        ({"prompt_tokens_details": {"cached_tokens": 0}}, 0),
        ({"prompt_tokens_details": None, "completion_tokens_details": None}, None),
        ({}, None),
    ],
)
def test_cached_tokens_are_found_wherever_a_provider_puts_them(cached: dict[str, object], read: int | None) -> None:
    found = usage({**block(100, 7), **cached})
    assert (found.input_tokens, found.cache_read_tokens, found.output_tokens) == (100, read, 7)
    assert found.anomalies == ()


@pytest.mark.parametrize("name", ["cache_write_tokens", "cache_creation_input_tokens"])
def test_cache_writes_are_part_of_the_input(name: str) -> None:
    found = usage({**block(100, 7), "prompt_tokens_details": {"cached_tokens": 30, name: 60}})
    assert found.quantities == Quantities(100, 30, 60, 7, 0, requests=1)


def test_more_cached_than_input_is_clamped() -> None:
    found = usage({**block(100, 7), "prompt_tokens_details": {"cached_tokens": 130, "cache_write_tokens": 5}})
    assert found.quantities == Quantities(100, 100, 0, 7, 0, requests=1)
    assert found.anomalies == ("cached_exceeds_input", "cache_write_exceeds_input")


def test_cached_tokens_stand_beside_the_prompt_only_where_the_total_proves_it() -> None:
    found = usage({"prompt_tokens": 10, "completion_tokens": 7, "total_tokens": 147, "cached_tokens": 130})
    assert found.quantities == Quantities(140, 130, 0, 7, 0, requests=1)
    assert found.anomalies == ("cached_beside_input",)


def test_a_count_that_is_no_count_is_unknown_and_its_parts_with_it() -> None:
    found = usage({"prompt_tokens": -5, "completion_tokens": "7", "cached_tokens": 3})
    assert (found.input_tokens, found.cache_read_tokens, found.output_tokens) == (None, None, 7)
    assert found.source == UsageSource.PARTIAL
    assert found.anomalies == ("prompt_tokens_negative", "completion_tokens_text", "input_missing")


@pytest.mark.parametrize("odd", [{}, [], "none", {"total_tokens": 5}])
def test_a_block_without_counts_is_missing_usage_and_kept(odd: object) -> None:
    found = usage(odd)
    assert (found.source, found.anomalies) == (UsageSource.MISSING, ("usage_unreadable",))
    assert found.block == json.dumps(odd, separators=(",", ":"))


def test_a_block_too_deep_to_be_written_still_counts() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    found = usage({**block(5, 7), "odd": deep})
    assert (found.quantities, found.block) == (Quantities(5, 0, 0, 7, 0, requests=1), None)
    assert found.anomalies == ("block_unreadable",)


def test_the_provider_s_own_cost_is_kept_to_the_digit() -> None:
    stated = loads(b'{"prompt_tokens": 1, "completion_tokens": 1, "cost": 0.000325300000000000000001}')
    assert usage(stated).provider_cost == Money(Decimal("0.000325300000000000000001"), "USD")


@pytest.mark.parametrize(
    ("stated", "cost"),
    [
        ({"cost": 0.00032530}, "0.0003253"),  # parsed to a float before it came here
        ({"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.0003253}}, "0"),
        ({"cost": {"input_tokens_cost": 1, "total_cost": 3}}, "3"),
        ({"cost_in_usd_ticks": 158_000_001}, "0.0158000001"),
        ({"cost_in_usd_ticks": 10**19}, "1000000000"),
    ],
)
def test_a_cost_is_found_wherever_a_provider_puts_it(stated: dict[str, object], cost: str) -> None:
    found = usage(block(1, 1, **stated))
    assert (found.provider_cost, found.anomalies) == (Money(Decimal(cost), "USD"), ())


@pytest.mark.parametrize(
    "stated",
    [{"cost": -1}, {"cost": float("nan")}, {"cost": []}, {"cost": {"total_cost": "x"}}]
    + [{"cost_in_usd_ticks": ticks} for ticks in (-1, 10**19 + 1, 1.5, "158", True, 10**4000)],
)
def test_a_cost_that_is_no_sum_of_money_is_flagged(stated: dict[str, object]) -> None:
    found = usage(block(1, 1, **stated))
    assert (found.provider_cost, found.anomalies) == (None, ("cost_unreadable",))


def test_a_cost_that_is_not_stated_is_no_anomaly() -> None:
    assert usage(block(1, 1, cost={"input_tokens_cost": 1})).anomalies == ()


@pytest.mark.parametrize(
    ("stated", "counts", "anomalies"),
    [
        ({"cached_tokens": 0, "prompt_tokens_details": {"cached_tokens": 7}}, (100, 7), ()),
        ({"cached_tokens": 8, "prompt_tokens_details": {"cached_tokens": 7}}, (100, 7), ("cache_read_counts_differ",)),
        ({"prompt_cache_hit_tokens": 7, "prompt_cache_miss_tokens": 93}, (100, 7), ()),
        ({"prompt_cache_hit_tokens": 7, "prompt_cache_miss_tokens": 92}, (100, 7), ("cache_split_mismatch",)),
        ({"prompt_cache_hit_tokens": "7", "prompt_cache_miss_tokens": 1}, (100, 7), ("prompt_cache_hit_tokens_text",)),
    ],
)
def test_what_is_said_twice_must_agree(
    stated: dict[str, object], counts: tuple[int, int], anomalies: tuple[str, ...]
) -> None:
    found = usage(block(100, 5, **stated))
    assert ((found.input_tokens, found.cache_read_tokens), found.anomalies) == (counts, anomalies)


@pytest.mark.parametrize(
    ("details", "written", "for_an_hour", "anomalies"),
    [
        ({"cache_creation_input_tokens": 60}, 60, None, ()),
        ({"cache_creation_input_tokens": 60, "cache_creation": {}}, 60, None, ()),
        ({"cache_creation_input_tokens": 60, "cache_creation": {"ephemeral_5m_input_tokens": 60}}, 60, None, ()),
        ({"cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 40}}, 60, 40, ()),
        (
            {"cache_creation_input_tokens": 50, "cache_creation": {"ephemeral_1h_input_tokens": 60}},
            *(60, 60, ("cache_write_mismatch",)),
        ),
    ],
)
def test_cache_writes_are_known_by_how_long_they_last(
    details: dict[str, object], written: int, for_an_hour: int | None, anomalies: tuple[str, ...]
) -> None:
    found = usage(block(100, 7, prompt_tokens_details=details))
    assert (found.cache_write_tokens, found.cache_write_1h_tokens) == (written, for_an_hour)
    assert found.anomalies == anomalies


def test_audio_and_images_are_parts_of_prompt_and_completion() -> None:
    found = usage(
        block(
            *(100, 50),
            prompt_tokens_details={"cached_tokens": 10, "audio_tokens": 20, "image_tokens": 30, "video_tokens": 5},
            completion_tokens_details={
                "audio_tokens": 7,
                "image_tokens": 8,
                "reasoning_tokens": 9,
                "accepted_prediction_tokens": 3,
                "rejected_prediction_tokens": 4,
            },
        )
    )
    assert found.quantities == Quantities(
        *(100, 10, 0, 50, 9), audio_input=20, image_input=30, audio_output=7, image_output=8, requests=1
    )
    assert found.anomalies == ()


@pytest.mark.parametrize(
    ("stated", "tokens_in", "audio", "seconds"),
    [
        # Mistral's Voxtral: what was heard stands beside the prompt; older answers only let the total tell it
        ((3, 41, 419, {"audio_tokens": 375}, 12), 378, 375, 12),
        ((4, 635, 3264, {}, 203), 2629, 2625, 203),
        ((3, 41, 419, {"audio_tokens": 375}, None), 378, 375, None),
    ],
)
def test_audio_beside_the_prompt_is_input(
    stated: tuple[int, int, int, dict[str, int], int | None], tokens_in: int, audio: int, seconds: int | None
) -> None:
    prompt, completion, total, details, heard = stated
    found = usage(
        block(prompt, completion, total_tokens=total, prompt_tokens_details=details, prompt_audio_seconds=heard)
    )
    assert (found.input_tokens, found.audio_input_tokens, found.audio_seconds) == (tokens_in, audio, seconds)
    assert (found.output_tokens, found.anomalies) == (completion, ("audio_beside_input",))


def test_an_answer_without_audio_says_so_in_an_odd_way() -> None:
    found = usage(block(5, 7, prompt_audio_seconds={}))
    assert (found.audio_seconds, found.anomalies) == (None, ())


@pytest.mark.parametrize(
    ("total", "out", "anomalies"),
    [
        (None, 95, ()),
        (374, 95, ()),
        (285, 6, ("reasoning_exceeds_output",)),  # the total says that it is inside
        (400, 121, ("hidden_output",)),
    ],
)
def test_reasoning_that_stands_beside_is_added_unless_the_total_says_otherwise(
    total: int | None, out: int, anomalies: tuple[str, ...]
) -> None:
    stated = block(279, 6, total_tokens=total, completion_tokens_details={"reasoning_tokens": 89})
    found = usage(stated, reasoning_beside=True)
    assert (found.input_tokens, found.output_tokens, found.anomalies) == (279, out, anomalies)


def test_cached_tokens_beside_a_prompt_are_proven_with_reasoning_beside_the_completion_too() -> None:
    found = usage(block(10, 7, total_tokens=152, cached_tokens=130, reasoning_tokens=5))
    assert found.quantities == Quantities(140, 130, 0, 12, 5, requests=1)
    assert found.anomalies == ("cached_beside_input",)


def test_more_cached_than_prompt_is_clamped_where_the_total_shows_reasoning_alone_beside() -> None:
    found = usage(block(100, 7, total_tokens=137, cached_tokens=200, reasoning_tokens=30))
    assert found.quantities == Quantities(100, 100, 0, 37, 30, requests=1)
    assert found.anomalies == ("cached_exceeds_input",)


def test_what_was_heard_and_reasoning_may_both_stand_beside() -> None:
    found = usage(block(3, 41, total_tokens=424, prompt_tokens_details={"audio_tokens": 375}, reasoning_tokens=5))
    assert (found.input_tokens, found.audio_input_tokens, found.output_tokens) == (378, 375, 46)
    assert found.anomalies == ("audio_beside_input",)

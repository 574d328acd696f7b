"""Chat completions as OpenAI and the others really send them."""

import json
from decimal import Decimal
from typing import Any

import pytest

from accounting.formats import Answer, Ask, loads
from accounting.formats.openai_chat import Reader, answer, ask, asking_for_usage, usage
from accounting.money import Money
from accounting.sse import Event, Splitter
from accounting.usage import Quantities, UsageSource


def event(chunk: object, name: str = "") -> Event:
    return Event(b"", name, json.dumps(chunk).encode())


def fed(*chunks: object) -> Reader:
    reader = Reader()
    for chunk in chunks:
        reader.feed(chunk if isinstance(chunk, Event) else event(chunk))
    return reader


def content(text: str = "Hi", **fields: object) -> dict[str, object]:
    return {"id": "c1", "model": "m", "choices": [{"index": 0, "delta": {"content": text}}], **fields}


def block(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


DONE = Event(b"", "", b"[DONE]")
FINISH = {"id": "c1", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


def usage_only(prompt: int, completion: int) -> dict[str, object]:
    return {"id": "c1", "model": "m", "choices": [], "usage": block(prompt, completion)}


# What a request asks for


def test_what_is_asked_for_is_read_under_its_newer_and_older_names() -> None:
    assert ask({"model": "m", "stream": True, "max_completion_tokens": 9, "max_tokens": 5}, "") == Ask("m", True, 9)
    assert ask({"model": "m", "max_tokens": 5, "reasoning_effort": "low"}, "") == Ask("m", False, 5, "low")
    assert ask({"reasoning": {"effort": "high"}}, "") == Ask(effort="high")


def test_a_request_that_makes_no_sense_asks_for_nothing() -> None:
    assert ask({"model": 7, "stream": "yes", "max_tokens": True, "reasoning": "x"}, "") == Ask()


def test_a_stream_is_asked_for_its_usage_and_what_it_asked_itself_stays() -> None:
    body = {"model": "m", "stream": True, "stream_options": {"x": 1, "include_usage": False}}
    assert asking_for_usage(body) == {**body, "stream_options": {"x": 1, "include_usage": True}}
    assert body["stream_options"] == {"x": 1, "include_usage": False}


@pytest.mark.parametrize(
    "body",
    [
        {"model": "m"},
        {"stream": False},
        {"stream": True, "stream_options": {"include_usage": True}},
        {"stream": True, "stream_options": "odd"},  # the provider's to refuse
    ],
)
def test_a_request_whose_answer_states_usage_anyway_is_left_alone(body: dict[str, Any]) -> None:
    assert asking_for_usage(body) is None


# The usage block


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
    body = loads(b'{"usage": {"prompt_tokens": 1, "completion_tokens": 1, "cost": 0.000325300000000000001}}')
    assert answer(body).usage.provider_cost == Money(Decimal("0.000325300000000000001"), "USD")


def test_a_cost_in_parts_is_left_in_the_block() -> None:
    found = usage({**block(1, 1), "cost": {"total_cost": 1}})
    assert (found.provider_cost, found.anomalies) == (None, ())


# A whole answer


def test_a_whole_answer_says_model_id_end_and_usage() -> None:
    body = {"id": "c1", "model": "m", "choices": [{"finish_reason": "length"}], "usage": block(5, 7)}
    found = answer(body)
    assert (found.id, found.model, found.finish_reason, found.failed) == ("c1", "m", "length", False)
    assert found.usage.source == UsageSource.PROVIDER
    assert found.usage.block == '{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}'


@pytest.mark.parametrize("body", [None, [], "x", 7, {"usage": None}, {"choices": 5}])
def test_a_body_that_says_nothing_leaves_everything_unknown(body: object) -> None:
    assert answer(body) == Answer()


@pytest.mark.parametrize("body", [{"error": {"code": 500}}, {"choices": [{"error": {"code": 502}}]}])
def test_an_error_under_a_status_of_success_is_a_failure_and_its_usage_is_kept(body: dict[str, object]) -> None:
    found = answer({**body, "usage": block(5, 7)})
    assert found.failed
    assert found.usage.quantities.output == 7


# A streamed answer


def test_the_extra_chunk_is_known_and_nothing_else_is_taken_for_it() -> None:
    reader = Reader()
    seen = []
    for chunk in (
        event({"choices": [], "prompt_filter_results": []}),  # Azure begins so
        event(content()),
        event({**FINISH, "usage": block(5, 7)}),
        event(usage_only(5, 7)),
        event({"choices": [], "moderation": {}, "usage": None}),
        DONE,
    ):
        reader.feed(chunk)
        seen.append(reader.usage_only)
    assert seen == [False, False, False, True, False, False]


@pytest.mark.parametrize("empty", [None, [], "none", 0])
def test_the_usage_chunk_is_taken_out_though_it_states_none(empty: object) -> None:
    reader = fed(content(), {"id": "c1", "choices": [], "usage": empty})
    assert reader.usage_only
    assert reader.answer().usage.input_tokens is None


def test_a_usage_chunk_that_reports_an_error_is_not_taken_out() -> None:
    assert not fed(content(), {**usage_only(5, 7), "error": {"message": "x"}}).usage_only


def test_the_tail_of_an_event_shares_its_fate() -> None:
    reader = fed(content(), usage_only(5, 7), Event(b"\n", tail=True))
    assert reader.usage_only


def test_the_answer_begins_with_the_first_choice() -> None:
    assert not fed({"choices": [], "prompt_filter_results": []}, Event(b": ping\n\n")).token_seen
    assert fed(content("")).token_seen


def test_only_done_ends_a_stream() -> None:
    assert not fed(content(), FINISH, usage_only(5, 7)).terminal
    assert fed(content(), DONE).terminal


def test_cumulative_usage_replaces_and_is_never_added() -> None:
    reader = fed(content(usage=block(5, 1)), content(usage=block(5, 2)), {**FINISH, "usage": block(5, 3)})
    again = fed(content(usage=block(5, 1)), {**FINISH, "usage": block(5, 3)}, {**FINISH, "usage": block(5, 3)}, DONE)
    assert reader.answer().usage == again.answer().usage
    assert reader.answer().usage.quantities.output == 3


def test_a_later_null_does_not_take_usage_away() -> None:
    assert fed(content(), usage_only(5, 7), {"choices": [], "usage": None}, DONE).answer().usage.output_tokens == 7


def test_running_counts_of_a_stream_that_was_cut_are_partial() -> None:
    running = fed(content(usage=block(5, 1)), content(usage=block(5, 2)))
    assert running.answer().usage.source == UsageSource.PARTIAL
    assert fed(content(usage=block(5, 2)), FINISH).answer().usage.source == UsageSource.PROVIDER
    assert fed(content(), usage_only(5, 2)).answer().usage.source == UsageSource.PROVIDER


@pytest.mark.parametrize(
    "last",
    [
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": block(5, 7)}]},  # Moonshot
        {**FINISH, "x_groq": {"id": "r", "usage": block(5, 7)}},  # Groq, not asked
        {**FINISH, "usage": block(5, 7)},  # DeepSeek, Z.ai, Mistral
        {**FINISH, "usage": None, "x_groq": {"usage": block(5, 7)}},
    ],
)
def test_usage_is_found_wherever_a_provider_streams_it(last: dict[str, object]) -> None:
    found = fed(content(), last, DONE).answer()
    assert (found.usage.input_tokens, found.usage.output_tokens, found.finish_reason) == (5, 7, "stop")


def test_a_stream_without_usage_leaves_it_missing() -> None:
    found = fed(content(), FINISH, DONE).answer()
    assert (found.model, found.finish_reason) == ("m", "stop")
    assert (found.usage.source, found.usage.input_tokens) == (UsageSource.MISSING, None)


@pytest.mark.parametrize(
    "error", [event({"error": {"message": "overloaded"}}), event({"message": "x"}, "error"), Event(b"", "error", b"?")]
)
def test_an_error_in_a_stream_is_a_failure_and_usage_is_kept(error: Event) -> None:
    found = fed(content(usage=block(43, 10)), error).answer()
    assert found.failed
    assert (found.usage.quantities.output, found.usage.source) == (10, UsageSource.PROVIDER)


def test_the_model_that_answered_holds_over_a_router_s_name() -> None:
    first = {"id": "c1", "model": "", "choices": [], "prompt_filter_results": []}
    assert fed(first, content(), {**FINISH, "model": "m-2026"}, DONE).answer().model == "m-2026"


def test_text_that_speaks_of_usage_is_no_usage() -> None:
    reader = fed(content(), content('{"usage": {"prompt_tokens": 9}, "error": {}}'), DONE)
    assert reader.answer() == fed(content(), DONE).answer()


def test_an_event_too_large_to_be_read_leaves_its_mark() -> None:
    reader, splitter = Reader(), Splitter(limit=200)
    for stream in (b"data: " + event(content()).data, b"data: " + b"x" * 300, b"data: [DONE]"):
        for part in splitter.feed(stream + b"\n\n"):
            reader.feed(part)
    assert reader.terminal
    assert reader.answer().usage.anomalies == ("event_too_large",)

"""Anthropic Messages, whole and streamed."""

import json
from dataclasses import replace
from typing import Any

import pytest

from accounting.formats import Answer, Ask
from accounting.formats.anthropic import Reader, answer, ask, asking_for_usage
from accounting.formats.anthropic_usage import MAX_ITERATIONS, sub_calls, usage
from accounting.sse import Event
from accounting.usage import Quantities, UsageSource


def event(kind: str, named: bool = True, **fields: object) -> Event:
    return Event(b"", kind if named else "", json.dumps({"type": kind, **fields}).encode())


def start(**stated: object) -> Event:
    return event("message_start", message={"id": "msg_1", "model": "claude", "stop_reason": None, "usage": stated})


def delta(**stated: object) -> Event:
    return event("message_delta", delta={"stop_reason": "end_turn"}, usage=stated)


CONTENT = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hi"})
STOP = event("message_stop")


def fed(*events: Event) -> Reader:
    reader = Reader()
    for each in events:
        reader.feed(each)
    return reader


def test_what_is_asked_for() -> None:
    body = {"model": "claude", "stream": True, "max_tokens": 9, "output_config": {"effort": "high"}}
    assert ask(body, "") == Ask("claude", True, 9, "high")
    assert ask({"output_config": "x"}, "") == Ask()
    assert asking_for_usage(body) is None


def test_vertex_names_model_and_streaming_in_the_path() -> None:
    place = "/v1/projects/p/locations/global/publishers/anthropic/models/claude-opus-5@20260701"
    assert ask({"max_tokens": 9}, f"{place}:streamRawPredict") == Ask("claude-opus-5@20260701", True, 9)
    assert ask({}, f"{place}:rawPredict") == Ask("claude-opus-5@20260701")


@pytest.mark.parametrize("doubled", ["message_start", "message_delta"])
def test_a_count_that_stands_twice_in_an_event_is_flagged(doubled: str) -> None:
    def twice(event: Event) -> Event:
        again = event.data.replace(b'"input_tokens": 9', b'"input_tokens": 3, "input_tokens": 9')
        return replace(event, data=again if event.name == doubled else event.data)

    events = [start(input_tokens=9, output_tokens=1), CONTENT, delta(input_tokens=9, output_tokens=50), STOP]
    assert fed(*events).answer().usage.anomalies == ()
    found = fed(*map(twice, events)).answer().usage
    assert (found.input_tokens, found.output_tokens, found.anomalies) == (9, 50, ("duplicate_keys",))


def test_input_is_fresh_and_read_and_written_together() -> None:
    found = usage(
        {
            "input_tokens": 3,
            "cache_read_input_tokens": 20,
            "cache_creation_input_tokens": 100,
            "output_tokens": 50,
            "output_tokens_details": {"thinking_tokens": 30},
        }
    )
    assert found.quantities == Quantities(123, 20, 100, 50, 30, requests=1)
    assert (found.source, found.anomalies) == (UsageSource.PROVIDER, ())


def test_cache_counts_that_are_not_stated_are_unknown_and_add_nothing() -> None:
    found = usage({"input_tokens": 3, "output_tokens": 5, "cache_read_input_tokens": None})
    assert (found.input_tokens, found.cache_read_tokens, found.cache_write_tokens) == (3, None, None)


@pytest.mark.parametrize(
    ("stated", "written", "anomalies"),
    [
        ({"cache_creation_input_tokens": 30}, 30, ()),
        ({"cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20}}, 30, ()),
        ({"cache_creation_input_tokens": 30, "cache_creation": {"ephemeral_5m_input_tokens": 10}}, 30, ()),
        (
            {"cache_creation_input_tokens": 5, "cache_creation": {"ephemeral_1h_input_tokens": 20}},
            20,
            ("cache_write_mismatch",),
        ),
    ],
)
def test_cache_writes_are_the_total_or_its_parts_where_they_add_up_to_more(
    stated: dict[str, Any], written: int, anomalies: tuple[str, ...]
) -> None:
    found = usage({"input_tokens": 1, "output_tokens": 1, **stated})
    assert (found.input_tokens, found.cache_write_tokens, found.anomalies) == (1 + written, written, anomalies)


def test_thinking_is_part_of_the_output() -> None:
    found = usage({"input_tokens": 1, "output_tokens": 5, "output_tokens_details": {"thinking_tokens": 9}})
    assert (found.reasoning_tokens, found.anomalies) == (5, ("reasoning_exceeds_output",))


def iterated(*iterations: object) -> dict[str, object]:
    return {"input_tokens": 220, "output_tokens": 8, "iterations": list(iterations)}


def sampled(kind: str, tokens_in: int, tokens_out: int, **more: object) -> dict[str, object]:
    return {"type": kind, "input_tokens": tokens_in, "output_tokens": tokens_out, **more}


ANSWERED = sampled("message", 220, 8)


def test_a_compaction_is_added_to_the_counts_above_it() -> None:
    cached = {"cache_read_input_tokens": 1000, "cache_creation": {"ephemeral_1h_input_tokens": 30}}
    thought = {"output_tokens_details": {"thinking_tokens": 50}}
    found = usage(iterated(sampled("compaction", 55_196, 125, **cached, **thought), ANSWERED))
    assert found.quantities == Quantities(56_446, 1000, 30, 133, 50, cache_write_1h=30, requests=1)
    assert found.anomalies == ()
    assert "compaction" in (found.block or "")


@pytest.mark.parametrize("off", [{"type": "compaction", "input_tokens": 55_196}, sampled("compaction", 10**12, 9)])
def test_a_compaction_that_cannot_be_read_is_left_out_and_flagged(off: object) -> None:
    found = usage(iterated(off, ANSWERED))
    assert (found.quantities[0], found.anomalies) == (220, ("iterations_unread",))


@pytest.mark.parametrize("off", [[None], [{}], ["message"], [{"type": ["message"]}], "many", {"type": "message"}])
def test_iterations_of_an_unknown_kind_are_flagged(off: object) -> None:
    found = usage({"input_tokens": 220, "output_tokens": 8, "iterations": off})
    assert (found.quantities[0], found.anomalies) == (220, ("iterations_unread",))


def test_messages_that_do_not_add_up_to_the_counts_above_them_are_flagged_once_all_are_in() -> None:
    half = iterated(sampled("message", 110, 4))
    assert usage(half).anomalies == ("iterations_mismatch",)
    assert usage(half, final=False).anomalies == ()
    assert usage(iterated(*[sampled("message", 110, 4)] * 2)).anomalies == ()


def test_each_advisor_is_a_sub_call_of_its_own_model() -> None:
    asked = sampled("advisor_message", 2728, 874, model="opus")
    nameless = sampled("advisor_message", 5, 6)
    block = iterated(ANSWERED, asked, nameless, asked)
    first, second = sub_calls(block)
    assert (first.model, first.usage.quantities) == ("opus", Quantities(2728, output=874))
    assert first == second
    assert usage(block).anomalies == ("iterations_unread",)


def test_the_last_of_several_fallbacks_answered() -> None:
    block = iterated(
        sampled("message", 200, 0, model="a"),
        sampled("fallback_message", 210, 0, model="b"),
        sampled("message", 100, 4, model="c"),
        sampled("fallback_message", 120, 4, model="c"),
    )
    found = answer({"model": "a", "usage": block})
    assert (found.model, found.usage.quantities[0], found.usage.anomalies) == ("c", 220, ())


def test_more_iterations_than_any_answer_has_are_left_unread() -> None:
    many = [sampled("advisor_message", 1, 1, model="opus")] * (MAX_ITERATIONS + 9)
    assert len(sub_calls(iterated(*many))) == MAX_ITERATIONS
    assert usage(iterated(*many)).anomalies == ("iterations_unread", "block_too_large")


def test_a_repriced_retry_is_flagged() -> None:
    redeemed = {"fallback_credit": {"status": {"type": "redeemed"}}}
    assert usage({"input_tokens": 1, "output_tokens": 2, **redeemed}).anomalies == ("fallback_credit_redeemed",)
    kept = {"fallback_credit": {"status": {"type": "not_applied", "reason": "expired"}}}
    assert usage({"input_tokens": 1, "output_tokens": 2, **kept}).anomalies == ()


def test_a_whole_answer_says_model_id_end_and_usage() -> None:
    body = {
        "id": "msg_1",
        "type": "message",
        "model": "claude",
        "stop_reason": "max_tokens",
        "usage": {"input_tokens": 5, "output_tokens": 7},
    }
    found = answer(body)
    assert (found.id, found.model, found.finish_reason, found.failed) == ("msg_1", "claude", "max_tokens", False)
    assert found.usage.quantities == Quantities(5, 0, 0, 7, 0, requests=1)


def test_an_error_under_a_status_of_success_is_a_failure() -> None:
    assert answer({"type": "error", "error": {"type": "overloaded_error"}}) == Answer(failed=True)
    assert answer(None) == Answer()


def test_the_delta_overwrites_field_by_field_and_the_breakdown_of_the_start_stays() -> None:
    began = start(
        input_tokens=3, output_tokens=1, cache_read_input_tokens=10, cache_creation={"ephemeral_1h_input_tokens": 4}
    )
    found = fed(began, CONTENT, delta(input_tokens=5, output_tokens=7, cache_read_input_tokens=None), STOP).answer()
    assert found.usage.quantities == Quantities(19, 10, 4, 7, 0, cache_write_1h=4, requests=1)
    assert (found.id, found.model, found.finish_reason) == ("msg_1", "claude", "end_turn")
    assert json.loads(found.usage.block or "")["cache_creation"] == {"ephemeral_1h_input_tokens": 4}


def test_a_delta_counts_once_however_often_it_comes() -> None:
    began = start(input_tokens=3, output_tokens=1)
    once = fed(began, delta(output_tokens=7), STOP)
    assert fed(began, began, delta(output_tokens=4), delta(output_tokens=7), STOP).answer() == once.answer()


def test_a_delta_that_counts_less_than_the_one_before_holds_and_is_flagged() -> None:
    began = start(input_tokens=3, output_tokens=9)
    found = fed(began, delta(output_tokens=7), delta(input_tokens=3), delta(output_tokens=4), STOP).answer().usage
    assert (found.output_tokens, found.anomalies) == (4, ("usage_fell",))
    assert fed(began, delta(output_tokens=7), STOP).answer().usage.anomalies == ()


def test_a_stream_whose_delta_did_not_come_or_count_has_partial_usage() -> None:
    began = start(input_tokens=3, output_tokens=1)
    assert fed(began, CONTENT).answer().usage.source == UsageSource.PARTIAL
    assert fed(began, CONTENT, delta(output_tokens=7)).answer().usage.source == UsageSource.PROVIDER
    assert fed(began, CONTENT, STOP).answer().usage.source == UsageSource.PARTIAL
    assert fed(began, CONTENT, event("message_delta", delta={}), STOP).answer().usage.source == UsageSource.PARTIAL
    assert fed().answer() == Answer()


def test_content_begins_and_message_stop_ends_an_answer() -> None:
    reader = fed(start(input_tokens=3), event("ping"))
    assert (reader.token_seen, reader.terminal) == (False, False)
    reader.feed(event("content_block_start", index=0))
    assert (reader.token_seen, reader.terminal) == (True, False)
    reader.feed(STOP)
    assert (reader.terminal, reader.usage_only) == (True, False)


def test_an_error_in_a_stream_is_a_failure_and_usage_is_kept() -> None:
    found = fed(start(input_tokens=3, output_tokens=1), event("error", error={"type": "overloaded_error"})).answer()
    assert found.failed
    assert found.usage.input_tokens == 3


def test_events_without_a_name_are_known_by_their_type() -> None:
    named = fed(start(input_tokens=3), CONTENT, delta(output_tokens=7), STOP)
    unnamed = [Event(b"", "", each.data) for each in (start(input_tokens=3), CONTENT, delta(output_tokens=7), STOP)]
    reader = fed(*unnamed)
    assert reader.answer() == named.answer()
    assert reader.terminal


def test_a_type_that_is_not_named_first_tells_the_kind_too() -> None:
    late = Event(b"", "", b'{"usage": {"output_tokens": 7}, "delta": {}, "type": "message_delta"}')
    text = Event(b"", "", b'{"delta": {"text": "\\"type\\": \\"message_stop\\""}, "type": "content_block_delta"}')
    reader = fed(start(input_tokens=3), text, late)
    assert (reader.answer().usage.output_tokens, reader.token_seen, reader.terminal) == (7, True, False)


def test_a_start_after_the_counts_adds_only_what_was_not_said() -> None:
    found = fed(start(input_tokens=3), delta(output_tokens=7), start(input_tokens=9, output_tokens=1, speed="fast"))
    assert found.answer().usage.quantities == Quantities(3, output=7, requests=1)
    assert found.answer().service_tier == "fast"


def test_events_of_another_kind_are_skipped() -> None:
    assert fed(event("ping"), event("novelty", usage={"input_tokens": 9}), Event(b": hi\n\n")).answer() == Answer()

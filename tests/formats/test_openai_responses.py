"""Responses that are longer than what is parsed of a stream, and what their requests ask for."""

import json
import tracemalloc
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from accounting.formats import Answer, Ask
from accounting.formats.openai_responses import answer, ask, asking_for_usage, stream
from accounting.limits import MAX_EVENT
from accounting.sse import Splitter
from accounting.usage import UsageSource

USAGE = {
    "input_tokens": 36,
    "input_tokens_details": {"cached_tokens": 30},
    "output_tokens": 87,
    "output_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 123,
}
LONG = 'He said "usage": {"input_tokens": 1} ' * (MAX_EVENT // 30)
BEGUN: dict[str, Any] = {"id": "resp_1", "model": "gpt-5.4", "status": "in_progress", "usage": None}


def ended(kind: str = "completed", **last: Any) -> dict[str, Any]:
    """The last event, as large as its long answer; what stands behind that comes in `last`."""
    output = [{"type": "message", "content": [{"type": "output_text", "text": LONG}]}]
    said = {"id": "resp_1", "status": kind, "model": "gpt-5.4", "output": output, "service_tier": "flex", **last}
    return {"type": f"response.{kind}", "response": said}


def body(*events: dict[str, Any], end: str = "\n", named: bool = True) -> bytes:
    lines = (
        (f"event: {event['type']}{end}" if named else "") + f"data: {json.dumps(event)}{end}{end}" for event in events
    )
    return "".join(lines).encode()


def read(data: bytes, borders: list[int] = []) -> tuple[Answer, bool]:  # noqa: B006 - never changed
    splitter, reader = Splitter(), stream()
    places = [0, *sorted(border % len(data) for border in borders), len(data)]
    for begin, stop in pairwise(places):
        for event in splitter.feed(data[begin:stop]):
            reader.feed(event)
    return reader.answer(), reader.terminal


CREATED = {"type": "response.created", "response": BEGUN}


@settings(max_examples=15, deadline=None)
@given(
    borders=st.lists(st.integers(0, 2 * MAX_EVENT), max_size=9),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    named=st.booleans(),
)
@example(borders=list(range(-40, 0)), end="\r\n", named=False)
@example(borders=[MAX_EVENT, MAX_EVENT + 1], end="\n", named=True)
def test_the_counts_stand_at_the_end_of_a_last_event_however_long_it_is(
    borders: list[int], end: str, named: bool
) -> None:
    last = ended(usage=USAGE, metadata={"usage": "none", "note": '"usage": {"input_tokens": 2}'})
    found, terminal = read(body(CREATED, last, end=end, named=named), borders)
    assert terminal
    assert (found.id, found.model, found.finish_reason, found.service_tier) == (
        "resp_1",
        "gpt-5.4",
        "completed",
        "flex",
    )
    assert (found.usage.input_tokens, found.usage.output_tokens, found.usage.reasoning_tokens) == (36, 87, 5)
    assert (found.usage.source, found.usage.anomalies) == (UsageSource.PROVIDER, ())


def test_what_its_tools_used_and_who_served_it_are_found_there_too() -> None:
    images = {"input_tokens": 9, "output_tokens": 50, "total_tokens": 59}
    created = {**CREATED, "response": {**BEGUN, "tools": [{"type": "image_generation", "model": "gpt-image-2"}]}}
    drawn = {"id": "ig_1", "type": "image_generation_call", "status": "completed", "result": "A" * MAX_EVENT}
    done = {"type": "response.output_item.done", "item": drawn}
    last = ended(tool_usage={"web_search": {"num_requests": 2}, "image_gen": images}, usage=USAGE)
    found, _ = read(body(created, done, last))
    assert (found.usage.web_searches, found.usage.anomalies, found.service_tier) == (2, (), "flex")
    [sub_call] = found.sub_calls
    assert (sub_call.model, sub_call.usage.output_tokens, sub_call.usage.images) == ("gpt-image-2", 50, 1)


def test_a_long_last_event_that_says_nothing_of_usage_at_its_end_is_flagged() -> None:
    last = ended(tools=[{"parameters": {"properties": {"n": {"type": "text", "description": "x" * 70_000}}}}])
    last["response"] = {"usage": USAGE, **last["response"]}
    found, terminal = read(body(CREATED, last))
    assert (terminal, found.failed, found.model) == (True, False, "gpt-5.4")
    assert (found.usage.source, found.usage.anomalies) == (UsageSource.MISSING, ("event_too_large",))


def test_a_long_response_that_failed_has_failed() -> None:
    found, _ = read(body(CREATED, ended("failed", usage=USAGE)))
    assert (found.failed, found.usage.input_tokens) == (True, 36)


def test_other_long_events_are_none_of_its_contradictions() -> None:
    picture = {"type": "response.image_generation_call.partial_image", "partial_image_b64": "A" * 2 * MAX_EVENT}
    short = {"type": "response.completed", "response": {**BEGUN, "status": "completed", "usage": USAGE}}
    found, _ = read(body(CREATED, picture, short))
    assert (found.usage.input_tokens, found.usage.anomalies) == (36, ())


def test_what_is_kept_of_a_long_event_is_bounded() -> None:
    reader, splitter = stream(), Splitter()
    tracemalloc.start()
    for piece in (b"event: response.completed\ndata: ", *[b'{"usage": {' * 9000] * 400):
        for event in splitter.feed(piece):
            reader.feed(event)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * MAX_EVENT
    assert reader.answer().usage.source is UsageSource.MISSING


def test_an_answer_that_was_cut_says_which_it_was() -> None:
    delta = {"type": "response.output_text.delta", "delta": "Hello"}
    splitter, reader = Splitter(), stream()
    for event in splitter.feed(body(CREATED, delta)):
        reader.feed(event)
    found = reader.answer()
    assert (reader.terminal, reader.token_seen) == (False, True)
    assert (found.id, found.model, found.finish_reason, found.failed) == ("resp_1", "gpt-5.4", None, False)
    assert (found.usage.source, found.usage.anomalies) == (UsageSource.MISSING, ())


@pytest.mark.parametrize("error", [b'event: error\ndata: {"type": "error"}\n\n', b'data: {"error": {"code": 502}}\n\n'])
def test_an_error_in_the_stream_is_a_failure(error: bytes) -> None:
    found, terminal = read(body(CREATED) + error)
    assert (found.failed, terminal) == (True, False)


def test_a_stream_says_how_it_ended_where_its_response_does_not() -> None:
    found, _ = read(body({"type": "response.incomplete", "response": {"usage": USAGE}}))
    assert (found.finish_reason, found.failed, found.usage.output_tokens) == ("incomplete", False, 87)


def test_a_second_end_that_counts_nothing_takes_no_counts_away() -> None:
    ends = [{"type": "response.completed", "response": {"usage": each}} for each in (USAGE, USAGE, None)]
    assert read(body(*ends))[0].usage.anomalies == ()
    nothing = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    found = read(body(*ends, {"type": "response.completed", "response": {"usage": nothing}}))[0].usage
    assert (found.output_tokens, found.anomalies) == (87, ("usage_fell",))


def test_a_second_end_that_counts_less_holds_and_is_flagged() -> None:
    less = {"type": "response.completed", "response": {"usage": {"input_tokens": 36, "output_tokens": 3}}}
    found = read(body({"type": "response.completed", "response": {"usage": USAGE}}, less))[0].usage
    assert (found.output_tokens, found.anomalies) == (3, ("usage_fell",))


def test_a_cancelled_response_has_not_failed() -> None:
    found = answer({"id": "resp_1", "status": "cancelled", "usage": USAGE})
    assert (found.finish_reason, found.failed, found.pending) == ("cancelled", False, False)


def test_what_is_asked_for() -> None:
    asked = {"model": "gpt-5.4", "stream": True, "max_output_tokens": 9, "reasoning": {"effort": "low"}}
    assert ask(asked, "") == Ask("gpt-5.4", True, 9, "low")
    assert asking_for_usage(asked) is None

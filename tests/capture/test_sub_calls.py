"""What another model used inside an answer is a call of its own, beside the one that it belongs to."""

import json

from accounting import attribute
from accounting.usage import Outcome, UsageSource, id_time
from tests.capture.callers import Caller
from tests.capture.conftest import Journaled
from tests.capture.wire import Server, plain, stream

BODY = json.dumps({
    "id": "resp_1",
    "object": "response",
    "status": "completed",
    "model": "gpt-x-1",
    "service_tier": "flex",
    "output": [{"id": "ig_1", "type": "image_generation_call", "status": "completed", "result": "iVBORw0KGgo="}],
    "tools": [{"type": "image_generation", "model": "gpt-image-x"}],
    "usage": {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13},
    "tool_usage": {"image_gen": {"input_tokens": 50, "output_tokens": 1056, "total_tokens": 1106}},
}).encode()  # fmt: skip
ASK = {"model": "gpt-x", "input": "Draw a cat", "max_output_tokens": 64, "reasoning": {"effort": "low"}}

SHARED = (
    *("started_at", "ended_at", "project", "project_source", "user", "tags", "provider", "endpoint"),
    *("key_fingerprint", "key_last4", "link_id", "attempt", "stream", "http_status", "service_tier"),
)


def test_it_shares_who_asked_and_when_and_has_a_model_and_usage_of_its_own(
    server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.says(plain(BODY))
    with attribute(user="u-1", tags={"step": "1"}):
        assert caller.post(server.url + "/v1/responses", ASK, authorization="Bearer sk-0123456789abcdef").body == BODY

    call, below = journaled.calls()
    assert (call.parent_id, below.parent_id) == (None, call.id)
    assert (below.request_model, below.response_model, below.response_id) == (None, "gpt-image-x", None)
    assert (below.usage.input_tokens, below.usage.output_tokens, below.usage.images) == (50, 1056, 1)
    assert (call.usage.input_tokens, call.usage.output_tokens, call.usage.images) == (9, 4, None)
    assert (call.usage.requests, below.usage.requests) == (1, None)
    assert (below.max_tokens, below.effort, below.bytes_in, below.bytes_out) == (None, None, 0, 0)
    assert (below.outcome, below.usage.source) == (Outcome.FINISHED, UsageSource.PROVIDER)
    for name in SHARED:
        assert getattr(below, name) == getattr(call, name), name
    assert id_time(below.id) == call.started_at


def test_an_advisor_in_a_stream_is_a_call_of_its_own_model(
    server: Server, caller: Caller, journaled: Journaled
) -> None:
    advised = [
        {"type": "message", "input_tokens": 2414, "output_tokens": 3200},
        {"type": "advisor_message", "model": "claude-opus-4-7", "input_tokens": 2728, "output_tokens": 874},
    ]
    body = b"".join(
        f"data: {json.dumps(event)}\n\n".encode()
        for event in (
            {"type": "message_start", "message": {"model": "claude-x", "usage": {"input_tokens": 2414}}},
            {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 3200, "iterations": advised}},
            {"type": "message_stop"},
        )
    )
    server.says(stream(body))
    assert caller.post(server.url + "/v1/messages", {"model": "claude-x", "stream": True}).body == body
    used = [(each.model, each.usage.input_tokens, each.usage.output_tokens) for each in journaled.calls()]
    assert used == [("claude-x", 2414, 3200), ("claude-opus-4-7", 2728, 874)]

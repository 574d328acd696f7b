"""Streams that are JSON themselves: Gemini's list, where events were not asked for, and Cohere's lines."""

import json
from typing import Any

from accounting.usage import Outcome, UsageSource
from tests.capture.callers import Caller
from tests.capture.conftest import Journaled, MakeCaller
from tests.capture.wire import Server, chunked, head

PATH = "/v1beta/models/gemini-x:streamGenerateContent"
ASK: dict[str, Any] = {"contents": [{"parts": [{"text": "hello"}]}]}


def _said(output: int, **candidate: object) -> bytes:
    usage = {"promptTokenCount": 9, "candidatesTokenCount": output, "totalTokenCount": 9 + output}
    return json.dumps({"candidates": [candidate], "usageMetadata": usage}).encode()


LIST = b"[" + _said(1) + b"\n,\r\n" + _said(4, finishReason="STOP") + b"\n]\n"


def _as_json(body: bytes, kind: str = "application/json; charset=UTF-8") -> bytes:
    return head(200, f"content-type: {kind}", "transfer-encoding: chunked") + chunked(body, 50)


def test_a_list_is_read_as_it_streams(server: Server, caller: Caller, journaled: Journaled) -> None:
    server.says(_as_json(LIST))
    assert caller.post(server.url + PATH, ASK).body == LIST

    call = journaled.only()
    assert (call.outcome, call.stream, call.finish_reason) == (Outcome.FINISHED, True, "STOP")
    assert (call.usage.source, call.usage.input_tokens, call.usage.output_tokens) == (UsageSource.PROVIDER, 9, 4)
    assert call.first_token_at is not None


def test_of_a_list_that_is_cut_the_elements_count(server: Server, caller: Caller, journaled: Journaled) -> None:
    cut = _as_json(LIST)[:-60]
    server.says(cut)
    assert caller.post(server.url + PATH, ASK).error == "RemoteProtocolError"

    call = journaled.only()
    assert (call.outcome, call.usage.source) == (Outcome.INTERRUPTED, UsageSource.PARTIAL)
    assert (call.usage.input_tokens, call.usage.output_tokens) == (9, 1)


def test_an_error_that_is_a_list_has_failed(server: Server, caller: Caller, journaled: Journaled) -> None:
    server.says(_as_json(b'[{"error": {"code": 503, "status": "UNAVAILABLE"}}]'))
    caller.post(server.url + PATH, ASK)
    assert journaled.outcomes() == [Outcome.FAILED]


def test_lines_of_json_are_read_as_they_stream(server: Server, caller: Caller, journaled: Journaled) -> None:
    meta = {"billed_units": {"input_tokens": 9, "output_tokens": 4}}
    lines = (
        {"event_type": "stream-start", "generation_id": "g"},
        {"event_type": "text-generation", "text": "Hi"},
        {"event_type": "stream-end", "finish_reason": "COMPLETE", "response": {"meta": meta}},
    )
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    server.says(_as_json(body, "application/stream+json"))
    assert caller.post(server.url + "/v1/chat", {"model": "command-x", "stream": True}).body == body

    call = journaled.only()
    assert (call.outcome, call.request_model, call.response_id) == (Outcome.FINISHED, "command-x", "g")
    assert (call.usage.source, call.usage.input_tokens, call.usage.output_tokens) == (UsageSource.PROVIDER, 9, 4)


def test_an_interaction_in_the_background_is_finished_by_a_poll(
    server: Server, caller: Caller, journaled: Journaled
) -> None:
    began = {"id": "v1_x", "status": "in_progress", "model": "gemini-x"}
    usage = {"total_input_tokens": 9, "total_output_tokens": 3, "total_thought_tokens": 1, "total_tokens": 13}
    ended = {**began, "status": "completed", "usage": usage}
    for each in (began, ended):
        server.says(_as_json(json.dumps(each).encode()))
        if each is began:
            caller.post(server.url + "/v1beta/interactions", {"model": "gemini-x", "background": True})
        else:
            caller.receive(caller.request(server.url + "/v1beta/interactions/v1_x", method="GET"))

    first, known = journaled.calls()
    assert (first.outcome, first.usage.source) == (Outcome.INTERRUPTED, UsageSource.MISSING)
    assert (known.outcome, known.finish_reason) == (Outcome.FINISHED, "completed")
    assert (known.usage.input_tokens, known.usage.output_tokens, known.usage.reasoning_tokens) == (9, 4, 1)


def test_ollama_streams_unless_asked_not_to(server: Server, make_caller: MakeCaller, journaled: Journaled) -> None:
    caller = make_caller().metered(provider="ollama")
    lines = [{"model": "g", "done": False}, {"model": "g", "done": True, "prompt_eval_count": 9, "eval_count": 4}]
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    server.says(_as_json(body, "application/x-ndjson"))
    assert caller.post(server.url + "/api/chat", {"model": "g", "messages": []}).body == body
    server.says(_as_json(body[len(json.dumps(lines[0])) + 1 :]))
    caller.post(server.url + "/api/generate", {"model": "g", "stream": False, "options": {"num_predict": 7}})

    streamed, whole = journaled.calls()
    assert (streamed.stream, whole.stream, whole.max_tokens) == (True, False, 7)
    for call in (streamed, whole):
        assert (call.provider, call.outcome, call.response_model) == ("ollama", Outcome.FINISHED, "g")
        assert (call.usage.input_tokens, call.usage.output_tokens, call.usage.anomalies) == (9, 4, ())

"""The table of outcomes, row by row: what happened to a call, and what the books say of it."""

import time
from threading import Thread
from typing import Any

import pytest

from accounting.usage import Outcome, UsageSource
from tests.capture.answers import ANTHROPIC, ASK, ASK_STREAM, CHAT, JSON, MESSAGES, OPENAI, WORD, events
from tests.capture.callers import Caller
from tests.capture.conftest import Journaled, MakeCaller
from tests.capture.wire import Server, head, nobody, plain, reset, stream


def test_a_whole_body_with_a_2xx_is_finished(server: Server, caller: Caller, journaled: Journaled) -> None:
    server.says(plain(JSON))
    assert caller.post(server.url + CHAT, ASK).body == JSON

    call = journaled.only()
    assert call.outcome is Outcome.FINISHED
    assert (call.http_status, call.response_model, call.finish_reason) == (200, "gpt-x-1", "stop")
    assert (call.usage.source, call.usage.input_tokens, call.usage.output_tokens) == (UsageSource.PROVIDER, 9, 4)
    assert call.first_token_at is None
    assert call.ended_at is not None
    assert call.bytes_out == len(JSON)


@pytest.mark.parametrize(("path", "body"), [(CHAT, OPENAI), (MESSAGES, ANTHROPIC)], ids=["openai", "anthropic"])
def test_a_stream_with_its_terminal_event_is_finished(
    path: str, body: bytes, server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.says(stream(body))
    caller.post(server.url + path, ASK_STREAM)

    call = journaled.only()
    assert (call.outcome, call.stream) == (Outcome.FINISHED, True)
    assert (call.usage.source, call.usage.input_tokens, call.usage.output_tokens) == (UsageSource.PROVIDER, 9, 4)
    assert call.first_token_at is not None
    assert call.ended_at is not None
    assert call.started_at <= call.first_token_at <= call.ended_at


def test_a_stream_is_finished_at_its_terminal_event_though_the_caller_reads_no_further(
    server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.says(head(200, "content-type: text/event-stream"), OPENAI, server.hang)

    async def read_to_done() -> None:
        response = await caller.send(caller.request(server.url + CHAT, ASK_STREAM), stream=True)
        read = b""
        while b"[DONE]" not in read:
            read += await _next(response, caller)
        await caller.leave(response)

    caller.run(read_to_done())
    assert journaled.outcomes() == [Outcome.FINISHED]


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503, 529])
def test_a_4xx_and_a_5xx_have_failed(status: int, server: Server, caller: Caller, journaled: Journaled) -> None:
    server.says(plain(b'{"error": {"message": "no"}}', status))
    assert caller.post(server.url + CHAT, ASK).status == status

    call = journaled.only()
    assert (call.outcome, call.http_status) == (Outcome.FAILED, status)
    assert call.usage.source is UsageSource.MISSING


def test_an_error_answer_that_is_cut_has_failed_all_the_same(
    server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.says(plain(b'{"error": {"message": "no"}}', 500)[:-5])
    assert caller.post(server.url + CHAT, ASK).error == "RemoteProtocolError"
    assert journaled.outcomes() == [Outcome.FAILED]


def test_a_followed_hop_has_failed_and_its_target_is_a_call(
    server: Server, caller: Caller, journaled: Journaled
) -> None:
    hop = plain(b"", 307, f"location: {server.url}/elsewhere{CHAT}")
    server.says_in_turn(hop, plain(JSON))
    assert caller.receive(caller.request(server.url + CHAT, ASK), follow_redirects=True).body == JSON

    assert [(call.outcome, call.http_status) for call in journaled.calls()] == [
        (Outcome.FAILED, 307),
        (Outcome.FINISHED, 200),
    ]


def test_an_error_inside_a_200_stream_has_failed_and_keeps_its_usage(
    server: Server, caller: Caller, journaled: Journaled
) -> None:
    count = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 1}}
    server.says(stream(b"".join(events(WORD, count, {"error": {"message": "overloaded"}}, "[DONE]"))))
    caller.post(server.url + CHAT, ASK_STREAM)

    call = journaled.only()
    assert (call.outcome, call.http_status) == (Outcome.FAILED, 200)
    assert (call.usage.input_tokens, call.usage.output_tokens) == (9, 1)


def test_an_error_that_cuts_a_200_stream_has_failed(server: Server, caller: Caller, journaled: Journaled) -> None:
    server.says(stream(b"".join(events(WORD, {"error": {"message": "overloaded"}})))[:-5])
    assert caller.post(server.url + CHAT, ASK_STREAM).error == "RemoteProtocolError"
    assert journaled.outcomes() == [Outcome.FAILED]


def test_an_error_object_in_a_200_body_has_failed(server: Server, caller: Caller, journaled: Journaled) -> None:
    server.says(plain(b'{"error": {"message": "overloaded"}}'))
    caller.post(server.url + CHAT, ASK)
    assert journaled.outcomes() == [Outcome.FAILED]


def test_a_call_that_could_not_connect_has_failed(caller: Caller, journaled: Journaled) -> None:
    with nobody() as url:
        assert caller.post(url + CHAT, ASK).error == "ConnectError"

    call = journaled.only()
    assert (call.outcome, call.http_status) == (Outcome.FAILED, None)


@pytest.mark.parametrize("ending", ["goodbye", "reset"])
def test_an_answer_that_the_server_cuts_is_interrupted(
    ending: str, server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.says(plain(JSON)[:-5], *([reset] if ending == "reset" else []))
    assert caller.post(server.url + CHAT, ASK).error in ("RemoteProtocolError", "ReadError")

    call = journaled.only()
    assert (call.outcome, call.http_status) == (Outcome.INTERRUPTED, 200)


def test_a_stream_that_the_caller_leaves_is_interrupted(server: Server, caller: Caller, journaled: Journaled) -> None:
    server.says(head(200, "content-type: text/event-stream"), events(WORD)[0], server.hang)

    async def read_one_and_leave() -> None:
        response = await caller.send(caller.request(server.url + CHAT, ASK_STREAM), stream=True)
        await _next(response, caller)
        await caller.leave(response)

    caller.run(read_one_and_leave())
    assert journaled.outcomes() == [Outcome.INTERRUPTED]


def test_a_stream_that_ends_without_its_terminal_event_is_interrupted(
    server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.says(stream(b"".join(events(WORD))))
    assert caller.post(server.url + CHAT, ASK_STREAM).error is None
    assert journaled.outcomes() == [Outcome.INTERRUPTED]


@pytest.mark.parametrize("path", [CHAT, MESSAGES], ids=["openai", "anthropic"])
def test_a_stream_that_ends_without_its_last_blank_line_is_finished(
    path: str, server: Server, caller: Caller, journaled: Journaled
) -> None:
    body = (OPENAI if path == CHAT else ANTHROPIC).rstrip()
    server.says(stream(body))
    assert caller.post(server.url + path, ASK_STREAM).error is None

    call = journaled.only()
    assert call.outcome is Outcome.FINISHED
    assert (call.usage.input_tokens, call.usage.output_tokens) == (9, 4)


def test_a_read_timeout_after_the_headers_is_interrupted(
    server: Server, make_caller: MakeCaller, journaled: Journaled
) -> None:
    server.says(plain(JSON)[:-5], server.hang)
    assert make_caller(timeout=0.1).metered().post(server.url + CHAT, ASK).error == "ReadTimeout"
    assert journaled.outcomes() == [Outcome.INTERRUPTED]


def test_a_read_timeout_before_the_headers_is_unknown(
    server: Server, make_caller: MakeCaller, journaled: Journaled
) -> None:
    server.says(server.hang)
    assert make_caller(timeout=0.1).metered().post(server.url + CHAT, ASK).error == "ReadTimeout"

    call = journaled.only()
    assert (call.outcome, call.http_status) == (Outcome.UNKNOWN, None)


def test_a_connection_closed_without_an_answer_is_unknown(server: Server, caller: Caller, journaled: Journaled) -> None:
    server.says()
    assert caller.post(server.url + CHAT, ASK).error == "RemoteProtocolError"
    assert journaled.outcomes() == [Outcome.UNKNOWN]


def test_a_call_of_a_process_that_is_gone_is_unknown(server: Server, caller: Caller, journaled: Journaled) -> None:
    server.says(server.hang)
    asking = Thread(target=caller.post, args=(server.url + CHAT, ASK))
    asking.start()
    while not server.asked:
        time.sleep(0.01)
    before = journaled.outcomes()
    journaled.adopt()
    server.ending.set()
    asking.join()

    assert (before, journaled.outcomes()) == ([None], [Outcome.UNKNOWN])


async def _next(response: Any, caller: Caller) -> bytes:
    if caller.is_async:
        async for piece in response.aiter_raw():
            return bytes(piece)
    else:
        for piece in response.iter_raw():
            return bytes(piece)
    raise AssertionError("The answer has ended.")


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_an_answer_that_is_still_being_made_is_interrupted_with_its_usage_missing(
    status: str, server: Server, caller: Caller, journaled: Journaled
) -> None:
    body = b'{"id": "resp_1", "object": "response", "status": "%b", "model": "gpt-x-1", "usage": null}'
    server.says(plain(body % status.encode()))
    caller.post(server.url + "/v1/responses", {"model": "gpt-x", "background": True})
    call = journaled.only()
    assert (call.outcome, call.usage.source, call.finish_reason) == (Outcome.INTERRUPTED, UsageSource.MISSING, None)
    assert call.usage.anomalies == ()


def test_a_whole_answer_that_states_no_usage_says_so_and_one_that_failed_or_was_cut_says_nothing(
    server: Server, caller: Caller, journaled: Journaled
) -> None:
    said = b'{"id": "c-1", "model": "gpt-x", "choices": []}'
    server.says_in_turn(plain(said), plain(said, 500), stream(b"".join(events(WORD))))
    for _ in range(3):
        caller.post(server.url + CHAT, ASK_STREAM)
    assert [call.usage.anomalies for call in journaled.calls()] == [("usage_absent",), (), ()]

"""Answers that come later: polling them is no call, and tells how the call that began them ended."""

import json
from collections import OrderedDict
from dataclasses import replace
from typing import Any, Never

import pytest

from accounting import polls
from accounting.outgoing import Sent
from accounting.usage import Call, Outcome, UsageSource, id_time, new_id
from tests.capture.answers import CHAT
from tests.capture.callers import Caller
from tests.capture.conftest import Journaled, MakeCaller
from tests.capture.wire import Server, head, plain, stream

RESPONSES = "/v1/responses"
ASK = {"model": "gpt-x", "input": "Why?", "background": True}
USAGE = {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13}


def response(status: str, **fields: Any) -> dict[str, Any]:
    return {"id": "resp_1", "object": "response", "status": status, "model": "gpt-x-1", "usage": None, **fields}


def said(status: str, **fields: Any) -> bytes:
    return plain(json.dumps(response(status, **fields)).encode())


def events(*kinds: str, **fields: Any) -> bytes:
    parts = [{"type": f"response.{kind}", "response": response(kind, **fields)} for kind in kinds]
    return b"".join(f"event: {part['type']}\ndata: {json.dumps(part)}\n\n".encode() for part in parts)


def get(caller: Caller, url: str) -> bytes:
    return caller.receive(caller.request(url, method="GET")).body


@pytest.fixture
def url(server: Server) -> str:
    return f"{server.url}{RESPONSES}"


def test_a_poll_that_finds_the_answer_finishes_the_call_that_began_it(
    server: Server, url: str, caller: Caller, journaled: Journaled
) -> None:
    last = said("completed", usage=USAGE, service_tier="flex")
    server.says_in_turn(said("queued"), said("in_progress"), last, last)
    caller.post(url, ASK)
    assert get(caller, f"{url}/resp_1") == json.dumps(response("in_progress")).encode()
    assert journaled.outcomes() == [Outcome.INTERRUPTED]
    for _ in range(2):
        assert last.endswith(get(caller, f"{url}/resp_1?include=usage"))

    began, known = journaled.calls()
    assert (began.usage.source, known.usage.source) == (UsageSource.MISSING, UsageSource.PROVIDER)
    assert (known.outcome, known.usage.input_tokens, known.usage.output_tokens) == (Outcome.FINISHED, 9, 4)
    assert (known.finish_reason, known.service_tier) == ("completed", "flex")
    told = {"outcome": known.outcome, "usage": known.usage, "finish_reason": "completed", "service_tier": "flex"}
    assert known == replace(began, **told)  # type: ignore[arg-type]


def test_it_has_a_number_of_its_own_and_what_was_complete_stays_so(
    server: Server, url: str, caller: Caller, journaled: Journaled
) -> None:
    server.says_in_turn(said("queued"), said("completed", usage=USAGE))
    caller.post(url, ASK)
    before = journaled.standing()
    get(caller, f"{url}/resp_1")
    after = journaled.standing(delivering=frozenset({1}))
    assert (before.highest, after.highest, after.open) == (1, 2, 0)
    assert after.oldest_undelivered_at is not None
    assert after.oldest_undelivered_at >= before.at


@pytest.mark.parametrize(
    ("method", "path", "status", "outcome"),
    [
        ("GET", "/resp_1", "incomplete", Outcome.FINISHED),
        ("GET", "/resp_1", "failed", Outcome.FAILED),
        ("GET", "/resp_1/", "cancelled", Outcome.FINISHED),
        ("POST", "/resp_1/cancel", "cancelled", Outcome.FINISHED),
    ],
)
def test_however_it_ended(
    method: str,
    path: str,
    status: str,
    outcome: Outcome,
    server: Server,
    url: str,
    caller: Caller,
    journaled: Journaled,
) -> None:
    server.says_in_turn(said("queued"), said(status, usage=USAGE))
    caller.post(url, ASK)
    caller.receive(caller.request(url + path, method=method))
    assert journaled.outcomes() == [Outcome.INTERRUPTED, outcome]
    assert journaled.calls()[-1].usage.input_tokens == 9


def test_a_failure_has_no_usage_to_wait_for(server: Server, url: str, caller: Caller, journaled: Journaled) -> None:
    server.says_in_turn(said("queued"), said("failed", error={"code": "server_error"}))
    caller.post(url, ASK)
    get(caller, f"{url}/resp_1")
    assert journaled.outcomes() == [Outcome.INTERRUPTED, Outcome.FAILED]


def test_what_says_nothing_of_usage_leaves_the_call_as_it_was(
    server: Server, url: str, caller: Caller, journaled: Journaled
) -> None:
    answers = (said("cancelled"), plain(b"{}", 404), plain(b'{"usage": '), head(200, "content-length: 9") + b"{}")
    server.says_in_turn(said("queued"), *answers, said("completed", usage=USAGE))
    caller.post(url, ASK)
    for _ in answers:
        get(caller, f"{url}/resp_1")
    assert journaled.outcomes() == [Outcome.INTERRUPTED]
    get(caller, f"{url}/resp_1")
    assert journaled.outcomes() == [Outcome.INTERRUPTED, Outcome.FINISHED]


def test_a_stream_that_was_cut_is_taken_up_again(
    server: Server, url: str, caller: Caller, journaled: Journaled
) -> None:
    begun = events("created", "in_progress")
    rest = events("completed", usage=USAGE)
    server.says_in_turn(head(200, "content-type: text/event-stream") + begun, stream(begun), stream(rest))
    caller.post(url, {**ASK, "stream": True})
    assert get(caller, f"{url}/resp_1?stream=true&starting_after=0") == begun
    assert get(caller, f"{url}/resp_1?stream=true&starting_after=1") == rest
    assert journaled.outcomes() == [Outcome.INTERRUPTED, Outcome.FINISHED]
    began, known = journaled.calls()
    assert (known.id, known.stream, known.usage.output_tokens) == (began.id, True, 4)


def test_what_tools_used_is_told_with_it(server: Server, url: str, caller: Caller, journaled: Journaled) -> None:
    drawn = {"image_gen": {"input_tokens": 5, "output_tokens": 70, "total_tokens": 75}}
    server.says_in_turn(said("queued"), said("completed", usage=USAGE, tool_usage=drawn))
    caller.post(url, ASK)
    get(caller, f"{url}/resp_1")
    began, _, drawing = journaled.calls()
    assert (drawing.parent_id, drawing.usage.output_tokens) == (began.id, 70)


@pytest.mark.parametrize("path", ["/resp_2", "/resp_1/input_items", "", "/"])
def test_what_nobody_waits_for_is_no_poll_and_no_call(
    path: str, server: Server, url: str, caller: Caller, journaled: Journaled
) -> None:
    server.says_in_turn(said("queued"), said("completed", usage=USAGE))
    caller.post(url, ASK)
    get(caller, url + path)
    assert journaled.outcomes() == [Outcome.INTERRUPTED]


def test_a_poll_in_a_coding_that_we_cannot_read_asks_for_another(
    server: Server, url: str, caller: Caller, journaled: Journaled
) -> None:
    server.says_in_turn(said("queued"), said("completed", usage=USAGE))
    caller.post(url, ASK)
    caller.receive(caller.request(f"{url}/resp_1", method="GET", headers={"accept-encoding": "br, gzip"}))
    assert server.asked[-1].headers["accept-encoding"] == "gzip"
    assert journaled.outcomes()[-1] == Outcome.FINISHED


def test_a_client_wrapped_twice_polls_once(
    server: Server, url: str, make_caller: MakeCaller, journaled: Journaled
) -> None:
    caller = make_caller().metered()
    inner = caller.client._transport
    caller.client._transport = type(inner)(inner, inner.metering)
    server.says_in_turn(said("queued"), said("completed", usage=USAGE))
    caller.post(url, ASK)
    get(caller, f"{url}/resp_1")
    assert journaled.outcomes() == [Outcome.INTERRUPTED, Outcome.FINISHED]


def test_calls_that_ended_are_not_waited_for(server: Server, caller: Caller, journaled: Journaled) -> None:
    server.says(plain(b'{"id": "c-1", "usage": {"prompt_tokens": 9, "completion_tokens": 4}}'))
    caller.post(server.url + CHAT, {"model": "gpt-x"})
    assert polls._expected == {}
    assert journaled.outcomes() == [Outcome.FINISHED]


def test_no_more_are_remembered_than_the_stated_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polls, "MOST", 3)
    id_ = new_id()
    for number in range(5):
        call = Call(id=id_, started_at=id_time(id_), provider="p", endpoint="responses", response_id=f"resp_{number}")
        polls.expect(replace(call, outcome=Outcome.INTERRUPTED))
    assert list(polls._expected) == [("p", "resp_2"), ("p", "resp_3"), ("p", "resp_4")]


def test_a_poll_that_begins_hides_the_call_from_no_other_that_ends_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    class Kept(OrderedDict[tuple[str, str], Call]):
        def pop(self, *_: object) -> Never:
            raise AssertionError("taken out, if only for a moment")

    id_ = new_id()
    call = Call(id=id_, started_at=id_time(id_), provider="p", endpoint="responses")
    monkeypatch.setattr(polls, "_expected", Kept({("p", "resp_1"): call, ("p", "resp_2"): call}))
    assert polls.tap_on(Sent("GET", "h", None, "/v1/responses/resp_1", {}, None, {}), "p") is not None
    assert list(polls._expected) == [("p", "resp_2"), ("p", "resp_1")]

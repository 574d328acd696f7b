"""Tries and hops: each is a call, and one id ties those of one request together."""

import json
from datetime import UTC, datetime

import pytest

from accounting.entries import refuse_implausible
from accounting.usage import Call, Outcome
from tests.capture.answers import ASK, CHAT, JSON
from tests.capture.callers import Caller
from tests.capture.conftest import Journaled, MakeCaller
from tests.capture.wire import Server, plain


def hop(status: int, server: Server, path: str = CHAT) -> bytes:
    return plain(b"", status, f"location: {server.url}/next{path}")


@pytest.mark.parametrize("status", [307, 308])
def test_hops_that_repeat_the_request_share_a_link(
    status: int, server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.says_in_turn(hop(status, server), hop(status, server), plain(JSON))
    assert caller.receive(caller.request(server.url + CHAT, ASK), follow_redirects=True).body == JSON

    calls = journaled.calls()
    assert [call.outcome for call in calls] == [Outcome.FAILED, Outcome.FAILED, Outcome.FINISHED]
    assert {call.link_id for call in calls} == {calls[0].id}
    assert len({call.id for call in calls}) == 3


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_hop_that_turns_into_a_get_is_not_a_call(
    status: int, server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.says_in_turn(hop(status, server), plain(b"{}"))
    assert caller.receive(caller.request(server.url + CHAT, ASK), follow_redirects=True).body == b"{}"
    assert [asked.method for asked in server.asked] == ["POST", "GET"]
    assert [(call.outcome, call.http_status) for call in journaled.calls()] == [(Outcome.FAILED, status)]


def test_a_hop_that_is_not_followed_reaches_the_caller(server: Server, caller: Caller, journaled: Journaled) -> None:
    server.says(hop(307, server))
    assert caller.post(server.url + CHAT, ASK).status == 307
    assert journaled.outcomes() == [Outcome.FAILED]


def test_tries_that_count_themselves_share_a_link(server: Server, caller: Caller, journaled: Journaled) -> None:
    server.says_in_turn(plain(b"", 503), plain(b"", 503), plain(JSON))
    for number in range(3):
        caller.post(server.url + CHAT, ASK, x_stainless_retry_count=str(number))

    calls = journaled.calls()
    assert [call.attempt for call in calls] == [1, 2, 3]
    assert {call.link_id for call in calls} == {calls[0].id}


def test_requests_that_count_nothing_are_each_the_first_try(
    server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.says(plain(JSON))
    for _ in range(2):
        caller.post(server.url + CHAT, ASK)
    calls = journaled.calls()
    assert [(call.attempt, call.link_id) for call in calls] == [(1, call.id) for call in calls]


@pytest.mark.parametrize("count", ["-1", "one", "", "9" * 40, "0"])
def test_a_count_that_is_none_is_the_first_try(
    count: str, server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.says(plain(JSON))
    caller.post(server.url + CHAT, ASK, x_stainless_retry_count=count)
    assert journaled.only().attempt == 1


@pytest.mark.parametrize("retries", [2**31, 10**15 - 1, -1])
def test_a_count_of_tries_that_is_none_is_the_first_try(
    retries: int, server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.says(plain(JSON))
    caller.post(server.url + CHAT, ASK, x_stainless_retry_count=str(retries))
    assert journaled.only().attempt == 1


def test_a_call_whose_texts_are_beyond_reason_is_one_the_books_hold(
    server: Server, make_caller: MakeCaller, journaled: Journaled
) -> None:
    server.says(plain(json.dumps({"model": "模" * 600, "choices": []}).encode()))
    caller = make_caller().metered(provider="家" * 600)
    caller.post(server.url + CHAT, {"model": "型" * 600, "reasoning_effort": "高" * 600, "service_tier": "层" * 600})
    call = journaled.only()
    refuse_implausible(call, datetime.now(UTC))
    assert (call.model, call.request_model) == ("模" * 170, "型" * 170)
    assert Call.decode(call.encode()) == call

"""Calls that budgets cover: what is asked before they are sent, what is given back, and who is told no."""

import asyncio
import itertools
import os
import subprocess
import sys
import time
import types
from collections import Counter
from collections.abc import Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

import accounting
from accounting import budgetfile, credentials, gate, recorder, thresholds
from accounting.capture import Tap
from accounting.coverage import Coverage
from accounting.decisions import BudgetState, Mode
from accounting.errors import BudgetExceeded, ConfigurationError, StoreAway
from accounting.exposures import exposure_of
from accounting.latch import Latch
from accounting.scopes import Kind, Scope
from accounting.usage import Outcome, new_id
from tests.capture.answers import ASK, ASK_STREAM, CHAT, JSON, OPENAI
from tests.capture.callers import ASYNC_HTTPX, ASYNC_HTTPX2, HTTPX, HTTPX2, Caller
from tests.capture.conftest import AWAY_URL as URL
from tests.capture.conftest import Journaled, MakeCaller, end_gate, expect_faults
from tests.capture.gates import LENIENT, SOFT, TEAM, Budgets, covering
from tests.capture.wire import Server, head, nobody, plain, stream
from tests.warehouse import until

in_tasks = pytest.mark.parametrize("flavour", [ASYNC_HTTPX, ASYNC_HTTPX2], ids=str)
in_threads = pytest.mark.parametrize("flavour", [HTTPX, HTTPX2], ids=str)
SDK = {"x_stainless_retry_count": "0"}


def only_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "REFRESHED_EVERY", 60.0)


# What is asked


def test_a_call_is_written_down_then_set_aside_then_sent(
    budgets: Budgets, server: Server, caller: Caller, journaled: Journaled
) -> None:
    seen: list[object] = []

    def answer(asked: object) -> list[bytes]:
        seen.extend(budgets.reserved)
        return [plain(JSON)]

    server.answer = answer
    assert caller.post(server.url + CHAT, ASK).body == JSON
    call = journaled.only()
    assert (seen, call.outcome, call.refused_by) == ([call.id], Outcome.FINISHED, None)
    assert budgets.released == [], "the books settle it, once they know what it cost"


def test_a_call_that_only_soft_budgets_cover_asks_nobody(
    budgets: Budgets, server: Server, caller: Caller, journaled: Journaled
) -> None:
    budgets.known = covering(SOFT, replace(TEAM, scope=Scope(Kind.PROVIDER, name="another")))
    server.says(plain(JSON))
    assert caller.post(server.url + CHAT, ASK).body == JSON
    assert budgets.batches == []


def test_nothing_is_computed_for_a_call_that_no_hard_budget_covers(
    budgets: Budgets, server: Server, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(gate.Keeper, "_asked", lambda *_: asked.append("asked"))
    budgets.known = covering(SOFT)
    server.says(plain(JSON))
    caller.post(server.url + CHAT, ASK)
    assert asked == []


@in_threads
def test_calls_that_wait_at_the_same_time_are_decided_together(
    budgets: Budgets, server: Server, make_caller: MakeCaller
) -> None:
    caller = make_caller().metered()
    server.says(plain(JSON))
    caller.client.post(server.url + CHAT, json=ASK)
    budgets.stalls = "reserve"
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(caller.client.post, server.url + CHAT, json=ASK)
        assert budgets.reached.wait(5)
        rest = [pool.submit(caller.client.post, server.url + CHAT, json=ASK) for _ in range(8)]
        assert until(lambda: recorder.recorder().gate._inbox.qsize() == 8)
        budgets.go.set()
        assert {done.result(5).status_code for done in (first, *rest)} == {200}
    assert [len(batch) for batch in budgets.batches] == [1, 1, 8]


def test_one_call_that_cannot_be_asked_about_takes_no_other_with_it(
    budgets: Budgets, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve = budgets.reserve

    def picky(asks: Any) -> Any:
        if any(ask.call.request_model == "bad" for ask in asks):
            raise ValueError("bad")
        return reserve(asks)

    monkeypatch.setattr(budgets, "reserve", picky)
    keeper = recorder.recorder().gate
    asks = [_ask(model) for model in ("good", "bad", "better")]
    kinds = [type(fate).__name__ for fate in keeper._fates(asks)]
    assert kinds == ["Grant", "Away", "Grant"]


def _ask(model: str) -> Any:
    from accounting.decisions import Ask
    from accounting.exposure import Exposure
    from tests.warehouse import started

    return Ask(replace(started(), request_model=model), Exposure(1, 1, True, 1, 1))


# Who is told no


def test_a_refused_call_of_a_bare_client_raises_and_nothing_is_sent(
    budgets: Budgets, server: Server, caller: Caller, journaled: Journaled
) -> None:
    budgets.limit = 0
    assert caller.post(server.url + CHAT, ASK).error == "BudgetExceeded"
    assert server.asked == []
    call = journaled.only()
    assert (call.outcome, call.http_status, call.refused_by) == (Outcome.FAILED, None, "team")
    assert call.ended_at is not None
    assert budgets.released == [], "nothing was set aside"


def test_what_is_raised_says_who_refused_and_why(budgets: Budgets, server: Server) -> None:
    budgets.limit = budgets.spent = 7
    with accounting.Client() as client, pytest.raises(BudgetExceeded, match="used up") as raised:
        client.post(server.url + CHAT, json=ASK)
    error = raised.value
    assert (error.why, error.budget, error.currency) == ("over", "team", "CNY")
    assert (error.limit, error.spent) == (Decimal(7), Decimal(7))


@pytest.mark.parametrize("ask", [ASK, ASK_STREAM], ids=["whole", "streamed"])
def test_an_sdk_s_call_is_answered_with_a_402_once(
    ask: dict[str, Any], budgets: Budgets, server: Server, caller: Caller, journaled: Journaled
) -> None:
    budgets.limit = 0
    received = caller.post(server.url + CHAT, ask, **SDK)
    assert (received.status, received.headers["x-should-retry"]) == (402, "false")
    assert b"used up" in received.body
    assert server.asked == []
    assert [call.refused_by for call in journaled.calls()] == ["team"]


class Sdk:
    """Keeps its HTTP client in itself, as SDKs do."""

    def __init__(self, http: Any) -> None:
        self._http = http


def test_a_client_that_was_metered_in_an_sdk_is_an_sdk_s(
    budgets: Budgets, server: Server, make_caller: MakeCaller
) -> None:
    budgets.limit = 0
    caller = make_caller()
    accounting.meter(Sdk(caller.client))
    assert caller.post(server.url + CHAT, ASK).status == 402


def test_a_bare_client_that_an_sdk_takes_later_is_an_sdk_s_from_there_on(
    budgets: Budgets, server: Server, make_caller: MakeCaller
) -> None:
    budgets.limit = 0
    caller = make_caller().metered()
    accounting.meter(Sdk(caller.client))
    accounting.meter(caller.client)
    assert caller.post(server.url + CHAT, ASK).status == 402


def test_a_call_that_is_sent_again_is_set_aside_anew(
    budgets: Budgets, server: Server, caller: Caller, journaled: Journaled
) -> None:
    """As a server that knows no `stream_options` makes it be sent again."""
    server.says_in_turn(plain(b'{"error": {"message": "stream_options: unknown"}}', 400), stream(OPENAI))
    assert caller.post(server.url + CHAT, ASK_STREAM).body == OPENAI
    refused, sent = journaled.calls()
    assert [ask.call.id for batch in budgets.batches for ask in batch] == [refused.id, sent.id]
    assert until(lambda: budgets.released == [refused.id])
    assert list(budgets.reserved) == [sent.id]


# What is given back


@pytest.mark.parametrize("status", [302, 400, 401, 404, 429, 500, 503])
def test_an_http_error_gives_back_what_was_set_aside(
    status: int, budgets: Budgets, server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.says(plain(b"{}", status))
    caller.post(server.url + CHAT, ASK)
    assert until(lambda: budgets.released == [journaled.only().id])


def test_a_call_that_reached_nobody_gives_it_back(budgets: Budgets, caller: Caller, journaled: Journaled) -> None:
    with nobody() as url:
        caller.post(url + CHAT, ASK)
    assert journaled.only().outcome == Outcome.FAILED
    assert until(lambda: budgets.released == [journaled.only().id])


@pytest.mark.parametrize("answer", ["error inside", "cut", "no usage", "silence"])
def test_what_may_be_charged_stays_set_aside(
    answer: str, budgets: Budgets, server: Server, make_caller: MakeCaller, journaled: Journaled
) -> None:
    caller = make_caller(timeout=0.3).metered()
    if answer == "silence":
        server.says(server.hang)
    else:
        begun = head(200, "content-type: text/event-stream")
        said = {
            "error inside": b'data: {"error": {"message": "x"}}\n\n',
            "cut": b"data: {",
            "no usage": b"data: [DONE]\n\n",
        }
        server.says(begun, said[answer])
    caller.post(server.url + CHAT, ASK_STREAM)
    end_gate()
    assert budgets.released == []
    assert list(budgets.reserved) == [journaled.only().id]


def test_what_could_not_be_given_back_is_given_back_later(
    budgets: Budgets, server: Server, caller: Caller, journaled: Journaled
) -> None:
    def gone(asked: object) -> list[bytes]:
        budgets.is_away = True
        return [plain(b"{}", 500)]

    server.answer = gone
    caller.post(server.url + CHAT, ASK)
    assert until(lambda: "budgets.refresh" in journaled.faults())
    budgets.is_away = False
    assert until(lambda: budgets.reserved == {})
    expect_faults("budgets.refresh")


def test_where_the_host_s_file_cannot_be_written_reservations_are_given_back_all_the_same(
    budgets: Budgets, server: Server, caller: Caller, journaled: Journaled, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(budgetfile, "keep", read_only)
    server.says(plain(b"{}", 500))
    caller.post(server.url + CHAT, ASK)
    looked = budgets.looked
    assert until(lambda: budgets.looked > looked + 2)
    caller.post(server.url + CHAT, ASK)
    assert until(lambda: budgets.reserved == {})
    assert budgets.released == [call.id for call in journaled.calls()]
    assert journaled.faults() == {"budgets.keep": 1}, "told once"
    expect_faults("budgets.keep")


def test_while_the_store_is_away_only_so_many_wait_to_be_given_back_and_then_go_in_portions(
    budgets: Budgets, server: Server, caller: Caller, journaled: Journaled, monkeypatch: pytest.MonkeyPatch
) -> None:
    portions: list[int] = []
    release = budgets.release

    def counted(ids: Any) -> None:
        release(ids)
        portions.append(len(ids))

    monkeypatch.setattr(budgets, "release", counted)
    monkeypatch.setattr(gate, "MOST_TO_FREE", 10)
    monkeypatch.setattr(gate, "FREED_AT_ONCE", 4)
    server.says(plain(JSON))
    caller.post(server.url + CHAT, ASK)
    budgets.is_away = True
    assert until(lambda: "budgets.refresh" in journaled.faults())
    ids = [new_id() for _ in range(25)]
    keeper = recorder.recorder().gate
    for each in ids:
        keeper.release(each)
    assert until(lambda: len(keeper._to_free) == 10 and keeper._inbox.empty())
    budgets.is_away = False
    assert until(lambda: len(budgets.released) == 10)
    assert {*budgets.released} == {*ids[-10:]}, "the books settle the others"
    assert portions == [4, 4, 2]
    expect_faults("budgets.release", "budgets.refresh")


@pytest.mark.parametrize("bound", [TEAM, LENIENT], ids=lambda bound: bound.name)
def test_what_was_set_aside_before_asking_failed_is_given_back_only_where_the_call_was_not_sent(
    bound: Any, budgets: Budgets, server: Server, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a connection that is lost while the store commits."""
    reserve = budgets.reserve

    def lost(asks: Any) -> Any:
        reserve(asks)
        raise StoreAway("The connection was lost.")

    monkeypatch.setattr(budgets, "reserve", lost)
    budgets.known = covering(bound)
    server.says(plain(JSON))
    caller.post(server.url + CHAT, ASK)
    end_gate()
    assert len(server.asked) == len(budgets.reserved) == (bound is LENIENT)
    assert len(budgets.released) == (bound is TEAM)
    expect_faults("budgets.away")


def test_what_is_set_aside_too_late_for_a_call_that_was_sent_unasked_stays(
    budgets: Budgets, server: Server, make_caller: MakeCaller, journaled: Journaled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCOUNTING_BUDGET_SECONDS", "0.1")
    budgets.known, budgets.stalls = covering(LENIENT), "reserve"
    server.says(plain(JSON))
    assert make_caller().metered().post(server.url + CHAT, ASK).body == JSON
    budgets.go.set()
    end_gate()
    assert (list(budgets.reserved), budgets.released) == ([journaled.only().id], [])
    expect_faults("budgets.away")


@in_threads
def test_what_was_just_given_back_makes_room_for_a_call_that_asks_at_the_same_moment(
    budgets: Budgets, server: Server, make_caller: MakeCaller
) -> None:
    only = make_caller().metered().client
    budgets.limit = 2
    server.says(plain(JSON))
    assert only.post(server.url + CHAT, json=ASK).status_code == 200
    (first,) = budgets.reserved
    budgets.stalls = "reserve"
    with ThreadPoolExecutor(2) as pool:
        second = pool.submit(only.post, server.url + CHAT, json=ASK)
        assert budgets.reached.wait(5)
        third = pool.submit(only.post, server.url + CHAT, json=ASK)
        keeper = recorder.recorder().gate
        assert until(lambda: keeper._inbox.qsize() == 1)
        keeper.release(first)
        budgets.go.set()
        assert {done.result(5).status_code for done in (second, third)} == {200}


def test_what_waits_to_be_given_back_is_given_back_at_the_end_however_much_it_is(
    budgets: Budgets, server: Server, caller: Caller
) -> None:
    server.says(plain(JSON))
    budgets.stalls = "coverage"
    keeper = recorder.recorder().gate
    keeper._begin()
    assert budgets.reached.wait(5)
    ids = [new_id() for _ in range(3 * gate.MOST_AT_ONCE)]
    for each in ids:
        keeper.release(each)
    keeper.end()
    budgets.go.set()
    keeper.join(5)
    assert {*budgets.released} == {*ids}


# Who does not wait


def test_a_decision_that_takes_too_long_is_none_and_what_is_set_aside_later_is_given_back(
    budgets: Budgets, server: Server, make_caller: MakeCaller, journaled: Journaled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCOUNTING_BUDGET_SECONDS", "0.1")
    budgets.stalls = "reserve"
    assert make_caller().metered().post(server.url + CHAT, ASK).error == "BudgetExceeded"
    call = journaled.only()
    assert (call.outcome, call.refused_by, server.asked) == (Outcome.FAILED, "team", [])
    budgets.go.set()
    assert until(lambda: budgets.released == [call.id])
    assert budgets.reserved == {}
    expect_faults("budgets.away")


@in_tasks
@pytest.mark.parametrize("bound", [TEAM, LENIENT], ids=lambda bound: bound.name)
def test_a_task_that_is_cancelled_while_it_waits_has_sent_nothing_and_leaves_nothing(
    bound: Any, budgets: Budgets, server: Server, caller: Caller, journaled: Journaled
) -> None:
    budgets.known, budgets.stalls = covering(bound), "reserve"

    async def cancel() -> None:
        task = asyncio.create_task(caller.send(caller.request(server.url + CHAT, ASK)))
        while not budgets.reached.is_set():
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    caller.run(cancel())
    assert journaled.outcomes() == [Outcome.FAILED]
    assert journaled.only().refused_by is None, "nobody said no"
    budgets.go.set()
    assert until(lambda: budgets.released == [journaled.only().id])
    assert (budgets.reserved, server.asked) == ({}, [])


@in_tasks
def test_cancelled_at_any_step_a_call_leaves_nothing_set_aside_that_was_not_sent(
    budgets: Budgets, server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.says(plain(JSON))
    caller.post(server.url + CHAT, ASK)

    async def cancel_at(wait: int) -> bool:
        """Whether it came to its end before."""
        work = caller.send(caller.request(server.url + CHAT, ASK))
        ends = await asyncio.gather(_cancelled_at(wait, work), return_exceptions=True)
        return not isinstance(ends[0], asyncio.CancelledError)

    waits = 1
    while not caller.run(cancel_at(waits)):
        waits += 1
    end_gate()
    calls = journaled.calls()
    not_sent = {call.id for call in calls if call.outcome is Outcome.FAILED}
    assert calls[1].id in not_sent, "it waited for its budgets first"
    assert len(calls) == waits + 1 > 4
    assert budgets.reserved.keys() == {call.id for call in calls} - not_sent


@types.coroutine
def _cancelled_at(wait: int, work: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Await the work, and cancel the task at the wait of that number."""
    go_on = partial(work.send, None)
    for count in itertools.count(1):
        try:
            waited_for = go_on()
        except StopIteration as end:
            return end.value
        if count == wait and (task := asyncio.current_task()) is not None:
            task.cancel()
        try:
            yield waited_for
            go_on = partial(work.send, None)
        except BaseException as error:
            go_on = partial(work.throw, error)
    return None


def test_an_interrupt_while_a_thread_waits_leaves_nothing(
    budgets: Budgets, server: Server, journaled: Journaled, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(latch: object, seconds: float) -> bool:
        raise KeyboardInterrupt

    with accounting.Client() as client:
        server.says(plain(JSON))
        client.post(server.url + CHAT, json=ASK)
        monkeypatch.setattr(Latch, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            client.post(server.url + CHAT, json=ASK)
    sent, left = journaled.calls()
    assert (left.outcome, len(server.asked)) == (Outcome.FAILED, 1)
    end_gate()
    assert list(budgets.reserved) == [sent.id]


# The store is away


@pytest.mark.parametrize(("bounds", "sent"), [((TEAM,), 0), ((LENIENT,), 1), ((LENIENT, TEAM), 0), ((SOFT,), 1)])
def test_a_store_that_is_away_refuses_what_one_of_its_budgets_says_it_shall(
    bounds: Any, sent: int, budgets: Budgets, server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.says(plain(JSON))
    budgets.known = covering(*bounds)
    keeper = recorder.recorder().gate
    keeper._begin()
    assert until(lambda: budgets.looked > 0)
    budgets.is_away = True
    received = caller.post(server.url + CHAT, ASK)
    assert len(server.asked) == sent
    assert received.error == (None if sent else "BudgetExceeded")
    assert until(lambda: "budgets.refresh" in journaled.faults())
    expect_faults("budgets.refresh", *(["budgets.away"] if bounds != (SOFT,) else []))
    budgets.is_away = False
    assert caller.post(server.url + CHAT, ASK).body == JSON, "it is back"


def test_a_refusal_of_a_store_that_is_away_says_what_to_do(budgets: Budgets, server: Server) -> None:
    keeper = recorder.recorder().gate
    keeper._begin()
    assert until(lambda: budgets.looked > 0)
    budgets.is_away = True
    with accounting.Client() as client, pytest.raises(BudgetExceeded) as raised:
        client.post(server.url + CHAT, json=ASK)
    assert (raised.value.why, raised.value.limit) == ("away", None)
    for told in ("team", "The store is away", "accounting doctor", "--when-away pass"):
        assert told in str(raised.value)
    assert until(lambda: "budgets.refresh" in recorder.recorder().faults.counts())
    expect_faults("budgets.away", "budgets.refresh")


def test_where_nobody_ever_knew_of_budgets_calls_pass_and_are_counted(
    budgets: Budgets, server: Server, caller: Caller, journaled: Journaled
) -> None:
    budgets.is_away = True
    server.says(plain(JSON))
    assert caller.post(server.url + CHAT, ASK).body == JSON
    expect_faults("budgets.unknown", "budgets.refresh")


def test_where_budgets_are_required_and_nobody_ever_knew_of_any_calls_are_refused(
    budgets: Budgets, server: Server, caller: Caller, journaled: Journaled, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder.close()
    monkeypatch.setenv("ACCOUNTING_BUDGETS_REQUIRED", "true")
    budgets.is_away = True
    server.says(plain(JSON))
    assert [caller.post(server.url + CHAT, ASK).error for _ in range(2)] == ["BudgetExceeded"] * 2
    received = caller.post(server.url + CHAT, ASK, **SDK)
    assert (received.status, b"unset it" in received.body, server.asked) == (402, True, [])
    monkeypatch.setattr(gate.Keeper, "admission", None)
    assert caller.post(server.url + CHAT, ASK).error == "BudgetExceeded", "nor past a fault of ours"
    calls = journaled.calls()
    assert {(call.outcome, call.refused_by) for call in calls} == {(Outcome.FAILED, "ACCOUNTING_BUDGETS_REQUIRED")}
    assert len(calls) == 4
    expect_faults("budgets.unknown", "budgets.refresh", "Tap.admission")


def test_where_budgets_are_required_calls_pass_once_it_is_known_that_there_are_none(
    budgets: Budgets, server: Server, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder.close()
    monkeypatch.setenv("ACCOUNTING_BUDGETS_REQUIRED", "true")
    budgets.is_away, budgets.known = True, covering()
    server.says(plain(JSON))
    assert caller.post(server.url + CHAT, ASK).error == "BudgetExceeded"
    budgets.is_away = False
    assert until(lambda: caller.post(server.url + CHAT, ASK).body == JSON)
    expect_faults("budgets.unknown", "budgets.refresh")


def test_a_process_that_begins_while_the_store_is_away_knows_which_budgets_bind(
    budgets: Budgets, server: Server, caller: Caller, journaled: Journaled
) -> None:
    file = budgetfile.file_of(URL)
    budgetfile.keep(file, covering(TEAM))
    os.utime(file, (0, 0))
    budgets.is_away = True
    assert caller.post(server.url + CHAT, ASK).error == "BudgetExceeded"
    expect_faults("budgets.away", "budgets.refresh")


def test_the_first_call_waits_so_long_and_no_longer_to_learn_which_budgets_there_are(
    budgets: Budgets, server: Server, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCOUNTING_BUDGET_SECONDS", "0.2")
    budgets.stalls = "coverage"
    server.says(plain(JSON))
    begin = time.monotonic()
    assert caller.post(server.url + CHAT, ASK).body == JSON
    first = time.monotonic()
    assert caller.post(server.url + CHAT, ASK).body == JSON
    assert first - begin >= 0.2
    assert time.monotonic() - first < 0.15, "the second does not wait again"
    expect_faults("budgets.unknown")


def _stale(*bounds: Any) -> None:
    """What this host knew long ago."""
    file = budgetfile.file_of(URL)
    budgetfile.keep(file, covering(*bounds))
    os.utime(file, (0, 0))


def test_a_slow_start_of_ours_lets_no_call_past_a_budget_that_the_host_s_file_does_not_know(
    budgets: Budgets, server: Server, make_caller: MakeCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(url: str) -> Budgets:
        time.sleep(0.5)
        return budgets

    monkeypatch.setenv("ACCOUNTING_BUDGET_SECONDS", "0.1")
    monkeypatch.setattr(gate, "open_gate", load)
    _stale(SOFT)
    budgets.limit = 0
    client = make_caller().metered()
    assert client.post(server.url + CHAT, ASK).error == "BudgetExceeded"
    assert server.asked == []


def test_a_slow_start_of_ours_refuses_no_call_that_there_is_room_for(
    budgets: Budgets, server: Server, make_caller: MakeCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(url: str) -> Budgets:
        time.sleep(0.5)
        return budgets

    monkeypatch.setenv("ACCOUNTING_BUDGET_SECONDS", "0.2")
    monkeypatch.setattr(gate, "open_gate", load)
    budgetfile.keep(budgetfile.file_of(URL), covering(TEAM))
    server.says(plain(JSON))
    assert make_caller().metered().post(server.url + CHAT, ASK).body == JSON
    assert len(budgets.reserved) == 1


@pytest.mark.parametrize("required", ["true", "false"])
def test_what_this_host_knew_long_ago_does_not_say_that_no_budget_covers_a_call(
    required: str, budgets: Budgets, server: Server, make_caller: MakeCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder.close()
    monkeypatch.setenv("ACCOUNTING_BUDGETS_REQUIRED", required)
    _stale(SOFT, replace(TEAM, scope=Scope(Kind.USER, name="another")))
    budgets.is_away = True
    server.says(plain(JSON))
    error = make_caller().metered().post(server.url + CHAT, ASK).error
    assert error == ("BudgetExceeded" if required == "true" else None)
    expect_faults("budgets.unknown", "budgets.refresh")


def test_where_no_thread_can_be_begun_what_this_host_knows_binds_and_the_end_is_clean(
    budgets: Budgets, server: Server, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_to_be_had(thread: object) -> None:
        raise RuntimeError("can't start new thread")

    _stale(TEAM)
    keeper = recorder.recorder().gate
    with monkeypatch.context() as here:
        here.setattr(Thread, "start", none_to_be_had)
        keeper._begin()
    assert caller.post(server.url + CHAT, ASK).error == "BudgetExceeded"
    end_gate()
    expect_faults("budgets.start", "budgets.away")


def test_what_another_process_of_this_host_has_just_learned_spares_the_first_wait(
    budgets: Budgets, server: Server, caller: Caller
) -> None:
    budgetfile.keep(budgetfile.file_of(URL), covering(SOFT))
    budgets.stalls = "coverage"
    server.says(plain(JSON))
    begin = time.monotonic()
    assert caller.post(server.url + CHAT, ASK).body == JSON
    assert time.monotonic() - begin < 1


def test_a_store_that_was_not_made_yet_has_no_budgets_and_no_toolkit_is_loaded_for_it(
    server: Server, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(url: str) -> Any:
        raise AssertionError("opened")

    monkeypatch.setattr(gate, "open_gate", opened)
    server.says(plain(JSON))
    assert caller.post(server.url + CHAT, ASK).body == JSON


def test_a_store_s_file_that_is_gone_leaves_its_budgets_in_force(
    budgets: Budgets, server: Server, caller: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "books.sqlite3"
    monkeypatch.setenv("ACCOUNTING_STORE_URL", f"sqlite:///{file}")
    file.touch()
    server.says(plain(JSON))
    assert caller.post(server.url + CHAT, ASK).body == JSON
    file.unlink()
    assert until(lambda: "budgets.refresh" in recorder.recorder().faults.counts())
    budgets.limit = 0
    assert caller.post(server.url + CHAT, ASK).error == "BudgetExceeded"
    expect_faults("budgets.refresh")


def test_a_fault_in_what_a_call_may_use_does_not_let_it_past_a_budget(
    budgets: Budgets, server: Server, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> Any:
        raise RuntimeError("ours")

    monkeypatch.setattr("accounting.capture.exposure_of", broken)
    assert caller.post(server.url + CHAT, ASK).error == "BudgetExceeded"
    budgets.known = covering(LENIENT, edition=2)
    server.says(plain(JSON))
    looked = budgets.looked
    assert until(lambda: budgets.looked > looked + 1)
    assert caller.post(server.url + CHAT, ASK).body == JSON
    expect_faults("budgets.away")


def test_a_call_that_a_fault_of_ours_stops_is_written_down_as_refused(
    budgets: Budgets, server: Server, caller: Caller, journaled: Journaled, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.says(plain(JSON))
    caller.post(server.url + CHAT, ASK)

    def broken(*_: object) -> Any:
        raise RuntimeError("ours")

    monkeypatch.setattr(gate.Keeper, "covering", broken)
    assert caller.post(server.url + CHAT, ASK).error == "BudgetExceeded"
    sent, refused = journaled.calls()
    assert (refused.outcome, refused.http_status, refused.refused_by) == (Outcome.FAILED, None, "team")
    assert list(budgets.reserved) == [sent.id]
    assert len(server.asked) == 1
    expect_faults(next(iter(journaled.faults())))


def test_a_refusal_that_cannot_be_written_down_holds(
    budgets: Budgets, server: Server, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> Any:
        raise RuntimeError("ours")

    budgets.known, budgets.limit = covering(LENIENT), 0
    monkeypatch.setattr(Tap, "_ended", broken)
    assert caller.post(server.url + CHAT, ASK).error == "BudgetExceeded"
    assert server.asked == []
    expect_faults(next(iter(recorder.recorder().faults.counts())))


@in_tasks
def test_what_was_set_aside_for_a_call_that_a_fault_of_ours_stops_is_given_back(
    budgets: Budgets, server: Server, caller: Caller, journaled: Journaled, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(latch: Latch, seconds: float) -> bool:
        latch.wait(5)
        raise RuntimeError("ours")

    monkeypatch.setattr(Latch, "wait_async", broken)
    budgetfile.keep(budgetfile.file_of(URL), covering(TEAM))
    assert caller.post(server.url + CHAT, ASK).error == "BudgetExceeded"
    assert until(lambda: [len(batch) for batch in budgets.batches] == [1] and budgets.reserved == {})
    assert (journaled.only().refused_by, server.asked) == ("team", [])
    expect_faults(next(iter(journaled.faults())))


# What changes while the process runs


def test_a_budget_that_is_added_binds_a_process_that_runs(budgets: Budgets, server: Server, caller: Caller) -> None:
    budgets.known, budgets.limit = covering(), 0
    server.says(plain(JSON))
    assert caller.post(server.url + CHAT, ASK).body == JSON
    budgets.known = covering(TEAM, edition=2)
    assert until(lambda: caller.post(server.url + CHAT, ASK).error == "BudgetExceeded")


def test_the_host_s_file_is_written_when_its_bytes_change_and_touched_when_not(
    budgets: Budgets, server: Server, caller: Caller
) -> None:
    server.says(plain(JSON))
    caller.post(server.url + CHAT, ASK)
    file = budgetfile.file_of(URL)
    assert until(lambda: _kept(file) == covering(TEAM).encode())
    before = file.stat()
    assert before.st_mode & 0o777 == 0o600
    assert until(lambda: file.stat().st_mtime_ns > before.st_mtime_ns)
    assert file.stat().st_ino == before.st_ino
    budgets.known = covering(TEAM, LENIENT, edition=2)
    assert until(lambda: _kept(file) == budgets.known.encode())


def _kept(file: Path) -> bytes | None:
    known = budgetfile.known(file)
    return None if known is None else known.encode()


FORK = """
import os, sys
from tests.capture.gates import Budgets
import accounting
from accounting import gate, recorder
from accounting.errors import BudgetExceeded

budgets = Budgets(limit=1)
gate.open_gate = lambda url: budgets
client = accounting.Client()

def call():
    try:
        return str(client.post(sys.argv[1], json={"model": "gpt-x"}).status_code)
    except BudgetExceeded as error:
        return error.why

print(call(), call(), flush=True)
budgets.limit = 2
if child := os.fork():
    os.waitpid(child, 0)
print(call(), call(), [thread.is_alive() for thread in [recorder.recorder().gate._thread]], flush=True)
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_asks_through_a_thread_of_its_own(server: Server, tmp_path: Path) -> None:
    server.says(plain(JSON))
    environment = os.environ | {"ACCOUNTING_STORE_URL": URL, "ACCOUNTING_DATA_DIR": str(tmp_path / "data")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK, server.url + CHAT],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    # Each of the two has a copy of the budget, with room for one more call.
    assert done.stdout.splitlines() == ["200 over", "200 over [True]", "200 over [True]"], done.stderr


def test_threads_never_pass_more_calls_than_there_is_room_for(
    budgets: Budgets, server: Server, journaled: Journaled
) -> None:
    budgets.limit = 20
    server.says(plain(JSON))

    def call(client: accounting.Client) -> str:
        try:
            return str(client.post(server.url + CHAT, json=ASK).status_code)
        except BudgetExceeded as error:
            return error.why

    with accounting.Client() as client, ThreadPoolExecutor(16) as pool:
        done = Counter(pool.map(call, [client] * 60))
    assert done == {"200": 20, "over": 40}
    assert Counter(call.refused_by for call in journaled.calls()) == {None: 20, "team": 40}


def test_closing_ends_the_thread_and_gives_the_connections_back(
    budgets: Budgets, server: Server, caller: Caller
) -> None:
    server.says(plain(b"{}", 500))
    caller.post(server.url + CHAT, ASK)
    keeper = recorder.recorder().gate
    recorder.close()
    assert keeper._thread is not None
    assert not keeper._thread.is_alive()
    assert budgets.is_closed
    assert budgets.reserved == {}, "what had come in is done before"


# Programs that want to slow down first


def test_what_remains_is_that_of_the_budget_that_is_used_up_most(budgets: Budgets) -> None:
    budgets.known, budgets.limit, budgets.spent = covering(SOFT, TEAM), 8, 6
    found = accounting.remaining(model="gpt-x")
    assert found is not None
    assert (found.remaining, found.currency, found.share) == (Decimal(2), "CNY", Decimal("0.75"))
    assert [state.budget for state in found.states] == ["hint", "team"]


def test_where_no_budget_covers_the_call_there_is_nothing_to_remain(budgets: Budgets) -> None:
    budgets.known = covering()
    assert accounting.remaining() is None


def test_what_remains_is_asked_for_whom_the_running_code_is_attributed_to(budgets: Budgets) -> None:
    of_one = replace(TEAM, scope=Scope(Kind.USER, name="u-1"))
    of_tag = replace(TEAM, id=9, name="tagged", scope=Scope(Kind.TAG, name="feature", value="rerank"))
    budgets.known = covering(of_one, of_tag)
    with accounting.attribute(user="u-1", tags={"feature": "rerank"}):
        mine, other = accounting.remaining(), accounting.remaining(user="u-2", tags={"feature": "x"})
    assert mine is not None
    assert [state.budget for state in mine.states] == ["tagged", "team"]
    assert other is None


def test_what_remains_is_asked_for_a_key_or_its_fingerprint_whichever_budgets_know(budgets: Budgets) -> None:
    """Together's keys look like fingerprints."""
    keys = ["sk-0123456789abcdef", "0123456789abcdef" * 4]
    known_as = [credentials.known_as(key).fingerprint for key in keys]
    of_keys = [replace(TEAM, id=id_, name=str(id_), scope=Scope(Kind.KEY, id_)) for id_ in (1, 2)]
    budgets.known = Coverage(budgets=of_keys, keys=dict(zip(known_as, (1, 2), strict=True)))
    found = [accounting.remaining(key=key) for key in (*keys, *known_as, "sk-another-one-1234", "f" * 64)]
    assert [each and each.budget for each in found] == ["1", "2", "1", "2", None, None]


def test_a_store_that_does_not_say_what_remains_is_away(budgets: Budgets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCOUNTING_BUDGET_SECONDS", "0.1")
    budgets.stalls = "states"
    with pytest.raises(StoreAway, match="ACCOUNTING_BUDGET_SECONDS"):
        accounting.remaining()
    budgets.go.set()
    budgets.is_away = True
    with pytest.raises(StoreAway, match="is away"):
        accounting.remaining()
    assert until(lambda: "budgets.refresh" in recorder.recorder().faults.counts())
    expect_faults("budgets.refresh")


Told = list[tuple[str, Decimal]]


def test_thresholds_of_hard_budgets_are_told_once(
    budgets: Budgets, server: Server, make_caller: MakeCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_at_start(monkeypatch)
    told: Told = []
    budgets.limit, budgets.thresholds = 4, (Decimal(100), Decimal(50), Decimal(75))
    caller = make_caller().metered(on_budget=lambda state, percent: told.append((state.budget, percent)))
    server.says(plain(JSON))
    counts = []
    for _ in range(5):
        caller.post(server.url + CHAT, ASK)
        assert until(lambda: recorder.recorder().gate._inbox.empty())
        time.sleep(0.02)
        counts.append(len(told))
    assert counts == [0, 1, 2, 3, 3]
    assert told == [("team", Decimal(50)), ("team", Decimal(75)), ("team", Decimal(100))]


def test_thresholds_of_soft_budgets_are_told_by_and_by(
    budgets: Budgets, server: Server, make_caller: MakeCaller
) -> None:
    told: list[BudgetState] = []
    budgets.known, budgets.limit, budgets.thresholds = covering(SOFT), 10, (Decimal(80),)
    caller = make_caller().metered(on_budget=lambda state, percent: told.append(state))
    server.says(plain(JSON))
    caller.post(server.url + CHAT, ASK)
    looked = budgets.looked
    assert until(lambda: budgets.looked > looked + 2)
    assert told == []
    budgets.spent = 8
    assert until(lambda: len(told) == 1)
    looked = budgets.looked
    assert until(lambda: budgets.looked > looked + 2)
    assert [(state.budget, state.spent) for state in told] == [("hint", Decimal(8))]


def test_a_callback_that_fails_is_counted_and_harms_no_call(
    budgets: Budgets, server: Server, make_caller: MakeCaller
) -> None:
    def fail(state: BudgetState, percent: Decimal) -> None:
        raise SystemExit(3)

    budgets.limit, budgets.thresholds = 1_000, (Decimal(0),)
    caller = make_caller().metered(on_budget=fail)
    server.says(plain(JSON))
    assert [caller.post(server.url + CHAT, ASK).status for _ in range(3)] == [200] * 3
    assert until(lambda: "on_budget" in recorder.recorder().faults.counts())
    expect_faults("on_budget")


def test_a_slow_callback_keeps_no_call_waiting_and_callbacks_keep_their_order(
    budgets: Budgets, server: Server, make_caller: MakeCaller
) -> None:
    told: list[Decimal] = []
    may_go_on = Event()

    def slow(state: BudgetState, percent: Decimal) -> None:
        may_go_on.wait(10)
        told.append(percent)

    budgets.limit, budgets.thresholds = 4, (Decimal(25), Decimal(50), Decimal(75), Decimal(100))
    caller = make_caller().metered(on_budget=slow)
    server.says(plain(JSON))
    begin = time.monotonic()
    assert [caller.post(server.url + CHAT, ASK).status for _ in range(4)] == [200] * 4
    assert time.monotonic() - begin < 4, "it would not be asked while the first callback waits"
    assert told == []
    may_go_on.set()
    end_gate()
    assert told == [*budgets.thresholds]


def test_where_too_many_callbacks_wait_others_are_told_later(
    budgets: Budgets, server: Server, make_caller: MakeCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thresholds, "MOST_TO_TELL", 1)
    told: list[Decimal] = []
    may_go_on = Event()

    def slow(state: BudgetState, percent: Decimal) -> None:
        may_go_on.wait(10)
        told.append(percent)

    budgets.known, budgets.limit, budgets.spent = covering(SOFT), 10, 1
    budgets.thresholds = tuple(map(Decimal, (10, 20, 30)))
    caller = make_caller().metered(on_budget=slow)
    server.says(plain(JSON))
    for spent in (1, 2, 3):
        budgets.spent, looked = spent, budgets.looked
        caller.post(server.url + CHAT, ASK)
        assert until(lambda seen=looked: budgets.looked > seen + 2)
    may_go_on.set()
    assert until(lambda: told == [*budgets.thresholds])
    expect_faults("on_budget")


def test_a_callback_may_ask_what_remains(budgets: Budgets, server: Server, make_caller: MakeCaller) -> None:
    found: list[object] = []
    budgets.thresholds = (Decimal(0),)
    caller = make_caller().metered(on_budget=lambda state, percent: found.append(accounting.remaining()))
    server.says(plain(JSON))
    caller.post(server.url + CHAT, ASK)
    assert until(lambda: len(found) == 1)
    assert found[0] is not None


def test_another_callback_is_another_metering(make_caller: MakeCaller) -> None:
    def one(state: BudgetState, percent: Decimal) -> None: ...

    caller = make_caller().metered(on_budget=one)
    caller.metered(on_budget=one)
    with pytest.raises(accounting.AlreadyMetered, match="on_budget"):
        caller.metered()


def test_what_is_no_callback_is_told_at_once(make_caller: MakeCaller) -> None:
    with pytest.raises(ConfigurationError, match="on_budget is 80"):
        make_caller().metered(on_budget=80)


def test_a_time_to_wait_that_is_none_is_told_at_once(make_caller: MakeCaller, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as here:
        here.setenv("ACCOUNTING_BUDGET_SECONDS", "soon")
        with pytest.raises(ConfigurationError, match="ACCOUNTING_BUDGET_SECONDS is 'soon'"):
            make_caller().metered()


def test_strictness_is_told_to_who_computes_what_a_call_may_use(
    budgets: Budgets, server: Server, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[bool] = []

    def spy(*given: Any, strict: bool) -> Any:
        told.append(strict)
        return exposure_of(*given, strict=strict)

    monkeypatch.setattr("accounting.capture.exposure_of", spy)
    server.says(plain(JSON))
    caller.post(server.url + CHAT, ASK)
    budgets.known = covering(replace(TEAM, mode=Mode.STRICT), edition=2)
    looked = budgets.looked
    assert until(lambda: budgets.looked > looked + 1)
    caller.post(server.url + CHAT, ASK)
    assert told == [False, True]

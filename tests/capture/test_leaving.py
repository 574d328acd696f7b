"""Callers who do not wait: cancelled tasks, and streams that are dropped without a word."""

import asyncio
import gc
from typing import Any

import pytest

from accounting.usage import Outcome
from tests.capture.answers import ASK, ASK_STREAM, CHAT, OPENAI, openai_events
from tests.capture.callers import ASYNC_HTTPX, ASYNC_HTTPX2, Caller
from tests.capture.conftest import Journaled
from tests.capture.wire import Server, Step, head

BEGUN: list[Step] = [head(200, "content-type: text/event-stream"), openai_events()[0]]
in_tasks = pytest.mark.parametrize("flavour", [ASYNC_HTTPX, ASYNC_HTTPX2], ids=str)


@in_tasks
def test_a_task_cancelled_before_the_headers_leaves_an_unknown_outcome(
    server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.says(server.hang)

    async def cancel_at_once() -> None:
        task = asyncio.create_task(caller.send(caller.request(server.url + CHAT, ASK)))
        while not server.asked:
            await asyncio.sleep(0.005)
        await _cancel(task)

    caller.run(cancel_at_once())
    assert journaled.outcomes() == [Outcome.UNKNOWN]


@in_tasks
@pytest.mark.parametrize("read", ["whole", "streamed"])
def test_a_task_cancelled_after_the_headers_leaves_an_interrupted_call(
    read: str, server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.says(*BEGUN, server.hang)
    begun = asyncio.Event()

    async def stream() -> None:
        async with caller.client.stream("POST", server.url + CHAT, json=ASK_STREAM) as response:
            begun.set()
            async for _ in response.aiter_raw():
                pass

    async def cancel_midway() -> None:
        work = stream() if read == "streamed" else caller.send(caller.request(server.url + CHAT, ASK_STREAM))
        task = asyncio.create_task(work)
        while not server.asked:
            await asyncio.sleep(0.005)
        if read == "streamed":
            await begun.wait()
        await asyncio.sleep(0.05)
        await _cancel(task)

    caller.run(cancel_midway())
    assert journaled.outcomes() == [Outcome.INTERRUPTED]


@in_tasks
def test_a_call_beside_a_cancelled_one_is_written_down_as_its_own(
    server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.answer = lambda asked: [*BEGUN, *([server.hang] if b"slow" in asked.body else [OPENAI])]

    async def both() -> None:
        slow = asyncio.create_task(caller.send(caller.request(server.url + CHAT, {**ASK_STREAM, "model": "slow"})))
        while not server.asked:
            await asyncio.sleep(0.005)
        await caller.send(caller.request(server.url + CHAT, ASK_STREAM))
        await _cancel(slow)

    caller.run(both())
    assert journaled.outcomes() in (
        [Outcome.INTERRUPTED, Outcome.FINISHED],
        [Outcome.UNKNOWN, Outcome.FINISHED],  # where the headers had not come yet
    )


async def _cancel(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("begun", [True, False], ids=["reading", "unread"])
def test_a_stream_that_is_dropped_without_being_closed_is_interrupted(
    begun: bool, server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.says(*BEGUN, server.hang)

    async def drop() -> None:
        response = await caller.send(caller.request(server.url + CHAT, ASK_STREAM), stream=True)
        if begun and caller.is_async:
            await anext(response.aiter_raw())
        elif begun:
            next(response.iter_raw())
        del response
        for _ in range(20):  # what was dropped half-read is closed by the loop, one generator after the other
            gc.collect()
            await asyncio.sleep(0.001)
            if journaled.outcomes() != [None]:
                break

    caller.run(drop())
    call = journaled.only()
    assert (call.outcome, call.http_status) == (Outcome.INTERRUPTED, 200)
    assert call.response_model == ("gpt-x-1" if begun else None)
    assert call.ended_at is not None


def test_a_request_that_was_never_sent_is_no_call(server: Server, caller: Caller, journaled: Journaled) -> None:
    caller.request(server.url + CHAT, ASK)
    gc.collect()
    assert journaled.calls() == []

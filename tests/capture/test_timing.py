"""When bytes reach the caller: not before their ending is written down, and not later than they must."""

from collections.abc import Awaitable, Callable
from functools import partial
from threading import Event
from typing import Any

import pytest

from accounting.usage import Outcome
from tests.capture.answers import ANTHROPIC, ASK, ASK_STREAM, CHAT, JSON, MESSAGES, OPENAI_UNCOUNTED, openai_events
from tests.capture.callers import Caller
from tests.capture.conftest import Journaled
from tests.capture.wire import SECONDS, Server, Step, chunked, head


async def read(caller: Caller, url: str, ask: Any, see: Callable[[bytes], Awaitable[None]]) -> None:
    """Let `see` look at all that has come so far, after each piece."""
    response = await caller.send(caller.request(url, ask), stream=True)
    seen = b""
    if caller.is_async:
        async for piece in response.aiter_raw():
            seen += piece
            await see(seen)
    else:
        for piece in response.iter_raw():
            seen += piece
            await see(seen)
    await caller.leave(response)


SSE = "content-type: text/event-stream"
THIRDS = [JSON[:40], JSON[40:80], JSON[80:]]


@pytest.mark.parametrize(
    ("path", "ask", "steps", "whole"),
    [
        (CHAT, ASK, [head(200, f"content-length: {len(JSON)}"), *THIRDS], JSON),
        (CHAT, ASK, [head(200), *THIRDS], JSON),
        (CHAT, ASK, [head(200, "transfer-encoding: chunked"), *(chunked(JSON, 40)[:-5],), b"0\r\n\r\n"], JSON),
        (CHAT, ASK_STREAM, [head(200, SSE), *openai_events()], OPENAI_UNCOUNTED),
        (CHAT, ASK_STREAM, [head(200, SSE) + b"".join(openai_events())], OPENAI_UNCOUNTED),
        (MESSAGES, ASK_STREAM, [head(200, SSE), ANTHROPIC[:200], ANTHROPIC[200:]], ANTHROPIC),
    ],
    ids=["length", "no-length", "chunked", "events", "stream", "anthropic"],
)
def test_the_ending_is_written_down_before_the_caller_has_the_last_bytes(
    path: str, ask: Any, steps: list[bytes], whole: bytes, server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.says(*steps)
    found: list[str | None] = []

    async def see(seen: bytes) -> None:
        if seen == whole:
            found.extend(journaled.outcomes())

    caller.run(read(caller, server.url + path, ask, see))
    assert found == [Outcome.FINISHED]


def test_the_start_is_written_down_before_the_request_is_sent(
    server: Server, caller: Caller, journaled: Journaled
) -> None:
    found: list[str | None] = []

    def look(asked: Any) -> list[Step]:
        found.extend(journaled.outcomes())
        return [head(500)]

    server.answer = look
    caller.post(server.url + CHAT, ASK)
    assert found == [None]


@pytest.mark.parametrize("counted", [True, False], ids=["stripping", "plain"])
def test_each_event_passes_before_the_next_one_comes(counted: bool, server: Server, caller: Caller) -> None:
    ask = ASK_STREAM if counted else {**ASK_STREAM, "stream_options": {"include_usage": True}}
    wanted = openai_events(counted=not counted)
    read_up_to = [Event() for _ in wanted]
    steps: list[Step] = [head(200, SSE)]
    for event in openai_events():
        steps.append(event)
        if event in wanted:
            steps.append(partial(_must_come, read_up_to[wanted.index(event)]))
    server.says(*steps)

    async def see(seen: bytes) -> None:
        for number in range(len(wanted)):
            if seen.startswith(b"".join(wanted[: number + 1])):
                read_up_to[number].set()

    caller.run(read(caller, server.url + CHAT, ask, see))
    assert all(event.is_set() for event in read_up_to)


def test_the_events_of_a_stream_that_is_left_as_it_is_pass_in_their_own_pieces(server: Server, caller: Caller) -> None:
    halves = [Event(), Event()]
    server.says(
        head(200, SSE),
        ANTHROPIC[:30],
        partial(_must_come, halves[0]),
        ANTHROPIC[30:100],
        partial(_must_come, halves[1]),
        ANTHROPIC[100:],
    )

    async def see(seen: bytes) -> None:
        if len(seen) >= 30:
            halves[0].set()
        if len(seen) >= 100:
            halves[1].set()

    caller.run(read(caller, server.url + MESSAGES, ASK_STREAM, see))
    assert all(half.is_set() for half in halves)


def _must_come(event: Event) -> None:
    if not event.wait(SECONDS / 2):
        raise TimeoutError("The caller waits for bytes that are there.")

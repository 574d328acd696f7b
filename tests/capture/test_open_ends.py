"""Streams whose protocol has no last event: the end of the body tells, and nothing after a finish reason is lost."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from accounting.usage import Outcome, UsageSource
from tests.capture.answers import events
from tests.capture.callers import Caller
from tests.capture.conftest import Journaled
from tests.capture.wire import Server, head, stream

PATH = "/v1beta/models/gemini-x:streamGenerateContent?alt=sse"
ASK: dict[str, Any] = {"contents": [{"parts": [{"text": "hello"}]}]}


def _usage(output: int) -> dict[str, int]:
    return {"promptTokenCount": 9, "candidatesTokenCount": output, "totalTokenCount": 9 + output}


WORD = {"candidates": [{"content": {"parts": [{"text": "hé"}]}}], "usageMetadata": _usage(1)}
STOP = {"candidates": [{"finishReason": "STOP"}], "usageMetadata": _usage(3)}
COUNT = {"usageMetadata": _usage(4), "modelVersion": "gemini-x-1"}
PIECES = events(WORD, STOP, COUNT)


def test_the_end_of_the_body_finishes_it_with_all_that_came_after_the_finish_reason(
    server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.says(stream(b"".join(PIECES)))
    assert caller.post(server.url + PATH, ASK).body == b"".join(PIECES)

    call = journaled.only()
    assert (call.outcome, call.stream, call.finish_reason) == (Outcome.FINISHED, True, "STOP")
    assert (call.request_model, call.response_model) == ("gemini-x", "gemini-x-1")
    assert (call.usage.source, call.usage.input_tokens, call.usage.output_tokens) == (UsageSource.PROVIDER, 9, 4)
    assert call.first_token_at is not None


def test_a_body_that_ends_before_a_finish_reason_is_interrupted(
    server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.says(stream(PIECES[0]))
    caller.post(server.url + PATH, ASK)

    call = journaled.only()
    assert (call.outcome, call.usage.source, call.usage.output_tokens) == (
        Outcome.INTERRUPTED,
        UsageSource.PARTIAL,
        1,
    )


def test_content_is_passed_on_at_once(server: Server, caller: Caller, journaled: Journaled) -> None:
    server.says(head(200, "content-type: text/event-stream"), PIECES[0], server.hang)
    assert _read(server, caller, journaled, until=PIECES[0]) == [None]
    assert journaled.outcomes() == [Outcome.INTERRUPTED]


def test_the_ending_is_written_down_before_the_caller_has_the_last_bytes(
    server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.says(stream(b"".join(PIECES)))
    assert _read(server, caller, journaled, until=b"".join(PIECES)) == [Outcome.FINISHED]


def _read(server: Server, caller: Caller, journaled: Journaled, until: bytes) -> list[str | None]:
    """What the journal said when the caller had just got so much; then it leaves."""

    async def read_and_leave() -> list[str | None]:
        response = await caller.send(caller.request(server.url + PATH, ASK), stream=True)
        pieces = response.aiter_raw() if caller.is_async else _in_turn(response.iter_raw())
        read = b""
        async for piece in pieces:
            read += piece
            if read == until:
                break
        said = journaled.outcomes()
        await caller.leave(response)
        return said

    found: list[str | None] = caller.run(read_and_leave())
    return found


async def _in_turn(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece

"""What a metered caller receives is what any caller receives, byte by byte, wherever the answer is cut."""

import gzip
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounting.usage import Outcome
from tests.capture.answers import (
    ANTHROPIC,
    ASK,
    ASK_STREAM,
    CHAT,
    JSON,
    MESSAGES,
    OPENAI,
    OPENAI_UNCOUNTED,
    openai_events,
)
from tests.capture.callers import ASYNC_HTTPX, ASYNC_HTTPX2, HTTPX, HTTPX2, Caller, Flavour
from tests.capture.conftest import Journaled
from tests.capture.wire import Server, chunked, cuts, head, plain

NO = b'{"error": {"message": "The context is too long"}}'
LENGTH_OF_NO = f"content-length: {len(NO)}"
PACKED = gzip.compress(JSON, mtime=0)
SSE, CHUNKED, GZIP = "content-type: text/event-stream", "transfer-encoding: chunked", "content-encoding: gzip"


def extra(end: str) -> bytes:
    """The one event that the caller did not ask for."""
    return openai_events(end)[2]


def less_extra(received: bytes, end: str) -> bytes:
    # Cut between CR and LF, the blank line is complete, and so is the event.
    for event in (extra(end), extra(end)[:-1] if end == "\r\n" else extra(end)):
        received = received.replace(event, b"")
    return received


def expected(received: bool, whole: bool) -> Outcome:
    """`received`: whether the headers came."""
    if not received:
        return Outcome.UNKNOWN
    return Outcome.FINISHED if whole else Outcome.INTERRUPTED


@pytest.fixture
def pair(flavour: Flavour) -> Iterator[tuple[Caller, Caller]]:
    """A metered client and one that is not."""
    metered, bare = Caller(flavour).metered(), Caller(flavour)
    yield metered, bare
    metered.close()
    bare.close()


Pair = tuple[Caller, Caller]


def one_in_each_library(*, first: bool) -> pytest.MarkDecorator:
    chosen = (HTTPX, ASYNC_HTTPX2) if first else (ASYNC_HTTPX, HTTPX2)
    return pytest.mark.parametrize("flavour", chosen, ids=str)


def cut_everywhere(answer: bytes, whole: set[int], server: Server, pair: Pair, journaled: Journaled, end: str) -> None:
    """`whole`: the lengths to which the answer may be cut and still be told to be whole."""
    start = answer.index(b"\r\n\r\n") + 4
    outcomes: list[str | None] = []
    for cut in cuts(answer):
        server.says(answer[:cut])
        got, plainly = (caller.post(server.url + CHAT, ASK_STREAM if end else ASK) for caller in pair)
        body = less_extra(plainly.body, end) if end else plainly.body
        assert (got.status, got.body, got.error) == (plainly.status, body, plainly.error), cut
        outcomes.append(expected(cut >= start, cut in whole))
    assert journaled.outcomes() == outcomes


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
@one_in_each_library(first=True)
def test_a_stream_cut_anywhere(end: str, server: Server, pair: Pair, journaled: Journaled) -> None:
    body = b"".join(openai_events(end))
    answer = head(200, SSE) + body
    done = len(answer) - 2 * len(end)  # nothing is missing but the blank line
    cut_everywhere(answer, set(range(done, len(answer) + 1)), server, pair, journaled, end)


@one_in_each_library(first=False)
def test_a_chunked_stream_cut_anywhere(server: Server, pair: Pair, journaled: Journaled) -> None:
    answer = head(200, SSE, CHUNKED) + chunked(OPENAI, 50)
    # The last chunk's size line and blank lines may be missing once [DONE] has come with its blank line.
    done = answer.rindex(b"\r\n0\r\n\r\n")
    cut_everywhere(answer, set(range(done, len(answer) + 1)), server, pair, journaled, "\n")


@one_in_each_library(first=True)
def test_a_body_of_known_length_cut_anywhere(server: Server, pair: Pair, journaled: Journaled) -> None:
    answer = plain(JSON)
    cut_everywhere(answer, {len(answer)}, server, pair, journaled, "")


@pytest.mark.parametrize("framing", [(LENGTH_OF_NO,), (CHUNKED,)], ids=["length", "chunked"])
def test_an_error_that_may_be_about_our_asking_cut_anywhere(
    framing: tuple[str], server: Server, pair: Pair, journaled: Journaled
) -> None:
    answer = head(400, *framing) + (chunked(NO, 30) if framing == (CHUNKED,) else NO)
    start = answer.index(b"\r\n\r\n") + 4
    for cut in range(start, len(answer) + 1):
        server.says(answer[:cut])
        got, plainly = (caller.post(server.url + CHAT, ASK_STREAM) for caller in pair)
        assert (got.status, got.body, got.error) == (plainly.status, plainly.body, plainly.error), cut
    assert set(journaled.outcomes()) == {Outcome.FAILED}


@one_in_each_library(first=False)
def test_a_chunked_body_cut_anywhere(server: Server, pair: Pair, journaled: Journaled) -> None:
    answer = head(200, CHUNKED) + chunked(JSON, 30)
    cut_everywhere(answer, {len(answer)}, server, pair, journaled, "")


@one_in_each_library(first=True)
def test_a_body_without_a_length_cut_anywhere(server: Server, pair: Pair, journaled: Journaled) -> None:
    answer = head(200) + JSON
    cut_everywhere(answer, {len(answer)}, server, pair, journaled, "")


@one_in_each_library(first=False)
def test_a_compressed_body_without_a_length_cut_anywhere(server: Server, pair: Pair, journaled: Journaled) -> None:
    answer = head(200, GZIP) + PACKED
    cut_everywhere(answer, {len(answer)}, server, pair, journaled, "")


@one_in_each_library(first=True)
def test_a_compressed_body_in_chunks_cut_anywhere(server: Server, pair: Pair, journaled: Journaled) -> None:
    answer = head(200, GZIP, CHUNKED) + chunked(PACKED, 30)
    cut_everywhere(answer, {len(answer)}, server, pair, journaled, "")


ANSWERS = {
    "json": (CHAT, ASK, plain(JSON), JSON),
    "gzip": (CHAT, ASK, plain(PACKED, 200, GZIP), PACKED),
    "openai": (CHAT, ASK_STREAM, head(200, SSE) + OPENAI, OPENAI_UNCOUNTED),
    "openai-crlf": (
        CHAT,
        ASK_STREAM,
        head(200, SSE) + b"".join(openai_events("\r\n")),
        b"".join(openai_events("\r\n", counted=False)),
    ),
    "anthropic": (MESSAGES, ASK_STREAM, head(200, SSE) + ANTHROPIC, ANTHROPIC),
    "error": (CHAT, ASK_STREAM, plain(b'{"error": "no"}', 500), b'{"error": "no"}'),
    "400": (CHAT, ASK_STREAM, plain(b'{"error": "no"}', 400), b'{"error": "no"}'),
    "empty": (CHAT, ASK, plain(b"", 200), b""),
}


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("size", [1, 7])
def test_small_pieces_on_the_wire_change_nothing(
    name: str, size: int, server: Server, caller: Caller, journaled: Journaled
) -> None:
    path, ask, answer, received = ANSWERS[name]
    server.says(*(answer[start : start + size] for start in range(0, len(answer), size)))
    got = caller.post(server.url + path, ask)
    assert (got.body, got.error) == (received, None)
    assert journaled.outcomes() == [Outcome.FAILED if got.status != 200 else Outcome.FINISHED]


@pytest.mark.parametrize("flavour", [HTTPX, ASYNC_HTTPX2], ids=str)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(sorted(ANSWERS)), borders=st.sets(st.integers(1, 700), max_size=12))
def test_any_chunking_gives_the_same_bytes_and_the_same_call(
    name: str, borders: set[int], server: Server, caller: Caller, journaled: Journaled
) -> None:
    path, ask, answer, received = ANSWERS[name]
    body = answer[answer.index(b"\r\n\r\n") + 4 :]
    ends = sorted({*(border for border in borders if border < len(body)), len(body)})
    lines = [line for line in answer[: -len(body) - 4 or None].decode("latin-1").split("\r\n")[1:] if line]
    kept = [line for line in lines if not line.startswith("content-length")]
    status = int(answer.split(b" ")[1])
    pieces = [b"%x\r\n%b\r\n" % (b - a, body[a:b]) for a, b in zip([0, *ends], ends, strict=False) if b > a]
    server.says(head(status, *kept, CHUNKED), *pieces, b"0\r\n\r\n")

    got = caller.post(server.url + path, ask)
    assert (got.body, got.error) == (received, None)
    call = journaled.calls()[-1]
    assert call.outcome == (Outcome.FINISHED if status == 200 else Outcome.FAILED)
    if status == 200 and body:
        assert (call.usage.input_tokens, call.usage.output_tokens) == (9, 4)


def test_headers_come_as_they_were(server: Server, caller: Caller) -> None:
    server.says(plain(JSON, 200, "x-request-id: r-1", "set-cookie: a=1", "openai-processing-ms: 3"))
    got = caller.post(server.url + CHAT, ASK)
    assert got.headers["x-request-id"] == "r-1"
    assert got.headers["openai-processing-ms"] == "3"
    assert got.headers["content-length"] == str(len(JSON))


def test_what_is_decoded_for_the_caller_is_what_was_packed(server: Server, caller: Caller) -> None:
    server.says(plain(PACKED, 200, GZIP))

    async def read() -> bytes:
        response = await caller.send(caller.request(server.url + CHAT, ASK))
        content: bytes = response.content
        return content

    assert caller.run(read()) == JSON

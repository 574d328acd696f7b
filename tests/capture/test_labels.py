"""An answer is read as what it is, whatever its content type says it is."""

import pytest

from accounting.formats import bedrock, openai_chat
from accounting.formats.wire import Format
from accounting.reception import Reception
from accounting.usage import Outcome, UsageSource
from tests.capture.answers import ANTHROPIC, ASK, ASK_STREAM, CHAT, JSON, MESSAGES, OPENAI, OPENAI_UNCOUNTED
from tests.capture.callers import Caller
from tests.capture.conftest import Journaled
from tests.capture.wire import Server, chunked, head
from tests.frames import frame

LABELS = [
    *("application/json", "text/plain; charset=utf-8", "application/octet-stream", "application/x-ndjson"),
    *("text/event-stream", "text/html", ""),
]
FRAMES = b"".join(
    [
        frame("messageStart", {"role": "assistant"}),
        frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "hi"}}),
        frame("messageStop", {"stopReason": "end_turn"}),
        frame("metadata", {"usage": {"inputTokens": 9, "outputTokens": 4, "totalTokens": 13}}),
    ]
)


def labelled(body: bytes, kind: str) -> bytes:
    return head(200, *([f"content-type: {kind}"] if kind else []), "transfer-encoding: chunked") + chunked(body)


# One JSON value is a line of JSON, too.
LABELLED = [
    *((kind, path, body) for kind in LABELS for path, body in [(CHAT, OPENAI), (MESSAGES, ANTHROPIC)]),
    *((kind, CHAT, JSON) for kind in LABELS if kind != "application/x-ndjson"),
]


@pytest.mark.parametrize("ask", [ASK, ASK_STREAM], ids=["whole", "stream"])
@pytest.mark.parametrize(("kind", "path", "body"), LABELLED)
def test_a_label_tells_nothing(
    kind: str, path: str, body: bytes, ask: object, server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.says(labelled(body, kind))
    received = caller.post(server.url + path, ask).body
    assert received == (OPENAI_UNCOUNTED if (body, ask) == (OPENAI, ASK_STREAM) else body)

    call = journaled.only()
    assert (call.outcome, call.usage.source) == (Outcome.FINISHED, UsageSource.PROVIDER)
    assert (call.usage.input_tokens, call.usage.output_tokens, call.usage.anomalies) == (9, 4, ())


@pytest.mark.parametrize("kind", LABELS)
def test_amazon_s_frames_are_known_by_their_first_bytes(
    kind: str, server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.says(labelled(FRAMES, kind))
    assert caller.post(server.url + "/model/x/converse-stream", {}).body == FRAMES

    call = journaled.only()
    assert (call.outcome, call.usage.input_tokens, call.usage.anomalies) == (Outcome.FINISHED, 9, ())


def test_a_whole_answer_that_is_labelled_as_a_stream_and_cut_is_interrupted(
    server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.says(head(200, "content-type: text/event-stream", "content-length: 999") + JSON[:-1])
    assert caller.post(server.url + CHAT, ASK_STREAM).error == "RemoteProtocolError"
    assert (journaled.only().outcome, journaled.only().usage.output_tokens) == (Outcome.INTERRUPTED, None)


def test_a_stream_of_which_no_byte_came_is_interrupted_all_the_same(
    server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.says(labelled(b"\n", "text/event-stream"))
    assert caller.post(server.url + CHAT, ASK_STREAM).body == b"\n"
    assert journaled.only().outcome is Outcome.INTERRUPTED


@pytest.mark.parametrize("kind", ["application/octet-stream", "application/pdf", "text/html"])
def test_what_begins_as_nothing_known_says_that_it_is_not_read(
    kind: str, server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.says(labelled(b"\0\1\2 any bytes", kind))
    caller.post(server.url + CHAT, ASK)
    assert (journaled.only().outcome, journaled.only().usage.anomalies) == (Outcome.FINISHED, ("body_unreadable",))


@pytest.mark.parametrize("kind", ["audio/mpeg", "image/png", "video/mp4"])
def test_media_are_not_looked_at(kind: str) -> None:
    reception = Reception(openai_chat)
    reception.headers(200, {"content-type": kind}, framed=True)
    assert reception.read(b"", JSON) == (b"", JSON)
    assert reception.answer()[0].usage.source is UsageSource.MISSING


@pytest.mark.parametrize("kind", [label for label in LABELS if label != "application/x-ndjson"])
@pytest.mark.parametrize("size", [1, 2, 5, 13, 10**6])
@pytest.mark.parametrize(
    ("format_", "body", "kept"),
    [
        (openai_chat, OPENAI, OPENAI_UNCOUNTED),
        (openai_chat, b"\xef\xbb\xbf\n\n" + OPENAI, b"\xef\xbb\xbf\n\n" + OPENAI_UNCOUNTED),
        (openai_chat, b" \n" + JSON, b" \n" + JSON),
        (bedrock, FRAMES, FRAMES),
    ],
    ids=["events", "late events", "json", "frames"],
)
def test_in_any_chunking_it_is_read_and_only_the_event_that_was_asked_for_is_taken_out(
    format_: Format, body: bytes, kept: bytes, size: int, kind: str
) -> None:
    reception = Reception(format_, streamed=True, stripping=True)
    reception.headers(200, {"content-type": kind}, framed=True)
    passed = held = b""
    for at in range(0, len(body), size):
        out, held = reception.read(held, body[at : at + size])
        passed += out
    reception.read_rest()
    answer, is_whole = reception.answer()
    assert passed + held == kept
    assert (answer.usage.input_tokens, answer.usage.output_tokens, is_whole) == (9, 4, True)


def test_a_stream_in_disguise_passes_without_delay() -> None:
    reception = Reception(openai_chat)
    reception.headers(200, {"content-type": "application/json"}, framed=True)
    first, rest = OPENAI[:60], OPENAI[60:]
    assert reception.read(b"", first) == (first, b"")
    assert reception.read(b"", rest) == (rest, b"")

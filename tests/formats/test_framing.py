"""How a body is cut is told by its first bytes, and by its type where these say nothing."""

import pytest

from accounting import eventstream, jsonvalues, sse
from accounting.formats import gemini, is_json, openai_chat, splitter_of, tells
from tests.frames import frame

EVENTS = b'data: {"choices": []}\n\n'
FRAME = frame("metadata", {})
LABELS = ["text/event-stream", "application/json", "text/plain", "", "application/octet-stream", "application/x-ndjson"]


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("begun", [EVENTS, b": hello\n\n", b"\xef\xbb\xbf\r\nevent: ping\n", b"retry:1\n", b"id: 7\n"])
def test_server_sent_events_are_told_by_their_first_field(begun: bytes, kind: str) -> None:
    assert isinstance(splitter_of(begun, kind), sse.Splitter)


@pytest.mark.parametrize("kind", LABELS)
def test_a_frame_of_amazon_s_is_told_by_its_checksum(kind: str) -> None:
    assert isinstance(splitter_of(FRAME, kind), eventstream.Splitter)
    assert splitter_of(FRAME[:8] + b"\0\0\0\0", "application/json") is None


@pytest.mark.parametrize("kind", ["text/event-stream", "application/json", "application/vnd.amazon.eventstream", ""])
@pytest.mark.parametrize("begun", [b"{", b' \n{"a": 1}', b"\xef\xbb\xbf[1]"])
def test_one_json_value_is_no_stream_though_it_is_called_one(begun: bytes, kind: str) -> None:
    assert splitter_of(begun, kind, openai_chat) is None
    assert is_json(begun)


def test_where_the_type_says_that_json_comes_as_events_it_does() -> None:
    assert isinstance(splitter_of(b"{", "application/x-ndjson"), jsonvalues.Splitter)
    assert isinstance(splitter_of(b"[", "application/json", gemini), jsonvalues.Splitter)


def test_what_begins_with_nothing_known_is_what_its_type_says() -> None:
    assert isinstance(splitter_of(b"x-note\n\n", "text/event-stream"), sse.Splitter)
    assert isinstance(splitter_of(b"x-note\n\n", "text/plain", openai_chat), sse.Splitter)
    assert splitter_of(b"x-note\n\n", "text/plain") is None


@pytest.mark.parametrize(
    "begun", [EVENTS, b":\n", b"\xef\xbb\xbf \nevent: ping\n", FRAME, b'  {"a"', b"data?", b"hello"]
)
def test_as_soon_as_it_tells_nothing_more_can_change_it(begun: bytes) -> None:
    told = [tells(begun[:size]) for size in range(len(begun) + 1)]
    first = told.index(True)
    assert not any(told[:first])
    assert all(told[first:])
    kinds = {type(splitter_of(begun[:size], "")) for size in range(first, len(begun) + 1)}
    assert len(kinds) == 1


def test_space_alone_is_not_waited_behind_for_ever() -> None:
    assert not tells(b"\n" * 4096)
    assert tells(b"\n" * 4097)

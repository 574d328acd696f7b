"""Streams of JSON, one object a line or one list of them, in any chunking."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.jsonvalues import Splitter
from accounting.sse import Event

SAID = [{"a": '{"[\\"\\\\'}, {"b": [{"c": 1}, []]}, {}]
LINES = "\n".join(map(json.dumps, SAID)).encode() + b"\n"
LIST = json.dumps(SAID, indent=2).encode()
GOOGLES = b"[" + b",\r\n".join(json.dumps(each).encode() for each in SAID) + b"\n]\n"


def cut(stream: bytes, borders: list[int], limit: int = 2**20) -> tuple[list[Event], bytes]:
    splitter, events = Splitter(limit), []
    for begin, end in pairwise([0, *sorted(min(border, len(stream)) for border in borders), len(stream)]):
        events += splitter.feed(stream[begin:end])
    return events, splitter.rest


@pytest.mark.parametrize("stream", [LINES, LIST, GOOGLES, b"\xef\xbb\xbf" + LIST, b"\n\n" + LINES])
@given(borders=st.lists(st.integers(0, 200), max_size=20))
def test_each_object_is_an_event_in_any_chunking(stream: bytes, borders: list[int]) -> None:
    events, rest = cut(stream, borders)
    assert [json.loads(event.data) for event in events] == SAID
    assert b"".join(event.raw for event in events) + rest == stream


def test_an_object_comes_out_with_the_byte_that_completes_it() -> None:
    splitter = Splitter()
    assert splitter.feed(b'[{"a": "}') == []
    assert splitter.feed(b'"}') == [Event(b'[{"a": "}"}', data=b'{"a": "}"}')]
    assert splitter.feed(b",\n") == []
    assert (splitter.feed(b"]"), splitter.rest) == ([], b",\n]")


def test_what_has_other_bytes_before_it_comes_out_unread() -> None:
    assert cut(b'data: {"a": 1}\n{"b": 2}\n', []) == (
        [Event(b'data: {"a": 1}'), Event(b'\n{"b": 2}', data=b'{"b": 2}')],
        b"\n",
    )


@given(borders=st.lists(st.integers(0, 500), max_size=20), limit=st.integers(20, 100))
def test_one_past_the_limit_comes_out_unread_and_the_next_is_read(borders: list[int], limit: int) -> None:
    large = json.dumps([{"a": "\\{" * 99}, {"b": 1}]).encode()
    events, rest = cut(large, borders, limit)
    assert [event.data for event in events if not event.oversized] == [b'{"b": 1}']
    assert b"".join(event.raw for event in events) + rest == large


@given(stream=st.binary(max_size=99) | st.text('{}[]"\\,a\n', max_size=99).map(str.encode), limit=st.integers(1, 50))
def test_whatever_the_bytes_none_is_lost_and_little_is_held(stream: bytes, limit: int) -> None:
    splitter = Splitter(limit)
    events = [event for byte in stream for event in splitter.feed(bytes([byte]))]
    assert b"".join(event.raw for event in events) + splitter.rest == stream
    assert len(splitter.rest) <= limit

"""Events out of bytes: exact, whatever the chunking, and in linear time."""

import re
import time
from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from accounting.sse import Event, Splitter

PIECES = [b"\r", b"\n", b"\r\n", b"data:", b"data: x", b"data", b"event: e", b": note", b"id: 1", b"\xef\xbb\xbf"]
streams = st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=40).map(b"".join)
cuts = st.lists(st.integers(1, 7), min_size=1, max_size=20)


def chunks(stream: bytes, sizes: list[int]) -> Iterable[bytes]:
    begin, turn = 0, 0
    while begin < len(stream):
        size = sizes[turn % len(sizes)]
        yield stream[begin : begin + size]
        begin, turn = begin + size, turn + 1


def split(pieces: Iterable[bytes], limit: int = 1 << 20) -> tuple[list[Event], bytes]:
    splitter = Splitter(limit)
    events = [event for piece in pieces for event in splitter.feed(piece)]
    return events, splitter.rest


def settled(events: list[Event]) -> list[Event]:
    """The events with what depends on the chunking alone put together: tails, and pieces of oversized ones."""
    whole: list[Event] = []
    for event in events:
        last = whole[-1] if whole else None
        if last is not None and (event.tail or (event.oversized and last.oversized)):
            whole[-1] = Event(last.raw + event.raw, last.name, last.data, oversized=last.oversized)
        else:
            whole.append(event)
    return whole


def by_the_standard(stream: bytes) -> list[tuple[bytes, bytes]]:
    """WHATWG HTML 9.2.6, word for word: (event type, data) of each dispatched event that has data."""
    lines = re.split(rb"\r\n|\n|\r", stream.removeprefix(b"\xef\xbb\xbf"))[:-1]
    dispatched, name, data = [], b"", b""
    for line in lines:
        if not line:
            dispatched.append((name, data[:-1]))
            name, data = b"", b""
        elif not line.startswith(b":"):
            field, _, value = line.partition(b":")
            value = value[1:] if value.startswith(b" ") else value
            if field == b"event":
                name = value
            elif field == b"data":
                data += value + b"\n"
    return [(name, data) for name, data in dispatched if data]


@given(streams, cuts)
@example(b"data: x\r\n\r\n", [10])
@example(b"data: x\n\r\n\n\r\r", [1])
def test_what_comes_out_is_what_went_in(stream: bytes, sizes: list[int]) -> None:
    events, rest = split(chunks(stream, sizes))
    assert b"".join(event.raw for event in events) + rest == stream


@given(streams, cuts, st.sampled_from([0, 3, 8, 1 << 20]))
@example(b"data: x\r\n\r\ndata: y\r\n\r\n", [1], 8)
@example(b"data: xyz\r\r\n\r", [1], 9)
def test_any_chunking_gives_the_same_events(stream: bytes, sizes: list[int], limit: int) -> None:
    events, rest = split(chunks(stream, sizes), limit)
    at_once, rest_at_once = split([stream], limit)
    assert settled(events) == settled(at_once)
    assert rest == rest_at_once


@given(streams, cuts)
def test_events_are_those_of_the_standard(stream: bytes, sizes: list[int]) -> None:
    events, _ = split(chunks(stream, sizes))
    expected = [(name.decode("utf-8", "replace"), data) for name, data in by_the_standard(stream)]
    assert [(event.name, event.data) for event in events if event.data] == expected


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_each_line_end_of_the_standard_ends_an_event(end: bytes) -> None:
    stream = end.join([b": note", b"event: ping", b"data: 1", b"data: 2", b"", b"data: 3", b"", b""])
    events, rest = split([stream])
    assert [(event.name, event.data) for event in events] == [("ping", b"1\n2"), ("", b"3")]
    assert rest == b""


@pytest.mark.parametrize("separator", ["\u2028", "\u0085", "\x0b", "\x0c", "\x1c"])
def test_no_other_character_ends_a_line(separator: str) -> None:
    data = f'{{"content": "a{separator}b"}}'.encode()
    assert split([b"data: " + data + b"\n\n"])[0][0].data == data


def test_an_event_comes_out_with_the_byte_that_completes_it() -> None:
    splitter = Splitter()
    assert splitter.feed(b"data: x\r\n") == []
    assert [event.data for event in splitter.feed(b"\r")] == [b"x"]
    assert splitter.feed(b"\n") == [Event(b"\n", tail=True)]
    assert splitter.feed(b"data: y\n") == []
    assert splitter.rest == b"data: y\n"


def test_a_line_feed_after_a_blank_line_of_its_own_is_no_tail() -> None:
    events, _ = split([b"data: x\n\n", b"\n", b"data: y\n\n"])
    assert [event.tail for event in events] == [False, False, False]


def test_message_is_what_an_event_without_a_name_is_called() -> None:
    events, _ = split([b"event: message\ndata: 1\n\nevent:message\ndata: 2\n\nevent: message_start\ndata: 3\n\n"])
    assert [(event.name, event.data) for event in events] == [("", b"1"), ("", b"2"), ("message_start", b"3")]


def test_a_byte_order_mark_is_kept_and_not_read() -> None:
    [event], _ = split([b"\xef", b"\xbb", b"\xbf", b"data: x\n\n"])
    assert event == Event(b"\xef\xbb\xbfdata: x\n\n", "", b"x")


def test_a_byte_order_mark_further_on_is_part_of_a_field_s_name() -> None:
    _, event = split([b"data: x\n\n\xef\xbb\xbfdata: y\n\n"])[0]
    assert event.data == b""


def test_an_oversized_event_passes_unread_as_it_arrives_and_the_next_one_is_read() -> None:
    splitter = Splitter(limit=10)
    assert splitter.feed(b"data: 123") == []
    assert splitter.feed(b"45") == [Event(b"data: 12345", oversized=True)]
    assert splitter.feed(b"6\n") == [Event(b"6\n", oversized=True)]
    assert splitter.feed(b"\ndata: x\n\n") == [Event(b"\n", oversized=True), Event(b"data: x\n\n", "", b"x")]


def test_a_line_feed_in_the_midst_of_an_oversized_event_is_no_tail() -> None:
    events, _ = split([b"data: 123\r", b"\n", b"\r", b"\n"], limit=3)
    assert [(event.oversized, event.tail) for event in events] == [(True, False)] * 3 + [(False, True)]


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
def test_a_big_event_byte_by_byte_takes_linear_time(end: bytes) -> None:
    stream = b"data: start" + end + b"data: " + b"x" * 300_000 + end
    started = time.perf_counter()
    events, _ = split(stream[i : i + 1] for i in range(len(stream)))
    assert time.perf_counter() - started < 5  # a search from the event's start each time would take minutes
    assert len(settled(events)[1].data) == 300_000

"""Events out of Amazon's binary frames: exact, whatever the chunking and the damage."""

import struct
import time
from collections.abc import Iterable
from zlib import crc32

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from accounting.eventstream import Splitter
from accounting.sse import Event
from tests.frames import enclosed, exception, frame, header

HELLO = frame("contentBlockDelta", {"delta": {"text": "Hello"}})
METADATA = frame("metadata", {"usage": {"inputTokens": 5}})
frames = st.sampled_from([HELLO, METADATA, exception("throttlingException", "Wait"), enclosed(b"", b"")])
damaged = st.builds(lambda whole, at, bit: flipped(whole, at, 1 << bit), frames, st.integers(0), st.integers(0, 7))
pieces = st.lists(frames | damaged | st.binary(max_size=20), max_size=6)
streams = pieces.map(b"".join)
cuts = st.lists(st.integers(1, 50), min_size=1, max_size=20)


def flipped(whole: bytes, at: int, bit: int) -> bytes:
    at %= len(whole)
    return whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :]


def chunks(stream: bytes, sizes: list[int]) -> Iterable[bytes]:
    begin, turn = 0, 0
    while begin < len(stream):
        size = sizes[turn % len(sizes)]
        yield stream[begin : begin + size]
        begin, turn = begin + size, turn + 1


def split(stream: Iterable[bytes], limit: int = 1 << 20) -> tuple[list[Event], bytes]:
    splitter = Splitter(limit)
    return [event for piece in stream for event in splitter.feed(piece)], splitter.rest


def settled(events: list[Event]) -> list[Event]:
    """The events, with the pieces of unread ones put together: they depend on the chunking."""
    whole: list[Event] = []
    for event in events:
        if whole and event.oversized and whole[-1].oversized:
            whole[-1] = Event(whole[-1].raw + event.raw, oversized=True)
        else:
            whole.append(event)
    return whole


def unread(raw: bytes) -> Event:
    return Event(raw, oversized=True)


def test_a_frame_is_an_event_named_by_its_type() -> None:
    hello = Event(HELLO, "contentBlockDelta", b'{"delta":{"text":"Hello"}}')
    metadata = Event(METADATA, "metadata", b'{"usage":{"inputTokens":5}}')
    assert split([HELLO + METADATA]) == ([hello, metadata], b"")


def test_an_exception_is_an_error_whatever_its_type() -> None:
    failed = exception("modelStreamErrorException", "Lost the model")
    assert split([failed]) == ([Event(failed, "error", b'{"message":"Lost the model"}')], b"")
    plain = enclosed(header(":message-type", b"error") + header(":error-code", b"500"), b"")
    assert split([plain]) == ([Event(plain, "error", b"")], b"")


def test_headers_of_every_type_are_stepped_over() -> None:
    sizes = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
    fixed = b"".join(b"\x01x" + bytes([kind]) + bytes(size) for kind, size in sizes.items())
    whole = enclosed(fixed + header("b", b"bytes", kind=6) + header(":event-type", b"metadata"), b"{}")
    assert split([whole]) == ([Event(whole, "metadata", b"{}")], b"")


@given(streams, cuts)
@example(HELLO, [1])
def test_what_comes_out_is_what_went_in(stream: bytes, sizes: list[int]) -> None:
    events, rest = split(chunks(stream, sizes))
    assert b"".join(event.raw for event in events) + rest == stream


@given(streams, cuts, st.sampled_from([0, 40, 120, 1 << 20]))
def test_any_chunking_gives_the_same_events(stream: bytes, sizes: list[int], limit: int) -> None:
    events, rest = split(chunks(stream, sizes), limit)
    at_once, rest_at_once = split([stream], limit)
    assert settled(events) == settled(at_once)
    assert rest == rest_at_once


def test_a_damaged_payload_costs_one_frame_and_no_more() -> None:
    damaged = flipped(HELLO, len(HELLO) - 6, 1)
    assert split([damaged + METADATA])[0] == [unread(damaged), *split([METADATA])[0]]


def test_past_a_damaged_prelude_all_passes_unread_and_nothing_is_held_back() -> None:
    damaged = flipped(HELLO, 2, 1)
    splitter = Splitter()
    assert splitter.feed(damaged + METADATA) == [unread(damaged + METADATA)]
    assert splitter.feed(METADATA) == [unread(METADATA)]
    assert splitter.rest == b""


def test_a_frame_past_the_limit_passes_in_pieces_and_the_next_is_read() -> None:
    large = frame("chunk", b"x" * 200)
    splitter = Splitter(limit=150)
    assert splitter.feed(large[:100]) == [unread(large[:100])]
    assert splitter.feed(large[100:] + METADATA) == [unread(large[100:]), *split([METADATA])[0]]


@pytest.mark.parametrize("size", [0, 15, 17, 2**32 - 1])
def test_an_absurd_length_is_passed_on_and_holds_nothing(size: int) -> None:
    prelude = struct.pack(">II", size, 4)
    began = prelude + struct.pack(">I", crc32(prelude)) + b"and so on"
    assert split([began]) == ([unread(began)], b"")


@pytest.mark.parametrize(
    "headers",
    [
        b"\x05",
        b"\x01x",
        b"\x01x\x0a",
        b"\x01x\xff",
        b"\x01x\x07",
        b"\x01x\x07\x00",
        b"\x01x\x07\x00\x09ab",
        b"\x01x\x09ab",
    ],
)
def test_headers_that_are_none_cost_one_frame(headers: bytes) -> None:
    broken = enclosed(headers, b"{}")
    assert split([broken + METADATA])[0] == [unread(broken), *split([METADATA])[0]]


def test_time_is_linear_in_the_bytes_however_they_are_cut() -> None:
    stream = frame("chunk", b"x" * 500_000) + HELLO * 3000
    began = time.perf_counter()
    events, rest = split(stream[at : at + 3] for at in range(0, len(stream), 3))
    assert (len(events), rest) == (3001, b"")
    assert time.perf_counter() - began < 5

"""Answers of the catalogue with something wrong about them."""

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

from tests.formats.catalogue import Row, Sse, rows

ROWS = rows()

ODD: list[Any] = [
    *(None, True, False, 0, -1, 1, 10**12, 10**12 + 1, 10**30, 1.5, -0.5, 1e300, float("nan"), float("inf")),
    *("", "12", "-3", "1e3", "1e-35", "x", "\ud800", "\0", "9" * 30, [], {}, [[]], [None], [{}], [1], {"": 1}),
    *({"type": []}, {"usage": {}}, {"usage": None}, [{"usage": 7}], {"type": {"type": "message_start"}}),
]

Place = tuple[Any, Any]
"""A list or an object, and the index or name of something in it."""


def places(value: Any) -> Iterator[Place]:
    """Every place in the JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inside:
        yield value, name
        yield from places(each)


@st.composite
def spoilt_values(draw: st.DrawFn, value: Any) -> Any:
    """The JSON value with a few of its parts missing, replaced, or taken from elsewhere in it."""
    spoilt = [deepcopy(value)]
    for _ in range(draw(st.integers(1, 4))):
        there = list(places(spoilt))
        holder, name = draw(st.sampled_from(there))
        match draw(st.sampled_from(["drop", "odd", "number", "other"])):
            case "drop" if holder is not spoilt:
                del holder[name]
            case "number":
                holder[name] = draw(st.integers(-5, 10**13))
            case "other":
                source, there_named = draw(st.sampled_from(there))
                holder[name] = deepcopy(source[there_named])
            case _:
                holder[name] = deepcopy(draw(st.sampled_from(ODD)))
    return spoilt[0]


@st.composite
def spoilt_bytes(draw: st.DrawFn, data: bytes) -> bytes:
    """The bytes with a few of them changed, missing, repeated or cut off."""
    spoilt = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        at, size = draw(st.integers(0, len(spoilt))), draw(st.integers(0, 40))
        match draw(st.sampled_from(["flip", "drop", "repeat", "insert", "cut"])):
            case "flip" if at < len(spoilt):
                spoilt[at] = draw(st.integers(0, 255))
            case "drop":
                del spoilt[at : at + size]
            case "repeat":
                spoilt[at:at] = spoilt[at : at + size]
            case "cut":
                del spoilt[at:]
            case _:
                spoilt[at:at] = draw(
                    st.sampled_from([b"\0", b"\xff", b'"', b"{", b"[", b"\n", b"\r", b"\n\n", b"-", b"e9"])
                )
    return bytes(spoilt)


@st.composite
def _events(draw: st.DrawFn, sent: Sse) -> bytes:
    """The stream with a few of its events spoilt, missing, repeated or out of order."""
    events = list(sent.events)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(events) - 1))
        match draw(st.sampled_from(["drop", "repeat", "swap", "spoil"])):
            case "drop" if len(events) > 1:
                del events[at]
            case "repeat":
                events.insert(at, events[draw(st.integers(0, len(events) - 1))])
            case "swap":
                events[0], events[at] = events[at], events[0]
            case _:
                events[at] = draw(_spoilt_event(events[at]))
    return b"".join(events)


@st.composite
def _spoilt_event(draw: st.DrawFn, event: bytes) -> bytes:
    head, _, data = event.partition(b"data: ")
    try:
        value = json.loads(data)
    except ValueError:
        return draw(spoilt_bytes(event))
    return head + b"data: " + json.dumps(draw(spoilt_values(value))).encode() + b"\n\n"


def spoilt(row: Row) -> st.SearchStrategy[bytes]:
    """The row's answer, spoilt."""
    if isinstance(row.sent, Sse):
        return _events(row.sent) | spoilt_bytes(row.body)
    if isinstance(row.sent, bytes):
        return spoilt_bytes(row.body)
    return spoilt_values(row.sent).map(lambda value: json.dumps(value).encode()) | spoilt_bytes(row.body)

"""Every answer of the catalogue passes as the provider sent it, and what is read on the way is what it says."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting.reception import Reception
from tests.formats.catalogue import Row, Sse, cut, format_of, holds, rows

ROWS = rows()
ASKED = [row for row in ROWS if isinstance(row.sent, Sse) and format_of(row).asking_for_usage({"stream": True})]
"""Streams that state their usage in an event of its own if they are asked to."""


def each(some: Sequence[Row]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", some, ids=lambda row: row.name)


def received(row: Row, chunks: Sequence[bytes], *, stripping: bool = False) -> tuple[Reception, bytes]:
    """What is read of the chunks, and what is passed on of them."""
    format_ = format_of(row)
    reception = Reception(format_, streamed=format_.ask({}, row.path).stream, stripping=stripping)
    kind = "text/event-stream" if row.body.startswith((b":", b"data:", b"event:")) else "application/json"
    reception.headers(200, {"content-type": row.content_type or kind}, framed=True)
    passed, held = [], b""
    for chunk in chunks:
        passing, held = reception.read(held, chunk)
        passed.append(passing)
    reception.read_rest()
    return reception, b"".join(passed) + held


def is_usage_only(event: bytes) -> bool:
    """Whether an event is the one that comes for having been asked for."""
    _, _, data = event.partition(b"data: ")
    chunk = json.loads(data) if data.startswith(b"{") else {}
    return chunk.get("choices") == [] and bool(chunk.get("usage")) and not chunk.get("error")


@settings(max_examples=15, deadline=None)
@each(ROWS)
@given(data=st.data())
def test_it_passes_as_it_was_sent_and_is_read(row: Row, data: st.DataObject) -> None:
    borders = data.draw(st.sets(st.integers(0, len(row.body)), max_size=12))
    reception, passed = received(row, cut(row.body, borders))
    assert passed == row.body
    holds(row, reception.answer()[0])


@settings(max_examples=15, deadline=None)
@each(ASKED)
@given(data=st.data())
def test_where_usage_was_asked_for_it_passes_less_the_event_that_came_for_it(row: Row, data: st.DataObject) -> None:
    assert isinstance(row.sent, Sse)
    borders = data.draw(st.sets(st.integers(0, len(row.body)), max_size=12))
    reception, passed = received(row, cut(row.body, borders), stripping=True)
    assert passed == b"".join(event for event in row.sent.events if not is_usage_only(event))
    holds(row, reception.answer()[0])


@each(ASKED)
def test_byte_by_byte_too(row: Row) -> None:
    assert isinstance(row.sent, Sse)
    _, passed = received(row, [row.body[at : at + 1] for at in range(len(row.body))], stripping=True)
    assert passed == b"".join(event for event in row.sent.events if not is_usage_only(event))


def test_there_are_streams_with_such_an_event_and_without() -> None:
    has = [any(map(is_usage_only, row.sent.events)) for row in ASKED if isinstance(row.sent, Sse)]
    assert True in has
    assert False in has

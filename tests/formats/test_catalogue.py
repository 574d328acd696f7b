"""Every answer of the catalogue is read as it says, however it arrives."""

import json
import re
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting.extraction import events_of, read
from accounting.formats import Answer, splitter_of
from tests.formats.catalogue import SOURCES, Row, Sse, cut, format_of, holds, rows

ROWS = rows()
STREAMS = [row for row in ROWS if splitter_of(row.body, row.content_type) is not None]
EVENT_STREAMS = [row for row in ROWS if isinstance(row.sent, Sse)]

NOISE = (
    b": OPENROUTER PROCESSING\n\n",
    b'event: ping\ndata: {"type": "ping"}\n\n',
    b"data: \n\n",
    b'event: something.new\ndata: {"type": "something.new", "n": 1}\n\n',
)


def each(some: Sequence[Row]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", some, ids=lambda row: row.name)


def in_chunks(row: Row, chunks: Iterable[bytes]) -> Answer:
    cutter = splitter_of(row.body, row.content_type)
    assert cutter is not None
    reader = format_of(row).stream()
    for event in events_of(cutter, chunks):
        reader.feed(event)
    return reader.answer()


def test_every_source_has_rows_and_every_row_a_source() -> None:
    assert {row.name.partition(": ")[0] for row in ROWS} == set(SOURCES)


def test_every_row_has_a_name_of_its_own() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)


@each(ROWS)
def test_it_is_read_as_the_request_s_format(row: Row) -> None:
    holds(row, read(row.body, provider=row.provider, path=row.path, content_type=row.content_type))


@each([row for row in ROWS if not isinstance(row.sent, Sse | bytes)])
def test_it_is_read_as_somebody_else_parsed_it(row: Row) -> None:
    holds(row, read(json.loads(row.body), provider=row.provider, path=row.path))


@each([row for row in ROWS if row.told_by_shape])
def test_its_shape_and_provider_tell_the_format(row: Row) -> None:
    holds(row, read(row.body, provider=row.provider))


@each([row for row in ROWS if row.told_by_shape_alone])
def test_its_shape_alone_tells_the_format(row: Row) -> None:
    holds(row, read(row.body))


@each(STREAMS)
def test_byte_by_byte_it_is_the_same(row: Row) -> None:
    holds(row, in_chunks(row, (row.body[at : at + 1] for at in range(len(row.body)))))


@settings(max_examples=30, deadline=None)
@each(STREAMS)
@given(data=st.data())
def test_in_any_chunking_it_is_the_same(row: Row, data: st.DataObject) -> None:
    borders = data.draw(st.sets(st.integers(0, len(row.body)), max_size=20))
    holds(row, in_chunks(row, cut(row.body, borders)))


@pytest.mark.parametrize("end", [b"\r\n", b"\r"])
@each(EVENT_STREAMS)
def test_with_any_line_ends_it_is_the_same(row: Row, end: bytes) -> None:
    holds(row, in_chunks(row, [row.body.replace(b"\n", end)]))


@settings(max_examples=20, deadline=None)
@each(EVENT_STREAMS)
@given(data=st.data())
def test_pings_comments_and_unknown_events_change_nothing(row: Row, data: st.DataObject) -> None:
    assert isinstance(row.sent, Sse)
    noise = st.lists(st.sampled_from(NOISE), max_size=2)
    holds(row, in_chunks(row, [b"".join([*data.draw(noise), event]) for event in row.sent.events]))


@pytest.mark.parametrize("name", [b"", b"event: message\n"])
@each([row for row in EVENT_STREAMS if b"event: error" not in row.body])
def test_an_event_needs_no_name_where_its_data_has_a_type(row: Row, name: bytes) -> None:
    holds(row, in_chunks(row, [re.sub(rb"^event: .+\n", name, row.body, flags=re.MULTILINE)]))


@each(EVENT_STREAMS)
def test_fields_in_any_order_say_the_same(row: Row) -> None:
    assert isinstance(row.sent, Sse)
    unnamed = (event.removeprefix(event.partition(b"data: ")[0]) for event in row.sent.events)
    holds(row, in_chunks(row, [_sorted(event) for event in unnamed]))


def _sorted(event: bytes) -> bytes:
    try:
        data = json.loads(event.removeprefix(b"data: "))
    except ValueError:
        return event
    return b"data: " + json.dumps(data, sort_keys=True).encode() + b"\n\n"


@each(EVENT_STREAMS)
def test_a_usage_that_is_repeated_is_not_added(row: Row) -> None:
    assert isinstance(row.sent, Sse)
    holds(row, in_chunks(row, [event * 2 if b"usage" in event else event for event in row.sent.events]))

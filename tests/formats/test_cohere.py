"""Cohere beside the catalogue: what is asked, and when a stream begins, ends and fails."""

import json

import pytest

from accounting.formats import Answer, Ask
from accounting.formats.cohere import Reader, answer, ask, asking_for_usage
from accounting.sse import Event

USAGE = {"billed_units": {"input_tokens": 9, "output_tokens": 4}}


def event(**fields: object) -> Event:
    return Event(b"", "", json.dumps(fields).encode())


def test_what_is_asked_for() -> None:
    assert ask({"model": "command-a", "stream": True, "max_tokens": 9}, "") == Ask("command-a", True, 9)
    assert asking_for_usage({"stream": True}) is None


def test_a_stream_begins_with_content_and_ends_with_its_message() -> None:
    reader, said = Reader(), []
    for each in (
        event(type="message-start", id="m"),
        event(type="content-delta", index=0),
        event(type="message-end", delta={"finish_reason": "COMPLETE", "usage": USAGE}),
    ):
        reader.feed(each)
        said.append((reader.token_seen, reader.terminal))
    assert said == [(False, False), (True, False), (True, True)]
    found = reader.answer()
    assert (found.id, found.finish_reason, found.usage.input_tokens) == ("m", "COMPLETE", 9)


@pytest.mark.parametrize(
    "last",
    [
        event(type="message-end", delta={"finish_reason": "ERROR", "error": "overloaded"}),
        event(event_type="stream-end", finish_reason="ERROR", response={}),
        event(type="error", message="overloaded"),
    ],
)
def test_a_stream_that_ends_in_an_error_has_failed(last: Event) -> None:
    reader = Reader()
    reader.feed(event(type="message-start", id="m"))
    reader.feed(last)
    assert reader.answer().failed


def test_an_event_too_large_is_flagged_where_no_usage_came() -> None:
    reader = Reader()
    reader.feed(Event(b"x", oversized=True))
    assert reader.answer().usage.anomalies == ("event_too_large",)
    reader.feed(event(type="message-end", delta={"usage": USAGE}))
    assert reader.answer().usage.anomalies == ()


def test_what_is_billed_by_neither_tokens_nor_searches_is_flagged() -> None:
    found = answer({"meta": {"billed_units": {"classifications": 3}}}).usage
    assert (found.requests, found.anomalies) == (None, ("usage_unreadable",))
    assert "classifications" in (found.block or "")


def test_warnings_beside_the_counts_are_not_kept() -> None:
    found = answer({"meta": {"warnings": ["your prompt"], **USAGE}}).usage
    assert found.block == '{"billed_units":{"input_tokens":9,"output_tokens":4}}'
    assert found.input_tokens == 9


@pytest.mark.parametrize(
    "body", [None, [], "x", {"usage": 5}, {"meta": {"billed_units": 5}}, {"usage": {"tokens": []}}]
)
def test_whatever_the_body_nothing_raises(body: object) -> None:
    assert isinstance(answer(body), Answer)
    reader = Reader()
    for kind in ("message-start", "stream-end", "message-end"):
        reader.feed(Event(b"", kind, json.dumps(body).encode()))
    assert isinstance(reader.answer(), Answer)

"""Gemini's Interactions beside the catalogue: what is asked, and when a stream begins and ends."""

import json

import pytest

from accounting.formats import Answer, Ask
from accounting.formats.gemini_interactions import Reader, answer, ask, asking_for_usage
from accounting.sse import Event
from accounting.usage import UsageSource

USAGE = {"total_input_tokens": 9, "total_output_tokens": 4, "total_tokens": 13}


def event(kind: str, named: bool = True, **fields: object) -> Event:
    return Event(b"", kind if named else "", json.dumps({**fields, "event_type": kind}).encode())


def test_what_is_asked_for() -> None:
    config = {"max_output_tokens": 99, "thinking_level": "high"}
    assert ask({"model": "g", "stream": True, "generation_config": config}, "") == Ask("g", True, 99, "high")
    assert ask({"agent": "deep-research", "generation_config": "x"}, "") == Ask("deep-research")
    assert asking_for_usage({"stream": True}) is None


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_what_is_still_being_made_is_pending(status: str) -> None:
    found = answer({"id": "i", "status": status, "usage": USAGE})
    assert (found.pending, found.finish_reason, found.usage.source) == (True, None, UsageSource.PARTIAL)


@pytest.mark.parametrize("status", ["completed", "requires_action", "cancelled", "incomplete", "budget_exceeded"])
def test_what_is_over_says_how_it_ended(status: str) -> None:
    found = answer({"id": "i", "status": status, "usage": USAGE})
    assert (found.pending, found.failed, found.finish_reason) == (False, False, status)
    assert found.usage.source is UsageSource.PROVIDER


@pytest.mark.parametrize("named", [True, False])
def test_a_stream_begins_with_a_step_may_end_when_completed_and_ends_when_done(named: bool) -> None:
    reader, said = Reader(), []
    for each in (
        event("interaction.created", named, interaction={"id": "i", "status": "in_progress"}),
        event("step.delta", named, delta={"type": "text", "text": '"event_type": "interaction.completed"'}),
        event("interaction.completed", named, interaction={"status": "completed", "usage": USAGE}),
        Event(b"", "done" if named else "", b"[DONE]"),
    ):
        reader.feed(each)
        said.append((reader.token_seen, reader.may_end, reader.terminal))
    assert said == [(False, False, False), (True, False, False), (True, True, False), (True, True, True)]
    found = reader.answer()
    assert (found.id, found.finish_reason, found.usage.source) == ("i", "completed", UsageSource.PROVIDER)


def test_an_event_too_large_is_flagged() -> None:
    reader = Reader()
    reader.feed(Event(b"x", oversized=True))
    assert reader.answer().usage.anomalies == ("event_too_large",)


@pytest.mark.parametrize("body", [None, [], "x", {"usage": 5}, {"usage": {"grounding_tool_count": [5, {}]}}, {"id": 1}])
def test_whatever_the_body_nothing_raises(body: object) -> None:
    assert isinstance(answer(body), Answer)
    reader = Reader()
    reader.feed(Event(b"", "interaction.completed", json.dumps(body).encode()))
    assert isinstance(reader.answer(), Answer)

"""What costs money and can't be read yet is never passed over in silence."""

import pytest

from accounting.formats import Ask
from accounting.formats.unread import Reader, answer, ask, asking_for_usage
from accounting.sse import Event
from accounting.usage import UsageSource


def test_its_usage_is_missing_and_the_block_is_kept_for_the_day_it_can_be_read() -> None:
    found = answer({"id": "r_1", "model": "m", "usage": {"input_tokens": 5}})
    assert (found.id, found.model) == ("r_1", "m")
    assert (found.usage.source, found.usage.input_tokens) == (UsageSource.MISSING, None)
    assert (found.usage.block, found.usage.anomalies) == ('{"input_tokens":5}', ("format_unread",))


def test_what_is_asked_for_is_read_where_the_names_are_the_common_ones() -> None:
    body = {"model": "m", "stream": True, "max_output_tokens": 9, "reasoning": {"effort": "low"}}
    assert ask(body, "") == Ask("m", True, 9, "low")
    assert asking_for_usage(body) is None


@pytest.mark.parametrize(
    "last",
    [
        Event(b"", "", b"[DONE]"),
        Event(b"", "response.completed", b"{}"),
        Event(b"", "", b'{"candidates": [{"finishReason": "STOP"}]}'),
    ],
)
def test_the_common_signs_of_an_end_end_a_stream(last: Event) -> None:
    reader = Reader()
    reader.feed(Event(b"", "", b'{"text": "[DONE]"}'))
    assert (reader.token_seen, reader.terminal) == (True, False)
    reader.feed(last)
    assert (reader.terminal, reader.answer().failed) == (True, False)


@pytest.mark.parametrize("error", [Event(b"", "error", b""), Event(b"", "", b' {"error": {"code": 500}}')])
def test_an_error_in_a_stream_is_a_failure(error: Event) -> None:
    reader = Reader()
    reader.feed(error)
    assert reader.answer().failed

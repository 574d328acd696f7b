"""Perplexity's dialect: what its rows in the catalogue don't say."""

import json

import pytest

from accounting.formats import Ask, find, polled
from accounting.formats.perplexity import answer, ask, asking_for_usage, name, stream, usage
from accounting.sse import Event


def block(**fields: object) -> dict[str, object]:
    return {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30, **fields}


@pytest.mark.parametrize("path", ["/chat/completions", "/v1/chat/completions", "/v1/sonar"])
def test_its_own_endpoints_are_read_in_its_dialect_and_nobody_else_s(path: str) -> None:
    match = find("POST", path, "perplexity")
    assert match is not None
    assert match.format.name == name
    elsewhere = find("POST", path, "openrouter")
    assert elsewhere is None or elsewhere.format.name == "openai_chat"


def test_it_is_never_asked_for_what_it_states_anyway() -> None:
    assert asking_for_usage({"model": "sonar", "stream": True}) is None


@pytest.mark.parametrize(
    ("stated", "tokens_in"),
    [
        ({"citation_tokens": 5}, 10),  # shown, and billed by nobody
        ({"citation_tokens": 5, "reasoning_tokens": 7}, 15),
        ({"citation_tokens": 5, "reasoning_tokens": 7, "cost": {"citation_tokens_cost": None}}, 10),
        ({"citation_tokens": 5, "cost": {"citation_tokens_cost": 0.00001}}, 15),
        ({"citation_tokens": -5, "reasoning_tokens": 7}, 10),
    ],
)
def test_sources_count_as_input_where_they_are_billed(stated: dict[str, object], tokens_in: int) -> None:
    assert usage(block(**stated)).input_tokens == tokens_in


def test_a_total_that_is_not_the_sum_is_named_and_reasoning_is_not_in_it() -> None:
    assert usage(block(reasoning_tokens=500)).anomalies == ()
    assert usage(block(total_tokens=31)).anomalies == ("total_mismatch",)


def test_the_end_of_the_body_may_be_all_that_follows_the_finish_reason() -> None:
    reader = stream()
    ends = []
    for finish in (None, "stop"):
        chunk = {"choices": [{"delta": {"content": "x"}, "finish_reason": finish}], "usage": block()}
        reader.feed(Event(b"", "", json.dumps(chunk).encode()))
        ends.append((reader.may_end, reader.terminal))
    assert ends == [(False, False), (True, False)]
    reader.feed(Event(b"", "", b"[DONE]"))
    assert reader.terminal


def test_what_is_asked_for_later_is_read_from_its_envelope_and_polled_below_its_path() -> None:
    assert ask({"request": {"model": "m", "max_tokens": 5}}, "/v1/async/sonar") == Ask("m", max_tokens=5)
    asked, poll = find("POST", "/v1/async/sonar", "perplexity"), polled("GET", "/v1/async/sonar/a1", "perplexity")
    assert asked is not None
    assert poll is not None
    assert (asked.format.name, poll.format.name, poll.id) == (name, name, "a1")


def test_a_status_without_an_envelope_is_that_of_the_answer() -> None:
    assert not answer({"status": "CREATED", "choices": [], "usage": block()}).pending

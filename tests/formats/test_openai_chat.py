"""Chat completions as OpenAI and the others really send them."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from accounting.formats import Answer, Ask, perplexity
from accounting.formats.openai_chat import Reader, answer, ask, asking_for_usage
from accounting.sse import Event, Splitter
from accounting.usage import UsageSource


def event(chunk: object, name: str = "") -> Event:
    return Event(b"", name, json.dumps(chunk).encode())


def fed(*chunks: object) -> Reader:
    reader = Reader()
    for chunk in chunks:
        reader.feed(chunk if isinstance(chunk, Event) else event(chunk))
    return reader


def content(text: str = "Hi", **fields: object) -> dict[str, object]:
    return {"id": "c1", "model": "m", "choices": [{"index": 0, "delta": {"content": text}}], **fields}


def block(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


DONE = Event(b"", "", b"[DONE]")
FINISH = {"id": "c1", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


def usage_only(prompt: int, completion: int) -> dict[str, object]:
    return {"id": "c1", "model": "m", "choices": [], "usage": block(prompt, completion)}


# What a request asks for


def test_what_is_asked_for_is_read_under_its_newer_and_older_names() -> None:
    assert ask({"model": "m", "stream": True, "max_completion_tokens": 9, "max_tokens": 5}, "") == Ask("m", True, 9)
    assert ask({"model": "m", "max_tokens": 5, "reasoning_effort": "low"}, "") == Ask("m", False, 5, "low")
    assert ask({"reasoning": {"effort": "high"}}, "") == Ask(effort="high")


def test_a_request_that_makes_no_sense_asks_for_nothing() -> None:
    assert ask({"model": 7, "stream": "yes", "max_tokens": True, "reasoning": "x"}, "") == Ask()


def test_a_stream_is_asked_for_its_usage_and_what_it_asked_itself_stays() -> None:
    body = {"model": "m", "stream": True, "stream_options": {"x": 1, "include_usage": False}}
    assert asking_for_usage(body) == {**body, "stream_options": {"x": 1, "include_usage": True}}
    assert body["stream_options"] == {"x": 1, "include_usage": False}


@pytest.mark.parametrize(
    "body",
    [
        {"model": "m"},
        {"stream": False},
        {"stream": True, "stream_options": {"include_usage": True}},
        {"stream": True, "stream_options": "odd"},  # the provider's to refuse
    ],
)
def test_a_request_whose_answer_states_usage_anyway_is_left_alone(body: dict[str, Any]) -> None:
    assert asking_for_usage(body) is None


# A whole answer


def test_a_whole_answer_says_model_id_end_and_usage() -> None:
    body = {"id": "c1", "model": "m", "choices": [{"finish_reason": "length"}], "usage": block(5, 7)}
    found = answer(body)
    assert (found.id, found.model, found.finish_reason, found.failed) == ("c1", "m", "length", False)
    assert found.usage.source == UsageSource.PROVIDER
    assert found.usage.block == '{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}'


@pytest.mark.parametrize("body", [None, [], "x", 7, {"usage": None}, {"choices": 5}])
def test_a_body_that_says_nothing_leaves_everything_unknown(body: object) -> None:
    assert answer(body) == Answer()


@pytest.mark.parametrize("body", [{"error": {"code": 500}}, {"choices": [{"error": {"code": 502}}]}])
def test_an_error_under_a_status_of_success_is_a_failure_and_its_usage_is_kept(body: dict[str, object]) -> None:
    found = answer({**body, "usage": block(5, 7)})
    assert found.failed
    assert found.usage.quantities.output == 7


# A streamed answer


def test_the_extra_chunk_is_known_and_nothing_else_is_taken_for_it() -> None:
    reader = Reader()
    seen = []
    for chunk in (
        event({"choices": [], "prompt_filter_results": []}),  # Azure begins so
        event(content()),
        event({**FINISH, "usage": block(5, 7)}),
        event(usage_only(5, 7)),
        event({"choices": [], "moderation": {}, "usage": None}),
        DONE,
    ):
        reader.feed(chunk)
        seen.append(reader.usage_only)
    assert seen == [False, False, False, True, False, False]


@pytest.mark.parametrize("empty", [None, [], "none", 0])
def test_the_usage_chunk_is_taken_out_though_it_states_none(empty: object) -> None:
    reader = fed(content(), {"id": "c1", "choices": [], "usage": empty})
    assert reader.usage_only
    assert reader.answer().usage.input_tokens is None


def test_a_usage_chunk_that_reports_an_error_is_not_taken_out() -> None:
    assert not fed(content(), {**usage_only(5, 7), "error": {"message": "x"}}).usage_only


def test_the_tail_of_an_event_shares_its_fate() -> None:
    reader = fed(content(), usage_only(5, 7), Event(b"\n", tail=True))
    assert reader.usage_only


def test_the_answer_begins_with_the_first_choice() -> None:
    assert not fed({"choices": [], "prompt_filter_results": []}, Event(b": ping\n\n")).token_seen
    assert fed(content("")).token_seen


def test_only_done_ends_a_stream() -> None:
    assert not fed(content(), FINISH, usage_only(5, 7)).terminal
    assert fed(content(), DONE).terminal


def test_cumulative_usage_replaces_and_is_never_added() -> None:
    reader = fed(content(usage=block(5, 1)), content(usage=block(5, 2)), {**FINISH, "usage": block(5, 3)})
    again = fed(content(usage=block(5, 1)), {**FINISH, "usage": block(5, 3)}, {**FINISH, "usage": block(5, 3)}, DONE)
    assert reader.answer().usage == again.answer().usage
    assert reader.answer().usage.quantities.output == 3


def test_a_later_null_does_not_take_usage_away() -> None:
    assert fed(content(), usage_only(5, 7), {"choices": [], "usage": None}, DONE).answer().usage.output_tokens == 7


def test_running_counts_of_a_stream_that_was_cut_are_partial() -> None:
    running = fed(content(usage=block(5, 1)), content(usage=block(5, 2)))
    assert running.answer().usage.source == UsageSource.PARTIAL
    assert fed(content(usage=block(5, 2)), FINISH).answer().usage.source == UsageSource.PROVIDER
    assert fed(content(), usage_only(5, 2)).answer().usage.source == UsageSource.PROVIDER


@pytest.mark.parametrize(
    "last",
    [
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": block(5, 7)}]},  # Moonshot
        {**FINISH, "x_groq": {"id": "r", "usage": block(5, 7)}},  # Groq, not asked
        {**FINISH, "usage": block(5, 7)},  # DeepSeek, Z.ai, Mistral
        {**FINISH, "usage": None, "x_groq": {"usage": block(5, 7)}},
    ],
)
def test_usage_is_found_wherever_a_provider_streams_it(last: dict[str, object]) -> None:
    found = fed(content(), last, DONE).answer()
    assert (found.usage.input_tokens, found.usage.output_tokens, found.finish_reason) == (5, 7, "stop")


def test_a_stream_without_usage_leaves_it_missing() -> None:
    found = fed(content(), FINISH, DONE).answer()
    assert (found.model, found.finish_reason) == ("m", "stop")
    assert (found.usage.source, found.usage.input_tokens) == (UsageSource.MISSING, None)


@pytest.mark.parametrize(
    "error", [event({"error": {"message": "overloaded"}}), event({"message": "x"}, "error"), Event(b"", "error", b"?")]
)
def test_an_error_in_a_stream_is_a_failure_and_usage_is_kept(error: Event) -> None:
    found = fed(content(usage=block(43, 10)), error).answer()
    assert found.failed
    assert (found.usage.quantities.output, found.usage.source) == (10, UsageSource.PROVIDER)


def test_the_model_that_answered_holds_over_a_router_s_name() -> None:
    first = {"id": "c1", "model": "", "choices": [], "prompt_filter_results": []}
    assert fed(first, content(), {**FINISH, "model": "m-2026"}, DONE).answer().model == "m-2026"


def test_text_that_speaks_of_usage_is_no_usage() -> None:
    reader = fed(content(), content('{"usage": {"prompt_tokens": 9}, "error": {}}'), DONE)
    assert reader.answer() == fed(content(), DONE).answer()


def test_an_event_too_large_to_be_read_leaves_its_mark() -> None:
    reader, splitter = Reader(), Splitter(limit=200)
    for stream in (b"data: " + event(content()).data, b"data: " + b"x" * 300, b"data: [DONE]"):
        for part in splitter.feed(stream + b"\n\n"):
            reader.feed(part)
    assert reader.terminal
    assert reader.answer().usage.anomalies == ("event_too_large",)


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/v1/chat/completions", None),
        ("/openai/deployments/ours/chat/completions?api-version=2024-10-21", "ours"),
        ("/serving-endpoints/ours/invocations", "ours"),
        ("/serving-endpoints/chat/completions", None),
    ],
)
def test_a_model_may_stand_in_the_path_alone(path: str, model: str | None) -> None:
    assert ask({}, path) == Ask(model)
    assert ask({"model": "m"}, path) == Ask("m")


@pytest.mark.parametrize("tier", [None, "", 5])
def test_a_tier_that_is_told_later_is_found_and_one_that_is_none_is_not(tier: object) -> None:
    reader = fed(content(service_tier=tier), content(service_tier="priority"), content(service_tier=tier), DONE)
    assert reader.answer().service_tier == "priority"
    assert fed(content(service_tier=tier), FINISH, DONE).answer().service_tier is None


def test_the_tier_that_is_told_with_the_end_holds() -> None:
    assert fed(content(service_tier="auto"), {**FINISH, "service_tier": "Default"}).answer().service_tier == "default"


@pytest.mark.parametrize("empty", [{}, None])
@pytest.mark.parametrize("beside", [{"choices": [{"usage": block(5, 7)}]}, {"x_groq": {"usage": block(5, 7)}}])
def test_an_empty_usage_does_not_hide_one_that_stands_elsewhere(empty: object, beside: dict[str, object]) -> None:
    body = {"choices": [{}], **beside, "usage": empty}
    assert answer(body).usage.quantities.output == 7
    assert fed(content(), body, DONE).answer().usage.quantities.output == 7


def test_an_empty_usage_does_not_take_a_stated_one_away() -> None:
    reader = fed(content(usage={}), content(usage=block(5, 7)), {**FINISH, "usage": {}}, DONE)
    assert (reader.answer().usage.quantities.output, reader.answer().usage.anomalies) == (7, ())


@pytest.mark.parametrize("nothing", [block(0, 0), {"prompt_tokens": None}, {"queue_time": 0.1}])
@pytest.mark.parametrize("reads", [Reader, perplexity.stream])
def test_a_last_usage_that_counts_nothing_takes_no_counts_away(nothing: object, reads: Callable[[], Reader]) -> None:
    reader = reads()
    for chunk in (content(usage=block(5, 7)), {**FINISH, "usage": nothing}, {**FINISH, "usage": nothing}):
        reader.feed(event(chunk))
    found = reader.answer().usage
    assert (found.input_tokens, found.output_tokens, found.anomalies) == (5, 7, ("usage_fell",))


def test_a_usage_that_counts_nothing_from_the_first_is_as_it_is_stated() -> None:
    found = fed(content(usage=block(0, 0)), FINISH, DONE).answer().usage
    assert (found.input_tokens, found.output_tokens, found.anomalies) == (0, 0, ())

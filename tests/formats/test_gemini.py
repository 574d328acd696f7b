"""Gemini's own API beside the catalogue: what is asked, when a stream may end, and what nobody should send."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting.formats import Answer, Ask
from accounting.formats.gemini import Reader, answer, ask, asking_for_usage
from accounting.sse import Event, Splitter
from accounting.usage import Quantities, Usage, UsageSource

COUNTED = {"promptTokenCount": 9, "candidatesTokenCount": 4, "totalTokenCount": 13}
STOP = {"finishReason": "STOP"}
WORD = {"content": {"parts": [{"text": "Hi"}]}}


def event(*candidates: dict[str, Any], **fields: object) -> Event:
    return Event(b"", "", json.dumps({"candidates": list(candidates), **fields}).encode())


def usage(block: object) -> Usage:
    return answer({"usageMetadata": block}).usage


def fed(*events: Event) -> Reader:
    reader = Reader()
    for each in events:
        reader.feed(each)
    return reader


@pytest.mark.parametrize(
    ("path", "model", "streamed"),
    [
        ("/v1beta/models/gemini-2.5-flash:generateContent", "gemini-2.5-flash", False),
        ("/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse&key=k", "gemini-2.5-flash", True),
        ("/v1/projects/p/locations/l/publishers/google/models/gemini-3-pro:generateContent/", "gemini-3-pro", False),
        ("/v1beta/tunedModels/mine-1:generateContent", "tunedModels/mine-1", False),
        ("/v1/projects/p/locations/l/endpoints/42:generateContent", "endpoints/42", False),
        ("/v1beta/models/gemini%2D3:generateContent", "gemini-3", False),
        ("/generateContent", None, False),
    ],
)
def test_the_path_names_the_model_and_tells_a_stream(path: str, model: str | None, streamed: bool) -> None:
    assert ask({}, path) == Ask(model, streamed)


def test_what_is_asked_for() -> None:
    config = {"maxOutputTokens": 99, "thinkingConfig": {"thinkingLevel": "high"}}
    assert ask({"generationConfig": config}, "/models/m:generateContent") == Ask("m", False, 99, "high")
    assert ask({"generationConfig": "x"}, "/models/m:generateContent") == Ask("m")


def test_what_is_asked_for_may_be_written_in_either_way() -> None:
    config = {"max_output_tokens": 99, "thinking_config": {"thinking_level": "high"}}
    for name in ("generationConfig", "generation_config"):
        assert ask({name: config}, "/models/m:generateContent") == Ask("m", False, 99, "high")


def test_it_is_never_asked_for_its_usage() -> None:
    assert asking_for_usage({}) is None


def test_a_whole_answer_says_model_id_end_and_usage() -> None:
    found = answer({"candidates": [STOP], "usageMetadata": COUNTED, "modelVersion": "g-1", "responseId": "r"})
    assert (found.model, found.id, found.finish_reason, found.failed) == ("g-1", "r", "STOP", False)
    assert found.usage.quantities == Quantities(9, output=4, requests=1)


def test_a_stream_may_end_once_a_finish_reason_has_come_and_not_before_more_content() -> None:
    reader = Reader()
    said = []
    for each in (event(), event(WORD), event(STOP), event(WORD), event({**WORD, **STOP}), event(usageMetadata=COUNTED)):
        reader.feed(each)
        said.append((reader.token_seen, reader.may_end, reader.terminal))
    began = [(False, False, False), (True, False, False), (True, True, False)]
    assert said == [*began, (True, False, False), (True, True, False), (True, True, False)]


def test_a_blocked_prompt_may_end_a_stream() -> None:
    reader = fed(Event(b"", "", b'{"promptFeedback": {"blockReason": "SAFETY"}}'))
    assert (reader.may_end, reader.answer().finish_reason) == (True, "SAFETY")


def test_the_counts_before_a_finish_reason_are_partial() -> None:
    cut = fed(event(WORD, usageMetadata=COUNTED))
    assert cut.answer().usage.source == UsageSource.PARTIAL
    cut.feed(event(STOP))
    assert cut.answer().usage.source == UsageSource.PARTIAL  # it may have come with its own, and was lost
    cut.feed(event(usageMetadata=COUNTED))
    assert cut.answer().usage.source == UsageSource.PROVIDER


def test_an_error_between_the_events_comes_without_a_field_s_name() -> None:
    text = b'data: {"candidates": []}\n\n{\n  "error": {\n    "code": 503\n  }\n}\n\n'
    reader = fed(*Splitter().feed(text))
    assert reader.answer() == Answer(failed=True)


def test_usage_is_found_at_the_end_of_an_event_too_large_to_be_read() -> None:
    picture = {"content": {"parts": [{"inlineData": {"data": "A" * 5000}}]}, **STOP}
    body = json.dumps({"candidates": [picture], "usageMetadata": COUNTED, "modelVersion": "g-1"}).encode()
    stream = b"data: " + body + b"\n\n"
    for size in (1, 7, 100, 4000, len(stream)):
        splitter, reader = Splitter(limit=1000), Reader()
        for begin in range(0, len(stream), size):
            for each in splitter.feed(stream[begin : begin + size]):
                reader.feed(each)
        found = reader.answer()
        assert (found.model, found.finish_reason, reader.may_end) == ("g-1", "STOP", True)
        assert (found.usage.input_tokens, found.usage.output_tokens, found.usage.anomalies) == (9, 4, ())


def test_an_event_too_large_that_says_nothing_at_its_end_is_flagged_until_usage_comes() -> None:
    reader = fed(Event(b"A" * 9000, oversized=True))
    assert reader.answer().usage.anomalies == ("event_too_large",)
    reader.feed(event(STOP, usageMetadata=COUNTED))
    assert reader.answer().usage.anomalies == ()


def test_cached_tokens_beyond_the_prompt_stand_beside_it_only_where_the_total_says_so() -> None:
    stated = {"promptTokenCount": 10, "cachedContentTokenCount": 30, "candidatesTokenCount": 5}
    beside = usage({**stated, "totalTokenCount": 45})
    assert (beside.input_tokens, beside.cache_read_tokens, beside.anomalies) == (40, 30, ("cached_beside_input",))
    within = usage({**stated, "totalTokenCount": 15})
    assert (within.input_tokens, within.cache_read_tokens, within.anomalies) == (10, 10, ("cached_exceeds_input",))


def test_more_audio_from_the_cache_than_there_was_is_flagged() -> None:
    found = usage(
        {
            **COUNTED,
            "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 3}],
            "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 5}],
        }
    )
    assert (found.audio_input_tokens, found.anomalies) == (0, ("cached_exceeds_input",))


def test_audio_that_tools_put_in_is_audio_too() -> None:
    lines = [{"modality": "AUDIO", "tokenCount": 3}, {"modality": "VIDEO", "tokenCount": 1}, "?", {}]
    found = usage({**COUNTED, "promptTokensDetails": lines, "toolUsePromptTokensDetails": lines})
    assert (found.audio_input_tokens, found.image_input_tokens) == (6, None)


def test_a_prompt_that_is_not_stated_is_nothing_only_where_the_total_proves_it() -> None:
    assert usage({"candidatesTokenCount": 5, "totalTokenCount": 5}).input_tokens == 0
    unknown = usage({"candidatesTokenCount": 5, "totalTokenCount": 9})
    assert (unknown.input_tokens, unknown.source, unknown.anomalies) == (None, UsageSource.PARTIAL, ("input_missing",))


def test_output_that_is_not_stated_is_unknown_without_a_total() -> None:
    assert usage({"promptTokenCount": 5}).output_tokens is None
    assert usage({"promptTokenCount": 5, "totalTokenCount": 5}).output_tokens == 0


def test_an_unspecified_tier_is_none() -> None:
    stated = {**COUNTED, "trafficType": "TRAFFIC_TYPE_UNSPECIFIED"}
    assert answer({"usageMetadata": stated}).service_tier is None


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("candidates", "usageMetadata", "finishReason", "groundingMetadata", "webSearchQueries", "error"),
                    *("promptTokenCount", "candidatesTokenCount", "totalTokenCount", "promptTokensDetails"),
                    *("modality", "tokenCount", "modelVersion", "promptFeedback", "blockReason"),
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=100, deadline=None)
@given(body=ODD)
def test_whatever_the_body_nothing_raises_and_parts_stay_within_their_wholes(body: object) -> None:
    found = answer(body).usage
    assert (found.reasoning_tokens or 0) <= (found.output_tokens or 0)
    assert (found.cache_read_tokens or 0) + (found.audio_input_tokens or 0) <= (found.input_tokens or 0)
    fed(Event(b"", "", json.dumps(body).encode())).answer()

"""Amazon Bedrock's Converse and InvokeModel; whole answers and streams of theirs are rows of the catalogue."""

import json
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.eventstream import Splitter
from accounting.formats import Ask, StreamReader, bedrock, bedrock_invoke
from accounting.sse import Event
from accounting.usage import Quantities, UsageSource
from tests.formats.test_formats import assert_keepable, values
from tests.frames import chunk, exception, frame

ARN = "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/a1b2"


@pytest.mark.parametrize("model", ["amazon.nova-pro-v1:0", ARN])
def test_the_path_names_the_model_and_tells_whether_it_streams(model: str) -> None:
    assert bedrock.ask({}, f"/model/{model}/converse") == Ask(model)
    assert bedrock.ask({}, f"/model/{model}/converse-stream") == Ask(model, stream=True)
    assert bedrock_invoke.ask({}, f"/model/{model}/invoke") == Ask(model)
    assert bedrock_invoke.ask({}, f"/model/{model}/invoke-with-response-stream") == Ask(model, stream=True)


def test_a_model_s_name_may_come_as_it_was_sent_over_the_wire() -> None:
    assert bedrock.ask({}, f"/model/{ARN.replace(':', '%3A').replace('/', '%2F')}/converse").model == ARN


def test_the_rest_of_what_is_asked_for_is_in_the_body() -> None:
    asked = {"inferenceConfig": {"maxTokens": 9}, "additionalModelRequestFields": {"reasoning_effort": "low"}}
    assert bedrock.ask(asked, "") == Ask(max_tokens=9, effort="low")
    claude = {"max_tokens": 7, "output_config": {"effort": "high"}}
    assert bedrock.ask({"additionalModelRequestFields": claude}, "") == Ask(effort="high")
    assert bedrock_invoke.ask(claude, "") == Ask(max_tokens=7, effort="high")
    assert bedrock_invoke.ask({"inferenceConfig": {"maxTokens": 9}}, "") == Ask(max_tokens=9)


@pytest.mark.parametrize(
    "body",
    [
        *({"max_tokens": 9}, {"max_completion_tokens": 9}, {"max_gen_len": 9}, {"max_tokens_to_sample": 9}),
        *({"maxTokens": 9}, {"inferenceConfig": {"max_new_tokens": 9}}, {"textGenerationConfig": {"maxTokenCount": 9}}),
    ],
)
def test_each_vendors_name_for_the_longest_answer_is_read(body: dict[str, object]) -> None:
    assert bedrock_invoke.ask({"prompt": "Hi", **body}, "") == Ask(max_tokens=9)
    assert bedrock_invoke.ask({"reasoning_effort": "low", **body}, "") == Ask(max_tokens=9, effort="low")


def test_nothing_is_added_to_a_request() -> None:
    assert bedrock.asking_for_usage({"messages": []}) is None
    assert bedrock_invoke.asking_for_usage({"messages": []}) is None


def test_of_two_names_for_one_count_neither_hides_the_other() -> None:
    stated = {"inputTokens": 1, "outputTokens": 2, "cacheReadInputTokens": 0, "cacheReadInputTokenCount": 30}
    assert bedrock.usage(stated).quantities == Quantities(31, 30, output=2, requests=1)


def fed(reader: StreamReader, stream: bytes) -> StreamReader:
    for event in Splitter().feed(stream):
        reader.feed(event)
    return reader


TEXT = frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hi"}})
STOP = frame("messageStop", {"stopReason": "end_turn"})
METADATA = frame("metadata", {"usage": {"inputTokens": 2, "outputTokens": 10, "totalTokens": 12}})


def test_a_converse_stream_ends_with_its_metadata_and_not_before() -> None:
    reader = fed(bedrock.Reader(), frame("messageStart", {"role": "assistant"}))
    assert (reader.token_seen, reader.terminal) == (False, False)
    fed(reader, TEXT + STOP)
    assert (reader.token_seen, reader.terminal, reader.answer().finish_reason) == (True, False, "end_turn")
    fed(reader, METADATA)
    assert (reader.terminal, reader.usage_only) == (True, False)


def test_metadata_that_comes_again_is_not_added() -> None:
    assert fed(bedrock.Reader(), METADATA * 3).answer() == fed(bedrock.Reader(), METADATA).answer()


START = {"type": "message_start", "message": {"model": "claude", "usage": {"input_tokens": 5, "output_tokens": 1}}}
BEGIN = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
UNKNOWN = frame("novelty", {"usage": {"inputTokens": 99}})
NOISE = [UNKNOWN, frame("chunk", {"bytes": ""}), frame("initial-response", b""), chunk({"type": "ping"})]


@given(noise=st.lists(st.lists(st.sampled_from(NOISE), max_size=2), min_size=3, max_size=3))
def test_unknown_frames_in_between_change_nothing(noise: list[list[bytes]]) -> None:
    stream = b"".join(b"".join([*before, each]) for before, each in zip(noise, [TEXT, STOP, METADATA], strict=True))
    assert fed(bedrock.Reader(), stream).answer() == fed(bedrock.Reader(), TEXT + STOP + METADATA).answer()
    spoken = [chunk(START), chunk(BEGIN), chunk({"type": "message_stop"})]
    stream = b"".join(b"".join([*before, each]) for before, each in zip(noise, spoken, strict=True))
    assert fed(bedrock_invoke.Reader(), stream).answer() == fed(bedrock_invoke.Reader(), b"".join(spoken)).answer()


def claude(*events: object) -> StreamReader:
    return fed(bedrock_invoke.Reader(), b"".join(chunk(event) for event in events))


def test_claude_s_stream_begins_and_ends_as_anthropic_s() -> None:
    reader = claude(START, {"type": "ping"})
    assert (reader.token_seen, reader.terminal) == (False, False)
    reader = claude(START, BEGIN)
    assert (reader.token_seen, reader.terminal) == (True, False)
    assert claude(START, BEGIN, {"type": "message_stop"}).terminal


def test_bedrock_s_own_counts_end_a_stream_and_serve_where_the_model_told_none() -> None:
    metrics = {"inputTokenCount": 5, "outputTokenCount": 7, "cacheReadInputTokenCount": 20}
    reader = claude({"outputText": "Hi"}, {"amazon-bedrock-invocationMetrics": metrics})
    assert (reader.token_seen, reader.terminal) == (True, True)
    assert reader.answer().usage.quantities == Quantities(25, 20, output=7, requests=1)
    untold = {"type": "message_start", "message": {"model": "claude"}}
    stopped = {"type": "message_stop", "amazon-bedrock-invocationMetrics": metrics}
    found = claude(untold, stopped).answer()
    assert (found.model, found.usage.input_tokens, found.usage.source) == ("claude", 25, UsageSource.PROVIDER)


def test_bedrock_s_counts_do_not_replace_those_of_the_model() -> None:
    found = claude(START, {"type": "message_stop", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 99}})
    assert found.answer().usage.input_tokens == 5


def test_text_that_speaks_of_metrics_is_none() -> None:
    text = {
        "type": "content_block_delta",
        "delta": {"text": '"amazon-bedrock-invocationMetrics":{"inputTokenCount":9}'},
    }
    reader = claude(START, text)
    assert (reader.terminal, reader.answer().usage.input_tokens) == (False, 5)


@pytest.mark.parametrize("payload", [b'{"bytes": "x"}', b'{"bytes": 5}', b"{}", b"", b'{"bytes": ""}', b"\xff"])
def test_a_piece_that_is_none_is_no_part_of_the_answer(payload: bytes) -> None:
    reader = fed(bedrock_invoke.Reader(), frame("chunk", payload))
    assert (reader.terminal, reader.token_seen, reader.answer().failed) == (False, False, False)


def test_an_exception_before_anything_else_is_a_failure_without_counts() -> None:
    found = fed(bedrock_invoke.Reader(), exception("validationException", "No")).answer()
    assert (found.failed, found.usage.source, found.usage.anomalies) == (True, UsageSource.MISSING, ())


@given(
    pieces=st.lists(values | st.sampled_from([START, BEGIN]), max_size=5), name=st.sampled_from(["chunk", "", "error"])
)
def test_no_piece_whatever_it_holds_breaks_the_reader(pieces: list[object], name: str) -> None:
    reader = bedrock_invoke.Reader()
    for piece in pieces:
        wrapped = {"bytes": b64encode(json.dumps(piece).encode()).decode()}
        reader.feed(Event(b"", name, json.dumps(wrapped).encode()))
    assert_keepable(reader.answer())

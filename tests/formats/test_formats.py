"""What holds for every wire format, and which request is in which."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from accounting import eventstream, jsonvalues
from accounting.counts import Counts
from accounting.formats import (
    _FORMATS,
    Answer,
    Format,
    StreamReader,
    anthropic,
    bedrock,
    bedrock_invoke,
    find,
    gemini,
    loads,
    openai_audio,
    openai_chat,
    openai_completions,
    openai_embeddings,
    openai_images,
    openai_responses,
    splitter,
    unknown,
    unread,
)
from accounting.formats.wire import provider_cost
from accounting.money import Money
from accounting.sse import Event, Splitter
from accounting.usage import Call, Outcome, new_id

FORMATS: list[Format] = list(_FORMATS)
NAMES = [
    "choices",
    "delta",
    "finish_reason",
    "usage",
    "x_groq",
    "error",
    "model",
    "id",
    "type",
    "message",
    "stop_reason",
    "prompt_tokens",
    "cost",
    "completion_tokens",
    "total_tokens",
    "prompt_tokens_details",
    "cached_tokens",
    "cache_write_tokens",
    "completion_tokens_details",
    "reasoning_tokens",
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "cache_creation",
    "ephemeral_5m_input_tokens",
    "output_tokens_details",
    "thinking_tokens",
    "iterations",
    "inputTokens",
    "outputTokens",
    "totalTokens",
    "cacheReadInputTokens",
    "cacheWriteInputTokens",
    "cacheDetails",
    "ttl",
    "serviceTier",
    "amazon-bedrock-invocationMetrics",
    "inputTokenCount",
    "stream",
    "stream_options",
    "max_tokens",
    "reasoning",
    "effort",
    "output_config",
    "include_usage",
    "response",
    "status",
    "output",
    "tool_usage",
    "image_gen",
    "svg_usage",
    "incomplete_details",
    "input_tokens_details",
    "service_tier",
    "cost_in_usd_ticks",
    "total_cost",
    "citation_tokens",
    "prompt_audio_seconds",
    "prompt_cache_miss_tokens",
    "audio_tokens",
    "image_tokens",
    "data",
    "duration",
    "seconds",
    "base_resp",
    "status_code",
]
KINDS = [
    "",
    "chunk",
    "metadata",
    "messageStop",
    "error",
    "message_start",
    "message_delta",
    "message_stop",
    "content_block_delta",
    "response.completed",
]
KINDS += ["response.created", "response.output_item.done", "response.failed"]
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 30)
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "7", "-7", "x\0y", "\ud800", "message", "error"])
)
values: st.SearchStrategy[Any] = st.recursive(
    scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.sampled_from(NAMES), v, max_size=6), max_leaves=25
)
bodies = st.dictionaries(st.sampled_from(NAMES), values, max_size=6)
events = st.builds(
    lambda name, body, data, tail, large: Event(
        b"", name, json.dumps(body).encode() if data is None else data, tail, large
    ),
    st.sampled_from(KINDS),
    bodies,
    st.none() | st.sampled_from([b"[DONE]", b'"usage": {', b"", b"\xff\xfe"]) | st.binary(max_size=20),
    st.booleans(),
    st.booleans(),
)


def answered(reader: StreamReader, stream: Iterable[Event]) -> Answer:
    for event in stream:
        reader.feed(event)
    return reader.answer()


def assert_keepable(answer: Answer) -> None:
    """The answer can be written down, delivered and priced: nothing negative, no part above its whole."""
    call = Call(
        id=new_id(),
        started_at=datetime(2026, 11, 1, tzinfo=UTC),
        provider="p",
        endpoint="e",
        outcome=Outcome.FINISHED,
        response_model=answer.model,
        response_id=answer.id,
        finish_reason=answer.finish_reason,
        usage=answer.usage,
    )
    assert Call.decode(call.encode()) == call
    tokens = answer.usage.quantities
    assert min(tokens) >= 0
    assert tokens.cache_read + tokens.cache_write <= tokens.input
    assert tokens.reasoning <= tokens.output


@pytest.mark.parametrize("wire_format", FORMATS, ids=lambda f: f.name)
@given(stream=st.lists(events, max_size=6))
def test_no_stream_whatever_its_bytes_breaks_the_reader(wire_format: Format, stream: list[Event]) -> None:
    assert_keepable(answered(wire_format.stream(), stream))


@pytest.mark.parametrize("wire_format", FORMATS, ids=lambda f: f.name)
@given(body=bodies | values)
def test_no_body_whatever_it_holds_breaks_the_reader(wire_format: Format, body: object) -> None:
    assert_keepable(wire_format.answer(loads(json.dumps(body))))


@pytest.mark.parametrize("wire_format", FORMATS, ids=lambda f: f.name)
@given(body=bodies)
def test_no_request_whatever_it_holds_breaks_the_reader(wire_format: Format, body: dict[str, Any]) -> None:
    wire_format.ask(body, "")
    asking = wire_format.asking_for_usage(body)
    assert asking is None or wire_format.asking_for_usage(asking) is None


@pytest.mark.parametrize("wire_format", FORMATS, ids=lambda f: f.name)
@given(stream=st.lists(events, max_size=4), repeated=st.integers(0, 3))
def test_an_event_that_comes_twice_in_a_row_counts_once(
    wire_format: Format, stream: list[Event], repeated: int
) -> None:
    twice = stream[: repeated + 1] + stream[repeated:]
    assert answered(wire_format.stream(), twice) == answered(wire_format.stream(), stream)


OPENAI = b"""\
: PROCESSING

data: {"id":"c1","model":"m","choices":[{"index":0,"delta":{"role":"assistant"}}],"usage":null}

data: {"id":"c1","model":"m","choices":[{"index":0,"delta":{"content":"say \\"usage\\": {"}}],"usage":null}

data: {"id":"c1","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}

data: {"id":"c1","model":"m","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}

data: [DONE]

"""
ANTHROPIC = b"""\
event: message_start
data: {"type":"message_start","message":{"id":"msg_1","model":"m","usage":{"input_tokens":5,"output_tokens":1}}}

event: ping
data: {"type":"ping"}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"stop"},"usage":{"output_tokens":7}}

event: message_stop
data: {"type":"message_stop"}

"""


@pytest.mark.parametrize(("wire_format", "stream"), [(openai_chat, OPENAI), (anthropic, ANTHROPIC)])
@given(cuts=st.lists(st.integers(0, 600), max_size=30), end=st.sampled_from([b"\n", b"\r\n", b"\r"]))
@example(cuts=list(range(700)), end=b"\r\n")
def test_any_chunking_gives_the_same_answer(wire_format: Format, stream: bytes, cuts: list[int], end: bytes) -> None:
    stream = stream.replace(b"\n", end)
    places = [0, *sorted(cuts), len(stream)]
    splitter, reader = Splitter(), wire_format.stream()
    for begin, stop in pairwise(places):
        for event in splitter.feed(stream[begin:stop]):
            reader.feed(event)
    answer = reader.answer()
    assert (reader.terminal, reader.token_seen) == (True, True)
    assert (answer.model, answer.finish_reason, answer.failed) == ("m", "stop", False)
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.source) == (5, 7, "provider")


@pytest.mark.parametrize(
    ("path", "wire_format", "endpoint"),
    [
        ("/v1/chat/completions", openai_chat, "chat/completions"),
        ("/api/paas/v4/chat/completions", openai_chat, "chat/completions"),
        ("/openai/deployments/d/chat/completions?api-version=1", openai_chat, "chat/completions"),
        ("/chat/completions/", openai_chat, "chat/completions"),
        ("/v1/messages?beta=true", anthropic, "messages"),
        ("/api/anthropic/messages", anthropic, "messages"),
        ("/v1/responses", openai_responses, "responses"),
        ("/v1/responses/compact", openai_responses, "responses/compact"),
        ("/openai/v1/responses?api-version=preview", openai_responses, "responses"),
        ("/v1/completions", openai_completions, "completions"),
        ("/v1/embeddings", openai_embeddings, "embeddings"),
        ("/v1/multimodalembeddings", openai_embeddings, "multimodalembeddings"),
        ("/v1/images/edits", openai_images, "images/edits"),
        ("/v1/audio/speech", openai_audio, "audio/speech"),
        ("/v1/messages/batches", unread, "messages/batches"),
        ("/v1/videos/video_1/remix", unread, "videos/*/remix"),
        ("/api/v1/services/aigc/text-generation/generation", unread, "services/aigc/*/*"),
        ("/v1/t2a_v2", unread, "t2a_v2"),
        ("/beta/completions", openai_completions, "completions"),
        ("/v1/text/chatcompletion_v2", openai_chat, "text/chatcompletion_v2"),
        ("/api/v2/cortex/inference:complete", openai_chat, "cortex/inference:complete"),
        ("/serving-endpoints/ours/invocations", openai_chat, "serving-endpoints/*/invocations"),
        ("/v1/threads/t_1/runs", unread, "threads/*/runs"),
        ("/v1beta/models/gemini-3:generateContent", gemini, "*:generateContent"),
        ("/v1/projects/p/publishers/google/models/g:streamGenerateContent", gemini, "*:streamGenerateContent"),
        ("/v1beta/models/gemini-3:batchGenerateContent", unread, "*:batchGenerateContent"),
        ("/model/m/converse-stream", bedrock, "model/*/converse-stream"),
        ("/model/arn:aws:bedrock:eu-west-1:1:inference-profile/eu.m/converse", bedrock, "model/*/*/converse"),
        ("/model/m/invoke", bedrock_invoke, "model/*/invoke"),
        ("/model/m/invoke-with-response-stream", bedrock_invoke, "model/*/invoke-with-response-stream"),
        (
            "/v1/projects/p/locations/l/publishers/anthropic/models/claude:streamRawPredict",
            anthropic,
            "publishers/anthropic/models/*:streamRawPredict",
        ),
        ("/v1/projects/p/locations/l/publishers/mistralai/models/m:rawPredict", unread, "*:rawPredict"),
    ],
)
def test_the_end_of_the_path_tells_the_format(path: str, wire_format: Format, endpoint: str) -> None:
    match = find("POST", path, "")
    assert match is not None
    assert (match.format.name, match.endpoint) == (wire_format.name, endpoint)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/chat/completions"),
        ("GET", "/v1/models"),
        ("DELETE", "/v1/responses/r_1"),
        ("HEAD", "/anthropic/v1/messages"),
        ("POST", "/v1/messages/count_tokens?beta=true"),
        ("POST", "/v1beta/models/gemini-3:countTokens"),
        ("POST", "/v1/threads/t_1/messages"),
        ("POST", "/v1/projects/p/locations/l/publishers/anthropic/models/count-tokens:rawPredict"),
        ("POST", "/model/m/count-tokens"),
        ("POST", "/v1/batches/b_1/cancel"),
        ("POST", "/v1/moderations"),
        ("POST", "/v1/files?purpose=messages"),
        ("POST", "/v1/mychat/completionsx"),
        ("POST", ""),
    ],
)
def test_what_buys_nothing_is_no_call(method: str, path: str) -> None:
    assert find(method, path, "") is None


@pytest.mark.parametrize(
    ("content_type", "cut_by"),
    [
        ("text/event-stream; charset=utf-8", Splitter),
        (" Text/Event-Stream", Splitter),
        ("application/vnd.amazon.eventstream", eventstream.Splitter),
        ("application/stream+json", jsonvalues.Splitter),
        ("application/json", type(None)),
        ("", type(None)),
    ],
)
def test_the_content_type_tells_how_a_stream_is_cut(content_type: str, cut_by: type) -> None:
    assert isinstance(splitter(content_type), cut_by)


def test_json_is_cut_only_where_it_is_asked_for_as_a_stream_and_that_is_a_list() -> None:
    assert isinstance(splitter("application/json; charset=UTF-8", gemini), jsonvalues.Splitter)
    assert splitter("application/json", openai_chat) is None


def test_fractions_are_read_to_the_digit_that_was_written() -> None:
    assert loads(b'{"cost": 0.10000000000000000001}') == {"cost": Decimal("0.10000000000000000001")}


@pytest.mark.parametrize("data", [b"", b"{", b"[" * 100_000, b"\xef\xbb\xbf", "\ud800"])
def test_what_cannot_be_read_is_nothing(data: bytes | str) -> None:
    assert loads(data) is None


def test_a_bad_character_does_not_cost_us_the_rest() -> None:
    assert loads(b'\xef\xbb\xbf \n{"content": "\xff", "n": 1}') == {"content": "\ufffd", "n": 1}


@pytest.mark.parametrize(
    ("stated", "amount"), [("0.00012345", "0.00012345"), ("0", "0"), ("1E-7", "0.0000001"), ("2", "2")]
)
def test_the_cost_a_provider_states_is_kept_exactly(stated: str, amount: str) -> None:
    counts = Counts()
    assert provider_cost(loads(stated), "USD", counts) == Money(Decimal(amount), "USD")
    assert counts.anomalies == []


@pytest.mark.parametrize(
    "stated",
    ["-0.1", "NaN", "Infinity", "1e999", "1E-999", "1e2000000", "0e99999999", '"x"', "true", "[]", "0." + "1" * 31],
)
def test_a_cost_that_is_no_sum_of_money_is_unknown_and_flagged(stated: str) -> None:
    counts = Counts()
    assert provider_cost(loads(stated), "USD", counts) is None
    assert counts.anomalies == ["cost_unreadable"]


@pytest.mark.parametrize("path", ["/V1/Chat/Completions", "/v1/CHAT/completions/", "/v1//chat/completions"])
def test_an_endpoint_is_known_whatever_the_case_of_its_path(path: str) -> None:
    assert find("POST", path, "llm.internal") == find("POST", "/v1/chat/completions", "llm.internal") is not None
    assert unknown("POST", "/v1/Moderations", "openai") is None


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
def test_paths_that_anybody_has_are_ollama_s_at_ollama_alone(path: str) -> None:
    match = find("POST", path, "ollama")
    assert match is not None
    assert match.format.name == "ollama"
    assert find("POST", path, "localhost:3000") is None
    assert unknown("POST", "/api/pull", "ollama") is None

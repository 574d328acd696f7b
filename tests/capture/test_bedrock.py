"""Amazon Bedrock through a client: binary streams pass byte by byte, and the books have their counts."""

import json

import pytest

from accounting.usage import Outcome, UsageSource
from tests.capture.callers import Caller
from tests.capture.conftest import Journaled
from tests.capture.wire import Server, Step, chunked, head, plain, reset
from tests.frames import chunk, exception, frame

SIGNED = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261123/eu-west-1/bedrock/aws4_request, Signature=00"
MODEL = "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.anthropic.claude-sonnet-4-5-v1:0"
PATH = f"/model/{MODEL.replace(':', '%3A').replace('/', '%2F')}"
ASK = {"messages": [{"role": "user", "content": [{"text": "hello"}]}], "inferenceConfig": {"maxTokens": 9}}

USAGE = {"inputTokens": 13, "cacheReadInputTokens": 9821, "outputTokens": 4, "totalTokens": 9838}
FRAMES = [
    frame("messageStart", {"role": "assistant"}),
    frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "hé"}, "p": "abcd"}),
    frame("contentBlockStop", {"contentBlockIndex": 0}),
    frame("messageStop", {"stopReason": "end_turn"}),
    frame("metadata", {"usage": USAGE, "metrics": {"latencyMs": 9}, "serviceTier": {"type": "flex"}}),
]
CLAUDE = [
    chunk({"type": "message_start", "message": {"id": "m-1", "model": "claude-x", "usage": {"input_tokens": 9}}}),
    chunk({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hé"}}),
    chunk({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4}}),
    chunk({"type": "message_stop", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 9, "outputTokenCount": 4}}),
]


def in_pieces(body: bytes, size: int) -> list[Step]:
    """A streamed answer, each piece in a write of its own."""
    kind = "content-type: application/vnd.amazon.eventstream"
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    start = head(200, kind, "transfer-encoding: chunked")
    return [start, *(chunked(piece).removesuffix(b"0\r\n\r\n") for piece in pieces), b"0\r\n\r\n"]


@pytest.mark.parametrize("size", [7, 100, 2**20])
def test_a_binary_stream_passes_untouched_and_is_counted(
    size: int, server: Server, caller: Caller, journaled: Journaled
) -> None:
    body = b"".join(FRAMES)
    server.says(*in_pieces(body, size))
    assert caller.post(f"{server.url}{PATH}/converse-stream", ASK).body == body

    call = journaled.only()
    assert (call.outcome, call.endpoint, call.stream) == (Outcome.FINISHED, "model/*/*/converse-stream", True)
    assert (call.model, call.max_tokens, call.finish_reason) == (MODEL, 9, "end_turn")
    assert (call.usage.input_tokens, call.usage.cache_read_tokens, call.usage.output_tokens) == (9834, 9821, 4)
    assert (call.usage.source, call.usage.anomalies, call.service_tier) == (UsageSource.PROVIDER, (), "flex")
    assert call.first_token_at is not None


def test_a_model_s_own_stream_inside_the_frames_is_counted(
    server: Server, caller: Caller, journaled: Journaled
) -> None:
    body = b"".join(CLAUDE)
    server.says(*in_pieces(body, 50))
    url = f"{server.url}/model/anthropic.claude-x-v1:0/invoke-with-response-stream"
    assert caller.post(url, {"max_tokens": 9, "anthropic_version": "bedrock-2023-05-31"}).body == body

    call = journaled.only()
    assert (call.outcome, call.request_model, call.response_model) == (
        Outcome.FINISHED,
        "anthropic.claude-x-v1:0",
        "claude-x",
    )
    assert (call.usage.input_tokens, call.usage.output_tokens, call.usage.anomalies) == (9, 4, ())


def test_a_whole_answer_is_counted(server: Server, caller: Caller, journaled: Journaled) -> None:
    body = json.dumps({"output": {}, "stopReason": "end_turn", "usage": USAGE}).encode()
    server.says(plain(body))
    assert caller.post(f"{server.url}{PATH}/converse", ASK).body == body
    call = journaled.only()
    assert (call.outcome, call.stream, call.usage.input_tokens) == (Outcome.FINISHED, False, 9834)


def test_a_signed_request_arrives_as_it_was_signed(server: Server, caller: Caller) -> None:
    server.says(*in_pieces(b"".join(FRAMES), 2**20))
    body = b'{ "messages":  [] }'
    caller.post(f"{server.url}{PATH}/converse-stream", body, authorization=SIGNED, x_amz_date="20261123T170000Z")
    (asked,) = server.asked
    assert (asked.body, asked.headers["authorization"]) == (body, SIGNED)
    assert asked.path == f"{PATH}/converse-stream"


def test_an_exception_in_a_stream_is_a_failure(server: Server, caller: Caller, journaled: Journaled) -> None:
    body = b"".join([*FRAMES[:2], exception("modelStreamErrorException", "The model stream failed.")])
    server.says(*in_pieces(body, 2**20))
    assert caller.post(f"{server.url}{PATH}/converse-stream", ASK).body == body
    assert journaled.outcomes() == [Outcome.FAILED]


def test_a_stream_cut_before_its_counts_is_interrupted(server: Server, caller: Caller, journaled: Journaled) -> None:
    whole = in_pieces(b"".join(FRAMES[:4]), 2**20)
    server.says(*whole[:-1], reset)
    caller.post(f"{server.url}{PATH}/converse-stream", ASK)
    call = journaled.only()
    assert (call.outcome, call.usage.source) == (Outcome.INTERRUPTED, UsageSource.MISSING)


def test_bytes_that_are_no_frames_pass_all_the_same(server: Server, caller: Caller, journaled: Journaled) -> None:
    body = b"no frames at all, and more bytes than a prelude has"
    server.says(*in_pieces(body, 5))
    assert caller.post(f"{server.url}{PATH}/converse-stream", ASK).body == body
    call = journaled.only()
    assert (call.outcome, call.usage.anomalies) == (Outcome.INTERRUPTED, ("event_unreadable",))

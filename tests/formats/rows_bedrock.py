"""Amazon Bedrock: Converse and InvokeModel, whole and in binary frames."""

from tests.formats.catalogue import Row
from tests.frames import chunk, exception, frame

_CONVERSE = "/model/us.anthropic.claude-sonnet-4-5-20250929-v1:0/converse"
_INVOKE = "/model/anthropic.claude-3-haiku-20240307-v1:0/invoke"
_FRAMES = "application/vnd.amazon.eventstream"

_CACHED: dict[str, object] = {
    "inputTokens": 13,
    "cacheReadInputTokens": 9821,
    "cacheReadInputTokenCount": 9821,
    "cacheWriteInputTokens": 1200,
    "cacheWriteInputTokenCount": 1200,
    "outputTokens": 500,
    "totalTokens": 11_534,
}
_ALL_CACHED = {"input_tokens": 11_034, "cache_read_tokens": 9821, "cache_write_tokens": 1200, "output_tokens": 500}


def _whole(usage: dict[str, object], **more: object) -> dict[str, object]:
    message = {"role": "assistant", "content": [{"text": "Hi"}]}
    metrics = {"latencyMs": 412}
    return {"output": {"message": message}, "stopReason": "end_turn", "usage": usage, "metrics": metrics, **more}


_TEXT = (
    frame("messageStart", {"role": "assistant"}),
    frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hello"}, "p": "abc"}),
    frame("contentBlockStop", {"contentBlockIndex": 0}),
)
_STOP = frame("messageStop", {"stopReason": "max_tokens"})


def _streamed(usage: dict[str, object], **more: object) -> bytes:
    return b"".join([*_TEXT, _STOP, frame("metadata", {"metrics": {"latencyMs": 317}, "usage": usage, **more})])


def _converse(case: str, sent: object, usage: dict[str, int], **more: object) -> Row:
    path = _CONVERSE + "-stream" * isinstance(sent, bytes)
    kind = _FRAMES if isinstance(sent, bytes) else ""
    name = f"Bedrock Converse: {case}"
    return Row(
        name=name,
        provider="bedrock",
        path=path,
        sent=sent,
        usage=usage,
        content_type=kind,
        **more,  # type: ignore[arg-type]
    )


def _invoke(case: str, sent: object, usage: dict[str, int], **more: object) -> Row:
    path = _INVOKE + "-with-response-stream" * isinstance(sent, bytes)
    kind = _FRAMES if isinstance(sent, bytes) else ""
    name = f"Bedrock InvokeModel: {case}"
    return Row(
        name=name,
        provider="bedrock",
        path=path,
        sent=sent,
        usage=usage,
        content_type=kind,
        **more,  # type: ignore[arg-type]
    )


_CLAUDE = (
    chunk(
        {
            "type": "message_start",
            "message": {
                "id": "msg_bdrk_1",
                "model": "claude-3-haiku-20240307",
                "usage": {
                    "input_tokens": 10,
                    "cache_read_input_tokens": 20,
                    "cache_creation_input_tokens": 30,
                    "output_tokens": 1,
                    "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
                },
            },
        }
    ),
    chunk({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
    chunk({"type": "ping"}),
    chunk({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}}),
)
_CLAUDE_END = (
    chunk({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}}),
    chunk(
        {
            "type": "message_stop",
            "amazon-bedrock-invocationMetrics": {
                "inputTokenCount": 10,
                "outputTokenCount": 3,
                "invocationLatency": 50,
                "firstByteLatency": 20,
                "cacheReadInputTokenCount": 20,
                "cacheWriteInputTokenCount": 30,
            },
        }
    ),
)
_METRICS: dict[str, object] = {"inputTokenCount": 8, "outputTokenCount": 12, "invocationLatency": 9}

ROWS = [
    _converse(
        "a plain answer",
        _whole({"inputTokens": 13, "outputTokens": 4, "serverToolUsage": {}, "totalTokens": 17}),
        {"input_tokens": 13, "output_tokens": 4},
    ),
    _converse("the three kinds of input are added, each once", _whole(_CACHED), _ALL_CACHED),
    _converse(
        "cache writes by lifetime, and the tier that served",
        _whole(
            _CACHED | {"cacheDetails": [{"ttl": "1h", "inputTokens": 1000}, {"ttl": "5m", "inputTokens": 200}]},
            serviceTier={"type": "flex"},
        ),
        _ALL_CACHED | {"cache_write_1h_tokens": 1000},
        service_tier="flex",
    ),
    _converse(
        "a breakdown of cache writes above their total is right",
        _whole(
            {
                "inputTokens": 3,
                "outputTokens": 4,
                "cacheWriteInputTokens": 2,
                "cacheDetails": [{"ttl": "5m", "inputTokens": 5}],
            }
        ),
        {"input_tokens": 8, "cache_write_tokens": 5, "cache_write_1h_tokens": 0, "output_tokens": 4},
        anomalies=("cache_write_mismatch",),
    ),
    _converse(
        "a total that leaves out the cache may be of an input that includes it",
        _whole(_CACHED | {"totalTokens": 513}),
        _ALL_CACHED,
        anomalies=("total_mismatch",),
    ),
    _converse(
        "a total that adds up by no reading",
        _whole({"inputTokens": 13, "outputTokens": 4, "totalTokens": 18}),
        {"input_tokens": 13, "output_tokens": 4},
        anomalies=("total_mismatch",),
    ),
    _converse(
        "a prompt router's answer names the model that gave it, and its latency has a price",
        _whole(
            {"inputTokens": 13, "outputTokens": 4, "totalTokens": 17},
            performanceConfig={"latency": "optimized"},
            trace={"promptRouter": {"invokedModelId": "us.amazon.nova-pro-v1:0"}},
        ),
        {"input_tokens": 13, "output_tokens": 4},
        model="us.amazon.nova-pro-v1:0",
        service_tier="optimized",
    ),
    _converse(
        "a stream counts in its last frame",
        _streamed({"inputTokens": 2, "outputTokens": 10, "totalTokens": 12}, serviceTier={"type": "default"}),
        {"input_tokens": 2, "output_tokens": 10},
        service_tier="default",
    ),
    _converse("a stream with a cache", _streamed(_CACHED), _ALL_CACHED),
    _converse(
        "a stream cut before its last frame",
        b"".join([*_TEXT, _STOP]),
        {},
        source="missing",
    ),
    _converse(
        "a stream that breaks off with an exception",
        b"".join([*_TEXT, exception("modelStreamErrorException", "The model stream failed.")]),
        {},
        source="missing",
        failed=True,
    ),
    _converse(
        "a frame that was damaged on the way",
        b"".join([_TEXT[0], _TEXT[1].replace(b"Hello", b"Jello"), *_TEXT[2:]])
        + _streamed({"inputTokens": 2, "outputTokens": 10}),
        {"input_tokens": 2, "output_tokens": 10},
        anomalies=("event_unreadable",),
    ),
    _invoke(
        "Claude's answer is Anthropic's",
        {
            "id": "msg_bdrk_1",
            "type": "message",
            "model": "claude-3-haiku-20240307",
            "content": [],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 13, "output_tokens": 4},
        },
        {"input_tokens": 13, "output_tokens": 4},
        model="claude-3-haiku-20240307",
    ),
    _invoke(
        "Nova's answer is Converse's",
        _whole(
            {
                "inputTokens": 5,
                "outputTokens": 7,
                "totalTokens": 32,
                "cacheReadInputTokenCount": 20,
                "cacheWriteInputTokenCount": 0,
            }
        ),
        {"input_tokens": 25, "cache_read_tokens": 20, "cache_write_tokens": 0, "output_tokens": 7},
    ),
    _invoke(
        "an open model's answer is a chat completion",
        {
            "id": "chatcmpl-1",
            "model": "openai.gpt-oss-20b-1:0",
            "choices": [{"finish_reason": "stop"}],
            "usage": {"prompt_tokens": 68, "completion_tokens": 24, "total_tokens": 92},
        },
        {"input_tokens": 68, "output_tokens": 24},
        model="openai.gpt-oss-20b-1:0",
    ),
    _invoke(
        "Llama's answer has its counts at the top",
        {"generation": "Hi", "prompt_token_count": 25, "generation_token_count": 41, "stop_reason": "stop"},
        {"input_tokens": 25, "output_tokens": 41},
        told_by_shape=False,
        told_by_shape_alone=False,
    ),
    _invoke(
        "Titan's embedding has no output",
        {"embedding": [0.5, 0.25], "inputTextTokenCount": 7},
        {"input_tokens": 7, "output_tokens": 0},
        told_by_shape=False,
        told_by_shape_alone=False,
    ),
    _invoke(
        "another model's answer counts in headers alone",
        {"outputs": [{"text": "Hi", "stop_reason": "stop"}]},
        {},
        source="missing",
        anomalies=("format_unread",),
        told_by_shape=False,
        told_by_shape_alone=False,
    ),
    _invoke(
        "Claude's stream, piece by piece",
        b"".join([*_CLAUDE, *_CLAUDE_END]),
        {
            "input_tokens": 60,
            "cache_read_tokens": 20,
            "cache_write_tokens": 30,
            "cache_write_1h_tokens": 20,
            "output_tokens": 3,
        },
        model="claude-3-haiku-20240307",
    ),
    _invoke(
        "Claude's stream, cut",
        b"".join(_CLAUDE),
        {
            "input_tokens": 60,
            "cache_read_tokens": 20,
            "cache_write_tokens": 30,
            "cache_write_1h_tokens": 20,
            "output_tokens": 1,
        },
        source="partial",
    ),
    _invoke(
        "an exception after Claude began keeps what was counted",
        b"".join([*_CLAUDE, exception("throttlingException", "Too many tokens")]),
        {
            "input_tokens": 60,
            "cache_read_tokens": 20,
            "cache_write_tokens": 30,
            "cache_write_1h_tokens": 20,
            "output_tokens": 1,
        },
        source="partial",
        failed=True,
    ),
    _invoke(
        "another model's stream is counted by Bedrock",
        chunk({"generation": "Hi", "stop_reason": None})
        + chunk({"generation": "", "stop_reason": "stop", "amazon-bedrock-invocationMetrics": _METRICS}),
        {"input_tokens": 8, "output_tokens": 12},
    ),
    _invoke(
        "another model's stream, cut before Bedrock counted",
        chunk({"generation": "Hi", "stop_reason": None}),
        {},
        source="missing",
        anomalies=("format_unread",),
    ),
]

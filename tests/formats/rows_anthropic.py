"""Anthropic's Messages.

Where a row gives figures of thousands, they were recorded: a compaction, an advisor, a fallback, streams whose counts
change on the way.
"""

from tests.formats.catalogue import Row, Sse, named

_NONE: dict[str, object] = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
_START: dict[str, object] = {
    "input_tokens": 100,
    "cache_creation_input_tokens": 20,
    "cache_read_input_tokens": 1000,
    "output_tokens": 1,
}


def _sampled(kind: str, tokens_in: int, tokens_out: int, **more: object) -> dict[str, object]:
    """One of `iterations`."""
    return {"type": kind, "input_tokens": tokens_in, "output_tokens": tokens_out, **_NONE, **more}


def _whole(usage: dict[str, object], model: str = "claude-opus-5") -> dict[str, object]:
    text = [{"type": "text", "text": "Hi"}]
    return {
        "id": "msg_1",
        "type": "message",
        "model": model,
        "content": text,
        "stop_reason": "end_turn",
        "usage": usage,
    }


def _start(usage: dict[str, object], model: str = "claude-opus-5") -> dict[str, object]:
    return {"type": "message_start", "message": {"id": "msg_1", "model": model, "stop_reason": None, "usage": usage}}


_BEGIN: dict[str, object] = {
    "type": "content_block_start",
    "index": 0,
    "content_block": {"type": "text", "text": ""},
}
_TEXT: dict[str, object] = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}}
_STOP: dict[str, object] = {"type": "message_stop"}


def _delta(usage: dict[str, object]) -> dict[str, object]:
    return {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": usage}


def _streamed(started: dict[str, object], delta: dict[str, object], model: str = "claude-opus-5") -> Sse:
    return named(_start(started, model), _BEGIN, _TEXT, _delta(delta), _STOP)


def _row(case: str, sent: object, usage: dict[str, int], **more: object) -> Row:
    path = str(more.pop("path", "/v1/messages"))
    name = f"Anthropic Messages: {case}"
    return Row(name=name, provider="anthropic", path=path, sent=sent, usage=usage, **more)  # type: ignore[arg-type]


_COMPACTION = [_sampled("compaction", 55_196, 125), _sampled("message", 220, 8)]
_ADVISED = [
    _sampled("message", 1051, 35),
    _sampled("advisor_message", 2728, 874, model="claude-opus-4-7"),
    _sampled("message", 1363, 3165),
]
_DECLINED = [
    _sampled("message", 408, 0, model="claude-fable-5"),
    _sampled("fallback_message", 412, 264, model="claude-opus-4-8"),
]
_LIFETIMES = {"ephemeral_5m_input_tokens": 456, "ephemeral_1h_input_tokens": 100}

ROWS = [
    _row(
        "the three kinds of input are added",
        _whole(_START | {"output_tokens": 7}),
        {"input_tokens": 1120, "cache_read_tokens": 1000, "cache_write_tokens": 20, "output_tokens": 7},
        model="claude-opus-5",
    ),
    _row(
        "a stream's last counts overwrite",
        _streamed(_START, {"output_tokens": 7}),
        {"input_tokens": 1120, "cache_read_tokens": 1000, "cache_write_tokens": 20, "output_tokens": 7},
        model="claude-opus-5",
    ),
    _row(
        "cache writes by lifetime",
        _whole(
            {
                "input_tokens": 2048,
                "cache_read_input_tokens": 1800,
                "cache_creation_input_tokens": 556,
                "cache_creation": _LIFETIMES,
                "output_tokens": 503,
                "service_tier": "standard",
            }
        ),
        {
            "input_tokens": 4404,
            "cache_read_tokens": 1800,
            "cache_write_tokens": 556,
            "cache_write_1h_tokens": 100,
            "output_tokens": 503,
        },
        service_tier="standard",
    ),
    _row(
        "a breakdown of cache writes above their total is right",
        _whole(
            {"input_tokens": 1, "cache_creation_input_tokens": 456, "cache_creation": _LIFETIMES, "output_tokens": 2}
        ),
        {"input_tokens": 557, "cache_write_tokens": 556, "cache_write_1h_tokens": 100, "output_tokens": 2},
        anomalies=("cache_write_mismatch",),
    ),
    _row(
        "thinking is part of the output, and searches are counted",
        _whole(
            {
                "input_tokens": 10_539,
                "output_tokens": 1500,
                "output_tokens_details": {"thinking_tokens": 900},
                "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 3},
                "service_tier": "priority",
            }
        ),
        {"input_tokens": 10_539, "output_tokens": 1500, "reasoning_tokens": 900, "web_searches": 2},
        service_tier="priority",
    ),
    _row(
        "fast mode is a tier",
        _whole({"input_tokens": 5, "output_tokens": 7, "service_tier": "standard", "speed": "fast"}),
        {"input_tokens": 5, "output_tokens": 7},
        service_tier="fast",
    ),
    _row(
        "a compaction is billed beside the counts at the top",
        _whole({"input_tokens": 220, "output_tokens": 8, **_NONE, "iterations": _COMPACTION}, "claude-opus-4-6"),
        {"input_tokens": 55_416, "cache_read_tokens": 0, "cache_write_tokens": 0, "output_tokens": 133},
    ),
    _row(
        "a stream tells of its compaction in the delta",
        _streamed(
            {"input_tokens": 220, "output_tokens": 1, **_NONE},
            {"input_tokens": 220, "output_tokens": 8, **_NONE, "iterations": _COMPACTION},
        ),
        {"input_tokens": 55_416, "cache_read_tokens": 0, "cache_write_tokens": 0, "output_tokens": 133},
    ),
    _row(
        "a compaction that reads the cache, and a pause after it",
        _whole(
            {
                "input_tokens": 0,
                "output_tokens": 0,
                "iterations": [_sampled("compaction", 300, 592, cache_read_input_tokens=60_000)],
            }
        ),
        {"input_tokens": 60_300, "cache_read_tokens": 60_000, "cache_write_tokens": 0, "output_tokens": 592},
    ),
    _row(
        "an advisor is another model's call",
        _whole({"input_tokens": 2414, "output_tokens": 3200, **_NONE, "iterations": _ADVISED}, "claude-sonnet-4-6"),
        {"input_tokens": 2414, "cache_read_tokens": 0, "cache_write_tokens": 0, "output_tokens": 3200},
        model="claude-sonnet-4-6",
        sub_calls=(
            (
                "claude-opus-4-7",
                {"input_tokens": 2728, "cache_read_tokens": 0, "cache_write_tokens": 0, "output_tokens": 874},
            ),
        ),
    ),
    _row(
        "a fallback's counts are those at the top, and what declined is not billed",
        _whole({"input_tokens": 412, "output_tokens": 264, **_NONE, "iterations": _DECLINED}, "claude-opus-4-8"),
        {"input_tokens": 412, "cache_read_tokens": 0, "cache_write_tokens": 0, "output_tokens": 264},
        model="claude-opus-4-8",
    ),
    _row(
        "a stream that fell back begins with the name of the model that declined",
        _streamed(
            {"input_tokens": 408, "output_tokens": 1, **_NONE},
            {"input_tokens": 412, "output_tokens": 264, **_NONE, "iterations": _DECLINED},
            "claude-fable-5",
        ),
        {"input_tokens": 412, "cache_read_tokens": 0, "cache_write_tokens": 0, "output_tokens": 264},
        model="claude-opus-4-8",
    ),
    _row(
        "a fallback whose counts are not those at the top",
        _streamed(
            {"input_tokens": 10, "output_tokens": 0},
            {
                "output_tokens": 70,
                "iterations": [
                    {"type": "message", "model": "claude-opus-5-5", "input_tokens": 10, "output_tokens": 40},
                    {"type": "fallback_message", "model": "claude-opus-4-8", "input_tokens": 12, "output_tokens": 30},
                ],
            },
            "claude-opus-5-5",
        ),
        {"input_tokens": 10, "output_tokens": 70},
        anomalies=("iterations_mismatch",),
        model="claude-opus-4-8",
    ),
    _row(
        "iterations of another kind",
        _whole({"input_tokens": 1, "output_tokens": 2, "iterations": [_sampled("novelty", 9, 9)]}),
        {"input_tokens": 1, "output_tokens": 2},
        anomalies=("iterations_unread",),
    ),
    _row(
        "the delta counts the input anew",
        _streamed({"input_tokens": 43, "output_tokens": 1}, {"input_tokens": 61, "output_tokens": 2}),
        {"input_tokens": 61, "output_tokens": 2},
    ),
    _row(
        "what the start alone says is kept",
        _streamed(
            {
                "input_tokens": 3,
                "cache_creation_input_tokens": 556,
                "cache_read_input_tokens": 0,
                "cache_creation": _LIFETIMES,
                "output_tokens": 1,
                "service_tier": "batch",
                "inference_geo": "us",
            },
            {"cache_creation_input_tokens": 556, "cache_read_input_tokens": 0, "output_tokens": 9},
        ),
        {
            "input_tokens": 559,
            "cache_read_tokens": 0,
            "cache_write_tokens": 556,
            "cache_write_1h_tokens": 100,
            "output_tokens": 9,
        },
        service_tier="batch",
    ),
    _row(
        "a start that comes twice",
        named(
            _start({"input_tokens": 17, "output_tokens": 1}),
            _start({"input_tokens": 17, "output_tokens": 1}),
            _BEGIN,
            _TEXT,
            _delta({"output_tokens": 227}),
            _start({"input_tokens": 17, "output_tokens": 1}),
            _STOP,
        ),
        {"input_tokens": 17, "output_tokens": 227},
    ),
    _row(
        "a stream cut before its delta",
        named(_start({"input_tokens": 43, "output_tokens": 1}), _BEGIN, _TEXT),
        {"input_tokens": 43, "output_tokens": 1},
        source="partial",
    ),
    _row(
        "an error in a stream keeps what was counted",
        named(
            _start({"input_tokens": 43, "output_tokens": 1}),
            _BEGIN,
            {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        ),
        {"input_tokens": 43, "output_tokens": 1},
        source="partial",
        failed=True,
    ),
    _row(
        "a stream at Vertex",
        _streamed({"input_tokens": 43, **_NONE, "output_tokens": 1}, {"output_tokens": 2}),
        {"input_tokens": 43, "cache_read_tokens": 0, "cache_write_tokens": 0, "output_tokens": 2},
        path="/v1/projects/p/locations/global/publishers/anthropic/models/claude-opus-5@20260701:streamRawPredict",
    ),
]

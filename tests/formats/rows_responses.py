"""The Responses API: OpenAI's own, and that of those who follow it."""

from decimal import Decimal

from accounting.money import Money
from tests.formats.catalogue import Row, named

_PATH = "/v1/responses"


def _usage(tokens_in: int, output: int, *, cached: int = 0, reasoning: int = 0, **more: object) -> dict[str, object]:
    return {
        "input_tokens": tokens_in,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": tokens_in + output,
        **more,
    }


def _response(status: str = "completed", **fields: object) -> dict[str, object]:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1795420000,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "model": "gpt-5.4-2026-03-05",
        "output": [_MESSAGE] if status in ("completed", "incomplete") else [],
        "service_tier": "default" if status == "completed" else "auto",
        "tools": [],
        "usage": None,
        "metadata": {},
        **fields,
    }


_MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "content": [{"type": "output_text", "text": 'I used 7 tokens: {"usage": {"input_tokens": 7}}'}],
}


def _search(id_: str, action: str, status: str = "completed") -> dict[str, object]:
    return {"id": id_, "type": "web_search_call", "status": status, "action": {"type": action}}


def _event(kind: str, **fields: object) -> dict[str, object]:
    return {"type": f"response.{kind}", "sequence_number": 1, **fields}


_BEGUN = (
    _event("created", response=_response("in_progress")),
    _event("in_progress", response=_response("in_progress")),
    _event("output_item.added", output_index=0, item=_MESSAGE | {"content": []}),
    _event("output_text.delta", delta='{"type": "response.completed", "usage": {"input_tokens": 7}}'),
)

_CACHED = _usage(2006, 300, cached=1920, reasoning=192)
_CACHED_READ = {"input_tokens": 2006, "cache_read_tokens": 1920, "output_tokens": 300, "reasoning_tokens": 192}
_PLAIN_READ = {"input_tokens": 36, "cache_read_tokens": 0, "output_tokens": 87, "reasoning_tokens": 0}
_XAI = {"input_tokens": 216, "cache_read_tokens": 0, "output_tokens": 923, "reasoning_tokens": 323}

_IMAGE_GEN = {
    "input_tokens": 500,
    "input_tokens_details": {"image_tokens": 388, "text_tokens": 112},
    "cached_tokens": 200,
    "cached_tokens_details": {"cached_image_tokens": 150, "cached_text_tokens": 50},
    "output_tokens": 1056,
    "output_tokens_details": {"image_tokens": 1056, "text_tokens": 0},
    "total_tokens": 1556,
}
_DRAWING = {"model": "gpt-5.4-mini", "input_tokens": 60, "output_tokens": 900, "reasoning_tokens": 400}
_DRAWN = [
    {"id": "ig_1", "type": "image_generation_call", "status": "completed", "result": "iVBORw0KGgo="},
    {"id": "ig_2", "type": "image_generation_call", "status": "completed", "svg_usage": _DRAWING},
]

ROWS = [
    Row(
        name="OpenAI Responses: cached and reasoning tokens are inside",
        provider="openai",
        path=_PATH,
        sent=_response(usage=_CACHED),
        usage=_CACHED_READ,
        model="gpt-5.4-2026-03-05",
        service_tier="default",
    ),
    Row(
        name="OpenAI Responses: a stream, whose last event alone has the usage",
        provider="openai",
        path=_PATH,
        sent=named(*_BEGUN, _event("completed", response=_response(usage=_CACHED))),
        usage=_CACHED_READ,
        model="gpt-5.4-2026-03-05",
        service_tier="default",
    ),
    Row(
        name="OpenAI Responses: what was written to the cache, by its lifetime",
        provider="openai",
        path=_PATH,
        sent=_response(
            usage=_usage(5000, 20)
            | {
                "input_tokens_details": {
                    "cached_tokens": 0,
                    "cache_write_tokens": 4012,
                    "cache_write_tokens_details": {"ttl_30m_tokens": 12, "ttl_12h_tokens": 4000},
                }
            }
        ),
        usage={
            "input_tokens": 5000,
            "cache_read_tokens": 0,
            "cache_write_tokens": 4012,
            "output_tokens": 20,
            "reasoning_tokens": 0,
        },
    ),
    Row(
        name="OpenAI Responses: sound and pictures",
        provider="openai",
        path=_PATH,
        sent=_response(
            usage={
                "input_tokens": 100,
                "input_tokens_details": {"cached_tokens": 10, "audio_tokens": 40, "image_tokens": 30},
                "output_tokens": 60,
                "output_tokens_details": {"reasoning_tokens": 8, "audio_tokens": 50, "text_tokens": 10},
                "total_tokens": 160,
            }
        ),
        usage={
            "input_tokens": 100,
            "cache_read_tokens": 10,
            "audio_input_tokens": 40,
            "image_input_tokens": 30,
            "output_tokens": 60,
            "reasoning_tokens": 8,
            "audio_output_tokens": 50,
        },
    ),
    Row(
        name="OpenAI Responses: cut off by its limit it is finished",
        provider="openai",
        path=_PATH,
        sent=_response("incomplete", incomplete_details={"reason": "max_output_tokens"}, usage=_usage(36, 87)),
        usage=_PLAIN_READ,
    ),
    Row(
        name="OpenAI Responses: a stream that its limit ended",
        provider="openai",
        path=_PATH,
        sent=named(*_BEGUN, _event("incomplete", response=_response("incomplete", usage=_usage(36, 87)))),
        usage=_PLAIN_READ,
    ),
    Row(
        name="OpenAI Responses: failed before anything was made",
        provider="openai",
        path=_PATH,
        sent=named(*_BEGUN[:2], _event("failed", response=_response("failed", error={"code": "server_error"}))),
        usage={},
        source="missing",
        failed=True,
    ),
    Row(
        name="OpenAI Responses: failed with usage, which is kept",
        provider="openai",
        path=_PATH,
        sent=named(*_BEGUN, _event("failed", response=_response("failed", usage=_usage(36, 87)))),
        usage=_PLAIN_READ,
        failed=True,
    ),
    Row(
        name="OpenAI Responses: an error in the stream",
        provider="openai",
        path=_PATH,
        sent=named(*_BEGUN, {"type": "error", "code": "server_error", "message": "Overloaded", "param": None}),
        usage={},
        source="missing",
        model="gpt-5.4-2026-03-05",
        failed=True,
    ),
    *(
        Row(
            name=f"OpenAI Responses: in the background, {status}",
            provider="openai",
            path=_PATH,
            sent=_response(status, background=True),
            usage={},
            source="missing",
            pending=True,
        )
        for status in ("queued", "in_progress")
    ),
    Row(
        name="OpenAI Responses: searches are counted, what was opened is not",
        provider="openai",
        path=_PATH,
        sent=_response(
            output=[
                _search("ws_1", "search"),
                _search("ws_2", "open_page"),
                _search("ws_3", "find_in_page"),
                _search("ws_4", "search", "failed"),
                _search("ws_5", "search"),
                _MESSAGE,
            ],
            usage=_usage(36, 87),
        ),
        usage=_PLAIN_READ | {"web_searches": 2},
    ),
    Row(
        name="OpenAI Responses: searches as the response sums them up, one of them at a discount",
        provider="openai",
        path=_PATH,
        sent=named(
            *_BEGUN,
            _event("output_item.done", item=_search("ws_1", "search")),
            _event("output_item.done", item=_search("ws_2", "search")),
            _event(
                "completed",
                response=_response(
                    output=[_search("ws_1", "search"), _search("ws_2", "search")],
                    usage=_usage(36, 87),
                    tool_usage={"web_search": {"num_requests": 1}, "image_gen": {"total_tokens": 0}},
                ),
            ),
        ),
        usage=_PLAIN_READ | {"web_searches": 1},
    ),
    Row(
        name="OpenAI Responses: a stream's searches, where its last event leaves the items out",
        provider="openai",
        path=_PATH,
        sent=named(
            *_BEGUN,
            _event("output_item.done", item=_search("ws_1", "search")),
            _event("output_item.done", item=_search("ws_2", "search")),
            _event("completed", response=_response(output=[], usage=_usage(36, 87))),
        ),
        usage=_PLAIN_READ | {"web_searches": 2},
    ),
    Row(
        name="OpenAI Responses: images that another model made, drawings by a third",
        provider="openai",
        path=_PATH,
        sent=_response(
            output=_DRAWN,
            tools=[{"type": "web_search"}, {"type": "image_generation", "model": "gpt-image-2"}],
            usage=_usage(36, 87),
            tool_usage={"image_gen": _IMAGE_GEN, "web_search": {"num_requests": 0}},
        ),
        usage=_PLAIN_READ | {"web_searches": 0},
        sub_calls=(
            (
                "gpt-image-2",
                {
                    "input_tokens": 500,
                    "cache_read_tokens": 200,
                    "image_input_tokens": 238,
                    "output_tokens": 1056,
                    "image_output_tokens": 1056,
                    "images": 2,
                },
            ),
            ("gpt-5.4-mini", {"input_tokens": 60, "output_tokens": 900, "reasoning_tokens": 400}),
        ),
    ),
    Row(
        name="OpenAI Responses: a conversation compacted",
        provider="openai",
        path="/v1/responses/compact",
        sent={"id": "resp_2", "object": "response.compaction", "output": [], "usage": _usage(36, 87)},
        usage=_PLAIN_READ,
    ),
    Row(
        name="OpenAI Responses: without details",
        provider="openai",
        path=_PATH,
        sent=_response(usage={"input_tokens": 9, "output_tokens": 4, "total_tokens": 13}),
        usage={"input_tokens": 9, "output_tokens": 4},
    ),
    Row(
        name="OpenAI Responses: reasoning that the total shows to stand beside the output",
        provider="somebody.test",
        path=_PATH,
        sent=_response(usage=_usage(951, 6000, reasoning=1200) | {"total_tokens": 8151}),
        usage={"input_tokens": 951, "cache_read_tokens": 0, "output_tokens": 7200, "reasoning_tokens": 1200},
    ),
    Row(
        name="OpenAI Responses: a total that tells of more than anything names",
        provider="somebody.test",
        path=_PATH,
        sent=_response(usage=_usage(35, 12) | {"total_tokens": 109}),
        usage={"input_tokens": 35, "cache_read_tokens": 0, "output_tokens": 74, "reasoning_tokens": 0},
        anomalies=("hidden_output",),
    ),
    Row(
        name="OpenAI Responses: a total that is too small, and a cache larger than its input",
        provider="somebody.test",
        path=_PATH,
        sent=_response(usage=_usage(10, 5, cached=12) | {"total_tokens": 3}),
        usage={"input_tokens": 10, "cache_read_tokens": 10, "output_tokens": 5, "reasoning_tokens": 0},
        anomalies=("total_mismatch", "cached_exceeds_input"),
    ),
    Row(
        name="Azure Responses: of a deployment, with its own model's name",
        provider="azure",
        path="/openai/v1/responses",
        sent=_response(model="gpt-5.4", usage=_CACHED, content_filters=[{"blocked": False}]),
        usage=_CACHED_READ,
        model="gpt-5.4",
    ),
    Row(
        name="OpenRouter Responses: what it charged, to the digit",
        provider="openrouter",
        path="/api/v1/responses",
        sent=_response(
            model="openai/gpt-5.4",
            usage=_usage(
                36,
                87,
                cost=0.0013277,
                is_byok=False,
                cost_details={"upstream_inference_cost": None, "upstream_inference_input_cost": 0.000045},
                server_tool_use_details={"web_search_requests": 3},
            ),
        ),
        usage=_PLAIN_READ | {"web_searches": 3},
        cost=Money(Decimal("0.0013277"), "USD"),
    ),
    Row(
        name="xAI Responses: reasoning is inside, other than in its chat; cost in ticks",
        provider="xai",
        path=_PATH,
        sent=_response(
            model="grok-4-1-fast-reasoning",
            output=[_search("ws_1", "search")],
            usage=_usage(216, 923, reasoning=323, num_sources_used=14, cost_in_usd_ticks=5047000),
        ),
        usage=_XAI | {"web_searches": 1},
        cost=Money(Decimal("0.0005047"), "USD"),
    ),
    Row(
        name="xAI Responses: a stream",
        provider="xai",
        path=_PATH,
        sent=named(
            *_BEGUN, _event("completed", response=_response(model="grok-4", usage=_usage(216, 923, reasoning=323)))
        ),
        usage=_XAI,
        model="grok-4",
    ),
]

"""Cohere, and rerank as others offer it."""

import json
from typing import Any

from tests.formats.catalogue import Row, named, sse

CHAT, EMBED, RERANK = "/v2/chat", "/v2/embed", "/v2/rerank"
_ID = "c0cd7d5f-3b6d-4b5f-9a4e-2f8f0e6f8a3e"


def _row(case: str, path: str, sent: object, counts: dict[str, int], **row: Any) -> Row:
    return Row(name=f"Cohere: {case}", provider="cohere", path=path, sent=sent, usage=counts, **row)


def _chat(usage: object, finish: str = "COMPLETE") -> dict[str, Any]:
    message = {"role": "assistant", "content": [{"type": "text", "text": "Hi"}]}
    return {"id": _ID, "finish_reason": finish, "message": message, "usage": usage}


def _meta(**billed: int) -> dict[str, Any]:
    return {"api_version": {"version": "2"}, "billed_units": billed}


_CACHED = {
    "billed_units": {"input_tokens": 2406, "output_tokens": 19},
    "tokens": {"input_tokens": 2935, "output_tokens": 21},
    "cached_tokens": 2928,
}
_READ = {"input_tokens": 2406, "cache_read_tokens": 2406, "output_tokens": 19}

_FIRST_VERSION = (
    {"event_type": "stream-start", "generation_id": "g", "is_finished": False},
    {"event_type": "text-generation", "text": "Hi", "is_finished": False},
    {
        "event_type": "stream-end",
        "finish_reason": "COMPLETE",
        "is_finished": True,
        "response": {"response_id": _ID, "generation_id": "g", "text": "Hi", "meta": _CACHED},
    },
)

ROWS = [
    _row("what is billed counts, and of that at most all was cached", CHAT, _chat(_CACHED), _READ),
    _row(
        "more from the cache than went in",
        CHAT,
        _chat({**_CACHED, "cached_tokens": 3000}),
        _READ,
        anomalies=("cached_exceeds_input",),
    ),
    _row(
        "tokens where nothing is said of the bill",
        CHAT,
        _chat({"tokens": {"input_tokens": 215, "output_tokens": 12}}),
        {"input_tokens": 215, "output_tokens": 12},
    ),
    _row("an error under a status of success", CHAT, _chat(_CACHED, "ERROR"), _READ, failed=True),
    _row(
        "a stream ends with its usage",
        CHAT,
        named(
            {"type": "message-start", "id": _ID, "delta": {"message": {"role": "assistant"}}},
            {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
            {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Hi"}}}},
            {"type": "content-end", "index": 0},
            {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": _CACHED}},
        ),
        _READ,
    ),
    _row(
        "a stream that was cut states nothing",
        CHAT,
        named({"type": "message-start", "id": _ID}, {"type": "content-delta", "index": 0}),
        {},
        source="missing",
    ),
    _row(
        "version 1 repeats the whole answer at a stream's end",
        "/v1/chat",
        sse(*_FIRST_VERSION),
        _READ,
    ),
    _row(
        "version 1 streams an object a line",
        "/v1/chat",
        b"".join(json.dumps(said).encode() + b"\n" for said in _FIRST_VERSION),
        _READ,
        content_type="application/stream+json",
    ),
    _row("version 1, whole", "/v1/chat", {"response_id": _ID, "text": "Hi", "meta": _CACHED}, _READ),
    _row(
        "embeddings make no output",
        EMBED,
        {"id": _ID, "embeddings": {"float": [[0.1]]}, "meta": _meta(input_tokens=12)},
        {"input_tokens": 12, "output_tokens": 0},
    ),
    _row(
        "tokens of pictures stand beside the others",
        EMBED,
        {"id": _ID, "embeddings": {"float": [[0.1]]}, "meta": _meta(input_tokens=0, image_tokens=2716)},
        {"input_tokens": 2716, "image_input_tokens": 2716, "output_tokens": 0},
    ),
    _row(
        "rerank is billed by the search",
        RERANK,
        {"id": _ID, "results": [{"index": 0, "relevance_score": 0.9}], "meta": _meta(search_units=2)},
        {"web_searches": 2},
    ),
    _row(
        "an answer without any usage",
        RERANK,
        {"id": _ID, "results": []},
        {},
        source="missing",
        told_by_shape=False,
        told_by_shape_alone=False,
    ),
    Row(
        name="Voyage: rerank is billed by what goes in",
        provider="voyage",
        path="/v1/rerank",
        sent={"object": "list", "data": [], "model": "rerank-2.5", "usage": {"total_tokens": 26}},
        usage={"input_tokens": 26, "output_tokens": 0},
        model="rerank-2.5",
        told_by_shape=False,
        told_by_shape_alone=False,
    ),
]

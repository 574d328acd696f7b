"""Ollama's own answers, whole and as lines of JSON."""

import json

from tests.formats.catalogue import Row

_CHUNK = {"model": "gemma", "created_at": "2026-11-23T17:15:24Z", "message": {"role": "assistant", "content": "hi"}}
_TIMES = {"total_duration": 5_191_566_416, "load_duration": 2_154_458, "eval_duration": 4_799_921_000}
_LAST = {**_CHUNK, "done": True, "done_reason": "stop", **_TIMES, "prompt_eval_count": 26, "eval_count": 298}
_SPOKEN = {"input_tokens": 26, "output_tokens": 298}


def _lines(*said: object) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in said)


def _streamed(name: str, *said: object, path: str = "/api/chat", **known: object) -> Row:
    return Row(
        name=f"Ollama: {name}",
        provider="ollama",
        path=path,
        sent=_lines(*said),
        content_type="application/x-ndjson",
        model="gemma",
        **known,  # type: ignore[arg-type]
    )


ROWS = [
    Row(name="Ollama: a whole chat", provider="ollama", path="/api/chat", sent=_LAST, usage=_SPOKEN, model="gemma"),
    _streamed("a streamed chat", {**_CHUNK, "done": False}, _LAST, usage=_SPOKEN),
    _streamed(
        "generated text that speaks of being done",
        {"model": "gemma", "created_at": "…", "response": '{"done": true, "eval_count": 7}', "done": False},
        {"model": "gemma", "created_at": "…", "response": "", "done": True, "prompt_eval_count": 26, "eval_count": 298},
        path="/api/generate",
        usage=_SPOKEN,
    ),
    _streamed(
        "a prompt from the cache is not counted",
        {**_CHUNK, "done": True, "eval_count": 298},
        usage={"output_tokens": 298},
        source="partial",
        anomalies=("input_missing",),
    ),
    _streamed("a stream that was cut", {**_CHUNK, "done": False}, usage={}, source="missing"),
    _streamed(
        "an error in the stream", {**_CHUNK, "done": False}, {"error": "boom"}, usage={}, source="missing", failed=True
    ),
    Row(
        name="Ollama: embeddings have no output",
        provider="ollama",
        path="/api/embed",
        sent={"model": "gemma", "embeddings": [[0.1]], "total_duration": 14143917, "prompt_eval_count": 8},
        usage={"input_tokens": 8, "output_tokens": 0},
        told_by_shape=False,
        told_by_shape_alone=False,
    ),
]

"""Google's own API, on Google AI and on Vertex."""

import json
from typing import Any

from tests.formats.catalogue import Row, Sse, sse

WHOLE = "/v1beta/models/gemini-2.5-flash:generateContent"
STREAM = "/v1beta/models/gemini-2.5-flash:streamGenerateContent"
VERTEX = "/v1/projects/p/locations/us-central1/publishers/google/models/gemini-2.5-flash:generateContent"


def _said(usage: object = None, finish: str | None = None, **fields: object) -> dict[str, Any]:
    """One event of a stream, or a whole body: they are the same."""
    candidate = {"content": {"parts": [{"text": "Hi"}], "role": "model"}, "index": 0}
    ended = candidate if finish is None else {**candidate, "finishReason": finish}
    stated = {} if usage is None else {"usageMetadata": usage}
    return {
        "candidates": [ended],
        **stated,
        "modelVersion": "gemini-2.5-flash",
        "responseId": "s-R0aN7XLqKx",
        **fields,
    }


def _tokens(**counts: object) -> dict[str, object]:
    """A block by the first words of its names: prompt=22 is promptTokenCount."""
    names = {"cached": "cachedContentTokenCount", "tools": "toolUsePromptTokenCount"}
    return {names.get(word, f"{word}TokenCount"): count for word, count in counts.items()}


def _kinds(**tokens: int) -> list[dict[str, object]]:
    return [{"modality": kind, "tokenCount": count} for kind, count in tokens.items()]


def _whole(case: str, usage: object, counts: dict[str, int], **row: Any) -> Row:
    return Row(
        name=f"Gemini native: {case}",
        provider="gemini",
        path=row.pop("path", WHOLE),
        sent=_said(usage, "STOP", **row.pop("fields", {})),
        usage=counts,
        model=row.pop("model", "gemini-2.5-flash"),
        **row,
    )


def _interaction(status: str = "completed", usage: object = None) -> dict[str, Any]:
    stated = {} if usage is None else {"usage": usage}
    return {"id": "v1_ChczeFMx", "model": "gemini-3.5-flash", "status": status, **stated}


def _events(*kinds: tuple[str, dict[str, Any]]) -> Sse:
    """Named by their type, which stands in them, too, and comes last."""
    return sse(*((kind, {**said, "event_type": kind}) for kind, said in kinds), ("done", "[DONE]"))


def _stream(case: str, sent: Sse, counts: dict[str, int], **row: Any) -> Row:
    return Row(name=f"Gemini native: {case}", provider="gemini", path=STREAM, sent=sent, usage=counts, **row)


_GROUNDED = {"webSearchQueries": ["", "euro 2024 final", "euro 2024 winner", "euro 2024 final"]}

_COUNTED = {
    "total_tokens": 1983,
    "total_input_tokens": 22,
    "input_tokens_by_modality": [{"modality": "text", "tokens": 22}],
    "total_cached_tokens": 0,
    "total_output_tokens": 590,
    "total_tool_use_tokens": 1173,
    "total_thought_tokens": 198,
}
_READ = {"input_tokens": 1195, "cache_read_tokens": 0, "output_tokens": 788, "reasoning_tokens": 198}
_CREATED = ("interaction.created", {"interaction": _interaction("in_progress")})
_DELTA = ("step.delta", {"index": 0, "delta": {"type": "text", "text": "Hi"}})

_INTERACTIONS: list[tuple[str, object, dict[str, int], dict[str, Any]]] = [
    (
        "thoughts and what tools put in stand beside the rest",
        {**_interaction(usage=_COUNTED), "service_tier": "flex"},
        _READ,
        {"model": "gemini-3.5-flash", "service_tier": "flex"},
    ),
    (
        "audio, cached and not, and searches by Google's own count",
        _interaction(
            usage={
                **{"total_input_tokens": 900, "total_cached_tokens": 400, "total_output_tokens": 60},
                **{"total_thought_tokens": 0, "total_tokens": 960},
                "input_tokens_by_modality": [
                    {"modality": "text", "tokens": 300},
                    {"modality": "audio", "tokens": 600},
                ],
                "cached_tokens_by_modality": [{"modality": "audio", "tokens": 400}],
                "output_tokens_by_modality": [{"modality": "image", "tokens": 50}],
                "grounding_tool_count": [{"type": "google_search", "count": 3}, {"type": "google_maps", "count": 1}],
            },
        ),
        {
            **{"input_tokens": 900, "cache_read_tokens": 400, "audio_input_tokens": 200, "output_tokens": 60},
            **{"reasoning_tokens": 0, "image_output_tokens": 50, "web_searches": 3},
        },
        {},
    ),
    (
        "one that runs in the background states no usage yet",
        {**_interaction("in_progress"), "object": "interaction", "background": True},
        {},
        {"source": "missing", "pending": True, "told_by_shape": False, "told_by_shape_alone": False},
    ),
    (
        "one that failed",
        _interaction("failed", _COUNTED),
        _READ,
        {"failed": True},
    ),
    (
        "a stream's last event has the grand total",
        _events(
            _CREATED,
            ("interaction.status_update", {"interaction_id": "v1_ChczeFMx", "status": "in_progress"}),
            ("step.start", {"index": 0}),
            (
                "step.delta",
                {"index": 0, "delta": {"type": "text", "text": "H"}, "metadata": {"total_usage": {"total_tokens": 9}}},
            ),
            ("step.stop", {"index": 0}),
            ("interaction.completed", {"interaction": _interaction(usage=_COUNTED)}),
        ),
        _READ,
        {"model": "gemini-3.5-flash"},
    ),
    (
        "a stream by the names of the first version",
        _events(
            ("interaction.start", {"interaction": _interaction("in_progress")}),
            ("content.delta", {"delta": {"type": "text", "text": "Hi"}}),
            ("interaction.complete", {"interaction": _interaction(usage=_COUNTED)}),
        ),
        _READ,
        {},
    ),
    (
        "a stream that fails keeps what it last stated",
        _events(
            _CREATED,
            (
                "step.delta",
                {"metadata": {"total_usage": {"total_input_tokens": 9, "total_output_tokens": 4, "total_tokens": 13}}},
            ),
            ("error", {"error": {"code": "internal", "message": "Internal error"}}),
        ),
        {"input_tokens": 9, "output_tokens": 4},
        {"failed": True, "source": "partial"},
    ),
]

_PICTURE = {"modality": "IMAGE", "tokenCount": 258}

_EMBEDDINGS: list[tuple[str, str, object, dict[str, int], dict[str, Any]]] = [
    (
        "a text",
        "batchEmbedContents",
        {
            "embeddings": [{"values": [0.1]}],
            "usageMetadata": {"promptTokenCount": 5, "promptTokenDetails": [{"modality": "TEXT", "tokenCount": 5}]},
        },
        {"input_tokens": 5, "output_tokens": 0},
        {},
    ),
    (
        "a picture",
        "embedContent",
        {
            "embedding": {"values": [0.1]},
            "usageMetadata": {"promptTokenCount": 258, "promptTokenDetails": [_PICTURE]},
        },
        {"input_tokens": 258, "image_input_tokens": 258, "output_tokens": 0},
        {},
    ),
    (
        "a model that states no usage",
        "embedContent",
        {"embedding": {"values": [0.1]}},
        {},
        {"source": "missing", "told_by_shape": False, "told_by_shape_alone": False},
    ),
]

_PREDICTIONS: list[tuple[str, str, list[object], dict[str, int], dict[str, Any]]] = [
    (
        "pictures are billed one by one, those held back by a filter aside",
        "imagen-4.0-generate-001",
        [
            {"mimeType": "image/png", "bytesBase64Encoded": "iVBORw0KGgo="},
            {"mimeType": "image/png", "gcsUri": "gs://bucket/1.png"},
            {"raiFilteredReason": "Unable to show generated images."},
        ],
        {"images": 2},
        {},
    ),
    (
        "each text's tokens stand beside its vector",
        "text-embedding-005",
        [
            {"embeddings": {"statistics": {"token_count": 3, "truncated": False}, "values": [0.1]}},
            {"embeddings": {"statistics": {"token_count": 2, "truncated": False}, "values": [0.1]}},
        ],
        {"input_tokens": 5, "output_tokens": 0},
        {},
    ),
    (
        "what states neither is left unread",
        "timesfm-2.0",
        [{"point_forecast": [1.5]}],
        {},
        {"source": "missing", "anomalies": ("format_unread",)},
    ),
]

ROWS = [
    _whole(
        "thoughts stand beside the candidates, and what tools put in beside the prompt",
        {
            **_tokens(prompt=22, candidates=590, tools=1173, thoughts=198, total=1983),
            "promptTokensDetails": _kinds(TEXT=22),
            "serviceTier": "standard",
        },
        {"input_tokens": 1195, "output_tokens": 788, "reasoning_tokens": 198},
        service_tier="standard",
    ),
    _whole(
        "cached tokens are within the prompt, and audio is counted apart where it is fresh",
        {
            **_tokens(prompt=5000, cached=4000, candidates=60, total=5060),
            "promptTokensDetails": _kinds(TEXT=4200, AUDIO=800),
            "cacheTokensDetails": _kinds(TEXT=3500, AUDIO=500),
            "candidatesTokensDetails": _kinds(TEXT=10, AUDIO=50),
            "trafficType": "PROVISIONED_THROUGHPUT",
        },
        {
            "input_tokens": 5000,
            "cache_read_tokens": 4000,
            "audio_input_tokens": 300,
            "output_tokens": 60,
            "audio_output_tokens": 50,
        },
        path=VERTEX,
        service_tier="provisioned_throughput",
    ),
    _whole(
        "images in and out",
        {
            **_tokens(prompt=264, candidates=1303, total=1567),
            "promptTokensDetails": _kinds(TEXT=6, IMAGE=258),
            "candidatesTokensDetails": _kinds(TEXT=13, IMAGE=1290),
        },
        {"input_tokens": 264, "image_input_tokens": 258, "output_tokens": 1303, "image_output_tokens": 1290},
    ),
    _whole(
        "a zero is left out",
        _tokens(prompt=9, thoughts=30, total=39),
        {"input_tokens": 9, "output_tokens": 30, "reasoning_tokens": 30},
    ),
    Row(
        name="Gemini native: a prompt that was blocked made no output",
        provider="gemini",
        path=WHOLE,
        sent={
            "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
            "usageMetadata": {**_tokens(prompt=8, total=8), "promptTokensDetails": _kinds(TEXT=8)},
            "modelVersion": "gemini-2.5-flash",
        },
        usage={"input_tokens": 8, "output_tokens": 0},
    ),
    _whole(
        "output that only the total shows",
        _tokens(prompt=35, candidates=12, total=109),
        {"input_tokens": 35, "output_tokens": 74},
        anomalies=("hidden_output",),
    ),
    _whole(
        "a total that leaves the thoughts out has them in the candidates",
        _tokens(prompt=35, candidates=74, thoughts=62, total=109),
        {"input_tokens": 35, "output_tokens": 74, "reasoning_tokens": 62},
        anomalies=("reasoning_inside_candidates",),
    ),
    _whole(
        "a total that is short",
        _tokens(prompt=35, candidates=74, total=100),
        {"input_tokens": 35, "output_tokens": 74},
        anomalies=("total_mismatch",),
    ),
    _whole(
        "counts as text, the way JSON writes 64-bit numbers",
        _tokens(prompt="35", candidates="12", total="47"),
        {"input_tokens": 35, "output_tokens": 12},
        anomalies=("promptTokenCount_text", "candidatesTokenCount_text", "totalTokenCount_text"),
    ),
    _whole(
        "grounded, before the third generation: the prompt is billed",
        _tokens(prompt=10, candidates=5, total=15),
        {"input_tokens": 10, "output_tokens": 5, "web_searches": 1},
        fields={"candidates": [{"finishReason": "STOP", "groundingMetadata": _GROUNDED}]},
    ),
    _whole(
        "grounded, since then: each different query is billed",
        _tokens(prompt=10, candidates=5, total=15),
        {"input_tokens": 10, "output_tokens": 5, "web_searches": 2},
        fields={
            "candidates": [{"finishReason": "STOP", "groundingMetadata": _GROUNDED}],
            "modelVersion": "gemini-3-flash",
        },
        model="gemini-3-flash",
    ),
    Row(
        name="Gemini native: an error under a status of success",
        provider="gemini",
        path=STREAM,
        sent=[{"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}],
        usage={},
        source="missing",
        failed=True,
        told_by_shape=False,
        told_by_shape_alone=False,
    ),
    Row(
        name="Gemini native: a stream as a list, where events were not asked for",
        provider="gemini",
        path=STREAM,
        sent=[
            _said(_tokens(prompt=4, candidates=2, total=6)),
            _said(_tokens(prompt=4, candidates=9, total=13), "STOP"),
        ],
        usage={"input_tokens": 4, "output_tokens": 9},
        model="gemini-2.5-flash",
    ),
    Row(
        name="Gemini native: of a stream as a list that was cut the elements count",
        provider="gemini",
        path=STREAM,
        sent=json.dumps([_said(_tokens(prompt=4, candidates=2, total=6)), _said()]).encode()[:-9],
        usage={"input_tokens": 4, "output_tokens": 2},
        source="partial",
        content_type="application/json",
    ),
    _stream(
        "a stream is cumulative",
        sse(
            _said(_tokens(prompt=11, total=40, thoughts=29)),
            _said(_tokens(prompt=11, candidates=8, thoughts=29, total=48)),
            _said(_tokens(prompt=11, candidates=21, thoughts=29, total=61), "STOP"),
        ),
        {"input_tokens": 11, "output_tokens": 50, "reasoning_tokens": 29},
    ),
    _stream(
        "a stream begins anew after a server's tool, and ends with the grand total",
        sse(
            _said(_tokens(prompt=22, candidates=30, thoughts=120, total=172)),
            _said(_tokens(prompt=300, candidates=5, total=305)),
            _said(_tokens(prompt=300, candidates=90, thoughts=20, total=410)),
            _said(_tokens(prompt=22, candidates=120, tools=590, thoughts=140, total=872), "STOP"),
        ),
        {"input_tokens": 612, "output_tokens": 260, "reasoning_tokens": 140},
    ),
    _stream(
        "the last event holds where it isn't the largest",
        sse(
            _said(_tokens(prompt=22, candidates=30, tools=400, total=452)),
            _said(_tokens(prompt=22, candidates=35, total=57), "STOP"),
        ),
        {"input_tokens": 22, "output_tokens": 35},
    ),
    _stream(
        "of a stream that was cut the largest event holds",
        sse(
            _said(_tokens(prompt=22, candidates=30, thoughts=120, total=172)),
            _said(_tokens(prompt=60, candidates=5, total=65)),
        ),
        {"input_tokens": 22, "output_tokens": 150, "reasoning_tokens": 120},
        source="partial",
    ),
    _stream(
        "output that the last event no longer counts",
        sse(
            _said(_tokens(prompt=30, candidates=21, total=51)),
            _said(_tokens(prompt=30, thoughts=64, total=94), "STOP"),
        ),
        {"input_tokens": 30, "output_tokens": 64, "reasoning_tokens": 64},
        anomalies=("output_withdrawn",),
    ),
    _stream(
        "output that of the last event only the total counts",
        sse(
            _said(_tokens(prompt=30, candidates=21, total=51)),
            _said(_tokens(prompt=30, thoughts=64, total=115), "STOP"),
        ),
        {"input_tokens": 30, "output_tokens": 85, "reasoning_tokens": 64},
        anomalies=("output_withdrawn", "hidden_output"),
    ),
    _stream(
        "usage after the finish reason counts",
        sse(
            _said(_tokens(prompt=11, candidates=8, total=19)),
            _said(None, "STOP"),
            {"usageMetadata": _tokens(prompt=11, candidates=21, total=32), "modelVersion": "gemini-2.5-flash"},
        ),
        {"input_tokens": 11, "output_tokens": 21},
    ),
    _stream(
        "a block without counts only names the traffic",
        sse(
            _said({"trafficType": "ON_DEMAND"}),
            _said({**_tokens(prompt=11, candidates=21, total=32), "trafficType": "ON_DEMAND"}, "STOP"),
            _said({"trafficType": "ON_DEMAND"}, "STOP"),
        ),
        {"input_tokens": 11, "output_tokens": 21},
        service_tier="on_demand",
    ),
    _stream(
        "an error in a stream fails the call, and what was counted stays",
        sse(
            _said(_tokens(prompt=11, candidates=8, total=19)),
            {"error": {"code": 500, "message": "Internal error", "status": "INTERNAL"}},
        ),
        {"input_tokens": 11, "output_tokens": 8},
        source="partial",
        failed=True,
    ),
    *(
        Row(
            name=f"Gemini Interactions: {case}",
            provider="gemini",
            path="/v1beta/interactions",
            sent=sent,
            usage=counts,
            **row,
        )
        for case, sent, counts, row in _INTERACTIONS
    ),
    *(
        Row(
            name=f"Gemini embeddings: {case}",
            provider="gemini",
            path=f"/v1beta/models/gemini-embedding-2:{method}",
            sent=sent,
            usage=counts,
            **row,
        )
        for case, method, sent, counts, row in _EMBEDDINGS
    ),
    *(
        Row(
            name=f"Vertex predict: {case}",
            provider="vertex",
            path=f"/v1/projects/p/locations/l/publishers/google/models/{model}:predict",
            sent={"predictions": predictions, "deployedModelId": "1"},
            usage=counts,
            **row,
        )
        for case, model, predictions, counts, row in _PREDICTIONS
    ),
]

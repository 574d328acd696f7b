"""Google's own API, on Google AI and on Vertex."""

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


def _stream(case: str, sent: Sse, counts: dict[str, int], **row: Any) -> Row:
    return Row(name=f"Gemini native: {case}", provider="gemini", path=STREAM, sent=sent, usage=counts, **row)


_GROUNDED = {"webSearchQueries": ["", "euro 2024 final", "euro 2024 winner", "euro 2024 final"]}

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
]

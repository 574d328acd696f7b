"""Which wire format something is in, told by its shape alone: the fallback where no endpoint tells.

A shape is told by names that no other format has at that place. A new format: its line in `_SIGNS`.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import chain, islice
from typing import Any

from accounting.formats.wire import loads
from accounting.sse import Event

LOOKED_AT = 20
"""How many events are looked at, at either end of a stream: the first ones may be comments, pings and the like."""

Body = Mapping[str, Any]


def shape(body: object) -> str | None:
    """The name of the format that a whole body, or one event of a stream, has the shape of; None where nothing tells.

    `body` is JSON as it was parsed. A list is a stream whose events come in one array, as Gemini's may.
    """
    told = map(_shape, body[:LOOKED_AT] if isinstance(body, list) else [body])
    return next((found for found in told if found), None)


def _shape(body: object) -> str | None:
    if not isinstance(body, Mapping):
        return None
    return next((name for name, has_signs in _SIGNS if has_signs(body)), None)


def shape_of_stream(events: Iterable[Event]) -> str | None:
    """The same of a whole stream's events: the first that tells does."""
    speaking = [event.data for event in events if event.data]
    looked_at = chain(islice(speaking, LOOKED_AT), reversed(speaking[-LOOKED_AT:]))
    return next((found for found in (shape(loads(data)) for data in looked_at) if found), None)


def _is_anthropic(body: Body) -> bool:
    return _kind(body) in _ANTHROPIC or _has(body, "usage", "cache_creation_input_tokens", "cache_read_input_tokens")


_ANTHROPIC = frozenset(
    {"message", "message_start", "message_delta", "content_block_start", "content_block_delta", "content_block_stop"}
)


def _is_openai_responses(body: Body) -> bool:
    return (
        body.get("object") in ("response", "response.compaction")
        or _kind(body).startswith("response.")
        or (isinstance(body.get("output"), list) and _has(body, "usage", "output_tokens_details"))
    )


def _has_choices(body: Body) -> bool:
    return "choices" in body


def _counts_as_openai_chat(body: Body) -> bool:
    return "x_groq" in body or _has(body, "usage", "prompt_tokens", "completion_tokens")


def _is_openai_completions(body: Body) -> bool:
    """Chat completions but for the choices, which hold their text themselves."""
    return body.get("object") == "text_completion" or "text" in _first(body.get("choices"))


def _is_openai_embeddings(body: Body) -> bool:
    return "embedding" in _first(body.get("data"))


def _is_openai_images(body: Body) -> bool:
    image = _first(body.get("data"))
    named = _kind(body).startswith(("image_generation.", "image_edit."))
    return named or "b64_json" in image or "revised_prompt" in image or ("created" in body and "url" in image)


def _is_openai_audio(body: Body) -> bool:
    if kind := _kind(body):
        return kind.startswith(("transcript.", "transcription.", "speech.audio."))
    return "text" in body and ("duration" in body or _has(body, "usage", "seconds", "input_tokens", "prompt_tokens"))


def _is_gemini(body: Body) -> bool:
    return "candidates" in body or "usageMetadata" in body or "promptFeedback" in body


def _is_bedrock(body: Body) -> bool:
    return "contentBlockIndex" in body or _has(body, "usage", "inputTokens", "outputTokens")


def _is_bedrock_invoke(body: Body) -> bool:
    return isinstance(body.get("bytes"), str) and body.keys() <= {"bytes", "p"}


def _is_gemini_interaction(body: Body) -> bool:
    return _has(body, "usage", "total_input_tokens") or _kind(body, "event_type").startswith("interaction.")


def _is_gemini_embedding(body: Body) -> bool:
    return "usageMetadata" in body and ("embedding" in body or "embeddings" in body)


def _is_google_prediction(body: Body) -> bool:
    return isinstance(body.get("predictions"), list)


def _is_cohere(body: Body) -> bool:
    told_by_block = _has(body, "usage", "billed_units", "tokens") or _has(body, "meta", "billed_units")
    return told_by_block or not _COHERE.isdisjoint((_kind(body), _kind(body, "event_type")))


_COHERE = frozenset({"message-start", "message-end", "stream-start", "stream-end"})


def _is_ollama(body: Body) -> bool:
    return isinstance(body.get("done"), bool) and ("created_at" in body or "eval_count" in body)


def _kind(body: Body, name: str = "type") -> str:
    kind = body.get(name)
    return kind if isinstance(kind, str) else ""


def _has(body: Body, block: str, *names: str) -> bool:
    stated = body.get(block)
    return isinstance(stated, Mapping) and not stated.keys().isdisjoint(names)


def _first(several: object) -> Body:
    first = several[0] if isinstance(several, list) and several else None
    return first if isinstance(first, Mapping) else {}


_SIGNS: tuple[tuple[str, Callable[[Body], bool]], ...] = (
    ("openai_completions", _is_openai_completions),
    ("openai_chat", _has_choices),
    ("anthropic", _is_anthropic),
    ("openai_responses", _is_openai_responses),
    ("openai_embeddings", _is_openai_embeddings),
    ("openai_images", _is_openai_images),
    ("openai_audio", _is_openai_audio),
    ("openai_chat", _counts_as_openai_chat),
    ("gemini_embeddings", _is_gemini_embedding),
    ("gemini", _is_gemini),
    ("gemini_interactions", _is_gemini_interaction),
    ("google_predict", _is_google_prediction),
    ("cohere", _is_cohere),
    ("ollama", _is_ollama),
    ("bedrock", _is_bedrock),
    ("bedrock_invoke", _is_bedrock_invoke),
)
"""From the most to the least particular: the first that fits holds."""

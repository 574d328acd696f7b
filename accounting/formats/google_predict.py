"""Vertex's predict, as far as its answers state what was used: Imagen's pictures and text embeddings.

Source: Vertex AI model reference. The method serves every model there is; what has neither shape is left unread.
"""

from collections.abc import Mapping
from typing import Any

from accounting.counts import Counts
from accounting.formats import unread
from accounting.formats.gemini import model_of
from accounting.formats.wire import Answer, Ask, StreamReader, at, stated_usage, whole
from accounting.usage import Usage

name = "google_predict"
suffixes: tuple[str, ...] = ("*:predict",)
providers: tuple[str, ...] = ()


def ask(body: Mapping[str, Any], path: str) -> Ask:
    """The path names the model."""
    return Ask(model=model_of(path), max_tokens=whole(at(body, "parameters", "maxOutputTokens")))


def asking_for_usage(body: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: ARG001 - every format is asked
    return None


def answer(body: object) -> Answer:
    predictions = at(body, "predictions")
    lines = predictions if isinstance(predictions, list) else []
    found = _embedded(lines) or _pictured(lines)
    return unread.answer(body) if found is None else Answer(usage=found)


def stream() -> StreamReader:
    """Never streamed."""
    return unread.stream()


def _embedded(predictions: list[Any]) -> Usage | None:
    """Each text's tokens are stated beside its vector."""
    stated = [at(line, "embeddings", "statistics") for line in predictions]
    statistics = [each for each in stated if each is not None]
    if not statistics:
        return None
    counts = Counts()
    known = [count for each in statistics if (count := counts.read(each, "token_count")) is not None]
    tokens = sum(known) if len(known) == len(predictions) else None
    return stated_usage(
        {"statistics": statistics}, counts, input_tokens=tokens, output_tokens=None if tokens is None else 0
    )


def _pictured(predictions: list[Any]) -> Usage | None:
    """Pictures are billed one by one; those that a filter held back are not among them."""
    made = sum(map(_is_picture, predictions))
    return stated_usage(None, Counts(), images=made) if made else None


def _is_picture(prediction: object) -> bool:
    has_one = any(at(prediction, place) for place in ("bytesBase64Encoded", "gcsUri"))
    return has_one and str(at(prediction, "mimeType")).startswith("image/")

"""Gemini's embeddings. Their answers state usage since 2026 only; before, and where they don't, it is missing.

Source: Google AI API reference, embedContent; the breakdown's name has one letter less than that of generateContent.
"""

from collections.abc import Mapping
from typing import Any

from accounting.counts import Counts
from accounting.formats import unread
from accounting.formats.gemini import kinds, model_of
from accounting.formats.wire import Answer, Ask, StreamReader, at, stated_usage
from accounting.usage import Usage

name = "gemini_embeddings"
suffixes: tuple[str, ...] = ("*:embedContent", "*:batchEmbedContents")
providers: tuple[str, ...] = ()

_GIVEN = ("promptTokenDetails", "promptTokensDetails")


def ask(body: Mapping[str, Any], path: str) -> Ask:  # noqa: ARG001 - it is all in the path
    return Ask(model=model_of(path))


def asking_for_usage(body: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: ARG001 - every format is asked
    return None


def answer(body: object) -> Answer:
    return Answer(usage=_usage(at(body, "usageMetadata")), failed=bool(at(body, "error")))


def stream() -> StreamReader:
    """Never streamed."""
    return unread.stream()


def _usage(block: object) -> Usage:
    """Embeddings make no output; the total, where it is stated, is the prompt."""
    if block is None:
        return Usage()
    counts = Counts()
    prompt, total = counts.read(block, "promptTokenCount"), counts.read(block, "totalTokenCount")
    if None not in (prompt, total) and prompt != total:
        counts.flag("total_mismatch")
    tokens = total if prompt is None else prompt
    given = kinds(block, _GIVEN, "tokenCount", counts)
    return stated_usage(
        block,
        counts,
        input_tokens=tokens,
        audio_input=given.get("audio"),
        image_input=given.get("image"),
        output_tokens=None if tokens is None else 0,
    )

"""Embeddings: OpenAI's, and those of Mistral, Voyage, Cohere and others who follow it.

Source: OpenAI and Voyage API references. There is nothing put out, so the input is the total; some state that alone.
"""

from collections.abc import Mapping
from typing import Any

from accounting.counts import Counts
from accounting.formats.chat_usage import begun
from accounting.formats.costs import stated_cost
from accounting.formats.openai_chat import Reader, ask
from accounting.formats.wire import Answer, at, stated_usage, text
from accounting.usage import Usage

__all__ = ["answer", "ask", "asking_for_usage", "name", "providers", "stream", "suffixes", "usage"]

name = "openai_embeddings"
suffixes: tuple[str, ...] = (
    "embeddings",
    *("multimodalembeddings", "contextualizedembeddings"),  # Voyage
)
providers: tuple[str, ...] = ()


def asking_for_usage(body: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: ARG001 - every format is asked
    """Never needed: every answer states its usage."""
    return None


def answer(body: object) -> Answer:
    return Answer(
        model=text(at(body, "model")),
        id=text(at(body, "id")),
        usage=usage(at(body, "usage")),
        failed=bool(at(body, "error")),
    )


def stream() -> Reader:
    """Nobody streams embeddings."""
    return Reader(usage)


def usage(block: object, final: bool = True, unread: bool = False) -> Usage:
    counts = begun(unread)
    if block is None:
        return Usage(anomalies=tuple(counts.anomalies))
    tokens_in = _input(block, counts)
    cost = stated_cost(block, counts)
    output = None if tokens_in is None else 0
    return stated_usage(block, counts, input_tokens=tokens_in, output_tokens=output, cost=cost, final=final)


def _input(block: object, counts: Counts) -> int | None:
    prompt, total = counts.read(block, "prompt_tokens"), counts.read(block, "total_tokens")
    if prompt is not None and total not in (None, prompt):
        counts.flag("total_mismatch")
    return total if prompt is None else prompt

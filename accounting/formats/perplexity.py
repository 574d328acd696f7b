"""Perplexity's chat completions.

Source: docs.perplexity.ai, pricing and chat completions. Deep research reads sources and reasons over them before it
answers, and bills both beside prompt and completion, at prices of their own; the total leaves both out. Its `cost`
lists what was billed, and multiplies out so. It may be asked for now and polled later. Streams state their usage in
every chunk, unasked, and need no `[DONE]`.
"""

from collections.abc import Mapping
from typing import Any

from accounting.counts import Counts
from accounting.formats import openai_chat
from accounting.formats.chat_usage import begun
from accounting.formats.costs import stated_cost
from accounting.formats.openai_chat import Reader
from accounting.formats.wire import Answer, Ask, at, stated_usage, text
from accounting.usage import Usage

__all__ = ["answer", "ask", "asking_for_usage", "name", "providers", "stream", "suffixes", "usage"]

name = "perplexity_chat"
suffixes: tuple[str, ...] = ("chat/completions", "v1/sonar", "async/chat/completions", "async/sonar")
providers: tuple[str, ...] = ("perplexity",)


def ask(body: Mapping[str, Any], path: str) -> Ask:
    """What is asked for later is put in an envelope."""
    later = body.get("request")
    return openai_chat.ask(later if isinstance(later, Mapping) else body, path)


def asking_for_usage(body: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: ARG001 - every format is asked
    """Never needed: every answer states its usage."""
    return None


def answer(body: object) -> Answer:
    """One that was asked for later comes in an envelope, empty until it is there."""
    if not isinstance(body, Mapping) or "response" not in body:
        return openai_chat.answer(body, usage)
    made = openai_chat.answer(body["response"], usage)
    return made._replace(
        model=made.model or text(body.get("model")),
        id=text(body.get("id")),
        failed=made.failed or body.get("status") == "FAILED",
        pending=body.get("status") in ("CREATED", "IN_PROGRESS"),
    )


def stream() -> Reader:
    return Reader(usage, open_ended=True)


def usage(block: object, final: bool = True, unread: bool = False) -> Usage:
    """Token counts of a `usage` block: sources that were read count as input, research's reasoning as output."""
    counts = begun(unread)
    if block is None:
        return Usage(anomalies=tuple(counts.anomalies))
    prompt, completion = counts.read(block, "prompt_tokens"), counts.read(block, "completion_tokens")
    total = counts.read(block, "total_tokens")
    if prompt is not None and completion is not None and total not in (None, prompt + completion):
        counts.flag("total_mismatch")
    reasoning = counts.read(block, "reasoning_tokens")
    return stated_usage(
        block,
        counts,
        input_tokens=None if prompt is None else prompt + _sources(block, reasoning, counts),
        output_tokens=None if completion is None else completion + (reasoning or 0),
        reasoning=reasoning,
        web_searches=counts.read(block, "num_search_queries"),
        cost=stated_cost(block, counts),
        final=final,
    )


def _sources(block: object, reasoning: int | None, counts: Counts) -> int:
    """The tokens of the sources, where they are billed: the cost lists them; without one, research alone reasons."""
    cited = counts.read(block, "citation_tokens") or 0
    listed = at(block, "cost")
    billed = at(listed, "citation_tokens_cost") if isinstance(listed, Mapping) else reasoning
    if not billed:
        counts.took(None, "citation_tokens")
    return cited if billed else 0

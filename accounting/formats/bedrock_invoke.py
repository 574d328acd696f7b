"""Amazon Bedrock's InvokeModel, which passes a model's own answer on; streamed, piece by piece in binary frames.

Source: Amazon Bedrock API reference, InvokeModel and InvokeModelWithResponseStream. Claude answers as at Anthropic,
OpenAI's models and others as chat completions, Nova as Converse does; Llama and Titan's embeddings have counts
of their own. Whatever the model, the last piece of a stream has Bedrock's counts, `amazon-bedrock-invocationMetrics`. A
whole answer has those in headers alone, which are not looked at here.
"""

import binascii
import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from accounting.counts import Counts
from accounting.formats import anthropic, bedrock, openai_chat
from accounting.formats.wire import Answer, Ask, at, kept_block, loads, stated_usage, text, whole
from accounting.sse import Event
from accounting.usage import Usage, UsageSource

name = "bedrock_invoke"
suffixes: tuple[str, ...] = (
    *("model/*/invoke", "model/*/invoke-with-response-stream"),
    *("model/*/*/invoke", "model/*/*/invoke-with-response-stream"),  # an ARN has a slash, and paths come decoded
)
providers: tuple[str, ...] = ()

_METRICS = "amazon-bedrock-invocationMetrics"


def ask(body: Mapping[str, Any], path: str) -> Ask:
    model, operation = bedrock.named_in(path)
    said = anthropic.ask(body, path)
    effort = said.effort or text(body.get("reasoning_effort"))
    return replace(
        said,
        model=model,
        stream=operation == "invoke-with-response-stream",
        max_tokens=next((limit for limit in _limits(body) if limit is not None), None),
        effort=effort,
    )


def _limits(body: Mapping[str, Any]) -> Iterator[int | None]:
    """What each vendor's models call it."""
    yield from (whole(body.get(name)) for name in _LIMITS)
    yield from (whole(at(body, "inferenceConfig", name)) for name in ("maxTokens", "max_new_tokens"))
    yield whole(at(body, "textGenerationConfig", "maxTokenCount"))


_LIMITS = (
    *("max_completion_tokens", "max_tokens"),  # OpenAI; Claude, Mistral, Cohere, DeepSeek, Qwen
    *(
        "max_gen_len",
        "max_tokens_to_sample",
        "maxTokens",
    ),  # Llama; Claude's old completions; AI21; below Nova and Titan
)


def asking_for_usage(body: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: ARG001 - every format is asked
    """Never needed: what can be read states its usage."""
    return None


def answer(body: object) -> Answer:
    """Of whichever model it is, told by the names of its counts."""
    block = at(body, "usage")
    if at(body, "type") in ("message", "error") or at(block, "input_tokens") is not None:
        return anthropic.answer(body)
    if at(block, "inputTokens") is not None:
        return bedrock.answer(body)
    if at(block, "prompt_tokens") is not None:
        return openai_chat.answer(body)
    if isinstance(body, Mapping) and not body.keys().isdisjoint(_INPUT):
        return Answer(finish_reason=text(body.get("stop_reason")), usage=_at_top(body))
    return Answer(usage=_unread(block), failed=bool(at(body, "error")))


def stream() -> "Reader":
    return Reader()


_BYTES = re.compile(rb'"bytes"\s*:\s*"([^"]*)"')


class Reader:
    """Reads a streamed answer: Claude's by its own events, any other by Bedrock's counts alone."""

    def __init__(self) -> None:
        self.terminal = False
        self.may_end = False
        self.usage_only = False
        self.token_seen = False
        self._claude = anthropic.Reader()
        self._metrics: object = None
        self._is_claude = False
        self._began = False
        self._unread = False

    def feed(self, event: Event) -> None:
        piece = _piece(event)
        if piece.oversized:
            self._unread = True
            return
        self._claude.feed(piece)
        if _METRICS.encode() in piece.data:
            self._metrics = at(loads(piece.data), _METRICS) or self._metrics
        self._is_claude = self._is_claude or b'"message_start"' in piece.data
        self._began = self._began or bool(piece.data)
        self.token_seen = self._claude.token_seen or (self._began and not self._is_claude)
        self.terminal = self._claude.terminal or self._metrics is not None

    def answer(self) -> Answer:
        said = self._claude.answer()
        usage = self._counted() if said.usage.source is UsageSource.MISSING else said.usage
        off = ("event_unreadable",) if self._unread else ()
        return said._replace(usage=usage._replace(anomalies=(*usage.anomalies, *off)))

    def _counted(self) -> Usage:
        """What is known where the model's own events told no usage."""
        if self._metrics is not None:
            return _metered(self._metrics)
        return _unread(None) if self._began and not self._is_claude else Usage()


def _piece(event: Event) -> Event:
    """A frame's piece of the model's own stream; of what is none, its name."""
    found = _BYTES.search(event.data) if event.name == "chunk" else None
    if found is None:
        return Event(event.raw, event.name, oversized=event.oversized)
    try:
        return Event(event.raw, "", b64decode(found[1]))
    except binascii.Error:
        return Event(event.raw, oversized=True)


_INPUT = ("prompt_token_count", "inputTextTokenCount")
_OUTPUT = "generation_token_count"


def _at_top(body: Mapping[str, Any]) -> Usage:
    """Llama's counts, or those of Titan's embeddings, among the rest of the answer; an embedding has no output."""
    counts = Counts()
    block = {name: body[name] for name in (*_INPUT, _OUTPUT) if name in body}
    llama, titan = (counts.read(block, name) for name in _INPUT)
    made = 0 if "embedding" in body else counts.read(block, _OUTPUT)
    return stated_usage(block, counts, input_tokens=titan if llama is None else llama, output_tokens=made)


def _metered(metrics: object) -> Usage:
    """Bedrock's own counts, in which the input leaves out what was cached, as in its logs."""
    counts = Counts()
    fresh, output = counts.read(metrics, "inputTokenCount"), counts.read(metrics, "outputTokenCount")
    read, write = counts.read(metrics, "cacheReadInputTokenCount"), counts.read(metrics, "cacheWriteInputTokenCount")
    return stated_usage(
        metrics,
        counts,
        input_tokens=None if fresh is None else fresh + (read or 0) + (write or 0),
        cache_read=read,
        cache_write=write,
        output_tokens=output,
    )


def _unread(block: object) -> Usage:
    counts = Counts()
    counts.flag("format_unread")
    return Usage(block=kept_block(block, counts), anomalies=tuple(counts.anomalies))

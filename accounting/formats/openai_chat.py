"""OpenAI chat completions, and the many providers that speak it.

Source: OpenAI API reference, chat completion object and chunk; what others make of it is named where it is read.
"""

import re
from collections.abc import Mapping
from typing import Any

from accounting.counts import Counts
from accounting.formats.wire import Answer, Ask, at, loads, provider_cost, stated_usage, text, whole
from accounting.money import Money
from accounting.sse import Event
from accounting.usage import Usage

name = "openai_chat"
suffixes: tuple[str, ...] = ("chat/completions",)
providers: tuple[str, ...] = ()

_CACHE_READ = (
    ("prompt_tokens_details", "cached_tokens"),
    ("prompt_token_details", "cached_tokens"),  # Mistral, sic
    ("prompt_cache_hit_tokens",),  # DeepSeek
    ("cached_tokens",),  # Moonshot
    ("num_cached_tokens",),  # Mistral, older
)
_CACHE_WRITE = (
    ("prompt_tokens_details", "cache_write_tokens"),
    ("prompt_tokens_details", "cache_creation_input_tokens"),  # Qwen
)
_REASONING = (
    ("completion_tokens_details", "reasoning_tokens"),
    ("reasoning_tokens",),  # Azure's older serverless models
)


def ask(body: Mapping[str, Any], path: str) -> Ask:  # noqa: ARG001 - it is all in the body
    """`max_completion_tokens` is the newer name, and holds over `max_tokens`."""
    limit = whole(body.get("max_completion_tokens"))
    return Ask(
        model=text(body.get("model")),
        stream=body.get("stream") is True,
        max_tokens=whole(body.get("max_tokens")) if limit is None else limit,
        effort=text(body.get("reasoning_effort")) or text(at(body, "reasoning", "effort")),
    )


def asking_for_usage(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """A streamed answer states its usage only when asked; a whole one always does."""
    options = body.get("stream_options") or {}
    if body.get("stream") is not True or not isinstance(options, Mapping) or options.get("include_usage") is True:
        return None
    return {**body, "stream_options": {**options, "include_usage": True}}


def answer(body: object) -> Answer:
    choice = _first_choice(body)
    return Answer(
        model=text(at(body, "model")),
        id=text(at(body, "id")),
        finish_reason=text(at(choice, "finish_reason")),
        usage=usage(_block(body)),
        failed=_failed(body),
    )


def stream() -> "Reader":
    return Reader()


_TELLING = re.compile(rb'"(?:usage"\s*:\s*\{|finish_reason"\s*:\s*"|error"\s*:|choices"\s*:\s*\[\s*\])')
"""What makes a chunk worth parsing once the answer has begun: a search costs a fifth of a parse."""


class Reader:
    """Reads a streamed answer. Each usage block replaces the one before: where many come, they are cumulative."""

    def __init__(self) -> None:
        self.terminal = False
        self.usage_only = False
        self.token_seen = False
        self._answer = Answer()
        self._block: object = None
        self._final = False
        self._unread = False

    def feed(self, event: Event) -> None:
        if event.tail:
            return
        self.usage_only = False
        if event.data.startswith(b"[DONE]"):
            self.terminal = True
        elif event.name == "error" or not self.token_seen or _TELLING.search(event.data):
            self._read(loads(event.data), event.name == "error")
        self._unread = self._unread or event.oversized

    def _read(self, chunk: object, failed: bool) -> None:
        before, block, choices = self._answer, _block(chunk), at(chunk, "choices")
        self._answer = Answer(
            model=text(at(chunk, "model")) or before.model,
            id=before.id or text(at(chunk, "id")),
            finish_reason=text(at(_first_choice(chunk), "finish_reason")) or before.finish_reason,
            failed=before.failed or failed or _failed(chunk),
        )
        self._block = self._block if block is None else block
        self.token_seen = self.token_seen or bool(choices)
        stated = isinstance(block, Mapping)
        self.usage_only = choices == [] and (stated or _says_only_usage(chunk)) and not self._answer.failed
        self._final = self._final or (self.usage_only and stated)

    def answer(self) -> Answer:
        known = self._answer
        final = self.terminal or self._final or known.failed or known.finish_reason is not None
        found = usage(self._block, final=final, unread=self._unread)
        return Answer(known.model, known.id, known.finish_reason, found, known.failed)


def _says_only_usage(chunk: object) -> bool:
    """Whether a chunk is the one for usage though it states none: callers fail at its empty choices all the same."""
    return isinstance(chunk, Mapping) and "usage" in chunk and _FRAME.issuperset(chunk)


_FRAME = frozenset({"id", "object", "created", "model", "choices", "usage", "system_fingerprint", "service_tier"})


def usage(block: object, final: bool = True, unread: bool = False) -> Usage:
    """Token counts of a `usage` block.

    `prompt_tokens` already includes cached tokens and `completion_tokens` reasoning ones, so nothing is added,
    unless the provider's own total shows that they stand beside. A count that contradicts its whole is clamped.
    `unread`: an event was too large to be read, and may have stated more.
    """
    counts = Counts()
    if unread:
        counts.flag("event_too_large")
    if block is None:
        return Usage(anomalies=tuple(counts.anomalies))
    prompt, completion = counts.read(block, "prompt_tokens"), counts.read(block, "completion_tokens")
    total = counts.read(block, "total_tokens")
    read, write = _first(block, _CACHE_READ, counts), _first(block, _CACHE_WRITE, counts)
    reasoning = _first(block, _REASONING, counts)
    tokens_in = _input(prompt, (read or 0) + (write or 0), completion, total, counts)
    tokens_out = _output(tokens_in, completion, reasoning, total, counts)
    cost = _cost(block, counts)
    return stated_usage(
        block,
        counts,
        input_tokens=tokens_in,
        cache_read=read,
        cache_write=write,
        output_tokens=tokens_out,
        reasoning=reasoning,
        cost=cost,
        final=final,
    )


def _input(prompt: int | None, cached: int, completion: int | None, total: int | None, counts: Counts) -> int | None:
    if prompt is None or completion is None or cached <= prompt or total != prompt + cached + completion:
        return prompt
    counts.flag("cached_beside_input")
    return prompt + cached


def _output(
    tokens_in: int | None, completion: int | None, reasoning: int | None, total: int | None, counts: Counts
) -> int | None:
    """The provider's total decides: reasoning may stand beside the completion (xAI), or show in the total alone
    (Gemini). Where the total is short, the parts hold."""
    if total is None or tokens_in is None:
        return completion
    beyond = total - tokens_in - (completion or 0)
    if beyond < 0:
        counts.flag("total_mismatch")
    if beyond <= 0:
        return completion
    if completion is None or beyond != reasoning:
        counts.flag("hidden_output")
    return total - tokens_in


def _first(block: object, paths: tuple[tuple[str, ...], ...], counts: Counts) -> int | None:
    """The first count that is not 0: a zero at one path must not hide what another one says."""
    found = [counts.read(block, *path) for path in paths]
    return next((count for count in found if count), 0 if 0 in found else None)


def _cost(block: object, counts: Counts) -> Money | None:
    """OpenRouter's `cost`, in US dollars. Perplexity's is an object, which is left in the block."""
    value = at(block, "cost")
    return None if isinstance(value, Mapping) else provider_cost(value, "USD", counts)


def _block(body: object) -> object:
    """The usage block; Moonshot streams it inside a choice, Groq always beside, and only there if not asked."""
    places = at(body, "usage"), at(_first_choice(body), "usage"), at(body, "x_groq", "usage")
    return next((block for block in places if block is not None), None)


def _first_choice(body: object) -> object:
    choices = at(body, "choices")
    return choices[0] if isinstance(choices, list) and choices else None


def _failed(body: object) -> bool:
    return bool(at(body, "error") or at(_first_choice(body), "error"))

"""Anthropic Messages.

Source: Anthropic API reference, Messages and streaming. Usage comes with `message_start` and again, cumulative,
with `message_delta`; the delta never repeats the breakdown of cache writes.
"""

import re
from collections.abc import Mapping
from typing import Any

from accounting.counts import Counts
from accounting.formats.wire import Answer, Ask, at, loads, stated_usage, text, whole
from accounting.sse import Event
from accounting.usage import Usage

name = "anthropic"
suffixes: tuple[str, ...] = ("messages",)
providers: tuple[str, ...] = ()


def ask(body: Mapping[str, Any], path: str) -> Ask:  # noqa: ARG001 - it is all in the body
    return Ask(
        model=text(body.get("model")),
        stream=body.get("stream") is True,
        max_tokens=whole(body.get("max_tokens")),
        effort=text(at(body, "output_config", "effort")),
    )


def asking_for_usage(body: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: ARG001 - every format is asked
    """Never needed: every answer states its usage."""
    return None


def answer(body: object) -> Answer:
    return Answer(
        model=text(at(body, "model")),
        id=text(at(body, "id")),
        finish_reason=text(at(body, "stop_reason")),
        usage=usage(at(body, "usage")),
        failed=bool(at(body, "error")) or at(body, "type") == "error",
    )


def stream() -> "Reader":
    return Reader()


class Reader:
    """Reads a streamed answer; what `message_delta` states of usage overwrites field by field."""

    def __init__(self) -> None:
        self.terminal = False
        self.may_end = False
        self.usage_only = False
        self.token_seen = False
        self._message: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}
        self._counted = False
        self._failed = False
        self._unread = False

    def feed(self, event: Event) -> None:
        kind = event.name or _kind(event.data)
        if kind.startswith("content_block"):
            self.token_seen = True
        elif kind in ("message_start", "message_delta"):
            self._read(kind, loads(event.data))
        self.terminal = self.terminal or kind == "message_stop"
        self._failed = self._failed or kind == "error"
        self._unread = self._unread or event.oversized

    def _read(self, kind: str, data: object) -> None:
        started = kind == "message_start"
        part = at(data, "message" if started else "delta")
        stated = at(part if started else data, "usage")
        self._message.update(_given(part))
        self._usage.update(_given(stated))
        self._counted = self._counted or (not started and bool(stated))

    def answer(self) -> Answer:
        final = self.terminal or self._counted
        return Answer(
            model=text(self._message.get("model")),
            id=text(self._message.get("id")),
            finish_reason=text(self._message.get("stop_reason")),
            usage=usage(self._usage or None, final, self._unread),
            failed=self._failed,
        )


def usage(block: object, final: bool = True, unread: bool = False) -> Usage:
    """Token counts of a `usage` block.

    `input_tokens` leaves out what was read from and written to the cache, so the three are added.
    `unread`: an event was too large to be read, and may have stated more.
    """
    counts = Counts()
    if unread:
        counts.flag("event_too_large")
    if block is None:
        return Usage(anomalies=tuple(counts.anomalies))
    fresh, output = counts.read(block, "input_tokens"), counts.read(block, "output_tokens")
    read, write = counts.read(block, "cache_read_input_tokens"), _cache_write(block, counts)
    tokens_in = None if fresh is None else fresh + (read or 0) + (write or 0)
    reasoning = counts.read(block, "output_tokens_details", "thinking_tokens")
    _flag_other_models(block, counts)
    return stated_usage(
        block,
        counts,
        input_tokens=tokens_in,
        cache_read=read,
        cache_write=write,
        output_tokens=output,
        reasoning=reasoning,
        final=final,
    )


def _cache_write(block: object, counts: Counts) -> int | None:
    """The total, or its breakdown by lifetime where that adds up to more."""
    total = counts.read(block, "cache_creation_input_tokens")
    parts = [counts.read(block, "cache_creation", f"ephemeral_{life}_input_tokens") for life in ("5m", "1h")]
    broken_down = sum(part for part in parts if part is not None)
    if total is None:
        return None if parts == [None, None] else broken_down
    if broken_down > total:
        counts.flag("cache_write_mismatch")
    return max(total, broken_down)


def _flag_other_models(block: object, counts: Counts) -> None:
    """Compaction and advisor iterations are billed beside the counts above them, which leave them out."""
    iterations = at(block, "iterations")
    if isinstance(iterations, list) and any(at(i, "type") not in _COUNTED_ABOVE for i in iterations):
        counts.flag("iterations_unread")


_COUNTED_ABOVE = ("message", "fallback_message")


def _given(fields: object) -> Mapping[str, Any]:
    if not isinstance(fields, Mapping):
        return {}
    return {name: value for name, value in fields.items() if value is not None}


_KIND = re.compile(rb'\s*\{\s*"type"\s*:\s*"(\w+)"')


def _kind(data: bytes) -> str:
    """The event's kind, for servers that leave out its name."""
    found = _KIND.match(data)
    return found[1].decode() if found else ""

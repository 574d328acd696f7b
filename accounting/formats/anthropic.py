"""Anthropic Messages, at Anthropic and at Vertex, which names the model in the path alone.

Source: Anthropic API reference, Messages and streaming. Usage comes with `message_start` and again, cumulative,
with `message_delta`; the delta never repeats the breakdown of cache writes. What its block says: `anthropic_usage`.
"""

import re
from collections.abc import Mapping
from typing import Any

from accounting.counts import Doubled
from accounting.formats import anthropic_usage
from accounting.formats.falling import fallen, falls
from accounting.formats.wire import Answer, Ask, at, fields, loads, text, whole
from accounting.sse import Event

name = "anthropic"
suffixes: tuple[str, ...] = (
    "messages",
    "publishers/anthropic/models/*:rawPredict",
    "publishers/anthropic/models/*:streamRawPredict",
)
providers: tuple[str, ...] = ()

_VERTEX = re.compile(r"/models/([^/]+):(rawPredict|streamRawPredict)\Z")


def ask(body: Mapping[str, Any], path: str) -> Ask:
    vertex = _VERTEX.search(path)
    return Ask(
        model=text(body.get("model")) or (text(vertex[1]) if vertex else None),
        stream=body.get("stream") is True or (vertex is not None and vertex[2] == "streamRawPredict"),
        max_tokens=whole(body.get("max_tokens")),
        effort=text(at(body, "output_config", "effort")),
    )


def asking_for_usage(body: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: ARG001 - every format is asked
    """Never needed: every answer states its usage."""
    return None


def answer(body: object) -> Answer:
    said = fields(body)
    failed = bool(said.get("error")) or said.get("type") == "error"
    return _answered(said, said.get("usage"), failed=failed)


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
        self._fell = False
        self._failed = False
        self._unread = False

    def feed(self, event: Event) -> None:
        kind = event.name or _kind(event.data)
        if kind.startswith("content_block"):
            self.token_seen = True
        elif kind == "message_start":
            message = at(loads(event.data), "message")
            self._begin(message, at(message, "usage"))
        elif kind == "message_delta":
            delta = loads(event.data)
            self._go_on(at(delta, "delta"), at(delta, "usage"))
        self.terminal = self.terminal or kind == "message_stop"
        self._failed = self._failed or kind == "error"
        self._unread = self._unread or event.oversized

    def _begin(self, message: object, stated: object) -> None:
        """A second start is no new answer, and must not undo what a delta has counted since the first."""
        self._message.update(_given(message))
        self._usage = _together(stated, self._usage) if self._counted else _together(self._usage, stated)

    def _go_on(self, delta: object, stated: object) -> None:
        self._message.update(_given(delta))
        self._fell = self._fell or (self._counted and falls(self._usage, stated, "output_tokens"))
        self._usage = _together(self._usage, stated)
        self._counted = self._counted or bool(stated)

    def answer(self) -> Answer:
        """Without a delta that counts, what is known is the count that the answer began with, however it ended."""
        answer = _answered(self._message, self._usage or None, self._counted, self._unread, self._failed)
        return answer._replace(usage=fallen(answer.usage)) if self._fell else answer


def _answered(
    message: Mapping[str, Any], block: object, final: bool = True, unread: bool = False, failed: bool = False
) -> Answer:
    """`message` has the fields of the answer, `block` is its usage."""
    return Answer(
        model=text(anthropic_usage.fallback_model(block)) or text(message.get("model")),
        id=text(message.get("id")),
        finish_reason=text(message.get("stop_reason")),
        usage=anthropic_usage.usage(block, final, unread),
        failed=failed,
        service_tier=anthropic_usage.service_tier(block),
        sub_calls=anthropic_usage.sub_calls(block, final),
    )


def _given(stated: object) -> Mapping[str, Any]:
    return {name: value for name, value in fields(stated).items() if value is not None}


def _together(before: object, after: object) -> dict[str, Any]:
    """What both state, the latter over the former; marked where a name stands twice in either."""
    stated = {**_given(before), **_given(after)}
    return Doubled(stated) if isinstance(before, Doubled) or isinstance(after, Doubled) else stated


_KIND = re.compile(rb'\s*\{\s*"type"\s*:\s*"(\w+)"')
_TYPE = re.compile(rb'"type"\s*:\s*"(?:message_|content_block|error")')


def _kind(data: bytes) -> str:
    """The event's kind, for servers that leave out its name."""
    if found := _KIND.match(data):
        return found[1].decode()
    return text(at(loads(data), "type")) or "" if _TYPE.search(data) else ""

"""OpenAI's images, and those of others who follow it.

Source: OpenAI API reference, images response and its stream's events. Newer models state tokens and are billed by
them; where none are stated, images are what is billed, and counted. Drawings as SVG are made by another model, whose
usage stands beside.
"""

import re
from collections.abc import Mapping
from typing import Any

from accounting.counts import Counts
from accounting.formats.chat_usage import begun, output_by_total
from accounting.formats.costs import stated_cost
from accounting.formats.openai_chat import deployment
from accounting.formats.wire import Answer, Ask, SubCall, at, loads, stated_usage, sub_call, text
from accounting.sse import Event
from accounting.usage import Usage

name = "openai_images"
suffixes: tuple[str, ...] = ("images/generations", "images/edits", "images/variations")
providers: tuple[str, ...] = ()


def ask(body: Mapping[str, Any], path: str) -> Ask:
    """Edits come as a form, whose fields are texts."""
    return Ask(model=text(body.get("model")) or deployment(path), stream=body.get("stream") in (True, "true"))


def asking_for_usage(body: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: ARG001 - every format is asked
    """Never needed: every answer states its usage, or has none to state."""
    return None


def answer(body: object) -> Answer:
    made = at(body, "data")
    return Answer(
        model=text(at(body, "model")),
        id=text(at(body, "id")),
        usage=usage(at(body, "usage"), len(made) if isinstance(made, list) else None),
        failed=bool(at(body, "error")),
        sub_calls=_drawn(at(body, "svg_usage")),
    )


def usage(block: object, images: int | None = None, unread: bool = False) -> Usage:
    """Token counts of a `usage` block, or the images that came where it has none."""
    counts = begun(unread)
    if block is None and images is None:
        return Usage(anomalies=tuple(counts.anomalies))
    tokens_in, reasoning = counts.read(block, "input_tokens"), counts.read(block, "reasoning_tokens")
    tokens_out = _output(block, tokens_in, reasoning, counts)
    return stated_usage(
        block,
        counts,
        input_tokens=tokens_in,
        cache_read=counts.read(block, "input_tokens_details", "cached_tokens"),
        image_input=counts.read(block, "input_tokens_details", "image_tokens"),
        output_tokens=tokens_out,
        reasoning=reasoning,
        image_output=counts.read(block, "output_tokens_details", "image_tokens"),
        images=images if tokens_in is None and tokens_out is None else None,
        cost=stated_cost(block, counts),
    )


def _output(block: object, tokens_in: int | None, reasoning: int | None, counts: Counts) -> int | None:
    stated, total = counts.read(block, "output_tokens"), counts.read(block, "total_tokens")
    return output_by_total(tokens_in, stated, reasoning, total, counts)


def _drawn(block: object) -> tuple[SubCall, ...]:
    """What the model that drew as SVG used, as a call of its own."""
    return () if block is None else (sub_call(text(at(block, "model")) or "", usage(block)),)


def stream() -> "Reader":
    return Reader()


class Reader:
    """Reads a streamed answer: previews, then an event for each image, with the usage so far.

    An image may be larger than the events that are read whole. Its usage comes after it, so the last of what went by
    is searched for one.
    """

    def __init__(self) -> None:
        self.terminal = False
        self.may_end = False
        self.usage_only = False
        self.token_seen = False
        self._last = b""
        self._block: object = None
        self._drawn: object = None
        self._images: set[int] = set()
        self._failed = False
        self._unread = False

    def feed(self, event: Event) -> None:
        self.token_seen = self.token_seen or bool(event.data) or event.oversized
        if event.oversized:
            self._pass(event.raw)
            return
        self.terminal = self.terminal or event.data.startswith(b"[DONE]")
        if event.name in _COMPLETED or _SIGN.search(event.data[:_LOOKED_AT]) or _SIGN.search(event.data[-_LOOKED_AT:]):
            body = loads(event.data)
            self._made(event.data, at(body, "usage"), at(body, "svg_usage"))
        self._failed = self._failed or event.name == "error" or _ERROR.match(event.data) is not None

    def _pass(self, piece: bytes) -> None:
        """A piece of an event that is too large: the bytes before its end may state the usage."""
        self._last = (self._last + piece)[-_LOOKED_AT:]
        if not piece.endswith((b"\n", b"\r")):
            return
        found = _USAGE.match(self._last, max(self._last.rfind(b'"usage"'), 0))
        if found:
            self._made(self._last.rstrip(), loads(found[1]), None)
            self._last = b""
        self._unread = self._unread or not found

    def _made(self, data: bytes, block: object, drawn: object) -> None:
        """One image more; the same event again is none."""
        self.may_end = True
        self._images.add(hash(data))
        self._block = self._block if block is None else block
        self._drawn = self._drawn if drawn is None else drawn

    def answer(self) -> Answer:
        images = len(self._images) or None
        unread = self._unread and self._block is None
        return Answer(usage=usage(self._block, images, unread), failed=self._failed, sub_calls=_drawn(self._drawn))


_LOOKED_AT = 4096
_COMPLETED = ("image_generation.completed", "image_edit.completed")
_SIGN = re.compile(rb'"image_(?:generation|edit)\.completed"')
_USAGE = re.compile(rb'"usage"\s*:\s*(\{(?:[^{}]|\{[^{}]*\})*\})')
_ERROR = re.compile(rb'\s*\{\s*"(?:error"\s*:\s*[{"]|type"\s*:\s*"error")')

"""OpenAI's Responses, and those who follow it: Azure, xAI, OpenRouter.

Source: OpenAI API reference, the response object and its streaming events. Usage comes with the event that ends the
response and with no other. One that is made in the background has none until it is done. What the tools of a response
used stands beside its usage, which leaves it out.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from accounting.counts import Counts
from accounting.formats.costs import stated_cost
from accounting.formats.falling import counts_something, fallen, falls
from accounting.formats.oversized import Oversized
from accounting.formats.wire import Answer, Ask, SubCall, at, loads, stated_usage, sub_call, text, whole
from accounting.sse import Event
from accounting.usage import Usage

name = "openai_responses"
suffixes: tuple[str, ...] = ("responses", "responses/compact")
providers: tuple[str, ...] = ()

_PENDING = ("queued", "in_progress")
_MOST_ITEMS = 10_000
"""Output items of a stream that are kept; no answer has more."""


def ask(body: Mapping[str, Any], path: str) -> Ask:  # noqa: ARG001 - it is all in the body
    return Ask(
        model=text(body.get("model")),
        stream=body.get("stream") is True,
        max_tokens=whole(body.get("max_output_tokens")),
        effort=text(at(body, "reasoning", "effort")),
    )


def asking_for_usage(body: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: ARG001 - every format is asked
    """Never needed: the event that ends an answer states its usage."""
    return None


def answer(body: object) -> Answer:
    """Of a response that is queued or under way, `pending` says so, and its usage is missing."""
    status = text(at(body, "status"))
    pending = status in _PENDING
    return Answer(
        model=text(at(body, "model")),
        id=text(at(body, "id")),
        finish_reason=None if pending else text(at(body, "incomplete_details", "reason")) or status,
        usage=usage(body, final=not pending),
        failed=status == "failed" or bool(at(body, "error")),
        pending=pending,
        service_tier=None if pending else _tier(body),
        sub_calls=tuple(_sub_calls(body)),
    )


def stream() -> "Reader":
    return Reader()


def usage(body: object, *, final: bool = True) -> Usage:
    """Token counts of a response's `usage`, and the web searches that it tells of.

    `input_tokens` already includes cached tokens, read and written, and `output_tokens` reasoning ones, xAI's too.
    """
    block, counts = at(body, "usage"), Counts()
    if block is None:
        return Usage()
    into, out = "input_tokens_details", "output_tokens_details"
    tokens_in, output = counts.read(block, "input_tokens"), counts.read(block, "output_tokens")
    reasoning, total = counts.read(block, out, "reasoning_tokens"), counts.read(block, "total_tokens")
    return stated_usage(
        block,
        counts,
        input_tokens=tokens_in,
        cache_read=counts.read(block, into, "cached_tokens"),
        cache_write=_cache_write(block, counts),
        audio_input=counts.read(block, into, "audio_tokens"),
        image_input=counts.read(block, into, "image_tokens"),
        output_tokens=_output(tokens_in, output, reasoning, total, counts),
        reasoning=reasoning,
        audio_output=counts.read(block, out, "audio_tokens"),
        image_output=counts.read(block, out, "image_tokens"),
        web_searches=_searches(body, counts),
        cost=stated_cost(block, counts),
        final=final,
    )


def _cache_write(block: object, counts: Counts) -> int | None:
    """The total, or its breakdown by lifetime (half an hour, or twelve) where that adds up to more."""
    written = counts.read(block, "input_tokens_details", "cache_write_tokens")
    lives = at(block, "input_tokens_details", "cache_write_tokens_details")
    parts = [counts.read(lives, f"ttl_{life}_tokens") for life in ("30m", "12h")]
    broken_down = sum(part or 0 for part in parts)
    if written is None:
        return None if parts == [None, None] else broken_down
    if broken_down > written:
        counts.flag("cache_write_mismatch")
    return max(written, broken_down)


def _output(
    tokens_in: int | None, output: int | None, reasoning: int | None, total: int | None, counts: Counts
) -> int | None:
    """As stated, unless the provider's own total shows more: reasoning beside it, or what is named nowhere."""
    beyond = 0 if tokens_in is None or output is None or total is None else total - tokens_in - output
    if beyond < 0:
        counts.flag("total_mismatch")
    if beyond <= 0 or output is None:
        return output
    if beyond != reasoning:
        counts.flag("hidden_output")
    return output + beyond


def _searches(body: object, counts: Counts) -> int | None:
    """Web searches that are billed: as the response sums them up, else as its items show them."""
    summed_up = (
        counts.read(body, "tool_usage", "web_search", "num_requests"),
        counts.read(body, "usage", "server_tool_use_details", "web_search_requests"),  # OpenRouter
    )
    stated = next((count for count in summed_up if count is not None), None)
    return sum(map(_is_search, _items(body))) or None if stated is None else stated


def _is_search(item: object) -> bool:
    """Opening a page and finding something in it are not; items of the first kind did not say what was done."""
    made = at(item, "type") == "web_search_call" and at(item, "status") != "failed"
    return made and at(item, "action", "type") in (None, "search")


def _items(body: object) -> Sequence[object]:
    items = at(body, "output")
    return items if isinstance(items, list) else ()


def _tier(body: object) -> str | None:
    """The one that served; "auto" is only asked for."""
    tier = text(at(body, "service_tier"))
    return None if tier is None or tier.lower() == "auto" else tier.lower()


def _sub_calls(body: object) -> Iterator[SubCall]:
    """What models of images used: that of the tool in all, and the authors of drawings item by item."""
    block = at(body, "tool_usage", "image_gen")
    if at(block, "total_tokens"):
        yield sub_call(_image_model(body), _image_usage(block, sum(map(_is_image, _items(body))) or None))
    for item in _items(body):
        drawn = at(item, "svg_usage")
        if (author := text(at(drawn, "model"))) is not None:
            yield sub_call(author, _drawing_usage(drawn))


def _image_model(body: object) -> str:
    """As the response's tools name it; where they leave that to the provider, the tool's own name stands for it."""
    tools = at(body, "tools")
    named = [at(tool, "model") for tool in tools if _makes_images(tool)] if isinstance(tools, list) else []
    return next(filter(None, map(text, named)), _IMAGE_TOOL)


_IMAGE_TOOL = "image_generation"


def _makes_images(tool: object) -> bool:
    return bool(at(tool, "type") == _IMAGE_TOOL)


def _is_image(item: object) -> bool:
    return bool(at(item, "type") == "image_generation_call" and at(item, "status") != "failed")


def _image_usage(block: object, images: int | None) -> Usage:
    counts = Counts()
    given = counts.read(block, "input_tokens_details", "image_tokens")
    from_cache = counts.read(block, "cached_tokens_details", "cached_image_tokens") or 0
    return stated_usage(
        block,
        counts,
        input_tokens=counts.read(block, "input_tokens"),
        cache_read=counts.read(block, "cached_tokens"),
        image_input=None if given is None else max(0, given - from_cache),
        output_tokens=counts.read(block, "output_tokens"),
        image_output=counts.read(block, "output_tokens_details", "image_tokens"),
        images=images,
    )


def _drawing_usage(block: object) -> Usage:
    counts = Counts()
    return stated_usage(
        block,
        counts,
        input_tokens=counts.read(block, "input_tokens"),
        output_tokens=counts.read(block, "output_tokens"),
        reasoning=counts.read(block, "reasoning_tokens"),
    )


_LAST = ("response.completed", "response.incomplete", "response.failed")
_FIRST = ("response.created", "response.queued", "response.in_progress")
_ITEM = "response.output_item.done"
_TELLING = re.compile(rb'"(?:web_search_call|image_generation_call)"')
_AT_THE_END = {"usage": "{", "tool_usage": "{", "service_tier": '"'}


class Reader:
    """Reads a streamed answer. Its last event repeats it whole, and may so be too large to be parsed: then the counts
    are read at its end, and the rest is what was said before."""

    def __init__(self) -> None:
        self.terminal = False
        self.may_end = False
        self.usage_only = False
        self.token_seen = False
        self._response: Mapping[str, Any] = {}
        self._items: dict[object, object] = {}
        self._fell = False
        self._oversized: Oversized | None = None
        self._failed = False
        self._unread = False

    def feed(self, event: Event) -> None:
        if event.oversized:
            self._feed_oversized(event.raw)
            return
        self._oversized = None
        kind = event.name or _kind(event.data)
        if kind in _LAST:
            self._end(kind, loads(event.data))
        elif kind in _FIRST:
            self._response = self._response or _named(loads(event.data))
        elif kind == _ITEM and _TELLING.search(event.data):
            self._note(at(loads(event.data), "item"))
        self.token_seen = self.token_seen or kind.endswith(".delta") or kind == _ITEM
        self._failed = self._failed or kind == "error" or _ERROR.match(event.data) is not None

    def answer(self) -> Answer:
        """Until its last event has come all that is known is which answer it is."""
        items = self._response.get("output") or list(self._items.values())
        known = answer({**self._response, "output": items})
        stated = known.usage
        if self._unread and stated.block is None:
            stated = Usage(anomalies=("event_too_large",))
        stated = fallen(stated) if self._fell else stated
        return known._replace(usage=stated, failed=known.failed or self._failed, pending=False)

    def _end(self, kind: str, event: object) -> None:
        """`kind` tells how it ended also where the response itself does not. Of several ends the last one holds, but
        for usage that counts nothing where an earlier one did."""
        response = at(event, "response")
        said = response if isinstance(response, Mapping) else {}
        before, now = self._response.get("usage"), said.get("usage")
        took_back = now is not None and not counts_something(now, _SUMS) and counts_something(before, _SUMS)
        self._fell = self._fell or took_back or falls(before, now, "output_tokens")
        self._response = {**self._response, "status": kind.removeprefix("response."), **_given(said)}
        if took_back:
            self._response = {**self._response, "usage": before}
        self.terminal = True

    def _feed_oversized(self, piece: bytes) -> None:
        self._oversized = self._oversized or Oversized()
        if not self._oversized.feed(piece):
            return
        event, self._oversized = self._oversized, None
        if event.kind in _LAST:
            self._unread = True
            self._end(event.kind, {"response": event.last(_AT_THE_END)})
        elif event.kind == _ITEM and _TELLING.search(event.head):
            self._note({"type": "image_generation_call", "id": len(self._items)})  # no other is so large

    def _note(self, item: object) -> None:
        if len(self._items) < _MOST_ITEMS:
            self._items[str(at(item, "id"))] = {field: at(item, field) for field in _OF_AN_ITEM}


_SUMS = ("input_tokens", "output_tokens", "total_tokens")
_OF_AN_ITEM = ("type", "status", "action", "svg_usage")


def _named(event: object) -> Mapping[str, Any]:
    """Which response it is that begins, and the tool that may make images in it."""
    response = at(event, "response")
    tools = at(response, "tools")
    making = [tool for tool in tools if _makes_images(tool)] if isinstance(tools, list) else []
    return _given({"id": at(response, "id"), "model": at(response, "model"), "tools": making or None})


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


_KIND = re.compile(rb'\s*\{\s*"type"\s*:\s*"([\w.]+)"')
_ERROR = re.compile(rb'\s*\{\s*"error"\s*:\s*[{"]')


def _kind(data: bytes) -> str:
    """The event's kind, for servers that leave out its name; some of them sort the fields."""
    if found := _KIND.match(data):
        return found[1].decode()
    return text(at(loads(data), "type")) or "" if b'"type"' in data else ""

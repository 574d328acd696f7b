"""Amazon Bedrock's Converse and ConverseStream; the latter in binary frames, not in server-sent events.

Source: Amazon Bedrock API reference, TokenUsage and ConverseStreamOutput. The model is named in the path alone, by an
id or an ARN.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from accounting.counts import Counts
from accounting.formats.wire import Answer, Ask, at, loads, stated_usage, text, whole
from accounting.sse import Event
from accounting.usage import Usage

name = "bedrock"
suffixes: tuple[str, ...] = (
    *("model/*/converse", "model/*/converse-stream"),
    *("model/*/*/converse", "model/*/*/converse-stream"),  # an ARN has a slash, and paths come decoded
)
providers: tuple[str, ...] = ()

_MODEL = re.compile(r"/model/(.+)/([a-z-]+)/?\Z")

_READ = ("cacheReadInputTokens", "cacheReadInputTokenCount")
_WRITTEN = ("cacheWriteInputTokens", "cacheWriteInputTokenCount")
"""Bedrock states both names side by side, with the same counts; Nova's own answers have the longer one alone."""


def ask(body: Mapping[str, Any], path: str) -> Ask:
    model, operation = named_in(path)
    return Ask(
        model=model,
        stream=operation == "converse-stream",
        max_tokens=whole(at(body, "inferenceConfig", "maxTokens")),
        effort=text(at(body, "additionalModelRequestFields", "output_config", "effort"))
        or text(at(body, "additionalModelRequestFields", "reasoning_effort")),
    )


def named_in(path: str) -> tuple[str | None, str]:
    """The model and the operation that a path names."""
    found = _MODEL.search(path.partition("?")[0])
    return (text(unquote(found[1])), found[2]) if found else (None, "")


def asking_for_usage(body: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: ARG001 - every format is asked
    """Never needed: every answer states its usage."""
    return None


def answer(body: object) -> Answer:
    return _answered(body, text(at(body, "stopReason")))


def stream() -> "Reader":
    return Reader()


class Reader:
    """Reads a streamed answer: usage comes once, in the last event."""

    def __init__(self) -> None:
        self.terminal = False
        self.may_end = False
        self.usage_only = False
        self.token_seen = False
        self._metadata: object = None
        self._stop_reason: str | None = None
        self._failed = False
        self._unread = False

    def feed(self, event: Event) -> None:
        if event.name.startswith("contentBlock"):
            self.token_seen = True
        elif event.name == "messageStop":
            self._stop_reason = text(at(loads(event.data), "stopReason")) or self._stop_reason
        elif event.name == "metadata":
            self._metadata = loads(event.data)
            self.terminal = True
        self._failed = self._failed or event.name == "error"
        self._unread = self._unread or event.oversized

    def answer(self) -> Answer:
        return _answered(self._metadata, self._stop_reason, self._failed, self._unread)


def _answered(said: object, stop_reason: str | None, failed: bool = False, unread: bool = False) -> Answer:
    """`said` has what a whole answer and the last event of a stream have in common."""
    return Answer(
        model=text(at(said, "trace", "promptRouter", "invokedModelId")),
        finish_reason=stop_reason,
        usage=usage(at(said, "usage"), unread),
        failed=failed,
        service_tier=_service_tier(said),
    )


def _service_tier(said: object) -> str | None:
    """The tier that served; an answer whose latency was optimized has a price of its own."""
    if at(said, "performanceConfig", "latency") == "optimized":
        return "optimized"
    tier = text(at(said, "serviceTier", "type"))
    return tier.lower() if tier else None


def usage(block: object, unread: bool = False) -> Usage:
    """Token counts of a `usage` block.

    `inputTokens` leaves out what was read from and written to the cache, so the three are added. `outputTokens`
    includes reasoning, which no count tells apart. `unread`: a frame was damaged or too large, and may have stated
    more.
    """
    counts = Counts()
    if unread:
        counts.flag("event_unreadable")
    if block is None:
        return Usage(anomalies=tuple(counts.anomalies))
    fresh, output = counts.read(block, "inputTokens"), counts.read(block, "outputTokens")
    read = _either(block, _READ, counts)
    write, write_1h = _cache_writes(block, counts)
    cached = (read or 0) + (write or 0)
    _check_total(counts.read(block, "totalTokens"), fresh, cached, output, counts)
    return stated_usage(
        block,
        counts,
        input_tokens=None if fresh is None else fresh + cached,
        cache_read=read,
        cache_write=write,
        cache_write_1h=write_1h,
        output_tokens=output,
    )


def _check_total(total: int | None, fresh: int | None, cached: int, output: int | None, counts: Counts) -> None:
    """The total has what was cached in it. Where it has not, `inputTokens` may be the whole input, though it never was
    in what has been seen."""
    if total is None or fresh is None or output is None:
        return
    if total != fresh + cached + output:
        counts.flag("total_mismatch")


def _either(block: object, names: Iterable[str], counts: Counts) -> int | None:
    """The first count that is not 0: of two names for one count, neither may hide what the other says."""
    found = [counts.read(block, each) for each in names]
    return next((count for count in found if count), 0 if 0 in found else None)


def _cache_writes(block: object, counts: Counts) -> tuple[int | None, int | None]:
    """The total, or its breakdown by lifetime where that adds up to more; and the share that lives for an hour."""
    total, details = _either(block, _WRITTEN, counts), at(block, "cacheDetails")
    if not isinstance(details, list) or not details:
        return total, None
    stated = [(at(each, "ttl"), _detail(index, each, counts)) for index, each in enumerate(details[:_MOST_LIFETIMES])]
    broken_down = sum(count for _, count in stated)
    if total is not None and broken_down > total:
        counts.flag("cache_write_mismatch")
    return max(total or 0, broken_down), sum(count for ttl, count in stated if ttl == "1h")


_MOST_LIFETIMES = 16


def _detail(index: int, detail: object, counts: Counts) -> int:
    place = f"cacheDetails[{index}]"
    return counts.read({place: detail}, place, "inputTokens") or 0

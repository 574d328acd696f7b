"""Which wire format something is in, told by its shape alone: the fallback where no endpoint tells.

A shape is told by names that no other format uses at that place. A new format: its line in `_SIGNS`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from accounting.formats import anthropic, openai_chat
from accounting.formats.wire import Format, at, loads
from accounting.sse import Event

_LOOKED_AT = 20
"""Events that may go by before the first one that tells: comments, pings, and what else a proxy puts in front."""


def sniff(body: object) -> Format | None:
    """The format of a whole body, or of one event of a stream, as `loads` gives it; None where nothing tells."""
    if isinstance(body, list):
        return next((found for found in map(sniff, body[:_LOOKED_AT]) if found), None)
    if not isinstance(body, Mapping):
        return None
    return next((format_ for format_, has_signs in _SIGNS if has_signs(body)), None)


def sniff_events(events: Iterable[Event]) -> Format | None:
    """The format of a stream, by the first of its events that tells."""
    told = (sniff(loads(event.data)) for event, _ in zip(_speaking(events), range(_LOOKED_AT), strict=False))
    return next((found for found in told if found), None)


def _speaking(events: Iterable[Event]) -> Iterable[Event]:
    return (event for event in events if event.data)


def _is_anthropic(body: Mapping[str, Any]) -> bool:
    return body.get("type") in _ANTHROPIC or _counts_as_anthropic(body.get("usage"))


_ANTHROPIC = frozenset({"message", "message_start", "message_delta", "content_block_start", "content_block_delta"})


def _counts_as_anthropic(block: object) -> bool:
    return at(block, "cache_creation_input_tokens") is not None or at(block, "cache_read_input_tokens") is not None


def _is_openai_chat(body: Mapping[str, Any]) -> bool:
    return "choices" in body or "x_groq" in body or at(body, "usage", "prompt_tokens") is not None


_SIGNS: tuple[tuple[Format, Callable[[Mapping[str, Any]], bool]], ...] = (
    (anthropic, _is_anthropic),
    (openai_chat, _is_openai_chat),
)
"""From the most to the least particular: the first that fits holds."""

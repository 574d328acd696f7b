"""The wire formats we read. A new one: a file here, and its line in `_FORMATS`."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from accounting import eventstream, sse
from accounting.formats import anthropic, openai_chat, unread
from accounting.formats.shapes import sniff, sniff_events
from accounting.formats.wire import Answer, Ask, Format, StreamReader, StreamSplitter, SubCall, loads

__all__ = [
    "Answer",
    "Ask",
    "Format",
    "Match",
    "StreamReader",
    "StreamSplitter",
    "SubCall",
    "dialect",
    "find",
    "loads",
    "sniff",
    "sniff_events",
    "splitter",
]

_FORMATS: tuple[Format, ...] = (openai_chat, anthropic, unread)

_FREE = ("threads/*/messages",)
"""Paths that end like a billed one and cost nothing."""


@dataclass(frozen=True, slots=True)
class Match:
    """The wire format of a request, and its endpoint: the path's ending that told."""

    format: Format
    endpoint: str


def _pattern(suffixes: list[str]) -> re.Pattern[str]:
    """One group a suffix, so that the group that matched tells which."""
    groups = (f"({re.escape(suffix)})".replace(r"\*", "[^/]+") for suffix in suffixes)
    return re.compile(rf"/(?:{'|'.join(groups)})/?\Z")


_GENERAL = [Match(each, suffix) for each in _FORMATS if not each.providers for suffix in each.suffixes]
_DIALECTS = {
    (provider, suffix): Match(each, suffix)
    for each in _FORMATS
    for provider in each.providers
    for suffix in each.suffixes
}
_ENDPOINTS: list[str] = list(
    dict.fromkeys([*(match.endpoint for match in _GENERAL), *(suffix for _, suffix in _DIALECTS), *_FREE])
)
_ANYBODYS = {match.endpoint: match for match in _GENERAL}
_PATH = _pattern(_ENDPOINTS)


def find(method: str, path: str, provider: str) -> Match | None:
    """How to read what a request buys; None where it buys nothing (reading, polling, counting tokens).

    Any query is left out of account. Of two endings that fit, the longer one holds; of two formats that have it, the
    provider's own.
    """
    if method != "POST":
        return None
    found = _PATH.search(path.partition("?")[0])  # the leftmost match is the longest ending
    if not found or not found.lastindex:
        return None
    endpoint = _ENDPOINTS[found.lastindex - 1]
    return _DIALECTS.get((provider, endpoint)) or _ANYBODYS.get(endpoint)


def dialect(general: Format, provider: str) -> Format:
    """The provider's own dialect of a format, where it has one."""
    own = (_DIALECTS.get((provider, suffix)) for suffix in general.suffixes)
    return next((match.format for match in own if match), general)


_SPLITTERS: dict[str, Callable[[], StreamSplitter]] = {
    "text/event-stream": sse.Splitter,
    "application/vnd.amazon.eventstream": eventstream.Splitter,
}


def splitter(content_type: str) -> StreamSplitter | None:
    """What cuts a body of this type into events; None where such a body is read whole."""
    made = _SPLITTERS.get(content_type.partition(";")[0].strip().lower())
    return made() if made else None

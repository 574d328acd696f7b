"""The wire formats we read. A new one: a file here, and its line in `_FORMATS`."""

import re
from dataclasses import dataclass

from accounting.formats import anthropic, openai_chat, unread
from accounting.formats.wire import Answer, Ask, Format, StreamReader, loads

__all__ = ["Answer", "Ask", "Format", "Match", "StreamReader", "find", "loads"]

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


_BILLED = [Match(wire_format, suffix) for wire_format in _FORMATS for suffix in wire_format.suffixes]
_MATCHES: list[Match | None] = [*_BILLED, *(None for _ in _FREE)]
_PATH = _pattern([*(match.endpoint for match in _BILLED), *_FREE])


def find(method: str, path: str) -> Match | None:
    """How to read what a request buys; None where it buys nothing (reading, polling, counting tokens).

    Any query is left out of account. Of two endings that fit, the longer one holds.
    """
    if method != "POST":
        return None
    found = _PATH.search(path.partition("?")[0])  # the leftmost match is the longest ending
    return _MATCHES[found.lastindex - 1] if found and found.lastindex else None

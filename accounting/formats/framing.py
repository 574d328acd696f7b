"""How the bytes of an answer are cut into events: as they begin, and where that does not tell, as their type says.

Proxies and home-made servers label streams as JSON, as text or not at all, and whole answers as streams.
"""

import re
from collections.abc import Callable
from zlib import crc32

from accounting import eventstream, jsonvalues, sse
from accounting.formats import gemini
from accounting.formats.wire import Format, StreamSplitter

_SPLITTERS: dict[str, Callable[[], StreamSplitter]] = {
    "text/event-stream": sse.Splitter,
    "application/vnd.amazon.eventstream": eventstream.Splitter,
    "application/stream+json": jsonvalues.Splitter,  # Cohere's first version
    "application/x-ndjson": jsonvalues.Splitter,
}
_UNTOLD = ("", "text/plain")
"""What home-made servers call an event stream when they forget to say what it is."""
STREAMED_AS_A_LIST: tuple[Format, ...] = (gemini,)
"""Whose streams are one JSON list, each element an event, unless events are asked for."""

_BOM = b"\xef\xbb\xbf"
_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")
_SSE = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:data|event|id|retry|):")
"""How server-sent events begin, and no JSON does."""
_JSON = re.compile(rb"(?:\xef\xbb\xbf)?\s*[{\[]")
_PRELUDE = 12
"""Bytes that tell one of Amazon's frames."""
_MOST_BLANK = 4096
"""Bytes of nothing but space after which no more of them is waited for."""


def splitter(content_type: str, streamed: Format | None = None) -> StreamSplitter | None:
    """What cuts a body of this type into events; None where such a body is read whole.

    `streamed`: the format in which a stream was asked for.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if streamed is not None and kind in _UNTOLD:
        return sse.Splitter()
    if kind == "application/json" and streamed in STREAMED_AS_A_LIST:
        return jsonvalues.Splitter()
    made = _SPLITTERS.get(kind)
    return made() if made else None


def stream_types() -> tuple[str, ...]:
    """The content types that are cut into events."""
    return tuple(_SPLITTERS)


def splitter_of(beginning: bytes, content_type: str, streamed: Format | None = None) -> StreamSplitter | None:
    """The same of a body that begins so, whatever its type says."""
    if _SSE.match(beginning):
        return sse.Splitter()
    if _begins_with_a_frame(beginning):
        return eventstream.Splitter()
    told = splitter(content_type, streamed)
    return None if is_json(beginning) and not isinstance(told, jsonvalues.Splitter) else told


def tells(beginning: bytes) -> bool:
    """Whether `splitter_of` answers the same whatever comes after."""
    if beginning.startswith(b"\0"):
        return len(beginning) >= _PRELUDE
    said = beginning[: _MOST_BLANK + 1].removeprefix(_BOM).lstrip()
    if not said:
        return len(beginning) > _MOST_BLANK
    return not any(start.startswith(said) and start != said for start in (*_FIELDS, _BOM))


def is_json(beginning: bytes) -> bool:
    """Whether a body begins as an object or a list."""
    return _JSON.match(beginning) is not None


def _begins_with_a_frame(data: bytes) -> bool:
    """Whether the first eight bytes are vouched for by the next four, as in Amazon's event streams."""
    return len(data) >= _PRELUDE and crc32(data[:8]) == int.from_bytes(data[8:_PRELUDE])

"""Server-sent events out of bytes in any chunking. No I/O, and no byte changed or lost.

What comes out, put together again, is what went in: `b"".join(event.raw for …) + splitter.rest`.
Rules: WHATWG HTML, 9.2.6; fields other than `event` and `data` are only carried in `raw`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from accounting.limits import MAX_EVENT

_BOM = b"\xef\xbb\xbf"
_BLANK_LINE = re.compile(rb"(?>\r\n|\r|\n)(\r\n?|\n)")  # atomic: a CRLF is never read as two line ends


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `raw`: its exact bytes, from the comments before it to its blank line.

    `data` is the `data` lines joined by LF. `tail`: the LF of a blank line whose CR ended a chunk and came out
    with the event before; it shares that event's fate. `oversized`: a piece of an event past the limit.
    """

    raw: bytes
    name: str = ""
    data: bytes = b""
    tail: bool = False
    oversized: bool = False


class Splitter:
    """Cuts a stream into events; each comes out with the byte that completes it.

    An event with more than `limit` bytes before its blank line comes out unread, in pieces as they arrive. Time is
    linear in the bytes fed, however they are cut.
    """

    def __init__(self, limit: int = MAX_EVENT) -> None:
        self._limit = limit
        # The byte before the event, then its bytes so far. The first tells whether a line has just ended, so
        # that a blank line is always two line ends in a row, at the start of an event and in the midst of one.
        self._held = bytearray(b"\n")
        self._searched = 0
        self._spilling = False
        self._started = False

    @property
    def rest(self) -> bytes:
        """The bytes of the event that isn't complete yet."""
        return bytes(self._held[1:])

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that the chunk completes, in order."""
        if self._held == b"\r" and chunk.startswith(b"\n") and not self._spilling:
            self._held[:] = b"\n"
            return [Event(b"\n", tail=True), *self.feed(chunk[1:])]
        self._held += chunk
        events = self._complete(_blank_line if b"\r" in chunk else _blank_line_after_lf)
        if self._spilling or len(self._held) - 1 > self._limit:
            events += self._spill()
        # The next search goes two bytes back: a line end may be that long, its blank line still to come.
        self._searched = max(0, len(self._held) - 2)
        return events

    def _complete(self, find: "_Find") -> list[Event]:
        blank = find(self._held, self._searched)
        if blank is None:
            return []
        events, begin, text = [], 1, bytes(self._held)
        while blank is not None:
            size, end = blank[0] - begin, blank[1]
            events.append(self._event(text[begin:end], size))
            begin = end
            blank = find(text, begin - 1)
        self._held = bytearray(text[begin - 1 :])
        return events

    def _event(self, raw: bytes, size: int) -> Event:
        spilling, self._spilling = self._spilling, False
        first, self._started = not self._started, True
        if spilling or size > self._limit:
            return Event(raw, oversized=True)
        name, data = _fields(raw.removeprefix(_BOM) if first else raw)
        return Event(raw, name, data)

    def _spill(self) -> list[Event]:
        piece = bytes(self._held[1:])
        del self._held[:-1]
        self._spilling = self._started = True
        return [Event(piece, oversized=True)] if piece else []


_Find = Callable[[bytes | bytearray, int], tuple[int, int] | None]


def _blank_line(text: bytes | bytearray, start: int) -> tuple[int, int] | None:
    """Where the first blank line after a line's end begins and ends."""
    found = _BLANK_LINE.search(text, start)
    return found.span(1) if found else None


def _blank_line_after_lf(text: bytes | bytearray, start: int) -> tuple[int, int] | None:
    """The same, seven times as fast, where a CR can't be part of it: the chunk that ends it has none."""
    at = text.find(b"\n\n", start)
    return (at + 1, at + 2) if at >= 0 else None


def _fields(raw: bytes) -> tuple[str, bytes]:
    name, data = b"", []
    for line in raw.splitlines():  # of bytes: at CR, LF and CRLF only
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
    return "" if name == _NO_NAME else name.decode("utf-8", "replace"), b"\n".join(data)


_NO_NAME = b"message"
"""What an event without a name is called where it is received; some servers write it out."""

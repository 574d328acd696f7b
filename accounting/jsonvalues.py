"""Events out of a stream of JSON, in any chunking: one a line, or the elements of one list as they come. No I/O.

What comes out, put together again, is what went in, as of `sse.Splitter`.
"""

import re

from accounting.limits import MAX_EVENT
from accounting.sse import Event

_OUTSIDE = re.compile(rb'["{}\[\]]')
_INSIDE = re.compile(rb'["\\]')
_BETWEEN = b"\xef\xbb\xbf \t\r\n,"


class Splitter:
    """Cuts a stream into its objects; each comes out with the byte that completes it, its data the object alone.

    Of a list the elements come out, and its closing bracket stays in `rest`. One past `limit` comes out unread, in
    pieces as they arrive, and so does what is no object. Time is linear in the bytes fed, however they are cut.
    """

    def __init__(self, limit: int = MAX_EVENT) -> None:
        self._limit = limit
        self._held = bytearray()
        self._searched = 0
        self._depth = 0
        self._base: int | None = None  # how deep the objects lie: 1 in a list
        self._in_text = False
        self._spilling = False

    @property
    def rest(self) -> bytes:
        """The bytes of the object that isn't complete yet."""
        return bytes(self._held)

    def feed(self, chunk: bytes) -> list[Event]:
        """The objects that the chunk completes, in order."""
        self._held += chunk
        events = []
        while (end := self._end()) is not None:
            events.append(self._event(self._taken(end)))
            self._spilling = False
        if self._spilling or len(self._held) > self._limit:
            self._spilling = True
            events += self._spilled()
        return events

    def _end(self) -> int | None:
        """Behind the next object that is complete, all of it being searched once."""
        while (found := self._next()) is not None:
            if self._steps(found):
                return self._searched
        return None

    def _next(self) -> bytes | None:
        """The next byte that tells anything; inside a text only its end does."""
        found = (_INSIDE if self._in_text else _OUTSIDE).search(self._held, self._searched)
        if found is None:
            self._searched = max(self._searched, len(self._held))
            return None
        # Past an escaped byte even where that is still to come.
        self._searched = found.end() + (found[0] == b"\\")
        return found[0]

    def _steps(self, found: bytes) -> bool:
        """Whether the byte completes an object."""
        if found == b'"':
            self._in_text = not self._in_text
        elif found in b"{[":
            if self._base is None:
                self._base = int(found == b"[")
            self._depth += 1
        elif found in b"}]" and self._depth:
            self._depth -= 1
            return found == b"}" and self._depth == self._base
        return False

    def _taken(self, size: int) -> bytes:
        raw = bytes(self._held[:size])
        del self._held[:size]
        self._searched = max(0, self._searched - size)
        return raw

    def _spilled(self) -> list[Event]:
        piece = self._taken(len(self._held))
        return [Event(piece, oversized=True)] if piece else []

    def _event(self, raw: bytes) -> Event:
        if self._spilling or len(raw) > self._limit:
            return Event(raw, oversized=True)
        data = raw.lstrip(_BETWEEN)
        if self._base:
            data = data.removeprefix(b"[").lstrip(_BETWEEN)
        return Event(raw, data=data if data.startswith(b"{") else b"")

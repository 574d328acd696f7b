"""Events out of the binary frames in which Amazon streams its answers, in any chunking. No I/O, and no byte lost.

A frame: its length, the length of its headers and the CRC-32 of these two; the headers, each a name, a type and a
value; the payload; the CRC-32 of all before. Source: the encoding of `application/vnd.amazon.eventstream`, in the AWS
SDK specification.
"""

import struct
from zlib import crc32

from accounting.limits import MAX_EVENT
from accounting.sse import Event

_PRELUDE = struct.Struct(">III")
_CRC_BYTES = 4
_LEAST = _PRELUDE.size + _CRC_BYTES
_ENDLESS = 1 << 62
_SIZES = (0, 0, 1, 2, 4, 8, None, None, 8, 16)
"""Bytes of a header's value by its type: true, false, five numbers, bytes, text (both say their length), time, UUID."""


class Splitter:
    """Cuts a stream into one event a frame, as `sse.Splitter` does: named by `:event-type`, or "error", its payload the
    data.

    A frame past `limit`, or one whose checksum is wrong, comes out unread. Past a prelude whose checksum is wrong
    nobody knows where the next frame begins, so that all the rest comes out unread, in pieces as they arrive.
    """

    def __init__(self, limit: int = MAX_EVENT) -> None:
        self._limit = limit
        self._held = bytearray()
        self._size = 0  # of the frame that has begun, or what is left of one that passes unread; 0 before its prelude
        self._unread = False

    @property
    def rest(self) -> bytes:
        """The bytes of the frame that isn't complete yet."""
        return bytes(self._held)

    def feed(self, chunk: bytes) -> list[Event]:
        """The frames that the chunk completes, in order."""
        self._held += chunk
        events = []
        while (event := self._next()) is not None:
            events.append(event)
        return events

    def _next(self) -> Event | None:
        if not self._size and len(self._held) >= _PRELUDE.size:
            self._size = _frame_size(self._held)
            self._unread = self._size > self._limit
        if self._unread:
            return self._passed_on()
        if not self._size or len(self._held) < self._size:
            return None
        size, self._size = self._size, 0
        return _event(self._taken(size))

    def _passed_on(self) -> Event | None:
        piece = self._taken(self._size)
        self._size -= len(piece)
        self._unread = self._size > 0
        return Event(piece, oversized=True) if piece else None

    def _taken(self, size: int) -> bytes:
        taken = bytes(self._held[:size])
        del self._held[:size]  # in constant time: the bytes behind it stay where they are
        return taken


def _frame_size(prelude: bytearray) -> int:
    """What the prelude says, if it can be trusted."""
    size, headers, checksum = _PRELUDE.unpack_from(prelude)
    trusted = crc32(prelude[: _PRELUDE.size - _CRC_BYTES]) == checksum and size >= headers + _LEAST
    return size if trusted else _ENDLESS


def _event(raw: bytes) -> Event:
    headers_end = _PRELUDE.size + int.from_bytes(raw[4:8])
    headers = _headers(raw[_PRELUDE.size : headers_end])
    if headers is None or crc32(raw[:-_CRC_BYTES]) != int.from_bytes(raw[-_CRC_BYTES:]):
        return Event(raw, oversized=True)
    failed = headers.get(b":message-type") in (b"exception", b"error")
    name = "error" if failed else headers.get(b":event-type", b"").decode("utf-8", "replace")
    return Event(raw, name, raw[headers_end:-_CRC_BYTES])


def _headers(block: bytes) -> dict[bytes, bytes] | None:
    """The values by name; None where the block is none of headers."""
    found, at = {}, 0
    while at < len(block):
        name = block[at + 1 : (name_end := at + 1 + block[at])]
        kind = block[name_end] if name_end < len(block) else len(_SIZES)
        if kind >= len(_SIZES):
            return None
        size, start = _SIZES[kind], name_end + 1
        if size is None:
            size, start = int.from_bytes(block[start : start + 2]), start + 2
        at = start + size
        found[name] = block[start:at]
    return found if at == len(block) else None

"""Our own copy of an encoded body, decoded as it arrives; the caller's bytes stay as they came."""

import zlib
from collections.abc import Iterator
from typing import Any

READABLE = ("identity", "gzip", "deflate")
"""Content codings that we can read, with nothing beyond the standard library."""


PIECE = 2**16
"""Bytes that are unpacked at a time."""


class Unreadable(Exception):
    """The body's coding is unknown to us, or its bytes break it, or it is larger than we read."""


class Decoder:
    """Decodes one body. `limit` bounds what comes out in all, whatever the compression promises."""

    def __init__(self, coding: str, limit: int) -> None:
        self._left = limit
        self._coding = coding.strip().lower() or "identity"
        if self._coding not in READABLE:
            raise Unreadable(f"encoding_{self._coding[:16]}")
        self._head = b""
        self._inflate: Any = None

    def feed(self, data: bytes) -> bytes:
        """The decoded bytes; raises `Unreadable`."""
        return b"".join(self.pieces(data))

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """The same in pieces, as a few bytes may unpack to more than there is memory."""
        for piece in [data] if self._coding == "identity" else self._inflated(data):
            self._left -= len(piece)
            if self._left < 0:
                raise Unreadable("body_too_large")
            yield piece

    @property
    def is_whole(self) -> bool:
        """Whether the coding's own end was seen; a compressed body may be cut without anybody noticing."""
        return self._coding == "identity" or (self._inflate is not None and self._inflate.eof)

    def _inflated(self, data: bytes) -> Iterator[bytes]:
        if self._inflate is None:
            self._head = data = self._head + data
            if len(data) < 2:
                return
            self._inflate = zlib.decompressobj(wbits=_window(self._coding, data))
        piece = b""
        # What follows the coding's own end is not part of it, and would pile up.
        while not self._inflate.eof and (data or len(piece) == PIECE):
            try:
                piece = self._inflate.decompress(data, PIECE)
            except zlib.error as error:
                raise Unreadable("encoding_broken") from error
            data = self._inflate.unconsumed_tail
            yield piece


def _window(coding: str, head: bytes) -> int:
    """Some servers send "deflate" without the zlib header; the first two bytes tell. RFC 1950, 2.2."""
    has_header = head[0] & 15 == 8 and int.from_bytes(head[:2]) % 31 == 0
    return 47 if coding == "gzip" or has_header else -15

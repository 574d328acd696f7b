"""Our own copy of an encoded body, decoded as it arrives; the caller's bytes stay as they came."""

import zlib

READABLE = ("identity", "gzip", "deflate")
"""Content codings that we can read, with nothing beyond the standard library."""


class Unreadable(Exception):
    """The body's coding is unknown to us, or its bytes break it, or it is larger than we read."""


class Decoder:
    """Decodes one body. `limit` bounds what comes out in all, whatever the compression promises."""

    def __init__(self, coding: str, limit: int) -> None:
        self._left = limit
        self._coding = coding.strip().lower() or "identity"
        if self._coding not in READABLE:
            raise Unreadable(f"encoding_{self._coding[:16]}")
        self._inflate = None if self._coding == "identity" else zlib.decompressobj(wbits=47)

    def feed(self, data: bytes) -> bytes:
        """The decoded bytes; raises `Unreadable`."""
        if self._inflate is not None:
            data = self._inflated(data)
        self._left -= len(data)
        if self._left < 0:
            raise Unreadable("body_too_large")
        return data

    @property
    def is_whole(self) -> bool:
        """Whether the coding's own end was seen; a compressed body may be cut without anybody noticing."""
        return self._inflate is None or self._inflate.eof

    def _inflated(self, data: bytes) -> bytes:
        assert self._inflate is not None  # noqa: S101
        try:
            return self._inflate.decompress(data, self._left + 1)
        except zlib.error as error:
            # Some servers send "deflate" without the zlib header; only the first bytes can tell.
            if self._coding == "deflate" and not self._inflate.unconsumed_tail:
                self._inflate = zlib.decompressobj(wbits=-15)
                self._coding = "raw deflate"
                return self._inflated(data)
            raise Unreadable("encoding_broken") from error

"""One answer as it is received: its headers, then its bytes in any chunking. No I/O."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import chain

from accounting.decoding import Decoder, Unreadable
from accounting.formats import (
    Answer,
    Format,
    Lookout,
    StreamReader,
    StreamSplitter,
    flagged,
    is_json,
    loads,
    outlined,
    reread,
    splitter,
    splitter_of,
    tells,
)
from accounting.formats.outline import Outline
from accounting.limits import MAX_BODY, MAX_UNPACKED
from accounting.sse import Splitter
from accounting.usage import UsageSource

_ENDLESS = 2**62

_MEDIA = re.compile(r"(audio|image|video)/")
_OPAQUE = re.compile(r"application/(octet-stream|pdf|zip)$")
"""What is read only if it begins as an answer that states its usage does."""


class Reception:
    """Reads one answer; what it says is known so far at any time.

    `provider` is whose dialect is read where the answer is in another format than its endpoint's. `streamed`: a stream
    was asked for. `stripping`: the event that has the usage and nothing else is to be taken out.
    """

    def __init__(self, format_: Format, provider: str = "", *, streamed: bool = False, stripping: bool = False) -> None:
        self.status: int | None = None
        self.bytes_out = 0
        self.first_token_at: datetime | None = None
        self._format = format_
        self._provider = provider
        self._streamed = streamed
        self._stripping = stripping
        self._framed = False
        self._kind = ""
        self._asks = False  # the first bytes, which did not tell yet how the answer is cut
        self._decoder: Decoder | None = None
        self._splitter: StreamSplitter | None = None
        self._reader: StreamReader | None = None
        self._lookout = Lookout(format_, provider)
        self._body = bytearray()
        self._outline: Outline | None = None  # of a body past the limit
        self._unreadable: str | None = None

    @property
    def is_good(self) -> bool:
        """Whether its status is one of success."""
        return 200 <= (self.status or 0) < 300

    @property
    def is_over(self) -> bool:
        """Whether the protocol's last event was seen; the end of a body is for the connection to tell."""
        return self._reader is not None and self._reader.terminal

    def headers(self, status: int, headers: Mapping[str, str], framed: bool) -> None:
        """The answer begins. `framed`: its end can be told from a cut by the connection alone."""
        self.status = status
        self._framed = framed or "content-length" in headers or "transfer-encoding" in headers
        self._kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if not self.is_good or _MEDIA.match(self._kind):
            return  # media say nothing of usage, and reading megabytes of them as text would delay the caller
        coding = coding_of(headers)
        self._stripping = self._stripping and coding == "identity"
        try:
            # What is held is bounded one by one: the events of a stream, the ends of a body.
            self._decoder = Decoder(coding, _ENDLESS if coding == "identity" else MAX_UNPACKED)
        except Unreadable as reason:
            self._unreadable = str(reason)
        self._asks = self._decoder is not None
        self._cut_by(splitter(self._kind, self._wanted))

    def read(self, held: bytes, chunk: bytes) -> tuple[bytes, bytes]:
        """The next bytes, `held` being what was not passed on yet: what to pass on now, what to hold.

        The newest piece of a plain body is held, so that the ending can be written down before the caller has all;
        of an event stream only the event that is not complete yet, where one may have to be taken out, and what
        may be its end, where the protocol has no last event. Until the first bytes tell which it is, all are held
        where an event may have to be taken out.
        """
        self.bytes_out += len(chunk)
        pieces = self._decoded(chunk)
        if self._asks:
            pieces = self._told(pieces)
            if self._asks and self._stripping:
                return b"", held + chunk
        if self._splitter is None or self._reader is None or self._asks:
            for piece in pieces:
                self._keep(piece)
            return held, chunk
        kept = self._read_events(self._splitter, self._reader, pieces)
        if self._stripping:
            return kept, self._splitter.rest
        return (held, chunk) if self._reader.may_end else (held + chunk, b"")

    def read_rest(self) -> None:
        """Some servers leave out the last blank line: what they said last counts all the same."""
        if isinstance(self._splitter, Splitter) and self._reader is not None and self._splitter.rest:
            for event in self._splitter.feed(b"\n\n"):
                self._reader.feed(event)

    def answer(self) -> tuple[Answer, bool]:
        """What the answer said, and whether it was whole."""
        if self._decoder is None:
            known = self._format.answer(None) if self._reader is None else self._reader.answer()
            return flagged(known, self._unreadable) if self._unreadable else known, self._framed
        if self._reader is not None:
            return self._reader.answer(), self._reader.terminal or self._reader.may_end
        if self._outline is not None:
            known = outlined(self._format, self._outline.fields(), self._provider)
            is_known = known.usage.source is not UsageSource.MISSING
            return known, self._decoder.is_whole and (is_known or self._framed)
        body = loads(bytes(self._body))
        if body is None and bytes(self._body).strip() not in (b"", b"null"):
            is_whole = self._framed and self._decoder.is_whole
            return flagged(Answer(), "body_unreadable"), is_whole
        is_whole = self._decoder.is_whole and (body is not None or self._framed)
        return reread(self._format, body, self._format.answer(body), self._provider), is_whole

    @property
    def _wanted(self) -> Format | None:
        """The format in which a stream was asked for."""
        return self._format if self._streamed else None

    def _cut_by(self, splitter: StreamSplitter | None) -> None:
        self._splitter = splitter
        self._reader = None if splitter is None else self._format.stream()

    def _told(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """What is to be read of the pieces: nothing until the first bytes tell how they are cut, and then all."""
        for piece in pieces:
            beginning = bytes(self._body) + piece
            if tells(beginning):
                self._asks = False
                return self._from(beginning, pieces)
            self._body += piece
        self._asks = self._decoder is not None
        return iter(())

    def _from(self, beginning: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
        self._body.clear()
        self._cut_by(splitter_of(beginning, self._kind, self._wanted))
        if self._splitter is not None or is_json(beginning) or not _OPAQUE.match(self._kind):
            return chain([beginning], rest)
        self._decoder, self._unreadable = None, "body_unreadable"
        return iter(())

    def _keep(self, piece: bytes) -> None:
        """Of a whole body all, up to the limit, and past it its ends."""
        if self._outline is None and len(self._body) + len(piece) > MAX_BODY:
            self._outline = Outline()
            self._outline.feed(self._body)
            self._body.clear()
        if self._outline is None:
            self._body += piece
        else:
            self._outline.feed(piece)

    def _read_events(self, splitter: StreamSplitter, reader: StreamReader, pieces: Iterator[bytes]) -> bytes:
        """What stays of the events that the chunk completes, where one may be taken out."""
        kept = []
        for event in (event for piece in pieces for event in splitter.feed(piece)):
            self._reader = reader = self._lookout.reader(reader, event)
            reader.feed(event)
            if self._stripping and not reader.usage_only:
                kept.append(event.raw)
        if self.first_token_at is None and reader.token_seen:
            self.first_token_at = datetime.now(UTC)
        return b"".join(kept)

    def _decoded(self, chunk: bytes) -> Iterator[bytes]:
        if self._decoder is None:
            return
        try:
            yield from self._decoder.pieces(chunk)
        except Unreadable as reason:
            self._unreadable = str(reason)
            self._decoder = None
            self._body.clear()


def coding_of(headers: Mapping[str, str]) -> str:
    """How a body is encoded."""
    return headers.get("content-encoding", "").strip().lower() or "identity"

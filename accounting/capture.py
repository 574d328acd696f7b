"""One call on its way through a client: what is read of it, and when it is written down.

`Tap` knows no HTTP library and does no I/O but the journal's; the drivers, one for each colour, are in
`transports`. Everything here may fail without harm: the drivers guard each step, and pass the bytes on.
"""

import contextlib
import json
import re
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from accounting import attribution, credentials
from accounting.decoding import READABLE, Decoder, Unreadable
from accounting.formats import (
    Answer,
    Ask,
    Format,
    StreamReader,
    StreamSplitter,
    SubCall,
    beside,
    find,
    loads,
    reread,
    splitter,
)
from accounting.limits import MAX_BODY
from accounting.providers import provider_of
from accounting.recorder import Recorder, Ticket, recorder
from accounting.scripts import script_of
from accounting.sse import Splitter
from accounting.usage import Call, Outcome, id_time, new_id, sub_id

LINK = "accounting.link"
"""Where a request's link id travels: an HTTP library hands `extensions` on to the next hop of a redirect."""

_link: ContextVar[UUID | None] = ContextVar("accounting_link", default=None)
_declined: set[str] = set()
"""Hosts that would not be asked for usage, or answered encoded in spite of being asked not to."""

_UNTOLD = ("", "text/plain")
"""What home-made servers call an event stream when they forget to say what it is."""

_MEDIA = re.compile(r"(audio|image|video)/|application/(octet-stream|pdf|zip)$")

_NOTHING_SENT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol"})


@dataclass(frozen=True, slots=True)
class Metering:
    """What `meter()` was told of a client."""

    project: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    provider: str | None = None
    ask_for_usage: bool = True
    hosts: Mapping[str, str] = field(default_factory=dict)
    """Names of providers by host."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as it is about to be sent: names of headers in lower case.

    `body` is None where its bytes are not in memory; `extensions` is the request's own dictionary.
    """

    method: str
    host: str
    port: int | None
    path: str
    headers: Mapping[str, str]
    body: bytes | None
    extensions: MutableMapping[str, Any]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """How the request is sent instead: `body` None leaves it as it is."""

    headers: Mapping[str, str]
    body: bytes | None = None


def tap_on(metering: Metering, sent: Sent, *, ask_for_usage: bool = True) -> "Tap | None":
    """A tap on a call that is about to be sent, its start written down; None for what buys nothing.

    A call whose body is not in memory is metered without being asked about.
    """
    provider = metering.provider or provider_of(sent.host, sent.port, metering.hosts)
    match = find(sent.method, sent.path, provider)
    if match is None:
        return None
    said = loads(sent.body) if sent.body is not None and len(sent.body) <= MAX_BODY else None
    fields = said if isinstance(said, dict) else {}
    may_ask = ask_for_usage and metering.ask_for_usage and sent.host not in _declined and not _is_signed(sent.headers)
    wanted = match.format.asking_for_usage(fields) if may_ask and fields else None
    tap = Tap(match.format, sent.host, _outgoing(sent, fields, wanted), asked=wanted is not None)
    tap.start(recorder(), _started(metering, sent, provider, match.endpoint, match.format.ask(fields, sent.path)))
    return tap


class Tap:
    """Reads one call's answer as it passes, and writes its ending down once."""

    _done = True  # until it is started
    _books: Recorder
    _ticket: Ticket

    def __init__(self, format_: Format, host: str, outgoing: Outgoing | None, asked: bool) -> None:
        self.outgoing = outgoing
        self.asked = asked
        self._format = format_
        self._host = host
        self._status: int | None = None
        self._framed = False
        self._stripping = False
        self._decoder: Decoder | None = None
        self._splitter: StreamSplitter | None = None
        self._reader: StreamReader | None = None
        self._is_looked_at = False  # a stream, at its first event with data
        self._body = bytearray()
        self._bytes_out = 0
        self._first_token_at: datetime | None = None
        self._unreadable: str | None = None

    def start(self, books: Recorder, call: Call) -> None:
        """Write the call down before it is sent."""
        self._books = books
        self._ticket = books.start(call)
        self._done = False

    def headers(self, status: int, headers: Mapping[str, str], framed: bool = False) -> None:
        """The answer begins. `framed`: its end can be told from a cut by the connection alone."""
        self._status = status
        self._framed = framed or "content-length" in headers or "transfer-encoding" in headers
        if not 200 <= status < 300:
            return
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if _MEDIA.match(kind):
            return  # it says nothing of usage, and reading megabytes of it as text would delay the caller
        coding = headers.get("content-encoding", "").strip().lower() or "identity"
        try:
            self._decoder = Decoder(coding, MAX_BODY)
        except Unreadable as reason:
            self._unreadable = str(reason)
        self._splitter = Splitter() if self._ticket.call.stream and kind in _UNTOLD else splitter(kind)
        if self._splitter is not None:
            self._reader = self._format.stream()
            self._stripping = self.asked and coding == "identity"
            # A stream may be longer than any body: its events are bounded one by one.
            self._decoder = self._decoder and Decoder(coding, 2**62)
        if self.asked and coding != "identity":
            _declined.add(self._host)

    def read(self, held: bytes, chunk: bytes) -> tuple[bytes, bytes]:
        """The next bytes of the answer, `held` being what was not passed on yet: what to pass on now, what to hold.

        The newest piece of a plain body is held, so that the ending can be written down before the caller has all;
        of an event stream only the event that is not complete yet, where one may have to be taken out, and what
        may be its end, where the protocol has no last event.
        """
        self._bytes_out += len(chunk)
        if self._splitter is None or self._reader is None:
            self._body += self._decoded(chunk)
            return held, chunk
        kept = self._read_events(self._splitter, self._reader, chunk)
        if self._reader.terminal:
            self._finish(Outcome.FAILED if self._reader.answer().failed else Outcome.FINISHED)
        if self._stripping:
            return kept, self._splitter.rest
        return (held, chunk) if self._reader.may_end else (held + chunk, b"")

    def end(self) -> None:
        """The answer has ended by itself."""
        if self._done:
            return
        self._read_rest()
        answer, is_whole = self._answer()
        if self._has_failed(answer):
            self._finish(Outcome.FAILED, answer)
        else:
            is_there = is_whole and not answer.pending
            self._finish(Outcome.FINISHED if is_there else Outcome.INTERRUPTED, answer)

    def cut(self) -> None:
        """The answer was cut after its headers, by either side."""
        if self._done:
            return
        answer, _ = self._answer()
        self._finish(self._if_cut(answer), answer)

    def broke(self, error: BaseException) -> None:
        """No answer came. Where nothing can have been sent the call failed; otherwise nobody knows."""
        if self._status is not None:
            return self.cut()
        nothing_sent = any(kind.__name__ in _NOTHING_SENT for kind in type(error).__mro__)
        self._finish(Outcome.FAILED if nothing_sent else Outcome.UNKNOWN, Answer())

    def refuses_asking(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Whether a refusal is about our asking for usage; the host is then not asked again."""
        try:
            text = Decoder(headers.get("content-encoding", "identity"), MAX_BODY).feed(body)
        except Unreadable:
            return False
        if b"stream_options" not in text:
            return False
        _declined.add(self._host)
        return True

    def drop(self) -> None:
        """We failed: nothing more is read of this call, and the books say so."""
        self._done = True
        self._books.abandon(self._ticket)

    def __del__(self) -> None:
        # A task that was cancelled without closing its stream. This may run anywhere, in the midst of a journal
        # statement too: no lock may be taken here.
        if not self._done:
            with contextlib.suppress(Exception):
                answer, _ = self._answer()
                outcome = Outcome.UNKNOWN if self._status is None else self._if_cut(answer)
                self._books.leave(self._ticket, *self._ended(outcome, answer))

    def _read_events(self, splitter: StreamSplitter, reader: StreamReader, chunk: bytes) -> bytes:
        kept = []
        for event in splitter.feed(self._decoded(chunk)):
            if event.data and not self._is_looked_at:
                self._is_looked_at = True
                self._reader = reader = beside(self._format, reader, event)
            reader.feed(event)
            if not (self._stripping and reader.usage_only):
                kept.append(event.raw)
        if self._first_token_at is None and reader.token_seen:
            self._first_token_at = datetime.now(UTC)
        return b"".join(kept)

    def _read_rest(self) -> None:
        """Some servers leave out the last blank line: what they said last counts all the same."""
        if isinstance(self._splitter, Splitter) and self._reader is not None and self._splitter.rest:
            for event in self._splitter.feed(b"\n\n"):
                self._reader.feed(event)

    def _decoded(self, chunk: bytes) -> bytes:
        if self._decoder is None:
            return b""
        try:
            return self._decoder.feed(chunk)
        except Unreadable as reason:
            self._unreadable = str(reason)
            self._decoder = None
            self._body.clear()
            return b""

    def _answer(self) -> tuple[Answer, bool]:
        """What the answer said, and whether it was whole."""
        if self._decoder is None:
            known = self._format.answer(None) if self._reader is None else self._reader.answer()
            return self._flagged(known, self._unreadable), self._framed
        if self._reader is not None:
            return self._reader.answer(), self._reader.terminal or self._reader.may_end
        body = loads(bytes(self._body))
        if body is None and self._body:
            is_whole = self._framed and self._decoder.is_whole
            return self._flagged(Answer(), "body_unreadable"), is_whole
        is_whole = self._decoder.is_whole and (body is not None or self._framed)
        return reread(self._format, body, self._format.answer(body)), is_whole

    @staticmethod
    def _flagged(answer: Answer, anomaly: str | None) -> Answer:
        if anomaly is None:
            return answer
        return replace(answer, usage=replace(answer.usage, anomalies=(*answer.usage.anomalies, anomaly)))

    def _if_cut(self, answer: Answer) -> Outcome:
        return Outcome.FAILED if self._has_failed(answer) else Outcome.INTERRUPTED

    def _has_failed(self, answer: Answer) -> bool:
        return answer.failed or not 200 <= (self._status or 0) < 300

    def _finish(self, outcome: Outcome, answer: Answer | None = None) -> None:
        if self._done:
            return
        call, sub_calls = self._ended(outcome, answer or self._answer()[0])
        self._done = True
        self._books.finish(self._ticket, call, sub_calls)

    def _ended(self, outcome: Outcome, answer: Answer) -> tuple[Call, tuple[Call, ...]]:
        """The call as it ended, and what other models used inside its answer."""
        call = replace(
            self._ticket.call,
            outcome=outcome,
            response_model=answer.model,
            response_id=answer.id,
            finish_reason=answer.finish_reason,
            service_tier=answer.service_tier,
            usage=answer.usage,
            first_token_at=self._first_token_at,
            ended_at=datetime.now(UTC),
            bytes_out=self._bytes_out,
            http_status=self._status,
        )
        return call, tuple(_below(call, number, sub) for number, sub in enumerate(answer.sub_calls, 1))


def _below(call: Call, number: int, sub: SubCall) -> Call:
    """A sub-call: who asked, and when, is the call's own; the model, and what it used, another's."""
    return replace(
        call,
        id=sub_id(call.id, number),
        parent_id=call.id,
        request_model=None,
        response_model=sub.model,
        response_id=None,
        effort=None,
        max_tokens=None,
        first_token_at=None,
        bytes_in=0,
        bytes_out=0,
        finish_reason=None,
        script=None,
        usage=replace(sub.usage, requests=None),
    )


def _started(metering: Metering, sent: Sent, provider: str, endpoint: str, ask: Ask) -> Call:
    here = attribution.current()
    id_ = new_id()
    attempt, link = _attempt(sent, id_)
    key = credentials.sent(sent.headers)
    return Call(
        id=id_,
        started_at=id_time(id_),
        provider=provider,
        endpoint=endpoint,
        request_model=ask.model,
        key_fingerprint=key.fingerprint,
        key_last4=key.last4,
        project=here.project or metering.project,
        project_source="attribute" if here.project else "meter" if metering.project else None,
        user=here.user,
        tags={**metering.tags, **here.tags},
        attempt=attempt,
        link_id=link,
        stream=ask.stream,
        effort=ask.effort,
        max_tokens=ask.max_tokens,
        bytes_in=_number(sent.headers.get("content-length")) if sent.body is None else len(sent.body),
        script=script_of(sent.body or b""),
    )


def _attempt(sent: Sent, id_: UUID) -> tuple[int, UUID]:
    """Which try this is, and the id that ties the tries and hops of one request together."""
    retries = _number(sent.headers.get("x-stainless-retry-count"))
    link = sent.extensions.get(LINK) or (_link.get() if retries else None) or id_
    sent.extensions[LINK] = link
    _link.set(link)
    return retries + 1, link


def _is_signed(headers: Mapping[str, str]) -> bool:
    """Whether the body must arrive as it is: a header vouches for its bytes."""
    return headers.get("authorization", "").startswith("AWS4-") or not _VOUCHING.isdisjoint(headers)


_VOUCHING = frozenset({"content-digest", "content-md5", "digest", "signature", "x-amz-content-sha256"})


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 16 else 0


def _outgoing(sent: Sent, said: Mapping[str, Any], wanted: Mapping[str, Any] | None) -> Outgoing | None:
    """The request that goes out in place of the caller's, or None where it can go as it is."""
    if wanted is not None and sent.body is not None:
        asking = _with_added(sent.body, said, wanted)
        # Encoded, the extra event could not be taken out again.
        return Outgoing({"accept-encoding": "identity", "content-length": str(len(asking))}, asking)
    codings = [coding.strip() for coding in sent.headers.get("accept-encoding", "").split(",") if coding.strip()]
    readable = [coding for coding in codings if coding.partition(";")[0].strip().lower() in READABLE]
    if len(readable) == len(codings):
        return None
    return Outgoing({"accept-encoding": ", ".join(readable) or "identity"})


def _with_added(body: bytes, said: Mapping[str, Any], wanted: Mapping[str, Any]) -> bytes:
    """The body with what is wanted put into it; every other byte of the caller's stays."""
    text = body.decode("utf-8", "surrogateescape")
    for name, value in wanted.items():
        put = json.dumps(value, default=float)
        if name not in said:
            text = text.replace("{", f"{{{json.dumps(name)}: {put},", 1)
        elif value is not said[name]:
            start, end = _place(text, name)
            text = text[:start] + put + text[end:]
    return text.encode("utf-8", "surrogateescape")


def _place(text: str, name: str) -> tuple[int, int]:
    """Where in a JSON object's text the value of one of its names stands; of two, the one that holds."""
    place, at = (0, 0), _skip(text, text.index("{") + 1)
    while text[at] != "}":
        key, at = _decoded_at(text, at)
        start = _skip(text, at)
        _, end = _decoded_at(text, start)
        place, at = (start, end) if key == name else place, _skip(text, end)
    return place


_BETWEEN = re.compile(r"[\s:,]*")
_decoded_at = json.JSONDecoder().raw_decode


def _skip(text: str, at: int) -> int:
    found = _BETWEEN.match(text, at)
    return found.end() if found else at

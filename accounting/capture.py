"""One call on its way through a client: what is read of it, and when it is written down.

`Tap` knows no HTTP library and does no I/O but the journal's; the drivers, one for each colour, are in
`transports`. Everything here may fail without harm: the drivers guard each step, and pass the bytes on.
"""

import contextlib
import re
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from accounting import attribution, credentials, polls, snapshots
from accounting.decisions import Decision, Grant, Refusal
from accounting.decoding import Decoder, Unreadable
from accounting.exposure import Exposure
from accounting.exposures import exposure_of
from accounting.formats import Answer, Ask, Format, find, flagged, is_silent, loads, unknown, wire
from accounting.formats.unlisted import is_a_model_s
from accounting.limits import MAX_BODY
from accounting.outgoing import Outgoing, Sent, is_signed, outgoing
from accounting.polls import Poll
from accounting.providers import is_listed, provider_of
from accounting.reception import Reception, coding_of
from accounting.recorder import Recorder, Ticket, recorder
from accounting.scripts import script_of
from accounting.subcalls import below
from accounting.thresholds import OnBudget
from accounting.tickets import Steps
from accounting.usage import Call, Outcome, id_time, new_id

LINK = "accounting.link"
"""Where a request's link id travels: an HTTP library hands `extensions` on to the next hop of a redirect."""

_link: ContextVar[UUID | None] = ContextVar("accounting_link", default=None)
_declined: set[str] = set()
"""Hosts that would not be asked for usage, or answered encoded in spite of being asked not to."""

MAX_RETRIES = 10_000
"""Of one request, as its headers count them; more is no count, and would be no number that the books hold."""

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
    on_budget: OnBudget | None = None
    is_of_sdk: bool = field(default=False, compare=False)
    """Whether the client is an SDK's, which would retry and hide what a transport raises."""


def tap_on(metering: Metering, sent: Sent, *, ask_for_usage: bool = True) -> "Tap | Poll | None":
    """A tap on a call that is about to be sent, its start written down; None for what buys nothing.

    A call whose body is not in memory is metered without being asked about. A poll of an answer that was still to come
    is tapped too, and is no call.
    """
    provider = wire.text(metering.provider or provider_of(sent.host, sent.port, metering.hosts)) or ""
    match = find(sent.method, sent.path, provider)
    if match is not None and not metering.provider and not _is_told(match.endpoint, sent, metering.hosts):
        return None
    if match is None:
        poll = polls.tap_on(sent, provider)
        if poll is not None or not is_listed(sent.host, sent.port, metering.hosts):
            return poll
        match = unknown(sent.method, sent.path, provider)
    if match is None:
        return None
    fields = _fields(sent.body)
    may_ask = ask_for_usage and metering.ask_for_usage and sent.host not in _declined and not is_signed(sent.headers)
    wanted = match.format.asking_for_usage(fields) if may_ask and fields else None
    tap = Tap(match.format, sent.host, outgoing(sent, fields, wanted), asked=wanted is not None)
    tap.on_budget, tap.fields = metering.on_budget, fields
    ask = match.format.ask(fields or sent.form, sent.path)
    tap.start(recorder(), _started(metering, sent, provider, match.endpoint, ask))
    return tap


def _is_told(endpoint: str, sent: Sent, hosts: Mapping[str, str]) -> bool:
    return is_a_model_s(endpoint, sent.path, sent.headers) or is_listed(sent.host, sent.port, hosts)


def _fields(body: bytes | None) -> dict[str, Any]:
    """Of a request that is a JSON object in memory. A file that is sent as it is would be read as text for a fifth of a
    second, if its first byte did not tell."""
    if body is None or len(body) > MAX_BODY or not _OBJECT.match(body):
        return {}
    said = loads(body)
    return said if isinstance(said, dict) else {}


_OBJECT = re.compile(rb"(?:\xef\xbb\xbf)?\s*\{")


class Tap:
    """Reads one call's answer as it passes, and writes its ending down once."""

    _done = True  # until it is started
    _books: Recorder
    _ticket: Ticket
    _reception: Reception
    _waits = False  # for its budgets: nothing was sent yet
    _has_grant = False
    on_budget: OnBudget | None = None
    fields: Mapping[str, Any]

    def __init__(self, format_: Format, host: str, outgoing: Outgoing | None, asked: bool) -> None:
        self.outgoing = outgoing
        self.asked = asked
        self._format = format_
        self._host = host

    def start(self, books: Recorder, call: Call) -> None:
        """Write the call down before it is sent."""
        self._books = books
        self._reception = Reception(self._format, call.provider, streamed=call.stream, stripping=self.asked)
        self._ticket = books.start(call)
        self._done = False

    @property
    def format_name(self) -> str:
        return self._format.name

    def admission(self) -> Steps | None:
        """The steps until it is decided whether the call may be sent; None where there is nothing to decide.

        Whoever goes them says with `judged` what they came to, or with `broke` what ended them.
        """
        self._waits = True
        steps = self._books.gate.admission(self._ticket.call, self._exposure, self.on_budget)
        self._waits = steps is not None
        if steps is None:
            self.fields = {}
        return steps

    def judged(self, decision: Decision | None) -> Refusal | None:
        """What keeps the call from being sent, if anything does; it has ended then."""
        if isinstance(decision, Refusal):
            self._finish(Outcome.FAILED, Answer(), refused_by=decision.budget)
            return decision
        self._waits, self._has_grant, self.fields = False, isinstance(decision, Grant), {}
        return None

    def unasked(self, error: Exception) -> Refusal | None:
        """What keeps the call from being sent where a fault of ours kept its budgets from being asked."""
        refusal = self._books.gate.unasked(error, self._ticket.call)
        if refusal is not None:
            self._books.gate.release(self._ticket.call.id)  # they may have been asked before it
        # Whatever fails now as well: what a budget says holds, and `__del__` ends what has not ended.
        with contextlib.suppress(Exception):
            self.judged(refusal)
        return refusal

    def _exposure(self, strict: bool) -> Exposure:
        return exposure_of(snapshots.current(), self._ticket.call, self.fields, strict=strict)

    def headers(self, status: int, headers: Mapping[str, str], framed: bool = False) -> None:
        """The answer begins. `framed`: its end can be told from a cut by the connection alone."""
        self._reception.headers(status, headers, framed)
        if self.asked and self._reception.is_good and coding_of(headers) != "identity":
            _declined.add(self._host)

    def read(self, held: bytes, chunk: bytes) -> tuple[bytes, bytes]:
        """The next bytes of the answer, as `Reception.read`; its last event, if it has one, ends the call."""
        passed_on = self._reception.read(held, chunk)
        if not self._done and self._reception.is_over:
            answer, _ = self._reception.answer()
            self._finish(Outcome.FAILED if answer.failed else Outcome.FINISHED, answer)
        return passed_on

    def end(self) -> None:
        """The answer has ended by itself."""
        if self._done:
            return
        self._reception.read_rest()
        answer, is_whole = self._reception.answer()
        if self._has_failed(answer):
            self._finish(Outcome.FAILED, answer)
        else:
            is_there = is_whole and not answer.pending
            self._finish(Outcome.FINISHED if is_there else Outcome.INTERRUPTED, answer)

    def cut(self) -> None:
        """The answer was cut after its headers, by either side."""
        if self._done:
            return
        answer, _ = self._reception.answer()
        self._finish(self._if_cut(answer), answer)

    def broke(self, error: BaseException) -> None:
        """No answer came. Where nothing can have been sent the call failed; otherwise nobody knows."""
        if self._reception.status is not None:
            return self.cut()
        nothing_sent = self._waits or any(kind.__name__ in _NOTHING_SENT for kind in type(error).__mro__)
        self._finish(Outcome.FAILED if nothing_sent else Outcome.UNKNOWN, Answer())

    def refuses_asking(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Whether a refusal is about our asking for usage; the host is then not asked again."""
        try:
            text = Decoder(coding_of(headers), MAX_BODY).feed(body)
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
                answer, _ = self._reception.answer()
                outcome = Outcome.FAILED if self._waits else Outcome.UNKNOWN
                if self._reception.status is not None:
                    outcome = self._if_cut(answer)
                call, sub_calls = self._ended(outcome, answer)
                self._books.leave(self._ticket, call, sub_calls)
                self._give_back(call)
                polls.expect(call)

    def _if_cut(self, answer: Answer) -> Outcome:
        return Outcome.FAILED if self._has_failed(answer) else Outcome.INTERRUPTED

    def _has_failed(self, answer: Answer) -> bool:
        return answer.failed or not self._reception.is_good

    def _finish(self, outcome: Outcome, answer: Answer, refused_by: str | None = None) -> None:
        if self._done:
            return
        if outcome is Outcome.FINISHED and is_silent(answer):
            answer = flagged(answer, "usage_absent")
        call, sub_calls = self._ended(outcome, answer, refused_by)
        self._done = True
        self._books.finish(self._ticket, call, sub_calls)
        self._give_back(call)
        polls.expect(call)

    def _give_back(self, call: Call) -> None:
        """What was set aside for the call, where it was not sent, or answered with an HTTP error; takes no lock.

        All else may be charged, and is settled in the books.
        """
        if self._has_grant and call.outcome is Outcome.FAILED and not self._reception.is_good:
            self._books.gate.release(call.id)

    def _ended(self, outcome: Outcome, answer: Answer, refused_by: str | None = None) -> tuple[Call, tuple[Call, ...]]:
        """The call as it ended, and what other models used inside its answer."""
        call = replace(
            self._ticket.call,
            outcome=outcome,
            response_model=answer.model,
            response_id=answer.id,
            finish_reason=answer.finish_reason,
            service_tier=answer.service_tier,
            usage=answer.usage,
            first_token_at=self._reception.first_token_at,
            ended_at=datetime.now(UTC),
            bytes_out=self._reception.bytes_out,
            http_status=self._reception.status,
            refused_by=refused_by,
        )
        return call, below(call, answer.sub_calls)


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
    stated = _number(sent.headers.get("x-stainless-retry-count"))
    retries = stated if stated <= MAX_RETRIES else 0
    link = sent.extensions.get(LINK) or (_link.get() if retries else None) or id_
    sent.extensions[LINK] = link
    _link.set(link)
    return retries + 1, link


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 16 else 0

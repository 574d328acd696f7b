"""Delivered bytes as calls that the books can hold, or with the reason why they can't."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import repeat

from accounting.errors import CallInvalid
from accounting.money import Money
from accounting.ports import Entry
from accounting.stated import Mark, StatedAs
from accounting.usage import APART, COUNTED, MAX_COUNT, Call, clean, counted, id_time

AHEAD = timedelta(hours=24)
"""A call from further in the future comes from a wrong clock, and would be billed in a period yet to come."""

MAX_KEY = 2_400
"""Bytes of the texts that together find a row: PostgreSQL indexes no more than 2,704, with all that goes with them."""

MAX_ANOMALIES = 100
"""Of one call: each adds a row to the sums."""

_OLDEST = datetime(2000, 1, 1, tzinfo=UTC)
_MAX_REASON = 2000
_FINGERPRINT = re.compile("[0-9a-f]{64}")
_MAX_INTEGER = 2**31 - 1
_DIGITS, _DECIMALS = 15, 30


@dataclass(frozen=True, slots=True)
class Read:
    """An entry with a call that can be stored."""

    number: int
    payload: bytes
    digest: bytes
    call: Call


@dataclass(frozen=True, slots=True)
class Refused:
    """An entry without one, and why."""

    number: int
    payload: bytes
    digest: bytes
    reason: str


Looked = Read | Refused


def look(entry: Entry, now: datetime) -> Looked:
    """What the entry is to the books, before they are asked."""
    digest = hashlib.sha256(entry.payload).digest()
    try:
        call = Call.decode(entry.payload)
        refuse_implausible(call, now)
    except CallInvalid as error:
        return Refused(entry.number, entry.payload, digest, reason(str(error)))
    return Read(entry.number, entry.payload, digest, call)


def refused(looked: Looked, why: str) -> Refused:
    """The entry, given up for that reason."""
    return Refused(looked.number, looked.payload, looked.digest, why)


def reason(text: str) -> str:
    """The text as it is kept with what was refused."""
    return str(clean(text, _MAX_REASON))


def refuse_implausible(call: Call, now: datetime) -> None:
    """Raise `CallInvalid` for a call that was read, but is none that books on either database can hold."""
    if call.outcome is None:
        raise CallInvalid("outcome: missing; a call is delivered once it has one")
    _refuse_strange_time(call, now)
    if call.parent_id == call.id:
        raise CallInvalid(
            f"parent_id: {call.id} is the call itself; expected the call that it was made inside, or none"
        )
    for name, count, most in _bounded(call):
        if count is not None and count > most:
            raise CallInvalid(f"{name}: {count} is more than {most}")
    _refuse_strange_cost(call.usage.provider_cost)
    # Nothing else may get in under this name: whatever it was, it could be a key.
    if call.key_fingerprint and not _FINGERPRINT.fullmatch(call.key_fingerprint):
        raise CallInvalid("key_fingerprint: no SHA-256 in 64 lower-case hex digits; expected one, or nothing")
    for name, texts in _keys(call):
        # A character has at most four bytes.
        if 4 * sum(map(len, texts)) > MAX_KEY and (size := sum(len(text.encode()) for text in texts)) > MAX_KEY:
            raise CallInvalid(f"{name}: {size:,} bytes; expected at most {MAX_KEY:,}")


def _refuse_strange_time(call: Call, now: datetime) -> None:
    if call.id.version != 7:
        raise CallInvalid(f"id: {call.id} is no UUIDv7")
    limit = now + AHEAD
    if call.id.int >> 80 > int(limit.timestamp() * 1000) or call.started_at > limit:
        raise CallInvalid(f"id {call.id}, started_at {call.started_at}: more than 24 h ahead of {now}; check the clock")
    if call.started_at < _OLDEST:
        raise CallInvalid(f"started_at: {call.started_at} is before {_OLDEST:%Y}; check the clock")
    if abs(id_time(call.id) - call.started_at) > APART:
        raise CallInvalid(
            f"id {call.id} is of {id_time(call.id)}, started_at is {call.started_at}: more than a minute apart; "
            "expected an id made as the call began"
        )


def _refuse_strange_cost(cost: Money | None) -> None:
    exponent = cost.amount.as_tuple().exponent if cost else 0
    if cost and not (isinstance(exponent, int) and exponent >= -_DECIMALS and cost.amount.adjusted() < _DIGITS):
        raise CallInvalid(
            f"provider_cost: {cost.amount:.3e}; expected an amount below 10^{_DIGITS} of at most {_DECIMALS} decimals"
        )


def _bounded(call: Call) -> Iterator[tuple[str, int | None, int]]:
    counts = counted(call.usage)
    if max(filter(None, counts), default=0) > MAX_COUNT:  # all at once, as every call is looked at
        yield from zip(COUNTED, counts, repeat(MAX_COUNT), strict=False)
    yield "anomalies", len(call.usage.anomalies), MAX_ANOMALIES
    yield "attempt", call.attempt, _MAX_INTEGER
    yield "http_status", call.http_status, _MAX_INTEGER


def _keys(call: Call) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The texts by which rows are found: a call that makes one too long could be stored, but never rolled up."""
    yield "provider, model and effort", (call.provider, call.model, call.effort or "")
    yield "project", (call.project or "",)
    yield "user", (call.user or "",)
    yield "refused_by", (call.refused_by or "",)
    if cost := call.usage.provider_cost:
        yield "provider and model", (str(Mark(StatedAs.OTHER_CURRENCY, cost.currency, call.provider, call.model)),)
    yield from (("tags", pair) for pair in call.tags.items())
    yield from (("anomalies", (anomaly,)) for anomaly in call.usage.anomalies)

"""Single calls as they stand in the books: listed page by page, or followed as they come in."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import date
from difflib import get_close_matches
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection

from accounting import periods, ratebook
from accounting.anomalies import NAMES, meaning
from accounting.contributions import ANOMALY, ESTIMATES
from accounting.errors import ConfigurationError
from accounting.money import Money
from accounting.rates import UNPRICED, Rate, is_unknown, likely_cost, price
from accounting.spend import unknown
from accounting.stated import StatedAs
from accounting.store import each_pair, each_text, ratelines
from accounting.store.tables import batches, calls, former_project_names, keys, projects, spend_by_tag
from accounting.usage import COUNTED, Call, Outcome, Usage, UsageSource

PAGE = 1_000
"""So many calls are held at a time while a long list is read."""

_BEHIND = 1_000
"""So far behind the newest batch one may still come in sight: its number is drawn before its transaction ends."""

BATCHES = 100
"""So many are read at a time."""

_ID_DIGITS = 32

_EPOCH = date(1970, 1, 1).toordinal()
_DAY_MS = 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which single calls to list; None: any.

    Days as in `spend`. A project also goes by a name it had before; a key by its name, its last four or its
    fingerprint's start. A call must have all of the tags, each with the value, or with any where that is None.
    `refused` ones are those that a budget refused, whichever; `refused_by` is the name of one.
    """

    first: date | None = None
    end: date | None = None
    zone: ZoneInfo | None = None
    project: str | None = None
    key: str | None = None
    provider: str | None = None
    model: str | None = None
    outcome: Outcome | None = None
    user: str | None = None
    tags: tuple[tuple[str, str | None], ...] = ()
    anomaly: str | None = None
    stated_as: StatedAs | None = None
    refused: bool = False
    refused_by: str | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """Tokens that a call likely used beyond what was stated, and what they cost at its rate, if there is one."""

    input_tokens: int
    output_tokens: int
    cost: Money | None


@dataclass(frozen=True, slots=True)
class BookedCall:
    """A call as it stands in the books: under the project that pays, and with what it cost.

    `cost` is None where nobody can say: no rate, no price for anything it used, or no usage of a call that did not
    fail; `estimate` is never part of it. `key_name` is what people call its key. `stated_as` says how a cost that its
    provider stated stands to ours.
    """

    call: Call
    billed_on: date
    cost: Money | None
    key_name: str | None = None
    estimate: Estimate | None = None
    stated_as: str | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """Batches that a follower has had: all up to `upto`, and of the later ones those in `ids`."""

    upto: int = 0
    ids: frozenset[int] = frozenset()


def listed(conn: Connection, selection: Selection, limit: int = 50, before: UUID | None = None) -> list[BookedCall]:
    """Single calls, the newest first; `before` is the id of the last one on the page above."""
    page = _selected(selection).order_by(calls.c.id.desc()).limit(limit)
    return _booked(conn, page if before is None else page.where(calls.c.id < before))


def of(conn: Connection, ids: Collection[UUID]) -> list[BookedCall]:
    """The calls of these ids, in their order; one that is not in the books is left out."""
    return _booked(conn, _selected(Selection()).where(calls.c.id.in_(ids)).order_by(calls.c.id))


def ids_from(conn: Connection, beginning: str, limit: int) -> list[UUID]:
    """Of calls whose ids begin so, in their order; `beginning` is in hexadecimal, without hyphens."""
    first, last = (UUID(beginning.ljust(_ID_DIGITS, fill)) for fill in "0f")
    found = sa.select(calls.c.id).where(calls.c.id.between(first, last)).order_by(calls.c.id).limit(limit)
    return list(conn.scalars(found))


def rate_of(conn: Connection, call_id: UUID) -> Rate | None:
    """The rate by which a call is priced; None where it has none."""
    rate_id = conn.scalar(sa.select(calls.c.rate_id).where(calls.c.id == call_id))
    return next(iter(ratelines.read(conn, withdrawn=True, ids=[rate_id or UNPRICED])), None)


def every(conn: Connection, selection: Selection, before: UUID | None = None) -> Iterator[BookedCall]:
    """All of them, the newest first, however many: no more than a page is held at a time."""
    while page := listed(conn, selection, PAGE, before):
        yield from page
        before = page[-1].call.id


def refuse_unknown_anomaly(conn: Connection, name: str) -> None:
    """Raises `ConfigurationError` for a name that neither this version nor a call in the books has for one."""
    if meaning(name) is not None or name in (held := _anomalies(conn)):
        return
    near = get_close_matches(name, sorted({*NAMES, *held}), n=3, cutoff=0.5)
    hint = f" Near it: {', '.join(near)}." if near else ""
    raise ConfigurationError(f"There is no anomaly {name!r}.{hint} See accounting report --by anomaly")


def _anomalies(conn: Connection) -> set[str]:
    """All that calls have, by the sums and by the calls that are in none yet."""
    each = each_text(calls.c.anomalies)
    waiting = sa.select(each.c.value).select_from(calls.join(batches, batches.c.id == calls.c.batch_id), each)
    summed = sa.select(spend_by_tag.c.value).where(spend_by_tag.c.tag == ANOMALY)
    return set(conn.scalars(sa.union(summed, waiting.where(batches.c.rolled_at.is_(None)))))


def seen(conn: Connection) -> Seen:
    """The batches that are there by now."""
    upto = (conn.scalar(sa.select(sa.func.max(batches.c.id))) or 0) - _BEHIND
    return Seen(upto, frozenset(conn.scalars(sa.select(batches.c.id).where(batches.c.id > upto))))


def newly_booked(conn: Connection, selection: Selection, had: Seen) -> tuple[list[BookedCall], Seen]:
    """Calls of batches that were not there before, the oldest first, and what has been had with them.

    Of many batches some; there may be more while what has been had moves on. On PostgreSQL batches don't come in
    sight in the order of their numbers, so not only the newest are looked at. A call that a later outcome changed is
    not new.
    """
    there = frozenset(conn.scalars(sa.select(batches.c.id).where(batches.c.id > had.upto)))
    fresh = sorted(there - had.ids)[:BATCHES]
    if not fresh:
        return [], had
    found = _booked(conn, _selected(selection).where(calls.c.batch_id.in_(fresh)).order_by(calls.c.id))
    ids = had.ids.union(fresh)
    upto = max(had.upto, max(ids) - _BEHIND)
    return found, Seen(upto, frozenset(id_ for id_ in ids if id_ > upto))


def _selected(selection: Selection) -> sa.Select[Any]:
    columns = (calls, projects.c.name.label("project"), keys.c.fingerprint, keys.c.last4, keys.c.name.label("key_name"))
    return (
        sa.select(*columns)
        .outerjoin(projects, projects.c.id == calls.c.project_id)
        .outerjoin(keys, keys.c.id == calls.c.key_id)
        .where(*_of_days(selection), *_of_kind(selection))
    )


def _of_days(selection: Selection) -> list[ColumnElement[bool]]:
    zone = selection.zone
    time = calls.c.billed_on if zone is None else calls.c.started_at
    where: list[ColumnElement[bool]] = []
    # An id begins with the call's start, so it finds the days by the table's order, whatever their zone.
    if selection.first is not None:
        where += [time >= _start(selection.first, zone), calls.c.id >= _id_around(selection.first, -1)]
    if selection.end is not None:
        where += [time < _start(selection.end, zone), calls.c.id < _id_around(selection.end, +1)]
    return where


def _of_kind(selection: Selection) -> list[ColumnElement[bool]]:
    wanted = {
        calls.c.provider: selection.provider,
        calls.c.model: selection.model,
        calls.c.outcome: selection.outcome,
        calls.c.end_user: selection.user,
        calls.c.stated_as: selection.stated_as,
        calls.c.refused_by: selection.refused_by,
    }
    where: list[ColumnElement[bool]] = [column == value for column, value in wanted.items() if value is not None]
    where += [_has_tag(name, value) for name, value in selection.tags]
    where += [calls.c.refused_by.is_not(None)] if selection.refused else []
    where += [] if selection.anomaly is None else [_has_anomaly(selection.anomaly)]
    where += [] if selection.project is None else [_project_goes_by(selection.project)]
    return where + ([] if selection.key is None else [_key_goes_by(selection.key)])


def _has_tag(name: str, value: str | None) -> ColumnElement[bool]:
    pair = each_pair(calls.c.tags)
    this = [pair.c.key == name] + ([] if value is None else [pair.c.value == value])
    return sa.exists(sa.select(sa.literal(1)).select_from(pair).where(*this).correlate(calls))


def _has_anomaly(name: str) -> ColumnElement[bool]:
    each = each_text(calls.c.anomalies)
    return sa.exists(sa.select(sa.literal(1)).select_from(each).where(each.c.value == name).correlate(calls))


def _project_goes_by(name: str) -> ColumnElement[bool]:
    """Whether a project is meant by the text: its name, or one it had before."""
    before = sa.select(former_project_names.c.project_id).where(former_project_names.c.name == name)
    return sa.or_(projects.c.name == name, projects.c.id.in_(before))


def _key_goes_by(text: str) -> ColumnElement[bool]:
    """Whether a key is meant by the text: its name, its last four, or the start of its fingerprint."""
    start = keys.c.fingerprint.startswith(text, autoescape=True) if text else keys.c.fingerprint == ""
    return sa.or_(keys.c.name == text, keys.c.last4 == text, start)


def _start(day: date, zone: ZoneInfo | None) -> date:
    return day if zone is None else periods.midnight(day, zone)


def _id_around(day: date, days: int) -> UUID:
    """The least id of a call so many days off the day's midnight in UTC: a day is more than any zone is off it."""
    milliseconds = (day.toordinal() + days - _EPOCH) * _DAY_MS
    return UUID(int=max(milliseconds, 0) << 80)


def _booked(conn: Connection, chosen: sa.Select[Any]) -> list[BookedCall]:
    rates = {rate.id: rate for rate in ratebook.rates(conn)}
    return [_read(row, rates) for row in conn.execute(chosen).mappings()]


_ALIKE = [f.name for f in fields(Call) if f.name in calls.c and f.name not in ("outcome", "effort")]


def _read(row: Mapping[Any, Any], rates: Mapping[int, Rate]) -> BookedCall:
    alike: dict[str, Any] = {name: row[name] for name in _ALIKE}
    call = Call(
        **alike,
        outcome=Outcome(row["outcome"]),
        effort=row["effort"] or None,
        project=row["project"] or unknown("project", row["project_id"]),
        user=row["end_user"],
        key_fingerprint=unknown("key", row["key_id"]) if row["fingerprint"] is None else row["fingerprint"],
        key_last4=row["last4"] or "",
        usage=_usage(row),
    )
    rate = rates.get(row["rate_id"])
    cost, estimate = _cost(call, rate), _estimate(row, rate)
    return BookedCall(call, row["billed_on"], cost, row["key_name"], estimate, row["stated_as"])


def _usage(row: Mapping[Any, Any]) -> Usage:
    stated = row["provider_cost"]
    return Usage(
        **{name: row[name] for name in COUNTED},
        source=UsageSource(row["usage_source"]),
        anomalies=tuple(row["anomalies"]),
        block=row["usage_block"],
        provider_cost=None if stated is None else Money(stated, row["provider_cost_currency"]),
    )


def _estimate(row: Mapping[Any, Any], rate: Rate | None) -> Estimate | None:
    stated = [row[name] for name in ESTIMATES]
    if stated == [None, None]:
        return None
    tokens_in, tokens_out = (count or 0 for count in stated)
    return Estimate(tokens_in, tokens_out, None if rate is None else likely_cost(tokens_in, tokens_out, rate))


def _cost(call: Call, rate: Rate | None) -> Money | None:
    without = call.usage.source is UsageSource.MISSING and call.outcome is not Outcome.FAILED
    if rate is None or without or is_unknown(call.usage.quantities, rate):
        return None
    return price(call.usage.quantities, rate)

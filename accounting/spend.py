"""What was spent, and on what: the one place where quantities become the money of a report.

Reads the spend tables, so a month costs the same to read for a thousand calls or a billion. Every line and the
total say what they may hide: calls without usage, without a rate, interrupted, open, or not delivered yet.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy import Connection

from accounting import periods, ratebook
from accounting.contributions import COUNTS, TOKENS
from accounting.errors import ConfigurationError
from accounting.money import Money, by_currency
from accounting.rates import UNPRICED, Rate, price
from accounting.sources import Completeness, complete_until
from accounting.store import ratelines, tables
from accounting.store.tables import keys, projects, spend_days, spend_quarters
from accounting.usage import Call, Outcome, Quantities, Usage, UsageSource

BY = ("key", "project", "model", "provider", "day", "month", "effort")
"""What a report can be grouped by."""

_NONE = Quantities()
_EPOCH = date(1970, 1, 1).toordinal()
_DAY_MS = 24 * 60 * 60 * 1000
_IN_TIME = ("day", "month")
_COLUMNS = {"key": "key_id", "project": "project_id"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendLine:
    """Spend of one group.

    `id` tells groups apart where `group`, its label, need not: a key's fingerprint. `calls` includes `failed`,
    `interrupted` and `unknown` ones. `usage_missing` calls didn't fail and yet nobody said what they used, of
    `usage_partial` ones only a part is known; `unpriced` ones used something that no rate covers. `spent` leaves out
    what is not known.
    """

    group: str
    id: str
    calls: int = 0
    failed: int = 0
    interrupted: int = 0
    unknown: int = 0
    usage_missing: int = 0
    usage_partial: int = 0
    unpriced: int = 0
    quantities: Quantities = _NONE
    spent: Mapping[str, Decimal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UnpricedModel:
    """Calls that used something and have no rate, by the names that a rate card must give; `has_rate` by now."""

    provider: str
    model: str
    calls: int
    has_rate: bool


@dataclass(frozen=True, slots=True)
class Report:
    """Lines that add up to the total, and how far in time the total is complete.

    `rejected` delivered calls could not be read and `conflicts` came again with other contents; both are counted
    over all time, are kept with their bytes, and are in no line.
    """

    by: str
    lines: tuple[SpendLine, ...]
    total: SpendLine
    completeness: Completeness
    rejected: int = 0
    conflicts: int = 0
    unpriced_models: tuple[UnpricedModel, ...] = ()


@dataclass(frozen=True, slots=True)
class Key:
    """An API key as the books know it; the key itself is nowhere in them."""

    fingerprint: str
    last4: str

    @property
    def label(self) -> str:
        if self.fingerprint.startswith("("):  # in place of one: see `_unknown`
            return self.fingerprint
        return f"…{self.last4} ({self.fingerprint[:8]})" if self.fingerprint else "(no key)"


def spend(
    conn: Connection,
    by: str,
    first: date | None,
    end: date | None,
    zone: ZoneInfo | None = None,
    *,
    now: datetime,
) -> Report:
    """Spend of the days from `first`, included, to `end`, left out (None: open), grouped by one of `BY`.

    Days are the books' own, or the zone's. Days and months come in order of time, all else by what was spent,
    the most first. Only what is rolled up counts; the total's completeness says what is not.
    """
    if by not in BY:
        raise ConfigurationError(f"Can't group by {by!r}; expected one of {', '.join(BY)}.")
    rates = {rate.id: rate for rate in ratebook.rates(conn)}
    named = _naming(conn, by, zone)
    parts: dict[tuple[str, str], list[SpendLine]] = {}
    for row in conn.execute(_quantities(by, first, end, zone)).mappings():
        group, id_ = named(row["subject"])
        parts.setdefault((id_, group), []).append(_line(group, id_, row, rates))
    lines = [added(group, id_, some) for (id_, group), some in parts.items()]
    total = added("total", "", lines)
    return Report(
        by=by,
        lines=tuple(_ordered(lines, by, total)),
        total=total,
        completeness=complete_until(conn, now),
        rejected=_size(conn, tables.rejected),
        conflicts=_size(conn, tables.conflicts),
        unpriced_models=unpriced_models(conn, now, first, end, zone) if total.unpriced else (),
    )


def unpriced_models(
    conn: Connection, now: datetime, first: date | None = None, end: date | None = None, zone: ZoneInfo | None = None
) -> tuple[UnpricedModel, ...]:
    """What the unpriced calls of the days were of, the most calls first; left out are those that named no model."""
    table = spend_days if zone is None else spend_quarters
    group, count = (table.c.provider, table.c.model), sa.func.sum(table.c.calls)
    unpriced = (table.c.rate_id == UNPRICED, table.c.usage_source != UsageSource.MISSING, table.c.model != "")
    chosen = sa.select(*group, count).where(*unpriced).group_by(*group).order_by(count.desc(), *group)
    rows = conn.execute(_within(chosen, first, end, zone)).all()
    # Not from a `RateBook`: it refuses lines that contradict each other, and the report must come all the same.
    held = ratelines.read(conn, withdrawn=False, providers={provider for provider, _, _ in rows})
    rated = {(rate.provider, rate.model) for rate in held if now in rate.period}
    return tuple(
        UnpricedModel(provider, model, int(calls), (provider, model) in rated) for provider, model, calls in rows
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which single calls to list; None: any. Days as in `spend`; `key` is the last four or a fingerprint's start."""

    first: date | None = None
    end: date | None = None
    zone: ZoneInfo | None = None
    project: str | None = None
    key: str | None = None
    provider: str | None = None
    model: str | None = None
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class BookedCall:
    """A call as it stands in the books: under the project that pays, and with what it cost.

    `cost` is None where nobody can say: no rate, or no usage of a call that did not fail.
    """

    call: Call
    billed_on: date
    cost: Money | None


def calls(conn: Connection, selection: Selection, limit: int = 50, before: UUID | None = None) -> list[BookedCall]:
    """Single calls, the newest first; `before` is the id of the last one on the page above."""
    rates = {rate.id: rate for rate in ratebook.rates(conn)}
    chosen = _selected(selection).order_by(tables.calls.c.id.desc()).limit(limit)
    if before is not None:
        chosen = chosen.where(tables.calls.c.id < before)
    return [_booked(row, rates) for row in conn.execute(chosen).mappings()]


def added(group: str, id_: str, lines: Iterable[SpendLine]) -> SpendLine:
    """The sum of the lines, each currency by itself."""
    some = list(lines)
    return SpendLine(
        group=group,
        id=id_,
        calls=sum(line.calls for line in some),
        failed=sum(line.failed for line in some),
        interrupted=sum(line.interrupted for line in some),
        unknown=sum(line.unknown for line in some),
        usage_missing=sum(line.usage_missing for line in some),
        usage_partial=sum(line.usage_partial for line in some),
        unpriced=sum(line.unpriced for line in some),
        quantities=Quantities(*(sum(counts) for counts in zip(*(line.quantities for line in some), strict=True))),
        spent=by_currency(Money(amount, code) for line in some for code, amount in line.spent.items()),
    )


def project_names(conn: Connection) -> dict[int, str]:
    """Names of the projects, by id."""
    return {project.id: project.name for project in conn.execute(sa.select(projects.c.id, projects.c.name))}


def known_keys(conn: Connection) -> dict[int, Key]:
    """The keys that have made calls, by id."""
    return {key.id: Key(key.fingerprint, key.last4) for key in conn.execute(sa.select(keys))}


def _quantities(by: str, first: date | None, end: date | None, zone: ZoneInfo | None) -> sa.Select[Any]:
    """Counts and tokens by subject, rate and source of usage: all that cost and the warnings depend on."""
    table = spend_days if zone is None else spend_quarters
    time = spend_days.c.billed_on if zone is None else spend_quarters.c.quarter
    subject = time if by in _IN_TIME else table.c[_COLUMNS.get(by, by)]
    group = (subject.label("subject"), table.c.rate_id, table.c.usage_source)
    sums = (sa.func.sum(table.c[name]).label(name) for name in (*COUNTS, *TOKENS))
    return _within(sa.select(*group, *sums).group_by(subject, table.c.rate_id, table.c.usage_source), first, end, zone)


def _within(chosen: sa.Select[Any], first: date | None, end: date | None, zone: ZoneInfo | None) -> sa.Select[Any]:
    """Of a spend table: of days in the books' own zone, else of quarter hours."""
    time = spend_days.c.billed_on if zone is None else spend_quarters.c.quarter
    if first is not None:
        chosen = chosen.where(time >= _start(first, zone))
    if end is not None:
        chosen = chosen.where(time < _start(end, zone))
    return chosen


def _start(day: date, zone: ZoneInfo | None) -> date:
    return day if zone is None else periods.midnight(day, zone)


def _line(group: str, id_: str, row: Mapping[Any, Any], rates: Mapping[int, Rate]) -> SpendLine:
    calls, failed, interrupted, unknown, *tokens = (int(row[name]) for name in (*COUNTS, *TOKENS))
    rate = rates.get(row["rate_id"])
    missing = row["usage_source"] == UsageSource.MISSING
    quantities = Quantities(*tokens)
    return SpendLine(
        group=group,
        id=id_,
        calls=calls,
        failed=failed,
        interrupted=interrupted,
        unknown=unknown,
        usage_missing=calls - failed if missing else 0,
        usage_partial=calls if row["usage_source"] == UsageSource.PARTIAL else 0,
        unpriced=calls if rate is None and not missing else 0,
        quantities=quantities,
        spent={} if rate is None else by_currency([price(quantities, rate)]),
    )


def _naming(conn: Connection, by: str, zone: ZoneInfo | None) -> Callable[[Any], tuple[str, str]]:
    """What turns a subject of the spend tables into a group's label and id."""
    if by == "key":
        known = known_keys(conn)
        return lambda id_: (known[id_].label, known[id_].fingerprint) if id_ in known else (_unknown(by, id_),) * 2
    if by == "project":
        names = project_names(conn)
        return lambda id_: (names.get(id_) or _unknown(by, id_),) * 2
    if by in _IN_TIME:
        digits = len("2026-11" if by == "month" else "2026-11-23")
        return lambda at: (_day(at, zone).isoformat()[:digits],) * 2
    return lambda name: (name or f"(no {by})", name)


def _unknown(what: str, id_: int) -> str:
    """The label of an id that nothing in the books goes by, as after a careless edit; `accounting verify` names it."""
    return f"(unknown {what} {id_})"


def _day(at: Any, zone: ZoneInfo | None) -> date:
    return at if zone is None else periods.billed_on(at, zone)


def _size(conn: Connection, table: sa.Table) -> int:
    return conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


def _ordered(lines: list[SpendLine], by: str, total: SpendLine) -> list[SpendLine]:
    if by in _IN_TIME:
        return sorted(lines, key=lambda line: line.id)
    return sorted(lines, key=lambda line: ([-line.spent.get(code, 0) for code in total.spent], line.group, line.id))


def _selected(selection: Selection) -> sa.Select[Any]:
    zone = selection.zone
    time = tables.calls.c.billed_on if zone is None else tables.calls.c.started_at
    wanted = {
        projects.c.name: selection.project,
        tables.calls.c.provider: selection.provider,
        tables.calls.c.model: selection.model,
        tables.calls.c.outcome: selection.outcome,
    }
    where = [column == value for column, value in wanted.items() if value is not None]
    # An id begins with the call's start, so it finds the days by the table's order, whatever their zone.
    if selection.first is not None:
        where += [time >= _start(selection.first, zone), tables.calls.c.id >= _id_around(selection.first, -1)]
    if selection.end is not None:
        where += [time < _start(selection.end, zone), tables.calls.c.id < _id_around(selection.end, +1)]
    if selection.key is not None:
        start = keys.c.fingerprint.startswith(selection.key, autoescape=True)
        where.append((keys.c.last4 == selection.key) | start)
    columns = (tables.calls, projects.c.name.label("project"), keys.c.fingerprint, keys.c.last4)
    return (
        sa.select(*columns)
        .outerjoin(projects, projects.c.id == tables.calls.c.project_id)
        .outerjoin(keys, keys.c.id == tables.calls.c.key_id)
        .where(*where)
    )


def _id_around(day: date, days: int) -> UUID:
    """The least id of a call so many days off the day's midnight in UTC: a day is more than any zone is off it."""
    milliseconds = (day.toordinal() + days - _EPOCH) * _DAY_MS
    return UUID(int=max(milliseconds, 0) << 80)


_ALIKE = [f.name for f in fields(Call) if f.name in tables.calls.c and f.name not in ("outcome", "effort")]


def _booked(row: Mapping[Any, Any], rates: Mapping[int, Rate]) -> BookedCall:
    alike: dict[str, Any] = {name: row[name] for name in _ALIKE}
    call = Call(
        **alike,
        outcome=Outcome(row["outcome"]),
        effort=row["effort"] or None,
        project=row["project"] or _unknown("project", row["project_id"]),
        user=row["end_user"],
        key_fingerprint=_unknown("key", row["key_id"]) if row["fingerprint"] is None else row["fingerprint"],
        key_last4=row["last4"] or "",
        usage=_usage(row),
    )
    return BookedCall(call, row["billed_on"], _cost(call, rates.get(row["rate_id"])))


def _usage(row: Mapping[Any, Any]) -> Usage:
    stated = row["provider_cost"]
    return Usage(
        **{name: row[name] for name in TOKENS},
        source=UsageSource(row["usage_source"]),
        anomalies=tuple(row["anomalies"]),
        block=row["usage_block"],
        provider_cost=None if stated is None else Money(stated, row["provider_cost_currency"]),
    )


def _cost(call: Call, rate: Rate | None) -> Money | None:
    unknown = call.usage.source is UsageSource.MISSING and call.outcome is not Outcome.FAILED
    return None if rate is None or unknown else price(call.usage.quantities, rate)

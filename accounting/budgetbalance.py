"""Budgets held against the books: what their calls cost, and what is set aside while nobody knows what one costs.

Whole periods at a time, each budget in one snapshot. What calls cost comes from the sums of days, so it takes as long
for many calls as for few; whether these sums are right is `balance`'s to say.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection

from accounting import backfill, budgetlimits, budgetperiods, projects, scoped
from accounting.budgetlimits import Limits
from accounting.budgetperiods import Period, Place
from accounting.budgets import Budget
from accounting.cycles import Span
from accounting.differences import Difference, Repaired, raw, text
from accounting.money import EXACT, ZERO, exact
from accounting.scopes import Kind
from accounting.settling import HELD, RESERVED
from accounting.store import Lock, database_now, hold
from accounting.store.tables import budget_periods, calls, rates, reservations
from accounting.usage import Outcome, UsageSource, id_time

PERIODS, ASIDES = budget_periods.name, reservations.name

_LATEST = date(9990, 1, 1)
"""No call is billed later; a period of this day still ends on one."""

_DAY = timedelta(days=1)
_ROWS_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Chosen:
    """Days from `first`, included, to `end`, left out; None: open."""

    first: date | None = None
    end: date | None = None


ALL = Chosen()


class Aside(NamedTuple):
    """What is set aside for a call in a period, as it stands in the books: the id raw, NaN for what is no amount."""

    call_id: str
    period_id: int
    amount: Decimal
    state: str

    @property
    def is_sound(self) -> bool:
        return self.is_amount and self.state in (RESERVED, HELD)

    @property
    def is_amount(self) -> bool:
        return self.amount.is_finite() and self.amount >= 0


@dataclass(frozen=True, slots=True)
class Row:
    """A period as it stands in the books: what it says by column, with NaN for what is no number."""

    id: int
    says: Mapping[str, Any]


class Wrong(NamedTuple):
    """A figure of a period that is not what the rest of the books says."""

    column: str
    expected: Any
    found: Any


@dataclass(frozen=True)
class Look:
    """A budget in the books at one time: its periods in these days, what they should say, what is set aside in them.

    `limits` are those of its periods. `spent` are the periods in which calls count, by the day that they begin on.
    `over` is set aside for calls of which the books know what they cost; `odd` is no amount, or of no state.
    """

    budget: Budget
    days: Chosen
    today: date
    limits: Limits
    rows: Sequence[Row]
    spent: Mapping[str, Period]
    sums: Mapping[tuple[int, str], Decimal]
    over: Sequence[Aside]
    odd: Sequence[Aside]

    @cached_property
    def homes(self) -> dict[int, str]:
        """The day that a period begins on, by id; of those that begin on no such day, the one that their end says."""
        sound = {row.id: row.says["begins_on"] for row in self.rows if self._begins(row.says["begins_on"])}
        for row in self.rows:
            home = None if row.id in sound else self._home(row)
            if home is not None and home not in sound.values():
                sound[row.id] = home
        return sound

    @property
    def strays(self) -> list[Row]:
        """Those that are no period of the budget, nor can be made one."""
        return [row for row in self.rows if row.id not in self.homes]

    @property
    def missing(self) -> list[Period]:
        """Those that have no row, and calls that count."""
        there = {*self.homes.values()}
        return [period for begins_on, period in self.spent.items() if begins_on not in there and _counts(period)]

    def wrong(self, row: Row) -> list[Wrong]:
        """What the row of a period does not say as it should; those of a stray are nobody's to tell."""
        if row.id not in self.homes:
            return []
        return [Wrong(name, value, row.says[name]) for name, value in self._due(row) if row.says[name] != value]

    def _due(self, row: Row) -> Iterator[tuple[str, Any]]:
        """What the period should say, as far as the books know that."""
        begins_on = self.homes[row.id]
        ends_on = self.budget.cycle.span(date.fromisoformat(begins_on)).end
        yield "begins_on", begins_on
        yield "ends_on", _text(ends_on)
        yield "amount", self.limits.of(ends_on)
        period = self.spent.get(begins_on)
        for name in _SPENT:
            yield name, getattr(period, name) if period else 0
        for state in (RESERVED, HELD):
            yield state, self.sums.get((row.id, state), ZERO)
        overrun = row.says["overrun"]
        yield "overrun", overrun if overrun.is_finite() and overrun >= 0 else ZERO

    def _begins(self, begins_on: Any) -> bool:
        day = _day(begins_on)
        return day is not None and budgetperiods.place(self.budget, day) == Place(self.budget.id, day)

    def _home(self, row: Row) -> str | None:
        ends_on, cycle = row.says["ends_on"], self.budget.cycle
        last = self.budget.counted_from if ends_on is None else _day(ends_on, -_DAY)
        if last is None or last < self.budget.counted_from:
            return None
        span = cycle.span(last)
        is_there = span.first in Span(self.days.first or span.first, self.days.end)
        return span.first.isoformat() if is_there and _text(span.end) == ends_on else None


def differences(conn: Connection, budget: Budget, days: Chosen = ALL) -> list[Difference]:
    """What the budget says otherwise than the books, in its periods of which one of the days is."""
    try:
        look = _look(conn, budget, days)
    except _UNREADABLE as fault:
        told = f"unreadable in the books ({fault})"
        return [Difference(PERIODS, f"budget {budget.name}", "spent", "what its calls cost", told)]
    return list(_told(look))


_UNREADABLE = (LookupError, ValueError, ArithmeticError)
"""What comes of sums that name a rate that is not there, a day that is none, or a number that is none."""


def _told(look: Look) -> Iterator[Difference]:
    for row in look.rows:
        key = _key(look.budget, row.says["begins_on"])
        for wrong in look.wrong(row):
            yield Difference(PERIODS, key, wrong.column, text(wrong.expected), text(wrong.found))
        if row.id not in look.homes:
            yield Difference(PERIODS, key, "begins_on", "the first day of a period", text(row.says["begins_on"]))
    for period in look.missing:
        for name in _SPENT:
            if figure := getattr(period, name):
                key = _key(look.budget, period.place.begins_on.isoformat())
                yield Difference(PERIODS, key, name, text(figure), "nothing")
    for aside in look.over:
        key = f"budget {look.budget.name}, call {_id(aside)}"
        yield Difference(ASIDES, key, aside.state, "nothing: it is known what the call cost", text(aside.amount))
    for aside in look.odd:
        key = f"budget {look.budget.name}, call {_id(aside)}"
        yield Difference(ASIDES, key, "amount", "0 or more, reserved or held", f"{text(aside.amount)}, {aside.state}")


def _key(budget: Budget, begins_on: Any) -> str:
    return f"budget {budget.name}, the period from {begins_on}"


def _id(aside: Aside) -> str:
    try:
        return str(UUID(aside.call_id))
    except ValueError:
        return aside.call_id


def repair(conn: Connection, budget: Budget, days: Chosen = ALL) -> dict[str, Repaired]:
    """Have the budget say what the books say, in its periods of which one of the days is; by table, what was not so.

    What is set aside is put right first, and the periods say what is left of it. Nothing comes into the books, and
    nothing is rolled up, until the transaction ends: see `backfill.fill`.
    """
    hold(conn, Lock.INGEST)
    hold(conn, Lock.ROLLUP)
    conn.execute(_ids(budget, days).with_for_update())
    try:
        asides = _put_asides_right(conn, _look(conn, budget, days))
        look = _look(conn, budget, days)
    except _UNREADABLE:
        return {}  # the next `verify` says what there is that nobody can read
    return {ASIDES: asides, PERIODS: _put_periods_right(conn, look)}


def _put_asides_right(conn: Connection, look: Look) -> Repaired:
    gone = [*look.over, *(aside for aside in look.odd if not aside.is_amount and aside not in look.over)]
    stateless = [aside for aside in look.odd if aside.is_amount and aside not in look.over]
    for aside in gone:
        conn.execute(sa.delete(reservations).where(_this(aside)))
    for aside in stateless:
        # The provider may have charged: what is of no state is not free.
        conn.execute(sa.update(reservations).where(_this(aside)).values(state=HELD))
    homeless = [aside for row in look.strays for aside in _asides(conn, reservations.c.period_id == row.id)]
    homed = sum(_take_home(conn, look, aside) for aside in homeless)
    return Repaired(wrong=len(stateless) + homed, stray=len(gone))


def _take_home(conn: Connection, look: Look, aside: Aside) -> int:
    """What is set aside in a period that is none is so in that of the day on which the call began."""
    budget = look.budget
    try:
        day = projects.calendar(conn).billed_on(_project(budget), id_time(UUID(aside.call_id)))
    except (ValueError, OverflowError):
        day = look.today  # an id of no call
    place = budgetperiods.place(budget, max(day, budget.counted_from))
    assert place is not None  # noqa: S101 - it counts from that day
    budgetperiods.make(conn, [place], {budget.id: budget})
    home = budgetperiods.read(conn, [place])[place].id
    is_there = _this(aside._replace(period_id=home))
    if conn.scalar(sa.select(sa.exists().where(is_there))):
        return conn.execute(sa.delete(reservations).where(_this(aside))).rowcount
    return conn.execute(sa.update(reservations).where(_this(aside)).values(period_id=home)).rowcount


def _put_periods_right(conn: Connection, look: Look) -> Repaired:
    wrong = {row.id: found for row in look.rows if (found := look.wrong(row))}
    for id_, found in wrong.items():
        values = {each.column: _value(each) for each in found}
        conn.execute(sa.update(budget_periods).where(budget_periods.c.id == id_).values(values))
    stray = [row.id for row in look.strays]
    conn.execute(sa.delete(budget_periods).where(budget_periods.c.id.in_(stray)))
    missing = {period.place: period for period in look.missing}
    budgetperiods.make(conn, missing, {look.budget.id: look.budget})
    made = budgetperiods.read(conn, missing)
    budgetperiods.write(conn, (_as_in(missing[place], period) for place, period in made.items()))
    return Repaired(len(wrong), len(missing), len(stray))


def _as_in(counted: Period, new: Period) -> Period:
    return new.moved(**{name: getattr(counted, name) for name in _SPENT})


def _value(wrong: Wrong) -> Any:
    is_day = wrong.column in ("begins_on", "ends_on") and wrong.expected is not None
    return date.fromisoformat(wrong.expected) if is_day else wrong.expected


_SPENT = ("spent", "unpriced", "foreign_calls")
_AMOUNTS = ("amount", "spent", "reserved", "held", "overrun")
_COUNTS = ("unpriced", "foreign_calls")


def _counts(period: Period) -> bool:
    return any(getattr(period, name) for name in _SPENT)


def _look(conn: Connection, budget: Budget, days: Chosen) -> Look:
    whole = _whole(budget, days)
    if whole is None:
        return Look(budget, days, date.min, Limits(ZERO), (), {}, {}, (), ())
    today = projects.calendar(conn).billed_on(_project(budget), database_now(conn))
    found = backfill.spent(budget, scoped.costs(conn, budget.scope, whole.first, whole.end))
    spent = {place.begins_on.isoformat(): period for place, period in found.items()}
    its = reservations.c.period_id.in_(_ids(budget, days))
    sums, odd = _set_aside(_asides(conn, its))
    rows = [_row(row) for row in conn.execute(_rows(conn, budget, days)).mappings()]
    limits = budgetlimits.read(conn, [budget])[budget.id]
    return Look(budget, whole, today, limits, rows, spent, sums, list(_over(conn, budget, its)), odd)


def _project(budget: Budget) -> int:
    """Whose days are the budget's; 0: those of the books."""
    return budget.scope.id if budget.scope.kind is Kind.PROJECT else 0


def _set_aside(asides: Iterable[Aside]) -> tuple[dict[tuple[int, str], Decimal], list[Aside]]:
    """What is set aside by period and state, and what is no amount or of no state."""
    sums: dict[tuple[int, str], Decimal] = {}
    odd: list[Aside] = []
    for aside in asides:
        if not aside.is_sound:
            odd.append(aside)
        if aside.amount.is_finite():
            which = aside.period_id, aside.state
            sums[which] = EXACT.add(sums.get(which, ZERO), aside.amount)
    return sums, odd


def _whole(budget: Budget, days: Chosen) -> Chosen | None:
    """The days of all periods of which one of these days is; None where there is none."""
    first = budget.counted_from
    if days.first is not None:
        first = budget.cycle.span(min(max(days.first, first), _LATEST)).first
    if days.end is None:
        return Chosen(first)
    last = min(days.end - _DAY, _LATEST)
    return None if last < first else Chosen(first, budget.cycle.span(last).end)


def _chosen(budget: Budget, days: Chosen) -> ColumnElement[bool]:
    """The rows of the periods; of all days also those that begin on no day that a period begins on."""
    its, whole = budget_periods.c.budget_id == budget.id, _whole(budget, days)
    if whole is None:
        return sa.false()
    first = sa.true() if days.first is None else budget_periods.c.begins_on >= whole.first
    end = sa.true() if whole.end is None else budget_periods.c.begins_on < whole.end
    return sa.and_(its, first, end)


def _ids(budget: Budget, days: Chosen) -> sa.Select[Any]:
    return sa.select(budget_periods.c.id).where(_chosen(budget, days)).order_by(budget_periods.c.id)


def _rows(conn: Connection, budget: Budget, days: Chosen) -> sa.Select[Any]:
    columns = raw(conn, budget_periods, "id", "begins_on", "ends_on", *_AMOUNTS, *_COUNTS)
    return sa.select(*columns).where(_chosen(budget, days)).order_by(budget_periods.c.begins_on, budget_periods.c.id)


def _row(row: Mapping[Any, Any]) -> Row:
    amounts = {name: _amount(row[name]) for name in _AMOUNTS}
    counts = {name: row[name] if type(row[name]) is int else math.nan for name in _COUNTS}
    return Row(row["id"], {"begins_on": row["begins_on"], "ends_on": row["ends_on"], **amounts, **counts})


def _asides(conn: Connection, which: ColumnElement[bool]) -> Iterator[Aside]:
    found = sa.select(*raw(conn, reservations, *Aside._fields)).where(which)
    with conn.execute(found, execution_options={"yield_per": _ROWS_AT_ONCE}) as rows:
        yield from map(_aside, rows)


def _aside(row: Sequence[Any]) -> Aside:
    call_id, period_id, amount, state = row
    return Aside(str(call_id), period_id, _amount(amount), str(state))


def _over(conn: Connection, budget: Budget, its: ColumnElement[bool]) -> Iterator[Aside]:
    """For calls in the books for which nothing may be charged that the books don't know of."""
    status = calls.c.http_status
    answered = sa.and_(status.is_not(None), status >= 200, status < 300)
    is_free = sa.and_(calls.c.outcome == Outcome.FAILED, sa.not_(answered))
    priced = rates.c.currency.in_([budget.currency, *budget.terms.fx])
    is_known = sa.and_(calls.c.usage_source == UsageSource.PROVIDER, priced)
    booked = reservations.join(calls, calls.c.id == reservations.c.call_id).outerjoin(
        rates, rates.c.id == calls.c.rate_id
    )
    found = sa.select(*raw(conn, reservations, *Aside._fields)).select_from(booked)
    yield from map(_aside, conn.execute(found.where(its, sa.or_(is_free, is_known))))


def _this(aside: Aside) -> ColumnElement[bool]:
    in_it = reservations.c.period_id == aside.period_id
    try:
        return sa.and_(in_it, reservations.c.call_id == UUID(aside.call_id))
    except ValueError:
        return sa.and_(in_it, sa.type_coerce(reservations.c.call_id, sa.Text) == aside.call_id)


def _amount(stored: Any) -> Decimal:
    """NaN where it is no amount."""
    try:
        return exact(stored)
    except (TypeError, ValueError):
        return Decimal("NaN")


def _text(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


def _day(stored: Any, off: timedelta = timedelta()) -> date | None:
    """None where it is no day."""
    try:
        return date.fromisoformat(stored) + off
    except (TypeError, ValueError, OverflowError):
        return None

"""What may be spent is set aside before it is: reserve, release, lapse. `settling` does the rest, once calls come in.

Every transaction locks the periods of budgets first, by id, and only then the reservations in them.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection

from accounting import asked, budgetperiods, grounds, ratebook, settling
from accounting.asked import Priced
from accounting.budgetperiods import Period, Place
from accounting.budgets import Budget
from accounting.coverage import Coverage
from accounting.decisions import Ask, BudgetState, Decision, Grant, Refusal, Why
from accounting.money import EXACT, ZERO
from accounting.projects import Calendar
from accounting.resolution import RateBook
from accounting.settling import HELD, RESERVED
from accounting.store import Lock, database_now, hold
from accounting.store.tables import budget_periods, budgets, reservations

LEASE = timedelta(minutes=15)
"""So long what is set aside counts as that of a running call. After it the call may still come in, and count."""

LAPSES_AT_ONCE = 1_000
"""So many lapse in one transaction: about 50 ms."""


@dataclass(slots=True)
class Knowledge:
    """What decides about calls, as the books had it at one edition of budgets and rates; kept by who asks again."""

    coverage: Coverage
    budgets: Mapping[int, Budget]
    calendar: Calendar
    rates: dict[tuple[str, str], RateBook] = field(default_factory=dict)
    made: dict[Place, int] = field(default_factory=dict)
    """The ids of periods that have rows, for all that is known: they are not made anew for each call."""

    def book(self, conn: Connection, provider: str, model: str) -> RateBook:
        """The lines for the model; read once, as the whole book has thousands."""
        found = self.rates.get((provider, model))
        if found is None:
            if len(self.rates) >= _MODELS:
                self.rates.clear()
            found = self.rates[provider, model] = ratebook.book(conn, {(provider, model)})
        return found


_MODELS = 256


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What one budget is to set aside for a call."""

    budget: Budget
    place: Place
    priced: Priced


def reserve(
    conn: Connection, known: Knowledge, asks: Sequence[Ask], now: datetime, lease: timedelta = LEASE
) -> list[Decision]:
    """Decide about the calls in their order: of each, all hard budgets that cover it have room for it, or none sets
    anything aside. `now` is the database's.
    """
    wanted = [list(_wanted(conn, known, ask)) for ask in asks]
    refused = [_unpriced(conn, known, ask, each) for ask, each in zip(asks, wanted, strict=True)]
    places = {one.place for each, no in zip(wanted, refused, strict=True) if no is None for one in each}
    periods = _in_force(conn, _periods(conn, known, places))
    rows: list[dict[str, object]] = []
    decisions: list[Decision] = []
    for ask, all_, no in zip(asks, wanted, refused, strict=True):
        each = [one for one in all_ if one.place in periods]
        refusal = no or _over(known, ask, each, periods)
        if refusal is None:
            rows += (_row(ask, one, periods[one.place], now, lease) for one in each)
            periods |= {one.place: periods[one.place].moved(reserved=one.priced.amount) for one in each}
        decisions.append(refusal or Grant(tuple(_state(known, one.budget, periods[one.place]) for one in each)))
    if rows:
        conn.execute(sa.insert(reservations), rows)
        changed = {row["period_id"] for row in rows}
        budgetperiods.write(conn, (period for period in periods.values() if period.id in changed))
    return decisions


def _wanted(conn: Connection, known: Knowledge, ask: Ask) -> Iterator[_Wanted]:
    day = _day(known, ask)
    for bound in known.coverage.covering(ask.call):
        budget = known.budgets[bound.id]
        place = budgetperiods.place(budget, _bound_on(budget, day))
        if budget.is_binding and place is not None:
            book = known.book(conn, ask.call.provider, ask.call.model)
            yield _Wanted(budget, place, asked.priced(budget, ask, book))


def _bound_on(budget: Budget, day: date) -> date:
    """The day by which a budget binds a call: its own, but for one from before the budget counts. That is by another
    zone, or by a clock that is slow, unless the budget was made for days to come."""
    return day if budget.cycle.since == budget.counted_from else max(day, budget.counted_from)


def _periods(conn: Connection, known: Knowledge, places: set[Place]) -> dict[Place, Period]:
    """The periods, locked; made where they have no rows yet."""
    if places <= known.made.keys():
        found = budgetperiods.lock(conn, (), [known.made[place] for place in places])
        if found.keys() == places:
            return found
    hold(conn, Lock.INGEST, shared=True)
    budgetperiods.make(conn, places, known.budgets)
    found = budgetperiods.lock(conn, places)
    known.made |= {place: period.id for place, period in found.items()}
    return found


def _in_force(conn: Connection, periods: Mapping[Place, Period]) -> dict[Place, Period]:
    """Without those of budgets that were removed while this waited: nothing would ever end what was set aside there."""
    if not periods:
        return {}
    removed = set(conn.scalars(_REMOVED, {"ids": sorted({place.budget_id for place in periods})}))
    return {place: period for place, period in periods.items() if place.budget_id not in removed}


_REMOVED = sa.select(budgets.c.id).where(
    budgets.c.id.in_(sa.bindparam("ids", expanding=True)), budgets.c.removed_at.is_not(None)
)


def _day(known: Knowledge, ask: Ask) -> date:
    project_id = known.coverage.subject(ask.call).project_id
    return known.calendar.billed_on(project_id or 0, ask.call.started_at)


def _unpriced(conn: Connection, known: Knowledge, ask: Ask, wanted: Sequence[_Wanted]) -> Refusal | None:
    """The refusal of a call of which nobody can say what it may cost."""
    found = [one for one in wanted if one.priced.why is not None]
    if not found:
        return None
    budget, place = found[0].budget, found[0].place
    period = budgetperiods.read(conn, [place]).get(place) or budgetperiods.unused(budget, place.begins_on)
    return _refusal(ask, found, _state(known, budget, period), found[0].priced.why or Why.UNPRICED)


def _over(known: Knowledge, ask: Ask, wanted: Sequence[_Wanted], periods: Mapping[Place, Period]) -> Refusal | None:
    full = [one for one in wanted if one.priced.amount > periods[one.place].remaining]
    if not full:
        return None
    return _refusal(ask, full, _state(known, full[0].budget, periods[full[0].place]), Why.OVER)


def _refusal(ask: Ask, refusing: Sequence[_Wanted], state: BudgetState, why: Why) -> Refusal:
    first, *rest = refusing
    amount, others = None if first.priced.why else first.priced.amount, [one.budget.name for one in rest]
    message = grounds.message(
        why,
        budget=state.budget,
        scope=state.scope,
        state=state,
        asked=amount,
        model=ask.call.model,
        provider=ask.call.provider,
        currency=first.priced.currency,
        reasons=first.priced.reasons,
        is_answer=first.priced.is_answer,
        others=others,
    )
    return Refusal(
        why=why, budget=state.budget, scope=state.scope, message=message, asked=amount, state=state, others=others
    )


def _state(known: Knowledge, budget: Budget, period: Period) -> BudgetState:
    return budgetperiods.state(budget, period, known.calendar)


def _row(ask: Ask, one: _Wanted, period: Period, now: datetime, lease: timedelta) -> dict[str, object]:
    times = {"reserved_at": now, "leased_until": now + lease}
    return {"call_id": ask.call.id, "period_id": period.id, "amount": one.priced.amount, "state": RESERVED, **times}


def release(conn: Connection, ids: Collection[UUID]) -> int:
    """Give back what is set aside for these calls, whichever budgets did; returns for how many anything was."""
    if not ids:
        return 0
    return len({row.call_id for row in _take(conn, reservations.c.call_id.in_(sorted(ids)))})


def release_held(conn: Connection, budget: Budget, ids: Collection[UUID] | None = None) -> list["Aside"]:
    """Give back what the budget holds for calls, for these or for all; returns what was held.

    The provider may have charged for them: what is learned of them later counts all the same.
    """
    return list(_take(conn, sa.and_(_of(budget), _called(ids), reservations.c.state == HELD)))


def forget(conn: Connection, budget: Budget) -> None:
    """Set nothing aside any more in a budget that was removed, in the same transaction."""
    # Every period: who has one locked already is about to set something aside there.
    budgetperiods.lock(conn, (), [period.id for period in budgetperiods.all_of(conn, budget)])
    _take(conn, _of(budget))


def lapse(conn: Connection) -> int:
    """Hold what is set aside for calls that nobody has heard of for too long; returns of how many, some at most.

    What was set aside only after its call had come in, by a caller who had given up waiting, is settled instead.
    """
    due = sa.and_(reservations.c.state == RESERVED, reservations.c.leased_until <= database_now(conn))
    oldest = sa.select(reservations.c.call_id).where(due).order_by(reservations.c.leased_until).limit(LAPSES_AT_ONCE)
    ids = sorted(set(conn.scalars(oldest)))
    if not ids:
        return 0
    booked = settling.booked(conn, ids)
    settling.settle(conn, settling.load(conn), booked, booked)
    rows = _locked(conn, sa.and_(due, reservations.c.call_id.in_(ids)))
    if rows:
        conn.execute(sa.update(reservations).where(*settling.THIS).values(state=HELD), _keys(rows))
    _move(conn, rows, lambda period, amount: period.moved(reserved=EXACT.minus(amount), held=amount))
    return len(ids)


@dataclass(frozen=True, slots=True)
class Aside:
    """What is set aside for a call, since when, and whether it is held: nobody knows yet what the call cost."""

    call_id: UUID
    period_id: int
    amount: Decimal
    state: str
    reserved_at: datetime
    leased_until: datetime


def aside(conn: Connection, budget: Budget, state: str | None = None) -> list[Aside]:
    """What is set aside in the budget, the oldest first; of one state, or of both."""
    chosen = _of(budget) if state is None else sa.and_(_of(budget), reservations.c.state == state)
    return _asides(conn, chosen)


def _asides(conn: Connection, chosen: ColumnElement[bool], *, lock: bool = False) -> list[Aside]:
    query = sa.select(reservations).where(chosen).order_by(reservations.c.call_id, reservations.c.period_id)
    return [Aside(**row) for row in conn.execute(query.with_for_update() if lock else query).mappings()]


def _of(budget: Budget) -> ColumnElement[bool]:
    its = sa.select(budget_periods.c.id).where(budget_periods.c.budget_id == budget.id)
    return reservations.c.period_id.in_(its)


def _called(ids: Collection[UUID] | None) -> ColumnElement[bool]:
    return sa.true() if ids is None else reservations.c.call_id.in_(sorted(ids))


def _take(conn: Connection, chosen: ColumnElement[bool]) -> list[Aside]:
    """Take reservations out of their periods; returns what they were."""
    rows = _locked(conn, chosen)
    if rows:
        # Not by what was asked for, as more may have come to fit it, in periods that are not locked.
        conn.execute(sa.delete(reservations).where(*settling.THIS), _keys(rows))
        for state, off in ((RESERVED, _not_reserved), (HELD, _not_held)):
            _move(conn, [row for row in rows if row.state == state], off)
    return rows


def _keys(rows: Iterable[Aside]) -> list[dict[str, Any]]:
    return [settling.key(row.call_id, row.period_id) for row in rows]


def _not_reserved(period: Period, amount: Decimal) -> Period:
    return period.moved(reserved=EXACT.minus(amount))


def _not_held(period: Period, amount: Decimal) -> Period:
    return period.moved(held=EXACT.minus(amount))


def _locked(conn: Connection, chosen: ColumnElement[bool]) -> list[Aside]:
    """The chosen reservations, after their periods are locked: what is read before may be another's to end."""
    ids = {row.period_id for row in _asides(conn, chosen)}
    budgetperiods.lock(conn, (), ids)
    return [row for row in _asides(conn, chosen, lock=True) if row.period_id in ids]


def _move(conn: Connection, rows: Iterable[Aside], moved: Callable[[Period, Decimal], Period]) -> None:
    sums: dict[int, Decimal] = {}
    for row in rows:
        sums[row.period_id] = EXACT.add(sums.get(row.period_id, ZERO), row.amount)
    locked = budgetperiods.lock(conn, (), sums)
    budgetperiods.write(conn, (moved(period, sums[period.id]) for period in locked.values()))

"""A budget in one of its periods: what is spent, reserved and held, as rows that all who move money lock by id."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from accounting import budgetlimits
from accounting.budgetlimits import Limits
from accounting.budgets import Budget
from accounting.cycles import Span
from accounting.decisions import BudgetState
from accounting.money import EXACT, ZERO
from accounting.projects import Calendar
from accounting.scopes import Kind
from accounting.store import insert
from accounting.store.tables import budget_periods


class Place(NamedTuple):
    """A budget's period, by the day that it begins on."""

    budget_id: int
    begins_on: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """Amounts in the budget's currency, see `decisions.BudgetState`.

    `overrun` is what calls cost beyond what was set aside for them. `unpriced` and `foreign_calls` are in the books,
    and in none of the amounts.
    """

    id: int
    place: Place
    ends_on: date | None
    limit: Decimal
    spent: Decimal = ZERO
    reserved: Decimal = ZERO
    held: Decimal = ZERO
    overrun: Decimal = ZERO
    unpriced: int = 0
    foreign_calls: int = 0

    @property
    def span(self) -> Span:
        return Span(self.place.begins_on, self.ends_on)

    @property
    def remaining(self) -> Decimal:
        used = EXACT.add(EXACT.add(self.spent, self.reserved), self.held)
        return EXACT.subtract(self.limit, used)

    def moved(
        self,
        *,
        spent: Decimal = ZERO,
        reserved: Decimal = ZERO,
        held: Decimal = ZERO,
        overrun: Decimal = ZERO,
        unpriced: int = 0,
        foreign_calls: int = 0,
    ) -> "Period":
        """With so much more, or, below 0, less."""
        return replace(
            self,
            spent=EXACT.add(self.spent, spent),
            reserved=EXACT.add(self.reserved, reserved),
            held=EXACT.add(self.held, held),
            overrun=EXACT.add(self.overrun, overrun),
            unpriced=self.unpriced + unpriced,
            foreign_calls=self.foreign_calls + foreign_calls,
        )


def place(budget: Budget, day: date) -> Place | None:
    """The period that the day lies in; None before the budget counts."""
    return None if day < budget.counted_from else Place(budget.id, budget.cycle.span(day).first)


def make(conn: Connection, places: Iterable[Place], budgets: Mapping[int, Budget]) -> None:
    """The rows of periods that have none yet: nothing that counts was booked in them.

    To be done holding `Lock.INGEST`, shared at least: whoever sets a new limit does so in the periods that there are.
    """
    wanted = set(places)
    new = wanted - read(conn, wanted).keys()
    if new:
        limits = budgetlimits.read(conn, [budgets[id_] for id_ in {place.budget_id for place in new}])
        # In one order everywhere, so that two transactions that add the same ones can't deadlock.
        rows = [_new(place, budgets[place.budget_id], limits[place.budget_id]) for place in sorted(new)]
        conn.execute(insert(conn, budget_periods).on_conflict_do_nothing(), rows)


def _new(place: Place, budget: Budget, limits: Limits) -> dict[str, object]:
    ends_on = budget.cycle.span(place.begins_on).end
    amounts = dict.fromkeys(("spent", "reserved", "held", "overrun"), ZERO)
    counts = dict.fromkeys(("unpriced", "foreign_calls"), 0)
    return {**place._asdict(), "ends_on": ends_on, "amount": limits.of(ends_on), **amounts, **counts}


def lock(conn: Connection, places: Collection[Place], ids: Collection[int] = ()) -> dict[Place, Period]:
    """These periods, and those of these ids; nobody else moves money in them until the transaction ends."""
    if not places and not ids:
        return {}
    if places:
        found = conn.execute(_chosen(places, ids).order_by(budget_periods.c.id).with_for_update())
    else:
        found = conn.execute(_THESE, {"ids": sorted(ids)})
    return {period.place: period for period in map(_period, found)}


def read(conn: Connection, places: Collection[Place]) -> dict[Place, Period]:
    """These periods as they are, as far as they have rows."""
    if not places:
        return {}
    return {period.place: period for period in map(_period, conn.execute(_chosen(places, ())))}


def all_of(conn: Connection, budget: Budget) -> list[Period]:
    """All periods of the budget, in order of time."""
    rows = budget_periods.c.budget_id == budget.id
    return list(map(_period, conn.execute(_ROWS.where(rows).order_by(budget_periods.c.begins_on))))


def write(conn: Connection, periods: Iterable[Period]) -> None:
    """Put down what the periods, which are locked, hold now."""
    rows = [
        {
            "this": period.id,
            "new_spent": period.spent,
            "new_reserved": period.reserved,
            "new_held": period.held,
            "new_overrun": period.overrun,
            "new_unpriced": period.unpriced,
            "new_foreign_calls": period.foreign_calls,
        }
        for period in periods
    ]
    if rows:
        conn.execute(_MOVED, rows)


def state(budget: Budget, period: Period, calendar: Calendar) -> BudgetState:
    """Where the budget stands in the period."""
    days = calendar.days(budget.scope.id if budget.scope.kind is Kind.PROJECT else 0)
    return BudgetState(
        budget=budget.name,
        scope=budget.told,
        mode=budget.terms.mode,
        currency=budget.currency,
        limit=period.limit,
        spent=period.spent,
        reserved=period.reserved,
        held=period.held,
        begins_on=period.place.begins_on,
        ends_on=period.ends_on,
        ends_at=None if period.ends_on is None else days.start(period.ends_on),
        thresholds=budget.terms.thresholds,
    )


def unused(budget: Budget, day: date) -> Period:
    """The period of the day, where nothing was booked in it yet and nothing set aside."""
    span = budget.cycle.span(max(day, budget.counted_from))
    return Period(id=0, place=Place(budget.id, span.first), ends_on=span.end, limit=budget.terms.limit)


_ROWS = sa.select(budget_periods)
_THESE = (
    _ROWS.where(budget_periods.c.id.in_(sa.bindparam("ids", expanding=True)))
    .order_by(budget_periods.c.id)
    .with_for_update()
)
_AMOUNTS = ("spent", "reserved", "held", "overrun", "unpriced", "foreign_calls")
_MOVED = (
    sa.update(budget_periods)
    .where(budget_periods.c.id == sa.bindparam("this"))
    .values({name: sa.bindparam(f"new_{name}") for name in _AMOUNTS})
)


def _chosen(places: Collection[Place], ids: Collection[int]) -> sa.Select[tuple[object, ...]]:
    begun: dict[date, list[int]] = {}
    for one in places:
        begun.setdefault(one.begins_on, []).append(one.budget_id)
    at = budget_periods.c
    these = (sa.and_(at.begins_on == day, at.budget_id.in_(sorted(those))) for day, those in sorted(begun.items()))
    return _ROWS.where(sa.or_(sa.false(), *these, at.id.in_(sorted(ids))))


def _period(row: sa.Row[tuple[object, ...]]) -> Period:
    values = row._mapping
    return Period(
        id=values["id"],
        place=Place(values["budget_id"], values["begins_on"]),
        ends_on=values["ends_on"],
        limit=values["amount"],
        **{name: values[name] for name in _AMOUNTS},
    )

"""Calls that come into the books, or change in them, move what budgets have spent, and end what was set aside for them.

In the transaction that writes the calls, as its last steps but one: other callers wait for the rows of a budget.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property, reduce
from typing import Any, NamedTuple
from uuid import UUID
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from accounting import backfill, budgetperiods, budgets
from accounting.aliases import NO_ALIASES, Aliases
from accounting.budgetperiods import Period, Place
from accounting.budgets import Budget
from accounting.money import EXACT, ZERO, Money
from accounting.rates import UNPRICED, Rate, price
from accounting.scoped import Cost
from accounting.scopes import Kind, Scope, Scopes, Subject
from accounting.store import aliaslines, ratelines
from accounting.store.tables import budget_periods, calls, reservations, store
from accounting.usage import COUNTED, Outcome, Quantities, UsageSource

RESERVED, HELD = "reserved", "held"
"""States of a reservation; one that is settled or released is gone."""

READ = (
    *("id", "project_id", "key_id", "provider", "model", "end_user", "tags", "parent_id"),
    *("billed_on", "rate_id", "outcome", "http_status", "usage_source", *COUNTED),
)
"""The columns of `calls` that decide."""

Row = Mapping[Any, Any]
"""A row of `calls`, as far as `READ`."""

_IDS_AT_ONCE = 500


class Reservation(NamedTuple):
    """What is set aside for a call in one period."""

    call_id: UUID
    period_id: int
    amount: Decimal
    state: str


@dataclass(frozen=True)
class Budgets:
    """All budgets that count, and which of them cover a call."""

    by_id: Mapping[int, Budget]
    aliases: Aliases = NO_ALIASES

    def covering(self, row: Row) -> list[Budget]:
        return self._found.covering(self._subject(row))

    @cached_property
    def _found(self) -> Scopes[Budget]:
        return Scopes((budget.scope, budget) for budget in self.by_id.values())

    def alike(self, row: Row) -> tuple[Any, ...]:
        """What of the call decides, as far as any budget names it: calls that are alike the same ones cover."""
        tags = row["tags"] or {}
        named = [value if (value := row[column]) in values else None for column, values in self._named]
        tagged = [tags.get(name) == value for name, value in self._tagged]
        return (row["provider"], row["model"], *named, *tagged) if self._names_models else (*named, *tagged)

    @cached_property
    def _named(self) -> list[tuple[str, set[int | str]]]:
        """What budgets name, by the column of a call that has it."""
        found: dict[str, set[int | str]] = {}
        for scope in self._scopes:
            if scope.kind in _COLUMNS:
                found.setdefault(_COLUMNS[scope.kind], set()).add(scope.id or scope.name)
        return list(found.items())

    @cached_property
    def _tagged(self) -> list[tuple[str, str]]:
        return [(scope.name, scope.value) for scope in self._scopes if scope.kind is Kind.TAG]

    @cached_property
    def _names_models(self) -> bool:
        return any(scope.kind is Kind.MODEL for scope in self._scopes)

    @cached_property
    def _scopes(self) -> set[Scope]:
        return {budget.scope for budget in self.by_id.values()}

    def budget(self, period: Period) -> Budget | None:
        """Whose period it is; None where that was removed."""
        return self.by_id.get(period.place.budget_id)

    def _subject(self, row: Row) -> Subject:
        names = (name for name, _ in self.aliases.names(row["provider"], row["model"]))
        return Subject(
            row["project_id"], row["key_id"], row["provider"], [row["model"], *names], row["end_user"], row["tags"]
        )


_COLUMNS = {
    Kind.PROJECT: "project_id",
    Kind.KEY: "key_id",
    Kind.PROVIDER: "provider",
    Kind.USER: "end_user",
}
"""Where a call says what decides about budgets of that kind."""

NONE = Budgets({})


def load(conn: Connection) -> Budgets:
    """The budgets in the books that count."""
    found = {budget.id: budget for budget in budgets.known(conn)}
    named = any(budget.scope.kind is Kind.MODEL for budget in found.values())
    return Budgets(found, aliaslines.in_force(conn) if named else NO_ALIASES) if found else NONE


def kept(conn: Connection) -> Budgets:
    """The same for a transaction that changes none of it, from the one before where nobody else did: with a budget for
    each of a thousand users, reading them takes longer than a batch of calls."""
    edition = tuple(conn.execute(_EDITION).one())
    found = _kept.get(conn.engine)
    if found is None or found[0] != edition:
        found = _kept[conn.engine] = edition, load(conn)
    return found[1]


_kept: WeakKeyDictionary[Engine, tuple[tuple[Any, ...], Budgets]] = WeakKeyDictionary()
_EDITION = sa.select(store.c.budgets_edition, store.c.rates_edition, store.c.generation, store.c.restored_at)


def settle(conn: Connection, known: Budgets, before: Sequence[Row], after: Sequence[Row]) -> None:
    """Calls say what they say after, where they said what they said before, or were not there."""
    if not known.by_id:
        return
    ids = [row["id"] for row in after]
    open_ = _reservations(conn, ids)
    rates = _rates(conn, (*before, *after))
    moves = dict(moved(known, before, after, rates))
    budgetperiods.make(conn, moves, known.by_id)
    locked = budgetperiods.lock(conn, moves, {each.period_id for each in open_})
    # Only now: in between some may have lapsed, or been released.
    open_ = _reservations(conn, ids) if open_ else open_
    periods = {period.id: _moved(period, moves.get(place)) for place, period in locked.items()}
    bills = _bills({each.call_id for each in open_}, before, after, rates)
    ends = [_end(each, bills[each.call_id], known.budget(periods[each.period_id])) for each in open_]
    _write(conn, ends)
    budgetperiods.write(conn, _ended(periods, ends))


def exchange(conn: Connection, before: Budget, after: Budget) -> None:
    """The budget has other exchange rates: what is set aside for calls that are in the books ends, or changes, as what
    is known of their cost does. What they add to what is spent is `backfill.fill`'s to say.
    """
    its = sa.select(budget_periods.c.id).where(budget_periods.c.budget_id == after.id)
    locked = budgetperiods.lock(conn, (), conn.scalars(its).all())
    open_ = [Reservation(*row) for row in conn.execute(_SET_ASIDE.where(reservations.c.period_id.in_(its)))]
    rows = booked(conn, [each.call_id for each in open_])
    bills = _bills({row["id"] for row in rows}, rows, rows, _rates(conn, rows))
    changed = {id_ for id_, bill in bills.items() if bill.known(before) != bill.known(after)}
    ends = [_end(each, bills[each.call_id], after, before) for each in open_ if each.call_id in changed]
    _write(conn, ends)
    budgetperiods.write(conn, _ended({period.id: period for period in locked.values()}, ends))


def effects(
    known: Budgets, before: Iterable[Row], after: Iterable[Row], rates: Mapping[int, Rate]
) -> dict[Place, Decimal]:
    """By how much it moves what budgets have spent; periods in which it does not move that are left out."""
    return {place: move.spent for place, move in moved(known, before, after, rates) if move.spent}


def moved(
    known: Budgets, before: Iterable[Row], after: Iterable[Row], rates: Mapping[int, Rate]
) -> Iterator[tuple[Place, Period]]:
    """What is to be added to periods, some of it below 0; those that stay as they are are left out."""
    sums: dict[Place, Period] = {}
    for sign, rows in ((-1, before), (1, after)):
        for one, cost in _costs(known, rows, rates):
            for budget in known.covering(one):
                place = budgetperiods.place(budget, cost.day)
                if place is not None:
                    period = sums.get(place) or _nothing(place)
                    sums[place] = backfill.added(budget, period, cost, sign)
    return ((place, sum_) for place, sum_ in sums.items() if sum_ != _nothing(place))


def _costs(known: Budgets, rows: Iterable[Row], rates: Mapping[int, Rate]) -> Iterator[tuple[Row, Cost]]:
    """What calls cost together that the same budgets cover, with one of them: a batch holds hundreds that are alike."""
    alike: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        alike.setdefault((row["billed_on"], row["rate_id"], *known.alike(row)), []).append(row)
    for those in alike.values():
        yield those[0], _cost(those, rates)


def _nothing(place: Place) -> Period:
    return Period(id=0, place=place, ends_on=None, limit=ZERO)


def _moved(period: Period, by: Period | None) -> Period:
    if by is None:
        return period
    return period.moved(spent=by.spent, unpriced=by.unpriced, foreign_calls=by.foreign_calls)


def _cost(rows: Sequence[Row], rates: Mapping[int, Rate]) -> Cost:
    """What the calls cost, all of one day and rate."""
    day, rate_id = rows[0]["billed_on"], rows[0]["rate_id"]
    counting = sum(row["outcome"] != Outcome.FAILED or row["parent_id"] is not None for row in rows)
    if rate_id == UNPRICED:
        return Cost(day, None, counting)
    used = Quantities(*(sum([row[name] or 0 for row in rows]) for name in COUNTED))
    return Cost(day, price(used, rates[rate_id]), counting)


@dataclass(frozen=True, slots=True)
class _End:
    """What becomes of a reservation: `held` of it stays, None where nothing does, and its call cost so much more."""

    reservation: Reservation
    held: Decimal | None
    overrun: Decimal = ZERO


def _ended(periods: Mapping[int, Period], ends: Iterable[_End]) -> Iterator[Period]:
    """The periods without what was set aside, but for what stays held."""
    of_period: dict[int, list[_End]] = {}
    for end in ends:
        of_period.setdefault(end.reservation.period_id, []).append(end)
    for id_, period in periods.items():
        its = of_period.get(id_, ())
        off = {
            state: _sum(one.reservation.amount for one in its if one.reservation.state == state) for state in _STATES
        }
        held = EXACT.subtract(_sum(one.held for one in its if one.held is not None), off[HELD])
        overrun = _sum(one.overrun for one in its)
        yield period.moved(reserved=EXACT.minus(off[RESERVED]), held=held, overrun=overrun)


_STATES = (RESERVED, HELD)


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    return reduce(EXACT.add, amounts, ZERO)


@dataclass(frozen=True, slots=True)
class _Bill:
    """What a call says, what it costs by that, and what it cost by what it said before, if it was in the books."""

    after: Row
    cost: Money | None
    before: Money | None

    def known(self, budget: Budget) -> Decimal | None:
        """What it costs, in the budget's currency; None where that can't be said."""
        return None if self.cost is None else budget.converted(self.cost)

    def grown(self, budget: Budget, was: Budget) -> Decimal:
        """How much more of its cost is known, in the currency of the budget, which was so before."""
        before = None if self.before is None else was.converted(self.before)
        return EXACT.subtract(self.known(budget) or ZERO, before or ZERO)


def _bills(
    ids: Collection[UUID], before: Iterable[Row], after: Iterable[Row], rates: Mapping[int, Rate]
) -> dict[UUID, _Bill]:
    was = {row["id"]: _cost([row], rates).cost for row in before if row["id"] in ids}
    these = (row for row in after if row["id"] in ids)
    return {row["id"]: _Bill(row, _cost([row], rates).cost, was.get(row["id"])) for row in these}


def _end(reservation: Reservation, bill: _Bill, budget: Budget | None, was: Budget | None = None) -> _End:
    """By the budget, which had other exchange rates before where it is said what it was."""
    if budget is None or _is_free(bill.after):
        return _End(reservation, None)
    rest = EXACT.subtract(reservation.amount, bill.grown(budget, was or budget))
    overrun = max(EXACT.minus(rest), ZERO)
    is_known = bill.after["usage_source"] == UsageSource.PROVIDER and bill.known(budget) is not None
    # Of what is not known the provider may have charged more: the rest of what was set aside stays.
    return _End(reservation, rest if rest > 0 and not is_known else None, overrun)


def _is_free(row: Row) -> bool:
    """Whether nothing was sent, or the provider answered with an error: neither is charged beyond what it states."""
    status = row["http_status"]
    return row["outcome"] == Outcome.FAILED and (status is None or not 200 <= status < 300)


def _write(conn: Connection, ends: Iterable[_End]) -> None:
    gone: dict[int, list[UUID]] = {}
    for end in ends:
        if end.held is None:
            gone.setdefault(end.reservation.period_id, []).append(end.reservation.call_id)
    for period_id, ids in gone.items():
        for some in _parts(ids):
            conn.execute(_GONE, {"this_period": period_id, "ids": some})
    kept = [key(*end.reservation[:2]) | {"rest": end.held} for end in ends if end.held is not None]
    if kept:
        rest = {"state": HELD, "amount": sa.bindparam("rest")}
        conn.execute(sa.update(reservations).where(*THIS).values(rest), kept)


THIS = (
    reservations.c.call_id == sa.bindparam("this_call"),
    reservations.c.period_id == sa.bindparam("this_period"),
)
"""One reservation; `key` says which."""


# By period: one by one the calls of a batch would take as long as all else that is done about them.
_GONE = sa.delete(reservations).where(
    reservations.c.period_id == sa.bindparam("this_period"),
    reservations.c.call_id.in_(sa.bindparam("ids", expanding=True)),
)


def key(call_id: UUID, period_id: int) -> dict[str, Any]:
    return {"this_call": call_id, "this_period": period_id}


def _reservations(conn: Connection, ids: Sequence[UUID]) -> list[Reservation]:
    these = _SET_ASIDE.where(reservations.c.call_id.in_(sa.bindparam("ids", expanding=True)))
    return [Reservation(*row) for some in _parts(ids) for row in conn.execute(these, {"ids": some})]


def booked(conn: Connection, ids: Sequence[UUID]) -> list[Row]:
    """Those of the calls that are in the books, as far as it decides."""
    return [dict(row) for some in _parts(ids) for row in conn.execute(_CALLS, {"ids": some}).mappings()]


_SET_ASIDE = sa.select(*(reservations.c[name] for name in Reservation._fields))
_CALLS = sa.select(*(calls.c[name] for name in READ)).where(calls.c.id.in_(sa.bindparam("ids", expanding=True)))


def _parts(ids: Sequence[UUID]) -> Iterator[Sequence[UUID]]:
    return (ids[start : start + _IDS_AT_ONCE] for start in range(0, len(ids), _IDS_AT_ONCE))


def _rates(conn: Connection, rows: Iterable[Row]) -> dict[int, Rate]:
    named: Collection[int] = {row["rate_id"] for row in rows} - {UNPRICED}
    return {rate.id: rate for rate in ratelines.read(conn, withdrawn=True, ids=named)} if named else {}

"""What a budget's periods have cost already, from the books: where a budget is new, or counts otherwise than before."""

from collections.abc import Iterable
from dataclasses import replace

from sqlalchemy import Connection

from accounting import budgetperiods, budgets, scoped
from accounting.budgetperiods import Period, Place
from accounting.budgets import Budget
from accounting.money import EXACT, ZERO
from accounting.scoped import Cost
from accounting.scopes import Kind
from accounting.store import Lock, hold


def fill(conn: Connection, budget: Budget) -> None:
    """Have every period of the budget say what its calls in the books cost; what is set aside stays as it is.

    Nothing comes into the books, and nothing is rolled up, until the transaction ends: what came in between would be
    counted twice, or not at all.
    """
    hold(conn, Lock.INGEST)
    hold(conn, Lock.ROLLUP)
    found = spent(budget, scoped.costs(conn, budget.scope, budget.counted_from))
    budgetperiods.make(conn, found, {budget.id: budget})
    held = {period.place for period in budgetperiods.all_of(conn, budget)}
    locked = budgetperiods.lock(conn, held)
    nothing = Period(id=0, place=Place(budget.id, budget.counted_from), ends_on=None, limit=ZERO)
    budgetperiods.write(conn, (_as_in(found.get(place, nothing), period) for place, period in locked.items()))


def fill_by_model(conn: Connection) -> None:
    """Likewise every budget on models: other names of theirs may have come or gone."""
    for budget in budgets.known(conn):
        if budget.scope.kind is Kind.MODEL:
            fill(conn, budget)


def _as_in(counted: Period, period: Period) -> Period:
    return replace(period, spent=counted.spent, unpriced=counted.unpriced, foreign_calls=counted.foreign_calls)


def spent(budget: Budget, costs: Iterable[Cost]) -> dict[Place, Period]:
    """What calls cost, by the periods of the budget: what its rows should say of `spent` and of calls that have no part
    in it."""
    found: dict[Place, Period] = {}
    for cost in costs:
        place = budgetperiods.place(budget, cost.day)
        if place is not None:
            period = found.get(place) or Period(id=0, place=place, ends_on=None, limit=budget.terms.limit)
            found[place] = added(budget, period, cost)
    return found


def added(budget: Budget, period: Period, cost: Cost, sign: int = 1) -> Period:
    """The period with what calls cost; with the sign -1, without it."""
    if cost.cost is None:
        return period.moved(unpriced=sign * cost.calls)
    amount = budget.converted(cost.cost)
    if amount is None:
        return period.moved(foreign_calls=sign * cost.calls)
    return period.moved(spent=amount if sign > 0 else EXACT.minus(amount))

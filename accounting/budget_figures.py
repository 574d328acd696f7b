"""Where budgets stand in the period that is running, and where it leads: what people are shown of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from accounting import budgetperiods, projects, reservations, scoped
from accounting.budgetperiods import Period, Place
from accounting.budgets import Budget
from accounting.decisions import BudgetState
from accounting.forecast import LOOKED_BACK, Forecast, Now, forecast
from accounting.money import EXACT, ZERO
from accounting.periods import Days
from accounting.projects import Calendar
from accounting.reservations import Aside
from accounting.scopes import Kind

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Standing:
    """A budget in the period that is running where its days are, or in its first one if that is to come.

    Its days are those of `zone`, in which it is `today`.
    """

    budget: Budget
    period: Period
    state: BudgetState
    today: date
    zone: ZoneInfo

    @property
    def passed(self) -> list[Decimal]:
        """The thresholds that are reached, in percent."""
        return [percent for percent in self.state.thresholds if self.state.has_reached(percent)]


@dataclass(frozen=True, slots=True)
class Figures:
    """A budget with what it spent a day lately, in its currency, with what is set aside in it, and with its forecast.

    `has_calls` says whether any call of the last `forecast.LOOKED_BACK` days was of its scope, and `has_unpriced`
    whether any of these has no rate. `foreign` are the currencies of such calls that the budget has no rate for.
    """

    standing: Standing
    daily: Mapping[date, Decimal]
    has_calls: bool
    has_unpriced: bool
    foreign: Sequence[str]
    aside: Sequence[Aside]
    forecast: Forecast


def standings(conn: Connection, budgets: Sequence[Budget], at: datetime) -> list[Standing]:
    """Where the budgets stand, in their order."""
    calendar = projects.calendar(conn)
    today = {budget.id: _days(budget, calendar).of(at) for budget in budgets}
    places = {budget.id: _place(budget, today[budget.id]) for budget in budgets}
    held = budgetperiods.read(conn, set(places.values()))
    found = []
    for budget in budgets:
        period = held.get(places[budget.id]) or budgetperiods.unused(budget, today[budget.id])
        state = budgetperiods.state(budget, period, calendar)
        day = today[budget.id]
        found.append(Standing(budget, period, state, day, _days(budget, calendar).zone_on(day)))
    return found


def standing(conn: Connection, budget: Budget, at: datetime) -> Standing:
    """Where the budget stands."""
    (found,) = standings(conn, [budget], at)
    return found


def figures(conn: Connection, budget: Budget, at: datetime) -> Figures:
    """What there is to show of the budget. Read in one snapshot."""
    found = standing(conn, budget, at)
    state, today = found.state, found.today
    # A budget that is to begin later says already what its scope spends.
    costs = scoped.costs(conn, budget.scope, today - LOOKED_BACK * _DAY, today + _DAY)
    daily = _daily(budget, costs)
    now = Now(today, _gone(_days(budget, projects.calendar(conn)), at))
    return Figures(
        standing=found,
        daily=daily,
        has_calls=any(cost.calls for cost in costs),
        has_unpriced=any(cost.calls and cost.cost is None for cost in costs),
        foreign=_foreign(budget, costs),
        aside=[each for each in reservations.aside(conn, budget) if each.period_id == found.period.id],
        forecast=forecast(
            daily, found.period.span, state.limit, state.spent, EXACT.add(state.reserved, state.held), now
        ),
    )


def _daily(budget: Budget, costs: Sequence[scoped.Cost]) -> dict[date, Decimal]:
    """Without what has no rate, or is in a currency of which the budget doesn't know what it is in its own."""
    found: dict[date, Decimal] = {}
    for cost in costs:
        amount = None if cost.cost is None else budget.converted(cost.cost)
        if amount is not None:
            found[cost.day] = EXACT.add(found.get(cost.day, ZERO), amount)
    return found


def _foreign(budget: Budget, costs: Sequence[scoped.Cost]) -> list[str]:
    """Also of calls that were refused for it, so that it does not look mended once nothing else is left."""
    priced = (cost.cost for cost in costs if cost.cost is not None)
    return sorted({cost.currency for cost in priced if budget.converted(cost) is None})


def _place(budget: Budget, today: date) -> Place:
    return Place(budget.id, budget.cycle.span(max(today, budget.counted_from)).first)


def _days(budget: Budget, calendar: Calendar) -> Days:
    return calendar.days(budget.scope.id if budget.scope.kind is Kind.PROJECT else 0)


def _gone(days: Days, at: datetime) -> Decimal:
    """How much of the instant's day is gone. Days are seldom 23 or 25 hours long, and longer where a zone changes."""
    day = days.of(at)
    start, end = days.start(day), days.start(day + _DAY)
    return Decimal((at - start) // _SECOND) / Decimal((end - start) // _SECOND)


_SECOND = timedelta(seconds=1)

"""The limit of a budget in each of its periods, by its history: a period that is over keeps the one that it had."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy import Connection

from accounting import budgets, projects
from accounting.budgets import Budget
from accounting.money import exact
from accounting.projects import Calendar
from accounting.store.tables import budget_changes


@dataclass(frozen=True, slots=True)
class Limits:
    """The limit that a budget was made with, and in their order those set later: each with the day by which periods
    had ended that were over then."""

    first: Decimal
    later: Sequence[tuple[date, Decimal]] = ()

    def of(self, ends_on: date | None) -> Decimal:
        """Of the period that ends on that day, left out: the last that was set while it was not over, else the
        first."""
        held = [limit for over_by, limit in self.later if ends_on is None or ends_on > over_by]
        return held[-1] if held else self.first


def read(conn: Connection, some: Collection[Budget]) -> dict[int, Limits]:
    """Of these budgets, by their ids; as the books have it now, whatever who asks knows of them."""
    calendar = projects.calendar(conn)
    said: dict[int, list[_Said]] = {budget.id: [] for budget in some}
    for row in conn.execute(_CHANGES, {"ids": sorted(said)}):
        if "limit" in row.fields:
            said[row.budget_id].append((row.at, *row.fields["limit"]))
    return {budget.id: _limits(budget, said[budget.id], calendar) for budget in some}


_Said = tuple[datetime, str | None, str]
"""When a limit was set, what it was before, None in a new budget, and what it is since."""

_CHANGES = (
    sa.select(budget_changes)
    .where(budget_changes.c.budget_id.in_(sa.bindparam("ids", expanding=True)))
    .order_by(budget_changes.c.id)
)


def _limits(budget: Budget, said: Iterable[_Said], calendar: Calendar) -> Limits:
    first: Decimal | None = None
    later = []
    for at, was, is_ in said:
        if first is None:
            first = exact(is_ if was is None else was)
        if was is not None:
            later.append((budgets.over_by(budget, calendar, at), exact(is_)))
    return Limits(budget.terms.limit if first is None else first, later)

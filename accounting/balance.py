"""The spend tables of one day held against its calls, and against each other, to the last digit."""

import math
from collections.abc import Collection, Iterator
from datetime import date
from decimal import Decimal
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection, Table

from accounting.booked_days import anywhere, tags
from accounting.contributions import COUNTS, FIGURES, beside, group_columns
from accounting.differences import Difference, Names, names, raw, text
from accounting.money import EXACT, exact
from accounting.rates import price
from accounting.recount import Figures, Group, Rates, Recount, Sums
from accounting.store.tables import spend_by_tag, spend_days, spend_quarters
from accounting.usage import COUNTED, Quantities

_NOTHING = (0,) * len(FIGURES)
_QUANTITIES = slice(len(COUNTS), len(COUNTS) + len(COUNTED))


class Row(NamedTuple):
    """What a spend row says: its figures, in the order of `FIGURES`, what their quantities cost, and what providers
    stated, in a table that has that."""

    figures: tuple[int, ...]
    amount: Decimal | None = None
    currency: str | None = None
    stated: Decimal | None = None

    def columns(self) -> dict[str, Any]:
        figures = dict(zip(FIGURES, self.figures, strict=True))
        return {**figures, "amount": self.amount, "currency": self.currency, "stated": self.stated}


Rows = dict[Group, Row]


class Figure(NamedTuple):
    """A figure of the group, under the key of `table`, with which `culprit` stands alone."""

    culprit: str
    table: Table
    group: Group
    column: str
    expected: Any
    found: Any

    def spelt(self, known: Names) -> Difference:
        row = dict(zip(group_columns(self.table), self.group, strict=True))
        return Difference(self.culprit, known.of(row), self.column, text(self.expected), text(self.found))

    @property
    def about(self) -> tuple[Any, ...]:
        """What a row by tag shares with the one that this is a figure of."""
        row = dict(zip(group_columns(self.table), self.group, strict=True))
        return row["project_id"], row["rate_id"], row["usage_source"], self.column


def unbalanced(conn: Connection, day: date, count: Recount) -> list[Difference]:
    """The figures of the day's spend rows that are not what its calls add up to."""
    start, end = anywhere(day)
    quarter = spend_quarters.c.quarter
    quarters = _stored(conn, spend_quarters, day, quarter >= start, quarter < end)
    days = _stored(conn, spend_days, day)
    by_tag = _stored(conn, spend_by_tag, day, spend_by_tag.c.tag.in_(tags(conn)))
    found = [*_of_spend(_rows(spend_quarters, count.sums, count.rates), quarters, days, count.rates)]
    counted = _rows(spend_by_tag, count.by_tag(), count.rates)
    counted |= {group: counted[group]._replace(stated=stated) for group, stated in count.stated.items()}
    found += _of_tags(counted, by_tag, count.rates, found)
    known = names(conn) if found else Names({}, {})
    return [figure.spelt(known) for figure in found]


def _stored(conn: Connection, table: Table, day: date, *which: sa.ColumnElement[bool]) -> Rows:
    group = group_columns(table)
    columns = raw(conn, table, *group, "amount", "currency", *beside(table), *FIGURES)
    found = conn.execute(sa.select(*columns).where(table.c.billed_on == day, *which))
    width = len(group), len(columns) - len(FIGURES)
    return {row[: width[0]]: _read(row[slice(*width)], row[width[1] :]) for row in map(tuple, found)}


def _read(cost: tuple[Any, ...], figures: tuple[Any, ...]) -> Row:
    amount, currency, *stated = cost
    return Row(_figures(figures), _amount(amount), currency, *map(_amount, stated))


def _figures(stored: tuple[Any, ...]) -> tuple[Any, ...]:
    """With NaN, which differs from everything, for what is no whole number."""
    if {int}.issuperset(map(type, stored)):
        return stored
    return tuple(figure if type(figure) is int else math.nan for figure in stored)


def _amount(stored: Any) -> Decimal | None:
    """NaN, too, where it is no number."""
    try:
        return None if stored is None else exact(stored)
    except ValueError:
        return Decimal("NaN")


def _rows(table: Table, sums: Sums, rates: Rates) -> Rows:
    place = group_columns(table).index("rate_id")
    return {group: _row(figures, group[place], rates) for group, figures in sums.items()}


def _row(figures: Figures, rate_id: int, rates: Rates) -> Row:
    """The figures with what they cost at the rate."""
    row, held = Row(figures), rates.get(rate_id)
    if held is None:
        return row
    cost = price(Quantities(*row.figures[_QUANTITIES]), held.rate)
    return row._replace(amount=cost.amount, currency=cost.currency)


def _by_day(quarters: Rows) -> Rows:
    days: Rows = {}
    for group, row in quarters.items():
        before = days.get(group[1:])
        days[group[1:]] = row if before is None else _plus(before, row)
    return days


def _plus(one: Row, other: Row) -> Row:
    amounts = [row.amount for row in (one, other) if row.amount is not None]
    return Row(
        tuple(map(add, one.figures, other.figures)),
        reduce(EXACT.add, amounts) if amounts else None,
        one.currency or other.currency,
    )


def _of_spend(counted: Rows, quarters: Rows, days: Rows, rates: Rates) -> Iterator[Figure]:
    """Two against one: where both spend tables agree and the calls don't, the calls (or their rate) were changed."""
    counted_days, quarter_days = _by_day(counted), _by_day(quarters)

    def outvoted(group: Group, column: str) -> str | None:
        return _outvoted(column, *_at(spend_days, group, rates, counted_days, quarter_days, days))

    for group, column, of_calls, stored in _differing(spend_quarters, counted, quarters, rates):
        culprit = outvoted(group[1:], column) or spend_quarters.name
        pair = (of_calls, stored) if culprit == spend_quarters.name else (stored, of_calls)
        yield Figure(culprit, spend_quarters, group, column, *pair)
    for group, column, of_calls, stored in _differing(spend_days, counted_days, days, rates):
        if outvoted(group, column) is None:
            yield Figure(spend_days.name, spend_days, group, column, of_calls, stored)


def _of_tags(counted: Rows, stored: Rows, rates: Rates, found: Collection[Figure]) -> Iterator[Figure]:
    """Rows by tag; where the calls behind them are known to have been changed, that is what they differ by."""
    changed = {figure.about: figure.culprit for figure in found if figure.culprit in _BEHIND}
    for group, column, of_calls, held in _differing(spend_by_tag, counted, stored, rates):
        figure = Figure(spend_by_tag.name, spend_by_tag, group, column, of_calls, held)
        culprit = changed.get(figure.about)
        yield figure if culprit is None else figure._replace(culprit=culprit, expected=held, found=of_calls)


_BEHIND = ("calls", "rates")


def _differing(table: Table, counted: Rows, stored: Rows, rates: Rates) -> Iterator[tuple[Group, str, Any, Any]]:
    """Each figure that is not the same on both sides, with both."""
    apart = [group for group in {*counted, *stored} if counted.get(group) != stored.get(group)]
    for group in sorted(apart, key=lambda group: [*map(str, group)]):
        one, other = _at(table, group, rates, counted, stored)
        yield from ((group, column, *_both(column, one, other)) for column in _columns(one, other))


def _at(table: Table, group: Group, rates: Rates, *sums: Rows) -> list[Row]:
    """The group's row on each side; where there is none, one of nothing."""
    rate_id = group[group_columns(table).index("rate_id")]
    return [rows.get(group) or _row(_NOTHING, rate_id, rates) for rows in sums]


def _both(column: str, one: Row, other: Row) -> tuple[Any, Any]:
    return one.columns()[column], other.columns()[column]


def _columns(one: Row, other: Row) -> list[str]:
    """The columns in which the rows differ."""
    if one == other:
        return []
    found = other.columns()
    return [column for column, expected in one.columns().items() if expected != found[column]]


def _outvoted(column: str, of_calls: Row, of_quarters: Row, of_days: Row) -> str | None:
    """What is behind the calls' figure, where quarter hours and days both have another; else None."""
    if column in _columns(of_quarters, of_days) or column not in _columns(of_calls, of_days):
        return None
    return "rates" if of_calls.figures == of_days.figures else "calls"

"""What the calls of a scope cost, from the sums and from the batches that are not in them yet, day by day.

Read in one snapshot, or while no batch can be rolled up: see `Lock.ROLLUP`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, FromClause

from accounting.contributions import TAG, USER
from accounting.money import Money
from accounting.patterns import fits
from accounting.rates import UNPRICED, Rate, price
from accounting.scopes import Kind, Scope
from accounting.store import aliaslines, each_pair, ratelines
from accounting.store.tables import batches, calls, spend_by_tag, spend_days
from accounting.usage import COUNTED, Outcome, Quantities


@dataclass(frozen=True, slots=True)
class Cost:
    """What calls of one day cost at one rate, and how many they are; None where they have none.

    Those that failed are not counted, sub-calls are.
    """

    day: date
    cost: Money | None
    calls: int


def costs(conn: Connection, scope: Scope, first: date | None = None, end: date | None = None) -> list[Cost]:
    """Of the days from `first`, included, to `end`, left out (None: open), in their order."""
    found = [*_rolled(conn, scope, first, end), *_waiting(conn, scope, first, end)]
    rates = {rate.id: rate for rate in ratelines.read(conn, withdrawn=True, ids={row.rate_id for row in found})}
    return [_cost(row, rates) for row in sorted(found, key=lambda row: (row.billed_on, row.rate_id))]


def _cost(row: sa.Row[Any], rates: Mapping[int, Rate]) -> Cost:
    if row.rate_id == UNPRICED:
        return Cost(row.billed_on, None, int(row.counting))
    used = Quantities(*(int(getattr(row, name)) for name in COUNTED))
    return Cost(row.billed_on, price(used, rates[row.rate_id]), int(row.counting))


def _rolled(conn: Connection, scope: Scope, first: date | None, end: date | None) -> list[sa.Row[Any]]:
    table = spend_by_tag if scope.kind in (Kind.USER, Kind.TAG) else spend_days
    chosen = [*_between(table.c.billed_on, first, end), *_of_sums(conn, scope, table, first, end)]
    counting = sa.func.sum(table.c.calls - table.c.failed + table.c.sub_calls).label("counting")
    return _summed(conn, sa.select(*_group(table), *_quantities(table), counting).where(*chosen), table)


def _waiting(conn: Connection, scope: Scope, first: date | None, end: date | None) -> list[sa.Row[Any]]:
    failed = sa.and_(calls.c.outcome == Outcome.FAILED, calls.c.parent_id.is_(None))
    counting = sa.func.sum(sa.case((failed, 0), else_=1)).label("counting")
    # Not joined: SQLite would go through all calls and look up the batch of each.
    unrolled = calls.c.batch_id.in_(sa.select(batches.c.id).where(batches.c.rolled_at.is_(None)))
    chosen = [unrolled, *_between(calls.c.billed_on, first, end)]
    models = sa.select(calls.c.provider, calls.c.model).where(*chosen)
    chosen += _of_calls(conn, scope, models)
    rows = sa.select(*_group(calls), *_quantities(calls), counting).where(*chosen)
    return _summed(conn, rows, calls)


def _summed(conn: Connection, rows: sa.Select[Any], table: FromClause) -> list[sa.Row[Any]]:
    return list(conn.execute(rows.group_by(*_group(table))).all())


def _group(table: FromClause) -> tuple[ColumnElement[Any], ...]:
    return table.c.billed_on, table.c.rate_id


def _quantities(table: FromClause) -> Iterator[ColumnElement[int]]:
    return (sa.func.coalesce(sa.func.sum(table.c[name]), 0).label(name) for name in COUNTED)


def _between(day: ColumnElement[date], first: date | None, end: date | None) -> list[ColumnElement[bool]]:
    return [*([day >= first] if first is not None else ()), *([day < end] if end is not None else ())]


def _of_sums(
    conn: Connection, scope: Scope, table: FromClause, first: date | None, end: date | None
) -> list[ColumnElement[bool]]:
    match scope.kind:
        case Kind.USER:
            return [table.c.tag == USER, table.c.value == scope.name]
        case Kind.TAG:
            return [table.c.tag == TAG + scope.name, table.c.value == scope.value]
        case _:
            models = sa.select(table.c.provider, table.c.model).where(*_between(table.c.billed_on, first, end))
            return _of_either(conn, scope, table, models)


def _of_calls(conn: Connection, scope: Scope, models: sa.Select[Any]) -> list[ColumnElement[bool]]:
    match scope.kind:
        case Kind.USER:
            return [calls.c.end_user == scope.name]
        case Kind.TAG:
            pair = each_pair(calls.c.tags)
            return [sa.exists().select_from(pair).where(pair.c.key == scope.name, pair.c.value == scope.value)]
        case _:
            return _of_either(conn, scope, calls, models)


def _of_either(conn: Connection, scope: Scope, table: FromClause, models: sa.Select[Any]) -> list[ColumnElement[bool]]:
    match scope.kind:
        case Kind.PROJECT:
            return [table.c.project_id == scope.id]
        case Kind.KEY:
            return [table.c.key_id == scope.id]
        case Kind.PROVIDER:
            return [table.c.provider == scope.name]
        case Kind.MODEL:
            return [_named(conn, scope, table, models)]
        case _:
            return []


def _named(conn: Connection, scope: Scope, table: FromClause, models: sa.Select[Any]) -> ColumnElement[bool]:
    """Of those that were called the models that go by the scope's name."""
    aliases = aliaslines.in_force(conn)
    of_provider: dict[str, list[str]] = {}
    for provider, model in conn.execute(models.distinct()):
        names = [model, *(name for name, _ in aliases.names(provider, model))]
        if any(fits(scope.name, name) for name in names):
            of_provider.setdefault(provider, []).append(model)
    chosen = (sa.and_(table.c.provider == each, table.c.model.in_(those)) for each, those in of_provider.items())
    return sa.or_(sa.false(), *chosen)

"""The rollup: adds delivered batches to the spend tables, each once.

A batch is marked in the transaction that adds its sums, so there is no moment at which it could be added again
or be forgotten. No watermark over ids or times is kept: both become visible out of order under several writers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, Table

from accounting import ratebook
from accounting.rates import Rate, price
from accounting.store import exact_sum, insert, reading, writing
from accounting.store.tables import batches, calls, spend_days, spend_quarters
from accounting.usage import Outcome, Quantities

CALLS_AT_ONCE = 2_500
"""About as many as are added within 100 ms, the longest that others should wait for the store."""

COUNTS = ("calls", "failed", "interrupted", "unknown")
TOKENS = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")


@dataclass(frozen=True, slots=True)
class Rolled:
    """How much was added to the spend tables."""

    batches: int = 0
    calls: int = 0

    def __add__(self, other: "Rolled") -> "Rolled":
        return Rolled(self.batches + other.batches, self.calls + other.calls)


def roll_all(
    engine: Engine, clock: Callable[[], datetime], progress: Callable[[Rolled], object] | None = None
) -> Rolled:
    """Adds whatever is waiting, one transaction after the other; `progress` gets the sum so far."""
    total = Rolled()
    while (step := roll(engine, clock())).batches:
        total += step
        if progress is not None:
            progress(total)
    return total


def roll(engine: Engine, now: datetime, limit: int = 100) -> Rolled:
    """Adds up to `limit` waiting batches, the oldest first, in one transaction.

    At least one where any waits, and fewer than `limit` where they hold more than `CALLS_AT_ONCE` calls.
    """
    with reading(engine) as conn:  # an idle round takes no lock that a writer could want
        if conn.execute(_waiting(1)).first() is None:
            return Rolled()
    with writing(engine) as conn:
        claimed = _claim(conn, now, limit)
        rates = {rate.id: rate for rate in ratebook.rates(conn)}
        _add(conn, spend_quarters, claimed, rates)
        return Rolled(len(claimed), _add(conn, spend_days, claimed, rates))


def group_columns(table: Table) -> list[str]:
    """What a row of a spend table is about; its counts and its cost are the rest."""
    return [column.name for column in table.primary_key]


def _waiting(limit: int) -> sa.Select[Any]:
    oldest = sa.select(batches.c.id, batches.c.inserted).where(batches.c.rolled_at.is_(None))
    return oldest.order_by(batches.c.id).limit(limit)


def _claim(conn: Connection, now: datetime, limit: int) -> list[int]:
    # Where rows can be locked one by one, a rollup passes over the batches that another is adding.
    waiting = conn.execute(_waiting(limit).with_for_update(skip_locked=True))
    claimed = _bounded([(batch.id, batch.inserted) for batch in waiting])
    conn.execute(sa.update(batches).where(batches.c.id.in_(claimed)).values(rolled_at=now))
    return claimed


def _bounded(waiting: Sequence[tuple[int, int]]) -> list[int]:
    """The ids of the first batches, up to `CALLS_AT_ONCE` calls; a batch that is larger by itself goes alone."""
    so_far = accumulate(inserted for _, inserted in waiting)
    return [
        id_
        for (id_, inserted), total in zip(waiting, so_far, strict=True)
        if total <= CALLS_AT_ONCE or total == inserted
    ]


def _add(conn: Connection, table: Table, claimed: list[int], rates: Mapping[int, Rate]) -> int:
    """Adds the claimed calls to one spend table; returns how many they were."""
    rows = [_priced(dict(row), rates) for row in conn.execute(_sums(table, claimed)).mappings()]
    if rows:
        conn.execute(_upsert(conn, table), rows)
    return sum(row["calls"] for row in rows)


def _sums(table: Table, claimed: list[int]) -> sa.Select[Any]:
    # In key order, so that two rollups that meet in a row wait for each other and don't deadlock.
    group = [calls.c[name] for name in group_columns(table)]
    tokens = [sa.func.sum(sa.func.coalesce(calls.c[name], 0)).label(name) for name in TOKENS]
    counted = sa.select(
        *group,
        sa.func.count().label("calls"),
        _ended(Outcome.FAILED),
        _ended(Outcome.INTERRUPTED),
        _ended(Outcome.UNKNOWN),
        *tokens,
    )
    return counted.where(calls.c.batch_id.in_(claimed)).group_by(*group).order_by(*group)


def _ended(outcome: Outcome) -> sa.ColumnElement[int]:
    return sa.func.sum(sa.case((calls.c.outcome == outcome.value, 1), else_=0)).label(outcome.value)


def _priced(row: dict[str, Any], rates: Mapping[int, Rate]) -> dict[str, Any]:
    tokens = {name: int(row[name]) for name in TOKENS}  # PostgreSQL sums BIGINT as NUMERIC
    return row | tokens | _cost_columns(rates.get(row["rate_id"]), Quantities(*tokens.values()))


def _cost_columns(rate: Rate | None, quantities: Quantities) -> dict[str, Any]:
    """`amount` and `currency` as a spend row carries them; both NULL without a rate."""
    if rate is None:
        return {"amount": None, "currency": None}
    cost = price(quantities, rate)
    return {"amount": cost.amount, "currency": cost.currency}


def _upsert(conn: Connection, table: Table) -> sa.Insert:
    statement = insert(conn, table)
    new = statement.excluded
    added: dict[str, Any] = {name: table.c[name] + new[name] for name in (*COUNTS, *TOKENS)}
    added["amount"] = exact_sum(table.c.amount, new.amount)
    return statement.on_conflict_do_update(index_elements=group_columns(table), set_=added)

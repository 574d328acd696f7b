"""The rollup: adds delivered batches to the spend tables, each once.

A batch is marked in the transaction that adds its sums, so there is no moment at which it could be added again
or be forgotten. No watermark over ids or times is kept: both become visible out of order under several writers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from accounting import contributions
from accounting.store import Lock, hold, reading, schema, transact
from accounting.store.tables import batches

CALLS_AT_ONCE = {"sqlite": 5_000, "postgresql": 50_000}
"""On SQLite, where everybody waits, what is added within 100 ms. On PostgreSQL only who adds to the same rows waits,
and a longer backlog goes faster in larger pieces.
"""


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


def roll(engine: Engine, now: datetime, limit: int = 500) -> Rolled:
    """Adds up to `limit` waiting batches, the oldest first, in one transaction.

    At least one where any waits, and fewer than `limit` where they hold more than `CALLS_AT_ONCE` calls.
    """
    with reading(engine) as conn:  # an idle round takes no lock that a writer could want
        if conn.execute(_waiting(1)).first() is None:
            return Rolled()
    return transact(engine, lambda conn: _roll(conn, now, limit))


def _roll(conn: Connection, now: datetime, limit: int) -> Rolled:
    schema.check(conn)  # a scheduler may outlive an upgrade, and would leave out tables that it doesn't know
    hold(conn, Lock.ROLLUP, shared=True)
    claimed = _claim(conn, now, limit)
    contributions.add_batches(conn, list(claimed))
    return Rolled(len(claimed), sum(claimed.values()))


def _waiting(limit: int) -> sa.Select[Any]:
    oldest = sa.select(batches.c.id, batches.c.inserted).where(batches.c.rolled_at.is_(None))
    return oldest.order_by(batches.c.id).limit(limit)


def _claim(conn: Connection, now: datetime, limit: int) -> dict[int, int]:
    """Marks batches that nobody else is adding; returns how many calls each has, by its id."""
    # Where rows can be locked one by one, a rollup passes over the batches that another is adding.
    waiting = conn.execute(_waiting(limit).with_for_update(skip_locked=True))
    claimed = _bounded([(batch.id, batch.inserted) for batch in waiting], CALLS_AT_ONCE[conn.dialect.name])
    conn.execute(sa.update(batches).where(batches.c.id.in_(claimed)).values(rolled_at=now))
    return claimed


def _bounded(waiting: Sequence[tuple[int, int]], most: int) -> dict[int, int]:
    """The first batches, up to so many calls in all; a batch that is larger by itself goes alone."""
    so_far = accumulate(inserted for _, inserted in waiting)
    return {
        id_: inserted
        for (id_, inserted), total in zip(waiting, so_far, strict=True)
        if total <= most or total == inserted
    }

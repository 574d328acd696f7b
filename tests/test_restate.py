from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, true

from accounting import restate as module
from accounting.contributions import SPEND_TABLES, group_columns
from accounting.restate import Order, Restated, restate
from accounting.store import writing
from accounting.store.tables import batches, calls, restatements
from tests.books import NOON, Books, made

ORDER = Order("project-moved", {"to": "search"}, "ann@laptop", "the team was split")
LATER = NOON + timedelta(hours=1)


def clock() -> datetime:
    return LATER


def to(**values: Any) -> module.Change:
    """Every call is to say so."""

    def change(_conn: Connection, rows: Sequence[RowMapping]) -> Mapping[UUID, Mapping[str, Any]]:
        return {row["id"]: values for row in rows}

    return change


def spend(books: Books) -> dict[str, dict[tuple[Any, ...], dict[str, Any]]]:
    """Every row of the spend tables, by table and key; amounts compare as numbers."""
    return {
        table.name: {tuple(row[name] for name in group_columns(table)): row for row in books.rows(table)}
        for table in SPEND_TABLES
    }


def rebuilt(books: Books) -> dict[str, dict[tuple[Any, ...], dict[str, Any]]]:
    """The spend tables as they come from rolling up all calls of rolled batches from nothing; they stay like that."""
    with writing(books.engine) as conn:
        for table in SPEND_TABLES:
            conn.execute(table.delete())
        conn.execute(batches.update().values(rolled_at=None))
    books.roll()
    return spend(books)


def unfinished(books: Books) -> None:
    """As if what finished last had been killed before its end."""
    with writing(books.engine) as conn:
        conn.execute(restatements.update().values(ended_at=None))


def test_a_rolled_call_moves_to_another_row_of_every_spend_table(books: Books) -> None:
    books.deliver(made(number=1, tags={"feature": "rerank"}, user="u-1"), made(number=2))
    books.roll()
    done = restate(books.engine, ORDER, calls.c.number == 1, to(project_id=7), clock)
    cost = {"CNY": Decimal("0.018")}
    assert done == Restated(seen=1, changed=1, before=cost, after=cost)
    for table in SPEND_TABLES:
        assert 7 in [row["project_id"] for row in books.rows(table)]
    assert spend(books) == rebuilt(books)


def test_a_call_that_waits_for_the_rollup_changes_and_no_spend_does(books: Books) -> None:
    books.deliver(made())
    restate(books.engine, ORDER, true(), to(project_id=7), clock)
    assert [row["project_id"] for row in books.rows(calls)] == [7]
    assert all(books.rows(table) == [] for table in SPEND_TABLES)
    books.roll()
    assert all(row["project_id"] == 7 for table in SPEND_TABLES for row in books.rows(table))

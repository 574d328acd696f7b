"""The spend tables of a test's books, to be compared row by row."""

from typing import Any

from accounting.contributions import SPEND_TABLES, group_columns
from accounting.store import writing
from accounting.store.tables import batches, metadata, rates, store
from tests.books import Books, Journal

Spending = dict[str, dict[tuple[Any, ...], dict[str, Any]]]
"""Every row, by table and key; amounts compare as numbers."""


def spending(books: Books) -> Spending:
    return {
        table.name: {tuple(row[name] for name in group_columns(table)): row for row in books.rows(table)}
        for table in SPEND_TABLES
    }


def rolled_anew(books: Books) -> Spending:
    """What rolling up all calls from nothing makes of them, which is what the books hold from then on."""
    with writing(books.engine) as conn:
        for table in SPEND_TABLES:
            conn.execute(table.delete())
        conn.execute(batches.update().values(rolled_at=None))
    books.roll()
    return spending(books)


def emptied(books: Books) -> Books:
    """The same books without calls, as making new ones takes longer than an example."""
    with writing(books.engine) as conn:
        for table in reversed(metadata.sorted_tables):
            if table not in (store, rates):
                conn.execute(table.delete())
    books.journal = Journal()
    return books

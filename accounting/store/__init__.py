"""The store: its tables, the way in, and the few statements in which the databases differ."""

from accounting.store.engine import (
    Lock,
    altering,
    database_now,
    file_exists,
    hold,
    insert,
    is_postgresql,
    named,
    open_engine,
    prepare,
    reading,
    transact,
    writing,
)
from accounting.store.pairs import each_pair, each_text
from accounting.store.sqlite import file_of
from accounting.store.sums import exact_cost, exact_negative, exact_sum, exact_total

__all__ = [
    "open_engine",
    "prepare",
    "reading",
    "writing",
    "altering",
    "transact",
    "Lock",
    "hold",
    "database_now",
    "insert",
    "exact_cost",
    "exact_negative",
    "exact_sum",
    "exact_total",
    "each_pair",
    "each_text",
    "is_postgresql",
    "named",
    "file_exists",
    "file_of",
]

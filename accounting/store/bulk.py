"""Calls into the books by the hundred, past what SQLAlchemy does with every single value.

Values are turned into what the driver takes column by column, a few rows at a time: a batch is stored inside
applications, whose own threads wait for the interpreter meanwhile.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import lru_cache, partial
from itertools import chain, islice
from json.encoder import encode_basestring as _quoted
from select import select
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from accounting.money import exact, plain
from accounting.store.engine import insert, is_postgresql
from accounting.store.tables import calls
from accounting.store.types import EPOCH, MICROSECOND, Exact, Instant, Json

ROWS_AT_ONCE = 20
"""Rows between two moments at which other threads get the interpreter."""

FEW = 20
"""So many calls are not worth a table of their own, which PostgreSQL would have to enter in its catalogs each time."""

Row = tuple[Any, ...]
"""The values of a call, by column."""
Values = Sequence[Any]
Convert = Callable[[Values], Values]
"""The values of one column, of some rows, as the driver takes them."""


def give_way() -> None:
    """Let the application's threads run: one that asks for the interpreter waits 5 ms, and each call asks often."""
    _yield()


# A sleep of no time lets go of the interpreter, too, but takes a hundred times as long to come back; Windows has
# nothing else, as its `select` wants a socket.
_yield: Callable[[], object] = partial(select, [], [], [], 0) if os.name == "posix" else partial(time.sleep, 0)


def insert_calls(conn: Connection, columns: tuple[str, ...], rows: Iterable[Row]) -> int:
    """Insert the calls whose ids are not there yet, in the order given; returns how many that were.

    Comes once in a transaction.
    """
    if not is_postgresql(conn):
        return _execute(conn, columns, converted(columns, rows, "sqlite"))
    left = iter(rows)
    few = list(islice(left, FEW + 1))
    if len(few) <= FEW:
        return _insert(conn, columns, few)
    return _copy(conn, columns, converted(columns, chain(few, left), "postgresql"))


def _insert(conn: Connection, columns: tuple[str, ...], rows: Sequence[Row]) -> int:
    named = [dict(zip(columns, row, strict=True)) for row in rows]
    return conn.execute(insert(conn, calls).on_conflict_do_nothing().inline(), named).rowcount


def _execute(conn: Connection, columns: tuple[str, ...], rows: Iterable[Row]) -> int:
    marks = ", ".join("?" * len(columns))
    statement = f"INSERT INTO calls ({', '.join(columns)}) VALUES ({marks}) ON CONFLICT DO NOTHING"  # noqa: S608
    raw: Any = conn.connection.cursor()
    with closing(raw) as cursor:
        try:
            # The driver lets go of the interpreter at each row, and none is kept.
            cursor.executemany(statement, rows)
        except sqlite3.Error as error:
            raise DBAPIError.instance(statement, None, error, sqlite3.Error, hide_parameters=True) from error
        return int(cursor.rowcount)


def _copy(conn: Connection, columns: tuple[str, ...], rows: Iterable[Row]) -> int:
    """By way of a table of its own, as COPY stops at the first call that is there already."""
    names = ", ".join(columns)
    conn.exec_driver_sql("CREATE TEMP TABLE arriving (LIKE calls) ON COMMIT DROP")
    raw: Any = conn.connection.cursor()
    with raw, raw.copy(f"COPY arriving ({names}) FROM STDIN") as copy:
        for some in _chunks(map("\t".join, rows)):
            copy.write("\n".join(some) + "\n")
    moved = f"INSERT INTO calls ({names}) SELECT {names} FROM arriving ORDER BY id ON CONFLICT DO NOTHING"  # noqa: S608
    return conn.exec_driver_sql(moved).rowcount


def converted(columns: tuple[str, ...], rows: Iterable[Row], dialect: str) -> Iterator[Row]:
    """The rows as SQLite's driver takes them, or as the fields of lines that PostgreSQL copies."""
    converters = _converters(columns, dialect)
    for some in _chunks(rows):
        by_column: list[Values] = list(zip(*some, strict=True))
        for index, convert in converters:
            by_column[index] = _at_once(convert, by_column[index])
        yield from zip(*by_column, strict=True)
        give_way()


def _at_once(convert: Convert, values: Values) -> Values:
    """The values converted; of a few rows most columns say the same all the way down."""
    first = values[0]
    if first == values[-1] and values.count(first) == len(values):
        return [*convert(values[:1])] * len(values)
    return convert(values)


def _chunks(items: Iterable[Any]) -> Iterator[list[Any]]:
    left = iter(items)
    while some := list(islice(left, ROWS_AT_ONCE)):
        yield some


@lru_cache(maxsize=8)
def _converters(columns: tuple[str, ...], dialect: str) -> tuple[tuple[int, Convert], ...]:
    """What to do to the columns, by their place, before the driver takes them."""
    known = _FOR_COPY if dialect == "postgresql" else _FOR_SQLITE
    kinds = (type(calls.c[name].type) for name in columns)
    return tuple((index, known[kind]) for index, kind in enumerate(kinds) if kind in known)


def _uuids(values: Values) -> Values:
    return [None if value is None else value.bytes.hex() for value in values]  # half the time of `value.hex`


def _instants(values: Values) -> Values:
    return [None if value is None else (value - EPOCH) // MICROSECOND for value in values]


def _calendar(values: Values) -> Values:
    return [None if value is None else value.isoformat() for value in values]


def _amounts(values: Values) -> Values:
    return [None if value is None else plain(exact(value)) for value in values]


def _documents(values: Values) -> Values:
    return [None if value is None else _json(value) for value in values]


def _json(value: Mapping[str, str] | list[str]) -> str:
    """Tags or anomalies, which are nothing but texts."""
    if isinstance(value, list):
        return "[" + ",".join(map(_quoted, value)) + "]"
    return "{" + ",".join([f"{_quoted(name)}:{_quoted(text)}" for name, text in value.items()]) + "}"


_FOR_SQLITE: dict[type, Convert] = {
    sa.Uuid: _uuids,
    Instant: _instants,
    sa.Date: _calendar,
    sa.Boolean: lambda values: list(map(int, values)),
    Exact: _amounts,
    Json: _documents,
}

_NULL = "\\N"
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def _texts(values: Values) -> Values:
    """What COPY reads as these texts."""
    whole = "".join([value for value in values if value is not None])
    if "\\" in whole or "\t" in whole or "\n" in whole or "\r" in whole:
        return [_NULL if value is None else value.translate(_ESCAPES) for value in values]
    return [_NULL if value is None else value for value in values]


def _figures(values: Values) -> Values:
    return [_NULL if value is None else str(value) for value in values]


_FOR_COPY: dict[type, Convert] = {
    sa.Uuid: lambda values: _texts(_uuids(values)),
    sa.LargeBinary: lambda values: [f"\\\\x{value.hex()}" for value in values],
    sa.Text: _texts,
    Json: lambda values: _texts(_documents(values)),
    sa.Integer: _figures,
    sa.BigInteger: _figures,
    sa.Boolean: _figures,
    Instant: lambda values: _texts(_calendar(values)),
    sa.Date: lambda values: _texts(_calendar(values)),
    Exact: lambda values: _texts(_amounts(values)),
}

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
from itertools import chain, compress, groupby, islice
from json.encoder import encode_basestring as _quoted
from operator import itemgetter
from select import select
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from accounting.money import exact, plain
from accounting.store.engine import is_postgresql
from accounting.store.tables import calls
from accounting.store.types import EPOCH, MICROSECOND, Exact, Instant, Json

ROWS_AT_ONCE = 20
"""Rows between two moments at which other threads get the interpreter."""

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
    put = _copy if is_postgresql(conn) else _execute
    return put(conn, columns, rows)


def _execute(conn: Connection, columns: tuple[str, ...], rows: Iterable[Row]) -> int:
    raw: Any = conn.connection.cursor()
    new = 0
    with closing(raw) as cursor:
        for said, some in groupby(_said(columns, rows), key=itemgetter(0)):
            try:
                # The driver lets go of the interpreter at each row, and keeps none.
                cursor.executemany(_statement(said), chain.from_iterable(part for _, part in some))
            except sqlite3.Error as error:
                raise DBAPIError.instance(_statement(said), None, error, sqlite3.Error, hide_parameters=True) from error
            new += cursor.rowcount
    return new


def _said(columns: tuple[str, ...], rows: Iterable[Row]) -> Iterator[tuple[tuple[str, ...], Iterator[Row]]]:
    """Rows of some columns: those in which none of a few rows says anything are left out, which is a fifth."""
    for by_column in converted(columns, rows, "sqlite"):
        said = [values.count(None) < len(values) for values in by_column]
        yield tuple(compress(columns, said)), zip(*compress(by_column, said), strict=True)


@lru_cache(maxsize=128)
def _statement(columns: tuple[str, ...]) -> str:
    marks = ", ".join("?" * len(columns))
    return f"INSERT INTO calls ({', '.join(columns)}) VALUES ({marks}) ON CONFLICT DO NOTHING"  # noqa: S608


def _copy(conn: Connection, columns: tuple[str, ...], rows: Iterable[Row]) -> int:
    """By COPY straight into the table, which stops at the first call that is there already; then by a detour.

    That is so where a batch comes again, or to two places at once: seldom enough for the quick way to pay.
    """
    left = iter(rows)
    first = next(left)
    parts = _parts(columns, chain([first], left))
    if conn.execute(_IS_THERE, {"id": first[columns.index("id")]}).scalar_one():
        return _copy_by_detour(conn, columns, parts)
    sent: list[str] = []
    try:
        with conn.begin_nested():
            return _send(conn, "calls", columns, _kept(parts, sent))
    except Exception as error:
        if getattr(error, "sqlstate", None) != _THERE_ALREADY:
            raise
    return _copy_by_detour(conn, columns, chain(sent, parts))


_IS_THERE = sa.select(sa.exists().where(calls.c.id == sa.bindparam("id")))
_THERE_ALREADY = "23505"


def _copy_by_detour(conn: Connection, columns: tuple[str, ...], parts: Iterable[str]) -> int:
    names = ", ".join(columns)
    conn.exec_driver_sql("CREATE TEMP TABLE arriving (LIKE calls) ON COMMIT DROP")
    _send(conn, "arriving", columns, parts)
    moved = f"INSERT INTO calls ({names}) SELECT {names} FROM arriving ORDER BY id ON CONFLICT DO NOTHING"  # noqa: S608
    return conn.exec_driver_sql(moved).rowcount


def _send(conn: Connection, table: str, columns: tuple[str, ...], parts: Iterable[str]) -> int:
    raw: Any = conn.connection.cursor()
    with raw:
        with raw.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
            for part in parts:
                copy.write(part)
        return int(raw.rowcount)


def _parts(columns: tuple[str, ...], rows: Iterable[Row]) -> Iterator[str]:
    for by_column in converted(columns, rows, "postgresql"):
        yield "".join(map(_line, zip(*by_column, strict=True)))


def _kept(parts: Iterable[str], sent: list[str]) -> Iterator[str]:
    for part in parts:
        sent.append(part)
        yield part


def _line(fields: Iterable[str]) -> str:
    return "\t".join(fields) + "\n"


def converted(columns: tuple[str, ...], rows: Iterable[Row], dialect: str) -> Iterator[list[Values]]:
    """A few rows at a time, by column: as SQLite's driver takes them, or as the fields that PostgreSQL copies."""
    converters = _converters(columns, dialect)
    for some in _chunks(rows):
        by_column: list[Values] = list(zip(*some, strict=True))
        for index, convert in converters:
            by_column[index] = _at_once(convert, by_column[index])
        yield by_column
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
    return _object(tuple(value.items()))


@lru_cache(maxsize=1024)
def _object(pairs: tuple[tuple[str, str], ...]) -> str:
    """Kept, as an application gives most of its calls the same tags."""
    return "{" + ",".join([f"{_quoted(name)}:{_quoted(text)}" for name, text in pairs]) + "}"


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

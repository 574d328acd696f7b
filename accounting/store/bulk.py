"""Calls into the books by the hundred, past what SQLAlchemy does with every single value.

Values are turned into what the driver takes column by column, a few rows at a time: a batch is stored inside
applications, whose own threads wait for the interpreter meanwhile.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from accounting.money import exact, plain
from accounting.store.engine import is_postgresql
from accounting.store.tables import calls
from accounting.store.types import EPOCH, MICROSECOND, Exact, Instant, Json

ROWS_AT_ONCE = 20
"""Rows between two moments at which other threads get the interpreter."""

Row = Mapping[str, Any]
Values = Sequence[Any]
Convert = Callable[[Values], Values]
"""The values of one column, of some rows, as the driver takes them."""


def give_way() -> None:
    """Let the application's threads run: one that asks for the interpreter waits 5 ms, and each call asks often."""
    time.sleep(0)


def insert_calls(conn: Connection, rows: Iterable[Row]) -> int:
    """Insert the calls whose ids are not there yet, in the order given; returns how many that were.

    All rows name the same columns of `calls` in the same order. Comes once in a transaction.
    """
    left = iter(rows)
    first = next(left, None)
    if first is None:
        return 0
    columns = tuple(first)
    put = _copy if is_postgresql(conn) else _execute
    return put(conn, columns, _converted(chain([first], left), _converters(columns, conn.dialect.name)))


def _execute(conn: Connection, columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> int:
    marks = ", ".join("?" * len(columns))
    statement = f"INSERT INTO calls ({', '.join(columns)}) VALUES ({marks}) ON CONFLICT DO NOTHING"  # noqa: S608
    return conn.exec_driver_sql(statement, list(rows)).rowcount


def _copy(conn: Connection, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> int:
    """By way of a table of its own, as COPY stops at the first call that is there already."""
    names = ", ".join(columns)
    conn.exec_driver_sql("CREATE TEMP TABLE arriving (LIKE calls) ON COMMIT DROP")
    raw: Any = conn.connection.cursor()
    with raw, raw.copy(f"COPY arriving ({names}) FROM STDIN") as copy:
        for some in _chunks(map("\t".join, rows)):
            copy.write("\n".join(some) + "\n")
    moved = f"INSERT INTO calls ({names}) SELECT {names} FROM arriving ORDER BY id ON CONFLICT DO NOTHING"  # noqa: S608
    return conn.exec_driver_sql(moved).rowcount


def _converted(rows: Iterable[Row], converters: Mapping[int, Convert]) -> Iterator[tuple[Any, ...]]:
    for some in _chunks(rows):
        columns: list[Values] = list(zip(*(row.values() for row in some), strict=True))
        for index, convert in converters.items():
            columns[index] = convert(columns[index])
        yield from zip(*columns, strict=True)
        give_way()


def _chunks(items: Iterable[Any]) -> Iterator[list[Any]]:
    left = iter(items)
    while some := list(islice(left, ROWS_AT_ONCE)):
        yield some


@lru_cache(maxsize=8)
def _converters(columns: tuple[str, ...], dialect: str) -> dict[int, Convert]:
    """What to do to the columns, by their place, before the driver takes them."""
    known = _FOR_COPY if dialect == "postgresql" else _FOR_SQLITE
    kinds = (type(calls.c[name].type) for name in columns)
    return {index: known[kind] for index, kind in enumerate(kinds) if kind in known}


def _uuids(values: Values) -> Values:
    return [None if value is None else value.hex for value in values]


def _instants(values: Values) -> Values:
    return [None if value is None else (value - EPOCH) // MICROSECOND for value in values]


def _days(values: Values) -> Values:
    return [None if value is None else value.isoformat() for value in values]


def _amounts(values: Values) -> Values:
    return [None if value is None else plain(exact(value)) for value in values]


def _documents(values: Values) -> Values:
    return [None if value is None else _json(value) for value in values]


_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

_FOR_SQLITE: dict[type, Convert] = {
    sa.Uuid: _uuids,
    Instant: _instants,
    sa.Date: _days,
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
    Instant: _figures,
    sa.Date: _figures,
    Exact: lambda values: _texts(_amounts(values)),
}

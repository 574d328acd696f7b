"""Rows of any table in the form in which SQLite keeps them, out of either database and into either.

A value has one form there, whichever database it comes from: ids as hex, instants in whole microseconds, days,
amounts and documents as text. So what is copied can be compared as it comes, and most of it is never looked at.
"""

import json
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, ColumnElement, Connection, Table
from sqlalchemy.types import NullType

from accounting.store.engine import is_postgresql
from accounting.store.types import Exact, Instant, Json

Row = tuple[Any, ...]
"""A row's values, those of its key first; see `columns_of`."""

Pair = tuple[Row | None, Row | None]
"""A row here and the one with the same key there, as far as there are."""

ROWS_AT_ONCE = 1_000


@lru_cache(maxsize=128)
def columns_of(table: Table) -> tuple[Column[Any], ...]:
    """The columns in the order of a `Row`."""
    key = tuple(table.primary_key)
    return (*key, *(column for column in table.columns if column.name not in table.primary_key))


def key_of(table: Table, row: Row) -> Row:
    return row[: len(table.primary_key)]


def read(conn: Connection, table: Table, which: ColumnElement[bool] | None = None) -> Generator[Row]:
    """The rows in the order of their keys, which is that of Python's tuples, a thousand at a time in memory."""
    chosen = columns_of(table)
    take, order = (_out_of_postgresql, _in_order) if is_postgresql(conn) else (_as_it_is, _as_it_is)
    query = sa.select(*map(take, chosen)).order_by(*map(order, table.primary_key))
    if which is not None:
        query = query.where(which)
    mended = [(index, mend) for index, column in enumerate(chosen) if (mend := _MENDED.get(type(column.type)))]
    with conn.execute(query, execution_options={"stream_results": True, "yield_per": ROWS_AT_ONCE}) as result:
        for rows in result.partitions():
            yield from (_mended(row, mended) for row in rows)


def paired(table: Table, here: Generator[Row], there: Generator[Row]) -> Generator[Pair]:
    """The rows of both, each beside the one with its key, in the order of the keys."""
    with closing(here), closing(there):
        yield from _paired(len(table.primary_key), here, there)


def _paired(width: int, here: Iterator[Row], there: Iterator[Row]) -> Iterator[Pair]:
    one, other = next(here, None), next(there, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one[:width] < other[:width]):
            yield one, None
            one = next(here, None)
        elif one is None or one[:width] > other[:width]:
            yield None, other
            other = next(there, None)
        else:
            yield one, other
            one, other = next(here, None), next(there, None)


def write(conn: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Put the rows there; one with the key of another takes its place."""
    if not rows:
        return
    if is_postgresql(conn):
        with _arriving(conn, columns_of(table), rows) as values:
            moved = f"SELECT {values} FROM arriving"  # noqa: S608 - names of ours
            conn.exec_driver_sql(f"{_insert(conn, table)} {moved} {_instead(conn, table)}")
    else:
        marks = ", ".join("?" * len(rows[0]))
        conn.exec_driver_sql(f"{_insert(conn, table)} VALUES ({marks}) {_instead(conn, table)}", list(rows))


def remove(conn: Connection, table: Table, keys: Sequence[Row]) -> None:
    """Take the rows with these keys out."""
    if not keys:
        return
    names = ", ".join(_quoted(conn, column) for column in table.primary_key)
    gone = f"DELETE FROM {table.name} WHERE ({names})"  # noqa: S608 - names of ours
    if is_postgresql(conn):
        with _arriving(conn, tuple(table.primary_key), keys) as values:
            conn.exec_driver_sql(f"{gone} IN (SELECT {values} FROM arriving)")  # noqa: S608
    else:
        conn.exec_driver_sql(f"{gone} = ({', '.join('?' * len(keys[0]))})", list(keys))


@contextmanager
def _arriving(conn: Connection, columns: Sequence[Column[Any]], rows: Sequence[Row]) -> Iterator[str]:
    """The rows in a table of plain types, as COPY neither converts nor replaces; what its columns mean, in SQL."""
    kinds = ", ".join(f"{_quoted(conn, column)} {_plain_kind(column)}" for column in columns)
    conn.exec_driver_sql(f"CREATE TEMP TABLE arriving ({kinds}) ON COMMIT DROP")
    raw: Any = conn.connection.cursor()
    with raw, raw.copy("COPY arriving FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
    yield ", ".join(_CASTS.get(type(column.type), "{0}").format(_quoted(conn, column)) for column in columns)
    conn.exec_driver_sql("DROP TABLE arriving")


def _insert(conn: Connection, table: Table) -> str:
    return f"INSERT INTO {table.name} ({', '.join(_quoted(conn, column) for column in columns_of(table))})"


def _instead(conn: Connection, table: Table) -> str:
    """What becomes of a row whose key is there already."""
    key = ", ".join(_quoted(conn, column) for column in table.primary_key)
    names = [_quoted(conn, column) for column in columns_of(table)[len(table.primary_key) :]]
    changed = ", ".join(f"{name} = excluded.{name}" for name in names)
    return f"ON CONFLICT ({key}) DO " + (f"UPDATE SET {changed}" if changed else "NOTHING")


def _quoted(conn: Connection, column: Column[Any]) -> str:
    return str(conn.dialect.identifier_preparer.quote(column.name))


def _as_it_is(column: ColumnElement[Any]) -> ColumnElement[Any]:
    return sa.type_coerce(column, NullType())


def _in_order(column: Column[Any]) -> ColumnElement[Any]:
    return sa.collate(column, "C") if isinstance(column.type, sa.Text) else column


def _out_of_postgresql(column: Column[Any]) -> ColumnElement[Any]:
    kind = type(column.type)
    return _OUT_OF_POSTGRESQL.get(kind, _as_it_is)(column).label(column.name)


def _texts(column: ColumnElement[Any]) -> ColumnElement[Any]:
    return sa.cast(column, sa.Text)


_OUT_OF_POSTGRESQL: dict[type, Callable[[ColumnElement[Any]], ColumnElement[Any]]] = {
    sa.Uuid: lambda column: sa.func.replace(_texts(column), "-", ""),
    Instant: lambda column: sa.cast(sa.extract("epoch", column) * 1_000_000, sa.BigInteger),
    sa.Date: lambda column: sa.func.to_char(column, "YYYY-MM-DD"),
    sa.Boolean: lambda column: sa.cast(column, sa.Integer),
    Exact: _texts,
    Json: _texts,
}

_CASTS: dict[type, str] = {
    sa.Uuid: "{0}::uuid",
    # In two parts: a number times an interval is a double, which can't count the microseconds beyond 2255.
    Instant: "'epoch'::timestamptz + {0} / 1000000 * interval '1 s' + mod({0}, 1000000) * interval '1 microsecond'",
    sa.Date: "{0}::date",
    sa.Boolean: "({0} = 1)",
    Exact: "{0}::numeric",
    Json: "{0}::jsonb",
}


def _plain_kind(column: Column[Any]) -> str:
    kind = type(column.type)
    if kind is sa.LargeBinary:
        return "bytea"
    return "bigint" if kind in (sa.Integer, sa.BigInteger, sa.Boolean, Instant) else "text"


def _mended(row: Sequence[Any], mended: Iterable[tuple[int, Callable[[Any], Any]]]) -> Row:
    values = list(row)
    for index, mend in mended:
        values[index] = mend(values[index])
    return tuple(values)


@lru_cache(maxsize=8192)
def _document(text: str | None) -> str | None:
    """Documents that mean the same are the same text: PostgreSQL keeps no order of names, and spaces of its own."""
    if text is None or text in ("{}", "[]"):
        return text
    return json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _amount(text: str | None) -> str | None:
    """Without the zeros that PostgreSQL keeps behind the last digit."""
    return text.rstrip("0").rstrip(".") if text is not None and "." in text else text


_MENDED: dict[type, Callable[[Any], Any]] = {Json: _document, Exact: _amount}

"""A copy of the books in another database, row by row, while programs go on writing to them.

What the copy holds is how far it has come, and nothing else is remembered: a batch is there with its calls or not
at all, so a copy that was killed goes on when it is asked for again. Rows are carried over in rounds, in short
transactions, until little has changed since the last; the last round, and the comparison of every row that
follows, read one snapshot. So the copy is the books as they were at one instant, and no writer waits for it.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice
from typing import Any, TypeVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Column, Connection, Engine, Table

from accounting.errors import ConfigurationError
from accounting.store import named, reading, rows, schema, transact, writing
from accounting.store.rows import Pair, Row, columns_of, key_of
from accounting.store.tables import (
    batches,
    budget_changes,
    budget_periods,
    budgets,
    calls,
    former_project_names,
    key_projects,
    keys,
    metadata,
    project_zones,
    projects,
    reservations,
    restated_calls,
    restatements,
    sources,
    store,
)

ROWS_AT_ONCE = 5_000
"""About as many rows are carried over in one transaction."""

BATCHES_AT_ONCE = 1_000

FEW = 1_000
"""Where a round carried over no more calls than these, the next is the last."""

MOST_ROUNDS = 10

NAMED = (
    *(projects, former_project_names, project_zones, keys, key_projects),
    *(budgets, budget_changes, budget_periods, reservations),
)
"""Small, and with names that wander from row to row, or rows that refer to such: replaced as a whole.

Each comes after those that it refers to.
"""

_BY_THEMSELVES = (batches, calls, restatements, restated_calls, *NAMED)

Read = Callable[[], AbstractContextManager[Connection]]
"""A snapshot of the books that are copied: another each time, or the last."""

Progress = Callable[[str, int, int], object]
"""Told what is being done, and how many calls of how many."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that is not the same in both."""

    table: str
    key: Mapping[str, object]
    original: Row | None
    copy: Row | None

    def __str__(self) -> str:
        which = ", ".join(f"{name} {value}" for name, value in self.key.items())
        return f"{self.table}, the row of {which}: {self._what()}"

    def _what(self) -> str:
        if self.original is None or self.copy is None:
            return "it is in the copy alone" if self.original is None else "the copy lacks it"
        names = [column.name for column in columns_of(metadata.tables[self.table])]
        pairs = zip(names, self.original, self.copy, strict=True)
        return ", ".join(f"{name} is {copied!r} and not {original!r}" for name, original, copied in pairs
                         if original != copied)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Copied:
    """How many rows each table has; with a difference the copy can't be used."""

    rows: Mapping[str, int]
    difference: Difference | None = None


def copy(source: Engine, target: Engine, progress: Progress = lambda *_: None) -> Copied:
    """Make the target a copy of the books and compare each row, amounts by their value.

    The target is an empty database, a store that has no books in it yet, or a copy of these books that was begun.
    """
    if named(source) == named(target):
        raise ConfigurationError(f"The books are in {named(source)} already; name another place for the copy.")
    with reading(source) as conn:
        schema.check(conn)
        books = conn.execute(sa.select(store)).mappings().one()
    stamp = schema.begin_copy(target, dict(books))
    return _Copying(source, target, stamp, progress).run()


@dataclass(frozen=True, slots=True)
class _Copying:
    source: Engine
    target: Engine
    stamp: str
    progress: Progress

    def run(self) -> Copied:
        for _ in range(MOST_ROUNDS):
            if self._round(partial(reading, self.source)) <= FEW:
                break
        with reading(self.source) as last:
            self._round(lambda: nullcontext(last))
            copied = self._compared(last)
        if copied.difference is None:
            with writing(self.target) as conn:
                schema.refuse_others_copy(conn, self.stamp)
                schema.finish_copy(conn)
        return copied

    def _round(self, read: Read) -> int:
        """Carry over what is not there yet or has changed since; returns how many calls came by new batches.

        Restatements first: a call that comes later, with its batch, comes as it is by then.
        """
        with read() as conn:
            self._carry_restated(conn)
        carried = self._carry_batches(read)
        with read() as conn:
            for table in metadata.sorted_tables:
                if table not in _BY_THEMSELVES:
                    self._mend(conn, table)
            self._carry_named(conn)
        return carried

    def _carry_batches(self, read: Read) -> int:
        carried = done = after = 0
        with read() as conn:
            total = _calls_in(conn)
        while page := self._page(read, after):
            new, changed = self._unlike(page)
            self._put((batches, changed))
            done += _inserted(page) - _inserted(new)
            for group in _groups(new):
                with read() as conn:
                    carried += self._carry_calls(conn, group)
                done += _inserted(group)
                self.progress("Copying calls", done, total)
            after = _value(batches.c.id, page[-1])
        return carried

    def _page(self, read: Read, after: int) -> list[Row]:
        """The next batches of the original, once the sources they came from are in the copy."""
        with read() as conn:
            ids = sa.select(batches.c.id).where(batches.c.id > after).order_by(batches.c.id).limit(BATCHES_AT_ONCE)
            page = list(rows.read(conn, batches, batches.c.id.in_(ids.scalar_subquery())))
            came_from = {_value(batches.c.source_id, row) for row in page}
            self._put((sources, list(rows.read(conn, sources, sources.c.id.in_(came_from)))))
        return page

    def _unlike(self, page: Sequence[Row]) -> tuple[list[Row], list[Row]]:
        """Of the original's batches those that the copy lacks, and those that have changed."""
        first, last = (_value(batches.c.id, page[index]) for index in (0, -1))
        with reading(self.target) as conn:
            held = {key_of(batches, row): row for row in rows.read(conn, batches, batches.c.id.between(first, last))}
        new = [row for row in page if key_of(batches, row) not in held]
        return new, [row for row in page if held.get(key_of(batches, row), row) != row]

    def _carry_calls(self, conn: Connection, group: Sequence[Row]) -> int:
        ids = [_value(batches.c.id, row) for row in group]
        theirs = list(rows.read(conn, calls, calls.c.batch_id.in_(ids)))
        self._put((calls, theirs), (batches, group))
        return len(theirs)

    def _carry_restated(self, conn: Connection) -> None:
        """Calls that were copied before a restatement changed them. What it changed stands in its log."""
        with reading(self.target) as held:
            ended = {row[0] for row in rows.read(held, restatements, restatements.c.ended_at.is_not(None))}
            moving = [row for row in rows.read(conn, restatements) if row[0] not in ended]
            if not moving:
                return
            self._put((restatements, [_unended(row) for row in moving]))
            since = restated_calls.c.restatement_id >= min(row[0] for row in moving)
            for some in _some(_differing(restated_calls, conn, held, since)):
                self._carry_changed(conn, [original for original, _ in some if original is not None])
        self._put((restatements, moving))

    def _carry_changed(self, conn: Connection, logged: Sequence[Row]) -> None:
        ids = {UUID(_value(restated_calls.c.call_id, row)) for row in logged}
        with reading(self.target) as held:
            copied = held.scalars(sa.select(calls.c.id).where(calls.c.id.in_(ids))).all()
        changed = list(rows.read(conn, calls, calls.c.id.in_(copied)))
        self._put((calls, changed), (restated_calls, logged))

    def _carry_named(self, conn: Connection) -> None:
        with reading(self.target) as held:
            theirs, ours = ([list(rows.read(each, table)) for table in NAMED] for each in (conn, held))
        if theirs != ours:
            transact(self.target, partial(_replace_named, self.stamp, theirs))

    def _mend(self, conn: Connection, table: Table) -> None:
        """Make the copy's table what the original's is."""
        with reading(self.target) as held:
            for some in _some(_differing(table, conn, held)):
                gone = [key_of(table, copied) for original, copied in some if original is None and copied is not None]
                self._put((table, [original for original, _ in some if original is not None]), gone=gone)

    def _put(self, *parts: tuple[Table, Sequence[Row]], gone: Sequence[Row] = ()) -> None:
        """One transaction; `gone` are keys of rows that the original's first table does not have."""
        if gone or any(some for _, some in parts):
            transact(self.target, partial(_put, self.stamp, parts, gone))

    def _compared(self, last: Connection) -> Copied:
        counts: dict[str, int] = {}
        with reading(self.target) as held:
            for table in metadata.sorted_tables:
                pairs = rows.paired(table, rows.read(last, table), rows.read(held, table))
                with closing(self._counted(pairs, _calls_in(last)) if table is calls else pairs) as each:
                    for counts[table.name], (original, copied) in enumerate(each, 1):
                        if original != copied:
                            return Copied(counts, _difference(table, original, copied))
                counts.setdefault(table.name, 0)
        return Copied(counts)

    def _counted(self, pairs: Generator[Pair], total: int) -> Generator[Pair]:
        with closing(pairs):
            for seen, pair in enumerate(pairs, 1):
                yield pair
                if not seen % ROWS_AT_ONCE:
                    self.progress("Comparing calls", seen, total)


def _put(stamp: str, parts: Sequence[tuple[Table, Sequence[Row]]], gone: Sequence[Row], conn: Connection) -> None:
    schema.refuse_others_copy(conn, stamp)
    rows.remove(conn, parts[0][0], gone)
    for table, some in parts:
        rows.write(conn, table, some)


def _replace_named(stamp: str, theirs: Sequence[Sequence[Row]], conn: Connection) -> None:
    schema.refuse_others_copy(conn, stamp)
    for table in reversed(NAMED):
        conn.execute(sa.delete(table))
    for table, some in zip(NAMED, theirs, strict=True):
        rows.write(conn, table, some)


def _calls_in(conn: Connection) -> int:
    return int(conn.scalar(sa.select(sa.func.coalesce(sa.func.sum(batches.c.inserted), 0))) or 0)


def _value(column: Column[T], row: Row) -> T:
    value: T = row[_place(column)]
    return value


@lru_cache(maxsize=16)
def _place(column: Column[Any]) -> int:
    return [each.name for each in columns_of(metadata.tables[column.table.name])].index(column.name)


def _inserted(page: Iterable[Row]) -> int:
    return sum(_value(batches.c.inserted, row) for row in page)


def _groups(page: Iterable[Row]) -> Iterator[list[Row]]:
    """The batches, together as long as they have no more calls than go in one transaction."""
    group: list[Row] = []
    held = 0
    for row in page:
        if group and held + _inserted([row]) > ROWS_AT_ONCE:
            yield group
            group, held = [], 0
        group.append(row)
        held += _inserted([row])
    if group:
        yield group


def _unended(row: Row) -> Row:
    """Not ended before all it changed is in the copy, or a copy that was killed would take it for done."""
    return tuple(
        None if column is restatements.c.ended_at else value
        for column, value in zip(columns_of(restatements), row, strict=True)
    )


def _differing(
    table: Table, original: Connection, copied: Connection, which: sa.ColumnElement[bool] | None = None
) -> Iterator[Pair]:
    pairs = rows.paired(table, rows.read(original, table, which), rows.read(copied, table, which))
    return (pair for pair in pairs if pair[0] != pair[1])


def _some(pairs: Iterator[Pair]) -> Iterator[list[Pair]]:
    while some := list(islice(pairs, ROWS_AT_ONCE)):
        yield some


def _difference(table: Table, original: Row | None, copied: Row | None) -> Difference:
    found = original or copied or ()
    key = dict(zip((column.name for column in table.primary_key), key_of(table, found), strict=True))
    return Difference(table.name, key, original, copied)

"""The spend tables made anew from the calls of rolled batches, while delivery and rollups go on; after them, budgets.

Piece by piece: the quarter hours, then the days from their quarter hours, then the tags of each day. A piece is
looked at in a snapshot, which holds nobody up. Where it differs it is replaced in a transaction of its own, beside no
rollup and no restatement: what these add before is in it, and what they add after comes on top of it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, Engine, Select, Table

from accounting import booked_days, budgetbalance, budgets, contributions, periods
from accounting.booked_days import anywhere
from accounting.budgetbalance import Chosen
from accounting.contributions import SPEND_TABLES, group_columns
from accounting.differences import Repaired, instant, raw
from accounting.store import Lock, hold, reading, transact
from accounting.store.tables import batches, calls, restatements, spend_by_tag, spend_days, spend_quarters
from accounting.usage import APART, id_time, least_id

TRIES = 3
"""So often a piece is computed beside the rollups before they have to wait for it."""

_QUARTER = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What was not as it should be, by the name of the table; of quarter hours, days and budgets so many."""

    quarters: int = 0
    days: int = 0
    tables: Mapping[str, Repaired] = field(default_factory=dict)
    budgets: int = 0

    def __add__(self, other: "Rebuilt") -> "Rebuilt":
        names = {**self.tables, **other.tables}
        tables = {name: self.tables.get(name, Repaired()) + other.tables.get(name, Repaired()) for name in names}
        counts = (self.quarters + other.quarters, self.days + other.days)
        return Rebuilt(*counts, tables, self.budgets + other.budgets)


@dataclass(frozen=True, slots=True)
class _Piece:
    """Rows of a spend table that are made anew together: which they are, and the query of what they should be."""

    table: Table
    stored: ColumnElement[bool]
    expected: Select[Any]


_Cut = Callable[[Connection], _Piece]


def rebuild(
    engine: Engine,
    first: date | None = None,
    end: date | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Rebuilt:
    """Make anew what is billed on the days from `first`, included, to `end`, left out (None: open).

    Each piece is whole or as it was, so a rebuild that was interrupted is simply run again. `progress` gets the
    pieces done so far, and all.
    """
    return sum(steps(engine, first, end, progress), Rebuilt())


def steps(
    engine: Engine,
    first: date | None = None,
    end: date | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Iterator[Rebuilt]:
    """As `rebuild`, piece by piece."""
    if first is None and end is None:
        yield _clear_away(engine)
    with reading(engine) as conn:
        days = booked_days.booked(conn, first, end)
        quarters = _quarters(conn, days, _billed(spend_quarters, first, end))
        limits = budgets.known(conn)
    cuts: list[tuple[Rebuilt, _Cut]] = [
        *((Rebuilt(quarters=1), partial(_of_quarter, quarter=quarter, first=first, end=end)) for quarter in quarters),
        *((Rebuilt(days=1), partial(_of_day, day=day)) for day in days),
        *((Rebuilt(), partial(_of_tags, day=day)) for day in days),
    ]
    works: list[Callable[[], Rebuilt]] = [
        *(partial(_piece, engine, looked_at, cut) for looked_at, cut in cuts),
        # What these have spent is read from the sums, so the sums come first.
        *(partial(_budget, engine, limit.id, Chosen(first, end)) for limit in limits),
    ]
    for done, work in enumerate(works, 1):
        yield work()
        if progress is not None:
            progress(done, len(works))


def _piece(engine: Engine, looked_at: Rebuilt, cut: _Cut) -> Rebuilt:
    return looked_at + _repair(engine, cut)


def _budget(engine: Engine, id_: int, days: Chosen) -> Rebuilt:
    """Nothing comes into the books while one is put right, so only one is that is not."""
    with reading(engine) as conn:
        limit = budgets.by_id(conn, id_)
        is_right = limit.removed_at is not None or not budgetbalance.differences(conn, limit, days)
    return Rebuilt(budgets=1) if is_right else transact(engine, partial(_put_right, id_=id_, days=days))


def _put_right(conn: Connection, id_: int, days: Chosen) -> Rebuilt:
    limit = budgets.by_id(conn, id_)
    tables = {} if limit.removed_at is not None else budgetbalance.repair(conn, limit, days)
    return Rebuilt(budgets=1, tables=tables)


def _repair(engine: Engine, cut: _Cut) -> Rebuilt:
    """What the piece should be takes long to compute, so that is done before others have to wait.

    It holds if no call was added to spend or changed there in the meantime. Where that goes on and on, they wait.
    """
    for _ in range(TRIES):
        with reading(engine) as conn:
            found = _look(conn, cut(conn))
        if found is None:
            return Rebuilt()
        if transact(engine, partial(_replace, cut=cut, found=found)):
            return found.rebuilt
    return transact(engine, partial(_make_anew, cut=cut))


@dataclass(frozen=True, slots=True)
class _Found:
    """A piece that is not as it should be: what is wrong, and the rows to put in the place of those stored."""

    table: str
    repaired: Repaired
    rows: Sequence[Mapping[Any, Any]]
    state: tuple[int, int]

    @property
    def rebuilt(self) -> Rebuilt:
        return Rebuilt(tables={self.table: self.repaired})


def _look(conn: Connection, piece: _Piece) -> _Found | None:
    repaired = _compare(conn, piece)
    if repaired == Repaired():
        return None
    return _Found(piece.table.name, repaired, conn.execute(piece.expected).mappings().all(), _state(conn))


def _state(conn: Connection) -> tuple[int, int]:
    """Another whenever what is in the spend tables is: every rollup and every restatement counts in it."""
    rolled = sa.select(sa.func.count()).where(batches.c.rolled_at.is_not(None)).scalar_subquery()
    changed = sa.select(sa.func.coalesce(sa.func.sum(restatements.c.changed), 0)).scalar_subquery()
    row = conn.execute(sa.select(rolled, changed)).one()
    return int(row[0]), int(row[1])


def _replace(conn: Connection, cut: _Cut, found: _Found) -> bool:
    hold(conn, Lock.ROLLUP)
    if _state(conn) != found.state:
        return False
    piece = cut(conn)  # another rebuild may have brought tags that were not there
    conn.execute(sa.delete(piece.table).where(piece.stored))
    if found.rows:
        conn.execute(sa.insert(piece.table), [dict(row) for row in found.rows])
    return True


def _make_anew(conn: Connection, cut: _Cut) -> Rebuilt:
    hold(conn, Lock.ROLLUP)
    found = _look(conn, cut(conn))
    if found is None:
        return Rebuilt()
    _replace(conn, cut, found)
    return found.rebuilt


def _compare(conn: Connection, piece: _Piece) -> Repaired:
    """By the database alone: what a careless hand put into a row need be no value of its column."""
    expected = piece.expected.cte("expected")
    stored = sa.select(*(piece.table.c[column.name] for column in expected.c)).where(piece.stored).cte("stored")
    lacking = sa.except_(sa.select(expected), sa.select(stored)).cte("lacking")
    surplus = sa.except_(sa.select(stored), sa.select(expected)).cte("surplus")
    key = group_columns(piece.table)
    both = sa.intersect(*(sa.select(*(some.c[name] for name in key)) for some in (lacking, surplus))).subquery()
    counts = (sa.select(sa.func.count()).select_from(some).scalar_subquery() for some in (both, lacking, surplus))
    wrong, missing, stray = conn.execute(sa.select(*counts)).one()
    return Repaired(wrong, missing - wrong, stray - wrong)


def _of_quarter(conn: Connection, quarter: datetime, first: date | None, end: date | None) -> _Piece:
    which = sa.and_(calls.c.quarter == quarter, _billed(calls, first, end), _begun_in(quarter, quarter + _QUARTER))
    stored = sa.and_(spend_quarters.c.quarter == quarter, _billed(spend_quarters, first, end))
    return _Piece(spend_quarters, stored, contributions.of_calls(conn, spend_quarters, which))


def _of_day(conn: Connection, day: date) -> _Piece:
    start, end = anywhere(day)
    quarter = spend_quarters.c.quarter
    which = sa.and_(spend_quarters.c.billed_on == day, quarter >= start, quarter < end)
    return _Piece(spend_days, spend_days.c.billed_on == day, contributions.of_quarters(conn, which))


def _of_tags(conn: Connection, day: date) -> _Piece:
    which = sa.and_(calls.c.billed_on == day, _begun_in(*anywhere(day)))
    stored = sa.and_(spend_by_tag.c.tag.in_(booked_days.tags(conn)), spend_by_tag.c.billed_on == day)
    return _Piece(spend_by_tag, stored, contributions.of_calls(conn, spend_by_tag, which))


def _begun_in(start: datetime, end: datetime) -> ColumnElement[bool]:
    """Calls of rolled batches, found by their ids."""
    rolled = sa.exists().where(batches.c.id == calls.c.batch_id, batches.c.rolled_at.is_not(None))
    return sa.and_(calls.c.id >= least_id(start - APART), calls.c.id < least_id(end + APART), rolled)


def _billed(table: Table, first: date | None, end: date | None) -> ColumnElement[bool]:
    since = sa.true() if first is None else table.c.billed_on >= first
    until = sa.true() if end is None else table.c.billed_on < end
    return sa.and_(since, until)


def _quarters(conn: Connection, days: list[date], billed: ColumnElement[bool]) -> list[datetime]:
    """The quarter hours, in order, in which calls began that may be billed on the days, or of which rows say so."""
    if not days:
        return []
    (quarter,) = raw(conn, spend_quarters, "quarter")
    stored = (instant(at) for at in conn.execute(sa.select(quarter).where(billed).distinct()).scalars() if _is_time(at))
    return sorted({*stored, *_begun(conn, anywhere(days[0])[0], anywhere(days[-1])[1])})


def _begun(conn: Connection, start: datetime, end: datetime) -> Iterator[datetime]:
    """Going by the ids, with one look for each quarter hour; a start may be a minute off, and so in the next one."""
    at = start
    while at < end:
        later = sa.select(calls.c.id).where(calls.c.id >= least_id(at), calls.c.id < least_id(end))
        found = conn.execute(later.order_by(calls.c.id).limit(1)).scalar()
        if found is None:
            return
        quarter = periods.quarter(id_time(found))
        yield from (quarter - _QUARTER, quarter, quarter + _QUARTER)
        at = quarter + _QUARTER


def _clear_away(engine: Engine) -> Rebuilt:
    """Removes rows that are on no day, or of no quarter hour, and so in no piece."""
    with reading(engine) as conn:
        odd = {place: values for place in _TIMES if (values := _odd(conn, place))}
    return sum((transact(engine, partial(_remove, place, values)) for place, values in odd.items()), Rebuilt())


@dataclass(frozen=True, slots=True)
class _Place:
    """The column of a spend table by which its rows are met, and what may stand there."""

    table: Table
    column: str
    is_sound: Callable[[Any], bool]


def _odd(conn: Connection, place: _Place) -> list[Any]:
    (time,) = raw(conn, place.table, place.column)
    return [value for value in conn.execute(sa.select(time).distinct()).scalars() if not place.is_sound(value)]


def _remove(place: _Place, values: Sequence[Any], conn: Connection) -> Rebuilt:
    hold(conn, Lock.ROLLUP)
    (time,) = raw(conn, place.table, place.column)
    gone = conn.execute(sa.delete(place.table).where(time.in_(values))).rowcount
    return Rebuilt(tables={place.table.name: Repaired(stray=gone)})


def _is_time(at: object) -> bool:
    try:
        return isinstance(at, int) and periods.quarter(instant(at)) == instant(at)
    except OverflowError:
        return False


_TIMES = (
    _Place(spend_quarters, "quarter", _is_time),
    *(_Place(table, "billed_on", booked_days.is_day) for table in SPEND_TABLES),
)

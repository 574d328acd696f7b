"""The days to go through when the books are verified, and the rows that lie on none of them."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Table

from accounting.contributions import SPEND_TABLES
from accounting.differences import Difference, instant, raw, text, text_at
from accounting.store.tables import calls, spend_by_tag, spend_quarters
from accounting.usage import id_time, least_id

EAST, WEST = timedelta(hours=14), timedelta(hours=12)
"""So much earlier a day begins somewhere, and so much later it ends somewhere, than in UTC."""

_DAY = timedelta(days=1)
_EARLIEST, _LATEST = date(1970, 1, 2), date(9998, 12, 30)
"""Days beside these are still days, in every zone."""


def midnight(day: date) -> datetime:
    """Where the day begins in UTC."""
    return datetime.combine(day, time.min, UTC)


def anywhere(day: date) -> tuple[datetime, datetime]:
    """From when to when it is the day in one zone or another."""
    return midnight(day) - EAST, midnight(day) + _DAY + WEST


def booked(conn: Connection, first: date | None, end: date | None) -> list[date]:
    """The days of the calls and of the spend rows, in order: those from `first` to before `end`."""
    earliest, latest = max(first or _EARLIEST, _EARLIEST), min(end or _LATEST, _LATEST)
    # What is one day in UTC is the day before or after it elsewhere.
    near = {day + off for day in _begun(conn, earliest - _DAY, latest + _DAY) for off in (-_DAY, _DAY * 0, _DAY)}
    billed = {day for table in SPEND_TABLES for day in map(_day, _billed(conn, table)) if day is not None}
    return sorted(day for day in near | billed if earliest <= day < latest)


def tags(conn: Connection) -> list[str]:
    """The tags there are, each found with one look into the key: to read on through the rows would take all of them."""
    tag = spend_by_tag.c.tag
    first = sa.select(sa.func.min(tag).label("tag")).cte("tags", recursive=True)
    following = sa.select(sa.func.min(tag)).where(tag > first.c.tag).scalar_subquery()
    every = first.union_all(sa.select(following).where(first.c.tag.is_not(None)))
    return [each for each in conn.execute(sa.select(every.c.tag)).scalars() if each is not None]


def strays(conn: Connection) -> Iterator[Difference]:
    """Rows that are on no day, or far off theirs, and so would never be met."""
    for table in SPEND_TABLES:
        for billed_on in _billed(conn, table):
            if _day(billed_on) is None:
                yield Difference(table.name, "rows", "billed_on", "a day", text(billed_on))
    for quarter, billed_on in conn.execute(sa.select(*raw(conn, spend_quarters, "quarter", "billed_on")).distinct()):
        if (day := _day(billed_on)) is not None and not _is_near(quarter, day):
            key = f"rows billed on {day}"
            yield Difference(spend_quarters.name, key, "quarter", f"a quarter hour of {day}", text_at(quarter))
    yield from _timeless(conn)


def _timeless(conn: Connection) -> Iterator[Difference]:
    """Calls with an id of no time that a call could begin at."""
    outside = sa.or_(calls.c.id < least_id(midnight(_EARLIEST)), calls.c.id >= least_id(midnight(_LATEST)))
    for id_ in conn.execute(sa.select(calls.c.id).where(outside).order_by(calls.c.id)).scalars():
        yield Difference("calls", str(id_), "id", "one made as the call began", str(id_))


def _begun(conn: Connection, first: date, end: date) -> Iterator[date]:
    """The days in UTC on which calls began, going by their ids, with one look for each."""
    day = first
    while day < end:
        later = sa.select(calls.c.id).where(calls.c.id >= least_id(midnight(day)), calls.c.id < least_id(midnight(end)))
        found = conn.execute(later.order_by(calls.c.id).limit(1)).scalar()
        if found is None:
            return
        yield (day := id_time(found).date())
        day += _DAY


def _billed(conn: Connection, table: Table) -> list[Any]:
    """What stands for a day in the rows of a spend table."""
    (day,) = raw(conn, table, "billed_on")
    return list(conn.execute(sa.select(day).distinct()).scalars())


def _day(billed_on: Any) -> date | None:
    """None where it is no day, or not one in which a call could begin."""
    try:
        day = date.fromisoformat(billed_on)
    except (TypeError, ValueError):
        return None
    return day if _EARLIEST <= day < _LATEST else None


def is_day(billed_on: Any) -> bool:
    """Whether it is one that rows are met on."""
    return _day(billed_on) is not None


def _is_near(quarter: Any, day: date) -> bool:
    try:
        start, end = anywhere(day)
        return start <= instant(quarter) < end
    except (OverflowError, TypeError):
        return False

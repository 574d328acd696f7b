"""The journals that deliver to these books: what each has sent, what it still holds, whether any is lost.

Calls travel after the fact, so every total has an instant up to which it is complete; it follows from here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import ARRAY

from accounting.errors import ConfigurationError
from accounting.ports import SourceReport
from accounting.store import insert, is_postgresql
from accounting.store.tables import batches, received_ahead, store
from accounting.store.tables import sources as table
from accounting.usage import id_time

SILENT_AFTER = timedelta(hours=1)

SETTLING = timedelta(minutes=70)
"""So long after the books came back from a backup, journals may still find out that it lacks what they delivered: those
of ended processes ask once an hour."""

AHEAD_AT_ONCE = 5_000
"""So many numbers received ahead are looked at, or dropped, in one step: others should not wait for the store."""

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
"""When a source was seen that has not told yet how it stands: until it does, nothing is complete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A journal as the books know it. All numbers up to `contiguous` are here, and `ahead` more beyond it."""

    id: int
    journal: UUID
    host: str
    contiguous: int
    ahead: int
    highest: int
    open: int
    backlog: int
    oldest_undelivered_at: datetime | None
    faults: Mapping[str, int]
    first_seen_at: datetime
    seen_at: datetime
    closed_at: datetime | None
    closed_why: str | None

    @property
    def missing(self) -> int:
        """Numbers that are not here and that nobody will bring: of a closed source also those it held."""
        awaited = self.open + self.backlog if self.closed_at is None else 0
        return max(self.highest - self.contiguous - self.ahead - awaited, 0)

    @property
    def complete_until(self) -> datetime:
        """Every call of this journal that began before is here, or known to be missing."""
        return self.oldest_undelivered_at or self.seen_at

    def is_silent(self, now: datetime) -> bool:
        """Not closed, and unheard of for an hour: crashed without an heir, or cut off."""
        return self.closed_at is None and max(self.seen_at, self.first_seen_at) < now - SILENT_AFTER


@dataclass(frozen=True, slots=True, kw_only=True)
class Completeness:
    """How far the totals are complete, and what they leave out.

    Calls that began before `until` are in the totals; None: nobody has reported yet. `open` calls are running,
    `backlog` have ended but are still with their journals, `unrolled` are in the books but not in spend yet,
    `missing` are lost. `silent` sources hold `until` back until they return or are closed by a person.
    """

    until: datetime | None
    open: int = 0
    backlog: int = 0
    unrolled: int = 0
    missing: int = 0
    silent: tuple[Source, ...] = ()


def sources(conn: Connection) -> list[Source]:
    """All journals that ever reported, the oldest first."""
    return _sources(conn, sa.true())


def telling_sources(conn: Connection) -> list[Source]:
    """The journals that are not closed or that miss numbers.

    Each process that ends leaves a closed one behind, of which only the time still tells something.
    """
    return _sources(conn, table.c.closed_at.is_(None) | (table.c.highest > table.c.contiguous))


def _sources(conn: Connection, which: sa.ColumnElement[bool]) -> list[Source]:
    is_ahead = sa.and_(received_ahead.c.source_id == table.c.id, received_ahead.c.number > table.c.contiguous)
    ahead = sa.select(sa.func.count()).where(is_ahead).scalar_subquery()
    rows = conn.execute(sa.select(table, ahead.label("ahead")).where(which).order_by(table.c.id))
    return [Source(**row) for row in rows.mappings()]


def held(conn: Connection, journal: UUID) -> tuple[int, int]:
    """What the books hold of a journal: all numbers up to the first figure, and so many more beyond it."""
    known = conn.execute(sa.select(table.c.id, table.c.contiguous).where(table.c.journal == journal)).one_or_none()
    if known is None:
        return 0, 0
    source_id, contiguous = known
    is_ahead = sa.and_(received_ahead.c.source_id == source_id, received_ahead.c.number > contiguous)
    return contiguous, _count(conn, is_ahead)


def held_of(conn: Connection, journals: Iterable[UUID]) -> dict[UUID, tuple[int, int]]:
    """`held` of those journals that the books know."""
    known = _sources(conn, table.c.journal.in_(list(journals)))
    return {source.journal: (source.contiguous, source.ahead) for source in known}


def complete_until(conn: Connection, now: datetime) -> Completeness:
    """The completeness of what spend tells; with every source closed, up to when the last of them was seen.

    Later than that nobody can say: a closed journal may be in use again by a process that has not reported yet.
    """
    last_seen = conn.execute(sa.select(sa.func.max(table.c.seen_at))).scalar()
    telling = telling_sources(conn)
    live = [source for source in telling if source.closed_at is None]
    unrolled, first_id = _unrolled(conn)
    limits = [now, *(source.complete_until for source in live)]
    if (settling := unsettled_since(conn, now)) is not None:
        limits.append(settling)
    if first_id is not None:
        limits.append(id_time(first_id))
    return Completeness(
        until=None if last_seen is None else min(last_seen, *limits),
        open=sum(source.open for source in live),
        backlog=sum(source.backlog for source in live),
        unrolled=unrolled,
        missing=sum(source.missing for source in telling),
        silent=tuple(source for source in live if source.is_silent(now)),
    )


def unsettled_since(conn: Connection, now: datetime) -> datetime | None:
    """How far a backup was complete that the books came back from a while ago; None else.

    Journals that began after it are unknown to these books until they report, so nobody could miss them.
    """
    restored_at, until = conn.execute(sa.select(store.c.restored_at, store.c.restored_until)).one()
    return until if restored_at is not None and now < restored_at + SETTLING else None


def close(conn: Connection, journal: UUID, why: str, now: datetime) -> None:
    """Write a source off: what it still holds is not waited for. It opens again if it reports again."""
    if not why.strip():
        raise ConfigurationError(f"Closing source {journal} needs a reason: it stays in the books.")
    closed = sa.update(table).where(table.c.journal == journal, table.c.closed_at.is_(None))
    if conn.execute(closed.values(closed_at=now, closed_why=why)).rowcount == 0:
        raise ConfigurationError(
            f"There is no open source {journal}; the open ones are {_listed(conn)}. "
            "See them all: accounting sources list"
        )


@dataclass(frozen=True, slots=True)
class Sender:
    """A source whose batch is being taken in, as it stood before. Nobody else changes it until the transaction ends."""

    id: int
    contiguous: int
    highest: int
    seen_at: datetime


def lock(conn: Connection, report: SourceReport, now: datetime) -> Sender:
    """The report's source; a new one is known by its number alone until `take_in`."""
    if (known := _sender(conn, report.journal)) is not None:
        return known
    row = {
        "journal": report.journal,
        "host": report.host,
        "contiguous": 0,
        "highest": 0,
        "open": 0,
        "backlog": 0,
        "faults": {},
        "first_seen_at": now,
        "seen_at": _NEVER,
    }
    conn.execute(insert(conn, table).on_conflict_do_nothing().values(row))
    added = _sender(conn, report.journal)
    assert added is not None  # noqa: S101 - inserted, or there before
    return added


_SENDER = (
    sa.select(table.c.id, table.c.contiguous, table.c.highest, table.c.seen_at)
    .where(table.c.journal == sa.bindparam("journal"))
    # Rows that belong to a source hold on to its id, those of another batch too.
    .with_for_update(key_share=True)
)


def _sender(conn: Connection, journal: UUID) -> Sender | None:
    row = conn.execute(_SENDER, {"journal": journal}).first()
    return None if row is None else Sender(*row)


def take_in(conn: Connection, sender: Sender, report: SourceReport, numbers: Iterable[int], *, is_last: bool) -> None:
    """Note that these numbers are here, and how the journal stands; of several parts of a batch the last one says it.

    Numbers that close a gap move `contiguous`; others wait in `received_ahead`.
    """
    upto = _received(conn, sender, numbers)
    changes: dict[str, Any] = {"contiguous": upto} if upto > sender.contiguous else {}
    # An older report than the last changes nothing. Numbers first: a clock may step back, numbers never do.
    if (report.highest, report.seen_at) > (sender.highest, sender.seen_at):
        changes |= _standing(sender, report) if is_last else _AWAITED | {"highest": max(upto, sender.highest)}
    if changes:
        conn.execute(_CHANGE, {"this": sender.id, **changes})


_CHANGE = sa.update(table).where(table.c.id == sa.bindparam("this"))

_AWAITED: dict[str, Any] = {"closed_at": None, "closed_why": None}
"""More is on its way, so a closed source opens again."""


def _standing(sender: Sender, report: SourceReport) -> dict[str, Any]:
    """A report to a closed source opens it again, unless it is itself the closing one."""
    return {
        "host": report.host,
        "highest": report.highest,
        "open": report.open,
        "backlog": report.backlog,
        "oldest_undelivered_at": report.oldest_undelivered_at,
        "faults": dict(report.faults),
        "seen_at": max(sender.seen_at, report.seen_at),
        "closed_at": report.closed_at,
        "closed_why": None,
    }


def _received(conn: Connection, sender: Sender, numbers: Iterable[int]) -> int:
    """Up to which number all are here now."""
    news = sorted({number for number in numbers if number > sender.contiguous})
    upto = _run(sender.contiguous, news)
    _keep_ahead(conn, sender.id, [number for number in news if number > upto])
    if not conn.execute(_IS_AHEAD, {"source_id": sender.id}).scalar_one():
        return upto
    upto = _run_ahead(conn, sender.id, upto)
    _forget_ahead(conn, sender.id, upto)
    return upto


def _keep_ahead(conn: Connection, source_id: int, numbers: Sequence[int]) -> None:
    """Behind a call that runs for long, these are all numbers of all batches."""
    statement = insert(conn, received_ahead).on_conflict_do_nothing()
    if not numbers:
        return
    if is_postgresql(conn):  # in one go: each row of a list would be parsed and planned by itself
        each = sa.func.unnest(sa.cast(numbers, ARRAY(sa.BigInteger)))
        conn.execute(statement.from_select(["source_id", "number"], sa.select(sa.literal(source_id), each)))
    else:
        conn.execute(statement, [{"source_id": source_id, "number": number} for number in numbers])


_IS_AHEAD = sa.select(sa.exists().where(received_ahead.c.source_id == sa.bindparam("source_id")))


def _run(start: int, numbers: Iterable[int]) -> int:
    """The last number of the unbroken run that goes on from `start`."""
    for number in numbers:
        if number != start + 1:
            break
        start = number
    return start


def _run_ahead(conn: Connection, source_id: int, start: int) -> int:
    """The last number of the unbroken run that goes on from `start` among those received ahead.

    Full steps are only counted: of a long wait behind a gap there may be hundreds of thousands.
    """
    if not _count(conn, _ahead(source_id, start, 1)):
        return start
    while _count(conn, _ahead(source_id, start, AHEAD_AT_ONCE)) == AHEAD_AT_ONCE:
        start += AHEAD_AT_ONCE
    last_step = sa.select(received_ahead.c.number).where(_ahead(source_id, start, AHEAD_AT_ONCE))
    return _run(start, conn.execute(last_step.order_by(received_ahead.c.number)).scalars())


def _ahead(source_id: int, after: int, step: int) -> sa.ColumnElement[bool]:
    number = received_ahead.c.number
    return sa.and_(received_ahead.c.source_id == source_id, number > after, number <= after + step)


def _count(conn: Connection, which: sa.ColumnElement[bool]) -> int:
    return conn.execute(sa.select(sa.func.count()).select_from(received_ahead).where(which)).scalar_one()


def _forget_ahead(conn: Connection, source_id: int, upto: int) -> None:
    """Drop numbers that are not ahead any more; of many, some with each batch, as nobody counts those left."""
    here = sa.and_(received_ahead.c.source_id == source_id, received_ahead.c.number <= upto)
    lowest = sa.select(received_ahead.c.number).where(here).order_by(received_ahead.c.number).limit(AHEAD_AT_ONCE)
    last = conn.execute(sa.select(sa.func.max(lowest.subquery().c.number))).scalar()
    if last is not None:
        conn.execute(sa.delete(received_ahead).where(here, received_ahead.c.number <= last))


def _unrolled(conn: Connection) -> tuple[int, UUID | None]:
    unrolled = batches.c.rolled_at.is_(None)
    count = conn.execute(sa.select(sa.func.coalesce(sa.func.sum(batches.c.inserted), 0)).where(unrolled)).scalar_one()
    # Not min(): PostgreSQL before 18 has none for UUIDs.
    lowest = sa.select(batches.c.min_call_id).where(unrolled, batches.c.min_call_id.is_not(None))
    return int(count), conn.execute(lowest.order_by(batches.c.min_call_id).limit(1)).scalar()


def _listed(conn: Connection) -> str:
    query = sa.select(table.c.journal).where(table.c.closed_at.is_(None)).order_by(table.c.id).limit(5)
    return ", ".join(str(journal) for journal in conn.execute(query).scalars()) or "none"

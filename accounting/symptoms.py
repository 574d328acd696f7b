"""What there is to see of a store, and of the journals on this host: values that a verdict can be made of.

Each look takes a few statements and holds no snapshot beyond them; none goes through all calls.
"""

import importlib.metadata
import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from uuid import UUID

import sqlalchemy as sa
from filelock import FileLock, Timeout
from sqlalchemy import Connection, Engine, Table

from accounting import periods, providers, scheduler, sources, spend
from accounting.errors import ConfigurationError
from accounting.journals import Seen, journals_in, others, survey
from accounting.places import journal_directory, journal_settings
from accounting.scheduler import Run
from accounting.sources import Source
from accounting.spend import UnpricedModel
from accounting.spend_rows import Slice
from accounting.store import file_of, is_postgresql, named, reading, schema
from accounting.store.tables import batches, conflicts, jobs, project_zones, rejected, restatements
from accounting.store.tables import sources as known_sources
from accounting.store.tables import store as the_store

PATIENCE = timedelta(seconds=2)
"""So long a look waits for locks of others, and a statement takes at most on PostgreSQL."""

UNPRICED_DAYS = timedelta(days=31)
"""Unpriced calls of so many days are looked for."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What there is to look at, and when: the store's URL, with the secret, and an engine for it."""

    url: str
    engine: Engine
    now: datetime


@dataclass(frozen=True, slots=True)
class StoreSeen:
    """A store that this program can use, and the version of what keeps it."""

    name: str
    schema: str
    is_postgresql: bool
    version: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SourcesSeen:
    """The journals that report here and still tell something, and how many have come to a clean end."""

    telling: tuple[Source, ...]
    closed: int = 0


@dataclass(frozen=True, slots=True)
class Unrolled:
    """What waits for the rollup, and since when."""

    batches: int = 0
    calls: int = 0
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class JobSeen:
    """A job of the scheduler: its last run, and when it falls due; None where it never ran."""

    name: str
    last: Run | None = None
    due_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A restatement that has not ended."""

    id: int
    kind: str
    who: str
    began_at: datetime
    seen: int
    changed: int


@dataclass(frozen=True, slots=True)
class Aside:
    """Delivered calls that are in no total until somebody settles them."""

    rejected: int = 0
    conflicts: int = 0


@dataclass(frozen=True, slots=True)
class Clocks:
    """How far this host's clock is ahead of the database's (None: the same machine), and of the latest report."""

    ahead: timedelta | None
    behind_reports: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Zones:
    """Whose rules of time this program has, and the zones of the books that it doesn't know."""

    tzdata: str
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProvidersSeen:
    """The user's own list of providers, whether it is there, and why it can't be used."""

    file: Path
    is_there: bool = False
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class JournalsSeen:
    """This user's journals on this host, and the calls that wait in others for another store, by its URL.

    `refusal` says why no journal could be begun here. A journal takes no new calls beyond `limit` bytes.
    """

    directory: Path
    limit: int
    seen: tuple[Seen, ...] = ()
    elsewhere: Mapping[str, int] | None = None
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Lacking:
    """Calls that this host's journals delivered and still keep, and that are not in these books: delivered to them
    before they were restored, or to the store that they were copied or restored from, by that one's URL."""

    here: int = 0
    elsewhere: Mapping[str, int] | None = None


@contextmanager
def looking(engine: Engine) -> Iterator[Connection]:
    """A snapshot in which nothing is waited for longer than `PATIENCE`."""
    milliseconds = int(PATIENCE / timedelta(milliseconds=1))
    with reading(engine) as conn:
        if is_postgresql(conn):
            limits = (sa.func.set_config(name, f"{milliseconds}ms", True) for name in _LIMITS)
            conn.execute(sa.select(*limits))
        else:
            conn.exec_driver_sql(f"PRAGMA busy_timeout = {milliseconds}")
        yield conn


_LIMITS = ("lock_timeout", "statement_timeout")


def store(bench: Bench) -> StoreSeen:
    """Raises what `reading` and `schema.check` raise."""
    with looking(bench.engine) as conn:
        schema.check(conn)
        if is_postgresql(conn):
            number = int(conn.exec_driver_sql("SHOW server_version_num").scalar_one())
            return StoreSeen(named(conn), schema.HEAD, True, (number // 10_000, number % 10_000))
    return StoreSeen(named(bench.engine), schema.HEAD, False, sqlite3.sqlite_version_info)


def log_bytes(bench: Bench) -> int | None:
    """The size of SQLite's log; None on PostgreSQL."""
    if is_postgresql(bench.engine):
        return None
    log = Path(f"{file_of(bench.engine)}-wal")
    return log.stat().st_size if log.exists() else 0


def writers_wait(bench: Bench) -> bool:
    """Whether somebody has kept all others from writing for as long as we waited. On PostgreSQL nobody can."""
    if is_postgresql(bench.engine):
        return False
    lock = Path(f"{file_of(bench.engine)}.lock")
    if not lock.exists():
        return False
    try:
        with FileLock(lock, mode=0o600).acquire(timeout=PATIENCE.total_seconds(), poll_interval=0.005):
            return False
    except Timeout:
        return True


def sources_seen(bench: Bench) -> SourcesSeen:
    with looking(bench.engine) as conn:
        telling = tuple(sources.telling_sources(conn))
        all_ = _count(conn, known_sources)
    return SourcesSeen(telling, all_ - len(telling))


def unrolled(bench: Bench) -> Unrolled:
    with looking(bench.engine) as conn:
        waiting = batches.c.rolled_at.is_(None)
        sums = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(batches.c.inserted), 0)).where(waiting)
        number, calls = conn.execute(sums).one()
        oldest = sa.select(batches.c.received_at).where(waiting).order_by(batches.c.id).limit(1)
        return Unrolled(number, int(calls), conn.execute(oldest).scalar())


def jobs_seen(bench: Bench) -> tuple[JobSeen, ...]:
    with looking(bench.engine) as conn:
        runs = {run.job: run for run in scheduler.last_runs(conn)}
        due = {row.name: row.due_at for row in conn.execute(sa.select(jobs.c.name, jobs.c.due_at))}
    return tuple(JobSeen(job.name, runs.get(job.name), due.get(job.name)) for job in scheduler.JOBS)


def unfinished(bench: Bench) -> tuple[Unfinished, ...]:
    table = restatements.c
    columns = (table.id, table.kind, table.who, table.began_at, table.seen, table.changed)
    with looking(bench.engine) as conn:
        rows = conn.execute(sa.select(*columns).where(table.ended_at.is_(None)).order_by(table.id))
        return tuple(Unfinished(*row) for row in rows)


def restored(bench: Bench) -> datetime | None:
    """How far the backup was complete that the books came back from, as long as journals may still add to it."""
    with looking(bench.engine) as conn:
        return sources.unsettled_since(conn, bench.now)


def aside(bench: Bench) -> Aside:
    with looking(bench.engine) as conn:
        return Aside(*(_count(conn, table, table.c.settled_at.is_(None)) for table in (rejected, conflicts)))


def unpriced(bench: Bench) -> tuple[UnpricedModel, ...]:
    with looking(bench.engine) as conn:
        return spend.unpriced_models(conn, bench.now, Slice(first=(bench.now - UNPRICED_DAYS).date()))


def clocks(bench: Bench) -> Clocks:
    with looking(bench.engine) as conn:
        latest = conn.execute(sa.select(sa.func.max(known_sources.c.seen_at))).scalar()
        before = datetime.now(UTC)
        theirs = conn.execute(sa.select(sa.func.clock_timestamp())).scalar() if is_postgresql(conn) else None
        ours = before + (datetime.now(UTC) - before) / 2
    behind = timedelta(0) if latest is None else max(latest - ours, timedelta(0))
    return Clocks(None if theirs is None else ours - theirs, behind)


def zones(bench: Bench) -> Zones:
    with looking(bench.engine) as conn:
        names = sa.union(sa.select(the_store.c.zone), sa.select(project_zones.c.zone))
        return Zones(tzdata(), tuple(name for name in conn.execute(names).scalars() if not _is_zone(name)))


def tzdata() -> str:
    try:
        return importlib.metadata.version("tzdata")
    except importlib.metadata.PackageNotFoundError:
        return "of the system"


def _is_zone(name: str) -> bool:
    try:
        periods.zone(name)
    except ConfigurationError:
        return False
    return True


def providers_seen(_bench: Bench) -> ProvidersSeen:
    """As a program of this user finds it that has this one's settings."""
    file = providers.own_file()
    try:
        providers.known_hosts()
    except ConfigurationError as error:
        return ProvidersSeen(file, file.exists(), str(error))
    return ProvidersSeen(file, file.exists())


def journals(bench: Bench) -> JournalsSeen:
    directory = journal_directory(bench.url)
    return JournalsSeen(
        directory,
        journal_settings().max_bytes,
        tuple(survey(directory)),
        _waiting(seen for folder in others(directory) for seen in survey(folder)),
        _refusal(directory),
    )


def lacking(bench: Bench) -> Lacking:
    """By journals that nobody owns. Of other folders those count from which these books know a journal."""
    directory = journal_directory(bench.url)
    found = {folder: journals_in(folder) for folder in (directory, *others(directory))}
    before = _held(bench, found.values())
    upto = {journal: contiguous for journal, (contiguous, _) in before.items()}
    related = (folder for folder, ids in found.items() if folder == directory or before.keys() & set(ids))
    seen = {folder: survey(folder, upto) for folder in related}
    # Once more: what was delivered between the two looks is not lacking.
    now = _held(bench, found.values())
    lacking: Counter[str] = Counter()
    for one in (one for folder, some in seen.items() if folder != directory for one in some):
        lacking[one.destination or one.file.parent.name] += _lacks(one, upto, now)
    return Lacking(sum(_lacks(one, upto, now) for one in seen[directory]), dict(+lacking))


def _held(bench: Bench, found: Iterable[list[UUID]]) -> dict[UUID, tuple[int, int]]:
    with looking(bench.engine) as conn:
        return sources.held_of(conn, chain.from_iterable(found))


def _lacks(one: Seen, upto: Mapping[UUID, int], now: Mapping[UUID, tuple[int, int]]) -> int:
    """At least so many: what the store holds ahead may be kept no more, and then makes it less."""
    contiguous, ahead = now.get(one.id, (0, 0))
    return max(one.kept - (contiguous - upto.get(one.id, 0)) - ahead, 0)


def _waiting(some: Iterable[Seen]) -> dict[str, int]:
    waiting: Counter[str] = Counter()
    for seen in some:
        if seen.waiting:
            waiting[seen.destination or seen.file.parent.name] += seen.waiting
    return dict(waiting)


def _refusal(directory: Path) -> str:
    """Why nothing can be written there; empty where it can. A folder that is yet to be made depends on those above."""
    there = next(each for each in (directory, *directory.parents) if each.exists())
    if not there.is_dir():
        return f"{there} is no folder"
    if not os.access(there, os.W_OK | os.X_OK):
        return f"{there} can't be written by this user"
    return ""


def _count(conn: Connection, table: Table, which: sa.ColumnElement[bool] | None = None) -> int:
    query = sa.select(sa.func.count()).select_from(table)
    return conn.execute(query if which is None else query.where(which)).scalar_one()

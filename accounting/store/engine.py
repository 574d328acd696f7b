"""The way into the store: one engine a process, `writing` for one transaction, `reading` for one snapshot.

What the databases do in ways of their own is in `sqlite` and `postgres`; nobody else asks which one it is, but
where a statement must differ.
"""

import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from enum import IntEnum
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError

from accounting import places
from accounting.errors import ConfigurationError
from accounting.store import postgres
from accounting.store import sqlite as files

TRIES = 10
"""So often a transaction is begun at most that lost to others over and over."""

_PAUSE_SECONDS = 0.02
_LOST_TO_OTHERS = ("40001", "40P01")  # serialization failure, deadlock

T = TypeVar("T")


class Lock(IntEnum):
    """What a transaction can have to itself, or share with others that do the same; see `hold`.

    Every write transaction shares the schema.
    """

    SCHEMA = 1
    ROLLUP = 2
    INGEST = 3


def open_engine(url: str, *, apart: bool = True, given_by: str = "ACCOUNTING_STORE_URL") -> Engine:
    """An engine for the store at the URL. Touches nothing yet: `schema.check` says whether there is a store.

    On PostgreSQL reading has connections apart from writing, so that reports never keep delivery waiting for one;
    without `apart` it shares them, which is right where one thread does both in turn. `given_by` names, for one that
    can't be used, what the URL came from.
    """
    kind = places.kind(url, given_by)
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError(f"{given_by} is no URL; expected one {places.LIKE}") from error
    if kind == "postgresql":
        return postgres.open_engine(parsed, apart=apart, given_by=given_by)
    return files.open_engine(parsed, given_by)


def is_postgresql(where: Connection | Engine) -> bool:
    return where.dialect.name == "postgresql"


def named(where: Connection | Engine) -> str:
    """The store's URL as people may see it: without user, password and options."""
    return places.without_secret(str(where.engine.url))


def file_exists(engine: Engine) -> bool:
    """False where the store's file has yet to be made; a PostgreSQL database is always made by others."""
    return is_postgresql(engine) or files.file_of(engine).exists()


def prepare(engine: Engine) -> None:
    """Make the file that `writing` needs; refuse a database that could not hold every text."""
    if is_postgresql(engine):
        postgres.prepare(engine)
    else:
        files.prepare(engine)


def writing(engine: Engine) -> AbstractContextManager[Connection]:
    """One write transaction: committed at the end of the block, rolled back if it raises.

    Keep it under about 100 ms, as on SQLite everybody else waits. On PostgreSQL it sees what others have committed
    by the time of each statement, and may lose to them: see `transact`. Raises `StoreMissing` where there is no
    store, `StoreAway` where it can't be reached.
    """
    if is_postgresql(engine):
        return postgres.writing(engine, Lock.SCHEMA, shared=True)
    return files.writing(engine)


def altering(engine: Engine) -> AbstractContextManager[Connection]:
    """One write transaction that may change the schema: nobody else writes meanwhile."""
    if is_postgresql(engine):
        return postgres.writing(engine, Lock.SCHEMA, shared=False)
    return files.writing(engine)


def reading(engine: Engine) -> AbstractContextManager[Connection]:
    """One snapshot for all statements in the block; a write fails. It waits for no writer, and holds none up."""
    return postgres.reading(engine) if is_postgresql(engine) else files.reading(engine)


def transact(engine: Engine, work: Callable[[Connection], T]) -> T:
    """What the work returns, done in one `writing`; begun anew where the transaction lost to others.

    So the work must leave nothing behind but rows. Any other error is raised at once.
    """
    for attempt in range(1, TRIES):
        try:
            return _once(engine, work)
        except DBAPIError as error:
            if sqlstate(error) not in _LOST_TO_OTHERS:
                raise
        time.sleep(_PAUSE_SECONDS * attempt * random.uniform(0.5, 1.5))  # noqa: S311 - not a secret
    return _once(engine, work)


def _once(engine: Engine, work: Callable[[Connection], T]) -> T:
    with writing(engine) as conn:
        return work(conn)


def sqlstate(error: DBAPIError) -> str:
    """The five characters by which SQL tells errors apart; empty where the database has none."""
    return str(getattr(error.orig, "sqlstate", None) or "")


def hold(conn: Connection, lock: Lock, *, shared: bool = False) -> None:
    """Hold a lock until the transaction ends. On SQLite the writer is alone anyway."""
    if is_postgresql(conn):
        postgres.hold(conn, lock, shared=shared)


def database_now(conn: Connection) -> datetime:
    """What the database's clock says, which is one for all hosts; on SQLite this host's, as the file is here."""
    if is_postgresql(conn):
        told: datetime = conn.execute(_CLOCK).scalar_one()
        return told.astimezone(UTC)
    return datetime.now(UTC)


_CLOCK = sa.select(sa.func.clock_timestamp())


def insert(connection: Connection, table: Table) -> sqlite.Insert:
    """The database's own INSERT, which knows ON CONFLICT."""
    if is_postgresql(connection):
        # The same methods and meaning by another class; they share no base that has them.
        return postgresql.insert(table)  # type: ignore[return-value]
    return sqlite.insert(table)

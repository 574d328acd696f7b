"""A store in a PostgreSQL database that many hosts share.

Nothing outlives a transaction: no session lock or setting, no prepared statement. So pgbouncer may hand each
transaction another connection.
"""

import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import URL, Connection, Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, StatementError

from accounting import places
from accounting.errors import ConfigurationError, StoreAway, StoreError, StoreMissing

LOCK_SECONDS = 60
"""How long a statement waits for others' rows and locks. Write transactions are short."""

IDLE_SECONDS = 300
"""After so long without a statement the server ends a transaction: its process is stuck, and others wait."""

_LOCKS = 0x00ACC07
"""What tells our advisory locks from those of others in the same database."""

_DEFAULTS: dict[str, object] = {
    "prepare_threshold": None,  # pgbouncer before 1.22 knows no prepared statements
    "connect_timeout": 10,
    # A server that vanished without a word is noticed within a minute or so, not after the kernel's quarter hour.
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
    "application_name": "accounting",
    "client_encoding": "utf8",
}

_POOL: dict[str, Any] = {"pool_size": 5, "max_overflow": 5, "pool_timeout": 30, "pool_recycle": 3600}

_readers: weakref.WeakKeyDictionary[Engine, Engine | None] = weakref.WeakKeyDictionary()
"""What reads for an engine: another engine, or none where it does so itself."""

_inherited: list[object] = []


def open_engine(url: URL, *, apart: bool, given_by: str) -> Engine:
    """An engine for the store in the database that the URL names; what the URL leaves open libpq finds as usual."""
    _refuse_without_driver()
    if "@" in f"{url.host}/{url.database}":
        raise ConfigurationError(
            f"{given_by} has an @ inside its user or password: write %40 for it, %3A for : and %2F for /."
        )
    _refuse_unknown_options(url, given_by)
    engine = _engine(url)
    _readers[engine] = reader = _engine(url) if apart else None
    if reader is not None:
        event.listen(engine, "engine_disposed", lambda _engine: reader.dispose())
    return engine


def prepare(engine: Engine) -> None:
    """Refuse a database of another encoding: a name in Chinese would be an error there, or a string of bytes."""
    with reading(engine) as conn:
        encoding = conn.exec_driver_sql("SHOW server_encoding").scalar()
    if encoding != "UTF8":
        raise StoreError(
            f"The database {_named(engine)} has the encoding {encoding}; expected UTF8. Make one with it: "
            "createdb --encoding=UTF8 --template=template0 NAME"
        )


@contextmanager
def writing(engine: Engine, lock: int, *, shared: bool) -> Iterator[Connection]:
    """One transaction, which begins by taking the lock and saying how long it would wait for others."""
    with _transaction(engine) as connection:
        connection.execute(sa.select(*_limits(), _lock(lock, shared=shared)))
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    # Said by the client with each BEGIN, so nothing of it stays on the server's connection.
    with _transaction(_readers[engine] or engine, isolation_level="REPEATABLE READ", postgresql_readonly=True) as conn:
        yield conn


def hold(conn: Connection, lock: int, *, shared: bool) -> None:
    conn.execute(sa.select(_lock(lock, shared=shared)))


def _lock(lock: int, *, shared: bool) -> sa.ColumnElement[None]:
    take = sa.func.pg_advisory_xact_lock_shared if shared else sa.func.pg_advisory_xact_lock
    return take(_LOCKS, int(lock))


def _limits() -> tuple[sa.ColumnElement[str], ...]:
    """Until the end of the transaction, as the connection's next one may be somebody else's."""
    return (
        sa.func.set_config("lock_timeout", f"{LOCK_SECONDS}s", True),
        sa.func.set_config("idle_in_transaction_session_timeout", f"{IDLE_SECONDS}s", True),
    )


def _refuse_without_driver() -> None:
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            f"A store on PostgreSQL needs psycopg, which can't be imported ({error}). "
            "Install it: pip install 'llm-accounting[postgres]'"
        ) from error


def _refuse_unknown_options(url: URL, given_by: str) -> None:
    """While connecting they would look like a server that is away, which delivery waits for."""
    from psycopg import ProgrammingError
    from psycopg.conninfo import make_conninfo

    for name in url.query:
        try:
            make_conninfo("", **{name: ""})
        except ProgrammingError as error:
            raise ConfigurationError(
                f"{given_by} has the option {name!r}, which PostgreSQL's client library doesn't know; "
                "expected one like sslmode=require. Correct it, or leave it out."
            ) from error


def _engine(url: URL) -> Engine:
    options = {name: value for name, value in _DEFAULTS.items() if name not in url.query}
    # Parameters stay out of errors: these are logged, and carry what users named their projects and tags.
    engine = sa.create_engine(
        url.set(drivername="postgresql+psycopg"),
        connect_args=options,
        hide_parameters=True,
        use_native_hstore=False,
        isolation_level="READ COMMITTED",  # whatever the server's default is
        pool_pre_ping=True,
        **_POOL,
    )
    event.listen(engine, "handle_error", _keep_values_out)
    event.listen(engine, "connect", _speak_utc)
    return engine


def _speak_utc(raw: Any, _record: object) -> None:
    """By the server's own zone the last hours that the books hold would lie in the year 10000, which Python has not.

    Said on the connection, as pgbouncer refuses options that it doesn't know, and follows this.
    """
    raw.execute("SET TIME ZONE 'UTC'")
    raw.commit()


@contextmanager
def _transaction(engine: Engine, **options: Any) -> Iterator[Connection]:
    """One transaction. What the server or the network did to it is told in a sentence."""
    from psycopg import Error

    connection = _connected(engine)
    raw: Any = connection.connection.driver_connection
    try:
        with connection.execution_options(**options), connection.begin():
            yield connection
    except DBAPIError as error:
        raise _told(engine, error, writes=not options) from error
    except Error as error:  # from COPY, which goes past SQLAlchemy
        _keep_primary(error)
        wrapped = DBAPIError.instance(None, None, error, Error, hide_parameters=True, connection_invalidated=raw.closed)
        raise _told(engine, wrapped, writes=not options) from error


def _connected(engine: Engine) -> Connection:
    try:
        return engine.connect()
    except DBAPIError as error:
        raise _unreachable(engine, error) from error
    except sa.exc.TimeoutError as error:
        raise StoreAway(f"All connections of this process to {_named(engine)} are in use; try again.") from error


def _unreachable(engine: Engine, error: DBAPIError) -> StoreError:
    # Without libpq's own questions, which are in lines set in; of several hosts each has a line.
    lines = (line.rstrip(".") for line in str(error.orig).splitlines() if not line.startswith("\t"))
    said = "; ".join(lines)
    if f'database "{engine.url.database}" does not exist' in said:
        return StoreMissing(
            f"There is no database at {_named(engine)}. Make it (createdb), then the store in it: "
            "accounting store create; or set ACCOUNTING_STORE_URL to the one you mean."
        )
    return StoreAway(
        f"The store at {_named(engine)} can't be reached: {said}. "
        f"Check that the server runs, and host, port, {_user(engine)} and password of its URL."
    )


def _told(engine: Engine, error: StatementError, *, writes: bool) -> Exception:
    """The error, or what it means where it is not our statements that are wrong."""
    state, said = getattr(error.orig, "sqlstate", None), str(error.orig)
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return StoreAway(
            f"The connection to the store at {_named(engine)} was lost, and with it the step under way. "
            "Do the same again once the server is back; nothing is done twice."
            if writes
            else f"The connection to the store at {_named(engine)} was lost; ask again once the server is back."
        )
    if state == "55P03":
        return StoreAway(
            f"Rows or locks of the store at {_named(engine)} have been held by others for {LOCK_SECONDS} s, and "
            "nothing was written. Who holds them, its server tells in pg_stat_activity."
        )
    if state == "25006" and writes:
        return StoreAway(f"The server of {_named(engine)} takes no writes now ({said}). Name the primary server.")
    if state == "42501":
        return StoreError(f"The {_user(engine)} of its URL may not do this at {_named(engine)}: {said}.")
    return error


def _keep_values_out(context: ExceptionContext) -> None:
    error, wrapped = context.original_exception, context.sqlalchemy_exception
    full, primary = str(error), _keep_primary(error)
    if wrapped is not None:
        wrapped.args = tuple(str(arg).replace(full, primary) for arg in wrapped.args)


def _keep_primary(error: BaseException) -> str:
    """Leave the server's DETAIL and CONTEXT out of an error: they quote what users named their projects and tags."""
    diagnosis = getattr(error, "diag", None)
    if diagnosis is not None and diagnosis.message_primary:
        error.args = (diagnosis.message_primary,)
    return str(error)


def _named(engine: Engine) -> str:
    return places.without_secret(str(engine.url))


def _user(engine: Engine) -> str:
    return f"user ({engine.url.username})" if engine.url.username else "user (none named, so PGUSER or the system's)"


def _forget_parents_connections() -> None:
    """In a forked child: a connection from before the fork is the parent's, who goes on talking through it."""
    for engine, reader in list(_readers.items()):
        for each in filter(None, (reader, engine)):
            _inherited.append(each.pool)
            each.dispose(close=False)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parents_connections)

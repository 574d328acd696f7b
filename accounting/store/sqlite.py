"""A store in a SQLite file that several processes share.

Every write, and every checkpoint, runs under one lock between processes: SQLite's own waiting is unfair, and
before 3.51.3 two connections that checkpoint and write at once can corrupt the file
(sqlite.org/wal.html#walresetbug).
"""

import os
import sqlite3
import weakref
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from filelock import FileLock, Timeout
from sqlalchemy import URL, Connection, Engine, event
from sqlalchemy.exc import DisconnectionError

from accounting import places
from accounting.errors import ConfigurationError, StoreError, StoreMissing
from accounting.rates import CLASSES
from accounting.store import mounts, sums

LOCK_SECONDS = 60.0
"""How long a writer waits for the others. A write transaction takes about 100 ms at most."""

_POLL_SECONDS = 0.005
_BUSY_MS = 10_000
_CHECKPOINT_BYTES = 4 * 2**20

_PRAGMAS = (
    f"PRAGMA busy_timeout = {_BUSY_MS}",
    "PRAGMA synchronous = FULL",  # the journal lets a call go once it is here, so a commit must be on the disk
    "PRAGMA wal_autocheckpoint = 0",  # only `writing` checkpoints, under the lock
    "PRAGMA mmap_size = 0",
    "PRAGMA foreign_keys = ON",
)

_engines: weakref.WeakSet[Engine] = weakref.WeakSet()
_inherited: list[object] = []


def open_engine(url: URL, given_by: str) -> Engine:
    """An engine for the store in the file that the URL names. Touches no file."""
    file = _file(url, given_by)
    url_of_file = URL.create("sqlite", database=str(file))
    # Parameters stay out of errors: these are logged, and carry what users named their projects and tags.
    engine = sa.create_engine(url_of_file, creator=lambda: _connect(file), hide_parameters=True)
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "checkout", _refuse_replaced_file)
    event.listen(engine, "begin", _begin)
    _engines.add(engine)
    return engine


def file_of(engine: Engine) -> Path:
    """The SQLite file behind the engine."""
    return Path(str(engine.url.database))


def prepare(engine: Engine) -> None:
    """Make the file that `writing` needs, and its folder, readable by their owner alone."""
    file = file_of(engine)
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        mounts.refuse_network(file)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise ConfigurationError(
            f"Can't make the store in {file} as {_user()}: {error.strerror} ({error.filename}). Give this user "
            "write access to the folder, or set ACCOUNTING_STORE_URL to another file."
        ) from error


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One write transaction: committed at the end of the block, rolled back if it raises.

    Keep it under about 100 ms, as everybody else waits. Raises `StoreMissing` where there is no file.
    """
    with _locked(engine), engine.connect() as connection:
        connection = connection.execution_options(writing=True)
        with connection.begin():
            yield connection
        _checkpoint_when_due(connection)


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One snapshot for all statements in the block; a write fails."""
    _refuse_missing_file(engine)
    with engine.connect() as connection, connection.begin():
        yield connection


@contextmanager
def alone(engine: Engine) -> Iterator[None]:
    """Keep all who write away, also where there is no store yet."""
    with _held(file_of(engine)):
        yield


def replace(engine: Engine, new: Path, aside: Path | None) -> None:
    """Put another file in the store's place, to be done `alone`; the one that was there goes aside, or for good.

    Who still reads the old one goes on with that. The name is free before the log goes, and taken last: no connection
    can come upon one file with the other's log.
    """
    file = file_of(engine)
    log, index = (file.with_name(f"{file.name}{suffix}") for suffix in ("-wal", "-shm"))
    if file.exists():
        is_copied = _copy_log(file)
        file.unlink() if aside is None else file.rename(aside)
        if aside is not None and log.exists() and not is_copied:
            log.rename(aside.with_name(f"{aside.name}-wal"))
    log.unlink(missing_ok=True)
    index.unlink(missing_ok=True)
    new.rename(file)


def _copy_log(file: Path) -> bool:
    """Copy the log into the file; False where some of it is left, because of a reader or of damage."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        try:
            _, in_log, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.DatabaseError:
            return False
    return bool(in_log == copied)


def _file(url: URL, given_by: str) -> Path:
    path = url.database or ":memory:"
    if path == ":memory:" or path.startswith("file:") or url.query:
        raise ConfigurationError(
            f"{given_by} is {str(url)!r}; expected the path of a file and no options, like {places.LIKE_SQLITE}."
        )
    # One name only: SQLite's locks and its -wal file go by the path, so a link would be a second store.
    return Path(path).expanduser().resolve()


def _connect(file: Path) -> sqlite3.Connection:
    while True:
        before = _identity(file)
        connection = _opened(file)
        # SQLite opens the log later than the file: of a file that was replaced in between it would be another's.
        if _identity(file) == before:
            return connection
        connection.close()


def _opened(file: Path) -> sqlite3.Connection:
    # mode=rw: a store that was moved away must not come back as an empty file.
    # isolation_level None: Python would begin no transaction before DDL or SELECT; `_begin` always does.
    connection = sqlite3.connect(
        f"{file.as_uri()}?mode=rw", _BUSY_MS / 1000, uri=True, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA schema_version").fetchone()  # the first read opens the log
    except BaseException:
        connection.close()
        raise
    return connection


def _set_up(connection: sqlite3.Connection, record: Any) -> None:
    file = _main_file(connection)
    mounts.refuse_network(file)
    with closing(connection.cursor()) as cursor:
        for pragma in _PRAGMAS:
            cursor.execute(pragma)
        if cursor.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            with _held(file):
                cursor.execute("PRAGMA journal_mode = WAL")
    connection.create_function("exact_add", 2, sums.exact_add, deterministic=True)
    connection.create_aggregate("exact_total", 1, sums.Total)
    connection.create_function("exact_cost", 2 * len(CLASSES), sums.cost, deterministic=True)
    record.info["file"], record.info["identity"] = file, _identity(file)


def _main_file(connection: sqlite3.Connection) -> Path:
    return Path(connection.execute("SELECT file FROM pragma_database_list WHERE name = 'main'").fetchone()[0])


def _refuse_replaced_file(_connection: sqlite3.Connection, record: Any, _proxy: Any) -> None:
    """A connection to a file that was replaced, by a restored backup for one, would write where nobody reads."""
    # Nothing is asked of the connection: it would read the old file, and perhaps with the new one's log.
    if record.info["identity"] != _identity(record.info["file"]):
        raise DisconnectionError("The store's file was replaced; connecting to the new one.")


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writing", False)
    connection.exec_driver_sql(f"PRAGMA query_only = {'OFF' if writes else 'ON'}")
    # IMMEDIATE: a snapshot that turns into a write fails at once, whatever the busy timeout.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _locked(engine: Engine) -> Iterator[None]:
    _refuse_missing_file(engine)
    with _held(file_of(engine)):
        yield


@contextmanager
def _held(file: Path) -> Iterator[None]:
    lock = _lock(file)
    try:
        lock.acquire(timeout=LOCK_SECONDS, poll_interval=_POLL_SECONDS)
    except Timeout as error:
        raise StoreError(
            f"{lock.lock_file} has been held by others for {LOCK_SECONDS:.0f} s. "
            f"Find who holds it (fuser {lock.lock_file}) and stop that; nothing was written."
        ) from error
    except OSError as error:
        raise StoreError(f"Can't lock {lock.lock_file} as {_user()}: {error.strerror}. Nothing was written.") from error
    try:
        yield
    finally:
        lock.release()


@lru_cache(maxsize=64)
def _lock(file: Path) -> FileLock:
    """One a file: a thread that holds it may take it again, to connect."""
    return FileLock(f"{file}.lock", mode=0o600)


def _refuse_missing_file(engine: Engine) -> None:
    if not file_of(engine).is_file():
        raise StoreMissing(
            f"There is no store at {places.without_secret(str(engine.url))}. Make one: accounting store create, "
            "or set ACCOUNTING_STORE_URL to the one you mean."
        )


def _checkpoint_when_due(connection: Connection) -> None:
    """Copy the log into the file once it is long; what a reader still needs stays for the next time."""
    log = Path(f"{file_of(connection.engine)}-wal")
    if not log.exists() or log.stat().st_size < _CHECKPOINT_BYTES:
        return
    raw = connection.connection.cursor()
    raw.execute("PRAGMA busy_timeout = 0")  # readers are not waited for: the lock is held
    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
    raw.close()


def _user() -> str:
    return f"uid {os.getuid()}" if hasattr(os, "getuid") else "this user"


def _forget_parents_connections() -> None:
    """In a forked child: SQLite forbids even closing a connection from before the fork, and filelock its locks."""
    _lock.cache_clear()
    for engine in _engines:
        _inherited.append(engine.pool)
        engine.dispose(close=False)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parents_connections)

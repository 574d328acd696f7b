"""The journals of a folder: beginning one, and continuing those whose process is gone.

One SQLite file a process, held in exclusive locking mode: that lock is the ownership, on every platform, and
it ends with the process. Who gets the lock of a file without an owner continues it: same id, same numbers.
"""

import logging
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from accounting.errors import JournalUnavailable
from accounting.journal import PAGE_BYTES, SUFFIX, Journal
from accounting.usage import new_id

log = logging.getLogger("accounting")

FORMAT = 1

_SCHEMA = """
CREATE TABLE calls (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    started_at INTEGER NOT NULL,
    payload BLOB NOT NULL,
    ended INTEGER NOT NULL DEFAULT 0,
    delivered_at INTEGER
);
CREATE INDEX undelivered ON calls (started_at) WHERE delivered_at IS NULL;
CREATE INDEX ready ON calls (number) WHERE delivered_at IS NULL AND ended = 1;
CREATE INDEX kept ON calls (delivered_at) WHERE delivered_at IS NOT NULL;
CREATE TABLE facts (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
"""


def open_journal(directory: Path, *, sync: str = "normal", max_bytes: int = 2**30) -> Journal:
    """Continue a journal without an owner, else begin one. Raises `OSError` or `sqlite3.Error`.

    `sync` "normal" survives the death of the process, "full" also that of the machine. `max_bytes` bounds the file:
    a full journal refuses, and what then happens to calls is its caller's to decide.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    for journal in orphans(directory, sync=sync, max_bytes=max_bytes):
        return journal
    for _ in range(10):
        file = directory / f"{new_id()}{SUFFIX}"
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        try:
            begun = _own(file, sync, max_bytes)
        except sqlite3.Error:
            file.unlink(missing_ok=True)  # no room for it: a next try must not find one more that can't be read
            raise
        # A process that looks for orphans at this moment may own the new file before we do.
        if begun is not None:
            return begun
    raise JournalUnavailable(f"Each of ten new journals in {directory} was taken by other processes at once.")


def memory_journal(directory: Path, max_bytes: int) -> Journal:
    """A journal that lives and dies with the process, where the one in the directory can't be written."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    connection.executescript(_SCHEMA)
    return Journal(directory / f"{new_id()}{SUFFIX}", connection, max_bytes)


def orphans(directory: Path, *, sync: str = "normal", max_bytes: int = 2**30) -> Iterator[Journal]:
    """The journals here that nobody owns, oldest first, each owned from here on, their open calls ended."""
    for file in sorted(directory.glob(f"*{SUFFIX}")):
        try:
            journal = _own(file, sync, max_bytes) if _is_ours(file) else None
            if journal is not None:
                _end_open_calls(journal)
        except sqlite3.DatabaseError as error:
            log.warning("Journal %s can't be read and is left as it is: %s", file, error)
            continue
        if journal is not None:
            yield journal


def _end_open_calls(journal: Journal) -> None:
    try:
        journal.abandon_open()
    except BaseException:
        journal.close()
        raise


def _is_ours(file: Path) -> bool:
    """Whether the file is a journal of this user: never a link, another user's, or somebody's file of another name."""
    try:
        UUID(file.name.removesuffix(SUFFIX))
        status = file.lstat()
    except (FileNotFoundError, ValueError):
        return False
    return not file.is_symlink() and (os.name == "nt" or status.st_uid == os.getuid())


def _own(file: Path, sync: str, max_bytes: int) -> Journal | None:
    """The journal, if its lock is free and its format is one we read; its bytes stay untouched otherwise."""
    connection = None
    try:
        # mode=rw: a file that its owner has just deleted must not come back empty.
        connection = sqlite3.connect(
            f"{file.as_uri()}?mode=rw", uri=True, timeout=0, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN IMMEDIATE")
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        connection.execute("COMMIT")
        if not file.exists():  # deleted by its owner after we opened it
            connection.close()
            return None
        if found > FORMAT:
            log.warning("Journal %s was written by a newer version and is left to it.", file)
            connection.close()
            return None
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")  # see tidy()
        connection.execute(f"PRAGMA synchronous = {'FULL' if sync == 'full' else 'NORMAL'}")
        if found == 0:
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {FORMAT}; COMMIT")
        return Journal(file, connection, max_bytes)
    except BaseException as error:
        if connection is not None:
            connection.close()
        if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode in _NOT_TO_BE_HAD:
            return None
        raise


_NOT_TO_BE_HAD = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CANTOPEN)


@dataclass(frozen=True, slots=True)
class Seen:
    """A journal's file as others see it: what is in it only while nobody owns it.

    `waiting` calls are not delivered, the first of which began at `oldest`; of the delivered ones `kept` can be sent
    again, if they were asked for. `trouble` says why it can't be read.
    """

    file: Path
    bytes: int
    is_owned: bool = False
    waiting: int = 0
    oldest: datetime | None = None
    kept: int = 0
    destination: str = ""
    trouble: str = ""

    @property
    def id(self) -> UUID:
        return UUID(self.file.name.removesuffix(SUFFIX))


def others(directory: Path) -> list[Path]:
    """The folders beside this one, each of journals for another destination."""
    beside = directory.parent
    return [each for each in sorted(beside.iterdir()) if each.is_dir() and each != directory] if beside.is_dir() else []


def journals_in(directory: Path) -> list[UUID]:
    """The ids of this user's journals in the folder."""
    return [UUID(file.name.removesuffix(SUFFIX)) for file in _ours(directory)]


def survey(directory: Path, beyond: Mapping[UUID, int] | None = None) -> list[Seen]:
    """This user's journals in the folder. Changes nothing in them, and owns none for longer than a look takes.

    What they keep is counted where `beyond` is given: of each journal the numbers above the one there, or all.
    """
    return [_seen(file, beyond) for file in _ours(directory)]


def _ours(directory: Path) -> list[Path]:
    return [file for file in sorted(directory.glob(f"*{SUFFIX}")) if _is_ours(file)]


def _seen(file: Path, beyond: Mapping[UUID, int] | None) -> Seen:
    seen = Seen(file, sum(part.stat().st_size for part in (file, _log(file)) if part.exists()))
    try:
        connection = sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True, timeout=0, isolation_level=None)
        with closing(connection):
            # As an owner locks it: without that, SQLite would make a file more for the log's index.
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("BEGIN IMMEDIATE")
            kept = 0 if beyond is None else _kept(connection, beyond.get(seen.id, 0))
            return replace(_contents(connection, seen), kept=kept)
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", None)
        is_owned = code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
        return replace(seen, is_owned=is_owned, trouble="" if is_owned else str(error))


def _contents(connection: sqlite3.Connection, seen: Seen) -> Seen:
    (format_,) = connection.execute("PRAGMA user_version").fetchone()
    if format_ == 0:  # made, and never written to
        return seen
    if format_ > FORMAT:
        return replace(seen, trouble="it was written by a newer version of this program")
    undelivered = "SELECT count(*), min(started_at) FROM calls WHERE delivered_at IS NULL"
    waiting, oldest = connection.execute(undelivered).fetchone()
    destination = connection.execute("SELECT value FROM facts WHERE name = 'destination'").fetchone()
    return replace(
        seen,
        waiting=waiting,
        oldest=None if oldest is None else _EPOCH + timedelta(microseconds=oldest),
        destination="" if destination is None else str(destination[0]),
    )


def _kept(connection: sqlite3.Connection, beyond: int) -> int:
    if not 0 < connection.execute("PRAGMA user_version").fetchone()[0] <= FORMAT:
        return 0
    # All of them stand in an index; a few are found by their numbers, and the payloads of the others are not read.
    every = "SELECT count(*) FROM calls WHERE delivered_at IS NOT NULL AND ? = 0"
    few = "SELECT count(*) FROM calls NOT INDEXED WHERE number > ? AND delivered_at IS NOT NULL"
    return int(connection.execute(few if beyond else every, (beyond,)).fetchone()[0])


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _log(file: Path) -> Path:
    return file.with_name(f"{file.name}-wal")

"""Backups: the books as they were at one instant in one SQLite file, and the way back from it.

A backup of a store on PostgreSQL is such a file, too, so it can be opened anywhere. It is drafted elsewhere and
gets its name once it is whole and has been checked; a restored store gets its place in the same manner.
"""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory, mkstemp

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DatabaseError

from accounting import moving, sources
from accounting.errors import ConfigurationError, SchemaMismatch, StoreError
from accounting.moving import Progress
from accounting.places import sqlite_url
from accounting.store import file_exists, file_of, is_postgresql, named, open_engine, reading, schema, sqlite, writing
from accounting.store.tables import batches, store

PAGES_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a backup holds: so many calls, and all of those that began before `until`, where its schema can tell."""

    calls: int
    until: datetime | None
    schema: str = schema.HEAD


@dataclass(frozen=True, slots=True)
class Restored:
    """What the store holds now; `aside` is where the one went that was there."""

    held: Holdings
    aside: Path | None = None


def back_up(source: Engine, file: Path, now: datetime, progress: Progress = lambda *_: None) -> Holdings:
    """Write a backup to a file that is not there yet, while others go on writing to the books.

    One of a file with an older schema has that schema, too: it is what an upgrade can be undone with.
    """
    _refuse_to_overwrite(file)
    with _draft(source) as draft:
        if is_postgresql(source):
            with _opened(draft) as copy:
                _carry(source, copy, progress)
        else:
            with reading(source) as conn:
                schema.check_known(conn)
                _snapshot(conn, draft, progress)
        with _opened(draft) as copy:
            held = _holdings(copy, now)
        _seal(draft)
        _refuse_damaged(draft, "The backup")
        _publish(draft, file)
    return held


def restore(
    file: Path, target: Engine, now: datetime, *, replace: bool = False, progress: Progress = lambda *_: None
) -> Restored:
    """Put the books of a backup in place of a store that is missing, or has no books in it.

    One that has some gives way only to `replace`, and is moved aside under the date; one on PostgreSQL never does. A
    backup with an older schema is upgraded on its way.
    """
    if is_postgresql(target) and replace:
        raise ConfigurationError(
            "A store on PostgreSQL is not moved aside. Make an empty database (createdb), set ACCOUNTING_STORE_URL "
            "to it and restore into that."
        )
    with _draft(target) as draft:
        _read_in(file, draft, progress)
        _refuse_damaged(draft, str(file))
        with _opened(draft) as copy:
            _upgrade(copy, file)
            held = _holdings(copy, now)
            _mark(copy, held, now)
            if is_postgresql(target):
                _carry(copy, target, progress)
                return Restored(held)
        _seal(draft)
        return Restored(held, _put_in_place(draft, target, now, replace))


def _refuse_to_overwrite(file: Path) -> None:
    if file.exists():
        raise ConfigurationError(f"{file} is there already, and may be the only backup of its day. Name another file.")
    if not file.parent.is_dir():
        raise ConfigurationError(f"There is no folder {file.parent}; make it first.")


@contextmanager
def _draft(store: Engine) -> Iterator[Path]:
    """An empty file for its owner alone: beside a store that is a file, on the same disk and with room for its size."""
    with _folder(None if is_postgresql(store) else file_of(store).parent) as folder:
        draft = Path(folder) / "books.sqlite3"
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        yield draft


def _folder(beside: Path | None) -> TemporaryDirectory[str]:
    try:
        if beside is not None:
            beside.mkdir(mode=0o700, parents=True, exist_ok=True)
        return TemporaryDirectory(prefix=".accounting-", dir=beside)
    except OSError as error:
        raise ConfigurationError(f"Can't write in {error.filename}: {error.strerror}.") from error


@contextmanager
def _opened(draft: Path) -> Iterator[Engine]:
    engine = open_engine(sqlite_url(draft))
    try:
        yield engine
    finally:
        engine.dispose()


def _carry(source: Engine, target: Engine, progress: Progress) -> None:
    if (found := moving.copy(source, target, progress).difference) is not None:
        raise StoreError(f"{named(target)} is not the same as {named(source)}: {found}")


def _snapshot(conn: Connection, draft: Path, progress: Progress) -> None:
    """All pages of the store as this transaction sees them: it has read already, so nothing moves underneath."""
    raw = conn.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)  # noqa: S101 - the store is a file
    try:
        _pages(raw, draft, progress)
    except sqlite3.DatabaseError as error:
        raise StoreError(f"{named(conn)} can't be copied to {draft.parent}: {error}.") from error


def _read_in(file: Path, draft: Path, progress: Progress) -> None:
    if not file.is_file():
        raise ConfigurationError(f"There is no file {file}.")
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as backup:
            _pages(backup, draft, progress)
    except sqlite3.DatabaseError as error:
        raise ConfigurationError(f"{file} can't be read as a backup: {error}.") from error


def _pages(original: sqlite3.Connection, draft: Path, progress: Progress) -> None:
    def told(_status: int, left: int, total: int) -> None:
        progress("Copying pages", total - left, total)

    with closing(sqlite3.connect(draft)) as copy:
        original.backup(copy, pages=PAGES_AT_ONCE, progress=told)


def _upgrade(copy: Engine, file: Path) -> None:
    with reading(copy) as conn:
        found = schema.revision(conn)
    if found is None:
        raise ConfigurationError(f"{file} is no store of this program.")
    if found not in schema.REVISIONS:
        raise SchemaMismatch(
            f"{file} has schema {found}; this program knows those up to {schema.HEAD}. "
            "Upgrade it: pip install -U llm-accounting"
        )
    if found != schema.HEAD:
        schema.upgrade(copy)


def _holdings(copy: Engine, now: datetime) -> Holdings:
    with reading(copy) as conn:
        calls = conn.scalar(sa.select(sa.func.coalesce(sa.func.sum(batches.c.inserted), 0)))
        found = schema.check_known(conn)
        until = sources.complete_until(conn, now).until if found == schema.HEAD else None
        return Holdings(int(calls or 0), until, found)


def _mark(copy: Engine, held: Holdings, now: datetime) -> None:
    """Let the books know that they came back, and how far they were complete then."""
    with writing(copy) as conn:
        conn.execute(sa.update(store).values(restored_at=now, restored_until=held.until))


def _seal(draft: Path) -> None:
    """One file without a log, that can be read where nothing can be written."""
    with closing(sqlite3.connect(draft)) as copy:
        copy.execute("PRAGMA journal_mode = DELETE")


def _refuse_damaged(draft: Path, what: str) -> None:
    with closing(sqlite3.connect(draft)) as copy:
        try:
            found = [*copy.execute("PRAGMA integrity_check(1)"), *copy.execute("PRAGMA foreign_key_check")]
        except sqlite3.DatabaseError as error:
            found = [(str(error),)]
    if wrong := [str(row[0]) for row in found if row != ("ok",)]:
        raise StoreError(f"{what} is damaged: {wrong[0]}. Nothing was put anywhere.")


def _publish(draft: Path, file: Path) -> None:
    """Give the draft its name, never another's."""
    try:
        os.link(draft, file)
    except FileExistsError:
        _refuse_to_overwrite(file)
    except OSError:  # another disk, or one that knows no links
        part = _copy_bytes(draft, file)
        try:
            _refuse_to_overwrite(file)
            part.rename(file)
        finally:
            part.unlink(missing_ok=True)


def _copy_bytes(draft: Path, file: Path) -> Path:
    """A copy beside the file, under a name of its own: one that was there already could be read by others."""
    part = None
    try:
        handle, name = mkstemp(prefix=f".{file.name}.", suffix=".part", dir=file.parent)
        part = Path(name)
        with os.fdopen(handle, "wb") as copy:
            with draft.open("rb") as whole:
                shutil.copyfileobj(whole, copy)
            copy.flush()
            os.fsync(copy.fileno())
    except OSError as error:
        if part is not None:
            part.unlink(missing_ok=True)
        raise ConfigurationError(f"Can't write {file}: {error.strerror}.") from error
    return part


def _put_in_place(draft: Path, target: Engine, now: datetime, replace: bool) -> Path | None:
    """The draft becomes the store; returns where the one went that was there."""
    file = file_of(target)
    with sqlite.alone(target):
        aside = _dated(file, now) if _has_books(target) else None
        if aside is not None and not replace:
            raise StoreError(
                f"The store {named(target)} has books in it. To move it aside first: accounting store restore --replace"
            )
        target.dispose()
        sqlite.replace(target, draft, aside)
    return aside


def _dated(file: Path, now: datetime) -> Path:
    aside = file.with_name(f"{file.name}.{now:%Y%m%dT%H%M%SZ}")
    if aside.exists():
        raise StoreError(f"{aside} is there already. Move it away, or wait a second.")
    return aside


def _has_books(target: Engine) -> bool:
    """Whether there is something to lose; a store that can't be read may hold it all the same."""
    if not file_exists(target) or not file_of(target).stat().st_size:
        return False
    try:
        with reading(target) as conn:
            if schema.revision(conn) is None:
                schema.refuse_foreign(conn)
                return False
            return schema.has_books(conn)
    except DatabaseError:
        return True

"""Backups of books in use, and the way back from them."""

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread

import pytest
from sqlalchemy import Engine

from accounting import sources
from accounting.backup import Holdings, back_up, restore
from accounting.errors import ConfigurationError, SchemaMismatch, StoreError
from accounting.ingest import ingest
from accounting.places import sqlite_url
from accounting.store import file_of, is_postgresql, open_engine, reading, schema, tables, writing
from accounting.verify import verify
from tests.books import NOON, Books, made
from tests.budgeted import CARD, amounts, budget, ended, reserve, running
from tests.databases import Database, PostgresDatabases, SqliteFiles
from tests.full_books import contents_but_for_a_restore as contents
from tests.full_books import fill, move

HOUR = timedelta(hours=1)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the backup goes."""
    return tmp_path / "monday.sqlite3"


@pytest.fixture
def in_file(tmp_path: Path) -> Iterator[Books]:
    """Books in a SQLite file."""
    books = Books(SqliteFiles(tmp_path).store())
    yield books
    books.close()


def restored(file: Path, url: str, *, replace: bool = False) -> Path | None:
    engine = open_engine(url)
    try:
        return restore(file, engine, NOON, replace=replace).aside
    finally:
        engine.dispose()


def test_what_is_restored_is_what_was_backed_up(books: Books, database: Database, file: Path) -> None:
    fill(books)
    held = back_up(books.engine, file, NOON)
    assert held == Holdings(len(books.rows(tables.calls)), None if held.until is None else NOON)
    other = database.empty()
    assert restored(file, other) is None
    assert contents(other) == contents(books.url)


def test_a_backup_of_either_database_is_a_store_that_can_be_opened_anywhere(books: Books, file: Path) -> None:
    fill(books)
    back_up(books.engine, file, NOON)
    assert contents(sqlite_url(file)) == contents(books.url)


def test_a_backup_says_how_far_it_goes(books: Books, file: Path) -> None:
    books.deliver(made(), now=NOON)
    assert back_up(books.engine, file, NOON + timedelta(hours=1)) == Holdings(1, NOON)


def test_totals_are_not_called_complete_before_journals_had_time_to_miss_what_a_backup_lacks(
    books: Books, database: Database, file: Path
) -> None:
    books.deliver(made(), now=NOON)
    books.roll()
    back_up(books.engine, file, NOON + HOUR)
    other = open_engine(database.empty())
    restore(file, other, NOON + 2 * HOUR)
    # Others know of the restore, and this journal, which has lost nothing, reports that it goes on.
    ingest(other, replace(books.journal.batch(made(), seen_at=NOON + 2 * HOUR), entries=()), NOON + 2 * HOUR)
    with reading(other) as conn:
        soon, later = NOON + 2 * HOUR + timedelta(minutes=1), NOON + 2 * HOUR + sources.SETTLING
        assert sources.complete_until(conn, soon).until == sources.unsettled_since(conn, soon) == NOON
        assert sources.complete_until(conn, later).until == NOON + 2 * HOUR
        assert sources.unsettled_since(conn, later) is None
    other.dispose()


@pytest.mark.skipif(os.name == "nt", reason="permissions are POSIX's")
def test_a_backup_is_one_file_for_its_owner_alone(in_file: Books, file: Path) -> None:
    in_file.deliver(made())
    before = set(file_of(in_file.engine).parent.iterdir())
    back_up(in_file.engine, file, NOON)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert set(file_of(in_file.engine).parent.iterdir()) == before, "no draft is left"
    assert [path for path in file.parent.iterdir() if path.is_file()] == [file]
    with closing(sqlite3.connect(f"{file.as_uri()}?immutable=1", uri=True)) as copy:
        assert copy.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert copy.execute("SELECT count(*) FROM calls").fetchone() == (1,)


def test_a_backup_never_takes_the_place_of_a_file(books: Books, file: Path) -> None:
    file.write_text("the only one there is")
    with pytest.raises(ConfigurationError, match="there already"):
        back_up(books.engine, file, NOON)
    assert file.read_text() == "the only one there is"


def test_a_backup_goes_to_a_disk_that_knows_no_links(
    in_file: Books, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", link)
    left = file.with_name(f".{file.name}.part")
    left.touch()
    left.chmod(0o644)
    in_file.deliver(made())
    back_up(in_file.engine, file, NOON)
    assert contents(sqlite_url(file)) == contents(in_file.url)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_backup_without_a_folder_for_it_says_so(books: Books, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no folder"):
        back_up(books.engine, tmp_path / "none" / "monday.sqlite3", NOON)


def test_a_backup_made_while_others_write_is_whole(books: Books, file: Path) -> None:
    fill(books)
    stopped = Event()
    writing = Thread(target=keep_writing, args=(books.url, stopped))
    writing.start()
    try:
        held = back_up(books.engine, file, NOON)
    finally:
        stopped.set()
        writing.join()
    copy = open_engine(sqlite_url(file))
    assert verify(copy).differences == ()
    copy.dispose()
    assert len(contents(sqlite_url(file))["calls"]) == held.calls <= len(books.rows(tables.calls))


def keep_writing(url: str, stopped: Event) -> None:
    with closing_books(url) as books:
        for turn in range(1, 200):
            if stopped.is_set():
                return
            books.deliver(*(made(NOON - timedelta(days=turn), number) for number in range(5)))
            books.roll()
            if not turn % 5:
                move(books, f"effort {turn}")


def closing_books(url: str) -> "closing[Books]":
    return closing(Books(url))


def test_books_give_way_to_a_backup_only_where_a_person_says_so(in_file: Books, file: Path) -> None:
    in_file.deliver(made())
    back_up(in_file.engine, file, NOON)
    in_file.deliver(made(number=2))
    present = contents(in_file.url)
    with pytest.raises(StoreError, match="--replace"):
        restored(file, in_file.url)
    assert contents(in_file.url) == present
    aside = restored(file, in_file.url, replace=True)
    assert aside == file_of(in_file.engine).with_name("books.sqlite3.20261123T120000Z")
    assert contents(sqlite_url(aside)) == present
    assert contents(in_file.url) == contents(sqlite_url(file))


def test_a_damaged_store_gives_way_and_is_kept(in_file: Books, file: Path) -> None:
    in_file.deliver(made())
    back_up(in_file.engine, file, NOON)
    in_file.close()
    damaged = b"no database at all, " * 1000
    file_of(in_file.engine).write_bytes(damaged)
    with pytest.raises(StoreError, match="--replace"):
        restored(file, in_file.url)
    aside = restored(file, in_file.url, replace=True)
    assert aside is not None
    assert aside.read_bytes() == damaged
    assert contents(in_file.url) == contents(sqlite_url(file))


def test_books_on_postgresql_never_give_way(postgresql: PostgresDatabases, file: Path) -> None:
    with closing_books(postgresql.store()) as books:
        books.deliver(made())
        back_up(books.engine, file, NOON)
        present = contents(books.url)
        with pytest.raises(StoreError, match="has a store in it already"):
            restored(file, books.url)
        with pytest.raises(ConfigurationError, match="createdb"):
            restored(file, books.url, replace=True)
        assert contents(books.url) == present


def test_a_store_without_calls_gives_way(books: Books, database: Database, file: Path) -> None:
    fill(books)
    back_up(books.engine, file, NOON)
    empty = database.store("Asia/Tokyo")
    assert restored(file, empty) is None
    assert contents(empty) == contents(books.url)


def test_a_backup_goes_from_one_database_to_the_other(
    books: Books, file: Path, tmp_path: Path, postgresql: PostgresDatabases
) -> None:
    fill(books)
    back_up(books.engine, file, NOON)
    other = SqliteFiles(tmp_path).empty() if is_postgresql(books.engine) else postgresql.empty()
    restored(file, other)
    assert contents(other) == contents(books.url)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        ("missing", "no file"),
        ("no database", "can't be read as a backup"),
        ("cut", "damaged|malformed"),
        ("others", "no store of this program"),
        ("newer", "pip install -U"),
    ],
)
def test_what_is_no_backup_is_refused_and_the_store_stays(in_file: Books, file: Path, spoil: str, told: str) -> None:
    in_file.deliver(*(made(number=number) for number in range(300)))
    back_up(in_file.engine, file, NOON)
    present = contents(in_file.url)
    spoiled(file, spoil)
    with pytest.raises((ConfigurationError, SchemaMismatch, StoreError), match=told):
        restored(file, in_file.url, replace=True)
    assert contents(in_file.url) == present


def spoiled(file: Path, how: str) -> None:
    match how:
        case "missing":
            file.unlink()
        case "no database":
            file.write_bytes(b"a text" * 1000)
        case "cut":
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        case _:
            with closing(sqlite3.connect(file)) as copy, copy:
                copy.execute("DROP TABLE store" if how == "others" else "UPDATE alembic_version SET version_num = '9'")


def test_a_backup_of_an_older_schema_is_upgraded_on_its_way(
    in_file: Books, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_file.deliver(made())
    back_up(in_file.engine, file, NOON)
    with closing(sqlite3.connect(file)) as copy, copy:
        copy.execute("UPDATE alembic_version SET version_num = '0001'")
    monkeypatch.setattr(schema, "upgrade", stamp)
    url = sqlite_url(tmp_path / "new" / "books.sqlite3")
    restored(file, url)
    assert contents(url) == contents(in_file.url)


def stamp(engine: Engine) -> str:
    with writing(engine) as conn:
        conn.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{schema.HEAD}'")
    return "0001"


def test_a_report_from_before_the_last_call_takes_nothing_from_what_is_put_aside(in_file: Books, file: Path) -> None:
    in_file.deliver(made(number=1))
    back_up(in_file.engine, file, NOON)
    with reading(in_file.engine) as conn:
        assert conn.exec_driver_sql("SELECT count(*) FROM calls").scalar() == 1
        in_file.deliver(made(number=2))
        present = contents(in_file.url)
        aside = restored(file, in_file.url, replace=True)
    assert aside is not None
    assert contents(sqlite_url(aside)) == present
    assert contents(in_file.url) == contents(sqlite_url(file))


def test_whoever_has_the_store_open_goes_on_with_the_restored_one(in_file: Books, file: Path) -> None:
    in_file.deliver(made(number=1))
    back_up(in_file.engine, file, NOON)
    in_file.deliver(made(number=2))
    present = contents(in_file.url)
    with reading(in_file.engine) as conn:
        assert conn.exec_driver_sql("SELECT count(*) FROM calls").scalar() == 2
        aside = restored(file, in_file.url, replace=True)
        assert conn.exec_driver_sql("SELECT count(*) FROM calls").scalar() == 2, "one report, one set of books"
    assert aside is not None
    assert contents(sqlite_url(aside)) == present
    in_file.deliver(made(number=3))
    assert [row["number"] for row in in_file.rows(tables.calls)] == [1, 3]
    with closing_books(in_file.url) as seen_by_others:
        assert [row["number"] for row in seen_by_others.rows(tables.calls)] == [1, 3]
        assert verify(seen_by_others.engine).differences == ()


def test_what_was_set_aside_as_the_backup_was_made_ends_when_its_calls_come_again(
    books: Books, database: Database, file: Path
) -> None:
    """Until then it is set aside, though the calls have ended: nobody there knows that."""
    books.load(CARD)
    cap = budget(books, "100")
    reserve(books, running(1), running(2))
    back_up(books.engine, file, NOON)
    reserve(books, running(3))
    some = [ended(running(number)) for number in (1, 2, 3)]
    books.deliver(*some)
    assert amounts(books, cap) == (9, 0, 0)
    other = database.empty()
    restored(file, other)
    with closing(Books(other)) as back:
        assert amounts(back, cap) == (0, 6, 0)
        assert verify(back.engine).differences == ()
        back.journal = books.journal
        back.deliver(*some)
        assert amounts(back, cap) == (9, 0, 0)
        assert verify(back.engine).differences == ()

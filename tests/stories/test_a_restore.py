"""A store comes back from a backup, and journals send again what it lacks: nothing missing, nothing twice."""

from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread

import pytest
from sqlalchemy.exc import DatabaseError

from accounting import replay, scheduler, sources
from accounting.backup import back_up, restore
from accounting.delivery import Drained, Faults, deliver_orphans, hand_over
from accounting.errors import StoreError, StoreMissing
from accounting.ingest import StoreDestination
from accounting.journal import Journal
from accounting.journals import open_journal
from accounting.places import journal_directory
from accounting.ports import Destination
from accounting.rollup import roll_all
from accounting.store import file_of, open_engine, reading, tables
from accounting.verify import verify
from tests.books import NOON, Books, made
from tests.databases import Database, PostgresDatabases, SqliteFiles
from tests.warehouse import ended, started


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


def restored(file: Path, url: str, at: datetime = NOON, *, replace: bool = False) -> Path | None:
    engine = open_engine(url)
    try:
        return restore(file, engine, at, replace=replace).aside
    finally:
        engine.dispose()


def closing_books(url: str) -> "closing[Books]":
    return closing(Books(url))


class Program:
    """A metered program: a journal, and what delivers it, moved on by hand."""

    def __init__(self, url: str) -> None:
        self.journal: Journal = open_journal(journal_directory(url))
        self.destination: Destination = StoreDestination(url)

    def call(self, count: int) -> list[int]:
        return [self.journal.add(ended(started())) for _ in range(count)]

    def deliver(self) -> None:
        """Until nothing is left to do, as a program does within a heartbeat."""
        while hand_over(self.journal, self.destination, Faults()) or replay.is_under_way(self.journal):
            pass

    def end(self) -> None:
        self.destination.close()
        self.journal.close()


@pytest.fixture
def program(books: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Program]:
    monkeypatch.setenv("ACCOUNTING_JOURNAL_DIR", str(tmp_path / "journals"))
    program = Program(books.url)
    yield program
    program.end()


def put_back(file: Path, books: Books, database: Database, at: datetime = NOON) -> None:
    """The store is restored at the URL it had."""
    books.close()
    if isinstance(database, PostgresDatabases):
        database.server.drop(name := books.url.rpartition("/")[2])
        database.server.execute(f"CREATE DATABASE {name}")
    restored(file, books.url, at, replace=not isinstance(database, PostgresDatabases))


def numbers(books: Books) -> list[int]:
    return sorted(row["number"] for row in books.rows(tables.calls))


def missing(books: Books) -> int:
    with reading(books.engine) as conn:
        return sum(source.missing for source in sources.sources(conn))


def balanced(books: Books) -> bool:
    roll_all(books.engine, lambda: datetime.now(UTC))
    return verify(books.engine).differences == ()


def test_after_a_restore_nothing_is_missing_and_nothing_is_there_twice(
    books: Books, database: Database, program: Program, file: Path
) -> None:
    first, _ = program.journal.start(started())
    program.call(4)
    program.deliver()
    back_up(books.engine, file, datetime.now(UTC))
    program.call(5)
    program.deliver()
    assert numbers(books) == list(range(2, 11))
    put_back(file, books, database)
    assert numbers(books) == list(range(2, 6))
    program.call(1)
    program.deliver()
    assert numbers(books) == list(range(2, 12))
    program.journal.abandon(first)
    program.deliver()
    assert numbers(books) == list(range(1, 12))
    assert missing(books) == 0
    assert balanced(books)


def test_programs_that_deliver_while_the_store_is_replaced_lose_nothing(
    in_file: Books, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCOUNTING_JOURNAL_DIR", str(tmp_path / "journals"))
    in_file.deliver(made())
    back_up(in_file.engine, file, NOON)
    programs, stopped = [Program(in_file.url) for _ in range(3)], Event()
    threads = [Thread(target=keep_calling, args=(program, stopped)) for program in programs]
    for thread in threads:
        thread.start()
    for hour in range(3):
        later = NOON + timedelta(hours=hour)
        restore(file, in_file.engine, later, replace=True)
    stopped.set()
    for thread in threads:
        thread.join()
    for program in programs:
        program.deliver()
        program.end()
    assert len(in_file.rows(tables.calls)) == 1 + sum(program.journal.highest for program in programs)
    assert missing(in_file) == 0
    assert balanced(in_file)


def keep_calling(program: Program, stopped: Event) -> None:
    while not stopped.is_set():
        program.call(3)
        with suppress(StoreMissing, DatabaseError):  # for a moment there is none
            program.deliver()


def test_after_a_restore_what_is_no_longer_kept_shows_as_a_gap(
    books: Books, database: Database, program: Program, file: Path
) -> None:
    program.call(3)
    program.deliver()
    back_up(books.engine, file, datetime.now(UTC))
    program.call(2)
    program.deliver()
    assert program.journal.forget(datetime.now(UTC) + timedelta(seconds=1)) == 5
    program.call(4)
    program.deliver()
    put_back(file, books, database)
    program.deliver()
    assert numbers(books) == [1, 2, 3, 6, 7, 8, 9]
    assert missing(books) == 2
    assert balanced(books)


def test_after_a_restore_the_journals_of_ended_programs_are_sent_again(
    books: Books, database: Database, program: Program, file: Path
) -> None:
    program.call(2)
    program.deliver()
    back_up(books.engine, file, datetime.now(UTC))
    program.call(3)
    program.deliver()
    program.end()
    put_back(file, books, database)
    assert deliver_orphans(books.url, again=True) == Drained(1, 5)
    assert numbers(books) == [1, 2, 3, 4, 5]
    assert missing(books) == 0
    assert balanced(books)


def end_after(url: str, calls: int) -> None:
    """A program that made so many calls, delivered them and ended; its journal is left to others."""
    program = Program(url)
    program.call(calls)
    program.end()
    deliver_orphans(url)


@pytest.mark.parametrize("by", ["a person", "the scheduler"])
def test_restored_again_and_again_within_the_hour_a_store_gets_back_what_it_lacks(
    by: str, books: Books, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCOUNTING_JOURNAL_DIR", str(tmp_path / "journals"))
    for turn in range(3):
        end_after(books.url, 3)
        back_up(books.engine, file := tmp_path / f"{turn}.sqlite3", datetime.now(UTC))
        end_after(books.url, 3)
        put_back(file, books, database, NOON + timedelta(hours=turn))
        assert len(numbers(books)) == 6 * turn + 3
        if by == "a person":
            deliver_orphans(books.url, again=True)
        else:
            job = replace(scheduler.JOBS[1], every=timedelta(0))
            desk = scheduler.Desk(books.engine, books.url, lambda: datetime.now(UTC))
            runs = [scheduler.ring(desk, job) for _ in range(2)]
            assert [run.detail for run in runs if run is not None] == ["3 calls from 1 journal", ""]
        assert len(numbers(books)) == 6 * turn + 6
        assert missing(books) == 0
        assert balanced(books)


def test_a_store_restored_from_before_a_journal_began_has_it_sent_whole(
    books: Books, database: Database, program: Program, file: Path
) -> None:
    back_up(books.engine, file, datetime.now(UTC))
    program.call(3)
    program.deliver()
    put_back(file, books, database)
    program.deliver()
    assert numbers(books) == [1, 2, 3]
    assert missing(books) == 0


def test_an_empty_store_in_place_of_a_lost_one_gets_what_journals_still_keep(
    books: Books, database: Database, program: Program
) -> None:
    program.call(4)
    program.deliver()
    books.close()
    if isinstance(database, PostgresDatabases):
        database.server.drop(name := books.url.rpartition("/")[2])
        database.server.execute(f"CREATE DATABASE {name}")
    else:
        file_of(books.engine).unlink()
    with pytest.raises(StoreError):
        program.deliver()
    with closing_books(books.url) as anew:
        program.deliver()
        assert numbers(anew) == [1, 2, 3, 4]

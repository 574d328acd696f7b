"""The PostgreSQL server crashes and comes back, under delivery and reading: nothing is lost, nothing counted twice."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from accounting.delivery import Delivery, Faults
from accounting.errors import StoreAway
from accounting.journal import Journal
from accounting.journals import open_journal
from accounting.places import journal_directory
from accounting.rollup import roll_all
from accounting.spend import spend
from accounting.store import open_engine, reading
from accounting.store.tables import calls, sources
from accounting.verify import verify
from tests.books import Books
from tests.databases import PostgresDatabases, Server
from tests.warehouse import ended, started, until


@pytest.fixture
def url(postgresql: PostgresDatabases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("ACCOUNTING_JOURNAL_DIR", str(tmp_path))
    url = postgresql.store()
    monkeypatch.setenv("ACCOUNTING_STORE_URL", url)
    return url


@contextmanager
def delivering(url: str) -> Iterator[tuple[Journal, Delivery, Faults]]:
    with closing(open_journal(journal_directory(url))) as journal:
        faults = Faults()
        delivery = Delivery(journal, url, faults, before_round=lambda: None)
        try:
            yield journal, delivery, faults
        finally:
            delivery.stop(10)


def test_calls_made_while_the_server_crashes_again_and_again_are_in_the_books_once(url: str, server: Server) -> None:
    made, done = [], threading.Event()

    def call() -> None:
        while not done.is_set():
            made.append(ended(started()))
            journal.add(made[-1])
            time.sleep(0.001)

    with delivering(url) as (journal, delivery, faults):
        caller = threading.Thread(target=call)
        caller.start()
        for _ in range(4):
            time.sleep(0.3)
            server.stop("immediate")
            time.sleep(0.1)
            server.start()
        done.set()
        caller.join()
        assert delivery.flush(60)
    with closing(Books(url)) as books:
        assert {row["id"] for row in books.rows(calls)} == {call.id for call in made}
        (source,) = books.rows(sources)
        assert (source["contiguous"], source["highest"]) == (len(made), len(made))
        books.roll()
        assert verify(books.engine).balanced
    assert set(faults.counts()) <= {"deliver"}


def test_rollups_and_reports_under_crashes_say_that_the_store_is_away_and_add_nothing_twice(
    url: str, server: Server
) -> None:
    engine, done = open_engine(url), threading.Event()
    said: list[Exception] = []

    def again(work: Callable[[], None]) -> None:
        while not done.is_set():
            try:
                work()
            except Exception as error:
                said.append(error)
                time.sleep(0.02)

    def roll() -> None:
        roll_all(engine, lambda: datetime.now(UTC))

    def report() -> None:
        with reading(engine) as conn:
            spend(conn, "project", None, None, None, now=datetime.now(UTC))

    with delivering(url) as (journal, delivery, _):
        workers = [threading.Thread(target=again, args=(work,)) for work in (roll, roll, report)]
        for worker in workers:
            worker.start()
        for how in ("immediate", "fast", "immediate"):
            for _ in range(100):
                journal.add(ended(started()))
                time.sleep(0.003)
            server.stop(how)
            time.sleep(0.1)
            server.start()
        assert delivery.flush(60)
        done.set()
        for worker in workers:
            worker.join()
    engine.dispose()
    assert {type(error) for error in said} == {StoreAway}, said
    with closing(Books(url)) as books:
        books.roll()
        assert len(books.rows(calls)) == 300
        assert verify(books.engine).balanced


def test_delivery_goes_on_by_itself_once_the_server_is_there(url: str, server: Server) -> None:
    """Also where it was away when the process began, and nobody had made the store."""
    server.stop()
    with delivering(url) as (journal, delivery, faults):
        journal.add(ended(started()))
        assert not delivery.flush(1)
        assert faults.counts()["deliver"] > 0
        server.start()
        assert until(lambda: journal.is_delivered(1), 30)

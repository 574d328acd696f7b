"""Behind pgbouncer in transaction mode each transaction may get another connection of the server."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from accounting.ingest import ingest
from accounting.rollup import Rolled, roll, roll_all
from accounting.spend import spend
from accounting.store import Lock, hold, open_engine, reading, writing
from accounting.verify import verify
from tests.books import NOON, Books, Journal, made
from tests.bouncers import bouncing
from tests.databases import PostgresDatabases

WRITERS, BATCHES, CALLS = 8, 6, 25


@pytest.fixture
def url(postgresql: PostgresDatabases) -> Iterator[str]:
    """A store without calls, reached through pgbouncer."""
    store = postgresql.store()
    with bouncing(postgresql.server) as port:
        yield store.replace(str(postgresql.server.port), str(port))


@pytest.fixture
def books(url: str) -> Iterator[Books]:
    with closing(Books(url)) as books:
        yield books


def deliver(url: str, writer: int) -> None:
    """One program of many: it has connections, a journal and calls of its own, and says some things twice."""
    engine, journal = open_engine(url, apart=False), Journal(f"journal {writer}")
    for batch in range(BATCHES):
        started_at = NOON - timedelta(minutes=batch)
        numbers = range(writer * CALLS, (writer + 1) * CALLS)
        some = [made(started_at, n, project=f"project {n % 3}", tags={"team": "a"}) for n in numbers]
        for _ in range(2):
            ingest(engine, journal.batch(*some), NOON)
    engine.dispose()


def report(engine: Engine) -> None:
    for by in ("project", "key", "tag:team"):
        with reading(engine) as conn:
            spend(conn, by, None, None, None, now=NOON)


def test_many_clients_over_two_connections_make_the_same_books(url: str, books: Books) -> None:
    with ThreadPoolExecutor(WRITERS + 4) as pool:
        delivered = [pool.submit(deliver, url, writer) for writer in range(WRITERS)]
        while not all(each.done() for each in delivered):
            rolled = [pool.submit(roll, books.engine, NOON, 3) for _ in range(2)]
            reported = [pool.submit(report, books.engine) for _ in range(2)]
            assert [each.result() for each in reported] == [None, None]
            assert [each.result().batches <= 3 for each in rolled] == [True, True]
        assert [each.result() for each in delivered] == [None] * WRITERS
    books.roll()
    found = verify(books.engine)
    assert (found.calls, found.rolled, found.differences) == (WRITERS * BATCHES * CALLS,) * 2 + ((),)


def test_rollups_at_once_add_each_batch_once(url: str, books: Books) -> None:
    for number in range(20):
        books.deliver(made(number=number))
    with ThreadPoolExecutor(4) as pool:
        rolled = list(pool.map(lambda _: roll_all(books.engine, lambda: NOON), range(4)))
    assert sum(rolled, Rolled()) == Rolled(20, 20)
    assert verify(books.engine).balanced


def test_a_lock_does_not_outlive_its_transaction(books: Books) -> None:
    for _ in range(3):
        with writing(books.engine) as one, writing(books.engine) as other:
            hold(one, Lock.ROLLUP)
            hold(other, Lock.INGEST)


def test_what_a_transaction_says_of_itself_is_forgotten_by_the_next(books: Books) -> None:
    for _ in range(3):
        with reading(books.engine) as conn:
            assert conn.exec_driver_sql("SHOW transaction_read_only").scalar() == "on"
            assert conn.exec_driver_sql("SHOW lock_timeout").scalar() == "0"
        with writing(books.engine) as conn:
            assert conn.exec_driver_sql("SHOW lock_timeout").scalar() == "1min"
            assert conn.exec_driver_sql("SHOW transaction_isolation").scalar() == "read committed"

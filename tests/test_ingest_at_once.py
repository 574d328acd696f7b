"""Hosts that deliver the same calls at the same time."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from threading import Barrier
from typing import TypeVar

import pytest

from accounting.ingest import ingest
from accounting.ports import Batch, Verdict
from accounting.store import engine as store_engine
from accounting.store import is_postgresql, open_engine, writing
from accounting.store.tables import batches, calls, projects, received_ahead, sources
from accounting.usage import Call
from tests.books import NOON, Books, Journal, made
from tests.conftest import NewBooks

T = TypeVar("T")

HOSTS = 3
ROUNDS = 8


def at_once(*works: Callable[[], T]) -> list[T]:
    """What the works return that begin together, each in a thread."""
    start = Barrier(len(works))

    def begun(work: Callable[[], T]) -> T:
        start.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result() for future in [pool.submit(begun, work) for work in works]]


def turned(batch: Batch, seed: int) -> Batch:
    """The batch with its entries in some other order."""
    return Batch(batch.source, tuple(random.Random(seed).sample(batch.entries, len(batch.entries))))


def some(number: int, first: int = 0) -> list[Call]:
    """Calls of many projects and keys, so that hosts meet in these as well."""
    return [
        made(NOON + timedelta(milliseconds=n), n, project=f"p{n % 17}", key_fingerprint=f"{n % 13:02x}" * 32)
        for n in range(first, first + number)
    ]


@pytest.fixture
def never_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction that loses to another, by a deadlock for one, fails at once."""
    monkeypatch.setattr(store_engine, "TRIES", 1)


def slow_down(books: Books) -> None:
    """Each row takes a moment, so that transactions that could meet do meet; on SQLite they take turns."""
    if is_postgresql(books.engine):
        body = "BEGIN PERFORM pg_sleep(0.0005); RETURN new; END"
        with writing(books.engine) as conn:
            conn.exec_driver_sql(f"CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$")
            conn.exec_driver_sql("CREATE TRIGGER slow BEFORE INSERT ON calls FOR EACH ROW EXECUTE FUNCTION slow()")


@pytest.mark.usefixtures("never_anew")
def test_hosts_that_deliver_overlapping_batches_at_once_store_each_call_once(new_books: NewBooks) -> None:
    books = new_books()
    slow_down(books)
    hosts = [open_engine(books.url) for _ in range(HOSTS)]
    journals = [Journal(f"host {n}") for n in range(HOSTS)]
    for round_ in range(ROUNDS):
        begin = round_ * 100
        sent = [turned(journals[n].batch(*some(80, begin + n * 10)), round_ + n) for n in range(HOSTS)]
        answers = at_once(*(partial(ingest, hosts[n], sent[n], NOON) for n in range(HOSTS)))
        verdicts = [verdict for answer in answers for verdict in answer.values()]
        assert verdicts.count(Verdict.INSERTED) == 100
        assert verdicts.count(Verdict.DUPLICATE) == len(verdicts) - 100
    assert len(books.rows(calls)) == ROUNDS * 100 == sum(batch["inserted"] for batch in books.rows(batches))
    assert [row["contiguous"] for row in books.rows(sources)] == [ROUNDS * 80] * HOSTS
    assert len(books.rows(projects)) == 17
    assert books.rows(received_ahead) == []
    for host in hosts:
        host.dispose()


@pytest.mark.usefixtures("never_anew")
def test_hosts_that_deliver_the_same_few_calls_at_once_store_each_once(books: Books) -> None:
    """As many as a host has after a second."""
    slow_down(books)
    other = open_engine(books.url)
    journals = [Journal(f"host {n}") for n in range(2)]
    for round_ in range(ROUNDS):
        sent = [turned(journal.batch(*some(12, round_ * 12)), round_ + n) for n, journal in enumerate(journals)]
        answers = at_once(*(partial(ingest, *pair, NOON) for pair in zip((books.engine, other), sent, strict=True)))
        verdicts = [verdict for answer in answers for verdict in answer.values()]
        assert verdicts.count(Verdict.INSERTED) == verdicts.count(Verdict.DUPLICATE) == 12
    other.dispose()


@pytest.mark.usefixtures("never_anew")
def test_two_that_deliver_one_journal_at_once_count_its_numbers_once(books: Books) -> None:
    """As a process that was taken for gone does, beside the one that took its journal over."""
    other = open_engine(books.url)
    for round_ in range(ROUNDS):
        batch = books.journal.batch(*some(40, round_ * 40))
        at_once(*(partial(ingest, engine, turned(batch, round_), NOON) for engine in (books.engine, other)))
    (source,) = books.rows(sources)
    assert (source["contiguous"], source["highest"]) == (ROUNDS * 40, ROUNDS * 40)
    assert sum(batch["inserted"] for batch in books.rows(batches)) == len(books.rows(calls)) == ROUNDS * 40
    other.dispose()


@pytest.mark.usefixtures("never_anew")
def test_numbers_that_arrive_ahead_from_two_sides_close_their_gap(books: Books) -> None:
    other = open_engine(books.url)
    batch = books.journal.batch(*some(60))
    odd, even = (Batch(batch.source, batch.entries[start::2]) for start in (0, 1))
    at_once(partial(ingest, books.engine, odd, NOON), partial(ingest, other, even, NOON))
    (source,) = books.rows(sources)
    assert source["contiguous"] == 60
    other.dispose()

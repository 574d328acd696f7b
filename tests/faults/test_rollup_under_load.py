"""Writers whose batches become visible out of order, and rollups of which one is killed: each call is added once."""

import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from accounting import sources
from accounting.contributions import SPEND_TABLES
from accounting.ingest import ingest
from accounting.store.tables import batches, calls
from accounting.verify import verify
from tests.books import NOON, Books, Journal, made
from tests.spending import rolled_anew, spending

WRITERS = 8
LONGEST = 0.05
"""Seconds between what a writer does first and its commit."""
MOST = 60
"""Batches of a writer, at most."""

WORKER = """
import os, random, select, sys, time
from datetime import UTC, datetime
from accounting import contributions
from accounting.rollup import Rolled, roll
from accounting.store import open_engine

url, dies_at = sys.argv[1], int(sys.argv[2])
engine, total, rounds = open_engine(url), Rolled(), 0
add = contributions.add_batches

def slowly(conn, ids):
    global rounds
    add(conn, ids)
    rounds += 1
    if rounds == dies_at:
        os.kill(os.getpid(), 9)
    time.sleep(random.uniform(0, 0.02))

contributions.add_batches = slowly
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0.002)[0]:
    total += roll(engine, datetime.now(UTC), limit=3)
print(total.calls)
"""


@contextmanager
def workers(url: str, *dying_at: int) -> Iterator[list["subprocess.Popen[str]"]]:
    """Processes that roll up until their input ends; each dies within its so many-th transaction, 0: never."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    started = [subprocess.Popen([sys.executable, "-c", WORKER, url, str(number)], **pipes) for number in dying_at]
    try:
        for worker in started:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        yield started
    finally:
        for worker in started:
            worker.kill()
            worker.communicate()


@pytest.fixture
def slow_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transactions of ingest last up to `LONGEST` from their first row to their end."""
    take_in = sources.take_in

    def slowly(*args: Any, **options: Any) -> None:
        take_in(*args, **options)
        time.sleep(random.uniform(0, LONGEST))

    monkeypatch.setattr(sources, "take_in", slowly)


@pytest.mark.usefixtures("slow_commits")
def test_each_call_is_added_once_whoever_is_killed(books: Books) -> None:
    enough = threading.Event()

    def write(writer: int) -> int:
        journal = Journal(f"writer {writer}")
        for n in range(MOST):
            if enough.is_set() and n >= 5:
                return n
            at = NOON + timedelta(minutes=5 * (n % 9))
            some = [
                made(at, 10_000 * writer + 10 * n + m, tags={"writer": str(writer % 3)}, user=f"u-{m}")
                for m in range(4)
            ]
            ingest(books.engine, journal.batch(*some), NOON)
        return MOST

    with workers(books.url, 0, 0, 4) as (one, other, dying), ThreadPoolExecutor(WRITERS) as pool:
        written = pool.map(write, range(WRITERS))
        assert dying.wait(timeout=60) == -9
        enough.set()
        number = sum(written)
        rolled = [int(worker.communicate()[0]) for worker in (one, other)]
    books.roll()
    found = spending(books)
    assert sum(rolled) > 0
    assert (len(books.rows(batches)), len(books.rows(calls))) == (number, 4 * number)
    assert verify(books.engine).differences == ()
    assert [sum(row["calls"] for row in found[table.name].values()) for table in SPEND_TABLES] == [
        4 * number,
        4 * number,
        8 * number,
    ]
    assert found == rolled_anew(books)

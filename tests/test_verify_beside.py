"""`verify` while others go on writing: it never raises a false alarm, and misses nothing."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from itertools import count
from threading import Event, Thread
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from accounting.ingest import ingest
from accounting.rebuild import rebuild
from accounting.restate import Order, restate
from accounting.restated import Row
from accounting.rollup import roll
from accounting.store import writing
from accounting.store.tables import calls, projects, spend_by_tag, spend_days, spend_quarters
from accounting.usage import Outcome
from accounting.verify import verify
from tests.books import NOON, Books, Journal, made
from tests.conftest import NewBooks

SECONDS = 3.0


@pytest.fixture
def books(new_books: NewBooks) -> Books:
    some = new_books("Asia/Shanghai")
    some.deliver(*(call(number) for number in range(60)))
    some.deliver(made(NOON, 99, project="elsewhere"))
    some.roll()
    return some


def call(number: int) -> Any:
    """One of five days and two projects, all over each day."""
    return made(
        NOON - timedelta(minutes=number * 997 % (5 * 24 * 60)),
        number,
        project=("checkout", "search")[number % 2],
        outcome=list(Outcome)[number % 4],
        tags={"feature": f"f-{number % 3}"},
        user=f"u-{number % 5}",
    )


@contextmanager
def going_on(*works: Callable[[int], object]) -> Iterator[list[BaseException]]:
    """Each work over and over in a thread of its own, told how often before; what went wrong is listed."""
    stop, wrong = Event(), list[BaseException]()

    def run(work: Callable[[int], object]) -> None:
        try:
            for times in count():
                if stop.wait(0.002):
                    return
                work(times)
        except BaseException as error:
            wrong.append(error)

    threads = [Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield wrong
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def everything(books: Books) -> list[Callable[[int], object]]:
    """Two journals deliver, each with repetitions; two rollups; calls move to another project and back."""

    def delivering(name: str, first: int) -> Callable[[int], object]:
        journal = Journal(name)

        def deliver(times: int) -> None:
            numbers = range(first + times * 15, first + times * 15 + 20)
            ingest(books.engine, journal.batch(*map(call, numbers)), NOON)

        return deliver

    def move(times: int) -> None:
        to = ("elsewhere", "search")[times % 2]
        order = Order("moved", {"times": str(times)}, "me", "to see")
        which = calls.c.project_id.in_([project_id(books, name) for name in ("elsewhere", "search")])
        restate(books.engine, order, which, moved_to(project_id(books, to)), lambda: NOON)

    return [
        delivering("one", 1_000),
        delivering("other", 100_000),
        lambda _times: roll(books.engine, NOON, limit=3),
        lambda _times: roll(books.engine, NOON, limit=2),
        move,
    ]


def rebuilding(books: Books) -> Callable[[int], object]:
    return lambda _times: rebuild(books.engine)


def project_id(books: Books, name: str) -> int:
    return next(int(row["id"]) for row in books.rows(projects) if row["name"] == name)


def moved_to(project: int) -> Callable[[Connection, Sequence[Row]], Mapping[UUID, Mapping[str, Any]]]:
    return lambda _conn, rows: {row["id"]: {"project_id": project} for row in rows}


def test_no_false_alarm_beside_ingest_rollup_restate_and_rebuild(books: Books) -> None:
    until, rounds = time.monotonic() + SECONDS, 0
    with going_on(*everything(books), rebuilding(books)) as wrong:
        while time.monotonic() < until or rounds < 2:
            assert verify(books.engine).differences == ()
            assert verify(books.engine, date(2026, 11, 20), date(2026, 11, 22)).differences == ()
            rounds += 1
    assert wrong == []
    books.roll()
    found = verify(books.engine)
    assert found.balanced
    assert found.calls == found.rolled == len(books.rows(calls)) > 61


@pytest.mark.parametrize("table", [spend_quarters, spend_days, spend_by_tag], ids=str)
def test_a_difference_is_found_beside_ingest_rollup_and_restate(books: Books, table: sa.Table) -> None:
    with writing(books.engine) as conn:
        conn.execute(sa.update(table).values(input_tokens=table.c.input_tokens + 1))
    with going_on(*everything(books)) as wrong:
        for _ in range(3):
            assert table.name in {one.table for one in verify(books.engine).differences}
    assert wrong == []

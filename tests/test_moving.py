"""The books carried from one database to another while they are in use, and held against the original."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from accounting import budgets, moving, projects, store
from accounting.errors import ConfigurationError, StoreError
from accounting.moving import Copied, Progress, copy
from accounting.store import open_engine, reading, schema, tables, writing
from accounting.verify import verify
from tests.books import NOON, Books, Journal, made
from tests.budgeted import budget, project
from tests.databases import Database, PostgresDatabases, SqliteFiles
from tests.full_books import contents, fill, move

TAKEN = "has a store in it already"


@dataclass(frozen=True)
class Places:
    """Where the original of this test is, and where its copies go."""

    here: Database
    there: Database


@pytest.fixture(params=["sqlite to postgresql", "postgresql to sqlite"])
def places(request: pytest.FixtureRequest, tmp_path: Path, postgresql: PostgresDatabases) -> Places:
    files = SqliteFiles(tmp_path)
    return Places(files, postgresql) if request.param.startswith("sqlite") else Places(postgresql, files)


@pytest.fixture
def books(places: Places) -> Iterator[Books]:
    """Books in use, at the place of the original."""
    books = Books(places.here.store())
    fill(books)
    yield books
    books.close()


def copied(source: str, target: str, progress: Progress = lambda *_: None) -> Copied:
    here, there = open_engine(source), open_engine(target)
    try:
        return copy(here, there, progress)
    finally:
        here.dispose()
        there.dispose()


@contextmanager
def opened(url: str) -> Iterator[Books]:
    """The books at the URL, which deliver from a journal of their own."""
    books = Books(url)
    books.journal = Journal("after the move")
    yield books
    books.close()


def test_a_copy_is_the_same_there_and_back(books: Books, places: Places) -> None:
    there, back = places.there.empty(), places.here.empty()
    original = contents(books.url)
    assert [name for name, some in original.items() if not some] == [], "a row in every table"
    assert copied(books.url, there) == Copied({name: len(some) for name, some in original.items()})
    assert contents(there) == original
    assert copied(there, back).difference is None
    assert contents(back) == original
    assert contents(books.url) == original, "left as it was"


def test_the_books_go_on_where_they_were_copied_to(books: Books, places: Places) -> None:
    there = places.there.empty()
    copied(books.url, there)
    with opened(there) as moved:
        moved.deliver(*(made(NOON + timedelta(hours=2), number, project=f"new {number % 3}") for number in range(9)))
        moved.roll()
        assert verify(moved.engine).differences == ()
        assert len(moved.rows(tables.calls)) == len(books.rows(tables.calls)) + 9


def test_a_store_without_calls_gives_way_to_a_copy(books: Books, places: Places) -> None:
    there = places.there.store("Asia/Tokyo")
    copied(books.url, there)
    assert contents(there) == contents(books.url)


@pytest.mark.parametrize("put", [lambda others: others.deliver(made()), lambda others: budget(others, "9")])
def test_a_store_with_books_in_it_stays_as_it_is(books: Books, places: Places, put: Callable[[Books], object]) -> None:
    there = places.there.store()
    with opened(there) as others:
        put(others)
    before = contents(there)
    with pytest.raises(StoreError, match=TAKEN):
        copied(books.url, there)
    assert contents(there) == before


def test_a_finished_copy_is_not_copied_into_again(books: Books, places: Places) -> None:
    there = places.there.empty()
    copied(books.url, there)
    with pytest.raises(StoreError, match=TAKEN):
        copied(books.url, there)


def test_books_are_not_copied_to_where_they_are(books: Books) -> None:
    with pytest.raises(ConfigurationError, match="already"):
        copied(books.url, books.url)


class Killed(BaseException):
    """What ends a copy, wherever it is."""


@contextmanager
def disturbed(monkeypatch: pytest.MonkeyPatch, work: Callable[[int], object]) -> Iterator[None]:
    """Before each transaction in the copy, from 1, that work is done."""
    turns = count(1)

    def transact(engine: sa.Engine, step: Callable[[sa.Connection], object]) -> object:
        work(next(turns))
        return store.transact(engine, step)

    with monkeypatch.context() as patch:
        patch.setattr(moving, "transact", transact)
        yield


def test_nobody_can_use_a_copy_that_is_not_finished_and_nobody_else_s_goes_on_with_it(
    books: Books, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = places.there.empty()
    kill_at(monkeypatch, books.url, there, 3)
    refuses_use(there)
    with (
        opened(places.here.store("Asia/Tokyo")) as others,
        pytest.raises(StoreError, match=TAKEN),
    ):
        copied(others.url, there)
    assert copied(books.url, there).difference is None


def refuses_use(url: str) -> None:
    engine = open_engine(url)
    with pytest.raises(StoreError, match="not finished"):
        schema.create(engine, "UTC", NOON)
    with pytest.raises(StoreError, match="not finished"), reading(engine) as conn:
        schema.check(conn)
    engine.dispose()


def kill_at(monkeypatch: pytest.MonkeyPatch, source: str, target: str, turn: int) -> bool:
    """Copy, and die before that transaction; whether there was one."""

    def kill(now: int) -> None:
        if now == turn:
            raise Killed

    with disturbed(monkeypatch, kill):
        try:
            copied(source, target)
        except Killed:
            return True
    return False


def test_a_copy_that_was_killed_anywhere_goes_on_though_the_books_have_changed(
    books: Books, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "ROWS_AT_ONCE", 10)
    there, moments = places.there.empty(), count(1)
    while kill_at(monkeypatch, books.url, there, next(moments)):
        change(books, next(moments))
    assert next(moments) > 8
    assert contents(there) == contents(books.url)


def test_a_copy_that_another_process_takes_over_is_left_to_it(
    books: Books, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = places.there.empty()
    kill_at(monkeypatch, books.url, there, 3)
    compare = moving._Copying._compared

    def and_then_another(copying: moving._Copying, *args: Any) -> Copied:
        found = compare(copying, *args)
        monkeypatch.setattr(moving._Copying, "_compared", compare)
        change(books, 6)
        assert kill_at(monkeypatch, books.url, there, 3)
        return found

    monkeypatch.setattr(moving._Copying, "_compared", and_then_another)
    with pytest.raises(StoreError, match="taken over"):
        copied(books.url, there)
    refuses_use(there)
    assert copied(books.url, there).difference is None
    assert contents(there) == contents(books.url)


def change(books: Books, turn: int) -> None:
    """Something that happens to books in use, another each time."""
    match turn % 7:
        case 0:
            books.deliver(*(made(NOON - timedelta(days=turn), number) for number in range(7)))
        case 1:
            move(books, f"effort {turn}")
        case 2:
            books.roll()
        case 3:
            swap_names(books)
        case 4:
            books.deliver(replace(made(NOON + timedelta(hours=turn)), outcome=None))
        case 5:
            close_gap(books)
        case _:
            swap_budgets(books)


def swap_names(books: Books) -> None:
    """Two projects change names, so that row by row one is always taken."""
    with writing(books.engine) as conn:
        one, other = projects.known(conn)[:2]
        for each, name in ((one, "neither"), (other, one.name), (one, other.name)):
            conn.execute(sa.update(tables.projects).where(tables.projects.c.id == each.id).values(name=name))


def swap_budgets(books: Books) -> None:
    """Two budgets change names, nothing is set aside any more, and a project that was not there has a budget."""
    number = len(books.rows(tables.budgets))
    budget(books, "9", project(books, f"project {number}"), name=f"budget {number}")
    with writing(books.engine) as conn:
        one, other = budgets.known(conn)[:2]
        for each, name in ((one, "neither"), (other, one.name), (one, other.name)):
            budgets.edit(conn, each, replace(each.terms, name=name), NOON, "ann@desk")
        conn.execute(sa.delete(tables.reservations))
        conn.execute(sa.delete(tables.budget_periods).where(tables.budget_periods.c.id == 1))


def close_gap(books: Books) -> None:
    """Numbers received ahead are dropped."""
    with writing(books.engine) as conn:
        conn.execute(sa.delete(tables.received_ahead))


def test_books_in_use_are_copied_as_they_are_at_one_instant(
    books: Books, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "ROWS_AT_ONCE", 10)
    monkeypatch.setattr(moving, "FEW", 0)
    there = places.there.empty()
    with disturbed(monkeypatch, lambda turn: change(books, turn) if turn < 30 else None):
        assert copied(books.url, there).difference is None
    assert contents(there) == contents(books.url)


def test_a_row_that_is_not_the_same_is_named_and_the_copy_stays_unusable(
    books: Books, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = places.there.empty()
    first = min(row["id"] for row in books.rows(tables.calls))

    def spoil(turn: int) -> None:
        engine = open_engine(there)
        with writing(engine) as conn:
            conn.execute(sa.update(tables.calls).where(tables.calls.c.id == first).values(bytes_out=77))
        engine.dispose()

    with disturbed(monkeypatch, spoil):
        found = copied(books.url, there).difference
    assert found is not None
    assert (found.table, found.key) == ("calls", {"id": first.hex})
    refuses_use(there)


def test_progress_comes_to_the_number_of_calls(books: Books, places: Places) -> None:
    told: list[tuple[str, int, int]] = []
    copied(books.url, places.there.empty(), lambda *step: told.append(step))
    calls = len(books.rows(tables.calls))
    assert told[-1] == ("Copying calls", calls, calls)

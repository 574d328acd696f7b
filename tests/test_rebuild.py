from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Table, true

from accounting import rebuild as module
from accounting.contributions import SPEND_TABLES
from accounting.differences import Repaired
from accounting.ingest import ingest
from accounting.rebuild import Rebuilt, rebuild, steps
from accounting.restate import Order, restate
from accounting.restated import Row
from accounting.store import is_postgresql, writing
from accounting.store.tables import calls, spend_by_tag, spend_days, spend_quarters
from accounting.verify import verify
from tests.books import NOON, Books, Journal, at, made
from tests.spending import rolled_anew, spending

SOME = (
    made(number=1, tags={"feature": "rerank"}, user="u-1"),
    made(number=2, tags={"feature": "search", "team": "a"}),
    made(at("2026-11-23 12:15"), request_model="nobody/knows", user="u-2"),
    made(at("2026-11-24 11:59:59.999"), tags={"feature": "rerank"}),
)

tables = pytest.mark.parametrize("table", SPEND_TABLES, ids=str)


@pytest.fixture
def rolled(books: Books) -> Books:
    """Books with calls of two days, rolled up."""
    books.deliver(*SOME)
    books.roll()
    return books


def wrong(rebuilt: Rebuilt) -> dict[str, Repaired]:
    return {name: repaired for name, repaired in rebuilt.tables.items() if repaired != Repaired()}


def alter(books: Books, statement: Any) -> None:
    with writing(books.engine) as conn:
        conn.execute(statement)


def move_all(books: Books, project: int) -> None:
    def change(_conn: Connection, rows: Sequence[Row]) -> dict[UUID, dict[str, Any]]:
        return {row["id"]: {"project_id": project} for row in rows}

    restate(books.engine, Order("moved", {"to": str(project)}, "ann", ""), true(), change, lambda: NOON)


def emptied_spending(books: Books) -> None:
    for table in SPEND_TABLES:
        alter(books, table.delete())


def test_where_every_row_is_right_nothing_is_written(rolled: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(module, "_replace")
    assert wrong(rebuild(rolled.engine)) == {}


@tables
@pytest.mark.parametrize("change", [{"input_tokens": 1}, {"failed": -1}, {"amount": Decimal("0.000000000001")}])
def test_a_figure_that_is_off_is_put_right(rolled: Books, table: Table, change: dict[str, Any]) -> None:
    before = spending(rolled)
    for column, off in change.items():
        rolled.overwrite(table, column, off)
    assert wrong(rebuild(rolled.engine)) == {table.name: Repaired(wrong=1)}
    assert spending(rolled) == before


@tables
@pytest.mark.parametrize("values", [{"amount": None}, {"currency": None}, {"currency": "USD"}])
def test_a_cost_that_is_gone_or_in_other_money_is_put_right(
    rolled: Books, table: Table, values: dict[str, Any]
) -> None:
    before = spending(rolled)
    alter(rolled, table.update().where(table.c.rate_id == 1).values(values))
    assert wrong(rebuild(rolled.engine)).keys() == {table.name}
    assert spending(rolled) == before


@tables
def test_an_amount_that_is_no_number_is_put_right(rolled: Books, table: Table) -> None:
    before = spending(rolled)
    with writing(rolled.engine) as conn:
        no_number = "NaN" if is_postgresql(conn) else "a lot"
        conn.exec_driver_sql(f"UPDATE {table.name} SET amount = '{no_number}'")
    rebuild(rolled.engine)
    assert spending(rolled) == before


@tables
def test_a_row_that_is_gone_comes_back_and_one_too_many_goes(rolled: Books, table: Table) -> None:
    before = spending(rolled)
    row = rolled.rows(table)[0]
    alter(rolled, table.delete().where(table.c.rate_id == 0))
    gone = len(before[table.name]) - len(rolled.rows(table))
    alter(rolled, table.insert().values(row | {"project_id": 99}))
    assert wrong(rebuild(rolled.engine)) == {table.name: Repaired(missing=gone, stray=1)}
    assert spending(rolled) == before


@tables
def test_a_row_of_a_time_without_calls_goes(rolled: Books, table: Table) -> None:
    before = spending(rolled)
    row = rolled.rows(table)[0]
    far = {"billed_on": date(2031, 2, 3)} | ({"quarter": at("1999-01-01")} if "quarter" in row else {})
    alter(rolled, table.insert().values(row | far))
    assert wrong(rebuild(rolled.engine)) == {table.name: Repaired(stray=1)}
    assert spending(rolled) == before


def test_a_row_of_no_quarter_hour_goes(rolled: Books) -> None:
    before = spending(rolled)
    row = rolled.rows(spend_quarters)[0]
    alter(rolled, spend_quarters.insert().values(row | {"quarter": NOON + timedelta(seconds=1)}))
    assert wrong(rebuild(rolled.engine)) == {"spend_quarters": Repaired(stray=1)}
    assert spending(rolled) == before


@tables
def test_on_sqlite_a_row_goes_whose_day_is_no_day(rolled: Books, table: Table) -> None:
    if is_postgresql(rolled.engine):
        return  # which refuses such a value
    before = spending(rolled)
    with writing(rolled.engine) as conn:
        conn.exec_driver_sql(f"UPDATE {table.name} SET billed_on = 'soon' WHERE rate_id = 0")
    assert wrong(rebuild(rolled.engine))[table.name].stray >= 1
    assert spending(rolled) == before


def test_spend_tables_that_are_empty_come_back_whole(rolled: Books) -> None:
    before = spending(rolled)
    emptied_spending(rolled)
    found = rebuild(rolled.engine)
    assert {name: repaired.missing for name, repaired in found.tables.items()} == {
        name: len(rows) for name, rows in before.items()
    }
    assert spending(rolled) == before


def test_days_that_are_not_chosen_are_left_alone(rolled: Books) -> None:
    for table in SPEND_TABLES:
        alter(rolled, table.update().values(calls=7))
    found = rebuild(rolled.engine, date(2026, 11, 24), date(2026, 11, 25))
    assert ({*wrong(found)}, found.days) == ({table.name for table in SPEND_TABLES}, 1)
    for table in SPEND_TABLES:
        assert {row["billed_on"]: row["calls"] for row in rolled.rows(table)} == {
            date(2026, 11, 23): 7,
            date(2026, 11, 24): 1,
        }


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Etc/GMT+12", "Asia/Kathmandu"])
def test_days_are_those_of_the_books(new_books: Callable[..., Books], zone: str) -> None:
    books = new_books(zone)
    books.deliver(*(made(NOON + timedelta(hours=3 * n), tags={"n": str(n)}) for n in range(-12, 12)))
    books.roll()
    before = spending(books)
    days = sorted({row["billed_on"] for row in books.rows(calls)})
    emptied_spending(books)
    for day in days[1:-1]:
        rebuild(books.engine, day, day + timedelta(days=1))
    assert spending(books) == {
        name: {key: row for key, row in rows.items() if days[0] < row["billed_on"] < days[-1]}
        for name, rows in before.items()
    }
    rebuild(books.engine)
    assert spending(books) == before


def test_calls_that_wait_for_the_rollup_are_left_to_it(rolled: Books) -> None:
    rolled.deliver(made(number=9, tags={"feature": "rerank"}))
    before = spending(rolled)
    emptied_spending(rolled)
    rebuild(rolled.engine)
    assert spending(rolled) == before
    rolled.roll()
    assert spending(rolled) == rolled_anew(rolled) != before


def test_calls_count_as_what_they_were_restated_to(rolled: Books) -> None:
    move_all(rolled, 7)
    emptied_spending(rolled)
    rebuild(rolled.engine)
    assert {row["project_id"] for row in rolled.rows(spend_days)} == {7}
    assert spending(rolled) == rolled_anew(rolled)


def test_one_that_was_interrupted_is_run_again(rolled: Books) -> None:
    before = spending(rolled)
    emptied_spending(rolled)
    assert sum(islice(steps(rolled.engine), 4), Rebuilt()).tables
    assert spending(rolled) != before
    rebuild(rolled.engine)
    assert spending(rolled) == before


def test_progress_hears_of_each_piece(rolled: Books) -> None:
    heard: list[tuple[int, int]] = []
    found = rebuild(rolled.engine, progress=lambda done, total: heard.append((done, total)))
    total = found.quarters + 2 * found.days
    assert heard == [(done, total) for done in range(1, total + 1)]


class Looking:
    """Does something each time that a piece has been looked at, before anything is written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, then: Callable[[], object]) -> None:
        self._look, self._then = module._look, then
        monkeypatch.setattr(module, "_look", self)

    def __call__(self, conn: Connection, piece: Any) -> Any:
        found = self._look(conn, piece)
        with ThreadPoolExecutor(1) as elsewhere:  # as another process: a thread may take a lock again that it holds
            elsewhere.submit(self._then).result(timeout=20)
        return found


def test_what_is_rolled_up_while_a_piece_is_computed_is_not_lost(
    rolled: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = iter(range(10, 10 + module.TRIES))

    def deliver() -> None:
        for number in islice(numbers, 1):
            rolled.deliver(made(number=number, tags={"feature": "rerank"}))
            rolled.roll()

    emptied_spending(rolled)
    Looking(monkeypatch, deliver)
    rebuild(rolled.engine)
    assert len(rolled.rows(calls)) == len(SOME) + module.TRIES
    assert spending(rolled) == rolled_anew(rolled)


def test_what_is_restated_while_a_piece_is_computed_is_not_lost(rolled: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    projects = iter((2, 3))

    def move() -> None:
        for project in islice(projects, 1):
            move_all(rolled, project)

    emptied_spending(rolled)
    Looking(monkeypatch, move)
    rebuild(rolled.engine)
    assert {row["project_id"] for row in rolled.rows(spend_by_tag)} == {3}
    assert spending(rolled) == rolled_anew(rolled)


@pytest.mark.parametrize("tries", [0, 3])
def test_others_go_on_while_books_are_rebuilt(books: Books, monkeypatch: pytest.MonkeyPatch, tries: int) -> None:
    monkeypatch.setattr(module, "TRIES", tries)
    books.deliver(*SOME)
    books.roll()
    started: list[datetime] = [NOON + timedelta(minutes=15 * n) for n in range(4)]

    def deliver(name: str) -> None:
        journal = Journal(name)
        for n in range(24):
            tags = {"feature": name}
            some = [made(started[(n + m) % 4], 1000 * ord(name) + 10 * n + m, tags=tags, user=name) for m in range(3)]
            ingest(books.engine, journal.batch(*some), NOON)
            books.roll()

    def damage_and_rebuild() -> None:
        for table in SPEND_TABLES:
            alter(books, table.delete())
            rebuild(books.engine)

    def move() -> None:
        for project in (2, 3, 4):
            move_all(books, project)

    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(deliver, name) for name in "ab"] + [*map(pool.submit, (move, damage_and_rebuild))]:
            done.result()
    books.roll()
    found = spending(books)
    assert len(books.rows(calls)) == len(SOME) + 2 * 24 * 3
    assert [str(one) for one in verify(books.engine).differences if one.table.startswith("spend")] == []
    assert found == rolled_anew(books)


def test_two_rebuilds_at_once_do_what_one_does(rolled: Books) -> None:
    before = spending(rolled)
    emptied_spending(rolled)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(rebuild, [rolled.engine] * 2))
    assert spending(rolled) == before
    assert all(
        sum(one.tables.get(name, Repaired()).missing for one in found) >= len(rows) for name, rows in before.items()
    )

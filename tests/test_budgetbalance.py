"""What budgets say is held against the books, and put right from them."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa

from accounting import budgets, reservations, stamps
from accounting.aliases import Rule
from accounting.budgets import Budget
from accounting.cycles import Cycle, Every
from accounting.differences import Difference, Repaired
from accounting.ingest import ingest
from accounting.rebuild import rebuild
from accounting.scopes import Kind, Scope
from accounting.store import aliaslines, reading, transact, writing
from accounting.store.tables import budget_periods, spend_days
from accounting.store.tables import reservations as asides
from accounting.usage import Outcome, Usage
from accounting.verify import verify
from tests.books import NOON, Books, at
from tests.budgeted import CARD, DOLLARS, amounts, budget, ended, periods, reserve, running

TOTAL = Cycle(Every.TOTAL)
DAY = Cycle(Every.DAY)
FIRST = date(2026, 11, 1)


@pytest.fixture
def books(books: Books) -> Books:
    """One budget that never begins anew, with calls that count, that are unpriced and of another currency, and with
    something reserved and something held."""
    books.load(CARD)
    books.load(DOLLARS)
    budget(books, "1000", cycle=TOTAL)
    open_, unknown = running(1), running(2)
    reserve(books, open_, unknown, running(3))
    books.deliver(ended(running(3)), ended(unknown, outcome=Outcome.UNKNOWN, http_status=None, usage=Usage()))
    books.roll()
    books.deliver(ended(running(4)), ended(running(5), response_model="nobody's"))
    books.deliver(ended(running(6), response_model="dollars"))
    return books


def found(books: Books, first: date | None = None, end: date | None = None) -> tuple[Difference, ...]:
    return verify(books.engine, first, end).differences


def put(books: Books, statement: Any) -> None:
    with writing(books.engine) as conn:
        conn.execute(statement)


def repaired(books: Books) -> dict[str, Repaired]:
    """What was put right; after that nothing is wrong any more."""
    done = rebuild(books.engine)
    assert found(books) == ()
    return {name: each for name, each in done.tables.items() if each != Repaired()}


def test_budgets_that_say_what_the_books_say_are_balanced(books: Books) -> None:
    checked = verify(books.engine)
    assert (checked.differences, checked.budgets) == ((), 1)
    assert repaired(books) == {}


@pytest.mark.parametrize(
    "column", ["amount", "spent", "reserved", "held", "unpriced", "foreign_calls", "begins_on", "ends_on"]
)
def test_a_figure_of_a_period_that_is_one_off_is_found_and_put_right(books: Books, column: str) -> None:
    (before,) = books.rows(budget_periods)
    off = timedelta(days=1) if column == "begins_on" else 1
    value = NOON.date() if column == "ends_on" else before[column] + off
    put(books, sa.update(budget_periods).values({column: value}))
    assert {(one.table, one.column) for one in found(books)} == {("budget_periods", column)}
    assert repaired(books) == {"budget_periods": Repaired(wrong=1)}
    assert books.rows(budget_periods) == [before]


def test_the_limit_of_a_period_that_is_over_is_the_one_that_it_had(books: Books) -> None:
    late = NOON - timedelta(days=3)
    day = budget(books, "50", cycle=DAY, now=late, name="day")
    books.deliver(ended(running(7, late)))
    stamps.decide(books.engine, lambda conn: budgets.edit(conn, day, replace(day.terms, limit=Decimal(9)), NOON, "ann"))
    assert [period.limit for period in periods(books, day)] == [50, 9]
    assert found(books) == ()
    put(books, sa.update(budget_periods).where(budget_periods.c.budget_id == day.id).values(amount=Decimal(9)))
    (one,) = found(books)
    assert (one.column, one.expected, one.found) == ("amount", "50", "9")
    assert repaired(books) == {"budget_periods": Repaired(wrong=1)}


def test_an_overrun_below_zero_is_found(books: Books) -> None:
    put(books, sa.update(budget_periods).values(overrun=Decimal(-1)))
    assert [one.column for one in found(books)] == ["overrun"]
    repaired(books)


def test_what_is_set_aside_is_what_its_rows_say(books: Books) -> None:
    put(books, sa.update(asides).where(asides.c.state == "held").values(amount=Decimal(2)))
    (one,) = found(books)
    assert (one.column, one.expected, one.found) == ("held", "2", "3")
    assert repaired(books) == {"budget_periods": Repaired(wrong=1)}


def test_a_state_that_changed_moves_both_sums(books: Books) -> None:
    put(books, sa.update(asides).values(state="held"))
    assert {one.column for one in found(books)} == {"reserved", "held"}
    repaired(books)


def test_what_is_set_aside_in_another_period_is_found_in_both(books: Books) -> None:
    budget(books, "1000", cycle=Cycle(Every.YEAR), name="other")
    first, other = (row["id"] for row in books.rows(budget_periods))
    put(books, sa.update(asides).where(asides.c.state == "held", asides.c.period_id == first).values(period_id=other))
    assert {(one.key.split(",")[0], one.column, one.found, one.expected) for one in found(books)} == {
        ("budget cap", "held", "3", "0"),
        ("budget other", "held", "0", "3"),
    }
    assert repaired(books) == {"budget_periods": Repaired(wrong=2)}


def test_a_period_under_another_budget_is_no_period_of_it(books: Books) -> None:
    year = budget(books, "1000", cycle=Cycle(Every.YEAR), name="other")
    put(books, sa.delete(budget_periods).where(budget_periods.c.budget_id == year.id))
    put(books, sa.update(budget_periods).values(budget_id=year.id))
    columns = {(one.key.split(",")[0], one.column) for one in found(books)}
    assert columns >= {("budget cap", "spent"), ("budget other", "begins_on")}
    repaired(books)
    assert [row["spent"] for row in books.rows(budget_periods)] == [6, 6]


def test_a_state_that_is_none_is_held_as_the_provider_may_have_charged(books: Books) -> None:
    put(books, sa.update(asides).where(asides.c.state == "reserved").values(state="lost"))
    assert {(one.table, one.column) for one in found(books)} == {
        ("reservations", "amount"),
        ("budget_periods", "reserved"),
    }
    assert repaired(books) == {"reservations": Repaired(wrong=1), "budget_periods": Repaired(wrong=1)}
    assert [row["state"] for row in books.rows(asides)] == ["held", "held"]


def test_less_than_nothing_is_not_set_aside(books: Books) -> None:
    put(books, sa.update(asides).where(asides.c.state == "held").values(amount=Decimal(-1)))
    assert {(one.table, one.column) for one in found(books)} == {("reservations", "amount"), ("budget_periods", "held")}
    assert repaired(books) == {"reservations": Repaired(stray=1), "budget_periods": Repaired(wrong=1)}


@pytest.mark.parametrize(
    "known",
    [
        ended(running(7)),
        ended(running(7), outcome=Outcome.FAILED, http_status=500, usage=Usage()),
        ended(running(7), outcome=Outcome.FAILED, http_status=None, usage=Usage()),
    ],
)
def test_nothing_stays_set_aside_for_a_call_of_which_is_known_what_it_cost(books: Books, known: Any) -> None:
    """As by one that was reserved too late."""
    books.deliver(known)
    reserve(books, running(7))
    (one,) = found(books)
    assert (one.table, one.column, one.found) == ("reservations", "reserved", "3")
    assert str(known.id) in one.key
    assert repaired(books) == {"reservations": Repaired(stray=1), "budget_periods": Repaired(wrong=1)}


@pytest.mark.parametrize("model", ["nobody's", "dollars"])
def test_it_stays_while_nobody_can_say_what_the_call_cost(books: Books, model: str) -> None:
    reserve(books, running(7))
    books.deliver(ended(running(7), response_model=model))
    assert found(books) == ()
    assert len(books.rows(asides)) == 3


def test_a_period_with_calls_has_a_row(books: Books) -> None:
    (row,) = books.rows(budget_periods)
    put(books, sa.delete(asides))
    put(books, sa.delete(budget_periods))
    assert {(one.column, one.expected, one.found) for one in found(books)} == {
        ("spent", "6", "nothing"),
        ("unpriced", "1", "nothing"),
        ("foreign_calls", "1", "nothing"),
    }
    assert repaired(books) == {"budget_periods": Repaired(missing=1)}
    (made,) = books.rows(budget_periods)
    assert {**made, "id": row["id"]} == {**row, "reserved": 0, "held": 0}


def test_a_row_of_no_period_goes_and_what_is_set_aside_in_it_stays(new_books: Any) -> None:
    books = new_books()
    books.load(CARD)
    month = budget(books, "100")
    reserve(books, running(1))
    put(books, sa.update(budget_periods).values(begins_on=date(2026, 11, 5), ends_on=date(2026, 11, 9)))
    assert "begins_on" in {one.column for one in found(books)}
    assert repaired(books) == {
        "reservations": Repaired(wrong=1),
        "budget_periods": Repaired(wrong=1, stray=1),
    }
    assert [period.place.begins_on for period in periods(books, month)] == [FIRST]
    assert amounts(books, month) == (0, 3, 0)


def test_a_removed_budget_is_not_checked(books: Books) -> None:
    put(books, sa.update(budget_periods).values(spent=Decimal(7)))
    with reading(books.engine) as conn:
        (cap,) = budgets.known(conn)
    stamps.decide(books.engine, lambda conn: budgets.remove(conn, cap, NOON, "ann@desk"))
    checked = verify(books.engine)
    assert (checked.differences, checked.budgets) == ((), 0)
    assert rebuild(books.engine).budgets == 0


def daily(books: Books) -> Budget:
    """A budget with calls on three days, all of them wrong by one."""
    cap = budget(books, "1000", cycle=DAY, now=at("2026-11-20 12:00"), name="daily")
    books.deliver(*(ended(running(number, NOON - timedelta(days=number))) for number in range(3)))
    books.roll()
    put(books, sa.update(budget_periods).where(budget_periods.c.budget_id == cap.id).values(spent=Decimal(4)))
    return cap


def test_of_some_days_the_periods_are_checked_that_have_one_of_them(new_books: Any) -> None:
    books = new_books()
    books.load(CARD)
    cap = daily(books)
    day = date(2026, 11, 22)
    assert [one.key for one in found(books, day, day + timedelta(days=1))] == [
        "budget daily, the period from 2026-11-22"
    ]
    assert len(found(books, None, day)) == 1
    assert len(found(books, day, None)) == 2
    assert found(books, None, date(2026, 11, 20)) == ()
    rebuild(books.engine, day, day + timedelta(days=1))
    assert [period.spent for period in periods(books, cap)] == [4, 3, 4]
    repaired(books)


def test_a_period_of_which_a_day_is_chosen_is_checked_whole(new_books: Any) -> None:
    books = new_books()
    books.load(CARD)
    budget(books, "100")
    books.deliver(ended(running(1, at("2026-11-02 12:00"))), ended(running(2)))
    assert found(books, NOON.date(), None) == ()
    put(books, sa.update(budget_periods).values(spent=Decimal(4)))
    (one,) = found(books, NOON.date(), NOON.date() + timedelta(days=1))
    assert (one.expected, one.found) == ("6", "4")


def test_a_budget_on_a_model_follows_the_aliases_in_the_books(new_books: Any) -> None:
    books = new_books()
    books.load(CARD)
    cap = budget(books, "100", Scope(Kind.MODEL, name="plain"))
    books.deliver(ended(running(1)), ended(running(2), response_model="my-plain"))
    books.roll()
    assert (found(books), amounts(books, cap)) == ((), (3, 0, 0))

    def alias(conn: Any) -> None:
        aliaslines.append(conn, [Rule("wcode", "my-{model}", "{model}", "ours")], NOON, "ann@desk")

    stamps.decide(books.engine, alias)
    assert {one.column for one in found(books)} == {"unpriced"}
    repaired(books)
    assert periods(books, cap)[0].unpriced == 1


def test_sums_that_are_wrong_are_put_right_before_budgets(books: Books) -> None:
    (row, *_) = books.rows(spend_days)
    put(books, sa.update(spend_days).values(input_tokens=row["input_tokens"] + 1000))
    assert {one.table for one in found(books)} >= {"spend_days", "budget_periods"}
    done = repaired(books)
    assert "budget_periods" not in done


def test_sums_that_nobody_can_read_are_told(books: Books) -> None:
    put(books, sa.update(spend_days).values(rate_id=987))
    assert any(one.table == "budget_periods" and "unreadable" in one.found for one in found(books))
    repaired(books)


def test_restating_and_settling_keep_budgets_balanced(books: Books) -> None:
    """A call becomes known, another is released, a third is held."""
    books.deliver(ended(running(2)))
    transact(books.engine, lambda conn: reservations.release(conn, [running(1).id]))
    reserve(books, running(8), lease=timedelta(days=-9999))
    transact(books.engine, reservations.lapse)
    assert found(books) == ()


def test_budgets_are_put_right_while_calls_come_in(books: Books) -> None:
    batches = [books.journal.batch(ended(running(number)), ended(running(number + 1))) for number in range(10, 50, 2)]
    ready = Barrier(2)

    def deliver() -> None:
        ready.wait()
        for batch in batches:
            ingest(books.engine, batch, NOON)

    with ThreadPoolExecutor(1) as others:
        delivering = others.submit(deliver)
        ready.wait()
        while not delivering.done():
            with writing(books.engine) as conn:
                conn.execute(sa.update(budget_periods).values(spent=budget_periods.c.reserved))
            assert rebuild(books.engine).tables["budget_periods"] == Repaired(wrong=1)
            books.roll()
        delivering.result()
    assert found(books) == ()
    assert [period["spent"] for period in books.rows(budget_periods)] == [6 + 40 * 3]

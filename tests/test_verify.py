from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Table

from accounting.store import writing
from accounting.store.tables import batches, calls, rates, received_ahead, rejected, sources, spend_days, spend_quarters
from accounting.usage import Outcome, Usage
from accounting.verify import Verification, verify
from tests.books import NOON, Books, at, made, used
from tests.conftest import NewBooks

GROUP = "billed on 2026-11-23, project checkout, key …a1b2 (a1a1a1a1), wcode/z-ai/glm-5, rate 1, usage provider"
QUARTER = f"2026-11-23 12:00Z, {GROUP}"


@pytest.fixture
def books(new_books: NewBooks) -> Books:
    some = new_books(zone="Asia/Shanghai")
    some.deliver(made(number=1), made(number=2))
    some.roll()
    return some


def said(books: Books) -> list[str]:
    return [str(difference) for difference in verify(books.engine).differences]


def test_books_that_balance_have_no_differences(books: Books) -> None:
    books.deliver(
        made(at("2026-11-20 23:59:59.999999"), effort="high"),
        made(number=3, request_model="nobody/knows"),
        made(number=4, outcome=Outcome.INTERRUPTED, usage=Usage()),
        made(number=5, usage=used(10**12, 10**12, read=10**12, thought=1)),
    )
    books.roll()
    assert verify(books.engine) == Verification(calls=6, rolled=6, differences=())


def test_calls_that_still_wait_for_the_rollup_are_checked_but_not_missed(books: Books) -> None:
    books.deliver(made(number=3))
    assert verify(books.engine) == Verification(calls=3, rolled=2, differences=())


def test_one_token_more_in_a_call_is_named(books: Books) -> None:
    books.overwrite(calls, "input_tokens", 1)
    assert said(books) == [
        f"calls, {QUARTER}: input_tokens is 2001, expected 2000",
        f"calls, {QUARTER}: amount is 0.036011, expected 0.036",
    ]


def test_one_token_more_in_a_quarter_hour_is_named(books: Books) -> None:
    books.overwrite(spend_quarters, "output_tokens", 1)
    assert said(books) == [f"spend_quarters, {QUARTER}: output_tokens is 401, expected 400"]


def test_one_token_more_in_a_day_is_named(books: Books) -> None:
    books.overwrite(spend_days, "reasoning_tokens", 1)
    assert said(books) == [f"spend_days, {GROUP}: reasoning_tokens is 1, expected 0"]


@pytest.mark.parametrize("table", [spend_quarters, spend_days])
def test_the_last_digit_of_an_amount_is_named(books: Books, table: Table) -> None:
    books.overwrite(table, "amount", Decimal("0.000000000001"))
    (difference,) = verify(books.engine).differences
    assert (difference.table, difference.column) == (table.name, "amount")
    assert (difference.expected, difference.found) == ("0.036", "0.036000000001")


def test_a_token_moved_between_quarter_hours_of_a_day_is_named(books: Books) -> None:
    books.deliver(made(at("2026-11-23 12:15")))
    books.roll()
    with writing(books.engine) as conn:
        conn.execute(spend_quarters.update().where(spend_quarters.c.quarter == NOON).values(input_tokens=2001))
        later = spend_quarters.c.quarter == NOON + timedelta(minutes=15)
        conn.execute(spend_quarters.update().where(later).values(input_tokens=999))
    assert said(books) == [
        f"spend_quarters, {QUARTER}: input_tokens is 2001, expected 2000",
        f"spend_quarters, 2026-11-23 12:15Z, {GROUP}: input_tokens is 999, expected 1000",
    ]


@pytest.mark.parametrize("table", [spend_quarters, spend_days])
def test_a_row_that_is_gone_or_doubled_is_named(books: Books, table: Table) -> None:
    row = books.rows(table)[0]
    with writing(books.engine) as conn:
        conn.execute(table.insert(), [row | {"model": "invented"}])
        conn.execute(table.delete().where(table.c.model == row["model"]))
    gone = {(one.table, one.column, one.expected, one.found) for one in verify(books.engine).differences}
    assert (table.name, "calls", "2", "0") in gone
    assert (table.name, "calls", "0", "2") in gone


def test_a_price_that_was_edited_is_named_as_the_rate_it_is(books: Books) -> None:
    books.overwrite(rates, "output_per_1k", Decimal("0.001"))
    (difference,) = verify(books.engine).differences
    assert str(difference) == f"rates, {QUARTER}: amount is 0.0364, expected 0.036"


def test_a_call_that_was_deleted_is_missed_in_its_batch_and_in_the_sums(books: Books) -> None:
    with writing(books.engine) as conn:
        conn.execute(calls.delete().where(calls.c.number == 1))
    found = said(books)
    assert found[0] == "batches, batch 1: inserted is 2, expected 1"
    assert f"calls, {QUARTER}: calls is 1, expected 2" in found


def test_stamps_that_do_not_follow_from_the_call_are_named(books: Books) -> None:
    call = made(number=1)
    with writing(books.engine) as conn:
        conn.execute(calls.update().where(calls.c.id == call.id).values(started_at=at("2026-11-23 16:00")))
    assert said(books) == [
        f"calls, {call.id}: quarter is 2026-11-23 12:00Z, expected 2026-11-23 16:00Z",
        f"calls, {call.id}: billed_on is 2026-11-23, expected 2026-11-24",
    ]


def test_a_rate_that_does_not_hold_for_the_call_is_named(books: Books) -> None:
    call = made(number=1)
    with writing(books.engine) as conn:
        conn.execute(calls.update().where(calls.c.id == call.id).values(rate_id=7))
    assert said(books)[0] == (
        f"calls, {call.id}: rate_id is 7, expected a rate of wcode/z-ai/glm-5 that holds at 2026-11-23 12:00:00Z"
    )


@pytest.mark.parametrize(
    "change",
    [{"valid_from": NOON + timedelta(seconds=1)}, {"valid_until": NOON}, {"model": "other"}, {"provider": "other"}],
)
def test_a_rate_of_another_time_or_model_is_named(books: Books, change: dict[str, Any]) -> None:
    with writing(books.engine) as conn:
        conn.execute(rates.update().where(rates.c.id == 1).values(change))
    assert [(one.table, one.column) for one in verify(books.engine).differences] == [("calls", "rate_id")] * 2


def test_calls_of_no_batch_are_named(books: Books) -> None:
    with writing(books.engine) as conn:
        conn.execute(calls.update().values(batch_id=99))
    assert "calls, 2 calls: batch_id is 99, expected a batch in the books" in said(books)


@pytest.mark.parametrize("what", ["project", "key", "source"])
def test_calls_of_what_is_not_in_the_books_are_named(books: Books, what: str) -> None:
    with writing(books.engine) as conn:
        conn.execute(calls.update().where(calls.c.number == 2).values({f"{what}_id": 99}))
    assert f"calls, 1 call: {what}_id is 99, expected a {what} in the books" in said(books)


def test_numbers_are_kept_as_calls_or_aside(books: Books) -> None:
    books.deliver(made(number=1, usage=used(1, 1)), made(NOON + timedelta(days=2)), made(number=3))
    assert verify(books.engine).balanced


def test_a_number_that_is_not_in_the_books_any_more_is_named(books: Books) -> None:
    journal = f"sources, journal {books.journal.id}"
    books.deliver(made(NOON + timedelta(days=2)))
    with writing(books.engine) as conn:
        conn.execute(rejected.delete())
    assert said(books) == [f"{journal}: numbers here up to 3 is 2, expected 3"]


def test_numbers_counted_further_than_they_are_here_or_not_far_enough_are_named(books: Books) -> None:
    journal = f"sources, journal {books.journal.id}"
    books.overwrite(sources, "contiguous", 1)
    assert said(books) == [f"{journal}: numbers here up to 3 is 2, expected 3"]
    books.overwrite(sources, "contiguous", -2)
    assert said(books) == [f"{journal}: contiguous is 1, expected 2 or more"]
    books.overwrite(sources, "contiguous", 1)
    with writing(books.engine) as conn:
        conn.execute(received_ahead.insert().values(source_id=1, number=3))
    assert said(books) == [f"{journal}: contiguous is 2, expected 3 or more"]


@pytest.mark.parametrize("table", [spend_quarters, spend_days])
def test_an_amount_that_is_no_number_is_named(books: Books, table: Table) -> None:
    with writing(books.engine) as conn:
        conn.exec_driver_sql(f"UPDATE {table.name} SET amount = 'NaN'")
    (difference,) = said(books)
    assert difference.startswith(f"{table.name}, ")
    assert difference.endswith("amount is no number, expected 0.036")


def test_batch_counts_that_do_not_add_up_are_named(books: Books) -> None:
    books.overwrite(batches, "duplicates", 1)
    assert said(books) == ["batches, batch 1: entries is 2, expected 3"]


def test_progress_hears_of_the_calls_read(books: Books) -> None:
    heard: list[tuple[int, int]] = []
    verify(books.engine, lambda done, total: heard.append((done, total)))
    assert heard == [(2, 2)]

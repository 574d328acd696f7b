from datetime import date, timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Table

from accounting import entries, projects
from accounting.contributions import SPEND_TABLES
from accounting.ingest import ingest, take
from accounting.ports import Batch
from accounting.restate import Order, begin
from accounting.store import is_postgresql, writing
from accounting.store.tables import (
    batches,
    calls,
    conflicts,
    rates,
    received_ahead,
    rejected,
    repeats,
    sources,
    spend_by_tag,
    spend_days,
    spend_quarters,
)
from accounting.usage import Outcome, Usage
from accounting.verify import Verification, steps, verify
from tests.books import NOON, Books, Journal, at, made, used
from tests.conftest import NewBooks

WHO = "project checkout, key …a1b2 (a1a1a1a1), wcode/z-ai/glm-5, rate 1, usage provider"
GROUP = f"billed on 2026-11-23, {WHO}"
QUARTER = f"2026-11-23 12:00Z, {GROUP}"
TAG = "tag:feature=rerank, billed on 2026-11-23, project checkout, rate 1, usage provider"

DAY = date(2026, 11, 23)
FIRST = made(number=1, tags={"feature": "rerank"}, user="u-17")


@pytest.fixture
def books(new_books: NewBooks) -> Books:
    some = new_books("Asia/Shanghai")
    some.deliver(FIRST, made(number=2))
    some.roll()
    return some


def said(books: Books, first: date | None = None, end: date | None = None) -> list[str]:
    return [str(difference) for difference in verify(books.engine, first, end).differences]


def change(books: Books, table: Table, only: int | None = None, /, **values: Any) -> None:
    """Behind the back of the program; of the calls only the one with the number, if there is one."""
    with writing(books.engine) as conn:
        statement = table.update().values(values)
        conn.execute(statement if only is None else statement.where(table.c.number == only))


def test_books_that_balance_have_no_differences(books: Books) -> None:
    books.deliver(
        made(at("2026-11-20 23:59:59.999999"), effort="high"),
        made(number=3, request_model="nobody/knows", tags={"feature": "rerank", "team": "ops"}),
        made(number=4, outcome=Outcome.INTERRUPTED, usage=Usage(), user=""),
        made(number=5, usage=used(10**12, 10**12, read=10**12, thought=1), user="u-17"),
    )
    books.roll()
    assert verify(books.engine) == Verification(calls=6, rolled=6)


def test_calls_that_still_wait_for_the_rollup_are_checked_but_not_missed(books: Books) -> None:
    books.deliver(made(number=3, user="u-17"))
    assert verify(books.engine) == Verification(calls=3, rolled=2)


def test_one_token_more_in_a_call_is_named(books: Books) -> None:
    change(books, calls, 2, input_tokens=1001)
    assert said(books) == [
        f"calls, {QUARTER}: input_tokens is 2001, expected 2000",
        f"calls, {QUARTER}: amount is 0.036011, expected 0.036",
    ]


def test_of_a_changed_call_its_tags_name_the_call_and_not_the_rows_by_tag(books: Books) -> None:
    change(books, calls, 1, input_tokens=1001)
    assert f"calls, {TAG}: input_tokens is 1001, expected 1000" in said(books)
    assert {one.table for one in verify(books.engine).differences} == {"calls"}


@pytest.mark.parametrize(
    ("table", "key"), [(spend_quarters, QUARTER), (spend_days, GROUP), (spend_by_tag, TAG)], ids=str
)
def test_one_token_more_in_a_spend_row_is_named(books: Books, table: Table, key: str) -> None:
    books.overwrite(table, "reasoning_tokens", 1)
    assert said(books) == [f"{table.name}, {key}: reasoning_tokens is 1, expected 0"]


@pytest.mark.parametrize("table", SPEND_TABLES, ids=str)
def test_the_last_digit_of_an_amount_is_named(books: Books, table: Table) -> None:
    books.overwrite(table, "amount", Decimal("0.000000000001"))
    (difference,) = verify(books.engine).differences
    expected = Decimal("0.018") if table is spend_by_tag else Decimal("0.036")
    assert (difference.table, difference.column) == (table.name, "amount")
    assert (difference.expected, difference.found) == (str(expected), f"{expected + Decimal('0.000000000001')}")


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


@pytest.mark.parametrize("table", SPEND_TABLES, ids=str)
def test_a_row_that_is_gone_or_doubled_is_named(books: Books, table: Table) -> None:
    row = books.rows(table)[0]
    with writing(books.engine) as conn:
        conn.execute(table.insert(), [row | {"usage_source": "invented"}])
        conn.execute(table.delete().where(*(table.c[key.name] == row[key.name] for key in table.primary_key)))
    calls_of_it = str(row["calls"])
    gone = {(one.table, one.column, one.expected, one.found) for one in verify(books.engine).differences}
    assert (table.name, "calls", calls_of_it, "0") in gone
    assert (table.name, "calls", "0", calls_of_it) in gone


@pytest.mark.parametrize("table", SPEND_TABLES, ids=str)
@pytest.mark.parametrize("days", [-400, -2, -1, 1, 2, 400])
def test_a_row_of_a_day_without_calls_is_named(books: Books, table: Table, days: int) -> None:
    change(books, table, billed_on=DAY + timedelta(days=days))
    found = verify(books.engine).differences
    assert {one.table for one in found} == {table.name}
    assert any(str(DAY + timedelta(days=days)) in one.key for one in found)


@pytest.mark.parametrize("hours", [-24 * 400, -48, -12, 0.25, 12, 48, 24 * 400])
def test_a_row_of_another_quarter_hour_is_named(books: Books, hours: float) -> None:
    change(books, spend_quarters, quarter=NOON + timedelta(hours=hours))
    assert {one.table for one in verify(books.engine).differences} == {"spend_quarters"}


def test_tags_that_were_edited_are_named(books: Books) -> None:
    change(books, calls, 1, tags={"feature": "search"})
    assert said(books)[0] == f"spend_by_tag, {TAG}: calls is 1, expected 0"
    assert {one.table for one in verify(books.engine).differences} == {"spend_by_tag"}


def test_a_price_that_was_edited_is_named_as_the_rate_it_is(books: Books) -> None:
    books.overwrite(rates, "output_per_1k", Decimal("0.001"))
    first, *by_tag = said(books)
    assert first == f"rates, {QUARTER}: amount is 0.0364, expected 0.036"
    assert [one.startswith("rates, ") for one in by_tag] == [True, True]


def test_a_call_that_was_deleted_is_missed_in_its_batch_and_in_the_sums(books: Books) -> None:
    with writing(books.engine) as conn:
        conn.execute(calls.delete().where(calls.c.number == 2))
    found = said(books)
    assert "batches, batch 1: inserted is 2, expected 1" in found
    assert f"calls, {QUARTER}: calls is 1, expected 2" in found
    assert f"sources, journal {books.journal.id}: numbers here up to 2 is 1, expected 2" in found


def test_stamps_that_do_not_follow_from_the_call_are_named(books: Books) -> None:
    call = made(number=1)
    change(books, calls, 1, quarter=at("2026-11-23 12:15"), billed_on=DAY + timedelta(days=1), model="other")
    stamps = [one for one in said(books) if str(call.id) in one]
    assert stamps[:3] == [
        f"calls, {call.id}: quarter is 2026-11-23 12:15Z, expected 2026-11-23 12:00Z",
        f"calls, {call.id}: billed_on is 2026-11-24, expected 2026-11-23",
        f"calls, {call.id}: model is other, expected z-ai/glm-5",
    ]


@pytest.mark.parametrize("days", [-4000, -2, -1, 1, 2, 4000])
def test_a_call_billed_on_another_day_is_named_however_far_off(books: Books, days: int) -> None:
    change(books, calls, 2, billed_on=DAY + timedelta(days=days))
    wrong = f"calls, {made(number=2).id}: billed_on is {DAY + timedelta(days=days)}, expected {DAY}"
    assert wrong in said(books)
    assert wrong in said(books, DAY, DAY + timedelta(days=1))


@pytest.mark.parametrize("off", [timedelta(seconds=-61), timedelta(seconds=61), timedelta(days=4000)])
def test_a_start_that_is_not_the_time_of_the_id_is_named(books: Books, off: timedelta) -> None:
    change(books, calls, 1, started_at=NOON + off)
    start = f"{NOON + off:%Y-%m-%d %H:%M}Z"
    id_ = made(number=1).id
    assert f"calls, {id_}: started_at is {start}, expected the time in its id, 2026-11-23 12:00Z" in said(books)


@pytest.mark.parametrize("id_", [UUID(int=1), UUID(int=2**128 - 1)], ids=["before all time", "after all time"])
def test_a_call_with_an_id_of_no_time_is_named(books: Books, id_: UUID) -> None:
    change(books, calls, 1, id=id_)
    assert f"calls, {id_}: id is {id_}, expected one made as the call began" in said(books)


def test_a_rate_that_does_not_hold_for_the_call_is_named(books: Books) -> None:
    change(books, calls, 1, rate_id=7)
    assert said(books)[0] == (
        f"calls, {made(number=1).id}: rate_id is 7, "
        "expected a rate of wcode/z-ai/glm-5 that holds at 2026-11-23 12:00:00Z"
    )


@pytest.mark.parametrize(
    "values",
    [{"valid_from": NOON + timedelta(seconds=1)}, {"valid_until": NOON}, {"model": "other"}, {"provider": "other"}],
)
def test_a_rate_of_another_time_or_model_is_named(books: Books, values: dict[str, Any]) -> None:
    with writing(books.engine) as conn:
        conn.execute(rates.update().where(rates.c.id == 1).values(values))
    assert [(one.table, one.column) for one in verify(books.engine).differences] == [("calls", "rate_id")] * 2


@pytest.mark.parametrize("what", ["project", "key", "source", "batch"])
def test_calls_of_what_is_not_in_the_books_are_named(books: Books, what: str) -> None:
    change(books, calls, 2, **{f"{what}_id": 99})
    stranger = f"calls, 1 call: {what}_id is 99, expected a {what} in the books"
    assert stranger in said(books)
    assert stranger in said(books, DAY, DAY + timedelta(days=1))


def test_numbers_are_kept_as_calls_or_aside(books: Books) -> None:
    books.deliver(made(number=1, usage=used(1, 1)), made(NOON + timedelta(days=2)), made(number=3))
    assert verify(books.engine).balanced


def test_a_copied_journal_that_gave_its_numbers_twice_is_no_loss(books: Books) -> None:
    copy = Journal()
    assert copy.id == books.journal.id
    books.journal = copy
    books.deliver(made(number=8), made(number=9))
    assert [row["number"] for row in books.rows(calls)] == [1, 2, 1, 2]
    books.roll()
    assert verify(books.engine) == Verification(calls=4, rolled=4)


@pytest.mark.parametrize("more", [[], [3], [3, 4]], ids=str)
def test_a_copied_journal_that_brings_the_same_calls_under_another_name_is_a_remark(
    books: Books, more: list[int]
) -> None:
    copy = Journal("copy")
    ingest(books.engine, copy.batch(FIRST, made(number=2), *(made(number=n) for n in more)), NOON)
    books.roll()
    assert verify(books.engine) == Verification(
        calls=2 + len(more),
        rolled=2 + len(more),
        remarks=(
            f"Journal {copy.id} brought 2 calls that had come from journal {books.journal.id} and count once: "
            "it seems to be a copy of it under another name.",
        ),
    )


def test_a_number_whose_call_came_by_another_before_is_no_loss(books: Books) -> None:
    another = Journal("another")
    ingest(books.engine, another.batch(made(number=8), FIRST, made(number=9)), NOON)
    books.roll()
    assert said(books) == []
    with writing(books.engine) as conn:
        conn.execute(repeats.delete())
    assert said(books) == [f"sources, journal {another.id}: numbers here up to 3 is 2, expected 3"]


def test_an_entry_put_aside_that_is_gone_is_named(books: Books) -> None:
    another = Journal("another")
    ingest(books.engine, another.batch(made(NOON + timedelta(days=2)), made(number=7)), NOON)
    books.roll()
    with writing(books.engine) as conn:
        conn.execute(rejected.delete())
    assert said(books) == [f"sources, journal {another.id}: numbers here up to 2 is 1, expected 2"]


def test_a_number_that_is_not_in_the_books_any_more_is_named(books: Books) -> None:
    journal = f"sources, journal {books.journal.id}"
    books.deliver(made(NOON + timedelta(days=2)))
    with writing(books.engine) as conn:
        conn.execute(rejected.delete())
    assert said(books) == [f"{journal}: numbers here up to 3 is 2, expected 3"]


def test_a_number_that_came_ahead_is_known_to_be_ahead(books: Books) -> None:
    ahead = books.journal.batch(made(number=3), made(number=4))
    ingest(books.engine, Batch(ahead.source, ahead.entries[1:]), NOON)
    books.roll()
    assert verify(books.engine).balanced
    with writing(books.engine) as conn:
        conn.execute(received_ahead.delete())
    assert said(books) == [f"sources, journal {books.journal.id}: numbers here beyond 2 is 1, expected 0"]


def test_numbers_counted_further_than_they_are_here_or_not_far_enough_are_named(books: Books) -> None:
    journal = f"sources, journal {books.journal.id}"
    change(books, sources, contiguous=3, highest=3)
    assert said(books) == [f"{journal}: numbers here up to 3 is 2, expected 3"]
    change(books, sources, contiguous=1)
    assert said(books) == [f"{journal}: contiguous is 1, expected 2 or more"]
    change(books, sources, contiguous=2)
    with writing(books.engine) as conn:
        conn.execute(received_ahead.insert().values(source_id=1, number=3))
    assert said(books) == [
        f"{journal}: numbers here of 1 received ahead is 0, expected 1",
        f"{journal}: contiguous is 2, expected 3 or more",
    ]


def test_a_number_received_ahead_that_is_nowhere_would_hide_a_gap_and_is_named(books: Books) -> None:
    ahead = books.journal.batch(*(made(number=number) for number in (3, 4, 5, 6)))
    ingest(books.engine, Batch(ahead.source, (ahead.entries[1], ahead.entries[3])), NOON)
    books.roll()
    with writing(books.engine) as conn:
        conn.execute(received_ahead.insert().values(source_id=1, number=5))
    wrong = "numbers here of 3 received ahead is 2, expected 3"
    assert said(books) == [f"sources, journal {books.journal.id}: {wrong}"]


def test_books_with_the_first_part_of_a_batch_that_was_split_are_balanced(books: Books) -> None:
    batch = books.journal.batch(*(made(number=number) for number in (3, 4, 5)))
    looked = [entries.look(entry, NOON) for entry in batch.entries]
    take(books.engine, batch.source, looked[:2], NOON, is_last=False)
    assert said(books) == []
    take(books.engine, batch.source, looked[2:], NOON)
    assert said(books) == []


def test_a_highest_number_below_what_is_here_is_named(books: Books) -> None:
    change(books, sources, highest=1)
    assert said(books) == [f"sources, journal {books.journal.id}: highest is 1, expected 2 or more"]


@pytest.mark.parametrize("table", [rejected, conflicts], ids=str)
def test_what_was_put_aside_and_then_changed_is_named(books: Books, table: Table) -> None:
    books.deliver(made(number=2, http_status=500), made(NOON + timedelta(days=2)))
    assert said(books) == []
    (row,) = books.rows(table)
    change(books, table, payload=b"{}")
    found = row["digest"].hex()
    assert said(books) == [f"{table.name}, the one with id 1: digest is {found}, expected {sha256(b'{}').hexdigest()}"]


def test_a_number_far_out_takes_no_more_room_than_any_other(books: Books) -> None:
    change(books, calls, 1, number=2**62)
    journal = f"sources, journal {books.journal.id}"
    assert said(books) == [
        f"{journal}: numbers here up to 2 is 1, expected 2",
        f"{journal}: numbers here beyond 2 is 1, expected 0",
    ]


@pytest.mark.parametrize("table", SPEND_TABLES, ids=str)
def test_an_amount_that_is_no_number_is_named(books: Books, table: Table) -> None:
    with writing(books.engine) as conn:
        nonsense = "NaN" if is_postgresql(conn) else "a lot"
        conn.exec_driver_sql(f"UPDATE {table.name} SET amount = '{nonsense}'")
    for difference in said(books):
        assert difference.startswith(f"{table.name}, ")
        assert "amount is no number, expected 0.0" in difference


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("calls", "input_tokens", "'a lot'"),
        ("calls", "quarter", "'noon'"),
        ("calls", "project_id", "1.5"),
        ("calls", "started_at", "2e300"),
        ("calls", "end_user", "x'00'"),
        ("calls", "tags", "'no JSON'"),
        ("calls", "tags", "'[1]'"),
        ("spend_quarters", "calls", "'two'"),
        ("spend_quarters", "quarter", "'noon'"),
        ("spend_days", "billed_on", "'someday'"),
        ("spend_by_tag", "input_tokens", "1000.5"),
    ],
)
def test_what_is_of_the_wrong_kind_is_named_where_sqlite_keeps_it(
    tmp_path: Path, table: str, column: str, value: str
) -> None:
    books = Books(tmp_path)
    books.deliver(made(tags={"feature": "rerank"}))
    books.roll()
    with writing(books.engine) as conn:
        conn.exec_driver_sql(f"UPDATE {table} SET {column} = {value}")
    assert table in {one.table for one in verify(books.engine).differences}
    books.close()


def test_batch_counts_that_do_not_add_up_are_named(books: Books) -> None:
    books.overwrite(batches, "duplicates", 1)
    assert said(books) == ["batches, batch 1: entries is 2, expected 3"]
    assert said(books, DAY, DAY + timedelta(days=1)) == ["batches, batch 1: entries is 2, expected 3"]


@pytest.mark.parametrize(("column", "number"), [("min_call_id", 1), ("max_call_id", 2)])
def test_the_ids_that_a_batch_lies_between_are_checked(books: Books, column: str, number: int) -> None:
    change(books, batches, **{column: made(number=7).id})
    hexes = (made(number=7).id.hex, made(number=number).id.hex)
    assert said(books) == ["batches, batch 1: {} is {}, expected {}".format(column, *hexes)]


def test_only_the_days_that_were_asked_for_are_gone_through(books: Books) -> None:
    books.deliver(made(at("2026-11-20 12:00")))
    books.roll()
    change(books, spend_days, calls=7)
    assert verify(books.engine, DAY, DAY + timedelta(days=1)).calls == 2
    assert [one.split(",")[1] for one in said(books, DAY)] == [" billed on 2026-11-23"]
    assert [one.split(",")[1] for one in said(books, date(2026, 11, 1), DAY)] == [" billed on 2026-11-20"]
    assert said(books, date(2026, 12, 1)) == []


def test_a_project_is_verified_by_its_own_days(books: Books) -> None:
    with writing(books.engine) as conn:
        projects.create(conn, "elsewhere", NOON, "me", zone="America/Los_Angeles")
    late = made(at("2026-11-24 06:00"), 7, project="elsewhere")
    books.deliver(late)
    books.roll()
    assert {row["billed_on"] for row in books.rows(spend_days)} == {DAY}
    assert verify(books.engine) == Verification(calls=3, rolled=3)
    assert verify(books.engine, DAY, DAY + timedelta(days=1)).calls == 3
    change(books, calls, billed_on=date(2026, 11, 24))
    assert len([one for one in said(books) if ": billed_on is 2026-11-24, expected 2026-11-23" in one]) == 3


def test_a_restatement_that_never_ended_is_a_remark_and_no_difference(books: Books) -> None:
    with writing(books.engine) as conn:
        begin(conn, Order("key-moved", {"key": "a1"}, "me@here", "wrong team"), NOON)
    found = verify(books.engine)
    assert found.balanced
    assert found.remarks == (
        "Restatement 1 (key-moved, begun by me@here at 2026-11-23 12:00:00 UTC) has not ended: 0 calls of 0 seen "
        "changed so far. If nobody is at it, the same command goes on where it stopped.",
    )


def test_progress_hears_of_the_calls_read(books: Books) -> None:
    heard: list[tuple[int, int]] = []
    verify(books.engine, progress=lambda done, total: heard.append((done, total)))
    assert heard[-1] == (2, 2)
    assert {total for _, total in heard} == {2}


def test_each_day_is_read_as_it_is_when_its_turn_comes(books: Books) -> None:
    books.deliver(made(at("2026-11-20 12:00"), 3))
    walk = steps(books.engine)
    next(walk)
    books.deliver(made(at("2026-11-20 12:00"), 4), made(at("2026-11-23 12:00"), 5))
    books.roll()
    found = sum(walk, Verification())
    assert (found.calls, found.rolled, found.differences) == (5, 5, ())


def test_what_came_in_behind_the_walk_is_not_missed_in_the_end(books: Books) -> None:
    walk = steps(books.engine)
    for _ in range(4):
        next(walk)
    books.deliver(made(at("2026-11-23 12:00"), 5), made(at("2026-10-23 12:00"), 6))
    found = sum(walk, Verification())
    assert found.differences == ()

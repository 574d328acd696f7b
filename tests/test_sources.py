"""What the books know of the journals that deliver to them, and how far they are complete."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from accounting.errors import ConfigurationError
from accounting.ingest import ingest
from accounting.ports import Batch
from accounting.sources import Completeness, Source, close, complete_until, sources
from accounting.store import reading, writing
from accounting.store.tables import calls, received_ahead, rejected
from tests.books import NOON, Books, Journal, made
from tests.databases import Database

MINUTE = timedelta(minutes=1)


def known(books: Books) -> list[Source]:
    with reading(books.engine) as conn:
        return sources(conn)


def source(books: Books) -> Source:
    (found,) = known(books)
    return found


def completeness(books: Books, now: datetime = NOON) -> Completeness:
    with reading(books.engine) as conn:
        return complete_until(conn, now)


def report(books: Books, **changes: object) -> None:
    """A heartbeat of the books' own journal."""
    ingest(books.engine, Batch(replace(books.journal.batch().source, **changes)), NOON)  # type: ignore[arg-type]


def receive(books: Books, numbers: Sequence[int], highest: int) -> None:
    """Calls by their numbers in the journal, in one batch."""
    journal = Journal()
    entries = tuple(
        replace(entry, number=number)
        for number in numbers
        for entry in journal.batch(made(NOON - MINUTE, number)).entries
    )
    ingest(books.engine, Batch(replace(journal.batch().source, highest=highest), entries), NOON)


def test_numbers_that_are_here_without_gaps_are_contiguous(books: Books) -> None:
    receive(books, [1, 2, 3], highest=3)
    assert (source(books).contiguous, source(books).ahead, source(books).missing) == (3, 0, 0)


def test_a_number_that_nobody_holds_any_more_is_missing_until_it_comes(books: Books) -> None:
    receive(books, [1, 2, 4, 5], highest=5)
    assert (source(books).contiguous, source(books).ahead, source(books).missing) == (2, 2, 1)
    assert completeness(books).missing == 1
    receive(books, [3], highest=5)
    assert (source(books).contiguous, source(books).ahead, source(books).missing) == (5, 0, 0)


@pytest.mark.parametrize("after_the_gap", [1, 4, 5, 9, 10, 11])
def test_a_long_wait_behind_a_gap_ends_at_once_and_is_cleared_away_bit_by_bit(
    books: Books, monkeypatch: pytest.MonkeyPatch, after_the_gap: int
) -> None:
    monkeypatch.setattr("accounting.sources.AHEAD_AT_ONCE", 5)
    last = 1 + after_the_gap
    receive(books, [*range(2, last + 1), last + 2], highest=last + 2)
    receive(books, [1], highest=last + 2)
    left = []
    for _ in range(3):
        assert (source(books).contiguous, source(books).ahead, source(books).missing) == (last, 1, 1)
        left.append(len(books.rows(received_ahead)) - 1)
        report(books)
    assert left == [max(after_the_gap - dropped, 0) for dropped in (5, 10, 15)]


def test_a_batch_behind_a_gap_reads_none_of_those_that_wait(books: Books) -> None:
    receive(books, range(2, 50), highest=50)
    read: list[str] = []
    event.listen(books.engine, "after_cursor_execute", lambda *args: read.append(args[2]))
    receive(books, [50], highest=50)
    asked = [statement for statement in read if "FROM received_ahead" in statement]
    assert not any(statement.startswith("SELECT received_ahead.number") for statement in asked)


def test_numbers_that_are_open_or_waiting_are_not_missing(books: Books) -> None:
    receive(books, [2], highest=2)
    report(books, highest=4, open=2, backlog=1, seen_at=NOON + MINUTE)
    assert source(books).missing == 0
    assert (completeness(books).open, completeness(books).backlog) == (2, 1)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(1, 8), max_size=5), max_size=6))
def test_the_order_in_which_numbers_come_does_not_matter(database: Database, batches: list[list[int]]) -> None:
    books = Books(database.store())
    received: set[int] = set()
    report(books, highest=8)
    for batch in batches:
        receive(books, sorted(set(batch)), highest=8)
        received |= set(batch)
    contiguous = next(number for number in range(9) if number + 1 not in received)
    assert source(books).contiguous == contiguous
    assert {row["number"] for row in books.rows(received_ahead)} == {n for n in received if n > contiguous}
    assert source(books).missing == 8 - len(received)
    books.close()
    database.drop(books.url)


def test_an_older_report_changes_nothing(books: Books) -> None:
    report(books, highest=5, open=1, oldest_undelivered_at=NOON, faults={"tap": 2}, seen_at=NOON + MINUTE)
    newest = source(books)
    report(books, highest=5, open=3, seen_at=NOON)
    report(books, highest=4, open=4, seen_at=NOON)
    assert source(books) == newest


def test_a_higher_number_is_newer_whatever_the_clock_there_says(books: Books) -> None:
    report(books, highest=5, seen_at=NOON)
    report(books, highest=6, open=1, seen_at=NOON - MINUTE)
    assert (source(books).highest, source(books).open, source(books).seen_at) == (6, 1, NOON)


def test_a_closed_source_opens_again_with_a_later_report(books: Books) -> None:
    report(books, seen_at=NOON, closed_at=NOON)
    report(books, seen_at=NOON - MINUTE)
    assert source(books).closed_at == NOON
    report(books, seen_at=NOON + MINUTE)
    assert source(books).closed_at is None


def deliver_the_first_half(books: Books, batch: Batch) -> None:
    """The database refuses the contents of the last of two calls, and then fails with the second half still to come."""
    books.refuse(calls, "new.number = 2")
    books.fail(rejected)
    with pytest.raises(OperationalError, match="disk_full"):
        ingest(books.engine, batch, NOON)
    books.mend(calls)
    assert known(books)[0].contiguous == 1


def test_while_a_part_of_the_first_batch_is_here_nothing_is_complete(books: Books) -> None:
    batch = books.journal.batch(made(NOON - 2 * MINUTE, 1), made(NOON - MINUTE, 2))
    deliver_the_first_half(books, batch)
    books.roll()
    until = completeness(books).until
    assert until is not None
    assert until < NOON - 2 * MINUTE
    assert completeness(books).silent == ()
    ingest(books.engine, batch, NOON)
    books.roll()
    assert completeness(books).until == NOON


@pytest.mark.parametrize("why", [None, "the disk burned"])
def test_a_closed_source_of_which_a_part_is_here_is_waited_for(books: Books, why: str | None) -> None:
    report(books, seen_at=NOON - 5 * MINUTE, closed_at=NOON - 5 * MINUTE if why is None else None)
    if why is not None:
        with writing(books.engine) as conn:
            close(conn, books.journal.id, why, NOON)
    ingest(books.engine, Journal("another").batch(), NOON)
    batch = books.journal.batch(made(NOON - 2 * MINUTE, 1), made(NOON - MINUTE, 2))
    deliver_the_first_half(books, batch)
    books.roll()
    mine = known(books)[0]
    assert (mine.closed_at, mine.closed_why) == (None, None)
    assert completeness(books).until == NOON - 5 * MINUTE


def test_books_that_nobody_reported_to_are_complete_until_never(books: Books) -> None:
    assert completeness(books) == Completeness(until=None)


def test_totals_are_complete_until_the_oldest_call_that_is_on_its_way(books: Books) -> None:
    report(books, highest=3, open=1, oldest_undelivered_at=NOON - 5 * MINUTE, seen_at=NOON)
    assert completeness(books).until == NOON - 5 * MINUTE


def test_with_nothing_on_its_way_totals_are_complete_until_the_source_was_seen(books: Books) -> None:
    report(books, seen_at=NOON - MINUTE)
    assert completeness(books).until == NOON - MINUTE


def test_of_several_sources_the_one_that_is_furthest_behind_counts(books: Books) -> None:
    for name, behind in (("one", 1), ("two", 3), ("three", 2)):
        ingest(books.engine, Journal(name).batch(seen_at=NOON - behind * MINUTE), NOON)
    assert completeness(books).until == NOON - 3 * MINUTE


def test_closed_sources_hold_nothing_back(books: Books) -> None:
    report(books, seen_at=NOON - MINUTE, closed_at=NOON - MINUTE)
    ingest(books.engine, Journal("another").batch(), NOON)
    assert completeness(books).until == NOON


def test_with_every_source_closed_totals_are_complete_until_the_last_was_seen(books: Books) -> None:
    """Whether one of the journals is in use again is not known before that process reports."""
    report(books, seen_at=NOON - MINUTE, closed_at=NOON - MINUTE)
    another = Journal("another").batch(seen_at=NOON - 2 * MINUTE).source
    ingest(books.engine, Batch(replace(another, closed_at=another.seen_at)), NOON)
    assert completeness(books).until == NOON - MINUTE


def test_a_source_whose_clock_is_ahead_makes_nothing_complete_before_its_time(books: Books) -> None:
    report(books, seen_at=NOON + MINUTE, closed_at=NOON + MINUTE)
    assert completeness(books).until == NOON


def test_completeness_reads_only_the_sources_that_bear_on_it(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        closed = Journal(f"closed {number}").batch().source
        ingest(books.engine, Batch(replace(closed, closed_at=NOON)), NOON)
    lost = Journal("lost").batch(still_open=1).source
    ingest(books.engine, Batch(replace(lost, open=0, oldest_undelivered_at=None, closed_at=NOON)), NOON)
    report(books)
    read: list[UUID] = []

    def noted(**row: Any) -> Source:
        read.append(row["journal"])
        return Source(**row)

    monkeypatch.setattr("accounting.sources.Source", noted)
    assert completeness(books).missing == 1
    assert read == [lost.journal, books.journal.id]


def test_calls_not_rolled_up_yet_hold_totals_back(books: Books) -> None:
    early = made(NOON - 7 * MINUTE)
    books.deliver(early, made(NOON - MINUTE))
    assert (completeness(books).until, completeness(books).unrolled) == (NOON - 7 * MINUTE, 2)
    books.roll()
    assert (completeness(books).until, completeness(books).unrolled) == (NOON, 0)


def test_a_source_silent_for_an_hour_is_named_and_holds_totals_back(books: Books) -> None:
    report(books, seen_at=NOON)
    later = NOON + timedelta(hours=1)
    assert completeness(books, later).silent == ()
    after = completeness(books, later + MINUTE)
    assert [each.journal for each in after.silent] == [books.journal.id]
    assert after.until == NOON


def test_a_source_that_is_written_off_holds_nothing_back_until_it_returns(books: Books) -> None:
    report(books, highest=2, open=2, oldest_undelivered_at=NOON, seen_at=NOON)
    later = NOON + timedelta(days=1)
    with writing(books.engine) as conn:
        close(conn, books.journal.id, "the disk burned", later)
    found = source(books)
    assert (found.closed_at, found.closed_why, completeness(books, later).until) == (later, "the disk burned", NOON)
    report(books, highest=2, open=2, oldest_undelivered_at=NOON, seen_at=NOON)
    assert source(books) == found
    report(books, highest=2, seen_at=later + MINUTE)
    assert (source(books).closed_at, source(books).closed_why) == (None, None)


def test_writing_off_needs_a_known_open_source_and_a_reason(books: Books) -> None:
    report(books)
    with writing(books.engine) as conn:
        with pytest.raises(ConfigurationError, match=str(books.journal.id)):
            close(conn, UUID(int=1), "a typo", NOON)
        with pytest.raises(ConfigurationError, match="reason"):
            close(conn, books.journal.id, " ", NOON)


def test_a_source_with_calls_that_were_written_off_counts_them_as_missing(books: Books) -> None:
    receive(books, [1], highest=1)
    report(books, highest=3, open=1, backlog=1, seen_at=NOON + MINUTE)
    with writing(books.engine) as conn:
        close(conn, books.journal.id, "gone", NOON)
    assert completeness(books).missing == 2

"""Calls that are delivered again, and say more, less, or something else."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounting.booked import Selection, listed
from accounting.ingest import ingest
from accounting.ports import Batch, Verdict
from accounting.restate import Order, restate
from accounting.store import open_engine, reading
from accounting.store.tables import (
    batches,
    calls,
    conflicts,
    repeats,
    restated_calls,
    restatements,
    sources,
    spend_by_tag,
    spend_days,
    spend_quarters,
)
from accounting.usage import Call, Outcome, Usage
from accounting.verify import verify
from tests.books import NOON, Books, Journal, made, used
from tests.databases import Database
from tests.test_ingest_at_once import at_once

INSERTED, DUPLICATE, SUPERSEDED, CONFLICT, _ = Verdict

NOTHING: dict[str, Any] = {"http_status": None, "usage": Usage(), "user": None}


def unknown(number: int = 1) -> Call:
    """What is known of a call whose process is gone."""
    return made(number=number, outcome=Outcome.UNKNOWN, **NOTHING)


def interrupted(number: int = 1) -> Call:
    return made(number=number, outcome=Outcome.INTERRUPTED, usage=used(900, 10), request_model="z-ai/glm-4.6")


def finished(number: int = 1, **changes: Any) -> Call:
    return made(number=number, user="u-1", tags={"feature": "rerank"}, **changes)


STAGES: tuple[Callable[[int], Call], ...] = (unknown, interrupted, finished)


def in_the_books(books: Books) -> list[Call]:
    with reading(books.engine) as conn:
        return [one.call for one in listed(conn, Selection(), limit=1000)][::-1]


def balanced(books: Books) -> bool:
    books.roll()
    found = verify(books.engine)
    assert not found.differences
    return found.calls == found.rolled


@contextmanager
def fresh(database: Database) -> Iterator[Books]:
    """Books of this example's own."""
    books = Books(database.store())
    try:
        yield books
    finally:
        books.close()
        database.drop(books.url)


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[list[Call]], dict[int, Call]]:
    """Versions of a few calls in any order and any split, some more than once; and the best one of each."""
    chosen = draw(st.dictionaries(st.integers(1, 4), st.lists(st.integers(0, 2), min_size=1, max_size=4), min_size=1))
    versions = [(number, stage) for number, stages in chosen.items() for stage in stages]
    batches: list[dict[int, Call]] = [{}]
    for number, stage in draw(st.permutations(versions)):
        if number in batches[-1] or draw(st.booleans()):
            batches.append({})
        batches[-1][number] = STAGES[stage](number)
    best = {number: STAGES[max(stages)](number) for number, stages in chosen.items()}
    return [list(batch.values()) for batch in batches], best


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deliveries(), st.data())
def test_in_any_order_and_any_split_what_is_known_best_is_in_the_books(
    database: Database, sent: tuple[list[list[Call]], dict[int, Call]], data: st.DataObject
) -> None:
    batches_sent, best = sent
    with fresh(database) as books:
        for batch in batches_sent:
            books.deliver(*batch)
            if data.draw(st.booleans(), label="rolled up here"):
                books.roll()
        assert in_the_books(books) == [best[number] for number in sorted(best)]
        assert books.rows(conflicts) == []
        assert balanced(books)


@pytest.mark.parametrize("is_rolled", [False, True])
def test_the_owner_delivers_what_an_adopter_gave_up(books: Books, is_rolled: bool) -> None:
    assert books.deliver(unknown(1), unknown(2)) == [INSERTED] * 2
    if is_rolled:
        books.roll()
    assert books.deliver(finished(1)) == [SUPERSEDED]
    assert books.deliver(finished(1)) == [DUPLICATE]
    assert books.deliver(unknown(1)) == [SUPERSEDED]
    assert in_the_books(books) == [finished(1), unknown(2)]
    assert balanced(books)
    total = books.spend("project").total
    assert (total.calls, total.unknown, total.quantities.input) == (2, 1, 1000)
    counts = [[row[name] for name in ("entries", "inserted", "superseded")] for row in books.rows(batches)]
    assert counts == [[2, 2, 0], [1, 0, 1]]
    (source,) = books.rows(sources)
    assert (source["contiguous"], source["highest"]) == (2, 2)


def test_what_a_call_said_before_is_kept_with_the_reason(books: Books) -> None:
    books.deliver(unknown())
    books.deliver(finished())
    (order,), (said,) = books.rows(restatements), books.rows(restated_calls)
    assert (order["kind"], order["why"], order["changed"]) == ("superseded", "A later outcome was delivered.", 1)
    assert order["ended_at"] == NOON
    assert (said["before"]["outcome"], said["before"]["input_tokens"]) == ("unknown", None)


def test_less_is_no_conflict_and_leaves_no_trace(books: Books) -> None:
    books.deliver(finished())
    before = [books.rows(table) for table in (calls, batches, conflicts, restatements)]
    assert books.deliver(interrupted()) == books.deliver(unknown()) == [SUPERSEDED]
    assert [books.rows(table) for table in (calls, batches, conflicts, restatements)] == before


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("other", [finished(usage=used(1, 1)), finished(outcome=Outcome.FAILED, http_status=500)])
def test_of_two_that_know_as_much_the_first_stays(books: Books, other: Call, turned: bool) -> None:
    first, second = (other, finished()) if turned else (finished(), other)
    books.deliver(unknown())
    assert [books.deliver(call) for call in (first, second, unknown())] == [[SUPERSEDED], [CONFLICT], [SUPERSEDED]]
    assert in_the_books(books) == [first]
    assert [row["payload"] for row in books.rows(conflicts)] == [second.encode()]
    assert balanced(books)


def test_a_later_outcome_settles_a_conflict_about_an_earlier_one(books: Books) -> None:
    assert books.deliver(unknown()) == [INSERTED]
    assert books.deliver(replace(unknown(), user="u-2")) == [CONFLICT]
    assert books.deliver(finished()) == [SUPERSEDED]
    (conflict,) = books.rows(conflicts)
    assert (conflict["settled_at"], conflict["settled_how"]) == (NOON, "superseded")


def test_one_batch_with_several_versions_of_a_call_brings_the_best(books: Books) -> None:
    """Under numbers of their own, as no journal of ours sends them."""
    entries = [Journal().batch(call).entries[0] for call in (unknown(), finished(), interrupted(), finished())]
    numbered = tuple(replace(entry, number=number) for number, entry in enumerate(entries, 1))
    report = replace(books.journal.batch().source, highest=4)
    verdicts = ingest(books.engine, Batch(report, numbered), NOON)
    assert verdicts == {1: SUPERSEDED, 2: INSERTED, 3: SUPERSEDED, 4: DUPLICATE}
    assert in_the_books(books) == [finished()]


def under(number: int, call: Call, journal: Journal) -> Batch:
    """The call in a batch of the journal, under that number."""
    (entry,) = Journal().batch(call).entries
    return Batch(replace(journal.batch().source, highest=number), (replace(entry, number=number),))


VERSIONS = {DUPLICATE: interrupted(), CONFLICT: replace(interrupted(), user="u-2"), SUPERSEDED: unknown()}


@pytest.mark.parametrize("again", [*VERSIONS.values(), finished()], ids=[*VERSIONS, "superseding"])
def test_the_other_numbers_of_a_call_are_kept_however_often_they_come(books: Books, again: Call) -> None:
    copy = Journal("copy")
    books.deliver(interrupted())
    if again == VERSIONS[CONFLICT]:
        books.deliver(again)  # so that those below say what is in conflict already
    batches_sent = [under(1, again, copy), under(2, again, books.journal), under(2, again, copy)]
    for batch in batches_sent:
        ingest(books.engine, batch, NOON)
    assert {(row["source_id"], row["number"]) for row in books.rows(repeats)} == {(1, 2), (2, 1), (2, 2)}
    assert {row["call_id"] for row in books.rows(repeats)} == {again.id}
    before = [books.rows(table) for table in (calls, batches, conflicts, repeats, restatements)]
    for batch in reversed(batches_sent):
        ingest(books.engine, batch, NOON)
    assert [books.rows(table) for table in (calls, batches, conflicts, repeats, restatements)] == before
    assert balanced(books)


def test_a_number_that_stands_in_the_books_is_no_repeat(books: Books) -> None:
    copy = Journal("copy")
    books.deliver(finished())
    for _ in range(2):
        ingest(books.engine, under(1, replace(finished(), user="u-2"), copy), NOON)
        books.deliver(finished())
    assert [row["source_id"] for row in books.rows(conflicts)] == [2]
    assert books.rows(repeats) == []
    assert balanced(books)


def test_what_the_books_said_before_a_change_is_not_held_against_them(books: Books) -> None:
    """As when a journal is replayed after somebody decided for the other version."""
    books.deliver(finished())
    other = finished(usage=used(7, 7))
    digest = ingested_digest(books, other)
    order = Order("accepted", {}, "ann@laptop", "the provider's bill says so")
    restate(books.engine, order, sa.true(), lambda _, rows: {rows[0]["id"]: {"digest": digest}}, lambda: NOON)
    assert books.deliver(finished()) == [SUPERSEDED]
    assert books.deliver(other) == [DUPLICATE]


def ingested_digest(books: Books, call: Call) -> bytes:
    """The digest of a call that contradicts the books."""
    assert books.deliver(call) == [CONFLICT]
    return bytes(books.rows(conflicts)[0]["digest"])


def test_an_adopter_and_the_owner_that_deliver_at_once_leave_what_is_known_best(books: Books) -> None:
    owner = open_engine(books.url)
    for round_ in range(8):
        numbers = range(round_ * 30, round_ * 30 + 30)
        gone, ended = (books.journal.batch(*(stage(n) for n in numbers)) for stage in (unknown, finished))
        at_once(partial(ingest, books.engine, gone, NOON), partial(ingest, owner, ended, NOON), books.roll)
    assert in_the_books(books) == [finished(n) for n in range(240)]
    assert books.rows(conflicts) == []
    assert balanced(books)
    assert sum(row["calls"] for row in books.rows(spend_days)) == 240
    assert sum(row["calls"] for row in books.rows(spend_quarters)) == 240
    assert {row["tag"] for row in books.rows(spend_by_tag)} == {"user", "tag:feature"}
    owner.dispose()
